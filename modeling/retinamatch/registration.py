"""How one photograph lies on another, or why that cannot be said: the outcome of `Registrar.register`."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .estimation import Estimate
from .keypoint_set import Keypoints
from .photograph_views import AS_GIVEN, View, views_in_words
from .photographs import PhotographError, PhotographLike, read_photograph
from .transfer import read_sizes
from .transforms import Transform, read_record


@dataclass(eq=False, repr=False)
class Registration:
    """How one photograph lies on another, or why that cannot be said; true when it is registered.

    Attributes:
        estimate: The transform with the matches that it rests on, and whether to believe it.
        moving_keypoints: Keypoints of the moving photograph, in its pixels, without dense descriptors: a
            result is small.
        fixed_keypoints: The same of the fixed photograph.
        timings: Seconds of each step: `read`, `keypoints`, `match`, `estimate`, `views` where others were tried, and
            `warp` when it was last called.
        views: How the moving and the fixed photograph were looked at when they matched; the transform maps pixels of
            the photographs as they were given all the same.
        fixed_spacing: Millimeters per pixel of the fixed photograph, down and across; None where it is not known.
    """

    estimate: Estimate
    moving_keypoints: Keypoints
    fixed_keypoints: Keypoints
    timings: dict[str, float] = field(default_factory=dict)
    views: tuple[View, View] = (AS_GIVEN, AS_GIVEN)
    fixed_spacing: tuple[float, float] | None = None

    def __bool__(self) -> bool:
        return self.registered

    def __repr__(self) -> str:
        return f"<Registration {self}>"

    def __str__(self) -> str:
        return f"{self.estimate}; {self.views_in_words}" if self.views_in_words else str(self.estimate)

    @property
    def views_in_words(self) -> str:
        """What was done to which photograph before they matched, in words; empty for nothing."""
        return views_in_words(*self.views)

    @property
    def registered(self) -> bool:
        """Whether there is a transform to believe in."""
        return self.estimate.accepted

    @property
    def status(self) -> str:
        """The word for `registered` in JSON: "registered" or "no reliable match"."""
        return self.estimate.status

    @property
    def reason(self) -> str:
        """Why there is no reliable match, in words; "" when registered."""
        return self.estimate.reason

    @property
    def transform(self) -> Transform | None:
        """Maps pixels of the moving photograph, (N, 2), to pixels of the fixed one; None when not registered."""
        return self.estimate.transform

    @property
    def matches(self) -> np.ndarray:
        """(M, 2) integer array, a row is the index of a moving keypoint and of the fixed keypoint it matches."""
        return self.estimate.matches

    @property
    def match_scores(self) -> np.ndarray:
        """(M,) scores of the matches, higher is better."""
        return self.estimate.scores

    @property
    def inliers(self) -> np.ndarray:
        """(M,) boolean array, the matches that agree with the transform; none of a pair that is not registered."""
        return self.estimate.inliers & self.registered

    @property
    def residual(self) -> float:
        """Median distance of the inliers after the transform, in pixels of the fixed photograph."""
        return self.estimate.residual

    @property
    def residual_mm(self) -> float | None:
        """The same in millimeters; None where the spacing of the fixed photograph is not known."""
        if self.fixed_spacing is None or self.transform is None or not self.inliers.any():
            return None
        way = self.transform(self.moving_points[self.inliers]) - self.fixed_points[self.inliers]
        return float(np.median(np.linalg.norm(way * self.fixed_spacing[::-1], axis=1)))

    @property
    def turn(self) -> float:
        """Degrees by which the moving photograph is turned to lie on the fixed one, counterclockwise, -180 to 180."""
        if self.transform is None:
            return 0.0
        points = self.moving_points[self.inliers] if self.inliers.sum() > 1 else self.moving_keypoints.points
        ends = [(side - side.mean(0)) @ (1, -1j) for side in (points, self.transform(points))]
        return float(np.degrees(np.angle(np.vdot(*ends))))

    @property
    def precision(self) -> float | None:
        """The standard error of the transform over the overlap, in pixels of the fixed photograph; None if unknown."""
        return self.evidence.get("precision")

    @property
    def rough(self) -> bool:
        """Whether the place is right and single pixels are not: the precision is poor, or not known."""
        return self.estimate.rough

    @property
    def overlap(self) -> float:
        """Fraction of the fixed photograph's field of view that the moving one covers, 0 to 1."""
        return self.estimate.overlap

    @property
    def evidence(self) -> dict:
        """The figures behind the decision, by name.

        Those of `estimation.decision.Evidence`, `precision` in pixels of the fixed photograph among them; and `given`,
        the number of matches that were given; `start`, what the search started from; `located`, the number of matches
        located in the dense descriptors; `held_out`, the held-out error of each class of transforms. Where no search
        could start, `given` alone.
        """
        return self.estimate.evidence

    @property
    def moving_points(self) -> np.ndarray:
        """(M, 2) matched points in pixels of the moving photograph, in the order of `matches`."""
        return self.moving_keypoints.points[self.matches[:, 0]]

    @property
    def fixed_points(self) -> np.ndarray:
        """(M, 2) matched points in pixels of the fixed photograph, in the order of `matches`."""
        return self.fixed_keypoints.points[self.matches[:, 1]]

    def warp(self, moving: PhotographLike, order: int = 1, fill: int = 0) -> np.ndarray:
        """Draw the moving photograph on the pixel grid of the fixed one, black where it shows nothing.

        Args:
            moving: The moving photograph.
            order: Interpolation, 0 nearest, 1 linear, 3 cubic.
            fill: Gray level where the moving photograph shows nothing.

        Returns:
            uint8 RGB array (height, width, 3) of the fixed photograph's size.

        Raises:
            ValueError: The pair is not registered, or the photograph is not the moving one.
        """
        if self.transform is None:
            raise ValueError(f"There is nothing to warp with: {self.status} ({self.reason}).")
        photograph = read_photograph(moving)
        if photograph.shape[:2] != self.moving_keypoints.size:
            raise ValueError(
                f"The moving photograph was {_size_in_words(self.moving_keypoints.size)} pixels when it was "
                f"registered, this one is {_size_in_words(photograph.shape[:2])}."
            )
        self.timings.pop("warp", None)
        with timed(self.timings, "warp"):
            return self.transform.warp(photograph, size=self.fixed_keypoints.size, order=order, fill=fill)

    def to_dict(self, matches: bool = False) -> dict:
        """Put the outcome into numbers, strings, lists and dicts, ready for JSON.

        A pair that is not registered gives its status and reason alone: there is nothing else to use by mistake.

        Args:
            matches: Add the table of all matches, `match_table`, so that `from_dict` can read the outcome again.

        Returns:
            What `registration.json` holds: `status`, `reason`, `transform`, `residual`, `overlap` and so on.
        """
        if self.transform is None:
            return {"status": self.status, "reason": self.reason}
        table: dict[str, Any] = {"match_table": [list(row) for row in self.match_table()]} if matches else {}
        if self.fixed_spacing is not None:
            table |= {"fixed_spacing_mm": list(self.fixed_spacing), "residual_mm": self.residual_mm}
        return {
            "status": self.status,
            "reason": self.reason,
            "rough": self.estimate.rough,
            "transform": self.transform.to_dict(),
            "residual": float(self.residual),
            "overlap": float(self.overlap),
            "matches": len(self.matches),
            "inliers": int(self.inliers.sum()),
            "moving": dict(zip(("height", "width"), self.moving_keypoints.size)),
            "fixed": dict(zip(("height", "width"), self.fixed_keypoints.size)),
            "views": dict(zip(("moving", "fixed"), (view.to_dict() for view in self.views))),
            "evidence": _plain(self.evidence),
            "timings": {name: round(seconds, 4) for name, seconds in self.timings.items()},
            **table,
        }

    def match_table(self) -> list[tuple[float, ...]]:
        """Put the matches into a table.

        Returns:
            A row per match, in the order of `matches`: x and y in pixels of the moving photograph, x and y in pixels of
            the fixed one, score, and 1 for an inlier, else 0.
        """
        return [
            (*(round(float(value), 3) for value in (*moving, *fixed)), round(float(score), 5), int(inlier))
            for moving, fixed, score, inlier in zip(
                self.moving_points, self.fixed_points, self.match_scores, self.inliers
            )
        ]

    @classmethod
    def from_dict(cls, data: dict) -> "Registration":
        """Build the outcome again that `to_dict(matches=True)` gave; its keypoints are the matched ones alone.

        Args:
            data: What `to_dict(matches=True)` gave, or `to_dict()` of a pair that is not registered.

        Returns:
            The outcome; that of a pair that is not registered has no keypoints.

        Raises:
            ValueError: Something is missing, such as the table of matches.
        """
        try:
            if data["status"] != "registered":
                nothing = Keypoints(np.zeros((0, 2)), np.zeros((0, 0), np.float32), np.zeros(0, np.float32), (0, 0))
                return cls(Estimate(False, None, *_matches_of([]), np.nan, 0.0, data["reason"]), nothing, nothing)
            table = np.array(data["match_table"], dtype=np.float64).reshape(-1, 6)
            estimate = Estimate(
                True,
                Transform.from_dict(data["transform"]),
                *_matches_of(table),
                data["residual"],
                data["overlap"],
                data["reason"],
                data["evidence"],
                data["rough"],
            )
            sizes = read_sizes(data)
            timings = dict(data["timings"])
            views = View.from_dict(data["views"]["moving"]), View.from_dict(data["views"]["fixed"])
            row, column = data.get("fixed_spacing_mm", (None, None))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"This is no whole record of a registration: {str(error).rstrip('.')}.") from None
        first, second = (
            Keypoints(places, np.zeros((len(places), 0), np.float32), table[:, 4].astype(np.float32), size)
            for places, size in zip((table[:, :2], table[:, 2:4]), sizes)
        )
        spacing = None if row is None else (row, column)
        return cls(estimate, first, second, timings, views, spacing)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Registration":
        """Read the outcome from a `registration.json`; see `from_dict`.

        Args:
            path: The file.

        Returns:
            The outcome.

        Raises:
            ValueError: The file holds no whole record of a registration.
            OSError: The file cannot be read.
        """
        data = read_record(path)
        try:
            return cls.from_dict(data)
        except ValueError as error:
            raise ValueError(f"{path} cannot be read as a registration: {error}") from None


