"""Training photographs from Parquet, held in memory: a few hundred small images are read once and never again."""

import glob
import io
import os
from dataclasses import dataclass, field

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from retinamatch.enhancement import local_normalize


@dataclass
class Photograph:
    """One training photograph; all coordinates are pixels of `image`.

    Attributes:
        image: (3, height, width) uint8.
        mask: (height, width) uint8, 1 inside the field of view.
        labels: (n, 2) float32, annotated keypoints (x, y); None when the photograph is unlabelled.
        corners: (m, 2) float32, distinct places at which descriptors are trained.
        source: Name of the data set.
        patient: Name of the person, unique within the source.
    """

    image: Tensor
    mask: Tensor
    labels: np.ndarray | None
    corners: np.ndarray
    source: str
    patient: str


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
        cls, folders: list[str], split: str, limit: int | None = None, repeat: list[int] | None = None
    ) -> "PhotographStore":
        """Read `FOLDER/SPLIT-*.parquet` of every folder, with pyarrow alone.

        Args:
            folders: Folders as `datasets_scripts.build` writes them.
            split: "train" or "validation".
            limit: Most photographs per folder; None for all.
            repeat: How often an epoch sees the photographs of each folder; None for once.

        Raises:
            FileNotFoundError: When a folder holds no file of the split.
            ValueError: When the photographs differ in size.
        """
        photographs, samples = [], []
        for folder, times in zip(folders, repeat or [1] * len(folders), strict=True):
            files = sorted(glob.glob(os.path.join(folder, f"{split}-*.parquet")))
            if not files:
                raise FileNotFoundError(f"{folder} holds no {split}-*.parquet; build it with datasets_scripts.build.")
            rows = [row for file in files for row in pq.read_table(file).to_pylist()][:limit]
            for row in tqdm(rows, desc=f"{folder} {split}", leave=False, mininterval=5):
                samples += [len(photographs)] * times
                photographs.append(_decode(row))
        sizes = {tuple(photograph.image.shape) for photograph in photographs}
        if len(sizes) > 1:
            raise ValueError(f"Photographs of one run must have one size, got {sorted(sizes)}.")
        return cls(photographs, samples)


def _decode(row: dict) -> Photograph:
    image = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB"))
    mask = (np.asarray(Image.open(io.BytesIO(row["mask"]["bytes"])).convert("L")) > 127).astype(np.uint8)
    labels = row["keypoints"]
    return Photograph(
        image=torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous(),
        mask=torch.from_numpy(mask),
        labels=None if labels is None else np.asarray(labels, dtype=np.float32).reshape(-1, 2),
        corners=find_corners(image, mask),
        source=row["source"],
        patient=row["patient"],
    )


def find_corners(image: np.ndarray, mask: np.ndarray, most: int = 1200) -> np.ndarray:
    """Find distinct places of the locally normalised green channel (Shi and Tomasi's corners).

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


__all__ = ["Photograph", "PhotographStore", "find_corners"]
