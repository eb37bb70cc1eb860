"""Whether a theory reproduces observed shares, by columns that it knows and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Cells, Statistic, cells_of
from bayesmig.checks.result import (
    ALARM,
    NAMED,
    CheckResult,
    Judgement,
    central,
    furthest,
    judge_groups,
    percent,
    stabilised,
    tabled,
)
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError, nearest
from bayesmig.posterior import Posterior
from bayesmig.predict import bins, make_cells, theory_columns

Array = NDArray[np.float64]
NAME = "posterior predictive shares"
KIND = "predictive_shares"
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
_IDENTIFIERS = ("choice", "person", "household", "origin", "weight", "strata", "psu")


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
    """

    by: str
    levels: tuple[str, ...]
    cells: Cells = field(repr=False)


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
    found = [Breakdown("all", ("all",), everybody)]
    if by is None:
        columns = _default(posterior, frame)
    else:
        columns = [_breakdown(design, frame, name) for name in dict.fromkeys(by)]
    return [*found, *columns, *_sizes(design, frame)]


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
    pairs = np.unique(np.stack([codes, choice]), axis=1)
    return bool(pairs.shape[1] == len(np.unique(codes)))


def _breakdown(design: Design, frame: pd.DataFrame, name: str) -> Breakdown:
    if name not in frame.columns:
        raise QuestionError(
            f"there is no column {name!r}; {nearest(name, list(map(str, frame.columns)))}",
            where="by",
            mend="a loaded posterior holds the columns of its theory; load it with survey=... "
            "for others",
        )
    codes, labels = make_cells(pd.DataFrame({_LEVEL: frame[name]}), (_LEVEL,))
    if len(labels) > _LEVELS_BOUND:
        raise QuestionError(
            f"{name!r} has {len(labels):,} levels, at most {_LEVELS_BOUND:,} can be checked",
            where="by",
            mend="cut it into bins in the codebook, or ask by a coarser column",
        )
    levels = tuple(_label(v) for v in labels[_LEVEL])
    return Breakdown(name, levels, cells_of(codes, len(levels), design.weights))


def _label(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "missing"
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _sizes(design: Design, frame: pd.DataFrame) -> list[Breakdown]:
    """Rows by the size of the group that they belong to."""
    columns = {by: layout.column for by, layout in design.layouts.items()}
    if "origin" in design.roles:
        columns.setdefault("origin", design.roles["origin"])
    found = []
    for by, column in columns.items():
        size = frame.groupby(column, observed=True)[column].transform("size")
        name = f"{by} size"
        breakdown = _breakdown(design, pd.DataFrame({name: bins(size.astype(int))}), name)
        if len(breakdown.levels) > 1:
            found.append(breakdown)
    return found


# ------------------------------------------------------------------------------- shares


def shares_statistics(parts: Sequence[Breakdown], design: Design) -> dict[str, Statistic]:
    """Statistics for `bayesmig.checks.replicate.replicate`, by their names."""
    width = len(design.alternatives)
    return {
        f"shares {i}": partial(part.cells.shares, n_alternatives=width)
        for i, part in enumerate(parts)
    }


def predictive_shares(
    posterior: Posterior, parts: Sequence[Breakdown], replicated: Mapping[str, Array]
) -> CheckResult:
    """Check shares of alternatives in every cell against those of replicated choices.

    A replicated survey draws every choice from the probabilities of one posterior draw.
    Shares are weighted where the theory weights its averages. ``lower`` and ``upper``
    bound the central 95 % of replicated shares; ``p_value`` is the two-sided posterior
    predictive p-value of each cell alone (Gelman, Meng and Stern 1996). ``p_adjusted``
    judges all cells of a column together, by their squared deviations, adjusted for the
    number of columns (`bayesmig.checks.result.judge_groups`): the check fails
    where one is at most 0.05. Since the data were also used to fit, a true theory fails
    it less often than that. Cells where fewer than five are expected to choose the
    alternative, or fewer than five not to, are shown and do not count.

    Columns of the theory are nearly always reproduced: the fit sees to it. Misfit shows
    in columns that the theory leaves out.

    Parameters
    ----------
    posterior
        Draws of a theory.
    parts, replicated
        From `breakdowns` and `bayesmig.checks.replicate.replicate`.

    Returns
    -------
    CheckResult
        Table: ``by``, ``level``, ``alternative``, ``observed``, ``predicted``,
        ``lower``, ``upper``, ``p_value``, ``p_adjusted`` (missing where no cell counts),
        ``rows``.
    """
    design = posterior.design
    chosen, width = design.choice[:, None].astype(np.int8), len(design.alternatives)
    observed = np.concatenate([p.cells.shares(chosen, width)[0].ravel() for p in parts])
    drawn = [replicated[f"shares {i}"] for i in range(len(parts))]
    together = np.concatenate([d.reshape(len(d), -1) for d in drawn], axis=1)
    effective = np.concatenate([np.repeat(p.cells.effective, width) for p in parts])
    mean = together.mean(axis=0)
    enough = np.minimum(mean, 1 - mean) * effective >= _LEAST_EXPECTED
    column = np.repeat(np.arange(len(parts)), [d[0].size for d in drawn])
    judgement = judge_groups(stabilised(observed), stabilised(together), enough, column)
    lower, upper = central(together)
    table = pd.concat(
        [_cells_frame(part, design.alternatives) for part in parts], ignore_index=True
    ).assign(
        observed=observed,
        predicted=mean,
        lower=lower,
        upper=upper,
        p_value=judgement.p_value,
        p_adjusted=judgement.adjusted[column],
    )[list(COLUMNS)]
    return CheckResult(
        NAME,
        not judgement.failed.any(),
        tabled(table, KIND, design.weights_note),
        _text(posterior, table[enough], judgement, len(together)),
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


def _text(posterior: Posterior, tested: pd.DataFrame, judgement: Judgement, replicates: int) -> str:
    n = tested["by"].nunique()
    family = f"{len(tested):,} shares, overall and by {n - 1} columns"
    weights = f" Weights: {posterior.design.weights_note}."
    if not judgement.failed.any():
        return (
            f"{replicates} replicated surveys reproduce {family} (smallest p-value of a column, "
            f"adjusted for their number, {judgement.smallest:.2g})." + weights
        )
    failed = tested[tested["p_adjusted"] <= ALARM]
    known = theory_columns(posterior.design)
    names = list(dict.fromkeys(failed["by"]))
    outside = [c for c in names if c in posterior.frame.columns and c not in known]
    advice = f" Not in the theory: {', '.join(outside)}." if outside else ""
    worst = furthest(failed).drop_duplicates("by").head(NAMED)
    return (
        f"The theory does not reproduce shares by {', '.join(names)} (of {family}; p at most "
        f"{ALARM:g}, adjusted for the number of columns): "
        + "; ".join(_sentence(row) for row in worst.itertuples())
        + f".{advice}{weights}"
    )


def _sentence(row: Any) -> str:
    place = "" if row.by == "all" else f" where {row.by} is {row.level}"
    return (
        f"{row.alternative}{place}: observed {percent(row.observed)}, replicated "
        f"{percent(row.lower)} to {percent(row.upper)}"
    )
