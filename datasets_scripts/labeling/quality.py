"""How good the keypoint labels are: measured on rendered eyes, whose junctions are known, and on hand-made drawings.

python -m datasets_scripts.labeling.quality --eyes 20 --out build/label_quality.json
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import remove_small_objects
from tqdm import tqdm

from retinamatch.files import write_text

from ..keypoint_types import CROSSING, TYPE_NAMES
from ..rendering.eye import draw_eye, rendered_eye_seed
from ..rendering.fundus import RenderedPhotograph, branch_directions, render
from ..rendering.tree_junctions import list_junctions
from .canvas import RIM_MARGIN
from .drawings import Drawing, drawings
from .junctions import Junctions, find_junctions
from .points import look_up, match_points


TOLERANCE, FIELD = 3.0, 565.0  # pixels, in a field of view this many pixels wide
# Builds take the rendered eyes from number 0, and from 100,000, 200,000, 300,000 and 400,000; none reaches these.
FIRST_EYE = 500_000
# Absorption from which a vessel is seen and followed, and down to which it is then drawn, by who draws a vessel map.
SEEN, FOLLOWED = 0.10, 0.06
# Nobody draws a lonely piece of a vessel shorter than this, in degrees of visual angle.
LEAST_VESSEL = 1.0
# Vessels overlap on the disc: which of their meetings are junctions is known to no renderer.
DISC_RADII = 1.1


@dataclass
class Truth:
    """What should be found in one rendered eye.

    Attributes:
        vessels: The vessel map as a person would draw it, bool (H, W).
        field_width: Width of the field of view in pixels.
        points: (N, 2) junctions that the map shows: all vessels drawn, and apart from each other, in pixels.
        types: (N,) int8.
        directions: N sorted arrays of angles.
        half_shown: (M, 2) junctions with a vessel that fades before it is clear of the others, or runs along another
            one, or next to another junction: an annotator might mark them, here or there; they count neither way.
        judged: bool (H, W), inside the field of view, clear of the rim and of the disc.
    """

    vessels: np.ndarray
    field_width: float
    points: np.ndarray
    types: np.ndarray
    directions: list[np.ndarray]
    half_shown: np.ndarray
    judged: np.ndarray


def draw_map(photo: RenderedPhotograph) -> np.ndarray:
    """Turn the absorption of the vessels into a map as a person would draw it: whole vessels, down to the faint ones.

    Returns:
        bool (H, W).
    """
    vessels = apply_hysteresis_threshold(np.where(photo.mask, photo.vessels, 0), FOLLOWED, SEEN)
    # As an area, for a vessel two pixels wide.
    least = round(2 * LEAST_VESSEL * photo.view.pixels_per_degree)
    return remove_small_objects(vessels, max_size=least, connectivity=2)


def read_truth(seed: int, size: int) -> Truth:
    """Photograph a rendered eye and say which junctions a label maker should find in its vessel map."""
    eye = draw_eye(seed)
    photo = render(eye, size, lesions=[])
    view, vessels = photo.view, draw_map(photo)
    points = view.to_pixels(eye.junctions.points)
    rim = ndimage.distance_transform_edt(np.pad(photo.mask, 1))[1:-1, 1:-1]
    y, x = np.mgrid[:size, :size]
    disc, disc_radius = view.to_pixels(eye.disc), DISC_RADII * eye.disc_radius * view.pixels_per_degree
    judged = (rim > RIM_MARGIN / FIELD * view.diameter) & (np.hypot(x - disc[0], y - disc[1]) > disc_radius)

    shown, directions, half_shown = [], [], []
    for index in np.flatnonzero(look_up(rim > 0, points)):
        branches = eye.junctions.branches[index]
        lines = [view.to_pixels(branch) for branch in branches]
        drawn = np.array([look_up(vessels, line).all() for line in lines])
        # Where a vessel ends in the junction, the two others are a bend.
        complete = len(lines) == (4 if eye.junctions.types[index] == CROSSING else 3)
        if complete and drawn.all() and _apart(vessels, lines):
            shown.append(index)
            directions.append(branch_directions(branches, view))
        elif drawn.any():
            half_shown.append(index)
    # Of junctions that nearly coincide the eye lists one; the map may well show both.
    every = list_junctions(eye.vessels, merge=0.0).points
    unlisted = every[cKDTree(eye.junctions.points).query(every)[0] > 1e-9]
    inside = look_up(judged, points[shown])
    return Truth(
        vessels=vessels,
        field_width=view.diameter,
        points=points[shown][inside],
        types=eye.junctions.types[shown][inside],
        directions=[angles for angles, kept in zip(directions, inside) if kept],
        half_shown=np.concatenate([points[half_shown], view.to_pixels(unlisted)]),
        judged=judged,
    )


def _apart(vessels: np.ndarray, lines: list[np.ndarray]) -> bool:
    """Tell whether the map shows background between the far ends of neighboring branches (K, 2) of a junction."""
    along = np.linspace(0, 1, 50)[:, None]
    for number, one in enumerate(lines):
        for other in lines[:number]:
            neighbors = (one[-1] - one[0]) @ (other[-1] - other[0]) > 0
            if neighbors and look_up(vessels, one[-1] * (1 - along) + other[-1] * along).all():
                return False
    return True


def judge(truth: Truth, junctions: Junctions) -> tuple[Counter, list[float], list[float]]:
    """Compare the keypoints of one map with the truth.

    Returns:
        Counts; the distances of the matched in pixels of `FIELD`; the errors of their directions in degrees.
    """
    scale = FIELD / truth.field_width
    inside = np.flatnonzero(look_up(truth.judged, junctions.points))
    one, other, distance = match_points(truth.points * scale, junctions.points[inside] * scale, TOLERANCE)
    other = inside[other]
    # Keypoints at junctions that the map shows in part count neither way.
    spare = np.setdiff1d(inside, other)
    excused = spare[match_points(truth.half_shown * scale, junctions.points[spare] * scale, TOLERANCE)[1]]
    counted = np.setdiff1d(inside, excused)
    counts = Counter(
        true=len(truth.points),
        found=len(counted),
        matched=len(one),
        same_type=int((truth.types[one] == junctions.types[other]).sum()),
        excused=len(excused),
    )
    for kind, name in enumerate(TYPE_NAMES):
        counts[f"true {name}"] += int((truth.types == kind).sum())
        counts[f"recalled {name}"] += int((truth.types[one] == kind).sum())
        counts[f"found {name}"] += int((junctions.types[counted] == kind).sum())
        counts[f"confirmed {name}"] += int((junctions.types[other] == kind).sum())
    angles = [direction_error(truth.directions[i], junctions.directions[j]) for i, j in zip(one, other)]
    return counts, list(distance), [angle for angle in angles if angle is not None]


def direction_error(one: np.ndarray, other: np.ndarray) -> float | None:
    """Give the mean difference in degrees of two sorted sets of angles, paired in order; `None` if one is larger."""
    if len(one) != len(other):
        return None
    differences = [np.abs(np.angle(np.exp(1j * (one - np.roll(other, shift))))).mean() for shift in range(len(one))]
    return float(np.degrees(min(differences)))


def judge_drawing(drawing: Drawing) -> bool:
    """Tell whether every keypoint of a drawing is found, at its place and as what it is, and nothing else."""
    junctions = find_junctions(drawing.vessels, FIELD)
    one, other, _ = match_points(drawing.points, junctions.points, TOLERANCE)
    complete = len(one) == len(drawing.points) == len(junctions)
    return complete and bool((drawing.types[one] == junctions.types[other]).all())


def measure(eyes: int, seed: int = 0, size: int = 768) -> dict:
    """Measure the labels.

    Args:
        eyes: Number of rendered eyes; 0 for the drawings alone.
        seed: Which eyes.
        size: Height and width of their photographs in pixels.

    Returns:
        Figures that JSON can hold: `rendered` (`None` without eyes) and `drawings`, a list of cases.
    """
    counts, distances, angles = Counter(), [], []
    first = rendered_eye_seed(FIRST_EYE, seed)
    for number in tqdm(range(first, first + eyes), desc="rendered eyes", unit="eye", disable=None):
        truth = read_truth(number, size)
        more, near, angle = judge(truth, find_junctions(truth.vessels, truth.field_width))
        counts, distances, angles = counts + more, distances + near, angles + angle
    cases: dict[str, list[bool]] = {}
    for drawing in drawings():
        cases.setdefault(drawing.case, []).append(judge_drawing(drawing))
    table = [{"case": case, "drawings": len(right), "right": sum(right)} for case, right in cases.items()]
    result = {"tolerance": TOLERANCE, "field_width": FIELD, "rendered": None, "drawings": table}
    if eyes:
        result["rendered"] = {"eyes": eyes, "seed": seed, "size": size, **_figures(counts, distances, angles)}
    return result


def _figures(counts: Counter, distances: list[float], angles: list[float]) -> dict:
    def fraction(part: str, whole: str) -> float | None:
        return round(counts[part] / counts[whole], 4) if counts[whole] else None

    recall, precision = fraction("matched", "true"), fraction("matched", "found")
    return {
        "keypoints": counts["true"],
        "found": counts["found"],
        "not_counted": counts["excused"],
        "recall": recall,
        "precision": precision,
        "f1": round(2 * counts["matched"] / max(counts["true"] + counts["found"], 1), 4),
        "types": {
            name: {
                "keypoints": counts[f"true {name}"],
                "recall": fraction(f"recalled {name}", f"true {name}"),
                "precision": fraction(f"confirmed {name}", f"found {name}"),
            }
            for name in TYPE_NAMES
        },
        "type_accuracy": fraction("same_type", "matched"),
        "median_error": round(float(np.median(distances)), 3) if distances else None,
        "median_direction_error_degrees": round(float(np.median(angles)), 2) if angles else None,
    }


def describe(result: dict) -> str:
    """Say the figures in lines of text."""
    lines = [f"Tolerance {result['tolerance']:g} px in a field of view {result['field_width']:g} px wide."]
    if rendered := result["rendered"]:
        lines += [
            f"{rendered['eyes']} rendered eyes, {rendered['keypoints']} keypoints, {rendered['found']} found "
            f"({rendered['not_counted']} more where the map shows a junction in part, not counted)",
            f"  recall {rendered['recall']}, precision {rendered['precision']}, F1 {rendered['f1']}",
        ]
        for name, figures in rendered["types"].items():
            lines.append(
                f"  {name}: {figures['keypoints']} keypoints, recall {figures['recall']}, "
                f"precision {figures['precision']}"
            )
        lines += [
            f"  type right {rendered['type_accuracy']} of the matched",
            f"  median error {rendered['median_error']} px, of the directions "
            f"{rendered['median_direction_error_degrees']} degrees",
        ]
    width = max(len(row["case"]) for row in result["drawings"])
    lines.append("Drawings:")
    lines += [f"  {row['case']:{width}}  {row['right']:3} of {row['drawings']}" for row in result["drawings"]]
    return "\n".join(lines)


app = typer.Typer(add_completion=False)


@app.command()
def main(
    eyes: Annotated[int, typer.Option(min=0, help="Number of rendered eyes.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Which eyes; no training pack of any seed holds them.")] = 0,
    size: Annotated[int, typer.Option(min=256, help="Height and width of their photographs in pixels.")] = 768,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the figures to.")] = None,
) -> None:
    """Measure the keypoint labels on rendered eyes and on drawings with known answers."""
    if out is not None and not out.parent.is_dir():
        typer.echo(f"Error: {out} cannot be written, because the folder {out.parent} does not exist.", err=True)
        raise typer.Exit(2)
    result = measure(eyes, seed, size)
    typer.echo(describe(result))
    if out is not None:
        write_text(out, json.dumps(result, indent=1) + "\n")


__all__ = ["Truth", "describe", "judge", "judge_drawing", "measure", "read_truth"]


if __name__ == "__main__":
    app()
