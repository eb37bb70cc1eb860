"""The log posterior density of a design, over the sampler's coordinates.

It restates `bayesmig.inference.graph` for speed; a test holds them together on random
inputs. The mathematics is in `bayesmig.inference.target`, the coordinates' in
`bayesmig.inference.geometry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.design.design import Design
from bayesmig.design.priors import PriorArray
from bayesmig.inference import target as compiled
from bayesmig.inference.geometry import expand
from bayesmig.inference.layout import Factor, layout_of
from bayesmig.inference.stream import kernel_columns

Array = NDArray[np.float64]
#: Compiled functions have no signature that a type checker could read.
target: Any = compiled
_SCALE_KINDS = {"exponential": 0, "half_normal": 1, "half_student_t": 2}


class Density:
    """Log density of a design's posterior and its gradient.

    Parameters
    ----------
    design
        A checked design.

    Attributes
    ----------
    size
        Length of the vector of coordinates.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self._layout = layout_of(design)
        self.size = self._layout.size
        prior = _flatten(design.priors)
        data = _kernel_data(design)
        scales = design.spec.priors.scale
        scale_prior = (_SCALE_KINDS[scales.dist], scales.scale, scales.df)
        self._expansion = expand(design, self._layout, data, prior, scale_prior)
        at = self._expansion
        self._arguments = (
            data,
            (at.centre, np.ascontiguousarray(at.root)),
            (prior.dist, prior.loc, prior.scale, prior.df),
            scale_prior,
            self._kernel_layout(),
            (at.coefficients, at.pull, at.curvature, at.cross),
        )

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """Log density up to a constant, and its gradient (length ``size``)."""
        gradient = np.empty(self.size)
        value = target.log_density(vector, gradient, *self._arguments)
        if not np.isfinite(value):
            return -np.inf, np.zeros(self.size)
        return value, gradient

    def start(self, rng: np.random.Generator) -> Array:
        """A starting point, near the posterior's bulk."""
        return rng.normal(0.0, 0.5, self.size)

    def parameters(self, vector: Array) -> dict[str, Array]:
        """The named parameters at a vector of coordinates."""
        layout, at = self._layout, self._expansion
        theta = at.centre + at.root @ vector[: layout.n_theta]
        persons, only, attributes = layout.split(theta[: layout.n_coefficients])
        named = {"beta": persons.copy()}
        if len(only):
            named["beta_only"] = only.copy()
        if len(attributes):
            named["gamma"] = attributes.copy()
        effects = target.effects_at(vector, *self._arguments[1:2], *self._arguments[4:])
        for factor in layout.factors:
            named[f"u_{factor.by}"] = factor.effects.of(effects).reshape(factor.shape)
            sigma = np.exp(factor.log_sigma.of(theta))
            named[f"sigma_{factor.by}"] = sigma.reshape(factor.shape[1:])
            if factor.correlation is not None:
                named[f"corr_{factor.by}"] = _correlation(factor, theta)
        return named

    def _kernel_layout(self) -> tuple[NDArray[np.int64], Array]:
        """The layout as the compiled density reads it."""
        rows, here = [], 0
        for k, f in enumerate(self._layout.factors):
            epsilon = self._layout.n_theta + f.effects.start
            correlation = -1 if f.correlation is None else f.correlation.start
            crossed = 0 if k == self._expansion.coupled else -1
            rows.append(
                (
                    f.groups,
                    f.width,
                    epsilon,
                    f.log_sigma.start,
                    correlation,
                    f.effects.start,
                    here,
                    crossed,
                )
            )
            here += f.groups * f.width**2
        table = np.array(rows, dtype=np.int64).reshape(len(rows), 8)
        return table, np.full(len(rows), self.design.spec.priors.correlation.eta)


def _correlation(factor: Factor, theta: Array) -> Array:
    assert factor.correlation is not None
    unit = theta.copy()
    factor.log_sigma.of(unit)[...] = 0.0
    root = target.scaled_factor(
        unit, factor.log_sigma.start, factor.correlation.start, factor.width
    )
    corr: Array = root @ root.T
    np.fill_diagonal(corr, 1.0)
    return corr


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
