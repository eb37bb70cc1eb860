"""The log-likelihood of a multinomial logit, its gradient and curvature, compiled.

It restates `bayesmig.choice` for speed; a test holds the two together. With ``y`` the
choices and ``n`` the counts of rows, the log-likelihood is

    sum_i n_i (V[i, y_i] - log sum_j exp V[i, j]),

whose first part is linear in the parameters: its sums are taken once (`blocks.chosen_sums`),
and the loops never see the choices. They take rows in blocks that stay in the
first-level cache, column by column, so that every inner loop is a vector loop:
utilities, then probabilities, then their products with the columns. What makes them fast:

- Rows are sorted by group, and a block's rows of one group are a run: an effect is
  added to, and its gradient summed over, runs, without gathering or scattering.
- Columns are taken four at a time, so that the row that they are added to is read and
  written a quarter as often.
- Exponentials and logarithms are polynomials on a reduced range, since a library call
  per number does not vectorise. Only reductions may be reordered (`_SUMS`), never an
  exponential, whose range reduction must be done as written.
- The type of the blocks is that of the loops. Single precision halves what is read and
  doubles what a vector holds; sums over blocks are double always.

Compiled code is kept on disk: a second process starts without compiling. What several
entries share is inlined into each by force. Otherwise it would be optimised once by
itself and once within each, all under one name, and which of these copies a process
runs would depend on what it compiled and what it found on disk; since sums may be
reordered, their last bits differ, and with them the draws.

The argument ``data`` of every function is `blocks.Blocks.arrays`:

``x``
    Columns of persons, ``(block, coefficient, BLOCK)``.
``a``, ``pairs``
    Attributes ``(block, pair, BLOCK)``; pair -> (coefficient, alternative): an attribute
    of all alternatives has a pair for each of them, a column of one alternative has one.
``closed``
    Alternatives that are not available, ``(block, alternative, BLOCK)``, or no blocks.
``counts``
    How often a row stands, ``(block, BLOCK)``: 0 where a block is filled up.
``terms``, ``widths``, ``starts``
    Columns of all factors' terms in turn, ``(block, term, BLOCK)``; number of terms of
    each factor; where its effects start among those of all factors.
``runs``, ``run_at``
    Per run: first row in its block, row after its last, group. Runs of factor ``f`` in
    block ``b`` are those from ``run_at[f, b]`` up to ``run_at[f, b + 1]``.
``nonbase``
    Positions of the non-base alternatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from bayesmig.inference.compiled import njit
from bayesmig.inference.memory import BLOCK

#: Rows from which a run is worth a pass over the whole block, which is vectors alone.
_LONG = 24
_CLOSED = -1e6
#: Draws whose rows are written to together: they lie far apart, and should stay in a cache.
_DRAWS = 4
#: Utilities of less may be exponentiated as they are, in single precision too.
_MODEST = 60.0
_SUMS = {"reassoc", "contract", "nsz"}
_SHARED: dict[str, Any] = {"forceinline": True, "fastmath": _SUMS}
_STRICT: dict[str, Any] = {"forceinline": True}
_POLYNOMIAL: dict[str, Any] = {"forceinline": True, "fastmath": {"contract"}}
_EXACT: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    "fastmath": {"contract"},
}


# ------------------------------------------------------------------- single functions


def exponentials(values, power, bits):
    """Replace values by their exponentials; none may exceed `_MODEST`.

    ``exp(v) = 2**k * exp(r)`` with ``|r| <= log(2) / 2`` and a Taylor polynomial.
    ``bits`` is ``power`` seen as integers; adding ``round_`` rounds a small number to a
    whole one in the low bits of its mantissa.
    """
    raise NotImplementedError


@overload(exponentials, jit_options=_EXACT)
def _exponentials_of(values, power, bits):
    return _exponentials_32 if values.dtype is types.float32 else _exponentials_64


def _exponentials_32(values, power, bits):
    lowest, log2e, round_ = np.float32(-87.0), np.float32(1.4426950408889634), np.float32(12582912)
    high, low, one = np.float32(0.693359375), np.float32(-2.12194440e-4), np.float32(1.0)
    c2, c3, c4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
    c5, c6, c7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
    # A loop of its own: within the next one it would keep that from vectorising.
    for i in range(BLOCK):
        values[i] = max(values[i], lowest)
    for i in range(BLOCK):
        v = values[i]
        k = v * log2e + round_
        power[i] = k
        k = k - round_
        r = (v - k * high) - k * low
        p = c7
        p = p * r + c6
        p = p * r + c5
        p = p * r + c4
        p = p * r + c3
        p = p * r + c2
        p = p * r + one
        values[i] = p * r + one
    for i in range(BLOCK):
        bits[i] = (bits[i] + np.int32(127)) << np.int32(23)
    for i in range(BLOCK):
        values[i] *= power[i]


@njit(**_POLYNOMIAL)
def exp_near_zero(r):
    """``exp(r)`` in double precision, for ``|r| <= log(2) / 2``: Taylor's polynomial."""
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 1.984126984126984e-04
    p = p * r + 1.388888888888889e-03
    p = p * r + 8.333333333333333e-03
    p = p * r + 4.1666666666666664e-02
    p = p * r + 1.6666666666666666e-01
    p = p * r + 0.5
    p = p * r + 1.0
    return p * r + 1.0


@njit(**_POLYNOMIAL)
def log_series(z):
    """``(log(1 + f) - 2 s) / s`` with ``s = f / (2 + f)``, of ``z = s**2``."""
    p = 1.531383769920937332e-01 + z * 1.479819860511658591e-01
    p = 1.818357216161805012e-01 + z * p
    p = 2.222219843214978396e-01 + z * p
    p = 2.857142874366239149e-01 + z * p
    p = 3.999999999940941908e-01 + z * p
    return z * (6.666666666666735130e-01 + z * p)


