"""One system on one problem, in this process: what a child of ``bench_engine.py`` runs.

The last line printed is JSON. Seconds are told apart: ``start`` (of Python, imports, data
read), ``build`` (from the survey in memory to the first iteration: design, model,
compilation), ``warm`` (expansion or warm-up) and ``draw``. Where a sampler does not say
how long its warm-up took, the number of gradients, or failing that of iterations, divides
what it took in all; ``again`` is what a second fit of ours takes to expand and draw, whose
machine code is loaded. ``ess`` is the least bulk ESS of all parameters, and gradients per ESS
are the gradients of the draws kept over it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import problems

CHAINS, DRAWS = 2, 1000
#: Of ours where another number is needed: so many tell R-hat to the third digit.
DRAWS_OF: dict[str, int] = {"ifls": 2000, "households": 1500}
TUNE, TARGET_ACCEPT = 300, 0.8  # of our own NUTS on the map
TUNE_OF_GRAPH = 500
#: Of PyMC and bambi: warm-up is kept to see what it took, convergence is looked at here.
SAMPLED_AS: dict[str, Any] = {
    "chains": CHAINS,
    "cores": CHAINS,
    "progressbar": False,
    "discard_tuned_samples": False,
    "compute_convergence_checks": False,
}
Found = dict[str, Any]
#: Set when sampling has ended, by itself or by being stopped.
SAMPLED = threading.Event()
#: Chain -> iterations, of ours: what is told where it was stopped.
REACHED: dict[str, int] = {}


def stop_after(limit: float) -> None:
    """Interrupt what is running, again where the interrupt was lost in a callback."""
    patience = limit
    while not SAMPLED.wait(patience):
        os.kill(os.getpid(), signal.SIGINT)
        patience = 10.0


def peak_mb() -> float:
    """The most memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def held_mb() -> float | None:
    """What it holds now, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * resource.getpagesize() / 1e6


# --------------------------------------------------------------------------------- ours


def survey_of(problem: str, data: str) -> tuple[Any, Any]:
    """Theory and survey."""
    from bayesmig import read_survey

    if problem == "reference":
        return problems.reference_theory(), read_survey(problems.codebook_beside(Path(data)))
    return problems.indonesian_theory(problem == "households"), read_survey(data)


def ours(problem: str, data: str, seed: int, started: float, method: str = "auto") -> Found:
    """Fit with the package."""
    from bayesmig.inference.routes import fit

    imported, imports = time.time(), held_mb()
    theory, survey = survey_of(problem, data)
    read, held, warm, told, compiled = time.time(), held_mb(), 0.0, 0.0, 0.0
    tune = TUNE_OF_GRAPH if method == "graph" else TUNE

    def tell(task: str, done: int, total: int, note: str = "") -> None:
        nonlocal warm, told, compiled
        told = time.time()
        if (task == "expansion" and done) or (task.startswith("chain") and done <= tune):
            warm = told
        if task == "machine code of the model":
            compiled = told
        if task.startswith("chain"):
            REACHED[task] = done

    draws = DRAWS_OF.get(problem, DRAWS)
    options: dict[str, Any] = {"chains": CHAINS, "cores": CHAINS, "draws": draws, "method": method}
    posterior = fit(theory, survey, seed=seed, progress=tell, **options)
    ended, peak = time.time(), peak_mb()
    SAMPLED.set()
    found, known = posterior.data["diagnostics"].to_dataset(), posterior.provenance
    # The model of a graph is compiled before it is sampled, as peers' are.
    sampling = compiled or ended - known.seconds
    again = {}
    if problem == "reference" and not compiled:
        # Peers have compiled before they sample; the first fit of a process loads ours.
        again["again"] = fit(
            theory, survey, seed=seed, progress=False, **options
        ).provenance.seconds
    kept = (
        "gradients_per_ess",
        "pareto_k",
        "nanoseconds_per_row",
        "rows_in_loops",
        "quadrature_points",
        "quadrature_error",
    )
    return {
        "draws": CHAINS * draws,
        "rows": posterior.design.n_obs,
        "groups": {by: len(of.levels) for by, of in posterior.design.layouts.items()},
        "ess": float(found["ess_bulk"].min()),
        "ess_least": str(found["parameter"][int(found["ess_bulk"].argmin())].item()),
        "r_hat": finite(found["r_hat"].max()),
        "r_hat_largest": str(found["parameter"][int(found["r_hat"].fillna(0).argmax())].item()),
        "route": known.route,
        "reason": known.reason,
        "start": read - started,
        "imports": imported - started,
        "build": sampling - read,
        "warm": warm - sampling,
        "draw": ended - warm,
        "after_draws": ended - told,
        "peak_mb": peak,
        "imports_mb": imports,
        "before_mb": held,
        "design_mb": posterior.design.to_dataset().nbytes / 1e6,
        **again,
        **{k: known.numbers[k] for k in kept if k in known.numbers},
        **({"divergences": int(found["divergences"].sum())} if "divergences" in found else {}),
    }


# -------------------------------------------------------------------------------- peers


def reference_model(p: problems.Problem) -> Any:
    """The idiomatic PyMC model, as a user would write it."""
    import pymc as pm
    import pytensor.tensor as pt

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
        utility = pt.concatenate([pt.zeros((len(p.x), 1)), moves], axis=1)
        pm.Categorical("choice", logit_p=utility, observed=p.choice)
    return model


def pymc(problem: str, data: str, seed: int, started: float, **options: Any) -> Found:
    """`pm.sample` as it comes; on real microdata, of the model that `to_pymc` gives."""
    import pymc as pm

    if problem == "reference":
        p = problems.Problem.read(data)
        read = time.time()
        model = reference_model(p)
    else:
        from bayesmig import to_pymc

        theory, survey = survey_of(problem, data)
        read = time.time()
        model = to_pymc(theory, survey)
    with model:
        tree = pm.sample(random_seed=seed, **SAMPLED_AS, **options)
    return of_tree(tree, started, read, time.time())


def pymc_compiled(problem: str, data: str) -> None:
    """Leave compiled code on disk."""
    import nutpie

    if problem == "reference":
        nutpie.compile_pymc_model(reference_model(problems.Problem.read(data)))
    else:
        from bayesmig import to_pymc

        nutpie.compile_pymc_model(to_pymc(*survey_of(problem, data)))


def numpyro(problem: str, data: str, seed: int, started: float) -> Found:
    """NumPyro's NUTS on the PyMC model, its chains side by side."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={CHAINS}"
    return pymc(problem, data, seed, started, nuts_sampler="numpyro")


