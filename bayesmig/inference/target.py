"""The log posterior density over the sampler's coordinates, and its gradient, compiled.

The coordinates are those of `bayesmig.inference.geometry`. A vector holds first the
whitened ``theta`` (coefficients, then per factor log sigma and the free vectors of its
correlation), then ``epsilon`` of every factor's groups. Effects ``u`` of a group, of
``v`` where it lies in a group of another factor, follow from

    A = H + Pi = K K',   Q = K^-1 C,   s = K^-1 (r - B delta),
    u = K'^-1 (s - Q v + epsilon)

with ``Pi`` the prior precision of the effects at these scales and correlations, ``delta``
the coefficients minus those of the expansion, and the arrays ``H``, ``B``, ``C``, ``r`` of
the expansion. What a group that holds others meets is what they leave of it,

    H_v - sum Q'Q,   r_v - B_v delta - sum Q's,

so that groups are eliminated from the inside out, and their effects found from the
outside in. The log Jacobian of ``epsilon -> u`` is ``-sum log K_ii``. With the likelihood
replaced by its expansion, theta has the marginal density whose logarithm is
``sum (s's / 2 - log K_ii)`` plus what does not concern effects (`marginal_density`).

Row ``i`` of the Cholesky factor ``L`` of a correlation is ``(tanh(a) w / a, 1 / cosh(a))``
for a free vector ``w`` of length ``i`` and ``a = |w|``: of two effects, ``w`` is Fisher's z
of their correlation, whose posterior is nearly normal. An LKJ(eta) prior on the correlation
of ``D`` effects is then ``cosh(a) ** -(D + 2 eta - 2) * (sinh(a) / a) ** (i - 1)`` for each
row, Jacobian included (Lewandowski, Kurowicka and Joe 2009, doi 10.1016/j.jmva.2009.04.008).

``layout`` holds a row of integers per factor (`memory.FIELDS`) and per factor eta; ``expansion``
the coefficients of the expansion; ``r``, ``H``, ``B``, ``C`` of all factors, flat; and for
every group the group that it lies in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmig.inference.compiled import njit
from bayesmig.inference.kernel import log_likelihood
from bayesmig.inference.memory import (
    COPIES,
    CROSS,
    EFFECTS,
    GROUPS,
    LINKS,
    OWN,
    PARENT,
    WIDTH,
)

_SUMS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}}


@njit()
def log_density(vector, gradient, data, chosen, whitening, prior, scale_prior, layout, expansion):
    """Log posterior density up to a constant; its gradient is written.

    Parameters
    ----------
    vector, gradient
        Both ``(size,)``; the second is overwritten.
    data, chosen
        The data arguments of `bayesmig.inference.kernel.log_likelihood`.
    whitening
        Centre ``(t,)`` and root ``(t, t)`` of the coordinates of theta.
    prior
        Kind (0 flat, 1 normal, 2 Student t, 3 Laplace), centre, scale and degrees of
        freedom of every coefficient.
    scale_prior
        Kind (0 exponential, 1 half-normal, 2 half-t), scale, degrees of freedom.
    layout, expansion
        See the module.
    """
    centre, root = whitening
    c, t = expansion[0].shape[0], centre.shape[0]
    theta, slope = centre + times(root, vector[:t]), np.zeros(t)
    coefficients, delta = theta[:c], theta[:c] - expansion[0]
    work = eliminate(theta, delta, layout, expansion)
    effects = substitute(vector, layout, expansion, work)
    g_effects = np.empty(effects.shape[0])
    n_person = chosen[0].size
    total = work[0] + log_likelihood(
        data,
        chosen,
        coefficients[:n_person].reshape(chosen[0].shape),
        coefficients[n_person:],
        effects,
        slope[:n_person].reshape(chosen[0].shape),
        slope[n_person:c],
        g_effects,
    )
    total += coefficient_prior(coefficients, slope, prior)
    g_precision = np.zeros(expansion[2].shape[0])
    total += effects_prior(theta, layout, effects, g_effects, g_precision)
    adjoint = reverse_substitute(gradient, layout, expansion, work, effects, g_effects)
    total += reverse_eliminate(
        theta, slope, layout, expansion, scale_prior, work, adjoint, g_precision
    )
    gradient[:t] = times_turned(root, slope)
    return total


@njit()
def log_densities_of_pairs(
    thetas, epsilon, chosen, prior, scale_prior, layout, expansion, local, outer, effects, out
):
    """Parts of the log density of pairs of effects, at every ``epsilon`` and ``-epsilon``.

    Given theta, groups that lie in no other are independent of each other: they and what
    lies in them are the units here. With one factor, or none, or one in another, the log
    density is the value returned, plus the units', plus the likelihood of `kernel.log_sums`.

    Parameters
    ----------
    thetas, epsilon
        ``(draw, ...)`` and ``(draw, pair, effect)``.
    local
        ``r``, ``H`` and ``C`` of every draw around effects of its own, ``(draw, ...)``,
        which take the place of the expansion's.
    outer
        The factor whose groups are the units, -1: everything is one unit.
    effects
        Overwritten, ``(draw, side, effect)``: both sides of a pair follow each other.
    out
        Overwritten with the log prior of every unit's effects and the chosen utilities'
        part of their log-likelihood, ``(draw, side, unit)``.

    Returns
    -------
    ndarray
        ``(draw,)``: what both have in common, the coefficients' likelihood left out. The
        log Jacobian of epsilon is included.
    """
    (factors, eta), member = layout, expansion[5]
    c, t = expansion[0].shape[0], thetas.shape[1]
    common = np.empty(thetas.shape[0])
    g_precision, slope = np.zeros(expansion[2].shape[0]), np.zeros(t)
    # The effects' own expansions are at each draw's coefficients.
    alone = factors.copy()
    alone[:, CROSS] = -1
    out[:] = 0.0
    vector = np.zeros(t + epsilon.shape[2])
    for s in range(thetas.shape[0]):
        theta = thetas[s]
        here = (theta[:c].copy(), local[0][s], local[1][s], expansion[3], local[2][s], member)
        work = eliminate(theta, np.zeros(c), (alone, eta), here)
        common[s] = work[0] + coefficient_prior(theta[:c], slope, prior)
        common[s] += _hyper_priors(theta, slope, layout, scale_prior, g_precision)
        for side in range(effects.shape[1]):
            vector[t:] = epsilon[s, side // 2] if side % 2 == 0 else -epsilon[s, side // 2]
            effects[s, side] = substitute(vector, layout, here, work)
            for f in range(factors.shape[0]):
                groups, width, _, log_sigma, correlation, at = factors[f, :6]
                parent, copies = factors[f, PARENT], factors[f, COPIES]
                precision = effects_precision(theta, log_sigma, correlation, width, copies)
                for g in range(groups):
                    unit, e = 0, at + g * width
                    if outer >= 0:
                        unit = member[g] if parent >= 0 else g
                    for i in range(width):
                        u = effects[s, side, e + i]
                        out[s, side, unit] += chosen[2][e + i] * u
                        for k in range(width):
                            q = precision[i, k] * effects[s, side, e + k]
                            out[s, side, unit] -= 0.5 * u * q
    return common


@njit()
def centres(white, whitening, layout, expansion, theta, effects):
    """Theta, and effects where epsilon is zero, at white coordinates of theta."""
    centre, root = whitening
    c, nothing = expansion[0].shape[0], np.zeros(centre.shape[0] + effects.shape[1])
    for s in range(white.shape[0]):
        theta[s] = centre + times(root, white[s])
        work = eliminate(theta[s], theta[s, :c] - expansion[0], layout, expansion)
        effects[s] = substitute(nothing, layout, expansion, work)


@njit()
def conditional_centres(white, whitening, layout, expansion, by_coefficients, theta, effects):
    """As `centres`, with coefficients whitened anew at each draw's scales.

    With few groups the scales decide how well constants are known. ``by_coefficients`` holds the
    slope and the curvature of the expansion by coefficients. Returns the log determinants
    of the roots of the curvature that effects leave, ``(draw,)``; not a number where that is not
    positive definite.
    """
    centre, root = whitening
    slope, curvature = by_coefficients
    at, t = expansion[0], centre.shape[0]
    c = at.shape[0]
    nothing, out = np.zeros(t + effects.shape[1]), np.empty(white.shape[0])
    of_scales = np.ascontiguousarray(root[c:, c:])
    for s in range(white.shape[0]):
        theta[s, :c] = at
        theta[s, c:] = centre[c:] + times(of_scales, white[s, c:])
        work = eliminate(theta[s], np.zeros(c), layout, expansion)
        at_best = substitute(nothing, layout, expansion, work)
        pull = slope.copy()
        for f in range(layout[0].shape[0]):
            groups, width, _, _, _, first, _, crossed = layout[0][f, :8]
            if crossed >= 0:
                size = groups * width
                b = expansion[3][crossed : crossed + size * c].reshape(size, c)
                pull -= times_turned(b, at_best[first : first + size])
        matrix = curvature.copy()
        _subtract_explained(work, matrix, layout, expansion)
        factor = _cholesky(matrix)
        for i in range(c):
            for k in range(i):
                pull[i] -= factor[i, k] * pull[k]
            pull[i] /= factor[i, i]
        pull += white[s, :c]
        for i in range(c - 1, -1, -1):
            pull[i] /= factor[i, i]
            for k in range(i):
                pull[k] -= factor[i, k] * pull[i]
        theta[s, :c] = at + pull
        out[s] = np.log(np.diag(factor)).sum()
        work = eliminate(theta[s], theta[s, :c] - at, layout, expansion)
        effects[s] = substitute(nothing, layout, expansion, work)
    return out


@njit()
def complete_pull(effects, layout, member, pull, own, links):
    """From slopes at some effects to slopes at none: add the curvature times the effects."""
    factors = layout[0]
    for s in range(effects.shape[0]):
        for f in range(factors.shape[0]):
            groups, width, _, _, _, at, start, _, link, parent = factors[f, :10]
            wide = factors[max(parent, 0), WIDTH]
            for g in range(groups):
                e, h = at + g * width, start + g * width * width
                for i in range(width):
                    for k in range(width):
                        pull[s, e + i] += own[s, h + i * width + k] * effects[s, e + k]
                    if parent >= 0:
                        q = link + (g * width + i) * wide
                        o = factors[parent, EFFECTS] + member[g] * wide
                        for j in range(wide):
                            pull[s, e + i] += links[s, q + j] * effects[s, o + j]
                            pull[s, o + j] += links[s, q + j] * effects[s, e + i]


@njit()
def locations(vectors, whitening, layout, expansion, thetas, effects):
    """Theta and effects of all groups at vectors, ``(draw, ...)``; arguments as above."""
    centre, root = whitening
    c, t = expansion[0].shape[0], centre.shape[0]
    for s in range(vectors.shape[0]):
        theta = centre + times(root, vectors[s, :t])
        work = eliminate(theta, theta[:c] - expansion[0], layout, expansion)
        thetas[s] = theta
        effects[s] = substitute(vectors[s], layout, expansion, work)


@njit()
def marginal_density(theta, slope, scale_prior, layout, expansion):
    """Log marginal density of theta under the expansion; its gradient is added to ``slope``.

    What is quadratic in the coefficients alone is left out.
    """
    work = eliminate(theta, theta[: expansion[0].shape[0]] - expansion[0], layout, expansion)
    inner = work[1]
    value = work[0] + 0.5 * (inner * inner).sum()
    adjoint = (inner.copy(), np.zeros(expansion[2].shape[0]), np.zeros(expansion[4].shape[0]))
    g_precision = np.zeros(expansion[2].shape[0])
    return value + reverse_eliminate(
        theta, slope, layout, expansion, scale_prior, work, adjoint, g_precision
    )


@njit()
def subtract_explained(theta, matrix, layout, expansion):
    """Take from the coefficients' curvature what effects would give way."""
    work = eliminate(theta, np.zeros(expansion[0].shape[0]), layout, expansion)
    _subtract_explained(work, matrix, layout, expansion)


