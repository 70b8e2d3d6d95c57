"""The whole way for one pair of photographs, or for many: read, find keypoints, match, estimate.

`Registrar` loads a model once and registers as many pairs as it is given; `register` is the same in one call. The
answer is a `Registration`: the transform that maps pixels of the moving photograph to pixels of the fixed one, with the
matches it rests on, or the status "no reliable match" with a reason in words.
"""

import functools
import math
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import AutoModelForKeypointDetection

from .estimation import Estimate, EstimationSettings, estimate
from .image_processing_retina import RetinaImageProcessor
from .keypoint_set import Keypoints
from .keypoints import mutual_nearest_matches
from .photographs import read_photograph
from .rootsift import rootsift_keypoints
from .transforms import TRANSFORMS, Transform


WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "lk-superretina-small"
FEATURES = ("model", "rootsift")
# Largest ratio of distances to the nearest and the second nearest descriptor (Lowe, IJCV 2004); models have their own.
ROOTSIFT_RATIO = 0.9
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class UnknownNameError(ValueError):
    """A model, transform or kind of features that does not exist; the sentence lists those that do."""


@dataclass(eq=False, repr=False)
class Registration:
    """How one photograph lies on another, or why that cannot be said; true when it is registered.

    Attributes:
        estimate: The transform with the matches that it rests on, and whether to believe it.
        moving_keypoints: Keypoints of the moving photograph, in its pixels.
        fixed_keypoints: Keypoints of the fixed photograph, in its pixels.
        timings: Seconds of each step: `read`, `keypoints`, `match`, `estimate`, and `warp` when it was last called.
    """

    estimate: Estimate
    moving_keypoints: Keypoints
    fixed_keypoints: Keypoints
    timings: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.registered

    def __repr__(self) -> str:
        return f"<Registration {self.estimate}>"

    @property
    def registered(self) -> bool:
        """Whether there is a transform to believe in."""
        return self.estimate.accepted

    @property
    def status(self) -> str:
        """The word for `registered` in JSON: "registered" or "no reliable match"."""
        return self.estimate.status

    @property
    def reason(self) -> str:
        """Why there is no reliable match, in words; "" when registered."""
        return self.estimate.reason

    @property
    def transform(self) -> Transform | None:
        """Maps pixels of the moving photograph, (N, 2), to pixels of the fixed one; None when not registered."""
        return self.estimate.transform

    @property
    def matches(self) -> np.ndarray:
        """(M, 2) integer array, a row is the index of a moving keypoint and of the fixed keypoint it matches."""
        return self.estimate.matches

    @property
    def match_scores(self) -> np.ndarray:
        """(M,) scores of the matches, higher is better."""
        return self.estimate.scores

    @property
    def inliers(self) -> np.ndarray:
        """(M,) boolean array, the matches that agree with the transform; none of a pair that is not registered."""
        return self.estimate.inliers & self.registered

    @property
    def residual(self) -> float:
        """Median distance of the inliers after the transform, in pixels of the fixed photograph."""
        return self.estimate.residual

    @property
    def overlap(self) -> float:
        """Share of the fixed photograph's field of view that the moving one covers, 0 to 1."""
        return self.estimate.overlap

    @property
    def evidence(self) -> dict:
        """The figures behind the decision."""
        return self.estimate.evidence

    @property
    def moving_points(self) -> np.ndarray:
        """(M, 2) matched points in pixels of the moving photograph, in the order of `matches`."""
        return self.moving_keypoints.points[self.matches[:, 0]]

    @property
    def fixed_points(self) -> np.ndarray:
        """(M, 2) matched points in pixels of the fixed photograph, in the order of `matches`."""
        return self.fixed_keypoints.points[self.matches[:, 1]]

    def warp(self, moving, order: int = 1, fill: int = 0) -> np.ndarray:
        """Draw the moving photograph on the pixel grid of the fixed one, black where it shows nothing.

        Args:
            moving: The moving photograph, anything `read_photograph` reads.
            order: Interpolation, 0 nearest, 1 linear, 3 cubic.
            fill: Gray level where the moving photograph shows nothing.

        Returns:
            uint8 RGB array (height, width, 3) of the fixed photograph's size.

        Raises:
            ValueError: The pair is not registered, or the photograph is not the moving one.
        """
        if self.transform is None:
            raise ValueError(f"There is nothing to warp with: {self.status} ({self.reason}).")
        moving = read_photograph(moving)
        if moving.shape[:2] != self.moving_keypoints.size:
            raise ValueError(
                f"The moving photograph was {_size_in_words(self.moving_keypoints.size)} pixels when it was "
                f"registered, this one is {_size_in_words(moving.shape[:2])}."
            )
        self.timings.pop("warp", None)
        with timed(self.timings, "warp"):
            return self.transform.warp(moving, size=self.fixed_keypoints.size, order=order, fill=fill)

    def to_dict(self) -> dict:
        """Put the outcome into numbers, strings, lists and dicts, ready for JSON.

        A pair that is not registered gives its status and reason alone: there is nothing else to use by mistake.
        """
        if self.transform is None:
            return {"status": self.status, "reason": self.reason}
        return {
            "status": self.status,
            "reason": self.reason,
            "transform": self.transform.to_dict(),
            "residual": float(self.residual),
            "overlap": float(self.overlap),
            "matches": len(self.matches),
            "inliers": int(self.inliers.sum()),
            "moving": dict(zip(("height", "width"), self.moving_keypoints.size)),
            "fixed": dict(zip(("height", "width"), self.fixed_keypoints.size)),
            "evidence": _plain(self.evidence),
            "timings": {name: round(seconds, 4) for name, seconds in self.timings.items()},
        }


