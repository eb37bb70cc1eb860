"""Integrals over effects of groups, against dense sums over grids, row by row in loops."""

import math
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

from bayesmig.choice.utility import take_draws, take_rows
from bayesmig.design.design import build_design
from bayesmig.errors import QuestionError
from bayesmig.inference import points
from bayesmig.inference.memory import FAR
from bayesmig.model_comparison import compare, integrals, quadrature
from bayesmig.model_comparison.integrals import (
    Densities,
    covariance_roots,
    factors_of,
    to_integrate,
)
from bayesmig.model_comparison.quadrature import differences, rules
from bayesmig.posterior import Posterior
from tests.fabricate import fabricated, small_design, small_frame, survey_of, theory
from tests.inference.test_beyond_logit import BEYOND
from tests.inference.theories import wide_survey

DRAWS = np.array([0, 17, 500])
#: Compiled functions have no signature that a type checker could read.
odds: Any = points.odds


def prepared(
    posterior: Posterior, units: np.ndarray, by: tuple[str, ...] | None = None, **keys: Any
) -> Densities:
    """Densities of all draws."""
    design, factors = posterior.design, factors_of(posterior.design)
    chosen = (
        to_integrate(factors, units, "obs") if by is None else tuple(factors[name] for name in by)
    )
    named = {
        str(k): v.to_numpy().reshape(-1, *v.shape[2:]) for k, v in posterior.draws.data_vars.items()
    }
    return Densities(
        design.columns,
        design.choice,
        posterior.coefficients(),
        chosen,
        {f.name: covariance_roots(named, f) for f in chosen},
        units,
        **keys,
    )


def densities(
    posterior: Posterior, units: np.ndarray, by: tuple[str, ...] | None = None, **keys: Any
) -> np.ndarray:
    """``(draw, unit)`` at some draws."""
    found = prepared(posterior, units, by, **keys)
    out = np.full((len(DRAWS), found.n_units), np.nan)
    for which, block in found.blocks(DRAWS):
        out[:, which] = block
    return out


def row_log_likelihood(
    posterior: Posterior, draw: int, rows: np.ndarray, effects: dict[str, np.ndarray]
) -> float:
    """Log-likelihood of rows at a draw's coefficients and these effects ``(nonbase, term)``."""
    design, total = posterior.design, 0.0
    beta = posterior.coefficients().persons[draw]
    for i in rows:
        v = [0.0]
        for j in range(len(design.nonbase)):
            value = float(design.columns.persons[i] @ beta[:, j])
            for by, u in effects.items():
                value += float(design.columns.groups[by][1][i] @ u[j])
            v.append(value)
        open_ = np.ones(len(v)) if (a := design.columns.available) is None else a[i]
        below = math.log(sum(math.exp(x) for x, is_open in zip(v, open_, strict=True) if is_open))
        total += v[int(design.choice[i])] - below
    return total


def of_grid(
    posterior: Posterior, draw: int, rows: np.ndarray, by: str, width: int, along: int = 31
) -> float:
    """Log of the integral over a factor's effects, by a sum over a grid."""
    draws, layout = posterior.draws, posterior.design.layouts[by]
    sigma = draws[f"sigma_{by}"].to_numpy().reshape(-1, width)[draw]
    corr = np.eye(width)
    if f"corr_{by}" in draws:
        corr = draws[f"corr_{by}"].to_numpy().reshape(-1, width, width)[draw]
    root = np.linalg.cholesky(corr * np.outer(sigma, sigma))
    z = np.linspace(-6, 6, along)
    log_z = -0.5 * z**2 - math.log(np.exp(-0.5 * z**2).sum())
    terms = []
    for at in product(range(along), repeat=width):
        u = (root @ z[list(at)]).reshape(-1, len(layout.terms))
        terms.append(log_z[list(at)].sum() + row_log_likelihood(posterior, draw, rows, {by: u}))
    return float(np.logaddexp.reduce(terms))


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    survey = survey_of(small_frame(90, seed=3, origins=9))
    return fabricated(small_design("female + wealth", survey=survey), spread=0.2, survey=survey)


