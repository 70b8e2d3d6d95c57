"""What the page says in words and numbers."""

import math

from retinamatch.estimation import EstimationSettings
from retinamatch.estimation.decision import Evidence, fixed_to_picture, impossible_shape, too_little_evidence
from retinamatch.registration import Registration
from retinamatch.series import Series

from ..files.uploads import MOST_BYTES, MOST_PIXELS
from ..service.session import LIFETIME
from ..service.work import Outcome
from .html import table_html


TITLE = "retinamatch: do two photographs of a retina lie on each other?"
INTRODUCTION = """# retinamatch

Two photographs of one retina, brought onto each other to the pixel - or the honest answer that there is no
reliable match. **Not a medical device.** For research; no decision about a patient may rest on it.
"""
LIMITS = (
    f"JPEG, PNG, TIFF, WebP or BMP; at most {MOST_BYTES // 1_000_000} MB and {MOST_PIXELS // 1_000_000} megapixels "
    f"each. Only you see them; they are deleted {LIFETIME / 60:.0f} minutes later, and nothing is learned from them."
)
# `make figures` renders the blocks of figures, as in README.md.
ERROR_RATES = """**How often this is wrong**, measured with the default thresholds and the model
`lk-superretina-small`. One eye or different eyes, RIDB:

<!-- figures: identity identity/lk-superretina-small.json -->
| model | pairs of one eye registered | pairs of different eyes accepted |
| --- | --- | --- |
| lk-superretina-small | 100 of 100 | 0 of 1,125 |
<!-- /figures -->

Different eyes, and mirror images of one, of five sources, as they are, blurred, on a white surround and with the
same stamp or watermark; the greatest figures of all of them. The documentation counts other patterns too:

<!-- figures: impostors impostors_at_size/lk-superretina-small.json -->
| model | pairs | condition | number | accepted | rate below | agreeing | share | excess | alike | correlation |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| lk-superretina-small | different | plain | 10,597 | 0 | 0.00028 | 8 | 0.231 | 6.5 | 0.4 | 0.203 |
| lk-superretina-small | different | both degraded 3 | 10,597 | 0 | 0.00028 | 7 | 0.364 | 7.18 | 0.409 | 0.255 |
| lk-superretina-small | different | white surround | 10,597 | 0 | 0.00028 | 7 | 0.235 | 6.93 | 0.4 | 0.196 |
| lk-superretina-small | different | stamp | 10,597 | 0 | 0.00028 | 9 | 0.214 | 7.85 | 0.385 | 0.26 |
| lk-superretina-small | different | watermark | 10,597 | 0 | 0.00028 | 57 | 0.378 | 18.2 | 0.45 | 0.241 |
| lk-superretina-small | mirrored | plain | 295 | 0 | 0.01 | 8 | 0.185 | 6.31 | 0.426 | 0.22 |
| lk-superretina-small | mirrored | both degraded 3 | 295 | 0 | 0.01 | 6 | 0.191 | 6.33 | 0.556 | 0.4 |
| lk-superretina-small | mirrored | white surround | 295 | 0 | 0.01 | 7 | 0.222 | 8.2 | 0.667 | 0.41 |
| lk-superretina-small | mirrored | stamp | 295 | 0 | 0.01 | 8 | 0.184 | 6.04 | 0.393 | 0.222 |
| lk-superretina-small | mirrored | watermark | 295 | 0 | 0.01 | 39 | 0.269 | 16.1 | 0.368 | 0.175 |
| lk-superretina-small | impostors | all | 54,460 | 0 | 5.5e-05 | 57 | 0.378 | 18.2 | 0.667 | 0.41 |
<!-- /figures -->

No error in ten thousand pairs still allows about 3 in 10,000 (95 per cent confidence, if the pairs were independent;
they come from few people), and these are good photographs. An answer "no reliable match" does not prove that
two eyes differ: little overlap, blur or advanced disease give it too.
"""
ABOUT = f"""## What this is

`retinamatch` registers retinal fundus photographs: a small neural network finds keypoints and describes them,
the descriptors are matched, a transform that fits a curved retina is estimated, and a rule decides whether to
believe it. It is a Hugging Face model package with weights, a command line and a Python interface; this page is
made of the same functions.

**Not a medical device.** For research; no decision about a patient may rest on it.

## How good it is

On 23 pairs of FIRE's class P, the one with little overlap, as they are and made harder (AUC of FIRE's protocol):

<!-- figures: stress-summary stress.json lk-superretina-small rootsift -->
| AUC (pairs registered) | lk-superretina-small | rootsift |
| --- | --- | --- |
| clean | 0.925 (23/23) | 0.913 (23/23) |
| degraded 3 | 0.910 (23/23) | 0.751 (23/23, 2 rough) |
| degraded 5 | 0.823 (23/23, 1 rough) | 0.235 (16/23, 5 wrong, 4 rough) |
| JPEG 30 at 256 | 0.857 (23/23) | 0.640 (23/23, 2 rough) |
| **mean of 4 conditions** | 0.879 (0 wrong) | 0.635 (5 wrong) |
<!-- /figures -->

These are development pairs: settings were chosen by means over all of them.

{ERROR_RATES}

## What happens to your photographs

They are kept on this computer for your session only, in a folder whose name nobody can guess, and are deleted
after {LIFETIME / 60:.0f} minutes, at the latest five minutes later. Nothing is learned from them. What you get
back carries no EXIF data: no place, no date, no camera.

## Use it from a program

Every button has a named endpoint; "Use via API" at the foot of the page shows how to call it from Python,
JavaScript or curl. As tools for agents (MCP): `<address of this page>/gradio_api/mcp/`.

## Licenses

Code and weights: Apache-2.0. Trained on HRF (CC BY 4.0), CHASE_DB1 (CC BY 4.0) and photographs rendered by this
project; the examples on this page are rendered too. FIRE and RIDB serve to measure.
"""
_NOT_ASKED = "not looked at"
NOT_MEASURED = "The error rates were measured with the default thresholds; yours differ."
NOTHING_TO_SHOW = "There is no reliable match, so there is nothing to lay over the fixed photograph."
NO_HEATMAP = "RootSIFT has no heat map."
TURNED = 30  # degrees: no camera turns by that much between two visits
NOT_YET = "Nothing yet: choose two photographs and press Register."


