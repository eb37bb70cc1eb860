"""How far a scenario leaves what was observed, in numbers.

Columns are looked at one by one. Combinations that nobody had may hide behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.changes import is_indicator, levels_of, share_of, theory_columns
from bayesmig.choice.utility import Coefficients
from bayesmig.policy.interventions import Mask, Step, World
from bayesmig.spec.scenario import MoveCoefficient, ScaleColumn, Scenario

Array = NDArray[np.float64]
Range = tuple[float, float, float, float]
#: A field of `Coefficients`, and a place in it.
Place = tuple[str, tuple[int, ...]]
#: Shares of rows in words.
Shares = Callable[[Mask], str]
#: Posterior standard deviations that a coefficient may move before a reader is told.
_FAR = 5.0


def warnings_of(
    scenario: Scenario,
    before: World,
    after: World,
    steps: tuple[Step, ...],
    weights: Array | None,
    coefficients: Coefficients,
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
    coefficients
        The draws before the scenario.

    Returns
    -------
    tuple of str
        Interventions that change nobody, shares of rows that leave the observed range
        or the 1st to 99th percentiles of a column, or go further out, values that
        nobody had, alternatives that open to people who never had them, and
        coefficients that move far away from their draws.
    """
    share = partial(share_of, weights=weights)
    found = [f"“{step.text}” changes nobody" for step in steps if not step.changed.any()]
    found += _negative_values(scenario, before, steps, share)
    for column in theory_columns(after.design):
        found += _column_warnings(column, before, after, share)
    found += _openings(before, after, share)
    found += _far_shifts(scenario, after, coefficients)
    return tuple(found)


def _negative_values(
    scenario: Scenario, before: World, steps: tuple[Step, ...], share: Shares
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


def _column_warnings(column: str, before: World, after: World, share: Shares) -> Iterator[str]:
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
    column: str, old: Array, new: Array, observed: Range, share: Shares
) -> Iterator[str]:
    low, p1, p99, high = observed
    below = ("fall", f"below the lowest observed {column}, {low:g}", "down")
    above = ("rise", f"above the highest observed {column}, {high:g}", "up")
    yield from _beyond(below, -1.0, old, new, low, share)
    yield from _beyond(above, 1.0, old, new, high, share)
    was_central, is_outside = (old >= p1) & (old <= p99), (new < low) | (new > high)
    thin = was_central & ((new < p1) | (new > p99)) & ~is_outside
    if thin.any():
        yield (
            f"{share(thin)} leave the 1st to 99th percentiles of {column}, {p1:g} to {p99:g}, "
            "where few were observed"
        )


def _beyond(
    words: tuple[str, str, str], sign: float, old: Array, new: Array, bound: float, share: Shares
) -> Iterator[str]:
    """Rows that come to lie beyond a bound, and rows beyond it that go further."""
    move, side, way = words
    was, now = sign * old > sign * bound, sign * new > sign * bound
    furthest = sign * np.max(sign * new, where=now, initial=sign * bound)
    if (fresh := now & ~was).any():
        yield f"{share(fresh)} {move} {side} ({way} to {furthest:g})"
    if (further := was & (sign * new > sign * old)).any():
        yield (
            f"{share(was)} lie {side}, without the scenario, and {share(further)} go further "
            f"({way} to {furthest:g})"
        )


def _openings(before: World, after: World, share: Shares) -> Iterator[str]:
    for alternative, column in after.design.spec.available.items():
        source = after.sources.get(column, column)
        opened = (after.frame[column] > before.values_of(source)).to_numpy()
        if opened.any():
            yield (
                f"{alternative} opens to {share(opened)}, to whom it was closed: how they value it "
                "is inferred from others"
            )


def _far_shifts(scenario: Scenario, after: World, coefficients: Coefficients) -> Iterator[str]:
    """Coefficients that move by more than the draws leave open."""
    moves = [i for i in scenario.interventions if isinstance(i, MoveCoefficient)]
    names: dict[Place, str] = {}
    total: dict[Place, float] = {}
    for move, (block, place, by) in zip(moves, after.shifts, strict=True):
        names[block, place] = move.name + (f" of {move.alternative}" if move.alternative else "")
        total[block, place] = total.get((block, place), 0.0) + by
    for (block, place), by in total.items():
        name, draws = names[block, place], getattr(coefficients, block)[(..., *place)]
        sd = float(draws.std(ddof=1))
        if abs(by) > _FAR * sd:
            yield (
                f"the coefficient {name} moves by {by:g}, more than {_FAR:g} times its posterior "
                f"standard deviation (mean {draws.mean():.3g}, standard deviation {sd:.3g}): the "
                "survey speaks for no such value"
            )
