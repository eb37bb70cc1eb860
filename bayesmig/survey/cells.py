"""Cells of people: the combinations of a few columns."""

from __future__ import annotations

import math

import pandas as pd

#: More combinations than these are not cells that people might move into.
_MOST_CELLS = 1000


def all_cells(values: pd.DataFrame, found: int) -> pd.DataFrame | None:
    """All combinations of several columns, those that nobody is in too.

    Parameters
    ----------
    values
        The columns.
    found
        How many combinations there are people in.

    Returns
    -------
    DataFrame or None
        A row per combination. ``None`` of one column, of very many combinations, and where
        one column says all others, as a household its place.
    """
    parts = [values[column].unique() for column in values]
    sizes = [len(part) for part in parts]
    if len(parts) < 2 or math.prod(sizes) > _MOST_CELLS or found == max(sizes):
        return None
    return pd.MultiIndex.from_product(parts, names=list(values)).to_frame(index=False)
