"""The answer of one check, and how observed values are judged against replicated ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Probability that checks which compare with replicates fail a true theory: each alone, and all
#: that are asked at once where they are judged by their common `peak_of`.
ALARM = 0.05
#: What checks that take rows as they are say of weights.
UNWEIGHTED = "every row counts once"
#: Failures that a text names.
NAMED = 3
#: Part of a value's sampling variance that the fit must leave for it to be tested.
_LEAST_LEFT = 0.25


@dataclass(frozen=True, eq=False)
class CheckResult:
    """Whether a theory stands up to one check.

    Attributes
    ----------
    name
        Of the check.
    passed
        ``None`` where the check does not apply, for the reason that ``text`` gives.
    table
        Tidy numbers behind it; ``table.attrs`` holds the kind of table (``table``) and
        what was done with weights (``weights``).
    text
        The finding in plain words, naming its numbers.
    """

    name: str
    passed: bool | None
    table: pd.DataFrame = field(repr=False)
    text: str

    @property
    def verdict(self) -> str:
        """``passed``, ``FAILED`` or ``not asked``."""
        return {True: "passed", False: "FAILED", None: "not asked"}[self.passed]


class CheckResults(list[CheckResult]):
    """Results in the order of the checks; printed one under the other."""

    def __repr__(self) -> str:
        return self.at_width(100) if self else super().__repr__()

    def at_width(self, columns: int) -> str:
        """All of them, in so many columns."""
        return "\n".join(
            fill(f"{r.verdict:<10}{r.name}: {r.text}", columns, subsequent_indent=" " * 10)
            for r in self
        )


def not_asked(name: str, kind: str, columns: Sequence[str], reason: str) -> CheckResult:
    """A check that does not apply, with an empty table of its kind."""
    return CheckResult(name, None, tabled(pd.DataFrame(columns=list(columns)), kind), reason)


def tabled(table: pd.DataFrame, kind: str, weights: str = "") -> pd.DataFrame:
    """The table, marked with its kind and with what was done with weights."""
    table.attrs["table"] = kind
    if weights:
        table.attrs["weights"] = weights
    return table


@dataclass(frozen=True, slots=True)
class Judgement:
    """Observed values among replicated ones.

    Attributes
    ----------
    p_value
        Of each value alone, ``(value,)``; NaN where there is none.
    adjusted
        Adjusted for looking at all tested values, ``(value,)``; NaN where nothing was
        tested.
    """

    p_value: Array
    adjusted: Array

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Where replicates hardly ever reach what is observed, adjusted."""
        return np.asarray(self.adjusted <= ALARM)

    @property
    def passed(self) -> bool | None:
        """Whether none failed; ``None`` where nothing was tested."""
        return not self.failed.any() if np.isfinite(self.adjusted).any() else None

    @property
    def smallest(self) -> float:
        """Smallest adjusted p-value; one where nothing was tested."""
        return float(np.nanmin(self.adjusted)) if np.isfinite(self.adjusted).any() else 1.0


def judge(
    observed: Array, replicated: Array, tested: NDArray[np.bool_], peak: Array | None = None
) -> Judgement:
    """Where each observed value stands among its replicates, in either direction.

    Each value is standardised by the mean and standard deviation of its replicates; its
    adjusted p-value is the share of replicates whose *largest* standardised deviation
    over all tested values reaches it (Westfall and Young 1993, the max-T step), so that
    any value of a true theory falls below `ALARM` with about that probability in all.

    Parameters
    ----------
    observed
        ``(value,)``.
    replicated
        ``(replicate, value)``.
    tested
        Values that count, ``(value,)``; those without spread never do.
    peak
        Of all checks that are asked at once (`peak_of`); left out: of these values alone.

    Returns
    -------
    Judgement
        Each p-value is at least one over the number of replicates plus one.
    """
    [adjusted] = adjust(either_way(observed, replicated, tested), peak=peak)
    return Judgement(two_sided(observed, replicated), adjusted)


