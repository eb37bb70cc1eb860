"""One spelling for a value, whatever its type in the file."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmig.errors import SurveyError
from bayesmig.survey.labels import labels_of, numbers_if_all, text_of


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
        (True, "true"),
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
