"""A network as a file for ONNX Runtime, in float32 and in int8, with what `onnx_extractor` has to know beside it."""

import copy
import filecmp
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .extractor import FLOAT32, INT8, ONNX_FILES, UnknownNameError
from .files import filling
from .modeling_lk_superretina import DecoderStage, LargeKernelBlock
from .onnx_extractor import METADATA, is_exported
from .photographs import PhotographLike, read_photograph
from .torch_extractor import ModelExtractor, detection_settings


INPUT, OUTPUTS = "pixel_values", ("heatmap_logits", "descriptor_map")
_OPSET = 20
# Sides of the input are multiples of this many pixels where the file takes smaller views too.
_UNIT = 16
# So many photographs tell the ranges; more take memory.
_CALIBRATION = 24


class _Dense(nn.Module):
    """The dense network alone, its parallel convolutions merged, with plain tensors for outputs."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self.base = copy.deepcopy(base).float().cpu().eval()
        for parent in list(self.base.modules()):
            if isinstance(parent, DecoderStage):
                parent.join = True
            for name, child in parent.named_children():
                if isinstance(child, LargeKernelBlock):
                    setattr(parent, name, child.merged())

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        dense = self.base(pixel_values)
        return dense.heatmap_logits, dense.descriptor_map


def export_onnx(model: str | Path, folder: str | os.PathLike, photographs: Sequence[PhotographLike] = ()) -> None:
    """Write `model.onnx`, for one image at a time, and with photographs `model_int8.onnx`.

    Args:
        model: As for `ModelExtractor`.
        folder: Where to write; files of the same names are replaced, and one in int8 of another network goes.
        photographs: To calibrate int8 with: their ranges of values become those of the whole numbers. 24 are taken,
            evenly; never give those that anything is measured on.

    Raises:
        UnknownNameError: The model does not exist, or its processor makes images of no fixed size.
        PhotographError: A photograph cannot be read.
        ModuleNotFoundError: The packages that write ONNX files are not installed; the sentence names them.
        OutputError: The folder cannot be written to.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # what torch writes the file with
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Writing ONNX files needs: pip install 'retinamatch[export]'.") from error
    extractor = ModelExtractor(model, "cpu", dtype=FLOAT32)
    preparation = extractor.preparation
    if preparation.size is None or not preparation.pad:
        raise UnknownNameError(f"{model} takes images of any size; an ONNX file is for those of its processor.")
    height, width = preparation.size
    preparation = replace(preparation, one_size=any(side % (2 * _UNIT) for side in (height, width)))
    described = {"detection": asdict(detection_settings(extractor.model)), "preparation": asdict(preparation)}
    rows, columns = (torch.export.Dim(name, min=2, max=256) for name in ("rows", "columns"))
    sides = None if preparation.one_size else ({2: _UNIT * rows, 3: _UNIT * columns},)
    example = torch.zeros(1, 1, height, width)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode(), filling(folder) as aside:
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Dense(extractor.model.base_model),
            (example,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            opset_version=_OPSET,
            dynamo=True,
            dynamic_shapes=sides,
            verbose=False,
        )
        file, whole = aside / Path(ONNX_FILES[FLOAT32]).name, Path(ONNX_FILES[INT8]).name
        network = program.model_proto
        _describe(network, described)
        onnx.save(network, file)
        if photographs:
            number = min(len(photographs), _CALIBRATION)
            some = (read_photograph(photographs[k * len(photographs) // number]) for k in range(number))
            inputs = (extractor.prepare(photograph).pixels[None, None] for photograph in some)
            _quantize(file, aside / whole, inputs)
        elif _is_stale(Path(folder) / whole, file):
            (Path(folder) / whole).unlink()


def _is_stale(whole: Path, file: Path) -> bool:
    """Say whether an earlier file in int8 is of another network than a new one in float32."""
    beside = whole.with_name(file.name)
    same = beside.is_file() and filecmp.cmp(beside, file, shallow=False)
    return not same and whole.is_file() and is_exported(whole)


def _describe(network: Any, described: dict) -> None:
    entry = network.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(described)


def _quantize(source: Path, target: Path, inputs: Iterator[np.ndarray]) -> None:
    """Write a network in int8: weights per channel, activations by the ranges that the inputs have.

    The heat map stays in float32: in whole numbers its peaks would make ties.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict | None:
            one = next(inputs, None)
            return None if one is None else {INPUT: one}

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / source.name
        quant_pre_process(source, plain, skip_symbolic_shape=True)
        quantize_static(
            plain,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_last_nodes(plain),
        )


def _last_nodes(file: Path) -> list[str]:
    """Name the nodes that make the outputs."""
    import onnx

    graph = onnx.load(file).graph
    names = {output.name for output in graph.output}
    return [node.name for node in graph.node if names & set(node.output)]


__all__ = ["export_onnx"]
