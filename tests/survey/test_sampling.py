"""Sampling designs in a codebook, and variances by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import SpecError, SurveyError
from bayesmig.survey.sampling import Sampling, normalised, sampling_of, single_strata
from bayesmig.survey.survey import Survey, read_survey

#: ``data(fpc)`` of the R package survey: stratum, PSU, weight, PSUs of the population, x.
FPC = [
    (1, 1, 3, 15, 2.8),
    (1, 2, 3, 15, 4.1),
    (1, 3, 3, 15, 6.8),
    (1, 4, 3, 15, 6.8),
    (1, 5, 3, 15, 9.2),
    (2, 1, 4, 12, 3.7),
    (2, 2, 4, 12, 6.6),
    (2, 3, 4, 12, 4.2),
]
DESIGN = {"weight": "w", "strata": "s", "psu": "c"}


def frame() -> pd.DataFrame:
    return pd.DataFrame(FPC, columns=["s", "c", "w", "N", "x"]).assign(
        w=lambda d: d["w"].astype(float), moved=list("abababab")
    )


def survey(data: pd.DataFrame | None = None, **keys: Any) -> Survey:
    roles = {"choice": "moved"} | keys.pop("roles", DESIGN)
    return read_survey(frame() if data is None else data, roles, alternatives=["a", "b"], **keys)


def mean_and_error(of: Sampling, x: np.ndarray) -> tuple[float, float]:
    """A weighted mean and its standard error, by linearisation or replicates."""
    w = of.weights
    mean = float(w @ x / w.sum())
    score = (x - mean) / w.sum()
    if of.replicates is not None:
        found = of.replicates.T @ x / of.replicates.sum(axis=0)
        return mean, float(np.sqrt(of.covariance((found - mean)[:, None])[0, 0]))
    totals = np.zeros((len(of.strata), 1))
    np.add.at(totals[:, 0], of.psus, w * score)
    return mean, float(np.sqrt(of.covariance(totals)[0, 0]))


def test_the_published_example_of_the_survey_package() -> None:
    x = frame()["x"].to_numpy()
    # svymean(~x, withoutfpc) and svymean(~x, withfpc) of survey 4.5.
    assert mean_and_error(sampling_of(survey()), x) == pytest.approx(
        (5.448148, 0.7412683), rel=1e-6
    )
    counted = sampling_of(survey(roles=DESIGN | {"fpc": "N"}))
    assert mean_and_error(counted, x) == pytest.approx((5.448148, 0.6160407), rel=1e-6)
    share = frame().assign(N=lambda d: np.where(d["s"] == 1, 5 / 15, 3 / 12))
    by_share = sampling_of(survey(share, roles=DESIGN | {"fpc": "N"}))
    assert mean_and_error(by_share, x) == pytest.approx((5.448148, 0.6160407), rel=1e-6)


def test_a_jackknife_agrees_with_linearisation_of_a_total() -> None:
    data, columns, scales = frame(), {}, []
    for k, row in data.iterrows():
        stratum = data["s"] == row["s"]
        m = int(stratum.sum())
        weight = data["w"].where(~stratum, data["w"] * m / (m - 1))
        weight[k] = 0.0
        columns[f"jk_{k}"], scales = weight, [*scales, (m - 1) / m]
    whole = pd.concat([data, pd.DataFrame(columns)], axis=1)
    block = {"columns": "jk_*", "method": "jkn", "scales": scales}
    read = survey(whole, replicates=block)
    assert not [name for name in read.names if name.startswith("jk_")]
    of, x = sampling_of(read), data["x"].to_numpy()
    totals = of.replicates.T @ x - of.weights @ x
    linear = sampling_of(survey())
    assert of.covariance(totals[:, None]) == pytest.approx(
        linear.covariance((linear.weights * x)[:, None]), rel=1e-10
    )
    # One replicate for each of 8 PSUs, of rank 7: two strata, each with its weight kept.
    assert of.degrees_of_freedom == 6
    assert linear.degrees_of_freedom == 6


def test_scales_of_the_methods() -> None:
    data = frame().assign(r1=1.0, r2=2.0, r3=3.0, r4=4.0)
    for block, scale in (
        ({"method": "brr"}, 1 / 4),
        ({"method": "fay", "fay": 0.3}, 1 / (4 * 0.49)),
        ({"method": "jk1"}, 3 / 4),
        ({"method": "bootstrap"}, 1 / 3),
        ({"method": "brr", "scale": 0.5}, 0.5),
    ):
        read = survey(data, replicates={"columns": "r*", **block})
        assert sampling_of(read).scales == pytest.approx([scale] * 4)
    read = survey(data, replicates={"columns": ["r2", "r1"], "method": "jk1"})
    assert read.replicates[0].tolist() == [2.0, 1.0]
    assert read.fingerprint != survey(data, keep=["x"]).fingerprint


def test_units_are_read_within_strata_and_the_largest_declared() -> None:
    of = sampling_of(survey())
    assert len(of.strata) == 8
    assert of.note == "8 PSUs in 2 strata"
    assert "3 PSU labels stand in several strata" in str(survey().describe())
    data = frame().assign(h=list("xxyyzzzz"), p=list("abcdefgh"))
    alone = sampling_of(survey(data, roles={"weight": "w", "household": "h", "person": "p"}))
    assert alone.note == "3 households (no PSU is declared) in 1 stratum"
    assert len(np.unique(alone.psus)) == 3
    assert sampling_of(survey(roles={"weight": "w"})).note.startswith("8 rows (no PSU")


def test_a_stratum_with_one_psu_is_named_unless_it_was_drawn_whole() -> None:
    data = frame().assign(s=[1, 1, 1, 1, 1, 2, 2, 3])
    read = survey(data)
    assert single_strata(read) == ("3",)
    assert "1 strata have one PSU only ('3')" in str(read.describe())
    with pytest.raises(SurveyError, match="'3'") as err:
        sampling_of(read)
    assert "rows 7" in str(err.value)
    whole = data.assign(N=lambda d: np.where(d["s"] == 3, 1, 100))
    of = sampling_of(survey(whole, roles=DESIGN | {"fpc": "N"}))
    totals = np.arange(8.0)[:, None]
    without = sampling_of(survey(data[:7].assign(N=100), roles=DESIGN | {"fpc": "N"}))
    assert of.covariance(totals) == pytest.approx(without.covariance(totals[:7]))


@pytest.mark.parametrize(
    ("change", "keys", "says"),
    [
        ({"N": 0}, {"roles": DESIGN | {"fpc": "N"}}, "above 0, got 0"),
        ({"N": range(10, 18)}, {"roles": DESIGN | {"fpc": "N"}}, "corrections from 10 to 14"),
        ({"r": -1.0, "r2": 1.0}, {"replicates": {"columns": "r*", "method": "jk1"}}, "least 0"),
        ({"r": 0.0, "r2": 1.0}, {"replicates": {"columns": "r*", "method": "jk1"}}, "are 0"),
        ({}, {"replicates": {"columns": ["q1", "q2"], "method": "jk1"}}, "'q1' is not in the data"),
        ({"r1": 1.0}, {"replicates": {"columns": "r*", "method": "jk1"}}, "names 1 columns"),
        (
            {"r1": 1.0, "r2": 1.0},
            {"replicates": {"columns": "r*", "method": "jkn", "scales": [0.5]}},
            "2 replicate weights and 1 scales",
        ),
    ],
)
def test_what_a_design_may_not_say(change: dict[str, Any], keys: dict[str, Any], says: str) -> None:
    with pytest.raises(SurveyError, match=says):
        survey(frame().assign(**change), **keys)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"replicates": {"columns": "r*", "method": "jkn"}}, "needs 'scales' too"),
        ({"replicates": {"columns": "r*", "method": "fay"}}, "needs 'fay' too"),
        ({"replicates": {"columns": "r*", "method": "brr", "fay": 0.3}}, "does not apply"),
        ({"roles": {}, "replicates": {"columns": "r*", "method": "brr"}}, "none is declared"),
        ({"roles": DESIGN | {"fpc": "w"}}, "cannot be both"),
    ],
)
def test_what_a_codebook_may_not_say(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        survey(**keys)


def test_more_psus_than_the_population_has() -> None:
    with pytest.raises(SurveyError, match="5 PSUs in the sample and 4 in the population"):
        sampling_of(survey(frame().assign(N=4), roles=DESIGN | {"fpc": "N"}))


def test_equal_weights_are_one_to_the_last_digit() -> None:
    assert (normalised(np.full(7, 0.1)) == 1.0).all()
    assert normalised(np.array([1.0, 3.0])).tolist() == [0.5, 1.5]
