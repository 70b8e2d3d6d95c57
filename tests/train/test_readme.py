"""The commands of train/README.md and of the cards: every name that they give exists."""

import importlib
import re
import shlex

import pytest
import typer
from typer.main import get_command

from tests.helpers.paths import REPOSITORY
from train.ablation import AblationConfig
from train.distill import DistillConfig
from train.methods.supervision import SupervisionConfig
from train.pretrain import PretrainConfig
from train.run.configuration import parse_config


CONFIGS = {
    "teacher": SupervisionConfig,
    "distill": DistillConfig,
    "pretrain": PretrainConfig,
    "ablation": AblationConfig,
}


def commands():
    for path in (
        REPOSITORY / "train" / "README.md",
        *(REPOSITORY / "modeling" / "retinamatch" / "weights").glob("*/README.md"),
    ):
        text = path.read_text()
        lines = re.findall(r"^    (.*-m train\..*)$", text, re.M) + re.findall(
            r"`([^`\n]*-m train\.[^`.]* [^`]*)`", text.replace("\n", " ")
        )
        for line in lines:
            if "..." not in line:
                yield line.split("  ")[0].strip()


@pytest.mark.parametrize("command", sorted({*commands()}))
def test_commands_are_understood(monkeypatch, command):
    monkeypatch.chdir(REPOSITORY)
    module, *words = shlex.split(command.split("-m train.")[1])
    if module in CONFIGS:
        parse_config(CONFIGS[module], words=words)
        return
    app = typer.Typer()
    app.command()(importlib.import_module(f"train.{module}").main)
    get_command(app).make_context(module, words)
