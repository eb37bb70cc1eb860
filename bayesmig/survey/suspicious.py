"""Numbers that look like undeclared codes for "no answer": reported, never recoded.

Surveys write 9, 98, 9998 or 99999998 for "don't know", and 85 to 99 or 985 to 999 for
"never", "refused" or "not asked" (NSDUH). Some such numbers are real (a person of 99
years), so that only a codebook can decide; this module only points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.chunks import chunks

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_DIGITS = range(2, 13)
_CODES = (7.0, 8.0, 9.0)
#: What is taken off 100, 1000, …: 99, 98, 97 anywhere; the others where they stand far off.
_COMMON, _OTHER = (1, 2, 3), (4, 5, 6, 7, 9, 11, 15, 17, 19)
#: Digits that are repeated: 77 and 888, where they stand far off.
_REPEATED = (7, 8)
#: 99.9 and 9.99 are codes too, in columns of one or two decimals.
_DECIMALS = (10, 100)

_FAR, _VERY_FAR = 0.05, 0.25  # of the range of other values
_TAIL, _THIN = 5, 0.25  # highest levels; their rows in proportion to those of all levels
_SPIKE, _NEIGHBOURS = 5, 5
_LONG, _AROUND = 10_000, 0.005


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
        The range of the column's other values; NaN where the others are words.
    """

    column: str
    value: float
    rows: int
    low: float
    high: float

    def __str__(self) -> str:
        others = "words" if np.isnan(self.low) else f"{self.low:g} to {self.high:g}"
        return f"{self.column!r} holds {self.value:.12g} in {self.rows:,} rows (others {others})"


def suspects(values: pd.Series, column: str) -> tuple[Suspect, ...]:
    """Find patterns of nines that stand apart from a column's other values, or pile up.

    Parameters
    ----------
    values
        A column of numbers with NaN, or of text that may hold numbers, shape ``(obs,)``.
    column
        Its name.

    Returns
    -------
    tuple of Suspect
        In rising order. The highest patterns are taken off as a block before the range of
        the others is looked at (99 does not hide 98), and the lowest likewise. Of the block
        those are reported that stand apart: by more than 5 % of the range of the others
        and twice the largest gap between the highest of them, or a single digit by two and
        more. Where the others thin out towards it, few rows stand apart by 25 % only, and
        as a single digit never. Negative ones are reported where no
        other is. Inside the range, 97, 98, 99, 997, … are reported where they have at
        least five times as many rows as their neighbours, and any repeated pattern of five
        digits and more where so many rows are not usual around it.
    """
    if isinstance(values.dtype, pd.StringDtype):
        return _among_words(values, column)
    if not pd.api.types.is_numeric_dtype(values):
        return ()
    numbers = values.to_numpy(dtype="float64")
    # Most columns hold no such number: they need not be sorted.
    with np.errstate(invalid="ignore", over="ignore"):
        if not any(_looks_coded(numbers[rows]).any() for rows in chunks(len(numbers))):
            return ()
    return _suspects(*np.unique(numbers[np.isfinite(numbers)], return_counts=True), column)


def _among_words(values: pd.Series, column: str) -> tuple[Suspect, ...]:
    """Look at the numbers in a text column; of words only, any pattern stands apart."""
    counts = values.value_counts()
    numbers = pd.to_numeric(counts.index.to_series(), errors="coerce").to_numpy("float64")
    numeric = np.isfinite(numbers)
    by_value = pd.Series(counts.to_numpy()[numeric]).groupby(numbers[numeric]).sum()
    levels, rows = by_value.index.to_numpy("float64"), by_value.to_numpy("int64")
    words = int((~numeric).sum())
    if words and 0 < len(levels) <= words and _looks_coded(levels).all():
        return tuple(
            Suspect(column, float(v), int(n), np.nan, np.nan)
            for v, n in zip(levels, rows, strict=True)
        )
    return _suspects(levels, rows, column)