def seen_in_words(registration: Registration) -> str:
    """Say what was unusual about how a registered pair was given: turned, or matched in another view only."""
    words = f" They matched in another view: {registration.views_in_words}." if registration.views_in_words else ""
    if abs(registration.turn) >= TURNED and "turned" not in words:
        words = f" The moving photograph was given turned by {abs(registration.turn):.0f} degrees.{words}"
    return words


def pair_status(outcome: Outcome) -> str:
    """Write the answer for a pair in one or two plain sentences."""
    registration = outcome.registration
    if registration.registered:
        kind = registration.transform.to_dict()["class"]
        text = (
            f"{'Registered roughly' if registration.rough else 'Registered'}. "
            f"{registration.inliers.sum()} of {len(registration.matches)} matches agree on one {kind} "
            f"transform, half of them within {registration.residual:.2f} pixels; the moving photograph covers "
            f"{registration.overlap:.0%} of the fixed one."
        )
        text += seen_in_words(registration)
    else:
        text = f"No reliable match: {registration.reason}."
        if "views" in registration.timings:
            text += " Turns, parts of the field, reversed contrast and other channels were tried too."
    seconds = sum(registration.timings.values())
    text += f" {seconds:.1f} seconds of work."
    return text if outcome.choices.measured else f"{text} {NOT_MEASURED}"


def pair_numbers(outcome: Outcome) -> dict:
    """Collect the figures of a pair, for JSON."""
    registration = outcome.registration
    found = registration.registered
    return {
        "status": registration.status,
        "reason": registration.reason,
        "model": outcome.pair.model,
        "transform": registration.transform.to_dict()["class"] if found else None,
        "views": registration.to_dict()["views"] if found else None,
        "keypoints_moving": len(registration.moving_keypoints),
        "keypoints_fixed": len(registration.fixed_keypoints),
        "matches": len(registration.matches),
        "inliers": int(registration.inliers.sum()),
        "residual_pixels": round(float(registration.residual), 3) if found else None,
        "overlap": round(float(registration.overlap), 3) if found else None,
        "precision_pixels": round(registration.precision, 3) if found and registration.precision is not None else None,
        "rough": registration.rough if found else None,
        "default_thresholds": outcome.choices.measured,
        "seconds": {step: round(seconds, 3) for step, seconds in registration.timings.items()},
    }


def history_status(series: Series) -> str:
    """Say what became of a history, every failed photograph by name."""
    fixed = series.visits[series.fixed].name
    text = f"{len(series.registered)} of {len(series.visits) - 1} photographs are registered to {fixed}."
    return " ".join([text, *(f"Left out: {visit.name}, {visit.problem}." for visit in series.failed)])


