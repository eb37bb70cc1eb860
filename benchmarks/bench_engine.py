"""Posteriors: effective draws per second and seconds to 400 of them, beside peers.

Every system runs in a process of its own, on the same data, one after the other; what is
compared is of one run. Ours and PyMC run in this environment, other peers in that of
``--peers``: SciPy, for one, imports JAX where it finds it. A peer that is not installed
is left out, and said to be.

``ESS/s`` is the least bulk ESS of all parameters over the seconds of warm-up and sampling
(of ours: of all that `fit` does once the design is built, in a process that has loaded the
machine code, as peers have compiled theirs). ``t400`` is the seconds from
data in memory until that ESS is 400: model, compilation and warm-up in full, and sampling
as far as it takes at its pace. From the start of Python it is longer by imports and the
reading of data. Compiled code is on disk before, where a system keeps any. Ours is run
three times and the median told, peers once.

    bench_engine.py [PART ...]

Parts are R(N), written 2k, 20k, 200k or 2M, and normal, gradient, ifls, households, demo.
Each replaces its own in the file of results, with what it was run under.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import problems  # noqa: E402
import systems  # noqa: E402
import table  # noqa: E402

PARTS = ("2k", "20k", "200k", "2M", "normal", "gradient", "ifls", "households", "demo")
#: System of the other environment -> the package that it needs.
PACKAGES = {
    "nutpie on JAX": "jax",
    "numpyro": "numpyro",
    "bambi": "bambi",
    "Stan": "pystan",
    "JAX": "jax",
}
OURS = "bayesmig"
PEERS = ("PyMC", "nutpie on JAX", "numpyro", "bambi", "Stan")
#: Rows up to which all peers run, and up to which PyMC does.
ALL_PEERS, PYMC = 20_000, 200_000
LONG = 3600.0  # seconds of households in kecamatan, at least
GRACE = 120.0  # seconds until a process that does not stop by itself is ended
Found = dict[str, Any]


class Bench:
    """Runs children and shows how they did."""

    def __init__(self, folder: Path, limit: float, repeats: int, peers: Path) -> None:
        self.folder, self.limit, self.repeats, self.peers = folder, limit, repeats, peers
        self.versions = versions(sys.executable, ("bayesmig", "numba", "numpy", "nutpie", "pymc"))
        self.versions |= versions(peers, sorted(set(PACKAGES.values())))
        self.absent = [s for s, package in PACKAGES.items() if self.versions[package] is None]
        # Before results are written, which would make the checkout another state.
        self.machine = machine()

    def conditions(self, seconds: float) -> Found:
        """Of a part that is run now: what it depends on beside the code, and which code it was."""
        return self.machine | {
            "limit": self.limit,
            "repeats": self.repeats,
            "chains": systems.CHAINS,
            "versions": self.versions,
            "left_out": self.absent,
            "took": round(seconds),
        }

    # ------------------------------------------------------------------------- parts

    def run(self, part: str) -> Found | None:
        """One part's results; ``None`` where it has no data."""
        if part == "normal":
            return self.normal()
        if part == "gradient":
            return self.gradients()
        if part == "demo":
            return self.demo()
        if part in ("ifls", "households"):
            codebook = problems.indonesian_codebook(self.folder)
            if codebook is None:
                print(f"{part}: no microdata beside the checkout, left out (set BAYESMIG_DATA)")
                return None
            if part == "ifls":
                return self.compared(part, part, codebook, ("bayesmig",), ("PyMC",))
            # Minutes of one run, in which PyMC would only be seen not to finish.
            return {OURS: self.shown(part, OURS, self.child(OURS, part, codebook))}
        n = table.rows(part)
        peers = PEERS if n <= ALL_PEERS else ("PyMC",) if n <= PYMC else ()
        own = ("bayesmig", "bayesmig, NUTS", "bayesmig, graph")
        own = own if n <= ALL_PEERS else own[:2] if n <= PYMC else own[:1]
        return self.compared(part, "reference", self.reference(n), own, peers)

    def reference(self, n: int) -> Path:
        """R(n) on disk, made by another process, so that this one stays small."""
        path = self.folder / f"{n}.parquet"
        if not path.exists():
            code = f"import problems; problems.reference({n}).frame.to_parquet({str(path)!r})"
            subprocess.run([sys.executable, "-c", code], check=True, cwd=HERE, env=environment())
        return path

    def compared(
        self, part: str, problem: str, data: Path, own: Iterable[str], peers: Iterable[str]
    ) -> Found:
        """Systems on one problem."""
        found: Found = {}
        for system in own:
            self.child(system, problem, data)  # leaves compiled code on disk
            runs = [self.child(system, problem, data, seed) for seed in self.seeds()]
            found[system] = self.shown(part, system, median(runs))
        for system in peers:
            if system in self.absent:
                continue
            if system in systems.COMPILED:
                self.child(system, f"compile:{problem}", data)
            found[system] = self.shown(part, system, self.child(system, problem, data))
        return found

    def normal(self) -> Found:
        """The ideal: as many dimensions, i.i.d."""
        runs = [self.child("normal", "normal", Path("-"), seed) for seed in self.seeds()]
        return self.shown("normal", "i.i.d.", median(runs))

    def gradients(self) -> Found:
        """One gradient at 200,000 rows, one core."""
        data, found = self.reference(200_000), dict[str, Any]()
        for kind in systems.GRADIENTS:
            if kind in self.absent:
                continue
            # The first process leaves compiled code on disk; it is not what is timed here.
            found[kind] = got = self.child(kind, "gradient", data)
            print(f"{'gradient':<12}{kind:<18}{got.get('ns_per_row', float('nan')):8.1f} ns/row")
        return found

    def demo(self) -> Found:
        """`bayesmig demo`, the second time: into a new folder, and where it was before."""
        command = [str(Path(sys.executable).with_name("bayesmig")), "demo", "--out"]
        seconds = {}
        for name, out in (("first", "a"), ("second", "b"), ("same_folder", "b")):
            began = time.perf_counter()
            subprocess.run(
                [*command, str(self.folder / out)],
                check=True,
                capture_output=True,
                env=environment(),
                cwd=self.folder,
            )
            seconds[name] = time.perf_counter() - began
            print(f"{'demo':<12}{name:<18}{seconds[name]:8.1f} s")
        return seconds

    # ---------------------------------------------------------------------- children

    def seeds(self) -> range:
        return range(1, self.repeats + 1)

    def child(self, system: str, problem: str, data: Path, seed: int = 1) -> Found:
        """One run in a fresh process, ended where it takes too long."""
        python = self.peers if system in PACKAGES else sys.executable
        command = [str(python), str(HERE / "systems.py"), system, problem, str(data)]
        limit = max(self.limit, LONG) if problem == "households" else self.limit
        options = {"seed": seed, "limit": limit, "started": time.time()}
        command += [f"--{k}={v!r}" for k, v in options.items()]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        try:
            said, complaints = process.communicate(timeout=limit + GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its children too
            process.communicate()
            return {"unfinished": limit}
        if process.returncode:
            last = complaints.strip().splitlines()[-1:] or ["no message"]
            print(f"{system} failed: {last[0]}")
            # The kind of error alone is kept: messages name files.
            return {"failed": last[0].split(":")[0]}
        found: Found = json.loads(said.splitlines()[-1])
        return self.rated(found)

    def rated(self, found: Found) -> Found:
        """Rates, and what was left undone."""
        if "iterations" in found:
            found["unfinished"] = self.limit
        if found.get("ess"):
            taken = found.get("again", found["warm"] + found["draw"])
            found["ess_per_second"] = found["ess"] / taken
            found["t400"] = found["build"] + found["warm"] + found["draw"] * 400 / found["ess"]
            found["t400_from_start"] = found["start"] + found["t400"]
        return found

    def shown(self, part: str, system: str, found: Found) -> Found:
        print(f"{part:<12}{system:<18}{table.in_words(found)}", flush=True)
        return found


def median(runs: list[Found]) -> Found:
    """Of every number the median over runs; words are the first's."""
    best = next((r for r in runs if "ess" in r), runs[0])
    middle = dict(best)
    for key, value in best.items():
        values = [r[key] for r in runs if isinstance(r.get(key), int | float)]
        if isinstance(value, int | float) and values:
            middle[key] = statistics.median(values)
    middle["each_t400"] = [r.get("t400") for r in runs]
    middle["each_route"] = [r.get("route") for r in runs]
    return middle


def environment() -> dict[str, str]:
    """Of a child: one thread per library; bytecode is kept, as it is for whoever runs twice."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | threads


def versions(python: str | Path, packages: Sequence[str]) -> dict[str, str | None]:
    """Of packages in an environment; ``None`` where one is not installed, or there is none."""
    code = (
        "import json, sys; from importlib.metadata import distributions as d;"
        "found = {x.name: x.version for x in d()};"
        "print(json.dumps({p: found.get(p) for p in sys.argv[1:]}))"
    )
    if not Path(python).exists():
        return dict.fromkeys(packages)
    asked = [str(python), "-c", code, *packages]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment())
    return dict(json.loads(done.stdout))


def machine() -> Found:
    """What the run was made on."""
    model = re.search(r"model name\s*: (.*)", cpu_info())
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
    }


def commit() -> str:
    """Of the checkout, marked where files differ from it; empty where there is none."""
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def main() -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of one run, at most")
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours")
    parser.add_argument(
        "--peers",
        type=Path,
        default=HERE.parent / ".venv-bench" / "bin" / "python",
        help="Python of the other peers' environment",
    )
    parser.add_argument("--out", type=Path, default=table.RESULT, help="file of results")
    asked = parser.parse_args()
    unknown = [p for p in asked.parts if p not in PARTS and not re.fullmatch(r"\d+[kM]?", p)]
    if unknown:
        parser.error(f"no such part: {unknown[0]}")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder), asked.limit, asked.repeats, asked.peers)
        if bench.absent:
            print("not installed, left out:", ", ".join(bench.absent))
        for part in asked.parts:
            began = time.perf_counter()
            found = bench.run(part)
            if found is None:
                continue
            table.keep(asked.out, part, found, bench.conditions(time.perf_counter() - began))
    print("\n" + table.report(table.read(asked.out)))
    table.draw(table.read(asked.out), asked.out.with_suffix(".png"))
    if asked.out == table.RESULT:
        table.publish()


if __name__ == "__main__":
    main()
