"""Identical rows become one row with a count, where that saves work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.choice.utility import Columns, take_rows

Array = NDArray[np.float64]
#: Share of the rows that must go for the others to be worth counting.
LEAST_SAVED = 0.3
#: Rows by which it is guessed that so few go.
_SOME = 2_000
#: Odd multipliers that mix the hashes of columns (Knuth's, and that of splitmix64).
_FIRST, _NEXT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True)
class Collapsed:
    """Rows that differ, and how often each stands.

    Attributes
    ----------
    columns
        The distinct rows.
    counts
        ``(row,)``.
    """

    columns: Columns
    counts: Array


def collapse(columns: Columns, weights: Array | None = None) -> Collapsed | None:
    """Count identical rows of what utilities are made of.

    The choices are not part of a row: a likelihood needs them only as sums
    (`bayesmig.inference.blocks.chosen_sums`), so that people who are alike share a row
    whatever they chose.

    Parameters
    ----------
    columns
        The data of a design.
    weights
        What every row counts, ``(obs,)``; once where left out.

    Returns
    -------
    Collapsed or None
        ``None`` where fewer than 30 % of the rows would go.
    """
    n = len(columns.persons)
    marks, most = np.full(n, _FIRST), (1 - LEAST_SAVED) * n
    looked = False
    for part in _parts(columns):
        with np.errstate(over="ignore"):
            marks ^= pd.util.hash_array(np.ascontiguousarray(part))
            marks *= _NEXT
        # Further columns only tell more rows apart: one of amounts of money often decides.
        if not looked and _distinct(marks[:_SOME]) > (1 - LEAST_SAVED) * min(n, _SOME):
            looked = True
            if _distinct(marks) > most:
                return None
    _, first, of, counts = np.unique(
        marks, return_index=True, return_inverse=True, return_counts=True
    )
    if len(first) > most:
        return None
    # Equal marks mean equal rows almost surely; here, surely.
    if any((part != part[first][of]).any() for part in _parts(columns)):
        return None
    counted = counts.astype(float) if weights is None else np.bincount(of, weights)
    return Collapsed(take_rows(columns, first), counted)


def _distinct(marks: NDArray[np.uint64]) -> int:
    ordered = np.sort(marks)
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def _parts(columns: Columns) -> list[NDArray[np.generic]]:
    """Every column that enters a utility, ``(obs,)`` each."""
    parts: list[NDArray[np.generic]] = [*columns.persons.T]
    for block in columns.only.values():
        parts += [*block.T]
    if columns.attributes is not None:
        parts += [*columns.attributes.reshape(len(columns.persons), -1).T]
    for codes, terms in columns.groups.values():
        parts += [codes, *terms.T]
    if columns.available is not None:
        parts += [*columns.available.T]
    return parts
