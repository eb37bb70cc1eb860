"""Statistics of whole surveys: against loops, in true worlds and in planted ones."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmig as bm
from bayesmig.checks import check, reliability
from bayesmig.checks.all_checks import _of_new_groups
from bayesmig.checks.composition import composition
from bayesmig.checks.household_streams import household_streams
from bayesmig.checks.origins import dispersion, neighbours_of, places, spatial
from bayesmig.checks.reliability import influence
from bayesmig.checks.result import CheckResult, furthest
from bayesmig.checks.transitions import transitions
from bayesmig.design.design import build_design
from bayesmig.errors import BayesmigError, QuestionError
from bayesmig.model_comparison.left_out import Estimate
from bayesmig.survey.survey import Survey, read_survey
from tests.checks.worlds import laplace
from tests.fabricate import (
    ALTERNATIVES,
    TRUTH,
    small_design,
    small_frame,
    small_survey,
    survey_of,
    theory,
)

EVERYTHING = " + ".join(name for name in TRUTH if name != "asc")


def found(survey: Survey, persons: str = EVERYTHING, **keys: object) -> dict[str, CheckResult]:
    posterior = laplace(small_design(persons, survey=survey, **keys), survey=survey, draws=100)
    return {r.name: r for r in check(posterior, prior=False, draws=400)}


def panel(
    n: int = 700, periods: int = 3, again: float = 0.0, seed: int = 0, origins: int = 30
) -> pd.DataFrame:
    """Persons over periods, of whom a share does again what they did before."""
    rng = np.random.default_rng(seed)
    frames, before = [], None
    for t in range(periods):
        utility = np.array([0.0, -1.0, -1.6]) + rng.gumbel(size=(n, 3))
        chosen = utility.argmax(axis=1)
        if before is not None:
            chosen = np.where(rng.random(n) < again, before, chosen)
        before = chosen
        frames.append(
            pd.DataFrame(
                {
                    "person": [f"p{i}" for i in range(n)],
                    "period": t,
                    "origin": [f"o{i % origins}" for i in range(n)],
                    "wealth": rng.normal(size=n),
                    "choice": np.array(ALTERNATIVES)[chosen],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


# ------------------------------------------------------------------------------ numbers


def test_means_of_choosers_are_those_of_loops() -> None:
    frame = small_frame(300, seed=1)
    frame.loc[::7, "age"] = np.nan
    frame["gender"] = np.where(frame["female"] == 1, "woman", "man")
    frame.loc[::11, "gender"] = None
    frame["always"] = 1.0
    survey = survey_of(frame, missing={"columns": ["female"]})
    design = small_design("female", survey=survey)
    expected = np.full((300, 3), 1 / 3)
    columns = ["age", "female", "region", "gender", "always", "household"]
    battery = composition(design, survey.frame, columns, expected)
    [values] = battery.statistic(design.choice[:, None].astype(np.int8))
    regions = sorted(frame["region"].unique())
    assert len(regions) > 2
    names = ["age", "female", *(f"region = {r}" for r in regions), "gender = woman"]
    assert list(battery.labels["column"]) == names * 2
    assert battery.left_out == (
        " Left out, with one value or more than 12 levels: always, household."
    )
    for row, value in zip(battery.labels.itertuples(), values, strict=True):
        column, _, level = row.column.partition(" = ")
        some = survey.frame[(survey.frame["choice"] == row.alternative)].dropna(subset=column)
        numbers = some[column] == level if level else some[column]
        by_hand = sum(some["weight"] * numbers) / sum(some["weight"])
        assert value == pytest.approx(by_hand, rel=1e-12)


def test_rare_levels_are_not_judged() -> None:
    """Their shares are far out by chance, and would hide what other columns show."""
    frame = small_frame(600, seed=1)
    frame["rare"] = np.where(np.arange(600) < 9, "few", "many")
    frame["common"] = np.where(np.arange(600) % 2, "one", "other")
    survey = survey_of(frame)
    design = small_design("female", survey=survey)
    battery = composition(design, survey.frame, ["rare", "common"], np.full((600, 3), 1 / 3))
    judged = battery.tested(np.zeros(len(battery.labels)))
    assert list(battery.labels["column"]) == ["rare = many", "common = other"] * 2
    assert list(judged) == [False, True] * 2
    # A share is not rounded: everybody's is one.
    chosen = (np.arange(600) >= 9).astype(np.int8)
    [values] = battery.statistic(chosen[:, None])
    assert values[0] == 1.0


def test_streams_of_households_are_those_of_loops() -> None:
    survey = small_survey(300, seed=2)
    design = small_design("female", survey=survey)
    battery = household_streams(design)
    [values] = battery.statistic(design.choice[:, None].astype(np.int8))
    mass, both, twice = 0.0, 0.0, 0.0
    for _, members in survey.frame.groupby("household"):
        weight, chosen = members["weight"].mean(), list(members["choice"])
        mass += weight
        both += weight * ("internal" in chosen and "international" in chosen)
        twice += weight * (chosen.count("internal") > 1)
    assert values[0] == pytest.approx(both / mass)
    assert values[1] == pytest.approx(twice / mass)
    assert list(battery.labels["streams"])[:2] == [
        "internal and international",
        "two or more internal",
    ]


def test_transitions_are_those_of_loops() -> None:
    survey = survey_of(panel(60, again=0.4).sample(frac=1, random_state=0))
    design = small_design("wealth", survey=survey)
    battery = transitions(design)
    [values] = battery.statistic(design.choice[:, None].astype(np.int8))
    counts = dict.fromkeys(((a, b) for a in ALTERNATIVES for b in ALTERNATIVES), 0)
    for _, rows in survey.frame.groupby("person"):
        for pair in pairwise(rows.sort_values("period")["choice"]):
            counts[pair] += 1
    for row, value in zip(battery.labels.itertuples(), values, strict=True):
        total = sum(counts[row.before, b] for b in ALTERNATIVES)
        assert value == pytest.approx(counts[row.before, row.now] / total)
        assert row.rows == total


@pytest.mark.parametrize(
    ("named", "pairs"),
    [
        ({0: "9", 1: "10", 2: "11"}, 120),
        ({0: "2000", 1: "2007", 2: "2014"}, 120),
        ({0: "wave 9", 1: "wave 10", 2: "wave 11"}, None),
    ],
)
def test_transitions_follow_time_not_the_alphabet(named: dict[int, str], pairs: Any) -> None:
    """Text that shows no order has none; numbers are sorted as numbers."""
    frame = panel(60, again=0.4)
    battery = transitions(small_design("wealth", survey=survey_of(frame)))
    renamed = frame.assign(period=frame["period"].map(named))
    other = transitions(small_design("wealth", survey=survey_of(renamed)))
    assert battery is not None
    if pairs is None:
        assert other is None
        return
    assert other is not None
    choice = small_design("wealth", survey=survey_of(frame)).choice[:, None].astype(np.int8)
    np.testing.assert_array_equal(other.statistic(choice), battery.statistic(choice))
    assert other.labels.groupby("before")["rows"].first().sum() == pairs


def test_periods_with_another_between_them_do_not_follow_each_other() -> None:
    frame = panel(60, again=0.4)
    gaps = frame[(frame["period"] != 1) | (frame["person"] != "p0")]
    labels = transitions(small_design("wealth", survey=survey_of(gaps))).labels
    assert labels.groupby("before")["rows"].first().sum() == 118


@pytest.mark.parametrize("by", ["", "origin"])
def test_origins_are_judged_by_what_all_share(by: str) -> None:
    """Effects of an origin rest upon its rows: they are integrated out.

    A large origin decides the slope where its rich all go abroad.
    """
    rng, frame = np.random.default_rng(6), panel(1800, periods=1, origins=66)
    frame["origin"] = frame["origin"].replace([f"o{i}" for i in range(7)], "o0")
    effects = rng.normal(0, 0.7, (66, 3)) if by == "origin" else np.zeros((66, 3))
    utility = np.array([0.0, -1.0, -1.6]) + effects[frame["origin"].str[1:].astype(int)]
    calm = frame.assign(
        choice=np.array(ALTERNATIVES)[(utility + rng.gumbel(size=(1800, 3))).argmax(axis=1)]
    )
    strange, here = calm.copy(), calm["origin"] == "o0"
    strange.loc[here & (strange["wealth"] > 0), "choice"] = "international"
    spec = theory("wealth", groups=[{"by": by}] if by else [])

    def asked(made: pd.DataFrame, method: str = "auto") -> CheckResult:
        fit = bm.fit(spec, survey_of(made), seed=1, method=method, draws=500, progress=False)
        return influence(fit)

    found = [asked(calm), asked(strange)]
    assert [of.passed for of in found] == [True, False], [of.text for of in found]
    assert found[1].table["origin"].iloc[0] == "o0"
    assert ("integrated out" in found[0].text) == (by == "origin")
    if by:
        rough = asked(calm, "preview")
        assert rough.passed is None
        assert rough.text.startswith("Not judged, since draws are")


def test_a_tail_that_cannot_be_fitted_is_no_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An infinite Pareto k fails, and warns of nothing else."""
    survey = survey_of(panel(300, periods=1, origins=60))
    posterior = laplace(small_design("wealth", survey=survey, groups=[]), survey=survey)
    k = np.full(60, 0.1)
    found = Estimate(k, k, k, 400, 400.0, "no effects of groups")
    monkeypatch.setattr("bayesmig.checks.reliability.leave_out", lambda *_, **__: found)
    assert influence(posterior).passed is True
    k[7] = np.inf
    assert influence(posterior).passed is False
    # Of fewer origins it is told, and not judged.
    survey, k = survey_of(panel(300, periods=1, origins=59)), k[1:]
    posterior = laplace(small_design("wealth", survey=survey, groups=[]), survey=survey)
    found = Estimate(k, k, k, 400, 400.0, "no effects of groups")
    few = influence(posterior)
    assert few.passed is None and few.text.startswith("Told, not judged: of 59 origins")
    assert "1 are beyond it by more" in few.text


