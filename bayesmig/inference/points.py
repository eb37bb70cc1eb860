"""Likelihoods of groups at many effects, compiled.

What the other rows of a group say of one is a sum over points of the effects, for every draw
(`bayesmig.model_comparison.integrals`). With the odds of every alternative to the chosen one
at no effects, ``odds = exp(V_j - V_y)``, the inverse of a row's probability at effects ``u``
is ``sum_j odds_j f_j / f_y`` with ``f = exp(z'u)``: no exponential or logarithm of a row is
taken where effects are constants, and one logarithm for a product of many rows.

``odds`` is ``(draw, row, alternative)`` with the base first and zero where an alternative is
not available; ``chosen (row,)`` numbers alternatives so; ``terms`` is ``(row, term)``, without
columns where effects are constants; effects at point ``k`` are ``centre + spread z_k`` with
``centre (draw, group, width)``, ``spread (draw, group, width, width)``, ``z (point, width)``.
"""

from __future__ import annotations

import numpy as np

from bayesmig.inference.compiled import njit

#: A product is put away as a logarithm before it is larger; of so few it need not be.
_LARGE, _FEW = 1e40, 20
#: Log odds that count as no further, so that no inverse of a probability is infinite.
FAR = 200.0
_SUMS = {"reassoc", "contract", "nsz"}


@njit(forceinline=True)
def _multipliers(f, inverse, u, s, g, centre, spread, z, constant):
    """Effects of a group at every point and, of constants, ``f`` and its inverse."""
    width = centre.shape[2]
    for k in range(z.shape[0]):
        for a in range(width):
            value = centre[s, g, a]
            for b in range(width):
                value += spread[s, g, a, b] * z[k, b]
            value = min(max(value, -FAR), FAR)
            u[k, a] = value
            if constant:
                f[k, a + 1] = np.exp(value)
                inverse[k, a + 1] = np.exp(-value)


@njit(forceinline=True, fastmath=_SUMS)
def _of_constants(odds, s, first, stop, chosen, f, inverse, k):
    """Product over rows of inverse probabilities of what they chose, and logs put away."""
    total, product = 0.0, 1.0
    for i in range(first, stop):
        value = odds[s, i, 0]
        for j in range(1, odds.shape[2]):
            value += odds[s, i, j] * f[k, j]
        product *= value * inverse[k, chosen[i]]
        if product > _LARGE:
            total += np.log(product)
            product = 1.0
    return total, product


@njit(forceinline=True, fastmath=_SUMS)
def _of_terms(odds, s, first, stop, chosen, u, k, terms):
    """The same, where effects are coefficients of columns."""
    total, product, q = 0.0, 1.0, terms.shape[1]
    for i in range(first, stop):
        top, y = 0.0, chosen[i]
        if y > 0:
            for t in range(q):
                top += u[k, (y - 1) * q + t] * terms[i, t]
        top = min(max(top, -FAR), FAR)
        value = odds[s, i, 0] * np.exp(-top)
        for j in range(1, odds.shape[2]):
            index = 0.0
            for t in range(q):
                index += u[k, (j - 1) * q + t] * terms[i, t]
            value += odds[s, i, j] * np.exp(min(max(index, -FAR), FAR) - top)
        product *= value
        if product > _LARGE:
            total += np.log(product)
            product = 1.0
    return total, product


@njit(fastmath=_SUMS)
def group_sums(odds, chosen, terms, group_at, centre, spread, z, out):
    """Log-likelihoods of groups, whose rows begin at ``group_at``, ``(draw, point, group)``."""
    n, constant, points = odds.shape[1], terms.shape[1] == 0, z.shape[0]
    f, u = np.ones((points, odds.shape[2])), np.empty((points, centre.shape[2]))
    inverse = np.ones_like(f)
    for s in range(odds.shape[0]):
        for g in range(group_at.shape[0]):
            first, stop = group_at[g], group_at[g + 1] if g + 1 < group_at.shape[0] else n
            _multipliers(f, inverse, u, s, g, centre, spread, z, constant)
            for k in range(points):
                if constant:
                    total, product = _of_constants(odds, s, first, stop, chosen, f, inverse, k)
                else:
                    total, product = _of_terms(odds, s, first, stop, chosen, u, k, terms)
                out[s, k, g] = -(total + np.log(product))


@njit(fastmath=_SUMS)
def inverse_sums(odds, chosen, terms, cell_at, groups, centre, spread, z, weights, out):
    """``log sum_k w_k / p_c(u_k)`` of cells of rows, each in one of the groups.

    Parameters
    ----------
    cell_at, groups
        Where a cell's rows begin, and its group.
    weights
        ``(draw, point, group)``.
    out
        Overwritten, ``(draw, cell)``.
    """
    n, constant, points = odds.shape[1], terms.shape[1] == 0, z.shape[0]
    f, u = np.ones((points, odds.shape[2])), np.empty((points, centre.shape[2]))
    inverse, logs = np.ones_like(f), np.empty(points)
    for s in range(odds.shape[0]):
        for c in range(cell_at.shape[0]):
            g, first = groups[c], cell_at[c]
            stop = cell_at[c + 1] if c + 1 < cell_at.shape[0] else n
            if c == 0 or g != groups[c - 1]:
                _multipliers(f, inverse, u, s, g, centre, spread, z, constant)
            found, top = 0.0, -1e308
            for k in range(points):
                if constant:
                    total, product = _of_constants(odds, s, first, stop, chosen, f, inverse, k)
                else:
                    total, product = _of_terms(odds, s, first, stop, chosen, u, k, terms)
                if stop - first <= _FEW:
                    if total > 0.0:
                        product *= np.exp(total)
                    found += weights[s, k, g] * product
                else:
                    logs[k] = total + np.log(product) + np.log(max(weights[s, k, g], 1e-300))
                    top = max(top, logs[k])
            if stop - first <= _FEW:
                out[s, c] = np.log(found)
                continue
            for k in range(points):
                found += np.exp(logs[k] - top)
            out[s, c] = top + np.log(found)
