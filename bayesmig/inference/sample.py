"""Chains of NUTS: each is a unit of work, finished, kept and resumed."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmig.design.design import Design
from bayesmig.errors import InferenceError
from bayesmig.inference.blocks import Precision
from bayesmig.inference.density import Density, nearest_logit
from bayesmig.inference.layout import parameter_coords, parameter_dims
from bayesmig.posterior import checksum, write_aside
from bayesmig.progress import Progress

if TYPE_CHECKING:
    from bayesmig.inference.graph import Likelihood
    from bayesmig.inference.integration import Integrated

_PACKAGES = (
    "bayesmig", "nutpie", "pymc", "pytensor", "numba", "numpy", "scipy", "pandas", "formulaic",
    "xarray",
)  # fmt: skip
_PACKAGE = Path(__file__).resolve().parents[1]
_STATS = ("diverging", "energy", "depth", "n_steps", "step_size", "mean_tree_accept", "logp")

#: How chains learn the scales of what they move on: coordinates of the map are nearly
#: independent, those of PyMC's models are not, and need directions beside their axes.
_ADAPTATION: Mapping[str, Literal["diag", "low_rank"]] = {
    "map": "diag", "graph": "low_rank", "plain": "low_rank",
}  # fmt: skip

#: Seconds after which a running chain looks whether it should stop.
_PATIENCE = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What one chain of a fit depends on, and nothing else.

    Attributes
    ----------
    design
        Fingerprint of the design.
    route, precision
        How it is sampled; ``auto`` where the data decide about the precision.
    seed, draws, tune, target_accept
        As asked.
    versions
        Package -> version.
    found
        What all the above decide, and only the data show: the precision of loops, and over
        what effects are integrated out. It is no part of the key, and kept chains must have it.
    """

    design: str
    route: str
    precision: str
    seed: int
    draws: int
    tune: int
    target_accept: float
    versions: Mapping[str, str]
    found: str = ""

    def key(self, chain: int) -> str:
        """Equal for equal chains: the name under which one is kept."""
        parts: list[Any] = [
            self.design,
            self.route,
            self.precision,
            self.seed,
            self.draws,
            self.tune,
        ]
        parts += [self.target_accept, chain]
        text = json.dumps([*parts, dict(self.versions)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of the packages that draws depend on, and a hash of this one's sources."""
    return _installed() | {"bayesmig sources": sources_hash()}


@cache
def _installed() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


@cache
def sources_hash(folder: Path = _PACKAGE) -> str:
    """Short hash of all modules of the package: its version stays while they change."""
    names, found = [], hashlib.sha256()
    # By strings: as paths, with what is cached beside them, they would take five times as long.
    for room, rooms, files in os.walk(folder):
        rooms[:] = [name for name in rooms if name != "__pycache__"]
        names += [os.path.join(room, name) for name in files if name.endswith(".py")]
    for name in sorted(names):
        content = Path(name).read_bytes()
        inside = name[len(str(folder)) + 1 :].replace(os.sep, "/")
        found.update(f"{inside} {len(content)} ".encode() + content)
    return found.hexdigest()[:16]


def open_folder(keep: str | Path | None) -> Path | None:
    """The folder of kept chains, made where it is absent, and seen to be writable."""
    if keep is None:
        return None
    folder = Path(keep)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise InferenceError(
            f"chains cannot be kept there: {err.strerror or err}",
            where=str(folder),
            mend="choose a folder that exists and that you may write to",
        ) from err
    return folder


def generator(seed: int, chain: int) -> np.random.Generator:
    """The random numbers of one chain."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(chain,)))


# --------------------------------------------------------------------------- chains


def run_chains(
    sampler: Sampler,
    design: Design,
    plan: Plan,
    chains: int,
    cores: int | None,
    folder: Path | None,
    progress: Progress,
) -> list[xr.DataTree]:
    """Every chain, from the folder of kept ones or sampled, in order."""
    done = {k: tree for k in range(chains) if (tree := _kept(folder, plan, k)) is not None}
    stop, failures = Event(), list[BaseException]()

    def tell(task: str, done: int, total: int, note: str = "") -> None:
        # The sampler would print what is raised here, and go on.
        if stop.is_set():
            return
        try:
            progress(task, done, total, note)
        except BaseException as err:
            failures.append(err)
            stop.set()

    def work(chain: int) -> tuple[int, xr.DataTree]:
        tree = _finish(_start(sampler, plan, chain, tell), sampler, design, stop)
        # Here, so that it is kept before this thread begins another.
        _keep(folder, plan, chain, tree)
        return chain, tree

    waiting = [k for k in range(chains) if k not in done]
    with ThreadPoolExecutor(cores or os.cpu_count() or 1) as pool:
        futures = [pool.submit(work, k) for k in waiting]
        try:
            for future in as_completed(futures):
                chain, tree = future.result()
                done[chain] = tree
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if not failures:
                raise
    if failures:
        raise failures[0]
    return [done[k] for k in range(chains)]


@dataclass(frozen=True, slots=True)
class Sampler:
    """What chains are sampled from.

    Attributes
    ----------
    model
        Gives nutpie's model, with the start of one chain; its argument is the chain's
        random numbers, and their next one seeds the sampler.
    named
        Gives the named parameters of what nutpie returns.
    known
        Gives numbers of a chain that are kept with it.
    """

    model: Callable[[np.random.Generator], Any]
    named: Callable[[xr.Dataset], Mapping[str, np.ndarray]]
    known: Callable[[xr.Dataset], Mapping[str, float]] = lambda _: {}


def density_sampler(density: Density | Integrated) -> Sampler:
    """Chains on the density, which are not in each other's way.

    nutpie's documented way for a density that is not PyMC's calls Python at every step, and
    two chains then take turns: 170 µs a gradient where one of 2,000 rows takes 60 alone.
    """
    from nutpie.compile_pymc import CompiledPyMCModel

    c, n = density.callback, density.size

    def model(rng: np.random.Generator) -> Any:
        start = density.start(rng)
        return CompiledPyMCModel(
            dims={},
            compiled_logp_func=c.density,
            compiled_expand_func=c.expand,
            initial_point_func=lambda _: start,
            shared_data={},
            shared_var_keys={},
            user_data=c.data,
            n_expanded=n,
            shape_info=(["vector"], [slice(0, n)], [(n,)]),
            logp_func=None,
            expand_func=None,
            _n_dim=n,
            _shapes={"vector": (n,)},
            _coords={},
        )

    return Sampler(model, lambda found: density.parameters(found["vector"].to_numpy()))


def graph_sampler(design: Design, route: str, precision: Precision) -> Sampler:
    """Chains on the PyMC model, with the kernel or plain."""
    import nutpie

    with warnings.catch_warnings():
        # numba compiles what is sampled, and has a BLAS of its own.
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS")
        from bayesmig.inference.graph import build_graph

        likelihood: Likelihood = "kernel" if route == "graph" else "plain"
        # Chains with a Hill curve mixed less well so, and of tastes nothing is known.
        columns, kernel = design.columns, likelihood == "kernel"
        more = columns.nests is not None or bool(columns.feasible)
        more = more and not (columns.curves or columns.tastes)
        near = nearest_logit(design) if kernel and more else None
        compiled = nutpie.compile_pymc_model(build_graph(design, likelihood, precision, near))
    names = parameter_dims(design)
    return Sampler(
        lambda _: compiled, lambda found: {name: found[name].to_numpy() for name in names}
    )


def _start(sampler: Sampler, plan: Plan, chain: int, progress: Progress) -> Any:
    import nutpie

    rng = generator(plan.seed, chain)
    model = sampler.model(rng)
    task = f"chain {chain + 1}"
    total = plan.tune + plan.draws

    def tell(chains: list[Any]) -> None:
        for state in chains:
            note = f"{state.divergences} divergences" if state.divergences else ""
            progress(task, state.finished_draws, total, note)

    progress(task, 0, total)
    return nutpie.sample(
        model,
        draws=plan.draws,
        tune=plan.tune,
        chains=1,
        cores=1,
        seed=int(rng.integers(2**63)),
        target_accept=plan.target_accept,
        adaptation=_ADAPTATION[plan.route],
        save_warmup=False,
        progress_bar=False,
        progress_callback=tell,
        blocking=False,
    )


def _finish(running: Any, sampler: Sampler, design: Design, stop: Event) -> xr.DataTree:
    """Wait for a chain; end it early where ``stop`` is set, which only this thread can."""
    while True:
        try:
            raw = running.wait(timeout=_PATIENCE)
            break
        except TimeoutError:
            if stop.is_set():
                running.cancel()
                raise InferenceError("the chain was stopped before its end") from None
    dims, coords = parameter_dims(design), parameter_coords(design)
    drawn, stats = (raw[group].to_dataset() for group in ("posterior", "sample_stats"))
    named, coords = sampler.named(drawn), coords | {"draw": drawn["draw"].to_numpy()}
    posterior = {name: (("chain", "draw", *of), named[name]) for name, of in dims.items()}
    kept = stats[[s for s in _STATS if s in stats]].assign(
        {name: ("chain", [number]) for name, number in sampler.known(drawn).items()}
    )
    return xr.DataTree.from_dict({"posterior": xr.Dataset(posterior, coords), "sample_stats": kept})


def _path(folder: Path, plan: Plan, chain: int) -> Path:
    return folder / f"chain-{chain + 1:02d}-{plan.key(chain)[:16]}.nc"


def _kept(folder: Path | None, plan: Plan, chain: int) -> xr.DataTree | None:
    """A finished chain of the same plan, where the folder holds a sound one."""
    if folder is None or not (path := _path(folder, plan, chain)).is_file():
        return None
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            found = tree.load().copy()
    except Exception:
        # A damaged file is as good as none: the chain is sampled again.
        return None
    given = found.attrs.pop("key", ""), found.attrs.pop("checksum", "")
    # One that was changed is as good as none, too.
    return found if given == (plan.key(chain) + plan.found, checksum(found)) else None


def _keep(folder: Path | None, plan: Plan, chain: int, tree: xr.DataTree) -> None:
    if folder is None:
        return
    kept = tree.copy()
    kept.attrs = {"key": plan.key(chain) + plan.found, "checksum": checksum(kept)}
    write_aside(_path(folder, plan, chain), lambda aside: kept.to_netcdf(aside, engine="h5netcdf"))
