"""Reliability of probabilities that were predicted without the row, and influential origins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Cells, cells_of, generator
from bayesmig.checks.result import (
    ALARM,
    UNWEIGHTED,
    CheckResult,
    Scores,
    adjust,
    central,
    either_way,
    joined_scores,
    not_asked,
    percent,
    tabled,
    upwards,
)
from bayesmig.choice.drawn import Choices, draw_choices
from bayesmig.choice.utility import Coefficients
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError
from bayesmig.inference.pareto import smoothed_units
from bayesmig.inference.stream import probability_blocks
from bayesmig.model_comparison.integrals import factors_of
from bayesmig.model_comparison.left_out import leave_out
from bayesmig.model_comparison.psis import good_k, relative_efficiency, tail_length
from bayesmig.posterior import Posterior
from bayesmig.progress import silent

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
NAME, KIND = "reliability, each row left out", "reliability"
COLUMNS = (
    *("alternative", "predicted", "observed", "lower", "upper", "rows"),
    *("distance", "p_value", "p_adjusted"),
)
INFLUENCE, INFLUENCE_KIND = "influential origins", "influential_origins"
INFLUENCE_COLUMNS = ("origin", "rows", "elpd", "pareto_k", "bound", "passed")
#: Cells of rows alike in a probability, and choosers of an alternative that it needs.
_CELLS, _LEAST_CHOOSERS = 100, 20
#: Of the polynomials in the rank of a probability to which residuals are held.
_DEGREE = 3
#: Groups from which signs of their residuals tell how errors hang together.
_LEAST_GROUPS = 20
#: Draws × rows of one thread.
_THREAD_SIZE = 400_000
#: Draws × rows, or groups, of surveys that are drawn at a time.
_BLOCK_SIZE = 4_000_000
#: Origins that a text names, and draws by which they are left out.
_NAMED, _SOME = 3, 500


# --------------------------------------------------------------------------- reliability


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Probabilities of every row, predicted from all others.

    Attributes
    ----------
    probabilities
        ``(obs, alternative)``.
    pareto_k
        Shape of the weights' tail, ``(obs,)``.
    good_k
        Up to which the estimates are reliable.
    """

    probabilities: Array = field(repr=False)
    pareto_k: Array = field(repr=False)
    good_k: float


def left_out(posterior: Posterior, coefficients: Coefficients) -> LeftOut:
    """Leave-one-out probabilities of all alternatives by Pareto-smoothed weights.

    Weights are the inverse of what a draw gives to the row's own choice (Vehtari, Gelman
    and Gabry 2017, doi 10.1007/s11222-016-9696-4).

    Parameters
    ----------
    posterior
        Draws of a theory.
    coefficients
        Those used, taken evenly of all.
    """
    design, n_draws = posterior.design, len(coefficients.persons)
    tail = tail_length(n_draws, relative_efficiency(posterior, n_draws))
    found = np.empty((design.n_obs, len(design.alternatives)))
    shapes = np.empty(design.n_obs)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for rows, block in probability_blocks(design.columns, coefficients):
            chosen = design.choice[rows]
            step = max(1, _THREAD_SIZE // n_draws)
            parts = [slice(a, a + step) for a in range(0, len(chosen), step)]
            work = partial(_of_rows, block, chosen, tail)
            for part, (p, k) in zip(parts, pool.map(work, parts), strict=True):
                at = slice(rows.start + part.start, rows.start + part.start + len(k))
                found[at], shapes[at] = p, k
    return LeftOut(found, shapes, good_k(n_draws))


def _of_rows(
    block: Array, chosen: NDArray[np.int64], tail: int, part: slice
) -> tuple[Array, Array]:
    some, own = block[:, part], chosen[part]
    with np.errstate(divide="ignore"):
        log_weights, k = smoothed_units(-np.log(some[:, np.arange(len(own)), own]).T, tail)
    weights = np.exp(log_weights)
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights[:, None] @ some.swapaxes(0, 1))[:, 0], k


