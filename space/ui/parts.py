"""Pieces that several tabs are made of."""

from collections.abc import Generator
from pathlib import Path

import gradio as gr

from retinamatch.registrar import EFFORTS
from retinamatch.transforms import TRANSFORM_NAMES

from ..files.uploads import Upload, UploadError, clean
from ..service.handlers import relay, sentence
from ..service.models import model_names
from ..service.work import DEFAULTS
from .components import Photograph
from .html import answer_html


SPACE = Path(__file__).parent.parent
EXAMPLES = SPACE / "examples"
STYLE = SPACE / "style.css"
HEIGHT = "clamp(220px, 62vw, 340px)"


def photograph(label: str, elem_id: str) -> Photograph:
    """Make a place to hand in one photograph, by file, drop or clipboard."""
    return Photograph(
        type="filepath",
        sources=["upload", "clipboard"],
        label=label,
        elem_id=elem_id,
        height=HEIGHT,
        alt_text=f"{label}, as handed in",
        placeholder="Drop a photograph here, or press Enter to choose one",
        buttons=["fullscreen"],
    )


def cleaned(upload: Upload | None) -> str:
    """Take metadata off a photograph as soon as it is there, and make it a format that browsers show."""
    if upload is None:
        return gr.skip()
    try:
        return clean(upload).path
    except UploadError as error:
        raise gr.Error(str(error), duration=None, print_exception=False) from None


def model_choice(elem_id: str) -> gr.Dropdown:
    """Make the choice of what finds the keypoints."""
    names = model_names()
    return gr.Dropdown(
        names,
        value=names[0],
        label="Model",
        info="What finds the keypoints; rootsift needs no network",
        min_width=260,
        elem_id=elem_id,
    )


def transform_choice(elem_id: str) -> gr.Dropdown:
    """Make the choice of the class of transforms."""
    info = "auto takes the richest one that the matches support"
    return gr.Dropdown(
        list(TRANSFORM_NAMES), value=DEFAULTS.transform, label="Transform", info=info, min_width=260, elem_id=elem_id
    )


def effort_choice(elem_id: str) -> gr.Dropdown:
    """Make the choice of the effort."""
    info = "thorough tries other views where the photographs do not match as given: turned, cut, contrast reversed"
    return gr.Dropdown(list(EFFORTS), value=DEFAULTS.effort, label="Effort", info=info, min_width=260, elem_id=elem_id)


def answer(elem_id: str, words: str) -> gr.HTML:
    """Make the place of the answer in plain words."""
    return gr.HTML(answer_html(words), elem_id=elem_id, elem_classes="rm-answer-box")


def on_stop(button: gr.Button, running: list[gr.events.Dependency], status: gr.HTML) -> None:
    """Let a button end what runs, and say so in the place of the answer."""
    button.click(
        lambda: answer_html("Stopped. Nothing was kept.", "not done"),
        None,
        status,
        cancels=running,
        api_visibility="private",
        queue=False,
    )


def with_answer(work: Generator, progress: gr.Progress, empty: int) -> Generator:
    """Pass the work on to gradio; returns its result, or None after an error was shown in the place of the answer.

    Args:
        work: Gives `Step`s and returns its result.
        progress: Shows them.
        empty: How many outputs follow the answer; an error empties them.
    """
    try:
        return (yield from relay(work, progress, gr.skip()))
    except Exception as error:
        yield answer_html(sentence(error), "not done"), *([None] * empty)


__all__ = [
    "EXAMPLES",
    "HEIGHT",
    "STYLE",
    "answer",
    "cleaned",
    "model_choice",
    "on_stop",
    "photograph",
    "transform_choice",
    "with_answer",
]
