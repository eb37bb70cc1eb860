"""What averages over a sample's people would be in other samples of the same design.

An average over a sample says of a population what this sample happens to hold. With weights ``w``
and predictions ``p`` of one draw it is ``sum_i w_i p_i / sum_i w_i``. Here every draw has a sample
of its own: the sampling units of this one, unit ``c`` counting ``a_c`` times,

    sum_c a_c sum_{i in c} w_i p_i / sum_c a_c sum_{i in c} w_i

Within a stratum of ``m`` units ``a / m`` is Dirichlet, as in the Bayesian bootstrap (Rubin 1981,
doi 10.1214/aos/1176345338), its concentration such that ``a`` has the variance ``1 - f`` that the
design gives it (Rao and Wu 1988, doi 10.1080/01621459.1988.10478591). With replicate weights each
``a_c`` is gamma with mean one, and goes with the others as replicates do. All are positive: shares
stay between 0 and 1, and what nobody's prediction could be, no average is.

Coefficients came from the same units, so that they go with them: ``a`` is made from normal
numbers ``z`` that are drawn given the deviation ``d`` of a draw's parameters from their mean. To
first order ``d = B'z + e``, with ``B`` what units add (`bayesmig.inference.sampling_correction`)
and ``e`` what priors do, and given ``d`` a draw is ``z0 + B V^-1 (d - B'z0 - e0)``, ``V`` being the
covariance of ``d`` (conditioning by kriging; Journel and Huijbregts 1978). Where groups have
effects it is drawn on its own: draws of effects vary around what the units tell of them, in what
is averaged and in the average, by as much as that would add (of groups that are units, with means
of variance ``V`` shrunk by ``B``, by ``2 B (1 - B) V``, which is the covariance). All averages of
a posterior share one set of ``a``, so that contrasts are paired. Where weights are calibrated to
tables of a population, each draw's are anew: what the tables hold does not vary.

Software for surveys calls intervals of this kind unconditional: they speak of the population.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesmig.errors import QuestionError
from bayesmig.survey.sampling import Sampling, centred, outer_of, summed

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: From cells of rows, and some draws, to averages ``(draw, cell, quantity)``.
Averages = Callable[[Codes, slice], Array]
#: Draws x parts of the sample x quantities that are held at a time (64 MB).
_BLOCK_SIZE = 8_000_000
#: Units that are told apart; more are put together at random within strata, which estimates the
#: same variance (random groups; Wolter 2007, ch. 2).
MOST_UNITS = 2_000
#: Decimals to which replicate weights over weights are the same, the first that leaves so few.
_DECIMALS = (9, 4, 3, 2, 1)
#: Least concentration: that of two units, one of which is nearly the whole stratum, would be 0.
_LEAST = 0.05
#: Rounds of raking, and the change of a weight that is none.
_ROUNDS, _CLOSE = 200, 1e-8
#: Part of a population by which a margin may be missed in the end.
_FAR = 0.01
_SEED = 20_240_229


@dataclass(frozen=True, eq=False)
class Redrawing:
    """How the parts of a sample vary over samples, and with them the draws of a posterior.

    Attributes
    ----------
    units
        Unit of every row, ``(obs,)``.
    strata
        Stratum of every unit, ``(unit,)``.
    left
        Part of the variance that a finite population leaves, ``(stratum,)``: ``1 - f``.
    replicates
        ``(unit, replicate)``: what a unit counts in each, less one, times the root of its scale;
        ``None`` where units and strata say how samples vary.
    away
        Parameters of every draw less their mean, ``(draw, parameter)``.
    told
        What ``z`` adds to that: of every unit, or replicate, ``(z, parameter)``.
    rest
        Root of the covariance of what is not of the sample, ``(parameter, parameter)``.
    """

    units: Codes = field(repr=False)
    strata: Codes = field(repr=False)
    left: Array = field(repr=False)
    replicates: Array | None = field(default=None, repr=False)
    away: Array | None = field(default=None, repr=False)
    told: Array | None = field(default=None, repr=False)
    rest: Array | None = field(default=None, repr=False)

    @classmethod
    def of(cls, sampling: Sampling) -> Redrawing:
        """Of a sampling design."""
        if sampling.replicates is None or sampling.scales is None:
            units, strata = sampling.psus, sampling.strata
            if len(strata) > MOST_UNITS:
                groups = _random_groups(strata)
                units, strata = groups[units], outer_of(groups, strata)
            return cls(units, strata, 1 - sampling.fractions)
        w = sampling.weights[:, None]
        ones = np.ones_like(sampling.replicates)
        ratios = np.divide(sampling.replicates, w, out=ones, where=w > 0)
        for decimals in _DECIMALS:
            patterns, units = np.unique(ratios.round(decimals), axis=0, return_inverse=True)
            if len(patterns) <= MOST_UNITS:
                break
        alone = np.zeros(len(patterns), dtype=np.int64)
        factors = (patterns - 1) * np.sqrt(sampling.scales)
        return cls(units.ravel().astype(np.int64), alone, np.ones(1), factors)

    def loadings(self, scores: Array, sampling: Sampling) -> Array:
        """What ``z`` adds to sums of scores, ``(z, parameter)``.

        Parameters
        ----------
        scores
            As `Sampling.loadings` takes sums.
        sampling
            What this was made of.
        """
        if self.replicates is not None:
            return sampling.loadings(scores)
        units = outer_of(sampling.psus, self.units)
        return centred(summed(scores, units, len(self.strata)), self.strata, self.left)

    def to_dataset(self) -> xr.Dataset:
        """All of it, but parameters less their mean, which draws have."""
        known: dict[str, Any] = {
            "units": ("obs", self.units),
            "strata": ("unit", self.strata),
            "left": ("stratum", self.left),
            "told": (("z", "global"), self.told),
            "rest": (("global", "global_other"), self.rest),
            "away": (("chain_draw", "global"), self.away),
            "replicates": (("unit", "replicate"), self.replicates),
        }
        return xr.Dataset({k: v for k, v in known.items() if v[1] is not None})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Redrawing:
        """What `to_dataset` made."""
        names = ("units", "strata", "left", "replicates", "away", "told", "rest")
        of = {k: dataset[k].to_numpy() for k in names if k in dataset}
        return cls(**of | {k: of[k].astype(np.int64) for k in ("units", "strata")})

    @cached_property
    def _multipliers(self) -> dict[int, Array]:
        return {}

    def multipliers(self, n_draws: int) -> Array:
        """How often every unit counts, ``(draw, unit)``; the same at each call."""
        if n_draws not in self._multipliers:
            self._multipliers[n_draws] = self._counted(self._normal(n_draws))
        return self._multipliers[n_draws]

    def _normal(self, n_draws: int) -> Array:
        """Standard normal numbers, those that go with each draw's parameters."""
        rng = np.random.default_rng(_SEED)
        width = len(self.strata) if self.replicates is None else self.replicates.shape[1]
        z = rng.normal(size=(n_draws, width))
        if self.away is None or self.told is None or self.rest is None or len(self.away) != n_draws:
            return z
        without = z @ self.told + rng.normal(size=(n_draws, len(self.rest))) @ self.rest
        covariance = self.told.T @ self.told + self.rest.T @ self.rest
        return np.asarray(z + (self.away - without) @ np.linalg.pinv(covariance) @ self.told.T)

    def _counted(self, z: Array) -> Array:
        """From normal numbers to counts with mean one."""
        if self.replicates is not None:
            return _gamma(z @ self.replicates.T, np.square(self.replicates).sum(axis=1))
        drawn = np.bincount(self.strata)
        room = np.where(self.left > 0, (drawn - 1) / np.maximum(self.left, 1e-12) - 1, 0.0) / drawn
        concentration = np.maximum(room, _LEAST)[self.strata]
        found = _gamma(z * np.sqrt(1 / concentration), 1 / concentration)
        order = np.argsort(self.strata, kind="stable")
        starts = np.concatenate([[0], np.cumsum(drawn)[:-1]])
        means = np.add.reduceat(found[:, order], starts, axis=1) / drawn
        whole = ((self.left <= 0) | (drawn < 2))[self.strata]
        return np.where(whole, 1.0, found / means[:, self.strata])

    def averages(
        self,
        make: Averages,
        cells: Codes,
        weights: Array | None,
        n_draws: int,
        margins: Sequence[Codes] = (),
    ) -> Array:
        """Averages over cells, each draw's over a sample of its own.

        Parameters
        ----------
        make
            Averages over cells of the same rows, with the same weights.
        cells, weights
            ``(obs,)``.
        n_draws
            How many draws there are.
        margins
            Cells of every population table that weights are calibrated to, ``(obs,)`` each.

        Returns
        -------
        ndarray
            ``(draw, cell, quantity)``; NaN where the weights of a cell sum to zero.
        """
        w = np.ones(len(cells)) if weights is None else weights
        keys = np.stack([cells, *margins, self.units], axis=1)
        parts, of_row = np.unique(keys, axis=0, return_inverse=True)
        of_row = of_row.ravel().astype(np.int64)
        starts = np.flatnonzero(np.diff(parts[:, 0], prepend=-1))
        if len(starts) == len(parts) and not margins:
            return make(cells, slice(None))
        mass = np.bincount(of_row, w)
        known = [(parts[:, 1 + k], np.bincount(of, w)) for k, of in enumerate(margins)]
        multipliers, blocks = self.multipliers(n_draws), []
        step = max(1, _BLOCK_SIZE // (4 * len(parts)))
        for k in range(0, n_draws, step):
            part = slice(k, min(k + step, n_draws))
            counts = _calibrated(multipliers[part][:, parts[:, -1]] * mass, known)
            values = np.where(mass[:, None] > 0, make(of_row, part), 0.0)
            sums = np.add.reduceat(values * counts[:, :, None], starts, axis=1)
            with np.errstate(invalid="ignore"):
                blocks.append(sums / np.add.reduceat(counts, starts, axis=1)[:, :, None])
        return np.concatenate(blocks)


def _gamma(normal: Array, variance: Array) -> Array:
    """Gamma numbers with mean one, from normal ones with mean zero and the same variances."""
    from scipy.special import gammaincinv, ndtr

    found, places = np.ones_like(normal), np.linspace(-8, 8, 3201)
    for one in np.unique(variance.round(6)):
        if one <= 0:
            continue
        # Of few shapes, quantiles are looked up.
        quantiles = gammaincinv(1 / one, np.minimum(ndtr(places), 1 - 1e-15)) * one
        alike = variance.round(6) == one
        found[:, alike] = np.interp(normal[:, alike] / np.sqrt(one), places, quantiles)
    # A unit that does not count at all may be all that a cell has.
    return np.maximum(found, 1e-12)


def _calibrated(counts: Array, known: Sequence[tuple[Codes, Array]]) -> Array:
    """Raked to margins, draw by draw; ``(draw, part)``."""
    for _ in range(_ROUNDS if len(known) > 1 else len(known)):
        before = counts
        for of_part, people in known:
            sums = np.zeros((len(counts), len(people)))
            np.add.at(sums.T, of_part, counts.T)
            factor = np.divide(people, sums, out=np.zeros_like(sums), where=sums > 0)
            counts = counts * factor[:, of_part]
        if np.abs(counts - before).max() <= _CLOSE * counts.max():
            break
    _refuse_far(counts, known)
    return counts


def _refuse_far(counts: Array, known: Sequence[tuple[Codes, Array]]) -> None:
    """Refuse samples, ``(draw, part)``, whose margins miss what is known of them."""
    for of_part, people in known:
        sums = np.zeros((len(counts), len(people)))
        np.add.at(sums.T, of_part, counts.T)
        missed = np.abs(sums - people).max(axis=1) / people.sum()
        if far := int((missed > _FAR).sum()):
            raise QuestionError(
                f"in {far:,} of {len(counts):,} redrawn samples the weights do not settle at the "
                f"margins of the population: after {_ROUNDS:,} rounds they miss up to "
                f"{100 * missed.max():.1f} % of its people",
                where="population",
                mend="cells of few sampling units can be all but empty in a redrawn sample: merge "
                "cells, or leave a margin out",
            )


def _random_groups(strata: Codes) -> Codes:
    """Group of every unit: at random within strata, in proportion to their sizes."""
    rng = np.random.default_rng(_SEED)
    drawn = np.bincount(strata)
    wanted = np.minimum(drawn, np.maximum(2, drawn * MOST_UNITS // len(strata)))
    starts = np.concatenate([[0], np.cumsum(wanted)[:-1]])
    groups = np.empty(len(strata), dtype=np.int64)
    for stratum, (start, width) in enumerate(zip(starts, wanted, strict=True)):
        inside = rng.permutation(np.flatnonzero(strata == stratum))
        groups[inside] = start + np.arange(len(inside)) % width
    return groups
