"""Hypotheses against plain loops, and in worlds where they are true, reversed or void."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bayesmig import hypotheses
from bayesmig.choice.utility import take_draws
from bayesmig.design.design import build_design
from bayesmig.errors import ConvergenceError, QuestionError, SpecError
from bayesmig.hypotheses import HypothesisResult, validate_hypotheses
from bayesmig.immobility import stayers, unable
from bayesmig.posterior import Posterior
from bayesmig.predict import Ask, ask_about, comparisons
from bayesmig.sensitivity import NOTHING, WEAK
from bayesmig.variance_partition import levels
from tests.by_hand import (
    HYPOTHESES,
    averages,
    draws_of,
    effects_for,
    probabilities,
    reloaded,
    rich_posterior,
    rows_of,
    shortest_interval,
    slope_of_wealth,
)
from tests.choice.test_consideration import by_sets
from tests.fabricate import (
    TRUTH,
    fabricated,
    small_design,
    small_frame,
    small_survey,
    survey_of,
    theory,
)
from tests.inference.theories import wide_survey


def with_hypotheses(posterior: Posterior, stated: dict[str, Any]) -> Posterior:
    """The same draws under a theory that states something else."""
    spec = posterior.spec.replace(hypotheses=stated)
    return replace(posterior, design=replace(posterior.design, spec=spec))


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return rich_posterior()


def flat(result: HypothesisResult) -> np.ndarray:
    """Draws × parts."""
    return result.draws.to_numpy().reshape(-1, result.draws.sizes["part"])


# -------------------------------------------------------------------- by brute force


WAYS = [{}, {"wts": False, "groups": "typical"}, {"groups": "new", "seed": 4}]


@pytest.mark.parametrize("ways", WAYS, ids=["plain", "typical", "new"])
def test_estimands_and_probabilities_by_hand(posterior: Posterior, ways: dict[str, Any]) -> None:
    results = hypotheses.test(posterior, **ways)
    frame = posterior.frame
    weights = frame["weight"] if ways.get("wts", True) else [1.0] * len(frame)
    effects = effects_for(posterior, frame, ways.get("groups", "observed"), seed=4)

    def average(of: Any = None, **change: Any) -> list[dict[str, float]]:
        rows = [row | {k: v(row) for k, v in change.items()} for row in rows_of(frame)]
        keys = {} if of is None else {"of": of}
        by_draw = averages(posterior, rows, [0] * len(rows), weights, effects, **keys)
        return [draw[0] for draw in by_draw]

    base, slope = average(), average(of=slope_of_wealth)
    men, women = average(female=lambda _: 0), average(female=lambda _: 1)
    schooled = average(education=lambda r: r["education"] + 1)
    first, second, third = [], [], []
    for s in range(len(base)):
        female = {j: women[s][j] - men[s][j] for j in base[s]}
        lift = (schooled[s]["internal"] - base[s]["internal"]) / base[s]["internal"]
        left = 2 * female["internal"] ** 2 + slope[s]["international"] / base[s]["stay"]
        first.append(left - (0.01 + lift))
        second.append(slope[s]["internal"])
        third.append(female["international"])

    one, both = results["arithmetic"], results["both"]
    np.testing.assert_allclose(flat(one)[:, 0], first, rtol=0, atol=1e-10)
    np.testing.assert_allclose(flat(both), np.column_stack([second, third]), rtol=0, atol=1e-10)
    assert one.probability == sum(d > 0 for d in first) / len(first)
    holds = [a < 0 and abs(b) > 0.02 for a, b in zip(second, third, strict=True)]
    assert both.probability == sum(holds) / len(holds)
    parts = both.summary["probability"].tolist()
    assert parts == [
        sum(a < 0 for a in second) / len(second),
        sum(abs(b) > 0.02 for b in third) / len(third),
    ]
    assert both.summary["rope_mass"].tolist() == [
        sum(abs(d) <= 0.02 for d in column) / len(column) for column in (second, third)
    ]
    row = both.summary.iloc[1]
    assert row["estimate"] == pytest.approx(sum(third) / len(third), abs=1e-10)
    assert (row["lower"], row["upper"]) == pytest.approx(shortest_interval(third, 0.95), abs=1e-10)


def percentile(frame: Any, column: str, share: float) -> float:
    """The smallest value that has this share of the weights up to it."""
    rows = sorted(zip(frame[column], frame["weight"], strict=True))
    total, below = sum(frame["weight"]), 0.0
    for value, weight in rows:
        below += weight
        if below >= share * total:
            return float(value)
    raise AssertionError


def test_columns_are_held_before_anything_changes(posterior: Posterior) -> None:
    stated = {
        "stronger": {
            "claim": "Schooling acts more on the poor.",
            "statement": "lift(education, internal, wealth=p10) > lift(education, internal, "
            "wealth=p90, female=1) and slope(wealth, internal, wealth=-0.5) < "
            "share(stay, female=0)",
        }
    }
    result = hypotheses.test(with_hypotheses(posterior, stated), "stronger")
    frame = posterior.frame
    effects = effects_for(posterior, frame, "observed", seed=0)

    def average(of: Any = None, **held: float) -> list[dict[str, float]]:
        rows = [row | held for row in rows_of(frame)]
        if of == "schooled":
            rows, of = [row | {"education": row["education"] + 1} for row in rows], None
        keys = {} if of is None else {"of": of}
        by_draw = averages(posterior, rows, [0] * len(rows), frame["weight"], effects, **keys)
        return [draw[0] for draw in by_draw]

    poor = {"wealth": percentile(frame, "wealth", 0.1)}
    rich = {"wealth": percentile(frame, "wealth", 0.9), "female": 1}
    first = [
        (a["internal"] / b["internal"]) - (c["internal"] / d["internal"])
        for a, b, c, d in zip(
            average("schooled", **poor), average(**poor),
            average("schooled", **rich), average(**rich), strict=True,
        )
    ]  # fmt: skip
    second = [
        a["internal"] - b["stay"]
        for a, b in zip(average(slope_of_wealth, wealth=-0.5), average(female=0), strict=True)
    ]
    np.testing.assert_allclose(flat(result), np.column_stack([first, second]), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("lift(wealth, internal, age=1) > 0", "does not use 'age'"),
        ("lift(wealth, internal, region=1) > 0", "'region' is a category"),
        ("lift(wealth, internal, female=0.5) > 0", "not held at 0.5"),
        ("lift(wealth, internal, female=p50) > 0", "not held at p50"),
        ("lift(female, internal, female=1) > 0", "changes from 0 to 1 and cannot be held"),
    ],
)
def test_what_cannot_be_held(posterior: Posterior, statement: str, words: str) -> None:
    odd = with_hypotheses(posterior, {"odd": {"claim": "odd", "statement": statement}})
    for ask in (lambda: hypotheses.test(odd), lambda: validate_hypotheses(odd.design)):
        with pytest.raises(QuestionError, match=words):
            ask()


def test_two_percentiles_that_are_one_number_are_refused() -> None:
    frame = small_frame().assign(wealth=lambda f: f["wealth"].clip(lower=0.5) - 0.5)
    stated = {
        "turns": {
            "claim": "It turns.",
            "statement": "slope(wealth, internal, wealth=p10) > "
            "slope(wealth, internal, wealth=p50)",
        }
    }
    design = small_design("wealth + square(wealth) + education", survey=survey_of(frame))
    design = replace(design, spec=design.spec.replace(hypotheses=stated))
    for ask in (lambda: hypotheses.test(fabricated(design)), lambda: validate_hypotheses(design)):
        with pytest.raises(QuestionError, match="is 0 at p10 and at p50"):
            ask()


def test_a_smooth_is_not_raised_beyond_its_range() -> None:
    bends = [{"column": "wealth", "bends": 4}]

    def asking(statement: str) -> None:
        stated = {"odd": {"claim": "odd", "statement": statement}}
        validate_hypotheses(small_design("wealth + education", smooths=bends, hypotheses=stated))

    with pytest.raises(QuestionError, match="smooth is not known beyond") as caught:
        asking("lift(wealth, internal) > 0")
    assert "lift(wealth, internal, wealth=p50)" in str(caught.value)
    asking("lift(wealth, internal, wealth=p50) > 0")
    asking("slope(wealth, internal) > 0")
    asking("lift(education, internal) > 0")


def test_what_is_held_out_of_the_observed_range_is_told(posterior: Posterior) -> None:
    stated = {"far": {"claim": "far", "statement": "lift(education, internal, wealth=40) > 0"}}
    result = hypotheses.test(with_hypotheses(posterior, stated), "far")
    assert "held: 100.0 % of the rows (weighted) lie outside" in result.header["support"]


def test_shape_of_the_result(posterior: Posterior) -> None:
    result = hypotheses.test(posterior, "arithmetic")
    assert (result.name, result.mechanism) == ("arithmetic", "M45")
    assert result.claim == HYPOTHESES["arithmetic"]["claim"]
    assert result.statement == HYPOTHESES["arithmetic"]["statement"]
    assert list(result.summary.columns) == [
        "part",
        "estimate",
        "sd",
        "lower",
        "upper",
        "rope",
        "rope_mass",
        "probability",
        "overlap",
        "prior_sensitivity",
        "likelihood_sensitivity",
        "identification",
        "rests_on",
    ]
    assert result.draws.dims == ("chain", "draw", "part")
    assert result.header["weights"].startswith("averages are weighted by weight")
    assert "new groups" in hypotheses.test(posterior, "both", groups="new").header["groups"]
    assert "0.95" in result.header["verdict"]
    assert result.summary["part"][0] in " ".join(str(result).split())


def test_one_name_several_or_all(posterior: Posterior) -> None:
    assert set(hypotheses.test(posterior)) == set(HYPOTHESES)
    several = hypotheses.test(posterior, ["both"])
    assert list(several) == ["both"]
    assert several["both"].probability == hypotheses.test(posterior, "both").probability


def test_averages_are_computed_once(posterior: Posterior, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for the survey, two for the indicator, one for education; none for the slope."""
    count, plain = [], Ask.averages

    def counted(self: Ask, frame: Any) -> Any:
        # The prior's are averages of other draws.
        if self.posterior is posterior:
            count.append(frame)
        return plain(self, frame)

    monkeypatch.setattr(Ask, "averages", counted)
    hypotheses.test(posterior)
    assert len(count) == 4


