"""The page in a real browser, at the width of a desk and of a telephone, in light and dark."""

import csv
import json
import re
import threading
import urllib.request
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import chromium, opened


pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")
pytest.importorskip("playwright", reason="needs playwright: pip install -e '.[dev]'")

from playwright.sync_api import expect

from space.files.uploads import MOST_BYTES
from space.service import models
from space.ui.parts import EXAMPLES
from tests.helpers.space_server import serving


PATIENCE = 120_000  # milliseconds; the machine may be busy
VIEWS = ("Overlay", "Flicker", "Agreement", "Checkerboard", "Difference", "Red and cyan", "Matches", "Heat map")
NOTHING = "Nothing yet"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address():
    with serving() as address:
        yield address


DESK, TELEPHONE = (1400, 900, "light"), (390, 844, "dark")
on_a_desk_first = pytest.mark.parametrize(
    "page",
    [pytest.param(DESK, id="desk"), pytest.param(TELEPHONE, id="telephone", marks=pytest.mark.slow)],
    indirect=True,
)


@pytest.fixture(params=[DESK, TELEPHONE], ids=["desk", "telephone"])
def page(request, browser, address):
    width, height, theme = request.param
    with opened(browser, f"{address}/?__theme={theme}", width, height, accept_downloads=True) as page:
        expect(page.get_by_role("heading", name="retinamatch", exact=True)).to_be_visible(timeout=PATIENCE)
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        expect(page.locator("#tabs .tab-container").first).to_be_visible(timeout=PATIENCE)
        page.wait_for_timeout(500)  # the tabs that do not fit go into the menu
        dark = page.evaluate("document.body.classList.contains('dark')")
        assert dark == (theme == "dark")
        yield page
        assert page.outside == [], "the page asks other computers"


def hand_in(page, place, path):
    page.locator(f"{place} input[type=file]").set_input_files(str(path))
    # Shown again when the server has taken the metadata off: then the address is that of the clean copy.
    shown = page.locator(f"{place} img").first
    expect(shown).to_have_attribute("src", re.compile("/results/"), timeout=PATIENCE)


def open_tab(page, bar, name):
    """Choose a tab; on a narrow page it may lie in the menu behind the dots."""
    tab = page.locator(bar).get_by_role("tab", name=name, exact=True)
    if not (tab.count() and tab.first.is_visible()):
        page.locator(f"{bar} .overflow-menu > button").first.click()
        tab = page.locator(f"{bar} .overflow-dropdown button", has_text=name)
    tab.first.click()


def download_all(page, place, folder):
    files = {}
    expect(page.locator(f"{place} .label-clear-button:visible")).to_have_count(0)
    for name in page.locator(f"{place} .filename").all():
        assert name.evaluate("one => one.scrollWidth <= one.clientWidth + 1"), name.inner_text()
    for link in page.locator(f"{place} a[download]").all():
        with page.expect_download(timeout=PATIENCE) as waiting:
            link.click()
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        files[path.name] = path
    return files


def is_loaded(image):
    return image.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")


