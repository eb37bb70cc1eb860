"""The log density with the effects of one factor's groups integrated out, compiled.

Where groups have few rows each, households say, their effects are many, known badly, and far
from normal given everything else: what a map leaves of that, summed over thousands of groups,
is noise in which scales and correlations move slowly. Given everything else such groups are
independent, so that each has an integral over its own effects, and there are no more than two
or so of these. With `bayesmig.inference.target`'s map ``u = m + K'^-1 z``, which is centred and
scaled where the group's effects are, the integral is adaptive Gauss-Hermite quadrature (Liu and
Pierce 1994, doi 10.1093/biomet/81.3.624) over a grid of nodes ``z_k``,

    sum_k w_k exp(|z_k|^2 / 2) p(rows of the group | u_k) p(u_k) / prod K_ii,

and the gradient of its logarithm is the mean of the nodes' gradients by their shares of the
sum. The rows of a group follow each other; a row's linear part is computed once, not at every
node.

Where a group's effects vary more, constants lie further out for the same shares of choices, by
about half the variance where an alternative is rare: a ridge that bends in ``log sigma``. The
coefficients are therefore ``y + G (sigma^2 - at)`` of white coordinates ``y``, with a ``G`` that
takes the ridge's slope where its centre is; this has no Jacobian.

The argument ``integral`` of the functions is

``factor``
    Number of the factor, whose effects are constants of the utilities.
``points``, ``grid``, ``log_weights``
    Quadrature points along one effect; which of them a node has, ``(nonbase, node)``; and
    ``log w_k + |z_k|^2 / 2`` of nodes.
``group``, ``rows``
    Groups in the order of the blocks, and the first row of each there, and one more.
``bend``
    Where log sigma of all factors lie in theta, ``(scale,)``; ``at``; and ``G``, ``(scale,
    coefficient)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmig.inference.compiled import njit
from bayesmig.inference.kernel import (
    as_bits,
    exp_near_zero,
    exponentials,
    log_series,
    subtract_slopes,
    utilities,
)
from bayesmig.inference.memory import BLOCK, EPSILON, GROUPS, WIDTH
from bayesmig.inference.target import (
    coefficient_prior,
    effects_precision,
    effects_prior,
    eliminate,
    reverse_eliminate,
    reverse_substitute,
    substitute,
    times,
    times_turned,
)

_SUMS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}}
#: Rows whose sums are multiplied before a logarithm is taken; and the parts of an effect beyond
#: which exponentials stop, so that the product is a number. No posterior reaches so far.
_ROWS, _FAR = 4, 50.0
#: Degrees of freedom of candidates; Newton steps to where they are centred, and their length.
_DF, _STEPS, _LONGEST = 5.0, 8, 2.0


@njit()
def integrated_log_density(
    vector, gradient, data, chosen, integral, whitening, prior, scale_prior, layout, expansion
):
    """Log posterior density up to a constant; its gradient is written.

    Parameters
    ----------
    vector, gradient
        Both ``(size,)``: the coordinates of theta, and of the effects that are not integrated
        over; the second is overwritten.
    integral
        See the module.
    data, chosen, whitening, prior, scale_prior, layout, expansion
        As for `bayesmig.inference.target.log_density`. Sums are of double precision, whatever
        the rows are.
    """
    root = whitening[1]
    c, t = expansion[0].shape[0], root.shape[0]
    factors, which, bend = layout[0], integral[0], integral[6]
    groups, width, _, log_sigma, correlation, at, own = factors[which, :7]
    theta, slope = bent(vector, whitening, bend, c), np.zeros(t)
    coefficients = theta[:c]
    work = eliminate(theta, coefficients - expansion[0], layout, expansion)
    whole = spread_out(vector, factors, which, t, work[1].shape[0])
    effects = substitute(whole, layout, expansion, work)
    centres = effects[at : at + groups * width].copy().reshape(groups, width)
    roots = work[3][own : own + groups * width**2].reshape(groups, width, width)
    precision = effects_precision(theta, log_sigma, correlation, width, 1)
    effects[at : at + groups * width] = 0.0
    g_effects = np.empty(effects.shape[0])
    n_person = chosen[0].size
    parameters = coefficients[:n_person].reshape(chosen[0].shape), coefficients[n_person:], effects
    slopes = slope[:n_person].reshape(chosen[0].shape), slope[n_person:c], g_effects
    pulls = chosen[2][at : at + groups * width].reshape(groups, width)
    total, means, spread, squares = _log_likelihood(
        data, chosen, integral, parameters, slopes, (pulls, centres, roots, precision)
    )
    total += work[0] + coefficient_prior(coefficients, slope, prior)
    g_precision = np.zeros(expansion[2].shape[0])
    # Effects that are integrated over are zero here, and add nothing.
    total += effects_prior(theta, layout, effects, g_effects, g_precision)
    for i in range(width):
        for k in range(width):
            g_precision[own + i * width + k] -= 0.5 * squares[i, k]
            for g in range(groups):
                g_effects[at + g * width + i] -= precision[i, k] * means[g, k]
    effects[at : at + groups * width] = means.ravel()
    of_all = np.empty(whole.shape[0])
    adjoint = reverse_substitute(of_all, layout, expansion, work, effects, g_effects)
    _add_spread(adjoint[1][own:], roots, spread)
    total += reverse_eliminate(
        theta, slope, layout, expansion, scale_prior, work, adjoint, g_precision
    )
    for j in range(bend[0].shape[0]):
        of_square = (bend[2][j] * slope[:c]).sum()
        slope[bend[0][j]] += 2.0 * np.exp(2.0 * theta[bend[0][j]]) * of_square
    gradient[:t] = times_turned(root, slope)
    first = t
    for f in range(factors.shape[0]):
        if f != which:
            start, size = factors[f, EPSILON], factors[f, GROUPS] * factors[f, WIDTH]
            gradient[first : first + size] = of_all[start : start + size]
            first += size
    return total


@njit()
def draw_effects(
    vectors, seed, candidates, data, chosen, integral,
    whitening, prior, scale_prior, layout, expansion, thetas, effects,
):  # fmt: skip
    """Theta and all effects at vectors of coordinates, ``(draw, ...)``.

    Those that are integrated over are drawn among candidates around their mode given the rest,
    by their densities over the candidates': Student's t with `_DF` degrees of freedom, since a
    group of which somebody chose what is rare has a long tail on one side.

    Parameters
    ----------
    vectors
        ``(draw, size)``, as of `integrated_log_density`.
    seed
        Of the first draw; every further one has the next.
    candidates
        Number of them.
    thetas, effects
        Overwritten.
    """
    c, t = expansion[0].shape[0], whitening[0].shape[0]
    factors, (which, _, _, _, group, rows, bend) = layout[0], integral
    groups, width, _, log_sigma, correlation, at = factors[which, :6]
    counts, nonbase = data[4], data[10]
    n_person = chosen[0].size
    tried, logs = np.zeros((candidates, width)), np.zeros(candidates)
    power = np.zeros(candidates)
    slope, root_k = np.zeros(width), np.zeros((width, width))
    for s in range(vectors.shape[0]):
        np.random.seed(seed + s)
        theta = bent(vectors[s], whitening, bend, c)
        work = eliminate(theta, theta[:c] - expansion[0], layout, expansion)
        whole = spread_out(vectors[s], factors, which, t, work[1].shape[0])
        found = substitute(whole, layout, expansion, work)
        precision = effects_precision(theta, log_sigma, correlation, width, 1)
        others = found.copy()
        others[at : at + groups * width] = 0.0
        beta = theta[:n_person].reshape(chosen[0].shape)
        v = _linear_parts(data, (beta, theta[n_person:c], others))
        for k in range(groups):
            e = at + group[k] * width
            here = found[e : e + width]
            pulls = chosen[2][e : e + width]
            _climb(v, counts, nonbase, rows[k], rows[k + 1], pulls, precision, here, slope, root_k)
            for m in range(candidates):
                logs[m] = 0.0
                for i in range(width - 1, -1, -1):
                    z = np.random.standard_normal()
                    z /= np.sqrt(np.random.chisquare(_DF) / _DF)
                    logs[m] += 0.5 * (_DF + 1.0) * np.log1p(z * z / _DF)
                    for j in range(i + 1, width):
                        z -= root_k[j, i] * (tried[m, j] - here[j])
                    tried[m, i] = here[i] + z / root_k[i, i]
                here_rows = v, counts, nonbase, rows[k], rows[k + 1]
                logs[m] += _log_density(here_rows, pulls, precision, tried[m])
            _shares(logs, power, power.view(np.int64))
            left, chosen_one = np.random.random(), candidates - 1
            for m in range(candidates):
                left -= logs[m]
                if left < 0.0:
                    chosen_one = m
                    break
            for i in range(width):
                found[e + i] = tried[chosen_one, i]
        thetas[s], effects[s] = theta, found


@njit()
def _log_density(rows, pulls, precision, u):
    """Log density of a group's effects given all else, up to a constant."""
    v, counts, nonbase, first, stop = rows
    value = 0.0
    for i in range(u.shape[0]):
        value += pulls[i] * u[i]
        for j in range(u.shape[0]):
            value -= 0.5 * u[i] * precision[i, j] * u[j]
    for row in range(first, stop):
        block, i = row // BLOCK, row % BLOCK
        top = v[block, :, i].max() + np.abs(u).max()
        total = 0.0
        for j in range(v.shape[1]):
            one = v[block, j, i] - top
            for w in range(u.shape[0]):
                if nonbase[w] == j:
                    one += u[w]
            total += np.exp(one)
        value -= counts[block, i] * (top + np.log(total))
    return value


