"""Exposure against loops over persons; what contains the own choice is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import SurveyError
from bayesmig.survey.networks import (
    community_exposure,
    exposure,
    household_exposure,
    refuse_contemporaneous,
)


def persons(n: int = 120, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    prior = rng.integers(0, 2, n).astype("float64")
    prior[rng.random(n) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "prior": prior,
            "household": rng.integers(0, 30, n).astype(str),
            "community": rng.integers(0, 7, n).astype(str),
            "period": rng.integers(0, 2, n).astype(str),
            "weight": rng.gamma(2.0, 1.0, n),
        },
        index=range(500, 500 + n),
    )


def by_loops(
    frame: pd.DataFrame, group: str, own: str | None, period: bool, weight: bool, share: bool
) -> list[float]:
    rows = frame.to_dict("records")
    result = []
    for i, one in enumerate(rows):
        movers = heads = 0.0
        for j, other in enumerate(rows):
            together = other[group] == one[group] and (
                not period or other["period"] == one["period"]
            )
            same = i == j if own is None else together and other[own] == one[own]
            if together and not same and not math.isnan(other["prior"]):
                heads += other["weight"] if weight else 1
                movers += (other["weight"] if weight else 1) * other["prior"]
        result.append((movers / heads if heads else math.nan) if share else movers)
    return result


@pytest.mark.parametrize("own", ["household", None])
@pytest.mark.parametrize("period", [True, False])
@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("share", [True, False])
def test_exposure_by_loops(own: str | None, period: bool, weight: bool, share: bool) -> None:
    frame = persons()
    found = exposure(
        frame,
        prior="prior",
        group="community",
        own=own,
        period="period" if period else None,
        weight="weight" if weight else None,
        measure="share" if share else "count",
    )
    expected = by_loops(frame, "community", own, period, weight, share)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.index.equals(frame.index)


def test_the_two_named_ones() -> None:
    frame = persons()
    found = household_exposure(frame, prior="prior", household="household", period="period")
    np.testing.assert_allclose(found, by_loops(frame, "household", None, True, False, False))
    found = community_exposure(
        frame, prior="prior", household="household", community="community", period="period"
    )
    expected = by_loops(frame, "community", "household", True, False, True)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_own_moves_do_not_matter() -> None:
    """A negative control: changing one household's moves leaves its own exposure alone."""
    frame = persons()
    changed = frame.copy()
    own = frame["household"] == frame["household"].iloc[0]
    changed.loc[own, "prior"] = 1 - changed.loc[own, "prior"]
    keys = {"prior": "prior", "household": "household", "community": "community"}
    before, after = community_exposure(frame, **keys), community_exposure(changed, **keys)
    np.testing.assert_array_equal(before[own], after[own])
    assert (before[~own] != after[~own]).any()


def test_alone_and_unplaced() -> None:
    frame = pd.DataFrame(
        {
            "prior": [1.0, 0.0, 1.0, 1.0],
            "household": ["a", "a", None, "b"],
            "community": ["x", "x", "y", None],
        }
    )
    keys = {"prior": "prior", "household": "household", "community": "community"}
    assert community_exposure(frame, **keys).isna().all()
    counts = community_exposure(frame, measure="count", **keys)
    np.testing.assert_array_equal(counts, [0, 0, np.nan, np.nan])


def test_input_is_not_changed() -> None:
    frame = persons()
    before = frame.copy(deep=True)
    exposure(frame, prior="prior", group="community")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("change", "keys", "what"),
    [
        ({}, {"community": "comunity"}, "no column 'comunity'"),
        ({"prior": 2.0}, {}, "holds 2; 0 or 1 was expected"),
        ({"prior": "yes"}, {}, "holds text where numbers are needed: 'yes'"),
        ({"weight": -1.0}, {"weight": "weight"}, "missing, infinite or negative"),
        ({"weight": np.nan}, {"weight": "weight"}, "missing, infinite or negative"),
    ],
)
def test_refusals(change: dict[str, object], keys: dict[str, str], what: str) -> None:
    stated = {"prior": "prior", "household": "household", "community": "community"} | keys
    with pytest.raises(SurveyError, match=what):
        community_exposure(persons().assign(**change), **stated)


# -------------------------------------------------------------------------- reflection

ALTERNATIVES = ["stay", "internal", "international"]


def choices(n: int = 900) -> pd.Series:
    drawn = np.random.default_rng(5).choice(ALTERNATIVES, n, p=[0.8, 0.15, 0.05])
    return pd.Series(pd.Categorical(drawn, categories=ALTERNATIVES))


@pytest.mark.parametrize(
    "alternatives", [["internal"], ["international"], ["internal", "international"], ["stay"]]
)
def test_the_choice_itself_is_refused(alternatives: list[str]) -> None:
    choice = choices()
    prior = choice.isin(alternatives).astype("float64")
    prior[::7] = np.nan
    with pytest.raises(SurveyError, match=r"is the choice itself.*reflection problem"):
        refuse_contemporaneous(prior, choice, name="moved")


def earlier(choice: pd.Series, seed: int = 6, share: float = 0.2) -> pd.Series:
    """Moves that have nothing to do with the choice."""
    return pd.Series(np.random.default_rng(seed).random(len(choice)) < share, dtype="float64")


def noisy(choice: pd.Series) -> pd.Series:
    """Own moves of the period, of any kind, with 2 % lost."""
    kept = np.random.default_rng(7).random(len(choice)) < 0.98
    return np.maximum(earlier(choice), (choice != "stay") & kept).astype("float64")


INCLUDES_NOW = {
    "ever moved": (choices(), lambda c: np.maximum(earlier(c), c == "internal")),
    "few movers": (choices(110), lambda c: np.maximum(earlier(c), c == "internal")),
    "few movers of two kinds": (choices(80), lambda c: np.maximum(earlier(c), c != "stay")),
    "with noise": (choices(), noisy),
    "coded for movers only": (choices(), lambda c: (c == "internal").where(c == "internal")),
}


@pytest.mark.parametrize(("choice", "prior"), INCLUDES_NOW.values(), ids=INCLUDES_NOW)
def test_moves_that_include_the_present_one_are_refused(choice: pd.Series, prior: Any) -> None:
    with pytest.raises(SurveyError, match="seems to count the present one"):
        refuse_contemporaneous(prior(choice).astype("float64"), choice, name="ever")


@pytest.mark.parametrize("share", [0.6, 0.75, 0.9])
@pytest.mark.parametrize("n", [60, 200, 2_000])
def test_earlier_moves_pass_even_when_they_predict_well(share: float, n: int) -> None:
    """Persons who move often: the share of present movers who moved before, over many samples."""
    refused = 0
    for seed in range(100):
        drawn = np.random.default_rng(seed).choice(ALTERNATIVES, n, p=[0.8, 0.15, 0.05])
        choice = pd.Series(pd.Categorical(drawn, categories=ALTERNATIVES))
        prior = earlier(choice, seed).where(choice == "stay", earlier(choice, seed + 1, share))
        try:
            refuse_contemporaneous(prior, choice, name="prior")
        except SurveyError:
            refused += 1
    assert refused <= (1 if share < 0.9 or n > 500 else 25)


def test_nobody_moved_before() -> None:
    refuse_contemporaneous(pd.Series(np.zeros(900)), choices(), name="nobody")
