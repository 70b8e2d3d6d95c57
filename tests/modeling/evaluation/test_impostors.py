import json
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from datasets_scripts.rendering.eye import draw_eye
from datasets_scripts.rendering.fundus import render
from retinamatch import registrar as registrar_module
from retinamatch.cli import app
from retinamatch.evaluation import impostors
from retinamatch.evaluation.impostors import Eye, impostors_table, judge_impostors, list_eyes, summarize_impostors
from retinamatch.photograph_views import PhotographViews
from retinamatch.photographs import read_photograph
from retinamatch.registrar import Registrar


@pytest.fixture(scope="module")
def folders(tmp_path_factory, visits):
    """Three photographs of different eyes, and a person with two photographs of one eye."""
    root = tmp_path_factory.mktemp("photographs")
    for folder in ("single", "people/p1", "people/p2"):
        (root / folder).mkdir(parents=True)
    for seed in (5, 6, 7):
        Image.fromarray(render(draw_eye(seed), 384).image).save(root / "single" / f"{seed}.png")
    for name, view in (("a", visits.moving), ("b", visits.fixed)):
        Image.fromarray(view.image).save(root / "people" / "p1" / f"{name}.png")
    return root


def test_a_photograph_an_eye_and_a_folder_an_eye(folders):
    eyes = list_eyes([folders / "single", folders / "people"])
    assert [one.name for one in eyes] == ["single/5.png", "single/6.png", "single/7.png", "p1/a.png", "p1/b.png"]
    assert len({one.eye for one in eyes}) == 4
    assert [one.name for one in list_eyes([folders / "single"], every=2)] == ["single/5.png", "single/7.png"]
    assert len(list_eyes([folders / "single" / "5.png"])) == 1
    for wrong in ("missing", "people/p2"):
        with pytest.raises(ValueError, match=wrong):
            list_eyes([folders / wrong])


