"""The geometry of one photograph of a retina: a camera that looks at a sphere, exact in both directions.

Places on the retina are given on a chart: an azimuthal equidistant map around the fovea in degrees of visual angle, x
to the right and y downwards as in a photograph. Two views of one eye are related by the rotation of a sphere between
two projections: the curved warp of real pairs, known in closed form.
"""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np


# One degree of visual angle is 0.29 mm of retina; on a sphere of 11.5 mm radius that is 1.45 degrees of arc.
ARC_PER_DEGREE = np.deg2rad(1.45)
ELLIPSE_HEIGHT = 0.75


@dataclass(frozen=True)
class RetinaView:
    """A camera in front of an eye: exact maps between pixels and the chart of the retina.

    Attributes:
        gaze: (2,) chart place in the middle of the photograph, degrees.
        field: Diameter of the round field of view, degrees.
        diameter: The same in pixels.
        center: (2,) middle of the field of view in pixels.
        roll: Rotation of the camera, radians.
        projection: The lens, from just above 0 (equidistant) by 0.5 (stereographic) to 1 (perspective).
        tilt: (3, 3) homography close to the identity, about the center, in units of the radius of the field: an
            astigmatic eye, a lens that is not perpendicular to the gaze.
        frame: Shape of the field of view: "circle", "square", or "ellipse" (three quarters as high as it is wide).
    """

    gaze: np.ndarray
    field: float
    diameter: float
    center: np.ndarray
    roll: float = 0.0
    projection: float = 0.4
    tilt: np.ndarray = field(default_factory=lambda: np.eye(3))
    frame: str = "circle"

    @cached_property
    def _rotation(self) -> np.ndarray:
        """Rotation from rays around the fovea to rays around the optical axis: the shortest one, then the roll."""
        axis = np.array([self.gaze[1], -self.gaze[0], 0.0]) * ARC_PER_DEGREE
        return cv2.Rodrigues(np.array([0.0, 0.0, self.roll]))[0] @ cv2.Rodrigues(axis)[0]

    @cached_property
    def _focal(self) -> float:
        """Focal length for which the edge of the field of view lies at radius 1."""
        return self.projection / np.tan(self.projection * self.field / 2 * ARC_PER_DEGREE)

    @property
    def pixels_per_degree(self) -> float:
        """Scale in the middle of the photograph."""
        return self._focal * ARC_PER_DEGREE * self.diameter / 2

    def depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Measure how far places lie inside the frame; negative outside.

        Args:
            x: From the center to the right, in units of the radius of the field.
            y: From the center downwards.

        Returns:
            Distance from the rim, in the same units.
        """
        if self.frame == "square":
            return 1 - np.maximum(np.abs(x), np.abs(y))
        if self.frame == "ellipse":
            return ELLIPSE_HEIGHT * (1 - np.hypot(x, y / ELLIPSE_HEIGHT))
        return 1 - np.hypot(x, y)

    def to_retina(self, points: np.ndarray) -> np.ndarray:
        """Map pixels (..., 2) of the photograph to the chart (..., 2), degrees."""
        unit = _project(np.linalg.inv(self.tilt), (np.asarray(points, float) - self.center) / (self.diameter / 2))
        radius, direction = _polar(unit)
        theta = np.arctan(radius * self.projection / self._focal) / self.projection
        ray = np.concatenate([np.sin(theta) * direction, np.cos(theta)], -1) @ self._rotation  # its inverse, on rows
        sine, direction = _polar(ray[..., :2])
        return np.arctan2(sine, ray[..., 2:]) * direction / ARC_PER_DEGREE

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Map chart places (..., 2) in degrees to pixels (..., 2) of the photograph."""
        radius, direction = _polar(np.asarray(points, float) * ARC_PER_DEGREE)
        ray = np.concatenate([np.sin(radius) * direction, np.cos(radius)], -1) @ self._rotation.T
        sine, direction = _polar(ray[..., :2])
        # Places that the camera cannot see end far outside the photograph.
        theta = np.minimum(np.arctan2(sine, ray[..., 2:]) * self.projection, 1.4)
        unit = self._focal * np.tan(theta) / self.projection * direction
        return _project(self.tilt, unit) * (self.diameter / 2) + self.center


def _polar(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give length (..., 1) and unit direction (..., 2) of vectors (..., 2)."""
    length = np.hypot(points[..., :1], points[..., 1:])
    return length, points / np.maximum(length, 1e-12)


def _project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[..., :2] / mapped[..., 2:]


__all__ = ["ARC_PER_DEGREE", "RetinaView"]
