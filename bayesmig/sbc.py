"""Simulation-based calibration: whether fits of a theory on a survey are right on average.

Talts et al. 2018 (arXiv 1804.06788). Parameters are drawn from the prior, choices from them,
and the theory is fitted to these choices; the rank of each true parameter among thinned
posterior draws is then uniform over worlds if density and sampler are right. The empirical
distribution of ranks is set beside simultaneous bands (Säilynoja, Bürkner and Vehtari 2022,
doi 10.1007/s11222-022-10090-6); the log-likelihood is ranked too, which sees errors that no
single parameter shows (Modrák et al. 2023, doi 10.1214/23-BA1404).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.design.design import Design, build_design
from bayesmig.errors import QuestionError
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.routes import Method, check_options, fit_design
from bayesmig.inference.simulated import as_posterior, simulated
from bayesmig.inference.stream import log_likelihood_sums
from bayesmig.posterior import OF_GROUPS, Posterior, labelled_draws, table_text
from bayesmig.progress import Progress, bars
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey

Array = NDArray[np.float64]
#: Probability that ranks of right fits leave the bands of any quantity.
ALARM = 0.05
#: Simulated samples from which bands are made, more where quantities are many, so that this many
#: lie beyond the band of each; and of what is ranked beside parameters.
_SIMULATIONS, _BEYOND, LIKELIHOOD = 20_000, 10, "log-likelihood"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of true parameters among the draws of fits to simulated choices.

    Attributes
    ----------
    summary
        One row per quantity: ``parameter``; ``mean_rank``, from 0 to 1, 0.5 of right fits;
        ``p_value`` of the largest deviation of its ranks from uniform ones, ``p_adjusted``
        for the number of quantities (Holm 1979), and ``passed``.
    ecdf
        For figures: ``parameter``, ``rank`` (0 to 1), ``difference`` of the empirical
        distribution from the uniform one, and the simultaneous 95 % band for all quantities
        together, ``lower`` and ``upper``.
    ranks
        Dims ``(world, parameter)``: numbers of thinned draws below the truth; attribute
        ``draws``, how many there are.
    routes
        How each world was fitted.
    passed
        Whether no quantity leaves its band.
    text
        The finding in words.
    """

    summary: pd.DataFrame = field(repr=False)
    ecdf: pd.DataFrame = field(repr=False)
    ranks: xr.DataArray = field(repr=False)
    routes: tuple[str, ...] = field(repr=False)
    passed: bool
    text: str

    def __str__(self) -> str:
        return f"{table_text(self.summary)}\n{self.text}"


def calibrate(
    theory: ModelSpec,
    survey: Survey,
    *,
    seed: int,
    worlds: int = 100,
    method: Method = "auto",
    draws: int = 2016,
    thin: int = 32,
    effects: bool = False,
    progress: bool | Progress = True,
    **options: Any,
) -> Calibration:
    """Simulation-based calibration of a theory's fits at a survey's own rows.

    Parameters
    ----------
    theory
        The theory, with proper priors.
    survey
        The survey, of whose choices nothing is used but the shares on which the default
        prior of constants is centred.
    seed
        Seed of parameters, choices and fits.
    worlds
        Simulated surveys, at least 20.
    method
        As for `bayesmig.fit`. A ``preview`` is an approximation: this says how good a one.
    draws, thin
        Draws of each fit, in one chain, of which every so many is ranked among; ranks are of
        nearly independent draws if few of them are.
    effects
        Whether effects of single groups are ranked too.
    progress
        Whether to show progress bars, or what to tell instead.
    **options
        ``precision``, ``tune`` and ``target_accept`` of `bayesmig.fit`.

    Returns
    -------
    Calibration
        Right fits fail with a probability of about 5 %.

    Raises
    ------
    QuestionError
        Where a number is out of range or an option is unknown.
    InferenceError
        Where a prior is flat, or a fit fails.
    """
    _check(seed, worlds, draws, thin, options)
    said = {"precision": "auto", **options}
    check_options(seed=seed, method=method, chains=1, draws=draws, **said)
    design = build_design(theory, survey)
    if callable(progress):
        return _calibrated(design, seed, worlds, method, draws, thin, effects, progress, options)
    with bars(progress) as tell:
        return _calibrated(design, seed, worlds, method, draws, thin, effects, tell, options)


