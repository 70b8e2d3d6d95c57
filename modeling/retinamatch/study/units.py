"""What a study does, in units: the pairs of one eye, and which photograph of it is the fixed one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .table import Pair, Photograph, StudyError, visit_order


#: Which photograph of an eye the others are registered to.
FIRST, PREVIOUS, BEST = "first", "previous", "best"
CHOICES = (FIRST, PREVIOUS, BEST)
# Pairs of a unit at most, so that the work of an eye with many visits is shared.
_PAIRS = 24


@dataclass(frozen=True)
class Unit:
    """Pairs that have photographs in common; or the photographs of one eye, of which the best is still to be chosen.

    Attributes:
        pairs: What is to be registered.
        photographs: Of an eye, in order; the others are registered to the best of them. Empty where there are pairs.
    """

    pairs: tuple[Pair, ...] = ()
    photographs: tuple[Photograph, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs) or max(0, len(self.photographs) - 1)


def group_eyes(photographs: Iterable[Photograph]) -> dict[tuple[str, str], list[Photograph]]:
    """Put the photographs of each eye together, in the order of their visits."""
    eyes: dict[tuple[str, str], list[Photograph]] = defaultdict(list)
    for photograph in photographs:
        eyes[photograph.whose].append(photograph)
    return {whose: sorted(eyes[whose], key=lambda one: (visit_order(one.visit), one.name)) for whose in sorted(eyes)}


def check_choice(to: str) -> None:
    """Say in words that a choice of the fixed photograph is not one of `CHOICES`.

    Raises:
        StudyError: It is not.
    """
    if to not in CHOICES:
        raise StudyError(f"Unknown choice {to!r} of the fixed photograph; known are: {', '.join(CHOICES)}.")


def plan_units(
    photographs: Sequence[Photograph], pairs: Sequence[Pair], to: str, done: frozenset[str] = frozenset()
) -> Iterator[Unit]:
    """Plan what is left to do.

    Args:
        photographs: Of a study whose table has a photograph a row.
        pairs: Of a study whose table has a pair a row.
        to: One of `CHOICES`, for photographs.
        done: Keys of the pairs that are done already.

    Raises:
        StudyError: The choice is not known.
    """
    check_choice(to)
    if pairs:
        yield from _pieces([pair for pair in pairs if pair.key not in done])
        return
    for visits in group_eyes(photographs).values():
        if to != BEST:
            yield from _pieces([pair for pair in pairs_of(visits, to) if pair.key not in done])
            continue
        chosen = next((one for one in visits if any(pair.key in done for pair in pairs_onto(visits, one))), None)
        if chosen is not None:  # by an earlier run
            yield from _pieces([pair for pair in pairs_onto(visits, chosen) if pair.key not in done])
        elif len(visits) > 1:
            yield Unit(photographs=tuple(visits))


def pairs_of(visits: Sequence[Photograph], to: str) -> list[Pair]:
    """Give the pairs of an eye: all onto the first, or each onto the one before."""
    if to == FIRST:
        return pairs_onto(visits, visits[0])
    return [Pair(later, earlier) for earlier, later in zip(visits, visits[1:])]


def pairs_onto(visits: Sequence[Photograph], fixed: Photograph) -> list[Pair]:
    """Give the pairs of an eye, all onto one of its photographs."""
    return [Pair(photograph, fixed) for photograph in visits if photograph is not fixed]


def _pieces(pairs: Sequence[Pair]) -> Iterator[Unit]:
    for start in range(0, len(pairs), _PAIRS):
        yield Unit(tuple(pairs[start : start + _PAIRS]))


__all__ = [
    "BEST",
    "CHOICES",
    "FIRST",
    "PREVIOUS",
    "Unit",
    "check_choice",
    "group_eyes",
    "pairs_of",
    "pairs_onto",
    "plan_units",
]