@njit()
def _subtract_explained(work, matrix, layout, expansion):
    """Subtract ``sum P'P`` with ``P = K^-1 B`` of every group.

    One that holds others meets ``B_v - sum Q'P``.
    """
    factors, cross = layout[0], expansion[3].copy()
    c = expansion[0].shape[0]
    inner_links, roots = work[2], work[3]
    for inside in range(2):
        for f in range(factors.shape[0]):
            groups, width, _, _, _, _, own, at, links, parent = factors[f, :10]
            if at < 0 or (parent >= 0) != (inside == 0):
                continue
            size = groups * width
            every = cross[at : at + size * c].copy().reshape(size, c)
            for g in range(groups):
                root = roots[own + g * width**2 : own + (g + 1) * width**2].reshape(width, width)
                explained = every[g * width : (g + 1) * width]
                for i in range(width):
                    for j in range(i):
                        for k in range(c):
                            explained[i, k] -= root[i, j] * explained[j, k]
                    for k in range(c):
                        explained[i, k] /= root[i, i]
                if parent >= 0 and factors[parent, CROSS] >= 0:
                    wide = factors[parent, WIDTH]
                    q = links + g * width * wide
                    outer = factors[parent, CROSS] + expansion[5][g] * wide * c
                    for i in range(width):
                        for j in range(wide):
                            for k in range(c):
                                cross[outer + j * c + k] -= (
                                    inner_links[q + i * wide + j] * explained[i, k]
                                )
            _subtract_squares(matrix, every)


