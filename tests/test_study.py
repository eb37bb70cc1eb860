"""A study from its file to its report: complete, resumed, and never half there."""

import json
import os
import re
import shlex
import shutil
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

from bayesmig import cli, study
from bayesmig.cli import app, main
from bayesmig.errors import QuestionError, StudyError
from bayesmig.progress import silent
from bayesmig.reporting.folder import StudyFolder, read_folder
from bayesmig.reporting.outputs import claim, is_of_a_study
from bayesmig.reporting.records import checksum
from bayesmig.simulation import simulate
from bayesmig.spec.library import load_model
from bayesmig.study import StudyResult, output_folder, read_study, report, run

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


def files(out: Path) -> set[str]:
    """Give the paths of all files in a folder."""
    return {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}


def contents(out: Path) -> dict[Path, bytes]:
    """Give every file with its bytes, and every folder."""
    return {p: p.read_bytes() if p.is_file() else b"" for p in out.rglob("*")}


def manifest(out: Path) -> dict[str, str]:
    """Give the checksums of a run's files."""
    found: dict[str, str] = json.loads((out / "manifest.json").read_text())["files"]
    return found


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Call the command line in this process; give its exit code."""
    monkeypatch.setattr(sys, "argv", ["bayesmig", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_keys_depend_on_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    before = study._key("survey", 1)
    assert study._key("survey", 1) == before != study._key("survey", 2)
    monkeypatch.setattr(study, "sources_hash", lambda: "another")
    assert study._key("survey", 1) != before


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
    # Neither what says whose folder it is, nor what only saves time.
    beside = {"manifest.json", "bayesmig.json", *(n for n in files(done.folder) if "chains/" in n)}
    assert set(manifest(done.folder)) == files(done.folder) - beside
    assert {n.rpartition("/")[0] for n in beside} == {"", "chains/baseline", "chains/selectivity"}


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
        pytest.param(
            '"border_closure"', '"wealth_grant"', {"scenario-wealth_grant"}, marks=pytest.mark.slow
        ),
        pytest.param(
            '"selectivity"]',
            '"selectivity.toml"]',
            {"fit-selectivity", "test-selectivity"},
            marks=pytest.mark.slow,
        ),
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


# ------------------------------------------------------- a run that was made in an instant


@pytest.fixture
def copied(done: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of one's own; figures, which take the longest, are not drawn anew."""
    monkeypatch.setattr("bayesmig.reporting.render.render", page)
    run_page = page(read_folder(done.folder))
    out = Path(shutil.copytree(done.folder, tmp_path / "out"))
    (out / "report.html").write_text(run_page)
    left = json.loads((out / "manifest.json").read_text())
    left["files"]["report.html"] = checksum(out / "report.html")
    (out / "manifest.json").write_text(json.dumps(left))
    return out


def page(study: StudyFolder) -> str:
    """Stand in for the page."""
    return f"A page of {', '.join(study.tables)}"


def without_times(out: Path) -> dict[str, str]:
    """Give the manifest of a run without the file that says when it was assembled."""
    return {k: v for k, v in manifest(out).items() if k != "results.json"}


def is_whole_again(out: Path, done: StudyResult) -> bool:
    """Tell whether a copied run is as it was, and nothing half-written is left."""
    assert not list(out.rglob(".*"))
    changed = {k for k, v in without_times(out).items() if without_times(done.folder).get(k) != v}
    return files(out) == files(done.folder) and changed == {"report.html"}


class Killed(BaseException):
    """The end of a process, of which nothing in it hears."""


ASSEMBLED = ["tables/comparison.parquet", "tables/effects.csv", "results.json", "report.html",
             "manifest.json"]  # fmt: skip


@pytest.mark.parametrize("last", ASSEMBLED)
def test_killed_while_assembling_looks_unfinished_and_is_finished_later(
    last: str, home: Path, copied: Path, done: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / "report.html").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed_before(copied / last))
        with pytest.raises(Killed):
            run(home / "study.toml", copied, progress=silent)
    (left,) = copied.rglob(".*.part")
    assert left.name == f".{Path(last).name}.999.part"
    assert not (copied / "manifest.json").exists()
    assert not (copied / last).exists()
    whole = manifest(done.folder)
    for name in files(copied) & {n for n in whole if n.startswith("tables/")}:
        assert checksum(copied / name) == whole[name]
    with pytest.raises(StudyError, match="no finished run"):
        report(copied)
    assert run(home / "study.toml", copied, progress=silent).computed == ()
    assert is_whole_again(copied, done)


