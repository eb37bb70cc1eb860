"""Draws of a pseudo-posterior, given the spread that the sampling design implies.

A likelihood with weights that sum to the rows takes as many independent people for asked as
there are rows. Its draws are centred where they should be, and too sure of themselves where
weights vary and people of one sampling unit are alike. Williams and Savitsky (2021,
doi 10.1111/insr.12376; R package csSampling) move them:

    theta* = m + (theta - m) R2^-1 R1,   R1'R1 = S (J + P) S,   R2'R2 = S

with ``m`` and ``S`` the mean and covariance of the draws of all parameters that are shared,
on an unbounded scale (coefficients, log standard deviations, free vectors of correlations), and
``J`` the covariance over samples of the weighted score at ``m``, by PSU within strata or by
replicate weights. ``S`` stands for the inverse of the curvature ``H`` of the log posterior, which
it is to first order. ``P`` is the curvature of the priors at the top of the hierarchy: what they
tell does not vary over samples, and without it a direction that only a prior informs would
collapse to a point. Where the weighted likelihood is that of a simple random sample, ``J + P``
is ``H`` and nothing moves. The spread of scales and correlations is never made smaller.

Effects of groups are integrated out of the score. With ``l_i`` the log-likelihood of a row and
``s`` the score of the complete data, Fisher's identity gives the score of a unit (a group, with
those in it) as the mean of ``s`` over its effects given the data. A unit within one PSU stays in
the sample or leaves it with that PSU, and is a part of the PSU's score as a whole. To one that
several PSUs share, a row adds its influence, the derivative by its weight:
``E[s_i] + Cov(l_i, s)``. Given theta, effects keep their pseudo-posterior: they are moved with
theta along the map, with the same epsilon, and what more a design says of one group's effect is
not corrected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesmig.choice.probabilities import log_probabilities
from bayesmig.choice.utility import Coefficients, Columns, take_rows
from bayesmig.design.design import Design
from bayesmig.errors import InferenceError
from bayesmig.inference.approximate import Proposal, supports
from bayesmig.inference.density import Density
from bayesmig.inference.layout import Factor, labels_of_theta
from bayesmig.inference.machine_code import Library
from bayesmig.survey.redrawing import Redrawing
from bayesmig.survey.sampling import Sampling, summed

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
target = Library("bayesmig.inference.target")
#: Pairs of nodes of every unit's effects, at most and at least, and numbers that they may be.
_PAIRS, _FEWEST_PAIRS, _NODE_NUMBERS = 256, 8, 20_000_000
#: Effects of a group -> points of quadrature for each.
_POINTS = {1: 21, 2: 13, 3: 7}
#: Rows that are one unit where there are no groups.
_ROWS = 20_000
#: Draws whose effects are moved together, times effects (80 MB).
_MOVED = 10_000_000
#: Steps to the mode of groups' effects, and how small the last one is.
_NEWTON, _STILL = 100, 1e-9
#: Units beyond the first of a group, for every effect, from which a matrix of ratios is told.
_UNITS_PER_EFFECT = 10
#: Step of numerical derivatives over log scales and free vectors, which are of order one.
_STEP = 1e-4


@dataclass(frozen=True, slots=True)
class Nodes:
    """Effects of all groups at some points, and how much each point counts in every unit.

    Attributes
    ----------
    effects
        Factor -> ``(node, group, nonbase, term)``.
    shares
        ``(node, unit)``, columns sum to one.
    units
        Unit of every row, ``(obs,)``.
    """

    effects: dict[str, Array]
    shares: Array
    units: Codes


def corrected(
    design: Design, posterior: xr.Dataset, sampling: Sampling, *, seed: int
) -> tuple[xr.Dataset, xr.Dataset]:
    """Move the draws of a pseudo-posterior to the spread that a sampling design implies.

    Parameters
    ----------
    design
        Theory × survey, its likelihood weighted.
    posterior
        Draws of all parameters, dims ``(chain, draw, ...)``.
    sampling
        How the survey was drawn.
    seed
        Of the nodes over which effects are integrated out.

    Returns
    -------
    tuple
        The moved draws, and over ``global``: ``mean``, ``covariance`` before and
        ``covariance_corrected``, ``score_covariance`` and ``design_effect``, the ratio of
        variances after and before.

    Raises
    ------
    InferenceError
        Where factors of groups cross each other, or where the design has too few degrees of
        freedom for the parameters.
    """
    density = Density(design)
    refuse_crossed(density)
    theta = theta_of(density, posterior)
    mean = theta.mean(axis=0)
    before = np.atleast_2d(np.cov(theta, rowvar=False))
    sums = score_sums(density, mean, sampling, seed=seed)
    of_score = sampling.covariance(sums)
    informed = of_score + prior_curvature(density, mean)
    after = _scales_no_surer(before, before @ informed @ before, density.layout.n_coefficients)
    moved = mean + (theta - mean) @ transformation(before, after, sampling)
    found = _moved(density, posterior, theta, moved, effect_spreads(density, mean, sampling))
    dims = ("global", "global_other")
    labels = labels_of_theta(density.design, density.layout)
    known = xr.Dataset(
        {
            "mean": ("global", mean),
            "covariance": (dims, before),
            "covariance_corrected": (dims, after),
            "score_covariance": (dims, of_score),
            "design_effect": ("global", np.diag(after) / np.diag(before)),
        },
        {"global": labels, "global_other": labels},
        {
            "note": sampling.note + _shared(density, sampling),
            "degrees_of_freedom": sampling.degrees_of_freedom,
        },
    )
    redrawing = Redrawing.of(sampling)
    if not density.layout.factors:
        told = redrawing.loadings(sums, sampling) @ before
        rest = _root(after - told.T @ told)
        redrawing = replace(redrawing, away=moved - mean, told=told, rest=rest)
    return found, known.merge(redrawing.to_dataset())


def _scales_no_surer(before: Array, after: Array, first: int) -> Array:
    """The covariance after, with that of scales and correlations no smaller than before.

    Near the edge of what is possible, as a scale near zero, the score hardly varies and says
    nothing of how wide the posterior is.
    """
    if first == len(before):
        return after
    found, root = after.copy(), np.linalg.cholesky(before[first:, first:])
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ after[first:, first:] @ inverse.T)
    short = root @ vectors
    found[first:, first:] += (short * np.maximum(1 - values, 0)) @ short.T
    return found


def _shared(density: Density, sampling: Sampling) -> str:
    """That groups which several PSUs share are taken as given, in words; empty without any."""
    if not density.layout.factors or sampling.replicates is not None:
        return ""
    outer = density.layout.factors[density.problem.outer].by
    units = density.design.columns.groups[outer][0]
    if (_psus_within(units, sampling.psus) <= 1).all():
        return ""
    return f"; several share a group of {outer}: the spread is over samples from these same groups"


def refuse_crossed(density: Density) -> None:
    """Refuse factors that cross each other, whose groups are no units that could be drawn.

    Raises
    ------
    InferenceError
        Where there are any.
    """
    if supports(density):
        return
    names = ", ".join(factor.by for factor in density.layout.factors)
    raise InferenceError(
        f"groups that cross each other ({names}) are not covered by the correction for the "
        "sampling design",
        where="key weights",
        mend='keep groups that lie in each other, or let the theory say weights = "estimand"',
    )


def transformation(before: Array, after: Array, sampling: Sampling) -> Array:
    """``R2^-1 R1``, by which deviations from the mean are multiplied from the right."""
    try:
        return np.asarray(
            np.linalg.solve(np.linalg.cholesky(before).T, np.linalg.cholesky(after).T)
        )
    except np.linalg.LinAlgError as err:
        raise InferenceError(
            f"the sampling design has {sampling.degrees_of_freedom:,} degrees of freedom, and "
            f"{len(before)} parameters have a spread that it should tell",
            where="key weights",
            mend="state proper priors, or a theory with fewer parameters",
        ) from err


# ----------------------------------------------------------------------- coordinates


def theta_of(density: Density, posterior: xr.Dataset) -> Array:
    """Theta of every draw, ``(draw, theta)``: coefficients, log scales, free vectors."""

    def flat(name: str) -> Array:
        values = posterior[name].transpose("chain", "draw", ...).to_numpy()
        return np.asarray(values.reshape(values.shape[0] * values.shape[1], -1))

    parts = [flat(name) for name in ("beta", "beta_only", "gamma") if name in posterior]
    for factor in density.layout.factors:
        parts.append(np.log(flat(f"sigma_{factor.by}")))
        if factor.correlation is not None:
            matrices = flat(f"corr_{factor.by}").reshape(-1, factor.scales, factor.scales)
            parts.append(free_vectors(matrices))
    return np.concatenate(parts, axis=1)


def free_vectors(correlations: Array) -> Array:
    """Free vectors of correlation matrices, ``(draw, width (width - 1) / 2)``.

    Row ``i`` of the Cholesky factor is ``(tanh(a) w / a, 1 / cosh(a))`` with ``a = |w|``.
    """
    root, parts = np.linalg.cholesky(correlations), []
    for i in range(1, root.shape[1]):
        row, length = root[:, i, :i], np.linalg.norm(root[:, i, :i], axis=1)
        a = np.arctanh(np.minimum(length, 1 - 1e-15))
        parts.append(
            row * np.where(length > 0, a / np.where(length > 0, length, 1.0), 1.0)[:, None]
        )
    return np.concatenate(parts, axis=1)


def _moved(
    density: Density,
    posterior: xr.Dataset,
    theta: Array,
    moved: Array,
    spreads: Array | None = None,
) -> xr.Dataset:
    """The draws at other thetas, their effects with the same epsilon, or with one spread anew."""
    layout, n = density.layout, len(theta)
    effects = np.zeros((n, layout.n_effects))
    for f in layout.factors:
        values = posterior[f"u_{f.by}"].transpose("chain", "draw", ...).to_numpy()
        effects[:, f.effects.start : f.effects.stop] = values.reshape(n, -1)
    step = max(1, _MOVED // max(1, layout.size))
    for k in range(0, n, step) if layout.factors else ():
        part = slice(k, k + step)
        epsilon = epsilon_of(density, theta[part], effects[part])
        if spreads is not None:
            of_groups = epsilon.reshape(len(epsilon), *spreads.shape[:2])
            epsilon = np.einsum("dgi,gij->dgj", of_groups, spreads).reshape(epsilon.shape)
        effects[part] = _effects_at(density, moved[part], epsilon)
    named = density.named(moved, effects)
    lead = posterior.sizes["chain"], posterior.sizes["draw"]
    return xr.Dataset(
        {
            str(name): (of.dims, named[str(name)].reshape(*lead, *of.shape[2:]))
            for name, of in posterior.transpose("chain", "draw", ...).data_vars.items()
        },
        posterior.coords,
    )


def epsilon_of(density: Density, theta: Array, effects: Array) -> Array:
    """What the map made effects of, ``(draw, effect)``: given theta it is affine in epsilon."""
    problem, epsilon = density.problem, np.zeros_like(effects)
    factors = [k for k in (problem.outer, problem.inner) if k >= 0]
    for factor in (density.layout.factors[k] for k in factors):
        shape = (len(theta), factor.groups, factor.width)
        part = slice(factor.effects.start, factor.effects.stop)
        at_zero = _effects_at(density, theta, epsilon)[:, part].reshape(shape)
        columns = []
        for k in range(factor.width):
            one = epsilon.copy()
            one[:, part].reshape(shape)[:, :, k] = 1.0
            columns.append(_effects_at(density, theta, one)[:, part].reshape(shape) - at_zero)
        away = effects[:, part].reshape(shape) - at_zero
        solved = np.linalg.solve(np.stack(columns, axis=-1), away[..., None])[..., 0]
        epsilon[:, part] = solved.reshape(len(theta), -1)
    return epsilon


def effect_spreads(density: Density, theta: Array, sampling: Sampling) -> Array | None:
    """What a group's epsilon is multiplied by, for the spread that a design gives its effects.

    Given theta, effects of a group have a sandwich of their own, ``H^-1 (J + P) H^-1`` with ``H``
    the curvature of their log posterior, ``P`` that of their prior and ``J`` the covariance of
    their weighted score over samples of the same groups: by PSU in groups that several PSUs
    share, by the units drawn within a PSU in others. A group's own ``J`` would be one of a few
    units. It is ``K^{1/2} D K^{1/2}`` with ``K = H - P``, and ``D`` of all groups together:
    the sum of ``J``, seen in the metric of the sum of ``K``.

    Returns
    -------
    ndarray
        ``(group, effect, effect)``, to be multiplied from the right; ``None`` where there is no
        factor, or where one lies in another.
    """
    if len(density.layout.factors) != 1:
        return None
    [factor] = density.layout.factors
    place = -1 if factor.correlation is None else factor.correlation.start
    root = target.scaled_factor(theta, factor.log_sigma.start, place, factor.width)
    prior = np.linalg.inv(root @ root.T)
    scores_, of_rows = _at_mode(density, theta, factor, sampling.weights, prior)
    groups = density.design.columns.groups[factor.by][0]
    information = summed(of_rows, groups, factor.groups)
    before = np.linalg.inv(information + prior)
    ratio = _ratio_within(scores_, of_rows, groups, sampling, before)
    if ratio is None:
        return None
    half = _root(information)
    after = before @ (half @ ratio @ half + prior) @ before
    upper = [np.linalg.cholesky(of).swapaxes(-1, -2) for of in (before, after)]
    turned = _directions(density, theta, factor).swapaxes(-1, -2)
    return np.asarray(turned @ np.linalg.solve(*upper) @ np.linalg.inv(turned))


def _directions(density: Density, theta: Array, factor: Factor) -> Array:
    """By what effects move with a group's epsilon, ``(group, effect, epsilon)``."""
    n, q = factor.groups, factor.width
    basis = np.zeros((q + 1, n, q))
    basis[range(1, q + 1), :, range(q)] = 1.0
    at = _effects_at(density, np.repeat(theta[None], q + 1, axis=0), basis.reshape(q + 1, -1))
    mode, *steps = at.reshape(q + 1, n, q)
    return np.stack(steps, axis=-1) - mode[..., None]


