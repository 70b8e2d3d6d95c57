import functools
import json
from dataclasses import replace

import numpy as np
import pytest

from retinamatch.estimation import EstimationSettings, decision, estimate
from retinamatch.estimation.estimator import (
    _displace,
    _eye_through,
    _look_closer,
    _Prior,
    _remaining_error,
    _rest_on,
    _reweighted,
    _settled,
    _standard_error,
)
from retinamatch.estimation.eye_model import EyeModel
from retinamatch.estimation.hypotheses import hypothesis_from_points
from retinamatch.evaluation.conditions import AnnotatedPair, distorted
from retinamatch.keypoint_set import Keypoints
from retinamatch.matching import match_keypoints
from retinamatch.registrar import Registrar
from retinamatch.rootsift import rootsift_keypoints
from retinamatch.transforms import TRANSFORMS, Homography, Quadratic, Similarity
from tests.helpers.keypoint_sets import keypoints


TURN = EyeModel(angle=0.05, shift=(0.7, -0.3), magnification=1.02)
SIZE = 768


def keypoint_set(points, descriptors, size=(SIZE, SIZE), scale=1.0, center=None):
    descriptors = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    scores = np.ones(len(points), np.float32)
    return Keypoints(np.asarray(points, float), descriptors.astype(np.float32), scores, size, scale, center)


def in_field(rng, number):
    angle, radius = rng.uniform(0, 2 * np.pi, number), 370 * np.sqrt(rng.uniform(0, 1, number))
    return 383.5 + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def visits(rng, truth, number=700, noise=0.7, blur=0.5, keep=None):
    """Keypoints of two photographs of one eye: what lies in both is found in both seven times out of ten."""
    points, descriptors = in_field(rng, number), rng.normal(size=(number, 64))
    mapped = truth(points)
    shared = (np.linalg.norm(mapped - 383.5, axis=1) < 370) & (rng.random(number) < 0.7)
    if keep is not None:
        shared &= keep(points)
    seen = mapped[shared] + rng.normal(0, noise, (shared.sum(), 2))
    seen_descriptors = descriptors[shared] + blur * rng.normal(size=(shared.sum(), 64))
    others = number - len(seen)
    moving = keypoint_set(points, descriptors)
    fixed = keypoint_set(
        np.vstack([seen, in_field(rng, others)]), np.vstack([seen_descriptors, rng.normal(size=(others, 64))])
    )
    return moving, fixed


def turned(points, model=TURN):
    return model((points - 383.5) / 384) * 384 + 383.5


def overlap_grid(truth):
    steps = np.linspace(20, 748, 30)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return grid[(np.linalg.norm(grid - 383.5, axis=1) < 370) & (np.linalg.norm(truth(grid) - 383.5, axis=1) < 370)]


def error(found, truth):
    grid = overlap_grid(truth)
    return np.linalg.norm(found.transform(grid) - truth(grid), axis=1)


def run(moving, fixed, transform="auto", **settings):
    settings = replace(EstimationSettings(), **settings)
    return estimate(moving, fixed, *match_keypoints(moving, fixed, 0.9), transform, settings)


@pytest.fixture
def pair(rng):
    return visits(rng, turned)


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_every_class_is_estimated(pair, kind):
    found = run(*pair, kind)
    assert found.accepted and found.reason == ""
    assert found.transform.name == kind
    # What one class cannot follow of the turn differs much: 12 pixels for a plane, next to nothing for a polynomial.
    limit = {"similarity": 25, "affine": 12, "homography": 10, "quadratic": 1.5, "cubic": 1.0}[kind]
    assert error(found, turned).mean() < limit
    right = (
        np.linalg.norm(turned(pair[0].points[found.matches[:, 0]]) - pair[1].points[found.matches[:, 1]], axis=1) < 3
    )
    assert right[found.inliers].mean() > 0.97 and found.inliers[right].mean() > 0.9
    assert found.inliers.sum() > 150
    assert len(found.matches) == len(found.scores) == len(found.inliers)


def test_auto_follows_the_curve(pair):
    found = run(*pair)
    assert found.transform.name in ("quadratic", "cubic")
    assert error(found, turned).mean() < 1.0
    assert 0.3 < found.residual < 2.0
    assert found.evidence["start"] == "rotation of the eye"
    assert found.evidence["held_out"]["quadratic"] < found.evidence["held_out"]["homography"] / 2


