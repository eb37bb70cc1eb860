"""Systematic utility of every alternative, from labelled blocks of columns.

``V[n, j] = asc_j + x_n'beta_j + sum_g z_n'u_{g(n), j} + x_only'b_only + a_nj'gamma``,
where the first three parts are zero for the base (McFadden 1974; Train 2009, ch. 2);
where there are any, tastes ``a_nj't_g(n)``, which vary over persons or groups, and response
curves (`bayesmig.choice.response`).
Written once over an array namespace ``xp`` (numpy or ``pytensor.tensor``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmig.choice.response import Curve, curve_parts

if TYPE_CHECKING:
    from bayesmig.choice.nested import Tree


@dataclass(frozen=True, slots=True)
class Columns:
    """The data side of utility: plain arrays, one row per choice situation.

    Attributes
    ----------
    n_alternatives
        Size of the choice set.
    base
        Position of the base alternative.
    persons
        Columns with one coefficient per non-base alternative, ``(obs, coefficient)``.
    only
        For some alternatives, columns that enter its utility alone:
        position of the alternative -> ``(obs, k)``. The ``k`` coefficients follow
        each other in the order of this mapping.
    attributes
        Columns that vary over alternatives, ``(obs, alternative, attribute)``.
    groups
        Name of a group factor -> (``codes (obs,)``, ``terms (obs, q)``).
    available
        Boolean ``(obs, alternative)``, or ``None`` where all are.
    tastes
        Name of a taste factor -> (``codes (obs,)``, positions among the attributes).
    nests
        Alternatives that are closer substitutes, or ``None`` where there are none: the
        rule that makes probabilities of utilities (`bayesmig.choice.probabilities`).
    curves, doses
        Response curves, and their columns ``(obs, curve)``.
    feasible
        Position of an alternative that may be infeasible -> columns of the log odds that
        it is feasible, ``(obs, k)``; empty where all are.
    """

    n_alternatives: int
    base: int
    persons: Any
    only: Mapping[int, Any]
    attributes: Any
    groups: Mapping[str, tuple[Any, Any]]
    available: Any = None
    tastes: Mapping[str, tuple[Any, tuple[int, ...]]] = field(default_factory=dict)
    nests: Tree | None = None
    curves: tuple[Curve, ...] = ()
    doses: Any = None
    feasible: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The parameter side of utility; leading dimensions (draws) are allowed.

    Attributes
    ----------
    persons
        ``(..., coefficient, nonbase)``; the constant, where there is one, is the
        coefficient of a column of ones.
    only
        ``(..., only_term)``.
    attributes
        ``(..., attribute)``.
    effects
        Name of a group factor -> ``(..., group, nonbase, term)``.
    tastes
        Name of a taste factor -> ``(..., group, taste)``, around the common coefficients.
    lambdas
        Dissimilarities of nests, ``(..., nest)``.
    curves
        Parameters of response curves, as `bayesmig.choice.response.curve_parts` takes them.
    feasibility
        Coefficients of the columns ``feasible``, one after the other, ``(..., term)``.
    covariances
        Of effects and tastes that are not here since they are to be averaged over
        (`bayesmig.inference.shifts`): ``u_`` or ``taste_`` and the factor's name ->
        ``(..., effect, effect)``, terms fastest.
    """

    persons: Any = None
    only: Any = None
    attributes: Any = None
    effects: Mapping[str, Any] | None = None
    tastes: Mapping[str, Any] | None = None
    lambdas: Any = None
    curves: Mapping[str, Any] | None = None
    feasibility: Any = None
    covariances: Mapping[str, Any] | None = None


def utilities(xp: Any, columns: Columns, coefficients: Coefficients) -> Any:
    """Systematic utility ``V``.

    Parameters
    ----------
    xp
        Array namespace: ``numpy`` or ``pytensor.tensor``.
    columns, coefficients
        Data and parameters.

    Returns
    -------
    array
        ``(..., obs, alternative)``; leading dimensions are those of the coefficients.
    """
    nonbase = columns.persons @ coefficients.persons
    for name, (codes, terms) in columns.groups.items():
        nonbase = nonbase + _group_part(xp, (coefficients.effects or {})[name], codes, terms)
    parts = _with_base(xp, nonbase, columns.base, columns.n_alternatives)
    start = 0
    for position, block in columns.only.items():
        stop = start + block.shape[1]
        parts[position] = parts[position] + _product(xp, block, coefficients.only[..., start:stop])
        start = stop
    for position, part in added_parts(xp, columns, coefficients).items():
        parts[position] = parts[position] + part
    utility = xp.stack(parts, axis=-1)
    if columns.attributes is not None:
        for k in range(columns.attributes.shape[2]):
            gamma = coefficients.attributes[..., k, None, None]
            utility = utility + columns.attributes[:, :, k] * gamma
    return utility