def killed_before(target: Path) -> Callable[[Path, Path], None]:
    """Make a renaming that ends the run before a file appears; what was written aside stays."""
    rename = os.replace

    def replace(source: Path, to: Path) -> None:
        if Path(to) == target:
            # That of another process, since this one tidies up after what is raised.
            rename(source, Path(to).with_name(f".{target.name}.999.part"))
            raise Killed
        rename(source, to)

    return replace


KILLED = """
import os, signal, sys
from pathlib import Path
from bayesmig.progress import silent
from bayesmig.reporting import render
from bayesmig.study import run
study, out, last = map(Path, sys.argv[1:])
render.render = lambda study: "a page"
rename = os.replace
def replace(source, to):
    if Path(to) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, to)
os.replace = replace
run(study, out, progress=silent)
"""


@pytest.mark.parametrize(
    "last",
    ["manifest.json", *(pytest.param(n, marks=pytest.mark.slow) for n in ASSEMBLED[:-1])],
)
def test_a_process_killed_while_assembling_leaves_nothing_in_the_end(
    last: str, home: Path, copied: Path, done: StudyResult
) -> None:
    (copied / "manifest.json").unlink()
    arguments = [str(home / "study.toml"), str(copied), str(copied / last)]
    ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, timeout=300)
    assert ended.returncode == -signal.SIGKILL
    assert list(copied.rglob(".*.part")) and not (copied / "manifest.json").exists()
    run(home / "study.toml", copied, progress=silent)
    assert is_whole_again(copied, done)


def test_killed_before_anything_is_marked_leaves_a_folder_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = output_folder(tmp_path / "out", is_of_a_study)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed_before(out / "bayesmig.json"))
        with pytest.raises(Killed):
            claim(out, [])
    assert files(out) == {".bayesmig.json.999.part"}
    claim(output_folder(out, is_of_a_study), [])
    assert files(out) == {"bayesmig.json"}


def test_what_killed_runs_were_writing_is_cleared_away(
    home: Path, copied: Path, done: StudyResult
) -> None:
    for name in (
        *(".report.html.77.part", ".manifest.json.77.part", "tables/.effects.csv.77.part"),
        *(
            "chains/baseline/.chain-01-0123456789abcdef.nc.77.part",
            "steps/.fit-baseline.77.part/posterior.nc",
        ),
    ):
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("half")
    assert run(home / "study.toml", copied, progress=silent).computed == ()
    assert is_whole_again(copied, done)


def test_chains_of_other_plans_are_removed(home: Path, copied: Path, done: StudyResult) -> None:
    """Those of this plan stay: a theory with another claim has the same."""
    theirs = {"chains/baseline/notes.nc", "chains/mine.txt", "chains/baseline/.notes.nc.7.part"}
    for name in (*theirs, "chains/baseline/chain-01-0123456789abcdef.nc",
                 "chains/gone/chain-02-0123456789abcdef.nc"):  # fmt: skip
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("a chain")
    (copied / "report.html").unlink()
    run(home / "study.toml", copied, progress=silent)
    assert files(copied) == files(done.folder) | theirs
    assert not (copied / "chains" / "gone").exists()


# ------------------------------------------------------------------- what is not its own


@pytest.mark.parametrize(
    "planted",
    [
        ["steps/mydir/precious.txt"],
        ["tables/mydata.csv"],
        ["chains/melody.mid"],
        [".film.mkv.77.part"],
        ["manifest.json"],
        ["manifest.json", "steps/mydir/precious.txt", "tables/mydata.csv"],
        ["bayesmig.json", "tables/mydata.csv"],
    ],
)
def test_a_folder_of_others_is_refused(planted: list[str], home: Path, tmp_path: Path) -> None:
    for name in planted:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"name": "a web page"}')
    before = contents(tmp_path)
    with pytest.raises(StudyError, match="something else") as raised:
        run(home / "study.toml", tmp_path, progress=silent)
    assert raised.value.mend
    assert contents(tmp_path) == before


def test_files_of_others_stay_and_are_not_certified(home: Path, copied: Path) -> None:
    theirs = {"steps/mydir/precious.txt", "tables/mydata.csv", "steps/scenario-border_closure/a.md",
              "steps/no.txt"}  # fmt: skip
    for name in theirs:
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("mine")
    changed = home / "no_scenario.toml"
    changed.write_text(STUDY.replace('scenarios = ["border_closure"]', ""))
    assert run(changed, copied, progress=silent).computed == ()
    left = files(copied)
    assert theirs <= left
    assert not theirs & set(manifest(copied))
    assert not {n for n in left if re.search("scenario|diversion", n)} - theirs


