"""Rows of a design, sorted and cut into the blocks that the kernel reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.nested import ROOT, Tree
from bayesmig.choice.probabilities import beyond_logit
from bayesmig.choice.utility import Columns, added_to
from bayesmig.chunks import chunks
from bayesmig.design.collapse import collapse
from bayesmig.design.design import Design
from bayesmig.errors import InferenceError
from bayesmig.inference.memory import BLOCK

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Precision = Literal["single", "double"]
#: Rows that are put in order at a time, a whole number of blocks: neighbours in memory stay near.
_AT_ONCE = 16 * BLOCK
DTYPES: Mapping[Precision, Any] = {"single": np.float32, "double": np.float64}


@dataclass(frozen=True, slots=True)
class Blocks:
    """What the kernel reads.

    Attributes
    ----------
    arrays
        The kernel's argument ``data``.
    order
        Row of the columns for every row of the blocks, filler left out.
    """

    arrays: tuple[Any, ...]
    order: Codes

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.arrays[0])

    def part(self, blocks: slice) -> tuple[Any, ...]:
        """The kernel's argument ``data`` for some of the blocks."""
        x, a, pairs, closed, counts, *rest, run_at, nonbase = self.arrays
        return (
            x[blocks],
            a[blocks],
            pairs,
            closed[blocks] if len(closed) else closed,
            counts[blocks],
            rest[0][blocks],
            *rest[1:],
            np.ascontiguousarray(run_at[:, blocks.start : blocks.stop + 1]),
            nonbase,
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """All that the likelihood of a design needs.

    Attributes
    ----------
    columns
        The rows that are looped over: those of the design, or its distinct ones.
    blocks
        The same, sorted and cut.
    chosen
        The kernel's argument ``chosen``, of every row of the design.
    beyond
        The kernel's argument ``beyond``; ``None`` for a logit that is linear in parameters.
    """

    columns: Columns
    blocks: Blocks
    chosen: tuple[Array, Array, Array]
    beyond: tuple[Any, ...] | None = None

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Name of an argument of the log-likelihood -> its shape."""
        known = zip(("beta", "gamma", "effects"), self.chosen, strict=True)
        shapes: dict[str, tuple[int, ...]] = {name: of.shape for name, of in known}
        if self.beyond is not None:
            _, order, places, _, first, gates = self.beyond
            shapes |= {"added": (len(places), len(order)), "lambdas": (len(first) - 2,)}
            shapes |= {"odds": (len(gates), len(order))}
        return shapes


def rows_of(design: Design, precision: Precision) -> Rows:
    """The rows of a design, identical ones counted where that saves work.

    Raises
    ------
    InferenceError
        Where rows of more than a logit that is linear in its parameters are weighted.
    """
    columns, counts = design.columns, design.likelihood_weights
    if counts is not None and (parts := beyond_logit(columns)):
        raise InferenceError(
            f"the compiled kernel does not weight the rows of {', '.join(parts)}",
            where="key weights",
            mend='fit the theory with weights = "estimand"',
        )
    groups = {by: len(layout.levels) for by, layout in design.layouts.items()}
    chosen = chosen_sums(columns, groups, design.choice, counts)
    if beyond_logit(columns):
        # Rows whose choices differ are no one row, and what is added to them has no counts.
        blocks = _arranged(columns, groups)
        return Rows(columns, blocks, chosen, _beyond(columns, design.choice, blocks.order))
    if (collapsed := collapse(columns, counts)) is not None:
        columns, counts = collapsed.columns, collapsed.counts
    blocks = arrange(columns, groups, precision=precision, counts=counts)
    return Rows(columns, blocks, chosen)


def refuse_beyond_logit(columns: Columns) -> None:
    """Refuse columns whose probabilities the kernel would get wrong.

    Raises
    ------
    InferenceError
        Where a theory is more than a logit that is linear in its parameters.
    """
    if parts := beyond_logit(columns):
        raise InferenceError(
            f"the map and the sums over rows of many draws do not cover {', '.join(parts)}",
            where="[" + "], [".join(parts) + "]",
            mend="fit with method='auto'",
        )


def _beyond(columns: Columns, choice: Codes, order: Codes) -> tuple[Any, ...]:
    """The kernel's argument ``beyond``."""
    n_alt = columns.n_alternatives
    tree = columns.nests or Tree((ROOT,) * n_alt, ())
    inner_first = [*reversed(tree.top_down), ROOT]
    # Nests are numbered here as the kernel meets them.
    number = {n_alt + nest: n_alt + k for k, nest in enumerate(inner_first[:-1])}
    children = [[number.get(c, c) for c in tree.children(nest)] for nest in inner_first]
    choices = np.full((-(-len(order) // BLOCK), BLOCK), -1)
    choices.ravel()[: len(order)] = choice[order]
    return (
        choices,
        order,
        np.array(added_to(columns), dtype=np.int64),
        np.array([c for of in children for c in of], dtype=np.int64),
        np.cumsum([0, *map(len, children)]).astype(np.int64),
        np.array([*columns.feasible], dtype=np.int64),
    )


def arrange(
    columns: Columns,
    groups: Mapping[str, int],
    *,
    precision: Precision = "double",
    counts: Array | None = None,
    cells: Codes | None = None,
    order: Codes | None = None,
) -> Blocks:
    """Sort rows by group and cut them into blocks.

    Parameters
    ----------
    columns
        The data.
    groups
        Name of a factor -> number of its groups.
    precision
        Of the blocks, and so of the kernel's loops.
    counts
        How often each row counts, ``(obs,)``; once where left out.
    cells
        Codes by which rows are sorted before their groups, ``(obs,)``.
    order
        The order, where it is that of other blocks.
    """
    refuse_beyond_logit(columns)
    return _arranged(columns, groups, precision, counts, cells, order)


def _arranged(
    columns: Columns,
    groups: Mapping[str, int],
    precision: Precision = "double",
    counts: Array | None = None,
    cells: Codes | None = None,
    order: Codes | None = None,
) -> Blocks:
    dtype, order = DTYPES[precision], _order(columns, groups, cells) if order is None else order
    n, n_alt = len(order), columns.n_alternatives
    counts = np.ones(n) if counts is None else counts
    factors = list(columns.groups.values())
    sizes = [groups[by] * terms.shape[1] for by, (_, terms) in columns.groups.items()]
    runs = [runs_of(codes[order]) for codes, _ in factors]
    starts = np.cumsum([0, *(len(r) for r, _ in runs)])
    attributes, pairs = _attributes(columns)
    closed = np.zeros((0, n_alt, BLOCK), dtype=bool)
    if columns.available is not None:
        closed = _blocks([~columns.available], order, bool)
    arrays = (
        _blocks([columns.persons], order, dtype),
        _blocks(attributes, order, dtype),
        pairs,
        closed,
        _blocks([counts[:, None]], order, dtype)[:, 0],
        _blocks([terms for _, terms in factors], order, dtype),
        np.array([terms.shape[1] for _, terms in factors], dtype=np.int64),
        np.cumsum([0, *sizes])[:-1].astype(np.int64) * (n_alt - 1),
        np.concatenate([np.zeros((0, 3), dtype=np.int64), *(r for r, _ in runs)]),
        np.array(
            [at + start for (_, at), start in zip(runs, starts, strict=False)], dtype=np.int64
        ).reshape(len(factors), -(-n // BLOCK) + 1),
        np.delete(np.arange(n_alt), columns.base),
    )
    return Blocks(arrays, order)


def _order(columns: Columns, groups: Mapping[str, int], cells: Codes | None) -> Codes:
    """By cell, then by factor from the one with the fewest groups, then as they stand."""
    by = sorted(columns.groups, key=lambda name: groups[name], reverse=True)
    keys = [_short(columns.groups[name][0]) for name in by]
    if cells is not None:
        keys.append(_short(cells))
    if not keys:
        return np.arange(len(columns.persons))
    return np.lexsort(keys).astype(np.int64)


def _short(codes: Codes) -> NDArray[np.integer[Any]]:
    """In two bytes where they fit, which numpy sorts ten times as fast."""
    fit = len(codes) and codes.min() >= 0 and codes.max() < 2**16
    return codes.astype(np.uint16) if fit else codes


def _blocks(tables: list[Any], order: Codes, dtype: Any) -> NDArray[Any]:
    """Tables ``(obs, column)`` as ``(block, column, BLOCK)``, filled up with zeros."""
    width = sum(table.shape[1] for table in tables)
    out = np.zeros((-(-len(order) // BLOCK), width, BLOCK), dtype=dtype)
    for some in chunks(len(order), _AT_ONCE):
        here = order[some]
        whole, first, at = len(here) // BLOCK, some.start // BLOCK, 0
        for table in tables:
            values, columns = table.take(here, axis=0), slice(at, at + table.shape[1])
            full = values[: whole * BLOCK].reshape(whole, BLOCK, table.shape[1])
            out[first : first + whole, columns] = full.transpose(0, 2, 1)
            if left := len(here) - whole * BLOCK:
                out[first + whole, columns, :left] = values[whole * BLOCK :].T
            at = columns.stop
    return out


def _attributes(columns: Columns) -> tuple[list[Any], Codes]:
    """Tables of columns of single utilities, and each column's (coefficient, alternative)."""
    found, pairs, at = [], [], 0
    for position, block in columns.only.items():
        found.append(block)
        pairs += [(at + k, position) for k in range(block.shape[1])]
        at += block.shape[1]
    if columns.attributes is not None:
        for m in range(columns.attributes.shape[2]):
            found.append(columns.attributes[:, :, m])
            pairs += [(at + m, j) for j in range(columns.n_alternatives)]
    return found, np.array(pairs, dtype=np.int64).reshape(-1, 2)


def runs_of(codes: Codes) -> tuple[Codes, Codes]:
    """Runs of one code within blocks.

    Returns
    -------
    tuple
        ``(run, 3)``: first row in its block, row after its last, code; and the first
        run of every block, and one more.
    """
    n = len(codes)
    change = np.flatnonzero(np.diff(codes)) + 1
    first = np.union1d(np.concatenate([[0], change]), np.arange(0, n, BLOCK))[: n and None]
    stop = np.append(first[1:], n)
    block = first // BLOCK
    runs = np.stack([first - block * BLOCK, stop - block * BLOCK, codes[first]], axis=1)
    at = np.searchsorted(block, np.arange(-(-n // BLOCK) + 1))
    return runs.astype(np.int64), at.astype(np.int64)


def chosen_sums(
    columns: Columns, groups: Mapping[str, int], choice: Codes, counts: Array | None = None
) -> tuple[Array, Array, Array]:
    """Sums over rows of what stands beside each parameter in the chosen utility.

    Parameters
    ----------
    columns, groups, counts
        As for `arrange`.
    choice
        Position of the chosen alternative, ``(obs,)``.

    Returns
    -------
    tuple
        Of ``beta (coefficient, nonbase)``, of the attributes' coefficients, and of the
        effects of all factors, flat.
    """
    counts = np.ones(len(choice)) if counts is None else counts
    nonbase = np.delete(np.arange(columns.n_alternatives), columns.base)
    took = [counts * (choice == j) for j in range(columns.n_alternatives)]
    persons = np.stack([columns.persons.T @ took[j] for j in nonbase], axis=1)
    tables, pairs = _attributes(columns)
    of_attributes = np.zeros(int(pairs[:, 0].max(initial=-1)) + 1)
    for column, (m, j) in zip((c for t in tables for c in t.T), pairs, strict=True):
        of_attributes[m] += column @ took[j]
    effects = [np.zeros(0)]
    for by, (codes, terms) in columns.groups.items():
        sums = [[np.bincount(codes, took[j] * t, groups[by]) for t in terms.T] for j in nonbase]
        effects.append(np.moveaxis(np.array(sums), 2, 0).ravel())
    return persons, of_attributes, np.concatenate(effects)


def pieces(count: int, parts: int) -> list[slice]:
    """Cut ``count`` things into at most ``parts`` slices of about one size."""
    edges = np.linspace(0, count, min(count, parts) + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]
