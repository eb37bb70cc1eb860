"""Planted faults: each gives one typed error that says where and what to do, and no output.

A sound project (data, codebook, model, scenario, study) is broken in one place; then
``bayesmig run`` must end with 1 before anything is sampled or written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesmig.cli import _in_options, main

CODEBOOK = """
file = "data.csv"
[roles]
choice = "moved"
person = "id"
household = "hh"
origin = "village"
period = "wave"
weight = "w"
[alternatives]
stay = [0]
internal = [1]
international = [2]
[derive]
wealth = "log(income)"
[missing]
rule = "refuse"
"""
MODEL = """
title = "A theory"
[choice]
alternatives = ["stay", "internal", "international"]
base = "stay"
[utility]
persons = "female + wealth"
[[groups]]
by = "origin"
[priors.persons]
scale = 1.0
[hypotheses.women]
claim = "Women move less abroad"
statement = "comparison(female, international) < 0"
"""
SCENARIO = """
title = "A grant"
[[interventions]]
kind = "add"
column = "wealth"
value = 0.1
"""
STUDY = """
title = "A study"
survey = "survey.toml"
theories = ["theory.toml"]
scenarios = ["grant.toml"]
seed = 1
[sampling]
chains = 2
draws = 20
tune = 20
[questions]
comparisons = ["female"]
"""


def sound_data() -> pd.DataFrame:
    """Give the data of the sound project."""
    rng = np.random.default_rng(0)
    n = 240
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "hh": np.arange(n) // 3,
            "village": np.arange(n) // 30,
            "wave": 1,
            "w": rng.uniform(0.5, 2, n),
            "moved": rng.choice([0, 0, 0, 1, 1, 2], n),
            "female": rng.integers(0, 2, n),
            "income": rng.lognormal(7, 0.5, n),
        }
    )


@dataclass
class Project:
    """A project in a folder, to be broken."""

    folder: Path

    def write(self) -> None:
        """Write the sound project."""
        sound_data().to_csv(self.folder / "data.csv", index=False)
        texts = {"survey": CODEBOOK, "theory": MODEL, "grant": SCENARIO, "study": STUDY}
        for name, text in texts.items():
            (self.folder / f"{name}.toml").write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a piece of a file, which must be there."""
        path = self.folder / f"{name}.toml"
        text = path.read_text()
        assert old in text, f"the sound {name} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1))

    def data(self, change: Callable[[pd.DataFrame], object]) -> None:
        """Change the data in place."""
        frame = pd.read_csv(self.folder / "data.csv")
        change(frame)
        frame.to_csv(self.folder / "data.csv", index=False)


@dataclass(frozen=True)
class Fault:
    """A broken project, and what the one message about it must say.

    Attributes
    ----------
    name, plant
        What is wrong; the change that makes it so.
    words
        In what the message says, or in its mend.
    file
        Of the project; among the places that the message names.
    key, column, rows
        As the message gives them, where they apply.
    mend
        Words of the mend; there is one in any case.
    """

    name: str
    plant: Callable[[Project], object]
    words: tuple[str, ...]
    file: str
    key: str = ""
    column: str = ""
    rows: str = ""
    mend: str = ""


def fault(name: str, plant: Callable[[Project], object], *words: str, **places: str) -> Fault:
    """A fault in the order in which it is told."""
    return Fault(name, plant, words, **places)


def edit(name: str, old: str, new: str) -> Callable[[Project], object]:
    """A fault in a declarative file."""
    return lambda p: p.edit(name, old, new)


def data(change: Callable[[pd.DataFrame], object]) -> Callable[[Project], object]:
    """A fault in the data."""
    return lambda p: p.data(change)


def derived(granted: str, study: str, old: str = "", new: str = "") -> Callable[[Project], object]:
    """A column that the codebook computes from another one, both read by the theory."""

    def change(project: Project) -> None:
        project.edit("survey", "[missing]", 'wealth2 = "wealth ** 2"\n[missing]')
        project.edit("theory", '"female + wealth"', '"female + wealth + wealth2"')
        project.edit("theory", old, new)
        project.edit("grant", '"wealth"', f'"{granted}"')
        (project.folder / "study.toml").write_text(study)

    return change


