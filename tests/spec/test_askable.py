"""Claims that a theory cannot make are found before anything is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bayesmig import hypotheses
from bayesmig.explanation.explain import explain
from bayesmig.hypotheses import validate_hypotheses
from bayesmig.spec.askable import _products, unaskable, warnings_of
from bayesmig.spec.library import load_model, model_names
from tests.by_hand import rich_survey, rich_theory
from tests.fabricate import fabricated, small_design, theory

BENT = {"smooths": [{"column": "wealth", "bends": 3}]}
NEST = {"nests": [{"name": "move", "alternatives": ["internal", "international"]}]}
HOME = {"nests": [{"name": "home", "alternatives": ["stay", "internal"]}]}
CURVE = {
    "curves": [{"column": "household_internal", "shape": "log1p", "alternatives": ["internal"]}]
}
AT = "log_odds(education, internal, wealth=1) > log_odds(education, internal, wealth=0)"
OWN = "log_odds(wealth, internal, wealth=1) > log_odds(wealth, internal, wealth=0)"
#: Utility, statement, whether it can be asked, and what else the theory has.
CASES: list[tuple[str, str, bool, dict[str, Any]]] = [
    ("education + wealth", AT, False, {}),
    ("education * wealth", AT, True, {}),
    ("education + wealth", AT.replace("log_odds", "lift"), True, {}),
    ("education + wealth", f"2 * {AT}", True, {}),
    ("education + wealth", OWN, False, {}),
    ("education + wealth + square(wealth)", OWN, True, {}),
    ("education + scale(wealth)", OWN, False, {}),
    ("education + wealth:scale(wealth)", OWN, True, {}),
    ("education + wealth", OWN, True, BENT),
    ("education", OWN.replace("wealth", "household_internal"), True, CURVE),
    ("education + wealth", AT, True, NEST),
    ("education + wealth", AT, False, HOME),
    ("education + wealth", AT.replace("internal", "international"), True, HOME),
    ("education + wealth", "excess(education, internal) > 0.01", True, {}),
    ("wealth", AT, False, {"groups": [{"by": "origin", "terms": "1 + education"}]}),
    ("wealth", AT, True, {"groups": [{"by": "origin", "terms": "1 + education:wealth"}]}),
    ("education + wealth", "log_odds(internal, wealth=1) > log_odds(internal, wealth=0)", True, {}),
]


@pytest.mark.parametrize(("utility", "statement", "can", "keys"), CASES)
def test_the_structure_says_what_draws_would(
    utility: str, statement: str, can: bool, keys: dict[str, Any]
) -> None:
    stated = {"x": {"claim": "x", "statement": statement}}
    design = small_design(utility, **{"groups": [], **keys}, hypotheses=stated)
    assert bool(unaskable(design.spec, design.spec.hypotheses["x"])) is not can
    assert bool(validate_hypotheses(design)) is not can
    draws = hypotheses.test(fabricated(design, spread=0.3), "x").draws.to_numpy()
    assert bool(np.ptp(draws) < 1e-9) is not can


def test_what_acts_on_another_alternative_alone_has_no_odds_here() -> None:
    stated = {
        "odds": {"claim": "x", "statement": "log_odds(urban, internal) > 0"},
        "excess": {"claim": "x", "statement": "excess(urban, internal) > 0"},
        "own": {"claim": "x", "statement": "log_odds(urban, international) > 0"},
    }
    spec = theory(
        utility={"persons": "wealth", "only": {"international": "urban"}}, hypotheses=stated
    )
    assert [name for name, h in spec.hypotheses.items() if unaskable(spec, h)] == ["odds", "excess"]
    assert "excess(urban, internal) > 0 cannot be asked of this theory" in warnings_of(spec)[1]


def test_attributes_stand_for_their_columns() -> None:
    """With a survey by what it says, without one by their names."""
    at = "log_odds(cost_international, international, {0}=1) > "
    at += "log_odds(cost_international, international, {0}=0)"
    stated = {c: {"claim": "x", "statement": at.format(c)} for c in ("wealth", "education")}
    stated["other"] = {"claim": "x", "statement": "log_odds(cost_international, internal) < 0"}
    spec, survey = rich_theory(hypotheses=stated, available={}), rich_survey()
    for attributes in (None, survey.attributes):
        found = {name: bool(unaskable(spec, h, attributes)) for name, h in spec.hypotheses.items()}
        assert found == {"wealth": False, "education": True, "other": True}


def test_explain_says_it() -> None:
    spec = theory("education + wealth", hypotheses={"x": {"claim": "x", "statement": AT}})
    text = " ".join(explain(spec).text.split())
    assert f"WARNING: {AT} cannot be asked of this theory: the two sides differ by nothing" in text
    spec = theory("education * wealth", hypotheses={"x": {"claim": "x", "statement": AT}})
    assert "WARNING" not in explain(spec).text


def test_every_column_that_a_utility_reads_is_looked_at() -> None:
    """A new block of model files must not look like one that does nothing."""
    for name in model_names():
        spec = load_model(name)
        looked_at = {
            c for a in spec.choice.alternatives for p in _products(spec, a, {}) for c in p.columns
        }
        of_utility = {k: f for k, f in spec.formulas.items() if not k.startswith("consideration")}
        for key, formula in of_utility.items():
            assert set(formula.columns) <= looked_at, (name, key)


@pytest.mark.parametrize("name", model_names())
def test_what_is_shipped_can_be_asked(name: str) -> None:
    assert warnings_of(load_model(name)) == ()


def test_a_column_that_seems_misspelt_is_told() -> None:
    known = {"female": "1 for women", "urban": "1 in towns", "age": "years"}
    assert warnings_of(theory("female + urban + education", columns=known)) == ()
    [said] = warnings_of(theory("female + urbn + education", columns=known))
    assert "names the column 'urbn', which [columns] does not describe" in said
    assert "describes 'urban', which no formula names" in said
    assert warnings_of(theory("female + urbn")) == ()
