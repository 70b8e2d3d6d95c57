"""A folder of a model that is not whole says what is missing; the default processor stands in where that is safe."""

import copy
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
from retinamatch.hub import export_repository, save_repository
from retinamatch.torch_extractor import ModelExtractor, find_device, network_dtype


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


WEIGHTS_THAT_DO_NOT_FIT = {
    "half of them missing": "weights of the network are missing, such as ",
    "one missing": "1 weights of the network are missing, such as ",
    "one more": "1 stored weights belong to no part of the network, such as more",
    "renamed": "weights of the network are missing, such as ",
    "of another size": "config.json does not fit the weights, .* is of the size",
}


@pytest.mark.parametrize("family", ["lk_superretina", "swin_retina"])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("case", WEIGHTS_THAT_DO_NOT_FIT)
def test_weights_that_are_not_those_of_the_network_are_refused(tmp_path, capfd, family, case, sharded):
    model = build(family)
    state = model.state_dict()
    names = sorted(state)
    if case == "half of them missing":
        state = {name: state[name] for name in names[: len(names) // 2]}
    elif case == "one missing":
        del state[names[-1]]
    elif case == "one more":
        state["more"] = torch.zeros(3)
    elif case == "renamed":
        state = {f"other.{name}": values for name, values in state.items()}
    else:
        name = next(name for name in names if "descriptor_head" in name)
        state[name] = torch.cat([state[name]] * 2)
    model.save_pretrained(tmp_path / "model", state_dict=state, max_shard_size="20KB" if sharded else "5GB")
    RetinaImageProcessor().save_pretrained(tmp_path / "model")
    capfd.readouterr()
    for use in (ModelExtractor, lambda folder: export_repository(folder, tmp_path / "out")):
        with pytest.raises(
            UnknownNameError, match=f"cannot be opened as a model: .*{WEIGHTS_THAT_DO_NOT_FIT[case]}"
        ) as error:
            use(tmp_path / "model")
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists() and capfd.readouterr().err == ""


@pytest.mark.parametrize("family", ["lk_superretina", "swin_retina"])
@pytest.mark.parametrize("way", ["sharded", "float16", "bfloat16", "dense network alone", "repository with code"])
def test_a_whole_model_is_opened_however_it_was_saved(tmp_path, family, way):
    model = build(family)
    if way == "repository with code":
        save_repository(model, RetinaImageProcessor(), tmp_path)
    elif way == "dense network alone":
        model.base_model.save_pretrained(tmp_path)
    else:
        saved = model if way == "sharded" else copy.deepcopy(model).to(getattr(torch, way))
        saved.save_pretrained(tmp_path, max_shard_size="20KB" if way == "sharded" else "5GB")
    RetinaImageProcessor().save_pretrained(tmp_path)
    opened = ModelExtractor(tmp_path, dtype="float32").model.base_model.state_dict()
    for name, values in model.base_model.state_dict().items():
        assert torch.allclose(opened[name].float(), values.float(), atol=0.02), name


@pytest.mark.parametrize(
    "file, settings, words",
    [
        ("config", {"descriptor_dim": 32}, r"config\.json does not fit the weights, .* \(16,.*, not \(32,"),
        ("config", {"descriptor_width": 8}, r"config\.json does not fit the weights"),
        ("config", {"kernel_sizes": [1, 3]}, "stored weights belong to no part of the network"),
        ("config", {"nms_radius": "x"}, "'nms_radius' expected int, got str"),
        ("config", {"nms_radius": -1}, "`nms_radius` must be a whole number of at least 0, got -1"),
        ("config", {"max_keypoints": 0}, "`max_keypoints` must be a whole number of at least 1, got 0"),
        ("config", {"matching_temperature": 0}, "`matching_temperature` must be above 0, got 0"),
        ("config", {"descriptor_dim": 0}, "cannot be opened as a model"),
        ("config", {"encoder_widths": 5}, "'encoder_widths' with value 5"),
        ("config", {"descriptor_stride": 5}, "`descriptor_stride` must be 4 or 8, got 5"),
        ("config", [], r"config\.json holds no JSON object"),
        ("config", 5, r"config\.json holds no JSON object"),
        ("preprocessor_config", [], r"preprocessor_config\.json holds no JSON object"),
        ("preprocessor_config", "x", r"preprocessor_config\.json holds no JSON object"),
        (
            "preprocessor_config",
            {"size": {"shortest_edge": 5}},
            "positive whole numbers 'height' and 'width', got .*5}",
        ),
        ("preprocessor_config", {"size": {"height": -5, "width": 10}}, "positive whole numbers .*'height': -5"),
        ("preprocessor_config", {"size": {"height": 0, "width": 10}}, "positive whole numbers .*'height': 0"),
        ("preprocessor_config", {"size": {"height": "a", "width": 10}}, "positive whole numbers .*'height': 'a'"),
        ("preprocessor_config", {"size": {"height": 99.5, "width": 10}}, "positive whole numbers .*'height': 99.5"),
        ("preprocessor_config", {"size": 5}, "at least 8 x 8 pixels, got 5 x 5"),
        ("preprocessor_config", {"size": "x"}, "cannot be opened as a model: .* x$"),
        ("preprocessor_config", {"resample": "x"}, "'resample'|'x' is not a valid"),
        ("preprocessor_config", {"resample": 99}, "99 is not a valid"),
        ("preprocessor_config", {"gamma": "x"}, "'gamma'"),
        ("preprocessor_config", {"rescale_factor": None}, "`rescale_factor` has no value"),
        ("preprocessor_config", {"do_clahe": None}, "`do_clahe` has no value"),
    ],
)
def test_settings_that_do_not_fit_are_refused_when_the_model_is_opened(tmp_path, file, settings, words):
    build("lk_superretina").save_pretrained(tmp_path)
    RetinaImageProcessor().save_pretrained(tmp_path)
    path = tmp_path / f"{file}.json"
    if isinstance(settings, dict):
        settings = json.loads(path.read_text()) | settings
    path.write_text(json.dumps(settings))
    with pytest.raises(UnknownNameError, match=words) as error:
        ModelExtractor(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["foo", "cuda:99", "", "cpu:x", "meta", "mps:7", -1, 99, 5.5, [1]])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(UnknownNameError, match="^No device '.*' can be used here; known are: cpu") as error:
        Registrar(device=device)
    assert "\n" not in str(error.value)


def test_a_repository_of_the_hub_that_is_not_whole_is_not_called_unknown(tmp_path, monkeypatch):
    model = build("lk_superretina")
    state = model.state_dict()
    state.popitem()
    (tmp_path / "owner").mkdir()
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("owner/name", state_dict=state)
    monkeypatch.setattr("retinamatch.torch_extractor.find_model", str)  # a name, as one of the Hub is
    with pytest.raises(UnknownNameError, match="^owner/name cannot be opened as a model: 1 weights of the network"):
        ModelExtractor("owner/name")


def test_a_device_may_be_named():
    for device in ("cpu", torch.device("cpu"), "cpu:0"):
        assert find_device(device).type == "cpu"


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
