"""Probabilities of many draws at many rows, summed as they are made.

Nothing here holds draws × rows in memory unless the caller asks for that block. The
loops are the kernel's, which releases the interpreter's lock, so that draws are shared
among threads; a sum belongs to one draw, so results do not depend on their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.utility import Coefficients, Columns, take_rows
from bayesmig.inference import kernel as compiled
from bayesmig.inference.blocks import Blocks, arrange, pieces, runs_of

Array = NDArray[np.float64]
#: Compiled functions have no signature that a type checker could read.
kernel: Any = compiled
#: Numbers in one block of draws × rows (64 MB).
_BLOCK_SIZE = 8_000_000


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
    blocks = arrange(columns, _sizes(columns, coefficients), counts=weights, cells=cells)
    runs, parameters = runs_of(cells[blocks.order]), _parameters(columns, coefficients)
    out = np.empty((len(parameters[0]), n_cells, columns.n_alternatives))

    def work(draws: slice) -> None:
        part = [p[draws] for p in parameters]
        kernel.probability_sums(blocks.arrays, *runs, *part, out[draws])

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
    parameters, sizes = _parameters(columns, coefficients), _sizes(columns, coefficients)
    n_draws, width = len(parameters[0]), columns.n_alternatives
    for rows in _row_blocks(len(columns.persons), n_draws * width):
        blocks = arrange(take_rows(columns, rows), sizes)
        out = np.empty((n_draws, rows.stop - rows.start, width))

        def work(draws: slice, blocks: Blocks = blocks, out: Array = out) -> None:
            part = [p[draws] for p in parameters]
            kernel.row_probabilities(blocks.arrays, blocks.order, *part, out[draws])

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
    parameters, sizes = _parameters(columns, coefficients), _sizes(columns, coefficients)
    n_draws = len(parameters[0])
    for rows in _row_blocks(len(choice), n_draws):
        blocks = arrange(take_rows(columns, rows), sizes)
        out, chosen = np.empty((n_draws, rows.stop - rows.start)), choice[rows]

        def work(
            draws: slice, blocks: Blocks = blocks, out: Array = out, chosen: Any = chosen
        ) -> None:
            part = [p[draws] for p in parameters]
            kernel.row_log_likelihood(blocks.arrays, blocks.order, *part, chosen, out[draws])

        _share(work, n_draws)
        yield rows, out


def _n_draws(coefficients: Coefficients) -> int:
    return len(coefficients.persons)


def _row_blocks(n_obs: int, per_row: int) -> Iterator[slice]:
    step = max(1, _BLOCK_SIZE // max(1, per_row))
    for start in range(0, n_obs, step):
        yield slice(start, min(n_obs, start + step))


def _sizes(columns: Columns, coefficients: Coefficients) -> dict[str, int]:
    """Number of groups of every factor."""
    return {by: (coefficients.effects or {})[by].shape[-3] for by in columns.groups}


def _parameters(columns: Columns, coefficients: Coefficients) -> list[Array]:
    """Parameter arguments of the kernel, which lead with draws."""
    n_draws, none = _n_draws(coefficients), np.zeros((_n_draws(coefficients), 0))
    generic = [block for block in (coefficients.only, coefficients.attributes) if block is not None]
    effects = [(coefficients.effects or {})[by].reshape(n_draws, -1) for by in columns.groups]
    return [
        np.ascontiguousarray(coefficients.persons.transpose(0, 2, 1)),
        np.concatenate([none, *generic], axis=1),
        effects[0] if len(effects) == 1 else np.concatenate([none, *effects], axis=1),
    ]


def _share(work: Callable[[slice], None], n_draws: int) -> None:
    """Do the draws in equal parts, one thread each."""
    threads = os.cpu_count() or 1
    parts = pieces(n_draws, threads)
    if len(parts) == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))
