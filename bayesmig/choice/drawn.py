"""Choices drawn from probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Choices = NDArray[np.int8]


def draw_choices(probabilities: Array, rng: np.random.Generator) -> Choices:
    """One choice per row, ``(..., obs)``, from probabilities ``(..., obs, alternative)``."""
    # Strided sums: a cumulative sum over so short an axis takes several times as long.
    width, below = probabilities.shape[-1], probabilities[..., 0].copy()
    total = below.copy()
    for j in range(1, width):
        total += probabilities[..., j]
    # Scaled by their own sum, so that rounding never opens a closed last alternative.
    uniform = rng.random(below.shape) * total
    chosen = np.zeros(uniform.shape, dtype=np.int8)
    for j in range(width - 1):
        chosen += uniform >= below
        below += probabilities[..., j + 1]
    return chosen
