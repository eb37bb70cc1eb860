"""Simulation-based calibration of what `fit` does by itself, whichever route it takes.

The mathematics is `bayesmig.sbc`; here it is asked of priors under which both routes are
taken, and of a density that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bayesmig.inference import routes
from bayesmig.inference import target as compiled
from bayesmig.inference.approximate import Proposal
from bayesmig.inference.density import Density
from bayesmig.inference.sample import Sampler
from bayesmig.sbc import Calibration, calibrate
from bayesmig.spec.model import ModelSpec
from tests.fabricate import small_frame, survey_of, theory

#: Compiled functions have no signature that a type checker could read.
target: Any = compiled
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


def calibrated(
    spec: ModelSpec, worlds: int, method: str = "auto", thin: int = EVERY
) -> Calibration:
    return calibrate(
        spec,
        survey_of(small_frame(90, origins=6)),
        seed=21,
        worlds=worlds,
        method=method,  # type: ignore[arg-type]
        draws=thin * THINNED,
        thin=thin,
        effects=True,
        progress=False,
        precision="double",
        **({} if method in ("preview", "surrogate") else {"tune": 300, "target_accept": 0.9}),
    )


@pytest.mark.parametrize("spec", [INTERCEPTS, NESTED], ids=["intercepts", "nested"])
def test_ranks_of_the_truth_are_uniform(spec: ModelSpec) -> None:
    found = calibrated(spec, WORLDS)
    assert found.passed
    assert stats.kstest(found.summary["p_value"], "uniform").pvalue > 1e-3
    # Both routes are tried.
    assert 0.1 < np.mean(["weighted" in route for route in found.routes]) < 0.95


# ------------------------------------------------------------------------------ controls

#: What is added to the log densities of a ``Density`` at thetas ``(point, theta)``.
Fault = Callable[[Density, np.ndarray], np.ndarray]


def none(density: Density, thetas: np.ndarray) -> np.ndarray:
    return np.zeros(len(thetas))


def scales_twice(density: Density, thetas: np.ndarray) -> np.ndarray:
    """As if the change of variables of the scales were counted twice."""
    slices = [factor.log_sigma for factor in density.layout.factors]
    return sum((thetas[:, s.start : s.stop].sum(axis=1) for s in slices), np.zeros(len(thetas)))


def map_twice(density: Density, thetas: np.ndarray) -> np.ndarray:
    """As if that of the map, ``-sum log K_ii``, were counted twice."""
    total, problem = np.zeros(len(thetas)), density.problem
    fields = problem.table[0][:, [target.GROUPS, target.WIDTH, target.OWN]]
    for factor, (groups, width, start) in zip(density.layout.factors, fields, strict=True):
        own = density.expansion.arrays[2][start : start + groups * width**2]
        own = own.reshape(groups, width, width)
        for k, theta in enumerate(thetas):
            total[k] -= np.linalg.slogdet(own + problem.precision(factor, theta))[1].sum() / 2
    return total


@contextmanager
def chains_with(fault: Fault) -> Iterator[None]:
    """Chains in Python on a density with a fault."""
    usual, step = Density.__call__, 1e-4

    def density(self: Density, vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = usual(self, vector)
        (centre, root), t = self.map_arguments[0], self.layout.n_theta
        theta, moves = centre + root @ vector[:t], step * np.eye(t)
        found = fault(self, np.concatenate([theta[None], theta + moves, theta - moves]))
        if not np.isfinite(found).all():  # as far out as this the density is zero as well
            return -np.inf, gradient
        gradient[:t] += root.T @ (found[1 : t + 1] - found[t + 1 :]) / (2 * step)
        return value + found[0], gradient

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Density, "__call__", density)
        patch.setattr(routes, "density_sampler", sampler_in_python)
        yield


@contextmanager
def weights_with(fault: Fault) -> Iterator[None]:
    """Weights by a density with a fault."""
    usual = Proposal._evaluate

    def evaluate(self: Proposal, white: np.ndarray, epsilon: np.ndarray) -> Any:
        theta, effects, of_units, log_density = usual(self, white, epsilon)
        return theta, effects, of_units, log_density + fault(self.density, theta)

    with pytest.MonkeyPatch.context() as patch:
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
def test_the_apparatus_of_the_controls_passes_by_itself(method: str) -> None:
    with chains_with(none), weights_with(none):
        assert calibrated(INTERCEPTS, CONTROLS, method).passed


@pytest.mark.parametrize("method", ["auto", "nuts"])
def test_a_wrong_jacobian_is_seen(method: str) -> None:
    with chains_with(scales_twice), weights_with(scales_twice):
        found = calibrated(INTERCEPTS, CONTROLS, method)
    assert not found.passed
    assert "sigma_origin" in found.text
    assert method == "auto" or not any("weighted" in route for route in found.routes)


def test_a_wrong_jacobian_of_the_map_is_seen() -> None:
    with chains_with(map_twice):
        found = calibrated(INTERCEPTS, CONTROLS, "nuts")
    assert not found.passed
    assert "sigma_origin" in found.text


@pytest.mark.parametrize("fault", [none, scales_twice])
def test_wrong_weights_are_seen(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """By that route alone, which is made to take every world."""
    monkeypatch.setattr(routes, "MAX_PARETO_K", np.inf)
    monkeypatch.setattr(routes, "MIN_ESS", 20)
    with weights_with(fault):
        found = calibrated(INTERCEPTS, CONTROLS, "surrogate")
    assert all("weighted" in route for route in found.routes)
    assert found.passed == (fault is none)