@njit()
def _climb(v, counts, nonbase, first, stop, pulls, precision, u, slope, root):
    """Newton steps to the mode of a group's effects given all else, and the root there."""
    width = u.shape[0]
    p = np.zeros(width)
    for _ in range(_STEPS):
        for i in range(width):
            slope[i] = pulls[i]
            for j in range(width):
                slope[i] -= precision[i, j] * u[j]
                root[i, j] = precision[i, j]
        for row in range(first, stop):
            block, i = row // BLOCK, row % BLOCK
            n, top, total = counts[block, i], 0.0, 0.0
            for j in range(v.shape[1]):
                top = max(top, v[block, j, i])
            for w in range(width):
                top = max(top, v[block, nonbase[w], i] + u[w])
            for j in range(v.shape[1]):
                moved = v[block, j, i]
                for w in range(width):
                    if nonbase[w] == j:
                        moved += u[w]
                one = np.exp(moved - top)
                total += one
                for w in range(width):
                    if nonbase[w] == j:
                        p[w] = one
            for w in range(width):
                p[w] /= total
            for w in range(width):
                slope[w] -= n * p[w]
                for o in range(width):
                    root[w, o] += n * p[w] * ((1.0 if w == o else 0.0) - p[o])
        for i in range(width):
            for j in range(i + 1):
                s = root[i, j]
                for m in range(j):
                    s -= root[i, m] * root[j, m]
                root[i, j] = np.sqrt(s) if i == j else s / root[j, j]
        for i in range(width):
            for m in range(i):
                slope[i] -= root[i, m] * slope[m]
            slope[i] /= root[i, i]
        for i in range(width - 1, -1, -1):
            for m in range(i + 1, width):
                slope[i] -= root[m, i] * slope[m]
            slope[i] /= root[i, i]
        # The density is concave in its logarithm: short steps upwards arrive.
        for i in range(width):
            u[i] += min(max(slope[i], -_LONGEST), _LONGEST)


