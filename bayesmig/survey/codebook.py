"""The codebook: what the columns of a file mean. Read and checked, never applied, here."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StrictInt, StrictStr, field_validator, model_validator

from bayesmig.errors import SpecError, nearest
from bayesmig.expressions import columns_of, parse_arithmetic
from bayesmig.survey.covariates import (
    AuxiliaryTable,
    Deprivation,
    Rate,
    Risk,
    ShiftShare,
)
from bayesmig.survey.derive import FUNCTIONS, check_calls
from bayesmig.survey.kinds import Codes, Frozen, Name, Number, Strict, Value
from bayesmig.survey.labels import spelling, text_of

#: The roles that a column may play, in the order in which a survey shows them.
ROLES = (
    "person",
    "household",
    "origin",
    "region",
    "period",
    "weight",
    "strata",
    "psu",
    "fpc",
    "choice",
)
#: Roles whose columns hold numbers; those of all others hold labels.
NUMERIC_ROLES = ("weight", "fpc")

#: Roles that no column may play at once: a choice or a weight stands alone, and where
#: the household chooses, it is declared as such and nothing as a person.
_APART: Mapping[str, Sequence[str]] = {
    "choice": [role for role in ROLES if role != "choice"],
    "weight": [role for role in ROLES if role not in ("choice", "weight")],
    "fpc": [role for role in ROLES if role not in ("choice", "weight", "fpc")],
    "person": ["household", "period"],
}
_MEND_APART = {
    "person": "where households choose, declare the household only; where persons choose, "
    "name a column of persons",
}


class Roles(Strict):
    """Which column plays which role; only the choice is needed.

    Attributes
    ----------
    choice
        What was chosen, as codes that ``[alternatives]`` maps.
    person, household
        Who chooses: a person where ``person`` is declared, else a household (or an
        anonymous unit). Whoever chooses stands in one row of a period.
    origin, region
        Where they live: the community (group effects, networks) and a larger area.
    period
        The interval in which the choice was made.
    weight
        Survey weight, finite and not negative.
    strata, psu
        Of the sampling design: the strata, and within them the primary sampling units,
        whose labels are read within their stratum.
    fpc
        Finite population correction of a stratum: the number of its PSUs in the
        population (above 1), or the share of them that was drawn (up to 1). It takes PSUs
        for whole: where people were sampled within them, leave it out.

    Notes
    -----
    The columns of choice, weight and fpc play no other role; a person's column is neither
    the household's nor the period's.
    """

    choice: Name
    person: Name | None = None
    household: Name | None = None
    origin: Name | None = None
    region: Name | None = None
    period: Name | None = None
    weight: Name | None = None
    strata: Name | None = None
    psu: Name | None = None
    fpc: Name | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for role, others in _APART.items():
            for other in others:
                column = getattr(self, role)
                if column is not None and column == getattr(self, other):
                    raise SpecError(
                        f"the column {column!r} cannot be both {role} and {other}",
                        where=f"keys roles.{role}, roles.{other}",
                        mend=_MEND_APART.get(role, f"name another column for the {other}"),
                    )
        return self

    def declared(self) -> dict[str, str]:
        """Map each declared role to its column in the file, in the order of `ROLES`."""
        return {role: column for role in ROLES if (column := getattr(self, role)) is not None}


class Replicates(Strict):
    """Replicate weights: the sampling weights as other samples of the same design had them.

    Attributes
    ----------
    columns
        Names, or one pattern in which ``*`` stands for any text (``"brr_*"``). Each column
        holds whole weights: factors are multiplied by the weight first.
    method
        ``brr`` (balanced repeated replication), ``fay`` (its half-samples shrunk), ``jk1``
        and ``jkn`` (delete-one jackknife, without and with strata), ``bootstrap``.
    fay
        Of ``fay``: the share of its weight that the half left out keeps, from 0 to below 1.
    scale
        By what squared deviations are multiplied: left out, ``1/R`` for R columns of brr,
        ``1/(R (1 - fay)^2)`` of fay, ``(R - 1)/R`` of jk1, 1 of jkn, ``1/(R - 1)`` of a
        bootstrap.
    scales
        A factor of every column beside the scale, in their order; jkn needs it:
        ``(n_h - 1)/n_h`` of the stratum from which the column leaves a PSU out.
    """

    columns: Name | tuple[Name, ...]
    method: Literal["brr", "fay", "jk1", "jkn", "bootstrap"]
    fay: Annotated[Number, Field(ge=0, lt=1)] | None = None
    scale: Annotated[Number, Field(gt=0)] | None = None
    scales: tuple[Annotated[Number, Field(ge=0)], ...] | None = None

    @model_validator(mode="after")
    def _what_the_method_needs(self) -> Self:
        for key, needed in (("fay", self.method == "fay"), ("scales", self.method == "jkn")):
            given = getattr(self, key) is not None
            if needed and not given:
                raise ValueError(f"the method {self.method!r} needs {key!r} too")
            if given and not needed and key == "fay":
                raise ValueError(f"{key!r} does not apply to the method {self.method!r}")
        return self

    def columns_in(self, header: Sequence[str]) -> tuple[str, ...]:
        """Name the columns, those that fit a pattern in the order of the data."""
        if not isinstance(self.columns, str):
            return self.columns
        if "*" not in self.columns:
            return (self.columns,)
        parts = map(re.escape, self.columns.split("*"))
        fits = re.compile(".*".join(parts))
        return tuple(name for name in header if fits.fullmatch(name))

    def scaling(self, count: int) -> tuple[float, ...]:
        """Give the factor of every column's squared deviations."""
        of_method = {
            "brr": 1 / count,
            "fay": 1 / (count * (1 - float(self.fay or 0)) ** 2),
            "jk1": (count - 1) / count,
            "jkn": 1.0,
            "bootstrap": 1 / max(count - 1, 1),
        }
        scale = of_method[self.method] if self.scale is None else float(self.scale)
        return tuple(scale * float(s) for s in self.scales or (1.0,) * count)


