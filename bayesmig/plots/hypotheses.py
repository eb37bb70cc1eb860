"""Hypotheses: how probable they are, and the estimands behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bayesmig.plots.forest import frame_rows, rows_of
from bayesmig.plots.numbers import digits_for, number, probability
from bayesmig.plots.style import (
    INK,
    PLATE,
    SOFT,
    WIDTH,
    Look,
    drawing,
    plain,
    styled,
)

_LOOK = Look("#0072B2", "o")


@dataclass(frozen=True, slots=True)
class Unit:
    """What the estimand of a statement is counted in."""

    factor: float
    name: str


def unit_of(part: str) -> Unit:
    """The unit of an inequality's estimand.

    Averages are probabilities, so their sums and differences are percentage points;
    lifts are shares of the starting probability; products and quotients are numbers, and so
    are log odds and correlations.
    """
    if "*" in part or "/" in part or "correlation(" in part:
        return Unit(1, "")
    if "log_odds(" in part:
        return Unit(1, "log odds")
    return Unit(100, "%") if "lift(" in part else Unit(100, "pp")


@styled
def hypotheses_plot(
    table: pd.DataFrame,
    *,
    title: str = "Hypotheses: posterior probability, and the estimand behind it",
    interval: str = "95 % interval",
) -> Figure:
    """Posterior probabilities of hypotheses, and their estimands with ROPE.

    Parameters
    ----------
    table
        ``hypothesis``, ``part``, ``estimate``, ``lower``, ``upper``, ``rope``,
        ``probability``, ``joint_probability``, ``joint_identification`` (what is amiss
        with it, empty where nothing is); one row per inequality.
    title, interval
        What is shown; what the intervals are.

    Returns
    -------
    Figure
        Left, the probability that all inequalities of a hypothesis hold together
        (diamond, hollow where the prior has a say in it) and that each holds (points).
        Right, each estimand on an axis of its own that holds interval and ROPE (grey) and
        bears its ends, with its numbers.
    """
    # In quotation marks: names are the theory's words, as its claims are.
    names = "“" + table["hypothesis"].astype(str).str.replace("_", " ") + "”"
    keys = list(zip(names, table["part"].astype(str), strict=True))
    rows = rows_of(keys, width=38)
    figure = drawing(WIDTH, 1.1 + rows.height, title)
    left, right, words = figure.subplots(1, 3, width_ratios=[1.5, 1.6, 1.75])
    for ax in (left, right):
        frame_rows(ax, rows, labels=ax is left)
    _probabilities(left, table, keys, rows.places)
    _estimands(right, table, keys, rows.places)
    plain(words)
    words.set_ylim(right.get_ylim())
    words.set_title(f"estimate [{interval}]", fontsize=9.5)
    for record, key in zip(table.to_dict("records"), keys, strict=True):
        words.text(0, rows.places[key], estimand(record), fontsize=8.5, va="center")
    return figure


def _probabilities(ax: Axes, table: pd.DataFrame, keys: list[Any], places: Any) -> None:
    ax.set_xlim(-0.04, 1.16)
    ax.axvline(0.5, color=SOFT, linewidth=0.9, zorder=1)
    columns = table["joint_probability"], table["joint_identification"]
    joint = dict(zip((k[0] for k in keys), zip(*columns, strict=True), strict=True))
    for name, (value, amiss) in joint.items():
        y = places[(name, None)]
        (diamond,) = ax.plot([value], [y], "D", color=INK, markersize=6, zorder=3, clip_on=False)
        diamond.set_markerfacecolor("white" if amiss else INK)
        side = -1 if value >= 0.85 else 1
        ax.annotate(
            probability(value),
            # What cannot be computed is written where the axis begins.
            (value if np.isfinite(value) else 0.0, y),
            xytext=(7 * side, 0),
            fontweight="bold",
            textcoords="offset points",
            va="center",
            ha="left" if side > 0 else "right",
            fontsize=9,
            bbox=PLATE,
        )
    parts = Counter(k[0] for k in keys)
    for key, value in zip(keys, table["probability"], strict=True):
        if parts[key[0]] == 1:
            continue
        ax.plot([value], [places[key]], "o", color=_LOOK.color, markersize=4.5, zorder=2)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    ax.set_title("probability", fontsize=9.5)
    lines = ["diamond: all hold", "point: this one holds"]
    if any(columns[1]):
        lines.insert(1, "hollow: the prior has a say")
    ax.set_xlabel("\n".join(lines), fontsize=8.5)


def _estimands(ax: Axes, table: pd.DataFrame, keys: list[Any], places: Any) -> None:
    ax.set_xlim(-1.75, 1.75)
    ax.axvline(0, color=SOFT, linewidth=0.9, zorder=1)
    for record, key in zip(table.to_dict("records"), keys, strict=True):
        unit = unit_of(str(record["part"]))
        columns = ("estimate", "lower", "upper", "rope")
        values = unit.factor * np.array([float(record[c]) for c in columns])
        end = _round_end(values)
        x, low, high, rope = values / end
        y = places[key]
        for side, where in ((-1, "right"), (1, "left")):
            text = f"{side * end:+g}".replace("-", "−")
            ax.text(1.08 * side, y, text, ha=where, va="center", fontsize=7.5, color=SOFT)
        ax.add_patch(Rectangle((-rope, y - 0.09), 2 * rope, 0.18, color="#d0d0d0", zorder=0.5))
        ax.hlines([y], [low], [high], color=_LOOK.color, linewidth=1.6, zorder=2)
        ax.plot([x], [y], "o", color=_LOOK.color, markersize=5, zorder=3)
    ax.set_xticks([0], ["0"])
    ax.set_title("estimand", fontsize=9.5)
    ax.set_xlabel("each on its own axis, ends given\ngrey: too small to matter", fontsize=8.5)


def _round_end(values: np.ndarray) -> float:
    """A round number that no value goes beyond."""
    finite = np.abs(values[np.isfinite(values)])
    if not finite.any():
        return 1.0
    widest = float(finite.max())
    power = 10.0 ** np.floor(np.log10(widest))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return float(power * next(step for step in steps if step * power >= widest * (1 - 1e-9)))


def estimand(record: Mapping[Any, Any]) -> str:
    """An estimand and its interval, in its unit: ``+1.02 pp  [0.24, 1.80]``."""
    unit = unit_of(str(record["part"]))
    x, low, high = (unit.factor * float(record[c]) for c in ("estimate", "lower", "upper"))
    digits = digits_for([(high - low) / 4])
    name = f" {unit.name}" if unit.name else ""
    return f"{number(x, digits, sign=True)}{name}  [{number(low, digits)}, {number(high, digits)}]"
