"""Questions on the probability scale against plain loops over draws and rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesmig import predict
from bayesmig.design.design import Design
from bayesmig.errors import ConvergenceError, DesignError, QuestionError
from bayesmig.posterior import Posterior
from bayesmig.predict import Effect, comparisons, predictions, slopes
from tests.by_hand import (
    ALTERNATIVES,
    as_array,
    averages,
    effects_for,
    reloaded,
    rich_posterior,
    rich_survey,
    rows_of,
    slope_of_wealth,
    summary_of,
)
from tests.fabricate import fabricated, small_design, small_frame, small_survey, survey_of

NEAR = {"rtol": 0, "atol": 1e-10}


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return rich_posterior()


@pytest.fixture(scope="module")
def newdata() -> pd.DataFrame:
    """Other rows of known origins and households."""
    frame = rich_survey(seed=5).frame
    return frame.iloc[:25].drop(columns="choice")


def flat(effect: Effect) -> np.ndarray:
    """Draws × cells."""
    return effect.draws.to_numpy().reshape(-1, effect.draws.sizes["cell"])


def cells_of(frame: pd.DataFrame, by: str | Sequence[str] | None) -> list[Any]:
    if by is None:
        return [0] * len(frame)
    names = [by] if isinstance(by, str) else list(by)
    return list(frame[names].itertuples(index=False, name=None))


def by_hand(
    posterior: Posterior,
    frame: pd.DataFrame,
    *,
    by: Any = None,
    wts: Any = True,
    groups: str = "observed",
    change: dict[str, Any] | None = None,
    **keys: Any,
) -> np.ndarray:
    """Average probabilities after a change of columns, draws × (cell, alternative)."""
    rows = [row | {k: v(row) for k, v in (change or {}).items()} for row in rows_of(frame)]
    weights = frame["weight" if wts is True else wts] if wts else [1.0] * len(rows)
    effects = effects_for(posterior, frame, groups, seed=4)
    cells = cells_of(frame, by)
    return as_array(averages(posterior, rows, cells, weights, effects, **keys))


WAYS = [
    {},
    {"by": ["female", "region"], "groups": "typical"},
    {"wts": "half", "by": "female"},
    {"wts": False, "by": "region", "groups": "new"},
]


def _named(ways: dict[str, Any]) -> str:
    return " ".join(f"{k}={v}" for k, v in ways.items()) or "plain"


# ------------------------------------------------------------- verbs, by brute force


@pytest.mark.parametrize("ways", WAYS, ids=_named)
def test_predictions_by_hand(posterior: Posterior, ways: dict[str, Any]) -> None:
    effect = predictions(posterior, seed=4, **ways)
    np.testing.assert_allclose(flat(effect), by_hand(posterior, posterior.frame, **ways), **NEAR)


@pytest.mark.parametrize("ways", WAYS, ids=_named)
def test_comparisons_by_hand(posterior: Posterior, ways: dict[str, Any]) -> None:
    def average(**change: Any) -> np.ndarray:
        return by_hand(posterior, posterior.frame, change=change, **ways)

    asked = {"female": None, "education": 2, "wealth": (-1.0, 0.5), "region": None}
    first_region = average(region=lambda _: "r1")
    pairs = [
        (average(female=lambda _: 0), average(female=lambda _: 1)),
        (average(), average(education=lambda r: r["education"] + 2)),
        (average(wealth=lambda _: -1.0), average(wealth=lambda _: 0.5)),
        (first_region, average(region=lambda _: "r0")),
        (first_region, average(region=lambda _: "r2")),
    ]
    expected = {
        "difference": [high - low for low, high in pairs],
        "ratio": [high / low for low, high in pairs],
        "lift": [high / low - 1 for low, high in pairs],
    }
    for comparison in ("ratio", "lift", "difference") if not ways else ("difference",):
        effect = comparisons(posterior, asked, comparison=comparison, seed=4, **ways)
        values = np.concatenate(expected[comparison], axis=1)
        np.testing.assert_allclose(flat(effect), values, **NEAR)
    contrasts = ["0 → 1", "+2", "-1.0 → 0.5", "r1 → r0", "r1 → r2"]
    assert list(dict.fromkeys(effect.summary["contrast"])) == contrasts


@pytest.mark.parametrize("ways", WAYS, ids=_named)
def test_slopes_are_the_derivatives_of_the_logit(
    posterior: Posterior, ways: dict[str, Any]
) -> None:
    effect = slopes(posterior, "wealth", seed=4, **ways)
    expected = by_hand(posterior, posterior.frame, of=slope_of_wealth, **ways)
    np.testing.assert_allclose(flat(effect), expected, **NEAR)
    assert np.abs(expected).max() > 0.01


CURVED = "square(wealth) + poly(age, degree=2) + log(income) + bs(score, df=4) + female"


def curved() -> Posterior:
    """Curves in many columns, in units far from one, on bounds and near zero."""
    frame = small_frame(300)
    rng = np.random.default_rng(2)
    frame["income"] = np.exp(rng.normal(0.0, 3.0, 300))
    frame["score"] = rng.uniform(2000.0, 2010.0, 300)
    frame["age"] = 1e6 * frame["age"]
    design = small_design(CURVED, survey=survey_of(frame), groups=[])
    return fabricated(design, draws=200, centre={"beta": np.full((10, 2), 0.2)})


@pytest.mark.parametrize("variable", ["wealth", "age", "income", "score"])
def test_slopes_of_curves(variable: str) -> None:
    """Each row's utilities by calculus; the probabilities by plain NumPy."""
    posterior = curved()
    design, frame = posterior.design, posterior.frame
    beta = posterior.coefficients().persons
    x = design.apply(frame).persons
    moved = _calculus(design, frame, variable)
    expected = np.zeros((len(beta), 3))
    weights = frame["weight"] / frame["weight"].sum()
    for s, b in enumerate(beta):
        v = np.column_stack([np.zeros(len(x)), x @ b])
        dv = np.column_stack([np.zeros(len(x)), moved @ b])
        p = np.exp(v) / np.exp(v).sum(axis=1, keepdims=True)
        expected[s] = weights @ (p * (dv - (p * dv).sum(axis=1, keepdims=True)))
    effect = slopes(posterior, variable)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(flat(effect) / scale, expected / scale, **NEAR)
    some = slopes(posterior, variable, newdata=frame.iloc[[5, 5]], wts=False)
    one = slopes(posterior, variable, by="obs", wts=False)
    np.testing.assert_array_equal(flat(some)[:, 0], flat(one)[:, 15])


