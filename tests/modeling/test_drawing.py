from dataclasses import replace

import numpy as np
import pytest

from retinamatch.drawing import (
    INLIER_COLOR,
    KEYPOINT_COLOR,
    MAXIMUM_SIDE,
    OUTLIER_COLOR,
    PICTURES,
    beside,
    checkerboard,
    difference,
    draw_agreement,
    draw_heatmap,
    draw_matches,
    flicker,
    overlay,
    pictures,
)
from retinamatch.estimation import Estimate
from retinamatch.estimation.dense_agreement import dense_agreement
from retinamatch.keypoint_set import Keypoints
from retinamatch.normalized_picture import NormalizedPicture
from retinamatch.not_retina import is_gray
from retinamatch.registration import Registration
from retinamatch.transforms import Similarity


def make_registration(moving_points, fixed_points, inliers, moving_size=(200, 300), fixed_size=(200, 300)):
    count = len(moving_points)
    keypoints = [
        Keypoints(np.array(points, float), np.zeros((count, 1), np.float32), np.ones(count, np.float32), size)
        for points, size in ((moving_points, moving_size), (fixed_points, fixed_size))
    ]
    estimate = Estimate(
        accepted=True,
        candidate=None,
        matches=np.repeat(np.arange(count)[:, None], 2, axis=1),
        scores=np.ones(count),
        inliers=np.array(inliers, bool),
        residual=0.0,
        overlap=1.0,
        reason="",
    )
    return Registration(estimate, *keypoints)


def close_to(picture, color):
    return np.abs(picture.astype(int) - color).max(-1) <= 24


def test_overlay_of_equal_photographs_is_grey(visits):
    picture = overlay(visits.fixed.image, visits.fixed.image)
    assert picture.shape == visits.fixed.image.shape and picture.dtype == np.uint8
    assert (np.ptp(picture, axis=-1) == 0).all()
    assert picture.std() > 30


def test_overlay_shows_the_fixed_photograph_in_red_and_the_aligned_one_in_cyan():
    fixed, aligned = np.zeros((2, 100, 100, 3), np.uint8)
    fixed[:, :60], aligned[:, 40:] = 120, 120
    picture = overlay(fixed, aligned)
    assert picture[50, 20, 0] > 0 and (picture[50, 20, 1:] == 0).all()
    assert picture[50, 80, 0] == 0 and (picture[50, 80, 1:] > 0).all()
    assert (picture[50, 50] > 0).all()


def test_difference_is_grey_where_nothing_changed(visits):
    photo = visits.fixed.image
    changed = photo.copy()
    changed[300:320, 300:320] = 255
    still = difference(photo, photo)
    assert set(np.unique(still)) <= {0, 128}
    assert difference(photo, changed)[310, 310, 0] > 150


def test_checkerboard_takes_turns():
    fixed, aligned = np.full((80, 160, 3), 60, np.uint8), np.full((80, 160, 3), 200, np.uint8)
    fixed[::2], aligned[::2] = 50, 190
    aligned[:, 120:] = 0
    picture = checkerboard(fixed, aligned, tiles=8)
    assert (picture[:20, :20] == fixed[:20, :20]).all() and (picture[20:40, 20:40] == fixed[20:40, 20:40]).all()
    # The aligned photograph is brought to the brightness of the fixed one, and shows nothing where it is black.
    assert np.abs(picture.astype(int) - fixed).max() <= 1


def test_checkerboard_of_different_photographs_has_both(visits):
    fixed = visits.fixed.image
    aligned = np.where(fixed.max(-1, keepdims=True) > 15, fixed[:, ::-1], 0)
    picture = checkerboard(fixed, aligned, tiles=4)
    assert (picture[256:384, 256:384] == fixed[256:384, 256:384]).all()
    assert np.abs(picture[256:384, 128:256].astype(int) - fixed[256:384, 128:256]).mean() > 2


def test_flicker_frames_are_equally_bright(visits):
    fixed = visits.fixed.image
    first, second = flicker(fixed, (fixed * 0.6).astype(np.uint8))
    assert (first == fixed).all()
    inside = (fixed * 0.6).max(-1) > 15
    assert second[inside].mean() == pytest.approx(fixed[inside].mean(), abs=1)


