"""Simulation-based calibration: ranks of prior draws among their posteriors are uniform.

Talts et al. 2018 (arXiv 1804.06788). Parameters are drawn from the prior, choices from
them, and the prior draw's rank among thinned posterior draws is uniform on average over
worlds, whatever the model, if and only if density and sampler are right.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design, build_design
from bayesmig.inference import sample
from bayesmig.inference.density import Density
from bayesmig.inference.prior import prior_draws
from tests.fabricate import small_frame, survey_of, theory

pytestmark = pytest.mark.slow

WORLDS, THINNED = 60, 63
#: Priors that do not depend on the choices.
THEORY = theory(
    "female",
    priors={
        "asc": {"loc": -0.5, "scale": 1.0},
        "persons": {"scale": 1.0, "per": "unit"},
        "scale": {"dist": "half_normal", "scale": 1.0},
    },
)


@pytest.fixture(scope="module")
def design() -> Design:
    return build_design(THEORY, survey_of(small_frame(90, origins=6)))


def worlds(design: Design) -> list[tuple[Design, dict[str, np.ndarray]]]:
    """Designs with other choices, and the parameters behind them."""
    drawn = prior_draws(design, seed=21, draws=WORLDS)
    rng = np.random.default_rng(22)
    made = []
    for k in range(WORLDS):
        truth = {str(name): v.to_numpy()[0, k] for name, v in drawn.data_vars.items()}
        effects = {"origin": truth["u_origin"]}
        utility = utilities(
            np, design.columns, Coefficients(persons=truth["beta"], effects=effects)
        )
        p = np.exp(log_probabilities(np, utility))
        choice = (rng.random((design.n_obs, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
        made.append((replace(design, choice=choice.astype(np.int64)), truth))
    return made


def ranks(density: Density, truth: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """Rank of every true parameter among thinned draws, in 0 … `THINNED`."""
    plan = sample.Plan("", seed, 8 * THINNED, 300, 0.9, {})
    (chain,) = sample._chains(density, plan, 1, 1, None, lambda *_: None)
    found = []
    for name, true in truth.items():
        values = chain["posterior"][name].to_numpy()[0, ::8]
        below = (values < true).sum(axis=0)
        # The diagonal of a correlation and its upper half tell nothing new.
        found.append(below[np.tril_indices(2, -1)] if name.startswith("corr") else below.ravel())
    return np.concatenate(found)


def p_values(density_of: type[Density], design: Design) -> np.ndarray:
    """Uniformity of the ranks of every parameter over worlds."""
    table = [ranks(density_of(d), truth, k) for k, (d, truth) in enumerate(worlds(design))]
    uniform = (np.array(table) + np.random.default_rng(0).random(np.shape(table))) / (THINNED + 1)
    return np.array([stats.kstest(column, "uniform").pvalue for column in uniform.T])


def test_ranks_of_the_truth_are_uniform(design: Design) -> None:
    p = p_values(Density, design)
    assert p.min() > 0.01 / len(p)
    assert stats.kstest(p, "uniform").pvalue > 1e-3


class JacobianTwice(Density):
    """As if the change of variables of the scales were counted twice."""

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = super().__call__(vector)
        at, slope = self._expansion, np.zeros(self._layout.n_theta)
        theta = at.centre + at.root @ vector[: len(slope)]
        for factor in self._layout.factors:
            value += factor.log_sigma.of(theta).sum()
            factor.log_sigma.of(slope)[...] += 1.0
        gradient[: len(slope)] += at.root.T @ slope
        return value, gradient


def test_a_wrong_jacobian_is_seen(design: Design) -> None:
    p = p_values(JacobianTwice, design)
    assert p.min() < 0.01 / len(p)
