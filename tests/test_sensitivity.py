"""Overlap and power-scaling against closed forms, and in worlds where data say little."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayesmig import hypotheses
from bayesmig.checks.prior_sensitivity import prior_sensitivity
from bayesmig.design.design import build_design
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.routes import fit
from bayesmig.posterior import Posterior, load
from bayesmig.predict import log_likelihood
from bayesmig.sensitivity import (
    LEANS,
    OVERLAP,
    RULE,
    SENSITIVE,
    UNKNOWN,
    WEAK,
    _sensitivity,
    _words,
    identification,
    of_answers,
    overlap,
    power_scaling,
    scaled_words,
)
from bayesmig.survey.survey import Survey
from tests.checks.worlds import laplace
from tests.fabricate import fabricated, small_design, small_frame, small_survey, survey_of, theory

# -------------------------------------------------------------------------- overlap


def shared_by_normals(ratio: float) -> float:
    """Mass shared by two normal distributions of one centre; ratio of their sds below 1."""
    cross = math.sqrt(2 * math.log(1 / ratio) / (1 / ratio**2 - 1))
    wide, narrow = stats.norm.cdf(cross), stats.norm.cdf(cross / ratio)
    return float(2 * wide - 1 + 2 * (1 - narrow))


@pytest.mark.parametrize("ratio", [0.9, 0.71, 0.5, 0.35, 0.2])
def test_overlap_of_normals_of_one_centre(ratio: float) -> None:
    rng = np.random.default_rng(1)
    found = overlap(ratio * rng.normal(size=4000), rng.normal(size=1000))
    assert found == pytest.approx(shared_by_normals(ratio), abs=0.06)


@pytest.mark.parametrize("apart", [0.5, 1.0, 2.0, 4.0])
def test_overlap_of_normals_that_are_apart(apart: float) -> None:
    rng = np.random.default_rng(2)
    found = overlap(apart + rng.normal(size=4000), rng.normal(size=1000))
    assert found == pytest.approx(2 * stats.norm.cdf(-apart / 2), abs=0.05)


def test_overlap_does_not_depend_on_the_scale_nor_on_tails() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(0.5, 0.7, 2000), rng.normal(size=500)
    assert overlap(np.sinh(5 * one), np.sinh(5 * other)) == overlap(one, other)


def test_overlap_of_what_has_no_value_or_does_not_vary() -> None:
    normal = np.random.default_rng(4).normal(size=400)
    assert math.isnan(overlap(np.r_[normal, np.nan], normal))
    assert overlap(normal, np.r_[normal, np.nan]) == pytest.approx(1.0, abs=0.02)
    assert math.isnan(overlap(normal, np.full(9, np.nan)))
    assert overlap(np.zeros(9), np.zeros(20)) == 1.0
    assert overlap(np.ones(9), np.zeros(20)) == 0.0


def test_the_threshold_is_where_a_standard_deviation_is_halved() -> None:
    assert shared_by_normals(0.5) < OVERLAP < shared_by_normals(0.55)


# -------------------------------------------------------------------- power-scaling


def distance(one: Any, other: Any, low: float, high: float) -> float:
    """Cumulative Jensen-Shannon distance of two distributions over a range, by quadrature."""
    x = np.linspace(low, high, 20_001)

    def of(p: np.ndarray, q: np.ndarray) -> float:
        both = np.where(p > 0, p * np.log2(2 * p / (p + q)), 0.0)
        return float(np.trapezoid(both + (q - p) / (2 * math.log(2)), x))

    def one_way(p: np.ndarray, q: np.ndarray) -> float:
        return math.sqrt((of(p, q) + of(q, p)) / float(np.trapezoid(p + q, x)))

    # Of the distribution and of its mirror image, the larger one.
    p, q = one.cdf(x), other.cdf(x)
    return max(one_way(p, q), one_way((1 - p)[::-1], (1 - q)[::-1]))


def conjugate(prior: float, data: float, mean: float) -> Any:
    """Posterior under a prior N(0, 1 / prior) and data of a precision around a mean."""
    return stats.norm(data * mean / (prior + data), (prior + data) ** -0.5)


@pytest.mark.parametrize(
    ("data", "mean"), [(0.2, 0.0), (1.0, 0.0), (8.0, 0.0), (20.0, 1.5), (20.0, 3.0)]
)
def test_power_scaling_of_a_normal_mean(data: float, mean: float) -> None:
    """A prior or a likelihood in another power is one of another precision."""
    posterior = conjugate(1.0, data, mean)
    draws = posterior.ppf((np.arange(4000) + 0.5) / 4000)
    draws = np.random.default_rng(0).permutation(draws)
    scaled: dict[str, tuple[np.ndarray, Any]] = {
        "prior": (-0.5 * draws**2, lambda power: conjugate(power, data, mean)),
        "likelihood": (
            -0.5 * data * (draws - mean) ** 2,
            lambda power: conjugate(1.0, power * data, mean),
        ),
    }
    ends = float(draws.min()), float(draws.max())
    for which, (log, other) in scaled.items():
        slopes = [
            distance(posterior, other(power), *ends) / abs(math.log2(power))
            for power in (0.99, 1.01)
        ]
        [found] = _sensitivity(draws[:, None], log, (4, 1000))
        assert found == pytest.approx(np.mean(slopes), rel=0.06), which


def test_prior_and_likelihood_of_a_design_are_those_that_are_scaled() -> None:
    """By hand: normal priors of coefficients, exponential scales, an LKJ correlation."""
    design = small_design("female + wealth")
    posterior = fabricated(design, draws=100, spread=0.2)
    named = {str(k): v.to_numpy() for k, v in posterior.draws.data_vars.items()}
    prior = design.priors["persons"]
    log = stats.norm.logpdf(named["beta"], prior.loc, prior.scale).sum(axis=(2, 3))
    log = log + stats.expon.logpdf(named["sigma_origin"]).sum(axis=(2, 3))
    log = log + np.log(1 - np.square(named["corr_origin"][:, :, 0, 1]))
    of = np.stack([named["beta"][:, :, 1, 1].ravel(), named["sigma_origin"][:, :, 0, 0].ravel()], 1)
    found = power_scaling(posterior, of)
    np.testing.assert_allclose(found[0], _sensitivity(of, log.ravel(), (4, 100)), rtol=1e-8)
    total = log_likelihood(posterior).sum("obs").to_numpy().ravel()
    expected = _sensitivity(of, total, (4, 100))
    # Made-up draws of effects scatter the log-likelihood: the second is within its noise.
    assert np.isnan(found[1][1])
    assert found[1][0] == pytest.approx(expected[0], rel=1e-8)


def test_what_does_not_vary_has_no_sensitivity_and_a_flat_prior_none_to_it() -> None:
    priors = {"persons": {"dist": "flat"}, "asc": {"dist": "flat"}}
    design = small_design("female", groups=[], priors=priors)
    posterior = fabricated(design, centre={"beta": np.zeros((2, 2))}, draws=50)
    beta = posterior.draws["beta"].to_numpy().reshape(200, -1)
    values = np.column_stack(
        [beta[:, 0], np.ones(200), np.where(beta[:, 0] > 0, beta[:, 0], np.nan)]
    )
    table = identification(posterior, values, None)
    assert table["prior_sensitivity"].to_numpy()[0] == 0.0
    assert table.drop(columns="identification").iloc[1:].isna().all(axis=None)
    assert table["overlap"].isna().all()
    assert list(table["identification"]) == ["", UNKNOWN, UNKNOWN]


def test_a_draw_that_the_prior_excludes_hides_no_other() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(400, 1))
    log = -3.0 * values[:, 0] ** 2
    [found] = _sensitivity(values, log, (4, 100))
    [one_out] = _sensitivity(values, np.where(np.arange(400) == 3, -np.inf, log), (4, 100))
    assert found > SENSITIVE
    assert one_out == pytest.approx(found, rel=0.2)


def test_noise_of_many_effects_is_not_read_as_sensitivity(
    told: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log-likelihood of thousands of effects varies, whatever is looked at."""
    from bayesmig import sensitivity

    values = np.random.default_rng(6).normal(size=(math.prod(told.n_draws), 6))
    quiet = power_scaling(told, values)[1]
    assert (quiet < SENSITIVE).all()
    likelihood = sensitivity.log_likelihood_sums
    many = np.random.default_rng(7).chisquare(1800.0, len(values)) / 2
    monkeypatch.setattr(sensitivity, "log_likelihood_sums", lambda *of: likelihood(*of) - many)
    assert np.isnan(power_scaling(told, values)[1]).all()
    # And it is said why there is no number.
    assert scaled_words(0.01, float("nan")) == (
        "power-scaling sensitivity 0.01 to the prior, that to the likelihood lost in the noise of "
        "many groups' effects"
    )
    assert "0.01 to the prior, 0.20 to the likelihood" in scaled_words(0.01, 0.2)
    assert "not known: it does not vary" in scaled_words(float("nan"), float("nan"))
    assert "missing where it would be lost in noise" in RULE


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.2, 0.01, 0.09), ""),
        ((0.2, 0.04, 0.01), ""),
        ((0.7, 0.0, 0.09), WEAK),
        ((0.2, 0.05, 0.04), WEAK),
        ((0.69, 0.05, 0.05), LEANS),
        ((0.49, 0.05, math.nan), LEANS),
        ((0.5, 0.05, math.nan), WEAK),
        ((math.nan, 0.05, math.nan), WEAK),
        ((math.nan, 0.05, 0.05), LEANS),
        ((math.nan, 0.05, 0.04), WEAK),
        ((math.nan, math.nan, math.nan), UNKNOWN),
    ],
)
def test_words_follow_the_thresholds(numbers: tuple[float, float, float], words: str) -> None:
    assert _words(*numbers) == words


