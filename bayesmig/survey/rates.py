"""Rates of places in earlier periods: who left, of those who lived there.

Villages emptied by emigration draw internal migrants (replacement migration). The rate
must be older than the choice: that of the same period would contain it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SpecError, SurveyError, nearest
from bayesmig.survey.networks import group_codes, refuse_absent, weights_of, zero_or_one

Floats = npt.NDArray[np.float64]

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}){0,2}")


def periods_in_order(
    labels: pd.Series, order: Sequence[str] | None = None, *, where: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Put the periods of a survey in order of time.

    Parameters
    ----------
    labels
        Text with missing, shape ``(obs,)``.
    order
        All periods in order; None where they are numbers or ISO dates.
    where
        For messages.

    Raises
    ------
    SurveyError
        Where text shows no order, or the stated order leaves a period out.
    """
    found = [str(label) for label in labels.dropna().unique()]
    if order is not None:
        return _as_stated(found, order, where)
    if all(map(_DATE.fullmatch, found)) and len({len(label) for label in found}) == 1:
        return tuple(sorted(found))
    if all(map(_NUMBER.fullmatch, found)):
        return tuple(sorted(found, key=float))
    raise SurveyError(
        f"the periods show no order: {', '.join(map(repr, sorted(found)[:4]))}",
        where=where,
        mend=f"state order = [{', '.join(repr(label) for label in sorted(found)[:3])}, …]",
    )


def _as_stated(found: list[str], order: Sequence[str], where: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(order)) < len(order):
        raise SpecError("a period stands twice in the order", where=where, mend="name each once")
    left_out = [label for label in found if label not in order]
    if left_out:
        raise SurveyError(
            f"the period {left_out[0]!r} is not in the stated order",
            where=where,
            mend=nearest(left_out[0], list(order)),
        )
    return tuple(order)


def lagged_rate(
    frame: pd.DataFrame,
    *,
    left: str,
    place: str,
    period: str,
    periods: Sequence[str],
    at: str | None = None,
    lag: int = 1,
    own: str | None = None,
    weight: str | None = None,
) -> pd.Series:
    """Share of a place's deciders who left in an earlier period.

    Parameters
    ----------
    frame
        One row per decider and period, shape ``(obs, …)``.
    left
        Column: 1 where the decider left in the row's own period, else 0. Deciders for whom
        it is missing do not count.
    place, period
        Columns of labels: where a decider lived in the period.
    periods
        The labels of the periods, in order.
    at
        Column of the place whose rate a row takes; default `place` itself.
    lag
        Periods back, at least 1.
    own
        Column of the part whose own departures do not count for it (household, person).
    weight
        Column of weights; default: all alike.

    Returns
    -------
    Series
        Shares in [0, 1] of shape ``(obs,)``, index of `frame`; NaN where nobody of the place
        was asked in that period, or there is no such period.

    Raises
    ------
    SpecError
        Where `lag` is below 1.
    SurveyError
        Where a column is absent, or `left` is not made of 0 and 1.

    Notes
    -----
    ``e_{c,t} = Σ w y / Σ w`` over the deciders of place *c* in period *t*; a row of period
    *t* has ``e_{c,t−lag}`` (lagged emigration of destinations as a pull of internal moves:
    Vullnetari 2020, doi:10.4324/9781315276908-4; lags against reflection: Manski 1993,
    doi:10.2307/2298123). Periods are those of the survey: where waves are not evenly
    spaced, neither is the lag.
    """
    if lag < 1:
        raise SpecError(
            f"the lag is {lag}: a rate of the same period contains the own choice",
            where="argument lag of lagged_rate",
            mend="give 1 or more",
        )
    at = place if at is None else at
    refuse_absent(frame, [left, place, period, at, *(c for c in (own, weight) if c)], "a rate")
    gone = zero_or_one(frame[left], left)
    when = pd.Index(periods).get_indexer(pd.Index(frame[period]))
    places = pd.Index(pd.concat([frame[place], frame[at]]).dropna().unique())
    lived, looked = (places.get_indexer(pd.Index(frame[c])) for c in (place, at))
    counted = np.isfinite(gone) & (lived >= 0) & (when >= 0)
    heads = np.where(counted, weights_of(frame, weight), 0.0)
    movers = heads * np.where(counted, gone, 0.0)
    cells = np.where(counted, lived * len(periods) + when, -1)
    wanted = np.where((looked >= 0) & (when >= lag), looked * len(periods) + when - lag, -1)
    n = len(places) * len(periods)
    total = [_looked_up(v, cells, wanted, n) for v in (heads, movers)]
    if own is not None:
        parts = group_codes(frame, [own])
        m = int(parts.max(initial=0)) + 1
        inner = np.where((cells >= 0) & (parts >= 0), cells * m + parts, -1)
        mine = np.where((wanted >= 0) & (parts >= 0), wanted * m + parts, -1)
        less = [_of_own(v, inner, mine) for v in (heads, movers)]
        total = [
            np.where(np.abs(t - o) <= 1e-9 * t, 0.0, t - o)
            for t, o in zip(total, less, strict=True)
        ]
        wanted = np.where(parts >= 0, wanted, -1)
    rate = np.full(len(frame), np.nan)
    np.divide(total[1], total[0], out=rate, where=(total[0] > 0) & (wanted >= 0))
    return pd.Series(rate, index=frame.index)


def _looked_up(
    values: Floats, cells: npt.NDArray[np.intp], wanted: npt.NDArray[np.intp], n: int
) -> Floats:
    """Sum values over cells; give each row the sum of the cell that it wants, or 0."""
    sums = np.append(np.bincount(cells + 1, weights=values, minlength=n + 1)[1:], 0.0)
    return sums[wanted]


def _of_own(values: Floats, cells: npt.NDArray[np.intp], wanted: npt.NDArray[np.intp]) -> Floats:
    """As `_looked_up`, where cells are too many to hold one by one."""
    known, at = np.unique(cells, return_inverse=True)
    sums = np.bincount(at, weights=values)
    place = np.clip(np.searchsorted(known, wanted), 0, len(known) - 1)
    return np.where((known[place] == wanted) & (wanted >= 0), sums[place], 0.0)
