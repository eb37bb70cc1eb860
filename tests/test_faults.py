"""Planted faults: each gives one typed error that says where and what to do, and no output.

A sound project (data, codebook, model, scenario, study) is broken in one place; then
``bayesmig run`` must end with 1 before anything is sampled or written.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmig.cli import main

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


Fault = tuple[str, Callable[[Project], object], tuple[str, ...]]


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


FAULTS: list[Fault] = [
    # data
    ("missing data file", lambda p: (p.folder / "data.csv").unlink(), ("data.csv",)),
    ("empty data file", lambda p: (p.folder / "data.csv").write_text(""), ("data.csv",)),
    (
        "wrong encoding",
        lambda p: (p.folder / "data.csv").write_bytes(b"moved,id\n0,caf\xe9\n"),
        ("data.csv", "encoding"),
    ),
    ("duplicate column", duplicate_column, ("female",)),
    ("choice code without a mapping", put("moved", 7, 9), ("moved", "9")),
    (
        "an alternative never chosen",
        data(lambda f: f.__setitem__("moved", f["moved"].replace(2, 1))),
        ("international",),
    ),
    ("missing weight", put("w", 3, None), ("w", "3")),
    ("infinite weight", put("w", 3, "inf"), ("w", "3")),
    ("negative weight", put("w", 3, -1), ("w", "3")),
    ("all-missing column", put("income", slice(None), None), ("income",)),
    ("missing value under the rule refuse", put("female", 5, None), ("female", "5")),
    ("constant column", put("female", slice(None), 1), ("female",)),
    ("text in a numeric column", put("income", 4, "much"), ("income", "4")),
    ("logarithm of zero", put("income", 4, 0), ("income", "4")),
    ("infinite value", put("female", 4, "inf"), ("female",)),
    ("duplicate person-period", data(copy_row), ("person", "rows 9, 10")),
    ("person in two households", data(two_households), ("household",)),
    ("one origin only", put("village", slice(None), 1), ("origin",)),
    ("perfect separation by a column", data(separate), ("female", "international")),
    ("perfect separation by two columns", data(separate_together), ("international",)),
    # codebook
    ("codebook missing", lambda p: (p.folder / "survey.toml").unlink(), ("survey.toml",)),
    ("codebook is not TOML", edit("survey", "[roles]", "[roles"), ("survey.toml", "line")),
    ("codebook key misspelt", edit("survey", "[derive]", "[derived]"), ("derived", "derive")),
    ("role misspelt", edit("survey", "household =", "houshold ="), ("houshold", "household")),
    ("role column absent", edit("survey", '"village"', '"vilage"'), ("vilage", "village")),
    ("no choice role", edit("survey", 'choice = "moved"', ""), ("choice",)),
    ("derived from an unknown column", edit("survey", "log(income)", "log(incom)"), ("incom",)),
    (
        "code in a derived column",
        edit("survey", "log(income)", "__import__('os').getpid()"),
        ("wealth",),
    ),
    # model
    ("model missing", lambda p: (p.folder / "theory.toml").unlink(), ("theory.toml",)),
    ("model key misspelt", edit("theory", "[utility]", "[utilty]"), ("utilty", "utility")),
    ("wrong base", edit("theory", 'base = "stay"', 'base = "stray"'), ("stray", "stay")),
    ("unknown column in a formula", edit("theory", "+ wealth", "+ welth"), ("welth", "wealth")),
    (
        "code in a formula",
        edit("theory", "female + wealth", "{__import__('os').getpid()}"),
        ("theory.toml", "persons"),
    ),
    ("attribute access in a formula", edit("theory", "+ wealth", "+ wealth.sum"), ("persons",)),
    ("unknown transform", edit("theory", "+ wealth", "+ eval(wealth)"), ("eval",)),
    ("name of a Python variable", edit("theory", "+ wealth", "+ np"), ("np",)),
    (
        "rank-deficient design",
        edit("theory", "female + wealth", "female + wealth + scale(wealth)"),
        ("wealth",),
    ),
    ("non-positive prior scale", edit("theory", "scale = 1.0", "scale = 0.0"), ("scale", "> 0")),
    ("group that is not there", edit("theory", '"origin"', '"orign"'), ("orign", "origin")),
    ("circular extends", circle, ("circle",)),
    (
        "alternative that the survey lacks",
        edit("theory", '"international"]', '"international", "both"]'),
        ("both",),
    ),
    (
        "hypothesis about an unknown alternative",
        edit("theory", "comparison(female, international)", "comparison(female, abroad)"),
        ("abroad",),
    ),
    (
        "hypothesis that is no inequality",
        edit("theory", "comparison(female, international) < 0", "female"),
        ("statement",),
    ),
    (
        "unavailable yet chosen",
        edit("theory", "[utility]", '[available]\ninternal = "female"\n[utility]'),
        ("internal", "female"),
    ),
    # scenario
    ("scenario missing", lambda p: (p.folder / "grant.toml").unlink(), ("grant.toml",)),
    ("unknown intervention", edit("grant", '"add"', '"adds"'), ("adds",)),
    ("intervention without a value", edit("grant", "value = 0.1", ""), ("value",)),
    (
        "scenario on a column that the theory does not use",
        edit("grant", '"wealth"', '"income"'),
        ("income",),
    ),
    (
        "scenario for nobody",
        edit("grant", "value = 0.1", 'value = 0.1\nwhere = [{ column = "wealth", above = 1e6 }]'),
        ("wealth",),
    ),
    (
        "scenario on a column that others are computed from",
        derived("wealth", STUDY),
        ("'wealth2'", "'wealth'", "square(wealth)", "grant"),
    ),
    # study
    (
        "comparison of a column that others are computed from",
        derived("wealth2", STUDY.replace('["female"]', '["wealth"]')),
        ("'wealth2'", "'wealth'", "square(wealth)", "questions"),
    ),
    (
        "slope of a column that others are computed from",
        derived("wealth2", STUDY.replace("comparisons", "slopes").replace("female", "wealth")),
        ("'wealth2'", "'wealth'", "questions"),
    ),
    (
        "hypothesis about a column that others are computed from",
        derived("wealth2", STUDY, "comparison(female", "comparison(wealth"),
        ("'wealth2'", "'wealth'", "women"),
    ),
    ("comparison without a change", edit("study", '["female"]', '["income"]'), ("income",)),
    ("study key misspelt", edit("study", "theories", "theorys"), ("theorys", "theories")),
    ("unknown packaged theory", edit("study", '"theory.toml"', '"netwrks"'), ("netwrks",)),
    ("no seed", edit("study", "seed = 1", ""), ("seed",)),
    ("no chains", edit("study", "chains = 2", "chains = 0"), ("chains",)),
    ("main theory not listed", edit("study", "seed = 1", 'seed = 1\nmain = "x"'), ("main",)),
    ("question about no column", edit("study", '["female"]', '["femal"]'), ("femal", "female")),
]


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
    assert len(FAULTS) >= 40
    assert len({name for name, _, _ in FAULTS}) == len(FAULTS)


def test_the_sound_project_is_valid(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["validate", str(project.folder / "study.toml")], monkeypatch)
    assert code == 0, capsys.readouterr().err


def test_a_derived_column_may_change_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    derived("wealth2", STUDY)(project)
    code = run(["validate", str(project.folder / "study.toml")], monkeypatch)
    assert code == 0, capsys.readouterr().err


@pytest.mark.parametrize(("plant", "words"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_fault(
    plant: Callable[[Project], object],
    words: tuple[str, ...],
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plant(project)
    out = project.folder / "out"
    code = run(["run", str(project.folder / "study.toml"), "--out", str(out)], monkeypatch)
    shown = capsys.readouterr()
    assert code == 1
    assert shown.out == ""
    assert shown.err.startswith("error: ") and shown.err.count("error: ") == 1
    assert "Traceback" not in shown.err
    assert "mend:" in shown.err and "where:" in shown.err
    for word in words:
        assert word in shown.err
    assert not out.exists()


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
    "too few persons": (["simulate", "made", "--persons", "3"], "persons"),
    "file of no known kind": (["validate", "pyproject.toml"], "pyproject.toml"),
}


@pytest.mark.parametrize(("arguments", "word"), COMMANDS.values(), ids=COMMANDS.keys())
def test_wrong_command(
    arguments: list[str],
    word: str,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project.folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(project.folder)
    before = sorted(p.name for p in project.folder.iterdir())
    assert run(arguments, monkeypatch) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and "Traceback" not in shown.err
    assert word in shown.err
    assert sorted(p.name for p in project.folder.iterdir()) == before
