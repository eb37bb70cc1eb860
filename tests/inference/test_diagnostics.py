"""Diagnostics of many parameters at once are ArviZ's of each."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

from bayesmig.inference.diagnostics import chain_numbers, diagnose_weighted


def chains(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Draws of all sorts, ``(parameter, chain, draw)``."""
    rng = np.random.default_rng(seed)
    made = []
    for slowness in (0.0, 0.0, 0.3, 0.9, 0.99, -0.5, -0.95):
        x = rng.normal(size=shape)
        for t in range(1, shape[1]):
            x[:, t] += slowness * x[:, t - 1]
        made.append(x)
    one = made[0]
    stuck, apart, broken = one.copy(), one.copy(), one.copy()
    stuck[-1], broken[0, 3] = 0.3, np.nan
    apart[0] += 3.0
    made += [one.round(1), np.exp(3 * one), (one > 1) * 1.0, stuck, apart, broken, one * 0 + 1.0]
    return np.array(made)


def by_arviz(values: np.ndarray) -> list[float]:
    from arviz_stats.base.array import array_stats

    if not np.ptp(values) > 0:
        return [np.nan] * 3
    of = {"chain_axis": 0, "draw_axis": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            float(array_stats.rhat(values, **of)) if len(values) > 1 else np.nan,
            float(array_stats.ess(values, method="bulk", **of)),
            float(array_stats.ess(values, method="tail", prob=(0.05, 0.95), **of)),
        ]


@pytest.mark.parametrize("shape", [(4, 400), (2, 251), (1, 300), (4, 11), (3, 10)])
def test_numbers_are_those_of_arviz(shape: tuple[int, int]) -> None:
    values = chains(shape)
    np.testing.assert_allclose(
        chain_numbers(values), np.array([by_arviz(v) for v in values]).T, rtol=1e-9
    )


def test_no_parameter_has_no_numbers() -> None:
    assert chain_numbers(np.zeros((0, 4, 100))).shape == (3, 0)


def test_weights_make_draws_worth_less() -> None:
    rng = np.random.default_rng(1)
    draws = xr.Dataset({"beta": (("chain", "draw", "k"), rng.normal(size=(1, 4000, 2)))})
    draws = draws.assign_coords(k=["a", "b"])
    weight = np.exp(0.8 * draws["beta"].to_numpy()[0, :, 0])
    even = diagnose_weighted(draws, np.full(4000, 1 / 4000), 0.0, 4000.0)
    uneven = diagnose_weighted(draws, weight / weight.sum(), 0.0, 2000.0)
    np.testing.assert_allclose(even["ess_bulk"], 4000)
    np.testing.assert_allclose(even["ess_tail"], 4000, rtol=1e-6)
    # Weights that lean on the first parameter count for both, and more for its upper tail.
    assert float(uneven["ess_bulk"].max()) < 3000
    assert uneven["ess_tail"].to_numpy()[0] < uneven["ess_tail"].to_numpy()[1]
