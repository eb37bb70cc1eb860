"""Whether a theory reproduces who the choosers of each alternative are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.battery import VALUES, Battery
from bayesmig.checks.result import Scores, freed_scores
from bayesmig.choice.drawn import Choices
from bayesmig.design.design import Design

Array = NDArray[np.float64]
NAME = "composition of choosers"
KIND = "composition"
COLUMNS = ("alternative", "column", *VALUES)
#: Choosers of an alternative that a mean needs, and a share on either side.
_LEAST_CHOOSERS = 10
#: Levels of a column that is not of numbers.
_MOST_LEVELS = 12
MISSING = f"No column of numbers, or of at most {_MOST_LEVELS} levels, is there to take means of."
#: Between a column and one of its levels.
IS = " = "


def composition(
    design: Design, frame: pd.DataFrame, columns: Sequence[str], expected: Array
) -> Battery | None:
    """Means of columns among the choosers of each alternative.

    The mean of an indicator is a share: of women among those who chose international, say. So
    are those of a column that is not of numbers: each of its levels has an indicator, and of two
    levels one has.
    Means of columns that the theory holds are nearly always reproduced, since the fit sees to
    it; they are freed of what it absorbed, and not judged where little is left
    (`bayesmig.checks.result.freed_scores`).

    Parameters
    ----------
    design
        Theory × survey.
    frame
        The survey's columns.
    columns
        Those that may be looked at: what does not vary, or has more levels, is left out, which
        the battery says.
    expected
        Posterior mean of every row's probabilities, ``(obs, alternative)``.

    Returns
    -------
    Battery or None
        Table: ``alternative``, ``column`` and the values; weighted where the theory weights
        its averages. ``None`` where no column is left.
    """
    looked_at = {c: _numbers(frame[c]) for c in columns}
    found = {name: x for of in looked_at.values() for name, x in of.items()}
    if not found:
        return None
    numbers, values = list(found), np.column_stack(list(found.values()))
    weights = np.ones(len(frame)) if design.weights is None else design.weights
    known = np.where(np.isfinite(values), weights[:, None], 0.0)
    # From their middle: a mean of years 1990 to 2020 keeps its digits, a share has them all.
    shares = (~np.isfinite(values) | (values == 0) | (values == 1)).all(axis=0)
    middle = np.nanmean(np.where(np.isfinite(values), values, np.nan), axis=0)
    middle[shares] = 0.0
    moved = np.where(np.isfinite(values), values - middle, 0.0)
    others = [j for j, a in enumerate(design.alternatives) if a in design.nonbase]
    enough = _enough(known, expected[:, others])
    for part in (moved[:, shares], 1 - moved[:, shares]):
        # Of a share, that many on both sides: those of rare levels are far out by chance.
        enough[:, shares] &= _enough(known[:, shares] * part, expected[:, others])
    labels = pd.DataFrame(
        {
            "alternative": np.repeat([design.alternatives[j] for j in others], len(numbers)),
            "column": numbers * len(others),
        }
    )
    spread = _spread(known, moved, expected[:, others])
    return Battery(
        NAME,
        KIND,
        labels,
        partial(_means, others=others, known=known, moved=moved, middle=middle),
        lambda _: enough.ravel(),
        _sentence,
        "Those who chose each alternative are on average as the theory has it",
        "Those who chose an alternative are not those that the theory expects",
        score=partial(_freed, spread=spread),
        weights=design.weights_note,
        left_out=_left_out([c for c, of in looked_at.items() if not of]),
    )


def _enough(weights: Array, expected: Array) -> NDArray[np.bool_]:
    """Whether enough choosers are expected by their effective number, ``(alternative, column)``."""
    mass, squares = weights.T @ expected, np.square(weights).T @ expected
    return np.asarray(mass**2 >= _LEAST_CHOOSERS * np.maximum(squares, 1e-300)).T


def _freed(observed: Array, replicated: Array, tested: NDArray[np.bool_], spread: Array) -> Scores:
    return freed_scores(observed, replicated, tested, spread)


def _numbers(values: pd.Series) -> dict[str, Array]:
    """What means are taken of, ``(obs,)`` by its name, NaN where it is not known."""
    if pd.api.types.is_numeric_dtype(values):
        known = values.to_numpy(dtype=float, na_value=np.nan)
        varies = np.isfinite(known).any() and np.nanmax(known) > np.nanmin(known)
        return {str(values.name): known} if varies else {}
    said, absent = values.astype(str), values.isna().to_numpy()
    levels = sorted(said[~absent].unique())
    if not 2 <= len(levels) <= _MOST_LEVELS:
        return {}
    # Of two, the share of one is that of the other.
    return {
        f"{values.name}{IS}{level}": np.where(absent, np.nan, (said == level).to_numpy(float))
        for level in (levels[1:] if len(levels) == 2 else levels)
    }


def _left_out(columns: Sequence[str]) -> str:
    if not columns:
        return ""
    return f" Left out, with one value or more than {_MOST_LEVELS} levels: {', '.join(columns)}."


def _means(
    choices: Choices, others: Sequence[int], known: Array, moved: Array, middle: Array
) -> Array:
    """``(draw, alternative × column)``; NaN where nobody chose so."""
    found, weighted = [], known * moved
    for j in others:
        chosen = (choices == j).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((weighted.T @ chosen) / (known.T @ chosen) + middle[:, None])
    return np.concatenate(found).T


def _spread(known: Array, moved: Array, expected: Array) -> Array:
    """Standard deviations of the means by sampling choices alone, to first order."""
    found = []
    for p in expected.T:
        mass = np.maximum(known.T @ p, 1e-300)
        gap = known * (moved - (known * moved).T @ p / mass)
        found.append(np.sqrt(np.square(gap).T @ (p * (1 - p))) / mass)
    return np.concatenate(found)


def _sentence(row: Any) -> str:
    what = "share with" if IS in row.column else "mean"
    return (
        f"{what} {row.column} of those who chose {row.alternative} is {row.observed:.3g}, in "
        f"replicated surveys {row.lower:.3g} to {row.upper:.3g}"
    )
