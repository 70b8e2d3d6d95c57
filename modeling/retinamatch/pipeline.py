"""The `keypoint-matching` pipeline, put right for images that are not square and for batches.

transformers' own (5.17 and 5.23) hands PIL's (width, height) where (height, width) is expected and fails on
`batch_size` above 1; `tests/modeling/test_pipeline.py` keeps a strict expected failure on it that will tell when
upstream has caught up.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForKeypointMatching
from transformers.pipelines import PIPELINE_REGISTRY, KeypointMatchingPipeline, Pipeline
from transformers.pipelines.keypoint_matching import Keypoint, Match

from .image_processing_retina import RetinaImageProcessor
from .photographs import PhotographLike


TASK = "retina-keypoint-matching"

_WANTED = "Matching takes two photographs [a, b], a list of such pairs or a generator of them"

#: Two photographs, or an array or tensor that holds both.
ImagePair = Sequence[PhotographLike] | np.ndarray | torch.Tensor


class RetinaKeypointMatchingPipeline(KeypointMatchingPipeline):
    """Match the keypoints of two photographs; the same calls and answers as the pipeline `keypoint-matching`.

    Call it with a pair `[image0, image1]`, a list of pairs, or anything that gives pairs one by one: a generator, a
    data set. An image is an address or anything that `read_photograph` reads. `threshold`, `batch_size` and `timeout`
    are taken by the constructor and by the call, which goes first.

    For every match it gives `{"keypoint_image_0": {"x", "y"}, "keypoint_image_1": {"x", "y"}, "score"}`, x and y in
    pixels of the photographs, the best match first. The answer to a pair, and to a list of one, is a list of matches;
    to a list of pairs a list of such lists; a generator of pairs gets an iterator over such lists.
    """

    image_processor: RetinaImageProcessor

    # The methods take what upstream's take; those are no overrides of `Pipeline`'s that mypy accepts either.
    def __call__(  # type: ignore[override]
        self,
        inputs: ImagePair | Iterable[ImagePair],
        threshold: float | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[Match] | list[list[Match]] | Iterator[list[Match]]:
        """Match one pair or many; `batch_size` pairs go through the network at once.

        Raises:
            ValueError: What is given is no pair, or holds something that is none; or there is no batch of that size.
            PhotographError: A photograph cannot be read; the sentence names it.
        """
        size = next((size for size in (batch_size, self._batch_size) if size is not None), 1)
        if not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"`batch_size` must be a whole number of at least 1, got {size!r}.")
        if threshold is not None:
            kwargs["threshold"] = threshold
        if isinstance(inputs, np.ndarray | torch.Tensor):
            inputs = list(inputs)
        if not isinstance(inputs, list | tuple):
            return self._match(_chunks(_iterated(inputs), int(size)), kwargs)
        pairs: Sequence[Any] = [inputs] if len(inputs) == 2 and not any(map(_holds_images, inputs)) else inputs
        # A list of chunks, not a generator: `num_workers` is for lists.
        matches = list(self._match(list(_chunks(iter(pairs), int(size))), kwargs)) if pairs else []
        return matches[0] if len(pairs) == 1 else matches

    def _match(self, chunks: Iterable[list[ImagePair]], options: dict[str, Any]) -> Iterator[list[Match]]:
        for found in Pipeline.__call__(self, chunks, batch_size=1, **options):
            yield from found

    def preprocess(  # type: ignore[override]
        self, pairs: Sequence[ImagePair], timeout: float | None = None
    ) -> dict[str, Any]:
        """Read and prepare a chunk of pairs."""
        images = [self.image_processor.process_image(image, timeout=timeout) for pair in pairs for image in pair]
        sizes = [image.shape[:2] for image in images]
        inputs = self.image_processor(images=images, return_tensors="pt")
        return {"model_inputs": inputs, "target_sizes": list(zip(sizes[0::2], sizes[1::2], strict=True))}

    def _forward(self, inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return {"model_outputs": self.model(**inputs["model_inputs"]), "target_sizes": inputs["target_sizes"]}

    def postprocess(  # type: ignore[override]
        self, outputs: dict[str, Any], threshold: float = 0.0
    ) -> list[list[Match]]:
        """List the matches of every pair of a chunk, the best first."""
        results = []
        for pair in self.image_processor.post_process_keypoint_matching(
            outputs["model_outputs"], outputs["target_sizes"], threshold
        ):
            order = torch.argsort(pair["matching_scores"], descending=True, stable=True)
            columns = (pair[key][order].tolist() for key in ("keypoints0", "keypoints1", "matching_scores"))
            results.append(
                [
                    Match(keypoint_image_0=Keypoint(x=x0, y=y0), keypoint_image_1=Keypoint(x=x1, y=y1), score=score)
                    for (x0, y0), (x1, y1), score in zip(*columns, strict=True)
                ]
            )
        return results


def _holds_images(value: Any) -> bool:
    """Tell a pair from an image: a sequence, or an array of more axes than an image has."""
    return isinstance(value, list | tuple) or getattr(value, "ndim", 0) > 3


def _iterated(pairs: Any) -> Iterator[ImagePair]:
    """Go through what is not a list, such as a generator or a data set; a single image is not taken for one."""
    if not isinstance(pairs, str | bytes | dict) and not hasattr(pairs, "read"):
        try:
            return iter(pairs)
        except TypeError:
            pass
    raise ValueError(f"{_WANTED}, got a single {type(pairs).__name__}.")


def _chunks(pairs: Iterator[ImagePair], size: int) -> Iterator[list[ImagePair]]:
    """Give pairs in lists of `size`, as they come; each is made sure to be a pair."""
    while chunk := list(islice(pairs, size)):
        for pair in chunk:
            if not _holds_images(pair):
                raise ValueError(f"{_WANTED}, got {type(pair).__name__} in place of a pair.")
            if len(pair) != 2:
                raise ValueError(f"{_WANTED}, got {len(pair)} photographs in place of a pair.")
        yield chunk


PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=RetinaKeypointMatchingPipeline, pt_model=AutoModelForKeypointMatching
)

__all__ = ["TASK", "RetinaKeypointMatchingPipeline"]
