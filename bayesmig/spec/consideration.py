"""Consideration in a model file: what makes an alternative feasible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from bayesmig.errors import SpecError, nearest
from bayesmig.expressions import Formula, parse_formula
from bayesmig.spec.priors import Frozen, Name

Sign = Literal["positive", "negative"]
#: Alternatives that may be infeasible, at most: their sets double with each.
MOST = 6


class Consideration(Frozen):
    """What makes alternatives feasible, apart from whether they are wanted.

    Attributes
    ----------
    feasible
        Alternative -> formula of the log odds that it is feasible; the constant is
        included unless the formula says ``0 +``. A name that is an attribute of the
        survey stands for its column of this alternative. Alternatives that are not
        named are always feasible.
    signs
        Alternative -> label of a coefficient -> ``positive`` or ``negative``: the sign
        that it is restricted to.
    """

    feasible: dict[Name, str] = Field(min_length=1, max_length=MOST)
    signs: dict[Name, dict[str, Sign]] = {}

    def check(self) -> None:
        """Formulas parse, and signs are of alternatives that have one."""
        for name, formula in self.formulas.items():
            if formula.intercept is False and not formula.terms:
                raise SpecError(
                    "a formula without terms makes nothing feasible or not",
                    where=f"key feasible.{name}",
                    mend='write at least "1"',
                )
        for name in self.signs:
            if name not in self.feasible:
                raise SpecError(
                    f"a sign is stated for {name!r}, which is always feasible; "
                    + nearest(name, list(self.feasible)),
                    where=f"key signs.{name}",
                    mend="name an alternative that stands under feasible",
                )

    @property
    def formulas(self) -> dict[str, Formula]:
        """``feasible``, parsed."""
        return {
            name: parse_formula(text, where=f"key feasible.{name}")
            for name, text in self.feasible.items()
        }


def check_consideration(
    consideration: Consideration | None, alternatives: Sequence[str], base: str
) -> None:
    """Refuse alternatives that there are not, and a base that could be infeasible.

    Raises
    ------
    SpecError
        Which names the key.
    """
    for name in () if consideration is None else consideration.feasible:
        where = f"key consideration.feasible.{name}"
        if name not in alternatives:
            raise SpecError(
                f"{name!r} is not an alternative; {nearest(name, alternatives)}",
                where=where,
                mend="name one of " + ", ".join(alternatives),
            )
        if name == base:
            raise SpecError(
                f"the base {base!r} is always feasible: nobody is without an alternative",
                where=where,
                mend="leave it out, or choose another base",
            )
