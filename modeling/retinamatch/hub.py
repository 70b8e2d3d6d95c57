"""A model as a Hub repository: weights, processor, and the code that opens them where this package is not installed."""

import os
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForKeypointMatching, PreTrainedModel

from .extractor import ONNX_FILES, find_model
from .files import filling, replacing, write_text
from .image_processing_retina import RetinaImageProcessor
from .pipeline import TASK
from .torch_extractor import find_processor


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
        folder: Where to write; files of the same names are replaced.
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
    finally:
        model.config.dtype = before
        if remote_code:
            del model.config.auto_map, model.config.custom_pipelines
            config._auto_class = head._auto_class = processor_class._auto_class = None


def export_repository(model: str | Path, folder: str | os.PathLike) -> None:
    """Write a model of the package, or a saved one, as a repository with its code and its card.

    Args:
        model: A name of `known_models`, a folder, or a repository of the Hub.
        folder: Where to write.

    Raises:
        UnknownNameError: The model does not exist.
        OutputError: The folder cannot be written to.
    """
    source = find_model(model)
    network = AutoModelForKeypointMatching.from_pretrained(source, dtype=torch.float32, trust_remote_code=False)
    save_repository(network, find_processor(source, network.config), folder)
    card = Path(source) / "README.md"
    if card.is_file():
        write_text(Path(folder) / card.name, card.read_text(encoding="utf-8"))
    for name in ONNX_FILES.values():
        file, target = Path(source) / name, Path(folder) / name
        if file.is_file():
            with replacing(target) as aside:
                shutil.copyfile(file, aside)


__all__ = ["export_repository", "save_repository"]
