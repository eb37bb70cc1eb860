"""A household's income against that of others, and against itself over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SurveyError, rows_text
from bayesmig.survey.derive import numbers_of
from bayesmig.survey.networks import group_codes, refuse_absent, weights_of

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

#: Incomes of members that differ by less are one income.
_ALIKE = 1e-9


def relative_deprivation(
    frame: pd.DataFrame,
    *,
    income: str,
    group: Sequence[str],
    household: str | None = None,
    weight: str | None = None,
    per: Literal["unit", "mean"] = "unit",
) -> pd.Series:
    """Mean shortfall of a household's income against its reference group.

    Parameters
    ----------
    frame
        One row per person (or household) and period, shape ``(obs, …)``.
    income
        Column of the household's income, the same for all its members.
    group
        Columns; households are compared within each combination of their labels.
    household
        Column; each household counts once in a group, however many members it has.
        None: every row is one.
    weight
        Column of weights; a household has the mean of its members'. Default: all alike.
    per
        ``"unit"``: units of income. ``"mean"``: divided by the group's mean income.

    Returns
    -------
    Series
        Floats of shape ``(obs,)``, index of `frame`. NaN where income, group or household
        is missing, and where no other household is in the group.

    Raises
    ------
    SurveyError
        Where a column is absent or no number, members of a household have different
        incomes, or a group's mean that is divided by is not positive.

    Notes
    -----
    ``RD_h = Σ_k w_k max(y_k − y_h, 0) / Σ_k w_k`` over the households *k* of the group, *h*
    included, which is ``(1 − F(y_h)) E[y − y_h | y > y_h]`` (Yitzhaki 1979,
    doi:10.2307/1883197; Stark and Yitzhaki 1988, doi:10.1007/BF00171510). Its mean over the
    group is the mean income times the Gini coefficient.
    """
    refuse_absent(frame, [income, *group, *(c for c in (household, weight) if c)], "an income")
    incomes = numbers_of(frame[income], income, ())
    outer = group_codes(frame, list(group))
    homes = _homes(frame, list(group), household)
    counted = np.flatnonzero(np.isfinite(incomes) & (outer >= 0) & (homes >= 0))
    result = np.full(len(frame), np.nan)
    if not len(counted):
        return pd.Series(result, index=frame.index)
    first, member = _first_of(homes[counted])
    _refuse_different(incomes[counted], first[member], counted, income)
    heads = weights_of(frame, weight)[counted]
    weights = np.bincount(member, weights=heads) / np.bincount(member)
    of_home = _shortfalls(incomes[counted][first], weights, outer[counted][first], income, per)
    result[counted] = of_home[member]
    return pd.Series(result, index=frame.index)


def _homes(frame: pd.DataFrame, group: list[str], household: str | None) -> Codes:
    """Number the households within groups, -1 where unknown."""
    if household is None:
        return np.arange(len(frame))
    return group_codes(frame, [*group, household])


def _first_of(codes: Codes) -> tuple[Codes, Codes]:
    """Give the first row of each code, and each row's place among the codes."""
    _, first, member = np.unique(codes, return_index=True, return_inverse=True)
    return first, member


def _refuse_different(incomes: Floats, firsts: Codes, rows: Codes, income: str) -> None:
    expected = incomes[firsts]
    odd = np.flatnonzero(np.abs(incomes - expected) > _ALIKE * np.abs(expected))
    if len(odd):
        raise SurveyError(
            f"members of one household have different {income!r}: {expected[odd[0]]:g} and "
            f"{incomes[odd[0]]:g}",
            where=(f"column {income!r}", rows_text(rows[odd].tolist())),
            mend="name a column of the household's income, not of the person's",
        )


def _shortfalls(
    incomes: Floats, weights: Floats, groups: Codes, income: str, per: Literal["unit", "mean"]
) -> Floats:
    """Mean shortfall of each household in its group, ``(household,)``."""
    order = np.lexsort((incomes, groups))
    bounds = [0, *(np.flatnonzero(np.diff(groups[order])) + 1), len(order)]
    result = np.full(len(incomes), np.nan)
    for start, stop in pairwise(bounds):
        rows = order[start:stop]
        total = weights[rows].sum()
        if len(rows) < 2 or not total > 0:
            continue
        y, w = incomes[rows], weights[rows]
        # From one income up to the next, all who are above gain the same over the household.
        above = np.cumsum(w[:0:-1])
        short = np.append(np.cumsum(np.diff(y)[::-1] * above)[::-1], 0.0) / total
        if per == "mean":
            mean = float(w @ y / total)
            if not mean > 0:
                raise SurveyError(
                    f"the mean of {income!r} in a reference group is {mean:g}",
                    where=f"column {income!r}",
                    mend='state per = "unit", or declare a [valid_range] of incomes',
                )
            short = short / mean
        result[rows] = short
    return result


