import csv
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from retinamatch.estimation import EstimationSettings
from retinamatch.estimation.decision import Evidence, reason_to_reject, too_rough
from retinamatch.registrar import Registrar
from retinamatch.transforms import Transform


pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")

from gradio_client import handle_file
from gradio_client.exceptions import AppError

from retinamatch.extractor import ROOTSIFT
from space.files.uploads import named
from space.service import models, session
from space.service.pace import Pace
from space.service.session import Memory, Pair, SessionError
from space.ui import text
from space.ui.order import cleaned_visits, order_html
from space.ui.parts import EXAMPLES
from space.ui.text import identity_rule
from tests.helpers.space_server import client, serving


@pytest.fixture(scope="module")
def address():
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, visits, other_eye):
    folder = tmp_path_factory.mktemp("photographs")
    for name, photo in (("moving", visits.moving.image), ("fixed", visits.fixed.image), ("other", other_eye)):
        Image.fromarray(photo).save(folder / f"{name}.png")
    return {path.stem: handle_file(str(path)) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def visitor(address, example_pair):
    """A visitor who has registered the example pair with the default model, and what came back."""
    visitor = client(address)
    visitor.answer = visitor.predict(*(handle_file(str(path)) for path in example_pair), api_name="/register")
    return visitor


@pytest.mark.parametrize(
    "turn, views, words",
    [
        (-4.0, "", ""),
        (-178.6, "", "given turned by 179 degrees."),
        (3.0, "moving photograph with reversed contrast", "another view: moving photograph with reversed contrast."),
        (91.0, "moving photograph turned by 90 degrees", "another view: moving photograph turned by 90 degrees."),
    ],
)
def test_what_was_unusual_about_a_pair_is_said(turn, views, words):
    said = text.seen_in_words(SimpleNamespace(turn=turn, views_in_words=views))
    assert said.endswith(words) and said.count("turned") == words.count("turned") and bool(said) == bool(words)


def test_registered_pair_comes_back_with_all_files(visitor, example_pair):
    answer, figures, aligned, matches, record, drawn, archive = visitor.answer
    fixed = Image.open(example_pair[1])
    assert answer.startswith("Registered. ") and "seconds of work" in answer
    assert figures["status"] == "registered" and figures["default_thresholds"]
    assert {"read", "keypoints", "match", "estimate", "warp"} <= figures["seconds"].keys()
    assert Image.open(aligned).size == fixed.size and Image.open(aligned).format == "PNG"
    rows = list(csv.DictReader(io.StringIO(Path(matches).read_text())))
    assert len(rows) == figures["matches"] and sum(row["inlier"] == "1" for row in rows) == figures["inliers"] > 50
    truth = np.array(json.loads((example_pair[0].parent / "truth.json").read_text())["points"])
    transform = Transform.from_dict(json.loads(Path(record).read_text())["transform"])
    assert np.median(np.linalg.norm(transform(truth[:, :2]) - truth[:, 2:], axis=1)) < 2
    assert Image.open(drawn).width > fixed.width
    with zipfile.ZipFile(archive) as files:
        assert files.testzip() is None
        assert set(files.namelist()) >= {
            "moving_onto_fixed.png",
            *(
                f"moving_onto_fixed_{name}"
                for name in (
                    *("matches.csv", "transform.json", "matches.jpg", "flicker.gif", "agreement.jpg"),
                    *("checkerboard.jpg", "difference.jpg", "overlay.jpg", "heatmaps.jpg"),
                )
            ),
        }
        animation = Image.open(files.open("moving_onto_fixed_flicker.gif"))
        assert animation.n_frames == 2


@pytest.fixture
def broken_network(monkeypatch):
    """From now on the network fails, and how often it was asked to run."""
    asked = []

    def fail(*arguments):
        asked.append(arguments)
        raise RuntimeError("secret details of the server")

    monkeypatch.setattr(models, "run_network", fail)
    return asked


def test_other_thresholds_and_transforms_do_not_run_the_network(visitor, broken_network):
    figures = visitor.answer[1]
    answer, homography, *_ = visitor.predict("homography", api_name="/reestimate")
    assert homography["transform"] == "homography" and "homography" in answer
    assert homography["keypoints_moving"] == figures["keypoints_moving"]
    answer, strict, *_ = visitor.predict("quadratic", 0.5, 0.8, 1.5, api_name="/reestimate")
    assert strict["keypoints_moving"] < figures["keypoints_moving"] and strict["matches"] < figures["matches"]
    assert not strict["default_thresholds"] and text.NOT_MEASURED in answer
    assert broken_network == []


def test_network_failing_once_leaves_the_next_request_unharmed(address, broken_network, example_pair, monkeypatch):
    pair = [handle_file(str(path)) for path in example_pair]
    with pytest.raises(AppError, match=r"^The work failed on our side \(RuntimeError\); nothing was kept\."):
        client(address).predict(*pair, api_name="/register")
    assert len(broken_network) == 1
    monkeypatch.undo()
    assert client(address).predict(*pair, api_name="/register")[1]["status"] == "registered"


def test_pairs_of_other_visitors_cannot_be_estimated(address, visitor):
    with pytest.raises(AppError, match="^There is no registered pair yet; press Register first.$"):
        client(address).predict("homography", api_name="/reestimate")


def test_no_reliable_match_says_why_and_gives_nothing_to_use(address, photographs):
    visitor = client(address)
    answer, figures, aligned, matches, record, drawn, _ = visitor.predict(
        photographs["other"], photographs["fixed"], ROOTSIFT, api_name="/register"
    )
    assert answer.startswith("No reliable match: ") and figures["inliers"] == 0
    assert aligned is None and "transform" not in json.loads(Path(record).read_text())
    assert all(line.endswith(",0") for line in Path(matches).read_text().splitlines()[1:])
    assert Image.open(drawn).width > 0


def test_history_names_what_failed(address, photographs, tmp_path):
    damaged = tmp_path / "visit_4.jpg"
    damaged.write_bytes((EXAMPLES / "visit_1.jpg").read_bytes()[:20_000])
    history = [photographs[name] for name in ("moving", "fixed", "other")]
    visitor = client(address)
    answer, figures, strip, animation, archive = visitor.predict(
        [*history, handle_file(str(damaged))], 2, ROOTSIFT, "quadratic", api_name="/series"
    )
    assert answer.startswith("1 of 3 photographs are registered to fixed.png. Left out: other.png, ")
    assert "visit_4.jpg, visit_4.jpg is truncated or damaged" in answer and "/tmp" not in json.dumps(figures)
    statuses = [visit["status"] for visit in figures["visits"]]
    assert statuses == ["registered", "fixed", "no reliable match", "not read"]
    assert Image.open(strip).width > 1500 and Image.open(animation).n_frames == 2
    with zipfile.ZipFile(archive) as files:
        assert {"01_moving_aligned.png", "02_fixed_aligned.png", "strip.jpg", "animation.gif", "series.json"} == set(
            files.namelist()
        )


def test_same_eye_tells_the_rule(address, photographs):
    visitor = client(address)
    answer, figures = visitor.predict(photographs["moving"], photographs["fixed"], ROOTSIFT, api_name="/same_eye")
    assert answer.startswith("Same eye") and figures["same_eye"] and all(one["met"] for one in figures["rule"])
    answer, figures = visitor.predict(photographs["other"], photographs["fixed"], ROOTSIFT, api_name="/same_eye")
    assert answer.startswith("No reliable match") and "does not prove" in answer and not figures["same_eye"]
    assert [one["at_least"] for one in figures["rule"]] == ["10", "12%", "3.0", "45%", "yes", "yes", "yes"]
    assert not all(one["met"] for one in figures["rule"])


@pytest.mark.parametrize(
    "changed, wrong",
    [
        ({}, None),
        ({"agreeing": 3, "alike": 0.2}, "agree on one transform"),
        ({"share": 0.05, "alike": 0.2}, "share among the matches"),
        ({"alike": 0.2}, "look alike"),
        ({"plane_error": 1.0, "alike_in_hue": 0.1, "like_vessels": False}, "fixed to the picture"),
        ({"folded": True}, "neither mirrors nor folds"),
        ({"stretch": 3.0}, "neither mirrors nor folds"),
        ({"agreeing": 3, "precision": 1e4}, "known well enough"),
    ],
)
def test_the_rule_names_what_speaks_against_a_pair(visits, changed, wrong):
    """Whatever a pair is refused for, the first condition after those that others make up for says so."""
    registrar = Registrar(ROOTSIFT, effort="fast")
    found = registrar.register(visits.moving.image, visits.fixed.image, "quadratic")
    evidence = Evidence.from_dict({**found.evidence, **changed})
    settings = EstimationSettings()
    reason = reason_to_reject(evidence, settings) or too_rough(evidence, found.fixed_keypoints, settings)
    assert bool(reason) == (wrong is not None)
    judged = replace(found.estimate, accepted=not reason, reason=reason, evidence=evidence.to_dict())
    rule = identity_rule(SimpleNamespace(registration=replace(found, estimate=judged)))
    if wrong is None:
        assert all(one["met"] for one in rule)
        return
    against = [one["condition"] for one in rule if not one["met"] and one["found"] != "not looked at"]
    assert any(wrong in condition for condition in against)
    if "agreeing" not in changed and "share" not in changed:
        assert len(against) == 1


def test_endpoints_are_named_and_documented(address):
    described = client(address).view_api(return_format="dict")
    assert described["unnamed_endpoints"] == {}
    assert set(described["named_endpoints"]) == {"/register", "/reestimate", "/series", "/same_eye", "/models"}
    for name, endpoint in described["named_endpoints"].items():
        assert endpoint["returns"], name
        assert all(parameter["label"] for parameter in endpoint["parameters"])
    assert client(address).predict(api_name="/models") == models.model_names()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"transform": "spline"}, "spline"),
        ({"model": "superglue"}, "superglue"),
        ({"moving": None}, "The moving photograph is missing; two are needed."),
    ],
)
def test_wrong_arguments_come_back_as_sentences(address, photographs, arguments, words):
    given = {"moving": photographs["moving"], "fixed": photographs["fixed"], "model": ROOTSIFT, **arguments}
    with pytest.raises(AppError, match=words):
        client(address).predict(**given, api_name="/register")


