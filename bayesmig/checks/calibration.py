"""Calibration: of those to whom a theory gives 10 %, do 10 % choose so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Cells, cells_of, draw_choices, generator
from bayesmig.checks.result import (
    ALARM,
    NAMED,
    CheckResult,
    Judgement,
    central,
    judge,
    percent,
    stabilised,
    tabled,
)
from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.inference.stream import probability_blocks
from bayesmig.posterior import Posterior

Array = NDArray[np.float64]
NAME = "calibration"
KIND = "calibration"
COLUMNS = (
    "alternative",
    "predicted",
    "observed",
    "lower",
    "upper",
    "rows",
    "passed",
    "p_value",
    "p_adjusted",
)
_BINS = 10
#: Choosers of the alternative, and others, expected in a bin at least.
_LEAST_EXPECTED = 10
_BLOCK_SIZE = 8_000_000


def calibration(
    posterior: Posterior, coefficients: Coefficients, *, replicates: int, seed: int
) -> CheckResult:
    """Check each alternative's predicted probabilities against observed frequencies.

    Rows are put into ten bins of equal size by their predicted probability; neighbours
    are merged until ten choosers and ten others are expected in each. Every row's
    probability is the one predicted from all *other* rows (`loo_probabilities`):
    predicted from itself as well, a person of a rare origin draws its own prediction
    up, and a true theory with group effects looks miscalibrated. Observed frequencies
    are judged against choices drawn from these probabilities, all bins of all
    alternatives together (`bayesmig.checks.result.judge`): a true theory fails in at
    most about 5 % of surveys. Every row counts once: weights are not used.

    Parameters
    ----------
    posterior
        Draws of a theory.
    coefficients
        Some of its draws.
    replicates
        Number of replicated surveys.
    seed
        Seed of replicated choices.

    Returns
    -------
    CheckResult
        Table: ``alternative``, mean ``predicted`` and ``observed`` frequency of each
        bin, ``lower`` and ``upper`` (central 95 % of replicates), ``rows``,
        ``passed``, ``p_value``, ``p_adjusted``. An alternative with a single bin is not
        judged.
    """
    design = posterior.design
    predicted = loo_probabilities(design.columns, coefficients, design.choice)
    bins = [_bins(predicted[:, j]) for j in range(predicted.shape[1])]
    chosen = design.choice[:, None].astype(np.int8)
    observed = np.concatenate([b.share(chosen, j)[0] for j, b in enumerate(bins)])
    drawn = np.concatenate(
        [
            np.concatenate([b.share(choices, j) for j, b in enumerate(bins)], axis=1)
            for choices in _replicated(predicted, replicates, seed)
        ]
    )
    several = np.concatenate([np.full(len(b.rows), len(b.rows) > 1) for b in bins])
    judgement = judge(stabilised(observed), stabilised(drawn), several)
    lower, upper = central(drawn)
    table = pd.DataFrame(
        {
            "alternative": np.repeat(design.alternatives, [len(b.rows) for b in bins]),
            "predicted": np.concatenate([_means(predicted[:, j], b) for j, b in enumerate(bins)]),
            "observed": observed,
            "lower": lower,
            "upper": upper,
            "rows": np.concatenate([b.rows for b in bins]),
            "passed": pd.Series(
                [None if np.isnan(p) else p > ALARM for p in judgement.adjusted], dtype=object
            ),
            "p_value": judgement.p_value,
            "p_adjusted": judgement.adjusted,
        }
    )
    passed = not judgement.failed.any() if several.any() else None
    return CheckResult(NAME, passed, tabled(table, KIND), _text(table, judgement, passed))


def loo_probabilities(
    columns: Columns, coefficients: Coefficients, choice: NDArray[np.int64]
) -> Array:
    """Every row's probabilities as predicted from all other rows.

    Draws are reweighted by the inverse probability of the row's own choice (Gelfand,
    Dey and Chang 1992), which takes the row out of the posterior.

    Parameters
    ----------
    columns, coefficients
        Data and draws.
    choice
        Position of the chosen alternative, ``(obs,)``.

    Returns
    -------
    ndarray
        ``(obs, alternative)``; rows sum to one.
    """
    predicted = np.empty((len(choice), columns.n_alternatives))
    for rows, block in probability_blocks(columns, coefficients):
        own = np.take_along_axis(block, choice[None, rows, None], axis=2)[:, :, 0]
        # The smallest is one: weights of improbable choices stay finite.
        weights = own.min(axis=0) / own
        predicted[rows] = np.einsum("dn,dnj->nj", weights, block) / weights.sum(axis=0)[:, None]
    return predicted


def _bins(predicted: Array) -> Cells:
    """Bins of one alternative's probabilities, merged where too few are expected."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, _BINS + 1))[1:-1])
    codes = np.searchsorted(edges, predicted, side="right")
    yes = np.bincount(codes, predicted, len(edges) + 1)
    rows = np.bincount(codes, minlength=len(edges) + 1)
    merged = _merged(np.minimum(yes, rows - yes))
    return cells_of(merged[codes], int(merged.max()) + 1)


def _merged(expected: Array) -> NDArray[np.int64]:
    """New number of every bin, so that each holds enough; neighbours are joined upwards."""
    number, inside = np.zeros(len(expected), dtype=np.int64), 0.0
    current = 0
    for i, more in enumerate(expected):
        number[i] = current
        inside += more
        if inside >= _LEAST_EXPECTED:
            current, inside = current + 1, 0.0
    # What is left over at the end joins the last full bin.
    return np.minimum(number, max(current - 1, 0))


def _means(predicted: Array, bins: Cells) -> Array:
    return np.bincount(bins.codes, predicted, len(bins.rows)) / bins.rows


def _replicated(predicted: Array, replicates: int, seed: int) -> Iterator[NDArray[np.int8]]:
    """Choices drawn from the predicted probabilities, ``(obs, replicate)``, in blocks."""
    rng = generator(seed, 13)
    step = max(1, _BLOCK_SIZE // predicted.size)
    for start in range(0, replicates, step):
        size = min(step, replicates - start)
        yield draw_choices(np.broadcast_to(predicted, (size, *predicted.shape)), rng).T


def _text(table: pd.DataFrame, judgement: Judgement, passed: bool | None) -> str:
    if passed is None:
        return "Too few rows: no alternative has two bins with ten expected choosers each."
    if passed:
        return (
            f"Observed frequencies follow predicted probabilities in {len(table)} bins "
            f"(smallest adjusted p-value {judgement.smallest:.2g})."
        )
    failed = table[judgement.failed].sort_values("p_adjusted", kind="stable")
    parts = [
        f"{r.alternative}: {percent(r.predicted)} predicted, {percent(r.observed)} observed "
        f"({r.rows:,} rows; replicated {percent(r.lower)} to {percent(r.upper)})"
        for r in failed.head(NAMED).itertuples()
    ]
    return (
        f"Predicted probabilities are off in {len(failed)} of {len(table)} bins: "
        + "; ".join(parts)
        + ("; …." if len(failed) > NAMED else ".")
    )
