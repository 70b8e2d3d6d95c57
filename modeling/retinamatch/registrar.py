"""The whole way for one pair of photographs, or for many: read, find keypoints, match, estimate.

`Registrar` loads an extractor once and registers as many pairs as it is given; `register` is the same in one call. The
answer is a `Registration`: the transform that maps pixels of the moving photograph to pixels of the fixed one, with the
matches it rests on, or the status "no reliable match" with a reason in words.
"""

import functools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence, Set, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from .dicom import spacing_of
from .engines import find_extractor
from .estimation import EstimationSettings, estimate
from .estimation.decision import overlap_grid
from .estimation.estimator import check_points
from .extractor import AUTO, DEFAULT_MODEL, Extractor, PreparingExtractor, UnknownNameError
from .keypoint_cache import CachedExtractor
from .keypoint_set import Keypoints
from .matching import match_keypoints
from .photograph_views import AS_GIVEN, PhotographViews
from .photographs import PhotographError, PhotographLike, photograph_name, read_photograph
from .registration import FailedRegistration, Registration, timed
from .transforms import TRANSFORM_NAMES
from .view_search import Proposal, ViewSearch, closer_views


if TYPE_CHECKING:
    import torch


#: Where photographs do not match as they were given, or are turned, other views of them are tried; or not.
FAST, THOROUGH = "fast", "thorough"
EFFORTS = (FAST, THOROUGH)
# Of a refused pair, so many views of the two photographs at most, those as they were given included, smaller ones by
# their area: the network is what takes time.
_MOST_VIEWS = 6
# Values of a photograph from which on two are not prepared at a time: the memory counts then.
_LARGE = 120_000_000
Result = TypeVar("Result")
# The moving and the fixed one, (H, W, 3) uint8 RGB each, or seen in other pairs too.
Photographs = tuple[np.ndarray | PhotographViews, np.ndarray | PhotographViews]
Sides = tuple[PhotographViews, PhotographViews]


@dataclass(frozen=True)
class Step:
    """What is done next, for progress bars and pages; between two steps is a place to stop.

    Attributes:
        name: "read", "keypoints", "match", "estimate" or "views", as in `Registration.timings`.
        words: What is being done, for people.
        fraction: Of the time that a pair takes, what is over by then, roughly; 0 to 1.
    """

    name: str
    words: str
    fraction: float


def finish(steps: Generator[Step, None, Result], show: Callable[[Step], object] = lambda step: None) -> Result:
    """Go through all steps of some work, show each before it is done, and return the result of the work."""
    while True:
        try:
            show(next(steps))
        except StopIteration as end:
            return end.value


