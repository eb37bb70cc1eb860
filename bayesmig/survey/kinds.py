"""The kinds of values that a codebook may hold: names, codes, numbers."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

from bayesmig.survey.frozen import FrozenDict


def _as_tuple(value: Any) -> Any:
    """Accept one code for a list of one, and NumPy's arrays and scalars as Python's."""
    if hasattr(value, "tolist") and not isinstance(value, str):
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset | range):
        return tuple(_plain(v) for v in value)
    return (_plain(value),)


def _is_a_number(value: float) -> float:
    if math.isnan(value):
        raise ValueError("'not a number' is no code: it is missing as it is")
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value:g}")
    return value


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else value


Code = StrictStr | StrictInt | Annotated[StrictFloat, AfterValidator(_is_a_number)] | StrictBool
Codes = Annotated[tuple[Code, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Number = Annotated[StrictInt | StrictFloat, AfterValidator(_finite)]
Value = Annotated[StrictStr | StrictInt | StrictFloat, AfterValidator(_finite)]
Name = Annotated[StrictStr, Field(min_length=1)]
Frozen = AfterValidator(FrozenDict)


class Strict(BaseModel):
    """A frozen table of a codebook that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
