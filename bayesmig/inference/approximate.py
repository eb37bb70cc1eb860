"""Independent draws from the expansion of a posterior, corrected by importance weights.

The proposal is normal in the map's coordinates (`bayesmig.inference.geometry`), with the
heavier tails of t distributions for scales, correlations and every group's effects; where
groups are few, coefficients are whitened anew at every draw of the scales. What its weights
would scatter by comes mostly from the third derivatives of the likelihood in the effects of
groups, summed over groups. Three things take that away, and leave the weights exact:

- At each draw of coefficients and scales, the effects' own expansion is renewed: a Newton
  step from their mode according to the map, with the curvature there.
- Given coefficients and scales, groups are independent of each other, so that each has a
  weight of its own and is chosen among several candidates by it. The weight of the draw is
  the product over groups of the mean of their candidates' weights, whose expectation is
  the density of coefficients and scales.
- A group's candidates come in pairs of ``epsilon`` and ``-epsilon``, whose errors of third
  order cancel in their mean.

Where every group has many rows its likelihood is nearly quadratic, and draws without all
that are tried first: one candidate, by the map's own expansion.

Log weights are smoothed by a generalised Pareto distribution (`bayesmig.inference.pareto`),
whose shape tells whether they can be relied on.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.inference.blocks import runs_of
from bayesmig.inference.density import Density
from bayesmig.inference.machine_code import Library
from bayesmig.inference.pareto import smoothed
from bayesmig.posterior import MAX_PARETO_K
from bayesmig.progress import Progress

Array = NDArray[np.float64]
kernel = Library("bayesmig.inference.kernel")
target = Library("bayesmig.inference.target")
#: Degrees of freedom of the proposal of scales and correlations.
_DF = 8.0
#: White coordinates at which the proposal's reach is measured.
_FAR = 2.0
#: Draws that one piece of work makes, whatever the number of cores, and numbers that all effects
#: of its draws may be (16 MB); and draws that tell whether it is worth going on.
_PIECE, _PIECE_SIZE, _PILOT = 50, 2_000_000, 200
#: Rows per group from which the map's own expansion of effects is first tried as it is, and
#: the effective share of draws that will do: they cost a third.
ROWS_PER_GROUP, _GOOD_SHARE = 500, 0.3
#: Groups up to which coefficients are whitened anew at every draw, and beyond which every
#: group has two pairs of candidates.
FEW_GROUPS = 400


@dataclass(frozen=True, slots=True)
class Weighted:
    """Draws with weights.

    Attributes
    ----------
    theta, effects
        ``(draw, ...)``, as `Density.named` takes them.
    log_weights
        Smoothed and normalised, ``(draw,)``.
    pareto_k
        Shape of the raw weights' tail.
    whole
        False where these are the first draws alone, whose weights say that more will not do.
    """

    theta: Array
    effects: Array
    log_weights: Array
    pareto_k: float
    whole: bool = True

    @property
    def weight_ess(self) -> float:
        """Kish's effective number of draws."""
        return float(1 / np.square(np.exp(self.log_weights)).sum())


def supports(density: Density) -> bool:
    """Whether groups are independent given coefficients and scales, or can be made so.

    Factors that cross each other have no units; a smooth is of all rows and crosses each.
    """
    problem = density.problem
    if any(factor.groups == 1 for factor in problem.layout.factors):
        return False
    return len(problem.layout.factors) <= 1 + (problem.inner >= 0)


def weighted_draws(
    density: Density,
    *,
    seed: int,
    draws: int,
    weigh: bool,
    progress: Progress,
    least_share: float = 0.02,
) -> Weighted:
    """Draws from the expansion, weighted.

    Parameters
    ----------
    density
        Of a design that `supports` allows.
    seed, draws
        Seed and number of draws.
    weigh
        Whether to compute weights; without, all are equal and the Pareto shape is NaN.
    progress
        Told of the draws made.
    least_share
        Effective share of the first 200 draws below which no more are made.

    Returns
    -------
    Weighted
        All draws, or the first where these say that the weights will not do.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where at some draw of the scales no normal distribution of coefficients is left.
    """
    plain = Proposal(density, seed, renews=False)
    if weigh and len(density.blocks.order) >= ROWS_PER_GROUP * plain.units:
        found = _drawn(plain, draws, weigh, progress, _GOOD_SHARE)
        if found.whole and found.pareto_k < MAX_PARETO_K:
            return found
    return _drawn(Proposal(density, seed, renews=True), draws, weigh, progress, least_share)


