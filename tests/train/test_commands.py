"""The commands that measure and ship saved weights."""

import json

import pytest
import typer
from typer.testing import CliRunner

from train import benchmark, export, validation


def run(module, *words):
    app = typer.Typer()
    app.command()(module.main)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_export_writes_a_model(tmp_path):
    done = run(export, "lk-superretina-small", tmp_path / "out")
    assert done.exit_code == 0 and "959,649 parameters" in done.stdout
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_benchmark_prints_what_it_writes(example_pair, tmp_path):
    words = ["--model", "rootsift", "--no-published", "--repeats", 1, "--json", tmp_path / "b"]
    done = run(benchmark, *example_pair, *words)
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "b").read_text())
    assert done.stdout.endswith(benchmark.benchmark_table(figures["rows"]) + "\n")
    (row,) = figures["rows"]
    assert row["parameters"] is None and row["peak_memory"] > 50 and all(row["seconds"][s] > 0 for s in benchmark.STEPS)


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
