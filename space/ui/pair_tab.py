"""The tab that registers two photographs and shows how they lie on each other."""

from collections.abc import Generator

import gradio as gr

from ..files.results import as_outputs
from ..service.handlers import DECODE, ESTIMATE, NETWORK, estimate_again, register_pair
from ..service.pace import PACE
from ..service.pictures import PairFiles, write_pair
from ..service.ranges import RANGES
from ..service.session import MEMORY
from ..service.work import Choices, Outcome
from .html import answer_html, nothing_html
from .parts import (
    EXAMPLES,
    Shown,
    answer,
    cleaned,
    effort_choice,
    model_choice,
    photograph,
    stop_button,
    transform_choice,
    with_answer,
)
from .points import WITH_POINTS, points_html, read_points
from .text import LIMITS, NO_HEATMAP, NOT_YET, NOTHING_TO_SHOW
from .verdict import pair_table, pair_verdict
from .viewer import TURN, WIPE, View, viewer_html


NOTHING = nothing_html(NOT_YET)
BLANK = [NOTHING, NOTHING, None]  # views, figures, downloads


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
    places="",
    progress=gr.Progress(),  # noqa: B008
):
    """Register, show, and remember the pair; from places set by hand where there are any."""
    choices = Choices(transform, score, ratio, distance, effort)
    work = _register(moving, fixed, model, choices, places)
    outcome = yield from with_answer(work, progress, [*BLANK, gr.skip(), None])
    if outcome is not None:
        progress(0.85, desc="drawing")
        yield *_shown(outcome, keypoints), PACE.words(), MEMORY.keep(outcome.pair, instead_of=key)


def _register(moving, fixed, model: str, choices: Choices, places: str) -> Generator:
    return (yield from register_pair(moving, fixed, model, choices, read_points(places)))


def show_again(transform, score, ratio, distance, effort, keypoints, key, progress=gr.Progress()):  # noqa: B008
    """Show the same pair with other choices; nothing happens before there is one."""
    if key is None:
        yield gr.skip()
        return
    choices = Choices(transform, score, ratio, distance, effort)
    outcome = yield from with_answer(estimate_again(choices, key), progress, BLANK)
    if outcome is not None:
        yield _shown(outcome, keypoints)


def _shown(outcome: Outcome, keypoints: bool) -> tuple:
    files = write_pair(outcome, keypoints)
    views = viewer_html(_views(outcome, files), NOTHING_TO_SHOW)
    return as_outputs(pair_verdict(outcome), views, pair_table(outcome), files.downloads)


def _views(outcome: Outcome, files: PairFiles) -> list[View]:
    """List what there is to look at, what tells most first."""
    moving, fixed = outcome.pair.moving.name, outcome.pair.fixed.name
    drawn = {
        "agreement": (
            "Agreement",
            "Where the photographs look alike: squares framed blue do, those with an orange cross do not.",
        ),
        "checkerboard": ("Checkerboard", "Fixed and aligned photograph in turn on the tiles of a board."),
        "difference": ("Difference", "Aligned minus fixed: gray is equal, brighter and darker have changed."),
        "overlay": ("Red and cyan", "Fixed in red, aligned in cyan; vessels that do not coincide are seen twice."),
        "matches": (
            "Matches",
            "Moving photograph left, fixed right; lines join matches: solid ones agree, dashed ones do not.",
        ),
        "heatmaps": ("Heat map", f"Where the network sees keypoints, brighter is surer; left moving. {NO_HEATMAP}"),
    }
    views = []
    if files.wiped:
        below, above = files.wiped
        words = f"Left of the line {moving}, right of it {fixed}. Drag the line."
        both = [(below, f"Fixed: {fixed}"), (above, f"Moving, aligned: {moving}")]
        views.append(View("Overlay", words, both, WIPE))
        views.append(View("Flicker", "In turn: what moved or changed jumps.", both, TURN))
    for name, (title, words) in drawn.items():
        if name in files.views:
            field = name if name in ("matches", "heatmaps") else "fixed"
            views.append(View(title, words, [(files.views[name], words)], field=field))
    return views


