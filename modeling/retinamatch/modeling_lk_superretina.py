"""LK-SuperRetina: a U-shaped keypoint detector and descriptor with large kernels; plain SuperRetina without them.

One dense network and two heads without parameters: any saved class opens as any other.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_lk_superretina import LKSuperRetinaConfig
from .keypoints import (
    RetinaDenseOutput,
    RetinaKeypointOutput,
    RetinaMatchingOutput,
    detect_keypoints,
    mutual_nearest_matches,
    sample_descriptors,
)
from .losses import contrastive_loss, dice_loss


class LargeKernelBlock(nn.Module):
    """`x + sum of parallel convolutions of x` (LKU-Net, arXiv 2208.04939).

    The branches are linear, so their kernels are added up and applied as one convolution: the same function at the
    price of its largest branch, in training too.
    """

    def __init__(self, width: int, kernel_sizes: tuple[int, ...]):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(width, width, size, padding=size // 2) for size in kernel_sizes)
        for branch in self.branches:  # they share one sum: without this the features grow from stage to stage
            branch.initial_gain = 0.5 / len(kernel_sizes) ** 0.5

    def forward(self, features: Tensor) -> Tensor:
        largest = max(branch.kernel_size[0] for branch in self.branches)
        weight = sum(F.pad(b.weight, [(largest - b.kernel_size[0]) // 2] * 4) for b in self.branches)
        bias = sum(branch.bias for branch in self.branches)
        return features + F.conv2d(features, weight, bias, padding=largest // 2)


class EncoderStage(nn.Module):
    """3x3 convolution, activation, second convolution or large-kernel block, activation."""

    def __init__(self, inputs: int, outputs: int, kernel_sizes: tuple[int, ...]):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        plain = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.block = LargeKernelBlock(outputs, kernel_sizes) if kernel_sizes else plain

    def forward(self, features: Tensor, activation: nn.Module) -> Tensor:
        return activation(self.block(activation(self.conv(features))))


class DecoderStage(nn.Module):
    """Doubles the resolution, joins the skip connection, two 3x3 convolutions with ReLU."""

    def __init__(self, inputs: int, skip: int, align_corners: bool):
        super().__init__()
        self.align_corners = align_corners
        self.conv1 = nn.Conv2d(inputs + skip, skip, 3, padding=1)
        self.conv2 = nn.Conv2d(skip, skip, 3, padding=1)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=self.align_corners)
        return F.relu(self.conv2(F.relu(self.conv1(torch.cat([features, skip], 1)))))


class DescriptorHead(nn.Module):
    """The published head: from the stride-8 features over a stride-16 bottleneck back to stride 8.

    The 4x4 convolution has no padding and stride 2, the transposed one doubles again: cell j of the map sees
    stride-8 cell j + 1, so the centre of its first cell lies on input pixel 8 + 3.5.
    """

    stride, offset, smallest_input = 8, 11.5, 32

    def __init__(self, config: LKSuperRetinaConfig):
        super().__init__()
        hidden, size = config.descriptor_width, config.descriptor_dim
        self.conv1 = nn.Conv2d(config.encoder_widths[3], hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, hidden, 4, stride=2)
        self.conv3 = nn.Conv2d(hidden, size, 1)
        self.upsample = nn.ConvTranspose2d(size, size, 2, stride=2)

    def forward(self, stage3: Tensor, stage4: Tensor, activation: nn.Module) -> Tensor:
        features = self.conv3(activation(self.conv2(activation(self.conv1(stage4)))))
        return self.upsample(F.normalize(features, dim=1))


class FineDescriptorHead(nn.Module):
    """Ours, at stride 4: both last stages joined; the centre of cell j lies on input pixel 4 j + 1.5."""

    stride, offset, smallest_input = 4, 1.5, 8

    def __init__(self, config: LKSuperRetinaConfig):
        super().__init__()
        hidden = config.descriptor_width
        self.conv1 = nn.Conv2d(config.encoder_widths[2] + config.encoder_widths[3], hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, config.descriptor_dim, 1)

    def forward(self, stage3: Tensor, stage4: Tensor, activation: nn.Module) -> Tensor:
        coarse = F.interpolate(stage4, scale_factor=2, mode="bilinear", align_corners=False)
        return self.conv2(activation(self.conv1(torch.cat([coarse, stage3], 1))))


class LKSuperRetinaPreTrainedModel(PreTrainedModel):
    """Initialisation, and loading of any class of the family from any other."""

    config_class = LKSuperRetinaConfig
    base_model_prefix = "lk_superretina"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, nn.PReLU):
            init.constant_(module.weight, 0.25)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # He's initialisation. Only functions of `init` spare what a checkpoint has filled already.
            deviation = (2 / module.weight[0].numel()) ** 0.5
            init.normal_(module.weight, std=getattr(module, "initial_gain", 1.0) * deviation)
            init.constant_(module.bias, getattr(module, "initial_bias", 0.0))


class LKSuperRetinaModel(LKSuperRetinaPreTrainedModel):
    """The dense network: heat-map logits at full resolution and the descriptor map."""

    def __init__(self, config: LKSuperRetinaConfig):
        super().__init__(config)
        widths, kernels = tuple(config.encoder_widths), tuple(config.kernel_sizes)
        inputs = (config.num_channels, *widths[:3])
        self.encoder = nn.ModuleList(
            EncoderStage(i, o, kernels if stage else ())
            for stage, (i, o) in enumerate(zip(inputs, widths, strict=True))
        )
        self.activation = nn.PReLU() if config.activation == "prelu" else nn.ReLU()
        skips = widths[2::-1]
        self.decoder = nn.ModuleList(
            DecoderStage(i, s, config.align_corners) for i, s in zip((widths[3], *skips[:2]), skips, strict=True)
        )
        self.heatmap = nn.Conv2d(widths[0], 1, 1)
        self.heatmap.initial_gain, self.heatmap.initial_bias = 0.02, -2.0  # keypoints are rare: begin nearly empty
        self.descriptor_head = DescriptorHead(config) if config.descriptor_stride == 8 else FineDescriptorHead(config)
        self.post_init()

    @can_return_tuple
    def forward(self, pixel_values: Tensor, **kwargs) -> tuple | RetinaDenseOutput:
        """Compute the dense maps.

        Args:
            pixel_values: (batch_size, num_channels, height, width), any size; padded inside to a multiple of 8.
            **kwargs: Not used; pipelines and heads may pass more.

        Returns:
            `RetinaDenseOutput`; the heat map has exactly the input's height and width.

        Raises:
            ValueError: When the input has the wrong number of axes or channels or is too small.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.config.num_channels:
            wanted = f"(batch, {self.config.num_channels}, height, width)"
            raise ValueError(f"`pixel_values` must have shape {wanted}, got {tuple(pixel_values.shape)}.")
        height, width = pixel_values.shape[-2:]
        if min(height, width) < self.descriptor_head.smallest_input:
            least = self.descriptor_head.smallest_input
            raise ValueError(f"`pixel_values` must be at least {least} x {least} pixels, got {height} x {width}.")
        features = F.pad(pixel_values.to(self.dtype), (0, -width % 8, 0, -height % 8))
        stages = []
        for stage, layer in enumerate(self.encoder):
            features = layer(F.max_pool2d(features, 2) if stage else features, self.activation)
            stages.append(features)
        descriptor_map = self.descriptor_head(stages[2], stages[3], self.activation)
        for layer, skip in zip(self.decoder, stages[2::-1], strict=True):
            features = layer(features, skip)
        return RetinaDenseOutput(
            heatmap_logits=self.heatmap(features)[..., :height, :width], descriptor_map=descriptor_map
        )

    def sample_descriptors(self, descriptor_map: Tensor, keypoints: Tensor) -> Tensor:
        """Read unit-length descriptors at keypoints (batch, num_keypoints, 2) given in input pixels."""
        head = self.descriptor_head
        return sample_descriptors(descriptor_map, keypoints, head.stride, head.offset)

    def find_keypoints(self, dense: RetinaDenseOutput, pixel_mask: Tensor | None = None) -> RetinaKeypointOutput:
        """Turn dense maps into keypoints in input pixels, with scores, descriptors and a bool mask."""
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


