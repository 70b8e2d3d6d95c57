"""Photographs that do not match as they were given: the search proposes the right view, and the registrar takes it."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from datasets_scripts.rendering.eye import draw_eye
from datasets_scripts.rendering.fundus import render
from retinamatch import registrar as registrar_module
from retinamatch.cli import app
from retinamatch.extractor import RootSiftExtractor
from retinamatch.keypoint_set import WORKING_SIZE, Keypoints
from retinamatch.normalized_picture import NormalizedPicture
from retinamatch.photograph_views import AS_GIVEN, PhotographViews, View
from retinamatch.registrar import Registrar, UnknownNameError, register
from retinamatch.results import read_points
from retinamatch.transforms import Homography, Inverse
from retinamatch.view_search import ViewSearch, closer_views, vessel_contrast


def turn(photograph, degrees):
    """Turn a photograph about its middle; return it and the matrix (2, 3) from old to new pixels."""
    side = photograph.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(photograph, matrix, (side, side), flags=cv2.INTER_CUBIC), matrix


def middle_part(photograph, share, where):
    """Cut a square out of a photograph, `where` its middle lies in half widths; return it and its corner, (2,)."""
    side, half = photograph.shape[0], share * photograph.shape[0] / 2
    middle = (side - 1) / 2 + np.array(where) * side / 2
    low, high = (middle - half).round().astype(int), (middle + half).round().astype(int)
    return np.ascontiguousarray(photograph[low[1] : high[1], low[0] : high[0]]), low


def reverse(photograph):
    """Show vessels bright, as in an angiogram, on a black surround."""
    inside = photograph.max(2) > 12
    gray = np.where(inside, 230 - photograph[..., 1].astype(int), 0).clip(0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def registrar():
    return Registrar("lk-superretina-small", transform="quadratic")


class TestSearch:
    @pytest.mark.parametrize("degrees", [40, 90, 135, 180, 250, 315])
    def test_finds_the_turn(self, visits, degrees):
        turned, _ = turn(visits.moving.image, degrees)
        turns = [proposal.moving.turn for proposal in ViewSearch(turned, visits.fixed.image).propose()[:2]]
        assert min(abs((t + degrees + 180) % 360 - 180) for t in turns) <= 22.5

    def test_either_photograph_is_proposed_smaller(self, visits):
        """Whether the one is a part of the other is not asked: such a look is cheap."""
        views = [(p.moving, p.fixed) for p in ViewSearch(visits.moving.image, visits.fixed.image).propose()[:4]]
        assert (View(zoom=0.5), AS_GIVEN) in views and (AS_GIVEN, View(zoom=0.5)) in views

    def test_every_turn_is_proposed_at_half_the_size(self, visits):
        """However little the small pictures tell: what they propose first may be wrong where the overlap is little."""
        proposals = ViewSearch(visits.moving.image, visits.fixed.image).propose()
        turns = [p.moving.turn for p in proposals if p.moving.zoom == p.fixed.zoom]
        for degrees in range(30, 331):
            most = 22.5 if degrees % 30 else 20
            assert min(abs((turn - degrees + 180) % 360 - 180) for turn in turns) <= most

    def test_nothing_like_the_photographs_as_given_is_proposed(self, visits):
        for proposal in ViewSearch(visits.moving.image, visits.fixed.image).propose():
            assert (proposal.moving, proposal.fixed) != (AS_GIVEN, AS_GIVEN)
            plain = proposal.moving.zoom == proposal.fixed.zoom
            assert not plain or 20 < proposal.moving.turn < 340

    def test_what_an_invariant_extractor_sees_alike_is_not_proposed(self, visits):
        """Neither a turn nor a smaller size; contrast and channels are proposed as for any other."""
        moving, fixed = visits.moving.image, visits.fixed.image
        assert ViewSearch(moving, fixed).propose(invariant=True) == []
        proposals = ViewSearch(reverse(turn(moving, 90)[0]), fixed).propose(invariant=True)
        assert proposals
        for proposal in proposals:
            assert (proposal.moving.turn, proposal.moving.zoom, proposal.fixed.zoom) == (0, 1, 1)
            assert proposal.moving.reversed_contrast and not proposal.fixed.reversed_contrast

    def test_the_mirror_image_is_proposed_when_it_fits_better_and_only_then(self, visits):
        moving, fixed = visits.moving.image, visits.fixed.image
        mirrored = ViewSearch(np.ascontiguousarray(moving[:, ::-1]), fixed)
        assert mirrored.propose_mirrored() is not None
        assert np.array_equal(mirrored.mirrored, moving)
        assert ViewSearch(moving, fixed).propose_mirrored() is None

    @pytest.mark.parametrize("seed", range(6))
    def test_vessels_are_dark_or_bright_or_nothing_is_said(self, seed):
        photograph = render(draw_eye(seed), 512).image
        assert vessel_contrast(NormalizedPicture.from_photo(photograph)) == 1
        assert vessel_contrast(NormalizedPicture.from_photo(reverse(photograph))) == -1

    def test_an_even_picture_has_no_vessels(self):
        assert vessel_contrast(NormalizedPicture.from_photo(np.full((300, 300, 3), 120, np.uint8))) == 0


class TestRegistrar:
    @pytest.mark.parametrize("degrees", [90, 180])
    def test_a_turned_photograph_is_registered_in_pixels_of_the_photographs_as_given(self, registrar, visits, degrees):
        turned, matrix = turn(visits.moving.image, degrees)
        found = registrar.register(turned, visits.fixed.image)
        assert found and "turned by" in found.views_in_words and "turned by" in str(found)
        assert abs(found.turn) == pytest.approx(degrees, abs=5)
        points = visits.moving.image.shape[0] * np.random.default_rng(0).uniform(0.35, 0.65, (50, 2))
        error = np.linalg.norm(
            found.transform(points @ matrix[:, :2].T + matrix[:, 2]) - visits.correspond(points), axis=1
        )
        assert np.nanmedian(error) < 1.5
        record = found.to_dict()
        assert record["views"]["moving"]["turn"] == found.views[0].turn and record["views"]["fixed"]["turn"] == 0
        assert found.warp(turned).shape == visits.fixed.image.shape and "views" in found.timings

    @pytest.mark.parametrize("degrees, part", [(34, 1.0), (0, 0.75)])
    def test_what_matches_though_turned_or_narrow_is_looked_at_again(self, registrar, visits, degrees, part):
        turned, matrix = turn(visits.moving.image, degrees)
        low, high = round(256 * (1 - part)), round(256 * (1 + part))
        moving, corner = np.ascontiguousarray(turned[low:high, low:high]), np.array([low, low])
        first = Registrar("lk-superretina-small", effort="fast", transform="quadratic").register(
            moving, visits.fixed.image
        )
        found = registrar.register(moving, visits.fixed.image)
        assert first and first.views == (AS_GIVEN, AS_GIVEN)
        assert found.evidence["agreeing"] >= first.evidence["agreeing"] and found.timings["views"] > 0
        assert found.views == first.views or found.evidence["agreeing"] > first.evidence["agreeing"]
        assert part == 1 or abs(found.views[1].zoom * part - 1) < 0.15
        points = 512 * np.random.default_rng(0).uniform(0.4, 0.6, (50, 2))
        mapped = found.transform(points @ matrix[:, :2].T + matrix[:, 2] - corner)
        assert np.nanmedian(np.linalg.norm(mapped - visits.correspond(points), axis=1)) < 1.5

    @pytest.mark.parametrize("cut", [(0.0, 0.0, 0.6, 1.0), (0.0, 0.45, 1.0, 1.0), (0.0, 0.0, 0.55, 0.55), None])
    @pytest.mark.parametrize("narrow", ["moving", "fixed"])
    def test_the_part_that_both_show_is_looked_at_in_a_cut_field_too(self, registrar, visits, cut, narrow):
        left, top, right, bottom = (np.array(cut or (0.0, 0.0, 1.0, 1.0)) * 512).round().astype(int)
        whole = np.ascontiguousarray(visits.fixed.image[top:bottom, left:right])
        views = registrar.views(whole)
        # Of the narrow photograph, in pixels of the whole one.
        place, width = np.array(whole.shape[1::-1]) / 2 + (10, -15), 140
        part = Keypoints(np.zeros((0, 2)), np.zeros((0, 0)), np.zeros(0), (512, 512), 512 / WORKING_SIZE)
        scale = width / 512
        into = Homography(np.array([[scale, 0, place[0] - width / 2], [0, scale, place[1] - width / 2], [0, 0, 1.0]]))
        pair = (part, views.find(AS_GIVEN)) if narrow == "moving" else (views.find(AS_GIVEN), part)
        proposal = closer_views(*pair, into if narrow == "moving" else Inverse(into), (AS_GIVEN, AS_GIVEN))
        found = views.find(proposal.fixed if narrow == "moving" else proposal.moving)
        assert found.middle == pytest.approx(place, abs=0.12 * width)
        assert found.radius == pytest.approx(width / 2, rel=0.15)

    @pytest.mark.parametrize(
        "which, share, where",
        [
            ("moving", 0.42, (0.3, 0.2)),
            pytest.param("fixed", 0.5, (-0.3, 0.25), marks=pytest.mark.slow),
            pytest.param("moving", 0.6, (-0.3, 0.25), marks=pytest.mark.slow),
            pytest.param("fixed", 0.42, (0.0, 0.0), marks=pytest.mark.slow),
        ],
    )
    def test_a_part_of_the_field_is_registered_wherever_it_lies(self, registrar, visits, share, where, which):
        whole = (visits.fixed if which == "moving" else visits.moving).image
        part, corner = middle_part(visits.moving.image if which == "moving" else visits.fixed.image, share, where)
        pair = (part, whole) if which == "moving" else (whole, part)
        found = registrar.register(*pair)
        assert found and abs(np.log(found.views[which == "moving"].zoom * share)) < 0.15
        low, high = corner + 0.2 * len(part), corner + 0.8 * len(part)
        points = np.random.default_rng(0).uniform(low, high, (50, 2))
        if which == "fixed":
            points = points[np.linalg.norm(points - whole.shape[0] / 2, axis=1) < 0.4 * whole.shape[0]]
        truth = visits.correspond(points)
        moving, fixed = (points - corner, truth) if which == "moving" else (points, truth - corner)
        assert np.nanmedian(np.linalg.norm(found.transform(moving) - fixed, axis=1)) < 2

    @pytest.mark.parametrize("confirmed", [pytest.param(True, marks=pytest.mark.slow), False])
    def test_what_smaller_views_alone_show_is_a_rough_registration(self, registrar, visits, monkeypatch, confirmed):
        part, _ = middle_part(visits.moving.image, 0.42, (0.2, -0.2))
        find = PhotographViews.find

        def find_at_full_size(views, view):
            found = find(views, view)
            if confirmed or view.zoom < 1 or view == AS_GIVEN:
                return found
            points, descriptors, scores = found.points[:3], found.descriptors[:3], found.scores[:3]
            return replace(found, points=points, descriptors=descriptors, scores=scores)

        monkeypatch.setattr(PhotographViews, "find", find_at_full_size)
        found = registrar.register(part, visits.fixed.image)
        assert found and found.estimate.rough is not confirmed
        assert (found.views[0].zoom < 1) is not confirmed

    def test_reversed_contrast_is_registered(self, registrar, visits):
        found = registrar.register(reverse(visits.moving.image), visits.fixed.image)
        assert found and found.views[0].reversed_contrast and not found.views[1].reversed_contrast

    def test_fast_tries_once(self, visits):
        turned, _ = turn(visits.moving.image, 180)
        found = Registrar("lk-superretina-small", effort="fast").register(turned, visits.fixed.image)
        assert not found and found.views == (AS_GIVEN, AS_GIVEN) and "views" not in found.timings

    def test_a_pair_that_matches_at_first_is_not_looked_at_again(self, registrar, visits, monkeypatch):
        monkeypatch.setattr(registrar_module, "ViewSearch", None)
        found = registrar.register(visits.moving.image, visits.fixed.image)
        assert found and found.views == (AS_GIVEN, AS_GIVEN)

    def test_a_mirrored_photograph_is_refused_and_the_reason_says_so(self, registrar, visits):
        mirrored = np.ascontiguousarray(visits.moving.image[:, ::-1])
        found = registrar.register(mirrored, visits.fixed.image)
        assert not found and "mirrored" in found.reason and found.transform is None

    def test_another_eye_is_refused_in_every_view(self, registrar, visits, other_eye):
        found = registrar.register(turn(other_eye, 180)[0], visits.fixed.image)
        assert not found and "mirrored" not in found.reason and "views" in found.timings

    @pytest.mark.slow
    def test_many_pairs_and_other_views(self, registrar, visits):
        turned, _ = turn(visits.moving.image, 180)
        plain, other = registrar.register_many(
            [(visits.moving.image, visits.fixed.image), (turned, visits.fixed.image)]
        )
        assert plain and other and other.views[0].turn == pytest.approx(180, abs=22.5)

    @pytest.mark.parametrize("name", ["", "slow", "Thorough"])
    def test_an_unknown_effort_is_said(self, name):
        with pytest.raises(UnknownNameError, match="known are: fast, thorough"):
            Registrar("rootsift", effort=name)
        with pytest.raises(UnknownNameError, match="known are: fast, thorough"):
            register("a.png", "b.png", effort=name)


class TestPointsByHand:
    """Photographs that nothing registers but a person who shows where they belong together."""

    @pytest.fixture(scope="class")
    def fast(self):
        return Registrar("lk-superretina-small", transform="quadratic", effort="fast")

    @pytest.fixture(scope="class")
    def turned(self, visits):
        return turn(visits.moving.image, 180)

    @staticmethod
    def places(visits, matrix, number, noise):
        rng = np.random.default_rng(1)
        points = visits.moving.image.shape[0] * rng.uniform(0.3, 0.7, (200, 2))
        fixed = visits.correspond(points)
        kept = np.isfinite(fixed).all(1)
        points = np.hstack([points[kept] @ matrix[:, :2].T + matrix[:, 2], fixed[kept]])[:number]
        return points + rng.normal(0, noise, points.shape)

    @pytest.fixture(scope="class")
    def keypoints(self, fast, turned, visits):
        return fast.keypoints([turned[0], visits.fixed.image])

    @pytest.mark.parametrize("number, noise", [(3, 1.0), (4, 2.0), (8, 4.0)])
    def test_they_register_what_is_refused_without(self, fast, turned, visits, keypoints, number, noise):
        matrix = turned[1]
        assert not fast.register_keypoints(*keypoints)
        found = fast.register_keypoints(*keypoints, points=self.places(visits, matrix, number, noise))
        assert found and found.evidence["start"] == "points set by hand"
        truth = self.places(visits, matrix, 60, 0)
        assert np.median(np.linalg.norm(found.transform(truth[:, :2]) - truth[:, 2:], axis=1)) < 3

    def test_they_are_not_believed_blindly(self, fast, visits, other_eye):
        places = self.places(visits, np.eye(2, 3), 6, 0)
        found = fast.register(other_eye, visits.fixed.image, points=places)
        assert not found and found.transform is None

    @pytest.mark.parametrize(
        "points, words",
        [
            ([[1, 2, 3, 4], [5, 6, 7, 8]], "three or more rows"),
            ([[1, 2, 3]] * 4, "three or more rows"),
            ([[1, 2, 3, float("nan")]] * 3, "not all numbers"),
            ([[10, 10, 10, 10], [50, 60, 50, 60], [5000, 80, 90, 90]], "lies outside of the moving photograph"),
            ([[10, 10, 10, 10], [50, 60, 50, 60], [80, 80, 90, -9]], "lies outside of the fixed photograph"),
        ],
    )
    def test_what_is_no_points_is_said(self, fast, visits, points, words):
        with pytest.raises(ValueError, match=words):
            fast.register(visits.moving.image, visits.fixed.image, points=points)

    def test_from_a_file(self, turned, visits, tmp_path):
        Image.fromarray(turned[0]).save(tmp_path / "moving.png")
        Image.fromarray(visits.fixed.image).save(tmp_path / "fixed.png")
        rows = "\n".join(",".join(f"{v:.1f}" for v in row) for row in self.places(visits, turned[1], 5, 1.0))
        command = ["register", "moving.png", "fixed.png", "--effort", "fast", "--points", "points.csv"]
        command = [str(tmp_path / word) if "." in word else word for word in command] + ["--out", str(tmp_path / "out")]
        (tmp_path / "points.csv").write_text(rows)
        plain = read_points(tmp_path / "points.csv")
        (tmp_path / "points.csv").write_text("x_moving,y_moving,x_fixed,y_fixed\n" + rows + "\n")
        assert plain.shape == (5, 4) and np.array_equal(read_points(tmp_path / "points.csv"), plain)
        assert CliRunner().invoke(app, command).exit_code == 0
        record = json.loads((tmp_path / "out" / "registration.json").read_text())
        assert record["evidence"]["start"] == "points set by hand"
        (tmp_path / "points.csv").write_text("1,2,3,4\nx,y,z\n")
        failed = CliRunner().invoke(app, command)
        assert failed.exit_code == 2 and "points.csv holds no points" in failed.output


class TestInvariantExtractor:
    @pytest.mark.parametrize("kept", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_no_turned_view_is_tried_for_sift(self, visits, other_eye, tmp_path, monkeypatch, kept):
        """Kept keypoints or not: a refused pair costs what its photographs cost, and little more."""
        seen = []
        find = RootSiftExtractor.find
        monkeypatch.setattr(
            RootSiftExtractor, "find", lambda self, photos: seen.append(len(photos)) or find(self, photos)
        )
        registrar = Registrar("rootsift", transform="quadratic", cache=tmp_path if kept else None)
        assert not registrar.register(other_eye, visits.fixed.image)
        assert sum(seen) <= 4

    def test_a_photograph_that_is_turned_and_bright_is_registered(self, visits):
        turned, matrix = turn(visits.moving.image, 90)
        registrar = Registrar("rootsift", transform="quadratic")
        found = registrar.register(reverse(turned), visits.fixed.image)
        assert found and "reversed contrast" in found.views_in_words, found.reason
        points = visits.moving.image.shape[0] * np.random.default_rng(0).uniform(0.35, 0.65, (50, 2))
        moved = found.transform(points @ matrix[:, :2].T + matrix[:, 2])
        assert np.nanmedian(np.linalg.norm(moved - visits.correspond(points), axis=1)) < 2
