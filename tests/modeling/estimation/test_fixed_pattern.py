from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest

from datasets_scripts.rendering.eye import draw_eye
from datasets_scripts.rendering.fundus import render
from retinamatch.estimation import EstimationSettings
from retinamatch.estimation.dense_agreement import dense_agreement
from retinamatch.estimation.fixed_pattern import SharedDetail, hue_agreement, picture_shift, shared_detail
from retinamatch.evaluation.conditions import SHARED_BY_BOTH, AnnotatedPair, askew, marked
from retinamatch.evaluation.degradation import degrade
from retinamatch.keypoint_set import Keypoints
from retinamatch.normalized_picture import NormalizedPicture
from retinamatch.registrar import Registrar
from retinamatch.transforms import Similarity


NOWHERE = np.zeros((0, 2))
SETTINGS = EstimationSettings()
# Text, opacity and gray: every two values meet once.
VEILS = [
    ("A", 0.1, 0),
    ("A", 0.3, 128),
    ("A", 0.6, 255),
    ("KLINIK 7", 0.1, 128),
    ("KLINIK 7", 0.3, 255),
    ("KLINIK 7", 0.6, 0),
    ("DO NOT COPY", 0.1, 255),
    ("DO NOT COPY", 0.3, 0),
    ("DO NOT COPY", 0.6, 128),
]
FIXED = "fixed to the picture, such as a watermark"


@pytest.fixture(scope="module")
def registrar():
    return Registrar(effort="fast")


@pytest.fixture(scope="module")
def strangers(visits, other_eye) -> AnnotatedPair:
    return AnnotatedPair("strangers", other_eye, visits.fixed.image, NOWHERE, NOWHERE)


@pytest.fixture(scope="module")
def others() -> AnnotatedPair:
    return AnnotatedPair("others", render(draw_eye(5), 512).image, render(draw_eye(6), 512).image, NOWHERE, NOWHERE)


def keypoints(photo):
    return Keypoints(NOWHERE, NOWHERE, np.zeros(0), photo.shape[:2], 1.0, picture=NormalizedPicture.from_photo(photo))


def identity():
    corners = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    return Similarity.fit(corners, corners)


def hue(moving, fixed):
    return hue_agreement(keypoints(moving), keypoints(fixed), identity(), SETTINGS)


@pytest.mark.parametrize("text, opacity, gray", VEILS)
@pytest.mark.parametrize(
    "how",
    [
        {"height": 0.12, "tiles": 3},
        {"height": 0.03, "tiles": 8},
        {"height": 0.05, "tiles": 8, "along": True, "angle": 30},
    ],
    ids=["large", "small", "tiles"],
)
def test_a_veil_of_any_gray_leaves_the_hue(strangers, text, opacity, gray, how):
    both = marked(strangers, text, opacity, color=gray, **how)
    assert hue(both.moving, both.fixed) < 0.6 * SETTINGS.minimum_alike_in_hue


@pytest.mark.parametrize("opacity", [0.15, 0.4])
@pytest.mark.parametrize("shape", ["circles", "grid", "logo"])
def test_patterns_that_are_no_text(others, shape, opacity):
    pattern = np.zeros(others.moving.shape[:2], np.uint8)
    for k in range(10, 512, 37):
        if shape == "circles":
            cv2.circle(pattern, (256, 256), k, 255, 3)
        elif shape == "grid":
            pattern[k : k + 3] = pattern[:, k : k + 3] = 255
        else:
            cv2.fillPoly(pattern, [np.array([[k, 100], [k + 30, 160], [k, 220]]) + [0, k % 4 * 70]], 255)
    weight = opacity * pattern[..., None] / 255.0
    moving, fixed = (
        (photo * (1 - weight) + 255 * weight).round().astype(np.uint8) for photo in (others.moving, others.fixed)
    )
    assert hue(moving, fixed) < 0.6 * SETTINGS.minimum_alike_in_hue


