"""Calibration: of those to whom a theory gives 10 %, do 10 % choose so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Cells, Statistic, cells_of
from bayesmig.checks.result import (
    ALARM,
    NAMED,
    UNWEIGHTED,
    CheckResult,
    Judgement,
    Scores,
    central,
    either_way,
    judge,
    percent,
    stabilised,
    tabled,
)
from bayesmig.choice.drawn import Choices
from bayesmig.choice.utility import Coefficients
from bayesmig.design.design import Design
from bayesmig.inference.stream import mean_probabilities
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


@dataclass(frozen=True, eq=False)
class Bins:
    """Rows alike in what the theory says of one alternative.

    Attributes
    ----------
    alternative
        Its position.
    cells
        The bins, every row counting once.
    predicted
        Posterior mean of its share in each bin, group effects included, ``(bin,)``.
    """

    alternative: int
    cells: Cells = field(repr=False)
    predicted: Array = field(repr=False)

    def share(self, choices: Choices) -> Array:
        """Share of the alternative in every bin, ``(draw, bin)``."""
        return self.cells.share(choices, self.alternative)


def bins_of(design: Design, coefficients: Coefficients, expected: Array) -> list[Bins]:
    """Ten bins of equal size per alternative; fewer where few choosers are expected.

    Rows are put into bins by the probability that their columns give them, with effects
    of groups at zero. Those effects are fitted to the choices of few rows each: bins by
    them would hold rows *because* of what these chose, and a true theory would look
    miscalibrated (leaving out the own choice turns the error round, it does not undo
    it: two rows of an origin then differ by nothing but their choices).

    Parameters
    ----------
    design
        Theory × survey.
    coefficients
        Draws.
    expected
        Posterior mean of every row's probabilities, ``(obs, alternative)``.
    """
    by = expected
    if design.labelled:
        by = mean_probabilities(*design.without_groups(design.columns, coefficients))
    return [_bins(j, by[:, j], expected[:, j]) for j in range(by.shape[1])]


def bin_statistics(bins: Sequence[Bins]) -> dict[str, Statistic]:
    """Statistics for `bayesmig.checks.replicate.replicate`, by their names."""
    return {f"bins {b.alternative}": b.share for b in bins}


@dataclass(frozen=True, eq=False)
class Frequencies:
    """Shares in all bins, observed and replicated.

    Attributes
    ----------
    observed, replicated
        ``(bin,)`` and ``(replicate, bin)``, bins of all alternatives.
    judged
        Bins of alternatives that have several, ``(bin,)``.
    """

    observed: Array = field(repr=False)
    replicated: Array = field(repr=False)
    judged: NDArray[np.bool_] = field(repr=False)

    @property
    def scores(self) -> Scores:
        """All that is judged."""
        return either_way(stabilised(self.observed), stabilised(self.replicated), self.judged)


def frequencies(
    design: Design, bins: Sequence[Bins], replicated: Mapping[str, Array]
) -> Frequencies:
    """Shares in bins among those of replicated choices."""
    chosen = design.choice[:, None].astype(np.int8)
    return Frequencies(
        np.concatenate([b.share(chosen)[0] for b in bins]),
        np.concatenate([replicated[f"bins {b.alternative}"] for b in bins], axis=1),
        np.concatenate([np.repeat(len(b.predicted) > 1, len(b.predicted)) for b in bins]),
    )


def calibration(
    posterior: Posterior, bins: Sequence[Bins], found: Frequencies, peak: Array | None = None
) -> CheckResult:
    """Check each alternative's predicted probabilities against observed frequencies.

    Observed frequencies in bins (`bins_of`) are judged against replicated surveys, all
    bins of all alternatives together (`bayesmig.checks.result.judge`): a true theory
    fails in at most about 5 % of surveys. Whether effects of groups are right is not
    asked here, but by shares by size of origin and by clustering. Every row counts once:
    weights are not used.

    Parameters
    ----------
    posterior
        Draws of a theory.
    bins, found
        From `bins_of` and `frequencies`.
    peak
        Of all checks that are asked at once (`bayesmig.checks.result.peak_of`).

    Returns
    -------
    CheckResult
        Table: ``alternative``, mean ``predicted`` and ``observed`` frequency of each
        bin, ``lower`` and ``upper`` (central 95 % of replicates), ``rows``,
        ``passed``, ``p_value``, ``p_adjusted``. An alternative with a single bin is not
        judged; ``passed`` is ``None`` where none has two.
    """
    design = posterior.design
    counts, several = [len(b.predicted) for b in bins], found.judged
    observed, drawn = stabilised(found.observed), stabilised(found.replicated)
    judgement = judge(observed, drawn, several, peak)
    lower, upper = central(found.replicated)
    table = pd.DataFrame(
        {
            "alternative": np.repeat(design.alternatives, counts),
            "predicted": np.concatenate([b.predicted for b in bins]),
            "observed": found.observed,
            "lower": lower,
            "upper": upper,
            "rows": np.concatenate([b.cells.rows for b in bins]),
            "passed": pd.Series(
                [None if np.isnan(p) else p > ALARM for p in judgement.adjusted], dtype=object
            ),
            "p_value": judgement.p_value,
            "p_adjusted": judgement.adjusted,
        }
    )
    text = f"{_text(table, judgement, judgement.passed)} Weights: {UNWEIGHTED}."
    return CheckResult(NAME, judgement.passed, tabled(table, KIND, UNWEIGHTED), text)


def _bins(alternative: int, by: Array, predicted: Array) -> Bins:
    """Bins of one alternative, merged where too few are expected."""
    # Rounded: rows that are told apart by the last digits only are not told apart.
    by = by.round(9)
    edges = np.unique(np.quantile(by, np.linspace(0, 1, _BINS + 1))[1:-1])
    _, codes = np.unique(np.searchsorted(edges, by, side="right"), return_inverse=True)
    yes, rows = np.bincount(codes, predicted), np.bincount(codes)
    codes = _merged(np.minimum(yes, rows - yes))[codes]
    cells = cells_of(codes, int(codes.max()) + 1)
    return Bins(alternative, cells, cells.averages(predicted))


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


def _text(table: pd.DataFrame, judgement: Judgement, passed: bool | None) -> str:
    if passed is None:
        return (
            "Not asked: no alternative has two bins of rows that their columns tell apart, "
            f"with {_LEAST_EXPECTED} expected choosers each."
        )
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
