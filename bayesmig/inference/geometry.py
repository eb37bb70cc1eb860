"""Coordinates in which a hierarchical posterior is nearly a standard normal.

Around an expansion point the log-likelihood is quadratic in the effects ``u_g`` of a
group, ``-u' H u / 2 + (r - B delta)' u`` with ``delta`` the coefficients' distance from
that point. Given coefficients, scales and correlations the effects are then normal with
precision ``A = H + Pi``, so that

    u = A^-1 (r - B delta) + K'^-1 epsilon,   A = K K'

makes ``epsilon`` nearly independent standard normal: centred where a group's data are
many, non-centred where they are few. Groups that lie in others, as households in their
places of origin, also follow the effects of these (`bayesmig.inference.target`).
Coefficients, log scales and free vectors of the correlations (theta) are whitened by the
curvature of their marginal density under the same approximation. The sampler's target
carries the exact likelihood and Jacobian: the expansion decides how fast it is explored,
never what it is.

Where a design has several factors, the one with the fewest groups follows the
coefficients (``B``), and so does one that lies in it (and has ``C``). Others have their
own ``H`` and ``r`` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesmig.design.priors import PriorArray
from bayesmig.inference.blocks import Blocks, pieces
from bayesmig.inference.layout import Factor, Layout
from bayesmig.inference.machine_code import Library
from bayesmig.inference.memory import CROSS, FIELDS, GROUPS, LINKS, OWN, PARENT, WIDTH

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
kernel = Library("bayesmig.inference.kernel")
target = Library("bayesmig.inference.target")

_ROUNDS = 5
_NEWTON_STEPS = 50
#: Nats that a Newton step must promise to be followed by another, and their share of the
#: rounding of a log density, where that is more.
_GAIN, _OF_NOISE = 1e-6, 0.01
#: The same of a step of the scales, and such steps at most.
_GAIN_OF_SCALES, _DESCENTS = 1e-6, 100
#: Range of log sigma, and of correlations' free vectors, in which the mode is looked for.
_LOG_SIGMA, _FREE = (-5.0, 3.0), (-3.0, 3.0)
_START = np.log(0.5)
#: Least curvature of a direction of theta in the whitening.
_FLOOR = 1e-9
_FLOOR_HYPER = 0.2
_STEP = 1e-3
#: Parts that a pass over the rows is cut into, whatever the number of cores, and blocks
#: that make one worth it: sums are then the same everywhere.
_PARTS, _PART_BLOCKS = 8, 32


class NoCurvature(np.linalg.LinAlgError):
    """A curvature by theta is not positive definite.

    Attributes
    ----------
    along
        Position in theta of what the flattest direction is most of all: the largest entry of
        the eigenvector of the smallest eigenvalue, all being of one curvature by themselves.
    """

    def __init__(self, curvature: Array) -> None:
        super().__init__("a curvature is not positive definite")
        size = np.sqrt(np.abs(np.diag(curvature)))
        size = np.where(size > 0, size, 1.0)
        scaled = curvature / np.outer(size, size)
        if np.isfinite(scaled).all():
            self.along = int(np.abs(np.linalg.eigh(scaled)[1][:, 0]).argmax())
        else:
            self.along = int((~np.isfinite(scaled)).sum(axis=0).argmax())


@dataclass(frozen=True, slots=True)
class Expansion:
    """What the coordinates are made of.

    Attributes
    ----------
    centre, root
        Of theta: ``theta = centre + root white``.
    table, arrays
        The arguments ``layout`` and ``expansion`` of `bayesmig.inference.target`.
    by_coefficients
        Slope and curvature of the log density by coefficients, effects at zero.
    short_of_mode
        Nats that the search for the mode left to gain where it ended before it; else less than
        what counts.
    """

    centre: Array
    root: Array
    table: tuple[Codes, Array]
    arrays: tuple[Any, ...]
    by_coefficients: tuple[Array, Array]
    short_of_mode: float

    def whitened(self, centre: Array, values: Array, vectors: Array) -> Expansion:
        """The same over coordinates with another centre, and their curvature taken to be one.

        Parameters
        ----------
        centre
            Of theta.
        values, vectors
            Eigenvalues, above zero, and eigenvectors of the curvature of these coordinates.
        """
        # The symmetric root: every coordinate stays nearly what it was, scales among them.
        root = self.root @ (vectors / np.sqrt(values)) @ vectors.T
        return replace(self, centre=centre, root=root)


class Point(NamedTuple):
    """Theta, all effects, and the log density there given scales and correlations.

    Its slope by coefficients is that of likelihood and prior, the pull on effects the
    likelihood's alone.
    """

    theta: Array
    effects: Array
    value: float
    slope: Array
    pull: Array


class Problem:
    """A posterior as its expansion sees it.

    Parameters
    ----------
    layout
        Where its parameters lie.
    blocks, chosen
        Rows, and sums of the chosen utilities, as the kernel reads them.
    codes
        Name of a factor -> group of every row.
    prior
        Of all coefficients.
    scale_prior
        Kind, scale and degrees of freedom of the prior of standard deviations.
    eta
        Of the correlations' prior.
    """

    def __init__(
        self,
        layout: Layout,
        blocks: Blocks,
        chosen: tuple[Array, Array, Array],
        codes: Mapping[str, Codes],
        prior: PriorArray,
        scale_prior: tuple[int, float, float],
        eta: float,
    ) -> None:
        self.layout, self.blocks, self.chosen = layout, blocks, chosen
        self.prior, self.scale_prior = prior, scale_prior
        self.prior_arrays = (prior.dist, prior.loc, prior.scale, prior.df)
        # Any prior stands with the curvature of a normal of its scale.
        self.own_prior = np.where(prior.dist > 0, 1 / prior.scale**2, 0.0) + _FLOOR
        self.outer, self.inner, self.members = nesting(layout.factors, codes)
        self.table = self._table(), np.full(len(layout.factors), eta)

    @property
    def rounding(self) -> float:
        """That of log densities, as a share of them."""
        return float(np.finfo(self.blocks.arrays[0].dtype).eps)

    @property
    def places(self) -> Codes:
        """The kernel's argument ``places``."""
        return np.ascontiguousarray(self.table[0][:, [OWN, CROSS, LINKS, PARENT]])

    def _table(self) -> Codes:
        """`FIELDS` of every factor."""
        c, rows, own, cross, links = self.layout.n_coefficients, [], 0, 0, 0
        for k, f in enumerate(self.layout.factors):
            coupled = k in (self.outer, self.inner)
            wide = self.layout.factors[self.outer].width if k == self.inner else 0
            rows.append(
                (
                    f.groups,
                    f.width,
                    self.layout.n_theta + f.effects.start,
                    f.log_sigma.start,
                    -1 if f.correlation is None else f.correlation.start,
                    f.effects.start,
                    own,
                    cross if coupled else -1,
                    links if wide else -1,
                    self.outer if wide else -1,
                    f.copies,
                )
            )
            own += f.groups * f.width**2
            cross += f.groups * f.width * c if coupled else 0
            links += f.groups * f.width * wide
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(FIELDS))

    # ------------------------------------------------------------- value and curvature

    def _shared(self, work: Callable[[tuple[Any, ...]], Any], most: int = _PARTS) -> list[Any]:
        """Some work on every part of the rows, in order."""
        count = self.blocks.count
        parts = pieces(count, min(most, max(1, count // _PART_BLOCKS)))
        data = [self.blocks.part(part) for part in parts]
        if len(parts) == 1:
            return [work(data[0])]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(work, data))

    def _parameters(self, theta: Array, effects: Array) -> tuple[Array, Array, Array]:
        c, shape = self.layout.n_coefficients, self.chosen[0].shape
        n = prod(shape)
        return theta[:n].reshape(shape), theta[n:c], effects

    def log_likelihood(
        self, theta: Array, effects: Array, parts: int = _PARTS
    ) -> tuple[float, Array, Array]:
        """Value, slope by coefficients, slope by effects; rows in so many parts at most."""
        parameters = self._parameters(theta, effects)
        nothing = tuple(np.zeros_like(part) for part in self.chosen)

        def work(data: tuple[Any, ...]) -> tuple[float, list[Array]]:
            slopes = [np.empty_like(part) for part in self.chosen]
            return kernel.log_likelihood(data, nothing, *parameters, *slopes), slopes

        value = sum(float((x * p).sum()) for x, p in zip(self.chosen, parameters, strict=True))
        slopes = [part.copy() for part in self.chosen]
        for part, more in self._shared(work, parts):
            value += part
            for slope, extra in zip(slopes, more, strict=True):
                slope += extra
        return value, np.concatenate([slopes[0].ravel(), slopes[1]]), slopes[2]

    def at(self, theta: Array, effects: Array) -> Point:
        """Log density of coefficients and effects given scales and correlations."""
        value, slope, pull = self.log_likelihood(theta, effects)
        of_prior, slope_of_prior = self.prior.log_density(theta[: self.layout.n_coefficients])
        value += of_prior
        for factor in self.layout.factors:
            u, precision = factor.effects.of(effects), self.precision(factor, theta)
            value -= 0.5 * float(np.einsum("gi,ij,gj->", u, precision, u))
        return Point(theta, effects, value, slope + slope_of_prior, pull)

    def precision(self, factor: Factor, theta: Array) -> Array:
        """Prior precision of a group's effects."""
        correlation = -1 if factor.correlation is None else factor.correlation.start
        start, width = factor.log_sigma.start, factor.width
        of: Array = target.effects_precision(theta, start, correlation, width, factor.copies)
        return of

    def expanded(self, point: Point) -> Quadratic:
        """Log-likelihood and coefficients' prior to second order around a point."""
        c, table = self.layout.n_coefficients, self.table[0]
        theta, effects = point.theta, point.effects
        slope, pull = point.slope.copy(), point.pull.copy()
        sizes = [0, 0, 0]
        for k, f in enumerate(self.layout.factors):
            sizes[0] += f.groups * f.width**2
            if table[k, CROSS] >= 0:
                sizes[1] += f.groups * f.width * c
            if table[k, LINKS] >= 0:
                sizes[2] += f.groups * f.width * self.layout.factors[self.outer].width
        parameters = self._parameters(theta, effects)

        def work(data: tuple[Any, ...]) -> list[Array]:
            found = [np.zeros((c, c)), *map(np.zeros, sizes)]
            kernel.curvature(data, *parameters, self.places, *found)
            return found

        curvature, own, cross, links = (sum(part) for part in zip(*self._shared(work), strict=True))
        curvature[np.diag_indices(c)] += self.own_prior
        arrays = (theta[:c].copy(), pull, own, cross, links, self.members)
        at = Quadratic(self, arrays, slope, curvature)
        # Slopes are those at no effects: add what the effects here take from them.
        for k, factor in enumerate(self.layout.factors):
            u = factor.effects.of(effects)
            factor.effects.of(pull)[...] += np.einsum("gij,gj->gi", at.own(k), u)
            if k in (self.outer, self.inner):
                slope += np.einsum("gic,gi->c", at.cross(k), u)
        if self.inner >= 0:
            outer, inner = (self.layout.factors[k].effects for k in (self.outer, self.inner))
            u, v = inner.of(effects), outer.of(effects)
            inner.of(pull)[...] += np.einsum("gij,gj->gi", at.links(), v[self.members])
            np.add.at(outer.of(pull), self.members, np.einsum("gij,gi->gj", at.links(), u))
        return at


def nesting(factors: tuple[Factor, ...], codes: Mapping[str, Codes]) -> tuple[int, int, Codes]:
    """The factor with the fewest groups, one that lies in it, and how.

    One group of all rows, as a smooth has, would lie around everything. It stands aside,
    since each group would be coupled to all its effects; but deviations from shared
    coefficients must be coupled to these, which they could replace.

    Parameters
    ----------
    factors
        The group factors.
    codes
        Name of a factor -> group of every row.

    Returns
    -------
    tuple
        Positions of both factors, -1 where there is none; and for every group of the
        second the group of the first that it lies in.
    """
    if not factors:
        return -1, -1, np.zeros(0, dtype=np.int64)
    grouped = sum(f.groups > 1 for f in factors)
    around = [
        f.groups == 1 and not (grouped == 0 or (f.deviates and grouped == 1)) for f in factors
    ]
    by_size = np.argsort([f.groups for f in factors], kind="stable")
    by_size = by_size[~np.array(around)[by_size]]
    outer = int(by_size[0])
    outside = codes[factors[outer].by]
    for k in map(int, by_size[1:]):
        inside = codes[factors[k].by]
        members = np.zeros(factors[k].groups, dtype=np.int64)
        members[inside] = outside
        if np.array_equal(members[inside], outside):
            return outer, k, members
    return outer, -1, np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Quadratic:
    """Log-likelihood and coefficients' prior to second order around a point.

    Attributes
    ----------
    problem
        What was expanded.
    arrays
        The argument ``expansion`` of `bayesmig.inference.target`.
    slope, curvature
        By the coefficients, effects at zero.
    """

    problem: Problem
    arrays: tuple[Any, ...]
    slope: Array
    curvature: Array

    def own(self, k: int) -> Array:
        """Factor ``k``'s part of the curvature, ``(group, width, width)``."""
        groups, width, start = self.problem.table[0][k, [GROUPS, WIDTH, OWN]]
        return _part(self.arrays[2], start, groups, width, width)

    def cross(self, k: int) -> Array:
        """Curvature by its effects and the coefficients, ``(group, width, c)``."""
        groups, width, start = self.problem.table[0][k, [GROUPS, WIDTH, CROSS]]
        return _part(self.arrays[3], start, groups, width, len(self.slope))

    def links(self) -> Array:
        """Curvature by inner and outer effects, ``(group, width, width of the outer)``."""
        table, problem = self.problem.table[0], self.problem
        groups, width = table[problem.inner, [GROUPS, WIDTH]]
        return _part(self.arrays[4], 0, groups, width, table[problem.outer, WIDTH])

    def marginal(self, theta: Array) -> tuple[float, Array]:
        """Log marginal density of theta under the expansion, and its slope."""
        c, slope = len(self.slope), np.zeros_like(theta)
        value = target.marginal_density(
            theta, slope, self.problem.scale_prior, self.problem.table, self.arrays
        )
        delta = theta[:c] - self.arrays[0]
        down = self.curvature @ delta
        slope[:c] += self.slope - down
        return value + float(delta @ (self.slope - down / 2)), slope

    def left(self, theta: Array) -> Array:
        """Curvature by coefficients that effects leave, at the scales of ``theta``."""
        matrix = self.curvature.copy()
        target.subtract_explained(theta, matrix, self.problem.table, self.arrays)
        return matrix

    def best(self, theta: Array) -> Array:
        """Theta with its coefficients at their best given the rest."""
        c, out = len(self.slope), theta.copy()
        out[:c] = self.arrays[0]
        left = self.left(theta)
        try:
            out[:c] += np.linalg.solve(left, self.marginal(out)[1][:c])
        except np.linalg.LinAlgError as err:
            raise NoCurvature(left) from err
        return out

    def effects(self, theta: Array) -> Array:
        """Effects at their best given theta."""
        t, layout = len(theta), self.problem.layout
        thetas, found = np.empty((1, t)), np.empty((1, layout.n_effects))
        target.locations(
            np.zeros((1, layout.size)),
            (theta, np.zeros((t, t))),
            self.problem.table,
            self.arrays,
            thetas,
            found,
        )
        return np.asarray(found[0])


def _part(flat: Array, start: int, *shape: int) -> Array:
    return flat[start : start + prod(shape)].reshape(shape)


def expand(
    problem: Problem, thinned: Problem | None = None, start: tuple[Array, Array] | None = None
) -> Expansion:
    """Expand a posterior around its approximate mode.

    Newton steps find the mode of coefficients and effects given scales; the scales then
    move to the mode of their approximate marginal density; and again.

    Parameters
    ----------
    problem
        The posterior.
    thinned
        That of a part of the rows, whose mode the steps then start from.
    start
        Theta and effects from which they start instead, such as the mode of nearly the same
        rows.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where a curvature is not positive definite; `NoCurvature` where it is that by theta.
    """
    layout = problem.layout
    theta, effects = np.zeros(layout.n_theta), np.zeros(layout.n_effects)
    theta[: layout.n_coefficients] = np.where(problem.prior.dist > 0, problem.prior.loc, 0.0)
    for factor in layout.factors:
        factor.log_sigma.of(theta)[...] = _START
    if start is not None:
        theta, effects = start
    elif thinned is not None:
        # A part may be short of a rank that the whole has.
        with suppress(np.linalg.LinAlgError):
            _, theta, effects, _ = _mode(thinned, theta, effects)
    quadratic, theta, _, short = _mode(problem, theta, effects)
    root, by_coefficients = _whitening(quadratic, theta), (quadratic.slope, quadratic.curvature)
    return Expansion(theta, root, problem.table, quadratic.arrays, by_coefficients, short)


def _mode(problem: Problem, theta: Array, effects: Array) -> tuple[Quadratic, Array, Array, float]:
    """Approximate mode of everything, and how many nats it falls short given scales."""
    c = problem.layout.n_coefficients
    for _ in range(_ROUNDS if problem.layout.factors else 1):
        quadratic, theta, effects, short = _newton(problem, theta, effects)
        before, theta = theta, _best_scales(quadratic, theta)
        if np.abs(theta[c:] - before[c:]).max(initial=0.0) < 0.05:
            break
    return quadratic, theta, effects, short


def _newton(
    problem: Problem, theta: Array, effects: Array
) -> tuple[Quadratic, Array, Array, float]:
    """Mode of coefficients and effects given scales and correlations, and nats short of it."""
    at, last = problem.at(theta, effects), np.inf
    for _ in range(_NEWTON_STEPS):
        quadratic = problem.expanded(at)
        aim = quadratic.best(at.theta)
        step, move = aim - at.theta, quadratic.effects(aim) - at.effects
        promised = _promised(problem, at, step, move)
        noise = problem.rounding * abs(at.value)
        if abs(promised) < max(_GAIN, noise):
            # Rounding may say of either point that it is higher; slopes are known better.
            if promised > last / 2:
                return quadratic, at.theta, at.effects, promised
            if promised < max(_GAIN, noise * _OF_NOISE):
                whole = 0.0 if problem.prior.has_kinks else 1.0
                return quadratic, at.theta + whole * step, at.effects + whole * move, promised
            at, last = problem.at(at.theta + step, at.effects + move), promised
            continue
        size, gain = 1.0, -1.0
        while not gain > 0 and size > 1e-6:
            there = problem.at(at.theta + size * step, at.effects + size * move)
            gain = there.value - at.value
            size /= 2
        if gain > 0:
            at = there
        if not gain > _GAIN:
            break
    # Less than nothing is what a prior with a tip promises around it.
    return quadratic, at.theta, at.effects, max(promised, 0.0)


def _promised(problem: Problem, at: Point, step: Array, move: Array) -> float:
    """Nats that a Newton step gains where the density is quadratic.

    A coefficient at the tip of its prior stays there, whatever the slope on one side promises.
    """
    c = len(at.slope)
    moved = step[:c] * ~problem.prior.holds(at.theta[:c], step[:c], at.slope)
    gain = at.slope @ moved + at.pull @ move
    for factor in problem.layout.factors:
        u, du = factor.effects.of(at.effects), factor.effects.of(move)
        gain -= np.einsum("gi,ij,gj->", du, problem.precision(factor, at.theta), u)
    return float(gain / 2)


def _best_scales(at: Quadratic, theta: Array) -> Array:
    """Mode of theta under the expansion, scales within a sensible range."""
    c = len(at.slope)
    if len(theta) == c:
        return theta
    bounds: list[tuple[float, float]] = []
    for factor in at.problem.layout.factors:
        bounds += [_LOG_SIGMA] * factor.scales
        if factor.correlation is not None:
            bounds += [_FREE] * factor.correlation.shape[0]

    def objective(hyper: Array) -> tuple[float, Array]:
        value, slope = at.marginal(at.best(np.concatenate([theta[:c], hyper])))
        return -value, -slope[c:]

    low, high = np.array(bounds).T
    return at.best(np.concatenate([theta[:c], _lowest(objective, theta[c:], low, high)]))


def _lowest(
    objective: Callable[[Array], tuple[float, Array]], x: Array, low: Array, high: Array
) -> Array:
    """Where a function is lowest within bounds, by BFGS steps of what is not held at them.

    SciPy's would do as well; loading it takes as long as many a fit.
    """
    x = x.clip(low, high)
    value, slope = objective(x)
    plain = np.eye(len(x)) * max(1.0, float(np.linalg.norm(slope)))
    curvature, fresh = plain, True
    for _ in range(_DESCENTS):
        free = ~(((x <= low) & (slope >= 0)) | ((x >= high) & (slope <= 0)))
        if not free.any():
            break
        aim = np.zeros(len(x))
        aim[free] = -np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        size, gain = 1.0, -1.0
        while not gain > 0 and size > 1e-6:
            move = (x + size * aim).clip(low, high) - x
            after, there = objective(x + move)
            gain = value - after + 1e-4 * float(slope @ move)
            size /= 2
        if not gain > 0 or (gain < _GAIN_OF_SCALES and size < 0.5):
            if fresh:
                break
            # Curvature that was learnt elsewhere, or across a bound, leads nowhere here.
            curvature, fresh = plain, True
            continue
        turn = there - slope
        curvature, fresh = _learnt(curvature, move, turn, fresh), False
        x, value, slope = x + move, after, there
        if gain < _GAIN_OF_SCALES:
            break
    return x


def _learnt(curvature: Array, move: Array, turn: Array, first: bool) -> Array:
    """BFGS's curvature after a step, which stays positive definite."""
    known = float(turn @ move)
    if known <= 1e-10 * float(move @ move):
        return curvature
    if first:
        curvature = np.eye(len(move)) * float(turn @ turn) / known
    along = curvature @ move
    return np.asarray(
        curvature - np.outer(along, along) / float(move @ along) + np.outer(turn, turn) / known
    )


def _whitening(at: Quadratic, theta: Array) -> Array:
    """Root of the inverse curvature of theta's marginal density at a point."""
    c, t = len(at.slope), len(theta)
    matrix = np.zeros((t, t))
    matrix[:c, :c] = at.left(theta)
    for k in range(c, t):
        step = np.zeros(t)
        step[k] = _STEP
        gap = at.marginal(theta + step)[1] - at.marginal(theta - step)[1]
        matrix[k, :] = -gap / (2 * _STEP)
        matrix[:c, k] = matrix[k, :c]
    matrix[c:, c:] = (matrix[c:, c:] + matrix[c:, c:].T) / 2
    # The part of the scales' own curvature that the coefficients do not explain.
    left = matrix[c:, c:] - matrix[c:, :c] @ np.linalg.solve(matrix[:c, :c], matrix[:c, c:])
    values, vectors = np.linalg.eigh(left)
    lifted = (vectors * (np.maximum(values, _FLOOR_HYPER) - values)) @ vectors.T
    matrix[c:, c:] += lifted
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError as err:
        raise NoCurvature(matrix) from err
    return np.linalg.solve(factor, np.eye(t)).T
