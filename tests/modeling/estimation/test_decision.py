from dataclasses import replace

import pytest

from retinamatch.estimation import EstimationSettings
from retinamatch.estimation.decision import Evidence, color_decides, reason_to_reject


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


def test_worst_of_mirror_images_is_rejected():
    """The strongest evidence between RootSIFT keypoints of a photograph and its mirror image; see `impostors.py`."""
    mirror = replace(CLEAR, agreeing=8, share=0.14, inliers=302, chance=215.0, excess=5.2)
    assert reason_to_reject(mirror, SETTINGS) != ""


ALIKE = {"cells": 60, "alike": 0.9, "alike_reversed": 0.0, "correlation": 0.6}
UNLIKE = {"cells": 60, "alike": 0.12, "alike_reversed": 0.08, "correlation": 0.02}
FEW = [{"agreeing": 4}, {"agreeing": 30, "share": 0.08}, {"inliers": 61, "excess": 0.1}, {"span": 0.004}]


def test_keypoints_alone_are_not_believed():
    """What both photographs show that is not retina makes keypoints agree, but not the photographs."""
    assert reason_to_reject(replace(CLEAR, **ALIKE), SETTINGS) == ""
    reason = reason_to_reject(replace(CLEAR, **UNLIKE), SETTINGS)
    assert "80 matches agree" in reason and "look alike in only 12 per cent of the places" in reason


@pytest.mark.parametrize("few", FEW)
def test_photographs_that_leave_no_doubt_are_believed(few):
    assert reason_to_reject(replace(CLEAR, **few), SETTINGS) != ""
    assert reason_to_reject(replace(CLEAR, **few, **ALIKE), SETTINGS) == ""
    assert reason_to_reject(replace(CLEAR, **few, **UNLIKE), SETTINGS) == reason_to_reject(
        replace(CLEAR, **few), SETTINGS
    )


@pytest.mark.parametrize(
    "lacking", [{"cells": 8}, {"alike": 0.4}, {"correlation": 0.1}, {"folded": True}, {"stretch": 2.4}]
)
def test_each_condition_on_photographs_alone(lacking):
    assert reason_to_reject(replace(CLEAR, **FEW[0], **{**ALIKE, **lacking}), SETTINGS) != ""


def test_reversed_contrast_is_evidence_as_well():
    turned = {"cells": 60, "alike": 0.0, "alike_reversed": 0.9, "correlation": -0.6}
    assert reason_to_reject(replace(CLEAR, **turned), SETTINGS) == ""
    assert reason_to_reject(replace(CLEAR, **FEW[0], **turned), SETTINGS) == ""


HAZED = {"cells": 5, "alike": 0.2, "alike_reversed": 0.0, "correlation": 0.1, "displacement": 0.1, "departure": 0.008}


def test_behind_a_haze_most_matches_must_agree():
    """Where hardly any place can be compared, the photographs do not contradict."""
    many = {"agreeing": 60, "share": 0.55}
    assert reason_to_reject(replace(CLEAR, **HAZED | many), SETTINGS) == ""
    for less in ({"share": 0.49}, {"agreeing": 39}, {"departure": 0.0039}, {"cells": 16}, {"excess": 1}, {"folded": 1}):
        assert reason_to_reject(replace(CLEAR, **HAZED | many | less), SETTINGS) != ""


FIXED = {**ALIKE, "displacement": 0.0005, "departure": 0.0003, "plane_error": 1.5}


@pytest.mark.parametrize("few", [{}, *FEW])
def test_what_is_fixed_to_the_picture_is_not_believed(few):
    """However much the photographs look alike."""
    for hue in (0.1, 0.24, 0.59):
        reason = reason_to_reject(replace(CLEAR, **few, **FIXED, alike_in_hue=hue), SETTINGS)
        assert "fixed to the picture, such as a watermark" in reason and not reason.endswith(".")
    assert reason_to_reject(replace(CLEAR, **few, **FIXED, alike_in_hue=0.6), SETTINGS) == ""


