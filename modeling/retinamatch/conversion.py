"""Published checkpoints (SuperRetina, LKUNET), downloaded by the user, to folders of this package.

The two networks are told apart by the names in their state dict: LKUNET has `conv2` to `conv4` with branches `a`,
`b`, `c` (1x1, 3x3, 5x5; `d`, 7x7, in one trial of its authors), SuperRetina has plain `conv2a`, `conv2b`. Only
weights are read (`weights_only=True`).
"""

import os
import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from .configuration_lk_superretina import LKSuperRetinaConfig
from .image_processing_retina import PUBLISHED_ENHANCEMENT, RetinaImageProcessor
from .modeling_lk_superretina import LKSuperRetinaForKeypointMatching, LKSuperRetinaModel


class CheckpointError(ValueError):
    """The file is no checkpoint of a known network; the sentence says what was found."""


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read the weights of a `.pth` file: a state dict, or a dict that holds one as `net`, `model` or `state_dict`.

    Raises:
        CheckpointError: The file is missing, cannot be read as weights alone, or holds no tensors by name.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"There is no checkpoint file {path}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read as PyTorch weights.") from error
    for name in ("net", "model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no state dict of tensors.")
    return {re.sub(r"^module\.", "", name): value for name, value in content.items()}


def rename(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], LKSuperRetinaConfig]:
    """Bring published names to ours and read the architecture off the shapes.

    Args:
        state: Names and tensors as in the published code.

    Returns:
        The state dict of `LKSuperRetinaModel` and its configuration, with the published inference settings.

    Raises:
        CheckpointError: Names are missing or left over.
    """
    large_kernels = "conv2.weight" in state
    branches = [b for b in "abcd" if f"conv2{b}.weight" in state] if large_kernels else []
    pairs = {"conv1a": "encoder.0.conv", "conv1b": "encoder.0.block"}
    for stage in (2, 3, 4):
        if large_kernels:
            pairs[f"conv{stage}"] = f"encoder.{stage - 1}.conv"
            for i, branch in enumerate(branches):
                pairs[f"conv{stage}{branch}"] = f"encoder.{stage - 1}.block.branches.{i}"
        else:
            pairs[f"conv{stage}a"] = f"encoder.{stage - 1}.conv"
            pairs[f"conv{stage}b"] = f"encoder.{stage - 1}.block"
    pairs |= {"convDa": "descriptor_head.conv1", "convDb": "descriptor_head.conv2", "convDc": "descriptor_head.conv3"}
    pairs |= {"trans_conv": "descriptor_head.upsample", "conv_last": "heatmap"}
    for i, name in enumerate(("dconv_up3", "dconv_up2", "dconv_up1")):
        pairs |= {f"{name}.0": f"decoder.{i}.conv1", f"{name}.2": f"decoder.{i}.conv2"}
    names = {f"{old}.{part}": f"{new}.{part}" for old, new in pairs.items() for part in ("weight", "bias")}
    if large_kernels:
        names["relu.weight"] = "activation.weight"
    missing, unknown = sorted(set(names) - set(state)), sorted(set(state) - set(names))
    if missing or unknown:
        raise CheckpointError(
            f"This is neither SuperRetina nor LKUNET: {len(missing)} weights are missing (first: {missing[:1]}), "
            f"{len(unknown)} are unknown (first: {unknown[:1]})."
        )
    block = "conv{}a" if large_kernels else "conv{}b"
    widths = [state[f"{name}.weight"].shape[0] for name in ("conv1b", *(block.format(s) for s in (2, 3, 4)))]
    config = LKSuperRetinaConfig(
        encoder_widths=tuple(widths),
        kernel_sizes=tuple(state[f"conv2{b}.weight"].shape[-1] for b in branches),
        activation="prelu" if large_kernels else "relu",
        descriptor_width=state["convDa.weight"].shape[0],
        descriptor_dim=state["trans_conv.weight"].shape[1],
        nms_radius=10,
        border=4,
        ratio_threshold=0.9,
    )
    return {new: state[old] for old, new in names.items()}, config


def convert_checkpoint(path: str | os.PathLike, out: str | os.PathLike) -> LKSuperRetinaForKeypointMatching:
    """Convert a published checkpoint to a folder that `from_pretrained` opens, with the published enhancement.

    Args:
        path: `.pth` file of SuperRetina or LKUNET.
        out: Folder to write.

    Returns:
        The model that was saved.

    Raises:
        CheckpointError: See `read_state_dict` and `rename`.
    """
    state, config = rename(read_state_dict(path))
    model = LKSuperRetinaForKeypointMatching(config)
    base: LKSuperRetinaModel = model.lk_superretina
    base.load_state_dict(state)
    model.save_pretrained(out)
    RetinaImageProcessor(**PUBLISHED_ENHANCEMENT).save_pretrained(out)
    return model


__all__ = ["CheckpointError", "convert_checkpoint", "read_state_dict", "rename"]
