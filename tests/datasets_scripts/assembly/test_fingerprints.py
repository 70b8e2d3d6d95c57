"""The same photograph is found under another name, size, format, crop and border; another photograph is not."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets_scripts.assembly.fingerprints import THRESHOLD, find_duplicates, fingerprint, fingerprint_file, without
from datasets_scripts.sources import PhotographFile, find_source, locate


def shrink(photo, side):
    scale = side / max(photo.shape[:2])
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def compress(photo, quality):
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def crop(photo):
    height, width = photo.shape[:2]
    return photo[height // 40 : -height // 30, width // 25 : -width // 50]


DISGUISES = {
    "smaller": lambda photo: shrink(photo, 300),
    "larger": lambda photo: cv2.resize(photo, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC),
    "jpeg 40": lambda photo: compress(photo, 40),
    "cropped": crop,
    "border": lambda photo: cv2.copyMakeBorder(photo, 20, 90, 5, 140, cv2.BORDER_CONSTANT),
    "stretched": lambda photo: cv2.resize(photo, (600, 380), interpolation=cv2.INTER_AREA),
    "brighter": lambda photo: (255 * (photo / 255) ** 0.7).astype(np.uint8),
    "all at once": lambda photo: compress(shrink(crop(photo), 350), 50),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_disguised_photograph_is_found(visits, other_eye, disguise):
    hidden = [fingerprint(other_eye), fingerprint(DISGUISES[disguise](visits.fixed.image))]
    assert find_duplicates([fingerprint(visits.fixed.image)], hidden) == [(0, 1)]


def test_other_photographs_are_not_taken_for_duplicates(visits, other_eye, something_else):
    others = [visits.fixed.image, visits.moving.image, other_eye, visits.fixed.image[:, ::-1], something_else]
    assert find_duplicates([fingerprint(image) for image in others]) == []


def test_pairs_within_one_list_and_between_two(visits, other_eye):
    one, two = fingerprint(visits.fixed.image), fingerprint(other_eye)
    assert find_duplicates([one, two, one, two]) == [(0, 2), (1, 3)]
    assert find_duplicates([two, one], np.stack([one, one])) == [(1, 0), (1, 1)]
    assert find_duplicates([one], []) == [] and find_duplicates([], [one]) == [] and find_duplicates([]) == []


def test_pictures_that_show_nothing_are_nobodys_duplicates():
    black, gray = (fingerprint(np.full((200, 300, 3), level, np.uint8)) for level in (0, 127))
    assert np.isfinite(black).all() and np.isfinite(gray).all()
    assert find_duplicates([black, black, gray, gray]) == []


def test_one_is_found_among_a_thousand(rng):
    many = rng.standard_normal((1000, fingerprint(np.zeros((100, 100, 3), np.uint8)).size)).astype(np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True) / np.sqrt(2)
    assert find_duplicates(many[500:501], many, threshold=0.5) == [(0, 500)]


def test_photographs_that_hide_under_other_names_are_dropped(visits, other_eye, tmp_path):
    pictures = {"12.png": shrink(visits.fixed.image, 400), "13.png": other_eye, "P01_1.jpg": visits.fixed.image}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / name, quality=90)
    photographs = [PhotographFile(path=tmp_path / name, patient=name) for name in ("12.png", "13.png")]
    kept, dropped = without(photographs, [tmp_path / "P01_1.jpg"])
    assert (kept, dropped) == ([photographs[1]], [photographs[0]])
    assert without(photographs, []) == (photographs, [])
    assert without([], [tmp_path / "P01_1.jpg"]) == ([], [])


@pytest.fixture(scope="module")
def real(data_root):
    """Fingerprints of all real photographs with a vessel map, of FIRE and of RIDB: paths and rows."""
    folders = locate(data_root)
    found = {}
    for name in ("hrf", "chase_db1", "les_av", "fire", "ridb"):
        if name not in folders:
            pytest.skip(f"needs {name}")
        photographs = find_source(name).photographs(folders[name])
        if name == "ridb":  # half of the people, to save time: those whose eyes moved least
            photographs = [one for one in photographs if one.patient in ("P04", "P05", "P06", "P09", "P10")]
        found[name] = photographs, np.stack([fingerprint_file(one.path) for one in photographs])
    return found


def test_no_two_real_photographs_of_different_people_are_duplicates(real):
    assert find_duplicates(np.concatenate([real[name][1] for name in ("hrf", "chase_db1", "les_av")])) == []
    training = np.concatenate([real[name][1] for name in ("hrf", "chase_db1", "les_av", "ridb")])
    assert find_duplicates(training, real["fire"][1]) == []


def test_photographs_of_one_person_are_told_apart_unless_the_eye_did_not_move(real):
    photographs, rows = real["ridb"]
    pairs = find_duplicates(rows)
    # Of 50 pairs of captures of one eye, one is taken for a duplicate: P09's captures 3 and 4 look the same by eye too.
    assert [(photographs[first].name, photographs[second].name) for first, second in pairs] == [
        ("IM000003_9", "IM000004_9")
    ]


def test_two_photographs_of_a_fire_pair_are_told_apart(real):
    photographs, rows = real["fire"]
    for first, second in find_duplicates(rows):
        # FIRE uses some photographs in several pairs: P04_1 is P05_1, pixel for pixel.
        assert photographs[first].patient != photographs[second].patient


def test_photographs_of_fire_are_found_again(real):
    photographs, rows = (values[::2] for values in real["fire"])  # one of every pair, to save time
    disguised = []
    for one in photographs:
        with Image.open(one.path) as image:
            image.draft("RGB", (768, 768))
            disguised.append(fingerprint(compress(np.asarray(image.resize((768, 768), Image.BILINEAR)), 60)))
    assert {(index, index) for index in range(len(rows))} <= set(find_duplicates(rows, disguised, THRESHOLD + 0.03))
