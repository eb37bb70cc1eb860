"""Rows that lack values: complete cases by default, which nobody can miss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmig as bm
from bayesmig.errors import SurveyError
from bayesmig.survey.survey import Survey, read_survey
from tests.fabricate import ALTERNATIVES, small_frame, theory

SAID = (
    "40 of 300 rows (13.3%) were left out, since values are missing (wealth 30, female 15): "
    "answers are of complete cases"
)
ROLES = {"choice": "choice", "weight": "weight", "origin": "origin"}


def frame() -> pd.DataFrame:
    data = small_frame(300)
    data.loc[:29, "wealth"] = np.nan
    return data.assign(female=data["female"].astype(float).mask(data.index.isin(range(25, 40))))


def read(data: pd.DataFrame | None = None, **missing: Any) -> Survey:
    return read_survey(
        frame() if data is None else data,
        ROLES,
        alternatives={a: a for a in ALTERNATIVES},
        keep=["female", "wealth"],
        **({"missing": missing} if missing else {}),
    )


def test_complete_cases_are_the_default_and_are_counted() -> None:
    survey = read()
    assert survey.n_obs == 260
    assert survey.rows.tolist() == [*range(40, 300)]
    assert survey.left_out == SAID
    described = survey.describe()
    assert SAID in described.warnings
    table = described.tables["missing"].set_index("column")
    assert table["rows missing"].to_dict() == {"female": 15, "wealth": 30}
    assert table["dropped for it alone"].to_dict() == {"female": 10, "wealth": 25}


def test_what_was_asked_for_or_is_whole_needs_no_warning() -> None:
    assert read(rule="drop").n_obs == 260
    assert read(rule="drop").left_out == ""
    assert read(frame().dropna()).left_out == ""
    assert read(columns=["female"]).left_out.startswith("15 of 300 rows (5.0%)")


@pytest.mark.parametrize("role", ["choice", "weight", "origin"])
def test_a_row_without_a_role_is_refused(role: str) -> None:
    data = frame()
    data[role] = data[role].mask(data.index == 7)
    with pytest.raises(SurveyError, match=f"'{role}' is missing in 1 rows"):
        read(data)
    assert read(data, rule="drop").n_obs == 260


def test_the_rule_refuse_and_a_loss_of_many_rows() -> None:
    with pytest.raises(SurveyError, match="'female' is missing in 15 rows; so are 'wealth'"):
        read(rule="refuse")
    data = frame()
    data.loc[:70, "wealth"] = np.nan
    with pytest.raises(SurveyError, match="24% of the rows lack some column, most") as e:
        read(data)
    assert "'wealth' (71)" in str(e.value)
    assert 'rule = "drop"' in str(e.value)
    assert read(data, rule="drop").n_obs == 229


def test_the_posterior_and_its_answers_say_so(tmp_path: Path) -> None:
    spec = theory("female + wealth", groups=[])
    posterior = bm.fit(spec, read(), seed=1, draws=250, progress=False)
    assert f"caution: {SAID}" in str(posterior)
    again = bm.load(posterior.save(tmp_path / "draws.nc"))
    assert bm.predictions(again).header["left out"] == SAID
    stated = bm.fit(spec, read(rule="drop"), seed=1, draws=250, progress=False)
    assert "left out" not in bm.predictions(stated).header
    assert "left out" not in str(stated)
