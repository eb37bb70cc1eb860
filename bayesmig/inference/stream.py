"""Probabilities of many draws at many rows, summed as they are made.

Nothing here holds draws × rows in memory unless the caller asks for that block. The
loops are the kernel's, which releases the interpreter's lock, so that draws are shared
among threads; a sum belongs to one draw, so results do not depend on their number. Where
the kernel's sums do not cover a theory, blocks are made by `bayesmig.choice.probabilities`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.probabilities import beyond_logit, log_probabilities, slopes
from bayesmig.choice.utility import Coefficients, Columns, take_draws, take_rows
from bayesmig.chunks import chunks
from bayesmig.inference.blocks import DTYPES, Blocks, Precision, arrange, pieces, runs_of
from bayesmig.inference.machine_code import Library
from bayesmig.inference.shifts import Arm, at_points, draws_by_spread, slopes_at_points

Array = NDArray[np.float64]
kernel = Library("bayesmig.inference.kernel")
#: Numbers in one block of draws × rows (64 MB).
_BLOCK_SIZE = 8_000_000
#: Draws × rows from which averages are made in single precision; in double, so many take half
#: a second of one core.
_LARGE = 50_000_000
#: Average of the sizes of a utility's terms, added up, for which single precision will do; it
#: keeps 24 bits of them. Weights must lie within so many powers of ten of their mean.
_TERMS, _DECADES = 32.0, 20
#: Arrays of draws × rows × alternatives that stand beside each other without the kernel.
_ARRAYS = 8
#: Change of a share, and share, of which an error of a millionth leaves too few digits.
_HARDLY = 1e-3


def average_probabilities(
    columns: Columns,
    coefficients: Coefficients,
    *,
    cells: NDArray[np.int64] | None = None,
    weights: Array | None = None,
    precision: Precision | None = None,
) -> Array:
    """Weighted averages of choice probabilities over cells of rows, draw by draw.

    From 50 million draws × rows on, loops over rows are in single precision, where the
    utilities' terms are not so large that they would lose digits in it; sums over blocks of
    rows are double always. Averages are then within 1e-6 of those in double precision (of
    the reference problem, within 5e-8), and so are contrasts of averages; rows that a
    change leaves as they are add nothing to them.

    Parameters
    ----------
    columns
        The data.
    coefficients
        With one leading dimension, the draws. Where they hold ``covariances``, groups are
        averaged over within each draw (`bayesmig.inference.shifts`).
    cells
        Cell of every row, from 0, ``(obs,)``; ``None``: all rows are one cell.
    weights
        ``(obs,)``; ``None``: every row counts once.
    precision
        Of the loops over rows, where it is not to be chosen.

    Returns
    -------
    ndarray
        ``(draw, cell, alternative)``. NaN where the weights of a cell sum to zero.
    """
    cells, weights = _all_rows(columns, cells, weights)
    if coefficients.covariances:

        def average(w: float, arms: list[Arm], here: NDArray[np.int64], of: Array) -> Array:
            return w * average_probabilities(*arms[0], cells=here, weights=of, precision=precision)

        def make_averages(some: Coefficients, weights: Array = weights) -> Array:
            return _over_points(at_points((columns, some)), average, cells, weights)

        return _by_spread(make_averages, columns, coefficients)
    if beyond_logit(columns):
        return cell_averages(probability_blocks(columns, coefficients), cells, weights)
    if precision is None:
        precision = _precision(columns, coefficients, cells, weights)
    if precision == "single":
        weights = weights / weights.mean()
    groups, kind = _sizes(columns, coefficients), DTYPES[precision]
    blocks = arrange(columns, groups, precision=precision, counts=weights, cells=cells)
    runs = runs_of(cells[blocks.order])
    parameters = [p.astype(kind, copy=False) for p in _parameters(columns, coefficients)]
    mass = np.bincount(cells, weights)
    out = np.empty((len(parameters[0]), len(mass), columns.n_alternatives))

    def work(draws: slice) -> None:
        part = [p[draws] for p in parameters]
        kernel.probability_sums(blocks.arrays, *runs, *part, out[draws])

    shared(work, len(out))
    return _over(out, mass)


def _all_rows(
    columns: Columns, cells: NDArray[np.int64] | None, weights: Array | None
) -> tuple[NDArray[np.int64], Array]:
    """Cells and weights, one cell and weights of one where they are left out."""
    n = len(columns.persons)
    return (
        np.zeros(n, dtype=np.int64) if cells is None else cells,
        np.ones(n) if weights is None else weights,
    )


def digits_would_show(before: Array, after: Array, n_obs: int) -> bool:
    """Whether a contrast of some average would lack digits in single precision.

    A difference does where it is small, a ratio or a lift where a share is. Every cell and
    alternative counts, since each is shown beside the others; but what a change leaves as it
    is has a contrast of exactly zero.

    Parameters
    ----------
    before, after
        `average_probabilities` of the same rows, ``(draw, ...)``.
    n_obs
        Number of rows.
    """
    if len(before) * n_obs < _LARGE:
        return False
    change = np.abs(after - before).mean(axis=0)
    least = np.minimum(change, np.minimum(before.mean(axis=0), after.mean(axis=0)))
    return bool(((change > 0) & (least < _HARDLY)).any())


def average_slopes(
    columns: Columns,
    moving: Columns,
    coefficients: Coefficients,
    *,
    cells: NDArray[np.int64] | None = None,
    weights: Array | None = None,
) -> Array:
    """Weighted averages of ``P_j (V'_j - sum_k P_k V'_k)`` over cells of rows, draw by draw.

    Double precision throughout.

    Parameters
    ----------
    columns, moving
        The data, and their derivatives.
    coefficients, cells, weights
        As for `average_probabilities`.

    Returns
    -------
    ndarray
        ``(draw, cell, alternative)``. NaN where the weights of a cell sum to zero.
    """
    cells, weights = _all_rows(columns, cells, weights)
    if coefficients.covariances:

        def average(
            w: float, arm: tuple[Columns, Columns, Coefficients], *of: NDArray[Any]
        ) -> Array:
            return w * average_slopes(*arm, cells=of[0], weights=of[1])

        def make_averages(some: Coefficients, weights: Array = weights) -> Array:
            points = slopes_at_points(columns, moving, some)
            return _over_points(points, average, cells, weights)

        return _by_spread(make_averages, columns, coefficients)
    if beyond_logit(columns):

        def make(rows: slice, some: Coefficients) -> Array:
            return np.asarray(slopes(take_rows(columns, rows), take_rows(moving, rows), some))

        return cell_averages(_beyond(columns, coefficients, make), cells, weights)
    moving, coefficients_moving = _only_moving(moving, coefficients)
    blocks = arrange(columns, _sizes(columns, coefficients), counts=weights, cells=cells)
    speeds = arrange(moving, _sizes(moving, coefficients_moving), order=blocks.order)
    runs, mass = runs_of(cells[blocks.order]), np.bincount(cells, weights)
    parameters = _parameters(columns, coefficients)
    parameters_moving = _parameters(moving, coefficients_moving)
    out = np.empty((len(parameters[0]), len(mass), columns.n_alternatives))

    def work(draws: slice) -> None:
        part = [p[draws] for p in parameters]
        moved = tuple(p[draws] for p in parameters_moving)
        kernel.slope_sums(blocks.arrays, speeds.arrays, *runs, *part, moved, out[draws])

    shared(work, len(out))
    return _over(out, mass)


def _by_spread(
    make: Callable[[Coefficients], Array], columns: Columns, coefficients: Coefficients
) -> Array:
    """What is made of draws, each part of `draws_by_spread` by itself, ``(draw, …)``."""
    parts = draws_by_spread(columns, coefficients)
    found = np.concatenate([make(take_draws(coefficients, part)) for part in parts])
    return np.asarray(found[np.argsort(np.concatenate(parts))])


def _over_points[Of](
    blocks: Iterator[tuple[slice, Iterator[tuple[float, Of]]]],
    average: Callable[[float, Of, NDArray[np.int64], Array], Array],
    cells: NDArray[np.int64],
    weights: Array,
) -> Array:
    """Averages over cells from those over cells of blocks of rows at each of their points."""
    mass, total = np.bincount(cells, weights), np.zeros(0)
    for rows, points in blocks:
        present, here = np.unique(cells[rows], return_inverse=True)
        here, of_rows = here.ravel().astype(np.int64), weights[rows]
        there = np.bincount(here, of_rows)

        def work(
            point: tuple[float, Of], here: NDArray[np.int64] = here, of: Array = of_rows
        ) -> Array:
            return average(*point, here, of)

        for found in ahead(work, points):
            if not total.size:
                total = np.zeros((len(found), len(mass), found.shape[2]))
            total[:, present] += np.where(there[:, None] > 0, found * there[:, None], 0.0)
    return _over(total, mass)


def cell_averages(
    blocks: Iterator[tuple[slice, Array]], cells: NDArray[np.int64], weights: Array
) -> Array:
    """Weighted averages over cells of blocks ``(draw, rows, alternative)``."""
    from scipy.sparse import csr_array

    mass = np.bincount(cells, weights)
    total: Any = 0.0
    for rows, block in blocks:
        here, n = cells[rows], rows.stop - rows.start
        sums = csr_array((weights[rows], (here, np.arange(n))), shape=(len(mass), n))
        flat = np.ascontiguousarray(block.transpose(1, 0, 2)).reshape(n, -1)
        total = total + (sums @ flat).reshape(len(mass), len(block), -1)
    return _over(np.ascontiguousarray(total.transpose(1, 0, 2)), mass)


def _beyond(
    columns: Columns, coefficients: Coefficients, make: Callable[[slice, Coefficients], Array]
) -> Iterator[tuple[slice, Array]]:
    """Blocks of rows and what is made of them and all draws, which threads share."""
    n_draws = _n_draws(coefficients)
    parts = pieces(n_draws, os.cpu_count() or 1)
    per_row = n_draws * columns.n_alternatives * (_ARRAYS + 2 ** len(columns.feasible))
    with ThreadPoolExecutor(len(parts)) as pool:
        for rows in _row_blocks(len(columns.persons), per_row):

            def work(draws: slice, rows: slice = rows) -> Array:
                return make(rows, take_draws(coefficients, draws))

            yield rows, np.concatenate(list(pool.map(work, parts)))


def _only_moving(moving: Columns, coefficients: Coefficients) -> tuple[Columns, Coefficients]:
    """Without columns of persons and groups that do not move: they add nothing."""
    some = moving.persons.any(axis=0)
    groups = {by: terms for by, terms in moving.groups.items() if terms[1].any()}
    return (
        replace(moving, persons=moving.persons[:, some], groups=groups, available=None),
        replace(coefficients, persons=coefficients.persons[:, some]),
    )


def _over(sums: Array, mass: Array) -> Array:
    """Averages from sums ``(draw, cell, alternative)``, in their place."""
    with np.errstate(invalid="ignore", divide="ignore"):
        sums /= mass[:, None]
    return sums


def _precision(
    columns: Columns, coefficients: Coefficients, cells: NDArray[np.int64], weights: Array
) -> Precision:
    """Single where it saves much time and loses no digits that count."""
    if _n_draws(coefficients) * len(columns.persons) < _LARGE:
        return "double"
    if not _most_terms(columns, coefficients, cells, weights) <= _TERMS:
        return "double"
    some, mean = weights[weights > 0], weights.mean()
    far = 10.0**_DECADES
    close = len(some) and some.max() < far * mean and some.min() > mean / far
    return "single" if close else "double"


def _most_terms(
    columns: Columns, coefficients: Coefficients, cells: NDArray[np.int64], weights: Array
) -> float:
    """Average over the cell where it is largest of `_terms`."""
    mass = np.bincount(cells, weights)
    sums = np.zeros_like(mass)
    for rows, sizes in _terms(columns, coefficients):
        sums += np.bincount(cells[rows], weights[rows] * sizes, len(mass))
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.nanmax(sums / mass, initial=0.0))


def single_is_enough(columns: Columns, coefficients: Coefficients) -> bool:
    """Whether single precision keeps the digits of utilities that count, all rows together."""
    total = sum(float(sizes.sum()) for _, sizes in _terms(columns, coefficients))
    return total <= _TERMS * len(columns.persons)


def _terms(columns: Columns, coefficients: Coefficients) -> Iterator[tuple[slice, Array]]:
    """Sizes of utilities' terms at the largest coefficients, added up, of blocks of rows."""
    parts = [(columns.persons, np.abs(coefficients.persons).max(axis=0).max(axis=1))]
    if columns.only:
        of, at = np.abs(coefficients.only).max(axis=0), 0
        for block in columns.only.values():
            parts.append((block, of[at : at + block.shape[1]]))
            at += block.shape[1]
    if columns.attributes is not None:
        of = np.abs(coefficients.attributes).max(axis=0)
        parts += [(block, of) for block in np.moveaxis(columns.attributes, 1, 0)]
    for by, (_, block) in columns.groups.items():
        effects = (coefficients.effects or {})[by]
        parts.append((block, np.abs(effects).max(axis=(0, 1, 2))))
    for rows in chunks(len(columns.persons)):
        yield rows, sum((np.abs(block[rows]) @ of for block, of in parts), np.zeros(1))