def test_closed_alternative_gives_no_estimand_and_no_warning(posterior: Posterior) -> None:
    stated = {"x": {"claim": "x", "statement": "lift(wealth, international) > -1000"}}
    closed = posterior.frame.assign(open=0)
    result = hypotheses.test(with_hypotheses(posterior, stated), "x", newdata=closed)
    assert np.isnan(result.probability)
    numbers = ["estimate", "lower", "upper", "rope_mass", "probability"]
    assert result.summary[numbers].isna().all(axis=None)
    assert "“x” cannot be computed: lift(wealth, international) > " in result.sentence
    assert "has no value in 8 of 8 draws" in result.sentence
    for verdict in ("supported", "contradicted", "undecided"):
        assert verdict not in result.sentence


def test_one_draw_without_a_value_is_enough(posterior: Posterior) -> None:
    """A statement that divides by zero in a single draw has no probability."""
    both = flat(hypotheses.test(posterior, "both"))
    zero = float(both[3, 0])
    stated = {
        "x": {
            "claim": "x",
            "statement": f"1 / (slope(wealth, internal) - {zero!r}) > 0 "
            "and comparison(female, international) > 0",
        }
    }
    result = hypotheses.test(with_hypotheses(posterior, stated), "x")
    assert np.isnan(flat(result)).sum() == 1
    assert np.isnan(result.probability)
    assert np.isnan(result.summary["probability"][0])
    assert result.summary["probability"][1] == (both[:, 1] > 0).mean()
    assert "has no value in 1 of 8 draws" in result.sentence


