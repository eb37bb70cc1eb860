"""Streamed probabilities: those of `bayesmig.choice`, whatever the blocks and threads."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, Columns, utilities
from bayesmig.inference import stream
from tests.random_columns import random_choice, random_coefficients, random_columns

DRAWS = 7


def world(seed: int) -> tuple[Columns, Coefficients, np.ndarray]:
    """Columns, draws, and the probabilities ``(draw, obs, alternative)``."""
    rng = np.random.default_rng(seed)
    columns = random_columns(rng)
    coefficients = random_coefficients(rng, columns, lead=(DRAWS,))
    utility = utilities(np, columns, coefficients)
    return columns, coefficients, np.exp(log_probabilities(np, utility, columns.available))


@pytest.fixture(params=["one block", "blocks of a row"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "blocks of a row":
        monkeypatch.setattr(stream, "_BLOCK_SIZE", 10)


@pytest.mark.parametrize("seed", range(15))
def test_averages_are_averages_over_cells(seed: int) -> None:
    columns, coefficients, p = world(seed)
    rng, n = np.random.default_rng(seed), len(columns.persons)
    cells, weights = rng.integers(3, size=n), rng.random(n)
    cells[0] = 3
    got = stream.average_probabilities(columns, coefficients, cells=cells, weights=weights)
    assert got.shape == (DRAWS, 4, columns.n_alternatives)
    for cell in range(4):
        if (cells == cell).any():
            expected = np.average(p[:, cells == cell], axis=1, weights=weights[cells == cell])
            np.testing.assert_allclose(got[:, cell], expected, rtol=1e-12, atol=1e-300)
        else:
            assert np.isnan(got[:, cell]).all()
    np.testing.assert_allclose(
        stream.average_probabilities(columns, coefficients)[:, 0], p.mean(axis=1), rtol=1e-12
    )


def test_a_cell_without_weight_has_no_average() -> None:
    columns, coefficients, _ = world(0)
    weights = np.zeros(len(columns.persons))
    assert np.isnan(stream.average_probabilities(columns, coefficients, weights=weights)).all()


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("seed", range(15))
def test_rows_come_in_order_and_once(seed: int) -> None:
    columns, coefficients, p = world(seed)
    found = list(stream.probability_blocks(columns, coefficients))
    rows = np.concatenate([np.arange(s.start, s.stop) for s, _ in found])
    np.testing.assert_array_equal(rows, np.arange(len(columns.persons)))
    got = np.concatenate([block for _, block in found], axis=1)
    np.testing.assert_allclose(got, p, rtol=1e-12, atol=1e-300)
    if columns.available is not None:
        assert (got[:, ~columns.available] == 0.0).all()


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("seed", range(10))
def test_means_over_draws(seed: int) -> None:
    columns, coefficients, p = world(seed)
    got = stream.mean_probabilities(columns, coefficients)
    np.testing.assert_allclose(got, p.mean(axis=0), rtol=1e-12, atol=1e-300)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("seed", range(15))
def test_log_likelihoods_are_logs_of_chosen_probabilities(seed: int) -> None:
    columns, coefficients, p = world(seed)
    choice = random_choice(np.random.default_rng(seed), columns)
    found = list(stream.log_likelihood_blocks(columns, coefficients, choice))
    got = np.concatenate([block for _, block in found], axis=1)
    expected = np.log(p[:, np.arange(len(choice)), choice])
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("average", ["double", "single", "slopes"])
def test_results_do_not_depend_on_the_number_of_threads(
    average: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, coefficients, _ = world(1)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        if average == "slopes":
            found.append(stream.average_slopes(columns, columns, coefficients))
        else:
            found.append(stream.average_probabilities(columns, coefficients, precision=average))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_work_ahead_keeps_its_order_and_begins_no_more_threads_in_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    threads = set()

    def inner(part: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.001 * (part % 3))
        return part

    def outer(part: int) -> list[int]:
        return list(stream.ahead(inner, range(10 * part, 10 * part + 4)))

    found = list(stream.ahead(outer, range(8)))
    assert found == [[10 * k, 10 * k + 1, 10 * k + 2, 10 * k + 3] for k in range(8)]
    assert 1 < len(threads) <= 3
    assert threading.get_ident() not in threads


def test_work_that_fails_begins_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    begun = []

    def work(part: int) -> int:
        begun.append(part)
        time.sleep(0.05)
        if part == 0:
            raise ValueError("the first")
        return part

    with pytest.raises(ValueError, match="the first"):
        list(stream.ahead(work, range(9)))
    # The second may have been begun when the first failed; those that waited were not.
    assert begun in ([0], [0, 1])


# -------------------------------------------------------------------- single precision


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem counts as a large one."""
    monkeypatch.setattr(stream, "_LARGE", 0)


