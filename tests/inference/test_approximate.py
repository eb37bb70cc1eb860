"""Weighted draws: exact weights, honest shapes, equal weights afterwards."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError
from bayesmig.inference import approximate, routes
from bayesmig.inference import target as compiled
from bayesmig.inference.approximate import (
    Proposal,
    Weighted,
    resampled,
    supports,
    weighted_draws,
)
from bayesmig.inference.density import Density
from bayesmig.inference.routes import fit
from bayesmig.posterior import MAX_PARETO_K, PREVIEW, load
from bayesmig.predict import log_likelihood, predictions
from bayesmig.progress import silent
from tests.fabricate import fabricated, small_design, small_survey, theory
from tests.inference.theories import design_of

SURVEY = small_survey(3000, origins=25)
EXPONENTIAL = {"dist": "exponential", "scale": 1.0}
THEORY = theory("female + education + wealth")

# --------------------------------------------------------------------------- weights


def log_posterior(density: Density, theta: np.ndarray, effects: np.ndarray) -> float:
    """Of coefficients, log scales, Fisher's z and effects, written with SciPy's densities."""
    design, named = density.design, density.named(theta, effects)
    coefficients = Coefficients(
        persons=named["beta"],
        only=named.get("beta_only"),
        attributes=named.get("gamma"),
        effects={by: named[f"u_{by}"] for by in design.layouts},
    )
    log_p = log_probabilities(
        np, utilities(np, design.columns, coefficients), design.columns.available
    )
    total = log_p[np.arange(design.n_obs), design.choice].sum()
    prior = design.priors["persons"]
    total += stats.norm.logpdf(named["beta"], prior.loc, prior.scale).sum()
    for by in design.layouts:
        sigma = named[f"sigma_{by}"].ravel()
        total += stats.expon.logpdf(sigma).sum() + np.log(sigma).sum()
        corr = np.eye(len(sigma))
        if f"corr_{by}" in named:
            corr = named[f"corr_{by}"]
            assert len(corr) == 2
            r = corr[0, 1]
            # LKJ(2) of two, and the slope of tanh.
            total += np.log(1 - r**2) + np.log(1 - r**2)
        u = named[f"u_{by}"].reshape(-1, len(sigma))
        covariance = np.outer(sigma, sigma) * corr
        total += stats.multivariate_normal.logpdf(u, cov=covariance).sum()
    return float(total)


def small(groups: list[dict[str, Any]]) -> Design:
    survey = small_survey(60, origins=3)
    return build_design(
        theory(
            "female + wealth",
            groups=groups,
            priors={"scale": {"dist": "exponential", "scale": 1.0}},
        ),
        survey,
    )


def test_weights_are_those_of_all_combinations_of_sides() -> None:
    """Three origins: the product of means over sides is the mean over eight combinations."""
    design = small([{"by": "origin"}])
    density = Density(design)
    sampler = Proposal(density, 1, renews=True)
    sampler.recentre()
    layout = density.problem.layout
    t, width, groups = layout.n_theta, 2, 3
    rng = np.random.default_rng(0)
    white, epsilon = rng.normal(size=(6, t)), rng.normal(size=(6, layout.n_effects))
    theta, effects, _, found = sampler._evaluate(white, epsilon[:, None])
    # Epsilon's own density is divided by, group by group.
    found = found + stats.multivariate_t.logpdf(
        epsilon.reshape(-1, width), shape=np.eye(width), df=sampler.df
    ).reshape(6, groups).sum(axis=1)
    gaps = []
    for s in range(6):
        sides = effects[s].reshape(2, groups, width)
        whole = []
        for combination in product((0, 1), repeat=groups):
            u = np.array([sides[side, g] for g, side in enumerate(combination)])
            whole.append(log_posterior(density, theta[s], u.ravel()))
        volume = log_volume(density, theta[s], epsilon[s], effects[s])
        volume += log_volume_of_coefficients(density, theta[s])
        gaps.append(found[s] - (np.logaddexp.reduce(whole) - np.log(8) + volume))
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-8)


def test_weights_of_plain_draws_are_those_of_the_posterior() -> None:
    """One candidate, by the map's own expansion: density over the proposal's."""
    density = Density(small([{"by": "origin", "terms": "1 + wealth"}, {"by": "region"}]))
    problem = density.problem
    sampler = Proposal(density, 1, renews=False)
    layout, rng = problem.layout, np.random.default_rng(0)
    white = rng.normal(size=(5, layout.n_theta))
    epsilon = rng.normal(size=(5, layout.n_effects))
    theta, effects, _, found = sampler._evaluate(white, epsilon[:, None])
    assert effects.shape[1] == 1
    gaps = []
    for s in range(5):
        # The same effects by the density's own way, whose Jacobian other tests hold.
        vector = np.concatenate([np.zeros(layout.n_theta), epsilon[s]])
        centre, root = density.map_arguments[0]
        vector[: layout.n_theta] = np.linalg.solve(root, theta[s] - centre)
        again = density.parameters(vector)
        np.testing.assert_allclose(
            np.concatenate([again["u_origin"].ravel(), again["u_region"].ravel()]),
            effects[s, 0],
            atol=1e-9,
        )
        value = density(vector)[0] + log_volume_of_coefficients(density, theta[s])
        for unit in range(sampler.units):
            mine = epsilon[s][sampler.unit_of == unit]
            value -= stats.multivariate_t.logpdf(mine, shape=np.eye(len(mine)), df=sampler.df)
        gaps.append(found[s] - value)
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-8)


def log_volume_of_coefficients(density: Density, theta: np.ndarray) -> float:
    """From white coordinates at these scales: the curvature of the marginal density."""
    c, step = density.problem.layout.n_coefficients, 0.1
    _, _, scale_prior, table, expansion = density.map_arguments
    _, curvature = density.expansion.by_coefficients

    def pull(at: np.ndarray) -> np.ndarray:
        out = np.zeros_like(theta)
        approximate.target.marginal_density(
            np.concatenate([at, theta[c:]]), out, scale_prior, table, expansion
        )
        return out[:c]

    # Quadratic, so that differences are exact.
    unit = step * np.eye(c)
    explained = np.array([(pull(e) - pull(-e)) / (2 * step) for e in unit])
    return -0.5 * float(np.linalg.slogdet(curvature - explained)[1])


def log_volume(
    density: Density, theta: np.ndarray, epsilon: np.ndarray, sides: np.ndarray
) -> float:
    """``-sum log |K_g|`` with ``K K'`` the curvature around which effects are spread.

    It is the curvature at the map's own mode, and must take epsilon to half the distance
    of the two sides.
    """
    vector = np.zeros(density.size)
    centre, root = density.map_arguments[0]
    vector[: len(theta)] = np.linalg.solve(root, theta - centre)
    at = density.parameters(vector)["u_origin"].reshape(3, 2)
    p = np.exp(log_p_at(density, theta, at))
    codes = density.design.columns.groups["origin"][0]
    total = 0.0
    named = density.named(theta, at.ravel())
    sigma, corr = named["sigma_origin"].ravel(), named["corr_origin"]
    prior = np.linalg.inv(np.outer(sigma, sigma) * corr)
    for g in range(3):
        rows = p[codes == g][:, 1:]
        own = np.diag(rows.sum(axis=0)) - rows.T @ rows
        k = np.linalg.cholesky(own + prior)
        moved = np.linalg.solve(k.T, epsilon[2 * g : 2 * g + 2])
        np.testing.assert_allclose(
            (sides[0] - sides[1])[2 * g : 2 * g + 2] / 2, moved, rtol=1e-8, atol=1e-10
        )
        total -= np.log(np.diag(k)).sum()
    return total


def log_p_at(density: Density, theta: np.ndarray, effects: np.ndarray) -> np.ndarray:
    named = density.named(theta, effects.ravel())
    coefficients = Coefficients(persons=named["beta"], effects={"origin": named["u_origin"]})
    return log_probabilities(np, utilities(np, density.design.columns, coefficients), None)


def test_resampling_keeps_shares() -> None:
    rng = np.random.default_rng(1)
    log_weights = rng.normal(size=300)
    log_weights -= np.logaddexp.reduce(log_weights)
    for draws in (100, 300, 5000):
        counts = np.bincount(resampled(log_weights, draws, rng), minlength=300)
        # Systematic: never more than one away from what the weight asks for.
        assert (np.abs(counts - draws * np.exp(log_weights)) < 1).all()
    order = resampled(log_weights, 300, rng)
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.2


# ------------------------------------------------------------------------------ routes


@pytest.fixture(scope="module")
def weighted() -> Any:
    return fit(THEORY, SURVEY, seed=4, method="surrogate", progress=False)


def test_a_posterior_of_weighted_draws_says_so(weighted: Any, tmp_path: Any) -> None:
    assert "weighted" in weighted.provenance.route
    assert "Pareto k" in weighted.provenance.reason
    assert weighted.provenance.numbers["pareto_k"] < MAX_PARETO_K
    assert weighted.problems() == ()
    diagnostics = weighted.data["diagnostics"].to_dataset()
    assert np.isnan(diagnostics["r_hat"]).all()
    assert "divergences" not in diagnostics
    assert (diagnostics["ess_bulk"] >= 400).all()
    again = load(weighted.save(tmp_path / "fit.nc"))
    assert again.draws.identical(weighted.draws)
    assert again.provenance == weighted.provenance


@pytest.mark.slow
def test_weighted_draws_agree_with_nuts(weighted: Any) -> None:
    chains = fit(THEORY, SURVEY, seed=5, method="nuts", tune=400, progress=False)
    a, b = (of.summary(effects=True).set_index("parameter") for of in (weighted, chains))
    assert list(a.index) == list(b.index)
    error = np.hypot(a["sd"] / np.sqrt(a["ess_bulk"]), b["sd"] / np.sqrt(b["ess_bulk"]))
    z = (a["mean"] - b["mean"]) / error
    assert 0.7 < np.sqrt(np.square(z).mean()) < 1.3
    assert np.abs(z).max() < 4.5
    np.testing.assert_allclose(a["sd"], b["sd"], rtol=0.15)


def test_equal_seeds_give_equal_draws_and_others_others(
    weighted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    again = fit(THEORY, SURVEY, seed=4, method="surrogate", progress=False)
    assert again.draws.identical(weighted.draws)
    other = fit(THEORY, SURVEY, seed=8, method="surrogate", progress=False)
    assert not other.draws.equals(weighted.draws)


@pytest.fixture(scope="module")
def hard() -> tuple[Any, Any]:
    """Two thousand persons of whom few move, in as many places as movers."""
    survey = small_survey(2000, origins=900)
    return theory(
        "female + wealth", groups=[{"by": "origin", "terms": "1 + wealth + female"}]
    ), survey


def test_where_weights_will_not_do_chains_are_run(
    hard: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    density = Density(build_design(*hard))
    found = weighted_draws(density, seed=2, draws=1000, weigh=True, progress=silent)
    assert not found.whole or found.pareto_k >= MAX_PARETO_K
    reached = []

    class Reached(Exception):
        pass

    def chains(sampler: Any, design: Any, plan: Any, *of: Any) -> Any:
        reached.append(plan.route)
        raise Reached

    monkeypatch.setattr(routes, "run_chains", chains)
    with pytest.raises(Reached):
        fit(*hard, seed=2, progress=False)
    assert reached == ["map"]
    # With as many draws, an easy posterior needs none.
    fit(THEORY, SURVEY, seed=2, progress=False)
    assert reached == ["map"]
    with pytest.raises(InferenceError, match="will not do"):
        fit(*hard, seed=2, method="surrogate", progress=False)


# --------------------------------------------------------------------- what is not taken


#: Compiled functions have no signature that a type checker could read.
target: Any = compiled
SMALL = (theory("female"), small_survey(200, origins=6))
BRIEF: dict[str, Any] = {"seed": 2, "chains": 2, "draws": 300, "tune": 30, "progress": False}


def replaced(monkeypatch: pytest.MonkeyPatch, **keys: Any) -> list[int]:
    """Weighted draws with other numbers; how many were asked for, one call after another."""
    asked, usual = [], approximate.weighted_draws

    def other(density: Density, **options: Any) -> Weighted:
        asked.append(options["draws"])
        return replace(usual(density, **options), **keys)

    monkeypatch.setattr(approximate, "weighted_draws", other)
    return asked


@pytest.mark.parametrize(("k", "taken"), [(0.49, True), (0.51, False), (np.inf, False)])
def test_weights_are_taken_by_their_shape(
    k: float, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the draws are worth besides."""
    monkeypatch.setattr(routes, "MIN_ESS", 100)
    replaced(monkeypatch, pareto_k=k)
    fitted = fit(*SMALL, **BRIEF).provenance
    assert ("weighted" in fitted.route) == taken
    assert ("NUTS" in fitted.route) != taken
    assert f"Pareto k {k:.2f}" in fitted.reason
    assert ("k < 0.5 is needed" in fitted.reason) != taken
    # What is known of the weights is told either way.
    assert fitted.numbers["pareto_k"] == k
    assert fitted.numbers["weight_ess"] > 100
    assert ("gradients_per_draw" in fitted.numbers) != taken
    if not taken:
        with pytest.raises(InferenceError, match="is needed"):
            fit(*SMALL, seed=2, method="surrogate", chains=2, draws=300, progress=False)


