"""In which ranges numbers may lie: checked before anything is done with them."""

import math
from numbers import Real


class NumberError(ValueError):
    """A number that is none, or out of its range; the message is one sentence for the visitor."""


# In the words of the page, by their names at the endpoints.
RANGES = {
    "least_score": ("least keypoint score", 0.0, 0.9),
    "ratio": ("descriptor ratio", 0.0, 1.0),
    "inlier_distance": ("inlier distance", 1.0, 8.0),
}


def check_number(value, words: str, least: float, most: float) -> float:
    """Return a number that lies in its range.

    Args:
        value: What was handed in.
        words: What it is called.
        least: Its lower end.
        most: Its upper end.

    Raises:
        NumberError: It is no number, not finite, or out of the range.
    """
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and least <= value <= most
    if not good:
        got = repr(value)
        got = got if len(got) <= 40 else f"{got[:40]}..."
        raise NumberError(f"The {words} has to be a number from {least:g} to {most:g}, got {got}.")
    return float(value)


__all__ = ["NumberError", "RANGES", "check_number"]
