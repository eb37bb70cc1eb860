"""Averages over groups that people might be of, within each draw.

Of a row, effects of groups and tastes make one shift of the utilities against the base, ``T u``.
The effects of a factor are normal with mean zero and covariance ``Sigma``, and factors are
independent, crossed or nested: the shift is normal with covariance ``C = sum T Sigma T'``. It
has as many dimensions as there are alternatives beside the base, whatever the number of factors
and terms, so that an average over groups is a sum over few points,

    E[p(V + T u)] = sum_k w_k p(V + L z_k),   L L' = C,

of what any theory makes of utilities (`bayesmig.inference.normal.rule_of_shares`). At each
point the shift is the effect of a group of all rows whose ``T`` is the same: columns and
coefficients like any others, which everything that takes these takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.utility import Coefficients, Columns, take_rows
from bayesmig.inference.normal import cholesky, rule_of_shares, solve_lower

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: Columns of a table, and draws.
Arm = tuple[Columns, Coefficients]
#: Columns, their derivatives, and draws.
Moved = tuple[Columns, Columns, Coefficients]
#: Numbers in the roots of one block of draws × kinds of rows (64 MB).
_BLOCK_SIZE = 8_000_000
#: Shares of draws that have points of their own: up to each, and the rest; rows by which they are
#: told apart.
_SHARES, _SOME = (0.5, 0.8, 0.95), 50
#: The factor whose effects are shifts.
_SHIFT = "shift"


def at_points(*arms: Arm) -> Iterator[tuple[slice, Iterator[tuple[float, list[Arm]]]]]:
    """Rows of one table or several, at each point of their shifts.

    Parameters
    ----------
    arms
        Columns, and coefficients with ``covariances``, of the same rows and draws. Where groups
        move them alike (`alike`), a point is the same groups in all.

    Yields
    ------
    tuple
        Rows, and for each point its weight and the arms at these rows, without ``covariances``.
    """
    for rows, codes in _parts(arms):
        yield rows, _each_point([_Part.of(*_at(arm, rows), codes) for arm in arms])


def slopes_at_points(
    columns: Columns, moving: Columns, coefficients: Coefficients
) -> Iterator[tuple[slice, Iterator[tuple[float, Moved]]]]:
    """The same of one table whose columns move, with their derivatives.

    Where the terms of groups move too, a shift ``s`` moves by what is expected of ``T' u`` given
    ``T u = s``: ``T' Sigma T' C^-1 s``. Both are effects of two terms, one and zero in the
    columns, zero and one in their derivatives.

    Yields
    ------
    tuple
        Rows, and for each point its weight, and columns, derivatives and coefficients.
    """
    for rows, codes in _parts([(columns, coefficients), (moving, coefficients)]):
        speeds = take_rows(moving, rows)
        yield rows, _Part.of(take_rows(columns, rows), coefficients, codes, speeds).each_point()


def draws_by_spread(columns: Columns, coefficients: Coefficients) -> list[Codes]:
    """Draws in parts whose shifts are about as wide: few have as many points as the widest.

    The points of a part are those that its widest needs; which draws go together is taken from
    some of the rows.
    """
    n, n_draws = len(columns.persons), len(coefficients.persons)
    some = take_rows(columns, np.unique(np.linspace(0, n - 1, _SOME).astype(int)))
    variances = np.einsum("srii->sri", _products(some, some, coefficients))
    order = np.argsort(variances.max(axis=(1, 2)), kind="stable")
    return np.split(order, sorted({int(n_draws * share) for share in _SHARES} - {0}))


def alike(arms: Sequence[Arm]) -> bool:
    """Whether groups shift the utilities of every row in all arms alike."""
    (columns, coefficients), *others = arms
    first = _terms(columns, coefficients)
    return all(np.array_equal(first, _terms(*arm)) for arm in others)


# ------------------------------------------------------------------------ rows and draws


def _parts(arms: Sequence[Arm]) -> Iterator[tuple[slice, Codes]]:
    """Blocks of rows, and the kind of each: groups move rows of a kind alike, in every arm."""
    columns, coefficients = arms[0]
    n, n_draws = len(columns.persons), len(coefficients.persons)
    codes = _kinds(np.concatenate([_terms(*arm) for arm in arms], axis=1))
    most = max(1, _BLOCK_SIZE // ((columns.n_alternatives - 1) ** 2 * n_draws * len(arms)))
    step = n if codes.max(initial=0) < most else most
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        here = np.unique(codes[rows], return_inverse=True)[1]
        yield rows, here.ravel().astype(np.int64)


def _at(arm: Arm, rows: slice) -> Arm:
    return take_rows(arm[0], rows), arm[1]


def _kinds(table: Array) -> Codes:
    """A code for each distinct row."""
    table = table[:, (table != table[:1]).any(axis=0)]
    if not table.shape[1]:
        return np.zeros(len(table), dtype=np.int64)
    found = np.unique(table[:, 0] if table.shape[1] == 1 else table, axis=0, return_inverse=True)
    return np.asarray(found[1].ravel(), dtype=np.int64)


def _terms(columns: Columns, coefficients: Coefficients) -> Array:
    """All that the effects of groups stand beside in a row's utilities, ``(obs, number)``."""
    of = coefficients.covariances or {}
    parts = [terms for by, (_, terms) in columns.groups.items() if _name(by) in of]
    for by, (_, positions) in columns.tastes.items():
        if _name(by, tastes=True) in of:
            parts.append(_against_base(columns, positions).reshape(len(columns.persons), -1))
    return np.concatenate([np.empty((len(columns.persons), 0)), *parts], axis=1)


