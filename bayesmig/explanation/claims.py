"""Statements of hypotheses spelled out, and what their ROPEs mean."""

from __future__ import annotations

import ast
from dataclasses import replace

from bayesmig.explanation.words import listed
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


#: What the sentences below take for granted; said once, above them.
GROUND = (
    "Averages are over the people of the survey, who keep all columns but the one that is "
    "named. “Rises by one” is from 0 to 1 for an indicator. A relative change is a share of the "
    "average probability before the change. The probability that a difference counts as none is "
    "reported beside that of the claim."
)


def spelled_out(hypothesis: Hypothesis) -> str:
    """What a hypothesis states, as a sentence about averages over people."""
    parts = [_inequality(part) for part in hypothesis.inequalities]
    if len(parts) == 1:
        return f"{parts[0][0].upper()}{parts[0][1:]}."
    numbered = "; ".join(f"({n}) {part}" for n, part in enumerate(parts, start=1))
    return f"{'Both' if len(parts) == 2 else 'All'} hold: {numbered}."


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
    verbs = {a.verb for a in part.averages}
    if any(isinstance(n, ast.BinOp) for n in nodes) or ("lift" in verbs and len(verbs) > 1):
        return f"{rope:g} between the two sides"
    if verbs == {"lift"}:
        return f"{100 * rope:g} % of an alternative's own probability"
    points = "percentage point" if 100 * rope == 1 else "percentage points"
    return f"{100 * rope:g} {points}" + (" per unit" if verbs == {"slope"} else "")


def _inequality(part: Inequality) -> str:
    left, right = _average(part.left), _average(part.right)
    way = _WAYS[part.sign]
    if left is None:
        return f"{_side(part.left)} {way} {_side(part.right)}"
    if right is not None and _alike(left, right):
        other = f"that of {right.alternative}"
    else:
        other = _side(part.right)
    return f"{_when(left)}{_what(left)} {way} {other}"


def _alike(one: Average, other: Average) -> bool:
    """Whether two averages differ in the alternative alone."""
    return replace(one, alternative="") == replace(other, alternative="")


def _average(side: ast.expr) -> Average | None:
    return as_average(side) if isinstance(side, ast.Call) else None


def _side(node: ast.expr, inner: bool = False) -> str:
    match node:
        case ast.Constant(value=int() | float() as value):
            return "zero" if value == 0 else f"{value:g}"
        case ast.UnaryOp(op=op, operand=operand):
            inside = _side(operand, inner=True)
            return f"minus {inside}" if isinstance(op, ast.USub) else inside
        case ast.BinOp(left=left, op=op, right=right):
            text = f"{_side(left, inner=True)} {_BETWEEN[type(op)]} {_side(right, inner=True)}"
            return f"({text})" if inner else text
        case ast.Call():
            return average_words(as_average(node))
        case _:
            return ast.unparse(node)


def average_words(average: Average) -> str:
    """One average effect in words."""
    return _what(average) + (f" when {_rise(average)}" if _rise(average) else "")


def _when(average: Average) -> str:
    return f"when {_rise(average)}, " if _rise(average) else ""


def _rise(average: Average) -> str:
    """What changes, and what is held; nothing where an average is of people as they are."""
    rising = average.verb in ("comparison", "lift", "excess")
    rises = [f"{average.variable} rises by one"] if rising else []
    held = [f"{column} is {_held(value)} for all" for column, value in average.at]
    return listed([*rises, *held])


def _held(value: float | str) -> str:
    """A number, or a percentile of the people."""
    share = percentile_of(value)
    return f"{value:g}" if share is None else f"at its percentile {100 * share:.0f}"


def _what(average: Average) -> str:
    of = f"the probability of {average.alternative}"
    match average.verb:
        case "share":
            return f"the average probability of {average.alternative}"
        case "slope":
            return f"the average derivative by {average.variable} of {of}"
        case "comparison":
            return f"the average change of {of}"
        case "excess":
            return (
                f"the average change of {of}, beyond the one that leaves each person's odds "
                "against the base as they were,"
            )
        case _:
            return f"the relative change of the average probability of {average.alternative}"
