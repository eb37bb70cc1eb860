"""Who chooses: each once in a period, in one household, in one origin."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SurveyError, rows_text
from bayesmig.survey.codebook import Codebook


def check_deciders(
    frame: pd.DataFrame, rows: npt.NDArray[np.int64], book: Codebook, where: str
) -> None:
    """Refuse rows that cannot all be of one survey.

    Parameters
    ----------
    frame
        Roles under their role's name, shape ``(obs, …)``.
    rows
        Row numbers in the file, for messages.
    book
        Says which roles are declared.
    where
        The codebook, for messages.

    Raises
    ------
    SurveyError
        Where, within a period, a person stands in two households or a household in two
        origins, or who chooses (the person, else the household) stands in two rows.

    Notes
    -----
    Between periods people change household and households move: that is what a panel is
    for. Within one they do not: two origins of one household are mostly household numbers
    that begin anew in each origin, and would merge strangers into one household. Where no
    period is declared, rows may be of several: persons may then have several rows and
    households several origins (`Survey.describe` warns of both), but households that choose
    may not stand twice: rows of persons look like that.
    """
    roles = book.roles.declared()
    checker = _Checker(frame, rows, roles, where)
    if {"person", "household"} <= roles.keys():
        checker.one_of("household", "person", "assign each person to one household")
    if {"household", "origin", "period"} <= roles.keys():
        mend = "make household numbers unique across origins, or correct the origin"
        checker.one_of("origin", "household", mend)
    unit = "person" if "person" in roles else "household"
    if unit in roles and (unit == "household" or "period" in roles):
        checker.once(unit)


def refuse_counted_twice(
    frame: pd.DataFrame, rows: npt.NDArray[np.int64], book: Codebook, where: str
) -> None:
    """Refuse counts of earlier movers over rows in which a person stands repeatedly."""
    counts = [name for name, network in book.networks.items() if network.measure == "count"]
    roles = book.roles.declared()
    if counts and "person" in roles and "period" not in roles:
        _Checker(frame, rows, roles, where, f"key networks.{counts[0]}").once("person")


class _Checker:
    """The rows that are compared, and where they stand."""

    def __init__(
        self,
        frame: pd.DataFrame,
        rows: npt.NDArray[np.int64],
        roles: Mapping[str, str],
        where: str,
        *keys: str,
    ) -> None:
        self.frame, self.rows, self.where = frame, rows, (where, *keys)
        self.period = ["period"] if "period" in roles else []

    def one_of(self, whole: str, part: str, mend: str) -> None:
        """Refuse a part that lies in more than one whole in the same period."""
        known = self._known(part, whole)
        pairs = known.drop_duplicates()
        by = [part, *self.period]
        if not pairs.duplicated(by).any():
            return
        twice = pairs[pairs.duplicated(by, keep=False)]
        bad = known.merge(twice[by].drop_duplicates(), on=by).shape[0]
        first = twice.iloc[0]
        rows = np.flatnonzero((self.frame[by] == first[by]).all(axis=1))
        when = " of the same period" if self.period else ""
        raise SurveyError(
            f"the {part} {first[part]!r} stands in more than one {whole}{when}; "
            f"{bad:,} rows are such",
            where=(*self.where, f"keys roles.{part}, roles.{whole}", self._at(rows)),
            mend=mend
            + ("" if when else f"; declare the period if a {part} changes {whole} over time"),
        )

    def once(self, unit: str) -> None:
        """Refuse who stands in more than one row of a period."""
        by = [unit, *self.period]
        known = self._known(unit)[by]
        again = known.index[known.duplicated(by, keep=False)].to_numpy()
        if not len(again):
            return
        one = known.loc[again[0]]
        when = f" of the period {one['period']!r}" if self.period else ""
        rows = "one row per person" if unit == "person" else "one row per household"
        mend = f"keep {rows} and period, or check the period column" if self.period else (
            f"keep {rows}, or declare the period"
        )  # fmt: skip
        if unit == "household":
            mend += '; where persons choose, declare person = "COLUMN" (number the rows)'
        raise SurveyError(
            f"the {unit} {one[unit]!r} stands in more than one row{when}; "
            f"{len(again):,} rows are such duplicates",
            where=(*self.where, f"keys {', '.join(f'roles.{r}' for r in by)}", self._at(again)),
            mend=mend,
        )

    def _known(self, *roles: str) -> pd.DataFrame:
        return self.frame[[*roles, *self.period]].dropna()

    def _at(self, rows: npt.NDArray[np.intp]) -> str:
        return rows_text(self.rows[rows].tolist())
