"""A study from its file to its report: complete, resumed, and never half there."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import typer
import xarray as xr

from bayesmig.cli import app, main
from bayesmig.progress import silent
from bayesmig.simulation import simulate
from bayesmig.spec.library import load_model
from bayesmig.study import StudyResult, read_study, run

STUDY = """
title = "A small study"
survey = "survey/survey.toml"
theories = ["baseline", "selectivity"]
scenarios = ["border_closure"]
seed = 3
[sampling]
chains = 2
draws = 50
tune = 50
[questions]
by = ["female"]
comparisons = ["female"]
slopes = ["wealth"]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    simulate(folder / "survey", persons=500, seed=2)
    (folder / "study.toml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def done(home: Path) -> StudyResult:
    return run(home / "study.toml", home / "out", progress=silent)


def draws_of(out: Path, theory: str) -> xr.Dataset:
    """Give the draws that a run left."""
    with xr.open_datatree(out / "steps" / f"fit-{theory}" / "posterior.nc") as tree:
        return tree["posterior"].to_dataset().load()


def manifest(out: Path) -> dict[str, str]:
    """Give the checksums of a run's files."""
    files: dict[str, str] = json.loads((out / "manifest.json").read_text())["files"]
    return files


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Call the command line in this process; give its exit code."""
    monkeypatch.setattr(sys, "argv", ["bayesmig", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_everything_is_there(done: StudyResult) -> None:
    assert done.report.is_file()
    for name in (
        "convergence",
        "parameters",
        "checks",
        "clustering",
        "comparison",
        "hypotheses",
        "shares",
    ):
        table = pd.read_csv(done.folder / "tables" / f"{name}.csv")
        assert len(table) == len(pd.read_parquet(done.folder / "tables" / f"{name}.parquet")) > 0
    scenarios = pd.read_csv(done.folder / "tables" / "scenarios.csv")
    closed = scenarios.query("quantity == 'scenario' and alternative == 'international'")
    assert (closed["estimate"] == 0).all()
    assert set(manifest(done.folder)) == {
        str(p.relative_to(done.folder))
        for p in done.folder.rglob("*")
        if p.is_file() and p.name != "manifest.json"
    }


def test_results_say_where_they_come_from(done: StudyResult) -> None:
    results = json.loads((done.folder / "results.json").read_text())
    assert {s["step"] for s in results["steps"]} == set(done.computed)
    assert all(s["created"] and s["seconds"] > 0 for s in results["steps"])
    assert results["files"] == {
        "study": "study.toml",
        "codebook": "survey.toml",
        "data": "survey.csv.gz",
    }
    assert {"python", "pymc", "arviz", "nutpie", "bayesmig"} <= set(results["versions"])
    columns = {c["column"]: c for c in results["columns"]}
    assert columns["female"]["codebook"] == "= sex - 1"
    assert columns["female"]["description"] == "1 for women, 0 for men"
    assert columns["wealth"]["theories"] == ["selectivity"]
    for theory in results["theories"]:
        provenance = theory["provenance"]
        assert provenance["survey"] == results["survey"]["fingerprint"]
        assert (provenance["draws"], provenance["tune"], provenance["seed"]) == (50, 50, 3)
        assert provenance["spec"] and provenance["created"]


def test_a_second_run_computes_nothing(home: Path, done: StudyResult) -> None:
    before = {p: p.stat().st_mtime_ns for p in (done.folder / "steps").rglob("*") if p.is_file()}
    again = run(home / "study.toml", done.folder, progress=silent)
    assert again.computed == ()
    assert before == {p: p.stat().st_mtime_ns for p in before}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('by = ["female"]', 'by = ["urban"]', {"effects", "scenario-border_closure"}),
        ('"border_closure"', '"wealth_grant"', {"scenario-wealth_grant"}),
        ('"selectivity"]', '"selectivity.toml"]', {"fit-selectivity", "test-selectivity"}),
    ],
)
def test_only_what_changed_is_computed(
    old: str, new: str, expected: set[str], home: Path, done: StudyResult
) -> None:
    # The same theory with one claim more: its chains are kept.
    (home / "selectivity.toml").write_text(
        load_model("selectivity").to_toml()
        + '\n[hypotheses.more]\nclaim = "."\nstatement = "share(stay) > 0.5"\n'
    )
    changed = home / "changed.toml"
    changed.write_text(STUDY.replace(old, new))
    assert set(run(changed, done.folder, progress=silent).computed) == expected
    # Back again, so that the other tests find the study as it was.
    run(home / "study.toml", done.folder, progress=silent)


def test_a_damaged_step_is_computed_again(home: Path, done: StudyResult) -> None:
    target = done.folder / "steps" / "effects" / "shares.parquet"
    sound = target.read_bytes()
    target.write_bytes(sound[:-7])
    again = run(home / "study.toml", done.folder, progress=silent)
    assert again.computed == ("effects",)
    assert target.read_bytes() == sound


@pytest.mark.parametrize(
    "after",
    [
        pytest.param("chain", marks=pytest.mark.slow),
        "fit",
        pytest.param("table", marks=pytest.mark.slow),
    ],
)
def test_killed_and_run_again_ends_the_same(
    after: str, home: Path, done: StudyResult, tmp_path: Path
) -> None:
    """Kill -9 as soon as a file of some kind is there; nothing may look complete."""
    out = tmp_path / "out"
    sign = {
        "chain": "chains/baseline/*.nc",
        "fit": "steps/fit-baseline/step.json",
        "table": "steps/check-*/step.json",
    }[after]
    program = "from bayesmig.cli import main; main()"
    arguments = ["run", str(home / "study.toml"), "--out", str(out), "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not list(out.glob(sign)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in out.glob(sign)}
    assert kept
    run(home / "study.toml", out, progress=silent)
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in kept.items())
    for theory in ("baseline", "selectivity"):
        xr.testing.assert_identical(draws_of(out, theory), draws_of(done.folder, theory))
    assert not [p for p in out.rglob(".*") if p.is_file()]


def test_nothing_is_written_before_everything_is_valid(home: Path, tmp_path: Path) -> None:
    wrong = home / "wrong.toml"
    wrong.write_text(STUDY.replace('["wealth"]', '["welth"]'))
    with pytest.raises(Exception, match="welth"):
        run(wrong, tmp_path / "out", progress=silent)
    assert not (tmp_path / "out").exists()


def test_the_main_theory_goes_by_its_own_name(home: Path) -> None:
    """Not by that of its file; a name may hold a dash."""
    text = load_model("selectivity").to_toml()
    assert "name = " in text
    (home / "mine.toml").write_text(text.replace('"selectivity"', '"my-theory"', 1))
    changed = home / "main.toml"
    changed.write_text(
        STUDY.replace('["baseline", "selectivity"]', '["mine.toml", "baseline"]').replace(
            "seed = 3", 'seed = 3\nmain = "my-theory"'
        )
    )
    plan = read_study(changed)
    assert plan.main == "my-theory"
    assert list(plan.designs) == ["my-theory", "baseline"]


def test_reading_a_study_samples_nothing(home: Path) -> None:
    plan = read_study(home / "study.toml")
    assert plan.main == "selectivity"
    assert list(plan.scenarios) == ["border_closure"]


# ----------------------------------------------------------------- the command line


def test_strict_ends_with_two_where_a_check_fails(
    home: Path,
    done: StudyResult,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["run", str(home / "study.toml"), "--out", str(done.folder), "--quiet"]
    assert call(arguments, monkeypatch) == 0
    assert call([*arguments, "--strict"], monkeypatch) == 2
    assert "convergence" in capsys.readouterr().err


def fit_file(done: StudyResult, theory: str = "selectivity") -> str:
    """Give the path of a fit of the run."""
    return str(done.folder / "steps" / f"fit-{theory}" / "posterior.nc")


def has_keys(*keys: str) -> Callable[[object], bool]:
    """Make a check that JSON output is a table with some keys."""
    return lambda content: isinstance(content, dict) and set(keys) <= set(content)


JSON: dict[str, tuple[list[str], Callable[[object], bool]]] = {
    "run": (["run", "STUDY", "--out", "OUT", "--quiet"], has_keys("report", "failed", "computed")),
    "validate": (["validate", "STUDY"], lambda c: isinstance(c, dict) and c["kind"] == "study"),
    "fit": (
        ["fit", "baseline", "SURVEY", "--out", "NEW", "--draws", "20", "--tune", "20", "--quiet"],
        has_keys("file", "problems", "summary"),
    ),
    "describe": (["describe", "SURVEY"], has_keys("tables", "warnings")),
    "models": (["models"], has_keys("theories", "scenarios")),
    "check": (["check", "FIT", "--allow-unconverged"], lambda c: isinstance(c, list)),
    "test": (["test", "FIT", "--allow-unconverged"], has_keys("gender_streams_differ")),
    "predict": (["predict", "FIT", "--allow-unconverged"], has_keys("header", "summary")),
    "scenario": (
        ["predict", "FIT", "--scenario", "border_closure", "--allow-unconverged"],
        has_keys("header", "summary"),
    ),
    "compare": (
        ["compare", "FIT", "OTHER", "--allow-unconverged", "--quiet"],
        has_keys("summary", "text"),
    ),
}


@pytest.mark.parametrize(("arguments", "right"), JSON.values(), ids=JSON.keys())
def test_json_is_for_scripts(
    arguments: list[str],
    right: Callable[[object], bool],
    home: Path,
    done: StudyResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "STUDY": str(home / "study.toml"),
        "OUT": str(done.folder),
        "NEW": str(tmp_path / "new.nc"),
        "FIT": fit_file(done),
        "OTHER": fit_file(done, "baseline"),
        "SURVEY": str(home / "survey" / "survey.toml"),
    }
    code = call([places.get(a, a) for a in arguments] + ["--json"], monkeypatch)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert right(json.loads(shown.out))


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        # Both are called posterior.nc where they stand; each has a name of its own.
        ({}, {"STEPS/fit-baseline": "baseline", "STEPS/fit-selectivity": "selectivity"}),
        (
            {"a/m.nc": "selectivity", "b/m.nc": "selectivity", "base.nc": "baseline"},
            {"a/m.nc": "a/m.nc", "b/m.nc": "b/m.nc", "base.nc": "baseline"},
        ),
        (
            {"baseline": "selectivity", "m.nc": "selectivity", "base.nc": "baseline"},
            {"baseline": "baseline", "m.nc": "m.nc", "base.nc": "base.nc"},
        ),
    ],
    ids=["theories", "paths of one theory", "path that is a theory's name"],
)
def test_no_fit_is_left_out_of_a_comparison(
    copies: dict[str, str],
    expected: dict[str, str],
    done: StudyResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, theory in copies.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(Path(fit_file(done, theory)).read_bytes())
    steps = str(done.folder / "steps")
    files = [p if p in copies else f"{p.replace('STEPS', steps)}/posterior.nc" for p in expected]
    options = ["--allow-unconverged", "--quiet", "--json"]
    assert call(["compare", *files, *options], monkeypatch) == 0
    rows = json.loads(capsys.readouterr().out)["summary"]
    assert {row["theory"] for row in rows} == set(expected.values())


def test_a_fit_is_not_compared_with_itself(
    done: StudyResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(fit_file(done))
    again = str(file.parent / ".." / file.parent.name / file.name)
    assert call(["compare", str(file), again, fit_file(done, "baseline")], monkeypatch) == 1
    assert "twice" in capsys.readouterr().err


def test_unconverged_draws_are_refused_unless_allowed(
    done: StudyResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["predict", fit_file(done)], monkeypatch) == 1
    shown = capsys.readouterr()
    assert "not converged" in shown.err and shown.out == ""
    assert call(["predict", fit_file(done), "--allow-unconverged"], monkeypatch) == 0


VERBS = {verb.name or verb.callback.__name__: verb for verb in app.registered_commands}
#: What a user has: what the commands themselves write, and packaged names.
FILES = {"my-survey/survey.toml", "bayesmig-demo/study.toml", "networks.nc", "selectivity.nc"}


def test_every_verb_is_seen() -> None:
    assert set(VERBS) == {
        *("demo", "run", "report", "validate", "simulate", "describe", "models"),
        *("fit", "check", "compare", "test", "predict"),
    }


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_a_screen_and_has_an_example(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([verb, "--help"], monkeypatch) == 0
    text = capsys.readouterr().out
    examples = re.findall(rf"Example: bayesmig ({verb}\b.*?)\n\n", text, re.DOTALL)
    assert examples
    assert len(text.splitlines()) <= 40
    group = typer.main.get_command(app)
    for example in examples:
        _, *arguments = shlex.split(example)
        # Parsed, not run; parsing eats the list that it is given.
        assert group.commands[verb].make_context(verb, [*arguments])  # type: ignore[attr-defined]
        assert {a for a in arguments if re.search(r"\.\w+$|/", a)} <= FILES


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_is_a_result(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(arguments, monkeypatch) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "Migration theories" in shown.out and all(verb in shown.out for verb in VERBS)


def test_the_version_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["--version"], monkeypatch) == 0
    assert capsys.readouterr().out == f"bayesmig {version('bayesmig')}\n"
