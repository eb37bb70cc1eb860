"""Figures of tidy tables: every function takes a DataFrame and returns a Figure.

`plot` draws whatever the verbs of bayesmig return.
"""

from matplotlib.figure import Figure

from bayesmig.plots.answers import plot
from bayesmig.plots.checks import (
    battery_plot,
    crossed_plot,
    ecdf_plot,
    failing_pairs,
    influence_plot,
    rehearsal_plot,
    reliability_plot,
    sensitivity_plot,
)
from bayesmig.plots.effects import effects_plot, estimates_plot, network_plot
from bayesmig.plots.hypotheses import estimand, hypotheses_plot, unit_of
from bayesmig.plots.scenarios import diversion_plot, scenario_plot
from bayesmig.plots.shares import calibration_plot, shares_plot
from bayesmig.plots.style import PERCENT, POINTS, Scale, scale_of, svg
from bayesmig.plots.theories import comparison_plot, convergence_plot, evidence_plot

__all__ = [
    "PERCENT",
    "POINTS",
    "Figure",
    "Scale",
    "battery_plot",
    "calibration_plot",
    "comparison_plot",
    "convergence_plot",
    "crossed_plot",
    "diversion_plot",
    "ecdf_plot",
    "effects_plot",
    "estimand",
    "estimates_plot",
    "evidence_plot",
    "failing_pairs",
    "hypotheses_plot",
    "influence_plot",
    "network_plot",
    "plot",
    "rehearsal_plot",
    "reliability_plot",
    "scale_of",
    "scenario_plot",
    "sensitivity_plot",
    "shares_plot",
    "svg",
    "unit_of",
]
