"""The log-likelihood of a multinomial logit and its gradient in one pass, compiled.

It restates `bayesmig.choice` for speed; a test holds the two together. Rows are taken in
blocks that stay in the first-level cache: utilities, then probabilities, then their
transpose product, column by column, so that every inner loop is a vector loop. Three
things make those loops fast. The exponential is a polynomial on a reduced range (error
below 1e-15 relative), since a library call per number does not vectorise. Logarithms
are taken of products of 64 sums at a time, which cannot overflow for fewer than 60,000
alternatives. And only reductions may be reordered (`_SUMS`), never the exponential,
whose range reduction must be done as written.

Compiled code is kept on disk: a second process starts without compiling. What several
entries share is inlined into each by force. Otherwise it would be optimised once by
itself and once within each, all under one name, and which of these copies a process
runs would depend on what it compiled and what it found on disk; since sums may be
reordered, their last bits differ, and with them the draws.
"""

from __future__ import annotations

import numba
import numpy as np

BLOCK = 512
_PRODUCT = 64
_CLOSED = -1e6
_LOWEST = -700.0
_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
#: Adding it rounds a small double to a whole number in the low bits of its mantissa.
_ROUND = 6755399441055744.0
_SUMS = {"reassoc", "contract", "nsz"}


@numba.njit(cache=True, nogil=True, forceinline=True, fastmath={"contract"})
def _exponentials(values, power, bits, n):  # type: ignore[no-untyped-def]
    """Replace ``values[:n]``, all at most zero, by their exponentials.

    ``exp(v) = 2**k * exp(r)`` with ``|r| <= log(2) / 2`` and a Taylor polynomial of
    degree 13. ``bits`` is ``power`` seen as integers.
    """
    # A loop of its own: within the next one it would keep that from vectorising.
    for i in range(n):
        values[i] = max(values[i], _LOWEST)
    for i in range(n):
        v = values[i]
        k = v * _LOG2E + _ROUND
        power[i] = k
        k = k - _ROUND
        r = (v - k * _LN2_HIGH) - k * _LN2_LOW
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
        values[i] = p * r + 1.0
    for i in range(n):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(n):
        values[i] *= power[i]


@numba.njit(cache=True, nogil=True, forceinline=True, fastmath=_SUMS)
def _utilities(  # type: ignore[no-untyped-def]
    v, start, n, x, a, codes, terms, widths, starts, closed, nonbase, beta, gamma, effects
):
    """Fill ``v`` with the utilities of ``n`` rows from ``start``, ``(alternative, n)``."""
    width, n_alt = nonbase.shape[0], v.shape[0]
    v[:] = 0.0
    for w in range(width):
        row = v[nonbase[w]]
        for k in range(x.shape[0]):
            b, column = beta[k, w], x[k, start : start + n]
            for i in range(n):
                row[i] += b * column[i]
    at = 0
    for f in range(codes.shape[0]):
        code, q = codes[f, start : start + n], widths[f]
        for t in range(q):
            column = terms[at + t, start : start + n]
            for w in range(width):
                row, shift = v[nonbase[w]], starts[f] + w * q + t
                for i in range(n):
                    row[i] += effects[shift + code[i] * width * q] * column[i]
        at += q
    for m in range(a.shape[0]):
        for j in range(n_alt):
            row, column = v[j], a[m, j, start : start + n]
            for i in range(n):
                row[i] += gamma[m] * column[i]
    if closed.shape[0]:
        for j in range(n_alt):
            for i in range(n):
                if closed[j, start + i]:
                    v[j, i] = _CLOSED


@numba.njit(cache=True, nogil=True, forceinline=True, fastmath=_SUMS)
def _exponentiated(v, start, n, closed, top, total, power, bits):  # type: ignore[no-untyped-def]
    """Replace utilities by ``exp(v - top)`` and fill ``total`` with their sums.

    Returns ``sum_i log sum_j exp(v_ji)`` over the ``n`` rows.
    """
    n_alt = v.shape[0]
    for i in range(n):
        top[i] = v[0, i]
    for j in range(1, n_alt):
        for i in range(n):
            top[i] = max(top[i], v[j, i])
    total[:] = 0.0
    value = 0.0
    for i in range(n):
        value += top[i]
    for j in range(n_alt):
        row = v[j]
        for i in range(n):
            row[i] -= top[i]
        _exponentials(row, power, bits, n)
        if closed.shape[0]:
            for i in range(n):
                if closed[j, start + i]:
                    row[i] = 0.0
        for i in range(n):
            total[i] += row[i]
    for first in range(0, n, _PRODUCT):
        product = 1.0
        for i in range(first, min(first + _PRODUCT, n)):
            product *= total[i]
        value += np.log(product)
    return value


