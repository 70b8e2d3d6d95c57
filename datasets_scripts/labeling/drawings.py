"""Small vessel maps made of lines, whose keypoints are known: each a case that a label maker can get wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..keypoint_types import BIFURCATION, CROSSING


SIDE, MIDDLE = 300, 150.0


@dataclass
class Drawing:
    """One vessel map with its answer.

    Attributes:
        case: What it shows.
        vessels: bool (H, W), in the scale of a field of view 565 pixels wide.
        points: (N, 2) keypoints in pixels.
        types: (N,) int8.
    """

    case: str
    vessels: np.ndarray
    points: np.ndarray
    types: np.ndarray


def draw_lines(lines: Sequence[Sequence], width: float = 5, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Draw lines through sub-pixel points: a pixel is vessel when its center is within half a width of the line.

    Args:
        lines: Each a sequence of points (x, y), which may end with a number: a width of its own.
        width: Of all other lines, in pixels.
        size: Height and width of the map.

    Returns:
        bool (H, W).
    """
    y, x = np.mgrid[: size[0], : size[1]]
    canvas = np.zeros(size, dtype=bool)
    for line in lines:
        *points, thickness = line if np.isscalar(line[-1]) else (*line, width)
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
            along = np.clip(along, 0, 1)
            canvas |= np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)) <= thickness / 2
    return canvas


def away_from_disc(vessels: np.ndarray) -> np.ndarray:
    """Add one thick vessel in a far corner, so that the place taken for the optic disc is not under test."""
    large = np.zeros((vessels.shape[0] + 100, vessels.shape[1] + 100), dtype=bool)
    large[: vessels.shape[0], : vessels.shape[1]] = vessels
    large[-60:-8, -40:-20] = True
    return large


def rotated(points: Sequence[tuple[float, float]], angle: float) -> list[tuple[float, float]]:
    """Rotate points by `angle` degrees around the middle."""
    radians = np.radians(angle)
    matrix = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    return [tuple(matrix @ (np.array(point) - MIDDLE) + MIDDLE) for point in points]


def arms(angles: Sequence[float], length: float = 100.0) -> list[list[tuple[float, float]]]:
    """Give lines from the middle outwards at the given angles in degrees."""
    return [[(MIDDLE, MIDDLE), *rotated([(MIDDLE + length, MIDDLE)], angle)] for angle in angles]


def circle(radius: float = 40.0) -> list[tuple[float, float]]:
    """Give a closed line around the middle."""
    return [(MIDDLE + radius * np.cos(a), MIDDLE + radius * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 61)]


ANGLES = (0, 17, 45, 73)
CENTER = [(MIDDLE, MIDDLE)]


def _forks() -> Iterator[tuple]:
    for turn in ANGLES:
        for width in (2, 4, 7, 11):
            for spread in (50, 80, 120):
                lines = arms([180 + turn, spread / 2 + turn, -spread / 2 + turn])
                yield "Y", draw_lines(lines, width), CENTER, [BIFURCATION]
            yield "T", draw_lines(arms([turn, 90 + turn, 180 + turn]), width), CENTER, [BIFURCATION]
        for angle in (25, 45):
            lines = [*arms([180 + turn, turn]), arms([angle + turn])[0]]
            lines = [[*line, width] for line, width in zip(lines, (9, 9, 2))]
            yield f"thin branch of a thick vessel at {angle} degrees", draw_lines(lines), CENTER, [BIFURCATION]
        forward = [[(150, 30), (150, 270)], [(150, 140), (70, 220)], [(150, 156), (230, 236)]]
        points = rotated([(150, 140), (150, 156)], turn)
        yield (
            "branches on both sides",
            draw_lines([rotated(line, turn) for line in forward]),
            points,
            [BIFURCATION] * 2,
        )


