"""A GPU as a peer: NumPyro's NUTS on R(N), written in JAX, its chains side by side.

    python benchmarks/numpyro_on_gpu.py [N ...]

Runs where NumPyro and a JAX with a GPU are, which this package needs for nothing else. Four
chains of 1,000 draws after as many of warm-up, vectorised, in single precision, which is how
GPUs are fast; seconds are told with and without compilation. The package's own numbers on two
cores are in docs/speed.md.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS

sys.path.insert(0, str(Path(__file__).parent))
import problems

RESULT = Path(__file__).parent / "results" / "gpu.json"
CHAINS, WARM_UP, DRAWS = 4, 1_000, 1_000


def model(x: Any, group: Any, choice: Any) -> None:
    """R(N), as `systems.reference_model` has it."""
    moves, columns = 2, x.shape[1]
    asc = numpyro.sample("asc", dist.Normal(0, 2).expand([moves]).to_event(1))
    beta = numpyro.sample("beta", dist.Normal(0, 1).expand([columns, moves]).to_event(2))
    sigma = numpyro.sample("sigma", dist.Exponential(1).expand([moves]).to_event(1))
    root = numpyro.sample("root", dist.LKJCholesky(moves, 2.0))
    shape = [problems.COMMUNITIES, moves]
    z = numpyro.sample("z", dist.Normal(0, 1).expand(shape).to_event(2))
    u = numpyro.deterministic("u", z @ (sigma[:, None] * root).T)
    utility = asc + x @ beta + u[group]
    utility = jnp.concatenate([jnp.zeros((len(x), 1)), utility], axis=1)
    numpyro.sample("choice", dist.Categorical(logits=utility), obs=choice)


def measured(n: int) -> dict[str, Any]:
    """Seconds, and effective draws of the parameter that has fewest."""
    p = problems.reference(n)
    x = jnp.asarray(p.x, dtype=jnp.float32)
    data = (x, jnp.asarray(p.group), jnp.asarray(p.choice))
    chains = MCMC(
        NUTS(model),
        num_warmup=WARM_UP,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    seconds = {}
    for name, seed in (("with compilation", 1), ("compiled", 2)):
        started = time.perf_counter()
        chains.run(jax.random.key(seed), *data, extra_fields=("num_steps",))
        jax.block_until_ready(chains.get_samples())
        seconds[name] = time.perf_counter() - started
    kept = chains.get_samples(group_by_chain=True)
    named = {k: np.asarray(v, dtype=float) for k, v in kept.items() if k not in ("root", "z")}
    ess = min(float(np.min(effective_sample_size(v))) for v in named.values())
    worst = max(float(np.max(split_gelman_rubin(v))) for v in named.values())
    steps = float(np.asarray(chains.get_extra_fields()["num_steps"]).mean())
    return {
        "rows": n,
        "seconds": seconds,
        "ess": ess,
        "ess_per_second": ess / seconds["compiled"],
        "r_hat": worst,
        "gradients_per_draw": steps,
    }


def main() -> None:
    """Measure, show and save after each size."""
    device, cases = jax.devices()[0].device_kind, []
    for n in [int(text) for text in sys.argv[1:]] or [2_000, 20_000]:
        cases.append(measured(n))
        print(device, json.dumps(cases[-1]), flush=True)
        made = {"device": device, "jax": jax.__version__, "numpyro": numpyro.__version__}
        RESULT.write_text(json.dumps(made | {"cases": cases}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
