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
#: Of the fit: prior draws of the shape, at 0.5, and what the grid's scale is divided by.
_PRIOR_DRAWS, _GRID = 10, 3


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
        no number, which says that nothing can be relied on.
    """
    n = len(log_weights)
    if n < _LEAST or not np.isfinite(log_weights).all():
        return np.full(n, -np.log(n)), float("inf")
    out = log_weights - log_weights.max()
    size = int(3 * n**0.5) if n > 225 else n // 5
    tail = np.argsort(out, kind="stable")[-size - 1 :]
    below, above = np.exp(out[tail[0]]), np.exp(out[tail[1:]])
    shape, scale = _fitted(above - below)
    if np.isfinite(shape):
        p = (np.arange(size) + 0.5) / size
        quantiles = below - scale * np.log1p(-p)
        if shape != 0:
            quantiles = below + scale * np.expm1(-shape * np.log1p(-p)) / shape
        # The largest raw weight stays the largest.
        out[tail[1:]] = np.minimum(np.log(quantiles), 0.0)
    return out - np.logaddexp.reduce(out), shape


def _fitted(excess: Array) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution of sorted values."""
    n = len(excess)
    quartile = excess[int(n / 4 + 0.5) - 1]
    if not quartile > excess[0]:
        return float("inf"), float("nan")
    m = 30 + int(n**0.5)
    grid = (1 - np.sqrt(m / (np.arange(m) + 0.5))) / (_GRID * quartile) + 1 / excess[-1]
    shapes = np.log1p(-grid[:, None] * excess).mean(axis=1)
    fit = n * (np.log(-grid / shapes) - shapes - 1)
    weight = np.exp(fit - np.logaddexp.reduce(fit))
    weight = np.where(weight >= 10 * np.finfo(float).eps, weight, 0.0)
    best = float(grid @ weight / weight.sum())
    raw = float(np.log1p(-best * excess).mean())
    shape = (n * raw + _PRIOR_DRAWS * 0.5) / (n + _PRIOR_DRAWS)
    return (shape, -raw / best) if np.isfinite(shape) else (float("inf"), float("nan"))
