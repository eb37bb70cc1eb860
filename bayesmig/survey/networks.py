"""Networks: exposure to earlier movers, the own household (or self) left out.

A network effect is identified only from moves made *before* the choice. The share of
others who choose the same now moves with them for reasons that have nothing to do with
networks, and contains the own outcome through its neighbours: such columns are refused
in `bayesmig.survey.reflection`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SurveyError, nearest, rows_text
from bayesmig.survey.derive import numbers_of

Measure = Literal["share", "count"]
#: How a 0/1 column is made of a count of moves, and of a code; the column's name is filled in.
ANY_MOVE = 'derive one, for instance {name}_any = "minimum({name}, 1)"'
THOSE_WHO_COUNT = (
    "write a column that is 1 for those who count under [derive] or [recode.{name}_only]"
)
Side = Literal["own", "other"]


def exposure(
    frame: pd.DataFrame,
    *,
    prior: str,
    group: str,
    own: str | None = None,
    period: str | None = None,
    measure: Measure = "share",
    weight: str | None = None,
    among: str | None = None,
    by: str | None = None,
    side: Side = "own",
) -> pd.Series:
    """Share or count of a group's persons with an earlier move, the own part left out.

    Parameters
    ----------
    frame
        One row per person and period, shape ``(obs, …)``.
    prior
        Column: 1 where the person had moved in the stream *before* the period, else 0.
        Persons for whom it is missing count neither as movers nor as others.
    group, period
        Columns; exposure is computed within group and period.
    own
        Column of the part that is left out (the household, or the person where one has
        several rows of a period); None leaves out the own row.
    measure
        ``"share"`` of the others, or ``"count"`` (with weights: sum of weights) among them.
    weight
        Column of person weights; default: all persons alike.
    among
        Column: 1 for those of whom the network consists, else 0. Everybody else, and those
        for whom it is missing, is no part of it, neither mover nor among those to whom movers
        are compared, but has an exposure.
    by, side
        Column of a trait (ethnicity, caste, gender), and whose earlier moves count: of
        others with the ``"own"`` label of it, or with any ``"other"``. Persons for whom it
        is missing count on neither side, and have no exposure.

    Returns
    -------
    Series
        Floats of shape ``(obs,)``, index of `frame`; NaN where group, period or own part
        is missing. Where there are no others, the share is NaN and the count is 0.

    Raises
    ------
    SurveyError
        Where a column is absent, or `prior` or `among` is not made of 0 and 1.

    Notes
    -----
    For a person of part *h* of group *c*: ``(Σ_c prior − Σ_{c,h} prior) / (n_c − n_{c,h})``.
    With `by`, sums go over those of the own trait within *c* and *h*, or over all less those.
    Exclusion by closed groups would show as a pull of the own side and none, or a push, of
    the other (de Haas 2010, doi:10.1080/1369183X.2010.489361).
    """
    keys = [group, *([period] if period else [])]
    refuse_absent(frame, [prior, *keys, *(c for c in (own, weight, among, by) if c)], "a network")
    moved = zero_or_one(frame[prior], prior, mend=ANY_MOVE)
    known = np.isfinite(moved)
    if among is not None:
        known &= zero_or_one(frame[among], among, mend=THOSE_WHO_COUNT) == 1
    if by is not None:
        known &= frame[by].notna().to_numpy()
    heads = np.where(known, weights_of(frame, weight), 0.0)
    movers = heads * np.where(known, moved, 0.0)
    outer = group_codes(frame, keys)
    inner = None if own is None else group_codes(frame, [*keys, own])
    left, exposed = (_on_side(v, frame, keys, own, by, side) for v in (heads, movers))
    exposed = np.where(left > 0, exposed, 0.0)
    if measure == "share":
        exposed = np.divide(exposed, left, out=np.full(len(left), np.nan), where=left > 0)
    unknown = (outer if inner is None else np.minimum(outer, inner)) < 0
    exposed[unknown if by is None else unknown | frame[by].isna().to_numpy()] = np.nan
    return pd.Series(exposed, index=frame.index)


def _on_side(
    values: npt.NDArray[np.float64],
    frame: pd.DataFrame,
    keys: list[str],
    own: str | None,
    by: str | None,
    side: Side,
) -> npt.NDArray[np.float64]:
    """Sum values over each row's group, less the own part: all, or one side of a trait."""

    def summed(within: list[str]) -> npt.NDArray[np.float64]:
        inner = None if own is None else group_codes(frame, [*within, own])
        return others(values, group_codes(frame, within), inner)

    if by is None:
        return summed(keys)
    alike = summed([*keys, by])
    if side == "own":
        return alike
    everybody = summed(keys)
    left = everybody - alike
    return np.where(np.abs(left) <= 1e-9 * np.abs(everybody), 0.0, left)


