"""Blocks beyond a logit that is linear in its columns, explained and drawn."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmig as bm
from bayesmig.choice.nested import ROOT, Tree
from bayesmig.choice.nested import log_probabilities as nested
from bayesmig.choice.response import SHAPES, response
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.identification import identification_warnings
from bayesmig.explanation.beyond import CURVES
from bayesmig.explanation.facts import Facts
from bayesmig.explanation.graph import DRAWN
from bayesmig.explanation.page import Explanation
from bayesmig.inference.layout import parameter_dims
from bayesmig.spec.model import ModelSpec
from tests.explanation.test_explain import section
from tests.explanation.test_formula import printed
from tests.explanation.test_graph import nodes_and_edges
from tests.fabricate import small_design, small_frame, survey_of, theory

GOLDEN = Path(__file__).parent / "all_blocks.txt"
ALL: dict[str, object] = {
    "title": "All blocks",
    "claim": "Everything at once.",
    "utility": {
        "persons": "female + age + school",
        "only": {"international": "visa"},
        "alternatives": "cost + cost:female",
        "shared": "drought + conflict",
    },
    "smooths": [{"column": "age", "bends": 5}],
    "pools": [{"name": "ties", "columns": ["kin", "neighbours"]}],
    "groups": [{"by": "origin"}, {"by": "household:origin"}, {"by": "female:caste"}],
    "tastes": [{"by": "person", "attributes": ["cost", "cost:female"]}],
    "nests": [{"name": "move", "alternatives": ["internal", "international"]}],
    "curves": [
        {"column": "network_international", "shape": "hill", "alternatives": ["international"]},
        {
            "column": "network_internal",
            "shape": "hump",
            "alternatives": ["internal", "international"],
            "name": "near",
        },
    ],
    "consideration": {
        "feasible": {"international": "wealth + cost"},
        "signs": {"international": {"wealth": "positive"}},
    },
}


def spec(**keys: object) -> ModelSpec:
    return theory(**({"utility": {"persons": "x"}, "groups": []} | keys))


def needs(model: ModelSpec, survey: bm.Survey | None = None) -> str:
    return section(bm.explain(model, survey), "What identifies it")


def test_the_golden_text() -> None:
    """All blocks at once, at 80 columns; read by eye when it was written."""
    assert bm.explain(spec(**ALL)).text + "\n" == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_and_latex_is_balanced(width: int) -> None:
    explanation = bm.explain(spec(**ALL))
    assert max(map(len, explanation.at_width(width).splitlines())) <= width
    latex = explanation.latex
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert not re.search(r"(?<!\\)_(?![{jk])", latex)


def test_every_block_is_drawn_and_leads_to_the_choice() -> None:
    drawn = bm.graph(spec(**ALL))
    nodes, edges = nodes_and_edges(drawn.source)
    assert len(set(nodes.values())) == len(nodes)
    reached = {next(label for label in nodes.values() if label.startswith("choice among"))}
    while more := {a for a, b in edges if b in reached} - reached:
        reached |= more
    assert reached == set(nodes.values())
    for name in (
        *("lambda_nest[move]", "half_saturation[network_international]", "hump_bend[near]"),
        *("sigma_smooth_age", "corr_smooth_age", "sigma_deviation", "corr_taste_person"),
        *("international feasible", "wealth", "caste", "household", "person", "drought"),
    ):
        assert name in reached
    assert ("cost", "taste_person[cost]·cost[j]") in edges
    assert {"nests", "curves", "consideration", "smooths", "tastes"} <= set(DRAWN)


# ------------------------------------------------------------------------- formulas


def evaluated(formula: str, **values: float) -> float:
    text = formula.replace("²", "**2").replace("·", "*").replace("^", "**")
    return float(eval(text, {"log": math.log, "exp": math.exp, "__builtins__": {}}, values))


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_the_printed_curve_is_the_one_that_is_computed(shape: str) -> None:
    parameters = {"half_saturation": 0.7, "hill_exponent": 1.8, "hump_bend": 0.3}
    letters = {"half_saturation": "N0", "hill_exponent": "q", "hump_bend": "w"}
    own = SHAPES[shape]
    for dose in (0.0, 0.4, 3.0):
        computed = response(np, shape, np.array([dose]), *(np.array(parameters[n]) for n in own))
        values = {letters[name]: parameters[name] for name in own}
        found = evaluated(CURVES[shape][0].plain, N=dose, **values)
        assert found == pytest.approx(float(computed[0]), abs=1e-12)
    for name in own:
        assert f"{name}[{{label}}]" in CURVES[shape][1]


def test_the_words_about_nests_are_what_is_computed() -> None:
    """Inclusive value and probabilities as they are printed, by loops."""
    text = section(bm.explain(spec(**ALL)), "Choice")
    assert "V[m] = L[m]·log(sum of exp(V[c] / L[m]) over c in m)" in text
    assert "P(c | m) = exp((V[c] - V[m]) / L[m])" in text
    v, lam = [0.0, -0.4, -1.3], 0.4
    inclusive = lam * math.log(sum(math.exp(v[c] / lam) for c in (1, 2)))
    outer = math.exp(inclusive) / (math.exp(v[0]) + math.exp(inclusive))
    by_hand = [1 - outer, *(outer * math.exp((v[c] - inclusive) / lam) for c in (1, 2))]
    tree = Tree(alternatives=(ROOT, 0, 0), nests=(ROOT,))
    computed = np.exp(nested(np, tree, np.array([lam]), np.array([v])))
    np.testing.assert_allclose(computed[0], by_hand, rtol=1e-12)


def test_shared_drivers_are_printed_as_they_are_computed() -> None:
    """Zero at the base, common and own parts elsewhere; deviations per standard deviation."""
    design = small_design(utility={"persons": "female", "shared": "wealth"}, groups=[])
    explanation = bm.explain(design.spec)
    assert printed(explanation, "V[stay]") == ["0"]
    assert printed(explanation, "V[j]")[2:] == [
        "g1·wealth",
        "u_deviation[j,wealth]·z(wealth)",
    ]
    u = np.array([[[0.7], [-0.2]]])
    computed = utilities(
        np,
        design.columns,
        Coefficients(
            persons=np.zeros((2, 2)), attributes=np.array([1.5]), effects={"deviation": u}
        ),
    )
    wealth = design.frame["wealth"].to_numpy()
    for j in (0, 1):
        by_hand = 1.5 * wealth + u[0, j, 0] * wealth / wealth.std()
        np.testing.assert_allclose(computed[:, 1 + j], by_hand, atol=1e-12)
    np.testing.assert_array_equal(computed[:, 0], 0.0)


def priced(n: int = 60) -> bm.Survey:
    frame = small_frame(n).assign(near=lambda d: d["wealth"] ** 2, far=lambda d: d["age"] / 10)
    cost = {"stay": 0.0, "internal": "near", "international": "far"}
    return survey_of(frame, attributes={"cost": cost})


@pytest.mark.parametrize("correlated", [True, False])
def test_parameters_are_named_as_in_a_fit(correlated: bool) -> None:
    design = small_design(
        survey=priced(),
        groups=[{"by": "household:origin", "correlated": correlated}],
        utility={"persons": "age", "alternatives": "cost + cost:female", "shared": "urban"},
        smooths=[{"column": "age", "correlated": correlated}],
        tastes=[{"by": "origin", "attributes": ["cost", "cost:female"], "correlated": correlated}],
        nests=[{"name": "move", "alternatives": ["internal", "international"]}],
        consideration={"feasible": {"international": "wealth"}},
    )
    text = bm.explain(design.spec, priced()).at_width(10_000)
    drawn = bm.graph(design.spec, priced()).text
    dims = parameter_dims(design)
    for name in dims:
        if name.startswith(("sigma_", "corr_")):
            assert name in text and name in drawn
    for name in ("corr_household:origin", "corr_smooth_age", "corr_taste_origin"):
        assert (name in dims) == (name in text) == (name in drawn) == correlated


# --------------------------------------------------------------------------- priors


def test_numbers_of_priors_against_their_distributions() -> None:
    text = section(
        bm.explain(
            spec(
                **ALL,
                priors={
                    "lambda_nest": {"alpha": 3.0, "beta": 2.0},
                    "hill_exponent": {"loc": 0.5, "scale": 0.2},
                    "hump_bend": {"scale": 0.5},
                    "curve_effect": {"height": 1.0, "slope": 0.5},
                },
            )
        ),
        "Priors",
    )
    low, high = stats.beta(3, 2).interval(0.95)
    assert f"between {low:.2g} and {high:.2g}" in text
    low, high = stats.lognorm(0.2, scale=math.exp(0.5)).interval(0.95)
    assert f"between {low:.2g} and {high:.2g}" in text
    turned = stats.halfnorm(scale=0.5).sf(0.5)
    assert f"with probability {turned:.2g} the curve turns" in text
    assert f"by {math.exp(-1.96):.2g} to {math.exp(1.96):.2g}" in text
    assert f"by {math.exp(-0.98):.2g} to {math.exp(0.98):.2g}" in text


def test_odds_of_priors_are_said_to_be_those_of_the_logit() -> None:
    plain = section(bm.explain(spec()), "Priors")
    assert "Odds between alternatives are" not in plain
    assert "with all lambdas one" in section(bm.explain(spec(**ALL)), "Priors")


# ------------------------------------------------------------------- identification

NEST = [{"name": "move", "alternatives": ["internal", "international"]}]


@pytest.mark.parametrize(
    "utility",
    [
        {"persons": "female"},
        {"persons": "female", "shared": "wealth"},
        {"persons": "female", "alternatives": "cost"},
        {"persons": "female", "only": {"internal": "wealth"}},
        {"persons": "female", "only": {"internal": "1"}},
        {"persons": "female", "only": {"stay": "wealth"}},
    ],
)
def test_a_nest_is_judged_as_a_fit_judges_it(utility: dict[str, object]) -> None:
    if utility.get("only") == {"internal": "1"}:
        text = needs(spec(utility={"persons": "0 + female", "only": {"internal": "1"}}, nests=NEST))
        assert "This theory has neither" in text
        return
    design = small_design(survey=priced(), groups=[], utility=utility, nests=NEST)
    warned = any("lambda" in w for w in identification_warnings(design.spec, design.columns))
    assert ("This theory has neither" in needs(design.spec)) == warned


@pytest.mark.parametrize(("formula", "none"), [("wealth", True), ("wealth + urban", False)])
def test_consideration_is_judged_as_a_fit_judges_it(formula: str, none: bool) -> None:
    design = small_design(
        survey=priced(),
        groups=[],
        utility={"persons": "wealth"},
        consideration={"feasible": {"international": formula}},
    )
    warned = any("consideration" in w for w in identification_warnings(design.spec, design.columns))
    assert ("This theory has none" in needs(design.spec)) == warned == none


def test_a_curve_counts_units_as_a_fit_does() -> None:
    frame = small_frame(300, origins=20)
    dose = frame["origin"].str[1:].astype(float) ** 2
    dose = dose.where(dose < 100, 400.0)
    survey = survey_of(frame.assign(dose=dose))
    curve = {"column": "dose", "shape": "saturating", "alternatives": ["internal"]}
    for groups in ([], [{"by": "origin"}]):
        design = small_design("female", survey=survey, groups=groups, curves=[curve])
        low, high = np.quantile(design.frame["dose"][design.frame["dose"] > 0], [0.01, 0.99])
        start, end = low + (high - low) * stats.beta(2, 2).ppf([0.1, 0.9])
        units = (
            design.frame.groupby("origin")["dose"].mean()
            if groups
            else np.unique(dose.where(dose < 100, 400.0))
        )
        below, above = int((units < start).sum()), int((units > end).sum())
        text = needs(design.spec, survey)
        assert f"{below} lie below {start:.3g} and {above} above {end:.3g}" in text
        warned = identification_warnings(design.spec, design.columns)
        assert bool(warned) == (min(below, above) < 3)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"smooths": [{"column": "x", "bends": 4}]}, "at least 6 for 4 bends"),
        (
            {
                "utility": {"persons": "1", "alternatives": "cost"},
                "tastes": [{"by": "person", "attributes": ["cost"]}],
            },
            "several choices of each of many persons",
        ),
        (
            {"groups": [{"by": "household:origin"}]},
            "several persons of one household in one origin",
        ),
        ({"groups": [{"by": "x:caste"}]}, "What caste does by itself is in the cells too"),
        ({"groups": [{"by": "x:caste"}]}, "no empty cells"),
        ({"utility": {"persons": "1", "shared": "x + y"}}, "here 4"),
    ],
)
def test_each_block_says_what_it_needs(keys: dict[str, object], said: str) -> None:
    assert said in needs(spec(**keys))
    assert said not in needs(spec())


def test_facts_of_combinations_against_loops() -> None:
    frame = pd.DataFrame(
        {
            "choice": ["stay", "internal", "international", "internal"] * 3,
            "person": range(12),
            "a": [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2],
            "b": ["x", "y"] * 6,
        }
    )
    frame.loc[frame["a"] == 1, "b"] = "x"
    survey = bm.read_survey(
        frame,
        roles={"choice": "choice", "person": "person"},
        alternatives=["stay", "internal", "international"],
    )
    facts, cells = Facts(survey), {}
    for row in frame.itertuples():
        cells.setdefault((row.a, row.b), []).append(row.choice)
    assert facts.groups("a:b") == (
        len(cells),
        float(np.median([len(found) for found in cells.values()])),
    )
    assert facts.empty_cells("a:b") == 3 * 2 - len(cells) == 1
    both = sum(len(set(found) - {"stay"}) > 1 for found in cells.values())
    assert facts.groups_with_both("a:b", "stay") == both
    assert facts.has("a:b") and not facts.has("a:nowhere")
    text = needs(spec(groups=[{"by": "a:b"}]), survey)
    assert "Empty in this survey: 1." in text
    assert "combinations of a and b" in text
    assert isinstance(bm.explain(spec(groups=[{"by": "a:nowhere"}]), survey), Explanation)
    assert "declares no nowhere" in needs(spec(groups=[{"by": "a:nowhere"}]), survey)
