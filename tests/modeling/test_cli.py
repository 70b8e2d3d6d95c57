import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from retinamatch import cli
from retinamatch.extractor import DEFAULT_MODEL
from retinamatch.transforms import TRANSFORMS
from tests.helpers.paths import REPOSITORY


PICTURES = {"aligned.png", "overlay.png", "checkerboard.png", "difference.png", "matches.png"}


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def register(*arguments):
    """Run `retinamatch register` with the extractor that needs no weights."""
    return run("register", *arguments, "--model", "rootsift")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, visits, other_eye, something_else):
    """Folder of the photographs that the commands are given, by the name of the case."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, photo in {
        "moving": visits.moving.image,
        "fixed": visits.fixed.image,
        "mirrored": visits.moving.image[:, ::-1],
        "other_eye": other_eye,
        "something_else": something_else,
        "black": np.zeros((200, 300, 3), np.uint8),
        "uniform": np.full((200, 300, 3), 130, np.uint8),
        "small": np.zeros((50, 300, 3), np.uint8),
    }.items():
        Image.fromarray(photo).save(folder / f"{name}.png")
    whole = (folder / "fixed.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("not a picture")
    return folder


def one_sentence(result):
    """The message on the standard error stream, made sure to be one line."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_register_writes_everything(photographs, tmp_path):
    result = register(photographs / "moving.png", photographs / "fixed.png", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert set(os.listdir(tmp_path)) == PICTURES | {"registration.json"}
    record = json.loads((tmp_path / "registration.json").read_text())
    assert record["status"] == "registered"
    assert {"read", "keypoints", "match", "estimate", "warp"} <= record["timings"].keys()
    assert Image.open(tmp_path / "aligned.png").size == (512, 512)
    assert "registered" in result.stdout and "overlay.png" in result.stdout
    assert result.stderr == ""


def test_default_model_and_transform(photographs, tmp_path):
    result = run("register", photographs / "moving.png", photographs / "fixed.png", "--out", tmp_path)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["affine", "quadratic"])
def test_transform_option(photographs, tmp_path, name):
    result = register(photographs / "moving.png", photographs / "fixed.png", "--out", tmp_path, "--transform", name)
    assert result.exit_code == 0
    assert json.loads((tmp_path / "registration.json").read_text())["transform"]["class"] == name


@pytest.mark.parametrize("case", ["mirrored", "other_eye", "something_else", "black", "uniform"])
def test_no_reliable_match_is_exit_code_one(photographs, tmp_path, case):
    result = register(photographs / f"{case}.png", photographs / "fixed.png", "--out", tmp_path, "--effort", "fast")
    assert result.exit_code == 1
    assert result.stdout.startswith("no reliable match: ")
    assert os.listdir(tmp_path) == ["registration.json"]
    record = json.loads((tmp_path / "registration.json").read_text())
    assert record.keys() == {"status", "reason"}
    assert record["status"] == "no reliable match" and record["reason"] in result.stdout


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", ["missing.png"]),
        ("truncated", ["truncated.png"]),
        ("text", ["text.png"]),
        ("small", ["small.png", "300 x 50", "64 x 64"]),
    ],
)
@pytest.mark.parametrize("command", ["register", "match"])
def test_unreadable_photograph_is_exit_code_two(photographs, tmp_path, command, case, words):
    out = tmp_path / "out"
    result = run(command, photographs / f"{case}.png", photographs / "fixed.png", "--out", out, "--model", "rootsift")
    assert result.exit_code == 2
    assert all(word in one_sentence(result) for word in words)
    assert not out.exists()


def test_a_folder_is_no_photograph(photographs):
    result = register(photographs, photographs / "fixed.png")
    assert result.exit_code == 2 and str(photographs) in one_sentence(result)


