"""Consideration: against loops over sets, as the logit, at the edges, and in PyTensor."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from bayesmig.choice import consideration, logit
from bayesmig.choice.nested import ROOT, Tree
from bayesmig.choice.probabilities import log_probabilities, slopes
from bayesmig.choice.utility import Coefficients, Columns, take_draws, utilities
from tests.random_columns import random_coefficients, random_columns, utility_by_loops


def world(
    seed: int, *, lead: tuple[int, ...] = (), nests: bool = False
) -> tuple[Columns, Coefficients]:
    """Up to all alternatives but the base may be infeasible, or closed."""
    rng = np.random.default_rng(seed)
    columns = random_columns(rng, alternatives=4)
    n = len(columns.persons)
    others = [j for j in range(4) if j != columns.base]
    some = rng.choice(others, rng.integers(1, 4), replace=False)
    available = columns.available
    if available is not None:
        available[:, columns.base] = True
    columns = replace(
        columns,
        feasible={int(j): rng.normal(size=(n, int(rng.integers(1, 4)))) for j in some},
        nests=Tree((0, 0, 1, 1), (ROOT, ROOT)) if nests else None,
    )
    size = sum(block.shape[1] for block in columns.feasible.values())
    coefficients = random_coefficients(rng, columns, lead=lead)
    return columns, replace(
        coefficients,
        feasibility=rng.normal(size=(*lead, size)),
        lambdas=rng.uniform(0.2, 1.0, (*lead, 2)),
    )


def by_sets(columns: Columns, coefficients: Coefficients, row: int) -> list[float]:
    """Probabilities of one row as a sum over the sets that are feasible."""
    utility, chance, at = utility_by_loops(columns, coefficients, row), {}, 0
    for j, block in columns.feasible.items():
        odds = 0.0
        for value in block[row]:
            odds += value * coefficients.feasibility[at]
            at += 1
        chance[j] = 1 / (1 + math.exp(-odds))
    open_ = [
        j
        for j in range(columns.n_alternatives)
        if columns.available is None or columns.available[row, j]
    ]
    total = [0.0] * columns.n_alternatives
    for size in range(len(chance) + 1):
        for feasible in combinations(chance, size):
            weight = 1.0
            for j, q in chance.items():
                weight *= q if j in feasible else 1 - q
            within = [j for j in open_ if j not in chance or j in feasible]
            whole = math.fsum(math.exp(utility[j]) for j in within)
            for j in within:
                total[j] += weight * math.exp(utility[j]) / whole
    return total


@pytest.mark.parametrize("seed", range(40))
def test_equals_a_loop_over_sets(seed: int) -> None:
    columns, coefficients = world(seed)
    got = np.exp(log_probabilities(np, columns, coefficients))
    expected = [by_sets(columns, coefficients, row) for row in range(len(columns.persons))]
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("nests", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_with_all_feasible_it_is_the_model_within_the_sets(seed: int, nests: bool) -> None:
    columns, coefficients = world(seed, nests=nests)
    certain = {j: np.ones((len(columns.persons), 1)) for j in columns.feasible}
    all_ = replace(coefficients, feasibility=np.full(len(certain), 700.0))
    got = log_probabilities(np, replace(columns, feasible=certain), all_)
    expected = log_probabilities(np, replace(columns, feasible={}), coefficients)
    np.testing.assert_allclose(np.exp(got), np.exp(expected), rtol=1e-12, atol=1e-300)
    none = replace(coefficients, feasibility=np.full(len(certain), -700.0))
    p = np.exp(log_probabilities(np, replace(columns, feasible=certain), none))
    assert p[:, list(certain)].max() < 1e-200


@pytest.mark.parametrize("size", [-700.0, 700.0])
def test_extreme_utilities_and_odds_stay_finite(size: float) -> None:
    utility = size * np.array([[0.0, 1.0, -1.0], [1.0, 1.0, 1.0]])

    def within(available: Any) -> Any:
        return logit.log_probabilities(np, utility, available)

    for odds in (-700.0, 0.0, 700.0):
        got = consideration.log_probabilities(
            np, {1: np.full(2, odds), 2: np.full(2, -odds)}, within, np.ones((2, 3), dtype=bool)
        )
        assert np.isfinite(got).all()
        np.testing.assert_allclose(np.exp(got).sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_permuted_alternatives_permute_the_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    utility, odds = rng.normal(size=(9, 4)), {j: rng.normal(size=9) for j in (1, 3)}
    order = rng.permutation(4)
    place = {int(old): new for new, old in enumerate(order)}
    open_ = np.ones((9, 4), dtype=bool)
    one = consideration.log_probabilities(
        np, odds, lambda a: logit.log_probabilities(np, utility, a), open_
    )
    other = consideration.log_probabilities(
        np,
        {place[j]: odds[j] for j in (3, 1)},
        lambda a: logit.log_probabilities(np, utility[:, order], a),
        open_,
    )
    np.testing.assert_allclose(other, one[:, order], rtol=1e-12, atol=1e-12)


def test_leading_dimensions_are_draws() -> None:
    columns, many = world(3, lead=(4,), nests=True)
    got = log_probabilities(np, columns, many)
    for s in range(4):
        one = log_probabilities(np, columns, take_draws(many, s))
        np.testing.assert_allclose(got[s], one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_slopes_are_those_of_the_probabilities(seed: int) -> None:
    columns, coefficients = world(seed, lead=(2,), nests=seed % 2 == 0)
    rng, h = np.random.default_rng(seed), 1e-6
    persons = rng.normal(size=columns.persons.shape)
    feasible = {j: rng.normal(size=block.shape) for j, block in columns.feasible.items()}

    def moved(step: float) -> Columns:
        return replace(
            columns,
            persons=columns.persons + step * persons,
            feasible={j: b + step * feasible[j] for j, b in columns.feasible.items()},
        )

    moving = replace(
        columns,
        persons=persons,
        feasible=feasible,
        only={j: np.zeros_like(block) for j, block in columns.only.items()},
        attributes=None if columns.attributes is None else np.zeros_like(columns.attributes),
        groups={by: (c, np.zeros_like(t)) for by, (c, t) in columns.groups.items()},
    )
    arms = [np.exp(log_probabilities(np, moved(s * h), coefficients)) for s in (-1, 1)]
    got = slopes(columns, moving, coefficients)
    np.testing.assert_allclose(got, (arms[1] - arms[0]) / (2 * h), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("seed", range(8))
def test_pytensor_gives_the_same_numbers_and_finite_gradients(seed: int) -> None:
    import pytensor
    import pytensor.tensor as pt

    columns, coefficients = world(seed, nests=seed % 2 == 0)
    kappa, lambdas, beta = pt.dvector(), pt.dvector(), pt.dmatrix()
    symbolic = Coefficients(
        persons=beta,
        only=None if coefficients.only is None else pt.as_tensor(coefficients.only),
        attributes=None
        if coefficients.attributes is None
        else pt.as_tensor(coefficients.attributes),
        effects={k: pt.as_tensor(v) for k, v in (coefficients.effects or {}).items()},
        lambdas=lambdas,
        feasibility=kappa,
    )
    log_p = log_probabilities(pt, columns, symbolic)
    open_ = np.ones((len(columns.persons), 4), dtype=bool)
    open_ = open_ if columns.available is None else columns.available
    inputs = [kappa, beta, lambdas] if columns.nests else [kappa, beta]
    gradients = pytensor.grad(pt.where(open_, log_p, 0.0).sum(), inputs)
    plain = pytensor.compile.mode.Mode(linker="py", optimizer=None)
    run = pytensor.function([kappa, beta, lambdas], [log_p, *gradients], mode=plain,
                            on_unused_input="ignore")  # fmt: skip
    for scale in (1.0, 60.0):
        scaled = replace(
            coefficients,
            feasibility=scale * coefficients.feasibility,
            persons=scale * coefficients.persons,
        )
        got, *found = run(scaled.feasibility, scaled.persons, scaled.lambdas)
        expected = log_probabilities(np, columns, scaled)
        np.testing.assert_allclose(got[open_], expected[open_], rtol=1e-12, atol=1e-12)
        assert all(np.isfinite(g).all() for g in found)


def test_utilities_do_not_depend_on_what_is_feasible() -> None:
    columns, coefficients = world(2)
    np.testing.assert_array_equal(
        utilities(np, columns, coefficients),
        utilities(np, replace(columns, feasible={}), coefficients),
    )
