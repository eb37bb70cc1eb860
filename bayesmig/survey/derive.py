"""Derived columns: arithmetic over columns, walked node by node, never evaluated by Python.

Missing inputs give missing results, but for ``fill(x, value)``, which states one. An
operation that turns finite numbers into none (the logarithm of zero, a division by zero)
is an error that names the rows.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SpecError, SurveyError, rows_text
from bayesmig.survey.labels import spelling, text_of

Numbers = npt.NDArray[np.float64]

_POINTWISE: dict[str, Callable[..., Any]] = {
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "abs": np.abs,
}


def _fill(values: Any, replacement: Any) -> Any:
    """The values, a stated one where they are missing."""
    return np.where(np.isnan(values), replacement, values)


def _power(values: Any, exponent: Any) -> Any:
    """Powers; of a missing value also the zeroth is missing (NumPy has it 1)."""
    return np.where(np.isnan(values), np.nan, np.power(values, exponent))


_PAIRWISE: dict[str, Callable[..., Any]] = {
    "minimum": np.minimum,
    "maximum": np.maximum,
    "fill": _fill,
}
_OPERATORS: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: _power,
}
_WITHIN = ("center", "scale")
FUNCTIONS = (*_POINTWISE, *_PAIRWISE, *_WITHIN, "bins", "is_in")

_MENDS = {
    "log": "use log1p, or declare such values under [missing_codes] or [valid_range]",
    "log1p": "declare such values under [missing_codes] or [valid_range]",
    "sqrt": "declare such values under [missing_codes] or [valid_range]",
    "divide": "declare zeros of the divisor under [missing_codes] or [valid_range]",
}


@dataclass(frozen=True)
class Context:
    """What a derived column may see.

    Attributes
    ----------
    column
        Looks up a column by name, any dtype, shape ``(obs,)``.
    labels
        Looks up a column by name, as text.
    where
        File and key, for messages.
    """

    column: Callable[[str], pd.Series]
    labels: Callable[[str], pd.Series]
    where: tuple[str, ...]


def check_calls(tree: ast.expr, name: str) -> None:
    """Check the arguments of every call before any data are seen.

    Raises
    ------
    SpecError
        Where a call has arguments that its function does not take.
    """
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        problem = _wrong_call(call, outermost=call is tree)
        if problem:
            raise SpecError(problem, where=f"key derive.{name}", mend=_USES[_called(call)])
    inside = {id(n) for call in ast.walk(tree) if isinstance(call, ast.Call) for n in call.args}
    for node in ast.walk(tree):
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if text and id(node) not in inside:
            raise SpecError(
                f"the text {ast.unparse(node)} stands where a number is needed",
                where=f"key derive.{name}",
                mend="text may stand only in is_in(column, 'a', 'b')",
            )


_USES = {
    **{name: f"write {name}(x)" for name in _POINTWISE},
    **{name: f"write {name}(x, y)" for name in _PAIRWISE},
    **{name: f"write {name}(x) or {name}(x, within=COLUMN)" for name in _WITHIN},
    "bins": "write bins(x, 20, 30, 40), with rising numbers, on its own",
    "is_in": "write is_in(COLUMN, 'a', 'b') or is_in(COLUMN, 1, 2)",
}


def _wrong_call(call: ast.Call, *, outermost: bool) -> str:
    name, args = _called(call), call.args
    keywords = {k.arg: k.value for k in call.keywords}
    within = keywords.pop("within", None) if name in _WITHIN else None
    if keywords:
        return f"{name}() has no argument {next(iter(keywords))!r}"
    if within is not None and not isinstance(within, ast.Name):
        return f"within of {name}() must be a column"
    wanted = 2 if name in _PAIRWISE else 1
    if name in ("bins", "is_in"):
        return _wrong_list(name, args, outermost=outermost)
    if len(args) != wanted:
        return f"{name}() takes {wanted} argument{'s' * (wanted > 1)}, got {len(args)}"
    if any(isinstance(a, ast.Constant) and isinstance(a.value, str) for a in args):
        return f"{name}() takes numbers, not text"
    return ""


def _wrong_list(name: str, args: list[ast.expr], *, outermost: bool) -> str:
    if len(args) < 2:
        return f"{name}() needs a column and at least one value"
    values = [_constant(a) for a in args[1:]]
    if any(v is None for v in values):
        return f"the values of {name}() must be plain numbers or text"
    if name == "is_in":
        return "" if isinstance(args[0], ast.Name) else "is_in() looks at a column"
    if not outermost:
        return "bins() gives text and cannot stand inside other arithmetic"
    edges = [v for v in values if isinstance(v, int | float)]
    if len(edges) < len(values) or any(b <= a for a, b in pairwise(edges)):
        return "the edges of bins() must be rising numbers"
    return ""


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _constant(node: ast.expr) -> str | float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _constant(node.operand)
        return -inner if isinstance(inner, int | float) else None
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
        return node.value
    return None


# -------------------------------------------------------------------------- evaluation


def derive(tree: ast.expr, context: Context) -> pd.Series:
    """Compute a derived column.

    Parameters
    ----------
    tree
        From `bayesmig.expressions.parse_arithmetic`, vetted by `check_calls`.
    context
        The columns that it may read.

    Returns
    -------
    Series
        Shape ``(obs,)``: ``float64`` for arithmetic, an ordered categorical of text for
        ``bins``, and the column itself for a bare name. ``scale`` divides by the
        population standard deviation (``ddof=0``), over all rows read, before
        incomplete rows are dropped.

    Raises
    ------
    SurveyError
        Where text stands in arithmetic, or finite numbers give no finite number.
    """
    if isinstance(tree, ast.Name):
        return context.column(tree.id)
    if isinstance(tree, ast.Call) and _called(tree) == "bins":
        return _bins(tree, context)
    values = _value(tree, context)
    if np.ndim(values) == 0:
        raise SpecError(
            "a derived column reads no column", where=context.where, mend="use it as a number"
        )
    return pd.Series(values, dtype="float64")


def _value(node: ast.expr, context: Context) -> Any:
    """Give the value of one node: a float, or floats of shape ``(obs,)``."""
    match node:
        case ast.Name(id=name):
            return numbers_of(context.column(name), name, context.where)
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, context)
        case ast.UnaryOp(operand=operand):
            return _value(operand, context)
        case ast.BinOp(left=left, op=op, right=right):
            function = _OPERATORS[type(op)]
            return _apply(function, [_value(left, context), _value(right, context)], node, context)
        case ast.Call(args=args):
            return _called_value(node, _called(node), args, context)
        case _:
            raise SpecError(
                f"{ast.unparse(node)} is not arithmetic",
                where=context.where,
                mend="use columns, numbers, + - * / ** and the listed functions",
            )


def _called_value(node: ast.Call, name: str, args: list[ast.expr], context: Context) -> Any:
    if name == "is_in":
        return _is_in(args, context)
    values = [_value(a, context) for a in args]
    if name in _WITHIN:
        return _within(node, values[0], context)
    return _apply({**_POINTWISE, **_PAIRWISE}[name], values, node, context)


def _apply(function: Callable[..., Any], inputs: list[Any], node: ast.expr, at: Context) -> Any:
    with np.errstate(all="ignore"):
        result = function(*inputs)
    lost = ~np.isfinite(result)
    for given in inputs:
        lost = lost & np.isfinite(given)
    if np.any(lost):
        raise _not_finite(node, function.__name__, inputs, np.atleast_1d(lost), at.where)
    return result


def _not_finite(
    node: ast.expr,
    function: str,
    inputs: list[Any],
    lost: npt.NDArray[np.bool_],
    where: tuple[str, ...],
) -> SurveyError:
    rows = np.flatnonzero(lost)
    first = [np.broadcast_to(given, lost.shape)[rows[0]] for given in inputs]
    return SurveyError(
        f"{ast.unparse(node)} is not a finite number for {' and '.join(f'{v:g}' for v in first)}",
        where=(*where, rows_text(rows.tolist())),
        mend=_MENDS.get(function, "declare such values under [valid_range]"),
    )


def numbers_of(values: pd.Series, name: str, where: tuple[str, ...]) -> Numbers:
    """Give a column as floats, missing as NaN.

    Raises
    ------
    SurveyError
        Where the column holds text, naming the first rows that do.
    """
    if isinstance(values.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(values):
        text = values.astype("str")
        rows = np.flatnonzero(pd.to_numeric(text, errors="coerce").isna() & values.notna())
        rows = rows if len(rows) else np.flatnonzero(values.notna())
        found = ", ".join(repr(text.iloc[i]) for i in rows[:3])
        raise SurveyError(
            f"the column {name!r} holds text where numbers are needed: {found}",
            where=(*where, f"column {name!r}", rows_text(rows.tolist())),
            mend="declare such values under [missing_codes], or recode the column",
        )
    return values.to_numpy(dtype="float64", na_value=np.nan)


def _is_in(args: list[ast.expr], context: Context) -> Numbers:
    assert isinstance(args[0], ast.Name)
    spelt = context.labels(args[0].id)
    wanted = [spelling(text_of(_constant(a))) for a in args[1:]]
    found = spelt.isin(wanted).to_numpy(dtype="float64")
    return np.where(spelt.isna(), np.nan, found)


def _within(node: ast.Call, values: Any, context: Context) -> Numbers:
    if np.ndim(values) == 0:
        raise SpecError(
            f"{ast.unparse(node)} reads no column",
            where=context.where,
            mend="name a column inside it, or leave it out",
        )
    groups, names = _groups(node, len(values), context)
    known = np.isfinite(values) & (groups >= 0)
    at = groups[known]
    n = np.bincount(at, minlength=len(names))
    with np.errstate(invalid="ignore"):
        mean = np.bincount(at, weights=values[known], minlength=len(names)) / n
    result = np.full(len(values), np.nan)
    result[known] = values[known] - mean[at]
    if _called(node) == "center":
        return result
    spread = np.sqrt(
        np.bincount(at, weights=result[known] ** 2, minlength=len(names)) / np.maximum(n, 1)
    )
    flat = [names[g] for g in np.flatnonzero((n > 0) & ~(spread > 1e-12 * np.abs(mean)))]
    if flat:
        inside = f" within {', '.join(flat[:3])}" if flat[0] else ""
        raise SurveyError(
            f"{ast.unparse(node)} divides by a standard deviation of 0{inside}",
            where=context.where,
            mend="use center(), or scale within larger groups",
        )
    result[known] /= spread[at]
    return result


def _groups(node: ast.Call, n: int, context: Context) -> tuple[npt.NDArray[np.intp], list[str]]:
    if not node.keywords:
        return np.zeros(n, dtype=np.intp), [""]
    column = node.keywords[0].value
    assert isinstance(column, ast.Name)
    codes, names = pd.factorize(context.labels(column.id))
    return codes, [f"{column.id} = {name}" for name in names]


def _bins(call: ast.Call, context: Context) -> pd.Series:
    """Cut numbers at edges into text such as "20 to 29"; an edge belongs to the upper bin."""
    values = _value(call.args[0], context)
    edges = np.array([_constant(a) for a in call.args[1:]], dtype="float64")
    known = np.isfinite(values)
    whole = bool((values[known] % 1 == 0).all() and (edges % 1 == 0).all())
    labels = _bin_labels(edges, whole=whole)
    codes = np.where(known, np.searchsorted(edges, values, side="right"), -1)
    kinds = pd.CategoricalDtype(labels, ordered=True)
    return pd.Series(pd.Categorical.from_codes(codes.tolist(), dtype=kinds))


def _bin_labels(edges: Numbers, *, whole: bool) -> list[str]:
    text = [text_of(e) for e in edges]
    if whole:
        upper = [text_of(e - 1) for e in edges[1:]]
        inner = [a if a == b else f"{a} to {b}" for a, b in zip(text, upper, strict=False)]
    else:
        inner = [f"{a} to <{b}" for a, b in pairwise(text)]
    return [f"under {text[0]}", *inner, f"{text[-1]} or more"]