def relative_to_photograph(keypoints: Tensor, size: tuple[int, int], image_frames: Tensor | None) -> Tensor:
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


class LKSuperRetinaForKeypointDetection(LKSuperRetinaPreTrainedModel):
    """Keypoints, scores and descriptors of single photographs."""

    def __init__(self, config: LKSuperRetinaConfig):
        super().__init__(config)
        self.lk_superretina = LKSuperRetinaModel(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        image_frames: Tensor | None = None,
        labels: Tensor | None = None,
        output_descriptor_map: bool = False,
        **kwargs,
    ) -> tuple | RetinaKeypointOutput:
        """Detect keypoints.

        Args:
            pixel_values: (batch_size, num_channels, height, width).
            pixel_mask: (batch_size, height, width), non-zero inside the field of view.
            image_frames: (batch_size, 4), from the image processor; see `relative_to_photograph`.
            labels: (batch_size, height, width), target heat map in [0, 1].
            output_descriptor_map: Return the dense descriptors too.
            **kwargs: Not used.

        Returns:
            `RetinaKeypointOutput`.
        """
        dense = self.lk_superretina(pixel_values)
        found = self.lk_superretina.find_keypoints(dense, pixel_mask)
        loss = None
        if labels is not None:
            inside = None if pixel_mask is None else pixel_mask[:, None]
            loss = dice_loss(dense.heatmap_logits.float().sigmoid(), labels[:, None].float(), inside).mean()
        found.keypoints = relative_to_photograph(found.keypoints, pixel_values.shape[-2:], image_frames)
        found.keypoints = found.keypoints * found.mask[..., None]
        return RetinaKeypointOutput(
            loss=loss,
            keypoints=found.keypoints,
            scores=found.scores,
            descriptors=found.descriptors,
            mask=found.mask.int(),
            descriptor_map=dense.descriptor_map if output_descriptor_map else None,
        )


