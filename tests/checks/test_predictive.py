import numpy as np
import pandas as pd
import pytest

from bayesmig.checks.predictive import (
    COLUMNS,
    breakdowns,
    predictive_shares,
    reproduced,
    shares_statistics,
)
from bayesmig.checks.replicate import replicate, thinned
from bayesmig.checks.result import CheckResult
from bayesmig.errors import QuestionError
from bayesmig.inference.stream import mean_probabilities
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey
from tests.checks.worlds import laplace
from tests.fabricate import TRUTH, small_design, small_frame, small_survey, survey_of

EVERYTHING = " + ".join(name for name in TRUTH if name != "asc")


def asked(posterior: Posterior, by: list[str] | None = None, draws: int = 200) -> CheckResult:
    parts = breakdowns(posterior, by)
    statistics = shares_statistics(parts, posterior.design)
    some = thinned(posterior.coefficients(), draws)
    replicated = replicate(posterior.design.columns, some, statistics, seed=1)
    expected = mean_probabilities(posterior.design.columns, some)
    found = reproduced(posterior.design, parts, replicated, expected)
    return predictive_shares(posterior, parts, found)


def fitted(persons: str, survey: Survey, **keys: object) -> Posterior:
    return laplace(small_design(persons, survey=survey, **keys), survey=survey)


@pytest.fixture(scope="module")
def survey() -> Survey:
    return small_survey(900, seed=5)


@pytest.fixture(scope="module")
def complete(survey: Survey) -> CheckResult:
    return asked(fitted(EVERYTHING, survey))


def test_true_theory_passes(complete: CheckResult) -> None:
    assert complete.passed is True
    assert "200 replicated surveys reproduce" in complete.text
    assert "weighted by weight" in complete.text


def test_omitted_column_is_flagged_and_named(survey: Survey) -> None:
    persons = EVERYTHING.replace(" + wealth", "").replace(" + network_international", "")
    result = asked(fitted(persons, survey, groups=[]))
    assert result.passed is False
    failed = result.table[result.table["p_adjusted"] <= 0.05]
    assert {"wealth", "network_international"} & set(failed["by"])
    assert "Not in the theory: " in result.text
    assert "observed" in result.text
    # The theory's own columns are reproduced: their score equations see to it.
    assert not {"female", "education", "prior_internal"} & set(failed["by"])


# ------------------------------------------------- one thing left out, and nothing left out


def without(*names: str) -> str:
    return " + ".join(n for n in EVERYTHING.split(" + ") if n not in names)


def rising(frame: pd.DataFrame, over: pd.Series, seed: int, top: float = 0.2) -> pd.DataFrame:
    """International moves rise from 5 % to ``top`` over the quintiles of a column."""
    quintile = np.ceil(5 * over.rank(pct=True)) - 1
    international = 0.05 + (top - 0.05) * quintile / 4
    u = np.random.default_rng(seed).random(len(frame))
    internal = u < international + 0.25
    choice = np.where(u < international, "international", np.where(internal, "internal", "stay"))
    return frame.assign(choice=choice)


def flagged(persons: str, frames: list[pd.DataFrame], column: str, **keys: object) -> int:
    """In how many worlds the check fails and names the column."""
    found = 0
    for frame in frames:
        result = asked(fitted(persons, survey_of(frame), **keys))
        failed = result.table[result.table["p_adjusted"] <= 0.05]
        found += result.passed is False and column in set(failed["by"])
    return found


@pytest.mark.parametrize(("correlation", "top"), [(0.0, 0.2), (0.6, 0.25)])
def test_omitted_wealth_is_flagged(correlation: float, top: float) -> None:
    """Also where education, which the theory knows, explains a third of it."""
    frames = []
    for seed in range(5):
        frame = small_frame(1000, seed=seed, origins=40)
        noise = np.random.default_rng(seed + 99).normal(size=1000)
        standard = frame["education"] / frame["education"].std()
        frame["wealth"] = correlation * standard + np.sqrt(1 - correlation**2) * noise
        frames.append(rising(frame, frame["wealth"], seed, top))
    assert flagged(without("wealth"), frames, "wealth") >= 4


def test_omitted_networks_are_flagged() -> None:
    frames = [small_frame(1000, seed=seed, origins=40) for seed in range(5)]
    persons = without("network_international")
    assert flagged(persons, frames, "network_international") >= 4


def test_origins_of_other_sizes_that_differ_are_flagged() -> None:
    """Large places send more, and the theory knows neither places nor sizes."""
    frames = []
    for seed in range(5):
        frame = small_frame(1000, seed=seed)
        rng = np.random.default_rng(seed)
        places = rng.choice(30, 1000, p=np.arange(1, 31) / np.arange(1, 31).sum())
        frame["origin"] = [f"o{g:02d}" for g in places]
        size = frame.groupby("origin")["origin"].transform("size")
        frames.append(rising(frame, size, seed, top=0.25))
    assert flagged(EVERYTHING, frames, "origin size", groups=[]) >= 4


