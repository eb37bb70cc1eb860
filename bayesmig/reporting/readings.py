"""What an inequality of averages says in plain words: an association, never a cause."""

from __future__ import annotations

import ast

from markupsafe import Markup

from bayesmig.reporting.words import code, listed
from bayesmig.spec.statement import Average, Inequality, as_average, parse_statement, percentile_of

_WAYS = {">": "higher", "<": "lower", "!=": "different"}
_ORDERS = {">": "is larger than", "<": "is smaller than", "!=": "differs from"}


def reading(statement: str) -> Markup:
    """A statement of a theory (`bayesmig.spec.statement`) read as associations.

    Lifts of two alternatives are compared as shares of each one's own probability,
    which goes without saying; other differences say that they are in percentage points.

    Parameters
    ----------
    statement
        Inequalities joined by ``and``.
    """
    return listed([_inequality(part) for part in parse_statement(statement)])


def _inequality(part: Inequality) -> Markup:
    left, right, way = _average(part.left), _average(part.right), _WAYS[part.sign]
    if left is None or (right is None and not _is_zero(part.right)):
        return _as_written(part)
    if left.verb == "excess":  # not a change that can be told in a few words
        return _as_written(part)
    if left.verb == "share":
        if right is None or right.verb != "share" or left.at or right.at:
            return _as_written(part)
        return Markup("the average share of {} is {}, compared with {}").format(
            code(left.alternative), way, code(right.alternative)
        )
    said = Markup("{} is associated with a {} probability of {}").format(
        _more(left), way, code(left.alternative)
    )
    if right is None:
        return said + _where(left)
    if (left.verb, left.variable) != (right.verb, right.variable):
        return _as_written(part)
    scale = "" if left.verb == "lift" else " in percentage points"
    if left.at == right.at:
        compared = Markup(", compared with {}{}").format(code(right.alternative), scale)
        return said + _where(left) + compared
    if left.alternative != right.alternative or not (left.at and right.at):
        return _as_written(part)
    return said + _where(left) + Markup(" than{}{}").format(_where(right), scale)


def _where(average: Average) -> Markup:
    """At which values of other columns, nothing where none is held."""
    if not average.at:
        return Markup("")
    return Markup(" at ") + Markup(", ").join(_held(c, v) for c, v in average.at)


def _held(column: str, value: float | str) -> Markup:
    share = percentile_of(value)
    if share is None:
        return Markup("{} = {:g}").format(code(column), value)
    return Markup("percentile {:.0f} of {}").format(100 * share, code(column))


def _as_written(part: Inequality) -> Markup:
    sides = (code(ast.unparse(side)) for side in (part.left, part.right))
    return Markup(f" {_ORDERS[part.sign]} ").join(sides)


def _more(average: Average) -> Markup:
    step = "more {}" if average.verb == "slope" else "{} + 1"
    return Markup(step).format(code(average.variable))


def _average(side: ast.expr) -> Average | None:
    return as_average(side) if isinstance(side, ast.Call) else None


def _is_zero(side: ast.expr) -> bool:
    return isinstance(side, ast.Constant) and side.value == 0
