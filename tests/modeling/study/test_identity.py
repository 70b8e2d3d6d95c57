"""Photographs filed under another eye than theirs are found, and none are invented."""

import csv

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets_scripts.rendering.eye import draw_eye
from datasets_scripts.rendering.fundus import render
from retinamatch.study import StudyError, run_study
from retinamatch.study.identity import know_eyes
from retinamatch.study.table import Photograph
from tests.modeling.study.conftest import in_this_process


pytest.importorskip("pyarrow")
EYES = ("a,right", "a,left", "b,right")


@pytest.fixture(scope="module")
def history(tmp_path_factory, other_eye):
    """Three eyes with three visits each, `EYE_VISIT.png`."""
    folder = tmp_path_factory.mktemp("history")
    rng = np.random.default_rng(0)
    eyes = [other_eye, *(render(draw_eye(seed), 512).image for seed in (11, 12))]
    for number, eye in enumerate(eyes):
        for visit in range(3):
            turned = cv2.getRotationMatrix2D((256, 256), float(rng.uniform(-8, 8)), float(rng.uniform(0.95, 1.05)))
            picture = cv2.warpAffine(eye, turned, (512, 512)) + rng.normal(0, 3, eye.shape)
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number}_{visit}.png")
    return folder


def write(folder, exchanged, path):
    """The table of the study with the files of some photographs exchanged."""
    lines = []
    for number, whose in enumerate(EYES):
        for visit in range(3):
            file = exchanged.get((number, visit), (number, visit))
            lines.append(f"{folder / '{}_{}.png'.format(*file)},{whose},{visit},{number}:{visit}")
    path.write_text("path,patient,eye,visit,name\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "exchanged",
    [
        {},
        {(0, 2): (1, 1), (1, 1): (0, 2)},  # left and right
        {(0, 0): (2, 2), (2, 2): (0, 0)},  # the first visit of one patient, and another's
    ],
)
def test_exchanged_photographs_are_found(history, settings, tmp_path, exchanged):
    table = write(history, exchanged, tmp_path / "t.csv")
    study = run_study(table, tmp_path / "out", settings, engine=in_this_process, check_identity=True, thumbnails=0)
    found = {one.photograph.name: one.other.whose for one in study.mix_ups}
    assert found == {"{}:{}".format(*place): tuple(EYES[file[0]].split(",")) for place, file in exchanged.items()}
    assert (tmp_path / "out" / "identity.csv").exists() == bool(exchanged)
    if exchanged:
        rows = list(csv.DictReader((tmp_path / "out" / "identity.csv").open()))
        assert {row["photograph"] for row in rows} == set(found) and all(row["why_not"] for row in rows)
        assert "Match another eye than their own: 2" in (tmp_path / "out" / "report.html").read_text()


def test_an_eye_is_known_once(tmp_path):
    asked = []

    def call(function, photograph, place):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"keypoints")
        asked.append(photograph.name)

    (tmp_path / "a.png").write_bytes(b"one photograph")
    photographs = [Photograph(tmp_path / f"{name}.png", name) for name in ("a", "missing")]
    for times, content in ((1, None), (1, None), (2, b"written anew")):
        if content:
            photographs[0].path.write_bytes(content)
        assert [one.name for one, _ in know_eyes((photographs, tmp_path / "eyes"), call)] == ["a"]
        assert asked == ["a"] * times


def test_a_table_of_pairs_has_no_eyes(history, settings, tmp_path):
    (tmp_path / "t.csv").write_text(f"moving,fixed\n{history / '0_0.png'},{history / '0_1.png'}\n")
    with pytest.raises(StudyError, match="patient and eye"):
        run_study(tmp_path / "t.csv", tmp_path / "out", settings, engine=in_this_process, check_identity=True)
