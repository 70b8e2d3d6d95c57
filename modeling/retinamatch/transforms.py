"""The transforms between two photographs of one eye: similarity, affine, homography, quadratic, cubic; and chains.

A transform maps pixels of the MOVING photograph to pixels of the FIXED one. Points are float64 arrays of shape (N, 2),
(x, y), with the center of the top-left pixel at (0, 0). No decisions are made here: `estimation` decides which class
the evidence supports and whether to believe it.

The retina is a curved surface: seen by a weakly perspective camera, a quadric gives exactly the quadratic class (Can et
al., "A feature-based, robust, hierarchical algorithm for registering pairs of images of the curved human retina", PAMI
2002). A polynomial says nothing about places far from the points it was fitted on, so the polynomial classes carry
their support, the convex hull of those points, and go on along their tangent outside of it: how far a place is carried
grows with its distance from the support like a straight line, never like a parabola.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import ArrayLike

from .polynomials import (
    inside_hull,
    monomial_derivatives,
    monomial_second_derivatives,
    monomials,
    nearest_on_hull,
)


# Between the nodes of the warping grid places are interpolated linearly: at 16 pixels with an error under 0.01 pixel.
_GRID_STEP = 16
# Rows that are brought to a triangle at a time.
_BLOCK = 256
# Rows of the warped image computed at once, so that large photographs need little memory beside their own.
_STRIP_ROWS = 512
_INTERPOLATIONS = {0: cv2.INTER_NEAREST, 1: cv2.INTER_LINEAR, 3: cv2.INTER_CUBIC}


class UndeterminedError(ValueError):
    """Points that do not determine a transform of the class asked for: too few, on one line or curve, or folded."""


class Transform(ABC):
    """Base of all transforms: what they share is calling, warping and JSON.

    Attributes:
        name: The word for the class on the command line and in JSON.
        minimum_points: Number of point pairs that determine the class.
    """

    name: str
    minimum_points: int

    @classmethod
    @abstractmethod
    def fit(cls, moving_points: ArrayLike, fixed_points: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Fit by weighted least squares of the distance in the fixed photograph.

        Args:
            moving_points: (N, 2) pixels of the moving photograph.
            fixed_points: (N, 2) pixels of the fixed photograph, the same points of the retina.
            weights: (N,) non-negative weights of the squared distances; points of weight 0 do not count at all.

        Raises:
            ValueError: Too few points, points that do not determine the class (for example all on one line), values
                that are not finite, shapes that do not agree.
        """

    @abstractmethod
    def __call__(self, points: ArrayLike) -> np.ndarray:
        """Map pixels of the moving photograph, (N, 2), to pixels of the fixed one, (N, 2)."""

    @abstractmethod
    def inverse(self, points: ArrayLike) -> np.ndarray:
        """Map pixels of the fixed photograph to the moving one, (N, 2); NaN where nothing is mapped there."""

    @abstractmethod
    def jacobian(self, points: ArrayLike) -> np.ndarray:
        """Compute the derivative, (N, 2, 2): row = x or y fixed, column = x or y moving."""

    def warp(
        self,
        image: np.ndarray,
        size: tuple[int, int] | None = None,
        order: int = 1,
        fill: float | Sequence[float] = 0,
    ) -> np.ndarray:
        """Draw the moving photograph on the pixel grid of the fixed one.

        Args:
            image: (H, W) or (H, W, C) of the moving photograph, any type OpenCV interpolates (uint8, uint16, float32,
                ...).
            size: (height, width) of the fixed photograph; that of `image` when None.
            order: 0 nearest pixel, 1 linear, 3 cubic.
            fill: Value where the moving photograph has no pixel, a number or one per channel.

        Returns:
            Array of shape `size` (and C) and the type of `image`.

        Raises:
            ValueError: The order is not 0, 1 or 3.
        """
        if order not in _INTERPOLATIONS:
            raise ValueError(f"The interpolation order must be one of {sorted(_INTERPOLATIONS)}, got {order}.")
        height, width = image.shape[:2] if size is None else size
        grid = self._inverse_grid(height, width)
        border = tuple(fill) if isinstance(fill, Sequence) else (float(fill),) * 4
        warped = np.empty((height, width) + image.shape[2:], dtype=image.dtype)
        for top in range(0, height, _STRIP_ROWS):
            rows = np.arange(top, min(top + _STRIP_ROWS, height))
            strip = _interpolate_grid(grid, rows, width)
            # A place that nothing is mapped to has no coordinate; far outside of the photograph it receives `fill`.
            strip = np.where(np.isfinite(strip), strip, -1e4).clip(-1e4, 1e6).astype(np.float32)
            pixels = cv2.remap(
                image,
                strip[..., 0],
                strip[..., 1],
                _INTERPOLATIONS[order],
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=border,
            )
            warped[rows] = pixels.reshape(warped[rows].shape)
        return warped

    def _inverse_grid(self, height: int, width: int) -> np.ndarray:
        """Compute the inverse at every `_GRID_STEP`-th pixel of the fixed photograph, (rows, columns, 2)."""
        xs = np.arange(0, width - 1 + _GRID_STEP, _GRID_STEP, dtype=np.float64)
        ys = np.arange(0, height - 1 + _GRID_STEP, _GRID_STEP, dtype=np.float64)
        nodes = np.stack(np.meshgrid(xs, ys), axis=-1)
        return self.inverse(nodes.reshape(-1, 2)).reshape(nodes.shape)

    @abstractmethod
    def to_dict(self) -> dict:
        """Return plain numbers, lists and strings for JSON; `from_dict` gives the same transform back."""

    @classmethod
    @abstractmethod
    def _from_dict(cls, data: dict) -> Self:
        """Build a transform of this class from what `to_dict` wrote."""

    @staticmethod
    def from_dict(data: dict) -> "Transform":
        """Build the transform that `to_dict` wrote, of whatever class it was.

        Raises:
            ValueError: The class is not known, or a value is missing.
        """
        name = data.get("class", "")
        known = _COMPOSED.get(name) or transform_class(name)
        try:
            return known._from_dict(data)
        except KeyError as error:
            raise ValueError(f"The {known.name} transform to read has no entry {error}.") from None

    @staticmethod
    def load(path: str | os.PathLike) -> "Transform":
        """Read a transform from a file of JSON: a `registration.json`, or what `to_dict` gave.

        Raises:
            ValueError: The file holds no transform; that of a pair without a reliable match says so.
            OSError: The file cannot be read.
        """
        data = read_record(path)
        if "transform" not in data and "class" not in data:
            status, reason = data.get("status"), data.get("reason")
            why = f'{status} ("{reason}")' if status else "neither transform nor class stands in it"
            raise ValueError(f"{path} holds no transform: {why}.")
        try:
            return Transform.from_dict(data.get("transform", data))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{path} holds no transform that can be read: {error}") from None

    def then(self, following: "Transform") -> "Transform":
        """Chain two transforms: the first visit onto the second, then the second onto the third.

        Args:
            following: Maps pixels of this transform's fixed photograph to those of another one.

        Returns:
            One matrix where both are matrices, else a `Chain`.
        """
        return Chain([*_links(self), *_links(following)])

    def inverted(self) -> "Transform":
        """Return the transform from pixels of the fixed photograph to those of the moving one."""
        return Inverse(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.to_dict()})"


