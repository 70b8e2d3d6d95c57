"""The models, loaded once, and the only place where the network runs.

On ZeroGPU the decorated function runs in another process, which has the GPU for a moment: what goes in and out has to
be plain tensors on the CPU. Elsewhere the decorator does nothing.
"""

import functools
import threading
from dataclasses import dataclass

import numpy as np
import torch

from retinamatch import Registrar, known_models
from retinamatch.keypoint_set import Keypoints


try:
    from spaces import GPU as gpu
except ImportError:

    def gpu(function=None, **options):
        """Do nothing: there is no ZeroGPU here."""
        return function if function is not None else lambda function: function


# One network at a time: the hook below hears every run of its model, and two would share the cores anyway.
_network = threading.Lock()
ROOTSIFT = "RootSIFT (classical, no network)"


@dataclass
class Found:
    """What was found in one photograph.

    Attributes:
        keypoints: In pixels of the photograph.
        heatmap: (h, w) float16, the network's certainty on its input; None with RootSIFT.
        frame: (4,) the rectangle of the photograph that the input shows, relative to the photograph.
    """

    keypoints: Keypoints
    heatmap: np.ndarray | None = None
    frame: np.ndarray | None = None


class SpaceRegistrar(Registrar):
    """A `Registrar` whose network runs in `run_network`, and which keeps the heat map as well."""

    def __init__(self, name: str):
        # Everything but the network stays on the CPU: on ZeroGPU this process has no other device.
        super().__init__(name, device="cpu")
        self.name = name
        self._last = threading.local()

    def detect(self, inputs):
        found, self._last.heatmap = run_network(self.name, dict(inputs))
        self._last.frame = inputs["image_frames"][0].double().numpy()
        return found

    def find(self, photo: np.ndarray) -> Found:
        """Find keypoints and heat map of one photograph."""
        keypoints = self.keypoints([photo])[0]
        return Found(keypoints, self._last.heatmap[0, 0].numpy(), self._last.frame)


class RootSiftRegistrar(Registrar):
    """The classical baseline with the same face."""

    def __init__(self):
        super().__init__(features="rootsift")

    def find(self, photo: np.ndarray) -> Found:
        return Found(self.keypoints([photo])[0])


@gpu(duration=30)
def run_network(name: str, inputs: dict):
    """Run the network of a model on a batch.

    Args:
        name: Of the model.
        inputs: What the image processor made, on the CPU.

    Returns:
        `RetinaKeypointOutput` with descriptor maps, and the heat maps (batch, 1, h, w); on the CPU, half precision
        where only pictures and descriptors depend on it.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = registrar(name).model.to(device)
    inputs = {key: value.to(device) for key, value in inputs.items()}
    heatmaps = []
    with _network, torch.inference_mode():
        hook = model.base_model.register_forward_hook(
            lambda module, arguments, dense: heatmaps.append(dense.heatmap_logits.sigmoid())
        )
        try:
            found = model(**inputs, output_descriptor_map=True)
        finally:
            hook.remove()
    for key, value in found.items():
        found[key] = value.cpu()
    return found, heatmaps[0].half().cpu()


@functools.cache
def registrar(name: str):
    """Return the registrar of a model; one object for all users."""
    return RootSiftRegistrar() if name == ROOTSIFT else SpaceRegistrar(name)


def model_names() -> list[str]:
    """All that can be chosen, the default one first."""
    return [*known_models(), ROOTSIFT]


def load_all() -> None:
    """Load every model, so that nobody waits for it later."""
    for name in model_names():
        registrar(name)


__all__ = ["Found", "ROOTSIFT", "load_all", "model_names", "registrar", "run_network"]
