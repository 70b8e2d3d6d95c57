"""Pairs with a known mapping: exact, graded, and what they show is what their columns say."""

import json

import cv2
import numpy as np
import pytest

from datasets_scripts.assembly import warped_pairs
from datasets_scripts.assembly.pairs import MODALITY_PAIRS, TOLERANCE, rendered_visits
from datasets_scripts.assembly.warped_pairs import CATEGORIES, Subject, warped_pair
from datasets_scripts.format.rows import decode_image, decode_mask
from datasets_scripts.format.schema import POINT_KINDS
from datasets_scripts.rendering.modality import MODALITIES
from retinamatch.transforms import TRANSFORMS, Transform


SIZE = 160


@pytest.fixture(scope="module")
def subject():
    return Subject.render(3, SIZE, seed=0)


@pytest.fixture(scope="module")
def rows(subject):
    return {(kind, grade): warped_pair(subject, kind, grade, SIZE, 0) for kind in CATEGORIES for grade in (1, 2, 3)}


def read(row):
    mapping = Transform.from_dict(json.loads(row["transform"]))
    return mapping, np.array(row["moving_points"]), np.array(row["fixed_points"])


def test_points_agree_with_the_mapping(rows):
    for row in rows.values():
        mapping, moving, fixed = read(row)
        assert list(TRANSFORMS)[row["transform_class"]] == mapping.name == "quadratic"
        assert len(moving) == len(fixed) > 0 and POINT_KINDS[row["points"]] == "keypoints"
        assert np.abs(mapping(moving) - fixed).max() < 1e-6
        for side, points in (("fixed", fixed), ("moving", moving)):
            column, line = points.round().astype(int).T
            assert decode_mask(row[f"{side}_mask"])[line, column].all()


def test_the_pictures_agree_with_the_mapping(rows):
    """Where only the geometry differs, the moving photograph drawn on the fixed one's grid is the fixed one."""
    row = rows["overlap", 1]
    mapping, _, _ = read(row)
    fixed, moving = decode_image(row["fixed"])[..., 1].astype(np.float32), decode_image(row["moving"])[..., 1]
    drawn = mapping.warp(moving.astype(np.float32), fixed.shape)
    both = decode_mask(row["fixed_mask"]) & (mapping.warp(decode_mask(row["moving_mask"]).astype(np.uint8)) > 0)
    both = cv2.erode(both.astype(np.uint8), np.ones((9, 9))) > 0

    def agreement(shift):
        # Without what differs slowly: the light of the two is not the same.
        one, other = (image - cv2.GaussianBlur(image, (0, 0), 6) for image in (fixed, np.roll(drawn, shift, axis=1)))
        return np.corrcoef(one[both], other[both])[0, 1]

    assert both.mean() > 0.3
    assert agreement(0) > 0.8 > agreement(2)


def test_every_category_is_graded(rows):
    def values(category, column):
        return [rows[category, grade][column] for grade in (1, 2, 3)]

    assert values("overlap", "overlap")[0] > values("overlap", "overlap")[2] + 0.15
    for category in ("curvature", "blur", "light", "lesions"):
        for kind in (category, "all"):
            first, second, third = values(kind, category)
            assert first < second < third, (kind, category)
    assert rows["blur", 3]["lesions"] == 0 and rows["lesions", 3]["blur"] < 1
    assert {row["grade"] for row in rows.values()} == {1, 2, 3} and len({row["name"] for row in rows.values()}) == 18


def test_lesions_light_and_blur_are_in_the_picture(rows, subject):
    def sharpness(row):
        image, mask = decode_image(row["moving"])[..., 1], decode_mask(row["moving_mask"])
        inner = cv2.erode(mask.astype(np.uint8), np.ones((9, 9))) > 0
        return np.abs(cv2.Laplacian(image.astype(np.float32), cv2.CV_32F))[inner].mean()

    assert sharpness(rows["blur", 3]) < 0.8 * sharpness(rows["blur", 1])
    lesions = [decode_image(rows["lesions", grade]["moving"]).max(axis=2).astype(int) for grade in (1, 3)]
    assert lesions[1].max() > lesions[0].mean() + 40


def test_the_same_bytes_again_and_others_with_another_seed(subject, rows):
    assert warped_pair(subject, "all", 2, SIZE, 0) == rows["all", 2]
    assert warped_pair(subject, "all", 2, SIZE, 1)["moving_points"] != rows["all", 2]["moving_points"]


def test_a_photograph_without_labels_gets_a_grid(subject):
    bare = Subject(**{**vars(subject), "keypoints": None})
    row = warped_pair(bare, "light", 1, SIZE, 0)
    mapping, moving, fixed = read(row)
    assert POINT_KINDS[row["points"]] == "grid" and len(fixed) > 40
    assert np.abs(mapping(moving) - fixed).max() < 1e-6
    assert len(np.unique(fixed[:, 0].round(6))) <= warped_pairs.GRID


@pytest.mark.parametrize("grade", [1, 3])
def test_rendered_visits(grade):
    row = rendered_visits(1, grade, SIZE, seed=0)
    mapping, moving, fixed = read(row)
    assert mapping.name == "cubic" and len(moving) > 2
    assert np.linalg.norm(mapping(moving) - fixed, axis=1).max() < TOLERANCE
    assert (row["grade"], row["category"], row["license"]) == (grade, "visits", "Apache-2.0")
    assert 0.2 < row["overlap"] < 1


@pytest.mark.parametrize("modalities", [("color", "angiogram"), ("infrared", "ultra-wide")])
def test_pairs_of_two_modalities(modalities):
    row = rendered_visits(2, 1, SIZE, seed=0, modalities=modalities)
    mapping, moving, fixed = read(row)
    assert len(moving) > 2 and np.linalg.norm(mapping(moving) - fixed, axis=1).max() < TOLERANCE
    names = [list(MODALITIES)[row[f"{side}_modality"]] for side in ("fixed", "moving")]
    assert (row["category"], *names) == ("modalities", *modalities)


def test_every_two_modalities_are_paired_once():
    assert len(set(MODALITY_PAIRS)) == len(MODALITY_PAIRS) == 10
    assert all(one != other for one, other in MODALITY_PAIRS)
    assert {name for pair in MODALITY_PAIRS for name in pair} == set(MODALITIES)
