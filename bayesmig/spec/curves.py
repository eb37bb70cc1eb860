"""Response curves of a model file, and their priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from bayesmig.errors import SpecError, nearest
from bayesmig.expressions import Formula
from bayesmig.spec.priors import Frozen, Name

Shape = Literal["linear", "log1p", "saturating", "hill", "hump"]


class Curve(Frozen):
    """How a column acts on the utilities of some alternatives.

    Attributes
    ----------
    column
        A numeric column; at least 0 but for a linear curve.
    shape
        ``linear``, ``log1p``, ``saturating`` (half-saturation), ``hill``
        (half-saturation and exponent: a threshold where that is above one) or ``hump``
        (turns down); see `bayesmig.choice.response`.
    alternatives
        The alternatives that it acts on, with an effect for each and one shape for all.
    name
        The label of its parameters; the column's where it is left out.
    """

    column: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=128)]
    shape: Shape
    alternatives: tuple[Name, ...] = Field(min_length=1)
    name: Name | None = None

    @property
    def label(self) -> str:
        """The label of its parameters."""
        return self.name or self.column


def check_curves(
    curves: Sequence[Curve],
    alternatives: Sequence[str],
    persons: Formula,
    only: dict[str, Formula],
    base: str,
    shared: Sequence[str] = (),
) -> None:
    """Refuse curves that could not be told from each other or from a coefficient.

    Parameters
    ----------
    curves
        Of a theory.
    alternatives, base
        Its choice set.
    persons, only
        Its formulas.
    shared
        Columns that have a coefficient for all alternatives but the base.

    Raises
    ------
    SpecError
        Where two curves have one label, act on the same alternative by the same column, or
        act beside a coefficient of it; or one acts on all alternatives alike.
    """
    for number, curve in enumerate(curves):
        where = f"key curves[{number}]"
        if curve.label in [c.label for c in curves[:number]]:
            raise SpecError(
                f"two curves are called {curve.label!r}",
                where=f"{where}.name",
                mend='give one of them a name of its own, name = "…"',
            )
        for place, a in enumerate(curve.alternatives):
            if a not in alternatives:
                raise SpecError(
                    f"{a!r} is not an alternative; {nearest(a, alternatives)}",
                    where=f"{where}.alternatives",
                    mend="name one of " + ", ".join(alternatives),
                )
            taken = [c.column for c in curves[:number] if a in c.alternatives]
            if a in curve.alternatives[:place] or curve.column in taken:
                raise SpecError(
                    f"two curves of {curve.column!r} act on {a!r}",
                    where=f"{where}.alternatives",
                    mend="keep one of them",
                )
            linear = [only[a]] if a in only else []
            if a != base:
                linear.append(persons)
            is_shared = a != base and curve.column in shared
            if is_shared or any(_alone(curve.column, formula) for formula in linear):
                raise SpecError(
                    f"{curve.column!r} has a coefficient of {a!r} and a curve beside it: one "
                    "could not be told from the other",
                    where=where,
                    mend="leave the column out of the formula",
                )
        if set(curve.alternatives) == set(alternatives):
            raise SpecError(
                "a curve that acts on all alternatives moves all utilities together",
                where=f"{where}.alternatives",
                mend="leave the base out",
            )


def _alone(column: str, formula: Formula) -> bool:
    """Whether a column, or a transform of it, stands alone in a formula."""
    return any(len(term) == 1 and term[0].columns == (column,) for term in formula.terms)