class Homography(Transform):
    """A plane seen by two cameras: eight parameters, one 3x3 matrix.

    Attributes:
        matrix: (3, 3) float64; its third row is positive at the points it was fitted on.
    """

    name = "homography"
    minimum_points = 4

    def __init__(self, matrix: ArrayLike):
        matrix = np.array(matrix, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ValueError(f"A {self.name} is a finite 3x3 matrix, got shape {matrix.shape}.")
        self.matrix = matrix

    @classmethod
    def fit(cls, moving_points: ArrayLike, fixed_points: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Fit by the direct linear method, refined by the distance in the fixed photograph."""
        moving, fixed, weights = _check_points(cls, moving_points, fixed_points, weights)
        to_moving, to_fixed = _normalization(moving, weights), _normalization(fixed, weights)
        moving, fixed = _affine_map(to_moving, moving), _affine_map(to_fixed, fixed)
        matrix = _direct_linear_homography(moving, fixed, np.sqrt(weights))
        matrix = _refine_homography(matrix, moving, fixed, np.sqrt(weights))
        matrix = np.linalg.inv(to_fixed) @ matrix @ to_moving
        return cls(matrix / max(abs(matrix[2, 2]), 1e-12))

    def __call__(self, points: ArrayLike) -> np.ndarray:
        return _projective_map(self.matrix, _as_points(points))

    def inverse(self, points: ArrayLike) -> np.ndarray:
        """Map by the inverse of the matrix."""
        return _projective_map(np.linalg.inv(self.matrix), _as_points(points))

    def jacobian(self, points: ArrayLike) -> np.ndarray:
        """Differentiate the projective map."""
        points = _as_points(points)
        mapped = _projective_map(self.matrix, points)
        depth = points @ self.matrix[2, :2] + self.matrix[2, 2]
        return (self.matrix[None, :2, :2] - mapped[:, :, None] * self.matrix[None, 2:, :2]) / depth[:, None, None]

    def then(self, following: Transform) -> Transform:
        """Multiply two matrices, the product being of the wider class; what is no matrix is chained."""
        if not isinstance(following, Homography):
            return super().then(following)
        # The wider of the two classes: a similarity is an affine map, an affine map a homography.
        wider = type(following) if isinstance(self, type(following)) else type(self)
        return wider(following.matrix @ self.matrix)

    def inverted(self) -> Transform:
        """Return the transform of the inverse matrix, of the same class."""
        return type(self)(np.linalg.inv(self.matrix))

    def to_dict(self) -> dict:
        """Return the name of the class and the matrix."""
        return {"class": self.name, "matrix": self.matrix.tolist()}

    @classmethod
    def _from_dict(cls, data: dict) -> Self:
        read = cls(data["matrix"])
        if np.linalg.matrix_rank(read.matrix / max(np.abs(read.matrix).max(), np.finfo(float).tiny)) < 3:
            raise ValueError(f"The matrix of the {cls.name} transform cannot be inverted: {data['matrix']}.")
        return read


class Affine(Homography):
    """Translation and a linear map: six parameters, a 3x3 matrix with the last row 0, 0, 1."""

    name = "affine"
    minimum_points = 3

    @classmethod
    def fit(cls, moving_points: ArrayLike, fixed_points: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Fit by linear least squares."""
        moving, fixed, weights = _check_points(cls, moving_points, fixed_points, weights)
        to_moving, to_fixed = _normalization(moving, weights), _normalization(fixed, weights)
        moving, fixed = _affine_map(to_moving, moving), _affine_map(to_fixed, fixed)
        root = np.sqrt(weights)[:, None]
        solution = _least_squares(cls, np.column_stack([moving, np.ones(len(moving))]) * root, fixed * root)
        matrix = np.vstack([solution.T, [0.0, 0.0, 1.0]])
        return cls(np.linalg.inv(to_fixed) @ matrix @ to_moving)


class Similarity(Affine):
    """Shift, rotation and one scale: four parameters; never a mirror image."""

    name = "similarity"
    minimum_points = 2

    @classmethod
    def fit(cls, moving_points: ArrayLike, fixed_points: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Fit by linear least squares of four unknowns."""
        moving, fixed, weights = _check_points(cls, moving_points, fixed_points, weights)
        to_moving, to_fixed = _normalization(moving, weights), _normalization(fixed, weights)
        moving, fixed = _affine_map(to_moving, moving), _affine_map(to_fixed, fixed)
        # Unknowns a, b, tx, ty of [[a, -b, tx], [b, a, ty]]: x and y rows interleaved.
        rows = np.zeros((2 * len(moving), 4))
        rows[0::2, 0], rows[0::2, 1], rows[0::2, 2] = moving[:, 0], -moving[:, 1], 1.0
        rows[1::2, 0], rows[1::2, 1], rows[1::2, 3] = moving[:, 1], moving[:, 0], 1.0
        root = np.repeat(np.sqrt(weights), 2)
        a, b, tx, ty = _least_squares(cls, rows * root[:, None], fixed.reshape(-1) * root)
        matrix = np.array([[a, -b, tx], [b, a, ty], [0.0, 0.0, 1.0]])
        return cls(np.linalg.inv(to_fixed) @ matrix @ to_moving)


class Polynomial(Transform):
    """A polynomial per axis inside its support, its tangent outside.

    Args:
        coefficients: (T, 2), one row per monomial of the normalized moving point (u, v) in the order of `monomials`,
            one column per axis of the fixed photograph in pixels.
        center: (x, y) in pixels of the moving photograph, where (u, v) = (0, 0).
        scale: Pixels of the moving photograph per unit of u and v.
        support: (K, 2) corners of the convex area that the fitted points cover, in order, in pixels of the moving
            photograph.
    """

    degree: int

    def __init__(self, coefficients: ArrayLike, center: ArrayLike, scale: float, support: ArrayLike):
        self.coefficients = np.array(coefficients, dtype=np.float64)
        self.center = np.array(center, dtype=np.float64)
        self.scale = float(scale)
        self.support = np.array(support, dtype=np.float64)
        if self.coefficients.shape != (self.minimum_points, 2):
            raise ValueError(
                f"A {self.name} transform has {self.minimum_points} coefficients for each of two axes, "
                f"got an array of shape {self.coefficients.shape}."
            )
        if self.support.ndim != 2 or self.support.shape[1] != 2 or len(self.support) < 1:
            raise ValueError(f"The support of a transform is a list of (x, y) corners, got shape {self.support.shape}.")

    @classmethod
    def fit(cls, moving_points: ArrayLike, fixed_points: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Fit the coefficients by linear least squares; the support is the convex hull of the moving points."""
        moving, fixed, weights = _check_points(cls, moving_points, fixed_points, weights)
        center = np.average(moving, axis=0, weights=weights)
        scale = max(float(np.sqrt(np.average(((moving - center) ** 2).sum(1), weights=weights))), 1e-12)
        shift = np.average(fixed, axis=0, weights=weights)
        root = np.sqrt(weights)[:, None]
        coefficients = _least_squares(
            cls, monomials((moving - center) / scale, cls.degree) * root, (fixed - shift) * root
        )
        coefficients[0] += shift
        hull = cv2.convexHull(moving.astype(np.float32), returnPoints=False).ravel()
        return cls(coefficients, center, scale, moving[hull])

    def __call__(self, points: ArrayLike) -> np.ndarray:
        points = _as_points(points)
        nearest, _ = self._project(points)
        mapped = monomials((nearest - self.center) / self.scale, self.degree) @ self.coefficients
        return mapped + np.einsum("nij,nj->ni", self._inner_jacobian(nearest), points - nearest)

    def jacobian(self, points: ArrayLike) -> np.ndarray:
        """Differentiate the polynomial inside the support, its tangent outside."""
        points = _as_points(points)
        nearest, slide = self._project(points)
        # d/dp [T(q) + J(q) (p - q)] = J(q) + H(q)[dq/dp] (p - q), q being the nearest point of the support. The second
        # term is zero on the border, so the derivative is continuous there.
        bend = np.einsum("nijk,nkl,nj->nil", self._inner_hessian(nearest), slide, points - nearest)
        return self._inner_jacobian(nearest) + bend

    def inverse(self, points: ArrayLike) -> np.ndarray:
        """Invert by Newton's method from the tangent at the center; NaN where it finds no point within 1e-6 pixel."""
        points = _as_points(points)
        middle = self.support.mean(0, keepdims=True)
        back = np.linalg.pinv(self.jacobian(middle)[0])
        moving = middle + (points - self(middle)) @ back.T
        error = np.linalg.norm(self(moving) - points, axis=1)
        open_points = np.flatnonzero(error > 1e-9)
        for _ in range(40):
            if len(open_points) == 0:
                break
            start = moving[open_points]
            matrices = self.jacobian(start)
            singular = np.abs(np.linalg.det(matrices)) < 1e-12
            matrices[singular] = np.eye(2)
            step = np.linalg.solve(matrices, (points[open_points] - self(start))[..., None])[..., 0]
            # A full step where it helps, a shorter one where it overshoots.
            best, best_error = start, error[open_points]
            length = 1.0
            for _ in range(5):
                trial = start + length * step
                trial_error = np.linalg.norm(self(trial) - points[open_points], axis=1)
                better = trial_error < best_error
                best, best_error = np.where(better[:, None], trial, best), np.where(better, trial_error, best_error)
                length /= 2
                if better.all():
                    break
            stuck = best_error >= error[open_points]
            moving[open_points], error[open_points] = best, best_error
            open_points = open_points[(best_error > 1e-9) & ~stuck]
        moving[~(error < 1e-6)] = np.nan
        return moving

    def _project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest point of the support, (N, 2), and its derivative by the point, (N, 2, 2)."""
        nearest = points.copy()
        slide = np.broadcast_to(np.eye(2), (len(points), 2, 2)).copy()
        outer = np.flatnonzero(~inside_hull(points, self.support) & np.isfinite(points).all(1))
        nearest[outer], along = nearest_on_hull(points[outer], self.support)
        # Beyond an edge the nearest point slides along it; beyond a corner (`along` is zero) it stays.
        slide[outer] = along[:, :, None] * along[:, None, :]
        return nearest, slide

    def _inner_jacobian(self, points: np.ndarray) -> np.ndarray:
        du, dv = monomial_derivatives((points - self.center) / self.scale, self.degree)
        return np.stack([du @ self.coefficients, dv @ self.coefficients], axis=-1) / self.scale

    def _inner_hessian(self, points: np.ndarray) -> np.ndarray:
        second = monomial_second_derivatives((points - self.center) / self.scale, self.degree)  # (N, 2, 2, T)
        return np.einsum("njkt,ti->nijk", second, self.coefficients) / self.scale**2

    def to_dict(self) -> dict:
        """Return the name of the class, the coefficients, the center, the scale and the support."""
        return {
            "class": self.name,
            "coefficients": self.coefficients.tolist(),
            "center": self.center.tolist(),
            "scale": self.scale,
            "support": self.support.tolist(),
        }

    @classmethod
    def _from_dict(cls, data: dict) -> Self:
        read = cls(data["coefficients"], data["center"], data["scale"], data["support"])
        parts = (read.coefficients, read.center, read.scale, read.support)
        if read.center.shape != (2,) or not all(np.isfinite(part).all() for part in parts) or read.scale <= 0:
            raise ValueError(
                f"A {cls.name} transform has finite numbers, a center (x, y) and a scale greater than 0, got the "
                f"center {data['center']} and the scale {data['scale']}."
            )
        with np.errstate(all="ignore"):
            area = abs(np.linalg.det(read.jacobian(read.support.mean(0, keepdims=True))[0]))
        if not 1e-12 < area < np.inf:
            raise ValueError(f"The {cls.name} transform cannot be inverted in the middle of its support.")
        return read


class Quadratic(Polynomial):
    """Second order: six coefficients per axis. The class of the curved retina."""

    name = "quadratic"
    minimum_points = 6
    degree = 2


class Cubic(Polynomial):
    """Third order: ten coefficients per axis; needs many points that cover the overlap."""

    name = "cubic"
    minimum_points = 10
    degree = 3


class _Composed(Transform):
    """Made of other transforms, and of no points."""

    minimum_points = 0

    @classmethod
    def fit(cls, moving_points: ArrayLike, fixed_points: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Raise `UndeterminedError`: there is nothing to fit."""
        raise UndeterminedError(f"A {cls.name} is made of other transforms, not fitted to points.")


class Chain(_Composed):
    """Transforms one after the other.

    Args:
        parts: In the order in which they map.
    """

    name = "chain"

    def __init__(self, parts: Sequence[Transform]):
        self.parts = list(parts)
        if not self.parts:
            raise ValueError("A chain has one transform or more.")

    def __call__(self, points: ArrayLike) -> np.ndarray:
        mapped = _as_points(points)
        for part in self.parts:
            mapped = part(mapped)
        return mapped

    def inverse(self, points: ArrayLike) -> np.ndarray:
        """Map by the inverses of the parts, the last one first."""
        mapped = _as_points(points)
        for part in reversed(self.parts):
            mapped = part.inverse(mapped)
        return mapped

    def jacobian(self, points: ArrayLike) -> np.ndarray:
        """Multiply the derivatives of the parts."""
        mapped = _as_points(points)
        derivative = np.broadcast_to(np.eye(2), (len(mapped), 2, 2))
        for part in self.parts:
            derivative, mapped = part.jacobian(mapped) @ derivative, part(mapped)
        return derivative

    def inverted(self) -> Transform:
        """Return the chain of the inverted parts, the last one first."""
        return Chain([part.inverted() for part in reversed(self.parts)])

    def to_dict(self) -> dict:
        """Return the name of the class and the parts."""
        return {"class": self.name, "parts": [part.to_dict() for part in self.parts]}

    @classmethod
    def _from_dict(cls, data: dict) -> Self:
        return cls([Transform.from_dict(part) for part in data["parts"]])


class Inverse(_Composed):
    """The way back of a transform.

    Args:
        of: The transform to go back.
    """

    name = "inverse"

    def __init__(self, of: Transform):
        self.of = of

    def __call__(self, points: ArrayLike) -> np.ndarray:
        return self.of.inverse(points)

    def inverse(self, points: ArrayLike) -> np.ndarray:
        """Map by the transform itself."""
        return self.of(points)

    def jacobian(self, points: ArrayLike) -> np.ndarray:
        """Invert the derivative of the transform."""
        return np.linalg.inv(self.of.jacobian(self.of.inverse(points)))

    def inverted(self) -> Transform:
        """Return the transform itself."""
        return self.of

    def to_dict(self) -> dict:
        """Return the name of the class and the transform."""
        return {"class": self.name, "of": self.of.to_dict()}

    @classmethod
    def _from_dict(cls, data: dict) -> Self:
        return cls(Transform.from_dict(data["of"]))


_COMPOSED: dict[str, type[Transform]] = {known.name: known for known in (Chain, Inverse)}

TRANSFORMS: dict[str, type[Transform]] = {
    known.name: known for known in (Similarity, Affine, Homography, Quadratic, Cubic)
}

# What can be asked for: the class that the matches support, or one of them.
TRANSFORM_NAMES = ("auto", *TRANSFORMS)


def transform_class(name: str) -> type[Transform]:
    """Look up the class of that name.

    Raises:
        ValueError: The name is not known; the sentence lists the known ones.
    """
    if name not in TRANSFORMS:
        raise ValueError(f"Unknown transform {name!r}; known are: {', '.join(TRANSFORMS)}.")
    return TRANSFORMS[name]


def read_record(path: str | os.PathLike) -> dict:
    """Read a file of JSON that holds one object.

    Raises:
        ValueError: It does not.
        OSError: It cannot be read; one sentence says why.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ValueError(f"{path} is no JSON of a registration; `retinamatch register` writes one.")
    return data


def _links(transform: Transform) -> list[Transform]:
    return transform.parts if isinstance(transform, Chain) else [transform]


def _as_points(points: ArrayLike) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"Points are an array of shape (N, 2), got {points.shape}.")
    return points


def _check_points(
    kind: type[Transform], moving: ArrayLike, fixed: ArrayLike, weights: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the point pairs of positive weight, or say in one sentence why they cannot be fitted."""
    moving, fixed = _as_points(moving), _as_points(fixed)
    weights = np.ones(len(moving)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(moving) == len(fixed) == len(weights) or weights.ndim != 1:
        raise ValueError(
            "Moving points, fixed points and weights must agree in number, "
            f"got {len(moving)}, {len(fixed)} and {weights.shape}."
        )
    if not (
        np.isfinite(moving).all() and np.isfinite(fixed).all() and np.isfinite(weights).all() and (weights >= 0).all()
    ):
        raise ValueError("Points must be finite and weights finite and not negative.")
    used = weights > 0
    if used.sum() < kind.minimum_points:
        raise UndeterminedError(
            f"A {kind.name} transform needs at least {kind.minimum_points} point pairs, got {used.sum()}."
        )
    return moving[used], fixed[used], weights[used]


def _least_squares(kind: type[Transform], design: np.ndarray, target: np.ndarray) -> np.ndarray:
    # Columns of one size, so that the rank tells whether the points determine the class, whatever their units.
    size = np.linalg.norm(design, axis=0)
    size[size == 0] = 1.0
    columns = design.shape[1]
    triangle = _triangle(np.column_stack([design / size, target]))
    solution, _, rank, _ = np.linalg.lstsq(triangle[:, :columns], triangle[:, columns:], rcond=1e-9)
    if rank < design.shape[1]:
        raise _degenerate(kind)
    return (solution / size[:, None]).reshape(columns, *target.shape[1:])


def _triangle(rows: np.ndarray) -> np.ndarray:
    """Bring many rows to as many as there are columns, by QR, which keeps least squares and singular values.

    Block by block: for the whole of them BLAS would start threads, which at this size wait longer than they work.
    """
    while len(rows) > 2 * _BLOCK:
        whole = len(rows) // _BLOCK * _BLOCK
        blocks = rows[:whole].reshape(-1, _BLOCK, rows.shape[1])
        triangles: np.ndarray = np.linalg.qr(blocks, mode="r")  # type: ignore[assignment]  # in this mode no tuple
        rows = np.vstack([triangles.reshape(-1, rows.shape[1]), rows[whole:]])
    triangle: np.ndarray = np.linalg.qr(rows, mode="r")  # type: ignore[assignment]
    return triangle


def _degenerate(kind: type[Transform]) -> UndeterminedError:
    return UndeterminedError(
        f"The points do not determine a {kind.name} transform: they coincide or lie on one line or curve."
    )


def _normalization(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the 3x3 matrix that brings points to mean 0 and mean distance sqrt(2) (Hartley, PAMI 1997)."""
    center = np.average(points, axis=0, weights=weights)
    distance = np.average(np.linalg.norm(points - center, axis=1), weights=weights)
    factor = np.sqrt(2) / max(distance, 1e-12)
    return np.array([[factor, 0, -factor * center[0]], [0, factor, -factor * center[1]], [0, 0, 1.0]])


def _affine_map(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _projective_map(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    depth = mapped[:, 2:]
    # Beyond the horizon there is nothing to see.
    return np.where(depth > 1e-9 * np.abs(matrix[2]).max(), mapped[:, :2] / np.where(depth == 0, 1.0, depth), np.nan)


def _direct_linear_homography(moving: np.ndarray, fixed: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Solve the linear equations of a homography for normalized points; `root` is the square root of the weights."""
    rows = np.zeros((2 * len(moving), 9))
    homogeneous = np.column_stack([moving, np.ones(len(moving))])
    rows[0::2, 0:3] = homogeneous
    rows[0::2, 6:9] = -fixed[:, :1] * homogeneous
    rows[1::2, 3:6] = homogeneous
    rows[1::2, 6:9] = -fixed[:, 1:] * homogeneous
    rows *= np.repeat(root, 2)[:, None]
    _, values, vectors = np.linalg.svd(_triangle(rows), full_matrices=len(rows) < 9)
    if values[7] < 1e-9 * values[0]:
        raise _degenerate(Homography)
    matrix = vectors[8].reshape(3, 3)
    depth = homogeneous @ matrix[2]
    if np.sum(depth) < 0:
        matrix, depth = -matrix, -depth
    if depth.min() <= 1e-6 * np.abs(matrix).max():
        raise UndeterminedError("The points do not determine a homography: some of them would lie beyond its horizon.")
    return matrix


def _refine_homography(matrix: np.ndarray, moving: np.ndarray, fixed: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Minimize the distances themselves by Gauss-Newton steps; the linear solution weights them by depth."""
    homogeneous = np.column_stack([moving, np.ones(len(moving))])
    matrix = matrix / np.linalg.norm(matrix)

    def residual(candidate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mapped = homogeneous @ candidate.T
        return ((mapped[:, :2] / mapped[:, 2:] - fixed) * root[:, None]), mapped

    error, mapped = residual(matrix)
    for _ in range(5):
        rows = np.zeros((2 * len(moving), 9))
        scaled = homogeneous / mapped[:, 2:] * root[:, None]
        rows[0::2, 0:3] = scaled
        rows[0::2, 6:9] = -scaled * mapped[:, :1] / mapped[:, 2:]
        rows[1::2, 3:6] = scaled
        rows[1::2, 6:9] = -scaled * mapped[:, 1:2] / mapped[:, 2:]
        # The matrix's own size is free: the step of minimal norm leaves it alone.
        triangle = _triangle(np.column_stack([rows, -error.reshape(-1)]))
        step = np.linalg.lstsq(triangle[:, :9], triangle[:, 9], rcond=1e-12)[0]
        candidate = matrix + step.reshape(3, 3)
        if (homogeneous @ candidate[2]).min() <= 0:
            break
        candidate_error, candidate_mapped = residual(candidate)
        gain = np.sum(error**2) - np.sum(candidate_error**2)
        if gain <= 0:
            break
        matrix, error, mapped = candidate / np.linalg.norm(candidate), candidate_error, candidate_mapped
        mapped = mapped / np.linalg.norm(candidate)
        if gain <= 1e-12 * np.sum(error**2):
            break
    return matrix


def _interpolate_grid(grid: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
    """Interpolate the nodes of `_inverse_grid` at every pixel of some rows, (rows, width, 2)."""
    left, x_fraction = np.divmod(np.arange(width), _GRID_STEP)
    top, y_fraction = np.divmod(rows, _GRID_STEP)
    right, bottom = np.minimum(left + 1, grid.shape[1] - 1), np.minimum(top + 1, grid.shape[0] - 1)
    x_fraction, y_fraction = (x_fraction / _GRID_STEP)[None, :, None], (y_fraction / _GRID_STEP)[:, None, None]
    # Float32 holds pixel coordinates of the largest photograph to a thousandth and halves the memory.
    nodes = grid.astype(np.float32)
    lines = nodes[top] * (1 - y_fraction) + nodes[bottom] * y_fraction
    return lines[:, left] * (1 - x_fraction) + lines[:, right] * x_fraction


__all__ = [
    "Affine",
    "Chain",
    "Cubic",
    "Homography",
    "Inverse",
    "Polynomial",
    "Quadratic",
    "Similarity",
    "TRANSFORMS",
    "TRANSFORM_NAMES",
    "Transform",
    "UndeterminedError",
    "read_record",
    "transform_class",
]
