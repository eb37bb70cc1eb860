"""Utility differences against the base, row by row, as columns of all coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bayesmig.choice.utility import Columns, take_rows
from bayesmig.chunks import chunks
from bayesmig.design.formula import CONSTANT

_CHUNK = 50_000


class Labels(NamedTuple):
    """Labels of the coefficients of a design.

    Attributes
    ----------
    persons, attribute_terms
        Names.
    only
        (alternative, name).
    """

    persons: tuple[str, ...]
    only: tuple[tuple[str, str], ...]
    attribute_terms: tuple[str, ...]


def centre_of(columns: Columns, labels: tuple[str, ...]) -> np.ndarray:
    """What to take off the columns of persons, ``(coefficient,)``.

    It leaves the same column space, without the near-collinearity of far-off zeros:
    beside a constant, ``year`` and ``square(year)`` are told apart by their deviations.
    """
    if CONSTANT not in labels:
        return np.zeros(len(labels))
    constant = np.array([label == CONSTANT for label in labels])
    return np.where(constant, 0.0, columns.persons.mean(axis=0))


def centred_rows(columns: Columns, centre: np.ndarray, rows: slice | np.ndarray) -> Columns:
    """Some rows, the persons' columns less their centre."""
    taken = take_rows(columns, rows)
    return replace(taken, persons=taken.persons - centre)


def products(columns: Columns, centre: np.ndarray) -> np.ndarray:
    """Sums of products of the columns of `difference_rows`, ``(coefficient, coefficient)``.

    Parameters
    ----------
    columns
        The data.
    centre
        Taken off the columns of persons.
    """
    width = columns.n_alternatives - 1
    alone = not columns.only and columns.attributes is None and columns.available is None
    total = np.zeros(())
    for rows in chunks(len(columns.persons), _CHUNK):
        part = centred_rows(columns, centre, rows)
        if alone:
            # Every alternative has the same columns, and zeros in those of the others.
            total = total + part.persons.T @ part.persons
        else:
            total = total + sum(block.T @ block for block in difference_rows(part))
    return np.kron(total, np.eye(width)) if alone else total


def difference_rows(columns: Columns) -> Iterator[np.ndarray]:
    """Derivative of every utility difference against the base, in chunks of rows.

    Yields
    ------
    ndarray
        ``(rows × nonbase, coefficients)`` in the order persons (coefficient by
        nonbase), only, attributes. Unavailable alternatives give rows of zeros.
    """
    width, base = columns.n_alternatives - 1, columns.base
    k = columns.persons.shape[1]
    n_only = sum(b.shape[1] for b in columns.only.values())
    n_attributes = 0 if columns.attributes is None else columns.attributes.shape[2]
    nonbase = [j for j in range(columns.n_alternatives) if j != base]
    for start in range(0, len(columns.persons), _CHUNK):
        rows = slice(start, start + _CHUNK)
        x = columns.persons[rows]
        out = np.zeros((len(x), width, k * width + n_only + n_attributes))
        for w in range(width):
            out[:, w, w : k * width : width] = x
        at = k * width
        for position, block in columns.only.items():
            stop = at + block.shape[1]
            if position == base:
                out[:, :, at:stop] = -block[rows, None, :]
            else:
                out[:, nonbase.index(position), at:stop] = block[rows]
            at = stop
        if columns.attributes is not None:
            a = columns.attributes[rows]
            out[:, :, at:] = a[:, nonbase] - a[:, [base]]
        if columns.available is not None:
            open_ = columns.available[rows]
            out *= (open_[:, nonbase] & open_[:, [base]])[:, :, None]
        yield out.reshape(-1, out.shape[2])
