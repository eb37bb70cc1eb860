"""Simulation-based calibration of what `fit` does by itself, whichever route it takes.

Talts et al. 2018 (arXiv 1804.06788). Parameters are drawn from the prior, choices from
them, and the prior draw's rank among thinned posterior draws is uniform on average over
worlds, whatever the model, if and only if density and sampler are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design, build_design
from bayesmig.inference import routes
from bayesmig.inference.approximate import Proposal
from bayesmig.inference.density import Density
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.sample import Sampler
from bayesmig.progress import silent
from bayesmig.spec.model import ModelSpec
from tests.fabricate import small_frame, survey_of, theory

pytestmark = pytest.mark.slow

WORLDS, CONTROLS, THINNED, EVERY = 300, 60, 63, 32
#: Priors that do not depend on the choices.
PRIORS = {
    "asc": {"loc": -0.5, "scale": 1.0},
    "persons": {"scale": 1.0, "per": "unit"},
    "scale": {"dist": "half_normal", "scale": 1.0},
}
INTERCEPTS = theory("female", priors=PRIORS)
NESTED = theory("female", groups=[{"by": "origin"}, {"by": "region"}], priors=PRIORS)


def design_of(spec: ModelSpec) -> Design:
    return build_design(spec, survey_of(small_frame(90, origins=6)))


def worlds(design: Design, count: int) -> list[tuple[Design, dict[str, np.ndarray]]]:
    """Designs with other choices, and the parameters behind them."""
    drawn = prior_draws(design, seed=21, draws=count)
    rng = np.random.default_rng(22)
    made = []
    for k in range(count):
        truth = {str(name): v.to_numpy()[0, k] for name, v in drawn.data_vars.items()}
        effects = {by: truth[f"u_{by}"] for by in design.layouts}
        utility = utilities(
            np, design.columns, Coefficients(persons=truth["beta"], effects=effects)
        )
        p = np.exp(log_probabilities(np, utility))
        choice = (rng.random((design.n_obs, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
        made.append((replace(design, choice=choice.astype(np.int64)), truth))
    return made


def ranks(
    design: Design, truth: dict[str, np.ndarray], seed: int, method: str
) -> tuple[np.ndarray, str]:
    """Rank of every true parameter among thinned draws, in 0 … `THINNED`; and the route."""
    options = {"method": method, "precision": "double", "tune": 300, "target_accept": 0.9}
    plan = routes.plan_fit(design, seed, draws=EVERY * THINNED, **options)
    outcome = routes._take(method, design, plan, 1, 1, None, silent)
    found = []
    for name, true in truth.items():
        values = outcome.tree["posterior"][name].to_numpy()[0, ::EVERY]
        below = (values < true).sum(axis=0)
        # The diagonal of a correlation and its upper half tell nothing new.
        found.append(below[np.tril_indices(2, -1)] if name.startswith("corr") else below.ravel())
    return np.concatenate(found), outcome.route


def p_values(spec: ModelSpec, count: int, method: str = "auto") -> tuple[np.ndarray, list[str]]:
    """Uniformity of the ranks of every parameter over worlds, and the routes taken."""
    ranked = [
        ranks(d, truth, k, method) for k, (d, truth) in enumerate(worlds(design_of(spec), count))
    ]
    table = np.array([found for found, _ in ranked])
    uniform = (table + np.random.default_rng(0).random(table.shape)) / (THINNED + 1)
    p = np.array([stats.kstest(column, "uniform").pvalue for column in uniform.T])
    return p, [route for _, route in ranked]


# Kolmogorov's test asks whether the empirical distribution leaves its band.
@pytest.mark.parametrize("spec", [INTERCEPTS, NESTED], ids=["intercepts", "nested"])
def test_ranks_of_the_truth_are_uniform(spec: ModelSpec) -> None:
    p, taken = p_values(spec, WORLDS)
    assert p.min() > 0.01 / len(p)
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    # Both routes are tried.
    assert 0.1 < np.mean(["weighted" in route for route in taken]) < 0.95


@contextmanager
def jacobian_twice() -> Iterator[None]:
    """As if the change of variables of the scales were counted twice, on both routes."""
    usual, pairs = Density.__call__, Proposal._evaluate

    def density(self: Density, vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = usual(self, vector)
        (centre, root), slope = self.map_arguments[0], np.zeros(self.layout.n_theta)
        theta = centre + root @ vector[: len(slope)]
        for factor in self.layout.factors:
            value += factor.log_sigma.of(theta).sum()
            factor.log_sigma.of(slope)[...] += 1.0
        gradient[: len(slope)] += root.T @ slope
        return value, gradient

    def evaluate(self: Proposal, white: np.ndarray, epsilon: np.ndarray) -> Any:
        theta, effects, of_units, log_density = pairs(self, white, epsilon)
        for factor in self.density.layout.factors:
            log_density = log_density + theta[
                :, factor.log_sigma.start : factor.log_sigma.stop
            ].sum(1)
        return theta, effects, of_units, log_density

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Density, "__call__", density)
        patch.setattr(routes, "density_sampler", sampler_in_python)
        patch.setattr(Proposal, "_evaluate", evaluate)
        yield


def sampler_in_python(density: Density) -> Sampler:
    """Chains on what `Density.__call__` gives; the product's call its C function."""
    from nutpie.compiled_pyfunc import from_pyfunc

    def model(rng: np.random.Generator) -> Any:
        start = density.start(rng)
        return from_pyfunc(
            density.size,
            lambda: density,
            lambda *_: lambda vector: {"vector": vector},
            [np.dtype("float64")],
            [(density.size,)],
            ["vector"],
            make_initial_point_fn=lambda _: start,
        )

    return Sampler(model, lambda found: density.parameters(found["vector"].to_numpy()))


@pytest.mark.parametrize("method", ["auto", "nuts"])
def test_a_wrong_jacobian_is_seen(method: str) -> None:
    with jacobian_twice():
        p, taken = p_values(INTERCEPTS, CONTROLS, method)
    assert p.min() < 0.01 / len(p)
    assert method == "auto" or not any("weighted" in route for route in taken)
