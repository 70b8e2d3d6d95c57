"""The descriptors of a photograph at any place of it, from the descriptor map of a network."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .keypoint_set import Describe


# Keypoints of which the cells around them are looked at in one go.
_AT_ONCE = 512


@dataclass(eq=False, repr=False)
class DenseDescriptors(Describe):
    """A descriptor map, and where it lies in the photograph.

    A descriptor between the cells of the map is interpolated bilinearly and brought to unit length; beyond the
    outermost cell centers the nearest cell is taken. `keypoints.sample_descriptors` is the same with tensors.

    Attributes:
        map: (h, w, D) float16 or float32, the descriptors of the cells, not normalized.
        stride: Pixels of the network's input per cell of the map.
        offset: Pixel of the input on which the center of the first cell lies.
        frame: (4,) the rectangle of the photograph that the input shows, (x0, y0, x1, y1) relative to the photograph.
        size: (height, width) of the photograph.
        canvas: (height, width) of the input.
    """

    map: np.ndarray
    stride: int
    offset: float
    frame: np.ndarray
    size: tuple[int, int]
    canvas: tuple[int, int]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Read the descriptors, (M, D) float32 of unit length, at places (M, 2) in pixels of the photograph."""
        corner, weights = self._corners(self._to_cells(points))
        cells = self.map.reshape(-1, self.map.shape[2])
        found = np.zeros((len(points), cells.shape[1]), np.float32)
        for step, weight in zip(self._steps(self.map.shape[1]), weights):
            found += cells[corner + step] * weight[:, None]
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    def similarity(self, descriptors: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Compare descriptors with those around a place each; see `Describe.similarity`.

        Only the cells are compared: between them the inner product is linear, and the length of the interpolated
        descriptor follows from the inner products of neighboring cells, which are computed once.
        """
        parts = [slice(k, k + _AT_ONCE) for k in range(0, len(places), _AT_ONCE)]
        found = [self._similarity(descriptors[part], places[part]) for part in parts]
        return np.concatenate(found) if found else np.zeros(places.shape[:2], np.float32)

    def _similarity(self, descriptors: np.ndarray, places: np.ndarray) -> np.ndarray:
        height, width, _ = self.map.shape
        number, many, _ = places.shape
        corner, weights = self._corners(self._to_cells(places.reshape(-1, 2)))
        # For each descriptor a square of cells that holds all of its places.
        row, column = np.divmod(corner.reshape(number, many), width)
        top, left = row.min(1, keepdims=True), column.min(1, keepdims=True)
        row, column = row - top, column - left
        side = int(max(row.max(), column.max())) + 2
        rows = np.minimum(top + np.arange(side), height - 1)
        columns = np.minimum(left + np.arange(side), width - 1)
        around = self.map[rows[:, :, None], columns[:, None, :]].reshape(number, side * side, -1)
        products = np.matmul(around.astype(np.float32), descriptors[:, :, None]).reshape(-1)

        first = np.arange(number)[:, None] * side**2 + row * side + column
        value = sum(products[first.ravel() + step] * weight for step, weight in zip(self._steps(side), weights))
        return (value / self._lengths(corner, weights)).reshape(number, many)

    def _lengths(self, corner: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
        a, b, c, d = weights
        terms = np.stack([a * a, b * b, c * c, d * d, a * b, c * d, a * c, b * d, a * d, b * c], axis=1)
        return np.sqrt(np.maximum(np.einsum("nk,nk->n", self._gram[corner], terms), 1e-24))

    @cached_property
    def _gram(self) -> np.ndarray:
        """Inner products of each cell, its right, its lower and its diagonal neighbor with each other, (h * w, 10)."""
        cells = self.map.astype(np.float32)

        def product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            values = np.zeros(cells.shape[:2], np.float32)
            np.einsum("ijd,ijd->ij", first, second, out=values[: first.shape[0], : first.shape[1]])
            return values

        squares, along, down = (
            product(cells, cells),
            product(cells[:, :-1], cells[:, 1:]),
            product(cells[:-1], cells[1:]),
        )
        falling, rising = product(cells[:-1, :-1], cells[1:, 1:]), product(cells[:-1, 1:], cells[1:, :-1])
        right, below = np.roll(squares, -1, 1), np.roll(squares, -1, 0)
        crossed = along, np.roll(along, -1, 0), down, np.roll(down, -1, 1), falling, rising
        gram = [squares, right, below, np.roll(right, -1, 0), *(2 * values for values in crossed)]
        return np.stack(gram, axis=-1).reshape(-1, 10)

    def _to_cells(self, points: np.ndarray) -> np.ndarray:
        """Bring places, (N, 2) in pixels of the photograph, to cells of the map, (x, y), within its outermost ones."""
        span, whole = np.array(self.size[::-1]), np.array(self.canvas[::-1])
        pixels = ((points + 0.5) / span - self.frame[:2]) / (self.frame[2:] - self.frame[:2]) * whole - 0.5
        return np.clip((pixels - self.offset) / self.stride, 0, np.array(self.map.shape[1::-1]) - 1)

    def _corners(self, at: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Give the cell to the upper left of places, (N,) flat, and the weights of the four cells around each."""
        height, width, _ = self.map.shape
        low = np.minimum(np.floor(at), np.maximum([width - 2, height - 2], 0))
        x, y = (at - low).astype(np.float32).T
        corner = low.astype(np.int64) @ [1, width]
        return corner, [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y]

    def _steps(self, width: int) -> tuple[int, int, int, int]:
        """Give the steps from a cell to the four around a place, in a flat array with rows of that width."""
        right, below = int(self.map.shape[1] > 1), width if self.map.shape[0] > 1 else 0
        return 0, right, below, right + below

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_gram"}


__all__ = ["DenseDescriptors"]
