"""The compiled likelihood: that of `bayesmig.choice`, on random inputs and at the edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, Columns, utilities
from bayesmig.inference import kernel
from bayesmig.inference.stream import _arguments
from tests.random_columns import (
    log_probabilities_by_loops,
    random_choice,
    random_coefficients,
    random_columns,
)

Value = tuple[float, tuple[np.ndarray, np.ndarray, np.ndarray]]


def log_p(columns: Columns, coefficients: Coefficients) -> np.ndarray:
    return log_probabilities(np, utilities(np, columns, coefficients), columns.available)


def with_draw(coefficients: Coefficients) -> Coefficients:
    """The same parameters as a single draw."""
    return Coefficients(
        persons=coefficients.persons[None],
        only=None if coefficients.only is None else coefficients.only[None],
        attributes=None if coefficients.attributes is None else coefficients.attributes[None],
        effects={k: v[None] for k, v in (coefficients.effects or {}).items()},
    )


def arguments(columns: Columns, coefficients: Coefficients, choice: np.ndarray) -> list[Any]:
    """Those of `kernel.log_likelihood`, without its outputs."""
    (*data, nonbase), parameters = _arguments(columns, with_draw(coefficients))
    return [*data, choice, nonbase, *(p[0] for p in parameters)]


def likelihood(columns: Columns, coefficients: Coefficients, choice: np.ndarray) -> Value:
    given = arguments(columns, coefficients, choice)
    slopes = tuple(np.full_like(p, np.nan) for p in given[-3:])
    return kernel.log_likelihood(*given, *slopes), slopes


def world(seed: int, **shape: Any) -> tuple[Columns, Coefficients, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = random_columns(rng, **shape)
    return columns, random_coefficients(rng, columns), random_choice(rng, columns)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_likelihood_of_the_choice_model(seed: int) -> None:
    columns, coefficients, choice = world(seed)
    value, _ = likelihood(columns, coefficients, choice)
    rows = np.arange(len(choice))
    assert value == pytest.approx(log_p(columns, coefficients)[rows, choice].sum(), rel=1e-12)
    by_loops = log_probabilities_by_loops(columns, coefficients)
    assert value == pytest.approx(by_loops[rows, choice].sum(), rel=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_its_gradient_is_that_of_its_values(seed: int) -> None:
    columns, coefficients, choice = world(seed)
    given = arguments(columns, coefficients, choice)
    _, slopes = likelihood(columns, coefficients, choice)
    step = 1e-4
    for position, slope in zip((-3, -2, -1), slopes, strict=True):
        for index in np.ndindex(slope.shape):
            values = []
            for move in (1, -1, 2, -2):
                moved = given.copy()
                moved[position] = given[position].copy()
                moved[position][index] += move * step
                values.append(kernel.log_likelihood(*moved, *map(np.empty_like, slopes)))
            near, far = values[0] - values[1], values[2] - values[3]
            numeric = (8 * near - far) / (12 * step)
            assert slope[index] == pytest.approx(numeric, rel=1e-6, abs=1e-7 * len(choice))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 511, 512, 513, 1024, 1500])
def test_blocks_of_rows_join_without_seam(n: int) -> None:
    columns, coefficients, choice = world(n, n=n, alternatives=3, groups=[(5, 2), (3, 1)])
    value, slopes = likelihood(columns, coefficients, choice)
    p = np.exp(log_p(columns, coefficients))
    assert value == pytest.approx(np.log(p[np.arange(n), choice]).sum(), rel=1e-12)
    residuals = np.delete(np.eye(3)[choice] - p, columns.base, axis=1)
    np.testing.assert_allclose(slopes[0], columns.persons.T @ residuals, rtol=1e-10, atol=1e-11)
    effects = np.zeros(0)
    for name, (codes, terms) in columns.groups.items():
        slope = np.zeros(coefficients.effects[name].shape)
        np.add.at(slope, codes, residuals[:, :, None] * terms[:, None, :])
        effects = np.concatenate([effects, slope.ravel()])
    np.testing.assert_allclose(slopes[2], effects, rtol=1e-10, atol=1e-11)


def test_many_alternatives_do_not_overflow_the_product_of_sums() -> None:
    columns, coefficients, choice = world(
        1, n=300, alternatives=400, persons=1, only=[], attributes=0, groups=[], availability=False
    )
    flat = replace(coefficients, persons=np.zeros_like(coefficients.persons))
    assert likelihood(columns, flat, choice)[0] == pytest.approx(-300 * np.log(400), rel=1e-12)


def test_one_person_groups_and_groups_without_anybody() -> None:
    rng = np.random.default_rng(3)
    columns = random_columns(rng, n=30, alternatives=3, groups=[(30, 1), (9, 2)])
    columns = replace(
        columns,
        groups={
            "origin": (np.arange(30), columns.groups["origin"][1]),
            "region": (rng.integers(2, 7, size=30), columns.groups["region"][1]),
        },
    )
    coefficients = random_coefficients(rng, columns, sizes=[30, 9])
    choice = random_choice(rng, columns)
    value, slopes = likelihood(columns, coefficients, choice)
    assert value == pytest.approx(
        log_p(columns, coefficients)[np.arange(30), choice].sum(), rel=1e-12
    )
    of_regions = slopes[2][30 * 2 :].reshape(9, 2, 2)
    np.testing.assert_array_equal(of_regions[[0, 1, 7, 8]], 0.0)


@pytest.mark.parametrize("size", [50.0, 300.0, 700.0])
def test_extreme_utilities_are_exact(size: float) -> None:
    columns, coefficients, choice = world(
        6, n=40, alternatives=3, persons=1, only=[], attributes=0, groups=[], availability=False
    )
    columns = replace(columns, persons=np.sign(columns.persons))
    extreme = replace(coefficients, persons=np.array([[size, -size]]))
    value, slopes = likelihood(columns, extreme, choice)
    expected = log_p(columns, extreme)[np.arange(40), choice].sum()
    assert value == pytest.approx(expected, rel=1e-13)
    assert all(np.isfinite(s).all() for s in slopes)


def test_probabilities_have_the_precision_of_a_library_exponential() -> None:
    """From utilities within rounding of each other to differences of 700."""
    n = 4000
    gaps = np.concatenate([np.linspace(-700, 700, n // 2), np.geomspace(1e-12, 40.0, n // 2)])
    columns = Columns(
        n_alternatives=2,
        base=0,
        persons=gaps[:, None],
        only={},
        attributes=None,
        groups={},
    )
    coefficients = Coefficients(persons=np.ones((1, 1, 1)))
    data, parameters = _arguments(columns, coefficients)
    got, logs = np.empty((1, n, 2)), np.empty((1, n))
    kernel.row_probabilities(*data, *parameters, got)
    expected = np.exp(log_p(columns, replace(coefficients, persons=np.ones((1, 1)))))
    np.testing.assert_allclose(got[0], expected, rtol=2e-13)
    ones = np.ones(n, dtype=np.int64)
    kernel.row_log_likelihood(*data, *parameters, ones, logs)
    np.testing.assert_allclose(logs[0], -np.logaddexp(0.0, -gaps), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [-3, -2, -1])
def test_parameters_that_are_not_numbers_never_give_a_finite_value(
    bad: float, position: int
) -> None:
    columns, coefficients, choice = world(
        9, n=70, alternatives=4, attributes=2, only=[1], groups=[(3, 2)], availability=False
    )
    given = arguments(columns, coefficients, choice)
    for index in np.ndindex(given[position].shape):
        moved = given.copy()
        moved[position] = given[position].copy()
        moved[position][index] = bad
        assert not np.isfinite(kernel.log_likelihood(*moved, *map(np.empty_like, given[-3:])))
