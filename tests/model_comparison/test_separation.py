"""Errors by cluster, weights of units and theories, and what the verdict says of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from bayesmig import hypotheses
from bayesmig.errors import QuestionError
from bayesmig.model_comparison import compare
from bayesmig.model_comparison.separation import (
    Sums,
    above_middle,
    by_chance,
    mostly_in,
    pseudo_bma_weights,
    stacking_weights,
    sums_of,
)
from bayesmig.model_comparison.verdict import errors_needed, times_as_many
from bayesmig.posterior import load
from bayesmig.predict import predictions
from bayesmig.survey.survey import read_survey
from tests.checks.worlds import laplace
from tests.fabricate import ALTERNATIVES, fabricated, small_design, small_frame, survey_of


def alone(n: int) -> Sums:
    return Sums(None, np.arange(n), np.zeros(n, dtype=np.int64), "")


def test_without_clusters_the_error_is_that_of_independent_units() -> None:
    values = np.random.default_rng(0).normal(size=80)
    assert alone(80).error(values) == pytest.approx(np.sqrt(80 * values.var(ddof=1)))


def test_errors_by_cluster_and_stratum_by_hand() -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=60), rng.gamma(3.0, 1 / 3, 60)
    clusters = rng.integers(9, size=60)
    strata = np.array([0, 0, 0, 1, 1, 1, 1, 2, 0])
    total = 0.0
    sums = [sum(values[i] * weights[i] for i in range(60) if clusters[i] == c) for c in range(9)]
    for h in range(3):
        here = [sums[c] for c in range(9) if strata[c] == h]
        if len(here) == 1:
            total += (here[0] - sum(sums) / 9) ** 2
            continue
        mean = sum(here) / len(here)
        total += len(here) / (len(here) - 1) * sum((d - mean) ** 2 for d in here)
    found = Sums(weights, clusters, strata, "psu").error(values)
    assert found == pytest.approx(np.sqrt(total))


def test_errors_of_clusters_cover_where_those_of_units_do_not() -> None:
    """Sums of differences that have a part in common within places."""
    rng, inside = np.random.default_rng(2), {"clusters": 0, "units": 0}
    place = np.repeat(np.arange(50), 10)
    for _ in range(400):
        values = rng.normal(size=50)[place] + rng.normal(size=500)
        clustered = Sums(None, place, np.zeros(50, dtype=np.int64), "origin").error(values)
        inside["clusters"] += abs(values.sum()) < 1.96 * clustered
        inside["units"] += abs(values.sum()) < 1.96 * alone(500).error(values)
    assert 0.92 < inside["clusters"] / 400 < 0.98
    assert inside["units"] / 400 < 0.7


def design_of(**columns: Any) -> Any:
    frame = small_frame(120, seed=1, origins=10).assign(**columns)
    return small_design("female", survey=survey_of(frame), groups=[])


def test_clusters_are_the_widest_that_units_lie_in() -> None:
    design, rows = design_of(), np.arange(120)
    of_rows = sums_of(design, rows, rows, "obs", None)
    assert (of_rows.by, of_rows.n_clusters) == ("origin", 10)
    place = np.unique(design.frame["origin"], return_inverse=True)[1]
    of_places = sums_of(design, rows, place, "origin", None)
    assert (of_places.by, of_places.n_clusters) == ("", 10)
    region = np.unique(design.frame["region"], return_inverse=True)[1]
    assert sums_of(design, rows, region, "region", None).by == ""


def panel(movers: int = 0, **columns: Any) -> tuple[Any, np.ndarray]:
    """120 persons of three rows each in ten villages of two strata, and the person of each row.

    The last row of every mover is in the other stratum; persons of a village are alike.
    """
    person = np.repeat(np.arange(120), 3)
    village = person % 10
    village[3 * np.arange(movers) + 2] = (village[3 * np.arange(movers) + 2] + 5) % 10
    frame = small_frame(360, seed=1).assign(
        person=[f"p{i}" for i in person],
        period=np.tile([1, 2, 3], 120),
        village=[f"v{v}" for v in village],
        stratum=[f"s{v // 5}" for v in village],
    )
    roles = {role: role for role in ("choice", "person", "period", "weight")}
    frame = frame.assign(**columns)
    roles |= {"psu": "village", "strata": "stratum"}
    alternatives = {a: a for a in ALTERNATIVES}
    survey = read_survey(frame, roles, alternatives=alternatives)
    return small_design("female", survey=survey, groups=[]), person


@pytest.mark.parametrize("movers", [1, 20])
def test_who_moves_does_not_change_what_clusters_are(movers: int) -> None:
    """Each belongs to the village of most rows, and errors are those of a survey without moves."""
    rows = np.arange(360)
    still, moved = (sums_of(panel(n)[0], rows, panel()[1], "person", None) for n in (0, movers))
    assert (still.by, still.n_clusters, still.n_split) == ("psu", 10, 0)
    assert (moved.by, moved.n_clusters, moved.n_split) == ("psu", 10, movers)
    np.testing.assert_array_equal(moved.strata, still.strata)
    rng = np.random.default_rng(0)
    values = rng.normal(size=10)[np.arange(120) % 10] + rng.normal(size=120)
    assert moved.error(values) == pytest.approx(still.error(values))
    assert moved.error(values) > 1.5 * alone(120).error(values)


def test_units_are_mostly_in_one() -> None:
    """Counted row by row; of equally many the first."""
    rng = np.random.default_rng(0)
    units, codes = rng.permuted(np.repeat(np.arange(50), 4)), rng.integers(3, size=200)
    wanted, several = [], 0
    for unit in range(50):
        own = [int(c) for u, c in zip(units, codes, strict=True) if u == unit]
        wanted.append(max(own, key=own.count))
        several += len(set(own)) > 1
    found, n_split = mostly_in(units, codes)
    assert (found.tolist(), n_split) == (wanted, several)


@pytest.mark.parametrize(
    ("village", "why"),
    [
        ([f"v{i // 3}" for i in range(360)], "each unit is one of its own"),
        (["v"] * 360, "all units are in one"),
        ([f"v{i % 4}" for i in range(360)], "units lie in several"),
    ],
)
def test_a_sampling_unit_that_groups_nothing_is_named(village: list[str], why: str) -> None:
    design, _ = panel(village=village, stratum="s")
    found = compare({"a": laplace(design, seed=1), "b": laplace(design, seed=2)})
    assert f"Declared and not used here: strata, psu ({why})." in found.text
    assert "Units in several" not in found.text


def test_a_comparison_says_how_many_moved() -> None:
    design, _ = panel(movers=3)
    found = compare({"a": laplace(design, seed=1), "b": laplace(design, seed=2)})
    assert "Standard errors take units of one psu together (10 in all)." in found.text
    assert "Units in several are counted with that of most of their rows (3 of 120)." in found.text
    assert "not used here" not in found.text


def test_units_weigh_what_their_rows_do_on_average() -> None:
    design, rows = design_of(), np.arange(120)
    household = np.unique(design.frame["household"], return_inverse=True)[1]
    found = sums_of(design, rows, household, "household", design.weights).weights
    means = pd.Series(design.weights).groupby(household).mean().to_numpy()
    np.testing.assert_allclose(found, means / means.mean())


def test_weights_of_units_weigh_stacking() -> None:
    rng = np.random.default_rng(0)
    elpd = np.log(rng.dirichlet([2.0, 2.0], 300).T)
    counts = rng.integers(1, 4, 300)
    repeated = stacking_weights(np.repeat(elpd, counts, axis=1))
    assert stacking_weights(elpd, weights=counts.astype(float)) == pytest.approx(repeated, abs=1e-5)


def test_bootstrapped_weights_of_one_theory_that_is_always_better() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=200)
    assert pseudo_bma_weights(np.stack([base, base - 0.5]))[0] > 0.999
    assert pseudo_bma_weights(np.stack([base, base])) == pytest.approx([0.5, 0.5])


def test_weighted_elpd_is_the_weighted_sum() -> None:
    survey = survey_of(small_frame(300, seed=1))
    fits = {
        name: laplace(small_design(name, survey=survey), survey=survey)
        for name in ("female", "wealth")
    }
    found = compare(fits)
    weights = fits["female"].design.weights
    wanted = (found.pointwise["elpd"].to_numpy() * weights).sum(axis=1)
    by_theory = found.summary.set_index("theory")["elpd"]
    assert by_theory[list(fits)].to_numpy() == pytest.approx(wanted)
    assert "Of the population: units are weighted by weight" in found.text
    plain = compare(fits, wts=False)
    assert plain.summary["elpd"].sum() == pytest.approx(float(plain.pointwise["elpd"].sum()))


def test_what_of_a_design_is_not_used_is_said() -> None:
    frame = small_frame(200, seed=1).assign(stratum="s", places=40)
    roles = {"choice": "choice", "weight": "weight", "strata": "stratum"}
    alternatives = {a: a for a in ALTERNATIVES}
    for more, said in (
        ({}, "not used here: strata (no psu is declared)."),
        ({"psu": "origin", "fpc": "places"}, "not used here: fpc (errors are those of drawing"),
    ):
        survey = read_survey(frame, roles | more, alternatives=alternatives)
        design = small_design("female", survey=survey, groups=[])
        found = compare({"a": laplace(design, seed=1), "b": laplace(design, seed=2)})
        assert said in found.text


def test_replicate_weights_that_are_not_used_are_named(tmp_path: Path) -> None:
    """By every answer that has a header, by comparisons, and after loading."""
    rng = np.random.default_rng(0)
    columns = {f"rw{k}": rng.gamma(4.0, 0.25, 200) for k in range(8)}
    frame = small_frame(200, seed=1).assign(**columns)
    survey = survey_of(frame, replicates={"columns": "rw*", "method": "brr"})
    hypothesis = {"claim": "It does.", "statement": "comparison(female, internal) > 0"}
    design = small_design("female", survey=survey, groups=[], hypotheses={"more": hypothesis})
    fit = laplace(design, seed=1)
    loaded = load(fit.save(tmp_path / "fit.nc"))
    said = "declared and not used: replicate weights"
    for posterior in (fit, loaded):
        for answer in (predictions(posterior), hypotheses.test(posterior, "more")):
            assert said in answer.header["weights"]
        for wts in (False, "weight"):
            assert said in predictions(posterior, wts=wts).header["weights"]
    both = {"a": fit, "b": laplace(design, seed=2)}
    for wts in (True, False):
        text = compare(both, wts=wts).text
        assert "Declared and not used here: replicate weights." in text
    plain = laplace(small_design("female", survey=survey_of(small_frame(200, seed=1)), groups=[]))
    assert "not used" not in predictions(plain).header["weights"]


def test_theories_that_disagree_about_weights_are_not_compared() -> None:
    survey = survey_of(small_frame(200, seed=1))
    fits = {
        rule: fabricated(small_design("female", survey=survey, weights=rule))
        for rule in ("estimand", "ignore")
    }
    with pytest.raises(QuestionError, match="'estimand' uses survey weights and 'ignore'"):
        compare(fits)
    assert len(compare(fits, wts=False).summary) == 2


# ------------------------------------------------------------------------------ selection


def test_the_best_of_many_alike_is_no_better_than_chance() -> None:
    """Of theories that all predict alike, the bound holds the best in most worlds; of one that
    is better it does not."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(300):
        elpd = rng.normal(0.0, 5.0, 30)
        held += above_middle(elpd)[0] <= by_chance(elpd, np.full(30, 5.0 * 2**0.5))
    assert held / 300 > 0.5
    elpd = np.append(rng.normal(0.0, 1.0, 29), 30.0)
    assert above_middle(elpd)[0] > by_chance(elpd, np.full(30, 1.0))