@njit()
def bent(vector, whitening, bend, c):
    """Theta, the first ``c`` of which are coefficients, at coordinates."""
    centre, root = whitening
    theta = centre + times(root, vector[: centre.shape[0]])
    for j in range(bend[0].shape[0]):
        theta[:c] += bend[2][j] * (np.exp(2.0 * theta[bend[0][j]]) - bend[1][j])
    return theta


@njit()
def spread_out(vector, factors, which, t, n_effects):
    """The vector of all effects' coordinates: zero for those that are integrated over."""
    whole, at = np.zeros(t + n_effects), t
    whole[:t] = vector[:t]
    for f in range(factors.shape[0]):
        if f != which:
            first, size = factors[f, EPSILON], factors[f, GROUPS] * factors[f, WIDTH]
            whole[first : first + size] = vector[at : at + size]
            at += size
    return whole


@njit()
def _add_spread(g_roots, roots, spread):
    """Add to the adjoints of ``K`` what means of effects have not said.

    That adjoint has products of a node's effects with ``K^-1`` times its slopes; the mean of
    the products is that of the means, which is in it already, and their covariance.
    """
    groups, width = roots.shape[:2]
    for g in range(groups):
        for k in range(width):
            for i in range(width):
                s = spread[g, k, i]
                for j in range(i):
                    s -= roots[g, i, j] * spread[g, k, j]
                s /= roots[g, i, i]
                spread[g, k, i] = s
                if k >= i:
                    g_roots[(g * width + k) * width + i] -= s