def _calculus(design: Design, frame: pd.DataFrame, variable: str) -> np.ndarray:
    """Derivatives of the encoded columns; splines and polynomials by their own fits."""
    x = frame[variable].to_numpy(dtype=float)
    found = np.zeros((len(x), len(design.persons)))
    columns = design.apply(frame).persons
    for k, name in enumerate(design.persons):
        if variable not in name:
            continue
        if name.startswith(("square", "poly")):
            found[:, k] = np.polynomial.Polynomial.fit(x, columns[:, k], 2).deriv()(x)
        elif name.startswith("log"):
            found[:, k] = 1 / x
        else:
            # One inner knot, the median: a cubic on either side of it.
            for side in (x <= np.median(x), x > np.median(x)):
                cubic = np.polynomial.Polynomial.fit(x[side], columns[side, k], 3)
                found[side, k] = cubic.deriv()(x[side])
    return found


def test_a_root_of_zero_is_refused_with_its_rows() -> None:
    frame = small_frame(300)
    frame["money"] = np.where(np.arange(300) % 100 == 7, 0.0, np.exp(frame["wealth"]))
    posterior = fabricated(small_design("sqrt(money)", survey=survey_of(frame), groups=[]))
    with pytest.raises(DesignError, match=r"'sqrt\(money\)' has no finite slope") as caught:
        slopes(posterior, "money")
    assert "rows 7, 107, 207" in str(caught.value)
    comparisons(posterior, "money")


