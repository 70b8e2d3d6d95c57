"""Photograph -> the network's input: a canvas of fixed size that shows the field of view, enhanced.

The canvas shows the field of view, its aspect ratio kept, in the middle of zeros. Its frame tells which rectangle of
the photograph it covers, so every place on it has an exact place in the photograph. A coordinate is relative when the
photograph spans 0 to 1 from edge to edge: pixel `px` lies at `(px + 0.5) / width`.
"""

from typing import Any

import cv2
import numpy as np
from PIL import Image

from .field_of_view import FieldOfView
from .local_normalization import normalize_locally


#: The working size: this many pixels across the field of view, on the canvas and in all lengths of matching.
WORKING_SIZE = 768
_MARGIN = 0.005  # of the field of view's longer side, kept around it, so that its rim is on the canvas


def canvas(
    photo: np.ndarray, field_of_view: FieldOfView | None = None, size: tuple[int, int] = (WORKING_SIZE, WORKING_SIZE)
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float, float]]:
    """Show the field of view on a canvas of fixed size: crop, antialiased resize with the aspect ratio kept, pad.

    Args:
        photo: (H, W, 3) uint8 RGB or (H, W) uint8 gray.
        field_of_view: Where the retina lies; None shows the whole photograph.
        size: (height, width) of the canvas.

    Returns:
        Three things: the canvas, zeros beyond the crop, (height, width, 3) uint8 for RGB or (height, width) float32 in
        gray levels, not rounded, for gray; the mask, (height, width) bool, True inside the field of view; the frame
        (x0, y0, x1, y1), the rectangle that the whole canvas covers, relative to the photograph (it passes 0 and 1
        where the canvas is padded).
    """
    field_of_view = field_of_view or _whole_picture(photo)
    content, frame = _crop_and_resize(photo, _crop_box(field_of_view), size)
    pixels, frame = _pad(content, frame, size)
    return pixels, field_of_view.mask(frame, size), frame


def _whole_picture(photo: np.ndarray) -> FieldOfView:
    height, width = photo.shape[:2]
    return FieldOfView(width, height, None, None, (0.0, 0.0, float(width), float(height)), False)


def _crop_box(field_of_view: FieldOfView) -> tuple[float, float, float, float]:
    """Rectangle of the photograph to show, in pixel edges: the field of view with a little around it."""
    x0, y0, x1, y1 = field_of_view.box
    margin = _MARGIN * max(x1 - x0, y1 - y0)
    return (
        max(x0 - margin, 0.0),
        max(y0 - margin, 0.0),
        min(x1 + margin, float(field_of_view.width)),
        min(y1 + margin, float(field_of_view.height)),
    )


