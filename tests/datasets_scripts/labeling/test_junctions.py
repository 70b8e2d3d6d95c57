"""Junctions of drawings whose answer is known."""

import numpy as np
import pytest
from PIL import Image

from datasets_scripts.keypoint_types import BIFURCATION, CROSSING
from datasets_scripts.labeling.drawings import arms, away_from_disc, circle, draw_lines, rotated
from datasets_scripts.labeling.junctions import find_junctions


FIELD = 565.0


def find(lines, width=5, **options):
    return find_junctions(away_from_disc(draw_lines(lines, width=width)), FIELD, **options)


@pytest.mark.parametrize("turn", [0, 17, 45, 73])
@pytest.mark.parametrize("width", [2, 4, 7, 11])
@pytest.mark.parametrize("spread", [50, 80, 120])
def test_y_is_one_bifurcation_where_its_lines_meet(turn, width, spread):
    found = find(arms([180 + turn, spread / 2 + turn, -spread / 2 + turn]), width=width)
    assert found.types.tolist() == [BIFURCATION]
    assert np.linalg.norm(found.points[0] - 150.0) < 1.75
    assert found.widths[0] == pytest.approx(width, abs=1.6)


@pytest.mark.parametrize("turn", [0, 17, 45])
@pytest.mark.parametrize("width", [2, 5, 9])
def test_t_is_one_bifurcation(turn, width):
    found = find(arms([turn, 90 + turn, 180 + turn]), width=width)
    assert found.types.tolist() == [BIFURCATION]
    assert np.linalg.norm(found.points[0] - 150.0) < 1.75


@pytest.mark.parametrize("turn", [0, 17, 45, 60])
@pytest.mark.parametrize("width", [2, 5, 9])
@pytest.mark.parametrize("angle", [30, 55, 90])
def test_x_is_one_crossing(turn, width, angle):
    found = find(arms([turn, 180 + turn, angle + turn, 180 + angle + turn]), width=width)
    assert found.types.tolist() == [CROSSING]
    assert np.linalg.norm(found.points[0] - 150.0) < 1.0


def test_thin_vessel_over_a_thick_one_is_a_crossing():
    lines = [[(150.0, 40.0), (150.0, 260.0), 11], [(40.0, 120.0), (260.0, 180.0), 3]]
    found = find(lines)
    assert found.types.tolist() == [CROSSING]
    assert np.linalg.norm(found.points[0] - 150.0) < 1.0


def test_two_branches_on_either_side_are_no_crossing():
    # Both leave forward: the one to the left and the one to the right do not continue each other.
    lines = [[(150.0, 30.0), (150.0, 270.0)], [(150.0, 140.0), (70.0, 220.0)], [(150.0, 156.0), (230.0, 236.0)]]
    found = find(lines)
    assert found.types.tolist() == [BIFURCATION, BIFURCATION]
    assert np.abs(found.points - [[150, 140], [150, 156]]).max() < 2.0


@pytest.mark.parametrize("turn", [0, 3, 45])
def test_parallel_vessels_are_not_fused(turn):
    lines = [rotated([(40.0, y), (260.0, y)], turn) for y in (150.0, 158.0)]
    assert len(find(lines)) == 0


def test_vessels_that_touch_and_part_leave_no_keypoint():
    lines = [
        [(40.0, 110.0), (110.0, 147.0), (190.0, 147.0), (260.0, 110.0), 6],
        [(40.0, 190.0), (110.0, 153.0), (190.0, 153.0), (260.0, 190.0), 6],
    ]
    assert len(find(lines)) == 0


def test_bifurcation_and_reunion_far_apart_stay():
    # One vessel, not two: the shared piece is no wider than the branches.
    lines = [[(100.0, 150.0), (200.0, 150.0)]] + [
        [(x, 150.0), (x + sign * 70.0, 150.0 + side * 50.0)]
        for x, sign in ((100.0, -1), (200.0, 1))
        for side in (-1, 1)
    ]
    found = find(lines)
    assert found.types.tolist() == [BIFURCATION, BIFURCATION]


def test_loop_has_two_bifurcations():
    found = find([circle(), [(40.0, 150.0), (110.0, 150.0)], [(190.0, 150.0), (260.0, 150.0)]])
    assert found.types.tolist() == [BIFURCATION, BIFURCATION]
    assert np.abs(found.points[np.argsort(found.points[:, 0])] - [[110, 150], [190, 150]]).max() < 2.0


def test_ring_without_junction_and_pinhole_give_nothing():
    vessels = away_from_disc(draw_lines([circle()]) | draw_lines([[(20.0, 40.0), (280.0, 40.0), 9]]))
    vessels[39:42, 140:142] = False
    assert len(find_junctions(vessels, FIELD)) == 0


@pytest.mark.parametrize("length, count", [(3, 0), (8, 0), (30, 1)])
def test_spur_is_pruned_by_length_against_width(length, count):
    # The same 8 pixels beyond the wall that are a spur on a vessel 9 wide...
    lines = [[(40.0, 150.0), (260.0, 150.0), 9], [(150.0, 150.0), (150.0, 150.0 + 5 + length), 7]]
    assert len(find(lines)) == count


