"""Whether a theory reproduces observed shares by two columns at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.predictive import COLUMNS as SHARES
from bayesmig.checks.predictive import Breakdown, Reproduced, shares_table
from bayesmig.checks.replicate import cells_of
from bayesmig.checks.result import (
    ALARM,
    NAMED,
    CheckResult,
    Judgement,
    furthest,
    not_asked,
    percent,
    tabled,
)
from bayesmig.posterior import Posterior

Array = NDArray[np.float64]
NAME = "posterior predictive crossed shares"
KIND, KEY = "crossed_shares", "crossed"
COLUMNS = SHARES
#: Columns that are crossed where none is named, and cells of two of them.
MOST_COLUMNS, MOST_CELLS = 8, 60
MISSING = f"There are no two columns whose cells, at most {MOST_CELLS}, could be crossed."
#: Between the names of two columns, and between their levels.
CROSS = " × "


def crossed(
    posterior: Posterior, parts: Sequence[Breakdown], named: bool, most: int = MOST_COLUMNS
) -> list[Breakdown]:
    """Every two columns of some breakdowns, crossed.

    Parameters
    ----------
    posterior
        Draws of a theory.
    parts
        From `bayesmig.checks.predictive.breakdowns`.
    named
        Whether the columns were named, and all of them count.
    most
        Columns that are crossed where none was named, the theory's first.

    Returns
    -------
    list of Breakdown
        Pairs with at most 60 cells. The trend of two ordered columns is that of one over the
        other: their product, each from its middle, which a sum of both leaves at zero.
    """
    pairs = _pairs(posterior, parts, named, most)
    return [_crossed(a, b, posterior.design.weights) for a, b in pairs if not _too_many(a, b)]


def _pairs(
    posterior: Posterior, parts: Sequence[Breakdown], named: bool, most: int
) -> list[tuple[Breakdown, Breakdown]]:
    columns = set(map(str, posterior.frame.columns))
    single = [p for p in parts if p.by in columns]
    single = [p for p in (single if named else single[:most]) if len(p.levels) > 1]
    return list(combinations(single, 2))


def _too_many(one: Breakdown, other: Breakdown) -> bool:
    return len(one.levels) * len(other.levels) > MOST_CELLS


def left_out(
    posterior: Posterior, parts: Sequence[Breakdown], named: bool, most: int = MOST_COLUMNS
) -> str:
    """Which pairs are not crossed, as a sentence with a space before it; arguments as above."""
    pairs = [(a, b) for a, b in _pairs(posterior, parts, named, most) if _too_many(a, b)]
    if not pairs:
        return ""
    names = [a.by + CROSS + b.by for a, b in pairs]
    return f" Left out, with more than {MOST_CELLS} cells: {_first(names)}."


def _first(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    more = "" if len(names) <= NAMED else f" and {len(names) - NAMED} more"
    return ", ".join(names[:NAMED]) + more


def _crossed(one: Breakdown, other: Breakdown, weights: Array | None) -> Breakdown:
    width = len(other.levels)
    found, codes = np.unique(one.cells.codes * width + other.cells.codes, return_inverse=True)
    first, second = np.divmod(found, width)
    codes = codes.astype(np.int64)
    mass = np.bincount(codes, weights).astype(float)
    trend = _product(one.trend, first, other.trend, second, mass)
    return Breakdown(
        one.by + CROSS + other.by,
        tuple(one.levels[i] + CROSS + other.levels[k] for i, k in zip(first, second, strict=True)),
        cells_of(codes, len(found), weights),
        trend,
        np.zeros(len(found)),
    )


def _product(
    one: Array, first: NDArray[np.int64], other: Array, second: NDArray[np.int64], mass: Array
) -> Array:
    """Weights of cells in the covariance of shares with the product of two ranks."""
    if not one.any() or not other.any():
        return np.zeros(len(mass))
    share = mass / max(mass.sum(), 1e-300)
    a, b = (_rank(trend, of, share) for trend, of in ((one, first), (other, second)))
    basis = np.stack([np.ones_like(share), a, b], axis=1) * np.sqrt(share)[:, None]
    product = np.sqrt(share) * a * b
    left = product - basis @ np.linalg.lstsq(basis, product, rcond=None)[0]
    return np.asarray(np.sqrt(share) * left)


def _rank(trend: Array, of: NDArray[np.int64], share: Array) -> Array:
    """What a trend gives to a row of every cell."""
    level = np.bincount(of, share, len(trend))
    return np.asarray(np.divide(trend, level, out=np.zeros_like(trend), where=level > 0)[of])


def crossed_shares(
    posterior: Posterior,
    parts: Sequence[Breakdown],
    found: Reproduced | None,
    peak: Array | None = None,
    *,
    left: str = "",
) -> CheckResult:
    """Check shares in the cells of two columns at once.

    As `bayesmig.checks.predictive.predictive_shares`, of pairs of columns: misfit here that
    neither column shows alone is a product of the two that the theory leaves out.

    Parameters
    ----------
    posterior
        Draws of a theory.
    parts, found
        From `crossed` and `bayesmig.checks.predictive.reproduced`; ``None`` where there are
        no two columns.
    peak
        Of all checks that are asked at once (`bayesmig.checks.result.peak_of`).
    left
        From `left_out`.

    Returns
    -------
    CheckResult
        The table of `bayesmig.checks.predictive.predictive_shares`, names and levels of two
        columns joined by ``×``.
    """
    if found is None:
        return not_asked(NAME, KIND, COLUMNS, f"Not asked. {MISSING}{left}")
    design = posterior.design
    table, smallest = shares_table(design, parts, found, peak)
    judgement = Judgement(table["p_value"].to_numpy(), smallest)
    text = "Not asked: no cell has choosers and others enough."
    if judgement.passed is not None:
        text = _text(table, found, judgement.smallest)
    return CheckResult(
        NAME,
        judgement.passed,
        tabled(table, KIND, design.weights_note),
        text + left + design.weights_sentence,
    )


def _text(table: pd.DataFrame, found: Reproduced, least: float) -> str:
    pairs = table["by"].nunique()
    if least > ALARM:
        return (
            f"Replicated surveys reproduce {int(found.enough.sum()):,} shares by {pairs} pairs of "
            f"columns (smallest p-value of a pair, adjusted for all that was looked at, "
            f"{least:.2g})."
        )
    failed = table[table["p_adjusted"] <= ALARM]
    names = list(dict.fromkeys(failed.sort_values("p_adjusted", kind="stable")["by"]))
    worst = furthest(failed).drop_duplicates("by").head(NAMED)
    return (
        f"The theory does not reproduce shares by {_first(names)} (of {pairs} "
        f"pairs of columns): {'; '.join(_sentence(row) for row in worst.itertuples())}. Where "
        "neither column fails alone, a product of the two is left out."
    )


def _sentence(row: Any) -> str:
    columns, levels = row.by.split(CROSS), row.level.split(CROSS)
    place = " and ".join(f"{c} is {v}" for c, v in zip(columns, levels, strict=True))
    return (
        f"{row.alternative} where {place}: observed {percent(row.observed)}, replicated "
        f"{percent(row.lower)} to {percent(row.upper)}"
    )
