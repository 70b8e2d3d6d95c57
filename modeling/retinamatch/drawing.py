"""Pictures of a `Registration`: the two photographs laid over each other, as a checkerboard, and the matches drawn.

All functions take and return uint8 RGB arrays. Pictures to look at are reduced to at most `MAXIMUM_SIDE` pixels a side;
the aligned photograph itself (`Registration.warp`) keeps the full resolution of the fixed one.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from .estimation.dense_agreement import ALIKE, CELLS_ACROSS, DenseAgreement
from .keypoint_set import Keypoints
from .normalized_picture import NormalizedPicture
from .not_retina import is_gray
from .registration import Registration


MAXIMUM_SIDE = 2000
# Matches drawn at most, inliers and outliers each: more lines hide one another and the photographs.
MAXIMUM_LINES = 120
# Gray levels up to this count as the black surround.
DARK = 15
# Blue and orange stay apart for every kind of color vision (Okabe and Ito); line style and marks say the same again.
INLIER_COLOR = (86, 180, 233)
OUTLIER_COLOR = (230, 159, 0)
KEYPOINT_COLOR = (240, 240, 240)
#: From points of one photograph, (N, 2), to points of another one.
Map = Callable[[np.ndarray], np.ndarray]
# What `pictures` gives of a registered pair, in this order.
PICTURES = ("aligned", "overlay", "checkerboard", "difference", "matches")


def pictures(
    registration: Registration, moving: np.ndarray, fixed: np.ndarray, keypoints: bool = False
) -> Iterator[tuple[str, np.ndarray]]:
    """Draw all pictures of a result, one at a time: of large photographs, few should lie in memory together.

    Args:
        registration: The result.
        moving: (H, W, 3) the moving photograph.
        fixed: (H', W', 3) the fixed photograph.
        keypoints: Mark all keypoints in the picture of the matches.

    Yields:
        A name of `PICTURES` and the picture; the aligned photograph at the fixed one's resolution, the others to look
        at. The matches alone when the pair is not registered.
    """
    if registration:
        aligned = registration.warp(moving)
        yield "aligned", aligned
        yield "overlay", overlay(fixed, aligned)
        yield "checkerboard", checkerboard(fixed, aligned)
        yield "difference", difference(*flicker(fixed, aligned))
    yield "matches", draw_matches(moving, fixed, registration, keypoints=keypoints)


def overlay(fixed: np.ndarray, aligned: np.ndarray) -> np.ndarray:
    """Draw the fixed photograph in red and the aligned one in cyan: where vessels lie on each other, they are gray.

    Args:
        fixed: (H, W, 3) the fixed photograph.
        aligned: (H, W, 3) the moving photograph on its grid, black where it shows nothing.

    Raises:
        ValueError: The two differ in size.
    """
    fixed, aligned = _reduced_pair(fixed, aligned)
    red, cyan = _equalized_green(fixed), _equalized_green(aligned)
    return np.stack([red, cyan, cyan], axis=-1)


def difference(fixed: np.ndarray, aligned: np.ndarray) -> np.ndarray:
    """Draw aligned minus fixed where both show something: gray is equal, darker or brighter changed.

    Args:
        fixed: (H, W, 3) the fixed photograph.
        aligned: (H, W, 3) the moving photograph on its grid, black where it shows nothing.

    Returns:
        (h, w, 3) uint8, no side longer than `MAXIMUM_SIDE`; black where one of the two shows nothing.

    Raises:
        ValueError: The two differ in size.
    """
    fixed, aligned = _reduced_pair(fixed, aligned)
    both = _shows(fixed) & _shows(aligned)
    change = _equalized_green(aligned).astype(np.int16) - _equalized_green(fixed)
    gray = np.where(both, 128 + change // 2, 0).clip(0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1)


def checkerboard(fixed: np.ndarray, aligned: np.ndarray, tiles: int = 8) -> np.ndarray:
    """Draw the two photographs in turn on the tiles of a board: vessels run on across the edges where they agree.

    Args:
        fixed: (H, W, 3) the fixed photograph.
        aligned: (H, W, 3) the moving photograph on its grid; where it is black the fixed one shows through.
        tiles: Tiles along the longer side.

    Raises:
        ValueError: The two differ in size.
    """
    fixed, aligned = _reduced_pair(fixed, aligned)
    height, width = fixed.shape[:2]
    side = max(height, width) / tiles
    rows, columns = np.floor(np.arange(height) / side), np.floor(np.arange(width) / side)
    turn = (rows[:, None] + columns[None, :]) % 2 == 1
    # A little inside its rim, which the photograph's own optics darken.
    shown = cv2.erode(_shows(aligned).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return np.where((turn & shown)[..., None], _like(aligned, fixed), fixed)


def flicker(fixed: np.ndarray, aligned: np.ndarray) -> list[np.ndarray]:
    """Give the two frames of a flicker comparison, equally bright: shown in turn, what moved or changed jumps.

    Args:
        fixed: (H, W, 3) the fixed photograph.
        aligned: (H, W, 3) the moving photograph on its grid, black where it shows nothing.

    Returns:
        The fixed photograph and the aligned one, (h, w, 3) uint8 each, no side longer than `MAXIMUM_SIDE`.

    Raises:
        ValueError: The two differ in size.
    """
    fixed, aligned = _reduced_pair(fixed, aligned)
    return [fixed, _like(aligned, fixed)]


def draw_matches(
    moving: np.ndarray,
    fixed: np.ndarray,
    registration: Registration,
    maximum: int = MAXIMUM_LINES,
    keypoints: bool = False,
) -> np.ndarray:
    """Draw both photographs side by side with lines between matches.

    Inliers are solid blue lines between circles, outliers dashed orange lines between crosses. When there are more than
    `maximum` of either, a part that is spread evenly over the photograph is drawn and the caption says so.

    Args:
        moving: (H, W, 3) the moving photograph, drawn left.
        fixed: (H', W', 3) the fixed photograph, drawn right.
        registration: Their registration.
        maximum: Most lines of either kind.
        keypoints: Mark all keypoints with small squares, the matched ones too.
    """
    scale = min(1.0, MAXIMUM_SIDE / (moving.shape[1] + fixed.shape[1]), MAXIMUM_SIDE / max(len(moving), len(fixed)))
    left, right = _resized(moving, scale), _resized(fixed, scale)
    unit = max(1, round((left.shape[1] + right.shape[1]) / 1000))
    caption = 28 * unit
    canvas = np.zeros((max(len(left), len(right)) + caption, left.shape[1] + right.shape[1], 3), np.uint8)
    canvas[: len(left), : left.shape[1]] = left
    canvas[: len(right), left.shape[1] :] = right

    if keypoints:
        found = _resized_points(registration.moving_keypoints.points, left, moving)
        _draw_squares(canvas, found, unit)
        found = _resized_points(registration.fixed_keypoints.points, right, fixed) + (left.shape[1], 0)
        _draw_squares(canvas, found, unit)
    starts = _resized_points(registration.moving_points, left, moving)
    ends = _resized_points(registration.fixed_points, right, fixed) + (left.shape[1], 0)
    counts = []
    for drawn, word in ((~registration.inliers, "outliers"), (registration.inliers, "inliers")):  # inliers on top
        chosen = np.flatnonzero(drawn)
        kept = chosen[_spread(starts[chosen], maximum)]
        for start, end in zip(starts[kept], ends[kept]):
            (_draw_inlier if word == "inliers" else _draw_outlier)(canvas, start, end, unit)
        of_all = f" ({len(kept)} drawn)" if len(kept) < len(chosen) else ""
        counts.append(f"{len(chosen)} {word}{of_all}")
    _draw_caption(canvas, caption, unit, *reversed(counts))
    return canvas


def draw_heatmap(photo: np.ndarray, keypoints: Keypoints) -> np.ndarray:
    """Draw where the network sees keypoints: the photograph in dark gray, the heat map over it, brighter is surer.

    Args:
        photo: (H, W, 3) the photograph.
        keypoints: Of the photograph, with the heat map (h, w).

    Returns:
        (h, w, 3), the part of the photograph that the network was shown.

    Raises:
        ValueError: The heat map was not kept, or there is none.
    """
    if keypoints.heatmap is None:
        raise ValueError("These keypoints carry no heat map: the extractor has none, or did not keep it.")
    height, width = keypoints.heatmap.shape
    step = keypoints.scale
    x, y = keypoints.middle - step * (np.array([width, height]) - 1) / 2  # where the input's first pixel lies
    back = np.array([[step, 0, x], [0, step, y]])
    # Smoothed first: one pixel of the input stands for `step` of the photograph.
    smooth = cv2.blur(photo[..., 1], (max(1, round(step)),) * 2)
    gray = cv2.warpAffine(smooth, back, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    # The root shows the faint ones as well.
    strength = np.sqrt(np.clip(keypoints.heatmap.astype(np.float32), 0, 1))[..., None]
    heat = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return ((1 - strength) * (0.5 * gray[..., None]) + strength * heat).astype(np.uint8)


def draw_agreement(
    fixed: np.ndarray, agreement: DenseAgreement, moving: NormalizedPicture, to_fixed: Map
) -> np.ndarray:
    """Draw where two photographs look alike: the fixed one in gray with the cells that were compared on it.

    Cells that look alike are framed blue, the more alike the brighter; those that do not have an orange cross. Cells
    without a frame were not compared: one photograph does not show them, or nothing is there to compare.

    Args:
        fixed: (H, W, 3) the fixed photograph.
        agreement: How alike the cells of the moving picture are.
        moving: The moving picture.
        to_fixed: From pixels of the moving photograph, (N, 2), to pixels of the fixed one.
    """
    scale = min(1.0, MAXIMUM_SIDE / max(fixed.shape[:2]))
    canvas = np.repeat(_resized(fixed, scale)[..., 1:2], 3, axis=-1) // 2
    unit = max(1, round(canvas.shape[1] / 700))
    sign = 1 if agreement.share >= agreement.reversed_share else -1
    side = max(moving.values.shape[1] // CELLS_ACROSS, 1)
    cells = np.argwhere(np.isfinite(agreement.correlation))
    # A little inside, so that neighbors do not hide each other.
    inside = np.array([(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)])
    corners = (inside + cells[:, None, ::-1]).reshape(-1, 2) * side - 0.5
    boxes = _resized_points(to_fixed(moving.to_photograph(corners)), canvas, fixed).reshape(-1, 4, 2)
    for (row, column), box in zip(cells, boxes):
        if not (np.isfinite(box).all() and np.abs(box).max() < 1e5):
            continue
        alike = sign * agreement.correlation[row, column]
        if alike > ALIKE:
            color = tuple(round(part * (0.4 + 0.6 * float(alike))) for part in INLIER_COLOR)
            cv2.polylines(canvas, [box.round().astype(np.int32)], True, color, 2 * unit, cv2.LINE_AA)
        else:
            for start, end in ((0, 2), (1, 3)):
                near = box.mean(0) + 0.4 * (box[[start, end]] - box.mean(0))
                cv2.line(canvas, _pixel(near[0]), _pixel(near[1]), OUTLIER_COLOR, unit, cv2.LINE_AA)
    return canvas


def beside(pictures: list[np.ndarray], gap: int = 8) -> np.ndarray:
    """Put pictures side by side, the higher ones reduced to the height of the lowest, with dark gaps between them."""
    height = min(len(picture) for picture in pictures)
    parts = []
    for picture in pictures:
        parts += [_resized(picture, height / len(picture))[:height], np.zeros((height, gap, 3), np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def _draw_squares(canvas: np.ndarray, points: np.ndarray, unit: int) -> None:
    for x, y in points.round().astype(int):
        cv2.rectangle(canvas, (x - unit, y - unit), (x + unit, y + unit), KEYPOINT_COLOR, unit)


def _draw_inlier(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, unit: int) -> None:
    cv2.line(canvas, _pixel(start), _pixel(end), INLIER_COLOR, unit, cv2.LINE_AA)
    for point in (start, end):
        cv2.circle(canvas, _pixel(point), 4 * unit, INLIER_COLOR, unit, cv2.LINE_AA)


def _draw_outlier(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, unit: int) -> None:
    length = np.linalg.norm(end - start)
    dashes = max(1, int(length / (16 * unit)))
    for first in np.arange(dashes) / dashes:
        here, there = start + first * (end - start), start + (first + 0.5 / dashes) * (end - start)
        cv2.line(canvas, _pixel(here), _pixel(there), OUTLIER_COLOR, unit, cv2.LINE_AA)
    for point in (start, end):
        cv2.drawMarker(canvas, _pixel(point), OUTLIER_COLOR, cv2.MARKER_TILTED_CROSS, 8 * unit, unit, cv2.LINE_AA)


def _draw_caption(canvas: np.ndarray, height: int, unit: int, inliers: str, outliers: str) -> None:
    """Write the legend into the strip below the photographs, each kind beside a sample of its line."""
    y = len(canvas) - height / 2
    x = 12.0 * unit
    for text, draw in ((inliers, _draw_inlier), (outliers, _draw_outlier)):
        draw(canvas, np.array([x, y]), np.array([x + 48 * unit, y]), unit)
        x += 62 * unit
        place = (round(x), round(y + 5 * unit))
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * unit, (255, 255, 255), unit, cv2.LINE_AA)
        x += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * unit, unit)[0][0] + 30 * unit


def _spread(points: np.ndarray, maximum: int) -> np.ndarray:
    """Choose at most `maximum` points that lie far from one another, always the same ones; returns indices."""
    if len(points) <= maximum:
        return np.arange(len(points))
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < maximum:  # farthest point next (Gonzalez 1985)
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


def _reduced_pair(fixed: np.ndarray, aligned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if fixed.shape != aligned.shape:
        raise ValueError(
            f"The fixed and the aligned photograph must have one shape, got {fixed.shape}, {aligned.shape}."
        )
    scale = min(1.0, MAXIMUM_SIDE / max(fixed.shape[:2]))
    return _resized(fixed, scale), _resized(aligned, scale)


def _resized(photo: np.ndarray, scale: float) -> np.ndarray:
    if scale >= 1:
        return photo
    height, width = (max(1, round(side * scale)) for side in photo.shape[:2])
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)


def _resized_points(points: np.ndarray, resized: np.ndarray, photo: np.ndarray) -> np.ndarray:
    ratio = np.array([resized.shape[1] / photo.shape[1], resized.shape[0] / photo.shape[0]])
    return (points + 0.5) * ratio - 0.5


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _shows(photo: np.ndarray) -> np.ndarray:
    """Say where a photograph shows something, (H, W): the surround of a stored photograph is dark, not quite black."""
    return photo.max(-1) > DARK


def _equalized_green(photo: np.ndarray) -> np.ndarray:
    """Enhance the local contrast of the green channel, black where the photograph is black."""
    green = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(np.ascontiguousarray(photo[..., 1]))
    return np.where(_shows(photo), green, 0).astype(np.uint8)


def _like(photo: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Give a photograph the mean and spread of another one over the area that both show, per channel if in color."""
    both = _shows(photo) & _shows(reference)
    if not both.any():
        return photo
    own, wanted = photo[both].astype(np.float32), reference[both].astype(np.float32)
    # An angiogram stays gray, and the photograph beside it in color.
    if is_gray(photo[::8, ::8]) or is_gray(reference[::8, ::8]):
        own, wanted = own.mean(1, keepdims=True), wanted.mean(1, keepdims=True)
    gain = wanted.std(0) / np.maximum(own.std(0), 1.0)
    changed = (photo - own.mean(0)) * gain + wanted.mean(0)
    return np.where(_shows(photo)[..., None], changed.clip(0, 255), 0).astype(np.uint8)


__all__ = [
    "MAXIMUM_SIDE",
    "PICTURES",
    "beside",
    "checkerboard",
    "difference",
    "draw_agreement",
    "draw_heatmap",
    "draw_matches",
    "flicker",
    "overlay",
    "pictures",
]
