"""The description: its numbers by hand, each warning with a control that stays silent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.survey.describe import effective_rows
from bayesmig.survey.survey import Survey, read_survey

ROLES = {
    "choice": "y",
    "person": "pid",
    "household": "hid",
    "origin": "place",
    "region": "land",
    "period": "year",
    "weight": "w",
}


def microdata(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "y": rng.choice(["s", "i", "a"], n, p=[0.8, 0.15, 0.05]),
            "pid": np.arange(n),
            "hid": np.arange(n) // 2,
            "place": np.arange(n) // 20,
            "land": np.arange(n) // 200,
            "year": 2000,
            "w": rng.gamma(9, 1, n),
            "age": rng.integers(15, 60, n),
        }
    )


def survey(frame: pd.DataFrame | None = None, **changes: Any) -> Survey:
    keys: dict[str, Any] = {
        "title": "described",
        "roles": ROLES,
        "alternatives": {"stay": "s", "internal": "i", "international": "a"},
        "missing": {"rule": "drop"},
    }
    return read_survey(microdata() if frame is None else frame, **(keys | changes))


def test_shares_by_hand() -> None:
    frame = microdata()
    tables = survey().describe().tables
    shares = tables["shares"].set_index("alternative")
    for alternative, code in (("stay", "s"), ("internal", "i"), ("international", "a")):
        hit = frame["y"] == code
        assert shares.loc[alternative, "rows"] == hit.sum()
        assert shares.loc[alternative, "share"] == pytest.approx(hit.mean(), abs=1e-4)
        weighted = frame["w"][hit].sum() / frame["w"].sum()
        assert shares.loc[alternative, "weighted share"] == pytest.approx(weighted, abs=1e-4)
    regions = tables["shares by region"].set_index("region")
    part = frame[frame["land"] == 1]
    assert regions.loc["1", "share internal"] == pytest.approx((part["y"] == "i").mean(), abs=1e-4)
    in_part = part["w"][part["y"] == "i"].sum() / part["w"].sum()
    assert regions.loc["1", "weighted internal"] == pytest.approx(in_part, abs=1e-4)


def test_shares_of_many_levels_are_summed_up() -> None:
    frame = microdata(1_000)
    tables = survey(frame, roles=ROLES | {"psu": "place"}).describe().tables
    assert "shares by period" in tables and "shares by origin" not in tables
    # The psu's column is the origin's, and shown once.
    across = tables["shares across many levels"].set_index("alternative")
    assert set(across["role"]) == {"origin"} and set(across["levels"]) == {50}
    by_place = [g for _, g in frame.groupby("place")]
    shares = sorted((g["y"] == "i").mean() for g in by_place)
    assert across.loc["internal", "share 50%"] == pytest.approx(np.median(shares), abs=1e-4)
    assert across.loc["internal", "share 90%"] == pytest.approx(np.quantile(shares, 0.9), abs=1e-4)
    weighted = [g["w"][g["y"] == "i"].sum() / g["w"].sum() for g in by_place]
    expected = pytest.approx(np.quantile(weighted, 0.1), abs=1e-4)
    assert across.loc["internal", "weighted 10%"] == expected


def test_the_thinnest_of_many_levels_are_named() -> None:
    frame = microdata(1_000)
    frame.loc[[998, 999], "place"] = 77
    thin = survey(frame).describe().tables["thinnest of many levels"]
    assert thin["level"].iloc[0] == "77" and thin["rows"].iloc[0] == 2
    assert len(thin) == 3 and thin["role"].unique().tolist() == ["origin"]
    text = str(survey(frame).describe())
    assert "shares across many levels" in text and max(map(len, text.splitlines())) <= 100


def test_levels_by_hand() -> None:
    frame = microdata()
    tables = survey().describe().tables
    levels = tables["levels"].set_index("role")
    assert levels.loc["origin", "levels"] == 20
    assert levels.loc["origin", "median"] == 20
    without = tables["levels without an alternative"].set_index("role")
    expected = np.mean([not (g["y"] == "a").any() for _, g in frame.groupby("place")])
    assert without.loc["origin", "without international"] == pytest.approx(expected, abs=1e-3)


def test_drops_and_codes_are_tabled() -> None:
    frame = microdata()
    frame.loc[:4, "age"] = 98
    frame.loc[5:6, "age"] = 97
    tables = survey(frame, missing_codes={"age": 97}).describe().tables
    assert tables["missing"].to_dict("records") == [
        {"column": "age", "rows missing": 2, "dropped for it alone": 2}
    ]
    assert tables["missing codes"]["rows"].tolist() == [2]
    assert tables["suspicious codes"].to_dict("records")[0]["value"] == "98"
    assert tables["rows"].set_index("what").loc["rows dropped", "n"] == 2


def test_it_fits_a_terminal_and_names_everything() -> None:
    text = str(survey().describe())
    assert max(map(len, text.splitlines())) <= 100
    for word in ("described", "rows kept", "400", "shares by region", "effective rows"):
        assert word in text


def test_a_sound_survey_has_no_warning() -> None:
    (only,) = survey().describe().warnings
    assert only == (
        "the column 'period' is constant: there is one period, so that theories have no constants "
        "of periods here and nothing is said of change over time"
    )


def rare(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(y=["a", "a", "a", *["i"] * 97, *["s"] * 300])


WARNINGS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("rare", rare, {}, "'international' is rare: 3 rows, 0.75%"),
    ("thin", lambda d: d.assign(place=d["pid"] // 4), {}, "origins are thin: 100 origins"),
    ("thin by share", lambda d: d.assign(place=np.repeat([*range(20), 40, 41],
                                                         [*[2] * 20, 10, 350])), {},
     "origins are thin"),
    ("constant", lambda d: d.assign(age=30), {},
     "the column 'age' is constant: people do not differ in it, so that no effect of it can be "
     "told, and a theory that has it in its utility is refused"),
    ("no weight", lambda d: d.drop(columns="w"),
     {"roles": {k: v for k, v in ROLES.items() if k != "weight"}}, "no weight is declared"),
    ("zero weights", lambda d: d.assign(w=d["w"].where(d["pid"] > 3, 0)), {},
     "4 rows have weight 0"),
    ("varying weights", lambda d: d.assign(w=np.where(d["pid"] < 20, 100.0, 1.0)), {},
     "weights vary much"),
    ("dropped", lambda d: d.assign(age=d["age"].where(d["pid"] > 100)), {},
     "25% of the rows were dropped, most for 'age'"),
    ("incomplete", lambda d: d.assign(age=d["age"].where(d["pid"] > 3)),
     {"missing": {"rule": "drop", "columns": []}}, "'age' is missing in 4 rows"),
    ("nines", lambda d: d.assign(age=d["age"].where(d["pid"] > 3, 99)), {},
     "'age' holds 99 in 4 rows (others 15 to 59)"),
    ("unused", lambda d: d, {"missing_codes": {"age": [97]}},
     "no row has a code that the codebook lists (missing_codes.age: 97)"),
    ("two origins", lambda d: d.assign(place=d["place"].where(d["pid"] != 1, 7)),
     {"roles": {k: v for k, v in ROLES.items() if k != "period"}},
     "1 households stand in more than one origin, and no period is declared"),
    ("persons again", lambda d: d.assign(pid=d["pid"] // 2),
     {"roles": {k: v for k, v in ROLES.items() if k != "period"}},
     "persons have several rows but no period"),
    ("undeclared", lambda d: d.assign(psu=d["place"]), {}, "'psu' is named like a role"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "keys", "text"), WARNINGS, ids=[w[0] for w in WARNINGS])
def test_warnings(name: str, change: Any, keys: dict[str, Any], text: str) -> None:
    warned = survey(change(microdata()), **keys).describe().warnings
    assert any(text in w for w in warned), warned


def test_effective_rows() -> None:
    assert effective_rows(pd.Series([1.0, 1.0, 1.0])) == pytest.approx(3)
    assert effective_rows(pd.Series([1.0, 0.0, 0.0])) == pytest.approx(1)


def test_names_with_numbers_are_in_the_order_of_numbers() -> None:
    frame = microdata()
    named = frame.assign(place=[f"village {p}" for p in frame["place"]])
    found = survey(named).describe().tables["shares by origin"]["origin"]
    assert list(found) == [f"village {k}" for k in range(20)]
    codes = frame.assign(place=frame["place"].astype(str))
    found = survey(codes).describe().tables["shares by origin"]["origin"]
    assert list(map(str, found)) == [str(k) for k in range(20)]
