"""Consideration: whether an alternative is feasible, apart from whether it is wanted.

The base is always feasible, and every alternative ``j`` of some others with probability
``q_j = invlogit(w_n'kappa_j)``, independently. Out of the feasible set the best is chosen, so
that (Manski 1977, doi 10.1007/BF00133443; Swait and Ben-Akiva 1987,
doi 10.1016/0191-2615(87)90009-9)

    P(j) = sum_S P(S) P(j | S),   P(S) = prod_{k in S} q_k prod_{k not in S} (1 - q_k)

over all ``2^K`` sets. Nothing of it is simulated. Where all are feasible it is the model
within the sets: a logit, or a nested one.

Written once over an array namespace ``xp`` (numpy or ``pytensor.tensor``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from bayesmig.choice import logit


def log_odds(xp: Any, blocks: Mapping[int, Any], coefficients: Any) -> dict[int, Any]:
    """Log odds that alternatives are feasible.

    Parameters
    ----------
    xp
        Array namespace.
    blocks
        Position of an alternative -> its columns, ``(obs, k)``.
    coefficients
        Of all of them, in the order of the mapping, ``(..., term)``.

    Returns
    -------
    dict
        Position -> ``(..., obs)``.
    """
    found, start = {}, 0
    for position, block in blocks.items():
        stop = start + block.shape[1]
        found[position] = xp.sum(block * coefficients[..., None, start:stop], axis=-1)
        start = stop
    return found


def log_probabilities(
    xp: Any,
    odds: Mapping[int, Any],
    within: Callable[[Any], Any],
    available: Any,
) -> Any:
    """Log choice probabilities, feasible sets averaged out.

    Parameters
    ----------
    xp
        Array namespace.
    odds
        From `log_odds`.
    within
        Log probabilities ``(..., obs, alternative)`` given a boolean numpy array of what
        may be chosen, ``(obs, alternative)``.
    available
        What may be chosen where all is feasible, such an array. In every row it holds an
        alternative that is always feasible.

    Returns
    -------
    array
        ``(..., obs, alternative)``; what is not available has a finite, very low value.
    """
    feasible, not_feasible = {}, {}
    for position, value in odds.items():
        pair = logit.log_probabilities(xp, xp.stack([value, xp.zeros_like(value)], axis=-1))
        feasible[position], not_feasible[position] = pair[..., 0], pair[..., 1]
    terms = []
    for inside in product((True, False), repeat=len(odds)):
        chosen_from = np.array(available)
        weight: Any = 0.0
        for position, is_in in zip(odds, inside, strict=True):
            chosen_from[:, position] &= is_in
            weight = weight + (feasible if is_in else not_feasible)[position]
        terms.append(within(chosen_from) + weight[..., None])
    stacked = xp.stack(terms, axis=0)
    top = xp.max(stacked, axis=0)
    return top + xp.log(xp.sum(xp.exp(stacked - top), axis=0))
