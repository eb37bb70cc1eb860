"""Response curves: how exposure to a network, or any other dose, acts on a utility.

With a dose ``N`` the part of the utility is ``effect * curve(N)``, and the curve is

=========== ============================ ==================================================
linear      ``N``
log1p       ``log(1 + N)``
saturating  ``N / (N + N0)``             half of its effect is reached at ``N0``
hill        ``N^q / (N^q + N0^q)``       the same; with ``q > 1`` little happens below ``N0``
hump        ``N - w N^2``                turns at ``N = 1 / (2 w)``; with ``w = 0`` linear
=========== ============================ ==================================================

Hill 1910; thresholds of migrant networks: Granovetter 1978 (doi 10.1086/226707), de Haas 2010
(doi 10.1080/1369183X.2010.489361). Written once over an array namespace ``xp`` (numpy or
``pytensor.tensor``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice import logit

#: Shape -> the parameters that it has beside its effect, by their names in a posterior.
SHAPES: Mapping[str, tuple[str, ...]] = {
    "linear": (),
    "log1p": (),
    "saturating": ("half_saturation",),
    "hill": ("half_saturation", "hill_exponent"),
    "hump": ("hump_bend",),
}
EFFECT = "curve_effect"
#: Units on either side of where a half-saturation may lie, for data to say where it does.
LEAST_UNITS = 3


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve of one column, and where it acts.

    Attributes
    ----------
    shape
        One of `SHAPES`.
    alternatives
        Positions of the alternatives whose utilities it enters, with an effect each.
    """

    shape: str
    alternatives: tuple[int, ...]


def response(xp: Any, shape: str, dose: Any, *parameters: Any) -> Any:
    """The value of a curve.

    Parameters
    ----------
    xp
        Array namespace.
    shape
        One of `SHAPES`.
    dose
        ``N``, ``(obs,)``; at least 0 but for the linear curve.
    parameters
        Those of the shape, in the order of `SHAPES`, positive, ``(...)`` each.

    Returns
    -------
    array
        ``(..., obs)``.
    """
    match shape, [p[..., None] for p in parameters]:
        case "linear", []:
            return dose
        case "log1p", []:
            return xp.log1p(dose)
        case "saturating", [half]:
            return dose / (dose + half)
        case "hill", [half, exponent]:
            return _hill(xp, dose, half, exponent)
        case "hump", [bend]:
            return dose - bend * dose**2
        case _:
            raise ValueError(f"{shape!r} is no curve with {len(parameters)} parameters")


def _hill(xp: Any, dose: Any, half: Any, exponent: Any) -> Any:
    """A logistic curve of the log dose, which no power of a large dose overflows."""
    positive = dose > 0
    log_dose = xp.log(xp.where(positive, dose, 1.0))
    odds = exponent * (log_dose - xp.log(half))
    pair = xp.stack([odds, xp.zeros_like(odds)], axis=-1)
    return xp.where(positive, xp.exp(logit.log_probabilities(xp, pair)[..., 0]), 0.0)


def saturation_bounds(dose: NDArray[Any]) -> tuple[float, float]:
    """Low and high exposure, percentiles of those above zero: a half-saturation lies between."""
    low, high = np.quantile(dose[dose > 0], [0.01, 0.99])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Sides:
    """Units on both sides of where a half-saturation may lie.

    Attributes
    ----------
    start, end
        Exposures between which it may lie.
    below, above, total
        Units that lie below the first, above the second, and all.
    """

    start: float
    end: float
    below: int
    above: int
    total: int

    @property
    def thin(self) -> bool:
        """Whether a side has so few that the half-saturation rests on its prior."""
        return min(self.below, self.above) < LEAST_UNITS


def sides(dose: NDArray[Any], codes: NDArray[Any] | None, alpha: float, beta: float) -> Sides:
    """Units on both sides of a half-saturation, whose prior is a beta distribution.

    Parameters
    ----------
    dose
        Exposures, ``(obs,)``, some above zero.
    codes
        The group of every row, whose means are the units; ``None`` where every different
        exposure is one.
    alpha, beta
        Of the prior, on the way from the lowest to the highest exposure; the
        half-saturation may lie between its percentiles 10 and 90.
    """
    from scipy.special import betaincinv

    low, high = saturation_bounds(dose)
    start, end = low + (high - low) * betaincinv(alpha, beta, [0.1, 0.9])
    units = np.unique(dose) if codes is None else np.bincount(codes, dose) / np.bincount(codes)
    below, above = int((units < start).sum()), int((units > end).sum())
    return Sides(float(start), float(end), below, above, len(units))


def curve_parts(
    xp: Any, curves: tuple[Curve, ...], doses: Any, parameters: Mapping[str, Any]
) -> dict[int, Any]:
    """What curves add to utilities.

    Parameters
    ----------
    xp
        Array namespace.
    curves
        The curves.
    doses
        Their columns, ``(obs, curve)``.
    parameters
        `EFFECT` -> ``(..., curve and alternative)``, curves in order; and the other
        parameters of `SHAPES` -> ``(..., curve with that parameter)``.

    Returns
    -------
    dict
        Position of an alternative -> ``(..., obs)``.
    """
    found: dict[int, Any] = {}
    used = dict.fromkeys(parameters, 0)
    for number, curve in enumerate(curves):
        own = []
        for name in SHAPES[curve.shape]:
            own.append(parameters[name][..., used[name]])
            used[name] += 1
        value = response(xp, curve.shape, doses[:, number], *own)
        for position in curve.alternatives:
            effect = parameters[EFFECT][..., used[EFFECT], None]
            used[EFFECT] += 1
            found[position] = found.get(position, 0.0) + effect * value
    return found
