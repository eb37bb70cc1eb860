"""Integrals over the effects of many groups at once: points, and where to put them.

Adaptive Gauss-Hermite quadrature (Liu and Pierce 1994, doi 10.1093/biomet/81.3.624) for up to
four effects a group, and importance sampling by quasi-random normals around the same centre for
more. A group's density is found by Newton steps in coordinates whose prior is standard normal;
where a likelihood has no slopes and curvatures of its own they are differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesmig.inference.normal import Rule, cholesky, gauss_hermite, quasi_random, solve_lower

Array = NDArray[np.float64]
#: Points along each of up to four effects, and in all for more of them, from few to many. The
#: last are for telling what those before them leave.
_ALONG = {1: (5, 9, 15, 25, 41), 2: (3, 5, 7, 11, 17, 25), 3: (3, 5, 7, 9), 4: (3, 5, 7)}
_POINTS = (32, 128, 512, 2048)
#: How much wider than normal quasi-random points lie: densities fall more slowly than it.
_WIDER = 1.2
#: Utility by which effects are moved for differences.
STEP = 0.05
#: Newton steps at most, until none gains so many nats; how far out they start, at most, in
#: standard deviations of the prior; and the utility that one step moves, at most.
_ROUNDS, _GAIN, NEAR, _FAR = 12, 0.02, 2.0, 2.0


# -------------------------------------------------------------------------- the points


def rules(width: int) -> list[Rule]:
    """Points for so many effects, from few to many; the last to hold those before them to."""
    if width in _ALONG:
        return [gauss_hermite(n, width) for n in _ALONG[width]]
    return [quasi_random(n, width, _WIDER) for n in _POINTS]


# ---------------------------------------------------------------------- small matrices


def _solve_upper(root: Array, b: Array) -> Array:
    """``x`` of ``root' x = b``."""
    x = np.empty(np.broadcast_shapes(root.shape[:-1], b.shape))
    for i in reversed(range(root.shape[-1])):
        below = (root[..., i + 1 :, i] * x[..., i + 1 :]).sum(axis=-1)
        x[..., i] = (b[..., i] - below) / root[..., i, i]
    return x


def turned(root: Array, white: Array) -> Array:
    """``root white`` of every group: ``(draw, k, k)`` and ``(draw, group, k)``."""
    return np.asarray(np.einsum("sij,sgj->sgi", root, white))


def log_sum_exp(values: Array) -> Array:
    """Over the first axis."""
    top = values.max(axis=0)
    return np.asarray(np.log(np.exp(values - top).sum(axis=0)) + top)


# ------------------------------------------------------------------------ one integral