def nutpie_on_jax(problem: str, data: str, seed: int, started: float) -> Found:
    return pymc(
        problem, data, seed, started, backend="jax", compile_kwargs={"gradient_backend": "jax"}
    )


def bambi_model(data: str) -> Any:
    """As near as its formulas come: group effects that are not correlated."""
    import bambi as bmb
    import pandas as pd

    frame = pd.read_parquet(data)
    frame["choice"] = pd.Categorical(frame["choice"], problems.ALTERNATIVES)
    formula = f"choice ~ {' + '.join(problems.COLUMNS)} + (1|community)"
    return bmb.Model(formula, frame, family="categorical")


def bambi(problem: str, data: str, seed: int, started: float) -> Found:
    model = bambi_model(data)
    read = time.time()
    model.build()
    tree = model.fit(random_seed=seed, **SAMPLED_AS)
    return of_tree(tree, started, read, time.time())


def bambi_compiled(problem: str, data: str) -> None:
    import nutpie

    model = bambi_model(data)
    model.build()
    nutpie.compile_pymc_model(model.backend.model)


#: Vectorised by hand, which is faster than Stan's categorical distribution in a loop.
STAN = """
data {
  int<lower=1> n, k, g;
  matrix[n, k] x;
  array[n] int<lower=1, upper=g> community;
  matrix[n, 2] chosen;
}
parameters {
  vector[2] asc;
  matrix[k, 2] beta;
  vector<lower=0>[2] sigma;
  cholesky_factor_corr[2] root;
  matrix[2, g] z;
}
transformed parameters {
  matrix[g, 2] u = (diag_pre_multiply(sigma, root) * z)';
}
model {
  asc ~ normal(0, 2);
  to_vector(beta) ~ std_normal();
  sigma ~ exponential(1);
  root ~ lkj_corr_cholesky(2);
  to_vector(z) ~ std_normal();
  vector[n] internal = asc[1] + x * beta[, 1] + u[community, 1];
  vector[n] international = asc[2] + x * beta[, 2] + u[community, 2];
  target += dot_product(chosen[, 1], internal) + dot_product(chosen[, 2], international)
            - sum(log1p(exp(internal) + exp(international)));
}
"""


def stan_built(data: str, seed: int) -> tuple[Any, float]:
    """The compiled program with its data, and when these were read."""
    import stan

    p = problems.Problem.read(data)
    read = time.time()
    given = {
        "n": len(p.x),
        "k": p.x.shape[1],
        "g": problems.COMMUNITIES,
        "x": p.x,
        "community": p.group + 1,
        "chosen": (p.choice[:, None] == [1, 2]).astype(float),
    }
    given = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in given.items()}
    return stan.build(STAN, data=given, random_seed=seed), read


