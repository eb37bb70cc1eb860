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
from bayesmig.inference.kernel import as_bits, exp_near_zero, log_series
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


@njit(**_EXACT)
def _take_logarithms(values, power):
    """Replace positive, normal values by their logarithms, as the kernel does."""
    bits = as_bits(power)
    for k in range(values.shape[0]):
        power[k] = values[k]
    for k in range(values.shape[0]):
        e = (bits[k] - 0x3FE6A09E667F3BCD) >> 52
        bits[k] -= e << 52
        # What is not finite becomes, and stays, no number.
        values[k] = np.float64(e) + (values[k] - values[k])
    for k in range(values.shape[0]):
        n, f = values[k], power[k] - 1.0
        s = f / (2.0 + f)
        r, square = log_series(s * s), 0.5 * f * f
        low, high = 1.90821492927058770002e-10, 6.93147180369123816490e-01
        values[k] = s * (square + r) + n * low - square + f + n * high


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
def _multiply_three(product, logs, odds, s, first, stop, chosen, f, inverse):
    """The same of rows that choose among three, whose multipliers are their group's."""
    for i in range(first, stop):
        a, b, c = odds[s, i, 0], odds[s, i, 1], odds[s, i, 2]
        one, two, of_chosen = f[1], f[2], inverse[chosen[i]]
        total = 0.0
        for k in range(product.shape[0]):
            found = product[k] * ((a + b * one[k] + c * two[k]) * of_chosen[k])
            product[k] = found
            total += found
        if total > _LARGE:
            for k in range(product.shape[0]):
                logs[k] += np.log(product[k])
                product[k] = 1.0


@njit(**_SHARED)
def _multiply_rows(product, logs, odds, s, first, stop, chosen, terms, u, f, inverse, work):
    """Inverse probabilities of rows, multiplied: ``exp(logs) product`` at every point."""
    logs[:] = 0.0
    product[:] = 1.0
    constant = terms.shape[1] == 0
    if constant and odds.shape[2] == 3:
        _multiply_three(product, logs, odds, s, first, stop, chosen, f, inverse)
        return
    for i in range(first, stop):
        y = chosen[i]
        if not constant:
            _row_multipliers(f, inverse, u, terms[i], y, work[0])
        _multiply_row(product, logs, work[1], odds[s, i], f, inverse[y])


@njit(**_SHARED)
def _scratch(n_alt, width, points):
    """``f``, its inverse, effects, products, their logs, and two more."""
    return (
        np.ones((n_alt, points)),
        np.ones((n_alt, points)),
        np.zeros((width, points)),
        np.empty(points),
        np.empty(points),
        np.empty((2, points)),
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


@njit(**_SHARED)
def _add_three(slope, bend, odds, s, first, stop, chosen, f):
    """Add the derivatives of rows that choose among three by the constants of their group."""
    one_chose = two_chose = ones = twos = both = one_squared = two_squared = 0.0
    for i in range(first, stop):
        one, two = odds[s, i, 1] * f[1], odds[s, i, 2] * f[2]
        whole = 1.0 / (odds[s, i, 0] + one + two)
        one *= whole
        two *= whole
        one_chose += 1.0 if chosen[i] == 1 else 0.0
        two_chose += 1.0 if chosen[i] == 2 else 0.0
        ones += one
        twos += two
        both += one * two
        one_squared += one * one
        two_squared += two * two
    slope[0] += one_chose - ones
    slope[1] += two_chose - twos
    bend[0, 0] += one_squared - ones
    bend[1, 0] += both
    bend[1, 1] += two_squared - twos


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
            three = constant and odds.shape[2] == 3
            if three:
                _add_three(slope[s, g], bend[s, g], odds, s, first, stop, chosen, f)
            for i in range(stop if three else first, stop):
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


@njit(**_SHARED)
def _inverse_of_row(odds, s, i, chosen, average):
    """The inverse probability of one row is linear in its odds: its weighted sum over points."""
    found, y = 0.0, chosen[i]
    for j in range(average.shape[0]):
        found += odds[s, i, j] * average[y, j]
    return found


@njit(**_SHARED)
def _log_weighted(product, logs, weights, log_weights, s, g):
    """``log sum_k w_k exp(logs_k) product_k``; ``logs`` is lost."""
    found, top = 0.0, -1e308
    for k in range(weights.shape[0]):
        found += weights[k] * product[k]
        top = max(top, logs[k])
    if top <= 0.0:
        # Nothing was put away.
        return np.log(found)
    for k in range(weights.shape[0]):
        logs[k] += np.log(product[k]) + log_weights[s, k, g]
    top, found = np.max(logs), 0.0
    for k in range(weights.shape[0]):
        found += np.exp(logs[k] - top)
    return top + np.log(found)


@njit(**_SUMS)
def inverse_sums(odds, chosen, terms, cell_at, groups, centre, spread, z, log_weights, out):
    """``log sum_k w_k / p_c(u_k)`` of cells of rows, each in one of the groups.

    Parameters
    ----------
    cell_at, groups
        Where a cell's rows begin, and its group, ascending.
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
    weights, power = np.empty(points), np.empty(out.shape[1])
    group_at = np.searchsorted(groups, np.arange(centre.shape[1] + 1))
    of_rows = constant and cell_at.shape[0] == n
    for s in range(odds.shape[0]):
        for g in range(centre.shape[1]):
            _group_effects(u, s, g, centre, spread, z, most)
            for k in range(points):
                weights[k] = np.exp(log_weights[s, k, g])
            if constant:
                _group_multipliers(f, inverse, u, work[0])
                _average_multipliers(average, f, inverse, weights)
            for c in range(group_at[g], group_at[g + 1]):
                first, stop = cell_at[c], cell_at[c + 1] if c + 1 < cell_at.shape[0] else n
                if of_rows:
                    out[s, c] = _inverse_of_row(odds, s, first, chosen, average)
                elif constant and stop - first == 1:
                    out[s, c] = np.log(_inverse_of_row(odds, s, first, chosen, average))
                else:
                    _multiply_rows(
                        product, logs, odds, s, first, stop, chosen, terms, u, f, inverse, work
                    )
                    out[s, c] = _log_weighted(product, logs, weights, log_weights, s, g)
        if of_rows:
            _take_logarithms(out[s], power)
