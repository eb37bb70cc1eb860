"""The multinomial logit: utilities to log probabilities (McFadden 1974).

Written once over an array namespace ``xp``: numpy for prediction, simulation and
tests, ``pytensor.tensor`` for the posterior.
"""

from __future__ import annotations

from typing import Any

#: Utility of an alternative that is not available: finite, so that gradients stay
#: finite, and low enough that its probability is exactly zero in float64.
UNAVAILABLE = -1e6


def log_probabilities(xp: Any, utility: Any, available: Any = None) -> Any:
    """Log choice probabilities under the multinomial logit.

    Parameters
    ----------
    xp
        Array namespace: ``numpy`` or ``pytensor.tensor``.
    utility
        Systematic utility ``V``, shape ``(..., obs, alternative)``.
    available
        Boolean, shape ``(obs, alternative)``; ``None`` where all are available.
        Every row needs at least one available alternative.

    Returns
    -------
    array
        Log probabilities, shape of ``utility``. An unavailable alternative has a
        finite, very low value whose exponential is exactly zero.
    """
    if available is not None:
        utility = xp.where(available, utility, UNAVAILABLE)
    shifted = utility - xp.max(utility, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
