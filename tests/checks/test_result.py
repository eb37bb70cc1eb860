import dataclasses

import numpy as np
import pandas as pd
import pytest

from bayesmig.checks.result import ALARM, CheckResult, judge, judge_groups, judge_upwards, percent


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
    found = judge_groups(observed, replicated, tested, groups)
    assert list(np.flatnonzero(found.failed)) == [1]
    assert found.adjusted.shape == (3,)
    assert np.isnan(judge_groups(observed, replicated, groups != 2, groups).adjusted[2])


def test_groups_alarm_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), [1, 2, 3, 5, 9, 20])
    alarms = 0
    for _ in range(400):
        values = rng.normal(size=(301, 40)) + 0.7 * rng.normal(size=(301, 1))
        alarms += judge_groups(values[0], values[1:], np.full(40, True), groups).failed.any()
    assert 0.02 <= alarms / 400 <= 0.085


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


def test_result_is_frozen() -> None:
    result = CheckResult("x", True, pd.DataFrame(), "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.passed = False  # type: ignore[misc]


@pytest.mark.parametrize(("share", "text"), [(0.123, "12.3 %"), (0.0123, "1.23 %"), (1, "100.0 %")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
