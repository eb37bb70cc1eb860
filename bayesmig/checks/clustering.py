"""Whether choices within origins and households are as alike as a theory says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Cells, Statistic, cells_of
from bayesmig.checks.result import (
    NAMED,
    UNWEIGHTED,
    CheckResult,
    Judgement,
    Scores,
    central,
    furthest,
    judge_upwards,
    not_asked,
    percent,
    tabled,
    upwards,
)
from bayesmig.choice.drawn import Choices
from bayesmig.design.design import Design
from bayesmig.posterior import Posterior

Array = NDArray[np.float64]
NAME = "clustering"
KIND = "clustering"
COLUMNS = (
    "by",
    "alternative",
    "observed",
    "predicted",
    "lower",
    "upper",
    "p_value",
    "p_adjusted",
    "groups",
    "fitted",
)
#: Roles within which choices may be more alike than the theory says.
_ROLES = ("origin", "region", "household", "person")
#: Rows per group on average, below which groups say nothing.
_LEAST_ROWS = 1.1
#: Choosers of an alternative, and others, that it needs to be tested.
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
    expected
        Share of each alternative that the theory expects in each group,
        ``(group, alternative)``.
    """

    by: str
    groups: Cells = field(repr=False)
    expected: Array = field(repr=False)

    def gap(self, choices: Choices) -> Array:
        """Root mean square gap of shares to what is expected, ``(draw, alternative)``.

        Groups count by their rows.
        """
        rows = self.groups.rows / self.groups.rows.sum()
        square = np.square(self.groups.shares(choices, self.expected.shape[1]) - self.expected)
        return np.asarray(np.sqrt(np.einsum("g,dgj->dj", rows, square)))


def clusters(design: Design, expected: Array) -> list[Cluster]:
    """The declared roles that hold several rows per group on average.

    Parameters
    ----------
    design
        Theory × survey.
    expected
        Posterior mean of every row's probabilities, ``(obs, alternative)``.
    """
    roles = {role: _groups(design, role) for role in _ROLES if role in design.roles}
    roles = {r: g for r, g in roles.items() if 1 < len(g.rows) <= design.n_obs / _LEAST_ROWS}
    return [Cluster(role, groups, groups.averages(expected)) for role, groups in roles.items()]


def _groups(design: Design, role: str) -> Cells:
    codes, levels = pd.factorize(design.frame[design.roles[role]].astype(str))
    return cells_of(codes.astype(np.int64), len(levels))


def gap_statistics(groups: Sequence[Cluster]) -> dict[str, Statistic]:
    """Statistics for `bayesmig.checks.replicate.replicate`, by their names."""
    return {f"gap {c.by}": c.gap for c in groups}


@dataclass(frozen=True, eq=False)
class Gaps:
    """Gaps of all groups and alternatives, observed and replicated.

    Attributes
    ----------
    observed, replicated
        ``(value,)`` and ``(replicate, value)``, alternatives innermost.
    enough
        Values that count, ``(value,)``.
    """

    observed: Array = field(repr=False)
    replicated: Array = field(repr=False)
    enough: NDArray[np.bool_] = field(repr=False)

    @property
    def scores(self) -> Scores:
        """All that is judged."""
        return upwards(self.observed, self.replicated, self.enough)


def gaps(design: Design, groups: Sequence[Cluster], replicated: Mapping[str, Array]) -> Gaps:
    """Gaps of groups among those of replicated choices; some group is needed."""
    chosen, width = design.choice[:, None].astype(np.int8), len(design.alternatives)
    counts = np.bincount(design.choice, minlength=width)
    enough = np.minimum(counts, design.n_obs - counts) >= _LEAST_CHOOSERS
    return Gaps(
        np.concatenate([c.gap(chosen)[0] for c in groups]),
        np.concatenate([replicated[f"gap {c.by}"] for c in groups], axis=1),
        np.tile(enough, len(groups)),
    )