# --------------------------------------------------------------------------- worlds

STATED = {
    "schooling": {
        "claim": "Schooling takes people away.",
        "statement": "lift(education, internal) > 0",
    },
    "wealth": {
        "claim": "Wealth takes people abroad.",
        "statement": "lift(wealth, international) > 0",
    },
    "both": {
        "claim": "Both.",
        "statement": "lift(education, internal) > 0 and lift(wealth, international) > 0",
    },
    "reversed": {
        "claim": "Neither.",
        "statement": "lift(education, internal) > 0 and lift(wealth, international) < 0",
    },
}
#: Both slopes of schooling, one of them of a column that hardly differs from it.
LEANING = {
    "persons": {"scale": 0.5},
    "coefficient": [{"name": n, "loc": 0.1, "scale": 0.05, "per": "unit"} for n in ("education",)],
}


def twins(seed: int = 3) -> Survey:
    """Years of schooling, and nearly the same years again."""
    frame = small_frame(1500, seed=seed)
    rng = np.random.default_rng(seed)
    frame["certificate"] = frame["education"] + 0.05 * rng.normal(size=len(frame))
    return survey_of(frame)


def asked(persons: str, survey: Survey, **keys: Any) -> Posterior:
    spec = theory(persons, groups=[], hypotheses=STATED, **keys)
    return laplace(build_design(spec, survey), survey=survey, draws=500)


