"""Places on the canvas and in the photograph agree, whatever the picture, the size and the options."""

import inspect
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from retinamatch.canvas import canvas
from retinamatch.enhancement import local_normalize
from retinamatch.field_of_view import FieldOfView, find_field_of_view
from retinamatch.image_processing_retina import PUBLISHED_ENHANCEMENT, RetinaImageProcessor


EVERYTHING_OFF = {
    "do_crop_field_of_view": False,
    "do_green_channel": False,
    "do_local_normalize": False,
    "do_resize": False,
    "do_pad": False,
    "do_rescale": False,
}


def photograph(height, width, center=None, radius=None, spot=None, sigma=1.0):
    """A red disk with green texture on black; with `spot`, a Gaussian blob is the only green thing."""
    center = center or (width / 2, height / 2)
    radius = radius or 0.45 * min(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    disk = np.hypot(x - center[0], y - center[1]) < radius
    red = np.where(disk, 170, 3)
    green = np.where(disk, 90 + 40 * np.sin(x / 17) * np.cos(y / 23), 3)
    if spot is not None:
        green = 250 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * sigma**2))
    return np.stack([red, green, np.where(disk, 30, 3)], 2).round().astype(np.uint8)


def centroid(image):
    image = image.astype(np.float64)
    return np.array([image.sum(0) @ np.arange(image.shape[1]), image.sum(1) @ np.arange(image.shape[0])]) / image.sum()


def to_photograph(processor, frames, points, canvas_size, sizes):
    """Points (N, 2) in pixels of the canvases -> pixels of the photographs, the way the models and the processor go."""
    relative = (torch.tensor(np.array(points), dtype=torch.float32) + 0.5) / torch.tensor(canvas_size[::-1])
    keypoints = (frames[:, :2] + relative * (frames[:, 2:] - frames[:, :2]))[:, None]
    one = torch.ones(len(points), 1)
    outputs = SimpleNamespace(keypoints=keypoints, scores=one, descriptors=one[..., None], mask=one.int())
    found = processor.post_process_keypoint_detection(outputs, sizes)
    return torch.cat([result["keypoints"] for result in found]).numpy()


@pytest.fixture(scope="module")
def processor():
    return RetinaImageProcessor()


@pytest.mark.parametrize("size", [{"height": 256, "width": 256}, {"height": 300, "width": 211}])
@pytest.mark.parametrize(
    "height,width,center,radius",
    [
        (611, 611, None, None),
        (1001, 777, (391.3, 500.2), 350),
        (733, 1205, (600, 366), 500),  # cut at the top and bottom
        (512, 640, (400, 200), 250),  # off center, cut at the top and right
        (101, 137, (60, 50), 45),  # enlarged
    ],
)
def test_a_spot_maps_back_to_its_pixel(height, width, center, radius, size):
    processor = RetinaImageProcessor(size=size, do_local_normalize=False)
    step = 2.0 * (radius or 275) / 256
    spot = (0.53 * width + 0.37, 0.47 * height - 0.21)
    batch = processor(photograph(height, width, center, radius, spot, 7 * step), return_tensors="pt")
    pixels = batch.pixel_values[0, 0].numpy()
    assert pixels.shape == (size["height"], size["width"])
    frame = batch.image_frames[0].numpy()
    assert frame[0] > -1 and frame[3] < 2 and not np.allclose(frame, [0, 0, 1, 1], atol=0.01)  # it was cropped
    found = to_photograph(processor, batch.image_frames, [centroid(pixels)], pixels.shape, [(height, width)])[0]
    np.testing.assert_allclose(found, spot, atol=0.01)


@pytest.mark.parametrize("height,width", [(2912, 2912), (999, 961), (64, 4001), (4001, 75)])
def test_the_frame_is_exact(height, width):
    # Algebra alone: an odd rectangle on an odd canvas has one scale for both axes, and single precision suffices.
    view = FieldOfView(width, height, None, None, (0.13 * width, 0.2 * height + 0.3, 0.91 * width, height - 7.0), True)
    pixels, mask, frame = canvas(np.zeros((height, width), np.uint8), view, (401, 333))
    assert pixels.shape == mask.shape == (401, 333)
    step_x, step_y = (frame[2] - frame[0]) * width / 333, (frame[3] - frame[1]) * height / 401
    assert step_x == pytest.approx(step_y, rel=1e-12)
    frame, size = np.float32(frame), np.array([width, height])
    points = np.random.default_rng(0).random((100, 2)) * size
    relative = (((points + 0.5) / size - frame[:2]) / (frame[2:] - frame[:2])).astype(np.float32)
    back = (frame[:2] + relative * (frame[2:] - frame[:2])) * size - 0.5
    np.testing.assert_allclose(back, points, atol=0.002)