def _drawn(
    sampler: Proposal, draws: int, weigh: bool, progress: Progress, least_share: float
) -> Weighted:
    """Draws of one proposal; the first alone where their weights will not do."""
    sampler.recentre()
    found: list[tuple[Array, Array, Array]] = []
    whole, starts = True, range(0, draws, sampler.piece)
    sizes = (min(sampler.piece, draws - start) for start in starts)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start, piece in zip(starts, pool.map(sampler, sizes, starts), strict=True):
            found.append(piece)
            done = start + len(piece[0])
            progress("weighted draws", done, draws)
            pilot = weigh and start < _PILOT <= done
            if pilot and not _share(np.concatenate([f[2] for f in found])) > least_share:
                pool.shutdown(wait=False, cancel_futures=True)
                whole = False
                progress("weighted draws", draws, draws, "uneven weights, chains instead")
                break
    theta, effects, raw = (np.concatenate(part) for part in zip(*found, strict=True))
    if not weigh:
        return Weighted(theta, effects, np.full(draws, -np.log(draws)), float("nan"))
    return Weighted(theta, effects, *smoothed(raw), whole=whole)


def _share(log_weights: Array) -> float:
    """Effective share of draws with raw weights."""
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.sum() ** 2 / np.square(weights).sum() / len(weights))


