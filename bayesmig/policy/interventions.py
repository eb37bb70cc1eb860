"""A scenario put on rows: what choices depend on, after typed interventions.

Interventions are applied in order, each to the result of the one before. For whom is
decided on the rows as they were before the scenario: a filter describes people as the
survey found them, so that an earlier intervention never moves anybody in or out of a
later one's reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.changes import Groups, levels_of, refuse_left_behind, theory_columns
from bayesmig.choice.utility import Coefficients
from bayesmig.design.design import Design, label_text
from bayesmig.errors import QuestionError, nearest
from bayesmig.spec.scenario import (
    AddToColumn,
    ChangeAttribute,
    ClipColumn,
    Filter,
    Intervention,
    MoveCoefficient,
    ScaleColumn,
    Scenario,
    SetAvailability,
    SetColumn,
)

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Where = tuple[str, ...]
_FIELDS = {"persons": "persons", "only": "only", "alternatives": "attributes"}


class Shift(NamedTuple):
    """A coefficient that moves: its field of `Coefficients`, its place there, by how much."""

    block: str
    place: tuple[int, ...]
    by: float


@dataclass(frozen=True)
class World:
    """What choices depend on, before or after interventions.

    Attributes
    ----------
    design
        The theory's design. Availabilities and attributes that a scenario changed are
        read from new columns.
    frame
        The rows.
    shifts
        Coefficients that move.
    sources
        New column -> the column or number that it took the place of.
    """

    design: Design = field(repr=False)
    frame: pd.DataFrame = field(repr=False)
    shifts: tuple[Shift, ...] = ()
    sources: Mapping[str, str | float] = field(default_factory=dict)

    def moved(self, coefficients: Coefficients) -> Coefficients:
        """Draws with the same shift in every one."""
        for block, place, by in self.shifts:
            values = getattr(coefficients, block).copy()
            values[(..., *place)] += by
            coefficients = replace(coefficients, **{block: values})
        return coefficients

    def values_of(self, column: str | float) -> pd.Series:
        """A column of the rows, or a number for each of them."""
        if isinstance(column, str):
            return self.frame[column]
        return pd.Series(np.full(len(self.frame), float(column)))


class Step(NamedTuple):
    """One intervention as it was applied: its words, whom it could touch, whom it changed."""

    text: str
    matched: Mask
    changed: Mask


def intervene(
    design: Design, frame: pd.DataFrame, scenario: Scenario, groups: Groups = "observed"
) -> tuple[World, tuple[Step, ...]]:
    """Put a scenario on rows.

    Parameters
    ----------
    design
        Of the theory.
    frame
        The rows; left as they are.
    scenario
        The policy.
    groups
        As for `bayesmig.predict.predictions`: only with ``observed`` does it matter
        which group a row belongs to.

    Returns
    -------
    tuple
        The world after the scenario, and one step for each intervention.

    Raises
    ------
    QuestionError
        Where an intervention would change nothing (the theory does not use its column,
        or its filter matches nobody), does not fit its column, or names what is not
        there; and where the codebook computes a column that the theory reads from one
        that the scenario changes, and the scenario leaves the former as it is. The
        message names the scenario and the intervention.
    """
    world, steps = World(design, frame), []
    for number, intervention in enumerate(scenario.interventions, 1):
        where = (f"scenario {scenario.name!r}", f"intervention {number}: {intervention}")
        who = _who(frame, getattr(intervention, "where", ()), where)
        before, world = world, _applied(world, intervention, who, groups, where)
        steps.append(Step(str(intervention), who, _changed(before, world, intervention)))
    changed = columns_of(scenario, design)
    refuse_left_behind(design, changed, groups, where=f"scenario {scenario.name!r}")
    return world, tuple(steps)


def columns_of(scenario: Scenario, design: Design) -> tuple[str, ...]:
    """The columns of the survey that a scenario is about, in its order."""
    found = [_column_of(design, intervention) for intervention in scenario.interventions]
    return tuple(dict.fromkeys(column for column in found if column))


def _column_of(design: Design, intervention: Intervention) -> str:
    """The column of the survey that an intervention is about; empty where it is none."""
    match intervention:
        case MoveCoefficient():
            return ""
        case SetAvailability(alternative=alternative):
            return design.spec.available.get(alternative, "")
        case ChangeAttribute(attribute=attribute, alternative=alternative):
            source = design.attributes[attribute][alternative]
            return source if isinstance(source, str) else ""
        case _:
            return intervention.column


def _applied(
    world: World, intervention: Intervention, who: Mask, groups: Groups, where: Where
) -> World:
    match intervention:
        case SetAvailability():
            return _availability(world, intervention, who, where)
        case ChangeAttribute():
            return _attribute(world, intervention, who, where)
        case MoveCoefficient():
            return _coefficient(world, intervention, where)
        case SetColumn():
            return _set(world, intervention, who, groups, where)
        case _:
            return _arithmetic(world, intervention, who, where)


def _changed(before: World, after: World, intervention: Intervention) -> Mask:
    """Rows that an intervention changed."""
    match intervention:
        case MoveCoefficient(shift=shift):
            return np.full(len(after.frame), shift != 0)
        case SetAvailability(alternative=alternative):
            column = _availability_column(alternative)
        case ChangeAttribute(attribute=attribute, alternative=alternative):
            column = _attribute_column(attribute, alternative)
        case _:
            column = intervention.column
    known = column in before.frame.columns
    old = before.values_of(column if known else after.sources[column])
    new = after.frame[column]
    return ((new != old) & ~(new.isna() & old.isna())).to_numpy(dtype=bool)


def _availability_column(alternative: str) -> str:
    return f"{alternative} is available"


def _attribute_column(attribute: str, alternative: str) -> str:
    return f"{attribute} of {alternative}"


# -------------------------------------------------------------------------- for whom


def _who(frame: pd.DataFrame, filters: tuple[Filter, ...], where: Where) -> Mask:
    """Rows that meet all filters."""
    who = np.ones(len(frame), dtype=bool)
    for one in filters:
        matches = _matches(_column(frame, one.column, where), one, where)
        if not matches.any():
            raise QuestionError(
                f"the filter {one} matches nobody; {_content(frame[one.column])}",
                where=where,
                mend="change the filter so that it matches somebody",
            )
        who &= matches
    if not who.any():
        raise QuestionError(
            "nobody meets all filters at once",
            where=where,
            mend="leave out a filter, or change one",
        )
    return who


def _matches(column: pd.Series, one: Filter, where: Where) -> Mask:
    wanted = one.one_of if one.equals is None else (one.equals,)
    if wanted is not None:
        values = column if _is_numeric(column) else column.astype(str)
        return values.isin([_like(column, v, where) for v in wanted]).to_numpy(dtype=bool)
    if not _is_numeric(column):
        raise QuestionError(
            f"{one.column!r} holds text, which has no order",
            where=where,
            mend="filter by equals or one_of",
        )
    numbers = column.to_numpy(dtype=float)
    above = -np.inf if one.above is None else one.above
    below = np.inf if one.below is None else one.below
    return (numbers > above) & (numbers < below)


def _like(column: pd.Series, value: str | float, where: Where) -> str | float:
    """A value as the column would hold it; a whole number is text without decimals."""
    if _is_numeric(column):
        if isinstance(value, str):
            raise QuestionError(
                f"{column.name!r} holds numbers, got the text {value!r}", where=where
            )
        return value
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def _content(column: pd.Series) -> str:
    if _is_numeric(column):
        return f"{column.name!r} runs from {column.min():g} to {column.max():g}"
    levels = sorted(column.dropna().astype(str).unique())
    listed = ", ".join(levels[:8]) + (" …" if len(levels) > 8 else "")
    return f"{column.name!r} has the levels {listed}"


def _column(frame: pd.DataFrame, name: str, where: Where) -> pd.Series:
    if name not in frame.columns:
        raise QuestionError(
            f"there is no column {name!r}; {nearest(name, list(map(str, frame.columns)))}",
            where=where,
            mend="name a column of the survey; a posterior that was loaded without survey=... "
            "holds those of its theory only",
        )
    return frame[name]


# --------------------------------------------------------------------------- columns


def _set(world: World, intervention: SetColumn, who: Mask, groups: Groups, where: Where) -> World:
    name = intervention.column
    layouts = world.design.labelled if groups == "observed" else ()
    whole = [lay for lay in layouts if len(lay.columns) == 1]
    labels = {lay.columns[0]: tuple(map(str, lay.levels)) for lay in whole}
    also = tuple(column for lay in layouts for column in lay.columns)
    column = _used_column(world, name, where, also=also)
    value = _like(column, intervention.value, where)
    known = levels_of(world.design, name) or labels.get(name, ())
    if known and value not in known and label_text(value) not in known:
        raise QuestionError(
            f"{value!r} is not a level of {name!r}; {nearest(str(value), list(map(str, known)))}",
            where=where,
            mend="name a level that the survey of the fit holds",
        )
    kind = float if _is_numeric(column) else object
    return _with_values(world, name, np.where(who, value, column.to_numpy(dtype=kind)))


def _arithmetic(
    world: World,
    intervention: AddToColumn | ScaleColumn | ClipColumn,
    who: Mask,
    where: Where,
) -> World:
    name = intervention.column
    column = _used_column(world, name, where)
    if not _is_numeric(column) or levels_of(world.design, name):
        raise QuestionError(
            f"{name!r} is a category, which has no arithmetic",
            where=where,
            mend='give it a level: kind = "set"',
        )
    old = column.to_numpy(dtype=float)
    match intervention:
        case AddToColumn(value=value):
            new = old + value
        case ScaleColumn(factor=factor):
            new = old * factor
        case ClipColumn(lower=lower, upper=upper):
            new = np.clip(old, lower, upper)
    return _with_values(world, name, np.where(who, new, old))


def _used_column(world: World, name: str, where: Where, also: tuple[str, ...] = ()) -> pd.Series:
    used = (*theory_columns(world.design), *also)
    if name not in used:
        raise QuestionError(
            f"the theory {world.design.spec.name!r} does not use {name!r}: the scenario would "
            f"change nothing; {nearest(name, used)}",
            where=where,
            mend="change one of " + ", ".join(used) + ", or ask a theory that uses it",
        )
    return _column(world.frame, name, where)


def _with_values(world: World, column: str, values: Any) -> World:
    return replace(world, frame=world.frame.assign(**{column: values}))


# ------------------------------------------------- alternatives and their attributes


def _availability(world: World, intervention: SetAvailability, who: Mask, where: Where) -> World:
    """Read the availability of one alternative from a column of its own."""
    name, spec = intervention.alternative, world.design.spec
    _known_alternative(world.design, name, where)
    source: str | float = spec.available.get(name, 1.0)
    column = _availability_column(name)
    values = world.values_of(source).to_numpy(dtype=float)
    changed = np.where(who, float(intervention.available), values)
    available = {**spec.available, name: column}
    design = replace(world.design, spec=spec.model_copy(update={"available": available}))
    return _moved_to(world, design, column, source, changed)


def _attribute(world: World, intervention: ChangeAttribute, who: Mask, where: Where) -> World:
    """Read an attribute of one alternative from a column of its own.

    The column of the survey stays as it is: other alternatives may share it.
    """
    name, alternative, design = intervention.attribute, intervention.alternative, world.design
    _known_alternative(design, alternative, where)
    shared = design.spec.utility.shared_columns
    named = design.spec.attributes_of(alternative)
    used = [c for c in named if c in design.attributes and c not in shared]
    if name in shared:
        raise QuestionError(
            f"{name!r} is a column of the chooser that all streams share, not an attribute of "
            f"{alternative!r}",
            where=where,
            mend='change the column: kind = "add", "scale" or "set"',
        )
    if name not in used:
        raise QuestionError(
            f"the theory {design.spec.name!r} does not use the attribute {name!r} of "
            f"{alternative!r}: the scenario "
            f"would change nothing; {nearest(name, used)}",
            where=where,
            mend="ask a theory with this attribute in utility.alternatives, or among what makes "
            f"{alternative} feasible",
        )
    source = design.attributes[name][alternative]
    column = _attribute_column(name, alternative)
    old = world.values_of(source).to_numpy(dtype=float)
    value = intervention.value
    new = {"set": np.full_like(old, value), "add": old + value, "scale": old * value}
    attributes = {k: dict(v) for k, v in design.attributes.items()}
    attributes[name][alternative] = column
    changed = np.where(who, new[intervention.change], old)
    return _moved_to(world, replace(design, attributes=attributes), column, source, changed)


def _moved_to(
    world: World, design: Design, column: str, source: str | float, values: Array
) -> World:
    """The world with a new column in the place of a source; a later step reuses it."""
    sources = world.sources if source == column else {**world.sources, column: source}
    return replace(_with_values(world, column, values), design=design, sources=sources)


def _known_alternative(design: Design, name: str, where: Where) -> None:
    if name not in design.alternatives:
        raise QuestionError(
            f"{name!r} is not an alternative; {nearest(name, design.alternatives)}",
            where=where,
            mend="name one of " + ", ".join(design.alternatives),
        )


# ---------------------------------------------------------------------- coefficients


def _coefficient(world: World, intervention: MoveCoefficient, where: Where) -> World:
    shift = Shift(
        _FIELDS[intervention.block], _place(world.design, intervention, where), intervention.shift
    )
    return replace(world, shifts=(*world.shifts, shift))


def _place(design: Design, intervention: MoveCoefficient, where: Where) -> tuple[int, ...]:
    name, alternative = intervention.name, intervention.alternative
    if alternative is not None:
        _known_alternative(design, alternative, where)
    if intervention.block == "persons" and alternative == design.spec.choice.base:
        raise QuestionError(
            f"the base {alternative!r} has no coefficients of persons: its utility is zero",
            where=where,
            mend="shift the coefficients of the other alternatives the other way",
        )
    places = _places(design, intervention.block, alternative)
    if name not in places:
        raise QuestionError(
            f"the theory {design.spec.name!r} has no coefficient {name!r}"
            + (f" of {alternative!r}" if alternative else "")
            + f" in the block {intervention.block}; {nearest(name, list(places))}",
            where=where,
            mend="coefficients carry the labels of Posterior.summary()",
        )
    return places[name]


def _places(design: Design, block: str, alternative: str | None) -> dict[str, tuple[int, ...]]:
    """Name of a coefficient -> where it lies in its field of `Coefficients`."""
    match block:
        case "persons":
            column = design.nonbase.index(str(alternative))
            return {n: (k, column) for k, n in enumerate(design.persons)}
        case "only":
            return {n: (k,) for k, (a, n) in enumerate(design.only) if a == alternative}
        case _:
            return {n: (k,) for k, n in enumerate(design.attribute_terms)}