@dataclass(eq=False)
class FailedRegistration:
    """What stands in place of a `Registration` where a photograph cannot be read; never true.

    Attributes:
        error: Names the photograph and says why.
    """

    error: PhotographError
    registered: ClassVar[bool] = False
    status: ClassVar[str] = "not read"

    def __bool__(self) -> bool:
        return False

    @property
    def reason(self) -> str:
        """Which photograph cannot be read and why, in words."""
        return str(self.error)

    def to_dict(self) -> dict:
        """Put status and reason into a dict, ready for JSON."""
        return {"status": self.status, "reason": self.reason}


@contextmanager
def timed(timings: dict[str, float], step: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of a step."""
    start = time.perf_counter()
    yield
    timings[step] = timings.get(step, 0.0) + time.perf_counter() - start


def _matches_of(table: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give matches, scores and inliers of a table of matches, each match of keypoints of its own."""
    table = np.asarray(table, dtype=np.float64).reshape(-1, 6)
    indices = np.repeat(np.arange(len(table), dtype=np.int64)[:, None], 2, axis=1)
    return indices, table[:, 4].astype(np.float32), table[:, 5] > 0


def _size_in_words(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays into what JSON knows; a number that is not finite becomes null."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


__all__ = ["FailedRegistration", "Registration", "timed"]