class LKSuperRetinaForKeypointMatching(LKSuperRetinaPreTrainedModel):
    """Matches of pairs of photographs: mutual nearest neighbours with ratio test."""

    def __init__(self, config: LKSuperRetinaConfig):
        super().__init__(config)
        self.lk_superretina = LKSuperRetinaModel(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        image_frames: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs,
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
        dense = self.lk_superretina(pixel_values)
        found = self.lk_superretina.find_keypoints(dense, pixel_mask)
        loss = None
        if labels is not None:
            known = labels.isfinite().all(-1)
            points = labels.nan_to_num().unflatten(-1, (2, 2)).transpose(1, 2).flatten(0, 1)  # (2 * batch, n, 2)
            at = self.lk_superretina.sample_descriptors(dense.descriptor_map, points).unflatten(0, (-1, 2))
            loss = contrastive_loss(at[:, 0], at[:, 1], known, temperature=self.config.matching_temperature).mean()
        keypoints = relative_to_photograph(found.keypoints, pixel_values.shape[-2:], image_frames)
        keypoints = keypoints * found.mask[..., None]
        descriptors, mask = found.descriptors.unflatten(0, (-1, 2)), found.mask.unflatten(0, (-1, 2))
        matches, scores = mutual_nearest_matches(
            descriptors[:, 0],
            descriptors[:, 1],
            mask[:, 0],
            mask[:, 1],
            ratio=self.config.ratio_threshold,
            temperature=self.config.matching_temperature,
        )
        return RetinaMatchingOutput(
            loss=loss,
            matches=matches,
            matching_scores=scores,
            keypoints=keypoints.unflatten(0, (-1, 2)),
            scores=found.scores.unflatten(0, (-1, 2)),
            descriptors=descriptors,
            mask=mask.int(),
        )


__all__ = [
    "LKSuperRetinaForKeypointDetection",
    "LKSuperRetinaForKeypointMatching",
    "LKSuperRetinaModel",
    "LKSuperRetinaPreTrainedModel",
]
