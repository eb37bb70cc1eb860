"""Statements of hypotheses: what a theory claims, as inequalities of estimands.

``"slope(network_international, internal) < 0 and slope(network_internal, international) < 0"``

Each side is arithmetic over average effects on the probability scale:

``comparison(x, j)``
    average change of the probability of ``j`` when ``x`` rises by one (0 to 1 for an
    indicator).
``slope(x, j)``
    average derivative of the probability of ``j``.
``lift(x, j)``
    ``comparison(x, j)`` as a share of the average probability of ``j`` before the
    change: of the rows as they are where ``x`` rises by one, of all at 0 for an
    indicator. So streams of very different size can be compared. It is what
    ``bayesmig.comparisons(..., comparison="lift")`` gives.
``excess(x, j)``
    ``comparison(x, j)`` less what it would be if the odds of ``j`` against the base stayed,
    for every person, what they are without the change. Where ``x`` enters the utility of
    another alternative alone it is 0 in a logit, however people differ, and above 0 where
    those who leave that alternative take up ``j`` rather than the base. Of the base itself it
    is 0.
``log_odds(x, j)``
    average over people of each one's change of the log odds of ``j`` against the base,
    ``log[(P'_j / P'_base) / (P_j / P_base)]``, when ``x`` rises by one. Person by person, since
    what multiplies everyone's odds alike does not multiply those of averages so: there it is
    less where people differ more, or where a stream is large. In a logit it is the
    coefficients that ``x`` has. People for whom ``j`` or the base is closed have no odds and do
    not count. Of the base itself it is 0.
``log_odds(j)``
    average over people of the log odds of ``j`` against the base, as they are.
``share(j)``
    average probability of ``j``.
``unable(j)``
    of those who stay, the share that would choose ``j`` if it were feasible for everybody;
    the theory says for whom it is.
``kept(j)``
    of those who would choose ``j`` if it were feasible for everybody, the share that does not:
    where more want to go, `unable` counts more, `kept` does not.

Three are of the effects of groups, not of people, and hold no columns. A level is named as its
group is, in quotes where columns are crossed:

``vpc(level, j)``
    share of the variance of ``j``'s latent utility that lies between groups of the level.
``correlation(level, j, k)``
    correlation of a level's effects on ``j`` and ``k``: ``correlation("household:origin",
    internal, international)``. Below zero, the two stand in for each other there.
    `bayesmig.levels` tells both of all levels.
``spread(level, x, j)``
    standard deviation over a level's groups of the coefficient of ``x`` in the utility of ``j``;
    ``x`` is among the terms of the group, as its formula names them.

One is of the shape of a response curve, and holds no columns either:

``exponent(curve)``
    exponent of a Hill curve, by the curve's name or its column's. Above one there is a
    threshold, below which little happens, in whatever unit the column is counted.

The others may hold columns at a value first, in all rows: ``lift(education, international,
network_international=p90)`` is the lift of schooling if everybody's exposure were that of
its 90th percentile, and ``share(stay, female=1)`` the share that would stay if all were
women. A value is a number, or a percentile of the rows (weighted, where averages are) from
``p01`` to ``p99``. So a claim about where an effect is stronger, or turns, is one on the
probability scale.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite
from random import Random
from typing import Any

from bayesmig.errors import SpecError
from bayesmig.expressions import MAX_LENGTH, python_tree, vet_arithmetic

#: Verb -> how many names it takes: a column and an alternative, or an alternative alone.
ESTIMANDS: Mapping[str, tuple[int, ...]] = {
    "comparison": (2,),
    "slope": (2,),
    "lift": (2,),
    "excess": (2,),
    "log_odds": (2, 1),
    "share": (1,),
    "unable": (1,),
    "kept": (1,),
    "vpc": (2,),
    "correlation": (3,),
    "spread": (3,),
    "exponent": (1,),
}
#: They are of the effects of groups: their first name is a level, the second of a spread a term.
#: So many of their names, those that are no alternatives, may stand in quotes.
OF_LEVELS: Mapping[str, int] = {"vpc": 1, "correlation": 1, "spread": 2}
#: They are parameters of response curves: their name is a curve's.
OF_CURVES = ("exponent",)
#: They compare with a world in which an alternative is feasible for everybody.
OF_FEASIBILITY = ("unable", "kept")
#: Zero of the base, whatever the data say: they are about odds against it.
AGAINST_BASE = ("excess", "log_odds")
#: How a statement names a percentile of a column.
_PERCENTILE = re.compile(r"p(?!00)\d\d")
_SIGNS = {ast.Lt: "<", ast.Gt: ">", ast.NotEq: "!="}
_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True, slots=True)
class Average:
    """One average effect that a statement asks for.

    Attributes
    ----------
    verb
        One of `ESTIMANDS`.
    variable
        The column that changes; empty where none does.
    alternative
        Whose probability; empty of an ``exponent``.
    at
        Columns that are held in all rows, each with a number or the name of a percentile
        (``"p90"``), by name.
    level
        Whose effects, of a ``vpc``, ``correlation`` or ``spread``: what the theory groups by; of
        an ``exponent``, the label of the curve.
    other
        The second alternative of a ``correlation``, the later in the alphabet.
    term
        Whose coefficients, of a ``spread``.
    """

    verb: str
    variable: str
    alternative: str
    at: tuple[tuple[str, float | str], ...] = ()
    level: str = ""
    other: str = ""
    term: str = ""


@dataclass(frozen=True, slots=True)
class Inequality:
    """``left sign right``, with the estimand ``left - right``.

    Attributes
    ----------
    text
        The inequality as written.
    sign
        ``<``, ``>`` or ``!=`` (outside the ROPE, on either side).
    left, right
        Vetted arithmetic trees over calls of the estimands.
    """

    text: str
    sign: str
    left: ast.expr
    right: ast.expr

    @property
    def averages(self) -> tuple[Average, ...]:
        """The average effects that both sides need, each once."""
        calls = [n for side in (self.left, self.right) for n in ast.walk(side)]
        return tuple(dict.fromkeys(as_average(n) for n in calls if isinstance(n, ast.Call)))


def as_average(call: ast.Call) -> Average:
    """The average effect that a vetted call names."""
    names = [a.id for a in call.args if isinstance(a, ast.Name)]
    verb = _call_name(call)
    if verb == "spread":
        return Average(verb, "", names[-1], (), _level(call.args[0]), "", _level(call.args[1]))
    if verb in OF_LEVELS:
        ends = sorted(names if _is_text(call.args[0]) else names[1:])
        return Average(verb, "", ends[0], (), _level(call.args[0]), "".join(ends[1:]))
    if verb in OF_CURVES:
        return Average(verb, "", "", (), names[0])
    at = sorted((str(key.arg), _held(key.value)) for key in call.keywords)
    return Average(verb, names[0] if len(names) == 2 else "", names[-1], tuple(at))


def _level(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def percentile_of(value: float | str) -> float | None:
    """The share below a named percentile (``"p90"``: 0.9); nothing for a number."""
    return int(value[1:]) / 100 if isinstance(value, str) else None


def _held(node: ast.expr) -> float | str:
    """A number, or the name of a percentile; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id if _PERCENTILE.fullmatch(node.id) else ""
    sign = -1.0 if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else 1.0
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    number = isinstance(inner, ast.Constant) and type(inner.value) in (int, float)
    return sign * float(inner.value) if number else ""  # type: ignore[attr-defined]