def test_dispersion_and_moran_are_those_of_loops() -> None:
    survey = small_survey(400, seed=3, origins=15)
    design = small_design("female", survey=survey, groups=[])
    of = places(design)
    posterior = laplace(design, survey=survey)
    expected = np.full((400, 3), [0.6, 0.3, 0.1])
    near = neighbours_of(posterior, of)
    chosen = design.choice[:, None].astype(np.int8)
    [spread], [moran] = (
        battery.statistic(chosen)
        for battery in (dispersion(design, of), spatial(design, of, near, expected))
    )
    frame, total = survey.frame, survey.frame["weight"].sum()
    names = sorted(frame["origin"].unique())
    region = frame.groupby("origin")["region"].first()
    for j, alternative in enumerate(ALTERNATIVES):
        shares, masses, left = {}, {}, {}
        for origin in names:
            rows = frame[frame["origin"] == origin]
            hit = (rows["choice"] == alternative).astype(float)
            masses[origin] = rows["weight"].sum() / total
            shares[origin] = (rows["weight"] * hit).sum() / rows["weight"].sum()
            left[origin] = (hit.mean() - expected[0, j]) * len(rows) ** 0.5
        middle = sum(masses[o] * shares[o] for o in names)
        variance = sum(masses[o] * (shares[o] - middle) ** 2 for o in names)
        assert spread[j] == pytest.approx(variance**0.5)
        absolute = sum(masses[o] * abs(shares[o] - middle) for o in names)
        assert spread[3 + j] == pytest.approx(absolute / variance**0.5)
        mean = sum(left.values()) / len(names)
        z = {o: left[o] - mean for o in names}
        beside = []
        for o in names:
            others = [p for p in names if p != o and region[p] == region[o]]
            beside.append(z[o] * sum(z[p] for p in others) / len(others))
        own = sum(v**2 for v in z.values()) / len(names)
        assert moran[j] == pytest.approx(sum(beside) / len(names) / own)


