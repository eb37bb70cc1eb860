"""The log posterior density with its gradient, by hand, over an unconstrained vector.

It restates `bayesmig.inference.graph` for speed; a test holds them together on random
inputs. The likelihood is `bayesmig.inference.kernel`'s. Coefficients move in coordinates
that whiten the likelihood at its mode without group effects, an exact linear change of
variables, so that correlated columns do not slow the sampler.

Group effects are non-centred, ``u = z (diag(sigma) L)'``. Row ``i`` of the Cholesky
factor ``L`` of their correlation is ``(y_i, 1) / sqrt(1 + |y_i|^2)`` for a free vector
``y_i`` of length ``i``; an LKJ(eta) prior on the correlation is then
``(1 + |y_i|^2) ** (-(D + 2 eta - 1) / 2)`` for each row, Jacobian included
(Lewandowski, Kurowicka and Joe 2009, doi 10.1016/j.jmva.2009.04.008).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design
from bayesmig.design.priors import PriorArray
from bayesmig.design.support import difference_rows
from bayesmig.inference.stream import kernel, kernel_columns

Array = NDArray[np.float64]
_NEWTON_STEPS = 50
_SCALE_KINDS = {"exponential": 0, "half_normal": 1, "half_student_t": 2}


@dataclass(frozen=True, slots=True)
class _Block:
    """Where a parameter lies in the unconstrained vector."""

    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        return self.start + int(np.prod(self.shape))

    def of(self, vector: Array) -> Array:
        return vector[self.start : self.stop].reshape(self.shape)


@dataclass(frozen=True, slots=True)
class _Group:
    """One group factor: where its parameters lie."""

    by: str
    shape: tuple[int, int, int]
    """(group, nonbase, term)."""
    eta: float
    z: _Block
    log_sigma: _Block
    correlation: _Block | None
    effects: _Block
    """Where its effects lie among those of all factors."""

    @property
    def width(self) -> int:
        """Number of correlated effects of one group."""
        return self.shape[1] * self.shape[2]


class Density:
    """Log density of a design's posterior and its gradient.

    Parameters
    ----------
    design
        A checked design.

    Attributes
    ----------
    size
        Length of the unconstrained vector.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self._priors = design.priors
        self._prior = _flatten(self._priors)
        self._n_coefficients = len(self._prior.loc)
        self._groups, self.size, self._n_effects = self._lay_out()
        self._data = _kernel_data(design)
        self._centre, self._whiten = self._laplace()
        scales = design.spec.priors.scale
        self._arguments = (
            self._data,
            (self._centre, np.ascontiguousarray(self._whiten)),
            (self._prior.dist, self._prior.loc, self._prior.scale, self._prior.df),
            (_SCALE_KINDS[scales.dist], scales.scale, scales.df),
            self._kernel_layout(),
        )

    # ------------------------------------------------------------------ the density

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """Log density up to a constant, and its gradient (length ``size``)."""
        gradient = np.empty(self.size)
        value = kernel.log_density(vector, gradient, *self._arguments)
        if not np.isfinite(value):
            return -np.inf, np.zeros(self.size)
        return value, gradient

    def _split(self, coefficients: Array) -> tuple[Array, Array, Array]:
        shape = self._priors["persons"].loc.shape
        at, n_only = shape[0] * shape[1], len(self._priors["only"].loc)
        return (
            coefficients[:at].reshape(shape),
            coefficients[at : at + n_only],
            coefficients[at + n_only :],
        )

    # ------------------------------------------------------------------- the layout

    def _lay_out(self) -> tuple[tuple[_Group, ...], int, int]:
        """Where everything lies; size of the vector; number of effects."""
        groups, at, effect = [], self._n_coefficients, 0
        nonbase = len(self.design.nonbase)
        for by, layout in self.design.layouts.items():
            shape = (len(layout.levels), nonbase, len(layout.terms))
            width = shape[1] * shape[2]
            z = _Block(at, (shape[0], width))
            log_sigma = _Block(z.stop, (width,))
            at = log_sigma.stop
            correlation = None
            if layout.correlated and width > 1:
                correlation = _Block(at, (width * (width - 1) // 2,))
                at = correlation.stop
            effects = _Block(effect, z.shape)
            effect = effects.stop
            eta = self.design.spec.priors.correlation.eta
            groups.append(_Group(by, shape, eta, z, log_sigma, correlation, effects))
        return tuple(groups), at, effect

    def _kernel_layout(self) -> tuple[NDArray[np.int64], Array]:
        """The layout as the kernel reads it."""
        rows = [
            (
                g.shape[0],
                g.width,
                g.z.start,
                g.log_sigma.start,
                -1 if g.correlation is None else g.correlation.start,
                g.effects.start,
            )
            for g in self._groups
        ]
        table = np.array(rows, dtype=np.int64).reshape(len(rows), 6)
        return table, np.array([g.eta for g in self._groups])

    def _laplace(self) -> tuple[Array, Array]:
        """Mode without group effects and a root of its inverse curvature.

        Only coordinates of the sampler depend on it, never the target.
        """
        where = np.where(self._prior.dist > 0, self._prior.loc, 0.0)
        value, slope = self._penalised(where)
        for _ in range(_NEWTON_STEPS):
            step = np.linalg.solve(self._curvature(where), slope)
            size, tried = 1.0, self._penalised(where + step)
            while tried[0] < value - 1e-12 and size > 1e-6:
                size /= 2
                tried = self._penalised(where + size * step)
            gain = tried[0] - value
            if gain > 0:
                where = where + size * step
                value, slope = tried
            if gain < 1e-8:
                break
        root = np.linalg.cholesky(self._curvature(where))
        return where, np.linalg.solve(root, np.eye(len(where))).T

    def _penalised(self, coefficients: Array) -> tuple[float, Array]:
        """Log posterior of the coefficients where all effects are zero, and gradient."""
        prior, prior_slope = self._prior.log_density(coefficients)
        shape = self._priors["persons"].loc.shape
        at = shape[0] * shape[1]
        slope, no_effects = np.empty_like(coefficients), np.zeros(self._n_effects)
        value = kernel.log_likelihood(
            *self._data,
            coefficients[:at].reshape(shape),
            coefficients[at:],
            no_effects,
            slope[:at].reshape(shape),
            slope[at:],
            np.empty_like(no_effects),
        )
        return value + prior, slope + prior_slope

    def _curvature(self, coefficients: Array) -> Array:
        """Information of likelihood and priors, positive definite.

        ``sum_n D'(diag(p) - pp')D`` over utility differences ``D`` to the base.
        """
        columns = self.design.columns
        bare = replace(columns, groups={})
        at = Coefficients(*self._split(coefficients))
        p = np.exp(log_probabilities(np, utilities(np, bare, at), bare.available))
        p = np.delete(p, columns.base, axis=1)
        own = np.where(self._prior.dist > 0, 1 / self._prior.scale**2, 0.0)
        total = np.diag(own + 1e-9)
        start = 0
        for rows in difference_rows(columns):
            blocks = rows.reshape(-1, p.shape[1], rows.shape[1])
            q = p[start : start + len(blocks)]
            mean = np.einsum("nw,nwk->nk", q, blocks)
            total += rows.T @ (rows * q.reshape(-1, 1)) - mean.T @ mean
            start += len(blocks)
        return np.asarray(total)

    # ------------------------------------------------------------------ in and out

    def start(self, rng: np.random.Generator) -> Array:
        """A starting point near the mode without group effects."""
        vector = rng.normal(0.0, 0.5, self.size)
        for group in self._groups:
            group.log_sigma.of(vector)[...] = rng.normal(-0.7, 0.3, group.log_sigma.shape)
        return vector

    def parameters(self, vector: Array) -> dict[str, Array]:
        """The named parameters at an unconstrained vector."""
        coefficients = self._centre + self._whiten @ vector[: self._n_coefficients]
        persons, only, attributes = self._split(coefficients)
        named = {"beta": persons.copy()}
        if len(only):
            named["beta_only"] = only.copy()
        if len(attributes):
            named["gamma"] = attributes.copy()
        for group in self._groups:
            sigma = np.exp(group.log_sigma.of(vector))
            factor = _correlation_factor(group.correlation, vector, group.width)
            effects = group.z.of(vector) @ (sigma[:, None] * factor).T
            named[f"u_{group.by}"] = effects.reshape(group.shape)
            named[f"sigma_{group.by}"] = sigma.reshape(group.shape[1:])
            if group.correlation is not None:
                corr = factor @ factor.T
                np.fill_diagonal(corr, 1.0)
                named[f"corr_{group.by}"] = corr
        return named


def parameter_dims(design: Design) -> dict[str, tuple[str, ...]]:
    """Dimensions of every parameter, in the order of `Density.parameters`."""
    dims: dict[str, tuple[str, ...]] = {"beta": ("coefficient", "nonbase")}
    if design.only:
        dims["beta_only"] = ("only_term",)
    if design.attribute_terms:
        dims["gamma"] = ("attribute_term",)
    for by, layout in design.layouts.items():
        dims[f"u_{by}"] = (by, "nonbase", f"{by}_term")
        dims[f"sigma_{by}"] = ("nonbase", f"{by}_term")
        if layout.correlated and len(design.nonbase) * len(layout.terms) > 1:
            dims[f"corr_{by}"] = (f"{by}_effect", f"{by}_effect_other")
    return dims


def parameter_coords(design: Design) -> dict[str, list[str]]:
    """Labels of every dimension that `parameter_dims` names."""
    coords = {"coefficient": list(design.persons), "nonbase": list(design.nonbase)}
    if design.only:
        coords["only_term"] = [f"{name}:{alternative}" for alternative, name in design.only]
    if design.attribute_terms:
        coords["attribute_term"] = list(design.attribute_terms)
    for by, layout in design.layouts.items():
        coords[by] = list(map(str, layout.levels))
        coords[f"{by}_term"] = list(layout.terms)
        effects = [f"{t}:{a}" for a in design.nonbase for t in layout.terms]
        if layout.correlated and len(effects) > 1:
            coords[f"{by}_effect"] = coords[f"{by}_effect_other"] = effects
    return coords


def _flatten(priors: Mapping[str, PriorArray]) -> PriorArray:
    """Priors of all coefficients in the order of the vector."""
    blocks = [priors[k] for k in ("persons", "only", "alternatives")]
    parts = ("dist", "loc", "scale", "df")
    return PriorArray(*(np.concatenate([getattr(b, k).ravel() for b in blocks]) for k in parts))


def _kernel_data(design: Design) -> tuple[Any, ...]:
    """The data arguments of `log_likelihood`."""
    sizes = [len(lay.levels) * len(lay.terms) for lay in design.layouts.values()]
    *data, nonbase = kernel_columns(design.columns, sizes)
    return (*data, design.choice, nonbase)


def _rows(block: _Block, vector: Array, width: int) -> list[Array]:
    """The free vectors ``y_1, …, y_{D-1}`` of a correlation's factor."""
    flat, rows, at = block.of(vector), [], 0
    for i in range(1, width):
        rows.append(flat[at : at + i])
        at += i
    return rows


def _correlation_factor(block: _Block | None, vector: Array, width: int) -> Array:
    factor = np.eye(width)
    if block is not None:
        for i, y in enumerate(_rows(block, vector, width), start=1):
            length = np.sqrt(1 + y @ y)
            factor[i, :i] = y / length
            factor[i, i] = 1 / length
    return factor
