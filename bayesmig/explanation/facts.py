"""What a survey holds of the variation that a theory needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

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
        """Whether the survey has a column, or declares a role of this name."""
        return column in self.survey.names

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
        chosen = self.survey.shared([by, "choice"])
        moved = chosen[chosen["choice"] != base]
        streams = moved.groupby(by, observed=True)["choice"].nunique()
        return int((streams > 1).sum())

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
        return self.survey.shared([name])[name]
