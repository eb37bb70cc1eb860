"""Utilities as sums of named pieces, in plain text and in LaTeX."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bayesmig.explanation.page import Math
from bayesmig.explanation.words import label, listed, name_in_latex
from bayesmig.expressions import Factor, Formula
from bayesmig.spec.model import Group, ModelSpec, Taste
from bayesmig.spec.pools import Pool

#: Transforms that make several columns of one, and what their coefficients are of.
SEVERAL = {"poly": "orthogonal polynomial", "bs": "B-spline"}
_SYMBOLS = {
    "persons": ("b", r"\beta"),
    "only": ("c", r"\kappa"),
    "alternatives": ("g", r"\gamma"),
    "feasible": ("f", r"\varphi"),
}
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: r"\cdot ", ast.Div: "/"}


@dataclass(frozen=True, slots=True)
class Summand:
    """One product of columns in a utility, with its coefficient.

    Attributes
    ----------
    block
        Where it stands: ``persons``, ``only``, ``alternatives``, ``taste`` or ``feasible``.
    symbol
        What its coefficient is called in the formula (``b3``).
    label
        The coefficient's label in a summary (``female:age_10``).
    factors
        What is multiplied.
    math
        The product, coefficient and all.
    """

    block: str
    symbol: str
    label: str
    factors: tuple[Factor, ...]
    math: Math

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(dict.fromkeys(c for f in self.factors for c in f.columns))


def kind_of(factor: Factor) -> str:
    """``column``, or the transform that makes the factor."""
    tree = factor.tree
    return (
        tree.func.id if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) else "column"
    )


def persons_summands(spec: ModelSpec) -> list[Summand]:
    """Products of the chooser's columns; coefficients belong to an alternative ``j``."""
    return list(_summands("persons", spec.utility.persons_formula, "j"))


def only_summands(spec: ModelSpec, alternative: str) -> list[Summand]:
    """Products that enter the utility of one alternative alone."""
    formulas = spec.utility.only_formulas
    before = list(formulas)[: list(formulas).index(alternative)]
    first = 1 + sum(len(formulas[a].terms) for a in before)
    return list(_summands("only", formulas[alternative], "", first=first))


def own_constant(spec: ModelSpec, alternative: str) -> list[Math]:
    """The constant that an alternative has by ``utility.only``, where it has one."""
    stated = spec.utility.only_formulas[alternative].intercept
    name = name_in_latex(alternative)
    return [Math(f"c0[{alternative}]", rf"\kappa_{{0,{name}}}")] if stated else []


def attribute_summands(spec: ModelSpec, varying: Collection[str], j: str) -> list[Summand]:
    """Products of attributes, at an alternative; coefficients are those of all alternatives.

    What is shared by streams is zero at the base.
    """
    formula = spec.utility.alternatives_formula
    found = [] if formula is None else list(_summands("alternatives", formula, "", varying, j))
    return [s for s in found if not _zero(spec, s.columns, j)]


def _zero(spec: ModelSpec, columns: Collection[str], j: str) -> bool:
    return j == spec.choice.base and bool(set(columns) & set(spec.utility.shared_columns))


def taste_summands(
    spec: ModelSpec, taste: Taste, varying: Collection[str], j: str
) -> Iterator[Summand]:
    """What tastes of one kind add to the utility of an alternative."""
    formula = spec.utility.alternatives_formula
    terms = {} if formula is None else {label(term): term for term in formula.terms}
    for name in taste.attributes:
        term = terms.get(name, ())
        if _zero(spec, {c for f in term for c in f.columns}, j):
            continue
        # A level or bend of a column is known by its label alone.
        plain, latex = _product(term, varying, j) if term else (name, name_in_latex(name))
        symbol, by, of = f"taste_{taste.by}[{name}]", *map(name_in_latex, (taste.by, name))
        math = Math(f"{symbol}·{plain}", rf"t^{{{by}}}_{{{of}}}\,{latex}")
        yield Summand("taste", symbol, name, term, math)


def taste_terms(spec: ModelSpec, varying: Collection[str], j: str) -> list[Math]:
    """What all tastes add to the utility of an alternative."""
    return [s.math for t in spec.tastes for s in taste_summands(spec, t, varying, j)]


