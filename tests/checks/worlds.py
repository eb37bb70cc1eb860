"""Posteriors of known worlds in milliseconds: normal draws around the mode.

Unlike `tests.fabricate.fabricated`, their draws have the covariance that the data leave,
so that the rate of false alarms can be seen.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import xarray as xr

from bayesmig.design.design import Design
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey
from tests.fabricate import fabricated


def laplace(
    design: Design,
    *,
    sigma: tuple[float, ...] = (0.4, 0.6),
    chains: int = 4,
    draws: int = 100,
    seed: int = 0,
    survey: Survey | None = None,
) -> Posterior:
    """Draws around the mode of coefficients and origin effects, given their scales.

    For theories with columns of persons and at most constants that vary by origin.
    """
    x = design.columns.persons
    n_coefficients, width = x.shape[1], len(design.nonbase)
    prior = design.priors["persons"]
    centre, precision = prior.loc, np.where(prior.dist > 0, prior.scale**-2.0, 0.0)
    if design.layouts:
        codes, _ = design.columns.groups["origin"]
        n_groups = int(codes.max()) + 1
        x = np.hstack([x, np.eye(n_groups)[codes]])
        centre = np.vstack([centre, np.zeros((n_groups, width))])
        groups = np.broadcast_to(np.array(sigma) ** -2.0, (n_groups, width))
        precision = np.vstack([precision, groups])
    mode, hessian = _mode(x, np.eye(width + 1)[design.choice][:, 1:], centre, precision)
    root = np.linalg.cholesky(np.linalg.inv(hessian))
    noise = np.random.default_rng(seed).standard_normal((chains, draws, mode.size))
    values = (mode.ravel() + noise @ root.T).reshape(chains, draws, -1, width)
    posterior = fabricated(design, chains=chains, draws=draws, seed=seed, survey=survey)
    moved = posterior.draws
    moved["beta"].data = values[:, :, :n_coefficients]
    if design.layouts:
        moved["u_origin"].data = values[:, :, n_coefficients:, :, None]
        # Given their scales: these hardly vary, and say nothing of the data.
        scales = moved["sigma_origin"]
        jitter = np.random.default_rng(seed + 1).normal(0, 0.01, scales.shape)
        scales.data = np.reshape(sigma, (width, 1)) * np.exp(jitter)
    tree = posterior.data.copy()
    tree["posterior"] = xr.DataTree(moved)
    return replace(posterior, data=tree)


def _mode(
    x: np.ndarray, chosen: np.ndarray, centre: np.ndarray, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mode ``(column, nonbase)`` and Hessian of the negative log posterior there."""
    width = chosen.shape[1]
    beta = np.where(precision > 0, centre, 0.0)
    for _ in range(30):
        odds = np.exp(x @ beta)
        p = odds / (1 + odds.sum(axis=1, keepdims=True))
        gradient = x.T @ (chosen - p) - precision * (beta - centre)
        hessian = np.diag(precision.ravel())
        for j, k in product(range(width), repeat=2):
            spread = p[:, j] * ((j == k) - p[:, k])
            hessian[j::width, k::width] += (x * spread[:, None]).T @ x
        step = np.linalg.solve(hessian, gradient.ravel()).reshape(beta.shape)
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    return beta, hessian
