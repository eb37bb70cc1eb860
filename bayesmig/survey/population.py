"""Rows weighted to a population that is known from elsewhere: poststratification and raking.

Poststratification (Holt and Smith 1979, doi 10.2307/2344652) gives every cell of a table the
number of people that it has; raking, or iterative proportional fitting (Deming and Stephan
1940, doi 10.1214/aoms/1177731829), gives it to every margin of several tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.errors import QuestionError, nearest

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: Column of a target table that holds numbers of people.
COUNT = "count"
#: Relative error of a raked margin that is none, and rounds in which it must be reached.
_CLOSE, _ROUNDS = 1e-12, 2_000
#: Relative difference of two margins' totals that rounding may leave.
_SAME_TOTAL = 1e-6


@dataclass(frozen=True, slots=True)
class _Target:
    """Cells of one table: columns, names and numbers of people; the cell of every row."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    counts: Array
    cells: Codes


def weigh_to(
    frame: pd.DataFrame, weights: Array | None, population: pd.DataFrame | Sequence[pd.DataFrame]
) -> tuple[Array, str, tuple[Codes, ...]]:
    """Weights by which rows stand for a population, in numbers of people.

    Parameters
    ----------
    frame
        The rows.
    weights
        What each row counts within its cell, ``(obs,)``; once where left out.
    population
        A table with columns of the rows and a column ``count``: cells and their people. Or
        several, whose margins are raked.

    Returns
    -------
    tuple
        Weights ``(obs,)`` that sum to the population; what was done, in words; and the cell of
        every row in each table, ``(obs,)``.

    Raises
    ------
    QuestionError
        Where a table does not fit the rows, where people of a cell are stood for by no row,
        where the totals of several tables differ, or where no weights fit their margins.
    """
    start = np.ones(len(frame)) if weights is None else weights
    single = isinstance(population, pd.DataFrame)
    tables = [population] if single else list(population)
    if not tables:
        raise QuestionError("no table is given", where="population")
    targets = [_target(frame, table, k, single) for k, table in enumerate(tables)]
    for target in targets:
        _refuse_unrepresented(target, start)
    _refuse_other_totals(targets)
    found = _raked(targets, start)
    total = f"{targets[0].counts.sum():,.6g} people"
    cells = tuple(target.cells for target in targets)
    if len(targets) == 1:
        by = ", ".join(targets[0].columns)
        return (
            found,
            f"poststratified by {by} to {len(targets[0].counts):,} cells of {total}",
            cells,
        )
    by = "; ".join(", ".join(target.columns) for target in targets)
    return found, f"raked to {len(targets)} margins ({by}) of {total}", cells


def read_population(path: str | Path) -> pd.DataFrame:
    """A table of cells and their people from a csv file.

    Raises
    ------
    QuestionError
        Where it cannot be read.
    """
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as err:
        raise QuestionError(
            f"the table cannot be read ({type(err).__name__})",
            where=str(path),
            mend=f"name a csv file with columns of the rows and a column {COUNT!r}",
        ) from err


def _target(frame: pd.DataFrame, table: object, number: int, single: bool) -> _Target:
    where = "population" if single else f"population[{number}]"
    if not isinstance(table, pd.DataFrame):
        raise QuestionError(
            f"a DataFrame was expected, got {type(table).__name__}",
            where=where,
            mend=f"give columns of the rows and their people as a column {COUNT!r}",
        )
    columns = tuple(str(c) for c in table.columns if c != COUNT)
    if COUNT not in table.columns or not columns or not len(table):
        raise QuestionError(
            f"the table needs columns of the rows and a column {COUNT!r} with numbers of people",
            where=where,
            mend=f"it has {', '.join(map(repr, table.columns)) or 'no columns'}",
        )
    for column in columns:
        if column not in frame.columns:
            raise QuestionError(
                f"there is no column {column!r}; {nearest(column, list(map(str, frame.columns)))}",
                where=where,
                mend="name columns of the rows that are asked about",
            )
    counts = _counts(table, where)
    keys = pd.DataFrame({c: _alike(table[c], frame[c])[0] for c in columns})
    of_rows = pd.DataFrame({c: _alike(table[c], frame[c])[1] for c in columns})
    names = [
        ", ".join(f"{c}={v}" for c, v in zip(columns, row, strict=True)) for row in keys.to_numpy()
    ]
    if (twice := np.flatnonzero(keys.duplicated())).size:
        raise QuestionError(f"the cell {names[twice[0]]} is there twice", where=where)
    index = pd.MultiIndex.from_frame(keys)
    cells = index.get_indexer(pd.MultiIndex.from_frame(of_rows)).astype(np.int64)
    if (outside := np.flatnonzero(cells < 0)).size:
        values = of_rows.iloc[outside[0]]
        cell = ", ".join(f"{c}={values[c]}" for c in columns)
        raise QuestionError(
            f"{len(outside):,} rows are in no cell of the table, the first with {cell}",
            where=where,
            mend=f"add their cells ({COUNT} = 0 for people who are not in the population), or "
            "recode the column in the codebook",
        )
    return _Target(columns, tuple(names), counts, cells)


