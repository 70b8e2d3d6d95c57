"""The commands that measure and ship saved weights."""

import json
import os
import subprocess
import sys

import pytest
import torch
import typer
from transformers import AutoModelForKeypointMatching
from typer.testing import CliRunner

from retinamatch import RetinaImageProcessor
from retinamatch.extractor import find_model
from train import benchmark, curves, export, validation


def run(module, *words):
    app = typer.Typer()
    app.command()(module.main)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_export_writes_a_model(tmp_path):
    done = run(export, "lk-superretina-small", tmp_path / "out")
    assert done.exit_code == 0 and "959,649 parameters" in done.stdout
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_export_averages_several(tmp_path):
    """The average of a model and of one whose weights are all a little larger lies in the middle."""
    model = AutoModelForKeypointMatching.from_pretrained(find_model("lk-superretina-small"), dtype=torch.float32)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with torch.no_grad():
        for values in model.parameters():
            values.add_(0.5)
    model.save_pretrained(tmp_path / "other")
    RetinaImageProcessor().save_pretrained(tmp_path / "other")
    assert run(export, "lk-superretina-small", tmp_path / "other", tmp_path / "out").exit_code == 0
    averaged = AutoModelForKeypointMatching.from_pretrained(tmp_path / "out", dtype=torch.float32).state_dict()
    assert all(torch.allclose(averaged[name], values + 0.25, atol=1e-3) for name, values in before.items())


def test_networks_that_differ_are_not_averaged(tmp_path):
    done = run(export, "lk-superretina-small", "swin-retina", tmp_path / "out")
    assert done.exit_code == 2 and "of the same network" in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_benchmark_prints_what_it_writes(example_pair, tmp_path):
    words = ["--model", "rootsift", "--no-published", "--repeats", 1, "--json", tmp_path / "b"]
    done = run(benchmark, *example_pair, *words)
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "b").read_text())
    assert done.stdout.endswith(benchmark.benchmark_table(figures["rows"]) + "\n")
    (row,) = figures["rows"]
    assert (
        row["parameters"] is None
        and row["peak_memory"] > 50
        and all(row["seconds"][s] > 0 for s in benchmark.STEPS[:4])
    )


def test_validation_prints_what_it_writes(pack, tmp_path):
    done = run(validation, "lk-superretina-small", pack, "--pairs", 1, "--json", tmp_path / "figures.json")
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert json.loads(done.stdout) == figures and figures["pairs"] == 1 and 0 <= figures["auc"] <= 1


@pytest.mark.parametrize(
    "module, words",
    [
        (export, ["nothing", "OUT"]),
        (benchmark, ["nothing.jpg", "nothing.jpg", "--model", "rootsift", "--no-published"]),
        (validation, ["nothing", "nowhere"]),
        (validation, ["lk-superretina-small", "nowhere"]),
    ],
)
def test_what_is_wrong_is_one_sentence(module, words):
    done = run(module, *words)
    assert done.exit_code == 2 and done.stderr.splitlines()[-1].startswith("Error: ")
    assert words[0] in done.stderr or words[1] in done.stderr


def test_an_input_is_never_touched(tmp_path):
    run(export, "lk-superretina-small", tmp_path / "model")
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    (tmp_path / "log.jsonl").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "log.jsonl")
    for module, words in (
        (export, [tmp_path / "model", tmp_path / "model"]),
        (curves, [tmp_path, "--json", tmp_path / "log.jsonl"]),
        (curves, [tmp_path, "--plot", tmp_path / "link"]),
    ):
        done = run(module, *words)
        assert done.exit_code == 2 and "would overwrite the input" in done.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert (tmp_path / "log.jsonl").read_text() == "{}"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "module",
    [
        "train.curves",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("train.teacher", "datasets_scripts.validate")),
    ],
)
def test_a_full_disk_is_one_sentence(module):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", module, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: Standard output could not be written: No space left on device."