@pytest.mark.parametrize("number, persons, wanted", [(30, 30, 100), (60, 60, 1000), (50, 10, 200), (26, 13, 10**6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_draw(number, persons, wanted, seed):
    eyes = [Eye(Path(f"{k}.png"), str(k % persons)) for k in range(number)]
    drawn = list(impostors._draw(eyes, wanted, seed))
    pairs = [frozenset((members[i], members[j])) for members, new, _ in drawn for i, j in new]
    assert len(set(pairs)) == len(pairs) and all(len({one.eye for one in pair}) == 2 for pair in pairs)
    each = number // persons
    assert len(pairs) == number * (number - each) // 2 if wanted == 10**6 else len(pairs) >= wanted
    assert len(pairs) < wanted + impostors.TOGETHER**2 / 2
    first = [one for members, _, first in drawn if first for one in members]
    assert sorted(first, key=str) == sorted(eyes, key=str)


@pytest.mark.slow
def test_impostors_and_genuine_pairs(folders, fire, tmp_path):
    eyes = list_eyes([folders / "single", folders / "people"])
    rows = judge_impostors(eyes, "rootsift", genuine=[fire, folders / "people"], conditions=["plain", "white surround"])
    kinds = [(row["kind"], row["condition"]) for row in rows]
    for condition in ("plain", "white surround"):
        # Ten pairs of five photographs, one of them of one eye.
        assert kinds.count(("different", condition)) == 9 and kinds.count(("mirrored", condition)) == 5
    assert not any(row["accepted"] for row in rows if row["kind"] != "genuine")
    clean = next(row for row in rows if row["condition"].endswith(", clean"))
    assert clean["accepted"] and clean["alike"] > 0.6
    assert [row["accepted"] for row in rows if row["condition"] == "people"] == [True]


@pytest.mark.slow
def test_the_same_command_goes_on(folders, tmp_path, monkeypatch):
    """Stopped after a unit, it does the rest; the outcome is that of a run in one go."""
    monkeypatch.setattr(impostors, "TOGETHER", 2)
    eyes, record = list_eyes([folders / "single"]), tmp_path / "record.json"
    options = {"model": "rootsift", "pairs": 3, "conditions": ["plain"]}
    whole = judge_impostors(eyes, **options)
    judged = []

    def stop_later(path, text):
        path.write_text(text)
        judged.append(path)
        if len(judged) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(impostors, "write_text", stop_later)
        with pytest.raises(KeyboardInterrupt):
            judge_impostors(eyes, **options, record=record)
    done = json.loads(record.read_text())["units"]
    assert len(done) == 2
    work = {}
    with monkeypatch.context() as patch:
        real = impostors.results_of
        patch.setattr(impostors, "results_of", lambda left, count: work.update(left) or real(left, count))
        assert judge_impostors(eyes, **options, record=record) == whole
    assert work and not set(work) & set(done)


@pytest.fixture(scope="module")
def whole_record(folders, tmp_path_factory):
    """What a command that has ended leaves, and how to run it again."""
    eyes, record = list_eyes([folders / "single"]), tmp_path_factory.mktemp("record") / "record.json"
    judge_impostors(eyes, model="rootsift", conditions=["plain"], record=record)
    return record.read_text(), partial(judge_impostors, eyes, model="rootsift", conditions=["plain"])


@pytest.mark.parametrize("units", [[], {"plain, 0": 5}, {"plain, 0": [{}]}, {"plain, 0": [[]]}, None])
def test_a_damaged_record_is_refused(whole_record, tmp_path, units):
    text, again = whole_record
    damaged = json.dumps({**json.loads(text), "units": units})
    (tmp_path / "record.json").write_text(damaged)
    with pytest.raises(ValueError, match="not written by this command"):
        again(record=tmp_path / "record.json")
    assert (tmp_path / "record.json").read_text() == damaged


def test_record_and_summary_are_two_files(folders, tmp_path):
    words = ["evaluate", "impostors", str(folders / "single"), "--condition", "plain", "--model", "rootsift"]
    record = tmp_path / "both.json"
    result = CliRunner().invoke(app, [*words, "--json", str(record), "--summary", str(tmp_path / "." / "both.json")])
    assert result.exit_code == 2 and not record.exists()


@pytest.mark.parametrize("other", [{"seed": 1}, {"model": "lk-superretina-small"}])
def test_a_record_of_another_command_is_refused(folders, tmp_path, other):
    eyes, record = list_eyes([folders / "single"]), tmp_path / "record.json"
    options = {"model": "rootsift", "conditions": ["plain"], "record": record}
    judge_impostors(eyes, **options)
    text = record.read_text()
    with pytest.raises(ValueError, match="not written by this command"):
        judge_impostors(eyes, **options | other)
    with pytest.raises(ValueError, match="not written by this command"):
        judge_impostors(eyes[:2], **options)
    assert record.read_text() == text
    record.write_text("something else")
    with pytest.raises(ValueError, match="not written by this command"):
        judge_impostors(eyes, **options)
    assert record.read_text() == "something else"


def test_table():
    figures = {"agreeing": 5, "share": 0.1, "excess": 2.0, "alike": 0.2, "correlation": 0.05}
    row = {"kind": "different", "condition": "plain", "moving": "a", "fixed": "b", "accepted": False, **figures}
    nothing = row | dict.fromkeys(figures)
    genuine = row | {"kind": "genuine", "accepted": True, "agreeing": 40}
    rows = [genuine, genuine | {"agreeing": 30}, row, row | {"agreeing": 7}, nothing, row | {"condition": "stamp"}]
    lines = impostors_table(summarize_impostors(rows)).splitlines()[2:]
    assert lines[0] == "| different | plain | 3 | 0 | 1 | 7 | 0.1 | 2 | 0.2 | 0.05 |"
    assert lines[2] == "| genuine | plain | 2 | 2 | - | 30 | 0.1 | 2 | 0.2 | 0.05 |"
    assert lines[3].startswith("| impostors | all | 4 | 0 | 0.75 |")


def test_command(folders, fire, tmp_path):
    words = ["evaluate", "impostors", str(folders / "single"), "--model", "rootsift", "--condition", "plain"]
    words += [
        "--genuine",
        str(fire),
        "--json",
        str(tmp_path / "record.json"),
        "--summary",
        str(tmp_path / "summary.json"),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "| different | plain | 3 | 0 |" in done.stdout
    assert f"| genuine | {fire.name}, degraded 4 | 1 |" in done.stdout
    (first, *_) = json.loads((tmp_path / "summary.json").read_text())["groups"]
    assert first["kind"] == "different" and first["pairs"] == 3 and first["rate_below"] == 1.0
    again = CliRunner().invoke(app, words)
    assert again.stdout == done.stdout
    for wrong in (["--condition", "night"], ["--genuine", str(tmp_path)], ["--seed", "3"]):
        refused = CliRunner().invoke(app, [*words, *wrong])
        assert refused.exit_code == 2 and refused.stderr.strip().splitlines()[-1].startswith("retinamatch: ")


@pytest.mark.slow
def test_views_kept_for_many_pairs_change_no_answer(folders, monkeypatch):
    """With all views, each view of a photograph is looked at once, and every pair is judged as it is by itself."""
    monkeypatch.setattr(registrar_module, "_MOST_VIEWS", 3.2)  # two or three tries are enough here
    find, looked = PhotographViews._find, []
    monkeypatch.setattr(PhotographViews, "_find", lambda self, view: looked.append((self, view)) or find(self, view))
    registrar = Registrar(transform="quadratic")
    photographs = [read_photograph(one.photograph) for one in list_eyes([folders / "single"])]
    keypoints = registrar.keypoints(photographs)
    views = [registrar.views(*each) for each in zip(photographs, keypoints)]

    def judge(sides):
        found = [
            registrar.register_keypoints(keypoints[i], keypoints[j], photographs=(sides[i], sides[j]))
            for i, j in ((0, 1), (0, 2), (1, 2), (0, 1))
        ]
        return [(one.registered, one.evidence.get("agreeing"), one.views) for one in found]

    together, kept = judge(views), len(looked)
    assert kept == len(set(looked))
    assert together == judge(photographs) and kept < len(looked) - kept