@pytest.mark.parametrize("change", ["female", "education", "wealth"])
@pytest.mark.parametrize("alternative", ["stay", "internal", "international"])
def test_a_lift_is_the_lift_of_comparisons(
    posterior: Posterior, change: str, alternative: str
) -> None:
    """One definition: the change as a share of the average before, ``(P1 - P0) / P0``."""
    stated = {"x": {"claim": "x", "statement": f"lift({change}, {alternative}) > 0"}}
    result = hypotheses.test(with_hypotheses(posterior, stated), "x")
    frame = posterior.frame
    low = frame.assign(female=0) if change == "female" else frame
    high = frame.assign(**{change: 1 if change == "female" else frame[change] + 1})
    effects = effects_for(posterior, frame, "observed", seed=0)

    def shares(rows: Any) -> list[float]:
        found = averages(posterior, rows_of(rows), [0] * len(rows), frame["weight"], effects)
        return [draw[0][alternative] for draw in found]

    expected = [(b - a) / a for a, b in zip(shares(low), shares(high), strict=True)]
    np.testing.assert_allclose(flat(result)[:, 0], expected, rtol=0, atol=1e-10)
    effect = comparisons(posterior, change, comparison="lift")
    cell = int(np.flatnonzero(effect.summary["alternative"] == alternative)[0])
    np.testing.assert_array_equal(
        flat(result)[:, 0], effect.draws.to_numpy().reshape(len(expected), -1)[:, cell]
    )