def mean_differences(columns: Columns, coefficients: Coefficients, weights: Any) -> Any:
    """Weighted means over rows of what utilities exceed the base's by, ``V[n, j] - V[n, base]``.

    Linear in the columns, so that these are averaged first and no array holds draws times rows.

    Parameters
    ----------
    columns, coefficients
        Of a utility without curves and tastes; one leading dimension, draws.
    weights
        ``(obs, alternative)``: of every alternative's rows, with sum one.

    Returns
    -------
    array
        ``(draw, alternative)``.
    """
    others = [j for j in range(columns.n_alternatives) if j != columns.base]
    of_others = weights[:, others]
    nonbase = np.einsum("jk,skj->sj", of_others.T @ columns.persons, coefficients.persons)
    for name, (codes, terms) in columns.groups.items():
        effects = (coefficients.effects or {})[name]
        for j, t in np.ndindex(len(others), terms.shape[1]):
            sums = np.bincount(codes, of_others[:, j] * terms[:, t], effects.shape[1])
            nonbase[:, j] += effects[:, :, j, t] @ sums
    found = np.zeros((len(nonbase), columns.n_alternatives))
    found[:, others] = nonbase
    start, size = 0, 0 if columns.attributes is None else columns.attributes.shape[2]
    for j, block in columns.only.items():
        stop = start + block.shape[1]
        of_alternative = coefficients.only[:, start:stop]
        found[:, j] += of_alternative @ (weights[:, j] @ block)
        if j == columns.base:
            found[:, others] -= of_alternative @ (block.T @ of_others)
        start = stop
    for k in range(size):
        varying = columns.attributes[:, :, k] - columns.attributes[:, [columns.base], k]
        sums = np.where(weights > 0, weights * varying, 0.0).sum(axis=0)
        found += np.outer(coefficients.attributes[:, k], sums)
    found[:, columns.base] = 0.0
    return found


def added_parts(xp: Any, columns: Columns, coefficients: Coefficients) -> dict[int, Any]:
    """What response curves and tastes add to utilities.

    Parameters
    ----------
    xp, columns, coefficients
        As for `utilities`.

    Returns
    -------
    dict
        Position of an alternative, of `added_to` -> ``(..., obs)``.
    """
    found: dict[int, Any] = {}
    if columns.curves:
        found = curve_parts(xp, columns.curves, columns.doses, coefficients.curves or {})
    for name, (codes, positions) in columns.tastes.items():
        for t, k in enumerate(positions):
            taste = xp.take((coefficients.tastes or {})[name][..., t], codes, axis=-1)
            for j in _moved_by(columns, k):
                found[j] = found.get(j, 0.0) + columns.attributes[:, j, k] * taste
    return found


def added_to(columns: Columns) -> tuple[int, ...]:
    """Positions of the alternatives to whose utilities curves or tastes add something."""
    curves = {j for curve in columns.curves for j in curve.alternatives}
    tastes = {j for _, at in columns.tastes.values() for k in at for j in _moved_by(columns, k)}
    return tuple(sorted(curves | tastes))


def _moved_by(columns: Columns, attribute: int) -> tuple[int, ...]:
    """Positions of the alternatives of which an attribute is not always zero."""
    return tuple(np.flatnonzero(np.any(columns.attributes[:, :, attribute] != 0, axis=0)).tolist())


def take_rows(columns: Columns, rows: Any) -> Columns:
    """The same columns at some rows: a slice or positions."""
    return replace(
        columns,
        persons=columns.persons[rows],
        only={k: block[rows] for k, block in columns.only.items()},
        attributes=None if columns.attributes is None else columns.attributes[rows],
        groups={k: (codes[rows], terms[rows]) for k, (codes, terms) in columns.groups.items()},
        available=None if columns.available is None else columns.available[rows],
        tastes={k: (codes[rows], at) for k, (codes, at) in columns.tastes.items()},
        doses=None if columns.doses is None else columns.doses[rows],
        feasible={k: block[rows] for k, block in columns.feasible.items()},
    )


def take_draws(coefficients: Coefficients, draws: Any) -> Coefficients:
    """The same coefficients at some draws, their leading dimension: a slice or positions."""

    def taken(values: Any) -> Any:
        if isinstance(values, Mapping):
            return {name: of[draws] for name, of in values.items()}
        return None if values is None else values[draws]

    return Coefficients(
        **{of.name: taken(getattr(coefficients, of.name)) for of in fields(coefficients)}
    )


def _group_part(xp: Any, effects: Any, codes: Any, terms: Any) -> Any:
    """Sum over terms of effect times column, ``(..., obs, nonbase)``."""
    total = 0.0
    for t in range(terms.shape[1]):
        chosen = xp.take(effects[..., t], codes, axis=-2)
        total = total + chosen * terms[:, t, None]
    return total


def _with_base(xp: Any, nonbase: Any, base: int, n_alternatives: int) -> list[Any]:
    """Split into one array per alternative, the base being zero."""
    others: Sequence[Any] = [nonbase[..., j] for j in range(n_alternatives - 1)]
    zero = xp.zeros_like(others[0])
    return [*others[:base], zero, *others[base:]]


def _product(xp: Any, block: Any, coefficients: Any) -> Any:
    """``block @ coefficients`` over the last axis, ``(..., obs)``."""
    return xp.sum(block * coefficients[..., None, :], axis=-1)
