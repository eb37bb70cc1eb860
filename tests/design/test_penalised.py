"""Smooths and shared drivers: columns whose coefficients have a scale that is learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.design.design import CONSTANT_SD, build_design
from bayesmig.design.penalised import learn_smooth
from bayesmig.errors import DesignError, QuestionError
from bayesmig.explanation.explain import explain
from bayesmig.policy.counterfactual import validate_scenario
from bayesmig.predict import comparisons, predictions, slopes
from bayesmig.spec.scenario import Scenario
from tests.fabricate import (
    ALTERNATIVES,
    fabricated,
    small_design,
    small_frame,
    small_survey,
    survey_of,
    theory,
)

BENDS = {"smooths": [{"column": "wealth", "bends": 5}]}


def smooth(n: int = 300, size: int = 5) -> tuple[Any, np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).gamma(3.0, 1.0, n)
    learnt, columns = learn_smooth("x", size, pd.DataFrame({"x": x}), where="key smooths[0]")
    return learnt, columns, x


def test_bends_hold_no_constant_and_no_line_and_are_of_size_one() -> None:
    _, columns, x = smooth()
    np.testing.assert_allclose(columns.sum(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(x @ columns, 0.0, atol=1e-9)
    assert (columns**2).sum(axis=1).mean() == pytest.approx(1.0)


def test_roughness_is_the_sum_of_squares_of_coefficients() -> None:
    """By second differences on a fine grid, which know nothing of splines."""
    learnt, _, x = smooth()
    grid = np.linspace(x.min(), x.max(), 20_001)
    step = grid[1] - grid[0]
    values = learnt.apply(pd.DataFrame({"x": grid}))
    second = np.diff(values, 2, axis=0) / step**2
    rough = second.T @ second * step
    np.testing.assert_allclose(rough, rough[0, 0] * np.eye(5), atol=2e-3 * rough[0, 0])


def test_enough_bends_follow_any_smooth_curve() -> None:
    _, columns, x = smooth(size=20)
    basis = np.column_stack([np.ones(len(x)), x, columns])
    curve = np.sin(x)
    left = curve - basis @ np.linalg.lstsq(basis, curve, rcond=None)[0]
    assert np.abs(left).max() < 0.01


def test_slopes_of_bends_are_their_derivatives() -> None:
    learnt, _, x = smooth()
    inside = np.sort(x)[5:-5]
    exact = learnt.derivative(pd.DataFrame({"x": inside}), {"x": np.full(len(inside), 2.0)})
    ahead, behind = (learnt.apply(pd.DataFrame({"x": inside + d})) for d in (1e-5, -1e-5))
    np.testing.assert_allclose(exact, 2 * (ahead - behind) / 2e-5, atol=1e-6)
    still = learnt.derivative(pd.DataFrame({"x": inside}), {})
    assert not still.any()


def test_beyond_the_range_of_the_fit_there_is_no_bend() -> None:
    learnt, _, x = smooth()
    with pytest.raises(DesignError, match=r"its smooth is known from .* to"):
        learnt.apply(pd.DataFrame({"x": [x.mean(), x.max() + 0.1]}))
    with pytest.raises(DesignError, match="missing"):
        learnt.apply(pd.DataFrame({"x": [np.nan]}))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"smooths": [{"column": "education"}]}, "no line to bend"),
        ({"smooths": [{"column": "wealth"}] * 2}, "stands twice"),
        ({"utility": {"persons": "wealth", "shared": "wealth"}}, "of its own for every"),
        ({"utility": {"persons": "1", "shared": "wealth:female"}}, "is a sum of columns"),
        ({"utility": {"persons": "1", "shared": "log1p(wealth)"}}, "is not a column"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        theory("female + wealth", **keys)


def test_columns_without_enough_values_are_refused() -> None:
    frame = small_frame(200).assign(female=lambda f: f["female"], still=1.0)
    with pytest.raises(DesignError, match="2 different values, too few for 5 bends"):
        build_design(theory("female", smooths=[{"column": "female", "bends": 5}]), survey_of(frame))
    with pytest.raises(DesignError, match="'still' has one value"):
        build_design(theory(utility={"persons": "female", "shared": "still"}), survey_of(frame))


def test_the_bend_is_everyones_whoever_the_groups_are() -> None:
    """Typical and new groups change the groups' effects, and leave the smooth."""
    design = small_design("female + wealth", **BENDS)
    plain = small_design("female + wealth")
    posterior = fabricated(design, survey=small_survey())
    frame = small_survey().frame
    for groups in ("observed", "typical", "new"):
        moved = comparisons(
            posterior, {"wealth": (-1.0, 1.0)}, groups=groups, newdata=frame
        ).summary["estimate"]
        assert np.isfinite(moved).all()
    terms = design.columns.groups["smooth_wealth"][1]
    draws = posterior.draws
    beta = draws["beta"].to_numpy().reshape(-1, *draws["beta"].shape[2:])
    bends = draws["u_smooth_wealth"].to_numpy().reshape(len(beta), 2, 5)
    utility = np.zeros((len(beta), len(terms), 3))
    utility[..., 1:] = np.einsum("nk,skj->snj", plain.columns.persons, beta)
    utility[..., 1:] += np.einsum("nt,sjt->snj", terms, bends)
    shares = np.exp(utility)
    shares /= shares.sum(axis=-1, keepdims=True)
    weights = frame["weight"] / frame["weight"].sum()
    by_hand = np.einsum("n,snj->j", weights, shares) / len(beta)
    got = predictions(posterior, groups="typical", newdata=frame).summary["estimate"]
    np.testing.assert_allclose(got, by_hand, atol=1e-9)


