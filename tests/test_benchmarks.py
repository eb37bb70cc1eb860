"""The tables in the documents are what the stored benchmarks say, and misses are told."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def table(repository: Path) -> ModuleType:
    """The module of tables, which is no part of the package."""
    path = repository / "benchmarks" / "table.py"
    spec = importlib.util.spec_from_file_location("bench_table", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def ran(rate: float, t400: float, **more: Any) -> dict[str, Any]:
    """A run that ended."""
    made = {"ess": 1000.0, "ess_per_second": rate, "t400": t400, "t400_from_start": t400 + 2}
    phases = {"start": 2.0, "imports": 1.5, "build": 0.1, "warm": 0.2, "draw": 0.3, "again": 0.4}
    return made | phases | {"route": "NUTS", "reason": "was asked for"} | more


@pytest.fixture
def record() -> dict[str, Any]:
    stopped = {"unfinished": 600.0, "iterations": 120, "of": 2800}
    small = {
        "bayesmig": ran(3000.0, 1.0),
        "bayesmig, NUTS": ran(2900.0, 1.0, gradients_per_ess=10.0),
        "PyMC": ran(100.0, 30.0, gradients_per_ess=100.0),
        "bambi": ran(100.0, 20.0),
    }
    large = {
        "bayesmig": ran(
            500.0, 2.0, peak_mb=900.0, imports_mb=300.0, before_mb=400.0, design_mb=24.0
        ),
        "PyMC": stopped,
    }
    normal = {"gradients_per_ess": 8.0, "ess": 1000.0}
    kernel = {"bayesmig, single": {"ns_per_row": 7.0}, "PyMC": {"ns_per_row": 70.0}}
    parts = {"2k": small, "200k": large, "normal": normal, "gradient": kernel}
    versions = {"bayesmig": "0", "pymc": "6.4.0", "jax": None}
    return {
        "parts": parts,
        "versions": versions,
        "cores": 2,
        "chains": 2,
        "processor": "a processor",
    }


@pytest.mark.parametrize(("file", "part"), [("README.md", "readme"), ("docs/speed.md", "page")])
def test_documents_have_the_tables_of_the_stored_run(
    repository: Path, table: ModuleType, file: str, part: str
) -> None:
    text = (repository / file).read_text(encoding="utf-8")
    assert text.count(table.FIRST) == text.count(table.LAST) == 1
    records = table.read(table.RESULT), table.read(table.EARLIER)
    assert table.between(getattr(table, part)(*records)) in text


def test_an_earlier_run_stands_beside(table: ModuleType, record: dict[str, Any]) -> None:
    """Also of what was not run again; misses of either are seen."""
    earlier = {"processor": "another", "parts": {**record["parts"], "demo": {"second": 61.0}}}
    del record["parts"]["gradient"]
    told = table.readme(record, earlier).splitlines()
    assert "| what | target | measured | reached | earlier, on another |" in told
    (kernel,) = (x for x in told if "one gradient" in x)
    assert kernel.endswith("| not run |  | 7 (PyMC 70) |")
    (demo,) = (x for x in told if "make demo" in x and x.startswith("|"))
    assert demo.endswith("| not run |  | **61 s** |")
    (memory,) = (x for x in told if "R(200k), peak memory" in x)
    assert memory.count("**") == 4


def test_readme_has_peers_in_a_line(table: ModuleType, record: dict[str, Any]) -> None:
    """One that did not end has no ratio, and the page has every system."""
    told = table.readme(record)
    assert "| ESS/s, ours ÷ theirs | PyMC | nutpie on JAX | numpyro | bambi | Stan |" in told
    assert "| R(2k) | 30× |  |  | 30× |  |" in told
    assert "R(200k) |  |" not in told
    assert "`make bench`" in told
    assert "| R(2k) | bambi |" not in told
    assert "| R(2k) | bambi |" in table.page(record)


def test_reached_and_missed_are_told_apart(table: ModuleType, record: dict[str, Any]) -> None:
    lines = table.report(record).splitlines()
    told = {
        line.split(" | ")[0].removeprefix("| "): line
        for line in lines
        if line.endswith(("yes |", "**no** |", "not known |"))
    }
    assert told["R(2k), ESS/s ÷ PyMC's"].endswith("yes |")
    assert "30× (3,000 ÷ 100)" in told["R(2k), ESS/s ÷ PyMC's"]
    assert told["R(2k), ESS/s ÷ bambi's"].endswith("**no** |")
    assert told["R(200k), t400"].endswith("yes |")
    assert told["R(200k), peak memory"].endswith("**no** |")
    assert told["R(2k), gradients per ESS ÷ i.i.d. normal's"].endswith("yes |")
    assert told["one gradient, R(200k), one core, ns/row"].endswith("yes |")
    # What was not run is not in the table.
    assert not any("Indonesia" in what or "demo" in what for what in told)


def test_what_did_not_end_has_no_ratio(table: ModuleType, record: dict[str, Any]) -> None:
    (line,) = (x for x in table.report(record).splitlines() if x.startswith("| R(200k) | PyMC"))
    assert "not finished in 600 s (120 of 2,800 iterations, no ESS yet)" in line
    assert "×" not in line


def test_results_are_kept_and_drawn(
    table: ModuleType, record: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "engine.json"
    assert table.read(path) == {}
    table.write(path, record)
    assert table.report(table.read(path)) == table.report(record)
    table.draw(record, tmp_path / "engine.png")
    assert (tmp_path / "engine.png").stat().st_size > 10_000


def test_a_part_keeps_what_it_was_run_under(
    table: ModuleType, record: dict[str, Any], tmp_path: Path
) -> None:
    """Another part, run later and otherwise, does not speak for it."""
    path = tmp_path / "engine.json"
    table.write(path, record)
    assert "their limits and commits were not kept" in table.page(table.read(path))
    conditions = {
        "date": "2026-01-02", "commit": "abc1234", "cores": 2, "processor": "a processor",
        "chains": 2, "repeats": 3, "limit": 600.0, "versions": {"bayesmig": "0", "pymc": "6.4.0"},
    }  # fmt: skip
    for part in ("2k", "200k", "normal"):
        table.keep(path, part, record["parts"][part], conditions)
    other = conditions | {"repeats": 1, "limit": 150.0, "commit": "def5678"}
    table.keep(path, "gradient", record["parts"]["gradient"], other)
    assert table.read(path)["made"]["2k"] == conditions
    told = table.caption(table.read(path))
    assert "2k, 200k, normal on 2026-01-02, on 2 cores" in told
    assert "commit abc1234, 2 chains, ours the median of 3 runs, 600 s a run at most" in told
    assert "gradient on 2026-01-02" in told
    assert "commit def5678, 2 chains, ours once, 150 s a run at most" in told
    assert "not kept" not in told


def test_where_the_time_goes_is_told_of_missed_targets(
    table: ModuleType, record: dict[str, Any]
) -> None:
    told = table.page(record)
    (head,) = (x for x in told.splitlines() if "where the time goes" in x)
    assert head.count("|") == 8
    assert "| R(200k) | 300 | 100 | 24 | 476 | 900 |" in told
    # ESS/s beside bambi's, and memory.
    assert "| R(2k) | 1.50 | 0.50 | 0.10 | 0.20 | 0.30 | 0.40 |" in told
    assert "| R(200k) | 1.50 | 0.50 | 0.10 | 0.20 | 0.30 | 0.40 |" in told
    record["parts"]["2k"]["bambi"]["ess_per_second"] = 10.0
    assert "| R(2k) | 1.50" not in table.page(record)


def test_nothing_measured_says_nothing(table: ModuleType) -> None:
    assert table.report({}) == table.readme({}) == table.page({}) == ""