@pytest.mark.parametrize("command", ["register", "match"])
def test_unknown_names_are_exit_code_two(photographs, tmp_path, command):
    pair = [command, photographs / "moving.png", photographs / "fixed.png", "--out", tmp_path / "out"]
    result = run(*pair, "--transform", "spline")
    assert result.exit_code == 2
    assert all(name in one_sentence(result) for name in ("spline", "auto", *TRANSFORMS))
    result = run(*pair, "--model", "no-such-model")
    assert result.exit_code == 2
    assert all(name in one_sentence(result) for name in ("no-such-model", DEFAULT_MODEL, "rootsift"))


def test_output_folder_is_refused_before_the_work(photographs, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(cli, "Registrar", lambda *args, **kwargs: pytest.fail("the work has begun"))
    result = register(photographs / "moving.png", photographs / "fixed.png", "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert str(tmp_path / "file") in one_sentence(result)
    for command in (["evaluate", "fire"], ["evaluate", "identity"]):
        result = run(*command, tmp_path, "--json", tmp_path)
        assert result.exit_code == 2 and "is a folder" in one_sentence(result)


@pytest.fixture
def idle(monkeypatch):
    """A command that begins its work fails the test."""
    for name in ("cli.Registrar", "conversion.convert_checkpoint", "hub.export_repository", "onnx_export.export_onnx"):
        monkeypatch.setattr(f"retinamatch.{name}", lambda *args, **kwargs: pytest.fail("the work has begun"))


def folder_of_inputs(folder):
    """A small tree that every command takes as its input, as far as checks before the work go."""
    for name in ("aligned.png", "overlay.png", "registration.json", "config.json", "model.safetensors", "in.jpg"):
        (folder / name).write_text(name)
    for name in ("Images", "Ground Truth"):
        (folder / name).mkdir()
        (folder / name / "S01_1.jpg").write_text(name)
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("linked", ["", "symbolic", "hard"])
@pytest.mark.parametrize(
    "words",
    [
        "register IN/aligned.png OTHER --out AT",
        "register OTHER IN/overlay.png --out AT",
        "register OTHER IN/registration.json --out AT",
        "register OTHER OTHER --model IN --out AT",
        "match IN/in.jpg OTHER --out AT/in.jpg",
        "match OTHER IN/in.jpg --out AT/in.jpg",
        "match OTHER OTHER --model IN --out AT/model.safetensors",
        "evaluate fire IN --json AT/Images/S01_1.jpg",
        "evaluate identity IN --json AT/Images/S01_1.jpg",
        "evaluate stress IN --json AT/Images/S01_1.jpg",
        "evaluate table IN --json AT/Images/S01_1.jpg",
        "evaluate noise IN --json AT/Images/S01_1.jpg",
        "evaluate stress OTHER --model rootsift --model IN --json AT/config.json",
        "evaluate impostors IN --json AT/in.jpg",
        "evaluate impostors IN/in.jpg --json AT/in.jpg",
        "evaluate fire OTHER --model IN --json AT/config.json",
        "convert IN/config.json AT",
        "convert IN/model.safetensors AT",
        "export IN AT",
    ],
)
def test_an_input_is_never_touched(tmp_path, idle, words, linked):
    folder, place = tmp_path / "in", tmp_path / "in"
    folder.mkdir()
    before = folder_of_inputs(folder)
    if linked == "symbolic":
        place = tmp_path / "link"
        place.symlink_to(folder)
    elif linked == "hard":  # the same files under the same names in another folder
        place = tmp_path / "other"
        for path in before:
            (place / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place / path.relative_to(folder))
    places = {"IN": folder, "AT": place, "OTHER": tmp_path / "other.png"}
    result = run(*re.sub("IN|AT|OTHER", lambda name: str(places[name[0]]), words).split())
    assert result.exit_code == 2, result.output
    assert "would overwrite the input" in one_sentence(result)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("linked", [False, True])
def test_the_photographs_of_a_series_are_never_touched(tmp_path, idle, linked):
    for number in (1, 2, 3):
        (tmp_path / f"{number:02d}_a_aligned.png").write_text("a photograph")
    out = tmp_path
    if linked:  # an earlier result is a photograph now, by a link
        (tmp_path / "out").mkdir()
        out = tmp_path / "out"
        os.link(tmp_path / "02_a_aligned.png", out / "02_a_aligned.png")
    result = run("series", tmp_path, "--out", out)
    assert result.exit_code == 2
    assert ("would overwrite the input" if linked else "another folder") in one_sentence(result)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [f"{n:02d}_a_aligned.png" for n in (1, 2, 3)]


def test_what_cannot_be_said_is_exit_code_two(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from retinamatch.cli import main; main()", "models"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == "retinamatch: Standard output could not be written: No space left on device.\n"


def test_match_prints_csv(photographs):
    result = run("match", photographs / "moving.png", photographs / "fixed.png", "--model", "rootsift")
    assert result.exit_code == 0 and result.stderr == ""
    header, *rows = result.stdout.splitlines()
    assert header == "x_moving,y_moving,x_fixed,y_fixed,score,inlier"
    assert len(rows) > 50 and {row.split(",")[-1] for row in rows} == {"0", "1"}


def test_match_writes_json(photographs, tmp_path):
    out = tmp_path / "matches.json"
    result = run("match", photographs / "moving.png", photographs / "fixed.png", "--model", "rootsift", "--out", out)
    assert result.exit_code == 0 and result.stdout == ""
    assert len(json.loads(out.read_text())["matches"]) > 50


def test_match_into_a_full_device_is_exit_code_two(photographs):
    pair = [photographs / "moving.png", photographs / "fixed.png", "--model", "rootsift"]
    result = run("match", *pair, "--out", "/dev/full")
    assert result.exit_code == 2 and "/dev/full: No space left on device." in one_sentence(result)


def test_match_without_a_reliable_match_has_no_inliers(photographs):
    result = run("match", photographs / "other_eye.png", photographs / "fixed.png", "--model", "rootsift")
    assert result.exit_code == 1
    assert one_sentence(result).startswith("no reliable match: ")
    assert {row.split(",")[-1] for row in result.stdout.splitlines()[1:]} <= {"0"}


def test_models_begin_with_the_default():
    result = run("models")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"{DEFAULT_MODEL} (default)"


@pytest.fixture(scope="module")
def fire_folder(tmp_path_factory, visits):
    """One rendered pair in FIRE's own layout."""
    root = tmp_path_factory.mktemp("fire")
    (root / "Images").mkdir()
    (root / "Ground Truth").mkdir()
    Image.fromarray(visits.fixed.image).save(root / "Images" / "S01_1.jpg", quality=95)
    Image.fromarray(visits.moving.image).save(root / "Images" / "S01_2.jpg", quality=95)
    moving, _ = visits.shared_keypoints()
    moving = moving[:10]
    np.savetxt(
        root / "Ground Truth" / "control_points_S01_1_2.txt", np.hstack([visits.correspond(moving), moving]), fmt="%.3f"
    )
    return root


def test_evaluate_fire(fire_folder, tmp_path):
    out = tmp_path / "figures.json"
    result = run("evaluate", "fire", fire_folder, "--model", "rootsift", "--transform", "quadratic", "--json", out)
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert figures["auc"]["S"] == figures["auc"]["mean"] > 0.8
    assert figures["failed"] == 0
    (pair,) = figures["pairs"]
    assert pair["name"] == "S01" and pair["class"] == "S" and pair["status"] == "registered"
    assert json.loads(result.stdout) == {name: value for name, value in figures.items() if name != "pairs"}


def test_evaluate_fire_says_what_is_missing(tmp_path):
    result = run("evaluate", "fire", tmp_path / "nowhere", "--model", "rootsift")
    assert result.exit_code == 2 and str(tmp_path) in one_sentence(result)
    assert run("evaluate", "fire", tmp_path, "--degrade", 4).exit_code == 2


def test_evaluate_identity(tmp_path, visits, other_eye):
    for person, photos in {"a": [visits.fixed.image, visits.moving.image], "b": [other_eye, other_eye]}.items():
        (tmp_path / person).mkdir()
        for number, photo in enumerate(photos):
            Image.fromarray(photo).save(tmp_path / person / f"{number}.png")
    result = run("evaluate", "identity", tmp_path, "--model", "rootsift")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["same"] == {"pairs": 2, "registered": 2}
    assert json.loads(result.stdout)["different"] == {"pairs": 4, "registered": 0}


def test_convert_refuses_what_is_no_checkpoint(tmp_path):
    (tmp_path / "model.pth").write_text("not a checkpoint")
    for path in (tmp_path / "model.pth", tmp_path / "missing.pth"):
        result = run("convert", path, tmp_path / "out")
        assert result.exit_code == 2
        assert str(path) in one_sentence(result)
    assert not (tmp_path / "out").exists()


def test_a_process_of_its_own(photographs, tmp_path):
    pages = [Image.new("RGB", size) for size in ((80, 80), (300, 200))]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    words = ["register", "two.tif", "missing.png", "--model", "rootsift"]
    command = [sys.executable, "-c", "from retinamatch.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip().splitlines() == [
        "retinamatch: two.tif has 2 pages; the largest one is taken, page 2 of 300 x 200 pixels.",
        "retinamatch: missing.png does not exist.",
    ]
    assert os.listdir(tmp_path) == ["two.tif"]


def test_evaluate_table_is_markdown(fire_folder, monkeypatch, tmp_path):
    figures = [
        {"model": "a", "degrade": level, "transform": "quadratic", "auc": {"P": auc, "mean": auc}, "failed": level}
        for level, auc in ((0, 0.9), (1, 0.8))
    ]
    monkeypatch.setattr(cli, "Registrar", lambda *args, **kwargs: None)
    monkeypatch.setattr(cli, "compare_on_fire", lambda root, registrars, progress: figures)
    result = run("evaluate", "table", fire_folder, "--model", "a", "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "| model | transform | clean | degraded 1 |" in result.output
    assert "| a | quadratic | 0.900 | 0.800 (1 failed) |" in result.output
    assert json.loads((tmp_path / "out.json").read_text()) == {"rows": figures}


def test_evaluate_noise(fire_folder, tmp_path):
    result = run("evaluate", "noise", fire_folder, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "out.json").read_text())
    assert json.loads(result.stdout) == figures and figures["pairs"] == 1
    assert figures["noise"] < 0.1 and figures["auc"] == 1.0, "the control points of rendered eyes are exact"


def test_export_writes_a_repository_with_code(tmp_path):
    result = run("export", DEFAULT_MODEL, tmp_path / "repository")
    assert result.exit_code == 0, result.output
    assert {"config.json", "model.safetensors", "README.md", "modeling_lk_superretina.py", "pipeline.py"} <= set(
        os.listdir(tmp_path / "repository")
    )
    assert "auto_map" in json.loads((tmp_path / "repository" / "config.json").read_text())
    assert run("export", "no-such-model", tmp_path / "other").exit_code == 2
    assert "has no network" in one_sentence(run("export", "rootsift", tmp_path / "other"))


@pytest.mark.parametrize("request_to_end", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_request_to_end_leaves_nothing_half_written(tmp_path, request_to_end):
    """The program is ended while its results lie beside their place."""
    program = (
        "import pathlib, signal, sys, time; from retinamatch import cli, files, results\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def write(*_):\n"
        "    with files.written_aside(pathlib.Path(sys.argv[-1])) as aside:\n"
        "        (aside / 'aligned.png').write_text('half'); print('at work', flush=True); time.sleep(60)\n"
        "results.write_registration = write; cli.main()\n"
    )
    words = [
        "register",
        *[str(REPOSITORY / "modeling/retinamatch/examples" / f"{name}.jpg") for name in ("moving", "fixed")],
        "--effort",
        "fast",
    ]
    command = [sys.executable, "-c", program, *words, "--model", "rootsift", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None and run.stdout.readline().strip() == "at work"
        run.send_signal(getattr(signal, request_to_end))
        run.communicate(timeout=60)
    assert run.returncode not in (0, 1, 2)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()] and not list(tmp_path.glob("out/.*"))