@pytest.fixture(scope="module")
def told() -> Posterior:
    return asked("education + wealth", twins())


@pytest.fixture(scope="module")
def untold() -> Posterior:
    return asked("education + certificate + wealth", twins(), priors=LEANING)


def flagged(table: pd.DataFrame) -> dict[str, str]:
    found = table.set_index("parameter")["identification"]
    return dict(found[found != ""])


def test_parameters_that_the_data_tell_pass(told: Posterior) -> None:
    result = prior_sensitivity(told, draws=500, seed=0)
    assert result.passed is True
    assert flagged(result.table) == {}
    assert len(result.table) == 6
    assert (result.table["prior_sensitivity"] < SENSITIVE).all()
    assert (result.table["overlap"] < 0.5).all()
    assert "tells none of 6 parameters" in result.text


def test_columns_that_are_nearly_one_are_flagged(untold: Posterior) -> None:
    result = prior_sensitivity(untold, draws=500, seed=0)
    assert result.passed is False
    weak = flagged(result.table)
    of = ("education", "certificate")
    assert set(weak) == {f"beta[{c}, {a}]" for c in of for a in ("internal", "international")}
    assert set(weak.values()) == {WEAK}
    assert result.text.startswith(WEAK.capitalize())
    assert "1 more" in result.text