def test_auto_does_not_bend_what_is_straight(rng):
    straight = Similarity([[0.99, -0.1, 30], [0.1, 0.99, -20], [0, 0, 1]])
    found = run(*visits(rng, straight, number=150))
    assert found.accepted
    assert error(found, straight).max() < 2.0


def test_overlap(rng):
    moving, fixed = visits(rng, turned)
    grid = overlap_grid(turned)
    share = len(grid) / len(overlap_grid(lambda points: points))
    assert abs(run(moving, fixed).overlap - share) < 0.06
    assert run(moving, moving).overlap > 0.97


@pytest.mark.parametrize("kind", ["auto", "quadratic", "cubic"])
def test_where_no_keypoint_lies(rng, kind):
    """Matches in a small part of the overlap alone: what is known of eyes carries the transform through the rest."""
    moving, fixed = visits(
        rng, turned, number=1500, keep=lambda points: np.linalg.norm(points - (250, 450), axis=1) < 110
    )
    found = run(moving, fixed, kind)
    assert found.accepted
    assert error(found, turned).max() < 8
    everywhere = np.array([(-500.0, -500.0), (1300.0, -500.0), (1300.0, 1300.0), (-500.0, 1300.0)])
    assert np.linalg.norm(found.transform(everywhere) - turned(everywhere), axis=1).max() < 450


@pytest.mark.parametrize("part", [0.7, 0.5, 0.4])
@pytest.mark.parametrize("shift", [(0.1, 0.2), (-0.4, 0.3)])
def test_beyond_a_narrow_field(rng, part, shift):
    """The moving camera shows a part of what the fixed one shows: the transform goes on through the fixed field."""
    model = EyeModel(0.1, shift, part)

    def narrow(points):
        return turned(points, model)

    points, descriptors = in_field(rng, 700), rng.normal(size=(700, 64))
    seen = narrow(points) + rng.normal(0, 0.7, points.shape)
    middle, camera = tuple(narrow(np.full((1, 2), 383.5))[0]), (383.5, 383.5, 384.0)
    fixed = keypoint_set(seen, descriptors + 0.5 * rng.normal(size=(700, 64)), scale=part, center=middle)
    found = run(keypoint_set(points, descriptors), replace(fixed, camera=camera))
    assert found.accepted
    grid = 383.5 + 1000 * (np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, 40)]), -1).reshape(-1, 2))
    grid = grid[np.linalg.norm(narrow(grid) - 383.5, axis=1) < 384]
    assert np.linalg.norm(found.transform(grid) - narrow(grid), axis=1).max() < 20
    assert np.linalg.norm(found.transform(grid) - narrow(grid), axis=1).mean() < 3


def test_a_picture_with_itself(pair):
    for kind in ("auto", *TRANSFORMS):
        found = run(pair[0], pair[0], kind)
        assert found.accepted
        assert np.abs(found.transform(pair[0].points) - pair[0].points).max() < 0.1


def test_photographs_of_any_size(rng):
    """Another size, another scale and a field of view that is not in the middle change nothing but the pixels."""
    moving, fixed = visits(rng, turned)
    expected = run(moving, fixed, "quadratic")

    def place(points):
        return points * 3.7 + [250, 90]

    large = replace(
        fixed, points=place(fixed.points), size=(3100, 3600), scale=3.7, center=tuple(place(np.full(2, 383.5)))
    )
    found = run(moving, large, "quadratic")
    assert found.accepted
    assert np.abs(found.transform(moving.points) - place(expected.transform(moving.points))).max() < 1.0
    assert abs(found.residual / 3.7 - expected.residual) < 0.1


def test_mostly_false_matches(rng):
    moving, fixed = visits(rng, turned, number=900, blur=1.3)
    matches, scores = match_keypoints(moving, fixed, 0.9)
    wrong = np.column_stack([rng.permutation(900), rng.permutation(900)])[: 4 * len(matches)]
    matches, scores = np.vstack([matches, wrong]), np.concatenate([scores, np.ones(len(wrong), np.float32)])
    found = estimate(moving, fixed, matches, scores, "quadratic")
    assert found.accepted
    assert error(found, turned).mean() < 2.0


