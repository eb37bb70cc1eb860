"""Priors of a theory, as the model file states them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bayesmig.errors import SpecError
from bayesmig.tomlfile import as_spec_error

Finite = Annotated[float, Field(allow_inf_nan=False)]
# Log odds beyond a few hundred are certainties; what is far outside these bounds is a
# mistake, and would overflow in the density.
Location = Annotated[float, Field(ge=-1e6, le=1e6)]
Scale = Annotated[float, Field(ge=1e-6, le=1e6)]
Shape = Annotated[float, Field(ge=0.01, le=1e6)]
#: What an alternative, nest or hypothesis may be called, so that statements can name it.
NAME = r"^[A-Za-z]\w*$"
Name = Annotated[str, Field(pattern=NAME, max_length=64)]


class Frozen(BaseModel):
    """A value of a declarative file: frozen, unknown keys and lax types refused.

    A whole number may stand for a number, and nothing else for anything else.

    Raises
    ------
    SpecError
        As `bayesmig.tomlfile.validate` does for a file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as err:
            raise as_spec_error(err, type(self), data, type(self).__name__) from None

    # Files are not read through it: for pydantic, this is the constructor that it knows.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}

    @model_validator(mode="after")
    def _checked(self) -> Self:
        try:
            self.check()
        except SpecError as err:
            # pydantic adds the tables that this one stands in.
            raise ValueError(err) from None
        return self

    def check(self) -> None:
        """Refuse what no single key shows; a `SpecError` counts keys from here."""


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
    loc: Location | None = None
    scale: Scale = 1.0
    df: Shape = 4.0
    per: Literal["sd", "unit"] = "sd"

    def check(self) -> None:
        """Only keys that apply."""
        given = self.model_fields_set
        if self.dist == "flat" and (idle := given & {"loc", "scale", "df", "per"}):
            raise SpecError(
                "a flat prior has no loc, scale, df or per",
                where=f"key {min(idle)}",
                mend="leave them out",
            )
        _only_of(self, "student_t")


class ConstantPrior(Prior):
    """Prior of the constants: on the scale of log odds, whatever the columns."""

    scale: Scale = 2.5
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
    scale: Scale = 1.0
    df: Shape = 4.0

    def check(self) -> None:
        """Only keys that apply."""
        _only_of(self, "half_student_t")


def _only_of(prior: Prior | ScalePrior, dist: str) -> None:
    if prior.dist != dist and "df" in prior.model_fields_set:
        raise SpecError(
            f"df applies to {dist}, not to {prior.dist}", where="key df", mend="leave df out"
        )


class CorrelationPrior(Frozen):
    """LKJ prior of the correlations of group effects (Lewandowski et al. 2009)."""

    eta: Shape = 2.0


class NestPrior(Frozen):
    """Beta prior of a nest's lambda, as a share of that of the nest that it lies in.

    Uniform where nothing is said: every value that maximises utility is as likely.
    """

    alpha: Shape = 1.0
    beta: Shape = 1.0


class CurvePrior(Frozen):
    """Normal prior of the effects of response curves, in log odds.

    ``slope`` is the standard deviation for a change of the curve's column by one of its
    own (of ``log(1 + N)`` for log1p), of the curves linear, log1p and hump. ``height`` is
    that of the whole way from no exposure to saturation, of the curves saturating and hill.
    """

    slope: Scale = 1.0
    height: Scale = 2.0


class HalfSaturationPrior(Frozen):
    """Beta prior of where a half-saturation lies between low and high exposure.

    These are the 1st and 99th percentiles of the exposures above zero that were observed:
    what lies outside no survey could tell.
    """

    alpha: Shape = 2.0
    beta: Shape = 2.0


class ExponentPrior(Frozen):
    """Normal prior of the log of a Hill exponent: a threshold is as probable as none.

    With the default, 95 % lie between 0.31 and 3.2.
    """

    loc: Location = 0.0
    scale: Scale = 0.6


class BendPrior(Frozen):
    """Half-normal prior of a hump's bend times the highest exposure that was observed.

    At 0 the curve is linear, at 0.5 it turns at the highest exposure, at 1 half-way there.
    """

    scale: Scale = 0.75


class FeasibilityPrior(Frozen):
    """Normal prior of the log odds of being feasible; half-normal where a sign is stated.

    ``scale`` holds for a change of one standard deviation of a column; ``constant_loc``
    and ``constant_scale`` for the log odds of the average person.
    """

    scale: Scale = 1.0
    constant_loc: Location = 0.0
    constant_scale: Scale = 1.5


class Priors(Frozen):
    """Priors per block, and per coefficient where that is wanted."""

    asc: ConstantPrior = ConstantPrior()
    persons: Prior = Prior()
    only: Prior = Prior()
    alternatives: Prior = Prior()
    scale: ScalePrior = ScalePrior()
    correlation: CorrelationPrior = CorrelationPrior()
    lambda_nest: NestPrior = NestPrior()
    curve_effect: CurvePrior = CurvePrior()
    half_saturation: HalfSaturationPrior = HalfSaturationPrior()
    hill_exponent: ExponentPrior = ExponentPrior()
    hump_bend: BendPrior = BendPrior()
    feasibility: FeasibilityPrior = FeasibilityPrior()
    coefficient: tuple[CoefficientPrior, ...] = ()

    def check(self) -> None:
        """Each coefficient once."""
        keys = [(p.block, p.name, p.alternative) for p in self.coefficient]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                of = " of ".join(filter(None, key[1:]))
                raise SpecError(
                    f"the prior of {of!r} in {key[0]} is stated twice",
                    where=f"key coefficient[{number}]",
                    mend="keep one of them",
                )