@pytest.mark.parametrize("gray", ["aligned", "fixed"])
def test_an_angiogram_stays_gray_and_the_photograph_beside_it_colored(visits, gray):
    color = visits.fixed.image
    angiogram = np.repeat(np.where(color.max(-1) > 15, 255 - color[..., 1] // 2, 0)[..., None], 3, -1).astype(np.uint8)
    fixed, aligned = (color, angiogram) if gray == "aligned" else (angiogram, color)
    frames = flicker(fixed, aligned)
    assert [is_gray(frame) for frame in frames] == [gray == "fixed", gray == "aligned"]
    assert (frames[0] == fixed).all() and np.ptp(frames[1][aligned.max(-1) > 15]) > 20


@pytest.mark.parametrize("draw", [overlay, difference, checkerboard])
def test_pictures_are_reduced_and_sizes_must_agree(draw):
    large = np.random.default_rng(0).integers(0, 255, (1500, 3000, 3), dtype=np.uint8)
    assert draw(large, large).shape == (1000, MAXIMUM_SIDE, 3)
    with pytest.raises(ValueError, match="one shape"):
        draw(large, large[:-1])


def test_matches_are_told_apart_by_color_and_by_line():
    photo = np.zeros((200, 300, 3), np.uint8)
    found = make_registration([[50, 50], [50, 150]], [[250, 50], [250, 150]], [True, False])
    picture = draw_matches(photo, photo, found)
    assert picture.shape[1] == 600 and picture.shape[0] > 200
    inlier, outlier = close_to(picture[:200], INLIER_COLOR), close_to(picture[:200], OUTLIER_COLOR)
    assert inlier[:100].any() and not inlier[100:].any()
    assert outlier[100:].any() and not outlier[:100].any()
    between = slice(70, 530)
    assert inlier[50, between].all()  # a solid line
    assert 0.3 < outlier[150, between].mean() < 0.8  # a dashed one
    # A circle is open in the middle of its quarter, a cross is not.
    assert outlier[147, 47] and not inlier[52, 48]


def test_matches_of_unequal_photographs_end_at_their_points():
    moving, fixed = np.zeros((100, 200, 3), np.uint8), np.zeros((3000, 3800, 3), np.uint8)
    found = make_registration([[150, 20]], [[3000, 2400]], [True], moving.shape[:2], fixed.shape[:2])
    picture = draw_matches(moving, fixed, found)
    assert max(picture.shape[:2]) <= MAXIMUM_SIDE
    y, x = np.nonzero(close_to(picture[:1500], INLIER_COLOR))
    assert x.min() == pytest.approx(75, abs=12) and y.min() == pytest.approx(10, abs=12)
    assert x.max() == pytest.approx(100 + 1500, abs=12) and y.max() == pytest.approx(1200, abs=12)


def test_many_matches_are_thinned_evenly():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform([10, 10], [40, 190], (500, 2)), [[250, 100]]])
    photo = np.zeros((200, 300, 3), np.uint8)
    found = make_registration(points, points, np.ones(501))
    few, many = (draw_matches(photo, photo, found, maximum=maximum) for maximum in (5, 500))
    assert close_to(few, INLIER_COLOR).sum() < close_to(many, INLIER_COLOR).sum() / 4
    assert close_to(few[:200, 240:260], INLIER_COLOR).any()  # the lonely one stays


def test_no_matches_give_the_photographs_alone():
    photo = np.full((100, 100, 3), 90, np.uint8)
    picture = draw_matches(photo, photo, make_registration(np.zeros((0, 2)), np.zeros((0, 2)), []))
    assert (picture[:100] == 90).all()