@dataclass(frozen=True, eq=False)
class Curve:
    """Rows in the order of the probability of one alternative.

    Attributes
    ----------
    alternative
        Its position.
    cells
        Rows that are next to each other, every row counting once.
    predicted
        Mean probability of every cell, ``(cell,)``.
    """

    alternative: int
    cells: Cells = field(repr=False)
    predicted: Array = field(repr=False)

    def shares(self, choices: Choices) -> Array:
        """Of those who chose it, ``(draw, cell)``."""
        return self.cells.share(choices, self.alternative)

    def flipped(self, residuals: Array, groups: Codes, signs: Array) -> Array:
        """Shares where the residuals ``(obs,)`` of whole groups change sign, ``(draw, cell)``."""
        at = self.cells.codes * signs.shape[1] + groups
        size = len(self.predicted) * signs.shape[1]
        of = np.bincount(at, residuals, size).reshape(len(self.predicted), -1)
        return np.asarray(self.predicted + signs @ (of / self.cells.rows[:, None]).T)

    def recalibrated(self, shares: Array) -> Array:
        """Shares that rise with the probability and fit those of cells best, ``(draw, cell)``.

        Isotonic regression by pooling adjacent violators.
        """
        from scipy.optimize import isotonic_regression

        rows = self.cells.rows.astype(float)
        return np.stack([isotonic_regression(s, weights=rows).x for s in shares])

    def bends(self, shares: Array) -> Array:
        """How residuals move with the rank of the probability, ``(draw, degree)``.

        Coefficients of orthogonal polynomials of degrees 1 to 3: a curve that is too flat or
        too steep, one that bends, and one that bends twice.
        """
        rows = self.cells.rows / self.cells.rows.sum()
        rank = np.cumsum(rows) - rows / 2
        basis = np.vander(rank, min(_DEGREE, len(rank) - 1) + 1, increasing=True)
        basis = np.linalg.qr(basis * np.sqrt(rows)[:, None])[0] * np.sqrt(rows)[:, None]
        gaps = shares - self.predicted
        found = np.zeros((len(gaps), _DEGREE))
        found[:, : basis.shape[1] - 1] = gaps @ basis[:, 1:]
        return found

    def distance(self, recalibrated: Array) -> Array:
        """Root mean square distance of shares to what was predicted, ``(draw,)``."""
        rows = self.cells.rows / self.cells.rows.sum()
        return np.asarray(np.sqrt(np.square(recalibrated - self.predicted) @ rows))


@dataclass(frozen=True, eq=False)
class Recalibrated:
    """Reliability of all alternatives, observed and under the probabilities themselves.

    Attributes
    ----------
    curves
        One per alternative.
    observed, replicated
        Recalibrated shares, ``(cell,)`` and ``(draw, cell)`` of each alternative.
    scores
        Of the distances, then of the bends of each alternative.
    distance, drawn
        ``(alternative,)`` and ``(draw, alternative)``.
    """

    curves: tuple[Curve, ...] = field(repr=False)
    observed: tuple[Array, ...] = field(repr=False)
    replicated: tuple[Array, ...] = field(repr=False)
    scores: Scores = field(repr=False)
    distance: Array = field(repr=False)
    drawn: Array = field(repr=False)


def recalibrated(design: Design, of: LeftOut, *, draws: int, seed: int) -> Recalibrated:
    """Isotonic regressions of choices on leave-one-out probabilities.

    Parameters
    ----------
    design
        Theory × survey.
    of
        From `left_out`.
    draws
        Surveys that are drawn from the probabilities, every row by itself.
    seed
        Of these.
    """
    p, width = of.probabilities, len(design.alternatives)
    curves = tuple(_curve(j, p[:, j]) for j in range(width))
    chosen = design.choice[:, None].astype(np.int8)
    shares = [c.shares(chosen) for c in curves]
    observed = tuple(c.recalibrated(s)[0] for c, s in zip(curves, shares, strict=True))
    rng, groups = generator(seed, 13), _groups(design)
    surveys = _drawn(p, curves, draws, rng)
    if groups is not None:
        residuals = (design.choice[:, None] == np.arange(width)) - p
        surveys = _flipped(residuals, groups, curves, draws, rng)
    replicated, bends = _replicated(curves, surveys)
    here = np.array([c.distance(o[None])[0] for c, o in zip(curves, observed, strict=True)])
    there = np.stack([c.distance(r) for c, r in zip(curves, replicated, strict=True)], axis=1)
    counts = np.bincount(design.choice, minlength=width)
    tested = np.minimum(counts, design.n_obs - counts) >= _LEAST_CHOOSERS
    tested &= np.array([len(c.predicted) > 1 for c in curves])
    bent = _bends(curves, shares)
    scores = joined_scores(
        [
            upwards(here, there, tested),
            either_way(bent[0], bends, np.repeat(tested, _DEGREE)),
        ]
    )
    return Recalibrated(curves, observed, replicated, scores, here, there)