def test_what_is_no_eye_starts_from_a_homography(rng):
    sheared = Homography([[1.0, 0.25, -60], [-0.1, 0.85, 70], [1e-4, -2e-4, 1]])
    found = run(*visits(rng, sheared), "homography")
    assert found.accepted
    assert found.evidence["start"] == "homography"
    assert error(found, sheared).mean() < 0.5


def test_deterministic(pair):
    first, second = run(*pair), run(*pair)
    assert first.transform.to_dict() == second.transform.to_dict()
    assert np.array_equal(first.matches, second.matches)


def test_evidence_is_ready_for_json(pair):
    written = json.loads(json.dumps(run(*pair).evidence, allow_nan=False))
    assert written["excess"] > 10 and written["inliers"] > written["chance"]
    assert 0.8 < written["smallest_scale"] < 1 < written["largest_scale"] < 1.3


@pytest.mark.parametrize("seed", range(5))
def test_different_eyes(seed):
    rng = np.random.default_rng(seed)
    moving, fixed = (keypoint_set(in_field(rng, 800), rng.normal(size=(800, 16))) for _ in range(2))
    found = run(moving, fixed)
    assert not found.accepted
    assert found.reason and not found.reason.endswith(".") and "\n" not in found.reason


def test_mirrored(rng):
    def mirror(points):
        return [767, 0] + points * [-1, 1]

    found = run(*visits(rng, mirror))
    assert not found.accepted


def test_hardly_any_keypoints(rng):
    full = keypoint_set(in_field(rng, 100), rng.normal(size=(100, 16)))
    for number in (0, 1, 3, 5):
        few = keypoint_set(full.points[:number], full.descriptors[:number].astype(float).reshape(number, 16) + 0.0)
        found = run(few, full)
        assert not found.accepted and f"moving photograph shows only {number} keypoints" in found.reason
        assert found.transform is None and np.isnan(found.residual) and found.inliers.shape == (len(found.matches),)
        assert "fixed photograph" in run(full, few).reason


def test_hardly_any_matches(rng):
    full = keypoint_set(in_field(rng, 100), rng.normal(size=(100, 16)))
    for number in (0, 2, 5):
        matches = np.column_stack([np.arange(number)] * 2)
        found = estimate(full, full, matches, np.ones(number))
        assert not found.accepted and f"only {number} keypoints look alike" in found.reason


def test_all_matches_at_one_place(rng):
    points = np.full((40, 2), 300.0)
    same = keypoint_set(points, rng.normal(size=(40, 16)))
    found = run(same, same)
    assert not found.accepted and found.reason


def test_unknown_transform(pair):
    with pytest.raises(ValueError, match="'spline'.*similarity, affine"):
        run(*pair, "spline")


def with_pictures(visits):
    return tuple(rootsift_keypoints(one.image) for one in (visits.moving, visits.fixed))


@pytest.fixture(scope="module")
def network_keypoints(visits):
    return Registrar().keypoints([visits.moving.image, visits.fixed.image])


def test_photographs_are_looked_at_before_a_pair_is_rejected(visits):
    moving, fixed = with_pictures(visits)
    strict = {"minimum_agreeing": 10**6}
    blind = run(replace(moving, picture=None), fixed, **strict)
    assert not blind.accepted and blind.agreement is None and blind.evidence["alike"] is None
    seen = run(moving, fixed, **strict)
    assert (
        seen.accepted and seen.evidence["alike"] > 0.8 and np.isfinite(seen.agreement).sum() == seen.evidence["cells"]
    )
    points, truth = visits.shared_keypoints()
    assert np.linalg.norm(seen.transform(points) - truth, axis=1).mean() < 1.5


def test_other_eye_is_rejected_by_both_kinds_of_evidence(visits, other_eye):
    fixed, other = with_pictures(visits)[1], rootsift_keypoints(other_eye)
    lax = {"minimum_agreeing": 0, "minimum_share": 0.0, "minimum_excess": -100.0, "minimum_span": 0.0}
    for settings in ({}, lax):
        assert not run(other, fixed, **settings).accepted


