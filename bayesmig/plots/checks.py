"""Figures of checks: what is observed among replicated surveys, and what could be found out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from bayesmig.plots.forest import forest, frame_rows, rows_of
from bayesmig.plots.numbers import number
from bayesmig.plots.style import (
    BAD,
    BAND,
    INK,
    PERCENT,
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

#: Orange over white to blue: told apart by all kinds of colour vision, and dark ends in print.
_DIVERGING = LinearSegmentedColormap.from_list("house", ["#B35806", "#ffffff", "#2D6FA8"])
STANDARD = Scale(1, "SD of replicates")
REPLICATES = "95 % of replicates"
_ALARM = 0.05
#: `bayesmig.sensitivity.SENSITIVE`, which would load all that makes draws; the least sensitivity
#: that is told apart, and parameters that are named.
SENSITIVE, _LEAST_SENSITIVE, _NAMED = 0.05, 1e-3, 5
_TICKS = [m * 10.0**e for e in range(-3, 3) for m in (1, 2, 5)]
#: Letters of labels side by side below all panels of a heat map.
_ACROSS = 110
#: Panels of one figure of ranks.
MOST_CURVES = 12


@styled
def battery_plot(
    table: pd.DataFrame,
    *,
    group: str | None,
    label: str,
    alternative: str | None = "alternative",
    before: str = "",
    standardised: bool = False,
    alternatives: Sequence[str] | None = None,
    title: str,
) -> Figure:
    """Observed values (strokes) among those of replicated surveys (points with intervals).

    Parameters
    ----------
    table
        A check's table: ``observed``, ``predicted``, ``lower``, ``upper``, ``p_adjusted``.
        A value that fails is marked in its label.
    group, label, alternative
        Columns that make headings, lines and panels; without the last, one panel.
    before
        Written before the name of every line.
    standardised
        Whether values are drawn from the middle of their replicates, in standard deviations
        of them: where lines have units of their own. Otherwise they are shares in [0, 1].
    alternatives
        All alternatives in the order of the survey.
    title
        What is shown.
    """
    spread = ((table["upper"] - table["lower"]) / 3.92).clip(lower=1e-12)
    scaled = {
        c: (table[c] - table["predicted"]) / spread if standardised else table[c]
        for c in ("predicted", "lower", "upper", "observed")
    }
    failed = table["p_adjusted"] <= _ALARM
    names = before + table[label].astype(str)
    headings = "" if group is None else table[group].astype(str)
    keys = pd.Series(headings, index=table.index) + "\0" + names
    worst = failed.groupby(keys).transform("any")
    lines = pd.DataFrame(
        {
            "group": headings,
            "label": names.where(~worst, names + "  ✗"),
            "alternative": "all" if alternative is None else table[alternative].astype(str),
            "estimate": scaled["predicted"],
            "lower": scaled["lower"],
            "upper": scaled["upper"],
            "other": scaled["observed"],
        }
    )
    figure = forest(
        lines,
        title=title,
        scale=STANDARD if standardised else PERCENT,
        alternatives=["all"] if alternative is None else alternatives,
        interval=REPLICATES,
        point="replicated",
        other="observed (✗: beyond chance)",
    )
    if alternative is None:
        figure.axes[-1].set_title("")
    return figure


@styled
def crossed_plot(
    table: pd.DataFrame,
    *,
    alternatives: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Observed minus predicted shares in the cells of two columns, a panel per alternative.

    Parameters
    ----------
    table
        Rows of `bayesmig.checks.crossed.crossed_shares` of one pair of columns: ``by``,
        ``level`` (both joined by ``×``), ``alternative``, ``observed``, ``predicted``,
        ``lower``, ``upper``.
    alternatives
        All alternatives in the order of the survey.
    title
        What is shown; left out: which columns.
    """
    first, second = str(table["by"].iloc[0]).split(" × ")
    split = table["level"].astype(str).str.split(" × ", expand=True)
    cells = table.assign(row=split[0], column=split[1], gap=table["observed"] - table["predicted"])
    names = [str(a) for a in (alternatives or table["alternative"].unique())]
    names = [a for a in names if (table["alternative"].astype(str) == a).any()]
    down, across = (list(dict.fromkeys(cells[c])) for c in ("row", "column"))
    known, largest = looks(names), max(100 * float(cells["gap"].abs().max()), 1e-9)
    height = 1.95 + max(0.34 * len(down), 0.9)
    figure = drawing(WIDTH, height, title or f"Shares by {first} and {second}: observed − expected")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        part = cells[cells["alternative"].astype(str) == name]
        grid = part.pivot_table("gap", "row", "column", sort=False).reindex(down)[across]
        outside = (part["observed"] < part["lower"]) | (part["observed"] > part["upper"])
        far = part.assign(far=1.0 * outside).pivot_table("far", "row", "column", sort=False)
        _gaps_panel(ax, 100 * grid, far.reindex(down)[across], largest)
        ax.set_title(name, color=known[name].color)
        ax.set_xlabel(second)
        # Words stand upright where they would run into each other side by side.
        texts = [wrapped(a, 9) for a in across]
        longest = max(len(line) for text in texts for line in text.split("\n"))
        upright = longest * len(across) * len(names) > _ACROSS
        texts = [wrapped(a, 18) for a in across] if upright else texts
        ax.set_xticks(range(len(across)), texts, fontsize=7.5, rotation=90 if upright else 0)
        ax.set_yticks(range(len(down)), [wrapped(d, 16) for d in down] if not i else [])
        if not i:
            ax.set_ylabel(first)
    return figure


