import json

import numpy as np
import pytest

from retinamatch.transforms import (
    TRANSFORMS,
    Affine,
    Cubic,
    Homography,
    Quadratic,
    Similarity,
    Transform,
    transform_class,
)


CLASSES = list(TRANSFORMS.values())
POLYNOMIALS = [Quadratic, Cubic]


@pytest.fixture
def points(rng):
    return rng.uniform(100, 1900, (60, 2))


def curved(points):
    """Maps points as two visits do: turned, shifted, and bent by a few pixels, with a little of the third order."""
    x, y = (points - 1000).T / 1000
    angle = 0.2
    turned = 980 * np.column_stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y])
    bent = np.column_stack([20 * x * x + 5 * x * y + 8 * y * y + 4 * x**3, -6 * x * x + 15 * x * y + 3 * x * y * y])
    return turned + bent + [1100, 930]


def one_of(kind, points):
    """A transform of the class that is not the identity."""
    return kind.fit(points, curved(points))


def test_names():
    assert list(TRANSFORMS) == ["similarity", "affine", "homography", "quadratic", "cubic"]
    assert transform_class("cubic") is Cubic
    with pytest.raises(ValueError, match="'spline'.*similarity, affine, homography, quadratic, cubic"):
        transform_class("spline")


@pytest.mark.parametrize("kind", CLASSES)
def test_recovers_itself(kind, points, rng):
    truth = one_of(kind, points)
    few = points[: kind.minimum_points + 2]
    for sample, weights in ((points, None), (points, rng.uniform(0.1, 5, len(points))), (few, None)):
        fitted = kind.fit(sample, truth(sample), weights)
        assert np.abs(fitted(sample) - truth(sample)).max() < 1e-8
    assert np.abs(kind.fit(points, truth(points))(points) - truth(points)).max() < 1e-9


def test_homography_recovers_strong_perspective(points):
    truth = Homography([[1.1, 0.05, -40], [-0.08, 0.95, 60], [1.5e-4, -0.8e-4, 1]])
    fitted = Homography.fit(points, truth(points))
    assert np.allclose(fitted.matrix, truth.matrix, rtol=1e-7, atol=1e-9)


def test_homography_minimizes_distances_not_equations(points, rng):
    """Around the optimum of the sum of squared distances, every small change of the matrix makes it worse."""
    truth = Homography([[1.1, 0.05, -40], [-0.08, 0.95, 60], [3e-4, 1e-4, 1]])
    noisy = truth(points) + rng.normal(0, 3, points.shape)
    fitted = Homography.fit(points, noisy)

    def cost(matrix):
        return ((Homography(matrix)(points) - noisy) ** 2).sum()

    best = cost(fitted.matrix)
    for index in np.ndindex(3, 3):
        for sign in (-1, 1):
            changed = fitted.matrix.copy()
            changed[index] *= 1 + sign * 1e-4
            assert cost(changed) >= best


@pytest.mark.parametrize("kind", CLASSES)
def test_weights_count_as_repetitions(kind, points, rng):
    noisy = curved(points) + rng.normal(0, 3, points.shape)
    weights = rng.integers(0, 4, len(points))
    repeated = np.repeat(np.arange(len(points)), weights)
    a = kind.fit(points, noisy, weights)
    b = kind.fit(points[repeated], noisy[repeated])
    assert np.abs(a(points) - b(points)).max() < 1e-3


@pytest.mark.parametrize("number", [255, 256, 257, 2000])
@pytest.mark.parametrize("kind", CLASSES)
def test_many_points_count_as_weights(kind, number, points, rng):
    """Many are brought together block by block."""
    noisy, rows = curved(points) + rng.normal(0, 3, points.shape), np.arange(number) % len(points)
    weights = np.bincount(rows, minlength=len(points))
    assert np.abs(kind.fit(points[rows], noisy[rows])(points) - kind.fit(points, noisy, weights)(points)).max() < 1e-3