def test_what_sets_theories_apart_is_no_chance() -> None:
    """Seven of fifteen theories lead the middle by eight standard errors: their spread alone
    would call the best a matter of chance, and so would the error of the hopeless one."""
    elpd = -np.array([0, 16, 51, 53, 162, 173, 174, 175, 177, 180, 184, 185, 187, 207, 1977.0])
    lead = above_middle(elpd)[0]
    assert lead < by_chance(elpd, np.full(15, np.inf))
    errors = np.append(np.full(14, 23.0), 67.0)
    assert lead > 3 * by_chance(elpd, errors)
    # Whichever way theories stand, errors are theirs; those of the better half count.
    assert by_chance(elpd[::-1], errors[::-1]) == by_chance(elpd, errors)
    errors[1] = 67.0
    assert by_chance(elpd, errors) == pytest.approx(67 / 23 * by_chance(elpd, np.full(15, 23.0)))


@pytest.mark.parametrize("n", [11, 12, 13, 30])
def test_the_middle_theory_is_that_of_loo(n: int) -> None:
    """R: ``ord[floor(n / 2)]``, and the spread of differences from it that are at least median."""
    elpd = np.random.default_rng(n).normal(0.0, 3.0, n)
    ordered = sorted(elpd, reverse=True)
    away = [e - ordered[int(np.floor(n / 2)) - 1] for e in ordered]
    kept = [a for a in away if a >= np.median(away)]
    spread = np.sqrt(sum(a**2 for a in kept) / len(kept))
    assert above_middle(elpd) == pytest.approx(away)
    wide = np.full(n, np.inf)
    assert by_chance(elpd, wide) == pytest.approx(norm.ppf(1 - 1 / (2 * (n - 1)), scale=spread))


