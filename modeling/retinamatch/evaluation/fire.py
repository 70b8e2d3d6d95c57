"""The FIRE protocol: figures that say how good a registration is.

FIRE (Hernandez-Matas et al., Modeling and Artificial Intelligence in Ophthalmology 2017): ten control points per pair.
A pair's error is their mean distance after registration, in pixels of the fixed photograph (2912 x 2912). AUC is the
mean over t = 1..25 of the fraction of pairs with an error below t. A pair fails without a transform; it is inaccurate
when the largest distance exceeds 50 pixels or the median 20. Pair P37 is left out by everyone: its control points are
wrong.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from ..photographs import IMAGE_SUFFIXES, read_photograph
from ..registrar import Registrar
from ..registration import Registration
from ..transforms import Transform
from .degradation import degrade


FIRE_CLASSES = ("S", "P", "A")
LEFT_OUT = ("P37",)
THRESHOLDS = range(1, 26)
MAXIMUM_ERROR, MEDIAN_ERROR = 50.0, 20.0
FULL_SIZE = 2912  # side of FIRE's photographs in pixels


@dataclass(frozen=True)
class FirePair:
    """One pair of FIRE.

    Attributes:
        name: Such as "P01".
        fixed: Path of image 1.
        moving: Path of image 2.
        fixed_points: (10, 2) control points in pixels of image 1.
        moving_points: (10, 2) the same places in pixels of image 2.
    """

    name: str
    fixed: Path
    moving: Path
    fixed_points: np.ndarray
    moving_points: np.ndarray

    @property
    def category(self) -> str:
        """S (much overlap), P (little overlap) or A (the retina has changed)."""
        return self.name[0]


def read_fire(root: str | Path) -> list[FirePair]:
    """List the pairs under a folder in FIRE's own layout, any part of it, without P37.

    Args:
        root: Folder with `Images/P01_1.jpg`, `Images/P01_2.jpg`, `Ground Truth/control_points_P01_1_2.txt` and so on.
            Pairs of which neither image is there are not part of the subset.

    Raises:
        ValueError: A folder or a file is missing, control points cannot be read, or no pair is left.
    """
    root = Path(root)
    images, truth = root / "Images", root / "Ground Truth"
    for folder in (root, images, truth):
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; FIRE's layout is Images/ and Ground Truth/ under one folder.")
    present = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES}
    names = sorted({stem[:-2] for stem in present if re.fullmatch(r"[SPA]\d+_[12]", stem)} - set(LEFT_OUT))
    pairs = []
    for name in names:
        for stem in (f"{name}_1", f"{name}_2"):
            if stem not in present:
                raise ValueError(f"{images} has only one image of the pair {name}: {stem}.jpg is missing.")
        points = _read_control_points(truth / f"control_points_{name}_1_2.txt")
        pairs.append(FirePair(name, present[f"{name}_1"], present[f"{name}_2"], points[:, :2], points[:, 2:]))
    if not pairs:
        raise ValueError(f"{images} holds no pair of FIRE such as P01_1.jpg and P01_2.jpg.")
    return pairs


def evaluate_fire(root: str | Path, registrar: Registrar, degrade: int = 0, progress: bool = False) -> dict:
    """Register every pair of a folder in FIRE's layout and measure the errors of the control points.

    Args:
        root: See `read_fire`.
        registrar: Finds keypoints, matches them, and knows which transform is wanted.
        degrade: Level of degradation of the moving images, 0 to 3; see `degrade`.
        progress: Show a progress bar.

    Returns:
        A dict ready for JSON. `pairs` is a list with, for each pair, `name`, `class`, `mean_error`, `max_error` and
        `median_error` (pixels of the fixed photograph, None unless registered), `transform` (the class that was
        fitted), `status`, `reason`, `time` in seconds, and `rejected_error` (the mean error that a transform would have
        had that the decision rejected, else None). Beside it stand `auc` with the classes present and their `mean`; the
        counts `failed`, `inaccurate` and `acceptable`; `left_out`, the pairs that the protocol leaves out; `degrade`.

    Raises:
        ValueError: See `read_fire`.
        PhotographError: An image cannot be read.
    """
    rows = []
    for pair in tqdm(read_fire(root), desc="FIRE", unit="pair", disable=not progress):
        photographs = _read_moving(pair, degrade), read_photograph(pair.fixed)
        start = time.perf_counter()
        registration = registrar.register(*photographs)
        seconds = time.perf_counter() - start
        errors = _errors(registration, pair)
        rows.append({"name": pair.name, "class": pair.category, **errors, "time": round(seconds, 3)})
    return {"pairs": rows, **summarize(rows), "left_out": list(LEFT_OUT), "degrade": degrade}


def compare_on_fire(
    root: str | Path,
    registrars: dict[str, Registrar],
    transforms: tuple[str, ...] = ("homography", "quadratic", "auto"),
    levels: tuple[int, ...] = (0, 1, 2, 3),
    progress: bool = False,
) -> list[dict]:
    """Evaluate several registrars, transforms and degradations in one run; keypoints are found once for each.

    Args:
        root: See `read_fire`.
        registrars: Registrars by name.
        transforms: Names, as for `estimate`.
        levels: Of degradation; see `degrade`.
        progress: Show progress bars.

    Returns:
        One dict for each combination: `model`, `degrade`, `transform`, and what `summarize` gives.
    """
    results = []
    for name, registrar in registrars.items():
        rows: dict[tuple[int, str], list[dict]] = {
            (level, transform): [] for level in levels for transform in transforms
        }
        for pair in tqdm(read_fire(root), desc=name, unit="pair", disable=not progress):
            (fixed,) = registrar.keypoints([read_photograph(pair.fixed)])
            for level in levels:
                (moving,) = registrar.keypoints([_read_moving(pair, level)])
                for transform in transforms:
                    registration = registrar.register_keypoints(moving, fixed, transform)
                    row = {"name": pair.name, "class": pair.category, **_errors(registration, pair)}
                    rows[level, transform].append(row)
        results += [
            {"model": name, "degrade": level, "transform": transform, **summarize(one)}
            for (level, transform), one in rows.items()
        ]
    return results


def fire_table(rows: list[dict]) -> str:
    """Write what `compare_on_fire` gives as Markdown: mean AUC, and the pairs that failed in brackets."""
    levels = sorted({row["degrade"] for row in rows})
    cells = {(row["model"], row["transform"], row["degrade"]): row for row in rows}
    lines = [
        "| model | transform |" + "".join(f" degraded {level} |" if level else " clean |" for level in levels),
        "| --- | --- |" + " --- |" * len(levels),
    ]
    for name, transform in dict.fromkeys((model, transform) for model, transform, _ in cells):
        shown = [cells[name, transform, level] for level in levels]
        figures = "".join(f" {row['auc']['mean']:.3f}{_failed(row['failed'])} |" for row in shown)
        lines.append(f"| {name} | {transform} |{figures}")
    return "\n".join(lines)


def _failed(count: int) -> str:
    return f" ({count} failed)" if count else ""


def summarize(rows: list[dict]) -> dict:
    """Compute `auc`, `failed`, `inaccurate` and `acceptable` of the pairs of `evaluate_fire`."""
    auc = {}
    for category in FIRE_CLASSES:
        errors = [
            np.inf if row["mean_error"] is None else row["mean_error"] for row in rows if row["class"] == category
        ]
        if errors:
            auc[category] = area_under_curve(errors)
    auc["mean"] = float(np.mean(list(auc.values())))
    done = [row for row in rows if row["mean_error"] is not None]
    inaccurate = sum(row["max_error"] > MAXIMUM_ERROR or row["median_error"] > MEDIAN_ERROR for row in done)
    return {
        "auc": auc,
        "failed": len(rows) - len(done),
        "inaccurate": inaccurate,
        "acceptable": len(done) - inaccurate,
    }


def area_under_curve(errors: ArrayLike) -> float:
    """Compute the mean over t = 1..25 pixels of the fraction of pairs with an error below t."""
    values = np.asarray(errors, dtype=np.float64)
    return float(np.mean([(values < threshold).mean() for threshold in THRESHOLDS]))


def control_point_distances(transform: Transform, moving_points: np.ndarray, fixed_points: np.ndarray) -> np.ndarray:
    """Measure how far control points lie apart under a transform.

    Args:
        transform: From pixels of the moving photograph to pixels of the fixed one.
        moving_points: (N, 2), pixels of the moving photograph.
        fixed_points: (N, 2), the same places in pixels of the fixed photograph.

    Returns:
        (N,) in pixels of the fixed photograph; a huge number for all where one of them is mapped nowhere.
    """
    distances = np.linalg.norm(transform(moving_points) - fixed_points, axis=1)
    return distances if np.isfinite(distances).all() else np.full(len(distances), np.finfo(np.float32).max)


def _read_moving(pair: FirePair, level: int) -> np.ndarray:
    return degrade(read_photograph(pair.moving), level, pair.name)


def _errors(registration: Registration, pair: FirePair) -> dict:
    row: dict[str, float | None] = {"mean_error": None, "max_error": None, "median_error": None, "rejected_error": None}
    candidate = registration.estimate.candidate
    if candidate is not None:
        distances = control_point_distances(candidate, pair.moving_points, pair.fixed_points)
        mean = float(distances.mean())
        if registration:
            row.update(mean_error=mean, max_error=float(distances.max()), median_error=float(np.median(distances)))
        else:
            row["rejected_error"] = mean
    return {
        **row,
        "transform": None if candidate is None else candidate.name,
        "inliers": int(registration.estimate.inliers.sum()),
        "status": registration.status,
        "reason": registration.reason,
    }


def _read_control_points(path: Path) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"{path} is missing: the pair's images are there but not its control points.")
    try:
        points = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} is not a table of numbers: {error}.") from None
    if points.ndim != 2 or points.shape[1] != 4 or len(points) == 0 or not np.isfinite(points).all():
        raise ValueError(f"{path} should hold lines of four numbers, x1 y1 x2 y2, got a table of shape {points.shape}.")
    return points


__all__ = [
    "FirePair",
    "FULL_SIZE",
    "area_under_curve",
    "compare_on_fire",
    "control_point_distances",
    "evaluate_fire",
    "fire_table",
    "read_fire",
    "summarize",
]
