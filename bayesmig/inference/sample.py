"""Fit a theory to a survey: a chain is a unit of work, finished, kept and resumed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError
from bayesmig.inference.density import Density
from bayesmig.inference.diagnostics import diagnose
from bayesmig.inference.layout import parameter_coords, parameter_dims
from bayesmig.inference.prior import prior_draws
from bayesmig.posterior import Posterior, Provenance, checksum, write_aside
from bayesmig.progress import Progress, bars
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey

_PACKAGES = ("bayesmig", "nutpie", "numba", "numpy", "scipy", "pandas", "formulaic", "xarray")
_STATS = ("diverging", "energy", "depth", "n_steps", "step_size", "mean_tree_accept", "logp")

#: Seconds after which a running chain looks whether it should stop.
_PATIENCE = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What one chain of a fit depends on, and nothing else.

    Attributes
    ----------
    design
        Fingerprint of the design.
    seed, draws, tune, target_accept
        As asked.
    versions
        Package -> version.
    """

    design: str
    seed: int
    draws: int
    tune: int
    target_accept: float
    versions: Mapping[str, str]

    def key(self, chain: int) -> str:
        """Equal for equal chains: the name under which one is kept."""
        parts = [self.design, self.seed, self.draws, self.tune, self.target_accept, chain]
        text = json.dumps([*parts, dict(self.versions)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


# Chains are threads already; BLAS threads under them only get in each other's way.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def fit(
    theory: ModelSpec,
    survey: Survey,
    *,
    seed: int,
    chains: int = 4,
    draws: int = 1000,
    tune: int = 500,
    target_accept: float = 0.8,
    cores: int | None = None,
    prior: bool = False,
    keep: str | Path | None = None,
    progress: bool | Progress = True,
) -> Posterior:
    """Sample the posterior of a theory on a survey.

    NUTS (nutpie's) on the density of `bayesmig.inference.density`. Each chain has a
    seed of its own, derived from ``seed`` and its number, so draws do not depend on the
    number of cores, and the first chains of a longer fit equal those of a shorter one.

    Parameters
    ----------
    theory
        The theory.
    survey
        The survey.
    seed
        Seed of everything random, at least 0.
    chains, draws, tune
        Number of chains; draws kept and warm-up iterations of each.
    target_accept
        Wanted acceptance rate of NUTS, in (0, 1).
    cores
        Chains that run at once; all cores where it is left out.
    prior
        Whether to draw from the prior as well (group ``prior``).
    keep
        Folder in which finished chains are kept and looked for, so that an interrupted
        fit goes on where it stopped.
    progress
        Whether to show progress bars, or what to tell instead.

    Returns
    -------
    Posterior
        Draws of the parameters; log-likelihoods are computed when they are asked for.

    Raises
    ------
    DesignError
        Where theory and survey do not fit together.
    InferenceError
        Where an option is out of range, ``keep`` cannot be written to, or the density is
        not finite at the start.
    """
    _check_options(seed, chains, draws, tune, target_accept, cores)
    _check_switches(prior, progress)
    folder = _open_folder(keep)
    design = build_design(theory, survey)
    # Before the chains: it refuses flat priors.
    from_prior = prior_draws(design, seed=seed, draws=draws) if prior else None
    density = _density(design, seed)
    versions = package_versions()
    plan = Plan(design.fingerprint, seed, draws, tune, target_accept, versions)
    started = time.perf_counter()
    if callable(progress):
        kept = _chains(density, plan, chains, cores, folder, progress)
    else:
        with bars(progress) as tell:
            kept = _chains(density, plan, chains, cores, folder, tell)
    seconds = time.perf_counter() - started
    tree = _tree(design, kept)
    tree["diagnostics"] = xr.DataTree(
        diagnose(tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset())
    )
    if from_prior is not None:
        tree["prior"] = xr.DataTree(from_prior)
    provenance = Provenance(
        seed=seed,
        chains=chains,
        draws=draws,
        tune=tune,
        target_accept=target_accept,
        route="NUTS (nutpie) on the conditional-Laplace map",
        versions=versions,
        survey=survey.fingerprint,
        design=design.fingerprint,
        spec=hashlib.sha256(theory.to_toml().encode()).hexdigest(),
        seconds=seconds,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=design.support.warnings,
    )
    return Posterior(design, tree, provenance, survey)


def package_versions() -> dict[str, str]:
    """Versions of the packages that draws depend on."""
    return {name: version(name) for name in _PACKAGES}


def _check_options(
    seed: int, chains: int, draws: int, tune: int, target_accept: float, cores: int | None
) -> None:
    whole = {"seed": (seed, 0), "chains": (chains, 1), "draws": (draws, 10), "tune": (tune, 10)}
    if cores is not None:
        whole["cores"] = (cores, 1)
    for name, (value, least) in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InferenceError(
                f"{name} must be a whole number of at least {least}, got {value!r}",
                where=f"fit({name}=...)",
            )
    if not (isinstance(target_accept, int | float) and 0 < target_accept < 1):
        raise InferenceError(
            f"target_accept must lie between 0 and 1, got {target_accept!r}",
            where="fit(target_accept=...)",
        )


def _check_switches(prior: bool, progress: bool | Progress) -> None:
    for name, value, sound in (
        ("prior", prior, isinstance(prior, bool)),
        ("progress", progress, isinstance(progress, bool) or callable(progress)),
    ):
        if not sound:
            raise InferenceError(
                f"{name} must be True or False, got {value!r}", where=f"fit({name}=...)"
            )


def _open_folder(keep: str | Path | None) -> Path | None:
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


def _density(design: Design, seed: int) -> Density:
    """The density of a design, seen to be finite where chains start."""
    try:
        density = Density(design)
        value, gradient = density(density.start(_generator(seed, 0)))
        finite = np.isfinite(value) and np.isfinite(gradient).all()
    except np.linalg.LinAlgError:
        finite = False
    if not finite:
        raise InferenceError(
            "the log density or its gradient is not finite at the starting point",
            mend="look for columns with extreme values; scale them in the theory or codebook",
        )
    return density


def _generator(seed: int, chain: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(chain,)))


