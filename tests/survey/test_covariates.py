"""Codebooks with joined tables and constructors, read from files; and what they refuse."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import BayesmigError, SpecError, SurveyError
from bayesmig.survey.codebook import Codebook
from bayesmig.survey.incomes import income_risk, relative_deprivation
from bayesmig.survey.rates import lagged_rate
from bayesmig.survey.sources import source_of
from bayesmig.survey.survey import Survey, read_survey
from bayesmig.tomlfile import validate, write_toml

BOOK = """
title = "covariates"
file = "rows.csv"
keep = ["educ", "faith", "lineage"]

[roles]
choice = "moved"
person = "pid"
household = "hid"
origin = "district"
period = "year"
weight = "w"

[alternatives]
stay = ["stay"]
internal = ["internal"]
international = ["abroad"]

[tables.border]
file = "border.csv"
keys = { period = "year" }
columns = ["patrols"]

[tables.routes]
file = "routes.csv"
separator = ";"
keys = { origin = "place", period = "year" }
long = "route"

[tables.routes.columns]
cost_internal = { of = "usd", at = "bus" }
cost_international = { of = "usd", at = "boat" }

[tables.exposure]
file = "exposure.csv"
keys = { origin = "place" }
long = "sector"

[tables.growth]
file = "growth.csv"
keys = { period = "year", sex = "gender" }
long = "sector"

[attributes.cost]
stay = 0
internal = "cost_internal"
international = "cost_international"

[attributes.enforcement]
stay = 0
internal = 0
international = "patrols"

[deprivation.deprivation]
of = "income"

[deprivation.deprivation_mean]
of = "income"
within = ["district"]
per = "mean"
weighted = false
alone = 0

[risk.risk]
of = "income"
window = "to_now"

[rates.emptied]
alternatives = ["international"]
first = 0

[rates.emptied_capital]
alternatives = ["international", "internal"]
place = "01"
first = 0
weighted = false
leave_out = "household"

[shift_share.demand]
shares = { table = "exposure", column = "share" }
growth = { table = "growth", column = "jobs" }

[networks.own_faith]
prior = "before"
by = "faith"
side = "own"
alone = 0

[derive]
woman = "sex - 1"

[networks.of_women]
prior = "before"
among = "woman"
alone = 0

[networks.returned]
prior = "before"
away = "gone"
now = "back"
measure = "count"

[networks.beyond_kin]
prior = "before"
leave_out = "lineage"
alone = 0