def test_canvas_of_rgb_and_gray():
    photo = photograph(500, 700)
    view = find_field_of_view(photo)
    pixels, mask, frame = canvas(photo, view, (128, 192))
    gray, _, same = canvas(photo[..., 1], view, (128, 192))
    assert pixels.shape == (128, 192, 3) and pixels.dtype == np.uint8 and mask.dtype == bool
    assert gray.dtype == np.float32 and same == frame
    np.testing.assert_allclose(pixels[..., 1], gray, atol=1)  # RGB is rounded
    assert pixels[mask][:, 0].min() > 120 and mask.sum() == pytest.approx(np.pi * 63.5**2, rel=0.02)
    assert (pixels[:, :32] == 0).all() and (pixels[:, -32:] == 0).all()  # padding
    np.testing.assert_array_equal(mask, view.mask(frame, (128, 192)))
    whole, mask, frame = canvas(photo, None, (250, 350))
    assert frame == (0, 0, 1, 1) and mask.all() and whole[125, 175, 0] == 170


def test_resizing_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (1024, 512))
    assert np.ptp(canvas(stripes, None, (100, 100))[0][5:-5, 5:-5]) < 10


def test_output(processor):
    batch = processor([photograph(300, 401), photograph(333, 200)], return_tensors="pt")
    assert set(batch) == {"pixel_values", "pixel_mask", "image_frames"}
    assert batch.pixel_values.shape == (2, 1, 768, 768) and batch.pixel_values.dtype == torch.float32
    assert batch.pixel_mask.shape == (2, 768, 768) and batch.pixel_mask.dtype == torch.int64
    assert batch.image_frames.shape == (2, 4) and batch.image_frames.dtype == torch.float32
    assert batch.pixel_values.abs().max() <= 1 and batch.pixel_values.abs().max() > 0.3
    assert (batch.pixel_values[:, 0][batch.pixel_mask == 0] == 0).all()
    assert 0.7 < batch.pixel_mask.float().mean() < 0.8  # a circle as wide as the canvas
    lists = processor(photograph(300, 401))
    np.testing.assert_array_equal(lists["pixel_values"][0], batch.pixel_values[0].numpy())
    assert processor(photograph(300, 401), return_tensors="np")["image_frames"].shape == (1, 4)


def test_every_nesting_gives_the_same_flat_batch(processor):
    a, b, c, d = (photograph(200, 200, (100 + k, 100), 90) for k in range(4))
    size = {"height": 64, "width": 64}
    flat = processor([a, b, c, d], size=size, return_tensors="pt")
    assert flat.pixel_values.shape == (4, 1, 64, 64)
    stacked = np.stack([a, b, c, d])
    for images in (
        [[a, b], [c, d]],
        ((a, b), (c, d)),
        stacked,
        torch.from_numpy(stacked).permute(0, 3, 1, 2),
        stacked.reshape(2, 2, 200, 200, 3),
        [Image.fromarray(image) for image in (a, b, c, d)],
        [[Image.fromarray(a), b], [c / np.float32(255), torch.from_numpy(d)]],
    ):
        again = processor(images, size=size, return_tensors="pt")
        assert torch.equal(again.pixel_values, flat.pixel_values)
        assert torch.equal(again.image_frames, flat.image_frames)
    alone = processor(c, size=size, return_tensors="pt")
    assert torch.equal(alone.pixel_values[0], flat.pixel_values[2])
    with pytest.raises(ValueError, match="no image"):
        processor([], return_tensors="pt")