def history_table(series: Series) -> str:
    """Write a row for every visit."""
    rows = []
    for index, visit in enumerate(series.visits):
        record = visit.registration or None
        inliers, residual, overlap = "", "", ""
        if record is not None:
            inliers, residual = int(record.inliers.sum()), f"{record.residual:.2f} px"
            overlap = f"{record.overlap:.0%}"
        words = series.words(index)
        rows.append([f"{index + 1}. {visit.name}", words, inliers, residual, overlap, visit.problem])
    return table_html(["photograph", "status", "inliers", "residual", "overlap", "why not"], rows, "Visits")


def identity_status(outcome: Outcome) -> str:
    """Write the answer to "same eye?" in plain words."""
    if outcome.registration.registered:
        return "Same eye: the two photographs agree far beyond chance."
    return (
        f"No reliable match: {outcome.registration.reason}. This may be one eye all the same: little overlap, blur "
        "or disease can hide it. It does not prove that the eyes differ."
    )


def identity_rule(outcome: Outcome) -> list[dict]:
    """Collect the conditions of the rule: what is wanted, what was measured; without figures when none were.

    Where the photographs look alike beyond doubt, they are believed without the conditions on keypoints.
    """
    evidence, settings = outcome.registration.evidence, EstimationSettings()
    conditions = (
        (
            "agreeing",
            "Matches found by descriptor alone that agree on one transform",
            settings.minimum_agreeing,
            "{:.0f}",
        ),
        ("share", "Their share among the matches in the overlap", settings.minimum_share, "{:.0%}"),
        ("excess", "Excess over what chance gives, in standard deviations", settings.minimum_excess, "{:.1f}"),
    )
    rule = []
    for key, words, least, form in conditions:
        value = evidence.get(key)
        known = value is not None and math.isfinite(value)
        rule.append(
            {
                "condition": words,
                "at_least": form.format(least),
                "found": form.format(value) if known else "nothing to count",
                "met": bool(known and value >= least),
            }
        )
    least = settings.minimum_alike if all(one["met"] for one in rule) else settings.sufficient_alike
    alike = evidence.get("alike")
    alike = None if alike is None else max(alike, evidence["alike_reversed"])
    rule.append(
        {
            "condition": "Places that look alike in the photographs themselves",
            "at_least": f"{least:.0%}",
            "found": "nothing to compare" if alike is None else f"{alike:.0%}",
            "met": alike is not None and alike >= least,
        }
    )
    return [*rule, *_what_may_speak_against(outcome)]


def _what_may_speak_against(outcome: Outcome) -> list[dict]:
    """Collect what the rule asks of a transform that keypoints or photographs speak for."""
    registration, settings = outcome.registration, EstimationSettings()
    evidence = Evidence.from_dict(registration.evidence) if "agreeing" in registration.evidence else None
    asked = evidence is not None and not too_little_evidence(evidence, settings)
    shaped = asked and not fixed_to_picture(evidence, settings)
    known = shaped and not impossible_shape(evidence, settings)
    return [
        {
            "condition": words,
            "at_least": "yes",
            "found": ("yes" if met else "no") if asked else _NOT_ASKED,
            "met": met,
        }
        for words, asked, met in (
            ("What both show is not fixed to the picture, such as a watermark or print", asked, shaped),
            ("The transform neither mirrors nor folds, and magnifies and stretches as photographs may", shaped, known),
            ("It is known well enough to be one", known, known and registration.registered),
        )
    ]


def _sign(one: dict) -> str:
    if one["found"] == _NOT_ASKED:
        return ""
    return "✓ met" if one["met"] else "✗ not met"


def identity_table(outcome: Outcome) -> str:
    """Write the same as a table."""
    rows = [[one["condition"], one["at_least"], one["found"], _sign(one)] for one in identity_rule(outcome)]
    return table_html(
        ["condition", "at least", "here", ""],
        rows,
        "The rule: all conditions, or photographs that look alike beyond doubt",
    )


__all__ = [
    "ABOUT",
    "ERROR_RATES",
    "INTRODUCTION",
    "LIMITS",
    "NOTHING_TO_SHOW",
    "NOT_YET",
    "NO_HEATMAP",
    "TITLE",
    "history_status",
    "history_table",
    "identity_rule",
    "identity_status",
    "identity_table",
    "pair_numbers",
    "pair_status",
    "seen_in_words",
]
