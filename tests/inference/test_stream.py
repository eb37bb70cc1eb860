"""Streamed probabilities: those of `bayesmig.choice`, whatever the blocks and threads."""

from __future__ import annotations

import os

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


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, coefficients, _ = world(1)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        found.append(stream.average_probabilities(columns, coefficients))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