def _name(by: str, *, tastes: bool = False) -> str:
    """What effects are called among the draws."""
    return f"{'taste' if tastes else 'u'}_{by}"


def _against_base(columns: Columns, positions: tuple[int, ...]) -> Array:
    """Attributes less those of the base, ``(obs, nonbase, attribute)``; zero where closed."""
    values = columns.attributes[:, :, list(positions)]
    found = values - values[:, [columns.base]]
    if columns.available is not None:
        found = np.where(columns.available[:, :, None], found, 0.0)
    return np.delete(found, columns.base, axis=1)


def _loadings(columns: Columns, coefficients: Coefficients) -> Iterator[tuple[Array, Array]]:
    """Of every factor ``T (obs, nonbase, effect)`` and ``Sigma (draw, effect, effect)``."""
    of = coefficients.covariances or {}
    n, width = len(columns.persons), columns.n_alternatives - 1
    for by, (_, terms) in columns.groups.items():
        if _name(by) in of:
            found = np.zeros((n, width, width, terms.shape[1]))
            found[:, range(width), range(width)] = terms[:, None]
            yield found.reshape(n, width, -1), of[_name(by)]
    for by, (_, positions) in columns.tastes.items():
        if _name(by, tastes=True) in of:
            yield _against_base(columns, positions), of[_name(by, tastes=True)]


def _products(left: Columns, right: Columns, coefficients: Coefficients) -> Array:
    """``sum T Sigma T'`` of rows of two tables, ``(draw, row, nonbase, nonbase)``."""
    n, width, n_draws = len(left.persons), left.n_alternatives - 1, len(coefficients.persons)
    found = np.zeros((n_draws, n, width, width))
    pairs = zip(_loadings(left, coefficients), _loadings(right, coefficients), strict=True)
    for (one, sigma), (other, _) in pairs:
        flat = sigma.reshape(n_draws, -1)
        for i, j in np.ndindex(width, width):
            products = one[:, i, :, None] * other[:, j, None, :]
            found[..., i, j] += flat @ products.reshape(n, -1).T
    return found


# --------------------------------------------------------------------------- the points