def test_too_few_draws_are_made_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = replaced(monkeypatch, pareto_k=0.3)
    fitted = fit(THEORY, SURVEY, **BRIEF | {"draws": 220})
    assert "weighted" in fitted.provenance.route
    assert len(asked) > 1
    assert asked[0] == 440 < asked[1] == fitted.provenance.numbers["proposals"] <= 4 * 440
    assert fitted.n_draws == (2, 220)
    assert fitted.problems() == ()


def test_weights_must_be_worth_what_is_asked() -> None:
    proposals = []
    for ess in (400, 1900):
        fitted = fit(THEORY, SURVEY, **BRIEF | {"draws": 1000}, ess=ess)
        assert "weighted" in fitted.provenance.route
        assert fitted.provenance.reason.endswith(f"at least {ess:,}")
        known = fitted.data["diagnostics"]
        assert min(float(known[k].min()) for k in ("ess_bulk", "ess_tail")) >= ess
        proposals.append(fitted.provenance.numbers["proposals"])
    assert proposals[0] < proposals[1]
    few = fit(*SMALL, **BRIEF, ess=600).provenance
    assert "NUTS" in few.route
    assert few.reason == ("600 draws in all cannot be worth 600; chains are not held to ess=600")
    assert "ess" not in fit(*SMALL, **BRIEF | {"draws": 150}).provenance.reason
    with pytest.raises(InferenceError, match="ess must be a whole number of at least 400"):
        fit(*SMALL, **BRIEF, ess=399)
    with pytest.raises(InferenceError, match="weighted draws will not do here"):
        fit(*SMALL, seed=2, method="surrogate", draws=1000, ess=4000, progress=False)


