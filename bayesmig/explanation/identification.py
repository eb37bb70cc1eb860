"""Which variation in the data tells what a theory claims, from the theory's own structure.

Nothing here knows a theory by name. What a column needs follows from where it stands (in
products, squares, slopes of groups, attributes) and, for earlier moves, from the convention
of the packaged theories: ``prior_internal`` is the chooser's own earlier move,
``household_internal`` and ``network_internal`` (or ``network_internal_women``) are those of
others, with the name of an alternative in second place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bayesmig.choice.response import SHAPES
from bayesmig.explanation.facts import Facts
from bayesmig.explanation.identification_beyond import needs_beyond, of_combinations
from bayesmig.explanation.utility import (
    SEVERAL,
    Summand,
    attribute_summands,
    has_constant,
    kind_of,
    only_summands,
    persons_summands,
)
from bayesmig.explanation.words import counted, listed, per_cent, plural, units_of
from bayesmig.spec.model import Group, Hypothesis, ModelSpec
from bayesmig.spec.statement import OF_CURVES, OF_FEASIBILITY, Average
from bayesmig.survey.sources import source_of

#: What names of columns begin with: own earlier moves, and those of others.
OWN_PAST, OF_OTHERS = "prior", ("household", "network", "returned", "away")
#: A column with less of its variance within groups hardly varies there.
HARDLY = 0.05


@dataclass(frozen=True, slots=True)
class EarlierMoves:
    """A column that counts earlier moves of one stream.

    Attributes
    ----------
    kind
        ``prior``, ``household``, ``network``, or those of it who ``returned`` or are ``away``.
    alternative
        The stream.
    of
        Whose, where the name says more (``women``).
    """

    kind: str
    alternative: str
    of: str = ""

    def of_stream(self, alternative: str) -> str:
        """The column that counts the same of another stream."""
        return "_".join(filter(None, [self.kind, alternative, self.of]))


def earlier_moves(spec: ModelSpec, column: str) -> EarlierMoves | None:
    """What earlier moves a column counts by its name, if any."""
    kind, _, rest = column.partition("_")
    if kind not in (OWN_PAST, *OF_OTHERS):
        return None
    for alternative in sorted(spec.choice.nonbase, key=len, reverse=True):
        if rest == alternative or rest.startswith(f"{alternative}_"):
            return EarlierMoves(kind, alternative, rest[len(alternative) + 1 :])
    return None


def all_summands(spec: ModelSpec) -> list[Summand]:
    """Every product of the theory that has a coefficient."""
    only = [s for a in spec.utility.only for s in only_summands(spec, a)]
    return [*persons_summands(spec), *only, *attribute_summands(spec, (), "")]


def all_columns(spec: ModelSpec) -> list[str]:
    """Every column of these, and those of curves and feasibility."""
    found = [c for s in all_summands(spec) for c in s.columns]
    found += [curve.column for curve in spec.curves]
    found += [c for f in spec.feasible_formulas.values() for c in f.columns]
    return list(dict.fromkeys(found))


# ------------------------------------------------------------------- the theory as a whole


def needs_of_theory(spec: ModelSpec, facts: Facts | None) -> Iterator[tuple[str, str]]:
    """(What, what identifies it), for everything that belongs to no single column."""
    if has_constant(spec):
        yield "constants", _of_constants(facts)
    if spec.utility.period_constants:
        yield "constants of periods", _of_periods(facts)
    for group in spec.groups:
        yield f"u_{group.by}", _of_group(spec, group, facts)
    if spec.utility.alternatives is not None:
        yield (
            "attributes",
            "alternatives that differ in them by more than a constant: over people, places or "
            "periods. An attribute that is the same for everybody is part of the constants.",
        )
    yield from needs_beyond(spec, facts)
    if spec.utility.only:
        yield (
            f"columns of {listed(spec.utility.only)} alone",
            "that they act on no other alternative is assumed, not found.",
        )
    if spec.available:
        yield (
            "availability",
            f"who may choose {listed(spec.available)} is read from the data, not learnt: where it "
            "is wrong, so is everything else.",
        )


def _of_constants(facts: Facts | None) -> str:
    text = (
        "the shares of the alternatives. A sample that misses movers (households that left as a "
        "whole, people still abroad) or picks people by their choice shifts them."
    )
    if facts is None:
        return text
    total = sum(facts.choices.values())
    shares = (f"{a} {per_cent(n / total)} ({n:,})" for a, n in facts.choices.items())
    return f"{text} In this survey: {listed(shares)}."


def _of_periods(facts: Facts | None) -> str:
    if facts is not None and facts.n_periods == 1:
        return "this survey has one period, and so there are none."
    return (
        "several periods. A column that is the same for all people of a period cannot be told "
        "from them."
    )


def _of_group(spec: ModelSpec, group: Group, facts: Facts | None) -> str:
    if len(group.parts) > 1:
        return of_combinations(spec, group, facts) + _group_facts(spec, group, facts)
    name = group.by
    text = (
        f"several choices in each of many {plural(name)}. What all of one {name} share goes to "
        "its effect; a column that does not differ there is told from it only by comparing "
        f"{plural(name)}, and only if the effects have nothing to do with the column."
    )
    if group.correlated and len(spec.choice.nonbase) > 1:
        text += f" Correlations come from {plural(name)} with movers of more than one kind."
    if slopes := list(group.formula.columns):
        text += (
            f" The slope of {listed(slopes)} varies: it must differ between people of one {name}, "
            f"in many {plural(name)}."
        )
    return text + _group_facts(spec, group, facts)


def _group_facts(spec: ModelSpec, group: Group, facts: Facts | None) -> str:
    if facts is None:
        return ""
    if not facts.has(group.by):
        lost = [part for part in group.parts if not facts.has(part)]
        return f" This survey declares no {listed(lost, 'or')}."
    number, median = facts.groups(group.by)
    text = f" In this survey: {number:,} {units_of(group.by)}, the median one with "
    text += counted(round(median), "choice")
    if len(spec.choice.nonbase) > 1:
        both = facts.groups_with_both(group.by, spec.choice.base)
        text += f"; {both:,} of them with movers of more than one kind"
    shares = {c: facts.within_share(c, group.by) for c in all_columns(spec)}
    shares = {c: share for c, share in shares.items() if c not in group.parts}
    low = [f"{c} ({per_cent(s)})" for c, s in shares.items() if s is not None and s < HARDLY]
    if low:
        text += f". Hardly varying within one (share of the variance): {listed(low)}"
    return text + "."


# ---------------------------------------------------------------------- kinds of columns


def needs_of_columns(spec: ModelSpec, facts: Facts | None) -> Iterator[tuple[str, str]]:
    """(Columns, what they need), for all that need more than to differ between people."""
    summands = all_summands(spec)
    columns = all_columns(spec)
    moves = {c: m for c in columns if (m := earlier_moves(spec, c)) is not None}
    own = [c for c, m in moves.items() if m.kind == OWN_PAST]
    others = [
        c
        for c in columns
        if c not in own and (c in moves or (facts is not None and _is_computed(c, facts)))
    ]
    if own:
        yield listed(own), _of_own_past(spec)
    if others:
        yield listed(others), _of_exposures(others, facts)
    for together in _products(summands):
        yield (
            " × ".join(together),
            "They act together: there must be people at all combinations, and enough of each.",
        )
    yield from _by_form(summands, columns)


def _of_own_past(spec: ModelSpec) -> str:
    text = (
        "Own earlier moves. People who moved before may differ for good in ways that no column "
        "holds, and that looks like an effect of the move. Only repeated choices of the same "
        "people, with a group effect of persons, tell the two apart."
    )
    if any("person" in g.by for g in spec.groups):
        return text
    return f"{text} This theory has no such effect: read it as both together."


def _of_exposures(columns: list[str], facts: Facts | None) -> str:
    text = (
        "Exposure to earlier moves of others. It must be older than the choice and leave the own "
        "household out (within a household, the person): a share that counts the choice itself "
        "explains it. What the people of a place have in common for other reasons looks like a "
        "network too, so that places must be compared with themselves: over time, or within."
    )
    if facts is None:
        return text
    there = [c for c in columns if facts.has(c)]
    safe = [c for c in there if _is_computed(c, facts)]
    rest = [c for c in there if c not in safe]
    if safe:
        text += f" In this survey the codebook computes {listed(safe)} so."
    if rest:
        made = (f"{c} is {_made(c, facts)}" for c in rest)
        text += f" In this survey {listed(made)}: that they are so must be known of the file."
    return text


def _is_computed(column: str, facts: Facts) -> bool:
    """Whether the codebook computes an exposure, which leaves out and lags what it must."""
    networks = facts.survey.codebook.networks
    return column in networks or bool(networks.keys() & facts.survey.codebook.sources(column))


def _made(column: str, facts: Facts) -> str:
    made = source_of(facts.survey.codebook, column)
    return made.removeprefix("= ") or "a column of the file"


def _products(summands: list[Summand]) -> Iterator[tuple[str, ...]]:
    """Columns that are multiplied, the largest products only."""
    sets = [s.columns for s in summands if len(s.columns) > 1]
    for columns in dict.fromkeys(sets):
        if not any(set(columns) < set(other) for other in sets):
            yield columns


def _by_form(summands: list[Summand], columns: list[str]) -> Iterator[tuple[str, str]]:
    """What transforms need of the columns that they are of."""

    def under(*kinds: str) -> list[str]:
        found = {c for s in summands for f in s.factors if kind_of(f) in kinds for c in f.columns}
        return [c for c in columns if c in found]

    if bent := under("square", *SEVERAL):
        yield (
            listed(bent),
            "Their effects may bend: there must be people on both sides of a bend, and nothing is "
            "known beyond the observed range."
            if len(bent) > 1
            else "Its effect may bend: there must be people on both sides of the bend, and "
            "nothing is known beyond the observed range.",
        )
    if levels := under("C"):
        yield listed(levels), "Categories: there must be people at each level, in every stream."


# ------------------------------------------------------------------------------ hypotheses


def needs_of_hypothesis(
    spec: ModelSpec, hypothesis: Hypothesis, facts: Facts | None
) -> Iterator[str]:
    """Sentences about what would identify the claim, beyond what its columns need."""
    averages = list(dict.fromkeys(a for part in hypothesis.inequalities for a in part.averages))
    changed = [a.variable for a in averages if a.variable]
    held = [column for a in averages for column, _ in a.at]
    columns = list(dict.fromkeys([*changed, *held]))
    if columns:
        yield f"people who differ in {listed(columns)} and are alike in the other columns."
    elif any(a.verb == "share" for a in averages):
        yield "the shares alone, which the constants follow whatever else the theory holds."
    for text in dict.fromkeys(_of_parameters(averages)):
        yield f"{text[0].upper()}{text[1:]}" if columns else text
    yield from _of_shapes(spec, averages)
    yield from _held(averages, facts)
    yield from _absent(spec, columns, facts)
    yield from _cross(spec, averages, facts)
    yield from _streams(spec, hypothesis, facts)


def _of_parameters(averages: list[Average]) -> Iterator[str]:
    """What claims about groups and about feasibility need."""
    for a in averages:
        if a.verb == "vpc":
            yield f"many {units_of(a.level)}, and several choices in each."
        elif a.verb == "correlation":
            yield (
                f"many {units_of(a.level)} with several choices each, and movers of both kinds "
                "among them: where there are few, the prior of the correlation says it."
            )
        elif a.verb == "spread":
            yield (
                f"many {units_of(a.level)}, in each of which {a.term} differs between people who "
                "chose: where there are few, the prior of the spread says it."
            )
        elif a.verb in OF_FEASIBILITY:
            yield (
                f"what makes {a.alternative} feasible and not wanted: see what is said of its "
                "feasibility."
            )


def _of_shapes(spec: ModelSpec, averages: list[Average]) -> Iterator[str]:
    """What claims need that are about a curve's shape, or where along it an effect is stronger."""
    for curve in spec.curves:
        shape = SHAPES[curve.shape]
        places = {v for a in averages for c, v in a.at if c == curve.column == a.variable}
        asked = any(a.verb in OF_CURVES and a.level == curve.label for a in averages)
        if shape and (asked or len(places) > 1):
            where = (
                "well below and well above half of its effect"
                if asked
                else ("at each of the values named")
            )
            them = "it" if len(shape) == 1 else "them"
            yield (
                f"It rests on the shape of the curve of {curve.label} ({listed(shape)}), not on "
                f"its effect alone, and few surveys tell much of {them}: expect the claim to be "
                "called weakly identified, whatever its probability, unless there are many people "
                f"{where}."
            )