def _gaps_panel(ax: Axes, gaps: pd.DataFrame, far: pd.DataFrame, largest: float) -> None:
    norm = TwoSlopeNorm(0.0, -largest, largest)
    ax.grid(visible=False)
    # Paths, not pixels, which a page holds as they are.
    edges = [np.arange(n + 1) - 0.5 for n in reversed(gaps.shape)]
    values = np.ma.masked_invalid(gaps.to_numpy(dtype=float))
    ax.pcolormesh(*edges, values, cmap=_DIVERGING, norm=norm, edgecolors="white", linewidth=1.0)
    ax.invert_yaxis()
    outside = far.to_numpy(dtype=float) > 0
    for (y, x), gap in np.ndenumerate(gaps.to_numpy(dtype=float)):
        if np.isfinite(gap):
            if outside[y, x]:
                # A frame is seen on every colour.
                frame = Rectangle((x - 0.44, y - 0.44), 0.88, 0.88, fill=False)
                frame.set(edgecolor=INK, linewidth=1.4)
                ax.add_patch(frame)
            ax.text(
                x,
                y,
                number(gap, 0 if largest >= 10 else 1, sign=True),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if abs(gap) > 0.7 * largest else INK,
            )
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0)


@styled
def reliability_plot(
    table: pd.DataFrame,
    *,
    alternatives: Sequence[str] | None = None,
    title: str = "Reliability: what was chosen, over what all other rows predict",
) -> Figure:
    """Recalibrated shares over leave-one-out probabilities, with what chance allows.

    Parameters
    ----------
    table
        ``alternative``, ``predicted``, ``observed`` (an increasing curve), ``lower``,
        ``upper``, ``rows``, ``p_adjusted``.
    alternatives, title
        As for `battery_plot`.
    """
    names = [str(a) for a in (alternatives or table["alternative"].unique())]
    names = [a for a in names if (table["alternative"].astype(str) == a).any()]
    known = looks(names)
    figure = drawing(WIDTH, 3.35, title)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        part = table[table["alternative"].astype(str) == name].sort_values("predicted")
        failed = bool((part["p_adjusted"] <= _ALARM).any())
        _curve_panel(ax, part, known[name])
        ax.set_title(f"{name}  ✗" if failed else name, color=known[name].color)
        ax.set_xlabel("predicted, per cent")
        if not i:
            ax.set_ylabel("chosen, per cent\n(band: 95 % of surveys\nwith these probabilities)")
    return figure


