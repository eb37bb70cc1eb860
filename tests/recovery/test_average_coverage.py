"""Intervals of average effects, over many simulated surveys."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesmig as bm
from bayesmig.survey.survey import read_survey
from tests.fabricate import ALTERNATIVES, theory

SURVEYS, MASS, ROWS = 500, 0.89, 500
TRUTH = np.array([[-0.9, -1.4], [0.4, -0.6], [0.2, 0.5]])


def probabilities(female: np.ndarray, wealth: np.ndarray) -> np.ndarray:
    x = np.column_stack([np.ones(len(female)), female, wealth])
    odds = np.exp(np.column_stack([np.zeros(len(x)), x @ TRUTH]))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def covered(seed: int) -> np.ndarray:
    """Whether intervals, and those of half their width, hold what is true of the survey's rows."""
    rng = np.random.default_rng(seed)
    female, wealth = rng.integers(2, size=ROWS), rng.normal(size=ROWS)
    weight = rng.gamma(4.0, 0.25, ROWS)
    p = probabilities(female, wealth)
    chosen = (rng.random(ROWS)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    frame = pd.DataFrame({"female": female, "wealth": wealth, "weight": weight})
    survey = read_survey(
        frame.assign(choice=np.array(ALTERNATIVES)[chosen]),
        {"choice": "choice", "weight": "weight"},
        alternatives={a: a for a in ALTERNATIVES},
    )
    spec = theory("female + wealth", groups=[])
    posterior = bm.fit(spec, survey, seed=seed, chains=2, draws=500, progress=False)
    found = bm.comparisons(posterior, ["female", "wealth"], prob=MASS, allow_unconverged=True)
    one = np.ones(ROWS)
    changes = [
        probabilities(one, wealth) - probabilities(0 * one, wealth),
        probabilities(female, wealth + 1) - p,
    ]
    truth = np.concatenate([np.average(c, axis=0, weights=weight) for c in changes])
    low, high = (found.summary[k].to_numpy() for k in ("lower", "upper"))
    middle, half = (low + high) / 2, (high - low) / 4
    return np.stack([(low <= truth) & (truth <= high), np.abs(truth - middle) <= half])


@pytest.mark.slow
def test_intervals_of_average_effects_cover_as_they_say() -> None:
    found, narrow = np.mean([covered(seed) for seed in range(SURVEYS)], axis=0)
    # The negative control: intervals of half the width.
    assert narrow.mean() < MASS - 0.2
    assert found.mean() == pytest.approx(MASS, abs=0.02)
    assert (found > MASS - 0.05).all()
