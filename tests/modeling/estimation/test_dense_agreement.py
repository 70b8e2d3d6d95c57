import pickle
from dataclasses import replace

import numpy as np
import pytest

from retinamatch.estimation import EstimationSettings
from retinamatch.estimation.dense_agreement import dense_agreement
from retinamatch.evaluation.conditions import SHARED_BY_BOTH, AnnotatedPair, blobs, marked, resized, reversed_contrast
from retinamatch.normalized_picture import NormalizedPicture


NOWHERE = np.zeros((0, 2))
SETTINGS = EstimationSettings()


@pytest.fixture(scope="module")
def pair(visits) -> AnnotatedPair:
    return AnnotatedPair("rendered", visits.moving.image, visits.fixed.image, NOWHERE, NOWHERE)


@pytest.fixture(scope="module")
def strangers(visits, other_eye) -> AnnotatedPair:
    return AnnotatedPair("strangers", other_eye, visits.fixed.image, NOWHERE, NOWHERE)


def agreement(pair, transform):
    return dense_agreement(
        NormalizedPicture.from_photo(pair.moving), NormalizedPicture.from_photo(pair.fixed), transform
    )


def same_place(points):
    return points


def test_right_transform(pair, visits):
    found = agreement(pair, visits.correspond)
    assert found.share > 0.8 and found.median > 0.5 and found.reversed_share < 0.05
    assert found.cells == np.isfinite(found.correlation).sum() > 60


@pytest.mark.parametrize("shift", [(30, 0), (-25, 25), (0, -60), (90, 40)])
def test_displaced(pair, visits, shift):
    found = agreement(pair, lambda points: visits.correspond(points) + shift)
    assert found.best_share < SETTINGS.minimum_alike


@pytest.mark.parametrize("shift", [(0, 0), (15, -10), (-40, 5), (60, 60)])
def test_different_eyes(strangers, shift):
    assert agreement(strangers, lambda points: points + shift).best_share < SETTINGS.minimum_alike


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in SHARED_BY_BOTH
        if name != "faint watermark" and not any(word in name for word in ("tiles", "map", "askew"))
    ],
)
def test_what_both_show_that_is_not_retina(strangers, name):
    assert agreement(SHARED_BY_BOTH[name](strangers), same_place).best_share < SETTINGS.minimum_alike


@pytest.mark.parametrize("text", ["A", "KLINIK 7", "0123456789 ABCDEFGHIJ"])
@pytest.mark.parametrize("opacity", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("height, tiles", [(0.03, 1), (0.08, 2)])
def test_any_line_of_text(strangers, text, opacity, height, tiles):
    both = marked(strangers, text, opacity, height, tiles)
    assert agreement(both, same_place).best_share < SETTINGS.minimum_alike


def test_what_one_photograph_hides_does_not_vote(pair, visits):
    whole, hidden = agreement(pair, visits.correspond), agreement(blobs(pair, 0.4), visits.correspond)
    assert hidden.cells < 0.85 * whole.cells
    assert hidden.share > 0.6


def test_reversed_contrast_is_counted_apart(pair, visits):
    found = agreement(reversed_contrast(pair), visits.correspond)
    assert found.reversed_share == found.best_share > 0.7 and found.share < 0.1


@pytest.mark.parametrize("scale", [0.6, 1.7])
def test_any_size(pair, visits, scale):
    whole = agreement(pair, visits.correspond)
    sized = resized(pair, scale)
    factor = np.array(sized.moving.shape[1::-1]) / pair.moving.shape[1::-1]
    found = agreement(sized, lambda points: visits.correspond((points + 0.5) / factor - 0.5))
    assert abs(found.share - whole.share) < 0.08 and abs(found.cells - whole.cells) < 0.1 * whole.cells


@pytest.mark.parametrize("nowhere", [np.nan, np.inf, 1e9])
def test_nothing_in_common(pair, nowhere):
    found = agreement(pair, lambda points: np.full_like(points, nowhere))
    assert (found.cells, found.share, found.reversed_share, found.median) == (0, 0.0, 0.0, 0.0)


def test_picture_knows_its_place(visits, rng):
    picture = NormalizedPicture.from_photo(visits.moving.image)
    points = rng.uniform(0, 500, (20, 2))
    assert np.allclose(picture.to_photograph(picture.to_picture(points)), points)
    # A dark disk is where it was drawn.
    photo = visits.moving.image.copy()
    ys, xs = np.mgrid[: photo.shape[0], : photo.shape[1]]
    photo[np.hypot(xs - 300, ys - 220) < 5] -= 14
    values = NormalizedPicture.from_photo(photo)
    difference = values.values - picture.values
    y, x = np.unravel_index(np.argmin(difference), difference.shape)
    assert np.linalg.norm(values.to_photograph(np.array([[x, y]])) - (300, 220)) < 4


def test_picture_is_small_when_kept(pair, visits):
    picture = NormalizedPicture.from_photo(pair.moving)
    kept = pickle.dumps(picture)
    assert len(kept) < 0.76 * (picture.values.nbytes + picture.mask.nbytes + picture.color.nbytes)
    again = pickle.loads(kept)
    assert again.values.dtype == np.float32 and np.abs(again.values - picture.values).max() < 1e-3
    fixed = NormalizedPicture.from_photo(pair.fixed)
    shares = [dense_agreement(one, fixed, visits.correspond).share for one in (picture, again)]
    assert abs(shares[0] - shares[1]) < 0.02


def test_what_lies_outside_the_field_does_not_count(pair, visits):
    """The same surround on both photographs leaves the figures as they are."""
    surrounded = replace(pair, moving=pair.moving.copy(), fixed=pair.fixed.copy())
    for name in ("moving", "fixed"):
        photo = getattr(surrounded, name)
        photo[:20, :60] = 90
    assert abs(agreement(surrounded, visits.correspond).share - agreement(pair, visits.correspond).share) < 0.05