def test_slopes_follow_the_bend() -> None:
    survey = small_survey()
    posterior = fabricated(small_design("female + wealth", **BENDS), survey=survey)
    frame = survey.frame
    frame["wealth"] = frame["wealth"].clip(-1.5, 1.5)
    step = 1e-4
    exact = slopes(posterior, "wealth", newdata=frame).summary["estimate"]
    ahead, behind = (
        predictions(posterior, newdata=frame.assign(wealth=frame["wealth"] + d)).summary
        for d in (step, -step)
    )
    by_steps = (ahead["estimate"] - behind["estimate"]) / (2 * step)
    np.testing.assert_allclose(exact, by_steps, atol=1e-6)


def test_what_is_shared_is_one_coefficient_and_deviations_from_it() -> None:
    design = small_design(utility={"persons": "female", "shared": "wealth + urban"})
    assert design.attribute_terms == ("wealth", "urban")
    columns = design.columns
    frame = small_survey().frame
    for j, alternative in enumerate(design.alternatives):
        expected = 0.0 if alternative == "stay" else frame["wealth"]
        np.testing.assert_allclose(columns.attributes[:, j, 0], expected)
    _, terms = columns.groups["deviation"]
    np.testing.assert_allclose(terms.std(axis=0), 1.0)
    np.testing.assert_allclose(terms[:, 0], frame["wealth"] / frame["wealth"].std(ddof=0))


POOLED = {"pools": [{"name": "ties", "columns": ["network_internal", "household_internal"]}]}


def test_pooled_columns_have_a_mean_effect_and_deviate_from_it() -> None:
    """By hand; where nothing deviates, the sum of the scaled columns is all that counts."""
    survey = small_survey()
    frame = survey.frame
    design = small_design("female", survey=survey, **POOLED)
    assert design.persons == ("asc", "female", "ties")
    z = frame[["network_internal", "household_internal"]]
    z = (z / z.std(ddof=0)).to_numpy()
    posterior = fabricated(design, survey=survey)
    draws = posterior.draws
    beta = draws["beta"].to_numpy().reshape(-1, 3, 2)
    deviations = draws["u_pool_ties"].to_numpy().reshape(len(beta), 2, 2)
    persons = np.column_stack([np.ones(len(frame)), frame["female"]])
    utility = np.zeros((len(beta), len(frame), 3))
    utility[..., 1:] = np.einsum("nk,skj->snj", persons, beta[:, :2])
    utility[..., 1:] += np.einsum("nk,skj->snj", z, beta[:, [2]] + deviations.transpose(0, 2, 1))
    shares = np.exp(utility)
    shares /= shares.sum(axis=-1, keepdims=True)
    weights = frame["weight"] / frame["weight"].sum()
    by_hand = np.einsum("n,snj->j", weights, shares) / len(beta)
    got = predictions(posterior, groups="typical", newdata=frame).summary["estimate"]
    np.testing.assert_allclose(got, by_hand, atol=1e-9)
    summed = small_design("female + all_ties", survey=survey_of(frame.assign(all_ties=z.sum(1))))
    np.testing.assert_allclose(summed.columns.persons, design.columns.persons, atol=1e-12)


def test_pooled_counts_keep_their_unit() -> None:
    frame = small_survey().frame
    pools = [{"name": "ties", "columns": ["household_internal", "urban"], "per": "unit"}]
    design = small_design("female", survey=small_survey(), pools=pools)
    _, terms = design.columns.groups["pool_ties"]
    np.testing.assert_array_equal(terms, frame[["household_internal", "urban"]])
    sums = frame["household_internal"] + frame["urban"]
    np.testing.assert_array_equal(design.columns.persons[:, 2], sums)
    assert "z(x)" not in explain(design.spec).text


