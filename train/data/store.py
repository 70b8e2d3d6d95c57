"""Training photographs from Parquet, held in memory: a few hundred small images are read once and never again."""

import glob
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from retinamatch.enhancement import local_normalize


CONFIGURATIONS = ("keypoints", "unlabeled")  # of the data set that `datasets_scripts.build` writes


@dataclass
class Photograph:
    """One training photograph; all coordinates are its pixels.

    Attributes:
        pixels: (4, height, width) uint8: red, green, blue, and 1 inside the field of view.
        labels: (n, 2) float32, annotated keypoints (x, y); None when the photograph is unlabeled.
        corners: (m, 2) float32, distinct places at which descriptors are trained.
        source: Name of the data set.
        patient: Name of the person, unique within the source.
    """

    pixels: Tensor
    labels: np.ndarray | None
    corners: np.ndarray
    source: str
    patient: str
    _there: Tensor | None = field(default=None, init=False, repr=False)

    @property
    def image(self) -> Tensor:
        """(3, height, width) uint8."""
        return self.pixels[:3]

    @property
    def mask(self) -> Tensor:
        """(height, width) uint8, 1 inside the field of view."""
        return self.pixels[3]

    def on(self, device: torch.device | str) -> Tensor:
        """Return `pixels` on a device, where they stay: a GPU would wait for them at every step."""
        device = torch.device(device)
        if device.type == "cpu":
            return self.pixels
        if self._there is None:
            self._there = self.pixels.to(device)
        return self._there


@dataclass
class PhotographStore:
    """All photographs of a split.

    Attributes:
        photographs: In the order of the files.
        samples: What one epoch sees, indices of photographs; a photograph can stand in it more than once.
    """

    photographs: list[Photograph] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.samples)

    @classmethod
    def read(
        cls,
        data: list[str],
        split: str,
        limit: int | None = None,
        repeat: dict[str, int] | None = None,
        reader: str = "pyarrow",
    ) -> "PhotographStore":
        """Read the photographs of a split, labeled ones first.

        Args:
            data: Folders as `datasets_scripts.build` writes them, or names of such data sets on the Hub.
            split: "train", "validation" or "test".
            limit: Most photographs of each; None for all.
            repeat: Source -> how often an epoch sees its photographs; once where it does not stand there.
            reader: "pyarrow", which needs nothing else, or "datasets", which streams. The photographs are the same.

        Raises:
            FileNotFoundError: When one of `data` has no such split, or is neither a folder nor on the Hub.
            ValueError: When the photographs differ in size.
        """
        photographs, samples = [], []
        for name in data:
            rows = islice(READERS[reader](name, split), limit)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for photograph in tqdm(pool.map(_decode, rows), desc=f"{name} {split}", leave=False, mininterval=5):
                    samples += [len(photographs)] * (repeat or {}).get(photograph.source, 1)
                    photographs.append(photograph)
        sizes = {tuple(photograph.image.shape) for photograph in photographs}
        if len(sizes) > 1:
            raise ValueError(f"Photographs of one run must have one size, got {sorted(sizes)}.")
        return cls(photographs, samples)

    def without_patients_of(self, other: "PhotographStore") -> "PhotographStore":
        """Return the photographs, and the samples of them, of patients that another store does not hold."""
        patients = {_key(photograph) for photograph in other.photographs}
        kept = [index for index, photograph in enumerate(self.photographs) if _key(photograph) not in patients]
        place = {index: k for k, index in enumerate(kept)}
        return PhotographStore(
            [self.photographs[index] for index in kept], [place[i] for i in self.samples if i in place]
        )

    def keep_labels(self, fraction: float, seed: int) -> "PhotographStore":
        """Return the same photographs with the labels of a fraction of the labeled patients; the rest is unlabeled.

        Args:
            fraction: Of the labeled patients, at least one; a smaller one is part of a larger one.
            seed: Of the choice.

        Raises:
            ValueError: When the fraction is not above 0 and at most 1.
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"`labeled_fraction` must be above 0 and at most 1, got {fraction}.")
        if fraction == 1:
            return self
        patients = sorted({_key(p) for p in self.photographs if p.labels is not None})
        order = np.random.default_rng((seed, 77)).permutation(len(patients))
        kept = {patients[i] for i in order[: max(1, round(fraction * len(patients)))]}
        return replace(self, photographs=[p if _key(p) in kept else replace(p, labels=None) for p in self.photographs])


def read_splits(config) -> tuple[PhotographStore, PhotographStore | None]:
    """Read the photographs of a run: those to train with, and those to validate with, None where nothing is validated.

    Both at the start: that held-out patients are missing should not show after hours.
    """
    training, wanted = read_training(config), config.validation_pairs > 0
    if not (wanted or config.validation_data):
        return training, None
    held_out = read_held_out(config)
    return training.without_patients_of(held_out), held_out if wanted else None


def read_training(config) -> PhotographStore:
    """Read the photographs to train with; those of patients held out elsewhere are still among them."""
    return PhotographStore.read(config.data, "train", config.limit, config.repeat, config.reader)


def read_held_out(config) -> PhotographStore:
    """Read the photographs of patients that a run is never trained on."""
    return PhotographStore.read(config.validation_data or config.data, "validation", reader=config.reader)


def _key(photograph: Photograph) -> tuple[str, str]:
    return photograph.source, photograph.patient


def _read_with_pyarrow(name: str, split: str) -> Iterator[dict]:
    """Give the rows of a split out of its Parquet files, which the Hub's client fetches where they are not here."""
    files = [file for config in CONFIGURATIONS for file in _parquet_files(name, config, split)]
    if not files:
        raise FileNotFoundError(_nothing(name, split))
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=16):
            yield from batch.to_pylist()


