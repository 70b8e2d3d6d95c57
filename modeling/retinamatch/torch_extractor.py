"""A network that torch runs, with its image processor."""

import functools
import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import validate_typed_dict
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForKeypointDetection, PreTrainedConfig, PreTrainedModel
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME, logging

from .conversion import PUBLISHED_INFERENCE
from .extractor import AUTO, BFLOAT16, DEFAULT_MODEL, FLOAT32, UnknownNameError, find_model, unknown_model
from .image_processing_retina import RetinaImageProcessor, RetinaImageProcessorKwargs, height_and_width
from .keypoint_heads import DenseKeypoints
from .network_extractor import DetectionSettings, NetworkExtractor, Preparation


# Inputs of fewer pixels along a side may be too small for a network.
_SMALL = 256


class ModelExtractor(NetworkExtractor):
    """A network with its image processor, loaded once.

    Args:
        model: Name of a model of the package (see `known_models`), a folder written by `save_pretrained`, or a
            repository of the Hub.
        device: Where the network runs; a GPU when there is one by default.
        heatmaps: Keep the heat maps with the keypoints.
        dtype: Precision of the network, see `network_dtype`; the heat map, keypoints and descriptors are float32
            always.

    Raises:
        UnknownNameError: The model, the device or the precision does not exist, or the model is not whole.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: torch.device | str | None = None,
        heatmaps: bool = False,
        dtype: str = AUTO,
    ):
        self.device = find_device(device)
        precision = network_dtype(dtype, self.device)
        self.model, self.processor = open_model(model, AutoModelForKeypointDetection)
        # Channels last is what the convolutions of CPUs are fastest in.
        self.model.to(self.device, precision, memory_format=self.model.base_model.memory_format).eval()
        super().__init__(detection_settings(self.model), preparation_of(self.processor), heatmaps)

    @functools.cached_property
    def fingerprint(self) -> str:
        """What tells this extractor from any other: the sum of its weights, settings and precision."""
        settings = self.model.config.to_json_string(), self.processor.to_json_string(), self.heatmaps, self.model.dtype
        digest = hashlib.sha256("\n".join(map(str, settings)).encode())
        for name, weights in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the network; see `NetworkExtractor.run`."""
        with torch.inference_mode():
            dense = self.model.base_model(torch.from_numpy(pixels).to(self.device))
            maps = dense.descriptor_map.permute(0, 2, 3, 1).float()
            return dense.heatmap_logits[:, 0].float().cpu().numpy(), maps.cpu().numpy()


