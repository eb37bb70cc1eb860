"""Pseudo-posteriors: the weighted likelihood, and the spread that a sampling design implies."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.optimize import minimize

import bayesmig as bm
from bayesmig.design.design import Design, build_design
from bayesmig.errors import DesignError, InferenceError, QuestionError, SurveyError
from bayesmig.inference import routes
from bayesmig.inference import sampling_correction as room
from bayesmig.inference.density import Density
from bayesmig.inference.graph import build_graph
from bayesmig.inference.stream import log_likelihood_sums
from bayesmig.survey.sampling import Sampling, sampling_of
from bayesmig.survey.survey import Survey, read_survey
from tests.fabricate import ALTERNATIVES, fabricated, small_frame, theory

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
FLAT = {"asc": {"dist": "flat"}, "persons": {"dist": "flat"}}
ORIGIN = [{"by": "origin"}]
NESTED = [{"by": "household:origin"}, {"by": "origin"}]


def score_covariance(density: Density, theta: np.ndarray, sampling: Sampling) -> np.ndarray:
    return sampling.covariance(room.score_sums(density, theta, sampling))


def survey(n: int = 600, *, equal: bool = False, **roles: str) -> Survey:
    frame = small_frame(n, seed=3, origins=20)
    # Households within origins, and a stratum of origins.
    frame["origin"] = [f"o{(i // 3) % 20:02d}" for i in range(n)]
    frame["stratum"] = [f"s{(i // 3) % 2}" for i in range(n)]
    if equal:
        frame["weight"] = 0.1
    known = {r: r for r in ("choice", "person", "household", "origin", "region", "weight")}
    return read_survey(frame, known | roles, alternatives={a: a for a in ALTERNATIVES})


def design(of: Survey, **keys: Any) -> Design:
    return build_design(theory("female + wealth", **{"weights": "pseudo"} | keys), of)


# ------------------------------------------------------------------ weighted likelihood


def by_hand(of: Design, flat: np.ndarray) -> float:
    """Weighted log-likelihood of a logit without groups, row by row."""
    beta, total = flat.reshape(of.columns.persons.shape[1], 2), 0.0
    for x, y, w in zip(of.columns.persons, of.choice, of.weights, strict=True):
        utilities = np.concatenate([[0.0], x @ beta])
        total += w * (utilities[y] - np.log(np.exp(utilities).sum()))
    return total


def test_the_mode_under_flat_priors_is_survey_weighted_maximum_likelihood() -> None:
    of = design(survey(), groups=[], priors=FLAT)
    best = minimize(lambda b: -by_hand(of, b), np.zeros(6), method="BFGS", options={"gtol": 1e-8})
    assert Density(of).expansion.centre == pytest.approx(best.x, abs=5e-6)
    ignored = design(survey(), groups=[], priors=FLAT, weights="ignore")
    assert np.abs(Density(ignored).expansion.centre - best.x).max() > 0.01


@pytest.mark.parametrize("groups", [[], ORIGIN, NESTED])
def test_density_graph_and_rows_have_one_weighted_likelihood(groups: list[Any]) -> None:
    of = design(survey(120), groups=groups)
    posterior = fabricated(of, draws=10, chains=1)
    coefficients = posterior.coefficients()
    weighted = log_likelihood_sums(of.columns, coefficients, of.choice, of.weights)
    density = Density(of)
    # What two densities differ by, weighted and not, is what two likelihoods do.
    plain = Density(replace(of, weights=np.ones(of.n_obs)))
    plain = plain.moved(density.expansion)
    rng = np.random.default_rng(1)
    points = rng.normal(0, 0.3, (4, density.size))
    from bayesmig.choice.utility import Coefficients

    for point in points:
        named = density.parameters(point[None])
        at = Coefficients(named["beta"], None, None, {b: named[f"u_{b}"] for b in of.layouts})
        both = [log_likelihood_sums(of.columns, at, of.choice, w)[0] for w in (of.weights, None)]
        assert density(point)[0] - plain(point)[0] == pytest.approx(both[0] - both[1], abs=1e-8)
    model = build_graph(of)
    rows = model.compile_logp(vars=[model["choice"]], sum=False)
    start = model.initial_point()
    assert rows(start)[0].shape == (of.n_obs,)
    unweighted = build_graph(replace(of, weights=np.ones(of.n_obs)))
    other = unweighted.compile_logp(vars=[unweighted["choice"]], sum=False)(start)[0]
    assert rows(start)[0] == pytest.approx(of.weights * other)
    assert np.isfinite(weighted).all()


def test_identical_rows_are_counted_by_their_weights() -> None:
    of = design(survey(3000), groups=[], utility={"persons": "female + urban"})
    density = Density(of)
    assert len(density.columns.persons) == 4
    assert density.blocks.arrays[4].sum() == pytest.approx(3000)
    named = density.parameters(np.zeros((1, density.size)))
    flat = named["beta"][0].ravel()
    # At the mode, the slope of the likelihood is that of the priors.
    step = 1e-5 * np.eye(6)
    slope = [(by_hand(of, flat + s) - by_hand(of, flat - s)) / 2e-5 for s in step]
    assert -density.problem.prior.log_density(flat)[1] == pytest.approx(slope, abs=1e-3)


def _without_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_correct", lambda *_: None)


@pytest.mark.parametrize("method", ["surrogate", "nuts"])
def test_equal_weights_give_the_ordinary_posterior_to_the_last_digit(
    method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_correction(monkeypatch)
    of, options = survey(equal=True), {"seed": 1, "progress": False, "draws": 150, "method": method}
    groups = [] if method == "surrogate" else ORIGIN
    pseudo, plain = (
        bm.fit(theory("female + wealth", groups=groups, weights=rule), of, **options)
        for rule in ("pseudo", "estimand")
    )
    for name in plain.draws:
        assert (pseudo.draws[name].to_numpy() == plain.draws[name].to_numpy()).all()
    assert pseudo.design.fingerprint != plain.design.fingerprint


# ------------------------------------------------------------------ scores of a design


def test_scores_without_groups_are_those_of_linearisation() -> None:
    read = survey(strata="stratum", psu="origin")
    of, sampling = design(read, groups=[], priors=FLAT), sampling_of(read)
    density = Density(of)
    theta = density.expansion.centre
    found = score_covariance(density, theta, sampling)
    beta, psus = theta.reshape(3, 2), read.role("psu").to_numpy()
    strata, expected = read.role("strata").to_numpy(), np.zeros((6, 6))
    for h in np.unique(strata):
        totals = []
        for c in np.unique(psus[strata == h]):
            total = np.zeros(6)
            for i in np.flatnonzero((strata == h) & (psus == c)):
                x, p = of.columns.persons[i], np.exp(of.columns.persons[i] @ beta)
                p = p / (1 + p.sum())
                y = np.array([of.choice[i] == 1, of.choice[i] == 2])
                total += of.weights[i] * np.outer(x, y - p).ravel()
            totals.append(total)
        away = np.array(totals) - np.mean(totals, axis=0)
        m = len(totals)
        expected += m / (m - 1) * away.T @ away
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def _log_marginal(of: Design, theta: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> float:
    """Log of the integral over one origin's two effects, on a fine grid."""
    beta = theta[:6].reshape(3, 2)
    sigma, w = np.exp(theta[6:8]), theta[8]
    root = np.diag(sigma) @ np.array([[1, 0], [np.tanh(w), 1 / np.cosh(w)]])
    z = np.linspace(-7, 7, 141)
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2)
    effects = grid @ root.T
    total = -0.5 * np.square(grid).sum(axis=1)
    for i, weight in zip(rows, weights, strict=True):
        v = np.concatenate(
            [np.zeros((len(grid), 1)), of.columns.persons[i] @ beta + effects], axis=1
        )
        total += weight * (v[:, of.choice[i]] - np.log(np.exp(v).sum(axis=1)))
    top = total.max()
    return float(top + np.log(np.exp(total - top).sum()))


