"""Statements of hypotheses spelled out, and what their ROPEs mean.

The words are of differences between people, never of causes: a report uses them too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import exp

from bayesmig.explanation.words import listed, units_of
from bayesmig.spec.model import Hypothesis
from bayesmig.spec.statement import Average, Inequality, as_average, percentile_of

_WAYS = {">": "is above", "<": "is below", "!=": "differs from"}
_BETWEEN = {
    ast.Add: "plus",
    ast.Sub: "less",
    ast.Mult: "times",
    ast.Div: "divided by",
    ast.Pow: "to the power",
}
#: Shows the name of a column or alternative.
Mark = Callable[[str], str]


#: What the sentences below take for granted; said once, above them.
GROUND = (
    "Averages are over the people of the survey, who keep all columns but the one that is "
    "named. “Higher by one” is 1 rather than 0 for an indicator. A relative difference is a share "
    "of the average probability without it. Log odds are each person's own, and averaged then. The "
    "probability that a difference counts as none is reported beside that of the claim."
)


def spelled_out(hypothesis: Hypothesis) -> str:
    """What a hypothesis states, as a sentence about averages over people."""
    words = in_words(hypothesis.inequalities)
    return f"{words[0].upper()}{words[1:]}."


def in_words(parts: Iterable[Inequality], mark: Mark = str) -> str:
    """Inequalities in words, to be part of a sentence.

    Parameters
    ----------
    parts
        Of a statement (`bayesmig.spec.statement.parse_statement`).
    mark
        Shows names, for instance as HTML; all other words need no escaping.
    """
    said = [_inequality(part, mark) for part in parts]
    if len(said) == 1:
        return said[0]
    numbered = "; ".join(f"({n}) {part}" for n, part in enumerate(said, start=1))
    return f"{'both' if len(said) == 2 else 'all'} hold: {numbered}"


def rope_meaning(hypothesis: Hypothesis) -> str:
    """What the ROPE counts as no difference."""
    rope = hypothesis.rope
    if rope == 0:
        return "No ROPE is stated: the smallest difference counts."
    amounts = listed(dict.fromkeys(_amount(part, rope) for part in hypothesis.inequalities), "or")
    larger = any(part.sign == "!=" for part in hypothesis.inequalities)
    return (
        f"A difference of less than {amounts} counts as none (ROPE ±{rope:g})"
        + ("; the claim is of a larger one" if larger else "")
        + "."
    )


def _amount(part: Inequality, rope: float) -> str:
    """The ROPE in the units of an estimand."""
    nodes = [n for side in (part.left, part.right) for n in ast.walk(side)]
    done = {type(n.op) for n in nodes if isinstance(n, ast.BinOp)}
    verbs = {a.verb for a in part.averages}
    if verbs == {"log_odds"} and done <= {ast.Add, ast.Sub}:
        return f"{rope:g} of log odds (a factor of {exp(rope):.3g} of odds)"
    if done or (verbs & {"lift", "log_odds"} and len(verbs) > 1):
        return f"{rope:g} between the two sides"
    if verbs == {"lift"}:
        return f"{100 * rope:g} % of an alternative's own probability"
    if verbs == {"correlation"}:
        return f"{rope:g} of a correlation"
    if verbs == {"spread"}:
        return f"{rope:g} of a standard deviation of log odds"
    if verbs == {"exponent"}:
        return f"{rope:g} of an exponent"
    points = "percentage point" if 100 * rope == 1 else "percentage points"
    return f"{100 * rope:g} {points}" + (" per unit" if verbs == {"slope"} else "")


def _inequality(part: Inequality, mark: Mark) -> str:
    left, right = _average(part.left), _average(part.right)
    way = _WAYS[part.sign]
    if left is None:
        return f"{_side(part.left, mark)} {way} {_side(part.right, mark)}"
    if right is not None and replace(left, alternative=right.alternative) == right:
        other = f"that of {mark(right.alternative)}"
    elif right is not None and left.at and right.at and replace(left, at=right.at) == right:
        other = f"that where {listed(_holds(right, mark))}"
    else:
        other = _side(part.right, mark)
    where = f"where {_where(left, mark)}, " if _where(left, mark) else ""
    return f"{where}{_what(left, mark)} {way} {other}"


def _average(side: ast.expr) -> Average | None:
    return as_average(side) if isinstance(side, ast.Call) else None


def _side(node: ast.expr, mark: Mark, inner: bool = False) -> str:
    match node:
        case ast.Constant(value=int() | float() as value):
            return "zero" if value == 0 else f"{value:g}"
        case ast.UnaryOp(op=op, operand=operand):
            inside = _side(operand, mark, inner=True)
            return f"minus {inside}" if isinstance(op, ast.USub) else inside
        case ast.BinOp(left=left, op=op, right=right):
            sides = (_side(side, mark, inner=True) for side in (left, right))
            text = f" {_BETWEEN[type(op)]} ".join(sides)
            return f"({text})" if inner else text
        case ast.Call():
            average = as_average(node)
            where = _where(average, mark)
            return _what(average, mark) + (f" where {where}" if where else "")
        case _:
            return mark(ast.unparse(node))


def _where(average: Average, mark: Mark) -> str:
    """What differs, and what is held; nothing where an average is of people as they are."""
    differs = bool(average.variable) and average.verb != "slope"
    first = [f"{mark(average.variable)} is higher by one"] if differs else []
    return listed([*first, *_holds(average, mark)])


def _holds(average: Average, mark: Mark) -> list[str]:
    return [f"{mark(column)} is {_held(value)} for all" for column, value in average.at]


def _held(value: float | str) -> str:
    """A number, or a percentile of the people."""
    share = percentile_of(value)
    return f"{value:g}" if share is None else f"at its percentile {100 * share:.0f}"


def _what(average: Average, mark: Mark) -> str:
    alternative = mark(average.alternative)
    of = f"the probability of {alternative}"
    match average.verb:
        case "share":
            return f"the average probability of {alternative}"
        case "slope":
            return f"the average derivative by {mark(average.variable)} of {of}"
        case "comparison":
            return f"the average difference of {of}"
        case "excess":
            return (
                f"the average difference of {of}, beyond the one that leaves each person's odds "
                "against the base as they were,"
            )
        case "log_odds":
            averaged = "average difference" if average.variable else "average"
            return f"the {averaged} of people's log odds of {alternative} against the base"
        case "unable":
            return f"the share of those who stay that would choose {alternative} if everybody could"
        case "kept":
            return f"the share kept from {alternative} of those who would choose it if they could"
        case "vpc":
            over = units_of(average.level)
            return f"the share of the variance of {alternative}'s utility that lies between {over}"
        case "correlation":
            both = f"{alternative} and {mark(average.other)}"
            return f"the correlation of {both} over {units_of(average.level)}"
        case "spread":
            over = units_of(average.level)
            term = mark(average.term)
            return f"the spread over {over} of the coefficient of {term} on {alternative}"
        case "exponent":
            return f"the exponent of the curve of {mark(average.level)}"
        case _:
            return f"the relative difference of the average probability of {alternative}"
