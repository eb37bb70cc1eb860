"""Whether choices within origins and households are as alike as a theory says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Cells, Choices, Statistic, cells_of
from bayesmig.checks.result import (
    NUMBERS,
    CheckResult,
    Judgement,
    furthest,
    not_asked,
    percent,
    tabled,
    with_numbers,
)
from bayesmig.design.design import Design
from bayesmig.posterior import Posterior

Array = NDArray[np.float64]
NAME = "clustering"
KIND = "predictive_spread"
COLUMNS = ("by", "alternative", *NUMBERS, "groups")
#: Roles within which choices may be more alike than the theory says.
_ROLES = ("origin", "region", "household", "person")
#: Rows per group on average, below which groups say nothing.
_LEAST_ROWS = 1.1
#: Choosers of an alternative, and others, that its spread needs to be tested.
_LEAST_CHOOSERS = 5


@dataclass(frozen=True, eq=False)
class Cluster:
    """Groups within which choices may be alike.

    Attributes
    ----------
    by
        The role.
    groups
        Cells of the groups, every row counting once.
    n_alternatives
        Size of the choice set.
    """

    by: str
    groups: Cells = field(repr=False)
    n_alternatives: int

    def spread(self, choices: Choices) -> Array:
        """Standard deviation of shares over groups, ``(draw, alternative)``.

        Groups count by their rows.
        """
        rows = self.groups.rows / self.groups.rows.sum()
        shares = self.groups.shares(choices, self.n_alternatives)
        centre = np.einsum("g,dgj->dj", rows, shares)
        square = np.einsum("g,dgj->dj", rows, np.square(shares))
        return np.asarray(np.sqrt(np.maximum(square - centre**2, 0.0)))


def clusters(design: Design) -> list[Cluster]:
    """The declared roles that hold several rows per group on average."""
    found = []
    for role in _ROLES:
        if role not in design.roles:
            continue
        codes, levels = pd.factorize(design.frame[design.roles[role]].astype(str))
        if 1 < len(levels) <= design.n_obs / _LEAST_ROWS:
            cells = cells_of(codes.astype(np.int64), len(levels))
            found.append(Cluster(role, cells, len(design.alternatives)))
    return found


def spread_statistics(groups: Sequence[Cluster]) -> dict[str, Statistic]:
    """Statistics for `bayesmig.checks.replicate.replicate`, by their names."""
    return {f"spread {c.by}": c.spread for c in groups}


def clustering(
    posterior: Posterior, groups: Sequence[Cluster], replicated: dict[str, Array]
) -> CheckResult:
    """Check that choices within a group are as alike as the theory says, and no more.

    For origins, regions, households and persons with several rows: the standard
    deviation of an alternative's share over groups, against replicated surveys (see
    `bayesmig.checks.predictive.predictive_shares`). More spread than replicated means
    that something shared within the group is left out; intervals are then too narrow.
    Every row counts once.

    Parameters
    ----------
    posterior
        Draws of a theory.
    groups, replicated
        From `clusters` and `replicate`.

    Returns
    -------
    CheckResult
        ``passed`` is ``None`` where no role groups rows. Table: ``by``,
        ``alternative``, ``observed``, ``predicted``, ``lower``, ``upper``, ``p_value``,
        ``p_adjusted``, ``groups``.
    """
    if not groups:
        reason = "The survey declares no origins, regions, households or persons of several rows."
        return not_asked(NAME, KIND, COLUMNS, reason)
    design = posterior.design
    chosen = design.choice[:, None].astype(np.int8)
    width = len(design.alternatives)
    frame = pd.DataFrame(
        {
            "by": np.repeat([c.by for c in groups], width),
            "alternative": list(design.alternatives) * len(groups),
            "groups": np.repeat([len(c.groups.rows) for c in groups], width),
        }
    )
    observed = np.concatenate([c.spread(chosen)[0] for c in groups])
    drawn = np.concatenate([replicated[f"spread {c.by}"] for c in groups], axis=1)
    counts = np.bincount(design.choice, minlength=width)
    enough = np.minimum(counts, design.n_obs - counts) >= _LEAST_CHOOSERS
    table, judgement = with_numbers(frame, observed, drawn, np.tile(enough, len(groups)))
    table = table[list(COLUMNS)]
    passed = not judgement.failed.any()
    return CheckResult(NAME, passed, tabled(table, KIND), _text(table, judgement))


def _text(table: pd.DataFrame, judgement: Judgement) -> str:
    roles = ", ".join(dict.fromkeys(table["by"]))
    if not judgement.failed.any():
        return (
            f"Choices within {roles} are as alike as the theory says (smallest adjusted "
            f"p-value {judgement.smallest:.2g})."
        )
    failed = table[judgement.failed]
    more = failed[failed["observed"] > failed["predicted"]]
    parts = [
        f"{r.alternative} by {r.by}: standard deviation of shares {percent(r.observed)}, "
        f"replicated {percent(r.lower)} to {percent(r.upper)}"
        for r in furthest(failed).itertuples()
    ]
    mend = ", ".join(dict.fromkeys(more["by"]))
    return (
        "Choices within groups are not as alike as the theory says: "
        + "; ".join(parts)
        + "."
        + (f" Something shared by {mend} is left out; intervals are too narrow." if mend else "")
    )
