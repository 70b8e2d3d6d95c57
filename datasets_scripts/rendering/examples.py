"""The examples: the pair that travels with the package, and the photographs that the Space offers to try.

python -m datasets_scripts.rendering.examples package --out modeling/retinamatch/examples
python -m datasets_scripts.rendering.examples space --out space/examples
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from .exposure import draw_light
from .eye import draw_eye, draw_lesions, grow_lesions
from .fundus import RenderedVisits, draw_view, render, render_visits


EXAMPLE_SEED, EXAMPLE_SIZE, EXAMPLE_BYTES = 14, 1000, 150_000
SEED, OTHER_SEED, SIZE, QUALITY = 31, 47, 1000, 90
# How far the gaze of each visit is from the first's, as a fraction of the field of view, and its roll in radians.
GAZES = (((0.0, 0.0), 0.0), ((0.22, -0.06), 0.07), ((-0.12, 0.2), -0.1))
DIFFICULTY = (0.2, 0.5, 0.7)


def example_pair() -> RenderedVisits:
    """Render the two visits of the package's example: disease has appeared, the light is worse, two thirds overlap."""
    return render_visits(EXAMPLE_SEED, EXAMPLE_SIZE, overlap=0.68, difficulty=0.8)


def write_example_pair(folder: Path) -> None:
    """Write `fixed.jpg`, `moving.jpg` (150 kB at most) and `truth.json` (corresponding points) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    visits = example_pair()
    for name, photograph in (("fixed", visits.fixed), ("moving", visits.moving)):
        for quality in range(95, 40, -3):
            encoded = cv2.imencode(".jpg", photograph.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            if len(encoded) <= EXAMPLE_BYTES:
                break
        (folder / f"{name}.jpg").write_bytes(encoded.tobytes())
    moving, fixed = visits.shared_keypoints()
    chosen = np.unique(np.linspace(0, len(moving) - 1, 12).round().astype(int))
    truth = {
        "columns": "x and y in moving.jpg, x and y in fixed.jpg; pixels, the center of the top-left pixel is (0, 0)",
        "points": np.hstack([moving, fixed])[chosen].round(3).tolist(),
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def example_photographs() -> dict[str, np.ndarray]:
    """Render the photographs of the Space, by name: three visits of one eye, and another eye.

    The disease grows from visit to visit, and the light gets worse.
    """
    rng = np.random.default_rng(SEED)
    eye = draw_eye(SEED)
    first = draw_view(rng, eye, SIZE)
    lesions = draw_lesions(rng, eye, 0.35)
    photographs = {}
    for number, ((shift, roll), difficulty) in enumerate(zip(GAZES, DIFFICULTY), start=1):
        view = replace(first, gaze=first.gaze + np.array(shift) * first.field, roll=first.roll + roll)
        light = draw_light(rng, difficulty)
        photographs[f"visit_{number}"] = render(eye, SIZE, view, lesions, light, seed=number).image
        lesions = grow_lesions(rng, eye, lesions, 0.3)
    photographs["other_eye"] = render(draw_eye(OTHER_SEED), SIZE).image
    return photographs


app = typer.Typer(add_completion=False)


Out = Annotated[Path, typer.Option(help="Folder to write to.")]


@app.command()
def package(out: Out = Path("modeling/retinamatch/examples")) -> None:
    """Render the package's example pair."""
    write_example_pair(out)


@app.command()
def space(out: Out = Path("space/examples")) -> None:
    """Render the examples of the Space."""
    out.mkdir(parents=True, exist_ok=True)
    for name, photograph in example_photographs().items():
        cv2.imwrite(str(out / f"{name}.jpg"), photograph[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


__all__ = ["example_pair", "example_photographs", "write_example_pair"]


if __name__ == "__main__":
    app()
