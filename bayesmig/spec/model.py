"""A theory as a value: choice set, utility, groups, priors, hypotheses. No data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from bayesmig.choice.response import EFFECT, SHAPES
from bayesmig.errors import SpecError, nearest
from bayesmig.expressions import Formula, parse_formula
from bayesmig.spec.consideration import Consideration, check_consideration
from bayesmig.spec.curves import Curve, check_curves
from bayesmig.spec.nests import Nest, check_nests
from bayesmig.spec.pools import Pool, check_pools
from bayesmig.spec.priors import NAME as NAME
from bayesmig.spec.priors import Frozen, Priors
from bayesmig.spec.priors import Name as Name
from bayesmig.spec.references import Mechanism, Reference
from bayesmig.spec.statement import (
    AGAINST_BASE,
    OF_CURVES,
    OF_FEASIBILITY,
    OF_LEVELS,
    Average,
    Inequality,
    parse_statement,
)
from bayesmig.tomlfile import write_toml

#: That of a file without its ending.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$", max_length=64)]
Count = Annotated[int, Field(ge=0)]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=128)]
Columns = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(:[A-Za-z_]\w*)*$", max_length=256)]


#: What theories are about, in the order in which they are told: family -> in words.
FAMILIES: Mapping[str, str] = {
    "streams": "What the streams have in common",
    "people": "Who moves",
    "means": "Who can afford to move",
    "networks": "Movers who draw movers",
    "households": "Strategies of households",
    "places": "Steps, stages and vacancies",
    "regimes": "Borders, permits and distance",
}
Family = Literal["streams", "people", "means", "networks", "households", "places", "regimes"]


class ChoiceSet(Frozen):
    """The alternatives, by name and in order, and the base among them.

    Attributes
    ----------
    alternatives
        At least two different names.
    base
        The alternative whose utility is zero; every coefficient of a person's column
        is a log-odds ratio against it.
    """

    alternatives: tuple[Name, ...] = Field(min_length=2)
    base: Name

    def check(self) -> None:
        """The base is one of different alternatives."""
        twice = [a for a in self.alternatives if self.alternatives.count(a) > 1]
        if twice:
            raise SpecError(
                f"alternative {twice[0]!r} is named twice",
                where="key alternatives",
                mend="name each alternative once",
            )
        if self.base not in self.alternatives:
            raise SpecError(
                f"the base {self.base!r} is not an alternative; "
                + nearest(self.base, self.alternatives),
                where="key base",
                mend="name one of " + ", ".join(self.alternatives),
            )

    @property
    def nonbase(self) -> tuple[str, ...]:
        """The alternatives other than the base, in order."""
        return tuple(a for a in self.alternatives if a != self.base)


class Utility(Frozen):
    """Systematic utility, as formulas.

    Attributes
    ----------
    persons
        Columns of the chooser: one coefficient per non-base alternative. The constant
        is included unless the formula says ``0 +``.
    only
        Alternative -> formula of columns that enter its utility alone.
        A constant is included only where it is written (``1 +``).
    alternatives
        Columns that vary over alternatives (attributes of the survey, and their
        interactions with columns of the chooser): one generic coefficient each.
    shared
        Columns of the chooser that drive all streams: one coefficient each for all
        non-base alternatives, from which every alternative deviates. The deviations,
        per standard deviation of the column, have one scale, which is learnt: where it
        is small, the streams have the same drivers.
    period_constants
        Whether each period after the first has constants of its own. Applies where
        the survey declares the role ``period`` with more than one period.
    """

    persons: str = "1"
    only: dict[Name, str] = {}
    alternatives: str | None = None
    shared: str | None = None
    period_constants: bool = False

    def check(self) -> None:
        """Formulas parse."""
        self.persons_formula, self.only_formulas, self.alternatives_formula  # noqa: B018
        named = [f.name for f in self.persons_formula.factors]
        beside = () if self.alternatives is None else parse_formula(self.alternatives).columns
        for name in self.shared_columns:
            if name in beside:
                raise SpecError(
                    f"{name!r} is shared, and zero beside the base: in a product with an attribute "
                    "it would not be what it is elsewhere",
                    where="key alternatives",
                    mend="give the product a copy of the column, made in the codebook",
                )
            if name in named:
                raise SpecError(
                    f"{name!r} has a coefficient of its own for every alternative already",
                    where="key shared",
                    mend="name it here or in persons, not in both",
                )

    @property
    def persons_formula(self) -> Formula:
        """``persons``, parsed."""
        return parse_formula(self.persons, where="key persons")

    @property
    def only_formulas(self) -> dict[str, Formula]:
        """``only``, parsed."""
        return {
            name: parse_formula(text, where=f"key only.{name}") for name, text in self.only.items()
        }

    @property
    def alternatives_formula(self) -> Formula | None:
        """``alternatives`` and what is ``shared``, parsed: generic coefficients."""
        texts = [text for text in (self.alternatives, self.shared) if text is not None]
        if not texts:
            return None
        formula = parse_formula(" + ".join(texts), where="key alternatives")
        if formula.intercept or not formula.terms:
            raise SpecError(
                "a generic constant is not identified: it moves all utilities alike",
                where="key alternatives",
                mend="name attributes only; constants belong to utility.persons",
            )
        return formula

    @property
    def shared_columns(self) -> tuple[str, ...]:
        """The columns of ``shared``."""
        if self.shared is None:
            return ()
        formula = parse_formula(self.shared, where="key shared")
        names = tuple(f.name for f in formula.factors)
        if not names or formula.intercept or any(len(term) > 1 for term in formula.terms):
            raise SpecError(
                "what is shared is a sum of columns",
                where="key shared",
                mend="write products and transforms as columns of the codebook",
            )
        wrong = [name for name in names if name not in formula.columns]
        if wrong:
            raise SpecError(
                f"{wrong[0]!r} is not a column",
                where="key shared",
                mend="write transforms as columns of the codebook",
            )
        return names


class Smooth(Frozen):
    """A smooth bend of a column's effect, beside its straight line.

    A penalised cubic spline: its bends have one standard deviation for each alternative,
    which is learnt, so that where the data show no bend there is little of one.

    Attributes
    ----------
    column
        A number; it stands in ``utility.persons`` too, which is its line.
    bends
        Number of bends, the slowest first.
    correlated
        Whether bends are correlated across alternatives.
    """

    column: Column
    bends: Annotated[int, Field(ge=3, le=40)] = 6
    correlated: bool = True


class Group(Frozen):
    """Effects that vary over the groups of a role or column.

    Attributes
    ----------
    by
        A role (``origin``, ``household``, …) or a column; several of them, joined by
        colons, where each combination is a group: ``household:origin`` is a household
        in a place, ``female:age_group:education`` a cell of an intersection.
    terms
        Formula of the columns whose coefficients vary; the constant is included
        unless it says ``0 +``.
    correlated
        Whether effects are correlated across alternatives and terms.
    """

    by: Columns
    terms: str = "1"
    correlated: bool = True

    def check(self) -> None:
        """The formula parses and has terms, and groups are of different columns."""
        if len(set(self.parts)) < len(self.parts):
            raise SpecError(
                f"the group {self.by!r} names a column twice", where="key by", mend="name it once"
            )
        formula = self.formula
        if formula.intercept is False and not formula.terms:
            raise SpecError(
                "a group has no terms",
                where="key terms",
                mend='write terms = "1" for a constant of its own, or leave the group out',
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """The roles and columns of ``by``."""
        return tuple(self.by.split(":"))

    @property
    def formula(self) -> Formula:
        """``terms``, parsed."""
        return parse_formula(self.terms, where="key terms")


class Taste(Frozen):
    """Coefficients of attributes that vary over persons or groups: mixed logit.

    Attributes
    ----------
    by
        Whose tastes: ``person`` for a panel of choices, or as for a group.
    attributes
        Which coefficients of ``utility.alternatives`` vary around their common value,
        by their labels.
    correlated
        Whether tastes are correlated.
    """

    by: Columns
    attributes: Annotated[tuple[str, ...], Field(min_length=1)]
    correlated: bool = True

    def check(self) -> None:
        """Nothing is named twice."""
        for name, of in (("by", self.parts), ("attributes", self.attributes)):
            if len(set(of)) < len(of):
                raise SpecError(
                    f"{name} names one thing twice", where=f"key {name}", mend="name it once"
                )

    @property
    def parts(self) -> tuple[str, ...]:
        """The roles and columns of ``by``."""
        return tuple(self.by.split(":"))


class Hypothesis(Frozen):
    """A claim that the data can contradict.

    Attributes
    ----------
    claim
        One sentence.
    statement
        Inequalities of average effects on the probability scale, joined by ``and``;
        see `bayesmig.spec.statement`.
    rope
        Half-width of the region of practical equivalence, in units of the estimand.
    mechanism
        Its code in the mechanism map (``M04``).
    """

    claim: str
    statement: str
    rope: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    mechanism: Mechanism | Literal[""] = ""

    def check(self) -> None:
        """The statement parses, and can fail."""
        if any(part.sign == "!=" for part in self.inequalities) and self.rope == 0:
            raise SpecError(
                "'!=' holds for every draw unless rope > 0",
                where="key rope",
                mend="state the difference that would matter as rope",
            )

    @property
    def inequalities(self) -> tuple[Inequality, ...]:
        """``statement``, parsed."""
        return parse_statement(self.statement, where="key statement")


class Expect(Frozen):
    """Parameter counts that the author expects; compared when a design is built.

    Attributes
    ----------
    persons
        Coefficients per non-base alternative, the constant and mean effects of pools
        included and period constants not.
    only, alternatives
        Coefficients in all of these blocks.
    """

    persons: Count | None = None
    only: Count | None = None
    alternatives: Count | None = None


class ModelSpec(Frozen):
    """One theory.

    Attributes
    ----------
    name
        Short name; the file's own name where it comes from a file.
    title, claim
        One line, one sentence.
    family
        What the theory is about, one of `FAMILIES`; lists of theories are ordered by it.
    references
        Keys of ``references.bib``, or citations in full.
    mechanisms
        Codes of the mechanism map.
    columns
        What the theory expects of a survey: column -> meaning and unit.
    choice, utility, groups, priors
        The model.
    smooths
        Bends of columns' effects.
    pools
        Columns of one kind, whose effects are partially pooled.
    tastes
        Coefficients of attributes that vary over persons or groups.
    nests
        Alternatives that are closer substitutes for each other (nested logit).
    curves
        Columns that act along a curve: saturation, threshold, hump.
    consideration
        What makes alternatives feasible, apart from whether they are wanted.
    available
        Alternative -> column that says (0/1) whether it is available; alternatives
        that are not named are always available.
    weights
        ``estimand``: the likelihood is unweighted and every average over people is
        weighted, where the survey has weights. ``ignore``: nothing is weighted; every
        result says so. ``pseudo``: the likelihood is weighted too (weights that sum to the
        number of rows), and the spread of the draws is corrected for the sampling design
        (Williams and Savitsky 2021, doi 10.1111/insr.12376); the survey must have weights.
    hypotheses
        Name -> claim.
    expect
        Parameter counts.
    """

    name: FileName = "model"
    title: str = ""
    claim: str = ""
    family: Family | Literal[""] = ""
    references: tuple[Reference, ...] = ()
    mechanisms: tuple[Mechanism, ...] = ()
    columns: dict[Column, str] = {}
    choice: ChoiceSet
    utility: Utility = Utility()
    available: dict[Name, Column] = {}
    groups: tuple[Group, ...] = ()
    smooths: tuple[Smooth, ...] = ()
    pools: tuple[Pool, ...] = ()
    tastes: tuple[Taste, ...] = ()
    nests: tuple[Nest, ...] = ()
    curves: tuple[Curve, ...] = ()
    consideration: Consideration | None = None
    weights: Literal["estimand", "ignore", "pseudo"] = "estimand"
    priors: Priors = Priors()
    hypotheses: dict[Name, Hypothesis] = {}
    expect: Expect = Expect()

    def check(self) -> None:
        """Groups differ, and every alternative is one of the choice set."""
        for key, entries in (("groups", self.groups), ("tastes", self.tastes)):
            names = [set(entry.parts) for entry in entries]
            for number, name in enumerate(names):
                if name in names[:number]:
                    raise SpecError(
                        f"the group {entries[number].by!r} stands twice",
                        where=f"key {key}[{number}].by",
                        mend="put all of it into one entry",
                    )
        self._check_smooths()
        lines = (*self._lines, *self.utility.shared_columns)
        read = {c for key, f in self.formulas.items() if "pools" not in key for c in f.columns}
        check_pools(self.pools, read, lines)
        self._check_names()
        known = self.choice.alternatives
        check_nests(self.nests, known)
        check_curves(
            self.curves,
            known,
            self.utility.persons_formula,
            self.utility.only_formulas,
            self.choice.base,
            self.utility.shared_columns,
        )
        check_consideration(self.consideration, known, self.choice.base)
        mentions = [
            *((f"utility.only.{a}", a) for a in self.utility.only),
            *((f"available.{a}", a) for a in self.available),
            *(
                (f"priors.coefficient[{number}].alternative", p.alternative)
                for number, p in enumerate(self.priors.coefficient)
                if p.alternative
            ),
            *(
                (f"hypotheses.{name}.statement", alternative)
                for name, h in self.hypotheses.items()
                for part in h.inequalities
                for average in part.averages
                for alternative in filter(None, (average.alternative, average.other))
            ),
        ]
        for key, alternative in mentions:
            if alternative not in known:
                raise SpecError(
                    f"{alternative!r} is not an alternative; {nearest(alternative, known)}",
                    where=f"key {key}",
                    mend="name one of " + ", ".join(known),
                )
        for stated, h in self.hypotheses.items():
            averages = [a for part in h.inequalities for a in part.averages]
            own = [a.verb for a in averages if a.alternative == self.choice.base]
            if idle := [verb for verb in own if verb in AGAINST_BASE]:
                raise SpecError(
                    f"{idle[0]}() of the base {self.choice.base!r} is zero: everyone's odds are "
                    "against it",
                    where=f"key hypotheses.{stated}.statement",
                    mend="name another alternative",
                )
            for average in averages:
                self._check_parameters(average, f"key hypotheses.{stated}.statement")
        self._no_idle_priors()

    def _check_parameters(self, average: Average, where: str) -> None:
        """What a statement asks of groups, curves or feasibility, the theory has."""
        verb, alternative = average.verb, average.alternative
        correlated = {group.by: group.correlated for group in self.groups}
        why = ""
        if verb in OF_LEVELS and average.level not in correlated:
            known = ", ".join(map(repr, correlated)) or "no groups"
            why = f"{average.level!r} is no level of the theory, which has {known}"
        elif verb in OF_LEVELS and self.choice.base in (alternative, average.other):
            why = f"the base {self.choice.base!r} has no effects of groups"
        elif verb == "spread" and average.term not in (varying := self._varying(average.level)):
            known = ", ".join(map(repr, varying)) or "none"
            why = (
                f"the coefficient of {average.term!r} does not vary over {average.level!r}; those "
                f"that do: {known}"
            )
        elif verb == "correlation" and not correlated[average.level]:
            why = f"effects of {average.level!r} are uncorrelated in this theory"
        elif verb in OF_CURVES and average.level not in (
            hill := [curve.label for curve in self.curves if curve.shape == "hill"]
        ):
            known = ", ".join(map(repr, hill)) or "none"
            why = f"{average.level!r} is no Hill curve of the theory, which has {known}"
        elif verb in OF_FEASIBILITY and alternative not in self.feasible_formulas:
            why = f"everybody is able to choose {alternative!r} in this theory"
        if why:
            raise SpecError(
                f"{verb}() has no value: {why}",
                where=where,
                mend="leave the hypothesis out, or give the theory what it asks about",
            )

    def _varying(self, level: str) -> tuple[str, ...]:
        """Terms, as they are named, whose coefficients vary over the groups of a level."""
        (group,) = (group for group in self.groups if group.by == level)
        return tuple(":".join(f.name for f in term) for term in group.formula.terms)

    def _no_idle_priors(self) -> None:
        """A prior is of a parameter that there is."""
        shaped = [name for curve in self.curves for name in SHAPES[curve.shape]]
        there = {"lambda_nest": bool(self.nests), EFFECT: bool(self.curves)}
        there |= {name: name in shaped for of in SHAPES.values() for name in of}
        there |= {"feasibility": self.consideration is not None}
        blocks = {"lambda_nest": "[[nests]]", "feasibility": "[consideration]"}
        for name, used in there.items():
            if name in self.priors.model_fields_set and not used:
                block = blocks.get(name, "[[curves]]")
                raise SpecError(
                    f"a prior of {name} is stated, and the theory has no such parameter",
                    where=f"key priors.{name}",
                    mend=f"leave it out, or write {block}",
                )

    def _check_names(self) -> None:
        """No group has the name that effects of everyone are given."""
        given = [f"smooth_{smooth.column}" for smooth in self.smooths]
        given += [pool.by for pool in self.pools]
        given += ["deviation"] if self.utility.shared_columns else []
        named = {"groups": [g.by for g in self.groups], "tastes": [t.by for t in self.tastes]}
        for key, names in named.items():
            for number, name in enumerate(names):
                if name in given:
                    raise SpecError(
                        f"{name!r} is the name of effects that the theory has for everyone",
                        where=f"key {key}[{number}].by",
                        mend="rename the column in the codebook",
                    )

    def _check_smooths(self) -> None:
        """Smooths are of different columns, whose lines are in the utility."""
        for number, smooth in enumerate(self.smooths):
            where = f"key smooths[{number}].column"
            if smooth.column in [other.column for other in self.smooths[:number]]:
                raise SpecError(
                    f"the smooth of {smooth.column!r} stands twice", where=where, mend="keep one"
                )
            if smooth.column not in self._lines:
                raise SpecError(
                    f"the smooth of {smooth.column!r} has no line to bend",
                    where=where,
                    mend=f"name {smooth.column} in utility.persons",
                )

    @property
    def _lines(self) -> list[str]:
        """Columns that have a coefficient of their own for every alternative."""
        return [term[0].name for term in self.utility.persons_formula.terms if len(term) == 1]

    @property
    def formulas(self) -> dict[str, Formula]:
        """Key of the file -> formula, of all formulas that read columns."""
        found = {"utility.persons": self.utility.persons_formula}
        found |= {f"utility.only.{a}": f for a, f in self.utility.only_formulas.items()}
        found |= {f"groups[{i}].terms": g.formula for i, g in enumerate(self.groups)}
        for i, pool in enumerate(self.pools):
            key = f"pools[{i}].columns"
            found[key] = parse_formula(" + ".join(pool.columns), where=f"key {key}")
        if (generic := self.utility.alternatives_formula) is not None:
            found["utility.alternatives"] = generic
        found |= {f"consideration.feasible.{a}": f for a, f in self.feasible_formulas.items()}
        for i, curve in enumerate(self.curves):
            found[f"curves[{i}].column"] = parse_formula(curve.column, where=f"key curves[{i}]")
        return found

    @property
    def feasible_formulas(self) -> dict[str, Formula]:
        """Alternative that may be infeasible -> formula of the log odds that it is not."""
        return {} if self.consideration is None else self.consideration.formulas

    def attributes_of(self, alternative: str) -> tuple[str, ...]:
        """Names in formulas that stand for a column of this alternative where they are attributes.

        What streams share is one: it stands beside every alternative but the base.
        """
        generic = self.utility.alternatives_formula
        feasible = self.feasible_formulas.get(alternative)
        named = [c for f in (generic, feasible) if f is not None for c in f.columns]
        return tuple(dict.fromkeys(named))

    def outside_of_utility(self, alternative: str) -> tuple[str, ...]:
        """Columns of the feasibility of an alternative that its utility does not read."""
        keys = ("utility.persons", f"utility.only.{alternative}", "utility.alternatives")
        read = {c for key in keys if key in self.formulas for c in self.formulas[key].columns}
        read |= {c.column for c in self.curves if alternative in c.alternatives}
        return tuple(c for c in self.feasible_formulas[alternative].columns if c not in read)

    def to_toml(self) -> str:
        """The theory as TOML text; reading it back gives an equal value."""
        return write_toml(self.model_dump(mode="json", exclude_unset=True))

    def replace(self, **changes: Any) -> ModelSpec:
        """A copy with some fields changed, checked like a new one.

        Raises
        ------
        SpecError
            Where the changed theory would be refused as a file.
        """
        from bayesmig.tomlfile import validate

        data = self.model_dump(mode="json", exclude_unset=True) | changes
        return validate(type(self), data, file=f"model {self.name!r}")

    @classmethod
    def json_schema(cls) -> str:
        """The JSON schema of a model file; one that ``extends`` another may say less."""
        schema = cls.model_json_schema()
        schema["properties"]["extends"] = {
            "type": "string",
            "title": "Extends",
            "description": "Name of a packaged model, or path of a model file, to build on.",
        }
        tables = {key: schema["$defs"][kind].pop("required") for key, kind in _PARTIAL.items()}
        whole = {
            "required": schema.pop("required"),
            "properties": {
                "choice": {"required": tables["choice"]},
                "hypotheses": {"additionalProperties": {"required": tables["hypotheses"]}},
            },
        }
        schema |= {"if": {"not": {"required": ["extends"]}}, "then": whole}
        return json.dumps(schema, indent=2)


#: Tables of which a model file may give a part, where it extends one with the rest.
_PARTIAL = {"choice": "ChoiceSet", "hypotheses": "Hypothesis"}


def merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """A model file on top of the one that it extends.

    Tables are merged key by key, and a formula that starts with ``+`` is added to the
    parent's. An entry of ``[[priors.coefficient]]`` takes the place of the parent's of
    the same block, name and alternative, or is added. Anything else is replaced, other
    lists as a whole.
    """
    merged = dict(parent)
    for key, value in child.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(below, value)
        elif isinstance(value, str) and isinstance(below, str) and value.lstrip()[:1] == "+":
            merged[key] = f"{below} {value.strip()}"
        elif key == "coefficient" and isinstance(value, list) and isinstance(below, list):
            merged[key] = _merge_coefficients(below, value)
        else:
            merged[key] = value
    return merged


def _merge_coefficients(parent: list[Any], child: list[Any]) -> list[Any]:
    """The parent's entries that the child does not state, then the child's."""

    def whose(entry: Any) -> tuple[Any, ...] | None:
        if not isinstance(entry, Mapping):
            return None
        return entry.get("block", "persons"), entry.get("name"), entry.get("alternative")

    stated = [whose(entry) for entry in child]
    return [*(entry for entry in parent if whose(entry) not in stated), *child]
