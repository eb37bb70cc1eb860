"""How far a scenario leaves what was observed, in numbers.

Columns are looked at one by one. Combinations that nobody had may hide behind them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.policy.interventions import Mask, Step, World
from bayesmig.predict import is_indicator, levels_of, theory_columns
from bayesmig.spec.scenario import ScaleColumn, Scenario

Array = NDArray[np.float64]
Range = tuple[float, float, float, float]


def warnings_of(
    scenario: Scenario,
    before: World,
    after: World,
    steps: tuple[Step, ...],
    weights: Array | None,
) -> tuple[str, ...]:
    """What a reader must know before believing the numbers of a scenario.

    Parameters
    ----------
    scenario
        The policy.
    before, after
        The worlds without and with it.
    steps
        Its interventions as applied.
    weights
        ``(obs,)``: shares of rows are weighted with them; ``None``: they are not.

    Returns
    -------
    tuple of str
        Interventions that change nobody, shares of rows that leave the observed range
        or the 1st to 99th percentiles of a column, values that nobody had, and
        alternatives that open to people who never had them.
    """
    share = _Shares(weights)
    found = [f"“{step.text}” changes nobody" for step in steps if not step.changed.any()]
    found += _negative_values(scenario, before, steps, share)
    for column in theory_columns(after.design):
        found += _column_warnings(column, before, after, share)
    found += _openings(before, after, share)
    return tuple(found)


class _Shares:
    """Shares of rows in words, weighted where there are weights."""

    def __init__(self, weights: Array | None) -> None:
        self._weights = weights

    def __call__(self, rows: Mask) -> str:
        text = f"{np.average(rows, weights=self._weights):.1%}".replace("%", " %")
        return f"{text} of the rows" + ("" if self._weights is None else " (weighted)")


def _negative_values(
    scenario: Scenario, before: World, steps: tuple[Step, ...], share: _Shares
) -> Iterator[str]:
    """A factor means a cut or a rise only where a column counts from zero."""
    for intervention, step in zip(scenario.interventions, steps, strict=True):
        if isinstance(intervention, ScaleColumn) and intervention.factor != 1:
            negative = (before.frame[intervention.column] < 0).to_numpy() & step.matched
            if negative.any():
                yield (
                    f"“{step.text}” moves negative values the other way: {share(negative)} have "
                    f"{intervention.column} below 0"
                )


def _column_warnings(column: str, before: World, after: World, share: _Shares) -> Iterator[str]:
    values = after.frame[column]
    numeric = pd.api.types.is_numeric_dtype(values) and not levels_of(after.design, column)
    if not numeric or column in after.design.spec.available.values():
        return
    source = after.sources.get(column, column)
    old, new = before.values_of(source).to_numpy(dtype=float), values.to_numpy(dtype=float)
    if isinstance(source, str) and is_indicator(after.design, source):
        strange = ~np.isin(new, (0, 1)) & np.isin(old, (0, 1))
        if strange.any():
            yield f"{column} is 0 or 1 in the survey; {share(strange)} get another value"
        return
    yield from _range_warnings(column, old, new, _observed(after, source), share)


def _observed(world: World, source: str | float) -> Range:
    return world.design.support.ranges[source] if isinstance(source, str) else (source,) * 4


def _range_warnings(
    column: str, old: Array, new: Array, observed: Range, share: _Shares
) -> Iterator[str]:
    low, p1, p99, high = observed
    was_in, was_central = (old >= low) & (old <= high), (old >= p1) & (old <= p99)
    below, above = was_in & (new < low), was_in & (new > high)
    if below.any():
        yield (
            f"{share(below)} fall below the lowest observed {column}, {low:g} "
            f"(down to {new[below].min():g})"
        )
    if above.any():
        yield (
            f"{share(above)} rise above the highest observed {column}, {high:g} "
            f"(up to {new[above].max():g})"
        )
    thin = was_central & ((new < p1) | (new > p99)) & ~below & ~above
    if thin.any():
        yield (
            f"{share(thin)} leave the 1st to 99th percentiles of {column}, {p1:g} to {p99:g}, "
            "where few were observed"
        )


def _openings(before: World, after: World, share: _Shares) -> Iterator[str]:
    for alternative, column in after.design.spec.available.items():
        source = after.sources.get(column, column)
        opened = (after.frame[column] > before.values_of(source)).to_numpy()
        if opened.any():
            yield (
                f"{alternative} opens to {share(opened)}, to whom it was closed: how they value it "
                "is inferred from others"
            )
