"""Smoothed weights and the shape of their tail are ArviZ's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayesmig.inference.pareto import smoothed, smoothed_units
from bayesmig.model_comparison.psis import tail_length


@pytest.mark.parametrize("draws", [100, 226, 1000, 4000])
@pytest.mark.parametrize("spread", [0.05, 1.0, 4.0])
def test_they_are_those_of_arviz(draws: int, spread: float) -> None:
    from arviz_stats.base.array import array_stats

    rng = np.random.default_rng(draws)
    for log_weights in (
        rng.normal(size=draws),
        rng.standard_exponential(draws),
        np.log(rng.random(draws)),
        rng.standard_t(3, draws),
    ):
        mine, k = smoothed(spread * log_weights)
        theirs, k_of_theirs = array_stats.psislw(-spread * log_weights)
        np.testing.assert_allclose(mine, theirs - np.logaddexp.reduce(theirs), atol=1e-10)
        assert k == pytest.approx(float(k_of_theirs), rel=1e-9)


@pytest.mark.parametrize("draws", [226, 1000])
def test_weights_of_many_units_are_those_of_arviz(draws: int) -> None:
    from arviz_stats.base.array import array_stats

    rng = np.random.default_rng(draws)
    log_weights = np.stack([rng.normal(size=draws), 3 * rng.normal(size=draws), np.zeros(draws)])
    smooth, k = smoothed_units(log_weights, tail_length(draws, 1.0))
    weights = np.exp(smooth - np.logaddexp.reduce(smooth, axis=1, keepdims=True))
    for row in range(2):
        theirs, k_of_theirs = array_stats.psislw(-log_weights[row])
        expected = np.exp(theirs - np.logaddexp.reduce(theirs))
        np.testing.assert_allclose(weights[row], expected, atol=1e-12)
        assert k[row] == pytest.approx(float(k_of_theirs), rel=1e-9)
    np.testing.assert_allclose(weights[2], 1 / draws)
    assert k[2] == 0.0


def test_weights_that_do_not_vary_have_no_tail() -> None:
    """They are as good as draws without weights."""
    log_weights, k = smoothed(np.full(500, 3.0))
    assert k == 0.0
    np.testing.assert_allclose(np.exp(log_weights), 1 / 500)


def test_a_weight_that_outdoes_all_others_is_never_relied_on() -> None:
    """The others are zero in its units, and their tail cannot be fitted."""
    log_weights = np.append(np.random.default_rng(0).normal(-2000.0, 1.0, 499), 0.0)
    assert smoothed(log_weights)[1] == np.inf


@pytest.mark.parametrize("k", [0.2, 0.8])
def test_the_shape_of_a_known_tail_is_found(k: float) -> None:
    """The wrong sign of log weights would find a light tail in both."""
    rng = np.random.default_rng(3)
    weights = stats.genpareto.rvs(k, size=20_000, random_state=rng)
    log_weights, found = smoothed(np.log(weights))
    assert found == pytest.approx(k, abs=0.12)
    assert np.exp(log_weights).sum() == pytest.approx(1)
    assert smoothed(np.log(weights) + 700.0)[1] == pytest.approx(found)


def test_weights_that_are_no_numbers_are_never_relied_on() -> None:
    rng = np.random.default_rng(0)
    for bad in (np.nan, np.inf, -np.inf):
        log_weights = rng.normal(size=500)
        log_weights[3] = bad
        assert smoothed(log_weights)[1] == np.inf
    assert smoothed(rng.normal(size=50))[1] == np.inf
