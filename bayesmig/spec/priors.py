"""Priors of a theory, as the model file states them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bayesmig.errors import SpecError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Frozen(BaseModel):
    """A value of a declarative file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Prior(Frozen):
    """Prior of one coefficient or of a block of them.

    Attributes
    ----------
    dist
        ``normal``, ``student_t`` (``df`` degrees of freedom), ``laplace`` or ``flat``.
    loc
        Centre. For the constant, left out means the log of the observed share against
        the base, so that a rare alternative is expected to be rare.
    scale
        Standard deviation (normal) or scale (the others), > 0.
    per
        ``sd``: the scale holds for a change of one standard deviation of the column;
        ``unit``: for a change of one unit.
    """

    dist: Literal["normal", "student_t", "laplace", "flat"] = "normal"
    loc: Finite | None = None
    scale: Positive = 1.0
    df: Positive = 4.0
    per: Literal["sd", "unit"] = "sd"

    @model_validator(mode="after")
    def _only_keys_that_apply(self) -> Prior:
        given = self.model_fields_set
        if self.dist == "flat" and given & {"loc", "scale", "df", "per"}:
            raise SpecError(
                "a flat prior has no loc, scale, df or per",
                where="key priors",
                mend="leave them out",
            )
        if self.dist != "student_t" and "df" in given:
            raise SpecError(
                f"df applies to student_t, not to {self.dist}",
                where="key priors",
                mend="leave df out",
            )
        return self


class ConstantPrior(Prior):
    """Prior of the constants: on the scale of log odds, whatever the columns."""

    scale: Positive = 2.5
    per: Literal["unit"] = "unit"


class CoefficientPrior(Prior):
    """Prior of one named coefficient, before that of its block.

    Attributes
    ----------
    block
        ``persons``, ``only`` or ``alternatives``.
    name
        The coefficient's label, as the summary shows it (``"female"``, ``"asc"``).
    alternative
        The alternative it belongs to; left out, all of them.
    """

    block: Literal["persons", "only", "alternatives"] = "persons"
    name: str
    alternative: str | None = None


class ScalePrior(Frozen):
    """Prior of the standard deviations of group effects (log-odds units).

    ``exponential`` has mean ``scale``; the others have scale ``scale``.
    """

    dist: Literal["exponential", "half_normal", "half_student_t"] = "exponential"
    scale: Positive = 1.0
    df: Positive = 4.0

    @model_validator(mode="after")
    def _only_keys_that_apply(self) -> ScalePrior:
        if self.dist != "half_student_t" and "df" in self.model_fields_set:
            raise SpecError(
                f"df applies to half_student_t, not to {self.dist}",
                where="key priors.scale",
                mend="leave df out",
            )
        return self


class CorrelationPrior(Frozen):
    """LKJ prior of the correlations of group effects (Lewandowski et al. 2009)."""

    eta: Positive = 2.0


class Priors(Frozen):
    """Priors per block, and per coefficient where that is wanted."""

    asc: ConstantPrior = ConstantPrior()
    persons: Prior = Prior()
    only: Prior = Prior()
    alternatives: Prior = Prior()
    scale: ScalePrior = ScalePrior()
    correlation: CorrelationPrior = CorrelationPrior()
    coefficient: tuple[CoefficientPrior, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Priors:
        keys = [(p.block, p.name, p.alternative) for p in self.coefficient]
        twice = {k for k in keys if keys.count(k) > 1}
        if twice:
            raise SpecError(
                f"the prior of {sorted(map(str, twice))[0]} is stated twice",
                where="key priors.coefficient",
                mend="keep one of them",
            )
        return self
