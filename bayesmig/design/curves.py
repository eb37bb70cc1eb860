"""Response curves on a survey: their columns, and priors in the units of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmig.choice.response import EFFECT, SHAPES, Curve, saturation_bounds
from bayesmig.design.formula import Encoder, RowsError, learn
from bayesmig.errors import DesignError
from bayesmig.expressions import parse_formula
from bayesmig.spec.model import ModelSpec


@dataclass(frozen=True, slots=True)
class Responses:
    """Priors of the curves of a theory, every array in the order of its labels.

    Attributes
    ----------
    labels
        Parameter -> its labels: ``curve:alternative`` of effects, else names of curves.
    effect_sd
        Prior standard deviations of the effects.
    low, high
        Bounds of the half-saturations: 1st and 99th percentiles of positive exposures.
    top
        Highest exposure of every hump.
    """

    labels: Mapping[str, tuple[str, ...]]
    effect_sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    top: np.ndarray


#: A half-saturation piles up at a bound where this share of its draws lies within so much of
#: the way from one bound to the other: the bound, not the data, then says where it ends.
PILED, EDGE = 0.25, 0.05


def piled_up(responses: Responses | None, draws: Mapping[Any, Any]) -> dict[str, str]:
    """Half-saturations whose draws pile up at the bounds of their prior.

    Parameters
    ----------
    responses
        Of a theory, or ``None``.
    draws
        Parameter -> draws, ``(..., curve)``.

    Returns
    -------
    dict
        Label of a curve -> which bound, and what follows, in words.
    """
    if responses is None or "half_saturation" not in responses.labels:
        return {}
    values = np.asarray(draws["half_saturation"])
    way = (values - responses.low) / (responses.high - responses.low)
    way = way.reshape(-1, way.shape[-1])
    found = {}
    for k, label in enumerate(responses.labels["half_saturation"]):
        ends = (
            ("lowest", responses.low[k], way[:, k]),
            ("highest", responses.high[k], 1 - way[:, k]),
        )
        for end, bound, distance in ends:
            if (share := float(np.mean(distance < EDGE))) >= PILED:
                found[label] = (
                    f"half_saturation[{label}] is not identified: {100 * share:.0f} % of its draws "
                    f"lie at the {end} exposure at which it may be ({bound:.3g})"
                )
    return found


def curves_of(spec: ModelSpec) -> tuple[Curve, ...]:
    """The curves, alternatives by position."""
    place = {a: j for j, a in enumerate(spec.choice.alternatives)}
    return tuple(Curve(c.shape, tuple(place[a] for a in c.alternatives)) for c in spec.curves)


def learn_doses(
    spec: ModelSpec, frame: pd.DataFrame, encoders: dict[str, Encoder]
) -> np.ndarray | None:
    """Columns of the curves, ``(obs, curve)``; ``None`` where there are none."""
    if not spec.curves:
        return None
    columns = []
    for number, curve in enumerate(spec.curves):
        where = f"key curves[{number}].column"
        formula = parse_formula(curve.column, where=where)
        encoder, values = learn(formula, frame, constant=False, where=where)
        encoders[f"curves.{curve.label}"] = encoder
        _enough_values(curve.column, curve.shape, values[:, 0], where)
        columns.append(values)
    return checked_doses(spec, np.hstack(columns), "")


def apply_doses(
    spec: ModelSpec, frame: pd.DataFrame, encoders: Mapping[str, Encoder], where: str
) -> np.ndarray | None:
    """As `learn_doses`, of another table."""
    if not spec.curves:
        return None
    columns = [encoders[f"curves.{c.label}"].apply(frame, where=where) for c in spec.curves]
    return checked_doses(spec, np.hstack(columns), where)


def moving_doses(
    spec: ModelSpec,
    frame: pd.DataFrame,
    encoders: Mapping[str, Encoder],
    along: Mapping[str, np.ndarray],
    where: str,
) -> np.ndarray | None:
    """Derivatives of the columns of curves when a column moves.

    Raises
    ------
    DesignError
        Where a Hill curve has no finite slope: at zero, unless its exponent is one or more.
    """
    if not spec.curves:
        return None
    columns = []
    for curve in spec.curves:
        encoder = encoders[f"curves.{curve.label}"]
        columns.append(encoder.derivative(frame, along, where=where))
        zero = frame[curve.column].to_numpy(dtype=float) == 0
        if curve.shape == "hill" and columns[-1].any() and zero.any():
            raise RowsError(
                f"the Hill curve of {curve.column!r} has no slope at 0 that is finite for every "
                "exponent",
                where=(where, f"column {curve.column}"),
                mend="ask for the comparison with a finite change, or leave these rows out",
                rows=np.flatnonzero(zero),
            )
    return np.hstack(columns)


def checked_doses(spec: ModelSpec, doses: np.ndarray, where: str) -> np.ndarray:
    """The columns, at least 0 where a curve starts there.

    Raises
    ------
    DesignError
        With the rows that are below.
    """
    for number, curve in enumerate(spec.curves):
        below = np.flatnonzero(doses[:, number] < 0)
        if curve.shape != "linear" and len(below):
            raise RowsError(
                f"the column {curve.column!r} is {doses[below[0], number]:g}: a curve that is "
                f"{curve.shape} starts at 0",
                where=(where, f"key curves[{number}]", f"column {curve.column}"),
                mend="let the codebook count exposure from zero, not from its mean",
                rows=below,
            )
    return doses


def _enough_values(column: str, shape: str, values: np.ndarray, where: str) -> None:
    """A straight line needs two values of its column, any other curve three."""
    needed = 3 if SHAPES[shape] else 2
    found = len(np.unique(values[:10_000])) if len(values) else 0
    if found < needed and (found := len(np.unique(values))) < needed:
        raise DesignError(
            f"the column {column!r} has {found} values: a curve that is {shape} needs at least "
            f"{needed}",
            where=(where, f"column {column}"),
            mend="use an ordinary coefficient, or leave the column out",
        )


def responses(spec: ModelSpec, doses: np.ndarray | None) -> Responses | None:
    """Labels and priors of the curves' parameters."""
    if doses is None:
        return None
    labels: dict[str, list[str]] = {EFFECT: []}
    sd, low, high, top = [], [], [], []
    for number, curve in enumerate(spec.curves):
        column = doses[:, number]
        labels[EFFECT] += [f"{curve.label}:{a}" for a in curve.alternatives]
        sd += [effect_sd(spec, curve.shape, column)] * len(curve.alternatives)
        for name in SHAPES[curve.shape]:
            labels.setdefault(name, []).append(curve.label)
        if "half_saturation" in SHAPES[curve.shape]:
            bounds = saturation_bounds(column)
            _spread_out(curve.column, bounds, f"key curves[{number}].column")
            low.append(bounds[0])
            high.append(bounds[1])
        if "hump_bend" in SHAPES[curve.shape]:
            top.append(column.max())
    ordered: Sequence[str] = (EFFECT, *dict.fromkeys(n for of in SHAPES.values() for n in of))
    return Responses(
        {name: tuple(labels[name]) for name in ordered if name in labels},
        *(np.array(x, dtype=float) for x in (sd, low, high, top)),
    )


def _spread_out(column: str, bounds: tuple[float, float], where: str) -> None:
    if not bounds[0] < bounds[1]:
        raise DesignError(
            f"nearly all exposures above zero in {column!r} are {bounds[0]:g}: nothing shows at "
            "which of them half of an effect is reached",
            where=(where, f"column {column}"),
            mend="use an ordinary coefficient",
        )


def typical_height(shape: str, column: np.ndarray) -> float:
    """How high a curve is on average, in units of its effect, as far as data alone say."""
    match shape:
        case "saturating" | "hill":
            return 0.5
        case "log1p":
            return float(np.log1p(column).mean())
        case _:
            return float(column.mean())


def effect_sd(spec: ModelSpec, shape: str, column: np.ndarray) -> float:
    """Prior standard deviation of a curve's effect."""
    prior = spec.priors.curve_effect
    if shape in ("saturating", "hill"):
        return prior.height
    return prior.slope / float(np.std(np.log1p(column) if shape == "log1p" else column))
