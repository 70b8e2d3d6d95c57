"""The square canvas that all photographs share: the field of view, cropped and scaled, with its keypoints."""

import numpy as np

from retinamatch.canvas import canvas
from retinamatch.field_of_view import FieldOfView


# Nearer to the rim than this, in pixels of a field of view 565 wide, a vessel's end and a junction look alike.
RIM_MARGIN = 4.0


def on_canvas(photo: np.ndarray, view: FieldOfView, labels: dict, size: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Crop a photograph to its field of view and scale it to a square canvas, labels along with it.

    Args:
        photo: Photograph (H, W, 3), uint8.
        view: Its field of view.
        labels: As of `find_labels`, in pixels of the photograph; or empty.
        size: Side of the canvas in pixels.

    Returns:
        Canvas (size, size, 3), mask (size, size), and the labels that lie in the field of view, clear of its rim, in
        pixels of the canvas.
    """
    pixels, mask, frame = canvas(photo, view, (size, size))
    if not labels:
        return pixels, mask, {}
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = frame
    keypoints = np.asarray(labels["keypoints"], dtype=np.float64).reshape(-1, 2)
    placed = ((keypoints + 0.5) / [width, height] - [x0, y0]) / [x1 - x0, y1 - y0] * size - 0.5
    inside = view.contains(keypoints, margin=RIM_MARGIN / 565 * (view.box[2] - view.box[0]))
    inside &= ((placed > -0.5) & (placed < size - 0.5)).all(axis=1)
    return (
        pixels,
        mask,
        {
            "keypoints": placed[inside],
            "types": np.asarray(labels["types"])[inside],
            "widths": np.asarray(labels["widths"])[inside] * size / ((x1 - x0) * width),
            "directions": [angles for angles, kept in zip(labels["directions"], inside, strict=True) if kept],
            "labeled_by": labels["labeled_by"],
        },
    )


__all__ = ["RIM_MARGIN", "on_canvas"]
