"""Whether a theory reproduces what persons choose after what they chose before."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.battery import VALUES, Battery
from bayesmig.checks.replicate import Cells, cells_of
from bayesmig.checks.result import percent
from bayesmig.choice.drawn import Choices
from bayesmig.design.design import Design, label_text
from bayesmig.errors import SurveyError
from bayesmig.survey.rates import periods_in_order

Array = NDArray[np.float64]
NAME = "transitions"
KIND = "transitions"
COLUMNS = ("before", "now", "rows", *VALUES)
#: Choosers of an alternative, and others, expected after a choice at least.
_LEAST_EXPECTED = 5
MISSING = (
    "The survey declares no persons (or households) who chose in periods that follow each other: "
    "numbers, or dates."
)


def transitions(design: Design) -> Battery | None:
    """Shares of choices after each choice of the same chooser in the period before.

    One step ahead: replicated choices of a period are set beside the *observed* ones of the
    period before, upon which columns of earlier moves rest. A theory that leaves out that
    who moved once moves again fails, and so does one that leaves out lasting differences
    between persons: the two look alike here.

    Parameters
    ----------
    design
        Theory × survey.

    Returns
    -------
    Battery or None
        Table: ``before``, ``now``, ``rows`` after that choice, and the values, weighted where
        the theory weights its averages. ``None`` where nobody is seen in two
        periods that follow each other, or periods are text that shows no order.
    """
    who = next((r for r in ("person", "household") if r in design.roles), None)
    if who is None or "period" not in design.roles:
        return None
    try:
        before, now = _pairs(design.frame, design.roles[who], design.roles["period"])
    except SurveyError:
        return None
    if not len(now):
        return None
    width = len(design.alternatives)
    weights = None if design.weights is None else design.weights[now]
    cells = cells_of(design.choice[before], width, weights)
    labels = pd.DataFrame(
        {
            "before": np.repeat(design.alternatives, width),
            "now": list(design.alternatives) * width,
            "rows": np.repeat(cells.rows, width),
        }
    )
    effective = np.repeat(cells.effective, width)
    return Battery(
        NAME,
        KIND,
        labels,
        partial(_shares, now=now, cells=cells, width=width),
        lambda mean: np.minimum(mean, 1 - mean) * effective >= _LEAST_EXPECTED,
        _sentence,
        "Choices follow upon earlier ones as the theory has it",
        "Choices follow upon earlier ones otherwise than the theory has it",
        weights=design.weights_note,
    )


def _pairs(
    frame: pd.DataFrame, who: str, period: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the same chooser in two periods that follow each other, earlier and later."""
    labels = frame[period].map(label_text)
    place = labels.map({label: k for k, label in enumerate(periods_in_order(labels))}).to_numpy()
    person = pd.factorize(frame[who])[0]
    rows = np.lexsort((place, person)).astype(np.int64)
    one, other = rows[:-1], rows[1:]
    next_one = (person[one] == person[other]) & (place[other] - place[one] == 1)
    return one[next_one], other[next_one]


def _shares(choices: Choices, now: NDArray[np.int64], cells: Cells, width: int) -> Array:
    """``(draw, before × now)``."""
    found = cells.shares(choices[now], width)
    return found.reshape(len(found), -1)


def _sentence(row: Any) -> str:
    return (
        f"{percent(row.observed)} chose {row.now} after {row.before}, in replicated surveys "
        f"{percent(row.lower)} to {percent(row.upper)}"
    )
