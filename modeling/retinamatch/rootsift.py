"""RootSIFT keypoints: the baseline that every learned feature has to beat under the same estimator.

SIFT (Lowe, IJCV 2004) on the green channel after CLAHE, at the working size across the field of view, with the
Hellinger normalization of its descriptors (Arandjelovic and Zisserman, CVPR 2012).
"""

import cv2
import numpy as np

from .field_of_view import find_field_of_view
from .keypoint_set import WORKING_SIZE, Keypoints
from .normalized_picture import NormalizedPicture


MAXIMUM_KEYPOINTS = 2000
# In working pixels: a SIFT window this near to the rim describes the rim and not the retina.
RIM_MARGIN = 8.0
# Lower than OpenCV's 0.04: the thin vessels of a fundus photograph are faint.
CONTRAST_THRESHOLD = 0.01


def rootsift_keypoints(photo: np.ndarray, maximum: int = MAXIMUM_KEYPOINTS) -> Keypoints:
    """Find the strongest SIFT keypoints inside the field of view.

    Args:
        photo: uint8 RGB (H, W, 3).
        maximum: Largest number of keypoints, the strongest first.

    Returns:
        Keypoints in pixels of the photograph, descriptors (N, 128) of unit length.
    """
    height, width = photo.shape[:2]
    view = find_field_of_view(photo)
    x0, y0, x1, y1 = (int(round(edge)) for edge in view.box)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    scale = (x1 - x0) / WORKING_SIZE
    size = (WORKING_SIZE, max(int(round((y1 - y0) / scale)), 1))
    green = np.ascontiguousarray(photo[y0:y1, x0:x1, 1])
    green = cv2.resize(green, size, interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC)
    green = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(green)
    detected, descriptors = cv2.SIFT.create(contrastThreshold=CONTRAST_THRESHOLD).detectAndCompute(green, None)
    if not detected:  # then OpenCV gives None for the descriptors
        descriptors = np.zeros((0, 128), np.float32)
    steps = np.array([(x1 - x0) / size[0], (y1 - y0) / size[1]])
    points = np.array([keypoint.pt for keypoint in detected], dtype=np.float64).reshape(-1, 2)
    points = (points + 0.5) * steps + [x0, y0] - 0.5
    scores = np.array([keypoint.response for keypoint in detected], dtype=np.float32)
    inner = view.contains(points, margin=RIM_MARGIN * scale)
    # SIFT gives one keypoint per dominant direction; the order is by strength, and the position breaks ties.
    order = np.lexsort((points[:, 0], points[:, 1], -scores))
    order = order[inner[order]][:maximum]
    descriptors = np.sqrt(descriptors[order] / np.maximum(descriptors[order].sum(1, keepdims=True), 1e-12))
    center = view.center or ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2)
    return Keypoints(
        points[order],
        descriptors.astype(np.float32),
        scores[order],
        (height, width),
        scale,
        center,
        picture=NormalizedPicture.from_photo(photo, view),
        camera=view.camera,
        stretch=view.stretch,
        problem=view.problem,
    )


__all__ = ["MAXIMUM_KEYPOINTS", "rootsift_keypoints"]
