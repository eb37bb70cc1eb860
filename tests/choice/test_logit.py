"""Log probabilities of the logit: against loops, at the edges, and in PyTensor."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, Columns, mean_differences, utilities
from tests.random_columns import (
    log_probabilities_by_loops,
    random_coefficients,
    random_columns,
)

SEEDS = range(60)


def log_p(columns: Columns, coefficients: Coefficients) -> np.ndarray:
    return log_probabilities(np, utilities(np, columns, coefficients), columns.available)


def world(seed: int, **shape: object) -> tuple[Columns, Coefficients]:
    rng = np.random.default_rng(seed)
    columns = random_columns(rng, **shape)
    return columns, random_coefficients(rng, columns)


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_loops(seed: int) -> None:
    columns, coefficients = world(seed)
    expected = log_probabilities_by_loops(columns, coefficients)
    got = log_p(columns, coefficients)
    open_ = np.isfinite(expected)
    np.testing.assert_allclose(got[open_], expected[open_], rtol=1e-12, atol=1e-12)
    assert (np.exp(got[~open_]) == 0.0).all()
    np.testing.assert_allclose(np.exp(got).sum(axis=-1), 1.0, atol=1e-14)


@pytest.mark.parametrize("base", range(4))
def test_the_base_may_be_anywhere_and_have_a_block_of_its_own(base: int) -> None:
    columns, coefficients = world(
        base,
        alternatives=4,
        base=base,
        only=[base, (base + 1) % 4],
        groups=[(3, 2), (4, 1)],
        attributes=2,
        availability=False,
    )
    np.testing.assert_allclose(
        log_p(columns, coefficients), log_probabilities_by_loops(columns, coefficients), rtol=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_mean_differences_are_those_of_every_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = random_columns(rng)
    coefficients = random_coefficients(rng, columns, lead=(3,))
    weights = rng.random((len(columns.persons), columns.n_alternatives))
    weights[rng.random(weights.shape) < 0.2] = 0.0
    weights /= np.maximum(weights.sum(axis=0), 1e-300)
    v = utilities(np, columns, coefficients)
    expected = np.einsum("snj,nj->sj", v - v[..., [columns.base]], weights)
    got = mean_differences(columns, coefficients, weights)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_leading_dimensions_are_draws(lead: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    columns = random_columns(
        rng, n=7, alternatives=4, only=[0, 2], attributes=2, groups=[(3, 2), (2, 1)]
    )
    many = random_coefficients(rng, columns, lead=lead)
    got = log_p(columns, many)
    assert got.shape == (*lead, 7, 4)
    for index in np.ndindex(lead):
        one = Coefficients(
            persons=many.persons[index],
            only=many.only[index],
            attributes=many.attributes[index],
            effects={k: v[index] for k, v in many.effects.items()},
        )
        np.testing.assert_allclose(got[index], log_p(columns, one), rtol=1e-13, atol=1e-13)


def test_extreme_utilities_stay_finite_and_exact() -> None:
    utility = np.array([[700.0, -700.0, 0.0], [-700.0, -700.0, -700.0], [0.0, 700.0, 700.0]])
    expected = [
        [0.0, -1400.0, -700.0],
        [-math.log(3)] * 3,
        [-700 - math.log(2), *[-math.log(2)] * 2],
    ]
    np.testing.assert_allclose(log_probabilities(np, utility), expected, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("top", [-700.0, 0.0, 700.0])
def test_an_unavailable_alternative_has_probability_zero_whatever_its_utility(top: float) -> None:
    utility = np.array([[top, 700.0, top - 1.0]])
    available = np.array([[True, False, True]])
    p = np.exp(log_probabilities(np, utility, available))
    assert p[0, 1] == 0.0
    assert p[0, 0] == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-14)
    assert np.isfinite(log_probabilities(np, utility, available)).all()


def test_an_added_unavailable_alternative_changes_nothing() -> None:
    columns, coefficients = world(3, n=20, alternatives=3, base=0, only=[1], availability=False)
    wider = replace(
        columns,
        n_alternatives=4,
        attributes=None
        if columns.attributes is None
        else np.concatenate([columns.attributes, columns.attributes[:, :1]], axis=1),
        available=np.tile([True, True, True, False], (20, 1)),
    )

    def widen(block: np.ndarray, axis: int) -> np.ndarray:
        return np.concatenate([block, np.take(block, [0], axis=axis)], axis=axis)

    more = replace(
        coefficients,
        persons=widen(coefficients.persons, 1),
        effects={k: widen(v, 1) for k, v in coefficients.effects.items()},
    )
    got = np.exp(log_p(wider, more))
    np.testing.assert_array_equal(got[:, 3], 0.0)
    np.testing.assert_allclose(got[:, :3], np.exp(log_p(columns, coefficients)), rtol=1e-14)


def test_permuted_alternatives_permute_the_probabilities() -> None:
    columns, coefficients = world(
        11,
        n=25,
        alternatives=4,
        base=1,
        only=[0, 1, 3],
        attributes=2,
        groups=[(3, 2)],
        availability=True,
    )
    order = [2, 0, 3, 1]  # the new alternative i is the old order[i]
    place = {old: new for new, old in enumerate(order)}
    nonbase = [j for j in range(4) if j != 1]
    to = [nonbase.index(j) for j in order if j != 1]
    moved = replace(
        columns,
        base=place[1],
        only={place[j]: block for j, block in columns.only.items()},
        attributes=columns.attributes[:, order],
        available=columns.available[:, order],
    )
    same = replace(
        coefficients,
        persons=coefficients.persons[:, to],
        effects={k: v[:, to] for k, v in coefficients.effects.items()},
    )
    np.testing.assert_allclose(
        log_p(moved, same), log_p(columns, coefficients)[:, order], rtol=1e-13, atol=1e-13
    )


def test_another_base_is_a_linear_change_of_coefficients() -> None:
    columns, coefficients = world(
        5, n=25, alternatives=4, base=0, only=[0, 2], attributes=1, groups=[(3, 2), (4, 1)]
    )

    def rebased(block: np.ndarray) -> np.ndarray:
        # Over the choice set (0, b1, b2, b3), minus b2, without the new base.
        full = np.insert(block, 0, 0.0, axis=1)
        return np.delete(full - full[:, [2]], 2, axis=1)

    moved = replace(
        coefficients,
        persons=rebased(coefficients.persons),
        effects={k: rebased(v) for k, v in coefficients.effects.items()},
    )
    got = np.exp(log_p(replace(columns, base=2), moved))
    np.testing.assert_allclose(got, np.exp(log_p(columns, coefficients)), rtol=1e-12)


def test_a_constant_added_to_all_utilities_changes_nothing() -> None:
    utility = np.random.default_rng(0).normal(size=(9, 5))
    np.testing.assert_allclose(
        log_probabilities(np, utility + 123.0), log_probabilities(np, utility), atol=1e-12
    )


def test_two_alternatives_are_a_logistic_regression() -> None:
    columns, coefficients = world(
        2,
        n=1,
        alternatives=2,
        base=0,
        persons=3,
        only=[],
        attributes=0,
        groups=[],
        availability=False,
    )
    index = math.fsum(
        x * b for x, b in zip(columns.persons[0], coefficients.persons[:, 0], strict=True)
    )
    assert np.exp(log_p(columns, coefficients))[0, 1] == pytest.approx(
        1 / (1 + math.exp(-index)), rel=1e-14
    )


@pytest.mark.parametrize("seed", range(12))
def test_pytensor_gives_the_same_numbers(seed: int) -> None:
    import pytensor
    import pytensor.tensor as pt

    columns, coefficients = world(seed)
    symbolic = Coefficients(
        persons=pt.as_tensor(coefficients.persons),
        only=None if coefficients.only is None else pt.as_tensor(coefficients.only),
        attributes=None
        if coefficients.attributes is None
        else pt.as_tensor(coefficients.attributes),
        effects={k: pt.as_tensor(v) for k, v in coefficients.effects.items()},
    )
    graph = log_probabilities(pt, utilities(pt, columns, symbolic), columns.available)
    # The Python linker without rewrites: what is written, and no compiler.
    plain = pytensor.compile.mode.Mode(linker="py", optimizer=None)
    np.testing.assert_allclose(
        graph.eval(mode=plain), log_p(columns, coefficients), rtol=1e-12, atol=1e-12
    )
