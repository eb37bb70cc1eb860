"""Which theory predicts people better who were left out: PSIS-LOO, streamed.

Vehtari, Gelman and Gabry 2017 (doi 10.1007/s11222-016-9696-4) for the estimate; Vehtari
et al. 2024 (JMLR 25:72) for Pareto smoothing; Yao et al. 2018 (doi 10.1214/17-BA1091)
for stacking; Sivula et al. 2020 (arXiv 2008.10296) for when a difference says little.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.choice.utility import Coefficients, take_rows
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError, nearest, rows_text
from bayesmig.inference.stream import log_likelihood_blocks
from bayesmig.posterior import Posterior
from bayesmig.progress import Progress, silent

Array = NDArray[np.float64]
#: Differences of elpd that say nothing, in nats and in standard errors.
_SMALL, _FEW_ERRORS = 4.0, 2.0
#: Units below which a normal approximation to their sum is not to be trusted, and the
#: share of them with unreliable estimates above which nothing is claimed.
_FEW_UNITS, _MANY_HIGH = 100, 0.1
#: Theories are alike that differ by at most so many times what another seed makes.
_ALIKE = 2.0
#: Numbers in one block of draws × rows, and of draws × units that one thread smooths.
_BLOCK_SIZE, _THREAD_SIZE = 8_000_000, 500_000
#: Draws that a fitted tail needs.
_LEAST_TAIL = 5
#: Prior of the generalised Pareto fit: ten draws that say k = 0.5 (Vehtari et al. 2024).
_PRIOR_DRAWS, _PRIOR_K = 10, 0.5


@dataclass(frozen=True, eq=False)
class Comparison:
    """Theories by how well they predict what was left out.

    Attributes
    ----------
    summary
        One row per theory, best first: ``theory``, ``elpd`` (expected log predictive
        density, summed over units), ``se``, ``elpd_diff`` (against the best, at most 0),
        ``diff_se`` (from paired units), ``p_loo`` (effective number of parameters),
        ``weight`` (stacking, shared equally by theories that differ by no more than
        another seed of one of them would), ``pareto_k_max``, ``pareto_k_high`` (units
        above the bound up to which smoothing is reliable).
    pointwise
        ``elpd`` and ``pareto_k`` over ``(theory, unit)``; attributes ``unit`` and
        ``good_k``.
    text
        The verdict in words: first what makes it unreliable, then what it is. No theory
        is said to predict better where that rests on units with a high Pareto k.
    """

    summary: pd.DataFrame = field(repr=False)
    pointwise: xr.Dataset = field(repr=False)
    text: str

    def __str__(self) -> str:
        return f"{self.summary.to_string(index=False)}\n{self.text}"


def compare(
    posteriors: Mapping[str, Posterior],
    *,
    unit: str = "obs",
    allow_unconverged: bool = False,
    progress: Progress = silent,
) -> Comparison:
    """Compare theories by leave-one-out prediction, with Pareto-smoothed weights.

    Parameters
    ----------
    posteriors
        Name -> draws; at least two, of one survey.
    unit
        What is left out at a time: ``obs``, one choice situation; or a role
        (``person``, ``household``, ``origin``, …), all rows of one of its labels.
    allow_unconverged
        Whether draws that have not converged may be used.
    progress
        Told of every block of units.

    Returns
    -------
    Comparison
        Of the sample: survey weights are not used. A unit whose likelihood is the same
        under all draws has Pareto k 0; one whose tail cannot be fitted has infinity.

    Raises
    ------
    ConvergenceError
        Where draws have not converged.
    QuestionError
        Where there are fewer than two theories, they are of different data or choice
        sets, the unit is unknown, or there are too few draws.

    Notes
    -----
    The estimates are ArviZ's (``arviz_stats.loo``, the relative efficiency that it
    assumes included), computed for many units at once and never holding draws × rows.
    """
    _refuse_different(posteriors)
    for posterior in posteriors.values():
        posterior.require_convergence(allow_unconverged)
    units, labels = _units(next(iter(posteriors.values())).design, unit)
    found = {name: _loo(name, p, units, progress) for name, p in posteriors.items()}
    good_k = {name: _good_k(p) for name, p in posteriors.items()}
    summary = _summary(found, good_k)
    text = _verdict(summary, found, good_k, unit, posteriors)
    pointwise = xr.Dataset(
        {
            "elpd": (("theory", "unit"), np.stack([loo.elpd for loo in found.values()])),
            "pareto_k": (("theory", "unit"), np.stack([loo.pareto_k for loo in found.values()])),
            "good_k": ("theory", list(good_k.values())),
        },
        {"theory": list(found), "unit": labels},
        {"unit": unit},
    )
    return Comparison(summary, pointwise, text)


# ------------------------------------------------------------------- what is comparable


def _refuse_different(posteriors: Mapping[str, Posterior]) -> None:
    if len(posteriors) < 2:
        raise QuestionError(
            f"{len(posteriors)} theory cannot be compared, at least two are needed",
            where="compare(posteriors)",
            mend="fit a second theory to the same survey",
        )
    (first, one), *others = posteriors.items()
    for name, other in others:
        if difference := _difference(one, other):
            raise QuestionError(
                f"{first!r} and {name!r} are not theories of the same data: {difference}",
                where="compare(posteriors)",
                mend="fit both to one survey, read with one codebook",
            )


def _difference(one: Posterior, other: Posterior) -> str:
    """What differs between the data of two posteriors; empty where nothing does."""
    a, b = one.design, other.design
    if set(a.alternatives) != set(b.alternatives):
        return f"alternatives {', '.join(a.alternatives)} and {', '.join(b.alternatives)}"
    if a.n_obs != b.n_obs:
        return f"{a.n_obs:,} and {b.n_obs:,} rows"
    chosen = [np.array(d.alternatives, dtype=object)[d.choice] for d in (a, b)]
    if len(unlike := np.flatnonzero(chosen[0] != chosen[1])):
        return f"choices differ in {len(unlike):,} rows ({rows_text(unlike)})"
    if dict(a.roles) != dict(b.roles):
        return f"roles {', '.join(a.roles)} and {', '.join(b.roles)}"
    if (prints := [p.provenance.survey for p in (one, other)])[0] != prints[1]:
        return f"survey fingerprints {prints[0][:12]}… and {prints[1][:12]}…"
    return ""


def _units(design: Design, unit: str) -> tuple[NDArray[np.int64] | None, Any]:
    """Unit of every row (``None``: its own), and the labels of the units."""
    if unit == "obs":
        return None, np.arange(design.n_obs)
    known = [role for role in design.roles if role not in ("choice", "weight")]
    if unit not in known:
        raise QuestionError(
            f"the unit {unit!r} is unknown; {nearest(unit, ['obs', *known])}",
            where="compare(unit=...)",
            mend=f"leave out one of: obs, {', '.join(known)}",
        )
    codes, labels = pd.factorize(design.frame[design.roles[unit]].astype(str), sort=True)
    if len(labels) < 2:
        raise QuestionError(
            f"there is one {unit} only, nothing would be left to predict from",
            where="compare(unit=...)",
        )
    return codes.astype(np.int64), labels.to_numpy(dtype=object)


# ------------------------------------------------------------------ leave-one-out, streamed


@dataclass(frozen=True, slots=True)
class _Loo:
    """Pointwise estimates, each ``(unit,)``, and the effective number of draws."""

    elpd: Array
    p_loo: Array
    pareto_k: Array
    draws: float

    @property
    def noise(self) -> float:
        """Sum of squares by which other draws of the same posterior move ``elpd``.

        A mean of parameters moves by its variance over the number of draws, and log
        densities by as much relative to what the data know: one per parameter.
        """
        return max(float(self.p_loo.sum()), 0.0) / self.draws


def _loo(
    name: str, posterior: Posterior, units: NDArray[np.int64] | None, progress: Progress
) -> _Loo:
    design, coefficients = posterior.design, posterior.coefficients()
    n_draws, efficiency = len(coefficients.persons), relative_efficiency(posterior)
    tail = tail_length(n_draws, efficiency)
    n_units = design.n_obs if units is None else int(units.max()) + 1
    numbers = np.empty((3, n_units))
    for which, block in _blocks(design, coefficients, units):
        numbers[:, which] = _smoothed_in_threads(block, tail)
        progress(f"leave-one-out, {name}", which.stop, n_units)
    elpd, p_loo, pareto_k = numbers
    return _Loo(elpd, p_loo, pareto_k, n_draws * efficiency)


def _blocks(
    design: Design, coefficients: Coefficients, units: NDArray[np.int64] | None
) -> Iterator[tuple[slice, Array]]:
    """Log-likelihood of whole units in blocks: which units, and ``(draw, unit)``."""
    columns, choice = design.columns, design.choice
    if units is None:
        yield from log_likelihood_blocks(columns, coefficients, choice)
        return
    order = np.argsort(units, kind="stable")
    starts = np.searchsorted(units[order], np.arange(units.max() + 2))
    most = max(1, _BLOCK_SIZE // len(coefficients.persons))
    for first, last in _ranges(starts, most):
        rows = order[starts[first] : starts[last]]
        sums = np.zeros((len(coefficients.persons), last - first))
        some = take_rows(columns, rows)
        inside = units[rows] - first
        for part, block in log_likelihood_blocks(some, coefficients, choice[rows]):
            edges = np.flatnonzero(np.diff(inside[part], prepend=-1))
            sums[:, inside[part][edges]] += np.add.reduceat(block, edges, axis=1)
        yield slice(first, last), sums


def _ranges(starts: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive units that hold at most so many rows, one unit at least."""
    first, n = 0, len(starts) - 1
    while first < n:
        last = int(np.searchsorted(starts, starts[first] + most, side="right")) - 1
        last = min(max(last, first + 1), n)
        yield first, last
        first = last