@pytest.fixture
def finely(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many points as there are."""
    monkeypatch.setattr(integrals, "EXACT", 1e-5)


@pytest.mark.usefixtures("finely")
def test_a_row_given_the_rest_of_its_group(posterior: Posterior) -> None:
    found = densities(posterior, np.arange(90))
    codes = posterior.design.columns.groups["origin"][0]
    for k, i in ((0, 0), (1, 5), (2, 33)):
        rows = np.flatnonzero(codes == codes[i])
        draw = int(DRAWS[k])
        whole = of_grid(posterior, draw, rows, "origin", 2)
        rest = of_grid(posterior, draw, rows[rows != i], "origin", 2)
        assert found[k, i] == pytest.approx(whole - rest, abs=1e-4)


@pytest.mark.usefixtures("finely")
def test_whole_groups_and_units_in_them(posterior: Posterior) -> None:
    codes = posterior.design.columns.groups["origin"][0]
    whole = densities(posterior, codes)
    rows = np.flatnonzero(codes == 4)
    assert whole[1, 4] == pytest.approx(of_grid(posterior, 17, rows, "origin", 2), abs=1e-4)
    # Two units in every group, and units that several groups lie in.
    halves = 2 * codes + np.arange(90) % 2
    halves = np.unique(halves, return_inverse=True)[1]
    unit = halves[rows[0]]
    rest = of_grid(posterior, 17, rows[halves[rows] != unit], "origin", 2)
    assert densities(posterior, halves)[1, unit] == pytest.approx(whole[1, 4] - rest, abs=1e-4)
    several = densities(posterior, codes // 3)
    np.testing.assert_allclose(several[:, 1], whole[:, 3:6].sum(axis=1), atol=1e-9)


def test_alone_a_unit_is_its_own_group(posterior: Posterior) -> None:
    found = densities(posterior, np.arange(90), alone=True)
    wanted = of_grid(posterior, 17, np.array([7]), "origin", 2)
    assert found[1, 7] == pytest.approx(wanted, abs=2e-3)


@pytest.mark.usefixtures("finely")
def test_slopes_and_closed_alternatives() -> None:
    frame = small_frame(80, seed=5, origins=8)
    frame["open"] = (np.arange(80) % 3 > 0) | (frame["choice"] == "international")
    frame["open"] = frame["open"].astype(int)
    design = small_design(
        "female",
        survey=survey_of(frame),
        groups=[{"by": "origin", "terms": "0 + wealth"}],
        available={"international": "open"},
    )
    posterior = fabricated(design, spread=0.2)
    found = densities(posterior, np.arange(80))
    codes, closed = design.columns.groups["origin"][0], ~design.columns.available.all(axis=1)
    # One whose origin has no closed row; one that is closed; one beside such.
    assert not closed[codes == codes[11]].any()
    assert closed[[0, 21]].tolist() == [True, False]
    for i in (11, 0, 21):
        rows = np.flatnonzero(codes == codes[i])
        whole = of_grid(posterior, 17, rows, "origin", 2)
        rest = of_grid(posterior, 17, rows[rows != i], "origin", 2)
        assert found[1, i] == pytest.approx(whole - rest, abs=1e-4)


@pytest.mark.parametrize("base", [0, 2])
def test_odds_are_those_of_numpy(base: int) -> None:
    rng = np.random.default_rng(3)
    utility, choice = rng.normal(0, 3, (4, 30, 3)), rng.integers(0, 3, 30)
    utility[:, 5] = [-700.0, 0.0, 700.0]
    available = rng.random((30, 3)) < 0.7
    available[np.arange(30), choice] = True
    order = np.r_[base, np.delete(np.arange(3), base)]
    gap = utility - np.take_along_axis(utility, choice[None, :, None], axis=2)
    expected = np.where(available, np.exp(gap.clip(-FAR, FAR / 2)), 0.0)[:, :, order]
    out = np.empty_like(utility)
    odds(utility, choice, order, available, out)
    np.testing.assert_allclose(out, expected, rtol=1e-13)
    assert (out == 0).any()
    odds(utility, choice, order, available[:0], out)
    assert (out > 0).all()


def test_compiled_and_general_likelihoods_agree(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Points are placed alike, by differences.
    monkeypatch.setattr(integrals._Logit, "derivatives", integrals._Any.derivatives)
    compiled = densities(posterior, np.arange(90))
    monkeypatch.setattr(integrals, "_by_differences", lambda *_: True)
    np.testing.assert_allclose(densities(posterior, np.arange(90)), compiled, atol=1e-9)


@pytest.mark.parametrize("name", ["curves", "tastes"])
def test_curves_and_tastes_that_stay_move_utilities(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = BEYOND["curves"]
    if name == "tastes":
        keys = BEYOND["tastes"] | {"tastes": BEYOND["tastes"]["tastes"][:1]}
    design = build_design(theory(**keys, groups=[{"by": "origin"}]), wide_survey(150))
    posterior = fabricated(design, spread=0.2)
    units = design.columns.groups["origin"][0]
    monkeypatch.setattr(integrals._Logit, "derivatives", integrals._Any.derivatives)
    compiled = densities(posterior, units, ("origin",))
    monkeypatch.setattr(integrals, "_by_differences", lambda *_: True)
    general = densities(posterior, units, ("origin",))
    np.testing.assert_allclose(general, compiled, atol=1e-8)
    assert np.ptp(compiled) > 1


def test_effects_and_tastes_of_the_same_groups_are_both_integrated_out() -> None:
    """Nothing is left of what draws know of the groups that are left out."""
    keys = {
        "utility": {"persons": "female", "alternatives": "cost"},
        "groups": [{"by": "origin"}],
        "tastes": [{"by": "origin", "attributes": ["cost"], "correlated": False}],
    }
    design = build_design(theory(**keys), wide_survey(60, origins=6))
    posterior = fabricated(design, spread=0.2)
    units = design.columns.groups["origin"][0]
    found = densities(posterior, units)
    tree = posterior.data.copy()
    for name in ("u_origin", "taste_origin"):
        tree[f"posterior/{name}"] = tree[f"posterior/{name}"] + 1.0
    np.testing.assert_allclose(densities(replace(posterior, data=tree), units), found, atol=1e-6)
    tree["posterior/sigma_taste_origin"] = 1e-6 * tree["posterior/sigma_taste_origin"]
    still = densities(replace(posterior, data=tree), units)
    assert np.abs(still - found).max() > 0.01


def test_a_long_unit_that_a_far_point_all_but_excludes_has_a_density() -> None:
    """The inverse probability there is beyond numbers, and its weight below them."""
    rows, z = 20, np.array([[-7.4], [0.0], [7.4]])
    odds, chosen = np.ones((1, rows, 2)), np.ones(rows, dtype=np.int64)
    where = np.zeros((1, 1, 1)), np.full((1, 1, 1, 1), 6.0), z
    starts, groups, no_terms = np.array([0]), np.array([0]), np.empty((rows, 0))
    sums, out = np.empty((1, 3, 1)), np.empty((1, 1))
    points.group_sums(odds, chosen, no_terms, starts, *where, sums)
    wanted = -rows * np.logaddexp(0, -6 * z[:, 0])
    np.testing.assert_allclose(sums[0, :, 0], wanted, atol=1e-9)
    log_shares = sums - np.logaddexp.reduce(sums, axis=1)
    assert np.exp(log_shares[0, 0, 0]) == 0 < np.exp(-wanted[1])
    points.inverse_sums(odds, chosen, no_terms, starts, groups, *where, log_shares, out)
    assert out[0, 0] == pytest.approx(np.log(3), abs=1e-5)


@pytest.mark.parametrize("terms", ["1", "1 + wealth"])
def test_slopes_and_curvatures_are_those_of_differences(terms: str) -> None:
    design = small_design(
        survey=survey_of(small_frame(60, seed=5, origins=6)),
        groups=[{"by": "origin", "terms": terms}],
    )
    posterior = fabricated(design, spread=0.4)
    [factor] = factors_of(design).values()
    rows = np.argsort(factor.codes, kind="stable")
    codes = np.unique(factor.codes[rows], return_inverse=True)[1]
    likelihood = integrals._Logit(
        [factor],
        [codes],
        take_rows(design.columns, rows),
        design.choice[rows],
        take_draws(posterior.coefficients(), DRAWS),
    )
    starts = np.searchsorted(codes, np.arange(codes.max() + 1))
    effects = np.random.default_rng(1).normal(size=(len(DRAWS), len(starts), factor.width))
    going = np.ones(effects.shape[:2], dtype=bool)
    going[1, 2] = False
    steps = np.full(factor.width, 1e-3)
    found = likelihood.derivatives(starts, steps)(effects, going)
    wanted = differences(partial(likelihood.group_sums, at=starts), steps)(effects, going)
    # Mixed differences are one-sided, and off by as much as the steps.
    for one, other, off in zip(found, wanted, (1e-5, 2e-3), strict=True):
        np.testing.assert_allclose(one[going], other[going], atol=off)
        assert (one[1, 2] == 0).all()
    assert np.ptp(found[0][going]) > 1


@pytest.mark.usefixtures("finely")
def test_households_in_places_are_integrated_at_every_point_of_the_place() -> None:
    frame = small_frame(40, seed=2, origins=4)
    frame["choice"] = frame["choice"].replace("international", "internal")
    design = small_design(
        "female",
        survey=survey_of(frame),
        choice={"alternatives": ["stay", "internal"], "base": "stay"},
        groups=[{"by": "origin"}, {"by": "household:origin"}],
    )
    posterior = fabricated(design, spread=0.2)
    place, household = (design.columns.groups[g.by][0] for g in design.spec.groups)
    names = [g.by for g in design.spec.groups]
    found = densities(posterior, place)
    sigma = [posterior.draws[f"sigma_{by}"].to_numpy().reshape(-1)[17] for by in names]
    z = np.linspace(-6, 6, 31)
    log_z = -0.5 * z**2 - math.log(np.exp(-0.5 * z**2).sum())
    outer = []
    for at, weight in zip(z, log_z, strict=True):
        total = weight
        for h in np.unique(household[place == 1]):
            rows = np.flatnonzero(household == h)
            total += np.logaddexp.reduce(
                [
                    w
                    + row_log_likelihood(
                        posterior,
                        17,
                        rows,
                        {
                            names[0]: np.array([[at * sigma[0]]]),
                            names[1]: np.array([[b * sigma[1]]]),
                        },
                    )
                    for b, w in zip(z, log_z, strict=True)
                ]
            )
        outer.append(total)
    assert found[1, 1] == pytest.approx(np.logaddexp.reduce(outer), abs=1e-3)
    # The question of a person conditions on places, and integrates over households.
    assert [f.by for f in to_integrate(factors_of(design), np.arange(40), "obs")] == names[1:]
    assert [f.by for f in to_integrate(factors_of(design), place, "origin")] == names


def test_factors_that_cross_are_not_integrated_together() -> None:
    frame = small_frame(200, seed=2, origins=6)
    groups = [{"by": "region:female"}, {"by": "origin"}]
    design = small_design("female", survey=survey_of(frame), groups=groups)
    units = design.columns.groups["origin"][0] * 0
    with pytest.raises(QuestionError, match="would have to be integrated out together"):
        to_integrate(factors_of(design), units, "everyone")
    pair = {"a": fabricated(design), "b": fabricated(design)}
    assert "Effects of origin integrated out" in compare(pair, question="origin").text


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_points_integrate_polynomials_of_a_normal(width: int) -> None:
    for rule in rules(width)[-2:]:
        w = np.exp(rule.log_weights)
        assert w.sum() == pytest.approx(1.0, abs=0.02)
        second = np.einsum("k,ki,kj->ij", w, rule.z, rule.z)
        np.testing.assert_allclose(second, np.eye(width), atol=0.06)


def test_what_is_said_to_be_missing_is_missing_of_the_rule_that_is_used(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last rule is never used: it tells what the one before leaves."""
    monkeypatch.setattr(quadrature, "_ALONG", {2: (1, 2, 25)})
    monkeypatch.setattr(integrals, "EXACT", 0.0)
    few = prepared(posterior, np.arange(90))
    assert few.level == 1
    assert few.passes < 25**2
    draws = few._some_draws()
    groups = np.arange(9)
    left = few._pilot(draws, groups, 2) - few._pilot(draws, groups, 1)
    assert few.error == pytest.approx(np.abs(left.mean(axis=0)).sum())
    monkeypatch.setattr(quadrature, "_ALONG", {2: (1, 2, 5, 25)})
    assert prepared(posterior, np.arange(90)).error < few.error / 5


def test_rules_of_many_points_are_judged_by_some_groups(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What these leave is scaled to all rows."""
    monkeypatch.setattr(quadrature, "_ALONG", {2: (2, 3)})
    whole = prepared(posterior, np.arange(90)).error
    monkeypatch.setattr(integrals, "_PILOT_PASSES", 9 * 45)
    some = prepared(posterior, np.arange(90))
    assert some._some_groups(1)[1] <= 0.5
    assert some.error == pytest.approx(whole, rel=0.8)


@pytest.mark.usefixtures("finely")
@pytest.mark.parametrize(("along", "error"), [({4: (3, 5, 7)}, 2e-3), ({}, 0.02)])
def test_four_effects_a_group_by_a_grid(
    along: dict[int, tuple[int, ...]], error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two constants and two slopes, by products and by quasi-random points."""
    monkeypatch.setattr(quadrature, "_ALONG", along)
    survey = survey_of(small_frame(60, seed=3, origins=6))
    groups = [{"by": "origin", "terms": "1 + wealth"}]
    design = small_design("female + wealth", survey=survey, groups=groups)
    posterior = fabricated(design, spread=0.2, survey=survey)
    codes, terms = design.columns.groups["origin"]
    rows = np.flatnonzero(codes == codes[4])
    draws, at = posterior.draws, int(DRAWS[1])
    sigma = draws["sigma_origin"].to_numpy().reshape(-1, 4)[at]
    corr = draws["corr_origin"].to_numpy().reshape(-1, 4, 4)[at]
    z = np.linspace(-6, 6, 25)
    points_ = np.stack(np.meshgrid(z, z, z, z, indexing="ij"), axis=-1).reshape(-1, 4)
    prior = -np.square(points_).sum(axis=1) / 2
    prior -= np.logaddexp.reduce(prior)
    u = (points_ @ np.linalg.cholesky(corr * np.outer(sigma, sigma)).T).reshape(-1, 2, 2)
    beta, likelihoods = posterior.coefficients().persons[at], []
    for i in rows:
        v = np.zeros((len(u), 3))
        v[:, 1:] = design.columns.persons[i] @ beta + u @ terms[i]
        likelihoods.append(v[:, design.choice[i]] - np.logaddexp.reduce(v, axis=1))
    whole = np.logaddexp.reduce(prior + np.sum(likelihoods, axis=0))
    others = [of for of, i in zip(likelihoods, rows, strict=True) if i != 4]
    rest = np.logaddexp.reduce(prior + np.sum(others, axis=0))
    assert densities(posterior, np.arange(60))[1, 4] == pytest.approx(whole - rest, abs=error)
    assert densities(posterior, codes)[1, codes[4]] == pytest.approx(whole, abs=2 * error)


def test_draws_do_not_depend_on_each_other(posterior: Posterior) -> None:
    """Blocks of draws and of groups change nothing."""
    before = densities(posterior, np.arange(90))
    assert len(take_draws(posterior.coefficients(), DRAWS).persons) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integrals, "_BLOCK_SIZE", 2_000)
        np.testing.assert_allclose(densities(posterior, np.arange(90)), before, atol=1e-9)