def placed(**neighbours: object) -> tuple[Survey, dict[str, tuple[float, float]]]:
    frame = small_frame(400, seed=4, origins=16)
    at = {f"o{g:02d}": (40 + g // 4, 20 + g % 4) for g in range(16)}
    frame["lat"] = [at[o][0] for o in frame["origin"]]
    frame["lon"] = [at[o][1] for o in frame["origin"]]
    roles = {r: r for r in ("choice", "origin", "region")}
    return (
        read_survey(
            frame,
            roles=roles,
            alternatives={a: a for a in ALTERNATIVES},
            neighbours=neighbours,
        ),
        at,
    )


def pairs_of(survey: Survey) -> dict[str, set[str]]:
    design = build_design(theory("female"), survey)
    of = places(design)
    near = neighbours_of(laplace(design, survey=survey), of).toarray()
    assert np.allclose(near.sum(axis=1), 1)
    return {a: {of.labels[k] for k in np.flatnonzero(near[i])} for i, a in enumerate(of.labels)}


def test_neighbours_are_not_taken_from_regions_where_the_survey_is_not_at_hand() -> None:
    survey = small_survey(400, origins=30)
    design = build_design(theory("female"), survey)
    posterior = laplace(design, survey=survey)
    assert neighbours_of(posterior, places(design)) is not None
    assert neighbours_of(replace(posterior, survey=None), places(design)) is None


def test_neighbours_by_coordinates_are_the_nearest() -> None:
    survey, at = placed(coordinates=["lat", "lon"], nearest=2)
    found = pairs_of(survey)
    # A corner of the grid: a degree of longitude is shorter than one of latitude here.
    assert "o01" in found["o00"]
    assert all(abs(at[a][0] - at[b][0]) <= 2 for a, others in found.items() for b in others)
    assert all(a in found[b] for a, others in found.items() for b in others)


def test_neighbours_do_not_depend_on_how_many_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    survey, _ = placed(coordinates=["lat", "lon"], nearest=3)
    whole = pairs_of(survey)
    monkeypatch.setattr("bayesmig.checks.origins._CHUNK", 5)
    assert pairs_of(survey) == whole


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"within": "lat", "pairs": [["a", "b"]]},
        {"within": "lat", "nearest": 3},
        {"coordinates": ["lat", "nowhere"]},
    ],
)
def test_neighbours_are_stated_in_one_way(wrong: dict[str, object]) -> None:
    with pytest.raises(BayesmigError, match=r"neighbours|nowhere|nearest"):
        placed(**wrong)