@pytest.mark.parametrize(
    "planted", ["steps/effects/notes.txt", "steps/fit-baseline/old/fit.nc", "report.html/x"]
)
def test_a_name_that_is_needed_and_taken_keeps_the_study_out(
    planted: str, home: Path, copied: Path
) -> None:
    path = copied / planted
    if path.parent.is_file():
        path.parent.unlink()
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    before = contents(copied)
    with pytest.raises(StudyError, match="not the study's") as raised:
        run(home / "study.toml", copied, progress=silent)
    assert any(str(p) in raised.value.where[0] for p in (path, path.parent))
    assert contents(copied) == before


def test_a_step_that_is_a_link_keeps_the_study_out(
    home: Path, copied: Path, tmp_path: Path
) -> None:
    step = (copied / "steps" / "effects").rename(tmp_path / "elsewhere")
    (copied / "steps" / "effects").symlink_to(step)
    with pytest.raises(StudyError, match="not the study's"):
        run(home / "study.toml", copied, progress=silent)


# ------------------------------------------------------------------ damaged state files


@pytest.mark.parametrize(
    ("name", "text", "computed"),
    [
        ("manifest.json", "[]", ()),
        ("manifest.json", "{", ()),
        ("manifest.json", '{"study": "", "steps": {}, "files": {}, "versions": {}}', ()),
        ("manifest.json", '{"study": 1, "steps": [], "files": null}', ()),
        ("bayesmig.json", "[]", ()),
        ("results.json", '{"theories": 3}', ()),
        ("results.json", "", ()),
        ("steps/test-selectivity/step.json", "[]", ("test-selectivity",)),
        ("steps/test-selectivity/step.json", '{"key": "x", "files": null}', ("test-selectivity",)),
    ],
)
def test_a_damaged_state_file_is_as_good_as_none(
    name: str, text: str, computed: tuple[str, ...], home: Path, copied: Path, done: StudyResult
) -> None:
    (copied / name).write_text(text)
    assert run(home / "study.toml", copied, progress=silent).computed == computed
    assert files(copied) == files(done.folder)
    assert run(home / "study.toml", copied, progress=silent).computed == ()


def test_no_record_reaches_outside_of_its_folder(home: Path, copied: Path) -> None:
    precious = copied.parent / "precious.txt"
    precious.write_text("mine")
    record = copied / "steps" / "old" / "step.json"
    record.parent.mkdir()
    listed = {"../../../precious.txt": checksum(precious)}
    left = {"key": "x", "files": listed, "created": "", "seconds": 1}
    record.write_text(json.dumps(left))
    (copied / "report.html").unlink()
    run(home / "study.toml", copied, progress=silent)
    assert precious.read_text() == "mine"
    assert record.is_file()


# ------------------------------------------------------------------- the report by itself


