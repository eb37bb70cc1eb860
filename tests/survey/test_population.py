"""Rows weighted to cells and margins of a population."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmig.errors import QuestionError
from bayesmig.survey.population import read_population, weigh_to

ROWS = pd.DataFrame(
    {"sex": ["m", "m", "f", "f", "f", "m"], "urban": [0, 1, 0, 1, 1, 1], "x": range(6)}
)
BASE = np.array([1.0, 2.0, 1.0, 3.0, 1.0, 2.0])


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_cells_get_their_people_and_keep_their_weights_within() -> None:
    cells = table(sex=["f", "f", "m", "m"], urban=[0, 1, 0, 1], count=[10, 40, 20, 30])
    found, note, _ = weigh_to(ROWS, BASE, cells)
    # By hand: count times weight over the cell's weights.
    assert found == pytest.approx([20, 15, 10, 30, 10, 15], rel=1e-14)
    assert note == "poststratified by sex, urban to 4 cells of 100 people"
    unweighted, *_ = weigh_to(ROWS, None, cells)
    assert unweighted == pytest.approx([20, 15, 10, 20, 20, 15], rel=1e-14)


def test_margins_are_raked() -> None:
    sex = table(sex=["f", "m"], count=[60.0, 40.0])
    urban = table(urban=[0, 1], count=[25.0, 75.0])
    found, note, _ = weigh_to(ROWS, BASE, [sex, urban])
    assert found[[2, 3, 4]].sum() == pytest.approx(60, rel=1e-10)
    assert found[[0, 2]].sum() == pytest.approx(25, rel=1e-10)
    assert note == "raked to 2 margins (sex; urban) of 100 people"
    # Raking keeps odds ratios of the starting table: (f0 m1)/(f1 m0) = (1 4)/(4 1).
    odds = found[2] * found[[1, 5]].sum() / (found[[3, 4]].sum() * found[0])
    assert odds == pytest.approx(1.0, rel=1e-9)
    one, *_ = weigh_to(ROWS, BASE, [sex])
    assert one == pytest.approx(weigh_to(ROWS, BASE, sex)[0])


def test_numbers_match_as_numbers_and_all_else_as_text() -> None:
    cells = table(urban=[0.0, 1.0], count=[1, 1])
    assert weigh_to(ROWS, None, cells)[0].sum() == pytest.approx(2)
    texts = ROWS.assign(urban=ROWS["urban"].astype(str))
    assert weigh_to(texts, None, table(urban=[0, 1], count=[1, 1]))[0].sum() == pytest.approx(2)


@pytest.mark.parametrize(
    ("population", "says"),
    [
        (table(sex=["f"], count=[1]), "3 rows are in no cell of the table, the first with sex=m"),
        (table(sex=["f", "m", "x"], count=[1, 1, 5]), "5 people with sex=x"),
        (table(sex=["f", "m"]), "a column 'count'"),
        (table(sx=["f", "m"], count=[1, 1]), "no column 'sx'; did you mean 'sex'"),
        (table(sex=["f", "m", "m"], count=[1, 1, 1]), "sex=m is there twice"),
        (table(sex=["f", "m"], count=[1, -1]), "at least 0"),
        (table(sex=["f", "m"], count=["1", "2"]), "holds text"),
        ([], "no table"),
        ("table.csv", "a DataFrame was expected, got str"),
        (
            [table(sex=["f", "m"], count=[1, 1]), table(urban=[0, 1], count=[1, 2])],
            "2 people by sex and 3 by urban",
        ),
    ],
)
def test_tables_that_do_not_fit(population: object, says: str) -> None:
    with pytest.raises(QuestionError, match=says):
        weigh_to(ROWS, BASE, population)  # type: ignore[arg-type]


def test_margins_that_no_weights_fit_name_their_cell() -> None:
    rows = pd.DataFrame({"a": [0, 1], "b": [0, 1]})  # a and b go together
    margins = [table(a=[0, 1], count=[30, 70]), table(b=[0, 1], count=[60, 40])]
    with pytest.raises(QuestionError, match=r"no weights of these rows fit all margins.*with a=0"):
        weigh_to(rows, None, margins)


def test_nobody_of_a_cell_without_people_counts() -> None:
    found, *_ = weigh_to(ROWS, None, table(sex=["f", "m"], count=[5, 0]))
    assert found[[0, 1, 5]].tolist() == [0, 0, 0]


def test_a_table_is_read_from_a_file(tmp_path: Path) -> None:
    cells = table(sex=["f", "m"], count=[5, 7])
    cells.to_csv(tmp_path / "cells.csv", index=False)
    assert read_population(tmp_path / "cells.csv").equals(cells)
    with pytest.raises(QuestionError, match="cannot be read"):
        read_population(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(QuestionError, match="cannot be read"):
        read_population(tmp_path / "empty.csv")
