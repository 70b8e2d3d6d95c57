"""What is not retina in a field of view: writing, marks, rulers and logos; and pictures that show no retina at all."""

import cv2
import numpy as np


_BACKGROUND = 128  # pixels of the longer side of the copy whose local median tells what lies behind a mark
_WINDOW = 5  # pixels of it; strokes are thinner than half of that
_RIM = 0.03  # of the field's shorter side: nearer to its edge the surround shines in
_LEAST_DEVIATION = 28.0  # gray levels
_BLACK = 0.7  # of the red behind it, and at least 16 gray levels: pigment and scars of laser are not as dark
# In a picture without color only what is as black or as white as these gray levels, and three quarters darker than what
# lies behind it or brighter by `_WHITE`: vessels are dark too, or bright in an angiogram.
_GRAY_LETTERS = 10, 240
_WHITE = 65.0  # gray levels by which green and blue pass the background: more than thin reflexes do
_YELLOW = 70.0  # gray levels by which green alone does: more than exudates do
_MOST = 0.3  # of the field; more is a picture in other colors, and none of it is left out
_LEAST_PIXELS = 6  # of one mark on the small copy
_SMALL_HOLE = 0.002  # of the small copy: inside of a letter
_SAME_COLOR = 40.0  # gray levels between the inside of a filled mark and its outline
# Vessels, hemorrhages, exudates, reflexes and the optic disc change all channels in one direction: red and blue change
# at most by these multiples of what green does.
_REACH = {0: (-0.2, 1.3), 2: (-0.2, 1.15)}
_LEAST_RANGE = 3.0  # gray levels between the 2nd and the 98th percentile
_LEAST_LIKENESS = 0.7  # correlation of neighbors on a copy of 256 pixels; photographs have .88 and more
# Where thin dark lines cross a photograph, such as lashes, neighbors are less alike; a median takes lines away and
# leaves noise without any likeness at these distances: .03 at most, photographs with lashes have .43 and more.
_LINES, _DISTANCES, _LEAST_PERSISTENCE = 5, (4, 6), 0.3
_LEAST_WITHIN = 0.12  # fraction of the variance that two gray levels leave; photographs have .22 and more


def is_gray(pixels: np.ndarray) -> bool:
    """Say whether pixels of a photograph, (..., 3) uint8, all or some, have no color, such as an angiogram's."""
    return bool(np.ptp(pixels, axis=-1).mean() < 2)  # gray levels between the channels


