"""Whose groups an average is of: four ways, each against sums over many drawn effects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats.qmc import Sobol

from bayesmig import hypotheses, immobility
from bayesmig.choice.probabilities import log_probabilities
from bayesmig.choice.utility import Coefficients, Columns, take_draws
from bayesmig.design.design import build_design
from bayesmig.errors import QuestionError
from bayesmig.inference import normal, shifts
from bayesmig.inference.normal import cholesky, rule_of_shares
from bayesmig.policy.counterfactual import counterfactual
from bayesmig.posterior import Posterior
from bayesmig.predict import ask_about, comparisons, predictions, slopes
from bayesmig.spec.scenario import Scenario
from bayesmig.spec.statement import Average
from tests.by_hand import (
    NONBASE,
    draws_of,
    effects_for,
    probabilities,
    rich_posterior,
    rich_survey,
    rich_theory,
    rows_of,
    typical,
    utility,
)
from tests.fabricate import ALTERNATIVES, fabricated, small_design, theory
from tests.inference.theories import wide_survey

#: Far below what a reader sees; quasi-random sums are no closer.
NEAR = {"rtol": 0, "atol": 2e-4}
MANY = 2**14
GROUPS: dict[str, list[dict[str, Any]]] = {
    "intercepts": [{"by": "origin"}],
    "slopes": [{"by": "origin", "terms": "1 + wealth + female"}],
    "nested": [{"by": "household:origin"}, {"by": "origin"}],
    "crossed, with slopes": [
        {"by": "origin", "terms": "1 + wealth"},
        {"by": "household", "correlated": False},
    ],
}


def made_up(name: str, **ways: Any) -> Posterior:
    """Four draws of a rich theory with other groups."""
    survey = rich_survey()
    design = build_design(rich_theory(groups=GROUPS[name], hypotheses={}), survey)
    draws = {"chains": 2, "draws": 2, "spread": 0.4, "seed": 7} | ways
    return fabricated(design, survey=survey, **draws)


def flat(effect: Any) -> np.ndarray:
    """Draws × cells."""
    draws = effect.draws.to_numpy()
    return np.asarray(draws.reshape(-1, draws.shape[-1]))


def ask(verb: Any, posterior: Posterior, *args: Any, **ways: Any) -> np.ndarray:
    return flat(verb(posterior, *args, allow_unconverged=True, **ways))


def normals(width: int, seed: int = 1) -> np.ndarray:
    return np.asarray(ndtri(Sobol(width, rng=np.random.default_rng(seed)).random(MANY)))


def drawn(posterior: Posterior, s: int, z: np.ndarray) -> dict[str, np.ndarray]:
    """Effects of many groups of every factor in one draw, as their scales say."""
    found, at, of = {}, 0, posterior.draws
    for name in sorted(n for n in map(str, of.data_vars) if n.startswith("sigma_")):
        by = name.removeprefix("sigma_")
        sigma = of[name].transpose("chain", "draw", ...).to_numpy()
        sigma = sigma.reshape(-1, *sigma.shape[2:])[s]
        width = sigma.size
        covariance = np.diag(sigma.ravel() ** 2)
        if f"corr_{by}" in of:
            corr = of[f"corr_{by}"].transpose("chain", "draw", ...).to_numpy()
            corr = corr.reshape(-1, width, width)[s]
            covariance = np.outer(sigma.ravel(), sigma.ravel()) * corr
        root = np.linalg.cholesky(covariance)
        found[by] = (z[:, at : at + width] @ root.T).reshape(len(z), *sigma.shape)
        at += width
    return found


def width_of(posterior: Posterior) -> int:
    names = [n for n in map(str, posterior.draws.data_vars) if n.startswith("sigma_")]
    return sum(posterior.draws[n].isel(chain=0, draw=0).size for n in names)


def shares_by_hand(posterior: Posterior, frame: pd.DataFrame) -> np.ndarray:
    """Of every row, averages over many groups of every factor, ``(draw, row, alternative)``."""
    found, z = [], normals(width_of(posterior))
    for s, draw in enumerate(draws_of(posterior)):
        effects, rows = drawn(posterior, s, z), []
        for row in rows_of(frame):
            known = {"asc": 1.0, "wealth": row["wealth"], "female": row["female"]}
            total = np.zeros((len(z), len(ALTERNATIVES)))
            for j, name in enumerate(ALTERNATIVES):
                total[:, j] = utility(draw, row, name, typical)
                if name in NONBASE:
                    for by, of in effects.items():
                        x = [known[t] for t in posterior.design.layouts[by].terms]
                        total[:, j] += of[:, NONBASE.index(name)] @ x
            odds = np.exp(total) * [1.0, 1.0, row["open"]]
            rows.append((odds / odds.sum(axis=1, keepdims=True)).mean(axis=0))
        found.append(rows)
    return np.array(found)


def several(posterior: Posterior, columns: Columns, s: int) -> tuple[Columns, Coefficients]:
    """Columns and one draw, with many groups in the place of many draws."""
    effects = drawn(posterior, s, normals(width_of(posterior)))
    one = take_draws(posterior.coefficients(), slice(s, s + 1))
    return (
        replace(
            columns,
            groups={by: (0 * codes, terms) for by, (codes, terms) in columns.groups.items()},
            tastes={by: (0 * codes, at) for by, (codes, at) in columns.tastes.items()},
        ),
        replace(
            one,
            effects={by: effects[by][:, None] for by in columns.groups},
            tastes={by: effects[f"taste_{by}"][:, None] for by in columns.tastes},
        ),
    )


# ------------------------------------------------------------------------- four modes


@pytest.mark.parametrize("name", GROUPS)
def test_average_is_that_over_many_groups_in_every_draw(name: str) -> None:
    posterior = made_up(name)
    rows = posterior.frame.iloc[:6].drop(columns="choice")
    richer = rows.assign(wealth=rows["wealth"] + 1)
    before, after = (shares_by_hand(posterior, of) for of in (rows, richer))
    ways: dict[str, Any] = {"newdata": rows, "by": "obs", "groups": "average", "wts": False}
    got = ask(predictions, posterior, **ways)
    np.testing.assert_allclose(got, before.reshape(len(got), -1), **NEAR)
    change = ask(comparisons, posterior, "wealth", **ways)
    np.testing.assert_allclose(change, (after - before).reshape(len(got), -1), **NEAR)
    lift = ask(comparisons, posterior, "wealth", comparison="lift", **(ways | {"by": None}))
    means = before.mean(axis=1), after.mean(axis=1)
    np.testing.assert_allclose(lift, means[1] / means[0] - 1, rtol=0, atol=1e-3)


def test_observed_and_typical_are_sums_over_rows() -> None:
    posterior = rich_posterior()
    for groups in ("observed", "typical"):
        effects = effects_for(posterior, posterior.frame, groups, seed=0)
        expected = [
            [list(probabilities(draw, row, effect).values()) for row in rows_of(posterior.frame)]
            for draw, effect in zip(draws_of(posterior), effects, strict=True)
        ]
        got = ask(predictions, posterior, by="obs", groups=groups, wts=False)
        np.testing.assert_allclose(got, np.reshape(expected, got.shape), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["intercepts", "crossed, with slopes"])
def test_new_groups_are_the_average_in_expectation(name: str) -> None:
    """And only their spread holds which groups are met."""
    posterior = made_up(name, spread=0.0, chains=1, draws=40_000)
    rows = posterior.frame.iloc[[0, 7]].drop(columns="choice")
    ways: dict[str, Any] = {"newdata": rows, "by": "obs", "wts": False}
    new = ask(predictions, posterior, groups="new", **ways)
    one = made_up(name, spread=0.0, chains=1, draws=2)
    average = ask(predictions, one, groups="average", **ways)
    error = new.std(axis=0) / np.sqrt(len(new))
    assert (np.abs(new.mean(axis=0) - average[0]) <= 4 * error + 1e-12).all()
    assert (error < 1e-3).all()
    assert (new.std(axis=0) > 0.05).any()
    assert (average.std(axis=0) < 1e-12).all()


def test_without_spread_the_average_is_the_typical_group() -> None:
    zero = {"sigma_origin": np.zeros((2, 2)), "sigma_household": np.zeros((2, 1))}
    posterior = made_up("crossed, with slopes", centre=zero)
    for verb, of in ((predictions, ()), (comparisons, ("wealth",)), (slopes, ("wealth",))):
        average, middle = (
            ask(verb, posterior, *of, by="female", groups=g) for g in ("average", "typical")
        )
        np.testing.assert_allclose(average, middle, rtol=0, atol=1e-12)


def test_with_much_spread_it_is_not() -> None:
    wide = {"sigma_origin": np.full((2, 1), 2.0)}
    posterior = made_up("intercepts", centre=wide)
    average, middle = (ask(predictions, posterior, groups=g) for g in ("average", "typical"))
    assert (np.abs(average - middle).max(axis=1) > 0.02).all()


def test_slopes_are_those_of_the_average() -> None:
    posterior = made_up("crossed, with slopes")
    frame, h = posterior.frame, 1e-4
    ways: dict[str, Any] = {"by": "female", "groups": "average", "wts": False}
    got = ask(slopes, posterior, "wealth", **ways)
    up, down = (
        ask(predictions, posterior, newdata=frame.assign(wealth=frame["wealth"] + d), **ways)
        for d in (h, -h)
    )
    np.testing.assert_allclose(got, (up - down) / (2 * h), rtol=0, atol=1e-6)


# ------------------------------------------------------------------- beyond the logit

BEYOND: dict[str, dict[str, Any]] = {
    "nests": {
        "utility": {"persons": "female + wealth", "alternatives": "cost"},
        "nests": [{"name": "move", "alternatives": ["internal", "international"]}],
        "groups": [{"by": "origin", "terms": "1 + wealth"}],
    },
    "tastes": {
        "utility": {"persons": "female", "alternatives": "cost"},
        "tastes": [{"by": "origin", "attributes": ["cost"]}],
        "available": {"international": "border_open"},
    },
    "another base": {
        "choice": {"alternatives": list(ALTERNATIVES), "base": "internal"},
        "utility": {"persons": "wealth", "alternatives": "cost"},
        "tastes": [{"by": "household", "attributes": ["cost"]}],
        "groups": [{"by": "region"}],
    },
    "consideration": {
        "consideration": {"feasible": {"international": "wealth + cost"}},
        "groups": [{"by": "origin"}],
    },
    "a smooth": {
        "smooths": [{"column": "wealth", "bends": 3}],
        "curves": [{"column": "household_internal", "shape": "log1p", "alternatives": ["stay"]}],
    },
}


@pytest.mark.parametrize("name", BEYOND)
def test_every_theory_is_averaged_as_it_is(name: str) -> None:
    survey = wide_survey()
    design = build_design(theory(**({"groups": []} | BEYOND[name])), survey)
    if name == "a smooth":
        design = build_design(theory(**BEYOND[name]), survey)
    posterior = fabricated(design, survey=survey, chains=1, draws=2, spread=0.3)
    rows = survey.frame.iloc[[0, 40, 90]].drop(columns="choice")
    columns = design.apply(rows, unseen="code")
    everyones = [by for by in columns.groups if by not in design.grouped]
    ways: dict[str, Any] = {"newdata": rows, "by": "obs", "groups": "average", "wts": False}
    got = ask(predictions, posterior, **ways).reshape(2, 3, 3)
    for s in range(2):
        table, many = several(posterior, columns, s)
        one = posterior.coefficients()
        known = {by: one.effects[by][[s] * MANY] for by in everyones}
        table = replace(table, groups=table.groups | {by: columns.groups[by] for by in everyones})
        many = replace(many, effects=dict(many.effects or {}) | known)
        expected = np.exp(log_probabilities(np, table, many)).mean(axis=0)
        np.testing.assert_allclose(got[s], expected, **NEAR)
    if "wealth" in design.spec.utility.persons:
        h = 1e-4
        up, down = (
            ask(
                predictions,
                posterior,
                **(ways | {"newdata": rows.assign(wealth=rows["wealth"] + d)}),
            )
            for d in (h, -h)
        )
        slope = ask(slopes, posterior, "wealth", **ways)
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=0, atol=1e-6)


def test_stayers_are_averaged_in_every_part() -> None:
    design = build_design(theory(**BEYOND["consideration"]), wide_survey())
    posterior = fabricated(design, survey=wide_survey(), chains=1, draws=3, spread=0.3)
    shares = ask(predictions, posterior, groups="average")
    question = ask_about(posterior, None, None, True, "average", 0.95, 0, True)
    staying, unwilling, unable, *_ = immobility._flat(question).T
    np.testing.assert_allclose(staying, shares[:, 0], rtol=1e-12)
    np.testing.assert_allclose(staying, unwilling + unable, atol=1e-12)
    typical_ones = ask_about(posterior, None, None, True, "typical", 0.95, 0, True)
    assert (np.abs(unwilling - immobility._flat(typical_ones)[:, 1]) > 1e-4).all()


# --------------------------------------------------------------- policies and statements


def test_a_scenario_is_the_difference_of_two_averages() -> None:
    posterior = rich_posterior()
    richer = {"name": "richer", "interventions": [{"kind": "add", "column": "wealth", "value": 1}]}
    result = counterfactual(posterior, Scenario.model_validate(richer), groups="average")
    frame = posterior.frame
    before, after = (
        flat(predictions(posterior, newdata=of, groups="average"))
        for of in (frame, frame.assign(wealth=frame["wealth"] + 1))
    )
    arms = flat(result).reshape(len(before), 3, 3)
    np.testing.assert_allclose(arms[:, 0], before, rtol=0, atol=1e-12)
    np.testing.assert_allclose(arms[:, 2], after - before, rtol=0, atol=1e-12)


def estimand(posterior: Posterior, verb: str, column: str, of: str, groups: Any) -> np.ndarray:
    """Draws of what a statement is about, all rows alike."""
    question = ask_about(posterior, None, None, False, groups, 0.95, 0, True)
    [found] = hypotheses._averages(question, [Average(verb, column, of)]).values()
    return found


def test_statements_about_people_are_averaged_over_groups() -> None:
    """Log odds of each person, not those of averages: in a logit those of a typical group."""
    posterior = made_up("slopes")
    share = estimand(posterior, "share", "", "internal", "average")
    whole = ask(predictions, posterior, groups="average", wts=False)
    np.testing.assert_allclose(share, whole[:, 1], rtol=0, atol=1e-12)
    for of in (("wealth", "internal"), ("", "international")):
        one, other = (estimand(posterior, "log_odds", *of, g) for g in ("average", "typical"))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_nothing_is_in_excess_in_a_logit_whose_groups_are_averaged_over() -> None:
    """Averaged probabilities have no odds that stay: the excess is each person's, averaged."""
    posterior = made_up("intercepts", centre={"sigma_origin": np.full((2, 1), 1.5)})
    nothing = estimand(posterior, "excess", "urban", "internal", "average")
    np.testing.assert_allclose(nothing, 0.0, atol=1e-12)
    averages = [
        ask(predictions, posterior, newdata=posterior.frame.assign(urban=u), groups="average")
        for u in (0, 1)
    ]
    odds = [of[:, 1] / of[:, 0] for of in averages]
    assert (np.abs(odds[1] / odds[0] - 1) > 1e-3).any()


