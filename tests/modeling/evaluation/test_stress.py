import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from retinamatch.cli import app
from retinamatch.evaluation.stress import Outcome, outcomes_to_dicts, run_stress, stress_table, summarize_stress
from retinamatch.registrar import Registrar


def outcome(model, condition, pair, error, candidate=None, score=0.5):
    return Outcome(model, condition, pair, error, error if candidate is None else candidate, score)


def grid(errors):
    """Outcomes of {model: {condition: [error of each pair]}}."""
    return [
        outcome(model, condition, f"P{i:02d}", error)
        for model, rows in errors.items()
        for condition, row in rows.items()
        for i, error in enumerate(row)
    ]


class TestSummary:
    def test_a_pair_counts_by_the_thresholds_above_its_error(self):
        summary = summarize_stress(grid({"a": {"clean": [0.5, 2.5, None, 24.5]}}))
        (row,) = summary["rows"]
        assert row["auc"] == pytest.approx((25 + 23 + 0 + 1) / 25 / 4)
        assert row["registered"] == 3 and row["wrong"] == 0 and summary["pairs"] == 4

    def test_rough_answers_are_counted(self):
        outcomes = grid({"a": {"clean": [3.0, 30.0, 4.0]}})
        summary = summarize_stress([replace(outcome, rough=outcome.error > 3.5) for outcome in outcomes])
        assert summary["rows"][0]["rough"] == 2
        assert "(3/3, 1 wrong, 2 rough)" in stress_table(summary)
        del summary["rows"][0]["rough"]  # as older files are
        assert "(3/3, 1 wrong)" in stress_table(summary)

    def test_errors_are_compared_with_what_the_registrations_state(self):
        outcomes = grid({"a": {"clean": [3.0, 30.0, 40.0, None]}})
        precise = [replace(o, precision=None if o.error is None else 10.0) for o in outcomes]
        summary = summarize_stress(precise)
        assert summary["models"]["a"]["as_stated"] == pytest.approx(2 / 3)
        assert "| within 3 x stated precision | 0.667 |" in stress_table(summary)
        assert "stated" not in stress_table(summarize_stress(outcomes))

    @pytest.mark.parametrize("error, wrong", [(24.9, 0), (25.1, 1), (1e30, 1), (float("inf"), 1), (float("nan"), 1)])
    def test_wrong_is_registered_and_far_off(self, error, wrong):
        assert summarize_stress(grid({"a": {"clean": [error, 1.0]}}))["models"]["a"]["wrong"] == wrong

    def test_what_was_rejected_counts_without_the_decision_alone(self):
        outcomes = [outcome("a", "clean", "P01", None, candidate=0.5), outcome("a", "clean", "P02", 0.5)]
        (row,) = summarize_stress(outcomes)["rows"]
        assert row["auc"] == 0.5 and row["candidate_auc"] == 1.0 and row["registered"] == 1

    def test_the_mean_is_over_the_conditions(self):
        summary = summarize_stress(grid({"a": {"clean": [0.5, 0.5], "hard": [None, None], "odd": [0.5, None]}}))
        assert summary["models"]["a"]["auc"] == pytest.approx((1 + 0 + 0.5) / 3)

    def test_the_interval_holds_the_mean_and_narrows_with_more_pairs(self):
        rng = np.random.default_rng(0)
        widths = []
        for pairs in (10, 160):
            summary = summarize_stress(grid({"a": {"clean": list(rng.uniform(0, 30, pairs))}}))
            low, high = summary["models"]["a"]["interval"]
            assert low < summary["models"]["a"]["auc"] < high
            widths.append(high - low)
        assert widths[1] < widths[0] / 2

    def test_a_difference_is_taken_pair_by_pair(self):
        """Pairs that differ much and a model that is a little better on each: the paired interval leaves zero out."""
        errors = list(np.linspace(0.5, 20.5, 21))
        summary = summarize_stress(grid({"a": {"clean": errors}, "b": {"clean": [e + 2 for e in errors]}}))
        (difference,) = summary["differences"]
        a, b = summary["models"]["a"], summary["models"]["b"]
        assert difference["models"] == ["a", "b"] and difference["auc"] == pytest.approx(a["auc"] - b["auc"])
        assert difference["interval"][0] > 0 and a["interval"][0] < b["interval"][1]

    def test_it_is_json_and_a_table_with_every_row(self):
        outcomes = grid({"a": {"clean": [0.5, None], "hard": [30.0, None]}, "b": {"clean": [1.5, 1.5], "hard": [2, 3]}})
        summary = json.loads(json.dumps(summarize_stress(outcomes)))
        table = stress_table(summary)
        assert "| clean | 0.500 (1/2) | 0.960 (2/2) |" in table and "| hard | 0.000 (1/2, 1 wrong) |" in table
        assert "| wrong answers | 1 | 0 |" in table and "a less b: -" in table
        assert json.loads(json.dumps(outcomes_to_dicts(outcomes)))[0]["pair"] == "P00"


