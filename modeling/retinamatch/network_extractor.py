"""From photographs to keypoints by a network, whatever runs it: all but the network itself, on arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .canvas import crop_gray, place
from .dense_descriptors import DenseDescriptors
from .field_of_view import FieldOfView, find_field_of_view
from .keypoint_set import Keypoints
from .normalized_picture import NormalizedPicture
from .peaks import find_keypoints


@dataclass(frozen=True, eq=False, repr=False)
class Prepared:
    """A photograph as a network takes it.

    Attributes:
        pixels: (height, width) float32, the input of the network.
        mask: (height, width) bool, where the input shows the field of view.
        frame: The rectangle that the input shows, (x0, y0, x1, y1) relative to the photograph.
        size: (height, width) of the photograph.
        picture: What is kept of the photograph to be compared.
        camera: As in `Keypoints`, like the next one.
        stretch: See there.
        problem: Why it evidently shows no retina, in words; else "".
    """

    pixels: np.ndarray
    mask: np.ndarray
    frame: tuple[float, float, float, float]
    size: tuple[int, int]
    picture: NormalizedPicture
    camera: tuple[float, float, float] | None
    stretch: tuple[tuple[float, float], tuple[float, float]] | None
    problem: str


@dataclass(frozen=True)
class Preparation:
    """How photographs become the input of a network.

    Attributes:
        size: (height, width) of the input; None keeps the pixels of the photograph.
        pad: The input is as large as that for every photograph.
        one_size: It is so for smaller views too: the network takes no other.
        options: Of `crop_gray` and `place`.
    """

    size: tuple[int, int] | None
    pad: bool
    one_size: bool
    options: dict[str, Any]


@dataclass(frozen=True)
class DetectionSettings:
    """What the dense maps of a network become keypoints with; `LKSuperRetinaConfig` explains those of its names.

    Attributes:
        stride: Pixels of the input per cell of the descriptor map.
        offset: Pixel of the input on which the center of its first cell lies.
    """

    stride: int
    offset: float
    nms_radius: int
    keypoint_threshold: float
    border: int
    max_keypoints: int
    ratio_threshold: float
    matching_temperature: float

    def __post_init__(self) -> None:
        """Reject what no keypoints come from.

        Raises:
            ValueError: A setting has a value that it cannot have; the sentence names it.
        """
        for name, least in (("nms_radius", 0), ("border", 0), ("max_keypoints", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"`{name}` must be a whole number of at least {least}, got {value!r}.")
        for name in ("ratio_threshold", "matching_temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, got {getattr(self, name)}.")


class NetworkExtractor:
    """An extractor around a network, whatever runs it.

    Args:
        settings: Of the network.
        preparation: Of its input.
        heatmaps: Keep the heat maps with the keypoints.
    """

    def __init__(self, settings: DetectionSettings, preparation: Preparation, heatmaps: bool = False):
        self.settings, self.preparation, self.heatmaps = settings, preparation, heatmaps
        self.ratio, self.temperature = settings.ratio_threshold, settings.matching_temperature

    def prepare(
        self,
        photograph: np.ndarray,
        zoom: float = 1.0,
        field_of_view: FieldOfView | None = None,
        picture: NormalizedPicture | None = None,
    ) -> Prepared:
        """Do what comes before the network; see `PreparingExtractor.prepare`. A smaller view is a smaller input."""
        view, how = field_of_view or find_field_of_view(photograph), self.preparation
        fit = how.size and (round(zoom * how.size[0]), round(zoom * how.size[1]))
        content, frame = crop_gray(photograph, view, fit, **how.options)
        size = how.size if how.one_size else fit if how.pad else None
        pixels, mask, frame = place(content, frame, view, size or content.shape, **how.options)
        picture = picture or NormalizedPicture.from_photo(photograph, view)
        height, width = photograph.shape[:2]
        return Prepared(pixels, mask, frame, (height, width), picture, view.camera, view.stretch, view.problem)

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the network and nothing else: the step that another device can take over.

        Args:
            pixels: (batch, 1, height, width) float32.

        Returns:
            Heat maps before the sigmoid, (batch, height, width) float32; descriptor maps, (batch, h, w, D) float32, not
            normalized.
        """
        raise NotImplementedError

    def find(self, photographs: Sequence[np.ndarray | Prepared]) -> list[Keypoints]:
        """Find the keypoints of photographs, or of what `prepare` made, all in one batch, with dense descriptors."""
        if not photographs:
            return []
        prepared = [one if isinstance(one, Prepared) else self.prepare(one) for one in photographs]
        logits, maps = self.run(np.stack([one.pixels for one in prepared])[:, None])
        return [self._keypoints(*one) for one in zip(prepared, logits, maps)]

    def _keypoints(self, one: Prepared, logits: np.ndarray, descriptor_map: np.ndarray) -> Keypoints:
        """Find the keypoints of one photograph in its dense maps, in its pixels."""
        settings, (height, width) = self.settings, logits.shape
        places, scores = find_keypoints(
            logits,
            one.mask,
            nms_radius=settings.nms_radius,
            threshold=settings.keypoint_threshold,
            border=settings.border,
            max_keypoints=settings.max_keypoints,
        )
        frame, span = np.array(one.frame), np.array(one.size[::-1])
        points = (frame[:2] + (places + 0.5) / (width, height) * (frame[2:] - frame[:2])) * span - 0.5
        dense = DenseDescriptors(descriptor_map, settings.stride, settings.offset, frame, one.size, (height, width))
        return Keypoints(
            points=points,
            descriptors=dense(points),
            scores=scores,
            size=one.size,
            scale=float(frame[2] - frame[0]) * one.size[1] / width,
            center=tuple((frame[:2] + frame[2:]) / 2 * span - 0.5),  # the canvas shows the field of view in its middle
            # Half the precision, half the memory: nine megabytes a photograph, kept as long as its keypoints are.
            describe=replace(dense, map=descriptor_map.astype(np.float16)),
            heatmap=(1 / (1 + np.exp(-logits))).astype(np.float16) if self.heatmaps else None,
            picture=one.picture,
            camera=one.camera,
            stretch=one.stretch,
            problem=one.problem,
        )


__all__ = ["DetectionSettings", "NetworkExtractor", "Preparation", "Prepared"]
