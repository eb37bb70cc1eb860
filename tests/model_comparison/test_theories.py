from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

import bayesmig as bm
from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import utilities
from bayesmig.errors import ConvergenceError, QuestionError
from bayesmig.inference.approximate import resampled
from bayesmig.inference.diagnostics import diagnose, diagnose_weighted
from bayesmig.inference.pareto import fit_pareto
from bayesmig.model_comparison import Comparison, compare
from bayesmig.model_comparison.integrals import Densities
from bayesmig.model_comparison.left_out import leave_out
from bayesmig.model_comparison.psis import (
    leave_one_out,
    relative_efficiency,
    tail_length,
)
from bayesmig.model_comparison.separation import Sums, stacking_weights
from bayesmig.model_comparison.verdict import rests_on
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey
from tests.checks.worlds import laplace
from tests.fabricate import TRUTH, fabricated, small_design, small_frame, small_survey, survey_of

EVERYTHING = " + ".join(name for name in TRUTH if name != "asc")


@pytest.fixture(scope="module")
def survey() -> Survey:
    return small_survey(400, seed=1)


@pytest.fixture(scope="module")
def theories() -> dict[str, Posterior]:
    """The true columns, some of them, and noise in the place of the rest."""
    frame = small_frame(700, seed=1)
    frame["noise"] = np.random.default_rng(0).permutation(frame["network_international"])
    # Many places: few clusters tell little.
    frame = frame.drop(columns="weight")
    with_noise = survey_of(frame)
    formulas = {
        "networks": EVERYTHING,
        "people": "female + education",
        "noise": "female + education + noise",
    }
    return {
        name: laplace(small_design(formula, survey=with_noise), survey=with_noise, seed=k)
        for k, (name, formula) in enumerate(formulas.items())
    }


def log_likelihood(posterior: Posterior) -> np.ndarray:
    """``(chain, draw, obs)``, from the reference formulas."""
    design = posterior.design
    log_p = log_probabilities(np, utilities(np, design.columns, posterior.coefficients()))
    own = log_p[:, np.arange(design.n_obs), design.choice]
    return own.reshape(*posterior.n_draws, -1)


def arviz_data(posterior: Posterior, values: np.ndarray) -> xr.DataTree:
    dims = ("chain", "draw", "unit")
    return xr.DataTree.from_dict(
        {
            "posterior": posterior.draws,
            "log_likelihood": xr.Dataset({"choice": (dims, values)}),
        }
    )


def plain(posteriors: dict[str, Posterior], question: str = "obs", **keys: Any) -> Comparison:
    """As ArviZ has it: given the draws of effects, every row counting once."""
    return compare(posteriors, question=question, effects="conditional", wts=False, **keys)


def each_alone(n: int) -> Sums:
    return Sums(None, np.arange(n), np.zeros(n, dtype=np.int64), "")


# ---------------------------------------------------------------------- against ArviZ


@pytest.fixture
def no_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesmig.model_comparison.separation._CLUSTERS", ())


@pytest.fixture(scope="module")
def arviz_loo(theories: dict[str, Posterior]) -> dict[str, Any]:
    from arviz_stats import loo

    return {
        name: loo(arviz_data(p, log_likelihood(p)), pointwise=True, reff=relative_efficiency(p))
        for name, p in theories.items()
    }


@pytest.mark.usefixtures("no_clusters")
def test_equals_arviz_row_by_row(theories: dict[str, Posterior], arviz_loo: dict[str, Any]) -> None:
    found = plain(theories)
    for name, theirs in arviz_loo.items():
        mine = found.pointwise.sel(theory=name)
        np.testing.assert_allclose(mine["elpd"], theirs.elpd_i, atol=1e-10)
        np.testing.assert_allclose(mine["pareto_k"], theirs.pareto_k, atol=1e-10)
        row = found.summary.set_index("theory").loc[name]
        assert row["elpd"] == pytest.approx(theirs.elpd, abs=1e-9)
        assert row["se"] == pytest.approx(theirs.se, abs=1e-9)
        assert row["p_loo"] == pytest.approx(theirs.p, abs=1e-9)
        assert float(mine["good_k"]) == pytest.approx(theirs.good_k)


