"""What a teacher says about a pair of views: a heat map, descriptors at any place, and maps from inside it.

The teacher is a model of its own that the method holds; nothing of it is part of the student. It sees the student's
views, or the same views before their photometric changes, or the whole photograph. The last does not depend on the
views, so it can be computed once and kept on disk.
"""

import hashlib
import inspect
import json
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from retinamatch.enhancement import local_normalize
from retinamatch.extractor import find_model
from retinamatch.files import replacing
from retinamatch.image_processing_retina import RetinaImageProcessor
from retinamatch.keypoints import RetinaDenseOutput, detect_keypoints

from ..data.store import Photograph
from ..data.views import Views, pixel_grid, project, sample_at
from ..run.models import load_model
from . import adaptation


@dataclass
class Taught:
    """What the teacher says about a batch; rows are the pairs' views 0, then their views 1.

    Attributes:
        logits: (2 * batch, 1, size, size), heat map before the sigmoid.
        describe: Function of places (2 * batch, n, 2) in pixels of the views that gives unit-length descriptors.
        features: Maps from inside the teacher by the names of their modules.
    """

    logits: Tensor
    describe: Callable[[Tensor], Tensor]
    features: dict[str, Tensor] = field(default_factory=dict)


@contextmanager
def capture(network: nn.Module, names: list[str]):
    """Collect the outputs of modules while the network runs.

    Raises:
        ValueError: When the network has no such module.
    """
    found, hooks = {}, []
    try:
        for name in names:
            try:
                module = network.get_submodule(name)
            except AttributeError as error:
                known = [n for n, _ in network.named_modules() if n.count(".") == 1 and n.split(".")[1].isdigit()]
                raise ValueError(f"{type(network).__name__} has no layer {name!r}; try one of {known}.") from error
            hooks.append(module.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out)))
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def check_processor(name: str) -> None:
    """Refuse a teacher that was trained on otherwise enhanced photographs than the views are.

    Raises:
        ValueError: It was; the sentence names the differences.
    """
    try:
        theirs = RetinaImageProcessor.from_pretrained(find_model(name)).to_dict()
    except OSError:  # weights without a processor are ours, from within a run
        return
    ours = RetinaImageProcessor().to_dict()
    about = ("image_processor_type", "auto_map", "transformers_version", "_processor_class", "processor_class")
    differ = [
        f"{key} {theirs.get(key)} instead of {ours.get(key)}"
        for key in sorted({*ours, *theirs} - {*about})
        if theirs.get(key) != ours.get(key)
    ]
    if differ:
        raise ValueError(f"The processor of the teacher {name} is not the student's: {', '.join(differ)}.")


