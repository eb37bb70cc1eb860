"""Relative deprivation and income risk against loops over households."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import SurveyError
from bayesmig.survey.incomes import income_risk, relative_deprivation

PERIODS = ("2000", "2003", "2007", "2009")


def persons(n_homes: int = 60, seed: int = 5) -> pd.DataFrame:
    """Households of one to four members in seven places, asked in four periods, some not."""
    rng = np.random.default_rng(seed)
    rows = []
    for home in range(n_homes):
        place, members = f"p{rng.integers(7)}", int(rng.integers(1, 5))
        for period in PERIODS:
            if rng.random() < 0.2:
                continue
            income = math.nan if rng.random() < 0.1 else round(float(rng.lognormal(7, 0.8)), 1)
            weight = float(rng.gamma(2.0, 1.0))
            rows += [
                {
                    "household": f"h{home}",
                    "place": place,
                    "period": period,
                    "income": income,
                    "weight": weight + 0.1 * member,
                }
                for member in range(members)
            ]
    frame = pd.DataFrame(rows)
    frame["household"] = frame["household"].mask(frame.index % 41 == 7)
    frame.index = pd.RangeIndex(300, 300 + len(frame))
    return frame


KEYS = {"income": "income", "group": ["place", "period"], "household": "household"}


def deprivation_by_loops(frame: pd.DataFrame, *, weight: bool, mean: bool) -> list[float]:
    rows = frame.to_dict("records")
    result = []
    for one in rows:
        homes: dict[str, list[dict[str, float]]] = {}
        for other in rows:
            together = other["place"] == one["place"] and other["period"] == one["period"]
            known = isinstance(other["household"], str) and not math.isnan(other["income"])
            if together and known:
                homes.setdefault(other["household"], []).append(other)
        if len(homes) < 2 or not isinstance(one["household"], str) or math.isnan(one["income"]):
            result.append(math.nan)
            continue
        short = total = all_income = 0.0
        for members in homes.values():
            w = statistics.fmean(m["weight"] for m in members) if weight else 1.0
            y = members[0]["income"]
            short += w * max(y - one["income"], 0)
            all_income += w * y
            total += w
        result.append(short / total / (all_income / total if mean else 1))
    return result


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("per", ["unit", "mean"])
def test_deprivation_by_loops(weight: bool, per: str) -> None:
    frame = persons()
    found = relative_deprivation(frame, **KEYS, weight="weight" if weight else None, per=per)
    expected = deprivation_by_loops(frame, weight=weight, mean=per == "mean")
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert found.index.equals(frame.index)
    assert 50 < found.notna().sum() < len(frame)


def test_the_definition_of_stark() -> None:
    """(1 − F(y)) E[x − y | x > y]; 0 for the richest; the same for equals."""
    frame = pd.DataFrame({"income": [10.0, 20.0, 20.0, 50.0], "g": "a"})
    found = relative_deprivation(frame, income="income", group=["g"])
    np.testing.assert_allclose(found, [0.75 * (10 + 10 + 40) / 3, 0.25 * 30, 0.25 * 30, 0])


def test_the_mean_is_the_mean_income_times_gini() -> None:
    """Yitzhaki's identity; Gini by its definition over pairs."""
    rng = np.random.default_rng(2)
    y, w = rng.lognormal(0, 1, 80), rng.gamma(2, 1, 80)
    frame = pd.DataFrame({"income": y, "g": "a", "weight": w})
    found = relative_deprivation(frame, income="income", group=["g"], weight="weight")
    p = w / w.sum()
    gini = sum(p[i] * p[j] * abs(y[i] - y[j]) for i in range(80) for j in range(80)) / (2 * (p @ y))
    assert p @ found.to_numpy() == pytest.approx(p @ y * gini, rel=1e-12)


def test_deprivation_does_not_depend_on_order_members_or_labels() -> None:
    frame = persons()
    found = relative_deprivation(frame, **KEYS)
    shuffled = frame.sample(frac=1, random_state=1)
    np.testing.assert_allclose(
        relative_deprivation(shuffled, **KEYS)[frame.index], found, rtol=1e-12, atol=1e-12
    )
    # More members make no household count more.
    twice = pd.concat([frame, frame[frame["household"] == "h3"]], ignore_index=True)
    np.testing.assert_allclose(
        relative_deprivation(twice, **KEYS)[: len(frame)], found, rtol=1e-12, atol=1e-12
    )
    labels = {place: f"q{i}" for i, place in enumerate(sorted(set(frame["place"]), reverse=True))}
    renamed = frame.assign(place=frame["place"].map(labels), household="x" + frame["household"])
    np.testing.assert_array_equal(relative_deprivation(renamed, **KEYS), found)


def test_deprivation_of_units() -> None:
    """In other money it is as many times as large, over the mean the same."""
    frame = persons()
    other = frame.assign(income=frame["income"] * 7)
    for per, factor in (("unit", 7), ("mean", 1)):
        a, b = (relative_deprivation(f, **KEYS, per=per) for f in (frame, other))
        np.testing.assert_allclose(b, factor * a, rtol=1e-9, atol=1e-12)