def judge_upwards(
    observed: Array, replicated: Array, tested: NDArray[np.bool_], peak: Array | None = None
) -> Judgement:
    """As `judge`, where only values that are too large count."""
    alone = (1 + (replicated >= observed).sum(axis=0)) / (1 + len(replicated))
    [adjusted] = adjust(upwards(observed, replicated, tested), peak=peak)
    return Judgement(alone, adjusted)


@dataclass(frozen=True, slots=True)
class Scores:
    """Deviations that are judged together, the larger the worse.

    Attributes
    ----------
    observed, replicated
        ``(value,)`` and ``(replicate, value)``.
    tested
        Values that count, ``(value,)``.
    """

    observed: Array
    replicated: Array
    tested: NDArray[np.bool_]


def either_way(observed: Array, replicated: Array, tested: NDArray[np.bool_]) -> Scores:
    """Standardised deviations of values in either direction."""
    z, drawn, tested = _standardised(observed, replicated, tested)
    return Scores(np.abs(z), np.abs(drawn), tested)


def upwards(observed: Array, replicated: Array, tested: NDArray[np.bool_]) -> Scores:
    """Standardised deviations, of which only positive ones count."""
    return Scores(*_standardised(observed, replicated, tested))


def group_scores(
    observed: Array, replicated: Array, tested: NDArray[np.bool_], groups: NDArray[np.int64]
) -> Scores:
    """Groups of values by their sum of squared deviations, one score per group.

    Many small deviations of a group count as much as a large one. Sums are compared on
    the scale of their cube root, where their distribution is nearly normal whatever the
    number of values in the group (Wilson and Hilferty 1931).

    Parameters
    ----------
    observed, replicated, tested
        As for `judge`.
    groups
        Group of every value, from 0, ``(value,)``.
    """
    z, drawn, tested = _standardised(observed, replicated, tested)
    member = (groups[:, None] == np.arange(groups.max() + 1)) & tested[:, None]
    here, there = np.cbrt(np.square(z) @ member), np.cbrt(np.square(drawn) @ member)
    return Scores(*_standardised(here, there, member.any(axis=0)))


def freed_scores(
    observed: Array, replicated: Array, tested: NDArray[np.bool_], spread: Array
) -> Scores:
    """Values by their deviation in either direction, freed of what the fit absorbed.

    Replicates vary by the sampling of choices and by the draws of parameters. What is
    observed lies closer to them than that, for parameters were fitted to it: where the
    draws add a variance ``B`` to that of sampling, ``V``, the observed value of a true
    theory varies by ``V - B`` around the mean of the replicates, and theirs is
    ``V + B`` (exactly so for normal data; Robins, van der Vaart and Ventura 2000, doi
    10.1080/01621459.2000.10474310). Observed deviations are standardised by the one,
    replicated ones by the other. Where less than a quarter of ``V`` is left, the theory
    fits the value whether it is true or not, and it is not tested.

    Parameters
    ----------
    observed, replicated, tested
        As for `judge`.
    spread
        Standard deviation of each value by sampling alone, ``(value,)``.
    """
    _, drawn, tested = _standardised(observed, replicated, tested)
    left = 2 * np.square(spread) - replicated.var(axis=0, ddof=1)
    tested = tested & (left > _LEAST_LEFT * np.square(spread))
    gap = np.abs(observed - replicated.mean(axis=0))
    z = gap / np.sqrt(np.where(tested, left, 1.0))
    return Scores(np.where(tested, z, 0.0), np.where(tested, np.abs(drawn), 0.0), tested)


def adjust(*families: Scores, peak: Array | None = None) -> tuple[Array, ...]:
    """Adjusted p-values of several families, each for looking at all of them (`judge`).

    Parameters
    ----------
    families
        What one check looks at.
    peak
        Of all checks that are asked at once (`peak_of`), for which p-values are then
        adjusted as well.
    """
    joined = _adjusted(joined_scores(families), peak)
    ends = np.cumsum([len(f.observed) for f in families])[:-1]
    return tuple(np.split(joined, ends))


