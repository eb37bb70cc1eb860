"""Synthetic surveys: microdata, their codebook and the true parameters behind them.

`worlds` holds what is true, `population` draws who lives where, `choices` lets them
choose round by round, and `writing` checks the arguments and puts files in place. `sampling`
draws informative, clustered samples of a population.
"""

from bayesmig.simulation.sampling import draw_sample
from bayesmig.simulation.writing import SimulatedSurvey, simulate

__all__ = ["SimulatedSurvey", "draw_sample", "simulate"]
