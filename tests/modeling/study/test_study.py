"""A study from the names of files to its table: planned, run, stopped anywhere and gone on with."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from retinamatch import cli
from retinamatch.files import OutputError
from retinamatch.processes import ProcessDiedError
from retinamatch.study import StudyError, plan_from_names, read_table, run_study, write_table
from retinamatch.study.journal import Journal
from retinamatch.study.table import Pair, Photograph, visit_order
from retinamatch.study.units import BEST, FIRST, PREVIOUS, Unit, plan_units
from retinamatch.study.work import register_pair, work_on
from retinamatch.transforms import Transform
from tests.helpers.paths import REPOSITORY
from tests.modeling.study.conftest import in_this_process


pandas = pytest.importorskip("pandas")
PATTERN = "{patient}/{eye}_{visit}.png"


@pytest.fixture(scope="module")
def table(study_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "study.csv"
    photographs, others = plan_from_names(
        study_folder, PATTERN, "{patient}/{eye}_{visit}_mask.tif", "{patient}/{eye}_{visit}.csv"
    )
    assert {path.name for path in others} == {"note.txt.png"}
    write_table(photographs, path)
    return path


def rows(folder):
    return pandas.read_parquet(folder / "registrations.parquet")


def without_times(frame):
    return frame.drop(columns="seconds").sort_values(["moving", "fixed"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def done(table, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    return run_study(table, folder, settings, engine=in_this_process, images=True), folder


class TestPlan:
    def test_fields_and_order(self, study_folder, table):
        photographs, pairs = read_table(table)
        assert not pairs and [(one.eye, one.visit) for one in photographs] == [
            *(("right", visit) for visit in ("1", "2", "10", "11")),
            *(("left", visit) for visit in ("2020-01-31", "2020-03-01")),
        ]
        assert photographs[1].mask == study_folder / "a" / "right_2_mask.tif" and photographs[0].mask is None
        assert photographs[1].points == study_folder / "a" / "right_2.csv"

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_a_table_survives_writing(self, tmp_path, suffix):
        folder = tmp_path / "deep"
        photograph = Photograph(folder / "x.png", "x y", "p,1", "left", "3", folder / "m.png", None, (0.25, 0.5))
        folder.mkdir()
        write_table([photograph], tmp_path / f"t.{suffix}")
        assert read_table(tmp_path / f"t.{suffix}")[0] == [photograph]

    @pytest.mark.parametrize(
        "pattern, words",
        [
            ("{patient}.png", "visit"),
            ("{patient}/{visit}/{who}.png", "who"),
            ("{patient}/{visit}.dcm", "fits the pattern"),
        ],
    )
    def test_bad_patterns(self, study_folder, pattern, words):
        with pytest.raises(StudyError, match=words):
            plan_from_names(study_folder, pattern)

    @pytest.mark.parametrize(
        "text, words",
        [
            ("", "no rows"),
            ("path,patient,eye\na.png,1,OD\n", "no column visit"),
            ("path,patient,eye,visit\na.png,,OD,1\n", "row 1: patient is empty"),
            ("path,patient,eye,visit,spacing_mm\na.png,1,OD,1,0.1;x\n", "row 1: spacing_mm"),
            ("path,patient,eye,visit\na.png,1,OD,1\na.png,1,OD,2\n", "rows 1 and 2"),
            ("moving,fixed\na.png,\n", "no fixed photograph"),
            (
                "moving,fixed\na.png,b.png\nb.png,a.png\na.png,b.png\n",
                "rows 1 and 3: both hold the pair a.png and b.png",
            ),
        ],
    )
    def test_bad_tables_are_named(self, tmp_path, text, words):
        (tmp_path / "t.csv").write_text(text)
        done = CliRunner().invoke(cli.app, ["study", "run", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")])
        assert done.exit_code == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("option", ["--to", "--model", "--transform", "--effort"])
    def test_a_choice_that_is_not_known_leaves_no_study(self, table, tmp_path, option):
        words = ["study", "run", str(table), "--out", str(tmp_path / "out"), option, "nonsense"]
        done = CliRunner().invoke(cli.app, words)
        assert done.exit_code == 2 and "nonsense" in done.stderr and len(done.stderr.splitlines()) == 1
        assert not list(tmp_path.glob("out/[!.]*"))

    @pytest.mark.parametrize("visits", [["1²", "1"], ["٣", "2"], ["5²3", "53"]])
    def test_visits_in_any_digits_are_sorted(self, visits):
        assert len(sorted(visits, key=visit_order)) == len(visits)

    @pytest.mark.parametrize("name", ["missing.csv", "missing.parquet", "."])
    def test_a_table_that_is_not_there_is_one_sentence(self, tmp_path, name):
        done = CliRunner().invoke(cli.app, ["study", "run", str(tmp_path / name), "--out", str(tmp_path / "out")])
        assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and "be read" in done.stderr
        assert "Errno" not in done.stderr.partition("(")[0] and not (tmp_path / "out").exists()

    def test_pairs_of_each_choice(self, table):
        photographs, _ = read_table(table)

        def visits(to, done=frozenset()):
            pairs = [pair for unit in plan_units(photographs, [], to, done) for pair in unit.pairs]
            return [(pair.moving.visit, pair.fixed.visit) for pair in pairs if pair.moving.eye == "right"]

        assert visits("first") == [("2", "1"), ("10", "1"), ("11", "1")]
        assert visits(PREVIOUS) == [("2", "1"), ("10", "2"), ("11", "10")]
        best = list(plan_units(photographs, [], BEST))
        assert [len(unit) for unit in best] == [3, 1] and not best[0].pairs


class TestRun:
    def test_rows(self, done, visits):
        study, folder = done
        frame = rows(folder).set_index("moving")
        assert not study.all_registered and study.done == 4 == len(frame)
        found = frame.loc["a/right_2.png"]
        assert found.status == "registered" and found.fixed == "a/right_1.png" and found.residual_px < 2
        transform = Transform.from_dict(json.loads(found["transform"]))
        points = np.random.default_rng(0).uniform(150, 350, (20, 2))
        assert np.nanmax(np.abs(transform.inverse(points) - visits.correspond(points))) < 5
        assert found.model == "rootsift" and len(found.moving_sha256) == 64 and found.fixed_width == 512
        assert frame.loc["a/right_10.png"].status == "no reliable match"
        broken = frame.loc["a/right_11.png"]
        assert broken.status == "not read" and "a/right_11.png is not an image" in broken.reason
        assert frame.loc["b/OS_2020-03-01.png"].days == 30

    def test_the_table_is_read_by_datasets(self, done):
        datasets = pytest.importorskip("datasets")
        assert datasets.Dataset.from_parquet(str(done[1] / "registrations.parquet")).num_rows == 4

    def test_images_masks_and_points(self, done):
        names = {re.sub(r"_[0-9a-f]{8}_", "_", path.name): path for path in (done[1] / "images").iterdir()}
        assert {"a_right_2.png_aligned.png", "a_right_2.png_mask.png", "a_right_2.png_points.csv"} <= names.keys()
        assert set(np.unique(Image.open(names["a_right_2.png_mask.png"]))) == {0, 9}
        assert names["a_right_2.png_points.csv"].read_text().endswith("disc\n")

    def test_the_report_asks_no_network_and_begins_with_what_failed(self, done):
        text = (done[1] / "report.html").read_text()
        assert not re.search(r'(src|href)="(?!data:)|url\(|@import|<script', text)
        assert text.index("Not registered: ") < text.index("Registered: ") and "a/right_11.png" in text
        assert text.count('loading="lazy"') == 3

    def test_nothing_is_done_twice(self, done, table, settings):
        study = run_study(table, done[1], settings, engine=lambda *_: pytest.fail("nothing is left to do"), images=True)
        assert study.done == 0 and len(rows(done[1])) == 4

    def test_other_settings_need_another_folder(self, done, table, settings):
        with pytest.raises(StudyError, match="other settings, to: first, now best"):
            run_study(table, done[1], settings, to=BEST, engine=in_this_process, images=True)

    @pytest.mark.parametrize("to", [PREVIOUS, BEST])
    def test_stopped_after_each_pair_it_goes_on(self, table, settings, tmp_path, to):
        class Stop(Exception):
            pass

        def one_pair(units, settings, work=None):
            yield next(in_this_process(units, settings))
            raise Stop

        whole = tmp_path / "whole"
        run_study(table, whole, settings, to, in_this_process, thumbnails=0)
        for _ in range(3):
            with pytest.raises(Stop):
                run_study(table, tmp_path / "parts", settings, to, one_pair, thumbnails=0)
            with open(tmp_path / "parts" / "rows.jsonl", "ab") as file:
                file.write(b'{"key": "cut of')
        run_study(table, tmp_path / "parts", settings, to, in_this_process, thumbnails=0)
        assert without_times(rows(whole)).equals(without_times(rows(tmp_path / "parts")))
        fixed = set(rows(whole).query("patient == 'a'").fixed)
        assert fixed == ({"a/right_2.png"} if to == BEST else {"a/right_1.png", "a/right_2.png", "a/right_10.png"})

    @pytest.mark.parametrize("to", [FIRST, BEST])
    def test_retry_does_again_what_was_not_answered(self, study_folder, settings, tmp_path, to):
        """The third visit cannot be read, the second fails; then both are mended, and the first run's choice stays."""
        for number in (1, 2, 10):
            (tmp_path / f"v_{number}.png").write_bytes((study_folder / "a" / f"right_{number}.png").read_bytes())
        (tmp_path / "v_11.png").write_bytes(b"no picture")
        write_table(plan_from_names(tmp_path, "{patient}_{visit}.png")[0], table := tmp_path / "t.csv")
        second = {FIRST: "v_2.png", BEST: "v_1.png"}[to]

        def failing(units, settings, work=None):
            for outcome in in_this_process(units, settings):
                if outcome.row["moving"] == second:
                    outcome.row |= {"status": "failed", "reason": "the process died"}
                yield outcome

        first = run_study(table, tmp_path / "out", settings, to, failing)
        assert first.summary.statuses == {"no reliable match": 1, "failed": 1, "not read": 1}
        (tmp_path / "v_11.png").write_bytes((study_folder / "a" / "right_2.png").read_bytes())
        for retry, done in ((False, 0), (True, 2), (True, 0)):
            study = run_study(table, tmp_path / "out", settings, to, in_this_process, retry=retry)
            assert study.done == done
        assert study.summary.statuses == {"registered": 2, "no reliable match": 1}
        assert sorted(rows(tmp_path / "out").moving) == sorted(["v_10.png", "v_11.png", second])

    def test_a_full_disk_is_one_sentence_and_keeps_the_rows(self, table, settings, tmp_path, monkeypatch):
        add = Journal.add

        def fill(journal, key, row):
            if journal.done:
                raw = journal._file
                journal._file = type("Full", (), {"write": lambda s, b: raw.write(b[:9]), "truncate": raw.truncate})()
            add(journal, key, row)

        monkeypatch.setattr(Journal, "add", fill)
        monkeypatch.setattr(Journal, "close", lambda journal: None)
        with pytest.raises(OutputError, match="No space left on device; the rows before are kept"):
            run_study(table, tmp_path, settings, engine=in_this_process, thumbnails=0)
        journal = Journal(tmp_path)
        assert len(list(journal.rows())) == 1
        journal.write_table()
        assert len(rows(tmp_path)) == 1

    def test_a_pair_that_kills_its_process_is_named(self, study_folder, settings):
        one, two = (Photograph(study_folder / "a" / f"right_{n}.png", f"v{n}") for n in (1, 2))

        def call(function, pair):
            if pair.moving is two:
                raise ProcessDiedError("the process died")
            return function(pair)

        in_this_process([], settings)
        list(in_this_process([], settings))
        outcomes = list(work_on(Unit((Pair(two, one), Pair(one, one))), call))
        assert [one.row["status"] for one in outcomes] == ["failed", "registered"]
        assert outcomes[0].row["reason"] == "the process died" and outcomes[0].row["moving"] == "v2"
        assert register_pair(Pair(two, one)).row["status"] == "registered"


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.slow
def test_killed_at_any_place_it_goes_on(study_folder, settings, tmp_path):
    """The command line in a process of its own, with a process that works for it; both are gone after the kill."""
    table, out = tmp_path / "pairs.csv", tmp_path / "out"
    names = [study_folder / "a" / f"right_{n}.png" for n in (1, 2)]
    copies = [tmp_path / f"{n}.png" for n in range(12)]
    for n, copy in enumerate(copies):
        copy.write_bytes(names[n % 2].read_bytes())
    table.write_text("moving,fixed\n" + "".join(f"{a.name},{b.name}\n" for a, b in zip(copies, copies[1:])))
    command = [
        "study",
        "run",
        table,
        "--out",
        out,
        "--model",
        "rootsift",
        "--transform",
        "quadratic",
        "--effort",
        "fast",
    ]
    code = "from retinamatch.cli import main\nif __name__ == '__main__':\n    main()"
    (tmp_path / "main.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "modeling")}
    words = [sys.executable, tmp_path / "main.py", *command, "--effort", "fast", "--processes", "1"]
    journal = out / "rows.jsonl"
    with subprocess.Popen(list(map(str, words)), env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (journal.is_file() and journal.read_bytes().count(b"\n") >= 2):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = journal.read_bytes().count(b"\n")
    assert process.returncode == -signal.SIGKILL and 2 <= before < 11
    study = run_study(table, out, settings, engine=in_this_process)
    assert study.done == 11 - before and study.all_registered
    assert sorted(rows(out).moving) == sorted(copy.name for copy in copies[:-1])
