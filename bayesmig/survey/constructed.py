"""From what a codebook says to what the constructors of covariates take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesmig.errors import SurveyError, nearest, rows_text
from bayesmig.survey.covariates import Deprivation, Rate, Risk, ShiftShare
from bayesmig.survey.demand import shift_share
from bayesmig.survey.incomes import income_risk, relative_deprivation
from bayesmig.survey.networks import group_codes
from bayesmig.survey.rates import lagged_rate, periods_in_order
from bayesmig.survey.tables import by_label, joined, positions

if TYPE_CHECKING:
    from bayesmig.survey.columns import Columns

Where = tuple[str, ...]


def constructed(name: str, columns: Columns) -> pd.Series:
    """Make a column that a table or a constructor of the codebook gives, ``(obs,)``.

    Raises
    ------
    SurveyError
        As the constructors do, with the codebook and the key in front.
    """
    book = columns.book
    where = (columns.where, f"key {book.key_of(name)}")
    if (table := book.table_of(name)) is not None:
        return _joined(name, table, columns, where)
    try:
        if name in book.deprivation:
            return _deprivation(name, book.deprivation[name], columns, where)
        if name in book.risk:
            return _risk(book.risk[name], columns, where)
        if name in book.rates:
            return _rate(name, book.rates[name], columns, where)
        return _demand(book.shift_share[name], columns, where)
    except SurveyError as err:
        if err.where[: len(where)] == where:
            raise
        raise SurveyError(err.what, where=(*where, *err.where), mend=err.mend) from None


def _labels(columns: Columns, name: str) -> pd.Series:
    """Give the labels of a column or role."""
    return columns.labels(columns.book.roles.declared().get(name, name))


def _needs(columns: Columns, role: str, where: Where, mend: str = "") -> pd.Series:
    if role not in columns.book.roles.declared():
        raise SurveyError(
            f"this column needs the role {role!r}",
            where=where,
            mend=f'add {role} = "COLUMN" under [roles]' + mend,
        )
    return _labels(columns, role)


def _weights(columns: Columns, stated: bool | None, where: Where) -> dict[str, pd.Series]:
    """Give the weights under the name ``weight``, or nothing."""
    declared = "weight" in columns.book.roles.declared()
    if stated is False or (stated is None and not declared):
        return {}
    if not declared:
        _needs(columns, "weight", where, ", or state weighted = false")
    return {"weight": columns.get(columns.book.roles.declared()["weight"])}


def _joined(name: str, table: str, columns: Columns, where: Where) -> pd.Series:
    block, keyed = columns.book.tables[table], columns.auxiliary[table]
    column, at = block.of(name)
    ours = pd.DataFrame({key: _labels(columns, key) for key in block.keys})
    values, absent = joined(ours, keyed, column=column, at=at, absent=block.absent, where=where)
    if absent:
        columns.without_key[name] = absent
    return values


def _deprivation(name: str, block: Deprivation, columns: Columns, where: Where) -> pd.Series:
    group = columns.book.reference_group(name)
    if not group:
        _needs(columns, "origin", where, ", or state within = [...]")
    home = "household" in columns.book.roles.declared()
    within = {f" within {key}": _labels(columns, key) for key in group}
    parts = {block.of: columns.get(block.of), **within}
    if home:
        keys: list[str] = []
        keys += [r for r in ("household", "period") if r in columns.book.roles.declared()]
        homes = group_codes(pd.DataFrame({key: _labels(columns, key) for key in keys}), keys)
        parts[" household"] = pd.Series(homes).where(homes >= 0)
    weights = _weights(columns, block.weighted, where)
    found = relative_deprivation(
        pd.DataFrame(parts | weights),
        income=block.of,
        group=list(within),
        household=" household" if home else None,
        weight="weight" if weights else None,
        per=block.per,
    )
    placed = pd.DataFrame(parts).notna().all(axis=1)
    return _filled(name, found, placed & found.isna(), block.alone, columns)


def _filled(
    name: str, values: pd.Series, alone: pd.Series, stated: float | str, columns: Columns
) -> pd.Series:
    """Count who stands alone, and put the stated value there."""
    columns.alone[name] = int(alone.sum())
    return values if stated == "missing" else values.mask(alone, float(stated))


def _risk(block: Risk, columns: Columns, where: Where) -> pd.Series:
    home, when = (_needs(columns, role, where) for role in ("household", "period"))
    frame = pd.DataFrame({block.of: columns.get(block.of), " household": home, " period": when})
    return income_risk(
        frame,
        income=block.of,
        household=" household",
        period=" period",
        periods=periods_in_order(when, block.order, where=(*where, "key order")),
        measure=block.measure,
        window=block.window,
        least=block.least,
    )


def _rate(name: str, block: Rate, columns: Columns, where: Where) -> pd.Series:
    columns.refuse_made_of_choice((block.of, block.at, block.leave_out), where)
    when = _needs(columns, "period", where)
    periods = periods_in_order(when, block.order, where=(*where, "key order"))
    if len(periods) <= block.lag:
        raise SurveyError(
            f"a rate of {block.lag} period{'s' * (block.lag > 1)} ago needs more than the "
            f"{len(periods)} that the survey has",
            where=where,
            mend="join the rates of earlier periods from a file, under [tables]",
        )
    choice, place = columns.choice, _labels(columns, block.of)
    looked = place if block.at is None else _labels(columns, block.at)
    if block.place is not None:
        looked = _one_place(block.place, place, where)
    left = choice.isin(block.alternatives).astype("float64").where(choice.notna())
    own = {} if block.leave_out is None else {"own": _labels(columns, block.leave_out)}
    weights = _weights(columns, block.weighted, where)
    found = lagged_rate(
        pd.DataFrame(
            {"left": left, "place": place, "period": when, "at": looked, **own, **weights}
        ),
        left="left",
        place="place",
        period="period",
        periods=periods,
        at="at",
        lag=block.lag,
        own="own" if own else None,
        weight="weight" if weights else None,
    )
    early = when.isin(periods[: block.lag]) & looked.notna()
    known = looked.notna() & when.notna() & ~early
    columns.alone[name] = int((found.isna() & known).sum())
    return found if block.first == "missing" else found.mask(early, float(block.first))


def _one_place(place: str, places: pd.Series, where: Where) -> pd.Series:
    known = set(places.dropna().unique())
    if place not in known:
        raise SurveyError(
            f"nobody lives in {place!r}",
            where=(*where, "key place"),
            mend=nearest(place, sorted(known)),
        )
    return pd.Series(place, index=places.index, dtype="str")


def _demand(block: ShiftShare, columns: Columns, where: Where) -> pd.Series:
    spread, at = {}, {}
    for kind, series in (("shares", block.shares), ("growth", block.growth)):
        keys = columns.book.tables[series.table].keys
        table = by_label(columns.auxiliary[series.table], series.column, (*where, f"key {kind}"))
        ours = pd.DataFrame({key: _labels(columns, key) for key in keys})
        theirs = table.index.to_frame(index=False)
        at[kind], known = positions(ours, theirs)
        spread[kind] = table
        lost = np.flatnonzero(known & (at[kind] < 0))
        if len(lost):
            raise _no_key(series.table, ours, lost, (*where, f"key {kind}"), columns)
    demand = shift_share(
        spread["shares"],
        spread["growth"],
        units=at["shares"],
        cells=at["growth"],
        sums=block.sums,
        where=where,
    )
    return pd.Series(demand, index=ours.index)


def _no_key(
    table: str, ours: pd.DataFrame, lost: np.ndarray, where: Where, columns: Columns
) -> SurveyError:
    key = " and ".join(repr(str(v)) for v in ours.iloc[lost[0]])
    return SurveyError(
        f"the table {table!r} has no row for {' and '.join(map(repr, ours.columns))} {key}; "
        f"{len(lost):,} rows lack theirs",
        where=(*where, columns.auxiliary[table].file, rows_text(lost.tolist())),
        mend="add rows for these keys",
    )