def test_the_report_is_written_again_and_stays_certified(
    home: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesmig.reporting.render.render", lambda study: "another page")
    assert report(copied) == copied / "report.html"
    assert (copied / "report.html").read_text() == "another page"
    before = contents(copied)
    assert run(home / "study.toml", copied, progress=silent).computed == ()
    assert contents(copied) == before


def test_the_same_words_write_a_report_on_the_command_line(
    home: Path, copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "report.html").unlink()
    assert call(["report", str(copied)], monkeypatch) == 0
    study = str(home / "study.toml")
    assert call(["report", study, "--out", str(copied), "--quiet"], monkeypatch) == 0
    assert capsys.readouterr().out == f"{copied / 'report.html'}\n" * 2
    assert report(study, copied, progress=silent) == copied / "report.html"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda out: (out / "manifest.json").unlink(), "no finished run"),
        (lambda out: (out / "manifest.json").write_text("[]"), "no finished run"),
        (lambda out: (out / "tables" / "effects.parquet").unlink(), "tables/effects.parquet"),
        (lambda out: (out / "tables" / "effects.csv").write_text("a"), "tables/effects.csv"),
        (lambda out: (out / "results.json").write_text('{"theories": 3}'), "results.json"),
        (lambda out: (out / "results.json").unlink(), "results.json"),
        (shutil.rmtree, "no finished run"),
    ],
)
def test_no_report_is_made_of_an_unfinished_or_damaged_run(
    damage: Callable[[Path], object],
    said: str,
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(copied)
    before = contents(copied)
    assert call(["report", str(copied)], monkeypatch) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert f"bayesmig run STUDY.toml --out {copied}" in shown.err
    assert contents(copied) == before


def test_a_finished_run_has_its_folder_already(copied: Path) -> None:
    with pytest.raises(StudyError, match="has one already"):
        report(copied, copied.parent / "elsewhere")


# ------------------------------------------------------------------------- the study file


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
    "mechanisms": (["models", "--mechanisms"], lambda c: isinstance(c, list) and len(c) == 45),
    "explain": (["explain", "networks", "--survey", "SURVEY"], has_keys("name", "sections")),
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


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        ((), ""),
        (
            ("baseline: posterior predictive shares",),
            "as it should be: baseline leaves out the net",
        ),
        (
            ("baseline: posterior predictive shares", "selectivity: posterior predictive shares"),
            "as it should be: baseline and selectivity leave out",
        ),
        (
            ("networks: posterior predictive shares",),
            "not to be expected: networks: posterior pred",
        ),
        (("baseline: convergence",), "not to be expected: baseline: convergence"),
        (("selectivity: influential origins",), "as it should be: selectivity leaves out the net"),
        (("networks: influential origins",), "not to be expected: networks: influential"),
        (
            ("baseline: posterior predictive shares", "baseline: composition of choosers"),
            "as it should be: baseline leaves out the net",
        ),
    ],
)
def test_the_demo_says_why_checks_fail(failed: tuple[str, ...], words: str) -> None:
    said = cli._on_failed_checks(failed)
    assert said.startswith(words) and bool(said) is bool(failed)


