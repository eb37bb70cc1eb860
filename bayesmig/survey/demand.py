"""Demand by shift and share: what a unit is exposed to, times how fast that grows."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SurveyError, rows_text

Floats = npt.NDArray[np.float64]

#: Published shares are rounded; their sum may be off by this.
_ROUNDED = 0.01


def shift_share(
    shares: pd.DataFrame,
    growth: pd.DataFrame,
    *,
    units: npt.NDArray[np.intp],
    cells: npt.NDArray[np.intp],
    sums: Literal["one", "any"] = "one",
    where: tuple[str, ...] = (),
) -> Floats:
    """Exposure shares times growth, summed over sectors.

    Parameters
    ----------
    shares
        One row per unit, one column per sector, shape ``(unit, sector)``: the unit's
        exposure to the sector, at least 0. NaN where a unit has no row of the sector,
        which is a share of 0.
    growth
        One row per cell (a period, or a period and gender), shape ``(cell, sector)``.
    units, cells
        The unit and the cell of each choice situation, by position, ``(obs,)``; -1 where
        unknown.
    sums
        ``"one"``: shares of a unit must sum to one, within .01 (rounding).
    where
        For messages.

    Returns
    -------
    array
        ``Σ_k s_{unit,k} g_{cell,k}``, ``(obs,)``, in units of growth; NaN where the unit
        or the cell is unknown.

    Raises
    ------
    SurveyError
        Where a share is negative, shares do not sum to one, or the growth of a sector to
        which a unit is exposed is missing.

    Notes
    -----
    Bartik (1991); Goldsmith-Pinkham, Sorkin and Swift (2020), doi:10.1257/aer.20181047:
    the shares must be as good as given, so they should be older than the periods. With
    growth by gender, each person's own gender picks the series (M20).
    """
    s = shares.fillna(0.0).to_numpy(dtype="float64")
    _refuse_shares(shares, s, sums, where)
    g = growth.reindex(columns=shares.columns).to_numpy(dtype="float64")
    known = (units >= 0) & (cells >= 0)
    # The pairs that occur, each once.
    both, at = np.unique(units[known] * len(growth) + cells[known], return_inverse=True)
    pairs = np.column_stack(np.divmod(both, max(len(growth), 1)))
    exposed = s[pairs[:, 0]]
    growths = g[pairs[:, 1]]
    lost = ~np.isfinite(growths) & (exposed > 0)
    if lost.any():
        pair, sector = np.argwhere(lost)[0]
        unit, cell = shares.index[pairs[pair, 0]], growth.index[pairs[pair, 1]]
        raise SurveyError(
            f"the growth of the sector {shares.columns[sector]!r} is missing for {_label(cell)}, "
            f"and {_label(unit)} is exposed to it",
            where=(*where, rows_text(np.flatnonzero(known)[at == pair].tolist())),
            mend="add its rows to the table of growth",
        )
    found = np.einsum("ps,ps->p", exposed, np.where(exposed > 0, growths, 0.0))
    result = np.full(len(units), np.nan)
    result[known] = found[at]
    return result


def _refuse_shares(shares: pd.DataFrame, s: Floats, sums: str, where: tuple[str, ...]) -> None:
    if (s < 0).any():
        unit, sector = np.argwhere(s < 0)[0]
        raise SurveyError(
            f"the share of the sector {shares.columns[sector]!r} is {s[unit, sector]:g} for "
            f"{_label(shares.index[unit])}",
            where=where,
            mend="shares are at least 0",
        )
    total = s.sum(axis=1)
    off = np.flatnonzero(np.abs(total - 1) > _ROUNDED)
    if sums == "one" and len(off):
        raise SurveyError(
            f"the shares of {_label(shares.index[off[0]])} sum to {total[off[0]]:g}, not to one "
            f"({len(off):,} units are such)",
            where=where,
            mend='complete the sectors, or state sums = "any"',
        )


def _label(key: object) -> str:
    return " and ".join(map(repr, key)) if isinstance(key, tuple) else repr(key)