def test_more_than_ten_theories_are_warned_of_selection() -> None:
    survey = survey_of(small_frame(300, seed=1))
    design = small_design("female", survey=survey, groups=[])
    fits = {f"t{k:02d}": laplace(design, seed=k) for k in range(11)}
    text = compare(fits).text
    assert "The best of 11 theories owes part of its elpd to being chosen" in text
    assert "may be chance alone" in text
    fits.pop("t10")
    assert "being chosen" not in compare(fits).text


# --------------------------------------------------------------------------- what would


def test_what_would_separate_grows_with_the_square() -> None:
    assert times_as_many(5.0, 5.0, 2.0) == pytest.approx(4.0)
    assert times_as_many(1.0, 0.4, 2.0) == pytest.approx(4.0)
    assert times_as_many(0.4, 5.0, 2.0) == np.inf
    assert times_as_many(0.0, 0.0, 2.0) == np.inf


def test_few_clusters_need_more_errors() -> None:
    of = {n: errors_needed(alone(n)) for n in (3, 12, 2000)}
    assert of[3] > 4 > of[12] > 2.2 > of[2000] > 2.0


def test_clusters_within_strata_tell_less() -> None:
    """As many degrees of freedom as there are clusters less strata."""
    clusters, strata = np.arange(8), np.repeat(np.arange(4), 2)
    of = [errors_needed(Sums(None, clusters, s, "psu")) for s in (strata, np.zeros(8, dtype=int))]
    assert of[0] == pytest.approx(2.87, abs=0.01)
    assert of[1] == pytest.approx(2.43, abs=0.01)
