"""Where those go who leave an alternative, against proportional substitution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.posterior import summarise

Array = NDArray[np.float64]
#: A share that falls by less has not fallen.
_SMALLEST_LOSS = 1e-10
COLUMNS = (
    "source",
    "target",
    "estimate",
    "sd",
    "lower",
    "upper",
    "iia_estimate",
    "iia_lower",
    "iia_upper",
    "probability_above_iia",
    "note",
)


def diversion(
    baseline: Array, scenario: Array, reached: Array, alternatives: Sequence[str], prob: float
) -> pd.DataFrame:
    """Diversion ratios from every alternative whose average share falls.

    ``D_jk = (P_k' - P_k) / (P_j - P_j')`` is computed within each draw from average
    shares. Beside it stands what independence of irrelevant alternatives would give,
    were all whom the scenario reaches alike: ``P_k / (1 - P_j)`` of their baseline shares.

    Parameters
    ----------
    baseline, scenario
        Average probabilities, ``(draw, alternative)``.
    reached
        Those of the baseline among the rows that the scenario changes. Others choose as
        they did: what they would substitute is no part of the ratio.
    alternatives
        Their names.
    prob
        Mass of the highest-density intervals.

    Returns
    -------
    DataFrame
        One row per source and target. Where the source does not fall in every draw,
        the ratio has no stable mean: its numbers are NaN, and ``note`` says why.
        ``probability_above_iia`` is the posterior probability that the ratio exceeds
        its IIA value.

    Notes
    -----
    Every single person of a logit substitutes proportionally, given its group effects.
    Average shares need not: those who leave are not average, and neither is what they
    would choose instead. The distance between the ratio and its IIA value is that
    heterogeneity, provided that the scenario acts on the source alone. Where it moves
    the target's own utility too, the ratio holds that as well. The ratios of one source
    add up to one; where several alternatives fall, the ratio to another that falls is
    negative.
    """
    loss = baseline - scenario
    rows = []
    for j, source in enumerate(alternatives):
        if loss[:, j].mean() <= _SMALLEST_LOSS:
            continue
        falls = float((loss[:, j] > _SMALLEST_LOSS).mean())
        for k, target in enumerate(alternatives):
            if k != j:
                numbers = _ratio(reached, loss, j, k, prob, stable=falls == 1)
                rows.append((source, target, *numbers, _note(source, falls)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _ratio(
    reached: Array, loss: Array, j: int, k: int, prob: float, *, stable: bool
) -> tuple[float, ...]:
    """Summaries of the ratio and of its IIA value, and how often it is larger."""
    iia = reached[:, k] / (1 - reached[:, j])
    iia_mean, _, iia_low, iia_high = summarise(iia, prob)
    if not stable:
        return (np.nan,) * 4 + (iia_mean, iia_low, iia_high, np.nan)
    ratio = -loss[:, k] / loss[:, j]
    above = float((ratio - iia > _SMALLEST_LOSS).mean())
    return (*summarise(ratio, prob), iia_mean, iia_low, iia_high, above)


def _note(source: str, falls: float) -> str:
    if falls == 1:
        return ""
    return f"{source} falls in {100 * falls:.1f} % of draws only: the ratio has no stable mean"
