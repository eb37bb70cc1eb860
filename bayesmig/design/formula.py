"""Vetted formulas × a table → columns of numbers, with what was learnt on the way.

The algebra, the coding of categories and the splines are formulaic's. What it sees
is only an explicit sum of terms over factors that `bayesmig.expressions` has vetted,
and it evaluates them in a context that holds three numpy functions and nothing else.
Of a category it sees the number of each row's level, never the text of a level.
A formula of nothing but columns and their products does without it: loading formulaic
takes longer than the whole design of 20,000 persons.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from bayesmig.chunks import chunks
from bayesmig.errors import DesignError, nearest, rows_text
from bayesmig.expressions import Factor, Formula

_CONTEXT = {"log1p": np.log1p, "sqrt": np.sqrt, "square": np.square}
CONSTANT = "asc"
#: Labels of the constant, here and in formulaic: no column may have them.
_TAKEN = (CONSTANT, "Intercept")
#: Sizes of the largest number of a column between which a fit keeps its digits.
_SMALLEST, _LARGEST = 1e-12, 1e50


class RowsError(DesignError):
    """A fault of some rows of a table.

    Parameters
    ----------
    what, where, mend
        As for every error; the rows are added to ``where``.
    rows
        Their positions in the table, from 0.
    """

    def __init__(self, what: str, *, where: Iterable[str], mend: str, rows: np.ndarray) -> None:
        self.place, self.rows = tuple(where), np.asarray(rows)
        super().__init__(what, where=(*self.place, rows_text(self.rows.tolist())), mend=mend)


@dataclass(frozen=True, slots=True)
class Encoder:
    """A formula with what it learnt on one table, re-applied to others.

    Attributes
    ----------
    formula
        What was asked.
    names
        Labels of the columns it makes, in order; the constant is ``asc``.
    levels
        Column -> its levels, for every ``C()`` factor.
    """

    formula: Formula
    names: tuple[str, ...]
    levels: Mapping[str, tuple[Any, ...]]
    _learnt: Any = field(repr=False)
    _first: int = field(repr=False)

    def apply(self, frame: pd.DataFrame, *, where: str = "new data") -> np.ndarray:
        """Encode a table with what was learnt.

        Parameters
        ----------
        frame
            Has every column of the formula.
        where
            What the table is, for messages.

        Returns
        -------
        ndarray
            ``(rows, len(names))``, float64, finite.

        Raises
        ------
        DesignError
            Where a column is missing, a level is unseen, or a value is not finite.
        """
        columns = self._evaluate(self._numbered_table(frame, where), _CONTEXT, where)
        return self._finite(columns, where)

    def derivative(
        self, frame: pd.DataFrame, along: Mapping[str, np.ndarray], *, where: str = "new data"
    ) -> np.ndarray:
        """Derivative of the columns when columns of the table move, exact to rounding.

        Parameters
        ----------
        frame
            As for `apply`, which comes first: values out of range are refused there.
        along
            Column -> how fast it moves in every row, ``(rows,)``; others stand still,
            as do levels of categories.
        where
            What the table is, for messages.

        Returns
        -------
        ndarray
            ``(rows, len(names))``.

        Raises
        ------
        DesignError
            Where there is no derivative, as of a root at zero.
        """
        from bayesmig.design import complex_step

        table = self._numbered_table(frame, where)
        moving = {c: speed for c, speed in along.items() if c in table and len(table)}
        if not moving:
            return np.zeros((len(table), len(self.names)))
        context, found = {**_CONTEXT, **complex_step.CONTEXT}, []
        for step in complex_step.STEPS:
            moved = {c: table[c] + 1j * step * speed for c, speed in moving.items()}
            found.append(np.imag(self._evaluate(table.assign(**moved), context, where)) / step)
        one, other = found
        lost = ~np.isclose(one, other, rtol=1e-6, atol=0.0)
        if lost.any():
            column = int(np.flatnonzero(lost.any(axis=0))[0])
            raise RowsError(
                f"the column {self.names[column]!r} has no finite slope",
                where=(where,),
                mend="a root of zero has none: ask for the comparison with a finite change",
                rows=np.flatnonzero(lost[:, column]),
            )
        return one

    def _numbered_table(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        return _numbered(_table(self.formula, frame, where), self.levels, where)

    def _evaluate(self, table: pd.DataFrame, context: Mapping[str, Any], where: str) -> np.ndarray:
        if not len(table):
            return np.empty((0, len(self.names)))
        moves = any(pd.api.types.is_complex_dtype(kind) for kind in table.dtypes)
        out = np.empty((len(table), len(self.names)), dtype=complex if moves else float)
        for rows in chunks(len(table)):
            try:
                with np.errstate(all="ignore"):
                    matrix = self._learnt.get_model_matrix(table.iloc[rows], context=context)
            except Exception as err:
                raise _cannot_evaluate(self.formula, err, where) from err
            out[rows] = np.asarray(matrix)[:, self._first :]
        return out

    def _finite(self, matrix: np.ndarray, where: str) -> np.ndarray:
        if not all(np.isfinite(matrix[rows]).all() for rows in chunks(len(matrix))):
            bad = ~np.isfinite(matrix)
            column = int(np.flatnonzero(bad.any(axis=0))[0])
            raise RowsError(
                f"the column {self.names[column]!r} is not finite",
                where=(where,),
                mend="a logarithm or root of a number out of its range gives this; "
                "use log1p, or recode the column in the codebook",
                rows=np.flatnonzero(bad[:, column]),
            )
        return matrix


def learn(
    formula: Formula, frame: pd.DataFrame, *, constant: bool, where: str = ""
) -> tuple[Encoder, np.ndarray]:
    """Learn an encoding on a table.

    Parameters
    ----------
    formula
        Vetted formula.
    frame
        The table.
    constant
        Whether the constant is among the columns. Categories are coded against their
        reference level either way, as beside a constant; all levels are kept only in
        a product whose other factor does not stand alone (``C(region, …):wealth``
        without ``wealth``).
    where
        The key of the formula, for messages.

    Returns
    -------
    tuple
        The encoder, and its columns on ``frame``, ``(rows, column)``.

    Raises
    ------
    DesignError
        Where a column is missing, is text without ``C()``, or lacks its reference.
    """
    table = _table(formula, frame, where)
    levels = {f.columns[0]: _levels(f, table, where) for f in _categories(formula)}
    table = _numbered(table, levels, where)
    texts = {f.name: _formulaic_text(f, levels) for f in formula.factors}
    terms = [":".join(texts[f.name] for f in term) for term in formula.terms]
    asked = " + ".join(["1", *terms])
    some = table.iloc[next(chunks(len(table)), slice(0))]
    learnt = _learnt(asked, formula, some, where)
    if len(table) > len(some) and learnt.transform_state:
        # What it learns of the numbers themselves, it must learn of all of them.
        learnt = _learnt(asked, formula, table, where)
    names = [_label(str(n), formula, texts, levels) for n in learnt.column_names]
    first = 0 if constant else 1
    encoder = Encoder(formula, tuple(names[first:]), levels, learnt, first)
    columns = encoder._finite(encoder._evaluate(table, _CONTEXT, where), where)
    if len(columns):
        sizes = np.max([np.abs(columns[r]).max(axis=0) for r in chunks(len(columns))], axis=0)
        for name, values, size in zip(encoder.names, columns.T, sizes.tolist(), strict=True):
            _refuse_extreme(values, name, where, size)
    return encoder, columns


@dataclass(frozen=True, slots=True)
class _Products:
    """Columns and their products, in the order and under the names of formulaic's ``ModelSpec``."""

    terms: tuple[tuple[str, ...], ...]
    transform_state: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, formula: Formula) -> _Products:
        terms = [tuple(factor.name for factor in term) for term in formula.terms]
        return cls(tuple(sorted(terms, key=len)))

    @property
    def column_names(self) -> tuple[str, ...]:
        return ("Intercept", *map(":".join, self.terms))

    def get_model_matrix(self, table: pd.DataFrame, context: Mapping[str, Any]) -> np.ndarray:
        numbers = {column: table[column].to_numpy() for column in table}
        products = [reduce(np.multiply, (numbers[c] for c in term)) for term in self.terms]
        return np.column_stack([np.ones(len(table)), *products])


