"""Whether observed shares, of all and of groups, are among those that the prior thinks possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.checks.predictive import Breakdown, breakdowns
from bayesmig.checks.replicate import Cells, generator, replicate, stacked, thinned
from bayesmig.checks.result import (
    NAMED,
    CheckResult,
    CheckResults,
    judge,
    not_asked,
    percent,
    stabilised,
    tabled,
)
from bayesmig.choice.drawn import draw_choices
from bayesmig.choice.utility import Coefficients
from bayesmig.design.design import Design, build_design
from bayesmig.errors import QuestionError
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.simulated import as_posterior
from bayesmig.inference.stream import probability_blocks
from bayesmig.posterior import Posterior
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey

Array = NDArray[np.float64]
NAME = "prior predictive shares"
KIND = "prior_shares"
COLUMNS = ("alternative", "observed", "mean", "lower", "upper", "passed")
#: The prior leaves the average person less than this part of the doubt that the
#: observed shares leave: it is then nearly certain of every choice.
_LEAST_DOUBT = 0.1
_RANGE = 0.99
GROUPS, GROUPS_KIND = "prior predictive shares by group", "prior_group_shares"
GROUPS_COLUMNS = (
    *("by", "level", "alternative", "observed", "mean", "lower", "upper"),
    *("p_adjusted", "doubt", "passed", "rows"),
)
#: Rows of a group without which nothing is said of it.
_LEAST_ROWS = 30


def check_prior(
    theory: ModelSpec,
    survey: Survey,
    *,
    by: str | Sequence[str] | None = None,
    draws: int = 500,
    seed: int = 0,
) -> CheckResults:
    """Ask before any fit whether a theory's priors make absurd shares on a survey.

    Parameters
    ----------
    theory, survey
        As for `bayesmig.fit`.
    by
        Columns whose groups are looked at; left out: those of the theory and of the survey
        beside it (see `bayesmig.checks.predictive.breakdowns`).
    draws
        Draws from the prior, at least 100.
    seed
        Seed of prior draws and choices.

    Returns
    -------
    CheckResults
        A list: `prior_shares` and `prior_group_shares`.

    Raises
    ------
    DesignError, QuestionError
        Where theory and survey do not fit together, or an argument does not apply.
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 100:
        raise QuestionError(
            f"draws must be a whole number of at least 100, got {draws!r}",
            where="check_prior(draws=...)",
        )
    design = build_design(theory, survey)
    columns = None if by is None else (by,) if isinstance(by, str) else tuple(by)
    nothing = replace(as_posterior(design, xr.Dataset()), survey=survey)
    if not design.has_flat_priors:
        drawn = prior_draws(design, seed=seed, draws=draws)
        nothing = replace(nothing, data=xr.DataTree.from_dict({"prior": drawn}))
    parts = breakdowns(nothing, columns)
    return CheckResults(
        [
            prior_shares(nothing, draws=draws, seed=seed),
            prior_group_shares(nothing, parts, draws=draws, seed=seed),
        ]
    )


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
        _text(table, doubt, least) + design.weights_sentence,
    )


