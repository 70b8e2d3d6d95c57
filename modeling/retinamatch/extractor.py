"""From photographs to keypoints: a network of the package, or RootSIFT.

An extractor is a part of its own. All that comes after it, matching, estimation and decision, is the same for every
extractor; what depends on its descriptors, the thresholds of matching, it brings along.
"""

import functools
import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForKeypointDetection, PreTrainedConfig
from transformers.utils import IMAGE_PROCESSOR_NAME

from .conversion import PUBLISHED_INFERENCE
from .dense_descriptors import DenseDescriptors
from .image_processing_retina import RetinaBatch, RetinaImageProcessor
from .keypoint_set import Keypoints
from .keypoints import RetinaKeypointOutput
from .normalized_picture import NormalizedPicture
from .rootsift import rootsift_keypoints


WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "lk-superretina-small"
ROOTSIFT = "rootsift"
AUTO, FLOAT32, BFLOAT16 = "auto", "float32", "bfloat16"
#: Precisions of a network.
DTYPES = (AUTO, FLOAT32, BFLOAT16)
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class UnknownNameError(ValueError):
    """A model or transform that does not exist; the sentence lists those that do."""


class Extractor(Protocol):
    """What finds keypoints in photographs.

    Attributes:
        ratio: Largest ratio of the distances to the nearest and the second nearest descriptor (Lowe, IJCV 2004).
        temperature: Of the softmax over cosine similarities that scores matches.
    """

    ratio: float
    temperature: float

    def find(self, photographs: Sequence[np.ndarray]) -> list[Keypoints]:
        """Find the keypoints of photographs, (H, W, 3) uint8 RGB of any sizes; each in its own pixels."""


@runtime_checkable
class PreparingExtractor(Extractor, Protocol):
    """An extractor that a part of the work can be done for beforehand, in other threads."""

    def prepare(self, photograph: np.ndarray) -> Any:
        """Do what needs no network; `find` takes the outcome in place of the photograph."""


@dataclass(frozen=True, eq=False, repr=False)
class Prepared:
    """A photograph as a network takes it.

    Attributes:
        inputs: What the image processor made of it alone.
        size: (height, width) of the photograph.
        picture: What is kept of it to be compared.
    """

    inputs: RetinaBatch
    size: tuple[int, int]
    picture: NormalizedPicture


class RootSiftExtractor:
    """The classical baseline, without a network; see `rootsift.py`."""

    ratio, temperature = 0.9, 0.07
    fingerprint = ROOTSIFT

    def find(self, photographs: Sequence[np.ndarray]) -> list[Keypoints]:
        """Find the keypoints of photographs, one after the other."""
        return [rootsift_keypoints(photograph) for photograph in photographs]