class Recode(Strict):
    """A new column by a table of values.

    Attributes
    ----------
    source
        The column that is recoded (``from`` in the file).
    values
        Old value, as text, to new value.
    other
        What becomes of values that the table does not list.
    """

    source: Name = Field(alias="from")
    values: Annotated[dict[str, Value], Frozen] = Field(min_length=1)
    other: Literal["keep", "missing", "refuse"] = "refuse"


class Range(Strict):
    """The values that a number may have; all others are missing, and counted.

    Attributes
    ----------
    min, max
        Inclusive bounds.
    above, below
        Exclusive bounds. All bounds are finite, and some number lies within them.
    """

    min: Number | None = None
    max: Number | None = None
    above: Number | None = None
    below: Number | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> Self:
        if not self.bounds():
            raise ValueError("a valid range needs min, max, above or below")
        lows = [v for v in (self.min, self.above) if v is not None]
        highs = [v for v in (self.max, self.below) if v is not None]
        if lows and highs:
            low, high = max(lows), min(highs)
            open_end = low == self.above or high == self.below
            if low > high or (low == high and open_end):
                raise ValueError(f"no number lies within {low:g} and {high:g}")
        return self

    def bounds(self) -> dict[str, float]:
        """Give the bounds that are stated."""
        return self.model_dump(exclude_none=True)


class Missing(Strict):
    """The rule for missing values.

    Attributes
    ----------
    rule
        ``"complete"`` (the default): a row that lacks a covariate or an attribute is left out,
        and whatever is fitted says so; a row that lacks a role, or more than a fifth of
        the rows left out, is an error. ``"drop"``: any incomplete row is left out.
        ``"refuse"``: any is an error. Rows left out are counted by column.
    columns
        The columns that must be complete, beside roles and attributes, which always
        must; default: all columns of the survey.
    """

    rule: Literal["complete", "drop", "refuse"] = "complete"
    columns: tuple[Name, ...] | None = None


