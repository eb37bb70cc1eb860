"""`bayesmig explain` and `bayesmig models --mechanisms`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import bayesmig as bm
from bayesmig.cli import main
from bayesmig.spec.mechanisms import mechanisms, mechanisms_text


def call(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["bayesmig", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


@pytest.mark.parametrize("width", [80, 100])
def test_the_text_fits_the_screen(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = call(["explain", "networks"], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert out == bm.explain("networks").at_width(width) + "\n"
    _, out, _ = call(["models", "--mechanisms"], monkeypatch, capsys)
    assert out == mechanisms_text(mechanisms(), width) + "\n"


def test_prose_is_never_wider_than_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    _, out, _ = call(["explain", "baseline"], monkeypatch, capsys)
    assert out == bm.explain("baseline").at_width(120) + "\n"


def test_options_show_the_other_forms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    explanation, drawn = bm.explain("networks"), bm.graph("networks")
    forms = {"--latex": explanation.latex, "--graph": drawn.text, "--dot": drawn.source}
    for option, text in forms.items():
        code, out, _ = call(["explain", "networks", option], monkeypatch, capsys)
        assert (code, out) == (0, text + "\n")


def test_a_survey_is_read_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = bm.simulate(tmp_path / "survey", persons=500, seed=1)
    arguments = ["explain", "networks", "--survey", str(made.codebook)]
    code, out, _ = call(arguments, monkeypatch, capsys)
    assert code == 0
    assert "(community of this survey)" in " ".join(out.split())
    assert call(["explain", "networks", str(made.codebook)], monkeypatch, capsys)[1] == out
    code, out, _ = call([*arguments, "--graph"], monkeypatch, capsys)
    assert "origin (community)" in out
    code, out, _ = call([*arguments, "--json"], monkeypatch, capsys)
    assert json.loads(out)["name"] == "networks"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "network"], "did you mean 'networks'"),
        (["explain", "nowhere.toml"], "does not exist"),
        (["explain", "networks", "--survey", "nowhere.toml"], "does not exist"),
        (["explain", "networks", "nowhere.toml"], "does not exist"),
        (["explain", "networks", "a.toml", "--survey", "b.toml"], "two codebooks"),
        (["explain", "networks", "--graph", "--latex"], "--latex and --graph"),
        (["models", "--mechanisms", "--schema", "model"], "one at a time"),
    ],
)
def test_what_cannot_be_shown_is_one_message(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = call(arguments, monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert said in err and "mend:" in err