def test_short_thin_branch_is_no_spur():
    # ... are a branch when it is 2 wide.
    lines = [[(40.0, 150.0), (260.0, 150.0), 3], [(150.0, 150.0), (150.0, 160.0), 2]]
    assert len(find(lines)) == 1


def test_rough_walls_give_nothing():
    generator = np.random.default_rng(0)
    vessels = draw_lines([[(20.0, 150.0), (280.0, 170.0), 9]])
    for x, y in np.argwhere(vessels)[generator.choice(vessels.sum(), 120, replace=False)]:
        vessels[x - 1 : x + 2, y - 1 : y + 2] = True
    assert len(find_junctions(away_from_disc(vessels), FIELD)) == 0


def test_crowded_disc_is_one_place_at_most():
    # Eight thick vessels meet: a tangle in the middle. Two of them branch well outside.
    lines = [[*line, 9] for line in arms(range(0, 360, 45), 140.0)]
    lines += [[(150.0, 230.0), (190.0, 280.0), 4], [(230.0, 150.0), (280.0, 190.0), 4]]
    found = find_junctions(draw_lines(lines), FIELD)
    distance = np.linalg.norm(found.points - 150.0, axis=1)
    assert (distance > 60).sum() == 2
    assert (distance < 42).sum() <= 1


def test_empty_map_and_wrong_shape():
    assert len(find_junctions(np.zeros((50, 60), dtype=bool))) == 0
    with pytest.raises(ValueError, match=r"\(height, width\), got \(4, 4, 3\)"):
        find_junctions(np.zeros((4, 4, 3)))


def test_numbers_and_bools_agree_and_runs_repeat():
    vessels = away_from_disc(draw_lines(arms([180, 30, -30])))
    first, again, number = (find_junctions(v, FIELD) for v in (vessels, vessels, vessels.astype(np.uint8) * 255))
    assert np.array_equal(first.points, again.points) and np.array_equal(first.points, number.points)


def test_one_bit_image_from_pillow():
    vessels = away_from_disc(draw_lines(arms([180, 30, -30])))
    from_pillow = np.asarray(Image.fromarray(vessels.astype(np.uint8) * 255).convert("1"))
    assert np.array_equal(find_junctions(from_pillow, FIELD).points, find_junctions(vessels, FIELD).points)


def directions_match(found, expected, tolerance):
    """Whether two sets of angles, one in radians and one in degrees, agree; both in their order around."""
    expected = np.sort(np.angle(np.exp(1j * np.radians(expected))))
    errors = [np.abs(np.angle(np.exp(1j * (found - np.roll(expected, k))))).max() for k in range(len(found))]
    return len(found) == len(expected) and np.degrees(min(errors)) < tolerance


@pytest.mark.parametrize("turn", [0, 17, 45, 100])
@pytest.mark.parametrize("width", [3, 7])
def test_directions_lead_along_the_vessels(turn, width):
    for angles in ((180, 40, -40), (180, 30, -60), (0, 180, 60, 240), (0, 180, 90, 270)):
        angles = [angle + turn for angle in angles]
        directions = find(arms(angles), width=width).directions
        assert len(directions) == 1
        assert (np.diff(directions[0]) > 0).all() and -np.pi < directions[0][0] and directions[0][-1] <= np.pi
        assert directions_match(directions[0], angles, 12)


def test_directions_of_a_crossing_with_a_bridge():
    lines = [
        [(150.0, 40.0), (150.0, 260.0), 11],
        [(40.0, 144.0), (150.0, 144.0), 4],
        [(150.0, 156.0), (260.0, 156.0), 4],
    ]
    found = find(lines)
    assert found.types.tolist() == [CROSSING]
    assert np.linalg.norm(found.points[0] - 150.0) < 3.0
    assert directions_match(found.directions[0], [0, 90, 180, 270], 15)


def test_bent_vessel_over_a_thick_one_is_a_crossing_at_the_bend():
    found = find([[(150.0, 40.0), (150.0, 260.0), 11], [(60.0, 80.0), (150.0, 150.0), (260.0, 140.0), 3]])
    assert found.types.tolist() == [CROSSING]
    assert np.linalg.norm(found.points[0] - 150.0) < 1.5


def test_clear_fork_on_the_disc_is_kept():
    # The only vessels, so that the fork lies on what is taken for the disc.
    found = find_junctions(draw_lines(arms([180, 40, -40]), 9), FIELD)
    assert found.types.tolist() == [BIFURCATION]
    assert np.linalg.norm(found.points[0] - 150.0) < 1.75


def test_near_branches_of_one_side_stay_two():
    lines = [
        [(40.0, 150.0), (260.0, 150.0), 4],
        [(150.0, 150.0), (170.0, 80.0), 2],
        [(157.0, 150.0), (190.0, 220.0), 2],
    ]
    assert len(find(lines)) == 2