@dataclass(frozen=True)
class _Part:
    """Rows whose utilities are shifted.

    Attributes
    ----------
    columns, coefficients
        Without effects that are averaged over.
    codes
        Kind of every row, ``(obs,)``.
    root
        Of the covariance of each kind's shift, ``(draw, kind, nonbase, nonbase)``.
    moving, speed
        Derivatives of the columns; and those of the shift, as ``root``, where it has any.
    """

    columns: Columns
    coefficients: Coefficients
    codes: Codes
    root: Array
    moving: Columns | None = None
    speed: Array | None = None

    @classmethod
    def of(
        cls,
        columns: Columns,
        coefficients: Coefficients,
        codes: Codes,
        moving: Columns | None = None,
    ) -> _Part:
        """Of some rows, and of their derivatives."""
        first = np.unique(codes, return_index=True)[1]
        some = take_rows(columns, first)
        root, speed = cholesky(_products(some, some, coefficients)), None
        if moving is not None and _terms(moving, coefficients).any():
            moved = _products(take_rows(moving, first), some, coefficients)
            pivots = root.copy()
            for k in range(root.shape[-1]):
                # What does not vary is not expected to move.
                pivots[..., k, k][root[..., k, k] == 0] = np.inf
            speed = solve_lower(pivots[..., None, :, :], moved)
        kept, left = _known(columns, coefficients)
        if moving is not None:
            moving = _known(moving, coefficients)[0]
        return cls(kept, left, codes, root, moving, speed)

    @property
    def spreads(self) -> Array:
        """Of every axis, the standard deviation of the log odds that it moves most."""
        high, low = self.root.max(axis=-2).clip(0.0), self.root.min(axis=-2).clip(max=0.0)
        spreads = (high - low).max(axis=1)
        if self.coefficients.lambdas is not None:
            # Within nests log odds move by so much more.
            spreads = spreads / self.coefficients.lambdas.min(axis=-1, keepdims=True)
        return np.asarray(spreads.max(axis=0))

    def at(self, z: Array) -> Arm:
        """Columns and coefficients at one point."""
        terms, shifts = np.ones((len(self.codes), 1)), [self.root @ z]
        if self.speed is not None:
            terms = np.broadcast_to([1.0, 0.0], (len(self.codes), 2))
            shifts.append(self.speed @ z)
        groups = {**self.columns.groups, _SHIFT: (self.codes, terms)}
        effects = {**(self.coefficients.effects or {}), _SHIFT: np.stack(shifts, axis=-1)}
        return replace(self.columns, groups=groups), replace(self.coefficients, effects=effects)

    def each_point(self) -> Iterator[tuple[float, Moved]]:
        """Weight of every point, and columns, derivatives and coefficients there."""
        assert self.moving is not None
        width = 1 if self.speed is None else 2
        terms = np.zeros((len(self.codes), width))
        terms[:, 1:] = 1.0
        moving = replace(self.moving, groups={**self.moving.groups, _SHIFT: (self.codes, terms)})
        for weight, [(columns, coefficients)] in _each_point([self]):
            yield weight, (columns, moving, coefficients)


def _known(columns: Columns, coefficients: Coefficients) -> Arm:
    """Without the effects that are averaged over."""
    of: dict[str, Any] = dict(coefficients.covariances or {})
    groups = {by: terms for by, terms in columns.groups.items() if _name(by) not in of}
    tastes = {by: at for by, at in columns.tastes.items() if _name(by, tastes=True) not in of}
    return (
        replace(columns, groups=groups, tastes=tastes),
        replace(coefficients, covariances=None),
    )


def _each_point(parts: list[_Part]) -> Iterator[tuple[float, list[Arm]]]:
    rule = rule_of_shares(np.max([part.spreads for part in parts], axis=0).tolist())
    for z, weight in zip(rule.z, np.exp(rule.log_weights), strict=True):
        yield float(weight), [part.at(z) for part in parts]