@pytest.mark.parametrize("method", ["nuts", "graph", "plain", "preview"])
def test_a_worth_is_not_asked_of_other_draws(method: Any) -> None:
    with pytest.raises(InferenceError, match="ess says when weighted draws will do"):
        fit(THEORY, SURVEY, seed=1, method=method, ess=500)


def test_what_stays_too_few_is_left_to_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = replaced(monkeypatch, pareto_k=0.3)
    monkeypatch.setattr(routes._Pool, "least_ess", property(lambda self: 90.0))
    fitted = fit(*SMALL, **BRIEF)
    assert asked == [600]
    assert "NUTS" in fitted.provenance.route
    assert fitted.provenance.reason.endswith("worth 90 draws or more: 400 are needed")


def test_a_real_posterior_has_weights_of_too_heavy_a_tail() -> None:
    """Places of ten persons with slopes: nothing is made up, k says so, and chains take over."""
    groups = [{"by": "origin", "terms": "1 + wealth"}]
    few = theory("female + wealth", groups=groups), small_survey(2000, origins=200)
    found = fit(*few, seed=2, chains=1, draws=1000, tune=100, progress=False)
    numbers = found.provenance.numbers
    assert 0.5 < numbers["pareto_k"] < 1.2
    assert numbers["proposals"] == 1000
    assert "NUTS" in found.provenance.route
    assert f"Pareto k {numbers['pareto_k']:.2f}" in found.provenance.reason
    assert "k < 0.5 is needed" in found.provenance.reason
    assert f"why: {found.provenance.reason}" in str(found)
    # The first weights do not stop them.
    with pytest.raises(InferenceError, match=r"k < 0\.5 is needed"):
        fit(*few, seed=2, method="surrogate", chains=1, draws=1000, progress=False)


