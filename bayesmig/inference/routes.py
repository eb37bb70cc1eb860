"""Fit a theory to a survey by the fastest route that gives its posterior.

Every route but a preview aims at the posterior itself, and what is left is the error of finitely
many draws, which diagnostics state; with one exception. Where effects are integrated out, chains
move on a density with an error of quadrature, which is measured, kept in the diagnostics as
``quadrature_error``, and a problem where it is large; and these effects are one of 32 candidates
each (`bayesmig.inference.integration`).

``surrogate``: independent draws from the expansion of the posterior, weighted
(`bayesmig.inference.approximate`), where the Pareto shape of their weights is below 0.5 and
enough of them count. ``nuts``: NUTS on the conditional-Laplace map
(`bayesmig.inference.geometry`), effects of many small groups being integrated out where that
mixes better (`bayesmig.inference.integration`). ``auto`` is the first where it will do and
the second otherwise; where effects are worth integrating out, it is the second at once.
``graph``: NUTS on the PyMC model with the kernel as its likelihood (`bayesmig.inference.op`),
and ``plain``: NUTS on the plain PyMC model. Coordinates are the model's own in both, but that
with nests or consideration (and without curves and tastes) coefficients on a ``graph`` have
those of the nearest logit. The map covers every theory whose likelihood is a logit that is
linear in its parameters, so that ``auto`` takes neither for these. For others (nests, response
curves, tastes, consideration) ``auto`` is ``graph``, and no map will do. ``preview``: the
surrogate without weights, which is integrated Laplace, an approximation.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from bayesmig.choice.probabilities import beyond_logit
from bayesmig.choice.utility import Coefficients
from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError, nearest
from bayesmig.inference import approximate, choice_sample, stream
from bayesmig.inference.blocks import DTYPES, Precision, rows_of
from bayesmig.inference.compiled import nothing_compiled
from bayesmig.inference.density import Density, Mode, worth_integrating
from bayesmig.inference.diagnostics import diagnose, diagnose_weighted
from bayesmig.inference.geometry import NoCurvature
from bayesmig.inference.layout import labels_of_theta, layout_of, parameter_coords, parameter_dims
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.refine import refined
from bayesmig.inference.sample import (
    Plan,
    Sampler,
    density_sampler,
    generator,
    graph_sampler,
    open_folder,
    package_versions,
    run_chains,
)
from bayesmig.posterior import MAX_PARETO_K, MIN_ESS, PREVIEW, Posterior, Provenance
from bayesmig.progress import Progress, bars
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.sampling import Sampling, sampling_of
from bayesmig.survey.survey import Survey

if TYPE_CHECKING:
    from bayesmig.inference.integration import Integrated

Method = Literal["auto", "surrogate", "nuts", "graph", "plain", "preview"]
#: What chains move on, by the route of their plan.
_CHAINS_ON = {
    "map": "the conditional-Laplace map",
    "graph": "the PyMC model with the kernel",
    "plain": "the plain PyMC model",
}
#: Rows that are looped over from which loops in single precision pay.
_MANY_ROWS = 2_000
#: Said beside the first fit on a machine, which takes longer.
_FIRST = "compiling machine code, once: a minute or two"
#: What chains on the map call, which weighted draws do not: a source of machine code.
CODE_OF_CHAINS = "callback._c_density"
#: Near the edges of nests and of feasibility a few of thousands of longer steps diverge.
_TARGET_ACCEPT = {"map": 0.8, "graph": 0.9, "plain": 0.9}
#: Warm-up: the map has its scales and directions already.
_TUNE = {"map": 300, "graph": 500, "plain": 500}
#: Weighted draws that are made of those asked for, at most.
_MOST_PROPOSALS = 4
#: Effects of groups from which one of them may well be badly off.
_MANY_EFFECTS = 1_000
#: Draws of one fit, at most, and bytes of them: a few copies are held at once, and more would
#: not fit into a machine's memory.
_MOST_DRAWS, _MOST_BYTES = 1_000_000, 4_000_000_000
#: What may help where a density has no finite value or no curvature.
_EXTREME = "look for columns with extreme values; scale them in the theory or codebook"
#: Nats from the mode from which an expansion is said not to be around it.
_SHORT_OF_MODE = 0.01


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a route gives: draws and what is known of them."""

    tree: xr.DataTree
    route: str
    reason: str
    numbers: Mapping[str, float]
    precision: str


