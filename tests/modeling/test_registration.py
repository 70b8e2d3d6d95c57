import copy
import functools
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from retinamatch import extractor as extractor_module
from retinamatch.configuration_lk_superretina import LKSuperRetinaConfig
from retinamatch.estimation import EstimationSettings
from retinamatch.extractor import DEFAULT_MODEL, RootSiftExtractor, UnknownNameError, known_models
from retinamatch.image_processing_retina import RetinaImageProcessor
from retinamatch.modeling_lk_superretina import LKSuperRetinaForKeypointDetection
from retinamatch.photographs import PhotographError
from retinamatch.registrar import Registrar, finish, register
from retinamatch.registration import FailedRegistration
from retinamatch.rootsift import rootsift_keypoints
from retinamatch.torch_extractor import ModelExtractor
from retinamatch.transforms import TRANSFORMS, Transform


@functools.lru_cache
def make_registrar(model):
    """A registrar, the model loaded once for all tests; other views have their own tests."""
    return Registrar(model, effort="fast")


@pytest.fixture(scope="module")
def registrar():
    return make_registrar("rootsift")


@pytest.fixture(scope="module")
def registered(registrar, visits):
    return registrar.register(visits.moving.image, visits.fixed.image)


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    """Folder of an untrained model: it finds keypoints, of no use but in exact places."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("untrained")
    config = LKSuperRetinaConfig.small(encoder_widths=(4, 4, 8, 8), max_keypoints=200)
    LKSuperRetinaForKeypointDetection(config).save_pretrained(folder)
    RetinaImageProcessor(size={"height": 256, "width": 256}).save_pretrained(folder)
    return folder


def test_transform_agrees_with_the_rendered_truth(registered, visits):
    moving, _ = visits.shared_keypoints()
    error = np.linalg.norm(registered.transform(moving) - visits.correspond(moving), axis=1)
    assert registered.registered and registered.reason == ""
    assert np.median(error) < 0.7
    assert np.percentile(error, 90) < 3


def test_fields_describe_the_pair(registered):
    distance = np.linalg.norm(registered.transform(registered.moving_points) - registered.fixed_points, axis=1)
    assert len(registered.matches) == len(registered.match_scores) == len(registered.inliers) == len(distance)
    assert registered.residual == pytest.approx(np.median(distance[registered.inliers]), rel=0.2)
    assert registered.inliers.sum() > 50
    assert 0.4 < registered.overlap <= 1
    assert registered.moving_keypoints.size == registered.fixed_keypoints.size == (512, 512)
    assert {"read", "keypoints", "match", "estimate"} <= registered.timings.keys()


@pytest.mark.parametrize("model", ["rootsift", DEFAULT_MODEL])
def test_same_image_twice_is_the_identity(model, visits):
    found = make_registrar(model).register(visits.fixed.image, visits.fixed.image)
    places = np.array([[80.0, 256], [256, 80], [430, 256], [256, 430], [256, 256]])
    assert found.registered
    assert np.abs(found.transform(places) - places).max() < 0.1


def test_order_of_the_arguments_is_the_direction_of_the_transform(registrar, registered):
    back = registrar.register_keypoints(registered.fixed_keypoints, registered.moving_keypoints)
    points = registered.moving_points[registered.inliers]
    assert np.median(np.linalg.norm(back.transform(registered.transform(points)) - points, axis=1)) < 0.5


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_can_be_asked_for(registrar, registered, name):
    found = registrar.register_keypoints(registered.moving_keypoints, registered.fixed_keypoints, transform=name)
    assert found.registered
    assert found.to_dict()["transform"]["class"] == name


def test_warp_brings_the_moving_photograph_onto_the_fixed_grid(registered, visits):
    aligned = registered.warp(visits.moving.image)
    assert aligned.shape == visits.fixed.image.shape and aligned.dtype == np.uint8
    vessels = registered.transform.warp(visits.moving.vessels, size=visits.fixed.image.shape[:2])
    inside = registered.transform.warp(visits.moving.mask.astype(np.float32), size=(512, 512)) > 0.99
    inside &= visits.fixed.mask
    before = np.corrcoef(visits.moving.vessels[inside], visits.fixed.vessels[inside])[0, 1]
    after = np.corrcoef(vessels[inside], visits.fixed.vessels[inside])[0, 1]
    assert after > 0.85 > 0.5 > before
    assert "warp" in registered.timings


def test_warp_refuses_another_photograph(registered, visits):
    with pytest.raises(ValueError, match="512 x 512 .*500 x 480"):
        registered.warp(visits.moving.image[:480, :500])


def test_dictionary_survives_json(registered):
    evidence = {"errors": {"cubic": np.float64("nan"), "affine": np.float32(2.5)}, "counts": np.arange(2)}
    estimate = replace(registered.estimate, evidence=evidence)
    read = json.loads(json.dumps(replace(registered, estimate=estimate).to_dict(), allow_nan=False))
    assert read["evidence"] == {"errors": {"cubic": None, "affine": 2.5}, "counts": [0, 1]}
    points = registered.moving_points
    assert np.allclose(Transform.from_dict(read["transform"])(points), registered.transform(points))
    assert read["status"] == "registered"
    assert read["inliers"] == registered.inliers.sum()
    assert read["fixed"] == {"height": 512, "width": 512}


@pytest.mark.parametrize("model", ["rootsift", DEFAULT_MODEL])
@pytest.mark.parametrize("case", ["other eye", "mirrored", "black", "uniform", "something else"])
def test_what_cannot_be_registered_says_so(case, model, visits, other_eye, something_else):
    moving = {
        "other eye": other_eye,
        "mirrored": visits.moving.image[:, ::-1],
        "black": np.zeros((300, 400, 3), np.uint8),
        "uniform": np.full((300, 400, 3), 120, np.uint8),
        "something else": something_else,
    }[case]
    found = make_registrar(model).register(moving, visits.fixed.image)
    assert found.status == "no reliable match" and not found.registered
    assert found.transform is None
    assert len(found.reason) > 10
    assert found.to_dict() == {"status": found.status, "reason": found.reason}
    with pytest.raises(ValueError, match="no reliable match"):
        found.warp(moving)


@pytest.mark.parametrize("model", known_models())
def test_every_model_of_the_package_registers_the_example_pair(model, example_pair):
    found = register(*example_pair, model=model)
    assert found.registered
    assert found.inliers.sum() > 50
    truth = np.array(json.loads((example_pair[0].parent / "truth.json").read_text())["points"])
    assert np.linalg.norm(found.transform(truth[:, :2]) - truth[:, 2:], axis=1).mean() < 2


@pytest.mark.parametrize("model", known_models())
def test_no_model_of_the_package_accepts_another_eye(model, visits, other_eye):
    assert not register(other_eye, visits.fixed.image, model=model, effort="fast").registered


def test_model_keypoints_are_pixels_of_the_photograph(random_model, visits):
    photo = visits.fixed.image[31:500, 20:]  # odd sides, off-center
    registrar = Registrar(random_model)
    found = registrar.keypoints([photo])[0]
    inputs = registrar.extractor.processor([photo], return_tensors="pt")
    with torch.no_grad():
        outputs = registrar.extractor.model(**inputs)
    expected = registrar.extractor.processor.post_process_keypoint_detection(outputs, [photo.shape[:2]])[0]
    assert len(found) > 5
    order, wanted = np.lexsort(found.points.T), np.lexsort(expected["keypoints"].numpy().T)  # scores may be equal
    assert np.allclose(found.points[order], expected["keypoints"].numpy()[wanted], atol=1e-3)
    assert np.allclose(found.descriptors[order], expected["descriptors"].numpy()[wanted], atol=1e-5)
    assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    assert found.size == photo.shape[:2]
    # The canvas of 256 pixels shows the field of view, which this photograph cuts.
    frame = inputs["image_frames"][0].numpy()
    assert found.scale == pytest.approx((frame[2] - frame[0]) * photo.shape[1] / 256)
    assert 1.5 < found.scale < 2.1


def test_batch_and_single_photographs_agree(random_model, visits):
    registrar = Registrar(random_model)
    photos = [visits.fixed.image, visits.moving.image[80:, :400], visits.moving.image]
    for alone, together in zip(map(registrar.keypoints, ([photo] for photo in photos)), registrar.keypoints(photos)):
        assert np.allclose(alone[0].points, together.points, atol=1e-2)
        assert np.allclose(alone[0].descriptors, together.descriptors, atol=1e-4)


def test_many_pairs_give_what_single_pairs_give(registrar, registered, visits, other_eye):
    pairs = [
        (visits.moving.image, visits.fixed.image),
        (other_eye, visits.fixed.image),
        (Image.fromarray(visits.moving.image), torch.from_numpy(visits.fixed.image)),
    ]
    found = registrar.register_many(pairs, batch_size=2)
    assert [one.registered for one in found] == [True, False, True]
    points = registered.moving_points
    for one in (found[0], found[2]):
        assert np.allclose(one.transform(points), registered.transform(points))


@pytest.mark.parametrize("place", [0, 1])
def test_a_missing_file_costs_its_own_pair_alone(registrar, visits, tmp_path, place):
    good, broken = (visits.moving.image, visits.fixed.image), [visits.moving.image, visits.fixed.image]
    broken[place] = tmp_path / "missing.jpg"
    outcomes = registrar.register_many([good, broken, broken, good], batch_size=3)
    assert [bool(outcome) for outcome in outcomes] == [True, False, False, True]
    failed = outcomes[1]
    assert isinstance(failed, FailedRegistration) and isinstance(failed.error, PhotographError)
    assert not failed.registered and "missing.jpg does not exist" in failed.reason
    assert failed.to_dict() == {"status": "not read", "reason": failed.reason}
    assert registrar.register_many([broken]) and registrar.register_many([]) == []
    with pytest.raises(PhotographError, match="missing.jpg"):
        registrar.register_many([good, broken], errors="raise")
    with pytest.raises(ValueError, match="'ignore'"):
        registrar.register_many([good], errors="ignore")


@pytest.mark.parametrize(
    "pairs, words",
    [
        (["a.jpg", "b.jpg"], "got str in place of a pair"),
        (["ab"], "got str in place of a pair"),
        ([b"ab", b"cd"], "got bytes in place of a pair"),
        ([{"bytes": b"x", "path": None}] * 2, "got dict in place of a pair"),
        ([Image.new("RGB", (80, 80))] * 2, "got Image in place of a pair"),
        ([Path("a.jpg")], "got .*Path in place of a pair"),
        ([("a.jpg",)], "got tuple of length 1 in place of a pair"),
        ([("a.jpg", "b.jpg"), ["a.jpg", "b.jpg", "c.jpg"]], "got list of length 3 in place of a pair"),
        ([()], "got tuple of length 0"),
        (np.zeros((2, 80, 80, 3), np.uint8), "got ndarray of length 80"),
        ([{"a.jpg", "b.jpg"}], "got set in place of a pair"),
        ([None], "got NoneType in place of a pair"),
        ("ab", "got a single str"),
        ({"a.jpg": "b.jpg"}, "got a single dict"),
        (None, "got a single NoneType"),
        (5, "got a single int"),
    ],
)
@pytest.mark.parametrize("errors", ["return", "raise"])
def test_what_is_no_pair_is_said_before_the_work(registrar, pairs, words, errors):
    with pytest.raises(ValueError, match=f"^`pairs` must be pairs .* of photographs, {words}"):
        registrar.register_many(pairs, errors=errors)


@pytest.mark.parametrize("kind", [list, iter, lambda pairs: np.stack([np.stack(pair) for pair in pairs])])
def test_pairs_come_in_any_iterable(registrar, visits, kind):
    pair = (visits.moving.image, visits.moving.image)
    assert [bool(one) for one in registrar.register_many(kind([pair, pair]), batch_size=np.int64(3))] == [True, True]


@pytest.mark.parametrize("size", [0, -1, -100, 1.5, None, "2"])
def test_a_batch_of_no_size_is_refused(registrar, visits, size):
    for pairs in ([], [(visits.moving.image, visits.fixed.image)]):
        with pytest.raises(ValueError, match=rf"`batch_size` must be a whole number of at least 1, got {size!r}\."):
            registrar.register_many(pairs, batch_size=size)


def test_register_takes_an_extractor(registrar, registered, visits):
    again = register(visits.moving.image, visits.fixed.image, model=registrar.extractor, effort="fast")
    assert again.transform(registered.moving_points) == pytest.approx(registered.transform(registered.moving_points))


@pytest.mark.parametrize("model", [None, 5, ["rootsift"], b"rootsift", object()])
def test_what_is_neither_a_name_nor_an_extractor(model):
    for use in (Registrar, lambda model: register("a.jpg", "b.jpg", model=model)):
        with pytest.raises(UnknownNameError, match=f"or an extractor, not {type(model).__name__}"):
            use(model)


def test_matches_are_one_to_one(registrar, registered):
    matches, scores = registrar.match(registered.moving_keypoints, registered.fixed_keypoints)
    assert len(np.unique(matches[:, 0])) == len(np.unique(matches[:, 1])) == len(matches) == len(scores)
    assert ((scores > 0) & (scores <= 1)).all()


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match="'spline'.*auto, similarity, affine, homography, quadratic, cubic"):
        Registrar("rootsift", transform="spline")
    with pytest.raises(UnknownNameError, match=f"'orb'.*{DEFAULT_MODEL}.*rootsift"):
        Registrar("orb")
    for name in ("no-such-model", "someone/no-such-model", "", "a/b/c"):
        with pytest.raises(UnknownNameError, match=f"{name}.*{DEFAULT_MODEL}"):
            Registrar(name)
    with pytest.raises(UnknownNameError):
        register("a.jpg", "b.jpg", transform="spline")


def test_known_models_begin_with_the_default(tmp_path, monkeypatch):
    for name in ("aaa", DEFAULT_MODEL, "no-config"):
        (tmp_path / name).mkdir()
        if name != "no-config":
            (tmp_path / name / "config.json").touch()
    monkeypatch.setattr(extractor_module, "WEIGHTS", tmp_path)
    assert known_models() == [DEFAULT_MODEL, "aaa"]


def test_unreadable_photographs_are_named(registrar, tmp_path, visits):
    with pytest.raises(PhotographError, match="missing.jpg"):
        registrar.register(tmp_path / "missing.jpg", visits.fixed.image)


def test_real_pair(data_root):
    images = data_root / "registration" / "fire_dev" / "Images"
    control = np.loadtxt(data_root / "registration" / "fire_dev" / "Ground Truth" / "control_points_P01_1_2.txt")
    found = Registrar("rootsift", transform="quadratic").register(images / "P01_2.jpg", images / "P01_1.jpg")
    assert np.linalg.norm(found.transform(control[:, 2:]) - control[:, :2], axis=1).mean() < 5


def test_thresholds_change_the_answer_without_new_keypoints(registrar, registered):
    moving, fixed = registered.moving_keypoints, registered.fixed_keypoints
    strict = registrar.register_keypoints(moving, fixed, "quadratic", ratio=0.7)
    assert len(registrar.match(moving, fixed, 0.7)[0]) < len(registrar.match(moving, fixed)[0])
    assert strict.registered and strict.evidence["given"] < registered.evidence["given"]
    refused = registrar.register_keypoints(moving, fixed, settings=EstimationSettings(minimum_agreeing=10_000))
    assert not refused.registered and "at least 10000 are needed" in refused.reason


def test_a_registration_says_what_it_is_in_one_line(registrar, registered, visits, other_eye):
    refused = registrar.register(other_eye, visits.fixed.image)
    assert registered and not refused
    assert repr(registered).startswith("<Registration registered: ") and " px, overlap " in repr(registered)
    assert repr(refused) == f"<Registration no reliable match: {refused.reason}>"
    for thing in (registered, refused, registered.estimate, registered.moving_keypoints):
        assert "\n" not in repr(thing) and len(repr(thing)) < 200


def test_registrations_are_compared_by_identity(registered):
    same = replace(registered)
    assert registered == registered and registered in [same, registered]
    assert registered != same and registered not in [same] and len({registered, same}) == 2
    assert registered.moving_keypoints != replace(registered.moving_keypoints)


def test_nothing_agrees_with_a_transform_that_is_not_believed(registrar, registered):
    strict = EstimationSettings(minimum_agreeing=10_000)
    refused = registrar.register_keypoints(registered.moving_keypoints, registered.fixed_keypoints, settings=strict)
    assert refused.estimate.inliers.any() and not refused.inliers.any()
    assert refused.estimate.candidate is not None and refused.transform is None


def test_a_registration_travels_and_is_small(visits):
    registrar = make_registrar(DEFAULT_MODEL)
    moving, fixed = registrar.keypoints([visits.moving.image, visits.fixed.image])
    registration = registrar.register_keypoints(moving, fixed)
    assert moving.describe is not None and registration.moving_keypoints.describe is None
    written = pickle.dumps(registration)
    assert len(written) < 600 * (len(moving) + len(fixed)) + 100_000 < len(pickle.dumps(moving))
    for other in (pickle.loads(written), copy.deepcopy(registration)):
        assert other.registered and other != registration
        assert (other.warp(visits.moving.image) == registration.warp(visits.moving.image)).all()


def test_keypoints_travel_with_their_dense_descriptors(visits):
    registrar = make_registrar(DEFAULT_MODEL)
    pair = registrar.keypoints([visits.moving.image, visits.fixed.image])
    here, there = registrar.register_keypoints(*pair), registrar.register_keypoints(*pickle.loads(pickle.dumps(pair)))
    assert there.transform.to_dict() == here.transform.to_dict()
    assert here.evidence["located"] > len(here.matches)


def test_heat_maps_are_kept_on_request(random_model, visits):
    photo = visits.fixed.image[31:500, 20:]
    (plain,), (kept,) = (ModelExtractor(random_model, heatmaps=heatmaps).find([photo]) for heatmaps in (False, True))
    assert plain.heatmap is None and kept.without_maps().heatmap is None
    assert kept.heatmap.shape == (256, 256) and kept.heatmap.dtype == np.float16
    # The strongest keypoints lie on the highest values.
    pixels = (kept.points - kept.middle) / kept.scale + 127.5
    column, row = pixels.round().astype(int).T
    assert np.allclose(kept.heatmap[row, column][:5], kept.scores[:5], atol=0.02)


def test_an_extractor_of_ones_own(visits):
    class Halved(RootSiftExtractor):
        def find(self, photographs):
            return [rootsift_keypoints(photograph, maximum=300) for photograph in photographs]

    registration = Registrar(Halved(), "affine").register(visits.moving.image, visits.fixed.image)
    assert registration.registered and len(registration.fixed_keypoints) == 300


def test_steps_of_a_pair_are_shown_before_they_are_done(registrar, registered, visits, tmp_path):
    Image.fromarray(visits.moving.image).save(tmp_path / "visit.png")
    steps = []
    registration, photographs = finish(registrar.steps(tmp_path / "visit.png", visits.fixed.image), steps.append)
    assert registration.transform.to_dict() == registered.transform.to_dict()
    assert [photograph.shape for photograph in photographs] == [(512, 512, 3)] * 2
    assert [step.name for step in steps] == ["read", "read", "keypoints", "keypoints", "match", "estimate"]
    assert [step.words for step in steps[:2]] == ["reading visit.png", "reading the fixed photograph"]
    fractions = [step.fraction for step in steps]
    assert fractions[0] == 0 and fractions == sorted(set(fractions)) and fractions[-1] < 1
    assert list(registration.timings) == ["read", "keypoints", "match", "estimate"]
    with pytest.raises(UnknownNameError):
        next(registrar.steps(tmp_path / "missing.png", visits.fixed.image, "spline"))


def test_work_can_be_stopped_between_two_steps(registrar, visits, monkeypatch):
    monkeypatch.setattr(registrar.extractor, "find", lambda photographs: pytest.fail("nobody waits any more"))
    steps = registrar.steps(visits.moving.image, visits.fixed.image)
    assert [next(steps).name for _ in range(3)] == ["read", "read", "keypoints"]
    steps.close()


def no_retinas():
    rng = np.random.default_rng(0)
    yield "noise", rng.integers(0, 256, (300, 400, 3)).astype(np.uint8)
    yield "noise", np.repeat(rng.normal(120, 30, (500, 500, 1)).clip(0, 255).astype(np.uint8), 3, 2)
    for side, colors in ((12, (0, 255)), (40, (60, 180))):
        rows, columns = np.indices((400, 480)) // side
        yield "gray levels|pattern", np.where((rows + columns)[..., None] % 2, *colors).repeat(3, 2).astype(np.uint8)
    for height, paper in ((0.4, 255), (0.7, 235)):
        page = np.full((500, 400, 3), paper, np.uint8)
        for line in range(20, 500, int(40 * height)):
            words = "".join(rng.choice(list("abcdefghijkl mnopq"), 80))
            cv2.putText(page, words, (10, line), cv2.FONT_HERSHEY_COMPLEX, height, (20, 20, 25), 1, cv2.LINE_AA)
        yield "gray levels|pattern", page
    yield "uniform", np.full((300, 300, 3), 90, np.uint8)


@pytest.mark.parametrize("words, picture", no_retinas())
@pytest.mark.parametrize("model", ["rootsift", DEFAULT_MODEL])
def test_a_picture_that_shows_no_retina_is_refused_as_that(model, words, picture, visits):
    registrar = make_registrar(model)
    [strange], [known] = registrar.keypoints([picture]), registrar.keypoints([visits.fixed.image])
    for pair, which in (((strange, strange), "moving"), ((strange, known), "moving"), ((known, strange), "fixed")):
        registration = registrar.register_keypoints(*pair)
        assert not registration and not registration.reason.endswith(".")
        assert re.search(f"^the {which} photograph shows no retina: .*({words})", registration.reason)
