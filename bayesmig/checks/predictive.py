"""Whether a theory reproduces observed shares, by columns that it knows and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Cells, Statistic, cells_of, stacked
from bayesmig.checks.result import (
    ALARM,
    NAMED,
    CheckResult,
    Judgement,
    Scores,
    adjust,
    central,
    freed_scores,
    furthest,
    group_scores,
    joined_scores,
    percent,
    stabilised,
    tabled,
    two_sided,
)
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError, nearest
from bayesmig.posterior import Posterior
from bayesmig.predict import bins, make_cells, theory_columns

Array = NDArray[np.float64]
NAME = "posterior predictive shares"
KIND, KEY = "predictive_shares", "shares"
COLUMNS = (
    "by",
    "level",
    "alternative",
    "observed",
    "predicted",
    "lower",
    "upper",
    "p_value",
    "p_adjusted",
    "p_trend",
    "p_bend",
    "rows",
)
#: Columns looked at where none is named, and levels of one of them.
MOST_COLUMNS, MOST_LEVELS = 30, 30
#: Levels of a column that was named.
_LEVELS_BOUND = 5_000
#: Choosers of an alternative, and of the others, that a share needs to be tested.
_LEAST_EXPECTED = 5
#: A name that no result uses, so that any column can be broken down by.
_LEVEL = "level of the column"
_MISSING = "missing"
_IDENTIFIERS = ("choice", "person", "household", "origin", "weight", "strata", "psu", "fpc")


@dataclass(frozen=True, eq=False)
class Breakdown:
    """The cells of one column.

    Attributes
    ----------
    by
        ``all``, a column, or ``origin size``.
    levels
        Label of every cell.
    cells
        The cells.
    trend, bend
        What the share in every cell counts in the trend over them, ``(cell,)``: its
        weight times its mean rank, from the middle; and in their bend: the same of the
        square of the rank, freed of the rank. Zeros where cells have no order.
    """

    by: str
    levels: tuple[str, ...]
    cells: Cells = field(repr=False)
    trend: Array = field(repr=False)
    bend: Array = field(repr=False)


# --------------------------------------------------------------------------- by columns


def breakdowns(posterior: Posterior, by: Sequence[str] | None) -> list[Breakdown]:
    """What shares are broken down by: everybody, the columns, and sizes of groups.

    Parameters
    ----------
    posterior
        Draws of a theory.
    by
        Columns; ``None``: those of the theory, then those of the survey beside it, at
        most 30 in all. Left out then are identifiers (persons, households, origins,
        weights, strata, sampling units, text with more than 30 levels), columns that do
        not vary, and columns that tell the choice itself, where every cell holds one
        alternative (a destination).

    Returns
    -------
    list of Breakdown
        Sizes are the number of rows in the row's own origin and in every other group
        whose effects the theory has. Numbers with more than ten values are cut at their
        quintiles.

    Raises
    ------
    QuestionError
        Where a named column is not there, or has more than 5,000 levels.
    """
    design, frame = posterior.design, posterior.frame
    everybody = cells_of(np.zeros(len(frame), dtype=np.int64), 1, design.weights)
    found = [Breakdown("all", ("all",), everybody, np.zeros(1), np.zeros(1))]
    if by is None:
        columns = _default(posterior, frame)
    else:
        _refuse_absent(posterior, frame, by)
        columns = [_breakdown(design, frame, name) for name in dict.fromkeys(by)]
    return [*found, *columns, *_sizes(design, frame)]


def _refuse_absent(posterior: Posterior, frame: pd.DataFrame, by: Sequence[str]) -> None:
    mend = "name a column of the survey, as the codebook has or derives it"
    if posterior.survey is None:
        mend = (
            "a loaded posterior holds the columns of its theory; load it with survey=... for others"
        )
    for name in by:
        if name not in frame.columns:
            raise QuestionError(
                f"there is no column {name!r}; {nearest(name, list(map(str, frame.columns)))}",
                where="by",
                mend=mend,
            )


def _default(posterior: Posterior, frame: pd.DataFrame) -> list[Breakdown]:
    design = posterior.design
    skipped = {design.roles.get(role, role) for role in _IDENTIFIERS}
    known = [c for c in theory_columns(design) if c in frame.columns]
    names = dict.fromkeys([*known, *map(str, frame.columns)])
    found = []
    for name in names:
        if name in skipped or _is_text_with_many_levels(frame[name]):
            continue
        breakdown = _breakdown(design, frame, name)
        if len(breakdown.levels) > 1 and not _tells_choice(breakdown.cells.codes, design.choice):
            found.append(breakdown)
        if len(found) == MOST_COLUMNS:
            break
    return found


def _is_text_with_many_levels(values: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_LEVELS


def _tells_choice(codes: NDArray[np.int64], choice: NDArray[np.int64]) -> bool:
    """Whether every cell holds one alternative only."""
    of_cell = np.empty(codes.max() + 1, dtype=choice.dtype)
    of_cell[codes] = choice
    return bool((of_cell[codes] == choice).all())


def _breakdown(design: Design, frame: pd.DataFrame, name: str) -> Breakdown:
    codes, labels = make_cells(pd.DataFrame({_LEVEL: frame[name]}), (_LEVEL,))
    if len(labels) > _LEVELS_BOUND:
        raise QuestionError(
            f"{name!r} has {len(labels):,} levels, at most {_LEVELS_BOUND:,} can be checked",
            where="by",
            mend="cut it into bins in the codebook, or ask by a coarser column",
        )
    levels = tuple(_label(v) for v in labels[_LEVEL])
    mass = np.bincount(codes, design.weights, len(levels))
    placed = labels[_LEVEL].notna().to_numpy() & _is_ordered(frame[name])
    return Breakdown(
        name,
        levels,
        cells_of(codes, len(levels), design.weights),
        *_trend_and_bend(np.where(placed, mass, 0)),
    )


def _is_ordered(values: pd.Series) -> bool:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return bool(values.cat.ordered)
    return pd.api.types.is_numeric_dtype(values)


def _trend_and_bend(mass: Array) -> tuple[Array, Array]:
    """Weights of cells in covariances with their mean rank, from 0 to 1, and its bend."""
    share = mass / max(mass.sum(), 1e-300)
    rank = np.cumsum(share) - share / 2
    rank = rank - share @ rank
    square = np.square(rank) - share @ np.square(rank)
    spread = share @ np.square(rank)
    if spread > 0:
        square = square - rank * (share @ (rank * square)) / spread
    return share * rank, np.where(np.abs(square) > 1e-9, share * square, 0.0)


def _label(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return _MISSING
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _sizes(design: Design, frame: pd.DataFrame) -> list[Breakdown]:
    """Rows by the size of the group that they belong to."""
    labels = {by: design.layouts[by].labels(frame) for by in design.grouped}
    if "origin" in design.roles and "origin" not in labels:
        labels["origin"] = frame[design.roles["origin"]]
    found = []
    for by, label in labels.items():
        size = label.groupby(label, observed=True).transform("size")
        name = f"{by} size"
        breakdown = _breakdown(design, pd.DataFrame({name: bins(size.astype(int))}), name)
        if len(breakdown.levels) > 1:
            found.append(breakdown)
    return found


# ------------------------------------------------------------------------------- shares


def shares_statistics(
    parts: Sequence[Breakdown], design: Design, key: str = KEY
) -> dict[str, Statistic]:
    """Statistics for `bayesmig.checks.replicate.replicate`, by their names; all parts at once."""
    if not parts:
        return {}
    cells = stacked([part.cells for part in parts])
    return {key: partial(cells.shares, n_alternatives=len(design.alternatives))}


@dataclass(frozen=True, eq=False)
class Reproduced:
    """Shares in the cells of all breakdowns, observed and replicated.

    Attributes
    ----------
    observed, replicated
        ``(value,)`` and ``(replicate, value)``: cells of all parts, alternatives innermost.
    enough
        Values of which enough are expected on either side, ``(value,)``.
    of_cells, of_trends, of_bends
        One score per part, and one per part and alternative, twice.
    """

    observed: Array = field(repr=False)
    replicated: Array = field(repr=False)
    enough: NDArray[np.bool_] = field(repr=False)
    of_cells: Scores = field(repr=False)
    of_trends: Scores = field(repr=False)
    of_bends: Scores = field(repr=False)

    @property
    def scores(self) -> Scores:
        """All that is judged."""
        return joined_scores([self.of_cells, self.of_trends, self.of_bends])


def reproduced(
    design: Design,
    parts: Sequence[Breakdown],
    replicated: Mapping[str, Array],
    expected: Array,
    key: str = KEY,
) -> Reproduced:
    """Shares of breakdowns among those of replicated choices, scored.

    Parameters
    ----------
    design
        Theory × survey.
    parts, replicated, expected, key
        As for `predictive_shares` and `shares_statistics`.
    """
    chosen, width = design.choice[:, None].astype(np.int8), len(design.alternatives)
    shares = [p.cells.shares(chosen, width)[0] for p in parts]
    ends = np.cumsum([len(p.levels) for p in parts])[:-1]
    drawn = np.split(replicated[key], ends, axis=1)
    observed = np.concatenate([s.ravel() for s in shares])
    together = np.concatenate([d.reshape(len(d), -1) for d in drawn], axis=1)
    effective = np.concatenate([np.repeat(p.cells.effective, width) for p in parts])
    mean = together.mean(axis=0)
    enough = np.minimum(mean, 1 - mean) * effective >= _LEAST_EXPECTED
    column = np.repeat(np.arange(len(parts)), [d[0].size for d in drawn])
    return Reproduced(
        observed,
        together,
        enough,
        group_scores(stabilised(observed), stabilised(together), enough, column),
        _trend_scores(parts, [p.trend for p in parts], shares, drawn, expected),
        _trend_scores(parts, [p.bend for p in parts], shares, drawn, expected),
    )


def predictive_shares(
    posterior: Posterior,
    parts: Sequence[Breakdown],
    found: Reproduced,
    peak: Array | None = None,
) -> CheckResult:
    """Check shares of alternatives in every cell against those of replicated choices.

    A replicated survey draws every choice from the probabilities of one posterior draw.
    Shares are weighted where the theory weights its averages. ``lower`` and ``upper``
    bound the central 95 % of replicated shares; ``p_value`` is the two-sided posterior
    predictive p-value of each cell alone (Gelman, Meng and Stern 1996).

    Two things are judged of a column, all columns together, so that a true theory fails
    in at most about 5 % of surveys: its cells, by their squared deviations
    (`bayesmig.checks.result.group_scores`); and, where they are in an order, the trend of
    each alternative's share over them and its bend, numbers that a steady rise and a hump
    cannot hide in (`bayesmig.checks.result.freed_scores`). The check fails where an adjusted
    p-value is at most 0.05. Cells where fewer than five are expected to choose the alternative, or
    fewer than five not to, are shown and do not count.

    Since the data were also used to fit, replicates lie around what is observed more
    loosely than chance alone would have it, and p-values of cells are too large, the
    more so the better the theory's columns explain theirs. Trends are freed of that, and
    not judged where the fit leaves little of them. Columns of the theory are nearly
    always reproduced: the fit sees to it. Misfit shows in columns that it leaves out.

    Parameters
    ----------
    posterior
        Draws of a theory.
    parts
        From `breakdowns`.
    found
        From `reproduced`.
    peak
        Of all checks that are asked at once (`bayesmig.checks.result.peak_of`).

    Returns
    -------
    CheckResult
        Table: ``by``, ``level``, ``alternative``, ``observed``, ``predicted``,
        ``lower``, ``upper``, ``p_value``, ``p_adjusted`` (of the column: the smallest
        adjusted one of its cells, trends and bends), ``p_trend`` and ``p_bend`` (of the
        alternative's trend over the column, and of its bend, adjusted), ``rows``. Those that
        do not count are missing.
    """
    table, smallest = shares_table(posterior.design, parts, found, peak)
    judgement = Judgement(table["p_value"].to_numpy(), smallest)
    return CheckResult(
        NAME,
        judgement.passed,
        tabled(table, KIND, posterior.design.weights_note),
        _text(posterior, table, found.enough, judgement, len(found.replicated)),
    )


def shares_table(
    design: Design, parts: Sequence[Breakdown], found: Reproduced, peak: Array | None
) -> tuple[pd.DataFrame, Array]:
    """The table of `predictive_shares`, and the smallest adjusted p-value of every part."""
    width = len(design.alternatives)
    cells = np.array([len(p.levels) for p in parts])
    of_cells, *others = adjust(found.of_cells, found.of_trends, found.of_bends, peak=peak)
    of_trends, of_bends = (of.reshape(len(parts), width) for of in others)
    smallest = np.fmin(of_cells, np.fmin.reduce(np.hstack([of_trends, of_bends]), axis=1))
    lower, upper = central(found.replicated)
    table = pd.concat(
        [_cells_frame(part, design.alternatives) for part in parts], ignore_index=True
    ).assign(
        observed=found.observed,
        predicted=found.replicated.mean(axis=0),
        lower=lower,
        upper=upper,
        p_value=two_sided(found.observed, found.replicated),
        p_adjusted=np.repeat(smallest, cells * width),
        p_trend=np.concatenate([np.tile(of_trends[i], n) for i, n in enumerate(cells)]),
        p_bend=np.concatenate([np.tile(of_bends[i], n) for i, n in enumerate(cells)]),
    )[list(COLUMNS)]
    return table, np.asarray(smallest)


def _trend_scores(
    parts: Sequence[Breakdown],
    trends: Sequence[Array],
    shares: Sequence[Array],
    drawn: Sequence[Array],
    expected: Array,
) -> Scores:
    """Trends, or bends, of every column and alternative."""
    uncertain = expected * (1 - expected)
    both = list(zip(parts, trends, strict=True))
    rows = np.array([p.cells.rows[t != 0].sum() for p, t in both])
    rare = np.minimum(expected, 1 - expected).mean(axis=0)
    spread = [np.square(t) @ np.nan_to_num(p.cells.variances(uncertain)) for p, t in both]
    return freed_scores(
        np.concatenate([t @ np.nan_to_num(s) for t, s in zip(trends, shares, strict=True)]),
        np.concatenate([t @ np.nan_to_num(d) for t, d in zip(trends, drawn, strict=True)], axis=1),
        (np.outer(rows, rare) >= 2 * _LEAST_EXPECTED).ravel(),
        np.sqrt(np.concatenate(spread)),
    )


def _cells_frame(part: Breakdown, alternatives: Sequence[str]) -> pd.DataFrame:
    width = len(alternatives)
    return pd.DataFrame(
        {
            "by": part.by,
            "level": np.repeat(part.levels, width),
            "alternative": list(alternatives) * len(part.levels),
            "rows": np.repeat(part.cells.rows, width),
        }
    )


def _text(
    posterior: Posterior,
    table: pd.DataFrame,
    enough: NDArray[np.bool_],
    judgement: Judgement,
    replicates: int,
) -> str:
    tested = table[enough]
    n = tested["by"].nunique()
    family = f"{len(tested):,} shares, overall and by {n - 1} columns"
    weights = posterior.design.weights_sentence
    if judgement.passed is None:
        return f"Not asked: no cell has {_LEAST_EXPECTED} expected choosers and others.{weights}"
    if not judgement.failed.any():
        return (
            f"{replicates} replicated surveys reproduce {family}, and their trends (smallest "
            f"p-value of a column, adjusted for all that was looked at, {judgement.smallest:.2g})."
            + weights
        )
    failed = table[table["p_adjusted"] <= ALARM]
    known = theory_columns(posterior.design)
    names = list(dict.fromkeys(failed["by"]))
    outside = [c for c in names if c in posterior.frame.columns and c not in known]
    advice = f" Not in the theory: {', '.join(outside)}." if outside else ""
    worst = furthest(failed).drop_duplicates("by").head(NAMED)
    return (
        f"The theory does not reproduce shares by {', '.join(names)} (of {family}; p at most "
        f"{ALARM:g}, adjusted for all that was looked at): "
        + "; ".join(_sentence(row, table) for row in worst.itertuples())
        + f".{advice}{weights}"
    )


def _sentence(row: Any, table: pd.DataFrame) -> str:
    """The cell that is furthest off, or the trend where that is what fails."""
    trends = table[(table["by"] == row.by) & (table["p_trend"] <= ALARM)]
    if len(trends):
        name = trends.loc[trends["p_trend"].idxmin(), "alternative"]
        first, *_, last = trends[
            (trends["alternative"] == name) & (trends["level"] != _MISSING)
        ].itertuples()
        return (
            f"{name} from {row.by} {first.level} to {last.level}: observed "
            f"{percent(first.observed)} to {percent(last.observed)}, expected "
            f"{percent(first.predicted)} to {percent(last.predicted)}"
        )
    place = "" if row.by == "all" else f" where {row.by} is {row.level}"
    return (
        f"{row.alternative}{place}: observed {percent(row.observed)}, replicated "
        f"{percent(row.lower)} to {percent(row.upper)}"
    )