# Chains are threads already; BLAS threads under them only get in each other's way.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def fit(
    theory: ModelSpec,
    survey: Survey,
    *,
    seed: int,
    method: Method = "auto",
    precision: Precision | Literal["auto"] = "auto",
    chains: int = 4,
    draws: int = 1000,
    ess: int | None = None,
    tune: int | None = None,
    target_accept: float | None = None,
    cores: int | None = None,
    prior: bool = False,
    keep: str | Path | None = None,
    progress: bool | Progress = True,
) -> Posterior:
    """Draw from the posterior of a theory on a survey.

    Parameters
    ----------
    theory
        The theory.
    survey
        The survey.
    seed
        Seed of everything random, at least 0.
    method
        ``auto``: weighted independent draws where they will do, else NUTS; the posterior
        says which and why. ``surrogate``, ``nuts``, ``graph``, ``plain`` and ``preview``
        ask for one route (see `bayesmig.inference.routes`); a preview is an approximation, and
        every answer from it says so.
    precision
        Of the loops over rows: ``single``, ``double``, or ``auto``, which is single from
        2,000 rows on, identical ones counted as one, unless the terms of utilities are so
        large that they would lose digits in it (a year and its square, say). Sums over rows
        are double always, and so are the plain model, and nests, curves, tastes and
        consideration.
    chains, draws
        Number of chains, and draws kept of each. Weighted draws are resampled to equal
        weights and cut into as many.
    ess
        Independent draws that every parameter must be worth for weighted ones to be taken, 400
        or more (400): of ``surrogate``, and of ``auto``, which runs chains where they fall
        short. Chains are not held to it, and the posterior's reason says so.
    tune, target_accept
        Of NUTS: warm-up iterations of each chain (300 on the map, 500 elsewhere), and wanted
        acceptance rate (0.8 on the map, 0.9 on the PyMC model).
    cores
        Chains that run at once; all cores where it is left out. Weighted draws, the expansion
        and diagnostics before and after chains share all cores whatever it is; draws do not
        depend on it.
    prior
        Whether to draw from the prior as well (group ``prior``).
    keep
        Folder in which finished chains are kept and looked for, so that an interrupted
        fit goes on where it stopped. Weighted draws are a matter of seconds, and made
        again.
    progress
        Whether to show progress bars, or what to tell instead.

    Returns
    -------
    Posterior
        Draws of the parameters; log-likelihoods are computed when they are asked for.
        Equal seeds and versions give equal draws, whatever the number of cores; the
        first chains of a longer NUTS fit equal those of a shorter one.

    Raises
    ------
    DesignError
        Where theory and survey do not fit together.
    SurveyError
        Where the theory weights its likelihood, and the sampling design does not tell how
        much samples vary.
    InferenceError
        Where an option is out of range or does not apply, draws would take too many bytes,
        ``keep`` cannot be written to, the density is not finite at the start, single precision
        was asked for and would lose digits, or the surrogate was asked for and does not do.
    """
    options: dict[str, Any] = {
        "seed": seed,
        "method": method,
        "precision": precision,
        "chains": chains,
        "draws": draws,
        "ess": ess,
        "tune": tune,
        "target_accept": target_accept,
        "cores": cores,
    }
    check_options(**options, keep=keep)
    _check_switches(prior, progress)
    folder = open_folder(keep)
    design = build_design(theory, survey)
    sampling = sampling_of(survey) if design.is_pseudo else None
    if shares := survey.codebook.population_shares:
        choice_sample.refuse_invalid(design, shares)
    return fit_design(
        design,
        survey,
        **options,
        prior=prior,
        folder=folder,
        progress=progress,
        sampling=sampling,
        shares=shares,
    )