def test_files_and_exif_orientation(processor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = photograph(300, 200, (90, 120), 85)
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.png", exif=exif)
    size = {"height": 64, "width": 64}
    wanted = processor(upright, size=size, return_tensors="pt")
    for image in (str(tmp_path / "a.png"), tmp_path / "a.png", Image.open(tmp_path / "a.png")):
        batch = processor(image, size=size, return_tensors="pt")
        assert torch.equal(batch.pixel_values, wanted.pixel_values)
        assert torch.equal(batch.image_frames, wanted.image_frames)


def test_every_step_off_is_the_luminance(processor):
    photo = photograph(150, 170, radius=500)  # no surround: everything belongs to the field of view
    batch = processor(photo, return_tensors="pt", **EVERYTHING_OFF)
    np.testing.assert_array_equal(batch.pixel_values[0, 0], cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))
    assert batch.image_frames.tolist() == [[0, 0, 1, 1]] and (batch.pixel_mask == 1).all()
    green = processor(photo, return_tensors="pt", **EVERYTHING_OFF | {"do_green_channel": True, "do_rescale": True})
    np.testing.assert_allclose(green.pixel_values[0, 0], photo[..., 1] / 255, atol=1e-6)


def test_as_published():
    photo = photograph(320, 300, radius=140)
    options = {"size": {"height": 256, "width": 256}, "do_crop_field_of_view": False, "return_tensors": "pt"}
    batch = RetinaImageProcessor(**PUBLISHED_ENHANCEMENT)(photo, **options)
    plain = RetinaImageProcessor(do_local_normalize=False, do_rescale=False)(photo, **options)
    mask = batch.pixel_mask[0].numpy() > 0
    gray = plain.pixel_values[0, 0].numpy()
    gray = np.where(mask, (gray - gray[mask].min()) / np.ptp(gray[mask]), 0) * 255
    gray = cv2.createCLAHE(2.0, (8, 8)).apply(np.clip(np.rint(gray), 0, 255).astype(np.uint8))
    np.testing.assert_allclose(batch.pixel_values[0, 0], np.where(mask, (gray / 255) ** (1 / 1.2), 0), atol=1e-5)


@pytest.mark.parametrize("step", ["do_min_max", "do_clahe", "do_gamma", "do_green_channel", "do_local_normalize"])
def test_each_step_works_alone(processor, step):
    photo = photograph(200, 200)
    off = {"do_green_channel": False, "do_local_normalize": False, "size": {"height": 64, "width": 64}}
    plain = processor(photo, return_tensors="pt", **off)
    batch = processor(photo, return_tensors="pt", **off | {step: True})
    assert torch.equal(plain.pixel_mask, batch.pixel_mask) and torch.equal(plain.image_frames, batch.image_frames)
    assert (batch.pixel_values - plain.pixel_values).abs().max() > 0.05
    assert torch.isfinite(batch.pixel_values).all() and batch.pixel_values.abs().max() <= 1


def test_local_normalization_is_the_one_of_training(processor):
    photo = photograph(300, 300)
    plain = processor(photo, do_local_normalize=False, return_tensors="pt")
    batch = processor(photo, return_tensors="pt")
    wanted = local_normalize(plain.pixel_values, plain.pixel_mask[:, None])
    torch.testing.assert_close(batch.pixel_values, wanted, atol=1e-4, rtol=0)
    defaults = inspect.signature(local_normalize).parameters
    assert processor.local_normalize_sigma == defaults["sigma"].default
    assert processor.local_normalize_epsilon == defaults["epsilon"].default


def test_without_padding_or_resizing(processor):
    small, large = photograph(200, 200), photograph(300, 260)
    fitted = processor(large[40:260], do_pad=False, size={"height": 96, "width": 128}, return_tensors="pt")
    assert fitted.pixel_values.shape[-2] <= 96 and fitted.pixel_values.shape[-1] <= 128
    assert 96 in fitted.pixel_values.shape or 128 in fitted.pixel_values.shape
    padded = processor([small, large], do_resize=False, return_tensors="pt")
    assert padded.pixel_values.shape[2] == pytest.approx(236, abs=4)  # the larger field of view at its own resolution
    frames, height = padded.image_frames, padded.pixel_values.shape[2]
    np.testing.assert_allclose((frames[:, 3] - frames[:, 1]) * torch.tensor([200, 300]), height, rtol=1e-5)
    assert len(processor([small, large], do_resize=False, do_pad=False)["pixel_values"]) == 2
    with pytest.raises(ValueError, match="do not stack"):
        processor([small, large], do_resize=False, do_pad=False, return_tensors="pt")
    with pytest.raises(ValueError, match="'height' and 'width'"):
        processor(small, size={"shortest_edge": 64})