def pair_tab(page: gr.Blocks, key: gr.State) -> None:
    """Fill the tab.

    Args:
        page: The page that is being built.
        key: Of the pair that is remembered for the visitor.
    """
    with gr.Row(elem_classes="rm-tab"):
        with gr.Column(scale=4, min_width=320):
            with gr.Row(elem_classes="rm-photographs"):
                moving = photograph("Moving (later visit)", "moving")
                fixed = photograph("Fixed (earlier visit)", "fixed")
            with gr.Row(elem_classes="rm-run"):
                run = gr.Button("Register", variant="primary", elem_id="register")
                stop = stop_button("stop")
            pace = gr.Markdown(PACE.words(), elem_id="pace")
            examples = gr.Examples(
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
            with gr.Accordion(
                "Model, transform and thresholds: right for most as they are", open=False, elem_id="more"
            ):
                model, transform = model_choice("model"), transform_choice("transform")
                effort = effort_choice("effort")
                thresholds = _thresholds()
                keypoints = gr.Checkbox(
                    False, label="Mark all keypoints in the picture of the matches", elem_id="keypoints"
                )
            gr.Markdown(LIMITS, elem_id="limits")
        with gr.Column(scale=7, min_width=320, elem_classes="rm-results"):
            status = answer("answer", NOT_YET)
            views = gr.HTML(NOTHING, elem_id="views")
            with gr.Accordion("Set places by hand, when nothing else helps", open=False, elem_id="by-hand"):
                gr.HTML(points_html("moving", "fixed"), elem_id="points")
                places = gr.Textbox(visible=False, label="Places")
                run_by_hand = gr.Button("Register with these places", elem_id="register-by-hand", size="md")
            downloads = gr.File(label="Downloads", file_count="multiple", interactive=False, elem_id="downloads")
            numbers = gr.HTML(NOTHING, elem_id="numbers")
    rest = [views, numbers, downloads]
    shown = Shown(status, stop, rest, [answer_html(NOT_YET), *BLANK])
    private = {"api_visibility": "private", "show_progress_on": [status]}
    choices = [transform, *thresholds, effort, keypoints, key]
    shown.begin_on([run, run_by_hand])
    running = run.click(show_pair, [moving, fixed, model, *choices], [status, *rest, pace, key], **private, **NETWORK)
    changed = [transform.change, *(one.change for one in thresholds), effort.change, keypoints.change]
    shown.clear_on(changed)
    again = gr.on(changed, show_again, choices, [status, *rest], trigger_mode="always_last", **private, **ESTIMATE)
    by_hand = run_by_hand.click(
        show_pair,
        [moving, fixed, model, *choices, places],
        [status, *rest, pace, key],
        js=WITH_POINTS,
        **private,
        **NETWORK,
    )
    shown.stop_ends([running, by_hand, again])
    # Another pair or model: nothing of the former one stays, and the thresholds do not go on with it.
    others = [event for place in (moving, fixed) for event in (place.upload, place.clear)]
    shown.clear_on([*others, examples.dataset.select, model.change], ends=[running, by_hand, again], forget=key)
    for place in (moving, fixed):
        place.upload(cleaned, place, place, api_visibility="private", **DECODE)
    page.load(PACE.words, None, pace, api_visibility="private", queue=False)


def _thresholds() -> list[gr.Slider]:
    score = gr.Slider(
        *RANGES["least_score"][1:],
        0,
        step=0.05,
        label="Least keypoint score",
        info="Surer keypoints only",
        elem_id="score",
    )
    ratio = gr.Slider(
        *RANGES["ratio"][1:],
        0,
        step=0.01,
        label="Descriptor ratio",
        info="Lower is stricter; 0 takes the model's own",
        elem_id="ratio",
    )
    distance = gr.Slider(
        *RANGES["inlier_distance"][1:],
        Choices().inlier_distance,
        step=0.5,
        label="Inlier distance",
        info="How near a match has to lie, in pixels of 768 across the field of view",
        elem_id="distance",
    )
    return [score, ratio, distance]


__all__ = ["pair_tab"]
