from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesmig.checks.calibration import (
    COLUMNS,
    bin_statistics,
    bins_of,
    calibration,
    frequencies,
)
from bayesmig.checks.replicate import replicate, thinned
from bayesmig.checks.result import CheckResult
from bayesmig.choice.utility import Coefficients
from bayesmig.inference.stream import mean_probabilities
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey
from tests.checks.worlds import laplace
from tests.fabricate import ALTERNATIVES, TRUTH, small_design, small_frame, small_survey, survey_of

EVERYTHING = " + ".join(name for name in TRUTH if name != "asc")


def fitted(survey: Survey, persons: str = EVERYTHING, **keys: object) -> Posterior:
    return laplace(small_design(persons, survey=survey, **keys), survey=survey)


def expected(posterior: Posterior, some: Coefficients) -> np.ndarray:
    return mean_probabilities(posterior.design.columns, some)


def asked(posterior: Posterior, draws: int = 200, **changes: object) -> CheckResult:
    some = replace(thinned(posterior.coefficients(), draws), **changes)  # type: ignore[arg-type]
    bins = bins_of(posterior.design, some, expected(posterior, some))
    replicated = replicate(posterior.design.columns, some, bin_statistics(bins), seed=1)
    return calibration(posterior, bins, frequencies(posterior.design, bins, replicated))


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
    assert "no alternative has two bins" in result.text


# ------------------------------------------------- many small origins, as surveys have them


def small_origins(
    seed: int, odds: Callable[[np.ndarray], np.ndarray], *, n: int = 1200, origins: int = 120
) -> Survey:
    """Ten rows per origin, whose effects have the scales that `laplace` knows."""
    rng = np.random.default_rng(seed)
    origin, wealth = np.arange(n) % origins, rng.normal(size=n)
    effects = rng.normal(0.0, (0.4, 0.6), (origins, 2))[origin]
    utility = np.column_stack([np.zeros(n), odds(wealth) + effects]) + rng.gumbel(size=(n, 3))
    choice = np.array(ALTERNATIVES)[utility.argmax(axis=1)]
    names = [f"o{g}" for g in origin]
    return survey_of(pd.DataFrame({"choice": choice, "origin": names, "wealth": wealth}))


def straight(wealth: np.ndarray) -> np.ndarray:
    return np.column_stack([-1.0 + 0.1 * wealth, -1.6 + 0.3 * wealth])


def bent(wealth: np.ndarray) -> np.ndarray:
    return np.column_stack([-1.4 + 0.5 * wealth**2, -1.6 + 0.3 * wealth])


def capped(wealth: np.ndarray) -> np.ndarray:
    """Log odds of another link: steep, and at most a third ever leave for each place."""
    p = (1 / 3) / (1 + np.exp(-4.0 * wealth))
    return np.log(np.column_stack([p, p]) / (1 - 2 * p)[:, None])


@pytest.mark.parametrize("persons", ["1", "wealth"])
def test_true_theories_with_small_origins_pass(persons: str) -> None:
    """Bins by probabilities that hold the row's own choice failed all of these."""
    verdicts = [asked(fitted(small_origins(seed, straight), persons)).passed for seed in range(20)]
    # Constants and origins give all rows of an origin one probability: nothing to bin.
    assert verdicts == [None] * 20 if persons == "1" else verdicts.count(False) <= 2


@pytest.mark.parametrize("wrong", [bent, capped])
def test_wrong_shapes_are_flagged_beside_small_origins(
    wrong: Callable[[np.ndarray], np.ndarray],
) -> None:
    assert asked(fitted(small_origins(1, wrong), "wealth")).passed is False


def test_scaled_utilities_are_flagged_beside_small_origins() -> None:
    posterior = fitted(
        small_origins(1, lambda w: np.column_stack([w - 1, 1.5 * w - 1.6])), "wealth"
    )
    persons = thinned(posterior.coefficients(), 200).persons.copy()
    persons[:, 1] *= 1.8
    assert asked(posterior, persons=persons).passed is False


def test_own_choice_hardly_moves_a_row_to_another_bin() -> None:
    """Rows that chose an alternative are not sorted by that they did."""
    survey = small_origins(3, straight)
    posterior = fitted(survey, "wealth")
    some = thinned(posterior.coefficients(), 200)
    rows = bins_of(posterior.design, some, expected(posterior, some))[1].cells.codes
    order = survey.frame["wealth"].to_numpy().argsort()
    steps = np.diff(rows[order])
    assert (steps >= 0).all() or (steps <= 0).all()