def in_view(page, place):
    """Whether something is seen, with its upper 100 pixels at least, without scrolling."""
    return page.locator(place).evaluate(
        "one => { const box = one.getBoundingClientRect();"
        " return box.top >= -1 && box.top + Math.min(100, box.height) <= innerHeight && box.height > 0; }"
    )


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@on_a_desk_first
def test_pair_from_upload_to_downloads(page, tmp_path, monkeypatch):
    assert in_view(page, "#register") and not page.locator("#stop").is_visible()
    hand_in(page, "#moving", EXAMPLES / "visit_3.jpg")
    hand_in(page, "#fixed", EXAMPLES / "visit_1.jpg")
    page.locator("#register").click()
    expect(page.locator("#stop")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#answer")).to_contain_text("Well aligned: visit_3.jpg onto visit_1.jpg", timeout=PATIENCE)
    expect(page.locator("#stop")).not_to_be_visible(timeout=PATIENCE)
    assert in_view(page, "#answer") and in_view(page, "#views .rm-stage")
    figure = page.locator("#answer .rm-figure", has_text="matches agree")
    figure.focus()
    assert "found in both" in figure.evaluate("one => getComputedStyle(one, '::after').content")

    stage = page.locator("#views .rm-stage")
    for name in VIEWS:
        tab = page.locator("#views").get_by_role("tab", name=name, exact=True)
        assert tab.evaluate("tab => tab.scrollWidth <= tab.clientWidth"), f"{name} does not fit into its button"
        tab.click()
        images = page.locator("#views .rm-view:visible img")
        assert images.count() and all(is_loaded(image) for image in images.all()), name
        assert all((image.get_attribute("alt") or "").strip() for image in images.all()), name
        stage.focus()
        page.keyboard.press("+")
        assert stage.evaluate("stage => stage.classList.contains('rm-zoomed')"), name
        page.keyboard.press("0")
        assert fits(page), name
    drag_and_zoom_the_overlay(page)

    page.locator("#views").get_by_role("tab", name="Flicker").click()
    hold, which = page.locator("#views .rm-still"), page.locator("#views .rm-frame")
    hold.check()
    seen = page.locator("#views .rm-view:visible .rm-seen")
    which.fill("0")
    expect(seen).to_have_text("Fixed: visit_1.jpg")
    which.focus()
    page.keyboard.press("ArrowRight")
    expect(seen).to_have_text("Moving, aligned: visit_3.jpg")
    hold.uncheck()
    expect(seen).to_have_text("Fixed: visit_1.jpg", timeout=PATIENCE)

    files = download_all(page, "#downloads", tmp_path)
    stem = "visit_3_onto_visit_1"
    assert set(files) == {f"{stem}.png", f"{stem}_matches.csv", f"{stem}_transform.json", f"{stem}.zip"}
    assert Image.open(files[f"{stem}.png"]).size == (1000, 1000)
    assert len(list(csv.DictReader(files[f"{stem}_matches.csv"].open()))) > 50
    assert json.loads(files[f"{stem}_transform.json"].read_text())["status"] == "registered"
    assert zipfile.ZipFile(files[f"{stem}.zip"]).testzip() is None

    asked = []
    monkeypatch.setattr(models, "run_network", lambda *given: asked.append(given))
    page.locator("#more > button").click()
    page.locator("#transform input").click()
    page.get_by_role("option", name="homography").click()
    expect(page.locator("#answer")).to_contain_text("homography", timeout=PATIENCE)
    # A threshold that changes while an estimate still runs can be lost in gradio's "always_last": let the clock vanish.
    expect(page.locator("#answer")).not_to_contain_text(re.compile(r"\d\.\ds\b"), timeout=PATIENCE)
    page.locator("#distance input[type=number]").fill("1.5")
    page.keyboard.press("Tab")
    expect(page.locator("#answer")).to_contain_text("measured with the default thresholds", timeout=PATIENCE)
    assert asked == []
    assert fits(page)

    # Another photograph: nothing of the former pair stays.
    page.locator("#moving").get_by_role("button", name="Remove Image").click()
    nothing_left(page, "#answer", "#views", "#numbers", "#downloads")


def drag_and_zoom_the_overlay(page):
    page.locator("#views").get_by_role("tab", name="Overlay").click()
    stage = page.locator("#views .rm-stage")
    stage.scroll_into_view_if_needed()
    viewer, box = page.locator("rm-viewer:visible"), stage.bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    cut = "viewer => parseFloat(viewer.style.getPropertyValue('--cut') || '50')"
    page.mouse.move(middle, height)
    page.mouse.down()
    page.mouse.move(middle + 60, height, steps=3)
    page.mouse.up()
    assert viewer.evaluate(cut) > 55
    page.locator("#views .rm-cut").focus()
    page.keyboard.press("Home")
    assert viewer.evaluate(cut) == 0
    page.locator("#views").get_by_role("button", name="Zoom in").click()
    page.locator("#views").get_by_role("button", name="Zoom in").click()
    boxes = page.locator("#views .rm-view:visible img").evaluate_all(
        "images => images.map(image => JSON.stringify(image.getBoundingClientRect()))"
    )
    assert len(boxes) == 2 and boxes[0] == boxes[1]  # both move together
    assert json.loads(boxes[0])["width"] > 2 * min(box["width"], box["height"])
    page.mouse.move(middle, height)
    page.mouse.down()
    page.mouse.move(middle - 50, height, steps=3)
    page.mouse.up()
    moved = page.locator("#views .rm-view:visible img").first.bounding_box()
    assert moved["x"] < json.loads(boxes[0])["x"] - 40
    page.locator("#views").get_by_role("tab", name="Checkerboard").click()
    other = page.locator("#views .rm-view:visible img").first.bounding_box()
    assert abs(other["x"] - moved["x"]) < 2  # the same spot in another view
    page.locator("#views").get_by_role("button", name="Whole").click()
    page.locator("#views").get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement?.tagName == 'RM-VIEWER'")
    page.locator("#views").get_by_role("button", name="Full screen").click()
    page.wait_for_function("!document.fullscreenElement")


def nothing_left(page, answer, *places):
    """What belonged to the former result has gone: verdict, pictures, downloads."""
    expect(page.locator(answer)).to_contain_text(NOTHING, timeout=PATIENCE)
    for place in places:
        for old in ("img", "a[download]", "td"):
            expect(page.locator(f"{place} {old}")).to_have_count(0)


def test_bad_upload_is_said_and_the_page_goes_on(page, tmp_path):
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7\n" + bytes(500))
    page.locator("#moving input[type=file]").set_input_files(str(tmp_path / "paper.jpg"))
    refused = page.locator("#moving").get_by_text("paper.jpg is a PDF document, not a photograph")
    expect(refused).to_be_visible(timeout=PATIENCE)
    page.locator("#register").click()
    expect(page.locator("#answer")).to_contain_text("The moving photograph is missing", timeout=PATIENCE)


@on_a_desk_first
def test_history_from_an_example(page, tmp_path):
    open_tab(page, "#tabs", "A history")
    page.get_by_role("button", name="three visits and another eye").click()
    expect(page.locator("#visits")).to_contain_text("other_eye", timeout=PATIENCE)
    expect(page.locator("#order li")).to_have_count(4, timeout=PATIENCE)
    expect(page.locator("#order li").last).to_contain_text("4. other_eye.jpg")
    expect(page.locator("#order .rm-fixed")).to_contain_text("1. visit_1.jpg")
    assert all(is_loaded(picture) for picture in page.locator("#order img").all())
    page.locator("#register-all").click()
    answer = page.locator("#history-answer")
    expect(answer).to_contain_text("2 of 3 photographs are registered to visit_1.jpg.", timeout=PATIENCE)
    expect(answer).to_contain_text("Left out: other_eye.jpg")
    assert in_view(page, "#history-answer")
    expect(page.locator("#history-views .rm-stage")).to_be_visible(timeout=PATIENCE)
    frames = page.locator("#history-views .rm-view").first.locator("img")
    assert frames.count() == 3 and all(is_loaded(frame) for frame in frames.all())
    assert page.locator("#visits-table tbody tr").count() == 4
    files = download_all(page, "#history-downloads", tmp_path)
    assert set(files) == {"strip.jpg", "animation.gif", "series.json", "history.zip"}
    assert Image.open(files["animation.gif"]).n_frames == 3 and Image.open(files["strip.jpg"]).width > 1500
    assert zipfile.ZipFile(files["history.zip"]).testzip() is None
    assert fits(page)
    page.get_by_role("button", name="three visits", exact=True).click()
    nothing_left(page, "#history-answer", "#history-views", "#visits-table", "#history-downloads")
    expect(page.locator("#order li")).to_have_count(3, timeout=PATIENCE)
    rows = page.locator("#visits tr")
    rows.nth(0).drag_to(rows.nth(2))
    expect(page.locator("#order li").first).to_contain_text("1. visit_2.jpg", timeout=PATIENCE)


@on_a_desk_first
def test_same_eye_by_keyboard_alone(page):
    open_tab(page, "#tabs", "Same eye?")
    page.get_by_role("button", name="two eyes").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#second img").first).to_be_visible(timeout=PATIENCE)
    page.locator("#compare").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#identity-answer")).to_contain_text("No reliable match", timeout=PATIENCE)
    assert in_view(page, "#identity-answer")
    expect(page.locator("#rule")).to_contain_text("✗ not met")
    expect(page.locator("#error-rates")).to_contain_text("1,125")
    assert fits(page)
    page.get_by_role("button", name="one eye").click()
    nothing_left(page, "#identity-answer", "#rule")


# What the browser asks of the server takes a while to arrive, as over a telephone.
FAR_AWAY = """() => {
  const near = window.fetch;
  window.fetch = async (...asked) => {
    const late = asked[1]?.method === "POST" && !String(asked[0]).includes("/upload");
    if (late) await new Promise((arrived) => setTimeout(arrived, 700));
    return near(...asked);
  };
}"""


@pytest.mark.parametrize(
    ("tab", "example", "shown", "button", "stop", "place", "words"),
    [
        ("Same eye?", "two eyes", "#second img", "#compare", "#stop-compare", "#identity-answer", "No reliable match"),
        pytest.param(
            "A history",
            "three visits and another eye",
            "#order li",
            "#register-all",
            "#stop-all",
            "#history-answer",
            "2 of 3 photographs are registered",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.parametrize("page", [pytest.param(DESK, id="desk")], indirect=True)
def test_what_ends_former_work_does_not_end_what_begins_next(page, tab, example, shown, button, stop, place, words):
    open_tab(page, "#tabs", tab)
    page.evaluate(FAR_AWAY)
    page.get_by_role("button", name=example).click()
    expect(page.locator(shown).first).to_be_visible(timeout=PATIENCE)
    page.locator(button).click()
    page.wait_for_timeout(2500)
    answer = page.locator(place)
    assert "Not done" not in answer.inner_text()
    assert page.locator(stop).is_visible() or words in answer.inner_text()
    expect(answer).to_contain_text(words, timeout=PATIENCE)
    expect(page.locator(stop)).not_to_be_visible(timeout=PATIENCE)


@pytest.mark.parametrize("page", [pytest.param(DESK, id="desk")], indirect=True)
def test_a_request_that_is_not_taken_can_be_made_again(page):
    page.get_by_role("button", name="the second visit").click()
    expect(page.locator("#fixed img").first).to_be_visible(timeout=PATIENCE)
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Queue is full."}))
    page.locator("#register").click()
    expect(page.locator("#answer")).to_contain_text("Not done: the server did not take", timeout=PATIENCE)
    expect(page.locator("#stop")).not_to_be_visible(timeout=10_000)
    page.unroute("**/queue/join*")
    page.errors.clear()  # the status 503
    page.locator("#register").click()
    expect(page.locator("#answer")).to_contain_text("Well aligned", timeout=PATIENCE)


@pytest.mark.parametrize("page", [pytest.param(DESK, id="desk")], indirect=True)
def test_visits_are_registered_when_they_are_ready(page):
    open_tab(page, "#tabs", "A history")
    page.evaluate(FAR_AWAY)
    visits = [str(EXAMPLES / f"visit_{number}.jpg") for number in (1, 2, 3)]
    page.locator("#visits input[type=file]").set_input_files(visits)
    expect(page.locator("#visits")).to_contain_text("visit_3", timeout=PATIENCE)
    page.locator("#register-all").click()
    expect(page.locator("#history-answer")).to_contain_text("2 of 2 photographs are registered", timeout=PATIENCE)


# Every text that is seen with its contrast, where that is below 4.5; every control smaller than 24 pixels.
LOOKS = """() => {
  const parse = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith("color(srgb") ? 255 : 1;
    return [parts[0] * scale, parts[1] * scale, parts[2] * scale, parts[3] ?? 1];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = (one) => {
    const stack = [];
    for (; one; one = one.parentElement) stack.push(parse(getComputedStyle(one).backgroundColor));
    return stack.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = (color) => {
    const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = color.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const seen = (one) => one.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    one.getBoundingClientRect().width > 0 && one.getBoundingClientRect().height > 2;
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
    if (!text || !seen(one) || one.closest("script, style, .rm-stage, .rm-sheet")) continue;
    let opacity = 1;
    for (let up = one; up; up = up.parentElement) opacity *= Number(getComputedStyle(up).opacity);
    const back = behind(one), ink = parse(getComputedStyle(one).color);
    const [high, low] = [light(over([...ink.slice(0, 3), ink[3] * opacity], back)), light(back)].sort((x, y) => y - x);
    if ((high + 0.05) / (low + 0.05) < 4.5) faint.push([text.slice(0, 40), (high + 0.05) / (low + 0.05)]);
  }
  const controls = "button, input:not([type=file]), select, [role=tab], footer a, a[download]";
  const small = [...document.querySelectorAll(controls)].filter(seen).map((one) => [one, one.getBoundingClientRect()])
    .filter(([, box]) => box.width < 24 || box.height < 24).map(([one]) => one.outerHTML.slice(0, 100));
  return [...faint, ...small];
}"""


def test_all_can_be_read_and_hit_in_one_language(browser, address):
    with opened(browser, address, locale="de-DE") as page:
        for theme in ("light", "dark"):
            page.goto(f"{address}/?__theme={theme}", wait_until="domcontentloaded")
            expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
            expect(page.locator("footer")).to_contain_text("Use via API", timeout=PATIENCE)
            page.locator("#more > button").click()
            expect(page.locator("#distance")).to_be_visible()
            for tab in ("Match a pair", "A history", "Same eye?", "About"):
                open_tab(page, "#tabs", tab)
                page.wait_for_timeout(300)  # colors fade
                assert page.evaluate(LOOKS) == [], (theme, tab)


# How many of label and buttons a photograph has, and which of them lie over each other.
COVERED = """(place) => {
  const shown = [...place.querySelectorAll("label, .icon-button, .source-selection button")]
    .map((one) => [one.innerText || one.title || one.ariaLabel, one.getBoundingClientRect()])
    .filter(([, box]) => box.width > 0);
  const over = shown.flatMap(([name, box], number) => shown.slice(0, number)
    .filter(([, other]) => box.left < other.right - 1 && other.left < box.right - 1
      && box.top < other.bottom - 1 && other.top < box.bottom - 1)
    .map(([other]) => [name, other]));
  return [shown.length, over];
}"""


@pytest.mark.parametrize("width", [390, 1400, *(pytest.param(width, marks=pytest.mark.slow) for width in (320, 768))])
def test_neither_label_nor_buttons_of_a_photograph_cover_each_other(browser, address, width):
    with opened(browser, address, width, 844) as page:
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        for tab, example, photographs in (
            ("Match a pair", "the second visit", ("#moving", "#fixed")),
            ("Same eye?", "one eye", ("#first", "#second")),
        ):
            open_tab(page, "#tabs", tab)
            page.get_by_role("button", name=example, exact=True).click()
            for place in map(page.locator, photographs):
                expect(place.locator("img").first).to_be_visible(timeout=PATIENCE)
                # Label, upload, paste, full screen, remove.
                assert place.evaluate(COVERED) == [5, []]
            assert fits(page)


def test_a_shared_link_says_what_this_is(address):
    content = urllib.request.urlopen(address, timeout=30).read().decode()
    shown = dict(re.findall(r'<meta property="og:(\w+)" content="([^"]*)"', content))
    assert shown["title"].startswith("retinamatch") and "one retina" in shown["description"]
    picture = urllib.request.urlopen(f"{address}/{shown['image']}", timeout=30)
    assert picture.headers["content-type"] == "image/jpeg" and 'content="Gradio"' not in content


def test_a_file_that_is_too_large_is_refused_in_its_place(browser, address, tmp_path):
    (tmp_path / "large.jpg").write_bytes(bytes(MOST_BYTES + 100_000))
    with opened(browser, address) as page:
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        page.wait_for_timeout(500)
        page.locator("#fixed input[type=file]").set_input_files(str(tmp_path / "large.jpg"))
        note = page.locator("#fixed .rm-too-large")
        expect(note).to_have_text("large.jpg has 20.1 MB; at most 20 MB are taken.")
        hand_in(page, "#fixed", EXAMPLES / "visit_1.jpg")
        expect(note).to_have_count(0)


def test_places_set_by_hand(browser, address, example_pair):
    moving, fixed = example_pair
    truth = sorted(json.loads((moving.parent / "truth.json").read_text())["points"])
    with opened(browser, address) as page:
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        page.wait_for_timeout(500)
        hand_in(page, "#moving", moving)
        hand_in(page, "#fixed", fixed)
        page.locator("#by-hand > button").first.click()
        pictures = page.locator("rm-points img")
        expect(pictures.nth(1)).to_be_visible(timeout=PATIENCE)
        assert all(is_loaded(picture) for picture in pictures.all())
        page.locator("#register-by-hand").click()
        expect(page.locator("#answer")).to_contain_text("3 to 100 places have to be set", timeout=PATIENCE)
        chosen = [truth[0], truth[len(truth) // 2], max(truth, key=lambda row: row[1])]
        for row in chosen:
            for number, picture in enumerate(pictures.all()):
                scale = picture.evaluate("image => image.clientWidth / image.naturalWidth")
                picture.click(position={"x": (row[2 * number] + 0.5) * scale, "y": (row[2 * number + 1] + 0.5) * scale})
        expect(page.locator("rm-points output")).to_contain_text("3 places are set in both.")
        clicked = json.loads(page.evaluate("rmPoints()"))
        assert all(abs(a - b) < 6 for row, true in zip(clicked, chosen) for a, b in zip(row, true))
        page.locator("#register-by-hand").click()
        expect(page.locator("#answer")).to_contain_text("started from 3 places set by hand", timeout=PATIENCE)
        assert in_view(page, "#answer")
        hand_in(page, "#fixed", EXAMPLES / "visit_1.jpg")
        expect(page.locator("rm-points output")).to_contain_text("0 places")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, words", [("angiogram", "reversed contrast"), ("upside_down", "turned by 1[78]. degrees")]
)
def test_unusual_photographs_are_registered_and_the_answer_says_what_was_done(page, tmp_path, name, words):
    photograph = np.asarray(Image.open(EXAMPLES / "visit_2.jpg").convert("RGB"))
    reverse = np.where(photograph.max(-1) > 20, 255 - photograph[..., 1], 0).astype(np.uint8)
    picture = reverse if name == "angiogram" else np.ascontiguousarray(photograph[::-1, ::-1])
    Image.fromarray(picture).save(tmp_path / f"{name}.png")
    hand_in(page, "#moving", tmp_path / f"{name}.png")
    hand_in(page, "#fixed", EXAMPLES / "visit_1.jpg")
    page.locator("#register").click()
    answer = page.locator("#answer")
    expect(answer).to_contain_text(f"aligned: {name}.png onto visit_1.jpg", timeout=PATIENCE)
    expect(answer).to_contain_text(re.compile(words))
    assert in_view(page, "#answer") and fits(page)


def test_a_request_that_is_not_taken_is_said_in_the_place_of_the_answer(browser, address):
    with opened(browser, address) as page:
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "The queue is full."}))
        page.locator("#register").click()
        expect(page.locator("#answer")).to_contain_text("Not done: the server did not take", timeout=PATIENCE)
        page.errors.clear()


def test_a_server_that_is_away_is_said_to_who_presses_a_button(browser, address):
    with opened(browser, address) as page:
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        page.wait_for_function("server !== null")
        page.route("**/gradio_api/**", lambda route: route.abort())
        page.locator("#register").click()
        expect(page.locator("#rm-banner")).to_contain_text("The server cannot be reached", timeout=10_000)
        page.errors.clear()


def test_a_server_started_anew_is_said_and_nothing_shown_is_taken_away(browser, address):
    with opened(browser, address) as page:
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        page.wait_for_function("server !== null")
        page.evaluate("server = 1; lookForServer()")
        banner = page.locator("#rm-banner")
        expect(banner).to_contain_text("The server was started anew")
        page.evaluate("document.querySelector('#answer .rm-answer').className = 'rm-answer rm-registered'")
        page.reload()
        expect(banner).to_contain_text("The last answer was: Nothing yet", timeout=PATIENCE)


def test_work_that_is_stopped_makes_room_for_the_next(browser, address, monkeypatch):
    release = threading.Event()
    find = models.SpaceExtractor.find
    with opened(browser, address) as page:
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        page.get_by_role("button", name="the second visit").click()
        expect(page.locator("#fixed img").first).to_be_visible(timeout=PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(models.SpaceExtractor, "find", lambda self, photos: release.wait(60) and find(self, photos))
            page.locator("#register").click()
            expect(page.locator("#answer")).to_contain_text("finding keypoints of visit_2.jpg", timeout=PATIENCE)
            page.locator("#stop").click()
            expect(page.locator("#answer")).to_contain_text("Stopped. Nothing was kept.", timeout=PATIENCE)
            release.set()
        # Until the step at work has ended, gradio takes the button for pressed.
        for _ in range(60):
            page.locator("#register").click()
            page.wait_for_timeout(1000)
            if "Well aligned" in page.locator("#answer").inner_text():
                break
        expect(page.locator("#answer")).to_contain_text("Well aligned", timeout=PATIENCE)


def test_everything_that_can_be_set_has_a_name_and_is_reached_by_tab(browser, address):
    with opened(browser, address) as page:
        expect(page.locator("#register")).to_be_visible(timeout=PATIENCE)
        page.locator("#more > button").click()
        expect(page.locator("#distance")).to_be_visible()
        nameless = page.evaluate(
            """[...document.querySelectorAll('input:not([type=file]), select, textarea, button')]
            .filter(one => one.offsetParent !== null)
            .filter(one => !(one.getAttribute('aria-label') || one.getAttribute('title') || one.innerText.trim()
                || one.labels?.length || one.getAttribute('aria-labelledby')))
            .map(one => one.outerHTML.slice(0, 200))"""
        )
        assert nameless == []
        reached = set()
        page.locator("body").focus()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.closest('[id]')?.id"))
        assert {"register", "more"} <= reached


def test_real_photographs(browser, address, data_root):
    person = data_root / "registration" / "ridb_dev" / "P01"
    if not person.is_dir():
        pytest.skip("needs two photographs of one eye: RETINAMATCH_DATA has no registration/ridb_dev")
    fixed, moving = sorted(path for path in person.iterdir() if path.suffix.lower() in (".jpg", ".png"))[:2]
    with opened(browser, address) as page:
        hand_in(page, "#moving", moving)
        hand_in(page, "#fixed", fixed)
        page.locator("#register").click()
        expect(page.locator("#answer")).to_contain_text("Well aligned", timeout=PATIENCE)
