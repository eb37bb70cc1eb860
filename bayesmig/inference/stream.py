"""Probabilities of many draws at many rows, summed as they are made.

Nothing here holds draws × rows in memory unless the caller asks for that block. The
loops are the kernel's, which releases the interpreter's lock, so that draws are shared
among threads; a sum belongs to one draw, so results do not depend on their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.inference import kernel as compiled

Array = NDArray[np.float64]
#: Compiled functions have no signature that a type checker could read.
kernel: Any = compiled
#: Numbers in one block of draws × rows (64 MB).
_BLOCK_SIZE = 8_000_000


def kernel_columns(columns: Columns, groups: Sequence[int]) -> tuple[Any, ...]:
    """The data arguments of the kernel, without the choices.

    Columns that enter one utility alone are attributes that are zero elsewhere.

    Parameters
    ----------
    columns
        The data.
    groups
        Groups × terms of every factor.
    """
    n, width = len(columns.persons), columns.n_alternatives
    attributes = [np.zeros((0, width, n))]
    for position, block in columns.only.items():
        placed = np.zeros((block.shape[1], width, n))
        placed[:, position] = block.T
        attributes.append(placed)
    if columns.attributes is not None:
        attributes.append(columns.attributes.transpose(2, 1, 0))
    factors = list(columns.groups.values())
    sizes = [size * (width - 1) for size in groups]
    closed = np.zeros((0, 0), dtype=bool) if columns.available is None else ~columns.available.T
    return (
        np.ascontiguousarray(columns.persons.T),
        np.concatenate(attributes),
        np.array([codes for codes, _ in factors], dtype=np.int64).reshape(len(factors), n),
        np.concatenate([np.zeros((0, n)), *(terms.T for _, terms in factors)]),
        np.array([terms.shape[1] for _, terms in factors], dtype=np.int64),
        np.cumsum([0, *sizes])[:-1].astype(np.int64),
        np.ascontiguousarray(closed),
        np.delete(np.arange(width), columns.base),
    )


def average_probabilities(
    columns: Columns,
    coefficients: Coefficients,
    *,
    cells: NDArray[np.int64] | None = None,
    weights: Array | None = None,
) -> Array:
    """Weighted averages of choice probabilities over cells of rows, draw by draw.

    Parameters
    ----------
    columns
        The data.
    coefficients
        With one leading dimension, the draws.
    cells
        Cell of every row, from 0, ``(obs,)``; ``None``: all rows are one cell.
    weights
        ``(obs,)``; ``None``: every row counts once.

    Returns
    -------
    ndarray
        ``(draw, cell, alternative)``. NaN where the weights of a cell sum to zero.
    """
    n = len(columns.persons)
    cells = np.zeros(n, dtype=np.int64) if cells is None else cells
    weights = np.ones(n) if weights is None else weights
    n_cells = int(cells.max()) + 1
    total = np.bincount(cells, weights, n_cells)
    data, parameters = _arguments(columns, coefficients)
    out = np.empty((len(parameters[0]), n_cells, columns.n_alternatives))

    def work(draws: slice) -> None:
        part = [p[draws] for p in parameters]
        kernel.probability_sums(*data, *part, cells, weights, out[draws])

    _share(work, len(out))
    with np.errstate(invalid="ignore", divide="ignore"):
        out /= total[:, None]
    return out


def mean_probabilities(columns: Columns, coefficients: Coefficients) -> Array:
    """Posterior mean of every row's probabilities, ``(obs, alternative)``."""
    total = np.zeros((len(columns.persons), columns.n_alternatives))
    n_draws = _n_draws(coefficients)
    for rows, block in probability_blocks(columns, coefficients):
        total[rows] = block.sum(axis=0) / n_draws
    return total


def probability_blocks(
    columns: Columns, coefficients: Coefficients
) -> Iterator[tuple[slice, Array]]:
    """Probabilities in blocks of rows, all draws at once.

    Yields
    ------
    tuple
        The rows, and ``(draw, rows, alternative)``.
    """
    _, parameters = _arguments(columns, coefficients)
    n_draws, width = len(parameters[0]), columns.n_alternatives
    for rows in _row_blocks(len(columns.persons), n_draws * width):
        data, _ = _arguments(take_rows(columns, rows), coefficients)
        out = np.empty((n_draws, rows.stop - rows.start, width))

        def work(draws: slice, data: Any = data, out: Array = out) -> None:
            kernel.row_probabilities(*data, *[p[draws] for p in parameters], out[draws])

        _share(work, n_draws)
        yield rows, out


def log_likelihood_blocks(
    columns: Columns, coefficients: Coefficients, choice: NDArray[np.int64]
) -> Iterator[tuple[slice, Array]]:
    """Log-likelihood of every draw and row, in blocks of rows.

    Yields
    ------
    tuple
        The rows, and ``(draw, rows)``.
    """
    _, parameters = _arguments(columns, coefficients)
    n_draws = len(parameters[0])
    for rows in _row_blocks(len(choice), n_draws):
        data, _ = _arguments(take_rows(columns, rows), coefficients)
        out, chosen = np.empty((n_draws, rows.stop - rows.start)), choice[rows]

        def work(draws: slice, data: Any = data, out: Array = out, chosen: Any = chosen) -> None:
            part = [p[draws] for p in parameters]
            kernel.row_log_likelihood(*data, *part, chosen, out[draws])

        _share(work, n_draws)
        yield rows, out


def take_rows(columns: Columns, rows: slice | NDArray[np.int64]) -> Columns:
    """The same columns at some rows."""
    from dataclasses import replace

    return replace(
        columns,
        persons=columns.persons[rows],
        only={k: block[rows] for k, block in columns.only.items()},
        attributes=None if columns.attributes is None else columns.attributes[rows],
        groups={k: (codes[rows], terms[rows]) for k, (codes, terms) in columns.groups.items()},
        available=None if columns.available is None else columns.available[rows],
    )


def _n_draws(coefficients: Coefficients) -> int:
    return len(coefficients.persons)


def _row_blocks(n_obs: int, per_row: int) -> Iterator[slice]:
    step = max(1, _BLOCK_SIZE // max(1, per_row))
    for start in range(0, n_obs, step):
        yield slice(start, min(n_obs, start + step))


def _arguments(columns: Columns, coefficients: Coefficients) -> tuple[Any, list[Array]]:
    """Data and parameter arguments of the kernel; parameters lead with draws."""
    n_draws, width = _n_draws(coefficients), columns.n_alternatives - 1
    effects = [(coefficients.effects or {})[by] for by in columns.groups]
    flat = [e.reshape(n_draws, -1) for e in effects]
    generic = [block for block in (coefficients.only, coefficients.attributes) if block is not None]
    parameters = [
        np.ascontiguousarray(coefficients.persons),
        np.concatenate([np.zeros((n_draws, 0)), *generic], axis=1),
        flat[0] if len(flat) == 1 else np.concatenate([np.zeros((n_draws, 0)), *flat], axis=1),
    ]
    sizes = [e.shape[1] // width for e in flat]
    return kernel_columns(columns, sizes), parameters


def _share(work: Callable[[slice], None], n_draws: int) -> None:
    """Do the draws in equal parts, one thread each."""
    threads = min(os.cpu_count() or 1, n_draws)
    edges = np.linspace(0, n_draws, threads + 1).astype(int)
    parts = [slice(int(a), int(b)) for a, b in pairwise(edges)]
    if threads == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))
