"""Likelihoods of groups at many effects, compiled.

What the other rows of a group say of one is a sum over points of the effects, for every draw
(`bayesmig.model_comparison.integrals`). With the odds of every alternative to the chosen one
at no effects, ``odds = exp(V_j - V_y)``, the inverse of a row's probability at effects ``u``
is ``sum_j odds_j f_j / f_y`` with ``f = exp(z'u)``: no exponential or logarithm of a row is
taken where effects are constants, and one logarithm for a product of many rows. Loops over
points are the inner ones, so that they are vectors.

``odds`` is ``(draw, row, alternative)`` with the base first and zero where an alternative is
not available; ``chosen (row,)`` numbers alternatives so; ``terms`` is ``(row, term)``, without
columns where effects are constants; effects at point ``k`` are ``centre + spread z_k`` with
``centre (draw, group, width)``, ``spread (draw, group, width, width)``, ``z (point, width)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmig.inference.compiled import njit
from bayesmig.inference.kernel import as_bits, exp_near_zero
from bayesmig.inference.memory import FAR

#: A product is put away as a logarithm before it is larger.
_LARGE = 1e40
_SUMS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}}
_SHARED: dict[str, Any] = {"forceinline": True, **_SUMS}
_EXACT: dict[str, Any] = {"forceinline": True, "fastmath": {"contract"}}


@njit(**_EXACT)
def _exponentiate(values, power):
    """Replace values within `FAR` by their exponentials, as the kernel does."""
    bits = as_bits(power)
    for k in range(values.shape[0]):
        v = values[k]
        n = v * 1.4426950408889634 + 6755399441055744.0
        power[k] = n
        n = n - 6755399441055744.0
        r = (v - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
        values[k] = exp_near_zero(r)
    for k in range(values.shape[0]):
        bits[k] = (bits[k] + 1023) << 52
    for k in range(values.shape[0]):
        values[k] *= power[k]


@njit(**_SUMS)
def odds(utility, choice, order, available, out):
    """Odds of every alternative to the chosen one, ``exp(V_j - V_y)``, draw by draw.

    Parameters
    ----------
    utility
        ``(draw, row, alternative)``.
    choice
        Alternative that each row chose, ``(row,)``.
    order
        Alternatives in the order of ``out``, the base first.
    available
        ``(row, alternative)``; no rows where all are.
    out
        Overwritten, ``(draw, row, alternative)``: zero where one is not available.
    """
    n, width = utility.shape[1], utility.shape[2]
    power = np.empty(n * width)
    for s in range(utility.shape[0]):
        found = out[s].reshape(n * width)
        for i in range(n):
            chosen = utility[s, i, choice[i]]
            for j in range(width):
                v = utility[s, i, order[j]] - chosen
                # What is not a number stays so.
                if v > FAR / 2:
                    v = FAR / 2
                elif v < -FAR:
                    v = -FAR
                found[i * width + j] = v
        _exponentiate(found, power)
        for i in range(available.shape[0]):
            for j in range(width):
                if not available[i, order[j]]:
                    found[i * width + j] = 0.0


@njit(**_SHARED)
def _group_effects(u, s, g, centre, spread, z, most):
    """Effects of a group at every point, ``(width, point)``, no further out than ``most``."""
    for a in range(centre.shape[2]):
        row = u[a]
        for k in range(z.shape[0]):
            value = centre[s, g, a]
            for b in range(centre.shape[2]):
                value += spread[s, g, a, b] * z[k, b]
            row[k] = min(max(value, -most), most)


@njit(**_SHARED)
def _group_multipliers(f, inverse, u, power):
    """``f`` and its inverse where effects are constants, ``(alternative, point)``."""
    for j in range(1, f.shape[0]):
        f[j], inverse[j] = u[j - 1], -u[j - 1]
        _exponentiate(f[j], power)
        _exponentiate(inverse[j], power)


@njit(**_SHARED)
def _row_multipliers(f, inverse, u, x, y, power):
    """The same of one row, where effects are coefficients of columns; the chosen one's inverse."""
    q = x.shape[0]
    for j in range(1, f.shape[0]):
        index = f[j]
        index[:] = 0.0
        for t in range(q):
            column = u[(j - 1) * q + t]
            for k in range(index.shape[0]):
                index[k] += column[k] * x[t]
        for k in range(index.shape[0]):
            index[k] = min(max(index[k], -FAR), FAR)
        if j == y:
            inverse[j] = -index
            _exponentiate(inverse[j], power)
        _exponentiate(index, power)


