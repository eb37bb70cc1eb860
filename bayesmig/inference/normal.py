"""Points of a standard normal with weights, and triangular roots of many small covariances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Part of a variance that is nothing but rounding.
_NOTHING = 1e-14
#: Standard deviation of log odds up to which Gauss-Hermite points are fewer than even steps for
#: the same error, and how far out these go, in standard deviations.
_GAUSSIAN, _REACH = 1.5, 4.5
#: Points of a product of axes at most; where they would be more, so many quasi-random ones, which
#: are within 1e-3 where log odds vary by less than ten or so.
_MOST = 4096


@dataclass(frozen=True, slots=True)
class Rule:
    """Points ``z (point, width)`` of a standard normal and the logs of their weights."""

    z: Array
    log_weights: Array


def gauss_hermite(along: int, width: int) -> Rule:
    """So many points along each of ``width`` axes."""
    return _product([_hermite(along)] * width)


def quasi_random(points: int, width: int, wider: float = 1.0) -> Rule:
    """Pairs of a scrambled Sobol sequence, stretched."""
    from scipy.special import ndtri
    from scipy.stats.qmc import Sobol

    half = ndtri(Sobol(width, rng=np.random.default_rng(0)).random(points // 2))
    normal = np.concatenate([half, -half])
    z = wider * normal
    density = (np.square(normal).sum(axis=1) - np.square(z).sum(axis=1)) / 2
    return Rule(z, density + width * np.log(wider) - np.log(points))


def rule_of_shares(spreads: Sequence[float]) -> Rule:
    """Points for averages of logit shares, each share within about 1e-5 per axis.

    A share is analytic in a strip along each axis that is as wide as log odds move slowly
    there, so that the error of both kinds of points falls exponentially with their number, of
    even steps with ``1 / spread``, of Gauss-Hermite points with its square (Trefethen and
    Weideman 2014, doi 10.1137/130932132): the latter are for what moves little.

    Parameters
    ----------
    spreads
        Of every axis, standard deviations of the log odds that move most along it. An axis
        along which nothing moves has one point.
    """
    counts = [_points_along(of) for of in spreads]
    if prod(counts) > _MOST:
        return quasi_random(_MOST, len(spreads))
    axes = [
        _hermite(n) if of <= _GAUSSIAN else _even(n) for n, of in zip(counts, spreads, strict=True)
    ]
    return _product(axes)


def _points_along(spread: float) -> int:
    if spread == 0:
        return 1
    return 3 + ceil(4 * spread**2) if spread <= _GAUSSIAN else ceil(6 + 4.5 * spread)


def _hermite(n: int) -> tuple[Array, Array]:
    z, weights = hermegauss(n)
    return z, np.log(weights / weights.sum())


def _even(n: int) -> tuple[Array, Array]:
    z = np.linspace(-_REACH, _REACH, n)
    weights = np.exp(-np.square(z) / 2)
    return z, np.log(weights / weights.sum())


def _product(axes: Sequence[tuple[Array, Array]]) -> Rule:
    """All combinations of the points of some axes, each with its logs of weights."""
    grid = np.array(list(product(*(range(len(z)) for z, _ in axes))))
    z = np.stack([z[grid[:, a]] for a, (z, _) in enumerate(axes)], axis=1)
    return Rule(z, np.sum([logs[grid[:, a]] for a, (_, logs) in enumerate(axes)], axis=0))


def cholesky(matrix: Array) -> Array:
    """Lower factors of many small matrices, ``(..., k, k)``, a column zero where nothing varies."""
    k, root = matrix.shape[-1], np.zeros_like(matrix)
    for j in range(k):
        left = matrix[..., j, j] - np.square(root[..., j, :j]).sum(axis=-1)
        varies = ~(left <= _NOTHING * matrix[..., j, j])
        pivot = np.sqrt(np.where(varies, left, 0.0))
        root[..., j, j] = pivot
        for i in range(j + 1, k):
            rest = matrix[..., i, j] - (root[..., i, :j] * root[..., j, :j]).sum(axis=-1)
            np.divide(rest, pivot, out=root[..., i, j], where=varies)
    return root


def solve_lower(root: Array, b: Array) -> Array:
    """``x`` of ``root x = b``, ``b (..., k)``."""
    x = np.empty(np.broadcast_shapes(root.shape[:-1], b.shape))
    for i in range(root.shape[-1]):
        x[..., i] = (b[..., i] - (root[..., i, :i] * x[..., :i]).sum(axis=-1)) / root[..., i, i]
    return x