def _check(seed: int, worlds: int, draws: int, thin: int, options: Mapping[str, Any]) -> None:
    whole = {"seed": (seed, 0), "worlds": (worlds, 20), "draws": (draws, 20), "thin": (thin, 1)}
    for name, (value, least) in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise QuestionError(
                f"{name} must be a whole number of at least {least}, got {value!r}",
                where=f"calibrate({name}=...)",
            )
    if draws < 10 * thin:
        raise QuestionError(
            f"of {draws:,} draws every {thin:,}th leaves {draws // thin}, at least 10 are needed",
            where="calibrate(thin=...)",
            mend="draw more, or thin less",
        )
    if strange := set(options) - {"precision", "tune", "target_accept"}:
        raise QuestionError(
            f"calibrate knows no option {sorted(strange)[0]!r}",
            where="calibrate(...)",
            mend="options of fits are precision, tune and target_accept",
        )


def _calibrated(
    design: Design,
    seed: int,
    worlds: int,
    method: Method,
    draws: int,
    thin: int,
    effects: bool,
    progress: Progress,
    options: Mapping[str, Any],
) -> Calibration:
    truths = prior_draws(design, seed=seed, draws=worlds)
    rows, routes, names = [], [], []
    for k, world in enumerate(simulated(design, truths, seed)):
        progress(f"calibration of {design.spec.name}", k, worlds)
        posterior = fit_design(
            world, None, seed=seed + k, method=method, chains=1, draws=draws, **options
        )
        ranked = ranks(posterior, truths.isel(draw=[k]), thin, effects)
        names = list(ranked)
        rows.append(list(ranked.values()))
        routes.append(posterior.provenance.route)
    progress(f"calibration of {design.spec.name}", worlds, worlds)
    table = xr.DataArray(
        np.array(rows),
        dims=("world", "parameter"),
        coords={"parameter": names},
        attrs={"draws": len(range(0, draws, thin))},
    )
    found = of_ranks(table, tuple(routes), seed)
    fits = " Fits are previews, an approximation." if method == "preview" else ""
    return replace(found, text=found.text + fits + design.weights_sentence)


def ranks(
    posterior: Posterior, truth: xr.Dataset, thin: int, effects: bool = False
) -> dict[str, int]:
    """Ranks of true parameters, and of their log-likelihood, among thinned draws.

    Parameters
    ----------
    posterior
        One chain, fitted to choices that were simulated from ``truth``.
    truth
        The parameters, with one draw.
    thin
        Every so many draws count.
    effects
        Whether effects of single groups are ranked.

    Returns
    -------
    dict
        Quantity -> number of draws below its true value. The diagonal of a correlation and
        its upper half tell nothing new.
    """
    wanted = _wanted(posterior.draws, effects)
    found = {}
    of_all = zip(labelled_draws(posterior.draws), labelled_draws(truth), wanted, strict=True)
    for (name, values), (_, true), counts in of_all:
        if counts:
            found[name] = int((values[0, ::thin] < true[0, 0]).sum())
    design = posterior.design
    of_truth, of_draws = (
        log_likelihood_sums(design.columns, p.coefficients(), design.choice)
        for p in (as_posterior(design, truth), posterior)
    )
    return found | {LIKELIHOOD: int((of_draws[::thin] < of_truth[0]).sum())}


def _wanted(draws: xr.Dataset, effects: bool) -> list[bool]:
    """Of every parameter in the order of `labelled_draws`, whether it is ranked."""
    found: list[bool] = []
    for name, variable in draws.data_vars.items():
        shape = variable.transpose("chain", "draw", ...).shape[2:]
        if str(name).startswith("corr_"):
            found += np.tri(shape[0], k=-1, dtype=bool).ravel().tolist()
        else:
            among = effects or not str(name).startswith(OF_GROUPS)
            found += [among] * int(np.prod(shape))
    return found


