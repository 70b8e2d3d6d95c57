"""The FIRE protocol and identity verification: figures that say how good a registration is.

FIRE (Hernandez-Matas et al., Modeling and Artificial Intelligence in Ophthalmology 2017): ten control points per pair.
A pair's error is their mean distance after registration, in pixels of the fixed photograph (2912 x 2912). AUC is the
mean over t = 1..25 of the share of pairs with an error below t. A pair fails without a transform; it is inaccurate when
the largest distance exceeds 50 pixels or the median 20. Pair P37 is left out by everyone: its control points are wrong.
"""

import re
import time
import zlib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from .estimation import REGISTERED, Estimate, Keypoints, estimate
from .photographs import read_photograph


FIRE_CLASSES = ("S", "P", "A")
LEFT_OUT = ("P37",)
THRESHOLDS = range(1, 26)
MAXIMUM_ERROR, MEDIAN_ERROR = 50.0, 20.0
PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".ppm"}


@dataclass(frozen=True)
class FirePair:
    """One pair of FIRE.

    Attributes:
        name: such as "P01".
        fixed: path of image 1.
        moving: path of image 2.
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


def degrade(photo: np.ndarray, level: int, seed: int | str = 0) -> np.ndarray:
    """Makes a photograph worse in the ways hospitals know: blur, uneven light, low contrast, noise.

    In this order, at the photograph's own resolution: Gaussian blur of sigma 1.5 `level` pixels at a width of 1024, an
    illumination ramp of +-25 `level` per cent in a random direction, contrast divided by 1 + 0.35 `level`, noise of 1.5
    `level` grey levels.

    Args:
        photo: uint8 RGB (H, W, 3).
        level: 0 (unchanged) to 3.
        seed: number or word (the name of the pair); the same seed gives the same result.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: the level is not 0, 1, 2 or 3.
    """
    if level not in (0, 1, 2, 3):
        raise ValueError(f"The level of degradation must be 0, 1, 2 or 3, got {level}.")
    if level == 0:
        return photo
    rng = np.random.default_rng(zlib.crc32(str(seed).encode()))
    height, width = photo.shape[:2]
    result = cv2.GaussianBlur(photo, (0, 0), 1.5 * level * width / 1024).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    ramp = (np.cos(angle) * x[None, :] + np.sin(angle) * y[:, None]).astype(np.float32)
    result *= (1 + 0.25 * level * ramp)[..., None]
    result /= 1 + 0.35 * level
    result += rng.standard_normal(result.shape, dtype=np.float32) * (1.5 * level)
    return result.round().clip(0, 255).astype(np.uint8)


def read_fire(root: str | Path) -> list[FirePair]:
    """Lists the pairs under a folder in FIRE's own layout, any part of it, without P37.

    Args:
        root: folder with `Images/P01_1.jpg`, `Images/P01_2.jpg`, `Ground Truth/control_points_P01_1_2.txt` and so on.
            Pairs of which neither image is there are not part of the subset.

    Raises:
        ValueError: a folder or a file is missing, control points cannot be read, or no pair is left.
    """
    root = Path(root)
    images, truth = root / "Images", root / "Ground Truth"
    for folder in (root, images, truth):
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; FIRE's layout is Images/ and Ground Truth/ under one folder.")
    present = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in PHOTOGRAPHS}
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


def evaluate_fire(root: str | Path, registrar, degrade: int = 0, progress: bool = False) -> dict:
    """Registers every pair of a folder in FIRE's layout and measures the errors of the control points.

    Args:
        root: see `read_fire`.
        registrar: a `Registrar`: finds keypoints, matches them, and says which transform is wanted.
        degrade: level of degradation of the moving images, 0 to 3; see `degrade`.
        progress: show a progress bar.

    Returns:
        A dict ready for JSON: `pairs`, a list with, for each pair, `name`, `class`, `mean_error`, `max_error`,
            `median_error` (pixels, None
        unless registered), `transform` (the class that was fitted), `status`, `reason`, `time` in seconds, and
        `rejected_error` (the mean error that a transform would have had that the decision rule did not believe, else
        None); `auc` with the classes present and their `mean`; counts `failed`, `inaccurate`, `acceptable`; `left_out`,
        the pairs that the protocol leaves out; `degrade`.

    Raises:
        ValueError: see `read_fire`.
        PhotographError: an image cannot be read.
    """
    rows = []
    for pair in tqdm(read_fire(root), desc="FIRE", unit="pair", disable=not progress):
        moving, fixed = _read_moving(pair, degrade), read_photograph(pair.fixed)
        start = time.perf_counter()
        found = _estimate(registrar, *registrar.keypoints([moving, fixed]))
        seconds = time.perf_counter() - start
        rows.append({"name": pair.name, "class": pair.category, **_errors(found, pair), "time": round(seconds, 3)})
    return {"pairs": rows, **summarize(rows), "left_out": list(LEFT_OUT), "degrade": degrade}


def compare_on_fire(
    root: str | Path,
    registrars: dict,
    transforms: tuple[str, ...] = ("homography", "quadratic", "auto"),
    levels: tuple[int, ...] = (0, 1, 2, 3),
    progress: bool = False,
) -> list[dict]:
    """Evaluates several registrars, transforms and degradations in one run; keypoints are found once for each.

    Args:
        root: see `read_fire`.
        registrars: `Registrar`s by name.
        transforms: names, as for `estimate`.
        levels: of degradation; see `degrade`.
        progress: show progress bars.

    Returns:
        One dict for each combination: `features`, `degrade`, `transform`, and what `summarize` gives.
    """
    results = []
    for name, registrar in registrars.items():
        rows = {(level, transform): [] for level in levels for transform in transforms}
        for pair in tqdm(read_fire(root), desc=name, unit="pair", disable=not progress):
            (fixed,) = registrar.keypoints([read_photograph(pair.fixed)])
            for level in levels:
                (moving,) = registrar.keypoints([_read_moving(pair, level)])
                matches = registrar.match(moving, fixed)
                for transform in transforms:
                    found = estimate(moving, fixed, *matches, transform=transform)
                    row = {"name": pair.name, "class": pair.category, **_errors(found, pair)}
                    rows[level, transform].append(row)
        results += [
            {"features": name, "degrade": level, "transform": transform, **summarize(found)}
            for (level, transform), found in rows.items()
        ]
    return results


def summarize(rows: list[dict]) -> dict:
    """Gives `auc`, `failed`, `inaccurate` and `acceptable` of the pairs of `evaluate_fire`."""
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


def area_under_curve(errors) -> float:
    """Gives the mean over t = 1..25 pixels of the share of pairs with an error below t."""
    errors = np.asarray(errors, dtype=np.float64)
    return float(np.mean([(errors < threshold).mean() for threshold in THRESHOLDS]))


def evaluate_identity(
    root: str | Path, registrar, maximum_different: int | None = None, seed: int = 0, progress: bool = False
) -> dict:
    """Counts which pairs of photographs pass as one eye.

    Args:
        root: a folder per person, with photographs of one eye each.
        registrar: a `Registrar`.
        maximum_different: largest number of pairs of different persons, drawn at random; all when None.
        seed: of the draw.
        progress: show progress bars.

    Returns:
        A dict ready for JSON: `same` and `different`, each with `pairs` and `registered`; `missed`, the pairs of one
            person that were not
        registered with the reason, and `accepted`, the pairs of different persons that were.

    Raises:
        ValueError: the folder is missing or does not hold two photographs of one person.
        PhotographError: a photograph cannot be read.
    """
    people = read_people(root)
    photos = [(person, path) for person, paths in people.items() for path in paths]
    bar = tqdm(photos, desc="keypoints", unit="photo", disable=not progress)
    keypoints = [registrar.keypoints([read_photograph(path)])[0] for _, path in bar]
    same, different = [], []
    for i, j in combinations(range(len(photos)), 2):
        (same if photos[i][0] == photos[j][0] else different).append((i, j))
    if maximum_different is not None and maximum_different < len(different):
        chosen = np.random.default_rng(seed).choice(len(different), maximum_different, replace=False)
        different = [different[k] for k in np.sort(chosen)]
    lists = {"missed": [], "accepted": []}
    counts = {}
    for kind, pairs in (("same", same), ("different", different)):
        registered = 0
        for i, j in tqdm(pairs, desc=f"{kind} eye", unit="pair", disable=not progress):
            found = _estimate(registrar, keypoints[i], keypoints[j])
            registered += found.status == REGISTERED
            names = {"moving": _short(photos[i][1]), "fixed": _short(photos[j][1])}
            if kind == "same" and found.status != REGISTERED:
                lists["missed"].append({**names, "reason": found.reason})
            if kind == "different" and found.status == REGISTERED:
                lists["accepted"].append({**names, "inliers": int(found.inliers.sum())})
        counts[kind] = {"pairs": len(pairs), "registered": registered}
    return {**counts, **lists}


def read_people(root: str | Path) -> dict[str, list[Path]]:
    """Lists the photographs of each person: the folders under `root` that hold any.

    Raises:
        ValueError: the folder is missing, or no person has two photographs.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; it should hold one folder of photographs per person.")
    people = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOGRAPHS)
        if paths:
            people[folder.name] = paths
    if not any(len(paths) > 1 for paths in people.values()):
        raise ValueError(f"{root} holds no folder with two photographs of one person.")
    return people


