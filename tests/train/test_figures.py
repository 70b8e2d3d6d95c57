import json
import re

import pytest
import typer
from typer.testing import CliRunner

from train import figures


PROSE_FIGURE = re.compile(r"(?<![\d.\w-])0?\.\d{3}\b")
ROW = {"transform": "auto", "failed": 0}
FIRE = [
    {**ROW, "model": name, "degrade": level, "auc": {"P": auc, "mean": auc}}
    for name, areas in {"a": (0.9, 0.8), "b": (0.7, 0.6)}.items()
    for level, auc in enumerate(areas)
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "fire.json").write_text(json.dumps({"rows": FIRE}))
    (tmp_path / "heldout").mkdir()
    values = {"pairs": 24, "registered": 23 / 24, "auc": 0.8, "error": 0.3, "repeatability": 0.2, "matching_score": 0.1}
    for name in ("one", "two"):
        (tmp_path / "heldout" / f"{name}.json").write_text(json.dumps(values))
    return tmp_path


@pytest.mark.parametrize("path", figures.texts(), ids=lambda path: str(path.relative_to(figures.REPOSITORY)))
class TestTexts:
    def test_blocks_are_what_the_commands_wrote(self, path):
        text = path.read_text(encoding="utf-8")
        assert figures.rewrite(text) == text, "a figure has changed: `make figures` renders the texts anew"
        assert text.count("<!-- figures:") == text.count("<!-- /figures -->") == len(figures.BLOCK.findall(text)) > 0

    def test_no_figure_stands_outside_of_a_block(self, path):
        """No AUC or score: a number of three places below one. Options in code do not count."""
        prose = re.sub(
            r"```.*?```|`[^`]*`", "", figures.BLOCK.sub("", path.read_text(encoding="utf-8")), flags=re.DOTALL
        )
        assert not PROSE_FIGURE.findall(prose)


def test_every_file_is_shown_somewhere():
    shown = set()
    for path in figures.texts():
        for _, words, _ in figures.BLOCK.findall(path.read_text(encoding="utf-8")):
            shown |= {found for word in words.split() for found in figures.FIGURES.glob(word) if word.endswith(".json")}
    assert shown == set(figures.FIGURES.rglob("*.json"))


def test_rows_of_the_models_named_in_their_order(folder):
    everything = "| a | auto | 0.900 | 0.800 |\n| b | auto | 0.700 | 0.600 |"
    assert figures.render("fire fire.json", folder).endswith(everything)
    turned = "| b | auto | 0.700 | 0.600 |\n| a | auto | 0.900 | 0.800 |"
    assert figures.render("fire fire.json b a", folder).endswith(turned)
    assert "| a |" not in figures.render("fire fire.json b", folder)


def test_a_pattern_names_files(folder):
    lines = figures.render("heldout heldout/*.json", folder).splitlines()
    assert lines[2:] == [f"| {name} | 23 of 24 | 0.800 | 0.30 | 0.200 | 0.100 |" for name in ("one", "two")]


def test_a_text_is_rendered_anew_and_the_rest_stays(folder):
    text = "before\n\n<!-- figures: fire fire.json b -->\nold\n<!-- /figures -->\nafter\n"
    new = figures.rewrite(text, folder)
    assert new.startswith("before\n\n<!-- figures: fire fire.json b -->\n| model |")
    assert new.endswith("| b | auto | 0.700 | 0.600 |\n<!-- /figures -->\nafter\n") and "old" not in new
    assert figures.rewrite(new, folder) == new


@pytest.mark.parametrize(
    "words, message",
    [
        ("fire missing.json", "there is no missing.json"),
        ("pie fire.json", "there is no view pie"),
        ("fire fire.json c", "no figures of c"),
        ("time fire.json", "cannot be rendered"),
        ("stress heldout/*.json", "cannot be rendered"),
    ],
)
def test_what_cannot_be_rendered_is_said(folder, words, message):
    with pytest.raises(ValueError, match=message):
        figures.render(words, folder)


def test_the_command_rewrites_what_is_behind_and_checks(folder, monkeypatch):
    (folder / "README.md").write_text("<!-- figures: fire fire.json -->\n<!-- /figures -->\n")
    monkeypatch.setattr(figures, "REPOSITORY", folder)
    monkeypatch.setattr(figures.rewrite, "__defaults__", (folder,))
    app = typer.Typer()
    app.command()(figures.main)
    behind = CliRunner().invoke(app, ["--check"])
    assert behind.exit_code == 1 and behind.stdout == "README.md\n"
    assert "0.900" not in (folder / "README.md").read_text()
    assert CliRunner().invoke(app, []).exit_code == 0 and "0.900" in (folder / "README.md").read_text()
    assert CliRunner().invoke(app, ["--check"]).exit_code == 0
