"""Planted faults: one typed error each, with file, key, column, first rows and the mend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import BayesmigError, SpecError, SurveyError
from bayesmig.survey.survey import read_survey

Change = Callable[[pd.DataFrame], pd.DataFrame]
Text = Callable[[str], str]

BOOK = """
title = "faulty"
file = "rows.csv"
keep = ["age", "educ", "before", "fare"]

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

[derive]
age_10 = "(age - 25) / 10"

[networks]
network = { prior = "before", alone = 0 }
"""


def microdata(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    person = np.repeat(np.arange(n // 2), 2)
    return pd.DataFrame(
        {
            "pid": person,
            "hid": person // 3,
            "district": person // 9,
            "year": np.tile([2000, 2005], n // 2),
            "w": rng.gamma(3, 1, n).round(3),
            "moved": np.resize(["stay", "internal", "stay", "abroad", "stay"], n),
            "age": rng.integers(15, 60, n),
            "educ": np.resize(["none", "primary"], n),
            "before": rng.integers(0, 2, n),
            "fare": rng.gamma(3, 1, n).round(3),
        }
    )


def set_rows(column: str, rows: list[int], value: object) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[rows, column] = value
        return frame

    return change


def swap(old: str, new: str) -> Text:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def add(table: str) -> Text:
    return lambda text: f"{text}\n{table}\n"


def same(thing: Any) -> Any:
    return thing


S, P = SurveyError, SpecError
FAULTS: list[tuple[str, Change, Text, type[BayesmigError], str, str, str]] = [
    # name, data, codebook, error, what, where, mend
    ("data file", same, swap("rows.csv", "row.csv"), S, "does not exist", "row.csv", "'rows.csv'"),
    ("no file key", same, swap('file = "rows.csv"', ""), P, "key 'file' is missing", "book.toml",
     "add file"),
    ("misspelt key", same, swap("keep =", "kepe ="), P, "unknown key 'kepe'", "key kepe",
     "'keep'"),
    ("misspelt role", same, swap("origin =", "orgin ="), P, "unknown key 'orgin'",
     "key roles.orgin", "'origin'"),
    ("no choice", same, swap('choice = "moved"', ""), P, "key 'choice' is missing",
     "key roles.choice", "add choice"),
    ("role of a list", same, swap('"moved"', '["moved"]'), P, "expected text", "key roles.choice",
     ""),
    ("role column absent", same, swap('"district"', '"distrct"'), S,
     "column 'distrct' is not in the data", "key roles.origin", "'district'"),
    ("kept column absent", same, swap('"age", "educ"', '"agee", "educ"'), S, "column 'agee'",
     "key keep", "'age'"),
    ("derived from nothing", same, swap("(age -", "(aeg -"), S, "column 'aeg'",
     "key derive.age_10", "'age'"),
    ("required column absent", same, add('[missing]\ncolumns = ["agee"]'), S, "column 'agee'",
     "key missing.columns", "'age'"),
    ("code in a derive", same, swap("(age - 25) / 10", "__import__('os').getpid()"), P,
     "not in the formula language", "key derive.age_10", "columns, numbers"),
    ("unknown function", same, swap("(age - 25) / 10", "logg(age)"), P, "logg() is not allowed",
     "key derive.age_10", "columns"),
    ("made over a column", same, swap("age_10 =", "age ="), P, "has the name of a column",
     "book.toml", "another name"),
    ("made twice", same, add('[recode.age_10]\nfrom = "age"\nvalues = { 1 = 2 }'), P,
     "'age_10' is made twice", "age_10", "another name"),
    ("circular derives", same, swap('age_10 = "(age - 25) / 10"', 'a = "b + 1"\nb = "a + 1"'), P,
     "circular: a → b → a", "key derive.a", "from columns of the data"),
    ("text in a derive", set_rows("age", [7, 9], "forty"), same, S,
     "holds text where numbers are needed: 'forty', 'forty'", "rows 7, 9", "missing_codes"),
    ("log of zero", set_rows("age", [3], 0), swap("(age - 25) / 10", "log(age)"), S,
     "log(age) is not a finite number for 0", "rows 3", "log1p"),
    ("constant in scale", lambda d: d.assign(age=30), swap("(age - 25) / 10", "scale(age)"), S,
     "standard deviation of 0", "key derive.age_10", "center()"),
    ("infinite", set_rows("fare", [4, 8], np.inf), same, S, "'fare' holds infinite", "rows 4, 8",
     "valid_range"),
    ("unmapped code", set_rows("moved", [11, 12], "moon"), same, S,
     "belong to no alternative: 'moon' (2 rows)", "rows 11, 12", "[missing_codes]"),
    ("code mapped twice", same, swap('["abroad"]', '["abroad", "stay"]'), P,
     "mapped to both 'stay' and 'international'", "key alternatives", ""),
    ("one alternative", same, swap('internal = ["internal"]\ninternational = ["abroad"]', ""), P,
     "at least 2 entries", "key alternatives", ""),
    ("never chosen", set_rows("moved", list(range(60)), "stay"), same, S,
     "'internal' is never chosen", "key alternatives.internal", "merge"),
    ("never chosen after drops", lambda d: d.assign(age=d["age"].where(d["moved"] != "abroad")),
     add('[missing]\nrule = "drop"'), S, "'international' is never chosen in the rows kept (12",
     "key alternatives.international", "check"),
    ("negative weight", set_rows("w", [5], -1.0), same, S,
     "weights must be finite and at least 0, got -1", "rows 5", "correct"),
    ("infinite weight", set_rows("w", [5], np.inf), same, S, "infinite", "rows 5", "correct"),
    ("missing weight", set_rows("w", [5, 6], np.nan), same, S, "'weight' is missing in 2 rows",
     "rows 5, 6", 'rule = "drop"'),
    ("text weight", set_rows("w", [5], "heavy"), same, S, "text where numbers are needed: 'heavy'",
     "key roles.weight", ""),
    ("all weights zero", lambda d: d.assign(w=0), same, S, "all weights are 0", "key roles.weight",
     ""),
    ("missing value", set_rows("educ", [2], None), add('[missing]\nrule = "refuse"'), S,
     "'educ' is missing in 1 rows", "rows 2", 'rule = "drop"'),
    ("missing origin", set_rows("district", [2], None), add('[missing]\ncolumns = ["age"]'), S,
     "'origin' is missing", "rows 2", 'rule = "drop"'),
    ("all missing", lambda d: d.assign(fare=np.nan), same, S, "'fare' is missing in all 60 rows",
     "column 'fare'", "leave it out"),
    ("no complete row", lambda d: d.assign(fare=d["fare"].where(d["year"] == 2000),
     age=d["age"].where(d["year"] == 2005)), add('[missing]\nrule = "drop"'), S,
     "no row is complete", "key missing", "state under [missing]"),
    ("duplicate person-period", set_rows("year", [1], 2000), same, S,
     "person '0' stands in more than one row of the period '2000'; 2 rows", "rows 0, 1",
     "one row per person"),
    ("two households", lambda d: set_rows("hid", [1], 99)(set_rows("year", [1], 2000)(d)), same, S,
     "person '0' stands in more than one household of the same period", "rows 0, 1",
     "one household"),
    ("two households, no period", set_rows("hid", [1], 99), swap('period = "year"', ""), S,
     "person '0' stands in more than one household", "rows 0, 1", "declare the period"),
    ("unlisted value", same, add('[recode.e]\nfrom = "educ"\nvalues = { none = 0 }'), S,
     "1 values of 'educ' are not in the recode: 'primary'", "key recode.e", "other ="),
    ("mixed recode", same, add('[recode.e]\nfrom = "educ"\nvalues = { none = 0, primary = "p" }'),
     P, "both text ('p') and numbers (0)", "key recode.e", "all values"),
    ("empty recode", same, add('[recode.e]\nfrom = "educ"\nvalues = {}'), P, "at least 1 entries",
     "key recode.e.values", ""),
    ("misspelt rule", same, add('[missing]\nrule = "dorp"'), P,
     "expected 'complete', 'drop' or 'refuse'", "key missing.rule", "'drop'"),
    ("range of text", same, add("[valid_range]\neduc = { min = 0 }"), S, "holds text",
     "key valid_range.educ", ""),
    ("range without bounds", same, add("[valid_range]\nage = {}"), P, "needs min, max",
     "key valid_range.age", ""),
    ("missing code of a made column", same, add("[missing_codes]\nage_10 = [9]"), S,
     "'age_10' is not in the data", "key missing_codes.age_10", "columns of the file"),
    ("attribute of nobody", same, add("[attributes.cost]\nstay = 0\ninternl = 1"), P,
     "'internl' is not an alternative", "key attributes.cost", "'internal'"),
    ("attribute unstated", same, add('[attributes.cost]\nstay = 0\ninternal = "fare"'), P,
     "not stated for 'international'", "key attributes.cost", "international = 0"),
    ("attribute of text", same,
     add('[attributes.cost]\nstay = 0\ninternal = "educ"\ninternational = 1'), S, "holds text",
     "key attributes", ""),
    ("attribute column absent", same,
     add('[attributes.cost]\nstay = 0\ninternal = "faer"\ninternational = 1'), S, "column 'faer'",
     "key attributes.cost.internal", "'fare'"),
    ("role name taken", lambda d: d.assign(region=1),
     lambda t: swap('period = "year"', 'period = "year"\nregion = "district"')(
         swap('"fare"]', '"fare", "region"]')(t)), P,
     "'region' of the data is not the region (that is 'district')", "key roles.region", "keep"),
    ("network of nothing", same, swap('prior = "before"', 'prior = "befor"'), S, "column 'befor'",
     "key networks.network.prior", "'before'"),
    ("network key", same, swap("alone = 0", "alnoe = 0"), P, "unknown key 'alnoe'",
     "key networks.network.alnoe", "'alone'"),
    ("network without household", same, swap('household = "hid"', ""), S,
     "needs the role 'household'", "key networks.network", "leave_out"),
    ("network without origin", same, swap('origin = "district"', ""), S, "column 'origin'",
     "key networks.network.of", "under [roles]"),
    ("network of the choice", same, swap('prior = "before"', 'prior = "moved"'), S,
     "is the choice column or is derived from it", "key networks.network", "before the period"),
    ("network derived from the choice", same,
     lambda t: swap('prior = "before"', 'prior = "now"')(
         swap("[derive]", "[derive]\nnow = \"is_in(moved, 'internal')\"")(t)), S,
     "reflection problem", "key derive.now", "before the period"),
    ("share of those who choose now", same,
     swap("[derive]", """[derive]
