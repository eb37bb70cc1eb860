"""Rows that stand for several choosers are that many rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.design.design import build_design
from bayesmig.errors import BayesmigError, SurveyError
from bayesmig.inference.density import Density
from bayesmig.predict import predictions
from bayesmig.survey.survey import Survey, read_survey
from tests.fabricate import ALTERNATIVES, fabricated, theory

CODEBOOK = {"alternatives": {a: [a] for a in ALTERNATIVES}}


def table() -> pd.DataFrame:
    """Cells of a table, some of them empty."""
    rng = np.random.default_rng(4)
    cells = [(o, f, c) for o in ("a", "b", "c") for f in (0, 1) for c in ALTERNATIVES]
    frame = pd.DataFrame(cells, columns=["place", "female", "moved"])
    return frame.assign(n=rng.integers(0, 30, len(frame)), wealth=rng.normal(size=len(frame)))


def read(frame: pd.DataFrame, **keys: Any) -> Survey:
    return read_survey(frame, roles={"choice": "moved", "origin": "place"}, **CODEBOOK, **keys)


def test_a_counted_row_is_so_many_rows() -> None:
    frame = table()
    one, other = read(frame, counts="n"), read(frame.loc[frame.index.repeat(frame["n"])])
    assert one.n_obs == other.n_obs == frame["n"].sum()
    assert one.report.choosers == one.n_obs
    assert one.report.rows_kept == len(frame)
    spec = theory("female + wealth")
    first, second = (build_design(spec, survey) for survey in (one, other))
    np.testing.assert_array_equal(first.columns.persons, second.columns.persons)
    np.testing.assert_array_equal(first.choice, second.choice)
    densities = [Density(design) for design in (first, second)]
    vector = densities[0].start(np.random.default_rng(1))
    assert densities[0](vector)[0] == pytest.approx(densities[1](vector)[0], rel=1e-12)
    assert len(densities[0].columns.persons) < first.n_obs / 2
    shares = [
        predictions(fabricated(design, survey=survey)).summary["estimate"]
        for design, survey in ((first, one), (second, other))
    ]
    np.testing.assert_allclose(*shares, rtol=1e-12)


def test_rows_of_the_file_are_named() -> None:
    frame = table()
    frame.loc[frame["n"].idxmax(), "wealth"] = np.inf
    with pytest.raises(BayesmigError, match=str(frame["n"].idxmax())):
        build_design(theory("wealth"), read(frame, counts="n"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n": 1.5}, "counts must be whole and at least 0, got 1.5"),
        ({"n": -1}, "counts must be whole and at least 0, got -1"),
        ({"n": 10**9}, "the counts sum to"),
        ({"n": 0}, "the counts sum to 0"),
    ],
)
def test_what_does_not_count_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SurveyError, match=says):
        read(table().assign(**change), counts="n")


def test_the_counted_are_nobody_in_particular() -> None:
    frame = table().assign(who=range(len(table())))
    roles = {"choice": "moved", "person": "who"}
    with pytest.raises(BayesmigError, match=r"counts and roles\.person do not go together"):
        read_survey(frame, roles=roles, counts="n", **CODEBOOK)
    with pytest.raises(BayesmigError, match="is not there"):
        read(table(), counts="m")