def _held(averages: list[Average], facts: Facts | None) -> Iterator[str]:
    """What it takes to hold columns at values that people need not have."""
    held = list(dict.fromkeys(pair for a in averages for pair in a.at))
    if not held:
        return
    columns = list(dict.fromkeys(column for column, _ in held))
    yield (
        f"It holds {listed(columns)} for everybody: where few people are near these values"
        + (", all of them together" if len(columns) > 1 else "")
        + ", the form of the model answers for them."
    )
    for column, value in held:
        ends = None if facts is None or isinstance(value, str) else facts.range(column)
        if ends is not None and not ends[0] <= float(value) <= ends[1]:
            yield (
                f"{column} = {value:g} lies outside of {ends[0]:.3g} to {ends[1]:.3g}, its range "
                "in this survey."
            )


def _absent(spec: ModelSpec, columns: list[str], facts: Facts | None) -> Iterator[str]:
    read = _read(spec, facts)
    if idle := [c for c in columns if c not in read]:
        them = "it" if len(idle) == 1 else "them"
        yield f"The theory does not read {listed(idle)}: no probability changes with {them}."
    if facts is not None and (lost := [c for c in columns if c in read and not facts.has(c)]):
        yield f"This survey has no {listed(lost, 'or')}."


def _read(spec: ModelSpec, facts: Facts | None) -> set[str]:
    """The columns that the theory reads, those that hold attributes among them.

    Which columns those are is said by a survey; without one, by their names.
    """
    read = {c for formula in spec.formulas.values() for c in formula.columns}
    read |= {*spec.available.values()}
    for alternative in spec.choice.alternatives:
        for attribute in spec.attributes_of(alternative):
            if facts is None:
                read.add(f"{attribute}_{alternative}")
            else:
                read.add(str(facts.survey.attributes.get(attribute, {}).get(alternative)))
    return read