class TeacherOutputs:
    """The teacher, ready to be asked.

    Args:
        name: A model of the package, a folder, or a repository of the Hub.
        sees: "clean" (the views before their photometric changes), "view" (the student's views) or "photograph" (the
            whole photograph, from which the views are read).
        average: With "photograph", over how many views of it the answer is averaged, see `adaptation`; 1 is none.
        cache: Folder for outputs on whole photographs; None to compute them every time.
        layers: Modules whose maps are wanted; not with "photograph".
        bf16: Run the teacher in that precision.

    Raises:
        ValueError: The teacher does not exist, its processor is not the student's, or the choices do not go together.
    """

    def __init__(
        self,
        name: str,
        sees="clean",
        cache: str | None = None,
        layers: list[str] = (),
        bf16: bool = False,
        average: int = 1,
    ):
        if cache and sees != "photograph":
            raise ValueError(
                f"Only whole photographs stay the same from epoch to epoch: `teacher_cache` wants "
                f"`teacher_sees: photograph`, got {sees}."
            )
        if layers and sees == "photograph":
            raise ValueError("The loss `features` compares maps of one image: `teacher_sees` must be clean or view.")
        if average < 1 or (average > 1 and sees != "photograph"):
            raise ValueError(
                f"`teacher_average` wants a number of views, and `teacher_sees: photograph` for more than one, got "
                f"{average} with {sees}."
            )
        check_processor(name)
        self.network = load_model(name).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.sees, self.layers, self.bf16, self.average = sees, list(layers), bf16, average
        self.cache = None
        if cache:
            self.cache = Path(cache) / self.fingerprint()[:16]
            if not self.cache.is_dir() and any(path.is_dir() for path in Path(cache).glob("*")):
                warnings.warn(
                    f"{cache} was made by another teacher or with other settings: its outputs are not used, those "
                    "of this teacher are computed anew.",
                    stacklevel=2,
                )
            self.cache.mkdir(parents=True, exist_ok=True)

    def fingerprint(self) -> str:
        """Return what outputs depend on beside the photograph: weights, configuration, enhancement, precision."""
        digest = hashlib.sha256()
        config = {k: v for k, v in self.network.config.to_dict().items() if k not in ("_name_or_path", "dtype")}
        enhancement = {k: p.default for k, p in inspect.signature(local_normalize).parameters.items() if k.islower()}
        settings = {"config": config, "enhancement": enhancement, "bf16": self.bf16, "stored": "float16"}
        if self.average > 1:
            settings["average"] = {"views": self.average, **adaptation.RANGES}
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
        for key, value in sorted(self.network.state_dict().items()):
            digest.update(key.encode() + value.float().contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def run(self, pixels: Tensor) -> RetinaDenseOutput:
        """Run the teacher; outputs are float32."""
        self.network.to(pixels.device)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.bf16):
            dense = self.network(pixels.contiguous(memory_format=torch.channels_last))
        return RetinaDenseOutput(
            heatmap_logits=dense.heatmap_logits.float(), descriptor_map=dense.descriptor_map.float()
        )

    @torch.no_grad()
    def __call__(self, photographs: list[Photograph], views: Views) -> Taught:
        """Say what the teacher makes of a batch."""
        if self.sees == "photograph":
            return self._from_photographs(photographs, views)
        images = views.clean if self.sees == "clean" else views.images
        with capture(self.network, self.layers) as features:
            dense = self.run(torch.cat(images))
        return Taught(
            logits=dense.heatmap_logits,
            describe=lambda places: self.network.sample_descriptors(dense.descriptor_map, places),
            features={name: value.float() for name, value in features.items()},
        )

    def _from_photographs(self, photographs: list[Photograph], views: Views) -> Taught:
        device, size = views.to_photograph.device, views.images[0].shape[-1]
        outputs = [self.of_photograph(photograph, device) for photograph in photographs]
        logits = torch.cat([logits for logits, _ in outputs]).to(device).float()
        maps = torch.cat([maps for _, maps in outputs]).to(device).float()

        def in_photograph(places: Tensor) -> tuple[Tensor, Tensor]:
            first, second = places.chunk(2)
            first = torch.cat([first, views.warp.to_first(second)], 1)
            return project(views.to_photograph, first).split([second.shape[1]] * 2, 1)

        def describe(places: Tensor) -> Tensor:
            return torch.cat([self.network.sample_descriptors(maps, part) for part in in_photograph(places)])

        grid = pixel_grid(size, device=device).expand(2 * len(photographs), -1, -1)
        seen = torch.cat([sample_at(logits, part) for part in in_photograph(grid)])
        return Taught(logits=seen.unflatten(-1, (size, size)), describe=describe)

    def of_photograph(self, photograph: Photograph, device) -> tuple[Tensor, Tensor]:
        """Give heat-map logits and descriptor map of a whole photograph in float16, from the cache if they are there.

        One photograph at a time and always rounded, so that a run does not depend on what the cache holds.
        """
        if self.cache is None:
            return self._compute(photograph, device)
        digest = hashlib.sha256(repr(tuple(photograph.image.shape)).encode())
        digest.update(photograph.pixels.numpy().tobytes())
        key = digest.hexdigest()
        path = self.cache / f"{key}.safetensors"
        found = _read_entry(path, f"{self.cache.name}/{key}")
        if found is None:
            found = self._compute(photograph, device)
            _write_entry(path, f"{self.cache.name}/{key}", found)
        return found

    def _compute(self, photograph: Photograph, device) -> tuple[Tensor, Tensor]:
        pixels = photograph.on(device)[None].float()
        green, field_of_view = pixels[:, 1:2] / 255, pixels[:, 3:]
        if self.average == 1:
            dense = self.run(local_normalize(green, field_of_view))
        else:
            dense = adaptation.average_over_views(self.network, self.run, green, field_of_view, self.average)
        return dense.heatmap_logits.half(), dense.descriptor_map.half()

    def keypoints(self, taught: Taught, masks: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Find the teacher's keypoints: (2 * batch, n, 2) in pixels of the views, and their mask."""
        config = self.network.config
        points, _, valid = detect_keypoints(
            taught.logits,
            masks[:, 0],
            nms_radius=config.nms_radius,
            threshold=config.keypoint_threshold,
            border=config.border,
            max_keypoints=most,
        )
        return points, valid


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(name.encode() + value.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def _read_entry(path: Path, key: str) -> tuple[Tensor, Tensor] | None:
    """Read an entry; None when it is missing, broken, or not what it should be."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in ("heatmap_logits", "descriptor_map")}
            about = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        warnings.warn(f"{path} cannot be read ({error}); it is computed anew.", stacklevel=2)
        return None
    if about.get("key") != key or about.get("checksum") != _checksum(tensors):
        warnings.warn(f"{path} does not hold what its name says; it is computed anew.", stacklevel=2)
        return None
    return tensors["heatmap_logits"], tensors["descriptor_map"]


def _write_entry(path: Path, key: str, outputs: tuple[Tensor, Tensor]) -> None:
    names = ("heatmap_logits", "descriptor_map")
    tensors = {name: value.contiguous().cpu() for name, value in zip(names, outputs, strict=True)}
    with replacing(path) as aside:
        save_file(tensors, aside, {"key": key, "checksum": _checksum(tensors)})


__all__ = ["Taught", "TeacherOutputs", "capture", "check_processor"]