@pytest.mark.usefixtures("no_clusters")
def test_summary_equals_arviz_compare(
    theories: dict[str, Posterior], arviz_loo: dict[str, Any]
) -> None:
    from arviz_stats import compare as arviz_compare

    theirs = arviz_compare(arviz_loo, round_to="none")
    mine = plain(theories).summary
    assert list(mine["theory"]) == list(theirs.index)
    np.testing.assert_allclose(mine["elpd_diff"], theirs["elpd_diff"], atol=1e-8)
    # ArviZ divides the variance of differences by n there, and by n - 1 elsewhere.
    unbiased = theirs["dse"] * np.sqrt(700 / 699)
    np.testing.assert_allclose(mine["diff_se"], unbiased, atol=1e-8)
    np.testing.assert_allclose(mine["weight"], theirs["weight"], atol=2e-3)
    bootstrapped = arviz_compare(arviz_loo, method="BB-pseudo-BMA", round_to="none")
    np.testing.assert_allclose(mine["pseudo_bma"], bootstrapped["weight"], atol=0.03)


@pytest.mark.parametrize("spread", [0.02, 0.4, 1.5, 4.0])
@pytest.mark.parametrize(("draws", "efficiency"), [(100, 1.0), (400, 0.5), (2000, 1.3)])
def test_smoothing_equals_arviz(spread: float, draws: int, efficiency: float) -> None:
    from arviz_stats.base import array_stats

    rng = np.random.default_rng(0)
    index = rng.normal(1.0, 1.0, (12, 1)) + spread * rng.normal(size=(12, draws))
    values = -np.log1p(np.exp(-index))
    elpd, p_loo, k = leave_one_out(values, tail_length(draws, efficiency))
    weights, theirs = array_stats.psislw(values, r_eff=efficiency)
    wanted = np.log(np.exp(weights + values).sum(axis=1))
    np.testing.assert_allclose(elpd, wanted, atol=1e-10)
    np.testing.assert_allclose(k, theirs, atol=1e-10)
    np.testing.assert_allclose(p_loo, np.log(np.exp(values).mean(axis=1)) - wanted, atol=1e-10)


# -------------------------------------------------------------- what a draw is worth


def with_draws(values: np.ndarray, **weights: Any) -> Posterior:
    """Draws ``(chain, draw)`` of one constant, with the diagnostics of a fit."""
    design = small_design("1", groups=[])
    posterior = fabricated(design, chains=values.shape[0], draws=values.shape[1])
    draws = posterior.draws
    draws["beta"].data[:] = values[:, :, None, None]
    found = (
        diagnose_weighted(weights["of"], weights["shares"], 0.2, 1.0)
        if weights
        else diagnose(draws, posterior.data["sample_stats"].to_dataset())
    )
    tree = posterior.data.copy()
    tree["posterior"], tree["diagnostics"] = xr.DataTree(draws), xr.DataTree(found)
    return replace(posterior, data=tree)


def weighted_world(rng: np.random.Generator, n: int) -> tuple[Posterior, np.ndarray]:
    """Independent draws, resampled by uneven weights to chains that are none; and which."""
    log_weights = 1.2 * rng.normal(size=n)
    chosen = resampled(log_weights, n, rng)
    values, shares = rng.normal(size=n), np.bincount(chosen, minlength=n) / n
    every = xr.Dataset({"beta": (("chain", "draw"), values[None])})
    return with_draws(values[chosen].reshape(4, -1), of=every, shares=shares), chosen


