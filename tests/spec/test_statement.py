"""Statements of hypotheses: what may be claimed, and how it is read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bayesmig.errors import SpecError
from bayesmig.spec.statement import ESTIMANDS, Average, parse_statement


def test_a_statement_is_a_conjunction_of_inequalities() -> None:
    first, second = parse_statement(
        "slope(wealth, international) > 0\n and lift(female, stay) != 2 * lift(female, internal)"
    )
    assert (first.text, first.sign) == ("slope(wealth, international) > 0", ">")
    assert second.sign == "!="
    assert second.averages == (
        Average("lift", "female", "stay"),
        Average("lift", "female", "internal"),
    )


def test_a_level_is_named_in_quotes_or_not() -> None:
    one, two, three = parse_statement(
        "vpc(origin, a) > 0.01 and correlation('household:origin', b, a) < 0 and unable(a) > 0.1"
    )
    assert one.averages == (Average("vpc", "", "a", (), "origin"),)
    assert two.averages == (Average("correlation", "", "a", (), "household:origin", "b"),)
    assert three.averages == (Average("unable", "", "a"),)
    (same,) = parse_statement('vpc("origin", a) > 0.01')
    assert same.averages == one.averages


def test_a_spread_is_of_a_term_over_a_level() -> None:
    one, two = parse_statement("spread(origin, ties, a) > 0.1 and spread('h:o', 'x:y', b) < 1")
    assert one.averages == (Average("spread", "", "a", (), "origin", "", "ties"),)
    assert two.averages == (Average("spread", "", "b", (), "h:o", "", "x:y"),)


def test_an_exponent_is_one_of_a_curve() -> None:
    (part,) = parse_statement("exponent(network) > 1")
    assert part.averages == (Average("exponent", "", "", (), "network"),)


def test_each_average_is_asked_for_once() -> None:
    (part,) = parse_statement("excess(x, a) > 0")
    assert part.averages == (Average("excess", "x", "a"),)
    (part,) = parse_statement("share(a) / share(b) > share(b) / share(a) - comparison(x, a)")
    assert part.averages == (
        Average("share", "", "a"),
        Average("share", "", "b"),
        Average("comparison", "x", "a"),
    )


def test_log_odds_are_of_a_change_or_as_they_are() -> None:
    (part,) = parse_statement("log_odds(x, a, z=p90) > log_odds(a, z=p90)")
    at = (("z", "p90"),)
    assert part.averages == (Average("log_odds", "x", "a", at), Average("log_odds", "", "a", at))


def test_columns_are_held_at_numbers_and_percentiles() -> None:
    (part,) = parse_statement("lift(x, a, z=p05, y=-2) > share(a, y=0.5)")
    assert part.averages == (
        Average("lift", "x", "a", (("y", -2.0), ("z", "p05"))),
        Average("share", "", "a", (("y", 0.5),)),
    )
    (same,) = parse_statement("lift(x, a, y=-2, z=p05) > 0")
    assert same.averages[0] == part.averages[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("slope(x, a)", "an inequality such as"),
        ("slope(x, a) > 0 or slope(x, b) > 0", "an inequality such as"),
        ("not slope(x, a) > 0", "an inequality such as"),
        ("0 < slope(x, a) < 1", "an inequality such as"),
        ("slope(x, a) >= 0", "only <, > and != compare draws"),
        ("slope(x, a) == 0", "only <, > and != compare draws"),
        ("1 > 0", "it names no estimand"),
        ("x > slope(x, a)", "'x' stands outside an estimand"),
        ("slope(x, a) > wealth", "'wealth' stands outside an estimand"),
        ("slope(x) > 0", "write slope(column, alternative)"),
        ("slope(x, a, b) > 0", "write slope(column, alternative)"),
        ("share(x, a) > 0", "write share(alternative)"),
        ("log_odds(x, a, b) > 0", "log_odds(column, alternative) or log_odds(alternative)"),
        ("slope(x + 1, a) > 0", "write slope(column, alternative)"),
        ("slope('x', a) > 0", "write slope(column, alternative)"),
        ("slope(x, alternative=a) > 0", "write slope(column, alternative)"),
        ("slope(x, a, y=b) > 0", "columns to hold, each at a number or percentile"),
        ("slope(x, a, y=p00) > 0", "columns to hold, each at a number or percentile"),
        ("slope(x, a, y=p100) > 0", "columns to hold, each at a number or percentile"),
        ("slope(x, a, y=1 + 1) > 0", "columns to hold, each at a number or percentile"),
        ("slope(x, a, y='p10') > 0", "columns to hold, each at a number or percentile"),
        ("slope(x, a, y=1, y=2) > 0", "slope() holds 'y' at two values"),
        ("slope(x, a, **y) > 0", "** in a call is not allowed"),
        ("slope(slope(x, a), b) > 0", "write slope(column, alternative)"),
        ("vpc(a) > 0", "write vpc(level, alternative)"),
        ("vpc(origin, 'a') > 0", "write vpc(level, alternative)"),
        ("vpc(origin, a, x=1) > 0", "without columns to hold"),
        ("vpc(1, a) > 0", "write vpc(level, alternative)"),
        ("spread(origin, a) > 0", "write spread(level, term, alternative)"),
        ("spread(origin, x, 'a') > 0", "write spread(level, term, alternative)"),
        ("spread(origin, 1, a) > 0", "write spread(level, term, alternative)"),
        ("spread(origin, x, a, b) > 0", "write spread(level, term, alternative)"),
        ("spread(origin, x, a, z=1) > 0", "without columns to hold"),
        ("correlation(origin, a) > 0", "write correlation(level, alternative, another)"),
        ("correlation(origin, a, a) > 0", "write correlation(level, alternative, another)"),
        ("correlation(o, a, b) > correlation(o, b, a)", "differ by the same number"),
        ("share('a') > 0", "write share(alternative)"),
        ("exponent(x, a) > 1", "write exponent(curve)"),
        ("exponent('x') > 1", "write exponent(curve)"),
        ("exponent(x, y=1) > 1", "without columns to hold"),
        ("slpe(x, a) > 0", "slpe() is not allowed; did you mean 'slope'?"),
        ("share(a) > 'abc'", "'abc' is text, where a number was expected"),
        ("slope(x, a) > 0 and", "it does not parse"),
        ("slope(x, a) > x.mean()", "is not allowed"),
        ("share(a) < 0/0", "'0 / 0' is not a finite number"),
        ("share(a) > 1 + share(b) * (1/0)", "'1 / 0' is not a finite number"),
        ("share(a) / 0 > 1", "'share(a) / 0' divides by zero"),
        ("share(a) < 1e300 * 1e300", "is not a finite number"),
        ("share(a) < 10**10 * 10**10 * 1e300", "is not a finite number"),
        ("share(a) < 1e999", "has no finite value"),
        ("share(a) < share(a)", "differ by the same number whatever the data say"),
        ("share(a) - share(a) > 0.1", "differ by the same number"),
        ("0 * share(a) < 1", "differ by the same number"),
        ("share(a) * share(b) < share(b) * share(a)", "differ by the same number"),
        ("share(b) > 0 and share(a) ** 0 < 2", "differ by the same number"),
        ("\ud800 > 1", "it does not parse"),
        ("slope(x, a) > " + "0 + " * 600 + "0", "more than 2,000 characters"),
    ],
)
def test_anything_else_is_refused(text: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_statement(text, where="key hypotheses.mine.statement")
    assert says in caught.value.what
    assert caught.value.where == ("key hypotheses.mine.statement",)


@pytest.mark.parametrize(
    "text",
    [
        "slope(x, a) ** 2 > slope(x, b) ** 2",
        "share(a) / share(b) > 1 / 3",
        "lift(x, a) - lift(x, b) > 1e-9",
        "share(a) > 10 ** -10",
    ],
)
def test_sides_that_only_look_alike_are_accepted(text: str) -> None:
    assert parse_statement(text)


def test_the_page_has_every_verb_and_its_statements_are_read() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "hypotheses.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)\(([^)]*)\)` \|", page, flags=re.MULTILINE)
    told = {(verb, len(arguments.split(","))) for verb, arguments in rows}
    assert told == {(verb, n) for verb, counts in ESTIMANDS.items() for n in counts}
    (block,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    for stated in tomllib.loads(block)["hypotheses"].values():
        assert parse_statement(stated["statement"])