def _learnt(asked: str, formula: Formula, table: pd.DataFrame, where: str) -> Any:
    """What formulaic learns of a table, its ``ModelSpec``, or what stands for it."""
    if all(isinstance(factor.tree, ast.Name) for factor in formula.factors):
        return _Products.of(formula)
    from formulaic import model_matrix

    try:
        # What is not finite is refused later, with its rows; formulaic would drop them.
        with np.errstate(all="ignore"):
            return model_matrix(
                asked, table, context=_CONTEXT, output="numpy", na_action="ignore"
            ).model_spec
    except Exception as err:
        raise _cannot_evaluate(formula, err, where) from err


def _categories(formula: Formula) -> list[Factor]:
    return [f for f in formula.factors if f.reference is not None]


def _level_of(column: str) -> str:
    """Where the level of a category stands; no formula can name such a column."""
    return f"__{column}"


def _table(formula: Formula, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The columns of the formula, checked: numbers as float64, categories as they are."""
    table = {}
    for factor in formula.factors:
        for column in factor.columns:
            values = _column(formula, frame, column, where)
            if factor.reference is None:
                table[column] = _numbers(values, column, where)
            else:
                table[_level_of(column)] = _labelled(values)
    return pd.DataFrame(table, index=pd.RangeIndex(len(frame)), copy=False)


def _labelled(values: pd.Series) -> pd.Series:
    """A category's values, each of which is looked at once however often it stands."""
    codes, found = pd.factorize(values)
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(found).astype(object)))


