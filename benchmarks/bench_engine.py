"""Posteriors of the reference problem: effective draws per second, beside peers.

Every system runs in a process of its own, on the same data, one after the other. A peer
that is not installed is left out, and said to be. ``ESS/s`` is the least bulk ESS of all
parameters over the seconds of warm-up and sampling (for weighted draws: of the expansion
and of the draws); ``t400`` the seconds from the start of the process until that ESS is
400, where sampling goes on at its pace. Machine code of ours is compiled before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
RESULT = Path(__file__).parent / "results" / "engine.json"
CHAINS = 2
#: System -> the package that it needs.
SYSTEMS = {
    "bayesmig": "bayesmig",
    "bayesmig, NUTS": "bayesmig",
    "PyMC": "pymc",
    "nutpie on JAX": "jax",
    "numpyro": "numpyro",
    "bambi": "bambi",
}
#: Systems that are given the larger problems.
LARGE = ("bayesmig", "bayesmig, NUTS")


def ours(n: int, **options: Any) -> dict[str, float]:
    """Fit with the package."""
    import problems

    import bayesmig

    theory, survey = problems.as_bayesmig(problems.reference(n))
    posterior = bayesmig.fit(
        theory, survey, seed=1, chains=CHAINS, draws=1000, progress=False, **options
    )
    found, known = posterior.data["diagnostics"].to_dataset(), posterior.provenance
    numbers = known.numbers
    return {
        "ess": float(found["ess_bulk"].min()),
        "seconds": known.seconds,
        "route": known.route,  # type: ignore[dict-item]
        **{k: numbers[k] for k in ("gradients_per_ess", "pareto_k") if k in numbers},
    }


def model_of(n: int) -> Any:
    """The idiomatic PyMC model, as a user would write it."""
    import problems
    import pymc as pm
    import pytensor.tensor as pt

    p = problems.reference(n)
    coords = {
        "column": list(problems.COLUMNS),
        "move": list(problems.ALTERNATIVES[1:]),
        "community": list(range(problems.COMMUNITIES)),
    }
    with pm.Model(coords=coords) as model:
        asc = pm.Normal("asc", 0, 2, dims="move")
        beta = pm.Normal("beta", 0, 1, dims=("column", "move"))
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.Exponential.dist(1, shape=2))
        z = pm.Normal("z", dims=("community", "move"))
        u = pm.Deterministic("u", z @ chol.T, dims=("community", "move"))
        moves = asc + p.x @ beta + u[p.group]
        utility = pt.concatenate([pt.zeros((n, 1)), moves], axis=1)
        pm.Categorical("choice", logit_p=utility, observed=p.choice)
    return model


def ess_of(tree: Any) -> float:
    import arviz as az

    names = [v for v in tree["posterior"].data_vars if not v.startswith(("z", "chol_corr"))]
    found = az.ess(tree, var_names=names, method="bulk")
    return float(min(found[v].min() for v in names))


def pymc(n: int, **options: Any) -> dict[str, float]:
    """`pm.sample` as it comes."""
    import pymc as pm

    with model_of(n):
        started = time.perf_counter()
        tree = pm.sample(chains=CHAINS, cores=CHAINS, random_seed=1, progressbar=False, **options)
        seconds = time.perf_counter() - started
    steps = tree["sample_stats"]
    counted = next((steps[k] for k in ("n_steps", "tree_size") if k in steps), None)
    ess = ess_of(tree)
    sampled = tree["posterior"].attrs.get("sampling_time")
    found = {"ess": ess, "seconds": float(sampled or seconds)}
    if counted is not None:
        found["gradients_per_ess"] = float(counted.sum()) / ess
    return found


def nutpie_jax(n: int) -> dict[str, float]:
    import nutpie

    compiled = nutpie.compile_pymc_model(model_of(n), backend="jax", gradient_backend="jax")
    started = time.perf_counter()
    tree = nutpie.sample(compiled, chains=CHAINS, cores=CHAINS, seed=1, progress_bar=False)
    ess = ess_of(tree)
    return {
        "ess": ess,
        "seconds": time.perf_counter() - started,
        "gradients_per_ess": float(tree["sample_stats"]["n_steps"].sum()) / ess,
    }


def bambi(n: int) -> dict[str, float]:
    """As near as its formulas come: group effects that are not correlated."""
    import bambi as bmb
    import problems

    frame = problems.reference(n).frame
    model = bmb.Model(
        f"choice ~ {' + '.join(problems.COLUMNS)} + (1|community)", frame, family="categorical"
    )
    model.build()
    started = time.perf_counter()
    tree = model.fit(chains=CHAINS, cores=CHAINS, random_seed=1, progressbar=False)
    return {"ess": ess_of(tree), "seconds": time.perf_counter() - started}


RUNS = {
    "bayesmig": ours,
    "bayesmig, NUTS": lambda n: ours(n, method="nuts"),
    "PyMC": pymc,
    "nutpie on JAX": nutpie_jax,
    "numpyro": lambda n: pymc(n, nuts_sampler="numpyro"),
    "bambi": bambi,
}


def measure(system: str, n: int, limit: float) -> dict[str, Any] | None:
    """One run in a fresh process; ``None`` where it took too long."""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--one", system, str(n)]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=limit, check=True
        )
    except subprocess.TimeoutExpired:
        return None
    wall = time.perf_counter() - started
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["wall"] = wall
    found["ess_per_second"] = found["ess"] / found["seconds"]
    # What is not sampling is paid in full; sampling as far as is needed.
    found["t400"] = wall - found["seconds"] + found["seconds"] * min(1.0, 400 / found["ess"])
    return found


def main() -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("SYSTEM", "N"), help="used by itself")
    parser.add_argument("--rows", type=int, nargs="*", default=[2_000, 20_000, 200_000])
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of one run, at most")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(RUNS[asked.one[0]](int(asked.one[1]))))
        return
    absent = [s for s, package in SYSTEMS.items() if find_spec(package) is None]
    if absent:
        print("not installed, left out:", ", ".join(absent))
    measure("bayesmig", 500, asked.limit), measure("bayesmig", 6_000, asked.limit)  # compile
    measure("bayesmig, NUTS", 500, asked.limit), measure("bayesmig, NUTS", 6_000, asked.limit)
    results: dict[str, Any] = {}
    for n in asked.rows:
        names = [s for s in SYSTEMS if s not in absent and (n <= 20_000 or s in LARGE)]
        found = {system: measure(system, n, asked.limit) for system in names}
        results[str(n)] = found
        show(n, found)
    RESULT.parent.mkdir(exist_ok=True)
    record = {"python": platform.python_version(), "machine": platform.machine()}
    RESULT.write_text(json.dumps(record | {"rows": results}, indent=2) + "\n", encoding="utf-8")


def show(n: int, found: dict[str, Any]) -> None:
    """A table; ratios are to PyMC in this run."""
    peer = found.get("PyMC")
    print(f"\nR({n:,}), {CHAINS} chains")
    heads = ("ESS", 7), ("ESS/s", 9), ("t400 s", 8), ("grad/ESS", 9), ("ESS/s ×", 8), ("t400 ×", 7)
    print(" " * 16, *(f"{head:>{width}}" for head, width in heads))
    for system, of in found.items():
        if of is None:
            print(f"{system:<16} over the limit")
            continue
        ratios = ("", "")
        if peer:
            ratios = (
                f"{of['ess_per_second'] / peer['ess_per_second']:.1f}",
                f"{peer['t400'] / of['t400']:.1f}",
            )
        gradients = of.get("gradients_per_ess", np.nan)
        print(
            f"{system:<16} {of['ess']:7,.0f} {of['ess_per_second']:9,.1f} {of['t400']:8.2f} "
            f"{gradients:9.1f} {ratios[0]:>8} {ratios[1]:>7}   {of.get('route', '')}"
        )


if __name__ == "__main__":
    main()