@pytest.mark.parametrize("photo", [np.zeros((90, 80, 3)), np.full((90, 80, 3), 0.5), np.ones((90, 80), bool)])
def test_black_and_uniform_photographs(processor, photo):
    for options in ({}, PUBLISHED_ENHANCEMENT):
        batch = processor(photo, size={"height": 64, "width": 64}, return_tensors="pt", **options)
        assert torch.isfinite(batch.pixel_values).all()
        assert batch.pixel_mask.float().mean() == pytest.approx(80 / 90, abs=0.02)


def test_coordinates_stay_in_single_precision(processor):
    batch = processor(photograph(300, 401), return_tensors="pt")
    frames = batch.image_frames.clone()
    batch = batch.to(torch.float16)
    assert batch.pixel_values.dtype == torch.float16
    assert batch.image_frames.dtype == torch.float32 and torch.equal(batch.image_frames, frames)
    assert batch.to("cpu").pixel_mask.dtype == torch.int64


def test_save_and_load(tmp_path):
    from retinamatch.image_processing_retina import RetinaBatch

    processor = RetinaImageProcessor(size={"height": 96, "width": 128}, gamma=1.5, **PUBLISHED_ENHANCEMENT)
    processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_processor_type"] == "RetinaImageProcessor"
    assert saved["size"] == {"height": 96, "width": 128} and saved["gamma"] == 1.5 and not saved["do_local_normalize"]
    loaded = RetinaImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    photo = photograph(200, 210)
    first, second = processor(photo, return_tensors="pt"), loaded(photo, return_tensors="pt")
    assert isinstance(second, RetinaBatch) and torch.equal(first.pixel_values, second.pixel_values)


@pytest.mark.parametrize("backend", ["pil", "torchvision"])
def test_auto_image_processor(tmp_path, backend):
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    RetinaImageProcessor(gamma=1.4).save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path, backend=backend)
    assert type(loaded) is RetinaImageProcessor and loaded.gamma == 1.4
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is RetinaImageProcessor


REMOTE = """
import sys, numpy as np
from transformers.models.auto.image_processing_auto import AutoImageProcessor
processor = AutoImageProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
assert not any(name.split(".")[0] == "retinamatch" for name in sys.modules)
batch = processor(np.full((100, 90, 3), 120, np.uint8), return_tensors="pt")
print(type(processor).__name__, tuple(batch.pixel_values.shape))
"""


@pytest.mark.slow
def test_remote_code(tmp_path):
    class_before = RetinaImageProcessor._auto_class
    RetinaImageProcessor.register_for_auto_class()
    try:
        RetinaImageProcessor(size={"height": 96, "width": 96}).save_pretrained(tmp_path / "repository")
    finally:
        RetinaImageProcessor._auto_class = class_before
    names = {path.name for path in (tmp_path / "repository").iterdir()}
    files = {"image_processing_retina.py", "field_of_view.py", "photographs.py", "canvas.py"}
    assert files <= names
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", REMOTE, str(tmp_path / "repository")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["RetinaImageProcessor", "(1,", "1,", "96,", "96)"]


