"""The illusion of composition: a pooled effect of steps against the one within origins.

`step_migration` states the claim by the coefficient of the origin's network (Mundlak 1978,
doi 10.2307/1913646). Here both effects are fitted by themselves, by plain maximum likelihood.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesmig.spec.library import load_model
from tests.recovery.matrix import effects_of, survey_of


def steps(frame: pd.DataFrame, *, within: bool) -> float:
    """The log odds of abroad against staying of an earlier internal move, by Newton steps.

    Without the internal movers, since odds between two alternatives do not depend on a third.
    Pooled, there is one constant; within, one for every origin. Neither has columns of origins.
    """
    some = frame[frame["choice"] != "internal"]
    abroad = some["choice"] == "international"
    kept = abroad.groupby(some["origin"]).transform("nunique") == 2
    some, y = some[kept], abroad[kept].to_numpy(dtype=float)
    f, a, e, w = (
        some[c].to_numpy(dtype=float) for c in ("female", "age_10", "education", "wealth")
    )
    own = [some["prior_internal"], some["prior_international"], some["urban"],
           f, a, e, w, a * a, w * w, f * a, f * e, a * e, f * a * e]  # fmt: skip
    constants = pd.get_dummies(some["origin"]) if within else np.ones((len(some), 1))
    x = np.column_stack([*own, constants]).astype(float)
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ beta))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-8 * np.eye(len(beta))
        step = np.linalg.solve(hessian, x.T @ (y - p))
        beta += step
        if np.abs(step).max() < 1e-8:
            return float(beta[0])
    raise AssertionError("the likelihood has no maximum")


#: What the origin's network does abroad, more than in claims.toml: there, what 16,000 persons
#: tell of the difference is lost in its noise. The constant makes up for it at typical exposure.
CONTEXT, TYPICAL = 0.6, 2.1


@pytest.mark.parametrize(("world", "sign"), [("true", 1), ("false", -1), ("null", 0)])
def test_a_pooled_effect_differs_from_the_one_within_as_the_claim_has_it(
    world: str, sign: int
) -> None:
    (part,) = load_model("step_migration").hypotheses["composition_adds_to_steps"].inequalities
    assert part.text == "log_odds(network_internal, international) > 0"
    effects = effects_of("step_migration", world)
    network, constant = (f"utility.international.{c}" for c in ("network_internal", "asc"))
    assert np.sign(effects[network]) == sign
    effects[constant] -= TYPICAL * (sign * CONTEXT - effects[network])
    effects[network] = sign * CONTEXT
    frame = survey_of(effects, 16_000, seed=0)[0].frame
    excess = steps(frame, within=False) - steps(frame, within=True)
    assert sign * excess > 0.1 if sign else abs(excess) < 0.1, excess
