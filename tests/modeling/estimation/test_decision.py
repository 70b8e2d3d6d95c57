from dataclasses import replace

import pytest

from retinamatch.estimation import EstimationSettings
from retinamatch.estimation.decision import Evidence, reason_to_reject


SETTINGS = EstimationSettings()
CLEAR = Evidence(
    agreeing=80,
    share=0.6,
    inliers=300,
    chance=60.0,
    excess=30.7,
    span=0.5,
    overlap=0.7,
    smallest_scale=0.9,
    largest_scale=1.1,
    stretch=1.1,
    folded=False,
)


def test_clear_evidence_is_believed():
    assert reason_to_reject(CLEAR, SETTINGS) == ""


@pytest.mark.parametrize(
    "change, words",
    [
        ({"agreeing": 9}, "only 9 matches agree on one transform, at least 10"),
        ({"agreeing": 30, "share": 0.08}, "8 per cent of those in the overlap"),
        ({"inliers": 61, "excess": 0.1}, "brings 61 keypoints together, and chance alone would bring about 60"),
        ({"span": 0.004}, "span only 0.4 per cent"),
        ({"folded": True}, "folds or mirrors"),
        ({"smallest_scale": 0.3}, "magnifies 0.30 to 1.10 times"),
        ({"largest_scale": 2.5}, "magnifies 0.90 to 2.50 times"),
        ({"stretch": 2.4}, "stretches the retina 2.4 times"),
    ],
)
def test_each_condition_has_its_words(change, words):
    reason = reason_to_reject(replace(CLEAR, **change), SETTINGS)
    assert words in reason and "\n" not in reason and not reason.endswith(".")


@pytest.mark.parametrize("name", ["agreeing", "share", "excess", "span"])
def test_thresholds_are_the_least_that_passes(name):
    least = getattr(SETTINGS, f"minimum_{name}")
    assert reason_to_reject(replace(CLEAR, **{name: least}), SETTINGS) == ""
    assert reason_to_reject(replace(CLEAR, **{name: 0.99 * least}), SETTINGS) != ""


def test_worst_of_mirror_images_is_refused():
    """The strongest evidence between RootSIFT keypoints of a photograph and its mirror image; see `impostors.py`."""
    mirror = replace(CLEAR, agreeing=8, share=0.14, inliers=302, chance=215.0, excess=5.2)
    assert reason_to_reject(mirror, SETTINGS) != ""
