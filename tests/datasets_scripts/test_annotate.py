import io
import os
import socket
import time
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from datasets_scripts.annotation.pictures import list_pictures, propose
from datasets_scripts.format.annotations import Annotation, AnnotationError, read_annotation, write_annotation
from tests.helpers.browser import chromium, free_port, opened, serve


pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")

from datasets_scripts import annotate  # noqa: E402
from datasets_scripts.annotation.session import DONE, DRAFT, OPEN, Session  # noqa: E402


SIZE = (400, 300)  # not square, so that nobody swaps width and height unseen
POINTS = [[100.25, 60.5], [300.0, 80.0], [200.5, 220.75]]
TYPES = [0, 1, 0]


def photograph(seed=0, size=SIZE):
    pixels = np.random.default_rng(seed).integers(60, 160, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size)


@pytest.fixture
def folder(tmp_path):
    """Three photographs: one with an annotation beside it, one with a vessel map, one with nothing."""
    for part in ("images", "vessels", "annotations"):
        (tmp_path / "photos" / part).mkdir(parents=True)
    root = tmp_path / "photos"
    for i, name in enumerate("abc"):
        photograph(i).save(root / "images" / f"{name}.png")
    write_annotation(root / "annotations" / "a.json", Annotation("a.png", SIZE, POINTS, TYPES, "somebody"))
    vessels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    vessels[147:153, 20:380] = vessels[20:280, 197:203] = 255  # two vessels that cross at (199.5, 149.5)
    Image.fromarray(vessels).save(root / "vessels" / "b.png")
    return root


@pytest.fixture
def session(folder, tmp_path):
    return Session(list_pictures(folder), tmp_path / "out", "AB")


def parquet(path, rows):
    """Write rows (name, source, keypoints, types) as the build's configuration `keypoints` has them."""
    buffer = io.BytesIO()
    photograph().save(buffer, format="PNG")
    table = [
        {
            "name": name,
            "image": {"bytes": buffer.getvalue(), "path": f"{name}.png"},
            "keypoints": keypoints,
            "types": types,
            "widths": None if keypoints is None else [4.0] * len(keypoints),
            "source": source,
        }
        for name, source, keypoints, types in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table), path, row_group_size=2)


# ---- which photographs, which proposals ----


def test_folder_with_parts(folder):
    pictures = list_pictures(folder)
    assert [picture.name for picture in pictures] == ["a", "b", "c"]
    assert [picture.photograph.vessels is not None for picture in pictures] == [False, True, False]
    assert [picture.photograph.annotation is not None for picture in pictures] == [True, False, False]


def test_plain_folder(folder):
    assert [picture.image for picture in list_pictures(folder / "images")] == ["a.png", "b.png", "c.png"]


def test_download_of_a_known_data_set(tmp_path):
    """What the adapters read can be annotated, under the names that the build gives."""
    for number in (1, 2):
        for end, mode in (("jpg", "RGB"), ("png", "L")):
            name = f"Image_0{number}L{'_1stHO' if end == 'png' else ''}.{end}"
            photograph(number).convert(mode).save(tmp_path / name)
    pictures = list_pictures(tmp_path, "chase_db1")
    assert [(picture.name, picture.photograph.patient) for picture in pictures] == [
        ("Image_01L", "01"),
        ("Image_02L", "02"),
    ]


def test_parquet_split(tmp_path):
    root = tmp_path / "keypoints"
    rows = [("x", "s1", POINTS, TYPES), ("x", "s2", None, None), ("y", "s1", [], [])]
    parquet(root / "train-00000-of-00002.parquet", rows)
    parquet(root / "train-00001-of-00002.parquet", [("z", "s1", POINTS[:1], TYPES[:1])])
    parquet(root / "test-00000-of-00001.parquet", [("t", "s1", POINTS, TYPES)])
    assert [picture.name for picture in list_pictures(root)] == ["s1-x", "s2-x", "t", "y", "z"]
    pictures = list_pictures(root, split="train")
    assert [picture.name for picture in pictures] == ["s1-x", "s2-x", "y", "z"]
    proposals = [propose(picture, picture.read())[0] for picture in pictures]
    assert [len(found) for found in proposals] == [3, 0, 0, 1]
    assert np.allclose(proposals[0].points, POINTS) and proposals[0].types.tolist() == TYPES
    assert proposals[0].widths.tolist() == [4, 4, 4]
    assert list_pictures(root / "test-00000-of-00001.parquet")[0].read().shape == (300, 400, 3)


