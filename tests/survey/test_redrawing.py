"""Averages over samples: linearised deviations against variances by hand and by replicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesmig.survey.population import weigh_to
from bayesmig.survey.redrawing import Averages, Redrawing
from bayesmig.survey.sampling import Sampling

Array = np.ndarray
DRAWS, ROWS, PSUS = 40_000, 400, 24
STRATA = np.arange(PSUS) % 3


def sampling(fractions: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Sampling:
    rng = np.random.default_rng(0)
    weights = rng.gamma(3.0, 1 / 3, ROWS)
    psus = np.concatenate([np.arange(PSUS), rng.integers(PSUS, size=ROWS - PSUS)])
    within, names = np.arange(ROWS), ("a", "b", "c")
    return Sampling(weights, psus, within, STRATA, names, np.array(fractions), None, None)


def values() -> Array:
    """Two quantities of every row, alike within PSUs; the same in every draw."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(PSUS, 2))[sampling().psus] + rng.normal(size=(ROWS, 2))


def averaged(p: Array, weights: Array) -> Averages:
    def make(cells: Array, part: slice) -> Array:
        mass = np.bincount(cells, weights)
        sums = np.stack([np.bincount(cells, weights * q) for q in p.T], axis=1)
        with np.errstate(invalid="ignore"):
            one = sums / mass[:, None]
        return np.repeat(one[None], len(range(DRAWS)[part]), axis=0)

    return make


def deviations(of: Redrawing, p: Array, cells: Array, weights: Array) -> Array:
    make = averaged(p, weights)
    return of.deviations(make, make(cells, slice(None)), cells, weights)


def linearised(p: Array, cells: Array, w: Array, number: int) -> Array:
    """Weighted residuals of rows for the average over one cell, ``(row, quantity)``."""
    here = cells == number
    mean = np.average(p[here], axis=0, weights=w[here])
    return np.where(here[:, None], w[:, None] * (p - mean), 0.0) / w[here].sum()


def totals(z: Array, psus: Array) -> Array:
    found = np.zeros((PSUS, z.shape[1]))
    np.add.at(found, psus, z)
    return found


@pytest.mark.parametrize("fractions", [(0.0, 0.0, 0.0), (0.5, 0.0, 1.0)])
def test_deviations_have_the_covariance_of_linearisation(
    fractions: tuple[float, float, float],
) -> None:
    of, p = sampling(fractions), values()
    cells = np.random.default_rng(2).integers(2, size=ROWS)
    found = deviations(Redrawing.of(of), p, cells, of.weights)
    assert found.mean(axis=0) == pytest.approx(np.zeros((2, 2)), abs=0.005)
    both = np.concatenate([linearised(p, cells, of.weights, k) for k in (0, 1)], axis=1)
    expected = of.covariance(totals(both, of.psus))
    # Cells and quantities together: one draw of the sample for all.
    assert np.cov(found.reshape(DRAWS, 4), rowvar=False) == pytest.approx(
        expected, abs=0.03 * np.diag(expected).max()
    )


def test_contrasts_are_paired() -> None:
    """What two averages share cancels from their difference, draw by draw."""
    of, p = sampling(), values()
    cells = np.zeros(ROWS, dtype=np.int64)
    one, other = (deviations(Redrawing.of(of), q, cells, of.weights) for q in (p, p + 1.0))
    assert other == pytest.approx(one, abs=1e-12)
    # The negative control: other numbers would leave the spread of both.
    assert one.std() > 0.05


def test_a_cell_within_one_psu_does_not_vary() -> None:
    of = sampling()
    found = deviations(Redrawing.of(of), values(), of.psus, of.weights)
    assert found == pytest.approx(np.zeros_like(found), abs=1e-12)


def replicated(of: Sampling) -> Sampling:
    """The same sample with jackknife replicates of its strata."""
    columns, scales = [], []
    for psu, stratum in enumerate(STRATA):
        inside, m = STRATA[of.psus] == stratum, (stratum == STRATA).sum()
        columns.append(
            np.where(of.psus == psu, 0.0, np.where(inside, m / (m - 1), 1.0)) * of.weights
        )
        scales.append((m - 1) / m)
    return replace(of, replicates=np.stack(columns, axis=1), scales=np.array(scales))


def test_replicates_give_the_variance_of_their_own_averages() -> None:
    of, p = replicated(sampling()), values()
    cells = np.zeros(ROWS, dtype=np.int64)
    by_replicates = Redrawing.of(of)
    assert by_replicates.replicates is not None
    assert by_replicates.replicates.shape == (PSUS, PSUS)
    found = deviations(by_replicates, p, cells, of.weights)[:, 0]
    assert of.replicates is not None and of.scales is not None
    whole = np.average(p, axis=0, weights=of.weights)
    away = np.array([np.average(p, axis=0, weights=w) - whole for w in of.replicates.T])
    expected = np.sqrt(np.square(away).T @ of.scales)
    assert found.std(axis=0) == pytest.approx(expected, rel=0.05)
    linear = deviations(Redrawing.of(sampling()), p, cells, of.weights)[:, 0]
    assert found.std(axis=0) == pytest.approx(linear.std(axis=0), rel=0.03)


@pytest.mark.parametrize("several", [False, True])
def test_what_a_population_table_holds_does_not_vary(several: bool) -> None:
    rng, of = np.random.default_rng(4), sampling()
    frame = pd.DataFrame({"sex": rng.integers(2, size=ROWS), "age": rng.integers(4, size=ROWS)})
    sex = pd.DataFrame({"sex": [0, 1], "count": [300, 700]})
    age = pd.DataFrame({"age": range(4), "count": [100, 200, 300, 400]})
    weights, _, margins = weigh_to(frame, of.weights, [sex, age] if several else sex)
    cells = np.zeros(ROWS, dtype=np.int64)
    known = np.array([[0.1], [0.7]])[frame["sex"]]
    known = known + (np.arange(4)[frame["age"]][:, None] if several else 0.0)
    calibrated = replace(Redrawing.of(of), margins=margins)
    found = deviations(calibrated, known, cells, weights)
    assert found == pytest.approx(np.zeros_like(found), abs=1e-9)
    # The negative control: without the table it varies.
    assert deviations(Redrawing.of(of), known, cells, weights).std() > 0.01
    # Of what varies beside it, the residual is left: regressed by hand.
    p = values()[:, :1] + known
    x = np.concatenate([np.eye(width)[frame[c]] for c, width in (("sex", 2), ("age", 4))], axis=1)
    x = x if several else x[:, :2]
    root = np.sqrt(weights)[:, None]
    z = p - np.average(p, axis=0, weights=weights)
    slopes = np.linalg.lstsq(root * x, root * z, rcond=None)[0]
    left = weights[:, None] * (z - x @ slopes) / weights.sum()
    expected = np.sqrt(of.covariance(totals(left, of.psus))[0, 0])
    assert deviations(calibrated, p, cells, weights).std() == pytest.approx(expected, rel=0.03)


def test_it_is_kept_with_the_draws() -> None:
    for of in (Redrawing.of(sampling((0.5, 0.1, 0.0))), Redrawing.of(replicated(sampling()))):
        again = Redrawing.from_dataset(of.to_dataset())
        assert (again.multipliers(7) == of.multipliers(7)).all()
        assert (again.units == of.units).all()
