"""The work behind the buttons, step by step: each step can be reported, and is a place to stop when nobody waits.

Nothing here knows the page. The generators give `Step`s and return their result.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from retinamatch.estimation import EstimationSettings
from retinamatch.estimation.estimator import check_points
from retinamatch.keypoint_set import Keypoints
from retinamatch.registrar import THOROUGH, Step, check_inside
from retinamatch.registration import Registration
from retinamatch.series import Series, gather, register_visits

from ..files.uploads import Upload
from .models import registrar
from .ranges import NumberError
from .session import Pair


@dataclass(frozen=True)
class Choices:
    """What can be changed without running the network again; the defaults are right for most.

    Attributes:
        transform: "auto" or a class of transforms.
        least_score: Keypoints that the network is less sure of are left out.
        ratio: Largest ratio of the distances to the nearest and second nearest descriptor; 0 for the model's own.
        inlier_distance: Working pixels (768 across the field of view) within which a match agrees.
        effort: "thorough" tries other views of photographs that do not match as they were given; "fast" does not.
    """

    transform: str = "auto"
    least_score: float = 0.0
    ratio: float = 0.0
    inlier_distance: float = EstimationSettings.inlier_radius
    effort: str = THOROUGH

    @property
    def measured(self) -> bool:
        """Whether the error rates were measured with these thresholds."""
        return replace(self, transform="auto", effort=THOROUGH) == Choices()


DEFAULTS = Choices()


@dataclass
class Outcome:
    """A registration with the photographs that it belongs to.

    Attributes:
        pair: Photographs and keypoints.
        registration: How they lie on each other.
        moving: (H, W, 3), decoded.
        fixed: (H', W', 3), decoded.
        choices: What it was made with.
    """

    pair: Pair
    registration: Registration
    moving: np.ndarray
    fixed: np.ndarray
    choices: Choices


def find_pair(
    moving: Upload, fixed: Upload, model: str, points: list[list[float]] | None = None
) -> Generator[Step, None, tuple[Pair, list[np.ndarray]]]:
    """Read two photographs and find their keypoints: the part that needs the network.

    Args:
        moving: The photograph that is mapped.
        fixed: The photograph that it is mapped onto.
        model: What finds the keypoints.
        points: Places that a person set in both, rows of four pixels.

    Raises:
        NumberError: A point lies outside of its photograph.
    """
    start = time.perf_counter()
    read = yield from read_photographs([moving, fixed])
    seconds = time.perf_counter() - start
    by_hand = None
    if points is not None:
        try:
            by_hand = check_points(points)
            check_inside(by_hand, (read[0], read[1]))
        except ValueError as error:
            raise NumberError(str(error)) from None
    photos, keypoints, timings = yield from registrar(model).find_steps(read, [moving.name, fixed.name])
    timings["read"] += seconds
    return Pair(moving, fixed, *keypoints, model, timings, by_hand), photos


def read_photographs(uploads: list[Upload]) -> Generator[Step, None, list[np.ndarray]]:
    """Decode photographs; whoever stops listening ends the decoding as well."""
    photos = []
    for number, upload in enumerate(uploads):
        step = Step("read", f"reading {upload.name}", 0.1 * number / len(uploads))
        yield step
        reading = upload.reading()
        while True:
            try:
                next(reading)
            except StopIteration as end:
                photos.append(end.value)
                break
            yield step
    return photos


def estimate_pair(pair: Pair, choices: Choices, photos: list[np.ndarray] | None = None):
    """Match and estimate with keypoints that were found before: no network.

    Args:
        pair: From `find_pair`.
        choices: Transform and thresholds.
        photos: The decoded photographs; read again when None.

    Returns:
        By the generator: `Outcome`.
    """
    if photos is None:
        photos = yield from read_photographs([pair.moving, pair.fixed])
    keypoints = tuple(_surest(one, choices.least_score) for one in (pair.moving_keypoints, pair.fixed_keypoints))
    settings = EstimationSettings(inlier_radius=choices.inlier_distance)
    engine = registrar(pair.model)
    registration = yield from engine.estimate_steps(
        *keypoints,
        transform=choices.transform,
        ratio=choices.ratio or None,
        settings=settings,
        points=pair.points,
        photographs=tuple(photos) if choices.effort == THOROUGH else None,
    )
    registration.timings = {**pair.timings, **registration.timings}
    return Outcome(pair, registration, *photos, choices)


def register_history(uploads: list[Upload], fixed: int, model: str, transform: str) -> Generator[Step, None, Series]:
    """Register three or more photographs to one of them; those that cannot be are named in the series."""
    visits = []
    which = uploads[fixed].name if 0 <= fixed < len(uploads) else "the fixed one"
    yield Step("keypoints", f"finding keypoints of {which}", 0.02)
    names = [upload.name for upload in uploads]
    readers = [upload.read for upload in uploads]
    for visit in register_visits(readers, fixed, registrar(model), names, transform=transform):
        visits.append(visit)
        words = f"{len(visits)} of {len(uploads)} photographs are done"
        yield Step("estimate", words, 0.8 * len(visits) / len(uploads))
    return gather(iter(visits), fixed)


def _surest(keypoints: Keypoints, least_score: float) -> Keypoints:
    kept = keypoints.scores >= least_score
    if least_score <= 0 or kept.all():
        return keypoints
    return replace(
        keypoints,
        points=keypoints.points[kept],
        descriptors=keypoints.descriptors[kept],
        scores=keypoints.scores[kept],
    )


__all__ = [
    "Choices",
    "DEFAULTS",
    "Outcome",
    "estimate_pair",
    "find_pair",
    "read_photographs",
    "register_history",
]
