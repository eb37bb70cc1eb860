import numpy as np
import pytest

from bayesmig.checks.clustering import COLUMNS, Cluster, clustering, clusters, gap_statistics, gaps
from bayesmig.checks.replicate import cells_of, replicate, thinned
from bayesmig.checks.result import CheckResult
from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import utilities
from bayesmig.inference.stream import mean_probabilities
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey
from tests.checks.worlds import laplace
from tests.fabricate import TRUTH, fabricated, small_design, small_frame, small_survey, survey_of

EVERYTHING = " + ".join(name for name in TRUTH if name != "asc")


def asked(posterior: Posterior, draws: int = 200) -> CheckResult:
    some = thinned(posterior.coefficients(), draws)
    groups = clusters(posterior.design, mean_probabilities(posterior.design.columns, some))
    statistics = gap_statistics(groups)
    replicated = replicate(posterior.design.columns, some, statistics, seed=1)
    found = gaps(posterior.design, groups, replicated) if groups else None
    return clustering(posterior, groups, found)


def fitted(survey: Survey, **keys: object) -> Posterior:
    return laplace(small_design(EVERYTHING, survey=survey, **keys), survey=survey)


def test_origins_that_the_theory_leaves_out_are_flagged() -> None:
    result = asked(fitted(small_survey(2400, seed=1, origins=80), groups=[]))
    assert result.passed is False
    failed = result.table[result.table["p_adjusted"] <= 0.05]
    assert "origin" in set(failed["by"])
    assert "Something shared by" in result.text
    assert tuple(result.table.columns) == COLUMNS
    assert result.table.attrs["table"] == "clustering"


def test_households_that_the_theory_leaves_out_are_flagged() -> None:
    frame = small_frame(1200, seed=1)
    # Members of a household of three do what its first one does, half of the time.
    first = frame.groupby("household")["choice"].transform("first")
    follow = np.random.default_rng(0).random(len(frame)) < 0.5
    frame["choice"] = frame["choice"].where(~follow, first)
    result = asked(fitted(survey_of(frame)))
    assert result.passed is False
    assert "household" in result.text
    failed = result.table[result.table["p_adjusted"] <= 0.05]
    assert set(failed["by"]) == {"household"}


def test_effects_of_origins_take_care_of_them() -> None:
    assert asked(fitted(small_survey(2400, seed=1, origins=80))).passed is True


def test_gaps_are_judged_upwards() -> None:
    """Small p-values are those of large gaps; effects fitted to origins leave small ones."""
    clustered = small_survey(2400, seed=1, origins=80)
    for groups, largest in (([], True), ([{"by": "origin"}], False)):
        result = asked(fitted(clustered, groups=groups))
        origin = result.table[result.table["by"] == "origin"].set_index("alternative")
        row = origin.loc["international"]
        assert (row["observed"] > row["upper"]) is np.bool_(largest)
        assert row["p_value"] < 0.01 if largest else row["p_value"] > 0.9
        assert (origin["fitted"] != largest).all()
        assert ("fitted to these shares" in result.text) is not largest


def test_worlds_without_origins_pass_without_their_effects() -> None:
    """Origins do not differ, and the theory has no effects of them: no alarm."""
    verdicts = []
    for seed in range(20):
        frame = small_frame(600, seed=seed, origins=40)
        shuffled = np.random.default_rng(seed).permutation(frame["origin"])
        survey = survey_of(frame.assign(origin=shuffled, region="all"))
        verdicts.append(asked(fitted(survey, groups=[])).passed)
    assert verdicts.count(False) <= 2
    assert None not in verdicts


def test_gap_equals_loops() -> None:
    rng = np.random.default_rng(0)
    codes, choices = rng.integers(5, size=60), rng.integers(3, size=(60, 4)).astype(np.int8)
    expected = rng.dirichlet(np.ones(3), 60)
    cells = cells_of(codes, 5)
    found = Cluster("origin", cells, cells.averages(expected)).gap(choices)
    for d in range(4):
        for j in range(3):
            square = 0.0
            for i in range(60):
                mine = codes == codes[i]
                gap = np.mean(choices[mine, d] == j) - np.mean(expected[mine, j])
                square += gap**2 / 60
            assert found[d, j] == pytest.approx(square**0.5)


def test_expected_shares_are_those_of_the_mean_probabilities() -> None:
    posterior = fitted(small_survey(200))
    coefficients = posterior.coefficients()
    origin = clusters(posterior.design, mean_probabilities(posterior.design.columns, coefficients))[
        0
    ]
    log_p = log_probabilities(np, utilities(np, posterior.design.columns, coefficients))
    mine = posterior.design.frame["origin"].to_numpy() == posterior.design.frame["origin"][0]
    wanted = np.exp(log_p)[:, mine].mean(axis=(0, 1))
    assert origin.expected[origin.groups.codes[0]] == pytest.approx(wanted)


def test_only_roles_with_several_rows_are_looked_at() -> None:
    posterior = fabricated(small_design("female"))
    design = posterior.design
    groups = clusters(design, mean_probabilities(design.columns, posterior.coefficients()))
    assert [g.by for g in groups] == ["origin", "region", "household"]


def test_too_few_choosers_are_not_asked() -> None:
    """Eight rows in two origins: whatever they chose, nothing is told of their likeness."""
    survey = survey_of(small_frame(8, seed=1, origins=2).drop(columns=["region", "weight"]))
    found = asked(laplace(small_design("1", survey=survey, groups=[]), survey=survey))
    assert found.passed is None
    assert found.text.startswith("Not asked: no alternative has")


def test_survey_without_groups_is_not_asked() -> None:
    frame = small_frame(200).drop(columns=["origin", "region", "household", "person"])
    result = asked(fitted(survey_of(frame), groups=[]))  # type: ignore[arg-type]
    assert result.passed is None
    assert "declares no origins" in result.text
