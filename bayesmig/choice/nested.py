"""The nested logit: alternatives that are closer substitutes for each other than for the rest.

A nest ``m`` has the dissimilarity ``lambda_m``, and the utility (Train 2009, ch. 4)

    V_m = lambda_m log sum_c exp(V_c / lambda_m)

over its children ``c``: alternatives, or nests that lie in it. A child is chosen, given its
nest, with probability ``exp((V_c - V_m) / lambda_m)``; of the root, ``lambda`` is one. All
lambdas are in units of the utilities, so that one level's do not depend on another's. The
model maximises utility where ``0 < lambda_child <= lambda_parent <= 1`` (Daly and Zachary 1978;
McFadden 1978); with all of them one it is the logit. Free parameters are therefore the ratios
``lambda_child / lambda_parent``, each in (0, 1], and `dissimilarities` makes lambdas of them.

Written once over an array namespace ``xp`` (numpy or ``pytensor.tensor``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from bayesmig.choice.logit import UNAVAILABLE

#: Below every utility: stands for what is not available where a maximum is looked for.
_NOTHING = np.float64(-1e300)
#: Where a nest lies that lies in no other.
ROOT = -1


@dataclass(frozen=True, slots=True)
class Tree:
    """Which alternatives and nests lie in which nest.

    Attributes
    ----------
    alternatives
        For every alternative, the position of the nest in which it lies directly;
        `ROOT` where it lies in none.
    nests
        The same for every nest.
    """

    alternatives: tuple[int, ...]
    nests: tuple[int, ...]

    @property
    def top_down(self) -> tuple[int, ...]:
        """The nests, each after the one that it lies in."""

        def depth(nest: int) -> int:
            return 0 if nest == ROOT else 1 + depth(self.nests[nest])

        return tuple(sorted(range(len(self.nests)), key=depth))

    def children(self, nest: int) -> tuple[int, ...]:
        """Alternatives, then nests numbered on from these, that lie directly in a nest."""
        above = (*self.alternatives, *self.nests)
        return tuple(node for node, parent in enumerate(above) if parent == nest)

    def below(self, nest: int) -> tuple[int, ...]:
        """All alternatives of a nest, at any remove, in order."""
        own = [j for j, above in enumerate(self.alternatives) if above == nest]
        deeper = [j for m, above in enumerate(self.nests) if above == nest for j in self.below(m)]
        return tuple(sorted([*own, *deeper]))


def dissimilarities(xp: Any, tree: Tree, ratios: Any) -> Any:
    """Lambdas from their ratios to those of the nests above.

    Parameters
    ----------
    xp
        Array namespace.
    tree
        The nests.
    ratios
        In (0, 1], ``(..., nest)``.

    Returns
    -------
    array
        ``(..., nest)``.
    """
    found: dict[int, Any] = {ROOT: 1.0}
    for nest in tree.top_down:
        found[nest] = found[tree.nests[nest]] * ratios[..., nest]
    return xp.stack([found[m] for m in range(len(tree.nests))], axis=-1)


def log_probabilities(
    xp: Any, tree: Tree, lambdas: Any, utility: Any, available: Any = None
) -> Any:
    """Log choice probabilities under the nested logit.

    Parameters
    ----------
    xp
        Array namespace.
    tree
        The nests.
    lambdas
        Dissimilarities, ``(..., nest)``.
    utility
        Systematic utility ``V``, ``(..., obs, alternative)``.
    available
        Boolean numpy array ``(obs, alternative)``; ``None`` where all are available. Every
        row needs at least one available alternative.

    Returns
    -------
    array
        Log probabilities, shape of ``utility``. An unavailable alternative has a finite,
        very low value whose exponential is exactly zero.
    """
    n_alternatives, n_nests = len(tree.alternatives), len(tree.nests)
    # Nodes: alternatives, then nests. What is closed has a utility that harms nothing.
    above = [*tree.alternatives, *tree.nests]
    value: list[Any] = [utility[..., j] for j in range(n_alternatives)] + [None] * n_nests
    is_open: list[Any] = [None] * len(above)
    if available is not None:
        is_open[:n_alternatives] = [available[:, j] for j in range(n_alternatives)]
        value[:n_alternatives] = [
            xp.where(is_open[j], value[j], 0.0) for j in range(n_alternatives)
        ]
    given: list[Any] = [0.0] * len(above)
    for nest in [*reversed(tree.top_down), ROOT]:
        children = tree.children(nest)
        scale = 1.0 if nest == ROOT else lambdas[..., nest, None]
        inclusive, some, inside = _one_nest(
            xp, [value[c] / scale for c in children], [is_open[c] for c in children]
        )
        for child, log_p in zip(children, inside, strict=True):
            given[child] = log_p
        if nest != ROOT:
            value[n_alternatives + nest] = scale * inclusive
            is_open[n_alternatives + nest] = some
    for nest in tree.top_down:
        if tree.nests[nest] != ROOT:
            outer = given[n_alternatives + tree.nests[nest]]
            given[n_alternatives + nest] = given[n_alternatives + nest] + outer
    return xp.stack(
        [
            given[j] + (0.0 if nest == ROOT else given[n_alternatives + nest])
            for j, nest in enumerate(tree.alternatives)
        ],
        axis=-1,
    )


def _one_nest(xp: Any, values: list[Any], is_open: list[Any]) -> tuple[Any, Any, list[Any]]:
    """Log sum of exponentials of the children, whether any is open, and their log shares.

    A nest none of whose children is open has a value of zero, so that nothing that is
    made of it, and later thrown away, is infinite.
    """
    masked, some = values, None
    if is_open[0] is not None:
        some = is_open[0]
        for one in is_open[1:]:
            some = some | one
        masked = [xp.where(o, v, _NOTHING) for o, v in zip(is_open, values, strict=True)]
    # By pairs: of numpy, a maximum over a short last axis takes several times as long.
    top = reduce(xp.maximum, masked)
    if some is not None:
        top = xp.where(some, top, 0.0)
    shifted = [value - top for value in values]
    if some is None:
        total = sum(xp.exp(s) for s in shifted)
    else:
        # Before the exponential, or its derivative would be infinite times zero.
        shifted = [xp.where(o, s, 0.0) for o, s in zip(is_open, shifted, strict=True)]
        total = sum(xp.where(o, xp.exp(s), 0.0) for o, s in zip(is_open, shifted, strict=True))
        total = xp.where(some, total, 1.0)
    log_total = xp.log(total)
    shares = [s - log_total for s in shifted]
    if some is not None:
        shares = [xp.where(o, s, UNAVAILABLE) for o, s in zip(is_open, shares, strict=True)]
    return top + log_total, some, shares
