"""Coordinates in which a hierarchical posterior is nearly a standard normal.

Around an expansion point the log-likelihood is quadratic in the effects ``u_g`` of a
group, ``-u' H u / 2 + (r - B delta)' u`` with ``delta`` the coefficients' distance from
that point. Given coefficients, scales and correlations the effects are then normal with
precision ``A = H + Pi``, so that

    u = A^-1 (r - B delta) + K'^-1 epsilon,   A = K K'

makes ``epsilon`` nearly independent standard normal: centred where a group's data are
many, non-centred where they are few. Coefficients, log scales and free vectors of the
correlations (theta) are whitened by the curvature of their marginal density under the
same approximation. The sampler's target carries the exact likelihood and Jacobian
(`bayesmig.inference.target`): the expansion decides how fast it is explored, never what
it is. Where a design has several factors, the one with the fewest groups follows the
coefficients (``B``); the others have their own ``H`` and ``r`` only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, Columns, utilities
from bayesmig.design.design import Design
from bayesmig.design.priors import PriorArray
from bayesmig.design.support import difference_rows
from bayesmig.inference import target as compiled
from bayesmig.inference.layout import Factor, Layout
from bayesmig.inference.stream import kernel

Array = NDArray[np.float64]
target: Any = compiled

_ROUNDS = 4
_NEWTON_STEPS = 50
_GAIN = 1e-6
#: Range of log sigma in which its mode is looked for.
_LOG_SIGMA = (-5.0, 3.0)
_START = np.log(0.5)
#: Least curvature of a direction of theta in the whitening.
_FLOOR = 1e-9
_FLOOR_HYPER = 0.2
_STEP = 1e-3


@dataclass(frozen=True, slots=True)
class Expansion:
    """What the coordinates are made of.

    Attributes
    ----------
    centre, root
        Of theta: ``theta = centre + root white``.
    coefficients
        Those at the expansion point.
    pull, curvature, cross
        ``r``, ``H`` and ``B`` of all groups of all factors, flat; only the factor named
        by ``coupled`` has a ``B``.
    coupled
        Position of that factor, -1 where there is none.
    """

    centre: Array
    root: Array
    coefficients: Array
    pull: Array
    curvature: Array
    cross: Array
    coupled: int


@dataclass(frozen=True, slots=True)
class _Quadratic:
    """Log-likelihood and coefficients' prior to second order around a point."""

    coefficients: Array
    effects: Array
    slope: Array
    """By coefficients, prior included."""
    pull: Array
    """By effects, plus H times the effects: flat."""
    curvature: Array
    """By coefficients, prior included."""
    cross: tuple[Array | None, ...]
    """(group, width, coefficient)"""
    own: tuple[Array, ...]
    """(group, width, width)"""


class _Problem:
    """A design, its kernel's data, priors and layout."""

    def __init__(
        self,
        design: Design,
        layout: Layout,
        data: tuple[Any, ...],
        prior: PriorArray,
        scale_prior: tuple[int, float, float],
    ) -> None:
        self.design, self.layout, self.data = design, layout, data
        self.prior, self.scale_prior = prior, scale_prior
        self.eta = design.spec.priors.correlation.eta
        # Any prior stands with the curvature of a normal of its scale.
        self.own_prior = np.where(prior.dist > 0, 1 / prior.scale**2, 0.0) + _FLOOR
        groups = [f.groups for f in layout.factors]
        self.coupled = int(np.argmin(groups)) if groups else -1

    def log_likelihood(self, coefficients: Array, effects: Array) -> tuple[float, Array, Array]:
        """Value, slope by coefficients, slope by effects; the prior is included."""
        value, prior_slope = self.prior.log_density(coefficients)
        slope, pull = np.empty_like(coefficients), np.empty_like(effects)
        (k, w), *_ = self.layout.coefficients
        value += kernel.log_likelihood(
            *self.data,
            coefficients[: k * w].reshape(k, w),
            coefficients[k * w :],
            effects,
            slope[: k * w].reshape(k, w),
            slope[k * w :],
            pull,
        )
        return value, slope + prior_slope, pull

    def quadratic(self, coefficients: Array, effects: Array) -> _Quadratic:
        _, slope, pull = self.log_likelihood(coefficients, effects)
        probabilities = self._probabilities(coefficients, effects)
        curvature, cross, own = curvatures(
            self.design.columns, self.layout.factors, probabilities, self.coupled
        )
        for factor, h in zip(self.layout.factors, own, strict=True):
            factor.effects.of(pull)[...] += np.einsum("gij,gj->gi", h, factor.effects.of(effects))
        curvature[np.diag_indices_from(curvature)] += self.own_prior
        return _Quadratic(coefficients, effects, slope, pull, curvature, cross, own)

    def _probabilities(self, coefficients: Array, effects: Array) -> Array:
        """``(obs, nonbase)``."""
        columns = self.design.columns
        at = Coefficients(
            *self.layout.split(coefficients),
            effects={f.by: f.effects.of(effects).reshape(f.shape) for f in self.layout.factors},
        )
        p = np.exp(log_probabilities(np, utilities(np, columns, at), columns.available))
        return np.delete(p, columns.base, axis=1)

    def precision(self, factor: Factor, theta: Array) -> tuple[Array, Array]:
        """Prior precision of a group's effects, and the root of their covariance."""
        correlation = -1 if factor.correlation is None else factor.correlation.start
        root = target.scaled_factor(theta, factor.log_sigma.start, correlation, factor.width)
        return target.precision_of(root), root