def clustering(
    posterior: Posterior, groups: Sequence[Cluster], found: Gaps | None, peak: Array | None = None
) -> CheckResult:
    """Check that choices within a group are no more alike than the theory says.

    For origins, regions, households and persons with several rows: the root mean square
    gap between the share of an alternative in a group and the share that the theory
    expects there, against replicated surveys (see
    `bayesmig.checks.predictive.predictive_shares`). Larger gaps than replicated mean
    that something shared within the group is left out; intervals are then too narrow.
    A p-value is the share of replicated surveys whose gap is at least as large. Smaller
    gaps do not count, and are the rule where the theory gives the groups effects, which
    are fitted to the very shares: replicated choices scatter around these effects, the
    survey's own lie closer to them, and p is near one. Adjusted p-values allow for the
    number of roles and alternatives (`bayesmig.checks.result.judge_upwards`). Every row
    counts once.

    Parameters
    ----------
    posterior
        Draws of a theory.
    groups, found
        From `clusters` and `gaps`; ``None`` where there are no groups.
    peak
        Of all checks that are asked at once (`bayesmig.checks.result.peak_of`).

    Returns
    -------
    CheckResult
        ``passed`` is ``None`` where no role groups rows, or choosers are too few. Table: ``by``,
        ``alternative``, ``observed`` and ``predicted`` gap, ``lower``, ``upper``,
        ``p_value``, ``p_adjusted``, ``groups`` (their number), ``fitted`` (whether the
        theory gives these groups effects).
    """
    if found is None:
        reason = "The survey declares no origins, regions, households or persons of several rows."
        return not_asked(NAME, KIND, COLUMNS, reason)
    design, width = posterior.design, len(posterior.design.alternatives)
    judgement = judge_upwards(found.observed, found.replicated, found.enough, peak)
    lower, upper = central(found.replicated)
    table = pd.DataFrame(
        {
            "by": np.repeat([c.by for c in groups], width),
            "alternative": list(design.alternatives) * len(groups),
            "observed": found.observed,
            "predicted": found.replicated.mean(axis=0),
            "lower": lower,
            "upper": upper,
            "p_value": judgement.p_value,
            "p_adjusted": judgement.adjusted,
            "groups": np.repeat([len(c.groups.rows) for c in groups], width),
            "fitted": np.repeat([_fitted(design, c.by) for c in groups], width),
        }
    )
    text = f"{_text(table, judgement)} Weights: {UNWEIGHTED}."
    return CheckResult(NAME, judgement.passed, tabled(table, KIND, UNWEIGHTED), text)


def _fitted(design: Design, role: str) -> bool:
    """Whether the theory gives the groups of a role effects of their own."""
    return design.has_effects_of(role)


def _text(table: pd.DataFrame, judgement: Judgement) -> str:
    roles = ", ".join(dict.fromkeys(table["by"]))
    if judgement.passed is None:
        return f"Not asked: no alternative has {_LEAST_CHOOSERS} choosers and as many others."
    if not judgement.failed.any():
        fitted = ", ".join(dict.fromkeys(table.loc[table["fitted"], "by"]))
        why = (
            f"; p near one is the rule for {fitted}, whose effects are fitted to these shares"
            if fitted
            else ""
        )
        return (
            f"Choices within {roles} are no more alike than the theory says (smallest adjusted "
            f"p-value {judgement.smallest:.2g}: the share of replicated surveys whose groups "
            f"differ as much{why})."
        )
    failed = table[judgement.failed]
    parts = [
        f"{r.alternative} by {r.by}: shares lie {percent(r.observed)} from what is expected, "
        f"in replicated surveys {percent(r.lower)} to {percent(r.upper)}"
        for r in furthest(failed).head(NAMED).itertuples()
    ]
    return (
        "Choices are more alike than the theory says: "
        + "; ".join(parts)
        + f". Something shared by {', '.join(dict.fromkeys(failed['by']))} is left out; "
        "intervals are too narrow."
    )
