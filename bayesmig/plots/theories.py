"""Whether theories were computed well, and which one predicts better."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bayesmig.plots.forest import Rows, frame_rows, rows_of
from bayesmig.plots.numbers import MISSING, digits_for, number
from bayesmig.plots.style import (
    BAD,
    PLATE,
    SOFT,
    WIDTH,
    Look,
    drawing,
    few_ticks,
    limits,
    styled,
)

MOST_BINS = 40
#: An R-hat that needs no four digits; a span of ESS that is ticked in decades.
LARGE, WIDE = 1.1, 60
_BLUE = Look("#0072B2", "o")


class _Measure(NamedTuple):
    """A diagnostic: its columns, its threshold, and which side of it is right."""

    title: str
    worst: str
    each: str
    threshold: float
    small_is_good: bool
    digits: int


_MEASURES = (
    _Measure("R-hat", "r_hat_max", "r_hat", 1.01, True, 4),
    _Measure("bulk ESS", "ess_bulk_min", "ess_bulk", 400, False, 0),
    _Measure("tail ESS", "ess_tail_min", "ess_tail", 400, False, 0),
)


@styled
def convergence_plot(
    convergence: pd.DataFrame,
    parameters: pd.DataFrame | None = None,
    *,
    title: str = "Convergence: every parameter, and the worst, against the thresholds",
) -> Figure:
    """R-hat and effective sample sizes of every parameter, by theory.

    Parameters
    ----------
    convergence
        ``theory``, ``r_hat_max``, ``ess_bulk_min``, ``ess_tail_min``, ``weight_ess`` where
        draws are weighted.
    parameters
        ``theory``, ``r_hat``, ``ess_bulk``, ``ess_tail``, one row per parameter; drawn
        as a distribution where given.
    title
        What is shown.

    Returns
    -------
    Figure
        The worst parameter bears its number, in red where the threshold is broken.
    """
    theories = list(convergence["theory"].astype(str))
    rows = rows_of([("", theory) for theory in theories])
    rows = Rows(
        rows.keys, rows.texts, tuple(1.9 * y + 0.2 for y in rows.at), 1.9 * rows.height + 0.1
    )
    figure = drawing(WIDTH, 1.25 + rows.height, title)
    axes = figure.subplots(1, len(_MEASURES), squeeze=False)[0]
    for i, (ax, measure) in enumerate(zip(axes, _MEASURES, strict=True)):
        frame_rows(ax, rows, labels=i == 0)
        _measure_panel(ax, measure, convergence, parameters, rows)
    return figure


def _measure_panel(
    ax: Axes,
    measure: _Measure,
    convergence: pd.DataFrame,
    parameters: pd.DataFrame | None,
    rows: Rows,
) -> None:
    worst = convergence[measure.worst].to_numpy(dtype=float)
    each = {theory: _values(parameters, theory, measure.each) for theory in rows.texts}
    if not measure.small_is_good:
        ax.set_xscale("log")
    chains = _have_chains(convergence)
    for theory, value, y, several in zip(rows.texts, worst, rows.at, chains, strict=True):
        _distribution(
            ax, _values(parameters, theory, measure.each), y, log=ax.get_xscale() == "log"
        )
        if measure.small_is_good and not several:
            _say(ax, "does not apply", y, SOFT)
        else:
            _worst(ax, measure, value, y)
    ax.axvline(measure.threshold, color=BAD, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    _measure_limits(ax, measure, [*worst, *(v for values in each.values() for v in values)])
    rule = "≤" if measure.small_is_good else "≥"
    ax.set_title(measure.title)
    ax.set_xlabel(f"should be {rule} {measure.threshold:g} (dashed)")


def _values(parameters: pd.DataFrame | None, theory: str, column: str) -> np.ndarray:
    if parameters is None:
        return np.empty(0)
    values = parameters.loc[parameters["theory"].astype(str) == theory, column]
    found = values.to_numpy(dtype=float)
    return found[np.isfinite(found)]


def _distribution(ax: Axes, values: np.ndarray, y: float, *, log: bool) -> None:
    """A histogram that stands on its line."""
    known = np.log10(values) if log else values
    if not len(known) or np.ptp(known) < 1e-9:
        return
    counts, edges = np.histogram(known, bins=int(np.clip(len(values) ** 0.5, 5, MOST_BINS)))
    heights = 0.32 * counts / counts.max()
    edges = 10.0**edges if log else edges
    ax.stairs(y - heights, edges, baseline=y, fill=True, color="#9ecae1", zorder=1.5)


def _have_chains(convergence: pd.DataFrame) -> list[bool]:
    """Whether draws came from chains; R-hat does not apply to weighted independent ones."""
    if "weight_ess" not in convergence:
        return [True] * len(convergence)
    return list(convergence["weight_ess"].isna())


def _say(ax: Axes, text: str, y: float, color: str) -> None:
    transform = ax.get_yaxis_transform()
    ax.text(0.5, y, text, transform=transform, bbox=PLATE, color=color, ha="center", va="center")


def _worst(ax: Axes, measure: _Measure, value: float, y: float) -> None:
    if not np.isfinite(value):
        _say(ax, MISSING, y, BAD)
        return
    good = value <= measure.threshold if measure.small_is_good else value >= measure.threshold
    color = "#0072B2" if good else BAD
    ax.plot([value], [y], "o" if good else "X", color=color, markersize=6, zorder=3)
    side = 1 if measure.small_is_good else -1
    ax.annotate(
        number(value, measure.digits if abs(value) < LARGE or measure.digits == 0 else 2),
        (value, y),
        xytext=(7 * side, 0),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        va="center",
        bbox=PLATE,
        color=color,
        fontsize=8.5,
        fontweight="normal" if good else "bold",
    )


def _measure_limits(ax: Axes, measure: _Measure, values: list[float]) -> None:
    finite = np.array([v for v in [*values, measure.threshold] if np.isfinite(v)])
    if measure.small_is_good:
        low, high = min(1.0, finite.min()), finite.max()
        ax.set_xlim(low - 0.04 * (high - low), high + 0.42 * (high - low))
        few_ticks(ax, 3)
    else:
        span = finite.max() / finite.min()
        low, high = finite.min() / (1.4 * span**0.3), finite.max() * span**0.08
        ax.set_xlim(low, high)
        ax.xaxis.set_minor_locator(NullLocator())
        steps = (1, 10, 100, 1000, 10_000) if high / low > WIDE else (100, 400, 1000, 4000, 16_000)
        room = 0.2 * np.log(high / low)
        ticks = [t for t in steps if low <= t <= high]
        ticks = [t for t in ticks if abs(np.log(t / measure.threshold)) > room]
        ticks = sorted([*ticks, round(measure.threshold)])
        ax.set_xticks(ticks, [f"{t:,}" for t in ticks])


@styled
def evidence_plot(table: pd.DataFrame, *, title: str) -> Figure:
    """Evidence for a value of a parameter, by the width of its prior.

    Parameters
    ----------
    table
        ``prior_scale``, ``log_ratio``, ``error`` of `bayesmig.EvidenceRatio`; rows without a
        ratio are not drawn.
    title
        What is shown.
    """
    known = table.dropna(subset=["log_ratio"]).sort_values("prior_scale")
    figure = drawing(WIDTH, 2.8, title)
    ax = figure.subplots()
    ax.set_xscale("log")
    ax.axhline(0.0, color=SOFT, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    ax.errorbar(
        known["prior_scale"],
        known["log_ratio"],
        1.96 * known["error"],
        fmt=_BLUE.marker,
        color=_BLUE.color,
        capsize=3,
    )
    ax.set_xticks(known["prior_scale"], [f"{s:g}" for s in known["prior_scale"]])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("width of the prior, times that of the theory")
    ax.set_ylabel("log ratio, nats\n(above the dashes: for the value;\nbars: Monte Carlo, 95 %)")
    return figure


@styled
def comparison_plot(
    table: pd.DataFrame,
    *,
    title: str = "Out-of-sample prediction: each theory against the best",
) -> Figure:
    """Differences of elpd with one and two standard errors.

    Parameters
    ----------
    table
        ``theory``, ``elpd``, ``diff_se``, ``weight``, ``pareto_k_high``.
    title
        What is shown.

    Returns
    -------
    Figure
        The best theory stands on top, at 0; the others lie below 0 whichever sign
        the table gives its differences.
    """
    table = table.sort_values("elpd", ascending=False, kind="stable")
    rows = rows_of([("", str(theory)) for theory in table["theory"]])
    rows = Rows(rows.keys, rows.texts, tuple(1.4 * y for y in rows.at), 1.4 * rows.height)
    figure = drawing(WIDTH, 1.35 + rows.height, title)
    ax = figure.subplots()
    frame_rows(ax, rows, labels=True)
    ax.axvline(0, color=SOFT, linewidth=0.9, zorder=1)
    difference = (table["elpd"] - table["elpd"].max()).to_numpy(dtype=float)
    error = table["diff_se"].abs().to_numpy(dtype=float)
    for factor, width in ((2, 1.4), (1, 4.0)):
        ax.hlines(
            rows.at,
            difference - factor * error,
            difference + factor * error,
            color=_BLUE.color,
            linewidth=width,
            zorder=2,
        )
    ax.plot(
        difference,
        rows.at,
        _BLUE.marker,
        color=_BLUE.color,
        markerfacecolor="white",
        markeredgewidth=1.5,
        zorder=3,
    )
    _comparison_words(ax, table, difference, error, rows)
    found = limits([0.0, *difference, *(difference - 2 * error), *(difference + 2 * error)])
    if found:
        ax.set_xlim(found)
    few_ticks(ax, 7)
    ax.set_xlabel(
        "elpd minus that of the best theory (nats; further left predicts worse)\n"
        "thick: ±1 standard error of the difference, thin: ±2",
        loc="left",
    )
    return figure


def _comparison_words(
    ax: Axes, table: pd.DataFrame, difference: np.ndarray, error: np.ndarray, rows: Rows
) -> None:
    """The numbers themselves, right of the plot."""
    digits = min(digits_for(error), 1)
    best = int(np.argmax(difference))
    for i, (y, weight) in enumerate(zip(rows.at, table["weight"], strict=True)):
        text = (
            "best" if i == best else f"{number(difference[i], digits)} ± {number(error[i], digits)}"
        )
        ax.text(
            1.02,
            y,
            f"{text}\nstacking weight {number(float(weight))}",
            va="center",
            transform=ax.get_yaxis_transform(),
            fontsize=8.5,
            linespacing=1.25,
        )
