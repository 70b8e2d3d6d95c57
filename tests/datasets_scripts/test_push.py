"""Publishing on a stand-in of the Hub: push, load back, push again; and what must not happen."""

import json
import shutil
import subprocess
import sys

import pytest

from datasets_scripts.assembly.options import BuildOptions
from datasets_scripts.build import build
from datasets_scripts.format.parquet import read_rows, write_table
from datasets_scripts.push import list_files, push
from retinamatch.publishing import PublishError
from tests.helpers.hub_stand_in import StandInHub
from tests.helpers.paths import REPOSITORY


NAME = "me/retinal-keypoints"
LOAD = """
import json, sys
import numpy as np
from datasets import get_dataset_config_names, load_dataset
name, found = sys.argv[1], {}
def equal(one, other):
    return np.array_equal(one, other) if hasattr(one, "size") else repr(one) == repr(other)
for config in get_dataset_config_names(name):
    for split, rows in load_dataset(name, config).items():
        first = next(iter(load_dataset(name, config, split=split, streaming=True)))
        found[f"{config}/{split}"] = [len(rows), all(equal(first[key], rows[0][key]) for key in first)]
from train.data.store import PhotographStore
stores = [PhotographStore.read([name], "train", reader=reader) for reader in ("pyarrow", "datasets")]
found["store"] = [len(store) for store in stores]
found["same"] = all(bool((a.image == b.image).all()) for a, b in zip(*(store.photographs for store in stores)))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("push") / "set"
    build(None, folder, BuildOptions(rendered=3, unlabeled=1, visits=1, people=2, shots=2, size=96, measured=0))
    return folder


@pytest.fixture
def hub():
    with StandInHub() as hub:
        yield hub


def run(hub, cache, *words):
    env = {**hub.environment(cache), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'modeling'}"}
    return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, timeout=300, cwd=cache)


def push_there(hub, cache, folder, *options):
    return run(hub, cache, "-m", "datasets_scripts.push", NAME, "--folder", str(folder), *options)


@pytest.mark.slow
def test_push_load_and_push_again(hub, built, tmp_path):
    done = push_there(hub, tmp_path, built)
    assert done.returncode == 0, done.stderr
    stored = hub.repositories["datasets", NAME]
    assert stored == {name: (built / name).read_bytes() for name in list_files(built)}
    assert len(hub.commits) == 1, "one commit for everything"

    loaded = run(hub, tmp_path, "-c", LOAD, NAME)
    assert loaded.returncode == 0, loaded.stderr
    found = json.loads(loaded.stdout.splitlines()[-1])
    rows = json.loads((built / "build.json").read_text())["rows"]
    for config, splits in rows.items():
        for split, sources in splits.items():
            assert found.pop(f"{config}/{split}") == [sum(sources.values()), True], (config, split)
    assert found == {"store": [2, 2], "same": True}

    again = push_there(hub, tmp_path, built)
    assert again.returncode == 0 and "has everything already" in again.stdout, again.stderr
    assert len(hub.commits) == 1

    # Another build: what is new is sent, what is gone is deleted, what others have put there stays.
    stored["notes.txt"] = stored["LICENSE"] = b"mine"
    stored["unlabeled/train-00000-of-00007.parquet"] = b"of a former build"
    (changed := tmp_path / "changed").symlink_to(built)
    del stored["README.md"]
    third = push_there(hub, tmp_path, changed)
    assert "1 old ones deleted" in third.stdout and hub.sent[1] == ["README.md"], third.stdout + third.stderr
    assert set(stored) == {*list_files(built), "notes.txt", "LICENSE"} and len(hub.commits) == 2


@pytest.mark.slow
def test_a_push_that_broke_off_goes_on(hub, built, tmp_path):
    hub.fail_commits = 10**6
    done = push_there(hub, tmp_path, built)
    assert done.returncode == 2 and "push again to go on" in done.stderr and "Traceback" not in done.stderr
    assert hub.repositories["datasets", NAME] == {} and hub.commits == []
    sent = len(hub.uploads)
    assert sent == len(list(built.rglob("*.parquet")))
    hub.fail_commits = 0
    assert push_there(hub, tmp_path, built).returncode == 0
    assert len(hub.uploads) == sent, "large files that have arrived are not sent again"
    assert set(hub.repositories["datasets", NAME]) == set(list_files(built))


def test_nothing_is_pushed_that_validation_rejects(hub, built, tmp_path):
    folder = tmp_path / "spoilt"
    shutil.copytree(built, folder)
    rows = list(read_rows(folder, "keypoints", "train"))
    rows[0]["redistributable"] = False
    write_table(folder, "keypoints", "train", rows)
    done = push_there(hub, tmp_path, folder)
    assert done.returncode == 2 and "Nothing was pushed" in done.stderr and "may not be passed on" in done.stderr
    assert hub.repositories == {}


@pytest.mark.slow
def test_a_dry_run_asks_nobody(built, tmp_path):
    with StandInHub() as hub:
        pass  # a Hub that does not answer
    done = push_there(hub, tmp_path, built, "--dry-run")
    assert done.returncode == 0 and "Would push" in done.stdout and "keypoints/train-00000" in done.stdout
    done = push_there(hub, tmp_path, built)
    assert done.returncode == 2 and "could not be reached" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["name-alone", "a/b/c", "me/with space"])
def test_a_wrong_name_is_rejected(built, name):
    with pytest.raises(PublishError, match="owner/name is wanted"):
        push(name, built)


def test_a_folder_that_is_no_build_is_rejected(tmp_path):
    with pytest.raises(PublishError, match="it has no build.json"):
        push(NAME, tmp_path)
