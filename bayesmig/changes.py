"""What it means to change a column: whether one may, to what, and how far that reaches.

A theory reads columns. To change one is to ask what choices would be if it held
something else and all others that the theory reads stayed as they are. Where the codebook
computes one of those others from it, they would not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.design.design import Design
from bayesmig.errors import QuestionError, nearest
from bayesmig.expressions import Formula

Groups = Literal["observed", "new", "typical", "average"]
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Contrast(NamedTuple):
    """One change of a column: its label, the table before it and the table after it."""

    label: str
    low: pd.DataFrame
    high: pd.DataFrame


# ------------------------------------------------------------------- columns of a theory


def theory_columns(design: Design) -> tuple[str, ...]:
    """The columns that enter the utilities or availabilities of a theory.

    Attributes count by the columns that hold them. The labels of groups are not among
    them.
    """
    named = [c for f in _formulas(design) for c in f.columns]
    used = [c for c in named if c in design.frame.columns and c not in design.attributes]
    used += [c for of in _columns_of_attributes(design).values() for c in of]
    return tuple(dict.fromkeys([*used, *design.spec.available.values()]))


def _formulas(design: Design) -> list[Formula]:
    return [e.formula for e in _encoders(design)]


def _encoders(design: Design) -> list[Any]:
    return [*design.encoders.values(), *(lay.encoder for lay in design.layouts.values())]


def levels_of(design: Design, column: str) -> tuple[Any, ...]:
    """Levels of a category, the theory's reference first; empty for a number.

    A column that is a category anywhere in the theory is one, also where it enters as
    a number elsewhere: nobody has a value between its levels.
    """
    factors = [f for formula in _formulas(design) for f in formula.factors]
    references = [f.reference for f in factors if f.reference is not None and column in f.columns]
    if not references:
        return ()
    levels = next(e.levels[column] for e in _encoders(design) if column in e.levels)
    return (references[0], *(v for v in levels if v != references[0]))


def is_indicator(design: Design, column: str) -> bool:
    """Whether the survey of the fit holds nothing but 0 and 1 in a column."""
    return set(design.frame[column].unique()) <= {0, 1}


# --------------------------------------------------------------------- what may change


def check_change(
    design: Design, column: str, groups: Groups = "observed", *, where: Sequence[str] | str = ()
) -> None:
    """Refuse to change a column alone that the theory does not read, or not alone.

    Raises
    ------
    QuestionError
        Where no probability changes with the column, or where another column that the
        theory reads would have to change with it.
    """
    used = theory_columns(design)
    if column not in used and (columns := _columns_of_attributes(design).get(column)):
        raise QuestionError(
            f"{column!r} is an attribute of alternatives, not a column",
            where=where,
            mend=f"ask about the columns that hold it: {', '.join(columns)}",
        )
    if column not in used:
        raise QuestionError(
            f"the theory {design.spec.name!r} does not use {column!r}: no probability changes "
            f"with it; {nearest(column, used)}",
            where=where,
            mend="ask about one of " + ", ".join(used),
        )
    refuse_left_behind(design, [column], groups, where=where)


def _columns_of_attributes(design: Design) -> dict[str, list[str]]:
    """Attribute -> the columns that hold it for alternatives of which the theory reads it."""
    found: dict[str, list[str]] = {}
    for alternative in design.spec.choice.alternatives:
        for name in design.spec.attributes_of(alternative):
            column = design.attributes.get(name, {}).get(alternative)
            if isinstance(column, str):
                found.setdefault(name, []).append(column)
    return found


def refuse_left_behind(
    design: Design,
    changed: Iterable[str],
    groups: Groups = "observed",
    *,
    where: Sequence[str] | str = (),
) -> None:
    """Refuse changes of columns from which the codebook computes others that stay.

    Raises
    ------
    QuestionError
        Which names both columns, and what to do.
    """
    changed = list(changed)
    for column in _read(design, groups):
        stale = [c for c in changed if c in design.derived.get(column, ())]
        if stale and column not in changed:
            raise QuestionError(
                f"the codebook computes {column!r} from {stale[0]!r}, and the theory "
                f"{design.spec.name!r} reads {column!r} too: it would stay as it is while "
                f"{stale[0]!r} changes",
                where=where,
                mend=f"write the arithmetic into the theory in the place of {column!r} (for "
                "instance square(wealth), female:wealth), where it follows, or change both "
                "columns: in one scenario, or in two tables given to predictions as newdata",
            )


def _read(design: Design, groups: Groups) -> tuple[str, ...]:
    """What the theory reads of a row; labels of groups where their own effects count."""
    layouts = design.labelled if groups == "observed" else ()
    return (*theory_columns(design), *(c for layout in layouts for c in layout.columns))


def held(design: Design, changed: Iterable[str], groups: Groups = "observed") -> str:
    """Which columns stay as they are that the codebook computes from the same ones."""
    changed = list(changed)

    def family(column: str) -> set[str]:
        return {column, *design.derived.get(column, ())}.difference(design.roles)

    moved = set().union(*map(family, changed))
    stay = [c for c in _read(design, groups) if c not in changed and family(c) & moved]
    return ", ".join(dict.fromkeys(stay))


def check_slope(design: Design, column: str, *, where: Sequence[str] | str = ()) -> None:
    """Refuse the slope of what is no number.

    Raises
    ------
    QuestionError
        For categories, text, and availabilities, which are open or closed.
    """
    numeric = pd.api.types.is_numeric_dtype(design.frame[column])
    switch = column in design.spec.available.values()
    if switch or not numeric or levels_of(design, column):
        kind = "an availability, open or closed" if switch else "a category"
        raise QuestionError(
            f"{column!r} is {kind}; a number was expected",
            where=where,
            mend=f"use comparisons(posterior, {column!r})",
        )


# ----------------------------------------------------------------------------- contrasts


def contrasts(
    design: Design, frame: pd.DataFrame, column: str, change: Any = None
) -> list[Contrast]:
    """Every contrast of a column, on the rows of a table.

    Parameters
    ----------
    design
        Of the theory, which reads the column.
    frame
        The rows.
    column
        What changes.
    change
        A number (added), a pair ``(from, to)``, or ``None``: an indicator goes from 0
        to 1, a number rises by one, and a category goes from its reference to each
        other level.

    Raises
    ------
    QuestionError
        Where the column cannot change so.
    """
    where = "variables"
    levels, indicator = levels_of(design, column), is_indicator(design, column)

    def at(value: Any) -> pd.DataFrame:
        return frame.assign(**{column: value})

    if isinstance(change, tuple | list):
        low, high = _pair(column, change, levels, indicator)
        return [Contrast(f"{low} → {high}", at(low), at(high))]
    if change is None and levels:
        return [
            Contrast(f"{levels[0]} → {level}", at(levels[0]), at(level)) for level in levels[1:]
        ]
    if change is None and indicator:
        return [Contrast("0 → 1", at(0), at(1))]
    step = 1 if change is None else change
    if levels:
        raise _no_change(column, "a pair of levels (it is a category)", change)
    if not is_number(step):
        raise _no_change(column, "a number or a pair (from, to)", change)
    if indicator:
        raise QuestionError(
            f"{column!r} is 0 or 1 in the survey: it cannot rise by {float(step):g}",
            where=where,
            mend="leave the change out for 0 → 1, or give the pair (1, 0)",
        )
    if not pd.api.types.is_numeric_dtype(frame[column]):
        raise QuestionError(
            f"{column!r} holds text in these rows, numbers in the survey",
            where="newdata",
            mend="give numbers",
        )
    step = float(step)
    return [Contrast(f"{step:+g}", frame, at(frame[column].astype(float) + step))]


def _pair(
    column: str, change: Sequence[Any], levels: tuple[Any, ...], indicator: bool
) -> tuple[Any, Any]:
    if len(change) != 2:
        raise _no_change(column, "a number or a pair (from, to)", change)
    if levels:
        return change[0], change[1]
    if not all(map(is_number, change)):
        raise _no_change(column, "a pair of finite numbers", change)
    if indicator and not {float(v) for v in change} <= {0.0, 1.0}:
        raise _no_change(column, "(0, 1) or (1, 0), all that the survey holds of it", change)
    return change[0], change[1]


def is_number(value: Any) -> bool:
    """Whether a value is one finite real number, NumPy's included; truth values are not."""
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _no_change(column: str, expected: str, got: Any) -> QuestionError:
    return QuestionError(
        f"the change of {column!r} must be {expected}, got {got!r}", where="variables"
    )