def test_tools_for_agents(address, photographs):
    pytest.importorskip("mcp", reason="needs mcp: pip install -e '.[space]'")
    import asyncio
    import base64

    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    def as_url(photograph):
        content = Path(photograph["path"]).read_bytes() + bytes(3_000_000)  # as large as photographs are
        return "data:image/png;base64," + base64.b64encode(content).decode()

    async def use():
        async with streamablehttp_client(f"{address}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as tools:
                await tools.initialize()
                listed = {tool.name.rsplit("_api_", 1)[-1]: tool for tool in (await tools.list_tools()).tools}
                name = next(name for name in listed if name.endswith("same_eye"))
                given = {"first": as_url(photographs["moving"]), "second": as_url(photographs["fixed"])}
                return listed, await tools.call_tool(listed[name].name, {**given, "model": ROOTSIFT})

    listed, result = asyncio.run(use())
    assert any("same_eye" in name for name in listed) and any("series" in name for name in listed)
    tool = next(tool for name, tool in listed.items() if name.endswith("same_eye"))
    assert "same eye" in tool.description and tool.inputSchema["properties"]["first"]["description"]
    assert not result.isError and "Same eye" in str(result.content)


def test_models_are_loaded_once(monkeypatch):
    loaded = []
    monkeypatch.setattr(Registrar, "__init__", lambda self, *given, **named: loaded.append(given))
    models.registrar.cache_clear()
    try:
        for _ in range(3):
            models.load_all()
        assert len(loaded) == len(models.model_names())
    finally:
        models.registrar.cache_clear()


def test_zero_gpu_is_not_needed():
    assert models.gpu(len)("four") == 4
    assert models.gpu(duration=30)(len)("four") == 4


def test_memory_is_bounded_and_forgets():
    now = [0.0]
    memory = Memory(capacity=2, lifetime=60, clock=lambda: now[0])
    pair = Pair(None, None, None, None, "model")
    first, second = memory.keep(pair), memory.keep(pair)
    third = memory.keep(pair)
    assert len(memory) == 2
    with pytest.raises(SessionError, match="no longer remembered"):
        memory.get(first)
    fourth = memory.keep(pair, instead_of=third)  # a visitor's next pair takes the place of the former one
    assert memory.get(second) is pair and memory.get(fourth) is pair
    now[0] = 61
    with pytest.raises(SessionError):
        memory.get(second)
    assert len(memory) == 0
    assert session.MEMORY.capacity <= 32


def test_visits_are_shown_in_order_with_the_days_they_were_taken(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2021:03:04 05:06:07"
    Image.open(EXAMPLES / "visit_1.jpg").save(tmp_path / "first.jpg", exif=exif)
    Image.open(EXAMPLES / "visit_2.jpg").save(tmp_path / "eye_2023-11-30.jpg")
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7")
    paths, known = cleaned_visits([named(str(path)) for path in sorted(tmp_path.iterdir(), reverse=True)], None)
    assert known.refused == ["paper.jpg is a PDF document, not a photograph; JPEG, PNG, TIFF, WebP and BMP are taken."]
    assert b"2021:03:04" not in Path(paths[0]).read_bytes()
    again, known_again = cleaned_visits([named(path) for path in paths], known)  # one more was added: all come again
    shown = order_html([named(path) for path in reversed(again)], known_again, 2)
    assert re.findall(r"/?>(\d\. [^<]+)<br>([\d-]+)(<br>fixed)?", shown) == [
        ("1. eye_2023-11-30.jpg", "2023-11-30", ""),
        ("2. first.jpg", "2021-03-04", "<br>fixed"),
    ]
    assert shown.count("data:image/jpeg;base64,") == 2 and "paper" not in shown
    assert "paper.jpg is a PDF" in order_html([], known, 1)


def test_pace_is_the_median_of_the_last_pairs():
    pace = Pace(remembered=3)
    assert "a few seconds" in pace.words()
    for seconds in (100, 2, 3, 4):
        pace.note(seconds)
    assert "about 3 seconds" in pace.words()
