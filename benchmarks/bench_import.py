"""How long ``import bayesmig`` takes, beside imports that everyone knows.

Each import runs in fresh processes, in turn, so that a busy moment of the machine
falls on all of them.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

MODULES = ("bayesmig", "pandas", "pymc")
RUNS = 7
RESULT = Path(__file__).parent / "results" / "import.json"

PROGRAM = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def seconds(module: str) -> float:
    """Time one import in a fresh process, the start of Python left out."""
    # Bytecode is kept, as it is for whoever imports a package twice.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    program = PROGRAM.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env
    )
    return float(done.stdout)


def main() -> None:
    """Measure, show and save."""
    for module in MODULES:  # the first reading from disk is not what is measured
        seconds(module)
    times: dict[str, list[float]] = {module: [] for module in MODULES}
    for _ in range(RUNS):
        for module in MODULES:
            times[module].append(seconds(module))
    median = {module: statistics.median(t) for module, t in times.items()}
    ours = median["bayesmig"]

    print(f"{'import':<10} {'min s':>8} {'median s':>9} {'× bayesmig':>11}   ({RUNS} runs)")
    for module, t in times.items():
        print(f"{module:<10} {min(t):8.4f} {median[module]:9.4f} {median[module] / ours:11.1f}")

    RESULT.parent.mkdir(exist_ok=True)
    record = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "seconds": times,
        "median": median,
        "ratio_to_bayesmig": {module: value / ours for module, value in median.items()},
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
