"""Worlds with fares, borders, permits, jobs and neighbours: fits find what is true of them.

And where a claim is false, they do not find it: with its parameters reversed they find the
reverse, and with none, as often one sign as the other.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bayesmig.inference.routes import fit
from bayesmig.simulation import simulate
from bayesmig.simulation.worlds import CLAIMS, World, variant
from bayesmig.survey.survey import read_survey
from tests.recovery.worlds import NO_HOUSEHOLDS, label, theory_of

pytestmark = pytest.mark.slow

REPLICATIONS = 10


def draws_of(
    folder: Path, world: World, seed: int, effects: dict[str, float]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Draws and truth of the parameters on which the world's claims rest."""
    made = simulate(
        folder, persons=5_000, periods=3, seed=seed, world=world, effects=NO_HOUSEHOLDS | effects
    )
    true: dict[str, Any] = tomllib.loads(made.truth.read_text())["true"]
    terms = {a: {label(t): v for t, v in of.items()} for a, of in true["utility"].items()}
    utility = {"persons": " + ".join(t for t in terms["internal"] if t != "asc")}
    if "alternatives" in true:
        utility["alternatives"] = " + ".join(true["alternatives"])
    posterior = fit(
        theory_of(terms, utility=utility, weights="ignore"),
        read_survey(made.codebook),
        seed=seed,
        chains=2,
        progress=False,
    )
    draws, truth = {}, {}
    for name in (p for c in CLAIMS.values() if c.world == world for p in c.parameters):
        block, _, rest = name.partition(".")
        if block == "alternatives":
            found = posterior.draws["gamma"].sel(attribute_term=rest)
            truth[name] = true["alternatives"][rest]
        else:
            move, term = rest.split(".")
            found = posterior.draws["beta"].sel(coefficient=term, nonbase=move)
            truth[name] = true["utility"][move][term]
        draws[name] = found.to_numpy().ravel()
    return draws, truth


@pytest.mark.parametrize("world", ["regimes", "communities"])
def test_nine_of_ten_intervals_hold_the_truth(world: Any, tmp_path: Path) -> None:
    inside, sign, shifted = [], [], []
    for seed in range(REPLICATIONS):
        draws, truth = draws_of(tmp_path / f"{seed}", world, seed, {})
        for name, x in draws.items():
            low, high = np.quantile(x, [0.05, 0.95])
            inside.append(low <= truth[name] <= high)
            shifted.append(low <= truth[name] + (high - low) / 2 <= high)
            sign.append((np.sign(x) == np.sign(truth[name])).mean())
    assert 0.8 <= np.mean(inside) <= 0.98
    # A negative control: a truth that is moved is missed.
    assert np.mean(shifted) < 0.7
    assert np.mean(sign) > 0.9


@pytest.mark.parametrize("claim", ["border_deters", "permit_deters_the_poor", "own_group_pulls"])
def test_false_claims_are_not_found(claim: str, tmp_path: Path) -> None:
    name = CLAIMS[claim].parameters[0]
    chances = {}
    for which in ("true", "null", "reversed"):
        world, effects = variant(claim, which)  # type: ignore[arg-type]
        found = [draws_of(tmp_path / f"{which}{s}", world, s, effects)[0][name] for s in range(4)]
        sign = -1 if name.endswith(("enforcement",)) else 1
        chances[which] = [float((sign * x > 0).mean()) for x in found]
    assert np.mean(chances["true"]) > 0.95
    assert np.mean(chances["reversed"]) < 0.05
    assert 0.1 < np.mean(chances["null"]) < 0.9
