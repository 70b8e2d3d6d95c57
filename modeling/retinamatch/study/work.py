"""The work of one process of a study: read, find keypoints, register, and put the outcome into a row.

`begin` loads the model once; `register_pair` and `judge_sharpness` then work with it. `work_on` does a unit, whoever
calls these functions: this process, another one, or another machine.
"""

import functools
import hashlib
import io
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..change import find_change
from ..dicom import spacing_of
from ..drawing import beside, overlay
from ..extractor import AUTO
from ..files import OutputError, replacing, write_text
from ..keypoint_set import Keypoints
from ..memory import keep_freed_memory
from ..photographs import PhotographError, read_photograph
from ..processes import Call, ProcessDiedError
from ..registrar import Registrar
from ..registration import Registration
from ..results import save_picture
from ..series import fitted
from ..transfer import LocatedTransform, carry_mask, carry_points, read_mask, read_table, scaling
from .table import Pair, Photograph, days_between
from .units import Unit, pairs_onto


REGISTERED, REFUSED, NOT_READ, FAILED = "registered", "no reliable match", "not read", "failed"
NO_ANSWER = (NOT_READ, FAILED)
# Of the evidence, what stands in columns of its own.
EVIDENCE = ("agreeing", "share", "excess", "alike")
# Of what has changed, where that is asked for.
CHANGE = ("changed_regions", "changed_area_px", "changed_area_mm2")
THUMBNAIL = 320  # pixels a side
# Photographs of which a process keeps the keypoints, ten megabytes each, and of which it keeps the pixels.
_KEYPOINTS, _PHOTOGRAPHS = 16, 3


@dataclass(frozen=True)
class Settings:
    """How the pairs of a study are registered, and what is written of each.

    Attributes:
        model: As for `Registrar`.
        transform: As for `Registrar`.
        effort: As for `Registrar`.
        dtype: As for `Registrar`.
        cache: Folder of kept keypoints; see `keypoint_cache`. None keeps none.
        images: Folder for aligned photographs, masks and points; None writes none.
        thumbnails: Whether rows bring a small picture along.
        change: Whether regions that have changed are looked for.
        engine: As for `Registrar`.
    """

    model: str
    transform: str
    effort: str
    dtype: str = AUTO
    cache: Path | None = None
    images: Path | None = None
    thumbnails: bool = True
    change: bool = False
    engine: str = AUTO

    def registrar(self) -> Registrar:
        """Load the model."""
        how = {"effort": self.effort, "dtype": self.dtype, "engine": self.engine}
        return Registrar(self.model, self.transform, cache=self.cache, **how)


@dataclass
class Outcome:
    """What became of a pair.

    Attributes:
        key: Of the pair.
        row: Numbers and words, ready for JSON.
        thumbnail: JPEG: the overlay where registered, else both photographs; empty without.
    """

    key: str
    row: dict[str, Any]
    thumbnail: bytes = b""


