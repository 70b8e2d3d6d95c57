"""What must not happen: strange files, files of the server or of other visitors, work nobody waits for."""

import asyncio
import http.client
import json
import os
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")

from gradio.utils import get_upload_folder
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import Status

from retinamatch.extractor import ROOTSIFT, RootSiftExtractor
from space import app
from space.files import bounded, decoding, limits, uploads
from space.files.metadata import strip_jpeg
from space.files.sweep import LEAST_FILE, NoRoomError, Room, all_runs, run_folder, sweep
from space.files.uploads import MOST_FILES, UploadError, clean, take
from space.hostile import BOMBS, png_of_size
from space.service import body_limit, work
from space.service.body_limit import MOST_CALL, MOST_MCP, MOST_PARTS, BodyLimit
from space.service.gate import Gate
from space.ui.order import cleaned_visits, order_html
from space.ui.parts import EXAMPLES
from tests.helpers.paths import REPOSITORY
from tests.helpers.space_server import client, serving


PLACE = b"48.858844"  # in the EXIF data of what is handed in; must not be in anything that is given back


@pytest.fixture(scope="module")
def address():
    with serving() as address:
        yield address


BAD = {
    "drawing.jpg": (
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "drawing.jpg is an SVG drawing, not",
    ),
    "plain.png": (
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "is an SVG drawing, not a",
    ),
    "paper.jpg": (b"%PDF-1.7\n" + bytes(500), "paper.jpg is a PDF document, not a photograph"),
    "page.jpg": (b"<!DOCTYPE html><html><script>1</script></html>", "page.jpg is a web page, not a photograph"),
    "printer.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is something else, not a photograph"),
    "nothing.jpg": (b"", "nothing.jpg is empty."),
    "bomb.png": (png_of_size(60_000, 60_000), "bomb.png has far too many pixels; at most 50 megapixels are taken."),
    "large.png": (png_of_size(10_000, 5_001), "large.png has 10000 x 5001 pixels; at most 50 megapixels are taken."),
    "short.jpg": ((EXAMPLES / "visit_1.jpg").read_bytes()[:30_000], "short.jpg is truncated or damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_upload_is_one_sentence_and_the_page_goes_on(address, tmp_path, name):
    content, words = BAD[name]
    (tmp_path / name).write_bytes(content)
    good = handle_file(str(EXAMPLES / "visit_1.jpg"))
    visitor = client(address)
    with pytest.raises(AppError) as caught:
        visitor.predict(handle_file(str(tmp_path / name)), good, ROOTSIFT, api_name="/same_eye")
    message = str(caught.value)
    assert words in message and message.count("\n") == 0 and message.endswith(".") and "/tmp" not in message
    assert visitor.predict(api_name="/models")


def test_pixels_are_counted_before_anything_is_decoded(tmp_path, monkeypatch):
    (tmp_path / "large.png").write_bytes(png_of_size(10_000, 5_001))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(UploadError, match="at most 50 megapixels"):
        decoding.check(str(tmp_path / "large.png"), "large.png")
    (tmp_path / "just.png").write_bytes(png_of_size(10_000, 5_000))
    decoding.check(str(tmp_path / "just.png"), "just.png")


def test_too_many_bytes_are_refused_by_the_server_and_by_the_check(address, tmp_path):
    path = tmp_path / "heavy.jpg"
    path.write_bytes((EXAMPLES / "visit_1.jpg").read_bytes() + bytes(uploads.MOST_BYTES))
    with pytest.raises(UploadError, match="heavy.jpg has 20.1 MB; at most 20 MB are taken."):
        take(str(path))
    good = handle_file(str(EXAMPLES / "visit_1.jpg"))
    with pytest.raises(Exception, match="413|exceed"):
        client(address).predict(handle_file(str(path)), good, ROOTSIFT, api_name="/same_eye")
    assert client(address).predict(api_name="/models")


def test_addresses_and_pictures_in_the_request_are_not_read(address):
    good = handle_file(str(EXAMPLES / "visit_1.jpg"))
    refused = {"path": "http://127.0.0.1:1/a.jpg", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(AppError, match="Addresses of other computers are not fetched"):
        client(address).predict(refused, good, ROOTSIFT, api_name="/same_eye")


def with_place(path: Path, **options) -> Path:
    """Write an example with EXIF data that tell where it was taken."""
    exif = Image.Exif()
    exif[0x010F] = PLACE.decode()  # the camera's maker
    exif.get_ifd(0x8825)[29] = PLACE.decode()  # in the block of GPS data
    exif[0x0112] = options.pop("orientation", 1)
    image = Image.open(EXAMPLES / "visit_1.jpg")
    image.save(path, exif=exif, comment=PLACE, **options)
    assert PLACE in path.read_bytes()
    return path


def test_nothing_given_back_tells_where_a_photograph_was_taken(address, tmp_path):
    moving, fixed = with_place(tmp_path / "moving.jpg"), with_place(tmp_path / "fixed.jpg")
    visitor = client(address)
    answers = visitor.predict(handle_file(str(moving)), handle_file(str(fixed)), ROOTSIFT, api_name="/register")
    files = [Path(answer) for answer in answers[2:]]
    assert len(files) == 5
    for file in files:
        contents = [file.read_bytes()]
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        assert all(PLACE not in content for content in contents), file
    assert not Image.open(files[0]).getexif()


def test_photographs_shown_on_the_page_lose_their_metadata_and_keep_their_pixels(tmp_path):
    upright = with_place(tmp_path / "upright.jpg", quality=90, progressive=True)
    cleaned = clean(take(str(upright)))
    assert PLACE not in Path(cleaned.path).read_bytes() and cleaned.name == "upright.jpg"
    assert np.array_equal(np.asarray(Image.open(cleaned.path)), np.asarray(Image.open(upright)))
    turned = clean(take(str(with_place(tmp_path / "turned.jpg", orientation=6))))
    assert turned.name == "turned.png" and not Image.open(turned.path).getexif()
    assert np.array_equal(np.asarray(Image.open(turned.path)), take(str(tmp_path / "turned.jpg")).read())
    Image.open(upright).save(tmp_path / "page.tif", compression="tiff_lzw")
    assert Image.open(clean(take(str(tmp_path / "page.tif"))).path).format == "PNG"


def test_the_largest_page_of_a_file_counts(tmp_path, monkeypatch):
    thumbnail, photograph = Image.new("RGB", (80, 70), (9, 9, 9)), Image.new("RGB", (400, 300), (90, 90, 90))
    thumbnail.save(tmp_path / "pages.tif", save_all=True, append_images=[photograph])
    upload = take(str(tmp_path / "pages.tif"))
    assert upload.read().shape == (300, 400, 3) == clean(upload).read().shape
    monkeypatch.setattr(decoding, "MOST_PIXELS", 100_000)
    with pytest.raises(UploadError, match="400 x 300 pixels"):
        decoding.check(str(tmp_path / "pages.tif"), "pages.tif")


@pytest.mark.parametrize("kind", ["JPEG of 800 scans", "JPEG of 4 million segments", "JPEG of 16 MB of fill bytes"])
def test_bombs_are_refused_before_they_are_decoded(tmp_path, kind):
    path = tmp_path / "bomb.jpg"
    path.write_bytes(BOMBS[kind]())
    with pytest.raises(UploadError, match=r"^bomb.jpg is made of far more parts than a photograph; save it again"):
        decoding.check(str(path), path.name)


def test_what_takes_too_long_or_too_much_memory_ends(tmp_path, monkeypatch):
    path = tmp_path / "slow.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (3000, 3000, 3), np.uint8)).save(path, compress_level=1)
    monkeypatch.setattr(uploads, "MOST_BYTES", 100_000_000)
    assert take(str(path)).name == "slow.png"
    with monkeypatch.context() as patch:
        patch.setattr(limits, "WALL_SECONDS", 0.01)
        with pytest.raises(UploadError, match="^slow.png takes too long or too much memory to decode"):
            uploads.Upload(str(path), path.name).read()
    with bounded.begun(bytearray, 2 * limits.MOST_MEMORY) as call, pytest.raises(bounded.OverrunError):
        call.result()
    with bounded.begun(time.sleep, 60) as call:
        assert not call.wait(0.1)
        process = call._process
    wait_for(lambda: not Path(f"/proc/{process}").exists())  # given up, it ended


def test_second_pictures_behind_a_jpeg_are_cut_off():
    content = (EXAMPLES / "visit_1.jpg").read_bytes()
    assert strip_jpeg(content + b"thumbnail " + PLACE).endswith(b"\xff\xd9")
    with pytest.raises(ValueError):
        strip_jpeg(content[:-2])


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../../etc/passwd",
        "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "file:///etc/passwd",
        "{repository}/pyproject.toml",
        "{repository}/space/app.py",
        "space/service/session.py",
        "{cache}",
        "{cache}/results",
        "{cache}/../../etc/passwd",
    ],
)
def test_no_file_of_the_server_can_be_fetched(address, path):
    path = path.format(repository=REPOSITORY, cache=get_upload_folder())
    for route in ("file=", "file/", "download/", "static/", "assets/", "theme.css/../"):
        target = f"{address}/gradio_api/{route}{urllib.parse.quote(path, safe='/%=')}"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(target, timeout=10)
        assert caught.value.code in (403, 404, 405, 422), target


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{repository}/modeling/retinamatch/examples/fixed.jpg", "{cache}/../../etc/passwd"]
)
@pytest.mark.parametrize("endpoint", ["same_eye", "series"])
def test_no_file_of_the_server_can_be_handed_in(address, path, endpoint):
    """Asked by hand: gradio's client would upload a file of that name from the visitor's own computer."""
    path = path.format(repository=REPOSITORY, cache=get_upload_folder())
    stolen = {"path": path, "orig_name": "a.jpg", "meta": {"_type": "gradio.FileData"}}
    given = [stolen, stolen, ROOTSIFT] if endpoint == "same_eye" else [[stolen] * 3, 1, ROOTSIFT, "auto"]
    request = urllib.request.Request(
        f"{address}/gradio_api/call/{endpoint}",
        data=json.dumps({"data": given}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        event = json.load(urllib.request.urlopen(request, timeout=30))["event_id"]
        answer = urllib.request.urlopen(f"{address}/gradio_api/call/{endpoint}/{event}", timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        assert error.code in (400, 403, 422)
    else:
        assert answer.startswith("event: error") and "complete" not in answer, answer


def test_files_of_other_visitors_cannot_be_guessed(address, tmp_path):
    """Names alone open nothing; a folder has 128 secret bits at least, and another one each time."""
    pair = [handle_file(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1")]
    visitor = client(address)
    visitor.predict(*pair, ROOTSIFT, api_name="/register")
    cache = Path(get_upload_folder())
    results = {path.parent for path in (cache / "results").glob("*/visit_2_onto_visit_1.png")}
    visitor.predict(*pair, ROOTSIFT, api_name="/register")
    more = {path.parent for path in (cache / "results").glob("*/visit_2_onto_visit_1.png")} - results
    assert len(more) == 1 and all(len(bytes.fromhex(folder.name)) == 16 for folder in more)
    for guess in ("aligned.png", "results/aligned.png", f"results/{'0' * 32}/aligned.png", "visit_1.jpg"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/gradio_api/file={cache / guess}", timeout=10)


def test_files_are_deleted_after_an_hour_whoever_left_them(monkeypatch, tmp_path):
    """Those of an earlier run that was killed, too: the age alone counts."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    left = tmp_path / "0123" / "patient.jpg"
    left.parent.mkdir()
    left.write_bytes(b"of a run that was killed")
    os.utime(left, (0, time.time() - 3601))
    young = tmp_path / "tmp_part_of_an_upload"
    young.write_bytes(b"that broke off")
    with serving(every=0.2) as address:
        assert not left.exists() and young.exists()
        pair = [handle_file(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1")]
        client(address).predict(*pair, ROOTSIFT, api_name="/register")
        ours = {path for path in tmp_path.rglob("*") if path.is_file()}
        assert len(ours) > 10
        time.sleep(0.5)  # some rounds of deleting pass
        assert all(path.exists() for path in ours)
        for path in sorted(tmp_path.rglob("*"), reverse=True):
            os.utime(path, (0, time.time() - 3601))
        wait_for(lambda: not [path for path in tmp_path.rglob("*") if path.is_file()])
        # The examples of the page are none of the visitors' files.
        assert client(address).predict(*pair, ROOTSIFT, api_name="/same_eye")[0].startswith("Same eye")


def test_each_run_has_a_folder_beside_those_of_others(monkeypatch, tmp_path):
    """Only its own files are served and deleted at its end; those of all runs go with age."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = run_folder(), run_folder()
    assert first != second and all_runs(first) == all_runs(second) == Path(first).parent
    assert Path(first).parent.stat().st_mode & 0o777 == 0o700
    assert all_runs(tmp_path / "alone") == tmp_path / "alone"
    Path(first).parent.rename(tmp_path / "real")
    Path(first).parent.symlink_to(tmp_path / "real")  # of somebody else, perhaps
    assert not Path(run_folder()).resolve().is_relative_to(tmp_path / "real")


def test_sweeping_counts_what_is_left_and_survives_what_vanishes(tmp_path, monkeypatch):
    for name, size in (("empty", 0), ("small", 100), ("large", LEAST_FILE + 100)):
        (tmp_path / name).write_bytes(bytes(size))
    counted = 3 * LEAST_FILE + 100  # so many files are to be walked over, too
    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", lambda path: (_ for _ in ()).throw(FileNotFoundError))
        assert sweep(tmp_path, 0) == 0
    assert sweep(tmp_path, 60) == counted
    with pytest.raises(NoRoomError, match="no room left"):
        Room(most=counted - 1).check(tmp_path)
    Room(most=counted).check(tmp_path)
    assert sweep(tmp_path, 0) == 0 and not list(tmp_path.iterdir())


@pytest.fixture
def slow_network(monkeypatch):
    """Finding keypoints takes until the event is set; counts how many photographs have started."""
    release, started = threading.Event(), []
    real = RootSiftExtractor.find

    def find(self, photos):
        started.append(1)
        assert release.wait(60)
        return real(self, photos)

    monkeypatch.setattr(RootSiftExtractor, "find", find)
    yield release, started
    release.set()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_cancelled_request_frees_its_place(address, slow_network):
    release, started = slow_network
    pair = [handle_file(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1")]
    first = client(address).submit(*pair, ROOTSIFT, api_name="/same_eye")
    wait_for(lambda: len(started) == 1)
    # The answer to the wish comes when the step at work has ended.
    wish = threading.Thread(target=first.cancel)
    wish.start()
    time.sleep(2)
    second = client(address).submit(*pair, ROOTSIFT, api_name="/same_eye")
    release.set()
    wish.join(60)
    assert second.result(timeout=120)[0].startswith("Same eye")
    # The first one stopped after the step it was in: its second photograph was never looked at.
    assert len(started) == 3


@pytest.mark.slow
def test_full_queue_says_so_and_serves_those_who_wait(slow_network, monkeypatch):
    release, started = slow_network
    monkeypatch.setattr(app, "QUEUE", 2)
    pair = [handle_file(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1")]
    with serving() as address:
        jobs = [client(address).submit(*pair, ROOTSIFT, api_name="/same_eye")]
        wait_for(lambda: len(started) == 1)
        for _ in range(2):
            jobs.append(client(address).submit(*pair, ROOTSIFT, api_name="/same_eye"))
            wait_for(lambda: jobs[-1].status().code == Status.IN_QUEUE)
        with pytest.raises(Exception, match="[Qq]ueue is full"):
            client(address).predict(*pair, ROOTSIFT, api_name="/same_eye")
        release.set()
        assert all(job.result(timeout=120)[0].startswith("Same eye") for job in jobs)


def test_steps_are_small_enough_to_stop_between_them():
    pair = [take(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1")]
    steps = [step.words for step in work.find_pair(*pair, ROOTSIFT)]
    assert len(steps) >= 6 and "visit_2.jpg" in steps[0]


def post(address, path, pieces, announced=None):
    """Send a body piece by piece; gives the status and the answer."""
    place = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "application/json")
    if announced is None:
        connection.putheader("Transfer-Encoding", "chunked")
    else:
        connection.putheader("Content-Length", str(announced))
    connection.endheaders()
    try:
        for piece in pieces:
            connection.send(piece if announced is not None else b"%x\r\n%s\r\n" % (len(piece), piece))
        if announced is None:
            connection.send(b"0\r\n\r\n")
    except OSError:
        pass  # the server has answered already and does not listen any more
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize(
    "path, most",
    [
        ("/gradio_api/call/register", MOST_CALL),
        ("/gradio_api/queue/join", MOST_CALL),
        ("/gradio_api/call/upload", MOST_CALL),
        ("/gradio_api/call/mcp", MOST_CALL),
        ("/gradio_api/mcp/", MOST_MCP),
    ],
)
def test_a_request_that_is_too_large_is_refused_before_it_is_read(address, path, most):
    status, answer = post(address, path, [b"{"], announced=most + 1)
    assert status == 413 and f"too large; at most {most / 1e6:.0f} MB".encode() in answer


@pytest.mark.parametrize("part", [b"[],", b"{},", b"0,", b"[[" + b"]],", b'{"a":0},'])
@pytest.mark.parametrize("path", ["/gradio_api/call/register", "/gradio_api/mcp/"])
def test_a_request_of_too_many_parts_is_refused_before_python_makes_objects_of_them(address, path, part):
    content = b'{"data": [' + part * MOST_PARTS + b"0]}"
    status, answer = post(address, path, [content], announced=len(content))
    assert (status, b"too many parts; at most 20,000" in answer) == (413, True), answer


@pytest.mark.parametrize("size", [1_000_000, 5_000_000, MOST_MCP - 100])
def test_what_agents_hand_over_may_be_as_large_as_two_photographs(address, size):
    content = json.dumps({"data": "a" * size}).encode()  # no call of a tool
    status, answer = post(address, "/gradio_api/mcp/", [content], announced=len(content))
    assert status == 406 or (400 <= status < 500 and status != 413), (status, answer)


def uploaded(address, parts):
    """Upload parts of a form, each with its name where it is a file; gives the status and the answer."""
    head = 'Content-Disposition: form-data; name="files"'
    heads = [head + (f'; filename="{name}"' if name else "") for name, _ in parts]
    body = b"".join(f"--x\r\n{head}\r\n\r\n".encode() + part + b"\r\n" for head, (_, part) in zip(heads, parts))
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{address}/gradio_api/upload", data=body + b"--x--\r\n", headers=kind)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
def test_an_upload_holds_files_alone(address, size):
    """What is no file gradio keeps in memory, however large it is."""
    good = (EXAMPLES / "visit_1.jpg").read_bytes()
    for parts in ([("", bytes(size))], [("a.jpg", good), ("", bytes(size))]):
        status, answer = uploaded(address, parts)
        assert status == 400 and b"Too many fields" in answer
    assert uploaded(address, [("a.jpg", good)])[0] == 200


@pytest.mark.parametrize("more, status", [(0, 200), (1, 400), (200, 400)])
def test_an_upload_holds_few_files(address, more, status):
    parts = [(f"{number}.jpg", b"%d" % number) for number in range(MOST_FILES + more)]
    assert uploaded(address, parts)[0] == status


@pytest.mark.parametrize("number", [MOST_FILES + 1, 300])
def test_a_history_is_so_long(address, number, monkeypatch):
    """A longer one would let all others wait, and fill the memory; what the page is handed is cut and said."""
    monkeypatch.setattr(RootSiftExtractor, "find", lambda *given: pytest.fail("it was begun"))
    visit = {"path": json.loads(uploaded(address, [("a.jpg", (EXAMPLES / "visit_1.jpg").read_bytes())])[1])[0]}
    visit["meta"] = {"_type": "gradio.FileData"}
    answer = ask_by_hand(address, "series", [[visit] * number, 1, ROOTSIFT, "auto"])
    assert f"At most {MOST_FILES} photographs are registered in one go, got {number}." in answer
    paths, known = cleaned_visits([take(str(EXAMPLES / "visit_1.jpg"))] * number, None)
    assert len(paths) == MOST_FILES and known.refused == [
        "At most 20 photographs are taken; those after visit_1.jpg are not."
    ]
    assert order_html([take(path) for path in paths] * 2, known, 1).count("<li") == MOST_FILES


def test_a_request_that_does_not_say_how_large_it_is(monkeypatch):
    """Only so much of it is taken in; the next request is answered."""
    taken = 0

    async def reads_all(scope, receive, send):
        nonlocal taken
        while True:
            message = await receive()
            taken += len(message.get("body", b""))
            if message["type"] == "http.disconnect":
                raise RuntimeError("the visitor has left")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"read"})

    def ask(size):
        sent, left = [], [b"x" * 1000] * size

        async def receive():
            return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "path": "/gradio_api/call/register", "headers": []}
        asyncio.run(BodyLimit(reads_all)(scope, receive, send))
        return sent[0]["status"]

    monkeypatch.setattr(body_limit, "MOST_CALL", 10_000)
    assert ask(100) == 413 and taken == 10_000
    assert ask(10) == 200 and ask(11) == 413


def test_an_upload_may_be_larger_than_a_call():
    called = []

    async def note(scope, receive, send):
        called.append(scope["path"])

    for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
        scope = {"type": "http", "path": path, "headers": [(b"content-length", b"%d" % (MOST_CALL + 1))]}
        sent = []

        async def send(message, sent=sent):
            sent.append(message)

        asyncio.run(BodyLimit(note)(scope, None, send))
    assert called == ["/gradio_api/upload"] and sent[0]["status"] == 413


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/gradio_api/process_recording"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/monitoring/summary"),
        ("GET", "/monitoring"),
        ("GET", "/runs"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit/"),
        ("PUT", "/gradio_api/upload"),
        ("GET", "/gradio_api/profiling/traces"),
    ],
)
def test_routes_that_this_page_does_not_use_are_closed(address, method, path):
    place = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["error"]) == (404, "There is nothing at this address.")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_answers_under_its_own_name_alone(address):
    place = urllib.parse.urlsplit(address)

    def ask(**headers):
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
        connection.request("GET", "/", headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    assert ask(Host="evil.example")[0] == 421
    status, content = ask(X_Forwarded_Host="evil.example")
    assert status == 200 and "evil.example" not in content
    assert ask(Host=f"localhost:{place.port}")[0] == 200

    async def page(scope, receive, send):
        raise RuntimeError("/tmp/patient.jpg")

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"eye.example:80")]}
    asyncio.run(Gate(page, ["Eye.Example"])(scope, None, send))
    assert sent[0]["status"] == 500 and b"patient" not in sent[1]["body"]


def ask_by_hand(address, endpoint, given):
    """What an endpoint answers to any JSON; gradio's own client would not send it."""
    request = urllib.request.Request(
        f"{address}/gradio_api/call/{endpoint}",
        data=json.dumps({"data": given}).encode(),
        headers={"Content-Type": "application/json"},
    )
    event = json.load(urllib.request.urlopen(request, timeout=30))["event_id"]
    answer = urllib.request.urlopen(f"{address}/gradio_api/call/{endpoint}/{event}", timeout=60).read().decode()
    return answer.split("event: error\ndata: ")[-1].strip()


@pytest.mark.parametrize(
    "endpoint, given, words",
    [
        ("reestimate", ["auto", 0, 0, 500, "fast"], "The inlier distance has to be a number from 1 to 8, got 500"),
        ("reestimate", ["auto", 0, 0, 1e308, "fast"], "The inlier distance has to be a number from 1 to 8, got 1e+308"),
        ("reestimate", ["auto", 0, float("nan"), 2, "fast"], "The descriptor ratio has to be a number from 0 to 1"),
        ("reestimate", ["auto", "3", 0, 2, "fast"], "The least keypoint score has to be a number from 0 to 0.9"),
        ("reestimate", ["auto", -1, 0, 2, "fast"], "The least keypoint score has to be a number from 0 to 0.9, got -1"),
        ("reestimate", ["auto", 0, True, 2, "fast"], "The descriptor ratio has to be a number from 0 to 1, got True"),
        ("reestimate", ["auto", 0, 0, 2], "not what this endpoint takes"),
        ("reestimate", ["spline", 0, 0, 2, "fast"], "spline"),
        ("series", [[], 1, ROOTSIFT, "auto"], "The photographs are missing"),
        ("same_eye", ["visit.jpg", None, ROOTSIFT], "not what this endpoint takes"),
        ("same_eye", [{"a": 1}, 3, {}], "A photograph is handed in as an uploaded file."),
        ("same_eye", [None, None, ["x"]], "x"),
    ],
)
def test_every_refusal_has_words_and_prints_no_traceback(address, endpoint, given, words, capfd):
    answer = ask_by_hand(address, endpoint, given)
    assert words in answer, answer
    printed = capfd.readouterr()
    assert "Traceback" not in printed.err + printed.out
