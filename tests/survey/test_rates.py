"""Lagged rates of places against loops; the same period cannot leak into them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import SpecError, SurveyError
from bayesmig.survey.rates import lagged_rate, periods_in_order

PERIODS = ("1", "2", "3", "10")


def deciders(n: int = 220, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    left = rng.integers(0, 2, n).astype("float64")
    left[rng.random(n) < 0.1] = np.nan
    frame = pd.DataFrame(
        {
            "left": left,
            "place": [f"p{i}" for i in rng.integers(0, 5, n)],
            "at": [f"p{i}" for i in rng.integers(0, 7, n)],
            "period": rng.choice(PERIODS, n),
            "own": [f"h{i}" for i in rng.integers(0, 25, n)],
            "weight": rng.gamma(2.0, 1.0, n),
        },
        index=range(900, 900 + n),
    )
    for column, row in (("place", 3), ("at", 5), ("period", 8), ("own", 11)):
        frame.loc[frame.index[row], column] = None
    return frame


KEYS = {"left": "left", "place": "place", "period": "period", "periods": PERIODS}


def by_loops(frame: pd.DataFrame, at: str, lag: int, own: bool, weight: bool) -> list[float]:
    rows = frame.to_dict("records")
    text = lambda value: isinstance(value, str)  # noqa: E731
    result = []
    for one in rows:
        needed = [one[at], one["period"], *([one["own"]] if own else [])]
        movers = heads = 0.0
        if all(map(text, needed)):
            when = PERIODS.index(one["period"]) - lag
            for other in rows:
                if not text(other["period"]) or PERIODS.index(other["period"]) != when:
                    continue
                same = own and other["own"] == one["own"]
                if other["place"] == one[at] and not same and not math.isnan(other["left"]):
                    w = other["weight"] if weight else 1.0
                    heads += w
                    movers += w * other["left"]
        result.append(movers / heads if heads else math.nan)
    return result


@pytest.mark.parametrize("at", ["place", "at"])
@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("weight", [True, False])
def test_rates_by_loops(at: str, lag: int, own: bool, weight: bool) -> None:
    frame = deciders()
    found = lagged_rate(
        frame, **KEYS, at=at, lag=lag,
        own="own" if own else None, weight="weight" if weight else None,
    )  # fmt: skip
    np.testing.assert_allclose(found, by_loops(frame, at, lag, own, weight), atol=1e-12)
    assert found.index.equals(frame.index)
    assert 40 < found.notna().sum() < len(frame)


def test_the_same_and_later_periods_do_not_matter() -> None:
    """A negative control: turned choices of a period leave its own rates alone, not the next's."""
    frame = deciders()
    now = frame["period"] == "3"
    turned = frame.assign(left=(1 - frame["left"]).where(now, frame["left"]))
    before, after = lagged_rate(frame, **KEYS), lagged_rate(turned, **KEYS)
    to_now = frame["period"].isin(["1", "2", "3"])
    np.testing.assert_array_equal(before[to_now], after[to_now])
    assert (before[frame["period"] == "10"] != after[frame["period"] == "10"]).any()


@pytest.mark.parametrize("lag", [0, -1])
def test_the_same_period_is_refused(lag: int) -> None:
    with pytest.raises(SpecError, match="contains the own choice"):
        lagged_rate(deciders(), **KEYS, lag=lag)


def test_rates_do_not_depend_on_order_or_labels() -> None:
    frame = deciders()
    found = lagged_rate(frame, **KEYS, at="at", own="own")
    shuffled = lagged_rate(frame.sample(frac=1, random_state=3), **KEYS, at="at", own="own")
    np.testing.assert_allclose(shuffled[frame.index], found, rtol=1e-12)
    other = frame.assign(place="z" + frame["place"], at="z" + frame["at"])
    np.testing.assert_array_equal(lagged_rate(other, **KEYS, at="at", own="own"), found)


def test_doubled_deciders_change_nothing() -> None:
    frame = deciders()
    twice = pd.concat([frame, frame], ignore_index=True)
    found = lagged_rate(frame, **KEYS)
    np.testing.assert_allclose(lagged_rate(twice, **KEYS)[: len(frame)], found, rtol=1e-12)


def test_what_is_no_move_is_refused() -> None:
    with pytest.raises(SurveyError, match="0 or 1 was expected"):
        lagged_rate(deciders().assign(left=2.0), **KEYS)
    with pytest.raises(SurveyError, match="no column 'plce' to compute a rate from"):
        lagged_rate(deciders(), **(KEYS | {"place": "plce"}))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["10", "9", "-1", None], ("-1", "9", "10")),
        (["2001-10", "2001-09", "1999-12"], ("1999-12", "2001-09", "2001-10")),
        (["2010", "1999"], ("1999", "2010")),
        (["1.5", "10", "9"], ("1.5", "9", "10")),
    ],
)
def test_periods_in_order(labels: list[str | None], expected: tuple[str, ...]) -> None:
    assert periods_in_order(pd.Series(labels, dtype="str")) == expected


def test_periods_of_text_need_an_order() -> None:
    labels = pd.Series(["wave a", "wave b"], dtype="str")
    with pytest.raises(SurveyError, match="show no order: 'wave a', 'wave b'"):
        periods_in_order(labels)
    assert periods_in_order(labels, ["wave b", "wave a"]) == ("wave b", "wave a")
    with pytest.raises(SurveyError, match="'wave b' is not in the stated order"):
        periods_in_order(labels, ["wave a"])
    with pytest.raises(SpecError, match="a period stands twice"):
        periods_in_order(labels, ["wave a", "wave a", "wave b"])