# --------------------------------------------------------------------------- products

# In loops, since numba asks SciPy for a BLAS, which takes longer to load than all of these take.


@njit(**_SUMS)
def times(matrix, vector):
    """``matrix @ vector``."""
    assert matrix.shape[1] == vector.shape[0]
    out = np.empty(matrix.shape[0])
    for i in range(matrix.shape[0]):
        row, s = matrix[i], 0.0
        for k in range(vector.shape[0]):
            s += row[k] * vector[k]
        out[i] = s
    return out


@njit()
def times_turned(matrix, vector):
    """``matrix.T @ vector``."""
    assert matrix.shape[0] == vector.shape[0]
    out = np.zeros(matrix.shape[1])
    for i in range(matrix.shape[0]):
        row, v = matrix[i], vector[i]
        for k in range(out.shape[0]):
            out[k] += row[k] * v
    return out


@njit()
def _product(left, right):
    """``left @ right`` of small matrices."""
    out = np.zeros((left.shape[0], right.shape[1]))
    for i in range(left.shape[0]):
        for j in range(right.shape[0]):
            for k in range(right.shape[1]):
                out[i, k] += left[i, j] * right[j, k]
    return out


@njit(**_SUMS)
def _subtract_squares(matrix, rows):
    """``matrix -= rows.T @ rows``, for a symmetric matrix."""
    columns = np.ascontiguousarray(rows.T)
    for i in range(columns.shape[0]):
        one = columns[i]
        for k in range(i + 1):
            other, s = columns[k], 0.0
            for g in range(one.shape[0]):
                s += one[g] * other[g]
            matrix[i, k] -= s
            if k < i:
                matrix[k, i] -= s