@pytest.fixture(scope="module")
def fire_folder(tmp_path_factory, visits):
    root = tmp_path_factory.mktemp("fire")
    (root / "Images").mkdir()
    (root / "Ground Truth").mkdir()
    for stem, photo in (("P01_1", visits.fixed.image), ("P01_2", visits.moving.image)):
        cv2.imwrite(str(root / "Images" / f"{stem}.jpg"), photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    steps = np.stack(np.meshgrid([150, 250, 350], [150, 250, 350]), -1).reshape(-1, 2).astype(float)
    mapped = visits.correspond(steps)
    np.savetxt(root / "Ground Truth" / "control_points_P01_1_2.txt", np.column_stack([mapped, steps]))
    return root


class TestRun:
    def test_conditions_registrars_and_control_points_come_together(self, fire_folder):
        """Turned photographs keep their control points: a method that does not mind a turn is right at every one."""
        names = ("clean", "turned 90", "field 70 %", "cut to 60 %", "squeezed to 80 %")
        outcomes = run_stress(fire_folder, {"rootsift": Registrar("rootsift")}, names)
        assert [o.condition for o in outcomes] == list(names)
        by = {o.condition: o for o in outcomes}
        assert all(o.error < 20 for o in outcomes), by
        assert by["clean"].matching_score > 0.2

    def test_an_unchanged_photograph_is_looked_at_once(self, fire_folder):
        class Counting(Registrar):
            seen = 0

            def keypoints(self, photos):
                self.seen += len(photos)
                return super().keypoints(photos)

        registrar = Counting("rootsift")
        run_stress(fire_folder, {"a": registrar}, ("clean", "red channel", "degraded 3"))
        assert registrar.seen == 2 + 1 + 1  # the clean pair, and two moving photographs

    def test_unknown_conditions_are_named(self, fire_folder):
        with pytest.raises(ValueError, match=r"Unknown conditions \['rain'\]; known are: clean"):
            run_stress(fire_folder, {}, ("clean", "rain"))


class TestCommand:
    def test_prints_the_table_and_writes_the_figures(self, fire_folder, tmp_path):
        words = ["evaluate", "stress", str(fire_folder), "--model", "rootsift", "--condition", "clean"]
        result = CliRunner().invoke(app, [*words, "--json", str(tmp_path / "stress.json")])
        assert result.exit_code == 0, result.output
        assert "| condition | rootsift |" in result.output and "| **mean** [95 %] |" in result.output
        figures = json.loads((tmp_path / "stress.json").read_text())
        assert figures["pairs"] == 1 and [o["pair"] for o in figures["outcomes"]] == ["P01"]

    def test_an_unknown_condition_is_one_sentence(self, fire_folder):
        result = CliRunner().invoke(app, ["evaluate", "stress", str(fire_folder), "--condition", "rain"])
        assert result.exit_code == 2 and "Unknown conditions ['rain']" in result.output