def _exponentials_64(values, power, bits):
    for i in range(BLOCK):
        values[i] = max(values[i], -700.0)
    for i in range(BLOCK):
        v = values[i]
        k = v * 1.4426950408889634 + 6755399441055744.0
        power[i] = k
        k = k - 6755399441055744.0
        r = (v - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10
        values[i] = exp_near_zero(r)
    for i in range(BLOCK):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(BLOCK):
        values[i] *= power[i]


def logarithms(values, out, power, bits):
    """Fill ``out`` with the logarithms of values, all at least one.

    ``log(2**e m) = e log 2 + log m`` with ``m`` around one and a polynomial in
    ``(m - 1) / (m + 1)``, in the way of FreeBSD's library. ``bits`` is ``power`` seen as
    integers.
    """
    raise NotImplementedError


@overload(logarithms, jit_options=_EXACT)
def _logarithms_of(values, out, power, bits):
    return _logarithms_32 if values.dtype is types.float32 else _logarithms_64


def _logarithms_32(values, out, power, bits):
    one, two, half = np.float32(1.0), np.float32(2.0), np.float32(0.5)
    high, low = np.float32(6.9313812256e-01), np.float32(9.0580006145e-06)
    c1, c2 = np.float32(0.66666662693), np.float32(0.40000972152)
    c3, c4 = np.float32(0.28498786688), np.float32(0.24279078841)
    for i in range(BLOCK):
        power[i] = values[i]
    for i in range(BLOCK):
        e = np.int32((bits[i] - np.int32(0x3F3504F3)) >> np.int32(23))
        bits[i] = np.int32(bits[i] - (e << np.int32(23)))
        out[i] = np.float32(e)
    # A loop of its own, since ``bits`` and ``power`` are one memory.
    for i in range(BLOCK):
        k, f = out[i], power[i] - one
        s = f / (two + f)
        z = s * s
        r = z * (c1 + z * (c2 + z * (c3 + z * c4)))
        square = half * f * f
        out[i] = s * (square + r) + k * low - square + f + k * high


def _logarithms_64(values, out, power, bits):
    for i in range(BLOCK):
        power[i] = values[i]
    for i in range(BLOCK):
        e = (bits[i] - 0x3FE6A09E667F3BCD) >> 52
        bits[i] -= e << 52
        out[i] = np.float64(e)
    for i in range(BLOCK):
        k, f = out[i], power[i] - 1.0
        s = f / (2.0 + f)
        z = s * s
        r = log_series(z)
        square = 0.5 * f * f
        low, high = 1.90821492927058770002e-10, 6.93147180369123816490e-01
        out[i] = s * (square + r) + k * low - square + f + k * high


# -------------------------------------------------------------------- parts of a block


@njit(**_SHARED)
def _scratch(n_alt, like):
    """Utilities ``(alternative, BLOCK)``; rows for the highest, sums, logarithms, bits."""
    rows = np.zeros((4, BLOCK), like.dtype)
    return np.zeros((n_alt, BLOCK), like.dtype), rows[0], rows[1], rows[2], rows[3]


@njit(**_SHARED)
def _as(values, like):
    """Parameters in the type of the blocks."""
    out = np.empty(values.shape, like.dtype)
    out[...] = values
    return out


@njit(**_STRICT)
def _dot(values, parameters):
    """Sum of products, in the order of the memory.

    It is not long, and must not be reordered: whether a loop over several small arrays
    runs as vectors is decided where they lie, and that is another place every time.
    """
    s = 0.0
    one, other = values.ravel(), parameters.ravel()
    for i in range(one.shape[0]):
        s += one[i] * np.float64(other[i])
    return s


@njit(**_SHARED)
def _add_columns(row, columns, b):
    """``row += b @ columns``."""
    n = columns.shape[0]
    whole = n - n % 4
    for k in range(0, whole, 4):
        b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
        c0, c1, c2, c3 = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
        for i in range(BLOCK):
            row[i] += (b0 * c0[i] + b1 * c1[i]) + (b2 * c2[i] + b3 * c3[i])
    for k in range(whole, n):
        b0, c0 = b[k], columns[k]
        for i in range(BLOCK):
            row[i] += b0 * c0[i]


@njit(**_SHARED)
def _subtract_products(row, columns, out):
    """``out -= columns @ row``."""
    n = columns.shape[0]
    whole = n - n % 4
    zero = row.dtype.type(0.0)
    for k in range(0, whole, 4):
        s0, s1, s2, s3 = zero, zero, zero, zero
        c0, c1, c2, c3 = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
        for i in range(BLOCK):
            s0 += c0[i] * row[i]
            s1 += c1[i] * row[i]
            s2 += c2[i] * row[i]
            s3 += c3[i] * row[i]
        out[k] -= s0
        out[k + 1] -= s1
        out[k + 2] -= s2
        out[k + 3] -= s3
    for k in range(whole, n):
        s0, c0 = zero, columns[k]
        for i in range(BLOCK):
            s0 += c0[i] * row[i]
        out[k] -= s0


@njit(**_SHARED)
def utilities(v, block, data, beta, gamma, effects):
    """Fill ``v`` with the utilities of a block, ``(alternative, BLOCK)``.

    ``beta`` is ``(nonbase, coefficient)`` here.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    width = nonbase.shape[0]
    v[:] = v.dtype.type(0.0)
    for w in range(width):
        _add_columns(v[nonbase[w]], x[block], beta[w])
    at = 0
    for f in range(widths.shape[0]):
        q = widths[f]
        for r in range(run_at[f, block], run_at[f, block + 1]):
            first, stop = runs[r, 0], runs[r, 1]
            here = starts[f] + runs[r, 2] * width * q
            for w in range(width):
                row = v[nonbase[w]]
                for t in range(q):
                    _add_to_run(row, effects[here + w * q + t], terms[block, at + t], first, stop)
        at += q
    for m in range(pairs.shape[0]):
        g, row, column = gamma[pairs[m, 0]], v[pairs[m, 1]], a[block, m]
        for i in range(BLOCK):
            row[i] += g * column[i]
    if closed.shape[0]:
        for j in range(v.shape[0]):
            for i in range(BLOCK):
                if closed[block, j, i]:
                    v[j, i] = v.dtype.type(_CLOSED)


@njit(**_SHARED)
def _zero_utility(data):
    """The base where it is open to all and its utility is zero, -1 otherwise."""
    pairs, closed, nonbase = data[2], data[3], data[10]
    base = nonbase.shape[0] * (nonbase.shape[0] + 1) // 2 - nonbase.sum()
    for m in range(pairs.shape[0]):
        if pairs[m, 1] == base:
            return -1
    return base if closed.shape[0] == 0 else -1


@njit(**_SHARED)
def _exponentiated(v, block, data, top, total, power):
    """Replace utilities by ``exp(v - top)``, fill ``top`` and ``total``, their sums."""
    closed = data[3]
    n_alt, zero = v.shape[0], v.dtype.type(0.0)
    bits = as_bits(power)
    base = _zero_utility(data)
    if base >= 0:
        # The sum is at least one by itself: nothing need be taken off, if nothing overflows.
        power[:] = zero
        for j in range(n_alt):
            row = v[j]
            for i in range(BLOCK):
                power[i] = max(power[i], abs(row[i]))
        beyond = 0
        for i in range(BLOCK):
            beyond += 1 - (power[i] < _MODEST)
        if beyond == 0:
            top[:] = zero
            total[:] = v.dtype.type(1.0)
            for j in range(n_alt):
                row = v[j]
                if j == base:
                    row[:] = v.dtype.type(1.0)
                    continue
                exponentials(row, power, bits)
                for i in range(BLOCK):
                    total[i] += row[i]
            return
    for i in range(BLOCK):
        top[i] = v[0, i]
    for j in range(1, n_alt):
        for i in range(BLOCK):
            top[i] = max(top[i], v[j, i])
    total[:] = zero
    for j in range(n_alt):
        row = v[j]
        for i in range(BLOCK):
            row[i] -= top[i]
        exponentials(row, power, bits)
        if closed.shape[0]:
            for i in range(BLOCK):
                if closed[block, j, i]:
                    row[i] = zero
        for i in range(BLOCK):
            total[i] += row[i]


def as_bits(power):
    """The same memory as integers."""
    raise NotImplementedError


@overload(as_bits, jit_options=_EXACT)
def _bits_of(power):
    if power.dtype is types.float32:
        return lambda power: power.view(np.int32)
    return lambda power: power.view(np.int64)


@njit(**_SHARED)
def _sum_of_logs(top, total, logs, power, n):
    """``sum_i n_i log sum_j exp v_ji``; the counts ``n`` are zero where rows are filler."""
    logarithms(total, logs, power, as_bits(power))
    s = top.dtype.type(0.0)
    for i in range(BLOCK):
        s += n[i] * (top[i] + logs[i])
    return np.float64(s)


@njit(**_SHARED)
def _add_to_run(row, u, column, first, stop):
    """``row[first:stop] += u * column[first:stop]``."""
    if stop - first < _LONG:
        for i in range(first, stop):
            row[i] += u * column[i]
    else:
        zero = row.dtype.type(0.0)
        for i in range(BLOCK):
            row[i] += u * column[i] if first <= i < stop else zero


@njit(**_SHARED)
def _run_product(row, column, first, stop):
    """``row[first:stop] @ column[first:stop]``."""
    s = row.dtype.type(0.0)
    if stop - first < _LONG:
        for i in range(first, stop):
            s += row[i] * column[i]
    else:
        zero = row.dtype.type(0.0)
        for i in range(BLOCK):
            s += row[i] * column[i] if first <= i < stop else zero
    return s


@njit(**_SHARED)
def _run_products(row, columns, first, stop, part, out):
    """``out = -columns[:, first:stop] @ row[first:stop]``; ``part`` is a row to work in."""
    out[:] = 0.0
    zero = row.dtype.type(0.0)
    if stop - first < _LONG:
        for k in range(columns.shape[0]):
            s, column = zero, columns[k]
            for i in range(first, stop):
                s -= column[i] * row[i]
            out[k] = s
    else:
        for i in range(BLOCK):
            part[i] = row[i] if first <= i < stop else zero
        _subtract_products(part, columns, out)


@njit(**_SHARED)
def subtract_slopes(v, block, data, g_x, g_gamma, g_effects):
    """Take a block's rows ``v (alternative, BLOCK)``, times the columns, off the gradient.

    ``g_x`` is ``(nonbase, coefficient)``.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    width = nonbase.shape[0]
    for w in range(width):
        _subtract_products(v[nonbase[w]], x[block], g_x[w])
    for m in range(pairs.shape[0]):
        row, column, s = v[pairs[m, 1]], a[block, m], v.dtype.type(0.0)
        for i in range(BLOCK):
            s += column[i] * row[i]
        g_gamma[pairs[m, 0]] -= s
    at = 0
    for f in range(widths.shape[0]):
        q = widths[f]
        for r in range(run_at[f, block], run_at[f, block + 1]):
            first, stop = runs[r, 0], runs[r, 1]
            here = starts[f] + runs[r, 2] * width * q
            for w in range(width):
                row = v[nonbase[w]]
                for t in range(q):
                    s = _run_product(row, terms[block, at + t], first, stop)
                    g_effects[here + w * q + t] -= s
        at += q


# ------------------------------------------------------------------------- one draw


@njit(**_SHARED)
def log_likelihood(data, chosen, beta, gamma, effects, g_beta, g_gamma, g_effects):
    """Log-likelihood; its gradient is written into the last three arguments.

    Parameters
    ----------
    data
        See the module.
    chosen
        Sums over rows of what stands beside each parameter in the chosen utility, of
        the shapes of ``beta``, ``gamma`` and ``effects``.
    beta, gamma, effects
        ``(coefficient, nonbase)``, ``(attribute,)``, and the effects of all factors,
        each ``(group, nonbase, term)`` in C order.
    g_beta, g_gamma, g_effects
        Overwritten with the gradient.

    Returns
    -------
    float
        ``sum_n log P(y_n)``.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    width = nonbase.shape[0]
    b, c, e = _as(beta.T, x), _as(gamma, x), _as(effects, x)
    v, top, total, logs, power = _scratch(width + 1, x)
    g_x = chosen[0].T.copy()
    g_gamma[:] = chosen[1]
    g_effects[:] = chosen[2]
    # Of the rounded parameters, as the sums of exponentials below.
    value = _dot(g_x, b) + _dot(g_gamma, c) + _dot(g_effects, e)
    for block in range(x.shape[0]):
        utilities(v, block, data, b, c, e)
        _exponentiated(v, block, data, top, total, power)
        n = counts[block]
        value -= _sum_of_logs(top, total, logs, power, n)
        for i in range(BLOCK):
            total[i] = n[i] / total[i]
        for j in range(width + 1):
            row = v[j]
            for i in range(BLOCK):
                row[i] *= total[i]
        subtract_slopes(v, block, data, g_x, g_gamma, g_effects)
    g_beta[:] = g_x.T
    return value


@njit(**_SHARED)
def _nest(values, shares, children, scale, total, logs, power):
    """Shares of the children of a nest; its inclusive value is ``total`` afterwards."""
    zero = total.dtype.type(0.0)
    inverse = total.dtype.type(1.0 / scale)
    top = values[children[0]] * inverse
    for k in range(1, children.shape[0]):
        row = values[children[k]]
        for i in range(BLOCK):
            top[i] = max(top[i], row[i] * inverse)
    total[:] = zero
    for k in range(children.shape[0]):
        row, share = values[children[k]], shares[children[k]]
        for i in range(BLOCK):
            share[i] = row[i] * inverse - top[i]
        exponentials(share, power, as_bits(power))
        for i in range(BLOCK):
            total[i] += share[i]
    logarithms(total, logs, power, as_bits(power))
    for k in range(children.shape[0]):
        share = shares[children[k]]
        for i in range(BLOCK):
            share[i] /= total[i]
    for i in range(BLOCK):
        total[i] = top[i] + logs[i]


@njit(**_SHARED)
def _at_alternatives(v, below, y, rows, places, added):
    """Add to utilities, and fill ``below``, which is one for the chosen alternative."""
    for p in range(places.shape[0]):
        row, extra = v[places[p]], added[p]
        for i in range(rows.shape[0]):
            row[i] += extra[rows[i]]
    for j in range(v.shape[0]):
        for i in range(BLOCK):
            below[j, i] = y[i] == j


@njit(**_SHARED)
def _upwards(known, below, tree, out, logs, power):
    """Fill what belongs to nests, from the inner ones out, given the utilities of alternatives.

    ``out`` becomes the log probability of what each row chose.
    """
    values, shares, inclusive, own = known
    children, first, lambdas = tree
    n_nests = lambdas.shape[0]
    n_alt = values.shape[0] - n_nests - 1
    out[:] = 0.0
    for m in range(n_nests + 1):
        node, of = n_alt + m, children[first[m] : first[m + 1]]
        scale = lambdas[m] if m < n_nests else 1.0
        _nest(values, shares, of, scale, inclusive[m], logs, power)
        for i in range(BLOCK):
            values[node, i] = scale * inclusive[m, i]
            below[node, i] = 0.0
            own[m, i] = 0.0
        for k in range(of.shape[0]):
            c = of[k]
            for i in range(BLOCK):
                below[node, i] += below[c, i]
                own[m, i] += below[c, i] * values[c, i]
        for i in range(BLOCK):
            out[i] += own[m, i] / scale - below[node, i] * inclusive[m, i]


@njit(**_SHARED)
def _downwards(known, below, n, tree, slopes, g_lambdas, mean):
    """Fill slopes of all nodes, from the root in; add those by lambdas to ``g_lambdas``."""
    values, shares, inclusive, own = known
    children, first, lambdas = tree
    n_nests, nodes = lambdas.shape[0], values.shape[0]
    n_alt = nodes - n_nests - 1
    slopes[nodes - 1] = 0.0
    for m in range(n_nests, -1, -1):
        node, of = n_alt + m, children[first[m] : first[m + 1]]
        inverse = 1.0 / lambdas[m] if m < n_nests else 1.0
        mean[:] = 0.0
        for k in range(of.shape[0]):
            c = of[k]
            for i in range(BLOCK):
                mean[i] += shares[c, i] * values[c, i]
                rest = slopes[node, i] - below[node, i] * inverse
                slopes[c, i] = below[c, i] * inverse + shares[c, i] * rest
        if m < n_nests:
            of_scale = 0.0
            for i in range(BLOCK):
                spread = (below[node, i] * mean[i] - own[m, i]) * inverse**2
                rest = slopes[node, i] * (inclusive[m, i] - mean[i] * inverse)
                of_scale += n[i] * (spread + rest)
            g_lambdas[m] = g_lambdas[m] + of_scale


@njit(**_SHARED)
def _feasible(odds, rows, able, unable, share, power):
    """Log probabilities that an alternative is feasible and that it is not, and the former."""
    for i in range(BLOCK):
        share[i] = -abs(odds[rows[i]]) if i < rows.shape[0] else 0.0
    exponentials(share, power, as_bits(power))
    for i in range(BLOCK):
        able[i] = 1.0 + share[i]
    logarithms(able, unable, power, as_bits(power))
    for i in range(BLOCK):
        x = odds[rows[i]] if i < rows.shape[0] else 0.0
        whole = unable[i]
        share[i] = (1.0 if x > 0.0 else share[i]) / able[i]
        # What is no number stays none, as it would not in a minimum.
        able[i] = 0.5 * (x - abs(x)) - whole
        unable[i] = -0.5 * (x + abs(x)) - whole


@njit(**_SHARED)
def _within(values, wanted, gates, inside):
    """Utilities of alternatives where those that are not feasible are closed."""
    values[: wanted.shape[0]] = wanted
    for k in range(gates.shape[0]):
        if not inside >> k & 1:
            values[gates[k]] = _CLOSED


@njit(**_SHARED)
def _mixed(terms, out, total, logs, power):
    """Replace terms ``(set, BLOCK)``, logs, by their shares; fill ``out``: the log of their sum."""
    out[:] = terms[0]
    if terms.shape[0] == 1:
        # Nests and curves without consideration: nothing need be exponentiated.
        terms[:] = 1.0
        return
    for s in range(1, terms.shape[0]):
        for i in range(BLOCK):
            out[i] = max(out[i], terms[s, i])
    total[:] = 0.0
    for s in range(terms.shape[0]):
        row = terms[s]
        for i in range(BLOCK):
            row[i] -= out[i]
        exponentials(row, power, as_bits(power))
        for i in range(BLOCK):
            total[i] += row[i]
    logarithms(total, logs, power, as_bits(power))
    for s in range(terms.shape[0]):
        for i in range(BLOCK):
            terms[s, i] /= total[i]
    for i in range(BLOCK):
        out[i] += logs[i]


@njit(**_SHARED)
def log_likelihood_beyond(
    data, chosen, beyond, beta, gamma, effects, added, lambdas, odds,
    g_beta, g_gamma, g_effects, g_added, g_lambdas, g_odds,
):  # fmt: skip
    """As `log_likelihood`, with more in utilities, with nests, and with sets that are feasible.

    A nest ``m`` with the dissimilarity ``l`` has the inclusive value ``I = log sum_c exp(V_c /
    l)`` over its children, and the utility ``V_m = l I`` (`bayesmig.choice.nested`). With ``s_c``
    the share of a child, ``o`` one where the chosen alternative lies below and ``g`` the slopes
    of the row's log probability,

        g_c = o_c / l + s_c (g_m - o_m / l)
        g_l = o_m (sum_c s_c V_c - V_o) / l^2 + g_m (I - sum_c s_c V_c / l)

    from the root (``l = 1``, ``g = 0``, ``o = 1``) down.

    Alternative ``k`` of ``gates`` is feasible with probability ``q_k = invlogit(odds_k)``, and a
    row's probability is the mean over the sets ``S`` (`bayesmig.choice.consideration`). With
    ``r_S = P(S) P(y | S) / P(y)``, slopes are those within the sets, weighted by ``r_S``, and that
    by ``odds_k`` is ``sum_(S holds k) r_S - q_k``.

    Parameters
    ----------
    data, chosen, beta, gamma, effects, g_beta, g_gamma, g_effects
        As for `log_likelihood`; blocks are of double precision.
    beyond
        ``choices (block, BLOCK)``, -1 where a block is filled up; ``order (obs,)``, the row
        for every row of the blocks; ``places``, the alternatives of ``added``; ``children``
        of every nest after each other, of which those of nest ``m`` are from ``first[m]`` up
        to ``first[m + 1]``: alternatives, then nests numbered on from these. Nests stand
        before the one that they lie in, the root is the last. ``gates``, the alternatives that
        may not be feasible.
    added
        ``(place, obs)``.
    lambdas
        ``(nest,)``.
    odds
        Log odds, ``(gate, obs)``.
    g_added, g_lambdas, g_odds
        Overwritten with the rest of the gradient.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    choices, order, places, children, first, gates = beyond
    tree = children, first, lambdas
    n_alt, n_nests = nonbase.shape[0] + 1, lambdas.shape[0]
    nodes = n_alt + n_nests + 1
    n_gates = gates.shape[0]
    sets = 1 << n_gates
    values, shares, inclusive, own = (
        np.zeros((sets, nodes, BLOCK)),
        np.zeros((sets, nodes, BLOCK)),
        np.zeros((sets, n_nests + 1, BLOCK)),
        np.zeros((sets, n_nests + 1, BLOCK)),
    )
    slopes, below = np.zeros((nodes, BLOCK)), np.zeros((nodes, BLOCK))
    logs, power, mean = np.zeros(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK)
    wanted, mixed, of_sets = (
        np.zeros((n_alt, BLOCK)),
        np.zeros((n_alt, BLOCK)),
        np.zeros((sets, BLOCK)),
    )
    able, unable, feasible = (
        np.zeros((n_gates, BLOCK)),
        np.zeros((n_gates, BLOCK)),
        np.zeros((n_gates, BLOCK)),
    )
    logp, weight = np.zeros(BLOCK), np.zeros(BLOCK)
    b = beta.T.copy()
    g_x = chosen[0].T.copy()
    g_gamma[:] = chosen[1]
    g_effects[:] = chosen[2]
    g_lambdas[:] = 0.0
    value = 0.0
    for block in range(x.shape[0]):
        n, y = counts[block], choices[block]
        rows = order[block * BLOCK : (block + 1) * BLOCK]
        utilities(wanted, block, data, b, gamma, effects)
        _at_alternatives(wanted, below, y, rows, places, added)
        for k in range(n_gates):
            _feasible(odds[k], rows, able[k], unable[k], feasible[k], power)
        for s in range(sets):
            known = values[s], shares[s], inclusive[s], own[s]
            _within(known[0], wanted, gates, s)
            _upwards(known, below, tree, of_sets[s], logs, power)
            for k in range(n_gates):
                log_share = able[k] if s >> k & 1 else unable[k]
                for i in range(BLOCK):
                    of_sets[s, i] += log_share[i]
        _mixed(of_sets, logp, weight, logs, power)
        for i in range(BLOCK):
            value += n[i] * logp[i]
        mixed[:] = 0.0
        for s in range(sets):
            for i in range(BLOCK):
                weight[i] = n[i] * of_sets[s, i]
            known = values[s], shares[s], inclusive[s], own[s]
            _downwards(known, below, weight, tree, slopes, g_lambdas, mean)
            for j in range(n_alt):
                for i in range(BLOCK):
                    mixed[j, i] += weight[i] * slopes[j, i]
        for p in range(places.shape[0]):
            row, extra = mixed[places[p]], g_added[p]
            for i in range(rows.shape[0]):
                extra[rows[i]] = row[i]
        for k in range(n_gates):
            for i in range(rows.shape[0]):
                held = 0.0
                for s in range(sets):
                    if s >> k & 1:
                        held += of_sets[s, i]
                g_odds[k, rows[i]] = n[i] * (held - feasible[k, i])
        # What the chosen utilities' sums leave.
        for j in range(n_alt):
            for i in range(BLOCK):
                wanted[j, i] = n[i] * below[j, i] - mixed[j, i]
        subtract_slopes(wanted, block, data, g_x, g_gamma, g_effects)
    g_beta[:] = g_x.T
    return value


@njit(**_SHARED)
def _by_pairs(v, n, nonbase, second):
    """Fill ``second (nonbase, nonbase, BLOCK)``, its lower triangle, from probabilities ``v``."""
    zero, one = v.dtype.type(0.0), v.dtype.type(1.0)
    for w in range(nonbase.shape[0]):
        p = v[nonbase[w]]
        for u in range(w + 1):
            q_, row, same = v[nonbase[u]], second[w, u], one if u == w else zero
            for i in range(BLOCK):
                row[i] = n[i] * p[i] * (same - q_[i])


@njit(**_SHARED)
def _by_attributes(v, n, pairs, a, moved, mean):
    """Fill ``moved (attribute, alternative, BLOCK)`` with counts times probabilities times that.

    That is an attribute of an alternative, less its mean over the choice set.
    """
    moved[:] = v.dtype.type(0.0)
    for m in range(pairs.shape[0]):
        row, column = moved[pairs[m, 0], pairs[m, 1]], a[m]
        for i in range(BLOCK):
            row[i] += column[i]
    for m in range(moved.shape[0]):
        mean[:] = v.dtype.type(0.0)
        for j in range(v.shape[0]):
            for i in range(BLOCK):
                mean[i] += v[j, i] * moved[m, j, i]
        for j in range(v.shape[0]):
            for i in range(BLOCK):
                moved[m, j, i] = n[i] * v[j, i] * (moved[m, j, i] - mean[i])


@njit(**_SHARED)
def _add_coefficients(block, data, second, moved, product, sums, by_coefficients):
    """Add a block's curvature by coefficients, which is mirrored when all blocks are in it."""
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    width, n_x, n_gamma = nonbase.shape[0], x.shape[1], moved.shape[0]
    columns, zero = x[block], product.dtype.type(0.0)
    for w in range(width):
        for u in range(w + 1):
            for k in range(n_x):
                for i in range(BLOCK):
                    product[i] = columns[k, i] * second[w, u, i]
                sums[:] = 0.0
                # Both triangles where the utilities differ, the lower where not.
                _subtract_products(product, columns[: n_x if u < w else k + 1], sums)
                for other in range(n_x if u < w else k + 1):
                    by_coefficients[k * width + w, other * width + u] -= sums[other]
    for m in range(n_gamma):
        row = by_coefficients[n_x * width + m]
        for w in range(width):
            sums[:] = 0.0
            _subtract_products(moved[m, nonbase[w]], columns, sums)
            for k in range(n_x):
                row[k * width + w] -= sums[k]
        for other in range(pairs.shape[0]):
            o, j = pairs[other, 0], pairs[other, 1]
            if o <= m:
                s = zero
                for i in range(BLOCK):
                    s += moved[m, j, i] * a[block, other, i]
                row[n_x * width + o] += s


@njit(**_SHARED)
def _add_groups(block, data, rows, places, own, cross, links):
    """Add a block's curvature by effects of groups, and by these and all else."""
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    second, moved, product, mean, sums = rows
    width, n_x, n_gamma = nonbase.shape[0], x.shape[1], moved.shape[0]
    columns, c = x[block], n_x * width + n_gamma
    at = 0
    for f in range(widths.shape[0]):
        q, size = widths[f], widths[f] * width
        to_own, to_cross, to_link, parent = places[f]
        at_parent = 0
        for k in range(max(parent, 0)):
            at_parent += widths[k]
        for w in range(width):
            for u in range(w + 1):
                for t in range(q):
                    for i in range(BLOCK):
                        product[i] = terms[block, at + t, i] * second[w, u, i]
                    for r in range(run_at[f, block], run_at[f, block + 1]):
                        first, stop, group = runs[r, 0], runs[r, 1], runs[r, 2]
                        h = to_own + group * size * size
                        for s_ in range(q):
                            s = _run_product(product, terms[block, at + s_], first, stop)
                            own[h + (w * q + t) * size + u * q + s_] += s
                            if u < w:
                                own[h + (u * q + s_) * size + w * q + t] += s
                        if to_cross >= 0:
                            _run_products(product, columns, first, stop, mean, sums)
                            h = to_cross + group * size * c
                            for k in range(n_x):
                                cross[h + (w * q + t) * c + k * width + u] -= sums[k]
                                if u < w:
                                    cross[h + (u * q + t) * c + k * width + w] -= sums[k]
                        if to_link >= 0:
                            q_ = widths[parent]
                            h = to_link + group * size * q_ * width
                            for s_ in range(q_):
                                outer = terms[block, at_parent + s_]
                                s = _run_product(product, outer, first, stop)
                                links[h + (w * q + t) * q_ * width + u * q_ + s_] += s
                                if u < w:
                                    links[h + (u * q + t) * q_ * width + w * q_ + s_] += s
        if to_cross >= 0:
            for r in range(run_at[f, block], run_at[f, block + 1]):
                first, stop, group = runs[r, 0], runs[r, 1], runs[r, 2]
                for m in range(n_gamma):
                    for w in range(width):
                        row = moved[m, nonbase[w]]
                        for t in range(q):
                            s = _run_product(row, terms[block, at + t], first, stop)
                            h = to_cross + (group * size + w * q + t) * c
                            cross[h + n_x * width + m] += s
        at += q


@njit(fastmath=_SUMS)
def curvature(data, beta, gamma, effects, places, by_coefficients, own, cross, links):
    """Minus the second derivatives of the log-likelihood, added to the last four arguments.

    With ``p`` the probabilities of a row, the curvature by two utilities is
    ``p_j (1[j = l] - p_l)``; everything is a sum of it times columns.

    Parameters
    ----------
    data, beta, gamma, effects
        As for `log_likelihood`.
    places
        Per factor: where its part of ``own`` starts, of ``cross`` (-1: not wanted), of
        ``links`` (-1: it lies in no other factor), and the factor that it lies in.
    by_coefficients
        ``(c, c)`` with ``c`` the coefficients, those of persons ``(coefficient,
        nonbase)`` in C order, then the attributes'.
    own
        Flat; of every group ``(width, width)``, its effects being ``(nonbase, term)``.
    cross
        Flat; of every group ``(width, c)``.
    links
        Flat; of every group ``(width, width of the group that it lies in)``.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    width, n_x, n_gamma = nonbase.shape[0], x.shape[1], gamma.shape[0]
    c = n_x * width + n_gamma
    b, g, e = _as(beta.T, x), _as(gamma, x), _as(effects, x)
    v, top, total, logs, power = _scratch(width + 1, x)
    # Of persons' columns, by pairs of utilities; of attributes, by utilities.
    second, mean = np.zeros((width, width, BLOCK), x.dtype), np.zeros(BLOCK, x.dtype)
    moved = np.zeros((n_gamma, width + 1, BLOCK), x.dtype)
    product, sums = np.zeros(BLOCK, x.dtype), np.zeros(n_x)
    for block in range(x.shape[0]):
        utilities(v, block, data, b, g, e)
        _exponentiated(v, block, data, top, total, power)
        n = counts[block]
        for j in range(width + 1):
            for i in range(BLOCK):
                v[j, i] /= total[i]
        _by_pairs(v, n, nonbase, second)
        _by_attributes(v, n, pairs, a[block], moved, mean)
        _add_coefficients(block, data, second, moved, product, sums, by_coefficients)
        rows = second, moved, product, mean, sums
        _add_groups(block, data, rows, places, own, cross, links)
    for k in range(c):
        for other in range(k):
            upper, lower = by_coefficients[other, k], by_coefficients[k, other]
            both = upper + lower if k < n_x * width else lower
            by_coefficients[k, other] = both
            by_coefficients[other, k] = both


# ------------------------------------------------------------------------ many draws


@njit(fastmath=_SUMS)
def group_curvatures(data, places, beta, gamma, effects, pull, own, links):
    """Slopes and curvatures of the log-likelihood by the effects of groups, draw by draw.

    Parameters
    ----------
    data, places
        As for `curvature`; its ``cross`` is not looked at.
    beta, gamma, effects
        As for `probability_sums`.
    pull
        ``(draw, effect)``: the chosen utilities' part of the slope at first.
    own, links
        ``(draw, ...)``: zeros at first; as for `curvature`.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    width = nonbase.shape[0]
    v, top, total, logs, power = _scratch(width + 1, x)
    one = v.dtype.type(1.0)
    second, product = np.zeros((width, width, BLOCK), x.dtype), np.zeros(BLOCK, x.dtype)
    for block in range(x.shape[0]):
        n = counts[block]
        for d in range(beta.shape[0]):
            utilities(v, block, data, beta[d], gamma[d], effects[d])
            _exponentiated(v, block, data, top, total, power)
            for i in range(BLOCK):
                total[i] = one / total[i]
            for w in range(width):
                p = v[nonbase[w]]
                for i in range(BLOCK):
                    p[i] *= total[i]
            _by_pairs(v, n, nonbase, second)
            for w in range(width):
                p = v[nonbase[w]]
                for i in range(BLOCK):
                    p[i] *= n[i]
            at = 0
            for f in range(widths.shape[0]):
                q, size = widths[f], widths[f] * width
                to_own, _, to_link, parent = places[f]
                at_parent = 0
                for k in range(max(parent, 0)):
                    at_parent += widths[k]
                for t in range(q):
                    for w in range(width):
                        row = v[nonbase[w]]
                        for r in range(run_at[f, block], run_at[f, block + 1]):
                            s = _run_product(row, terms[block, at + t], runs[r, 0], runs[r, 1])
                            pull[d, starts[f] + (runs[r, 2] * width + w) * q + t] -= s
                        for u in range(w + 1):
                            for i in range(BLOCK):
                                product[i] = terms[block, at + t, i] * second[w, u, i]
                            for r in range(run_at[f, block], run_at[f, block + 1]):
                                first, stop, group = runs[r, 0], runs[r, 1], runs[r, 2]
                                h = to_own + group * size * size
                                for s_ in range(q):
                                    s = _run_product(product, terms[block, at + s_], first, stop)
                                    own[d, h + (w * q + t) * size + u * q + s_] += s
                                    if u < w:
                                        own[d, h + (u * q + s_) * size + w * q + t] += s
                                if to_link >= 0:
                                    q_ = widths[parent]
                                    h = to_link + group * size * q_ * width
                                    for s_ in range(q_):
                                        outer = terms[block, at_parent + s_]
                                        s = _run_product(product, outer, first, stop)
                                        links[d, h + (w * q + t) * q_ * width + u * q_ + s_] += s
                                        if u < w:
                                            links[
                                                d, h + (u * q + t) * q_ * width + w * q_ + s_
                                            ] += s
                at += q


@njit(fastmath=_SUMS)
def log_sums(data, cells, cell_at, beta, gamma, effects, out):
    """Sums over the rows of a cell of ``log sum_j exp V_j``, draw by draw.

    Parameters are as for `probability_sums`, with ``effects (draw, side, effect)`` and ``out
    (draw, side, cell)``: several sets of effects for every draw's coefficients.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    v, top, total, logs, power = _scratch(nonbase.shape[0] + 1, x)
    out[:] = 0.0
    for block in range(x.shape[0]):
        n = counts[block]
        for s in range(beta.shape[0]):
            for side in range(effects.shape[1]):
                utilities(v, block, data, beta[s], gamma[s], effects[s, side])
                _exponentiated(v, block, data, top, total, power)
                logarithms(total, logs, power, as_bits(power))
                for i in range(BLOCK):
                    logs[i] += top[i]
                for r in range(cell_at[block], cell_at[block + 1]):
                    part = _run_product(logs, n, cells[r, 0], cells[r, 1])
                    out[s, side, cells[r, 2]] += part


@njit(fastmath=_SUMS)
def probability_sums(data, cells, cell_at, beta, gamma, effects, out):
    """Sums of choice probabilities over cells of rows, draw by draw.

    Parameters
    ----------
    data
        See the module; counts are the weights of the rows.
    cells, cell_at
        Runs of rows of one cell, and where those of each block start, as for groups.
    beta, gamma, effects
        As for `log_likelihood`, with a leading dimension of draws; ``beta`` is ``(draw,
        nonbase, coefficient)``, and all are of the type of the blocks.
    out
        Overwritten with the sums, ``(draw, cell, alternative)``.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    n_alt = nonbase.shape[0] + 1
    v, top, total, logs, power = _scratch(n_alt, x)
    out[:] = 0.0
    for block in range(x.shape[0]):
        n = counts[block]
        for s in range(beta.shape[0]):
            utilities(v, block, data, beta[s], gamma[s], effects[s])
            _exponentiated(v, block, data, top, total, power)
            for i in range(BLOCK):
                total[i] = n[i] / total[i]
            for j in range(n_alt):
                row = v[j]
                for r in range(cell_at[block], cell_at[block + 1]):
                    out[s, cells[r, 2], j] += _run_product(row, total, cells[r, 0], cells[r, 1])


@njit(fastmath=_SUMS)
def slope_sums(data, moving, cells, cell_at, beta, gamma, effects, moved, out):
    """Sums over cells of rows of ``P_j (V'_j - sum_k P_k V'_k)``, draw by draw.

    Parameters
    ----------
    data, cells, cell_at, beta, gamma, effects, out
        As for `probability_sums`.
    moving
        As ``data``, in the same order of rows: the derivatives of the columns.
    moved
        Their ``beta``, ``gamma`` and ``effects``.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    n_alt, zero = nonbase.shape[0] + 1, x.dtype.type(0.0)
    v, top, total, logs, power = _scratch(n_alt, x)
    d, mean = np.zeros((n_alt, BLOCK), x.dtype), np.zeros(BLOCK, x.dtype)
    out[:] = 0.0
    for block in range(x.shape[0]):
        n = counts[block]
        for s in range(beta.shape[0]):
            utilities(v, block, data, beta[s], gamma[s], effects[s])
            utilities(d, block, moving, moved[0][s], moved[1][s], moved[2][s])
            _exponentiated(v, block, data, top, total, power)
            mean[:] = zero
            for j in range(n_alt):
                for i in range(BLOCK):
                    v[j, i] /= total[i]
                    mean[i] += v[j, i] * d[j, i]
            for j in range(n_alt):
                row = d[j]
                for i in range(BLOCK):
                    row[i] = v[j, i] * (row[i] - mean[i])
                for r in range(cell_at[block], cell_at[block + 1]):
                    out[s, cells[r, 2], j] += _run_product(row, n, cells[r, 0], cells[r, 1])


@njit(fastmath=_SUMS)
def row_probabilities(data, order, beta, gamma, effects, out):
    """Choice probabilities of every draw and row, into ``out (draw, obs, alternative)``.

    ``order`` holds the row of ``out`` for every row of the blocks.
    """
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    n_alt = nonbase.shape[0] + 1
    v, top, total, logs, power = _scratch(n_alt, x)
    for first in range(0, beta.shape[0], _DRAWS):
        for block in range(x.shape[0]):
            rows = order[block * BLOCK : (block + 1) * BLOCK]
            for s in range(first, min(first + _DRAWS, beta.shape[0])):
                utilities(v, block, data, beta[s], gamma[s], effects[s])
                _exponentiated(v, block, data, top, total, power)
                for j in range(n_alt):
                    for i in range(rows.shape[0]):
                        out[s, rows[i], j] = v[j, i] / total[i]


@njit(fastmath=_SUMS)
def row_log_likelihood(data, order, beta, gamma, effects, y, out):
    """Log probability of the chosen alternative ``y (obs,)``, into ``out (draw, obs)``."""
    x, a, pairs, closed, counts, terms, widths, starts, runs, run_at, nonbase = data
    n_alt = nonbase.shape[0] + 1
    v, top, total, logs, power = _scratch(n_alt, x)
    for first in range(0, beta.shape[0], _DRAWS):
        for block in range(x.shape[0]):
            rows = order[block * BLOCK : (block + 1) * BLOCK]
            for s in range(first, min(first + _DRAWS, beta.shape[0])):
                utilities(v, block, data, beta[s], gamma[s], effects[s])
                for i in range(rows.shape[0]):
                    out[s, rows[i]] = v[y[rows[i]], i]
                _exponentiated(v, block, data, top, total, power)
                logarithms(total, logs, power, as_bits(power))
                for i in range(rows.shape[0]):
                    out[s, rows[i]] -= top[i] + logs[i]
