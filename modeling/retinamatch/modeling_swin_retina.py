"""SwinRetina: a two-dimensional Swin UNETR (arXiv 2201.01266) with a descriptor head, SuperRetina's or a finer one.

One dense network and two heads without parameters: any saved class opens as any other. No map is padded further than
its own stride asks: at stride s an image of height h has ceil(h / s) rows, so the statistics of the instance norms are
those of the image. For sizes that 32 divides, the network is MONAI's `SwinUNETR(spatial_dims=2)`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, SwinConfig, SwinModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.swin.modeling_swin import SwinPatchMerging
from transformers.utils import can_return_tuple

from .configuration_swin_retina import SwinRetinaConfig
from .keypoint_heads import (
    DenseKeypoints,
    DescriptorHead,
    FineDescriptorHead,
    KeypointDetection,
    KeypointMatching,
    heatmap_layer,
    initialize_convolution,
)
from .keypoints import RetinaDenseOutput


class _SwinEncoderConfig(SwinConfig):
    # Not "swin": for that name transformers stores the weights under the names of its older versions.
    model_type = "swin_retina_encoder"


class SwinRetinaEncoder(SwinModel):
    """transformers' Swin with what Swin UNETR does differently.

    No norm after the patch embedding; patch merging after the last stage too, which gives a fifth map at stride 32;
    every map layer-normalized without parameters on its way out.

    As in the original, a stage pads its grid to whole windows with zeros at the right and bottom, which the tokens
    beside them attend to: without it the published weights would give other results.
    """

    def __init__(self, config: SwinRetinaConfig):
        names = ["num_channels", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "drop_path_rate"]
        names += ["hidden_dropout_prob", "attention_probs_dropout_prob"]
        swin = _SwinEncoderConfig(patch_size=2, **{name: getattr(config, name) for name in names})
        swin._attn_implementation = config._attn_implementation
        super().__init__(swin, add_pooling_layer=False)
        self.embeddings.add_module("norm", nn.Identity())
        self.add_module("layernorm", nn.Identity())
        self.encoder.layers[-1].downsample = SwinPatchMerging(8 * config.embed_dim)
        self.post_init()

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Compute five maps (batch, embed_dim * 2**i, ceil(height / 2**(i + 1)), ceil(width / 2**(i + 1)))."""
        tokens, size = self.embeddings(pixel_values)
        maps = [tokens.mT.unflatten(2, size)]
        for stage in self.encoder.layers:
            # Without `always_partition` a small image would change the windows of the module for good.
            tokens, features, _ = stage(tokens, size, always_partition=True)
            maps.append(features)
            size = tuple(features.shape[2:])
        return [F.layer_norm(m.permute(0, 2, 3, 1), m.shape[1:2]).permute(0, 3, 1, 2) for m in maps]


class Residual(GradientCheckpointingLayer):
    """Two 3x3 convolutions with instance norm, and the input added, through a 1x1 convolution if widths differ."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def add_residual(self, features: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height, width)."""
        shortcut = features if self.shortcut is None else F.instance_norm(self.shortcut(features))
        features = F.leaky_relu(F.instance_norm(self.conv1(features)), 0.01)
        return F.leaky_relu(F.instance_norm(self.conv2(features)) + shortcut, 0.01)


class ResidualBlock(Residual):
    """A residual block by itself, on the skip connections and at the bottleneck."""

    def forward(self, features: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height, width)."""
        return self.add_residual(features)


class DecoderBlock(Residual):
    """Double the resolution, cut it to the skip connection's size, join both in a residual block."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(2 * outputs, outputs)
        self.upsample = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """(batch, inputs, h, w) and (batch, outputs, h', w'), h' <= 2 h, w' <= 2 w -> the latter's shape."""
        features = self.upsample(features)[..., : skip.shape[2], : skip.shape[3]]
        return self.add_residual(torch.cat([features, skip], 1))