def test_scales_that_leave_no_curvature_are_left_to_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(white: np.ndarray, *_: Any) -> np.ndarray:
        return np.full(len(white), np.nan)

    monkeypatch.setattr(approximate.target, "conditional_centres", fails)
    fitted = fit(*SMALL, **BRIEF)
    assert "NUTS" in fitted.provenance.route
    assert "at some draws of the scales" in fitted.provenance.reason
    for method in ("surrogate", "preview"):
        with pytest.raises(InferenceError, match="at some draws of the scales"):
            fit(*SMALL, seed=2, method=method, chains=2, draws=300, progress=False)


def test_the_root_of_a_matrix_that_has_none_is_not_a_number() -> None:
    right = np.array([[4.0, 2.0], [2.0, 5.0]])
    np.testing.assert_allclose(target._cholesky(right), np.linalg.cholesky(right))
    assert np.isnan(target._cholesky(right - 4.5 * np.eye(2))).any()
    assert np.isnan(target._cholesky(right * np.nan)).any()


def test_a_density_without_curvature_is_not_said_to_be_infinite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> None:
        raise np.linalg.LinAlgError("Matrix is not positive definite")

    monkeypatch.setattr("bayesmig.inference.density.expand", fails)
    with pytest.raises(InferenceError, match="no curvature") as raised:
        fit(*SMALL, **BRIEF)
    assert "extreme values" in raised.value.mend


