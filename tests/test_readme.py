"""The README's snippets do what it says."""

import re
from pathlib import Path

import pytest

from bayesmig.spec.study import Study
from bayesmig.tomlfile import read_toml, validate

README = Path(__file__).parent.parent / "README.md"


def snippets(language: str) -> list[str]:
    """Give the README's code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_python_runs_in_at_most_twelve_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = snippets("python")
    statements = [line for line in code.splitlines() if line]
    assert len(statements) <= 12
    monkeypatch.chdir(tmp_path)
    # Half the persons and no bars: the story is the same, and the test is quick.
    code = code.replace("persons=2000", "persons=1000")
    code = code.replace("seed=7)", "seed=7, progress=False)")
    found: dict[str, object] = {}
    exec(compile(code, str(README), "exec"), found)
    shown = capsys.readouterr().out
    assert "network_cut" in shown or "Family reunification" in shown
    assert len(found["checks"]) >= 4  # type: ignore[arg-type]


def test_study_is_valid(tmp_path: Path) -> None:
    study = next(text for text in snippets("toml") if "theories" in text)
    path = tmp_path / "study.toml"
    path.write_text(study)
    assert validate(Study, read_toml(path, "study"), file=str(path)).main is None


def test_first_screen_says_what_it_is() -> None:
    first = "\n".join(README.read_text().splitlines()[:22])
    for words in ("make demo", "make test", "docs/demo.png", "bayesMig"):
        assert words in first
