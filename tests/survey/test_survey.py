"""Reading: what a codebook and a DataFrame give, and that nothing can change it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import operator
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from bayesmig.errors import SurveyError
from bayesmig.survey.codebook import Codebook
from bayesmig.survey.survey import Survey, read_survey
from bayesmig.tomlfile import validate, write_toml

ALTERNATIVES = {"stay": 0, "internal": [1, 2], "international": 3}
ROLES = {
    "choice": "moved",
    "person": "pid",
    "household": "hid",
    "origin": "district",
    "period": "year",
    "weight": "w",
}
DERIVE = {
    "age_10": "(age - 25) / 10",
    "wealth": "scale(log(income), within=period)",
    "young": "is_in(band, 'under 25')",
    "band": "bins(age, 25, 40)",
}
NETWORKS = {
    "network_internal": {"prior": "before", "alone": 0.0},
    "household_internal": {"prior": "before", "of": "household", "measure": "count"},
}


def microdata(n: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    person = np.repeat(np.arange(n // 2), 2)
    return pd.DataFrame(
        {
            "pid": person + 1000,
            "hid": person // 3 + 100,
            "district": np.char.add("0", (person // 12).astype(str)),
            "year": np.tile([2000, 2005], n // 2),
            "w": rng.gamma(3, 1, n),
            "moved": rng.choice([0, 1, 2, 3], n, p=[0.7, 0.1, 0.1, 0.1]),
            "age": rng.integers(15, 60, n),
            "educ": rng.choice(["none", "primary", "secondary"], n),
            "income": rng.lognormal(8, 1, n).round(2),
            "before": rng.integers(0, 2, n),
        }
    )


def keys() -> dict[str, Any]:
    return {
        "title": "made up",
        "roles": ROLES,
        "alternatives": ALTERNATIVES,
        "recode": {
            "education": {"from": "educ", "values": {"none": 0, "primary": 6, "secondary": 12}}
        },
        "derive": DERIVE,
        "networks": NETWORKS,
    }


def survey(frame: pd.DataFrame | None = None, **changes: Any) -> Survey:
    return read_survey(microdata() if frame is None else frame, **(keys() | changes))


CODEBOOK = """
title = "made up"
file = "data/rows.csv.gz"
[roles]
choice = "moved"
person = "pid"
household = "hid"
origin = "district"
period = "year"
weight = "w"
[alternatives]
stay = 0
internal = [1, 2]
international = 3
[recode.education]
from = "educ"
values = { none = 0, primary = 6, secondary = 12 }
[derive]
age_10 = "(age - 25) / 10"
wealth = "scale(log(income), within=period)"
young = "is_in(band, 'under 25')"
band = "bins(age, 25, 40)"
[networks]
network_internal = { prior = "before", alone = 0.0 }
household_internal = { prior = "before", of = "household", measure = "count" }
"""


@pytest.fixture
def codebook(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    microdata().to_csv(tmp_path / "data" / "rows.csv.gz", index=False)
    path = tmp_path / "book.toml"
    path.write_text(CODEBOOK)
    return path


def test_the_tidy_columns() -> None:
    read, raw = survey(), microdata()
    frame = read.frame
    assert list(frame.columns) == [
        "person", "household", "origin", "period", "weight", "choice",
        "age", "educ", "income", "before",
        "education", "age_10", "wealth", "young", "band", "network_internal",
        "household_internal",
    ]  # fmt: skip
    assert read.n_obs == len(raw) == read.report.rows_kept
    assert isinstance(frame.index, pd.RangeIndex)
    for role in ("person", "household", "origin", "period"):
        assert frame[role].dtype == "str"
    assert read.role("period").unique().tolist() == ["2000", "2005"]
    assert frame["choice"].cat.categories.tolist() == list(ALTERNATIVES) == list(read.alternatives)
    assert not frame["choice"].cat.ordered
    by_hand = raw["moved"].map({0: "stay", 1: "internal", 2: "internal", 3: "international"})
    assert frame["choice"].tolist() == by_hand.tolist()
    assert (
        frame["education"].tolist()
        == raw["educ"].map({"none": 0, "primary": 6, "secondary": 12}).tolist()
    )
    np.testing.assert_allclose(frame["age_10"], (raw["age"] - 25) / 10)
    assert (frame["young"] == (raw["age"] < 25)).all()
    for _, part in frame.groupby("period"):
        assert part["wealth"].mean() == pytest.approx(0, abs=1e-12)
        assert part["wealth"].std(ddof=0) == pytest.approx(1)


def test_networks_by_loops() -> None:
    frame = survey().frame
    rows = frame.to_dict("records")
    for one in rows[::17]:
        near = [o for o in rows if o["origin"] == one["origin"] and o["period"] == one["period"]]
        others = [o["before"] for o in near if o["household"] != one["household"]]
        assert one["network_internal"] == pytest.approx(
            sum(others) / len(others) if others else 0.0
        )
        house = [o for o in near if o["household"] == one["household"]]
        others = [o["before"] for o in house if o["person"] != one["person"]]
        assert one["household_internal"] == sum(others)


def test_the_choice_and_a_weight_may_be_made_of_the_choice() -> None:
    read = read_survey(
        microdata(),
        roles={"choice": "stream", "weight": "by_choice"},
        alternatives={"stay": 0, "move": 1},
        derive={"by_choice": "1 + 3 * is_in(moved, 0)", "any": "minimum(moved, 1)"},
        recode={"stream": {"from": "any", "values": {"0": 0, "1": 1}}},
        keep=["age"],
    )
    assert set(read.role("weight")) == {1, 4}
    assert (read.frame["choice"] == "move").tolist() == (microdata()["moved"] > 0).tolist()


@pytest.mark.parametrize("text", ["is_in(choice, 1)", "0 * moved", "center(age, within=moved)"])
def test_nothing_else_may_be_made_of_the_choice(text: str) -> None:
    with pytest.raises(SurveyError, match="'new' is the choice column or is derived from it"):
        survey(derive=DERIVE | {"new": text})


def test_persons_without_a_period_are_left_out_with_all_their_rows() -> None:
    frame = pd.DataFrame(
        {
            "pid": [1, 1, 2, 3, 3, 4],
            "place": 1,
            "before": [1, 1, 0, 0, 1, 0],
            "y": [0, 1, 2, 0, 0, 1],
        }
    )
    read = read_survey(
        frame,
        roles={"choice": "y", "person": "pid", "origin": "place"},
        alternatives={"stay": 0, "internal": 1, "international": 2},
        networks={"n": {"prior": "before", "leave_out": "person"}},
    )
    np.testing.assert_allclose(read.frame["n"], [1 / 4, 1 / 4, 3 / 5, 2 / 4, 2 / 4, 3 / 5])


def test_a_household_may_move_between_periods() -> None:
    frame = microdata().assign(district=lambda d: d["hid"] // 4 + 10 * (d["year"] == 2005))
    assert survey(frame).n_obs == len(frame)


def test_shares_of_the_present_choice_are_refused_or_warned_of(tmp_path: Path) -> None:
    raw = microdata(1_200)
    place = [raw["district"], raw["year"]]
    share = (raw["moved"] == 3).groupby(place).transform("mean")
    with pytest.raises(SurveyError, match="who choose 'international' now") as caught:
        survey(raw.assign(near=100 * share))
    assert "column 'near'" in caught.value.where and "[networks]" in caught.value.mend
    warned = survey(raw.assign(near=share.round(3))).describe().warnings
    assert any("'near' goes with the share of the same origin and period" in w for w in warned)
    # Computed before rows were dropped, or after.
    gone = raw.assign(age=raw["age"].where(raw.index % 7 > 0))
    for made in (share, share.where(gone["age"].notna())):
        with pytest.raises(SurveyError, match="reflection problem"):
            survey(gone.assign(near=made), missing={"rule": "drop"})


def test_codebook_and_dataframe_agree(codebook: Path) -> None:
    from_file, from_frame = read_survey(codebook), survey()
    pd.testing.assert_frame_equal(from_file.frame, from_frame.frame)
    assert from_file.fingerprint == from_frame.fingerprint
    assert from_file.report.source.endswith("rows.csv.gz")


def test_written_codes_keep_their_zeros(tmp_path: Path) -> None:
    frame = microdata().assign(district="007", pid=lambda d: "00" + d["pid"].astype(str))
    frame.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "b.toml").write_text(CODEBOOK.replace("data/rows.csv.gz", "rows.csv"))
    read = read_survey(tmp_path / "b.toml")
    assert read.role("origin").unique().tolist() == ["007"]
    assert read.role("person").iloc[0] == "001000"


IDS = {
    "floats": ["1.0", "1.0", "2.0", "3.0"],
    "floats and blanks": ["1", "1.0", "2 ", "3"],
    "thousands by R": ["1e+05", "100000", "200000", "3e5"],
    "true and false": ["True", "False", "True", "True"],
    "words": ["a ", "a", " b", "c"],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
@pytest.mark.parametrize("role", ["origin", "household", "choice"])
def test_a_file_and_a_dataframe_spell_alike(tmp_path: Path, ids: list[str], role: str) -> None:
    """As pandas would read the file: the levels and the fingerprint are the same."""
    text = "id,y,g\n" + "".join(f"{i},{i % 2},{g}\n" for i, g in enumerate(ids * 2))
    (tmp_path / "rows.csv").write_text(text)
    frame = pd.read_csv(tmp_path / "rows.csv")
    roles = {"choice": "y", "person": "id"} | {role: "g"}
    chosen = frame[roles["choice"]].map(lambda v: v.strip() if isinstance(v, str) else v)
    stay, *move = dict.fromkeys(chosen)
    book: dict[str, Any] = {"roles": roles, "alternatives": {"stay": [stay], "move": move}}
    (tmp_path / "b.toml").write_text(write_toml({"file": "rows.csv"} | plain(book)))
    from_file, from_frame = read_survey(tmp_path / "b.toml"), read_survey(frame, **book)
    pd.testing.assert_frame_equal(from_file.frame, from_frame.frame)
    assert from_file.fingerprint == from_frame.fingerprint


def plain(book: dict[str, Any]) -> dict[str, Any]:
    codes = {k: [getattr(c, "item", lambda c=c: c)() for c in v]
             for k, v in book["alternatives"].items()}  # fmt: skip
    return book | {"alternatives": codes}


@pytest.mark.parametrize("codes", [(False, True), (0, 1), ("False", "True")])
def test_true_and_false_are_codes(tmp_path: Path, codes: tuple[Any, Any]) -> None:
    frame = pd.DataFrame({"y": [True, False, True]})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    book = {"roles": {"choice": "y"}, "alternatives": {"stay": [codes[0]], "go": [codes[1]]}}
    (tmp_path / "b.toml").write_text(write_toml({"file": "rows.csv"} | book))
    surveys = [read_survey(tmp_path / "b.toml")]
    if codes[0] != "False":
        surveys.append(read_survey(frame, **book))
    for read in surveys:
        assert read.frame["choice"].tolist() == ["go", "stay", "go"]


def test_a_role_may_be_computed_with(codebook: Path) -> None:
    codebook.write_text(CODEBOOK.replace("[derive]", '[derive]\nsince = "period - 2000"'))
    assert set(read_survey(codebook).frame["since"]) == {0, 5}


@pytest.mark.parametrize(
    "codes",
    [
        pd.Series([0.0, 1.0, 2.0, 3.0]),
        pd.Series(["0", "1", "2", "3"]),
        pd.Series([0, 1, 2, 3], dtype="Int64"),
        pd.Series(pd.Categorical([0, 1, 2, 3])),
    ],
)
def test_codes_of_any_type_match(codes: pd.Series) -> None:
    read = read_survey(pd.DataFrame({"y": codes}), roles={"choice": "y"}, alternatives=ALTERNATIVES)
    assert read.frame["choice"].tolist() == ["stay", "internal", "internal", "international"]


def test_names_as_codes() -> None:
    frame = pd.DataFrame({"y": ["b", "a", "b"]})
    read = read_survey(frame, roles={"choice": "y"}, alternatives=["a", "b"])
    assert read.alternatives == ("a", "b")


def test_household_unit_with_a_fourth_alternative() -> None:
    frame = pd.DataFrame({"h": [1, 2, 3, 4], "y": ["stay", "both", "internal", "abroad"]})
    read = read_survey(
        frame,
        roles={"choice": "y", "household": "h"},
        alternatives={"stay": "stay", "internal": "internal", "international": "abroad",
                      "both": "both"},
    )  # fmt: skip
    assert read.alternatives[-1] == "both"
    assert not read.has("person")


def test_attributes_are_columns_or_numbers() -> None:
    frame = microdata().assign(fare=1.5)
    attributes = {"cost": {"stay": 0, "internal": "fare", "international": "income"}}
    read = survey(frame, keep=["age"], attributes=attributes, networks={}, recode={}, derive={})
    assert read.attributes == attributes
    assert list(read.frame.columns)[-3:] == ["age", "fare", "income"]
    read.attributes["cost"]["stay"] = 9
    assert read.attributes == attributes


# --------------------------------------------------------------------- missing values


def holed() -> pd.DataFrame:
    frame = microdata()
    frame.loc[[3, 5], "income"] = np.nan
    frame.loc[[5, 8], "educ"] = None
    frame.loc[[10], "district"] = None
    return frame


def test_drops_are_counted_and_rows_remembered() -> None:
    read = survey(holed(), missing={"rule": "drop"})
    assert read.report.rows_read - read.n_obs == 4
    assert read.report.missing == {
        "origin": 1, "educ": 2, "income": 2, "education": 2, "wealth": 2, "network_internal": 1,
    }  # fmt: skip
    # Education lacks with educ, of which it is made.
    assert read.report.missing_alone["educ"] == 1
    assert read.report.missing_alone["education"] == 1
    assert read.report.missing_alone["origin"] == 1
    assert sorted(set(range(240)) - set(read.rows)) == [3, 5, 8, 10]
    assert read.frame["age"].tolist() == microdata()["age"].drop([3, 5, 8, 10]).tolist()
    assert not read.frame.isna().any(axis=None)
    with pytest.raises(ValueError, match="read-only"):
        read.rows[0] = 3


def test_stated_columns_and_roles_must_be_complete() -> None:
    read = survey(holed(), missing={"rule": "drop", "columns": ["education"]})
    assert read.report.missing == {"origin": 1, "education": 2}
    assert read.report.missing_alone == {"origin": 1, "education": 2}
    assert int(read.frame["wealth"].isna().sum()) == 1


def test_a_column_that_is_not_kept_can_be_required() -> None:
    read = survey(
        holed(), missing={"rule": "drop", "columns": ["income"]}, keep=["age"],
        derive={}, recode={},
    )  # fmt: skip
    assert read.report.missing == {"origin": 1, "income": 2}
    assert "income" not in read.frame.columns


def test_missing_codes_ranges_and_recodes_are_counted() -> None:
    frame = microdata()
    frame.loc[[0, 1], "age"] = 98
    frame.loc[[2], "age"] = 12
    frame.loc[[4, 5, 6], "educ"] = "other"
    frame.loc[[7], "moved"] = 9
    table = {"none": 0, "primary": 6, "secondary": 12, "tertiary": 16}
    read = survey(
        frame,
        missing_codes={"age": [97, 98], "moved": 9},
        valid_range={"age": {"min": 15}},
        recode={"education": {"from": "educ", "values": table, "other": "missing"}},
        missing={"rule": "drop"},
    )
    assert read.report.coded_missing == (("age", "97", 0), ("age", "98", 2), ("moved", "9", 1))
    assert read.report.out_of_range == (("age", "min 15", 1),)
    assert read.report.recoded_missing == {"education": 3}
    assert read.report.unused == ("missing_codes.age: 97", "recode.education: tertiary")
    assert read.report.rows_read - read.n_obs == 7


@pytest.mark.parametrize(
    ("declared", "by_hand", "by_file"),
    [
        ({}, (), (("inc", "998", 4), ("inc", "999", 2))),
        ({"inc": [998, 997]}, (("inc", "998", 4), ("inc", "997", 0)), (("inc", "999", 2),)),
        ({"inc": [998, 999], "edu": 3}, (("inc", "998", 4), ("inc", "999", 2), ("edu", "3", 6)),
         ()),
    ],
)  # fmt: skip
def test_missing_codes_of_the_file_are_counted(
    tmp_path: Path, declared: dict[str, Any], by_hand: tuple[Any, ...], by_file: tuple[Any, ...]
) -> None:
    frame = pd.DataFrame(
        {
            "y": np.resize([0.0, 1.0], 24),
            "inc": [998.0] * 4 + [999.0] * 2 + [100.0] * 18,
            "edu": np.resize([1.0, 2.0, 3.0, 1.0], 24),
        }
    )
    pyreadstat.write_sav(
        frame,
        tmp_path / "rows.sav",
        missing_ranges={"inc": [{"lo": 998, "hi": 999}]},
        variable_value_labels={"edu": {1: "none", 2: "school", 3: "no answer"}},
    )
    book = {
        "file": "rows.sav",
        "labels": ["edu"],
        "roles": {"choice": "y"},
        "alternatives": {"a": [0], "b": [1]},
        "missing": {"rule": "drop"},
        "missing_codes": declared,
    }
    (tmp_path / "b.toml").write_text(write_toml(book))
    read = read_survey(tmp_path / "b.toml")
    assert read.report.coded_missing == by_hand
    assert read.report.coded_by_file == by_file
    assert read.report.unused == tuple(f"missing_codes.{c}: {k}" for c, k, n in by_hand if n == 0)
    assert "edu" not in declared or "no answer" not in set(read.frame["edu"])
    told = str(read.describe())
    assert all(f"code {code} (of the file)" in told for _, code, _ in by_file)


def test_recode_keeps_or_replaces() -> None:
    frame = microdata()
    kept = {"level": {"from": "educ", "values": {"none": "no school"}, "other": "keep"}}
    read = survey(frame, recode=kept, keep=["age"], derive={}, networks={})
    assert set(read.frame["level"]) == {"no school", "primary", "secondary"}
    numbers = {"age": {"from": "age", "values": {"15": 16}, "other": "keep"}}
    read = survey(frame, recode=numbers, keep=["age"], derive={}, networks={})
    assert read.frame["age"].tolist() == frame["age"].replace(15, 16).tolist()


# ------------------------------------------------------------------------- unchanging


def test_nothing_reaches_the_survey() -> None:
    raw = microdata()
    read = survey(raw)
    before = read.frame.copy(deep=True)
    raw["age"] = 0
    raw.loc[0, "income"] = -1
    frame = read.frame
    frame.loc[0, "age"] = -99
    frame["choice"] = "stay"
    frame["new"] = 1
    column = read.column("income")
    column.iloc[0] = -1.0
    weight = read.role("weight")
    weight[:] = 0.0
    shared = read.shared(["age", "income"])
    shared.loc[0, "age"] = -99
    shared["income"] = 0.0
    handed_out = [
        read.frame["age"].to_numpy(),
        read.frame["income"].to_numpy(),
        read.role("weight").to_numpy(),
        read.role("choice").cat.codes.to_numpy(),
        read.frame[["age", "income"]].to_numpy(),
        read.frame[["income", "wealth"]].to_numpy(),
        read.shared(["age"])["age"].to_numpy(),
        read.shared(["age", "income"]).to_numpy(),
    ]
    for values in handed_out:
        # Either a copy, or not writable.
        with contextlib.suppress(ValueError):
            values[0] = 7
    pd.testing.assert_frame_equal(read.frame, before)
    assert read.fingerprint == survey().fingerprint
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.title = "other"  # type: ignore[misc]


def writes(read: Survey) -> dict[str, Callable[[], object]]:
    """Ways past pandas to what a survey holds."""
    book, report, frame = read.codebook, read.report, read.frame
    return {
        "array": lambda: read.frame["age"].array.__setitem__(0, -1),
        "array of a column": lambda: read.column("age").array.__setitem__(0, -1),
        "text": lambda: read.role("origin").array.__setitem__(0, "x"),
        "categories": lambda: read.role("choice").array.__setitem__(0, "stay"),
        "names of categories": lambda: read.role("choice").cat.categories.array.__setitem__(0, "x"),
        "names of columns": lambda: frame.columns.array.__setitem__(0, "x"),
        "rows": lambda: read.rows.setflags(write=True),
        "alternatives": lambda: book.alternatives.__setitem__("x", (9,)),
        "derive": lambda: book.derive.update(x="age"),
        "recode": lambda: book.recode.pop("education"),
        "values of a recode": book.recode["education"].values.clear,  # noqa: PD011
        "networks": book.networks.popitem,
        "attributes": lambda: operator.ior(book.attributes, {"x": {}}),
        "missing codes": lambda: book.missing_codes.setdefault("x", (1,)),
        "valid ranges": lambda: operator.delitem(book.valid_range, "age"),
        "report": lambda: report.missing.__setitem__("x", 1),  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("way", list(writes(survey())))
def test_no_way_leads_into_the_survey(way: str) -> None:
    read = survey(valid_range={"age": {"min": 0}})
    before = read.frame, read.codebook.model_dump_json(), str(read.report)
    with contextlib.suppress(TypeError, ValueError):
        writes(read)[way]()
    pd.testing.assert_frame_equal(read.frame, before[0])
    assert (read.codebook.model_dump_json(), str(read.report)) == before[1:]
    assert read.alternatives == tuple(read.frame["choice"].cat.categories)


def test_a_frozen_codebook_is_a_value() -> None:
    book, again = survey().codebook, survey().codebook
    assert pickle.loads(pickle.dumps(book)) == copy.deepcopy(book) == again == book
    assert hash(book) == hash(again)
    assert validate(Codebook, book.model_dump(by_alias=True), file="b") == book


def test_the_callers_arrays_are_not_held() -> None:
    values = np.arange(240.0)
    raw = microdata().assign(extra=1.0)
    raw = pd.concat([raw, pd.DataFrame({"held": values}, copy=False)], axis=1)
    read = survey(raw)
    values[:] = -1
    assert read.frame["held"].tolist() == list(range(240))


def test_fingerprint_sees_values_order_and_roles() -> None:
    raw = microdata()
    prints = {
        survey().fingerprint,
        survey(raw.iloc[::-1]).fingerprint,
        survey(raw.assign(age=lambda d: d["age"] + (d.index == 5))).fingerprint,
        survey(raw.rename(columns={"age": "years"}), derive={}).fingerprint,
        survey(roles={k: v for k, v in ROLES.items() if k != "weight"}).fingerprint,
        survey(alternatives={"stay": 0, "internal": [1], "international": [2, 3]}).fingerprint,
        survey(raw.assign(educ=raw["educ"].replace("none", "None")), recode={}).fingerprint,
    }
    assert len(prints) == 7
    assert survey().fingerprint == survey(raw.astype({"age": "float32"})).fingerprint


def test_fingerprint_is_the_same_in_another_process(codebook: Path) -> None:
    code = (
        "import sys; from bayesmig.survey.survey import read_survey;"
        "print(read_survey(sys.argv[1]).fingerprint)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(codebook)],
        capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert ran.stdout.strip() == read_survey(codebook).fingerprint


def test_a_survey_can_be_sent_to_a_process() -> None:
    read = survey()
    again = pickle.loads(pickle.dumps(read))
    pd.testing.assert_frame_equal(again.frame, read.frame)
    assert again.roles == read.roles


# ---------------------------------------------------------------------------- asking


def test_roles_and_columns_answer_or_advise() -> None:
    read = survey()
    assert read.roles.declared()["origin"] == "district"
    assert read.has("origin") and not read.has("region")
    with pytest.raises(SurveyError, match="declares no region") as caught:
        read.role("region")
    assert 'region = "COLUMN"' in caught.value.mend
    with pytest.raises(SurveyError, match=r"no role 'orgin'[\s\S]*did you mean 'origin'"):
        read.has("orgin")
    with pytest.raises(SurveyError, match="no column 'welth'") as caught:
        read.column("welth")
    assert "'wealth'" in caught.value.mend
    assert "240 choice situations" in repr(read)


def test_codes_of_role_columns_in_a_file(codebook: Path) -> None:
    extra = (
        "[missing]\nrule = 'drop'\n[missing_codes]\nmoved = 3.0\ndistrict = ['07']\n"
        "[valid_range]\nyear = { max = 2004 }\n"
    )
    text = CODEBOOK.replace("international = 3", "international = 2").replace("[1, 2]", "[1]")
    text = text.replace("[derive]", "[derive]\nat_seven = \"is_in(origin, '07')\"")
    codebook.write_text(text + extra)
    raw, read = microdata(), read_survey(codebook)
    lost = (raw["moved"] == 3) | (raw["district"] == "07") | (raw["year"] == 2005)
    assert read.rows.tolist() == np.flatnonzero(~lost).tolist()
    assert read.report.coded_missing == (
        ("moved", "3", int((raw["moved"] == 3).sum())),
        ("district", "07", 24),
    )


def test_a_made_column_may_play_a_role() -> None:
    read = read_survey(
        microdata(),
        roles={"choice": "stream", "origin": "area"},
        alternatives=["stay", "move"],
        recode={
            "stream": {"from": "moved", "values": {"0": "stay"} | dict.fromkeys("123", "move")}
        },
        derive={"area": "bins(age, 30, 45)"},
        keep=["age"],
    )
    assert list(read.frame.columns) == ["origin", "choice", "age"]
    assert set(read.role("origin")) == {"under 30", "30 to 44", "45 or more"}
    assert (read.frame["choice"] == "move").tolist() == (microdata()["moved"] > 0).tolist()
