"""The tab that says whether two photographs show the same eye, and how often that is wrong."""

import gradio as gr

from ..service.handlers import DECODE, NETWORK, register_pair
from ..service.work import Choices
from .html import answer_html, nothing_html
from .parts import EXAMPLES, Shown, answer, cleaned, model_choice, photograph, stop_button, with_answer
from .text import ERROR_RATES, LIMITS, identity_table
from .verdict import identity_verdict


NOT_YET = "Nothing yet: choose two photographs and press Compare."
BLANK = [nothing_html(NOT_YET)]  # the rule


def show_comparison(first, second, model, progress=gr.Progress()):  # noqa: B008 (gradio looks for it here)
    """Compare two photographs with the default thresholds, for which the error rates hold."""
    outcome = yield from with_answer(register_pair(first, second, model, Choices("quadratic")), progress, BLANK)
    if outcome is not None:
        yield identity_verdict(outcome), identity_table(outcome)


def identity_tab() -> None:
    """Fill the tab."""
    with gr.Row(elem_classes="rm-tab"):
        with gr.Column(scale=4, min_width=320):
            with gr.Row(elem_classes="rm-photographs"):
                first, second = photograph("First photograph", "first"), photograph("Second photograph", "second")
            with gr.Row(elem_classes="rm-run"):
                run = gr.Button("Compare", variant="primary", elem_id="compare")
                stop = stop_button("stop-compare")
            examples = gr.Examples(
                [[str(EXAMPLES / f"{name}.jpg"), str(EXAMPLES / "visit_1.jpg")] for name in ("visit_3", "other_eye")],
                [first, second],
                example_labels=["one eye", "two eyes"],
                label="Or take an example, rendered by this project",
                elem_id="identity-examples",
                api_visibility="private",
            )
            with gr.Accordion("Model: right for most as it is", open=False):
                model = model_choice("identity-model")
            gr.Markdown(LIMITS)
        with gr.Column(scale=7, min_width=320, elem_classes="rm-results"):
            status = answer("identity-answer", NOT_YET)
            rule = gr.HTML(BLANK[0], elem_id="rule")
            gr.Markdown(ERROR_RATES, elem_id="error-rates")
    shown = Shown(status, stop, [rule], [answer_html(NOT_YET), *BLANK])
    shown.begin_on([run])
    running = run.click(
        show_comparison,
        [first, second, model],
        [status, rule],
        api_visibility="private",
        show_progress_on=[status],
        **NETWORK,
    )
    shown.stop_ends([running])
    others = [event for place in (first, second) for event in (place.upload, place.clear)]
    shown.clear_on([*others, examples.dataset.select, model.change], ends=[running])
    for place in (first, second):
        place.upload(cleaned, place, place, api_visibility="private", **DECODE)


__all__ = ["identity_tab"]
