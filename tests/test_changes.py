"""What may change alone, to what, and how far that reaches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bayesmig import changes, hypotheses
from bayesmig.design.design import build_design
from bayesmig.errors import QuestionError
from bayesmig.policy.counterfactual import counterfactual, validate_scenario
from bayesmig.posterior import Posterior, load
from bayesmig.predict import Effect, comparisons, predictions, slopes
from bayesmig.spec.scenario import Scenario
from bayesmig.survey.survey import read_survey
from tests.fabricate import ALTERNATIVES, fabricated, small_frame, survey_of, theory

DERIVE = {"wealth2": "wealth ** 2", "fw": "female * wealth"}
STATED = {
    "wealth": {"claim": "x", "statement": "slope(wealth, international) > 0"},
    "square": {"claim": "x", "statement": "comparison(wealth2, international) > 0"},
}


def coded(persons: str, derive: dict[str, str] | None = None, **keys: Any) -> Posterior:
    """A theory on a survey whose codebook computes columns."""
    survey = survey_of(small_frame(300), derive=DERIVE if derive is None else derive)
    design = build_design(theory(persons, groups=[], **keys), survey)
    return fabricated(design, survey=survey, draws=200)


def scenario(*interventions: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"name": "test", "interventions": list(interventions)})


def flat(effect: Effect) -> np.ndarray:
    return effect.draws.to_numpy().reshape(-1, effect.draws.sizes["cell"])


# -------------------------------------------------------- columns that follow from others

RICHER = {"kind": "add", "column": "wealth", "value": 0.5}
SQUARED = {"kind": "add", "column": "wealth2", "value": 0.5}


def test_a_source_does_not_change_without_what_follows_from_it() -> None:
    posterior = coded("female + wealth + wealth2", hypotheses=STATED)
    richer = scenario(RICHER)
    for ask in (
        lambda: comparisons(posterior, "wealth"),
        lambda: slopes(posterior, ["wealth2", "wealth"]),
        lambda: hypotheses.test(posterior, "wealth"),
        lambda: hypotheses.validate_hypotheses(posterior.design),
        lambda: counterfactual(posterior, richer),
        lambda: validate_scenario(richer, posterior.design, posterior.frame),
    ):
        with pytest.raises(QuestionError, match="computes 'wealth2' from 'wealth'") as caught:
            ask()
        assert "square(wealth)" in caught.value.mend
    for column in ("wealth2", "female"):
        comparisons(posterior, column)
    hypotheses.test(posterior, "square")


def test_the_square_written_in_the_theory_follows() -> None:
    """The same draws: the refused question has another answer than the one it would get."""
    derived, written = coded("wealth + wealth2"), coded("wealth + square(wealth)")
    np.testing.assert_array_equal(derived.draws["beta"], written.draws["beta"])
    frame = derived.frame
    richer = frame.assign(wealth=frame["wealth"] + 1)
    both = richer.assign(wealth2=richer["wealth"] ** 2)
    base = flat(predictions(derived))
    right = flat(predictions(derived, newdata=both)) - base
    stale = flat(predictions(derived, newdata=richer)) - base
    np.testing.assert_allclose(flat(comparisons(written, "wealth")), right, rtol=0, atol=1e-12)
    assert np.abs(right - stale).max() > 1e-3


def test_a_product_follows_from_both_its_factors() -> None:
    posterior = coded("female + wealth + fw")
    for column in ("female", "wealth"):
        with pytest.raises(QuestionError, match=f"computes 'fw' from '{column}'"):
            comparisons(posterior, column)
    # Where a theory reads one of the two only, nothing is left behind.
    comparisons(coded("wealth + urban"), "wealth")


def test_it_follows_through_columns_that_no_theory_reads() -> None:
    steps = {"deciles": "10 * wealth", "rich": "maximum(deciles, 0)"}
    with pytest.raises(QuestionError, match="computes 'rich' from 'wealth'"):
        slopes(coded("wealth + rich", steps), "wealth")


def test_it_follows_through_recodes_and_groups_of_networks() -> None:
    frame = small_frame(300)
    survey = survey_of(
        frame,
        recode={"poor": {"from": "region", "values": {"r0": 1, "r1": 0, "r2": 0}}},
        networks={"exposed": {"prior": "prior_internal", "alone": 0}},
    )
    spec = theory("C(region, reference='r1'):wealth + poor + exposed + prior_internal")
    posterior = fabricated(build_design(spec, survey), survey=survey, draws=200)
    with pytest.raises(QuestionError, match="computes 'poor' from 'region'"):
        comparisons(posterior, "region")
    moved = scenario({"kind": "set", "column": "origin", "value": "o01"})
    with pytest.raises(QuestionError, match="computes 'exposed' from 'origin'"):
        counterfactual(posterior, moved)
    # The own household is left out of its exposure: own moves do not change it.
    comparisons(posterior, "prior_internal")


def test_a_scenario_may_change_both() -> None:
    posterior = coded("female + wealth + wealth2")
    result = counterfactual(posterior, scenario(RICHER, SQUARED))
    frame = posterior.frame
    moved = frame.assign(wealth=frame["wealth"] + 0.5, wealth2=frame["wealth2"] + 0.5)
    expected = flat(predictions(posterior, newdata=moved))
    np.testing.assert_allclose(flat(result)[:, 3:6], expected, rtol=0, atol=1e-12)
    assert "held" not in result.header


def test_attributes_and_availabilities_are_changed_by_their_columns() -> None:
    frame = small_frame(300)
    rng = np.random.default_rng(1)
    frame["fare"] = rng.uniform(1, 2, 300)
    frame["open"] = np.where(frame["choice"] == "international", 1, rng.binomial(1, 0.7, 300))
    survey = survey_of(
        frame,
        derive={"burden": "fare * wealth", "rich_open": "open * wealth"},
        attributes={"cost": {"stay": 0, "internal": "fare", "international": 3}},
    )
    spec = theory(
        utility={
            "persons": "wealth + burden",
            "only": {"internal": "rich_open"},
            "alternatives": "cost",
        },
        available={"international": "open"},
    )
    design = build_design(spec, survey)
    dearer = {
        "kind": "attribute",
        "attribute": "cost",
        "alternative": "internal",
        "change": "add",
        "value": 1,
    }
    closed = {"kind": "availability", "alternative": "international", "available": False}
    for change, words in ((dearer, "'burden' from 'fare'"), (closed, "'rich_open' from 'open'")):
        with pytest.raises(QuestionError, match=words):
            validate_scenario(scenario(change), design, survey.frame)
    validate_scenario(scenario({**dearer, "alternative": "international"}), design, survey.frame)


def test_a_loaded_posterior_remembers(tmp_path: Any) -> None:
    posterior = coded("female + wealth + wealth2")
    loaded = load(posterior.save(tmp_path / "fit.nc"))
    assert loaded.design.derived == posterior.design.derived == {"wealth2": ("wealth",)}
    with pytest.raises(QuestionError, match="computes 'wealth2' from 'wealth'"):
        comparisons(loaded, "wealth")


def test_roles_stand_under_their_own_names() -> None:
    frame = small_frame(300).rename(columns={"region": "province"})
    survey = read_survey(
        frame.assign(year=np.resize([1990, 2000], 300)),
        roles={"choice": "choice", "region": "province", "period": "year"},
        alternatives=list(ALTERNATIVES),
        derive={"standing": "scale(wealth, within=province)", "late": "is_in(period, 2000)"},
    )
    assert survey.derived == {"standing": ("region", "wealth"), "late": ("period",)}


def test_columns_made_of_the_same_ones_are_named() -> None:
    steps = {"level": "log1p(age)", "bend": "log1p(age) ** 2"}
    posterior = coded("female + level + bend", steps)
    assert "held" not in comparisons(posterior, "female").header
    assert comparisons(posterior, "level").header["held"].startswith("bend: made of the same")
    lower = counterfactual(posterior, scenario({"kind": "add", "column": "bend", "value": -1}))
    assert lower.header["held"].startswith("level: ")


def test_what_the_codebook_did_not_make_is_not_refused() -> None:
    """Negative control: the same columns, of which nothing is known."""
    posterior = coded("female + wealth + wealth2")
    unaware = replace(posterior, design=replace(posterior.design, derived={}))
    comparisons(unaware, "wealth")
    counterfactual(unaware, scenario(RICHER))
    assert survey_of(small_frame(300)).derived == {}


# ----------------------------------------------------------------------------- contrasts


def zones() -> Posterior:
    frame = small_frame(300)
    coded = survey_of(frame.assign(zone=frame["region"].str[1:].astype(int)))
    spec = theory("C(zone, reference=1) + zone:wealth + female", groups=[])
    return fabricated(build_design(spec, coded), survey=coded, draws=200)


def test_a_category_that_also_enters_as_a_number_keeps_its_levels() -> None:
    posterior = zones()
    effect = comparisons(posterior, "zone")
    assert list(dict.fromkeys(effect.summary["contrast"])) == ["1 → 0", "1 → 2"]
    frame = posterior.frame
    arms = [flat(predictions(posterior, newdata=frame.assign(zone=z), wts=False)) for z in (1, 0)]
    unweighted = comparisons(posterior, {"zone": (1, 0)}, wts=False)
    np.testing.assert_allclose(flat(unweighted), arms[1] - arms[0], rtol=0, atol=1e-12)
    with pytest.raises(QuestionError, match="'zone' is a category"):
        slopes(posterior, "zone")
    with pytest.raises(QuestionError, match="a pair of levels"):
        comparisons(posterior, {"zone": 1})


@pytest.mark.parametrize("change", [1, -1, 0.5, (0, 2), (0.2, 0.8)])
def test_indicators_are_zero_or_one(change: Any) -> None:
    with pytest.raises(QuestionError, match=r"'female' (is 0 or 1|must be \(0, 1\))"):
        comparisons(zones(), {"female": change})


def test_an_indicator_may_go_back() -> None:
    posterior = zones()
    back, forth = (flat(comparisons(posterior, {"female": c})) for c in ((1, 0), (0, 1)))
    np.testing.assert_array_equal(back, -forth)
    np.testing.assert_array_equal(forth, flat(comparisons(posterior, "female")))


@pytest.mark.parametrize("one", [np.int64(1), np.float32(1), np.float64(1), 1.0])
def test_numbers_of_numpy_are_numbers(one: Any) -> None:
    posterior = coded("wealth + urban")
    np.testing.assert_array_equal(
        flat(comparisons(posterior, {"wealth": one})), flat(comparisons(posterior, {"wealth": 1}))
    )


# ------------------------------------------------------------------------------- support


def test_a_step_out_of_the_observed_range_is_told_with_its_share() -> None:
    posterior = coded("wealth + female")
    frame = posterior.frame
    after = frame["wealth"] + 1
    share = np.average(after > frame["wealth"].max(), weights=frame["weight"])
    note = comparisons(posterior, "wealth").header["support"]
    assert note.startswith(f"wealth +1: {100 * share:.1f} % of the rows (weighted) lie outside")
    assert note.endswith(f"{frame['wealth'].min():g} to {frame['wealth'].max():g}")
    far = comparisons(posterior, {"wealth": (0, 99)}, wts=False).header["support"]
    assert far.startswith("wealth 0 → 99: 100.0 % of the rows lie outside")
    for quiet in (
        comparisons(posterior, "female"),
        comparisons(posterior, {"wealth": (-1, 1)}),
        slopes(posterior, "wealth"),
        predictions(posterior),
    ):
        assert "support" not in quiet.header


def test_new_rows_out_of_the_observed_range_are_told_with_their_share() -> None:
    posterior = coded("wealth + female", hypotheses={"wealth": STATED["wealth"]})
    rows = posterior.frame.iloc[:200].copy()
    rows.loc[:49, "wealth"] = 50.0
    for answer in (
        predictions(posterior, newdata=rows, wts=False),
        slopes(posterior, "wealth", newdata=rows, wts=False),
        hypotheses.test(posterior, "wealth", newdata=rows, wts=False),
        counterfactual(posterior, scenario(RICHER), newdata=rows, wts=False),
    ):
        assert (
            "25.0 % of the rows lie outside the observed range of wealth"
            in (answer.header["support"])
        )
    inside = predictions(posterior, newdata=rows[50:], wts=False)
    assert "support" not in inside.header


def test_small_shares_are_not_rounded_to_none() -> None:
    rows = np.zeros(10_000, dtype=bool)
    rows[0] = True
    assert changes.share_of(rows, None) == "under 0.1 % of the rows"
    assert changes.share_of(rows, np.ones(10_000)) == "under 0.1 % of the rows (weighted)"