def test_candidates_are_as_many_as_their_epsilon() -> None:
    """Compiled loops check no bounds."""
    density = Density(build_design(theory("female"), small_survey(1500, origins=450)))
    proposal = Proposal(density, 1, renews=True)
    assert proposal.pairs == 2
    layout = density.problem.layout
    white, epsilon = np.zeros((3, layout.n_theta)), np.zeros((3, 2, layout.n_effects))
    for pairs in (1, 2):
        _, effects, of_units, log_density = proposal._evaluate(white, epsilon[:, :pairs])
        assert effects.shape[1] == of_units.shape[1] == 2 * pairs
        # All candidates are one here, and so is their mean, however many there are.
        np.testing.assert_allclose(log_density, proposal.marginal(white), rtol=1e-12)


def test_pieces_of_work_are_small_where_effects_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece's candidates stay within some memory; draws depend on the pieces, not on cores."""
    density = Density(build_design(theory("female"), small_survey(900, origins=60)))
    n_effects = density.problem.layout.n_effects
    assert Proposal(density, 1, renews=True).piece == approximate._PIECE
    options = {"seed": 2, "draws": 100, "weigh": True, "progress": silent}
    monkeypatch.setattr(approximate, "_PIECE_SIZE", 2 * 7 * n_effects)
    assert Proposal(density, 1, renews=True).piece == 7
    found = []
    for cores in (1, 3):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found.append(weighted_draws(density, **options))
    one, other = found
    assert len(one.theta) == 100
    np.testing.assert_array_equal(one.effects, other.effects)
    np.testing.assert_array_equal(one.log_weights, other.log_weights)
    # The pilot is looked at though no piece ends with it.
    assert not weighted_draws(density, **options | {"draws": 300, "least_share": 1.0}).whole
    monkeypatch.setattr(approximate, "_PIECE_SIZE", 1)
    assert Proposal(density, 1, renews=True).piece == 1


