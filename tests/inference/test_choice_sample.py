"""Samples drawn by choice: the population's constants, and where they cannot be had so."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmig as bm
from bayesmig.design.design import build_design
from bayesmig.errors import DesignError, QuestionError, SpecError
from bayesmig.inference.choice_sample import refuse_invalid
from bayesmig.survey.survey import Survey, read_survey
from tests.fabricate import ALTERNATIVES, theory

TRUTH = np.array([[-1.5, -3.2], [0.4, -0.6], [0.2, 0.5]])


@cache
def population() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n = 60_000
    x = np.column_stack([np.ones(n), rng.integers(2, size=n), rng.normal(size=n)])
    utility = np.column_stack([np.zeros(n), x @ TRUTH]) + rng.gumbel(size=(n, 3))
    frame = pd.DataFrame({"female": x[:, 1], "wealth": x[:, 2]})
    return frame.assign(choice=np.array(ALTERNATIVES)[utility.argmax(axis=1)])


def shares() -> dict[str, float]:
    return population()["choice"].value_counts(normalize=True).to_dict()


def survey(weighted: dict[str, float] | None = None, **keys: Any) -> Survey:
    """As many of each choice, with the weights that undo it, or other shares."""
    of, parts = weighted or shares(), []
    for k, name in enumerate(ALTERNATIVES):
        some = population()[population()["choice"] == name].sample(700, random_state=k)
        parts.append(some.assign(weight=3 * of[name], origin=[f"o{i % 9}" for i in range(700)]))
    roles = {"choice": "choice", "weight": "weight", "origin": "origin"} | keys.pop("roles", {})
    frame = pd.concat(parts, ignore_index=True)
    return read_survey(frame, roles, alternatives={a: a for a in ALTERNATIVES}, **keys)


def fit(of: Survey, **keys: Any) -> bm.Posterior:
    spec = theory("female + wealth", **{"groups": []} | keys)
    return bm.fit(spec, of, seed=1, progress=False)


def distances(of: bm.Posterior) -> np.ndarray:
    beta = of.draws["beta"].to_numpy().reshape(-1, 3, 2)
    return np.abs((beta.mean(axis=0) - TRUTH) / beta.std(axis=0))


def test_constants_are_those_of_the_population() -> None:
    corrected, plain = fit(survey(population_shares=shares())), fit(survey())
    assert (distances(corrected) < 3.5).all()
    # The negative control: all else is the same to the last digit, and constants are far off.
    assert (distances(plain)[0] > 10).all()
    one, other = (of.draws["beta"].to_numpy() for of in (corrected, plain))
    assert (one[:, :, 1:] == other[:, :, 1:]).all()
    expected = [np.log(shares()["stay"] / shares()[a]) for a in ("internal", "international")]
    assert (other - one)[:, :, 0].mean(axis=(0, 1)) == pytest.approx(expected)
    # Numbers of each choice were decided: 700 each.
    covariance = [np.cov(of[:, :, 0].reshape(-1, 2), rowvar=False) for of in (other, one)]
    decided = np.array([[2, 1], [1, 2]]) / 700
    assert covariance[0] - covariance[1] == pytest.approx(decided, rel=1e-3)


def test_a_constant_alone_is_what_was_declared() -> None:
    """Nothing is left to be told: shares are the population's, in every draw."""
    posterior = fit(survey(population_shares=shares()), utility={"persons": "1"})
    found = bm.predictions(posterior).summary.set_index("alternative")
    assert found["estimate"].to_dict() == pytest.approx(shares(), abs=5e-4)
    # Uncorrected, one of stay would be 0.006: what is left is noise of 4,000 draws.
    assert (found["sd"] < 1e-3).all()


