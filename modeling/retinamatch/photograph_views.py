"""Another view of a photograph: turned, a part alone, smaller, with reversed contrast, or in another channel.

Networks know upright photographs of dark vessels in the green channel. What was scanned upside down, taken through
another lens, or lit by a dye shows the same retina otherwise. A view undoes that before keypoints are looked for; the
keypoints come back in pixels of the photograph as it was given, so that nothing after them has to know of views.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .canvas import WORKING_SIZE, canvas
from .extractor import Extractor, PreparingExtractor
from .field_of_view import FieldOfView, find_field_of_view
from .keypoint_set import Describe, Keypoints
from .normalized_picture import NormalizedPicture


# Pixels across a turned field's picture of what is left out.
_SIDE = WORKING_SIZE // 2
#: Names of the channels of a photograph, in their order.
CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class View:
    """How a photograph is looked at.

    Attributes:
        turn: Degrees by which it is turned, counterclockwise.
        zoom: Above 1, only a round part of the field of view is shown, so many times as large as the whole would be;
            below 1, the whole of it is shown smaller, as in a photograph of a wider field.
        center: (x, y) of that part, in radii of the field of view from its middle.
        reversed_contrast: What is bright is shown dark, and the other way round.
        channel: One of `CHANNELS`.
    """

    turn: float = 0.0
    zoom: float = 1.0
    center: tuple[float, float] = (0.0, 0.0)
    reversed_contrast: bool = False
    channel: str = "green"

    @property
    def words(self) -> str:
        """What is done to the photograph, in words; empty for nothing."""
        parts = [
            f"turned by {self.turn % 360:.0f} degrees" if self.turn % 360 else "",
            f"cut to {1 / self.zoom:.0%} of its width" if self.zoom > 1 else "",
            f"shown at {self.zoom:.0%} of its size" if self.zoom < 1 else "",
            "with reversed contrast" if self.reversed_contrast else "",
            f"in its {self.channel} channel" if self.channel != "green" else "",
        ]
        return ", ".join(part for part in parts if part)

    def to_dict(self) -> dict:
        """Put the view into numbers and strings, ready for JSON."""
        return {
            "turn": float(self.turn % 360),
            "zoom": float(self.zoom),
            "center": [float(value) for value in self.center],
            "reversed_contrast": self.reversed_contrast,
            "channel": self.channel,
        }

    @classmethod
    def from_dict(cls, data: dict) -> "View":
        """Build the view that `to_dict` wrote."""
        x, y = data["center"]
        return cls(**{**data, "center": (x, y)})


#: The photograph as it is given.
AS_GIVEN = View()


def views_in_words(moving: View, fixed: View) -> str:
    """Say what is done to which photograph; empty for nothing."""
    named = (("moving", moving), ("fixed", fixed))
    return "; ".join(f"{name} photograph {view.words}" for name, view in named if view.words)


class PhotographViews:
    """A photograph that is looked at in several views, each of them once, for one pair or for many.

    Args:
        extractor: What finds keypoints.
        photograph: (H, W, 3) uint8 RGB.
        as_given: Keypoints of the photograph as it is given, where they are known.
    """

    def __init__(self, extractor: Extractor, photograph: np.ndarray, as_given: Keypoints | None = None):
        self.extractor, self.photograph = extractor, photograph
        self.whole = find_field_of_view(photograph)
        self._upright: dict[View, tuple[np.ndarray, np.ndarray, FieldOfView, NormalizedPicture]] = {}
        self._found: dict[View, Keypoints] = {} if as_given is None else {AS_GIVEN: as_given}

    def find(self, view: View) -> Keypoints:
        """Find the keypoints of a view, in pixels of the photograph.

        Returns:
            Keypoints whose field of view is the part that the view shows; in a smaller view it reaches beyond that of
            the photograph.
        """
        if view not in self._found:
            self._found[view] = self._find(view)
        return self._found[view]

    def _find(self, view: View) -> Keypoints:
        upright, to_photograph, field, picture = self._draw(replace(view, turn=0.0, zoom=max(view.zoom, 1.0)))
        turned, back = _turn(upright, view.turn)
        matrix = to_photograph @ back
        prepared = turned
        if isinstance(self.extractor, PreparingExtractor):  # the others find keypoints of any size, such as SIFT
            prepared = self.extractor.prepare(
                turned, min(view.zoom, 1.0), _turned_field(field, view.turn, back), picture
            )
        found = self.extractor.find([prepared])[0]
        return replace(
            found,
            points=_apply(matrix, found.points),
            size=self.photograph.shape[:2],
            scale=found.scale * _magnification(matrix),
            center=tuple(_apply(matrix, found.middle[None])[0]),
            describe=found.describe and _DescribeInView(found.describe, np.linalg.inv(matrix)),
            heatmap=None,
            camera=_circle(self.whole) if view.zoom > 1 else self.whole.camera if view.zoom == 1 else None,
            stretch=self.whole.stretch,
            problem="",  # the photograph was judged as it was given
            picture=picture,
        )

    def _draw(self, view: View) -> tuple[np.ndarray, np.ndarray, FieldOfView, NormalizedPicture]:
        """Draw an upright view; see `draw_view`. Its field lies in it, its normalized picture in the photograph."""
        if view not in self._upright:
            drawn, matrix = draw_view(self.photograph, view, self.whole)
            field = find_field_of_view(drawn)
            picture = NormalizedPicture.from_photo(drawn, field)
            shown = canvas(self.photograph, _shown(self.whole, view))[0]
            picture = replace(
                picture,
                color=canvas(shown, field, picture.values.shape)[0],
                origin=tuple(_apply(matrix, np.array([picture.origin]))[0]),
                scale=picture.scale * _magnification(matrix),
            )
            self._upright[view] = drawn, matrix, field, picture
        return self._upright[view]


def draw_view(photograph: np.ndarray, view: View, field_of_view: FieldOfView) -> tuple[np.ndarray, np.ndarray]:
    """Draw a view of a photograph at the working resolution, black outside of the field of view.

    Args:
        photograph: (H, W, 3) uint8 RGB.
        view: How to look at it.
        field_of_view: Where the retina lies.

    Returns:
        (S, S, 3) uint8, gray, S being `WORKING_SIZE`; and (3, 3), pixels of it to pixels of the photograph.
    """
    channel = cv2.extractChannel(photograph, CHANNELS.index(view.channel))
    gray, mask, frame = canvas(channel, _shown(field_of_view, view))
    mask &= field_of_view.mask(frame, mask.shape)
    gray = np.where(mask, 255 - gray if view.reversed_contrast else gray, 0)
    drawn = np.repeat(gray.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    x0, y0, x1, y1 = frame
    span = np.array(photograph.shape[1::-1], dtype=np.float64)
    scale, corner = np.array([x1 - x0, y1 - y0]) * span / WORKING_SIZE, np.array([x0, y0]) * span
    matrix = np.diag([*scale, 1.0])
    matrix[:2, 2] = corner + scale / 2 - 0.5
    drawn, back = _turn(drawn, view.turn)
    return drawn, matrix @ back


def _shown(field_of_view: FieldOfView, view: View) -> FieldOfView:
    """Give the part of a field of view that is shown: all of it, or a round one."""
    if view.zoom <= 1:
        return field_of_view
    x0, y0, x1, y1 = field_of_view.box
    *center, radius = _circle(field_of_view)
    middle = np.array(center) + radius * np.array(view.center)
    low, high = middle + 0.5 - radius / view.zoom, middle + 0.5 + radius / view.zoom
    box = (*np.maximum(low, (x0, y0)), *np.minimum(high, (x1, y1)))
    x, y = map(float, middle)
    left, top, right, bottom = map(float, box)
    return replace(
        field_of_view, center=(x, y), radius=radius / view.zoom, box=(left, top, right, bottom), stretch=None
    )


def _circle(field_of_view: FieldOfView) -> tuple[float, float, float]:
    """Give center and radius of a field of view in pixels; of one that is not round, those of its box."""
    x0, y0, x1, y1 = field_of_view.box
    center = field_of_view.center or ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2)
    return *center, field_of_view.radius or max(x1 - x0, y1 - y0) / 2


def _turn(picture: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn a square picture about its middle; return it and the matrix (3, 3) from its pixels back to the old ones."""
    if degrees % 360 == 0:
        return picture, np.eye(3)
    side = picture.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1.0)
    turned = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_CUBIC)
    return turned, np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))