def test_a_hypothesis_that_the_data_tell_is_supported(told: Posterior) -> None:
    found = hypotheses.test(told)
    for name in ("schooling", "wealth", "both"):
        assert found[name].probability > 0.95
        assert found[name].identification == ""
        assert "is supported" in found[name].sentence
        assert (found[name].summary["overlap"] < 0.5).all()
        assert (found[name].summary["prior_sensitivity"] < SENSITIVE).all()
        assert (found[name].summary["likelihood_sensitivity"] > SENSITIVE).all()


def test_a_hypothesis_that_the_prior_says_never_looks_strong(untold: Posterior) -> None:
    found = hypotheses.test(untold)
    schooling = found["schooling"]
    assert schooling.probability > 0.95
    assert schooling.prior_probability > 0.8
    assert schooling.identification == WEAK
    assert "weakly identified" in schooling.sentence
    assert "the data added little" in schooling.sentence
    assert "supported:" not in schooling.sentence
    # What stands beside it is well told, and a conjunction is as weak as its weakest part.
    assert found["wealth"].identification == ""
    assert "is supported" in found["wealth"].sentence
    assert found["both"].identification == WEAK
    assert list(found["both"].summary["identification"]) == [WEAK, ""]
    # One inequality that the data contradict contradicts a statement, whatever else it says.
    assert found["reversed"].identification == ""
    assert "is contradicted" in found["reversed"].sentence


def test_an_answer_is_no_better_told_than_a_flat_lambda_that_it_rests_on() -> None:
    """Costs that do not differ: the survey says nothing of lambda, nor power-scaling of it."""
    nests = [{"name": "move", "alternatives": ["internal", "international"]}]
    design = small_design("female", survey=small_survey(), nests=nests, groups=[])
    posterior = fabricated(design, survey=small_survey(), draws=300)
    prior = prior_draws(design, seed=3, draws=1200)
    lambdas = prior["lambda_nest"].to_numpy().reshape(posterior.draws["lambda_nest"].shape)
    posterior.draws["lambda_nest"][:] = lambdas
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(1200, 1))
    resting, free = 5 + lambdas.reshape(-1, 1) ** 3 + 0.1 * noise, 5 + 0.1 * noise
    earlier = rng.normal(0, 30, (1000, 2))
    found = of_answers(posterior, np.hstack([resting, free]), earlier, prior)
    assert list(found["identification"]) == [WEAK, ""]
    assert list(found["rests_on"]) == ["lambda_nest[move]", ""]
    assert (found["overlap"] < 0.5).all()


