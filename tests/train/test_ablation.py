import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.helpers.paths import REPOSITORY
from tests.helpers.training_pack import SMALL, STUDENT
from train import ablation, curves
from train.ablation import VARIANTS, Ablation, AblationConfig, Development, PretrainingBudget
from train.ablation_report import draw_losses, format_table, summarize
from train.data.view_settings import ViewSettings
from train.distill import DistillConfig
from train.methods.supervision import SupervisionWeights
from train.methods.validation import VALIDATION_VIEWS
from train.run.configuration import parse_config
from train.run.log import read_curve
from train.run.trainer import Trainer


def config(pack, folder, **changes):
    settings = {
        "output_dir": str(folder),
        "seeds": [0, 1],
        "labeled_fractions": [1.0],
        "variants": ["teacher", "both_pretrained"],
        "teacher_network": SMALL,
        "student": STUDENT,
        "cnn_student": SMALL,
        "pretraining": PretrainingBudget(steps=1, validation_steps=3),
        "development": None,
        "training": {
            "data": [pack],
            "steps": 3,
            "batch_size": 1,
            "checkpointing_steps": 1,
            "validation_steps": 3,
            "validation_pairs": 1,
            "mixed_precision": "no",
            "points": 16,
            "losses": SupervisionWeights(localization=0.0),
            "teacher": "own",
            "views": ViewSettings(size=64),
            "validation_views": replace(VALIDATION_VIEWS, size=96, shift=10),
        },
    }
    settings |= {**changes, "training": DistillConfig(**{**settings["training"], **changes.get("training", {})})}
    return AblationConfig(**settings)


def without_times(result):
    figures = {name: value for name, value in result.items() if name != "training_seconds"}
    for line in (*figures["curve"], figures["held_out"]):
        line.pop("validation_seconds")
    return figures


