"""The field of view on synthetic pictures whose circle is known, and on real photographs where they are at hand."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from retinamatch.field_of_view import FieldOfView, find_field_of_view


def slow(*value):
    """A parameter that `make test-slow` alone runs."""
    return pytest.param(value if len(value) > 1 else value[0], marks=pytest.mark.slow)


def fundus(height, width, center, radius, brightness=180.0, surround=8.0, seed=0):
    """A disk of smooth texture with dark curves, brighter on one side, with a soft rim, on a dark surround."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(x - center[0], y - center[1])
    texture = cv2.resize(rng.random((12, 12), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    light = 0.55 + 0.35 * (x - center[0]) / radius + 0.3 * texture
    vessels = np.abs(np.sin((x + 0.3 * y) / radius * 9 + 2 * texture)) < 0.08
    light = np.where(vessels, 0.7 * light, light) * np.clip((radius - distance) / 2 + 0.5, 0, 1)
    color = surround + np.clip(light, 0, 1.2)[..., None] * np.array([1.0, 0.6, 0.35]) * brightness
    return np.clip(np.rint(color), 0, 255).astype(np.uint8)


def check(found: FieldOfView, center, radius, tolerance=0.012):
    assert found.found
    error = np.hypot(found.center[0] - center[0], found.center[1] - center[1])
    assert error < tolerance * radius
    assert abs(found.radius - radius) < tolerance * radius


@pytest.mark.parametrize("size", [(400, 400), (401, 523), (1201, 1600), (600, 1111)])
def test_whole_circle(size):
    height, width = size
    center, radius = (width / 2 + 3.3, height / 2 - 2.2), 0.45 * height
    found = find_field_of_view(fundus(height, width, center, radius))
    check(found, center, radius)
    x0, y0, x1, y1 = found.box
    np.testing.assert_allclose([x0 + x1, y0 + y1], [2 * center[0] + 1, 2 * center[1] + 1], atol=0.02 * radius)
    assert abs((x1 - x0) - 2 * found.radius) < 1e-6 * radius + 1


@pytest.mark.parametrize(
    "center,radius",
    [
        ((350, 250), 330),  # cut at the top and bottom
        ((250, 250), 265),  # cut a little on all four sides
        ((350, 250), 400),  # only the four corners are dark
        ((120, 260), 230),  # off center, cut on the left
        ((600, 60), 200),  # off center, cut at the top and right
        ((350, 250), 110),  # small
    ],
)
def test_cut_and_off_center_circles(center, radius):
    width = 500 if center[0] == 250 else 700
    found = find_field_of_view(fundus(500, width, center, radius))
    check(found, center, radius)
    assert found.box[0] >= 0 and found.box[1] >= 0 and found.box[2] <= width and found.box[3] <= 500
    assert found.box[1] == 0 or found.box[1] == pytest.approx(center[1] + 0.5 - found.radius, abs=0.02 * radius)


def test_straight_cuts_inside_the_picture_bound_the_box():
    photo = fundus(500, 700, (350, 250), 240)
    photo[:60] = 8
    photo[430:] = 8
    found = find_field_of_view(photo)
    check(found, (350, 250), 240)
    assert 60 <= found.box[1] < 66 and 424 < found.box[3] <= 430
    assert found.box[0] == pytest.approx(350.5 - found.radius, abs=2)
    assert not found.contains([[350, 50]])[0]


def test_writing_a_notch_and_jpeg_noise_in_the_border(tmp_path):
    center, radius = (400, 300), 270
    photo = fundus(600, 800, center, radius, surround=12)
    rng = np.random.default_rng(1)
    outside = np.hypot(*np.meshgrid(np.arange(800) - 400, np.arange(600) - 300)) > radius + 2
    noisy = np.clip(photo + rng.normal(0, 6, photo.shape), 0, 255).astype(np.uint8)
    photo[outside] = noisy[outside]
    cv2.rectangle(photo, (585, 90), (620, 120), (160, 110, 80), -1)  # the bump with which cameras mark up and down
    cv2.putText(photo, "OD 12.03.1999", (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    cv2.putText(photo, "ID 4711", (680, 590), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    cv2.putText(photo, "45 deg", (8, 590), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    Image.fromarray(photo).save(tmp_path / "noisy.jpg", quality=30)
    found = find_field_of_view(np.asarray(Image.open(tmp_path / "noisy.jpg")))
    check(found, center, radius)


@pytest.mark.parametrize("brightness,surround", [(14, 1), (25, 12), (90, 0), (250, 20)])
def test_dark_and_bright_photographs(brightness, surround):
    found = find_field_of_view(fundus(600, 800, (390, 310), 280, brightness, surround))
    check(found, (390, 310), 280, tolerance=0.02)


def test_half_of_the_retina_in_shadow():
    photo = fundus(600, 800, (400, 300), 280).astype(np.float32)
    shadow = np.clip((np.arange(800) - 150) / 300, 0.1, 1)[None, :, None]
    check(find_field_of_view((photo * shadow).astype(np.uint8)), (400, 300), 280)


def test_grey_photograph():
    check(find_field_of_view(fundus(500, 500, (250, 250), 230)[..., 0].copy()), (250, 250), 230)


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((300, 400, 3), np.uint8),
        np.full((300, 400, 3), 137, np.uint8),
        np.random.default_rng(0).integers(0, 4, (300, 400, 3)).astype(np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8),
        fundus(300, 400, (200, 150), 600),  # fills the picture
    ],
    ids=["black", "uniform", "black with noise", "noise", "no surround"],
)
def test_no_field_of_view(photo):
    found = find_field_of_view(photo)
    assert not found.found and found.center is None
    assert found.box == (0, 0, 400, 300)
    assert found.contains([[0, 0], [399, 299]]).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_photograph_of_something_else_has_no_circle(seed):
    rng = np.random.default_rng(seed)
    photo = np.full((400, 600, 3), 5, np.uint8)
    for _ in range(12):  # bright boxes and triangles on a dark ground
        corners = rng.integers(0, (600, 400), (4 if seed % 2 else 3, 2)).astype(np.int32)
        cv2.fillConvexPoly(photo, cv2.convexHull(corners), rng.integers(60, 255, 3).tolist())
    assert find_field_of_view(photo).center is None


def test_a_rectangle_on_black_is_a_rectangular_field_of_view():
    photo = np.zeros((400, 600, 3), np.uint8)
    photo[50:350, 100:480] = fundus(300, 380, (190, 150), 600)
    found = find_field_of_view(photo)
    assert found.found and found.center is None
    np.testing.assert_allclose(found.box, (100, 50, 480, 350), atol=3)


def test_the_same_picture_gives_the_same_circle():
    photo = fundus(500, 700, (350, 250), 330)
    assert find_field_of_view(photo) == find_field_of_view(photo.copy())


def test_contains_and_margin():
    view = FieldOfView(200, 100, (100.0, 50.0), 60.0, (40.5, 10.0, 160.5, 100.0), True)
    points = [[100, 50], [159, 50], [161, 50], [100, 12], [100, 5], [100, 98]]
    assert view.contains(points).tolist() == [True, True, False, True, False, True]
    assert view.contains(points, margin=3).tolist() == [True, False, False, False, False, False]
    assert view.contains(np.zeros((0, 2))).shape == (0,)


def test_mask_agrees_with_contains_on_any_frame():
    view = FieldOfView(200, 100, (90.3, 55.1), 60.2, (30.6, 10.0, 151.0, 100.0), True)
    frame, (height, width) = (-0.1, 0.05, 0.8, 1.2), (37, 53)
    mask = view.mask(frame, (height, width))
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    x = (frame[0] + (columns + 0.5) / width * 0.9) * 200 - 0.5
    y = (frame[1] + (rows + 0.5) / height * 1.15) * 100 - 0.5
    assert mask.shape == (height, width)
    np.testing.assert_array_equal(mask.ravel(), view.contains(np.stack([x.ravel(), y.ravel()], 1)))
    whole = view.mask((0, 0, 1, 1), (100, 200))
    assert whole[55, 90] and not whole[5, 90] and not whole[55, 10]


@pytest.mark.parametrize(
    "pattern,radius",
    [
        ("registration/fire_dev/Images/P0[1-3]_1.jpg", 1355),
        ("registration/ridb_dev/P0[1-4]/IM000001_*.jpg", 525),
        ("fundus/hrf/images/0[1-4]_h.jpg", 811),
    ],
)
def test_real_photographs_of_one_camera_agree(data_root, pattern, radius):
    files = sorted(data_root.glob(pattern))
    if not files:
        pytest.skip(f"no {pattern} under {data_root}")
    for file in files:
        found = find_field_of_view(np.asarray(Image.open(file)))
        assert found.radius == pytest.approx(radius, rel=0.01), file.name


def on_surround(photo, center, radius, surround, rim=1.0, aspect=1.0):
    """Keep an ellipse of a picture and put another picture or color around it."""
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    inside = np.hypot((x - center[0]) / radius, (y - center[1]) / (radius * aspect)) <= 1
    alpha = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), rim)[..., None]
    return np.rint(alpha * photo + (1 - alpha) * surround).astype(np.uint8)


def page(height, width):
    picture = np.full((height, width, 3), 244, np.uint8)
    for line in range(12, height + 12, 18):
        cv2.putText(picture, "the fundus of the left eye " * 6, (-line, line), cv2.FONT_HERSHEY_COMPLEX, 0.5, (20,) * 3)
    return picture


def checkerboard(height, width, side=24):
    y, x = np.mgrid[:height, :width]
    return np.where(((x // side + y // side) % 2)[..., None] == 1, (230, 240, 235), (30, 40, 60))


@pytest.mark.parametrize("rim", [0.7, 3.0])
@pytest.mark.parametrize(
    "center,radius", [((300, 225), 190), ((260, 240), 150), ((330, 225), 260)], ids=["whole", "small", "cut"]
)
@pytest.mark.parametrize("color", [(255, 255, 255), (211, 211, 211), (110, 120, 128), (40, 70, 160)])
def test_circle_on_a_surround_that_is_not_dark(color, center, radius, rim):
    photo = on_surround(fundus(450, 600, center, 800), center, radius, np.array(color), rim)
    check(find_field_of_view(photo), center, radius, tolerance=0.015)


@pytest.mark.parametrize("level", [slow(50), 90, 128, slow(170)])
@pytest.mark.parametrize("turns", [0, 1, slow(2), slow(3)])
def test_retina_that_is_partly_darker_than_its_surround(visits, level, turns):
    """Where its brightness passes that of the surround there is no rim; it is another color."""
    retina = visits.moving.image.astype(np.float32)
    side = retina.shape[0]
    center, radius = ((side - 1) / 2, (side - 1) / 2), 0.42 * side
    light = np.rot90(np.broadcast_to(np.linspace(0.25, 1.1, side), (side, side)), turns)[..., None]
    lit = np.clip(retina * light, 0, 255)
    check(find_field_of_view(on_surround(lit, center, radius, np.full(3, level))), center, radius, tolerance=0.015)


@pytest.mark.parametrize("surround", [page, checkerboard])
def test_circle_on_a_textured_surround(surround):
    photo = on_surround(fundus(450, 600, (310, 220), 800), (310, 220), 180, surround(450, 600))
    check(find_field_of_view(photo), (310, 220), 180, tolerance=0.015)


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("aspect", [0.75, 0.9])
def test_ellipse(level, aspect):
    photo = on_surround(fundus(450, 600, (310, 220), 800), (310, 220), 230, np.full(3, level), 1.0, aspect)
    found = find_field_of_view(photo)
    np.testing.assert_allclose(found.center, (310, 220), atol=0.015 * 230)
    np.testing.assert_allclose(found.reach(np.array([0, np.pi / 2])), (230, 230 * aspect), rtol=0.015)
    assert found.contains([[310 + 220, 220], [310, 220 + 220 * aspect]]).all()
    assert not found.contains([[310 + 233, 220], [310, 220 + 235 * aspect]]).any()
    assert not found.contains([[310 + 225, 220]], margin=10)[0]


@pytest.mark.parametrize("angle", [0, 90])
def test_cuts_inside_a_picture_with_a_white_surround(angle):
    photo = on_surround(fundus(500, 500, (250, 250), 800), (250, 250), 210, np.full(3, 255))
    photo[:110], photo[400:] = 255, 255
    found = find_field_of_view(np.ascontiguousarray(np.rot90(photo) if angle else photo))
    assert abs(found.radius - 210) < 0.015 * 210
    cut = found.box[::2] if angle else found.box[1::2]
    np.testing.assert_allclose(cut, (110, 400), atol=3)


@pytest.mark.parametrize("surround", [211, slow(128), slow(page), checkerboard])
@pytest.mark.parametrize("aspect", [0.8, 1.0])
@pytest.mark.parametrize("sides", [(150, 450), (150, 600), slow(0, 400)])
def test_a_cut_ellipse_is_not_taken_for_a_larger_circle(visits, surround, aspect, sides):
    """Two arcs and two lines: a circle through one of the arcs, cut where the other lies, is wrong by half its size."""
    height, width, center, radius = 450, 600, (310, 225), 200
    around = surround(height, width) if callable(surround) else np.full((height, width, 3), surround)
    photo = on_surround(cv2.resize(visits.moving.image, (width, height)), center, radius, around, 2.0, aspect)
    left, right = sides
    photo[:, :left], photo[:, right:] = around[:, :left], around[:, right:]
    found = find_field_of_view(photo.astype(np.uint8))
    y, x = np.mgrid[:height, :width]
    truth = np.hypot((x - center[0]) / radius, (y - center[1]) / (radius * aspect)) <= 1
    truth &= (x >= left) & (x < right)
    mask = found.mask((0, 0, 1, 1), (height, width))
    assert (mask & ~truth).sum() < 0.02 * truth.sum() and (mask & truth).sum() > 0.9 * truth.sum()


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (0, 255, 0), (90, 160, 255)])
@pytest.mark.parametrize("font", [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX])
@pytest.mark.parametrize("surround", [8, 255])
def test_writing_inside_leaves_the_mask(color, font, surround):
    photo = on_surround(fundus(600, 700, (350, 300), 800), (350, 300), 270, np.full(3, surround))
    cover = np.zeros((600, 700), np.uint8)
    cv2.putText(cover, "OD 4711 B", (190, 260), font, 1.3, 255, 3, cv2.LINE_AA)
    written = np.where(cover[..., None] > 127, np.array(color, np.uint8), photo)
    found = find_field_of_view(written)
    mask = found.mask((0, 0, 1, 1), cover.shape)
    assert not mask[cover > 127].any()
    assert mask.sum() > 0.8 * find_field_of_view(photo).mask((0, 0, 1, 1), cover.shape).sum()
    y, x = np.argwhere(cover > 127)[0]
    assert not found.contains([[x, y]])[0] and not found.contains([[x - 12, y]], margin=14)[0]


def left_out(photo):
    """Fraction of the field of view that is left out as writing or marks."""
    found, shape = find_field_of_view(photo), photo.shape[:2]
    whole = replace(found, left_out=None).mask((0, 0, 1, 1), shape)
    return 1 - found.mask((0, 0, 1, 1), shape).sum() / whole.sum()


@pytest.mark.parametrize("contrast", [0.6, 1.3])
@pytest.mark.parametrize("reversed_contrast", [False, True])
@pytest.mark.parametrize("channel", [1, 2])
def test_vessels_of_a_gray_photograph_are_no_marks(visits, channel, reversed_contrast, contrast):
    for visit in (visits.moving, visits.fixed):
        gray = visit.image[..., channel].astype(np.float32)
        slow = cv2.GaussianBlur(gray, (0, 0), 20)
        gray = slow + contrast * (gray - slow)
        gray = np.where(gray > 8, 255 - gray, gray) if reversed_contrast else gray
        assert left_out(np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)) < 0.02


@pytest.mark.parametrize("level", [255, 0])
def test_writing_in_a_gray_photograph_leaves_the_mask(visits, level):
    photo = np.repeat(visits.moving.image[..., 1:2], 3, axis=2)
    cover = np.zeros(photo.shape[:2], np.uint8)
    cv2.putText(cover, "OD 4711 B", (150, 260), cv2.FONT_HERSHEY_SIMPLEX, 1.3, 255, 3, cv2.LINE_AA)
    mask = find_field_of_view(np.where(cover[..., None] > 127, np.uint8(level), photo)).mask((0, 0, 1, 1), cover.shape)
    assert not mask[cover > 127].any() and mask.sum() > 0.5 * mask.size


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 255, 0), (0, 0, 0), (255, 255, 0)])
@pytest.mark.parametrize("radius, thickness", [(60, 4), (110, 6), (150, 6)])
def test_retina_inside_of_a_drawn_ring_stays(visits, color, radius, thickness):
    photo = visits.moving.image.copy()
    cover = cv2.circle(np.zeros(photo.shape[:2], np.uint8), (256, 256), radius, 255, thickness)
    photo[cover > 127] = color
    found = find_field_of_view(photo)
    mask = found.mask((0, 0, 1, 1), cover.shape)
    assert not mask[cover > 127].any() and not found.problem
    assert mask[256 - radius // 2 : 256 + radius // 2, 256 - radius // 2 : 256 + radius // 2].mean() > 0.9


@pytest.mark.parametrize("inner, outer", [((0, 0, 0), (255, 255, 255)), ((20, 60, 200), (255, 255, 255))])
def test_a_box_with_writing_leaves_the_mask_as_a_whole(visits, inner, outer):
    photo = visits.moving.image.copy()
    photo[230:290, 180:330] = inner
    cv2.putText(photo, "OD 4711", (190, 270), cv2.FONT_HERSHEY_SIMPLEX, 0.9, outer, 2, cv2.LINE_AA)
    assert find_field_of_view(photo).mask((0, 0, 1, 1), photo.shape[:2])[232:288, 182:328].mean() < 0.02


@pytest.mark.parametrize("thickness", [4, 6, 8])
def test_a_grid_of_thick_lines_makes_no_drawing_of_a_photograph(visits, thickness):
    photo = visits.moving.image.copy()
    for radius in (50, 120, 200):
        cv2.circle(photo, (256, 256), radius, (255, 255, 255), thickness, cv2.LINE_AA)
    for end in ((0, 0), (512, 0)):
        cv2.line(photo, end, (512 - end[0], 512), (255, 255, 255), thickness, cv2.LINE_AA)
    assert not find_field_of_view(photo).problem


def test_a_shape_of_its_own_on_black():
    photo = fundus(450, 600, (300, 225), 800)
    outline = np.array([[120, 60], [480, 40], [540, 250], [350, 410], [230, 300], [90, 330]], np.int32)
    inside = cv2.fillPoly(np.zeros((450, 600), np.uint8), [outline], 1) > 0
    found = find_field_of_view(np.where(inside[..., None], photo, 0).astype(np.uint8))
    mask = found.mask((0, 0, 1, 1), inside.shape)
    assert found.found and found.center is None
    assert (mask & ~inside).sum() < 0.003 * inside.sum() and (inside & ~mask).sum() < 0.08 * inside.sum()


@pytest.mark.parametrize(
    "photo,word",
    [
        (np.full((300, 400, 3), 137, np.uint8), "uniform"),
        (np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8), "noise"),
        (checkerboard(300, 400, 9).astype(np.uint8), "pattern|two gray levels"),
        (checkerboard(300, 400, 50).astype(np.uint8), "two gray levels"),
        (page(300, 400), "pattern"),
    ],
    ids=["uniform", "noise", "fine squares", "large squares", "page"],
)
def test_a_picture_that_shows_no_retina_says_why(photo, word):
    found = find_field_of_view(photo)
    assert not found.shows_retina and re.search(word, found.problem)


