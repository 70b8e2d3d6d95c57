"""An input is never touched, whatever it is called; what is written is whole; links, pipes and devices stay."""

import json
import os
import subprocess
import sys
import threading

import pytest

from retinamatch import files
from retinamatch.files import (
    OutputError,
    check_holds_no_input,
    check_inputs_stay,
    check_output_file,
    check_output_folder,
    filling,
    put_results,
    replacing,
    write_text,
    written_aside,
)


DISGUISES = {
    "itself": lambda source, place: source,
    "a detour": lambda source, place: source.parent / ".." / source.parent.name / source.name,
    "relative": lambda source, place: os.path.relpath(source),
    "a symbolic link": lambda source, place: place.symlink_to(source) or place,
    "a link to a link": lambda source, place: _second_link(source, place),
    "a hard link": lambda source, place: os.link(source, place) or place,
    "through a linked folder": lambda source, place: place.symlink_to(source.parent) or place / source.name,
}


def _second_link(source, place):
    first = place.with_name("first")
    first.symlink_to(source)
    place.symlink_to(first)
    return place


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "photo.jpg"
    path.write_bytes(b"a photograph")
    return path


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("as_folder", [False, True])
def test_an_input_is_known_under_every_name(source, tmp_path, disguise, swapped, as_folder):
    other = DISGUISES[disguise](source, tmp_path / "other")
    output, read = (source, other) if swapped else (other, source)
    read = os.path.dirname(read) if as_folder else read
    with pytest.raises(OutputError, match=r"would overwrite the input .*; choose another place for it\.$"):
        check_output_file(output, [tmp_path / "something", read])


