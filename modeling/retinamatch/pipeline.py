"""The `keypoint-matching` pipeline, put right for images that are not square and for batches.

transformers' own (5.17 and 5.23) hands PIL's (width, height) where (height, width) is expected and fails on
`batch_size` above 1; `tests/modeling/test_pipeline.py` keeps a strict expected failure on it that will tell when
upstream has caught up.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForKeypointMatching
from transformers.image_utils import load_image
from transformers.pipelines import PIPELINE_REGISTRY, KeypointMatchingPipeline, Pipeline
from transformers.pipelines.keypoint_matching import ImagePair, Keypoint, Match, validate_image_pairs

from .image_processing_retina import RetinaImageProcessor


TASK = "retina-keypoint-matching"


class RetinaKeypointMatchingPipeline(KeypointMatchingPipeline):
    """Match the keypoints of two photographs; the same calls and answers as the pipeline `keypoint-matching`.

    Call it with a pair `[image0, image1]` or a list of pairs (paths, URLs or PIL images) and optionally `threshold`.
    For every match it gives `{"keypoint_image_0": {"x", "y"}, "keypoint_image_1": {"x", "y"}, "score"}`, x and y in
    pixels of the photographs, the best match first; for a list of pairs a list of such lists.
    """

    image_processor: RetinaImageProcessor

    # The methods take what upstream's take; those are no overrides of `Pipeline`'s that mypy accepts either.
    def __call__(  # type: ignore[override]
        self, inputs: ImagePair | list[ImagePair], threshold: float = 0.0, batch_size: int = 1, **kwargs: Any
    ) -> list[Match] | list[list[Match]]:
        """Match one pair or many; `batch_size` pairs go through the network at once."""
        pairs = validate_image_pairs(inputs)
        chunks = [pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size)]
        matches = [pair for chunk in Pipeline.__call__(self, chunks, threshold=threshold, **kwargs) for pair in chunk]
        return matches[0] if len(pairs) == 1 else matches

    def preprocess(  # type: ignore[override]
        self, pairs: Sequence[ImagePair], timeout: float | None = None
    ) -> dict[str, Any]:
        """Prepare a chunk of pairs. Coordinates (`image_frames`) keep full precision whatever the model's."""
        images = [load_image(image, timeout=timeout) for pair in pairs for image in pair]
        inputs = self.image_processor(images=images, return_tensors="pt")
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        sizes = [image.size[::-1] for image in images]  # PIL says (width, height)
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


PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=RetinaKeypointMatchingPipeline, pt_model=AutoModelForKeypointMatching
)

__all__ = ["TASK", "RetinaKeypointMatchingPipeline"]