@pytest.mark.parametrize("change", ["female", "education"])
def test_an_excess_keeps_the_odds_of_every_row(posterior: Posterior, change: str) -> None:
    stated = {"x": {"claim": "x", "statement": f"excess({change}, internal) > 0"}}
    result = hypotheses.test(with_hypotheses(posterior, stated), "x")
    frame = posterior.frame
    low = frame.assign(female=0) if change == "female" else frame
    high = frame.assign(**{change: 1 if change == "female" else frame[change] + 1})
    effects, n = effects_for(posterior, frame, "observed", seed=0), len(frame)

    def of_rows(rows: Any) -> list[list[dict[str, float]]]:
        found = averages(posterior, rows_of(rows), range(n), [1.0] * n, effects)
        return [list(draw.values()) for draw in found]

    expected = []
    for before, after in zip(of_rows(low), of_rows(high), strict=True):
        beyond = [
            b["internal"] - a["internal"] * b["stay"] / a["stay"]
            for a, b in zip(before, after, strict=True)
        ]
        weighted = sum(w * x for w, x in zip(frame["weight"], beyond, strict=True))
        expected.append(weighted / sum(frame["weight"]))
    np.testing.assert_allclose(flat(result)[:, 0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("change", ["female", "education", "wealth"])
@pytest.mark.parametrize("alternative", ["internal", "international"])
def test_log_odds_are_those_of_every_row_that_has_any(
    posterior: Posterior, change: str, alternative: str
) -> None:
    """Plain loops; rows in which the alternative is closed are left out."""
    said = f"log_odds({change}, {alternative}) > 0 and log_odds({alternative}, wealth=p10) > 0"
    stated = {"x": {"claim": "x", "statement": said}}
    result = hypotheses.test(with_hypotheses(posterior, stated), "x")
    frame, draws = posterior.frame, draws_of(posterior)
    effects = effects_for(posterior, frame, "observed", seed=0)
    poor = percentile(frame, "wealth", 0.1)
    rows = list(zip(rows_of(frame), frame["weight"], strict=True))
    some = [(r, w) for r, w in rows if alternative != "international" or r["open"]]
    assert (len(some) < len(rows)) == (alternative == "international")

    def odds(s: int, row: dict[str, Any]) -> float:
        p = probabilities(draws[s], row, effects[s])
        return p[alternative] / p["stay"]

    expected = []
    for s in range(len(draws)):
        changes, levels = [], []
        for row, weight in some:
            low = row | ({"female": 0} if change == "female" else {})
            high = row | {change: 1 if change == "female" else row[change] + 1}
            changes.append(weight * math.log(odds(s, high) / odds(s, low)))
            levels.append(weight * math.log(odds(s, row | {"wealth": poor})))
        mass = math.fsum(w for _, w in some)
        expected.append([math.fsum(changes) / mass, math.fsum(levels) / mass])
    np.testing.assert_allclose(flat(result), expected, rtol=0, atol=1e-10)


def logit(stated: str, utility: str, effects: Any, **keys: Any) -> HypothesisResult:
    """A statement in a logit of constants and these effects, ``(term, stream)``."""
    hypothesis = {"x": {"claim": "x", "statement": stated}}
    design = small_design(utility, groups=[], hypotheses=hypothesis, **keys)
    beta = np.array([[-1.0, -1.6], *effects])
    return hypotheses.test(fabricated(design, centre={"beta": beta}, spread=0.3), "x")


def test_in_a_logit_log_odds_are_coefficients() -> None:
    """However people and streams differ; what does not differ is zero, not a coin."""
    effects = [[0.3, -0.4], [0.8, 0.5], [0.1, 0.6]]
    result = logit(
        "log_odds(education, international) > 0 and log_odds(female, internal) > 0"
        " and log_odds(education, international, wealth=p90)"
        " > log_odds(education, international, wealth=p10)"
        " and log_odds(education, international, wealth=p90)"
        " < log_odds(education, international, wealth=p10)",
        "female + wealth + education",
        effects,
    )
    design = small_design("female + wealth + education", groups=[])
    same = fabricated(design, centre={"beta": np.array([[-1.0, -1.6], *effects])}, spread=0.3)
    beta = same.coefficients().persons
    terms = [design.persons.index(name) for name in ("education", "female")]
    np.testing.assert_allclose(flat(result)[:, 0], beta[:, terms[0], 1], rtol=0, atol=1e-10)
    np.testing.assert_allclose(flat(result)[:, 1], beta[:, terms[1], 0], rtol=0, atol=1e-10)
    np.testing.assert_array_equal(flat(result)[:, 2:], 0.0)
    assert result.summary["probability"].tolist()[2:] == [0.0, 0.0]
    assert "cannot be asked of this theory" in result.sentence
    # No probability that could be taken for a verdict.
    assert math.isnan(result.probability) and math.isnan(result.prior_probability)
    assert (result.verdict, result.identification) == ("cannot be asked", NOTHING)
    assert result.at_width(80).splitlines()[0] == "x: cannot be asked"
    other = logit("log_odds(female, internal) > 0", "female", [[0.3, -0.4]])
    assert "cannot be asked" not in other.sentence


MIRRORED = "log_odds(wealth, internal, education=p90) > log_odds(wealth, internal, education=p10)"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (MIRRORED, True),
        (MIRRORED.replace(">", "<"), False),
        (MIRRORED.replace(">", "!="), False),
        (MIRRORED.replace("internal", "international"), False),
        (MIRRORED.replace("log_odds", "lift"), False),
        ("log_odds(wealth, internal, education=p90) > 0.1", False),
    ],
    ids=["mirrored", "contrary", "any-sign", "another-stream", "another-scale", "another"],
)
def test_one_finding_in_two_units_counts_once(other: str, same: bool) -> None:
    """A product of two columns is what each adds to the effect of the other."""
    first = "log_odds(education, internal, wealth=p90) > log_odds(education, internal, wealth=p10)"
    claims = {"one": first, "two": other}
    stated = {n: {"claim": n, "statement": s, "rope": 1e-4} for n, s in claims.items()}
    design = small_design("wealth * education", groups=[], hypotheses=stated)
    beta = np.array([[-1.0, -1.6], [0.3, 0.2], [0.1, 0.1], [0.0, 0.0]])
    results = hypotheses.test(fabricated(design, centre={"beta": beta}, spread=0.3))
    one, two = results["one"], results["two"]
    assert 0.2 < one.probability < 0.8
    assert (one.same_as, two.same_as) == ("", "one" if same else "")
    assert ("counts once" in two.sentence) is ("counted once" in two.at_width(80)) is same
    assert not same or two.probability == one.probability
    # Asked alone, nothing is counted.
    assert hypotheses.test(fabricated(design, spread=0.3), "two").same_as == ""


def test_lifts_are_attenuated_where_log_odds_are_not() -> None:
    """Why `log_odds` is there: a strong network makes lifts differ without an interaction."""
    at = "network_international"
    strong, weak = (f"log_odds(wealth, international, {at}={p})" for p in ("p90", "p10"))
    ratio = "(1 + lift(wealth, international, {0})) / (1 + lift(wealth, stay, {0}))"
    result = logit(
        f"{ratio.format(f'{at}=p90')} < {ratio.format(f'{at}=p10')} and {strong} < {weak}",
        f"wealth + square(wealth) + education + {at}",
        [[0.0, 0.4], [0.0, 0.5], [0.0, 0.3], [0.0, 0.9]],
    )
    assert result.summary["probability"][0] > 0.7
    assert result.summary["probability"][1] == 0.0


def test_log_odds_in_nests_are_those_of_every_row() -> None:
    """Not linear in the columns: with one, the inclusive value of both streams changes."""
    said = "log_odds(wealth, internal) > 0 and log_odds(international) > 0"
    nests = [{"name": "move", "alternatives": ["internal", "international"]}]
    design = small_design(
        utility={"persons": "1", "only": {"international": "wealth"}},
        groups=[],
        nests=nests,
        hypotheses={"x": {"claim": "x", "statement": said}},
    )
    of_nest, effect = 0.4, -0.7
    centre = {"beta": [[-1, -1.6]], "beta_only": [effect], "lambda_nest": [of_nest]}
    posterior = fabricated(design, centre=centre, spread=1e-9, draws=110)
    result = hypotheses.test(posterior, "x")
    frame = posterior.frame

    def odds(wealth: float) -> list[float]:
        v = [-1 / of_nest, (-1.6 + effect * wealth) / of_nest]
        inclusive = math.log(sum(map(math.exp, v)))
        return [x + (of_nest - 1) * inclusive for x in v]

    weight, wealth = frame["weight"], frame["wealth"]
    changes = [odds(x + 1)[0] - odds(x)[0] for x in wealth]
    levels = [odds(x)[1] for x in wealth]
    expected = [sum(w * x for w, x in zip(weight, xs, strict=True)) for xs in (changes, levels)]
    found = flat(result).mean(axis=0)
    np.testing.assert_allclose(found, np.array(expected) / weight.sum(), atol=1e-6)
    assert found[0] > 0.01


