"""What contains the present choice is found; what only goes with it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import SurveyError
from bayesmig.survey.reflection import mirrors, refuse_contemporaneous

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


# ----------------------------------------------------- shares of those who choose now


def people(n: int = 600, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    household = np.arange(n) // 4
    return pd.DataFrame(
        {
            "choice": choices(n),
            "origin": (household // 5).astype(str),
            "period": rng.integers(0, 2, n).astype(str),
            "household": household.astype(str),
            "weight": rng.gamma(3, 1, n),
        }
    )


def share_by_loops(frame: pd.DataFrame, key: list[str], chosen: list[str], own: str) -> list[float]:
    rows = frame.to_dict("records")
    result = []
    for i, one in enumerate(rows):
        near = [
            o["choice"] in chosen
            for j, o in enumerate(rows)
            if all(o[k] == one[k] for k in key)
            and not (own == "row" and i == j)
            and not (own == "household" and o["household"] == one["household"])
        ]
        result.append(sum(near) / len(near) if near else np.nan)
    return result


SHARES = {
    "with the own row": (["origin", "period"], ["internal"], ""),
    "the own row left out": (["origin", "period"], ["internal"], "row"),
    "the own household left out": (["origin", "period"], ["international"], "household"),
    "of any move": (["origin", "period"], ["internal", "international"], "row"),
    "over periods": (["origin"], ["internal"], ""),
    "of stayers": (["origin", "period"], ["stay"], ""),
}


@pytest.mark.parametrize(("key", "chosen", "own"), SHARES.values(), ids=SHARES)
def test_shares_of_the_present_choice_are_found(
    key: list[str], chosen: list[str], own: str
) -> None:
    frame = people()
    share = pd.Series(share_by_loops(frame, key, chosen, own))
    noise = pd.Series(np.random.default_rng(1).normal(0, 0.0005, len(share)))
    columns = {"share": 100 * share + 3, "rounded": share.round(3), "noisy": share + noise}
    found = {m.column: m for m in mirrors(frame, columns)}
    assert found.keys() == columns.keys()
    assert found["share"].exact and not found["noisy"].exact
    alternatives = [a for a in ALTERNATIVES[1:] if a in chosen or chosen == ["stay"]]
    assert " or ".join(map(repr, alternatives)) in str(found["share"].share)


def test_weighted_shares_are_found() -> None:
    frame = people()
    moved = (frame["choice"] == "internal") * frame["weight"]
    by = [frame["origin"], frame["period"]]
    sums = [v.groupby(by).transform("sum") for v in (moved, frame["weight"])]
    (found,) = mirrors(frame, {"share": sums[0] / sums[1]})
    assert found.exact


@pytest.mark.parametrize("seed", range(10))
def test_what_only_goes_with_the_share_is_no_mirror(seed: int) -> None:
    """Earlier shares, attributes of places, of persons, and the choice itself."""
    frame = people(seed=seed)
    rng = np.random.default_rng(seed)
    place = frame["origin"].astype(int).to_numpy()
    now = (frame["choice"] == "internal").astype("float64")
    share = now.groupby(frame["origin"]).transform("mean")
    columns = {
        "earlier": pd.Series(earlier(frame["choice"], seed))
        .groupby(frame["origin"])
        .transform("mean"),
        "persistent": share + 0.1 * share.std() * rng.normal(size=30)[place],
        "urban": pd.Series((place < 15) * 1.0),
        "age": pd.Series(rng.integers(15, 60, len(frame))),
        "constant": pd.Series(np.ones(len(frame))),
        "the choice": now,
    }
    assert mirrors(frame, columns) == ()


@pytest.mark.parametrize("places", [2, 5])
def test_few_places_show_nothing(places: int) -> None:
    """In two places, any attribute of the place goes with the share."""
    frame = people().drop(columns="period")
    place = np.arange(len(frame)) % places
    column = pd.Series(place * 1.0)
    assert mirrors(frame.assign(origin=place.astype(str)), {"urban": column}) == ()


def test_large_surveys_are_tried_in_some_origins_first() -> None:
    frame = people(60_000)
    now = (frame["choice"] == "internal").astype("float64")
    share = now.groupby([frame["origin"], frame["period"]]).transform("mean")
    half = share.where(frame.index < 30_000, 0.2)
    found = mirrors(frame, {"share": share, "of half": half})
    assert [m.column for m in found] == ["share"]