@pytest.mark.parametrize("kind", CLASSES)
def test_inverse(kind, points, rng):
    transform = one_of(kind, points)
    everywhere = rng.uniform(-1500, 3500, (500, 2))
    assert np.abs(transform.inverse(transform(everywhere)) - everywhere).max() < 1e-6
    assert transform.inverse(np.zeros((0, 2))).shape == transform(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("kind", CLASSES)
def test_jacobian_is_the_derivative(kind, points, rng):
    transform = one_of(kind, points)
    places = rng.uniform(-1500, 3500, (300, 2))
    step = 1e-3
    columns = [(transform(places + d) - transform(places - d)) / (2 * step) for d in step * np.eye(2)]
    assert np.abs(transform.jacobian(places) - np.stack(columns, axis=-1)).max() < 1e-6


@pytest.mark.parametrize("kind", CLASSES)
def test_json(kind, points, rng):
    transform = one_of(kind, points)
    written = json.dumps(transform.to_dict(), allow_nan=False)
    read = Transform.from_dict(json.loads(written))
    assert type(read) is kind
    places = rng.uniform(-500, 2500, (50, 2))
    assert np.array_equal(read(places), transform(places))


def test_json_says_what_is_wrong():
    with pytest.raises(ValueError, match="Unknown transform 'thin plate'"):
        Transform.from_dict({"class": "thin plate"})
    with pytest.raises(ValueError, match="homography.*'matrix'"):
        Transform.from_dict({"class": "homography"})
    with pytest.raises(ValueError, match="6 coefficients"):
        Quadratic(np.zeros((5, 2)), (0, 0), 1, [(0, 0), (1, 0), (0, 1)])


def test_similarity_is_never_a_mirror(points):
    mirrored = points * [-1, 1]
    matrix = Similarity.fit(points, mirrored).matrix[:2, :2]
    assert np.linalg.det(matrix) >= 0
    assert np.allclose(matrix.T @ matrix, np.linalg.det(matrix) * np.eye(2))


@pytest.mark.parametrize("kind", CLASSES)
def test_points_that_do_not_determine_the_class(kind, points):
    line = np.column_stack([np.linspace(0, 1000, 30), np.linspace(0, 500, 30)])
    cases = [np.ones((30, 2)), points[: kind.minimum_points - 1]]
    if kind is not Similarity:
        cases.append(line)
    for case in cases:
        with pytest.raises(ValueError, match=kind.name) as error:
            kind.fit(case, case + 1.0)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="finite"):
        kind.fit(points, np.where(np.arange(60)[:, None] == 3, np.nan, points))
    with pytest.raises(ValueError, match="agree in number"):
        kind.fit(points, points[:-1])
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        kind.fit(points[:, :1], points)
    with pytest.raises(ValueError, match="not negative"):
        kind.fit(points, points, -np.ones(60))


def test_points_on_a_conic_do_not_determine_a_quadratic():
    angle = np.linspace(0, 6, 40)
    circle = 500 + 300 * np.column_stack([np.cos(angle), np.sin(angle)])
    Homography.fit(circle, circle)
    with pytest.raises(ValueError, match="quadratic"):
        Quadratic.fit(circle, circle)


@pytest.mark.parametrize("kind", POLYNOMIALS)
def test_cannot_run_away(kind, rng):
    """Fitted with noise in one corner, the far corner stays as near to the truth as the tangent is."""
    width = 2000
    bounded, free = [], []
    far = np.array([[width - 1.0, width - 1.0]])
    for _ in range(20):
        corner = rng.uniform(0, 500, (80, 2))
        noisy = corner + rng.normal(0, 1.5, corner.shape)
        fitted = kind.fit(corner, noisy)
        affine = Affine.fit(corner, noisy)
        bounded.append(np.linalg.norm(fitted(far) - far))
        # The same polynomial with a support that holds everything: what a polynomial would do if it were let.
        everywhere = kind(fitted.coefficients, fitted.center, fitted.scale, [(-1e5, -1e5), (1e5, -1e5), (0, 2e5)])
        free.append(np.linalg.norm(everywhere(far) - far))
        assert bounded[-1] < np.linalg.norm(affine(far) - far) + width / 10
    assert np.median(bounded) < np.median(free) / 2
    assert max(bounded) < width / 10


