"""A million persons: seconds, and the most memory that the process ever held.

Each survey is written by a fresh process, since a process never gives its peak back.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PERSONS = 1_000_000
CASES: tuple[dict[str, object], ...] = (
    {"format": "parquet"},
    {"format": "csv.gz"},
    {"format": "parquet", "unit": "household"},
    {"format": "parquet", "periods": 3},
)
MOST_SECONDS, MOST_MIB = 60, 1_024  # of the first case, and of all
RESULT = Path(__file__).parent / "results" / "simulate.json"

PROGRAM = """
import json, resource, sys, time
arguments = json.loads(sys.argv[1])
start = time.perf_counter()
from bayesmig.simulation import simulate
imported = time.perf_counter()
made = simulate(sys.argv[2], seed=1, **arguments)
done = time.perf_counter()
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({
    "rows": made.rows,
    "seconds": done - imported,
    "import_seconds": imported - start,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20,
    "file_mib": made.data.stat().st_size / 2**20,
}))
"""


def measure(case: dict[str, object]) -> dict[str, float]:
    """Simulate once in a fresh process."""
    with TemporaryDirectory() as folder:
        arguments = json.dumps({"persons": PERSONS} | case)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, arguments, str(Path(folder) / "survey")],
            capture_output=True,
            text=True,
            check=True,
        )
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure, show and save."""
    print(
        f"{PERSONS:,} persons{'':<22} {'rows':>9} {'s':>6} {'rows/s':>9} {'peak MiB':>9} {'MiB':>6}"
    )
    results = []
    for case in CASES:
        got = measure(case)
        results.append({"case": case} | got)
        name = ", ".join(f"{key} {value}" for key, value in case.items())
        speed = got["rows"] / got["seconds"]
        print(
            f"{name:<36} {got['rows']:>9,} {got['seconds']:6.1f} {speed:9,.0f}"
            f" {got['peak_mib']:9.0f} {got['file_mib']:6.1f}"
        )
    RESULT.parent.mkdir(exist_ok=True)
    record = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "persons": PERSONS,
        "cases": results,
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if results[0]["seconds"] > MOST_SECONDS or max(r["peak_mib"] for r in results) > MOST_MIB:
        raise SystemExit(f"over {MOST_SECONDS} s or {MOST_MIB} MiB")


if __name__ == "__main__":
    main()