def test_slopes_and_changes_of_pooled_columns_move_mean_and_deviation() -> None:
    survey = small_survey()
    frame = survey.frame
    posterior = fabricated(small_design("female", survey=survey, **POOLED), survey=survey)
    step = 1e-4
    exact = slopes(posterior, "network_internal", newdata=frame).summary["estimate"]
    ahead, behind = (
        predictions(
            posterior, newdata=frame.assign(network_internal=frame["network_internal"] + d)
        ).summary["estimate"]
        for d in (step, -step)
    )
    np.testing.assert_allclose(exact, (ahead - behind) / (2 * step), atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"pools": [POOLED["pools"][0]] * 2}, "the pool 'ties' stands twice"),
        ({"pools": [{"name": "female", "columns": ["wealth", "urban"]}]}, "'female' is a column"),
        ({"pools": [{"name": "urban", "columns": ["wealth", "urban"]}]}, "'urban' is a column"),
        ({"pools": [{"name": "x", "columns": ["wealth", "wealth"]}]}, "'wealth' is pooled twice"),
        ({"pools": [{"name": "x", "columns": ["female", "urban"]}]}, "'female' has a coefficient"),
        (
            {
                "pools": [
                    {"name": "x", "columns": ["wealth", "urban"]},
                    {"name": "y", "columns": ["urban", "age_10"]},
                ]
            },
            "'urban' is pooled twice",
        ),
        (
            {**POOLED, "groups": [{"by": "pool_ties"}]},
            "is the name of effects that the theory has",
        ),
    ],
)
def test_pools_that_could_not_be_told_apart_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        theory("female", **keys)


def test_priors_of_what_is_shared_do_not_depend_on_where_a_column_has_its_zero() -> None:
    """A column far from zero is paid for by the constants, which must be free to."""
    frame = small_frame(300).assign(far=lambda f: f["wealth"] + 40.0)

    def built(column: str, kind: str) -> Any:
        utility = {"persons": "1", "shared": column} if kind == "shared" else {"persons": column}
        return build_design(theory(utility=utility, groups=[]), survey_of(frame))

    near, far = (built(c, "shared").priors["alternatives"].scale[0] for c in ("wealth", "far"))
    assert near == pytest.approx(far)
    persons = built("wealth", "persons").priors["persons"].scale[1, 0]
    assert near == pytest.approx(persons)
    spread, mean = frame["far"].std(ddof=0), frame["far"].mean()
    constant = built("far", "shared").priors["persons"].scale[0, 0]
    # Coefficient and deviation have priors of scale one per standard deviation.
    assert constant == pytest.approx(np.sqrt(CONSTANT_SD**2 + 2 * (mean / spread) ** 2))
    assert built("wealth", "shared").priors["persons"].scale[0, 0] < 1.01 * CONSTANT_SD


def test_constants_are_free_to_pay_for_a_curve() -> None:
    frame = small_frame(300).assign(dose=lambda f: f["age"] + 100.0)
    curve = {"column": "dose", "shape": "linear", "alternatives": ["internal"]}
    priors = build_design(theory("1", groups=[], curves=[curve]), survey_of(frame)).priors
    apart = frame["dose"].mean() / frame["dose"].std(ddof=0)
    internal, abroad = priors["persons"].scale[0]
    assert internal == pytest.approx(np.hypot(CONSTANT_SD, apart))
    assert abroad == pytest.approx(CONSTANT_SD)


def test_names_of_effects_of_everyone_are_taken() -> None:
    for keys in (
        {"groups": [{"by": "smooth_wealth"}], "smooths": [{"column": "wealth"}]},
        {
            "groups": [{"by": "deviation"}],
            "utility": {"persons": "female", "shared": "wealth"},
        },
    ):
        with pytest.raises(ValueError, match="is the name of effects that the theory has"):
            theory("female + wealth", **keys)
    assert theory("female", groups=[{"by": "deviation"}]).groups[0].by == "deviation"


def test_a_shared_column_keeps_its_meaning() -> None:
    """Neither in products with attributes, which would lose the base, nor in scenarios."""
    with pytest.raises(ValueError, match="'female' is shared, and zero beside the base"):
        theory(utility={"persons": "1", "alternatives": "cost:female", "shared": "female"})
    survey = small_survey()
    design = small_design(survey=survey, utility={"persons": "female", "shared": "wealth"})
    change = {"attribute": "wealth", "alternative": "international", "change": "add", "value": 1}
    scenario = Scenario.model_validate(
        {"name": "x", "title": "x", "interventions": [{"kind": "attribute", **change}]}
    )
    with pytest.raises(QuestionError, match="that all streams share, not an attribute"):
        validate_scenario(scenario, design, survey.frame)


def test_draws_of_other_panels_are_other_draws() -> None:
    """The fingerprint, by which kept chains are found, knows who is in which panel."""
    frame = small_frame(200)
    rng = np.random.default_rng(1)
    for alternative in ALTERNATIVES:
        frame[f"cost_{alternative}"] = rng.gamma(2.0, 1.0, len(frame))
    frame["panel"] = frame.index % 20
    spec = theory(
        utility={"persons": "1", "alternatives": "cost"},
        groups=[],
        tastes=[{"by": "panel", "attributes": ["cost"]}],
    )

    def fingerprint(panel: Any) -> str:
        costs = {"cost": {a: f"cost_{a}" for a in ALTERNATIVES}}
        return build_design(
            spec, survey_of(frame.assign(panel=panel), attributes=costs)
        ).fingerprint

    usual = fingerprint(frame["panel"])
    assert fingerprint(frame["panel"]) == usual
    assert fingerprint((frame["panel"] + 1) % 20) != usual
    assert fingerprint(frame["panel"].map(lambda p: f"p{p:02d}")) != usual
