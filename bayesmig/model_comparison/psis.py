"""Pareto-smoothed importance sampling of what is left out, many units at once.

Vehtari, Gelman and Gabry 2017 (doi 10.1007/s11222-016-9696-4) for the estimate; Vehtari
et al. 2024 (JMLR 25:72) for Pareto smoothing. The estimates are ArviZ's
(``arviz_stats.loo``, the relative efficiency that it assumes included).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.errors import QuestionError
from bayesmig.inference.pareto import fit_pareto
from bayesmig.posterior import Posterior

Array = NDArray[np.float64]
#: Numbers (draws × units) that one thread smooths.
_THREAD_SIZE = 500_000
#: Draws that a fitted tail needs.
_LEAST_TAIL = 5


def smoothed_in_threads(log_likelihood: Array, tail: int) -> Array:
    """`leave_one_out` of ``(draw, unit)``, units shared among threads."""
    n_draws, n_units = log_likelihood.shape
    step = max(1, _THREAD_SIZE // n_draws)
    parts = [slice(at, min(at + step, n_units)) for at in range(0, n_units, step)]

    def work(units: slice) -> Array:
        return np.stack(leave_one_out(np.ascontiguousarray(log_likelihood[:, units].T), tail))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return np.concatenate(list(pool.map(work, parts)), axis=1)


def relative_efficiency(posterior: Posterior) -> float:
    """Effective share of the draws, as ``arviz_stats.loo`` takes it.

    The mean over all parameters of the effective sample size of their means, over the
    number of draws; one where there is a single chain.
    """
    from arviz_stats import base

    estimators: Any = base.array_stats  # type: ignore[attr-defined]
    chains, per_chain = posterior.n_draws
    if chains == 1:
        return 1.0
    sizes = []
    for variable in posterior.draws.data_vars.values():
        values = variable.transpose("chain", "draw", ...).to_numpy().reshape(chains, per_chain, -1)
        sizes.append(estimators.ess(values, chain_axis=0, draw_axis=1, method="mean"))
    return float(np.concatenate(sizes).mean() / (chains * per_chain))


def tail_length(n_draws: int, efficiency: float) -> int:
    """Number of largest weights that are smoothed.

    Raises
    ------
    QuestionError
        Where the draws are too few for a tail of five.
    """
    tail = 3 * np.sqrt(n_draws / efficiency) if n_draws * efficiency > 225 else n_draws / 5
    if not _LEAST_TAIL <= int(tail) < n_draws:
        raise QuestionError(
            f"{n_draws} draws are too few to smooth the tail of their weights",
            mend="fit with more draws",
        )
    return int(tail)


def good_k(n_draws: int) -> float:
    """Pareto k up to which so many draws give reliable estimates."""
    return float(min(1 - 1 / np.log10(n_draws), 0.7))


def leave_one_out(log_likelihood: Array, tail: int) -> tuple[Array, Array, Array]:
    """Pareto-smoothed leave-one-out estimates of many units at once.

    Parameters
    ----------
    log_likelihood
        ``(unit, draw)``.
    tail
        Number of largest weights to smooth.

    Returns
    -------
    elpd, p_loo, pareto_k
        Each ``(unit,)``.
    """
    n_draws = log_likelihood.shape[1]
    top = -log_likelihood.min(axis=1, keepdims=True)
    # Log weights, the largest being zero: weight times likelihood is exp(-top) for each.
    ratios = np.partition(-log_likelihood - top, n_draws - tail - 1, axis=1)
    rest, ends = ratios[:, : n_draws - tail], np.sort(ratios[:, n_draws - tail :], axis=1)
    smoothed, k = _smooth_tails(ends, rest[:, -1:])
    with np.errstate(over="ignore"):
        total = np.exp(rest).sum(axis=1) + np.exp(smoothed).sum(axis=1)
        reached = (n_draws - tail) + np.exp(smoothed - ends).sum(axis=1)
    elpd = np.log(reached) - np.log(total) - top[:, 0]
    best = log_likelihood.max(axis=1, keepdims=True)
    lppd = np.log(np.exp(log_likelihood - best).mean(axis=1)) + best[:, 0]
    return elpd, lppd - elpd, k


def smoothed_weights(log_weights: Array, tail: int) -> tuple[Array, Array]:
    """Pareto-smoothed weights of many units at once, and the shapes of their tails.

    Parameters
    ----------
    log_weights
        ``(unit, draw)``.
    tail
        Number of largest weights that are smoothed.

    Returns
    -------
    tuple
        Weights ``(unit, draw)`` that sum to one, and ``(unit,)``; of a tail that cannot be
        fitted the weights stay, and the shape is infinite; zero where weights do not vary.
    """
    log = log_weights - log_weights.max(axis=1, keepdims=True)
    order = np.argpartition(log, log.shape[1] - tail - 1, axis=1)[:, -tail - 1 :]
    ends = np.take_along_axis(log, order, axis=1)
    inner = np.argsort(ends, axis=1, kind="stable")
    order = np.take_along_axis(order, inner, axis=1)
    ends = np.take_along_axis(ends, inner, axis=1)
    smooth, k = _smooth_tails(ends[:, 1:], ends[:, :1])
    np.put_along_axis(log, order[:, 1:], smooth, axis=1)
    weights = np.exp(log)
    return weights / weights.sum(axis=1, keepdims=True), k


def _smooth_tails(ends: Array, cutoff: Array) -> tuple[Array, Array]:
    """Tails ``(unit, tail)`` of log weights, ascending, replaced by fitted quantiles; and k.

    Where a tail cannot be fitted it stays as it is, and k is infinite; where weights do
    not vary, k is zero.
    """
    n = ends.shape[1]
    low = np.exp(cutoff)
    k, scale = fit_pareto(np.exp(ends) - low)
    probability = (np.arange(n) + 0.5) / n
    with np.errstate(all="ignore"):
        shape = k[:, None]
        grown = np.expm1(-shape * np.log1p(-probability)) / shape
        fitted = np.log(low + scale[:, None] * grown)
    usable = np.isfinite(k) & np.isfinite(fitted).all(axis=1)
    smoothed = np.where(usable[:, None], np.minimum(fitted, ends[:, -1:]), ends)
    k = np.where(usable, k, np.inf)
    return smoothed, np.where(ends[:, -1] - cutoff[:, 0] > 0, k, 0.0)
