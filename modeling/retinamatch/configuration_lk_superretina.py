"""Configuration of LK-SuperRetina and its family."""

from typing import Any, Self

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class LKSuperRetinaConfig(PreTrainedConfig):
    r"""Configuration of [`LKSuperRetinaModel`], a convolutional keypoint detector and descriptor for the retina.

    The defaults are the LK-SuperRetina of the reverse-knowledge-distillation paper (arXiv 2307.10698, 3,960,322
    parameters); `kernel_sizes=()` with `activation="relu"` is the plain SuperRetina (arXiv 2207.07932, 3,001,217
    parameters); [`LKSuperRetinaConfig.small`] is the member that trains and runs on two cores.

    Args:
        num_channels (`int`, *optional*, defaults to 1):
            Channels of the input. One: the enhanced green channel.
        encoder_widths (`tuple[int, ...]`, *optional*, defaults to `(64, 64, 128, 128)`):
            Channels of the four encoder stages, at strides 1, 2, 4 and 8. The decoder mirrors them.
        kernel_sizes (`tuple[int, ...]`, *optional*, defaults to `(1, 3, 5)`):
            Odd sizes of the parallel convolutions in the large-kernel block of stages 2 to 4. Empty: a plain 3x3
            convolution.
        activation (`str`, *optional*, defaults to `"prelu"`):
            `"prelu"` (one scalar shared by encoder and descriptor head) or `"relu"`. The decoder always uses ReLU.
        align_corners (`bool`, *optional*, defaults to `True`):
            Corner alignment of the decoder's bilinear upsampling. True as published; False makes the network
            equivariant to shifts of whole cells, so crops and whole photographs agree.
        descriptor_width (`int`, *optional*, defaults to 256):
            Hidden channels of the descriptor head.
        descriptor_dim (`int`, *optional*, defaults to 256):
            Length of a descriptor.
        descriptor_stride (`int`, *optional*, defaults to 8):
            Input pixels per cell of the descriptor map: 8, the published head, or 4, a head that joins stages 3 and 4.
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

    model_type = "lk_superretina"

    num_channels: int = 1
    encoder_widths: list[int] | tuple[int, ...] = (64, 64, 128, 128)
    kernel_sizes: list[int] | tuple[int, ...] = (1, 3, 5)
    activation: str = "prelu"
    align_corners: bool = True
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
        if len(self.encoder_widths) != 4 or min(self.encoder_widths) < 1:
            raise ValueError(f"`encoder_widths` must be four positive integers, got {self.encoder_widths}.")
        if any(size < 1 or size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"`kernel_sizes` must be odd positive integers, got {self.kernel_sizes}.")
        if self.activation not in ("prelu", "relu"):
            raise ValueError(f'`activation` must be "prelu" or "relu", got "{self.activation}".')
        if self.descriptor_stride not in (4, 8):
            raise ValueError(f"`descriptor_stride` must be 4 or 8, got {self.descriptor_stride}.")

    @classmethod
    def small(cls, **kwargs: Any) -> Self:
        """Return the half-width member, about one million parameters, with descriptors at stride 4."""
        settings = {
            "encoder_widths": (16, 32, 64, 96),
            "activation": "relu",
            "align_corners": False,
            "descriptor_width": 128,
            "descriptor_dim": 128,
            "descriptor_stride": 4,
            "keypoint_threshold": 0.001,
        }
        return cls(**{**settings, **kwargs})

    @classmethod
    def superretina(cls, **kwargs: Any) -> Self:
        """Return the plain SuperRetina as published, without large kernels."""
        return cls(**{"kernel_sizes": (), "activation": "relu", **kwargs})


__all__ = ["LKSuperRetinaConfig"]
