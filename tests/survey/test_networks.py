"""Exposure against loops over persons."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import SurveyError
from bayesmig.survey.networks import (
    community_exposure,
    exposure,
    household_exposure,
)
from bayesmig.survey.reflection import refuse_choosers


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


# ------------------------------------------------------------- own and other groups


def with_trait(n: int = 150) -> pd.DataFrame:
    frame = persons(n)
    trait = pd.Series(np.random.default_rng(9).choice(["a", "b", "c"], n), index=frame.index)
    return frame.assign(trait=trait.mask(np.arange(n) % 17 == 3))


def sides_by_loops(frame: pd.DataFrame, own: str | None, side: str, share: bool) -> list[float]:
    rows = frame.to_dict("records")
    result = []
    for i, one in enumerate(rows):
        movers = heads = 0
        for j, other in enumerate(rows):
            if other["community"] != one["community"] or math.isnan(other["prior"]):
                continue
            if not isinstance(other["trait"], str) or not isinstance(one["trait"], str):
                continue
            left_out = i == j if own is None else other[own] == one[own]
            if not left_out and (other["trait"] == one["trait"]) == (side == "own"):
                heads += 1
                movers += other["prior"]
        unknown = not isinstance(one["trait"], str) or (share and not heads)
        result.append(math.nan if unknown else movers / heads if share else movers)
    return result


@pytest.mark.parametrize("own", ["household", None])
@pytest.mark.parametrize("side", ["own", "other"])
@pytest.mark.parametrize("measure", ["share", "count"])
def test_sides_by_loops(own: str | None, side: str, measure: str) -> None:
    frame = with_trait()
    found = exposure(
        frame, prior="prior", group="community", own=own, by="trait", side=side, measure=measure
    )
    expected = sides_by_loops(frame, own, side, measure == "share")
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_both_sides_are_the_whole() -> None:
    frame = with_trait().dropna(subset=["trait"])
    keys = {"prior": "prior", "group": "community", "own": "household", "measure": "count"}
    sides = [exposure(frame, **keys, by="trait", side=side) for side in ("own", "other")]
    np.testing.assert_allclose(sides[0] + sides[1], exposure(frame, **keys), atol=1e-12)
    # Other names of the traits are the same traits.
    renamed = frame.assign(trait=frame["trait"].map({"a": "z", "b": "a", "c": "b"}))
    again = exposure(renamed, **keys, by="trait", side="other")
    np.testing.assert_array_equal(again, sides[1])


def test_sides_are_not_the_whole() -> None:
    """A negative control: a trait that moves is seen on its own side only."""
    frame = with_trait().dropna(subset=["trait"])
    moved = frame.assign(prior=frame["prior"].where(frame["trait"] != "a", 1.0))
    keys = {"group": "community", "own": "household", "by": "trait", "prior": "prior"}
    of_a = frame["trait"] == "a"
    own = [exposure(f, **keys, side="own") for f in (frame, moved)]
    other = [exposure(f, **keys, side="other") for f in (frame, moved)]
    np.testing.assert_array_equal(own[0][~of_a], own[1][~of_a])
    np.testing.assert_array_equal(other[0][of_a], other[1][of_a])
    assert (own[0][of_a] != own[1][of_a]).any()
    assert (other[0][~of_a] != other[1][~of_a]).any()


# ------------------------------------------------------------- of whom a network consists


def among_by_loops(frame: pd.DataFrame, own: str | None, share: bool) -> list[float]:
    rows = frame.to_dict("records")
    result = []
    for i, one in enumerate(rows):
        movers = heads = 0
        for j, other in enumerate(rows):
            left_out = i == j if own is None else other[own] == one[own]
            alike = other["community"] == one["community"] and other["woman"] == 1
            if alike and not left_out and not math.isnan(other["prior"]):
                heads += 1
                movers += other["prior"]
        result.append(math.nan if share and not heads else movers / heads if share else movers)
    return result


def with_women(n: int = 150) -> pd.DataFrame:
    frame = persons(n)
    woman = pd.Series(np.random.default_rng(4).integers(0, 2, n), index=frame.index, dtype=float)
    return frame.assign(woman=woman.mask(np.arange(n) % 19 == 5))


@pytest.mark.parametrize("own", ["household", None])
@pytest.mark.parametrize("measure", ["share", "count"])
def test_networks_of_some_by_loops(own: str | None, measure: str) -> None:
    frame = with_women()
    keys = {"prior": "prior", "group": "community", "own": own, "measure": measure}
    found = exposure(frame, **keys, among="woman")
    np.testing.assert_allclose(found, among_by_loops(frame, own, measure == "share"), atol=1e-12)
    # Men have an exposure to women too, and what men did does not count.
    assert found[frame["woman"] == 0].notna().any()
    other = frame.assign(prior=frame["prior"].where(frame["woman"] == 1, 1 - frame["prior"]))
    np.testing.assert_array_equal(exposure(other, **keys, among="woman"), found)
    assert (exposure(other, **keys) != exposure(frame, **keys)).any()


@pytest.mark.parametrize("name", ["woman", "{woman}", "{"])
def test_of_whom_is_told_by_zero_and_one(name: str) -> None:
    frame = with_women().assign(**{name: 2.0})
    with pytest.raises(SurveyError, match=re.escape(f"{name!r} holds 2; 0 or 1")) as err:
        exposure(frame, prior="prior", group="community", among=name)
    assert f"[recode.{name}_only]" in err.value.mend
    choice = pd.Series(pd.Categorical(["stay"] * len(frame)))
    with pytest.raises(SurveyError, match=re.escape(f"{name!r} holds 2; 0 or 1")):
        refuse_choosers(frame[name], choice, name=name)
