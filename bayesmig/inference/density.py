"""The log posterior density of a design, over the sampler's coordinates.

It restates `bayesmig.inference.graph` for speed; a test holds them together on random
inputs. The mathematics is in `bayesmig.inference.target`, the coordinates' in
`bayesmig.inference.geometry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.utility import take_rows
from bayesmig.design.design import Design
from bayesmig.design.priors import PriorArray
from bayesmig.inference.blocks import (
    Precision,
    Rows,
    arrange,
    chosen_sums,
    refuse_beyond_logit,
    rows_of,
)
from bayesmig.inference.geometry import Expansion, Problem, expand
from bayesmig.inference.layout import Factor, layout_of, scale_shape
from bayesmig.inference.machine_code import Library

if TYPE_CHECKING:
    from bayesmig.inference.callback import Callback

Array = NDArray[np.float64]
target = Library("bayesmig.inference.target")
#: Rows that the search for the mode begins with, where there are many more.
_THINNED = 50_000
#: Groups whose effects are worth integrating out: many, with few rows each, of which hardly any
#: has one that chose the rarest alternative. Where more have, the map is several times as fast.
_LEAST_GROUPS, _MOST_ROWS, _MOST_CHOSEN = 200, 6.0, 0.05
#: Effects that one of them may have.
_MOST_WIDTH = 2
_SCALE_KINDS = {"exponential": 0, "half_normal": 1, "half_student_t": 2}

#: Theta, and all effects, flat.
Mode = tuple[Array, Array]


class Density:
    """Log density of a design's posterior and its gradient.

    Parameters
    ----------
    design
        A checked design.
    precision
        Of the loops over rows: ``single`` or ``double``.
    start
        The `mode` of nearly the same density, near which this one's is looked for.

    Attributes
    ----------
    size
        Length of the vector of coordinates.
    columns
        The rows that are looped over: those of the design, or its distinct ones.
    """

    def __init__(
        self, design: Design, precision: Precision = "double", start: Mode | None = None
    ) -> None:
        self.design = design
        self.precision = precision
        self.layout = layout_of(design)
        self._scales = {by: scale_shape(design, of) for by, of in design.layouts.items()}
        self.size = self.layout.size
        refuse_beyond_logit(design.columns)
        rows = rows_of(design, precision)
        self.columns, self.blocks, self.chosen = rows.columns, rows.blocks, rows.chosen
        self.problem = self._problem(rows)
        thinned = self._thinned() if start is None else None
        self._settle(expand(self.problem, thinned, start))

    def _settle(self, expansion: Expansion) -> None:
        """Take coordinates from an expansion."""
        self.expansion = expansion
        self._whitening = (self.expansion.centre, np.ascontiguousarray(self.expansion.root))
        self._map = (self.expansion.table, self.expansion.arrays)
        self.map_arguments = (
            self._whitening,
            self.problem.prior_arrays,
            self.problem.scale_prior,
            *self._map,
        )
        # That of other coordinates, where this is a copy.
        self.__dict__.pop("callback", None)

    @cached_property
    def callback(self) -> Callback:
        """What chains call. It, and numba, are loaded here: weighted draws do without."""
        from bayesmig.inference.callback import Callback

        return Callback(self.size, (self.blocks.arrays, self.chosen, *self.map_arguments))

    def moved(self, expansion: Expansion) -> Density:
        """The same density over the coordinates of another expansion."""
        other = copy(self)
        other._settle(expansion)
        return other

    def _problem(self, rows: Rows) -> Problem:
        scales = self.design.spec.priors.scale
        return Problem(
            self.layout,
            rows.blocks,
            rows.chosen,
            {by: codes for by, (codes, _) in rows.columns.groups.items()},
            _flatten(self.design.priors),
            (_SCALE_KINDS[scales.dist], scales.scale, scales.df),
            self.design.spec.priors.correlation.eta,
        )

    def _thinned(self) -> Problem | None:
        """Some of many rows, each for several: their mode is near, and soon found."""
        n = self.design.n_obs
        # Under flat priors a part may be separated where the whole is not.
        if n < 2 * _THINNED or not _flatten(self.design.priors).dist.all():
            return None
        rows = np.sort(np.random.default_rng(0).choice(n, _THINNED, replace=False))
        columns, counts = take_rows(self.design.columns, rows), np.full(_THINNED, n / _THINNED)
        if (weights := self.design.likelihood_weights) is not None:
            counts *= weights[rows]
        sizes = {by: len(layout.levels) for by, layout in self.design.layouts.items()}
        blocks = arrange(columns, sizes, precision=self.precision, counts=counts)
        chosen = chosen_sums(columns, sizes, self.design.choice[rows], counts)
        return self._problem(Rows(columns, blocks, chosen))

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """Log density up to a constant, and its gradient (length ``size``)."""
        value, gradient = self.callback(vector)
        if not np.isfinite(value):
            return -np.inf, np.zeros(self.size)
        return value, gradient

    @property
    def mode(self) -> Mode:
        """Theta and effects that the expansion is around."""
        return self.located(np.zeros(self.size))

    def located(self, vectors: Array) -> Mode:
        """Theta and effects at vectors of coordinates, ``(..., size)``."""
        flat, lead = vectors.reshape(-1, self.size), vectors.shape[:-1]
        theta = np.empty((len(flat), self.layout.n_theta))
        effects = np.empty((len(flat), self.layout.n_effects))
        target.locations(flat, self._whitening, *self._map, theta, effects)
        return theta.reshape(*lead, -1), effects.reshape(*lead, -1)

    def start(self, rng: np.random.Generator) -> Array:
        """A starting point, near the posterior's bulk."""
        return rng.normal(0.0, 0.5, self.size)

    def parameters(self, vectors: Array) -> dict[str, Array]:
        """The named parameters at vectors of coordinates, ``(..., size)``."""
        return self.named(*self.located(vectors))

    def named(self, theta: Array, effects: Array) -> dict[str, Array]:
        """The named parameters, from theta and all effects, flat, ``(..., length)``."""
        layout = self.layout
        persons, only, attributes = layout.split(theta[..., : layout.n_coefficients])
        named = {"beta": persons.copy()}
        if only.shape[-1]:
            named["beta_only"] = only.copy()
        if attributes.shape[-1]:
            named["gamma"] = attributes.copy()
        lead = theta.shape[:-1]
        for factor in layout.factors:
            named[f"u_{factor.by}"] = factor.effects.of(effects).reshape(*lead, *factor.shape)
            sigma = np.exp(factor.log_sigma.of(theta))
            named[f"sigma_{factor.by}"] = sigma.reshape((*lead, *self._scales[factor.by]))
            if factor.correlation is not None:
                named[f"corr_{factor.by}"] = _correlations(factor, theta)
        return named


