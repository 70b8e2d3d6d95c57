"""The tab that registers a history of visits to one of them."""

import gradio as gr

from ..files.results import as_outputs
from ..files.uploads import UploadError, clean
from ..service.handlers import NETWORK, register_visits_of
from ..service.pictures import write_history
from .components import Photographs
from .html import answer_html, frames_html, nothing_html
from .parts import EXAMPLES, answer, model_choice, on_stop, transform_choice, with_answer
from .text import LIMITS, history_status, history_table


NOT_YET = "Nothing yet: choose three or more photographs and press Register all."
NOTHING_TO_SHOW = "Nothing could be registered, so there is nothing to show in turn."


def show_history(uploads, number, model, transform, progress=gr.Progress()):  # noqa: B008 (gradio looks for it here)
    """Register all visits and show them."""
    series = yield from with_answer(register_visits_of(uploads, number, model, transform), progress, 4)
    if series is None:
        return
    progress(0.85, desc="drawing")
    files = write_history(series)
    shown = [visit.name for visit in series.visits if not visit.problem]
    yield as_outputs(
        answer_html(history_status(series), "registered" if series.registered else "no match"),
        files.strip,
        frames_html(files.frames, shown, NOTHING_TO_SHOW),
        history_table(series),
        files.downloads,
    )


def _cleaned(uploads):
    try:
        return [clean(upload).path for upload in uploads or []]
    except UploadError as error:
        raise gr.Error(str(error), duration=None, print_exception=False) from None


def history_tab() -> None:
    """Fill the tab."""
    photographs = Photographs(
        file_count="multiple",
        label="Photographs of one eye, in order (drag to change it)",
        file_types=["image"],
        allow_reordering=True,
        height=220,
        elem_id="visits",
    )
    gr.Markdown(LIMITS)
    visits = [str(EXAMPLES / f"visit_{number}.jpg") for number in (1, 2, 3)]
    gr.Examples(
        [[visits], [[*visits, str(EXAMPLES / "other_eye.jpg")]]],
        [photographs],
        example_labels=["three visits", "three visits and another eye"],
        label="Or take an example, rendered by this project",
        elem_id="history-examples",
        api_visibility="private",
    )
    with gr.Row():
        number = gr.Number(
            1,
            label="Number of the fixed photograph",
            info="The others are registered to this one",
            precision=0,
            minimum=1,
            min_width=220,
            elem_id="number",
        )
        model, transform = model_choice("history-model"), transform_choice("history-transform")
    with gr.Row():
        run = gr.Button("Register all", variant="primary", elem_id="register-all")
        stop = gr.Button("Stop", elem_id="stop-all")
    status = answer("history-answer", NOT_YET)
    strip_words = "All visits in a row, aligned; an empty panel with a cross where one could not be registered"
    strip = gr.Image(
        label=strip_words,
        alt_text=strip_words,
        type="filepath",
        interactive=False,
        height="clamp(160px, 40vw, 420px)",
        elem_id="strip",
        buttons=["download", "fullscreen"],
    )
    frames = gr.HTML(nothing_html(NOT_YET), elem_id="animation")
    with gr.Row():
        table = gr.HTML(nothing_html(NOT_YET), elem_id="visits-table", min_height=160, min_width=320)
        downloads = gr.File(
            min_width=320, label="Downloads", file_count="multiple", interactive=False, elem_id="history-downloads"
        )
    running = run.click(
        show_history,
        [photographs, number, model, transform],
        [status, strip, frames, table, downloads],
        api_visibility="private",
        show_progress_on=[status],
        **NETWORK,
    )
    on_stop(stop, [running], status)
    photographs.upload(_cleaned, photographs, photographs, api_visibility="private", concurrency_limit=2)


__all__ = ["history_tab"]
