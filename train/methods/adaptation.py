"""What a network says about a photograph on average over many views of it: homographic adaptation.

DeTone, Malisiewicz and Rabinovich (SuperPoint, arXiv 1712.07629) made their labels so. Here descriptors are averaged
too, and some of the views are a little blurred.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retinamatch.enhancement import gaussian_blur, local_normalize
from retinamatch.keypoints import RetinaDenseOutput

from ..data.views import pixel_grid, project, sample_at


# How far the views beside the first one reach, either way: degrees, times, the change of scale from the center to an
# edge; and the blur of every other view, pixels at most.
RANGES = {"turn": 20.0, "zoom": 1.25, "perspective": 0.08, "blur": 1.5}


def draw_adaptations(number: int, height: int, width: int) -> list[tuple[np.ndarray, float]]:
    """Draw the views: always the same ones, and the photograph as it is first.

    Args:
        number: How many.
        height: Of the photograph, pixels.
        width: Of the photograph, pixels.

    Returns:
        Of every view, the homography from its pixels to those of the photograph, and its blur in pixels.
    """
    rng = np.random.default_rng(0)
    half = np.array([(width - 1) / 2, (height - 1) / 2])
    move = np.array([[1, 0, half[0]], [0, 1, half[1]], [0, 0, 1]])
    views = [(np.eye(3), 0.0)]
    for k in range(1, number):
        turn = math.radians(rng.uniform(-1, 1) * RANGES["turn"])
        zoom = RANGES["zoom"] ** rng.uniform(-1, 1)
        matrix = np.eye(3)
        matrix[:2, :2] = zoom * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        matrix[2, :2] = rng.uniform(-1, 1, 2) * RANGES["perspective"] / half
        views.append((move @ matrix @ np.linalg.inv(move), rng.uniform(0, RANGES["blur"]) if k % 2 else 0.0))
    return views[:number]


def average_over_views(
    network, run: Callable[[Tensor], RetinaDenseOutput], image: Tensor, mask: Tensor, number: int
) -> RetinaDenseOutput:
    """Average what a network says about a photograph over views of it.

    Args:
        network: It; its head says where the cells of a descriptor map lie.
        run: Gives its float32 outputs for locally normalized pixels (1, 1, height, width).
        image: (1, 1, height, width), one channel of the photograph in [0, 1].
        mask: (1, 1, height, width), 1 inside the field of view.
        number: How many views.

    Returns:
        Outputs for the photograph: logits of the mean probability, and the mean descriptors, unit length. Places that
        only the first view shows have its answer alone.
    """
    (height, width), device = image.shape[-2:], image.device
    photograph, head = torch.cat([image, mask], 1), network.descriptor_head
    pixels = pixel_grid(height, width, device)[None]
    heat = descriptors = seen_by = 0.0
    for k, (matrix, blur) in enumerate(draw_adaptations(number, height, width)):
        matrix = torch.from_numpy(matrix).float().to(device)[None]
        view = sample_at(photograph, project(matrix, pixels)).unflatten(-1, (height, width))
        image, mask = view[:, :1], (view[:, 1:] > 0.999).float()
        dense = run(local_normalize(gaussian_blur(image, blur) if blur else image, mask))
        rows, columns = dense.descriptor_map.shape[-2:]
        cells = pixel_grid(rows, columns, device)[None] * head.stride + head.offset
        in_view, cells_in_view = (project(torch.linalg.inv(matrix), places) for places in (pixels, cells))
        seen, cells_seen = ((sample_at(mask, places)[:, 0] > 0.99) | (k == 0) for places in (in_view, cells_in_view))
        heat = heat + seen * sample_at(dense.heatmap_logits.sigmoid(), in_view)[:, 0]
        seen_by = seen_by + seen.float()
        told = network.sample_descriptors(dense.descriptor_map, cells_in_view)
        descriptors = descriptors + cells_seen[..., None] * told
    return RetinaDenseOutput(
        heatmap_logits=torch.logit(heat / seen_by, 1e-6).unflatten(-1, (height, width))[:, None],
        descriptor_map=F.normalize(descriptors, dim=-1).mT.unflatten(-1, (rows, columns)),
    )


__all__ = ["RANGES", "average_over_views", "draw_adaptations"]
