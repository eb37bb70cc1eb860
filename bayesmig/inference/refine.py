"""Coordinates of theta that are centred and whitened by its marginal density.

The expansion's centre is the mode of coefficients and effects together. Where groups have
few rows, and where few people choose an alternative, the volume of the effects moves the
posterior several standard deviations from there, and bends it. Here theta's marginal
density is Laplace's approximation at every theta, in differences of which Newton steps find
its mode and its curvature there. The target stays what it is: these are coordinates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayesmig.inference.approximate import FEW_GROUPS, ROWS_PER_GROUP, Proposal, supports
from bayesmig.inference.density import Density

Array = NDArray[np.float64]
#: Newton steps at most; one of so few standard deviations is not worth its price.
_ROUNDS, _NEAR = 4, 0.5
#: Curvature of a whitened coordinate is taken to lie between these.
_LEAST, _MOST = 0.1, 10.0


def refined(density: Density) -> Density:
    """The same density over coordinates that are centred where its bulk is.

    Parameters
    ----------
    density
        Of a design.

    Returns
    -------
    Density
        The one given where its centre is good: where groups are few or have many rows; and
        where the marginal density is not to be had: where factors cross.
    """
    if not supports(density):
        return density
    for _ in range(_ROUNDS):
        proposal = Proposal(density, 0, renews=True)
        few = proposal.units <= FEW_GROUPS
        if few or len(density.blocks.order) >= ROWS_PER_GROUP * proposal.units:
            break
        here, up, down = proposal.along_coordinates(1.0)
        if not np.isfinite([here, *up, *down]).all():
            break
        slope, bend = (up - down) / 2, 2 * here - up - down
        if np.abs(slope / bend.clip(0.3, 3.0)).max() < _NEAR:
            break
        moved = _step(density, proposal, float(here), up, down)
        if moved is None:
            break
        density = moved
    return density


def _step(
    density: Density, proposal: Proposal, here: float, up: Array, down: Array
) -> Density | None:
    """Newton's step, or the part of it that leads up; ``None`` where nothing does."""
    values, vectors = np.linalg.eigh(_curvature(proposal, here, up, down))
    values = values.clip(_LEAST, _MOST)
    step = vectors @ ((vectors.T @ (up - down)) / 2 / values)
    parts = 0.5 ** np.arange(5)
    heights = proposal.marginal(parts[:, None] * step)
    best = int(np.argmax(np.where(np.isfinite(heights), heights, -np.inf)))
    if not heights[best] > here:
        return None
    at = density.expansion
    centre = at.centre + at.root @ (parts[best] * step)
    return density.moved(at.whitened(centre, values, vectors))


def _curvature(proposal: Proposal, here: float, up: Array, down: Array) -> Array:
    """Of minus the log marginal density, by differences over a standard deviation."""
    t = len(up)
    out = np.diag(2 * here - up - down)
    one, other = np.triu_indices(t, 1)
    if not len(one):
        return out
    unit = np.eye(t)
    both = proposal.marginal(unit[one] + unit[other])
    mixed = up[one] + up[other] - here - both
    # Where a corner is out of reach, coordinates are left as they are.
    out[one, other] = out[other, one] = np.where(np.isfinite(mixed), mixed, 0.0)
    return out
