"""Derived columns: against plain Python, and refusals that name rows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import BayesmigError, SpecError, SurveyError
from bayesmig.expressions import parse_arithmetic
from bayesmig.survey.derive import FUNCTIONS, Context, check_calls, derive
from bayesmig.survey.labels import labels_of

FRAME = pd.DataFrame(
    {
        "x": [1.0, 4.0, np.nan, 9.0, 16.0, 25.0],
        "y": [2.0, -1.0, 3.0, 0.0, 5.0, 7.0],
        "g": ["a", "a", "a", "b", "b", None],
        "age": [19, 20, 29, 30, 39, 40],
        "word": ["one", "2", "3", "4", "5", "6"],
        "flat": [1, 1, 1, 2, 3, 4],
    }
)


def made(text: str, frame: pd.DataFrame = FRAME) -> pd.Series:
    tree = parse_arithmetic(text, FUNCTIONS)
    check_calls(tree, "new")
    context = Context(
        frame.__getitem__, lambda name: labels_of(frame[name]), ("book.toml", "key derive.new")
    )
    return derive(tree, context)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("x + 2 * y - 1", lambda x, y: x + 2 * y - 1),
        ("-x / 4", lambda x, y: -x / 4),
        ("+x ** 2", lambda x, y: x**2),
        ("x ** 0.5", lambda x, y: math.sqrt(x)),
        ("log(x)", lambda x, y: math.log(x)),
        ("log1p(abs(y))", lambda x, y: math.log(1 + abs(y))),
        ("sqrt(x) * exp(-y)", lambda x, y: math.sqrt(x) * math.exp(-y)),
        ("minimum(x, y)", min),
        ("maximum(x, 5)", lambda x, y: max(x, 5)),
        ("is_in(y, 2, -1)", lambda x, y: float(y in (2, -1))),
    ],
)
def test_against_plain_python(text: str, row: object) -> None:
    found = made(text)
    for i, (x, y) in enumerate(zip(FRAME["x"], FRAME["y"], strict=True)):
        if math.isnan(x) and "x" in text.replace("exp", "").replace("max", ""):
            assert math.isnan(found[i])
        else:
            assert found[i] == pytest.approx(row(x, y), abs=1e-12)  # type: ignore[operator]


def test_center_and_scale_within_groups_by_loops() -> None:
    centred, scaled, overall = (
        made("center(x, within=g)"),
        made("scale(x, within=g)"),
        made("scale(x)"),
    )
    for group in ("a", "b"):
        rows = [i for i in range(6) if FRAME["g"][i] == group and not math.isnan(FRAME["x"][i])]
        values = [FRAME["x"][i] for i in rows]
        mean = sum(values) / len(values)
        sd = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        for i, v in zip(rows, values, strict=True):
            assert centred[i] == pytest.approx(v - mean)
            assert scaled[i] == pytest.approx((v - mean) / sd)
    assert math.isnan(centred[2]) and math.isnan(scaled[5])
    assert overall.mean() == pytest.approx(0, abs=1e-12)
    assert overall.std(ddof=0) == pytest.approx(1)


def test_bins_are_ordered_text() -> None:
    found = made("bins(age, 20, 30, 40)")
    assert found.tolist() == ["under 20", "20 to 29", "20 to 29", "30 to 39", "30 to 39",
                              "40 or more"]  # fmt: skip
    assert found.cat.ordered
    assert made("bins(age, 20, 21)").tolist()[1] == "20"
    halves = made("bins(x / 2, 2, 5)")
    assert halves.cat.categories.tolist() == ["under 2", "2 to <5", "5 or more"]
    assert halves.isna().tolist() == [False, False, True, False, False, False]


def test_text_columns_pass_and_compare() -> None:
    assert made("word").tolist() == FRAME["word"].tolist()
    assert made("is_in(word, 'one', 6)").tolist() == [1, 0, 0, 0, 0, 1]
    assert made("is_in(g, 'a')").isna().tolist() == [False] * 5 + [True]


WRONG = [
    ("log(y)", SurveyError, "log(y) is not a finite number for -1", "rows 1, 3", "log1p"),
    ("sqrt(y)", SurveyError, "sqrt(y) is not a finite number for -1", "rows 1", "valid_range"),
    ("x / y", SurveyError, "x / y is not a finite number for 9 and 0", "rows 3", "zeros"),
    ("y ** 0.5", SurveyError, "not a finite number", "rows 1", "valid_range"),
    ("exp(x * 100)", SurveyError, "not a finite number for 900", "rows 3, 4, 5", "valid_range"),
    ("log(-1) + x", SurveyError, "not a finite number for -1", "rows 0", "log1p"),
    ("word * 2", SurveyError, "holds text where numbers are needed: 'one'", "rows 0", "recode"),
    ("g + 1", SurveyError, "column 'g' holds text", "rows 0, 1, 2", "recode"),
    ("scale(flat, within=g)", SurveyError, "standard deviation of 0 within g = a", "", "center()"),
    ("scale(y, by=g)", SpecError, "scale() has no argument 'by'", "", "within=COLUMN"),
    ("scale(y, within=1)", SpecError, "within of scale() must be a column", "", "within=COLUMN"),
    ("log(x, y)", SpecError, "log() takes 1 argument, got 2", "", "log(x)"),
    ("minimum(x)", SpecError, "minimum() takes 2 arguments, got 1", "", "minimum(x, y)"),
    ("log('x')", SpecError, "log() takes numbers, not text", "", "log(x)"),
    ("bins(x)", SpecError, "needs a column and at least one value", "", "bins(x, 20, 30, 40)"),
    ("bins(x, 3, 2)", SpecError, "rising numbers", "", "bins(x, 20, 30, 40)"),
    ("bins(x, 3, y)", SpecError, "plain numbers or text", "", "bins(x, 20, 30, 40)"),
    ("bins(x, 'a')", SpecError, "rising numbers", "", "bins(x, 20, 30, 40)"),
    ("1 + bins(x, 3)", SpecError, "cannot stand inside", "", "on its own"),
    ("is_in(x + 1, 3)", SpecError, "looks at a column", "", "is_in(COLUMN"),
    ("x + 'a'", SpecError, "the text 'a' stands where a number", "", "is_in"),
    ("1 + 2", SpecError, "reads no column", "", ""),
    ("scale(1)", SpecError, "reads no column", "", ""),
    ("__import__('os')", SpecError, "not allowed", "", ""),
    ("x.mean()", SpecError, "not in the formula language", "", ""),
    ("eval('x')", SpecError, "eval() is not allowed", "", ""),
    ("x if y else 1", SpecError, "not in the formula language", "", ""),
]


@pytest.mark.parametrize(("text", "kind", "what", "rows", "mend"), WRONG, ids=[w[0] for w in WRONG])
def test_refusals(text: str, kind: type[BayesmigError], what: str, rows: str, mend: str) -> None:
    with pytest.raises(kind) as caught:
        made(text)
    assert what in caught.value.what
    assert rows in " · ".join(caught.value.where)
    assert mend in caught.value.mend


def test_missing_input_is_no_error() -> None:
    for text in ("log(x)", "x ** 0", "x ** 2", "minimum(x, 0)", "0 * x", "y + x ** 0"):
        assert made(text).isna().tolist() == [False, False, True, False, False, False], text
    assert made("fill(x, 7) ** 0").tolist() == [1] * 6
