"""Views of a photograph: what they show, and that everything found in them comes back to the photograph's pixels."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from retinamatch.field_of_view import find_field_of_view
from retinamatch.keypoint_set import WORKING_SIZE, Keypoints
from retinamatch.photograph_views import AS_GIVEN, CHANNELS, PhotographViews, View, draw_view, views_in_words
from retinamatch.registrar import Registrar


VIEWS = [
    AS_GIVEN,
    View(turn=37.0),
    View(turn=180.0),
    View(zoom=1.8, center=(0.3, -0.2)),
    View(turn=20.0, zoom=0.5),
    View(turn=270.0, zoom=1.4, center=(-0.2, 0.1), reversed_contrast=True, channel="blue"),
]


@dataclass
class Marker:
    """Stands in for an extractor: gives the same places of every picture, and describes a place by its pixels."""

    places: np.ndarray
    ratio: float = 0.9
    temperature: float = 0.1
    seen: list = field(default_factory=list)

    def find(self, photographs):
        self.seen += photographs
        n = len(self.places)
        return [
            Keypoints(self.places, np.ones((n, 2), np.float32), np.ones(n, np.float32), p.shape[:2], 1.1, None, np.copy)
            for p in photographs
        ]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.words or "as given")
def test_a_view_shows_what_its_matrix_says(visits, view):
    photograph = cv2.GaussianBlur(visits.moving.image, (0, 0), 4)
    drawn, matrix = draw_view(photograph, view, find_field_of_view(photograph))
    assert drawn.shape == (WORKING_SIZE, WORKING_SIZE, 3) and drawn.dtype == np.uint8
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    places = WORKING_SIZE / 2 + 0.5 * WORKING_SIZE / 2 * np.stack([np.cos(angle), np.sin(angle)], -1)
    there = (places @ matrix[:2, :2].T + matrix[:2, 2]).round().astype(int)
    wanted = photograph[there[:, 1], there[:, 0], CHANNELS.index(view.channel)].astype(float)
    wanted = 255 - wanted if view.reversed_contrast else wanted
    x, y = places.round().astype(int).T
    assert np.abs(drawn[y, x, 0] - wanted).max() < 6


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.words or "as given")
def test_what_is_found_in_a_view_comes_back_to_the_photograph(visits, view):
    photograph = visits.moving.image
    places = np.random.default_rng(0).uniform(100, 600, (9, 2))
    extractor = Marker(places)
    found = PhotographViews(extractor, photograph).find(view)
    drawn, matrix = draw_view(photograph, view, find_field_of_view(photograph))
    assert np.abs(extractor.seen[0].astype(int) - drawn).max() <= 1
    assert found.points == pytest.approx(places @ matrix[:2, :2].T + matrix[:2, 2])
    assert found.describe(found.points) == pytest.approx(places)
    assert found.size == photograph.shape[:2]
    assert found.scale == pytest.approx(1.1 * np.sqrt(np.linalg.det(matrix[:2, :2])))
    whole = find_field_of_view(photograph)
    center = np.array(whole.center) + whole.radius * np.array(view.center) * (view.zoom > 1)
    assert np.abs(found.middle - center).max() < 0.03 * whole.radius
    # The picture lies where the photograph does: dark where it is dark, the other way round with reversed contrast.
    rows, columns = np.nonzero(found.picture.mask)
    there = found.picture.to_photograph(np.stack([columns, rows], -1)[::97]).round().astype(int)
    gray = cv2.GaussianBlur(photograph, (0, 0), 1)[there[:, 1], there[:, 0], CHANNELS.index(view.channel)]
    slow = cv2.GaussianBlur(photograph, (0, 0), 12)[there[:, 1], there[:, 0], CHANNELS.index(view.channel)]
    values = found.picture.values[rows, columns][::97]
    correlation = np.corrcoef(gray.astype(float) - slow, values)[0, 1]
    assert correlation < -0.3 if view.reversed_contrast else correlation > 0.3


def test_a_smaller_view_is_seen_smaller_by_the_network(visits):
    """As in a photograph of twice the field: every keypoint of it stands for one of the photograph as it is."""
    extractor, photograph = Registrar().extractor, visits.moving.image
    given, smaller = extractor.find([photograph])[0], PhotographViews(extractor, photograph).find(View(zoom=0.5))
    assert smaller.scale == pytest.approx(2 * given.scale, rel=0.02)
    assert np.abs(smaller.middle - given.middle).max() < 2
    near = np.linalg.norm(smaller.points[:, None] - given.points[None], axis=2).min(1)
    assert len(smaller) > 20 and np.median(near) < 2 * smaller.scale


@dataclass
class Preparing(Marker):
    """Takes what `prepare` was given instead."""

    fields: list = field(default_factory=list)

    def prepare(self, photograph, zoom=1.0, field_of_view=None, picture=None):
        self.fields.append((photograph, field_of_view))
        return photograph


@pytest.mark.parametrize("cut", [0, 90], ids=["whole", "cut off"])
@pytest.mark.parametrize("turn", [15.0, 137.0, 270.0])
def test_the_field_of_a_turned_view_is_what_it_shows(visits, turn, cut):
    extractor = Preparing(np.full((3, 2), 300.0))
    views = PhotographViews(extractor, visits.moving.image[cut:])
    for degrees in (0.0, turn):
        views.find(View(turn=degrees, zoom=0.5))
    (_, before), (drawn, after) = extractor.fields
    upright, turned = (field.mask((0.0, 0.0, 1.0, 1.0), drawn.shape[:2]) for field in (before, after))
    there = cv2.getRotationMatrix2D((383.5, 383.5), turn, 1.0)
    wanted = cv2.warpAffine(upright.astype(np.uint8) * 255, there, drawn.shape[:2]) > 127
    assert after.problem == "" and upright.any()
    assert after.left_out is None or after.left_out.any()
    assert (turned != wanted).sum() < 0.01 * upright.sum()
    black = cv2.erode((drawn.max(2) < 3).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert (turned & black).sum() < 0.0005 * upright.sum()


def test_views_in_words():
    assert AS_GIVEN.words == "" and views_in_words(AS_GIVEN, AS_GIVEN) == ""
    assert View(zoom=0.5).words == "shown at 50% of its size"
    words = views_in_words(View(turn=-90, reversed_contrast=True), View(zoom=2, channel="red"))
    assert words == (
        "moving photograph turned by 270 degrees, with reversed contrast; "
        "fixed photograph cut to 50% of its width, in its red channel"
    )