def prior_group_shares(
    posterior: Posterior, parts: Sequence[Breakdown], *, draws: int, seed: int
) -> CheckResult:
    """Check the prior by the shares that it predicts in groups of rows.

    Fails where an observed share is further from those of prior predictive surveys than the
    largest deviation of 99 % of these (all groups and alternatives looked at together,
    `bayesmig.checks.result.judge`); and where the prior is nearly certain of every choice of
    a group, as `prior_shares` has it. Coefficients with priors far too wide do that to those
    whose columns are far from the average.

    Parameters
    ----------
    posterior
        Only its prior draws are used; they are drawn where it holds none.
    parts
        From `bayesmig.checks.predictive.breakdowns`.
    draws, seed
        As for `prior_shares`.

    Returns
    -------
    CheckResult
        ``passed`` is ``None`` where a prior is flat or no group has 30 rows. Table: ``by``,
        ``level``, ``alternative``, ``observed``, ``mean``, ``lower``, ``upper`` (central
        99 %), ``p_adjusted``, ``doubt`` (median part of their choices that the most probable
        alternative leaves to the members of a group), ``passed``, ``rows``.
    """
    design, width = posterior.design, len(posterior.design.alternatives)
    if design.has_flat_priors:
        reason = "A prior is flat: nothing can be drawn from it, so it predicts no shares."
        return not_asked(GROUPS, GROUPS_KIND, GROUPS_COLUMNS, reason)
    parts = [p for p in parts if len(p.levels) > 1]
    if not parts or max(p.cells.rows.max() for p in parts) < _LEAST_ROWS:
        reason = f"Not asked. No column makes groups of {_LEAST_ROWS} rows."
        return not_asked(GROUPS, GROUPS_KIND, GROUPS_COLUMNS, reason)
    prior = thinned(with_prior(posterior, draws=draws, seed=seed).coefficients("prior"), draws)
    cells = stacked([p.cells for p in parts])
    statistic = {"shares": partial(cells.shares, n_alternatives=width)}
    drawn = replicate(design.columns, prior, statistic, seed=seed)["shares"]
    observed = cells.shares(design.choice[:, None].astype(np.int8), width)[0]
    doubt = np.median(_doubt_of_cells(design, prior, cells), axis=0)
    tested = np.repeat(cells.rows >= _LEAST_ROWS, width)
    flat = drawn.reshape(len(drawn), -1)
    judgement = judge(stabilised(observed.ravel()), stabilised(flat), tested)
    least = _LEAST_DOUBT * (1 - observed.max(axis=1))
    # Where all chose alike, nothing is left to doubt.
    sure = (doubt < least) & (cells.rows >= _LEAST_ROWS)
    far = judgement.adjusted <= 1 - _RANGE
    lower, upper = np.quantile(flat, [(1 - _RANGE) / 2, (1 + _RANGE) / 2], axis=0)
    table = pd.DataFrame(
        {
            "by": np.repeat(
                np.repeat([p.by for p in parts], [len(p.levels) for p in parts]), width
            ),
            "level": np.repeat([level for p in parts for level in p.levels], width),
            "alternative": list(design.alternatives) * len(cells.rows),
            "observed": observed.ravel(),
            "mean": flat.mean(axis=0),
            "lower": lower,
            "upper": upper,
            "p_adjusted": judgement.adjusted,
            "doubt": np.repeat(doubt, width),
            "passed": ~(far | np.repeat(sure, width)),
            "rows": np.repeat(cells.rows, width),
        }
    )
    return CheckResult(
        GROUPS,
        bool(table["passed"].all()),
        tabled(table, GROUPS_KIND, design.weights_note),
        _groups_text(table, far, np.repeat(sure, width)) + design.weights_sentence,
    )


def _doubt_of_cells(design: Design, prior: Coefficients, cells: Cells) -> Array:
    """What the most probable alternative leaves to the others, ``(draw, cell)``."""
    total: Array = np.zeros((len(cells.rows), len(prior.persons)))
    for rows, block in probability_blocks(design.columns, prior):
        total += cells.part_of_averages(rows, (1 - block.max(axis=2)).T)
    return total.T


def _groups_text(table: pd.DataFrame, far: NDArray[np.bool_], sure: NDArray[np.bool_]) -> str:
    found = [
        f"the share of {r.alternative} where {r.by} is {r.level} is {percent(r.observed)}, in the "
        f"prior's surveys {percent(r.lower)} to {percent(r.upper)}"
        for r in table[far].sort_values("p_adjusted", kind="stable").head(NAMED).itertuples()
    ]
    certain = table[sure].drop_duplicates(["by", "level"]).sort_values("doubt", kind="stable")
    found += [
        f"it is nearly certain of every choice where {r.by} is {r.level} (it leaves "
        f"{percent(r.doubt)} for all but the most probable alternative)"
        for r in certain.head(NAMED).itertuples()
    ]
    groups = len(table[["by", "level"]].drop_duplicates())
    if found:
        return f"The prior makes shares of groups that are absurd: {'; '.join(found)}."
    return (
        f"The prior's surveys hold the observed shares in {groups:,} groups by "
        f"{table['by'].nunique()} columns, and leave doubt in each."
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
