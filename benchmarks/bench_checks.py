"""The cost of asking: average effects, leave-one-out and all checks, of 4,000 draws.

Cases are asked of one posterior of R(10k), and of R(200k), each in a fresh process that holds
it already; machine code is compiled before. ArviZ is given the log-likelihood, draws × rows,
of which `loo` needs all; bambi's `interpret.comparisons` the same coefficients, without
groups, and a tenth of the draws: its seconds are multiplied, its memory is not. Run
``.venv/bin/python benchmarks/bench_checks.py`` on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import problems
from bench_predict import clocked, posterior_file

RESULT = Path(__file__).parent / "results" / "checks.json"
PEERS = Path(__file__).parents[1] / ".venv-bench" / "bin" / "python"
DRAWS, SIZES = 4_000, (10_000, 200_000)
OURS = ("average effects", "leave-one-out", "all checks against replicates", "check()")
THEIRS = ("ArviZ, loo", "bambi, comparisons")
EFFECTS = ("wealth", "female")
#: Part of the draws that bambi is given.
PART = 10
#: Seconds at the smaller size of average effects, and of leave-one-out with all checks; memory
#: there; and how many times as long the larger size may take.
MOST_EFFECTS, MOST_CHECKS, MOST_MIB, MOST_TIMES = 2.0, 5.0, 1024.0, 20.0


def ours(case: str, posterior: Any) -> None:
    """Ask one question of the package."""
    import bayesmig
    from bayesmig.model_comparison import compare

    if case == "average effects":
        bayesmig.comparisons(posterior, EFFECTS)
    elif case == "leave-one-out":
        # Of two theories, which is what compare takes: half of it is one.
        compare({"one": posterior, "the same": posterior})
    else:
        bayesmig.check(posterior, prior=case == "check()", allow_unconverged=True)


def measure(case: str, file: str) -> dict[str, float]:
    """One case, in this process."""
    # Its modules are loaded before seconds are counted, which ours ask for too.
    import arviz_stats

    from bayesmig.posterior import load

    posterior = load(file)
    few = [0, 1]
    if case == "ArviZ, loo":
        import xarray as xr

        import bayesmig

        log = bayesmig.log_likelihood(posterior)
        tree = xr.DataTree.from_dict(
            {"posterior": posterior.draws, "log_likelihood": log.to_dataset(name="choice")}
        )
        took, mib = clocked(lambda: arviz_stats.loo(tree))
    else:
        import bayesmig

        bayesmig.comparisons(posterior, EFFECTS, newdata=posterior.frame.iloc[:300])
        posterior.coefficients()
        took, mib = clocked(lambda: ours(case, posterior))
        if case == "leave-one-out":
            took = took / len(few)
    return {"seconds": took[0], "cpu_seconds": took[1], "mib": mib}


def by_bambi(folder: str, rows: int) -> dict[str, float]:
    """Average comparisons by bambi, in its own environment."""
    import bambi as bmb
    import pandas as pd
    import xarray as xr

    frame = pd.read_parquet(Path(folder) / "frame.parquet")
    frame["choice"] = pd.Categorical(frame["choice"], problems.ALTERNATIVES)
    model = bmb.Model(f"choice ~ {' + '.join(problems.COLUMNS)}", frame, family="categorical")
    model.build()
    beta = np.load(Path(folder) / "beta.npy")[::PART]
    dims = {
        v.name: model.backend.model.named_vars_to_dims[v.name] for v in model.backend.model.free_RVs
    }
    names = ["Intercept", *problems.COLUMNS]
    coords = {d: list(model.backend.model.coords[d]) for of in dims.values() for d in of}
    found = xr.Dataset(
        {n: (("chain", "draw", *dims[n]), beta[None, :, k]) for k, n in enumerate(names)},
        coords=coords | {"chain": [0], "draw": np.arange(len(beta))},
    )
    codes, rows_of = frame["choice"].cat.codes.to_numpy(), {"__obs__": np.arange(len(frame))}
    observed = xr.Dataset({"choice": ("__obs__", codes)}, coords=rows_of)
    tree = xr.DataTree.from_dict({"posterior": found, "observed_data": observed})

    def work() -> None:
        for effect in EFFECTS:
            # Without `conditional`, of every row; averaged over all.
            bmb.interpret.comparisons(model, tree, contrast=effect, average_by="all")

    took, mib = clocked(work)
    return {"seconds": took[0] * PART, "cpu_seconds": took[1] * PART, "mib": mib}


def child(python: Path | str, *arguments: str) -> dict[str, float] | None:
    """What a case took in a process of its own; nothing where that ended badly."""
    done = subprocess.run(
        [str(python), __file__, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stderr[-800:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def of_size(rows: int, peers: bool) -> list[dict[str, Any]]:
    """All cases of one size."""
    results = []
    with TemporaryDirectory() as folder:
        file = posterior_file(folder, rows, DRAWS)
        problems.reference(rows).frame.to_parquet(Path(folder) / "frame.parquet")
        from bayesmig.posterior import load

        np.save(Path(folder) / "beta.npy", load(file).coefficients().persons)
        cases = [(c, sys.executable, ("--case", c, "--file", str(file))) for c in OURS]
        if peers:
            cases.append((THEIRS[0], sys.executable, ("--case", THEIRS[0], "--file", str(file))))
            cases.append((THEIRS[1], str(PEERS), ("--bambi", folder, "--rows", str(rows))))
        for case, python, arguments in cases:
            started = time.monotonic()
            got = child(python, *arguments)
            if got is None:
                print(f"{rows:>9,}  {case:<34} failed after {time.monotonic() - started:.0f} s")
                continue
            results.append({"rows": rows, "case": case} | got)
            print(
                f"{rows:>9,}  {case:<34} {got['seconds']:>8.2f} s {got['cpu_seconds']:>8.2f} CPU s "
                f"{got['mib']:>7.0f} MiB",
                flush=True,
            )
    return results


def main() -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=(*OURS, THEIRS[0]))
    parser.add_argument("--file")
    parser.add_argument("--bambi", help="folder with the frame and the draws")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--no-peers", action="store_true")
    told = parser.parse_args()
    if told.case:
        print(json.dumps(measure(told.case, told.file)))
        return
    if told.bambi:
        print(json.dumps(by_bambi(told.bambi, told.rows)))
        return
    results = [r for n in SIZES for r in of_size(n, peers=n == SIZES[0] and not told.no_peers)]
    record = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "draws": DRAWS,
        "cases": results,
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    verdict(results)


def verdict(results: list[dict[str, Any]]) -> None:
    """The targets beside what was measured."""
    took = {(r["rows"], r["case"]): r for r in results}
    small, large = SIZES
    both = [
        {n: took[n, OURS[1]]["seconds"] + took[n, OURS[2]]["seconds"] for n in SIZES},
        {n: took[n, OURS[0]]["seconds"] for n in SIZES},
    ]
    for name, of, most in (
        ("leave-one-out + all checks", both[0], MOST_CHECKS),
        ("average effects", both[1], MOST_EFFECTS),
    ):
        print(
            f"{name}: {of[small]:.2f} s at {small:,} rows (at most {most:g}), "
            f"{of[large] / of[small]:.1f} times as long at {large:,} (at most {MOST_TIMES:g})"
        )
    mib = max(took[small, c]["mib"] for c in OURS)
    print(f"most memory at {small:,} rows: {mib:.0f} MiB (at most {MOST_MIB:g})")


if __name__ == "__main__":
    main()
