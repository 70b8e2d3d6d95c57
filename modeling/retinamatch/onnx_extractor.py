"""A network that ONNX Runtime runs: no torch is needed."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime

from .extractor import UnknownNameError
from .network_extractor import DetectionSettings, NetworkExtractor, Preparation
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
            preparation = Preparation(**described["preparation"])
            self.input = self.session.get_inputs()[0].name
        except Exception as error:  # of ONNX Runtime, which has a class of its own for each, and of what is missing
            problem = str(error).splitlines()[0]
            raise UnknownNameError(f"{file} is no network that `retinamatch export` wrote: {problem}") from error
        self.file = Path(file)
        super().__init__(settings, preparation, heatmaps)

    @functools.cached_property
    def fingerprint(self) -> str:
        """What tells this extractor from any other: the sum of its file."""
        return hashlib.sha256(self.file.read_bytes() + bytes([self.heatmaps])).hexdigest()

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the network, one image after the other; see `NetworkExtractor.run`."""
        outputs = [self.session.run(None, {self.input: one[None]}) for one in pixels]
        logits, maps = (np.concatenate(part) for part in zip(*outputs))
        return logits[:, 0], np.ascontiguousarray(maps.transpose(0, 2, 3, 1))


def is_exported(file: Path) -> bool:
    """Say whether a file is a network that `retinamatch export` wrote."""
    try:
        OnnxExtractor(file)
    except UnknownNameError:
        return False
    return True


__all__ = ["METADATA", "OnnxExtractor", "is_exported"]
