"""Random data and parameters of a choice model, and its probabilities by the letter.

The probabilities here are loops over ``math``: they share no line with the package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bayesmig.choice.utility import Coefficients, Columns

FACTORS = ("origin", "region")


def random_columns(
    rng: np.random.Generator,
    *,
    n: int | None = None,
    alternatives: int | None = None,
    base: int | None = None,
    persons: int | None = None,
    only: Sequence[int] | None = None,
    attributes: int | None = None,
    groups: Sequence[tuple[int, int]] | None = None,
    availability: bool | None = None,
) -> Columns:
    """Data whose shape is random where it is not given.

    ``only`` names positions, ``groups`` holds (number of groups, number of terms).
    """

    def pick(given: Any, low: int, high: int) -> int:
        return int(rng.integers(low, high)) if given is None else given

    n, width = pick(n, 1, 40), pick(alternatives, 2, 8)
    base, k = pick(base, 0, width), pick(persons, 1, 5)
    if only is None:
        only = rng.choice(width, rng.integers(0, width), replace=False).tolist()
    m = pick(attributes, 0, 3)
    if groups is None:
        groups = [(int(g), int(q)) for g, q in rng.integers((2, 1), (7, 4), (rng.integers(3), 2))]
    if availability is None:
        availability = bool(rng.integers(2))
    available = None
    if availability:
        available = rng.random((n, width)) < 0.7
        available[np.arange(n), rng.integers(width, size=n)] = True
    return Columns(
        n_alternatives=width,
        base=base,
        persons=rng.normal(size=(n, k)),
        only={int(j): rng.normal(size=(n, int(rng.integers(1, 4)))) for j in only},
        attributes=rng.normal(size=(n, width, m)) if m else None,
        groups={
            name: (rng.integers(size, size=n), rng.normal(size=(n, terms)))
            for name, (size, terms) in zip(FACTORS, groups, strict=False)
        },
        available=available,
    )


def random_coefficients(
    rng: np.random.Generator,
    columns: Columns,
    *,
    lead: tuple[int, ...] = (),
    scale: float = 1.0,
    sizes: Sequence[int] | None = None,
) -> Coefficients:
    """Parameters for some columns; ``sizes`` are numbers of groups (as seen where left out)."""
    width = columns.n_alternatives - 1
    n_only = sum(block.shape[1] for block in columns.only.values())

    def draw(*shape: int) -> np.ndarray:
        return scale * rng.normal(size=(*lead, *shape))

    if sizes is None:
        sizes = [int(codes.max()) + 1 for codes, _ in columns.groups.values()]
    return Coefficients(
        persons=draw(columns.persons.shape[1], width),
        only=draw(n_only) if n_only else None,
        attributes=None if columns.attributes is None else draw(columns.attributes.shape[2]),
        effects={
            name: draw(size, width, terms.shape[1])
            for (name, (_, terms)), size in zip(columns.groups.items(), sizes, strict=True)
        },
    )


def random_choice(rng: np.random.Generator, columns: Columns) -> np.ndarray:
    """Available alternatives, any of them."""
    n, width = len(columns.persons), columns.n_alternatives
    mark = rng.random((n, width))
    if columns.available is not None:
        mark = np.where(columns.available, mark, -1.0)
    return mark.argmax(axis=1)


def utility_by_loops(columns: Columns, coefficients: Coefficients, row: int) -> list[float]:
    """Utility of every alternative of one row, term by term."""
    utility = []
    position = 0
    for j in range(columns.n_alternatives):
        parts = []
        if j != columns.base:
            for k in range(columns.persons.shape[1]):
                parts.append(columns.persons[row, k] * coefficients.persons[k][position])
            for name, (codes, terms) in columns.groups.items():
                for t in range(terms.shape[1]):
                    effect = coefficients.effects[name][codes[row]][position][t]
                    parts.append(effect * terms[row, t])
            position += 1
        at = 0
        for where, block in columns.only.items():
            for k in range(block.shape[1]):
                if where == j:
                    parts.append(block[row, k] * coefficients.only[at])
                at += 1
        if columns.attributes is not None:
            for m in range(columns.attributes.shape[2]):
                parts.append(columns.attributes[row, j, m] * coefficients.attributes[m])
        utility.append(math.fsum(parts))
    return utility


def log_probabilities_by_loops(columns: Columns, coefficients: Coefficients) -> np.ndarray:
    """``(obs, alternative)``; minus infinity where an alternative is not available."""
    rows = []
    for n in range(len(columns.persons)):
        utility = utility_by_loops(columns, coefficients, n)
        open_ = [
            j
            for j in range(columns.n_alternatives)
            if columns.available is None or columns.available[n][j]
        ]
        top = max(utility[j] for j in open_)
        inclusive = top + math.log(math.fsum(math.exp(utility[j] - top) for j in open_))
        rows.append([u - inclusive if j in open_ else -math.inf for j, u in enumerate(utility)])
    return np.array(rows)