def test_parquet_without_names_or_images(tmp_path):
    file = tmp_path / "train-00000-of-00001.parquet"
    form = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": b"no image", "path": None}, {"bytes": None, "path": "b.png"}, None], form)
    pq.write_table(pa.table({"image": images}), file)
    pictures = list_pictures(tmp_path)
    assert [picture.name for picture in pictures] == ["b", f"{file.stem}-0-0", f"{file.stem}-0-2"]
    for picture in pictures:
        with pytest.raises(AnnotationError, match=f"The image of {picture.name} in .* cannot be read"):
            picture.read()


def test_proposals(folder):
    a, b, c = list_pictures(folder)
    found, note = propose(a, a.read())
    assert np.allclose(found.points, POINTS) and found.types.tolist() == TYPES and "labels" in note
    found, note = propose(b, b.read())
    assert np.allclose(found.points, [[199.5, 149.5]], atol=1) and found.types.tolist() == [1] and "vessel map" in note
    assert (
        len(propose(c, c.read())[0])
        == len(propose(a, a.read(), "none")[0])
        == len(propose(b, b.read(), "labels")[0])
        == 0
    )
    # What a model finds outside the photograph is left out.
    found, note = propose(c, c.read(), "model", lambda photo: np.array([[10.0, 20], [-3, 5], [400, 5]]))
    assert found.points.tolist() == [[10, 20]] and "model" in note


def test_proposals_of_the_model_that_travels_with_the_package(folder, visits):
    Image.fromarray(visits.fixed.image).save(folder / "images" / "c.png")
    picture = list_pictures(folder)[2]
    few, many = (
        propose(picture, picture.read(), "model", annotate.load_detector("lk-superretina-small", threshold))[0]
        for threshold in (0.5, 0.1)
    )
    assert 5 < len(few) < len(many)