@lru_cache(maxsize=512)
def parse_statement(text: str, *, where: str = "") -> tuple[Inequality, ...]:
    """Parse ``"a < b and c > 0"`` into its inequalities, all of which must hold.

    Raises
    ------
    SpecError
        Where the text is anything else.
    """
    if len(text) > MAX_LENGTH:
        raise _refused(text[:40] + "…", f"it has more than {MAX_LENGTH:,} characters", where)
    text = " ".join(text.split())
    tree = python_tree(text, lambda _: _refused(text, "it does not parse", where))
    parts = [tree]
    if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And):
        parts = tree.values
    return tuple(_inequality(part, text, where) for part in parts)


def _inequality(node: ast.expr, text: str, where: str) -> Inequality:
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise _refused(text, "an inequality such as 'slope(x, internal) > 0' was expected", where)
    sign = _SIGNS.get(type(node.ops[0]))
    if sign is None:
        raise _refused(text, "only <, > and != compare draws", where)
    left, right = node.left, node.comparators[0]
    _vet_side(left, text, where)
    _vet_side(right, text, where)
    found = Inequality(ast.unparse(node), sign, left, right)
    if not found.averages:
        raise _refused(text, "it names no estimand", where)
    differences = _some_differences(found)
    if not all(map(isfinite, differences)):
        raise _refused(text, f"{found.text!r} has no finite value", where)
    if not _are_apart(differences):
        why = f"the sides of {found.text!r} differ by the same number whatever the data say"
        raise _refused(text, why, where)
    return found


def differs_by(part: Inequality, same_as: Callable[[Average], Average | None]) -> bool:
    """Whether an inequality's sides differ by more than a fixed number.

    Parameters
    ----------
    part
        The inequality.
    same_as
        Of an average, the one to which it is equal whatever the parameters are; ``None``
        where it is zero.
    """
    return _are_apart(_some_differences(part, same_as))


def _are_apart(differences: list[float]) -> bool:
    return not max(differences) - min(differences) < 1e-12


