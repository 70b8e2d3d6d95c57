"""The ceiling of a yardstick: how exactly control points were set by hand, and what a perfect transform would score.

A quadratic transform has six coefficients for each coordinate. What it leaves of a pair's control points, of which
there are more, is their noise, and what no quadratic can follow: the noise is overestimated, if anything. A perfect
transform scored against points with the noise of each pair has an AUC below one; differences near it tell nothing.
"""

from pathlib import Path

import numpy as np

from ..transforms import Quadratic
from .fire import FIRE_CLASSES, THRESHOLDS, FirePair, read_fire


COEFFICIENTS = 6  # of a quadratic polynomial in x and y


def measure_noise(root: str | Path, samples: int = 2000, seed: int = 0) -> dict:
    """Estimate the noise of the control points of pairs in FIRE's layout, and simulate a perfect transform.

    Args:
        root: See `read_fire`.
        samples: Simulated sets of control points of all pairs.
        seed: Of the simulation.

    Returns:
        A dict ready for JSON: the number of `pairs` with more than six control points; `noise`, the median over them of
        the standard deviation of a coordinate in pixels of the fixed photograph; `auc` and `deviation`, mean and
        standard deviation over the samples of the AUC (mean over the classes present, as in `summarize`) of transforms
        without error.

    Raises:
        ValueError: No pair has more than six control points, or see `read_fire`.
    """
    pairs = [pair for pair in read_fire(root) if len(pair.moving_points) > COEFFICIENTS]
    if not pairs:
        raise ValueError(f"The noise of control points needs pairs with more than {COEFFICIENTS} of them.")
    noise = [_noise(pair) for pair in pairs]
    rng, areas = np.random.default_rng(seed), []
    for category in FIRE_CLASSES:
        errors = [
            np.hypot(*rng.normal(0, own, (2, samples, len(pair.moving_points)))).mean(1)
            for pair, own in zip(pairs, noise, strict=True)
            if pair.category == category
        ]
        if errors:
            areas.append(np.mean([np.array(errors) < threshold for threshold in THRESHOLDS], axis=(0, 1)))
    auc = np.mean(areas, axis=0)
    return {
        "pairs": len(pairs),
        "noise": float(np.median(noise)),
        "auc": float(auc.mean()),
        "deviation": float(auc.std()),
    }


def _noise(pair: FirePair) -> float:
    """Estimate the standard deviation of a coordinate from what a fitted quadratic transform leaves."""
    left = Quadratic.fit(pair.moving_points, pair.fixed_points)(pair.moving_points) - pair.fixed_points
    return float(np.sqrt((left**2).sum() / (2 * (len(left) - COEFFICIENTS))))


__all__ = ["measure_noise"]
