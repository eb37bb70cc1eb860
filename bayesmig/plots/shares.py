"""Shares observed against shares predicted, and calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmig.plots.forest import forest
from bayesmig.plots.style import (
    INK,
    PERCENT,
    SOFT,
    WIDTH,
    Look,
    drawing,
    few_ticks,
    limits,
    looks,
    styled,
)


@styled
def shares_plot(
    table: pd.DataFrame,
    *,
    alternatives: Sequence[str] | None = None,
    title: str = "Shares of alternatives: observed against predicted",
    interval: str = "95 % of replicates",
) -> Figure:
    """Observed shares (strokes) against predicted ones (points with intervals).

    Parameters
    ----------
    table
        ``theory``, ``by``, ``level``, ``alternative``, ``observed``, ``predicted``,
        ``lower``, ``upper`` and, where known, ``rows``; shares in [0, 1]. Rows with
        ``by == "all"`` have a line per theory, others one per level. Several theories
        at once are told apart in the headings.
    alternatives
        All alternatives in the order of the survey.
    title, interval
        What is shown; what the intervals are.
    """
    lines = pd.DataFrame(
        {
            "group": _groups(table),
            "label": _labels(table),
            "alternative": table["alternative"].astype(str),
            "estimate": table["predicted"],
            "lower": table["lower"],
            "upper": table["upper"],
            "other": table["observed"],
        }
    )
    return forest(
        lines,
        title=title,
        scale=PERCENT,
        alternatives=alternatives,
        interval=interval,
        point="predicted",
        other="observed",
    )


def _groups(table: pd.DataFrame) -> list[str]:
    several = len(set(table["theory"])) > 1
    return [
        "all rows" if by == "all" else f"{theory}, by {by}" if several else f"by {by}"
        for theory, by in zip(table["theory"].astype(str), table["by"].astype(str), strict=True)
    ]


def _labels(table: pd.DataFrame) -> list[str]:
    """Theory or level, with the number of rows behind it."""
    counts = table["rows"] if "rows" in table else pd.Series(np.nan, index=table.index)
    columns = ("theory", "by", "level")
    parts = [table[c].astype(str) for c in columns]
    return [
        theory if by == "all" else level if pd.isna(n) else f"{level} (n\u00a0=\u00a0{int(n):,})"
        for theory, by, level, n in zip(*parts, counts, strict=True)
    ]


@styled
def calibration_plot(
    table: pd.DataFrame,
    *,
    alternatives: Sequence[str] | None = None,
    title: str = "Calibration: observed share among rows with similar predictions",
    interval: str = "95 % of replicates",
) -> Figure:
    """Observed shares over predicted probabilities, by bin.

    Parameters
    ----------
    table
        ``theory``, ``alternative``, ``predicted``, ``observed``, ``lower``, ``upper``,
        ``rows`` and ``passed``; shares in [0, 1]. One line of panels per theory; bins
        that failed are hollow.
    alternatives, title, interval
        As for `shares_plot`.
    """
    theories = list(table["theory"].astype(str).unique())
    names = [str(a) for a in (alternatives or table["alternative"].unique())]
    names = [a for a in names if (table["alternative"].astype(str) == a).any()]
    known = looks(names)
    figure = drawing(WIDTH, 0.6 + 2.75 * len(theories), title)
    axes = figure.subplots(len(theories), len(names), squeeze=False)
    for i, theory in enumerate(theories):
        for j, name in enumerate(names):
            chosen = (table["theory"].astype(str) == theory) & (
                table["alternative"].astype(str) == name
            )
            ax: Axes = axes[i, j]
            _calibration_panel(ax, table[chosen], known[name])
            ax.set_title(
                name if len(theories) == 1 else f"{name}\n{theory}", color=known[name].color
            )
            ax.set_xlabel("predicted, per cent")
            if j == 0:
                ax.set_ylabel(f"observed, per cent\n(line: {interval})")
    return figure


def _calibration_panel(ax: Axes, part: pd.DataFrame, look: Look) -> None:
    x, y, low, high = (
        100 * part[c].to_numpy(dtype=float) for c in ("predicted", "observed", "lower", "upper")
    )
    ax.grid(visible=True, axis="both")
    ax.vlines(x, low, high, color=look.color, linewidth=1.6, zorder=2)
    # Bins that were not judged are neither good nor bad.
    good = ~part["passed"].map(str).str.lower().isin(("false", "failed")).to_numpy(dtype=bool)
    for chosen, edge, face in ((good, look.color, look.color), (~good, INK, "white")):
        ax.plot(
            x[chosen],
            y[chosen],
            look.marker,
            color=look.color,
            markeredgecolor=edge,
            markerfacecolor=face,
            markeredgewidth=1.3,
            markersize=5.5,
            zorder=3,
        )
    found = limits([*x, *y, *low, *high])
    if found:
        low_end = max(found[0], -0.06 * found[1])
        ax.plot([low_end, found[1]], [low_end, found[1]], color=SOFT, linewidth=0.9, zorder=1)
        ax.set_xlim(low_end, found[1])
        ax.set_ylim(low_end, found[1])
    few_ticks(ax, both=True)
    ax.tick_params(axis="y", labelsize=8.5, labelcolor=SOFT)