def mean_probabilities(columns: Columns, coefficients: Coefficients) -> Array:
    """Posterior mean of every row's probabilities, ``(obs, alternative)``."""
    total = np.zeros((len(columns.persons), columns.n_alternatives))
    n_draws = _n_draws(coefficients)
    for rows, block in probability_blocks(columns, coefficients):

        def add(some: slice, of: Array = block, to: Array = total[rows]) -> None:
            to[some] = of[:, some].sum(axis=0) / n_draws

        shared(add, block.shape[1])
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
    if coefficients.covariances:
        for rows in _row_blocks(
            len(columns.persons), _n_draws(coefficients) * columns.n_alternatives
        ):
            yield rows, _averaged_over_points(take_rows(columns, rows), coefficients)
        return
    if beyond_logit(columns):

        def make(rows: slice, some: Coefficients) -> Array:
            return np.asarray(np.exp(log_probabilities(np, take_rows(columns, rows), some)))

        yield from _beyond(columns, coefficients, make)
        return
    parameters, sizes = _parameters(columns, coefficients), _sizes(columns, coefficients)
    n_draws, width = len(parameters[0]), columns.n_alternatives
    for rows in _row_blocks(len(columns.persons), n_draws * width):
        blocks = arrange(take_rows(columns, rows), sizes)
        out = np.empty((n_draws, rows.stop - rows.start, width))

        def work(draws: slice, blocks: Blocks = blocks, out: Array = out) -> None:
            part = [p[draws] for p in parameters]
            kernel.row_probabilities(blocks.arrays, blocks.order, *part, out[draws])

        shared(work, n_draws)
        yield rows, out