def fit_design(
    design: Design,
    survey: Survey | None,
    *,
    seed: int,
    method: Method = "auto",
    precision: Precision | Literal["auto"] = "auto",
    chains: int = 4,
    draws: int = 1000,
    ess: int | None = None,
    tune: int | None = None,
    target_accept: float | None = None,
    cores: int | None = None,
    prior: bool = False,
    folder: Path | None = None,
    progress: bool | Progress = False,
    sampling: Sampling | None = None,
    shares: Mapping[str, float] | None = None,
) -> Posterior:
    """`fit` of a design that is made, whose choices may be simulated ones.

    Parameters
    ----------
    design
        Theory × survey.
    survey
        Kept with the draws.
    seed, method, precision, chains, draws, ess, tune, target_accept, cores, prior, progress
        As for `fit`; `check_options` has seen them.
    folder
        Where finished chains are kept.
    sampling, shares
        How the survey was drawn, by which the draws of a weighted likelihood are spread, and
        shares of the population, by which constants are corrected; left out, neither is.
    """
    _refuse_too_large(design, chains, draws)
    # Before anything long: it refuses flat priors.
    from_prior = prior_draws(design, seed=seed, draws=draws) if prior else None
    plan = plan_fit(
        design,
        seed,
        method=method,
        precision=precision,
        draws=draws,
        tune=tune,
        target_accept=target_accept,
    )
    started = time.perf_counter()
    if callable(progress):
        outcome = _take(method, design, plan, chains, cores, folder, progress, ess=ess)
    else:
        with bars(progress) as tell:
            outcome = _take(method, design, plan, chains, cores, folder, tell, ess=ess)
    weighted = "divergences" not in outcome.tree["diagnostics"]
    if ess is not None and not weighted:
        outcome = replace(outcome, reason=f"{outcome.reason}; chains are not held to ess={ess}")
    warnings = design.support.warnings
    if sampling is not None:
        _correct(outcome, design, sampling, seed)
        warnings += (*few_units(outcome.tree, sampling), *uncorrected(design, sampling))
    if shares:
        before = outcome.tree["posterior"].to_dataset()
        corrected, note = choice_sample.corrected(design, before, shares)
        outcome.tree["posterior"] = xr.DataTree(corrected)
        outcome.tree["choice_sample"] = xr.DataTree(xr.Dataset(attrs={"note": note}))
    if from_prior is not None:
        outcome.tree["prior"] = xr.DataTree(from_prior)
    provenance = Provenance(
        seed=seed,
        chains=chains,
        draws=draws,
        tune=None if weighted else plan.tune,
        target_accept=None if weighted else plan.target_accept,
        method=method,
        route=outcome.route,
        reason=outcome.reason,
        precision=outcome.precision,
        numbers=outcome.numbers,
        versions=plan.versions,
        survey=design.survey_fingerprint,
        design=design.fingerprint,
        spec=hashlib.sha256(design.spec.to_toml().encode()).hexdigest(),
        seconds=time.perf_counter() - started,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=warnings,
        left_out="" if survey is None else survey.left_out,
    )
    return Posterior(design, outcome.tree, provenance, survey)


def plan_fit(
    design: Design,
    seed: int,
    *,
    method: str,
    precision: str,
    draws: int,
    tune: int | None,
    target_accept: float | None,
) -> Plan:
    """What the chains of a fit depend on; options are those of `fit`."""
    method = _refuse_uncovered(design, method)
    route = method if method in _CHAINS_ON else "map"
    return Plan(
        design=design.fingerprint,
        route=route,
        precision=_precision(design, method, precision),
        seed=seed,
        draws=draws,
        tune=_TUNE[route] if tune is None else tune,
        target_accept=_TARGET_ACCEPT[route] if target_accept is None else float(target_accept),
        versions=package_versions(),
    )


# ------------------------------------------------------------------------------ options


def check_options(
    *,
    seed: int,
    method: str,
    precision: str,
    chains: int,
    draws: int,
    ess: int | None = None,
    tune: int | None = None,
    target_accept: float | None = None,
    cores: int | None = None,
    keep: Path | str | None = None,
) -> None:
    """Refuse options of a fit that are out of range, unknown, or do not apply.

    Raises
    ------
    InferenceError
        Which names the option.
    """
    _check_numbers(seed, chains, draws, tune, target_accept, cores, ess)
    for name, value, known in (
        ("method", method, get_args(Method)),
        ("precision", precision, ("auto", *DTYPES)),
    ):
        if value not in known:
            raise InferenceError(
                f"{name} must be one of {', '.join(known)}, got {value!r}",
                where=f"fit({name}=...)",
                mend=nearest(str(value), known),
            )
    idle = {"tune": tune, "target_accept": target_accept, "cores": cores, "keep": keep}
    _refuse_idle_options(method, idle, ess)