def test_excess_of_nests_is_that_over_many_groups() -> None:
    survey = wide_survey()
    design = build_design(theory(**(BEYOND["nests"] | {"groups": [{"by": "origin"}]})), survey)
    posterior = fabricated(design, survey=survey, chains=1, draws=2, spread=0.3)
    got = estimand(posterior, "excess", "female", "internal", "average")
    got_odds = estimand(posterior, "log_odds", "female", "internal", "average")
    arms = [design.apply(survey.frame.assign(female=x)) for x in (0, 1)]
    for s in range(2):
        z, sums = normals(2)[:1024], np.zeros(2)
        for part in z.reshape(8, -1, 2):
            effects = drawn(posterior, s, part)
            one = take_draws(posterior.coefficients(), slice(s, s + 1))
            many = replace(one, effects={"origin": effects["origin"][:, None]})
            before, after = (
                np.exp(
                    log_probabilities(
                        np,
                        replace(
                            of,
                            groups={"origin": (0 * of.groups["origin"][0], of.groups["origin"][1])},
                        ),
                        many,
                    )
                )
                for of in arms
            )
            kept = before[..., 1] * after[..., 0] / before[..., 0]
            odds = np.log(after[..., 1] / after[..., 0]) - np.log(before[..., 1] / before[..., 0])
            sums += [(after[..., 1] - kept).mean() / 8, odds.mean() / 8]
        np.testing.assert_allclose([got[s], got_odds[s]], sums, rtol=0, atol=1e-3)