def test_true_worlds_are_seldom_flagged() -> None:
    """At 5 % each, five in forty come by chance in five of a hundred runs."""
    alarms = 0
    for seed in range(20):
        survey = survey_of(small_frame(500, seed=seed, origins=40))
        alarms += not asked(fitted(EVERYTHING, survey)).passed
        flat = small_frame(500, seed=seed).assign(nothing=0.0)
        alike = survey_of(rising(flat, flat["wealth"], seed, top=0.05))
        alarms += not asked(fitted("female", alike, groups=[])).passed
    assert alarms <= 4


def test_a_trend_is_told_from_end_to_end() -> None:
    frame = small_frame(1000, seed=3, origins=40)
    result = asked(fitted(without("wealth"), survey_of(rising(frame, frame["wealth"], 3))))
    table = result.table[result.table["by"] == "wealth"]
    international = table[table["alternative"] == "international"]
    assert (international["p_trend"] <= 0.05).all()
    assert len(set(international["p_trend"])) == 1
    ends = international["level"].iloc[[0, -1]].to_list()
    assert f"international from wealth {ends[0]} to {ends[1]}: observed " in result.text
    assert "Not in the theory: wealth." in result.text


def test_trends_are_covariances_with_the_mean_rank(survey: Survey) -> None:
    """By loops over rows, weights and missing values included."""
    frame = small_frame(200)
    frame.loc[:19, "age"] = np.nan
    ages = survey_of(frame, missing={"rule": "drop", "columns": ["choice"]})
    posterior = fitted("female", ages)
    for part in breakdowns(posterior, ["age", "region", "female"]):
        chosen = posterior.design.choice[:, None].astype(np.int8)
        trend = part.trend @ part.cells.shares(chosen, 3)[0]
        if part.by in ("all", "region"):
            assert not part.trend.any()
            continue
        weight, cell = posterior.design.weights, part.cells.codes
        placed = [i for i in range(200) if part.levels[cell[i]] != "missing"]
        total = sum(weight[i] for i in placed)
        below = {i: sum(weight[k] for k in placed if cell[k] < cell[i]) for i in placed}
        tied = {i: sum(weight[k] for k in placed if cell[k] == cell[i]) for i in placed}
        rank = {i: (below[i] + tied[i] / 2) / total for i in placed}
        middle = sum(weight[i] * rank[i] for i in placed) / total
        for j in range(3):
            by_hand = sum(
                weight[i] / total * (rank[i] - middle) * (posterior.design.choice[i] == j)
                for i in placed
            )
            assert trend[j] == pytest.approx(by_hand, abs=1e-12)


def test_what_has_no_order_has_no_trend(complete: CheckResult) -> None:
    table = complete.table.set_index("by")
    assert table.loc[["all", "region"], "p_trend"].isna().all()
    assert table.loc["age", "p_trend"].notna().all()


def test_the_fit_sees_to_trends_of_its_own_columns() -> None:
    """Hardly anything of them is left: they are not judged, or far from failing."""
    survey = survey_of(small_frame(900, seed=5).drop(columns="weight"))
    table = asked(fitted(EVERYTHING, survey)).table.set_index("by")
    own = table.loc[["wealth", "education", "female"], "p_trend"]
    assert own.isna().mean() > 0.5
    assert (own.dropna() > 0.5).all()
    assert table.loc["age", "p_trend"].notna().all()


def test_omitted_square_of_a_column_of_the_theory_is_flagged() -> None:
    frame = small_frame(1500, seed=2)
    pull = np.where(np.abs(frame["wealth"]) > 1.3, 2.5, -0.5)
    utility = np.column_stack([np.zeros(1500), pull, pull - 0.5])
    utility += np.random.default_rng(0).gumbel(size=utility.shape)
    frame["choice"] = np.array(["stay", "internal", "international"])[utility.argmax(axis=1)]
    result = asked(fitted("wealth", survey_of(frame)), ["wealth"])
    assert result.passed is False
    assert "where wealth is" in result.text


def test_table_holds_the_contract(complete: CheckResult, survey: Survey) -> None:
    table = complete.table
    assert tuple(table.columns) == COLUMNS
    assert table.attrs["table"] == "predictive_shares"
    assert ((table["lower"] <= table["predicted"]) & (table["predicted"] <= table["upper"])).all()
    sums = table.groupby(["by", "level"])[["observed", "predicted"]].sum()
    assert sums.to_numpy() == pytest.approx(1.0)
    whole = table[table["by"] == "all"]
    assert list(whole["rows"]) == [900] * 3
    assert table["p_value"].between(0, 1).all()


