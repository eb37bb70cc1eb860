"""A policy as a value: typed interventions on people, networks, attributes, parameters."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field

from bayesmig.errors import SpecError
from bayesmig.spec.model import Column, FileName, Name
from bayesmig.spec.priors import Finite, Frozen
from bayesmig.spec.references import Mechanism, Reference
from bayesmig.tomlfile import write_toml

Value = Finite | str


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


class Filter(Frozen):
    """Whom an intervention touches: one condition on one column.

    Attributes
    ----------
    column
        A column of the survey.
    equals, one_of
        Values of the column.
    above, below
        Strict bounds; both may be given.
    """

    column: Column
    equals: Value | None = None
    one_of: tuple[Value, ...] | None = None
    above: Finite | None = None
    below: Finite | None = None

    def check(self) -> None:
        """One condition."""
        given = {k for k in ("equals", "one_of", "above", "below") if getattr(self, k) is not None}
        if given not in ({"equals"}, {"one_of"}, {"above"}, {"below"}, {"above", "below"}):
            raise SpecError(
                f"a filter on {self.column!r} needs one condition, got {sorted(given) or 'none'}",
                mend="give equals, or one_of, or above and/or below",
            )

    def __str__(self) -> str:
        if self.equals is not None:
            return f"{self.column} = {_shown(self.equals)}"
        if self.one_of is not None:
            return f"{self.column} in {', '.join(map(_shown, self.one_of))}"
        bounds = [(self.above, ">"), (self.below, "<")]
        return " and ".join(f"{self.column} {s} {b:g}" for b, s in bounds if b is not None)


class _Intervention(Frozen):
    where: tuple[Filter, ...] = ()

    def _for_whom(self) -> str:
        return (" where " + " and ".join(map(str, self.where))) if self.where else ""


class SetColumn(_Intervention):
    """Give a column one value."""

    kind: Literal["set"]
    column: Column
    value: Value

    def __str__(self) -> str:
        return f"set {self.column} to {_shown(self.value)}{self._for_whom()}"


class AddToColumn(_Intervention):
    """Add a number to a column."""

    kind: Literal["add"]
    column: Column
    value: Finite

    def __str__(self) -> str:
        return f"add {self.value:g} to {self.column}{self._for_whom()}"


class ScaleColumn(_Intervention):
    """Multiply a column by a number."""

    kind: Literal["scale"]
    column: Column
    factor: Finite

    def __str__(self) -> str:
        return f"multiply {self.column} by {self.factor:g}{self._for_whom()}"


class ClipColumn(_Intervention):
    """Keep a column within bounds."""

    kind: Literal["clip"]
    column: Column
    lower: Finite | None = None
    upper: Finite | None = None

    def check(self) -> None:
        """Some bound, and in order."""
        if self.lower is None and self.upper is None:
            raise SpecError("clip needs lower, upper or both", mend="state a bound")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise SpecError("clip has lower > upper", where="key lower", mend="exchange the bounds")

    def __str__(self) -> str:
        bounds = [("at least", self.lower), ("at most", self.upper)]
        text = " and ".join(f"{w} {b:g}" for w, b in bounds if b is not None)
        return f"keep {self.column} {text}{self._for_whom()}"


class SetAvailability(_Intervention):
    """Open or close an alternative."""

    kind: Literal["availability"]
    alternative: Name
    available: bool

    def __str__(self) -> str:
        return f"{'open' if self.available else 'close'} {self.alternative}{self._for_whom()}"


class ChangeAttribute(_Intervention):
    """Change an attribute of one alternative."""

    kind: Literal["attribute"]
    attribute: Column
    alternative: Name
    change: Literal["set", "add", "scale"]
    value: Finite

    def __str__(self) -> str:
        word = {"set": "set to", "add": "add", "scale": "multiply by"}[self.change]
        return f"{self.attribute} of {self.alternative}: {word} {self.value:g}{self._for_whom()}"


class MoveCoefficient(Frozen):
    """Shift a coefficient, draw by draw (log-odds or utility units per unit of column).

    Attributes
    ----------
    block, name, alternative
        Which coefficient, by its label; ``alternative`` for the block ``persons`` and
        ``only``.
    shift
        Added to every draw.
    """

    kind: Literal["coefficient"]
    block: Literal["persons", "only", "alternatives"] = "persons"
    name: str
    alternative: Name | None = None
    shift: Finite

    def check(self) -> None:
        """An alternative where the coefficient belongs to one."""
        if (self.alternative is None) != (self.block == "alternatives"):
            raise SpecError(
                "a coefficient of persons or only belongs to an alternative, a generic one to none",
                where="key alternative",
                mend='name an alternative, or say block = "alternatives" for a generic one',
            )

    def __str__(self) -> str:
        of = f" of {self.alternative}" if self.alternative else ""
        return f"shift the coefficient {self.name}{of} by {self.shift:g}"


Intervention = Annotated[
    SetColumn
    | AddToColumn
    | ScaleColumn
    | ClipColumn
    | SetAvailability
    | ChangeAttribute
    | MoveCoefficient,
    Field(discriminator="kind"),
]


class Scenario(Frozen):
    """One policy.

    Attributes
    ----------
    name
        Short name; the file's own name where it comes from a file.
    title, description
        One line; what is assumed, in plain words.
    mechanisms, references
        Codes of the mechanism map; keys of ``references.bib`` or citations in full.
    interventions
        Applied in order, each to the result of the one before.
    """

    name: FileName = "scenario"
    title: str = ""
    description: str = ""
    mechanisms: tuple[Mechanism, ...] = ()
    references: tuple[Reference, ...] = ()
    interventions: tuple[Intervention, ...] = Field(min_length=1)

    def to_toml(self) -> str:
        """The scenario as TOML text; reading it back gives an equal value."""
        return write_toml(self.model_dump(mode="json", exclude_unset=True))

    @classmethod
    def json_schema(cls) -> str:
        """The JSON schema of a scenario file."""
        return json.dumps(cls.model_json_schema(), indent=2)