class Registrar:
    """Registers pairs of photographs with one model, loaded once.

    Args:
        model: Name of a model of the package (see `known_models`), a folder written by `save_pretrained`, or a
            repository of the Hub. Not used with `features="rootsift"`.
        transform: "auto" (the richest class that the matches support) or the name of a class of `TRANSFORMS`.
        device: Where the model runs; a GPU when there is one by default.
        features: "model", or "rootsift" for the classical baseline.

    Raises:
        UnknownNameError: The model, transform or kind of features does not exist.
    """

    def __init__(
        self, model: str | Path = DEFAULT_MODEL, transform: str = "auto", device=None, features: str = "model"
    ):
        self.transform = check_transform(transform)
        if features not in FEATURES:
            raise UnknownNameError(f"Unknown features {features!r}; known are: {', '.join(FEATURES)}.")
        self.features = features
        self.matching = {"ratio": ROOTSIFT_RATIO}
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if features == "model":
            self.processor, self.model = _load(model)
            config = self.model.config
            self.matching = {"ratio": config.ratio_threshold, "temperature": config.matching_temperature}
            # Channels last is what the convolutions of CPUs are fastest in.
            self.model.to(self.device, memory_format=self.model.base_model.memory_format).eval()

    def keypoints(self, photos: Sequence) -> list[Keypoints]:
        """Find the keypoints of photographs, all in one batch.

        Args:
            photos: Photographs, anything `read_photograph` reads, of any sizes.

        Returns:
            Keypoints of each photograph, in its own pixels.
        """
        photos = [read_photograph(photo) for photo in photos]
        if self.features == "rootsift":
            return [rootsift_keypoints(photo) for photo in photos]
        inputs = self.processor(photos, return_tensors="pt").to(self.device)
        found = self.detect(inputs)
        canvas = inputs["pixel_values"].shape[-2:]
        frames = inputs["image_frames"].double().cpu().numpy()
        return [
            _photograph_keypoints(
                found, i, frames[i], photo.shape[:2], canvas, self.model.base_model.sample_descriptors
            )
            for i, photo in enumerate(photos)
        ]

    def detect(self, inputs):
        """Run the network on what the processor made, and nothing else: the step that another device can take over.

        Args:
            inputs: `pixel_values`, `pixel_mask` and `image_frames` of a batch, on `device`.

        Returns:
            `RetinaKeypointOutput` with descriptor maps.
        """
        with torch.inference_mode():
            return self.model(**inputs, output_descriptor_map=True)

    def match(self, moving: Keypoints, fixed: Keypoints, ratio: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Match two sets of keypoints: mutual nearest neighbours with ratio test.

        Args:
            moving: Keypoints of the moving photograph.
            fixed: Keypoints of the fixed photograph.
            ratio: Largest ratio of the distances to the nearest and the second nearest descriptor; the model's own
                when None.

        Returns:
            Matches, an (M, 2) integer array of indices (moving, fixed), and their scores, (M,).
        """
        if len(moving.points) == 0 or len(fixed.points) == 0:
            return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
        descriptors = [torch.as_tensor(k.descriptors, device=self.device)[None] for k in (moving, fixed)]
        matching = self.matching if ratio is None else {**self.matching, "ratio": ratio}
        partners, scores = mutual_nearest_matches(*descriptors, **matching)
        # (1, 2, K): row 0 holds, for each moving keypoint, the index of its fixed partner or -1.
        partners, scores = partners[0, 0].cpu().numpy(), scores[0, 0].cpu().numpy()
        matched = np.flatnonzero(partners >= 0)
        return np.stack([matched, partners[matched]], axis=1), scores[matched].astype(np.float64)

    def register(self, moving, fixed, transform: str | None = None) -> Registration:
        """Find the transform from one photograph to another.

        Args:
            moving: The photograph that is mapped: path, PIL image, array or tensor.
            fixed: The photograph that it is mapped onto.
            transform: Another choice than the one this object was made with.

        Raises:
            PhotographError: A photograph cannot be read; the sentence names it.
            UnknownNameError: The transform does not exist.
        """
        return self._register_batch([(moving, fixed)], transform)[0]

    def register_many(self, pairs: Iterable, batch_size: int = 2, progress: bool = False) -> list[Registration]:
        """Register many pairs; photographs are read as their turn comes and not kept.

        Args:
            pairs: Pairs (moving, fixed) of photographs.
            batch_size: Pairs that go through the model at once.
            progress: Show a progress bar.

        Returns:
            One `Registration` per pair, in order. The time of reading and of keypoints is shared equally in a batch.
        """
        pairs = list(pairs)
        registrations = []
        with tqdm(total=len(pairs), unit="pair", disable=not progress) as bar:
            for start in range(0, len(pairs), batch_size):
                registrations += self._register_batch(pairs[start : start + batch_size], None)
                bar.update(len(registrations) - bar.n)
        return registrations

    def register_keypoints(
        self,
        moving: Keypoints,
        fixed: Keypoints,
        transform: str | None = None,
        ratio: float | None = None,
        settings: EstimationSettings | None = None,
    ) -> Registration:
        """Match and estimate alone, for keypoints found before: one photograph in many pairs, or another transform.

        Args:
            moving: Keypoints of the moving photograph.
            fixed: Keypoints of the fixed photograph.
            transform: Another choice than the one this object was made with.
            ratio: Of the descriptors, see `match`.
            settings: Of the estimator and its decision; the measured error rates hold for the default ones.

        Raises:
            UnknownNameError: The transform does not exist.
        """
        timings = {}
        with timed(timings, "match"):
            matches, scores = self.match(moving, fixed, ratio)
        with timed(timings, "estimate"):
            kind = self.transform if transform is None else check_transform(transform)
            estimated = estimate(moving, fixed, matches, scores, transform=kind, settings=settings)
        return Registration(estimated, moving, fixed, timings)

    def _register_batch(self, pairs: list, transform: str | None) -> list[Registration]:
        shared = {}
        with timed(shared, "read"):
            photos = [read_photograph(photo) for pair in pairs for photo in pair]
        with timed(shared, "keypoints"):
            keypoints = self.keypoints(photos)
        shared = {step: seconds / len(pairs) for step, seconds in shared.items()}
        registrations = []
        for moving, fixed in zip(keypoints[0::2], keypoints[1::2]):
            registration = self.register_keypoints(moving, fixed, transform)
            registration.timings = {**shared, **registration.timings}
            registrations.append(registration)
        return registrations


def register(moving, fixed, transform: str = "auto", model: str | Path = DEFAULT_MODEL) -> Registration:
    """Register one pair of photographs; the model is loaded at the first call and kept.

    Args:
        moving: The photograph that is mapped: path, PIL image, array or tensor.
        fixed: The photograph that it is mapped onto.
        transform: "auto" or the name of a class of `TRANSFORMS`.
        model: Name of a model of the package, a folder, or a repository of the Hub.

    Returns:
        The outcome; its `registered` says whether there is a transform to believe in.

    Raises:
        PhotographError: A photograph cannot be read; the sentence names it.
        UnknownNameError: The model or the transform does not exist.
    """
    check_transform(transform)
    return _cached_registrar(str(model)).register(moving, fixed, transform)


def known_models() -> list[str]:
    """Names of the models that travel with the package, the default one first."""
    names = sorted(config.parent.name for config in WEIGHTS.glob("*/config.json"))
    return sorted(names, key=lambda name: name != DEFAULT_MODEL)


def check_transform(name: str) -> str:
    """Return the name of a transform class or "auto", or raise `UnknownNameError`, which lists them."""
    known = ("auto", *TRANSFORMS)
    if name not in known:
        raise UnknownNameError(f"Unknown transform {name!r}; known are: {', '.join(known)}.")
    return name


@functools.lru_cache(maxsize=2)
def _cached_registrar(model: str) -> Registrar:
    return Registrar(model)


def find_model(model: str | Path) -> str | Path:
    """Find where a model lies: in the package, in a folder, or on the Hub.

    Raises:
        UnknownNameError: It is none of these; the sentence lists the models of the package.
    """
    name = str(model)
    if name in known_models():
        return WEIGHTS / name
    if (Path(name) / "config.json").is_file():
        return Path(name)
    if _HUB_NAME.fullmatch(name) and not Path(name).exists():
        return name
    raise _unknown_model(name)


def _unknown_model(name: str) -> UnknownNameError:
    known = ", ".join(known_models()) or "none"
    return UnknownNameError(f"Unknown model {name!r}; known are: {known}, and any folder written by save_pretrained.")


def _load(model: str | Path) -> tuple[RetinaImageProcessor, torch.nn.Module]:
    """Load processor and detector of a model given by name, folder or Hub repository."""
    source = find_model(model)
    try:
        # Weights are stored in half precision, which CPUs compute slowly; without trust_remote_code=False a folder that
        # carries its own code asks before it is opened with the classes of this package.
        detector = AutoModelForKeypointDetection.from_pretrained(source, dtype=torch.float32, trust_remote_code=False)
        return RetinaImageProcessor.from_pretrained(source), detector
    except (OSError, ValueError) as error:
        raise _unknown_model(str(model)) from error


def _photograph_keypoints(found, i, frame, size, canvas, sample_descriptors) -> Keypoints:
    """Bring the padded keypoints of one image back to the pixels of its photograph.

    Args:
        found: `RetinaKeypointOutput` of a batch, keypoints relative to the photographs, with descriptor maps.
        i: Which image of the batch.
        frame: (4,) the rectangle of the photograph that the canvas shows, (x0, y0, x1, y1) relative to the photograph.
        size: (height, width) of the photograph.
        canvas: (height, width) of the model's input.
        sample_descriptors: The model's, from a descriptor map and pixels of its input to descriptors.
    """
    # Half the precision, half the memory: nine megabytes a photograph, kept as long as its keypoints are.
    mask, dense = found.mask[i].bool(), found.descriptor_map[i : i + 1].half()
    span, whole = np.array(size[::-1]), np.array(canvas[::-1])

    def describe(points: np.ndarray) -> np.ndarray:
        pixels = ((points + 0.5) / span - frame[:2]) / (frame[2:] - frame[:2]) * whole - 0.5
        with torch.inference_mode():
            pixels = torch.as_tensor(pixels, dtype=torch.float32, device=dense.device)
            return sample_descriptors(dense, pixels[None])[0].cpu().numpy()

    return Keypoints(
        points=found.keypoints[i][mask].double().cpu().numpy() * span - 0.5,
        descriptors=found.descriptors[i][mask].float().cpu().numpy(),
        scores=found.scores[i][mask].float().cpu().numpy(),
        size=tuple(size),
        scale=float(frame[2] - frame[0]) * span[0] / whole[0],
        center=tuple((frame[:2] + frame[2:]) / 2 * span - 0.5),  # the canvas shows the field of view in its middle
        describe=describe,
    )


@contextmanager
def timed(timings: dict[str, float], step: str):
    """Add the seconds that the block takes to those of a step."""
    start = time.perf_counter()
    yield
    timings[step] = timings.get(step, 0.0) + time.perf_counter() - start


def _size_in_words(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"


def _plain(value):
    """Turn NumPy scalars and arrays into what JSON knows; a number that is not finite becomes null."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


__all__ = [
    "DEFAULT_MODEL",
    "FEATURES",
    "Registrar",
    "Registration",
    "UnknownNameError",
    "check_transform",
    "find_model",
    "known_models",
    "register",
    "timed",
]
