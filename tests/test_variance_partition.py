"""What each level explains: against loops, and against a world of known shares."""

from __future__ import annotations

import math

import numpy as np
import pytest

import bayesmig
from bayesmig.errors import QuestionError
from bayesmig.sensitivity import WEAK
from tests.fabricate import (
    ALTERNATIVES,
    fabricated,
    small_design,
    small_frame,
    small_survey,
    survey_of,
    theory,
)

TWO = [{"by": "origin", "terms": "1 + wealth"}, {"by": "household", "correlated": False}]


def test_it_is_what_loops_give() -> None:
    survey = small_survey()
    design = small_design("female + wealth", survey=survey, groups=TWO)
    posterior = fabricated(design, survey=survey, draws=20, chains=2)
    found = bayesmig.levels(posterior, allow_unconverged=True)
    draws = posterior.draws.transpose("chain", "draw", ...)
    z = design.columns.groups["origin"][1]
    shares, correlations = [], []
    for chain in range(2):
        for draw in range(20):
            sigma = draws["sigma_origin"].to_numpy()[chain, draw].ravel()
            corr = draws["corr_origin"].to_numpy()[chain, draw]
            of_household = draws["sigma_household"].to_numpy()[chain, draw][:, 0] ** 2
            covariance = np.zeros((2, 2))
            for row in z:
                for j in range(2):
                    for k in range(2):
                        for t in range(2):
                            for u in range(2):
                                a, b = 2 * j + t, 2 * k + u
                                covariance[j, k] += (
                                    row[t] * row[u] * sigma[a] * sigma[b] * corr[a, b] / len(z)
                                )
            total = np.diag(covariance) + of_household + math.pi**2 / 3
            shares.append([*(np.diag(covariance) / total), *(of_household / total)])
            correlations.append(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]))
    got = found.draws.to_numpy().reshape(40, -1)
    of = found.summary
    assert list(of["level"]) == ["origin"] * 3 + ["household"] * 2
    assert list(of["quantity"]) == ["vpc", "vpc", "correlation", "vpc", "vpc"]
    np.testing.assert_allclose(got[:, [0, 1, 3, 4]], shares, rtol=1e-12)
    np.testing.assert_allclose(got[:, 2], correlations, rtol=1e-12)
    assert list(of["rows"]) == [12, 12, 12, 134, 134]


def test_levels_may_differ_in_sign() -> None:
    survey = small_survey()
    groups = [{"by": "origin"}, {"by": "household"}]
    design = small_design("female", survey=survey, groups=groups)
    signs = {"corr_origin": [[1.0, 0.8], [0.8, 1.0]], "corr_household": [[1.0, -0.8], [-0.8, 1.0]]}
    posterior = fabricated(design, survey=survey, centre=signs)
    summary = bayesmig.levels(posterior).summary.query("quantity == 'correlation'")
    assert list(summary["alternative"]) == ["internal, international"] * 2
    assert list(summary["probability_above"].round()) == [1.0, 0.0]


def test_a_level_without_variance_is_not_called_one_that_explains() -> None:
    frame = small_frame(1500)
    frame["choice"] = np.random.default_rng(5).choice(ALTERNATIVES, len(frame), p=[0.5, 0.3, 0.2])
    spec = theory("female", groups=[{"by": "origin"}])
    found = bayesmig.levels(bayesmig.fit(spec, survey_of(frame), seed=1)).summary
    shares = found[found["quantity"] == "vpc"]
    assert (shares["estimate"] > 0).all()
    assert (shares["probability_above"] < 0.5).all()
    between = found[found["quantity"] == "correlation"]
    assert list(between["identification"]) == [WEAK]


def test_a_level_with_variance_is_told() -> None:
    found = bayesmig.levels(fabricated(small_design("female"), survey=small_survey())).summary
    assert (found.query("quantity == 'vpc'")["probability_above"] > 0.9).all()


def test_cells_without_variance_leave_the_sum() -> None:
    """An intersection whose scale is zero is the theory without it, for new cells too."""
    survey = small_survey()
    cells = {"by": "female:urban", "correlated": False}
    alone = small_design("female + wealth", survey=survey, groups=[])
    crossed = small_design("female + wealth", survey=survey, groups=[cells])
    one = fabricated(alone, survey=survey, draws=110)
    beta = {"beta": one.draws["beta"].mean(("chain", "draw")).to_numpy()}
    none = {"sigma_female:urban": np.zeros((2, 1))}
    plain = fabricated(alone, survey=survey, draws=110, spread=0, centre=beta)
    with_cells = fabricated(crossed, survey=survey, draws=110, spread=0, centre=beta | none)
    assert (with_cells.draws["sigma_female:urban"] == 0).all()
    expected = bayesmig.predictions(plain, by="female", allow_unconverged=True).draws
    for groups in ("observed", "new"):
        got = bayesmig.predictions(with_cells, by="female", groups=groups, allow_unconverged=True)
        np.testing.assert_allclose(got.draws, expected, rtol=1e-12)
    shares = bayesmig.levels(with_cells, allow_unconverged=True).summary.query("quantity == 'vpc'")
    assert (shares["estimate"] == 0).all()
    assert (shares["probability_above"] == 0).all()


@pytest.mark.parametrize("inside", [["stay", "internal"], ["internal", "international"]])
def test_what_is_left_is_less_in_a_nest_with_the_base(inside: list[str]) -> None:
    survey = small_survey()
    nests = [{"name": "near", "alternatives": inside}]
    groups = [{"by": "origin", "correlated": False}]
    design = small_design("female", survey=survey, groups=groups, nests=nests)
    posterior = fabricated(design, survey=survey, draws=110)
    of = posterior.draws.transpose("chain", "draw", ...)
    lambdas = of["lambda_nest"].to_numpy()[..., 0].ravel()
    variances = of["sigma_origin"].to_numpy().reshape(len(lambdas), 2) ** 2
    rest = np.full(variances.shape, math.pi**2 / 3)
    if "stay" in inside:
        rest[:, 0] *= lambdas**2
    got = bayesmig.levels(posterior).draws.to_numpy().reshape(len(lambdas), 2)
    np.testing.assert_allclose(got, variances / (variances + rest), rtol=1e-12)


def test_without_groups_there_are_no_levels() -> None:
    survey = small_survey()
    smooth = [{"column": "wealth", "bends": 4}]
    design = small_design("wealth", survey=survey, groups=[], smooths=smooth)
    with pytest.raises(QuestionError, match="has no group effects"):
        bayesmig.levels(fabricated(design, survey=survey))
