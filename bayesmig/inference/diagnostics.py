"""Convergence of draws, per parameter, group effects included (ArviZ's estimators)."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from bayesmig.posterior import labelled_draws


def diagnose(draws: xr.Dataset, stats: xr.Dataset) -> xr.Dataset:
    """Rank-normalised R-hat, bulk and tail ESS, divergences and E-BFMI.

    Parameters
    ----------
    draws
        Dims ``(chain, draw, ...)``.
    stats
        ``diverging`` and ``energy``, dims ``(chain, draw)``.

    Returns
    -------
    xarray.Dataset
        ``r_hat``, ``ess_bulk``, ``ess_tail`` over ``parameter``; ``divergences`` and
        ``bfmi`` over ``chain``. The correlation of an effect with itself is left out;
        any other parameter that does not vary has NaN. R-hat is NaN where there is one
        chain.

    Notes
    -----
    Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, doi 10.1214/20-BA1221.
    """
    from arviz_stats.base.array import array_stats

    kept = [(label, v) for label, v in labelled_draws(draws) if not _is_one_by_definition(label)]
    labels = [label for label, _ in kept]
    found = [_one(array_stats, values) for _, values in kept]
    columns = np.array(found).reshape(len(found), 3).T
    energy = stats["energy"].transpose("chain", "draw").to_numpy()
    spread = energy.var(axis=1)
    bfmi = np.square(np.diff(energy, axis=1)).mean(axis=1) / np.where(spread > 0, spread, np.nan)
    return xr.Dataset(
        {
            "r_hat": ("parameter", columns[0]),
            "ess_bulk": ("parameter", columns[1]),
            "ess_tail": ("parameter", columns[2]),
            "divergences": ("chain", stats["diverging"].sum("draw").to_numpy().astype(np.int64)),
            "bfmi": ("chain", bfmi),
        },
        {"parameter": labels},
    )


def diagnose_weighted(draws: xr.Dataset, log_weights: np.ndarray, pareto_k: float) -> xr.Dataset:
    """Effective numbers of weighted independent draws.

    Parameters
    ----------
    draws
        Dims ``(chain, draw, ...)``, one chain.
    log_weights
        Normalised, ``(draw,)``.
    pareto_k
        Shape of their tail; NaN where there are no weights.

    Returns
    -------
    xarray.Dataset
        ``ess_bulk`` and ``ess_tail`` over ``parameter``: variance of the parameter, and of
        being beyond its 5 % and 95 % quantiles, over the variance of the weighted mean
        that estimates them (Geweke 1989, doi 10.2307/1913710). ``r_hat`` is NaN: there
        are no chains to compare. ``pareto_k`` and ``weight_ess`` (Kish's).
    """
    weights = np.exp(log_weights)
    kept = [(label, v[0]) for label, v in labelled_draws(draws) if not _is_one_by_definition(label)]
    bulk, tail = [], []
    for _, values in kept:
        order = np.argsort(values)
        below = np.cumsum(weights[order])
        edges = values[order[np.searchsorted(below, (0.05, 0.95)).clip(max=len(values) - 1)]]
        bulk.append(_weighted_ess(values, weights))
        tail.append(min(_weighted_ess(values <= edge, weights) for edge in edges))
    return xr.Dataset(
        {
            "r_hat": ("parameter", np.full(len(kept), np.nan)),
            "ess_bulk": ("parameter", np.array(bulk)),
            "ess_tail": ("parameter", np.array(tail)),
            "pareto_k": pareto_k,
            "weight_ess": 1 / np.square(weights).sum(),
        },
        {"parameter": [label for label, _ in kept]},
    )


def _weighted_ess(values: np.ndarray, weights: np.ndarray) -> float:
    gap = np.square(values - weights @ values)
    error = np.square(weights) @ gap
    return float(weights @ gap / error) if error > 0 else np.nan


def _is_one_by_definition(label: str) -> bool:
    """Whether a label is ``corr_*[x, x]``."""
    name, _, inside = label.partition("[")
    one, _, other = inside.removesuffix("]").partition(", ")
    return name.startswith("corr_") and one == other


def _one(array_stats: object, values: np.ndarray) -> tuple[float, float, float]:
    """R-hat, bulk and tail ESS of one parameter, ``(chain, draw)``."""
    if not np.ptp(values) > 0:
        return np.nan, np.nan, np.nan
    with warnings.catch_warnings():
        # One chain, or constant halves of a chain, give NaN, which is the answer.
        warnings.simplefilter("ignore")
        r_hat = (
            float(array_stats.rhat(values, chain_axis=0, draw_axis=1))  # type: ignore[attr-defined]
            if len(values) > 1
            else np.nan
        )
        bulk, tail = (
            float(array_stats.ess(values, chain_axis=0, draw_axis=1, **which))  # type: ignore[attr-defined]
            for which in ({"method": "bulk"}, {"method": "tail", "prob": (0.05, 0.95)})
        )
    return r_hat, bulk, tail