def _column(formula: Formula, frame: pd.DataFrame, column: str, where: str) -> pd.Series:
    if column in _TAKEN:
        raise DesignError(
            f"a column may not be called {column!r}: it is the name of the constant",
            where=where,
            mend="rename the column in the codebook",
        )
    if column not in frame.columns:
        raise DesignError(
            f"the formula {formula.text!r} names the column {column!r}, which is not there; "
            + nearest(column, list(map(str, frame.columns))),
            where=where,
            mend="derive or rename the column in the codebook, or change the theory",
        )
    values = frame[column].reset_index(drop=True)
    missing = values.isna().to_numpy()
    if missing.any():
        raise RowsError(
            f"the column {column!r} has {missing.sum():,} missing values",
            where=(where, f"column {column}"),
            mend="name the column under [missing] columns in the codebook",
            rows=np.flatnonzero(missing),
        )
    return values


def _numbered(
    table: pd.DataFrame, levels: Mapping[str, tuple[Any, ...]], where: str
) -> pd.DataFrame:
    """The table with every level replaced by its position; unseen ones are refused."""
    for column, known in levels.items():
        labels = table[_level_of(column)].cat
        of = {level: i for i, level in enumerate(known)}
        codes = labels.codes.to_numpy()
        positions = np.array([of.get(level, -1) for level in labels.categories], dtype=np.int64)
        positions = positions[codes]
        unseen = np.flatnonzero(positions < 0)
        if len(unseen):
            got = labels.categories[codes[unseen[0]]]
            raise RowsError(
                f"the level {got!r} of {column!r} was not in the survey of the fit; "
                + nearest(str(got), [str(v) for v in known]),
                where=(where, f"column {column}"),
                mend="recode it to a known level, or fit on a survey that has it",
                rows=unseen,
            )
        table[_level_of(column)] = positions
    return table