@njit(forceinline=True, **_SUMS)
def _before_the_rows(log_weights, pulls, precision, u, share):
    """Fill the logarithms of nodes' shares with all that no row has a part in."""
    width, q = u.shape
    for node in range(q):
        share[node] = log_weights[node]
    for w in range(width):
        pull = pulls[w]
        for node in range(q):
            share[node] += pull * u[w, node]
        for other in range(width):
            of = 0.5 * precision[w, other]
            for node in range(q):
                share[node] -= of * u[w, node] * u[other, node]


@njit(forceinline=True, **_SUMS)
def _moments(g, nodes, pulls, precision, found):
    """Means of a group's effects over nodes, and of their products with slopes and each other."""
    share, u, b, drawn, _ = nodes
    means, spread, squares = found
    width, q = u.shape
    for w in range(width):
        mean, slope = 0.0, 0.0
        for node in range(q):
            slope_here = pulls[g, w] - b[w, node] * drawn[w, node]
            for other in range(width):
                slope_here -= precision[w, other] * u[other, node]
            drawn[w, node] = slope_here
            mean += share[node] * u[w, node]
            slope += share[node] * slope_here
        means[g, w] = mean
        for other in range(width):
            both, square = 0.0, 0.0
            for node in range(q):
                both += share[node] * u[other, node] * drawn[w, node]
                square += share[node] * u[other, node] * u[w, node]
            spread[g, other, w] = both
            squares[other, w] += square
        for other in range(width):
            mean = 0.0
            for node in range(q):
                mean += share[node] * u[other, node]
            spread[g, other, w] -= mean * slope


@njit(forceinline=True, **_SUMS)
def _mean_rows(start, stop, nodes, nonbase, base, a):
    """Mean probabilities over nodes of a group's rows, in place of their exponentials."""
    share, u, b, _, inverse = nodes
    width, q = u.shape
    for row in range(start, stop):
        block, i, to = row // BLOCK, row % BLOCK, row - start
        s = 0.0
        for node in range(q):
            s += share[node] * inverse[to, node]
        a[block, base, i] *= s
        for w in range(width):
            s = 0.0
            for node in range(q):
                s += share[node] * b[w, node] * inverse[to, node]
            a[block, nonbase[w], i] *= s