def stan(problem: str, data: str, seed: int, started: float) -> Found:
    import xarray as xr

    program, read = stan_built(data, seed)
    began = time.time()
    fit = program.sample(num_chains=CHAINS, save_warmup=True)
    ended = time.time()
    names = ("asc", "beta", "sigma", "root", "u", "n_leapfrog__")
    # Parameters lead; a draw's chains stand side by side.
    draws = {k: fit[k].reshape(-1, fit.num_warmup + fit.num_samples, CHAINS) for k in names}
    steps = draws.pop("n_leapfrog__")[0].T
    kept = {k: (("chain", "draw", f"{k}_at"), v[:, fit.num_warmup :].T) for k, v in draws.items()}
    stats = {"n_steps": (("chain", "draw"), steps[:, fit.num_warmup :])}
    warm = {"n_steps": (("chain", "draw"), steps[:, : fit.num_warmup])}
    groups = {"posterior": kept, "sample_stats": stats, "warmup_sample_stats": warm}
    tree = xr.DataTree.from_dict({k: xr.Dataset(v) for k, v in groups.items()})
    tree["posterior"].attrs |= {"sampling_time": ended - began, "tuning_steps": fit.num_warmup}
    return of_tree(tree, started, read, ended)


def stan_compiled(problem: str, data: str) -> None:
    stan_built(data, 1)


def normal(problem: str, data: str, seed: int, started: float) -> Found:
    """An i.i.d. normal under the sampler and settings of our NUTS: the ideal."""
    import nutpie
    import xarray as xr
    from nutpie.compiled_pyfunc import from_pyfunc

    size = problems.PARAMETERS
    read, rng = time.time(), np.random.default_rng(seed)
    chains = []
    for _ in range(CHAINS):
        start = rng.normal(0.0, 0.5, size)
        model = from_pyfunc(
            size,
            lambda: lambda x: (-0.5 * float(x @ x), -x),
            lambda *_: lambda x: {"x": x},
            [np.dtype("float64")],
            [(size,)],
            ["x"],
            make_initial_point_fn=lambda _, start=start: start,
        )
        chains.append(
            nutpie.sample(
                model,
                draws=DRAWS,
                tune=TUNE,
                chains=1,
                cores=1,
                seed=int(rng.integers(2**63)),
                target_accept=TARGET_ACCEPT,
                progress_bar=False,
            )
        )
    groups = ("posterior", "sample_stats", "warmup_sample_stats")
    tree = xr.DataTree.from_dict(
        {
            g: xr.concat([c[g].to_dataset() for c in chains], "chain", coords="minimal")
            for g in groups
        }
    )
    return of_tree(tree, started, read, time.time())


# ------------------------------------------------------------------- what a peer reached


def of_tree(tree: Any, started: float, read: float, ended: float) -> Found:
    """ESS, R-hat, seconds and gradients, also of what was stopped before its end."""
    SAMPLED.set()
    import arviz as az

    peak = peak_mb()
    attrs = tree["posterior"].attrs
    sampling, tune = attrs.get("sampling_time", ended - read), attrs.get("tuning_steps", 1000)
    found: Found = {"start": read - started, "build": ended - read - sampling, "peak_mb": peak}
    kept, warm = steps_of(tree, "sample_stats"), steps_of(tree, "warmup_sample_stats")
    # Chains are cut to the shortest, as they are of one length where all ended.
    length = DRAWS if kept is None else int(np.isfinite(kept).sum(axis=1).min(initial=DRAWS))
    share = DRAWS / (DRAWS + tune)
    if kept is not None and warm is not None and np.nansum(kept) > 0:
        share = float(np.nansum(kept) / (np.nansum(kept) + np.nansum(warm)))
    found |= {"warm": sampling * (1 - share), "draw": sampling * share}
    if length < DRAWS:
        counts = [0 if s is None else int(np.isfinite(s).sum()) for s in (warm, kept)]
        found |= {"iterations": sum(counts), "of": CHAINS * (tune + DRAWS), "warmed_up": counts[0]}
        if length < 50:
            return found
    posterior = tree["posterior"].to_dataset().isel(draw=slice(length))
    names = [v for v in posterior.data_vars if keep(str(v))]
    ess = az.ess(posterior, var_names=names, method="bulk")
    r_hat = az.rhat(posterior, var_names=names)
    found["ess"] = float(min(ess[v].min() for v in names))
    found["r_hat"] = finite(max(r_hat[v].max() for v in names))
    if kept is not None:
        found["gradients_per_ess"] = float(kept[:, :length].sum()) / found["ess"]
    return found