@njit(**_SHARED)
def _multiply_row(product, logs, value, odds, f, inverse):
    """Multiply by a row's inverse probability at every point; large products are put away."""
    value[:] = odds[0]
    for j in range(1, odds.shape[0]):
        row, ratio = f[j], odds[j]
        for k in range(value.shape[0]):
            value[k] += ratio * row[k]
    total = 0.0
    for k in range(value.shape[0]):
        product[k] *= value[k] * inverse[k]
        total += product[k]
    if total > _LARGE:
        for k in range(value.shape[0]):
            logs[k] += np.log(product[k])
            product[k] = 1.0


@njit(**_SHARED)
def _multiply_constants(product, logs, odds, s, first, stop, chosen, f, inverse):
    """Of rows whose multipliers are their group's: four points at a time, in registers."""
    for k in range(0, product.shape[0], 4):
        p0 = p1 = p2 = p3 = 1.0
        for i in range(first, stop):
            y = chosen[i]
            v0 = v1 = v2 = v3 = odds[s, i, 0]
            for j in range(1, odds.shape[2]):
                ratio = odds[s, i, j]
                v0 += ratio * f[j, k]
                v1 += ratio * f[j, k + 1]
                v2 += ratio * f[j, k + 2]
                v3 += ratio * f[j, k + 3]
            p0 *= v0 * inverse[y, k]
            p1 *= v1 * inverse[y, k + 1]
            p2 *= v2 * inverse[y, k + 2]
            p3 *= v3 * inverse[y, k + 3]
            if p0 + p1 + p2 + p3 > _LARGE:
                logs[k] += np.log(p0)
                logs[k + 1] += np.log(p1)
                logs[k + 2] += np.log(p2)
                logs[k + 3] += np.log(p3)
                p0 = p1 = p2 = p3 = 1.0
        product[k], product[k + 1], product[k + 2], product[k + 3] = p0, p1, p2, p3


@njit(**_SHARED)
def _multiply_rows(product, logs, odds, s, first, stop, chosen, terms, u, f, inverse, work):
    """Inverse probabilities of rows, multiplied: ``exp(logs) product`` at every point."""
    logs[:] = 0.0
    if terms.shape[1] == 0:
        _multiply_constants(product, logs, odds, s, first, stop, chosen, f, inverse)
        return
    product[:] = 1.0
    for i in range(first, stop):
        y = chosen[i]
        _row_multipliers(f, inverse, u, terms[i], y, work[0])
        _multiply_row(product, logs, work[1], odds[s, i], f, inverse[y])


@njit(**_SHARED)
def _scratch(n_alt, width, points):
    """``f``, its inverse, effects, products, their logs, and two more; points in fours."""
    n = (points + 3) // 4 * 4
    return (
        np.ones((n_alt, n)),
        np.ones((n_alt, n)),
        np.zeros((width, n)),
        np.empty(n),
        np.empty(n),
        np.empty((2, n)),
    )


@njit(**_SUMS)
def group_sums(odds, chosen, terms, group_at, centre, spread, z, out):
    """Log-likelihoods of groups, whose rows begin at ``group_at``, ``(draw, point, group)``."""
    n, n_alt, points = odds.shape[1], odds.shape[2], z.shape[0]
    f, inverse, u, product, logs, work = _scratch(n_alt, centre.shape[2], points)
    # Of coefficients of columns it is their sum that is kept within bounds.
    most = FAR if terms.shape[1] == 0 else np.inf
    for s in range(odds.shape[0]):
        for g in range(group_at.shape[0]):
            first, stop = group_at[g], group_at[g + 1] if g + 1 < group_at.shape[0] else n
            _group_effects(u, s, g, centre, spread, z, most)
            if terms.shape[1] == 0:
                _group_multipliers(f, inverse, u, work[0])
            _multiply_rows(product, logs, odds, s, first, stop, chosen, terms, u, f, inverse, work)
            for k in range(points):
                out[s, k, g] = -(logs[k] + np.log(product[k]))


@njit(**_SHARED)
def _add_row(slope, bend, share, y, terms, i, constant):
    """Add a row's derivatives by the effects of its group, of probabilities ``share``."""
    q = 1 if constant else terms.shape[1]
    for a in range(slope.shape[0]):
        j, x = a // q + 1, 1.0 if constant else terms[i, a % q]
        slope[a] += ((1.0 if y == j else 0.0) - share[j]) * x
        for b in range(a + 1):
            k, w = b // q + 1, 1.0 if constant else terms[i, b % q]
            bend[a, b] -= ((share[j] if j == k else 0.0) - share[j] * share[k]) * x * w


