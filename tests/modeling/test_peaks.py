import cv2
import numpy as np
import pytest
import torch

from retinamatch.keypoints import detect_keypoints
from retinamatch.peaks import find_keypoints


@pytest.mark.parametrize("size", [(90, 120), (64, 65)])
@pytest.mark.parametrize("radius, border, most", [(4, 8, 2048), (1, 0, 2048), (10, 4, 7)])
def test_the_same_keypoints_as_of_tensors(rng, size, radius, border, most):
    logits = 8 * cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), 1.5)
    logits[20:26, 30:36] = 3.0  # equal maxima: the first one stays
    mask = np.hypot(*np.indices(size) - np.array(size)[:, None, None] / 2) < 45
    settings = {"nms_radius": radius, "threshold": 0.3, "border": border, "max_keypoints": most}
    points, scores = find_keypoints(logits, mask, **settings)
    wanted, wanted_scores, _ = detect_keypoints(
        torch.from_numpy(logits)[None, None], torch.from_numpy(mask)[None], **settings
    )
    assert 0 < len(points) == wanted.shape[1] <= most
    order, wanted_order = np.lexsort(points.T), np.lexsort(wanted[0].T.numpy())
    assert points[order] == pytest.approx(wanted[0].numpy()[wanted_order], abs=1e-4)
    assert scores == pytest.approx(wanted_scores[0].numpy(), abs=1e-6)


def test_an_empty_heat_map_gives_no_keypoint():
    points, scores = find_keypoints(
        np.full((32, 32), -20, np.float32),
        np.ones((32, 32), bool),
        nms_radius=4,
        threshold=0.1,
        border=0,
        max_keypoints=9,
    )
    assert points.shape == (0, 2) and scores.shape == (0,)