def hill_posterior(statement: str) -> Posterior:
    """Fabricated draws of a theory with a Hill curve, and a claim about it."""
    frame = small_frame()
    frame["dose"] = np.abs(frame["network_international"])
    survey = survey_of(frame)
    curves = [{"column": "dose", "shape": "hill", "alternatives": ["international"]}]
    stated = {"bends": {"claim": "It bends.", "statement": statement}}
    flat = {"half_saturation": {"alpha": 1.0, "beta": 1.0}}
    design = small_design(
        "female", survey=survey, curves=curves, groups=[], hypotheses=stated, priors=flat
    )
    return fabricated(design, survey=survey, draws=300)


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_a_half_saturation_that_piles_up_at_a_bound_is_not_identified(end: str) -> None:
    """What the bound says, the data do not: beside answers, and in those that rest on it."""
    posterior = hill_posterior("exponent(dose) > 1")
    responses = posterior.design.responses
    assert responses is not None
    draws = posterior.draws["half_saturation"]
    low, high = responses.low[0], responses.high[0]
    rng = np.random.default_rng(4)
    way = np.clip(rng.normal(0.4, 0.02, draws.shape), 0, 1)
    draws[:] = low + (high - low) * way
    resting = draws.to_numpy().reshape(-1, 1)
    free = rng.normal(size=resting.shape)

    def identified_of(values: np.ndarray) -> pd.DataFrame:
        return of_answers(posterior, np.hstack([values, free]), None, None)

    assert list(identified_of(resting)["rests_on"]) == ["", ""]
    assert "weakly identified" not in hypotheses.test(posterior, "bends").header
    way = np.abs(rng.normal(0, 0.04, draws.shape))
    draws[:] = low + (high - low) * (way if end == "lowest" else 1 - way)
    found = identified_of(draws.to_numpy().reshape(-1, 1))
    assert found["rests_on"].iloc[0].startswith("half_saturation[dose]")
    assert list(found["identification"]) == [WEAK, ""]
    said = hypotheses.test(posterior, "bends").header["weakly identified"]
    assert "half_saturation[dose] is not identified" in said
    assert f"lie at the {end} exposure" in said


def test_an_exponent_is_asked_of_its_draws() -> None:
    posterior = hill_posterior("exponent(dose) > 1")
    result = hypotheses.test(posterior, "bends")
    draws = posterior.draws["hill_exponent"].to_numpy().ravel()
    assert result.probability == np.mean(draws > 1)
    assert result.summary["estimate"].iloc[0] == pytest.approx(draws.mean() - 1)
    assert 0 < result.prior_probability < 1
    assert "exponents of curves" in result.header["unit"]
    assert np.isfinite(result.summary["overlap"].iloc[0])


def test_a_stream_with_hardly_any_movers_is_flagged() -> None:
    frame = small_frame(600, seed=8)
    movers = np.flatnonzero(frame["choice"] == "international")
    frame.loc[movers[2:], "choice"] = "stay"
    posterior = asked("education + wealth", survey_of(frame))
    found = hypotheses.test(posterior)["wealth"]
    assert found.identification == LEANS
    assert found.summary["overlap"].iloc[0] > 0.5
    assert "is supported:" not in found.sentence
    other = hypotheses.test(posterior)["schooling"]
    assert other.identification == ""


def test_a_prior_at_odds_with_the_data_is_flagged() -> None:
    against = {"name": "wealth", "loc": -1.0, "scale": 0.15, "per": "unit"}
    posterior = asked("education + wealth", twins(), priors={"coefficient": [against]})
    result = prior_sensitivity(posterior, draws=500, seed=0)
    assert result.passed is True
    assert "The prior has a say: beta[wealth, international]" in result.text
    found = flagged(result.table)
    assert found["beta[wealth, international]"] == LEANS
    wealth = hypotheses.test(posterior, "wealth")
    assert wealth.identification == LEANS
    assert "or at odds with it" in wealth.sentence
    assert "is supported:" not in wealth.sentence


def test_scales_and_correlations_of_few_groups_are_flagged_and_fail_nothing() -> None:
    """Made-up draws as wide as the prior: they are what it says."""
    design = small_design("female + education")
    posterior = fabricated(design, draws=250, survey=small_survey())
    tree = posterior.data.copy()
    draws = posterior.draws
    rng = np.random.default_rng(0)
    draws["sigma_origin"].data = rng.exponential(size=draws["sigma_origin"].shape)
    tree["posterior"] = tree["posterior"].to_dataset().assign(draws)
    result = prior_sensitivity(replace(posterior, data=tree), draws=500, seed=0)
    found = flagged(result.table)
    assert {k for k in found if k.startswith("sigma_")} and set(found.values()) == {WEAK}
    assert not [k for k in found if k.startswith("beta")]
    assert result.passed is True
    assert "which do not count" in result.text
    # One row for a correlation, none for what is one by definition.
    assert sum(p.startswith("corr_") for p in result.table["parameter"]) == 1


