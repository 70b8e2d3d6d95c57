"""Shared fixtures: the folder of real photographs, the example pair, and a process that never asks the network."""

import os
from pathlib import Path


os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported, hence before everything else

import numpy as np
import pytest
import torch

from datasets_scripts.rendering.eye import draw_eye
from datasets_scripts.rendering.fundus import render, render_visits
from tests.helpers.paths import REPOSITORY


def pytest_configure(config):
    # Small tensors: more threads only get in each other's way, all the more where several processes run the tests.
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, torch.get_num_threads()))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real photographs, named by RETINAMATCH_DATA; the test is skipped without it."""
    root = Path(os.environ.get("RETINAMATCH_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"needs real photographs: RETINAMATCH_DATA names no folder ({root})")
    return root


@pytest.fixture(scope="session")
def example_pair() -> tuple[Path, Path]:
    """Moving and fixed photograph of the pair that travels with the package."""
    folder = REPOSITORY / "modeling" / "retinamatch" / "examples"
    return folder / "moving.jpg", folder / "fixed.jpg"


@pytest.fixture(scope="session")
def pack(tmp_path_factory) -> str:
    """The folder of the photographs that the tests of training train with."""
    from tests.helpers.training_pack import shared_pack

    return shared_pack(tmp_path_factory)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def visits():
    """Two rendered photographs of one eye with the exact map between them (`RenderedVisits`)."""
    return render_visits(3, size=512, overlap=0.7, difficulty=0.3)


@pytest.fixture(scope="session")
def other_eye() -> np.ndarray:
    """A rendered photograph of another eye than that of `visits`."""
    return render(draw_eye(4), 512).image


@pytest.fixture(scope="session")
def something_else() -> np.ndarray:
    """A photograph of no retina: a room of boxes in daylight, with the noise of a camera."""
    rng = np.random.default_rng(5)
    picture = np.full((480, 720, 3), 180, np.uint8)
    for _ in range(60):
        x, y = rng.integers(0, (680, 440))
        width, height = rng.integers(10, 160, 2)
        picture[y : y + height, x : x + width] = rng.integers(0, 255, 3)
    return (picture + rng.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)
