"""From columns and coefficients to log choice probabilities, whatever the theory says.

The logit is the case that everything else reduces to. What a theory adds is a part of
`bayesmig.choice.utility.Columns`, with its parameters in `Coefficients`; this is the one
place that puts the parts together. The map knows only a logit that is linear in parameters:
`beyond_logit` says what of some columns it does not cover.

Written once over an array namespace ``xp`` (numpy or ``pytensor.tensor``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bayesmig.choice import consideration, logit, nested
from bayesmig.choice.utility import Coefficients, Columns, utilities


def beyond_logit(columns: Columns) -> tuple[str, ...]:
    """What of the columns is not part of a logit that is linear in parameters, in words."""
    parts = {
        "tastes": bool(columns.tastes),
        "nests": columns.nests is not None,
        "response curves": bool(columns.curves),
        "consideration": bool(columns.feasible),
    }
    return tuple(part for part, there in parts.items() if there)


def log_probabilities(xp: Any, columns: Columns, coefficients: Coefficients) -> Any:
    """Log choice probabilities.

    Parameters
    ----------
    xp
        Array namespace: ``numpy`` or ``pytensor.tensor``.
    columns, coefficients
        Data and parameters.

    Returns
    -------
    array
        ``(..., obs, alternative)``; leading dimensions are those of the coefficients. An
        unavailable alternative has a finite, very low value whose exponential is zero.
    """
    utility = utilities(xp, columns, coefficients)

    def within(available: Any) -> Any:
        if columns.nests is None:
            return logit.log_probabilities(xp, utility, available)
        return nested.log_probabilities(xp, columns.nests, coefficients.lambdas, utility, available)

    if not columns.feasible:
        return within(columns.available)
    available = columns.available
    if available is None:
        available = np.ones((columns.persons.shape[0], columns.n_alternatives), dtype=bool)
    odds = consideration.log_odds(xp, columns.feasible, coefficients.feasibility)
    return consideration.log_probabilities(xp, odds, within, available)


def slopes(columns: Columns, moving: Columns, coefficients: Coefficients) -> Any:
    """Derivatives of the probabilities when columns move, exact to rounding (numpy only).

    By a complex step (Squire and Trapp 1998, doi 10.1137/S003614459631241X): all that
    `log_probabilities` does to utilities is analytic, or looks at their real parts.

    Parameters
    ----------
    columns, coefficients
        Data and parameters.
    moving
        Derivatives of the columns.

    Returns
    -------
    array
        ``(..., obs, alternative)``.
    """
    return np.imag(np.exp(log_probabilities(np, _stepped(columns, moving), coefficients))) / _STEP


def _stepped(columns: Columns, moving: Columns) -> Columns:
    """The columns, a little further along in the imaginary direction."""

    def step(values: Any, speed: Any) -> Any:
        return None if values is None else values + 1j * _STEP * speed

    return replace(
        columns,
        persons=step(columns.persons, moving.persons),
        only={j: step(block, moving.only[j]) for j, block in columns.only.items()},
        attributes=step(columns.attributes, moving.attributes),
        groups={
            by: (codes, step(terms, moving.groups[by][1]))
            for by, (codes, terms) in columns.groups.items()
        },
        doses=step(columns.doses, moving.doses),
        feasible={j: step(block, moving.feasible[j]) for j, block in columns.feasible.items()},
    )


#: So small that its square is lost beside one, and its size does not matter.
_STEP = 1e-50
