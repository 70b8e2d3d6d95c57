"""Identity verification: which pairs of photographs pass as one eye."""

from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..photographs import IMAGE_SUFFIXES, read_photograph
from ..registrar import Registrar


def evaluate_identity(
    root: str | Path,
    registrar: Registrar,
    maximum_different: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict:
    """Count which pairs of photographs pass as one eye.

    Args:
        root: A folder per person, with photographs of one eye each.
        registrar: Finds keypoints and matches them.
        maximum_different: Largest number of pairs of different persons, drawn at random; all when None.
        seed: Of the draw.
        progress: Show progress bars.

    Returns:
        A dict ready for JSON: `same` and `different`, each with `pairs` and `registered`; `missed`, the pairs of one
        person that were not registered, with the reason; `accepted`, the pairs of different persons that were.

    Raises:
        ValueError: The folder is missing or does not hold two photographs of one person.
        PhotographError: A photograph cannot be read.
    """
    people = read_people(root)
    photos = [(person, path) for person, paths in people.items() for path in paths]
    bar = tqdm(photos, desc="keypoints", unit="photo", disable=not progress)
    keypoints = [registrar.keypoints([read_photograph(path)])[0] for _, path in bar]
    same: list[tuple[int, int]] = []
    different: list[tuple[int, int]] = []
    for i, j in combinations(range(len(photos)), 2):
        (same if photos[i][0] == photos[j][0] else different).append((i, j))
    if maximum_different is not None and maximum_different < len(different):
        chosen = np.random.default_rng(seed).choice(len(different), maximum_different, replace=False)
        different = [different[k] for k in np.sort(chosen)]
    lists: dict[str, list[dict]] = {"missed": [], "accepted": []}
    counts = {}
    for kind, pairs in (("same", same), ("different", different)):
        registered = 0
        for i, j in tqdm(pairs, desc=f"{kind} eye", unit="pair", disable=not progress):
            registration = registrar.register_keypoints(keypoints[i], keypoints[j])
            registered += registration.registered
            names = {"moving": _short(photos[i][1]), "fixed": _short(photos[j][1])}
            if kind == "same" and not registration:
                lists["missed"].append({**names, "reason": registration.reason})
            if kind == "different" and registration:
                lists["accepted"].append({**names, "inliers": int(registration.inliers.sum())})
        counts[kind] = {"pairs": len(pairs), "registered": registered}
    return {**counts, **lists}


def read_people(root: str | Path) -> dict[str, list[Path]]:
    """List the photographs of each person: the folders under `root` that hold any.

    Raises:
        ValueError: The folder is missing, or no person has two photographs.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; it should hold one folder of photographs per person.")
    people = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if paths:
            people[folder.name] = paths
    if not any(len(paths) > 1 for paths in people.values()):
        raise ValueError(f"{root} holds no folder with two photographs of one person.")
    return people


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


__all__ = ["evaluate_identity", "read_people"]
