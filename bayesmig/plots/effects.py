"""Effects with intervals: forests, and networks as a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmig.plots.forest import forest, intervals
from bayesmig.plots.numbers import digits_for, number
from bayesmig.plots.style import (
    POINTS,
    SOFT,
    WIDTH,
    Look,
    Scale,
    drawing,
    few_ticks,
    limits,
    looks,
    plain,
    styled,
    wrapped,
)


@styled
def effects_plot(
    table: pd.DataFrame,
    *,
    alternatives: Sequence[str] | None = None,
    scale: Scale = POINTS,
    title: str = "Average differences of choice probabilities",
    interval: str = "95 % interval",
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Effects by variable and alternative.

    Parameters
    ----------
    table
        ``variable``, ``contrast``, ``alternative``, ``estimate``, ``lower``,
        ``upper``; a column ``group``, where there is one, makes headings.
    alternatives
        All alternatives in the order of the survey.
    scale
        Unit of the estimates.
    title, interval
        What is shown; what the intervals are.
    labels
        Variable -> what it means, in a few words.
    """
    meant = table["variable"].map(lambda v: f" ({labels[v]})" if labels and v in labels else "")
    contrast = table["contrast"].astype(str).replace("dP/dx", "")
    lines = pd.DataFrame(
        {
            "group": table["group"].astype(str) if "group" in table else "",
            "label": (table["variable"].astype(str) + "  " + contrast).str.strip() + meant,
            "alternative": table["alternative"].astype(str),
        }
    ).join(table[["estimate", "lower", "upper"]])
    return forest(lines, title=title, scale=scale, alternatives=alternatives, interval=interval)


@styled
def network_plot(
    table: pd.DataFrame,
    networks: Mapping[str, str],
    *,
    scale: Scale = POINTS,
    title: str = "Average differences of choice probabilities with networks, own and other",
    interval: str = "95 % interval",
) -> Figure:
    """A matrix: rows are outcomes, columns are networks.

    Parameters
    ----------
    table
        ``variable``, ``alternative``, ``estimate``, ``lower``, ``upper``; one row per
        pair of them.
    networks
        Alternative -> the variable that is its network.
    scale
        Unit of the estimates.
    title, interval
        What is shown; what the intervals are.

    Returns
    -------
    Figure
        Panels of a line share an axis; lines do not, since streams differ in size. The
        panels of own networks are shaded.
    """
    names, known, n = list(networks), looks(networks), len(networks)
    figure = drawing(WIDTH, 0.75 + 1.2 * n, f"{title} ({interval})")
    grid = figure.add_gridspec(n, 1 + n, width_ratios=[1.0, *[6.2 / n] * n])
    for i, outcome in enumerate(names):
        _outcome(figure.add_subplot(grid[i, 0]), outcome, known[outcome])
        line = table[table["alternative"].astype(str) == outcome]
        line = line[line["variable"].isin(networks.values())]
        ends = scale.factor * line[["estimate", "lower", "upper"]].to_numpy(dtype=float)
        found = limits([*ends.ravel(), scale.reference or 0.0], pad=0.12)
        digits = digits_for((ends[:, 2] - ends[:, 1]) / 4)
        for j, network in enumerate(names):
            ax = figure.add_subplot(grid[i, 1 + j])
            cell = line[line["variable"] == networks[network]]
            _cell(ax, cell, known[outcome], scale, digits, own=i == j)
            if found:
                ax.set_xlim(found)
            few_ticks(ax, 5)
            if i == 0:
                ax.set_title(wrapped(networks[network], 26), fontsize=9.5)
            if i == n - 1:
                ax.set_xlabel(scale.unit)
    return figure


def _outcome(ax: Axes, outcome: str, look: Look) -> None:
    plain(ax)
    ax.text(0, 0.58, "outcome", color=SOFT, fontsize=8.5, va="bottom", transform=ax.transAxes)
    ax.text(
        0,
        0.52,
        wrapped(outcome, 14),
        color=look.color,
        fontweight="bold",
        va="top",
        transform=ax.transAxes,
    )


def _cell(
    ax: Axes, cell: pd.DataFrame, look: Look, scale: Scale, digits: int, *, own: bool
) -> None:
    """One effect, with its number above it."""
    ax.set_facecolor("#f3f3f3" if own else "white")
    ax.set_ylim(-1, 1)
    ax.set_yticks([])
    ax.axvline(scale.reference or 0.0, color=SOFT, linewidth=0.9, zorder=1)
    if cell.empty:
        values = np.full(3, np.nan)
    else:
        values = scale.factor * cell[["estimate", "lower", "upper"]].to_numpy(dtype=float)[0]
    x, low, high = values
    intervals(
        ax,
        np.array([x]),
        np.array([low]),
        np.array([high]),
        np.array([-0.25]),
        look,
        scale.reference,
    )
    text = f"{number(x, digits, sign=True)}  [{number(low, digits)}, {number(high, digits)}]"
    if np.isfinite(x):
        box = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 1.5}
        ax.text(0.5, 0.72, text, transform=ax.transAxes, ha="center", fontsize=9, bbox=box)


@styled
def estimates_plot(
    table: pd.DataFrame,
    *,
    alternatives: Sequence[str] | None = None,
    scale: Scale,
    title: str,
    interval: str = "95 % interval",
) -> Figure:
    """Estimates by group.

    Parameters
    ----------
    table
        ``by``, ``level``, ``alternative``, ``estimate``, ``lower``, ``upper``.
    alternatives, scale, title, interval
        As for `effects_plot`.
    """
    whole = table["by"].astype(str) == "all"
    lines = table[["estimate", "lower", "upper"]].assign(
        group=("by " + table["by"].astype(str)).mask(whole, ""),
        label=table["level"].astype(str).mask(whole, "all rows"),
        alternative=table["alternative"].astype(str),
    )
    return forest(lines, title=title, scale=scale, alternatives=alternatives, interval=interval)