def _smoothed_in_threads(log_likelihood: Array, tail: int) -> Array:
    """`leave_one_out` of ``(draw, unit)``, units shared among threads."""
    n_draws, n_units = log_likelihood.shape
    step = max(1, _THREAD_SIZE // n_draws)
    parts = [slice(at, min(at + step, n_units)) for at in range(0, n_units, step)]

    def work(units: slice) -> Array:
        return np.stack(leave_one_out(np.ascontiguousarray(log_likelihood[:, units].T), tail))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return np.concatenate(list(pool.map(work, parts)), axis=1)


def relative_efficiency(posterior: Posterior) -> float:
    """Effective share of the draws, as ``arviz_stats.loo`` takes it.

    The mean over all parameters of the effective sample size of their means, over the
    number of draws; one where there is a single chain.
    """
    from arviz_stats import base

    estimators: Any = base.array_stats  # type: ignore[attr-defined]
    chains, per_chain = posterior.n_draws
    if chains == 1:
        return 1.0
    sizes = []
    for variable in posterior.draws.data_vars.values():
        values = variable.transpose("chain", "draw", ...).to_numpy().reshape(chains, per_chain, -1)
        sizes.append(estimators.ess(values, chain_axis=0, draw_axis=1, method="mean"))
    return float(np.concatenate(sizes).mean() / (chains * per_chain))


def tail_length(n_draws: int, efficiency: float) -> int:
    """Number of largest weights that are smoothed.

    Raises
    ------
    QuestionError
        Where the draws are too few for a tail of five.
    """
    tail = 3 * np.sqrt(n_draws / efficiency) if n_draws * efficiency > 225 else n_draws / 5
    if not _LEAST_TAIL <= int(tail) < n_draws:
        raise QuestionError(
            f"{n_draws} draws are too few to smooth the tail of their weights",
            mend="fit with more draws",
        )
    return int(tail)


def leave_one_out(log_likelihood: Array, tail: int) -> tuple[Array, Array, Array]:
    """Pareto-smoothed leave-one-out estimates of many units at once.

    Parameters
    ----------
    log_likelihood
        ``(unit, draw)``.
    tail
        Number of largest weights to smooth.

    Returns
    -------
    elpd, p_loo, pareto_k
        Each ``(unit,)``.
    """
    n_draws = log_likelihood.shape[1]
    top = -log_likelihood.min(axis=1, keepdims=True)
    # Log weights, the largest being zero: weight times likelihood is exp(-top) for each.
    ratios = np.partition(-log_likelihood - top, n_draws - tail - 1, axis=1)
    rest, ends = ratios[:, : n_draws - tail], np.sort(ratios[:, n_draws - tail :], axis=1)
    smoothed, k = _smooth_tails(ends, rest[:, -1:])
    with np.errstate(over="ignore"):
        total = np.exp(rest).sum(axis=1) + np.exp(smoothed).sum(axis=1)
        reached = (n_draws - tail) + np.exp(smoothed - ends).sum(axis=1)
    elpd = np.log(reached) - np.log(total) - top[:, 0]
    best = log_likelihood.max(axis=1, keepdims=True)
    lppd = np.log(np.exp(log_likelihood - best).mean(axis=1)) + best[:, 0]
    return elpd, lppd - elpd, k


def _smooth_tails(ends: Array, cutoff: Array) -> tuple[Array, Array]:
    """Tails ``(unit, tail)`` of log weights, ascending, replaced by fitted quantiles; and k.

    Where a tail cannot be fitted it stays as it is, and k is infinite; where weights do
    not vary, k is zero.
    """
    n = ends.shape[1]
    low = np.exp(cutoff)
    k, scale = fit_pareto(np.exp(ends) - low)
    probability = (np.arange(n) + 0.5) / n
    with np.errstate(all="ignore"):
        shape = k[:, None]
        grown = np.expm1(-shape * np.log1p(-probability)) / shape
        fitted = np.log(low + scale[:, None] * grown)
    usable = np.isfinite(k) & np.isfinite(fitted).all(axis=1)
    smoothed = np.where(usable[:, None], np.minimum(fitted, ends[:, -1:]), ends)
    k = np.where(usable, k, np.inf)
    return smoothed, np.where(ends[:, -1] - cutoff[:, 0] > 0, k, 0.0)


def fit_pareto(excess: Array) -> tuple[Array, Array]:
    """Fit generalised Pareto distributions to many samples at once.

    The posterior mean of Zhang and Stephens 2009 (doi 10.1198/tech.2009.08017), with
    the weak prior of Vehtari et al. 2024 on the shape.

    Parameters
    ----------
    excess
        Samples over their thresholds, ascending, ``(sample, n)``.

    Returns
    -------
    k, scale
        Each ``(sample,)``; not finite where a sample cannot be fitted.
    """
    n = excess.shape[1]
    candidates = 30 + int(n**0.5)
    quartile = excess[:, int(n / 4 + 0.5) - 1, None]
    steps = 1 - np.sqrt(candidates / (np.arange(1, candidates + 1) - 0.5))
    with np.errstate(all="ignore"):
        b = steps / (3 * quartile) + 1 / excess[:, -1:]
        shapes = np.stack(
            [np.log1p(-b[:, [i]] * excess).mean(axis=1) for i in range(candidates)], 1
        )
        likelihood = n * (np.log(-b / shapes) - shapes - 1)
        weight = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        # As ArviZ does: what is lost in rounding is left out.
        weight[weight < 10 * np.finfo(float).eps] = 0.0
        weight /= weight.sum(axis=1, keepdims=True)
        chosen = (b * weight).sum(axis=1)
        shape = np.log1p(-chosen[:, None] * excess).mean(axis=1)
        scale = -shape / chosen
    k = (n * shape + _PRIOR_DRAWS * _PRIOR_K) / (n + _PRIOR_DRAWS)
    spread = quartile[:, 0] > excess[:, 0]
    return np.where(spread, k, np.inf), scale


# ------------------------------------------------------------------------------ summary


def stacking_weights(elpd: Array, alike: Sequence[int] | None = None) -> Array:
    """Weights of theories that together predict best.

    Parameters
    ----------
    elpd
        Pointwise, ``(theory, unit)``.
    alike
        Number of the group of every theory, from 0; the theories of a group count as
        one, their average, and share its weight equally. Left out: each is its own.

    Returns
    -------
    ndarray
        ``(theory,)``, at least 0, summing to one. They maximise the mean log of the
        weighted predictive densities: where one theory is hardly ever better, a small
        difference gives all the weight to the other.
    """
    groups = np.arange(len(elpd)) if alike is None else np.asarray(alike)
    shared = (groups == np.unique(groups)[:, None]) / np.bincount(groups)[:, None]
    density = np.exp(elpd - elpd.max(axis=0)).T @ shared.T
    return np.asarray(_mixture(density) @ shared)


def _mixture(density: Array) -> Array:
    """Weights of the columns of ``(unit, theory)`` whose mixture has the best mean log."""
    from scipy.optimize import minimize

    n, width = density.shape

    def loss(weights: Array) -> tuple[float, Array]:
        mixed = density @ weights
        return -float(np.log(mixed).mean()), -(density / mixed[:, None]).sum(axis=0) / n

    solved = minimize(
        loss,
        np.full(width, 1 / width),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * width,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(width)},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    weights = np.clip(solved.x, 0.0, 1.0)
    return np.asarray(weights / weights.sum())


def _alike(found: Sequence[_Loo]) -> list[int]:
    """Groups of theories that differ by no more than another seed of one would."""
    groups: list[int] = []
    firsts: list[_Loo] = []
    for loo in found:
        near = (
            np.square(loo.elpd - first.elpd).sum() <= _ALIKE**2 * (loo.noise + first.noise)
            for first in firsts
        )
        group = next((g for g, is_near in enumerate(near) if is_near), len(firsts))
        if group == len(firsts):
            firsts.append(loo)
        groups.append(group)
    return groups


def _good_k(posterior: Posterior) -> float:
    chains, per_chain = posterior.n_draws
    return float(min(1 - 1 / np.log10(chains * per_chain), 0.7))


def _summary(found: Mapping[str, _Loo], good_k: Mapping[str, float]) -> pd.DataFrame:
    elpd = np.stack([loo.elpd for loo in found.values()])
    n = elpd.shape[1]
    gap = elpd - elpd[elpd.sum(axis=1).argmax()]
    table = pd.DataFrame(
        {
            "theory": list(found),
            "elpd": elpd.sum(axis=1),
            "se": np.sqrt(n * elpd.var(axis=1, ddof=1)),
            "elpd_diff": gap.sum(axis=1),
            "diff_se": np.sqrt(n * gap.var(axis=1, ddof=1)),
            "p_loo": [float(loo.p_loo.sum()) for loo in found.values()],
            "weight": stacking_weights(elpd, _alike(list(found.values()))),
            "pareto_k_max": [float(loo.pareto_k.max()) for loo in found.values()],
            "pareto_k_high": [
                int((loo.pareto_k > good_k[name]).sum()) for name, loo in found.items()
            ],
        }
    )
    return table.sort_values("elpd", ascending=False, kind="stable", ignore_index=True)


# ------------------------------------------------------------------------------ verdict


def _verdict(
    summary: pd.DataFrame,
    found: Mapping[str, _Loo],
    good_k: Mapping[str, float],
    unit: str,
    posteriors: Mapping[str, Posterior],
) -> str:
    n_units = len(next(iter(found.values())).elpd)
    says = _allowed(posteriors)
    says += [_unreliable(r, good_k[str(r.theory)], n_units, unit) for r in _high(summary)]
    says += _claims(summary, found, good_k)
    if n_units < _FEW_UNITS:
        says.append(
            f"Standard errors of differences between {n_units:,} units are not to be trusted: "
            f"they lean on a normal approximation that needs {_FEW_UNITS} or more."
        )
    if any(p.design.has_effects_of(unit) for p in posteriors.values()):
        says.append(
            f"A theory with effects of each {unit} predicts a left-out one from weights alone, "
            "which is a hard task for them: trust it only where Pareto k is low."
        )
    what = "one row" if unit == "obs" else f"all rows of one {unit}"
    says.append(
        f"Left out at a time: {what} ({n_units:,} in all). Of the sample: every row counts "
        "once, survey weights are not used."
    )
    return " ".join(says)


def _claims(
    summary: pd.DataFrame, found: Mapping[str, _Loo], good_k: Mapping[str, float]
) -> Iterator[str]:
    """How the best theory stands to the others, as far as the estimates carry it."""
    best = str(summary["theory"].iloc[0])
    high = {name: loo.pareto_k > good_k[name] for name, loo in found.items()}
    unknown, close, behind = [], [], []
    for row in summary.iloc[1:].itertuples():
        name = str(row.theory)
        gap = found[name].elpd - found[best].elpd
        if _cannot_separate(row.elpd_diff, row.diff_se):
            close.append(row)
        elif _rests_on(gap, high[best] | high[name]):
            unknown.append(row)
        else:
            behind.append(row)
    if unknown:
        yield f"Whether {best!r} predicts better than {_against(unknown, ' or ')} is not known."
    if close:
        yield f"The data cannot separate {best!r} from {_against(close, ' or ')}."
    if behind:
        yield f"{best!r} predicts better than {_against(behind, ', ')}."


def _allowed(posteriors: Mapping[str, Posterior]) -> list[str]:
    """Theories whose draws are approximations, or have not converged, which was allowed."""
    problems = {name: "; ".join(p.problems()) for name, p in posteriors.items()}
    found = [
        f"the draws of {name!r} have not converged: {text}"
        for name, text in problems.items()
        if text
    ]
    says = [f"Allowed although {', and '.join(found)}."] if found else []
    says += [
        f"The draws of {name!r} are {p.approximation}."
        for name, p in posteriors.items()
        if p.is_preview
    ]
    return says


def _rests_on(gap: Array, high: NDArray[np.bool_]) -> bool:
    """Whether a difference is none without the units whose estimates are unreliable."""
    rest = gap[~high]
    if not high.any() or high.mean() > _MANY_HIGH:
        return bool(high.any())
    error = np.sqrt(len(rest) * rest.var(ddof=1))
    return _cannot_separate(rest.sum(), error) or bool(rest.sum() * gap.sum() < 0)


def _cannot_separate(difference: Any, error: Any) -> bool:
    return bool(abs(difference) < _SMALL or abs(difference) < _FEW_ERRORS * error)


def _against(rows: Sequence[Any], between: str) -> str:
    return between.join(f"{row.theory!r} ({_gap(row)})" for row in rows)


def _gap(row: Any) -> str:
    behind = abs(row.elpd_diff)
    text = f"elpd lower by {behind:.1f}, standard error {row.diff_se:.1f}"
    if row.diff_se > 0:
        text += f", {behind / row.diff_se:.1f} of them"
    return text


def _high(summary: pd.DataFrame) -> list[Any]:
    return list(summary[summary["pareto_k_high"] > 0].itertuples())


def _unreliable(row: Any, good_k: float, n_units: int, unit: str) -> str:
    mend = (
        "leave out whole units by refitting without them"
        if unit != "obs"
        else "fit again without these rows and predict them, or sample more draws"
    )
    return (
        f"Leave-one-out is unreliable for {row.theory!r} at {row.pareto_k_high:,} of {n_units:,} "
        f"(Pareto k above {good_k:.2f}, up to {row.pareto_k_max:.2f}): {mend}."
    )
