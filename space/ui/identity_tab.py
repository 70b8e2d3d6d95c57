"""The tab that says whether two photographs show the same eye, and how often that is wrong."""

import gradio as gr

from ..service.handlers import NETWORK, register_pair
from ..service.work import Choices
from .html import answer_html, nothing_html
from .parts import EXAMPLES, answer, cleaned, model_choice, on_stop, photograph, with_answer
from .text import ERROR_RATES, LIMITS, identity_status, identity_table


NOT_YET = "Nothing yet: choose two photographs and press Compare."


def show_comparison(first, second, model, progress=gr.Progress()):  # noqa: B008 (gradio looks for it here)
    """Compare two photographs with the default thresholds, for which the error rates hold."""
    outcome = yield from with_answer(register_pair(first, second, model, Choices("quadratic")), progress, 1)
    if outcome is not None:
        verdict = "registered" if outcome.registration.registered else "no match"
        yield answer_html(identity_status(outcome), verdict), identity_table(outcome)


def identity_tab() -> None:
    """Fill the tab."""
    with gr.Row():
        first, second = photograph("First photograph", "first"), photograph("Second photograph", "second")
    gr.Markdown(LIMITS)
    gr.Examples(
        [[str(EXAMPLES / f"{name}.jpg"), str(EXAMPLES / "visit_1.jpg")] for name in ("visit_3", "other_eye")],
        [first, second],
        example_labels=["one eye", "two eyes"],
        label="Or take an example, rendered by this project",
        elem_id="identity-examples",
        api_visibility="private",
    )
    model = model_choice("identity-model")
    with gr.Row():
        run = gr.Button("Compare", variant="primary", elem_id="compare")
        stop = gr.Button("Stop", elem_id="stop-compare")
    status = answer("identity-answer", NOT_YET)
    rule = gr.HTML(nothing_html(NOT_YET), elem_id="rule", min_height=160)
    gr.Markdown(ERROR_RATES, elem_id="error-rates")
    running = run.click(
        show_comparison,
        [first, second, model],
        [status, rule],
        api_visibility="private",
        show_progress_on=[status],
        **NETWORK,
    )
    on_stop(stop, [running], status)
    for place in (first, second):
        place.upload(cleaned, place, place, api_visibility="private", concurrency_limit=2)


__all__ = ["identity_tab"]