def community_exposure(
    frame: pd.DataFrame,
    *,
    prior: str,
    household: str,
    community: str,
    period: str | None = None,
    measure: Measure = "share",
    weight: str | None = None,
) -> pd.Series:
    """Share of a community's persons with an earlier move, own household left out.

    See `exposure`: `community` is the group, `household` the part left out.
    """
    return exposure(
        frame,
        prior=prior,
        group=community,
        own=household,
        period=period,
        measure=measure,
        weight=weight,
    )


def household_exposure(
    frame: pd.DataFrame,
    *,
    prior: str,
    household: str,
    period: str | None = None,
    measure: Measure = "count",
    weight: str | None = None,
) -> pd.Series:
    """Count (or share) the *other* members of a household with an earlier move.

    See `exposure`: `household` is the group, and only the own row is left out.
    """
    return exposure(
        frame, prior=prior, group=household, period=period, measure=measure, weight=weight
    )


def refuse_absent(frame: pd.DataFrame, names: Iterable[str], what: str) -> None:
    """Refuse columns that are not there to compute something from."""
    for name in names:
        if name not in frame.columns:
            raise SurveyError(
                f"there is no column {name!r} to compute {what} from",
                mend=nearest(name, list(frame.columns)),
            )


def weights_of(frame: pd.DataFrame, weight: str | None) -> npt.NDArray[np.float64]:
    """Give the weights of rows, all 1 where there are none; refuse what cannot weigh."""
    if weight is None:
        return np.ones(len(frame))
    values = numbers_of(frame[weight], weight, ())
    if not (np.isfinite(values) & (values >= 0)).all():
        raise SurveyError(
            f"the weights {weight!r} are missing, infinite or negative in some rows",
            where=f"column {weight!r}",
            mend="give every person a weight, or state weighted = false",
        )
    return values


def group_codes(frame: pd.DataFrame, by: list[str]) -> npt.NDArray[np.intp]:
    """Number the groups; -1 where one of the keys is missing."""
    codes = frame.groupby(by, sort=False, dropna=True, observed=True).ngroup()
    return codes.fillna(-1).to_numpy().astype(np.intp)


def others(
    values: npt.NDArray[np.float64],
    outer: npt.NDArray[np.intp],
    inner: npt.NDArray[np.intp] | None,
) -> npt.NDArray[np.float64]:
    """Sum values over each row's group, less the own part (the own row where it is None)."""
    total = _sums(values, outer)
    own = values if inner is None else _sums(values, inner)
    # Sums of weights cancel inexactly: a remainder at the rounding of the total is none.
    left = total - own
    return np.where(np.abs(left) <= 1e-9 * np.abs(total), 0.0, left)


def _sums(values: npt.NDArray[np.float64], codes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Give each row the sum of its group; rows without a group get 0."""
    sums = np.bincount(codes + 1, weights=values)
    sums[0] = 0.0
    return sums[codes + 1]


def zero_or_one(
    values: pd.Series, name: str, where: tuple[str, ...] = (), *, mend: str = ""
) -> npt.NDArray[np.float64]:
    """Give a 0/1 column as floats with NaN.

    Raises
    ------
    SurveyError
        Where it holds anything else.
    """
    numbers = numbers_of(values, name, where)
    odd = np.flatnonzero(np.isfinite(numbers) & (numbers != 0) & (numbers != 1))
    if len(odd):
        raise SurveyError(
            f"the column {name!r} holds {numbers[odd[0]]:g}; 0 or 1 was expected",
            where=(*where, f"column {name!r}", rows_text(odd.tolist())),
            mend=mend.format(name=name) or "give 1 to those who count, and 0 to others",
        )
    return numbers