def _check_numbers(
    seed: int,
    chains: int,
    draws: int,
    tune: int | None,
    target_accept: float | None,
    cores: int | None,
    ess: int | None,
) -> None:
    whole = {"seed": (seed, 0), "chains": (chains, 1), "draws": (draws, 10)}
    perhaps = (("ess", ess, MIN_ESS), ("tune", tune, 10), ("cores", cores, 1))
    whole |= {k: (v, least) for k, v, least in perhaps if v is not None}
    for name, (value, least) in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InferenceError(
                f"{name} must be a whole number of at least {least}, got {value!r}",
                where=f"fit({name}=...)",
            )
    if chains * draws > _MOST_DRAWS:
        raise InferenceError(
            f"{chains} chains of {draws:,} draws are more than {_MOST_DRAWS:,}",
            where="fit(draws=...)",
            mend="a few thousand draws in all give every digit that is worth printing",
        )
    sound = isinstance(target_accept, int | float) and not isinstance(target_accept, bool)
    if target_accept is not None and not (sound and 0 < target_accept < 1):
        raise InferenceError(
            f"target_accept must lie between 0 and 1, got {target_accept!r}",
            where="fit(target_accept=...)",
        )


def _refuse_too_large(design: Design, chains: int, draws: int) -> None:
    """Draws of many effects may be too many bytes."""
    coords = parameter_coords(design)
    shapes = [[len(coords[d]) for d in dims] for dims in parameter_dims(design).values()]
    parameters = sum(int(np.prod(shape)) for shape in shapes)
    if (size := 8 * chains * draws * parameters) <= _MOST_BYTES:
        return
    fitting = _MOST_BYTES // (8 * chains * parameters)
    raise InferenceError(
        f"{chains} chains of {draws:,} draws of {parameters:,} parameters are {size / 1e9:.1f} GB, "
        f"more than {_MOST_BYTES / 1e9:.0f}",
        where="fit(draws=...)",
        mend=f"fit with draws={fitting:,} in each chain, or give fewer groups effects",
    )


def _check_switches(prior: bool, progress: bool | Progress) -> None:
    switches = {"prior": isinstance(prior, bool)}
    switches["progress"] = isinstance(progress, bool) or callable(progress)
    for name, sound in switches.items():
        if not sound:
            raise InferenceError(f"{name} must be True or False", where=f"fit({name}=...)")


def _refuse_idle_options(method: str, options: Mapping[str, Any], ess: int | None) -> None:
    """What only chains have, or only weights, does not apply where there are none."""
    if ess is not None and method not in ("auto", "surrogate"):
        raise InferenceError(
            "ess says when weighted draws will do, and none are made",
            where=f"fit(method={method!r}, ess=...)",
            mend="leave it out, and ask for as many draws as are needed",
        )
    given = [name for name, value in options.items() if value is not None]
    if method in ("surrogate", "preview") and given:
        raise InferenceError(
            f"{given[0]} does not apply to weighted draws",
            where=f"fit(method={method!r}, {given[0]}=...)",
            mend="leave it out, or ask for method='nuts'",
        )


def _refuse_uncovered(design: Design, method: str) -> str:
    """The method; where it is left open and the map does not cover the theory, the next best."""
    parts = beyond_logit(design.columns)
    if not parts or method in ("graph", "plain"):
        return method
    if method == "auto":
        return "graph"
    raise InferenceError(
        f"the map does not cover {', '.join(parts)}",
        where=f"fit(method={method!r})",
        mend="fit with method='auto', which samples the PyMC model",
    )


