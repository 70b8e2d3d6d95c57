import json

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from retinamatch.keypoint_set import Keypoints
from train import validation
from train.data.views import Views, Warp, pixel_grid
from train.methods.validation import measure_keypoints, registration_error


SIZE = 768


@pytest.fixture
def views():
    """View 1 shows what view 0 shows 40 pixels further right, without its lower half."""
    homography = torch.eye(3)[None]
    homography[:, 0, 2] = 40.0
    first, second = torch.ones(2, 1, 1, SIZE, SIZE)
    second[..., SIZE // 2 :, :] = 0
    grid = pixel_grid(SIZE)[None]
    return Views(
        (first, second), (first, second), torch.eye(3)[None], Warp(homography, torch.zeros(1, 2, 3), SIZE), grid
    )


def keypoints(points, descriptors):
    points = np.asarray(points, np.float64)
    return Keypoints(points, descriptors[: len(points)].astype(np.float32), np.ones(len(points)), (SIZE, SIZE))


def pair(rng, count=80):
    """Keypoints of view 0, and the same ones in view 1."""
    points = rng.uniform((60, 20), (SIZE - 60, SIZE / 2 - 20), (count, 2))
    descriptors = np.linalg.qr(rng.normal(size=(128, 128)))[0]
    return keypoints(points, descriptors), keypoints(points - [40, 0], descriptors)


class TestCommand:
    def run(self, *words):
        app = typer.Typer()
        app.command()(validation.main)
        return CliRunner().invoke(app, [str(word) for word in words])

    def test_prints_the_figures_of_saved_weights(self, pack):
        done = self.run("lk-superretina-small", pack, "--pairs", 1)
        assert done.exit_code == 0, done.output
        figures = json.loads(done.stdout)
        assert set(figures) == {"pairs", "repeatability", "matching_score", "keypoints", "auc", "registered", "error"}
        assert figures["keypoints"] > 10 and figures["repeatability"] > 0

    @pytest.mark.parametrize("weights, split", [("nobody", "validation"), ("lk-superretina-small", "test")])
    def test_bad_input_is_one_sentence(self, pack, weights, split):
        done = self.run(weights, pack, "--split", split)
        assert done.exit_code == 2 and done.stderr.splitlines()[-1].startswith("Error: ")


class TestKeypoints:
    def test_by_hand(self, views, rng):
        moving = [[100, 100], [200, 100], [300, 100], [400, 700], [20, 100]]  # the last two are not in view 1
        fixed = [[60, 102], [160, 104], [262, 100]]
        moving, fixed = (keypoints(points, rng.normal(size=(9, 8))) for points in (moving, fixed))
        measured = measure_keypoints(views, moving, fixed, np.array([[0, 0], [1, 1], [2, 0], [3, 2]]))
        assert measured == {
            "repeatability": pytest.approx(2 / 3),
            "matching_score": pytest.approx(1 / 3),
            "keypoints": 5,
        }

    @pytest.mark.parametrize("counts", [(0, 0), (0, 3), (3, 0)])
    def test_without_keypoints_nothing_is_repeated(self, views, rng, counts):
        moving, fixed = (keypoints(rng.uniform(100, 200, (n, 2)), rng.normal(size=(9, 8))) for n in counts)
        measured = measure_keypoints(views, moving, fixed, np.zeros((0, 2), np.int64))
        assert measured == {"repeatability": 0, "matching_score": 0, "keypoints": counts[0]}


class TestRegistration:
    def test_the_right_transform_has_a_small_error(self, views, rng):
        moving, fixed = pair(rng)
        rows = np.arange(len(moving))
        assert registration_error(views, moving, fixed, np.stack([rows, rows], 1), np.ones(len(rows))) < 0.1

    def test_a_shifted_one_has_its_shift(self, views, rng):
        moving, fixed = pair(rng)
        fixed.points = fixed.points + [3, 4]
        rows = np.arange(len(moving))
        error = registration_error(views, moving, fixed, np.stack([rows, rows], 1), np.ones(len(rows)))
        assert error == pytest.approx(5, abs=0.1)

    def test_without_a_reliable_match_it_is_infinite(self, views, rng):
        moving, fixed = pair(rng)
        matches = np.stack([np.arange(80), rng.permutation(80)], 1)
        assert registration_error(views, moving, fixed, matches, np.ones(80)) == np.inf
        assert registration_error(views, moving, fixed, matches[:0], np.ones(0)) == np.inf