def _crop_and_resize(
    photo: np.ndarray,
    box: tuple[float, float, float, float],
    size: tuple[int, int] | None,
    resample: int = Image.Resampling.BILINEAR,
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Resample a rectangle of the photograph so that it fits into `size` (None: keep its pixels as they are).

    Returns:
        The pixels (RGB uint8, gray float32), and the rectangle they cover relative to the photograph. The scale is
        exactly the same in x and y: what does not fill the last pixel of the result is cut off evenly on both sides.
    """
    x0, y0, x1, y1 = box
    if size is None:
        x0, y0, x1, y1 = int(np.floor(x0)), int(np.floor(y0)), int(np.ceil(x1)), int(np.ceil(y1))
        content = photo[y0:y1, x0:x1].astype(np.float32 if photo.ndim == 2 else np.uint8)
    else:
        height, width = size
        scale = min(width / (x1 - x0), height / (y1 - y0))
        columns = max(1, min(width, int((x1 - x0) * scale + 1e-6)))
        rows = max(1, min(height, int((y1 - y0) * scale + 1e-6)))
        cut_x, cut_y = max(0.0, (x1 - x0 - columns / scale) / 2), max(0.0, (y1 - y0 - rows / scale) / 2)
        x0, y0, x1, y1 = x0 + cut_x, y0 + cut_y, x1 - cut_x, y1 - cut_y
        left, top = int(x0), int(y0)
        part = Image.fromarray(photo[top : int(np.ceil(y1)), left : int(np.ceil(x1))])
        # Averages of many pixels of a dark photograph differ by less than one gray level: gray is not rounded.
        part = part.convert("F") if photo.ndim == 2 else part
        inner = (x0 - left, y0 - top, x1 - left, y1 - top)
        content = np.asarray(part.resize((columns, rows), resample, inner, reducing_gap=2.0))
    height, width = photo.shape[:2]
    return content, (x0 / width, y0 / height, x1 / width, y1 / height)


def _pad(
    content: np.ndarray, frame: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Put pixels into the middle of zeros of the given size and extend their frame accordingly."""
    (rows, columns), (height, width) = content.shape[:2], size
    if rows > height or columns > width:
        raise ValueError(f"An image of {rows} x {columns} pixels (height x width) does not fit on {height} x {width}.")
    top, left = (height - rows) // 2, (width - columns) // 2
    pixels = np.zeros((height, width, *content.shape[2:]), content.dtype)
    pixels[top : top + rows, left : left + columns] = content
    x0, y0, x1, y1 = frame
    step_x, step_y = (x1 - x0) / columns, (y1 - y0) / rows
    x0, y0 = x0 - left * step_x, y0 - top * step_y
    return pixels, (x0, y0, x0 + width * step_x, y0 + height * step_y)


def crop_gray(
    photo: np.ndarray,
    field_of_view: FieldOfView,
    size: tuple[int, int] | None,
    *,
    do_crop_field_of_view: bool = True,
    do_green_channel: bool = True,
    resample: int = Image.Resampling.BILINEAR,
    **unused: Any,
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Take the gray levels that a network sees out of a photograph, in the size that they have on the canvas.

    Args:
        photo: (H, W, 3) uint8 RGB.
        field_of_view: Where the retina lies.
        size: (height, width) of the canvas; None keeps the pixels as they are.
        do_crop_field_of_view: Show the field of view only; else the whole photograph.
        do_green_channel: Take the green channel; else the luminance.
        resample: Filter of PIL.
        **unused: Options of the other steps.

    Returns:
        (h, w) float32 gray levels, and the rectangle they cover relative to the photograph.
    """
    box = _crop_box(field_of_view if do_crop_field_of_view else _whole_picture(photo))
    gray = cv2.extractChannel(photo, 1) if do_green_channel else cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    return _crop_and_resize(gray, box, size, resample)


def place(
    content: np.ndarray,
    frame: tuple[float, float, float, float],
    field_of_view: FieldOfView,
    size: tuple[int, int],
    **options: Any,
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float, float]]:
    """Put gray levels into the middle of the canvas and enhance them.

    Args:
        content: (h, w) gray levels, from `crop_gray`.
        frame: The rectangle they cover.
        field_of_view: Where the retina lies.
        size: (height, width) of the canvas.
        **options: Of `_enhance`.

    Returns:
        (height, width) float32, what the network takes; (height, width) bool, inside the field of view; the rectangle
        that the canvas covers, relative to the photograph.
    """
    pixels, frame = _pad(content, frame, size)
    mask = field_of_view.mask(frame, size)
    return _enhance(pixels, mask, **options), mask, frame


def _enhance(
    gray: np.ndarray,
    mask: np.ndarray,
    *,
    do_min_max: bool,
    do_clahe: bool,
    clahe_clip_limit: float,
    clahe_grid_size: int,
    do_gamma: bool,
    gamma: float,
    do_local_normalize: bool,
    local_normalize_sigma: float,
    local_normalize_epsilon: float,
    do_rescale: bool,
    rescale_factor: float,
    **unused: Any,
) -> np.ndarray:
    """Turn (H, W) gray levels 0 to 255 into (H, W) float32 input of the network, zero outside the mask."""
    image: np.ndarray = np.where(mask, gray, 0).astype(np.float32)
    if do_min_max and mask.any():
        low, high = image[mask].min(), image[mask].max()
        image = (image - low) * (255 / max(high - low, 1))
    if do_clahe:
        tiles = cv2.createCLAHE(clahe_clip_limit, (clahe_grid_size, clahe_grid_size))
        image = tiles.apply(np.clip(np.rint(image), 0, 255).astype(np.uint8)).astype(np.float32)
    if do_gamma:
        image = 255 * (np.clip(image, 0, 255) / 255) ** (1 / gamma)
    if do_local_normalize:
        return normalize_locally(image, mask, local_normalize_sigma, local_normalize_epsilon)
    if do_rescale:
        image = image * rescale_factor
    return np.where(mask, image, 0).astype(np.float32)


__all__ = ["WORKING_SIZE", "canvas", "crop_gray", "place"]