def test_log_odds_have_no_value_where_nobody_has_odds(posterior: Posterior) -> None:
    stated = {"x": {"claim": "x", "statement": "log_odds(wealth, international) > 0"}}
    closed = posterior.frame.assign(open=0)
    result = hypotheses.test(with_hypotheses(posterior, stated), "x", newdata=closed)
    assert np.isnan(result.probability)
    # What opens the way abroad has no log odds ratio.
    stated = {"x": {"claim": "x", "statement": "log_odds(open, international) > 0"}}
    assert np.isnan(hypotheses.test(with_hypotheses(posterior, stated), "x").probability)


@pytest.mark.parametrize(
    "verb", ["excess(wealth, stay)", "log_odds(wealth, stay)", "log_odds(stay)"]
)
def test_odds_of_the_base_against_itself_are_refused(posterior: Posterior, verb: str) -> None:
    with pytest.raises(SpecError, match="of the base 'stay' is zero"):
        with_hypotheses(posterior, {"x": {"claim": "x", "statement": f"{verb} > 0"}})


def rerouted(lambda_nest: float | None) -> hypotheses.HypothesisResult:
    """Who goes to town as the way abroad gets harder: beyond proportion, and all of them."""
    stated = {
        "x": {
            "claim": "x",
            "statement": "excess(wealth, internal) / (0 - comparison(wealth, international)) > 0.25"
            " and comparison(wealth, internal) / (0 - comparison(wealth, international))"
            " > share(internal) / (1 - share(international))",
        }
    }
    nests = [{"name": "move", "alternatives": ["internal", "international"]}]
    design = small_design(
        utility={"persons": "female + age_10", "only": {"international": "wealth"}},
        groups=[],
        nests=[] if lambda_nest is None else nests,
        hypotheses=stated,
    )
    # The young move, in both streams: people differ in the same way in both.
    centre: dict[str, Any] = {"beta": [[-1, -1.6], [0.3, 0.2], [-1.5, -1.5]], "beta_only": [-0.7]}
    centre |= {} if lambda_nest is None else {"lambda_nest": [lambda_nest]}
    return hypotheses.test(fabricated(design, centre=centre, spread=0.01, draws=110), "x")


def test_in_a_logit_nothing_is_in_excess_however_people_differ() -> None:
    result = rerouted(None)
    np.testing.assert_allclose(flat(result)[:, 0] + 0.25, 0.0, atol=1e-12)
    assert (flat(result)[:, 1] > 0).all()  # shares of all say that more go than in proportion


def test_in_a_nest_the_excess_grows_as_lambda_falls() -> None:
    close, loose = rerouted(0.3), rerouted(0.95)
    assert (flat(close)[:, 0] > 0).all()
    assert ((flat(loose)[:, 0] > -0.25) & (flat(loose)[:, 0] < 0)).all()


# ------------------------------------------------------------------------- the verdict


def fixed_shares(stated: dict[str, Any], effects: np.ndarray, **options: Any) -> Posterior:
    """A theory of constants and one indicator, whose draws are near ``effects``."""
    frame = small_frame(600, seed=1)
    survey = survey_of(frame)
    design = small_design("female + wealth", survey=survey, groups=[], hypotheses=stated)
    beta = np.array([[-1.0, -1.6], *effects])
    return fabricated(design, survey=survey, centre={"beta": beta}, **options)


def test_joint_probability_is_not_the_product_of_the_parts() -> None:
    """Two claims that are one: true together or not at all."""
    stated = {
        "same": {
            "claim": "same twice",
            "statement": "slope(wealth, internal) > 0 and slope(wealth, internal) * 2 > 0",
        },
        "never": {
            "claim": "a contradiction",
            "statement": "slope(wealth, internal) > 0 and slope(wealth, internal) < 0",
        },
    }
    results = hypotheses.test(fixed_shares(stated, np.zeros((2, 2))))
    same, never = results["same"], results["never"]
    assert same.summary["probability"].between(0.35, 0.65).all()
    assert same.probability == same.summary["probability"][0]
    assert never.probability == 0
    assert "contradicted" in never.sentence


@pytest.mark.parametrize(
    ("female", "verdict", "probability"),
    [(0.8, "supported", 1.0), (-0.8, "contradicted", 0.0), (0.0, "undecided", 0.5)],
)
def test_true_reversed_and_void_worlds(female: float, verdict: str, probability: float) -> None:
    stated = {
        "women": {
            "claim": "Women move within the country more than men.",
            "statement": "comparison(female, internal) > 0",
            "rope": 0.01,
        }
    }
    result = hypotheses.test(fixed_shares(stated, np.array([[female, 0.0], [0.0, 0.0]])), "women")
    assert result.probability == pytest.approx(probability, abs=0.1)
    assert f"is {verdict}:" in result.sentence
    assert "0.95" in result.sentence
    assert "0.05" in result.sentence
    assert "±0.01" in result.sentence
    causal = ("cause", "effect", "impact", "because", "leads to", "due to", "influence")
    assert not [word for word in causal if word in result.sentence.lower()]


