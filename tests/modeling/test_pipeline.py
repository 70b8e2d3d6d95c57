import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from datasets_scripts.rendering.fundus import render_visits
from retinamatch import LKSuperRetinaConfig, LKSuperRetinaForKeypointMatching, RetinaImageProcessor
from retinamatch.hub import save_repository
from retinamatch.pipeline import TASK, RetinaKeypointMatchingPipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model with random weights whose descriptors tell places apart, on a small canvas."""
    out = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = LKSuperRetinaConfig.small(encoder_widths=(4, 6, 8, 10), descriptor_width=16, descriptor_dim=16)
    model = LKSuperRetinaForKeypointMatching(config)
    with torch.no_grad():
        model.lk_superretina.heatmap.weight.normal_(std=1.0)
    processor = RetinaImageProcessor(size={"height": 192, "width": 192})
    save_repository(model, processor, out, dtype=torch.float32, remote_code=False)
    return out


@pytest.fixture(scope="module")
def oblong():
    """A photograph with a wide dark border, and a copy with the border on the other sides: the truth is a shift."""
    retina = render_visits(0, size=192, difficulty=0.0).fixed.image
    first, second = np.zeros((200, 420, 3), np.uint8), np.zeros((320, 230, 3), np.uint8)
    first[4:196, 150:342], second[90:282, 20:212] = retina, retina
    return Image.fromarray(first), Image.fromarray(second), np.array([20 - 150, 90 - 4])


def shifts(matches):
    first = np.array([[m["keypoint_image_0"]["x"], m["keypoint_image_0"]["y"]] for m in matches])
    second = np.array([[m["keypoint_image_1"]["x"], m["keypoint_image_1"]["y"]] for m in matches])
    return second - first


def test_float_pixels_of_both_photographs(folder, oblong):
    matcher = pipeline(TASK, model=str(folder))
    assert isinstance(matcher, RetinaKeypointMatchingPipeline)
    matches = matcher([oblong[0], oblong[1]])
    assert len(matches) > 20
    assert np.median(np.abs(shifts(matches) - oblong[2]), 0).max() < 0.5
    scores = [match["score"] for match in matches]
    assert scores == sorted(scores, reverse=True) and all(0 < score <= 1 for score in scores)
    assert any(match["keypoint_image_0"]["x"] % 1 > 0.01 for match in matches), "places are not cut to integers"


def test_threshold_and_batches(folder, oblong):
    matcher = pipeline(TASK, model=str(folder))
    pair = [oblong[0], oblong[1]]
    alone = matcher(pair)
    threshold = alone[len(alone) // 2]["score"]
    assert len(matcher(pair, threshold=threshold)) < len(alone)
    together = matcher([pair, pair[::-1], pair], batch_size=2)
    assert [len(found) for found in together][::2] == [len(alone)] * 2
    assert np.allclose(shifts(together[2]), shifts(alone), atol=0.01)


@pytest.mark.xfail(strict=True, reason="transformers' keypoint-matching swaps width and height (5.17 and 5.23)")
def test_the_stock_pipeline_gives_pixels_too(folder, oblong):
    matches = pipeline("keypoint-matching", model=str(folder))([oblong[0], oblong[1]])
    assert np.median(np.abs(shifts(matches) - oblong[2]), 0).max() < 0.5