@pytest.mark.parametrize("surround", [0, 128, 255])
def test_a_retina_may_be_one(surround):
    photo = on_surround(fundus(450, 600, (300, 225), 800), (300, 225), 190, np.full(3, surround))
    for picture in (photo, cv2.GaussianBlur(photo, (0, 0), 6), photo[..., 1].copy()):
        assert find_field_of_view(picture).shows_retina


@pytest.mark.parametrize("seed", range(4))
def test_thin_dark_lines_are_no_fine_pattern(seed):
    rng = np.random.default_rng(seed)
    photo = on_surround(fundus(450, 600, (300, 225), 800), (300, 225), 190, np.zeros(3))
    for x in rng.uniform(0, 600, 60):  # lashes
        steps = np.column_stack([rng.normal(0, 18, 6).cumsum() + x, np.arange(6) * rng.uniform(20, 50)])
        cv2.polylines(photo, [steps.round().astype(np.int32)], False, (15, 8, 5), 2, cv2.LINE_AA)
    found = find_field_of_view(photo)
    assert found.shows_retina, found.problem


def test_a_picture_in_other_colors_is_not_all_marks():
    photo = np.random.default_rng(0).integers(0, 256, (120, 200, 3)).astype(np.uint8)
    assert find_field_of_view(photo).mask((0, 0, 1, 1), (120, 200)).all()
