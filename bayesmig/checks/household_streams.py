"""Whether a theory reproduces how often one household has several movers."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.battery import VALUES, Battery
from bayesmig.checks.result import percent
from bayesmig.choice.drawn import Choices
from bayesmig.design.design import Design

Array = NDArray[np.float64]
NAME = "streams of households"
KIND = "household_streams"
COLUMNS = ("streams", *VALUES)
#: Households that have such movers, and others, expected at least.
_LEAST_EXPECTED = 5
MISSING = "The survey declares no households that several persons of one period belong to."


def household_streams(design: Design) -> Battery | None:
    """Shares of households with movers of two streams, and with two or more of one.

    Of households with several rows, those of one period where there are periods. Where the
    choices of members hang together beyond what the theory's columns and effects say,
    more (or fewer) have both streams than in replicated surveys. A household counts by the
    mean weight of its rows, where the theory weights its averages.

    Parameters
    ----------
    design
        Theory × survey.

    Returns
    -------
    Battery or None
        Table: ``streams`` and the values. ``None`` where no household has several rows.
    """
    if "household" not in design.roles:
        return None
    by = [design.roles[r] for r in ("household", "period") if r in design.roles]
    codes = design.frame.groupby(by, sort=False, observed=True).ngroup().to_numpy()
    rows = np.bincount(codes)
    several = np.flatnonzero(rows > 1)
    if not len(several):
        return None
    inside = np.full(len(rows), -1)
    inside[several] = np.arange(len(several))
    weights = np.ones(design.n_obs) if design.weights is None else design.weights
    mass = (np.bincount(codes, weights) / rows)[several]
    share = mass / mass.sum()
    effective = 1 / np.square(share).sum()
    others = [j for j, a in enumerate(design.alternatives) if a in design.nonbase]
    names = [design.alternatives[j] for j in others]
    labels = pd.DataFrame(
        {
            "streams": [
                *(f"{a} and {b}" for a, b in combinations(names, 2)),
                *(f"two or more {a}" for a in names),
            ]
        }
    )
    return Battery(
        NAME,
        KIND,
        labels,
        partial(_shares, others=others, members=_members(inside[codes], len(several)), share=share),
        lambda mean: np.minimum(mean, 1 - mean) * effective >= _LEAST_EXPECTED,
        _sentence,
        "Households have several movers as often as the theory has it",
        "Members of households move together otherwise than the theory has it",
        weights=design.weights_note,
    )


def _members(codes: NDArray[np.int64], households: int) -> Any:
    """Sums over the rows of every household, ``(household, obs)``."""
    from scipy.sparse import csr_array

    rows = np.flatnonzero(codes >= 0)
    ones = np.ones(len(rows), dtype=np.int16)
    return csr_array((ones, (codes[rows], rows)), shape=(households, len(codes)))


def _shares(choices: Choices, others: list[int], members: Any, share: Array) -> Array:
    """``(draw, streams)``."""
    counts = [members @ (choices == j).astype(np.int16) for j in others]
    both = [(a > 0) & (b > 0) for a, b in combinations(counts, 2)]
    return np.stack([share @ part for part in (*both, *(c > 1 for c in counts))], axis=1)


def _sentence(row: Any) -> str:
    return (
        f"{percent(row.observed)} of households have {row.streams}, in replicated surveys "
        f"{percent(row.lower)} to {percent(row.upper)}"
    )
