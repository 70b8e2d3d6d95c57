"""What the buttons of the page and the named endpoints do: work, then words, pictures and files.

All of them are generators: between two steps gradio shows how far the work is, and can stop it when it was canceled.
An expected error becomes one sentence; an unexpected one is logged here and named to the visitor by its type alone.
"""

import functools
import time
from collections.abc import Generator, Iterator
from dataclasses import replace

import gradio as gr

from retinamatch.extractor import UnknownNameError
from retinamatch.files import OutputError
from retinamatch.memory import give_back_freed_memory
from retinamatch.photographs import PhotographError
from retinamatch.registrar import check_effort, check_transform
from retinamatch.series import SeriesError

from ..files.uploads import MOST_FILES, Upload
from .guard import failed
from .models import model_names
from .pace import PACE
from .ranges import RANGES, NumberError, check_number
from .session import MEMORY, SessionError
from .work import DEFAULTS, Choices, Outcome, estimate_pair, find_pair, register_history


# Work that runs the network goes one by one, in the order of arrival; estimating again does not wait for it, and runs
# the network itself only where other views are tried.
NETWORK = {"concurrency_id": "network", "concurrency_limit": 1}
DECODE = {"concurrency_id": "decode", "concurrency_limit": 2}  # of files as they come in
ESTIMATE = {"concurrency_id": "estimate", "concurrency_limit": 1}
EXPECTED = (PhotographError, SeriesError, SessionError, UnknownNameError, OutputError, NumberError)


def relay(work: Generator, progress: gr.Progress, blank) -> Generator:
    """Pass the steps of some work on to gradio; returns the work's result.

    Args:
        work: Gives `Step`s and returns its result.
        progress: Shows them.
        blank: What is handed to gradio in the meantime: nothing changes.
    """
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            return end.value
        progress(step.fraction, desc=step.words)
        yield blank


def sentence(error: Exception) -> str:
    """Say what the visitor is told about an error."""
    if isinstance(error, EXPECTED):
        return str(error)
    return failed(error)


def in_sentences(function):
    """Make a generator raise `gr.Error` with one sentence, whatever goes wrong: for the endpoints."""

    @functools.wraps(function)
    def careful(*arguments, **named) -> Iterator:
        try:
            yield from function(*arguments, **named)
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    return careful


def register_pair(
    moving: Upload | None,
    fixed: Upload | None,
    model: str,
    choices: Choices,
    points: list[list[float]] | None = None,
) -> Generator:
    """Register two photographs, from places set by hand where there are any; returns the outcome."""
    _check_choice(model, choices.transform)
    choices = _checked(choices)
    for upload, which in ((moving, "moving"), (fixed, "fixed")):
        if upload is None:
            raise PhotographError(f"The {which} photograph is missing; two are needed.")
    start = time.perf_counter()
    try:
        pair, photos = yield from find_pair(moving, fixed, model, points)
        outcome: Outcome = yield from estimate_pair(pair, choices, photos)
    finally:
        give_back_freed_memory()
    PACE.note(time.perf_counter() - start)
    return outcome


def estimate_again(choices: Choices, key: str | None) -> Generator:
    """Estimate the visitor's last pair with other choices, without the network; returns the outcome."""
    check_transform(choices.transform)
    choices = _checked(choices)
    outcome: Outcome = yield from estimate_pair(MEMORY.get(key), choices)
    return outcome


def register_visits_of(uploads: list[Upload] | None, number: float | None, model: str, transform: str) -> Generator:
    """Register a history to its photograph with this number, from 1; returns the series."""
    _check_choice(model, transform)
    if not uploads:
        raise SeriesError("The photographs are missing; three or more of one eye are needed, in order.")
    if len(uploads) > MOST_FILES:
        raise SeriesError(f"At most {MOST_FILES} photographs are registered in one go, got {len(uploads)}.")
    number = check_number(1 if number is None else number, "number of the fixed photograph", 1, len(uploads))
    if number != round(number):
        raise NumberError(f"The number of the fixed photograph has to be a whole one, got {number:g}.")
    try:
        return (yield from register_history(uploads, round(number) - 1, model, transform))
    finally:
        give_back_freed_memory()


def _checked(choices: Choices) -> Choices:
    check_effort(choices.effort)
    given = {name: getattr(choices, name) for name in RANGES}
    return replace(
        choices,
        **{
            name: check_number(getattr(DEFAULTS, name) if value is None else value, *RANGES[name])
            for name, value in given.items()
        },
    )


def _check_choice(model: str, transform: str) -> None:
    check_transform(transform)
    if model not in model_names():
        raise UnknownNameError(f"Unknown model {model!r}; known are: {', '.join(model_names())}.")


__all__ = [
    "DECODE",
    "ESTIMATE",
    "NETWORK",
    "estimate_again",
    "in_sentences",
    "register_pair",
    "register_visits_of",
    "relay",
    "sentence",
]
