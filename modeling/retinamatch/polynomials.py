"""Parts of a polynomial in the plane: monomials, their derivatives, and the convex area it is good for."""

import numpy as np


def monomials(uv: np.ndarray, degree: int) -> np.ndarray:
    """Evaluate 1, u, v, u^2, uv, v^2 and for degree 3 u^3, u^2 v, u v^2, v^3 at points (N, 2): (N, T)."""
    u, v = uv[:, 0], uv[:, 1]
    terms = [np.ones(len(uv)), u, v, u * u, u * v, v * v]
    if degree == 3:
        terms += [u**3, u * u * v, u * v * v, v**3]
    return np.stack(terms, axis=1)


def monomial_derivatives(uv: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate the derivatives of the monomials by u and by v at points (N, 2): (N, T) each."""
    u, v = uv[:, 0], uv[:, 1]
    zero, one = np.zeros(len(uv)), np.ones(len(uv))
    du = [zero, one, zero, 2 * u, v, zero]
    dv = [zero, zero, one, zero, u, 2 * v]
    if degree == 3:
        du += [3 * u * u, 2 * u * v, v * v, zero]
        dv += [zero, u * u, 2 * u * v, 3 * v * v]
    return np.stack(du, axis=1), np.stack(dv, axis=1)


def monomial_second_derivatives(uv: np.ndarray, degree: int) -> np.ndarray:
    """Evaluate the second derivatives of the monomials at points (N, 2): (N, 2, 2, T)."""
    u, v = uv[:, 0], uv[:, 1]
    zero, two, one = np.zeros(len(uv)), np.full(len(uv), 2.0), np.ones(len(uv))
    uu, mixed, vv = [zero, zero, zero, two, zero, zero], [zero] * 4 + [one, zero], [zero] * 5 + [two]
    if degree == 3:
        uu += [6 * u, 2 * v, zero, zero]
        mixed += [zero, 2 * u, 2 * v, zero]
        vv += [zero, zero, 2 * u, 6 * v]
    by_uu, by_uv, by_vv = (np.stack(terms, axis=1) for terms in (uu, mixed, vv))
    return np.stack([np.stack([by_uu, by_uv], axis=1), np.stack([by_uv, by_vv], axis=1)], axis=1)


def inside_hull(points: np.ndarray, hull: np.ndarray) -> np.ndarray:
    """Tell which points lie in a convex polygon.

    Args:
        points: (N, 2).
        hull: (K, 2) corners in order, either way around.

    Returns:
        (N,) bool; all False for a polygon of less than three corners.
    """
    if len(hull) < 3:
        return np.zeros(len(points), dtype=bool)
    edges = np.roll(hull, -1, axis=0) - hull
    signs = edges[:, :1] * (points[:, 1] - hull[:, 1:]) - edges[:, 1:] * (points[:, 0] - hull[:, :1])
    return np.logical_or((signs >= 0).all(0), (signs <= 0).all(0))


def nearest_on_hull(points: np.ndarray, hull: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest points on the border of a convex polygon.

    Args:
        points: (N, 2).
        hull: (K, 2) corners in order, either way around.

    Returns:
        The nearest points, (N, 2), and the unit directions of their edges, (N, 2), (0, 0) where they are corners.
    """
    x, y = points[:, :1] - hull[:, 0], points[:, 1:] - hull[:, 1]  # (N, K) each, from the beginning of every edge
    edges = np.roll(hull, -1, axis=0) - hull
    squares = (edges**2).sum(1)
    fraction = (x * edges[:, 0] + y * edges[:, 1]) / np.maximum(squares, 1e-300)
    within = fraction.clip(0, 1)
    best = ((x - within * edges[:, 0]) ** 2 + (y - within * edges[:, 1]) ** 2).argmin(1)
    row = np.arange(len(points))
    fraction, within, edge, length = fraction[row, best], within[row, best], edges[best], np.sqrt(squares[best])
    on_edge = ((fraction > 0) & (fraction < 1) & (length > 0))[:, None]
    along = np.where(on_edge, edge / np.maximum(length, 1e-300)[:, None], 0.0)
    return hull[best] + within[:, None] * edge, along


__all__ = ["inside_hull", "monomial_derivatives", "monomial_second_derivatives", "monomials", "nearest_on_hull"]
