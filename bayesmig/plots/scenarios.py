"""What a scenario would change: contrasts by group, and diversion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bayesmig.plots.effects import estimates_plot
from bayesmig.plots.forest import frame_rows, intervals, rows_of
from bayesmig.plots.numbers import number
from bayesmig.plots.style import (
    INK,
    POINTS,
    WIDTH,
    drawing,
    few_ticks,
    limits,
    looks,
    styled,
)


def scenario_plot(
    table: pd.DataFrame,
    *,
    alternatives: Sequence[str] | None = None,
    title: str = "Scenario minus baseline: average choice probabilities",
    interval: str = "95 % interval",
) -> Figure:
    """Contrasts of one scenario against the baseline, overall and by group.

    Parameters
    ----------
    table
        ``by``, ``level``, ``quantity``, ``alternative``, ``estimate``, ``lower``,
        ``upper``; the rows whose quantity is ``difference`` are drawn.
    alternatives
        All alternatives in the order of the survey.
    title, interval
        What is shown; what the intervals are.
    """
    return estimates_plot(
        table[table["quantity"] == "difference"],
        alternatives=alternatives,
        scale=POINTS,
        title=title,
        interval=interval,
    )


@styled
def diversion_plot(
    table: pd.DataFrame,
    *,
    title: str = "Diversion: where those who would have chosen the source go instead",
    interval: str = "95 % interval",
) -> Figure:
    """Share of a source's loss that each target gains, against its IIA value.

    Parameters
    ----------
    table
        ``scenario``, ``source``, ``target``, ``estimate``, ``lower``, ``upper``,
        ``iia_estimate``, ``iia_lower``, ``iia_upper``; ratios.
    title, interval
        What is shown; what the intervals are.
    """
    sources = table["source"].astype(str)
    targets = table["target"].astype(str)
    keys = list(zip(table["scenario"].astype(str), sources + " → " + targets, strict=True))
    rows = rows_of(keys)
    figure = drawing(WIDTH, 1.45 + rows.height, title)
    grid = figure.add_gridspec(1, 1)
    ax = figure.add_subplot(grid[0, 0])
    frame_rows(ax, rows, labels=True)
    known = looks([*sources, *targets])
    ends = []
    for record, key, target in zip(table.to_dict("records"), keys, targets, strict=True):
        y = np.array([rows.places[key]])
        x, low, high, iia, iia_low, iia_high = (
            np.array([100 * float(record[c])])
            for c in ("estimate", "lower", "upper", "iia_estimate", "iia_lower", "iia_upper")
        )
        ax.hlines(y + 0.05, iia_low, iia_high, color="#b3b3b3", linewidth=5, zorder=1)
        ax.plot(iia, y + 0.05, "|", color=INK, markersize=10, markeredgewidth=1.5, zorder=4)
        intervals(ax, x, low, high, y - 0.03, known[target], None)
        text = f"{number(x[0], 0)} %  (IIA {number(iia[0], 0)} %)"
        ax.text(1.01, y[0], text, transform=ax.get_yaxis_transform(), va="center", fontsize=8.5)
        ends += [*x, *low, *high, *iia, *iia_low, *iia_high]
    found = limits([*ends, 0.0])
    if found:
        ax.set_xlim(found)
    few_ticks(ax, 8)
    ax.set_xlabel(
        f"per cent of the source's change (point: model, {interval}; stroke and grey bar: what\n"
        "IIA would give, in proportion to shares)",
        loc="left",
    )
    return figure
