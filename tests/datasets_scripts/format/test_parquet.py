"""The folder of a data set: typed Parquet, and a build that fails leaves the former one whole."""

import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCardData

from datasets_scripts.format.card import list_configs
from datasets_scripts.format.parquet import (
    RECORD,
    ParquetError,
    check_target,
    read_photographs,
    read_rows,
    replacing,
    table_files,
    tables,
    write_table,
)
from datasets_scripts.format.rows import encode
from datasets_scripts.format.schema import CONFIGURATIONS
from tests.helpers.drawn_photograph import photograph
from tests.helpers.paths import REPOSITORY


def rows(count, labeled=True):
    return [encode(photograph(number, labeled)) for number in range(count)]


def test_files_of_a_split_read_back_in_order(tmp_path):
    assert write_table(tmp_path, "keypoints", "train", iter(rows(5)), rows_per_file=2) == 5
    assert write_table(tmp_path, "unlabeled", "train", iter(rows(2, False))) == 2
    assert write_table(tmp_path, "unlabeled", "test", iter([])) == 0
    names = [path.name for path in table_files(tmp_path, "keypoints", "train")]
    assert names == [f"train-{k:05d}-of-00003.parquet" for k in range(3)]
    assert tables(tmp_path) == [("keypoints", "train"), ("unlabeled", "train")]
    assert [row["name"] for row in read_rows(tmp_path, "keypoints", "train", ["name"])] == [
        f"photograph_{k}" for k in range(5)
    ]
    read = list(read_photographs(tmp_path, "train"))
    assert [one.keypoints is not None for one in read] == [True] * 5 + [False] * 2
    assert np.array_equal(read[3].keypoints, np.float32(photograph(3).keypoints))


def test_datasets_knows_the_types(tmp_path):
    write_table(tmp_path, "keypoints", "train", rows(4))
    (tmp_path / "README.md").write_text(f"---\n{DatasetCardData(configs=list_configs(tmp_path))}\n---\n")
    read = load_dataset(str(tmp_path), "keypoints", split="train", cache_dir=str(tmp_path / "cache"))
    assert read.features == CONFIGURATIONS["keypoints"]
    assert read[3]["image"].size == (48, 40) and read[3]["mask"].mode == "L"
    assert read.features["types"].feature.int2str(read[3]["types"]) == [
        ("bifurcation", "crossing")[kind] for kind in photograph(3).types
    ]
    first = next(iter(load_dataset(str(tmp_path), "keypoints", split="train", streaming=True)))
    assert first["name"] == "photograph_0" and first["keypoints"] == []


def test_a_folder_that_no_build_wrote_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ParquetError, match=r"holds files that no build has written \(notes.txt\)"):
        with replacing(tmp_path):
            pass
    with pytest.raises(ParquetError, match="is a file"):
        check_target(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "keypoints/mine.parquet", "keypoints/photo.png", "figures/more/a.png", ".git/config", "eyes/a.jpg"],
)
@pytest.mark.parametrize("linked", [False, True])
def test_a_former_build_that_holds_what_no_build_writes_is_left_alone(tmp_path, name, linked):
    folder = tmp_path / "set"
    ours = [RECORD, "README.md", "figures/a.png", "keypoints/train-00000-of-00002.parquet"]
    for file in (*ours, name):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("mine")
    if linked:
        (folder / name).rename(tmp_path / "elsewhere")
        (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ParquetError, match=rf"files that no build has written \({name}\)"):
        make(folder, "new")
    assert (folder / name).read_text() == "mine" and (folder / RECORD).read_text() == "mine"
    (folder / name).unlink()
    make(folder, "new")
    assert [path.name for path in folder.rglob("*")] == [RECORD]


def test_a_linked_folder_is_written_through(tmp_path):
    make(tmp_path / "far", "one")
    (tmp_path / "set").symlink_to(tmp_path / "far")
    make(tmp_path / "set", "two")
    assert (tmp_path / "set").is_symlink() and (tmp_path / "far" / RECORD).read_text() == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "set"]


def make(folder, content):
    with replacing(folder) as aside:
        (aside / RECORD).write_text(content)


def test_a_build_that_fails_leaves_the_former_one_whole(tmp_path):
    make(tmp_path / "set", "one")
    with pytest.raises(RuntimeError):
        with replacing(tmp_path / "set") as aside:
            (aside / RECORD).write_text("two")
            raise RuntimeError
    assert (tmp_path / "set" / RECORD).read_text() == "one"
    make(tmp_path / "set", "three")
    assert (tmp_path / "set" / RECORD).read_text() == "three"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_kill_leaves_the_former_build_whole_and_the_next_one_cleans_up(tmp_path):
    make(tmp_path / "set", "one")
    program = (
        "import sys, time; from datasets_scripts.format.parquet import replacing\n"
        "with replacing(sys.argv[1]) as aside:\n"
        "    (aside / 'build.json').write_text('two'); print('ready', flush=True); time.sleep(60)\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'modeling'}"}
    words = [sys.executable, "-c", program, str(tmp_path / "set")]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "set" / RECORD).read_text() == "one"
    assert len(list(tmp_path.iterdir())) == 2, "the unfinished build lies aside"
    make(tmp_path / "set", "three")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_kill_between_the_two_renames_is_put_right(tmp_path):
    make(tmp_path / "set", "one")
    (tmp_path / "set").rename(tmp_path / ".set.former")
    with pytest.raises(RuntimeError):
        with replacing(tmp_path / "set"):
            raise RuntimeError
    assert (tmp_path / "set" / RECORD).read_text() == "one"


def test_broken_files_are_named(tmp_path):
    with pytest.raises(ParquetError, match="holds no data set"):
        tables(tmp_path)
    with pytest.raises(ParquetError, match=r"has no file keypoints/train-\*.parquet\.$"):
        list(read_rows(tmp_path, "keypoints", "train"))
    with pytest.raises(ParquetError, match="or unlabeled/train"):
        list(read_photographs(tmp_path, "train"))
    (tmp_path / "keypoints").mkdir()
    file = tmp_path / "keypoints" / "train-00000-of-00001.parquet"
    file.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ParquetError, match="is not a whole Parquet file"):
        list(read_rows(tmp_path, "keypoints", "train"))
    pq.write_table(pa.table({"name": ["one"]}), file)
    with pytest.raises(ParquetError, match="lacks the column"):
        list(read_rows(tmp_path, "keypoints", "train"))