@njit()
def _cholesky(matrix):
    """Lower triangular root of a matrix; not a number from where it is not positive definite."""
    root = np.zeros(matrix.shape)
    for i in range(matrix.shape[0]):
        for j in range(i + 1):
            s = matrix[i, j]
            for k in range(j):
                s -= root[i, k] * root[j, k]
            if j < i:
                root[i, j] = s / root[j, j]
            else:
                root[i, i] = np.sqrt(s) if s > 0.0 else np.nan
    return root


# ----------------------------------------------------------------------------- priors


@njit()
def coefficient_prior(coefficients, slope, prior):
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


@njit()
def scaled_factor(theta, log_sigma, correlation, width):
    """``diag(sigma) L``: Cholesky factor of the effects' covariance."""
    factor = np.eye(width)
    if correlation >= 0:
        for i in range(1, width):
            length = _length(theta, correlation, i)
            along = _ratios(length)[0]
            for k in range(i):
                factor[i, k] = along * theta[correlation + k]
            factor[i, i] = 1.0 / np.cosh(length)
            correlation += i
    for i in range(width):
        factor[i] *= np.exp(theta[log_sigma + i])
    return factor


@njit()
def correlations(thetas, log_sigma, correlation, out):
    """Correlations of a group's effects at every theta, into ``out (draw, width, width)``."""
    width = out.shape[1]
    for d in range(thetas.shape[0]):
        theta = thetas[d].copy()
        theta[log_sigma : log_sigma + width] = 0.0
        root = scaled_factor(theta, log_sigma, correlation, width)
        for i in range(width):
            for j in range(i):
                out[d, i, j] = out[d, j, i] = (root[i] * root[j]).sum()
            out[d, i, i] = 1.0