def _counts(table: pd.DataFrame, where: str) -> Array:
    if not pd.api.types.is_numeric_dtype(table[COUNT]):
        raise QuestionError(f"the column {COUNT!r} holds text", where=where)
    counts = table[COUNT].to_numpy(dtype=float)
    if not (np.isfinite(counts) & (counts >= 0)).all() or not counts.sum() > 0:
        raise QuestionError(
            f"numbers of people must be finite, at least 0, and not all 0, got {counts.min():g} "
            f"to {counts.max():g}",
            where=where,
        )
    return counts


def _alike(of_table: pd.Series, of_rows: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both as numbers where both are, else as text."""
    numbers = all(pd.api.types.is_numeric_dtype(of) for of in (of_table, of_rows))
    kind = float if numbers else str
    return tuple(of.reset_index(drop=True).astype(kind) for of in (of_table, of_rows))  # type: ignore[return-value]


def _refuse_unrepresented(target: _Target, start: Array) -> None:
    """Refuse people for whom no row stands."""
    mass = np.bincount(target.cells, start, len(target.counts))
    if (empty := np.flatnonzero((mass == 0) & (target.counts > 0))).size:
        more = f" (and {len(empty) - 1:,} other cells)" if len(empty) > 1 else ""
        raise QuestionError(
            f"no row with a weight stands for the {target.counts[empty[0]]:,.6g} people with "
            f"{target.names[empty[0]]}{more}",
            where="population",
            mend="merge the cell with a similar one, in the table and in the rows",
        )


def _refuse_other_totals(targets: Sequence[_Target]) -> None:
    totals = [float(target.counts.sum()) for target in targets]
    for target, total in zip(targets, totals, strict=True):
        if abs(total - totals[0]) > _SAME_TOTAL * totals[0]:
            raise QuestionError(
                f"the margins do not sum to one population: {totals[0]:,.10g} people by "
                f"{', '.join(targets[0].columns)} and {total:,.10g} by {', '.join(target.columns)}",
                where="population",
                mend="scale the tables to one total, or take them from one source",
            )


def _raked(targets: Sequence[_Target], start: Array) -> Array:
    """Weights whose sums over every target's cells are its counts."""
    weights = start.astype(float)
    # What rounding left of the totals' differences would keep margins apart for ever.
    total = targets[0].counts.sum()
    wanted = [target.counts * (total / target.counts.sum()) for target in targets]
    for _ in range(_ROUNDS):
        for target, counts in zip(targets, wanted, strict=True):
            mass = np.bincount(target.cells, weights, len(counts))
            factor = np.divide(counts, mass, out=np.zeros(len(counts)), where=mass > 0)
            weights = weights * factor[target.cells]
        errors = [
            np.abs(np.bincount(target.cells, weights, len(counts)) - counts) / total
            for target, counts in zip(targets, wanted, strict=True)
        ]
        if max(float(error.max()) for error in errors) <= _CLOSE:
            return weights
    worst = int(np.argmax([error.max() for error in errors]))
    cell = int(errors[worst].argmax())
    off = wanted[worst][cell] + 0.0
    got = float(np.bincount(targets[worst].cells, weights, len(wanted[worst]))[cell])
    raise QuestionError(
        f"no weights of these rows fit all margins: of {off:,.6g} people with "
        f"{targets[worst].names[cell]} they reach {got:,.6g} after {_ROUNDS:,} rounds",
        where="population",
        mend="some combination of cells has people and no rows: merge cells, or leave a margin out",
    )
