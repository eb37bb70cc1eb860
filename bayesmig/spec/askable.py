"""Claims that a theory cannot make, from its own structure, before anything is fitted.

In a logit, the change of somebody's log odds with a column is the sum of the products that
hold it. Where no product has another column in it too, the change is the same whatever that
other column is held at, and an inequality between two such changes compares a number with
itself. What lies on the probability scale always differs, and in nests or with consideration
odds depend on all utilities, so that nothing is said of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from bayesmig.expressions import Factor
from bayesmig.spec.model import Hypothesis, ModelSpec
from bayesmig.spec.statement import AGAINST_BASE, Average, Inequality, differs_by

#: Likeness of names from which one is taken for the other, misspelt.
_CLOSE = 0.75
#: Attribute -> alternative -> column or number, as a survey declares them.
Attributes = Mapping[str, Mapping[str, str | float]]


@dataclass(frozen=True, slots=True)
class _Product:
    """Columns that are multiplied in a utility, and those among them that do not act linearly."""

    columns: frozenset[str]
    bent: frozenset[str] = frozenset()


def unaskable(
    spec: ModelSpec, hypothesis: Hypothesis, attributes: Attributes | None = None
) -> tuple[Inequality, ...]:
    """Inequalities of a hypothesis whose sides differ by a fixed number, most often zero.

    Parameters
    ----------
    spec
        The theory.
    hypothesis
        One that it states.
    attributes
        Those of a survey; left out, ``cost`` of an alternative ``j`` is taken to be ``cost_j``.

    Returns
    -------
    tuple of Inequality
        Empty where all can be asked, as far as the structure says.
    """

    def same_as(average: Average) -> Average | None:
        return _shortest(spec, average, attributes)

    return tuple(part for part in hypothesis.inequalities if not differs_by(part, same_as))


def warnings_of(spec: ModelSpec, attributes: Attributes | None = None) -> tuple[str, ...]:
    """What a theory claims and cannot, one sentence each; and columns that seem misspelt."""
    found = {n: unaskable(spec, h, attributes) for n, h in spec.hypotheses.items()}
    claims = [
        f"the hypothesis {name!r} of the theory {spec.name!r}: {why(parts)}"
        for name, parts in found.items()
        if parts
    ]
    return (*claims, *_misspelt(spec))


def _misspelt(spec: ModelSpec) -> Iterator[str]:
    """Columns of formulas that are not described, where one is that no formula names."""
    named = {c for formula in spec.formulas.values() for c in formula.columns}
    idle = [c for c in spec.columns if c not in named]
    for name in sorted(named - set(spec.columns)):
        for meant in get_close_matches(name, idle, n=1, cutoff=_CLOSE):
            yield (
                f"a formula of the theory {spec.name!r} names the column {name!r}, which [columns] "
                f"does not describe; it describes {meant!r}, which no formula names"
            )


def why(parts: Iterable[Inequality]) -> str:
    """That inequalities cannot be asked, and what would have to be there."""
    texts = " and ".join(part.text for part in parts)
    return (
        f"{texts} cannot be asked of this theory: the two sides differ by nothing, or by a fixed "
        "number, whatever the data say, since nothing in the theory, such as a product of the "
        "columns named or a nest, makes a difference"
    )


def _shortest(spec: ModelSpec, average: Average, attributes: Attributes | None) -> Average | None:
    """The same average without held columns that do not matter; ``None`` where it is zero."""
    if average.verb not in AGAINST_BASE or not _odds_are_own(spec, average.alternative):
        return average
    both = (average.alternative, spec.choice.base)
    products = [p for alternative in both for p in _products(spec, alternative, attributes)]
    if average.variable:
        products = [p for p in products if average.variable in p.columns]
        if not products:
            return None
    if average.verb == "excess":
        return average
    beside = {c for p in products for c in p.columns} - {average.variable}
    beside |= {average.variable} & {c for p in products for c in p.bent}
    beside |= set(spec.available.values())
    return replace(average, at=tuple(pair for pair in average.at if pair[0] in beside))


def _odds_are_own(spec: ModelSpec, alternative: str) -> bool:
    """Whether odds against the base are a function of the two utilities alone."""
    nests = {a: nest.name for nest in spec.nests for a in nest.alternatives}
    same = nests.get(alternative) == nests.get(spec.choice.base)
    return same and spec.consideration is None


def _products(
    spec: ModelSpec, alternative: str, attributes: Attributes | None
) -> Iterable[_Product]:
    """What is multiplied in one utility; too many rather than too few."""
    base, utility = spec.choice.base, spec.utility
    if alternative != base:
        yield from (_of_factors(term) for term in utility.persons_formula.terms)
        yield from (_bent(smooth.column) for smooth in spec.smooths)
        yield from (_Product(frozenset({c})) for pool in spec.pools for c in pool.columns)
        for group in spec.groups:
            yield _bent(*group.parts)
            for term in group.formula.terms:
                yield _joined(_of_factors(term), _bent(*group.parts))
    if alternative in utility.only_formulas:
        yield from (_of_factors(term) for term in utility.only_formulas[alternative].terms)
    for curve in spec.curves:
        if alternative in curve.alternatives:
            yield _bent(curve.column)
    if utility.alternatives_formula is not None:
        tastes = [_bent(*taste.parts) for taste in spec.tastes]
        for term in utility.alternatives_formula.terms:
            for found in _beside(_of_factors(term), alternative, attributes):
                yield from (found, *(_joined(found, taste) for taste in tastes))


def _of_factors(factors: Iterable[Factor]) -> _Product:
    found = _Product(frozenset())
    for factor in factors:
        columns = frozenset(factor.columns)
        plain = factor.name in columns or factor.name.startswith(("scale(", "center("))
        # A column that two factors read is no longer linear.
        bent = columns & found.columns if plain else columns
        found = _Product(found.columns | columns, found.bent | bent)
    return found


def _bent(*columns: str) -> _Product:
    return _Product(frozenset(columns), frozenset(columns))


def _joined(one: _Product, other: _Product) -> _Product:
    return _Product(one.columns | other.columns, one.bent | other.bent)


def _beside(product: _Product, alternative: str, attributes: Attributes | None) -> list[_Product]:
    """A product of attributes with the columns that these are of an alternative.

    Without a survey both names are looked at: which columns are attributes is not known.
    """
    if attributes is None:
        named = {c: f"{c}_{alternative}" for c in product.columns}
        both = frozenset({*named, *named.values()})
        return [_Product(both, product.bent | {named[c] for c in product.bent})]
    own = {c: str(attributes.get(c, {}).get(alternative, c)) for c in product.columns}
    columns = frozenset(own.values())
    return [_Product(columns, frozenset(own[c] for c in product.bent))]