@pytest.mark.parametrize("level", [0, 1, 2])
def test_one_retina_has_its_hue(visits, level):
    assert hue(degrade(visits.fixed.image, level), visits.fixed.image) > SETTINGS.minimum_alike_in_hue


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.0, 0.6, 0.3), (0.0, 1.0, 0.0), (0.4, 0.5, 1.0)])
@pytest.mark.parametrize("quality", [None, 60])
def test_gray_and_tinted_photographs_have_no_hue(visits, tint, quality):
    photo = (visits.fixed.image[..., 1:2] * np.array(tint)).round().astype(np.uint8)
    if quality and tint == (1.0, 1.0, 1.0):
        photo = cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    assert NormalizedPicture.from_photo(photo).in_hue() is None
    assert hue(photo, visits.fixed.image) is None


def detail(moving, fixed):
    sides = keypoints(moving), keypoints(fixed)
    agreement = dense_agreement(sides[0].picture, sides[1].picture, identity())
    return shared_detail(*sides, identity(), agreement, SETTINGS)


def foreign(moving, fixed):
    return detail(moving, fixed).foreign_color()


@pytest.mark.parametrize("opacity", [0.2, 0.5])
@pytest.mark.parametrize(
    "color", [(255, 0, 0), (0, 200, 0), (0, 220, 255), (255, 0, 200), (255, 140, 0), (255, 230, 0), (90, 0, 160)]
)
def test_what_colored_tiles_add_is_no_color_of_a_retina(others, color, opacity):
    both = marked(others, "SAMPLE", opacity, 0.05, tiles=9, color=color, angle=-30, along=True)
    found = detail(both.moving, both.fixed)  # None: strong letters are left out of the pictures
    assert found is None or found.foreign_color() > 1.2 * SETTINGS.most_foreign


@pytest.mark.parametrize("color_map", [cv2.COLORMAP_JET, cv2.COLORMAP_HSV, cv2.COLORMAP_RAINBOW])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_neither_is_what_a_color_map_adds(others, color_map, seed):
    heights = np.random.default_rng(seed).uniform(0, 255, (7, 7)).astype(np.uint8)
    colors = cv2.applyColorMap(cv2.resize(heights, (512, 512), interpolation=cv2.INTER_CUBIC), color_map)[..., ::-1]
    moving, fixed = (
        np.where(photo.max(2, keepdims=True) > 12, 0.6 * photo + 0.4 * colors, photo).round().astype(np.uint8)
        for photo in (others.moving, others.fixed)
    )
    assert foreign(moving, fixed) > SETTINGS.most_foreign


@pytest.mark.parametrize("seed", [3, 5, 6, 8])
@pytest.mark.parametrize("level", [0, 2, 4])
def test_one_retina_has_the_colors_of_a_retina(seed, level):
    photo = render(draw_eye(seed), 512).image
    assert foreign(degrade(photo, level), photo) < 0.9 * SETTINGS.most_foreign


@pytest.mark.parametrize("seed", [3, 5, 6, 8])
@pytest.mark.parametrize("level", [0, 2, 4])
def test_what_photographs_of_one_eye_share_is_like_vessels(seed, level):
    photo = render(draw_eye(seed), 512).image
    shared = detail(degrade(photo, level), photo)
    assert shared.like_vessels and shared.skewness < SETTINGS.bright


@pytest.mark.parametrize(
    "text, size, angle", [("COPY", 0.05, 20), ("NOT FOR DIAGNOSIS", 0.04, -35), ("x + x", 0.08, 0)]
)
@pytest.mark.parametrize("gray", [0, 90, 255])
@pytest.mark.parametrize("opacity", [0.15, 0.3])
def test_what_gray_tiles_add_is_not(others, text, size, angle, gray, opacity):
    both = marked(others, text, opacity, size, tiles=9, color=(gray,) * 3, angle=angle, along=True)
    shared = detail(both.moving, both.fixed)
    assert shared is None or not shared.like_vessels


