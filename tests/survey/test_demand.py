"""Demand by shift and share against loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import SurveyError
from bayesmig.survey.demand import shift_share

SECTORS = ["care", "farms", "garments"]


def world(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shares = pd.DataFrame(rng.dirichlet([1, 1, 1], 6), columns=SECTORS)
    growth = pd.DataFrame(rng.normal(size=(8, 3)), columns=SECTORS)
    units, cells = rng.integers(-1, 6, 150), rng.integers(-1, 8, 150)
    return shares, growth, units, cells


def test_by_loops() -> None:
    shares, growth, units, cells = world()
    found = shift_share(shares, growth, units=units, cells=cells)
    for n in range(150):
        if units[n] < 0 or cells[n] < 0:
            assert np.isnan(found[n])
        else:
            total = 0.0
            for sector in SECTORS:
                total += shares.loc[units[n], sector] * growth.loc[cells[n], sector]
            assert found[n] == pytest.approx(total, rel=1e-12)


def test_invariances() -> None:
    shares, growth, units, cells = world()
    found = shift_share(shares, growth, units=units, cells=cells)
    order = np.random.default_rng(3).permutation(150)
    again = shift_share(shares, growth, units=units[order], cells=cells[order])
    np.testing.assert_array_equal(again, found[order])
    # The order of sectors, and sectors to which nobody is exposed.
    other = growth[SECTORS[::-1]].assign(mines=9.0)
    np.testing.assert_allclose(
        shift_share(shares, other, units=units, cells=cells), found, rtol=1e-12
    )
    # The same growth everywhere is the demand of everybody: shares sum to one.
    same = shift_share(shares, growth * 0 + 0.3, units=units, cells=cells)
    np.testing.assert_allclose(same[np.isfinite(same)], 0.3, rtol=1e-12)


def test_no_exposure_needs_no_growth() -> None:
    shares = pd.DataFrame([[1.0, np.nan, 0.0]], columns=SECTORS, index=["p"])
    growth = pd.DataFrame([[0.5, np.nan, np.nan]], columns=SECTORS, index=["2001"])
    one = np.zeros(1, dtype=int)
    assert shift_share(shares, growth, units=one, cells=one).tolist() == [0.5]
    exposed = shares.assign(care=0.4, farms=0.6)
    with pytest.raises(SurveyError, match="'farms' is missing for '2001', and 'p' is exposed"):
        shift_share(exposed, growth, units=one, cells=one)


def test_shares_are_shares() -> None:
    shares, growth, units, cells = world()
    off = shares.assign(care=shares["care"] + 0.2)
    with pytest.raises(SurveyError, match=r"the shares of 0 sum to 1\.2, not to one \(6 units"):
        shift_share(off, growth, units=units, cells=cells)
    some = shift_share(off, growth, units=units, cells=cells, sums="any")
    assert np.isfinite(some).any()
    with pytest.raises(SurveyError, match="the share of the sector 'care' is -1 for 0"):
        shift_share(shares.assign(care=-1.0), growth, units=units, cells=cells, sums="any")