def test_pictures_come_by_name_and_the_matches_alone_when_refused(visits):
    photo = visits.fixed.image
    points = [(100, 120), (300, 200), (200, 400)]
    registration = make_registration(points, points, [True] * 3, photo.shape[:2], photo.shape[:2])
    registration.estimate.candidate = Similarity(np.eye(3))
    drawn = dict(pictures(registration, photo, photo))
    assert tuple(drawn) == PICTURES
    assert (drawn["aligned"] == photo).all() and (drawn["checkerboard"] == photo).all()
    assert set(np.unique(drawn["difference"])) <= {0, 127, 128, 129}
    registration.estimate.accepted = False
    assert [name for name, _ in pictures(registration, photo, photo)] == ["matches"]


def test_keypoints_are_marked_when_asked_for():
    registration = make_registration([(50, 60), (200, 100)], [(60, 70), (210, 110)], [True, True])
    photo = np.zeros((200, 300, 3), np.uint8)
    plain = draw_matches(photo, photo, registration)
    marked = draw_matches(photo, photo, registration, keypoints=True)
    assert close_to(marked[:200], KEYPOINT_COLOR).sum() > close_to(plain[:200], KEYPOINT_COLOR).sum()


@pytest.mark.parametrize("frame", [(0.0, 0.0, 1.0, 1.0), (0.25, -0.1, 1.25, 0.9)])
def test_heat_map_lies_on_the_place_it_belongs_to(frame):
    """A bright square of the photograph, and heat at its center on the network's input: both fall on one pixel."""
    frame = np.array(frame)
    photo = np.zeros((400, 600, 3), np.uint8)
    photo[195:206, 295:306] = 255
    place = (np.array([300.5, 200.5]) / (600, 400) - frame[:2]) / (frame[2:] - frame[:2])
    column, row = np.floor(place * (150, 100)).astype(int)
    heat = np.zeros((100, 150), np.float16)
    center = (frame[:2] + frame[2:]) / 2 * (600, 400) - 0.5
    keypoints = Keypoints(
        np.zeros((0, 2)), np.zeros((0, 1), np.float32), np.zeros(0, np.float32), (400, 600), 4.0, center, heatmap=heat
    )
    plain = draw_heatmap(photo, keypoints)
    assert plain.shape == (100, 150, 3)
    assert np.unravel_index(plain[..., 0].argmax(), heat.shape) == pytest.approx((row, column), abs=1)
    heat[row, column] = 1.0
    hot = draw_heatmap(photo, keypoints)
    assert np.abs(hot.astype(int) - plain).sum(-1).nonzero() == (np.array([row]), np.array([column]))
    assert hot[row, column].astype(int).sum() > 500
    with pytest.raises(ValueError, match="no heat map"):
        draw_heatmap(photo, keypoints.without_maps())


def test_agreement_is_framed_where_photographs_look_alike_and_crossed_where_not(visits):
    fixed = visits.fixed.image
    picture = NormalizedPicture.from_photo(fixed)
    other = picture.values.copy()
    half = other.shape[1] // 2
    other[:, half:] = other[::-1, half:]  # the right half shows something else
    agreement = dense_agreement(picture, replace(picture, values=other), lambda points: points)
    drawn = draw_agreement(fixed, agreement, picture, lambda points: points)
    assert drawn.shape == fixed.shape and 0.3 < agreement.share < 0.7
    blue = (drawn[..., 2] > drawn[..., 0].astype(int) + 40).sum(0)
    orange = (drawn[..., 0] > drawn[..., 2].astype(int) + 40).sum(0)
    middle = round(picture.to_photograph(np.array([[half, half]]))[0, 0])
    assert blue[:middle].sum() > 5 * blue[middle + 20 :].sum()
    assert orange[middle + 20 :].sum() > 5 * orange[: middle - 20].sum()
    nowhere = replace(agreement, correlation=np.full_like(agreement.correlation, np.nan))
    plain = draw_agreement(fixed, nowhere, picture, abs)
    assert (plain[..., 0] == plain[..., 2]).all()  # nothing was compared: the photograph in gray alone


def test_pictures_beside_each_other_have_one_height():
    picture = beside([np.full((100, 80, 3), 9, np.uint8), np.full((50, 60, 3), 9, np.uint8)], gap=8)
    assert picture.shape == (50, 40 + 8 + 60, 3) and (picture[:, 40:48] == 0).all()
