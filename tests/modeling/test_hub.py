"""A saved repository, opened by the Auto classes: with the package, and as remote code without it."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from retinamatch import (
    LKSuperRetinaConfig,
    LKSuperRetinaForKeypointMatching,
    RetinaImageProcessor,
    SwinRetinaConfig,
    SwinRetinaForKeypointMatching,
    known_models,
)
from retinamatch.engines import find_extractor
from retinamatch.extractor import WEIGHTS, UnknownNameError
from retinamatch.files import OutputError
from retinamatch.hub import export_repository, save_repository
from retinamatch.onnx_export import export_onnx


SIZE = {"height": 128, "width": 128}


FAMILIES = ["lk_superretina", "swin_retina"]


def build(family):
    torch.manual_seed(0)
    if family == "swin_retina":
        model = SwinRetinaForKeypointMatching(SwinRetinaConfig.tiny()).eval()
    else:
        config = LKSuperRetinaConfig.small(encoder_widths=(4, 6, 8, 10), descriptor_width=16, descriptor_dim=16)
        model = LKSuperRetinaForKeypointMatching(config).eval()
    with torch.no_grad():
        model.base_model.heatmap.weight.normal_(std=1.0)
    return model


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def repository(family, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "repository"
    save_repository(build(family), RetinaImageProcessor(size=SIZE), folder)
    return folder


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (120, 200, 3), dtype=np.uint8)) for _ in range(2)]


def test_the_auto_classes_with_the_package(family, repository, photos):
    processor = AutoImageProcessor.from_pretrained(repository, trust_remote_code=False)
    assert type(processor) is RetinaImageProcessor and processor.size["height"] == 128
    inputs = processor([photos], return_tensors="pt")
    for auto in (AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching):
        model, info = auto.from_pretrained(repository, trust_remote_code=False, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        assert type(model).__module__ == f"retinamatch.modeling_{family}"
    with torch.inference_mode():
        found = model(**inputs)
        dense, expected = (m.base_model(inputs["pixel_values"]).heatmap_logits for m in (model, build(family)))
    (matches,) = processor.post_process_keypoint_matching(found, [[(120, 200), (120, 200)]])
    assert len(matches["keypoints0"]) > 3 and matches["keypoints0"].max() < 200
    assert torch.allclose(dense, expected, atol=0.02), "half precision on disk costs no more"


def test_saving_leaves_no_trace_on_the_classes(family, tmp_path):
    model = build(family)
    save_repository(model, RetinaImageProcessor(), tmp_path / "a")
    model.save_pretrained(tmp_path / "b")
    assert sorted(os.listdir(tmp_path / "b")) == ["config.json", "model.safetensors"]
    assert "auto_map" not in json.loads((tmp_path / "b" / "config.json").read_text())


REMOTE = """
import sys, json, torch
import numpy as np
from PIL import Image
from transformers import AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching, pipeline
from transformers.models.auto.image_processing_auto import AutoImageProcessor
assert not any(m.split(".")[0] == "retinamatch" for m in sys.modules)
try:
    import retinamatch
except ImportError:
    pass
else:
    raise SystemExit("the package must not be importable here")
folder = sys.argv[1]
rng = np.random.default_rng(0)
photos = [Image.fromarray(rng.integers(0, 255, (120, 200, 3), dtype=np.uint8)) for _ in range(2)]
processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
inputs = processor([photos], return_tensors="pt")
names = []
for auto in (AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching):
    model, info = auto.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    names.append(type(model).__name__)
with torch.inference_mode():
    found = model(**inputs)
matcher = pipeline("retina-keypoint-matching", model=folder, trust_remote_code=True)
matches = matcher(photos)
deep = [Image.fromarray(np.asarray(photo)[..., 1].astype(np.uint16) * 257) for photo in photos]
for name, photo in zip("ab", deep):
    photo.save(f"{name}.png")
assert matcher(["a.png", "b.png"]) == matcher([np.asarray(photo)[..., 1] for photo in photos])
matcher.save_pretrained("pipeline")
model.save_pretrained("parts")
processor.save_pretrained("parts")
for saved in ("pipeline", "parts"):
    again = pipeline("retina-keypoint-matching", model=saved, trust_remote_code=True)
    assert type(again).__name__ == type(matcher).__name__ and again(photos) == matches, saved