def _some_differences(
    part: Inequality, same_as: Callable[[Average], Average | None] = lambda average: average
) -> list[float]:
    """Left minus right at three sets of unrelated values of the averages."""
    differences = []
    distinct = dict.fromkeys(map(same_as, part.averages))
    for seed in range(3):
        random = Random(seed)
        drawn = {average: random.uniform(0.1, 0.9) for average in distinct}
        values = {a: 0.0 if (of := same_as(a)) is None else drawn[of] for a in part.averages}
        differences.append(_number(part.left, values) - _number(part.right, values))
    return differences


def _number(node: ast.expr, values: Mapping[Average, float]) -> float:
    """Arithmetic at some values of the averages; infinite where it cannot be done."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op=op, operand=operand):
            return (
                -_number(operand, values) if isinstance(op, ast.USub) else _number(operand, values)
            )
        case ast.BinOp(left=left, op=op, right=right):
            try:
                done = _OPERATORS[type(op)](_number(left, values), _number(right, values))
            except (ZeroDivisionError, OverflowError):
                return inf
            return float(done) if isinstance(done, float) else inf
        case ast.Call():
            return values[as_average(node)]
        case _:
            return inf


def _vet_side(tree: ast.expr, text: str, where: str) -> None:
    vet_arithmetic(tree, ESTIMANDS, text, where=where)
    calls = [c for c in ast.walk(tree) if isinstance(c, ast.Call)]
    levels = {id(a) for c in calls for a in c.args[: OF_LEVELS.get(_call_name(c), 0)]}
    inside_calls = {id(a) for c in ast.walk(tree) if isinstance(c, ast.Call) for a in ast.walk(c)}
    for n in ast.walk(tree):
        if isinstance(n, ast.Name) and id(n) not in inside_calls:
            raise _refused(text, f"{n.id!r} stands outside an estimand", where)
        if id(n) not in levels and isinstance(n, ast.expr) and _is_text(n):
            raise _refused(text, f"{ast.unparse(n)} is text, where a number was expected", where)
        if isinstance(n, ast.Call):
            _check_call(n, text, where)
        if isinstance(n, ast.BinOp):
            _check_constants(n, text, where)


def _call_name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _check_constants(node: ast.BinOp, text: str, where: str) -> None:
    """What does not depend on draws is a finite number, and never a divisor of zero."""
    fixed = not any(isinstance(n, ast.Call) for n in ast.walk(node))
    divisor = isinstance(node.op, ast.Div) and not any(
        isinstance(n, ast.Call) for n in ast.walk(node.right)
    )
    if fixed and not isfinite(_number(node, {})):
        raise _refused(text, f"{ast.unparse(node)!r} is not a finite number", where)
    if divisor and _number(node.right, {}) == 0:
        raise _refused(text, f"{ast.unparse(node)!r} divides by zero", where)


def _check_call(call: ast.Call, text: str, where: str) -> None:
    name = _call_name(call)
    wanted = ESTIMANDS[name]
    if name in OF_LEVELS:
        _check_levels(call, name, text, where)
        return
    plain = all(isinstance(a, ast.Name) for a in call.args)
    if name in OF_CURVES:
        if not plain or len(call.args) not in wanted or call.keywords:
            raise _refused(text, f"write {name}(curve), without columns to hold", where)
        return
    held = [_held(key.value) for key in call.keywords]
    if not plain or len(call.args) not in wanted or "" in held:
        usages = {2: f"{name}(column, alternative)", 1: f"{name}(alternative)"}
        usage = " or ".join(usages[number] for number in wanted)
        then = "; then columns to hold, each at a number or percentile (wealth=p10)"
        raise _refused(text, f"write {usage}{then}", where)
    names = [key.arg for key in call.keywords]
    if twice := [column for column in names if names.count(column) > 1]:
        raise _refused(text, f"{name}() holds {twice[0]!r} at two values", where)


def _check_levels(call: ast.Call, name: str, text: str, where: str) -> None:
    """A level, and a term, in quotes or not, then alternatives that differ; nothing is held."""
    quoted = OF_LEVELS[name]
    named = [isinstance(a, ast.Name) or _is_text(a) for a in call.args[:quoted]] == [True] * quoted
    rest = call.args[quoted:]
    ends = [a.id for a in rest if isinstance(a, ast.Name)]
    wanted = ESTIMANDS[name][0] - quoted
    if not named or call.keywords or not len(ends) == len(rest) == len(set(ends)) == wanted:
        usage = ("level", "term")[:quoted] + ("alternative", "another")[:wanted]
        raise _refused(text, f"write {name}({', '.join(usage)}), without columns to hold", where)


def _refused(text: str, why: str, where: str) -> SpecError:
    return SpecError(
        f"{text!r} is not a hypothesis: {why}",
        where=where,
        mend="for instance: slope(wealth, international) > slope(wealth, internal)",
    )
