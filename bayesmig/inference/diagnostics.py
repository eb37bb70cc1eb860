"""Convergence of draws, per parameter, group effects included.

The estimators are ArviZ's, for many parameters at once: one by one they would take longer
than the draws themselves where groups are many. A test holds the two together.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from statistics import NormalDist

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesmig.posterior import labelled_draws

Array = NDArray[np.float64]
#: Parameters that are looked at together.
_TOGETHER = 32


def diagnose(draws: xr.Dataset, stats: xr.Dataset) -> xr.Dataset:
    """Rank-normalised R-hat, bulk and tail ESS, divergences and E-BFMI.

    Parameters
    ----------
    draws
        Dims ``(chain, draw, ...)``.
    stats
        ``diverging`` and ``energy``, dims ``(chain, draw)``; and ``quadrature_error``,
        ``(chain,)``, where effects were integrated out.

    Returns
    -------
    xarray.Dataset
        ``r_hat``, ``ess_bulk``, ``ess_tail`` over ``parameter``; ``divergences`` and
        ``bfmi`` over ``chain``, and ``quadrature_error`` as given. The correlation of an
        effect with itself is left out; any other parameter that does not vary has NaN. R-hat
        is NaN where there is one chain.

    Notes
    -----
    Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, doi 10.1214/20-BA1221.
    """
    kept = [(label, v) for label, v in labelled_draws(draws) if not _is_one_by_definition(label)]
    labels = [label for label, _ in kept]
    parts = [kept[k : k + _TOGETHER] for k in range(0, len(kept), _TOGETHER)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        each = list(pool.map(lambda part: chain_numbers(np.stack([v for _, v in part])), parts))
    columns = np.concatenate([np.zeros((3, 0)), *each], axis=1)
    energy = stats["energy"].transpose("chain", "draw").to_numpy()
    spread = energy.var(axis=1)
    bfmi = np.square(np.diff(energy, axis=1)).mean(axis=1) / np.where(spread > 0, spread, np.nan)
    found = xr.Dataset(
        {
            "r_hat": ("parameter", columns[0]),
            "ess_bulk": ("parameter", columns[1]),
            "ess_tail": ("parameter", columns[2]),
            "divergences": ("chain", stats["diverging"].sum("draw").to_numpy().astype(np.int64)),
            "bfmi": ("chain", bfmi),
        },
        {"parameter": labels},
    )
    if "quadrature_error" in stats:
        found["quadrature_error"] = "chain", stats["quadrature_error"].to_numpy()
    return found


def diagnose_weighted(
    draws: xr.Dataset, shares: Array, pareto_k: float, weight_ess: float
) -> xr.Dataset:
    """Effective numbers of weighted independent draws.

    Parameters
    ----------
    draws
        Dims ``(chain, draw, ...)``, one chain.
    shares
        Of the draws that are kept, by the one that they repeat, ``(draw,)``.
    pareto_k, weight_ess
        Shape of the weights' tail and their effective number (Kish's), before some were
        kept; NaN and the number of draws where there are no weights.

    Returns
    -------
    xarray.Dataset
        ``ess_bulk`` and ``ess_tail`` over ``parameter``: variance of the parameter, and of
        being beyond its 5 % and 95 % quantiles, over the variance of the weighted mean
        that estimates them (Geweke 1989, doi 10.2307/1913710). ``r_hat`` is NaN: there
        are no chains to compare. ``pareto_k`` and ``weight_ess`` as given.
    """
    kept = [(label, v[0]) for label, v in labelled_draws(draws) if not _is_one_by_definition(label)]
    parts = [kept[k : k + _TOGETHER] for k in range(0, len(kept), _TOGETHER)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(
            pool.map(lambda part: _weighted_numbers(np.stack([v for _, v in part]), shares), parts)
        )
    bulk, tail = np.concatenate([np.zeros((2, 0)), *found], axis=1)
    return xr.Dataset(
        {
            "r_hat": ("parameter", np.full(len(kept), np.nan)),
            "ess_bulk": ("parameter", bulk),
            "ess_tail": ("parameter", tail),
            "pareto_k": pareto_k,
            "weight_ess": weight_ess,
        },
        {"parameter": [label for label, _ in kept]},
    )


def _weighted_numbers(values: Array, weights: Array) -> Array:
    """Bulk and tail ESS of parameters' weighted draws ``(parameter, draw)``."""
    order = np.argsort(values, axis=1)
    below = weights[order].cumsum(axis=1)
    tails = []
    for quantile in (0.05, 0.95):
        at = (below < quantile).sum(axis=1, keepdims=True).clip(max=values.shape[1] - 1)
        edge = np.take_along_axis(values, np.take_along_axis(order, at, axis=1), axis=1)
        tails.append(_weighted_ess((values <= edge).astype(float), weights))
    return np.array([_weighted_ess(values, weights), np.minimum(*tails)])


