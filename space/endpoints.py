"""The named endpoints: the same work for programs and agents, with documented inputs and outputs.

Their components are on the page but not shown: they give the endpoints their types.
"""
# The docstrings become the documentation of the interface; what gradio itself fills in (key, progress) is not in it.
# ruff: noqa: D417

import gradio as gr

from retinamatch.registrar import EFFORTS
from retinamatch.transforms import TRANSFORM_NAMES

from .files.results import as_outputs
from .service.handlers import ESTIMATE, NETWORK, estimate_again, in_sentences, register_pair, register_visits_of, relay
from .service.models import model_names
from .service.pictures import write_history, write_pair
from .service.session import MEMORY
from .service.work import DEFAULTS, Choices
from .ui.components import Number, Photograph, Photographs
from .ui.text import history_status, identity_rule, identity_status, pair_numbers, pair_status


@in_sentences
def register(
    moving,
    fixed,
    model: str,
    transform: str,
    least_score: float,
    ratio: float,
    inlier_distance: float,
    effort: str,
    key,
    progress=gr.Progress(),  # noqa: B008 (gradio looks for it here)
):
    """Register two fundus photographs of one eye: find how the moving one lies on the fixed one.

    Args:
        moving: The photograph that is mapped.
        fixed: The photograph that it is mapped onto.
        model: One of the names that /models gives.
        transform: auto, similarity, affine, homography, quadratic or cubic; auto is right for most.
        least_score: Keypoints that the network is less sure of are left out; 0 keeps all.
        ratio: Largest ratio of the distances to the nearest and second nearest descriptor; 0 for the model's own.
        inlier_distance: Distance at which a match agrees, in pixels of 768 across the field of view.
        effort: thorough or fast; thorough tries other views where the photographs do not match as given.

    Returns:
        The answer in words; the figures; the aligned photograph (PNG, the fixed one's size; none without a reliable
        match); the matches (CSV); the transform (JSON); the matches drawn; everything in one ZIP file.
    """
    choices = Choices(transform, least_score, ratio, inlier_distance, effort)
    outcome = yield from relay(register_pair(moving, fixed, model, choices), progress, gr.skip())
    yield *_answer(outcome), MEMORY.keep(outcome.pair, instead_of=key)


@in_sentences
def reestimate(
    transform: str,
    least_score: float,
    ratio: float,
    inlier_distance: float,
    effort: str,
    key,
    progress=gr.Progress(),  # noqa: B008
):
    """Estimate the pair last registered in this session again, with other choices.

    Args:
        transform: auto, similarity, affine, homography, quadratic or cubic.
        least_score: Keypoints that the network is less sure of are left out; 0 keeps all.
        ratio: Largest ratio of the distances to the nearest and second nearest descriptor; 0 for the model's own.
        inlier_distance: Distance at which a match agrees, in pixels of 768 across the field of view.
        effort: thorough or fast; thorough tries other views where the photographs do not match as given.

    Returns:
        As of /register.
    """
    choices = Choices(transform, least_score, ratio, inlier_distance, effort)
    outcome = yield from relay(estimate_again(choices, key), progress, gr.skip())
    yield _answer(outcome)


@in_sentences
def series(photographs, fixed_number: float, model: str, transform: str, progress=gr.Progress()):  # noqa: B008
    """Register from three to twenty photographs of one eye, in order, to one of them.

    Args:
        photographs: The photographs, in order.
        fixed_number: Number of the one that the others are registered to, from 1.
        model: One of the names that /models gives.
        transform: auto, similarity, affine, homography, quadratic or cubic.

    Returns:
        The answer in words, naming those that failed; the figures; the strip; the animation (GIF; none when nothing
        could be registered); everything in one ZIP file.
    """
    work = register_visits_of(photographs, fixed_number, model, transform)
    outcome = yield from relay(work, progress, gr.skip())
    files = write_history(outcome)
    yield as_outputs(history_status(outcome), outcome.to_dict(), files.strip, files.animation, files.downloads[-1])


@in_sentences
def same_eye(first, second, model: str, progress=gr.Progress()):  # noqa: B008
    """Say whether two fundus photographs show the same eye, by the rule whose error rates are measured.

    Args:
        first: A photograph.
        second: Another one.
        model: One of the names that /models gives.

    Returns:
        The answer in words; the answer, the reason, and the conditions of the rule with what was found.
    """
    work = register_pair(first, second, model, Choices("quadratic"))
    outcome = yield from relay(work, progress, gr.skip())
    found = outcome.registration
    answer = {"same_eye": found.registered, "reason": found.reason, "rule": identity_rule(outcome)}
    yield identity_status(outcome), answer


def models() -> list[str]:
    """List the models that can be chosen, the default one first.

    Returns:
        Their names.
    """
    return model_names()


def _answer(outcome) -> tuple:
    files = write_pair(outcome)
    return as_outputs(
        pair_status(outcome),
        pair_numbers(outcome),
        files.aligned,
        files.matches,
        files.transform,
        files.views["matches"],
        files.archive,
    )


def add_endpoints(key: gr.State) -> None:
    """Add the endpoints to the page that is being built.

    Args:
        key: Of the pair that is remembered for the visitor.
    """
    names = model_names()
    with gr.Column(visible=False):
        moving = Photograph(type="filepath", label="Moving photograph")
        fixed = Photograph(type="filepath", label="Fixed photograph")
        photographs = Photographs(file_count="multiple", label="Photographs, in order")
        model = gr.Dropdown(names, value=names[0], label="Model")
        transform = gr.Dropdown(list(TRANSFORM_NAMES), value=DEFAULTS.transform, label="Transform")
        thresholds = [
            Number(DEFAULTS.least_score, label="Least keypoint score"),
            Number(DEFAULTS.ratio, label="Descriptor ratio"),
            Number(DEFAULTS.inlier_distance, label="Inlier distance"),
            gr.Dropdown(list(EFFORTS), value=DEFAULTS.effort, label="Effort"),
        ]
        number = Number(1, label="Number of the fixed photograph")
        status, figures = gr.Textbox(label="Answer"), gr.JSON(label="Figures")
        aligned, matches, record = gr.File(label="Aligned"), gr.File(label="Matches"), gr.File(label="Transform")
        drawn, archive = gr.Image(label="Matches drawn", type="filepath"), gr.File(label="Everything")
        strip, animation = gr.Image(label="Strip", type="filepath"), gr.File(label="Animation")
        run = gr.Button("Endpoints")
        answers = [status, figures, aligned, matches, record, drawn, archive]
        run.click(
            register,
            [moving, fixed, model, transform, *thresholds, key],
            [*answers, key],
            api_name="register",
            **NETWORK,
        )
        run.click(reestimate, [transform, *thresholds, key], answers, api_name="reestimate", **ESTIMATE)
        run.click(
            series,
            [photographs, number, model, transform],
            [status, figures, strip, animation, archive],
            api_name="series",
            **NETWORK,
        )
        run.click(same_eye, [moving, fixed, model], [status, figures], api_name="same_eye", **NETWORK)
        run.click(models, None, figures, api_name="models", queue=False)


__all__ = ["ESTIMATE", "NETWORK", "add_endpoints"]
