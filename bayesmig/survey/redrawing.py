"""What averages over a sample's people would be in other samples of the same design.

An average over a sample says of a population what this sample happens to hold. With weights ``w``
and predictions ``p`` of one draw, ``a = sum_i w_i p_i / sum_i w_i``; in a sample where unit ``c``
counts ``1 + m_c`` times it is, to first order,

    a + sum_c m_c e_c,    e_c = sum_{i in c} w_i (z_i - x_i'b),    z_i = (p_i - a) / sum_i w_i

(linearisation: Deville 1999, Survey Methodology 25, 193-203). ``x`` indicates the cells of the
population tables to which weights were calibrated, whose people do not vary over samples, and
``b`` is the weighted regression of ``z`` on them (Deville and Sarndal 1992,
doi 10.1080/01621459.1992.10475217); without a table there is none. ``m`` is drawn once for every
draw, normal, with the covariance that sampling units within strata or replicate weights imply, and
the same for all averages, so that contrasts stay paired. Software for surveys calls an
interval with this part unconditional: it speaks of the population, not of the people asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesmig.survey.sampling import Sampling

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: From cells of rows, and some draws, to averages ``(draw, cell, quantity)``.
Averages = Callable[[Codes, slice], Array]
#: Draws x units x quantities that are held at a time (64 MB).
_BLOCK_SIZE = 8_000_000
#: Decimals to which replicate weights over weights are the same.
_DIGITS = 9
#: Of the draws of multipliers: one stream for all answers of a posterior.
_SEED = 20_240_229


@dataclass(frozen=True, eq=False)
class Redrawing:
    """How the parts of a sample vary over samples.

    Attributes
    ----------
    units
        Unit of every row, ``(obs,)``: PSUs, or rows with the same replicate weights over weight.
    strata
        Stratum of every unit, ``(unit,)``.
    spread
        By how much units of a stratum vary, ``(stratum,)``: ``sqrt((1 - f) m / (m - 1))``.
    replicates
        ``(unit, replicate)``: what a unit counts in each, less one, times the root of the scale;
        ``None`` where units and strata say how samples vary.
    margins
        Cells of every population table that weights were calibrated to, ``(obs,)`` each.
    """

    units: Codes = field(repr=False)
    strata: Codes = field(repr=False)
    spread: Array = field(repr=False)
    replicates: Array | None = field(default=None, repr=False)
    margins: tuple[Codes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, sampling: Sampling) -> Redrawing:
        """Of a sampling design."""
        if sampling.replicates is None or sampling.scales is None:
            drawn = np.bincount(sampling.strata, minlength=len(sampling.names))
            spread = np.sqrt((1 - sampling.fractions) * drawn / np.maximum(drawn - 1, 1))
            return cls(sampling.psus, sampling.strata, spread)
        w = sampling.weights[:, None]
        ratios = np.divide(
            sampling.replicates, w, out=np.ones_like(sampling.replicates), where=w > 0
        )
        patterns, units = np.unique(ratios.round(_DIGITS), axis=0, return_inverse=True)
        return cls(
            units.ravel().astype(np.int64),
            np.zeros(len(patterns), dtype=np.int64),
            np.ones(1),
            (patterns - 1) * np.sqrt(sampling.scales),
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Redrawing:
        """What `to_dataset` made."""
        replicates = dataset["replicates"].to_numpy() if "replicates" in dataset else None
        units, strata, spread = (dataset[k].to_numpy() for k in ("units", "strata", "spread"))
        return cls(units.astype(np.int64), strata.astype(np.int64), spread, replicates)

    def at(self, rows: Codes) -> Redrawing:
        """Of some of the rows."""
        return replace(self, units=self.units[rows], margins=tuple(m[rows] for m in self.margins))

    def to_dataset(self) -> xr.Dataset:
        """Units, strata and spread, over ``obs``, ``unit``, ``stratum`` and ``replicate``."""
        known: dict[str, Any] = {
            "units": ("obs", self.units),
            "strata": ("unit", self.strata),
            "spread": ("stratum", self.spread),
        }
        if self.replicates is not None:
            known["replicates"] = (("unit", "replicate"), self.replicates)
        return xr.Dataset(known)

    def multipliers(self, n_draws: int) -> Array:
        """How much more than once every unit counts, ``(draw, unit)``; the same at each call."""
        rng = np.random.default_rng(_SEED)
        if self.replicates is not None:
            return rng.normal(size=(n_draws, self.replicates.shape[1])) @ self.replicates.T
        z = rng.normal(size=(n_draws, len(self.strata)))
        drawn = np.bincount(self.strata)
        order = np.argsort(self.strata, kind="stable")
        starts = np.concatenate([[0], np.cumsum(drawn)[:-1]])
        means = np.add.reduceat(z[:, order], starts, axis=1) / drawn
        return (z - means[:, self.strata]) * self.spread[self.strata]

    def deviations(
        self, make: Averages, averages: Array, cells: Codes, weights: Array | None
    ) -> Array:
        """What is added to the averages of every draw.

        Parameters
        ----------
        make
            Averages over cells of the same rows, with the same weights.
        averages
            Those over ``cells``, ``(draw, cell, quantity)``.
        cells, weights
            ``(obs,)``; weights calibrated to the margins, where there are any.

        Returns
        -------
        ndarray
            ``(draw, cell, quantity)``; zero where a cell lies within one unit, unless its people
            are calibrated.
        """
        w = np.ones(len(cells)) if weights is None else weights
        if not self.margins and len(_pairs(cells, self.units)[1][0]) == averages.shape[1]:
            return np.zeros_like(averages)
        multipliers = self.multipliers(len(averages))
        pairs, of_pair = _pairs(cells, self.units)
        mass = np.bincount(cells, w, averages.shape[1])
        share = np.bincount(pairs, w) / mass[of_pair[0]]
        starts = np.flatnonzero(np.diff(of_pair[0], prepend=-1))
        found = np.zeros_like(averages)
        step = max(1, _BLOCK_SIZE // (len(share) * averages.shape[2]))
        for k in range(0, len(averages), step):
            part = slice(k, k + step)
            residuals = make(pairs, part) - averages[part][:, of_pair[0]]
            residuals = np.where(share[:, None] > 0, residuals, 0.0) * share[:, None]
            residuals *= multipliers[part][:, of_pair[1], None]
            found[part][:, of_pair[0][starts]] = np.add.reduceat(residuals, starts, axis=1)
            if self.margins:
                found[part] -= self._known(
                    make, averages[part], cells, w, mass, multipliers[part], part
                )
        return found

    def _known(
        self,
        make: Averages,
        averages: Array,
        cells: Codes,
        w: Array,
        mass: Array,
        multipliers: Array,
        part: slice,
    ) -> Array:
        """What of the deviations calibration takes away, ``(draw, cell, quantity)``."""
        n_draws, n_cells, quantities = averages.shape
        sums = []
        for margin in self.margins:
            width = margin.max() + 1
            pairs, of_pair = _pairs(cells, margin)
            share = (np.bincount(pairs, w) / mass[of_pair[0]])[:, None]
            away = np.where(share > 0, make(pairs, part) - averages[:, of_pair[0]], 0.0) * share
            of_margin = np.zeros((n_draws, n_cells, width, quantities))
            of_margin[:, of_pair[0], of_pair[1]] = away
            sums.append(of_margin)
        indicators = _indicators(self.margins)
        gram = np.asarray(indicators.T @ (indicators * w[:, None]))
        slopes = np.einsum("xy,dcyq->dcxq", np.linalg.pinv(gram), np.concatenate(sums, axis=2))
        of_units = np.zeros((multipliers.shape[1], indicators.shape[1]))
        np.add.at(of_units, self.units, indicators * w[:, None])
        return np.asarray(np.einsum("dx,dcxq->dcq", multipliers @ of_units, slopes))


def _pairs(cells: Codes, others: Codes) -> tuple[Codes, tuple[Codes, Codes]]:
    """Codes of the pairs that rows have, and both members of every pair, ordered by the first."""
    width = int(others.max()) + 1
    keys, pairs = np.unique(cells * width + others, return_inverse=True)
    return pairs.astype(np.int64), (keys // width, keys % width)


def _indicators(margins: Sequence[Codes]) -> Array:
    """Indicators of the cells of all margins, ``(obs, cell)``."""
    return np.concatenate([np.eye(int(of.max()) + 1)[of] for of in margins], axis=1)
