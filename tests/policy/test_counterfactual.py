"""Scenarios against plain loops, and changes that must not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.design.design import build_design
from bayesmig.errors import BayesmigError, ConvergenceError, DesignError, QuestionError, SpecError
from bayesmig.policy.counterfactual import Counterfactual, counterfactual, validate_scenario
from bayesmig.posterior import Posterior
from bayesmig.predict import predictions
from bayesmig.spec.library import load_model, load_scenario
from bayesmig.spec.scenario import Scenario
from tests.by_hand import (
    ALTERNATIVES,
    Row,
    as_array,
    averages,
    draws_of,
    effects_for,
    reloaded,
    rich_posterior,
    rows_of,
    summary_of,
)
from tests.fabricate import fabricated, small_design, small_frame, small_survey, survey_of

NEAR = {"rtol": 0, "atol": 1e-10}


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return rich_posterior()


def scenario(*interventions: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"name": "test", "interventions": list(interventions)})


def arms(result: Counterfactual) -> np.ndarray:
    """(draw, cell, quantity, alternative)."""
    draws = result.draws.to_numpy()
    return draws.reshape(draws.shape[0] * draws.shape[1], -1, 3, len(ALTERNATIVES))


def difference(result: Counterfactual, alternative: str) -> pd.Series:
    table = result.summary
    return table[(table["quantity"] == "difference") & (table["alternative"] == alternative)].iloc[
        0
    ]


# ------------------------------------------------------------ interventions, by hand

CASES: dict[str, tuple[list[dict[str, Any]], Callable[[Row], Row], Callable[[Any], Any]]] = {}


def case(
    name: str,
    interventions: list[dict[str, Any]],
    row: Callable[[Row], Row] = lambda row: {},
    draw: Callable[[Any], Any] = lambda draw: draw,
) -> None:
    """A scenario, what it does to a row, and what it does to a draw."""
    CASES[name] = (interventions, row, draw)


case(
    "set a number",
    [{"kind": "set", "column": "wealth", "value": 0.25}],
    lambda row: {"wealth": 0.25},
)
case(
    "set a level for some",
    [
        {
            "kind": "set",
            "column": "region",
            "value": "r2",
            "where": [{"column": "region", "one_of": ["r0", "r2"]}],
        }
    ],
    lambda row: {"region": "r2"} if row["region"] in ("r0", "r2") else {},
)
case(
    "set the origin",
    [{"kind": "set", "column": "origin", "value": "o01"}],
    lambda row: {"origin": "o01"},
)
case(
    "add for whom",
    [
        {
            "kind": "add",
            "column": "education",
            "value": 2,
            "where": [{"column": "female", "equals": 1}, {"column": "age", "below": 30}],
        }
    ],
    lambda row: {"education": row["education"] + 2} if row["female"] and row["age"] < 30 else {},
)
case(
    "scale between bounds",
    [
        {
            "kind": "scale",
            "column": "wealth",
            "factor": 0.5,
            "where": [{"column": "wealth", "above": -1, "below": 1}],
        }
    ],
    lambda row: {"wealth": row["wealth"] / 2} if -1 < row["wealth"] < 1 else {},
)
case(
    "clip",
    [{"kind": "clip", "column": "wealth", "lower": -0.5, "upper": 1}],
    lambda row: {"wealth": min(max(row["wealth"], -0.5), 1)},
)
case(
    "each to the result of the one before, filters on the rows as they were",
    [
        {"kind": "add", "column": "wealth", "value": 1},
        {
            "kind": "scale",
            "column": "wealth",
            "factor": 2,
            "where": [{"column": "wealth", "below": 0}],
        },
    ],
    lambda row: {"wealth": (row["wealth"] + 1) * (2 if row["wealth"] < 0 else 1)},
)
case(
    "close what is open to some",
    [
        {
            "kind": "availability",
            "alternative": "international",
            "available": False,
            "where": [{"column": "region", "equals": "r1"}],
        }
    ],
    lambda row: {"open": 0} if row["region"] == "r1" else {},
)
case(
    "open to all",
    [{"kind": "availability", "alternative": "international", "available": True}],
    lambda row: {"open": 1},
)
case(
    "close what a theory never closes, the base included",
    [
        {"kind": "availability", "alternative": "internal", "available": False},
        {
            "kind": "availability",
            "alternative": "stay",
            "available": False,
            "where": [{"column": "open", "equals": 1}],
        },
    ],
    lambda row: {"closed": ("internal", "stay") if row["open"] else ("internal",)},
)
case(
    "close, then open again",
    [
        {"kind": "availability", "alternative": "international", "available": False},
        {"kind": "availability", "alternative": "international", "available": True},
    ],
    lambda row: {"open": 1},
)
case(
    "an attribute of one alternative, twice",
    [
        {
            "kind": "attribute",
            "attribute": "cost",
            "alternative": "international",
            "change": "add",
            "value": 1,
        },
        {
            "kind": "attribute",
            "attribute": "cost",
            "alternative": "international",
            "change": "scale",
            "value": 0.5,
            "where": [{"column": "female", "equals": 1}],
        },
    ],
    lambda row: {
        "cost_international": (row["cost_international"] + 1) * (0.5 if row["female"] else 1)
    },
)
case(
    "an attribute that was a number",
    [
        {
            "kind": "attribute",
            "attribute": "cost",
            "alternative": "stay",
            "change": "set",
            "value": 0.7,
        }
    ],
    lambda row: {"cost of stay": 0.7},
)
case(
    "the column of an attribute",
    [{"kind": "scale", "column": "cost_internal", "factor": 2}],
    lambda row: {"cost_internal": row["cost_internal"] * 2},
)
case(
    "coefficients of three blocks",
    [
        {
            "kind": "coefficient",
            "name": "female:wealth",
            "alternative": "international",
            "shift": -0.5,
        },
        {
            "kind": "coefficient",
            "block": "only",
            "name": "urban",
            "alternative": "international",
            "shift": 0.3,
        },
        {"kind": "coefficient", "block": "alternatives", "name": "cost:wealth", "shift": 0.1},
    ],
    draw=lambda draw: (
        draw
        | {
            "beta[female:wealth, international]": draw["beta[female:wealth, international]"] - 0.5,
            "beta_only[urban:international]": draw["beta_only[urban:international]"] + 0.3,
            "gamma[cost:wealth]": draw["gamma[cost:wealth]"] + 0.1,
        }
    ),
)


@pytest.mark.parametrize("name", list(CASES))
def test_interventions_by_hand(
    posterior: Posterior, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interventions, change, move = CASES[name]
    result = counterfactual(posterior, scenario(*interventions), by="female")
    rows = rows_of(posterior.frame)
    cells = [row["female"] for row in rows]
    effects = effects_for(posterior, posterior.frame, "observed", 0)

    def average(rows: list[Any]) -> np.ndarray:
        by_draw = averages(posterior, rows, cells, posterior.frame["weight"], effects)
        return as_array(by_draw).reshape(len(by_draw), 2, -1)

    baseline = average(rows)
    moved = [move(draw) for draw in draws_of(posterior)]
    monkeypatch.setattr("tests.by_hand.draws_of", lambda _: moved)
    changed = average([row | change(row) for row in rows])
    for k, expected in enumerate((baseline, changed, changed - baseline)):
        np.testing.assert_allclose(arms(result)[:, :, k], expected, **NEAR)


@pytest.mark.parametrize("ways", [{"groups": "new"}, {"groups": "typical", "wts": False}])
def test_group_effects_and_weights_as_asked(posterior: Posterior, ways: dict[str, Any]) -> None:
    richer = {"kind": "add", "column": "wealth", "value": 1}
    result = counterfactual(posterior, scenario(richer), seed=4, **ways)
    frame = posterior.frame
    weights = frame["weight"] if ways.get("wts", True) else [1.0] * len(frame)
    effects = effects_for(posterior, frame, ways["groups"], 4)
    both = [
        as_array(averages(posterior, rows, [0] * len(rows), weights, effects))
        for rows in (rows_of(frame), rows_of(frame.assign(wealth=frame["wealth"] + 1)))
    ]
    np.testing.assert_allclose(arms(result)[:, 0, 2], both[1] - both[0], **NEAR)
    expected = predictions(posterior, seed=4, **ways).draws.to_numpy().reshape(len(both[0]), -1)
    np.testing.assert_array_equal(arms(result)[:, 0, 0], expected)


def test_arms_share_their_new_groups(posterior: Posterior) -> None:
    """Nothing happens to men, so nothing changes for them, in any draw."""
    girls = {
        "kind": "add",
        "column": "education",
        "value": 3,
        "where": [{"column": "female", "equals": 1}],
    }
    result = counterfactual(posterior, scenario(girls), by="female", groups="new")
    assert (arms(result)[:, 0, 2] == 0).all()
    assert (arms(result)[:, 1, 2] != 0).all()


# --------------------------------------------------------- changes that must not matter


@pytest.mark.parametrize(
    "interventions",
    [
        [{"kind": "add", "column": "wealth", "value": 0}],
        [{"kind": "scale", "column": "wealth", "factor": 1}],
        [{"kind": "coefficient", "name": "asc", "alternative": "internal", "shift": 0}],
        [{"kind": "availability", "alternative": "internal", "available": True}],
        [
            {
                "kind": "attribute",
                "attribute": "cost",
                "alternative": "internal",
                "change": "add",
                "value": 0,
            }
        ],
    ],
)
def test_no_change_changes_nothing(
    posterior: Posterior, interventions: list[dict[str, Any]]
) -> None:
    result = counterfactual(posterior, scenario(*interventions), by="region")
    assert (arms(result)[:, :, 2] == 0).all()
    assert len(result.diversion) == 0
    assert "changes nobody" in result.warnings[0]
    assert result.steps["changed"].tolist() == [0]


@pytest.mark.parametrize(
    "interventions",
    [
        [{"kind": "add", "column": "wealth", "value": v} for v in (0.5, -0.5)],
        [{"kind": "scale", "column": "wealth", "factor": v} for v in (4, 0.25)],
        [
            {"kind": "coefficient", "name": "wealth", "alternative": "internal", "shift": v}
            for v in (0.5, -0.5)
        ],
    ],
)
def test_a_scenario_and_its_inverse_cancel(
    posterior: Posterior, interventions: list[dict[str, Any]]
) -> None:
    result = counterfactual(posterior, scenario(*interventions))
    np.testing.assert_allclose(arms(result)[:, :, 2], 0.0, rtol=0, atol=1e-14)
    assert len(result.diversion) == 0


def test_contrasts_of_a_row_add_up_to_zero(posterior: Posterior) -> None:
    result = counterfactual(posterior, scenario(CLOSED), by="region")
    np.testing.assert_allclose(arms(result)[:, :, 2].sum(axis=2), 0.0, rtol=0, atol=1e-14)


def test_saved_posterior_answers_bit_identically(posterior: Posterior) -> None:
    chosen = scenario(CLOSED, {"kind": "add", "column": "wealth", "value": 1})
    before, after = (counterfactual(p, chosen, by="region") for p in (posterior, reloaded()))
    np.testing.assert_array_equal(before.draws.to_numpy(), after.draws.to_numpy())
    for table in ("summary", "totals", "gaps", "diversion", "steps"):
        pd.testing.assert_frame_equal(
            getattr(before, table), getattr(after, table), check_exact=True
        )
    assert before.warnings == after.warnings
    assert before.header == after.header


def test_nothing_is_mutated(posterior: Posterior) -> None:
    rows = posterior.frame
    before, spec = rows.copy(deep=True), posterior.spec
    draws = posterior.draws.copy(deep=True)
    counterfactual(posterior, scenario(CLOSED, *CASES["coefficients of three blocks"][0]))
    pd.testing.assert_frame_equal(posterior.frame, before)
    assert posterior.spec == spec
    assert draws.identical(posterior.draws)


# ------------------------------------------------------------- closing, and diversion

CLOSED = {"kind": "availability", "alternative": "international", "available": False}


def plain(spread: float = 0.1, **columns: Any) -> Posterior:
    """A theory without availability columns."""
    frame = small_frame(300).assign(**columns)
    survey = survey_of(frame)
    return fabricated(small_design(survey=survey), survey=survey, spread=spread)


def test_closing_renormalises() -> None:
    posterior = plain()
    result = counterfactual(posterior, scenario(CLOSED), by="obs", newdata=posterior.frame[:20])
    base, closed = arms(result)[:, :, 0], arms(result)[:, :, 1]
    left = base[:, :, :2] / (1 - base[:, :, 2:])
    np.testing.assert_allclose(closed[:, :, :2], left, rtol=1e-12)
    assert (closed[:, :, 2] == 0).all()


def test_diversion_of_alike_people_is_proportional() -> None:
    posterior = plain()
    alike = pd.concat([posterior.frame.iloc[[4]]] * 5)
    dearer = {"kind": "coefficient", "name": "asc", "alternative": "internal", "shift": -1.0}
    for change, source in ((CLOSED, "international"), (dearer, "internal")):
        table = counterfactual(posterior, scenario(change), newdata=alike).diversion
        assert set(table["source"]) == {source}
        np.testing.assert_allclose(table["estimate"], table["iia_estimate"], rtol=1e-9)
        np.testing.assert_allclose(table["lower"], table["iia_lower"], rtol=1e-9)
        assert (table["probability_above_iia"] == 0).all()


FOR_MEN = {"where": [{"column": "female", "equals": 0}]}
FEMALE = {"kind": "coefficient", "name": "female", "shift": -1.0}


@pytest.mark.parametrize(
    ("persons", "change", "source"),
    [
        ("1", CLOSED, "international"),
        ("1", CLOSED | FOR_MEN, "international"),
        ("female", CLOSED | FOR_MEN, "international"),
        ("female", FEMALE | {"alternative": "internal"}, "internal"),
    ],
)
@pytest.mark.parametrize("wts", [True, False])
def test_diversion_of_alike_people_is_proportional_whoever_else_there_is(
    persons: str, change: dict[str, Any], source: str, wts: bool
) -> None:
    """A logit without groups: all whom the scenario reaches substitute alike, in every draw.

    Women move abroad ten times as often as men, and have no part in what men would do.
    """
    survey = small_survey(300)
    slopes = {"beta": np.array([[-1.0, -2.0], [-0.5, 2.5]])[: 1 + (persons == "female")]}
    design = small_design(persons, survey=survey, groups=[])
    posterior = fabricated(design, survey=survey, centre=slopes)
    table = counterfactual(posterior, scenario(change), wts=wts).diversion
    assert set(table["source"]) == {source}
    for theirs, ours in (("estimate", "iia_estimate"), ("lower", "iia_lower")):
        np.testing.assert_allclose(table[theirs], table[ours], rtol=1e-9)
    assert (table["probability_above_iia"] == 0).all()


def test_diversion_by_hand(posterior: Posterior) -> None:
    """Shares without the scenario of those to whom it closes what was open."""
    frame = posterior.frame
    effects = effects_for(posterior, frame, "observed", 0)
    for women in (False, True):
        change = CLOSED | ({"where": [{"column": "female", "equals": 1}]} if women else {})
        result = counterfactual(posterior, scenario(change), by="region", wts="half")
        overall = counterfactual(posterior, scenario(change), wts="half")
        base, closed = arms(overall)[:, 0, 0].tolist(), arms(overall)[:, 0, 1].tolist()
        reached = [r for r in rows_of(frame) if r["open"] and (r["female"] or not women)]
        by_hand = averages(
            posterior, reached, [0] * len(reached), [r["half"] for r in reached], effects
        )
        for table in (result.diversion, overall.diversion):
            assert table["target"].tolist() == ["stay", "internal"]
            assert table["estimate"].sum() == pytest.approx(1, abs=1e-12)
            for k, row in enumerate(table.itertuples()):
                pairs = zip(base, closed, strict=True)
                ratio = [(b[k] - a[k]) / (a[2] - b[2]) for a, b in pairs]
                iia = [d[0][row.target] / (1 - d[0]["international"]) for d in by_hand]
                numbers = (row.estimate, row.sd, row.lower, row.upper)
                assert numbers == pytest.approx(summary_of(ratio), abs=1e-10)
                mean, _, low, high = summary_of(iia)
                numbers = (row.iia_estimate, row.iia_lower, row.iia_upper)
                assert numbers == pytest.approx((mean, low, high), abs=1e-10)
                above = sum(r > i for r, i in zip(ratio, iia, strict=True)) / len(iia)
                assert row.probability_above_iia == above


def test_diversion_shows_who_leaves() -> None:
    """Those who go abroad are those who would otherwise move: more than proportional."""
    frame = small_frame(300).assign(female=np.arange(300) % 2)
    survey = survey_of(frame)
    design = small_design("female", survey=survey, groups=[])
    beta = np.array([[-3.0, -3.0], [3.0, 3.0]])
    posterior = fabricated(design, survey=survey, centre={"beta": beta})
    table = counterfactual(posterior, scenario(CLOSED)).diversion.set_index("target")
    assert table.loc["internal", "estimate"] > table.loc["internal", "iia_estimate"] + 0.05
    assert table.loc["internal", "probability_above_iia"] > 0.99
    assert table.loc["stay", "probability_above_iia"] < 0.01


def test_diversion_without_a_denominator_is_no_number() -> None:
    posterior = plain(spread=0.5)
    richer = {"kind": "add", "column": "wealth", "value": 0.1}
    table = counterfactual(posterior, scenario(richer)).diversion
    assert len(table)
    unstable = table[table["note"] != ""]
    assert len(unstable)
    assert (
        unstable[["estimate", "sd", "lower", "upper", "probability_above_iia"]]
        .isna()
        .to_numpy()
        .all()
    )
    assert unstable["note"].str.contains("% of draws only").all()
    assert unstable["iia_estimate"].between(0, 1).all()


# --------------------------------------------------------------- totals, gaps, header


def test_totals_count_weights_or_rows(posterior: Posterior) -> None:
    frame, chosen = posterior.frame, scenario(CLOSED)
    for wts, column in ((True, "weight"), ("half", "half"), (False, None)):
        result = counterfactual(posterior, chosen, by="region", wts=wts)
        mass = frame.groupby("region")[column].sum() if column else frame["region"].value_counts()
        scale = result.summary["region"].map(mass).astype(float)
        for name in ("estimate", "sd", "lower", "upper"):
            np.testing.assert_allclose(
                result.totals[name], result.summary[name] * scale, rtol=1e-12
            )
        baseline = result.totals[result.totals["quantity"] == "baseline"]["estimate"].sum()
        assert baseline == pytest.approx(float(mass.sum()))
        assert ("expansion weights" in result.header["totals"]) == bool(column)
        assert "unweighted" in counterfactual(posterior, chosen, wts=False).header["totals"]


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("reference", [("r1", "r0"), ("r2", "r0")]),
        ("sequential", [("r1", "r0"), ("r2", "r1")]),
        ("pairwise", [("r1", "r0"), ("r2", "r0"), ("r2", "r1")]),
    ],
)
def test_gaps_are_paired(posterior: Posterior, kind: Any, pairs: list[tuple[str, str]]) -> None:
    result = counterfactual(posterior, scenario(CLOSED), by="region", gaps=kind)
    regions, k = ["r0", "r1", "r2"], 0
    for cell, against in pairs:
        gap = arms(result)[:, regions.index(cell)] - arms(result)[:, regions.index(against)]
        for q, quantity in enumerate(("baseline", "scenario", "difference")):
            for j, alternative in enumerate(ALTERNATIVES):
                row = result.gaps.iloc[k]
                labels = (row["cell"], row["against"], row["quantity"], row["alternative"])
                assert labels == (cell, against, quantity, alternative)
                expected = summary_of(gap[:, q, j].tolist())
                numbers = tuple(row[["estimate", "sd", "lower", "upper"]])
                assert numbers == pytest.approx(expected, abs=1e-10)
                k += 1
    assert k == len(result.gaps)


def test_too_many_gaps_are_refused(posterior: Posterior, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesmig.policy.counterfactual._MOST_GAPS", 2)
    counterfactual(posterior, scenario(CLOSED), by="region")
    with pytest.raises(QuestionError, match="3 pairs of cells"):
        counterfactual(posterior, scenario(CLOSED), by="region", gaps="pairwise")


def test_one_cell_has_no_gaps(posterior: Posterior) -> None:
    result = counterfactual(posterior, scenario(CLOSED))
    assert len(result.gaps) == 0
    assert "quantity" in result.gaps.columns


def test_shape_and_words_of_the_answer(posterior: Posterior) -> None:
    result = counterfactual(posterior, scenario(CLOSED), by=["female", "region"])
    assert list(result.summary.columns) == [
        "female",
        "region",
        "quantity",
        "alternative",
        "estimate",
        "sd",
        "lower",
        "upper",
        "rows",
    ]
    assert result.summary["quantity"].tolist()[:9:3] == ["baseline", "scenario", "difference"]
    assert result.draws.sizes["cell"] == len(result.summary) == 6 * 9
    assert result.header["kind"] == "static: networks and prior moves do not respond"
    assert result.header["interventions"] == "close international"
    text = str(result)
    for words in ("static", "averages are weighted by weight", "Diversion", "close international"):
        assert words in text
    matched, changed = result.steps.loc[0, ["matched", "changed"]]
    assert (matched, changed) == (60, int((posterior.frame["open"] == 1).sum()))


def test_packaged_scenario_by_name() -> None:
    survey = small_survey()
    design = build_design(load_model("networks"), survey)
    posterior = fabricated(design, survey=survey)
    result = counterfactual(posterior, "border_closure")
    assert difference(result, "international")["estimate"] < 0
    assert result.question == "Scenario 'The border is closed'"
    with pytest.raises(SpecError, match="did you mean 'border_closure'"):
        counterfactual(posterior, "border_closur")


def test_everything_packaged_can_be_put_on_its_survey() -> None:
    survey = small_survey()
    design = build_design(load_model("networks"), survey)
    for name in ("border_closure", "border_tightening", "girls_schooling", "network_cut"):
        validate_scenario(load_scenario(name), design, survey.frame)


# ------------------------------------------------------------------- observed support


def test_leaving_the_observed_range_is_told_with_numbers(posterior: Posterior) -> None:
    frame = posterior.frame
    low, high = frame["wealth"].min(), frame["wealth"].max()
    p1, p99 = np.quantile(frame["wealth"], [0.01, 0.99])
    result = counterfactual(posterior, scenario({"kind": "add", "column": "wealth", "value": 1.5}))
    after = frame["wealth"] + 1.5
    above = np.average(after > high, weights=frame["weight"])
    text = next(w for w in result.warnings if "rise above" in w)
    assert f"{100 * above:.1f} % of the rows (weighted)" in text
    assert f"{high:g} (up to {after.max():g})" in text
    central = (frame["wealth"] >= p1) & (frame["wealth"] <= p99)
    thin = np.average(central & (after > p99) & (after <= high), weights=frame["weight"])
    if thin:
        assert any(f"{100 * thin:.1f} %" in w and "percentiles" in w for w in result.warnings)
    lower = counterfactual(
        posterior, scenario({"kind": "set", "column": "wealth", "value": low - 1}), wts=False
    )
    assert "100.0 % of the rows fall below the lowest observed wealth" in lower.warnings[0]


def test_rows_that_were_outside_are_told_where_they_go_further(posterior: Posterior) -> None:
    frame = posterior.frame
    high = frame["wealth"].max()
    rich = frame.assign(wealth=frame["wealth"].where(frame["female"] == 0, high + 1))
    outside = rich["wealth"] > high

    def told(newdata: pd.DataFrame, value: float, **keys: Any) -> tuple[str, ...]:
        change = scenario({"kind": "add", "column": "wealth", "value": value, **keys})
        return counterfactual(posterior, change, newdata=newdata, wts=False).warnings

    some = [{"column": "urban", "equals": 1}]
    further = outside & (rich["urban"] == 1)
    [note] = [w for w in told(rich, 0.5, where=some) if "go further" in w]
    assert note.startswith(f"{100 * outside.mean():.1f} % of the rows lie above the highest")
    assert f"{100 * further.mean():.1f} % of the rows go further (up to {high + 1.5:g})" in note
    # Back towards what was observed is no step out of it; nor is standing still.
    assert not [w for w in told(rich, -0.5) if "above" in w]
    assert not [w for w in told(rich, 0.5, where=[{"column": "female", "equals": 0}]) if
                "go further" in w]  # fmt: skip
    low = frame["wealth"].min()
    poor = frame.assign(wealth=low - 1.0)
    [note] = told(poor, -1.0)
    assert note == (
        f"100.0 % of the rows lie below the lowest observed wealth, {low:g}, without the "
        f"scenario, and 100.0 % of the rows go further (down to {low - 2:g})"
    )


def test_coefficients_that_move_far_from_their_draws_are_told() -> None:
    posterior = plain(spread=0.1)
    draws = posterior.draws["beta"].sel(coefficient="wealth", nonbase="internal").to_numpy()
    sd = draws.std(ddof=1)

    def told(*shifts: float) -> tuple[str, ...]:
        steps = [
            {"kind": "coefficient", "name": "wealth", "alternative": "internal", "shift": by}
            for by in shifts
        ]
        return counterfactual(posterior, scenario(*steps)).warnings

    assert told(4.9 * sd) == told(-4.9 * sd) == told(3 * sd, -3 * sd) == ()
    [note] = told(-3 * sd, -3 * sd)
    assert note.startswith(f"the coefficient wealth of internal moves by {-6 * sd:g}, more than 5")
    assert f"(mean {draws.mean():.3g}, standard deviation {sd:.3g})" in note


def test_staying_within_the_support_is_silent(posterior: Posterior) -> None:
    result = counterfactual(
        posterior, scenario({"kind": "clip", "column": "wealth", "lower": -0.5, "upper": 0.5})
    )
    assert result.warnings == ()


WARNED = [
    ({"kind": "set", "column": "female", "value": 0.5}, "female is 0 or 1 in the survey"),
    ({"kind": "scale", "column": "wealth", "factor": 0.5}, "moves negative values the other way"),
    (
        {"kind": "availability", "alternative": "international", "available": True},
        "international opens to",
    ),
    (
        {
            "kind": "attribute",
            "attribute": "cost",
            "alternative": "international",
            "change": "scale",
            "value": 3,
        },
        "highest observed cost of international",
    ),
    ({"kind": "clip", "column": "wealth", "lower": -99}, "changes nobody"),
]


@pytest.mark.parametrize(("intervention", "words"), WARNED, ids=[w for _, w in WARNED])
def test_warnings(posterior: Posterior, intervention: dict[str, Any], words: str) -> None:
    result = counterfactual(posterior, scenario(intervention))
    assert any(words in w for w in result.warnings), result.warnings
    assert f"warning: {result.warnings[0]}" in str(result)


def test_who_is_set_into_a_group_that_is_a_number_has_its_effects() -> None:
    frame = small_frame().assign(half=lambda f: f.index % 2)
    design = small_design(groups=[{"by": "half"}], survey=survey_of(frame))
    effects = np.zeros((2, 2, 1))
    effects[1] = 1.0
    model = fabricated(design, centre={"u_half": effects}, spread=1e-9)
    asked = {"kind": "set", "column": "half", "value": 1}
    result = counterfactual(model, scenario(asked), groups="observed")
    moved = frame.assign(half=1)
    shares = predictions(model, newdata=moved, groups="observed").summary
    for alternative in ALTERNATIVES:
        of = shares[shares["alternative"] == alternative]["estimate"].iloc[0]
        table = result.summary[result.summary["alternative"] == alternative]
        assert table[table["quantity"] == "scenario"]["estimate"].iloc[0] == pytest.approx(of)
        assert abs(difference(result, alternative)["estimate"]) > 0.01


# -------------------------------------------------------------------------- refusals


def _filtered(**condition: Any) -> dict[str, Any]:
    return {"kind": "add", "column": "wealth", "value": 1, "where": [condition]}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"kind": "add", "column": "age", "value": 1}, "does not use 'age': the scenario would change"),
    ({"kind": "add", "column": "welth", "value": 1}, "did you mean 'wealth'"),
    ({"kind": "set", "column": "choice", "value": "stay"}, "does not use 'choice'"),
    ({"kind": "add", "column": "origin", "value": 1}, "does not use 'origin'"),
    ({"kind": "add", "column": "region", "value": 1}, "'region' is a category"),
    ({"kind": "clip", "column": "region", "lower": 1}, "'region' is a category"),
    ({"kind": "set", "column": "wealth", "value": "rich"}, "holds numbers, got the text 'rich'"),
    ({"kind": "set", "column": "region", "value": "r9"}, "'r9' is not a level of 'region'"),
    ({"kind": "set", "column": "region", "value": 9}, "'9' is not a level of 'region'"),
    ({"kind": "set", "column": "origin", "value": "o99"}, "'o99' is not a level of 'origin'"),
    (_filtered(column="female", equals=2), "matches nobody; 'female' runs from 0 to 1"),
    (_filtered(column="region", equals="north"), "matches nobody; 'region' has the levels r0, r1"),
    (_filtered(column="wealth", above=1e6), "matches nobody"),
    (_filtered(column="region", above=1), "text, which has no order"),
    (_filtered(column="female", equals="yes"), "holds numbers, got the text 'yes'"),
    (_filtered(column="aeg", above=1), "did you mean 'age'"),
    (
        {"kind": "availability", "alternative": "abroad", "available": False},
        "'abroad' is not an alternative",
    ),
    (
        {
            "kind": "attribute",
            "attribute": "price",
            "alternative": "internal",
            "change": "add",
            "value": 1,
        },
        "does not use the attribute 'price'",
    ),
    (
        {"kind": "coefficient", "name": "asc", "alternative": "stay", "shift": 1},
        "the base 'stay' has no coefficients",
    ),
    (
        {"kind": "coefficient", "name": "wealht", "alternative": "internal", "shift": 1},
        "did you mean 'wealth'",
    ),
    (
        {
            "kind": "coefficient",
            "block": "only",
            "name": "urban",
            "alternative": "internal",
            "shift": 1,
        },
        "no coefficient 'urban' of 'internal' in the block only",
    ),
    (
        {"kind": "coefficient", "block": "alternatives", "name": "time", "shift": 1},
        "no coefficient 'time' in the block alternatives",
    ),
]


@pytest.mark.parametrize(("intervention", "words"), REFUSED, ids=[w for _, w in REFUSED])
def test_scenarios_that_do_not_fit(
    posterior: Posterior, intervention: dict[str, Any], words: str
) -> None:
    wrong = scenario(CLOSED, intervention)
    for ask in (
        lambda: counterfactual(posterior, wrong),
        lambda: validate_scenario(wrong, posterior.design, posterior.frame),
    ):
        with pytest.raises(QuestionError) as caught:
            ask()
        assert words in str(caught.value)
        assert "scenario 'test' · intervention 2" in str(caught.value)


def test_filters_that_exclude_each_other(posterior: Posterior) -> None:
    nobody = _filtered(column="female", equals=1)
    nobody["where"].append({"column": "female", "equals": 0})
    with pytest.raises(QuestionError, match="nobody meets all filters at once"):
        counterfactual(posterior, scenario(nobody))


def test_group_labels_matter_only_with_observed_groups(posterior: Posterior) -> None:
    moved = scenario({"kind": "set", "column": "origin", "value": "o01"})
    for groups in ("new", "typical"):
        with pytest.raises(QuestionError, match="does not use 'origin'"):
            counterfactual(posterior, moved, groups=groups)  # type: ignore[arg-type]


def test_closing_everything_is_refused(posterior: Posterior) -> None:
    closed = scenario(
        *({"kind": "availability", "alternative": a, "available": False} for a in ALTERNATIVES)
    )
    for ask in (
        lambda: counterfactual(posterior, closed),
        lambda: validate_scenario(closed, posterior.design, posterior.frame),
    ):
        with pytest.raises(DesignError, match="no alternative is available") as caught:
            ask()
        assert "scenario 'test'" in str(caught.value)


def test_opening_what_has_no_attributes_is_refused(posterior: Posterior) -> None:
    """Costs of a closed border are not known: they are not zero when it opens."""
    frame = posterior.frame
    rows = frame.assign(cost_international=frame["cost_international"].where(frame["open"] == 1))
    opened = {"kind": "availability", "alternative": "international", "available": True}
    with pytest.raises(DesignError, match="cost") as caught:
        counterfactual(posterior, scenario(opened), newdata=rows)
    assert "scenario 'test'" in str(caught.value)
    priced = {
        "kind": "attribute",
        "attribute": "cost",
        "alternative": "international",
        "change": "set",
        "value": 3,
    }
    counterfactual(posterior, scenario(priced, opened), newdata=rows)


def test_theories_without_attributes_say_so() -> None:
    posterior = plain()
    dearer = {
        "kind": "attribute",
        "attribute": "cost",
        "alternative": "internal",
        "change": "add",
        "value": 1,
    }
    with pytest.raises(QuestionError, match="does not use the attribute 'cost'"):
        counterfactual(posterior, scenario(dearer))


def test_numbers_meet_text_columns() -> None:
    """Labels of roles are text: the year 2007 is written as a number in a scenario."""
    frame = small_frame(300).assign(period=np.resize([2000, 2007], 300))
    frame["household"] = frame["origin"] + frame["household"]
    survey = survey_of(frame)
    posterior = fabricated(small_design(survey=survey), survey=survey)
    late = _filtered(column="period", equals=2007)
    result = counterfactual(posterior, scenario(late), by="period")
    assert result.steps["matched"].tolist() == [150]


def test_convergence_and_options(posterior: Posterior) -> None:
    poor = fabricated(small_design(), r_hat=1.2)
    chosen = scenario({"kind": "add", "column": "wealth", "value": 1})
    with pytest.raises(ConvergenceError):
        counterfactual(poor, chosen)
    marked = counterfactual(poor, chosen, allow_unconverged=True)
    assert marked.header["convergence"].startswith("allowed although: R-hat > 1.01")
    assert "convergence" not in counterfactual(posterior, chosen).header
    with pytest.raises(QuestionError, match="did you mean 'pairwise'"):
        counterfactual(posterior, chosen, by="region", gaps="pairwse")  # type: ignore[arg-type]
    bare = replace(posterior, survey=None)
    with pytest.raises(BayesmigError, match="loaded without survey"):
        counterfactual(bare, scenario(_filtered(column="age", above=1)))