def _at_mode(
    density: Density, theta: Array, factor: Factor, weights: Array, prior: Array
) -> tuple[Array, Array]:
    """At the mode of a factor's effects: scores of rows, and their information.

    ``(row, effect)`` and ``(row, effect, effect)``, weighted.
    """
    design = density.design
    persons, only, attributes = density.layout.split(theta[: density.layout.n_coefficients])
    groups, terms = design.columns.groups[factor.by]
    effects = np.zeros((factor.groups, factor.width))
    for _ in range(_NEWTON):
        named = {factor.by: effects.reshape(factor.shape)}
        at = Coefficients(persons, only, attributes, named)
        residual, _ = _residuals(design.columns, at, design.choice)
        residual = np.delete(residual, design.columns.base, axis=1)
        chosen = np.delete(np.eye(design.columns.n_alternatives), design.columns.base, axis=1)
        p = chosen[design.choice] - residual
        spread = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :]) * weights[:, None, None]
        rows = np.einsum("rjk,rs,rt->rjskt", spread, terms, terms)
        rows = rows.reshape(-1, factor.width, factor.width)
        information = summed(rows, groups, factor.groups)
        scores_ = (residual[:, :, None] * terms[:, None, :]).reshape(-1, factor.width)
        scores_ *= weights[:, None]
        slope = -effects @ prior
        np.add.at(slope, groups, scores_)
        step = np.linalg.solve(information + prior, slope[..., None])[..., 0]
        # A step of Newton's far beyond the mode of a few rows would not come back.
        effects = (
            effects + step * np.minimum(1, 2 / np.abs(step).max(axis=1, initial=1e-300))[:, None]
        )
        if np.abs(step).max() < _STILL:
            break
    return scores_, rows


