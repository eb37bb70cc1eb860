import numpy as np
import pytest

import bayesmig as bm
from bayesmig.checks.prior_shares import GROUPS_COLUMNS, check_prior, prior_shares
from bayesmig.checks.result import CheckResult
from bayesmig.survey.survey import Survey
from tests.fabricate import fabricated, small_design, small_survey, theory

PERSONS = "female + education + wealth"


def asked(survey: Survey | None = None, seed: int = 0, **keys: object) -> CheckResult:
    posterior = fabricated(small_design(PERSONS, survey=survey, **keys))
    return prior_shares(posterior, draws=300, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_default_priors_pass(seed: int) -> None:
    result = asked(small_survey(300, seed=seed), seed=seed)
    assert result.passed is True
    assert list(result.table["alternative"]) == ["stay", "internal", "international"]
    assert (result.table["lower"] < result.table["upper"]).all()
    assert result.table.attrs["table"] == "prior_shares"


def test_default_priors_pass_for_rare_alternatives() -> None:
    posterior = fabricated(small_design("female", survey=_rare()))
    assert prior_shares(posterior, draws=300, seed=0).passed is True


def _rare() -> Survey:
    from tests.fabricate import small_frame, survey_of

    frame = small_frame(2000, seed=3)
    rng = np.random.default_rng(0)
    frame["choice"] = rng.choice(["stay", "internal", "international"], 2000, p=[0.97, 0.02, 0.01])
    return survey_of(frame)


def test_far_too_wide_priors_are_flagged() -> None:
    result = asked(priors={"persons": {"scale": 50.0}})
    assert result.passed is False
    assert result.table["passed"].all()
    assert "nearly certain of every choice" in result.text


def test_wide_prior_of_effects_is_flagged() -> None:
    result = asked(priors={"scale": {"scale": 200.0}})
    assert result.passed is False
    assert "scales are far too wide" in result.text


def test_misplaced_prior_is_flagged_with_its_numbers() -> None:
    asc = {"loc": -7.0, "scale": 0.2}
    result = asked(priors={"asc": asc, "persons": {"scale": 0.1}}, groups=[])
    assert result.passed is False
    failed = result.table[~result.table["passed"]]
    assert set(failed["alternative"]) == {"stay", "internal", "international"}
    assert "observed share of stay" in result.text


def test_tight_prior_around_the_observed_shares_passes() -> None:
    asc = [
        {"name": "asc", "alternative": a, "scale": 0.01, "loc": loc}
        for a, loc in zip(("internal", "international"), _log_odds(), strict=True)
    ]
    priors = {"coefficient": asc, "persons": {"scale": 0.01}}
    assert asked(priors=priors, groups=[]).passed is True


def _log_odds() -> np.ndarray:
    counts = np.bincount(small_design(PERSONS).choice)
    return np.log(counts[1:] / counts[0])


def test_flat_prior_is_not_asked() -> None:
    result = asked(priors={"persons": {"dist": "flat"}})
    assert result.passed is None
    assert "flat" in result.text
    assert len(result.table) == 0
    assert result.table.attrs["table"] == "prior_shares"


def test_stored_prior_is_used() -> None:
    design = small_design(PERSONS)
    posterior = fabricated(design, prior=True)
    moved = posterior.data["prior"].to_dataset()
    moved["beta"].data[..., 0, :] = -12.0
    result = prior_shares(posterior, draws=200, seed=0)
    assert result.table.set_index("alternative").loc["stay", "mean"] > 0.9


def test_observed_shares_are_weighted() -> None:
    survey = small_survey(300)
    table = asked(survey).table
    frame = survey.frame
    for row in table.itertuples():
        mine = frame["weight"][frame["choice"] == row.alternative].sum()
        assert row.observed == pytest.approx(mine / frame["weight"].sum())
    assert "weighted by weight" in table.attrs["weights"]


# ------------------------------------------------------------------- before any fit, by group


@pytest.mark.parametrize("seed", range(4))
def test_default_priors_pass_by_group(seed: int) -> None:
    whole, groups = bm.check_prior(theory(PERSONS), small_survey(600, seed=seed), seed=seed)
    assert whole.passed is True
    assert groups.passed is True, groups.text
    assert tuple(groups.table.columns) == GROUPS_COLUMNS
    assert {"wealth", "region", "age"} <= set(groups.table["by"])


def test_a_prior_that_is_sure_of_some_is_flagged_where_they_are() -> None:
    """Averages over all people hide that the schooled are certain to go."""
    survey = small_survey(600, seed=1)
    sure = {"block": "persons", "name": "education", "dist": "normal", "loc": 2.0, "scale": 0.1}
    priors = {"coefficient": [sure]}
    _, groups = check_prior(theory(PERSONS, priors=priors), survey, by=["education", "female"])
    assert groups.passed is False
    assert "where education is" in groups.text
    failed = groups.table[~groups.table["passed"]]
    assert set(failed["by"]) == {"education"}


def test_shares_of_groups_are_those_of_loops() -> None:
    survey = small_survey(600, seed=2)
    _, groups = check_prior(theory(PERSONS), survey, by="region", draws=100)
    frame = survey.frame
    for row in groups.table[groups.table["by"] == "region"].itertuples():
        some = frame[frame["region"] == row.level]
        hit = some["choice"] == row.alternative
        assert row.observed == pytest.approx((some["weight"] * hit).sum() / some["weight"].sum())
        assert row.rows == len(some)


def test_flat_priors_predict_nothing_by_group() -> None:
    flat = theory(PERSONS, priors={"persons": {"dist": "flat"}})
    assert [r.passed for r in check_prior(flat, small_survey(300))] == [None, None]


def test_too_few_prior_draws_are_refused() -> None:
    with pytest.raises(bm.errors.QuestionError, match="at least 100"):
        check_prior(theory(PERSONS), small_survey(300), draws=50)
