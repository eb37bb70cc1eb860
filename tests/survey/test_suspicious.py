"""Nine-patterns: undeclared codes are found, real values are left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesmig.survey.suspicious import suspects

AGES = np.repeat(np.arange(15, 91), 20)
WEALTH = np.random.default_rng(1).lognormal(13, 1, 3_000).round()


def found(values: object) -> list[float]:
    return [s.value for s in suspects(pd.Series(values, dtype="float64"), "x")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([*AGES, 98, 99, 99], [98, 99]),
        ([*AGES, np.nan], []),
        ([*range(101)] * 9, []),
        ([*range(101), *[98] * 40] * 2, [98]),
        ([*WEALTH, 99999998, 99999998], [99999998]),
        ([*WEALTH], []),
        ([*np.minimum(WEALTH, 9_000_000), *[999_999.0] * 60], [999_999]),
        ([0, 1, 1, 0, 9], [9]),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], []),
        ([0, 1, 2, 3, 4, 5, 9], []),
        ([1, 2, 3, 997, 998], [997, 998]),
        ([-1.5, 2, 3, -9], []),
        ([0, 2, 3, -9, -99], [-99, -9]),
        ([99, 99, 98], []),
        ([0.97, 0.98, 0.99], []),
    ],
)
def test_patterns(values: list[float], expected: list[float]) -> None:
    assert found(values) == expected


def test_counts_and_range_are_told() -> None:
    (suspect,) = suspects(pd.Series([*AGES, 98.0, 98.0]), "age")
    assert (suspect.column, suspect.rows, suspect.low, suspect.high) == ("age", 2, 15, 90)


def test_text_gives_nothing() -> None:
    assert suspects(pd.Series(["98", "99"]), "x") == ()