@numba.njit(cache=True, nogil=True, forceinline=True, fastmath=_SUMS)
def log_likelihood(  # type: ignore[no-untyped-def]
    x,
    a,
    codes,
    terms,
    widths,
    starts,
    closed,
    y,
    nonbase,
    beta,
    gamma,
    effects,
    g_beta,
    g_gamma,
    g_effects,
):
    """Log-likelihood; its gradient is written into the last three arguments.

    Parameters
    ----------
    x
        Columns of persons, ``(coefficient, obs)``.
    a
        Attributes, ``(attribute, alternative, obs)``.
    codes
        Group of every row, ``(factor, obs)``, int64.
    terms
        Columns of all factors' terms in turn, ``(term, obs)``.
    widths, starts
        Number of terms of each factor; where its effects start in ``effects``.
    closed
        Alternatives that are not available, ``(alternative, obs)``, or no rows.
    y
        Chosen alternative, ``(obs,)``, int64.
    nonbase
        Positions of the non-base alternatives.
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
    n_obs, width = y.shape[0], nonbase.shape[0]
    n_alt = width + 1
    v = np.empty((n_alt, BLOCK))
    top, total, power = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    bits = power.view(np.int64)
    g_beta[:] = 0.0
    g_gamma[:] = 0.0
    g_effects[:] = 0.0
    value = 0.0
    for start in range(0, n_obs, BLOCK):
        n = min(BLOCK, n_obs - start)
        _utilities(
            v,
            start,
            n,
            x,
            a,
            codes,
            terms,
            widths,
            starts,
            closed,
            nonbase,
            beta,
            gamma,
            effects,
        )
        for i in range(n):
            value += v[y[start + i], i]
        value -= _exponentiated(v, start, n, closed, top, total, power, bits)
        # From here on v holds the residuals: chosen minus probability.
        for i in range(n):
            total[i] = -1.0 / total[i]
        for j in range(n_alt):
            for i in range(n):
                v[j, i] *= total[i]
        for i in range(n):
            v[y[start + i], i] += 1.0
        for w in range(width):
            row = v[nonbase[w]]
            for k in range(x.shape[0]):
                column, s = x[k, start : start + n], 0.0
                for i in range(n):
                    s += column[i] * row[i]
                g_beta[k, w] += s
        for m in range(a.shape[0]):
            s = 0.0
            for j in range(n_alt):
                row, column = v[j], a[m, j, start : start + n]
                for i in range(n):
                    s += column[i] * row[i]
            g_gamma[m] += s
        at = 0
        for f in range(codes.shape[0]):
            code, q = codes[f, start : start + n], widths[f]
            for t in range(q):
                column = terms[at + t, start : start + n]
                for w in range(width):
                    row, shift = v[nonbase[w]], starts[f] + w * q + t
                    for i in range(n):
                        g_effects[shift + code[i] * width * q] += row[i] * column[i]
            at += q
    return value


@numba.njit(cache=True, nogil=True, fastmath=_SUMS)
def probability_sums(  # type: ignore[no-untyped-def]
    x,
    a,
    codes,
    terms,
    widths,
    starts,
    closed,
    nonbase,
    beta,
    gamma,
    effects,
    cells,
    weights,
    out,
):
    """Weighted sums of choice probabilities over cells of rows, draw by draw.

    Parameters
    ----------
    x, a, codes, terms, widths, starts, closed, nonbase
        As for `log_likelihood`.
    beta, gamma, effects
        As there, with a leading dimension of draws.
    cells, weights
        Cell and weight of every row, ``(obs,)``.
    out
        Overwritten with the sums, ``(draw, cell, alternative)``.
    """
    n_obs, n_alt = cells.shape[0], nonbase.shape[0] + 1
    v = np.empty((n_alt, BLOCK))
    top, total, power = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    bits = power.view(np.int64)
    out[:] = 0.0
    for s in range(beta.shape[0]):
        for start in range(0, n_obs, BLOCK):
            n = min(BLOCK, n_obs - start)
            _utilities(
                v,
                start,
                n,
                x,
                a,
                codes,
                terms,
                widths,
                starts,
                closed,
                nonbase,
                beta[s],
                gamma[s],
                effects[s],
            )
            _exponentiated(v, start, n, closed, top, total, power, bits)
            for i in range(n):
                total[i] = weights[start + i] / total[i]
            for j in range(n_alt):
                for i in range(n):
                    out[s, cells[start + i], j] += v[j, i] * total[i]


@numba.njit(cache=True, nogil=True, fastmath=_SUMS)
def row_probabilities(  # type: ignore[no-untyped-def]
    x, a, codes, terms, widths, starts, closed, nonbase, beta, gamma, effects, out
):
    """Choice probabilities of every draw and row, into ``out (draw, obs, alternative)``."""
    n_obs, n_alt = out.shape[1], nonbase.shape[0] + 1
    v = np.empty((n_alt, BLOCK))
    top, total, power = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    bits = power.view(np.int64)
    for s in range(beta.shape[0]):
        for start in range(0, n_obs, BLOCK):
            n = min(BLOCK, n_obs - start)
            _utilities(
                v,
                start,
                n,
                x,
                a,
                codes,
                terms,
                widths,
                starts,
                closed,
                nonbase,
                beta[s],
                gamma[s],
                effects[s],
            )
            _exponentiated(v, start, n, closed, top, total, power, bits)
            for j in range(n_alt):
                for i in range(n):
                    out[s, start + i, j] = v[j, i] / total[i]


@numba.njit(cache=True, nogil=True, fastmath=_SUMS)
def row_log_likelihood(  # type: ignore[no-untyped-def]
    x, a, codes, terms, widths, starts, closed, nonbase, beta, gamma, effects, y, out
):
    """Log probability of the chosen alternative, into ``out (draw, obs)``."""
    n_obs, n_alt = out.shape[1], nonbase.shape[0] + 1
    v = np.empty((n_alt, BLOCK))
    top, total, power = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    bits = power.view(np.int64)
    for s in range(beta.shape[0]):
        for start in range(0, n_obs, BLOCK):
            n = min(BLOCK, n_obs - start)
            _utilities(
                v,
                start,
                n,
                x,
                a,
                codes,
                terms,
                widths,
                starts,
                closed,
                nonbase,
                beta[s],
                gamma[s],
                effects[s],
            )
            for i in range(n):
                out[s, start + i] = v[y[start + i], i]
            _exponentiated(v, start, n, closed, top, total, power, bits)
            for i in range(n):
                out[s, start + i] -= top[i] + np.log(total[i])