print(json.dumps([names, found.keypoints.double().sum().item(), len(matches), type(matcher).__name__]))
"""


@pytest.mark.parametrize(
    "family", ["lk_superretina", pytest.param("swin_retina", marks=pytest.mark.slow)], indirect=True
)
def test_the_same_as_remote_code_without_the_package(family, repository, photos, tmp_path):
    # -I: neither the current folder nor PYTHONPATH; the editable install of the package is blocked by a module of
    # its name.
    blocked = "import sys; sys.modules['retinamatch'] = None\n"
    script = (blocked + REMOTE).replace('assert not any(m.split(".")[0] == "retinamatch" for m in sys.modules)', "")
    (tmp_path / "remote.py").write_text(script)
    env = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    env.pop("PYTHONPATH", None)
    words = [sys.executable, "-I", str(tmp_path / "remote.py"), str(repository)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    names, total, matches, matcher = json.loads(done.stdout.splitlines()[-1])
    prefix = {"lk_superretina": "LKSuperRetina", "swin_retina": "SwinRetina"}[family]
    assert names == [f"{prefix}{end}" for end in ("Model", "ForKeypointDetection", "ForKeypointMatching")]
    for saved in ("pipeline", "parts"):
        files = set(os.listdir(tmp_path / saved))
        assert files == {name for name in os.listdir(repository) if name.endswith((".py", ".json", ".safetensors"))}
    other = next(name for name in FAMILIES if name != family)
    assert not any(other in file for file in os.listdir(repository)), "only the files of the family travel"
    assert matcher == "RetinaKeypointMatchingPipeline" and matches > 3
    inputs = RetinaImageProcessor(size=SIZE)([photos], return_tensors="pt")
    model = AutoModelForKeypointMatching.from_pretrained(repository, trust_remote_code=False)
    with torch.inference_mode():
        assert total == pytest.approx(model(**inputs).keypoints.double().sum().item(), rel=1e-4)


def onnx_files(folder):
    """Put ONNX files of ours beside a model, as if they were its own."""
    shutil.copytree(WEIGHTS / "lk-superretina-small" / "onnx", folder / "onnx", dirs_exist_ok=True)


def everything(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", ["another family", "other weights", "another processor"])
def test_nothing_of_an_earlier_export_stays_beside_another_model(tmp_path, source):
    out = tmp_path / "out"
    save_repository(build("lk_superretina"), RetinaImageProcessor(size=SIZE), out)
    onnx_files(out)
    (out / "README.md").write_text((WEIGHTS / "swin-retina" / "README.md").read_text())
    theirs = {
        "notes.txt": "mine",
        "series.py": "mine",
        "onnx/other.onnx": "mine",
        "modeling_own.py": "from .series import x",
    }
    for name, text in theirs.items():
        (out / name).write_text(text)
    model = build("swin_retina" if source == "another family" else "lk_superretina")
    if source == "other weights":
        with torch.no_grad():
            model.base_model.heatmap.bias.add_(1.0)
    size = {"height": 144, "width": 144} if source == "another processor" else SIZE
    save_repository(model, RetinaImageProcessor(size=size), tmp_path / "model", remote_code=False)
    export_repository(tmp_path / "model", out)
    export_repository(tmp_path / "model", tmp_path / "fresh")
    assert everything(out) == everything(tmp_path / "fresh") | theirs.keys()
    assert all((out / name).read_text() == text for name, text in theirs.items())
    with pytest.raises(UnknownNameError, match="has no onnx/model.onnx"):
        find_extractor(out, engine="onnx")


@pytest.mark.parametrize("family", FAMILIES, indirect=True)
def test_the_same_export_again_keeps_its_onnx_files_and_a_card_of_ones_own(family, tmp_path):
    for _ in range(2):
        save_repository(build(family), RetinaImageProcessor(size=SIZE), tmp_path / "model", remote_code=False)
        export_repository(tmp_path / "model", tmp_path / "out")
        if not (tmp_path / "out" / "onnx").exists():
            onnx_files(tmp_path / "out")
            (tmp_path / "out" / "README.md").write_text("mine")
    assert {"onnx/model.onnx", "README.md"} <= everything(tmp_path / "out")


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"model_type": "bert"}', "bert with code", "ours with a way out"])
def test_an_export_removes_nothing_that_no_export_wrote(tmp_path, config):
    out = tmp_path / "out" / "in"
    (out / "onnx").mkdir(parents=True)
    kept = [out / "modeling_mine.py", out / "mine.py", out / "onnx" / "model.onnx", tmp_path / "out" / "far.py"]
    for path in kept:
        path.write_text("from .mine import x\nfrom ./../far import y\n" if path == kept[0] else "mine")
    if config.startswith(("bert", "ours")):
        kind, module = ("bert", "modeling_mine") if config.startswith("bert") else ("swin_retina", "/../far")
        config = json.dumps({"model_type": kind, "auto_map": {"AutoModel": f"{module}.Model"}})
    if config:
        (out / "config.json").write_text(config)
    save_repository(build("lk_superretina"), RetinaImageProcessor(size=SIZE), out)
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_an_export_leaves_the_files_of_its_model_alone(tmp_path, link):
    save_repository(build("lk_superretina"), RetinaImageProcessor(size=SIZE), tmp_path / "model")
    onnx_files(tmp_path / "model")
    before = everything(tmp_path / "model")
    (tmp_path / "out" / "onnx").mkdir(parents=True)
    link(tmp_path / "model" / "onnx" / "model_int8.onnx", tmp_path / "out" / "onnx" / "model_int8.onnx")
    with pytest.raises(OutputError, match="would overwrite the input"):
        export_repository(tmp_path / "model", tmp_path / "out")
    assert everything(tmp_path / "model") == before and everything(tmp_path / "out") == {"onnx/model_int8.onnx"}


@pytest.mark.slow
def test_a_new_onnx_file_and_an_earlier_one_in_int8(tmp_path):
    save_repository(build("lk_superretina"), RetinaImageProcessor(size=SIZE), tmp_path / "model", remote_code=False)
    onnx_files(tmp_path)
    out = tmp_path / "onnx"
    export_onnx(tmp_path / "model", out)
    assert everything(out) == {"model.onnx"}
    shutil.copy(out / "model.onnx", out / "model_int8.onnx")
    export_onnx(tmp_path / "model", out)
    assert everything(out) == {"model.onnx", "model_int8.onnx"}


def test_shipped_weights_are_hub_repositories():
    assert "lk-superretina-small" in known_models()
    for name in known_models():
        folder = WEIGHTS / name
        assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"} <= set(os.listdir(folder))
        card = (folder / "README.md").read_text()
        assert "library_name: transformers" in card and "license: apache-2.0" in card
        with safe_open(folder / "model.safetensors", "pt") as weights:
            assert all(weights.get_tensor(key).dtype == torch.float16 for key in weights.keys())