def of_ranks(table: xr.DataArray, routes: tuple[str, ...] = (), seed: int = 0) -> Calibration:
    """What ranks say.

    Parameters
    ----------
    table
        Dims ``(world, parameter)``, attribute ``draws``, as `Calibration.ranks`.
    routes
        How each world was fitted.
    seed
        Of the place within a rank, by which ranks become uniform numbers; and of bands.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(41,)))
    names = [str(name) for name in table["parameter"].to_numpy()]
    uniform = (table.to_numpy() + rng.random(table.shape)) / (table.attrs["draws"] + 1)
    null = _null(rng, len(names), len(table))
    tails = _least_tails(uniform.T)
    p = (1 + np.searchsorted(np.sort(null), tails, side="right")) / (1 + len(null))
    adjusted = _holm(p)
    summary = pd.DataFrame(
        {
            "parameter": names,
            "mean_rank": uniform.mean(axis=0),
            "p_value": p,
            "p_adjusted": adjusted,
            "passed": adjusted > ALARM,
        }
    ).sort_values("p_value", kind="stable", ignore_index=True)
    level = float(np.quantile(null, ALARM / len(names)))
    passed = bool((adjusted > ALARM).all())
    ecdf = pd.concat([_differences(n, u, level) for n, u in zip(names, uniform.T, strict=True)])
    return Calibration(
        summary, ecdf.reset_index(drop=True), table, routes, passed, _text(summary, len(table))
    )


def _null(rng: np.random.Generator, quantities: int, worlds: int) -> Array:
    """Least tail probabilities of uniform ranks, so many that any quantity could fail."""
    count = max(_SIMULATIONS, round(_BEYOND * quantities / ALARM))
    parts = [min(_SIMULATIONS, count - k) for k in range(0, count, _SIMULATIONS)]
    return np.concatenate([_least_tails(rng.random((part, worlds))) for part in parts])


def _points(n: int) -> Array:
    """Where distributions are compared: as many places as there are worlds, 100 at most."""
    places = min(n, 100)
    return np.arange(1, places) / places


def _counts(uniform: Array) -> NDArray[np.int64]:
    """Numbers up to every point, ``(sample, point)``, of ``(sample, world)``."""
    points = _points(uniform.shape[1])
    cell = np.minimum(np.floor(uniform * (len(points) + 1)).astype(np.int64), len(points))
    width = len(points) + 1
    flat = cell + width * np.arange(len(cell))[:, None]
    counts = np.bincount(flat.ravel(), minlength=width * len(cell)).reshape(len(cell), width)
    return np.asarray(counts.cumsum(axis=1)[:, :-1])


def _least_tails(uniform: Array) -> Array:
    """Least two-sided tail probability over the points of each sample, ``(sample,)``."""
    from scipy.stats import binom

    n = uniform.shape[1]
    points = _points(n)
    below = binom.cdf(np.arange(n + 1)[:, None], n, points)
    above = binom.sf(np.arange(n + 1)[:, None] - 1, n, points)
    tail = np.minimum(1.0, 2 * np.minimum(below, above))
    return np.asarray(tail[_counts(uniform), np.arange(len(points))].min(axis=1))


def _differences(name: str, uniform: Array, level: float) -> pd.DataFrame:
    """A distribution minus the uniform one at every point, and its band."""
    from scipy.stats import binom

    n, points = len(uniform), _points(len(uniform))
    return pd.DataFrame(
        {
            "parameter": name,
            "rank": points,
            "difference": _counts(uniform[None])[0] / n - points,
            "lower": binom.ppf(level / 2, n, points) / n - points,
            "upper": binom.isf(level / 2, n, points) / n - points,
        }
    )


def _holm(p: Array) -> Array:
    """Adjusted for their number (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(adjusted, 1.0)
    return out


def _text(summary: pd.DataFrame, worlds: int) -> str:
    failed = summary[~summary["passed"]]
    if failed.empty:
        least = float(summary["p_adjusted"].min())
        return (
            f"In {worlds:,} simulated surveys the truth lies among the draws as it should, of all "
            f"{len(summary):,} quantities (smallest p-value, adjusted for their number, "
            f"{least:.2g})."
        )
    names = ", ".join(f"{r.parameter} (mean rank {r.mean_rank:.2f})" for r in failed.itertuples())
    return (
        f"In {worlds:,} simulated surveys the truth does not lie among the draws as it should, of "
        f"{len(failed):,} of {len(summary):,} quantities: {names}. A mean rank below 0.5 says that "
        "draws are too high, one above that they are too low; near 0.5, their spread is wrong."
    )