def _replicated(
    curves: tuple[Curve, ...], surveys: Iterable[list[Array]]
) -> tuple[tuple[Array, ...], Array]:
    """Recalibrated shares and bends of surveys, whose shares come a few surveys at a time."""
    shares: list[list[Array]] = [[] for _ in curves]
    bends = []
    for some in surveys:
        for found, curve, s in zip(shares, curves, some, strict=True):
            found.append(curve.recalibrated(s))
        bends.append(_bends(curves, some))
    return tuple(np.concatenate(found) for found in shares), np.concatenate(bends)


def _bends(curves: tuple[Curve, ...], shares: list[Array]) -> Array:
    """Those of all curves, ``(draw, curve × degree)``."""
    return np.concatenate([c.bends(s) for c, s in zip(curves, shares, strict=True)], axis=1)


def _drawn(
    p: Array, curves: tuple[Curve, ...], draws: int, rng: np.random.Generator
) -> Iterator[list[Array]]:
    """Shares of surveys drawn from probabilities, every row by itself."""
    for size in _sizes(draws, len(p)):
        some = np.empty((len(p), size), dtype=np.int8)
        for k in range(size):
            some[:, k] = draw_choices(p, rng)
        yield [curve.shares(some) for curve in curves]


def _flipped(
    residuals: Array,
    groups: Codes,
    curves: tuple[Curve, ...],
    draws: int,
    rng: np.random.Generator,
) -> Iterator[list[Array]]:
    """Shares of surveys in which the residuals of whole groups change sign at random.

    Rows of a group tell of each other: their errors hang together, and those who chose an
    alternative stand a little below their neighbours who did not. Signs of groups keep both (the
    wild cluster bootstrap of Cameron, Gelbach and Miller 2008, doi 10.1162/rest.90.3.414).
    """
    n = int(groups.max()) + 1
    for size in _sizes(draws, n):
        signs = rng.choice(np.array([-1.0, 1.0]), (size, n))
        yield [c.flipped(residuals[:, c.alternative], groups, signs) for c in curves]


