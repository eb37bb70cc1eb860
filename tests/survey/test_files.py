"""Formats: the same table from every one, and each way a file can be broken."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from bayesmig.errors import BayesmigError, SpecError, SurveyError
from bayesmig.survey.files import FileOptions, read_header, read_table, table_of, unique_names

FRAME = pd.DataFrame(
    {
        "id": ["007", "012", "099"],
        "age": [30, 41, 55],
        "income": [1.5, np.nan, 0.1 + 0.2],
        "place": ["Ulan", "São", "NA-1"],
    }
)


def write(path: Path) -> Path:
    match path.suffix:
        case ".parquet":
            FRAME.to_parquet(path)
        case ".dta":
            pyreadstat.write_dta(FRAME, path)
        case ".sav":
            pyreadstat.write_sav(FRAME, path)
        case _:
            FRAME.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.dta", "t.sav"])
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    options = FileOptions()
    assert read_header(path, options) == list(FRAME.columns)
    read = read_table(path, options, ["age", "income", "place", "id"], {"id"}).frame
    assert list(read.columns) == ["age", "income", "place", "id"]
    assert read["id"].tolist() == ["007", "012", "099"]
    np.testing.assert_array_equal(read["age"], [30, 41, 55])
    np.testing.assert_array_equal(read["income"], FRAME["income"])
    assert read["place"].tolist() == FRAME["place"].tolist()


def test_only_declared_texts_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("level,x\nNone,1\nnull,NA\nNA,nan\n,3\n")
    read = read_table(path, FileOptions(), ["level", "x"], set()).frame
    assert read["level"].tolist()[:2] == ["None", "null"]
    assert read["level"].isna().tolist() == [False, False, True, True]
    assert read["x"].isna().tolist() == [False, True, True, False]
    kept = read_table(path, FileOptions(missing_text=("null",)), ["level"], set()).frame
    assert kept["level"].tolist()[2] == "NA"


def test_separator_encoding_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("ort;x\nMünchen;1\n".encode("latin-1"))
    options = FileOptions(separator=";", encoding="latin-1")
    assert read_table(path, options, ["ort"], set()).frame["ort"].tolist() == ["München"]
    marked = tmp_path / "m.tsv"
    marked.write_bytes(b"\xef\xbb\xbfa\tb\n1\t2\n")
    assert read_header(marked, FileOptions()) == ["a", "b"]
    assert read_table(marked, FileOptions(), ["a"], set()).frame["a"].tolist() == [1]


@pytest.mark.parametrize("name", ["l.dta", "l.sav"])
def test_value_labels_where_they_cover(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"edu": [1.0, 2.0, 1.0], "age": [30.0, 98.0, 41.0]})
    labels = {"edu": {1: "primary", 2: "secondary"}, "age": {98: "do not know"}}
    path = tmp_path / name
    write = pyreadstat.write_dta if name.endswith("dta") else pyreadstat.write_sav
    write(frame, path, variable_value_labels=labels)
    plain = read_table(path, FileOptions(), ["edu", "age"], set())
    assert plain.frame["edu"].tolist() == [1, 2, 1]
    labelled = read_table(path, FileOptions(labels=True), ["edu", "age"], set())
    assert labelled.frame["edu"].tolist() == ["primary", "secondary", "primary"]
    assert labelled.frame["age"].tolist() == [30, 98, 41]
    assert labelled.partly_labelled == ("age",)
    with pytest.raises(SurveyError, match="values without a label: 30, 41"):
        read_table(path, FileOptions(labels=("age",)), ["age"], set())
    with pytest.raises(SpecError, match="'income' has no value labels"):
        read_table(path, FileOptions(labels=("income",)), ["age"], set())


def test_a_leading_blank_line_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n\na,b\n1,2\n")
    assert read_header(path, FileOptions()) == ["a", "b"]
    assert read_table(path, FileOptions(), ["b"], set()).frame["b"].tolist() == [2]


@pytest.mark.parametrize("ids", [[5, 3, 4], [0, 1, 2], ["x", "y", "z"]])
def test_the_index_of_a_parquet_file_is_a_column(tmp_path: Path, ids: list[object]) -> None:
    path = tmp_path / "t.parquet"
    FRAME.assign(key=ids).set_index("key").to_parquet(path)
    assert set(read_header(path, FileOptions())) == {"key", *FRAME.columns}
    assert read_table(path, FileOptions(), ["age", "key"], {"key"}).frame["key"].tolist() == ids
    FRAME.set_axis([3, 5, 9]).to_parquet(path)
    assert read_header(path, FileOptions()) == list(FRAME.columns)


MISSING_OF_THE_FILE = {
    "t.sav": (
        lambda frame, path: pyreadstat.write_sav(
            frame.assign(x=[1.0, 2.0, 998.0, 999.0, np.nan, 2.0]),
            path,
            missing_ranges={"x": [{"lo": 998, "hi": 999}]},
            variable_value_labels={"x": {1: "yes", 2: "no", 998: "do not know"}},
        ),
        ["998", "999"],
    ),
    "t.dta": (
        lambda frame, path: pyreadstat.write_dta(
            frame.assign(x=[1.0, 2.0, "a", "z", np.nan, 2.0]),
            path,
            missing_user_values={"x": ["a", "z"]},
            variable_value_labels={"x": {1: "yes", 2: "no"}},
        ),
        [".a", ".z"],
    ),
}


@pytest.mark.parametrize("name", MISSING_OF_THE_FILE)
@pytest.mark.parametrize("labels", [False, True])
def test_missing_codes_of_the_file_are_kept_apart(tmp_path: Path, name: str, labels: bool) -> None:
    write_file, codes = MISSING_OF_THE_FILE[name]
    write_file(pd.DataFrame({"i": np.arange(6.0)}), tmp_path / name)
    read = read_table(tmp_path / name, FileOptions(labels=labels), ["x", "i"], set())
    assert read.coded["x"].dropna().to_dict() == {2: codes[0], 3: codes[1]}
    assert read.frame["x"].isna().tolist() == [False, False, True, True, True, False]
    assert read.frame["x"].dropna().tolist() == (["yes", "no", "no"] if labels else [1, 2, 2])
    assert "i" not in read.coded and not read.partly_labelled


def test_missing_texts_of_spss(tmp_path: Path) -> None:
    frame = pd.DataFrame({"s": ["a", "XX", "b", ""]})
    pyreadstat.write_sav(frame, tmp_path / "t.sav", missing_ranges={"s": ["XX"]})
    read = read_table(tmp_path / "t.sav", FileOptions(), ["s"], set())
    assert read.coded["s"].dropna().to_dict() == {1: "XX"}
    assert read.frame["s"].isna().tolist() == [False, True, False, True]


@pytest.mark.parametrize("name", ["l.dta", "l.sav"])
def test_two_values_of_one_label_stay_apart(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"edu": [1.0, 2.0, 3.0, 3.0]})
    write = pyreadstat.write_dta if name.endswith("dta") else pyreadstat.write_sav
    labels = {"edu": {1: "school", 2: "college", 3: "school "}}
    write(frame, tmp_path / name, variable_value_labels=labels)
    read = read_table(tmp_path / name, FileOptions(labels=True), ["edu"], set())
    assert read.frame["edu"].tolist() == [1, 2, 3, 3]
    assert read.alike_labelled == ("edu",)
    with pytest.raises(SurveyError, match="the values 1 and 3 have one label: 'school'"):
        read_table(tmp_path / name, FileOptions(labels=("edu",)), ["edu"], set())
    declared = FileOptions(labels=("edu",), missing_codes={"edu": ["3.0"]})
    read = read_table(tmp_path / name, declared, ["edu"], set())
    assert read.frame["edu"].tolist()[:2] == ["school", "college"]
    assert read.coded["edu"].dropna().tolist() == ["3", "3"]


def _broken_gzip(path: Path) -> None:
    whole = gzip.compress("".join(["a,b\n", *(f"{i},{i**3}\n" for i in range(5_000))]).encode())
    path.write_bytes(whole[: len(whole) // 2])


def _cut(write: Callable[[pd.DataFrame, Path], object]) -> Callable[[Path], object]:
    def plant(path: Path) -> None:
        write(pd.concat([FRAME] * 500), path)
        path.write_bytes(path.read_bytes()[:-5_000])

    return plant


FAULTS: list[tuple[str, str, Callable[[Path], object], FileOptions, str, str]] = [
    ("missing", "no.csv", lambda p: None, FileOptions(), "does not exist", "holds no data file"),
    ("folder", "d.csv", lambda p: p.mkdir(), FileOptions(), "is a folder", "name a file"),
    ("empty", "e.csv", lambda p: p.touch(), FileOptions(), "is empty", "again"),
    ("only a header", "h.csv", lambda p: p.write_text("a,b\n"), FileOptions(), "no rows",
     "right file"),
    ("format", "x.xlsx", lambda p: p.touch(), FileOptions(), "unknown format '.xlsx'", ".parquet"),
    ("duplicate", "t.csv", lambda p: p.write_text("a,b,a\n1,2,3\n"), FileOptions(),
     "'a' stands 2 times", "rename"),
    ("duplicate twice", "t.csv", lambda p: p.write_text("a,b,a,b\n1,2,3,4\n"), FileOptions(),
     "(so do 'b')", "rename"),
    ("nameless", "t.csv", lambda p: p.write_text("a,,b\n1,2,3\n"), FileOptions(),
     "column number 1 is named ''", "name every column"),
    ("encoding", "t.csv", lambda p: p.write_bytes(b"a\ncaf\xe9\n"), FileOptions(),
     "not in the encoding 'utf-8'", "latin-1"),
    ("encoding of header", "t.csv", lambda p: p.write_bytes(b"caf\xe9\n1\n"), FileOptions(),
     "not in the encoding", "latin-1"),
    ("unknown encoding", "t.csv", lambda p: p.write_text("a\n1\n"), FileOptions(encoding="utf-9"),
     "unknown encoding", "latin-1"),
    ("ragged", "t.csv", lambda p: p.write_text("a,b\n1,2\n1,2,3\n"), FileOptions(),
     "not a table", "separator"),
    ("longer than the header", "t.csv", lambda p: p.write_text("a,b\n1,2,3\n4,5,6\n"),
     FileOptions(), "not a table", "separator"),
    ("cut gzip", "t.csv.gz", _broken_gzip, FileOptions(), "cannot be read", "cut off"),
    ("not gzip", "t.csv.gz", lambda p: p.write_text("a\n1\n"), FileOptions(), "cannot be read",
     "another format"),
    ("not parquet", "t.parquet", lambda p: p.write_text("a\n1\n"), FileOptions(),
     "cannot be read", "another format"),
    ("not stata", "t.dta", lambda p: p.write_text("a\n1\n"), FileOptions(), "cannot be read",
     "another format"),
    ("cut stata", "t.dta", _cut(pyreadstat.write_dta), FileOptions(), "cannot be read", "cut off"),
    ("cut spss", "t.sav", _cut(pyreadstat.write_sav), FileOptions(), "cannot be read", "cut off"),
    ("blank", "t.csv", lambda p: p.write_text("\n  \n\n"), FileOptions(), "no column",
     "first line"),
    ("gzip without saying so", "t.csv", lambda p: p.write_bytes(gzip.compress(b"a\n1\n")),
     FileOptions(), "packed (gzip)", "rename it to t.csv.gz"),
    ("zip", "t.csv", lambda p: p.write_bytes(b"PK\x03\x04...."), FileOptions(), "packed (zip)",
     "unpack"),
    ("short line", "t.csv", lambda p: p.write_text("a,b\n1,2\n\n3\n"), FileOptions(),
     "line 4 has 1 fields, the header has 2", "broken in two"),
    ("lists", "t.parquet", lambda p: pd.DataFrame({"a": [[1], [2]]}).to_parquet(p), FileOptions(),
     "values of the kind ndarray", "keep"),
    ("separator of parquet", "t.parquet", lambda p: p.touch(), FileOptions(separator=";"),
     "'separator' is given for a .parquet file", "remove"),
    ("labels of csv", "t.csv", lambda p: p.touch(), FileOptions(labels=True),
     "'labels' is given for a .csv file", "remove"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "name", "plant", "options", "what", "mend"), FAULTS, ids=[f[0] for f in FAULTS]
)
def test_broken_files_are_named(
    tmp_path: Path,
    fault: str,
    name: str,
    plant: Callable[[Path], object],
    options: FileOptions,
    what: str,
    mend: str,
) -> None:
    path = tmp_path / name
    plant(path)
    with pytest.raises(BayesmigError) as caught:
        read_table(path, options, read_header(path, options), set())
    assert what in caught.value.what
    assert str(path) in caught.value.where
    assert mend in caught.value.mend
    assert caught.value.mend


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "ifls.csv")
    with pytest.raises(SurveyError) as caught:
        read_header(tmp_path / "ilfs.csv", FileOptions())
    assert "ifls.csv" in caught.value.mend


def test_missing_data_are_not_looked_for_in_the_codebook(tmp_path: Path) -> None:
    (tmp_path / "people.toml").write_text("")
    with pytest.raises(SurveyError) as caught:
        read_header(tmp_path / "people.dta", FileOptions())
    assert "holds no data file" in caught.value.mend and "people.toml" not in caught.value.mend


def test_names_must_be_text() -> None:
    with pytest.raises(SurveyError, match="column number 0 is named 0"):
        unique_names([0, 1], "DataFrame")


def test_a_dataframe_is_copied_and_tidied() -> None:
    frame = pd.DataFrame(
        {
            "flag": [True, False, True],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "whole": pd.array([1, 2, 3], dtype="Int32"),
            "kind": pd.Categorical(["a", None, "b"]),
            "numbers": pd.Categorical([1, 2, 2]),
            "mixed": ["x", 1, None],
            "objects": np.array([1, 2.5, None], dtype=object),
            "blank": ["", "b", "c"],
            "day": pd.to_datetime(["2001-02-03", "2001-02-04", None]),
            "small": np.array([1, 2, 3], dtype="float32"),
        },
        index=[5, 6, 7],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = table_of(frame, list(frame.columns)).frame
    kinds = read.dtypes.astype(str).to_dict()
    assert {k: kinds[k] for k in ("flag", "whole", "numbers")} == dict.fromkeys(
        ("flag", "whole", "numbers"), "int64"
    )
    assert {kinds[k] for k in ("nullable", "objects", "small")} == {"float64"}
    assert {kinds[k] for k in ("kind", "mixed", "blank", "day")} == {"str"}
    assert read["mixed"].tolist()[:2] == ["x", "1"]
    assert read["blank"].isna().tolist() == [True, False, False]
    assert read["day"].tolist()[0] == "2001-02-03"
    assert read.index.tolist() == [0, 1, 2]
    frame.loc[5, "whole"] = 9
    frame["small"].to_numpy(copy=False)
    assert read["whole"].tolist() == [1, 2, 3]