class SwinRetinaPreTrainedModel(PreTrainedModel):
    """Initialization, and loading of any class of the family from any other."""

    config_class = SwinRetinaConfig
    base_model_prefix = "swin_retina"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # The encoder is a `PreTrainedModel` itself and fills its own weights and buffers.
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            initialize_convolution(module)


class SwinRetinaModel(SwinRetinaPreTrainedModel, DenseKeypoints):
    """The dense network: heat-map logits at full resolution and the descriptor map."""

    config: SwinRetinaConfig
    memory_format = torch.contiguous_format  # instance norms want whole planes, and would copy everything

    def __init__(self, config: SwinRetinaConfig):
        super().__init__(config)
        width = config.embed_dim
        self.encoder = SwinRetinaEncoder(config)
        self.skips = nn.ModuleList(
            [ResidualBlock(config.num_channels, width)] + [ResidualBlock(w, w) for w in (width, 2 * width, 4 * width)]
        )
        self.bottleneck = ResidualBlock(16 * width, 16 * width)
        widths = [factor * width for factor in (16, 8, 4, 2, 1, 1)]
        self.decoder = nn.ModuleList(DecoderBlock(i, o) for i, o in zip(widths, widths[1:]))
        self.heatmap = heatmap_layer(width)
        self.activation = nn.ReLU()
        self.descriptor_head = (
            DescriptorHead(4 * width, config.descriptor_width, config.descriptor_dim)
            if config.descriptor_stride == 8
            else FineDescriptorHead((4 + 2) * width, config.descriptor_width, config.descriptor_dim)
        )
        self.post_init()

    @can_return_tuple
    def forward(self, pixel_values: Tensor, **kwargs: Any) -> tuple | RetinaDenseOutput:
        """Compute the dense maps.

        Args:
            pixel_values: (batch_size, num_channels, height, width), any size larger than one window of the last stage.
            **kwargs: Not used; pipelines and heads may pass more.

        Returns:
            `RetinaDenseOutput`; the heat map has exactly the input's height and width.

        Raises:
            ValueError: When the input has the wrong number of axes or channels, holds no image or is too small.
        """
        pixel_values = self.take_input(pixel_values, smallest=16 * self.config.window_size + 1)
        if len(pixel_values) == 0:  # the layers of transformers' Swin fail on that
            raise ValueError("`pixel_values` must hold at least one image.")
        *maps, deepest = self.encoder(pixel_values)
        skips = [block(features) for block, features in zip(self.skips, (pixel_values, *maps))] + maps[3:]
        features, decoded = self.bottleneck(deepest), []
        for block, skip in zip(self.decoder, skips[::-1], strict=True):
            features = block(features, skip)
            decoded.append(features)
        described = decoded[1:2] if self.config.descriptor_stride == 8 else decoded[2:0:-1]  # strides 8, or 4 and 8
        return RetinaDenseOutput(
            heatmap_logits=self.heatmap_logits(features),
            descriptor_map=self.descriptor_head(*described, self.activation),
        )


class SwinRetinaForKeypointDetection(KeypointDetection, SwinRetinaPreTrainedModel):
    """Keypoints, scores and descriptors of single photographs."""

    def __init__(self, config: SwinRetinaConfig):
        super().__init__(config)
        self.swin_retina = SwinRetinaModel(config)
        self.post_init()


class SwinRetinaForKeypointMatching(KeypointMatching, SwinRetinaPreTrainedModel):
    """Matches of pairs of photographs: mutual nearest neighbors with ratio test."""

    def __init__(self, config: SwinRetinaConfig):
        super().__init__(config)
        self.swin_retina = SwinRetinaModel(config)
        self.post_init()


__all__ = [
    "SwinRetinaEncoder",
    "SwinRetinaForKeypointDetection",
    "SwinRetinaForKeypointMatching",
    "SwinRetinaModel",
    "SwinRetinaPreTrainedModel",
]