def test_spread_of_constants_is_that_over_samples_of_decided_numbers() -> None:
    """Two kinds of people, 80 of each choice drawn anew: counts give the logit's estimates."""
    rng, n, p = np.random.default_rng(0), 80, np.array([0.5, 0.3, 0.7])
    ones = rng.binomial(n, p, size=(4000, 3))
    logs = np.log(n - ones)
    constants = logs[:, 1:] - logs[:, [0]]
    frame = pd.DataFrame(
        {
            "choice": np.repeat(ALTERNATIVES, n),
            "female": np.concatenate([np.arange(n) < round(n * q) for q in p]).astype(int),
            "weight": np.repeat([0.8, 0.15, 0.05], n),
        }
    )
    known = dict(zip(ALTERNATIVES, (0.8, 0.15, 0.05), strict=True))
    roles = {"choice": "choice", "weight": "weight"}
    of = read_survey(
        frame, roles, alternatives={a: a for a in ALTERNATIVES}, population_shares=known
    )
    flat = {"asc": {"dist": "flat"}, "persons": {"dist": "flat"}}
    fitted = fit(of, utility={"persons": "female"}, priors=flat)
    found = np.cov(fitted.draws["beta"].to_numpy()[:, :, 0].reshape(-1, 2), rowvar=False)
    expected = np.cov(constants, rowvar=False)
    assert np.sqrt(np.diag(found)) == pytest.approx(np.sqrt(np.diag(expected)), rel=0.06)
    # The negative control: those of a random sample of as many.
    assert (np.diag(found) + 2 / n > 1.5 * np.diag(expected)).all()


def test_answers_say_so_and_are_of_the_population() -> None:
    posterior = fit(survey(population_shares=shares()))
    answer = bm.predictions(posterior)
    assert "corrected for a sample drawn by choice" in answer.header["sampling design"]
    estimate = answer.summary.set_index("alternative")["estimate"]
    assert estimate.to_dict() == pytest.approx(shares(), abs=0.015)
    with pytest.raises(QuestionError, match="drawn by choice"):
        bm.log_likelihood(posterior)


def test_weights_in_the_likelihood_find_them_too() -> None:
    found = fit(survey(), weights="pseudo")
    assert (distances(found) < 3.5).all()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"groups": [{"by": "origin"}]}, "effects of origin"),
        ({"weights": "pseudo"}, "the population's constants already"),
        ({"weights": "ignore"}, "averages over people"),
        ({"utility": {"persons": "0 + female"}}, "a constant for every alternative"),
        ({"nests": [{"name": "away", "alternatives": ["internal", "international"]}]}, "nests"),
    ],
)
def test_where_shares_correct_nothing(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(DesignError, match=says):
        fit(survey(population_shares=shares()), **keys)


def test_weights_that_are_not_of_the_declared_shares_are_refused() -> None:
    """Each alone, rare ones too; the digits to which shares are rounded are no mistake."""
    stated = {"stay": 0.9, "internal": 0.08, "international": 0.02}
    spec = theory("female + wealth", groups=[])
    for wrong in (
        dict.fromkeys(ALTERNATIVES, 1 / 3),
        {"stay": 0.89, "internal": 0.09, "international": 0.02},
        {"stay": 0.9, "internal": 0.077, "international": 0.023},
    ):
        of = survey(wrong, population_shares=stated)
        with pytest.raises(DesignError, match="does not have the population's shares") as caught:
            refuse_invalid(build_design(spec, of), stated)
        assert f"internal {wrong['internal']:.3g} instead of 0.08" in caught.value.what
        with pytest.raises(DesignError, match="does not have the population's shares"):
            bm.fit(spec, of, seed=1, progress=False)
    for right in (stated, {"stay": 0.8965, "internal": 0.0817, "international": 0.0218}):
        of = survey(right, population_shares=stated)
        refuse_invalid(build_design(spec, of), stated)


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"stay": 0.5, "internal": 0.5}, "'international' is not stated"),
        ({"stay": 0.5, "internal": 0.3, "international": 0.1}, "sum to 0.9"),
        ({"stay": 0.5, "internl": 0.3, "international": 0.2}, "'internl' is not an alternative"),
        ({"stay": 1.5, "internal": 0.3, "international": 0.2}, "a number < 1"),
    ],
)
def test_shares_that_are_none(stated: dict[str, float], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        survey(population_shares=stated)