class ModelExtractor:
    """A network with its image processor, loaded once.

    Args:
        model: Name of a model of the package (see `known_models`), a folder written by `save_pretrained`, or a
            repository of the Hub.
        device: Where the network runs.
        heatmaps: Keep the heat maps with the keypoints.
        dtype: Precision of the network, see `network_dtype`; the heat map, keypoints and descriptors are float32
            always.

    Raises:
        UnknownNameError: The model or the precision does not exist.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: torch.device | str = "cpu",
        heatmaps: bool = False,
        dtype: str = AUTO,
    ):
        source, precision = find_model(model), network_dtype(dtype, device)
        try:
            # Weights are stored in half precision, which CPUs compute slowly; without trust_remote_code=False a folder
            # that carries its own code asks before it is opened with the classes of this package.
            self.model = AutoModelForKeypointDetection.from_pretrained(
                source, dtype=torch.float32, trust_remote_code=False
            )
            self.processor = find_processor(source, self.model.config)
        except UnknownNameError:
            raise
        except (OSError, ValueError, SafetensorError) as error:
            if isinstance(source, Path):
                raise UnknownNameError(f"{source} cannot be opened as a model: {str(error).splitlines()[0]}") from error
            raise _unknown_model(str(model)) from error
        # Channels last is what the convolutions of CPUs are fastest in.
        self.model.to(device, precision, memory_format=self.model.base_model.memory_format).eval()
        self.ratio, self.temperature = self.model.config.ratio_threshold, self.model.config.matching_temperature
        self.device, self.heatmaps = torch.device(device), heatmaps

    @functools.cached_property
    def fingerprint(self) -> str:
        """What tells this extractor from any other: the sum of its weights, settings and precision."""
        settings = self.model.config.to_json_string(), self.processor.to_json_string(), self.heatmaps, self.model.dtype
        digest = hashlib.sha256("\n".join(map(str, settings)).encode())
        for name, weights in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def find(self, photographs: Sequence[np.ndarray | Prepared]) -> list[Keypoints]:
        """Find the keypoints of photographs, or of what `prepare` made, all in one batch, with dense descriptors."""
        if not photographs:
            return []
        prepared = [one if isinstance(one, Prepared) else self.prepare(one) for one in photographs]
        inputs = {key: torch.cat([one.inputs[key] for one in prepared]).to(self.device) for key in prepared[0].inputs}
        output, canvas = self.detect(inputs), inputs["pixel_values"].shape[-2:]
        return [self._keypoints(output, i, one, canvas) for i, one in enumerate(prepared)]

    def prepare(self, photograph: np.ndarray) -> Prepared:
        """Do what comes before the network, for one photograph, (H, W, 3) uint8 RGB."""
        inputs = self.processor([photograph], return_tensors="pt")
        assert isinstance(inputs, RetinaBatch)
        picture = NormalizedPicture.from_photo(photograph, inputs.fields_of_view[0])
        return Prepared(inputs, (photograph.shape[0], photograph.shape[1]), picture)

    def detect(self, inputs: Mapping[str, torch.Tensor]) -> RetinaKeypointOutput:
        """Run the network on what the processor made, and nothing else: the step that another device can take over.

        Args:
            inputs: `pixel_values`, `pixel_mask` and `image_frames` of a batch, on `device`.

        Returns:
            Keypoints relative to the photographs, with descriptor maps, and with heat maps where they are kept.
        """
        with torch.inference_mode():
            return self.model(**inputs, output_descriptor_map=True, output_heatmap=self.heatmaps)

    def _keypoints(self, output: RetinaKeypointOutput, i: int, one: Prepared, canvas: Sequence[int]) -> Keypoints:
        """Bring the padded keypoints of image `i` of a batch on a canvas (height, width) back to its photograph."""
        assert output.descriptor_map is not None
        (height, width), size = canvas, one.size
        frame = one.inputs["image_frames"][0].double().numpy()
        span, mask, head = np.array(size[::-1]), output.mask[i].bool(), self.model.base_model.descriptor_head
        return Keypoints(
            points=output.keypoints[i][mask].double().cpu().numpy() * span - 0.5,
            descriptors=output.descriptors[i][mask].float().cpu().numpy(),
            scores=output.scores[i][mask].float().cpu().numpy(),
            size=size,
            scale=float(frame[2] - frame[0]) * size[1] / width,
            center=tuple((frame[:2] + frame[2:]) / 2 * span - 0.5),  # the canvas shows the field of view in its middle
            # Half the precision, half the memory: nine megabytes a photograph, kept as long as its keypoints are.
            describe=DenseDescriptors(
                output.descriptor_map[i].permute(1, 2, 0).half().cpu().numpy(),
                head.stride,
                head.offset,
                frame,
                size,
                (height, width),
            ),
            heatmap=None if output.heatmap is None else output.heatmap[i, 0].half().cpu().numpy(),
            picture=one.picture,
            problem=one.inputs.fields_of_view[0].problem,
        )


def find_extractor(model: str | Path, device: torch.device | str = "cpu", dtype: str = AUTO) -> Extractor:
    """Open the extractor of a name: "rootsift", or what `ModelExtractor` opens.

    Raises:
        UnknownNameError: There is none of that name, or no such precision.
    """
    network_dtype(dtype, device)
    return RootSiftExtractor() if str(model) == ROOTSIFT else ModelExtractor(model, device, dtype=dtype)


def network_dtype(name: str, device: torch.device | str = "cpu") -> torch.dtype:
    """Look up the precision of a network: "float32", "bfloat16", or "auto".

    "auto" is bfloat16 on a CPU with instructions for it, where it takes half the time, and float32 elsewhere: without
    such instructions bfloat16 is slower.

    Raises:
        UnknownNameError: It is none of these.
    """
    if name not in DTYPES:
        raise UnknownNameError(f"Unknown dtype {name!r}; known are: {', '.join(DTYPES)}.")
    if name == AUTO:
        can = torch.cpu.get_capabilities()
        fast = torch.device(device).type == "cpu" and (can.get("avx512_bf16") or can.get("amx_bf16"))
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if name == BFLOAT16 else torch.float32


def known_models() -> list[str]:
    """List the models that travel with the package, the default one first."""
    names = sorted(config.parent.name for config in WEIGHTS.glob("*/config.json"))
    return sorted(names, key=lambda name: name != DEFAULT_MODEL)


def find_model(model: str | Path) -> str | Path:
    """Find where a network lies: in the package, in a folder, or on the Hub.

    Raises:
        UnknownNameError: It is none of these; the sentence lists the models of the package.
    """
    name = str(model)
    if name in known_models():
        return WEIGHTS / name
    if (Path(name) / "config.json").is_file():
        return Path(name)
    if Path(name).is_dir():
        raise UnknownNameError(f"{name} is no folder that save_pretrained wrote: it has no config.json.")
    if _HUB_NAME.fullmatch(name) and not Path(name).exists():
        return name
    raise _unknown_model(name)


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


def _unknown_model(name: str) -> UnknownNameError:
    if name == ROOTSIFT:
        return UnknownNameError(f"{ROOTSIFT} has no network; models with one are: {', '.join(known_models())}.")
    known = ", ".join([*known_models(), ROOTSIFT])
    return UnknownNameError(f"Unknown model {name!r}; known are: {known}, and any folder written by save_pretrained.")


__all__ = [
    "AUTO",
    "DEFAULT_MODEL",
    "DTYPES",
    "Extractor",
    "ModelExtractor",
    "Prepared",
    "PreparingExtractor",
    "ROOTSIFT",
    "RootSiftExtractor",
    "UnknownNameError",
    "find_extractor",
    "find_model",
    "find_processor",
    "known_models",
    "network_dtype",
]
