"""Published checkpoints (SuperRetina, LKUNET, SwinEncoder), downloaded by the user, to folders of this package.

The networks are told apart by the names in their state dict: SwinEncoder, the student, has `swinViT`; LKUNET has
`conv2` to `conv4` with branches `a`, `b`, `c` (1x1, 3x3, 5x5; `d`, 7x7, in one trial of its authors), SuperRetina has
plain `conv2a`, `conv2b`. Only weights are read (`weights_only=True`).
"""

import math
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .configuration_lk_superretina import LKSuperRetinaConfig
from .configuration_swin_retina import SwinRetinaConfig
from .files import filling
from .image_processing_retina import PUBLISHED_ENHANCEMENT, RetinaImageProcessor
from .modeling_lk_superretina import LKSuperRetinaForKeypointMatching
from .modeling_swin_retina import SwinRetinaForKeypointMatching, SwinRetinaModel


PUBLISHED_INFERENCE: dict[str, Any] = {"nms_radius": 10, "border": 4, "ratio_threshold": 0.9}
#: What a converted model consists of.
CONVERTED = ("config.json", "model.safetensors", "preprocessor_config.json")
_DESCRIPTOR_HEAD = {
    "convDa": "descriptor_head.conv1",
    "convDb": "descriptor_head.conv2",
    "convDc": "descriptor_head.conv3",
    "trans_conv": "descriptor_head.upsample",
}
# Names of the student, which are MONAI's, from the left to ours, one replacement after the other.
_STUDENT: list[tuple[str, str | Callable[[re.Match], str]]] = [
    (r"^swinViT\.patch_embed\.proj", r"encoder.embeddings.patch_embeddings.projection"),
    (r"^swinViT\.layers(\d)\.0", lambda match: f"encoder.encoder.layers.{int(match[1]) - 1}"),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.relative", ".attention.relative_position_bias.relative"),
    (r"\.attn\.proj", ".attention.o_proj"),
    (r"\.attn\.qkv", ".attention.qkv"),
    (r"\.mlp\.linear", ".mlp.fc"),
    (r"^encoder10\.layer", "bottleneck"),
    (r"^encoder([1-4])\.layer", lambda match: f"skips.{int(match[1]) - 1}"),
    (r"^decoder([1-5])", lambda match: f"decoder.{5 - int(match[1])}"),
    (r"\.transp_conv\.conv", ".upsample"),
    (r"\.conv_block", ""),
    (r"\.conv3\.conv", ".shortcut"),
    (r"\.(conv[12])\.conv", r".\1"),
    (r"^out\.conv\.conv", "heatmap"),
    *((f"^{old}", new) for old, new in _DESCRIPTOR_HEAD.items()),
]