def _read_moving(pair: FirePair, level: int) -> np.ndarray:
    return degrade(read_photograph(pair.moving), level, pair.name)


def _estimate(registrar, moving: Keypoints, fixed: Keypoints) -> Estimate:
    # Not `registrar.register_keypoints`: that hides a transform that was not believed, and here it is worth knowing.
    return estimate(moving, fixed, *registrar.match(moving, fixed), transform=registrar.transform)


def _errors(found: Estimate, pair: FirePair) -> dict:
    row = {"mean_error": None, "max_error": None, "median_error": None, "rejected_error": None}
    if found.transform is not None:
        distances = np.linalg.norm(found.transform(pair.moving_points) - pair.fixed_points, axis=1)
        if not np.isfinite(distances).all():
            distances = np.full(len(distances), np.finfo(np.float32).max)
        mean = float(distances.mean())
        if found.status == REGISTERED:
            row.update(mean_error=mean, max_error=float(distances.max()), median_error=float(np.median(distances)))
        else:
            row["rejected_error"] = mean
    kind = None if found.transform is None else found.transform.name
    return {
        **row,
        "transform": kind,
        "inliers": int(found.inliers.sum()),
        "status": found.status,
        "reason": found.reason,
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


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


__all__ = [
    "FirePair",
    "area_under_curve",
    "compare_on_fire",
    "degrade",
    "evaluate_fire",
    "evaluate_identity",
    "read_fire",
    "read_people",
    "summarize",
]
