"""Configuration of the Swin student of reverse knowledge distillation and its family."""

from typing import Any, Self

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class SwinRetinaConfig(PreTrainedConfig):
    r"""Configuration of [`SwinRetinaModel`], a two-dimensional Swin UNETR with SuperRetina's descriptor head.

    The defaults are the student of the reverse-knowledge-distillation paper (arXiv 2307.10698, 7,900,667 parameters);
    [`SwinRetinaConfig.large`] is its large variant, [`SwinRetinaConfig.tiny`] the one for tests.

    Args:
        num_channels (`int`, *optional*, defaults to 1):
            Channels of the input. One: the enhanced green channel.
        embed_dim (`int`, *optional*, defaults to 24):
            Channels after the patch embedding; they double from stage to stage, and the decoder mirrors them.
        depths (`tuple[int, ...]`, *optional*, defaults to `(2, 2, 2, 2)`):
            Transformer layers of the four stages, at strides 2, 4, 8 and 16.
        num_heads (`tuple[int, ...]`, *optional*, defaults to `(3, 6, 12, 24)`):
            Attention heads of the four stages.
        window_size (`int`, *optional*, defaults to 7):
            Side of an attention window. The input must be larger than one window of the last stage, 112 pixels with
            7.
        mlp_ratio (`float`, *optional*, defaults to 4.0):
            Hidden channels of a transformer layer's MLP per channel.
        hidden_dropout_prob (`float`, *optional*, defaults to 0.5):
            Dropout after the patch embedding, the attention and the MLP, in training.
        attention_probs_dropout_prob (`float`, *optional*, defaults to 0.0):
            Dropout of attention weights, in training.
        drop_path_rate (`float`, *optional*, defaults to 0.0):
            Fraction of residual branches left out in the last layer in training, rising linearly from 0 in the first.
        descriptor_width (`int`, *optional*, defaults to 256):
            Hidden channels of the descriptor head.
        descriptor_dim (`int`, *optional*, defaults to 256):
            Length of a descriptor.
        descriptor_stride (`int`, *optional*, defaults to 8):
            Input pixels per cell of the descriptor map: 8, the published head, or 4, a head that joins the decoder's
            maps at strides 4 and 8.
        nms_radius (`int`, *optional*, defaults to 4):
            Non-maximum suppression radius in input pixels.
        keypoint_threshold (`float`, *optional*, defaults to 0.01):
            Smallest heat-map value of a keypoint.
        max_keypoints (`int`, *optional*, defaults to 2048):
            Most keypoints kept per image, the highest first.
        border (`int`, *optional*, defaults to 8):
            No keypoint lies closer than this many input pixels to the rim of the field of view or of the image.
        ratio_threshold (`float`, *optional*, defaults to 0.95):
            A match is kept when the distance to the nearest descriptor is below this fraction of that to the second
            nearest.
        matching_temperature (`float`, *optional*, defaults to 0.07):
            Temperature of the dual softmax over cosine similarities that gives the matching scores.
    """

    model_type = "swin_retina"

    num_channels: int = 1
    embed_dim: int = 24
    depths: list[int] | tuple[int, ...] = (2, 2, 2, 2)
    num_heads: list[int] | tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float | int = 4.0
    hidden_dropout_prob: float | int = 0.5
    attention_probs_dropout_prob: float | int = 0.0
    drop_path_rate: float | int = 0.0
    descriptor_width: int = 256
    descriptor_dim: int = 256
    descriptor_stride: int = 8
    nms_radius: int = 4
    keypoint_threshold: float | int = 0.01
    max_keypoints: int = 2048
    border: int = 8
    ratio_threshold: float | int = 0.95
    matching_temperature: float | int = 0.07

    def validate_architecture(self) -> None:
        """Reject what no network can be built from.

        Raises:
            ValueError: A setting has a value that it cannot have; the sentence names it.
        """
        for name in ("depths", "num_heads"):
            values = getattr(self, name)
            if len(values) != 4 or min(values) < 1:
                raise ValueError(f"`{name}` must be four positive integers, got {values}.")
        if self.descriptor_stride not in (4, 8):
            raise ValueError(f"`descriptor_stride` must be 4 or 8, got {self.descriptor_stride}.")
        if self.window_size < 2:
            raise ValueError(f"`window_size` must be at least 2, got {self.window_size}.")
        for stage, heads in enumerate(self.num_heads):
            if self.embed_dim < 1 or self.embed_dim * 2**stage % heads:
                raise ValueError(
                    f"`embed_dim` {self.embed_dim} gives stage {stage + 1} {self.embed_dim * 2**stage} channels, "
                    f"which {heads} heads cannot share."
                )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 0 and below 1, got {getattr(self, name)}.")

    @classmethod
    def fine(cls, **kwargs: Any) -> Self:
        """Return the variant that ships with weights: descriptors at stride 4, as long as the small teacher's."""
        settings = {
            "hidden_dropout_prob": 0.0,
            "drop_path_rate": 0.05,
            "descriptor_width": 128,
            "descriptor_dim": 128,
            "descriptor_stride": 4,
            "keypoint_threshold": 0.001,
        }
        return cls(**{**settings, **kwargs})

    @classmethod
    def large(cls, **kwargs: Any) -> Self:
        """Return the variant with embedding 48, about 27 million parameters."""
        return cls(**{"embed_dim": 48, **kwargs})

    @classmethod
    def tiny(cls, **kwargs: Any) -> Self:
        """Return a member for tests: small windows, hence small images, and few channels."""
        settings = {"embed_dim": 12, "window_size": 3, "descriptor_width": 24, "descriptor_dim": 32}
        return cls(**{**settings, **kwargs})


__all__ = ["SwinRetinaConfig"]