def _averaged_over_points(columns: Columns, coefficients: Coefficients) -> Array:
    """Probabilities of some rows, groups averaged over, ``(draw, row, alternative)``."""
    out = np.zeros((_n_draws(coefficients), len(columns.persons), columns.n_alternatives))
    for rows, points in at_points((columns, coefficients)):
        for weight, [arm] in points:
            for part, block in probability_blocks(*arm):
                out[:, rows][:, part] += weight * block
    return out


def log_likelihood_blocks(
    columns: Columns, coefficients: Coefficients, choice: NDArray[np.int64]
) -> Iterator[tuple[slice, Array]]:
    """Log-likelihood of every draw and row, in blocks of rows.

    Yields
    ------
    tuple
        The rows, and ``(draw, rows)``.
    """
    if beyond_logit(columns):

        def make(rows: slice, some: Coefficients) -> Array:
            log_p = log_probabilities(np, take_rows(columns, rows), some)
            chosen = choice[rows]
            return np.asarray(log_p[:, np.arange(len(chosen)), chosen])

        yield from _beyond(columns, coefficients, make)
        return
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

        shared(work, n_draws)
        yield rows, out


class RowLogLikelihood:
    """Log-likelihood of every draw and row, for the same rows at many parameters.

    Parameters
    ----------
    columns, choice
        The rows, all of which are held at once: few enough for draws × rows to fit into memory.
    """

    def __init__(self, columns: Columns, choice: NDArray[np.int64]) -> None:
        self.columns, self.choice = columns, choice
        self._beyond = bool(beyond_logit(columns))
        self._blocks: Blocks | None = None

    def __call__(self, coefficients: Coefficients) -> Array:
        """At some draws, ``(draw, row)``; numbers of groups are those of the first call."""
        n_draws, n = _n_draws(coefficients), len(self.choice)
        out = np.empty((n_draws, n))
        if self._beyond:
            for rows, block in log_likelihood_blocks(self.columns, coefficients, self.choice):
                out[:, rows] = block
            return out
        if self._blocks is None:
            self._blocks = arrange(self.columns, _sizes(self.columns, coefficients))
        arrays, order = self._blocks.arrays, self._blocks.order
        parameters = _parameters(self.columns, coefficients)

        def work(draws: slice) -> None:
            part = [p[draws] for p in parameters]
            kernel.row_log_likelihood(arrays, order, *part, self.choice, out[draws])

        shared(work, n_draws)
        return out


