"""The commands of the wing's README: each module is there and understands the options that are given."""

import importlib
import re
import shlex

import pytest
from typer.main import get_command

from tests.helpers.paths import REPOSITORY


def commands():
    text = (REPOSITORY / "datasets_scripts" / "README.md").read_text()
    blocks = re.findall(r"^python -m (datasets_scripts\.[^#\n]+)", text, re.M)
    return sorted({one.strip() for one in (*blocks, *re.findall(r"`python -m (datasets_scripts\.[^`]+)`", text))})


def test_the_commands_of_the_wing_are_named():
    files = (REPOSITORY / "datasets_scripts").glob("[a-z]*.py")
    named = {command.split()[0] for command in commands()}
    assert {f"datasets_scripts.{path.stem}" for path in files if path.stem != "keypoint_types"} <= named


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood(command):
    module, *words = shlex.split(command.replace("[", "").replace("]", ""))
    app = get_command(importlib.import_module(module).app)
    # A command that is named without its arguments is only looked up.
    assert app.make_context(module, words, resilient_parsing=not words).command is app