class Network(Strict):
    """An exposure to earlier movers, computed from the rows of the survey.

    Attributes
    ----------
    prior
        0/1 column: has this person moved in this stream before the period?
    of
        The group whose earlier moves count: ``"origin"``, ``"household"``, or any column.
    leave_out
        Who is left out of it: the own ``"household"`` or only the own ``"person"`` (with all
        rows; without a person role, the own row); default ``"household"``, and ``"person"``
        within a household. Or a column of a larger part that holds the household whole, so
        that ties of different strength do not overlap: the community beyond the kin.
    measure
        ``"share"`` of the others, or ``"count"`` among them.
    alone
        The share where there are no others: a number, or ``"missing"``.
    weighted
        Weigh persons by the weight role.
    among
        0/1 column: of whom the network consists (women's networks: 1 for women). Everybody
        else is neither mover nor among those to whom movers are compared, but is exposed to it.
    by, side
        A column of a trait (ethnicity, caste, gender), and whose earlier moves count: those
        of others with the ``"own"`` trait, or of all with an ``"other"``.
    away, now
        0/1 column: does this person live where the stream leads (abroad, or elsewhere in the
        country) when the period begins? And which earlier movers count: who are ``"back"``
        (returnees), or still ``"away"``. All others are those to whom they are compared.
    """

    prior: Name
    of: Name = "origin"
    leave_out: Name | None = None
    measure: Literal["share", "count"] = "share"
    alone: Number | Literal["missing"] = "missing"
    weighted: StrictBool = False
    among: Name | None = None
    by: Name | None = None
    side: Literal["own", "other"] | None = None
    away: Name | None = None
    now: Literal["back", "away"] | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        for column, which in (("by", "side"), ("away", "now")):
            given = [k for k in (column, which) if getattr(self, k) is not None]
            if len(given) == 1:
                absent = which if given[0] == column else column
                raise ValueError(
                    SpecError(
                        f"a network with {given[0]!r} needs {absent!r} too",
                        where=f"key {absent}",
                        mend={
                            "side": 'state side = "own" or "other"',
                            "by": "name the column of the trait",
                            "now": 'state now = "back" or "away"',
                            "away": "name the 0/1 column of those who live away",
                        }[absent],
                    )
                )
        return self

    def leaves_out(self) -> str:
        """Say who is left out, the default included."""
        return self.leave_out or ("person" if self.of == "household" else "household")


