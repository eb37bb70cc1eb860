"""Intervals of a pseudo-posterior under an informative, clustered design."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.optimize import minimize

import bayesmig as bm
from bayesmig.inference import sampling_correction as room
from bayesmig.inference.density import Density
from bayesmig.simulation.sampling import draw_sample
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import read_survey
from tests.fabricate import ALTERNATIVES, theory

REPLICATIONS, MASS = 300, 0.9
#: By how much the coverage of a correction of first order may be off.
ALLOWED = 0.03
PLACES, PER_PLACE = 800, 60


def people(seed: int = 0) -> pd.DataFrame:
    """A population in places whose people are alike for reasons that no theory has."""
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(PLACES), PER_PLACE)
    female = rng.integers(2, size=len(place))
    wealth = rng.normal(size=len(place)) + rng.normal(0, 0.5, PLACES)[place]
    odds = rng.normal(0, [0.8, 1.0], (PLACES, 2))[place] + np.array([-0.8, -1.4])
    odds += np.outer(female, [0.4, -0.6]) + np.outer(wealth, [0.2, 0.5])
    utility = np.column_stack([np.zeros(len(place)), odds]) + rng.gumbel(size=(len(place), 3))
    return pd.DataFrame(
        {
            "choice": np.array(ALTERNATIVES)[utility.argmax(axis=1)],
            "place": [f"p{g:03d}" for g in place],
            "female": female,
            "wealth": wealth.round(1),
        }
    )


def census(population: pd.DataFrame) -> np.ndarray:
    """The logit's coefficients of the whole population, ``(coefficient, nonbase)``."""
    x = np.column_stack([np.ones(len(population)), population[["female", "wealth"]]])
    y = np.stack([population["choice"] == a for a in ALTERNATIVES], axis=1).astype(float)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        v = np.column_stack([np.zeros(len(x)), x @ flat.reshape(3, 2)])
        p = np.exp(v - v.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return -float((y * np.log(p)).sum()), -(x.T @ (y - p)[:, 1:]).ravel()

    return np.asarray(minimize(loss, np.zeros(6), jac=True, method="BFGS").x.reshape(3, 2))


def sample(population: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Places and people drawn by what was chosen."""
    return draw_sample(
        population,
        psu="place",
        psus=100,
        persons=10,
        seed=seed,
        favour={"internal": 2.0, "international": 4.0},
        favour_places={"international": 3.0},
    )


@dataclass(frozen=True)
class Covered:
    """Whether intervals hold the population's values: six coefficients, three shares."""

    corrected: np.ndarray
    uncorrected: np.ndarray
    unweighted: np.ndarray


def spec(weights: str) -> ModelSpec:
    return theory("female + wealth", groups=[], weights=weights)


def replicate(
    population: pd.DataFrame, truth: np.ndarray, shares: np.ndarray, seed: int
) -> Covered:
    drawn = sample(population, seed)
    survey = read_survey(
        drawn,
        {"choice": "choice", "weight": "weight", "psu": "psu"},
        alternatives={a: a for a in ALTERNATIVES},
    )
    options = {"seed": seed, "chains": 2, "draws": 500, "progress": False}
    moved = bm.fit(spec("pseudo"), survey, **options)
    plain = bm.fit(spec("ignore"), survey, **options)
    table = population.groupby("female").size().rename("count").reset_index()
    found = [holds(posterior, table, truth, shares) for posterior in (moved, before(moved), plain)]
    return Covered(*found)


def before(posterior: bm.Posterior) -> bm.Posterior:
    """The same draws without the correction."""
    known, density = posterior.data["sampling"].to_dataset(), Density(posterior.design)
    draws = posterior.draws
    theta, mean = room.theta_of(density, draws), known["mean"].to_numpy()
    back = np.linalg.inv(
        np.linalg.solve(
            np.linalg.cholesky(known["covariance"].to_numpy()).T,
            np.linalg.cholesky(known["covariance_corrected"].to_numpy()).T,
        )
    )
    tree = posterior.data.copy()
    tree["posterior"] = xr.DataTree(
        room._moved(density, draws, theta, mean + (theta - mean) @ back)
    )
    return replace(posterior, data=tree)


def holds(
    posterior: bm.Posterior, table: pd.DataFrame, truth: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    beta = posterior.draws["beta"].to_numpy().reshape(-1, 6)
    answer = bm.predictions(posterior, population=table, allow_unconverged=True)
    draws = np.concatenate([beta, answer.draws.to_numpy().reshape(len(beta), -1)], axis=1)
    low, high = np.quantile(draws, [(1 - MASS) / 2, (1 + MASS) / 2], axis=0)
    values = np.concatenate([truth.ravel(), shares])
    return (low <= values) & (values <= high)


@pytest.mark.slow
def test_corrected_intervals_cover_the_finite_population() -> None:
    population = people()
    truth = census(population)
    shares = population["choice"].value_counts(normalize=True)[list(ALTERNATIVES)].to_numpy()
    found = [replicate(population, truth, shares, seed) for seed in range(REPLICATIONS)]
    corrected, uncorrected, unweighted = (
        np.mean([getattr(of, name) for of in found], axis=0)
        for name in ("corrected", "uncorrected", "unweighted")
    )
    assert corrected.mean() == pytest.approx(MASS, abs=ALLOWED)
    # Each of them too, within what chance does at the edges of that: one run in 1,000 at most.
    error = 0.001 / (2 * len(corrected))
    low, high = (
        stats.binom.ppf(q, REPLICATIONS, p) / REPLICATIONS
        for q, p in ((error, MASS - ALLOWED), (1 - error, MASS + ALLOWED))
    )
    assert ((low <= corrected) & (corrected <= high)).all(), corrected
    # Negative controls: without the correction, and without the weights.
    assert uncorrected.mean() < MASS - 0.1
    assert unweighted.mean() < MASS - 0.1
    # Constants and shares suffer most: places differ in them.
    assert (uncorrected < corrected - 0.05)[[0, 1, 6, 7, 8]].all()


def shares_hold(posterior: bm.Posterior, values: np.ndarray, **options: object) -> np.ndarray:
    """Whether intervals of the population's shares hold them."""
    answer = bm.predictions(posterior, allow_unconverged=True, **options)  # type: ignore[arg-type]
    draws = answer.draws.to_numpy().reshape(-1, len(values))
    low, high = np.quantile(draws, [(1 - MASS) / 2, (1 + MASS) / 2], axis=0)
    return np.asarray((low <= values) & (values <= high))


def in_regions(population: pd.DataFrame) -> pd.DataFrame:
    """The same people in 20 regions that differ, of 40 places each whose people are alike."""
    rng, code = np.random.default_rng(5), population["place"].str[1:].astype(int).to_numpy()
    odds = rng.normal(0, [0.7, 0.9], (20, 2))[code % 20] + rng.normal(0, 0.6, (PLACES, 2))[code]
    odds += np.array([-0.8, -1.4]) + np.outer(population["female"], [0.4, -0.6])
    odds += np.outer(population["wealth"], [0.2, 0.5])
    utility = np.column_stack([np.zeros(len(code)), odds]) + rng.gumbel(size=(len(code), 3))
    chosen = np.array(ALTERNATIVES)[utility.argmax(axis=1)]
    return population.assign(choice=chosen, region=[f"r{c % 20:02d}" for c in code])


@pytest.mark.slow
@pytest.mark.parametrize("by", ["psu", "region"])
def test_shares_of_theories_with_groups_cover_the_population(by: str) -> None:
    """Groups that are the PSUs, and groups that hold several PSUs, whose people are alike.

    In the second, PSUs are drawn by what their people chose, so that what a PSU adds to its
    group's effect and what it adds to the composition go together, which costs coverage.
    """
    population = people() if by == "psu" else in_regions(people())
    shares = population["choice"].value_counts(normalize=True)[list(ALTERNATIVES)].to_numpy()
    spec = theory("female + wealth", groups=[{"by": "origin"}], weights="pseudo")
    of_population, of_sample = [], []
    for seed in range(REPLICATIONS):
        drawn = sample(population, seed)
        drawn["psu"] = drawn["psu"].map("d{:03d}".format)
        roles = {"choice": "choice", "weight": "weight", "psu": "psu", "origin": by}
        survey = read_survey(drawn, roles, alternatives={a: a for a in ALTERNATIVES})
        fit = bm.fit(spec, survey, seed=seed, chains=2, draws=500, progress=False)
        of_population.append(shares_hold(fit, shares))
        # The negative control: the people asked are taken for all.
        of_sample.append(shares_hold(fit, shares, newdata=fit.frame))
    assert np.mean(of_population) == pytest.approx(MASS, abs=ALLOWED), np.mean(of_sample)
    assert np.mean(of_sample) < np.mean(of_population) - 0.04, np.mean(of_population)


@pytest.mark.slow
def test_where_the_model_holds_nothing_moves() -> None:
    """Places drawn with one probability, their effects in the theory: design effects are one."""
    rng, found = np.random.default_rng(0), []
    for seed in range(40):
        place = np.repeat(np.arange(80), 15)
        wealth = rng.normal(size=len(place))
        odds = rng.normal(0, [0.7, 0.9], (80, 2))[place] + np.array([-0.8, -1.0])
        odds += np.outer(wealth, [0.2, 0.5])
        utility = np.column_stack([np.zeros(len(place)), odds]) + rng.gumbel(size=(len(place), 3))
        frame = pd.DataFrame({"wealth": wealth, "weight": 1.0, "place": place})
        survey = read_survey(
            frame.assign(choice=np.array(ALTERNATIVES)[utility.argmax(axis=1)]),
            {"choice": "choice", "weight": "weight", "psu": "place", "origin": "place"},
            alternatives={a: a for a in ALTERNATIVES},
        )
        grouped = theory("wealth", groups=[{"by": "origin"}], weights="pseudo")
        fit = bm.fit(grouped, survey, seed=seed, chains=2, draws=500, progress=False)
        found.append(fit.data["sampling"]["design_effect"].to_numpy())
    means = np.mean(found, axis=0)
    assert means[:4] == pytest.approx(np.ones(4), abs=0.12)
    # Scales and correlations are never made surer, so that their means lie above one.
    assert (means[4:] < 1.5).all()
    # The negative control: without effects of places, the same places widen constants much.
    plain = theory("wealth", groups=[], weights="pseudo")
    fit = bm.fit(plain, survey, seed=1, chains=2, draws=500, progress=False)
    assert (fit.data["sampling"]["design_effect"].to_numpy()[:2] > 2).all()
