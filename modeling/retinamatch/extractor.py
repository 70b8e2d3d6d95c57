"""From photographs to keypoints: a network of the package, or RootSIFT.

An extractor is a part of its own. All that comes after it, matching, estimation and decision, is the same for every
extractor; what depends on its descriptors, the thresholds of matching, it brings along.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .field_of_view import FieldOfView
from .keypoint_set import Keypoints
from .normalized_picture import NormalizedPicture
from .rootsift import rootsift_keypoints


WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "lk-superretina-small"
ROOTSIFT = "rootsift"
AUTO = "auto"
TORCH, ONNX = "torch", "onnx"
#: What runs a network.
ENGINES = (AUTO, TORCH, ONNX)
FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
#: Precisions of a network.
DTYPES = (AUTO, FLOAT32, BFLOAT16, INT8)
ONNX_FILES = {FLOAT32: "onnx/model.onnx", INT8: "onnx/model_int8.onnx"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class UnknownNameError(ValueError):
    """A name that is not known or cannot be used; the sentence says why, or lists what is known.

    Of a model, a transform, an effort, a precision, an engine or a format; or of two of them that do not go together.
    """


class Extractor(Protocol):
    """What finds keypoints in photographs.

    Attributes:
        ratio: Largest ratio of the distances to the nearest and the second nearest descriptor (Lowe, IJCV 2004).
        temperature: Of the softmax over cosine similarities that scores matches.

    One that finds the same keypoints in a photograph that is turned or shown smaller has an attribute `invariant` that
    is true: such views of a photograph are not tried then.
    """

    ratio: float
    temperature: float

    def find(self, photographs: Sequence[np.ndarray]) -> list[Keypoints]:
        """Find the keypoints of photographs, (H, W, 3) uint8 RGB of any sizes; each in its own pixels."""


@runtime_checkable
class PreparingExtractor(Extractor, Protocol):
    """An extractor that a part of the work can be done for beforehand, in other threads."""

    def prepare(
        self,
        photograph: np.ndarray,
        zoom: float = 1.0,
        field_of_view: FieldOfView | None = None,
        picture: NormalizedPicture | None = None,
    ) -> Any:
        """Do what needs no network; `find` takes the outcome in place of the photograph.

        Args:
            photograph: (H, W, 3) uint8 RGB.
            zoom: Width at which the network sees the field of view, relative to the usual one; at most 1.
            field_of_view: Where the retina lies; found when None.
            picture: What is kept of the photograph to be compared; made when None.
        """


class RootSiftExtractor:
    """The classical baseline, without a network; see `rootsift.py`."""

    ratio, temperature, invariant = 0.9, 0.07, True
    fingerprint = ROOTSIFT

    def find(self, photographs: Sequence[np.ndarray]) -> list[Keypoints]:
        """Find the keypoints of photographs, one after the other."""
        return [rootsift_keypoints(photograph) for photograph in photographs]


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
    if name and Path(name).is_dir():
        raise UnknownNameError(f"{name} is no folder that save_pretrained wrote: it has no config.json.")
    if _HUB_NAME.fullmatch(name) and not Path(name).exists():
        return name
    raise unknown_model(name)


def unknown_model(name: str) -> UnknownNameError:
    """Make the error for a model that does not exist; it lists those that do."""
    if name == ROOTSIFT:
        return UnknownNameError(f"{ROOTSIFT} has no network; models with one are: {', '.join(known_models())}.")
    known = ", ".join([*known_models(), ROOTSIFT])
    return UnknownNameError(f"Unknown model {name!r}; known are: {known}, and any folder written by save_pretrained.")


__all__ = [
    "AUTO",
    "BFLOAT16",
    "DEFAULT_MODEL",
    "DTYPES",
    "ENGINES",
    "Extractor",
    "FLOAT32",
    "INT8",
    "ONNX",
    "ONNX_FILES",
    "PreparingExtractor",
    "ROOTSIFT",
    "RootSiftExtractor",
    "TORCH",
    "UnknownNameError",
    "WEIGHTS",
    "find_model",
    "known_models",
    "unknown_model",
]
