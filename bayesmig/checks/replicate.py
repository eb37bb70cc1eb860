"""Replicated surveys: choices drawn from the probabilities of single draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.drawn import Choices, draw_choices
from bayesmig.choice.utility import Coefficients, Columns, take_draws
from bayesmig.inference.machine_code import Library
from bayesmig.inference.stream import ahead, probability_blocks

compiled = Library("bayesmig.inference.cells")
Array = NDArray[np.float64]
#: Choices, ``(obs, draw)`` -> values, ``(draw, ...)``.
Statistic = Callable[[Choices], Array]

#: Probabilities of one block of draws × rows × alternatives.
_BLOCK_SIZE = 8_000_000


def replicate(
    columns: Columns,
    coefficients: Coefficients,
    statistics: Mapping[str, Statistic],
    *,
    seed: int,
) -> dict[str, Array]:
    """Statistics of choices drawn anew, one replicated survey per draw.

    Parameters
    ----------
    columns, coefficients
        Data and draws.
    statistics
        Name -> what is computed from the choices of all rows.
    seed
        Seed of the choices.

    Returns
    -------
    dict
        Name -> ``(draw, ...)``. Memory is bounded by some blocks of draws, whatever their number.
    """
    parts: dict[str, list[Array]] = {name: [] for name in statistics}
    drawn = _surveys(columns, coefficients, seed)
    # The next surveys are drawn while these are asked.
    asked = ((name, choices) for choices in drawn for name in statistics)
    for name, values in ahead(lambda part: (part[0], statistics[part[0]](part[1])), asked):
        parts[name].append(values)
    return {name: np.concatenate(found) for name, found in parts.items()}


def _surveys(columns: Columns, coefficients: Coefficients, seed: int) -> Iterator[Choices]:
    """Choices of all rows, ``(obs, draw)``, some draws at a time."""
    rng = generator(seed, 11)
    n_obs, n_draws = len(columns.persons), len(coefficients.persons)
    step = max(1, _BLOCK_SIZE // (n_obs * columns.n_alternatives))
    for start in range(0, n_draws, step):
        some = take_draws(coefficients, np.arange(start, min(n_draws, start + step)))
        choices = np.empty((n_obs, len(some.persons)), dtype=np.int8)
        for rows, block in probability_blocks(columns, some):
            choices[rows] = draw_choices(block, rng).T
        yield choices


def thinned(coefficients: Coefficients, draws: int) -> Coefficients:
    """At most so many draws, evenly spaced over all chains."""
    n = len(coefficients.persons)
    return take_draws(coefficients, np.linspace(0, n - 1, min(n, draws)).round().astype(np.int64))


def generator(seed: int, key: int) -> np.random.Generator:
    """A generator of its own for each use of a seed."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key,)))


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of rows, in which shares of alternatives are taken.

    Attributes
    ----------
    codes
        Cell of every row, ``(obs,)``.
    rows, effective
        Rows of every cell, and Kish's effective number of them, ``(cell,)``.
    """

    codes: NDArray[np.int64] = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    effective: Array = field(repr=False)
    _averages: Any = field(repr=False)

    def averages(self, values: Array) -> Array:
        """Averages of ``(obs, ...)`` over the rows of every cell, ``(cell, ...)``."""
        return np.asarray(self._averages @ values)

    def part_of_averages(self, rows: slice, values: Array) -> Array:
        """What some rows, ``(rows, ...)``, add to the averages, ``(cell, ...)``."""
        return np.asarray(self._averages[:, rows] @ values)

    def variances(self, values: Array) -> Array:
        """Variances of such averages from those of independent rows, ``(cell, ...)``."""
        return np.asarray(self._averages.power(2) @ values)

    def share(self, choices: Choices, alternative: int) -> Array:
        """Shares of one alternative among choices ``(obs, draw)``, as ``(draw, cell)``.

        NaN where the weights of a cell sum to zero.
        """
        return self._shares(choices, alternative, 1)[:, 0].T

    def shares(self, choices: Choices, n_alternatives: int) -> Array:
        """Shares of all alternatives, ``(draw, cell, alternative)``."""
        return self._shares(choices, 0, n_alternatives).transpose(2, 0, 1)

    def _shares(self, choices: Choices, first: int, count: int) -> Array:
        """Those of some alternatives, ``(cell, alternative, draw)``."""
        of, out = self._averages, np.empty((len(self.rows), count, choices.shape[1]))
        compiled.shares(of.indptr, of.indices, of.data, np.ascontiguousarray(choices), first, out)
        return out


def stacked(parts: Sequence[Cells]) -> Cells:
    """Cells of several partitions of the rows, one under the other, which are averaged at once.

    Its ``codes`` are those of the first.
    """
    from scipy.sparse import vstack

    return Cells(
        parts[0].codes,
        np.concatenate([p.rows for p in parts]),
        np.concatenate([p.effective for p in parts]),
        vstack([p._averages for p in parts], format="csr"),
    )


def cells_of(codes: NDArray[np.int64], n_cells: int, weights: Array | None = None) -> Cells:
    """`Cells` from the cell of every row and, where rows do not count alike, weights."""
    from scipy.sparse import csr_array

    n = len(codes)
    weights = np.ones(n) if weights is None else weights
    total = np.bincount(codes, weights, n_cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        averages = csr_array((weights / total[codes], (codes, np.arange(n))), shape=(n_cells, n))
        effective = total**2 / np.bincount(codes, weights**2, n_cells)
    rows = np.bincount(codes, minlength=n_cells)
    return Cells(codes, rows, np.nan_to_num(effective), averages)
