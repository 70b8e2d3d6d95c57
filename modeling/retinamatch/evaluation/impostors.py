"""Where the thresholds of the decision come from: what the evidence looks like between photographs of different eyes.

The features decide how many matches chance gives, so this has to be run again for another model:

    retinamatch evaluate impostors FOLDERS... [--model NAME] [--pairs 400] [--json FILE]

Every photograph must show another eye. Pairs are drawn at random, and every photograph is also paired with the mirror
image of itself, the hardest impostor: the same vessels, but the wrong way around.

Measured with RootSIFT on 130 pairs and 33 mirror images of `fundus/` (HRF, CHASE_DB1, LES-AV, SRahim), and on 130 pairs
of `ridb_dev`: between different eyes at most 5 matches agree and the excess reaches 4.4; between mirror images 8 and
5.2, with at most 14 per cent of the overlap's matches. `EstimationSettings` asks for 10, 12 per cent and 3 at once. Of
the pairs of one eye, all of `ridb_dev` (least figures 43, 38 per cent, 15.8) and all of `fire_dev` up to degradation 2
(15, 32 per cent, 9.4) pass all three.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from tqdm.auto import tqdm

from ..estimation import EstimationSettings
from ..keypoint_set import Keypoints
from ..photographs import PhotographLike, read_photograph
from ..registrar import Registrar


FIGURES = ("agreeing", "share", "excess")
PERCENTILES = (50, 95, 99, 100)


def calibrate(
    photographs: Sequence[PhotographLike], registrar: Registrar, pairs: int = 400, seed: int = 0, progress: bool = False
) -> dict:
    """Measure the evidence between different eyes and between photographs and their mirror images.

    Args:
        photographs: Each of another eye.
        registrar: Finds keypoints and matches them.
        pairs: Largest number of pairs of different eyes, drawn at random.
        seed: Of the draw.
        progress: Show progress bars.

    Returns:
        A dict ready for JSON: for `different` and `mirrored` the number of `pairs`, how many were `accepted`,
        `conditions` (how many pairs meet none, one, two, all three of the conditions on agreeing, share and excess),
        and the percentiles of each figure.

    Raises:
        ValueError: Fewer than two photographs.
    """
    if len(photographs) < 2:
        raise ValueError(f"Calibration needs photographs of at least two eyes, got {len(photographs)}.")
    sides, mirrored = [], []
    for source in tqdm(photographs, desc="keypoints", unit="photo", disable=not progress):
        photo = read_photograph(source)
        mirror = np.ascontiguousarray(photo[:, ::-1])
        plain, flipped = registrar.keypoints([photo, mirror])
        sides.append(plain)
        mirrored.append((flipped, plain))
    drawn = list(combinations(range(len(sides)), 2))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(drawn))[:pairs]
    different = [(sides[drawn[k][0]], sides[drawn[k][1]]) for k in chosen]
    return {
        name: _summary([_evidence(registrar, *pair) for pair in tqdm(group, desc=name, disable=not progress)])
        for name, group in (("different", different), ("mirrored", mirrored))
    }


def _evidence(registrar: Registrar, moving: Keypoints, fixed: Keypoints) -> tuple[list[float], bool]:
    registration = registrar.register_keypoints(moving, fixed, transform="quadratic")
    figures = [float(registration.evidence.get(name, 0.0)) for name in FIGURES]
    return figures, registration.registered


def _summary(rows: list[tuple[list[float], bool]]) -> dict:
    figures = np.array([measured for measured, _ in rows]).reshape(-1, 3)
    settings = EstimationSettings()
    least = (settings.minimum_agreeing, settings.minimum_share, settings.minimum_excess)
    met = (figures >= least).sum(1)
    return {
        "pairs": len(rows),
        "accepted": sum(accepted for _, accepted in rows),
        "conditions": [int((met == number).sum()) for number in range(4)],
        **{
            name: {f"{p} %": round(float(np.percentile(column, p)), 3) for p in PERCENTILES}
            for name, column in zip(FIGURES, figures.T, strict=True)
        },
    }


__all__ = ["calibrate"]