class CheckpointError(ValueError):
    """The file is no checkpoint of a known network; the sentence says what it is."""


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
    """Rename published weights to our names and read the architecture off their shapes.

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
    pairs |= {**_DESCRIPTOR_HEAD, "conv_last": "heatmap"}
    for i, name in enumerate(("dconv_up3", "dconv_up2", "dconv_up1")):
        pairs |= {f"{name}.0": f"decoder.{i}.conv1", f"{name}.2": f"decoder.{i}.conv2"}
    names = {f"{old}.{part}": f"{new}.{part}" for old, new in pairs.items() for part in ("weight", "bias")}
    if large_kernels:
        names["relu.weight"] = "activation.weight"
    missing, unknown = sorted(set(names) - set(state)), sorted(set(state) - set(names))
    if missing or unknown:
        raise CheckpointError(
            f"This is neither SuperRetina nor LKUNET nor SwinEncoder: {len(missing)} weights are missing "
            f"(first: {missing[:1]}), {len(unknown)} are unknown (first: {unknown[:1]})."
        )
    block = "conv{}a" if large_kernels else "conv{}b"
    widths = [state[f"{name}.weight"].shape[0] for name in ("conv1b", *(block.format(s) for s in (2, 3, 4)))]
    config = LKSuperRetinaConfig(
        encoder_widths=tuple(widths),
        kernel_sizes=tuple(state[f"conv2{b}.weight"].shape[-1] for b in branches),
        activation="prelu" if large_kernels else "relu",
        descriptor_width=state["convDa.weight"].shape[0],
        descriptor_dim=state["trans_conv.weight"].shape[1],
        **PUBLISHED_INFERENCE,
    )
    return {new: state[old] for old, new in names.items()}, config


def rename_student(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], SwinRetinaConfig]:
    """Do for the student, SwinEncoder, what `rename` does; a teacher stored with it is dropped.

    Args:
        state: Names and tensors as in the published code.

    Returns:
        The state dict of `SwinRetinaModel` and its configuration, with the published inference settings.

    Raises:
        CheckpointError: Names are missing or left over.
    """
    renamed, origin = {}, {}
    for name, value in state.items():
        if name.startswith("teacher.") or name.endswith("relative_position_index"):
            continue
        ours = name
        for pattern, replacement in _STUDENT:
            ours = re.sub(pattern, replacement, ours)
        qkv = ".attention.qkv." in ours  # queries, keys and values are one layer there, three here
        for letter, part in zip("qkv", value.chunk(3)) if qkv else [("", value)]:
            target = ours.replace("qkv", f"{letter}_proj")
            renamed[target], origin[target] = part.contiguous(), name
    try:
        config = _student_config(renamed)
    except KeyError as error:
        raise CheckpointError(f"This is no complete SwinEncoder: it has nothing for {error}.") from error
    with torch.device("meta"):
        wanted = set(SwinRetinaModel(config).state_dict())
    missing, unknown = sorted(wanted - set(renamed)), sorted(origin[name] for name in set(renamed) - wanted)
    if missing or unknown:
        raise CheckpointError(
            f"This is no SwinEncoder as published: there is nothing for {len(missing)} weights (first: {missing[:1]}), "
            f"{len(unknown)} names are unknown (first: {unknown[:1]})."
        )
    return renamed, config


def _student_config(state: dict[str, Tensor]) -> SwinRetinaConfig:
    """Read the architecture off the shapes of renamed weights; `KeyError` for one that is not there."""
    embedding = state["encoder.embeddings.patch_embeddings.projection.weight"]
    stages = [f"encoder.encoder.layers.{stage}.blocks" for stage in range(4)]
    table = "attention.relative_position_bias.relative_position_bias_table"
    tables = [state[f"{stage}.0.{table}"] for stage in stages]
    return SwinRetinaConfig(
        num_channels=embedding.shape[1],
        embed_dim=embedding.shape[0],
        depths=tuple(sum(n.startswith(stage) and n.endswith(table) for n in state) for stage in stages),
        num_heads=tuple(table.shape[1] for table in tables),
        window_size=(math.isqrt(len(tables[0])) + 1) // 2,
        mlp_ratio=len(state[f"{stages[0]}.0.mlp.fc1.bias"]) / embedding.shape[0],
        descriptor_width=len(state["descriptor_head.conv1.bias"]),
        descriptor_dim=len(state["descriptor_head.upsample.bias"]),
        **PUBLISHED_INFERENCE,
    )


def convert_checkpoint(path: str | os.PathLike, out: str | os.PathLike) -> PreTrainedModel:
    """Convert a published checkpoint to a folder that `from_pretrained` opens, with the published enhancement.

    Args:
        path: `.pth` file of SuperRetina, LKUNET or SwinEncoder.
        out: Folder to write.

    Returns:
        The model that was saved, a `...ForKeypointMatching` of the family that the file is of.

    Raises:
        CheckpointError: See `read_state_dict`, `rename` and `rename_student`; or the shapes do not fit together.
        OutputError: The folder cannot be written to.
    """
    state = read_state_dict(path)
    if any(name.startswith("swinViT.") for name in state):
        weights, student_config = rename_student(state)
        model: PreTrainedModel = SwinRetinaForKeypointMatching(student_config)
    else:
        weights, config = rename(state)
        model = LKSuperRetinaForKeypointMatching(config)
    try:
        model.base_model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"The weights in {path} have shapes that do not fit together.") from error
    with filling(out) as aside:
        model.save_pretrained(aside)
        RetinaImageProcessor(**PUBLISHED_ENHANCEMENT).save_pretrained(aside)
    return model


__all__ = ["CONVERTED", "CheckpointError", "convert_checkpoint", "read_state_dict", "rename", "rename_student"]