class TestRun:
    @pytest.mark.slow
    def test_goes_on_where_it_stopped_and_does_nothing_twice(self, pack, tmp_path, monkeypatch):
        whole = Ablation(config(pack, tmp_path / "whole", seeds=[0]))
        whole.run()
        parts, done, update = Ablation(config(pack, tmp_path / "parts")), [], Trainer.update

        def interrupted(trainer):
            done.append(Path(trainer.config.output_dir).name)
            if len(done) == 6:  # three of the teacher, one of the pretraining, in the second of the student
                raise KeyboardInterrupt
            return update(trainer)

        monkeypatch.setattr(Trainer, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            parts.run()
        assert parts.result("teacher", 1.0, 0) and parts.result("both_pretrained", 1.0, 0) is None
        done.clear()
        done += [""] * 10
        Ablation(config(pack, tmp_path / "parts")).run()
        ran = done[10:]
        assert ran[:2] == ["both_pretrained-100-seed0"] * 2, "from the checkpoint of its first step on"
        later = {"teacher-100-seed1": 3, "pretraining-seed1": 1, "both_pretrained-100-seed1": 3}
        assert {name: ran.count(name) for name in later} == later
        assert len(ran) == 9
        for cell in whole.cells():
            assert without_times(whole.result(*cell)) == without_times(parts.result(*cell)), cell

        done.clear()
        done += [""] * 10
        Ablation(config(pack, tmp_path / "parts")).run()
        assert len(done) == 10, "a finished cell is never run again"
        assert not list((tmp_path / "parts").rglob("checkpoint-*")) and list((tmp_path / "parts").rglob("last"))

        # What is written: a table with both seeds, and the plot.
        table = (tmp_path / "parts" / "table.md").read_text().splitlines()
        assert [line.split(" | ")[1] for line in table[2:]] == ["teacher", "both_pretrained"]
        assert all("| 100 % (3) |" in line and " ± " in line for line in table[2:])
        rows = json.loads((tmp_path / "parts" / "results.json").read_text())["cells"]
        assert len(rows) == 4 and [point["step"] for point in rows[0]["curve"]] == [3]
        assert cv2.imread(str(tmp_path / "parts" / "losses.png")).std() > 5

        settings = config(pack, tmp_path / "parts")
        settings.training.learning_rate = 1.0
        other = Ablation(settings)
        os.remove(tmp_path / "parts" / "cells" / "teacher-100-seed0" / "result.json")
        with pytest.raises(ValueError, match=r"was begun with other settings \(learning_rate\); choose another"):
            other.run()

    @pytest.mark.slow
    def test_every_variant_gets_what_its_name_says(self, pack, tmp_path, monkeypatch):
        seen = {}

        def keep(trainer, resume=False):
            method, settings = trainer.method, trainer.config
            terms = set(getattr(method, "terms", {}))
            encoder = getattr(settings, "encoder", None)
            seen[Path(settings.output_dir).name.split("-")[0]] = (
                trainer.network.num_parameters(),
                terms,
                bool(encoder),
            )
            method.save(trainer.network, Path(settings.output_dir) / "last")

        monkeypatch.setattr(Trainer, "run", keep)
        monkeypatch.setattr(ablation, "read_curve", lambda *_: {"curve": [], "held_out": {}, "training_seconds": 0.0})
        cnn = replace(SMALL, encoder_widths=[2, 2, 4, 4])
        Ablation(config(pack, tmp_path, variants=list(VARIANTS), seeds=[0], cnn_student=cnn)).run()
        both = {"output", "contrastive"}
        wanted = {"direct": set(), "output": {"output"}, "representation": {"contrastive"}, "both": both}
        for variant, terms in wanted.items():
            assert seen[variant][1:] == (terms, False)
        assert seen["direct_pretrained"][1:] == (set(), True) and seen["both_pretrained"][1:] == (both, True)
        assert seen["cnn_direct"][1] == set() and seen["cnn_both"][1] == both and seen["teacher"][1] == set()
        assert seen["cnn_both"][0] < seen["teacher"][0] < seen["both"][0] == seen["direct"][0]


class TestReport:
    def results(self):
        figures = {"auc": 0.5, "registered": 1.0, "matching_score": 0.2, "repeatability": 0.3}
        for seed, (auc, training, held_out) in enumerate(((0.5, 2.0, 3.0), (0.7, 4.0, 5.5))):
            for variant, more in (("direct", 0.0), ("both", 0.1)):
                last = {**figures, "auc": auc + more, "train_own": training, "held_out_own": held_out}
                yield {
                    "variant": variant,
                    "fraction": 0.3,
                    "seed": seed,
                    "parameters": 1234,
                    "labeled_patients": 7,
                    "held_out": last,
                    "curve": [{"step": 1, **last}, {"step": 2, **last}],
                    "training_seconds": 1.0,
                    "development": [{"degrade": 0, "auc": 0.9}, {"degrade": 2, "auc": 0.4 + 0.2 * seed}],
                }

    def test_means_and_spreads_by_hand(self):
        rows = summarize(list(self.results()))
        assert [(row["variant"], row["seeds"]) for row in rows] == [("direct", [0, 1]), ("both", [0, 1])]
        found = rows[0]["figures"]
        assert found["held-out AUC"] == pytest.approx((0.6, 0.1 * 2**0.5))
        assert found["gap"] == pytest.approx((1.25, 0.25 * 2**0.5))
        assert found["dev clean"] == pytest.approx((0.9, 0)) and found["dev degraded 2"][0] == pytest.approx(0.5)
        table = format_table(rows)
        assert "| 30 % (7) | both | 1,234 | 2 | 0.700 ± 0.141 |" in table and "dev degraded 2 |" in table
        single = summarize([next(self.results())])
        assert "| 0.500 | 1.000 |" in format_table(single), "no spread of one seed"

    def test_the_plot_shows_every_variant_twice(self, tmp_path, monkeypatch):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        figures = []
        monkeypatch.setattr(pyplot, "close", figures.append)
        draw_losses(list(self.results()), tmp_path / "losses.png")
        lines = figures[0].axes[0].lines
        assert sorted(line.get_linestyle() for line in lines) == ["-", "-", "--", "--"]
        assert [line.get_ydata().tolist() for line in lines][:2] == [[3.0, 3.0], [4.25, 4.25]]

    def test_a_curve_takes_a_step_that_stands_twice_once(self, tmp_path):
        lines = [
            {"step": 1, "total": 2.0, "seconds": 1.0},
            {"step": 1, "auc": 0.1, "validation_seconds": 1.0},
            {"resumed": "checkpoint-0", "step": 0},
            {"step": 1, "total": 2.0, "seconds": 3.0},
            {"step": 1, "auc": 0.2, "validation_seconds": 1.0},
        ]
        (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
        found = read_curve(tmp_path / "log.jsonl", 1)
        assert len(found["curve"]) == 1 and found["held_out"]["auc"] == 0.2 and found["training_seconds"] == 3.0


class TestDevelopmentPairs:
    def root(self, folder):
        """A pair in FIRE's layout; its control points say that nothing has moved."""
        fire = folder / "registration" / "fire_dev"
        (fire / "Images").mkdir(parents=True)
        (fire / "Ground Truth").mkdir()
        rng = np.random.default_rng(0)
        for name in ("P01",):
            picture = cv2.GaussianBlur(rng.integers(0, 255, (96, 96, 3), dtype=np.uint8), (0, 0), 2)
            for k in (1, 2):
                cv2.imwrite(str(fire / "Images" / f"{name}_{k}.jpg"), picture)
            np.savetxt(
                fire / "Ground Truth" / f"control_points_{name}_1_2.txt", rng.uniform(10, 80, (10, 2))[:, [0, 1, 0, 1]]
            )
        return fire

    def test_are_measured_when_they_are_there_and_left_out_when_not(self, pack, tmp_path, monkeypatch):
        wanted = Development(levels=[0, 1], transform="homography")
        runner = Ablation(config(pack, tmp_path, development=wanted))
        monkeypatch.delenv("RETINAMATCH_DATA", raising=False)
        assert runner.measure_development("lk-superretina-small") == []
        self.root(tmp_path)
        monkeypatch.setenv("RETINAMATCH_DATA", str(tmp_path))
        found = runner.measure_development("lk-superretina-small")
        assert [(row["degrade"], row["transform"]) for row in found] == [(0, "homography"), (1, "homography")]
        assert all(0 <= row["auc"] <= 1 for row in found)
        runner.config.development = None
        assert runner.measure_development("lk-superretina-small") == []


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--variants", "[indirect]"], "Got value: indirect"),
        (["--seeds", "[]"], "`seeds` is empty"),
        (["--variants", "[both]"], '`teacher: own` wants "teacher" among the variants.'),
        (["--training.color", "red"], "--training.color"),
        (["--student.variant", "huge"], 'Unknown model variant "huge"'),
        (["--training.teacher", "nobody"], "Unknown model 'nobody'"),
        (["--development", "{levels: all}"], "`development`: Expected Development, null. Got value: {'levels': 'all'}"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.setattr(sys, "argv", ["train.ablation", "--output_dir", str(tmp_path / "run"), *words])
    with pytest.raises(SystemExit) as stop:
        ablation.main()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and line.startswith("Error: ") and sentence in line
    assert not (tmp_path / "run").exists()


def test_the_whole_experiment_has_every_variant():
    for name in ("ablation_tiny", "ablation_published"):
        recipe = REPOSITORY / "train" / "recipes" / f"{name}.yaml"
        found, table_only = parse_config(AblationConfig, "table_only", words=["--config", str(recipe), "--table_only"])
        assert len(found.seeds) > 1 and found.variants == list(VARIANTS) and table_only


class TestRunsSideBySide:
    def command(self, *words):
        app = typer.Typer()
        app.command()(curves.main)
        return CliRunner().invoke(app, [str(word) for word in words])

    def test_every_validation_is_a_row_and_the_plot_is_drawn(self, tmp_path):
        for number, name in enumerate(("direct", "taught")):
            (tmp_path / name).mkdir()
            lines = [{"step": 10, "total": 5.0, "seconds": 1.0}]
            lines += [
                {"step": k, "auc": 0.1 * k, "train_own": 3.0 - number, "held_out_own": 4.0, "validation_seconds": 1.0}
                for k in (5, 10)
            ]
            (tmp_path / name / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = self.command(tmp_path / "direct", tmp_path / "taught", "--plot", tmp_path / "losses.png")
        assert done.exit_code == 0, done.output
        rows = [row.split(" | ") for row in done.stdout.splitlines() if row.startswith(("| direct", "| taught"))]
        assert [row[:3] for row in rows] == [
            [f"| {name}", step, auc] for name in ("direct", "taught") for step, auc in (("5", "0.500"), ("10", "1.000"))
        ]
        assert rows[0][6:8] == ["3.000", "4.000"] and rows[2][6:8] == ["2.000", "4.000"]
        assert cv2.imread(str(tmp_path / "losses.png")) is not None

    def test_a_folder_without_a_run_is_said(self, tmp_path):
        done = self.command(tmp_path)
        assert done.exit_code == 2 and "is no run of the trainer" in done.stderr