def _precision(design: Design, method: str, asked: str) -> str:
    """The precision; ``auto`` where it is `density_of` that decides."""
    double = method == "plain" or bool(beyond_logit(design.columns))
    if double and asked == "single":
        raise InferenceError(
            "this route has no loops in single precision",
            where=f"fit(method={method!r}, precision={asked!r})",
            mend="leave precision out",
        )
    return "double" if asked == "auto" and (double or design.n_obs < _MANY_ROWS) else asked


# ------------------------------------------------------------------------------- routes


def _take(
    method: str,
    design: Design,
    plan: Plan,
    chains: int,
    cores: int | None,
    folder: Path | None,
    progress: Progress,
    start: Mode | None = None,
    ess: int | None = None,
) -> _Outcome:
    """Take the route asked for, or the best."""
    if plan.route != "map":
        precision = _precision_of_graph(design, plan, start)
        task = "machine code of the model"
        progress(task, 0, 1)
        sampler, why = graph_sampler(design, plan.route, precision), "was asked for"
        progress(task, 1, 1)
        if method != plan.route:
            why = f"the map does not cover {', '.join(beyond_logit(design.columns))}"
        plan = replace(plan, found=precision)
        numbers = {} if plan.route == "plain" else _numbers_of_kernel(design, precision)
        return _chains(sampler, design, plan, chains, cores, folder, progress, why, numbers)
    progress("expansion", 0, 1, _FIRST if nothing_compiled() else "")
    density, tried = density_of(design, plan, start), ""
    if method in ("auto", "nuts") and (by := worth_integrating(density)):
        # Its machine code is loaded, and most theories have no such groups.
        from bayesmig.inference.integration import integrated

        if (marginal := integrated(density, by)) is not None:
            progress("expansion", 1, 1)
            return _integrated(marginal, plan, chains, cores, folder, progress, method)
        tried = f"; effects of {by} are too far from normal to be integrated out"
    density = refined(density)
    progress("expansion", 1, 1)
    plan, why = replace(plan, found=density.precision), "was asked for"
    numbers = {}
    if method != "nuts":
        kernel = partial(density.problem.log_likelihood, *density.mode, parts=1)
        numbers |= _of_density(density, kernel)
        needed = MIN_ESS if ess is None else ess
        pool, why = _weighted(density, plan, chains, method, needed, progress, numbers)
        if pool is not None:
            return _resampled(density, plan, chains, method, pool, why, numbers)
        if method != "auto":
            raise InferenceError(
                f"weighted draws will not do here: {why}",
                where=f"fit(method={method!r})",
                mend="fit with method='auto', which goes on to NUTS",
            )
    compiling = nothing_compiled(CODE_OF_CHAINS)
    if compiling:
        progress("machine code of chains", 0, 1, _FIRST)
    numbers |= _where_chains_start(density, density, plan)
    if compiling:
        progress("machine code of chains", 1, 1)
    sampler = density_sampler(density)
    return _chains(sampler, design, plan, chains, cores, folder, progress, why + tried, numbers)


def chains_of(
    design: Design,
    seed: int,
    chains: int,
    draws: int,
    progress: Progress,
    start: Mode | None = None,
) -> xr.DataTree:
    """Chains on a design, by the route that a fit takes where weighted draws will not do.

    Parameters
    ----------
    design, seed, chains, draws
        As of `fit`.
    progress
        Told of what is done.
    start
        As of `bayesmig.inference.density.Density`.

    Returns
    -------
    DataTree
        With the groups ``posterior`` and ``diagnostics`` among others.
    """
    method = "auto" if beyond_logit(design.columns) else "nuts"
    plan = plan_fit(
        design,
        seed,
        method=method,
        precision="auto",
        draws=draws,
        tune=None,
        target_accept=None,
    )
    return _take(method, design, plan, chains, None, None, progress, start).tree


def _integrated(
    marginal: Integrated,
    plan: Plan,
    chains: int,
    cores: int | None,
    folder: Path | None,
    progress: Progress,
    method: str,
) -> _Outcome:
    """Chains over all but the effects of many small groups."""
    density, of_each = marginal.density, "×".join(map(str, marginal.points))
    plan = replace(plan, found=density.precision)
    numbers = _where_chains_start(marginal, density, plan)
    numbers["quadrature_points"] = float(np.prod(marginal.points))
    why = f"groups of {marginal.by} are many and small"
    why = f"was asked for; {why}" if method == "nuts" else why
    over = f", effects of {marginal.by} integrated out over {of_each} points"
    sampler = replace(density_sampler(marginal), known=marginal.known)
    return _chains(
        sampler, density.design, plan, chains, cores, folder, progress, why, numbers, over
    )


