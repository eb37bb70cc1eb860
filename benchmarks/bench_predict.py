"""Shares by group of many draws at many rows: seconds, and memory above the data.

All cases are asked of one posterior, of R(200k), each in a fresh process that holds it
already; machine code is compiled before. Other ways are given a share of the draws: their
seconds, less those of two draws (which hold what is done once), are multiplied, their memory
is not. `PyMC` is `sample_posterior_predictive` of the probabilities, of which it holds
draws × rows; `NumPy` a matrix product and a softmax in chunks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import table
from bench_engine import machine, versions

RESULT = Path(__file__).parent / "results" / "predict.json"
ROWS, DRAWS = 200_000, 4_000
#: Case -> the share of the draws that it is given.
CASES = {
    "shares by group": 1.0,
    "shares by group, in double precision": 1.0,
    "a comparison by group": 1.0,
    "slopes by group": 1.0,
    "NumPy in chunks": 0.05,
    "PyMC": 0.04,
}
MOST_SECONDS, MOST_MIB = 4.0, 512.0  # of the first case
CHUNK = 2_000  # rows of NumPy's


def posterior_file(folder: str, rows: int, draws: int) -> Path:
    """Draws in a file; a preview will do, since only the seconds of questions count."""
    import problems

    import bayesmig

    theory, survey = problems.as_bayesmig(problems.reference(rows).frame)
    posterior = bayesmig.fit(
        theory, survey, seed=1, chains=4, draws=draws // 4, method="preview", progress=False
    )
    return posterior.save(Path(folder) / "posterior.nc")


def asked(case: str, posterior: Any) -> None:
    """Ask one question."""
    import bayesmig
    from bayesmig.inference.stream import average_probabilities

    if case == "shares by group":
        bayesmig.predictions(posterior, by="origin")
    elif case == "a comparison by group":
        bayesmig.comparisons(posterior, "wealth", by="origin")
    elif case == "slopes by group":
        bayesmig.slopes(posterior, "wealth", by="origin")
    else:
        columns, draws = posterior.design.columns, posterior.coefficients()
        cells = columns.groups["origin"][0]
        average_probabilities(columns, draws, cells=cells, precision="double")


def by_numpy(x: np.ndarray, group: np.ndarray, beta: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Shares ``(draw, group, alternative)``, a chunk of rows of all draws at a time."""
    order = np.argsort(group, kind="stable")
    x, group, n_groups = x[order], group[order], int(group.max()) + 1
    out = np.zeros((len(beta), n_groups, beta.shape[2] + 1))
    for at in range(0, len(x), CHUNK):
        rows = slice(at, at + CHUNK)
        v = x[rows] @ beta + u[:, group[rows]]
        v = np.concatenate([np.zeros((*v.shape[:2], 1)), v], axis=2)
        p = np.exp(v - v.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        first = np.flatnonzero(np.diff(group[rows], prepend=-1))
        out[:, group[rows][first]] += np.add.reduceat(p, first, axis=1)
    return out / np.bincount(group)[:, None]


def by_pymc(x: np.ndarray, group: np.ndarray, beta: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The same of probabilities that PyMC computes from draws."""
    import logging

    import pymc as pm
    import pytensor.tensor as pt
    import xarray as xr

    logging.getLogger("pymc").setLevel(logging.ERROR)
    n = len(x)
    with pm.Model():
        b, effect = pm.Normal("b", shape=beta.shape[1:]), pm.Normal("u", shape=u.shape[1:])
        moves = x @ b + effect[group]
        utility = pt.concatenate([pt.zeros((n, 1)), moves], axis=1)
        pm.Deterministic("p", pm.math.softmax(utility, axis=1))
        draws = xr.Dataset(
            {
                "b": (("chain", "draw", "k", "j"), beta[None]),
                "u": (("chain", "draw", "g", "j"), u[None]),
            }
        )
        found = pm.sample_posterior_predictive(draws, var_names=["p"], progressbar=False)
    p = found.posterior_predictive["p"].to_numpy()[0]
    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(p[:, order], first, axis=1) / np.bincount(group)[:, None]


def forget_peak() -> None:
    """Let the most memory ever held be what is held now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def memory(which: str) -> float:
    """``VmRSS`` (held) or ``VmHWM`` (most held), MiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(which))


def measure(case: str, file: str) -> dict[str, float]:
    """One case, in this process."""
    from bayesmig.posterior import load

    posterior = load(file)
    draws = posterior.coefficients()
    by = {"NumPy in chunks": by_numpy, "PyMC": by_pymc}.get(case)
    if by is None:
        compile_before(posterior)
        once, taken = np.zeros(2), len(draws.persons)
        took, mib = clocked(lambda: asked(case, posterior))
    else:
        x, group = posterior.design.columns.persons, posterior.design.columns.groups["origin"][0]
        beta, u = draws.persons, (draws.effects or {})["origin"][..., 0]
        taken = round(CASES[case] * len(beta))
        once, _ = clocked(lambda: by(x, group, beta[:2], u[:2]))
        took, mib = clocked(lambda: by(x, group, beta[2 : taken + 2], u[2 : taken + 2]))
    seconds, cpu = (took - once) * len(draws.persons) / taken
    return {"draws": taken, "seconds": seconds, "cpu_seconds": cpu, "mib": mib}


def compile_before(posterior: Any) -> None:
    """Leave machine code on disk, of few rows in either precision."""
    import bayesmig
    from bayesmig.choice.utility import take_rows
    from bayesmig.inference.stream import average_probabilities

    few = posterior.frame.iloc[:300]
    bayesmig.slopes(posterior, "wealth", newdata=few)
    columns = take_rows(posterior.design.columns, slice(300))
    for precision in ("single", "double"):
        average_probabilities(columns, posterior.coefficients(), precision=precision)


def clocked(work: Callable[[], Any]) -> tuple[np.ndarray, float]:
    """Seconds and CPU seconds, and the most memory that was held above what is held, MiB."""
    forget_peak()
    before, start, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    work()
    took = np.array([time.perf_counter() - start, time.process_time() - cpu])
    return took, memory("VmHWM") - before


def main() -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--file")
    told = parser.parse_args()
    if told.case:
        print(json.dumps(measure(told.case, told.file)))
        return
    results = []
    with TemporaryDirectory() as folder:
        file = posterior_file(folder, ROWS, DRAWS)
        print(f"{DRAWS:,} draws × {ROWS:,} rows{'':<20} draws       s   CPU s  times     MiB")
        for case in CASES:
            done = subprocess.run(
                [sys.executable, __file__, "--case", case, "--file", str(file)],
                capture_output=True,
                text=True,
                check=True,
            )
            got = json.loads(done.stdout.splitlines()[-1])
            results.append({"case": case} | got)
            times = got["seconds"] / results[0]["seconds"]
            print(
                f"{case:<42} {got['draws']:>8,} {got['seconds']:>7.1f} {got['cpu_seconds']:>7.1f}"
                f" {times:>6.1f} {got['mib']:>7.0f}",
                flush=True,
            )
    RESULT.parent.mkdir(exist_ok=True)
    record = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "rows": ROWS,
        "draws": DRAWS,
        "cases": results,
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    tell(results[0])
    if results[0]["seconds"] > MOST_SECONDS or results[0]["mib"] > MOST_MIB:
        raise SystemExit(f"over {MOST_SECONDS:g} s or {MOST_MIB:g} MiB")


def tell(shares: dict[str, Any]) -> None:
    """Add the first case to what the README's table is made of, where there is a run."""
    if table.read(table.RESULT):
        peak = shares["mib"] * 2**20 / 1e6
        found = {"seconds": shares["seconds"], "peak_mb": peak}
        packages = versions(sys.executable, ("bayesmig", "numba", "numpy"))
        table.keep(table.RESULT, "predict", found, machine() | {"versions": packages})
        table.publish()


if __name__ == "__main__":
    main()