def _cross(spec: ModelSpec, averages: list[Average], facts: Facts | None) -> Iterator[str]:
    """What cross effects need: the columns of both streams, apart from each other."""
    read = _read(spec, facts)
    pairs: dict[tuple[str, ...], None] = {}
    for average in averages:
        moves, alternative = earlier_moves(spec, average.variable), average.alternative
        if moves is None or alternative in (moves.alternative, spec.choice.base):
            continue
        sibling = moves.of_stream(alternative)
        if sibling in read:
            pairs[tuple(sorted((average.variable, sibling)))] = None
        elif alternative in _streams_of(spec, read):
            yield f"{sibling} is not in the theory: what it does is put down to {average.variable}."
    for one, other in pairs:
        yield (
            f"A cross effect: {one} and {other} must not rise and fall together, and there must "
            "be people where one is high and the other low."
        )
        if facts is not None and (r := facts.correlation(one, other)) is not None:
            yield f"In this survey their correlation is {r:.2f}."


def _streams_of(spec: ModelSpec, read: set[str]) -> set[str]:
    """Alternatives of which the theory counts any earlier moves."""
    return {m.alternative for c in read if (m := earlier_moves(spec, c)) is not None}


def _streams(spec: ModelSpec, hypothesis: Hypothesis, facts: Facts | None) -> Iterator[str]:
    """What a comparison of alternatives needs."""
    asked = dict.fromkeys(
        alternative
        for part in hypothesis.inequalities
        for a in part.averages
        for alternative in filter(None, (a.alternative, a.other))
        if alternative != spec.choice.base
    )
    if facts is not None and asked:
        counts = {a: facts.choices.get(a, 0) for a in asked}
        rarest = min(counts, key=lambda a: counts[a])
        yield (
            f"Enough of those who chose {listed(asked)}: the rarest decides, here {rarest} with "
            f"{counts[rarest]:,} choices."
            if len(asked) > 1
            else f"Enough of those who chose {rarest}: here {counts[rarest]:,}."
        )
    elif len(asked) > 1:
        yield f"Enough of those who chose {listed(asked)}: the rarest decides."