def test_an_excess_whose_groups_differ_in_it_is_refused() -> None:
    with pytest.raises(QuestionError, match="groups differ in what 'wealth' does") as caught:
        estimand(made_up("slopes"), "excess", "wealth", "internal", "average")
    assert 'groups="new"' in caught.value.mend


def test_the_four_names_are_listed() -> None:
    with pytest.raises(QuestionError, match="'mean' is unknown") as caught:
        predictions(rich_posterior(), groups="mean")  # type: ignore[arg-type]
    assert "observed, new, typical, average" in caught.value.mend
    header = predictions(rich_posterior(), groups="average").header
    assert "averaged over all groups" in header["groups"]


# ------------------------------------------------------------------ points and memory


@pytest.mark.parametrize("sd", [0.1, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("correlation", [0.0, -0.8])
def test_shares_of_two_shifts_are_known_to_four_digits(sd: float, correlation: float) -> None:
    covariance = sd**2 * np.array([[1.0, correlation], [correlation, 1.0]])
    root = np.linalg.cholesky(covariance)
    z = np.linspace(-7, 7, 561)
    fine = np.stack(np.meshgrid(z, z), axis=-1).reshape(-1, 2)
    weights = np.exp(-np.square(fine).sum(axis=1) / 2)
    spread = (root.max(axis=0).clip(0) - root.min(axis=0).clip(max=0)).tolist()
    rule = rule_of_shares(spread)

    def shares(at: np.ndarray, w: np.ndarray) -> np.ndarray:
        utility = np.concatenate([np.zeros((len(at), 1)), at @ root.T + [-1.0, -2.5]], axis=1)
        odds = np.exp(utility - utility.max(axis=1, keepdims=True))
        return np.asarray(w @ (odds / odds.sum(axis=1, keepdims=True)) / w.sum())

    got = shares(rule.z, np.exp(rule.log_weights))
    np.testing.assert_allclose(got, shares(fine, weights), rtol=0, atol=5e-5)


def test_many_alternatives_have_quasi_random_points() -> None:
    rule = rule_of_shares([2.0] * 5)
    assert len(rule.z) == normal._MOST
    rng = np.random.default_rng(2)

    def shares(z: np.ndarray) -> np.ndarray:
        odds = np.exp(np.column_stack([np.zeros(len(z)), 2 * z - 1]))
        return np.asarray((odds / odds.sum(axis=1, keepdims=True)).mean(axis=0))

    np.testing.assert_allclose(
        shares(rule.z), shares(rng.standard_normal((2_000_000, 5))), rtol=0, atol=1e-3
    )


def test_rows_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = made_up("crossed, with slopes")
    ways: dict[str, Any] = {"by": "region", "groups": "average"}
    whole = [ask(predictions, posterior, **ways), ask(slopes, posterior, "wealth", **ways)]
    monkeypatch.setattr(shifts, "_BLOCK_SIZE", 200)
    parts = [ask(predictions, posterior, **ways), ask(slopes, posterior, "wealth", **ways)]
    for one, other in zip(whole, parts, strict=True):
        # A block's own points are as many as its rows need.
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


def test_roots_of_what_does_not_vary() -> None:
    full = np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
    flat_one = np.array([[1.0, 2.0, 0.5], [2.0, 4.0, 1.0], [0.5, 1.0, 1.0]])
    for matrix in (full, flat_one):
        root = cholesky(matrix[None])[0]
        np.testing.assert_allclose(root @ root.T, matrix, atol=1e-12)
        assert not np.triu(root, 1).any()


def test_new_groups_need_no_labels_and_neither_does_the_average() -> None:
    posterior = rich_posterior()
    bare = posterior.frame.drop(columns=["origin", "household"])
    np.testing.assert_allclose(
        flat(predictions(posterior, newdata=bare, groups="average")),
        flat(predictions(posterior, groups="average")),
        rtol=0,
        atol=1e-12,
    )


def test_other_groups_of_the_survey_do_not_matter() -> None:
    design = small_design("female")
    posterior = fabricated(design, spread=0.0, draws=2)
    moved = posterior.data.copy()
    moved["posterior"] = (
        moved["posterior"].to_dataset().assign(u_origin=moved["posterior"]["u_origin"] + 1.0)
    )
    other = replace(posterior, data=moved)
    one, two = (ask(predictions, p, groups="average") for p in (posterior, other))
    np.testing.assert_array_equal(one, two)
