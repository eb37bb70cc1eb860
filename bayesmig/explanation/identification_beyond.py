"""Which variation tells what a theory claims beyond a logit that is linear in its columns.

The rules are those by which a posterior warns (`bayesmig.design.identification`).
"""

from __future__ import annotations

from collections.abc import Iterator

from bayesmig.choice.response import SHAPES
from bayesmig.explanation.facts import Facts
from bayesmig.explanation.utility import persons_summands
from bayesmig.explanation.words import listed, units_of
from bayesmig.spec.curves import Curve
from bayesmig.spec.model import Group, ModelSpec, Smooth, Taste
from bayesmig.spec.nests import Nest

#: Roles of units that lie in places; in combinations of others, people are cells.
_UNITS = frozenset({"person", "household"})


def needs_beyond(spec: ModelSpec, facts: Facts | None) -> Iterator[tuple[str, str]]:
    """(What, what identifies it), of everything but columns, groups and constants."""
    for smooth in spec.smooths:
        yield f"bend of {smooth.column}", _of_smooth(smooth, facts)
    for pool in spec.pools:
        yield (
            f"pool of {pool.name}",
            f"people who differ in one of {listed(pool.columns, 'or')} and not in the others: what "
            "rises and falls together has one effect, the mean's. With "
            f"{len(pool.columns) * len(spec.choice.nonbase)} deviations, sigma_{pool.by} rests "
            "much on its prior.",
        )
    if columns := spec.utility.shared_columns:
        yield (
            f"shared {listed(columns)}",
            "enough choices of every stream: what is common and how far streams deviate is told "
            "from as many numbers as there are columns and streams, here "
            f"{len(columns) * len(spec.choice.nonbase)}; where these are few, sigma_deviation "
            "rests much on its prior.",
        )
    for taste in spec.tastes:
        yield f"taste_{taste.by}", _of_taste(taste, facts)
    for nest in spec.nests:
        yield f"lambda_nest[{nest.name}]", _of_nest(spec, nest)
    for curve in spec.curves:
        if SHAPES[curve.shape]:
            yield f"curve of {curve.label}", _of_curve(spec, curve, facts)
    for alternative in () if spec.consideration is None else spec.consideration.feasible:
        yield f"feasibility of {alternative}", _of_feasibility(spec, alternative)


def of_combinations(spec: ModelSpec, group: Group, facts: Facts | None) -> str:
    """What effects of crossed columns need: groups in groups, or cells."""
    if units := [part for part in group.parts if part in _UNITS]:
        what = "choices of one person" if "person" in units else "persons of one household"
        places = [part for part in group.parts if part not in _UNITS]
        inside = f" in one {listed(places)}" if places else ""
        return (
            f"several choices in each of many combinations: several {what}{inside}. Where there "
            "is one choice each, the effect cannot be told from chance."
        )
    read = {s.label for s in persons_summands(spec)}
    read |= {c for s in persons_summands(spec) if len(s.factors) == 1 for c in s.columns}
    sums = [part for part in group.parts if part in read]
    rest = [part for part in group.parts if part not in read]
    text = (
        f"no empty cells: people in every combination of {listed(group.parts)}, and movers of "
        "each stream in many. An effect is what is beyond the coefficients"
        + (f" of {listed(sums)}" if sums else "")
        + "."
    )
    if rest:
        text += f" What {listed(rest)} does by itself is in the cells too: it has no coefficient."
    empty = facts.empty_cells(group.by) if facts is not None and facts.has(group.by) else None
    return text if empty is None else f"{text} Empty in this survey: {empty:,}."


def _of_smooth(smooth: Smooth, facts: Facts | None) -> str:
    text = (
        f"enough different values of {smooth.column}, at least {smooth.bends + 2} for "
        f"{smooth.bends} bends, with movers along its whole range."
    )
    if facts is None or not facts.has(smooth.column):
        return text
    return f"{text} In this survey it has {facts.different(smooth.column):,}."


def _of_taste(taste: Taste, facts: Facts | None) -> str:
    many = units_of(taste.by)
    text = (
        f"several choices of each of many {many}, among alternatives that differ in "
        f"{listed(taste.attributes)}. With one choice each, sigma_taste_{taste.by} rests on the "
        "prior and on the form of the model."
    )
    if facts is None or not facts.has(taste.by):
        return text
    number, median = facts.groups(taste.by)
    return f"{text} In this survey: {number:,} {many}, the median one with {median:g} choices."


def _of_nest(spec: ModelSpec, nest: Nest) -> str:
    inside = _below(spec, nest)
    text = (
        f"something that changes one of {listed(inside)} by itself, and so shows who takes its "
        "place: an attribute that differs between them, such as a cost, or a column that enters "
        "the utility of some of them alone."
    )
    if many := listed([units_of(g.by) for g in spec.groups if g.formula.intercept is not False]):
        text += f" It must differ within {many}, whose effects would stand for it otherwise."
    attributes = [] if spec.utility.alternatives is None else ["attributes"]
    if spec.utility.shared_columns and spec.choice.base in inside:
        attributes.append("what the streams share")
    alone = [f"columns of {a} alone" for a in inside if _has_own(spec, a)]
    if found := [*attributes, *alone]:
        return f"{text} In this theory: {listed(found)}."
    return (
        f"{text} This theory has neither: lambda rests on the prior and on the form of the model."
    )


def _below(spec: ModelSpec, nest: Nest) -> list[str]:
    found = [*nest.alternatives]
    for inner in (n for n in spec.nests if n.within == nest.name):
        found += _below(spec, inner)
    return [a for a in spec.choice.alternatives if a in found]


def _has_own(spec: ModelSpec, alternative: str) -> bool:
    formula = spec.utility.only_formulas.get(alternative)
    return formula is not None and bool(formula.terms)


def _of_curve(spec: ModelSpec, curve: Curve, facts: Facts | None) -> str:
    if "half_saturation" not in SHAPES[curve.shape]:
        if curve.shape == "hump":
            return (
                f"people on both sides of where it turns: some with {curve.column} well above. "
                "Nothing is known beyond the highest exposure."
            )
        return f"people at many exposures of {curve.column}."
    grouped = any(group.by == "origin" for group in spec.groups)
    units = "origins" if grouped else "different exposures"
    text = (
        f"{units} on both sides of the half-saturation: several with {curve.column} well below, "
        "and several well above. Effect, half-saturation"
        + (" and exponent" if curve.shape == "hill" else "")
        + " lie on a ridge; with fewer than three on a side, the half-saturation rests on the "
        "prior."
    )
    of, by = spec.priors.half_saturation, "origin" if grouped else None
    found = None if facts is None else facts.sides(curve.column, by, of.alpha, of.beta)
    if found is None:
        return text
    return (
        f"{text} In this survey, of {found.total:,} {units}, {found.below:,} lie below "
        f"{found.start:.3g} and {found.above:,} above {found.end:.3g}; it may well lie between."
    )


def _of_feasibility(spec: ModelSpec, alternative: str) -> str:
    outside = spec.outside_of_utility(alternative)
    text = (
        f"a column that makes {alternative} feasible and does not enter its utility: a cost, a "
        "grant, a credit line."
    )
    if outside:
        return (
            f"{text} In this theory: {listed(outside)}. That it does not make {alternative} more "
            "or less wanted is assumed, not found."
        )
    return (
        f"{text} This theory has none: who cannot and who will not are told apart by the form of "
        "the model and by priors."
    )
