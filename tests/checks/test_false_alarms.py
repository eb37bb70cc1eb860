"""How often true theories fail, with fits as users make them."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from bayesmig.checks import check
from bayesmig.inference.routes import fit
from bayesmig.survey.survey import Survey
from tests.fabricate import ALTERNATIVES, survey_of, theory

pytestmark = pytest.mark.slow

WORLDS = 20


def world(seed: int, slopes: tuple[float, float], n: int = 2400, origins: int = 80) -> Survey:
    """Constants, origins that differ by .5 and 1.2 on the log odds, and wealth."""
    rng = np.random.default_rng(seed)
    origin, wealth = rng.integers(origins, size=n), rng.normal(size=n)
    odds = np.array([-2.0, -4.0]) + rng.normal(0, (0.5, 1.2), (origins, 2))[origin]
    utility = np.column_stack([np.zeros(n), odds + np.outer(wealth, slopes)])
    chosen = (utility + rng.gumbel(size=(n, 3))).argmax(axis=1)
    names = [f"o{g}" for g in origin]
    frame = {"choice": np.array(ALTERNATIVES)[chosen], "origin": names, "wealth": wealth}
    return survey_of(pd.DataFrame(frame))


@pytest.mark.parametrize(("persons", "slopes"), [("1", (0.0, 0.0)), ("wealth", (0.3, 0.6))])
def test_true_theories_hardly_ever_fail(persons: str, slopes: tuple[float, float]) -> None:
    """Seen: calibration failed 0 of 20 (not asked) and 0 of 20, the others none either."""
    failed: Counter[str] = Counter()
    for seed in range(WORLDS):
        posterior = fit(
            theory(persons),
            world(seed, slopes),
            seed=seed,
            chains=2,
            draws=250,
            tune=250,
            progress=False,
        )
        results = check(posterior, prior=False, seed=seed, allow_unconverged=True)
        failed.update(r.name for r in results if r.passed is False and r.name != "convergence")
    # With 1 false alarm in 20, more than 3 come up less than twice in a hundred times.
    assert max(failed.values(), default=0) <= 3, failed