class Near(NamedTuple):
    """Where coefficients of all blocks lie about, one after the other, and how they covary.

    Attributes
    ----------
    centre
        ``(coefficient,)``.
    root
        A root of their covariance, ``(coefficient, coefficient)``.
    gates
        What is feasible with some probability.
    """

    centre: Array
    root: Array
    gates: tuple[Gate, ...] = ()


class Gate(NamedTuple):
    """Where consideration of an alternative goes in the utilities of a logit without it.

    Few of those for whom it is feasible choose it, so that its probability is about that of
    being feasible, ``q(w) = invlogit(w'kappa)``, times ``exp(V)``, and the logit without
    consideration has ``V + log q(w)``. Of the columns ``w`` it knows what its own columns tell.

    Attributes
    ----------
    where
        Positions of the coefficients of persons in its utility among all, ``(person,)``.
    terms
        Where its coefficients ``kappa`` stand among those of feasibility.
    mean
        Of its columns, ``(term,)``.
    along
        The columns, less their means, by those of persons: ``(person, term)``.
    one
        A constant by these, ``(person,)``.
    """

    where: NDArray[np.int64]
    terms: slice
    mean: Array
    along: Array
    one: Array


def nearest_logit(design: Design) -> Near | None:
    """Coefficients of a theory without what makes it more than a logit; `None` without a mode.

    Nests change where they lie and how large they are, and hardly how they are correlated, which
    is a matter of the columns. A response curve goes along with constants, which a logit without
    it does not know. What is feasible goes along with constants and slopes as `Gate` says.
    """
    logit = replace(design.columns, tastes={}, nests=None, curves=(), doses=None, feasible={})
    try:
        density = Density(replace(design, columns=logit))
        n = density.layout.n_coefficients
        centre, root = density.expansion.centre[:n], density.expansion.root[:n]
        found = Near(centre, np.linalg.cholesky(root @ root.T), tuple(_gates(design)))
    except np.linalg.LinAlgError:
        return None
    return found if all(np.isfinite(part).all() for part in found[:2]) else None


def _gates(design: Design) -> Iterator[Gate]:
    columns, start = design.columns, 0
    nonbase = np.delete(np.arange(columns.n_alternatives), columns.base)
    for position, block in columns.feasible.items():
        terms, mean = slice(start, start + block.shape[1]), block.mean(axis=0)
        start = terms.stop
        wanted = np.column_stack([block - mean, np.ones(len(block))])
        found = np.linalg.lstsq(columns.persons, wanted)[0]
        of_utility = np.arange(len(found)) * len(nonbase) + np.flatnonzero(nonbase == position)
        yield Gate(of_utility, terms, mean, found[:, :-1], found[:, -1])


def worth_integrating(density: Density) -> str:
    """The factor whose effects are worth integrating out; empty where there is none."""
    factors, n = density.layout.factors, len(density.columns.persons)
    if not factors:
        return ""
    inner = density.problem.inner
    # A factor that others lie in has effects of its own in theirs.
    many = max(factors, key=lambda f: f.groups) if inner < 0 else factors[inner]
    codes, terms = density.columns.groups[many.by]
    fits = many.width <= _MOST_WIDTH and many.copies == 1
    constant = terms.shape[1] == 1 and bool((terms == 1).all())
    if not (fits and constant) or many.groups < _LEAST_GROUPS or n > _MOST_ROWS * many.groups:
        return ""
    chosen = np.bincount(density.design.choice, minlength=density.design.columns.n_alternatives)
    if np.delete(chosen, density.design.columns.base).min() > _MOST_CHOSEN * many.groups:
        return ""
    # Where another factor crosses it, rows of a group do not follow each other.
    runs = np.count_nonzero(np.diff(codes[density.blocks.order])) + 1
    return many.by if runs == len(np.unique(codes)) else ""


def _correlations(factor: Factor, theta: Array) -> Array:
    """Correlations of a factor's effects, ``(..., scale, scale)``."""
    assert factor.correlation is not None
    width = factor.scales
    flat = np.ascontiguousarray(theta.reshape(-1, theta.shape[-1]))
    out = np.empty((len(flat), width, width))
    target.correlations(flat, factor.log_sigma.start, factor.correlation.start, out)
    return out.reshape(*theta.shape[:-1], width, width)


def _flatten(priors: Mapping[str, PriorArray]) -> PriorArray:
    """Priors of all coefficients in the order of the vector."""
    blocks = [priors[k] for k in ("persons", "only", "alternatives")]
    parts = ("dist", "loc", "scale", "df")
    return PriorArray(*(np.concatenate([getattr(b, k).ravel() for b in blocks]) for k in parts))
