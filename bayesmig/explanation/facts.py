"""What a survey holds of the variation that a theory needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

from bayesmig.choice.response import Sides, sides
from bayesmig.survey.cells import all_cells
from bayesmig.survey.survey import Survey


class Facts:
    """Counts and shares of variance of one survey; each is computed when it is asked.

    Parameters
    ----------
    survey
        Read only.
    """

    def __init__(self, survey: Survey) -> None:
        self.survey = survey

    def has(self, column: str) -> bool:
        """Whether the survey has a column, or declares a role of this name.

        Of names that are joined by colons, whether it has all.
        """
        return all(part in self.survey.names for part in column.split(":"))

    @cached_property
    def choices(self) -> Mapping[str, int]:
        """Alternative -> how often it was chosen."""
        counts = self._column("choice").value_counts()
        return {a: int(counts.get(a, 0)) for a in self.survey.alternatives}

    @cached_property
    def n_periods(self) -> int:
        """How many periods there are; one where none is declared."""
        return int(self._column("period").nunique()) if self.has("period") else 1

    def groups(self, by: str) -> tuple[int, float]:
        """How many groups there are, and the median of their choice situations."""
        sizes = self._column(by).value_counts()
        return len(sizes), float(sizes[sizes > 0].median())

    def groups_with_both(self, by: str, base: str) -> int:
        """In how many groups more than one alternative beside the base was chosen."""
        choice = self._column("choice")
        moved = choice != base
        streams = choice[moved].groupby(self._column(by)[moved], observed=True).nunique()
        return int((streams > 1).sum())

    def empty_cells(self, by: str) -> int | None:
        """How many combinations of values that occur have nobody in them; ``None`` if no cells."""
        found = self._column(by).nunique()
        every = all_cells(self.survey.shared(by.split(":")).dropna(), found)
        return None if every is None else len(every) - found

    def different(self, column: str) -> int:
        """How many different values a column has."""
        return int(self._column(column).nunique())

    def range(self, column: str) -> tuple[float, float] | None:
        """The lowest and highest value of a column of numbers; ``None`` of any other."""
        if not self._is_number(column):
            return None
        known = self._column(column).dropna()
        return (float(known.min()), float(known.max())) if len(known) else None

    def sides(self, column: str, by: str | None, alpha: float, beta: float) -> Sides | None:
        """Units below and above where a half-saturation may lie (`bayesmig.choice.response`).

        Parameters
        ----------
        column
            The exposure.
        by
            Whose means are the units; ``None`` for different values.
        alpha, beta
            Of the half-saturation's prior.

        Returns
        -------
        Sides or None
            ``None`` where there is no exposure above zero.
        """
        if not self._is_number(column):
            return None
        dose = self._column(column).astype(float)
        known = dose.notna()
        codes = None
        if by is not None and self.has(by):
            labels, _ = pd.factorize(self._column(by))
            known &= labels >= 0
            codes = pd.factorize(labels[known])[0]
        if not (dose[known] > 0).any():
            return None
        return sides(dose[known].to_numpy(dtype=np.float64), codes, alpha, beta)

    def within_share(self, column: str, by: str) -> float | None:
        """The share of a column's variance that lies within groups; ``None`` without any."""
        if not (self._is_number(column) and self.has(by)):
            return None
        values = self._column(column).to_numpy(dtype=float)
        labels, _ = pd.factorize(self._column(by))
        known = np.isfinite(values) & (labels >= 0)
        values, labels = values[known], labels[known]
        if not len(values):
            return None
        counts = np.bincount(labels)
        means = np.bincount(labels, weights=values) / np.maximum(counts, 1)
        total = float(np.square(values - values.mean()).sum())
        return float(np.square(values - means[labels]).sum()) / total if total > 0 else None

    def correlation(self, one: str, other: str) -> float | None:
        """Of two columns of numbers; ``None`` where one does not vary."""
        if not (self._is_number(one) and self._is_number(other)):
            return None
        pair = self.survey.shared([one, other]).astype(float).dropna()
        if len(pair) < 2 or (pair.std() == 0).any():
            return None
        return float(np.corrcoef(pair[one], pair[other])[0, 1])

    def _is_number(self, column: str) -> bool:
        return self.has(column) and pd.api.types.is_numeric_dtype(self._column(column))

    def _column(self, name: str) -> pd.Series:
        """A column; a number for every combination, of names that are joined by colons."""
        parts = name.split(":")
        values = self.survey.shared(parts)
        if len(parts) == 1:
            return values[name]
        cells = values.groupby(parts, observed=True, sort=False).ngroup()
        return cells.astype(float).where(values.notna().all(axis=1))
