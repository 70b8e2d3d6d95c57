"""Parts of a polynomial in the plane: monomials, their derivatives, and the convex area it is good for."""

import numpy as np


def monomials(uv: np.ndarray, degree: int) -> np.ndarray:
    """Gives 1, u, v, u^2, uv, v^2 (, u^3, u^2 v, u v^2, v^3), (N, T)."""
    u, v = uv[:, 0], uv[:, 1]
    terms = [np.ones(len(uv)), u, v, u * u, u * v, v * v]
    if degree == 3:
        terms += [u**3, u * u * v, u * v * v, v**3]
    return np.stack(terms, axis=1)


def monomial_derivatives(uv: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives the derivatives of the monomials by u and by v, (N, T) each."""
    u, v = uv[:, 0], uv[:, 1]
    zero, one = np.zeros(len(uv)), np.ones(len(uv))
    du = [zero, one, zero, 2 * u, v, zero]
    dv = [zero, zero, one, zero, u, 2 * v]
    if degree == 3:
        du += [3 * u * u, 2 * u * v, v * v, zero]
        dv += [zero, u * u, 2 * u * v, 3 * v * v]
    return np.stack(du, axis=1), np.stack(dv, axis=1)


def monomial_second_derivatives(uv: np.ndarray, degree: int) -> np.ndarray:
    """Gives the second derivatives of the monomials, (N, 2, 2, T)."""
    u, v = uv[:, 0], uv[:, 1]
    zero, two, one = np.zeros(len(uv)), np.full(len(uv), 2.0), np.ones(len(uv))
    uu, mixed, vv = [zero, zero, zero, two, zero, zero], [zero] * 4 + [one, zero], [zero] * 5 + [two]
    if degree == 3:
        uu += [6 * u, 2 * v, zero, zero]
        mixed += [zero, 2 * u, 2 * v, zero]
        vv += [zero, zero, 2 * u, 6 * v]
    uu, mixed, vv = (np.stack(terms, axis=1) for terms in (uu, mixed, vv))
    return np.stack([np.stack([uu, mixed], axis=1), np.stack([mixed, vv], axis=1)], axis=1)


def inside_hull(points: np.ndarray, hull: np.ndarray) -> np.ndarray:
    """Says which points lie in the convex polygon, (N,); its corners may run either way around."""
    if len(hull) < 3:
        return np.zeros(len(points), dtype=bool)
    following = np.roll(hull, -1, axis=0)
    signs = np.stack(
        [
            (b[0] - a[0]) * (points[:, 1] - a[1]) - (b[1] - a[1]) * (points[:, 0] - a[0])
            for a, b in zip(hull, following, strict=True)
        ]
    )
    return (signs >= 0).all(0) | (signs <= 0).all(0)


def nearest_on_hull(points: np.ndarray, hull: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives the nearest border point, (N, 2), and the unit direction of its edge, or (0, 0) where it is a corner."""
    best = np.full(len(points), np.inf)
    nearest, along = np.zeros_like(points), np.zeros_like(points)
    for a, b in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        edge = b - a
        length = np.hypot(*edge)
        share = (points - a) @ edge / max(length**2, 1e-300)
        candidate = a + share.clip(0, 1)[:, None] * edge
        distance = np.linalg.norm(points - candidate, axis=1)
        closer = distance < best
        best[closer] = distance[closer]
        nearest[closer] = candidate[closer]
        on_edge = ((share > 0) & (share < 1))[:, None] & (length > 0)
        along[closer] = np.where(on_edge, edge / max(length, 1e-300), 0.0)[closer]
    return nearest, along


__all__ = ["inside_hull", "monomial_derivatives", "monomial_second_derivatives", "monomials", "nearest_on_hull"]
