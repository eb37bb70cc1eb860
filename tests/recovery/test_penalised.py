"""Smooths and shared drivers find what is there, and little where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesmig.inference.routes import fit
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey
from tests.fabricate import ALTERNATIVES, survey_of, theory

GRID = np.linspace(-1.3, 1.3, 9)
FIT = {"chains": 2, "draws": 500, "progress": False}
WORLDS = 40


def world(seed: int, *, deviation: float = 0.0, n: int = 1500) -> Survey:
    """Internal moves bend with age, moves abroad do not; five drivers of both streams."""
    rng = np.random.default_rng([11, seed])
    age = rng.uniform(-1.5, 1.5, n)
    drivers = rng.normal(size=(n, 5))
    common, own = rng.normal(0.0, 0.4, 5), rng.normal(0.0, deviation, (5, 2))
    origin = rng.integers(15, size=n)
    utility = np.zeros((n, 3))
    utility[:, 1:] = [-0.8, -1.2] + drivers @ (common[:, None] + own)
    utility[:, 1:] += rng.normal(0.0, 0.4, (15, 2))[origin]
    utility[:, 1] += np.sin(2 * age)
    chosen = (utility + rng.gumbel(size=utility.shape)).argmax(axis=1)
    frame = pd.DataFrame({f"driver_{k}": drivers[:, k] for k in range(5)})
    frame["age_10"], frame["origin"] = age, [f"o{k:02d}" for k in origin]
    return survey_of(frame.assign(choice=np.array(ALTERNATIVES)[chosen]))


def curve(posterior: Posterior, alternative: int) -> np.ndarray:
    """Its draws over the grid, less their mean over the grid."""
    draws = posterior.draws
    line = list(posterior.design.persons).index("age_10")
    beta = draws["beta"].to_numpy()[..., line, alternative].reshape(-1, 1)
    found = beta * GRID
    if "smooth_age_10" in posterior.design.layouts:
        bends = draws["u_smooth_age_10"].to_numpy()[:, :, 0, alternative]
        encoder = posterior.design.layouts["smooth_age_10"].encoder
        found = (
            found + bends.reshape(len(beta), -1) @ encoder.apply(pd.DataFrame({"age_10": GRID})).T
        )
    return np.asarray(found - found.mean(axis=1, keepdims=True))


@pytest.mark.slow
def test_a_smooth_covers_the_curve_and_a_line_does_not() -> None:
    truth = np.sin(2 * GRID) - np.sin(2 * GRID).mean()
    drivers = " + ".join(f"driver_{k}" for k in range(5))
    smooth = theory(f"age_10 + {drivers}", smooths=[{"column": "age_10", "bends": 6}])
    straight = theory(f"age_10 + {drivers}")
    covered: dict[str, list[np.ndarray]] = {"smooth": [], "none": [], "straight": []}
    for seed in range(WORLDS):
        survey = world(seed)
        bent = fit(smooth, survey, seed=seed, **FIT)  # type: ignore[arg-type]
        flat = fit(straight, survey, seed=seed, **FIT)  # type: ignore[arg-type]
        for name, draws, true in (
            ("smooth", curve(bent, 0), truth),
            ("none", curve(bent, 1), 0.0 * truth),
            ("straight", curve(flat, 0), truth),
        ):
            low, high = np.quantile(draws, [0.05, 0.95], axis=0)
            covered[name].append((low <= true) & (true <= high))
    shares = {name: float(np.mean(found)) for name, found in covered.items()}
    # 40 worlds of curves whose points go together are worth about 100 independent ones.
    assert 0.82 <= shares["smooth"] <= 0.97, shares
    assert 0.82 <= shares["none"] <= 0.99, shares
    assert shares["straight"] < 0.5, shares


@pytest.mark.slow
def test_the_scale_of_deviations_tells_shared_drivers_from_separate_ones() -> None:
    drivers = " + ".join(f"driver_{k}" for k in range(5))
    shared = theory(utility={"persons": "age_10", "shared": drivers})
    larger = []
    for seed in range(12):
        scale = []
        for deviation in (0.0, 0.6):
            posterior = fit(shared, world(seed, deviation=deviation), seed=seed, **FIT)  # type: ignore[arg-type]
            scale.append(posterior.draws["sigma_deviation"].to_numpy().ravel())
        larger.append((np.median(scale[0]) < 0.25, np.median(scale[1]) > 0.35))
    assert np.mean(larger, axis=0).min() >= 0.8, larger