def curvatures(
    columns: Columns, factors: tuple[Factor, ...], p: Array, coupled: int
) -> tuple[Array, tuple[Array | None, ...], tuple[Array, ...]]:
    """Minus the second derivatives of the log-likelihood.

    ``sum_n D'(diag(p) - pp')D`` over utility differences ``D`` to the base.

    Parameters
    ----------
    columns
        The data.
    factors
        The group factors.
    p
        Probabilities, ``(obs, nonbase)``.
    coupled
        Position of the factor whose cross derivatives are wanted.

    Returns
    -------
    tuple
        By coefficients ``(c, c)``; by effects and coefficients, ``(group, width, c)``
        for the coupled factor, ``None`` for others; by effects,
        ``(group, width, width)`` of every factor.
    """
    own = tuple(_own_curvature(columns.groups[f.by], f, p) for f in factors)
    cross: list[Array | None] = [None] * len(factors)
    total, start = np.zeros((0, 0)), 0
    for rows in difference_rows(replace(columns, groups={})):
        blocks = rows.reshape(-1, p.shape[1], rows.shape[1])
        q = p[start : start + len(blocks), :, None]
        weighted = q * (blocks - (q * blocks).sum(axis=1, keepdims=True))
        part = rows.T @ weighted.reshape(rows.shape)
        total = part if start == 0 else total + part
        if coupled >= 0:
            of = slice(start, start + len(blocks))
            more = _cross_curvature(
                columns.groups[factors[coupled].by], factors[coupled], weighted, of
            )
            before = cross[coupled]
            cross[coupled] = more if before is None else before + more
        start += len(blocks)
    return total, tuple(cross), own


def _own_curvature(data: tuple[Any, Array], factor: Factor, p: Array) -> Array:
    (codes, terms), (groups, width, q) = data, factor.shape
    out = np.empty((groups, width, q, width, q))
    for w in range(width):
        for v in range(w + 1):
            weight = p[:, w] * ((w == v) - p[:, v])
            for t in range(q):
                for s in range(q):
                    sums = np.bincount(codes, weight * terms[:, t] * terms[:, s], groups)
                    out[:, w, t, v, s] = sums
                    out[:, v, s, w, t] = sums
    return out.reshape(groups, width * q, width * q)


def _cross_curvature(
    data: tuple[Any, Array], factor: Factor, weighted: Array, rows: slice
) -> Array:
    (codes, terms), (groups, width, q) = data, factor.shape
    out = np.empty((groups, width, q, weighted.shape[2]))
    where = (codes[rows], np.arange(len(weighted)))
    for t in range(q):
        sums = sparse.csr_array((terms[rows, t], where), shape=(groups, len(weighted)))
        for w in range(width):
            out[:, w, t] = sums @ weighted[:, w]
    return out.reshape(groups, width * q, -1)


# --------------------------------------------------------------------------- the mode