def test_counting_members_would_be_seen() -> None:
    """A negative control: counting persons in the place of households differs."""
    frame = persons()
    per_person = relative_deprivation(frame, income="income", group=["place", "period"])
    assert not np.allclose(per_person, relative_deprivation(frame, **KEYS), equal_nan=True)


def test_members_with_different_incomes_are_refused() -> None:
    frame = persons()
    row = frame.index[frame.duplicated(["household", "period"]) & frame["income"].notna()][0]
    frame.loc[row, "income"] += 1
    for refuse in (
        lambda: relative_deprivation(frame, **KEYS),
        lambda: income_risk(frame, **RISK),
    ):
        with pytest.raises(SurveyError, match="members of one household have different") as err:
            refuse()
        assert f"rows {row - 300}" in err.value.where[1]


def test_a_mean_that_is_not_positive_is_refused() -> None:
    frame = pd.DataFrame({"income": [-3.0, 1.0], "g": "a"})
    assert relative_deprivation(frame, income="income", group=["g"]).tolist() == [2.0, 0.0]
    with pytest.raises(SurveyError, match="the mean of 'income' in a reference group is -1"):
        relative_deprivation(frame, income="income", group=["g"], per="mean")


# ------------------------------------------------------------------------------- risk

RISK = {"income": "income", "household": "household", "period": "period", "periods": PERIODS}


def risk_by_loops(frame: pd.DataFrame, measure: str, window: str, least: int) -> list[float]:
    rows = frame.to_dict("records")
    result = []
    for one in rows:
        incomes: dict[str, float] = {}
        for other in rows:
            here, there = PERIODS.index(one["period"]), PERIODS.index(other["period"])
            seen = {"before": there < here, "to_now": there <= here, "all": True}[window]
            if other["household"] == one["household"] and seen:
                if not math.isnan(other["income"]):
                    incomes[other["period"]] = other["income"]
        values = list(incomes.values())
        if len(values) < least or not isinstance(one["household"], str):
            result.append(math.nan)
        elif measure == "cv":
            result.append(statistics.stdev(values) / statistics.fmean(values))
        else:
            result.append(statistics.variance([math.log(v) for v in values]))
    return result


@pytest.mark.parametrize("measure", ["cv", "log_variance"])
@pytest.mark.parametrize("window", ["before", "to_now", "all"])
@pytest.mark.parametrize("least", [2, 3])
def test_risk_by_loops(measure: str, window: str, least: int) -> None:
    frame = persons()
    found = income_risk(frame, **RISK, measure=measure, window=window, least=least)
    expected = risk_by_loops(frame, measure, window, least)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert found.notna().sum() > 20
    assert found.index.equals(frame.index)


def test_risk_does_not_see_the_present_or_the_future() -> None:
    """A negative control: later incomes change what "all" says, and nothing else."""
    frame = persons()
    late = frame["period"] >= "2007"
    other = frame.assign(income=frame["income"].where(~late, frame["income"] * 3 + 5))
    now = frame["period"] == "2007"
    for window, same in (("before", True), ("to_now", False), ("all", False)):
        a, b = (income_risk(f, **RISK, window=window)[now] for f in (frame, other))
        assert np.array_equal(a, b, equal_nan=True) == same


def test_risk_does_not_depend_on_order_members_or_money() -> None:
    frame = persons()
    for measure in ("cv", "log_variance"):
        found = income_risk(frame, **RISK, measure=measure)
        shuffled = income_risk(frame.sample(frac=1, random_state=4), **RISK, measure=measure)
        np.testing.assert_allclose(shuffled[frame.index], found, rtol=1e-9)
        twice = pd.concat([frame, frame], ignore_index=True)
        np.testing.assert_allclose(
            income_risk(twice, **RISK, measure=measure)[: len(frame)], found, rtol=1e-9
        )
        richer = frame.assign(income=frame["income"] * 100)
        np.testing.assert_allclose(income_risk(richer, **RISK, measure=measure), found, rtol=1e-9)


def test_incomes_without_a_log_or_a_mean_are_refused() -> None:
    frame = pd.DataFrame(
        {"income": [5.0, -5.0, 1.0], "household": "h", "period": ["2000", "2003", "2007"]}
    )
    with pytest.raises(SurveyError, match="the log of 'income' is asked, which is -5") as err:
        income_risk(frame, **RISK, measure="log_variance")
    assert err.value.where == ("column 'income'", "rows 1")
    with pytest.raises(SurveyError, match="is not positive: no coefficient of variation") as err:
        income_risk(frame, **RISK)
    assert err.value.where == ("column 'income'", "rows 2")


def test_absent_columns_are_named() -> None:
    with pytest.raises(SurveyError, match="no column 'incme' to compute an income from"):
        relative_deprivation(persons(), income="incme", group=["place"])
