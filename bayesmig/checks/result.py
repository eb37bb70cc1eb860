"""The answer of one check, and how observed values are judged against replicated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Probability that a check which compares with replicates fails a true theory, at most.
ALARM = 0.05
#: Failures that a text names.
NAMED = 3
#: What a table says of values and their replicates.
NUMBERS = ("observed", "predicted", "lower", "upper", "p_value", "p_adjusted")


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
        Two-sided, of each value alone, ``(value,)``.
    adjusted
        The same adjusted for looking at all tested values, ``(value,)``; NaN where a
        value was not tested.
    """

    p_value: Array
    adjusted: Array

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Values that replicates hardly ever reach, adjusted, ``(value,)``."""
        return np.asarray(self.adjusted <= ALARM)

    @property
    def smallest(self) -> float:
        """Smallest adjusted p-value; one where nothing was tested."""
        return float(np.nanmin(self.adjusted)) if np.isfinite(self.adjusted).any() else 1.0

    def passed(self) -> list[bool | None]:
        """Verdict on each value; ``None`` where it was not tested."""
        return [None if np.isnan(p) else bool(p > ALARM) for p in self.adjusted]


def judge(observed: Array, replicated: Array, tested: NDArray[np.bool_]) -> Judgement:
    """Where observed values stand among replicated ones, alone and together.

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

    Returns
    -------
    Judgement
        Each p-value is at least one over the number of replicates plus one.
    """
    n = len(replicated)
    above, below = (replicated >= observed).sum(axis=0), (replicated <= observed).sum(axis=0)
    alone = np.minimum(1.0, 2 * (1 + np.minimum(above, below)) / (1 + n))
    alone[np.isnan(observed)] = np.nan
    centre, spread = replicated.mean(axis=0), replicated.std(axis=0, ddof=1)
    tested = tested & (spread > 0)
    adjusted = np.full(len(observed), np.nan)
    if tested.any():
        z = np.abs(observed - centre)[tested] / spread[tested]
        largest = np.abs((replicated - centre)[:, tested] / spread[tested]).max(axis=1)
        adjusted[tested] = (1 + (largest[:, None] >= z).sum(axis=0)) / (1 + n)
    return Judgement(alone, adjusted)


def with_numbers(
    frame: pd.DataFrame, observed: Array, replicated: Array, tested: NDArray[np.bool_]
) -> tuple[pd.DataFrame, Judgement]:
    """The frame with `NUMBERS` of shares, which are judged on a scale of equal spread."""
    judgement = judge(stabilised(observed), stabilised(replicated), tested)
    mean = replicated.mean(axis=0)
    numbers = (observed, mean, *central(replicated), judgement.p_value, judgement.adjusted)
    return frame.assign(**dict(zip(NUMBERS, numbers, strict=True))), judgement


def furthest(failed: pd.DataFrame) -> pd.DataFrame:
    """The few failures that lie furthest off, relative to the interval of replicates."""
    width = (failed["upper"] - failed["lower"]).clip(lower=1e-12)
    far = ((failed["observed"] - failed["predicted"]).abs() / width).sort_values(ascending=False)
    return failed.loc[far.index[:NAMED]]


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
