"""Synthetic surveys: microdata, their codebook and the true parameters behind them.

`worlds` holds what is true, `population` draws who lives where, `choices` lets them
choose round by round, and `writing` checks the arguments and puts files in place.
"""

from bayesmig.simulation.writing import SimulatedSurvey, simulate

__all__ = ["SimulatedSurvey", "simulate"]
