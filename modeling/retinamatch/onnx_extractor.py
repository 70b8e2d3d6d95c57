"""A network that ONNX Runtime runs: no torch is needed."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from .canvas import crop_gray, place
from .extractor import UnknownNameError
from .field_of_view import find_field_of_view
from .network_extractor import DetectionSettings, NetworkExtractor, Prepared
from .processes import thread_count


#: Where a file of `retinamatch export` says what else than the network there is to know, as JSON.
METADATA = "retinamatch"


class OnnxExtractor(NetworkExtractor):
    """A network in a file that `retinamatch export --format onnx` wrote.

    Args:
        file: The file.
        heatmaps: Keep the heat maps with the keypoints.

    Raises:
        UnknownNameError: It is no such file.
    """

    def __init__(self, file: str | Path, heatmaps: bool = False):
        options = onnxruntime.SessionOptions()
        # ONNX Runtime takes all cores of the machine unless told.
        options.intra_op_num_threads, options.inter_op_num_threads = thread_count(), 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            described = json.loads(self.session.get_modelmeta().custom_metadata_map[METADATA])
            settings = DetectionSettings(**described["detection"])
            self.options: dict[str, Any] = described["preparation"]
        except Exception as error:  # of ONNX Runtime, which has a class of its own for each, and of what is missing
            problem = str(error).splitlines()[0]
            raise UnknownNameError(f"{file} is no network that `retinamatch export` wrote: {problem}") from error
        (_, _, height, width), (self.input,) = self.session.get_inputs()[0].shape, [self.session.get_inputs()[0].name]
        self.file, self.size = Path(file), (height, width)
        super().__init__(settings, heatmaps)

    @functools.cached_property
    def fingerprint(self) -> str:
        """What tells this extractor from any other: the sum of its file."""
        return hashlib.sha256(self.file.read_bytes() + bytes([self.heatmaps])).hexdigest()

    def prepare(self, photograph: np.ndarray, zoom: float = 1.0) -> Prepared:
        """Do what comes before the network; see `PreparingExtractor.prepare`."""
        view = find_field_of_view(photograph)
        height, width = self.size
        content, frame = crop_gray(photograph, view, (round(zoom * height), round(zoom * width)), **self.options)
        return Prepared.gather(photograph, view, *place(content, frame, view, self.size, **self.options))

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the network, one image after the other; see `NetworkExtractor.run`."""
        outputs = [self.session.run(None, {self.input: one[None]}) for one in pixels]
        logits, maps = (np.concatenate(part) for part in zip(*outputs))
        return logits[:, 0], np.ascontiguousarray(maps.transpose(0, 2, 3, 1))


__all__ = ["METADATA", "OnnxExtractor"]