def _crossings() -> Iterator[tuple]:
    for turn in ANGLES:
        for width in (2, 5, 9):
            for angle in (30, 55, 90):
                lines = arms([turn, 180 + turn, angle + turn, 180 + angle + turn])
                yield f"X at {angle} degrees", draw_lines(lines, width), CENTER, [CROSSING]
        thick, thin = [*rotated([(150, 40), (150, 260)], turn), 11], [*rotated([(40, 120), (260, 180)], turn), 3]
        yield "thin vessel over a thick one", draw_lines([thick, thin]), CENTER, [CROSSING]
        # The thin vessel goes under the thick one and comes out a vessel's width further on.
        shifted = [[(40, 144), (150, 144)], [(150, 156), (260, 156)]]
        lines = [thick, *([*rotated(line, turn), 4] for line in shifted)]
        yield "crossing with a wide bridge", draw_lines(lines), CENTER, [CROSSING]
        bent = [(60, 80), (150, 150), (260, 140)]
        yield "crossing of a bent vessel", draw_lines([thick, [*rotated(bent, turn), 3]]), CENTER, [CROSSING]


def _pairs() -> Iterator[tuple]:
    for turn in ANGLES:
        for width in (3, 5):
            lines = [rotated([(40, y), (260, y)], turn) for y in (150, 150 + width + 3)]
            yield "parallel vessels", draw_lines(lines, width), [], []
        for side in (1, -1):
            bows = [[(40, 110), (110, 147), (190, 147), (260, 110)], [(40, 190), (110, 153), (190, 153), (260, 190)]]
            yield "vessels that touch and part", draw_lines([rotated(b, turn * side) for b in bows], 6), [], []
        loop = [rotated(line, turn) for line in (circle(), [(40, 150), (110, 150)], [(190, 150), (260, 150)])]
        yield "loop", draw_lines(loop), rotated([(110, 150), (190, 150)], turn), [BIFURCATION] * 2
        shared = [[(100, 150), (200, 150)]] + [
            [(x, 150), (x + sign * 70, 150 + side * 50)] for x, sign in ((100, -1), (200, 1)) for side in (-1, 1)
        ]
        lines = [rotated(line, turn) for line in shared]
        yield "reunion", draw_lines(lines), rotated([(100, 150), (200, 150)], turn), [BIFURCATION] * 2


def _flaws() -> Iterator[tuple]:
    for turn in ANGLES:
        wide = [*rotated([(40, 150), (260, 150)], turn), 9]
        for length in (2, 5):
            spur = [*rotated([(150, 150), (150, 155 + length)], turn), 7]
            yield "spur", draw_lines([wide, spur]), [], []
        branch = [*rotated([(150, 150), (150, 162)], turn), 2]
        narrow = [*rotated([(40, 150), (260, 150)], turn), 3]
        yield "short thin branch", draw_lines([narrow, branch]), CENTER, [BIFURCATION]
        holed = draw_lines([wide])
        column, row = np.round(rotated([(200, 150)], turn)[0]).astype(int)
        holed[row - 1 : row + 2, column - 1 : column + 1] = False
        yield "pinhole", holed, [], []
        yield "ring", draw_lines([circle(30 + turn / 3)]), [], []
    for seed in range(4):
        rough = draw_lines([[(20, 150), (280, 170), 9]])
        chosen = np.random.default_rng(seed).choice(int(rough.sum()), 120, replace=False)
        for row, column in np.argwhere(rough)[chosen]:
            rough[row - 1 : row + 2, column - 1 : column + 2] = True
        yield "rough walls", rough, [], []


def drawings() -> Iterator[Drawing]:
    """Give all drawings, a few of each case: rotated, wider and narrower."""
    for cases in (_forks, _crossings, _pairs, _flaws):
        for case, vessels, points, types in cases():
            points = np.array(points, dtype=np.float64).reshape(-1, 2)
            yield Drawing(case, away_from_disc(vessels), points, np.array(types, dtype=np.int8))


__all__ = ["Drawing", "arms", "away_from_disc", "circle", "draw_lines", "drawings", "rotated"]
