"""K-fold by place of origin beside one fit, and leave-one-out beside ArviZ: seconds of R(20k).

Everything is asked in one process, after machine code is compiled, and best of a few: a ratio
of seconds depends less on the machine than seconds do. `ArviZ` is `arviz_stats.loo` of a stored
array of log-likelihoods, given the draws of effects; ours integrates over them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import problems
from bench_engine import machine, versions

RESULT = Path(__file__).parent / "results" / "compare.json"
ROWS, DRAWS, FOLDS, ROUNDS = 20_000, 4_000, 10, 3
MOST_FITS = 3.0  # that K-fold by origin may cost
ARVIZ = "ArviZ, given effects"  # once: it takes a while


def best(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Seconds of the fastest of some rounds, and what it gave."""
    seconds, found = [], None
    for _ in range(rounds):
        started = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - started)
    return min(seconds), found


def by_arviz(posterior: Any) -> Any:
    """ArviZ's leave-one-out of an array ``(chain, draw, obs)``, which is made here."""
    import xarray as xr
    from arviz_stats import loo

    import bayesmig

    values = bayesmig.log_likelihood(posterior).to_dataset(name="choice")
    tree = xr.DataTree.from_dict({"posterior": posterior.draws, "log_likelihood": values})
    return loo(tree, pointwise=True)


def measure(rows: int, rounds: int) -> dict[str, float]:
    """All cases."""
    import bayesmig
    from bayesmig.model_comparison.left_out import leave_out
    from bayesmig.model_comparison.refits import folds_of, refitted
    from bayesmig.progress import silent

    theory, survey = problems.as_bayesmig(problems.reference(rows).frame)

    def fit() -> Any:
        return bayesmig.fit(theory, survey, seed=1, draws=DRAWS // 4, progress=False)

    posterior = fit()
    place = posterior.design.columns.groups["origin"][0]
    each = np.arange(rows)

    def folds() -> Any:
        split = folds_of(place, FOLDS, 0)
        return refitted(
            "R", posterior, place, split, seed=0, allow_unconverged=False, progress=silent
        )

    def left_out(units: np.ndarray) -> Callable[[], Any]:
        return lambda: leave_out("R", posterior, units, "", integrate=True, progress=silent)

    cases: dict[str, Callable[[], Any]] = {
        "fit": fit,
        f"{FOLDS}-fold by origin": folds,
        "leave-one-out by person": left_out(each),
        "leave-one-out by origin": left_out(place),
    }
    for name, work in cases.items():
        if name != "fit":
            work()  # compiles
    seconds = {name: best(work, rounds)[0] for name, work in cases.items()}
    return seconds | {ARVIZ: best(lambda: by_arviz(posterior), 1)[0]}


def main() -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-save", action="store_true")
    told = parser.parse_args()
    seconds = measure(told.rows, told.rounds)
    for name, of in seconds.items():
        print(f"{name:<28}{of:8.2f} s{of / seconds['fit']:8.2f} fits")
    ratio = seconds[f"{FOLDS}-fold by origin"] / seconds["fit"]
    said = "within" if ratio <= MOST_FITS else "OVER"
    print(f"{FOLDS}-fold by origin costs {ratio:.2f} fits, {said} {MOST_FITS:g}")
    if not told.no_save:
        packages = versions(sys.executable, ("bayesmig", "numba", "numpy", "arviz-stats"))
        made = machine() | {"versions": packages, "rows": told.rows, "draws": DRAWS}
        text = json.dumps(made | {"seconds": seconds, "ratio": ratio}, indent=1)
        RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