def _root(matrices: Array) -> Array:
    """Symmetric roots of matrices, ``(..., n, n)``; what is negative counts as zero."""
    values, vectors = np.linalg.eigh(matrices)
    return np.asarray(
        (vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]) @ vectors.swapaxes(-1, -2)
    )


def _ratio_within(
    scores_: Array, of_rows: Array, groups: Codes, sampling: Sampling, spread: Array
) -> Array | None:
    """How much more weighted scores vary over samples of the same groups than rows drawn singly.

    Sums over groups of products of their units' scores, centred, over what they would be on
    average if every row were drawn on its own and weights were one: scores at the mode vary less
    than their information says, by ``I_c H^-1 I_c`` of a unit with information ``I_c``.

    Parameters
    ----------
    scores_, of_rows
        From `_at_mode`.
    groups
        Of rows, ``(row,)``.
    sampling
        The design.
    spread
        ``H^-1`` of every group.

    Returns
    -------
    ndarray
        ``(effect, effect)``; ``None`` where no group has several units. Where units are few for
        so many numbers, one ratio of all effects that is at least one.
    """
    n_groups, q = len(spread), scores_.shape[1]
    several = _psus_within(groups, sampling.psus)[groups] > 1
    units = np.where(several, sampling.psus, len(sampling.strata) + sampling.within)
    keys, of_row = np.unique(np.stack([groups, units], axis=1), axis=0, return_inverse=True)
    sums = summed(scores_, of_row.ravel(), len(keys))
    known = summed(of_rows, of_row.ravel(), len(keys))
    count = np.bincount(keys[:, 0], minlength=n_groups)
    factor = np.where(count > 1, count / np.maximum(count - 1, 1), 0.0)
    if not factor.any():
        return None
    away = sums - (summed(sums, keys[:, 0], n_groups) / np.maximum(count, 1)[:, None])[keys[:, 0]]
    found = (away * factor[keys[:, 0]][:, None]).T @ away
    each = known - known @ spread[keys[:, 0]] @ known
    whole = summed(known, keys[:, 0], n_groups)
    centre = (whole - whole @ spread @ whole) / np.maximum(count, 1)[:, None, None]
    expected = ((summed(each, keys[:, 0], n_groups) - centre) * factor[:, None, None]).sum(axis=0)
    over = _root(np.linalg.pinv(expected, hermitian=True))
    ratio = over @ found @ over
    if (np.maximum(count - 1, 0)).sum() < _UNITS_PER_EFFECT * q:
        return np.asarray(max(1.0, float(np.trace(ratio)) / q) * np.eye(q))
    return np.asarray(ratio)