def smooth_terms(spec: ModelSpec) -> list[Math]:
    """Bends of columns' effects, in the utility of ``j``."""
    names = ((s.column, name_in_latex(s.column)) for s in spec.smooths)
    return [Math(f"s_{c}[j]({c})", rf"s^{{{n}}}_{{j}}\left({n}\right)") for c, n in names]


def pool_term(pool: Pool) -> Math:
    """What the columns of a pool add to the utility of ``j``."""
    name, scaled = name_in_latex(pool.name), pool.per == "sd"
    over = r"/\mathrm{sd}\left(x\right)" if scaled else ""
    return Math(
        f"sum over x in {pool.name} of {pool.name}[j,x]·{'z(x)' if scaled else 'x'}",
        rf"\sum_{{x \in {name}}} {name}_{{j,x}}\,x{over}",
    )


def deviation_terms(spec: ModelSpec) -> list[Math]:
    """How ``j`` deviates from what the streams share, per standard deviation of a column."""
    names = ((c, name_in_latex(c)) for c in spec.utility.shared_columns)
    return [
        Math(
            f"u_deviation[j,{c}]·z({c})",
            rf"u^{{\mathrm{{deviation}}}}_{{j,{n}}}\,{n}/\mathrm{{sd}}\left({n}\right)",
        )
        for c, n in names
    ]


def curve_terms(spec: ModelSpec, alternative: str) -> list[Math]:
    """Response curves in the utility of one alternative, numbered as in the theory."""
    at, found = name_in_latex(alternative), []
    for number, curve in enumerate(spec.curves, start=1):
        if alternative in curve.alternatives:
            column = name_in_latex(curve.column)
            found.append(
                Math(
                    f"e{number}[{alternative}]·h{number}({curve.column})",
                    rf"\eta_{{{number},{at}}}\,h_{{{number}}}\left({column}\right)",
                )
            )
    return found


def feasible_terms(
    spec: ModelSpec, varying: Collection[str], alternative: str
) -> tuple[list[Math], list[Summand]]:
    """The constant, if any, and the products of the log odds that an alternative is feasible."""
    formulas = spec.feasible_formulas
    before = list(formulas)[: list(formulas).index(alternative)]
    first = 1 + sum(len(formulas[a].terms) for a in before)
    formula, name = formulas[alternative], name_in_latex(alternative)
    constant = [Math(f"f0[{alternative}]", rf"\varphi_{{0,{name}}}")]
    products = _summands("feasible", formula, "", varying, alternative, first)
    return constant * (formula.intercept is not False), list(products)


def with_own(spec: ModelSpec) -> tuple[str, ...]:
    """The alternatives whose utilities have something for themselves."""
    curved = [a for a in spec.choice.alternatives if any(a in c.alternatives for c in spec.curves)]
    return tuple(dict.fromkeys([*spec.utility.only, *curved]))


def own_terms(spec: ModelSpec, alternative: str) -> list[Math]:
    """What the utility of an alternative has for itself: its ``only``, and curves."""
    found = curve_terms(spec, alternative)
    if alternative in spec.utility.only:
        own = (s.math for s in only_summands(spec, alternative))
        return [*own_constant(spec, alternative), *own, *found]
    return found


def symbols(spec: ModelSpec) -> list[tuple[str, str]]:
    """What letters mean that belong to no column's own coefficient."""
    bent = (s.column for s in spec.smooths)
    rows = [(f"s_{name}[j]", f"bend of the effect of {name}; see below") for name in bent]
    for pool in spec.pools:
        rows.append((f"{pool.name}[j,x]", f"effects of {listed(pool.columns)}; see below"))
    if spec.utility.shared_columns:
        rows.append(("u_deviation[j]", "how j deviates from what the streams share; see below"))
    if any(pool.per == "sd" for pool in spec.pools) or spec.utility.shared_columns:
        rows.append(("z(x)", "x over its standard deviation in the survey; zero stays zero"))
    rows += [
        (
            f"e{number}, h{number}",
            f"effect and curve of {curve.column}; a fit lists the effects as "
            f"curve_effect[{curve.label}:ALTERNATIVE]",
        )
        for number, curve in enumerate(spec.curves, start=1)
    ]
    by = (f"taste_{t.by}" for t in spec.tastes)
    rows += [(name, "how coefficients of attributes vary; see below") for name in by]
    return rows


