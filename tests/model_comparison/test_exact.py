"""What was left out, against posteriors without it that are computed exactly."""

import numpy as np
import pytest

import bayesmig as bm
from bayesmig.model_comparison import compare
from bayesmig.posterior import Posterior
from tests.model_comparison.exact import Exact, tiny_frame, tiny_survey, tiny_theory


@pytest.fixture(scope="module")
def exact() -> Exact:
    return Exact.of(tiny_survey(tiny_frame()))


@pytest.fixture(scope="module")
def posterior(exact: Exact) -> Posterior:
    return exact.posterior(tiny_survey(tiny_frame()), draws=2500)


def by_rows(exact: Exact) -> np.ndarray:
    return np.array([exact.left_out(np.array([i])) for i in range(exact.design.n_obs)])


def by_places(exact: Exact) -> np.ndarray:
    groups = exact.groups()
    return np.array([exact.left_out(np.flatnonzero(groups == g)) for g in range(6)])


def test_a_person_of_a_known_place_equals_the_exact_refit(
    exact: Exact, posterior: Posterior
) -> None:
    found = compare({"a": posterior, "b": posterior}).pointwise.sel(theory="a")
    assert (found["pareto_k"] <= found["good_k"]).all()
    np.testing.assert_allclose(found["elpd"], by_rows(exact), atol=0.01)
    assert float(found["elpd"].sum()) == pytest.approx(by_rows(exact).sum(), abs=0.05)


def test_a_new_place_equals_the_exact_refit(exact: Exact, posterior: Posterior) -> None:
    found = compare({"a": posterior, "b": posterior}, question="origin").pointwise.sel(theory="a")
    assert (found["pareto_k"] <= found["good_k"]).all()
    np.testing.assert_allclose(found["elpd"], by_places(exact), atol=0.03)


def test_given_its_own_effects_a_new_place_is_not_predicted(
    exact: Exact, posterior: Posterior
) -> None:
    """The negative control: weights alone cannot forget what effects have seen."""
    asked = {"question": "origin", "effects": "conditional"}
    found = compare({"a": posterior, "b": posterior}, **asked).pointwise.sel(theory="a")
    off = found["elpd"].to_numpy() - by_places(exact)
    assert off.mean() > 0.08
    assert off.max() > 0.15


def test_the_only_row_of_a_place_is_predicted_without_its_effect(
    exact: Exact, posterior: Posterior
) -> None:
    groups = exact.groups()
    (alone,) = np.flatnonzero(np.bincount(groups)[groups] == 1)
    pair = {"a": posterior, "b": posterior}
    truth = exact.left_out(np.array([alone]))
    integrated = compare(pair).pointwise["elpd"][0, alone]
    assert float(integrated) == pytest.approx(truth, abs=0.005)


def test_refits_by_place_equal_the_exact_ones(exact: Exact, posterior: Posterior) -> None:
    survey = tiny_survey(tiny_frame())
    fit = bm.fit(tiny_theory(), survey, seed=1, progress=False)
    found = compare({"a": fit, "b": fit}, question="origin", folds="all")
    np.testing.assert_allclose(found.pointwise["elpd"][0], by_places(exact), atol=0.12)
    assert "by 6 refits" in found.text
    assert found.summary[["pareto_k_max", "pareto_k_high"]].isna().all(axis=None)


def test_refits_by_person_equal_the_exact_ones(exact: Exact) -> None:
    survey = tiny_survey(tiny_frame())
    fit = bm.fit(tiny_theory(), survey, seed=1, progress=False)
    found = compare({"a": fit, "b": fit}, folds=4, seed=3)
    from bayesmig.model_comparison.refits import folds_of

    every = np.arange(60)
    for fold in folds_of(every, 4, 3):
        base = exact.evidence(fold.kept)
        wanted = [exact.evidence(np.append(fold.kept, i)) - base for i in fold.left]
        np.testing.assert_allclose(found.pointwise["elpd"][0, fold.left], wanted, atol=0.12)
