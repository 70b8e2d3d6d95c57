"""Keypoints that are kept: found once, the same ever after."""

import cv2
import numpy as np
import pytest

from retinamatch.engines import find_extractor
from retinamatch.extractor import DEFAULT_MODEL
from retinamatch.keypoint_cache import CachedExtractor
from retinamatch.registrar import Registrar


class Counting:
    """An extractor that counts what it is asked."""

    def __init__(self, extractor, fingerprint=""):
        self.extractor, self.asked = extractor, 0
        self.ratio, self.temperature = extractor.ratio, extractor.temperature
        self.fingerprint = fingerprint or extractor.fingerprint

    def find(self, photographs):
        self.asked += len(photographs)
        return self.extractor.find(photographs)


@pytest.mark.parametrize("model", ["rootsift", DEFAULT_MODEL])
def test_found_once_and_the_same_ever_after(model, visits, tmp_path):
    counting = Counting(find_extractor(model))
    registrar = Registrar(counting, "quadratic", effort="fast", cache=tmp_path)
    photographs = [visits.moving.image, visits.fixed.image]
    first, again = registrar.keypoints(photographs), registrar.keypoints(photographs[::-1])[::-1]
    assert counting.asked == 2 and len(list(tmp_path.glob("*/*.npz"))) == 2
    for one, other in zip(first, again):
        assert np.array_equal(one.points, other.points) and np.array_equal(one.descriptors, other.descriptors)
        assert one.size == other.size and one.center == other.center and one.problem == other.problem
        if model == DEFAULT_MODEL:
            assert np.array_equal(one.describe(one.points[:5]), other.describe(other.points[:5]))
            assert np.array_equal(one.picture.values, other.picture.values)
    kept = registrar.register_keypoints(*again)
    plain = Registrar(counting.extractor, "quadratic", effort="fast").register(*photographs)
    assert kept and np.abs(kept.transform(plain.moving_points) - plain.transform(plain.moving_points)).mean() < 0.5


def test_known_by_pixels_and_extractor(visits, tmp_path):
    one, other = (CachedExtractor(Counting(find_extractor("rootsift"), name), tmp_path) for name in ("a", "b"))
    changed = visits.fixed.image.copy()
    changed[100, 100] ^= 1
    places = {extractor.place(photo) for extractor in (one, other) for photo in (visits.fixed.image, changed)}
    assert len(places) == 4 and one.place(visits.fixed.image.copy()) in places


def test_a_damaged_file_is_found_anew(visits, tmp_path):
    counting = Counting(find_extractor("rootsift"))
    cached = CachedExtractor(counting, tmp_path)
    cached.find([visits.fixed.image])
    place = cached.place(visits.fixed.image)
    place.write_bytes(place.read_bytes()[:1000])
    assert len(cached.find([visits.fixed.image])[0]) > 100 and counting.asked == 2


def test_the_weights_tell_models_apart():
    names = (DEFAULT_MODEL, "swin-retina", "rootsift")
    assert len({find_extractor(name).fingerprint for name in names}) == 3


def test_an_extractor_without_a_fingerprint_is_refused(tmp_path):
    class Mine:
        ratio, temperature = 0.9, 0.07

    with pytest.raises(ValueError, match="fingerprint"):
        Registrar(Mine(), cache=tmp_path)


def test_the_shape_of_the_field_is_kept(visits, tmp_path):
    registrar = Registrar("rootsift", cache=tmp_path)
    photographs = [
        cv2.resize(visits.moving.image, (512, 410), interpolation=cv2.INTER_AREA),
        np.ascontiguousarray(visits.moving.image[:, :280]),
    ]
    found, again = registrar.keypoints(photographs), registrar.keypoints(photographs)
    assert found[0].stretch is not None and found[1].camera is not None
    assert [(one.center, one.camera, one.stretch) for one in found] == [
        (one.center, one.camera, one.stretch) for one in again
    ]