# --------------------------------------------------------------------------- chains


def _chains(
    density: Density,
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
        tree = _finish(_start(density, plan, chain, tell), density.design, stop)
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


def _start(density: Density, plan: Plan, chain: int, progress: Progress) -> Any:
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    dims, coords = parameter_dims(density.design), parameter_coords(density.design)
    sizes = {name: len(labels) for name, labels in coords.items()}
    rng = _generator(plan.seed, chain)
    start = density.start(rng)
    model = from_pyfunc(
        density.size,
        lambda: density,
        lambda *_: density.parameters,
        [np.dtype("float64")] * len(dims),
        [tuple(sizes[d] for d in of) for of in dims.values()],
        list(dims),
        make_initial_point_fn=lambda _: start,
    )
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
        save_warmup=False,
        progress_bar=False,
        progress_callback=tell,
        blocking=False,
    )


def _finish(sampler: Any, design: Design, stop: Event) -> xr.DataTree:
    """Wait for a chain; end it early where ``stop`` is set, which only this thread can."""
    while True:
        try:
            raw = sampler.wait(timeout=_PATIENCE)
            break
        except TimeoutError:
            if stop.is_set():
                sampler.cancel()
                raise InferenceError("the chain was stopped before its end") from None
    dims, coords = parameter_dims(design), parameter_coords(design)
    posterior = {
        name: (("chain", "draw", *of), raw["posterior"][name].to_numpy())
        for name, of in dims.items()
    }
    stats = raw["sample_stats"].to_dataset()
    kept = stats[[s for s in _STATS if s in stats]]
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
    return found if given == (plan.key(chain), checksum(found)) else None


def _keep(folder: Path | None, plan: Plan, chain: int, tree: xr.DataTree) -> None:
    if folder is None:
        return
    kept = tree.copy()
    kept.attrs = {"key": plan.key(chain), "checksum": checksum(kept)}
    write_aside(_path(folder, plan, chain), lambda aside: kept.to_netcdf(aside, engine="h5netcdf"))


def _tree(design: Design, chains: list[xr.DataTree]) -> xr.DataTree:
    number = {"chain": np.arange(len(chains))}
    groups = {
        name: xr.concat([c[name].to_dataset() for c in chains], "chain").assign_coords(number)
        for name in ("posterior", "sample_stats")
    }
    observed = xr.Dataset({"choice": ("obs", design.choice)})
    return xr.DataTree.from_dict(
        groups | {"observed_data": observed, "constant_data": design.to_dataset()}
    )
