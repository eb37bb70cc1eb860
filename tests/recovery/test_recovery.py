"""Fits of simulated surveys find the truth as often as their intervals say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bayesmig.inference.routes import fit
from tests.recovery.worlds import simulated, theory_of

pytestmark = pytest.mark.slow

REPLICATIONS = 20
Interval = tuple[float, float]


@pytest.fixture(scope="module")
def intervals(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[np.ndarray]]]:
    """Per survey and alternative: truth, and the bounds of 90 % intervals."""
    found = []
    for seed in range(REPLICATIONS):
        folder: Path = tmp_path_factory.mktemp("world") / "survey"
        survey, terms = simulated(folder, persons=3000, seed=seed)
        posterior = fit(
            theory_of(terms), survey, seed=seed, chains=2, draws=400, tune=400, progress=False
        )
        made = {}
        for alternative, truth in terms.items():
            draws = posterior.draws["beta"].sel(nonbase=alternative).stack(s=("chain", "draw"))
            low, high = (
                draws.quantile(q, "s").sel(coefficient=list(truth)).to_numpy() for q in (0.05, 0.95)
            )
            made[alternative] = [np.array(list(truth.values())), low, high]
        found.append(made)
    return found


def coverage(intervals: list[dict[str, list[np.ndarray]]], shift: float = 0.0) -> float:
    """Share of coefficients inside; ``shift`` moves the truth, in widths of the interval."""
    inside = [
        (low <= truth + shift * (high - low)) & (truth + shift * (high - low) <= high)
        for world in intervals
        for truth, low, high in world.values()
    ]
    return float(np.mean(inside))


def test_nine_of_ten_intervals_hold_the_truth(
    intervals: list[dict[str, list[np.ndarray]]],
) -> None:
    assert 0.83 <= coverage(intervals) <= 0.97


def test_a_truth_that_is_moved_is_missed(intervals: list[dict[str, list[np.ndarray]]]) -> None:
    for shift in (-0.5, 0.5):
        assert coverage(intervals, shift) < 0.7


def test_the_truth_of_the_other_stream_is_missed(
    intervals: list[dict[str, list[np.ndarray]]],
) -> None:
    swapped = [
        {
            "internal": [world["international"][0], *world["internal"][1:]],
            "international": [world["internal"][0], *world["international"][1:]],
        }
        for world in intervals
    ]
    assert coverage(swapped) < 0.8


def test_estimates_are_not_off_to_one_side(intervals: list[dict[str, list[np.ndarray]]]) -> None:
    for alternative in ("internal", "international"):
        truth, low, high = (np.stack([w[alternative][k] for w in intervals]) for k in range(3))
        z = ((low + high) / 2 - truth) / ((high - low) / 3.29)
        assert np.abs(z.mean(axis=0)).max() < 1.0
        assert abs(z.mean()) < 0.35
