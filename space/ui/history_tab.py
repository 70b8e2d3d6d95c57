"""The tab that registers a history of visits to one of them."""

import gradio as gr

from retinamatch.series import LEAST_PHOTOGRAPHS, Series

from ..files.results import as_outputs
from ..files.uploads import MOST_FILES
from ..service.handlers import DECODE, NETWORK, register_visits_of
from ..service.pictures import SeriesFiles, write_history
from .components import Number, Photographs
from .html import answer_html, nothing_html
from .order import cleaned_visits, order_html
from .parts import EXAMPLES, Shown, answer, model_choice, stop_button, transform_choice, with_answer
from .text import LIMITS, history_table
from .verdict import history_verdict
from .viewer import TURN, View, viewer_html


NOT_YET = "Nothing yet: choose three or more photographs and press Register all."
NOTHING = nothing_html(NOT_YET)
BLANK = [NOTHING, NOTHING, None]  # views, table, downloads


def show_history(uploads, number, model, transform, progress=gr.Progress()):  # noqa: B008 (gradio looks for it here)
    """Register all visits and show them."""
    series = yield from with_answer(register_visits_of(uploads, number, model, transform), progress, BLANK)
    if series is None:
        return
    progress(0.85, desc="drawing")
    files = write_history(series)
    views = viewer_html(_views(series, files), NOT_YET)
    yield as_outputs(history_verdict(series), views, history_table(series), files.downloads)


def _views(series: Series, files: SeriesFiles) -> list[View]:
    shown = [f"{number}. {visit.name}" for number, visit in enumerate(series.visits, start=1) if not visit.problem]
    row = "All visits in a row, aligned; an empty panel with a cross where one could not be registered."
    views = [View("In a row", row, [(files.strip, row)], field="row")]
    if files.frames:
        turn = View("In turn", "Aligned, in turn: what changed jumps.", list(zip(files.frames, shown)), TURN)
        views.insert(0, turn)
    return views


def history_tab() -> None:
    """Fill the tab."""
    with gr.Row(elem_classes="rm-tab"):
        with gr.Column(scale=4, min_width=320):
            photographs = Photographs(
                file_count="multiple",
                label="Photographs of one eye, in order (drag to change it)",
                file_types=["image"],
                allow_reordering=True,
                elem_id="visits",
            )
            order, known = gr.HTML(elem_id="order"), gr.State(None)
            with gr.Row(elem_classes="rm-run"):
                run = gr.Button("Register all", variant="primary", elem_id="register-all")
                stop = stop_button("stop-all")
            visits = [str(EXAMPLES / f"visit_{number}.jpg") for number in (1, 2, 3)]
            examples = gr.Examples(
                [[visits], [[*visits, str(EXAMPLES / "other_eye.jpg")]]],
                [photographs],
                example_labels=["three visits", "three visits and another eye"],
                label="Or take an example, rendered by this project",
                elem_id="history-examples",
                api_visibility="private",
            )
            number = Number(
                1,
                label="Number of the fixed photograph",
                info="The others are registered to this one",
                precision=0,
                minimum=1,
                elem_id="number",
            )
            with gr.Accordion("Model and transform: right for most as they are", open=False):
                model, transform = model_choice("history-model"), transform_choice("history-transform")
            gr.Markdown(f"From {LEAST_PHOTOGRAPHS} to {MOST_FILES} photographs. {LIMITS}")
        with gr.Column(scale=7, min_width=320, elem_classes="rm-results"):
            status = answer("history-answer", NOT_YET)
            views = gr.HTML(NOTHING, elem_id="history-views")
            downloads = gr.File(
                label="Downloads", file_count="multiple", interactive=False, elem_id="history-downloads"
            )
            table = gr.HTML(NOTHING, elem_id="visits-table")
    rest = [views, table, downloads]
    shown = Shown(status, stop, rest, [answer_html(NOT_YET), *BLANK])
    shown.begin_on([run])
    running = run.click(
        show_history,
        [photographs, number, model, transform],
        [status, *rest],
        api_visibility="private",
        show_progress_on=[status],
        **NETWORK,
    )
    shown.stop_ends([running])
    others = [photographs.change, photographs.clear, examples.dataset.select]  # another order is a change, too
    shown.clear_on([*others, number.change, model.change, transform.change], ends=[running])
    private = {"api_visibility": "private", **DECODE}
    photographs.upload(cleaned_visits, [photographs, known], [photographs, known], **private)
    gr.on([photographs.change, number.change], order_html, [photographs, known, number], order, **private)


__all__ = ["history_tab"]
