"""A network that torch runs, with its image processor."""

import functools
import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForKeypointDetection, PreTrainedConfig, PreTrainedModel
from transformers.image_utils import SizeDict
from transformers.utils import IMAGE_PROCESSOR_NAME, logging

from .conversion import PUBLISHED_INFERENCE
from .extractor import AUTO, BFLOAT16, DEFAULT_MODEL, FLOAT32, UnknownNameError, find_model, unknown_model
from .image_processing_retina import RetinaImageProcessor, RetinaImageProcessorKwargs, height_and_width
from .keypoint_heads import DenseKeypoints
from .network_extractor import DetectionSettings, NetworkExtractor, Preparation


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
        UnknownNameError: The model or the precision does not exist.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: torch.device | str | None = None,
        heatmaps: bool = False,
        dtype: str = AUTO,
    ):
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        source, precision = find_model(model), network_dtype(dtype, self.device)
        try:
            # Weights are stored in half precision, which CPUs compute slowly; without trust_remote_code=False a folder
            # that carries its own code asks before it is opened with the classes of this package.
            with _no_progress_bar():
                self.model = AutoModelForKeypointDetection.from_pretrained(
                    source, dtype=torch.float32, trust_remote_code=False
                )
            self.processor = find_processor(source, self.model.config)
        except UnknownNameError:
            raise
        except (OSError, ValueError, SafetensorError) as error:
            if isinstance(source, Path):
                raise UnknownNameError(f"{source} cannot be opened as a model: {str(error).splitlines()[0]}") from error
            raise unknown_model(str(model)) from error
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


def detection_settings(model: PreTrainedModel) -> DetectionSettings:
    """Read what dense maps become keypoints with from a model."""
    names = [name for name in DetectionSettings.__dataclass_fields__ if name not in ("stride", "offset")]
    base = model.base_model
    assert isinstance(base, DenseKeypoints)
    head = base.descriptor_head
    return DetectionSettings(head.stride, head.offset, **{name: getattr(model.config, name) for name in names})


def preparation_of(processor: RetinaImageProcessor) -> Preparation:
    """Read how photographs become the input of a network from its processor."""
    settings = processor.to_dict()
    names = [name for name in RetinaImageProcessorKwargs.__annotations__ if name in settings and name != "size"]
    options = {name: settings[name] for name in (*names, "do_rescale", "rescale_factor")}
    options["resample"] = int(settings["resample"])
    size = height_and_width(SizeDict(**settings["size"])) if settings["do_resize"] else None
    return Preparation(size, settings["do_pad"], False, options)


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
def _no_progress_bar() -> Iterator[None]:
    """Show no progress bar of transformers: weights are loaded in a moment."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


__all__ = ["ModelExtractor", "detection_settings", "find_processor", "network_dtype", "preparation_of"]