class Neighbours(Strict):
    """Which origins are neighbours, for the check of spatial structure; one key of the three.

    Attributes
    ----------
    coordinates
        Columns of latitude and longitude, in degrees: each origin and those nearest to it.
    nearest
        How many of them; 5 where left out.
    within
        A column: origins most of whose rows have the same label there are each other's.
    pairs
        Pairs of labels of origins.
    """

    coordinates: tuple[Name, Name] | None = None
    nearest: Annotated[StrictInt, Field(ge=1)] | None = None
    within: Name | None = None
    pairs: tuple[tuple[Name, Name], ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [k for k in ("coordinates", "within", "pairs") if getattr(self, k)]
        if len(given) != 1:
            stated = ", ".join(given) or "none of them"
            raise ValueError(f"state one of coordinates, within and pairs; stated is {stated}")
        if self.nearest is not None and not self.coordinates:
            raise ValueError("nearest belongs to coordinates")
        return self


class Codebook(Strict):
    """Everything that a codebook file may say.

    Attributes
    ----------
    title, notes
        Free text.
    file
        The data, relative to the codebook: csv (also tsv, txt, dat; also .gz), parquet,
        Stata .dta, SPSS .sav. Absent where the data are a DataFrame.
    encoding, separator, missing_text
        Of delimited files: default UTF-8, comma, and ``["", "NA", "NaN", "nan"]``.
    labels
        Of Stata and SPSS files: put value labels for values in all columns that they
        cover (true), or in the columns named.
    roles
        See `Roles`.
    alternatives
        Alternative to its codes in the choice column; the order is kept. A plain list
        of names means that the codes are the names.
    missing_codes
        Column to the codes that mean "no answer".
    valid_range
        Column to the range outside of which a number is missing.
    recode, derive, networks
        New columns: by a table, by arithmetic, by exposure to earlier movers. None may
        be made of the choice, but for the choice itself and a weight.
    tables
        New columns joined from other files, by origin, period or any column; those that
        belong to an alternative are named under ``attributes``.
    deprivation, risk, rates, shift_share
        New columns by constructor: relative deprivation, income risk, rates of places in
        earlier periods, demand by shift and share.
    neighbours
        Which origins are neighbours; those of one region, where it is left out.
    missing
        The rule for missing values.
    keep
        Columns kept beside those above; default: all.
    replicates
        Replicate weights, beside the weight; see `Replicates`. They are no columns of the
        survey that theories or checks could use.
    population_shares
        Of a sample that was drawn by choice: alternative to its share of the population,
        which corrects the constants of a logit.
    counts
        Column that says for how many choosers, all alike, a row stands: the survey has
        as many rows. They are nobody in particular, so that no person, period, network
        or comparison with others can be declared beside it.
    attributes
        Attribute of alternatives to alternative to a column or a number.
    """

    title: StrictStr = ""
    notes: StrictStr = ""
    file: Name | None = None
    encoding: Name | None = None
    separator: Annotated[StrictStr, Field(min_length=1, max_length=1)] | None = None
    missing_text: tuple[StrictStr, ...] | None = None
    labels: StrictBool | tuple[Name, ...] = False
    roles: Roles
    alternatives: Annotated[dict[Name, Codes], Frozen] = Field(min_length=2)
    missing_codes: Annotated[dict[str, Codes], Frozen] = {}
    valid_range: Annotated[dict[str, Range], Frozen] = {}
    recode: Annotated[dict[Name, Recode], Frozen] = {}
    derive: Annotated[dict[Name, StrictStr], Frozen] = {}
    networks: Annotated[dict[Name, Network], Frozen] = {}
    tables: Annotated[dict[Name, AuxiliaryTable], Frozen] = {}
    deprivation: Annotated[dict[Name, Deprivation], Frozen] = {}
    risk: Annotated[dict[Name, Risk], Frozen] = {}
    rates: Annotated[dict[Name, Rate], Frozen] = {}
    shift_share: Annotated[dict[Name, ShiftShare], Frozen] = {}
    neighbours: Neighbours | None = None
    missing: Missing = Missing()
    keep: tuple[Name, ...] | None = None
    replicates: Replicates | None = None
    population_shares: Annotated[dict[Name, Annotated[Number, Field(gt=0, lt=1)]], Frozen] = {}
    counts: Name | None = None
    attributes: Annotated[dict[Name, Annotated[dict[str, Value], Frozen]], Frozen] = {}

    @field_validator("separator")
    @classmethod
    def _separates(cls, value: str | None) -> str | None:
        if value is not None and (not value.isascii() or value.isalnum() or value in '\n\r\0".'):
            raise ValueError(f"{value!r} cannot separate fields; usual are , ; | and a tab (\\t)")
        return value

    @field_validator("alternatives", mode="before")
    @classmethod
    def _names_are_codes(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
            if len(set(value)) < len(value):
                raise ValueError("an alternative is named twice")
            return {name: (name,) for name in value}
        return value

    @field_validator("alternatives")
    @classmethod
    def _one_alternative_per_code(cls, value: dict[str, Codes]) -> dict[str, Codes]:
        owner: dict[str, str] = {}
        for name, codes in value.items():
            for code in codes:
                other = owner.setdefault(spelling(text_of(code)), name)
                if other != name:
                    raise ValueError(f"the code {code!r} is mapped to both {other!r} and {name!r}")
        return value

    @field_validator("derive")
    @classmethod
    def _in_the_language(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            check_calls(parse_arithmetic(text, FUNCTIONS, where=f"key derive.{name}"), name)
        return value

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        _each_made_once(self)
        _no_keywords(self)
        _nobody_in_particular(self)
        _replicates_have_a_weight(self)
        _shares_of_all(self)
        for attribute, columns in self.attributes.items():
            _all_alternatives(attribute, columns, tuple(self.alternatives))
        for name, rate in self.rates.items():
            _some_of_them(name, rate.alternatives, tuple(self.alternatives))
        for name, demand in self.shift_share.items():
            for key in ("shares", "growth"):
                _by_sector(f"shift_share.{name}.{key}.table", getattr(demand, key).table, self)
        return self

    def trees(self) -> dict[str, ast.expr]:
        """Parse the derived columns."""
        return {n: parse_arithmetic(text, FUNCTIONS) for n, text in self.derive.items()}

    def made(self) -> tuple[str, ...]:
        """Name the columns that the codebook makes, in its order."""
        joined = [name for table in self.tables.values() for name in table.columns]
        return (*self.recode, *self.derive, *self.networks, *joined, *self._constructed())

    def _constructed(self) -> tuple[str, ...]:
        return (*self.deprivation, *self.risk, *self.rates, *self.shift_share)

    def table_of(self, name: str) -> str | None:
        """Name the auxiliary table from which a column is joined, if it is."""
        return next((t for t, table in self.tables.items() if name in table.columns), None)

    def sources(self, name: str, *, network: Literal["of", "prior"] = "of") -> frozenset[str]:
        """Name the columns that a row's value of a column is computed from, at any remove.

        Parameters
        ----------
        name
            A column, or a role.
        network
            What to follow from a network. It is computed from other rows, the own part
            left out, so that of the own row only the group ``of`` matters (and the trait
            ``by``); ``prior`` follows what is known of those others: their earlier moves, whether
            they are away, and whether they are part of it (``among``).
        """
        found: dict[str, None] = {}
        ahead = [name]
        while ahead:
            new = [c for c in self.inputs(ahead.pop(), network) if c != name and c not in found]
            found |= dict.fromkeys(new)
            ahead += new
        return frozenset(found)

    def inputs(self, name: str, network: Literal["of", "prior"]) -> tuple[str, ...]:
        """Name the columns that a column or role is made of directly; see `sources`."""
        if name in self.recode:
            return (self.recode[name].source,)
        if name in self.derive:
            return columns_of(parse_arithmetic(self.derive[name], FUNCTIONS))
        if name in self.networks:
            block = self.networks[name]
            whose, who = (block.of, block.by), (block.prior, block.away, block.among)
            asked = whose if network == "of" else who
            return tuple(c for c in asked if c is not None)
        if (table := self.table_of(name)) is not None:
            return tuple(self.tables[table].keys)
        if name in self._constructed():
            return self._inputs_of_constructor(name)
        column = self.roles.declared().get(name)
        return () if column is None else (column,)

    def _inputs_of_constructor(self, name: str) -> tuple[str, ...]:
        """Name what a row's value depends on; of a rate, the choices of earlier periods do not."""
        if name in self.deprivation:
            return (self.deprivation[name].of, *self.reference_group(name))
        if name in self.risk:
            return (self.risk[name].of, "household", "period")
        if name in self.rates:
            rate = self.rates[name]
            return ("period",) if rate.place else (rate.at or rate.of, "period")
        demand = self.shift_share[name]
        tables = (demand.shares.table, demand.growth.table)
        return tuple(dict.fromkeys(ours for t in tables for ours in self.tables[t].keys))

    def reference_group(self, name: str) -> tuple[str, ...]:
        """Name the columns or roles within which a deprivation is computed."""
        stated = self.deprivation[name].within
        return stated or tuple(r for r in ("origin", "period") if r in self.roles.declared())

    def key_of(self, made: str) -> str:
        """Give the dotted key that makes a column."""
        if (table := self.table_of(made)) is not None:
            return f"tables.{table}.columns.{made}"
        kinds = ("recode", "derive", "networks", "deprivation", "risk", "rates", "shift_share")
        return f"{next(kind for kind in kinds if made in getattr(self, kind))}.{made}"

    def codes(self) -> dict[str, str]:
        """Map the text of each choice code to its alternative."""
        pairs = [(text_of(c), name) for name, codes in self.alternatives.items() for c in codes]
        return {spelling(code): name for code, name in pairs} | dict(pairs)


def _each_made_once(book: Codebook) -> None:
    made = book.made()
    twice = [name for name in made if made.count(name) > 1]
    if twice:
        raise SpecError(
            f"the column {twice[0]!r} is made twice",
            where=f"key {twice[0]} of recode, derive, networks, tables or a constructor",
            mend="give one of them another name",
        )


def _nobody_in_particular(book: Codebook) -> None:
    """Refuse what would need to know who the choosers of a counted row are."""
    if book.counts is None:
        return
    roles = [
        f"roles.{role}"
        for role in ("person", "household", "period")
        if role in book.roles.declared()
    ]
    made = ("networks", "deprivation", "risk", "rates")
    for key in [*roles, *(name for name in made if getattr(book, name))]:
        raise SpecError(
            f"counts and {key} do not go together",
            where="key counts",
            mend="choosers that are counted are nobody in particular: give each a row, or leave "
            f"{key} out",
        )


def _replicates_have_a_weight(book: Codebook) -> None:
    if book.replicates is not None and book.roles.weight is None:
        raise SpecError(
            "replicate weights stand beside a weight, and none is declared",
            where="key replicates",
            mend='add weight = "COLUMN" under [roles]',
        )


def _shares_of_all(book: Codebook) -> None:
    shares = book.population_shares
    if not shares:
        return
    where, known = "key population_shares", list(book.alternatives)
    for name in shares:
        if name not in book.alternatives:
            raise SpecError(
                f"{name!r} is not an alternative", where=where, mend=nearest(name, known)
            )
    if absent := [name for name in known if name not in shares]:
        raise SpecError(
            f"the share of {', '.join(map(repr, absent))} is not stated",
            where=where,
            mend="state the population's share of every alternative",
        )
    if abs(total := sum(shares.values()) - 1) > 1e-6:
        raise SpecError(
            f"the shares of the population sum to {1 + total:.6g}, not to 1",
            where=where,
            mend="state shares of all people, each between 0 and 1",
        )


def _no_keywords(book: Codebook) -> None:
    for name in book.made():
        if keyword.iskeyword(name):
            raise SpecError(
                f"the new column {name!r} has a name that no formula can hold",
                where=f"key {book.key_of(name)}",
                mend=f"choose another name, for instance {name}_ (words of Python are taken)",
            )


def _all_alternatives(
    attribute: str, columns: Mapping[str, object], alternatives: tuple[str, ...]
) -> None:
    where = f"key attributes.{attribute}"
    for name in columns:
        if name not in alternatives:
            raise SpecError(
                f"{name!r} is not an alternative", where=where, mend=nearest(name, alternatives)
            )
    absent = [name for name in alternatives if name not in columns]
    if absent:
        raise SpecError(
            f"the attribute {attribute!r} is not stated for {', '.join(map(repr, absent))}",
            where=where,
            mend=f"state a column or a number for every alternative, for instance {absent[0]} = 0",
        )


def _some_of_them(rate: str, named: Sequence[str], alternatives: Sequence[str]) -> None:
    where = f"key rates.{rate}.alternatives"
    for name in named:
        if name not in alternatives:
            raise SpecError(
                f"{name!r} is not an alternative", where=where, mend=nearest(name, alternatives)
            )
    if set(named) == set(alternatives):
        raise SpecError(
            "a rate of all alternatives is 1 everywhere", where=where, mend="leave some out"
        )


def _by_sector(key: str, name: str, book: Codebook) -> None:
    if name not in book.tables:
        raise SpecError(
            f"the table {name!r} is not declared",
            where=f"key {key}",
            mend=nearest(name, list(book.tables)),
        )
    if book.tables[name].long is None:
        raise SpecError(
            f"the table {name!r} is not told apart by sector",
            where=f"key {key}",
            mend=f'state long = "SECTOR" under [tables.{name}]',
        )