def _curve_panel(ax: Axes, part: pd.DataFrame, look: Look) -> None:
    x, y, low, high = (
        100 * part[c].to_numpy(dtype=float) for c in ("predicted", "observed", "lower", "upper")
    )
    ax.grid(visible=True, axis="both")
    ax.fill_between(x, low, high, color=BAND, step="mid", linewidth=0, zorder=1)
    ax.plot(x, y, color=look.color, linewidth=1.8, drawstyle="steps-mid", zorder=3)
    found = limits([*x, *y])
    if found:
        ends = (max(found[0], -2.0), found[1])
        ax.plot(ends, ends, color=SOFT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=2)
        ax.set_xlim(ends)
        ax.set_ylim(ends)
    # Where the rows are: a few rows at the end make a wild end of the curve.
    weights = part["rows"].to_numpy(dtype=float)
    middle = np.cumsum(weights) / weights.sum()
    floor = ax.get_xaxis_transform()
    ax.plot(
        x,
        np.full_like(x, 0.015),
        "|",
        color=SOFT,
        markersize=5,
        markeredgewidth=0.5,
        transform=floor,
    )
    for share in (0.1, 0.9):
        at = x[int(np.searchsorted(middle, share))]
        ax.axvline(at, color=SOFT, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
    few_ticks(ax, both=True)
    ax.tick_params(axis="y", labelsize=8.5, labelcolor=SOFT)


@styled
def influence_plot(
    table: pd.DataFrame,
    *,
    title: str = "Single origins: how much the draws hang on them",
) -> Figure:
    """Pareto k of leaving out each origin, over its number of rows.

    Parameters
    ----------
    table
        ``origin``, ``rows``, ``pareto_k``, ``bound``.
    title
        What is shown.
    """
    figure = drawing(WIDTH, 3.0, title)
    ax = figure.subplots()
    k = table["pareto_k"].to_numpy(dtype=float).clip(-0.5, 3.0)
    rows, bound = table["rows"].to_numpy(dtype=float), float(table["bound"].iloc[0])
    far = k > bound
    _scattered(ax, rows, k, far)
    ax.axhline(bound, color=BAD, linewidth=1.0, linestyle=(0, (4, 2)))
    order = np.argsort(-k, kind="stable")[:3]
    for i in order:
        ax.annotate(
            wrapped(table["origin"].iloc[i], 20, 1),
            (rows[i], k[i]),
            xytext=(6, 2),
            textcoords="offset points",
            fontsize=8,
            color=SOFT,
        )
    ax.set_xlabel("rows of the origin")
    ax.set_ylabel(f"Pareto k (dashes: {bound:.2f})")
    few_ticks(ax, both=True)
    return figure


def _scattered(ax: Axes, across: Any, up: Any, bad: Any) -> None:
    """Points, those that are bad as triangles in another colour."""
    ax.grid(visible=True, axis="both")
    for chosen, color, marker in ((~bad, "#0072B2", "o"), (bad, BAD, "^")):
        ax.plot(across[chosen], up[chosen], marker, color=color, markersize=5, alpha=0.8)


@styled
def sensitivity_plot(
    table: pd.DataFrame,
    *,
    title: str = "Who says what the parameters are: the prior, or the data?",
) -> Figure:
    """How far parameters move with the prior, and with the likelihood.

    Parameters
    ----------
    table
        ``parameter``, ``prior_sensitivity``, ``likelihood_sensitivity``; rows where one is not
        known are not drawn.
    title
        What is shown.

    Returns
    -------
    Figure
        Logarithmic. Parameters that the prior moves, right of the dashes, are orange triangles,
        and the furthest have names; those below the other dashes are not moved by the data.
    """
    both = table[["prior_sensitivity", "likelihood_sensitivity"]].astype(float)
    known = table[np.isfinite(both).all(axis=1)]
    figure = drawing(WIDTH, 3.4, title)
    ax = figure.subplots()
    across, up = (
        known[c].to_numpy(dtype=float).clip(_LEAST_SENSITIVE)
        for c in ("prior_sensitivity", "likelihood_sensitivity")
    )
    moved = across >= SENSITIVE
    _logarithmic(ax.xaxis, across)
    _logarithmic(ax.yaxis, up)
    _scattered(ax, across, up, moved)
    for line in (ax.axvline, ax.axhline):
        line(SENSITIVE, color=BAD, linewidth=1.0, linestyle=(0, (4, 2)))
    for i in np.flatnonzero(moved)[np.argsort(-across[moved], kind="stable")][:_NAMED]:
        ax.annotate(
            wrapped(known["parameter"].iloc[i], 34, 1),
            (across[i], up[i]),
            xytext=(-6, 4),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=SOFT,
        )
    ax.set_xlabel(f"sensitivity to the prior (dashes: {SENSITIVE:.2f})")
    ax.set_ylabel("sensitivity to the likelihood")
    return figure


def _logarithmic(axis: Any, values: Any) -> None:
    """An axis in plain numbers, with room around values and the threshold."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    known = [SENSITIVE, *values]
    lowest, highest = 0.7 * min(known), 1.4 * max(known)
    ticks = [t for t in _TICKS if lowest <= t <= highest]
    axis.axes.set(**{f"{axis.axis_name}lim": (lowest, highest)})
    axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_minor_locator(NullLocator())


@styled
def rehearsal_plot(
    worlds: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    title: str = "Rehearsal: what simulated surveys with these rows would say",
) -> Figure:
    """Posterior probabilities of hypotheses in simulated surveys, by what is true in them.

    Parameters
    ----------
    worlds
        ``hypothesis``, ``holds``, ``probability``, one row per simulated survey: those that
        the summary counts.
    summary
        ``hypothesis``, ``truth``, ``worlds``, ``rightly``, ``wrongly``, and the ends of
        their intervals.
    title
        What is shown.
    """
    names = list(dict.fromkeys(summary["hypothesis"].astype(str)))
    keys = [(name.replace("_", " "), truth) for name in names for truth in ("holds", "does not")]
    rows = rows_of(keys)
    figure = drawing(WIDTH, 1.5 + rows.height, title)
    ax, side = figure.subplots(1, 2, width_ratios=[3, 1.7])
    frame_rows(ax, rows, labels=True)
    for name in names:
        own = worlds[worlds["hypothesis"].astype(str) == name]
        told = summary[summary["hypothesis"].astype(str) == name].set_index("truth")
        for truth, holds, look in (
            ("holds", True, Look("#0072B2", "o")),
            ("does not", False, Look("#D55E00", "^")),
        ):
            y = rows.places[name.replace("_", " "), truth]
            p = np.sort(own.loc[own["holds"].astype(bool) == holds, "probability"].to_numpy(float))
            # Spread over the height of the line, so that equal ones are seen.
            shift = 0.075 * np.cos(np.pi * np.arange(len(p)))
            ax.plot(p, y + shift, look.marker, color=look.color, markersize=3.6, alpha=0.55)
            row = told.loc["holds" if holds else "does not hold"]
            if not row["worlds"]:
                side.text(0, y, "no such truth was drawn", fontsize=8, va="center", color=SOFT)
                continue
            for x, what in ((0.0, "rightly"), (0.47, "wrongly")):
                side.text(x, y, _of_worlds(row, what), fontsize=8, va="center")
            side.text(1.0, y, f"{row['worlds']:,}", fontsize=8, va="center", ha="right")
    for at in (0.05, 0.95):
        ax.axvline(at, color=SOFT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    ax.set_xlim(-0.03, 1.03)
    few_ticks(ax)
    ax.set_xlabel("posterior probability of the hypothesis (dashes: contradicted, supported)")
    plain(side)
    side.set_xlim(0, 1)
    side.set_ylim(rows.height, 0)
    for x, where, text in (
        (0.0, "left", "rightly"),
        (0.47, "left", "wrongly"),
        (1.0, "right", "of"),
    ):
        side.text(x, 0, text, fontsize=8.5, color=SOFT, ha=where, va="bottom", fontweight="bold")
    return figure


def _of_worlds(row: Any, what: str) -> str:
    share, low, high = (100 * row[c] for c in (what, f"{what}_lower", f"{what}_upper"))
    return f"{share:.0f} % [{low:.0f}, {high:.0f}]"


@styled
def ecdf_plot(
    table: pd.DataFrame,
    *,
    title: str = "Simulation-based calibration: ranks of the truth among the draws",
) -> Figure:
    """Empirical distributions of ranks minus the uniform one, with simultaneous bands.

    Parameters
    ----------
    table
        ``parameter``, ``rank``, ``difference``, ``lower``, ``upper``; the twelve parameters
        that leave their band most, or come closest to it, are drawn.
    title
        What is shown.
    """
    half = (table["upper"] - table["lower"]).clip(lower=1e-12) / 2
    middle = (table["upper"] + table["lower"]) / 2
    far = ((table["difference"] - middle).abs() / half).groupby(table["parameter"]).max()
    names = list(far.sort_values(ascending=False, kind="stable").index[:MOST_CURVES])
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = drawing(WIDTH, 0.8 + 1.55 * down, title)
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for ax, name in zip(axes, names, strict=False):
        part = table[table["parameter"] == name]
        failed = (part["difference"] > part["upper"]) | (part["difference"] < part["lower"])
        color = BAD if failed.any() else "#0072B2"
        ax.fill_between(part["rank"], part["lower"], part["upper"], color=BAND, linewidth=0)
        ax.axhline(0, color=SOFT, linewidth=0.8)
        ax.plot(part["rank"], part["difference"], color=color, linewidth=1.5)
        ax.set_title(
            wrapped(name, 22, 2) + ("  ✗" if failed.any() else ""), fontsize=8, color=color
        )
        few_ticks(ax, 3, both=True)
        ax.tick_params(axis="y", labelsize=7.5, labelcolor=SOFT)
    for ax in axes[len(names) :]:
        plain(ax)
    figure.supxlabel("rank of the truth, from 0 to 1", fontsize=9, color=SOFT)
    figure.supylabel("distribution − uniform", fontsize=9, color=SOFT)
    return figure


def failing_pairs(table: pd.DataFrame, most: int = 2) -> list[str]:
    """Pairs of columns whose crossed shares fail, the worst first; else the one nearest to it."""
    best = table.groupby("by", sort=False)["p_adjusted"].min().sort_values(kind="stable")
    failed = list(best.index[best <= _ALARM])
    return [str(by) for by in (failed or list(best.index[:1]))[:most]]