@njit(**_SUMS)
def _log_likelihood(data, chosen, integral, parameters, slopes, groups_):
    """Sum of the groups' log integrals, and of what is linear in parameters.

    With ``a_ij`` the exponential of a row's linear part and ``b_jk`` that of a node's effects,
    the row's sum of exponentials at the node is ``sum_j a_ij b_jk``: exponentials are those of
    rows and of nodes, not of both.

    Parameters
    ----------
    data, chosen, integral
        See the module.
    parameters, slopes
        ``beta``, ``gamma`` and all effects, those that are integrated over at zero; the second
        are overwritten with the gradient by them, of these effects the nodes' mean.
    groups_
        Of every group that is integrated over: sums of the chosen utilities, centre and root
        of its nodes; and the prior precision of effects.

    Returns
    -------
    tuple
        The value, constants of quadrature left out; means of effects, ``(group, nonbase)``;
        covariances of effects and their slopes, ``(group, nonbase, nonbase)``; and the sum
        over groups of mean products of effects.
    """
    _, points, grid, log_weights, group, rows, _ = integral
    pulls, centres, roots, precision = groups_
    counts, nonbase = data[4], data[10]
    width, q = grid.shape
    base = width * (width + 1) // 2 - nonbase.sum()
    a, value = _row_parts(data, parameters)
    means, spread = np.zeros((len(centres), width)), np.zeros((len(centres), width, width))
    squares, most = np.zeros((width, width)), 1
    for k in range(group.shape[0]):
        most = max(most, rows[k + 1] - rows[k])
    u, b, drawn = np.zeros((width, q)), np.zeros((width, q)), np.zeros((width, q))
    inverse, share, product = np.zeros((most, q)), np.zeros(q), np.ones(q)
    power = np.zeros(q)
    inverted, scratch = np.zeros((width, width)), np.zeros((width, points.shape[0]))
    for k in range(group.shape[0]):
        g, start = group[k], rows[k]
        _at_nodes(points, grid, centres, roots, g, inverted, scratch, u, b)
        _before_the_rows(log_weights, pulls[g], precision, u, share)
        drawn[:] = 0.0
        for row in range(start, rows[k + 1]):
            block, i, to = row // BLOCK, row % BLOCK, row - start
            n, first = counts[block, i], a[block, base, i]
            for node in range(q):
                inverse[to, node] = first
            for w in range(width):
                one = a[block, nonbase[w], i]
                for node in range(q):
                    inverse[to, node] += one * b[w, node]
            if n == 1.0:
                for node in range(q):
                    product[node] *= inverse[to, node]
            else:
                for node in range(q):
                    share[node] -= n * np.log(inverse[to, node])
            if to % _ROWS == _ROWS - 1 or row == rows[k + 1] - 1:
                _subtract_logs(product, power, power.view(np.int64), share)
                product[:] = 1.0
            for node in range(q):
                inverse[to, node] = n / inverse[to, node]
            for w in range(width):
                one = a[block, nonbase[w], i]
                for node in range(q):
                    drawn[w, node] += one * inverse[to, node]
        value += _shares(share, power, power.view(np.int64))
        nodes = share, u, b, drawn, inverse
        _moments(g, nodes, pulls, precision, (means, spread, squares))
        _mean_rows(start, rows[k + 1], nodes, nonbase, base, a)
    value += _gradient(data, chosen, parameters, a, slopes)
    return value, means, spread, squares


@njit()
def _linear_parts(data, parameters):
    """Utilities of all rows, ``(block, alternative, BLOCK)``."""
    beta, gamma, effects = parameters
    b, blocks = beta.T.copy(), data[4].shape[0]
    v = np.empty((blocks, data[10].shape[0] + 1, BLOCK))
    for block in range(blocks):
        utilities(v[block], block, data, b, gamma, effects)
    return v


