"""Registering the pairs of a built data set: what is counted, and in which pixels."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from datasets_scripts import evaluate as evaluate_module
from datasets_scripts.assembly.pairs import rendered_visits
from datasets_scripts.evaluate import evaluate
from datasets_scripts.format.parquet import ParquetError, write_table
from retinamatch.transforms import Transform


SIZE = 128


@pytest.fixture(scope="module")
def rows():
    return [rendered_visits(1, 1, SIZE, 0), rendered_visits(1, 1, SIZE, 0, ("color", "angiogram"))]


class Stub:
    """Knows the truth of the rows, which come one after the other, and misses it by so many pixels; None: no match."""

    def __init__(self, rows, shifts):
        self.answers = [(Transform.from_dict(json.loads(row["transform"])), shift) for row, shift in zip(rows, shifts)]

    def register(self, moving, fixed):
        assert moving.shape == fixed.shape == (SIZE, SIZE, 3)
        mapping, shift = self.answers.pop(0)
        if shift is None:
            return None
        return SimpleNamespace(transform=lambda points: mapping(points) + [shift, 0])


def test_errors_are_counted_by_kind(rows, tmp_path):
    write_table(tmp_path, "pairs", "test", [rows[0], rows[0], rows[0], rows[1]])
    visits, other = evaluate(tmp_path, Stub([rows[0]] * 3 + [rows[1]], [1.0, None, 5.0, None]))
    assert (visits["kind"], visits["pairs"], visits["registered"], visits["wrong"]) == ("visits 1", 3, 2, 1)
    assert np.allclose([visits["median_error"], visits["largest_error"]], [3, 5], atol=0.1)
    counts = {"pairs": 1, "registered": 0, "wrong": 0}
    assert other == {"kind": "color and angiogram", **counts, "median_error": None, "largest_error": None}
    (only,) = evaluate(tmp_path, Stub([rows[1]], [0.0]), category="modalities")
    assert only["kind"] == "color and angiogram" and only["largest_error"] < 0.1
    with pytest.raises(ParquetError, match="no pairs of the category 'blur'"):
        evaluate(tmp_path, Stub([], []), category="blur")


def test_command_line(rows, tmp_path, monkeypatch):
    write_table(tmp_path / "set", "pairs", "test", rows)
    monkeypatch.setattr(evaluate_module, "Registrar", lambda model: Stub(rows, [0.5, None]))
    out = tmp_path / "figures.json"
    result = CliRunner().invoke(evaluate_module.app, [str(tmp_path / "set"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert [row["registered"] for row in json.loads(out.read_text())] == [1, 0]
    assert "color and angiogram" in result.output and "visits 1" in result.output
    result = CliRunner().invoke(evaluate_module.app, [str(tmp_path)])
    assert result.exit_code == 2 and "has no file pairs/test" in result.output