def test_a_shifted_pattern_is_known_by_its_hue():
    shifted = FIXED | {"displacement": 0.2, "alike_in_hue": 0.1, "agreeing": 30}
    assert "fixed to the picture" in reason_to_reject(replace(CLEAR, **shifted), SETTINGS)
    assert reason_to_reject(replace(CLEAR, **shifted | {"alike_in_hue": 0.25}), SETTINGS) == ""
    assert reason_to_reject(replace(CLEAR, **shifted | {"departure": 0.01}), SETTINGS) == ""


def test_more_keypoints_than_letters_have_need_less_of_the_hue():
    shifted = FIXED | {"displacement": 0.2, "alike_in_hue": 0.23}
    many = {"agreeing": SETTINGS.doubtless_agreeing, "share": SETTINGS.doubtless_share}
    assert reason_to_reject(replace(CLEAR, **shifted | many), SETTINGS) == ""
    for fewer in ({"agreeing": 39}, {"share": 0.34}, {"displacement": 0.0}, {"alike_in_hue": 0.21}):
        assert "fixed to the picture" in reason_to_reject(replace(CLEAR, **shifted | many | fewer), SETTINGS)


@pytest.mark.parametrize("few", [{}, {"agreeing": 31, "share": 0.2}, {"agreeing": 20}, *FEW])
@pytest.mark.parametrize("departure", [0.002, 0.02, 0.3])
@pytest.mark.parametrize("plane_error", [1.0, 1.1, None])
def test_what_lies_in_a_plane_is_known_by_its_colors(few, departure, plane_error):
    """As a page that is scanned askew, whatever is printed on it; a retina is curved."""
    shown = ALIKE | {"displacement": 0.2, "departure": departure, "plane_error": plane_error, "foreign": 0.8}
    for hue, foreign in ((0.2, 0.8), (0.5, 1.01), (0.2, None)):
        reason = reason_to_reject(replace(CLEAR, **shown | few | {"alike_in_hue": hue, "foreign": foreign}), SETTINGS)
        assert "fixed to the picture, such as a watermark" in reason
    assert reason_to_reject(replace(CLEAR, **shown | few, alike_in_hue=0.5), SETTINGS) == ""
    glaring = {"skewness": 1.0, "alike_in_hue": 0.99}
    assert "as vessels are not" in reason_to_reject(replace(CLEAR, **shown | few | glaring), SETTINGS)
    assert reason_to_reject(replace(CLEAR, **shown | few | glaring | {"skewness": 0.9}), SETTINGS) == ""
    copies = {"share": 0.9, "agreeing": 60, "inliers": 300, "excess": 9.0, "span": 0.5}
    assert reason_to_reject(replace(CLEAR, **shown | few | glaring | copies), SETTINGS) == ""
    bright = shown | few | {"skewness": 0.4}
    assert (reason_to_reject(replace(CLEAR, **bright, alike_in_hue=0.59), SETTINGS) == "") == (not few)  # many agree
    assert reason_to_reject(replace(CLEAR, **bright, alike_in_hue=0.6), SETTINGS) == ""
    curved = {"plane_error": 1.2, "departure": 0.3, "alike_in_hue": 0.1}
    assert reason_to_reject(replace(CLEAR, **shown | few | curved), SETTINGS) == ""


@pytest.mark.parametrize("few", [{}, {"agreeing": 15}, *FEW])
@pytest.mark.parametrize("lies", [{}, {"displacement": 0.2}, {"displacement": 0.2, "departure": 0.05}])
def test_what_is_like_vessels_needs_no_hue(few, lies):
    """That of small files is lost, and two visits may have the same gaze."""
    shown = FIXED | {"plane_error": 1.0, "alike_in_hue": 0.1, "like_vessels": True, "foreign": 0.6} | few | lies
    assert reason_to_reject(replace(CLEAR, **shown), SETTINGS) == ""
    for change in ({"like_vessels": False}, {"foreign": 1.01}):
        assert "fixed to the picture" in reason_to_reject(replace(CLEAR, **shown | change), SETTINGS)