def resampled(log_weights: Array, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of draws with equal weights, systematically, in random order."""
    edges = np.cumsum(np.exp(log_weights))
    points = (np.arange(draws) + rng.random()) / draws * edges[-1]
    found = np.searchsorted(edges, points).clip(max=len(edges) - 1)
    return rng.permutation(found).astype(np.int64)


def _reach(fall: Array) -> Array:
    """Standard deviation of the side of a normal that falls by so much over `_FAR`."""
    return np.asarray(_FAR / np.sqrt(2 * fall.clip(0.05 * _FAR**2, 2 * _FAR**2)))


class Proposal:
    """Makes a piece of the draws; called with its size and first draw."""

    def __init__(self, density: Density, seed: int, *, renews: bool) -> None:
        self.density, self.seed, self.renews = density, seed, renews
        problem, blocks = density.problem, density.blocks
        self.outer = problem.outer
        factors = problem.layout.factors
        self.units = factors[self.outer].groups if self.outer >= 0 else 1
        codes = np.zeros(len(blocks.order), dtype=np.int64)
        if self.outer >= 0:
            codes = density.columns.groups[factors[self.outer].by][0][blocks.order]
        self.cells = runs_of(codes)
        self.unit_of = self._unit_of()
        t = problem.layout.n_theta
        self.conditional = 0 < self.units <= FEW_GROUPS and self.outer >= 0
        # Far out a group's density falls more slowly than a normal on one side. Heavier tails
        # keep weights bounded there, and cost every group a little.
        self.df = max(20.0, 5.0 * float(np.sqrt(self.units)))
        self.pairs = 1 if self.units <= FEW_GROUPS or not renews else 2
        self.shift, self.reach = np.zeros(t), (np.ones(t), np.ones(t))
        # Sides of all effects, and as much again beside them.
        per_draw = 2 * self.pairs * max(1, problem.layout.n_effects)
        self.piece = int(np.clip(_PIECE_SIZE // per_draw, 1, _PIECE))

    def _unit_of(self) -> NDArray[np.int64]:
        """Unit of every effect."""
        problem = self.density.problem
        units = [np.zeros(0, dtype=np.int64)]
        for k, factor in enumerate(problem.layout.factors):
            of = np.arange(factor.groups) if k == self.outer else problem.members
            units.append(np.repeat(of, factor.width))
        return np.concatenate(units)

    def __call__(self, draws: int, first: int) -> tuple[Array, Array, Array]:
        """Theta, effects and log weights."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(3, first)))
        layout = self.density.problem.layout
        t, c = layout.n_theta, layout.n_coefficients
        standard = rng.standard_normal((draws, t))
        epsilon = self.epsilon(rng, draws)
        # One scale for all: far out, scales and correlations are far together.
        standard[:, c:t] *= np.sqrt(_DF / rng.chisquare(_DF, (draws, 1)))
        up, down = self.reach
        above = rng.random((draws, t)) < up / (up + down)
        white = self.shift + np.abs(standard) * np.where(above, up, -down)
        theta, effects, of_units, log_density = self._evaluate(white, epsilon)
        log_proposal = -0.5 * np.square(standard[:, :c]).sum(axis=1)
        hyper = np.square(standard[:, c:]).sum(axis=1)
        log_proposal -= 0.5 * (_DF + t - c) * np.log1p(hyper / _DF)
        # A side of every unit with the probability of its share.
        shares = np.exp(of_units - of_units.max(axis=1, keepdims=True)).cumsum(axis=1)
        points = rng.random((draws, 1, self.units)) * shares[:, -1:]
        side = (shares < points).sum(axis=1)[:, self.unit_of]
        chosen = np.take_along_axis(effects, side[:, None], axis=1)[:, 0]
        return theta, chosen, log_density - log_proposal

    def epsilon(self, rng: np.random.Generator, draws: int) -> Array:
        """Proposed epsilon of all pairs, ``(draw, pair, effect)``."""
        size = self.density.problem.layout.n_effects
        epsilon = rng.standard_normal((draws, self.pairs, size))
        tails = self.df / rng.chisquare(self.df, (draws, self.pairs, self.units))
        epsilon *= np.sqrt(tails)[:, :, self.unit_of]
        return epsilon

    def log_proposal(self, epsilon: Array) -> Array:
        """Log density of every unit's epsilon up to a constant, ``(draw, unit)``."""
        size = np.bincount(self.unit_of, minlength=self.units)
        far = np.stack([np.bincount(self.unit_of, q, self.units) for q in np.square(epsilon)])
        return np.asarray(-0.5 * (self.df + size) * np.log1p(far / self.df))

    def candidates(self, white: Array, epsilon: Array) -> tuple[Array, Array]:
        """All sides' effects at some thetas, ``(draw, side, effect)``, and units' log weights.

        These, ``(draw, side, unit)``, are the log ratios of target and proposal but for what
        all sides at one theta have in common.
        """
        _, effects, of_units, _ = self._evaluate(white, epsilon)
        return effects, of_units

    def recentre(self) -> None:
        """Move and stretch theta's coordinates to where its marginal density is.

        The expansion's centre is the mode of coefficients and effects together, which the
        volume of the effects is not in. Where epsilon is zero, log densities are those of
        Laplace's approximation at each theta; differences over a standard deviation
        along every coordinate tell how far the centre is off, and then how far density
        reaches to either side.
        """
        here, up, down = self.along_coordinates(1.0)
        curvature = (2 * here - up - down).clip(0.3, 3.0)
        self.shift = ((up - down) / 2 / curvature).clip(-2.0, 2.0)
        # Weights are large where density reaches further than the proposal: look far out.
        here, up, down = self.along_coordinates(_FAR)
        self.reach = _reach(here - up), _reach(here - down)

    def along_coordinates(self, size: float) -> tuple[Array, Array, Array]:
        """Log marginal densities of theta at the centre, and so far up and down."""
        t = self.density.problem.layout.n_theta
        unit = size * np.eye(t)
        values = self.marginal(np.concatenate([np.zeros((1, t)), unit, -unit]) + self.shift)
        return values[0], values[1 : t + 1], values[t + 1 :]

    def marginal(self, white: Array) -> Array:
        """Laplace's approximation to log marginal densities of theta, ``(point,)``."""
        parts = [white[k : k + self.piece] for k in range(0, len(white), self.piece)]

        def at_modes(part: Array) -> Array:
            nothing = np.zeros((len(part), 1, self.density.problem.layout.n_effects))
            return self._evaluate(part, nothing)[3]

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return np.concatenate(list(pool.map(at_modes, parts)))

    # Far out numbers overflow: what they say is that no density is there.
    @np.errstate(over="ignore", invalid="ignore")
    def _evaluate(self, white: Array, epsilon: Array) -> tuple[Array, Array, Array, Array]:
        """Theta; all sides' effects; units' log densities of each; their log density.

        Epsilon's own density is not the same for all sides: it is taken from theirs.
        """
        layout, density = self.density.problem.layout, self.density
        draws, log_volume = len(white), 0.0
        theta, at = np.empty((draws, layout.n_theta)), np.empty((draws, layout.n_effects))
        whitening, prior, scale_prior, table, expansion = density.map_arguments
        if self.conditional:
            by_coefficients = density.expansion.by_coefficients
            log_volume = -target.conditional_centres(
                white, whitening, table, expansion, by_coefficients, theta, at
            )
            if np.isnan(log_volume).any():
                raise np.linalg.LinAlgError("curvature is not positive definite")
        else:
            target.centres(white, whitening, table, expansion, theta, at)
        sides = 2 * epsilon.shape[1] if self.renews else 1
        effects = np.empty((draws, sides, layout.n_effects))
        of_units = np.empty((draws, sides, self.units))
        common = target.log_densities_of_pairs(
            theta,
            epsilon,
            density.chosen,
            prior,
            scale_prior,
            table,
            expansion,
            self._local(theta, at),
            self.outer,
            effects,
            of_units,
        )
        beta, gamma = self._coefficients(theta)
        sums = np.empty_like(of_units)
        kernel.log_sums(
            density.blocks.arrays, *self.cells, beta, gamma, effects.astype(beta.dtype), sums
        )
        of_units -= sums
        for pair in range(epsilon.shape[1]):
            of_units[:, 2 * pair : 2 * pair + 2] -= self.log_proposal(epsilon[:, pair])[:, None]
        linear = np.einsum("swk,kw->s", beta.astype(float), density.chosen[0])
        linear += gamma.astype(float) @ density.chosen[1]
        means = np.logaddexp.reduce(of_units, axis=1) - np.log(sides)
        return theta, effects, of_units, common + linear + means.sum(axis=1) + log_volume

    def _coefficients(self, theta: Array) -> tuple[Any, Any]:
        """As the kernel takes those of many draws."""
        shape, like = self.density.chosen[0].shape, self.density.blocks.arrays[0].dtype
        n, c = prod(shape), self.density.problem.layout.n_coefficients
        beta = theta[:, :n].reshape(-1, *shape).transpose(0, 2, 1)
        return np.ascontiguousarray(beta, dtype=like), theta[:, n:c].astype(like)

    def _local(self, theta: Array, at: Array) -> tuple[Array, Array, Array]:
        """The effects' expansion around some effects at each draw's coefficients."""
        density, arrays = self.density, self.density.blocks.arrays
        table, member = density.problem.table, density.problem.members
        _, _, own, _, links, _ = density.expansion.arrays
        if not self.renews:
            every = (len(theta), 1)
            return self._pull(theta), np.tile(own, every), np.tile(links, every)
        pull = np.repeat(density.chosen[2][None], len(theta), axis=0)
        found = pull, np.zeros((len(theta), len(own))), np.zeros((len(theta), len(links)))
        places = density.problem.places
        effects = at.astype(arrays[0].dtype)
        kernel.group_curvatures(arrays, places, *self._coefficients(theta), effects, *found)
        target.complete_pull(at, table, member, *found)
        return found

    def _pull(self, theta: Array) -> Array:
        """Slopes by effects at each draw's coefficients, as the expansion has them."""
        problem, c = self.density.problem, self.density.problem.layout.n_coefficients
        at, pull, _, cross, _, _ = self.density.expansion.arrays
        out = np.tile(pull, (len(theta), 1))
        for factor, start in zip(problem.layout.factors, problem.places[:, 1], strict=True):
            if start >= 0:
                size = factor.groups * factor.width
                slope = cross[start : start + size * c].reshape(size, c)
                out[:, factor.effects.start : factor.effects.stop] -= (theta[:, :c] - at) @ slope.T
        return out
