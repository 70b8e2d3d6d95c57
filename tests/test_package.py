import ast
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import retinamatch


REPOSITORY = Path(__file__).resolve().parent.parent
LIBRARY = REPOSITORY / "modeling" / "retinamatch"
# The files that travel to the Hub as remote code.
TRAVELLING = [
    *(f"{name}.py" for name in ("photographs", "field_of_view", "enhancement", "image_processing_retina")),
    *(f"{name}.py" for name in ("keypoints", "keypoint_heads", "losses", "pipeline")),
    *sorted(path.name for path in LIBRARY.glob("configuration_*.py")),
    *sorted(path.name for path in LIBRARY.glob("modeling_*.py")),
]
HUB_MAY_IMPORT = {"torch", "numpy", "PIL", "cv2", "transformers", "huggingface_hub"} | sys.stdlib_module_names


def imported(path):
    """Absolute top-level names and relative imports (dots, module) of a file, wherever in it they stand."""
    absolute, relative = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            absolute |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            absolute.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            relative.add((node.level, node.module))
    return absolute, relative


def python_files(*folders):
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def test_library_stands_on_its_own():
    files = python_files("modeling")
    assert len(files) > 10
    for path in files:
        assert not imported(path)[0] & {"train", "datasets_scripts", "space", "tests"}, path


def test_wings_do_not_know_each_other():
    wings = {"train", "datasets_scripts", "space"}
    for wing in wings:
        for path in python_files(wing):
            assert not imported(path)[0] & (wings - {wing}), path


def test_nothing_imports_torchvision():
    for path in python_files("modeling", "train", "datasets_scripts", "space", "tests"):
        assert "torchvision" not in imported(path)[0], path


def test_command_line_and_drawing_are_on_top():
    top = {"cli", "drawing", "results", "evaluation", "registration", "hub", "series"}
    for path in LIBRARY.glob("*.py"):
        if path.stem not in top | {"__init__"}:
            assert not {module for _, module in imported(path)[1]} & top, path


@pytest.mark.parametrize("name", TRAVELLING)
def test_files_of_the_hub_are_flat_siblings(name):
    absolute, relative = imported(LIBRARY / name)
    assert absolute <= HUB_MAY_IMPORT
    assert all(level == 1 and f"{module}.py" in TRAVELLING for level, module in relative)
    source = (LIBRARY / name).read_text(encoding="utf-8")
    assert "from __future__ import annotations" not in source


def test_installed_version_is_that_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    try:
        installed = metadata.version("retinamatch")
    except metadata.PackageNotFoundError:
        pytest.skip("retinamatch is on the path, not installed: `make test` installs it")
    assert installed == project["version"]


def test_import_needs_no_extra():
    """What only the extras install must not be imported with the library."""
    extras = ["accelerate", "datasets", "pyarrow", "skimage", "scipy", "gradio", "kornia", "monai", "torchvision"]
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); import retinamatch.cli"  # None: the import fails
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "modeling")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_public_names_exist():
    for name in retinamatch.__all__:
        assert hasattr(retinamatch, name), name
    assert {"register", "Registrar", "Registration"} <= set(retinamatch.__all__)


@pytest.mark.parametrize("name", ["moving.jpg", "fixed.jpg"])
def test_example_pair_travels_with_the_package(name):
    path = LIBRARY / "examples" / name
    assert 1_000 < path.stat().st_size < 400_000


def test_weights_are_hub_repositories():
    folders = [config.parent for config in (LIBRARY / "weights").glob("*/config.json")]
    assert "lk-superretina-small" in {folder.name for folder in folders}
    for folder in folders:
        assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"} <= {
            path.name for path in folder.iterdir()
        }