def test_a_tiny_change_keeps_its_digits_however_many_the_rows(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In single precision, which large problems are in, nothing would be left of it."""
    shares, exact = flat(predictions(posterior)), flat(comparisons(posterior, {"wealth": 1e-7}))
    monkeypatch.setattr("bayesmig.inference.stream._LARGE", 0)
    assert (flat(predictions(posterior)) != shares).any()
    np.testing.assert_array_equal(flat(comparisons(posterior, {"wealth": 1e-7})), exact)


def test_other_rows_by_hand(posterior: Posterior, newdata: pd.DataFrame) -> None:
    known = newdata.assign(
        origin=np.resize(posterior.frame["origin"].to_numpy(), len(newdata)),
        household=np.resize(posterior.frame["household"].to_numpy(), len(newdata)),
    )
    effect = predictions(posterior, newdata=known, by="female")
    np.testing.assert_allclose(flat(effect), by_hand(posterior, known, by="female"), **NEAR)


@pytest.mark.parametrize("prob", [0.5, 0.95])
def test_summaries_by_hand(posterior: Posterior, prob: float) -> None:
    effect = comparisons(posterior, "wealth", by="region", prob=prob)
    numbers = effect.summary[["estimate", "sd", "lower", "upper"]].to_numpy()
    expected = [summary_of(values, prob) for values in flat(effect).T.tolist()]
    np.testing.assert_allclose(numbers, expected, **NEAR)
    assert effect.header["interval"] == f"{100 * prob:g} % HDI"


def test_summaries_do_not_depend_on_blocks(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predictions(posterior, by="region").summary
    monkeypatch.setattr(predict, "_BLOCK_SIZE", 20)
    pd.testing.assert_frame_equal(predictions(posterior, by="region").summary, whole)


def test_summary_names_its_cells(posterior: Posterior) -> None:
    effect = comparisons(posterior, ["female", "wealth"], by=["female", "region"])
    frame = posterior.frame
    first = ["female", "region", "variable", "contrast", "alternative"]
    assert list(effect.summary.columns) == [*first, "estimate", "sd", "lower", "upper", "rows"]
    assert effect.summary["female"].dtype == frame["female"].dtype
    counts = frame.groupby(["female", "region"]).size()
    for row in effect.summary.itertuples():
        assert row.rows == counts[row.female, row.region]
    assert list(effect.summary["alternative"]) == list(ALTERNATIVES) * (len(effect.summary) // 3)
    chains, draws = posterior.n_draws
    assert dict(effect.draws.sizes) == {"chain": chains, "draw": draws, "cell": len(effect.summary)}


# ----------------------------------------------------------- contrasts between cells


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("pairwise", [("r0", "r1"), ("r0", "r2"), ("r1", "r2")]),
        ("reference", [("r0", "r1"), ("r0", "r2")]),
        ("sequential", [("r0", "r1"), ("r1", "r2")]),
    ],
)
def test_contrasts_of_cells_are_paired(
    posterior: Posterior, kind: str, pairs: list[tuple[str, str]]
) -> None:
    whole = predictions(posterior, by="region")
    effect = predictions(posterior, by="region", hypothesis=kind)
    at = {(row.region, row.alternative): k for k, row in enumerate(whole.summary.itertuples())}
    draws, k = flat(whole), 0
    for alternative in ALTERNATIVES:
        for low, high in pairs:
            expected = draws[:, at[high, alternative]] - draws[:, at[low, alternative]]
            np.testing.assert_allclose(flat(effect)[:, k], expected, **NEAR)
            row = effect.summary.iloc[k]
            assert row["contrast"] == f"({high}) - ({low})"
            assert row["alternative"] == alternative
            k += 1
    assert k == len(effect.summary)


def test_number_as_hypothesis(posterior: Posterior) -> None:
    effect = predictions(posterior, hypothesis=0.3)
    expected = [sum(v > 0.3 for v in values) / len(values) for values in flat(effect).T]
    assert effect.summary["probability_above"].tolist() == expected
    assert "exceeds 0.3" in effect.header["probability_above"]


def test_what_has_no_value_has_no_probability(posterior: Posterior) -> None:
    closed = posterior.frame.assign(open=0)
    effect = comparisons(
        posterior, "wealth", newdata=closed, comparison="lift", hypothesis=np.float64(0)
    )
    table = effect.summary.set_index("alternative")["probability_above"]
    assert np.isnan(table["international"])
    assert table[["stay", "internal"]].between(0, 1).all()
    opened = comparisons(posterior, {"open": (0, 1)}, comparison="ratio", hypothesis=1)
    assert np.isnan(opened.summary.set_index("alternative").loc["international", "estimate"])


def test_interval_of_an_average_is_not_the_average_of_intervals() -> None:
    """Two people whose probabilities mirror each other: their average is certain."""
    frame = small_survey(200).frame.assign(female=np.arange(200) % 2)
    design = small_design("female", survey=_survey(frame.assign(weight=1.0)), groups=[])
    posterior = fabricated(design, spread=1.0)
    a = posterior.draws["beta"].sel(coefficient="asc", nonbase="internal").to_numpy()
    beta = np.zeros((*a.shape, 2, 2))
    beta[..., 0, 0], beta[..., 1, 0], beta[..., 0, 1] = a, -2 * a, -40.0
    mirrored = _with_draws(posterior, beta=beta)

    one_by_one = predictions(mirrored, by="female").summary.query("alternative == 'internal'")
    together = predictions(mirrored).summary.query("alternative == 'internal'").iloc[0]
    width_of_average = together["upper"] - together["lower"]
    average_of_widths = (one_by_one["upper"] - one_by_one["lower"]).mean()
    assert together["estimate"] == pytest.approx(0.5, abs=1e-12)
    assert width_of_average < 1e-12
    assert average_of_widths > 0.5


def _survey(frame: pd.DataFrame) -> Any:
    return survey_of(frame.assign(choice=frame["choice"].astype(str)))


def _with_draws(posterior: Posterior, **arrays: np.ndarray) -> Posterior:
    """The same posterior with some parameters' draws replaced."""
    tree = posterior.data.copy()
    draws = tree["posterior"].to_dataset()
    for name, values in arrays.items():
        draws[name] = (draws[name].dims, values)
    tree["posterior"] = xr.DataTree(draws)
    return replace(posterior, data=tree)


# ---------------------------------------------------------------------------- groups


def test_unseen_origins_are_refused_drawn_or_typical(
    posterior: Posterior, newdata: pd.DataFrame
) -> None:
    strange = newdata.assign(origin="elsewhere")
    with pytest.raises(DesignError, match="'elsewhere' was not in the survey") as caught:
        predictions(posterior, newdata=strange)
    assert "rows 0, 1" in str(caught.value)
    assert 'groups="new"' in caught.value.mend
    drawn = predictions(posterior, newdata=strange, groups="new", seed=4)
    np.testing.assert_allclose(flat(drawn), by_hand(posterior, strange, groups="new"), **NEAR)
    zero = predictions(posterior, newdata=strange, groups="typical")
    np.testing.assert_allclose(flat(zero), by_hand(posterior, strange, groups="typical"), **NEAR)
    for effect, word in ((drawn, "new groups, drawn"), (zero, "a typical group")):
        assert word in effect.header["groups"]


def test_rows_without_an_origin(posterior: Posterior, newdata: pd.DataFrame) -> None:
    bare = newdata.drop(columns=["origin", "household"])
    with pytest.raises(DesignError, match="'origin' is needed"):
        predictions(posterior, newdata=bare)
    alike = bare.assign(origin="same", household="same")
    one = predictions(posterior, newdata=bare, groups="new")
    np.testing.assert_array_equal(
        flat(one), flat(predictions(posterior, newdata=alike, groups="new"))
    )


def test_new_groups_depend_on_the_seed_and_on_labels_alone(posterior: Posterior) -> None:
    frame = posterior.frame
    renamed = frame.assign(origin="x" + frame["origin"], household="x" + frame["household"])
    first = flat(predictions(posterior, groups="new", seed=1))
    np.testing.assert_array_equal(first, flat(predictions(posterior, groups="new", seed=1)))
    np.testing.assert_allclose(
        first, flat(predictions(posterior, newdata=renamed, groups="new", seed=1)), **NEAR
    )
    assert np.abs(first - flat(predictions(posterior, groups="new", seed=2))).max() > 1e-3


def test_new_groups_match_monte_carlo() -> None:
    """Mean over draws = mean over correlated normals, drawn otherwise here."""
    design = small_design("female")
    corr = np.array([[1.0, -0.7], [-0.7, 1.0]])
    sigma = np.array([[1.2], [0.8]])
    beta = np.array([[-0.5, -1.0], [0.4, -0.6]])
    posterior = fabricated(
        design,
        centre={"beta": beta, "sigma_origin": sigma, "corr_origin": corr},
        spread=0.0,
        draws=5000,
    )
    row = design.frame.iloc[[0]].assign(female=1)
    estimates = predictions(posterior, newdata=row, groups="new").summary["estimate"]
    rng = np.random.default_rng(8)
    covariance = corr * np.outer(sigma, sigma)
    effects = rng.multivariate_normal(np.zeros(2), covariance, size=400_000)
    odds = np.exp(np.column_stack([np.zeros(len(effects)), beta.sum(axis=0) + effects]))
    shares = odds / odds.sum(axis=1, keepdims=True)
    error = shares.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(estimates - shares.mean(axis=0)) < 4 * error).all()
    typical = predictions(posterior, newdata=row, groups="typical").summary["estimate"]
    assert (np.abs(typical - shares.mean(axis=0)) > 4 * error).any()


