"""The log-likelihood of a multinomial logit and its gradient in one pass, compiled.

It restates `bayesmig.choice` for speed; a test holds the two together. Rows are taken in
blocks that stay in the first-level cache: utilities, then probabilities, then their
transpose product, column by column, so that every inner loop is a vector loop. Three
things make those loops fast. The exponential is a polynomial on a reduced range (error
below 1e-15 relative), since a library call per number does not vectorise. Logarithms
are taken of products of 64 sums at a time, which cannot overflow for fewer than 60,000
alternatives. And only reductions may be reordered (`_SUMS`), never the exponential,
whose range reduction must be done as written.

Compiled code is kept on disk: a second process starts without compiling.
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


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
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


@numba.njit(cache=True, nogil=True, fastmath=_SUMS)
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


@numba.njit(cache=True, nogil=True, fastmath=_SUMS)
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


@numba.njit(cache=True, nogil=True, fastmath=_SUMS)
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


@numba.njit(cache=True, nogil=True)
def log_density(  # type: ignore[no-untyped-def]
    vector, gradient, data, whitening, prior, scale_prior, layout
):
    """Log posterior density over the unconstrained vector; its gradient is written.

    See `bayesmig.inference.density` for the coordinates and their mathematics.

    Parameters
    ----------
    vector, gradient
        Both ``(size,)``; the second is overwritten.
    data
        The data arguments of `log_likelihood`.
    whitening
        Centre ``(c,)`` and root ``(c, c)`` of the coefficients' coordinates.
    prior
        Kind (0 flat, 1 normal, 2 Student t, 3 Laplace), centre, scale and degrees of
        freedom of every coefficient.
    scale_prior
        Kind (0 exponential, 1 half-normal, 2 half-t), scale, degrees of freedom.
    layout
        Per factor a row of integers: groups, width, start of z, of log sigma, of the
        correlation's free vectors (-1: none) and of its effects; and per factor eta.
    """
    x, a, codes, terms, widths, starts, closed, y, nonbase = data
    centre, root = whitening
    factors, eta = layout
    n_person = x.shape[0] * nonbase.shape[0]
    c = centre.shape[0]
    coefficients = centre.copy()
    for i in range(c):
        for k in range(c):
            coefficients[i] += root[i, k] * vector[k]
    n_effects = 0
    for f in range(factors.shape[0]):
        n_effects += factors[f, 0] * factors[f, 1]
    effects, g_effects = np.empty(n_effects), np.empty(n_effects)
    for f in range(factors.shape[0]):
        _scaled_effects(vector, factors[f], effects)
    slope = np.empty(c)
    total = log_likelihood(
        x,
        a,
        codes,
        terms,
        widths,
        starts,
        closed,
        y,
        nonbase,
        coefficients[:n_person].reshape(x.shape[0], nonbase.shape[0]),
        coefficients[n_person:],
        effects,
        slope[:n_person].reshape(x.shape[0], nonbase.shape[0]),
        slope[n_person:],
        g_effects,
    )
    total += _coefficient_prior(coefficients, slope, prior)
    for k in range(c):
        gradient[k] = 0.0
    for i in range(c):
        for k in range(c):
            gradient[k] += root[i, k] * slope[i]
    for f in range(factors.shape[0]):
        total += _group_prior(vector, gradient, g_effects, factors[f], eta[f], scale_prior)
    return total


@numba.njit(cache=True, nogil=True)
def _coefficient_prior(coefficients, slope, prior):  # type: ignore[no-untyped-def]
    """Add the priors' gradient to ``slope``; return their log density."""
    kind, loc, scale, df = prior
    total = 0.0
    for k in range(coefficients.shape[0]):
        z = (coefficients[k] - loc[k]) / scale[k]
        if kind[k] == 1:
            total -= 0.5 * z * z
            slope[k] -= z / scale[k]
        elif kind[k] == 2:
            tail = 1.0 + z * z / df[k]
            total -= 0.5 * (df[k] + 1.0) * np.log(tail)
            slope[k] -= (df[k] + 1.0) / df[k] * z / tail / scale[k]
        elif kind[k] == 3:
            total -= abs(z)
            slope[k] -= np.sign(z) / scale[k]
    return total


@numba.njit(cache=True, nogil=True)
def _factor_of(vector, at, width):  # type: ignore[no-untyped-def]
    """Cholesky factor of a correlation, from its free vectors at ``at`` (-1: none)."""
    factor = np.eye(width)
    if at >= 0:
        for i in range(1, width):
            square = 1.0
            for k in range(i):
                square += vector[at + k] ** 2
            length = np.sqrt(square)
            for k in range(i):
                factor[i, k] = vector[at + k] / length
            factor[i, i] = 1.0 / length
            at += i
    return factor


@numba.njit(cache=True, nogil=True)
def _scaled_effects(vector, factor_row, effects):  # type: ignore[no-untyped-def]
    """Write ``z (diag(sigma) L)'`` of one factor into ``effects``."""
    groups, width, z, log_sigma, correlation, at = factor_row
    factor = _factor_of(vector, correlation, width)
    for i in range(width):
        factor[i] *= np.exp(vector[log_sigma + i])
    for g in range(groups):
        for i in range(width):
            total = 0.0
            for k in range(i + 1):
                total += factor[i, k] * vector[z + g * width + k]
            effects[at + g * width + i] = total


@numba.njit(cache=True, nogil=True)
def _group_prior(vector, gradient, g_effects, factor_row, eta, scale_prior):  # type: ignore[no-untyped-def]
    """Write one factor's part of the gradient; return its prior's log density."""
    groups, width, z, log_sigma, correlation, at = factor_row
    factor = _factor_of(vector, correlation, width)
    sigma = np.exp(vector[log_sigma : log_sigma + width])
    d_scaled = np.zeros((width, width))
    total = 0.0
    for g in range(groups):
        for k in range(width):
            gradient[z + g * width + k] = 0.0
        for i in range(width):
            d = g_effects[at + g * width + i]
            for k in range(i + 1):
                gradient[z + g * width + k] += d * sigma[i] * factor[i, k]
                d_scaled[i, k] += d * vector[z + g * width + k]
        for k in range(width):
            one = vector[z + g * width + k]
            gradient[z + g * width + k] -= one
            total -= 0.5 * one * one
    kind, scale, df = scale_prior
    for i in range(width):
        s = sigma[i] / scale
        if kind == 0:
            total -= s
            d = -1.0 / scale
        elif kind == 1:
            total -= 0.5 * s * s
            d = -s / scale
        else:
            tail = 1.0 + s * s / df
            total -= 0.5 * (df + 1.0) * np.log(tail)
            d = -(df + 1.0) / df * s / tail / scale
        for k in range(i + 1):
            d += d_scaled[i, k] * factor[i, k]
        gradient[log_sigma + i] = d * sigma[i] + 1.0
        total += vector[log_sigma + i]
    if correlation >= 0:
        for i in range(1, width):
            square, along = 1.0, sigma[i] * d_scaled[i, i]
            for k in range(i):
                square += vector[correlation + k] ** 2
                along += sigma[i] * d_scaled[i, k] * vector[correlation + k]
            length, power = np.sqrt(square), 0.5 * (width + 2.0 * eta - 1.0)
            for k in range(i):
                free = vector[correlation + k]
                gradient[correlation + k] = (
                    sigma[i] * d_scaled[i, k] / length
                    - along * free / (length * square)
                    - 2.0 * power * free / square
                )
            total -= power * np.log(square)
            correlation += i
    return total


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
