"""What is done to rows in parts gives what it gives at once, to the last bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesmig import chunks
from bayesmig.design.design import Design, _spread
from bayesmig.design.formula import learn
from bayesmig.errors import DesignError
from bayesmig.expressions import parse_formula
from bayesmig.survey.suspicious import suspects
from tests.design.people import people, rich
from tests.fabricate import small_frame, survey_of


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of seven rows."""
    monkeypatch.setattr(chunks, "ROWS", 7)


@pytest.mark.parametrize(("n", "size", "expected"), [(0, 3, []), (3, 3, [3]), (7, 3, [3, 3, 1])])
def test_parts_follow_each_other(n: int, size: int, expected: list[int]) -> None:
    parts = list(chunks.chunks(n, size))
    assert [p.stop - p.start for p in parts] == expected
    rows = np.concatenate([np.arange(n)[p] for p in parts]) if parts else np.arange(0)
    np.testing.assert_array_equal(rows, np.arange(n))


def test_a_design_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns, priors and fingerprint of every block; levels are learnt of all rows."""
    whole: Design = rich()
    monkeypatch.setattr(chunks, "ROWS", 7)
    parts: Design = rich.__wrapped__()
    np.testing.assert_array_equal(parts.columns.persons, whole.columns.persons)
    np.testing.assert_array_equal(parts.priors["persons"].scale, whole.priors["persons"].scale)
    assert parts.support == whole.support
    assert parts.fingerprint == whole.fingerprint


@pytest.mark.parametrize("columns", [1, 2, 3, 15])
def test_standard_deviations_are_numpys_to_the_last_bit(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = np.random.default_rng(columns).gamma(2.0, size=(1_000, columns))
    monkeypatch.setattr(chunks, "ROWS", 7)
    np.testing.assert_array_equal(_spread(block), block.std(axis=0))


@pytest.mark.parametrize(
    "text",
    [
        "wealth * female + square(wealth)",
        "C(region, reference='west') * wealth",
        "scale(wealth) + center(education) + bs(wealth, df=5) + poly(education, degree=2)",
    ],
)
def test_a_formula_in_parts(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One region is in the last row alone, and the largest number too."""
    frame = people(60)
    frame.loc[59, ["region", "wealth"]] = ["south", 50.0]
    frame.loc[:58, "region"] = frame["region"].replace("south", "north")
    formula = parse_formula(text)
    encoder, whole = learn(formula, frame, constant=True)
    monkeypatch.setattr(chunks, "ROWS", 7)
    other, parts = learn(formula, frame, constant=True)
    assert other.names == encoder.names
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(other.apply(frame), whole)
    slope, expected = (e.derivative(frame, {"wealth": np.ones(60)}) for e in (other, encoder))
    np.testing.assert_array_equal(slope, expected)


@pytest.mark.usefixtures("few")
def test_rows_of_a_fault_are_counted_over_all_parts() -> None:
    frame = people(60).assign(money=1.0)
    frame.loc[[3, 40], "money"] = -1.0
    with pytest.raises(DesignError, match=r"rows 3, 40") as caught:
        learn(parse_formula("wealth + log(money)"), frame, constant=True)
    assert "the column 'log(money)' is not finite" in caught.value.what


@pytest.mark.usefixtures("few")
def test_a_column_is_constant_only_if_it_is_in_all_parts() -> None:
    from tests.design.people import design, theory

    late = np.r_[np.zeros(290), np.random.default_rng(0).integers(2, size=10)]
    assert design(theory("wealth + late"), people().assign(late=late)).persons[-1] == "late"
    with pytest.raises(DesignError, match="the column 'flat' is constant"):
        design(theory("wealth + flat"), people().assign(flat=2.0))


def test_a_survey_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = small_frame(100)
    frame["wealth"] = frame["wealth"].where(frame.index != 50, -0.0)
    whole = survey_of(frame)
    monkeypatch.setattr(chunks, "ROWS", 7)
    assert survey_of(frame).fingerprint == whole.fingerprint


@pytest.mark.usefixtures("few")
def test_a_suspicious_number_of_the_last_part_is_found() -> None:
    values = pd.Series([*np.linspace(15.5, 60.5, 40), 99.0])
    assert [s.value for s in suspects(values, "age")] == [99.0]