[missing]
rule = "drop"
columns = ["educ"]
"""

Files = dict[str, str]


def microdata() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n, years = 90, (2000, 2005, 2010)
    pid = np.repeat(np.arange(n), len(years))
    household = pid // 3
    wealth = rng.lognormal(3, 0.7, (n // 3, len(years))).round(2)
    year = np.tile(np.arange(len(years)), n)
    return pd.DataFrame(
        {
            "pid": pid,
            "hid": household,
            "district": [f"{1 + h % 6:02d}" for h in household],
            "year": np.array(years)[year],
            "w": rng.gamma(3, 1, len(pid)).round(3),
            "moved": rng.choice(["stay", "stay", "internal", "abroad"], len(pid)),
            "educ": rng.integers(0, 12, len(pid)),
            "before": rng.integers(0, 2, len(pid)),
            "gone": rng.integers(0, 2, len(pid)),
            "faith": rng.choice(["x", "y"], len(pid)),
            "lineage": household // 2,
            "income": wealth[household, year],
            "sex": 1 + pid % 2,
        }
    )


def auxiliary() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(8)
    places, years = [f"{i:02d}" for i in range(1, 8)], [2000, 2005, 2010, 2015]
    routes = [(p, y, r) for p in places for y in years for r in ("bus", "boat", "plane")]
    exposure = [(p, s) for p in places for s in ("care", "farms")]
    growth = [(y, g, s) for y in years for g in (1, 2) for s in ("farms", "care", "mines")]
    share = rng.random(len(places)).round(3)
    tables = {
        "border": pd.DataFrame({"year": years, "patrols": [1.0, 3.0, 2.5, 9.0]}),
        "routes": pd.DataFrame(routes, columns=["place", "year", "route"]),
        "exposure": pd.DataFrame(exposure, columns=["place", "sector"]),
        "growth": pd.DataFrame(growth, columns=["year", "gender", "sector"]),
    }
    tables["routes"]["usd"] = rng.gamma(3, 10, len(routes)).round(2)
    tables["exposure"]["share"] = np.column_stack([share, 1 - share]).ravel().round(3)
    tables["growth"]["jobs"] = rng.normal(size=len(growth)).round(3)
    return tables


def written(
    folder: Path,
    *,
    book: str = BOOK,
    rows: pd.DataFrame | None = None,
    tables: dict[str, pd.DataFrame] | None = None,
) -> Path:
    (microdata() if rows is None else rows).to_csv(folder / "rows.csv", index=False)
    for name, table in (auxiliary() if tables is None else tables).items():
        separator = ";" if name == "routes" else ","
        table.to_csv(folder / f"{name}.csv", index=False, sep=separator)
    (folder / "book.toml").write_text(book)
    return folder / "book.toml"


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return read_survey(written(tmp_path_factory.mktemp("book")))


# ------------------------------------------------------------------------------ joins


def test_joined_columns_by_loops(survey: Survey) -> None:
    tables, frame = auxiliary(), microdata()
    routes = {(r.place, r.year, r.route): r.usd for r in tables["routes"].itertuples()}
    patrols = dict(zip(tables["border"]["year"], tables["border"]["patrols"], strict=True))
    for i, row in enumerate(frame.itertuples()):
        assert survey.column("cost_internal")[i] == routes[row.district, row.year, "bus"]
        assert survey.column("cost_international")[i] == routes[row.district, row.year, "boat"]
        assert survey.column("patrols")[i] == patrols[row.year]
    assert survey.attributes["cost"]["international"] == "cost_international"
    assert survey.derived["cost_internal"] == ("origin", "period")
    assert survey.derived["demand"] == ("origin", "period", "sex")


def test_own_gender_picks_the_series(survey: Survey) -> None:
    tables, frame = auxiliary(), microdata()
    share = {(r.place, r.sector): r.share for r in tables["exposure"].itertuples()}
    jobs = {(r.year, r.gender, r.sector): r.jobs for r in tables["growth"].itertuples()}
    expected = [
        sum(share[r.district, s] * jobs[r.year, r.sex, s] for s in ("care", "farms"))
        for r in frame.itertuples()
    ]
    np.testing.assert_allclose(survey.column("demand"), expected, rtol=1e-12)
    other = [
        sum(share[r.district, s] * jobs[r.year, 3 - r.sex, s] for s in ("care", "farms"))
        for r in frame.itertuples()
    ]
    assert not np.allclose(survey.column("demand"), other)


def test_rows_of_tables_in_any_order_and_more_of_them(survey: Survey, tmp_path: Path) -> None:
    tables = {n: t.sample(frac=1, random_state=1) for n, t in auxiliary().items()}
    more = pd.DataFrame({"year": [1990], "patrols": [77.0]})
    tables["border"] = pd.concat([more, tables["border"]])
    again = read_survey(written(tmp_path, tables=tables))
    assert again.fingerprint == survey.fingerprint


def test_frames_in_the_place_of_files(survey: Survey) -> None:
    keys = tomllib.loads(BOOK.replace('separator = ";"', ""))
    roles = keys.pop("roles")
    keys.pop("file")
    for table in keys["tables"].values():
        table.pop("file")
    tables = auxiliary()
    before = {name: table.copy(deep=True) for name, table in tables.items()}
    again = read_survey(microdata(), roles, tables_of=tables, **keys)
    assert again.fingerprint == survey.fingerprint
    for name, table in before.items():
        pd.testing.assert_frame_equal(table, tables[name])
    with pytest.raises(SpecError, match="declares no table 'bordr'"):
        read_survey(microdata(), roles, tables_of={"bordr": tables["border"]}, **keys)
    with pytest.raises(SpecError, match="the table 'border' names no file"):
        read_survey(microdata(), roles, **keys)


@pytest.mark.parametrize(("absent", "value"), [('"missing"', np.nan), ("-7", -7.0)])
def test_keys_that_the_table_lacks(tmp_path: Path, absent: str, value: float) -> None:
    tables = auxiliary()
    tables["border"] = tables["border"].iloc[1:]
    book = BOOK.replace('columns = ["patrols"]', f'columns = ["patrols"]\nabsent = {absent}')
    frame = microdata()
    survey = read_survey(written(tmp_path, book=book, tables=tables))
    early = int((frame["year"] == 2000).sum())
    assert survey.report.without_key == {"patrols": early}
    kept = survey.column("patrols")
    if np.isnan(value):
        # An attribute must be complete: these rows are dropped, and counted.
        assert survey.report.missing["patrols"] == early
        assert survey.n_obs == len(frame) - early
    else:
        assert (kept[frame["year"] == 2000] == value).all()
    described = survey.describe().tables["missing codes"]
    assert "key not in the joined table" in set(described["made missing"])


# ----------------------------------------------------------------------- constructors


def test_constructors_get_what_the_codebook_says(survey: Survey) -> None:
    frame = microdata().astype({"hid": "str", "year": "str"})
    columns = {"income": "income", "household": "hid"}
    expected = relative_deprivation(frame, **columns, group=["district", "year"], weight="w")
    np.testing.assert_array_equal(survey.column("deprivation"), expected)
    homes = frame.assign(hid=frame["hid"] + " " + frame["year"])
    expected = relative_deprivation(homes, **columns, group=["district"], per="mean")
    np.testing.assert_allclose(survey.column("deprivation_mean"), expected, rtol=1e-12)
    periods = ["2000", "2005", "2010"]
    expected = income_risk(frame, **columns, period="year", periods=periods, window="to_now")
    np.testing.assert_array_equal(survey.column("risk"), expected)
    left = frame.assign(
        left=(frame["moved"] == "abroad") * 1.0,
        gone=(frame["moved"] != "stay") * 1.0,
        capital="01",
    )
    keys = {"place": "district", "period": "year", "periods": periods}
    expected = lagged_rate(left, left="left", **keys, weight="w").fillna(0)
    np.testing.assert_array_equal(survey.column("emptied"), expected)
    assert (survey.column("emptied")[frame["year"] == "2000"] == 0).all()
    expected = lagged_rate(left, left="gone", **keys, at="capital", own="hid").fillna(0)
    np.testing.assert_array_equal(survey.column("emptied_capital"), expected)


def test_networks_of_returnees_own_groups_and_ties(survey: Survey) -> None:
    frame = microdata()
    for i in range(0, len(frame), 7):
        one = frame.iloc[i]
        there = frame[(frame["district"] == one["district"]) & (frame["year"] == one["year"])]
        others = there[there["hid"] != one["hid"]]
        back = ((others["before"] == 1) & (others["gone"] == 0)).sum()
        assert survey.column("returned")[i] == back
        alike = others[others["faith"] == one["faith"]]["before"]
        assert survey.column("own_faith")[i] == (pytest.approx(alike.mean()) if len(alike) else 0)
        women = others[others["sex"] == 2]["before"]
        assert survey.column("of_women")[i] == (pytest.approx(women.mean()) if len(women) else 0)
        beyond = there[there["lineage"] != one["lineage"]]["before"]
        assert survey.column("beyond_kin")[i] == (
            pytest.approx(beyond.mean()) if len(beyond) else 0
        )


def test_a_codebook_goes_to_toml_and_back() -> None:
    book = validate(Codebook, tomllib.loads(BOOK), file="f")
    text = write_toml(book.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert validate(Codebook, tomllib.loads(text), file="f") == book


def test_later_incomes_are_told(tmp_path: Path) -> None:
    book = BOOK.replace('window = "to_now"', 'window = "all"')
    survey = read_survey(written(tmp_path, book=book))
    assert any(w.startswith("'risk' is computed from incomes of") for w in
               survey.describe().warnings)  # fmt: skip


# --------------------------------------------------------------------------- refusals

Change = Callable[[dict[str, pd.DataFrame]], Any]
S, P = SurveyError, SpecError


def no_change(tables: dict[str, pd.DataFrame]) -> None:
    pass


def put(table: str, column: str, row: int, value: object) -> Change:
    def change(tables: dict[str, pd.DataFrame]) -> None:
        tables[table] = tables[table].astype({column: object})
        tables[table].loc[row, column] = value

    return change


def drop(table: str, rows: Callable[[pd.DataFrame], Any]) -> Change:
    def change(tables: dict[str, pd.DataFrame]) -> None:
        tables[table] = tables[table][~rows(tables[table])]

    return change


def rename(table: str, old: str, new: str) -> Change:
    def change(tables: dict[str, pd.DataFrame]) -> None:
        tables[table] = tables[table].rename(columns={old: new})

    return change


FAULTS: list[tuple[str, Change, tuple[str, str], type[BayesmigError], str, list[str], str]] = [
    # name, tables, codebook, error, what, where, mend
    ("no such file", no_change, ("border.csv", "bordr.csv"), S, "does not exist",
     ["key tables.border.file", "bordr.csv"], "'border.csv'"),
    ("unknown format", no_change, ("border.csv", "border.xls"), P, "unknown format '.xls'",
     ["border.xls"], ".csv"),
    ("column not there", rename("border", "patrols", "guards"), ("", ""), S,
     "the column 'patrols' is not in the table 'border'",
     ["key tables.border.columns.patrols", "border.csv"], "known: year, guards"),
    ("key not there", rename("border", "year", "yr"), ("", ""), S,
     "the column 'year' is not in the table 'border'",
     ["key tables.border.keys.period", "border.csv"], "did you mean 'yr'?"),
    ("long not there", rename("routes", "route", "ruote"), ("", ""), S,
     "the column 'route' is not in", ["key tables.routes.long"], "'ruote'"),
    ("key twice", put("border", "year", 1, 2000), ("", ""), S,
     "the key '2000' stands more than once in the table 'border'; 2 rows",
     ["key tables.border.keys", "border.csv", "columns 'year'", "rows 0, 1"], "long"),
    ("route twice", put("routes", "route", 1, "bus"), ("", ""), S,
     "the key '01' and '2000' and 'bus' stands more than once",
     ["columns 'place', 'year', 'route'", "rows 0, 1"], "one row for each key"),
    ("row without key", put("routes", "place", 5, None), ("", ""), S,
     "the key 'place' of the table 'routes' is missing in 1 rows",
     ["key tables.routes.keys.origin", "column 'place'", "rows 5"], "remove these rows"),
    ("period not there", drop("border", lambda t: t["year"] == 2005), ("", ""), S,
     "the table has no row for 'period' '2005'; 90 rows lack theirs",
     ["key tables.border.columns.patrols", "border.csv", "rows 1, 4, 7"],
     "of period: did you mean '2015'?"),
    ("place without a year", drop("routes", lambda t: (t["place"] == "02") & (t["year"] == 2010)),
     ("", ""), S, "no row for 'origin' and 'period' '02' and '2010'", ["routes.csv"],
     'state absent = "missing"'),
    ("no key fits", put("border", "year", 0, 1), ("period = \"year\" }\ncolumns",
     'origin = "year" }\ncolumns'), S, "no choice situation finds its key", ["border.csv"], ""),
    ("no such route", no_change, ('at = "boat"', 'at = "bot"'), S, "no row of the table is 'bot'",
     ["key tables.routes.columns.cost_international", "routes.csv"], "did you mean 'boat'"),
    ("text for an attribute", put("border", "patrols", 1, "many"), ("", ""), S,
     "the column 'patrols' holds text", ["key attributes"], ""),
    ("no column of the survey", no_change, ("sex = ", "sxe = "), S, "column 'sxe' is not in the",
     ["key tables.growth.keys.sxe"], "'sex'"),
    ("long without cells", no_change, ('{ of = "usd", at = "bus" }', '"usd"'), P,
     "'cost_internal' is not read as from a long table", ["key tables.routes.columns."],
     "{ of = COLUMN, at = LABEL }"),
    ("cells without long", no_change, ('["patrols"]', '{ a = { of = "patrols", at = "b" } }'), P,
     "'a' is not read as from a table without the key long", ["key tables.border"], "state long"),
    ("joined by the choice", no_change, ('period = "year" }\ncolumns', 'moved = "year" }\ncolumns'),
     S, "'patrols' is the choice column or is derived from it",
     ["key tables.border.columns.patrols"], "known before"),
    ("made twice", no_change, ('["patrols"]', '["patrols", "demand"]'), P,
     "the column 'demand' is made twice", ["key demand of"], "another name"),
    ("hides a column", no_change, ('["patrols"]', '{ educ = "patrols" }'), P,
     "'educ' has the name of a column of the data", ["key tables.border.columns.educ"], ""),
    ("same period", no_change, ('alternatives = ["international"]\n',
     'alternatives = ["international"]\nlag = 0\n'), P, "the lag is 0: a rate of the same",
     ["key rates.emptied.lag"], "lag = 1"),
    ("not an alternative", no_change, ('= ["international"]\nfirst', '= ["abroad"]\nfirst'), P,
     "'abroad' is not an alternative", ["key rates.emptied.alternatives"], ""),
    ("everybody", no_change, ('["international", "internal"]', '["international", "internal", '
     '"stay"]'), P, "is 1 everywhere", ["key rates.emptied_capital"], "leave some out"),
    ("far back", no_change, ("first = 0\n\n[rates.emptied_capital]", "lag = 3\n\n"
     "[rates.emptied_capital]"), S, "3 periods ago needs more than the 3", ["key rates.emptied"],
     "under [tables]"),
    ("no such place", no_change, ('place = "01"', 'place = "1"'), S, "nobody lives in '1'",
     ["key rates.emptied_capital", "key place"], "'01'"),
    ("place and at", no_change, ('place = "01"', 'place = "01"\nat = "district"'), P,
     "at a column of places or at one place", ["keys at, place"], "leave one"),
    ("deprived of the choice", no_change, ('of = "income"\n\n[dep', 'of = "moved"\n\n[dep'), S,
     "'deprivation' is the choice column", ["key deprivation.deprivation"], ""),
    ("income of text", no_change, ('of = "income"\nwindow', 'of = "faith"\nwindow'), S,
     "the column 'faith' holds text", ["key risk.risk"], ""),
    ("trait without side", no_change, ('side = "own"\n', ""), P, "with 'by' needs 'side' too",
     ["key networks.own_faith.side"], '"own" or "other"'),
    ("now without away", no_change, ('away = "gone"\n', ""), P, "with 'now' needs 'away' too",
     ["key networks.returned.away"], "live away"),
    ("part that splits households", no_change, ('leave_out = "lineage"', 'leave_out = "faith"'), S,
     "members of one household differ in 'faith'", ["key networks.beyond_kin", "column 'faith'"],
     "each household lies in one"),
    ("trait of the choice", no_change, ('by = "faith"', 'by = "moved"'), S,
     "'moved' is the choice column", ["key networks.own_faith", "column 'moved'"], "known before"),
    ("network of the choosers", no_change, ('among = "woman"', 'among = "moved"'), S,
     "'moved' is the choice column", ["key networks.of_women", "column 'moved'"], "known before"),
    ("network of a code", no_change, ('among = "woman"', 'among = "sex"'), S,
     "'sex' holds 2; 0 or 1", ["key networks.of_women", "column 'sex'"], "under [derive]"),
    ("network of itself", no_change, ('woman = "sex - 1"', 'woman = "of_women"'), P,
     "of_women", ["key"], ""),
    ("part of the choice", no_change, ('leave_out = "lineage"', 'leave_out = "moved"'), S,
     "'moved' is the choice column", ["key networks.beyond_kin"], "known before"),
    ("left out by the choice", no_change, ('leave_out = "household"', 'leave_out = "moved"'), S,
     "'moved' is the choice column", ["key rates.emptied_capital"], "known before"),
    ("demand of no table", no_change, ('table = "growth"', 'table = "grwth"'), P,
     "the table 'grwth' is not declared", ["key shift_share.demand.growth.table"], "'growth'"),
    ("demand of a wide table", no_change, ('table = "growth"', 'table = "border"'), P,
     "is not told apart by sector", ["key shift_share.demand.growth.table"], "state long"),
    ("shares of no column", no_change, ('column = "share"', 'column = "shre"'), S,
     "the column 'shre' is not in the table 'exposure'", ["exposure.csv"], "'share'"),
    ("half the shares", drop("exposure", lambda t: t["sector"] == "care"), ("", ""), S,
     "not to one", ["key shift_share.demand"], 'sums = "any"'),
    ("a share missing", put("exposure", "share", 3, None), ("", ""), S,
     "the column 'share' is missing in 1 rows", ["exposure.csv", "rows 3"], "complete"),
    ("no growth of a sector", drop("growth", lambda t: (t["sector"] == "care") & (t["year"] == 2005)
     & (t["gender"] == 2)), ("", ""), S, "the growth of the sector 'care' is missing for '2005' "
     "and '2'", ["key shift_share.demand", "rows"], "table of growth"),
    ("no growth of a year", drop("growth", lambda t: t["year"] == 2005), ("", ""), S,
     "the table 'growth' has no row for 'period' and 'sex' '2005' and '1'", ["growth.csv"],
     "add rows"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[f[0] for f in FAULTS])
def test_planted_faults(tmp_path: Path, fault: Any) -> None:
    _, change, (old, new), kind, what, where, mend = fault
    tables = auxiliary()
    change(tables)
    assert old in BOOK
    path = written(tmp_path, book=BOOK.replace(old, new, 1), tables=tables)
    with pytest.raises(kind) as err:
        read_survey(path)
    assert what in err.value.what
    place = " · ".join(err.value.where)
    assert str(path) in place
    for part in where:
        assert part in place
    assert mend in err.value.mend


def test_present_movers_who_are_away_are_no_network(tmp_path: Path) -> None:
    """A negative control: being away because of the present choice is refused."""
    frame = microdata()
    frame["gone"] = (frame["moved"] == "abroad") * 1
    with pytest.raises(SurveyError, match="'gone' of earlier moves is the choice itself") as err:
        read_survey(written(tmp_path, rows=frame))
    assert "key networks.returned" in err.value.where


def test_those_who_choose_something_now_are_no_network(tmp_path: Path) -> None:
    frame = microdata()
    book = BOOK.replace('among = "woman"', 'among = "here"').replace("sex - 1", "here * 1")
    for name, here, refused in (
        ("indicator of a choice", frame["moved"] == "stay", True),
        # Nearly all who go abroad may be women.
        ("gendered stream", (frame["moved"] == "abroad") | (frame["pid"] % 3 == 0), False),
    ):
        folder = tmp_path / name
        folder.mkdir()
        rows = frame.assign(here=here * 1)
        if not refused:
            read_survey(written(folder, book=book, rows=rows))
            continue
        with pytest.raises(SurveyError, match="of whom a network consists, is the choice") as err:
            read_survey(written(folder, book=book, rows=rows))
        assert "key networks.of_women" in err.value.where


def test_whoever_is_no_part_of_a_network_is_exposed_to_it(tmp_path: Path) -> None:
    """Also where it is not known whether they are; and of networks that are all at once."""
    frame = microdata()
    frame["part"] = (frame["sex"] == 2).astype(float).mask(frame["pid"] % 5 == 1)
    here = frame["district"] == "03"
    frame.loc[here & (frame["part"] == 1), "part"] = 0.0
    more = """
