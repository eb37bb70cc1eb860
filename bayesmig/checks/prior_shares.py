"""Whether the observed shares are among those that the prior thinks possible."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.checks.replicate import draw_choices, generator, thinned
from bayesmig.checks.result import CheckResult, not_asked, percent, tabled
from bayesmig.choice.utility import Coefficients
from bayesmig.design.design import Design
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.stream import probability_blocks
from bayesmig.posterior import Posterior

Array = NDArray[np.float64]
NAME = "prior predictive shares"
KIND = "prior_shares"
COLUMNS = ("alternative", "observed", "mean", "lower", "upper", "passed")
#: The prior leaves the average person less than this part of the doubt that the
#: observed shares leave: it is then nearly certain of every choice.
_LEAST_DOUBT = 0.1
_RANGE = 0.99


def prior_shares(posterior: Posterior, *, draws: int, seed: int) -> CheckResult:
    """Check the prior by the shares that it predicts before any choice is seen.

    Fails where the observed share of an alternative lies outside the central 99 % of
    prior predictive shares; and where the prior is nearly certain of every choice. Doubt
    is what the most probable alternative leaves to the others, averaged over people; the
    prior is nearly certain where the median over its draws is less than a tenth of the
    doubt that the observed shares leave (one minus the largest of them). Coefficients
    with priors far too wide do that: utilities are then so far apart that everybody is
    sure.

    Parameters
    ----------
    posterior
        Its prior draws are used where it holds any; otherwise they are drawn.
    draws
        Prior draws at most.
    seed
        Seed of prior draws and choices.

    Returns
    -------
    CheckResult
        ``passed`` is ``None`` where a prior is flat. Table: ``alternative``,
        ``observed``, ``mean``, ``lower``, ``upper`` (central 99 %), ``passed``.
    """
    design = posterior.design
    if design.has_flat_priors:
        reason = "A prior is flat: nothing can be drawn from it, so it predicts no shares."
        return not_asked(NAME, KIND, COLUMNS, reason)
    prior = with_prior(posterior, draws=draws, seed=seed).coefficients("prior")
    world = _world(design, thinned(prior, draws), seed)
    observed = _observed(design)
    lower, upper = np.quantile(world.shares, [(1 - _RANGE) / 2, (1 + _RANGE) / 2], axis=0)
    inside = (lower <= observed) & (observed <= upper)
    table = pd.DataFrame(
        {
            "alternative": design.alternatives,
            "observed": observed,
            "mean": world.shares.mean(axis=0),
            "lower": lower,
            "upper": upper,
            "passed": inside,
        }
    )
    least = _LEAST_DOUBT * (1 - float(observed.max()))
    doubt = float(np.median(world.doubt))
    return CheckResult(
        NAME,
        bool(inside.all() and doubt >= least),
        tabled(table, KIND, design.weights_note),
        _text(table, doubt, least),
    )


@dataclass(frozen=True, slots=True)
class _World:
    """Shares ``(draw, alternative)`` and doubt ``(draw,)`` under the prior."""

    shares: Array
    doubt: Array


def with_prior(posterior: Posterior, *, draws: int, seed: int) -> Posterior:
    """The posterior with draws from its prior beside it, where it holds none yet.

    Unchanged where a prior is flat: nothing can be drawn from it.
    """
    flat = posterior.design.has_flat_priors
    if flat or "prior" in posterior.data:
        return posterior
    tree = posterior.data.copy()
    tree["prior"] = xr.DataTree(prior_draws(posterior.design, seed=seed, draws=draws))
    return replace(posterior, data=tree)


def _world(design: Design, prior: Coefficients, seed: int) -> _World:
    rng = generator(seed, 12)
    n, width = design.n_obs, len(design.alternatives)
    weights = _weights(design)
    shares, doubt = np.zeros((len(prior.persons), width)), np.zeros(len(prior.persons))
    for rows, block in probability_blocks(design.columns, prior):
        chosen = draw_choices(block, rng)
        for j in range(width):
            shares[:, j] += (chosen == j) @ weights[rows]
        doubt += (1 - block.max(axis=2)).sum(axis=1) / n
    return _World(shares, doubt)


def _weights(design: Design) -> Array:
    """Weights that sum to one."""
    weights = np.ones(design.n_obs) if design.weights is None else design.weights
    return np.asarray(weights / weights.sum())


def _observed(design: Design) -> Array:
    return np.bincount(design.choice, _weights(design), len(design.alternatives))


def _text(table: pd.DataFrame, doubt: float, least: float) -> str:
    found = [
        f"the observed share of {row.alternative} ({percent(row.observed)}) lies outside the "
        f"central 99 % of the prior's ({percent(row.lower)} to {percent(row.upper)})"
        for row in table[~table["passed"]].itertuples()
    ]
    if doubt < least:
        found.append(
            "the prior is nearly certain of every choice: it leaves the average person "
            f"{percent(doubt)} for all but the most probable alternative, less than a tenth "
            "of what the observed shares leave; its scales are far too wide"
        )
    if found:
        return "The prior does not fit what it is to learn from: " + "; ".join(found) + "."
    ranges = ", ".join(
        f"{r.alternative} {percent(r.observed)} in {percent(r.lower)} to {percent(r.upper)}"
        for r in table.itertuples()
    )
    return f"The prior's central 99 % hold every observed share: {ranges}."