@njit(**_SUMS)
def group_derivatives(odds, chosen, terms, group_at, at, going, slope, bend):
    """Derivatives of the log-likelihoods of groups by their effects, in one pass.

    Parameters
    ----------
    at
        The effects, ``(draw, group, width)``.
    going
        Of which draws and groups; others stay as they are, ``(draw, group)``.
    slope, bend
        First and second derivatives, overwritten, ``(draw, group, width)`` and
        ``(draw, group, width, width)``.
    """
    n, constant, q = odds.shape[1], terms.shape[1] == 0, max(terms.shape[1], 1)
    share, width = np.ones(odds.shape[2]), at.shape[2]
    f = np.ones(odds.shape[2])
    for s in range(odds.shape[0]):
        for g in range(group_at.shape[0]):
            if not going[s, g]:
                continue
            first, stop = group_at[g], group_at[g + 1] if g + 1 < group_at.shape[0] else n
            slope[s, g], bend[s, g] = 0.0, 0.0
            for a in range(width if constant else 0):
                f[a + 1] = np.exp(min(max(at[s, g, a], -FAR), FAR))
            for i in range(first, stop):
                total = odds[s, i, 0]
                for j in range(1, odds.shape[2]):
                    if not constant:
                        index = 0.0
                        for t in range(q):
                            index += at[s, g, (j - 1) * q + t] * terms[i, t]
                        f[j] = np.exp(min(max(index, -FAR), FAR))
                    share[j] = odds[s, i, j] * f[j]
                    total += share[j]
                for j in range(1, odds.shape[2]):
                    share[j] /= total
                _add_row(slope[s, g], bend[s, g], share, chosen[i], terms, i, constant)
            for a in range(width):
                for b in range(a):
                    bend[s, g, b, a] = bend[s, g, a, b]


@njit(**_SHARED)
def _average_multipliers(average, f, inverse, weights):
    """Of the odds of each alternative to each chosen one, ``(chosen, alternative)``."""
    average[:] = 0.0
    for y in range(f.shape[0]):
        for j in range(f.shape[0]):
            for k in range(weights.shape[0]):
                average[y, j] += weights[k] * f[j, k] * inverse[y, k]


@njit(**_SUMS)
def inverse_sums(odds, chosen, terms, cell_at, groups, centre, spread, z, log_weights, out):
    """``log sum_k w_k / p_c(u_k)`` of cells of rows, each in one of the groups.

    Parameters
    ----------
    cell_at, groups
        Where a cell's rows begin, and its group.
    log_weights
        ``log w_k``, which may lie beyond what numbers hold, ``(draw, point, group)``.
    out
        Overwritten, ``(draw, cell)``.
    """
    n, n_alt, points = odds.shape[1], odds.shape[2], z.shape[0]
    f, inverse, u, product, logs, work = _scratch(n_alt, centre.shape[2], points)
    # Of coefficients of columns it is their sum that is kept within bounds.
    most = FAR if terms.shape[1] == 0 else np.inf
    constant, average = terms.shape[1] == 0, np.empty((n_alt, n_alt))
    weights = np.empty(points)
    for s in range(odds.shape[0]):
        for c in range(cell_at.shape[0]):
            g, first = groups[c], cell_at[c]
            stop = cell_at[c + 1] if c + 1 < cell_at.shape[0] else n
            if c == 0 or g != groups[c - 1]:
                _group_effects(u, s, g, centre, spread, z, most)
                for k in range(points):
                    weights[k] = np.exp(log_weights[s, k, g])
                if constant:
                    _group_multipliers(f, inverse, u, work[0])
                    _average_multipliers(average, f, inverse, weights)
            found, top = 0.0, -1e308
            if constant and stop - first == 1:
                # The inverse probability of one row is linear in its odds.
                for j in range(n_alt):
                    found += odds[s, first, j] * average[chosen[first], j]
                out[s, c] = np.log(found)
                continue
            _multiply_rows(product, logs, odds, s, first, stop, chosen, terms, u, f, inverse, work)
            for k in range(points):
                found += weights[k] * product[k]
                top = max(top, logs[k])
            if top <= 0.0:
                # Nothing was put away.
                out[s, c] = np.log(found)
                continue
            found = 0.0
            for k in range(points):
                logs[k] += np.log(product[k]) + log_weights[s, k, g]
            top = np.max(logs[:points])
            for k in range(points):
                found += np.exp(logs[k] - top)
            out[s, c] = top + np.log(found)