def test_neighbours_by_pairs_and_by_a_column() -> None:
    survey, _ = placed(pairs=[[f"o{g:02d}", f"o{g + 1:02d}"] for g in range(15)])
    assert pairs_of(survey)["o03"] == {"o02", "o04"}
    survey, at = placed(within="lat")
    assert pairs_of(survey)["o00"] == {o for o, (lat, _) in at.items() if lat == 40} - {"o00"}


def test_pairs_of_unknown_origins_are_refused() -> None:
    survey, _ = placed(pairs=[["here", "there"]])
    with pytest.raises(QuestionError, match="no pair of neighbours names two origins"):
        pairs_of(survey)


def test_new_groups_are_drawn_from_their_distribution() -> None:
    survey = small_survey(600, seed=5, origins=40)
    posterior = laplace(small_design("female", survey=survey), survey=survey)
    world = _of_new_groups(posterior, 200, 1)
    effects = world.coefficients.effects["origin"]
    own = posterior.coefficients().effects["origin"]
    assert effects.shape[0] == 200
    scale = posterior.draws["sigma_origin"].mean(("chain", "draw")).to_numpy().ravel()
    assert np.allclose(effects.std(axis=(0, 1)).ravel(), scale, rtol=0.1)
    # Not those of the survey's own origins.
    assert abs(np.corrcoef(effects.mean(0)[:, 0, 0], own.mean(0)[:, 0, 0])[0, 1]) < 0.5


# -------------------------------------------------------------------------------- worlds


def interaction() -> tuple[Survey, str]:
    """Education moves women and keeps men, and neither on average."""
    frame = small_frame(2400, seed=6)
    rng = np.random.default_rng(6)
    sign = 2 * frame["female"] - 1
    odds = np.column_stack([-1 + 0.15 * sign * frame["education"], np.full(2400, -1.6)])
    utility = np.column_stack([np.zeros(2400), odds]) + rng.gumbel(size=(2400, 3))
    frame["choice"] = np.array(ALTERNATIVES)[utility.argmax(axis=1)]
    return survey_of(frame), "female + education"