@pytest.mark.parametrize("red", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("blue", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("own", [0.2, 0.6])
def test_channels_that_change_alone_are_those_of_a_map(red, blue, own):
    """Power of its own in each channel: of a small file where the channels go together, else of a map of colors."""
    shared = np.array([[red**2 + own, red, red * blue], [red, 1.0, blue], [red * blue, blue, blue**2 + own]])
    directions = np.linalg.eigvalsh(shared)
    scattered = 1 - directions[-1] / directions.sum()
    assert SharedDetail(shared, 0.0).foreign_color() < 1 or scattered > 0.5 or (red + blue < 0.15 and scattered > 0.35)
    alone = np.diag([own + 0.2, 1.0, own + 0.2])
    assert SharedDetail(alone, 0.0).foreign_color() > 1
    assert SharedDetail(shared, 0.5).foreign_color() > 1 or blue > 0.1  # bright lines without blue


def test_where_hardly_anything_looks_alike_no_color_is_compared(others, rng):
    noise = rng.integers(0, 255, others.moving.shape).astype(np.uint8)
    assert detail(others.moving, noise) is None


def sized(width, height):
    return Keypoints(NOWHERE, NOWHERE, np.zeros(0), (height, width))


@pytest.mark.parametrize("size", [(600, 600), (900, 600), (300, 300)])
def test_shift_of_the_picture(size, rng):
    moving, fixed = sized(600, 600), sized(*size)
    places = rng.uniform(50, 250, (200, 2))
    factor = np.array(size) / 600
    # Scaled with the picture, and as many pixels in both.
    for mapped in ((places + 0.5) * factor - 0.5, places):
        still = picture_shift(places, mapped, moving, fixed)
        assert still.displacement < 1e-9 and still.departure < 1e-9
        moved = picture_shift(places, mapped + [0.1 * size[0], 0.0], moving, fixed)
        assert moved.departure < 1e-9 and 0.02 < moved.displacement < 0.11


@pytest.mark.parametrize("degrees, scale", [(1.0, 1.0), (-2.0, 1.0), (1.5, 1.02), (-1.0, 0.7)])
def test_a_turn_departs_from_it(degrees, scale, rng):
    moving = sized(600, 600)
    places = rng.uniform(20, 580, (200, 2))
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert picture_shift(places, places @ turn.T, moving, moving).departure > SETTINGS.fixed_departure


@pytest.mark.parametrize("size", [(600, 600), (600, 400), (960, 999), (685, 1024)])
@pytest.mark.parametrize("quarters", [0, 1])
def test_text_may_be_scaled_by_rows_or_columns_alone(size, quarters, rng):
    # Letters as high as a share of the rows, whatever the columns are: as many times larger, from the middle.
    height, width = size
    moving, fixed = sized(500, 700), sized(height, width)
    turn = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), quarters)
    places = rng.uniform(0, 1, (200, 2)) * [699, 499]
    places = places[places[:, 1].argsort()]
    for factor in (height / 500, width / 700):
        mapped = factor * (places - [349.5, 249.5]) @ turn + np.array([width, height]) / 2 + [40.0, 0.0]
        assert picture_shift(places, mapped, moving, fixed).departure < 1e-9
        astray = places[:, 1] > np.percentile(places[:, 1], 70)
        mapped[astray] = 1.3 * mapped[astray] + 50.0
        assert picture_shift(places, mapped, moving, fixed).departure < 1e-9


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_tiles_may_be_turned_by_quarters(quarters, rng):
    places = rng.uniform(-200, 200, (200, 2))
    turn = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), quarters)
    turned = picture_shift(places + 299.5, places @ turn + 299.5, sized(600, 600), sized(600, 600))
    assert turned.displacement < 1e-9 and turned.departure < 1e-9


def test_no_overlap_is_no_shift():
    assert picture_shift(NOWHERE, NOWHERE, sized(5, 5), sized(5, 5)).departure == float("inf")


@pytest.mark.parametrize("name", ["watermark", "faint watermark", "small lines", "tiles"])
@pytest.mark.parametrize("gray", [False, True])
def test_different_eyes_are_not_registered(strangers, registrar, name, gray):
    both = SHARED_BY_BOTH[name](strangers)
    sides = [np.repeat(photo[..., 1:2], 3, 2) if gray else photo for photo in (both.moving, both.fixed)]
    registration = registrar.register(*sides)
    assert not registration
    if name == "tiles":
        assert FIXED in registration.reason and not registration.reason.endswith(".")


