"""README and cards: every command, link, snippet and number in them holds."""

import ast
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import typer
from typer.main import get_command

from retinamatch.cli import app
from retinamatch.extractor import DEFAULT_MODEL, find_model
from retinamatch.hub import export_repository
from retinamatch.modeling_lk_superretina import LKSuperRetinaForKeypointMatching
from retinamatch.modeling_swin_retina import SwinRetinaForKeypointMatching
from tests.helpers.paths import REPOSITORY
from train.ablation import AblationConfig
from train.distill import DistillConfig
from train.methods.supervision import SupervisionConfig
from train.pretrain import PretrainConfig
from train.run.configuration import parse_config


RECIPES = {
    "train.teacher": SupervisionConfig,
    "train.distill": DistillConfig,
    "train.pretrain": PretrainConfig,
    "train.ablation": AblationConfig,
}
WINGS = ("modeling", "datasets_scripts", "train", "space")
TEXTS = [
    REPOSITORY / "README.md",
    REPOSITORY / ".github" / "CONTRIBUTING.md",
    *(REPOSITORY / wing / "README.md" for wing in WINGS),
    *sorted((REPOSITORY / "modeling" / "retinamatch" / "weights").glob("*/README.md")),
]
NETWORKS = {"lk-superretina-small": LKSuperRetinaForKeypointMatching, "swin-retina": SwinRetinaForKeypointMatching}


def snippets(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands():
    """Every command in a block or in a line of the text; not those that leave something out."""
    found = set()
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        lines = [line for block in snippets(text, "sh") for line in block.splitlines()]
        lines += re.findall(r"^    (\S.*)$", text, re.MULTILINE)
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
        found |= {
            shlex.join(shlex.split(line.replace("[", "").replace("]", ""), comments=True)) if "'{" not in line else line
            for line in lines
            if re.match(r"(retinamatch|make|python -m|accelerate launch -m) ", line) and "..." not in line
        }
    return sorted(found)


def check_options(command, name, words):
    while hasattr(command, "commands") and words:
        command = command.commands[words.pop(0)]
    # A command that is named without its arguments is only looked up.
    assert command.make_context(name, words, resilient_parsing=not words).command is command


def test_every_command_of_the_wings_is_named():
    named = " ".join(commands())
    for wing in ("datasets_scripts", "train"):
        for path in (REPOSITORY / wing).glob("[a-z]*.py"):
            if '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
                assert f"-m {wing}.{path.stem}" in named, path


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood(command, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    words = shlex.split(command)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert all(word in targets for word in words[1:] if "=" not in word)
    elif words[0] == "retinamatch":
        check_options(get_command(app), "retinamatch", words[1:])
    else:
        place = words.index("-m") + 1
        name, rest = words[place], words[place + 1 :]
        if name in RECIPES:
            parse_config(RECIPES[name], *(["table_only", ""] if name == "train.ablation" else []), words=rest)
            return
        module = importlib.import_module(name)
        if not hasattr(module, "app"):
            module.app = typer.Typer()
            module.app.command()(module.main)
        check_options(get_command(module.app), name, rest)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
class TestText:
    def test_links_lead_somewhere(self, path):
        for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text(encoding="utf-8")):
            assert re.match(r"https?://", target) or (path.parent / target).exists(), target

    def test_snippets_of_python_parse(self, path):
        for snippet in snippets(path.read_text(encoding="utf-8"), "python"):
            ast.parse(snippet)

    def test_numbers_of_parameters_are_those_of_the_weights(self, path):
        """A number of a million or near it, in a line that names a network or in its card."""
        text = path.read_text(encoding="utf-8")
        for name, network in NETWORKS.items():
            lines = [text.split("## Architecture")[0]] if path.parent.name == name else text.splitlines()
            for line in lines:
                if name in line and (number := re.search(r"\b(?:\d,)?\d{3},\d{3}\b", line)):
                    assert number[0] == f"{network.from_pretrained(find_model(name)).num_parameters():,}"


def registering(path):
    """Give the snippets of a text that register or match photographs."""
    parts = snippets(path.read_text(encoding="utf-8"), "python")
    return [part for part in parts if "retinamatch.register" in part or "retina-keypoint-matching" in part]


RUN = """
import json, sys

for part in json.load(sys.stdin):
    names = {}
    exec(part, names)
    assert names.get("registration", True) and ("aligned" in names or "if registration" not in part)
"""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[] if path.parent == REPOSITORY else pytest.mark.slow)
        for path in filter(registering, TEXTS)
    ],
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_snippets_of_python_run(path, example_pair, tmp_path):
    """With the example pair and an exported repository, in a process of its own: remote code stays in its process."""
    for name, source in zip(("followup.jpg", "baseline.jpg"), example_pair):
        shutil.copy(source, tmp_path / name)
    export_repository(path.parent.name if path.parent.name in NETWORKS else DEFAULT_MODEL, tmp_path / "repository")
    parts = [part.replace("OWNER/NAME", "repository") for part in registering(path)]
    environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    command = [sys.executable, "-c", RUN]
    run = subprocess.run(
        command, input=json.dumps(parts), cwd=tmp_path, env=environment, text=True, capture_output=True
    )
    assert run.returncode == 0, run.stderr


def test_the_readme_is_short():
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150 and max(map(len, lines)) <= 120