def test_many_rows_in_every_group_need_no_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    renewed = []
    usual = Proposal.__init__

    def made(self: Proposal, density: Density, seed: int, *, renews: bool) -> None:
        renewed.append(renews)
        usual(self, density, seed, renews=renews)

    monkeypatch.setattr(Proposal, "__init__", made)
    options = {"seed": 2, "draws": 600, "weigh": True, "progress": silent}
    rich = Density(build_design(THEORY, small_survey(6000, origins=4)))
    plain = weighted_draws(rich, **options)
    assert plain.whole
    assert plain.pareto_k < MAX_PARETO_K
    assert renewed == [False]
    # Where they will not do after all, they are renewed.
    monkeypatch.setattr(approximate, "_GOOD_SHARE", 1.0)
    again = weighted_draws(rich, **options)
    assert renewed == [False, False, True]
    assert again.whole
    for name in ("theta", "effects"):
        one, other = (getattr(w, name) for w in (plain, again))
        means = [np.exp(w.log_weights) @ v for w, v in ((plain, one), (again, other))]
        error = one.std(axis=0) * np.sqrt(1 / plain.weight_ess + 1 / again.weight_ess)
        assert np.abs((means[0] - means[1]) / error).max() < 4


def test_few_draws_are_not_worth_enough_whatever_their_weights() -> None:
    posterior = fit(THEORY, SURVEY, seed=2, chains=2, draws=20, tune=20, progress=False)
    assert "NUTS" in posterior.provenance.route
    assert posterior.provenance.reason == "40 draws in all cannot be worth 400"
    with pytest.raises(InferenceError, match="40 draws in all"):
        fit(THEORY, SURVEY, seed=2, chains=2, draws=20, method="surrogate", progress=False)


def test_crossed_factors_have_no_weights() -> None:
    assert not supports(Density(design_of("crossed")))
    assert supports(Density(design_of("two_factors")))


def test_a_hopeless_pilot_ends_early() -> None:
    density, seen = Density(build_design(THEORY, SURVEY)), []

    def tell(task: str, done: int, total: int, note: str = "") -> None:
        seen.append((done, note))

    options = {"seed": 1, "draws": 2000, "weigh": True, "progress": tell}
    found = weighted_draws(density, **options, least_share=1.0)
    assert not found.whole
    assert len(found.log_weights) == 200
    # A bar that stopped half way would say that they are still being made.
    assert seen[-2:] == [(200, ""), (2000, "uneven weights, chains instead")]


def test_a_preview_says_that_it_is_one() -> None:
    posterior = fit(THEORY, SURVEY, seed=4, method="preview", draws=200, progress=False)
    assert posterior.is_preview
    assert posterior.provenance.route == PREVIEW
    assert "approximation" in predictions(posterior).header["convergence"]
    from bayesmig.checks.convergence import convergence

    judged = convergence(posterior)
    assert judged.passed is None
    assert "approximation" in judged.text
    assert "approximation" in log_likelihood(posterior, rows=[0]).attrs["convergence"]


def test_the_log_likelihood_of_other_draws_says_nothing_of_the_kind() -> None:
    posterior = fabricated(small_design("female"))
    assert log_likelihood(posterior, rows=[0]).attrs == {}


@pytest.mark.parametrize("option", [{"tune": 100}, {"target_accept": 0.9}, {"keep": "somewhere"}])
@pytest.mark.parametrize("method", ["surrogate", "preview"])
def test_what_only_chains_have_is_refused(method: Any, option: dict[str, Any]) -> None:
    with pytest.raises(InferenceError, match="does not apply"):
        fit(THEORY, SURVEY, seed=1, method=method, **option)
