"""Photograph -> `pixel_values` on a canvas of fixed size, and keypoints back to pixels of the photograph.

`image_frames` tells which rectangle of the photograph the canvas covers; see `canvas.py`.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from huggingface_hub.utils import get_session
from PIL import Image, ImageDraw
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs

from .canvas import WORKING_SIZE, crop_gray, place
from .field_of_view import find_field_of_view
from .keypoints import RetinaKeypointOutput, RetinaMatchingOutput
from .photographs import PhotographError, PhotographLike, read_photograph


#: (height, width) of photographs in any nesting of sequences, or as a tensor or an array.
TargetSizes = torch.Tensor | np.ndarray | Sequence

#: Options of `RetinaImageProcessor` that enhance as SuperRetina was published: for converted checkpoints.
PUBLISHED_ENHANCEMENT: dict[str, Any] = {
    "do_min_max": True,
    "do_clahe": True,
    "do_gamma": True,
    "do_local_normalize": False,
}


class RetinaImageProcessorKwargs(ImagesKwargs, total=False):
    """Options of `RetinaImageProcessor` besides those that all image processors share.

    Attributes:
        do_crop_field_of_view: Show the field of view only; else the whole photograph.
        do_green_channel: Take the green channel, in which vessels show best; else the luminance.
        do_min_max: Stretch the gray levels inside the field of view to the full range.
        do_clahe: Contrast-limited adaptive histogram equalization.
        clahe_clip_limit: Clip limit of CLAHE.
        clahe_grid_size: Number of tiles of CLAHE along each side.
        do_gamma: Raise relative gray levels to the power `1 / gamma`.
        gamma: Above 1 brightens.
        do_local_normalize: Subtract the local mean and divide by the local standard deviation: values in [-1, 1].
        local_normalize_sigma: Size of the neighborhood in pixels of the canvas.
        local_normalize_epsilon: Floor added to the local standard deviation, in units of the global one.
    """

    do_crop_field_of_view: bool
    do_green_channel: bool
    do_min_max: bool
    do_clahe: bool
    clahe_clip_limit: float | int
    clahe_grid_size: int
    do_gamma: bool
    gamma: float | int
    do_local_normalize: bool
    local_normalize_sigma: float | int
    local_normalize_epsilon: float | int


class RetinaBatch(BatchFeature):
    """Output of the processor. `to` casts the pixels alone: coordinates in half precision would be off by pixels."""

    def to(self, *args: Any, **kwargs: Any) -> "RetinaBatch":
        """Bring the batch to a device, and its pixels to a precision; `image_frames` stay in float32.

        Args:
            *args: As for `torch.Tensor.to`.
            **kwargs: As for `torch.Tensor.to`.

        Returns:
            The batch itself, changed in place.
        """
        frames = self.data.get("image_frames")
        super().to(*args, **kwargs)
        if isinstance(frames, torch.Tensor):
            self.data["image_frames"] = frames.to(self.data["image_frames"].device)
        return self


class RetinaImageProcessor(PilBackend):
    """Prepare fundus photographs for the models, and bring their keypoints back to pixels of the photographs.

    An image is an address (http, https, data) or anything that `read_photograph` reads, of any mode and size. Pairs are
    consecutive images: `[a, b]`, `[[a, b], [c, d]]` and `[a, b, c, d]` are all taken. Calling the processor gives

    - `pixel_values` (batch, 1, height, width) float32, zero outside the field of view: in [-1, 1] after local
      normalization, else in [0, 1], or gray levels without `do_rescale`;
    - `pixel_mask` (batch, height, width) int64, 1 inside the field of view;
    - `image_frames` (batch, 4) float32, the rectangle (x0, y0, x1, y1) that each canvas covers, relative to the
      upright photograph.

    The steps, each of which can be switched off: crop to the field of view, gray (green channel or luminance),
    resize with the aspect ratio kept, pad, stretch, CLAHE, gamma, local normalization. `do_normalize`,
    `do_center_crop` and the like of other processors have no effect.
    """

    valid_kwargs = RetinaImageProcessorKwargs
    model_input_names = ["pixel_values", "pixel_mask", "image_frames"]
    resample = PILImageResampling.BILINEAR
    size = {"height": WORKING_SIZE, "width": WORKING_SIZE}
    do_resize = True
    do_pad = True
    do_rescale = True
    rescale_factor = 1 / 255
    do_crop_field_of_view = True
    do_green_channel = True
    do_min_max = False
    do_clahe = False
    clahe_clip_limit = 2.0
    clahe_grid_size = 8
    do_gamma = False
    gamma = 1.2
    do_local_normalize = True
    local_normalize_sigma = 24.0
    local_normalize_epsilon = 0.2

    def _prepare_images_structure(self, images: Any, expected_ndims: int = 3) -> list:
        """Flatten any nesting of lists, batched arrays and batched tensors into a list of single images."""
        if isinstance(images, (list, tuple)):
            return [image for part in images for image in self._prepare_images_structure(part)]
        if isinstance(images, (np.ndarray, torch.Tensor)) and images.ndim > 3:
            return [image for part in images for image in self._prepare_images_structure(part)]
        return [images]

    def _prepare_image_like_inputs(  # type: ignore[override]  # transformers makes a list of all
        self, images: Any, *args: Any, expected_ndims: int = 3, **kwargs: Any
    ) -> Iterator[np.ndarray]:
        # One after the other: of many large photographs only one lies in memory at full size.
        return (self.process_image(image) for image in self._prepare_images_structure(images))

    def process_image(  # type: ignore[override]
        self, image: PhotographLike, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> np.ndarray:
        """Read one image of any kind as (H, W, 3) uint8 RGB, upright; `timeout` seconds to fetch an address."""
        if isinstance(image, str) and image.startswith(("http://", "https://")):
            image = _fetch(image, timeout)
        elif isinstance(image, str) and image.startswith("data:image/"):
            image = _decoded(image)
        return read_photograph(image)

    def _preprocess(  # type: ignore[override]  # transformers calls it by keyword alone
        self,
        images: Iterable[np.ndarray],
        size: SizeDict,
        resample: PILImageResampling,
        do_resize: bool,
        do_pad: bool,
        return_tensors: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        fit = height_and_width(size) if do_resize else None
        parts = []
        for photo in images:
            view = find_field_of_view(photo)
            parts.append((view, *crop_gray(photo, view, fit, resample=resample, **options)))
            del photo  # before the next one is read
        if not parts:
            raise ValueError("There is no image to process: the list is empty.")
        if do_pad and fit is None:
            fit = tuple(np.max([content.shape for _, content, _ in parts], axis=0).tolist())

        data: dict[str, list[np.ndarray]] = {"pixel_values": [], "pixel_mask": [], "image_frames": []}
        for view, content, frame in parts:
            size_here = fit if do_pad and fit else content.shape
            pixels, mask, frame = place(content, frame, view, size_here, **options)
            data["pixel_values"].append(pixels[None])
            data["pixel_mask"].append(mask.astype(np.int64))
            data["image_frames"].append(np.array(frame, dtype=np.float32))
        if return_tensors is not None and len({values.shape for values in data["pixel_values"]}) > 1:
            raise ValueError("Images of several sizes do not stack into one tensor without padding: leave `do_pad` on.")
        return RetinaBatch(data=data, tensor_type=return_tensors)

    def post_process_keypoint_detection(
        self, outputs: RetinaKeypointOutput, target_sizes: TargetSizes
    ) -> list[dict[str, torch.Tensor]]:
        """Bring detected keypoints to pixels of the photographs.

        Args:
            outputs: Output of the keypoint detection model: `keypoints` relative to the photograph, `scores`,
                `descriptors`, `mask`.
            target_sizes: (height, width) of every upright photograph, as a list or a tensor (batch, 2); a list of
                pairs of sizes is taken too.

        Returns:
            Per photograph a dictionary: `keypoints` (N, 2) float32, (x, y) in pixels, (0, 0) being the center of
            the top-left pixel; `scores` (N,); `descriptors` (N, D).

        Raises:
            ValueError: The number of sizes is not the number of photographs.
        """
        sizes = _target_sizes(target_sizes, outputs.keypoints, (len(outputs.mask),))
        keypoints = outputs.keypoints.float() * sizes[:, None] - 0.5
        return [
            {"keypoints": points[mask], "scores": scores[mask], "descriptors": descriptors[mask]}
            for points, scores, descriptors, mask in zip(
                keypoints, outputs.scores, outputs.descriptors, outputs.mask.bool()
            )
        ]

    def post_process_keypoint_matching(
        self, outputs: RetinaMatchingOutput, target_sizes: TargetSizes, threshold: float = 0.0
    ) -> list[dict[str, torch.Tensor]]:
        """Bring matched keypoints to pixels of the two photographs of each pair.

        Args:
            outputs: Output of the keypoint matching model: `keypoints` relative to the photographs, `matches`,
                `matching_scores`, `mask`.
            target_sizes: Per pair ((height0, width0), (height1, width1)) of the upright photographs, as a list or
                a tensor (batch, 2, 2); a flat list of all sizes is taken too.
            threshold: Matches with a score at or below it are left out.

        Returns:
            Per pair a dictionary: `keypoints0` (M, 2) and `keypoints1` (M, 2) float32, (x, y) in pixels of the
            first and second photograph, (0, 0) being the center of the top-left pixel; `matching_scores` (M,).

        Raises:
            ValueError: The number of sizes is not the number of photographs.
        """
        sizes = _target_sizes(target_sizes, outputs.keypoints, (len(outputs.mask), 2))
        keypoints = outputs.keypoints.float() * sizes[:, :, None] - 0.5
        results = []
        for points, mask, matches, scores in zip(
            keypoints, outputs.mask.bool(), outputs.matches[:, 0], outputs.matching_scores[:, 0]
        ):
            keep = (matches > -1) & (scores > threshold) & mask[0]
            keep &= mask[1][matches.clamp_min(0)]
            results.append(
                {"keypoints0": points[0][keep], "keypoints1": points[1][matches[keep]], "matching_scores": scores[keep]}
            )
        return results

    def visualize_keypoint_matching(
        self, images: Any, keypoint_matching_output: list[dict[str, torch.Tensor]]
    ) -> list[Image.Image]:
        """Draw the matches of each pair, the photographs side by side; green is a sure match, red an unsure one.

        Args:
            images: The pairs of photographs, as given to the processor.
            keypoint_matching_output: What `post_process_keypoint_matching` returned.

        Returns:
            One picture per pair.

        Raises:
            ValueError: There are not two photographs for every result.
        """
        images = self._prepare_images_structure(images)
        wanted = 2 * len(keypoint_matching_output)
        if len(images) != wanted:
            raise ValueError(f"{wanted // 2} results need {wanted} images, got {len(images)}.")
        return [
            _draw_pair(self.process_image(images[2 * i]), self.process_image(images[2 * i + 1]), result)
            for i, result in enumerate(keypoint_matching_output)
        ]


def _fetch(address: str, timeout: float | None) -> bytes:
    try:
        answer = get_session().get(address, timeout=timeout, follow_redirects=True)
        answer.raise_for_status()
    except Exception as error:  # of httpx, or of httpx2: of the library that this version of the Hub's client uses
        raise PhotographError(f"{address} cannot be fetched ({error}).") from error
    return answer.content


def _decoded(address: str) -> bytes:
    try:
        return base64.b64decode(address.partition(",")[2])
    except ValueError as error:
        raise PhotographError(f"The address {address[:40]} holds no picture in base64 ({error}).") from error


def height_and_width(size: SizeDict) -> tuple[int, int]:
    """Return height and width of a size.

    Raises:
        ValueError: It says something else, such as the length of an edge.
    """
    height, width = size.height, size.width
    if isinstance(height, int | np.integer) and isinstance(width, int | np.integer) and min(height, width) > 0:
        return height, width
    given = {name: side for name, side in dict(size).items() if side is not None}
    raise ValueError(f"`size` needs positive whole numbers 'height' and 'width', got {given}.")


def _target_sizes(target_sizes: TargetSizes, keypoints: torch.Tensor, count: tuple[int, ...]) -> torch.Tensor:
    """Bring sizes (height, width) in any nesting to (*count, 2) float32 (width, height), on the keypoints' device."""
    wanted = int(np.prod(count))
    try:
        sizes = torch.as_tensor(target_sizes if torch.is_tensor(target_sizes) else np.asarray(target_sizes, np.float64))
        sizes = sizes.reshape(-1, 2) if sizes.shape[-1] == 2 else sizes.new_zeros(0, 2)
    except (ValueError, TypeError, IndexError):  # ragged, None, a single number
        sizes = torch.zeros(0, 2)
    if len(sizes) != wanted:
        raise ValueError(
            f"{wanted} photographs need {wanted} target sizes (height, width), got {len(sizes)} from {target_sizes}."
        )
    return sizes.reshape(*count, 2).flip(-1).to(device=keypoints.device, dtype=torch.float32)


def _draw_pair(left: np.ndarray, right: np.ndarray, result: dict[str, torch.Tensor]) -> Image.Image:
    """Draw two photographs side by side with lines between their matched keypoints."""
    pixels = np.zeros((max(len(left), len(right)), left.shape[1] + right.shape[1], 3), np.uint8)
    pixels[: len(left), : left.shape[1]] = left
    pixels[: len(right), left.shape[1] :] = right
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 1500))
    rows = torch.cat([result["keypoints0"].float(), result["keypoints1"].float()], 1).tolist()
    for (x0, y0, x1, y1), score in zip(rows, result["matching_scores"].tolist()):
        score = min(max(score, 0.0), 1.0)
        color = (int(255 * (1 - score)), int(255 * score), 0)
        x1 += left.shape[1]
        draw.line((x0, y0, x1, y1), fill=color, width=width)
        for x, y in ((x0, y0), (x1, y1)):
            draw.ellipse((x - 2 * width, y - 2 * width, x + 2 * width, y + 2 * width), fill="black", outline=color)
    return picture


__all__ = [
    "PUBLISHED_ENHANCEMENT",
    "RetinaBatch",
    "RetinaImageProcessor",
    "RetinaImageProcessorKwargs",
]