def _weighted_ess(values: Array, weights: Array) -> Array:
    gap = np.square(values - (values @ weights)[:, None])
    error = gap @ np.square(weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(error > 0, gap @ weights / error, np.nan)


def _is_one_by_definition(label: str) -> bool:
    """Whether a label is ``corr_*[x, x]``."""
    name, _, inside = label.partition("[")
    one, _, other = inside.removesuffix("]").partition(", ")
    return name.startswith("corr_") and one == other


def chain_numbers(values: Array) -> Array:
    """R-hat, bulk and tail ESS of parameters, ``(3, parameter)``.

    Parameters
    ----------
    values
        ``(parameter, chain, draw)``.

    Returns
    -------
    ndarray
        NaN for a parameter that does not vary, or has a draw that is not finite; R-hat is
        NaN where there is one chain.
    """
    varies = np.ptp(values, axis=(1, 2)) > 0
    out = np.full((3, len(values)), np.nan)
    halves = _halves(values[varies])
    bulk = _normal_scores(halves)
    out[1, varies] = _effective(bulk)
    edges = np.quantile(values[varies], (0.05, 0.95), axis=(1, 2))[..., None, None]
    out[2, varies] = np.min([_effective((halves <= e).astype(float)) for e in edges], axis=0)
    if values.shape[1] > 1:
        folded = np.abs(halves - np.median(halves, axis=(1, 2), keepdims=True))
        out[0, varies] = np.maximum(_r_hat(bulk), _r_hat(_normal_scores(folded)))
    return out


def _halves(values: Array) -> Array:
    """Every chain as two, the middle draw of an odd number left out."""
    half = values.shape[2] // 2
    return np.concatenate([values[:, :, :half], values[:, :, -half:]], axis=1)


def _normal_scores(values: Array) -> Array:
    """Normal quantiles of the ranks of each parameter's draws, ties at their mean rank."""
    flat = values.reshape(len(values), values.shape[1] * values.shape[2])
    n, order = flat.shape[1], np.argsort(flat, axis=1)
    in_order = np.take_along_axis(flat, order, axis=1)
    ranks = np.broadcast_to(np.arange(1.0, n + 1), flat.shape)
    if (in_order[:, 1:] == in_order[:, :-1]).any():
        ranks = np.stack([_mean_ranks(of) for of in in_order])
    scores = np.empty_like(flat)
    halves = np.rint(2 * ranks).astype(np.int64) - 2
    np.put_along_axis(scores, order, _scores_of_halves(n)[halves], axis=1)
    return np.where(np.isfinite(flat).all(axis=1)[:, None], scores, np.nan).reshape(values.shape)


@cache
def _scores_of_halves(n: int) -> Array:
    """Of the ranks 1, 1.5, ..., n, which are the same for every parameter."""
    quantile, ranks = NormalDist().inv_cdf, np.arange(2, 2 * n + 1) / 2
    return np.array([quantile(p) for p in ((ranks - 3 / 8) / (n + 1 / 4)).tolist()])


def _mean_ranks(in_order: Array) -> Array:
    """Ranks of sorted values, from 1."""
    first = np.flatnonzero(np.append(True, np.diff(in_order) != 0))
    count = np.diff(np.append(first, len(in_order)))
    return np.repeat(first + (count + 1) / 2, count)


def _r_hat(halves: Array) -> Array:
    n = halves.shape[2]
    between = halves.mean(axis=2).var(axis=1, ddof=1)
    within = halves.var(axis=2, ddof=1).mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(between / within + (n - 1) / n))


def _effective(halves: Array) -> Array:
    """Effective number of draws for the mean of each parameter, ``(parameter,)``.

    Autocorrelations are summed in pairs until a pair is negative, and pairs never rise
    (Geyer 1992, doi 10.1214/ss/1177011137).
    """
    count, (chains, n) = len(halves), halves.shape[1:]
    level = halves.mean(axis=2, keepdims=True)
    gaps = halves - level
    within = np.square(gaps).sum(axis=(1, 2)) / (chains * (n - 1))
    total = within * (n - 1) / n
    if chains > 1:
        total = total + level[:, :, 0].var(axis=1, ddof=1)

    def correlation(lag: int) -> Array:
        product = np.einsum("pcd,pcd->p", gaps[:, :, : n - lag], gaps[:, :, lag:])
        return np.asarray(1 - (within - product / (chains * n)) / total)

    with np.errstate(invalid="ignore", divide="ignore"):
        even, pair = np.ones(count), 1 + correlation(1)
        least, summed, going = pair.copy(), np.zeros(count), pair > 0
        for lag in range(2, n - 2, 2):
            if not going.any():
                break
            summed[going] += np.minimum(least, pair)[going]
            least = np.minimum(least, pair)
            one, other = correlation(lag), correlation(lag + 1)
            even, pair = np.where(going, one, even), np.where(going, one + other, pair)
            going &= pair > 0
        size = chains * n
        last = np.where((even > 0) | (pair >= 0), even, 0.0)
        length = np.maximum(2 * summed + last - 1, 1 / np.log10(size))
    constant = np.ptp(halves, axis=(1, 2)) == 0
    return np.where(constant, float(size), size / length)
