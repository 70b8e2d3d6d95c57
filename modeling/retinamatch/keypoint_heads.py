"""What every network of the package shares: the descriptor heads, and the two tasks on top of dense maps.

A network is a `PreTrainedModel` with `DenseKeypoints` that returns `RetinaDenseOutput`. Its two heads mix in
`KeypointDetection` and `KeypointMatching`; they have no parameters, so any saved class opens as any other.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .keypoints import (
    RetinaDenseOutput,
    RetinaKeypointOutput,
    RetinaMatchingOutput,
    detect_keypoints,
    mutual_nearest_matches,
    sample_descriptors,
)
from .losses import contrastive_loss, dice_loss


if TYPE_CHECKING:
    # A model that is saved takes the files along that are imported here, and the pipeline is one of those that its
    # configuration names (transformers#29714).
    from .pipeline import RetinaKeypointMatchingPipeline  # noqa: F401


class KeypointConfig(Protocol):
    """What the two tasks read from the configuration of a network; `LKSuperRetinaConfig` explains each."""

    num_channels: int
    nms_radius: int
    keypoint_threshold: float | int
    max_keypoints: int
    border: int
    ratio_threshold: float | int
    matching_temperature: float | int


class DescriptorHead(nn.Module):
    """The published head: from stride-8 features over a stride-16 bottleneck back to stride 8.

    The 4x4 convolution has no padding and stride 2, the transposed one doubles again: cell j of the map sees
    stride-8 cell j + 1, so the center of its first cell lies on input pixel 8 + 3.5.
    """

    stride, offset, smallest_input = 8, 11.5, 32

    def __init__(self, inputs: int, hidden: int, size: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, hidden, 4, stride=2)
        self.conv3 = nn.Conv2d(hidden, size, 1)
        self.upsample = nn.ConvTranspose2d(size, size, 2, stride=2)

    def forward(self, features: Tensor, activation: nn.Module) -> Tensor:
        """(batch, inputs, h, w) at stride 8 -> (batch, size, 2 (h // 2 - 1), 2 (w // 2 - 1)), not normalized."""
        features = self.conv3(activation(self.conv2(activation(self.conv1(features)))))
        return self.upsample(F.normalize(features, dim=1))


class FineDescriptorHead(nn.Module):
    """Ours, at stride 4: features of strides 4 and 8 joined; the center of cell j lies on input pixel 4 j + 1.5."""

    stride, offset, smallest_input = 4, 1.5, 8

    def __init__(self, inputs: int, hidden: int, size: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, size, 1)

    def forward(self, fine: Tensor, coarse: Tensor, activation: nn.Module) -> Tensor:
        """Compute the descriptor map.

        Args:
            fine: (batch, channels, h, w) at stride 4.
            coarse: (batch, inputs - channels, h', w') at stride 8, 2 h' at least h and 2 w' at least w.
            activation: Of the hidden channels.

        Returns:
            (batch, size, h, w), not normalized.
        """
        coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        coarse = coarse[..., : fine.shape[2], : fine.shape[3]]
        return self.conv2(activation(self.conv1(torch.cat([coarse, fine], 1))))


class ScaledConvolution(nn.Conv2d):
    """A convolution of odd kernel size that keeps height and width, and begins otherwise than He's initialization.

    Args:
        initial_gain: Factor of the standard deviation of the weights.
        initial_bias: Of every output channel.
    """

    def __init__(self, inputs: int, outputs: int, size: int, initial_gain: float, initial_bias: float = 0.0):
        super().__init__(inputs, outputs, size, padding=size // 2)
        self.initial_gain, self.initial_bias = initial_gain, initial_bias


def heatmap_layer(inputs: int) -> ScaledConvolution:
    """Make the 1x1 convolution to heat-map logits; the map begins nearly empty, because keypoints are rare."""
    return ScaledConvolution(inputs, 1, 1, initial_gain=0.02, initial_bias=-2.0)


@torch.no_grad()
def initialize_convolution(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Fill a layer by He's initialization. Only functions of `init` spare what a checkpoint has filled already."""
    gain, bias = (layer.initial_gain, layer.initial_bias) if isinstance(layer, ScaledConvolution) else (1.0, 0.0)
    init.normal_(layer.weight, std=gain * (2 / layer.weight[0].numel()) ** 0.5)
    if layer.bias is not None:
        init.constant_(layer.bias, bias)


class DenseKeypoints(nn.Module):
    """For networks with dense outputs: from their maps to keypoints.

    Attributes:
        config: The configuration of the network.
        descriptor_head: The layer that makes the descriptor map; it knows where on the input a cell lies.
        heatmap: The layer that makes the heat-map logits.
        memory_format: In which the network runs fastest on a CPU.
    """

    config: KeypointConfig
    heatmap: ScaledConvolution
    descriptor_head: DescriptorHead | FineDescriptorHead
    memory_format = torch.channels_last

    def take_input(self, pixel_values: Tensor, smallest: int) -> Tensor:
        """Bring the input to the precision of the weights; reject what the network cannot take.

        Half precision takes minutes on a CPU: there the weights become float32 for good, with a warning.

        Raises:
            ValueError: When the input has the wrong number of axes or channels or is too small.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.config.num_channels:
            wanted = f"(batch, {self.config.num_channels}, height, width)"
            raise ValueError(f"`pixel_values` must have shape {wanted}, got {tuple(pixel_values.shape)}.")
        height, width = pixel_values.shape[-2:]
        if min(height, width) < smallest:
            raise ValueError(f"`pixel_values` must be at least {smallest} x {smallest} pixels, got {height} x {width}.")
        if self.heatmap.weight.dtype == torch.float16 and pixel_values.device.type == "cpu":
            warnings.warn("A CPU takes minutes in float16: the weights are brought to float32.", stacklevel=2)
            with torch.inference_mode(False):  # weights that can be trained still
                self.float()
        return pixel_values.to(self.heatmap.weight.dtype)

    def heatmap_logits(self, features: Tensor) -> Tensor:
        """Compute the heat-map logits of features, in float32: bfloat16 would make ties, and peaks would be rough."""
        layer = self.heatmap
        return F.conv2d(features.float(), layer.weight.float(), None if layer.bias is None else layer.bias.float())

    def sample_descriptors(self, descriptor_map: Tensor, keypoints: Tensor) -> Tensor:
        """Read unit-length descriptors at keypoints (batch, num_keypoints, 2) given in input pixels."""
        head = self.descriptor_head
        return sample_descriptors(descriptor_map, keypoints, head.stride, head.offset)

    def find_keypoints(self, dense: RetinaDenseOutput, pixel_mask: Tensor | None = None) -> RetinaKeypointOutput:
        """Find the keypoints of dense maps, in input pixels, with scores, descriptors and a bool mask."""
        config = self.config
        keypoints, scores, valid = detect_keypoints(
            dense.heatmap_logits,
            pixel_mask,
            nms_radius=config.nms_radius,
            threshold=config.keypoint_threshold,
            border=config.border,
            max_keypoints=config.max_keypoints,
        )
        descriptors = self.sample_descriptors(dense.descriptor_map, keypoints) * valid[..., None]
        return RetinaKeypointOutput(keypoints=keypoints, scores=scores, descriptors=descriptors, mask=valid)


def relative_to_photograph(keypoints: Tensor, size: Sequence[int], image_frames: Tensor | None) -> Tensor:
    """Bring keypoints from input pixels to relative coordinates of the photograph.

    Args:
        keypoints: (batch, num_keypoints, 2) in input pixels.
        size: Height and width of the input.
        image_frames: (batch, 4), the rectangle (x0, y0, x1, y1) that the input covers in relative coordinates
            of the photograph, from the image processor; None when the input is the photograph.

    Returns:
        (batch, num_keypoints, 2).
    """
    relative = (keypoints + 0.5) / keypoints.new_tensor(size[::-1])
    if image_frames is None:
        return relative
    frames = image_frames.to(relative)[:, None]
    return frames[..., :2] + relative * (frames[..., 2:] - frames[..., :2])


class KeypointDetection:
    """The task of a `...ForKeypointDetection`: keypoints, scores and descriptors of single photographs."""

    base_model: DenseKeypoints

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        image_frames: Tensor | None = None,
        labels: Tensor | None = None,
        output_descriptor_map: bool = False,
        output_heatmap: bool = False,
        **kwargs: Any,
    ) -> tuple | RetinaKeypointOutput:
        """Detect keypoints.

        Args:
            pixel_values: (batch_size, num_channels, height, width).
            pixel_mask: (batch_size, height, width), non-zero inside the field of view.
            image_frames: (batch_size, 4), from the image processor; see `relative_to_photograph`.
            labels: (batch_size, height, width), target heat map in [0, 1].
            output_descriptor_map: Return the dense descriptors too.
            output_heatmap: Return the heat map too.
            **kwargs: Not used.

        Returns:
            `RetinaKeypointOutput`.
        """
        dense: RetinaDenseOutput = self.base_model(pixel_values)
        detected = self.base_model.find_keypoints(dense, pixel_mask)
        loss = None
        if labels is not None:
            inside = None if pixel_mask is None else pixel_mask[:, None]
            loss = dice_loss(dense.heatmap_logits.float().sigmoid(), labels[:, None].float(), inside).mean()
        keypoints = relative_to_photograph(detected.keypoints, pixel_values.shape[-2:], image_frames)
        return RetinaKeypointOutput(
            loss=loss,
            keypoints=keypoints * detected.mask[..., None],
            scores=detected.scores,
            descriptors=detected.descriptors,
            mask=detected.mask.int(),
            descriptor_map=dense.descriptor_map if output_descriptor_map else None,
            heatmap=dense.heatmap_logits.float().sigmoid() if output_heatmap else None,
        )


class KeypointMatching:
    """The task of a `...ForKeypointMatching`: matches of pairs, mutual nearest neighbors with ratio test."""

    base_model: DenseKeypoints

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        image_frames: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple | RetinaMatchingOutput:
        """Match pairs; consecutive images are the pairs.

        Args:
            pixel_values: (batch_size, 2, num_channels, height, width) or (2 * batch_size, num_channels, height, width).
            pixel_mask: The same without channels, non-zero inside the field of view.
            image_frames: (..., 4), from the image processor; see `relative_to_photograph`.
            labels: (batch_size, n, 4), corresponding points (x0, y0, x1, y1) in pixels of the two inputs, NaN for
                padding.
            **kwargs: Not used.

        Returns:
            `RetinaMatchingOutput`.

        Raises:
            ValueError: When the number of images is odd.
        """
        if pixel_values.ndim == 5:
            pixel_values = pixel_values.flatten(0, 1)
            pixel_mask = None if pixel_mask is None else pixel_mask.flatten(0, -3)
            image_frames = None if image_frames is None else image_frames.flatten(0, -2)
        if len(pixel_values) % 2:
            raise ValueError(f"Matching takes pairs, hence an even number of images, got {len(pixel_values)}.")
        config = self.base_model.config
        dense: RetinaDenseOutput = self.base_model(pixel_values)
        detected = self.base_model.find_keypoints(dense, pixel_mask)
        loss = None
        if labels is not None:
            known = labels.isfinite().all(-1)
            points = labels.nan_to_num().unflatten(-1, (2, 2)).transpose(1, 2).flatten(0, 1)  # (2 * batch, n, 2)
            at = self.base_model.sample_descriptors(dense.descriptor_map, points).unflatten(0, (-1, 2))
            loss = contrastive_loss(at[:, 0], at[:, 1], known, temperature=config.matching_temperature).mean()
        keypoints = relative_to_photograph(detected.keypoints, pixel_values.shape[-2:], image_frames)
        keypoints = keypoints * detected.mask[..., None]
        descriptors, mask = detected.descriptors.unflatten(0, (-1, 2)), detected.mask.unflatten(0, (-1, 2))
        matches, scores = mutual_nearest_matches(
            descriptors[:, 0],
            descriptors[:, 1],
            mask[:, 0],
            mask[:, 1],
            ratio=config.ratio_threshold,
            temperature=config.matching_temperature,
        )
        return RetinaMatchingOutput(
            loss=loss,
            matches=matches,
            matching_scores=scores,
            keypoints=keypoints.unflatten(0, (-1, 2)),
            scores=detected.scores.unflatten(0, (-1, 2)),
            descriptors=descriptors,
            mask=mask.int(),
        )


__all__ = [
    "DenseKeypoints",
    "DescriptorHead",
    "FineDescriptorHead",
    "KeypointConfig",
    "KeypointDetection",
    "KeypointMatching",
    "ScaledConvolution",
    "heatmap_layer",
    "initialize_convolution",
    "relative_to_photograph",
]
