"""K-fold and the next period: the true theory where there is one, nothing where there is none."""

import os
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

import bayesmig as bm
from bayesmig.errors import QuestionError, SurveyError
from bayesmig.inference.refit import _worthy, refit
from bayesmig.model_comparison import compare, refits
from bayesmig.model_comparison.refits import folds_of, last_period
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey
from tests.fabricate import fabricated, small_design, small_survey, survey_of, theory


def world(n: int = 1200, origins: int = 40, seed: int = 4) -> pd.DataFrame:
    """Places differ by a column ``soil`` and by more that no column tells, persons by ``x``."""
    rng = np.random.default_rng(seed)
    place = rng.integers(origins, size=n)
    soil, more = rng.normal(size=(2, origins))
    x = rng.normal(size=n)
    odds = -0.8 + np.outer((soil + 0.4 * more)[place] + 0.35 * x, [1.0, 1.0])
    utility = np.column_stack([np.zeros(n), odds]) + rng.gumbel(size=(n, 3))
    return pd.DataFrame(
        {
            "choice": np.array(["stay", "internal", "international"])[utility.argmax(axis=1)],
            "origin": [f"o{g:02d}" for g in place],
            "period": [f"{2000 + k}" for k in rng.integers(4, size=n)],
            "soil": soil[place],
            "x": x,
            "noise": rng.normal(size=n),
        }
    )


@pytest.fixture(scope="module")
def survey() -> Survey:
    return survey_of(world())


@pytest.fixture(scope="module")
def fits(survey: Survey) -> dict[str, Posterior]:
    """What tells places apart, what tells persons apart, both with effects, and noise."""
    of_places = [{"by": "origin"}]
    spec = {"soil": ("soil", of_places), "persons": ("x", of_places), "noise": ("noise", [])}
    return {
        name: bm.fit(theory(x, groups=g), survey, seed=1, progress=False)
        for name, (x, g) in spec.items()
    }


def best(fits: dict[str, Posterior], *names: str, **asked: object) -> str:
    found = compare({name: fits[name] for name in names}, **asked)  # type: ignore[arg-type]
    return str(found.summary["theory"][0])


def test_the_question_decides_and_effects_that_have_seen_a_place_do_not_predict_it(
    fits: dict[str, Posterior],
) -> None:
    """Leave-one-out of rows given effects prefers the theory that is worse for new places."""
    two = ("soil", "persons")
    assert best(fits, *two, question="obs", effects="conditional") == "persons"
    assert best(fits, *two) == "persons"
    assert best(fits, *two, question="origin") == "soil"
    assert best(fits, *two, question="origin", folds=5) == "soil"


@pytest.mark.slow
def test_given_their_draws_effects_of_a_new_place_are_known_too_well(
    fits: dict[str, Posterior],
) -> None:
    def elpd(**asked: object) -> float:
        found = compare(fits, question="origin", **asked)  # type: ignore[arg-type]
        return float(found.summary.set_index("theory").loc["persons", "elpd"])

    refitted = elpd(folds=20)
    conditional, integrated = elpd(effects="conditional") - refitted, elpd() - refitted
    assert conditional > 5 > 2 > abs(integrated)


def test_folds_and_weights_agree_where_weights_are_sound(fits: dict[str, Posterior]) -> None:
    weighed = compare(fits, question="origin")
    refitted = compare(fits, question="origin", folds=9)
    assert weighed.summary["pareto_k_high"].max() == 0
    both = [of.summary.set_index("theory")["elpd"] for of in (weighed, refitted)]
    # With nine tenths of the places a theory knows a little less.
    assert (np.abs(both[0] - both[1]) < 8).all()
    gaps = [of["soil"] - of["noise"] for of in both]
    assert gaps[0] == pytest.approx(gaps[1], rel=0.1)


def test_the_true_theory_is_found_and_noise_is_not(
    fits: dict[str, Posterior], survey: Survey
) -> None:
    found = compare({k: fits[k] for k in ("soil", "noise")}, question="origin", folds=5)
    assert found.text.startswith("'soil' predicts better than 'noise'")
    assert "5-fold cross-validation" in found.text
    empty = bm.fit(theory("1", groups=[]), survey, seed=2, draws=500, progress=False)
    null = compare({"noise": fits["noise"], "empty": empty}, question="origin", folds=5)
    assert "The data cannot separate" in null.text
    assert "predicts better" not in null.text