def open_model(model: str | Path, auto: Any) -> tuple[Any, RetinaImageProcessor]:
    """Open a network in float32, and its processor.

    Args:
        model: As for `ModelExtractor`.
        auto: The Auto class to open it with.

    Raises:
        UnknownNameError: There is no such model, or its files do not make one; the sentence says what is wrong.
    """
    source = find_model(model)
    try:
        if isinstance(source, Path):
            _check_settings(source)
        # Weights are stored in half precision, which CPUs compute slowly; without trust_remote_code=False a folder
        # that carries its own code asks before it is opened with the classes of this package.
        with _quiet():
            network, loaded = auto.from_pretrained(
                source,
                dtype=torch.float32,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        _check_weights(loaded)
        processor = find_processor(source, network.config)
        detection_settings(network)
        size = preparation_of(processor).size
        if size is not None and min(size) < _SMALL:
            with torch.inference_mode():
                network.base_model(torch.zeros(1, 1, *size))  # each network knows itself what is too small for it
    except UnknownNameError:
        raise
    except Exception as error:  # transformers raises whatever the contents of the files lead to
        if isinstance(error, OSError) and not isinstance(source, Path):
            raise unknown_model(str(model)) from error
        reason = error.__cause__ if isinstance(error, StrictDataclassError) and error.__cause__ else error
        words = str(reason).splitlines() or [type(reason).__name__]
        raise UnknownNameError(f"{source} cannot be opened as a model: {words[0]}") from error
    return network, processor


def _check_settings(folder: Path) -> None:
    """Make sure that the files of settings in a folder are JSON objects, or raise `ValueError`."""
    for name in (CONFIG_NAME, IMAGE_PROCESSOR_NAME):
        if (folder / name).is_file():
            try:
                settings = json.loads((folder / name).read_text(encoding="utf-8"))
            except ValueError:
                settings = None
            if not isinstance(settings, dict):
                raise ValueError(f"{name} holds no JSON object.")


def _check_weights(loaded: dict[str, Any]) -> None:
    """Make sure that stored weights are those of the network; transformers fills what is missing with random values.

    Raises:
        ValueError: They are not.
    """
    if mismatched := sorted(loaded["mismatched_keys"]):
        name, stored, wanted = mismatched[0]
        raise ValueError(
            f"config.json does not fit the weights, {name} is of the size {tuple(stored)}, not {tuple(wanted)}."
        )
    for names, words in (
        (loaded["missing_keys"], "weights of the network are missing"),
        (loaded["unexpected_keys"], "stored weights belong to no part of the network"),
    ):
        if names:
            raise ValueError(f"{len(names)} {words}, such as {min(names)}.")


def detection_settings(model: PreTrainedModel) -> DetectionSettings:
    """Read what dense maps become keypoints with from a model.

    Raises:
        ValueError: It is no network of this package, or has settings that no network can have.
    """
    names = [name for name in DetectionSettings.__dataclass_fields__ if name not in ("stride", "offset")]
    base = model.base_model
    if not isinstance(base, DenseKeypoints):
        raise ValueError(f"{type(model).__name__} is no network of this package.")
    head = base.descriptor_head
    return DetectionSettings(head.stride, head.offset, **{name: getattr(model.config, name) for name in names})


def preparation_of(processor: RetinaImageProcessor) -> Preparation:
    """Read how photographs become the input of a network from its processor.

    Raises:
        ValueError: A setting has a value that it cannot have.
        StrictDataclassError: A setting is of another type.
    """
    settings = processor.to_dict()
    names = [name for name in RetinaImageProcessorKwargs.__annotations__ if name in settings and name != "size"]
    options = {name: settings[name] for name in (*names, "do_rescale", "rescale_factor")}
    if unset := [name for name, value in options.items() if value is None]:
        raise ValueError(f"`{unset[0]}` has no value.")
    validate_typed_dict(RetinaImageProcessorKwargs, options)  # type: ignore[type-var]  # as transformers calls it
    options["resample"] = int(PILImageResampling(settings["resample"]))
    size = height_and_width(SizeDict(**settings["size"])) if settings["do_resize"] else None
    return Preparation(size, settings["do_pad"], False, options)


def find_device(device: torch.device | str | None) -> torch.device:
    """Find where torch runs a network: a GPU when there is one, unless a device is named.

    Raises:
        UnknownNameError: torch knows no such device, or this computer has none.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found).cpu()
    except Exception as error:  # of each kind of device its own
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        known = ", ".join(name for name, usable in there.items() if usable)
        raise UnknownNameError(f"No device {str(device)!r} can be used here; known are: {known}.") from error
    return found


def network_dtype(name: str, device: torch.device | str = "cpu") -> torch.dtype:
    """Look up the precision of a network: "float32", "bfloat16", or "auto".

    "auto" is bfloat16 on a CPU with instructions for it, where it takes half the time, and float32 elsewhere: without
    such instructions bfloat16 is slower.

    Raises:
        UnknownNameError: It is none of these.
    """
    if name == AUTO:
        can = torch.cpu.get_capabilities()
        fast = torch.device(device).type == "cpu" and (can.get("avx512_bf16") or can.get("amx_bf16"))
        return torch.bfloat16 if fast else torch.float32
    known = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16}
    if name not in known:
        raise UnknownNameError(f"torch runs networks in {AUTO}, {', '.join(known)}, not in {name!r}.")
    return known[name]


def find_processor(source: str | Path, config: PreTrainedConfig) -> RetinaImageProcessor:
    """Find how photographs are prepared for a network.

    A model that was saved without its processor gets the default one, with a warning, unless its settings are those of
    the published networks, for which photographs are prepared in another way.

    Args:
        source: Where the network lies, from `find_model`.
        config: Of the network.

    Raises:
        UnknownNameError: There is no processor, and the default one may be wrong.
    """
    if not isinstance(source, Path) or (source / IMAGE_PROCESSOR_NAME).is_file():
        return RetinaImageProcessor.from_pretrained(source)
    missing = f"{source} has no {IMAGE_PROCESSOR_NAME}, which says how photographs are prepared for the network"
    if all(getattr(config, name, None) == value for name, value in PUBLISHED_INFERENCE.items()):
        raise UnknownNameError(
            f"{missing}; its settings are those of a converted checkpoint, which the default would not fit: convert it "
            "again, or save its processor there."
        )
    warnings.warn(f"{missing}; the default is taken. Save the right one there with `save_pretrained`.", stacklevel=2)
    return RetinaImageProcessor()


@contextmanager
def _quiet() -> Iterator[None]:
    """Show no progress bar of transformers, weights are loaded in a moment, and no table of those that do not fit."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


__all__ = [
    "ModelExtractor",
    "detection_settings",
    "find_device",
    "find_processor",
    "network_dtype",
    "open_model",
    "preparation_of",
]