BAD_FOLDERS = ("missing", "file", "empty", "source", "vessel map", "split", "same name")
BAD_FOLDERS += ("broken parquet", "other parquet")


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_folder_that_cannot_be_used(folder, tmp_path, case):
    path, source, split, reason = folder, None, None, ""
    if case == "missing":
        path, reason = folder / "nothing", "is not a folder"
    elif case == "file":
        path, reason = folder / "images" / "a.png", "is not a folder"
    elif case == "empty":
        path, reason = tmp_path / "empty", "holds no image"
        path.mkdir()
    elif case == "source":
        source, reason = "magic", "'magic' is not a known source"
    elif case == "vessel map":
        Image.new("L", (10, 10)).save(folder / "vessels" / "b.png")
        reason = "has 10 x 10 pixels, its image"
    elif case == "split":
        split, reason = "train", "holds no file train-"
    elif case == "same name":
        photograph().save(folder / "images" / "A.jpg")
        reason = "would share the annotation"
    elif case == "broken parquet":
        (folder / "train-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
        reason = "not a whole Parquet file"
    else:
        pq.write_table(pa.table({"text": ["a"]}), folder / "train-00000-of-00001.parquet")
        reason = "lacks the column 'image'"
    with pytest.raises(AnnotationError, match=reason) as error:
        list_pictures(path, source, split)
    assert "\n" not in str(error.value)


# ---- a person's work ----


def edited(shown, points):
    return {**shown, "points": points, "changes": shown["changes"] + 1}


def test_draft_then_done(session):
    shown = session.open(0)
    assert (shown["width"], shown["height"], shown["state"]) == (*SIZE, OPEN)
    assert [point[:3] for point in shown["points"]] == [[*place, kind] for place, kind in zip(POINTS, TYPES)]
    assert Image.open(shown["file"]).size == SIZE
    assert session.save(shown, complete=False) == OPEN and not session.file(0).exists()  # nothing was changed
    assert session.save(edited(shown, [[1.5, 2.5, 1, None]]), complete=False) == DRAFT
    assert not read_annotation(session.file(0), SIZE).complete
    again = session.open(0)
    assert again["points"] == [[1.5, 2.5, 1, None]] and again["state"] == DRAFT
    assert session.save(again, complete=True) == DONE
    assert session.save(session.open(0), complete=False) == DONE
    found = read_annotation(session.file(0), SIZE)
    assert found.complete and found.annotator == "AB" and found.image == "a.png"


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_draft_that_was_overtaken_changes_nothing(session, late, complete):
    """The requests of a browser may arrive in another order than they were sent in, and the last of them twice."""
    shown = session.open(0)
    state = session.save({**edited(shown, [[1.5, 2.5, 1, None]]), "changes": 3}, complete)
    assert session.save({**edited(shown, [[9.5, 9.5, 0, None]]), "changes": late}, complete=False) == state
    found = read_annotation(session.file(0), SIZE)
    assert found.points.tolist() == [[1.5, 2.5]] and found.complete == complete
    again = session.open(0)  # counts from none again
    assert session.save(edited(again, [[9.5, 9.5, 0, None]]), complete=False) == DRAFT
    assert read_annotation(session.file(0), SIZE).points.tolist() == [[9.5, 9.5]]


def test_a_new_session_goes_on_where_the_former_was(folder, tmp_path):
    def start():
        return Session(list_pictures(folder), tmp_path / "out", "AB")

    first = start()
    assert first.current == 0
    first.save(first.open(0), complete=True)
    assert start().current == 1
    first.save(edited(first.open(2), []), complete=False)
    assert start().current == 2 and start().states == [DONE, OPEN, DRAFT]
    time.sleep(0.01)
    first.save(edited(first.open(0), []), complete=False)  # a draft again, changed last
    assert start().current == 0
    for number in range(3):
        first.save(first.open(number), complete=True)
    assert start().current == 0 and set(start().states) == {DONE}


def test_somebody_elses_annotations_are_not_touched(session, folder, tmp_path):
    session.save(session.open(0), complete=True)
    with pytest.raises(AnnotationError, match=r"a.json was made by 'AB', not by 'CD'; give each person a folder"):
        Session(list_pictures(folder), tmp_path / "out", "CD")
    (tmp_path / "out" / "a.json").write_text("{")
    with pytest.raises(AnnotationError, match="not whole JSON"):
        Session(list_pictures(folder), tmp_path / "out", "AB")
    with pytest.raises(AnnotationError, match="cannot be written to"):
        Session(list_pictures(folder), folder / "images" / "a.png", "AB")


def test_photographs_and_labels_that_cannot_be_read(folder, tmp_path):
    pictures = list_pictures(folder)  # and only then does the disk fail
    (folder / "images" / "a.png").write_bytes((folder / "images" / "a.png").read_bytes()[:200])
    Image.new("L", (10, 10)).save(folder / "vessels" / "b.png")
    session = Session(pictures, tmp_path / "out", "AB")
    broken = session.open(0)
    assert "a.png is truncated or damaged" in broken["problem"] and broken["points"] == []
    assert session.save(broken, complete=True) == OPEN and not session.file(0).exists()
    assert "has 10 x 10 pixels, its image" in session.open(1)["note"]


def test_an_annotation_of_another_size_is_not_written_over(session, folder):
    session.save(edited(session.open(2), [[5, 5, 0, None]]), complete=True)
    before = session.file(2).read_bytes()
    photograph(2, (500, 300)).save(folder / "images" / "c.png")
    shown = session.open(2)
    assert "was made on 400 x 300 pixels, but the photograph has 500 x 300" in shown["problem"]
    session.save({**shown, "changes": 3}, complete=True)
    assert session.file(2).read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"number": 7},
        {"number": -1},
        {"number": "b"},
        {"name": "b"},
        {"points": [[1, 2]]},
        {"points": [[1, 2, 0, "wide"]]},
        {"points": [[1, 2, 5, None]]},
        {"points": [[400, 2, 0, None]]},
        {"points": [[float("nan"), 2, 0, None]]},
        {"points": None},
        {"changes": None},
    ],
)
def test_what_a_browser_sends_is_checked(session, change):
    shown = edited(session.open(0), [[1, 2, 0, None]])
    with pytest.raises(AnnotationError) as error:
        session.save({**shown, **change}, complete=True)
    assert "\n" not in str(error.value)
    with pytest.raises(AnnotationError):
        session.save(None, complete=True)
    assert os.listdir(session.out) == []