def _psus_within(groups: Codes, psus: Codes) -> Codes:
    """Number of PSUs of every group."""
    pairs = np.unique(np.stack([groups, psus], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=int(groups.max()) + 1)


def _effects_at(density: Density, theta: Array, epsilon: Array) -> Array:
    """Effects of all groups by the map, ``(draw, effect)``."""
    whitening, *_, table, arrays = density.map_arguments
    vectors = np.concatenate([_white(density, theta), epsilon], axis=1)
    at, effects = np.empty_like(theta), np.empty_like(epsilon)
    target.locations(vectors, whitening, table, arrays, at, effects)
    return effects


def _white(density: Density, theta: Array) -> Array:
    """White coordinates of theta."""
    of = density.expansion
    return np.asarray(np.linalg.solve(of.root, (theta - of.centre).T).T)


# ---------------------------------------------------------------------- their score


def score_sums(density: Density, theta: Array, sampling: Sampling, *, seed: int = 0) -> Array:
    """Sums of the weighted score over every PSU, or their deviations in every replicate.

    Parameters
    ----------
    density
        Of the weighted posterior; effects are integrated out.
    theta
        Where, ``(theta,)``.
    sampling
        The design.
    seed
        Of the nodes.

    Returns
    -------
    ndarray
        ``(psu or replicate, theta)``, as `Sampling.loadings` takes sums.
    """
    nodes = nodes_at(density, theta, seed=seed)
    w, replicates = sampling.weights, sampling.replicates
    count = len(sampling.strata) if replicates is None else replicates.shape[1]
    total = np.zeros((count, len(theta)))
    for rows, whole, influences in scores(density, theta, nodes, w):
        if replicates is None:
            psus = sampling.psus[rows]
            if whole is not None and (psus == psus[0]).all():
                total[psus[0]] += whole
            else:
                np.add.at(total, psus, w[rows, None] * influences)
            continue
        changes = replicates[rows] - w[rows, None]
        ratios = changes / np.where(w[rows] > 0, w[rows], np.nan)[:, None]
        if whole is not None and (np.ptp(ratios, axis=0) <= 1e-9).all():
            total += np.outer(ratios[0], whole)
        else:
            total += changes.T @ influences
    return total


def scores(
    density: Density, theta: Array, nodes: Nodes | None, weights: Array
) -> Iterator[tuple[Codes, Array | None, Array]]:
    """Rows of every unit, its weighted score, and the influence of its rows by their weights.

    Yields
    ------
    tuple
        Rows ``(row,)``; the score of the unit ``(theta,)``, ``None`` where there are no
        groups; influences ``(row, theta)``.
    """
    design, layout = density.design, density.layout
    c = layout.n_coefficients
    persons, only, attributes = layout.split(theta[:c])
    if nodes is None:
        parts = np.array_split(np.arange(design.n_obs), -(-design.n_obs // _ROWS))
        coefficients = Coefficients(persons, only, attributes, {})
        for rows in parts:
            columns = take_rows(design.columns, rows)
            residual, _ = _residuals(columns, coefficients, design.choice[rows])
            yield rows, None, _row_scores(columns, residual)
        return
    coefficients = Coefficients(persons, only, attributes, nodes.effects)
    of_hyper = _hyper_scores(density, theta, nodes)
    order = np.argsort(nodes.units, kind="stable")
    edges = np.flatnonzero(np.diff(nodes.units[order])) + 1
    for rows in np.split(order, edges):
        unit, columns = int(nodes.units[rows[0]]), take_rows(design.columns, rows)
        share = nodes.shares[:, unit]
        residual, log_p = _residuals(columns, coefficients, design.choice[rows])
        complete = np.zeros((len(share), len(theta)))
        complete[:, :c] = _summed_scores(columns, residual * weights[rows, None])
        complete[:, c:] = of_hyper[:, unit]
        whole = share @ complete
        influences = (share[:, None] * (log_p - share @ log_p)).T @ (complete - whole)
        influences[:, :c] += _row_scores(columns, np.einsum("k,krj->rj", share, residual))
        yield rows, whole, influences


def _residuals(columns: Columns, coefficients: Coefficients, choice: Codes) -> tuple[Array, Array]:
    """Choices less their probabilities ``(..., row, alternative)``; log-likelihoods of rows."""
    log_p = np.asarray(log_probabilities(np, columns, coefficients))
    rows, residual = np.arange(len(choice)), -np.exp(log_p)
    residual[..., rows, choice] += 1
    return residual, log_p[..., rows, choice]


def _row_scores(columns: Columns, residual: Array) -> Array:
    """Derivatives of rows' log-likelihoods by all coefficients, ``(row, coefficient)``."""
    nonbase = np.delete(residual, columns.base, axis=1)
    parts = [(columns.persons[:, :, None] * nonbase[:, None, :]).reshape(len(residual), -1)]
    parts += [block * residual[:, [j]] for j, block in columns.only.items()]
    if columns.attributes is not None:
        parts.append(np.einsum("rjm,rj->rm", columns.attributes, residual))
    return np.concatenate(parts, axis=1)


def _summed_scores(columns: Columns, residual: Array) -> Array:
    """Their sums over rows at every node, ``(node, coefficient)``."""
    nonbase = np.delete(residual, columns.base, axis=2)
    parts = [np.einsum("rc,krj->kcj", columns.persons, nonbase).reshape(len(residual), -1)]
    parts += [residual[:, :, j] @ block for j, block in columns.only.items()]
    if columns.attributes is not None:
        parts.append(np.einsum("rjm,krj->km", columns.attributes, residual))
    return np.concatenate(parts, axis=1)


def nodes_at(density: Density, theta: Array, *, seed: int) -> Nodes | None:
    """Effects at which a theta's integrals over them are taken; ``None`` without groups.

    They lie around the effects' mode at theta, in pairs of opposite epsilon: where there is one
    factor with few effects, those of Gauss-Hermite quadrature; else drawn, with second moments
    made exact, since scores of scales are squares of effects, and weighted by their density.
    """
    layout = density.layout
    if not layout.factors:
        return None
    proposal = Proposal(density, seed, renews=True)
    proposal.conditional = False
    outer = layout.factors[density.problem.outer]
    units = density.design.columns.groups[outer.by][0]
    largest = int(np.bincount(units).max()) * density.design.columns.n_alternatives
    most = _NODE_NUMBERS // (2 * max(layout.n_effects, largest))
    if len(layout.factors) == 1 and outer.width in _POINTS:
        epsilon, rule = _grid(outer, _POINTS[outer.width])
        correct = rule + proposal.log_proposal(epsilon)
        epsilon = epsilon[:, None]
    else:
        draws = int(np.clip(most, _FEWEST_PAIRS, _PAIRS)) // proposal.pairs
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(5,)))
        epsilon = proposal.epsilon(rng, draws)
        for factor in layout.factors:
            _make_moments_exact(epsilon, factor, proposal.df / (proposal.df - 2))
        correct = np.zeros((len(epsilon), 1))
    white = np.repeat(_white(density, theta[None]), len(epsilon), axis=0)
    effects, logs = proposal.candidates(white, epsilon)
    logs = (logs + correct[:, None]).reshape(-1, logs.shape[-1])
    shares = np.exp(logs - logs.max(axis=0))
    effects = effects.reshape(len(logs), -1)
    return Nodes(
        {f.by: f.effects.of(effects).reshape(len(logs), *f.shape) for f in layout.factors},
        shares / shares.sum(axis=0),
        units,
    )


def _grid(factor: Factor, points: int) -> tuple[Array, Array]:
    """Half of a grid for every group's epsilon, and the log weights of its points.

    The other half are the opposites; the point at zero is its own, and counts half twice.
    ``(pair, effect)``, and ``(pair, unit)``: of the rule over the normal density that it has.
    """
    z, w = (of[points // 2 :] for of in np.polynomial.hermite_e.hermegauss(points))
    places = np.array(list(product(range(-len(z) + 1, len(z)), repeat=factor.width)))
    first = np.array([next((p for p in place if p), 0) for place in places])
    places = places[first >= 0]
    node = np.sign(places) * z[np.abs(places)]
    log = np.log(w[np.abs(places)]).sum(axis=1) + np.square(node).sum(axis=1) / 2
    log[~places.any(axis=1)] -= np.log(2)
    every = np.tile(node, (1, factor.groups))
    return every, np.repeat(log[:, None], factor.groups, axis=1)


def _make_moments_exact(epsilon: Array, factor: Factor, variance: float) -> None:
    """Give every group's epsilon the second moments that they were drawn with."""
    part = epsilon[..., factor.effects.start : factor.effects.stop]
    z = part.reshape(-1, factor.groups, factor.width).transpose(1, 0, 2)
    if z.shape[1] < 2 * factor.width:
        return
    root = np.linalg.cholesky(np.einsum("gpi,gpk->gik", z, z) / z.shape[1])
    exact = np.linalg.solve(root, z.transpose(0, 2, 1)).transpose(2, 0, 1) * np.sqrt(variance)
    part[...] = exact.reshape(part.shape)


def _hyper_scores(density: Density, theta: Array, nodes: Nodes) -> Array:
    """Derivatives of every unit's prior of effects by log scales and free vectors.

    ``(node, unit, hyper)``, in the order of theta.
    """
    layout = density.layout
    count, units = nodes.shares.shape
    found = np.zeros((count, units, layout.n_theta - layout.n_coefficients))
    for position, factor in enumerate(layout.factors):
        effects = nodes.effects[factor.by].reshape(count, factor.groups, factor.width)
        inside = density.problem.members if position == density.problem.inner else None
        for k in _hyper_places(factor):
            steps = []
            for sign in (1, -1):
                moved = theta.copy()
                moved[k] += sign * _STEP
                steps.append(_log_normal(factor, moved, effects))
            slope = (steps[0] - steps[1]) / (2 * _STEP)
            if inside is not None:
                of_units = np.zeros((count, units))
                np.add.at(of_units.T, inside, slope.T)
                slope = of_units
            found[:, :, k - layout.n_coefficients] = slope
    return found


def _hyper_places(factor: Factor) -> list[int]:
    """Where a factor's log scales and free vectors stand in theta."""
    blocks = [factor.log_sigma, *([] if factor.correlation is None else [factor.correlation])]
    return [k for block in blocks for k in range(block.start, block.stop)]


def _log_normal(factor: Factor, theta: Array, effects: Array) -> Array:
    """Log density of a factor's effects up to a constant, ``(node, group)``."""
    at = -1 if factor.correlation is None else factor.correlation.start
    root = target.scaled_factor(theta, factor.log_sigma.start, at, factor.width)
    standard = effects @ np.linalg.inv(root).T
    return np.asarray(-0.5 * np.square(standard).sum(axis=-1) - np.log(np.diag(root)).sum())


# ---------------------------------------------------------------------- their prior


def prior_curvature(density: Density, theta: Array) -> Array:
    """Curvature of the log prior of theta; of Student t and Laplace their Fisher information.

    Effects' own distribution is a part of the likelihood of the data. A direction in which a
    prior curves the other way tells nothing: its curvature is zero.
    """
    layout, prior = density.layout, density.problem.prior
    of_kind = np.choose(prior.dist, [0.0, 1.0, (prior.df + 1) / (prior.df + 3), 1.0])
    found = np.zeros((layout.n_theta, layout.n_theta))
    c = layout.n_coefficients
    found[range(c), range(c)] = np.where(prior.dist > 0, of_kind / prior.scale**2, 0.0)
    for factor in layout.factors:
        places = _hyper_places(factor)
        block = np.empty((len(places), len(places)))
        for i, k in enumerate(places):
            slopes = [_hyper_slope(density, factor, theta, k, step) for step in (_STEP, -_STEP)]
            block[i] = -(slopes[0] - slopes[1])[places] / (2 * _STEP)
        values, vectors = np.linalg.eigh((block + block.T) / 2)
        found[np.ix_(places, places)] = (vectors * np.maximum(values, 0)) @ vectors.T
    return found


def _hyper_slope(density: Density, factor: Factor, theta: Array, k: int, step: float) -> Array:
    """Slope of the log prior of a factor's scales and correlations, a step along one of them."""
    moved, slope = theta.copy(), np.zeros(len(theta))
    moved[k] += step
    at = -1 if factor.correlation is None else factor.correlation.start
    nothing = np.zeros((factor.scales, factor.scales))
    eta, scale_prior = float(density.problem.table[1][0]), density.problem.scale_prior
    target.hyper_prior(
        moved, slope, nothing, 0, factor.scales, factor.log_sigma.start, at, eta, scale_prior
    )
    return slope
