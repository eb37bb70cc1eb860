"""Simulation-based calibration of what `fit` does by itself, whichever route it takes.

The mathematics is `bayesmig.sbc`; here it is asked of priors under which both routes are
taken, and of a density that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bayesmig.inference import routes
from bayesmig.inference.approximate import Proposal
from bayesmig.inference.density import Density
from bayesmig.inference.sample import Sampler
from bayesmig.sbc import Calibration, calibrate
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
        **({} if method == "preview" else {"tune": 300, "target_accept": 0.9}),
    )


@pytest.mark.parametrize("spec", [INTERCEPTS, NESTED], ids=["intercepts", "nested"])
def test_ranks_of_the_truth_are_uniform(spec: ModelSpec) -> None:
    found = calibrated(spec, WORLDS)
    assert found.passed
    assert stats.kstest(found.summary["p_value"], "uniform").pvalue > 1e-3
    # Both routes are tried.
    assert 0.1 < np.mean(["weighted" in route for route in found.routes]) < 0.95


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
        found = calibrated(INTERCEPTS, CONTROLS, method)
    assert not found.passed
    assert "sigma_origin" in found.text
    assert method == "auto" or not any("weighted" in route for route in found.routes)
