import numpy as np
import pytest

from retinamatch.evaluation.surrounds import SURROUNDS, compare, compose, evaluate_surrounds, surrounds_table
from retinamatch.field_of_view import FieldOfView, find_field_of_view
from tests.modeling.test_field_of_view import fundus


@pytest.fixture(scope="module")
def photo():
    return fundus(600, 800, (400, 300), 280)


def test_the_picture_shows_what_its_truth_says(photo):
    view = find_field_of_view(photo)
    for number, surround in enumerate(SURROUNDS):
        made = compose(photo, view, surround, np.random.default_rng([1, number]))
        assert made.picture.dtype == np.uint8 and made.picture.shape[:2] == made.field.shape
        assert not (made.marks & ~made.field).any()
        axes, (height, width) = made.axes, made.field.shape
        right = FieldOfView(width, height, made.center, float(np.sqrt(axes[0] * axes[1])), (0, 0, width, height), True)
        if axes[0] == axes[1]:
            assert compare(right, made) == pytest.approx((0, 0), abs=1e-9)
            larger = FieldOfView(width, height, made.center, 1.02 * right.radius, right.box, True)
            assert compare(larger, made) == pytest.approx((0, 0.02))


def test_the_same_seed_gives_the_same_picture(photo):
    view = find_field_of_view(photo)
    one, other = (compose(photo, view, "skin", np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.picture, other.picture)


def test_figures_and_table(photo):
    rows = evaluate_surrounds([photo], number=1)
    assert [row["surround"] for row in rows] == list(SURROUNDS) and all(row["pictures"] == 1 for row in rows)
    lines = surrounds_table(rows).splitlines()
    assert len(lines) == 2 + len(SURROUNDS) and lines[2].startswith("| black | 1 |")
    with pytest.raises(ValueError, match="no photograph"):
        evaluate_surrounds([])
