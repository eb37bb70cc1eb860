"""Points with intervals, one line per thing, one panel per alternative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from bayesmig.plots.numbers import MISSING
from bayesmig.plots.style import (
    FAINT,
    INK,
    PLATE,
    SOFT,
    WIDTH,
    Look,
    Scale,
    drawing,
    few_ticks,
    limits,
    looks,
    plain,
    wrapped,
)

LABEL_WIDTH = 27
ROW, TEXT_LINE = 0.235, 0.15
"""Height of a line of the plot, and of each further line of its label, inches."""


@dataclass(frozen=True)
class Rows:
    """Where the lines of a forest stand.

    Attributes
    ----------
    keys
        ``(group, label)`` of every line, in order; a group's heading has the label
        ``None``.
    texts
        What is written beside it.
    at
        Height below the top, inches.
    height
        Of all, inches.
    """

    keys: tuple[tuple[str, str | None], ...]
    texts: tuple[str, ...]
    at: tuple[float, ...]
    height: float

    @property
    def places(self) -> Mapping[tuple[str, str | None], float]:
        """Line -> height."""
        return dict(zip(self.keys, self.at, strict=True))


def rows_of(pairs: Sequence[tuple[str, str]], width: int = LABEL_WIDTH) -> Rows:
    """Lines under the headings of their groups; an empty group has none."""
    keys: list[tuple[str, str | None]] = []
    for group, label in dict.fromkeys(pairs):
        if group and (group, None) not in keys:
            keys.append((group, None))
        keys.append((group, label))
    texts = [wrapped(group if label is None else label, width) for group, label in keys]
    heights = [ROW + TEXT_LINE * text.count("\n") for text in texts]
    gaps = [0.35 * ROW if label is None and i else 0.0 for i, (_, label) in enumerate(keys)]
    edges = np.cumsum(np.asarray(heights) + gaps)
    at = edges - np.asarray(heights) / 2
    return Rows(tuple(keys), tuple(texts), tuple(map(float, at)), float(edges[-1]))


def forest(
    table: pd.DataFrame,
    *,
    title: str,
    scale: Scale,
    alternatives: Sequence[str] | None = None,
    interval: str = "interval",
    point: str = "estimate",
    other: str = "",
) -> Figure:
    """Draw ``group``, ``label``, ``alternative``, ``estimate``, ``lower``, ``upper``.

    Parameters
    ----------
    table
        One row per line and panel; a column ``other`` is drawn as an upright stroke.
    title
        What is shown.
    scale
        Unit of the axes. Panels have an axis each: streams differ much in size.
    alternatives
        All alternatives in order; those of the table where it is left out.
    interval, point, other
        What the horizontal line, the marker and the stroke are, for the key.

    Returns
    -------
    Figure
        Panels side by side, at most four in a row. A filled marker says that the
        interval leaves out the value of no effect, where there is one.
    """
    names = [str(a) for a in (alternatives or table["alternative"].unique())]
    shown = [a for a in names if (table["alternative"].astype(str) == a).any()]
    known = looks([*names, *table["alternative"].unique()])
    across = len(shown) if len(shown) <= 4 else 3
    rows = rows_of(list(zip(table["group"], table["label"], strict=True)))
    bands = -(-len(shown) // across)
    body = rows.height + 0.75
    figure = drawing(WIDTH, 0.75 + bands * body, title)
    grid = figure.add_gridspec(1 + bands, across, height_ratios=[0.22, *[body] * bands])
    _key(figure.add_subplot(grid[0, :]), [known[a] for a in shown], scale, interval, point, other)
    for i, name in enumerate(shown):
        ax = figure.add_subplot(grid[1 + i // across, i % across])
        part = table[table["alternative"].astype(str) == name]
        _panel(ax, part, rows, known[name], scale, labels=i % across == 0)
        ax.set_title(name, color=known[name].color)
    return figure


def _panel(
    ax: Axes, part: pd.DataFrame, rows: Rows, look: Look, scale: Scale, *, labels: bool
) -> None:
    frame_rows(ax, rows, labels=labels)
    places = rows.places
    y = np.array([places[k] for k in zip(part["group"], part["label"], strict=True)])
    x, low, high = (
        scale.factor * part[c].to_numpy(dtype=float) for c in ("estimate", "lower", "upper")
    )
    stroke = scale.factor * part["other"].to_numpy(dtype=float) if "other" in part else None
    reference = scale.reference
    if reference is not None:
        ax.axvline(reference, color=SOFT, linewidth=0.9, zorder=1)
    intervals(ax, x, low, high, y, look, reference)
    if stroke is not None:
        ax.plot(stroke, y, "|", color=INK, markersize=11, markeredgewidth=1.5, zorder=4)
    ends = [*x, *low, *high, *([] if stroke is None else stroke)]
    found = limits(ends if reference is None else [*ends, reference])
    if found:
        ax.set_xlim(found)
    few_ticks(ax)
    ax.set_xlabel(scale.unit)


def intervals(
    ax: Axes,
    x: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    y: np.ndarray,
    look: Look,
    reference: float | None,
) -> None:
    """Lines with markers; hollow where the interval holds ``reference``."""
    whole = np.isfinite(low) & np.isfinite(high)
    ax.hlines(y[whole], low[whole], high[whole], color=look.color, linewidth=1.6, zorder=2)
    seen = np.isfinite(x)
    unsure = whole & (low <= reference) & (reference <= high) if reference is not None else ~seen
    for chosen, face in ((seen & ~unsure, look.color), (seen & unsure, "white")):
        ax.plot(
            x[chosen],
            y[chosen],
            look.marker,
            color=look.color,
            markerfacecolor=face,
            markersize=5.5,
            markeredgewidth=1.3,
            zorder=3,
        )
    for place in y[~seen]:
        ax.text(
            0.5,
            place,
            MISSING,
            transform=ax.get_yaxis_transform(),
            bbox=PLATE,
            color=SOFT,
            fontsize=8,
            ha="center",
            va="center",
        )


def frame_rows(ax: Axes, rows: Rows, *, labels: bool) -> None:
    """Thin guides for the lines, and their names where ``labels``."""
    ax.set_ylim(rows.height, 0)
    lines = [y for (_, label), y in rows.places.items() if label is not None]
    ax.hlines(lines, 0, 1, transform=ax.get_yaxis_transform(), color=FAINT, linewidth=0.6, zorder=0)
    if not labels:
        ax.set_yticks([])
        return
    ax.set_yticks(rows.at, rows.texts, linespacing=1.05)
    for tick, (_, label) in zip(ax.get_yticklabels(), rows.keys, strict=True):
        tick.set_fontweight("bold" if label is None else "normal")


def _key(
    ax: Axes, shown: Sequence[Look], scale: Scale, interval: str, point: str, other: str
) -> None:
    """Say what the strokes are, in one line, with the marks of all panels."""
    plain(ax)
    size: dict[str, Any] = {"markersize": 5.5, "markeredgewidth": 1.3, "linewidth": 1.6}
    marks = [Line2D([], [], color=a.color, marker=a.marker, **size) for a in shown]
    handles: list[Any] = [tuple(marks)]
    labels = [f"{point}, {interval}"]
    if scale.reference is not None:
        hollow = [Line2D([], [], color=a.color, marker=a.marker, **size) for a in shown]
        for mark in hollow:
            mark.set_markerfacecolor("white")
        handles.append(tuple(hollow))
        labels.append(f"interval includes {scale.reference:g}")
    if other:
        stroke: dict[str, Any] = {
            "marker": "|",
            "markersize": 11,
            "markeredgewidth": 1.5,
            "linestyle": "",
        }
        handles.append(Line2D([], [], color=INK, **stroke))
        labels.append(other)
    ax.legend(
        handles,
        labels,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.3)},
        loc="center left",
        ncols=len(handles),
        bbox_to_anchor=(0.0, 0.5),
        borderpad=0.0,
        borderaxespad=0.0,
        handlelength=max(1.7 * min(len(shown), 4), 2.2),
        columnspacing=2.0,
        labelcolor=SOFT,
    )
