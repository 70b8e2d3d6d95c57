import numpy as np
import torch

from retinamatch.keypoints import RetinaKeypointOutput
from train.data.keypoint_expansion import KeypointExpansion, confirmed_detections
from train.data.views import Views, Warp


NONE = np.zeros((0, 2), np.float32)


class TestValues:
    def test_new_again_absent(self):
        expansion = KeypointExpansion(2)
        spot = np.array([[50.0, 60.0]], np.float32)
        expansion.update(1, spot, NONE, NONE)
        assert expansion.values[1].tolist() == [5] and len(expansion.labels(1)) == 1 and len(expansion.labels(0)) == 0
        expansion.update(1, spot + 2, spot, NONE)
        assert expansion.values[1].tolist() == [6] and len(expansion.points[1]) == 1
        expansion.update(1, NONE, spot, NONE)
        expansion.update(1, NONE, spot, NONE)
        assert expansion.values[1].tolist() == [4] and len(expansion.labels(1)) == 0
        expansion.update(1, NONE, spot + 40, NONE)
        assert expansion.values[1].tolist() == [4], "a place that was not visible loses nothing"

    def test_worthless_candidates_go(self):
        expansion = KeypointExpansion(1)
        expansion.update(0, np.array([[5.0, 5.0]]), NONE, NONE)
        for _ in range(5):
            expansion.update(0, NONE, expansion.points[0], NONE)
        assert len(expansion.points[0]) == 0

    def test_annotated_places_need_no_expansion(self):
        expansion = KeypointExpansion(1)
        expansion.update(0, np.array([[5.0, 5.0], [50.0, 5.0]]), NONE, np.array([[6.0, 6.0]], np.float32))
        assert expansion.points[0].tolist() == [[50.0, 5.0]]

    def test_values_do_not_grow_without_end(self):
        expansion = KeypointExpansion(1)
        for _ in range(100):
            expansion.update(0, np.array([[9.0, 9.0]]), expansion.points[0], NONE)
        assert expansion.values[0].tolist() == [20]

    def test_a_photograph_can_stand_twice_in_a_batch(self):
        expansion = KeypointExpansion(1)
        before = expansion.points[0]
        expansion.update(0, np.array([[9.0, 9.0]]), before, NONE)
        expansion.update(0, np.array([[50.0, 9.0]]), before, NONE)
        assert expansion.values[0].tolist() == [5, 5]

    def test_state_comes_back(self):
        first, second = KeypointExpansion(1), KeypointExpansion(1)
        first.update(0, np.array([[9.0, 9.0]]), NONE, NONE)
        second.load_state_dict(first.state_dict())
        assert second.labels(0).tolist() == [[9.0, 9.0]]


class TestConfirmation:
    def pair(self):
        """View 1 is view 0 moved by (10, 0); five keypoints with descriptors of their own."""
        homography = torch.eye(3)[None]
        homography[0, 0, 2] = 10  # view 1 -> view 0
        images = (torch.zeros(1, 1, 64, 64),) * 2
        grid = torch.zeros(1, 64 * 64, 2)
        to_photograph = torch.tensor([[[2.0, 0, 100], [0, 2, 200], [0, 0, 1]]])
        views = Views(images, images, to_photograph, Warp(homography, torch.zeros(1, 2, 3), 64), grid)
        points = torch.tensor([[[20.0, 10], [30, 20], [40, 30], [50, 40], [25, 50]]])
        mask = torch.ones(1, 5, dtype=torch.bool)
        first = RetinaKeypointOutput(keypoints=points, descriptors=torch.eye(5)[None], mask=mask)
        second = RetinaKeypointOutput(
            keypoints=points - torch.tensor([10.0, 0]), descriptors=torch.eye(5)[None], mask=mask
        )
        return views, first, second

    def test_all_confirmed_in_photograph_pixels(self):
        views, first, second = self.pair()
        found = confirmed_detections(views, first, second, torch.ones(1, 1, 64, 64), 0.5, 0.7)
        assert np.allclose(found[0], first.keypoints[0].numpy() * 2 + [100, 200])

    def test_low_heat_wrong_descriptor_or_wrong_place_is_not(self):
        views, first, second = self.pair()
        heat = torch.ones(1, 1, 64, 64)
        heat[..., 8:13, 8:13] = 0.1  # keypoint 0
        second.descriptors = second.descriptors[:, [0, 2, 1, 3, 4]]  # keypoints 1 and 2
        second.keypoints = second.keypoints.clone()
        second.keypoints[0, 3] += 8  # keypoint 3
        found = confirmed_detections(views, first, second, heat, 0.5, 0.7)
        assert np.allclose(found[0], first.keypoints[0, 4:].numpy() * 2 + [100, 200])