def test_a_level_that_a_hypothesis_is_about_must_be_told() -> None:
    stated = {"claim": "c.", "statement": "correlation(origin, internal, international) < 0"}
    design = small_design("female", survey=small_survey(), hypotheses={"signs": stated})
    posterior = fabricated(design, draws=250, survey=small_survey())
    tree, draws = posterior.data.copy(), posterior.draws
    prior = prior_draws(design, seed=5, draws=1000)["corr_origin"].to_numpy()
    draws["corr_origin"].data = prior.reshape(draws["corr_origin"].shape)
    tree["posterior"] = tree["posterior"].to_dataset().assign(draws)
    of_prior = replace(posterior, data=tree)
    result = prior_sensitivity(of_prior, draws=500, seed=0)
    assert result.passed is False
    (failed,) = result.table.loc[~result.table["passed"], "parameter"]
    assert failed.startswith("corr_origin[")
    assert hypotheses.test(of_prior, "signs").identification == WEAK


def test_flat_priors_have_no_overlap() -> None:
    flat = {"persons": {"dist": "flat"}, "asc": {"dist": "flat"}}
    posterior = asked("education + wealth", twins(), priors=flat)
    result = prior_sensitivity(posterior, draws=500, seed=0)
    assert result.passed is True
    assert "A prior is flat" in result.text
    found = hypotheses.test(posterior, "wealth")
    assert math.isnan(found.prior_probability)
    assert found.summary["overlap"].isna().all()
    assert "no overlap" in found.header["prior"]


def test_what_cannot_be_scaled_has_not_passed() -> None:
    """Draws of a weighted likelihood; those of an unweighted one pass, and overlaps fail both."""
    verdicts = {}
    for rule in ("estimand", "pseudo"):
        posterior = fabricated(small_design("female", groups=[], weights=rule), draws=250)
        verdicts[rule] = prior_sensitivity(posterior, draws=500, seed=0)
        widest = float(posterior.design.priors["persons"].scale.max())
        of_prior = fabricated(posterior.design, draws=250, spread=widest)
        assert prior_sensitivity(of_prior, draws=500, seed=0).passed is False
    assert verdicts["estimand"].passed is True
    assert verdicts["pseudo"].passed is None
    assert verdicts["pseudo"].verdict == "not asked"
    assert "Not asked: none of 4 parameters can be power-scaled." in verdicts["pseudo"].text
    assert "corrected for how the survey was drawn" in verdicts["pseudo"].text
    assert "The prior alone tells none" not in verdicts["pseudo"].text


@pytest.mark.parametrize("method", ["nuts", "surrogate", "preview"])
def test_every_route_and_a_file_say_the_same(method: str, tmp_path: Any) -> None:
    survey = twins()
    spec = theory("education + certificate + wealth", groups=[], hypotheses=STATED, priors=LEANING)
    keys: dict[str, Any] = {"chains": 2, "draws": 400, "tune": 300} if method == "nuts" else {}
    posterior = fit(spec, survey, seed=2, method=method, progress=False, **keys)
    found = hypotheses.test(posterior, allow_unconverged=True)
    assert found["schooling"].identification == WEAK
    assert found["wealth"].identification == ""
    result = prior_sensitivity(posterior, draws=500, seed=0)
    assert result.passed is False
    assert bool(posterior.approximation) == (method == "preview")
    again = load(posterior.save(f"{tmp_path}/fit.nc"), survey)
    pd.testing.assert_frame_equal(prior_sensitivity(again, draws=500, seed=0).table, result.table)
    other = hypotheses.test(again, allow_unconverged=True)
    assert {k: v.sentence for k, v in other.items()} == {k: v.sentence for k, v in found.items()}