def test_a_page_that_outlived_its_server_can_still_save(session, folder, tmp_path):
    shown = edited(session.open(1), [[7, 8, 1, None]])
    later = Session(list_pictures(folder), tmp_path / "out", "AB")
    assert later.save(shown, complete=True) == DONE
    assert read_annotation(later.file(1), SIZE).points.tolist() == [[7, 8]]


def test_the_next_photograph_is_prepared_meanwhile(session, folder):
    session.open(0)
    session._ahead[1].result()
    (folder / "images" / "b.png").unlink()  # it was read already
    shown = session.open(1)
    assert shown["problem"] == "" and len(shown["points"]) == 1
    # What was proposed meanwhile does not come back over what was drawn since.
    session.open(1)
    session._ahead[2].result()
    session.save(edited({**shown, "number": 2, "name": "c"}, [[1, 2, 0, None]]), complete=False)
    assert session.open(2)["points"] == [[1, 2, 0, None]]


def test_few_photographs_stay_ready(tmp_path):
    for number in range(8):
        photograph(number).save(tmp_path / f"{number}.png")
    session = Session(list_pictures(tmp_path), tmp_path / "out", "AB")
    for number in range(8):
        session.open(number)
    assert len(os.listdir(session.ready)) <= 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing", "--annotator", "AB"],
        [".", "--annotator", "AB", "--proposals", "magic"],
        [".", "--annotator", " "],
        [".", "--annotator", "AB", "--proposals", "model", "--model", "magic"],
    ],
)
def test_command_fails_in_one_sentence(folder, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(annotate.app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ") and len(result.stderr.strip().splitlines()) == 1


def test_port_that_is_taken(folder, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        arguments = [str(folder), "--annotator", "AB", "--out", str(tmp_path / "out"), "--port", port]
        result = CliRunner().invoke(annotate.app, arguments)
    assert result.exit_code == 2 and result.stderr == f"Error: The port {port} is taken; choose another with --port.\n"


# ---- the page, in a real browser ----


class Canvas:
    """Hands and eyes on the canvas: pixels of the photograph in, what the page says out."""

    def __init__(self, page, size=SIZE):
        self.page, self.size = page, size
        self.stage = page.locator("[data-role=stage]")

    def part(self, name):
        return self.page.locator(f"[data-role={name}]")

    def shows(self, name):
        self.page.wait_for_selector(f'[data-role=stage][data-photograph="{name}"]', timeout=15000)
        self.page.wait_for_function("() => !document.querySelector('.pending')")
        return self

    def fit(self):
        self.part("fit").click()
        left, top, *room = self.stage.evaluate(
            "e => [e.getBoundingClientRect().x, e.getBoundingClientRect().y, e.clientWidth, e.clientHeight]"
        )
        self.scale = min(np.divide(room, self.size))
        self.left, self.top = np.add([left, top], (room - np.multiply(self.size, self.scale)) / 2)
        return self

    def at(self, x, y):
        """Where a pixel of the whole photograph lies in the window."""
        return self.left + (x + 0.5) * self.scale, self.top + (y + 0.5) * self.scale

    def in_whole_pixels(self, x, y):
        """The whole pixel of the window nearest to a place, which a mouse can point at, and its place."""
        place = np.round(self.at(x, y))
        return place.tolist(), (place - [self.left, self.top]) / self.scale - 0.5

    def click(self, x, y):
        self.page.mouse.click(*self.at(x, y))

    def drag(self, start, end):
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*(np.add(start, end) / 2)))
        self.page.mouse.move(*self.at(*end))
        self.page.mouse.up()

    def is_saved(self, text):
        self.page.wait_for_function(
            "text => document.querySelector('[data-role=saved]').textContent === text", arg=text, timeout=10000
        )


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@contextmanager
def served(session):
    """The page of a session, served by this process: quicker to start than a process of its own."""
    blocks, port = annotate.build_page(session), free_port()
    annotate.launch(blocks, session, port, prevent_thread_lock=True, quiet=True)
    yield f"http://127.0.0.1:{port}"
    blocks.close()


def kept(path, complete):
    """The keypoints in a file: places and types, from top to bottom."""
    found = read_annotation(path, SIZE)
    assert found.complete == complete and found.annotator == "Ann"
    return found.points, found.types.tolist()


def wanted(points, types):
    order = np.argsort([y for _, y in points])
    return np.array(points)[order], np.array(types)[order].tolist()


def assert_kept(path, points, types, complete, within=0.6):
    places, kinds = wanted(points, types)
    found, found_kinds = kept(path, complete)
    assert found.shape == places.shape, (found, places)
    assert np.abs(found - places).max() < within and found_kinds == kinds


def test_page_end_to_end(browser, folder, tmp_path):
    out = tmp_path / "out"
    command = ["-m", "datasets_scripts.annotate", folder, "--out", out, "--annotator", "Ann"]
    with serve(command) as server, opened(browser, server.url) as page:
        canvas = Canvas(page).shows("a").fit()
        assert canvas.part("counts").inner_text() == "2 bifurcations, 1 crossing"
        assert "proposed from the labels" in canvas.part("place").inner_text()
        assert "1 of 3 · 0 done" in page.locator("#annotate-head").inner_text()

        # Add; the draft is on disk without a further act.
        canvas.click(50, 150)
        canvas.is_saved("Saved as draft")
        assert_kept(out / "a.json", [*POINTS, [50, 150]], [*TYPES, 0], complete=False)
        # Move the second, then delete the third with the key, then make the first a crossing.
        canvas.drag((300, 80), (330, 110))
        canvas.click(*POINTS[2])
        assert "bifurcation at (200.5, 220.8)" in canvas.part("place").inner_text()
        page.keyboard.press("Delete")
        canvas.click(*POINTS[0])
        canvas.part("crossing").click()
        canvas.is_saved("Saved as draft")
        assert_kept(out / "a.json", [POINTS[0], [330, 110], [50, 150]], [1, 1, 0], complete=False)
        # Undo the type, the deletion; delete by button; undo again.
        page.keyboard.press("u")
        canvas.part("undo").click()
        assert canvas.stage.get_attribute("data-points") == "4"
        canvas.click(50, 150)
        canvas.part("delete").click()
        page.keyboard.press("Control+z")
        page.locator("#annotate-next").click()

        # Next: a is done, b comes with the crossing of its vessel map.
        canvas.shows("b").fit()
        final = [POINTS[0], [330, 110], POINTS[2], [50, 150]], [0, 1, 0, 0]
        assert_kept(out / "a.json", *final, complete=True)
        assert canvas.part("counts").inner_text() == "0 bifurcations, 1 crossing"
        assert "2 of 3 · 1 done" in page.locator("#annotate-head").inner_text()
        assert not (out / "b.json").exists()
        canvas.click(320, 250)
        page.keyboard.press("2")
        canvas.is_saved("Saved as draft")
        # Back leaves a draft, and shows a as it was left.
        page.keyboard.press("b")
        canvas.shows("a")
        assert canvas.part("counts").inner_text() == "3 bifurcations, 1 crossing"
        assert canvas.part("saved").inner_text() == "Saved, done"
        assert "1 of 3 · 1 done, 1 draft" in page.locator("#annotate-head").inner_text()
        assert_kept(out / "b.json", [[199.5, 149.5], [320, 250]], [1, 1], complete=False, within=1)
        server.kill()  # and with it whatever it had in memory

    with served(Session(list_pictures(folder), out, "Ann")) as url, opened(browser, url) as page:
        canvas = Canvas(page).shows("b").fit()  # the photograph at hand
        assert canvas.part("counts").inner_text() == "0 bifurcations, 2 crossings"
        canvas.click(320, 250)
        page.keyboard.press("Backspace")
        page.keyboard.press("n")
        canvas.shows("c")
        page.locator("#annotate-save").click()
        canvas.is_saved("Saved, done")
        page.keyboard.press("n")
        canvas.is_saved("Saved, done; this is the last photograph")
        assert "3 of 3 · 3 done" in page.locator("#annotate-head").inner_text()
        assert_kept(out / "b.json", [[199.5, 149.5]], [1], complete=True, within=1)
        assert len(read_annotation(out / "c.json")) == 0
        assert_kept(out / "a.json", *final, complete=True)
        assert page.outside == []  # neither fonts nor statistics from other computers


@pytest.fixture
def page(browser, folder, tmp_path):
    """The page on three photographs, in a window of a telephone's width."""
    with served(Session(list_pictures(folder), tmp_path / "out", "Ann")) as url:
        with opened(browser, url, 390, 844, has_touch=True) as page:
            yield page


def test_page_by_keyboard_alone_and_zoomed(page, tmp_path):
    canvas = Canvas(page).shows("a")
    file = tmp_path / "out" / "a.json"
    # Nothing is wider than the telephone.
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    canvas.stage.focus()
    page.keyboard.press("a")  # in the middle of the photograph: (199.5, 149.5)
    canvas.is_saved("Saved as draft")
    assert_kept(file, [*POINTS, [199.5, 149.5]], [*TYPES, 0], complete=False)
    page.keyboard.press("t")
    for _ in range(3):
        page.keyboard.press("+")
    scale = 1.5**3 * canvas.fit().scale
    for _ in range(3):
        page.keyboard.press("+")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    canvas.is_saved("Saved as draft")
    moved = [199.5 + 4 / scale, 149.5 + 10 / scale]
    assert_kept(file, [*POINTS, moved], [*TYPES, 1], complete=False, within=0.05)
    page.keyboard.press("u")  # the step down, then the four to the right are one change together
    page.keyboard.press(",")
    assert "(200.5, 220.8)" in canvas.part("place").inner_text()
    page.keyboard.press("s")
    canvas.is_saved("Saved, done")
    found = kept(file, complete=True)[0]
    assert np.abs(found - [199.5, 149.5]).sum(axis=1).min() < 0.6

    # Zoomed in by the wheel about a place, a click there is finer than a pixel, and a drag beside keypoints pans.
    (x, y), place = canvas.fit().in_whole_pixels(120, 200)
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -300)
    page.mouse.click(x, y)
    canvas.is_saved("Saved as draft")
    places = kept(file, complete=False)[0]
    assert np.linalg.norm(places - place, axis=1).min() < 0.01
    page.mouse.move(x, y + 60)
    page.mouse.down()
    page.mouse.move(x + 50, y + 60)
    page.mouse.up()
    assert canvas.stage.get_attribute("data-points") == str(len(places))
    page.keyboard.press("Escape")
    page.touchscreen.tap(x + 50, y)  # the keypoint went along, and a finger hits it
    assert f"({place[0]:.1f}, {place[1]:.1f})" in canvas.part("place").inner_text()
    assert canvas.stage.get_attribute("data-points") == str(len(places))
    page.touchscreen.tap(x - 40, y + 40)
    assert canvas.stage.get_attribute("data-points") == str(len(places) + 1)
    canvas.is_saved("Saved as draft")