# --------------------------------------------------------------------- rows and cells


def test_weights_of_new_rows(posterior: Posterior) -> None:
    frame = posterior.frame
    weighted = predictions(posterior, newdata=frame)
    np.testing.assert_allclose(flat(weighted), flat(predictions(posterior)), **NEAR)
    assert weighted.header["weights"].startswith("averages are weighted by weight")
    bare = frame.drop(columns="weight")
    with pytest.raises(QuestionError, match="no column 'weight' of weights") as caught:
        predictions(posterior, newdata=bare)
    assert "wts=False" in caught.value.mend
    unweighted = predictions(posterior, newdata=bare, wts=False)
    np.testing.assert_allclose(flat(unweighted), flat(predictions(posterior, wts=False)), **NEAR)
    by_half = predictions(posterior, newdata=bare, wts="half")
    np.testing.assert_allclose(flat(by_half), flat(predictions(posterior, wts="half")), **NEAR)


def test_new_rows_of_an_unweighted_survey_need_no_weights() -> None:
    frame = small_frame(300).drop(columns="weight")
    survey = survey_of(frame)
    posterior = fabricated(small_design(survey=survey), survey=survey)
    effect = predictions(posterior, newdata=survey.frame)
    np.testing.assert_allclose(flat(effect), flat(predictions(posterior)), **NEAR)
    assert effect.header["weights"] == "none declared: every row counts once"