@njit()
def _length(theta, start, size):
    """Of a free vector."""
    square = 0.0
    for k in range(size):
        square += theta[start + k] ** 2
    return np.sqrt(square)


@njit()
def _ratios(a):
    """Of a length: ``f = tanh(a) / a``, ``f' / a``, ``log(sinh(a) / a)`` and its ``' / a``."""
    if a < 1e-3:
        square = a * a
        return (
            1.0 - square / 3.0,
            -2.0 / 3.0 + 8.0 / 15.0 * square,
            square / 6.0,
            1.0 / 3.0 - square / 45.0,
        )
    tanh, cosh = np.tanh(a), np.cosh(a)
    log_sinh = a + np.log1p(-np.exp(-2.0 * a)) - np.log(2.0)
    return (
        tanh / a,
        (a / cosh**2 - tanh) / a**3,
        log_sinh - np.log(a),
        (1.0 / tanh - 1.0 / a) / a,
    )


@njit()
def precision_of(factor):
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
    return _product(np.ascontiguousarray(inverse.T), inverse)


@njit()
def effects_precision(theta, log_sigma, correlation, width, copies):
    """Prior precision of a group's effects, of which ``copies`` at a time have one scale.

    With ``S`` the precision of one of each, it is ``S`` times (Kronecker) the identity.
    """
    one = precision_of(scaled_factor(theta, log_sigma, correlation, width // copies))
    if copies == 1:
        return one
    every = np.zeros((width, width))
    for i in range(one.shape[0]):
        for k in range(one.shape[0]):
            for c in range(copies):
                every[i * copies + c, k * copies + c] = one[i, k]
    return every


@njit()
def effects_prior(theta, layout, effects, g_effects, g_precision):
    """Quadratic part of the effects' prior; its gradients are added to the last two.

    ``g_precision`` holds the adjoint of every factor's ``Pi`` where its ``H`` starts.
    """
    factors = layout[0]
    total = 0.0
    for f in range(factors.shape[0]):
        groups, width, _, log_sigma, correlation, at, own = factors[f, :7]
        precision = effects_precision(theta, log_sigma, correlation, width, factors[f, COPIES])
        for g in range(groups):
            e = at + g * width
            for i in range(width):
                for k in range(width):
                    pull = precision[i, k] * effects[e + k]
                    g_effects[e + i] -= pull
                    g_precision[own + i * width + k] -= 0.5 * effects[e + i] * effects[e + k]
                    total -= 0.5 * effects[e + i] * pull
    return total


@njit()
def _hyper_priors(theta, slope, layout, scale_prior, g_precision):
    """`hyper_prior` of all factors."""
    factors, eta = layout
    total = 0.0
    for f in range(factors.shape[0]):
        groups, width, _, log_sigma, correlation, _, own = factors[f, :7]
        copies = factors[f, COPIES]
        scales = width // copies
        g = np.zeros((scales, scales))
        for i in range(scales):
            for k in range(scales):
                for c in range(copies):
                    g[i, k] += g_precision[own + (i * copies + c) * width + k * copies + c]
        total += hyper_prior(
            theta, slope, g, groups * copies, scales, log_sigma, correlation, eta[f], scale_prior
        )
    return total


@njit()
def hyper_prior(theta, slope, g_precision, groups, width, log_sigma, correlation, eta, scale_prior):
    """Add the adjoints of log sigma and the free vectors; return their log prior.

    ``groups`` (times copies) times the log determinant of the effects' Cholesky factor is
    subtracted, which with the quadratic form is the effects' normal prior.
    """
    kind, scale, df = scale_prior
    factor = scaled_factor(theta, log_sigma, correlation, width)
    precision = precision_of(factor)
    # Pi = (M M')^-1: the adjoint of M is -2 Pi G Pi M, here with G symmetric.
    both = _product(_product(precision, g_precision), precision)
    g_factor = -2.0 * _product(both, factor)
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
        at, power = correlation, width + 2.0 * eta - 2.0
        for i in range(1, width):
            sigma = np.exp(theta[log_sigma + i])
            length = _length(theta, at, i)
            f, f_slope, log_ratio, ratio_slope = _ratios(length)
            along = -f * g_factor[i, i] / np.cosh(length)
            for k in range(i):
                along += f_slope * g_factor[i, k] * theta[at + k]
            along = sigma * along - power * f + (i - 1.0) * ratio_slope
            for k in range(i):
                slope[at + k] += sigma * f * g_factor[i, k] + along * theta[at + k]
            # log cosh, without overflow.
            log_cosh = length + np.log1p(np.exp(-2.0 * length)) - np.log(2.0)
            total += (i - 1.0) * log_ratio - power * log_cosh
            at += i
    return total


# -------------------------------------------------------------------- the map, forwards


@njit()
def eliminate(theta, delta, layout, expansion):
    """Eliminate groups from the inside out.

    Returns
    -------
    tuple
        The log Jacobian; ``s`` of all groups, flat as the effects; ``Q`` flat as ``C``;
        ``K`` flat as ``H``.
    """
    factors = layout[0]
    _, pull, curvature, cross, link, member = expansion
    inner, roots = pull.copy(), curvature.copy()
    inner_links = link.copy()
    total, c = 0.0, delta.shape[0]
    for inside in range(2):
        for f in range(factors.shape[0]):
            groups, width, _, log_sigma, correlation, at, _, crossed, _, parent, copies = factors[f]
            if (parent >= 0) != (inside == 0):
                continue
            precision = effects_precision(theta, log_sigma, correlation, width, copies)
            if crossed >= 0:
                b = cross[crossed : crossed + groups * width * c].reshape(groups * width, c)
                inner[at : at + groups * width] -= times(b, delta)
            total += _unrolled_elimination(factors, f, precision, member, inner, inner_links, roots)
    return total, inner, inner_links, roots


@njit(forceinline=True)
def _unrolled_elimination(factors, f, precision, member, inner, inner_links, roots):
    """`_eliminate_groups` of a factor; a width that the compiler knows has loops unrolled."""
    width, wide = factors[f, WIDTH], factors[max(factors[f, PARENT], 0), WIDTH]
    if width == 1 and (wide == 1 or factors[f, PARENT] < 0):
        return _eliminate_groups(factors, f, 1, 1, precision, member, inner, inner_links, roots)
    if width == 2 and (wide == 2 or factors[f, PARENT] < 0):
        return _eliminate_groups(factors, f, 2, 2, precision, member, inner, inner_links, roots)
    return _eliminate_groups(factors, f, width, wide, precision, member, inner, inner_links, roots)


@njit(forceinline=True)
def _eliminate_groups(factors, f, width, wide, precision, member, inner, inner_links, roots):
    """Replace ``r - B delta``, ``C`` and ``A`` of a factor's groups by ``s``, ``Q`` and ``K``.

    What they leave of the group that they lie in is written too. Returns the log Jacobian.
    Arrays are flat: views of each group's part would cost more than the arithmetic.
    """
    groups, at, own = factors[f, GROUPS], factors[f, EFFECTS], factors[f, OWN]
    links, parent = factors[f, LINKS], factors[f, PARENT]
    total = 0.0
    for g in range(groups):
        e, h, q = at + g * width, own + g * width * width, links + g * width * wide
        determinant = 1.0
        for i in range(width):
            for j in range(i + 1):
                s = roots[h + i * width + j] + precision[i, j]
                for k in range(j):
                    s -= roots[h + i * width + k] * roots[h + j * width + k]
                if i == j:
                    roots[h + i * width + i] = np.sqrt(s)
                else:
                    roots[h + i * width + j] = s / roots[h + j * width + j]
            pivot = roots[h + i * width + i]
            determinant *= pivot
            if i % 4 == 3:
                # The product of all that a smooth has would leave the range of numbers.
                total -= np.log(determinant)
                determinant = 1.0
            s = inner[e + i]
            for k in range(i):
                s -= roots[h + i * width + k] * inner[e + k]
            inner[e + i] = s / pivot
            if parent >= 0:
                for j in range(wide):
                    s = inner_links[q + i * wide + j]
                    for k in range(i):
                        s -= roots[h + i * width + k] * inner_links[q + k * wide + j]
                    inner_links[q + i * wide + j] = s / pivot
        total -= np.log(determinant)
        if parent >= 0:
            outer = member[g]
            e_outer = factors[parent, EFFECTS] + outer * wide
            h_outer = factors[parent, OWN] + outer * wide * wide
            for i in range(width):
                for j in range(wide):
                    left = inner_links[q + i * wide + j]
                    inner[e_outer + j] -= left * inner[e + i]
                    for k in range(wide):
                        roots[h_outer + j * wide + k] -= left * inner_links[q + i * wide + k]
    return total


@njit()
def substitute(vector, layout, expansion, work):
    """Effects of all groups from the outside in, flat."""
    factors, member = layout[0], expansion[5]
    _, inner, inner_links, roots = work
    effects = np.empty(inner.shape[0])
    for inside in range(2):
        for f in range(factors.shape[0]):
            groups, width, epsilon, _, _, at, own, _, links, parent = factors[f, :10]
            if (parent >= 0) != (inside == 1):
                continue
            wide = factors[max(parent, 0), WIDTH]
            for g in range(groups):
                e, h = at + g * width, own + g * width * width
                for i in range(width - 1, -1, -1):
                    s = inner[e + i] + vector[epsilon + g * width + i]
                    if parent >= 0:
                        q = links + (g * width + i) * wide
                        outer = factors[parent, EFFECTS] + member[g] * wide
                        for j in range(wide):
                            s -= inner_links[q + j] * effects[outer + j]
                    for k in range(i + 1, width):
                        s -= roots[h + k * width + i] * effects[e + k]
                    effects[e + i] = s / roots[h + i * width + i]
    return effects


# ------------------------------------------------------------------- the map, backwards


@njit()
def reverse_substitute(gradient, layout, expansion, work, effects, g_effects):
    """Adjoints of ``s``, ``K`` and ``Q`` from those of the effects; epsilon's are written.

    ``g_effects`` of groups that hold others is changed.
    """
    factors, member = layout[0], expansion[5]
    _, inner, inner_links, roots = work
    g_inner, g_roots = np.empty(inner.shape[0]), np.zeros(roots.shape[0])
    g_links = np.zeros(inner_links.shape[0])
    for inside in range(2):
        for f in range(factors.shape[0]):
            groups, width, epsilon, _, _, at, own, _, links, parent = factors[f, :10]
            if (parent >= 0) != (inside == 0):
                continue
            wide = factors[max(parent, 0), WIDTH]
            for g in range(groups):
                e, h = at + g * width, own + g * width * width
                for i in range(width):
                    s = g_effects[e + i]
                    for k in range(i):
                        s -= roots[h + i * width + k] * g_inner[e + k]
                    s /= roots[h + i * width + i]
                    g_inner[e + i] = s
                    gradient[epsilon + g * width + i] = s
                    # K'u = z with z the sum of s, epsilon and -Qv.
                    for k in range(i, width):
                        g_roots[h + k * width + i] -= effects[e + k] * s
                    if parent >= 0:
                        q = links + (g * width + i) * wide
                        outer = factors[parent, EFFECTS] + member[g] * wide
                        for j in range(wide):
                            g_links[q + j] -= s * effects[outer + j]
                            g_effects[outer + j] -= inner_links[q + j] * s
    return g_inner, g_roots, g_links


@njit()
def reverse_eliminate(theta, slope, layout, expansion, scale_prior, work, adjoint, g_precision):
    """Adjoint of theta from those of ``s``, ``K`` and ``Q``, added to ``slope``.

    The log Jacobian's own is included. Returns `_hyper_priors`, whose gradient is added
    too. The adjoint of a Cholesky factor is Murray's (2016, arXiv 1602.07527).
    """
    factors = layout[0]
    cross, member = expansion[3], expansion[5]
    # Adjoints of r - B delta and of A, which the groups inside need.
    g_pull, g_own = np.empty(work[1].shape[0]), np.zeros(work[3].shape[0])
    c = expansion[0].shape[0]
    for inside in range(2):
        for f in range(factors.shape[0]):
            groups, width, _, _, _, at, own, crossed, _, parent = factors[f, :10]
            if (parent >= 0) != (inside == 1):
                continue
            _unrolled_reversal(factors, f, member, work, adjoint, g_pull, g_own)
            for g in range(groups):
                for i in range(width * width):
                    g_precision[own + i] += g_own[own + g * width * width + i]
            if crossed >= 0:
                b = cross[crossed : crossed + groups * width * c].reshape(groups * width, c)
                slope[:c] -= times_turned(b, g_pull[at : at + groups * width])
    return _hyper_priors(theta, slope, layout, scale_prior, g_precision)


@njit(forceinline=True)
def _unrolled_reversal(factors, f, member, work, adjoint, g_pull, g_own):
    """`_reverse_groups` of a factor; a width that the compiler knows has loops unrolled."""
    width, wide = factors[f, WIDTH], factors[max(factors[f, PARENT], 0), WIDTH]
    if width == 1 and (wide == 1 or factors[f, PARENT] < 0):
        _reverse_groups(factors, f, 1, 1, member, work, adjoint, g_pull, g_own)
    elif width == 2 and (wide == 2 or factors[f, PARENT] < 0):
        _reverse_groups(factors, f, 2, 2, member, work, adjoint, g_pull, g_own)
    else:
        _reverse_groups(factors, f, width, wide, member, work, adjoint, g_pull, g_own)


@njit(forceinline=True)
def _reverse_groups(factors, f, width, wide, member, work, adjoint, g_pull, g_own):
    """Write the adjoints of ``r - B delta`` and ``A`` of a factor's groups.

    What the groups that they lie in have been given is complete by then.
    """
    groups, at, own = factors[f, GROUPS], factors[f, EFFECTS], factors[f, OWN]
    links, parent = factors[f, LINKS], factors[f, PARENT]
    _, inner, inner_links, roots = work
    g_inner, g_roots, g_links = adjoint
    left = np.empty(width)
    for g in range(groups):
        e, h, q = at + g * width, own + g * width * width, links + g * width * wide
        if parent >= 0:
            outer = member[g]
            e_outer = factors[parent, EFFECTS] + outer * wide
            h_outer = factors[parent, OWN] + outer * wide * wide
            for i in range(width):
                for j in range(wide):
                    s = inner[e + i] * g_pull[e_outer + j]
                    for k in range(wide):
                        link = inner_links[q + i * wide + k]
                        s += 2.0 * link * g_own[h_outer + k * wide + j]
                    g_links[q + i * wide + j] -= s
                    g_inner[e + i] -= inner_links[q + i * wide + j] * g_pull[e_outer + j]
            for j in range(wide):
                for i in range(width - 1, -1, -1):
                    s = g_links[q + i * wide + j]
                    for k in range(i + 1, width):
                        s -= roots[h + k * width + i] * left[k]
                    left[i] = s / roots[h + i * width + i]
                for i in range(width):
                    for k in range(i + 1):
                        g_roots[h + i * width + k] -= left[i] * inner_links[q + k * wide + j]
        for i in range(width - 1, -1, -1):
            s = g_inner[e + i]
            for k in range(i + 1, width):
                s -= roots[h + k * width + i] * g_pull[e + k]
            g_pull[e + i] = s / roots[h + i * width + i]
        for i in range(width):
            for k in range(i + 1):
                g_roots[h + i * width + k] -= g_pull[e + i] * inner[e + k]
            g_roots[h + i * width + i] -= 1.0 / roots[h + i * width + i]
        # Phi(K' G): lower triangle with the diagonal halved, then made symmetric.
        for i in range(width):
            for j in range(i + 1):
                s = 0.0
                for k in range(i, width):
                    s += roots[h + k * width + i] * g_roots[h + k * width + j]
                g_own[h + i * width + j] = 0.5 * s
                g_own[h + j * width + i] = 0.5 * s
        # K'^-1 half K^-1: solve from the left on columns, then on rows.
        for j in range(width):
            for i in range(width - 1, -1, -1):
                s = g_own[h + i * width + j]
                for k in range(i + 1, width):
                    s -= roots[h + k * width + i] * g_own[h + k * width + j]
                g_own[h + i * width + j] = s / roots[h + i * width + i]
        for i in range(width):
            for j in range(width - 1, -1, -1):
                s = g_own[h + i * width + j]
                for k in range(j + 1, width):
                    s -= roots[h + k * width + j] * g_own[h + i * width + k]
                g_own[h + i * width + j] = s / roots[h + j * width + j]
