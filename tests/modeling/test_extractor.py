"""A folder of a model that is not whole says what is missing; the default processor stands in where that is safe."""

import json
import warnings

import numpy as np
import pytest
import torch

from retinamatch import (
    LKSuperRetinaConfig,
    LKSuperRetinaForKeypointDetection,
    LKSuperRetinaForKeypointMatching,
    Registrar,
    RetinaImageProcessor,
    SwinRetinaConfig,
    SwinRetinaForKeypointMatching,
)
from retinamatch.conversion import PUBLISHED_INFERENCE
from retinamatch.extractor import UnknownNameError
from retinamatch.hub import export_repository
from retinamatch.torch_extractor import ModelExtractor, network_dtype


SMALL = {"encoder_widths": (4, 6, 8, 10), "descriptor_width": 16, "descriptor_dim": 16}


def build(family, **settings):
    torch.manual_seed(0)
    if family == "swin_retina":
        return SwinRetinaForKeypointMatching(SwinRetinaConfig.tiny(**settings))
    return LKSuperRetinaForKeypointDetection(LKSuperRetinaConfig.small(**SMALL, **settings))


@pytest.mark.parametrize("family", ["lk_superretina", "swin_retina"])
@pytest.mark.parametrize("use", [ModelExtractor, lambda folder: export_repository(folder, folder.parent / "out")])
def test_a_model_without_its_processor_gets_the_default_one(tmp_path, family, use):
    folder = tmp_path / "model"
    build(family).save_pretrained(folder)
    with pytest.warns(UserWarning, match=r"model has no preprocessor_config\.json, .*; the default is taken"):
        used = use(folder)
    if isinstance(used, ModelExtractor):
        assert used.processor.to_dict() == RetinaImageProcessor().to_dict()
    RetinaImageProcessor(size={"height": 256, "width": 256}).save_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ModelExtractor(folder).processor.size["height"] == 256


@pytest.mark.parametrize("family", ["lk_superretina", "swin_retina"])
def test_a_converted_checkpoint_without_its_processor_is_refused(tmp_path, family):
    build(family, **PUBLISHED_INFERENCE).save_pretrained(tmp_path)
    for use in (ModelExtractor, lambda folder: export_repository(folder, folder / "out")):
        with pytest.raises(UnknownNameError, match=r"has no preprocessor_config\.json, .* a converted checkpoint"):
            use(tmp_path)


@pytest.mark.parametrize(
    "case,words",
    [
        ("empty", "it has no config.json"),
        ("no config", "it has no config.json"),
        ("no weights", "cannot be opened as a model: .*no file named model.safetensors"),
        ("damaged weights", "cannot be opened as a model"),
        ("truncated weights", "cannot be opened as a model"),
        ("config is no JSON", "cannot be opened as a model"),
        ("another network", "cannot be opened as a model"),
        ("damaged processor", "cannot be opened as a model"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, case, words):
    model = LKSuperRetinaForKeypointMatching(LKSuperRetinaConfig.small(**SMALL))
    if case != "empty":
        model.save_pretrained(tmp_path)
        RetinaImageProcessor().save_pretrained(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    if case == "no config":
        config.unlink()
    elif case == "no weights":
        weights.unlink()
    elif case == "damaged weights":
        weights.write_bytes(b"x" * 5000)
    elif case == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif case == "config is no JSON":
        config.write_text("{")
    elif case == "another network":
        config.write_text(json.dumps({"model_type": "bert"}))
    elif case == "damaged processor":
        (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(UnknownNameError, match=words) as error:
        ModelExtractor(tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message and "\n" not in message and "Unknown model" not in message


def test_precision_is_chosen_by_the_processor_and_may_be_named(tmp_path, monkeypatch, visits):
    model = build("lk_superretina", keypoint_threshold=0.0, max_keypoints=80)
    with torch.no_grad():
        model.base_model.heatmap.weight.normal_(std=1.0)
    model.save_pretrained(tmp_path)
    RetinaImageProcessor(size={"height": 256, "width": 256}).save_pretrained(tmp_path)
    for can, wanted in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda can=can: can)
        assert network_dtype("auto") == wanted and network_dtype("auto", "cuda") == torch.float32
    found = {}
    for name in ("float32", "bfloat16"):
        extractor = ModelExtractor(tmp_path, dtype=name)
        assert {value.dtype for value in extractor.model.parameters()} == {network_dtype(name)}
        (found[name],) = extractor.find([visits.moving.image])
        assert found[name].descriptors.dtype == found[name].scores.dtype == np.float32
        assert len(np.unique(found[name].scores)) == 80  # no ties, as bfloat16 would make
    distances = np.linalg.norm(found["float32"].points[:, None] - found["bfloat16"].points, axis=2).min(1)
    assert np.median(distances) < 0.1 * found["float32"].scale
    with pytest.raises(UnknownNameError, match="Unknown dtype 'float16'; known are: auto, float32, bfloat16, int8."):
        Registrar("rootsift", dtype="float16")
