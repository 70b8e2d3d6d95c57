"""From photographs to keypoints: a network of the package, or RootSIFT.

An extractor is a part of its own. All that comes after it, matching, estimation and decision, is the same for every
extractor; what depends on its descriptors, the thresholds of matching, it brings along.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForKeypointDetection, PreTrainedConfig
from transformers.utils import IMAGE_PROCESSOR_NAME

from .conversion import PUBLISHED_INFERENCE
from .field_of_view import FieldOfView
from .image_processing_retina import RetinaImageProcessor
from .keypoint_set import Keypoints
from .keypoints import RetinaKeypointOutput, sample_descriptors
from .normalized_picture import NormalizedPicture
from .rootsift import rootsift_keypoints


WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "lk-superretina-small"
ROOTSIFT = "rootsift"
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


class RootSiftExtractor:
    """The classical baseline, without a network; see `rootsift.py`."""

    ratio, temperature = 0.9, 0.07

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

    Raises:
        UnknownNameError: The model does not exist.
    """

    def __init__(self, model: str | Path = DEFAULT_MODEL, device: torch.device | str = "cpu", heatmaps: bool = False):
        source = find_model(model)
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
        self.model.to(device, memory_format=self.model.base_model.memory_format).eval()
        self.ratio, self.temperature = self.model.config.ratio_threshold, self.model.config.matching_temperature
        self.device, self.heatmaps = torch.device(device), heatmaps

    def find(self, photographs: Sequence[np.ndarray]) -> list[Keypoints]:
        """Find the keypoints of photographs, all in one batch, with dense descriptors."""
        if not photographs:
            return []
        inputs = self.processor(list(photographs), return_tensors="pt").to(self.device)
        output = self.detect(inputs)
        frames, canvas = inputs["image_frames"].double().cpu().numpy(), inputs["pixel_values"].shape[-2:]
        return [
            self._keypoints(output, i, frame, photograph, canvas, view)
            for i, (frame, photograph, view) in enumerate(zip(frames, photographs, inputs.fields_of_view))
        ]

    def detect(self, inputs: Mapping[str, torch.Tensor]) -> RetinaKeypointOutput:
        """Run the network on what the processor made, and nothing else: the step that another device can take over.

        Args:
            inputs: `pixel_values`, `pixel_mask` and `image_frames` of a batch, on `device`.

        Returns:
            Keypoints relative to the photographs, with descriptor maps, and with heat maps where they are kept.
        """
        with torch.inference_mode():
            return self.model(**inputs, output_descriptor_map=True, output_heatmap=self.heatmaps)

    def _keypoints(
        self,
        output: RetinaKeypointOutput,
        i: int,
        frame: np.ndarray,
        photograph: np.ndarray,
        canvas: Sequence[int],
        view: FieldOfView,
    ) -> Keypoints:
        """Bring the padded keypoints of one image of a batch back to the pixels of its photograph.

        Args:
            output: Of the batch.
            i: Which image of it.
            frame: (4,) the rectangle of the photograph that the canvas shows, (x0, y0, x1, y1) relative to the
                photograph.
            photograph: (H, W, 3) uint8 RGB.
            canvas: (height, width) of the network's input.
            view: The field of view of the photograph.
        """
        assert output.descriptor_map is not None
        height, width = canvas
        size = photograph.shape[0], photograph.shape[1]
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
                output.descriptor_map[i : i + 1].half(), head.stride, head.offset, frame, size, (height, width)
            ),
            heatmap=None if output.heatmap is None else output.heatmap[i, 0].half().cpu().numpy(),
            picture=NormalizedPicture.from_photo(photograph, view),
            problem=view.problem,
        )


@dataclass(eq=False, repr=False)
class DenseDescriptors:
    """The descriptors of a photograph at any place of it; what `Keypoints.describe` is.

    Attributes:
        map: (1, D, h, w) descriptor map of a network.
        stride: Pixels of the network's input per cell of the map.
        offset: Pixel of the input on which the center of the first cell lies.
        frame: (4,) the rectangle of the photograph that the input shows, (x0, y0, x1, y1) relative to the photograph.
        size: (height, width) of the photograph.
        canvas: (height, width) of the input.
    """

    map: torch.Tensor
    stride: int
    offset: float
    frame: np.ndarray
    size: tuple[int, int]
    canvas: tuple[int, int]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Read the descriptors, (M, D) of unit length, at places (M, 2) in pixels of the photograph."""
        span, whole = np.array(self.size[::-1]), np.array(self.canvas[::-1])
        pixels = ((points + 0.5) / span - self.frame[:2]) / (self.frame[2:] - self.frame[:2]) * whole - 0.5
        with torch.inference_mode():
            keypoints = torch.as_tensor(pixels, dtype=torch.float32, device=self.map.device)[None]
            return sample_descriptors(self.map, keypoints, self.stride, self.offset)[0].cpu().numpy()

    def __getstate__(self) -> dict[str, Any]:
        # As an array: between processes a tensor would travel as a file descriptor, of which there are few.
        return {**self.__dict__, "map": self.map.cpu().numpy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, map=torch.from_numpy(state["map"]))


def find_extractor(model: str | Path, device: torch.device | str = "cpu") -> Extractor:
    """Open the extractor of a name: "rootsift", or what `ModelExtractor` opens.

    Raises:
        UnknownNameError: There is none of that name.
    """
    return RootSiftExtractor() if str(model) == ROOTSIFT else ModelExtractor(model, device)


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
    "DEFAULT_MODEL",
    "DenseDescriptors",
    "Extractor",
    "ModelExtractor",
    "ROOTSIFT",
    "RootSiftExtractor",
    "UnknownNameError",
    "find_extractor",
    "find_model",
    "find_processor",
    "known_models",
]
