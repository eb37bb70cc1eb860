"""A density over fewer coordinates: effects of many small groups are integrated out.

`bayesmig.inference.integrated` has the mathematics. Chains move over all else; what they move
on is the posterior within an error of quadrature that `Integrated.error` measures. The effects
are drawn afterwards, independently of each other, by importance resampling: one of
`_CANDIDATES` around their mode given all else. With finitely many of them that is their density
nearly, not exactly; a test holds it to the exact one, to a few hundredths of a standard
deviation.
"""

from __future__ import annotations

import zlib
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

from bayesmig.inference.callback import Callback
from bayesmig.inference.density import Density
from bayesmig.inference.geometry import Expansion
from bayesmig.inference.machine_code import Library

Array = NDArray[np.float64]
target = Library("bayesmig.inference.integrated")
#: Quadrature points along each effect: from the fewest on until, with more of them, no differences
#: of the log density between places change by so much. On a survey of 12,000 households a change of
#: 0.6 went with scales that were a quarter of a standard deviation off.
_POINTS, _EXACT = (5, 9, 13, 19, 27, 41), 0.2
_PLACES, _SPREAD = 6, 0.5
#: Newton steps of theta at most, none of which is worth its price where it is of so few standard
#: deviations a coordinate and curvatures lie within such a factor of one.
_ROUNDS, _NEAR, _ROUND = 8, 0.15, 1.8
#: Their length at most, and the least curvature they are taken with; of differences; steps of other
#: effects to their mode; halvings of a step that leads down.
_FAR, _LEAST, _STEP, _CLIMBS, _HALVINGS = 10.0, 0.2, 0.3, 3, 4
#: Variances below which coefficients follow them no longer.
_LEAST_SQUARE = 0.25
#: Draws at which the points are looked at again.
_LOOKS = 20
#: Among so many candidates the effects of a group are drawn.
_CANDIDATES = 32


