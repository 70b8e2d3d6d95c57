"""Local normalization of a photograph: the view of the retina that the networks are trained on and run on."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


_CELL = 8  # pixels of the grid on which slow local statistics are kept


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur every channel with a Gaussian; zeros are assumed outside.

    Args:
        image: (batch, channels, height, width).
        sigma: Standard deviation in pixels of `image`.

    Returns:
        The blurred image, same shape.
    """
    radius = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    window = torch.exp(-0.5 * (offsets / sigma) ** 2)
    window = window / window.sum()
    channels = image.shape[1]
    image = F.conv2d(image, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), padding=(0, radius), groups=channels)
    return F.conv2d(image, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), padding=(radius, 0), groups=channels)


def local_normalize(image: Tensor, mask: Tensor, sigma: float = 24.0, epsilon: float = 0.2) -> Tensor:
    """Remove uneven light and contrast: subtract the local mean, divide by the local standard deviation.

    The statistics are taken inside the field of view alone, so the black surround does not leak into the rim. First the
    whole field is brought to mean 0 and standard deviation 1, then a Gaussian neighborhood; `epsilon` (in units of
    the global standard deviation) keeps empty regions from being blown up to noise. Training and inference call this
    same function.

    Args:
        image: (batch, 1, height, width), any affine range of gray values.
        mask: (batch, 1, height, width), 1 inside the field of view and 0 outside.
        sigma: Standard deviation of the neighborhood in pixels of `image`.
        epsilon: Floor that is added to the local standard deviation.

    Returns:
        (batch, 1, height, width) float32 in [-1, 1], 0 outside the mask.
    """
    image, mask = image.float(), mask.float()
    count = mask.sum((-2, -1), keepdim=True).clamp_min(1)
    mean = (image * mask).sum((-2, -1), keepdim=True) / count
    image = (image - mean) * mask
    image = image / (image.square().sum((-2, -1), keepdim=True) / count).sqrt().clamp_min(1e-4)

    # Slow statistics: means over small cells, blurred as a mask-weighted Gaussian, brought back bilinearly.
    height, width = image.shape[-2:]
    pad = (0, -width % _CELL, 0, -height % _CELL)
    sums = F.avg_pool2d(F.pad(torch.cat([image, image.square(), mask], 1), pad), _CELL)
    sums = gaussian_blur(sums, sigma / _CELL)
    means = sums[:, :2] / sums[:, 2:].clamp_min(1e-3)
    means = F.interpolate(means, scale_factor=_CELL, mode="bilinear", align_corners=False)[..., :height, :width]
    deviation = (means[:, 1:] - means[:, :1].square()).clamp_min(0).sqrt()
    return ((image - means[:, :1]) / (deviation + epsilon) / 3).clamp(-1, 1) * mask


__all__ = ["gaussian_blur", "local_normalize"]