def test_observed_shares_are_weighted_by_hand(survey: Survey, complete: CheckResult) -> None:
    frame, table = survey.frame, complete.table
    for region in ("r0", "r1", "r2"):
        here = frame[frame["region"] == region]
        for alternative in ("stay", "international"):
            mine = here["weight"][here["choice"] == alternative].sum() / here["weight"].sum()
            row = table[
                (table["by"] == "region")
                & (table["level"] == region)
                & (table["alternative"] == alternative)
            ]
            assert row["observed"].item() == pytest.approx(mine)
            assert row["rows"].item() == len(here)


def test_weights_that_the_theory_ignores_are_not_used(survey: Survey) -> None:
    result = asked(fitted("female", survey, weights="ignore"), ["female"])
    whole = result.table[result.table["by"] == "all"].set_index("alternative")
    plain = survey.frame["choice"].value_counts(normalize=True)
    assert whole.loc["internal", "observed"] == pytest.approx(plain["internal"])
    assert "ignored" in result.text


def test_default_columns(survey: Survey) -> None:
    posterior = fitted("wealth + female", survey)
    names = [part.by for part in breakdowns(posterior, None)]
    assert names[:3] == ["all", "wealth", "female"]
    assert {"region", "education", "age"} <= set(names)
    assert not {"person", "household", "origin", "weight", "choice"} & set(names)
    assert names[-1] == "origin size"


def test_columns_that_tell_nothing_or_everything_are_left_out() -> None:
    frame = small_frame(400)
    frame["destination"] = frame["choice"].map(
        {"stay": "none", "internal": "capital", "international": "abroad"}
    )
    frame["constant"] = 1
    frame["name"] = [f"n{i}" for i in range(400)]
    survey = survey_of(frame)
    names = {part.by for part in breakdowns(fitted("female", survey), None)}
    assert not {"destination", "constant", "name"} & names


def test_default_columns_are_bounded() -> None:
    frame = small_frame(200)
    extra = np.random.default_rng(0).normal(size=(200, 40))
    frame = pd.concat([frame, pd.DataFrame(extra).add_prefix("x")], axis=1)
    survey = survey_of(frame)
    names = [part.by for part in breakdowns(fitted("female", survey), None)]
    assert len(names) == 1 + 30 + 1
    assert names[1] == "female"


def test_missing_values_are_a_level() -> None:
    frame = small_frame(200)
    frame.loc[:49, "age"] = np.nan
    survey = survey_of(frame, missing={"rule": "drop", "columns": ["choice"]})
    parts = breakdowns(fitted("female", survey), ["age"])
    assert parts[1].levels[-1] == "missing"
    assert parts[1].cells.rows[-1] == 50


def test_named_columns_and_no_others(survey: Survey) -> None:
    parts = breakdowns(fitted("female", survey), ["region", "wealth", "region", "origin"])
    assert [p.by for p in parts] == ["all", "region", "wealth", "origin", "origin size"]
    assert len(parts[2].levels) == 5
    assert len(parts[3].levels) == 12


def test_column_with_the_name_of_a_result_can_be_asked_for() -> None:
    frame = small_frame(200).assign(rows=np.arange(200) % 2)
    parts = breakdowns(fitted("female", survey_of(frame)), ["rows"])
    assert parts[1].levels == ("0", "1")


def test_unknown_column_is_refused_with_the_nearest(survey: Survey) -> None:
    with pytest.raises(QuestionError, match=r"'welth'.*did you mean 'wealth'"):
        breakdowns(fitted("female", survey), ["welth"])


def test_too_many_levels_are_refused(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesmig.checks.predictive._LEVELS_BOUND", 100)
    with pytest.raises(QuestionError, match="900 levels"):
        breakdowns(fitted("female", survey), ["person"])


def test_thin_cells_are_shown_and_not_tested(survey: Survey) -> None:
    table = asked(fitted("female", survey), ["household"]).table
    thin = table[table["by"] == "household"]
    assert thin["p_adjusted"].isna().all()
    assert table.loc[table["by"] == "all", "p_adjusted"].notna().all()
    assert thin["p_value"].notna().all()


def test_origin_size_counts_rows_of_the_origin(survey: Survey) -> None:
    parts = breakdowns(fitted("female", survey), ["female"])
    size = next(p for p in parts if p.by == "origin size")
    counts = survey.frame["origin"].value_counts()
    assert size.cells.rows.sum() == survey.n_obs
    low = float(size.levels[0].split(" to ")[0])
    assert low == counts.min()