def _sizes(draws: int, width: int) -> Iterator[int]:
    """How many surveys of so many numbers are held at a time."""
    step = max(1, _BLOCK_SIZE // width)
    return (min(step, draws - start) for start in range(0, draws, step))


def _groups(design: Design) -> Codes | None:
    """The largest groups with effects, where they are enough to tell how errors hang together."""
    enough = [f for f in factors_of(design).values() if f.present >= _LEAST_GROUPS]
    if not enough:
        return None
    found = min(enough, key=lambda factor: factor.present).codes
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _curve(alternative: int, by: Array) -> Curve:
    # Rounded: rows that are told apart by the last digits only are not told apart.
    edges = np.unique(np.quantile(by.round(9), np.linspace(0, 1, _CELLS + 1))[1:-1])
    _, codes = np.unique(np.searchsorted(edges, by.round(9), side="right"), return_inverse=True)
    cells = cells_of(codes.astype(np.int64), int(codes.max()) + 1)
    return Curve(alternative, cells, cells.averages(by))


def reliability(
    posterior: Posterior, of: LeftOut, found: Recalibrated, peak: Array | None = None
) -> CheckResult:
    """Check leave-one-out probabilities of each alternative against what was chosen.

    An unordered category has no probability integral transform; what it would say of each
    alternative against all others, reliability says with more power: choices are regressed
    on the probability that all other rows give to the alternative, by an increasing curve
    (pooled adjacent violators; Dimitriadis, Gneiting and Jordan 2021, doi
    10.1073/pnas.2016191118), and the curve's distance from the diagonal, and the slope and
    bends of residuals over the rank of the probability, are set beside those of choices drawn
    from these very probabilities. Effects of groups are part of the
    probabilities, learnt from the other rows of the group, so that errors of rows of a group hang
    together: where 20 groups or more have effects, residuals of whole groups change sign
    instead. Every row counts once.

    Parameters
    ----------
    posterior
        Draws of a theory.
    of, found
        From `left_out` and `recalibrated`.
    peak
        Of all checks that are asked at once (`bayesmig.checks.result.peak_of`).

    Returns
    -------
    CheckResult
        Table, a row per cell: ``alternative``, ``predicted``, ``observed`` (recalibrated
        share), ``lower`` and ``upper`` (central 95 % of drawn surveys), ``rows``; the same in
        all rows of an alternative: ``distance``, its ``p_value``, and ``p_adjusted`` of the
        distance or a bend, the smaller. ``passed`` is ``None`` of previews with groups.
    """
    design, width = posterior.design, len(posterior.design.alternatives)
    [every] = adjust(found.scores, peak=peak)
    # Of an alternative: its distance and its bends, whichever is further off.
    adjusted = np.fmin(every[:width], np.fmin.reduce(every[width:].reshape(width, -1), axis=1))
    alone = (1 + (found.drawn >= found.distance).sum(axis=0)) / (1 + len(found.drawn))
    parts = []
    for j, (curve, shares, drawn) in enumerate(
        zip(found.curves, found.observed, found.replicated, strict=True)
    ):
        lower, upper = central(drawn)
        parts.append(
            pd.DataFrame(
                {
                    "alternative": design.alternatives[j],
                    "predicted": curve.predicted,
                    "observed": shares,
                    "lower": lower,
                    "upper": upper,
                    "rows": curve.cells.rows,
                    "distance": found.distance[j],
                    "p_value": alone[j],
                    "p_adjusted": adjusted[j],
                }
            )
        )
    tested = np.isfinite(adjusted)
    passed = not bool((adjusted <= ALARM).any()) if tested.any() else None
    text = _text(design, of, found, adjusted, passed)
    if passed is not None:
        passed, text = _unless_rough(posterior, passed, text)
    table = tabled(pd.concat(parts, ignore_index=True), KIND, UNWEIGHTED)
    return CheckResult(NAME, passed, table, f"{text} Weights: {UNWEIGHTED}.")


def _unless_rough(posterior: Posterior, passed: bool, text: str) -> tuple[bool | None, str]:
    """No verdict where an approximation tells effects of groups, or scales, too surely."""
    if posterior.is_preview and posterior.design.grouped:
        return None, f"Not judged, since draws are {posterior.approximation}. {text}"
    return passed, text


def _text(
    design: Design, of: LeftOut, found: Recalibrated, adjusted: Array, passed: bool | None
) -> str:
    if passed is None:
        return f"Not asked: no alternative has {_LEAST_CHOOSERS} choosers and as many others."
    high = int((of.pareto_k > of.good_k).sum())
    said = (
        f" Of {high:,} of {design.n_obs:,} rows these probabilities are not reliable (Pareto k "
        f"above {of.good_k:.2f})."
        if high
        else ""
    )
    if passed:
        least = float(np.nanmin(adjusted))
        return (
            "Choices follow the probabilities that all other rows give to them (smallest "
            f"p-value, adjusted for all that was looked at, {least:.2g}).{said}"
        )
    upper = central(found.drawn)[1]
    parts = [
        f"those of {design.alternatives[j]} are {percent(found.distance[j])} off on average "
        f"(root mean square), by chance up to {percent(upper[j])}"
        for j in np.flatnonzero(adjusted <= ALARM)
    ]
    return f"Probabilities that all other rows give are not reliable: {'; '.join(parts)}.{said}"


# ----------------------------------------------------------------------------- influence


#: Origins from which leverage of one is judged: of fewer, true theories with columns that vary
#: between origins fail more often than one in ten (docs/checks.md).
_LEAST_ORIGINS = 60


def influence(posterior: Posterior) -> CheckResult:
    """Which origins the draws hang on: Pareto k of leaving out all rows of one.

    An origin without which the posterior would be another one has a large k: fails where any
    exceeds what so many draws can bear by more than twice its own standard error,
    ``(1 + k) / sqrt(tail)`` (Smith 1987, doi 10.1214/aos/1176350499). Effects of an origin, and
    of groups within it, rest upon its own rows whatever these are: they are integrated out, and
    k is of what all origins share. Of few origins each is much of what is known of columns that
    vary between them, under true theories too: fewer than 60 are told, and not judged.

    Parameters
    ----------
    posterior
        Draws of a theory.

    Returns
    -------
    CheckResult
        Table, the most influential first: ``origin``, ``rows``, ``elpd`` (log predictive
        density of the origin's rows, left out together), ``pareto_k``, ``bound`` (up to which
        so many draws bear it), ``passed``.
    """
    design = posterior.design
    labels = design.frame[design.roles["origin"]].astype(str) if "origin" in design.roles else None
    if labels is None or labels.nunique() < 2:
        reason = "Not asked. The survey declares no two origins."
        return not_asked(INFLUENCE, INFLUENCE_KIND, INFLUENCE_COLUMNS, reason)
    codes, names = pd.factorize(labels, sort=True)
    within = [f for f in factors_of(design).values() if f.in_units(codes)]
    options: dict[str, Any] = {"integrate": bool(within), "progress": silent, "at_most": _SOME}
    try:
        of = leave_out(design.spec.name, posterior, codes.astype(np.int64), "origin", **options)
    except QuestionError as err:
        reason = f"Not asked. {err.what[0].upper()}{err.what[1:]}."
        return not_asked(INFLUENCE, INFLUENCE_KIND, INFLUENCE_COLUMNS, reason)
    bound, tail = good_k(of.n_draws), tail_length(of.n_draws, of.draws / of.n_draws)
    # k less two of its errors, written so that an infinite k stays infinite.
    two = 2 / np.sqrt(tail)
    table = pd.DataFrame(
        {
            "origin": names,
            "rows": np.bincount(codes),
            "elpd": of.elpd,
            "pareto_k": of.pareto_k,
            "bound": bound,
            "passed": (1 - two) * of.pareto_k - two <= bound,
        }
    ).sort_values("pareto_k", ascending=False, kind="stable", ignore_index=True)
    few = len(names) < _LEAST_ORIGINS
    text = _influence_text(table, bound, of.effects, few)
    passed, text = _unless_rough(posterior, bool(table["passed"].all()), text)
    passed = None if few else passed
    table = tabled(table, INFLUENCE_KIND, UNWEIGHTED)
    return CheckResult(INFLUENCE, passed, table, f"{text} Weights: {UNWEIGHTED}.")


def _influence_text(table: pd.DataFrame, bound: float, effects: str, few: bool) -> str:
    worst = ", ".join(
        f"{r.origin} ({r.rows:,} rows, k {r.pareto_k:.2f})" for r in table.head(_NAMED).itertuples()
    )
    high, what = int((~table["passed"]).sum()), f"{effects[0].upper()}{effects[1:]}."
    largest = float(table["pareto_k"].max())
    if few:
        return (
            f"Told, not judged: of {len(table):,} origins (fewer than {_LEAST_ORIGINS}) each is "
            "much of what is known, and under true theories, too, one may be beyond the bound. "
            f"Leaving out one has a Pareto k of at most {largest:.2f}; {bound:.2f} can be borne, "
            f"and {high:,} are beyond it by more than twice their own error. The largest are "
            f"those of {worst}. {what}"
        )
    if not high:
        beyond = "" if largest <= bound else ", and what is beyond is within twice its own error"
        return (
            f"No origin decides what the draws are: leaving out one has a Pareto k of at most "
            f"{largest:.2f}. Up to {bound:.2f} can be borne{beyond}; the largest are those of "
            f"{worst}. {what}"
        )
    return (
        f"Without single origins the posterior would be another one: leaving out one has a Pareto "
        f"k above {bound:.2f} by more than its own error explains for {high:,} of "
        f"{len(table):,}, most of all {worst}. Fit without "
        f"them, and see what changes. {what}"
    )