def has_constant(spec: ModelSpec) -> bool:
    """Whether every non-base alternative has a constant of its own."""
    return spec.utility.persons_formula.intercept is not False


def in_order(formula: Formula) -> list[tuple[Factor, ...]]:
    """The terms as a design has them: single factors first, then products of more."""
    return sorted(formula.terms, key=len)


def effects(group: Group) -> list[Math]:
    """What a group adds to the utility of ``j``."""
    name = group.by
    found = []
    if group.formula.intercept is not False:
        found.append(Math(f"u_{name}[j]", rf"u^{{{name_in_latex(name)}}}_{{j}}"))
    for term in in_order(group.formula):
        plain, latex = _product(term, (), "")
        of = label(term)
        found.append(
            Math(
                f"u_{name}[j,{of}]·{plain}",
                rf"u^{{{name_in_latex(name)}}}_{{j,{name_in_latex(of)}}}\,{latex}",
            )
        )
    return found


def _summands(
    block: str,
    formula: Formula,
    of: str,
    varying: Collection[str] = (),
    at: str = "",
    first: int = 1,
) -> Iterator[Summand]:
    letter, greek = _SYMBOLS[block]
    for number, term in enumerate(in_order(formula), start=first):
        levels = [c for f in term if kind_of(f) == "C" for c in f.columns]
        several = any(kind_of(f) in SEVERAL for f in term)
        rest = tuple(f for f in term if kind_of(f) != "C")
        plain, latex = _product(rest, varying, at)
        index = ",".join([*filter(None, [of]), *levels])
        subscript = ",".join([*filter(None, [of]), *map(name_in_latex, levels)])
        coefficient = f"{letter}{number}" + (f"[{index}]" if index else "")
        symbol = rf"{greek}_{{{number}{',' if subscript else ''}{subscript}}}"
        if several:
            coefficient, symbol = f"{coefficient}'", rf"\boldsymbol{{{symbol}}}^\top"
        math = Math(
            "·".join(filter(None, [coefficient, plain])), rf"{symbol}\,{latex}".rstrip("\\,")
        )
        yield Summand(block, f"{letter}{number}", label(term), term, math)


def _product(factors: tuple[Factor, ...], varying: Collection[str], at: str) -> tuple[str, str]:
    plain = [_plain(f, varying, at) for f in factors]
    return "·".join(plain), r"\,".join(_latex(f.tree, varying, at) for f in factors)


def _plain(factor: Factor, varying: Collection[str], at: str) -> str:
    tree, text = factor.tree, factor.name
    if kind_of(factor) == "square" and isinstance(tree, ast.Call):
        inside = tree.args[0]
        of = ast.unparse(inside)
        text = f"{of}²" if isinstance(inside, ast.Name) else f"({of})²"
    return f"{text}[{at}]" if at and set(factor.columns) & set(varying) else text


def _latex(node: ast.expr, varying: Collection[str] = (), at: str = "") -> str:
    """A vetted tree of the formula language."""

    def go(child: ast.expr) -> str:
        return _latex(child, varying, at)

    match node:
        case ast.Name(id=name):
            index = rf"\mathrm{{{at}}}" if len(at) > 1 else at
            return name_in_latex(name) + (f"_{{{index}}}" if at and name in varying else "")
        case ast.UnaryOp(operand=operand):
            return f"-{go(operand)}"
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return f"{{{go(left)}}}^{{{go(right)}}}"
        case ast.BinOp(left=left, op=op, right=right):
            return rf"\left({go(left)} {_SIGNS[type(op)]} {go(right)}\right)"
        case ast.Call(func=ast.Name(id="square"), args=[inside]):
            return f"{{{go(inside)}}}^2"
        case ast.Call(func=ast.Name(id="sqrt"), args=[inside]):
            return rf"\sqrt{{{go(inside)}}}"
        case ast.Call(func=ast.Name(id=name), args=[inside]):
            symbol = r"\log" if name == "log" else name_in_latex(name)
            return rf"{symbol}\left({go(inside)}\right)"
        case _:
            return ast.unparse(node)