def test_page_says_what_goes_wrong(page, folder, tmp_path):
    canvas = Canvas(page).shows("a").fit()
    (tmp_path / "out").rmdir()
    (tmp_path / "out").write_text("in the way")
    canvas.click(50, 150)
    page.wait_for_selector("[data-role=saved][data-state=error]")
    assert "Not saved" in canvas.part("saved").inner_text()
    page.locator("#annotate-next").click()  # what cannot be written is not left
    page.wait_for_timeout(300)
    assert canvas.stage.get_attribute("data-photograph") == "a"
    assert canvas.stage.get_attribute("data-points") == "4"
    (tmp_path / "out").unlink()
    (folder / "images" / "c.png").write_text("no picture")
    canvas.click(60, 250)  # not locked, and the next change saves all
    canvas.is_saved("Saved as draft")
    page.locator("#annotate-next").click()
    canvas.shows("b")
    assert len(read_annotation(tmp_path / "out" / "a.json", SIZE)) == 5
    page.locator("#annotate-next").click()
    page.wait_for_function("() => document.querySelector('[data-role=message]').textContent.includes('not an image')")
    page.locator("#annotate-next").click()  # nothing to call done
    page.locator("#annotate-back").click()
    canvas.shows("b")
    assert sorted(os.listdir(tmp_path / "out")) == ["a.json", "b.json"]


def test_every_control_has_a_name(page):
    Canvas(page).shows("a")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, [tabindex="0"]')]
            .filter((e) => e.offsetParent && !(e.innerText.trim() || e.ariaLabel || e.labels?.length || e.title))
            .map((e) => e.outerHTML.slice(0, 100))"""
    )
    assert nameless == []
    assert page.locator("[data-role=bifurcation]").get_attribute("aria-pressed") == "true"
