"""Units left out of a posterior one at a time, by Pareto-smoothed importance sampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bayesmig.choice.utility import Coefficients, take_draws, take_rows
from bayesmig.design.design import Design
from bayesmig.inference.stream import log_likelihood_blocks
from bayesmig.model_comparison.integrals import (
    EXACT,
    Densities,
    Factor,
    covariance_roots,
    factors_of,
    to_integrate,
)
from bayesmig.model_comparison.psis import relative_efficiency, smoothed_in_threads, tail_length
from bayesmig.posterior import Posterior
from bayesmig.progress import Progress

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: Numbers in one block of draws × rows.
_BLOCK_SIZE = 8_000_000
#: Passes over rows, times draws, that integrals are given; and draws at least.
_PASSES, _LEAST_DRAWS = 400_000_000, 400


@dataclass(frozen=True, slots=True)
class Estimate:
    """Pointwise estimates of one theory, each ``(unit,)``, and what is known of them.

    Attributes
    ----------
    elpd, p_loo, pareto_k
        Of every unit; the latter two are NaN where units were left out by refitting.
    n_draws, draws
        Number of draws, and effective number.
    effects
        What was done with effects of groups, in words.
    cautions
        What makes the estimates unreliable beside Pareto k, in words.
    inexact
        Nats by which more points of integrals over effects would still move the sum of
        ``elpd``, changes of units added up without their signs.
    """

    elpd: Array
    p_loo: Array
    pareto_k: Array
    n_draws: int
    draws: float
    effects: str
    cautions: tuple[str, ...] = ()
    inexact: float = 0.0

    @property
    def noise(self) -> float:
        """Sum of squares by which other draws of the same posterior move ``elpd``.

        A mean of parameters moves by its variance over the number of draws, and log
        densities by as much relative to what the data know: one per parameter.
        """
        return max(float(np.nansum(self.p_loo)), 0.0) / self.draws


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def leave_out(
    name: str,
    posterior: Posterior,
    units: Codes,
    what: str,
    *,
    integrate: bool,
    progress: Progress,
    at_most: int | None = None,
) -> Estimate:
    """Leave units out.

    Parameters
    ----------
    name, posterior
        A theory.
    units
        Unit of every row, from 0.
    what
        What a unit is, for messages.
    integrate
        Whether effects of groups are integrated out, see
        `bayesmig.model_comparison.integrals`; else they are as their draws have them.
    progress
        Told of every block of units.
    at_most
        Draws that are used, evenly spaced; left out, as many as integrals can be given.

    Raises
    ------
    QuestionError
        Where effects cannot be integrated out, or draws are too few.
    """
    factors = factors_of(posterior.design)
    chosen = to_integrate(factors, units, what) if integrate else ()
    n_draws = int(np.prod(posterior.n_draws))
    n_units = int(units.max()) + 1
    cautions: tuple[str, ...] = ()
    inexact = 0.0
    blocks: Iterator[tuple[Codes | slice, Array]]
    if chosen:
        densities = _integrated(posterior, chosen, units)
        some = max(_LEAST_DRAWS, _PASSES // (len(units) * densities.passes))
        draws = _evenly(n_draws, min(some, at_most or some))
        blocks = densities.blocks(draws)
        inexact = densities.error
        cautions = inexact_text(name, inexact)
    else:
        draws = _evenly(n_draws, at_most or n_draws)
        coefficients = take_draws(posterior.coefficients(), draws)
        blocks = _conditional(posterior.design, coefficients, units)
    n_draws = len(draws)
    efficiency = relative_efficiency(posterior, n_draws)
    tail, numbers, done = tail_length(n_draws, efficiency), np.empty((3, n_units)), 0
    for which, block in blocks:
        numbers[:, which] = smoothed_in_threads(block, tail)
        done += block.shape[1]
        progress(f"leave-one-out, {name}", done, n_units)
    effects = effects_text(tuple(factors), tuple(f.name for f in chosen))
    elpd, p_loo, pareto_k = numbers
    worth = n_draws * efficiency
    return Estimate(elpd, p_loo, pareto_k, n_draws, worth, effects, cautions, inexact)


def _integrated(posterior: Posterior, factors: tuple[Factor, ...], units: Codes) -> Densities:
    design = posterior.design
    named = {
        str(k): v.transpose("chain", "draw", ...).to_numpy().reshape(-1, *v.shape[2:])
        for k, v in posterior.draws.data_vars.items()
        if str(k).startswith(("sigma_", "corr_"))
    }
    return Densities(
        design.columns,
        design.choice,
        posterior.coefficients(),
        factors,
        {f.name: covariance_roots(named, f) for f in factors},
        units,
    )


def _evenly(n_draws: int, some: int) -> Codes:
    """Some draws of all, evenly spaced."""
    return np.unique(np.linspace(0, n_draws - 1, min(n_draws, some)).astype(np.int64))


def inexact_text(name: str, error: float) -> tuple[str, ...]:
    """That integrals were not exact, where they were not."""
    if error <= EXACT:
        return ()
    return (
        f"Integrals over effects of {name!r} are not exact: more points would still move the "
        f"elpd by {error:.1f}.",
    )


def effects_text(all_of: tuple[str, ...], integrated: tuple[str, ...]) -> str:
    """What was done with effects of groups."""
    rest = [by for by in all_of if by not in integrated]
    parts = [f"effects of {' and '.join(integrated)} integrated out"] if integrated else []
    parts += [f"effects of {' and '.join(rest)} as their draws have them"] if rest else []
    return ", ".join(parts) or "no effects of groups"


def _conditional(
    design: Design, coefficients: Coefficients, units: Codes
) -> Iterator[tuple[Codes | slice, Array]]:
    """Log-likelihood of whole units in blocks: which units, and ``(draw, unit)``."""
    columns, choice = design.columns, design.choice
    if len(units) == units.max() + 1 and (np.diff(units) == 1).all():
        yield from log_likelihood_blocks(columns, coefficients, choice)
        return
    order = np.argsort(units, kind="stable")
    starts = np.searchsorted(units[order], np.arange(units.max() + 2))
    most = max(1, _BLOCK_SIZE // len(coefficients.persons))
    for first, last in _ranges(starts, most):
        rows = order[starts[first] : starts[last]]
        sums = np.zeros((len(coefficients.persons), last - first))
        some = take_rows(columns, rows)
        inside = units[rows] - first
        for part, block in log_likelihood_blocks(some, coefficients, choice[rows]):
            edges = np.flatnonzero(np.diff(inside[part], prepend=-1))
            sums[:, inside[part][edges]] += np.add.reduceat(block, edges, axis=1)
        yield slice(first, last), sums


def _ranges(starts: Codes, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive units that hold at most so many rows, one unit at least."""
    first, n = 0, len(starts) - 1
    while first < n:
        last = int(np.searchsorted(starts, starts[first] + most, side="right")) - 1
        last = min(max(last, first + 1), n)
        yield first, last
        first = last
