import dataclasses

import numpy as np
import pandas as pd
import pytest

from bayesmig.checks.result import (
    ALARM,
    CheckResult,
    Judgement,
    adjust,
    freed_scores,
    group_scores,
    judge,
    judge_upwards,
    percent,
)


def test_judge_equals_counting_by_hand() -> None:
    rng = np.random.default_rng(1)
    replicated, observed = rng.poisson(4.0, (60, 5)).astype(float), np.array([4.0, 0, 9, 4, 5])
    tested = np.array([True, True, True, False, True])
    found = judge(observed, replicated, tested)
    centre, spread = replicated.mean(axis=0), replicated.std(axis=0, ddof=1)
    for v in range(5):
        above = sum(r >= observed[v] for r in replicated[:, v])
        below = sum(r <= observed[v] for r in replicated[:, v])
        assert found.p_value[v] == min(1.0, 2 * (1 + min(above, below)) / 61)
        if not tested[v]:
            assert np.isnan(found.adjusted[v])
            continue
        z = abs(observed[v] - centre[v]) / spread[v]
        reach = 0
        for row in replicated:
            reach += max(abs(row[k] - centre[k]) / spread[k] for k in (0, 1, 2, 4)) >= z
        assert found.adjusted[v] == pytest.approx((1 + reach) / 61)


def test_judge_alarms_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        # 30 dependent values, as cells of overlapping columns are.
        values = rng.normal(size=(301, 30)) + rng.normal(size=(301, 1))
        alarms += judge(values[0], values[1:], np.full(30, True)).failed.any()
    assert 0.02 <= alarms / 400 <= 0.085
    assert ALARM == 0.05


def test_judge_sees_one_value_far_off() -> None:
    rng = np.random.default_rng(0)
    observed = np.zeros(50)
    observed[7] = 6.0
    found = judge(observed, rng.normal(size=(300, 50)), np.full(50, True))
    assert list(np.flatnonzero(found.failed)) == [7]
    assert found.smallest == 1 / 301


def test_groups_are_judged_by_all_their_values() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], [3, 12, 5])
    observed = rng.normal(size=20)
    # No value of the second group is remarkable; all of them together are.
    observed[groups == 1] = np.resize([2.2, -2.2], 12)
    replicated = rng.normal(size=(400, 20))
    tested = np.full(20, True)
    assert not judge(observed, replicated, tested).failed.any()
    (found,) = adjust(group_scores(observed, replicated, tested, groups))
    assert list(np.flatnonzero(found <= ALARM)) == [1]
    assert found.shape == (3,)
    (found,) = adjust(group_scores(observed, replicated, groups != 2, groups))
    assert np.isnan(found[2])


def test_groups_alarm_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), [1, 2, 3, 5, 9, 20])
    alarms = 0
    for _ in range(400):
        values = rng.normal(size=(301, 40)) + 0.7 * rng.normal(size=(301, 1))
        (found,) = adjust(group_scores(values[0], values[1:], np.full(40, True), groups))
        alarms += (found <= ALARM).any()
    assert 0.02 <= alarms / 400 <= 0.085


def normal_world(
    rng: np.random.Generator, looked_at: np.ndarray, wrong: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A regression fitted to 60 normal values: statistics of it, of replicates, and spread.

    ``looked_at`` ``(60, statistic)`` are the weights of the statistics.
    """
    x = np.column_stack([np.ones(60), np.linspace(-1, 1, 60)])
    y = x @ [0.3, 1.0] + rng.normal(size=60) + (0.0 if wrong is None else wrong)
    covariance = np.linalg.inv(x.T @ x)
    mean = covariance @ x.T @ y
    beta = rng.multivariate_normal(mean, covariance, 600)
    replicated = beta @ x.T + rng.normal(size=(600, 60))
    return y @ looked_at, replicated @ looked_at, np.sqrt(np.square(looked_at).sum(axis=0))


def test_freed_values_alarm_as_often_as_they_say() -> None:
    """A statistic that the fit explains by half, freed of that, is neither shy nor loud."""
    rng = np.random.default_rng(0)
    t = np.linspace(-1, 1, 60)
    looked_at = np.column_stack([t + 0.58 * np.sign(np.sin(9 * t)), np.sin(3 * t), t**2 - 0.33])
    alone, freed = 0, 0
    for _ in range(500):
        observed, replicated, spread = normal_world(rng, looked_at)
        tested = np.full(3, True)
        (found,) = adjust(freed_scores(observed, replicated, tested, spread))
        freed += (found <= ALARM).any()
        alone += judge(observed, replicated, tested).failed.any()
    assert alone / 500 <= 0.02
    assert 0.025 <= freed / 500 <= 0.08


def test_what_the_fit_sees_to_is_not_tested() -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(-1, 1, 60)
    looked_at = np.column_stack([np.ones(60), t, np.cos(3 * t)])
    wrong = 1.5 * np.cos(3 * t)
    observed, replicated, spread = normal_world(rng, looked_at, wrong)
    (found,) = adjust(freed_scores(observed, replicated, np.full(3, True), spread))
    assert np.isnan(found[:2]).all()
    assert found[2] <= ALARM


def test_families_are_adjusted_for_each_other() -> None:
    """By hand: the largest score of a replicate in any family."""
    rng = np.random.default_rng(2)
    drawn, observed = rng.normal(size=(80, 6)), rng.normal(size=6) + 1.5
    tested, groups = np.array([1, 1, 1, 1, 0, 1], dtype=bool), np.array([0, 0, 1, 1, 1, 1])
    families = (
        group_scores(observed, drawn, tested, groups),
        freed_scores(observed, drawn, tested, np.full(6, 5.0)),
    )
    found = np.concatenate(adjust(*families))
    scores = np.concatenate([f.observed for f in families])
    drawn_scores = np.hstack([f.replicated for f in families])
    counted = np.concatenate([f.tested for f in families])
    assert list(counted) == [True, True, *tested]
    for i, score in enumerate(scores):
        if not counted[i]:
            assert np.isnan(found[i])
            continue
        reach = sum(max(row[counted]) >= score for row in drawn_scores)
        assert found[i] == (1 + reach) / 81


def test_upwards_only_large_values_count() -> None:
    rng = np.random.default_rng(0)
    replicated, tested = rng.normal(size=(300, 3)), np.full(3, True)
    assert list(judge_upwards(np.array([-9.0, 0, 5]), replicated, tested).failed) == [0, 0, 1]
    alarms = 0
    for _ in range(400):
        values = rng.normal(size=(201, 9))
        alarms += judge_upwards(values[0], values[1:], np.full(9, True)).failed.any()
    assert 0.02 <= alarms / 400 <= 0.085


def test_values_without_spread_or_number_are_not_tested() -> None:
    found = judge(np.array([1.0, np.nan]), np.array([[0.0, np.nan]] * 9), np.array([True, True]))
    assert np.isnan(found.adjusted).all()
    assert not found.failed.any()
    assert found.smallest == 1.0
    assert np.isnan(found.p_value[1])


def test_nothing_tested_is_neither_passed_nor_failed() -> None:
    nan = np.full(2, np.nan)
    assert Judgement(nan, nan).passed is None
    assert Judgement(nan, np.array([np.nan, 0.2])).passed is True
    assert Judgement(nan, np.array([0.01, np.nan])).passed is False


def test_result_is_frozen() -> None:
    result = CheckResult("x", True, pd.DataFrame(), "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.passed = False  # type: ignore[misc]


@pytest.mark.parametrize(("share", "text"), [(0.123, "12.3 %"), (0.0123, "1.23 %"), (1, "100.0 %")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