@pytest.mark.parametrize("chains", [1, 4])
def test_efficiency_of_chains_is_their_bulk_ess(chains: int) -> None:
    from arviz_stats.base import array_stats

    noise = np.random.default_rng(0).normal(size=(chains, 1200))
    values = lfilter([1.0], [1.0, -0.6], noise, axis=1)[:, 200:]
    posterior = with_draws(values)
    theirs = array_stats.ess(values, chain_axis=0, draw_axis=1, method="bulk") / values.size
    assert relative_efficiency(posterior) == pytest.approx(theirs, rel=1e-9)
    assert theirs < 0.4
    # So far apart, draws are independent.
    assert 0.85 < relative_efficiency(posterior, values.size // 20) < 1


def test_repeated_draws_are_no_independent_ones() -> None:
    """In random order, chains of them look independent."""
    posterior, chosen = weighted_world(np.random.default_rng(0), 6000)
    counts = np.bincount(chosen)
    assert counts.max() > 20
    assert len(np.unique(chosen)) < 4800
    kish = 6000 / np.square(counts).sum()
    assert kish < 0.45
    assert relative_efficiency(posterior) == pytest.approx(kish, rel=0.15)
    found = compare({"a": posterior, "b": posterior}, effects="conditional")
    assert found.pointwise.sizes["unit"] > 0
    estimate = leave_out(
        "a",
        posterior,
        np.arange(posterior.design.n_obs),
        "row",
        integrate=False,
        progress=lambda *_: None,
    )
    assert estimate.draws == pytest.approx(6000 * kish, rel=0.15)


@pytest.mark.parametrize("taken", [400, 100])
def test_efficiency_is_that_of_means_over_many_worlds(taken: int) -> None:
    """Of means of draws that are taken evenly from those resampled."""
    rng, means, said = np.random.default_rng(1), [], []
    for _ in range(3000):
        log_weights, values = rng.normal(size=400), rng.normal(size=400)
        chosen = resampled(log_weights, 400, rng)
        means.append(values[chosen][:: 400 // taken].mean())
        said.append(400 / np.square(np.bincount(chosen)).sum())
    posterior = with_draws(np.zeros((4, 100)) + rng.normal(size=(4, 100)))
    posterior.data["diagnostics"]["ess_bulk"][:] = 400 / np.mean(1 / np.array(said))
    real = 1 / np.var(means) / taken
    assert relative_efficiency(posterior, taken) == pytest.approx(real, rel=0.08)


def test_chains_that_do_not_move_are_worth_one_draw() -> None:
    posterior = with_draws(np.ones((4, 100)))
    assert relative_efficiency(posterior) == pytest.approx(1 / 400)


# ------------------------------------------------------------------ against known answers


def dirichlet_world(survey: Survey, draws: int = 4000) -> tuple[Posterior, np.ndarray]:
    """Exact draws of constants under a flat prior on shares, and the counts."""
    posterior = fabricated(small_design("1", survey=survey, groups=[]), chains=4, draws=draws)
    counts = np.bincount(posterior.design.choice, minlength=3)
    shares = np.random.default_rng(0).dirichlet(counts + 1.0, (4, draws))
    odds = np.log(shares[..., 1:] / shares[..., :1])
    moved = posterior.draws
    moved["beta"].data = odds[:, :, None, :]
    tree = posterior.data.copy()
    tree["posterior"] = xr.DataTree(moved)
    return replace(posterior, data=tree), counts


def test_constants_only_equal_the_exact_leave_one_out() -> None:
    survey = small_survey(60, seed=4)
    posterior, counts = dirichlet_world(survey)
    found = compare({"a": posterior, "b": posterior})
    exact = np.log(counts[posterior.design.choice] / (59 + 3))
    np.testing.assert_allclose(found.pointwise["elpd"][0], exact, atol=2e-3)
    assert found.summary["pareto_k_high"].max() == 0


def test_left_out_households_equal_the_exact_ones() -> None:
    survey = small_survey(60, seed=4)
    posterior, counts = dirichlet_world(survey)
    found = plain({"a": posterior, "b": posterior}, question="household").pointwise
    design = posterior.design
    household = survey.frame["household"]
    for label in ("h0", "h7", "h19"):
        mine = design.choice[(household == label).to_numpy()]
        alpha = counts - np.bincount(mine, minlength=3) + 1.0
        exact = 0.0
        for choice in mine:
            exact += np.log(alpha[choice] / alpha.sum())
            alpha[choice] += 1
        found_here = float(found["elpd"].sel(theory="a", unit=label))
        assert found_here == pytest.approx(exact, abs=2e-2)


def test_whole_units_equal_arviz_on_sums(theories: dict[str, Posterior]) -> None:
    from arviz_stats import loo

    two = {k: theories[k] for k in ("networks", "people")}
    found = plain(two, "household")
    posterior = two["people"]
    labels = posterior.design.frame["household"].to_numpy()
    units = sorted(set(labels))
    values = log_likelihood(posterior)
    sums = np.stack([values[:, :, labels == u].sum(axis=2) for u in units], axis=2)
    theirs = loo(arviz_data(posterior, sums), pointwise=True, reff=relative_efficiency(posterior))
    mine = found.pointwise.sel(theory="people")
    assert list(mine["unit"].to_numpy()) == units
    np.testing.assert_allclose(mine["elpd"], theirs.elpd_i, atol=1e-10)
    assert "all rows of one household" in found.text


def test_blocks_change_nothing(
    theories: dict[str, Posterior], monkeypatch: pytest.MonkeyPatch
) -> None:
    two = {k: theories[k] for k in ("networks", "people")}
    asked = ("obs", "household", "origin")
    whole = {unit: plain(two, unit).pointwise for unit in asked}
    monkeypatch.setattr("bayesmig.model_comparison.left_out._BLOCK_SIZE", 400 * 60)
    monkeypatch.setattr("bayesmig.inference.stream._BLOCK_SIZE", 400 * 50)
    for unit, before in whole.items():
        after = plain(two, unit).pointwise
        for name in ("elpd", "pareto_k"):
            np.testing.assert_allclose(before[name], after[name], atol=1e-9)


# --------------------------------------------------------------------------- edge cases


def test_likelihood_that_no_draw_changes() -> None:
    elpd, p_loo, k = leave_one_out(np.full((2, 100), [[-0.3], [0.0]]), 20)
    np.testing.assert_allclose(elpd, [-0.3, 0.0], atol=1e-12)
    np.testing.assert_allclose(p_loo, 0.0, atol=1e-12)
    assert list(k) == [0.0, 0.0]


def test_tail_that_cannot_be_fitted_is_called_unreliable() -> None:
    values = np.concatenate([np.zeros(80), np.full(20, -1.0)])[None]
    elpd, _, k = leave_one_out(values, 20)
    assert np.isinf(k[0])
    weights = np.exp(-values[0])
    assert elpd[0] == pytest.approx(np.log(100 / weights.sum()))


def test_extreme_likelihoods_stay_finite() -> None:
    rng = np.random.default_rng(0)
    elpd, p_loo, _ = leave_one_out(-rng.gamma(2.0, 300.0, (5, 400)), 60)
    assert np.isfinite(elpd).all()
    assert np.isfinite(p_loo).all()


def test_pareto_fit_recovers_its_shape() -> None:
    uniform = np.random.default_rng(0).random((200, 500))
    for shape in (-0.2, 0.3, 0.8):
        sample = np.sort(2.0 * ((1 - uniform) ** -shape - 1) / shape, axis=1)
        k, scale = fit_pareto(sample)
        assert k.mean() == pytest.approx(shape, abs=0.03)
        assert scale.mean() == pytest.approx(2.0, abs=0.1)


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(QuestionError, match="20 draws are too few"):
        tail_length(20, 1.0)


def test_high_pareto_k_is_named_with_what_to_do(survey: Survey) -> None:
    design = small_design("female", survey=survey)
    wild = fabricated(design, spread=3.0, survey=survey)
    found = compare({"calm": fabricated(design, spread=0.05), "wild": wild})
    assert found.summary.set_index("theory").loc["wild", "pareto_k_high"] > 0
    assert "Leave-one-out is unreliable for 'wild'" in found.text
    assert "fit again without these rows" in found.text
    assert "unreliable for 'calm'" not in found.text


def test_origins_with_effects_of_their_own_are_warned_of(theories: dict[str, Posterior]) -> None:
    two = {k: theories[k] for k in ("networks", "people")}
    assert "effects of each origin" in plain(two, "origin").text
    assert "effects of each origin" not in compare(two, question="origin").text


# ------------------------------------------------------------------------------ verdicts


def test_the_true_theory_wins_and_noise_adds_nothing(theories: dict[str, Posterior]) -> None:
    found = compare(theories)
    summary = found.summary.set_index("theory")
    assert found.summary["theory"][0] == "networks"
    assert (summary["elpd_diff"] <= 0).all()
    assert (summary.loc[["people", "noise"], "elpd_diff"] < -4).all()
    assert summary["weight"].idxmax() == "networks"
    assert summary["weight"].sum() == pytest.approx(1.0)
    assert "'networks' predicts better than" in found.text
    assert "survey weights are not used" in found.text
    assert "one row (700 in all)" in found.text


def test_shuffled_column_loses() -> None:
    frame = small_frame(1200, seed=3, origins=60)
    rng = np.random.default_rng(0)
    frame["shuffled"] = rng.permutation(frame["network_international"].to_numpy())
    survey = survey_of(frame)
    found = compare(
        {
            name: laplace(small_design(name, survey=survey, groups=[]))
            for name in ("shuffled", "network_international")
        },
        wts=False,
    )
    assert found.summary["theory"][0] == "network_international"
    assert "predicts better than 'shuffled'" in found.text


def test_column_of_noise_cannot_be_told_from_none(theories: dict[str, Posterior]) -> None:
    found = compare({k: theories[k] for k in ("people", "noise")})
    assert abs(found.summary["elpd_diff"]).max() < 4
    assert "cannot separate" in found.text


def test_identical_theories_tie(theories: dict[str, Posterior]) -> None:
    found = compare({"one": theories["people"], "other": theories["people"]})
    assert list(found.summary["elpd_diff"]) == [0.0, 0.0]
    assert list(found.summary["diff_se"]) == [0.0, 0.0]
    assert found.summary["weight"].to_numpy() == pytest.approx(0.5)
    assert "The data cannot separate 'one' from 'other'" in found.text
    assert "predicts better" not in found.text


def test_what_integrals_leave_open_is_claimed_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    survey = survey_of(small_frame(600, seed=1))
    names = ("female", EVERYTHING)
    fits = {n: laplace(small_design(n, survey=survey), survey=survey) for n in names}
    text = compare(fits, wts=False).text
    assert f"{EVERYTHING!r} predicts better than 'female'" in text
    assert "not exact" not in text
    monkeypatch.setattr(Densities, "_enough", lambda self: (2, 1000.0))
    text = compare(fits, wts=False).text
    assert "Integrals over effects of 'female' are not exact" in text
    assert f"Whether {EVERYTHING!r} predicts better than 'female' (" in text
    assert "is not known" in text


def test_a_tie_is_not_lower_by_minus_nothing(theories: dict[str, Posterior]) -> None:
    tie = compare({"one": theories["people"], "other": theories["people"]})
    assert "elpd lower by 0.0, standard error 0.0" in tie.text
    assert "-0.0" not in tie.text


def test_what_is_unreliable_is_said_first_and_claims_no_winner() -> None:
    """Twelve origins of 200 rows, effects of their own: Pareto k is high in most."""
    survey = survey_of(small_frame(2400, seed=1))
    names = ("female + education", EVERYTHING)
    fits = {n: laplace(small_design(n, survey=survey), survey=survey) for n in names}
    found = plain(fits, "origin")
    assert (found.summary["pareto_k_high"] > 6).all()
    assert found.summary["elpd_diff"].min() < -4
    assert found.text.startswith("Leave-one-out is unreliable for")
    assert f"Whether {EVERYTHING!r} predicts better than 'female + education' (" in found.text
    assert "is not known" in found.text
    assert found.text.count("predicts better than") == 1
    assert "between 12 units are not to be trusted" in found.text
    # By rows, the same posteriors say who predicts better.
    by_rows = compare(fits, wts=False).text
    assert by_rows.startswith(f"{EVERYTHING!r} predicts better than")
    assert "not known" not in by_rows
    assert "not to be trusted" not in by_rows
    assert "There are 12 clusters (origin) only: standard errors are rough" in by_rows


@pytest.mark.parametrize(
    ("gap", "high", "rests"),
    [
        ([-1.0] * 200, [0], False),
        ([-1.0] * 200, [], False),
        ([-1.0] * 200, range(30), True),
        ([-0.01] * 190 + [-20.0] * 10, range(190, 200), True),
        ([0.2] * 190 + [-20.0] * 10, range(190, 200), True),
    ],
)
def test_a_difference_stands_without_the_units_that_are_unreliable(
    gap: list[float], high: Any, rests: bool
) -> None:
    found = rests_on(np.array(gap), np.isin(np.arange(200), list(high)), each_alone(200))
    assert found is rests


def test_unconverged_draws_are_marked_where_they_are_allowed(survey: Survey) -> None:
    sound = fabricated(small_design("female", survey=survey))
    stuck = fabricated(small_design("wealth", survey=survey), r_hat=1.2)
    with pytest.raises(ConvergenceError):
        compare({"sound": sound, "stuck": stuck})
    text = compare({"sound": sound, "stuck": stuck}, allow_unconverged=True).text
    assert text.startswith("Allowed although the draws of 'stuck' have not converged: R-hat > 1.01")
    assert "draws of 'sound'" not in text
    assert "Allowed" not in compare({"a": sound, "b": sound}, allow_unconverged=True).text


@pytest.mark.parametrize("draws", [100, 500])
def test_another_seed_of_a_theory_shares_its_weight(draws: int) -> None:
    """Neither takes all; a theory that predicts otherwise gets what it is worth."""
    frame = small_frame(700, seed=1)
    survey = survey_of(frame)

    def fitted(persons: str, seed: int) -> Posterior:
        design = small_design(persons, survey=survey)
        return laplace(design, survey=survey, seed=seed, draws=draws)

    for persons in (EVERYTHING, "female"):
        one, other = fitted(persons, 0), fitted(persons, 1)
        assert plain({"a": one, "b": other}).summary["weight"].to_list() == [0.5, 0.5]
    both = {"a": fitted(EVERYTHING, 0), "b": fitted("female", 1)}
    alone = plain(both).summary.set_index("theory")["weight"]
    assert 0.8 < alone["a"] < 0.95
    with_twin = plain(both | {"twin": fitted(EVERYTHING, 2)}).summary.set_index("theory")["weight"]
    assert with_twin["a"] == with_twin["twin"]
    assert with_twin["a"] + with_twin["twin"] == pytest.approx(alone["a"], abs=0.01)


def test_alike_theories_count_as_their_average() -> None:
    elpd = np.log(np.random.default_rng(0).dirichlet([2.0, 2.0, 1.0], 500).T)
    density = np.exp(elpd)
    averaged = np.log(np.stack([(density[0] + density[2]) / 2, density[1]]))
    two = stacking_weights(averaged)
    assert stacking_weights(elpd, [0, 1, 0]) == pytest.approx([two[0] / 2, two[1], two[0] / 2])
    assert stacking_weights(elpd, [0, 1, 2]) == pytest.approx(stacking_weights(elpd))


def test_stacking_finds_the_best_mixture() -> None:
    rng = np.random.default_rng(0)
    elpd = np.log(rng.dirichlet([2.0, 2.0, 1.0], 500).T)
    elpd[2] -= 3.0

    def score(w: np.ndarray) -> float:
        return float(np.log(np.exp(elpd.T) @ w).mean())

    found = stacking_weights(elpd)
    grid = [np.array([a, 1 - a, 0.0]) for a in np.linspace(0, 1, 1001)]
    assert score(found) >= max(map(score, grid)) - 1e-9
    assert found[2] == pytest.approx(0.0, abs=1e-6)
    assert stacking_weights(elpd - 2000) == pytest.approx(found)


# ------------------------------------------------------------------------------ refusals


def test_one_theory_is_refused(theories: dict[str, Posterior]) -> None:
    with pytest.raises(QuestionError, match="at least two"):
        compare({"a": theories["people"]})


def other_survey(**changes: Any) -> Survey:
    return survey_of(small_frame(400, seed=1).assign(**changes))


def test_other_choices_are_refused_with_the_rows(survey: Survey) -> None:
    choice = small_frame(400, seed=1)["choice"].copy()
    choice.iloc[[3, 8]] = ["internal" if c == "stay" else "stay" for c in choice.iloc[[3, 8]]]
    changed = fabricated(small_design("female", survey=other_survey(choice=choice)))
    with pytest.raises(QuestionError, match="choices differ in 2 rows"):
        compare({"a": fabricated(small_design("female", survey=survey)), "b": changed})


def test_other_rows_are_refused(survey: Survey) -> None:
    fewer = small_design("female", survey=small_survey(399, seed=1))
    with pytest.raises(QuestionError, match="400 and 399 rows"):
        one = fabricated(small_design("female", survey=survey))
        compare({"a": one, "b": fabricated(fewer)})


def test_other_surveys_are_refused_by_fingerprint(survey: Survey) -> None:
    older = other_survey(age=small_frame(400, seed=1)["age"] + 1)
    with pytest.raises(QuestionError, match="survey fingerprints"):
        compare(
            {
                "a": fabricated(small_design("female", survey=survey)),
                "b": fabricated(small_design("female", survey=older)),
            }
        )


def test_other_alternatives_are_refused(survey: Survey) -> None:
    frame = small_frame(400, seed=1)
    frame["choice"] = frame["choice"].replace("international", "internal")
    two = small_design(
        "female",
        survey=survey_of(frame),
        choice={"alternatives": ["stay", "internal"], "base": "stay"},
    )
    with pytest.raises(QuestionError, match="alternatives stay, internal, international and stay"):
        one = fabricated(small_design("female", survey=survey))
        compare({"a": one, "b": fabricated(two)})


def test_another_base_and_order_are_the_same_choice_set(survey: Survey) -> None:
    turned = small_design(
        "female",
        survey=survey,
        groups=[],
        choice={"alternatives": ["international", "stay", "internal"], "base": "internal"},
    )
    found = compare(
        {
            "a": laplace(small_design("female", survey=survey, groups=[]), draws=400),
            "b": fabricated(turned),
        }
    )
    assert len(found.summary) == 2


def test_unknown_unit_is_refused(theories: dict[str, Posterior]) -> None:
    with pytest.raises(QuestionError, match=r"'persn' is unknown; did you mean 'person'"):
        compare(theories, question="persn")


def test_unconverged_draws_are_refused_unless_allowed(survey: Survey) -> None:
    design = small_design("female", survey=survey)
    pair = {"a": fabricated(design), "b": fabricated(design, r_hat=1.3)}
    with pytest.raises(ConvergenceError, match="R-hat"):
        compare(pair)
    assert len(compare(pair, allow_unconverged=True).summary) == 2


def test_progress_is_told(theories: dict[str, Posterior]) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(task: str, done: int, total: int, note: str = "") -> None:
        told.append((task, done, total))

    compare({k: theories[k] for k in ("networks", "people")}, progress=tell)
    assert told[-1] == ("leave-one-out, people", 700, 700)


def test_it_is_public_and_frozen(theories: dict[str, Posterior]) -> None:
    found = bm.compare({k: theories[k] for k in ("networks", "people")})
    with pytest.raises(FrozenInstanceError):
        found.text = ""  # type: ignore[misc]
    assert "networks" in str(found)
    assert found.pointwise.attrs["unit"] == "obs"
