import ast
import os
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib import metadata

import pytest

import retinamatch
from tests.helpers.paths import REPOSITORY


LIBRARY = REPOSITORY / "modeling" / "retinamatch"
# The files that travel to the Hub as remote code.
TRAVELLING = [
    *(f"{name}.py" for name in ("photographs", "field_of_view", "rim", "not_retina", "local_normalization", "canvas")),
    *(f"{name}.py" for name in ("image_processing_retina", "keypoints", "keypoint_heads", "losses", "pipeline")),
    *sorted(path.name for path in LIBRARY.glob("configuration_*.py")),
    *sorted(path.name for path in LIBRARY.glob("modeling_*.py")),
]
WINGS = ("modeling/retinamatch", "datasets_scripts", "train", "space")
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


def module_name(path):
    """Dotted name of a file, from its wing on; a folder's `__init__.py` has the folder's."""
    parts = path.relative_to(LIBRARY.parent if path.is_relative_to(LIBRARY) else REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_within(wing):
    """For each module of a wing the modules of it that it imports, wherever in the file; not the wing's own root."""
    paths = {module_name(path): path for path in python_files(wing)}
    root = wing.split("/")[-1]
    graph = {}
    for name, path in paths.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                package = name.split(".")[: None if path.name == "__init__.py" else -1]
                package = package[: len(package) + 1 - node.level] if node.level else []
                source = ".".join([*package, *([node.module] if node.module else [])])
                inner = {f"{source}.{alias.name}" for alias in node.names} & set(paths)
                found |= inner if inner else {source}
        graph[name] = (found & set(paths)) - {name, root}
    return graph


def rooms(graph):
    """The graph of a wing's rooms: its folders, and the files at its root."""
    merged = {}
    for name, targets in graph.items():
        room = ".".join(name.split(".")[:2])
        merged.setdefault(room, set()).update({".".join(target.split(".")[:2]) for target in targets} - {room})
    return merged


@pytest.mark.parametrize("wing", WINGS)
def test_imports_have_no_circle(wing):
    """Neither from file to file nor from folder to folder: so imports only fall."""
    graph = imports_within(wing)
    assert sum(map(len, graph.values())) > 10
    for level in (graph, rooms(graph)):
        list(TopologicalSorter(level).static_order())  # a circle raises CycleError, which names it


@pytest.mark.parametrize("wing", WINGS)
def test_folders_do_not_know_what_one_can_run(wing):
    graph = imports_within(wing)
    commands = {
        module_name(path)
        for path in (REPOSITORY / wing).glob("*.py")
        if "__main__" in path.read_text(encoding="utf-8") or path.stem == "cli"
    }
    assert commands
    for name, targets in graph.items():
        if name.count(".") > 1:
            assert not targets & commands, name


def test_command_line_and_drawing_are_on_top():
    names = (
        "cli",
        "commands",
        "drawing",
        "study",
        "results",
        "evaluation",
        "registrar",
        "registration",
        "hub",
        "series",
        "change",
    )
    top = {f"retinamatch.{name}" for name in names}
    for room, targets in rooms(imports_within("modeling/retinamatch")).items():
        if room not in top | {"retinamatch"}:
            assert not targets & top, room


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
    extras = ["SimpleITK", "dask", "distributed", "gdcm", "pandas", "pydicom"]
    extras += ["accelerate", "datasets", "pyarrow", "skimage", "scipy", "gradio", "kornia", "monai", "torchvision"]
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); import retinamatch.cli"  # None: the import fails
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "modeling")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_every_file_is_named_in_the_order_to_read_them():
    named = retinamatch.__doc__.split("in the order to read them:")[1]
    rooms = {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__"} <= set(re.findall(r"\w+", named))


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
