"""Keypoints that are kept: a folder in which those of each photograph are found once, for any number of pairs and runs.

One file per photograph, known by the photograph's pixels, the extractor's weights and the version of this package; ten
megabytes for a network, nearly all of them dense descriptors in half precision. Several processes and machines may use
one folder at a time.
"""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from .dense_descriptors import DenseDescriptors
from .extractor import Extractor
from .files import replacing
from .keypoint_set import Keypoints
from .normalized_picture import NormalizedPicture


# What is kept; a file of another kind is not looked at.
_KIND = 2
# Entries that say how the field of view lies.
_SHAPE = ("center", "camera", "stretch")


class CachedExtractor:
    """An extractor that looks into a folder first; see `Extractor`.

    What it gives is what was kept, freshly found or not: descriptors of half precision, places to a thousandth of a
    pixel. So a run that goes on where another one stopped gives the same answers.

    Args:
        extractor: What finds the keypoints that are not there yet; it has a `fingerprint`.
        folder: Where they are kept; it is made when missing.

    Raises:
        ValueError: The extractor has no fingerprint, so nobody could tell whose keypoints they are.
    """

    def __init__(self, extractor: Extractor, folder: str | os.PathLike):
        self.extractor, self.folder = extractor, Path(folder)
        self.ratio, self.temperature = extractor.ratio, extractor.temperature
        self.fingerprint = getattr(extractor, "fingerprint", "")
        if not self.fingerprint:
            raise ValueError("Keypoints can be kept of extractors that have a `fingerprint` alone.")

    def find(self, photographs: Sequence[np.ndarray]) -> list[Keypoints]:
        """Find the keypoints of photographs, those that are not there yet in one batch.

        Raises:
            OutputError: They cannot be written, such as to a full disk.
        """
        places = [self.place(photograph) for photograph in photographs]
        known = [_read(place) for place in places]
        missing = [number for number, keypoints in enumerate(known) if keypoints is None]
        for number, keypoints in zip(missing, self.extractor.find([photographs[number] for number in missing])):
            entries = _to_arrays(keypoints)
            with replacing(places[number]) as aside:
                np.savez(aside, allow_pickle=False, **entries)
            known[number] = _from_arrays(entries)
        return [keypoints for keypoints in known if keypoints is not None]

    def place(self, photograph: np.ndarray) -> Path:
        """Say where the keypoints of a photograph, (H, W, 3) uint8 RGB, are or will be."""
        key = hashlib.blake2b(f"{self.fingerprint} {_version()} {_KIND} {photograph.shape}".encode(), digest_size=24)
        key.update(np.ascontiguousarray(photograph).data)
        name = key.hexdigest()
        return self.folder / name[:2] / f"{name}.npz"


def _version() -> str:
    try:
        return version("retinamatch")
    except PackageNotFoundError:  # on the path, not installed
        return ""


def _read(place: Path) -> Keypoints | None:
    try:
        with np.load(place, allow_pickle=False) as entries:
            return _from_arrays(dict(entries))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or damaged: found anew
        return None


def _to_arrays(keypoints: Keypoints) -> dict[str, np.ndarray]:
    entries: dict[str, np.ndarray] = {
        "points": keypoints.points.astype(np.float32),
        "descriptors": keypoints.descriptors.astype(np.float16),
        "scores": keypoints.scores.astype(np.float16),
        "size": np.array(keypoints.size),
        "scale": np.array(keypoints.scale),
        "problem": np.array(keypoints.problem),
    }
    entries |= {name: np.array(value) for name in _SHAPE if (value := getattr(keypoints, name)) is not None}
    if keypoints.heatmap is not None:
        entries["heatmap"] = keypoints.heatmap
    if isinstance(dense := keypoints.describe, DenseDescriptors):
        entries |= {
            "dense_map": dense.map,
            "dense_grid": np.array([dense.stride, dense.offset]),
            "dense_frame": np.asarray(dense.frame),
            "dense_canvas": np.array(dense.canvas),
        }
    if (picture := keypoints.picture) is not None:
        entries |= {
            "picture_values": picture.values.astype(np.float16),
            "picture_mask": picture.mask,
            "picture_color": picture.color,
            "picture_place": np.array([*picture.origin, picture.scale]),
        }
    return entries


def _from_arrays(entries: dict[str, np.ndarray]) -> Keypoints:
    height, width = (int(side) for side in entries["size"])
    dense = picture = None
    if "dense_map" in entries:
        stride, offset = entries["dense_grid"]
        rows, columns = (int(side) for side in entries["dense_canvas"])
        dense = DenseDescriptors(
            entries["dense_map"],
            int(stride),
            float(offset),
            entries["dense_frame"],
            (height, width),
            (rows, columns),
        )
    if "picture_values" in entries:
        x, y, scale = (float(value) for value in entries["picture_place"])
        values = entries["picture_values"].astype(np.float32)
        picture = NormalizedPicture(values, entries["picture_mask"], entries["picture_color"], (x, y), scale)
    center, camera, stretch = (entries[name].tolist() if name in entries else None for name in _SHAPE)
    return Keypoints(
        points=entries["points"].astype(np.float64),
        descriptors=entries["descriptors"].astype(np.float32),
        scores=entries["scores"].astype(np.float32),
        size=(height, width),
        scale=float(entries["scale"]),
        center=center and (center[0], center[1]),
        camera=camera and (camera[0], camera[1], camera[2]),
        stretch=stretch and ((stretch[0][0], stretch[0][1]), (stretch[1][0], stretch[1][1])),
        describe=dense,
        heatmap=entries.get("heatmap"),
        picture=picture,
        problem=str(entries["problem"]),
    )


__all__ = ["CachedExtractor"]
