"""Small sets of keypoints, made by hand."""

import numpy as np

from retinamatch.keypoint_set import Keypoints


def keypoints(points, descriptors, scale=1.0):
    descriptors = np.asarray(descriptors, np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    points = np.asarray(points, np.float64)
    return Keypoints(points, descriptors, np.ones(len(points), np.float32), (1000, 1000), scale)


def shifted_pair(rng):
    """200 keypoints, shuffled in the second photograph, moved by (5, -3)."""
    points, descriptors = rng.uniform(50, 950, (200, 2)), rng.normal(size=(200, 16))
    order = rng.permutation(200)
    noisy = descriptors[order] + 0.1 * rng.normal(size=(200, 16))
    return keypoints(points, descriptors), keypoints(points[order] + [5, -3], noisy), order