def test_the_next_period_is_predicted_from_those_before(fits: dict[str, Posterior]) -> None:
    found = compare({k: fits[k] for k in ("soil", "noise")}, question="period")
    rows = np.flatnonzero(world()["period"] == "2003")
    assert found.pointwise["unit"].to_numpy().tolist() == rows.tolist()
    assert found.summary["theory"][0] == "soil"
    assert "the next period, from those before it" in found.text
    assert f"the {len(rows)} rows of period 2003, by one fit to the 3 before it" in found.text


def test_folds_leave_out_every_unit_once() -> None:
    units = np.random.default_rng(0).integers(23, size=400)
    units = np.unique(units, return_inverse=True)[1]
    folds = folds_of(units, 5, seed=1)
    assert sorted(np.concatenate([f.left for f in folds])) == list(range(400))
    for fold in folds:
        assert not set(units[fold.left]) & set(units[fold.kept])
        assert 4 <= len(set(units[fold.left])) <= 5


def test_light_draws_stay_in_proportion_to_their_weight() -> None:
    """Fewer draws, and means over them have their expectation: also where light draws decide."""
    of_light = np.random.default_rng(0).gamma(1.0, size=40)
    weights = np.concatenate([np.full(20, 0.04995), 1e-3 * of_light / of_light.sum()])
    values = np.concatenate([np.full(20, 1e-3), np.linspace(0.1, 1.9, 40)])
    found, fewer = [], []
    for seed in range(4000):
        kept, log_weights = _worthy(np.log(weights), seed)
        assert np.exp(log_weights).sum() == pytest.approx(1.0)
        assert set(range(20)) < set(kept.tolist())
        fewer.append(len(kept))
        found.append(np.exp(log_weights) @ values[kept])
    assert max(fewer) <= 28
    exact, error = weights @ values, np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(exact, abs=4 * error)
    # The negative control: without the light draws the density is half as large.
    assert values[0] < exact - 10 * error
    alone, _ = _worthy(np.full(400, -np.log(400)), 1)
    assert len(alone) == 400


def test_seeds_repeat(fits: dict[str, Posterior]) -> None:
    two = {k: fits[k] for k in ("soil", "noise")}
    one, other = (compare(two, folds=3, seed=5).pointwise["elpd"] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_folds_side_by_side_are_those_one_after_the_other(
    fits: dict[str, Posterior], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun together on several cores, in another order and in threads of their own."""
    at_once, busy, found, times = [0], Lock(), [], []

    def counted(*arguments: Any, **keys: Any) -> Any:
        with busy:
            at_once[0] += 1
            times[-1] = max(times[-1], at_once[0])
        try:
            return refit(*arguments, **keys)
        finally:
            with busy:
                at_once[0] -= 1

    monkeypatch.setattr(refits, "refit", counted)
    before = [pool["num_threads"] for pool in threadpool_info()]
    for cores in (1, 4):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        times.append(0)
        two = {k: fits[k] for k in ("soil", "noise")}
        found.append(compare(two, folds=6, seed=5).pointwise["elpd"])
    np.testing.assert_array_equal(*found)
    assert times[0] == 1 < times[1] <= 4
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"question": "period"}, "declares no period"),
        ({"question": "origin", "folds": 40}, "12 units cannot be left out in 40 parts"),
        ({"folds": 1}, "a number from 2 on or 'all'"),
        ({"folds": 5, "effects": "conditional"}, "does not apply to refits"),
        ({"question": "period", "folds": 3}, "folds do not apply"),
        ({"effects": "some"}, "is unknown"),
        ({"wts": "weight"}, "wts must be True or False"),
        ({"question": "orign"}, "did you mean 'origin'"),
    ],
)
def test_what_cannot_be_asked(asked: dict[str, object], says: str) -> None:
    posterior = fabricated(small_design("female", survey=small_survey()))
    with pytest.raises(QuestionError, match=says):
        compare({"a": posterior, "b": posterior}, **asked)  # type: ignore[arg-type]


def test_the_last_period_is_the_last_in_time() -> None:
    frame = world(200)
    numbers = frame["period"].map({"2000": "8", "2001": "9", "2002": "10", "2003": "11"})
    fold, label, count = last_period(
        small_design("x", survey=survey_of(frame.assign(period=numbers)))
    )
    assert (label, count) == ("11", 4)
    assert len(fold.left) == (numbers == "11").sum()
    waves = survey_of(frame.assign(period="wave " + numbers))
    with pytest.raises(SurveyError, match="show no order"):
        last_period(small_design("x", survey=waves))