def expand(
    design: Design,
    layout: Layout,
    data: tuple[Any, ...],
    prior: PriorArray,
    scale_prior: tuple[int, float, float],
) -> Expansion:
    """Expand the posterior of a design around its approximate mode.

    Newton steps find the mode of coefficients and effects given scales; the scales then
    move to the mode of their approximate marginal density; and again.

    Parameters
    ----------
    design, layout
        The design and where its parameters lie.
    data
        The data arguments of the kernel.
    prior
        Of all coefficients.
    scale_prior
        Kind, scale and degrees of freedom of the prior of standard deviations.
    """
    problem = _Problem(design, layout, data, prior, scale_prior)
    theta = np.zeros(layout.n_theta)
    c = layout.n_coefficients
    theta[:c] = np.where(prior.dist > 0, prior.loc, 0.0)
    for factor in layout.factors:
        factor.log_sigma.of(theta)[...] = _START
    effects = np.zeros(layout.n_effects)
    for _ in range(_ROUNDS if layout.factors else 1):
        theta[:c], effects = _mode(problem, theta, theta[:c].copy(), effects)
        quadratic = problem.quadratic(theta[:c].copy(), effects)
        before, theta = theta, _marginal_mode(problem, quadratic, theta)
        if np.abs(theta[c:] - before[c:]).max(initial=0.0) < 0.05:
            break
    parts = [np.zeros(0)] + [h.ravel() for h in quadratic.own]
    cross = [np.zeros(0)] + [b.ravel() for b in quadratic.cross if b is not None]
    return Expansion(
        centre=theta,
        root=_whitening(problem, quadratic, theta),
        coefficients=quadratic.coefficients,
        pull=quadratic.pull,
        curvature=np.concatenate(parts),
        cross=np.concatenate(cross),
        coupled=problem.coupled,
    )


def _mode(
    problem: _Problem, theta: Array, coefficients: Array, effects: Array
) -> tuple[Array, Array]:
    """Mode of coefficients and effects given scales and correlations."""
    factors = problem.layout.factors
    precisions = [problem.precision(f, theta)[0] for f in factors]

    def value_at(coefficients: Array, effects: Array) -> float:
        value = problem.log_likelihood(coefficients, effects)[0]
        for factor, precision in zip(factors, precisions, strict=True):
            u = factor.effects.of(effects)
            value -= 0.5 * float(np.einsum("gi,ij,gj->", u, precision, u))
        return value

    value = value_at(coefficients, effects)
    for _ in range(_NEWTON_STEPS):
        quadratic = problem.quadratic(coefficients, effects)
        step, moves = _newton_step(problem, quadratic, precisions)
        size, gain = 1.0, -1.0
        while gain < 0 and size > 1e-6:
            tried = coefficients + size * step, effects + size * moves
            gain = value_at(*tried) - value
            size /= 2
        if gain <= 0:
            break
        (coefficients, effects), value = tried, value + gain
        if gain < _GAIN:
            break
    return coefficients, effects


def _newton_step(problem: _Problem, at: _Quadratic, precisions: list[Array]) -> tuple[Array, Array]:
    """Exact for coefficients and the coupled factor; each other factor moves alone."""
    lead, matrix, slope = problem.coupled, at.curvature.copy(), at.slope.copy()
    moves, solved = np.empty_like(at.effects), None
    for k, factor in enumerate(problem.layout.factors):
        a = at.own[k] + precisions[k]
        u = factor.effects.of(at.effects)
        gap = factor.effects.of(at.pull) - np.einsum("gij,gj->gi", a, u)
        factor.effects.of(moves)[...] = np.linalg.solve(a, gap[:, :, None])[:, :, 0]
        if k == lead:
            cross = at.cross[k]
            assert cross is not None
            solved = np.linalg.solve(a, cross)
            matrix -= np.einsum("gic,gid->cd", cross, solved)
            slope -= np.einsum("gic,gi->c", cross, factor.effects.of(moves))
    step = np.linalg.solve(matrix, slope)
    if solved is not None:
        problem.layout.factors[lead].effects.of(moves)[...] -= solved @ step
    return step, moves


# ----------------------------------------------------------- the marginal of theta