def keep(name: str) -> bool:
    """Whether a variable is a parameter in the units of the question."""
    return not name.startswith("z") and not name.endswith("_offset")


def steps_of(tree: Any, group: str) -> np.ndarray | None:
    """Gradients per iteration, ``(chain, draw)``, NaN where there was none."""
    if group not in tree.children:
        return None
    names = [n for n in ("n_steps", "num_steps", "tree_size") if n in tree[group]]
    if not names:
        return None
    steps = np.asarray(tree[group][names[0]].to_numpy(), dtype=float)
    return np.where(steps > 0, steps, np.nan)  # what a stopped chain lacks is filled with 0


def finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


# --------------------------------------------------------------------------- one gradient


def our_gradient(data: str, precision: str) -> tuple[Callable[[], Any], int]:
    from bayesmig.design.design import build_design
    from bayesmig.inference.density import Density

    design = build_design(*survey_of("reference", data))
    density = Density(design, precision)  # type: ignore[arg-type]
    vector = density.start(np.random.default_rng(1))
    return lambda: density(vector), design.n_obs


def pymc_gradient(data: str) -> tuple[Callable[[], Any], int]:
    p = problems.Problem.read(data)
    model = reference_model(p)
    function = model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")
    vector = np.random.default_rng(1).normal(0.0, 0.1, problems.PARAMETERS)
    return lambda: function(vector), len(p.x)


def jax_gradient(data: str) -> tuple[Callable[[], Any], int]:
    os.environ["JAX_ENABLE_X64"] = "1"
    import jax
    from pymc.sampling.jax import get_jaxified_logp

    p = problems.Problem.read(data)
    model = reference_model(p)
    rng, point = np.random.default_rng(1), model.initial_point(0)
    values = [rng.normal(0.0, 0.1, np.shape(point[v.name])) for v in model.value_vars]
    function = jax.jit(jax.value_and_grad(get_jaxified_logp(model, negative_logp=False)))
    return lambda: jax.block_until_ready(function(values)), len(p.x)


GRADIENTS: Mapping[str, Callable[[str], tuple[Callable[[], Any], int]]] = {
    "bayesmig, single": lambda data: our_gradient(data, "single"),
    "bayesmig, double": lambda data: our_gradient(data, "double"),
    "PyMC": pymc_gradient,
    "JAX": jax_gradient,
}


def gradient(kind: str, data: str) -> Found:
    """Nanoseconds per row of one gradient on one core, the median of many."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    function, rows = GRADIENTS[kind](data)
    function()
    times, until = list[float](), time.perf_counter() + 3.0
    while time.perf_counter() < until or len(times) < 5:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    middle, best = (of(times) / rows * 1e9 for of in (statistics.median, min))
    return {"ns_per_row": middle, "best_ns_per_row": best, "evaluations": len(times)}


# ---------------------------------------------------------------------------------- runs

RUNS: Mapping[str, Callable[..., Found]] = {
    "bayesmig": ours,
    "bayesmig, NUTS": lambda *a: ours(*a, method="nuts"),
    "bayesmig, graph": lambda *a: ours(*a, method="graph"),
    "PyMC": pymc,
    "nutpie on JAX": nutpie_on_jax,
    "numpyro": numpyro,
    "bambi": bambi,
    "Stan": stan,
    "normal": normal,
}
#: What leaves compiled code on disk for a second process; ours does so by running once.
COMPILED: Mapping[str, Callable[[str, str], None]] = {
    "PyMC": pymc_compiled,
    "bambi": bambi_compiled,
    "Stan": stan_compiled,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system")
    parser.add_argument("problem", help="reference, ifls, households, gradient or compile:...")
    parser.add_argument("data")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--started", type=float, default=None, help="time at which it was called")
    parser.add_argument("--limit", type=float, default=1e6, help="seconds of sampling, at most")
    asked = parser.parse_args()
    started = time.time() if asked.started is None else asked.started
    # A shell's background jobs ignore interrupts, and their children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=stop_after, args=(asked.limit,), daemon=True).start()
    try:
        if asked.problem == "gradient":
            found = gradient(asked.system, asked.data)
        elif asked.problem.startswith("compile:"):
            COMPILED[asked.system](asked.problem.removeprefix("compile:"), asked.data)
            found = {}
        else:
            found = RUNS[asked.system](asked.problem, asked.data, asked.seed, started)
    except KeyboardInterrupt:
        tune = TUNE_OF_GRAPH if asked.system.endswith("graph") else TUNE
        of = CHAINS * (tune + DRAWS_OF.get(asked.problem, DRAWS))
        found = {"iterations": sum(REACHED.values()) or None, "of": of}
    SAMPLED.set()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