def find_marks(picture: np.ndarray, inside: np.ndarray) -> np.ndarray | None:
    """Find writing, marks, rulers and logos that are burnt into a photograph, by colors that no retina has.

    Args:
        picture: (height, width, 3) uint8 RGB, the small copy; in a gray one only what is far brighter or darker than
            what lies behind it is told from vessels, in one of two dimensions nothing.
        inside: (height, width) bool, the field of view.

    Returns:
        (height, width) bool, True on marks and a margin around them; None when there are none, or when they would
        cover much of the field: pictures in other colors than a retina's, such as noise.
    """
    if picture.ndim == 2:
        return None
    height, width = inside.shape
    scale = min(1.0, _BACKGROUND / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    behind = cv2.medianBlur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), _WINDOW)
    behind = cv2.resize(behind, (width, height), interpolation=cv2.INTER_LINEAR)
    apart = cv2.absdiff(picture, behind)
    far = cv2.max(cv2.extractChannel(apart, 0), cv2.extractChannel(apart, 2)) > 16
    rows, columns = np.nonzero(far & inside)
    if len(rows) < _LEAST_PIXELS:
        return None
    change = picture[rows, columns].astype(np.float32) - behind[rows, columns]
    beyond = np.minimum(change[:, 1], change[:, 2]) > _WHITE
    if is_gray(picture[inside]):  # of one channel, or a dye: vessels are dark in all of them
        level = picture[rows, columns, 0]
        black = (level < _GRAY_LETTERS[0]) & (change[:, 0] < -np.maximum(16, 0.75 * behind[rows, columns, 0]))
        beyond = black | (beyond & (level > _GRAY_LETTERS[1]))
    else:
        for channel, reach in _REACH.items():
            ends = change[:, 1:2] * np.array(reach, np.float32)
            beyond |= change[:, channel] > ends.max(1) + _LEAST_DEVIATION
            beyond |= change[:, channel] < ends.min(1) - np.where(change[:, 1] < 0, 255.0, _LEAST_DEVIATION)
        beyond |= (change[:, 0] < -16) & (change[:, 0] < (_BLACK - 1) * behind[rows, columns, 0])
        beyond |= (change[:, 1] > _YELLOW) & (change[:, 2] < 0.1 * change[:, 1])
    marked = np.zeros((height, width), bool)
    marked[rows[beyond], columns[beyond]] = True
    edge = max(3, round(_RIM * np.sqrt(inside.sum())))
    core = cv2.erode(np.pad(inside.astype(np.uint8), 1), np.ones((2 * edge + 1,) * 2, np.uint8))[1:-1, 1:-1]
    marked = (marked & (core > 0)).astype(np.uint8)
    if np.count_nonzero(marked) < _LEAST_PIXELS:
        return None
    joined = cv2.morphologyEx(marked, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    pixels = np.bincount(labels.ravel(), weights=marked.ravel(), minlength=count)
    keep = pixels >= _LEAST_PIXELS
    keep[0] = False
    if not keep.any():
        return None
    marks = cv2.dilate(_filled(keep[labels], marked, picture), np.ones((7, 7), np.uint8)) > 0
    return marks if np.count_nonzero(marks & inside) < _MOST * np.count_nonzero(inside) else None


def _filled(marks: np.ndarray, strokes: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Fill the holes of marks, (H, W) uint8: small ones, as of letters, and those of the marks' own color.

    Of a box or a logo only the outline stands out from what lies around it. Retina inside of a ring stays.
    """
    count, parts = cv2.connectedComponents((marks == 0).astype(np.uint8), connectivity=4)
    outside = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    pixels = np.bincount(parts.ravel(), minlength=count)
    hole = np.ones(count, bool)
    hole[0] = hole[outside] = False
    fill = hole & (pixels < _SMALL_HOLE * marks.size)
    for number in np.flatnonzero(hole & ~fill):
        inside = parts == number
        outline = (cv2.dilate(inside.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) & (strokes > 0)
        if outline.any():
            apart = np.median(picture[inside], axis=0) - np.median(picture[outline], axis=0)
            fill[number] = np.abs(apart).max() < _SAME_COLOR
    return (fill[parts] | (marks > 0)).astype(np.uint8)


def why_no_retina(picture: np.ndarray, inside: np.ndarray) -> str:
    """Say in words why a picture evidently shows no retina, or nothing when it may show one.

    Args:
        picture: (height, width, 3) uint8 RGB, or (height, width) gray, the small copy.
        inside: (height, width) bool, the field of view.

    Returns:
        What it shows instead, in words, or "".
    """
    height, width = inside.shape
    scale = min(1.0, 256 / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    gray = cv2.extractChannel(picture, 1) if picture.ndim == 3 else picture
    gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    count = np.bincount(gray[inside], minlength=256)
    total = count.sum()
    if total < 100:
        return "its field of view is too small"
    share, levels = np.cumsum(count) / total, np.arange(256.0)
    if np.searchsorted(share, 0.98) - np.searchsorted(share, 0.02) < _LEAST_RANGE:
        return "it is uniform"
    mean = (count * levels).sum() / total
    variance = (count * (levels - mean) ** 2).sum() / total
    if _likeness(gray, inside, 1) < _LEAST_LIKENESS:
        without_lines = cv2.medianBlur(gray, _LINES)
        if min(_likeness(without_lines, inside, distance) for distance in _DISTANCES) < _LEAST_PERSISTENCE:
            return "it shows noise or a fine pattern"
    parted = (share > 0) & (share < 1)
    moment = np.cumsum(count * (levels - mean))[parted] / total
    if (moment**2 / (share * (1 - share))[parted]).max() > (1 - _LEAST_WITHIN) * variance:  # Otsu 1979
        return "it has two gray levels only, like a drawing or a page"
    return ""


def _likeness(gray: np.ndarray, inside: np.ndarray, distance: int) -> float:
    """Give the correlation of pixels that lie so far apart, along rows or columns, whichever is less."""
    rest = np.where(inside, gray - gray[inside].mean(dtype=np.float32), 0)
    total, power = np.count_nonzero(inside), np.square(rest).sum()
    alike = []
    for flat, member in ((rest, inside), (rest.T, inside.T)):
        both = np.count_nonzero(member[distance:] & member[:-distance])
        alike.append((flat[distance:] * flat[:-distance]).sum() / max(both, 1))
    return float(min(alike) * total / max(power, 1e-9))


__all__ = ["find_marks", "is_gray", "why_no_retina"]
