"""Likelihoods of groups at many effects, against probabilities of single rows."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayesmig.inference import points

Array = NDArray[np.float64]
#: Compiled functions have no signature that a type checker could read.
compiled: Any = points
DRAWS, POINTS = 2, 13


class Made:
    """Groups of rows, their odds, and effects at some points."""

    def __init__(self, n_alternatives: int, n_terms: int, sizes: list[int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        n, groups, width = sum(sizes), len(sizes), (n_alternatives - 1) * max(n_terms, 1)
        self.group = np.repeat(np.arange(groups), sizes)
        self.starts = np.r_[0, np.cumsum(sizes)[:-1]]
        self.chosen = rng.integers(0, n_alternatives, n)
        available = rng.random((n, n_alternatives)) < 0.7
        available[np.arange(n), self.chosen] = True
        utility = rng.normal(0, 3.0, (DRAWS, n, n_alternatives))
        self.odds = np.empty_like(utility)
        compiled.odds(utility, self.chosen, np.arange(n_alternatives), available, self.odds)
        self.terms = rng.normal(size=(n, n_terms))
        self.where = (
            rng.normal(size=(DRAWS, groups, width)),
            rng.normal(0, 0.5, (DRAWS, groups, width, width)),
            rng.normal(size=(POINTS, width)),
        )
        self.log_weights = rng.normal(-5, 3, (DRAWS, POINTS, groups))
        self.cells = np.unique(np.r_[self.starts, np.flatnonzero(rng.random(n) < 0.5)])

    def columns(self, row: int) -> Array:
        """What effects are multiplied by in a row's utilities, ``(alternative, width)``."""
        terms = self.terms[row] if self.terms.shape[1] else np.ones(1)
        return np.vstack([np.zeros(len(self.where[2][0])), self._blocks(terms)])

    def _blocks(self, terms: Array) -> Array:
        return np.kron(np.eye(self.odds.shape[2] - 1), terms)

    def log_probability(self, draw: int, row: int, effects: Array) -> float:
        value = self.columns(row) @ effects
        with np.errstate(divide="ignore"):
            odds = np.log(self.odds[draw, row]) + value - value[self.chosen[row]]
        return -float(logsumexp(odds))

    def of_rows(self) -> Array:
        """``(draw, point, row)``."""
        centre, spread, z = self.where
        found = np.empty((DRAWS, POINTS, len(self.group)))
        for s, k, i in product(range(DRAWS), range(POINTS), range(len(self.group))):
            g = self.group[i]
            found[s, k, i] = self.log_probability(s, i, centre[s, g] + spread[s, g] @ z[k])
        return found


@pytest.mark.parametrize("n_alternatives", [2, 3, 4, 5])
@pytest.mark.parametrize("n_terms", [0, 2])
def test_sums_over_points_are_those_of_single_rows(n_alternatives: int, n_terms: int) -> None:
    made = Made(n_alternatives, n_terms, [3, 1, 4, 60], seed=n_alternatives)
    rows = made.of_rows()
    sums = np.empty((DRAWS, POINTS, len(made.starts)))
    compiled.group_sums(made.odds, made.chosen, made.terms, made.starts, *made.where, sums)
    np.testing.assert_allclose(sums, np.add.reduceat(rows, made.starts, axis=2), rtol=1e-10)
    # Cells of one row each, and some of one and some of more.
    for cells in (np.arange(len(made.group)), made.cells):
        groups, out = made.group[cells], np.empty((DRAWS, len(cells)))
        given = cells, groups, *made.where, made.log_weights
        compiled.inverse_sums(made.odds, made.chosen, made.terms, *given, out)
        of_cells = np.add.reduceat(rows, cells, axis=2)
        wanted = logsumexp(made.log_weights[:, :, groups] - of_cells, axis=1)
        np.testing.assert_allclose(out, wanted, rtol=1e-10)


@pytest.mark.parametrize("n_alternatives", [2, 3, 4, 5])
@pytest.mark.parametrize("n_terms", [0, 2])
def test_derivatives_are_those_of_single_rows(n_alternatives: int, n_terms: int) -> None:
    made = Made(n_alternatives, n_terms, [3, 1, 4, 20], seed=n_alternatives)
    at = made.where[0]
    going = np.ones(at.shape[:2], dtype=bool)
    going[1, 0] = False
    slope, bend = np.full(at.shape, 7.0), np.full((*at.shape, at.shape[2]), 7.0)
    compiled.group_derivatives(
        made.odds, made.chosen, made.terms, made.starts, at, going, slope, bend
    )
    for s, g in product(range(DRAWS), range(len(made.starts))):
        wanted, curved = np.zeros(at.shape[2]), np.zeros((at.shape[2], at.shape[2]))
        for i in np.flatnonzero(made.group == g):
            x = made.columns(i)
            with np.errstate(divide="ignore"):
                odds = np.log(made.odds[s, i]) + x @ at[s, g]
            p = np.exp(odds - logsumexp(odds))
            wanted += x[made.chosen[i]] - p @ x
            curved -= (x.T * p) @ x - np.outer(p @ x, p @ x)
        if going[s, g]:
            np.testing.assert_allclose(slope[s, g], wanted, atol=1e-10)
            np.testing.assert_allclose(bend[s, g], curved, atol=1e-10)
        else:
            assert (slope[s, g] == 7).all() and (bend[s, g] == 7).all()