def _parquet_files(name: str, config: str, split: str) -> list[str]:
    if os.path.isdir(name):
        return sorted(glob.glob(os.path.join(glob.escape(name), config, f"{split}-*.parquet")))
    from huggingface_hub import HfApi, hf_hub_download

    try:
        found = HfApi().list_repo_files(name, repo_type="dataset")
        wanted = sorted(file for file in found if file.startswith(f"{config}/{split}-") and file.endswith(".parquet"))
        return [hf_hub_download(name, file, repo_type="dataset") for file in wanted]
    except (OSError, ValueError) as error:  # not found, no network, offline, or no name of a repository
        raise FileNotFoundError(f"{_nothing(name, split)} ({type(error).__name__} when the Hub was asked)") from error


def _read_with_datasets(name: str, split: str) -> Iterator[dict]:
    """Give the same rows by the `datasets` library, streaming."""
    from datasets import Image, get_dataset_config_names, get_dataset_split_names, load_dataset

    try:
        configs = [config for config in CONFIGURATIONS if config in get_dataset_config_names(name)]
        configs = [config for config in configs if split in get_dataset_split_names(name, config)]
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"{_nothing(name, split)} ({type(error).__name__} by datasets)") from error
    if not configs:
        raise FileNotFoundError(_nothing(name, split))
    for config in configs:
        rows = load_dataset(name, config, split=split, streaming=True)
        for column in ("image", "mask"):
            rows = rows.cast_column(column, Image(decode=False))
        yield from rows


def _nothing(name: str, split: str) -> str:
    return f"{name} holds no keypoints/{split}-*.parquet or unlabeled/{split}-*.parquet; see datasets_scripts.build."


READERS = {"pyarrow": _read_with_pyarrow, "datasets": _read_with_datasets}


def _decode(row: dict) -> Photograph:
    image = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB"))
    mask = (np.asarray(Image.open(io.BytesIO(row["mask"]["bytes"])).convert("L")) > 127).astype(np.uint8)
    labels = row.get("keypoints")  # "unlabeled" has no such column
    return Photograph(
        pixels=torch.from_numpy(np.concatenate([image.transpose(2, 0, 1), mask[None]])),
        labels=None if labels is None else np.asarray(labels, dtype=np.float32).reshape(-1, 2),
        corners=find_corners(image, mask),
        source=row["source"],
        patient=row["patient"],
    )


def find_corners(image: np.ndarray, mask: np.ndarray, most: int = 1200) -> np.ndarray:
    """Find distinct places of the locally normalized green channel (Shi and Tomasi's corners).

    Args:
        image: (height, width, 3) uint8.
        mask: (height, width), 1 inside the field of view.
        most: Largest number of corners.

    Returns:
        (n, 2) float32, (x, y) in pixels.
    """
    green = torch.from_numpy(image[None, None, :, :, 1] / np.float32(255))
    normal = local_normalize(green, torch.from_numpy(mask[None, None].astype(np.float32)))[0, 0].numpy()
    smooth = cv2.GaussianBlur(normal, (0, 0), 1.5)
    inside = cv2.erode(np.pad(mask, 1), np.ones((21, 21), np.uint8))[1:-1, 1:-1]
    corners = cv2.goodFeaturesToTrack(smooth, most, 0.005, 5, mask=inside, blockSize=5)
    return np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2).astype(np.float32)


__all__ = ["Photograph", "PhotographStore", "find_corners", "read_held_out", "read_splits", "read_training"]
