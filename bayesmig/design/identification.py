"""What a survey hardly tells of parameters beyond those of a logit, in words.

Nothing here is refused: priors are proper, and a posterior exists. What it says of such a
parameter is then what the prior and the form of the model say, and the reader must know.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import betaincinv

from bayesmig.choice.response import SHAPES, saturation_bounds
from bayesmig.choice.utility import Columns
from bayesmig.spec.model import ModelSpec

#: Units on either side of where a half-saturation may lie.
_LEAST_UNITS = 3


def identification_warnings(spec: ModelSpec, columns: Columns) -> list[str]:
    """What rests on priors and functional form.

    Parameters
    ----------
    spec
        The theory.
    columns
        Its columns on the survey.

    Returns
    -------
    list of str
        One for each parameter that nothing of the survey identifies.
    """
    found = [*_nests(spec, columns), *_curves(spec, columns), *_consideration(spec)]
    return [*found, *_tastes(columns)]


def _nests(spec: ModelSpec, columns: Columns) -> Iterator[str]:
    """Nests whose alternatives no column moves apart.

    A dissimilarity shows in who takes the place of an alternative that gets worse *by
    itself*. Columns of persons have coefficients for every alternative, and could say
    the same with another lambda.
    """
    if columns.nests is None:
        return
    for number, nest in enumerate(spec.nests):
        inside = columns.nests.below(number)
        if not (_attributes_differ(columns, inside) or _some_alone(columns, inside)):
            yield (
                f"nest {nest.name!r}: no attribute differs between its alternatives, and no column "
                "enters the utility of some of them alone: its lambda rests on the prior and on "
                "the form of the model"
            )


def _curves(spec: ModelSpec, columns: Columns) -> Iterator[str]:
    """Curves with a half-saturation whose prior reaches where hardly anybody is.

    Where it lies shows in the difference between units below it and units above it.
    """
    for number, curve in enumerate(spec.curves):
        if "half_saturation" not in SHAPES[curve.shape]:
            continue
        dose, of = columns.doses[:, number], spec.priors.half_saturation
        low, high = saturation_bounds(dose)
        edges = low + (high - low) * betaincinv(of.alpha, of.beta, [0.1, 0.9])
        values, units = _units(columns, dose)
        sides = {"below": int((values < edges[0]).sum()), "above": int((values > edges[1]).sum())}
        for (side, count), edge in zip(sides.items(), edges, strict=True):
            if count < _LEAST_UNITS:
                yield (
                    f"curve {curve.label!r}: {count} of {len(values):,} {units} lie {side} "
                    f"{edge:.3g}, and half of its effect may be reached there: its "
                    "half-saturation rests on the prior"
                )


def _consideration(spec: ModelSpec) -> Iterator[str]:
    """Feasibility that reads no column but those of the utility.

    Whether somebody cannot or will not then shows in the form of the model alone.
    """
    for alternative in spec.feasible_formulas:
        if not spec.outside_of_utility(alternative):
            yield (
                f"consideration of {alternative!r}: no column makes it feasible that does not "
                "enter its utility too: who cannot and who will not are told apart by the form "
                "of the model and by priors"
            )


def _tastes(columns: Columns) -> Iterator[str]:
    """Tastes of those who chose once: hardly told from the noise of every choice."""
    for by, (codes, _) in columns.tastes.items():
        times = np.bincount(codes)
        if np.median(times[times > 0]) < 2:
            yield (
                f"tastes by {by}: half of them or more made one choice only: their spread rests "
                "on the prior and on the form of the model"
            )


def _units(columns: Columns, dose: np.ndarray) -> tuple[np.ndarray, str]:
    """The dose of every unit that has its own: mean of an origin, or values that differ."""
    if "origin" not in columns.groups:
        return np.unique(dose), "values"
    codes = columns.groups["origin"][0]
    return np.bincount(codes, dose) / np.bincount(codes), "origins"


def _attributes_differ(columns: Columns, inside: tuple[int, ...]) -> bool:
    """Whether an attribute is not the same for the alternatives that are open together."""
    if columns.attributes is None:
        return False
    values = columns.attributes[:, inside]
    if columns.available is not None:
        closed = ~columns.available[:, inside, None]
        values = np.ma.masked_array(values, np.broadcast_to(closed, values.shape))
    return bool((values.max(axis=1) - values.min(axis=1) > 0).any())


def _some_alone(columns: Columns, inside: tuple[int, ...]) -> bool:
    """Whether a column that varies enters the utility of some alternatives, not of all."""
    moved = [j for j in inside if j in columns.only and np.ptp(columns.only[j], axis=0).any()]
    return len(moved) > 0