@pytest.mark.parametrize("kind", POLYNOMIALS)
def test_continues_as_a_straight_line(kind, points):
    transform = one_of(kind, points)
    corner = transform.support[0]
    outwards = corner - transform.support.mean(0)
    outwards /= np.linalg.norm(outwards)
    line = transform(corner + np.linspace(0, 3000, 7)[:, None] * outwards)
    steps = np.diff(line, axis=0)
    assert np.abs(steps - steps[0]).max() < 1e-6
    # Continuous in value and in derivative across the border of the support.
    inner, outer = corner - 1e-6 * outwards, corner + 1e-6 * outwards
    assert np.abs(transform(inner[None]) - transform(outer[None])).max() < 1e-4
    assert np.abs(transform.jacobian(inner[None]) - transform.jacobian(outer[None])).max() < 1e-6


def test_support_is_the_hull_of_the_points_that_count(points):
    weights = np.ones(len(points))
    weights[np.argmax(points[:, 0])] = 0
    transform = Quadratic.fit(points, curved(points), weights)
    assert transform.support[:, 0].max() < points[:, 0].max()
    assert {tuple(corner) for corner in transform.support} <= {tuple(point) for point in points}


def picture(height, width, at):
    """A smooth pattern, sampled at the places `at`, (..., 2)."""
    x, y = at[..., 0], at[..., 1]
    return 120 + 50 * np.sin(x / 17) * np.cos(y / 23) + 40 * np.sin((x + y) / 41)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("size", [(240, 320), (601, 401)])
def test_warp_agrees_with_points(kind, size, points):
    """Every pixel of the warped image shows the pattern at the place that the inverse of the transform names."""
    transform = kind.fit(points / 5, curved(points) / 5)
    grid = np.stack(np.meshgrid(np.arange(450.0), np.arange(420.0)), axis=-1)
    image = picture(420, 450, grid).astype(np.float32)
    warped = transform.warp(image, size, order=3, fill=-1)
    assert warped.shape == size and warped.dtype == np.float32
    target = np.stack(np.meshgrid(np.arange(float(size[1])), np.arange(float(size[0]))), axis=-1)
    source = transform.inverse(target.reshape(-1, 2)).reshape(target.shape)
    inside = (source >= 3).all(-1) & (source[..., 0] <= 446) & (source[..., 1] <= 416)
    outside = (source < -3).any(-1) | (source[..., 0] > 453) | (source[..., 1] > 423)
    assert inside.mean() > 0.2
    # The pattern changes by at most 5 gray levels a pixel: 0.5 are a tenth of a pixel.
    assert np.abs(warped - picture(0, 0, source))[inside].max() < 0.5
    assert np.allclose(warped[outside], -1)


def test_warp_keeps_type_and_channels(rng):
    image = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
    identity = Similarity(np.eye(3))
    for order in (0, 1, 3):
        assert np.array_equal(identity.warp(image, order=order), image)
    assert np.array_equal(identity.warp(image[..., 0]), image[..., 0])
    larger = identity.warp(image, (100, 95), fill=7)
    assert larger.shape == (100, 95, 3) and (larger[75:] == 7).all()
    with pytest.raises(ValueError, match="order.*2"):
        identity.warp(image, order=2)


def test_beyond_the_horizon_is_nothing():
    transform = Homography([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1]])
    assert np.isnan(transform(np.array([[150.0, 0.0]]))).all()
    assert np.isfinite(transform(np.array([[50.0, 0.0]]))).all()
