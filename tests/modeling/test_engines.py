"""One interface for torch and ONNX Runtime: the same keypoints, the same decisions; and the core without torch."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch

from retinamatch import LKSuperRetinaConfig, LKSuperRetinaForKeypointDetection, Registrar, RetinaImageProcessor
from retinamatch.engines import find_extractor, find_onnx
from retinamatch.extractor import WEIGHTS, UnknownNameError
from retinamatch.onnx_export import export_onnx
from retinamatch.onnx_extractor import METADATA, OnnxExtractor
from retinamatch.torch_extractor import ModelExtractor
from tests.helpers.paths import REPOSITORY


def agree(one, other, tolerance):
    """Whether two keypoint sets are the same, to a tolerance in working pixels."""
    assert len(one) == len(other) > 0
    assert one.points / one.scale == pytest.approx(other.points / one.scale, abs=tolerance)
    assert one.descriptors == pytest.approx(other.descriptors, abs=1e-3)
    assert one.scores == pytest.approx(other.scores, abs=1e-3)


def test_the_files_that_travel_give_the_keypoints_of_torch(visits):
    registrations = {}
    for engine, dtype in (("torch", "float32"), ("onnx", "float32"), ("onnx", "int8")):
        registrar = Registrar(engine=engine, dtype=dtype, transform="quadratic", effort="fast")
        registrations[engine, dtype] = registrar.register(visits.moving.image, visits.fixed.image)
        assert registrations[engine, dtype].registered
    wanted, found, whole = registrations.values()
    agree(found.moving_keypoints, wanted.moving_keypoints, 0.01)
    agree(found.fixed_keypoints, wanted.fixed_keypoints, 0.01)
    assert found.estimate.matches.tolist() == wanted.estimate.matches.tolist()
    places = wanted.moving_keypoints.points[found.estimate.matches[found.estimate.inliers, 0]]
    assert found.transform(places) == pytest.approx(wanted.transform(places), abs=0.01)
    assert np.median(np.linalg.norm(whole.transform(places) - wanted.transform(places), axis=1)) < 0.5


@pytest.fixture(scope="module")
def exported(tmp_path_factory, visits):
    """A small random network with everything that is merged, saved and as ONNX files."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = LKSuperRetinaConfig(
        encoder_widths=(4, 6, 8, 10), descriptor_width=16, descriptor_dim=16, keypoint_threshold=0.0, max_keypoints=60
    )
    model = LKSuperRetinaForKeypointDetection(config)
    with torch.no_grad():
        model.base_model.heatmap.weight.normal_(std=1.0)
    model.save_pretrained(folder)
    RetinaImageProcessor(size={"height": 136, "width": 152}, do_clahe=True, gamma=1.1, do_gamma=True).save_pretrained(
        folder
    )
    export_onnx(folder, folder / "onnx", [visits.moving.image, visits.fixed.image])
    return folder


def test_an_export_gives_the_keypoints_of_the_network_and_of_its_processor(exported, visits):
    pictures = [visits.moving.image, visits.fixed.image[:, 60:]]
    found = find_extractor(exported, engine="onnx").find(pictures)
    for one, other in zip(found, ModelExtractor(exported, dtype="float32").find(pictures)):
        agree(one, other, 0.01)
        assert one.size == other.size and one.scale == pytest.approx(other.scale, rel=1e-5)
        assert one.center == pytest.approx(other.center, abs=1e-3)
        assert one.describe(one.points[:5] + 3) == pytest.approx(other.describe(one.points[:5] + 3), abs=1e-3)
    whole = find_extractor(exported, dtype="int8")
    assert isinstance(whole, OnnxExtractor) and len(whole.find(pictures[:1])[0]) == 60
    assert find_onnx(exported, "int8").stat().st_size < find_onnx(exported).stat().st_size


