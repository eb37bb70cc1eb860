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
