"""Pareto-smoothed importance weights.

Vehtari, Simpson, Gelman, Yao and Gabry 2024 (JMLR 25:72); the fit of the tail is Zhang and
Stephens' (2009, doi 10.1198/tech.2009.08017). ArviZ has the same, and a test holds the two
together; loading all of ArviZ takes as long as a weighted fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Draws without which no tail is fitted.
_LEAST = 100
#: Prior of the fit: ten draws that say that the shape is 0.5.
_PRIOR_DRAWS, _PRIOR_K = 10, 0.5


def smoothed(log_weights: Array) -> tuple[Array, float]:
    """Pareto-smoothed and normalised log weights, and the shape of their tail.

    Parameters
    ----------
    log_weights
        Raw, ``(draw,)``: the density's logarithm minus the proposal's. (ArviZ's ``psislw``
        is made for leave-one-out, and takes minus that.)

    Returns
    -------
    tuple
        ``(draw,)``, and the shape: infinite where there is no tail to fit or a weight is
        no number, which says that nothing can be relied on; zero where weights do not vary.
    """
    n = len(log_weights)
    if n < _LEAST or not np.isfinite(log_weights).all():
        return np.full(n, -np.log(n)), float("inf")
    of_one, (k,) = smoothed_units(log_weights[None], int(3 * n**0.5) if n > 225 else n // 5)
    return of_one[0] - np.logaddexp.reduce(of_one[0]), float(k)


def smoothed_units(log_weights: Array, tail: int) -> tuple[Array, Array]:
    """Pareto-smoothed log weights of many units at once, and the shapes of their tails.

    Parameters
    ----------
    log_weights
        ``(unit, draw)``.
    tail
        Number of largest weights that are smoothed.

    Returns
    -------
    tuple
        ``(unit, draw)``, not normalised, each unit's largest raw one zero; and the shapes,
        ``(unit,)``, as of `smoothed_tails`.
    """
    log = log_weights - log_weights.max(axis=1, keepdims=True)
    order = np.argpartition(log, log.shape[1] - tail - 1, axis=1)[:, -tail - 1 :]
    ends = np.take_along_axis(log, order, axis=1)
    inner = np.argsort(ends, axis=1, kind="stable")
    order = np.take_along_axis(order, inner, axis=1)
    ends = np.take_along_axis(ends, inner, axis=1)
    smooth, k = smoothed_tails(ends[:, 1:], ends[:, :1])
    np.put_along_axis(log, order[:, 1:], smooth, axis=1)
    return log, k


def smoothed_tails(ends: Array, cutoff: Array) -> tuple[Array, Array]:
    """Tails of log weights replaced by the quantiles of a fitted distribution.

    Parameters
    ----------
    ends
        The largest log weights of every unit, ascending, ``(unit, tail)``.
    cutoff
        The largest of the others, ``(unit, 1)``.

    Returns
    -------
    tuple
        ``(unit, tail)``, and the shapes, ``(unit,)``: of a tail that cannot be fitted the
        weights stay and the shape is infinite; it is zero where weights do not vary. The
        largest raw weight stays the largest.
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
    smooth = np.where(usable[:, None], np.minimum(fitted, ends[:, -1:]), ends)
    k = np.where(usable, k, np.inf)
    return smooth, np.where(ends[:, -1] - cutoff[:, 0] > 0, k, 0.0)


def fit_pareto(excess: Array) -> tuple[Array, Array]:
    """Fit generalised Pareto distributions to many samples at once.

    The posterior mean of Zhang and Stephens 2009 (doi 10.1198/tech.2009.08017), with
    the weak prior of Vehtari et al. 2024 on the shape.

    Parameters
    ----------
    excess
        Samples over their thresholds, ascending, ``(sample, n)``.

    Returns
    -------
    k, scale
        Each ``(sample,)``; not finite where a sample cannot be fitted.
    """
    n = excess.shape[1]
    candidates = 30 + int(n**0.5)
    quartile = excess[:, int(n / 4 + 0.5) - 1, None]
    steps = 1 - np.sqrt(candidates / (np.arange(1, candidates + 1) - 0.5))
    with np.errstate(all="ignore"):
        b = steps / (3 * quartile) + 1 / excess[:, -1:]
        shapes = np.stack(
            [np.log1p(-b[:, [i]] * excess).mean(axis=1) for i in range(candidates)], 1
        )
        likelihood = n * (np.log(-b / shapes) - shapes - 1)
        weight = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        # As ArviZ does: what is lost in rounding is left out.
        weight[weight < 10 * np.finfo(float).eps] = 0.0
        weight /= weight.sum(axis=1, keepdims=True)
        chosen = (b * weight).sum(axis=1)
        shape = np.log1p(-chosen[:, None] * excess).mean(axis=1)
        scale = -shape / chosen
    k = (n * shape + _PRIOR_DRAWS * _PRIOR_K) / (n + _PRIOR_DRAWS)
    spread = quartile[:, 0] > excess[:, 0]
    return np.where(spread, k, np.inf), scale
