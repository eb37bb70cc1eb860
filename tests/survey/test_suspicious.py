"""Nine-patterns: undeclared codes are found, real values are left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        ([0, 1, 2, 3, 4, 5, 9], [9]),
        ([1, 2, 3, 997, 998], [997, 998]),
        ([-1.5, 2, 3, -9], [-9]),
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
    assert suspects(pd.Series(["a", "b", "12"]), "x") == ()


def planted(rest: Any, codes: dict[float, int]) -> list[float]:
    return [*rest, *(code for code, rows in codes.items() for _ in range(rows))]


RNG = np.random.default_rng(4)
DAYS, LIKERT, EDUCATION = (RNG.integers(a, b, 2_000) for a, b in ((0, 31), (1, 6), (0, 19)))
YES_NO, ANY_SIGN = RNG.integers(0, 2, 400), RNG.integers(-50, 50, 400)
NSDUH = {85: 5, 91: 500, 93: 300, 94: 12, 97: 9, 98: 40, 99: 20}
CODES: dict[str, tuple[Any, dict[float, int]]] = {
    "NSDUH, two digits": (DAYS, NSDUH),
    "NSDUH, three digits": (DAYS, {900 + code: rows for code, rows in NSDUH.items()}),
    "NSDUH, four digits": (DAYS, {9_900 + code: rows for code, rows in NSDUH.items()}),
    "Likert 8 and 9": (LIKERT, {8: 60, 9: 90}),
    "Likert 9": (LIKERT, {9: 3}),
    "Likert 7": (LIKERT, {7: 30}),
    "yes, no and 9": (YES_NO, {9: 5}),
    "mostly 9": (YES_NO, {9: 4_000}),
    "DHS education": (EDUCATION, {96: 60, 98: 90}),
    "DHS, four digits": (RNG.integers(0, 1_000, 400), {9_996: 3}),
    "DHS, five digits": (RNG.integers(0, 1_000, 400), {99_996: 1}),
    "repeated digits": (EDUCATION, {77: 3, 88: 4}),
    "decimals": ((RNG.random(400) * 10).round(2), {99.9: 10}),
    "two decimals": ((RNG.random(400) * 4).round(2), {9.99: 2}),
    "negative among both signs": (ANY_SIGN, {-999: 10}),
    "near negative among both signs": (ANY_SIGN, {-99: 10}),
    "two negatives": (EDUCATION, {-98: 1, -99: 10}),
    "inside wealth": (RNG.lognormal(15, 3, 400).round(), {99_999_998: 3}),
    "inside incomes": (RNG.lognormal(9, 2, 3_000).round(-2), {99_999: 2}),
    "three codes beyond ages": (RNG.integers(15, 60, 400), {97: 1, 98: 1, 99: 1}),
}


@pytest.mark.parametrize(("rest", "codes"), CODES.values(), ids=CODES)
def test_codes_of_surveys_are_found(rest: Any, codes: dict[float, int]) -> None:
    values = pd.Series(planted(rest, codes), dtype="float64")
    assert {s.value: s.rows for s in suspects(values, "x")} == codes
    text = values.map(lambda v: f"{v:g}").astype("str")
    if text.astype(float).eq(values).all():
        assert {s.value for s in suspects(pd.concat([text, pd.Series(["none"])]), "x")} == {*codes}


def test_codes_among_words_are_found() -> None:
    (suspect,) = suspects(pd.Series(["none", "primary", "99", "99"]), "edu")
    assert (suspect.value, suspect.rows) == (99, 2)
    assert str(suspect) == "'edu' holds 99 in 2 rows (others words)"


def ages(rng: np.random.Generator) -> Any:
    """A Gompertz-like tail to 99 and more, open at the top."""
    age = rng.choice(
        np.arange(100), 3_000, p=(w := np.exp(-np.exp((np.arange(100) - 80) / 9))) / w.sum()
    )
    return np.where(age % 5 == 4, np.where(rng.random(3_000) < 0.4, age + 1, age), age)


SOUND: dict[str, Callable[[np.random.Generator], Any]] = {
    "ages": ages,
    "few ages": lambda rng: ages(rng)[:300],
    "adults": lambda rng: (a := ages(rng))[a >= 15],
    "all incomes": lambda rng: rng.lognormal(9, 1.2, 5_000).round(),
    "rounded incomes": lambda rng: rng.lognormal(9, 1, 5_000).round(-2),
    "many incomes": lambda rng: rng.lognormal(11.5, 0.5, 100_000).round(),
    "wealth": lambda rng: rng.lognormal(15, 3, 400).round(),
    "children": lambda rng: rng.poisson(2.5, 2_000),
    "household size": lambda rng: 1 + rng.negative_binomial(3, 0.4, 2_000),
    "hours": lambda rng: np.minimum(rng.normal(42, 14, 2_000).round(), 112).clip(0),
    "scale of seven": lambda rng: rng.integers(1, 8, 500),
    "scale of nine": lambda rng: rng.integers(1, 10, 500),
    "percent": lambda rng: rng.integers(0, 101, 2_000),
    "shares": lambda rng: rng.random(2_000).round(2),
    "logarithms": lambda rng: rng.normal(8, 1, 2_000).round(2),
    "years": lambda rng: rng.integers(1950, 2000, 2_000),
    "two digits of years": lambda rng: rng.integers(40, 100, 2_000),
    "running numbers": lambda rng: np.repeat(np.arange(90_000, 120_000), 2),
    "temperature": lambda rng: rng.normal(0, 12, 2_000).round(),
}


@pytest.mark.parametrize("draw", SOUND.values(), ids=SOUND)
def test_false_alarms_are_rare(draw: Callable[[np.random.Generator], Any]) -> None:
    drawn = [draw(np.random.default_rng(seed)) for seed in range(20)]
    alarms = [found(np.asarray(values, dtype="float64")) for values in drawn]
    assert sum(map(bool, alarms)) <= 1, alarms