@njit()
def _row_parts(data, parameters):
    """Exponentials of utilities less each row's highest; minus the sum of the highest."""
    v, counts = _linear_parts(data, parameters), data[4]
    power, value = np.zeros(BLOCK), 0.0
    for block in range(v.shape[0]):
        here = v[block]
        for i in range(BLOCK):
            top = here[0, i]
            for j in range(1, here.shape[0]):
                top = max(top, here[j, i])
            for j in range(here.shape[0]):
                here[j, i] -= top
            value -= counts[block, i] * top
        for j in range(here.shape[0]):
            exponentials(here[j], power, as_bits(power))
    return v, value


@njit()
def _gradient(data, chosen, parameters, mean, slopes):
    """Write the gradient from rows' mean probabilities; return what is linear in parameters."""
    g_beta, g_gamma, g_effects = slopes
    g_x, (beta, gamma, effects) = chosen[0].T.copy(), parameters
    g_gamma[:], g_effects[:] = chosen[1], chosen[2]
    value = (chosen[0] * beta).sum() + (chosen[1] * gamma).sum() + (chosen[2] * effects).sum()
    for block in range(mean.shape[0]):
        subtract_slopes(mean[block], block, data, g_x, g_gamma, g_effects)
    g_beta[:] = g_x.T
    return value


@njit(forceinline=True)
def _at_nodes(points, grid, centres, roots, g, inverted, scratch, u, b):
    """A group's effects ``m + K'^-1 z`` at all nodes, ``(nonbase, node)``, and exponentials.

    A node's effect is a sum of parts, one for each coordinate of the grid, and its
    exponential a product of those of few points.
    """
    width, q = grid.shape
    for i in range(width - 1, -1, -1):
        for j in range(i, width):
            s = 1.0 if i == j else 0.0
            for m in range(i + 1, j + 1):
                s -= roots[g, m, i] * inverted[m, j]
            inverted[i, j] = s / roots[g, i, i]
    for w in range(width):
        centre = centres[g, w]
        exponential = np.exp(min(max(centre, -_FAR), _FAR))
        for node in range(q):
            u[w, node], b[w, node] = centre, exponential
        for j in range(w, width):
            for point in range(points.shape[0]):
                part = inverted[w, j] * points[point]
                scratch[j, point] = np.exp(min(max(part, -_FAR), _FAR))
            for node in range(q):
                u[w, node] += inverted[w, j] * points[grid[j, node]]
                b[w, node] *= scratch[j, grid[j, node]]


@njit(forceinline=True)
def _subtract_logs(values, power, bits, out):
    """``out -= log(values)``, as `bayesmig.inference.kernel` takes logarithms of blocks."""
    n = values.shape[0]
    for i in range(n):
        power[i] = values[i]
    for i in range(n):
        e = (bits[i] - 0x3FE6A09E667F3BCD) >> 52
        bits[i] -= e << 52
        out[i] -= np.float64(e) * 6.93147180559945286227e-01
    for i in range(n):
        f = power[i] - 1.0
        s = f / (2.0 + f)
        z = s * s
        r = log_series(z)
        square = 0.5 * f * f
        out[i] -= s * (square + r) - square + f


@njit(forceinline=True)
def _shares(logs, power, bits):
    """Replace logarithms by their exponentials' shares; return the log of their sum."""
    n, top, total = logs.shape[0], logs[0], 0.0
    for i in range(n):
        top = max(top, logs[i])
    for i in range(n):
        v = max(logs[i] - top, -700.0)
        logs[i] = v
        power[i] = v * 1.4426950408889634 + 6755399441055744.0
    for i in range(n):
        k = power[i] - 6755399441055744.0
        r = (logs[i] - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10
        logs[i] = exp_near_zero(r)
    for i in range(n):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(n):
        logs[i] *= power[i]
        total += logs[i]
    for i in range(n):
        logs[i] /= total
    return top + np.log(total)