def test_precision_is_in_pixels_of_the_fixed_photograph(visits):
    found = run(*with_pictures(visits))
    assert 0 < found.evidence["precision"] < 3 and not found.rough
    rough = run(*with_pictures(visits), roughly=0.001)
    assert rough.accepted and rough.rough and str(rough).startswith("registered roughly")


@pytest.mark.parametrize("noise", [1.0, 2.0])
@pytest.mark.parametrize(
    "number, keep",
    [
        (250, lambda points: points[:, 0] < 400),
        (120, lambda points: points[:, 0] < 300),
        (150, lambda points: np.linalg.norm(points - 383.5, axis=1) < 150),
    ],
    ids=["half", "third", "middle"],
)
def test_precision_tells_the_error_where_matches_hold_a_part_of_the_field(number, keep, noise):
    """What lies beyond them rests on prior points, and these on the matches."""
    ratios = []
    for seed in range(6):
        pair = visits(np.random.default_rng(seed), turned, number, noise, keep=keep)
        found = run(*pair, "quadratic")
        if found.accepted:
            ratios.append(np.sqrt((error(found, turned) ** 2).mean()) / found.evidence["precision"])
    assert len(ratios) >= 5 and 0.5 < np.median(ratios) < 3 and max(ratios) < 6


def test_where_keypoints_are_too_few_the_precision_does_not_rest_on_their_scatter_alone(visits):
    pair = with_pictures(visits)
    enough, few = run(*pair), run(*pair, minimum_agreeing=10**6)
    assert enough.accepted and few.accepted
    assert few.evidence["precision"] > 3 * enough.evidence["precision"]


def test_what_is_known_too_poorly_is_refused_only_where_keypoints_are_too_few(visits):
    pair = with_pictures(visits)
    few = {"minimum_agreeing": 10**6}
    assert run(*pair, **few).accepted and run(*pair, useless=1e-3).accepted
    refused = run(*pair, **few, useless=1e-3)
    assert not refused.accepted and not refused.rough and refused.transform is None
    assert "the transform is known to about" in refused.reason and refused.evidence["precision"] > 0


@pytest.mark.parametrize("enough", [True, False], ids=["enough", "few"])
@pytest.mark.parametrize("shift", [(9.0, 0.0), (0.0, -9.0), (-6.0, 7.0)])
def test_a_transform_beyond_the_windows_of_the_refinement_is_brought_back(visits, network_keypoints, shift, enough):
    moving, fixed = network_keypoints
    points, truth = visits.shared_keypoints()
    settings = EstimationSettings()
    off = _Prior(points, truth + np.multiply(shift, fixed.scale), settings.prior_weight)
    placed = np.hstack([off.moving, off.fixed])
    base = hypothesis_from_points(moving, fixed, placed)
    agreed = _displace(_rest_on(placed, off), off)
    errors = []
    for own in (settings, replace(settings, wide_reaches=settings.refine_reaches)):
        fine, _, agreement = _look_closer(agreed, base, off, moving, fixed, enough, own)
        assert agreement is not None
        errors.append(np.linalg.norm(fine.transform(points) - truth, axis=1).mean() / fixed.scale)
    assert errors[0] < 1.5 and errors[0] <= errors[1] + 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("noise", [0.3, 1.0, 1.8])
def test_beyond_poor_matches_the_transform_goes_as_an_eye_does(visits, network_keypoints, noise, seed):
    """Matches of half of the field, worse and worse: prior points that follow them tell the other half better."""
    moving, fixed = network_keypoints
    points, truth = visits.shared_keypoints()
    rng, settings = np.random.default_rng(seed), EstimationSettings()
    near = points[:, 0] < np.median(points[:, 0])
    base = hypothesis_from_points(moving, fixed, np.hstack([points, truth])[near])
    found = truth[near] + rng.normal(0, noise * fixed.scale, truth[near].shape)
    prior = _Prior(points, base(points) + 8 * fixed.scale, settings.refined_prior_weight)  # off, as a first one is
    agreed = _rest_on(np.hstack([points[near], found]), prior)

    def refit(agreed, prior):
        fitted = _reweighted(agreed.moving, agreed.fixed, agreed.transform, prior, fixed, settings)
        return replace(agreed, **dict(zip(("weights", "inliers", "transform"), fitted)))

    loose = refit(_displace(agreed, _Prior(points, truth, 1.0)), prior)
    eye = _eye_through(base, loose, fixed, settings)
    settled = _settled(prior, eye, settings)
    fine = refit(loose, settled)
    errors = [np.linalg.norm(f.transform(points) - truth, axis=1)[~near].mean() / fixed.scale for f in (loose, fine)]
    assert errors[1] < 0.6 * errors[0]
    assert settled.weight == settings.refined_prior_weight * (eye.noise / settings.noise[0]) ** 2


