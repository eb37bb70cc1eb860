"""Averages over samples, against variances by hand, by replicates and over drawn samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import QuestionError
from bayesmig.survey import redrawing as room
from bayesmig.survey.population import weigh_to
from bayesmig.survey.redrawing import Averages, Redrawing
from bayesmig.survey.sampling import Sampling

Array = np.ndarray
DRAWS, ROWS, PSUS = 20_000, 600, 60
STRATA = np.arange(PSUS) % 3
CELL = np.zeros(ROWS, dtype=np.int64)


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


def averages(
    of: Redrawing, p: Array, cells: Array, weights: Array, margins: tuple[Array, ...] = ()
) -> Array:
    return of.averages(averaged(p, weights), cells, weights, DRAWS, margins)


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
def test_averages_have_the_covariance_of_linearisation(
    fractions: tuple[float, float, float],
) -> None:
    of, p = sampling(fractions), values()
    cells = np.random.default_rng(2).integers(2, size=ROWS)
    found = averages(Redrawing.of(of), p, cells, of.weights)
    plain = averaged(p, of.weights)(cells, slice(1))[0]
    both = np.concatenate([linearised(p, cells, of.weights, k) for k in (0, 1)], axis=1)
    expected = of.covariance(totals(both, of.psus))
    sd = np.sqrt(np.diag(expected))
    assert (found.mean(axis=0) - plain).ravel() == pytest.approx(np.zeros(4), abs=0.1 * sd.max())
    # Cells and quantities together: one draw of the sample for all. Ratios are not linear.
    assert np.cov(found.reshape(DRAWS, 4), rowvar=False) / np.outer(sd, sd) == pytest.approx(
        expected / np.outer(sd, sd), abs=0.06
    )


def test_two_units_of_a_stratum_vary_as_much_as_the_design_says() -> None:
    strata = np.repeat(np.arange(30), 2)
    of = replace(sampling(), strata=strata, names=tuple("s" * 30), fractions=np.zeros(30))
    p = values()
    found = averages(Redrawing.of(of), p, CELL, of.weights)[:, 0]
    expected = np.diag(of.covariance(totals(linearised(p, CELL, of.weights, 0), of.psus)))
    assert found.std(axis=0) == pytest.approx(np.sqrt(expected), rel=0.08)
    counts = Redrawing.of(of).multipliers(500)
    assert counts.reshape(500, 30, 2).sum(axis=2) == pytest.approx(np.full((500, 30), 2.0))


def test_contrasts_are_paired_and_stay_in_range() -> None:
    """What two averages share cancels from their difference, draw by draw; signs are kept."""
    of, p = sampling(), values()
    one, other = (averages(Redrawing.of(of), q, CELL, of.weights) for q in (p, p + 1.0))
    assert other - one == pytest.approx(np.ones_like(one))
    assert one.std() > 0.05
    # Only people of three PSUs change, and only upwards; shares sum to one.
    before = np.random.default_rng(3).dirichlet((8.0, 1.0, 0.1), ROWS)
    after = before.copy()
    reached = of.psus < 3
    after[reached, 1] += 0.5 * after[reached, 0]
    after[reached, 0] *= 0.5
    low, high = (averages(Redrawing.of(of), q, CELL, of.weights) for q in (before, after))
    assert (high[..., 1] > low[..., 1]).all()
    assert ((low > 0) & (low < 1)).all()
    assert low.sum(axis=2) == pytest.approx(np.ones((DRAWS, 1)))


def test_a_cell_within_one_psu_does_not_vary() -> None:
    of, p = sampling(), values()
    found = averages(Redrawing.of(of), p, of.psus, of.weights)
    assert found[:3] == pytest.approx(averaged(p, of.weights)(of.psus, slice(3)))
    assert np.ptp(found, axis=0).max() == 0


def replicated(of: Sampling, decimals: int = 15) -> Sampling:
    """The same sample with jackknife replicates of its strata."""
    columns, scales = [], []
    for psu, stratum in enumerate(STRATA):
        inside, m = STRATA[of.psus] == stratum, (stratum == STRATA).sum()
        factor = np.where(of.psus == psu, 0.0, np.where(inside, m / (m - 1), 1.0))
        columns.append((factor * of.weights).round(decimals))
        scales.append((m - 1) / m)
    return replace(of, replicates=np.stack(columns, axis=1), scales=np.array(scales))


def test_replicates_give_the_variance_of_their_own_averages() -> None:
    of, p = replicated(sampling()), values()
    found = averages(Redrawing.of(of), p, CELL, of.weights)[:, 0]
    assert of.replicates is not None and of.scales is not None
    whole = np.average(p, axis=0, weights=of.weights)
    away = np.array([np.average(p, axis=0, weights=w) - whole for w in of.replicates.T])
    expected = np.sqrt(np.square(away).T @ of.scales)
    assert found.std(axis=0) == pytest.approx(expected, rel=0.08)


def test_rounded_replicate_weights_have_the_degrees_of_freedom_of_exact_ones() -> None:
    assert replicated(sampling()).degrees_of_freedom == PSUS - 3
    assert replicated(sampling(), decimals=4).degrees_of_freedom == PSUS - 1
    # Their last digits are noise below a hundred-thousandth of the weights only.
    assert replicated(sampling(), decimals=7).degrees_of_freedom == PSUS - 3


def test_many_units_are_put_together_and_vary_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    of = replace(sampling(), psus=np.arange(ROWS), strata=np.arange(ROWS) % 3)
    p = values()
    whole = averages(Redrawing.of(of), p, CELL, of.weights)
    monkeypatch.setattr(room, "MOST_UNITS", 150)
    fewer = Redrawing.of(of)
    assert len(fewer.strata) == 150
    assert (fewer.strata[fewer.units] == of.strata).all()
    found = averages(fewer, p, CELL, of.weights)
    assert found.std(axis=0) == pytest.approx(whole.std(axis=0), rel=0.2)


@pytest.mark.parametrize("several", [False, True])
def test_what_a_population_table_holds_does_not_vary(several: bool) -> None:
    rng, of = np.random.default_rng(4), sampling()
    frame = pd.DataFrame({"sex": rng.integers(2, size=ROWS), "age": rng.integers(4, size=ROWS)})
    sex = pd.DataFrame({"sex": [0, 1], "count": [300, 700]})
    age = pd.DataFrame({"age": range(4), "count": [100, 200, 300, 400]})
    weights, _, margins = weigh_to(frame, of.weights, [sex, age] if several else sex)
    known = np.array([[0.1], [0.7]])[frame["sex"]]
    known = known + (np.arange(4)[frame["age"]][:, None] if several else 0.0)
    redrawn = Redrawing.of(of)
    found = averages(redrawn, known, CELL, weights, margins)
    assert np.ptp(found) < 1e-5
    # The negative control: without the table it varies.
    assert averages(redrawn, known, CELL, weights).std() > 0.01
    # Of what varies beside it, the residual is left: regressed by hand.
    p = values()[:, :1] + known
    x = np.concatenate([np.eye(width)[frame[c]] for c, width in (("sex", 2), ("age", 4))], axis=1)
    x = x if several else x[:, :2]
    root = np.sqrt(weights)[:, None]
    z = p - np.average(p, axis=0, weights=weights)
    slopes = np.linalg.lstsq(root * x, root * z, rcond=None)[0]
    left = weights[:, None] * (z - x @ slopes) / weights.sum()
    expected = np.sqrt(of.covariance(totals(left, of.psus))[0, 0])
    assert averages(redrawn, p, CELL, weights, margins).std() == pytest.approx(expected, rel=0.06)


def test_parameters_and_samples_go_together() -> None:
    """A mean that is estimated from the units, and the same units' composition."""
    of, p = sampling(), values()
    w, plain = of.weights, Redrawing.of(of)
    # An estimate that is the weighted mean of the first quantity: its score is what units add.
    score = totals(linearised(p[:, :1], CELL, w, 0), of.psus)
    told = plain.loadings(score, of)
    variance = (told.T @ told)[0, 0]
    assert variance == pytest.approx(of.covariance(score)[0, 0])
    away = np.random.default_rng(7).normal(0, np.sqrt(variance), (DRAWS, 1))
    linked = replace(plain, told=told, rest=np.zeros((1, 1)), away=away)
    both = linked.multipliers(DRAWS)
    # The composition of the very quantity is the estimate's own deviation.
    composed = averages(linked, p[:, :1], CELL, w)[:, 0, 0]
    # Made from normal numbers, what is not normal keeps nine tenths of a correlation.
    assert np.corrcoef(composed, away[:, 0])[0, 1] > 0.88
    assert composed.std() == pytest.approx(np.sqrt(variance), rel=0.06)
    assert both.mean() == pytest.approx(1.0, abs=1e-9)
    # The negative control: drawn on their own they do not go together.
    alone = averages(plain, p[:, :1], CELL, w)[:, 0, 0]
    assert abs(np.corrcoef(alone, away[:, 0])[0, 1]) < 0.03


def test_it_is_kept_with_the_draws() -> None:
    known = {"told": np.ones((PSUS, 1)), "rest": np.ones((1, 1)), "away": np.zeros((7, 1))}
    for of in (Redrawing.of(sampling((0.5, 0.1, 0.0))), Redrawing.of(replicated(sampling()))):
        for one in (of, replace(of, **known)):
            again = Redrawing.from_dataset(one.to_dataset())
            assert (again.multipliers(7) == one.multipliers(7)).all()
            assert (again.units == one.units).all()


def test_samples_that_cannot_be_raked_are_refused() -> None:
    """Of two parts, one in the first cell of both margins: the margins must agree, and do not."""
    counts, part = np.array([[3.0, 7.0], [5.0, 5.0]]), np.array([0, 1])
    agree = [(part, np.array([20.0, 80.0])), (part, np.array([20.0, 80.0]))]
    np.testing.assert_allclose(room._calibrated(counts, agree), [[20, 80], [20, 80]])
    differ = [(part, np.array([20.0, 80.0])), (part, np.array([30.0, 70.0]))]
    with pytest.raises(QuestionError, match=r"in 2 of 2 redrawn samples .* up to 10.0 % of its"):
        room._calibrated(counts, differ)
