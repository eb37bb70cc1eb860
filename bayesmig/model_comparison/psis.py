"""Pareto-smoothed importance sampling of what is left out, many units at once.

Vehtari, Gelman and Gabry 2017 (doi 10.1007/s11222-016-9696-4) for the estimate; Vehtari
et al. 2024 (JMLR 25:72) for Pareto smoothing. The estimates are ArviZ's
(``arviz_stats.loo``) for draws of the same efficiency.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bayesmig.errors import QuestionError
from bayesmig.inference.pareto import smoothed_tails
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


def relative_efficiency(posterior: Posterior, n_draws: int | None = None) -> float:
    """What one draw is worth: the effective number of draws over their number.

    The posterior's own diagnostics tell it, the mean over all parameters that vary of their
    bulk ESS. That of chains knows how draws hang together, and that of weighted draws how
    often one of them is repeated, which no order of the draws would tell.

    Parameters
    ----------
    posterior
        Draws.
    n_draws
        Number of draws that are taken of all, evenly; all where left out. What their mean is
        off by is what that of all is, and what some, taken at random, are off from all.
    """
    of_all = int(np.prod(posterior.n_draws))
    n = of_all if n_draws is None else n_draws
    effective = float(posterior.data["diagnostics"]["ess_bulk"].mean())
    # Chains that do not move have none.
    effective = effective if effective > 1 else 1.0
    return 1 / (1 + n * (1 / effective - 1 / of_all))


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
    smoothed, k = smoothed_tails(ends, rest[:, -1:])
    with np.errstate(over="ignore"):
        total = np.exp(rest).sum(axis=1) + np.exp(smoothed).sum(axis=1)
        reached = (n_draws - tail) + np.exp(smoothed - ends).sum(axis=1)
    elpd = np.log(reached) - np.log(total) - top[:, 0]
    best = log_likelihood.max(axis=1, keepdims=True)
    lppd = np.log(np.exp(log_likelihood - best).mean(axis=1)) + best[:, 0]
    return elpd, lppd - elpd, k