[networks.women_back]
prior = "before"
among = "part"
by = "faith"
side = "own"
away = "gone"
now = "back"
measure = "count"
weighted = true
"""
    book = BOOK.replace('woman = "sex - 1"', 'woman = "part"').replace(
        "[networks.returned]", more + "\n[networks.returned]"
    )
    survey = read_survey(written(tmp_path, book=book, rows=frame))
    assert len(survey.column("of_women")) == len(frame)
    assert (survey.column("of_women")[here] == 0).all()
    assert frame.loc[here, "part"].isna().any()
    for i in range(0, len(frame), 11):
        one = frame.iloc[i]
        others = frame[
            (frame["district"] == one["district"])
            & (frame["year"] == one["year"])
            & (frame["hid"] != one["hid"])
            & (frame["faith"] == one["faith"])
            & (frame["part"] == 1)
        ]
        back = (others["before"] * (1 - others["gone"]) * others["w"]).sum()
        assert survey.column("women_back")[i] == pytest.approx(back)


def test_a_joined_share_of_the_present_choice_is_refused(tmp_path: Path) -> None:
    """A negative control: rates of the same period cannot come in through a file."""
    frame, tables = microdata(), auxiliary()
    frame["w"] = 1.0
    chance = frame["district"].astype(int) / 8
    goes = np.random.default_rng(5).random(len(frame)) < chance
    frame["moved"] = frame["moved"].mask(goes, "abroad")
    abroad = frame.assign(rate=frame["moved"] == "abroad").groupby(["district", "year"])["rate"]
    leaked = abroad.mean().reset_index().rename(columns={"district": "place"})
    tables["leaked"] = leaked
    book = BOOK + (
        '\n[tables.leaked]\nfile = "leaked.csv"\nkeys = { origin = "place", period = "year" }\n'
        'columns = ["rate"]\n'
    )
    with pytest.raises(SurveyError, match="the column 'rate' is the share of the same origin"):
        read_survey(written(tmp_path, book=book, rows=frame, tables=tables))


def test_the_planted_faults_start_from_a_book_that_reads(survey: Survey) -> None:
    assert survey.n_obs == len(microdata())
    made = {"deprivation", "risk", "emptied", "demand", "own_faith", "returned", "beyond_kin"}
    made |= {"of_women"}
    assert made <= set(survey.names)


def test_what_the_documentation_writes_is_a_codebook() -> None:
    text = (Path(__file__).parents[2] / "docs" / "covariates.md").read_text()
    tables = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    theory = [t for t in tables if t.startswith("[utility]")]
    assert len(theory) == 1
    book = tomllib.loads(BOOK.split("[tables.border]")[0])
    book.pop("keep")
    for table in tables:
        for key, value in tomllib.loads(table).items() if table not in theory else ():
            assert not set(value) & set(book.get(key, {}))
            book[key] = {**book.get(key, {}), **value}
    read = validate(Codebook, book, file="docs")
    assert len(read.networks) == 9
    assert read.deprivation["deprivation"].within == ("origin", "period")


def test_codes_in_joined_tables_are_suspected(tmp_path: Path) -> None:
    tables = auxiliary()
    boats = tables["routes"]["route"] == "boat"
    odd = boats & tables["routes"]["place"].isin(["02", "05"])
    tables["routes"].loc[odd, "usd"] = -99.0
    survey = read_survey(written(tmp_path, tables=tables))
    assert [(s.column, s.value) for s in survey.report.suspicious] == [("cost_international", -99)]


def test_a_report_says_how_columns_were_made(survey: Survey) -> None:
    said = {name: source_of(survey.codebook, name) for name in survey.codebook.made()}
    assert all(said.values())
    assert said["cost_internal"] == "usd of bus of the table routes, by origin and period"
    assert said["patrols"] == "patrols of the table border, by period"
    assert said["deprivation"] == "relative deprivation of income within origin and period"
    assert said["risk"] == "cv of income over the household's periods (to_now)"
    assert said["emptied_capital"] == (
        "share of 01 who chose international or internal, 1 period(s) before"
    )
    assert said["demand"] == "share × jobs, summed over sectors"
    assert said["returned"] == "count of origin with before and back, own household left out"
    assert said["own_faith"] == "share of origin of own faith with before, own household left out"
    assert said["of_women"] == "share of origin among woman with before, own household left out"


def test_places_that_were_not_asked_before_are_counted(tmp_path: Path) -> None:
    frame = microdata()
    gone = (frame["district"] == "02") & (frame["year"] == 2005)
    survey = read_survey(written(tmp_path, rows=frame[~gone]))
    later = int(((frame["district"] == "02") & (frame["year"] == 2010)).sum())
    assert survey.report.alone["emptied"] == later > 0
    lines = survey.describe().tables["missing codes"]
    line = lines[(lines["column"] == "emptied")].iloc[0]
    assert (line["made missing"], line["rows"]) == ("nobody asked there before", later)