class Worker:
    """What a process keeps between pairs: the model, and the keypoints of the last photographs."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.registrar = settings.registrar()
        self.keypoints: OrderedDict[Path, Keypoints] = OrderedDict()
        self.pixels = functools.lru_cache(_PHOTOGRAPHS)(read_photograph)
        self.sums = functools.lru_cache(4096)(_sum)
        self.versions = {"model": settings.model, **_versions(self.registrar)}
        self.lock = threading.Lock()

    def find(self, photograph: Photograph) -> Keypoints:
        """Find the keypoints of a photograph, or remember them."""
        path = photograph.path
        if path not in self.keypoints:
            self.keypoints[path] = self.registrar.keypoints([self.pixels(path)])[0]
            while len(self.keypoints) > _KEYPOINTS:
                self.keypoints.popitem(last=False)
        self.keypoints.move_to_end(path)
        return self.keypoints[path]

    def register(self, pair: Pair, bare: bool = False) -> Outcome:
        """Register a pair; what goes wrong costs this pair alone, but for results that cannot be written.

        Args:
            pair: The photographs.
            bare: Try no other views, write and draw nothing: the pair is none of the study's own.
        """
        start = time.perf_counter()
        row = describe_pair(pair)
        picture: np.ndarray | None = None
        try:
            sides = self.find(pair.moving), self.find(pair.fixed)
            row |= self._sizes(pair, sides)
            registration = self.registrar.register_keypoints(
                *sides,
                photographs=None if bare else lambda: (self.pixels(pair.moving.path), self.pixels(pair.fixed.path)),
            )
            registration.fixed_spacing = pair.fixed.spacing or spacing_of(pair.fixed.path)
            row |= _figures(registration)
            if self.settings.change and registration and not bare:
                row |= self._change(pair, registration)
            if self.settings.images and registration and not bare:
                self._write_images(pair, registration)
            if self.settings.thumbnails and not bare:
                picture = draw_thumbnail(registration, self.pixels(pair.moving.path), self.pixels(pair.fixed.path))
        except PhotographError as error:
            row |= {"status": NOT_READ, "reason": without_paths(str(error), pair)}
        except OutputError:
            raise
        except Exception as error:  # a fault of the program must not end a study of many days
            row |= {"status": FAILED, "reason": without_paths(f"{type(error).__name__}: {error}", pair)}
        row |= {**self.versions, "seconds": round(time.perf_counter() - start, 3)}
        return Outcome(pair.key, row, b"" if picture is None else _jpeg(picture))

    def _sizes(self, pair: Pair, sides: tuple[Keypoints, Keypoints]) -> dict[str, Any]:
        sizes: dict[str, Any] = {}
        for name, photograph, keypoints in zip(("moving", "fixed"), (pair.moving, pair.fixed), sides):
            sizes[f"{name}_height"], sizes[f"{name}_width"] = keypoints.size
            sizes[f"{name}_sha256"] = self.sums(photograph.path)
        return sizes

    def _change(self, pair: Pair, registration: Registration) -> dict[str, Any]:
        figures = find_change(registration, self.pixels(pair.moving.path), self.pixels(pair.fixed.path)).to_dict()
        return {name: figures[name] for name in CHANGE}

    def _write_images(self, pair: Pair, registration: Registration) -> None:
        """Write the aligned photograph, and the mask and the points that belong to it."""
        folder, name = self.settings.images, file_name(pair)
        assert folder is not None and registration.transform is not None
        with replacing(folder / f"{name}_aligned.png") as aside:
            save_picture(registration.warp(self.pixels(pair.moving.path)), aside)
        sizes = registration.moving_keypoints.size, registration.fixed_keypoints.size
        if pair.moving.mask is not None:
            mask = carry_mask(LocatedTransform(registration.transform, *sizes), read_mask(pair.moving.mask))
            with replacing(folder / f"{name}_mask.png") as aside:
                mask.save(aside)
        if pair.moving.points is not None:
            text = carry_points(registration.transform, read_table(pair.moving.points))
            write_text(folder / f"{name}_points.csv", text)

    def sharpness(self, photograph: Photograph) -> float:
        """Judge how good a photograph is to register others to: many strong keypoints, and sharp; 0 where unreadable.

        The sharpness is the part of the variance of the green channel, over the field of view at the working size,
        that lies in its finest detail.
        """
        try:
            keypoints = self.find(photograph)
        except PhotographError:
            return 0.0
        if keypoints.picture is None or keypoints.problem:
            return float(len(keypoints)) * 1e-3
        green = keypoints.picture.color[..., 1].astype(np.float32)
        detail = (green - cv2.GaussianBlur(green, (0, 0), 1.5))[keypoints.picture.mask]
        spread = green[keypoints.picture.mask].std()
        return float(len(keypoints) * detail.std() / max(spread, 1.0))


_worker: Worker | None = None


def begin(settings: Settings) -> None:
    """Load the model in this process; a second time with the same settings does nothing."""
    global _worker
    keep_freed_memory()
    if _worker is None or _worker.settings != settings:
        _worker = Worker(settings)


def register_pair(pair: Pair) -> Outcome:
    """Register a pair in this process; see `Worker.register`."""
    with _at_work() as worker:
        return worker.register(pair)


def compare_pair(pair: Pair) -> Outcome:
    """Register a pair that is none of the study's own; see `Worker.register`."""
    with _at_work() as worker:
        return worker.register(pair, bare=True)


def find_keypoints(photograph: Photograph) -> Keypoints:
    """Find the keypoints of a photograph in this process.

    Raises:
        PhotographError: It cannot be read.
    """
    with _at_work() as worker:
        return worker.find(photograph)


def judge_sharpness(photograph: Photograph) -> float:
    """Judge a photograph in this process; see `Worker.sharpness`."""
    with _at_work() as worker:
        return worker.sharpness(photograph)


@contextmanager
def _at_work() -> Iterator[Worker]:
    """Have the worker of this process to oneself."""
    if _worker is None:
        raise RuntimeError("`begin` was not called in this process.")
    with _worker.lock:
        yield _worker


def work_on(unit: Unit, call: Call) -> Iterator[Outcome]:
    """Do a unit; each call may go to another process, and a call whose process dies costs its own pair."""
    pairs = unit.pairs
    if unit.photographs:
        best = max(unit.photographs, key=lambda photograph: _judged(photograph, call))
        pairs = tuple(pairs_onto(unit.photographs, best))
    for pair in pairs:
        try:
            yield call(register_pair, pair)
        except ProcessDiedError as error:
            yield Outcome(pair.key, describe_pair(pair) | {"status": FAILED, "reason": str(error)})


