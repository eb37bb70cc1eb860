"""The log posterior density over the sampler's coordinates, and its gradient, compiled.

The coordinates are those of `bayesmig.inference.geometry`. A vector holds first the
whitened ``theta`` (coefficients, then per factor log sigma and the free vectors of its
correlation), then ``epsilon`` of every factor's groups. Effects of a group follow from

    A = H + Pi,   A = K K',   u = K'^-1 (K^-1 (r - B delta) + epsilon)

with ``Pi`` the prior precision of the effects at these scales and correlations, ``delta``
the coefficients minus those of the expansion, and the arrays ``H``, ``B``, ``r`` of the
expansion. The log Jacobian of ``epsilon -> u`` is ``-sum log K_ii``.

Row ``i`` of the Cholesky factor ``L`` of a correlation is ``(y_i, 1) / sqrt(1 + |y_i|^2)``
for a free vector ``y_i`` of length ``i``; an LKJ(eta) prior on the correlation is then
``(1 + |y_i|^2) ** (-(D + 2 eta - 1) / 2)`` for each row, Jacobian included
(Lewandowski, Kurowicka and Joe 2009, doi 10.1016/j.jmva.2009.04.008).
"""

from __future__ import annotations

import numba
import numpy as np

from bayesmig.inference.kernel import log_likelihood


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_density(  # type: ignore[no-untyped-def]
    vector, gradient, data, whitening, prior, scale_prior, layout, expansion
):
    """Log posterior density up to a constant; its gradient is written.

    Parameters
    ----------
    vector, gradient
        Both ``(size,)``; the second is overwritten.
    data
        The data arguments of `bayesmig.inference.kernel.log_likelihood`.
    whitening
        Centre ``(t,)`` and root ``(t, t)`` of the coordinates of theta.
    prior
        Kind (0 flat, 1 normal, 2 Student t, 3 Laplace), centre, scale and degrees of
        freedom of every coefficient.
    scale_prior
        Kind (0 exponential, 1 half-normal, 2 half-t), scale, degrees of freedom.
    layout
        Per factor a row of integers: groups, width, start of epsilon in the vector, of
        log sigma in theta, of the correlation's free vectors in theta (-1: none), of its
        effects, of its ``H`` and of its ``B`` (-1: none); and per factor eta.
    expansion
        Coefficients of the expansion, and ``r``, ``H``, ``B`` of all factors, flat.
    """
    x, a, codes, terms, widths, starts, closed, y, nonbase = data
    centre, root = whitening
    factors, eta = layout
    at, pull, curvature, cross = expansion
    c, t = at.shape[0], centre.shape[0]
    n_person = x.shape[0] * nonbase.shape[0]
    theta, slope = centre + root @ vector[:t], np.zeros(t)
    coefficients = theta[:c]
    delta = coefficients - at
    effects, inner = np.empty(pull.shape[0]), np.empty(pull.shape[0])
    roots, g_effects = np.empty(curvature.shape[0]), np.empty(pull.shape[0])
    total = 0.0
    for f in range(factors.shape[0]):
        total += _place(
            vector, theta, delta, factors[f], pull, curvature, cross, effects, inner, roots
        )
    total += log_likelihood(
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
        slope[n_person:c],
        g_effects,
    )
    total += _coefficient_prior(coefficients, slope, prior)
    for f in range(factors.shape[0]):
        total += _pull_back(
            theta, slope, gradient, factors[f], eta[f], scale_prior, c, cross,
            effects, inner, roots, g_effects,
        )  # fmt: skip
    gradient[:t] = root.T @ slope
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def effects_at(vector, whitening, layout, expansion):  # type: ignore[no-untyped-def]
    """Effects of all groups of all factors at a vector, flat; arguments as above."""
    centre, root = whitening
    factors, _ = layout
    at, pull, curvature, cross = expansion
    theta = centre + root @ vector[: centre.shape[0]]
    delta = theta[: at.shape[0]] - at
    effects, inner = np.empty(pull.shape[0]), np.empty(pull.shape[0])
    roots = np.empty(curvature.shape[0])
    for f in range(factors.shape[0]):
        _place(vector, theta, delta, factors[f], pull, curvature, cross, effects, inner, roots)
    return effects


