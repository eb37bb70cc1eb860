"""A theory with everything in it, and its probabilities by plain loops over ``math``.

Draws are read by the labels of their parameters, columns by their names: nothing here
uses the package's arrays, encodings or averages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from bayesmig.design.design import build_design
from bayesmig.posterior import Posterior, labelled_draws, load
from bayesmig.predict import prepare
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey
from tests.fabricate import ALTERNATIVES, fabricated, small_frame, survey_of, theory

Row = Mapping[str, Any]
Draw = Mapping[str, float]
#: (factor, row, alternative, term) -> effect of the row's group.
Effects = Callable[[str, Row, str, str], float]
NONBASE = ALTERNATIVES[1:]
HYPOTHESES = {
    "arithmetic": {
        "claim": "Anything that arithmetic can say.",
        "statement": "2 * comparison(female, internal) ** 2 - -slope(wealth, international)"
        " / share(stay) > 0.01 + lift(education, internal)",
        "rope": 0.05,
        "mechanism": "M45",
    },
    "both": {
        "claim": "Both at once",
        "statement": "slope(wealth, internal) < 0 and comparison(female, international) != 0",
        "rope": 0.02,
    },
}


def rich_frame(n: int = 60, *, seed: int = 3) -> pd.DataFrame:
    """`small_frame` with a cost of moving and borders that are open to some."""
    rng = np.random.default_rng(seed)
    frame = small_frame(n, seed=seed, origins=5)
    frame["cost_internal"] = rng.uniform(0.5, 2.0, n)
    frame["cost_international"] = rng.uniform(2.0, 5.0, n)
    frame["open"] = np.where(frame["choice"] == "international", 1, rng.binomial(1, 0.8, n))
    frame["half"] = rng.uniform(0.0, 2.0, n)
    return frame


def rich_survey(n: int = 60, *, seed: int = 3) -> Survey:
    """`rich_frame`, read."""
    cost = {"stay": 0, "internal": "cost_internal", "international": "cost_international"}
    return survey_of(rich_frame(n, seed=seed), attributes={"cost": cost})


def rich_theory(**keys: Any) -> ModelSpec:
    """Persons, a category, one column for one alternative, attributes, borders, groups."""
    return theory(
        **{
            "utility": {
                "persons": "female + education + wealth + female:wealth "
                "+ C(region, reference='r1')",
                "only": {"international": "urban"},
                "alternatives": "cost + cost:wealth",
            },
            "available": {"international": "open"},
            "groups": [
                {"by": "origin", "terms": "1 + wealth"},
                {"by": "household", "correlated": False},
            ],
            "hypotheses": HYPOTHESES,
            **keys,
        }
    )


@cache
def rich_posterior() -> Posterior:
    """Eight draws of `rich_theory` on `rich_survey`."""
    survey = rich_survey()
    design = build_design(rich_theory(), survey)
    posterior = fabricated(design, survey=survey, chains=2, draws=4, spread=0.5, seed=11)
    # So few draws pass for converged, so that loops over them stay short.
    for name in ("ess_bulk", "ess_tail"):
        posterior.data["diagnostics"][name][:] = 1000.0
    return posterior


@cache
def reloaded() -> Posterior:
    """`rich_posterior`, saved and loaded without its survey."""
    with TemporaryDirectory() as folder:
        return load(rich_posterior().save(Path(folder) / "fit.nc"))


# ---------------------------------------------------------------------- probabilities


def draws_of(posterior: Posterior) -> list[Draw]:
    """One mapping from label to value for every draw, chains in order."""
    labelled = {name: values.ravel() for name, values in labelled_draws(posterior.draws)}
    n = len(next(iter(labelled.values())))
    return [{name: float(values[s]) for name, values in labelled.items()} for s in range(n)]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping from column to value for every row."""
    return [dict(zip(frame.columns, r, strict=True)) for r in frame.itertuples(index=False)]


def observed(draw: Draw) -> Effects:
    """Effects of the survey's own groups."""
    return lambda by, row, j, term: draw[f"u_{by}[{row[by]}, {j}, {term}]"]


def typical(by: str, row: Row, j: str, term: str) -> float:
    """Effects of a typical group."""
    return 0.0


