"""How far sums of pointwise differences can be trusted, and how theories are weighed.

Sivula, Magnusson, Matamoros and Vehtari 2020 (arXiv 2008.10296) for when a difference says
little; Yao, Vehtari, Simpson and Gelman 2018 (doi 10.1214/17-BA1091) for stacking and
pseudo-BMA+; McLatchie and Vehtari 2024 (doi 10.1007/s11222-024-10442-4) for the bias of
choosing the best of many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.design.design import Design
from bayesmig.model_comparison.left_out import Estimate
from bayesmig.survey.sampling import outer_of

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: Roles whose labels are drawn, or live, together: the first that groups units.
_CLUSTERS = ("psu", "origin", "household", "person")
#: Share of units in several labels of a role above which it does not group units: they are wider.
_MOSTLY = 0.5
#: Theories are alike that differ by at most so many times what another seed makes.
_ALIKE = 2.0
#: Draws of the Bayesian bootstrap.
_BOOTSTRAP = 4000
#: Theories beyond which the best owes something to being chosen.
MANY = 10


@dataclass(frozen=True)
class Sums:
    """How units are summed.

    Attributes
    ----------
    weights
        Of units, with mean one, ``(unit,)``; ``None``: each counts once.
    clusters, strata
        Cluster of every unit, and stratum of every cluster, from 0.
    by
        What clusters are; empty where every unit is one.
    n_split
        Units that lie in several clusters, counted with that of most of their rows.
    unused
        Why a declared PSU is none of this; empty where it is used, or none is declared.
    """

    weights: Array | None = field(repr=False)
    clusters: Codes = field(repr=False)
    strata: Codes = field(repr=False)
    by: str
    n_split: int = 0
    unused: str = ""

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.strata)

    @property
    def degrees_of_freedom(self) -> int:
        """Clusters less strata, at least one."""
        return max(self.n_clusters - len(np.unique(self.strata)), 1)

    def weighted(self, values: Array) -> Array:
        """``(..., unit)``, each times its weight."""
        return values if self.weights is None else values * self.weights

    def of_clusters(self, values: Array) -> Array:
        """Weighted sums over clusters, ``(..., cluster)``."""
        flat = self.weighted(values).reshape(-1, values.shape[-1])
        sums = [np.bincount(self.clusters, of, self.n_clusters) for of in flat]
        return np.stack(sums).reshape(*values.shape[:-1], -1)

    def error(self, values: Array, kept: NDArray[np.bool_] | None = None) -> float:
        """Standard error of the weighted sum of ``(unit,)``, clusters drawn within strata.

        ``sum_h n_h / (n_h - 1) sum_c (d_hc - mean_h)^2`` of the sums ``d`` of clusters; a
        stratum of one cluster is centred at the mean of all. ``kept`` leaves units out.
        """
        there = np.ones(self.n_clusters, dtype=bool)
        if kept is not None:
            values = np.where(kept, values, 0.0)
            there = np.bincount(self.clusters, kept, self.n_clusters) > 0
        sums, strata = self.of_clusters(values)[there], self.strata[there]
        sizes = np.bincount(strata)
        alone = sizes == 1
        means = np.bincount(strata, sums) / sizes.clip(1)
        means[alone] = sums.mean()
        factors = np.where(alone, 1.0, sizes / (sizes - 1.0).clip(1.0))
        return float(np.sqrt((factors[strata] * np.square(sums - means[strata])).sum()))


def sums_of(design: Design, rows: Codes, units: Codes, what: str, weights: Array | None) -> Sums:
    """How units of a survey are summed.

    Parameters
    ----------
    design
        Roles and rows.
    rows, units, what
        Positions of rows, and unit of each, from 0; the role that units are of, or ``obs``.
    weights
        Of all rows; a unit has the mean of its rows' weights.
    """
    n, frame = int(units.max()) + 1, design.frame.iloc[rows]
    of_units, unused = None, ""
    if weights is not None:
        of_units = np.bincount(units, weights[rows]) / np.bincount(units)
        of_units = of_units / of_units.mean()
    for role in _CLUSTERS:
        if role not in design.roles:
            continue
        codes, strata = _labels(design, frame, role)
        found, n_split = mostly_in(units, codes)
        used, clusters = np.unique(found, return_inverse=True)
        why_not = _no_clusters(len(used), n, n_split, role == what)
        if not why_not:
            return Sums(of_units, clusters, outer_of(codes, strata)[used], role, n_split, unused)
        unused = why_not if role == "psu" else unused
    # Units are their own clusters: what they are drawn within is not known.
    return Sums(of_units, np.arange(n), np.zeros(n, dtype=np.int64), "", unused=unused)


def _labels(design: Design, frame: pd.DataFrame, role: str) -> tuple[Codes, Codes]:
    """Label of a role and stratum of every row, from 0; a label lies in one stratum."""
    labels = frame[design.roles[role]].astype(str)
    if role != "psu" or "strata" not in design.roles:
        return _codes(labels), np.zeros(len(frame), dtype=np.int64)
    strata = _codes(frame[design.roles["strata"]].astype(str))
    # A label of a psu may stand in several strata.
    return _codes(labels + "\0" + pd.Series(strata.astype(str), index=labels.index)), strata


def mostly_in(units: Codes, codes: Codes) -> tuple[Codes, int]:
    """The code of most rows of every unit, the first of several, and how many have several.

    Parameters
    ----------
    units, codes
        Of rows, from 0; there is every unit.
    """
    width = int(codes.max()) + 1
    pairs, first, counts = np.unique(units * width + codes, return_index=True, return_counts=True)
    owners = pairs // width
    order = np.lexsort((first, -counts, owners))
    heads = order[np.flatnonzero(np.diff(owners[order], prepend=-1))]
    return pairs[heads] % width, int((np.bincount(owners) > 1).sum())


def _no_clusters(n_clusters: int, n: int, n_split: int, is_unit: bool) -> str:
    """Why labels do not group units; empty where they do."""
    if is_unit or n_clusters == n:
        return "each unit is one of its own"
    if n_split > _MOSTLY * n:
        return "units lie in several"
    return "all units are in one" if n_clusters == 1 else ""


def _codes(labels: pd.Series) -> Codes:
    return np.asarray(pd.factorize(labels, sort=True)[0], dtype=np.int64)


# ------------------------------------------------------------------------------ weights


def stacking_weights(
    elpd: Array, alike: Sequence[int] | None = None, weights: Array | None = None
) -> Array:
    """Weights of theories that together predict best.

    Parameters
    ----------
    elpd
        Pointwise, ``(theory, unit)``.
    alike
        Number of the group of every theory, from 0; the theories of a group count as
        one, their average, and share its weight equally. Left out: each is its own.
    weights
        Of units; left out, each counts once.

    Returns
    -------
    ndarray
        ``(theory,)``, at least 0, summing to one. They maximise the mean log of the
        weighted predictive densities: where one theory is hardly ever better, a small
        difference gives all the weight to the other.
    """
    groups = np.arange(len(elpd)) if alike is None else np.asarray(alike)
    shared = (groups == np.unique(groups)[:, None]) / np.bincount(groups)[:, None]
    density = np.exp(elpd - elpd.max(axis=0)).T @ shared.T
    of_units = np.ones(elpd.shape[1]) if weights is None else weights
    return np.asarray(_mixture(density, of_units / of_units.sum()) @ shared)


def _mixture(density: Array, shares: Array) -> Array:
    """Weights of the columns of ``(unit, theory)`` whose mixture has the best mean log."""
    from scipy.optimize import minimize

    width = density.shape[1]

    def loss(weights: Array) -> tuple[float, Array]:
        mixed = density @ weights
        return -float(shares @ np.log(mixed)), -(shares / mixed) @ density

    solved = minimize(
        loss,
        np.full(width, 1 / width),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * width,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(width)},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    weights = np.clip(solved.x, 0.0, 1.0)
    return np.asarray(weights / weights.sum())


def pseudo_bma_weights(of_clusters: Array, seed: int = 0) -> Array:
    """Pseudo-BMA+ weights: of theories by elpd, over a Bayesian bootstrap of clusters.

    Parameters
    ----------
    of_clusters
        Sums of elpd over clusters (units, where these are not clustered), ``(theory,
        cluster)``.
    seed
        Of the bootstrap.

    Returns
    -------
    ndarray
        ``(theory,)``, summing to one.
    """
    n = of_clusters.shape[1]
    centred = of_clusters - of_clusters.mean(axis=0)
    rng, total = np.random.default_rng(seed), np.zeros(len(centred))
    most = max(1, 4_000_000 // n)
    for start in range(0, _BOOTSTRAP, most):
        shares = rng.standard_exponential((min(most, _BOOTSTRAP - start), n))
        shares /= shares.sum(axis=1, keepdims=True)
        z = n * shares @ centred.T
        odds = np.exp(z - z.max(axis=1, keepdims=True))
        total += (odds / odds.sum(axis=1, keepdims=True)).sum(axis=0)
    return np.asarray(total / total.sum())


def alike(found: Sequence[Estimate]) -> list[int]:
    """Groups of theories that differ by no more than another seed of one would."""
    groups: list[int] = []
    firsts: list[Estimate] = []
    for estimate in found:
        near = (
            np.square(estimate.elpd - first.elpd).sum()
            <= _ALIKE**2 * (estimate.noise + first.noise)
            for first in firsts
        )
        group = next((g for g, is_near in enumerate(near) if is_near), len(firsts))
        if group == len(firsts):
            firsts.append(estimate)
        groups.append(group)
    return groups


def middle_of(n: int) -> int:
    """Position of the middle theory among ``n``, the best first, as R's ``loo`` takes it.

    The upper of two middle ones, or the one above a single one.
    """
    return max(n // 2 - 1, 0)


def above_middle(elpd: Array) -> Array:
    """By how much every theory's elpd exceeds that of the middle one, the largest first."""
    ordered = np.sort(elpd)[::-1]
    return np.asarray(ordered - ordered[middle_of(len(ordered))])


def by_chance(elpd: Array, errors: Array) -> float:
    """By how much the best of theories that are alike would exceed their middle one.

    The expected largest of as many normal differences, in nats (McLatchie and Vehtari 2024). Their
    spread is that of the better half, as R's ``loo`` has it; but where theories are not alike
    it holds what sets them apart, and what chance does to a difference is its standard error:
    the spread is at most the largest of these in the better half. One that predicts far worse
    differs by more, and knows less of it, than any that could be best.

    Parameters
    ----------
    elpd
        Of every theory, ``(theory,)``.
    errors
        Standard errors of their differences from the middle one, ``(theory,)``.
    """
    from scipy.stats import norm

    order = np.argsort(-elpd, kind="stable")
    gap, errors = above_middle(elpd), errors[order]
    better = gap >= np.median(gap)
    spread = min(float(np.sqrt(np.mean(np.square(gap[better])))), float(errors[better].max()))
    return float(spread * norm.ppf(1 - 1 / (2 * (len(elpd) - 1))))