@pytest.mark.parametrize("disguise", [name for name in DISGUISES if name != "a hard link"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_folder_that_is_written_anew_holds_no_input(source, tmp_path, disguise, depth):
    other = DISGUISES[disguise](source, tmp_path / "other")
    out = [source, source.parent, tmp_path][depth]
    with pytest.raises(OutputError, match="holds the input .*; choose another one"):
        check_holds_no_input(out, [tmp_path.parent, other])
    check_holds_no_input(tmp_path / "in" / "new", [source, source.parent, tmp_path])
    check_holds_no_input(tmp_path / "i", [source])


def test_what_is_no_input_may_be_written(source, tmp_path):
    (tmp_path / "copy.jpg").write_bytes(source.read_bytes())
    check_inputs_stay(
        [tmp_path / "copy.jpg", tmp_path / "new", "/dev/null"], [source, tmp_path / "missing", "/dev/null"]
    )
    check_output_folder(source.parent, [source], ["aligned.png"])
    with pytest.raises(OutputError, match="overwrite the input"):
        check_output_folder(source.parent, [source], ["aligned.png", "photo.jpg"])
    with pytest.raises(OutputError, match="overwrite the input"):
        check_output_folder(source.parent, [source])


def test_output_folder_is_checked_without_making_it(tmp_path):
    check_output_folder(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=f"{folder} cannot be made"):
            check_output_folder(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written to: Permission denied"):
        check_output_folder(tmp_path / "out")


def test_output_file(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        check_output_file(tmp_path)
    path = check_output_file(tmp_path / "new" / "figures.json")
    write_text(path, "{}")
    assert path.read_text() == "{}" and os.listdir(path.parent) == ["figures.json"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        write_text(tmp_path / "file" / "figures.json", "{}")


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "figures.json").write_text("kept")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(OutputError, match="may not be overwritten: permission denied"):
        check_output_file(tmp_path / "figures.json")


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("relative", [True, False])
def test_a_link_is_written_through(tmp_path, existing, relative):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "figures.json", tmp_path / "link.json"
    if existing:
        target.write_text("before")
        target.chmod(0o640)
    link.symlink_to("far/figures.json" if relative else target)
    write_text(check_output_file(link), "after")
    assert link.is_symlink() and target.read_text() == "after"
    assert os.listdir(tmp_path / "far") == ["figures.json"]
    if existing:
        assert target.stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_the_rights_of_any_other(tmp_path):
    write_text(tmp_path / "ours", "")
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_another_hard_link_keeps_what_it_had(tmp_path):
    (tmp_path / "a").write_text("before")
    os.link(tmp_path / "a", tmp_path / "b")
    write_text(tmp_path / "a", "after")
    assert (tmp_path / "b").read_text() == "before"


@pytest.mark.parametrize("linked", [True, False])
def test_a_pipe_is_written_to(tmp_path, linked):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    path = pipe
    if linked:
        path = tmp_path / "link"
        path.symlink_to(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text(check_output_file(path), "matches")
    reader.join(10)
    assert read == ["matches"] and pipe.is_fifo()


def test_devices_are_written_to():
    write_text(check_output_file("/dev/null"), "gone")
    with pytest.raises(OutputError, match=r"could not be written to /dev/full: No space left on device\.$"):
        write_text(check_output_file("/dev/full"), "too much")


@pytest.mark.parametrize("failure", [ValueError, OSError, KeyboardInterrupt])
def test_a_failure_on_the_way_leaves_what_was_there(tmp_path, failure):
    (tmp_path / "a").write_text("before")
    for context in (replacing(tmp_path / "a"), filling(tmp_path), written_aside(tmp_path)):
        with pytest.raises((failure, OutputError)), context as aside:
            (aside / "a" if aside.is_dir() else aside).write_text("half")
            raise failure
        assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "before"


def put(folder, **texts):
    with written_aside(folder) as aside:
        names = [name.replace("_", ".") for name in texts]
        for name, text in zip(names, texts.values()):
            (aside / name).write_text(text)
        return put_results(aside, folder, names, "record.json", {"status": "done"})


def test_results_that_are_no_more_are_removed_where_we_wrote_them(tmp_path):
    (tmp_path / "c.png").write_text("of somebody else")
    assert [path.name for path in put(tmp_path, a_png="1", b_png="2")] == ["a.png", "b.png", "record.json"]
    assert json.loads((tmp_path / "record.json").read_text())["files"].keys() == {"a.png", "b.png"}
    put(tmp_path, b_png="3")
    assert sorted(os.listdir(tmp_path)) == ["b.png", "c.png", "record.json"]
    (tmp_path / "b.png").write_text("changed since")
    put(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["b.png", "c.png", "record.json"]
    assert json.loads((tmp_path / "record.json").read_text()) == {"status": "done"}


@pytest.mark.parametrize(
    "record",
    ["", "{", "[]", "null", '{"files": 3}', '{"files": null}', '{"files": ["a.png"]}', '{"files": {"a.png": null}}',
     '{"files": {"a.png": "0"}}', '{"status": "registered"}', None],
)  # fmt: skip
def test_a_record_that_is_not_ours_removes_nothing(tmp_path, record):
    (tmp_path / "a.png").write_text("stays")
    if record is not None:
        (tmp_path / "record.json").write_text(record)
    put(tmp_path)
    assert (tmp_path / "a.png").read_text() == "stays"


@pytest.mark.parametrize("name", ["../a.png", "{}/a.png"])
def test_a_record_reaches_no_other_folder(tmp_path, name):
    put(tmp_path, a_png="1")
    checksum = json.loads((tmp_path / "record.json").read_text())["files"]["a.png"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "record.json").write_text(json.dumps({"files": {name.format(tmp_path): checksum}}))
    put(tmp_path / "out")
    assert (tmp_path / "a.png").exists()


def test_a_linked_result_is_written_through_and_the_link_stays(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(tmp_path / "far" / "kept.png")
    put(tmp_path / "out", a_png="1")
    assert (tmp_path / "far" / "kept.png").read_text() == "1"
    put(tmp_path / "out")
    assert os.listdir(tmp_path / "far") == [] and (tmp_path / "out" / "a.png").is_symlink()


# The file alone, without the package, which takes seconds to import.
SPEAKING = """
import sys
from runpy import run_path
files = run_path(sys.argv[2])
standard_output, write_text = files["standard_output"], files["write_text"]
with standard_output("program"):
    if sys.argv[1] == "print":
        print("result")
    elif sys.argv[1] == "exit":
        print("result")
        raise SystemExit(1)
    else:
        write_text(sys.argv[1], "result")
        print("more")
"""


def speak(word, stdout):
    command = [sys.executable, "-c", SPEAKING, word, files.__file__]
    return subprocess.run(command, text=True, stdout=stdout, stderr=subprocess.PIPE)


@pytest.mark.parametrize("word", ["print", "exit"])
def test_standard_output_that_is_full_or_closed_is_one_sentence(word):
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "w") as full, open(writing, "w") as closed:
        for stream, words in ((full, "No space left on device"), (closed, "Broken pipe")):
            done = speak(word, stream)
            assert done.returncode == 2
            assert done.stderr == f"program: Standard output could not be written: {words}.\n"


def test_dev_stdout_is_the_output_of_the_process(tmp_path):
    done = speak("/dev/stdout", subprocess.PIPE)
    assert done.stdout == "resultmore\n"
    with open(tmp_path / "out.csv", "w") as file:
        file.write("header\n")
        file.flush()
        assert speak("/dev/stdout", file).returncode == 0
    assert (tmp_path / "out.csv").read_text() == "header\nresultmore\n"
    with open(tmp_path / "out.csv", "w") as file:
        assert speak(str(tmp_path / "out.csv"), file).returncode == 0
    assert (tmp_path / "out.csv").read_text() == "resultmore\n"


@pytest.mark.parametrize("name", ["y" * 256, "y" * 300 + ".png", "new/" + "y" * 300, "y" * 300 + "/new", "a/" * 2500])
def test_a_name_that_is_too_long_is_one_sentence(tmp_path, name):
    for check in (check_output_file, check_output_folder):
        with pytest.raises(OutputError, match=r"cannot be written: File name too long\.$"):
            check(tmp_path / name)
    check_output_file(tmp_path / "out", [tmp_path / name])
    check_output_folder(tmp_path / ("y" * 200), [tmp_path / name])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("taken", ["a.png", "b.png", "record.json"])
@pytest.mark.parametrize("linked", [True, False])
def test_a_folder_in_the_place_of_a_result_is_said_before_the_work(tmp_path, taken, linked):
    out = tmp_path / "out"
    (out / "folder").mkdir(parents=True)
    if linked:
        (out / taken).symlink_to("folder")
    else:
        (out / "folder").rename(out / taken)
    before = sorted(os.listdir(out))
    with pytest.raises(OutputError, match=f"{taken} cannot be written: a folder of that name is there"):
        check_output_folder(out, [], ["a.png", "b.png", "record.json"])
    with pytest.raises(OutputError, match=f"{taken} cannot be written: a folder of that name is there"):
        put(out, a_png="1", b_png="2")
    assert sorted(os.listdir(out)) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, {"a": -float("inf")}], object()])
def test_a_record_that_cannot_be_written_moves_nothing(tmp_path, value):
    put(tmp_path, a_png="1", b_png="2")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises((ValueError, TypeError)), written_aside(tmp_path) as aside:
        (aside / "a.png").write_text("new")
        put_results(aside, tmp_path, ["a.png"], "record.json", {"value": value})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