def _judged(photograph: Photograph, call: Call) -> float:
    try:
        return call(judge_sharpness, photograph)
    except ProcessDiedError:
        return -1.0


def describe_pair(pair: Pair) -> dict[str, Any]:
    """Say which pair it is: the first columns of its row, all others empty."""
    moving, fixed = pair.moving, pair.fixed
    return dict.fromkeys(COLUMNS) | {
        "patient": moving.patient,
        "eye": moving.eye,
        "moving": moving.name,
        "fixed": fixed.name,
        "moving_visit": moving.visit,
        "fixed_visit": fixed.visit,
        "days": days_between(fixed.visit, moving.visit),
    }


#: The columns of a row in their order, and their types in Parquet.
COLUMNS = {
    **dict.fromkeys(("patient", "eye", "moving", "fixed", "moving_visit", "fixed_visit"), "string"),
    "days": "int32",
    **dict.fromkeys(("status", "reason", "transform_class", "transform"), "string"),
    **dict.fromkeys(("residual_px", "residual_mm", "overlap"), "float64"),
    **dict.fromkeys(("matches", "inliers"), "int32"),
    "rough": "bool",
    "changed_regions": "int32",
    **dict.fromkeys(CHANGE[1:], "float64"),
    **dict.fromkeys(EVIDENCE, "float64"),
    **dict.fromkeys(("evidence", "views"), "string"),
    **dict.fromkeys(("moving_height", "moving_width", "fixed_height", "fixed_width"), "int32"),
    **dict.fromkeys(
        ("moving_sha256", "fixed_sha256", "model", "fingerprint", "retinamatch", "torch", "opencv"), "string"
    ),
    "seconds": "float64",
}


def _figures(registration: Registration) -> dict[str, Any]:
    """Put the outcome into columns; what has many numbers is JSON."""
    record = registration.to_dict()
    figures: dict[str, Any] = {"status": registration.status, "reason": registration.reason}
    figures |= {name: _number(registration.evidence.get(name)) for name in EVIDENCE}
    if registration.transform is None:
        return figures
    return figures | {
        "transform_class": registration.transform.name,
        "transform": json.dumps(record["transform"]),
        "residual_px": record["residual"],
        "residual_mm": registration.residual_mm,
        "overlap": record["overlap"],
        "matches": record["matches"],
        "inliers": record["inliers"],
        "rough": bool(record["rough"]),
        "evidence": json.dumps(record["evidence"]),
        "views": registration.views_in_words,
    }


def draw_thumbnail(registration: Registration, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Draw the overlay of a pair, small; of a refused pair the two photographs side by side."""
    small, onto = fitted(moving, THUMBNAIL), fitted(fixed, THUMBNAIL)
    if registration.transform is None:
        return beside([small, onto])
    whole = scaling(small, moving).then(registration.transform).then(scaling(fixed, onto))
    return overlay(onto, whole.warp(small, onto.shape[:2]))


def without_paths(text: str, pair: Pair) -> str:
    """Call the photographs of a pair by their names wherever a text has their paths."""
    for photograph in (pair.moving, pair.fixed):
        for path in (str(photograph.path), str(photograph.path.resolve())):
            text = text.replace(path, photograph.name)
    return text


def file_name(pair: Pair) -> str:
    """Give a name for files of a pair: the photograph's, plain, and a few letters that tell it from any other."""
    plain = re.sub(r"[^\w.-]+", "_", pair.moving.name).strip("_.")[-60:]
    return f"{plain}_{hashlib.sha256(pair.key.encode()).hexdigest()[:8]}"


def _jpeg(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=70)
    return stream.getvalue()


def _number(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _sum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions(registrar: Registrar) -> dict[str, str]:
    return {
        "fingerprint": fingerprint(registrar),
        "retinamatch": _version("retinamatch"),
        "torch": _version("torch"),
        "opencv": cv2.__version__,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def fingerprint(registrar: Registrar) -> str:
    """Give what tells the extractor of a registrar from any other, short; "" where it has none."""
    return getattr(registrar.extractor, "fingerprint", "")[:16]


__all__ = [
    "COLUMNS",
    "EVIDENCE",
    "FAILED",
    "NOT_READ",
    "NO_ANSWER",
    "Outcome",
    "REFUSED",
    "REGISTERED",
    "Settings",
    "Worker",
    "begin",
    "compare_pair",
    "describe_pair",
    "find_keypoints",
    "judge_sharpness",
    "register_pair",
    "work_on",
]