def detection_outputs():
    keypoints = torch.tensor([[[0.5, 0.25], [0.1, 0.9], [0.0, 0.0]], [[0.2, 0.2], [0.0, 0.0], [0.0, 0.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    return SimpleNamespace(keypoints=keypoints, scores=mask * 0.7, descriptors=torch.randn(2, 3, 8), mask=mask)


@pytest.mark.parametrize(
    "sizes",
    [[(100, 200), (50, 60)], [((100, 200), (50, 60))], torch.tensor([[100, 200], [50, 60]]), [[100, 200], [50, 60]]],
)
def test_post_process_detection(processor, sizes):
    outputs = detection_outputs()
    first, second = processor.post_process_keypoint_detection(outputs, sizes)
    torch.testing.assert_close(first["keypoints"], torch.tensor([[99.5, 24.5], [19.5, 89.5]]))
    torch.testing.assert_close(second["keypoints"], torch.tensor([[11.5, 9.5]]))
    assert first["scores"].tolist() == pytest.approx([0.7, 0.7]) and second["descriptors"].shape == (1, 8)
    assert torch.equal(first["descriptors"], outputs.descriptors[0, :2])


def matching_outputs():
    keypoints = torch.rand(2, 2, 3, 2, generator=torch.Generator().manual_seed(0))
    matches = torch.tensor([[[2, -1, 0], [2, -1, 0]], [[-1, 1, 2], [-1, 1, 2]]])
    scores = torch.tensor([[[0.9, 0.0, 0.2], [0.2, 0.0, 0.9]], [[0.0, 0.5, 0.6], [0.0, 0.5, 0.6]]])
    mask = torch.tensor([[[1, 1, 1], [1, 1, 1]], [[1, 1, 0], [1, 1, 1]]])
    return SimpleNamespace(keypoints=keypoints, matches=matches, matching_scores=scores, mask=mask)


SIZES = [((100, 200), (300, 400)), ((50, 60), (70, 80))]


@pytest.mark.parametrize("sizes", [SIZES, torch.tensor(SIZES), [size for pair in SIZES for size in pair]])
def test_post_process_matching(processor, sizes):
    outputs = matching_outputs()
    first, second = processor.post_process_keypoint_matching(outputs, sizes)
    points = outputs.keypoints
    torch.testing.assert_close(first["keypoints0"], points[0, 0, [0, 2]] * torch.tensor([200, 100]) - 0.5)
    torch.testing.assert_close(first["keypoints1"], points[0, 1, [2, 0]] * torch.tensor([400, 300]) - 0.5)
    torch.testing.assert_close(first["matching_scores"], torch.tensor([0.9, 0.2]))
    torch.testing.assert_close(second["keypoints1"], points[1, 1, [1]] * torch.tensor([80, 70]) - 0.5)  # 2 is padding
    assert first["keypoints0"].is_floating_point()
    assert len(processor.post_process_keypoint_matching(outputs, sizes, threshold=0.5)[0]["keypoints0"]) == 1


@pytest.mark.parametrize(
    "sizes", [[(100, 200)], [(1, 2), (3, 4), (5, 6)], torch.zeros(2, 3), [100, 200], None, [[1], [2, 3]]]
)
def test_wrong_numbers_of_sizes(processor, sizes):
    with pytest.raises(ValueError, match="2 photographs need 2 target sizes"):
        processor.post_process_keypoint_detection(detection_outputs(), sizes)
    with pytest.raises(ValueError, match="4 photographs need 4 target sizes"):
        processor.post_process_keypoint_matching(matching_outputs(), sizes)


def test_visualize(processor):
    images = [[Image.new("RGB", (200, 100)), np.zeros((300, 400, 3), np.uint8)], [torch.zeros(3, 70, 64)] * 2]
    result = {
        "keypoints0": torch.tensor([[10.2, 20.0]]),
        "keypoints1": torch.tensor([[100.0, 200.7]]),
        "matching_scores": torch.tensor([1.0]),
    }
    empty = {"keypoints0": torch.zeros(0, 2), "keypoints1": torch.zeros(0, 2), "matching_scores": torch.zeros(0)}
    drawn, blank = processor.visualize_keypoint_matching(images, [result, empty])
    assert drawn.size == (600, 300) and blank.size == (128, 70)
    assert drawn.getpixel((155, 110))[1] == 255 or drawn.getpixel((155, 111))[1] == 255  # half-way on the green line
    assert np.asarray(blank).max() == 0
    with pytest.raises(ValueError, match="2 results need 4 images, got 2"):
        processor.visualize_keypoint_matching(images[0], [result, empty])


def test_a_large_photograph_stays_exact():
    size, spot, sigma = 4001, (2300.4, 1801.8), 90.0
    photo = np.zeros((size, size, 3), np.uint8)
    cv2.circle(photo, (2000, 2000), 1900, (150, 0, 20), -1)
    x = np.arange(size)
    photo[..., 1] = np.rint(250 * np.outer(*(np.exp(-((x - c) ** 2) / (2 * sigma**2)) for c in spot[::-1])))
    processor = RetinaImageProcessor(do_local_normalize=False)
    batch = processor(photo, return_tensors="pt")
    found = to_photograph(
        processor, batch.image_frames, [centroid(batch.pixel_values[0, 0].numpy())], (768, 768), [(size, size)]
    )[0]
    np.testing.assert_allclose(found, spot, atol=0.01)