@numba.njit(cache=True, nogil=True, error_model="numpy")
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


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scaled_factor(theta, log_sigma, correlation, width):  # type: ignore[no-untyped-def]
    """``diag(sigma) L``: Cholesky factor of the effects' covariance."""
    factor = np.eye(width)
    if correlation >= 0:
        for i in range(1, width):
            square = 1.0
            for k in range(i):
                square += theta[correlation + k] ** 2
            length = np.sqrt(square)
            for k in range(i):
                factor[i, k] = theta[correlation + k] / length
            factor[i, i] = 1.0 / length
            correlation += i
    for i in range(width):
        factor[i] *= np.exp(theta[log_sigma + i])
    return factor


@numba.njit(cache=True, nogil=True, error_model="numpy")
def precision_of(factor):  # type: ignore[no-untyped-def]
    """Inverse of ``factor factor'`` for a lower triangular factor."""
    width = factor.shape[0]
    inverse = np.zeros((width, width))
    for j in range(width):
        inverse[j, j] = 1.0 / factor[j, j]
        for i in range(j + 1, width):
            s = 0.0
            for k in range(j, i):
                s += factor[i, k] * inverse[k, j]
            inverse[i, j] = -s / factor[i, i]
    return inverse.T @ inverse


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place(  # type: ignore[no-untyped-def]
    vector, theta, delta, row, pull, curvature, cross, effects, inner, roots
):
    """Write one factor's effects; return the log Jacobian.

    ``roots`` keeps every group's ``K`` and ``inner`` its ``K^-1 (r - B delta)``.
    """
    groups, width, epsilon, log_sigma, correlation, at, here, crossed = row
    c = delta.shape[0]
    precision = precision_of(scaled_factor(theta, log_sigma, correlation, width))
    total = 0.0
    for g in range(groups):
        e, h = at + g * width, here + g * width * width
        for i in range(width):
            for j in range(i + 1):
                s = curvature[h + i * width + j] + precision[i, j]
                for k in range(j):
                    s -= roots[h + i * width + k] * roots[h + j * width + k]
                if i == j:
                    roots[h + i * width + i] = np.sqrt(s)
                else:
                    roots[h + i * width + j] = s / roots[h + j * width + j]
            total -= np.log(roots[h + i * width + i])
            s = pull[e + i]
            if crossed >= 0:
                b = crossed + (g * width + i) * c
                for k in range(c):
                    s -= cross[b + k] * delta[k]
            for k in range(i):
                s -= roots[h + i * width + k] * inner[e + k]
            inner[e + i] = s / roots[h + i * width + i]
        for i in range(width - 1, -1, -1):
            s = inner[e + i] + vector[epsilon + g * width + i]
            for k in range(i + 1, width):
                s -= roots[h + k * width + i] * effects[e + k]
            effects[e + i] = s / roots[h + i * width + i]
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _pull_back(  # type: ignore[no-untyped-def]
    theta, slope, gradient, row, eta, scale_prior, c, cross, effects, inner, roots, g_effects
):
    """One factor's gradient: epsilon's is written, theta's added to ``slope``.

    Returns the log prior density of its effects, scales and correlation. Adjoints are
    reversed line by line from `_place`; that of the Cholesky factor is Murray's (2016,
    arXiv 1602.07527).
    """
    groups, width, epsilon, log_sigma, correlation, at, here, crossed = row
    factor = scaled_factor(theta, log_sigma, correlation, width)
    precision = precision_of(factor)
    g_precision = np.zeros((width, width))
    g_inner, g_pull = np.empty(width), np.empty(width)
    g_root, half = np.empty((width, width)), np.empty((width, width))
    total = 0.0
    for g in range(groups):
        e, h = at + g * width, here + g * width * width
        root = roots[h : h + width * width].reshape(width, width)
        u = effects[e : e + width]
        for i in range(width):
            s = g_effects[e + i]
            for k in range(width):
                s -= precision[i, k] * u[k]
                g_precision[i, k] -= 0.5 * u[i] * u[k]
                total -= 0.5 * u[i] * precision[i, k] * u[k]
            # u = K'^-1 w: the adjoint of w, which is that of epsilon.
            for k in range(i):
                s -= root[i, k] * g_inner[k]
            g_inner[i] = s / root[i, i]
            gradient[epsilon + g * width + i] = g_inner[i]
        for i in range(width - 1, -1, -1):
            s = g_inner[i]
            for k in range(i + 1, width):
                s -= root[k, i] * g_pull[k]
            g_pull[i] = s / root[i, i]
        if crossed >= 0:
            for i in range(width):
                b = crossed + (g * width + i) * c
                for k in range(c):
                    slope[k] -= cross[b + k] * g_pull[i]
        for i in range(width):
            for k in range(i + 1):
                g_root[i, k] = -u[i] * g_inner[k] - g_pull[i] * inner[e + k]
            g_root[i, i] -= 1.0 / root[i, i]
        _add_factor_adjoint(root, g_root, half, g_precision)
    total += hyper(
        theta, slope, factor, precision, g_precision, groups, width, log_sigma, correlation,
        eta, scale_prior,
    )  # fmt: skip
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_factor_adjoint(root, g_root, half, out):  # type: ignore[no-untyped-def]
    """Add the adjoint of ``A = K K'`` to ``out``, given that of ``K`` (lower)."""
    width = root.shape[0]
    # Phi(K' G): lower triangle with the diagonal halved, then made symmetric.
    for i in range(width):
        for j in range(i + 1):
            s = 0.0
            for k in range(i, width):
                s += root[k, i] * g_root[k, j]
            half[i, j] = 0.5 * s
            half[j, i] = 0.5 * s
    # K'^-1 half K^-1: solve from the left on columns, then on rows.
    for j in range(width):
        for i in range(width - 1, -1, -1):
            s = half[i, j]
            for k in range(i + 1, width):
                s -= root[k, i] * half[k, j]
            half[i, j] = s / root[i, i]
    for i in range(width):
        for j in range(width - 1, -1, -1):
            s = half[i, j]
            for k in range(j + 1, width):
                s -= root[k, j] * half[i, k]
            half[i, j] = s / root[j, j]
    for i in range(width):
        for j in range(width):
            out[i, j] += half[i, j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def hyper(  # type: ignore[no-untyped-def]
    theta, slope, factor, precision, g_precision, groups, width, log_sigma, correlation,
    eta, scale_prior,
):  # fmt: skip
    """Add the adjoints of log sigma and the free vectors; return their log prior.

    ``groups`` times the log determinant of ``factor`` is subtracted, which with the
    quadratic form is the effects' normal prior.
    """
    kind, scale, df = scale_prior
    # Pi = (M M')^-1: the adjoint of M is -2 Pi G Pi M, here with G symmetric.
    g_factor = -2.0 * (precision @ g_precision @ precision @ factor)
    total = 0.0
    for i in range(width):
        total -= groups * np.log(factor[i, i])
        g_factor[i, i] -= groups / factor[i, i]
    for i in range(width):
        sigma = np.exp(theta[log_sigma + i])
        s = sigma / scale
        if kind == 0:
            total -= s
            d = -s
        elif kind == 1:
            total -= 0.5 * s * s
            d = -s * s
        else:
            tail = 1.0 + s * s / df
            total -= 0.5 * (df + 1.0) * np.log(tail)
            d = -(df + 1.0) / df * s * s / tail
        for k in range(i + 1):
            d += g_factor[i, k] * factor[i, k]
        slope[log_sigma + i] += d + 1.0
        total += theta[log_sigma + i]
    if correlation >= 0:
        at, power = correlation, 0.5 * (width + 2.0 * eta - 1.0)
        for i in range(1, width):
            sigma = np.exp(theta[log_sigma + i])
            square, along = 1.0, sigma * g_factor[i, i]
            for k in range(i):
                square += theta[at + k] ** 2
                along += sigma * g_factor[i, k] * theta[at + k]
            length = np.sqrt(square)
            for k in range(i):
                free = theta[at + k]
                slope[at + k] += (
                    sigma * g_factor[i, k] / length
                    - along * free / (length * square)
                    - 2.0 * power * free / square
                )
            total -= power * np.log(square)
            at += i
    return total
