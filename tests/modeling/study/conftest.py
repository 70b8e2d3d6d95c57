"""A small study on disk: two eyes, a photograph of another eye among them, and a file that is no photograph."""

import cv2
import numpy as np
import pytest
from PIL import Image

from retinamatch.study import Settings
from retinamatch.study.work import begin, work_on


def in_this_process(units, settings, work=work_on):
    """The engine of the tests: the same work, without starting a process."""
    begin(settings)
    for unit in units:
        yield from work(unit, lambda function, *arguments: function(*arguments))


@pytest.fixture(scope="session")
def settings():
    return Settings("rootsift", "quadratic", "fast")


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory, visits, other_eye):
    """`a/right_N.png` is one eye, sharpest at visit 2; at visit 10 it is another eye; visit 11 is broken."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    fixed, moving = visits.fixed.image, visits.moving.image
    small = cv2.resize(fixed, (400, 400), interpolation=cv2.INTER_AREA)
    for name, picture in {
        "a/right_1": cv2.GaussianBlur(moving, (0, 0), 2.0),
        "a/right_2": fixed,
        "a/right_10": other_eye,
        "b/OS_2020-01-31": other_eye,
        "b/OS_2020-03-01": cv2.flip(cv2.flip(other_eye, 0), 1)[:, 12:],
    }.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    Image.fromarray(small).save(folder / "b" / "note.txt.png")
    (folder / "a" / "right_11.png").write_bytes(b"no picture")
    Image.fromarray((visits.fixed.vessels > 0.5).astype(np.uint8) * 9).save(folder / "a" / "right_2_mask.tif")
    (folder / "a" / "right_2.csv").write_text("x,y,word\n250,260,disc\n")
    return folder
