"""Pieces that several tabs are made of."""

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from retinamatch.files import OutputError
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
HEIGHT = "clamp(150px, 44vw, 230px)"
DROP = "Drop a photograph here or choose one"
WORKING = "Working: the answer comes here."
HIDDEN, SEEN = ({"__type__": "update", "visible": visible} for visible in ("hidden", True))


def photograph(label: str, elem_id: str) -> Photograph:
    """Make a place to hand in one photograph, by file, drop or clipboard."""
    return Photograph(
        type="filepath",
        sources=["upload", "clipboard"],
        label=label,
        elem_id=elem_id,
        height=HEIGHT,
        alt_text=f"{label}, as handed in",
        placeholder=DROP,
        min_width=140,
        buttons=["fullscreen"],
    )


def cleaned(upload: Upload | None):
    """Take metadata off a photograph as soon as it is there, and make it a format that browsers show.

    What is refused leaves its place empty, with the sentence in it.
    """
    if upload is None:
        return gr.skip()
    try:
        return gr.update(value=clean(upload).path, placeholder=DROP, elem_classes=[])
    except (UploadError, OutputError) as error:
        return gr.update(value=None, placeholder=str(error), elem_classes=["rm-refused"])


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


def stop_button(elem_id: str) -> gr.Button:
    """Make the small button that ends what runs; it is seen only meanwhile."""
    return gr.Button(
        "Stop", elem_id=elem_id, elem_classes="rm-stop", size="sm", min_width=80, scale=0, visible="hidden"
    )


@dataclass(frozen=True)
class Shown:
    """What a tab shows of one result, and how it looks before there is one.

    Attributes:
        status: The place of the answer.
        stop: The button that ends what runs.
        rest: Everything else that belongs to the result.
        blank: The values of `status` and `rest` before there is a result.
    """

    status: gr.HTML
    stop: gr.Button
    rest: list[gr.components.Component]
    blank: list

    def clear_on(self, triggers: list, first: str | None = None, ends: Sequence = (), forget: gr.State | None = None):
        """Let events clear all that belonged to the former result, at once and in the browser alone.

        gradio takes what an event sets off one after the other, and waits for the server each time. So what ends former
        work must not follow anything that asks the server: arriving late, it would end what has begun since. Give it
        the `select` of examples, whose `click` asks for the photographs first.

        Args:
            triggers: Events such as `button.click`.
            first: What then stands in the place of the answer, as HTML; what stood there at the beginning when None.
            ends: Runs that end with it.
            forget: What the server remembers of the former result.
        """
        values = [self.blank[0] if first is None else first, *self.blank[1:]]
        outputs = [self.status, *self.rest]
        if ends:
            values, outputs = [*values, HIDDEN], [*outputs, self.stop]
        js = f"() => {json.dumps(values)}"
        gr.on(triggers, None, None, outputs, js=js, cancels=list(ends), api_visibility="private")
        if forget is not None:
            gr.on(triggers, lambda: None, None, forget, queue=False, api_visibility="private")

    def begin_on(self, buttons: list[gr.Button]) -> None:
        """Let runs begin with nothing of the former result, and where it is seen; before the runs themselves are added.

        gradio takes the events of one click in the order in which they were added.
        """
        clicks = [button.click for button in buttons]
        self.clear_on(clicks, answer_html(WORKING))
        place = f"document.getElementById({json.dumps(self.status.elem_id)})"
        look = f"const box = {place}.getBoundingClientRect(); if (box.top > innerHeight - 200 || box.top < 0) "
        look += f"{place}.scrollIntoView({{ block: 'start' }});"
        js = f"() => {{ {look} return {json.dumps(SEEN)}; }}"
        gr.on(clicks, None, None, self.stop, js=js, api_visibility="private")

    def stop_ends(self, running: list[gr.events.Dependency]) -> None:
        """Let the button end what runs, and hide it when nothing does."""
        private = {"api_visibility": "private"}
        words = answer_html("Not done: the server did not take this request; please try again.", "not done")
        left = f"(now) => [now.includes({json.dumps(WORKING)}) ? {json.dumps(words)} : now, {json.dumps(HIDDEN)}]"
        for one in running:
            one.failure(None, self.status, [self.status, self.stop], js=left, **private)
            one.success(None, None, self.stop, js=f"() => ({json.dumps(HIDDEN)})", **private)
        self.clear_on([self.stop.click], answer_html("Stopped. Nothing was kept.", "not done"), ends=running)


def with_answer(work: Generator, progress: gr.Progress, blank: Sequence) -> Generator:
    """Pass the work on to gradio; returns its result, or None after an error was shown in the place of the answer.

    Args:
        work: Gives `Step`s and returns its result.
        progress: Shows them.
        blank: What the outputs after the answer become after an error.
    """
    try:
        return (yield from relay(work, progress, gr.skip()))
    except Exception as error:
        yield answer_html(sentence(error), "not done"), *blank


__all__ = [
    "EXAMPLES",
    "HEIGHT",
    "STYLE",
    "Shown",
    "answer",
    "cleaned",
    "effort_choice",
    "model_choice",
    "photograph",
    "stop_button",
    "transform_choice",
    "with_answer",
]