@pytest.mark.parametrize("few", FEW)
def test_in_gray_little_is_believed_of_what_lies_in_a_plane(few):
    shown = ALIKE | {"displacement": 0.2, "departure": 0.02, "plane_error": 1.0, "agreeing": 30, "foreign": 0.8}
    assert reason_to_reject(replace(CLEAR, **shown), SETTINGS) == ""
    for change in (few, {"foreign": 1.01}):
        assert "no color tells it" in reason_to_reject(replace(CLEAR, **shown | change), SETTINGS)
        assert reason_to_reject(replace(CLEAR, **shown | change | {"plane_error": 1.2}), SETTINGS) == ""
    assert reason_to_reject(replace(CLEAR, **shown | {"foreign": 1.01, "agreeing": 60, "share": 0.5}), SETTINGS) == ""


@pytest.mark.parametrize("few", FEW)
@pytest.mark.parametrize("departure", [0.005, 0.06])
def test_where_the_likeness_alone_is_believed_more_of_a_departure_is_doubted(few, departure):
    shifted = FIXED | {"displacement": 0.2, "departure": departure}
    assert "fixed to the picture" in reason_to_reject(replace(CLEAR, **few, **shifted, alike_in_hue=0.2), SETTINGS)
    assert reason_to_reject(replace(CLEAR, **few, **shifted, alike_in_hue=0.3), SETTINGS) == ""
    mere = shifted | {"departure": 0.003}
    assert "fixed to the picture" in reason_to_reject(replace(CLEAR, **few, **mere, alike_in_hue=0.3), SETTINGS)
    assert reason_to_reject(replace(CLEAR, **few, **mere, alike_in_hue=0.45), SETTINGS) == ""
    far = shifted | {"departure": 0.11}
    assert reason_to_reject(replace(CLEAR, **few, **far, alike_in_hue=0.2), SETTINGS) == ""


@pytest.mark.parametrize("few", [{}, {"agreeing": 29}, *FEW])
def test_colors_are_asked_where_they_decide(few):
    """Where all else is believed and the transform may be that of a pattern."""
    wanted = SETTINGS.doubtful_departure if few else SETTINGS.fixed_departure
    for displacement in (0.0005, 0.2):
        shifted = FIXED | {"agreeing": 30, "displacement": displacement, "departure": 0.99 * wanted} | few
        assert color_decides(replace(CLEAR, **shifted), SETTINGS)
        assert not color_decides(replace(CLEAR, **shifted | {"departure": wanted}), SETTINGS)
        assert color_decides(replace(CLEAR, **shifted | {"departure": wanted, "plane_error": 1.1}), SETTINGS)
        assert not color_decides(replace(CLEAR, **shifted | UNLIKE), SETTINGS)
    assert not color_decides(replace(CLEAR, **few), SETTINGS)


@pytest.mark.parametrize("departure", [0.005, 0.06])
@pytest.mark.parametrize("few", [{"agreeing": 29}, *FEW])
def test_foreign_colors_are_not_believed_where_as_few_keypoints_agree_as_with_a_pattern(few, departure):
    shown = FIXED | {"displacement": 0.2, "departure": departure, "alike_in_hue": 0.6, "foreign": 1.01}
    assert "colors of a retina" in reason_to_reject(replace(CLEAR, **shown | few), SETTINGS)
    for change in ({"foreign": 0.99}, {"departure": 0.11}):
        assert reason_to_reject(replace(CLEAR, **shown | few | change), SETTINGS) == ""
    assert reason_to_reject(replace(CLEAR, **shown | {"agreeing": 30, "share": 0.3}), SETTINGS) == ""


def test_small_files_of_one_eye_need_neither_agree_in_hue_nor_have_one():
    shown = FIXED | {"displacement": 0.2, "departure": 0.005, "agreeing": 16, "foreign": 0.8}
    for hue in (0.1, None):
        assert reason_to_reject(replace(CLEAR, **shown, alike_in_hue=hue), SETTINGS) == ""
    assert reason_to_reject(replace(CLEAR, **shown | {"foreign": 1.01}), SETTINGS) == ""  # in gray


def test_in_gray_only_copies_are_believed_in_place():
    assert "fixed to the picture" in reason_to_reject(replace(CLEAR, **FIXED), SETTINGS)
    for change in ({"correlation": 0.99}, {"displacement": 0.01}):
        assert reason_to_reject(replace(CLEAR, **FIXED | change), SETTINGS) == ""
