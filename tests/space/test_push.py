import os
import re
import subprocess
import sys
import tomllib

import pytest
from huggingface_hub import metadata_load

from tests.helpers.hub_stand_in import StandInHub
from tests.helpers.paths import REPOSITORY


SPACE = REPOSITORY / "space"
NAME = ("spaces", "me/retinamatch")


def push(environment, *arguments):
    """Run `python -m space.push` in a process of its own, as the Hub's address is read at import."""
    return subprocess.run(
        [sys.executable, "-m", "space.push", *arguments],
        cwd=REPOSITORY,
        env={**environment, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "modeling"), str(REPOSITORY)])},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_dry_run_asks_nobody_and_lists_what_would_be_sent(tmp_path):
    with StandInHub() as hub:
        result = push(hub.environment(tmp_path), "me/retinamatch", "--dry-run")
        assert result.returncode == 0, result.stderr
        assert hub.repositories == {} and hub.commits == []
    lines = result.stdout.splitlines()
    assert {"app.py", "README.md", "requirements.txt", "space/page.py", "retinamatch/__init__.py"} <= set(lines)
    assert re.search(r"Would push \d+ files, \d+\.\d MiB, to me/retinamatch; nothing was changed\.", lines[-1])


@pytest.mark.slow
def test_push_sends_everything_once_and_what_is_gone_is_deleted(tmp_path):
    with StandInHub() as hub:
        environment = hub.environment(tmp_path)
        first = push(environment, "me/retinamatch")
        assert first.returncode == 0, first.stderr
        files = hub.repositories[NAME]
        assert files["app.py"] == (SPACE / "app.py").read_bytes()
        assert files["README.md"].startswith(b"---\n") and "space/push.py" not in files
        weights = "retinamatch/weights/lk-superretina-small/model.safetensors"
        assert files[weights] == (REPOSITORY / "modeling" / weights).read_bytes()
        assert not any("__pycache__" in name or name.endswith((".pyc", ".pyi")) for name in files)

        again = push(environment, "me/retinamatch")
        assert "has everything already" in again.stdout and len(hub.commits) == 1

        files["space/of_a_former_version.py"] = b"pass"
        files["mine.txt"] = b"put there by hand"
        third = push(environment, "me/retinamatch")
        assert "1 old ones deleted" in third.stdout and hub.sent[1] == []
        assert "space/of_a_former_version.py" not in files and "mine.txt" in files


@pytest.mark.slow
def test_what_was_pushed_starts_by_itself(tmp_path):
    """The files of the Space, laid out as on the Hub, without this checkout on the path."""
    pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")
    with StandInHub() as hub:
        result = push(hub.environment(tmp_path / "cache"), "me/retinamatch")
        assert result.returncode == 0, result.stderr
        for name, content in hub.repositories[NAME].items():
            path = tmp_path / "space" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    code = (
        "import app, retinamatch, space.page; page = space.page.build(); app.load_all();"
        "print(len(page.fns), retinamatch.__file__, app.STYLE.is_file())"
    )
    environment = {**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "space", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    count, library, style = done.stdout.split()[-3:]
    assert int(count) > 5 and library.startswith(str(tmp_path)) and style == "True"


@pytest.mark.parametrize(
    "name", ["no owner", *(pytest.param(name, marks=pytest.mark.slow) for name in ("retinamatch", "a/b/c"))]
)
def test_bad_name_is_one_sentence(tmp_path, name):
    result = push({**os.environ, "HF_HUB_OFFLINE": "1"}, name, "--dry-run")
    assert result.returncode == 2
    assert result.stderr == f"Error: {name!r} is not the name of a repository; owner/name is wanted.\n"


@pytest.mark.slow
def test_hub_that_refuses_or_is_not_there_is_one_sentence(tmp_path):
    with StandInHub() as hub:
        hub.fail_commits = 10
        environment = hub.environment(tmp_path)
        result = push(environment, "me/retinamatch")
        assert result.returncode == 2 and "rejected the push of me/retinamatch (500)" in result.stderr
    result = push(environment, "me/retinamatch")
    assert result.returncode == 2 and "could not be reached" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_front_matter_is_valid_and_agrees_with_the_project():
    data = metadata_load(SPACE / "README.md")
    assert data["sdk"] == "gradio" and data["app_file"] == "app.py" and data["license"] == "apache-2.0"
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk_version", "python_version"} <= data.keys()
    assert len(data["short_description"]) <= 60
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))
    assert pins["gradio"] == data["sdk_version"]


def test_requirements_are_those_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (SPACE / "requirements.txt").read_text().splitlines()
    wanted = {line for line in lines if line and not line.startswith("-")}
    # The Hub installs gradio itself, in the version that the front matter names.
    extras = project["optional-dependencies"]
    extra = {one for one in extras["space"] if not one.startswith(("gradio", "retinamatch[torch]"))}
    assert "retinamatch[torch]" in extras["space"]
    assert wanted == set(project["dependencies"]) | set(extras["torch"]) | extra


def test_container_runs_as_an_ordinary_user_and_copies_what_exists():
    lines = (SPACE / "Dockerfile").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    users = [line[1] for line in words if line[0] == "USER"]
    assert users and users[-1] not in ("root", "0")
    last_user = max(index for index, line in enumerate(words) if line[0] == "USER")
    assert all(line[0] not in ("RUN", "COPY") for line in words[last_user:])
    for line in words:
        if line[0] == "COPY":
            assert all((REPOSITORY / source).exists() for source in line[1:-1]), line


def test_examples_are_small_and_readable():
    pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")
    from space.files.uploads import take

    examples = sorted((SPACE / "examples").glob("*"))
    assert {path.name for path in examples} == {"visit_1.jpg", "visit_2.jpg", "visit_3.jpg", "other_eye.jpg"}
    assert sum(path.stat().st_size for path in examples) < 1_500_000
    assert all(take(str(path)).read().shape == (1000, 1000, 3) for path in examples)