def test_theory_that_ignores_weights() -> None:
    survey = small_survey(300)
    ignoring = fabricated(small_design(survey=survey, weights="ignore"), survey=survey)
    effect = predictions(ignoring)
    np.testing.assert_array_equal(flat(effect), flat(predictions(ignoring, wts=False)))
    assert "ignored, as the theory says" in effect.header["weights"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_bad_weights_of_new_rows_are_refused(posterior: Posterior, bad: float) -> None:
    frame = posterior.frame.copy()
    frame.loc[7, "weight"] = bad
    with pytest.raises(QuestionError, match="must be finite") as caught:
        predictions(posterior, newdata=frame)
    assert "rows 7" in str(caught.value)


def test_numbers_are_cut_at_their_quintiles(posterior: Posterior) -> None:
    effect = predictions(posterior, by="wealth", wts=False)
    wealth = posterior.frame["wealth"].to_numpy()
    edges = np.quantile(wealth, [0.2, 0.4, 0.6, 0.8])
    cells = [sum(value > edge for edge in edges) for value in wealth]
    frame = posterior.frame.assign(fifth=cells)
    np.testing.assert_allclose(
        flat(effect), by_hand(posterior, frame, by="fifth", wts=False), **NEAR
    )
    assert list(dict.fromkeys(effect.summary["rows"])) == [12]


def test_missing_values_make_a_cell_of_their_own(posterior: Posterior) -> None:
    frame = posterior.frame.assign(group=["a", None, "b"] * 20, score=[1.5, np.nan, 7.0] * 20)
    for by in ("group", "score", ["group", "female"]):
        effect = predictions(posterior, newdata=frame, by=by)
        filled = frame.fillna({"group": "~", "score": 99.0})
        np.testing.assert_allclose(flat(effect), by_hand(posterior, filled, by=by), **NEAR)


def test_every_row_on_its_own(posterior: Posterior) -> None:
    effect = predictions(posterior, by="obs", wts=False)
    frame = posterior.frame.assign(obs=range(60))
    np.testing.assert_allclose(flat(effect), by_hand(posterior, frame, by="obs", wts=False), **NEAR)


def test_too_many_cells_are_refused(posterior: Posterior, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "_MAX_NUMBERS", 8 * 60 * 3 - 1)
    with pytest.raises(QuestionError, match="8 draws × 60 cells × 3 alternatives"):
        predictions(posterior, by="obs")


def test_an_indicator_is_one_in_the_survey_not_in_the_new_rows(posterior: Posterior) -> None:
    ones = posterior.frame.assign(wealth=1.0)
    effect = comparisons(posterior, "wealth", newdata=ones)
    assert set(effect.summary["contrast"]) == {"+1"}
    twos = predictions(posterior, newdata=posterior.frame.assign(wealth=2.0))
    expected = flat(twos) - flat(predictions(posterior, newdata=ones))
    np.testing.assert_allclose(flat(effect), expected, **NEAR)


def test_a_numbered_category_goes_from_its_reference_to_each_level() -> None:
    frame = small_survey().frame
    coded = _survey(frame.assign(zone=frame["region"].str[1:].astype(int)))
    posterior = fabricated(small_design("female + C(zone, reference=1)", survey=coded))
    effect = comparisons(posterior, "zone")
    assert list(dict.fromkeys(effect.summary["contrast"])) == ["1 → 0", "1 → 2"]
    with pytest.raises(QuestionError, match="'zone' is a category"):
        slopes(posterior, "zone")
    with pytest.raises(QuestionError, match="a pair of levels"):
        comparisons(posterior, {"zone": 1})


def test_closed_alternatives_have_no_ratio(posterior: Posterior) -> None:
    closed = posterior.frame.assign(open=0)
    effect = comparisons(posterior, "wealth", newdata=closed, comparison="ratio")
    table = effect.summary.set_index("alternative")
    assert table.loc["international", ["estimate", "lower"]].isna().all()
    assert table.loc["stay", ["estimate", "lower"]].notna().all()


def test_columns_of_attributes_and_availability_may_change(posterior: Posterior) -> None:
    effect = comparisons(posterior, {"cost_internal": 1, "open": (0, 1)}, wts=False)

    def average(**change: Any) -> np.ndarray:
        return by_hand(posterior, posterior.frame, change=change, wts=False)

    dearer = average(cost_internal=lambda r: r["cost_internal"] + 1) - average()
    opened = average(open=lambda _: 1) - average(open=lambda _: 0)
    np.testing.assert_allclose(flat(effect), np.hstack([dearer, opened]), **NEAR)


# ----------------------------------------------------------------- posterior as value


def test_saved_posterior_answers_bit_identically(posterior: Posterior) -> None:
    loaded = reloaded()
    for ask in (
        lambda p: predictions(p, by="region"),
        lambda p: comparisons(p, "region", groups="new"),
        lambda p: slopes(p, "wealth", groups="typical"),
    ):
        before, after = ask(posterior), ask(loaded)
        np.testing.assert_array_equal(flat(before), flat(after))
        pd.testing.assert_frame_equal(before.summary, after.summary, check_exact=True)
    with pytest.raises(QuestionError, match="there is no column 'age'"):
        predictions(loaded, by="age")
    predictions(posterior, by="age")


def test_questions_change_nothing(posterior: Posterior, newdata: pd.DataFrame) -> None:
    before = newdata.copy(deep=True)
    predictions(posterior, newdata=newdata, groups="new", by="region")
    comparisons(posterior, "female", newdata=newdata, groups="typical")
    pd.testing.assert_frame_equal(newdata, before)


def test_unconverged_draws_are_refused_unless_allowed() -> None:
    poor = fabricated(small_design(), r_hat=1.2)
    for ask in (
        lambda **k: predictions(poor, **k),
        lambda **k: comparisons(poor, "female", **k),
        lambda **k: slopes(poor, "wealth", **k),
    ):
        with pytest.raises(ConvergenceError, match=r"R-hat > 1\.01"):
            ask()
        note = ask(allow_unconverged=True).header["convergence"]
        assert note.startswith("allowed although: R-hat > 1.01 for")
    sound = predictions(fabricated(small_design()), allow_unconverged=True)
    assert "convergence" not in sound.header


WRONG = [
    (lambda p: predictions(p, by="regoin"), "did you mean 'region'"),
    (lambda p: predictions(p, by=["region", "alternative"]), "of their own"),
    (lambda p: predictions(p, groups="observd"), "did you mean 'observed'"),
    (lambda p: predictions(p, prob=95), "between 0 and 1"),
    (lambda p: predictions(p, wts="weihgt"), "did you mean 'weight'"),
    (lambda p: predictions(p, wts="origin"), "hold text"),
    (lambda p: predictions(p, newdata=p.frame.iloc[:0]), "no rows"),
    (lambda p: predictions(p, hypothesis="pairwise"), "one cell only"),
    (lambda p: predictions(p, by="region", hypothesis="pairs"), "did you mean 'pairwise'"),
    (lambda p: comparisons(p, "age"), "does not use 'age'"),
    (lambda p: comparisons(p, "origin"), "does not use 'origin'"),
    (lambda p: comparisons(p, []), "no column is named"),
    (lambda p: comparisons(p, "female", comparison="odds"), "is unknown"),
    (lambda p: comparisons(p, {"wealth": "more"}), "a number or a pair"),
    (lambda p: comparisons(p, {"wealth": (1, 2, 3)}), "a number or a pair"),
    (lambda p: comparisons(p, {"wealth": True}), "a number or a pair"),
    (lambda p: comparisons(p, {"region": 1}), "a pair of levels"),
    (lambda p: slopes(p, "region"), "is a category"),
    (lambda p: slopes(p, "open"), "'open' is an availability"),
    (lambda p: slopes(p, {"wealth": 5}), "sizes of changes were given"),
    (lambda p: slopes(p, []), "no column is named"),
    (lambda p: comparisons(p, ["wealth", "wealth"]), "'wealth' is named twice"),
    (lambda p: comparisons(p, 5), "names of columns were expected, got 5"),
    (lambda p: comparisons(p, {"wealth": float("nan")}), "a number or a pair"),
    (lambda p: comparisons(p, {"wealth": (0, "much")}), "a pair of finite numbers"),
    (lambda p: comparisons(p, {"female": 1}), "it cannot rise by 1"),
    (lambda p: comparisons(p, {"female": (0, 2)}), r"must be \(0, 1\) or \(1, 0\)"),
    (
        lambda p: comparisons(p, "wealth", newdata=p.frame.assign(wealth="much")),
        "'wealth' holds text in these rows",
    ),
    (lambda p: predictions(p, hypothesis=[1, 2]), r"got \[1, 2\]"),
    (lambda p: predictions(p, hypothesis=True), "got True"),
    (lambda p: predictions(p, hypothesis=float("inf")), "got inf"),
    (lambda p: predictions(p, wts=2.0), "got 2.0"),
    (lambda p: predictions(p, wts=None), "got None"),
    (lambda p: predictions(p, prob="0.9"), "between 0 and 1"),
    (lambda p: predictions(p, groups=["new"]), "is unknown"),
    (lambda p: predictions(p, by=["region", "region"]), "'region' is named twice"),
    (lambda p: predictions(p, by=3), "names of columns were expected, got 3"),
    (lambda p: predictions(p, newdata={}), "a DataFrame was expected, got dict"),
    (
        lambda p: predictions(p, newdata=pd.concat([p.frame, p.frame[["wealth"]]], axis=1)),
        "'wealth' is there twice",
    ),
    (lambda p: predictions(p, seed=-1), "got -1"),
    (lambda p: predictions(p, seed=1.5), "got 1.5"),
    (lambda p: predictions(p, seed=True), "got True"),
    (
        lambda p: predictions(
            p,
            by="much",
            newdata=p.frame.assign(much=np.where(np.arange(60) > 50, np.inf, np.arange(60))),
        ),
        "'much' is infinite",
    ),
]


@pytest.mark.parametrize(("ask", "words"), WRONG, ids=[w for _, w in WRONG])
def test_questions_that_do_not_apply(posterior: Posterior, ask: Any, words: str) -> None:
    with pytest.raises(QuestionError, match=words):
        ask(posterior)


@pytest.mark.parametrize("groups", ["new", "typical"])
def test_groups_do_not_apply_to_a_theory_without(groups: Any) -> None:
    posterior = fabricated(small_design(groups=[]))
    np.testing.assert_array_equal(
        flat(predictions(posterior, groups="observed")), flat(predictions(posterior))
    )
    with pytest.raises(QuestionError, match="has no group effects"):
        predictions(posterior, groups=groups)


def test_scalars_of_numpy_are_options_too(posterior: Posterior) -> None:
    plain = predictions(posterior, groups="new", wts=False, seed=4, prob=0.5)
    of_numpy = predictions(
        posterior, groups="new", wts=np.bool_(False), seed=np.int64(4), prob=np.float64(0.5)
    )
    np.testing.assert_array_equal(flat(plain), flat(of_numpy))


def test_levels_and_columns_of_new_rows_are_checked(
    posterior: Posterior, newdata: pd.DataFrame
) -> None:
    with pytest.raises(DesignError, match="the level 'r9' of 'region'"):
        comparisons(posterior, {"region": ("r0", "r9")})
    with pytest.raises(DesignError, match="'wealth', which is not there"):
        predictions(posterior, newdata=newdata.drop(columns="wealth"))


# ----------------------------------------------------------------------------- memory

_LARGE = """
import resource
import sys
import numpy as np
import pandas as pd
from bayesmig.predict import comparisons
from tests.fabricate import fabricated, small_design, small_survey

survey = small_survey(2000, origins=200)
design = small_design("female + education + wealth + urban + network_internal", survey=survey)
posterior = fabricated(design, survey=survey, draws=1000)
rows = survey.frame.iloc[np.arange(50_000) % 2000].reset_index(drop=True)
effect = comparisons(posterior, "female", newdata=rows, by="region")
assert effect.draws.shape == (4, 1000, 9)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_memory_is_bounded(repository: Path) -> None:
    """4,000 draws × 50,000 rows × 3 alternatives are 4.8 GB if they are ever held."""
    done = subprocess.run(
        [sys.executable, "-c", _LARGE], check=True, cwd=repository, capture_output=True, text=True
    )
    assert int(done.stdout.split()[-1]) < 1e9
