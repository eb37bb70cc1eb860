"""Statistics of a whole survey, judged together among those of replicated surveys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Statistic
from bayesmig.checks.result import (
    ALARM,
    NAMED,
    UNWEIGHTED,
    CheckResult,
    Scores,
    adjust,
    central,
    either_way,
    furthest,
    tabled,
    two_sided,
    upwards,
)

Array = NDArray[np.float64]
#: Columns of every table of a battery, behind those that say what a value is.
VALUES = ("observed", "predicted", "lower", "upper", "p_value", "p_adjusted")


@dataclass(frozen=True, eq=False)
class Battery:
    """Statistics that one check computes of a survey.

    Attributes
    ----------
    name, kind
        Of the check and of its table.
    labels
        What the values are, one row per value.
    statistic
        Choices ``(obs, draw)`` -> ``(draw, value)``.
    tested
        Mean of replicated values ``(value,)`` -> whether each counts.
    sentence
        A row of the table that fails -> what it says.
    reproduced, failed
        How the text begins where the theory reproduces all values, and where not.
    fresh
        Whether groups of replicated surveys are new ones, drawn from the distribution that
        the theory gives to them, where it gives them effects.
    upwards
        Whether only values that are too large count.
    score
        Other scores than standardised deviations: of observed and replicated values and of
        which count.
    weights
        What was done with weights.
    left_out
        What was not looked at, as a sentence with a space before it.
    """

    name: str
    kind: str
    labels: pd.DataFrame = field(repr=False)
    statistic: Statistic = field(repr=False)
    tested: Callable[[Array], NDArray[np.bool_]] = field(repr=False)
    sentence: Callable[[Any], str] = field(repr=False)
    reproduced: str
    failed: str
    fresh: bool = False
    upwards: bool = False
    score: Callable[[Array, Array, NDArray[np.bool_]], Scores] | None = field(
        default=None, repr=False
    )
    weights: str = UNWEIGHTED
    left_out: str = ""


@dataclass(frozen=True, eq=False)
class Asked:
    """A battery with its values, observed and replicated."""

    battery: Battery
    observed: Array = field(repr=False)
    replicated: Array = field(repr=False)
    scores: Scores = field(repr=False)


def ask(battery: Battery, choice: NDArray[np.int64], replicated: Mapping[str, Array]) -> Asked:
    """Values of a battery and their scores.

    Parameters
    ----------
    battery
        The statistics.
    choice
        Position of every row's choice, ``(obs,)``.
    replicated
        From `bayesmig.checks.replicate.replicate`, under the battery's kind.
    """
    observed = battery.statistic(choice[:, None].astype(np.int8))[0]
    drawn = replicated[battery.kind]
    # A value that some replicate lacks (a mean of nobody) is not compared.
    known = np.isfinite(drawn).all(axis=0) & np.isfinite(observed)
    filled = np.where(known, drawn, 0.0)
    tested = known & battery.tested(filled.mean(axis=0))
    score = battery.score or (upwards if battery.upwards else either_way)
    return Asked(battery, observed, drawn, score(np.where(known, observed, 0.0), filled, tested))


def answer(asked: Asked, peak: Array | None = None) -> CheckResult:
    """The check's result.

    Parameters
    ----------
    asked
        From `ask`.
    peak
        Of all checks that are asked at once (`bayesmig.checks.result.peak_of`).

    Returns
    -------
    CheckResult
        Table: the labels, ``observed``, ``predicted`` (mean of replicates), ``lower``,
        ``upper`` (central 95 % of them), ``p_value``, ``p_adjusted``, which is missing
        where a value does not count. ``passed`` is ``None`` where none does.
    """
    battery, [adjusted] = asked.battery, adjust(asked.scores, peak=peak)
    with np.errstate(invalid="ignore"):
        lower, upper = central(asked.replicated)
        above = (1 + (asked.replicated >= asked.observed).sum(axis=0)) / (1 + len(asked.replicated))
    table = battery.labels.assign(
        observed=asked.observed,
        predicted=asked.replicated.mean(axis=0),
        lower=lower,
        upper=upper,
        p_value=above if battery.upwards else two_sided(asked.observed, asked.replicated),
        p_adjusted=adjusted,
    )
    count = int(asked.scores.tested.sum())
    passed = not bool((adjusted <= ALARM).any()) if count else None
    return CheckResult(
        battery.name,
        passed,
        tabled(table, battery.kind, battery.weights),
        _text(battery, table, passed, count) + battery.left_out + f" Weights: {battery.weights}.",
    )


def _text(battery: Battery, table: pd.DataFrame, passed: bool | None, count: int) -> str:
    if passed is None:
        return "Not asked: too few chose so that anything could be compared."
    if passed:
        least = float(np.nanmin(table["p_adjusted"]))
        return (
            f"{battery.reproduced} ({count:,} compared; smallest p-value, adjusted for all that "
            f"was looked at, {least:.2g})."
        )
    failed = furthest(table[table["p_adjusted"] <= ALARM])
    said = "; ".join(battery.sentence(row) for row in failed.head(NAMED).itertuples())
    more = "; …" if len(failed) > NAMED else ""
    return f"{battery.failed} ({len(failed):,} of {count:,} compared): {said}{more}."