def _slope(of: Design, theta: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    step = 1e-4 * np.eye(len(theta))
    return np.array(
        [
            (
                _log_marginal(of, theta + s, rows, weights)
                - _log_marginal(of, theta - s, rows, weights)
            )
            / 2e-4
            for s in step
        ]
    )


def test_scores_of_groups_are_those_of_their_integral() -> None:
    of = design(survey(240), groups=ORIGIN)
    density = Density(of)
    theta = density.expansion.centre.copy()
    theta[6:] = [np.log(0.6), np.log(0.9), 0.4]
    nodes = room.nodes_at(density, theta, seed=0)
    first = next(iter(room.scores(density, theta, nodes, of.weights)))
    rows, whole, influences = first
    w = of.weights[rows]
    assert whole == pytest.approx(_slope(of, theta, rows, w), abs=2e-5)
    for k in range(3):
        up, down = w.copy(), w.copy()
        up[k], down[k] = w[k] + 1e-3, w[k] - 1e-3
        expected = (_slope(of, theta, rows, up) - _slope(of, theta, rows, down)) / 2e-3
        assert influences[k] == pytest.approx(expected, abs=2e-3)


def test_drawn_nodes_agree_with_quadrature(monkeypatch: pytest.MonkeyPatch) -> None:
    of = design(survey(600), groups=ORIGIN)
    density = Density(of)
    theta = density.expansion.centre.copy()
    theta[6:] = [np.log(0.5), np.log(0.7), 0.3]
    exact = [
        w
        for _, w, _ in room.scores(
            density, theta, room.nodes_at(density, theta, seed=0), of.weights
        )
    ]
    monkeypatch.setattr(room, "_POINTS", {})
    drawn = [
        w
        for _, w, _ in room.scores(
            density, theta, room.nodes_at(density, theta, seed=0), of.weights
        )
    ]
    spread = np.std(exact, axis=0)
    assert (np.abs(np.array(drawn) - exact).max(axis=0) < 0.15 * spread).all()
    assert (np.abs(np.mean(drawn, axis=0) - np.mean(exact, axis=0)) < 0.02 * spread).all()


def test_replicates_agree_with_linearisation() -> None:
    read = survey(psu="origin")
    psus, frame = read.role("psu").to_numpy(), small_frame(600, seed=3, origins=20)
    frame["origin"] = psus
    names = []
    for psu in np.unique(psus):
        names.append(f"jk_{psu}")
        frame[names[-1]] = np.where(psus == psu, 0.0, frame["weight"] * 20 / 19)
    known = {r: r for r in ("choice", "person", "household", "origin", "region", "weight")}
    block = {"columns": "jk_*", "method": "jk1"}
    other = read_survey(frame, known, alternatives={a: a for a in ALTERNATIVES}, replicates=block)
    for groups in ([], ORIGIN):
        density = Density(design(read, groups=groups))
        theta = density.expansion.centre
        found = [score_covariance(density, theta, sampling_of(s)) for s in (read, other)]
        # About the sample's own total, not the replicates' mean, which is the same to first order.
        assert np.diag(found[1]) == pytest.approx(np.diag(found[0]), rel=0.1)
    density = Density(design(read, groups=[], priors=FLAT))
    theta = density.expansion.centre
    found = [score_covariance(density, theta, sampling_of(s)) for s in (read, other)]
    assert found[1] == pytest.approx(found[0], rel=1e-6, abs=1e-6)


@pytest.mark.slow
def test_groups_that_psus_share_add_the_influence_of_rows() -> None:
    """Of a marginal likelihood, every PSU's part is the derivative by its rows' weights."""
    read = survey(240, psu="household")
    of, sampling = design(read, groups=ORIGIN), sampling_of(read)
    density = Density(of)
    theta = density.expansion.centre.copy()
    theta[6:] = [np.log(0.6), np.log(0.9), 0.4]
    groups = of.columns.groups["origin"][0]
    parts = np.zeros((len(sampling.strata), len(theta)))
    for g in np.unique(groups):
        rows = np.flatnonzero(groups == g)
        for psu in np.unique(sampling.psus[rows]):
            up, down = of.weights[rows].copy(), of.weights[rows].copy()
            mine = sampling.psus[rows] == psu
            up[mine], down[mine] = 1.001 * up[mine], 0.999 * down[mine]
            step = _slope(of, theta, rows, up) - _slope(of, theta, rows, down)
            parts[psu] += step / 2e-3
    found = score_covariance(density, theta, sampling)
    expected = sampling.covariance(parts)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert found / scale == pytest.approx(expected / scale, abs=0.02)
    # The negative control: as if households were no part of an origin's score.
    assert (
        np.diag(expected)[0]
        < 0.7 * np.diag(score_covariance(density, theta, sampling_of(survey(240, psu="origin"))))[0]
    )


def _mode_of_effects(of: Design, theta: np.ndarray, rows: np.ndarray) -> tuple[Any, Any, Any]:
    """One origin's effects at their mode, the curvature of its rows there, and rows' scores."""
    beta, sigma = theta[:6].reshape(3, 2), np.exp(theta[6:8])
    root = np.diag(sigma) @ np.array([[1, 0], [np.tanh(theta[8]), 1 / np.cosh(theta[8])]])
    prior, x, w = np.linalg.inv(root @ root.T), of.columns.persons[rows], of.weights[rows]
    y = np.eye(3)[of.choice[rows]][:, 1:]
    u = np.zeros(2)
    for _ in range(50):
        v = np.exp(np.column_stack([np.zeros(len(rows)), x @ beta + u]))
        p = (v / v.sum(axis=1, keepdims=True))[:, 1:]
        scores = (y - p) * w[:, None]
        curvature = np.diag(w @ p) - (p * w[:, None]).T @ p
        u = u + np.linalg.solve(curvature + prior, scores.sum(axis=0) - prior @ u)
    return u, curvature, (scores, prior)


def _expected(
    of: Design, theta: np.ndarray, rows: np.ndarray, units: np.ndarray, prior: np.ndarray
) -> np.ndarray:
    """What products of units' centred scores at the mode are, if rows are drawn on their own."""
    u, curvature, _ = _mode_of_effects(of, theta, rows)
    v = np.exp(
        np.column_stack(
            [np.zeros(len(rows)), of.columns.persons[rows] @ theta[:6].reshape(3, 2) + u]
        )
    )
    p = (v / v.sum(axis=1, keepdims=True))[:, 1:]
    labels = np.unique(units)
    blocks = np.zeros((len(labels), 2, 2))
    for k, unit in enumerate(labels):
        for i in np.flatnonzero(units == unit):
            blocks[k] += of.weights[rows[i]] * (np.diag(p[i]) - np.outer(p[i], p[i]))
    n = len(labels)
    tall = blocks.reshape(2 * n, 2)
    covariance = -tall @ np.linalg.inv(curvature + prior) @ tall.T
    for k in range(n):
        covariance[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] += blocks[k]
    centre = np.kron(np.eye(n) - 1 / n, np.eye(2))
    centred = centre @ covariance @ centre
    return np.asarray(
        n / (n - 1) * sum(centred[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] for k in range(n))
    )


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


@pytest.mark.parametrize("psu", ["household", "origin"])
def test_effects_have_the_sandwich_of_their_own_units(psu: str) -> None:
    """By hand: households where several are in an origin, and where the origin is the PSU."""
    read = survey(600, psu=psu)
    of, sampling = design(read, groups=ORIGIN), sampling_of(read)
    density = Density(of)
    theta = density.expansion.centre.copy()
    theta[6:] = [np.log(0.6), np.log(0.9), 0.4]
    household = np.unique(read.role("household"), return_inverse=True)[1]
    groups, found = of.columns.groups["origin"][0], []
    total, information = np.zeros((2, 2)), np.zeros((2, 2))
    for g in range(20):
        rows = np.flatnonzero(groups == g)
        _, curvature, (scores, prior) = _mode_of_effects(of, theta, rows)
        sums = np.array(
            [scores[household[rows] == h].sum(axis=0) for h in np.unique(household[rows])]
        )
        away = sums - sums.mean(axis=0)
        total += len(sums) / (len(sums) - 1) * away.T @ away
        information += _expected(of, theta, rows, household[rows], prior)
        found.append((curvature, prior))
    over = np.linalg.inv(_symmetric_root(information))
    ratio = over @ total @ over
    spreads = room.effect_spreads(density, theta, sampling)
    assert spreads is not None
    basis = np.zeros((3, 20, 2))
    basis[1, :, 0] = basis[2, :, 1] = 1.0
    at = room._effects_at(density, np.repeat(theta[None], 3, axis=0), basis.reshape(3, -1))
    mode, *steps = at.reshape(3, 20, 2)
    for g, (curvature, prior) in enumerate(found):
        turned = np.stack([step[g] - mode[g] for step in steps], axis=1).T
        of_effects = np.linalg.inv(turned) @ spreads[g] @ turned
        half, inverse = _symmetric_root(curvature), np.linalg.inv(curvature + prior)
        expected = inverse @ (half @ ratio @ half + prior) @ inverse
        got = of_effects.T @ inverse @ of_effects
        assert got == pytest.approx(expected, rel=2e-3, abs=1e-5)
    # Households of three that are no more alike than others, and unequal weights.
    assert np.linalg.eigvalsh(ratio).max() > 1.1


def test_effects_of_a_sample_without_clusters_or_weights_keep_their_spread() -> None:
    rng, origins, each = np.random.default_rng(0), 60, 60
    place = np.repeat(np.arange(origins), each)
    odds = rng.normal(0, [0.7, 0.9], (origins, 2))[place] + np.array([-0.8, -1.0])
    utility = np.column_stack([np.zeros(len(place)), odds]) + rng.gumbel(size=(len(place), 3))
    frame = small_frame(len(place), seed=3).assign(
        choice=np.array(ALTERNATIVES)[utility.argmax(axis=1)],
        weight=1.0,
        origin=[f"o{k:02d}" for k in place],
    )
    known = {"choice": "choice", "weight": "weight", "origin": "origin", "psu": "origin"}
    read = read_survey(frame, known, alternatives={a: a for a in ALTERNATIVES})
    density = Density(design(read, groups=ORIGIN, utility={"persons": "1"}))
    spreads = room.effect_spreads(density, density.expansion.centre, sampling_of(read))
    assert spreads is not None
    assert spreads == pytest.approx(np.broadcast_to(np.eye(2), spreads.shape), abs=0.04)


def test_groups_in_groups_are_warned_of() -> None:
    read = survey(240, psu="origin")
    density = Density(design(read, groups=NESTED))
    assert room.effect_spreads(density, density.expansion.centre, sampling_of(read)) is None
    known = sampling_of(read)
    [said] = routes.uncorrected(design(read, groups=NESTED), known)
    assert "are not corrected for the sampling design" in said
    assert routes.uncorrected(design(read, groups=ORIGIN), known) == ()
    of_replicates = replace(known, replicates=known.weights[:, None])
    assert routes.uncorrected(design(read, groups=ORIGIN), of_replicates) == ()
    [said] = routes.uncorrected(design(survey(240), groups=ORIGIN), of_replicates)
    assert "replicate weights do not say who they are" in said


# ------------------------------------------------------------------ moving the draws


def _drawn(of: Design, draws: int = 200) -> xr.Dataset:
    density = Density(of)
    rng = np.random.default_rng(0)
    named = density.parameters(rng.normal(size=(2, draws, density.size)))
    from bayesmig.inference.layout import parameter_coords, parameter_dims

    dims = parameter_dims(of)
    return xr.Dataset(
        {k: (("chain", "draw", *d), named[k]) for k, d in dims.items()}, parameter_coords(of)
    )


@pytest.mark.parametrize("groups", [[], ORIGIN, [{"by": "origin", "terms": "1 + wealth"}], NESTED])
def test_epsilon_and_theta_are_found_again(groups: list[Any]) -> None:
    of = design(survey(240), groups=groups)
    density, draws = Density(of), _drawn(of, 20)
    theta = room.theta_of(density, draws)
    same = room._moved(density, draws, theta, theta)
    for name in draws:
        assert same[name].to_numpy() == pytest.approx(draws[name].to_numpy(), abs=1e-7)
        assert same[name].dims == draws[name].dims


def test_effects_follow_theta_with_the_same_epsilon() -> None:
    of = design(survey(240), groups=ORIGIN)
    density, draws = Density(of), _drawn(of, 30)
    theta = room.theta_of(density, draws)
    effects = draws["u_origin"].to_numpy().reshape(60, -1)
    epsilon = room.epsilon_of(density, theta, effects)
    moved = theta + np.random.default_rng(1).normal(0, 0.1, theta.shape)
    other = room._moved(density, draws, theta, moved)
    again = room.epsilon_of(density, moved, other["u_origin"].to_numpy().reshape(60, -1))
    assert again == pytest.approx(epsilon, abs=1e-6)
    assert np.abs(other["u_origin"].to_numpy() - draws["u_origin"].to_numpy()).max() > 0.01


def test_moved_draws_have_the_covariance_and_the_mean() -> None:
    read = survey(strata="stratum", psu="origin")
    of = design(read, groups=ORIGIN)
    draws = _drawn(of, 500)
    moved, known = room.corrected(of, draws, sampling_of(read), seed=0)
    theta = room.theta_of(Density(of), moved)
    assert theta.mean(axis=0) == pytest.approx(known["mean"].to_numpy(), abs=1e-8)
    after = known["covariance_corrected"].to_numpy()
    assert np.cov(theta, rowvar=False) == pytest.approx(after, rel=1e-6, abs=1e-8)
    assert known["global"].to_numpy().tolist()[:2] == [
        "beta[asc, internal]",
        "beta[asc, international]",
    ]
    assert known["global"].to_numpy().tolist()[6:] == [
        "sigma_origin[internal, asc]",
        "sigma_origin[international, asc]",
        "corr_origin[asc:international, asc:internal]",
    ]
    assert (known["design_effect"].to_numpy()[6:] > 1 - 1e-9).all()


def test_a_prior_that_decides_is_left_in_its_place() -> None:
    """The score of a direction that only a prior informs does not vary; its draws do."""
    read = survey(psu="origin")
    tight = {"coefficient": [{"name": "female", "dist": "normal", "scale": 1e-3, "per": "unit"}]}
    of = design(read, groups=[], priors=tight)
    posterior = bm.fit(of.spec, read, seed=1, progress=False)
    effect = posterior.data["sampling"]["design_effect"].to_series()
    assert effect["beta[female, internal]"] == pytest.approx(1.0, abs=0.1)


def test_cumulated_weights_widen_and_clusters_widen() -> None:
    """Where people of a PSU are alike and weights vary, draws are too sure; else they are not."""
    rng = np.random.default_rng(7)
    frame = small_frame(1500, seed=2, origins=50)
    clustered = read_survey(
        frame.assign(weight=1.0),
        {"choice": "choice", "weight": "weight", "psu": "origin"},
        alternatives={a: a for a in ALTERNATIVES},
    )
    shuffled = read_survey(
        frame.assign(weight=1.0, origin=rng.permutation(frame["origin"])),
        {"choice": "choice", "weight": "weight", "psu": "origin"},
        alternatives={a: a for a in ALTERNATIVES},
    )
    effects = []
    for read in (clustered, shuffled):
        of = bm.fit(theory("wealth", groups=[], weights="pseudo"), read, seed=1, progress=False)
        effects.append(of.data["sampling"]["design_effect"].to_series())
    constants = ["beta[asc, internal]", "beta[asc, international]"]
    assert (effects[0][constants] > 2).all()
    assert (effects[1][constants] < 1.8).all()
    shown = of.summary().set_index("parameter")["design_effect"]
    assert shown[constants].to_numpy() == pytest.approx(effects[1][constants].to_numpy())


# ------------------------------------------------------------------ what cannot be honoured


@cache
def pseudo() -> bm.Posterior:
    return bm.fit(
        theory("female + wealth", groups=ORIGIN, weights="pseudo"),
        survey(strata="stratum", psu="origin"),
        seed=1,
        progress=False,
    )


def test_the_rule_is_said_in_every_answer(tmp_path: Any) -> None:
    answer = bm.predictions(pseudo())
    assert (
        "averages and likelihood weighted by weight (pseudo-posterior" in answer.header["weights"]
    )
    assert answer.header["sampling design"] == "20 PSUs in 2 strata (18 degrees of freedom)"
    path = pseudo().save(tmp_path / "draws.nc")
    again = bm.load(path)
    assert bm.predictions(again).header == answer.header
    assert bm.predictions(again).summary.equals(answer.summary)
    assert again.data["sampling"].equals(pseudo().data["sampling"])


@pytest.mark.parametrize("by", [None, "region", "origin"])
def test_averages_are_over_samples_of_the_design_by_hand(by: str | None) -> None:
    """Units count as often as each draw's sample has them; a unit alone counts once."""
    posterior, frame = pseudo(), pseudo().frame
    rows = bm.predictions(posterior, by="obs").draws.to_numpy().reshape(-1, len(frame), 3)
    assert posterior.redrawing is not None
    counts = posterior.redrawing.multipliers(len(rows))[:, posterior.redrawing.units]
    weights = counts * frame["weight"].to_numpy()
    cells = pd.Series("all", frame.index) if by is None else frame[by]
    answer = bm.predictions(posterior, by=by)
    found = answer.draws.to_numpy().reshape(len(rows), -1, 3)
    for k, label in enumerate(sorted(cells.unique())):
        here = (cells == label).to_numpy()
        w = weights[:, here, None]
        by_hand = (w * rows[:, here]).sum(axis=1) / w.sum(axis=1)
        assert found[:, k] == pytest.approx(by_hand, abs=1e-9)
    says = "the population's averages" if by != "origin" else "within one sampling unit"
    assert says in answer.header["sample"]
    # The negative control: of the rows as they are given the intervals are shorter.
    given = bm.predictions(posterior, by=by, newdata=frame)
    assert "as they are given" in given.header["sample"]
    shorter = given.summary["sd"] < 0.95 * answer.summary["sd"]
    assert shorter.all() if by is None else (by == "region" or not shorter.any())


def test_what_is_drawn_anew_or_unweighted_is_not_redrawn() -> None:
    for options in ({"groups": "new"}, {"wts": False}, {"wts": "weight"}):
        assert "as they are given" in bm.predictions(pseudo(), **options).header["sample"]


def test_diversion_is_the_same_whatever_the_cells() -> None:
    one, other = (
        bm.counterfactual(pseudo(), "border_closure", by=by).diversion for by in (None, "region")
    )
    pd.testing.assert_frame_equal(one, other)


def test_every_shared_parameter_shows_its_design_effect() -> None:
    assert pseudo().summary()["design_effect"].notna().all()


def test_leave_one_out_is_refused() -> None:
    with pytest.raises(QuestionError, match="pseudo-posterior"):
        bm.log_likelihood(pseudo())
    with pytest.raises(QuestionError, match="pseudo-posterior"):
        bm.compare({"a": pseudo(), "b": pseudo()})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"smooths": [{"column": "wealth", "bends": 4}]}, "smooths"),
        ({"nests": [{"name": "away", "alternatives": ["internal", "international"]}]}, "nests"),
    ],
)
def test_theories_that_the_correction_does_not_cover(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(DesignError, match=says):
        design(survey(), **keys)


def test_crossed_groups_and_surveys_without_a_design_are_refused() -> None:
    crossed = [{"by": "household"}, {"by": "region"}]
    spec = theory("female", groups=crossed, weights="pseudo")
    with pytest.raises(InferenceError, match="cross each other"):
        bm.fit(spec, survey(), seed=1, draws=20, chains=1, progress=False)
    with pytest.raises(SurveyError, match="one PSU only"):
        bm.fit(spec, survey(strata="origin", psu="origin"), seed=1, progress=False)
    frame = small_frame(200).drop(columns="weight")
    bare = read_survey(frame, {"choice": "choice"}, alternatives={a: a for a in ALTERNATIVES})
    with pytest.raises(DesignError, match="declares no weight"):
        design(bare, groups=[])


def test_too_few_psus_for_flat_priors() -> None:
    read = survey(psu="region")
    with pytest.raises(InferenceError, match="2 degrees of freedom"):
        bm.fit(
            theory("female + wealth", groups=[], priors=FLAT, weights="pseudo"),
            read,
            seed=1,
            progress=False,
        )


def test_who_chose_an_alternative_must_have_weights() -> None:
    frame = small_frame(300)
    frame.loc[frame["choice"] == "international", "weight"] = 0.0
    read = read_survey(
        frame,
        {"choice": "choice", "weight": "weight"},
        alternatives={a: a for a in ALTERNATIVES},
    )
    with pytest.raises(DesignError, match="'international' have weight 0"):
        design(read, groups=[])


def test_constants_are_centred_on_weighted_shares() -> None:
    of = design(survey(), groups=[])
    counts = np.bincount(of.choice, of.weights) + 0.5
    assert of.priors["persons"].loc[0] == pytest.approx(np.log(counts[1:] / counts[0]))