def joined_scores(families: Sequence[Scores]) -> Scores:
    """The scores of several families as those of one."""
    return Scores(
        np.concatenate([f.observed for f in families]),
        np.concatenate([f.replicated for f in families], axis=1),
        np.concatenate([f.tested for f in families]),
    )


def peak_of(checks: Iterable[Scores]) -> Array | None:
    """Largest score of every replicated survey over all checks, each on its own scale.

    The scale of a check is that of its own largest score over replicates: checks that
    look at many values, and at few, then share the probability of a false alarm about
    equally, and one of all together is `ALARM`.

    Parameters
    ----------
    checks
        The scores of each check, of the same number of replicates.

    Returns
    -------
    ndarray or None
        ``(replicate,)``; ``None`` where nothing is tested.
    """
    own = [s.replicated[:, s.tested].max(axis=1) for s in checks if s.tested.any()]
    return np.asarray(np.max([_balanced(p, p) for p in own], axis=0)) if own else None


def _balanced(peak: Array, score: Array) -> Array:
    """Scores by the mean and standard deviation of a check's peak over replicates."""
    spread = peak.std(ddof=1)
    return np.asarray((score - peak.mean()) / (spread if spread > 0 else 1.0))


def _standardised(
    observed: Array, replicated: Array, tested: NDArray[np.bool_]
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Both by the replicates' mean and standard deviation, zero where not tested."""
    centre, spread = replicated.mean(axis=0), replicated.std(axis=0, ddof=1)
    tested = tested & (spread > 0)
    spread = np.where(tested, spread, 1.0)
    z, drawn = (observed - centre) / spread, (replicated - centre) / spread
    return np.where(tested, z, 0.0), np.where(tested, drawn, 0.0), tested


def two_sided(observed: Array, replicated: Array) -> Array:
    """Two-sided p-value of each value alone, ``(value,)``; NaN where there is none."""
    above, below = (replicated >= observed).sum(axis=0), (replicated <= observed).sum(axis=0)
    alone = np.minimum(1.0, 2 * (1 + np.minimum(above, below)) / (1 + len(replicated)))
    return np.asarray(np.where(np.isnan(observed), np.nan, alone))


def _adjusted(scores: Scores, peak: Array | None) -> Array:
    """Share of replicates whose largest score reaches each score."""
    adjusted = np.full(len(scores.observed), np.nan)
    if scores.tested.any():
        largest, score = scores.replicated[:, scores.tested].max(axis=1), scores.observed
        if peak is not None:
            largest, score = peak, _balanced(largest, score)
        reached = (largest[:, None] >= score[scores.tested]).sum(axis=0)
        adjusted[scores.tested] = (1 + reached) / (1 + len(largest))
    return adjusted


def furthest(failed: pd.DataFrame) -> pd.DataFrame:
    """Failures in the order of their own p-values, and of how far they lie off for their interval.

    What lies within the interval comes last: an interval without width tells nothing.
    """
    width = (failed["upper"] - failed["lower"]).clip(lower=1e-12)
    far = (failed["observed"] - failed["predicted"]).abs() / width
    inside = failed["observed"].between(failed["lower"], failed["upper"])
    order = pd.DataFrame({"inside": inside, "p": failed["p_value"], "near": -far})
    return failed.loc[order.sort_values(["inside", "p", "near"], kind="stable").index]


def stabilised(share: Array) -> Array:
    """Arcsine of the square root: the spread of a share hardly depends on it then."""
    return np.asarray(np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0))))


def central(replicated: Array) -> tuple[Array, Array]:
    """Bounds of the central 95 % of replicates, over the first axis."""
    lower, upper = np.quantile(replicated, [0.025, 0.975], axis=0)
    return lower, upper


def percent(share: Any) -> str:
    """A share in percent, with the digits that a rare one needs."""
    return f"{100 * share:.2f} %" if abs(share) < 0.02 else f"{100 * share:.1f} %"
