"""Derivatives of encoded columns by a step into the complex plane.

For a real analytic ``f``, ``Im f(x + ih) / h`` is ``f'(x)`` to the last digits: nothing
is subtracted, so that ``h`` may be tiny, and the real part never leaves its place, so
that edges of domains and bounds are no obstacle (Squire and Trapp 1998,
doi 10.1137/S003614459631241X). formulaic carries complex columns through, but for its
polynomials and splines, which are therefore given here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from formulaic.transforms import TRANSFORMS
from formulaic.utils.stateful_transforms import stateful_transform

#: Two steps: what they disagree on has no derivative, as a root has none at zero.
STEPS = (1e-200, 1e-100)


def _poly(x: Any, degree: int = 1, _state: Mapping[str, Any] | None = None) -> Any:
    """Orthogonal polynomials of complex numbers, as formulaic learnt them."""
    x, learnt = np.asarray(x), _state or {}
    before, at = np.zeros_like(x), np.ones_like(x)
    columns = {}
    for i in range(degree):
        ratio = learnt["norms2"][i] / learnt["norms2"][i - 1] if i else 0.0
        before, at = at, (x - learnt["alpha"][i]) * at - ratio * before
        columns[i + 1] = at / np.sqrt(learnt["norms2"][i + 1])
    return columns


def _bs(
    x: Any,
    df: int | None = None,
    degree: int = 3,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    _state: Mapping[str, Any] | None = None,
) -> Any:
    """Splines as formulaic learnt them, with their derivative as imaginary part.

    The derivative of a spline is one of a degree less on the same knots (de Boor 1978,
    ch. 10). At a knot where it jumps it is taken from the right.
    """
    x, learnt = np.asarray(x), dict(_state or {})
    knots = learnt["knots"]
    basis = TRANSFORMS["bs"]
    values = basis(x.real, degree=degree, _state=learnt)
    inner = {**learnt, "knots": knots[1:-1]}
    lower = basis(x.real, degree=degree - 1, include_intercept=True, _state=inner)
    lower = {i + 1: column for i, column in lower.items()}

    def part(i: int) -> Any:
        width = knots[i + degree] - knots[i]
        return degree * lower[i] / width if width > 0 else 0.0

    return {i: value + 1j * x.imag * (part(i) - part(i + 1)) for i, value in values.items()}


CONTEXT = {"poly": stateful_transform(_poly), "bs": stateful_transform(_bs)}