@pytest.mark.parametrize("squeeze", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("noise", [0.3, 1.8])
def test_prior_points_weigh_less_where_no_eye_goes_with_the_matches(rng, noise, squeeze):
    """As where pixels are not square in a field of which the shape is cut off."""

    def truth(points):
        return turned(points) * [1 - squeeze, 1]

    settings, (moving, fixed) = EstimationSettings(), visits(rng, turned)
    points = in_field(rng, 400)
    base = hypothesis_from_points(moving, fixed, np.hstack([points, turned(points)]))
    matches = np.hstack([points, truth(points) + rng.normal(0, noise, points.shape)])
    agreed = replace(_rest_on(matches, _Prior(points, truth(points), 1.0)), transform=truth)
    eye = _eye_through(base, agreed, fixed, settings)
    full = settings.refined_prior_weight * (eye.noise / settings.noise[0]) ** 2
    weight = _settled(_Prior(points, points, 1.0), eye, settings).weight
    if squeeze == 0:
        assert weight == full
    else:
        assert weight == pytest.approx(full * (settings.trusted_misfit / eye.misfit) ** 2)
        assert weight < {0.03: 0.3, 0.1: 0.03}[squeeze] * full


@pytest.mark.parametrize("number", [12, 20, 60])
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_few_poor_matches_of_an_eye_do_not_lose_their_prior_by_chance(number, noise):
    settings, weights = EstimationSettings(), []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        moving, fixed = visits(rng, turned)
        points = in_field(rng, number)
        places = np.hstack([points, turned(points) + rng.normal(0, noise, points.shape)])
        base = hypothesis_from_points(moving, fixed, places)
        agreed = _rest_on(places, _Prior(points, turned(points), 1.0))
        agreed = replace(agreed, transform=Quadratic.fit(agreed.moving, agreed.fixed))
        eye = _eye_through(base, agreed, fixed, settings)
        full = settings.refined_prior_weight * (eye.noise / settings.noise[0]) ** 2
        weights.append(_settled(_Prior(points, points, 1.0), eye, settings).weight / full)
    assert np.median(weights) == 1


@pytest.mark.parametrize("spread, known", [(1.0, True), (0.0, False)])
def test_matches_of_one_block_tell_no_precision(rng, spread, known):
    """The jackknife would leave the same transform out of nothing."""
    settings, (moving, fixed) = EstimationSettings(), visits(rng, turned)
    points = in_field(rng, 60)
    base = hypothesis_from_points(moving, fixed, np.hstack([points, turned(points)]))
    chosen = 383.5 + spread * (points - 383.5) + rng.uniform(0, 1e-3, points.shape)
    chosen = chosen if known else np.repeat(chosen[:1], 60, axis=0)
    prior = _Prior(points, turned(points), 8.0)
    agreed = _rest_on(np.hstack([chosen, turned(chosen)]), prior)
    error = _standard_error(Quadratic, agreed, base, prior, points, fixed, settings)
    assert np.isfinite(error) == known


def test_where_nothing_is_found_no_precision_is_known(visits, network_keypoints):
    moving, fixed = network_keypoints
    points, truth = visits.shared_keypoints()
    settings = replace(EstimationSettings(), minimum_similarity=1.1)
    agreed = _rest_on(np.hstack([points, truth]), _Prior(points, truth, 8.0))
    assert _remaining_error(agreed, points, moving, fixed, settings) == float("inf")
    assert _remaining_error(agreed, points, moving, fixed, EstimationSettings()) < 5


@pytest.mark.parametrize("transform", ["auto", "similarity", "cubic"])
def test_residual_and_shape_are_of_the_transform_that_is_given(network_keypoints, transform):
    moving, fixed = network_keypoints
    found = run(moving, fixed, transform)
    p, q = moving.points[found.matches[:, 0]], fixed.points[found.matches[:, 1]]
    distance = np.linalg.norm(found.transform(p) - q, axis=1)[found.inliers]
    assert found.residual == pytest.approx(np.median(distance))
    _, overlap = decision.overlap_grid(moving, fixed, found.transform)
    assert found.overlap == found.evidence["overlap"] == overlap


@pytest.fixture(scope="module")
def through_a_lens(visits, network_keypoints):
    """The moving visit seen through a lens: its places, those of the fixed one, and the keypoints of both."""
    points, truth = visits.shared_keypoints()
    plain = AnnotatedPair("lens", visits.moving.image, visits.fixed.image, points, truth)
    registrars = {"network": Registrar(), "rootsift": Registrar("rootsift")}
    fixed = {"network": network_keypoints[1], "rootsift": rootsift_keypoints(visits.fixed.image)}

    @functools.cache
    def look(model, strength):
        pair = distorted(plain, strength)
        return pair.moving_points, truth, registrars[model].keypoints([pair.moving])[0], fixed[model]

    return look


@pytest.mark.parametrize(
    "model, strength", [("network", -0.15), ("network", -0.05), ("network", 0.1), ("rootsift", -0.15)]
)
def test_a_lens_that_distorts_is_followed(through_a_lens, model, strength):
    """Toward the rim matches lie beyond what is looked for around a quadratic transform."""
    points, truth, moving, fixed = through_a_lens(model, strength)
    found, before = run(moving, fixed), run(moving, fixed, distorted=0.0, clearly_distorted=0.0)
    assert found.accepted and found.transform.name == "cubic"

    def off(one):
        return np.linalg.norm(one.transform(points) - truth, axis=1).mean()

    assert off(found) < 1.5 and off(found) < off(before) + 0.1
    if strength == -0.15:
        assert off(before) > 3 * off(found)
        assert found.inliers.sum() > before.inliers.sum()
    assert off(found) < 3 * found.evidence["precision"] + 1


@pytest.mark.parametrize("transform", ["similarity", "homography", "quadratic"])
def test_what_a_class_cannot_follow_counts_in_its_precision(through_a_lens, transform):
    points, truth, moving, fixed = through_a_lens("network", -0.15)
    found, best = run(moving, fixed, transform), run(moving, fixed)
    assert found.accepted and found.transform.name == transform
    off = np.linalg.norm(found.transform(points) - truth, axis=1)
    assert 0.4 < np.sqrt((off**2).mean()) / found.evidence["precision"] < 2.5
    assert found.evidence["precision"] > 3 * best.evidence["precision"]


@pytest.mark.parametrize("seed", range(2))
def test_without_a_lens_nothing_is_looked_for_again(seed):
    pair = visits(np.random.default_rng(seed), turned)
    plain = run(*pair)
    again = run(*pair, distorted=0.0, clearly_distorted=0.0)
    assert np.array_equal(plain.matches, again.matches)
    assert np.allclose(plain.transform(pair[0].points), again.transform(pair[0].points))


class TestSlivers:
    """What agrees may lie anywhere: an estimate is an answer, never an error."""

    SHAPES = {
        "line": lambda t: np.stack([t, np.zeros_like(t)], -1),
        "two lines": lambda t: np.stack([t, np.sign(np.sin(37 * t)) / 9], -1),
        "circle": lambda t: np.stack([np.cos(3 * t), np.sin(3 * t)], -1),
        "place": lambda t: 1e-3 * np.stack([np.sin(9 * t), np.cos(31 * t)], -1),
        "strip": lambda t: np.stack([t, 0.02 * np.sin(57 * t)], -1),
    }

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("transform", ["auto", *TRANSFORMS])
    @pytest.mark.parametrize("shift", [(0.0, 0.0), (700.0, 300.0), (-860.0, 0.0)])
    def test_nothing_is_raised(self, shape, transform, shift):
        rng = np.random.default_rng(3)
        points = 500 + 400 * self.SHAPES[shape](np.linspace(-1, 1, 60))
        descriptors = rng.normal(size=(60, 16))
        pair = keypoints(points, descriptors), keypoints(points + shift, descriptors)
        found = estimate(*pair, np.stack([np.arange(60)] * 2, -1), np.ones(60), transform)
        assert found.accepted or found.reason
