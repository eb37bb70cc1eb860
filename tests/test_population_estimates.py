"""Averages, contrasts, weights and poststratification of every verb, against loops over rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesmig as bm
from bayesmig.cli import app
from bayesmig.errors import QuestionError
from bayesmig.posterior import Posterior, load
from bayesmig.spec.scenario import Scenario
from tests.fabricate import fabricated, small_design, small_survey

#: People by sex and by region.
CELLS = pd.DataFrame(
    {
        "female": [0, 0, 0, 1, 1, 1],
        "region": ["r0", "r1", "r2"] * 2,
        "count": [1200.0, 300.0, 500.0, 900.0, 800.0, 100.0],
    }
)
SEX = pd.DataFrame({"female": [0, 1], "count": [2000.0, 1800.0]})
REGION = pd.DataFrame({"region": ["r0", "r1", "r2"], "count": [2100.0, 1100.0, 600.0]})
CLAIM = {
    "claim": "Women go abroad less.",
    "statement": "comparison(female, international) < comparison(female, internal)",
}


#: Draws that loops go over: those of an answer are as many as the posterior has.
SOME = 4


@cache
def posterior() -> Posterior:
    survey = small_survey(120)
    design = small_design("female + wealth", survey=survey, hypotheses={"less": CLAIM})
    return fabricated(design, chains=4, draws=100, survey=survey, prior=True)


def probabilities(frame: pd.DataFrame) -> np.ndarray:
    """``(draw, row, alternative)``, one number after the other."""
    draws, origins = posterior().draws, list(posterior().design.layouts["origin"].levels)
    beta, u = (
        draws[k].to_numpy().reshape(400, *draws[k].shape[2:])[:SOME] for k in ("beta", "u_origin")
    )
    out = np.empty((len(beta), len(frame), 3))
    for s in range(len(beta)):
        for i, row in enumerate(frame.itertuples()):
            x, g = (1.0, float(row.female), float(row.wealth)), origins.index(row.origin)
            v = [0.0]
            for j in range(2):
                v.append(sum(a * b for a, b in zip(x, beta[s, :, j], strict=True)) + u[s, g, j, 0])
            total = sum(map(exp, v))
            out[s, i] = [exp(a) / total for a in v]
    return out


def by_hand(frame: pd.DataFrame, rule: str) -> np.ndarray:
    """People that every row stands for."""
    weight = np.ones(len(frame)) if rule == "none" else frame["weight"].to_numpy()
    if rule in ("none", "weights"):
        return weight
    if rule == "cells":
        people = np.empty(len(frame))
        for i, row in enumerate(frame.itertuples()):
            alike = (frame["female"] == row.female) & (frame["region"] == row.region)
            count = CELLS[(CELLS["female"] == row.female) & (CELLS["region"] == row.region)]
            people[i] = count["count"].iloc[0] * weight[i] / weight[alike.to_numpy()].sum()
        return people
    cells = [
        ((frame[name] == value).to_numpy(), count)
        for table, name in ((SEX, "female"), (REGION, "region"))
        for value, count in zip(table[name], table["count"], strict=True)
    ]
    for _ in range(300):
        for here, count in cells:
            weight = np.where(here, weight * count / weight[here].sum(), weight)
    return weight


RULES: dict[str, dict[str, Any]] = {
    "none": {"wts": False},
    "weights": {},
    "cells": {"population": CELLS},
    "margins": {"population": [SEX, REGION]},
}


def averaged(values: np.ndarray, people: np.ndarray, cells: np.ndarray, total: bool) -> np.ndarray:
    """``(draw, cell, alternative)`` by loops."""
    out = np.zeros((len(values), len(np.unique(cells)), values.shape[2]))
    for c, cell in enumerate(np.unique(cells)):
        mass = 0.0
        for i in np.flatnonzero(cells == cell):
            out[:, c] += people[i] * values[:, i]
            mass += people[i]
        out[:, c] /= 1.0 if total else mass
    return out


def numbers(found: Any) -> np.ndarray:
    """The first draws of an answer, ``(draw, cell)``; all are behind its summary."""
    draws = np.asarray(found.draws.to_numpy().reshape(400, -1))
    if hasattr(found, "probability"):
        assert found.probability == (draws[:, 0] < 0).mean()
    else:
        assert found.summary["estimate"].to_numpy() == pytest.approx(draws.mean(axis=0), rel=1e-12)
    return draws[:SOME]


def changed(frame: pd.DataFrame) -> np.ndarray:
    return probabilities(frame.assign(female=1)) - probabilities(frame.assign(female=0))


def sloped(frame: pd.DataFrame) -> np.ndarray:
    """Slopes by wealth, ``p_j (beta_j - sum_k p_k beta_k)``."""
    p = probabilities(frame)
    of_wealth = posterior().draws["beta"].to_numpy().reshape(400, 3, 2)[:SOME, 2]
    out = np.empty_like(p)
    for s in range(len(p)):
        beta = [0.0, *of_wealth[s]]
        for i in range(p.shape[1]):
            mean = sum(p[s, i, k] * beta[k] for k in range(3))
            out[s, i] = [p[s, i, j] * (beta[j] - mean) for j in range(3)]
    return out


VERBS: dict[str, tuple[Callable[..., Any], Callable[[pd.DataFrame], np.ndarray]]] = {
    "predictions": (bm.predictions, probabilities),
    "comparisons": (lambda p, **k: bm.comparisons(p, "female", **k), changed),
    "slopes": (lambda p, **k: bm.slopes(p, "wealth", **k), sloped),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("by", [None, "urban"])
@pytest.mark.parametrize("total", [False, True])
def test_averages_are_those_of_loops(rule: str, verb: str, by: str | None, total: bool) -> None:
    ask, values = VERBS[verb]
    frame = posterior().frame
    people = by_hand(frame, rule)
    cells = np.zeros(len(frame)) if by is None else frame[by].to_numpy()
    expected = averaged(values(frame), people, cells, total)
    found = ask(posterior(), by=by, total=total, **RULES[rule])
    scale = people.sum() if total else 1.0
    assert numbers(found) == pytest.approx(expected.reshape(len(expected), -1), abs=1e-10 * scale)


@pytest.mark.parametrize("rule", RULES)
def test_ratios_and_lifts_are_of_averages(rule: str) -> None:
    frame = posterior().frame
    people, none = by_hand(frame, rule), np.zeros(len(frame))
    low, high = (
        averaged(probabilities(frame.assign(female=k)), people, none, False)[:, 0] for k in (0, 1)
    )
    for comparison, expected in (("ratio", high / low), ("lift", (high - low) / low)):
        found = bm.comparisons(posterior(), "female", comparison=comparison, **RULES[rule])
        assert numbers(found) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_counterfactuals_and_their_totals(rule: str) -> None:
    frame = posterior().frame
    people = by_hand(frame, rule)
    scenario = Scenario.model_validate(
        {
            "name": "rich",
            "interventions": [{"kind": "set", "column": "wealth", "value": 0.5}],
        }
    )
    found = bm.counterfactual(posterior(), scenario, by="urban", **RULES[rule])
    cells = frame["urban"].to_numpy()
    arms = [
        averaged(probabilities(f), people, cells, False) for f in (frame, frame.assign(wealth=0.5))
    ]
    expected = np.stack([*arms, arms[1] - arms[0]], axis=2)
    assert numbers(found) == pytest.approx(expected.reshape(SOME, -1), abs=1e-10)
    mass = np.array([people[cells == k].sum() for k in (0, 1)]).repeat(9)
    assert found.totals["estimate"].to_numpy() == pytest.approx(
        found.summary["estimate"].to_numpy() * mass, rel=1e-10
    )


@pytest.mark.parametrize("rule", RULES)
def test_hypotheses(rule: str) -> None:
    frame = posterior().frame
    people, none = by_hand(frame, rule), np.zeros(len(frame))
    effect = averaged(changed(frame), people, none, False)[:, 0]
    found = bm.test(posterior(), "less", **RULES[rule])
    expected = effect[:, 2] - effect[:, 1]
    assert numbers(found)[:, 0] == pytest.approx(expected, abs=1e-10)


def test_shares_of_cells_add_up_to_totals_and_headers_say_of_whom() -> None:
    whole = bm.predictions(posterior(), total=True, population=CELLS)
    assert whole.summary["estimate"].sum() == pytest.approx(3800)
    assert whole.header["unit"] == "people × probability"
    assert whole.header["totals"] == "people of the population table (3,800 in all)"
    assert whole.header["weights"].startswith(
        "poststratified by female, region to 6 cells of 3,800 people; within cells: averages "
        "are weighted by weight"
    )
    parts = bm.predictions(posterior(), by="female", total=True, population=CELLS)
    sums = numbers(parts).reshape(SOME, 2, 3).sum(axis=1)
    assert sums == pytest.approx(numbers(whole), rel=1e-12)
    weighted = bm.predictions(posterior(), total=True)
    assert weighted.summary["estimate"].sum() == pytest.approx(posterior().frame["weight"].sum())
    assert "only where these are expansion weights" in weighted.header["totals"]
    rows = bm.predictions(posterior(), total=True, wts=False)
    assert rows.summary["estimate"].sum() == pytest.approx(120)
    assert "unweighted" in rows.header["totals"]


def test_new_rows_are_weighted_to_a_population_too() -> None:
    frame = posterior().frame.iloc[:40]
    found = bm.predictions(posterior(), newdata=frame, wts=False, population=SEX)
    people = np.where(frame["female"] == 1, 1800 / frame["female"].sum(), 0.0)
    people += np.where(frame["female"] == 0, 2000 / (frame["female"] == 0).sum(), 0.0)
    expected = averaged(probabilities(frame), people, np.zeros(40), False)[:, 0]
    assert numbers(found) == pytest.approx(expected, abs=1e-10)


def test_what_has_no_total() -> None:
    with pytest.raises(QuestionError, match="a ratio of numbers of people is that of shares"):
        bm.comparisons(posterior(), "female", comparison="ratio", total=True)
    with pytest.raises(QuestionError, match="total must be True or False"):
        bm.predictions(posterior(), total="yes")  # type: ignore[arg-type]
    with pytest.raises(QuestionError, match="no column 'feminine'"):
        bm.predictions(posterior(), population=SEX.rename(columns={"female": "feminine"}))


def test_the_command_weighs_claims_to_a_population_as_python_does(tmp_path: Path) -> None:
    claim = {"claim": "It does.", "statement": "share(international) > 0.2"}
    design = small_design(
        "female + wealth", survey=small_survey(300), groups=[], hypotheses={"more": claim}
    )
    fabricated(design, spread=0.3, prior=True).save(tmp_path / "fit.nc")
    estimates = []
    for people in ((100, 900), (900, 100)):
        table = pd.DataFrame({"female": [0, 1], "count": people})
        table.to_csv(tmp_path / "census.csv", index=False)
        given = ["--population", str(tmp_path / "census.csv"), "--json", "--allow-unconverged"]
        done = CliRunner().invoke(app, ["test", str(tmp_path / "fit.nc"), *given])
        [part] = json.loads(done.stdout)["more"]["parts"]
        posterior = load(tmp_path / "fit.nc")
        said = bm.test(posterior, "more", population=table, allow_unconverged=True)
        assert part["estimate"] == pytest.approx(said.summary["estimate"].iloc[0], rel=1e-7)
        estimates.append(part["estimate"])
    assert abs(estimates[0] - estimates[1]) > 1e-4