# ------------------------------------------------------------------------------- support


def share_of(rows: Mask, weights: Array | None) -> str:
    """A share of rows in words, weighted where there are weights."""
    share = float(np.average(rows, weights=weights))
    text = "under 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
    return f"{text} of the rows" + ("" if weights is None else " (weighted)")


def outside(
    design: Design,
    tables: Sequence[pd.DataFrame],
    weights: Array | None,
    columns: Iterable[str] | None = None,
) -> Iterator[str]:
    """Say of numeric columns which share of rows lies outside what the survey holds.

    Parameters
    ----------
    design
        Of the theory.
    tables
        The same rows, before and after a change: outside in one is outside.
    weights
        ``(obs,)``, or ``None``.
    columns
        Which columns; all that the theory reads where left out.
    """
    for column in theory_columns(design) if columns is None else columns:
        if column not in design.support.ranges or levels_of(design, column):
            continue
        low, _, _, high = design.support.ranges[column]
        # What is absent or text is refused with its rows where the table is encoded.
        numbers = [t[column] for t in tables if column in t]
        values = [n.to_numpy(dtype=float) for n in numbers if pd.api.types.is_numeric_dtype(n)]
        rows = np.zeros(len(tables[0]), dtype=bool)
        for v in values:
            rows |= (v < low) | (v > high)
        if rows.any():
            yield (
                f"{share_of(rows, weights)} lie outside the observed range of {column}, "
                f"{low:g} to {high:g}"
            )
