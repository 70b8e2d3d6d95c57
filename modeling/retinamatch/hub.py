"""A model as a Hub repository: weights, processor, and the code that opens them where this package is not installed."""

import filecmp
import json
import os
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForKeypointMatching, PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files

from .configuration_lk_superretina import LKSuperRetinaConfig
from .configuration_swin_retina import SwinRetinaConfig
from .conversion import CONVERTED
from .extractor import ONNX_FILES, WEIGHTS, find_model
from .files import check_inputs_stay, filling, replacing, write_text
from .image_processing_retina import RetinaImageProcessor
from .onnx_extractor import is_exported
from .pipeline import TASK
from .torch_extractor import open_model


_CARD = "README.md"
_FAMILIES = (LKSuperRetinaConfig.model_type, SwinRetinaConfig.model_type)
_HEADS = {
    "AutoModel": "Model",
    "AutoModelForKeypointDetection": "ForKeypointDetection",
    "AutoModelForKeypointMatching": "ForKeypointMatching",
}


def save_repository(
    model: PreTrainedModel,
    processor: RetinaImageProcessor,
    folder: str | os.PathLike,
    dtype: torch.dtype = torch.float16,
    remote_code: bool = True,
) -> None:
    """Write a folder that is a Hub repository.

    Args:
        model: Any class of a family, best the one with the matching head: its name stands in `config.json`.
        processor: The processor that the weights were trained with.
        folder: Where to write; files of the same names are replaced. Code of an earlier model goes, and ONNX files of
            another one.
        dtype: Precision of the stored weights.
        remote_code: Add the modeling code, so that `from_pretrained(..., trust_remote_code=True)` and the pipeline
            work without this package.

    Raises:
        OutputError: The folder cannot be written to.
    """
    weights = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    head, config, processor_class = type(model), type(model.config), type(processor)
    if remote_code:
        module = head.__module__.rsplit(".", 1)[-1]
        family = head.__name__.removesuffix("Model").split("For")[0]
        config.register_for_auto_class()
        processor_class.register_for_auto_class("AutoImageProcessor")
        head.register_for_auto_class(next(auto for auto, end in _HEADS.items() if head.__name__.endswith(end)))
        model.config.auto_map = {auto: f"{module}.{family}{end}" for auto, end in _HEADS.items()}
        model.config.custom_pipelines = {
            TASK: {"impl": "pipeline.RetinaKeypointMatchingPipeline", "pt": ["AutoModelForKeypointMatching"]}
        }
    before = model.config.dtype
    try:
        model.config.dtype = dtype
        with filling(folder) as aside:
            model.save_pretrained(aside, state_dict=weights)
            (aside / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone
            processor.save_pretrained(aside)
            _remove_stale(Path(folder), aside)
    finally:
        model.config.dtype = before
        if remote_code:
            del model.config.auto_map, model.config.custom_pipelines
            config._auto_class = head._auto_class = processor_class._auto_class = None


def export_repository(model: str | Path, folder: str | os.PathLike) -> None:
    """Write a model of the package, or a saved one, as a repository with its code and its card.

    Args:
        model: A name of `known_models`, a folder, or a repository of the Hub.
        folder: Where to write, as in `save_repository`; the card of a model of the package is not left to another one.

    Raises:
        UnknownNameError: The model does not exist, or is not whole.
        OutputError: The folder cannot be written to, or leads to files of the model.
    """
    source = find_model(model)
    theirs, ours = ([Path(place) / name for name in ONNX_FILES.values()] for place in (source, folder))
    check_inputs_stay(ours, theirs)
    save_repository(*open_model(model, AutoModelForKeypointMatching), folder)
    card, place = Path(source) / _CARD, Path(folder) / _CARD
    if card.is_file():
        write_text(place, card.read_text(encoding="utf-8"))
    elif place.is_file() and any(filecmp.cmp(place, known, shallow=False) for known in WEIGHTS.glob(f"*/{_CARD}")):
        place.unlink()
    for file, target in zip(theirs, ours):
        if file.is_file():
            with replacing(target) as aside:
                shutil.copyfile(file, aside)


def _remove_stale(folder: Path, aside: Path) -> None:
    """Remove what earlier exports wrote to a folder and what would not fit the files that are about to come.

    Args:
        folder: Of the repository.
        aside: Where the new files are.
    """
    for path in _earlier_code(folder):
        if not (aside / path.name).exists():
            path.unlink(missing_ok=True)
    if filecmp.cmpfiles(folder, aside, CONVERTED, shallow=False)[0] == list(CONVERTED):
        return
    for path in (folder / name for name in ONNX_FILES.values()):
        if path.is_file() and is_exported(path):
            path.unlink()


def _earlier_code(folder: Path) -> set[Path]:
    """List the modules of the repository of ours in a folder: the one that it names, and those that are imported."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["model_type"] not in _FAMILIES:
            return set()
        module = folder / f"{config['auto_map']['AutoModel'].split('.')[0]}.py"
        modules = {module, *map(Path, get_relative_import_files(module))}
        return {path for path in modules if path.parent == folder}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()


__all__ = ["export_repository", "save_repository"]
