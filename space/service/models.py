"""The models, loaded once, and the only place where the network runs.

On ZeroGPU the decorated function runs in another process, which has the GPU for a moment: what goes in and out has to
be plain arrays. Elsewhere the decorator does nothing.
"""

import functools

import numpy as np
import torch

from retinamatch import Registrar, known_models
from retinamatch.extractor import ROOTSIFT
from retinamatch.torch_extractor import ModelExtractor


try:
    from spaces import GPU as gpu
except ImportError:

    def gpu(function=None, **options):
        """Do nothing: there is no ZeroGPU here."""
        return function if function is not None else lambda function: function


class SpaceExtractor(ModelExtractor):
    """A network that runs in `run_network`; its heat maps are kept for the page.

    Everything but the network stays on the CPU: on ZeroGPU this process has no other device.
    """

    def __init__(self, name: str):
        super().__init__(name, device="cpu", heatmaps=True)
        self.name = name

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return run_network(self.name, pixels)


@gpu(duration=30)
def run_network(name: str, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run the network of a model on a batch; see `ModelExtractor.run`."""
    extractor = registrar(name).extractor
    extractor.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    extractor.model.to(extractor.device)
    return ModelExtractor.run(extractor, pixels)


@functools.cache
def registrar(name: str) -> Registrar:
    """Return the registrar of a model; one object for all users."""
    return Registrar(name if name == ROOTSIFT else SpaceExtractor(name), device="cpu")


def model_names() -> list[str]:
    """All that can be chosen, the default one first."""
    return [*known_models(), ROOTSIFT]


def load_all() -> None:
    """Load every model, so that nobody waits for it later."""
    for name in model_names():
        registrar(name)


__all__ = ["SpaceExtractor", "load_all", "model_names", "registrar", "run_network"]
