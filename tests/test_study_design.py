"""Survey designs and populations in a study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from bayesmig.errors import QuestionError, StudyError, SurveyError
from bayesmig.progress import silent
from bayesmig.simulation import simulate
from bayesmig.study import read_study, run

STUDY = """
survey = "survey/survey.toml"
theories = ["./weighted.toml"]
scenarios = ["wealth_grant"]
seed = 3
[sampling]
chains = 2
draws = 250
[questions]
by = ["female"]
comparisons = ["female"]
population = ["census.csv"]
"""
THEORY = """
weights = "pseudo"
[choice]
alternatives = ["stay", "internal", "international"]
base = "stay"
[utility]
persons = "female + wealth"
[hypotheses.more]
claim = "Wealth takes people abroad."
statement = "comparison(wealth, international) > 0"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    simulate(tmp_path / "survey", persons=600, seed=2)
    (tmp_path / "weighted.toml").write_text(THEORY)
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "census.csv").write_text("female,count\n0,1000\n1,3000\n")
    return tmp_path


def test_a_pseudo_posterior_is_asked_for_a_population_and_the_report_says_so(home: Path) -> None:
    done = run(home / "study.toml", home / "out", progress=silent)
    shares = pd.read_csv(done.folder / "tables" / "shares.csv")
    by_sex = shares[shares["by"] == "female"].set_index(["level", "alternative"])["estimate"]
    overall = shares[shares["by"].isna()].set_index("alternative")["estimate"]
    levels = by_sex.index.get_level_values("level").unique()
    low, high = (by_sex.loc[level] for level in sorted(levels))
    assert overall.to_numpy() == pytest.approx(
        (low / 4 + 3 * high / 4).loc[overall.index].to_numpy()
    )
    results = json.loads((done.folder / "results.json").read_text())
    note = results["theories"][0]["weights_note"]
    assert "pseudo-posterior" in note
    assert re.search(r"\d+ PSUs in [2-9] strata \(\d+ degrees of freedom\)", note)
    assert "poststratified by female to 2 cells of 4,000 people" in json.dumps(results)
    report = done.report.read_text()
    assert "pseudo-posterior" in report
    assert "poststratified by female" in report
    assert "one PSU only" not in report
    # Another census: only answers are computed again.
    (home / "census.csv").write_text("female,count\n0,3000\n1,1000\n")
    again = run(home / "study.toml", home / "out", progress=silent)
    assert set(again.computed) == {"test-weighted", "effects", "scenario-wealth_grant"}


def test_what_a_study_cannot_honour_is_refused_before_anything_is_sampled(home: Path) -> None:
    text = (home / "study.toml").read_text()
    both = text.replace('["./weighted.toml"]', '["./weighted.toml", "baseline"]')
    (home / "study.toml").write_text(both)
    with pytest.raises(StudyError, match="leave-one-out, which does not apply"):
        read_study(home / "study.toml")
    (home / "study.toml").write_text(text)
    (home / "census.csv").write_text("female,count\n0,3000\n")
    with pytest.raises(QuestionError, match="in no cell of the table, the first with female=1"):
        read_study(home / "study.toml")
    (home / "census.csv").unlink()
    with pytest.raises(QuestionError, match="cannot be read"):
        read_study(home / "study.toml")
    (home / "census.csv").write_text("female,count\n0,1\n1,1\n")
    book = home / "survey" / "survey.toml"
    declared = "population_shares = { stay = 0.8, internal = 0.1, international = 0.1 }\n"
    book.write_text(declared + book.read_text())
    with pytest.raises(StudyError, match="drawn by choice"):
        read_study(home / "study.toml")
    book.write_text(
        book.read_text().replace(declared, "").replace('strata = "stratum"', 'strata = "community"')
    )
    with pytest.raises(SurveyError, match="one PSU only"):
        read_study(home / "study.toml")
