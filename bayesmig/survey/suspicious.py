"""Numbers that look like undeclared codes for "no answer": reported, never recoded.

Surveys write 9, 98, 9998 or 99999998 for "don't know". Some such numbers are real (a
person of 99 years), so that only a codebook can decide; this module only points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

_DIGITS = range(1, 13)
#: 7, 8, 9, 97, 98, 99, 997, … and their negatives.
PATTERNS = np.array(
    sorted(s * (10**d - k) for d in _DIGITS for k in (1, 2, 3) for s in (1, -1)), dtype="float64"
)
_FAR = 0.05
_SPIKE = 5
_NEIGHBOURS = 5


@dataclass(frozen=True)
class Suspect:
    """One suspicious number of one column.

    Attributes
    ----------
    column, value
        Where, and which.
    rows
        How often.
    low, high
        The range of the column's other values.
    """

    column: str
    value: float
    rows: int
    low: float
    high: float


def suspects(values: pd.Series, column: str) -> tuple[Suspect, ...]:
    """Find nine-patterns that lie far outside a column's other values, or pile up.

    Parameters
    ----------
    values
        A column of numbers with NaN, shape ``(obs,)``; text gives nothing.
    column
        Its name.

    Returns
    -------
    tuple of Suspect
        In rising order. A number is reported where it is negative among others that are
        not, where it lies above the others by more than 5 % of their range (one digit:
        above twice the largest), or where it has at least five times as many rows as
        its neighbours (two digits and more).
    """
    if not pd.api.types.is_numeric_dtype(values):
        return ()
    numbers = values.to_numpy(dtype="float64")
    if not _is_pattern(numbers[numbers % 1 == 0]).any():
        return ()
    levels, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    pattern = _is_pattern(levels)
    if pattern.all():
        return ()
    rest, rest_counts = levels[~pattern], counts[~pattern]
    return tuple(
        Suspect(column, float(v), int(n), float(rest[0]), float(rest[-1]))
        for v, n in zip(levels[pattern], counts[pattern], strict=True)
        if _odd(v, n, rest, rest_counts)
    )


def _is_pattern(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(PATTERNS, numbers), len(PATTERNS) - 1)
    found: npt.NDArray[np.bool_] = PATTERNS[at] == numbers
    return found


def _odd(
    value: float, n: int, rest: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
) -> bool:
    if value < 0:
        return bool(rest[0] >= 0)
    if value < 10:
        return bool(value > 2 * rest[-1] and rest[-1] > 0)
    gap = value - rest[-1]
    return bool(gap > _FAR * (rest[-1] - rest[0]) and gap > 2) or _piles_up(value, n, rest, counts)


def _piles_up(
    value: float, n: int, rest: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
) -> bool:
    at = int(np.searchsorted(rest, value))
    around = counts[max(at - _NEIGHBOURS, 0) : at + _NEIGHBOURS]
    return bool(n >= _SPIKE and n >= _SPIKE * np.median(around))