def density_of(design: Design, plan: Plan, start: Mode | None = None) -> Density:
    """The density of a design, in the precision asked for or that will do."""
    if plan.precision == "double":
        return _finite(design, "double", plan.seed, start)
    asked = plan.precision == "single"
    try:
        density = _finite(design, "single", plan.seed, start)
    except InferenceError:
        if asked:
            raise
        return _finite(design, "double", plan.seed, start)
    enough = stream.single_is_enough(design.columns, _at_mode(density))
    if asked and not enough:
        raise InferenceError(
            "the terms of utilities are so large that single precision would lose digits that "
            "count",
            where="fit(precision='single')",
            mend="leave precision out, or centre columns in the theory or codebook",
        )
    if asked or (enough and len(density.columns.persons) >= _MANY_ROWS):
        return density
    return _finite(design, "double", plan.seed, start)


def _precision_of_graph(design: Design, plan: Plan, start: Mode | None) -> Precision:
    """The precision of a graph's kernel, which the map tells where there is one."""
    if plan.precision == "double":
        return "double"
    try:
        return density_of(design, plan, start).precision
    except InferenceError:
        # Chains on the graph need no expansion, and nothing is lost in double.
        if plan.precision == "single":
            raise
        return "double"


def _finite(design: Design, precision: Precision, seed: int, start: Mode | None = None) -> Density:
    """The density of a design, seen to be finite where chains start."""
    try:
        density = Density(design, precision, start)
    except np.linalg.LinAlgError as err:
        which = f": {_name_in_theta(design, err.along)}" if isinstance(err, NoCurvature) else ""
        raise InferenceError(
            f"the log density has no curvature in some direction around its mode{which}",
            mend=_EXTREME,
        ) from err
    start_at = density.located(density.start(generator(seed, 0)))
    _refuse_infinite(*density.problem.log_likelihood(*start_at))
    return density


def _refuse_infinite(*parts: Any) -> None:
    """A log density and its slopes, where chains start, must be finite."""
    if not all(np.isfinite(part).all() for part in parts):
        raise InferenceError(
            "the log density or its gradient is not finite at the starting point", mend=_EXTREME
        )


def _name_in_theta(design: Design, position: int) -> str:
    """Label of a coefficient or scale, or name of a correlation, by its position in theta."""
    label = labels_of_theta(design, layout_of(design))[position]
    # A free number of a matrix of correlations moves several of them.
    return label.partition("[")[0] if label.startswith("corr_") else label


def _at_mode(density: Density) -> Coefficients:
    """The coefficients that the expansion is around, as one draw."""
    named = density.parameters(np.zeros((1, density.size)))
    return Coefficients(
        persons=named["beta"],
        only=named.get("beta_only"),
        attributes=named.get("gamma"),
        effects={by: named[f"u_{by}"] for by in density.design.layouts},
    )


def _numbers_of_kernel(design: Design, precision: Precision) -> dict[str, float]:
    """Of the kernel within the PyMC model."""
    from bayesmig.inference.op import ChoiceLogLikelihood

    rows = rows_of(design, precision)
    # Where all lambdas are one, the nests are a logit.
    inputs = [np.full(shape, float(name == "lambdas")) for name, shape in rows.inputs.items()]
    seconds = _seconds(ChoiceLogLikelihood(rows).evaluate, *inputs)
    return {
        "nanoseconds_per_row": seconds / design.n_obs * 1e9,
        "rows_in_loops": len(rows.columns.persons),
    }


def _where_chains_start(sampled: Any, density: Density, plan: Plan) -> dict[str, float]:
    """What is known of the density that chains move on, which is seen to be finite there."""
    at = sampled.start(generator(plan.seed, 0))
    _refuse_infinite(*sampled(at))
    return _of_density(density, partial(sampled, at))


