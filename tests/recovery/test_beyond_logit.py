"""Nests, response curves and consideration are found where they are true, and not elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.checks.replicate import draw_choices
from bayesmig.choice.probabilities import log_probabilities
from bayesmig.choice.utility import Coefficients
from bayesmig.design.design import build_design
from bayesmig.immobility import stayers
from bayesmig.inference.routes import fit
from bayesmig.model_comparison import compare
from bayesmig.posterior import Posterior
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey
from tests.fabricate import ALTERNATIVES, fabricated, survey_of, theory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS"),
]
COST = {"cost": {a: f"cost_{a}" for a in ALTERNATIVES}}


def people(n: int, seed: int) -> pd.DataFrame:
    """Columns that have nothing to do with each other; choices that mean nothing."""
    rng = np.random.default_rng(seed)
    origin = rng.integers(60, size=n)
    frame = pd.DataFrame(
        {
            "origin": [f"o{g:02d}" for g in origin],
            "female": rng.integers(2, size=n),
            "wealth": rng.normal(size=n),
            "network": rng.gamma(0.8, 0.15, 60)[origin],
            "choice": rng.choice(ALTERNATIVES, n),
        }
    )
    for a in ALTERNATIVES:
        frame[f"cost_{a}"] = rng.gamma(2.0, 1.0, n)
    return frame


def simulated(spec: ModelSpec, truth: Mapping[str, Any], *, n: int, seed: int) -> Survey:
    """A survey whose choices are drawn from a theory with these parameters."""
    frame = people(n, seed)
    posterior = fabricated(
        build_design(spec, survey_of(frame, attributes=COST)), centre=truth, spread=0.0, draws=10
    )
    coefficients: Coefficients = posterior.coefficients()
    log_p = log_probabilities(np, posterior.design.columns, coefficients)[0]
    chosen = draw_choices(np.exp(log_p), np.random.default_rng(seed + 1))
    return survey_of(frame.assign(choice=np.array(ALTERNATIVES)[chosen]), attributes=COST)


def fitted(spec: ModelSpec, survey: Survey, draws: int = 1000) -> Posterior:
    """Converged draws; more of them where a parameter is hardly identified."""
    options = {"chains": 2, "draws": draws, "tune": 500, "progress": False}
    posterior = fit(spec, survey, seed=3, target_accept=0.8 if draws == 1000 else 0.95, **options)
    problems = [p for p in posterior.problems() if not p.endswith(" divergences")]
    assert not problems
    # Where a parameter runs off to infinity, a few steps in thousands go wrong.
    diverged = posterior.data["diagnostics"].to_dataset().get("divergences", np.zeros(1))
    assert diverged.sum() <= 0.002 * 2 * draws
    return posterior


def interval(posterior: Posterior, name: str, prob: float = 0.99) -> np.ndarray:
    """Central interval of every parameter of a name, ``(2, ...)``."""
    tails = [(1 - prob) / 2, (1 + prob) / 2]
    return posterior.draws[name].quantile(tails, ("chain", "draw")).to_numpy()


# --------------------------------------------------------------------------------- curves


CURVED = theory(
    "female + wealth",
    curves=[{"column": "network", "shape": "hill", "alternatives": ["international"]}],
    groups=[],
)
CURVE = {
    "beta": [[-1.0, -2.0], [0.3, -0.5], [0.2, 0.5]],
    "curve_effect": [2.5],
    "half_saturation": [0.15],
    "hill_exponent": [3.0],
}


def curve(shape: str) -> ModelSpec:
    """The same theory with another curve."""
    one = {"column": "network", "shape": shape, "alternatives": ["international"]}
    return CURVED.replace(curves=[one])


@cache
def curved_world(shape: str) -> tuple[Survey, Posterior]:
    """A world with a threshold, or with one where the first exposures count most."""
    first = {"beta": CURVE["beta"], "curve_effect": [2.5], "half_saturation": [0.05]}
    truth = CURVE if shape == "hill" else first
    survey = simulated(curve(shape), truth, n=6_000, seed=21)
    return survey, fitted(CURVED, survey, 1000 if shape == "hill" else 2500)


def test_a_threshold_is_found_with_its_place() -> None:
    survey, posterior = curved_world("hill")
    for name in ("curve_effect", "half_saturation", "hill_exponent"):
        low, high = interval(posterior, name)
        assert low < CURVE[name][0] < high, name
    assert float((posterior.draws["hill_exponent"] > 1).mean()) > 0.95
    prior = CURVED.priors.hill_exponent
    # The exponent is learnt, not only remembered.
    assert float(np.log(posterior.draws["hill_exponent"]).std()) < 0.8 * prior.scale
    table = compare(
        {"hill": posterior, "log1p": fitted(curve("log1p"), survey)}, allow_unconverged=True
    ).summary
    assert table.set_index("theory").loc["log1p", "elpd_diff"] < -3


def test_no_threshold_is_found_where_there_is_none() -> None:
    survey, posterior = curved_world("saturating")
    assert float((posterior.draws["hill_exponent"] > 2).mean()) < 0.1
    table = compare(
        {"hill": posterior, "saturating": fitted(curve("saturating"), survey)},
        allow_unconverged=True,
    )
    # No better for its exponent.
    assert abs(table.summary["elpd_diff"]).max() < 3


# ---------------------------------------------------------------------------------- nests


NESTED = theory(
    utility={"persons": "female + wealth", "alternatives": "cost"},
    nests=[{"name": "move", "alternatives": ["internal", "international"]}],
    groups=[],
)
BETA = [[-0.4, -0.6], [0.3, -0.5], [0.2, 0.5]]


@cache
def nested_world(lam: float) -> tuple[Survey, Posterior]:
    truth = {"beta": BETA, "gamma": [-0.6], "lambda_nest": [lam]}
    survey = simulated(NESTED, truth, n=4_000, seed=11)
    return survey, fitted(NESTED, survey)


def test_a_nest_is_found_with_all_that_is_beside_it() -> None:
    survey, posterior = nested_world(0.4)
    low, high = interval(posterior, "lambda_nest")
    assert low < 0.4 < high < 0.7
    low, high = interval(posterior, "beta")
    assert ((low < BETA) & (np.array(BETA) < high)).mean() > 0.8
    low, high = interval(posterior, "gamma")
    assert low < -0.6 < high
    assert posterior.provenance.reason == "the map does not cover nests"
    logit = fitted(NESTED.replace(nests=[]), survey)
    table = compare({"nest": posterior, "logit": logit}, allow_unconverged=True).summary
    assert table.set_index("theory").loc["logit", "elpd_diff"] < -10


def test_no_nest_is_found_where_there_is_none() -> None:
    survey, posterior = nested_world(0.999)
    low, _ = interval(posterior, "lambda_nest")
    assert low > 0.7
    logit = fitted(NESTED.replace(nests=[]), survey)
    table = compare({"nest": posterior, "logit": logit}, allow_unconverged=True).summary
    assert abs(table["elpd_diff"]).max() < 3


# -------------------------------------------------------------------------- consideration


LIQUID = theory(
    "female",
    groups=[],
    consideration={
        "feasible": {"international": "wealth + cost"},
        "signs": {"international": {"wealth": "positive", "cost": "negative"}},
    },
)
ABLE = {"beta": [[-0.8, -0.4], [0.3, -0.5]], "feasibility": [0.5, 1.5, -0.5]}


@cache
def liquid_world(constrained: bool) -> tuple[Survey, Posterior]:
    truth = ABLE if constrained else ABLE | {"feasibility": [40.0, 1e-3, -1e-3]}
    survey = simulated(LIQUID, truth, n=6_000, seed=31)
    return survey, fitted(LIQUID, survey, 1500 if constrained else 4000)


def test_what_is_feasible_is_found_apart_from_what_is_wanted() -> None:
    survey, posterior = liquid_world(True)
    for name, truth in ABLE.items():
        low, high = interval(posterior, name, 0.998)
        assert ((low < truth) & (np.array(truth) < high)).all(), name
    logit = theory(utility={"persons": "female + wealth", "alternatives": "cost"}, groups=[])
    table = compare(
        {"able": posterior, "logit": fitted(logit, survey)}, allow_unconverged=True
    ).summary
    assert table.set_index("theory").loc["logit", "elpd_diff"] < -5


def test_the_unable_are_counted_and_are_the_poor() -> None:
    survey, posterior = liquid_world(True)
    true = fabricated(
        build_design(LIQUID, survey), centre=ABLE, spread=0.0, draws=110, survey=survey
    )
    by = {"by": "wealth"}
    expected = stayers(true, **by, allow_unconverged=True).summary
    found = stayers(posterior, **by, prob=0.99, allow_unconverged=True).summary
    inside = (found["lower"] < expected["estimate"]) & (expected["estimate"] < found["upper"])
    assert inside.mean() > 0.9
    unable = found[found["quantity"] == "unable_among_stayers"]["estimate"].to_numpy()
    assert (np.diff(unable) < 0).all()
    assert unable[0] > 2 * unable[-1]


def test_nobody_is_found_unable_where_all_is_feasible() -> None:
    survey, posterior = liquid_world(False)
    loose = {"allow_unconverged": True}
    found = stayers(posterior, **loose).summary.set_index("quantity")["estimate"]
    _, constrained = liquid_world(True)
    other = stayers(constrained, **loose).summary.set_index("quantity")["estimate"]
    assert found["unable"] < 0.25 * other["unable"]
    logit = fitted(LIQUID.replace(consideration=None), survey)
    table = compare({"able": posterior, "logit": logit}, **loose).summary
    assert abs(table["elpd_diff"]).max() < 4