def test_joint_claim_names_its_weakest_part() -> None:
    stated = {
        "both": {
            "claim": "Both.",
            "statement": "comparison(female, internal) > 0 and slope(wealth, internal) > 0",
        }
    }
    result = hypotheses.test(fixed_shares(stated, np.array([[0.9, 0.0], [0.0, 0.0]])), "both")
    assert "undecided" in result.sentence
    assert "the least likely is slope(wealth, internal) > 0" in result.sentence
    assert "±" not in result.sentence


def test_a_difference_that_does_not_matter_is_told() -> None:
    stated = {
        "tiny": {
            "claim": "tiny",
            "statement": "comparison(female, internal) > 0",
            "rope": 0.05,
        },
        "differs": {
            "claim": "differs",
            "statement": "comparison(female, internal) != 0",
            "rope": 0.05,
        },
    }
    effects = np.array([[0.02, 0.0], [0.0, 0.0]])
    results = hypotheses.test(fixed_shares(stated, effects, spread=0.004))
    assert results["tiny"].probability > 0.95
    assert results["tiny"].summary["rope_mass"][0] == 1
    assert "above 0.999" in results["tiny"].sentence
    assert results["differs"].probability == 0


@pytest.mark.parametrize("columns", [80, 100])
def test_a_result_fits_a_screen(posterior: Posterior, columns: int) -> None:
    for name, result in hypotheses.test(posterior).items():
        text = result.at_width(columns)
        assert max(map(len, text.splitlines())) <= columns
        assert text.startswith(f"{name}: {result.verdict}\n")
        for part in result.summary.to_dict("records"):
            assert part["part"] in " ".join(text.split())
            assert f"{part['estimate']:.3g} [{part['lower']:.3g}, {part['upper']:.3g}]" in text
        assert "before the data → " in text
        assert text.splitlines()[-1] == f"  who says it  {result.identification or 'the data'}"
        assert result.at_width(100) in str(result)


def test_what_is_undecided_for_want_of_data_is_said_to_be() -> None:
    assert hypotheses.verdict_of(0.4, WEAK) == "undecided and weakly identified"
    assert hypotheses.verdict_of(0.4, "") == "undecided"
    assert hypotheses.verdict_of(0.99, WEAK) == "weakly identified"


# ----------------------------------------------------------- what cannot be asked of it


def test_unknown_and_missing_hypotheses(posterior: Posterior) -> None:
    with pytest.raises(QuestionError, match="no hypothesis 'bth'; did you mean 'both'"):
        hypotheses.test(posterior, "bth")
    with pytest.raises(QuestionError, match="no hypothesis is named"):
        hypotheses.test(posterior, [])
    with pytest.raises(QuestionError, match="states no hypotheses"):
        hypotheses.test(with_hypotheses(posterior, {}))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("slope(age, internal) > 0", "does not use 'age': no probability changes with it"),
        ("lift(weath, internal) > 0", "did you mean 'wealth'"),
        ("slope(open, internal) > 0", "'open' is an availability"),
        ("comparison(region, internal) > 0", "'region', a category"),
    ],
)
def test_columns_that_a_theory_cannot_answer_for(
    posterior: Posterior, statement: str, words: str
) -> None:
    odd = with_hypotheses(posterior, {"odd": {"claim": "odd", "statement": statement}})
    for ask in (lambda: hypotheses.test(odd), lambda: validate_hypotheses(odd.design)):
        with pytest.raises(QuestionError, match=words) as caught:
            ask()
        assert "hypothesis 'odd'" in str(caught.value)
    validate_hypotheses(posterior.design)


def test_unconverged_draws_are_refused_unless_allowed() -> None:
    poor = with_hypotheses(fabricated(small_design(), r_hat=1.2), {"both": HYPOTHESES["both"]})
    with pytest.raises(ConvergenceError):
        hypotheses.test(poor)
    result = hypotheses.test(poor, "both", allow_unconverged=True)
    assert result.header["convergence"].startswith("allowed although: R-hat > 1.01")
    assert "the draws have not converged (allowed although: R-hat > 1.01" in result.sentence


def test_converged_draws_carry_no_mark(posterior: Posterior) -> None:
    result = hypotheses.test(posterior, "both", allow_unconverged=True)
    assert "convergence" not in result.header
    assert "converged" not in result.sentence


def test_steps_out_of_the_observed_range_are_told(posterior: Posterior) -> None:
    results = hypotheses.test(posterior)
    highest = posterior.frame["education"].max()
    share = np.average(posterior.frame["education"] == highest, weights=posterior.frame["weight"])
    note = results["arithmetic"].header["support"]
    assert note.startswith(f"education +1: {100 * share:.1f} % of the rows (weighted)")
    assert "support" not in results["both"].header


def test_saved_posterior_answers_bit_identically(posterior: Posterior) -> None:
    for name, before in hypotheses.test(posterior).items():
        after = hypotheses.test(reloaded(), name)
        np.testing.assert_array_equal(before.draws.to_numpy(), after.draws.to_numpy())
        assert before.probability == after.probability
        assert before.sentence == after.sentence


# --------------------------------------------------------------------------- real fits


