"""Simulation-based calibration: bands against simulation and ArviZ, ranks against loops."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import bayesmig as bm
from bayesmig.errors import InferenceError, QuestionError
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.simulated import as_posterior, simulated
from bayesmig.inference.stream import mean_probabilities
from bayesmig.sbc import LIKELIHOOD, _counts, _holm, _least_tails, calibrate, of_ranks, ranks
from tests.fabricate import fabricated, small_design, small_frame, survey_of, theory

PRIORS = {"asc": {"loc": -0.5, "scale": 1.0}, "persons": {"scale": 1.0, "per": "unit"}}


def table(uniform: np.ndarray, draws: int = 63) -> xr.DataArray:
    """Ranks among so many draws, of numbers between 0 and 1."""
    found = np.floor(uniform * (draws + 1)).astype(int)
    names = [f"p{k}" for k in range(uniform.shape[1])]
    return xr.DataArray(
        found, dims=("world", "parameter"), coords={"parameter": names}, attrs={"draws": draws}
    )


def test_uniform_ranks_pass_as_often_as_stated() -> None:
    rng = np.random.default_rng(1)
    failed = sum(not of_ranks(table(rng.random((60, 8))), seed=k).passed for k in range(80))
    # At 5 %, nine in eighty come up about twice in a hundred times.
    assert failed <= 8


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda u: u**1.6, "too high"),
        (lambda u: stats.norm.cdf(1.8 * stats.norm.ppf(u)), "mean rank"),
    ],
    ids=["shifted", "too narrow"],
)
def test_wrong_ranks_fail(wrong: object, words: str) -> None:
    uniform = np.random.default_rng(2).random((150, 8))
    uniform[:, 3] = wrong(uniform[:, 3])  # type: ignore[operator]
    found = of_ranks(table(uniform))
    assert not found.passed
    assert found.summary["parameter"][0] == "p3"
    assert list(found.summary.loc[~found.summary["passed"], "parameter"]) == ["p3"]
    assert words in found.text


def test_bands_hold_all_curves_at_once_and_are_those_of_arviz() -> None:
    from arviz_stats.ecdf_utils import simulate_confidence_bands

    rng = np.random.default_rng(3)
    n = 50
    null = _least_tails(rng.random((20_000, n)))
    level = np.quantile(null, 0.05)
    theirs = simulate_confidence_bands(n, 1, np.arange(1, n) / n, 0.95, 4000, rng)
    assert 1 - level == pytest.approx(theirs, abs=2e-3)
    curves = of_ranks(table(rng.random((n, 200)), draws=9999)).ecdf
    outside = (curves["difference"] < curves["lower"]) | (curves["difference"] > curves["upper"])
    # The bands are for all 200 together.
    assert outside.groupby(curves["parameter"]).any().sum() <= 1


def test_one_wrong_quantity_of_two_thousand_is_found() -> None:
    ranks_ = np.random.default_rng(5).random((40, 2000))
    assert of_ranks(table(ranks_, draws=9999)).passed
    ranks_[:, 7] = 0.02 + 0.1 * ranks_[:, 7]
    found = of_ranks(table(ranks_, draws=9999))
    assert not found.passed
    assert found.summary["passed"].sum() == 1999


def test_counts_are_those_of_loops() -> None:
    uniform = np.random.default_rng(4).random((3, 37))
    points = np.arange(1, 37) / 37
    by_hand = [[sum(u < x for u in row) for x in points] for row in uniform]
    assert _counts(uniform).tolist() == by_hand


def test_holm_is_that_of_loops() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.5])
    assert _holm(p) == pytest.approx([0.04, 0.09, 0.09, 0.5])


def test_ranks_are_those_of_loops() -> None:
    design = small_design("female", priors=PRIORS)
    posterior = fabricated(design, chains=1, draws=60)
    truth = prior_draws(design, seed=1, draws=1)
    found = ranks(posterior, truth, 3, effects=True)
    draws = posterior.draws
    name = next(n for n in found if n.startswith("beta[female"))
    values = draws["beta"].to_numpy()[0, ::3]
    k = list(design.persons).index("female")
    assert found[name] == int((values[:, k, 0] < truth["beta"].to_numpy()[0, 0, k, 0]).sum())
    assert sum(n.startswith("corr_") for n in found) == 1
    assert sum(n.startswith("u_") for n in found) == 24
    assert LIKELIHOOD in found
    assert not any(n.startswith("u_") for n in ranks(posterior, truth, 3))


def test_simulated_choices_follow_their_probabilities() -> None:
    design = small_design("female", priors=PRIORS)
    truth = prior_draws(design, seed=5, draws=3)
    made = list(simulated(design, truth, 7))
    again = list(simulated(design, truth, 7))
    assert [m.choice.tolist() for m in made] == [m.choice.tolist() for m in again]
    for k, world in enumerate(made):
        one = as_posterior(design, truth.isel(draw=[k]))
        shares = np.bincount(world.choice, minlength=3) / design.n_obs
        p = mean_probabilities(design.columns, one.coefficients())
        error = np.sqrt((p * (1 - p)).sum(axis=0)) / design.n_obs
        assert (np.abs(shares - p.mean(axis=0)) < 4 * error + 1e-9).all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"worlds": 5}, "worlds must be a whole number of at least 20"),
        ({"seed": -1}, "seed must be"),
        ({"thin": 500}, "at least 10 are needed"),
        ({"chains": 2}, "no option 'chains'"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, int], words: str) -> None:
    survey = survey_of(small_frame(90, origins=6))
    with pytest.raises(QuestionError, match=words):
        calibrate(theory("female"), survey, **{"seed": 1, **wrong})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"method": "nust"}, "did you mean 'nuts'"),
        ({"precision": "sngle"}, "did you mean 'single'"),
        ({"tune": -3}, "tune must be"),
        ({"method": "preview", "tune": 100}, "does not apply"),
        ({"target_accept": 2.0}, "between 0 and 1"),
    ],
)
def test_options_of_fits_are_refused_as_fits_refuse_them(wrong: dict[str, Any], words: str) -> None:
    survey = survey_of(small_frame(90, origins=6))
    with pytest.raises(InferenceError, match=words):
        calibrate(theory("female"), survey, **{"seed": 1, **wrong})


def test_a_preview_of_a_small_survey_is_calibrated() -> None:
    """Twenty worlds in seconds: the call as a whole; `tests/recovery` asks of more."""
    survey = survey_of(small_frame(90, origins=6))
    found = bm.calibrate(
        theory("female", priors=PRIORS, groups=[]),
        survey,
        seed=1,
        worlds=20,
        method="preview",
        draws=640,
        thin=10,
        progress=False,
    )
    assert found.ranks.shape == (20, 5)
    assert found.passed, found.text
    assert all("preview" in route for route in found.routes)