def utility(draw: Draw, row: Row, j: str, effect: Effects) -> float:
    """Systematic utility of one alternative for one row in one draw."""
    cost = {
        "stay": row.get("cost of stay", 0.0),
        "internal": row["cost_internal"],
        "international": row["cost_international"],
    }[j]
    total = draw["gamma[cost]"] * cost + draw["gamma[cost:wealth]"] * cost * row["wealth"]
    if j == "international":
        total += draw["beta_only[urban:international]"] * row["urban"]
    if j == "stay":
        return total
    total += draw[f"beta[asc, {j}]"]
    for name in ("female", "education", "wealth"):
        total += draw[f"beta[{name}, {j}]"] * row[name]
    total += draw[f"beta[female:wealth, {j}]"] * row["female"] * row["wealth"]
    if row["region"] != "r1":
        total += draw[f"beta[region[{row['region']}], {j}]"]
    total += effect("origin", row, j, "asc") + effect("origin", row, j, "wealth") * row["wealth"]
    return total + effect("household", row, j, "asc")


def probabilities(draw: Draw, row: Row, effect: Effects) -> dict[str, float]:
    """Choice probabilities of one row in one draw."""
    closed = set(row.get("closed", ())) | ({"international"} if row["open"] == 0 else set())
    odds = {
        j: 0.0 if j in closed else math.exp(utility(draw, row, j, effect)) for j in ALTERNATIVES
    }
    total = math.fsum(odds.values())
    return {j: value / total for j, value in odds.items()}


def slope_of_wealth(draw: Draw, row: Row, effect: Effects) -> dict[str, float]:
    """Derivatives of the probabilities over wealth: ``P_j (V_j' - sum_k P_k V_k')``."""
    p = probabilities(draw, row, effect)
    cost = {
        "stay": 0.0,
        "internal": row["cost_internal"],
        "international": row["cost_international"],
    }
    dv = {}
    for j in ALTERNATIVES:
        dv[j] = draw["gamma[cost:wealth]"] * cost[j]
        if j != "stay":
            dv[j] += draw[f"beta[wealth, {j}]"] + draw[f"beta[female:wealth, {j}]"] * row["female"]
            dv[j] += effect("origin", row, j, "wealth")
    mean = math.fsum(p[k] * dv[k] for k in ALTERNATIVES)
    return {j: p[j] * (dv[j] - mean) for j in ALTERNATIVES}


def effects_for(posterior: Posterior, frame: pd.DataFrame, groups: str, seed: int) -> list[Effects]:
    """Effects as asked, one function per draw; new ones as the package drew them."""
    if groups == "typical":
        return [typical] * math.prod(posterior.n_draws)
    if groups == "observed":
        return [observed(draw) for draw in draws_of(posterior)]
    _, coefficients = prepare(posterior, frame, "new", seed)
    drawn = dict(coefficients.effects or {})
    labels = {by: sorted({str(v) for v in frame[by]}) for by in drawn}

    def of(s: int) -> Effects:
        def effect(by: str, row: Row, j: str, term: str) -> float:
            group = labels[by].index(str(row[by]))
            terms = posterior.design.layouts[by].terms
            return float(drawn[by][s, group, NONBASE.index(j), terms.index(term)])

        return effect

    return [of(s) for s in range(math.prod(posterior.n_draws))]


# ----------------------------------------------------------------- averages, summaries


def averages(
    posterior: Posterior,
    rows: Sequence[Row],
    cells: Sequence[Any],
    weights: Iterable[float],
    effects: Sequence[Effects],
    of: Callable[[Draw, Row, Effects], Mapping[str, float]] = probabilities,
) -> list[dict[Any, dict[str, float]]]:
    """Weighted averages over the rows of every cell: draw -> cell -> alternative."""
    weights, result = list(weights), []
    for draw, effect in zip(draws_of(posterior), effects, strict=True):
        values = [of(draw, row, effect) for row in rows]
        result.append({})
        for cell in sorted(set(cells)):
            inside = [i for i, c in enumerate(cells) if c == cell]
            total = math.fsum(weights[i] for i in inside)
            result[-1][cell] = {
                j: math.fsum(weights[i] * values[i][j] for i in inside) / total
                for j in ALTERNATIVES
            }
    return result


def as_array(result: Sequence[Mapping[Any, Mapping[str, float]]]) -> np.ndarray:
    """Draws × (cell, alternative) in the order of a summary."""
    return np.array([[v for cell in draw.values() for v in cell.values()] for draw in result])


def shortest_interval(values: Sequence[float], prob: float) -> tuple[float, float]:
    """Shortest interval that holds ``floor(prob * n)`` steps between ordered draws."""
    ordered, inside = sorted(values), math.floor(prob * len(values))
    pairs = [(ordered[i + inside] - ordered[i], i) for i in range(len(ordered) - inside)]
    start = min(pairs)[1]
    return ordered[start], ordered[start + inside]


def summary_of(values: Sequence[float], prob: float = 0.95) -> tuple[float, float, float, float]:
    """Mean, standard deviation and bounds of the shortest interval."""
    mean = math.fsum(values) / len(values)
    square = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(square), *shortest_interval(values, prob)