came = "is_in(moved, 'internal')"
share = "came - center(came, within=district)\""""), S,
     "'came' is the choice column or is derived from it", "key derive.came", "before the period"),
    ("recode of the choice", same,
     add('[recode.far]\nfrom = "moved"\nvalues = { abroad = 1 }\nother = "missing"'), S,
     "reflection problem", "key recode.far", "before the period"),
    ("network equal to the choice", lambda d: d.assign(before=(d["moved"] != "stay") * 1), same, S,
     "exactly where 'internal' or 'international' is chosen", "column 'before'", "before the"),
    ("range without numbers", same, add("[valid_range]\nage = { min = 10, max = 1 }"), P,
     "no number lies within 10 and 1", "key valid_range.age", ""),
    ("bound that is no number", same, add("[valid_range]\nage = { max = nan }"), P,
     "expected a finite number, got nan", "key valid_range.age.max", ""),
    ("infinite bound", same, add("[valid_range]\nage = { max = inf }"), P,
     "expected a finite number, got inf", "key valid_range.age.max", ""),
    ("recode to infinity", same, add('[recode.e]\nfrom = "educ"\nvalues = { none = inf }'), P,
     "expected a finite number, got inf", "key recode.e.values.none", ""),
    ("infinite attribute", same,
     add("[attributes.cost]\nstay = 0\ninternal = inf\ninternational = 1"), P,
     "expected a finite number, got inf", "key attributes.cost.internal", ""),
    ("missing code that is no number", same, add("[missing_codes]\nage = [nan]"), P,
     "'not a number' is no code", "key missing_codes.age", ""),
    ("alternative code that is no number", same, swap('["abroad"]', '["abroad", nan]'), P,
     "'not a number' is no code", "key alternatives.international", ""),
    ("separator of lines", same, swap("[roles]", 'separator = "\\n"\n[roles]'), P,
     "cannot separate fields", "key separator", ""),
    ("column named by a word of Python", same, swap("age_10 =", "lambda ="), P,
     "a name that no formula can hold", "key derive.lambda", "lambda_"),
    ("made over a role", same, swap("age_10 =", "origin ="), P,
     "'origin' is not the origin (that is 'district')", "key derive.origin", "another name"),
    ("weight of the choice", same, swap('weight = "w"', 'weight = "moved"'), P,
     "'moved' cannot be both choice and weight", "roles.weight", "another column"),
    ("origin of the choice", same, swap('origin = "district"', 'origin = "moved"'), P,
     "'moved' cannot be both choice and origin", "roles.origin", "another column"),
    ("person of the household", same, swap('person = "pid"', 'person = "hid"'), P,
     "'hid' cannot be both person and household", "roles.person", "declare the household only"),
    ("weight of the strata", same, swap('weight = "w"', 'weight = "w"\nstrata = "w"'), P,
     "'w' cannot be both weight and strata", "roles.strata", "another column"),
    ("one origin spelt in two ways", set_rows("district", [3], "01"), same, S,
     "'01' and '1' are the same number", "column 'district'", "spell it in one way"),
    ("control character in an identifier", set_rows("pid", [3], "1\x07"), same, S,
     "characters that are no text", "rows 3", "control characters"),
    ("NUL in an identifier", set_rows("pid", [3], "1\x00"), same, S, "the character NUL",
     "rows 3", "remove it"),
    ("NUL in a text", set_rows("educ", [3], "no\x00ne"), same, S, "the character NUL", "rows 3",
     "remove it"),
    ("household in two origins", set_rows("district", [0], 7), same, S,
     "household '0' stands in more than one origin of the same period", "rows 0, 2, 4", "unique"),
    ("household twice", set_rows("year", [1], 2000), swap('person = "pid"\n', ""), S,
     "household '0' stands in more than one row of the period '2000'", "rows 0, 1, 2",
     "declare person"),
    ("household twice, no period", same,
     lambda t: swap('person = "pid"\n', "")(swap('period = "year"\n', "")(t)), S,
     "household '0' stands in more than one row;", "rows 0, 1, 2", "declare the period"),
    ("person copied into a network",
     lambda d: set_rows("educ", [1], None)(set_rows("year", [1], 2000)(d)),
     add('[missing]\nrule = "drop"'), S, "person '0' stands in more than one row", "rows 0, 1",
     "one row per person"),
    ("persons counted twice", same,
     lambda t: swap('period = "year"\n', "")(
         swap("alone = 0", 'leave_out = "person", measure = "count"')(t)), S,
     "person '0' stands in more than one row;", "key networks.network", "declare the period"),
    ("huge weight", set_rows("w", [5], 1e308), same, S, "a weight is 1e+308 where", "rows 5",
     "correct it"),
    ("absurd weight", set_rows("w", [5, 7], 1e9), same, S, "a weight is 1e+09 where", "rows 5, 7",
     "correct it"),
    ("network not 0/1", set_rows("before", [3], 4), same, S, "0 or 1 was expected",
     "column 'before'", "derive one"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "text", "kind", "what", "where", "mend"),
    FAULTS,
    ids=[f[0] for f in FAULTS],
)
def test_planted_fault(
    tmp_path: Path,
    name: str,
    data: Change,
    text: Text,
    kind: type[BayesmigError],
    what: str,
    where: str,
    mend: str,
) -> None:
    data(microdata()).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "book.toml").write_text(text(BOOK))
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(BayesmigError) as caught:
        read_survey(tmp_path / "book.toml")
    error = caught.value
    assert type(error) is kind, error
    assert what in error.what
    assert where in " · ".join(error.where)
    assert str(tmp_path) in " · ".join(error.where)
    assert mend in error.mend
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_the_unbroken_codebook_reads(tmp_path: Path) -> None:
    """The control: without a planted fault there is no error."""
    microdata().to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "book.toml").write_text(BOOK)
    assert read_survey(tmp_path / "book.toml").n_obs == 60