def _turned_field(field: FieldOfView, degrees: float, back: np.ndarray) -> FieldOfView | None:
    """Turn a round field with its picture, what is cut off becoming what is left out; None for any other shape.

    Args:
        field: Of a square picture, before it was turned.
        degrees: By which it was turned, see `_turn`.
        back: (3, 3), from pixels of the turned picture to its own.
    """
    if degrees % 360 == 0:
        return field
    if field.center is None or field.radius is None or field.stretch is not None:
        return None
    x, y = map(float, _apply(np.linalg.inv(back), np.array([field.center]))[0])
    left, top = max(x + 0.5 - field.radius, 0.0), max(y + 0.5 - field.radius, 0.0)
    right, bottom = min(x + 0.5 + field.radius, float(field.width)), min(y + 0.5 + field.radius, float(field.height))
    everything, size = (0.0, 0.0, 1.0, 1.0), (_SIDE, _SIDE)
    circle = replace(field, box=(0.0, 0.0, float(field.width), float(field.height)), left_out=None)
    shown = field.mask(everything, size) | ~circle.mask(everything, size)
    hidden = _turn(shown.astype(np.uint8) * 255, degrees)[0] < 128  # and what lay outside of the picture
    left_out = hidden if hidden.any() else None
    return replace(field, center=(x, y), box=(left, top, right, bottom), left_out=left_out)


def _magnification(matrix: np.ndarray) -> float:
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:2, :2].T + matrix[:2, 2]


@dataclass(frozen=True, eq=False)
class _DescribeInView(Describe):
    """The descriptors of a view at places of the photograph; see `Keypoints.describe`."""

    describe: Describe
    to_view: np.ndarray

    def __call__(self, places: np.ndarray) -> np.ndarray:
        return self.describe(_apply(self.to_view, places))

    def similarity(self, descriptors: np.ndarray, places: np.ndarray) -> np.ndarray:
        return self.describe.similarity(descriptors, _apply(self.to_view, places))


__all__ = ["AS_GIVEN", "CHANNELS", "PhotographViews", "View", "draw_view", "views_in_words"]
