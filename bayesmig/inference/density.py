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
from bayesmig.inference.blocks import Precision, rows_of
from bayesmig.inference.geometry import Problem, expand
from bayesmig.inference.layout import Factor, layout_of

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
    precision
        Of the loops over rows: ``single`` or ``double``.

    Attributes
    ----------
    size
        Length of the vector of coordinates.
    columns
        The rows that are looped over: those of the design, or its distinct ones.
    """

    def __init__(self, design: Design, precision: Precision = "double") -> None:
        self.design = design
        self.precision = precision
        self._layout = layout_of(design)
        self.size = self._layout.size
        rows = rows_of(design, precision)
        self.columns, blocks, chosen = rows.columns, rows.blocks, rows.chosen
        prior, scales = _flatten(design.priors), design.spec.priors.scale
        self.problem = problem = Problem(
            self._layout,
            blocks,
            chosen,
            {by: codes for by, (codes, _) in self.columns.groups.items()},
            prior,
            (_SCALE_KINDS[scales.dist], scales.scale, scales.df),
            design.spec.priors.correlation.eta,
        )
        self.blocks, self.chosen = blocks, chosen
        self.expansion = expand(problem)
        self._whitening = (self.expansion.centre, np.ascontiguousarray(self.expansion.root))
        self._map = (self.expansion.layout, self.expansion.arrays)
        self.map_arguments = (
            self._whitening,
            problem.prior_arrays,
            problem.scale_prior,
            *self._map,
        )
        self._arguments = (blocks.arrays, chosen, *self.map_arguments)

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
        centre, root = self._whitening
        theta = centre + root @ vector[: self._layout.n_theta]
        return self.named(theta, target.effects_at(vector, self._whitening, *self._map))

    def named(self, theta: Array, effects: Array) -> dict[str, Array]:
        """The named parameters, from theta and all effects, flat."""
        layout = self._layout
        persons, only, attributes = layout.split(theta[: layout.n_coefficients])
        named = {"beta": persons.copy()}
        if len(only):
            named["beta_only"] = only.copy()
        if len(attributes):
            named["gamma"] = attributes.copy()
        for factor in layout.factors:
            named[f"u_{factor.by}"] = factor.effects.of(effects).reshape(factor.shape)
            sigma = np.exp(factor.log_sigma.of(theta))
            named[f"sigma_{factor.by}"] = sigma.reshape(factor.shape[1:])
            if factor.correlation is not None:
                named[f"corr_{factor.by}"] = _correlation(factor, theta)
        return named

    def named_draws(self, theta: Array, effects: Array) -> dict[str, Array]:
        """`named` of many draws, which lead."""
        each = [self.named(*of) for of in zip(theta, effects, strict=True)]
        return {name: np.stack([named[name] for named in each]) for name in each[0]}


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
