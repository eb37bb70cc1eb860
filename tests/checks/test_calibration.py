from dataclasses import replace

import numpy as np
import pytest

from bayesmig.checks.calibration import COLUMNS, calibration, loo_probabilities
from bayesmig.checks.replicate import take_draws, thinned
from bayesmig.checks.result import CheckResult
from bayesmig.choice.utility import Coefficients
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey
from tests.checks.worlds import laplace
from tests.fabricate import TRUTH, small_design, small_frame, small_survey, survey_of

EVERYTHING = " + ".join(name for name in TRUTH if name != "asc")


def fitted(survey: Survey, persons: str = EVERYTHING, **keys: object) -> Posterior:
    return laplace(small_design(persons, survey=survey, **keys), survey=survey)


def asked(posterior: Posterior, draws: int = 200, **changes: object) -> CheckResult:
    some = replace(thinned(posterior.coefficients(), draws), **changes)  # type: ignore[arg-type]
    return calibration(posterior, some, replicates=draws, seed=1)


def test_true_theory_passes() -> None:
    result = asked(fitted(small_survey(1000, seed=1)))
    assert result.passed is True
    assert tuple(result.table.columns) == COLUMNS
    assert result.table.attrs["table"] == "calibration"
    rows = result.table.groupby("alternative")["rows"].sum()
    assert (rows == 1000).all()
    assert result.table["passed"].all()


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_timid_and_bold_predictions_are_flagged(factor: float) -> None:
    posterior = fitted(small_survey(1500, seed=1), groups=[])
    beta = posterior.coefficients().persons.copy()
    # Slopes are shrunk or stretched around the average person.
    mean = posterior.design.columns.persons[:, 1:].mean(axis=0)
    beta[:, 0] += np.einsum("k,dkj->dj", mean, beta[:, 1:]) * (1 - factor)
    beta[:, 1:] *= factor
    result = asked(posterior, persons=thinned(Coefficients(persons=beta), 200).persons)
    assert result.passed is False
    assert "predicted" in result.text
    assert "observed" in result.text
    assert False in list(result.table["passed"])


def test_omitted_threshold_is_flagged() -> None:
    frame = small_frame(1500, seed=2)
    pull = np.where(frame["wealth"] > 1.0, 3.0, -0.5)
    utility = np.column_stack([np.zeros(1500), pull, pull - 0.7])
    utility += np.random.default_rng(0).gumbel(size=utility.shape)
    frame["choice"] = np.array(["stay", "internal", "international"])[utility.argmax(axis=1)]
    assert asked(fitted(survey_of(frame), "wealth")).passed is False


def test_bins_of_a_rare_alternative_are_merged() -> None:
    frame = small_frame(800, seed=1)
    rare = np.random.default_rng(0).random(800) < 0.9
    frame["choice"] = frame["choice"].where(~(rare & (frame["choice"] == "international")), "stay")
    table = asked(fitted(survey_of(frame))).table
    counts = table.groupby("alternative").size()
    assert counts["international"] == 1
    assert counts["stay"] == 10
    alone = table[table["alternative"] == "international"]
    assert alone["passed"].item() is None
    expected = table["predicted"] * table["rows"]
    assert (expected[table["alternative"] != "international"] > 10 - 1e-9).all()


def test_too_few_rows_are_not_judged() -> None:
    result = asked(fitted(small_survey(24, seed=0, origins=3), "female", groups=[]))
    assert result.passed is None
    assert "Too few rows" in result.text


def test_left_out_probabilities_equal_the_known_ones() -> None:
    """With constants only and a flat prior, the predictive is a ratio of counts."""
    posterior = fitted(small_survey(60, seed=4), "1", groups=[])
    design = posterior.design
    counts = np.bincount(design.choice, minlength=3)
    p = np.random.default_rng(0).dirichlet(counts + 1.0, 50_000)
    exact = Coefficients(persons=np.log(p[:, None, 1:] / p[:, None, :1]), effects={})
    found = loo_probabilities(design.columns, exact, design.choice)
    for row in (0, 10, 20):
        others = counts - np.eye(3)[design.choice[row]]
        assert found[row] == pytest.approx((others + 1) / (59 + 3), abs=2e-3)
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_left_out_probabilities_stay_finite() -> None:
    posterior = fitted(small_survey(50), "female")
    extreme = posterior.coefficients()
    extreme.persons[:, 0] += 300.0
    found = loo_probabilities(posterior.design.columns, extreme, posterior.design.choice)
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_order_of_draws_does_not_matter() -> None:
    posterior = fitted(small_survey(80))
    coefficients = posterior.coefficients()
    order = np.random.default_rng(0).permutation(len(coefficients.persons))
    one, other = (
        loo_probabilities(posterior.design.columns, c, posterior.design.choice)
        for c in (coefficients, take_draws(coefficients, order))
    )
    np.testing.assert_allclose(one, other, rtol=1e-12)