# ------------------------------------------------------------------------------- risk


def income_risk(
    frame: pd.DataFrame,
    *,
    income: str,
    household: str,
    period: str,
    periods: Sequence[str],
    measure: Literal["cv", "log_variance"] = "cv",
    window: Literal["before", "to_now", "all"] = "before",
    least: int = 2,
) -> pd.Series:
    """Variation of a household's income over its periods.

    Parameters
    ----------
    frame
        One row per person (or household) and period, shape ``(obs, …)``.
    income
        Column of the household's income, the same for all its members in a period.
    household, period
        Columns of labels.
    periods
        The labels of the periods, in order.
    measure
        ``"cv"``: standard deviation (``ddof=1``) over mean, a pure number.
        ``"log_variance"``: variance (``ddof=1``) of the natural log.
    window
        Periods that count: ``"before"`` the row's own, ``"to_now"``, or ``"all"``.
    least
        At least so many known incomes, or the value is missing.

    Returns
    -------
    Series
        Floats of shape ``(obs,)``, index of `frame`, with NaN.

    Raises
    ------
    SurveyError
        Where members of a household have different incomes in a period, where the log is
        asked of an income that is not positive, or the CV of incomes with a mean that is not.

    Notes
    -----
    Members count once. What is risk and what is predicted growth is not told apart: both
    move incomes (see Rosenzweig and Stark 1989, doi:10.1086/261633, for migration as
    insurance).
    """
    refuse_absent(frame, [income, household, period], "an income")
    incomes = numbers_of(frame[income], income, ())
    homes = group_codes(frame, [household])
    when = pd.Index(periods).get_indexer(pd.Index(frame[period]))
    counted = np.flatnonzero(np.isfinite(incomes) & (homes >= 0) & (when >= 0))
    known = incomes[counted]
    if measure == "log_variance":
        _refuse_not_positive(known, counted, income)
    first, member = _first_of(homes[counted] * len(periods) + when[counted])
    _refuse_different(known, first[member], counted, income)
    table = np.full((int(homes.max(initial=-1)) + 1, len(periods)), np.nan)
    table[homes[counted], when[counted]] = np.log(known) if measure == "log_variance" else known
    result = np.full(len(frame), np.nan)
    for now in range(len(periods)):
        seen = {"before": now, "to_now": now + 1, "all": len(periods)}[window]
        rows = np.flatnonzero((when == now) & (homes >= 0))
        result[rows] = _variation(table[:, :seen], measure, least)[homes[rows]]
    odd = np.flatnonzero(np.isinf(result))
    if len(odd):
        raise SurveyError(
            f"the mean of {income!r} over a household's periods is not positive: no coefficient "
            "of variation",
            where=(f"column {income!r}", rows_text(odd.tolist())),
            mend="declare a [valid_range] of incomes",
        )
    return pd.Series(result, index=frame.index)


def _refuse_not_positive(known: Floats, rows: Codes, income: str) -> None:
    odd = np.flatnonzero(known <= 0)
    if len(odd):
        raise SurveyError(
            f"the log of {income!r} is asked, which is {known[odd[0]]:g}",
            where=(f"column {income!r}", rows_text(rows[odd].tolist())),
            mend='state measure = "cv", or declare a [valid_range] of incomes',
        )


def _variation(table: Floats, measure: str, least: int) -> Floats:
    """Variation over the columns, ``(household,)``; infinite where the mean is not positive."""
    known = np.isfinite(table)
    n = known.sum(axis=1)
    mean = np.where(known, table, 0.0).sum(axis=1) / np.maximum(n, 1)
    squares = np.square(np.where(known, table - mean[:, None], 0.0)).sum(axis=1)
    variance = squares / np.maximum(n - 1, 1)
    if measure == "cv":
        positive = mean > 0
        spread = np.divide(np.sqrt(variance), mean, out=np.full(len(n), np.inf), where=positive)
    else:
        spread = variance
    return np.where(n >= least, spread, np.nan)
