"""The answer for a pair as the page shows it: a verdict in words, figures with their meaning, and what to try."""

from retinamatch.estimation import EstimationSettings
from retinamatch.extractor import ROOTSIFT
from retinamatch.keypoint_set import WORKING_SIZE
from retinamatch.registrar import THOROUGH
from retinamatch.series import Series

from ..service.work import Outcome
from .html import Figure, answer_html, table_html
from .text import NOT_MEASURED, history_status, identity_status, pair_numbers, seen_in_words


MEANINGS = {
    "agree": "Places found in both photographs by what is around them. They agree when they lie on each other "
    "under the transform; ten at least have to, unless the photographs look alike beyond doubt.",
    "alike": "The photographs are compared square by square where both show retina; a square counts when its vessels "
    f"look alike; {EstimationSettings.minimum_alike:.0%} have to. The view Agreement shows where.",
    "transform": "How the moving photograph may be bent to fit: from similarity (turned, shifted, one zoom) to "
    "quadratic and cubic, which follow the curve of the retina.",
    "residual": "Half of the agreeing places lie nearer than this, in pixels of the fixed photograph.",
    "covers": "How much of the fixed photograph's field the moving one shows.",
    "precision": "How far off the transform may be on average over what both photographs show, from the spread of the "
    "places it rests on.",
    "seconds": "Work of this computer, without waiting in the queue.",
    "keypoints": "Places that the model found worth describing: mostly where vessels part or cross.",
}


def pair_names(outcome: Outcome) -> str:
    """Say which photograph lies on which."""
    return f"{outcome.pair.moving.name} onto {outcome.pair.fixed.name}"


def pair_verdict(outcome: Outcome) -> str:
    """Write the answer for a pair."""
    found = outcome.registration
    words = "" if outcome.choices.measured else NOT_MEASURED
    if not found.registered:
        return answer_html(
            f"{_capital(found.reason)}.{_tried(outcome)} {words}".strip(),
            "no match",
            f"Not aligned, no reliable match: {pair_names(outcome)}",
            [_seconds(outcome)],
            _hints(outcome),
        )
    field = found.fixed_keypoints.scale * WORKING_SIZE
    sentence = (
        f"Vessels lie on each other to about {found.residual:.1f} pixels of the fixed photograph, "
        f"{found.residual / field:.2%} of the width of its field."
    )
    if outcome.pair.points is not None:
        sentence += f" It started from {len(outcome.pair.points)} places set by hand."
    kind, verdict = "registered", "Well aligned"
    if found.rough:
        kind, verdict = "rough", "Roughly aligned"
        sentence = "The place is right; do not trust single pixels, least of all away from the places that agree."
    sentence += seen_in_words(found)
    return answer_html(f"{sentence} {words}".strip(), kind, f"{verdict}: {pair_names(outcome)}", _figures(outcome))


def _figures(outcome: Outcome) -> list[Figure]:
    found = outcome.registration
    alike, reversed_ = (found.evidence.get(key) for key in ("alike", "alike_reversed"))
    kind = found.transform.to_dict()["class"]
    figures = [
        Figure(f"{found.inliers.sum()} of {len(found.matches)} matches agree", MEANINGS["agree"]),
        Figure(f"covers {found.overlap:.0%}", MEANINGS["covers"]),
    ]
    if alike is not None:
        figures.append(Figure(f"alike in {max(alike, reversed_):.0%} of places", MEANINGS["alike"]))
    return [*figures, Figure(f"{kind} transform", MEANINGS["transform"]), _seconds(outcome)]


def _seconds(outcome: Outcome) -> Figure:
    return Figure(f"{sum(outcome.registration.timings.values()):.1f} s", MEANINGS["seconds"])


def _tried(outcome: Outcome) -> str:
    if "views" not in outcome.registration.timings:
        return ""
    return " Upside down and other turns, parts of the field, reversed contrast, other channels were tried too."


def _hints(outcome: Outcome) -> list[str]:
    found = outcome.registration
    if "mirror" in found.reason:
        return ["Flip one of the two photographs left to right and hand it in again."]
    hints = ["Is it the same eye? Left and right are easily mixed up, and so are patients."]
    if outcome.choices.effort != THOROUGH:
        hints.append(
            'Choose the effort "thorough": it tries photographs that are upside down, turned, cut, of reversed '
            "contrast or in another channel."
        )
    if not outcome.choices.measured:
        hints.append("Set the thresholds back to their defaults.")
    if outcome.pair.model == ROOTSIFT:
        hints.append("Choose a model with a network.")
    hints.append("Hand in a sharper photograph, or one that shows more of the same field.")
    hints.append("Set three or more places by hand in both photographs, below the pictures.")
    return hints


def pair_table(outcome: Outcome) -> str:
    """Write the figures of a pair as a table, each with its meaning."""
    numbers = pair_numbers(outcome)
    precision = outcome.registration.precision
    rows = [
        [Figure("Keypoints, moving", MEANINGS["keypoints"]), numbers["keypoints_moving"]],
        [Figure("Keypoints, fixed", MEANINGS["keypoints"]), numbers["keypoints_fixed"]],
        [Figure("Matches", MEANINGS["agree"]), numbers["matches"]],
        [Figure("That agree", MEANINGS["agree"]), numbers["inliers"]],
        [Figure("Residual, median", MEANINGS["residual"]), _or_none(numbers["residual_pixels"], "{:.2f} px")],
        [Figure("Standard error", MEANINGS["precision"]), _or_none(precision, "{:.2f} px")],
        [Figure("Overlap", MEANINGS["covers"]), _or_none(numbers["overlap"], "{:.0%}")],
        [Figure("Transform", MEANINGS["transform"]), numbers["transform"] or "none"],
        ["Model", numbers["model"]],
        *([f"Time: {step}", f"{seconds:.2f} s"] for step, seconds in numbers["seconds"].items()),
    ]
    return table_html(["", "value"], rows, f"Figures: {pair_names(outcome)}")


def identity_verdict(outcome: Outcome) -> str:
    """Write the answer to "same eye?"."""
    same = outcome.registration.registered
    names = f"{outcome.pair.moving.name} and {outcome.pair.fixed.name}"
    verdict = f"Same eye: {names}" if same else f"Not shown to be one eye: {names}"
    return answer_html(identity_status(outcome), "registered" if same else "no match", verdict)


def history_verdict(series: Series) -> str:
    """Write the answer for a history."""
    done, others = len(series.registered), len(series.visits) - 1
    kind = "no match" if not done else "rough" if done < others else "registered"
    words, *left_out = history_status(series).split(" Left out: ", 1)
    return answer_html(*[f"Left out: {words}" for words in left_out] or [""], kind, words)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _or_none(value, form: str) -> str:
    return "none" if value is None else form.format(value)


__all__ = ["MEANINGS", "history_verdict", "identity_verdict", "pair_names", "pair_table", "pair_verdict"]