def put(column: str, rows: slice | int, value: object) -> Callable[[Project], object]:
    """A value planted into some rows of a column."""

    def change(frame: pd.DataFrame) -> None:
        values = frame[column].astype(object)
        values.iloc[rows] = value
        frame[column] = values

    return data(change)


def duplicate_column(project: Project) -> None:
    path = project.folder / "data.csv"
    head, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head + ",female", *(line + ",1" for line in rest)]))


def copy_row(frame: pd.DataFrame) -> None:
    for column in ("id", "wave", "hh"):
        frame.loc[10, column] = frame.loc[9, column]


def two_households(frame: pd.DataFrame) -> None:
    frame.loc[200, "id"] = frame.loc[9, "id"]


def separate(frame: pd.DataFrame) -> None:
    frame["female"] = (frame["moved"] == 2).astype(int)


def separate_together(frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    shift = rng.normal(size=len(frame))
    frame["female"] = shift
    frame["income"] = np.exp(7 + shift + 0.2 * (frame["moved"] == 2) - 0.1)


def circle(project: Project) -> None:
    project.edit("theory", 'title = "A theory"', 'title = "A theory"\nextends = "other"')
    (project.folder / "other.toml").write_text('extends = "theory"\n')


def all_of(*plants: Callable[[Project], object]) -> Callable[[Project], object]:
    """Several changes that make one fault."""
    return lambda p: [plant(p) for plant in plants]


def copied(name: str, **listed: str) -> Callable[[Project], object]:
    """The study lists a file and a copy of it in another folder."""

    def change(project: Project) -> None:
        (project.folder / "b").mkdir()
        text = (project.folder / name).read_text()
        (project.folder / "b" / name).write_text(text)
        project.edit("study", f'["{name}"]', f'["{name}", "b/{name}"]')

    return change


def incomplete_rows(project: Project) -> None:
    """Fifty rows are dropped, so that rows of the file and of the survey differ."""
    project.edit("survey", 'rule = "refuse"', 'rule = "drop"')
    project.data(lambda f: f.__setitem__("income", f["income"].mask(f.index < 50)))


def with_category(frame: pd.DataFrame) -> None:
    frame["area"] = np.where(frame.index % 3 == 0, "town", "country")


FORMULA = 'persons = "female + wealth"'
CATEGORY = all_of(
    data(with_category),
    edit("theory", FORMULA, "persons = \"female + wealth + C(area, reference='town')\""),
)
NO_HYPOTHESIS = edit("theory", MODEL[MODEL.index("[hypotheses") :], "")
COST = all_of(
    data(lambda f: f.__setitem__("fare", 1.0 + f.index % 7)),
    edit("survey", "[missing]", '[attributes.cost]\nstay = 0\ninternal = "fare"\n'
         'international = "income"\n[missing]'),
    edit("theory", FORMULA, f'{FORMULA}\nalternatives = "cost"'),
)  # fmt: skip

DATA = [
    fault("missing data file", lambda p: (p.folder / "data.csv").unlink(), file="data.csv"),
    fault("empty data file", lambda p: (p.folder / "data.csv").write_text(""), file="data.csv"),
    fault(
        "wrong encoding",
        lambda p: (p.folder / "data.csv").write_bytes(b"moved,id\n0,caf\xe9\n"),
        "0xe9", file="data.csv", key="encoding", mend="latin-1",
    ),
    fault("duplicate column", duplicate_column, "female", file="data.csv", column="6, 8"),
    fault(
        "choice code without a mapping", put("moved", 7, 9), "moved", "'9'",
        file="survey.toml", key="alternatives", rows="7", mend="[missing_codes]",
    ),
    fault(
        "an alternative never chosen",
        data(lambda f: f.__setitem__("moved", f["moved"].replace(2, 1))), "never chosen",
        file="survey.toml", key="alternatives.international", mend="merge",
    ),
    fault("missing weight", put("w", 3, None), file="survey.toml", column="w", rows="3"),
    fault("infinite weight", put("w", 3, "inf"), file="data.csv", column="w", rows="3"),
    fault(
        "negative weight", put("w", 3, -1), "got -1",
        file="survey.toml", key="roles.weight", column="w", rows="3",
    ),
    fault(
        "all-missing column", put("income", slice(None), None), "all 240 rows",
        file="survey.toml", column="income",
    ),
    fault(
        "missing value under the rule refuse", put("female", 5, None),
        file="survey.toml", column="female", rows="5", mend='rule = "drop"',
    ),
    fault(
        "constant column", put("female", slice(None), 1), "constant", "theory",
        file="data.csv", column="female",
    ),
    fault(
        "text in a numeric column", put("income", 4, "much"), "'much'",
        file="survey.toml", key="derive.wealth", column="income", rows="4",
    ),
    fault(
        "logarithm of zero", put("income", 4, 0), "log(income)",
        file="survey.toml", key="derive.wealth", rows="4", mend="log1p",
    ),
    fault("infinite value", put("female", 4, "inf"), file="data.csv", column="female", rows="4"),
    fault(
        "duplicate person-period", data(copy_row), "person '9'",
        file="survey.toml", key="roles.person, roles.period", rows="9, 10",
    ),
    fault(
        "person in two households", data(two_households), "person '9'",
        file="survey.toml", key="roles.person, roles.household", rows="9, 200",
    ),
    fault(
        "one origin only", put("village", slice(None), 1), "'1'",
        file="data.csv", key="groups[0].by", column="village",
    ),
    fault(
        "perfect separation by a column", data(separate), "female", "international",
        file="data.csv", key="utility", mend="merge alternatives",
    ),
    fault(
        "perfect separation by two columns", data(separate_together), "'female', 'wealth'",
        file="data.csv", key="utility",
    ),
    fault(
        "missing value in a column of the theory",
        all_of(put("female", 77, None), edit("survey", "[missing]",
               '[missing]\ncolumns = ["income"]')),
        file="data.csv", key="utility.persons", column="female", rows="77",
    ),
    fault(
        "the same, after rows that were dropped",
        all_of(incomplete_rows, put("female", 77, None), edit("survey", "[missing]",
               '[missing]\ncolumns = ["income"]')),
        file="data.csv", key="utility.persons", column="female", rows="77",
    ),
]  # fmt: skip

CODEBOOKS = [
    fault("codebook missing", lambda p: (p.folder / "survey.toml").unlink(), file="survey.toml"),
    fault(
        "codebook is not TOML", edit("survey", "[roles]", "[roles"), "TOML", "line 3, column 7",
        file="survey.toml",
    ),
    fault(
        "codebook key misspelt", edit("survey", "[derive]", "[derived]"),
        file="survey.toml", key="derived", mend="'derive'",
    ),
    fault(
        "role misspelt", edit("survey", "household =", "houshold ="),
        file="survey.toml", key="roles.houshold", mend="'household'",
    ),
    fault(
        "role column absent", edit("survey", '"village"', '"vilage"'), "'vilage'",
        file="survey.toml", key="roles.origin", mend="'village'",
    ),
    fault(
        "no choice role", edit("survey", 'choice = "moved"', ""),
        file="survey.toml", key="roles.choice", mend="add choice",
    ),
    fault(
        "derived from an unknown column", edit("survey", "log(income)", "log(incom)"), "'incom'",
        file="survey.toml", key="derive.wealth", mend="'income'",
    ),
    fault(
        "code in a derived column", edit("survey", "log(income)", "__import__('os').getpid()"),
        file="survey.toml", key="derive.wealth",
    ),
    fault(
        "alternative that no theory can name", edit("survey", "stay = [0]", '"stay home" = [0]'),
        "'stay home'", "no theory can name",
        file="data.csv", key="alternatives", column="moved", rows="1, 2, 4, 7, 10",
        mend="'stay_home'",
    ),
    fault(
        "infinite attribute", all_of(COST, edit("survey", "stay = 0", "stay = inf")), "inf",
        file="survey.toml", key="attributes.cost.stay",
    ),
    fault(
        "missing attribute",
        all_of(COST, put("fare", 70, None)), "fare",
        file="survey.toml", column="fare", rows="70",
    ),
]  # fmt: skip

MODELS = [
    fault("model missing", lambda p: (p.folder / "theory.toml").unlink(), file="theory.toml"),
    fault(
        "model key misspelt", edit("theory", "[utility]", "[utilty]"),
        file="theory.toml", key="utilty", mend="'utility'",
    ),
    fault(
        "wrong base", edit("theory", 'base = "stay"', 'base = "stray"'), "'stray'", "'stay'",
        file="theory.toml", key="choice.base",
    ),
    fault(
        "unknown column in a formula", edit("theory", "+ wealth", "+ welth"), "welth", "wealth",
        file="theory.toml", key="utility.persons",
    ),
    fault(
        "code in a formula", edit("theory", "female + wealth", "{__import__('os').getpid()}"),
        file="theory.toml", key="utility.persons",
    ),
    fault(
        "attribute access in a formula", edit("theory", "+ wealth", "+ wealth.sum"), "'.'",
        file="theory.toml", key="utility.persons",
    ),
    fault(
        "unknown transform", edit("theory", "+ wealth", "+ eval(wealth)"), "eval",
        file="theory.toml", key="utility.persons",
    ),
    fault(
        "name of a Python variable", edit("theory", "+ wealth", "+ np"), "'np'", "known: ",
        file="theory.toml", key="utility.persons",
    ),
    fault(
        "formula that wants a constant and none", edit("theory", "female +", "1 + female - 1 +"),
        file="theory.toml", key="utility.persons",
    ),
    fault(
        "rank-deficient design",
        edit("theory", "female + wealth", "female + wealth + scale(wealth)"),
        "'wealth', 'scale(wealth)'", file="theory.toml", key="utility",
    ),
    fault(
        "no coefficient", all_of(edit("theory", FORMULA, 'persons = "0"'), NO_HYPOTHESIS),
        file="theory.toml", key="utility", mend='persons = "1"',
    ),
    fault(
        "non-positive prior scale", edit("theory", "scale = 1.0", "scale = 0.0"), "≥ 1e-06",
        file="theory.toml", key="priors.persons.scale",
    ),
    fault(
        "prior scale out of all bounds", edit("theory", "scale = 1.0", "scale = 1e300"), "1e+300",
        file="theory.toml", key="priors.persons.scale",
    ),
    fault(
        "prior scale in quotes", edit("theory", "scale = 1.0", 'scale = "1.0"'), "a number",
        file="theory.toml", key="priors.persons.scale",
    ),
    fault(
        "prior of no coefficient",
        edit("theory", "[priors.persons]",
             '[[priors.coefficient]]\nname = "femal"\n[priors.persons]'), "'femal'", "'female'",
        file="theory.toml", key="priors.coefficient",
    ),
    fault(
        "group that is not there", edit("theory", '"origin"', '"orign"'), "'orign'", "'origin'",
        file="theory.toml", key="groups[0].by",
    ),
    fault(
        "group by what was chosen", edit("theory", '"origin"', '"choice"'),
        file="theory.toml", key="groups[0].by",
    ),
    fault("circular extends", circle, "theory → other → theory", file="other.toml", key="extends"),
    fault(
        "alternative that the survey lacks",
        edit("theory", '"international"]', '"international", "both"]'), "'both'",
        file="theory.toml", key="choice.alternatives", column="moved",
    ),
    fault(
        "hypothesis about an unknown alternative",
        edit("theory", "comparison(female, international)", "comparison(female, abroad)"),
        "'abroad'", file="theory.toml", key="hypotheses.women.statement",
    ),
    fault(
        "hypothesis that is no inequality",
        edit("theory", "comparison(female, international) < 0", "female"),
        file="theory.toml", key="hypotheses.women.statement", mend="for instance",
    ),
    fault(
        "hypothesis without a value", edit("theory", '< 0"', '< 0/0"'), "'0 / 0'",
        file="theory.toml", key="hypotheses.women.statement",
    ),
    fault(
        "hypothesis that no data can contradict",
        edit("theory", "comparison(female, international) < 0", "share(stay) < share(stay)"),
        file="theory.toml", key="hypotheses.women.statement",
    ),
    fault(
        "rope below zero", edit("theory", '< 0"', '< 0"\nrope = -1'), "≥ 0",
        file="theory.toml", key="hypotheses.women.rope",
    ),
    fault(
        "hypothesis about a column that others are computed from",
        derived("wealth2", STUDY, "comparison(female", "comparison(wealth"),
        "'wealth2'", "'wealth'", "hypothesis 'women'", file="theory.toml",
    ),
    fault(
        "unknown reference", edit("theory", "title =", 'references = ["dehas2009"]\ntitle ='),
        "'dehas2009'", file="theory.toml", key="references[0]", mend="'dehaas2009'",
    ),
    fault(
        "unknown mechanism", edit("theory", "title =", 'mechanisms = ["M99"]\ntitle ='), "'M99'",
        file="theory.toml", key="mechanisms[0]", mend="M01 to M45",
    ),
    fault(
        "unavailable yet chosen",
        edit("theory", "[utility]", '[available]\ninternal = "female"\n[utility]'), "'internal'",
        file="data.csv", key="available.internal", column="female", rows="5, 9, 11, 12, 22",
    ),
    fault(
        "the same, after rows that were dropped",
        all_of(incomplete_rows,
               edit("theory", "[utility]", '[available]\ninternal = "female"\n[utility]')),
        "'internal'", file="data.csv", key="available.internal", column="female",
        rows="50, 53, 54, 81, 82",
    ),
]  # fmt: skip

SCENARIOS = [
    fault("scenario missing", lambda p: (p.folder / "grant.toml").unlink(), file="grant.toml"),
    fault(
        "unknown intervention", edit("grant", '"add"', '"adds"'), "'adds'",
        file="grant.toml", key="interventions[0]", mend="'add'",
    ),
    fault(
        "intervention without a value", edit("grant", "value = 0.1", ""),
        file="grant.toml", key="interventions[0].value", mend="add value",
    ),
    fault(
        "intervention with a value in quotes", edit("grant", "value = 0.1", 'value = "0.1"'),
        file="grant.toml", key="interventions[0].value",
    ),
    fault(
        "scenario on a column that the theory does not use", edit("grant", '"wealth"', '"income"'),
        "income", "intervention 1", file="grant.toml",
    ),
    fault(
        "scenario for nobody",
        edit("grant", "value = 0.1", 'value = 0.1\nwhere = [{ column = "wealth", above = 1e6 }]'),
        "wealth", "intervention 1", file="grant.toml",
    ),
    fault(
        "scenario on a column that others are computed from", derived("wealth", STUDY),
        "'wealth2'", "'wealth'", "square(wealth)", file="grant.toml",
    ),
]  # fmt: skip

STUDIES = [
    fault(
        "comparison of a column that others are computed from",
        derived("wealth2", STUDY.replace('["female"]', '["wealth"]')),
        "'wealth2'", "'wealth'", "square(wealth)", file="study.toml", key="questions.comparisons",
    ),
    fault(
        "slope of a column that others are computed from",
        derived("wealth2", STUDY.replace("comparisons", "slopes").replace("female", "wealth")),
        "'wealth2'", "'wealth'", file="study.toml", key="questions.slopes",
    ),
    fault(
        "comparison without a change", edit("study", '["female"]', '["income"]'), "'income'",
        file="study.toml", key="questions.comparisons", mend="female, wealth",
    ),
    fault(
        "slope without a change",
        edit("study", 'comparisons = ["female"]', 'slopes = ["income"]'), "'income'",
        file="study.toml", key="questions.slopes",
    ),
    fault(
        "slope of a category",
        all_of(CATEGORY, edit("study", 'comparisons = ["female"]', 'slopes = ["area"]')), "'area'",
        file="study.toml", key="questions.slopes", mend="comparisons",
    ),
    fault(
        "shares by what was chosen",
        edit("study", 'comparisons = ["female"]', 'by = ["choice"]'),
        file="study.toml", key="questions.by",
    ),
    fault(
        "shares by more cells than fit into memory",
        all_of(data(lambda frame: frame.insert(0, "name", "n" + frame["id"].astype(str))),
               edit("study", "draws = 20", "draws = 20000"),
               edit("study", 'comparisons = ["female"]', 'by = ["name"]')),
        "40,000 draws × 240 cells", file="study.toml", key="questions.by", mend="fewer cells",
    ),
    fault(
        "question asked twice", edit("study", '["female"]', '["female", "female"]'), "twice",
        file="study.toml", key="questions.comparisons",
    ),
    fault(
        "question about no column", edit("study", '["female"]', '["femal"]'), "'femal'", "'female'",
        file="study.toml", key="questions.comparisons",
    ),
    fault(
        "study key misspelt", edit("study", "theories", "theorys"),
        file="study.toml", key="theorys", mend="'theories'",
    ),
    fault(
        "unknown packaged theory", edit("study", '"theory.toml"', '"netwrks"'), "'networks'",
        file="study.toml", key="theories",
    ),
    fault(
        "two theories of one name", copied("theory.toml"), "'theory'", "b/theory.toml",
        file="study.toml", key="theories", mend="name = ",
    ),
    fault(
        "two scenarios of one name", copied("grant.toml"), "'grant'", "b/grant.toml",
        file="study.toml", key="scenarios", mend="name = ",
    ),
    fault(
        "main theory not listed", edit("study", "seed = 1", 'seed = 1\nmain = "x"'), "'x'",
        file="study.toml", key="main", mend="theory",
    ),
    fault(
        "main theory by the name of its file",
        all_of(edit("theory", "title =", 'name = "mine"\ntitle ='),
               edit("study", "seed = 1", 'seed = 1\nmain = "theory"')), "'theory'",
        file="study.toml", key="main", mend="mine",
    ),
    fault("no seed", edit("study", "seed = 1", ""), file="study.toml", key="seed", mend="add seed"),
    fault(
        "seed that is no number", edit("study", "seed = 1", "seed = true"), "a whole number",
        file="study.toml", key="seed",
    ),
    fault(
        "no chains", edit("study", "chains = 2", "chains = 0"), "≥ 1",
        file="study.toml", key="sampling.chains",
    ),
    fault(
        "more draws than memory", edit("study", "draws = 20", "draws = 1000000000000"), "≤ 100000",
        file="study.toml", key="sampling.draws",
    ),
]  # fmt: skip

FAULTS = {"data": DATA, "codebook": CODEBOOKS, "model": MODELS, "scenario": SCENARIOS,
          "study": STUDIES}  # fmt: skip
EACH = [pytest.param(f, id=f"{kind}: {f.name}") for kind, many in FAULTS.items() for f in many]


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Call the command line in this process; give its exit code."""
    monkeypatch.setattr(sys, "argv", ["bayesmig", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write()
    return made


def test_there_are_at_least_forty() -> None:
    assert len(EACH) >= 40
    assert len({param.id for param in EACH}) == len(EACH)


def test_the_sound_project_is_valid(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["validate", str(project.folder / "study.toml")], monkeypatch)
    assert code == 0, capsys.readouterr().err


def test_a_packaged_theory_is_validated_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", "networks"], monkeypatch) == 0
    assert "networks: a valid model" in capsys.readouterr().out


def test_a_derived_column_may_change_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    derived("wealth2", STUDY)(project)
    code = run(["validate", str(project.folder / "study.toml")], monkeypatch)
    assert code == 0, capsys.readouterr().err


@dataclass(frozen=True)
class Told:
    """A message of the command line in its parts."""

    what: str
    where: tuple[str, ...]
    mend: str

    @classmethod
    def of(cls, text: str) -> Told:
        """Take the one message apart; anything else fails."""
        assert text.startswith("error: ") and text.count("error: ") == 1
        assert "Traceback" not in text
        what, _, rest = text.removeprefix("error: ").partition("\n  where: ")
        where, _, mend = rest.partition("\n  mend:  ")
        return cls(what, tuple(where.split(" · ")), mend.strip())


@pytest.mark.parametrize("fault", EACH)
def test_fault(
    fault: Fault,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault.plant(project)
    before = sorted(project.folder.rglob("*"))
    arguments = ["run", str(project.folder / "study.toml"), "--out", str(project.folder / "out")]
    assert run(arguments, monkeypatch) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    told = Told.of(shown.err)
    for word in fault.words:
        assert word in shown.err
    assert str(project.folder / fault.file) in told.where
    if fault.key:
        assert {f"key {fault.key}", f"keys {fault.key}"} & set(told.where), told.where
    if fault.column:
        named = [part for part in told.where if part.startswith("column")]
        assert any(re.search(rf"\b{fault.column}\b", part) for part in named), told.where
    if fault.rows:
        assert f"rows {fault.rows}" in [part.partition(" (")[0] for part in told.where], told.where
    else:
        assert not any(part.startswith("rows ") for part in told.where), told.where
    assert told.mend and fault.mend in told.mend
    assert sorted(project.folder.rglob("*")) == before


def test_faults_in_two_theories_name_the_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.folder / "other.toml").write_text(MODEL.replace("female", "femal", 1))
    project.edit("study", '["theory.toml"]', '["theory.toml", "other.toml"]')
    assert run(["validate", str(project.folder / "study.toml")], monkeypatch) == 1
    told = Told.of(capsys.readouterr().err)
    assert told.where[:2] == (str(project.folder / "other.toml"), "theory 'other'")


FIT = ["fit", "theory.toml", "survey.toml", "--out"]
COMMANDS = {
    "unknown command": (["fitt"], "fitt"),
    "missing argument": (["fit", "networks"], "codebook"),
    "option that is no number": (["run", "study.toml", "--out", "x", "--seed", "one"], "--seed"),
    "file that is not there": (["check", "none.nc"], "none.nc"),
    "file that is no posterior": (["check", "study.toml"], "study.toml"),
    "two questions at once": (
        ["predict", "none.nc", "--slope", "a", "--comparison", "b"],
        "one at a time",
    ),
    "data file in place of a codebook": (["describe", "data.csv"], "data.csv"),
    "output folder that holds something else": (["run", "study.toml", "--out", "."], "out"),
    "output folder that is a file": (["run", "study.toml", "--out", "data.csv"], "data.csv"),
    "output folder under a file": (["run", "study.toml", "--out", "data.csv/x"], "data.csv/x"),
    "output folder of an impossible name": (["run", "study.toml", "--out", "x" * 300], "too long"),
    "too few persons": (["simulate", "made", "--persons", "3"], "persons"),
    "file of no known kind": (["validate", "pyproject.toml"], "pyproject.toml"),
    "a theory that there is not": (["validate", "netwrks"], "netwrks"),
    "fit into the codebook": ([*FIT, "survey.toml"], "ends in .nc, not to 'survey.toml'"),
    "fit into the data": ([*FIT, "data.csv"], "ends in .nc, not to 'data.csv'"),
    "fit into a folder": ([*FIT, "folder.nc"], "is a folder"),
    "fit into another file": ([*FIT, "precious.nc"], "holds no draws of bayesmig"),
    "fit into a file of another program": ([*FIT, "other.nc"], "holds no draws of bayesmig"),
    "fit into its own input": (["fit", "./precious.nc", "survey.toml", "--out", "precious.nc"],
                               "one of the inputs"),
    "fit under a file": ([*FIT, "data.csv/x.nc"], "cannot be written"),
    "fit where nobody may write": ([*FIT, "/proc/none/x.nc"], "cannot be written"),
    "fit into an impossible name": ([*FIT, "x" * 300 + ".nc"], "too long"),
    "fit of a model of an impossible name": (["fit", "x" * 300, "survey.toml", "--out", "x.nc"],
                                             "no packaged model"),
    "fit with draws that fit nowhere": ([*FIT, "x.nc", "--draws", "1000000000000"], "key draws"),
    "fit with too few chains": ([*FIT, "x.nc", "--chains", "0"], "key chains"),
    "demo into somebody's folder": (["demo", "--out", "mine"], "holds something else"),
    "demo into a file": (["demo", "--out", "data.csv"], "data.csv"),
    "demo of too many": (["demo", "--out", "new", "--persons", "2000000"], "--persons"),
}  # fmt: skip


def others_files(folder: Path) -> None:
    """Files and folders that no command made."""
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (folder / "folder.nc").mkdir()
    (folder / "precious.nc").write_text("precious")
    xr.Dataset({"x": ("y", [1.0])}).to_netcdf(folder / "other.nc", engine="h5netcdf")
    (folder / "mine" / "results").mkdir(parents=True)
    (folder / "mine" / "study.toml").write_text("# A study of years.\n")


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file with its bytes, and every folder."""
    return {p: p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.mark.parametrize(("arguments", "word"), COMMANDS.values(), ids=COMMANDS.keys())
def test_wrong_command(
    arguments: list[str],
    word: str,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    others_files(project.folder)
    monkeypatch.chdir(project.folder)
    before = contents(project.folder)
    assert run(arguments, monkeypatch) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and "Traceback" not in shown.err
    assert word in shown.err
    assert "mend:" in shown.err
    assert contents(project.folder) == before


def test_fit_finds_what_cannot_be_tested_before_it_samples(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.edit("theory", "comparison(female,", "comparison(femal,")
    monkeypatch.chdir(project.folder)
    before = contents(project.folder)
    assert run([*FIT, "x.nc"], monkeypatch) == 1
    assert "'femal'" in Told.of(capsys.readouterr().err).what
    assert contents(project.folder) == before


def test_draws_may_be_replaced_by_draws(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    few = ["--chains", "1", "--draws", "10", "--tune", "10", "--quiet"]
    for seed in ("1", "2"):
        assert run([*FIT, "x.nc", *few, "--seed", seed], monkeypatch) == 0
        assert capsys.readouterr().out == "x.nc\n"


class Stopped(Exception):
    """Nothing is simulated here."""


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        (lambda folder: None, True),
        (lambda folder: (folder / "study.toml").unlink(), False),
        (lambda folder: (folder / "notes.txt").write_text("mine"), False),
        (lambda folder: (folder / "study.toml").write_text("title = 'mine'\n"), False),
        (lambda folder: (folder / "study.toml").write_bytes(b"\xff"), False),
    ],
)
def test_a_demo_replaces_a_demo_and_nothing_else(
    change: Callable[[Path], object], allowed: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def stop(*_: object, **__: object) -> None:
        raise Stopped

    monkeypatch.setattr("bayesmig.simulation.simulate", stop)
    out = tmp_path / "demo"
    for seed in ("1", "2"):
        with pytest.raises(Stopped):
            run(["demo", "--out", str(out), "--seed", seed], monkeypatch)
    (out / "survey").mkdir()
    change(out)
    before = contents(out)
    if allowed:
        with pytest.raises(Stopped):
            run(["demo", "--out", str(out)], monkeypatch)
    else:
        assert run(["demo", "--out", str(out)], monkeypatch) == 1
        assert "holds something else" in capsys.readouterr().err
        assert contents(out) == before


@pytest.mark.parametrize(
    ("advice", "shown"),
    [
        ("fit with draws=1,500 in each of 4 chains", "fit with --draws 1500 in each of 4 chains"),
        ("or pass allow_unconverged=True to look", "or pass --allow-unconverged to look"),
        ("or with method='nuts'", "or with --method nuts"),
        ("say wts=False, or folds='all'", "say --unweighted, or --one-by-one"),
        ("a higher target_accept=0.95", "a higher --target-accept 0.95"),
        ("state missing = 3", "state missing = 3"),
    ],
)
def test_a_mend_on_the_command_line_names_its_options(advice: str, shown: str) -> None:
    text = f"draws=3 are few\n  mend:  {advice}"
    assert _in_options(text) == f"draws=3 are few\n  mend:  {shown}"
