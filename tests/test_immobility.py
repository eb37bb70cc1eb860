"""Unwilling and unable: by hand, row by row and draw by draw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.choice.utility import take_draws
from bayesmig.design.design import build_design
from bayesmig.errors import QuestionError
from bayesmig.immobility import QUANTITIES, stayers
from bayesmig.inference.prior import prior_draws
from bayesmig.posterior import Posterior
from bayesmig.predict import predictions
from bayesmig.sensitivity import OVERLAP, RULE, WEAK
from tests.choice.test_consideration import by_sets
from tests.fabricate import fabricated, theory
from tests.inference.theories import wide_survey
from tests.random_columns import utility_by_loops

WOMEN = pd.DataFrame({"female": [0, 1], "count": [100.0, 3900.0]})
CONSIDERED = {"feasible": {"internal": "wealth", "international": "wealth + cost"}}


def made_up(centre: Any = None, **keys: Any) -> Posterior:
    design = build_design(theory(consideration=CONSIDERED, **keys), wide_survey())
    return fabricated(design, draws=110, spread=0.3, survey=wide_survey(), centre=centre)


def values(effect: Any) -> np.ndarray:
    """``(draw, cell, quantity)``."""
    draws = effect.draws.to_numpy()
    return draws.reshape(draws.shape[0] * draws.shape[1], -1, len(QUANTITIES))


def poststratified(posterior: Posterior) -> list[float]:
    """People that every row stands for: those of its sex, shared by weights."""
    women, weights = posterior.frame["female"].tolist(), posterior.design.weights.tolist()
    of_sex = [
        math.fsum(w for w, f in zip(weights, women, strict=True) if f == sex) for sex in (0, 1)
    ]
    return [WOMEN["count"][f] * w / of_sex[f] for w, f in zip(weights, women, strict=True)]


def test_shares_are_those_of_a_loop_over_rows_and_sets() -> None:
    posterior = made_up()
    columns, weights = posterior.design.columns, posterior.design.weights
    of_population = poststratified(posterior)
    got = [values(stayers(posterior, population=p))[:, 0] for p in (None, WOMEN)]
    # The negative control: other people have other shares.
    assert (np.abs(got[0] - got[1]).max(axis=0) > 1e-3).all()
    for s in (0, 17, 250):
        one = take_draws(posterior.coefficients(), s)
        staying, unwilling = [], []
        for row in range(len(columns.persons)):
            staying.append(by_sets(columns, one, row)[0])
            odds = [math.exp(v) for v in utility_by_loops(columns, one, row)]
            unwilling.append(odds[0] / math.fsum(odds))
        for found, w in zip(got, (weights, of_population), strict=True):
            stay, not_ = (np.average(x, weights=w) for x in (staying, unwilling))
            expected = [stay, not_, stay - not_, (stay - not_) / stay, (stay - not_) / (1 - not_)]
            np.testing.assert_allclose(found[s], expected, rtol=1e-10)


def test_the_parts_add_up_in_every_cell() -> None:
    posterior = made_up()
    effect = stayers(posterior, by=["female", "region"])
    assert list(effect.summary.columns[:3]) == ["female", "region", "quantity"]
    assert (effect.summary.groupby(["female", "region"]).size() == len(QUANTITIES)).all()
    found = values(effect)
    np.testing.assert_allclose(found[:, :, 0], found[:, :, 1] + found[:, :, 2], atol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()
    shares = predictions(posterior, by=["female", "region"]).draws.to_numpy()
    np.testing.assert_allclose(
        found[:, :, 0].ravel(), shares.reshape(440, -1, 3)[:, :, 0].ravel(), rtol=1e-12
    )


def test_where_all_is_feasible_nobody_is_unable_and_where_nothing_is_all_are_kept() -> None:
    kept = {}
    for odds in (-50.0, 50.0):
        found = values(stayers(made_up({"feasibility": [odds, 0.0, odds, 0.0, 0.0]})))
        kept[odds] = found[:, 0].mean(axis=0)
    assert kept[50.0][2] < 1e-12
    assert kept[-50.0][[0, 4]] == pytest.approx(1.0)


def test_groups_may_be_new_or_typical() -> None:
    posterior = made_up()
    one, other = (stayers(posterior, groups=g).summary["estimate"] for g in ("typical", "new"))
    assert (one != other).any()


def test_a_theory_without_consideration_has_no_answer() -> None:
    design = build_design(theory(), wide_survey())
    with pytest.raises(QuestionError, match="everything is feasible in it"):
        stayers(fabricated(design, draws=110))


def test_what_the_prior_says_of_feasibility_is_told_of_those_it_keeps() -> None:
    posterior = made_up()
    vague = fabricated(posterior.design, draws=110, spread=0.3, survey=wide_survey())
    prior = prior_draws(posterior.design, seed=1, draws=440)
    draws = prior["feasibility"].to_numpy().reshape(vague.draws["feasibility"].shape)
    vague.draws["feasibility"][:] = draws
    found = stayers(vague)
    unable = found.summary.set_index("quantity").loc["unable"]
    assert unable["identification"] == WEAK
    assert "feasibility" in unable["rests_on"] or unable["overlap"] >= OVERLAP
    assert found.header["identification"] == RULE