#: Where log sigma lie in theta, variances there, and coefficients by variances.
Bend = tuple[NDArray[np.int64], Array, Array]


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
    bend
        How coefficients follow variances of effects, ``bend`` of
        `bayesmig.inference.integrated`; left out: they do not.

    Attributes
    ----------
    size
        Length of the vector of coordinates.
    """

    def __init__(
        self, density: Density, by: str, points: tuple[int, ...], bend: Bend | None = None
    ) -> None:
        self.density, self.by, self.points = density, by, points
        self.bend = bend or _straight(density)
        number = [factor.by for factor in density.layout.factors].index(by)
        factor = density.layout.factors[number]
        self.size = density.size - factor.groups * factor.width
        self._arguments = (
            density.blocks.arrays,
            density.chosen,
            (*_integral(density, number, points), self.bend),
            *density.map_arguments,
        )
        self.callback = Callback(self.size, self._arguments, "integrated")

    def over(self, points: tuple[int, ...]) -> Integrated:
        """The same over other numbers of points."""
        return Integrated(self.density, self.by, points, self.bend)

    def moved(self, expansion: Expansion, bend: Bend) -> Integrated:
        """The same over other coordinates."""
        return Integrated(self.density.moved(expansion), self.by, self.points, bend)

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

    def known(self, drawn: xr.Dataset) -> dict[str, float]:
        """What is kept with a chain of vectors."""
        return {"quadrature_error": self.error(drawn["vector"].to_numpy())}

    def error(self, vectors: Array) -> float:
        """Standard deviation over draws of what more points would change in the log density.

        No mean of a parameter is off by more of its standard deviations than that, nearly: it
        is off by the covariance of the parameter and the change.
        """
        flat = vectors.reshape(-1, self.size)
        some = flat[:: max(1, len(flat) // _LOOKS)]
        finer = self.over(tuple(map(_more, self.points)))
        return float(np.std([finer(v)[0] - self(v)[0] for v in some]))


def integrated(density: Density, by: str) -> Integrated | None:
    """The density without the effects of a factor, over as many points as it needs.

    Its coordinates are centred and whitened where its own bulk is: the expansion that came
    with the density takes the effects that are integrated out for normal, which they are not.
    ``None`` where no number of points is enough: where scales are so large that the density of
    a group of whom nobody moved has a kink.
    """
    (width,) = (factor.width for factor in density.layout.factors if factor.by == by)
    fewest = (_POINTS[0],) * width
    if (start := _exact(Integrated(density, by, fewest))) is None:
        return None
    found = start
    for _ in range(_ROUNDS):
        if (moved := _moved(found)) is None:
            break
        found = moved
    return found if found is start else _exact(found.over(fewest))


def _exact(marginal: Integrated) -> Integrated | None:
    """Over as many points as differences of the log density between places need."""
    found, width = marginal, len(marginal.points)
    places = np.random.default_rng(0).normal(0.0, _SPREAD, (_PLACES, found.size))
    values = np.array([found(place)[0] for place in places])
    axis, enough = 0, 0
    # Along each effect by itself: the rarer an alternative, the more points its effect needs.
    while enough < width:
        points = list(found.points)
        points[axis] = _more(points[axis])
        if points[axis] > _POINTS[-1]:
            return None
        finer = found.over(tuple(points))
        changed = np.array([finer(place)[0] for place in places])
        if np.ptp(changed - values) < _EXACT:
            axis, enough = (axis + 1) % width, enough + 1
        else:
            found, values, enough = finer, changed, 0
    return found


def _moved(marginal: Integrated) -> Integrated | None:
    """Newton's step of theta, other effects at their mode; ``None`` where it is short.

    Given theta those effects are nearly standard normal in the map's coordinates, so that
    their mode is a few steps of their slopes away, and what they leave of theta's curvature is
    that less the products of the mixed ones.
    """
    t, here = marginal.density.layout.n_theta, np.zeros(marginal.size)
    height, slope = _at_mode(marginal, here)
    unit = _STEP * np.eye(t, marginal.size)
    rows = np.array([marginal(here + e)[1] - marginal(here - e)[1] for e in unit]) / (2 * _STEP)
    mixed = rows[:, t:]
    curvature = -rows[:, :t] - mixed @ mixed.T
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    whole = vectors @ ((vectors.T @ (slope[:t] + mixed @ slope[t:])) / values.clip(_LEAST))
    size = float(np.linalg.norm(whole))
    if size < _NEAR * np.sqrt(t) and values[0] > 1 / _ROUND and values[-1] < _ROUND:
        return None
    step, at = whole * min(1.0, _FAR / size), marginal.density.expansion
    for _ in range(_HALVINGS):
        place = here.copy()
        place[:t] = step
        if _at_mode(marginal, place)[0] > height:
            break
        step = step / 2
    else:
        step = np.zeros(t)
    centre = at.centre + at.root @ step
    lower = np.linalg.inv(at.root)
    precision = lower.T @ (vectors * values.clip(_LEAST)) @ vectors.T @ lower
    bend, centre, precision = _rebent(marginal.bend, centre, precision)
    values, vectors = np.linalg.eigh(at.root.T @ precision @ at.root)
    return marginal.moved(at.whitened(centre, values, vectors), bend)


def _straight(density: Density) -> Bend:
    """No bend."""
    places = [np.arange(f.log_sigma.start, f.log_sigma.stop) for f in density.layout.factors]
    at = np.concatenate(places)
    return at, np.zeros(len(at)), np.zeros((len(at), density.layout.n_coefficients))


def _rebent(bend: Bend, centre: Array, precision: Array) -> tuple[Bend, Array, Array]:
    """A bend along the ridge, and centre and curvature of the coordinates that it leaves.

    With coefficients at their best given log sigma, their slope by it is that of ``G sigma^2``.
    """
    places, before, of_square = bend
    c = of_square.shape[1]
    square = np.exp(2 * centre[places])
    slopes = -np.linalg.solve(precision[:c, :c], precision[:c, places])
    added = (slopes / (2 * square.clip(_LEAST_SQUARE))).T
    # What the old bend adds at the new centre, and the new one does not, is the centre's own.
    moved = centre.copy()
    moved[:c] += (square - before) @ of_square
    turn = np.eye(len(centre))
    turn[:c, places] = added.T * 2 * square
    return (places, square, of_square + added), moved, turn.T @ precision @ turn


def _at_mode(marginal: Integrated, place: Array) -> tuple[float, Array]:
    """Log density and slopes where the effects that are left are at their mode, which is set."""
    t = marginal.density.layout.n_theta
    value, slope = marginal(place)
    for _ in range(_CLIMBS):
        place[t:] += slope[t:]
        value, slope = marginal(place)
    return value, slope


def _more(points: int) -> int:
    """The next number of points; beyond the last, half as many again."""
    return next((p for p in _POINTS if p > points), points + points // 2)


def _integral(density: Density, factor: int, points: tuple[int, ...]) -> tuple[Any, ...]:
    """The argument ``integral`` of the compiled functions."""
    of = density.layout.factors[factor]
    rules = [hermegauss(number) for number in points]
    # Points of all effects after each other, of which a node has one for each.
    starts = np.cumsum([0, *points])[:-1]
    grid = np.array(list(product(*map(range, points)))) + starts
    z, weights = (np.concatenate(of) for of in zip(*rules, strict=True))
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
