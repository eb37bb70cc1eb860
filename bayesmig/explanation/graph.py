"""`graph`: a theory as a drawing, from columns over coefficients to the choice.

The drawing is graphviz source. Where the package graphviz is installed it becomes a figure;
a tree of text says the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bayesmig.choice.response import SHAPES
from bayesmig.errors import QuestionError
from bayesmig.explanation.context import Context
from bayesmig.explanation.explain import as_theory, is_correlated
from bayesmig.explanation.utility import (
    Summand,
    attribute_summands,
    curve_terms,
    deviation_terms,
    effects,
    feasible_terms,
    has_constant,
    in_order,
    only_summands,
    own_constant,
    persons_summands,
    pool_term,
    smooth_terms,
    taste_summands,
    with_own,
)
from bayesmig.explanation.words import listed
from bayesmig.spec.model import Group, ModelSpec
from bayesmig.spec.nests import Nest

if TYPE_CHECKING:
    from bayesmig.survey.survey import Survey

Kind = Literal["choice", "utility", "coefficient", "effect", "scale", "column"]

_SHAPES: Mapping[Kind, str] = {
    "choice": "shape=box, penwidth=2",
    "utility": "shape=box, style=rounded",
    "coefficient": "shape=ellipse",
    "effect": "shape=ellipse, style=filled, fillcolor=lightgrey",
    "scale": "shape=ellipse, style=dashed",
    "column": "shape=box",
}


@dataclass(frozen=True, slots=True)
class Node:
    """One thing in the drawing, and what it is made of.

    Attributes
    ----------
    key
        Tells it from others; columns that enter twice are one node.
    label, kind
        What is written, and in which shape.
    parts
        What it depends on.
    """

    key: str
    label: str
    kind: Kind
    parts: tuple[Node, ...] = ()


@dataclass(frozen=True)
class ModelGraph:
    """A theory as a drawing; made by `bayesmig.graph`.

    Attributes
    ----------
    name
        Of the theory.
    root
        The choice, with all that it depends on.

    Notes
    -----
    ``print`` shows the `text`. Notebooks show the figure where the package graphviz and the
    program ``dot`` are installed, else the text.
    """

    name: str
    root: Node = field(repr=False)

    @property
    def text(self) -> str:
        """The drawing as a tree, the choice at its root."""
        return "\n".join([self.root.label, *_branches(self.root, "")])

    @property
    def source(self) -> str:
        """The drawing in the language of graphviz (DOT)."""
        nodes: dict[str, Node] = {}
        edges: dict[tuple[str, str], None] = {}
        _collect(self.root, nodes, edges)
        numbers = {key: f"n{number}" for number, key in enumerate(nodes)}
        lines = [f'digraph "{_quoted(self.name)}" {{', "  rankdir=LR;", "  node [fontsize=11];"]
        lines += [
            f'  {numbers[key]} [label="{_quoted(node.label)}", {_SHAPES[node.kind]}];'
            for key, node in nodes.items()
        ]
        lines += [f"  {numbers[part]} -> {numbers[whole]};" for part, whole in edges]
        return "\n".join([*lines, "}"])

    def figure(self) -> Any:
        """The drawing as a ``graphviz.Source``, which renders and shows itself.

        Raises
        ------
        QuestionError
            Where the package graphviz is not installed; `source` and `text` need none.
        """
        try:
            from graphviz import Source
        except ImportError:
            raise QuestionError(
                "the package graphviz, which draws figures, is not installed",
                mend="pip install graphviz; or use .text, or .source with any program for DOT",
            ) from None
        return Source(self.source)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self._svg() or f"<pre>{escape(self.text)}</pre>"

    def _svg(self) -> str:
        """The figure; empty where the package or its program is not there."""
        try:
            from graphviz import ExecutableNotFound
        except ImportError:
            return ""
        try:
            return str(self.figure().pipe(format="svg", encoding="utf-8"))
        except ExecutableNotFound:
            return ""


def graph(theory: ModelSpec | str | Path, survey: Survey | None = None) -> ModelGraph:
    """Draw a theory: columns, coefficients, group effects, scales and the choice.

    Parameters
    ----------
    theory, survey
        As for `bayesmig.explain`.

    Returns
    -------
    ModelGraph
        With ``text``, ``source`` (DOT) and ``figure()`` (needs the package graphviz).

    Raises
    ------
    SpecError
        Where there is no such theory.

    Examples
    --------
    >>> import bayesmig as bm
    >>> print(bm.graph("baseline"))
    choice among stay, internal and international
    ├─ V[stay] = 0
    └─ V[j], j = internal or international
       ├─ asc[j]
       ├─ d[j,t]
       │  └─ period
       └─ u_origin[j]
          ├─ sigma_origin
          └─ corr_origin
    """
    context = Context(as_theory(theory), survey)
    drawn = {name: list(draw(context)) for name, draw in DRAWN.items() if draw is not None}
    alternatives = listed(context.spec.choice.alternatives)
    parts = tuple(node for nodes in drawn.values() for node in nodes)
    root = Node("choice", f"choice among {alternatives}", "choice", parts)
    return ModelGraph(context.spec.name, root)


# ----------------------------------------------------------------- one block at a time


def _utilities(context: Context) -> Iterator[Node]:
    spec = context.spec
    base, varying = context.base, context.varying
    at_base = tuple(_summand(context, s) for s in attribute_summands(spec, varying, base))
    at_base += tuple(_tastes(context, base))
    zero = "" if at_base else " = 0"
    yield Node(f"V[{base}]", f"V[{base}]{zero}", "utility", at_base)
    parts = [Node("asc", "asc[j]", "coefficient")] if has_constant(spec) else []
    if context.has_periods:
        parts.append(Node("d", "d[j,t]", "coefficient", (_column(context, "period"),)))
    summands = [*persons_summands(spec), *attribute_summands(spec, varying, "j")]
    parts += [_summand(context, s) for s in summands]
    parts += _of_everyone(context)
    parts += [node for group in spec.groups for node in _effects(context, group)]
    parts += _tastes(context, "j")
    others = f"V[j], j = {listed(spec.choice.nonbase, 'or')}"
    yield Node("V[j]", others, "utility", tuple(parts))
    for alternative in with_own(spec):
        own: list[Node] = []
        if alternative in spec.utility.only:
            constant = own_constant(spec, alternative)
            own += [Node(f"only {c.plain}", c.plain, "coefficient") for c in constant]
            own += [_summand(context, s) for s in only_summands(spec, alternative)]
        own += _curves(context, alternative)
        yield Node(f"only {alternative}", f"V[{alternative}] alone", "utility", tuple(own))


def _of_everyone(context: Context) -> Iterator[Node]:
    """Smooths, pools, and deviations from what is shared."""
    spec = context.spec
    for smooth, math in zip(spec.smooths, smooth_terms(spec), strict=True):
        name = f"smooth_{smooth.column}"
        scales = [Node(f"sigma {name}", f"sigma_{name}", "scale")]
        if smooth.correlated and len(spec.choice.nonbase) > 1:
            scales.append(Node(f"corr {name}", f"corr_{name}", "scale"))
        parts = (_column(context, smooth.column), *scales)
        yield Node(f"s {math.plain}", math.plain, "effect", parts)
    for pool in spec.pools:
        ends = (
            Node(f"mean {pool.name}", f"beta[{pool.name}, j]", "coefficient"),
            Node(f"sigma {pool.by}", f"sigma_{pool.by}", "scale"),
        )
        columns = [_column(context, column) for column in pool.columns]
        yield Node(f"pool {pool.name}", pool_term(pool).plain, "effect", (*columns, *ends))
    scale = Node("sigma deviation", "sigma_deviation", "scale")
    for column, math in zip(spec.utility.shared_columns, deviation_terms(spec), strict=True):
        yield Node(f"u {math.plain}", math.plain, "effect", (_column(context, column), scale))


def _tastes(context: Context, j: str) -> Iterator[Node]:
    spec = context.spec
    for taste in spec.tastes:
        scales = [Node(f"sigma taste {taste.by}", f"sigma_taste_{taste.by}", "scale")]
        if taste.correlated and len(taste.attributes) > 1:
            scales.append(Node(f"corr taste {taste.by}", f"corr_taste_{taste.by}", "scale"))
        by = [_column(context, part) for part in taste.parts]
        for s in taste_summands(spec, taste, context.varying, j):
            columns = [_column(context, c) for c in s.columns]
            yield Node(f"taste {s.math.plain}", s.math.plain, "effect", (*by, *columns, *scales))


def _curves(context: Context, alternative: str) -> Iterator[Node]:
    spec = context.spec
    acting = [c for c in spec.curves if alternative in c.alternatives]
    for curve, math in zip(acting, curve_terms(spec, alternative), strict=True):
        shape = tuple(
            Node(f"{name} {curve.label}", f"{name}[{curve.label}]", "coefficient")
            for name in SHAPES[curve.shape]
        )
        parts = (_column(context, curve.column), *shape)
        yield Node(f"curve {math.plain}", math.plain, "coefficient", parts)


def _summand(context: Context, summand: Summand) -> Node:
    columns = tuple(_column(context, c) for c in summand.columns)
    return Node(f"{summand.block} {summand.symbol}", summand.math.plain, "coefficient", columns)


def _effects(context: Context, group: Group) -> Iterator[Node]:
    name = group.by
    scales = [Node(f"sigma {name}", f"sigma_{name}", "scale")]
    if is_correlated(context.spec, group):
        scales.append(Node(f"corr {name}", f"corr_{name}", "scale"))
    constant = group.formula.intercept is not False
    terms = [*[()] * constant, *in_order(group.formula)]
    for math, term in zip(effects(group), terms, strict=True):
        columns = dict.fromkeys(c for f in term for c in f.columns)
        of = [_column(context, c) for c in dict.fromkeys([*group.parts, *columns])]
        yield Node(f"u {math.plain}", math.plain, "effect", (*of, *scales))


def _column(context: Context, column: str) -> Node:
    there = context.file_column(column)
    label = column if there == column else f"{column} ({there})"
    if context.facts is not None and not (
        context.facts.has(column) or column in context.facts.survey.attributes
    ):
        label = f"{column} (not in this survey)"
    return Node(f"column {column}", label, "column")


def _availability(context: Context) -> Iterator[Node]:
    for alternative, column in context.spec.available.items():
        yield Node(
            f"available {alternative}",
            f"{alternative} available",
            "utility",
            (_column(context, column),),
        )


def _nests(context: Context) -> Iterator[Node]:
    def node(nest: Nest) -> Node:
        inner = tuple(node(n) for n in context.spec.nests if n.within == nest.name)
        holds = listed(nest.alternatives)
        name = f"V[{nest.name}], nest" + (f" of {holds}" if holds else "")
        scale = Node(f"lambda {nest.name}", f"lambda_nest[{nest.name}]", "coefficient")
        return Node(f"nest {nest.name}", name, "utility", (scale, *inner))

    yield from (node(nest) for nest in context.spec.nests if nest.within is None)


def _feasible(context: Context) -> Iterator[Node]:
    spec = context.spec
    for alternative in () if spec.consideration is None else spec.consideration.feasible:
        constant, summands = feasible_terms(spec, context.beside, alternative)
        parts = [Node(f"feasible {c.plain}", c.plain, "coefficient") for c in constant]
        parts += [_summand(context, s) for s in summands]
        name = f"{alternative} feasible"
        yield Node(f"feasible {alternative}", name, "utility", tuple(parts))


#: Field of `ModelSpec` -> what it adds to the drawing; ``None`` for what is no part of one.
#: Groups, smooths, tastes and curves are drawn where they enter utilities.
DRAWN: Mapping[str, Callable[[Context], Iterator[Node]] | None] = {
    "name": None,
    "family": None,
    "title": None,
    "claim": None,
    "references": None,
    "mechanisms": None,
    "columns": None,
    "choice": None,
    "utility": _utilities,
    "groups": None,
    "smooths": None,
    "pools": None,
    "tastes": None,
    "curves": None,
    "nests": _nests,
    "consideration": _feasible,
    "available": _availability,
    "weights": None,
    "priors": None,
    "hypotheses": None,
    "expect": None,
}


# --------------------------------------------------------------------------- as text


def _branches(node: Node, indent: str) -> Iterator[str]:
    # A product names its columns itself.
    parts = [p for p in node.parts if p.kind != "column" or p.label not in node.label]
    for number, part in enumerate(parts, start=1):
        last = number == len(parts)
        yield f"{indent}{'└─' if last else '├─'} {part.label}"
        yield from _branches(part, indent + ("   " if last else "│  "))


def _collect(node: Node, nodes: dict[str, Node], edges: dict[tuple[str, str], None]) -> None:
    nodes[node.key] = node
    for part in node.parts:
        edges[part.key, node.key] = None
        _collect(part, nodes, edges)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