def _suspects(levels: Numbers, counts: Counts, column: str) -> tuple[Suspect, ...]:
    pattern = _looks_coded(levels)
    if pattern.all() or not pattern.any():
        return ()
    inner = np.flatnonzero(~pattern)
    above = _apart(levels, counts, first=int(inner[-1]) + 1)
    below = _apart(-levels[::-1], counts[::-1], first=len(levels) - int(inner[0]))
    place = np.arange(len(levels))
    odd = (place >= above) & (levels > 0) | (place < len(levels) - below) & (levels < 0)
    if levels[inner[0]] >= 0:
        odd |= pattern & (levels < 0)
    odd |= _piles(levels, counts, ~odd)
    rest = levels[~odd]
    return tuple(
        Suspect(column, float(v), int(n), float(rest[0]), float(rest[-1]))
        for v, n in zip(levels[odd], counts[odd], strict=True)
    )


def _looks_coded(numbers: Numbers) -> npt.NDArray[np.bool_]:
    """Mark patterns of two digits and more, of either sign, decimals included, and digits."""
    sizes = np.abs(numbers)
    whole = sizes == np.rint(sizes)
    found = _among(sizes, whole, _DIGITS_AND_PATTERNS)
    for tens in _DECIMALS:
        times = sizes * tens
        scaled = np.rint(times)
        near = ~whole & (np.abs(times - scaled) < 1e-6)
        found |= _among(scaled, near, _COMMON_PATTERNS)
    return found


def _among(
    numbers: Numbers, some: npt.NDArray[np.bool_], patterns: Numbers
) -> npt.NDArray[np.bool_]:
    """Mark those of some numbers that are patterns."""
    found = np.zeros(len(numbers), dtype=bool)
    found[some] = np.isin(numbers[some], patterns)
    return found


def _off(less: tuple[int, ...]) -> Numbers:
    return np.array([10.0**d - k for d in _DIGITS for k in less])


_COMMON_PATTERNS = _off(_COMMON)
_PATTERNS = np.concatenate(
    [
        _COMMON_PATTERNS,
        _off(_OTHER),
        [float(str(digit) * d) for d in _DIGITS for digit in _REPEATED],
    ]
)
_DIGITS_AND_PATTERNS = np.concatenate([_CODES, _PATTERNS])


def _apart(levels: Numbers, counts: Counts, first: int) -> int:
    """Say where, among the highest patterns (from `first` on), those begin that stand apart.

    What is near the others belongs to them: ages of 93, 94 and 96 follow 92.
    """
    for at in range(first, len(levels)):
        if _far(levels[at], int(counts[at]), levels[:at], counts[:at]):
            return at
    return len(levels)


def _far(value: float, n: int, rest: Numbers, counts: Counts) -> bool:
    gap, span, tail = value - rest[-1], rest[-1] - rest[0], counts[-_TAIL:]
    # The highest age, or number of children, is often one that stands alone.
    thins_out = tail.mean() < _THIN * np.median(counts) and n <= tail.max()
    if abs(value) < 10:
        return bool(gap >= 2 and not thins_out)
    usual = np.diff(rest[-_TAIL - 1 :]).max(initial=0)
    least = 2.0 if value % 1 == 0 else 0.0
    return bool(gap > max((_VERY_FAR if thins_out else _FAR) * span, 2 * usual, least))


def _piles(levels: Numbers, counts: Counts, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark patterns inside the range that have many more rows than their neighbours."""
    common = np.isin(levels, _COMMON_PATTERNS) & (counts >= _SPIKE)
    long = np.isin(levels, _PATTERNS) & (levels >= _LONG) & (counts > 1)
    piles = np.zeros(len(levels), dtype=bool)
    plain = inside & ~np.isin(levels, _PATTERNS)
    rest, rest_counts = levels[plain], counts[plain]
    for at in np.flatnonzero(inside & (common | long)):
        place = int(np.searchsorted(rest, levels[at]))
        around = rest_counts[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS]
        piles[at] = bool(common[at] and counts[at] >= _SPIKE * np.median(around)) or bool(
            long[at] and counts[at] > _chance(_usual(levels[at], rest, rest_counts))
        )
    return piles


def _chance(usual: float) -> float:
    """So many rows may have one number by chance, or heaping, where so many are usual."""
    return max(_SPIKE * usual, usual + 4 * math.sqrt(usual) + 1)


def _usual(value: float, rest: Numbers, counts: Counts) -> float:
    """Rows of a whole number around a value, on average."""
    width = _AROUND * value
    low, high = np.searchsorted(rest, [value - width, value + width])
    return float(counts[low:high].sum() / (2 * width))