@pytest.mark.parametrize("name, smaller", [("lk-superretina-small", True), ("exported", False)])
def test_a_smaller_view_costs_less_where_the_sides_of_the_input_allow_it(exported, visits, name, smaller):
    model = exported if name == "exported" else name
    extractors = [find_extractor(model, dtype="float32", engine=engine) for engine in ("onnx", "torch")]
    prepared = [extractor.prepare(visits.moving.image, 0.5) for extractor in extractors]
    whole = extractors[0].prepare(visits.moving.image).pixels.shape
    assert prepared[0].pixels.shape == (tuple(side // 2 for side in whole) if smaller else whole)
    found, wanted = (extractor.find([one])[0] for extractor, one in zip(extractors, prepared))
    if smaller:
        agree(found, wanted, 0.01)
    assert found.scale == pytest.approx(wanted.scale, rel=1e-5) and len(found) > 5


def test_threads_are_those_of_the_process(exported, monkeypatch):
    for number in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", number)
        extractor = find_extractor(exported / "onnx" / "model.onnx")
        assert extractor.session.get_session_options().intra_op_num_threads == int(number)


@pytest.mark.parametrize(
    "choices, words",
    [
        ({"engine": "tensorrt"}, "Unknown engine 'tensorrt'; known are: auto, torch, onnx"),
        ({"dtype": "float16"}, "Unknown dtype 'float16'; known are: auto, float32, bfloat16, int8"),
        ({"engine": "onnx", "dtype": "bfloat16"}, "The engine onnx runs networks in float32 and int8, not in bfloat16"),
        ({"engine": "torch", "dtype": "int8"}, "torch runs networks in auto, float32, bfloat16, not in 'int8'"),
        (
            {"model": "swin-retina", "dtype": "int8"},
            "swin-retina has no onnx/model_int8.onnx; `retinamatch export swin-retina",
        ),
        ({"model": "missing.onnx"}, "missing.onnx does not exist"),
        ({"model": "orb", "engine": "onnx"}, "Unknown model 'orb'"),
        ({"model": "{file}"}, "damaged.onnx is no network that `retinamatch export` wrote"),
        ({"model": "{file}", "engine": "torch"}, "is a file for the engine onnx, not for torch"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_sentence(tmp_path, choices, words):
    (tmp_path / "damaged.onnx").write_bytes(b"x" * 300)
    model = choices.get("model", "lk-superretina-small").format(file=tmp_path / "damaged.onnx")
    with pytest.raises(UnknownNameError, match=words) as caught:
        find_extractor(**{**choices, "model": model})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, value",
    [("nms_radius", -1), ("nms_radius", "x"), ("border", -3), ("max_keypoints", 0), ("ratio_threshold", 0)],
)
def test_settings_in_a_file_that_no_network_can_have(tmp_path, name, value):
    network = onnx.load(find_onnx("lk-superretina-small"))
    entry = next(one for one in network.metadata_props if one.key == METADATA)
    described = json.loads(entry.value)
    described["detection"][name] = value
    entry.value = json.dumps(described)
    onnx.save(network, tmp_path / "edited.onnx")
    with pytest.raises(UnknownNameError, match=f"edited.onnx is no network .*: `{name}` must be .*, got {value!r}"):
        find_extractor(tmp_path / "edited.onnx")


WITHOUT_TORCH = """
import json, sys
sys.modules.update(dict.fromkeys(["torch", "transformers", "safetensors", "huggingface_hub"]))  # None: not to be had
import retinamatch, retinamatch.cli
from typer.testing import CliRunner

def run(*words):
    done = CliRunner().invoke(retinamatch.cli.app, words)
    return done.exit_code, done.output + done.stderr

moving, fixed, out = sys.argv[1:]
answers = {
    "register": run("register", moving, fixed, "--out", out, "--transform", "quadratic"),
    "models": run("models"),
    "engine": run("match", moving, fixed, "--engine", "torch"),
    "dtype": run("match", moving, fixed, "--dtype", "bfloat16"),
    "student": run("match", moving, fixed, "--model", "swin-retina"),
    "convert": run("convert", moving, out + "/converted"),
    "export": run("export", "lk-superretina-small", out + "/exported"),
}
for name in ("LKSuperRetinaModel", "nothing"):
    try:
        getattr(retinamatch, name)
    except (ImportError, AttributeError) as error:
        answers[name] = type(error).__name__, str(error)
print(json.dumps(answers))
"""


def test_the_core_runs_without_torch(example_pair, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "modeling")}
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, example_pair), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers["register"][0] == 0, answers["register"]
    record = json.loads((tmp_path / "registration.json").read_text())
    wanted = Registrar(transform="quadratic", dtype="float32").register(*example_pair)
    assert record["transform"]["class"] == "quadratic"
    assert record["transform"]["coefficients"] == pytest.approx(np.array(wanted.transform.coefficients), abs=0.02)
    assert answers["models"][0] == 0 and "lk-superretina-small (default)" in answers["models"][1]
    extra = "needs torch, the extra `torch`: pip install 'retinamatch[torch]', or pip install '.[torch]' in a clone."
    for name in ("engine", "dtype", "convert", "export"):
        code, words = answers[name]
        assert code == 2 and words.startswith("retinamatch: ") and extra in words and words.count("\n") < 3, answers[
            name
        ]
    assert answers["student"][0] == 2 and "swin-retina has no onnx/model.onnx" in answers["student"][1]
    assert answers["LKSuperRetinaModel"] == ["MissingTorchError", f"retinamatch.LKSuperRetinaModel {extra}"]
    assert answers["nothing"][0] == "AttributeError"


def test_the_files_that_travel_were_made_from_the_weights_that_travel():
    folder = WEIGHTS / "lk-superretina-small"
    head = ModelExtractor(folder, dtype="float32").model.base_model.heatmap

    stored = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(find_onnx(folder)).graph.initializer}
    assert any(one.shape == head.weight.shape and np.allclose(one, head.weight.detach()) for one in stored.values())