def _numbers(values: pd.Series, column: str, where: str) -> pd.Series:
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        numbers = values.astype(float)
        of = numbers.to_numpy()
        _refuse_extreme(of, column, where, float(max(of.max(), -of.min())) if len(of) else 0.0)
        return numbers
    raise DesignError(
        f"the column {column!r} holds text ({values.iloc[0]!r}, …), a number was expected",
        where=(where, f"column {column}"),
        mend=f"write C({column}, reference=...) and name the reference level",
    )


def _refuse_extreme(values: np.ndarray, name: str, where: str, size: float) -> None:
    """Sums of products of a column, the largest of this size, must not overflow or vanish."""
    if size == 0 or _SMALLEST <= size <= _LARGEST:
        return
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(sizes) or _SMALLEST <= sizes.max() <= _LARGEST:
        return
    rows = np.flatnonzero(np.abs(values) == sizes.max())
    raise DesignError(
        f"the largest number of the column {name!r} is {sizes.max():.3g} in size: its products "
        "with other columns leave the range of numbers",
        where=(where, f"column {name}", rows_text(rows)),
        mend="give the column another unit in the codebook, or declare the value as missing",
    )


def _levels(factor: Factor, table: pd.DataFrame, where: str) -> tuple[Any, ...]:
    column = factor.columns[0]
    found = in_order(table[_level_of(column)].cat.categories)
    if factor.reference not in found:
        raise DesignError(
            f"the reference {factor.reference!r} is not a level of {column!r}; "
            + nearest(str(factor.reference), [str(v) for v in found]),
            where=(where, f"column {column}"),
            mend="name one of " + ", ".join(map(repr, found[:10])),
        )
    if len(found) < 2:
        raise DesignError(
            f"the column {column!r} has only the level {found[0]!r}: it tells nobody apart",
            where=(where, f"column {column}"),
            mend="leave it out of the theory, or correct its recodes in the codebook",
        )
    return tuple(found)


def in_order(labels: Iterable[Any]) -> list[Any]:
    """Labels in order: as numbers where all of them are (wave 8 before wave 11), else as text."""
    found = list(labels)
    try:
        numbers = [float(label) for label in found]
    except (TypeError, ValueError):
        numbers = [np.nan]
    if not all(map(isfinite, numbers)):
        return sorted(found, key=lambda label: (str(type(label)), label))
    ordered = sorted(range(len(found)), key=lambda i: (numbers[i], str(found[i])))
    return [found[i] for i in ordered]


def _formulaic_text(factor: Factor, levels: Mapping[str, tuple[Any, ...]]) -> str:
    """The factor in formulaic's own words."""
    if factor.reference is None:
        return ast.unparse(factor.tree)
    column = factor.columns[0]
    base = levels[column].index(factor.reference)
    listed = list(range(len(levels[column])))
    return f"C({_level_of(column)}, contr.treatment(base={base}), levels={listed})"


def _label(
    name: str,
    formula: Formula,
    texts: Mapping[str, str],
    levels: Mapping[str, tuple[Any, ...]],
) -> str:
    """The label of a column: ``asc``, ``region[north]``, ``female:age``."""
    if name == "Intercept":
        return CONSTANT
    for factor in _categories(formula):
        column = factor.columns[0]
        for i, level in enumerate(levels[column]):
            # Without "T." where no level is left out, as of c in "c:x" without "x".
            for mark in ("T.", ""):
                name = name.replace(f"{texts[factor.name]}[{mark}{i}]", f"{column}[{level}]")
    return name


def _cannot_evaluate(formula: Formula, err: Exception, where: str) -> DesignError:
    if "beyond upper and/or lower bounds" in str(err):
        return DesignError(
            f"a value lies outside the range that a bs() of {formula.text!r} has a basis for",
            where=where,
            mend="state bounds that are wide enough, bs(…, lower_bound=…, upper_bound=…), "
            "or clip the column",
        )
    return DesignError(
        f"the formula {formula.text!r} cannot be evaluated: {err}".splitlines()[0],
        where=where,
        mend="look at the columns that it names",
    )
