import pytest
from PIL import Image
from typer.testing import CliRunner

from retinamatch.cli import app
from retinamatch.evaluation.agreement import Judged, agreement_table, judge_right_pairs, judge_wrong_pairs
from retinamatch.registrar import Registrar


@pytest.fixture(scope="module")
def registrar():
    return Registrar("rootsift")


def test_right_pairs(fire, registrar):
    (clean, half) = judge_right_pairs(fire, registrar, ["clean", "half size"])
    assert (clean.condition, half.condition, clean.pair) == ("clean", "half size", "P01")
    for one in (clean, half):
        assert one.accepted and one.by_keypoints and one.alike > 0.6 and one.error < 3 and one.precision < 5


@pytest.mark.slow
def test_wrong_pairs(visits, other_eye, registrar):
    judged = judge_wrong_pairs(
        [visits.fixed.image, other_eye], registrar, 2, conditions=["different eyes", "different eyes, white surround"]
    )
    assert len(judged) == 4
    assert not any(one.accepted for one in judged) and all(one.error is None for one in judged)


def test_table():
    rows = [Judged("a", "x", 0.9, 0.5, True, False, 2.0, 1.0), Judged("a", "y", 0.7, 0.1, True, True, 30.0, 1.0)]
    rows.append(Judged("b", "z", None, None, False, False, None, None))
    lines = agreement_table(rows).splitlines()
    assert lines[2] == "| a | 2 | 0.70 / 0.80 / 0.90 | 0.10 / 0.30 / 0.50 | 2 | 1 | 0.460 | 0.000 |"
    assert lines[3] == "| b | 1 | - | - | 0 | 0 | - | - |"


def test_bad_input(fire, registrar, other_eye):
    with pytest.raises(ValueError, match="Unknown conditions \\['night'\\]"):
        judge_right_pairs(fire, registrar, ["night"])
    with pytest.raises(ValueError, match="two eyes at least, got 1"):
        judge_wrong_pairs([other_eye], registrar)


def test_command(fire, visits, other_eye, tmp_path):
    for name, photo in (("a", visits.fixed.image), ("b", other_eye)):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    words = ["evaluate", "agreement", str(fire), str(tmp_path), "--pairs", "1", "--model", "rootsift"]
    done = CliRunner().invoke(app, [*words, "--condition", "clean", "--condition", "different eyes"])
    assert done.exit_code == 0 and "| clean | 1 |" in done.stdout and "| different eyes | 1 |" in done.stdout
    wrong = CliRunner().invoke(app, [*words, "--condition", "night"])
    assert wrong.exit_code == 2 and "night" in wrong.output
