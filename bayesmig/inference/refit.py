"""Fit a theory again to some of the rows that it was fitted to, with few draws.

Encodings, groups and priors stay those of all rows (priors of constants are centred at
shares of all of them), so that parameters mean the same. Weighted draws keep their weights:
few are enough for means of densities. Where they will not do, chains are run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bayesmig.choice.utility import Coefficients, take_rows
from bayesmig.design.design import Design
from bayesmig.inference import approximate, routes
from bayesmig.inference.density import Mode, worth_integrating
from bayesmig.inference.refine import refined
from bayesmig.inference.sample import Plan, generator
from bayesmig.posterior import MAX_PARETO_K, Posterior
from bayesmig.progress import Progress, silent

Array = NDArray[np.float64]
#: Weighted draws, and what they must be worth in all.
_DRAWS, _LEAST = 400, 100
#: Share of all weight that the lightest draws have, a few of which stand for all of them.
_LIGHT, _FEW, _LIGHT_STREAM = 0.002, 8, 2**21
#: Chains where they are run, and what will do of them. Their draws, and as many times more where
#: that is missed by so little that more may help; as many are kept.
_CHAINS, _MAX_R_HAT, _CHAIN_DRAWS, _TIMES, _HOPELESS = 4, 1.05, 250, 4, 1.3


@dataclass(frozen=True, eq=False)
class Refit:
    """Draws of the parameters.

    Attributes
    ----------
    coefficients
        As of a posterior, one leading dimension.
    named
        All parameters by name, ``(draw, ...)``.
    log_weights
        Normalised, ``(draw,)``.
    problems
        What keeps the draws from being trusted, in words.
    """

    coefficients: Coefficients
    named: Mapping[str, Array]
    log_weights: Array
    problems: tuple[str, ...] = ()

    @property
    def worth(self) -> float:
        """Kish's effective number of draws."""
        return float(1 / np.square(np.exp(self.log_weights)).sum())


def some_rows(design: Design, rows: NDArray[np.int64]) -> Design:
    """A design on some of its rows; encodings, groups and priors are those of all."""
    return replace(
        design,
        frame=design.frame.iloc[rows].reset_index(drop=True),
        columns=take_rows(design.columns, rows),
        choice=design.choice[rows],
        weights=None if design.weights is None else design.weights[rows],
    )


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def refit(
    posterior: Posterior,
    rows: NDArray[np.int64],
    *,
    seed: int,
    start: Mode | None = None,
    progress: Progress = silent,
) -> Refit:
    """Fit the theory of a posterior to some of its rows.

    Parameters
    ----------
    posterior
        Draws on all rows.
    rows
        Positions of those that are kept.
    seed
        Of everything random.
    start
        `mode_of` the posterior, from which the mode without some rows is soon found.
    progress
        Told of chains where they are run.

    Raises
    ------
    InferenceError
        As `bayesmig.fit`.
    """
    design = some_rows(posterior.design, rows)
    found = _weighted(design, seed, start)
    return _chains(design, seed, progress, start) if found is None else found


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def mode_of(posterior: Posterior) -> Mode | None:
    """Where refits start: the mode of the posterior's own density, where it has coordinates."""
    plan = _plan(posterior.design, 0)
    return routes.density_of(posterior.design, plan).mode if plan.route == "map" else None


def _plan(design: Design, seed: int) -> Plan:
    return routes.plan_fit(
        design,
        seed,
        method="auto",
        precision="auto",
        draws=_DRAWS,
        tune=None,
        target_accept=None,
    )


def _weighted(design: Design, seed: int, start: Mode | None) -> Refit | None:
    """Weighted draws, where they will do."""
    plan = _plan(design, seed)
    if plan.route != "map":
        return None
    density = routes.density_of(design, plan, start)
    if worth_integrating(density) or not approximate.supports(density):
        return None
    try:
        found = approximate.weighted_draws(
            refined(density),
            seed=seed,
            draws=_DRAWS,
            weigh=True,
            progress=silent,
            least_share=_LEAST / _DRAWS,
        )
    except np.linalg.LinAlgError:
        return None
    if not (found.whole and found.pareto_k < MAX_PARETO_K and found.weight_ess >= _LEAST):
        return None
    kept, log_weights = _worthy(found.log_weights, seed)
    named = density.named(found.theta[kept], found.effects[kept])
    return Refit(_coefficients(design, named), named, log_weights)


def _worthy(log_weights: Array, seed: int) -> tuple[NDArray[np.int64], Array]:
    """Draws without most of the lightest, which lie so far out that integrals at them take longest.

    A few of the light draws, taken by systematic sampling in proportion to their weights, share
    the weight of all of them: means of densities keep their expectation, also those of a unit
    that light draws predict best.
    """
    order = np.argsort(log_weights, kind="stable")
    reached = np.cumsum(np.exp(log_weights[order]))
    light = int(np.searchsorted(reached, _LIGHT, side="right"))
    if light <= _FEW:
        return np.arange(len(log_weights)), log_weights
    each = reached[light - 1] / _FEW
    # Rounding must not lose the last step.
    steps = np.floor(reached[: light - 1] / each + generator(seed, _LIGHT_STREAM).random())
    times = np.diff(np.append(np.minimum(steps, _FEW), _FEW), prepend=0.0)
    found = log_weights.copy()
    with np.errstate(divide="ignore"):
        found[order[:light]] = np.log(times * each)
    kept = np.flatnonzero(np.isfinite(found))
    return kept, found[kept]


def _chains(design: Design, seed: int, progress: Progress, start: Mode | None) -> Refit:
    """Chains of the route that a fit would take, longer ones where short ones do not converge."""
    tree = routes.chains_of(design, seed, _CHAINS, _CHAIN_DRAWS, progress, start)
    of, every = tree["diagnostics"].to_dataset(), 1
    if _problems(of) and float(of["r_hat"].max()) < _HOPELESS:
        every = _TIMES
        tree = routes.chains_of(design, seed, _CHAINS, every * _CHAIN_DRAWS, progress, start)
        of = tree["diagnostics"].to_dataset()
    draws = tree["posterior"].to_dataset().isel(draw=slice(None, None, every))
    n = _CHAINS * _CHAIN_DRAWS
    named = {
        str(name): values.transpose("chain", "draw", ...).to_numpy().reshape(n, *values.shape[2:])
        for name, values in draws.data_vars.items()
    }
    return Refit(_coefficients(design, named), named, np.full(n, -np.log(n)), _problems(of))


def _problems(diagnostics: xr.Dataset) -> tuple[str, ...]:
    found = []
    if not (worst := float(diagnostics["r_hat"].max())) <= _MAX_R_HAT:
        found.append(f"R-hat {worst:.2f} > {_MAX_R_HAT}")
    if not (least := float(diagnostics["ess_bulk"].min())) >= _LEAST:
        found.append(f"bulk ESS {least:.0f} < {_LEAST}")
    return tuple(found)


def _coefficients(design: Design, named: Mapping[str, Any]) -> Coefficients:
    """The parameters as `bayesmig.choice` takes them."""
    curves = design.responses
    return Coefficients(
        persons=named["beta"],
        only=named.get("beta_only"),
        attributes=named.get("gamma"),
        effects={by: named[f"u_{by}"] for by in design.layouts},
        tastes={by: named[f"taste_{by}"] for by in design.tastes},
        lambdas=named.get("lambda_nest"),
        curves=None if curves is None else {name: named[name] for name in curves.labels},
        feasibility=named.get("feasibility"),
    )
