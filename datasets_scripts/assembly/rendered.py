"""From a number to a labeled photograph of a rendered eye."""

import numpy as np

from retinamatch.field_of_view import FieldOfView

from ..format.rows import LabeledPhotograph
from ..labeling.canvas import on_canvas
from ..rendering import RENDERED_LICENSE
from ..rendering.eye import rendered_eye_seed, rendered_person, side_of


# Rendered vessels thinner than this, in pixels of a field of view 768 wide, are felt rather than seen, and people who
# draw vessel maps leave them out: their junctions would ask the detector for what is not in the picture.
RENDERED_LEAST_WIDTH = 1.5


def render_photograph(number: int, size: int, seed: int, shot: int = 0) -> LabeledPhotograph:
    """Draw the rendered eye with this number and photograph it; each eye is a person of its own.

    Args:
        number: Of the eye; packs of different seeds share no eye.
        size: Side of the canvas in pixels.
        seed: Of the data set.
        shot: Another one is another camera, light and state of disease.
    """
    # Here, not above: the renderer is heavy to import and sets of real photographs do without it.
    from ..rendering.eye import draw_eye
    from ..rendering.fundus import render

    eye = draw_eye(rendered_eye_seed(number, seed))
    photo = render(eye, size=size, seed=shot)
    rows, columns = np.nonzero(photo.mask)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    view = FieldOfView(size, size, tuple(photo.view.center), photo.view.diameter / 2, tuple(map(float, box)), True)
    visible = photo.widths >= RENDERED_LEAST_WIDTH / 768 * photo.view.diameter
    labels = {
        "keypoints": photo.keypoints[visible],
        "types": photo.types[visible],
        "widths": photo.widths[visible],
        "directions": [angles for angles, seen in zip(photo.directions, visible, strict=True) if seen],
        "labeled_by": "rendering",
    }
    pixels, mask, labels = on_canvas(photo.image, view, labels, size)
    person = rendered_person(number, seed)
    return LabeledPhotograph(
        name=person if shot == 0 else f"{person}_{shot}",
        image=pixels,
        mask=mask,
        source="rendered",
        patient=person,
        eye=side_of(eye),
        license=RENDERED_LICENSE,
        redistributable=True,
        **labels,
    )


__all__ = ["render_photograph"]