def log_likelihood_sums(
    columns: Columns,
    coefficients: Coefficients,
    choice: NDArray[np.int64],
    weights: Array | None = None,
) -> Array:
    """Log-likelihood of every draw, all rows together, each times its weight, ``(draw,)``."""
    total = np.zeros(_n_draws(coefficients))
    for rows, block in log_likelihood_blocks(columns, coefficients, choice):
        total += block.sum(axis=1) if weights is None else block @ weights[rows]
    return total


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


#: Whether a thread is one of `ahead`, which has others beside it already.
_BESIDE = local()
#: Threads of `ahead` at most, each of which holds a part.
_MOST_AHEAD = 8


def ahead[Part, Found](work: Callable[[Part], Found], parts: Iterable[Part]) -> Iterator[Found]:
    """Work at parts in turn, the next ones begun in threads meanwhile, a few at a time.

    In such a thread, one after the other: there are enough at work.
    """
    if getattr(_BESIDE, "others", False):
        yield from map(work, parts)
        return

    def alone(part: Part) -> Found:
        _BESIDE.others = True
        return work(part)

    threads, begun = min(os.cpu_count() or 1, _MOST_AHEAD), deque[Future[Found]]()
    pool = ThreadPoolExecutor(threads)
    try:
        for part in parts:
            begun.append(pool.submit(alone, part))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def shared(work: Callable[[slice], None], n: int) -> None:
    """Do so many in equal parts, one thread each; at once where threads are at work already."""
    threads = 1 if getattr(_BESIDE, "others", False) else os.cpu_count() or 1
    parts = pieces(n, threads)
    if len(parts) == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))