def _of_density(density: Density, gradient: Callable[[], Any]) -> dict[str, float]:
    """What one gradient takes, over the rows of the survey, and how good the expansion is."""
    seconds = _seconds(gradient)
    numbers = {
        "nanoseconds_per_row": seconds / density.design.n_obs * 1e9,
        "rows_in_loops": len(density.columns.persons),
    }
    if (short := density.expansion.short_of_mode) > _SHORT_OF_MODE:
        numbers["short_of_mode"] = short
    return numbers


def _seconds(call: Any, *arguments: Any) -> float:
    """That a call takes, the best of a few."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - started)
    return min(times)


def _chains(
    sampler: Sampler,
    design: Design,
    plan: Plan,
    chains: int,
    cores: int | None,
    folder: Path | None,
    progress: Progress,
    why: str,
    numbers: dict[str, float],
    over: str = "",
) -> _Outcome:
    precision, plan = plan.found, replace(plan, found=plan.found + over)
    kept = run_chains(sampler, design, plan, chains, cores, folder, progress)
    number = {"chain": np.arange(chains)}
    posterior, stats = (
        xr.concat([c[name].to_dataset() for c in kept], "chain").assign_coords(number)
        for name in ("posterior", "sample_stats")
    )
    diagnostics = diagnose(posterior, stats)
    least = float(diagnostics["ess_bulk"].min())
    numbers |= {
        "gradients_per_draw": float(stats["n_steps"].mean()),
        "gradients_per_ess": float(stats["n_steps"].sum()) / least,
    }
    if "quadrature_error" in diagnostics:
        numbers["quadrature_error"] = float(diagnostics["quadrature_error"].max(skipna=False))
    route = f"NUTS (nutpie) on {_CHAINS_ON[plan.route]}{over}"
    return _Outcome(_tree(design, posterior, stats, diagnostics), route, why, numbers, precision)


def _weighted(
    density: Density,
    plan: Plan,
    chains: int,
    method: str,
    needed: int,
    progress: Progress,
    numbers: dict[str, float],
) -> tuple[_Pool | None, str]:
    """Weighted draws where they will do, and why they will or will not.

    Where only their number is short, more are made: they are cheap. What is known of their
    weights is added to the numbers, whatever comes of them.
    """
    if not approximate.supports(density):
        return None, "factors that cross each other are not independent given coefficients"
    weigh, wanted = method != "preview", chains * plan.draws
    if weigh and wanted <= needed:
        return None, f"{wanted:,} draws in all cannot be worth {needed:,}"
    # The least parameter is worth about half of what the weights are, of very many a quarter.
    worth = 2 if density.layout.n_effects <= _MANY_EFFECTS else 4
    size, why = wanted, ""
    while True:
        try:
            found = approximate.weighted_draws(
                density,
                seed=plan.seed,
                draws=size,
                weigh=weigh,
                progress=progress,
                least_share=worth * needed / (_MOST_PROPOSALS * wanted),
            )
        except np.linalg.LinAlgError:
            return None, "at some draws of the scales no normal coefficients are left to propose"
        if weigh:
            numbers["pareto_k"], numbers["weight_ess"] = found.pareto_k, found.weight_ess
            numbers["proposals"] = len(found.log_weights)
        if not found.whole:
            return None, "the first weights were too uneven"
        pool = _pool(density, found, plan, wanted)
        if not weigh:
            return pool, "was asked for"
        k, least = found.pareto_k, pool.least_ess
        why = f"Pareto k {k:.2f}, every parameter worth {least:,.0f} draws or more"
        if not k < MAX_PARETO_K:
            return None, f"{why}: k < {MAX_PARETO_K} is needed"
        if least >= needed:
            return pool, f"{why}: k < {MAX_PARETO_K} and at least {needed:,}"
        size = int(1.3 * size * needed / max(least, 1.0))
        if size > _MOST_PROPOSALS * wanted:
            return None, f"{why}: {needed:,} are needed"


@dataclass(frozen=True, slots=True)
class _Pool:
    """Weighted draws by name, those chosen to stand for them, and what these are worth."""

    weighted: approximate.Weighted
    named: Mapping[str, np.ndarray]
    chosen: np.ndarray
    diagnostics: xr.Dataset

    @property
    def least_ess(self) -> float:
        return float(min(self.diagnostics[name].min() for name in ("ess_bulk", "ess_tail")))


def _pool(density: Density, weighted: approximate.Weighted, plan: Plan, wanted: int) -> _Pool:
    named = density.named(weighted.theta, weighted.effects)
    dims, coords = parameter_dims(density.design), parameter_coords(density.design)
    every = xr.Dataset({k: (("chain", "draw", *dims[k]), named[k][None]) for k in dims}, coords)
    rng, log_weights = generator(plan.seed, 2**20), weighted.log_weights
    chosen = approximate.resampled(log_weights, wanted, rng)
    # Resampling costs a little too: a draw weighs what it stands for.
    shares = np.bincount(chosen, minlength=len(log_weights)) / wanted
    numbers = diagnose_weighted(every, shares, weighted.pareto_k, weighted.weight_ess)
    return _Pool(weighted, named, chosen, numbers)


def _correct(outcome: _Outcome, design: Design, sampling: Sampling, seed: int) -> None:
    """Give the draws the spread that the sampling design implies."""
    # Only theories with a weighted likelihood need it.
    from bayesmig.inference.sampling_correction import corrected

    draws = outcome.tree["posterior"].to_dataset()
    moved, known = corrected(design, draws, sampling, seed=seed)
    outcome.tree["posterior"] = xr.DataTree(moved)
    outcome.tree["sampling"] = xr.DataTree(known)


def uncorrected(design: Design, sampling: Sampling) -> tuple[str, ...]:
    """What of a sampling design effects of groups are not corrected for, given their scales."""
    names = " and ".join(layout.by for layout in design.labelled)
    said = f"given their scales, effects of {names} are not corrected for"
    if len(design.labelled) > 1:
        return (
            f"{said} the sampling design: where people of one sampling unit are alike, or weights "
            "vary, they are too sure",
        )
    if design.labelled and sampling.replicates is not None and "psu" not in design.roles:
        return (
            f"{said} people who were drawn together: replicate weights do not say who they are; "
            "declare the role psu, if the survey has it",
        )
    return ()


def few_units(tree: xr.DataTree, sampling: Sampling) -> tuple[str, ...]:
    """That a design tells the spread of more parameters than it has degrees of freedom."""
    if "sampling" not in tree or sampling.degrees_of_freedom >= tree["sampling"].sizes["global"]:
        return ()
    return (
        f"the sampling design ({sampling.note}) has {sampling.degrees_of_freedom:,} degrees of "
        f"freedom for {tree['sampling'].sizes['global']} parameters: their corrected spread is "
        "uncertain itself",
    )


def _resampled(
    density: Density,
    plan: Plan,
    chains: int,
    method: str,
    pool: _Pool,
    why: str,
    numbers: dict[str, float],
) -> _Outcome:
    """Equal weights, in chains that are none."""
    dims, coords = parameter_dims(density.design), parameter_coords(density.design)
    shape, chosen, route = (chains, plan.draws), pool.chosen, PREVIEW
    if method != "preview":
        route = "weighted independent draws (surrogate, PSIS)"
    number = {"chain": np.arange(chains), "draw": np.arange(plan.draws)}
    posterior = xr.Dataset(
        {
            k: (("chain", "draw", *dims[k]), all_[chosen].reshape(*shape, *all_.shape[1:]))
            for k, all_ in pool.named.items()
        },
        number | coords,
    )
    stats = xr.Dataset({"proposal": (("chain", "draw"), chosen.reshape(shape))}, number)
    tree = _tree(density.design, posterior, stats, pool.diagnostics)
    return _Outcome(tree, route, why, numbers, density.precision)


def _tree(
    design: Design, posterior: xr.Dataset, stats: xr.Dataset, diagnostics: xr.Dataset
) -> xr.DataTree:
    return xr.DataTree.from_dict(
        {
            "posterior": posterior,
            "sample_stats": stats,
            "observed_data": xr.Dataset({"choice": ("obs", design.choice)}),
            "constant_data": design.to_dataset(),
            "diagnostics": diagnostics,
        }
    )
