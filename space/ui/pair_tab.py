"""The tab that registers two photographs and shows how they lie on each other."""

import gradio as gr

from ..files.results import as_outputs
from ..service.handlers import ESTIMATE, NETWORK, estimate_again, register_pair
from ..service.pace import PACE
from ..service.pictures import write_pair
from ..service.session import MEMORY
from ..service.work import Choices, Outcome
from .html import answer_html, frames_html, nothing_html, wipe_html
from .parts import (
    EXAMPLES,
    answer,
    cleaned,
    effort_choice,
    model_choice,
    on_stop,
    photograph,
    transform_choice,
    with_answer,
)
from .text import LIMITS, NO_HEATMAP, NOT_YET, NOTHING_TO_SHOW, pair_status, pair_table


PICTURE_HEIGHT = "clamp(240px, 70vw, 620px)"
FLICKER = ["The fixed photograph", "The moving photograph, aligned and as bright as the fixed one"]
OUTPUTS = 10  # what follows the answer: numbers, views, downloads, pace


def show_pair(
    moving,
    fixed,
    model,
    transform,
    score,
    ratio,
    distance,
    effort,
    keypoints,
    key,
    progress=gr.Progress(),  # noqa: B008
):
    """Register, show, and remember the pair."""
    choices = Choices(transform, score, ratio, distance, effort)
    outcome = yield from with_answer(register_pair(moving, fixed, model, choices), progress, OUTPUTS + 1)
    if outcome is not None:
        progress(0.85, desc="drawing")
        yield *_shown(outcome, keypoints), MEMORY.keep(outcome.pair, instead_of=key)


def show_again(transform, score, ratio, distance, effort, keypoints, key, progress=gr.Progress()):  # noqa: B008
    """Show the same pair with other choices; nothing happens before there is one."""
    if key is None:
        yield gr.skip()
        return
    choices = Choices(transform, score, ratio, distance, effort)
    outcome = yield from with_answer(estimate_again(choices, key), progress, OUTPUTS)
    if outcome is not None:
        yield _shown(outcome, keypoints)


def _shown(outcome: Outcome, keypoints: bool) -> tuple:
    files = write_pair(outcome, keypoints)
    return as_outputs(
        answer_html(pair_status(outcome), "registered" if outcome.registration.registered else "no match"),
        pair_table(outcome),
        files.views["matches"],
        wipe_html(files.wiped, NOTHING_TO_SHOW),
        files.views.get("checkerboard"),
        frames_html(files.wiped, FLICKER, NOTHING_TO_SHOW),
        files.views.get("difference"),
        files.views.get("overlay"),
        files.views.get("heatmaps"),
        files.downloads,
        PACE.words(),
    )


def pair_tab(page: gr.Blocks, key: gr.State) -> None:
    """Fill the tab.

    Args:
        page: The page that is being built.
        key: Of the pair that is remembered for the visitor.
    """
    with gr.Row():
        moving = photograph("Moving photograph (the later visit)", "moving")
        fixed = photograph("Fixed photograph (the earlier visit)", "fixed")
    gr.Markdown(LIMITS, elem_id="limits")
    gr.Examples(
        [
            [str(EXAMPLES / f"{name}.jpg"), str(EXAMPLES / "visit_1.jpg")]
            for name in ("visit_2", "visit_3", "other_eye")
        ],
        [moving, fixed],
        example_labels=["the second visit", "the third visit", "another eye"],
        label="Or take an example, rendered by this project",
        elem_id="examples",
        api_visibility="private",
    )
    with gr.Row():
        model, transform, effort = model_choice("model"), transform_choice("transform"), effort_choice("effort")
    with gr.Accordion("Thresholds (the defaults are right for most)", open=False, elem_id="thresholds"):
        score = gr.Slider(
            0, 0.9, 0, step=0.05, label="Least keypoint score", info="Surer keypoints only", elem_id="score"
        )
        ratio = gr.Slider(
            0,
            1,
            0,
            step=0.01,
            label="Descriptor ratio",
            info="Lower is stricter; 0 takes the model's own",
            elem_id="ratio",
        )
        distance = gr.Slider(
            1,
            8,
            Choices().inlier_distance,
            step=0.5,
            label="Inlier distance",
            info="How near a match has to lie, in pixels of 768 across the field of view",
            elem_id="distance",
        )
        keypoints = gr.Checkbox(False, label="Mark all keypoints in the picture of the matches", elem_id="keypoints")
    with gr.Row():
        run = gr.Button("Register", variant="primary", elem_id="register")
        stop = gr.Button("Stop", elem_id="stop")
    pace = gr.Markdown(PACE.words(), elem_id="pace")
    status = answer("answer", NOT_YET)
    with gr.Tabs(elem_id="views"):
        with gr.Tab("Matches"):
            matches = _picture("matches", "Both photographs with lines between matches: inliers solid, outliers dashed")
        with gr.Tab("Overlay"):
            wiped = gr.HTML(nothing_html(NOT_YET), elem_id="overlay")
        with gr.Tab("Checkerboard"):
            board = _picture("checkerboard", "Fixed and aligned photograph in turn on the tiles of a board")
        with gr.Tab("Flicker"):
            flicker = gr.HTML(nothing_html(NOT_YET), elem_id="flicker")
        with gr.Tab("Difference"):
            change = _picture("difference", "Aligned minus fixed: gray is equal, brighter and darker have changed")
        with gr.Tab("Red and cyan"):
            colors = _picture("colors", "Fixed in red, aligned in cyan; vessels that do not coincide are seen twice")
        with gr.Tab("Heat map"):
            heat = _picture(
                "heatmaps", f"Where the network sees keypoints, brighter is surer; left moving. {NO_HEATMAP}"
            )
    with gr.Row():
        numbers = gr.HTML(nothing_html(NOT_YET), elem_id="numbers", min_height=200, min_width=320)
        downloads = gr.File(
            min_width=320, label="Downloads", file_count="multiple", interactive=False, elem_id="downloads"
        )
    private = {"api_visibility": "private", "show_progress_on": [status]}
    views = [status, numbers, matches, wiped, board, flicker, change, colors, heat, downloads, pace]
    choices = [transform, score, ratio, distance, effort, keypoints, key]
    running = run.click(show_pair, [moving, fixed, model, *choices], [*views, key], **private, **NETWORK)
    again = gr.on(
        [transform.input, score.change, ratio.change, distance.change, effort.input, keypoints.input],
        show_again,
        choices,
        views,
        trigger_mode="always_last",
        **private,
        **ESTIMATE,
    )
    on_stop(stop, [running, again], status)
    for place in (moving, fixed):
        place.upload(cleaned, place, place, api_visibility="private", concurrency_limit=2)
    # Another photograph or model: the thresholds must not go on with the former pair.
    gr.on([moving.change, fixed.change, model.input], lambda: None, None, key, api_visibility="private", queue=False)
    page.load(PACE.words, None, pace, api_visibility="private", queue=False)


def _picture(elem_id: str, words: str) -> gr.Image:
    return gr.Image(
        label=words,
        alt_text=words,
        type="filepath",
        interactive=False,
        height=PICTURE_HEIGHT,
        elem_id=elem_id,
        buttons=["download", "fullscreen"],
    )


__all__ = ["pair_tab"]
