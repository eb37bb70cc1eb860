"""Attributes joined from files, from codebook to scenario: each step against loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.design.design import Design, build_design
from bayesmig.errors import DesignError, QuestionError
from bayesmig.policy.counterfactual import counterfactual
from bayesmig.posterior import Posterior, load
from bayesmig.predict import comparisons, predictions
from bayesmig.simulation import simulate
from bayesmig.spec.scenario import Scenario
from bayesmig.survey.survey import Survey, read_survey
from tests.by_hand import draws_of, rows_of
from tests.fabricate import fabricated, theory

ALTERNATIVES = "cost + cost:wealth + enforcement + enforcement:female + permit:education"


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    folder = tmp_path_factory.mktemp("joined") / "survey"
    return read_survey(simulate(folder, persons=600, seed=5, world="regimes", periods=3).codebook)


def design(survey: Survey, **utility: Any) -> Design:
    utility = {"persons": "female + education + wealth", "alternatives": ALTERNATIVES} | utility
    return build_design(theory(utility=utility, groups=[], weights="ignore"), survey)


@pytest.fixture(scope="module")
def posterior(survey: Survey) -> Posterior:
    made = fabricated(design(survey), survey=survey, chains=2, draws=4, spread=0.3, seed=3)
    for name in ("ess_bulk", "ess_tail"):
        made.data["diagnostics"][name][:] = 1000.0
    return made


def attributes(row: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {
        "cost": {"internal": row["cost_internal"], "international": row["cost_international"]},
        "enforcement": {"international": row["border_enforcement"]},
        "permit": {"internal": row["permit_restriction"]},
    }


def shares(
    posterior: Posterior, rows: list[dict[str, Any]], change: Any = attributes
) -> np.ndarray:
    """Average probabilities by draw, ``(draw, alternative)``."""
    result = []
    for draw in draws_of(posterior):
        total = np.zeros(3)
        for row in rows:
            at = change(row)
            odds = []
            for j in ("stay", "internal", "international"):
                v = 0.0
                for term in ALTERNATIVES.split(" + "):
                    name, _, column = term.partition(":")
                    value = at[name].get(j, 0.0) * (row[column] if column else 1)
                    v += draw[f"gamma[{term}]"] * value
                if j != "stay":
                    v += draw[f"beta[asc, {j}]"]
                    v += sum(
                        draw[f"beta[{c}, {j}]"] * row[c] for c in ("female", "education", "wealth")
                    )
                odds.append(math.exp(v))
            total += np.array(odds) / sum(odds)
        result.append(total / len(rows))
    return np.array(result)


def test_the_design_by_loops(survey: Survey) -> None:
    built, frame = design(survey), survey.frame
    for i, row in enumerate(rows_of(frame)):
        at = attributes(row)
        for k, term in enumerate(built.attribute_terms):
            name, _, column = term.partition(":")
            for j, alternative in enumerate(built.alternatives):
                expected = at[name].get(alternative, 0.0) * (row[column] if column else 1)
                assert built.columns.attributes[i, j, k] == pytest.approx(expected, abs=1e-12)


def test_predictions_by_loops(survey: Survey, posterior: Posterior) -> None:
    expected = shares(posterior, rows_of(survey.frame)).mean(axis=0)
    np.testing.assert_allclose(predictions(posterior).summary["estimate"], expected, rtol=1e-9)


def scenario(*interventions: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"name": "test", "interventions": list(interventions)})


CHEAPER = {"kind": "attribute", "attribute": "cost", "alternative": "international",
           "change": "add", "value": -math.log(2)}  # fmt: skip
TIGHTER = {"kind": "add", "column": "border_enforcement", "value": 1.0}
OPEN = {"kind": "attribute", "attribute": "permit", "alternative": "internal",
        "change": "set", "value": -1.0, "where": [{"column": "female", "equals": 1}]}  # fmt: skip


@pytest.mark.parametrize(
    ("intervention", "moved"),
    [
        (CHEAPER, lambda r: {"cost_international": r["cost_international"] - math.log(2)}),
        (TIGHTER, lambda r: {"border_enforcement": r["border_enforcement"] + 1}),
        (OPEN, lambda r: {"permit_restriction": -1.0 if r["female"] else r["permit_restriction"]}),
    ],
    ids=["cheaper", "tighter", "open to women"],
)
def test_scenarios_by_loops(
    survey: Survey, posterior: Posterior, intervention: Any, moved: Any
) -> None:
    """Interactions move along with the attribute."""
    rows = rows_of(survey.frame)
    before = shares(posterior, rows)
    after = shares(posterior, [row | moved(row) for row in rows])
    table = counterfactual(posterior, scenario(intervention)).summary
    found = table[table["quantity"] == "difference"]["estimate"].to_numpy()
    np.testing.assert_allclose(found, (after - before).mean(axis=0), rtol=1e-7, atol=1e-12)
    assert np.abs(found).max() > 1e-4


def test_a_saved_posterior_has_its_attributes(posterior: Posterior, tmp_path: Path) -> None:
    again = load(posterior.save(tmp_path / "fit.nc"))
    a, b = (counterfactual(p, scenario(TIGHTER)).summary for p in (posterior, again))
    pd.testing.assert_frame_equal(a, b)


def test_attributes_are_asked_about_by_their_columns(posterior: Posterior) -> None:
    table = comparisons(posterior, "border_enforcement").summary
    abroad = table.loc[table["alternative"] == "international", "estimate"].item()
    assert abs(abroad) > 1e-3
    with pytest.raises(QuestionError, match="'cost' is an attribute of alternatives") as caught:
        comparisons(posterior, "cost")
    assert "cost_internal, cost_international" in caught.value.mend


@pytest.mark.parametrize(
    ("utility", "what"),
    [
        # The same for all alternatives: it moves no choice.
        ({"alternatives": "cost*wealth"}, "wealth"),
        # One number for a whole period, beside constants of the period.
        ({"alternatives": "year_level", "period_constants": True}, "year_level"),
    ],
)
def test_what_attributes_cannot_show_is_refused(
    survey: Survey, utility: dict[str, Any], what: str, tmp_path: Path
) -> None:
    folder = tmp_path / "survey"
    made = simulate(folder, persons=600, seed=5, world="regimes", periods=3)
    book = made.codebook.read_text()
    (folder / "levels.csv").write_text("year,level\n2010,1.5\n2011,0.2\n2012,2.5\n")
    book += (
        '\n[tables.levels]\nfile = "levels.csv"\nkeys = { period = "year" }\n'
        'columns = { level = "level" }\n\n'
        '[attributes.year_level]\nstay = 0\ninternal = 0\ninternational = "level"\n'
    )
    made.codebook.write_text(book)
    with pytest.raises(DesignError, match=what):
        design(read_survey(made.codebook), **utility)
