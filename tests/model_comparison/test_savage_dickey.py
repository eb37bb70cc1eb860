"""The density ratio of nested claims, against conjugate normals in closed form."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bayesmig.errors import ConvergenceError, QuestionError
from bayesmig.model_comparison import EvidenceRatio, evidence_ratio
from bayesmig.posterior import Posterior
from tests.fabricate import fabricated, small_design

NAME = "beta[wealth, internal]"


def conjugate(estimate: float, error: float, draws: int = 2500) -> tuple[Posterior, float]:
    """A posterior by a normal prior and a normal estimate, and the prior's scale."""
    design = small_design("wealth", groups=[])
    prior = design.priors["persons"]
    at = design.persons.index("wealth")
    loc, scale = float(prior.loc[at, 0]), float(prior.scale[at, 0])
    assert loc == 0.0
    precision = scale**-2 + error**-2
    mean, sd = estimate * error**-2 / precision, precision**-0.5
    made = fabricated(design, chains=4, draws=draws)
    moved = made.draws
    moved["beta"].data[:, :, at, 0] = np.random.default_rng(0).normal(mean, sd, (4, draws))
    tree = made.data.copy()
    tree["posterior"] = xr.DataTree(moved)
    return replace(made, data=tree), scale


def log_normal(x: float, sd: float) -> float:
    return -0.5 * (x / sd) ** 2 - float(np.log(sd * np.sqrt(2 * np.pi)))


def exact(estimate: float, error: float, scale: float) -> float:
    """Log density of the estimate where the coefficient is zero, over that where it is free."""
    return log_normal(estimate, error) - log_normal(estimate, float(np.hypot(error, scale)))


@pytest.mark.parametrize(("estimate", "error"), [(0.05, 0.1), (0.2, 0.1), (-0.25, 0.15)])
def test_equals_the_conjugate_bayes_factor_under_three_priors(
    estimate: float, error: float
) -> None:
    posterior, scale = conjugate(estimate, error)
    found = evidence_ratio(posterior, NAME).summary
    for row in found.itertuples():
        wanted = exact(estimate, error, row.prior_scale * scale)
        assert abs(row.log_ratio - wanted) < max(4 * row.error, 0.05)
    assert (found["error"] < 0.15).all()


def test_a_value_that_is_denied_is_spoken_against() -> None:
    denied = evidence_ratio(conjugate(0.22, 0.1)[0], NAME)
    kept = evidence_ratio(conjugate(0.0, 0.1)[0], NAME)
    assert denied.summary["log_ratio"][0] < 0 < 1 < kept.summary["log_ratio"][0]
    assert "against beta[wealth, internal] = 0" in denied.text
    assert "for beta[wealth, internal] = 0" in kept.text
    assert "second to how well theories predict" in kept.text


@pytest.mark.parametrize("estimate", [0.4, 0.8, 1.5])
def test_a_density_where_hardly_a_draw_lies_is_not_told(estimate: float) -> None:
    """A kernel falls there faster than any posterior: at four errors it was 25 nats too low."""
    far = evidence_ratio(conjugate(estimate, 0.1)[0], NAME)
    assert np.isnan(far.summary["log_ratio"]).all()
    assert "is not known from these draws" in far.text


def test_a_wider_prior_alone_speaks_for_zero() -> None:
    found = evidence_ratio(conjugate(0.15, 0.1)[0], NAME).summary.set_index("prior_scale")
    assert found.loc[0.5, "log_ratio"] < found.loc[1.0, "log_ratio"] < found.loc[2.0, "log_ratio"]


@pytest.mark.parametrize(
    ("parameter", "keys", "says"),
    [
        ("beta[welth, internal]", {}, "did you mean 'beta"),
        ("sigma_origin[internal, asc]", {}, "there is no coefficient"),
        (NAME, {"value": float("nan")}, "must be a number"),
    ],
)
def test_what_cannot_be_asked(parameter: str, keys: dict[str, Any], says: str) -> None:
    posterior, _ = conjugate(0.1, 0.1, draws=250)
    with pytest.raises(QuestionError, match=says):
        evidence_ratio(posterior, parameter, **keys)


def test_other_priors_and_unconverged_draws_are_refused() -> None:
    of = {"priors": {"persons": {"dist": "student_t", "scale": 1.0, "df": 4}}}
    design = small_design("wealth", groups=[], **of)
    with pytest.raises(QuestionError, match="is not normal"):
        evidence_ratio(fabricated(design), NAME)
    design = small_design("wealth", groups=[])
    with pytest.raises(ConvergenceError):
        evidence_ratio(fabricated(design, r_hat=1.2), NAME)
    found = evidence_ratio(fabricated(design, r_hat=1.2), NAME, allow_unconverged=True)
    assert isinstance(found, EvidenceRatio)
