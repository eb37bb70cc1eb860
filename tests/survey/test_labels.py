"""One spelling for a value, whatever its type in the file."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmig.errors import SurveyError
from bayesmig.survey.labels import (
    labels_of,
    numbers_if_all,
    numbers_or_text,
    one_spelling,
    text_of,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (np.int8(1), "1"),
        ("1", "1"),
        ("01", "01"),
        (1.5, "1.5"),
        (-9.0, "-9"),
        (True, "1"),
        (datetime.date(2001, 2, 3), "2001-02-03"),
        (pd.Timestamp("2001-02-03"), "2001-02-03"),
        (pd.Timestamp("2001-02-03 04:00"), "2001-02-03T04:00:00"),
    ],
)
def test_spelling(value: object, text: str) -> None:
    assert text_of(value) == text


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9))))
def test_columns_are_spelt_as_their_values(values: list[float | None]) -> None:
    column = pd.Series([np.nan if v is None else float(v) for v in values], dtype="float64")
    expected = [None if v is None else text_of(float(v)) for v in values]
    spelt = labels_of(column)
    assert [None if pd.isna(v) else v for v in spelt] == expected
    assert spelt.dtype == "str"


def test_a_number_beside_its_text_is_refused() -> None:
    with pytest.raises(SurveyError, match="both written '1'"):
        labels_of(pd.Series([1, "1"], dtype=object))


def test_numbers_if_all() -> None:
    assert numbers_if_all(pd.Series(["01", "2"])).tolist() == [1, 2]
    assert numbers_if_all(pd.Series(["1", None, "2.5"])).tolist()[2] == 2.5
    assert numbers_if_all(pd.Series(["1", "x"])).tolist() == ["1", "x"]


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["1", "1.0", "1 ", "2"], ["1", "1", "1", "2"]),
        (["0.0", "-1.0", "2.50", "+3"], ["0", "-1", "2.5", "3"]),
        (["1e+05", "2"], ["100000", "2"]),
        (["1E5", "2B7"], ["1E5", "2B7"]),
        (["007", "012"], ["007", "012"]),
        (["9007199254740993", "9007199254740992.0"], ["9007199254740993", "9007199254740992"]),
        (["True", "FALSE"], ["1", "0"]),
        (["True", "maybe"], ["True", "maybe"]),
        (["a\t", None, " "], ["a", None, None]),
    ],
)
def test_identifiers_have_one_spelling(texts: list[str | None], labels: list[str | None]) -> None:
    spelt = one_spelling(pd.Series(texts, dtype="str"))
    assert [None if pd.isna(v) else v for v in spelt] == labels


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["1", "07", "7"], "'07' and '7' are the same number"),
        (["1.1", "1.10", "a"], "'1.1' and '1.10' are the same number"),
        (["x", "1E5", "100000"], "'1E5' and '100000' are the same number"),
        (["1", "2\x003", "2"], "characters that are no text"),
    ],
)
def test_identifiers_that_may_be_one_are_refused(texts: list[str], what: str) -> None:
    with pytest.raises(SurveyError) as caught:
        one_spelling(pd.Series(texts, dtype="str"), where=("f.csv", "column 'id'"))
    assert what in caught.value.what
    assert caught.value.where[-1].startswith("rows ")
    assert caught.value.mend


@pytest.mark.parametrize(
    "values",
    [[[1], [2]], [{"a": 1}, None], [np.array([1]), np.array([2])], [1 + 2j, 2]],
    ids=["lists", "tables", "arrays", "complex"],
)
def test_values_that_are_neither_numbers_nor_text(values: list[object]) -> None:
    with pytest.raises(SurveyError, match="numbers or text were expected") as caught:
        numbers_or_text(pd.Series(values, name="odd"))
    assert "column 'odd'" in caught.value.where[0] and "keep" in caught.value.mend