@pytest.mark.parametrize("name", ["red tiles", "green tiles", "yellow tiles", "color map"])
def test_different_eyes_under_one_colored_pattern_are_not_registered(others, registrar, name):
    both = SHARED_BY_BOTH[name](others)
    assert not registrar.register(both.moving, both.fixed)


ASKEW = [name for name in SHARED_BY_BOTH if name.endswith("askew")]


@pytest.mark.parametrize("name", ASKEW)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_different_eyes_on_pages_that_are_scanned_askew_are_not_registered(others, registrar, name, seed):
    both = SHARED_BY_BOTH[name](replace(others, name=f"{seed}"))
    assert not registrar.register(both.moving, both.fixed)


def test_some_of_them_would_be_if_no_color_were_asked(others, registrar):
    """So the test above tells something."""
    blind = replace(SETTINGS, planar=0.0, fixed_departure=0.0, doubtful_departure=0.0)
    accepted = 0
    for name in ASKEW:
        both = SHARED_BY_BOTH[name](replace(others, name="0"))
        accepted += bool(registrar.register_keypoints(*registrar.keypoints([both.moving, both.fixed]), settings=blind))
    assert accepted >= 2


@pytest.mark.parametrize("name", ["graph paper askew", "guilloche askew"])
def test_two_visits_on_such_pages_are_registered_rightly_or_not_at_all(visits, registrar, name):
    pair = AnnotatedPair("visits", visits.moving.image, visits.fixed.image, NOWHERE, NOWHERE)
    both = SHARED_BY_BOTH[name](pair)
    clean = partial(askew, pattern=lambda pair: pair)(pair)
    found, right = registrar.register(both.moving, both.fixed), registrar.register(clean.moving, clean.fixed)
    assert right
    if found:
        points = visits.shared_keypoints()[0]
        assert np.median(np.linalg.norm(found.transform(points) - right.transform(points), axis=1)) < 3


@pytest.mark.parametrize("shift", [0, 30])
@pytest.mark.parametrize("gray", [False, True])
def test_tiles_that_lie_elsewhere(others, registrar, shift, gray):
    """The pattern moves with the picture that is cut out."""
    both = SHARED_BY_BOTH["tiles"](others)
    sides = [np.repeat(photo[..., 1:2], 3, 2) if gray else photo for photo in (both.moving, both.fixed)]
    registration = registrar.register(np.roll(sides[0], shift, axis=1), sides[1])
    assert not registration and FIXED in registration.reason


@pytest.mark.slow
def test_no_other_view_of_tiles_is_believed(others):
    """Turned by half, tiles lie on tiles."""
    both = SHARED_BY_BOTH["tiles"](others)
    assert not Registrar().register(both.moving, both.fixed)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("name", ["", "faint watermark", "stamp"])
def test_a_copy_of_a_photograph_is_registered(visits, registrar, level, name):
    photo = visits.fixed.image
    pair = AnnotatedPair("copy", degrade(photo, level), photo, NOWHERE, NOWHERE)
    both = SHARED_BY_BOTH[name](pair) if name else pair
    assert registrar.register(both.moving, both.fixed)


@pytest.mark.slow
def test_a_copy_in_gray_is_registered(visits, registrar):
    gray = np.repeat(visits.fixed.image[..., 1:2], 3, 2)
    coded = cv2.imdecode(cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)
    for copy in (gray, coded, visits.fixed.image):
        assert registrar.register(copy, gray)


@pytest.mark.parametrize("name", ["faint watermark", "tiles", "green tiles"])
def test_two_visits_with_the_same_pattern_are_registered(visits, registrar, name):
    pair = AnnotatedPair("visits", visits.moving.image, visits.fixed.image, NOWHERE, NOWHERE)
    both = SHARED_BY_BOTH[name](pair)
    registration = registrar.register(both.moving, both.fixed)
    moving, _ = visits.shared_keypoints()
    if registration:
        assert np.median(np.linalg.norm(registration.transform(moving) - visits.correspond(moving), axis=1)) < 3