def test_wrong_separator_is_guessed(tmp_path: Path) -> None:
    microdata().to_csv(tmp_path / "rows.csv", index=False, sep=";")
    (tmp_path / "book.toml").write_text(BOOK)
    with pytest.raises(SurveyError, match="separator = ';'"):
        read_survey(tmp_path / "book.toml")


def test_choice_codes_of_the_dataframe() -> None:
    frame = pd.DataFrame({"y": [0, 1]})
    with pytest.raises(SpecError, match="key 'choice' is missing"):
        read_survey(frame, roles={}, alternatives=["a", "b"])
    with pytest.raises(SpecError, match="key 'roles' is missing"):
        read_survey(frame, alternatives=["a", "b"])
    with pytest.raises(SpecError, match="key 'alternatives' is missing"):
        read_survey(frame, roles={"choice": "y"})
    with pytest.raises(SpecError, match="'file' applies to files"):
        read_survey(frame, roles={"choice": "y"}, alternatives=["a", "b"], file="x.csv")
    with pytest.raises(SpecError, match="named twice"):
        read_survey(frame, roles={"choice": "y"}, alternatives=["a", "a"])
    with pytest.raises(SpecError, match="key roles"):
        read_survey(frame, roles="y", alternatives=["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(SurveyError, match=r"no rows[\s\S]*mend"):
        read_survey(frame.iloc[:0], roles={"choice": "y"}, alternatives=["a", "b"])
    with pytest.raises(SurveyError, match="stands 2 times"):
        read_survey(
            pd.concat([frame, frame], axis=1), roles={"choice": "y"}, alternatives=["a", "b"]
        )


@pytest.mark.parametrize("codes", [np.array([20, 21]), pd.Series([20, 21]), range(20, 22)])
def test_codes_may_be_any_list(codes: object) -> None:
    frame = pd.DataFrame({"y": [0, 1, 0], "age": [20, 21, 30]})
    read = read_survey(
        frame, roles={"choice": "y"}, alternatives={"a": 0, "b": 1}, missing_codes={"age": codes},
        missing={"columns": []},
    )  # fmt: skip
    assert read.report.coded_missing == (("age", "20", 1), ("age", "21", 1))


def test_sources_that_are_neither(tmp_path: Path) -> None:
    with pytest.raises(SurveyError, match="got int"):
        read_survey(3)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="codebook does not exist"):
        read_survey(tmp_path / "no.toml")
    with pytest.raises(SurveyError, match=r"not the data file 'rows\.csv'"):
        read_survey(tmp_path / "rows.csv")
    with pytest.raises(SpecError, match="'derive' is given beside a codebook"):
        read_survey(tmp_path / "no.toml", derive={})
