"""LK-SuperRetina: a U-shaped keypoint detector and descriptor with large kernels; plain SuperRetina without them.

One dense network and two heads without parameters: any saved class opens as any other.
"""

from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_lk_superretina import LKSuperRetinaConfig
from .keypoint_heads import (
    DenseKeypoints,
    DescriptorHead,
    FineDescriptorHead,
    KeypointDetection,
    KeypointMatching,
    ScaledConvolution,
    heatmap_layer,
    initialize_convolution,
)
from .keypoints import RetinaDenseOutput


class LargeKernelBlock(nn.Module):
    """`x + sum of parallel convolutions of x` (LKU-Net, arXiv 2208.04939).

    The branches are linear, so their kernels are added up and applied as one convolution: the same function at the
    price of its largest branch, in training too.
    """

    def __init__(self, width: int, kernel_sizes: tuple[int, ...]):
        super().__init__()
        gain = 0.5 / len(kernel_sizes) ** 0.5  # they share one sum: without this the features grow from stage to stage
        self.branches = nn.ModuleList(ScaledConvolution(width, width, size, gain) for size in kernel_sizes)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, width, h, w) -> the same shape."""
        weight, bias = self._sum()
        return features + F.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)

    def _sum(self) -> tuple[Tensor, Tensor]:
        weights: list[Tensor] = [branch.get_parameter("weight") for branch in self.branches]
        biases: list[Tensor] = [branch.get_parameter("bias") for branch in self.branches]
        largest = max(weight.shape[-1] for weight in weights)
        weight = reduce(torch.add, [F.pad(w, [(largest - w.shape[-1]) // 2] * 4) for w in weights])
        return weight, reduce(torch.add, biases)

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """Make the one convolution that the whole block is, `x` included, for use without training."""
        weight, bias = self._sum()
        width, size = weight.shape[0], weight.shape[-1]
        layer = nn.Conv2d(width, width, size, padding=size // 2)
        layer.weight.copy_(weight)
        layer.weight[:, :, size // 2, size // 2] += torch.eye(width)
        layer.bias = nn.Parameter(bias.clone())
        return layer


class EncoderStage(nn.Module):
    """3x3 convolution, activation, second convolution or large-kernel block, activation."""

    def __init__(self, inputs: int, outputs: int, kernel_sizes: tuple[int, ...]):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        plain = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.block = LargeKernelBlock(outputs, kernel_sizes) if kernel_sizes else plain

    def forward(self, features: Tensor, activation: nn.Module) -> Tensor:
        """(batch, inputs, h, w) -> (batch, outputs, h, w)."""
        return activation(self.block(activation(self.conv(features))))


class DecoderStage(nn.Module):
    """Double the resolution, join the skip connection, two 3x3 convolutions with ReLU.

    Attributes:
        join: Join the two maps for the first convolution, which then has constant weights, as files for ONNX want it.
    """

    join = False

    def __init__(self, inputs: int, skip: int, align_corners: bool):
        super().__init__()
        self.align_corners = align_corners
        self.conv1 = nn.Conv2d(inputs + skip, skip, 3, padding=1)
        self.conv2 = nn.Conv2d(skip, skip, 3, padding=1)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """(batch, inputs, h, w) and (batch, skip, 2 h, 2 w) -> (batch, skip, 2 h, 2 w)."""
        features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=self.align_corners)
        if self.join:
            return F.relu(self.conv2(F.relu(self.conv1(torch.cat([features, skip], 1)))))
        # One convolution of the joined maps, as two: joining them, and parting their gradients, takes longer.
        left, right = self.conv1.weight.split([features.shape[1], skip.shape[1]], 1)
        joined = F.conv2d(features, left, self.conv1.bias, padding=1) + F.conv2d(skip, right, padding=1)
        return F.relu(self.conv2(F.relu(joined, inplace=True)), inplace=True)


class LKSuperRetinaPreTrainedModel(PreTrainedModel):
    """Initialization, and loading of any class of the family from any other."""

    config_class = LKSuperRetinaConfig
    base_model_prefix = "lk_superretina"
    main_input_name = "pixel_values"
    input_modalities = ["image"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.PReLU):
            init.constant_(module.weight, 0.25)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            initialize_convolution(module)


class LKSuperRetinaModel(LKSuperRetinaPreTrainedModel, DenseKeypoints):
    """The dense network: heat-map logits at full resolution and the descriptor map."""

    config: LKSuperRetinaConfig

    def __init__(self, config: LKSuperRetinaConfig):
        super().__init__(config)
        widths, kernels = tuple(config.encoder_widths), tuple(config.kernel_sizes)
        inputs = (config.num_channels, *widths[:3])
        self.encoder = nn.ModuleList(
            EncoderStage(i, o, kernels if stage else ())
            for stage, (i, o) in enumerate(zip(inputs, widths, strict=True))
        )
        self.activation = nn.PReLU() if config.activation == "prelu" else nn.ReLU(inplace=True)
        skips = widths[2::-1]
        self.decoder = nn.ModuleList(
            DecoderStage(i, s, config.align_corners) for i, s in zip((widths[3], *skips[:2]), skips, strict=True)
        )
        self.heatmap = heatmap_layer(widths[0])
        self.descriptor_head = (
            DescriptorHead(widths[3], config.descriptor_width, config.descriptor_dim)
            if config.descriptor_stride == 8
            else FineDescriptorHead(sum(widths[2:]), config.descriptor_width, config.descriptor_dim)
        )
        self.post_init()

    @can_return_tuple
    def forward(self, pixel_values: Tensor, **kwargs: Any) -> tuple | RetinaDenseOutput:
        """Compute the dense maps.

        Args:
            pixel_values: (batch_size, num_channels, height, width), any size; padded inside to a multiple of 8.
            **kwargs: Not used; pipelines and heads may pass more.

        Returns:
            `RetinaDenseOutput`; the heat map has exactly the input's height and width.

        Raises:
            ValueError: When the input has the wrong number of axes or channels or is too small.
        """
        pixel_values = self.take_input(pixel_values, self.descriptor_head.smallest_input)
        height, width = pixel_values.shape[-2:]
        features = F.pad(pixel_values, (0, -width % 8, 0, -height % 8))
        stages = []
        for stage, layer in enumerate(self.encoder):
            features = layer(F.max_pool2d(features, 2) if stage else features, self.activation)
            stages.append(features)
        described = stages[3:] if self.config.descriptor_stride == 8 else stages[2:]
        descriptor_map = self.descriptor_head(*described, self.activation)
        for layer, skip in zip(self.decoder, stages[2::-1], strict=True):
            features = layer(features, skip)
        return RetinaDenseOutput(
            heatmap_logits=self.heatmap_logits(features)[..., :height, :width], descriptor_map=descriptor_map
        )


class LKSuperRetinaForKeypointDetection(KeypointDetection, LKSuperRetinaPreTrainedModel):
    """Keypoints, scores and descriptors of single photographs."""

    def __init__(self, config: LKSuperRetinaConfig):
        super().__init__(config)
        self.lk_superretina = LKSuperRetinaModel(config)
        self.post_init()


class LKSuperRetinaForKeypointMatching(KeypointMatching, LKSuperRetinaPreTrainedModel):
    """Matches of pairs of photographs: mutual nearest neighbors with ratio test."""

    def __init__(self, config: LKSuperRetinaConfig):
        super().__init__(config)
        self.lk_superretina = LKSuperRetinaModel(config)
        self.post_init()


__all__ = [
    "LKSuperRetinaForKeypointDetection",
    "LKSuperRetinaForKeypointMatching",
    "LKSuperRetinaModel",
    "LKSuperRetinaPreTrainedModel",
]