@pytest.mark.slow
@pytest.mark.parametrize("world", ["true", "reversed", "void"])
def test_fitted_worlds(world: str) -> None:
    """A network that pulls, repels, or does nothing; the theory and prior stay the same."""
    from bayesmig.inference.routes import fit
    from tests.fabricate import theory

    sign = {"true": 1.0, "reversed": -1.0, "void": 0.0}[world]
    frame = small_frame(1500, seed=21)
    rng = np.random.default_rng(5)
    odds = np.array([TRUTH["asc"]] * len(frame))
    odds = odds + sign * np.outer(frame["network_international"], [0.0, 0.8])
    utility = np.column_stack([np.zeros(len(frame)), odds]) + rng.gumbel(size=(len(frame), 3))
    frame["choice"] = np.array(["stay", "internal", "international"])[utility.argmax(axis=1)]
    stated = {
        "pull": {"claim": "pull", "statement": "slope(network_international, international) > 0"}
    }
    spec = theory("network_international", groups=[], hypotheses=stated)
    posterior = fit(spec, survey_of(frame), seed=1, chains=4, draws=300, tune=300, progress=False)
    probability = hypotheses.test(posterior, "pull", allow_unconverged=True).probability
    low, high = {"true": (0.95, 1), "reversed": (0, 0.05), "void": (0.05, 0.95)}[world]
    assert low <= probability <= high


# ------------------------------------------------------------------- before the data


def test_the_prior_probability_is_that_of_draws_from_the_prior() -> None:
    """A sign under a prior that is even is even; one that leans leans, whatever the data say."""
    stated = {
        "sign": {"claim": "", "statement": "slope(wealth, internal) > 0"},
        "both": {
            "claim": "",
            "statement": "slope(wealth, internal) > 0 and slope(wealth, international) > 0",
        },
    }
    survey = small_survey()
    leaning = [
        {"name": "wealth", "alternative": "internal", "loc": 1.0, "scale": 0.1, "per": "unit"}
    ]
    even, lean = (
        theory("wealth", groups=[], hypotheses=stated, priors={"coefficient": of})
        for of in ([], leaning)
    )
    contrary = np.array([[-1.0, -1.6], [-2.0, -2.0]])
    for spec, low, high in ((even, 0.4, 0.6), (lean, 0.8, 1.0)):
        posterior = fabricated(build_design(spec, survey), survey=survey, centre={"beta": contrary})
        found = hypotheses.test(posterior)
        assert low <= found["sign"].prior_probability <= high
        assert found["both"].prior_probability <= found["sign"].prior_probability
        assert found["sign"].probability < 0.05
        assert "before the data" in str(found["sign"])


def test_flat_priors_have_no_probability_before_the_data() -> None:
    stated = {"sign": {"claim": "", "statement": "slope(wealth, internal) > 0"}}
    flat = {"persons": {"dist": "flat"}, "asc": {"dist": "flat"}}
    survey = small_survey()
    spec = theory("wealth", groups=[], hypotheses=stated, priors=flat)
    design = build_design(spec, survey)
    centre = {"beta": np.zeros((2, 2))}
    found = hypotheses.test(fabricated(design, survey=survey, centre=centre), "sign")
    assert math.isnan(found.prior_probability)


def test_before_the_data_columns_are_held_where_they_are_after() -> None:
    """Of a column that is zero for nearly nine in ten, p90 of some rows would be zero as well."""
    frame = small_frame(6_000, seed=3)
    rng = np.random.default_rng(3)
    frame["dose"] = np.where(rng.random(len(frame)) < 0.897, 0.0, rng.gamma(2.0, 1.0, len(frame)))
    stated = {
        "more": {
            "claim": "",
            "statement": "share(internal, dose=p90) > share(internal, dose=p50)",
        }
    }
    survey = survey_of(frame)
    spec = theory("dose", groups=[], hypotheses=stated)
    posterior = fabricated(build_design(spec, survey), survey=survey)
    found = [hypotheses.test(posterior, "more", seed=seed).prior_probability for seed in range(6)]
    assert all(0.4 < value < 0.6 for value in found), found


def test_parameters_are_those_of_levels_and_of_stayers() -> None:
    stated = {
        "share": "vpc(origin, international) > 0.01",
        "sign": "correlation(origin, international, internal) < 0",
        "kept": "unable(international, wealth=p90) > 0.02",
        "all": "unable(international) > 0.02",
        "aspiring": "kept(international) > 0.02",
    }
    design = build_design(
        theory(
            consideration={"feasible": {"international": "wealth"}},
            groups=[{"by": "origin"}],
            hypotheses={k: {"claim": "c.", "statement": v} for k, v in stated.items()},
        ),
        small_survey(),
    )
    posterior = fabricated(design, survey=small_survey(), draws=110)
    found = hypotheses.test(posterior)
    told = levels(posterior)
    at = dict(zip(told.summary["quantity"] + told.summary["alternative"], range(3), strict=True))
    of = {k: r.draws.to_numpy()[..., 0] for k, r in found.items()}
    draws = told.draws.to_numpy()
    share, sign = draws[..., at["vpcinternational"]], draws[..., 2]
    np.testing.assert_allclose(of["share"], share - 0.01, rtol=1e-12)
    np.testing.assert_allclose(of["sign"], sign, rtol=1e-12)
    everyone = stayers(posterior)
    row = list(everyone.summary["quantity"]).index("unable_among_stayers")
    np.testing.assert_allclose(of["all"], everyone.draws.to_numpy()[..., row] - 0.02, rtol=1e-9)
    row = list(everyone.summary["quantity"]).index("kept_among_aspirers")
    # Of all who would go, some would go within the country, which everybody can.
    assert (everyone.draws.to_numpy()[..., row] - 0.02 - of["aspiring"] < 1e-9).all()
    row = list(everyone.summary["quantity"]).index("unable_among_stayers")
    rich = posterior.frame.assign(wealth=np.quantile(posterior.frame["wealth"], 0.9))
    kept = stayers(posterior, newdata=rich).draws.to_numpy()[..., row] - 0.02
    np.testing.assert_allclose(of["kept"].mean(), kept.mean(), rtol=0.05)
    assert "shares of variance" in found["share"].header["unit"]