def left_out() -> tuple[Survey, str]:
    """Wealth matters, and the theory does not know it."""
    return small_survey(2400, seed=7), "female + education"


def both_streams() -> tuple[Survey, str]:
    """A third of households do what their first member does."""
    frame = small_frame(2400, seed=8)
    first = frame.groupby("household")["choice"].transform("first")
    follow = np.random.default_rng(1).random(len(frame)) < 0.35
    frame["choice"] = frame["choice"].where(~follow, first)
    return survey_of(frame), EVERYTHING


def in_space() -> tuple[Survey, str]:
    """Origins of a region share their effects."""
    frame = small_frame(3000, seed=9, origins=60)
    place = frame["origin"].str[1:].astype(int)
    frame["region"] = "r" + (place // 6).astype(str)
    rng = np.random.default_rng(9)
    shared = rng.normal(0, 0.8, (10, 2))[(place // 6).to_numpy()]
    utility = np.column_stack([np.zeros(3000), np.array([-1.0, -1.6]) + shared])
    utility = utility + rng.gumbel(size=(3000, 3))
    frame["choice"] = np.array(ALTERNATIVES)[utility.argmax(axis=1)]
    return survey_of(frame), "female"


def state_dependence() -> tuple[Survey, str]:
    return survey_of(panel(again=0.3)), "wealth"


@pytest.mark.parametrize(
    ("world", "name", "words"),
    [
        (interaction, "posterior predictive crossed shares", "female"),
        (left_out, "composition of choosers", "wealth"),
        (both_streams, "streams of households", "of households have"),
        (in_space, "spatial structure", "Moran"),
        (state_dependence, "transitions", "after"),
    ],
)
def test_a_planted_misfit_fails_its_check(
    world: Callable[[], tuple[Survey, str]], name: str, words: str
) -> None:
    survey, persons = world()
    result = found(survey, persons)[name]
    assert result.passed is False
    assert words in result.text
    assert (result.table["p_adjusted"] <= 0.05).any()


def test_dispersion_fails_where_origins_are_taken_for_one() -> None:
    survey = small_survey(2400, seed=10, origins=80)
    assert found(survey, groups=[])["dispersion of origins"].passed is False


def test_exchangeable_origins_are_no_spatial_structure() -> None:
    """Origins that the theory leaves out differ, but neighbours not less than others."""
    survey = small_survey(2400, seed=11, origins=80)
    assert found(survey, groups=[])["spatial structure"].passed is True


def test_chance_alone_is_no_transition() -> None:
    result = found(survey_of(panel(again=0.0)), "wealth")["transitions"]
    assert result.passed is True
    assert result.table["rows"].groupby(result.table["before"]).first().sum() == 1400


def test_examples_of_a_failure_are_not_what_lies_within_its_interval() -> None:
    """A cell of one row has an interval without width, and nothing is wrong with it."""
    table = pd.DataFrame(
        {
            "observed": [0.0, 0.3, 0.5],
            "predicted": [0.02, 0.1, 0.1],
            "lower": [0.0, 0.05, 0.05],
            "upper": [0.0, 0.2, 0.2],
            "p_value": [1.0, 0.01, 0.001],
        }
    )
    assert furthest(table).index.tolist() == [2, 1, 0]


def test_signs_of_groups_turn_residuals_of_their_rows() -> None:
    rng = np.random.default_rng(2)
    p, groups = rng.uniform(0.1, 0.9, 300), rng.integers(0, 25, 300)
    curve = reliability._curve(0, p)
    chosen = (rng.random(300) < p).astype(float)
    signs = np.stack([np.ones(25), -np.ones(25), rng.choice([-1.0, 1.0], 25)])
    found = curve.flipped(chosen - p, groups, signs)
    for d, s in enumerate(signs):
        made = p + s[groups] * (chosen - p)
        wanted = [made[curve.cells.codes == c].mean() for c in range(len(curve.predicted))]
        np.testing.assert_allclose(found[d], wanted, atol=1e-12)
    # Where no sign changes, these are the shares of those who chose.
    shares = curve.shares((chosen == 0).astype(np.int8)[:, None])[0]
    np.testing.assert_allclose(found[0], shares, atol=1e-12)
