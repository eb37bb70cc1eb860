"""Imputed surveys: fitted each, draws stacked."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmig as bm
from bayesmig.errors import QuestionError, SurveyError
from bayesmig.imputation import Imputed, fit_imputed, read_imputed
from bayesmig.survey.survey import Survey
from tests.fabricate import ALTERNATIVES, small_frame, theory

ROLES = {"choice": "choice", "person": "person", "weight": "weight"}
KEYS = {"alternatives": {a: a for a in ALTERNATIVES}}
SPEC = theory("female + wealth", groups=[])


def stacked(spread: float, times: int = 3) -> pd.DataFrame:
    """A quarter of wealth is missing, and drawn anew each time."""
    frame, parts = small_frame(400), []
    for k in range(times):
        wealth = frame["wealth"].copy()
        wealth[:100] += spread * np.random.default_rng(k).normal(size=100)
        parts.append(frame.assign(wealth=wealth, imputation=k))
    return pd.concat(parts, ignore_index=True)


def surveys(spread: float = 2.0) -> tuple[Survey, ...]:
    return read_imputed(stacked(spread), ROLES, imputation="imputation", **KEYS)


@cache
def imputed(spread: float = 2.0) -> Imputed:
    return fit_imputed(SPEC, surveys(spread), seed=1, progress=False)


def test_draws_are_stacked_and_the_share_between_is_that_of_variances() -> None:
    answer = imputed().ask(bm.comparisons, "wealth", by="female")
    each = [bm.comparisons(p, "wealth", by="female") for p in imputed().posteriors]
    draws = np.concatenate([a.draws.to_numpy().reshape(-1, 6) for a in each])
    assert (answer.draws.to_numpy().reshape(-1, 6) == draws).all()
    assert answer.summary["estimate"].to_numpy() == pytest.approx(draws.mean(axis=0), rel=1e-12)
    for cell in range(6):
        means = [a.summary["estimate"][cell] for a in each]
        expected = np.var(means) / draws[:, cell].var()
        assert answer.summary["between_imputations"][cell] == pytest.approx(expected)
    assert "3 imputed surveys, draws stacked" in answer.header["imputations"]


def test_what_was_imputed_is_less_certain_and_what_was_not_is_not() -> None:
    table = imputed().summary().set_index("parameter")["between_imputations"]
    same = imputed(0.0).summary().set_index("parameter")["between_imputations"]
    assert table["beta[wealth, international]"] > 0.05
    assert (same < 0.01).all()
    assert set(table.index) == {
        f"beta[{x}, {a}]" for x in ("asc", "female", "wealth") for a in ALTERNATIVES[1:]
    }


def test_what_cannot_be_pooled() -> None:
    with pytest.raises(SurveyError, match="1 survey is no multiple imputation"):
        fit_imputed(SPEC, surveys()[:1], seed=1)
    frame = small_frame(400, seed=9)
    other = bm.read_survey(frame, ROLES, **KEYS)
    with pytest.raises(SurveyError, match="surveys 0 and 1 do not hold the same rows"):
        fit_imputed(SPEC, [surveys()[0], other], seed=1)
    with pytest.raises(SurveyError, match="no column 'imputatoin'"):
        read_imputed(stacked(1.0), ROLES, imputation="imputatoin", **KEYS)
    with pytest.raises(QuestionError, match="not stacked"):
        imputed().ask(lambda posterior: posterior.summary())
    with pytest.raises(QuestionError, match="other cells in one imputed survey"):
        imputed().ask(bm.predictions, by="wealth")


def test_few_imputations_are_said_to_fall_short_of_rubins_rules() -> None:
    """Three imputations of much that is missing; none is missing, and nothing is said."""
    answer = imputed(6.0).ask(bm.comparisons, "wealth")
    means = np.array(
        [bm.comparisons(p, "wealth").summary["estimate"] for p in imputed(6.0).posteriors]
    )
    draws = [bm.comparisons(p, "wealth").draws.to_numpy() for p in imputed(6.0).posteriors]
    within = np.mean([d.reshape(-1, 3).var(axis=0) for d in draws], axis=0)
    between = means.var(axis=0, ddof=1)
    freedom = 2 * (1 + within / (4 / 3 * between)) ** 2
    wider = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    longer = (wider * np.sqrt((within + 4 / 3 * between) / (within + 2 / 3 * between))).max() - 1
    assert longer > 0.05
    assert f"up to {100 * longer:.0f} % longer" in answer.header["imputations"]
    assert "Rubin" in imputed(6.0).summary().attrs["imputations"]
    assert "Rubin" not in imputed(0.0).ask(bm.comparisons, "wealth").header["imputations"]


def test_hypotheses_are_pooled_over_all_draws() -> None:
    stated = {
        "richer_go": {
            "claim": "The richer go abroad",
            "statement": "slope(wealth, international) > 0",
        }
    }
    spec = theory("female + wealth", groups=[], hypotheses=stated)
    pooled = fit_imputed(spec, surveys(6.0), seed=1, progress=False)
    [row] = pooled.test("richer_go").to_dict("records")
    each = [bm.test(p, "richer_go").probability for p in pooled.posteriors]
    assert row["probability"] == pytest.approx(np.mean(each))
    assert (row["lowest"], row["highest"]) == (min(each), max(each))
    draws = pooled.ask(bm.slopes, "wealth").draws.to_numpy()[..., 2]
    assert row["probability"] == pytest.approx((draws > 0).mean())
    assert row["verdict"] in ("supported", "undecided", "contradicted")
