"""Auxiliary tables: what is known of places, periods and routes, joined to the survey's rows.

A table has one row for each combination of its keys; a long one has several, told apart by
a label (the route, the sector). Keys are compared as labels, so that 7, 7.0 and "7" are one
place. A key that stands twice, a row without a key, and a choice situation whose key is not
there are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SpecError, SurveyError, nearest, rows_text
from bayesmig.survey.covariates import AuxiliaryTable
from bayesmig.survey.derive import numbers_of
from bayesmig.survey.files import (
    FileOptions,
    Table,
    read_header,
    read_table,
    table_of,
    unique_names,
)
from bayesmig.survey.labels import labels_of, one_spelling

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Keyed:
    """A table with the labels of its keys.

    Attributes
    ----------
    file
        Its file, or ``"DataFrame NAME"``, for messages.
    frame
        Its columns, ``(row, …)``.
    keys
        Labels of its keys, a column for each, under the names of the survey's columns.
    long
        Labels that tell rows of one key apart, ``(row,)``, or None.
    """

    file: str
    frame: pd.DataFrame
    keys: pd.DataFrame
    long: pd.Series | None


# ---------------------------------------------------------------------------- reading


def read_auxiliary(
    name: str, block: AuxiliaryTable, columns: Sequence[str], folder: Path, book: str
) -> Keyed:
    """Read an auxiliary table from its file.

    Parameters
    ----------
    name, block
        As the codebook declares it.
    columns
        The columns that are read beside its keys.
    folder, book
        Where the codebook lies, and its name.

    Raises
    ------
    SpecError, SurveyError
        Where there is no file, it cannot be read, a column is not there, a key stands
        twice, or a row has none.
    """
    key = f"key tables.{name}.file"
    if block.file is None:
        raise SpecError(
            f"the table {name!r} names no file",
            where=(book, f"key tables.{name}"),
            mend='add file = "TABLE" (relative to the codebook)',
        )
    path = (folder / block.file).resolve()
    options = FileOptions(block.encoding, block.separator, block.missing_text)
    try:
        header = read_header(path, options)
        wanted = _wanted(block, columns)
        _refuse_absent(name, block, wanted, header, book, str(path))
        table = read_table(path, options, list(wanted), {*block.keys.values(), block.long or ""})
    except (SurveyError, SpecError) as err:
        place = tuple(w for w in err.where if w != "key file")
        where = place if book in place else (book, key, *place)
        raise type(err)(err.what, where=where, mend=err.mend) from None
    return _keyed(name, block, table, str(path), book)


def auxiliary_of(
    name: str, block: AuxiliaryTable, columns: Sequence[str], frame: pd.DataFrame, book: str
) -> Keyed:
    """As `read_auxiliary`, from a DataFrame, which is copied."""
    header = unique_names(list(frame.columns), f"DataFrame {name!r}")
    wanted = _wanted(block, columns)
    _refuse_absent(name, block, wanted, header, book, f"DataFrame {name!r}")
    return _keyed(name, block, table_of(frame, list(wanted)), f"DataFrame {name!r}", book)


def _wanted(block: AuxiliaryTable, columns: Sequence[str]) -> dict[str, str]:
    """Map each column of the table that is read to the key that names it."""
    wanted = {column: f"keys.{ours}" for ours, column in block.keys.items()}
    if block.long is not None:
        wanted.setdefault(block.long, "long")
    for name in block.columns:
        wanted.setdefault(block.of(name)[0], f"columns.{name}")
    return {**dict.fromkeys(columns, "columns"), **wanted}


def _refuse_absent(
    name: str,
    block: AuxiliaryTable,
    wanted: Mapping[str, str],
    header: Sequence[str],
    book: str,
    file: str,
) -> None:
    for column, key in wanted.items():
        if column not in header:
            raise SurveyError(
                f"the column {column!r} is not in the table {name!r}",
                where=(book, f"key tables.{name}.{key}", file),
                mend=nearest(column, list(header)),
            )


def _keyed(name: str, block: AuxiliaryTable, table: Table, file: str, book: str) -> Keyed:
    def labels(column: str, key: str) -> pd.Series:
        where = (book, f"key tables.{name}.{key}", file, f"column {column!r}")
        text = column in table.written or isinstance(table.frame[column].dtype, pd.StringDtype)
        spelt = (one_spelling if text else labels_of)(table.frame[column], where=where)
        absent = np.flatnonzero(spelt.isna())
        if len(absent):
            raise SurveyError(
                f"the key {column!r} of the table {name!r} is missing in {len(absent):,} rows",
                where=(*where, rows_text(absent.tolist())),
                mend="complete the table, or remove these rows",
            )
        return spelt.astype("str")

    keys = pd.DataFrame({ours: labels(c, f"keys.{ours}") for ours, c in block.keys.items()})
    long = None if block.long is None else labels(block.long, "long")
    of_row = keys if long is None else keys.assign(**{" long": long})
    again = np.flatnonzero(of_row.duplicated(keep=False))
    if len(again):
        first = _label(of_row.iloc[again[0]])
        columns = [*block.keys.values(), *([block.long] if block.long else [])]
        raise SurveyError(
            f"the key {first} stands more than once in the table {name!r}; {len(again):,} rows "
            "are such",
            where=(
                book,
                f"key tables.{name}.keys",
                file,
                f"columns {', '.join(map(repr, columns))}",
                rows_text(again.tolist()),
            ),
            mend="keep one row for each key"
            + ("" if block.long else '; where several belong to one key, state long = "COLUMN"'),
        )
    return Keyed(file, table.frame, keys, long)


def _label(row: pd.Series) -> str:
    return " and ".join(repr(str(value)) for value in row)


# ---------------------------------------------------------------------------- joining


def positions(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[Positions, npt.NDArray[np.bool_]]:
    """Find the row of a table for each choice situation.

    Parameters
    ----------
    ours, theirs
        Labels of the keys, ``(obs, key)`` and ``(row, key)``, columns of the same names;
        those of `theirs` are complete and stand once.

    Returns
    -------
    positions
        ``(obs,)``; -1 where the key is missing or the table lacks it.
    known
        Whether the choice situation has all its keys, ``(obs,)``.
    """
    known = ours.notna().all(axis=1).to_numpy()
    kinds = list(theirs.columns)
    asked = ours.drop_duplicates()
    rows = theirs.reset_index(drop=True).assign(**{" row": np.arange(len(theirs))})
    found = ours.merge(asked.merge(rows, on=kinds, how="left"), on=kinds, how="left")[" row"]
    at = found.fillna(-1).to_numpy().astype(np.intp)
    return np.where(known, at, -1), known


def joined(
    ours: pd.DataFrame,
    table: Keyed,
    *,
    column: str,
    at: str | None = None,
    absent: float | str = "refuse",
    where: tuple[str, ...] = (),
) -> tuple[pd.Series, int]:
    """Give each choice situation the table's value of its key.

    Parameters
    ----------
    ours
        Labels of the keys of choice situations, ``(obs, key)``.
    table
        As read.
    column
        Which of its columns.
    at
        Of a long table, the label whose rows are read.
    absent
        What stands where the table lacks the key: ``"refuse"``, ``"missing"`` or a number.
    where
        File and key of the codebook, for messages.

    Returns
    -------
    values
        ``(obs,)``, index of `ours`: numbers or text as the table has them, missing where
        a key of the choice situation or the table's value is missing.
    absent
        Rows whose key the table lacks.

    Raises
    ------
    SurveyError
        Where the label is not there, no row finds its key, or one does not and `absent`
        is ``"refuse"``.
    """
    here = (*where, table.file)
    keys, values = table.keys, table.frame[column]
    if at is not None:
        assert table.long is not None
        rows = np.flatnonzero(table.long == at)
        if not len(rows):
            raise SurveyError(
                f"no row of the table is {at!r}",
                where=here,
                mend=nearest(at, sorted(table.long.unique())),
            )
        keys, values = keys.iloc[rows], values.iloc[rows]
    found, known = positions(ours, keys)
    lost = np.flatnonzero(known & (found < 0))
    if len(lost) and (absent == "refuse" or len(lost) == known.sum()):
        raise _no_key(ours, keys, lost, here, whole=len(lost) == known.sum())
    taken = values.reset_index(drop=True).reindex(found)
    taken.index = ours.index
    if len(lost) and absent not in ("refuse", "missing"):
        numbers_of(taken, column, here)
        filled = taken.to_numpy(dtype="float64", na_value=np.nan, copy=True)
        filled[lost] = float(absent)
        taken = pd.Series(filled, index=ours.index)
    return taken, len(lost)


def _no_key(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    lost: Positions,
    where: tuple[str, ...],
    *,
    whole: bool,
) -> SurveyError:
    first = ours.iloc[lost[0]]
    names = " and ".join(map(repr, ours.columns))
    strange = [c for c in ours.columns if first[c] not in set(theirs[c])]
    hint = "add rows for these keys"
    if strange:
        one = strange[0]
        hint += f"; of {one}: {nearest(str(first[one]), sorted(theirs[one].unique()))}"
    much = "no choice situation finds its key" if whole else f"{len(lost):,} rows lack theirs"
    return SurveyError(
        f"the table has no row for {names} {_label(first)}; {much}",
        where=(*where, rows_text(lost.tolist())),
        mend=hint if whole else hint + '; or state absent = "missing" or a number',
    )


def by_label(table: Keyed, column: str, where: tuple[str, ...]) -> pd.DataFrame:
    """Spread a long table: one row per key, one column per label, NaN where there is no row."""
    assert table.long is not None
    numbers = numbers_of(table.frame[column], column, (*where, table.file))
    absent = np.flatnonzero(np.isnan(numbers))
    if len(absent):
        raise SurveyError(
            f"the column {column!r} is missing in {len(absent):,} rows of the table",
            where=(*where, table.file, f"column {column!r}", rows_text(absent.tolist())),
            mend="complete the table, or remove these rows",
        )
    index = pd.MultiIndex.from_frame(table.keys)
    codes, keys = pd.factorize(index)
    which, labels = pd.factorize(table.long, sort=True)
    spread = np.full((len(keys), len(labels)), np.nan)
    spread[codes, which] = numbers
    return pd.DataFrame(
        spread, index=pd.MultiIndex.from_tuples(keys, names=index.names), columns=labels
    )