def test_a_claim_that_cannot_be_made_is_named_before_sampling(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a model by itself, in a study, and as JSON; the file is valid all the same."""
    model = tmp_path / "idle.toml"
    model.write_text(
        'extends = "selectivity"\nname = "idle"\n[hypotheses.idle]\nclaim = "x"\n'
        'statement = "log_odds(wealth, internal, urban=1) > log_odds(wealth, internal, urban=0)"\n'
    )
    own = tmp_path / "study.toml"
    own.write_text(
        f'title = "x"\nsurvey = "{home / "survey" / "survey.toml"}"\n'
        f'theories = ["{model}"]\nseed = 1\n'
    )
    for file in (model, own):
        assert call(["validate", str(file)], monkeypatch) == 0
        said = capsys.readouterr().err
        assert "warning: the hypothesis 'idle' of the theory 'idle'" in said
        assert "cannot be asked of this theory" in said
    assert call(["validate", str(own), "--json"], monkeypatch) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == 1


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


def in_one_line(shown: str) -> str:
    return " ".join(shown.split())


def test_questions_of_a_comparison(
    done: StudyResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = [fit_file(done), fit_file(done, "baseline")]
    options = ["--allow-unconverged", "--quiet"]
    assert call(["compare", *fits, *options, "--question", "origin"], monkeypatch) == 0
    assert "predicts a new origin" in in_one_line(capsys.readouterr().out)
    assert call(["compare", *fits, *options, "--folds", "2", "--unweighted"], monkeypatch) == 0
    shown = in_one_line(capsys.readouterr().out)
    assert "by 2-fold cross-validation (refits)" in shown
    assert "survey weights are not used, as asked" in shown
    assert call(["compare", *fits, "--folds", "2", "--one-by-one"], monkeypatch) == 1
    assert "two ways to leave out the same" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_asks_several_questions(home: Path, done: StudyResult) -> None:
    """In the folder of another study, whose fits are taken as they are."""
    asked = '[[compare]]\n[[compare]]\nquestion = "origin"\nfolds = 3\n'
    (home / "asked.toml").write_text(STUDY + asked)
    out = home / "asked"
    shutil.copytree(done.folder, out)
    result = run(home / "asked.toml", out, progress=silent)
    assert set(result.computed) == {"compare"}
    table = pd.read_parquet(out / "tables" / "comparison.parquet")
    assert list(dict.fromkeys(table["question"])) == ["person", "origin"]
    page = (out / "report.html").read_text("utf-8")
    assert "Comparison of theories: a new person in a known place" in page
    assert "Comparison of theories: a new origin" in page
    assert "by 3-fold cross-validation (refits)" in page


@pytest.mark.parametrize(
    ("question", "says"), [("orign", "did you mean 'origin'"), ("period", "one period only")]
)
def test_a_question_that_cannot_be_asked_is_refused_before_any_fit(
    home: Path, question: str, says: str
) -> None:
    (home / "wrong.toml").write_text(STUDY + f'[[compare]]\nquestion = "{question}"\n')
    with pytest.raises(QuestionError, match=says) as caught:
        read_study(home / "wrong.toml")
    assert "key compare[0]" in str(caught.value)


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


def test_priors_are_asked_before_any_fit(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codebook = str(home / "survey" / "survey.toml")
    arguments = ["prior", "selectivity", codebook, "--by", "female", "--strict"]
    assert call(arguments, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "prior predictive shares by group" in said
    assert call([*arguments, "--json"], monkeypatch) == 0
    names = [r["name"] for r in json.loads(capsys.readouterr().out)]
    assert names == ["prior predictive shares", "prior predictive shares by group"]


def test_a_survey_is_rehearsed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["rehearse", str(home / "study.toml"), "--worlds", "10", "--quiet"]
    assert call(arguments, monkeypatch) == 0
    said = in_one_line(capsys.readouterr().out)
    assert said.startswith("What this survey could decide, by rehearsal")
    assert "theory: selectivity" in said
    assert call([*arguments, "--theory", "selectvity"], monkeypatch) == 1
    assert "no theory 'selectvity'" in capsys.readouterr().err


def test_fits_are_calibrated(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codebook = str(home / "survey" / "survey.toml")
    how = ["--worlds", "20", "--method", "preview", "--quiet"]
    assert call(["calibrate", "baseline", codebook, *how], monkeypatch) == 0
    assert "log-likelihood" in capsys.readouterr().out


@pytest.mark.slow
def test_a_study_may_ask_for_a_rehearsal(home: Path, tmp_path: Path) -> None:
    """Its tables and words stand beside the checks; a wrong effect is found before any fit."""
    own = home / "rehearsed.toml"
    own.write_text(
        'title = "x"\nsurvey = "survey/survey.toml"\ntheories = ["selectivity"]\nseed = 1\n'
        '[sampling]\nmethod = "preview"\ndraws = 100\n[rehearsal]\nworlds = 10\n'
        'effects = {"beta[wealth, international]" = 0.5}\n'
    )
    result = run(own, tmp_path / "out", progress=silent)
    assert "rehearsal" in result.computed
    table = pd.read_csv(result.folder / "tables" / "rehearsal.csv")
    assert {"holds", "does not hold"} == set(table["truth"])
    page = result.report.read_text(encoding="utf-8")
    assert "What this survey could decide" in page
    assert "beta[wealth, international] = 0.5" in page
    assert run(own, tmp_path / "out", progress=silent).computed == ()
    own.write_text(own.read_text().replace("beta[wealth", "beta[welth"))
    with pytest.raises(QuestionError, match="no parameter"):
        read_study(own)


VERBS = {verb.name or verb.callback.__name__: verb for verb in app.registered_commands}
#: What a user has: what the commands themselves write, and packaged names.
FILES = {"my-survey/survey.toml", "bayesmig-demo/study.toml", "networks.nc", "selectivity.nc"} | {
    "census.csv"
}


def test_every_verb_is_seen() -> None:
    assert set(VERBS) == {
        *("demo", "run", "report", "validate", "simulate", "describe", "models", "explain"),
        *("fit", "check", "compare", "test", "predict"),
        *("prior", "rehearse", "calibrate"),
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


@pytest.mark.parametrize(
    ("method", "said"), [("preview", "integrated Laplace"), ("auto", "Pareto k")]
)
def test_weighted_draws_and_previews_are_reported_as_such(
    method: str, said: str, home: Path, tmp_path: Path
) -> None:
    study = home / f"{method}.toml"
    sampling = f'method = "{method}"\nchains = 2\ndraws = 500'
    study.write_text(re.sub(r"chains = 2\ndraws = \d+\ntune = \d+", sampling, STUDY))
    done = run(study, tmp_path / "out", progress=silent)
    page = done.report.read_text()
    assert said in page
    convergence = pd.read_csv(done.folder / "tables" / "convergence.csv")
    assert convergence["r_hat_max"].isna().any() or method == "auto"
    if method == "auto":
        # What draws must be worth is part of what they are.
        study.write_text(study.read_text().replace("draws = 500", "draws = 500\ness = 600"))
        again = run(study, tmp_path / "out", progress=silent)
        assert {"fit-baseline", "fit-selectivity"} <= set(again.computed)
        assert "at least 600" in again.report.read_text()