def many(
    seed: int, *, terms: float = 4.0, n: int = 3_000
) -> tuple[Columns, Coefficients, np.ndarray, np.ndarray]:
    """Columns whose terms add up to some size, draws, cells and weights."""
    rng = np.random.default_rng(seed)
    columns = random_columns(rng, n=n, persons=6)
    coefficients = random_coefficients(rng, columns, lead=(DRAWS,))
    cells, weights = rng.integers(20, size=n), 1e4 * rng.gamma(2.0, size=n)
    times = terms / stream._most_terms(columns, coefficients, cells, weights)
    coefficients = replace(
        coefficients,
        persons=times * coefficients.persons,
        only=None if coefficients.only is None else times * coefficients.only,
        attributes=None if coefficients.attributes is None else times * coefficients.attributes,
        effects={by: times * u for by, u in (coefficients.effects or {}).items()},
    )
    assert stream._most_terms(columns, coefficients, cells, weights) == pytest.approx(terms)
    return columns, coefficients, cells, weights


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("terms", [4.0, 31.9])
@pytest.mark.parametrize("seed", range(12))
def test_averages_of_large_problems_are_within_a_millionth(seed: int, terms: float) -> None:
    columns, coefficients, cells, weights = many(seed, terms=terms)
    told = {"cells": cells, "weights": weights}
    exact = stream.average_probabilities(columns, coefficients, precision="double", **told)
    got = stream.average_probabilities(columns, coefficients, **told)
    assert (got != exact).any(), "not in single precision"
    assert np.abs(got - exact).max() < 1e-6
    np.testing.assert_allclose(got.sum(axis=2), 1.0, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("large")
def test_terms_that_cancel_are_summed_in_double_precision() -> None:
    """A year and its square: thousands are taken from thousands."""
    year = np.random.default_rng(0).uniform(1990, 2020, 500)
    columns = Columns(
        n_alternatives=2,
        base=0,
        persons=np.stack([np.ones(500), year, year**2], axis=1),
        only={},
        attributes=None,
        groups={},
    )
    beta = np.array([2005.0**2, -2 * 2005.0, 1.0]) / 100
    coefficients = Coefficients(persons=beta[None, :, None])
    exact = np.mean(1 / (1 + np.exp(-((year - 2005) ** 2) / 100)))
    got = stream.average_probabilities(columns, coefficients)
    assert got[0, 0, 1] == pytest.approx(exact, abs=1e-10)
    rough = stream.average_probabilities(columns, coefficients, precision="single")
    assert abs(rough[0, 0, 1] - exact) > 1e-5


@pytest.mark.usefixtures("large")
def test_a_small_cell_of_large_terms_is_taken_in_double_precision() -> None:
    """Few rows hardly move the average of all, and are a cell's own."""
    columns, coefficients, cells, weights = many(2)
    beta = coefficients.persons.copy()
    beta[:, 1] = -beta[:, 0]
    persons = columns.persons.copy()
    persons[:30, :2] = 900.0 / np.abs(beta[:, 0]).max()
    columns, coefficients = replace(columns, persons=persons), replace(coefficients, persons=beta)
    cells = np.where(np.arange(len(cells)) < 30, 20, cells)
    told = {"cells": cells, "weights": weights}
    everybody = np.zeros_like(cells)
    assert stream._most_terms(columns, coefficients, everybody, weights) < stream._TERMS
    exact = stream.average_probabilities(columns, coefficients, precision="double", **told)
    rough = stream.average_probabilities(columns, coefficients, precision="single", **told)
    assert np.abs(rough - exact).max() > 1e-6
    got = stream.average_probabilities(columns, coefficients, **told)
    np.testing.assert_array_equal(got, exact)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("odd", [1e25, 1e-25])
def test_weights_of_other_worlds_are_taken_in_double_precision(odd: float) -> None:
    columns, coefficients, cells, weights = many(1)
    weights = np.where(cells == 3, weights * odd, weights)
    told = {"cells": cells, "weights": weights}
    exact = stream.average_probabilities(columns, coefficients, precision="double", **told)
    np.testing.assert_array_equal(
        stream.average_probabilities(columns, coefficients, **told), exact
    )


def contrasts(
    columns: Columns, changed: Columns, coefficients: Coefficients, precision: Any, **told: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Averages before and after a change."""
    before, after = (
        stream.average_probabilities(arm, coefficients, precision=precision, **told)
        for arm in (columns, changed)
    )
    return before, after


def relative_errors(
    got: tuple[np.ndarray, np.ndarray], exact: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Of every cell's and alternative's difference, ratio and lift, over its mean size."""
    errors = []
    for contrast in (
        lambda low, high: high - low,
        lambda low, high: high / low,
        lambda low, high: high / low - 1,
    ):
        wanted = contrast(*exact)
        size = np.abs(wanted).mean(axis=0)
        error = np.abs(contrast(*got) - wanted).max(axis=0)
        errors.append(np.divide(error, size, out=np.zeros_like(error), where=size > 0))
    return np.stack(errors)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", [1.0, 1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("where", ["everywhere", "by cell"])
def test_contrasts_of_large_problems_have_three_digits_or_are_seen_to_lack_them(
    seed: int, change: float, where: str
) -> None:
    """Cells that move much are no excuse for those that hardly move."""
    columns, coefficients, cells, weights = many(seed)
    moved = columns.persons.copy()
    sizes = np.array([1.0, change, 0.0])[cells % 3] if where == "by cell" else change
    moved[:, 0] += sizes
    told = {"cells": cells, "weights": weights}
    arms = columns, replace(columns, persons=moved), coefficients
    exact, got = contrasts(*arms, "double", **told), contrasts(*arms, None, **told)
    assert np.abs((got[1] - got[0]) - (exact[1] - exact[0])).max() < 1e-6
    if not stream.digits_would_show(*got, len(cells)):
        assert relative_errors(got, exact).max() < 1e-3


@pytest.mark.usefixtures("large")
def test_digits_that_lack_in_one_cell_or_alternative_are_seen() -> None:
    columns, coefficients, cells, weights = many(2)
    told = {"cells": cells, "weights": weights}

    def would_show(sizes: np.ndarray | float, of: Coefficients = coefficients) -> bool:
        moved = columns.persons.copy()
        moved[:, 0] += sizes
        arms = contrasts(columns, replace(columns, persons=moved), of, None, **told)
        return stream.digits_would_show(*arms, len(cells))

    assert not would_show(np.where(cells == 5, 1.0, 0.0))
    assert would_show(np.where(cells == 5, 1.0, np.where(cells == 6, 1e-5, 0.0)))
    # Nobody's choice, nearly: its differences are small, and its ratios those of small shares.
    rare = coefficients.persons.copy()
    rare[:, 1, 0] -= 20.0
    columns = replace(columns, persons=columns.persons.copy())
    columns.persons[:, 1] = 1.0
    assert would_show(np.where(cells == 5, 1.0, 0.0), replace(coefficients, persons=rare))


@pytest.mark.usefixtures("large")
def test_rows_that_do_not_change_add_nothing_to_a_contrast() -> None:
    columns, coefficients, cells, weights = many(2)
    moved = columns.persons.copy()
    moved[cells == 5] += 1.0
    low, high = (
        stream.average_probabilities(
            replace(columns, persons=persons), coefficients, cells=cells, weights=weights
        )
        for persons in (columns.persons, moved)
    )
    there = np.arange(20) == 5
    assert (low[:, there] != high[:, there]).any()
    np.testing.assert_array_equal(low[:, ~there], high[:, ~there])


# ------------------------------------------------------------------------------ slopes


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("seed", range(15))
def test_slopes_are_those_of_the_probabilities(seed: int) -> None:
    """In double precision however large, also where nothing but a few columns moves."""
    columns, coefficients, p = world(seed)
    rng, n = np.random.default_rng(seed), len(columns.persons)
    cells, weights = rng.integers(3, size=n), rng.random(n)
    moving = replace(
        columns,
        persons=columns.persons * (rng.random(columns.persons.shape[1]) < 0.5),
        only={j: rng.normal(size=block.shape) for j, block in columns.only.items()},
        groups={
            by: (codes, rng.integers(2) * rng.normal(size=terms.shape))
            for by, (codes, terms) in columns.groups.items()
        },
    )
    got = stream.average_slopes(columns, moving, coefficients, cells=cells, weights=weights)
    v = utilities(np, moving, coefficients)
    slopes = p * (v - (p * v).sum(axis=2, keepdims=True))
    for cell in np.unique(cells):
        here = cells == cell
        expected = np.average(slopes[:, here], axis=1, weights=weights[here])
        np.testing.assert_allclose(got[:, cell], expected, rtol=1e-11, atol=1e-13)
