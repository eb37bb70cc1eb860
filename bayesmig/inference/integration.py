"""A density over fewer coordinates: effects of many small groups are integrated out.

`bayesmig.inference.integrated` has the mathematics. Chains move over all else, and the effects
are drawn afterwards, from their density given it: independently of each other, by importance
resampling among candidates of the map, which is near that density already.
"""

from __future__ import annotations

import zlib
from itertools import product
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

from bayesmig.inference import integrated as compiled
from bayesmig.inference.callback import Callback
from bayesmig.inference.density import Density

Array = NDArray[np.float64]
#: Compiled functions have no signature that a type checker could read.
target: Any = compiled
#: Quadrature points along an effect, by the number of effects: from the fewest on, until the log
#: density differs by less than so much between places, but for a constant, from that of more.
#: On a survey of 12,000 households a difference of 0.6 went with scales that were a quarter of
#: a standard deviation off.
_POINTS = {1: (5, 7, 9, 13, 17, 25, 41), 2: (5, 7, 9, 13, 17, 21)}
_EXACT, _PLACES, _SPREAD = 0.2, 6, 0.7
#: Among so many candidates the effects of a group are drawn.
_CANDIDATES = 32


class Integrated:
    """A posterior density without the effects of one factor.

    Parameters
    ----------
    density
        With all effects.
    by
        The factor.
    points
        Quadrature points along each of a group's effects.

    Attributes
    ----------
    size
        Length of the vector of coordinates.
    """

    def __init__(self, density: Density, by: str, points: int) -> None:
        self.density, self.by, self.points = density, by, points
        number = [factor.by for factor in density.layout.factors].index(by)
        factor = density.layout.factors[number]
        self.size = density.size - factor.groups * factor.width
        self._arguments = (
            density.blocks.arrays,
            density.chosen,
            _integral(density, number, points),
            *density.map_arguments,
        )
        self.callback = Callback(self.size, self._arguments, "integrated")

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """Log density up to a constant, and its gradient (length ``size``)."""
        value, gradient = self.callback(vector)
        if not np.isfinite(value):
            return -np.inf, np.zeros(self.size)
        return value, gradient

    def start(self, rng: np.random.Generator) -> Array:
        """A starting point, near the posterior's bulk."""
        return rng.normal(0.0, 0.5, self.size)

    def parameters(self, vectors: Array) -> dict[str, Array]:
        """The named parameters at vectors of coordinates, ``(..., size)``.

        The effects that are integrated over are drawn, with numbers that the vectors seed.
        """
        flat = np.ascontiguousarray(vectors.reshape(-1, self.size))
        layout, lead = self.density.layout, vectors.shape[:-1]
        theta = np.empty((len(flat), layout.n_theta))
        effects = np.empty((len(flat), layout.n_effects))
        seed = zlib.crc32(flat.tobytes()) % 2**31
        target.draw_effects(flat, seed, _CANDIDATES, *self._arguments, theta, effects)
        return self.density.named(theta.reshape(*lead, -1), effects.reshape(*lead, -1))


def integrated(density: Density, by: str) -> Integrated | None:
    """The density without the effects of a factor, over as many points as it needs.

    ``None`` where no number of points is enough: where scales are so large that the density of
    a group of whom nobody moved has a kink.
    """
    (width,) = (factor.width for factor in density.layout.factors if factor.by == by)
    first, *more = _POINTS[width]
    finest = Integrated(density, by, first)
    places = np.random.default_rng(0).normal(0.0, _SPREAD, (_PLACES, finest.size))
    for points in more:
        coarser, finest = finest, Integrated(density, by, points)
        gaps = [finest(place)[0] - coarser(place)[0] for place in places]
        if np.ptp(gaps) < _EXACT:
            return coarser
    return None


def _integral(density: Density, factor: int, points: int) -> tuple[Any, ...]:
    """The argument ``integral`` of the compiled functions."""
    of = density.layout.factors[factor]
    z, weights = hermegauss(points)
    grid = np.array(list(product(range(points), repeat=of.width)))
    codes = density.columns.groups[of.by][0][density.blocks.order]
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    empty = np.setdiff1d(np.arange(of.groups), codes[first])
    return (
        factor,
        z,
        np.ascontiguousarray(grid.T),
        (np.log(weights) + z**2 / 2)[grid].sum(axis=1),
        np.concatenate([codes[first], empty]).astype(np.int64),
        np.concatenate([first, np.full(len(empty) + 1, len(codes))]).astype(np.int64),
    )