#: Centre ``(draw, group, width)``, spread ``(draw, group, width, width)`` and points ``z``
#: -> log-likelihoods ``(draw, point, group)`` at effects ``centre + spread z``.
Sums = Callable[[Array, Array, Array], Array]
#: Effects ``(draw, group, width)``, and whether they are asked for, ``(draw, group)`` -> slopes
#: ``(draw, group, width)`` and second derivatives of log-likelihoods; others may hold anything.
Derivatives = Callable[[Array, NDArray[np.bool_]], tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a group's density is, in coordinates ``v`` whose prior is standard normal.

    ``u = prior_root v`` and ``v = centre + root'^-1 z``.
    """

    prior_root: Array
    centre: Array
    root: Array

    @property
    def effects(self) -> tuple[Array, Array]:
        """Centre and spread of the effects."""
        width, spread = self.root.shape[-1], np.empty_like(self.root)
        for k, unit in enumerate(np.eye(width)):
            spread[..., k] = turned(self.prior_root, _solve_upper(self.root, unit))
        return turned(self.prior_root, self.centre), spread

    def log_weights(self, rule: Rule) -> Array:
        """Of points: the prior there over the rule's own density, ``(draw, point, group)``."""
        volume = np.log(np.einsum("...ii->...i", self.root)).sum(axis=-1)
        found = np.empty((len(volume), len(rule.z), volume.shape[1]))
        for k, (z, log_weight) in enumerate(zip(rule.z, rule.log_weights, strict=True)):
            square = np.square(self.centre + _solve_upper(self.root, z)).sum(axis=-1)
            found[:, k] = log_weight + (z @ z - square) / 2 - volume
        return found


def placed_at_mode(derivatives: Derivatives, v: Array, prior_root: Array, steps: Array) -> Placed:
    """Newton steps to the mode of a group's log-likelihood less ``|v|^2 / 2``, and its curvature.

    Parameters
    ----------
    derivatives
        Of log-likelihoods of groups.
    v
        Where to start, in coordinates whose prior is standard normal.
    prior_root
        ``(draw, width, width)``.
    steps
        How far effects move utilities by `STEP`.
    """
    one, most = np.eye(v.shape[-1]), _FAR / STEP * steps
    going, root = np.ones(v.shape[:-1], dtype=bool), np.broadcast_to(one, (*v.shape, len(steps)))
    for _ in range(_ROUNDS):
        slope, bend = derivatives(turned(prior_root, v), going)
        pull = np.einsum("sji,sgj->sgi", prior_root, slope) - v
        curvature = -np.einsum("sji,sgjk,skl->sgil", prior_root, bend, prior_root, optimize=True)
        there = cholesky(_convex(curvature) + one)
        move = _solve_upper(there, solve_lower(there, pull))
        far = (np.abs(turned(prior_root, move)) / most).max(axis=-1, keepdims=True)
        v = np.where(going[..., None], v + move / np.maximum(far, 1.0), v)
        root = np.where(going[..., None, None], there, root)
        going = going & ((pull * move).sum(axis=-1) > _GAIN)
        if not going.any():
            break
    return Placed(prior_root, v, root)


def _convex(curvature: Array) -> Array:
    """Without directions of negative curvature, which mixtures of logits have."""
    if curvature.shape[-1] == 1:
        return np.asarray(curvature.clip(0.0))
    if curvature.shape[-1] == 2:
        a, b, d = curvature[..., 0, 0], curvature[..., 0, 1], curvature[..., 1, 1]
        bad = (a < 0) | (d < 0) | (a * d - b * b < 0)
    else:
        bad = np.ones(curvature.shape[:-2], dtype=bool)
    if bad.any():
        values, vectors = np.linalg.eigh(curvature[bad])
        curvature[bad] = (vectors * values.clip(0.0)[:, None, :]) @ vectors.swapaxes(-1, -2)
    return curvature


def differences(sums: Sums, steps: Array) -> Derivatives:
    """Derivatives of log-likelihoods by differences, effects moved by so much."""
    width = len(steps)
    pairs = [(a, b) for a in range(width) for b in range(a)]
    unit = np.eye(width)
    moves = np.concatenate(
        [np.zeros((1, width)), unit, -unit, *(unit[[a]] + unit[[b]] for a, b in pairs)]
    )

    def derivatives(at: Array, _: NDArray[np.bool_]) -> tuple[Array, Array]:
        spread = np.broadcast_to(np.diag(steps), (*at.shape, width)).copy()
        values = np.moveaxis(sums(at, spread, moves), 1, 0)
        here, up, down = values[0], values[1 : width + 1], values[width + 1 : 2 * width + 1]
        slope = np.moveaxis(up - down, 0, -1) / (2 * steps)
        bend = np.empty((*here.shape, width, width))
        for a in range(width):
            bend[..., a, a] = (up[a] + down[a] - 2 * here) / steps[a] ** 2
        for both, (a, b) in zip(values[2 * width + 1 :], pairs, strict=True):
            mixed = (both - up[a] - up[b] + here) / (steps[a] * steps[b])
            bend[..., a, b] = bend[..., b, a] = mixed
        return slope, bend

    return derivatives
