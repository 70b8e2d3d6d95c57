"""Who is it: photographs of persons, and which pairs of them show one eye."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np


# A few hundred pairs of different eyes say as much about a rule as all of them do.
MOST_IMPOSTORS = 2000


def identity_pairs(eyes: Sequence[tuple[str, str, str]], seed: int, most_impostors: int = MOST_IMPOSTORS) -> list[dict]:
    """List the genuine pairs, all of them, and impostor pairs, drawn where there are too many.

    Args:
        eyes: (source, patient, side) of every photograph, in the order of their index. The two eyes of a person are
            two identities; an unknown side counts as one eye.
        seed: Of the draw.
        most_impostors: Largest number of impostor pairs.

    Returns:
        Rows of `identity_pairs`, genuine ones first. Photographs of two sources are never paired: another camera would
        give the answer away.
    """
    pairs = list(combinations(range(len(eyes)), 2))
    genuine = [pair for pair in pairs if eyes[pair[0]] == eyes[pair[1]]]
    impostors = [pair for pair in pairs if eyes[pair[0]] != eyes[pair[1]] and eyes[pair[0]][0] == eyes[pair[1]][0]]
    if len(impostors) > most_impostors:
        chosen = np.random.default_rng(seed).choice(len(impostors), most_impostors, replace=False)
        impostors = [impostors[index] for index in sorted(chosen)]
    rows = [(pair, True) for pair in genuine] + [(pair, False) for pair in impostors]
    return [{"first": first, "second": second, "genuine": same} for (first, second), same in rows]


__all__ = ["identity_pairs"]