class Registrar:
    """Register pairs of photographs with one extractor, loaded once.

    Args:
        model: Name of a model of the package (see `known_models`), a folder written by `save_pretrained`, a repository
            of the Hub, a file *.onnx, "rootsift" for the classical baseline, or an extractor.
        transform: "auto" (the richest class that the matches support) or the name of a class of transforms.
        device: Where torch runs the network; a GPU when there is one by default.
        effort: "thorough" tries other views of photographs that do not match as they were given (turned, smaller,
            reversed contrast, another channel), and looks once more at those that match although they are
            turned or of other width; "fast" does not. Any other pair that matches at first costs the same.
        dtype: Precision of the network: "auto" (bfloat16 on a CPU that computes in it, where it takes half the time,
            else float32), "float32", "bfloat16" (torch alone) or "int8" (ONNX Runtime alone).
        engine: What runs the network: "torch", "onnx" (ONNX Runtime, with the same keypoints), or "auto", torch where
            it is installed.
        cache: Folder in which the keypoints of each photograph are kept, so that they are found once for all pairs and
            runs; see `keypoint_cache`. None keeps none.

    Raises:
        UnknownNameError: The model, transform, device, effort, precision or engine does not exist.
        MissingTorchError: torch is needed and not installed.
    """

    def __init__(
        self,
        model: str | Path | Extractor = DEFAULT_MODEL,
        transform: str = "auto",
        device: "torch.device | str | None" = None,
        effort: str = THOROUGH,
        dtype: str = AUTO,
        cache: str | Path | None = None,
        engine: str = AUTO,
    ):
        self.transform, self.effort = check_transform(transform), check_effort(effort)
        if not (isinstance(model, str | Path) or hasattr(model, "ratio")):
            raise UnknownNameError(f"A model is a name, a folder, a file or an extractor, not {type(model).__name__}.")
        extractor = find_extractor(model, device, dtype, engine) if isinstance(model, str | Path) else model
        self.extractor = extractor if cache is None else CachedExtractor(extractor, cache)
        # Other views of photographs are those of one pair, and not kept.
        self._of_views = extractor

    def keypoints(self, photographs: Sequence[PhotographLike]) -> list[Keypoints]:
        """Find the keypoints of photographs, all in one batch.

        Args:
            photographs: Of any sizes.

        Returns:
            Keypoints of each photograph, in its own pixels.

        Raises:
            PhotographError: A photograph cannot be read; the sentence names it.
        """
        with _Ahead(photographs, self.extractor) as ahead:
            return self.extractor.find([ahead.prepared(number) for number in range(len(photographs))])

    def match(self, moving: Keypoints, fixed: Keypoints, ratio: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Match two sets of keypoints with the thresholds of the extractor; see `match_keypoints`.

        Args:
            moving: Keypoints of the moving photograph.
            fixed: Keypoints of the fixed photograph.
            ratio: Another one than the extractor's; see `Extractor.ratio`.

        Returns:
            (M, 2) int64 rows of the moving and of the fixed keypoints, and (M,) float32 scores in (0, 1].
        """
        ratio = self.extractor.ratio if ratio is None else ratio
        return match_keypoints(moving, fixed, ratio, self.extractor.temperature)

    def register(
        self,
        moving: PhotographLike,
        fixed: PhotographLike,
        transform: str | None = None,
        points: ArrayLike | None = None,
    ) -> Registration:
        """Find the transform from one photograph to another.

        Args:
            moving: The photograph that is mapped.
            fixed: The photograph that it is mapped onto.
            transform: Another choice than the one this object was made with.
            points: Three or more places that a person set, for photographs that are not registered without: rows of x
                and y in pixels of the moving photograph, x and y in pixels of the fixed one. The outcome is judged as
                always, and its evidence says that it started from them.

        Returns:
            The outcome, true where the pair is registered.

        Raises:
            PhotographError: A photograph cannot be read; the sentence names it.
            UnknownNameError: The transform does not exist.
            ValueError: The points are no such rows, or lie outside of the photographs.
        """
        return finish(self.steps(moving, fixed, transform, points))[0]

    def steps(
        self,
        moving: PhotographLike,
        fixed: PhotographLike,
        transform: str | None = None,
        points: ArrayLike | None = None,
    ) -> Generator[Step, None, tuple[Registration, tuple[np.ndarray, np.ndarray]]]:
        """Register a pair step by step; see `register`.

        Returns:
            By the generator: the registration, and the two photographs that were read.
        """
        transform = self.transform if transform is None else check_transform(transform)
        by_hand = None if points is None else check_points(points)
        names = [
            photograph_name(source) or f"the {which} photograph"
            for source, which in ((moving, "moving"), (fixed, "fixed"))
        ]
        photographs, keypoints, timings = yield from self.find_steps([moving, fixed], names)
        pair = photographs[0], photographs[1]
        if by_hand is not None:
            check_inside(by_hand, pair)
        registration = yield from self.estimate_steps(
            keypoints[0], keypoints[1], transform, points=by_hand, photographs=pair
        )
        registration.timings, registration.fixed_spacing = {**timings, **registration.timings}, spacing_of(fixed)
        return registration, pair

    def find_steps(
        self, sources: Sequence[PhotographLike | Callable[[], np.ndarray]], names: Sequence[str]
    ) -> Generator[Step, None, tuple[list[np.ndarray], list[Keypoints], dict[str, float]]]:
        """Read photographs and find their keypoints, one by one: the steps that need the network.

        Args:
            sources: Photographs, or functions that read one.
            names: What they are called.

        Returns:
            By the generator: the photographs, their keypoints, and the seconds of reading and finding.
        """
        photographs: list[np.ndarray] = []
        keypoints: list[Keypoints] = []
        timings: dict[str, float] = {}
        with _Ahead(sources, self.extractor) as ahead:
            for number, name in enumerate(names):
                yield Step("read", f"reading {name}", 0.1 * number / len(sources))
                with timed(timings, "read"):
                    photographs.append(ahead.photograph(number))
            for number, name in enumerate(names):
                yield Step("keypoints", f"finding keypoints of {name}", 0.1 + 0.6 * number / len(sources))
                with timed(timings, "keypoints"):
                    keypoints += self.extractor.find([ahead.prepared(number)])
        return photographs, keypoints, timings

    def register_many(
        self,
        pairs: Iterable[tuple[PhotographLike, PhotographLike]],
        batch_size: int = 2,
        progress: bool = False,
        errors: Literal["return", "raise"] = "return",
    ) -> list[Registration | FailedRegistration]:
        """Register many pairs; photographs are read as their turn comes and not kept.

        Args:
            pairs: Pairs (moving, fixed) of photographs.
            batch_size: Pairs that go through the network at once.
            progress: Show a progress bar.
            errors: What becomes of a pair of which a photograph cannot be read: "return" puts a `FailedRegistration` in
                its place, "raise" ends the work with the error.

        Returns:
            One entry per pair, in order, true where the pair is registered. The time of reading and of keypoints is
            shared equally in a batch.

        Raises:
            PhotographError: A photograph cannot be read, and errors are raised.
            ValueError: There is something else than pairs, or no batch of that size.
        """
        if errors not in ("return", "raise"):
            raise ValueError(f'`errors` must be "return" or "raise", got {errors!r}.')
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ValueError(f"`batch_size` must be a whole number of at least 1, got {batch_size!r}.")
        pairs = _checked_pairs(pairs)
        outcomes: list[Registration | FailedRegistration] = []
        with tqdm(total=len(pairs), unit="pair", disable=not progress) as bar:
            for start in range(0, len(pairs), batch_size):
                outcomes += self._register_batch(pairs[start : start + batch_size], errors)
                bar.update(len(outcomes) - bar.n)
        return outcomes

    def register_keypoints(
        self,
        moving: Keypoints,
        fixed: Keypoints,
        transform: str | None = None,
        ratio: float | None = None,
        settings: EstimationSettings | None = None,
        points: np.ndarray | None = None,
        photographs: Photographs | Callable[[], Photographs] | None = None,
    ) -> Registration:
        """Match and estimate alone, for keypoints found before: one photograph in many pairs, or another transform.

        Args:
            moving: Keypoints of the moving photograph.
            fixed: Keypoints of the fixed photograph.
            transform: Another choice than the one this object was made with.
            ratio: Of the descriptors, see `match`.
            settings: Of the estimator and its decision; the measured error rates hold for the default ones.
            points: (P, 4), places that a person set; see `register`.
            photographs: The moving and the fixed photograph, (H, W, 3) uint8 RGB each, or a function that gives them:
                where the keypoints do not match and the effort is thorough, other views of them are tried, unless there
                are points. What `views` made of a photograph of many pairs keeps its views for all of them.

        Returns:
            The outcome, true where the pair is registered.

        Raises:
            UnknownNameError: The transform does not exist.
        """
        return finish(self.estimate_steps(moving, fixed, transform, ratio, settings, points, photographs))

    def estimate_steps(
        self,
        moving: Keypoints,
        fixed: Keypoints,
        transform: str | None = None,
        ratio: float | None = None,
        settings: EstimationSettings | None = None,
        points: np.ndarray | None = None,
        photographs: Photographs | Callable[[], Photographs] | None = None,
    ) -> Generator[Step, None, Registration]:
        """Match and estimate step by step; see `register_keypoints`."""
        transform = self.transform if transform is None else check_transform(transform)
        timings: dict[str, float] = {}
        yield Step("match", "matching keypoints", 0.7)
        with timed(timings, "match"):
            matches, scores = self.match(moving, fixed, ratio)
        yield Step("estimate", "estimating the transform", 0.75)
        with timed(timings, "estimate"):
            estimated = estimate(moving, fixed, matches, scores, transform=transform, settings=settings, points=points)
        registration = Registration(estimated, moving.without_maps(), fixed.without_maps(), timings)
        if photographs is None or points is not None or self.effort == FAST:
            return registration

        @functools.cache
        def sides() -> Sides:  # read and looked at once, for both looks
            one, other = photographs() if callable(photographs) else photographs
            return self._seen(one, moving), self._seen(other, fixed)

        if not registration:
            registration = yield from self._view_steps(registration, sides, (moving, fixed), transform, ratio, settings)
        return (yield from self._closer_steps(registration, sides, (moving, fixed), transform, ratio, settings))

    def views(self, photograph: np.ndarray, keypoints: Keypoints | None = None) -> PhotographViews:
        """Prepare a photograph of many pairs for `register_keypoints`: each view of it is looked at once.

        Args:
            photograph: (H, W, 3) uint8 RGB.
            keypoints: Of the photograph as it is given, where they are known.

        Returns:
            What `register_keypoints` takes in the place of the photograph.
        """
        return PhotographViews(self._of_views, photograph, keypoints)

    def _seen(self, photograph: np.ndarray | PhotographViews, keypoints: Keypoints) -> PhotographViews:
        return self.views(photograph, keypoints) if isinstance(photograph, np.ndarray) else photograph

    def _closer_steps(
        self,
        found: Registration,
        sides: Callable[[], Sides],
        keypoints: tuple[Keypoints, Keypoints],
        transform: str,
        ratio: float | None,
        settings: EstimationSettings | None,
    ) -> Generator[Step, None, Registration]:
        """Look again at a pair that matches although it is turned or shows fields of different width.

        Returns:
            By the generator: the registration of the views that undo that, where more matches agree; else `found`, a
            rough one where it was found in smaller views and those do not match.
        """
        proposal = None if found.transform is None else closer_views(*keypoints, found.transform, found.views)
        if proposal is None:
            return found
        yield Step("views", f"looking again: {proposal.words}", 0.99)
        timings: dict[str, float] = {}
        with timed(timings, "views"):
            one, other = (
                given if view == AS_GIVEN else side.find(view)
                for given, side, view in zip(keypoints, sides(), (proposal.moving, proposal.fixed), strict=True)
            )
            again = self.register_keypoints(one, other, transform, ratio, settings)
        found.timings["views"] = found.timings.get("views", 0.0) + timings["views"]
        if not again and min(view.zoom for view in found.views) < 1:
            # Found by small views alone, and not confirmed at full size: the place may be right, pixels are not.
            found.estimate = replace(found.estimate, rough=True)
        if not again or again.evidence["agreeing"] <= found.evidence["agreeing"]:
            return found
        return self._in_views(again, proposal, keypoints, found.timings)

    def _in_views(
        self, found: Registration, proposal: Proposal, keypoints: tuple[Keypoints, Keypoints], timings: dict[str, float]
    ) -> Registration:
        """Say in a registration of other views which ones they are, and measure the overlap of the whole fields."""
        assert found.transform is not None
        overlap = overlap_grid(*keypoints, found.transform)[1]
        found.estimate = replace(found.estimate, overlap=overlap, evidence={**found.evidence, "overlap": overlap})
        found.views, found.timings = (proposal.moving, proposal.fixed), timings
        return found

    def _view_steps(
        self,
        first: Registration,
        sides: Callable[[], Sides],
        keypoints: tuple[Keypoints, Keypoints],
        transform: str,
        ratio: float | None,
        settings: EstimationSettings | None,
    ) -> Generator[Step, None, Registration]:
        """Try other views of a pair that does not match as it was given.

        Returns:
            By the generator: the registration of the first views that match; else `first`, and its reason says so where
            the mirror image matches.
        """
        if any(one.problem for one in keypoints):
            return first
        yield Step("views", "looking for another view", 0.8)
        timings: dict[str, float] = {}
        with timed(timings, "views"):
            one, other = sides()
            search = ViewSearch(one.photograph, other.photograph, (one.whole, other.whole))
            proposals = search.propose(getattr(self._of_views, "invariant", False))
        looked = {(0, AS_GIVEN), (1, AS_GIVEN)}

        def look(proposal: Proposal, moving: PhotographViews) -> Registration:
            looked.update(enumerate((proposal.moving, proposal.fixed)))
            pair = moving.find(proposal.moving), other.find(proposal.fixed)
            return self.register_keypoints(*pair, transform, ratio, settings)

        for number, proposal in enumerate(proposals):
            if sum(min(view.zoom, 1) ** 2 for _, view in looked) >= _MOST_VIEWS:
                break
            yield Step("views", f"trying another view: {proposal.words}", 0.8 + 0.18 * number / len(proposals))
            with timed(timings, "views"):
                again = look(proposal, one)
            if again:
                return self._in_views(again, proposal, keypoints, {**first.timings, **timings})
        yield Step("views", "trying the mirror image", 0.98)
        with timed(timings, "views"):
            mirrored = search.propose_mirrored()
            if mirrored is not None:
                if look(mirrored, self.views(search.mirrored)):
                    reason = "the mirror image matches: one of the two photographs is mirrored"
                    first.estimate = replace(first.estimate, reason=reason)
        first.timings |= timings
        return first

    def _register_batch(
        self, pairs: Sequence[tuple[PhotographLike, PhotographLike]], errors: str
    ) -> list[Registration | FailedRegistration]:
        read: list[tuple[np.ndarray, np.ndarray] | FailedRegistration] = []
        timings: dict[str, float] = {}
        with _Ahead([photograph for pair in pairs for photograph in pair], self.extractor) as ahead:
            with timed(timings, "read"):
                for first in range(0, 2 * len(pairs), 2):
                    try:
                        read.append((ahead.photograph(first), ahead.photograph(first + 1)))
                    except PhotographError as error:
                        if errors == "raise":
                            raise
                        read.append(FailedRegistration(error))
            good = [number for number, pair in enumerate(read) if not isinstance(pair, FailedRegistration)]
            with timed(timings, "keypoints"):
                prepared = [ahead.prepared(2 * number + which) for number in good for which in (0, 1)]
                keypoints = iter(self.extractor.find(prepared))
        outcomes: list[Registration | FailedRegistration] = []
        for (_, fixed), pair in zip(pairs, read):
            if isinstance(pair, FailedRegistration):
                outcomes.append(pair)
                continue
            found = next(keypoints), next(keypoints)
            registration = self.register_keypoints(*found, photographs=pair)
            shared = {step: seconds / len(good) for step, seconds in timings.items()}
            registration.timings, registration.fixed_spacing = {**shared, **registration.timings}, spacing_of(fixed)
            outcomes.append(registration)
        return outcomes


def register(
    moving: PhotographLike,
    fixed: PhotographLike,
    transform: str = "auto",
    model: str | Path | Extractor = DEFAULT_MODEL,
    effort: str = THOROUGH,
    points: ArrayLike | None = None,
) -> Registration:
    """Register one pair of photographs; the model is loaded at the first call and kept.

    Args:
        moving: The photograph that is mapped: path, bytes, open file, PIL image, array, tensor, or row of `datasets`.
        fixed: The photograph that it is mapped onto.
        transform: "auto" or the name of a class of transforms.
        model: As for `Registrar`.
        effort: As for `Registrar`.
        points: As for `Registrar.register`.

    Returns:
        The outcome; its `registered` says whether there is a transform to believe in.

    Raises:
        PhotographError: A photograph cannot be read; the sentence names it.
        UnknownNameError: The model, the transform or the effort does not exist.
        MissingTorchError: torch is needed and not installed.
        ValueError: The points are no rows of four numbers, or lie outside of the photographs.
    """
    check_transform(transform)
    named = isinstance(model, str | Path)
    registrar = _cached_registrar(str(model), check_effort(effort)) if named else Registrar(model, effort=effort)
    return registrar.register(moving, fixed, transform, points)


def check_inside(points: np.ndarray, photographs: tuple[np.ndarray, np.ndarray]) -> None:
    """Check that places set by hand, (P, 4), lie in the moving and the fixed photograph, or raise `ValueError`."""
    for name, part, photograph in zip(("moving", "fixed"), (points[:, :2], points[:, 2:]), photographs):
        height, width = photograph.shape[:2]
        outside = ((part < -0.5) | (part > (width - 0.5, height - 0.5))).any(1)
        if outside.any():
            x, y = part[outside][0]
            raise ValueError(
                f"The point ({x:g}, {y:g}) lies outside of the {name} photograph, which has {width} x {height} pixels."
            )


class _Ahead:
    """Read photographs and prepare them for an extractor, two at a time and before their turn comes.

    Most of the work is done in libraries that let other threads run meanwhile.
    """

    def __init__(self, sources: Sequence[PhotographLike | Callable[[], np.ndarray]], extractor: Extractor):
        self._pool, self._alone = ThreadPoolExecutor(2, "retinamatch"), Lock()
        self._read = [self._pool.submit(_read, source) for source in sources]
        self._prepare = extractor.prepare if isinstance(extractor, PreparingExtractor) else None
        self._prepared = [self._pool.submit(self._after, read) for read in self._read]

    def photograph(self, number: int) -> np.ndarray:
        """Wait for a photograph."""
        return self._read[number].result()

    def prepared(self, number: int) -> Any:
        """Wait for what `find` of the extractor takes."""
        return self._prepared[number].result()

    def _after(self, read: Future) -> Any:
        photograph = read.result()
        if self._prepare is None:
            return photograph
        with self._alone if photograph.size > _LARGE else nullcontext():
            return self._prepare(photograph)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _read(source: PhotographLike | Callable[[], np.ndarray]) -> np.ndarray:
    return source() if callable(source) else read_photograph(source)


def _checked_pairs(pairs: Iterable[Any]) -> list[tuple[PhotographLike, PhotographLike]]:
    """List pairs, each made sure to be one: a path, a row or any other photograph alone is none.

    Raises:
        ValueError: There is something else; the sentence says what.
    """
    wanted = "`pairs` must be pairs (moving, fixed) of photographs"
    if isinstance(pairs, str | bytes | Mapping) or not isinstance(pairs, Iterable):
        raise ValueError(f"{wanted}, got a single {type(pairs).__name__}.")
    listed = list(pairs)
    for pair in listed:
        if isinstance(pair, str | bytes | Mapping | Set) or not isinstance(pair, Sized):
            raise ValueError(f"{wanted}, got {type(pair).__name__} in place of a pair.")
        if len(pair) != 2:
            raise ValueError(f"{wanted}, got {type(pair).__name__} of length {len(pair)} in place of a pair.")
    return listed


def check_transform(name: str) -> str:
    """Return the name of a transform class or "auto", or raise `UnknownNameError`, which lists them."""
    if name not in TRANSFORM_NAMES:
        raise UnknownNameError(f"Unknown transform {name!r}; known are: {', '.join(TRANSFORM_NAMES)}.")
    return name


def check_effort(name: str) -> str:
    """Return the name of an effort, or raise `UnknownNameError`, which lists them."""
    if name not in EFFORTS:
        raise UnknownNameError(f"Unknown effort {name!r}; known are: {', '.join(EFFORTS)}.")
    return name


@functools.lru_cache(maxsize=2)
def _cached_registrar(model: str, effort: str) -> Registrar:
    return Registrar(model, effort=effort)


__all__ = [
    "EFFORTS",
    "FAST",
    "Registrar",
    "Step",
    "THOROUGH",
    "check_effort",
    "check_inside",
    "check_transform",
    "finish",
    "register",
]
