"""The keypoints of one photograph: what is found in it and handed from step to step."""

from dataclasses import dataclass, replace

import numpy as np

from .canvas import WORKING_SIZE
from .normalized_picture import NormalizedPicture


class Describe:
    """The descriptors of a photograph at any place of it."""

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Give the descriptors, (M, D) float32 of unit length, at places (M, 2) in pixels of the photograph."""
        raise NotImplementedError

    def similarity(self, descriptors: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Compare each of some descriptors with those at several places.

        Args:
            descriptors: (N, D), unit length.
            places: (N, M, 2), for each descriptor the places to compare it with, near each other, in pixels of the
                photograph.

        Returns:
            (N, M) float32, the cosines.
        """
        there = self(places.reshape(-1, 2)).reshape(*places.shape[:2], -1)
        return np.einsum("nmd,nd->nm", there, descriptors)


@dataclass(eq=False, repr=False)
class Keypoints:
    """The keypoints of one photograph.

    Attributes:
        points: (N, 2) float64, pixels of the photograph.
        descriptors: (N, D) float32 of unit length.
        scores: (N,) float32, strength of the keypoints.
        size: (height, width) of the photograph in pixels.
        scale: Pixels of the photograph per working pixel: the width of its field of view / `WORKING_SIZE`.
        center: (x, y), the center of the field of view in pixels; the middle of the photograph when None.
        describe: Gives the descriptors (M, D) at any places (M, 2), pixels of the photograph; None when the features
            are not dense.
        heatmap: (h, w) float16, the network's certainty of a keypoint on its input, which shows the field of view in
            its middle; None when it is not kept.
        picture: The photograph itself, small and locally normalized; without it nothing but keypoints can tell a right
            transform from a wrong one.
        camera: (x, y, radius) of the camera's field of view in pixels, where only a part of it is looked at; that of
            what is looked at when None.
        stretch: ((a, b), (c, d)), the field of view is an ellipse, the circle of `camera` under this matrix; None for a
            circle.
        problem: Why the photograph evidently shows no retina, in words; else "".
    """

    points: np.ndarray
    descriptors: np.ndarray
    scores: np.ndarray
    size: tuple[int, int]
    scale: float = 1.0
    center: tuple[float, float] | None = None
    describe: Describe | None = None
    heatmap: np.ndarray | None = None
    picture: NormalizedPicture | None = None
    camera: tuple[float, float, float] | None = None
    stretch: tuple[tuple[float, float], tuple[float, float]] | None = None
    problem: str = ""

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        height, width = self.size
        return f"<Keypoints: {len(self)} in a photograph of {width} x {height} pixels>"

    def without_maps(self) -> "Keypoints":
        """Return the same keypoints without what is large and serves to find the transform alone."""
        return replace(self, describe=None, heatmap=None, picture=None)

    @property
    def radius(self) -> float:
        """Radius of the field of view in pixels."""
        return self.scale * WORKING_SIZE / 2

    @property
    def middle(self) -> np.ndarray:
        """Center of the field of view in pixels, (2,)."""
        height, width = self.size
        return np.array(((width - 1) / 2, (height - 1) / 2) if self.center is None else self.center, dtype=np.float64)

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Bring pixels, (N, 2), to places relative to the center of the field of view in units of its radius."""
        return (pixels - self.middle) / self.radius

    def denormalize(self, points: np.ndarray) -> np.ndarray:
        """Compute the pixels, (N, 2), of points in units of the field of view."""
        return points * self.radius + self.middle

    @property
    def part(self) -> float:
        """Width of what is looked at, as a fraction of the camera's field of view."""
        return 1.0 if self.camera is None else self.radius / self.camera[2]

    @property
    def circle(self) -> tuple[float, float, float]:
        """Circle (x, y, radius) of the whole field of view in pixels, cut off or not."""
        return self.camera or (*self.middle, self.radius)

    def to_camera(self, pixels: np.ndarray) -> np.ndarray:
        """Bring pixels, (N, 2), to places in the camera's field of view: from its center, in units of its radius."""
        *center, radius = self.circle
        places = (pixels - center) / radius
        return places if self.stretch is None else places @ np.linalg.inv(self.stretch).T

    def from_camera(self, points: np.ndarray) -> np.ndarray:
        """Compute the pixels, (N, 2), of places in the camera's field of view: the inverse of `to_camera`."""
        *center, radius = self.circle
        places = points if self.stretch is None else points @ np.transpose(self.stretch)
        return places * radius + center


__all__ = ["Describe", "Keypoints", "WORKING_SIZE"]
