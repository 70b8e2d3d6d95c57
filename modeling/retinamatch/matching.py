"""Keypoints of two photographs that look alike, by descriptor alone."""

import numpy as np
import torch

from .keypoint_set import Keypoints
from .keypoints import mutual_nearest_matches


def match_keypoints(
    moving: Keypoints,
    fixed: Keypoints,
    ratio: float,
    temperature: float = 0.07,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Match keypoints that are each other's nearest by descriptor and pass the ratio test in both directions.

    Args:
        moving: Keypoints of the moving photograph.
        fixed: Keypoints of the fixed photograph.
        ratio: Largest ratio of the distances to the nearest and the second nearest descriptor; 1 for no test.
        temperature: Of the dual softmax over cosine similarities that scores the matches.
        device: Where this is computed.

    Returns:
        (M, 2) int64 rows of the moving and of the fixed keypoints, and (M,) float32 scores in (0, 1].
    """
    one, other = (torch.as_tensor(keypoints.descriptors, device=device)[None] for keypoints in (moving, fixed))
    matches, match_scores = mutual_nearest_matches(one, other, ratio=ratio, temperature=temperature)
    # (1, 2, K): row 0 holds, for each moving keypoint, the index of its fixed partner or -1.
    partners, scores = matches[0, 0].cpu().numpy(), match_scores[0, 0].cpu().numpy()
    matched = np.flatnonzero(partners >= 0)
    return np.stack([matched, partners[matched]], axis=1), scores[matched]


__all__ = ["match_keypoints"]