def test_a_spread_is_a_draw_of_its_scale() -> None:
    stated = {
        "terms": "spread(origin, 'wealth:education', international) > 0.1",
        "streams": "spread(origin, wealth, internal) > spread(origin, wealth, international)",
    }
    design = small_design(
        "wealth * education",
        groups=[{"by": "origin", "terms": "1 + wealth + wealth:education"}],
        hypotheses={k: {"claim": "c.", "statement": v} for k, v in stated.items()},
    )
    posterior = fabricated(design)
    found = hypotheses.test(posterior)
    sigma = posterior.draws["sigma_origin"]
    wide = sigma.sel(nonbase="international", origin_term="wealth:education").to_numpy()
    np.testing.assert_allclose(flat(found["terms"])[:, 0], wide.ravel() - 0.1, rtol=1e-12)
    apart = sigma.sel(origin_term="wealth").to_numpy()
    np.testing.assert_allclose(
        flat(found["streams"])[:, 0], (apart[..., 0] - apart[..., 1]).ravel(), rtol=1e-12
    )
    assert found["terms"].probability == pytest.approx((wide > 0.1).mean())
    assert "spreads of group effects" in found["terms"].header["unit"]


def test_one_stream_may_be_freed_of_two() -> None:
    """Against a loop over people and sets, where each stream is feasible to some."""
    feasible = {"internal": "wealth", "international": "wealth + cost"}
    design = build_design(theory(consideration={"feasible": feasible}), wide_survey())
    posterior = fabricated(design, draws=110, survey=wide_survey())
    ask = ask_about(posterior, None, None, False, "observed", 0.9, 0, False)
    got = unable(ask, "international")[3, 0]
    columns, one = design.columns, take_draws(posterior.coefficients(), 3)
    stay = np.mean([by_sets(columns, one, n)[0] for n in range(len(columns.persons))])
    only = {1: columns.feasible[1]}
    freed = replace(columns, feasible=only)
    width = columns.feasible[1].shape[1]
    kept = replace(one, feasibility=np.asarray(one.feasibility)[:width])
    then = np.mean([by_sets(freed, kept, n)[0] for n in range(len(columns.persons))])
    assert got == pytest.approx((stay - then) / stay, rel=1e-9)
    got = hypotheses.kept(ask, "international")[3, 0]
    goes = np.mean([by_sets(columns, one, n)[2] for n in range(len(columns.persons))])
    would = np.mean([by_sets(freed, kept, n)[2] for n in range(len(columns.persons))])
    assert got == pytest.approx((would - goes) / would, rel=1e-9)


@pytest.mark.parametrize(
    ("of_wealth", "holds"), [(0.0, (False, False)), (0.8, (True, True))], ids=["free", "bound"]
)
def test_claims_of_liquidity_are_about_ability_not_about_willingness(
    of_wealth: float, holds: tuple[bool, bool]
) -> None:
    """Where ability has nothing to do with wealth, costs keep alike shares of poor and rich.

    Though the rich want to go far less; odds against staying, and the unable among those who
    stay, would be told apart.
    """
    cost, poor, rich = "cost_international, international", "wealth=p10", "wealth=p90"
    stated = {
        "lift": f"lift({cost}, {poor}) < lift({cost}, {rich})",
        "kept": f"kept(international, {poor}) > kept(international, {rich})",
        "odds": f"log_odds({cost}, {poor}) < log_odds({cost}, {rich})",
        "unable": f"unable(international, {poor}) > unable(international, {rich})",
    }
    spec = theory(
        "wealth + female",
        consideration={"feasible": {"international": "wealth + cost"}},
        hypotheses={k: {"claim": "c.", "statement": v} for k, v in stated.items()},
        groups=[],
    )
    centre = {
        "beta": [[-1.0, 1.5], [-0.4, -1.2], [0.2, -0.2]],
        "feasibility": [2.0, of_wealth, -1.0],
    }
    design = build_design(spec, wide_survey())
    posterior = fabricated(design, centre=centre, spread=0.0, draws=110, survey=wide_survey())
    found = hypotheses.test(posterior)
    gaps = {name: r.summary["estimate"].iloc[0] for name, r in found.items()}
    assert (gaps["lift"] < -0.02, gaps["kept"] > 0.02) == holds
    if not of_wealth:
        assert abs(gaps["lift"]) < 0.01 and abs(gaps["kept"]) < 0.01
        assert abs(gaps["odds"]) > 0.1 and gaps["unable"] > 0.1


def test_several_results_print_with_all_that_is_said_of_any(posterior: Posterior) -> None:
    results = hypotheses.test(posterior)
    assert len(results) > 1
    text = str(results)
    together = "".join(text.split())
    for name, result in results.items():
        assert text.count(f"{name}: {result.verdict}") == 1
        for key, said in result.header.items():
            parts = said.split("; ") if key != "unit" else []
            assert all("".join(part.split()) in together for part in parts), key
    assert text.count("theory: ") == 1
    headers = [
        {"theory": "t", "support": "age is out"},
        {"theory": "t", "support": "wealth is out"},
    ]
    assert hypotheses.notes_of(headers, 80) == "theory: t\nsupport: age is out; wealth is out"
