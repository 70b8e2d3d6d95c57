"""What speaks for a rim: edges that lie along it, and colors that it parts."""

import cv2
import numpy as np


CELL = 3  # pixels between places that count as independent
_BINS = 12  # directions of edges, over half a turn
_LEVELS = 6  # of each channel, holding as many pixels each
LEAST_ARC = 0.15  # share of the circumference that has to be visible


class Edges:
    """Edges of a picture, whatever their polarity and color.

    Attributes:
        points: (N, 2) pixels.
        normals: (N, 2) of unit length.
        along: (bins, height, width) bool, True where an edge of about that direction lies within a pixel.
        chance: Share of that volume that is True.
    """

    def __init__(self, small: np.ndarray):
        small = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float32)
        dx = np.atleast_3d(cv2.Scharr(small, cv2.CV_32F, 1, 0))
        dy = np.atleast_3d(cv2.Scharr(small, cv2.CV_32F, 0, 1))
        xx, yy, xy = (dx * dx).sum(2), (dy * dy).sum(2), (dx * dy).sum(2)
        angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the normal: where the colors change most (Di Zenzo 1986)
        strength = np.sqrt((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy))
        normal = np.stack([np.cos(angle), np.sin(angle)], -1)
        y, x = np.mgrid[: strength.shape[0], : strength.shape[1]].astype(np.float32)
        usual = cv2.blur(strength, (25, 25), borderType=cv2.BORDER_REFLECT)
        edge = strength > np.maximum(usual, 16.0)
        for side in (-1, 1):
            place = x + side * normal[..., 0], y + side * normal[..., 1]
            edge &= strength >= cv2.remap(strength, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        edge[:2], edge[-2:], edge[:, :2], edge[:, -2:] = False, False, False, False
        rows, columns = np.nonzero(edge)
        self.points = np.stack([columns, rows], 1).astype(np.float64)
        self.normals = normal[rows, columns].astype(np.float64)
        bins = np.floor(angle[rows, columns] / np.pi * _BINS).astype(int)
        along = np.zeros((_BINS, *edge.shape), np.uint8)
        for near in (-1, 0, 1):
            along[(bins + near) % _BINS, rows, columns] = 1
        self.along = np.stack([cv2.dilate(layer, np.ones((3, 3), np.uint8)) for layer in along]) > 0
        self.chance = max(float(self.along.mean()), 0.02)

    def weigh(
        self, centers: np.ndarray, frames: np.ndarray, box: tuple[float, float, float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weigh the edges along ellipses, (N, 2) centers and (N, 2, 2) frames, where they are visible in a box.

        Returns:
            (N,) evidence, (N,) share of the visible rim that has an edge along it, (N,) share that is visible.
        """
        height, width = self.along.shape[1:]
        angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        unit = np.stack([np.cos(angles), np.sin(angles)], 1)
        outward = unit @ np.linalg.inv(frames)  # normals of the ellipse, up to their length
        bins = np.floor(np.mod(np.arctan2(outward[..., 1], outward[..., 0]), np.pi) / np.pi * _BINS).astype(int) % _BINS
        places = centers[:, None] + unit @ frames.transpose(0, 2, 1)
        x, y = np.rint(places).astype(np.int32).transpose(2, 0, 1)
        x0, y0, x1, y1 = box or (0, 0, width, height)
        seen = (x >= x0 + 2) & (x < x1 - 2) & (y >= y0 + 2) & (y < y1 - 2)
        hit = self.along[bins, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] & seen
        visible = seen.sum(1)
        share = hit.sum(1) / np.maximum(visible, 1)
        likely = np.clip(share, self.chance, 1 - 1e-6)
        gain = likely * np.log(likely / self.chance) + (1 - likely) * np.log((1 - likely) / (1 - self.chance))
        length = visible / len(angles) * 2 * np.pi * np.sqrt(np.abs(np.linalg.det(frames))) / CELL
        return np.where(visible > LEAST_ARC * len(angles), length * gain, 0), share, visible / len(angles)

    def share_at(self, points: np.ndarray, normals: np.ndarray) -> float:
        """Share of (N, 2) pixels with an edge that (N, 2) normals cross."""
        height, width = self.along.shape[1:]
        x, y = np.clip(np.rint(points).astype(int), 0, [width - 1, height - 1]).T
        angles = np.mod(np.arctan2(normals[:, 1], normals[:, 0]), np.pi)
        return float(self.along[np.floor(angles / np.pi * _BINS).astype(int) % _BINS, y, x].mean())

    def share_on_line(self, axis: int, position: float, inside: np.ndarray) -> float:
        """Share of an upright line that has an edge along it.

        Args:
            axis: 0 for a vertical line, at x; 1 for a horizontal one, at y.
            position: In pixel edges.
            inside: (height, width) bool, the part of the line that counts.
        """
        layer = self.along[0 if axis == 0 else _BINS // 2]
        if axis == 1:
            layer, inside = layer.T, inside.T
        near = np.clip(np.arange(round(position) - 4, round(position) + 4), 0, layer.shape[1] - 1)
        number = inside[:, near].sum(0)
        share = (layer[:, near] & inside[:, near]).sum(0) / np.maximum(number, 1)
        return float(share[number > 5].max(initial=0.0))


class Colors:
    """How well an ellipse parts the colors of a picture, in classes that hold about as many pixels each."""

    def __init__(self, small: np.ndarray):
        height, width = small.shape[:2]
        levels = _LEVELS if small.ndim == 3 else _LEVELS**2
        channels = np.atleast_3d(small).reshape(height * width, -1).T
        self._tables = [
            np.searchsorted(np.quantile(c[::7], np.arange(1, levels) / levels), np.arange(256)) for c in channels
        ]
        self._levels = levels
        picture = small[CELL // 2 :: CELL, CELL // 2 :: CELL]
        self.rows, self.columns = picture.shape[:2]
        y, x = np.mgrid[: self.rows, : self.columns] * CELL + CELL // 2
        self.points = np.stack([x, y], -1).reshape(-1, 2).astype(np.float64)
        self._code = self.classes(picture).ravel()
        self._used = np.unique(self._code)
        self._member = (self._code[:, None] == self._used).astype(np.float32)

    def classes(self, picture: np.ndarray) -> np.ndarray:
        """(height, width) class of each pixel of a picture with these colors."""
        code = np.zeros(picture.shape[:2], int)
        for channel, table in zip(np.atleast_3d(picture).transpose(2, 0, 1), self._tables):
            code = code * self._levels + table[channel]
        return code

    def parted(self, inside: np.ndarray) -> np.ndarray:
        """Evidence that the colors give for each of (N, places) ways to part the `points`, 1 inside and 0 outside."""
        inside = inside.astype(np.float32)
        return self._information(inside @ self._member)

    def _information(self, inner: np.ndarray) -> np.ndarray:
        """Evidence from the (N, classes) numbers of places inside."""
        both = np.stack([inner, self._member.sum(0) - inner]) / len(self.points)
        apart = both.sum(0) * both.sum(2, keepdims=True)
        return len(self.points) * 0.3 * (both * np.log(np.maximum(both, 1e-12) / np.maximum(apart, 1e-12))).sum((0, 2))

    def cut(self, inside: np.ndarray) -> tuple[int, int, int, int]:
        """Find the upright box that, cutting what is inside, parts the colors best.

        Args:
            inside: (places,) 1 inside.

        Returns:
            (x0, y0, x1, y1) in cells.
        """
        inside = inside.reshape(self.rows, self.columns).astype(np.float32)
        member = self._member.reshape(self.rows, self.columns, -1)
        box = [0, 0, self.columns, self.rows]
        for axis, (low, high) in ((0, (1, 3)), (1, (0, 2))):
            counts = np.einsum("yx,yxc->" + "yx"[axis] + "c", inside, member)
            sums = np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts, 0)])
            whole = self._information(sums[-1:])[0]
            used = np.flatnonzero(counts.any(1))
            if not len(used):
                continue
            middle = (used[0] + used[-1]) // 2
            first = self._information(sums[-1] - sums[used[0] : middle])
            last = self._information(sums[middle + 1 : used[-1] + 2])
            if first.max() > 1.02 * whole + 5:
                box[low] = int(used[0] + first.argmax())
            if last.max() > 1.02 * whole + 5:
                box[high] = int(middle + 1 + last.argmax())
            keep = np.zeros(inside.shape[axis], bool)
            keep[box[low] : box[high]] = True
            inside = inside * (keep[:, None] if axis == 0 else keep[None])
        return tuple(box)

    def ratio(self, reach: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
        """(classes,) log of how much more usual a class is just inside a rim than just outside of it.

        Args:
            reach: (places,) distance of the places from the center, 1 on the rim.
            box: (x0, y0, x1, y1) in pixel edges: beyond it is outside.
        """
        x0, y0, x1, y1 = box
        visible = (self.points > [x0 + 1, y0 + 1]).all(1) & (self.points < [x1 - 2, y1 - 2]).all(1)
        return self.log_ratio(
            self._code[(reach > 0.75) & (reach < 0.97) & visible], self._code[(reach > 1.03) & (reach < 1.25)]
        )

    def log_ratio(self, inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
        """(classes,) log of how much more usual a class is among some than among others."""
        number = self._levels ** len(self._tables)
        counts = [np.bincount(some, minlength=number) + 0.5 for some in (inner, outer)]
        return np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())

    def at_places(self, region: np.ndarray) -> np.ndarray:
        """(places,) what a (height, width) picture says at the `points`."""
        return region[CELL // 2 :: CELL, CELL // 2 :: CELL].ravel()


__all__ = ["CELL", "LEAST_ARC", "Colors", "Edges"]