def _surrogate(problem: _Problem, at: _Quadratic, theta: Array) -> tuple[float, Array]:
    """Log marginal density of theta where the likelihood is the quadratic, and slope."""
    c = len(at.coefficients)
    delta = theta[:c] - at.coefficients
    slope = np.zeros_like(theta)
    linear = at.slope.copy()
    for k, factor in enumerate(problem.layout.factors):
        if (cross := at.cross[k]) is not None:
            linear += np.einsum("gic,gi->c", cross, factor.effects.of(at.effects))
    slope[:c] = linear - at.curvature @ delta
    value = float(delta @ (linear + slope[:c]) / 2)
    for k, factor in enumerate(problem.layout.factors):
        precision, root = problem.precision(factor, theta)
        a, cross = at.own[k] + precision, at.cross[k]
        pull = factor.effects.of(at.pull)
        if cross is not None:
            pull = pull - cross @ delta
        inverse = np.linalg.inv(a)
        mean = np.einsum("gij,gj->gi", inverse, pull)
        value += 0.5 * float((pull * mean).sum()) - 0.5 * float(np.linalg.slogdet(a)[1].sum())
        if cross is not None:
            slope[:c] -= np.einsum("gic,gi->c", cross, mean)
        by_precision = -0.5 * (mean.T @ mean + inverse.sum(axis=0))
        correlation = -1 if factor.correlation is None else factor.correlation.start
        value += target.hyper(
            theta, slope, root, precision, by_precision, factor.groups, factor.width,
            factor.log_sigma.start, correlation, problem.eta, problem.scale_prior,
        )  # fmt: skip
    return value, slope


def _best_coefficients(problem: _Problem, at: _Quadratic, theta: Array) -> Array:
    """Theta with its coefficients at their best given the rest: they are quadratic."""
    c = len(at.coefficients)
    out = theta.copy()
    out[:c] = at.coefficients
    slope = _surrogate(problem, at, out)[1][:c]
    out[:c] += np.linalg.solve(_coefficient_curvature(problem, at, theta), slope)
    return out


def _coefficient_curvature(problem: _Problem, at: _Quadratic, theta: Array) -> Array:
    matrix = at.curvature.copy()
    if problem.coupled >= 0:
        k = problem.coupled
        cross = at.cross[k]
        assert cross is not None
        a = at.own[k] + problem.precision(problem.layout.factors[k], theta)[0]
        matrix -= np.einsum("gic,gid->cd", cross, np.linalg.solve(a, cross))
    return matrix


def _marginal_mode(problem: _Problem, at: _Quadratic, theta: Array) -> Array:
    """Mode of theta under the surrogate, scales within a sensible range."""
    c = len(at.coefficients)
    if len(theta) == c:
        return theta
    bounds: list[tuple[float, float]] = []
    for factor in problem.layout.factors:
        bounds += [_LOG_SIGMA] * factor.width
        if factor.correlation is not None:
            bounds += [(-5.0, 5.0)] * factor.correlation.shape[0]

    def objective(hyper: Array) -> tuple[float, Array]:
        tried = _best_coefficients(problem, at, np.concatenate([theta[:c], hyper]))
        value, slope = _surrogate(problem, at, tried)
        return -value, -slope[c:]

    found = minimize(objective, theta[c:], jac=True, method="L-BFGS-B", bounds=bounds)
    return _best_coefficients(problem, at, np.concatenate([theta[:c], found.x]))


def _whitening(problem: _Problem, at: _Quadratic, theta: Array) -> Array:
    """Root of the inverse curvature of the surrogate at a point."""
    c, t = len(at.coefficients), len(theta)
    matrix = np.zeros((t, t))
    matrix[:c, :c] = _coefficient_curvature(problem, at, theta)
    for k in range(c, t):
        step = np.zeros(t)
        step[k] = _STEP
        gap = _surrogate(problem, at, theta + step)[1] - _surrogate(problem, at, theta - step)[1]
        matrix[k, :] = -gap / (2 * _STEP)
        matrix[:c, k] = matrix[k, :c]
    matrix[c:, c:] = (matrix[c:, c:] + matrix[c:, c:].T) / 2
    # The part of the scales' own curvature that the coefficients do not explain.
    left = matrix[c:, c:] - matrix[c:, :c] @ np.linalg.solve(matrix[:c, :c], matrix[:c, c:])
    values, vectors = np.linalg.eigh(left)
    lifted = (vectors * (np.maximum(values, _FLOOR_HYPER) - values)) @ vectors.T
    matrix[c:, c:] += lifted
    factor = np.linalg.cholesky(matrix)
    return np.linalg.solve(factor, np.eye(t)).T
