import pickle

import numpy as np
import pytest
import torch

from retinamatch.dense_descriptors import DenseDescriptors
from retinamatch.keypoint_set import Describe
from retinamatch.keypoints import sample_descriptors


FRAME, SIZE, CANVAS = np.array([0.02, -0.01, 0.98, 1.03]), (600, 640), (150, 170)


@pytest.fixture(params=[(40, 44), (1, 9), (7, 1), (2, 2)])
def dense(request, rng):
    values = rng.normal(size=(*request.param, 12)).astype(np.float16)
    return DenseDescriptors(values, 4, 1.5, FRAME, SIZE, CANVAS)


@pytest.fixture
def points(rng):
    height, width = SIZE
    inside = rng.uniform(-80, (width + 80, height + 80), (300, 2))
    return np.vstack([inside, [[0, 0], [width - 1, height - 1], [-0.5, height], [320, 300]]])


def test_the_same_as_of_tensors_beyond_the_map_too(dense, points):
    span, shown = np.array(SIZE[::-1]), np.array(CANVAS[::-1])
    pixels = ((points + 0.5) / span - FRAME[:2]) / (FRAME[2:] - FRAME[:2]) * shown - 0.5
    maps = torch.from_numpy(dense.map.astype(np.float32)).permute(2, 0, 1)[None]
    wanted = sample_descriptors(maps, torch.as_tensor(pixels, dtype=torch.float32)[None], 4, 1.5)[0].numpy()
    assert dense(points) == pytest.approx(wanted, abs=1e-4)
    assert np.linalg.norm(dense(points), axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("turn, reach", [(0.0, 40.0), (0.7, 25.0), (0.0, 0.0)])
def test_similarities_are_those_of_the_descriptors_there(dense, points, rng, turn, reach):
    axis = np.linspace(-reach, reach, 7)
    cosine, sine = np.cos(turn), np.sin(turn)
    window = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2) @ [[cosine, sine], [-sine, cosine]]
    places, wanted = points[:, None] + window, dense(points)[rng.permutation(len(points))]
    found = dense.similarity(wanted, places)
    assert found == pytest.approx(Describe.similarity(dense, wanted, places), abs=1e-5)
    assert dense.similarity(wanted[:0], places[:0]).shape == (0, 49)


def test_travels_between_processes_without_what_can_be_computed_again(dense, points):
    before = dense.similarity(dense(points), points[:, None])
    assert before == pytest.approx(1, abs=1e-5)
    again = pickle.loads(pickle.dumps(dense))
    assert len(pickle.dumps(dense)) < dense.map.nbytes + 2000
    assert (again.similarity(dense(points), points[:, None]) == before).all()
