"""Rows of the data set: what goes in comes out, and what does not fit is rejected."""

import numpy as np
import pytest

from datasets_scripts.format.rows import RowError, decode, encode
from datasets_scripts.format.schema import COLUMNS, CONFIGURATIONS
from tests.helpers.drawn_photograph import photograph


@pytest.mark.parametrize("number, labeled", [(3, True), (0, True), (1, False)])
def test_a_row_keeps_everything(number, labeled):
    before = photograph(number, labeled)
    after = decode(encode(before, jpeg_quality=None))
    assert np.array_equal(after.image, before.image) and np.array_equal(after.mask, before.mask)
    if labeled:
        assert after.keypoints.shape == (number, 2)
        assert np.allclose(after.keypoints, before.keypoints, atol=1e-5)
        assert np.array_equal(after.types, before.types)
        assert np.allclose(after.widths, before.widths, equal_nan=True)
        assert all(np.allclose(one, other) for one, other in zip(after.directions, before.directions, strict=True))
    else:
        # "Not labeled" and "labeled, without any keypoint" are two things.
        assert after.keypoints is None and after.types is None
    for name in ("name", "source", "patient", "eye", "license", "redistributable", "labeled_by"):
        assert getattr(after, name) == getattr(before, name)


def test_jpeg_keeps_the_colours_of_thin_vessels():
    red_line = np.full((48, 48, 3), 200, dtype=np.uint8)
    red_line[:, 24] = (200, 60, 40)
    one = photograph(0, size=(48, 48))
    one.image = red_line
    row = encode(one)
    assert row["image"]["bytes"][:2] == b"\xff\xd8" and row["image"]["path"] == "photograph_0.jpg"
    # With the usual halved color planes the line would differ by more than 60.
    assert np.abs(decode(row).image.astype(int) - red_line).max() < 30


@pytest.mark.parametrize("place", [(-1.0, 5.0), (47.6, 5.0), (5.0, 39.6), (np.nan, 5.0)])
def test_a_keypoint_outside_is_rejected(place):
    one = photograph(1)
    one.keypoints = np.array([place])
    with pytest.raises(RowError, match=r"drawn/photograph_1: the point \(.*\) lies outside the 48 x 40 image"):
        encode(one)


@pytest.mark.parametrize("spoil", [{"types": None}, {"types": np.zeros(1, np.int8)}, {"widths": np.zeros(3)}])
def test_lists_of_other_lengths_are_rejected(spoil):
    one = photograph(2)
    for name, value in spoil.items():
        setattr(one, name, value)
    with pytest.raises(RowError, match="drawn/photograph_2: the lists of .* differ in length"):
        encode(one)


def test_every_column_is_explained():
    explained = {name for names in COLUMNS for name in names.split(", ")}
    assert explained == {name for features in CONFIGURATIONS.values() for name in features}
