"""The photographs that the Space offers to try: three visits of one rendered eye, and another eye.

python -m datasets_scripts.space_examples --out space/examples
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from .rendered_fundus import draw_eye, draw_lesions, draw_light, draw_view, grow_lesions, render


SEED, OTHER_SEED, SIZE, QUALITY = 31, 47, 1000, 90
# How far the gaze of each visit is from that of the first, as a share of the field of view, and its turn in radians.
GAZES = (((0.0, 0.0), 0.0), ((0.22, -0.06), 0.07), ((-0.12, 0.2), -0.1))
DIFFICULTY = (0.2, 0.5, 0.7)


def example_photographs() -> dict[str, np.ndarray]:
    """Render the photographs, by name: the disease grows from visit to visit, and the light gets worse."""
    rng = np.random.default_rng(SEED)
    eye = draw_eye(SEED)
    first = draw_view(rng, eye, SIZE)
    lesions = draw_lesions(rng, eye, 0.35)
    photographs = {}
    for number, ((shift, turn), difficulty) in enumerate(zip(GAZES, DIFFICULTY), start=1):
        view = replace(first, gaze=first.gaze + np.array(shift) * first.field, roll=first.roll + turn)
        light = draw_light(rng, difficulty)
        photographs[f"visit_{number}"] = render(eye, SIZE, view, lesions, light, seed=number).image
        lesions = grow_lesions(rng, eye, lesions, 0.3)
    photographs["other_eye"] = render(draw_eye(OTHER_SEED), SIZE).image
    return photographs


app = typer.Typer(add_completion=False)


@app.command()
def main(out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("space/examples")) -> None:
    """Render the examples of the Space."""
    out.mkdir(parents=True, exist_ok=True)
    for name, photograph in example_photographs().items():
        cv2.imwrite(str(out / f"{name}.jpg"), photograph[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


__all__ = ["example_photographs"]


if __name__ == "__main__":
    app()
