"""The README's snippets do what it says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

import bayesmig as bm
from bayesmig.cli import app
from bayesmig.study import read_study

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
#: Lines of the shell that are neither make's nor ours.
OTHERS = {". .venv/bin/activate"}


def snippets(language: str) -> list[str]:
    """Give the README's code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader types."""
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def story(home: Path) -> dict[str, object]:
    """What the Python snippet leaves behind, typed a second time."""
    (code,) = snippets("python")
    # Half the persons and no bars: the story is the same, and the test is quick.
    code = code.replace("persons=2000", "persons=1000").replace(
        "seed=7)", "seed=7, progress=False)"
    )
    beginning = code[: code.index("survey =")]
    found: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for text in (beginning, code):
            exec(compile(text, str(README), "exec"), found)
    return found


def test_python_runs_again_and_in_at_most_twelve_statements(story: dict[str, object]) -> None:
    assert len(story["checks"]) >= 4  # type: ignore[arg-type]
    (code,) = snippets("python")
    assert len([line for line in code.splitlines() if line]) <= 12


def test_study_runs_on_the_survey_of_the_python_snippet(
    story: dict[str, object], home: Path
) -> None:
    path = home / "study.toml"
    path.write_text(next(text for text in snippets("toml") if "theories" in text))
    plan = read_study(path)
    assert list(plan.theories) == ["baseline", "selectivity", "networks"]
    assert plan.main == "networks"


def test_codebook_reads_a_file_with_its_missing_codes(tmp_path: Path) -> None:
    codebook = tmp_path / "people.toml"
    codebook.write_text(next(text for text in snippets("toml") if "[roles]" in text))
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        {
            "moved": np.arange(200) % 4,
            "pid": np.arange(200),
            "hhid": np.arange(200) // 2,
            "village": np.arange(200) // 2 % 10,
            "wgt": rng.gamma(4.0, 0.25, 200),
            "schooling": np.where(np.arange(200) < 5, 98, rng.integers(0, 16, 200)),
        }
    )
    people.to_stata(tmp_path / "people.dta", write_index=False)
    survey = bm.read_survey(codebook)
    assert survey.n_obs == 195
    assert survey.frame["education"].max() <= 7


COMMANDS = [
    line.split("#")[0].strip() for text in snippets("sh") for line in text.splitlines() if line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist_with_their_options(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "bayesmig":
        group = typer.main.get_command(app)
        verb = group.commands.get(arguments[0])  # type: ignore[attr-defined]
        if arguments != ["--help"]:
            # Parsed, not run.
            assert verb.make_context(arguments[0], arguments[1:])
    else:
        assert command in OTHERS


def test_every_command_is_seen() -> None:
    assert {c.split()[1] for c in COMMANDS if c.startswith("bayesmig")} >= {"run", "describe"}


def test_the_way_to_the_command_is_told() -> None:
    text = README.read_text()
    assert "pip install ." in text
    assert text.index(". .venv/bin/activate") < text.index("bayesmig run")


def test_first_screen_says_what_it_is() -> None:
    first = "\n".join(README.read_text().splitlines()[:22])
    for words in ("make demo", "make test", "docs/demo.png", "bayesMig"):
        assert words in first
