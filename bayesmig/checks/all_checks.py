"""Every check of a posterior, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesmig.checks import battery, crossed, origins, predictive
from bayesmig.checks import calibration as calibrated
from bayesmig.checks import clustering as clustered
from bayesmig.checks import composition as composed
from bayesmig.checks import household_streams as households
from bayesmig.checks import prior_sensitivity as sensitive
from bayesmig.checks import reliability as reliable
from bayesmig.checks import transitions as moved
from bayesmig.checks.convergence import convergence
from bayesmig.checks.prior_shares import prior_group_shares, prior_shares, with_prior
from bayesmig.checks.replicate import replicate, thinned
from bayesmig.checks.result import CheckResult, CheckResults, Scores, not_asked, peak_of
from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError
from bayesmig.inference.stream import mean_probabilities
from bayesmig.posterior import Posterior, require_posterior
from bayesmig.predict import prepare

Array = NDArray[np.float64]
#: Draws used where their number is left open, and at least where it is not.
DRAWS, LEAST_DRAWS = 500, 100
#: Draws by which rows and origins are left out, at most and at least.
_LEAVING_OUT, _FEW = 1000, 100
_PSEUDO = (
    'Not asked: the theory says weights = "pseudo". It describes the population, and replicated '
    "surveys have the sample's own rows, drawn as if independent. Check the theory fitted with "
    'weights = "estimand".'
)
#: Name, kind and columns of every check of what a theory predicts, in order.
REPLICATING = (
    (predictive.NAME, predictive.KIND, predictive.COLUMNS),
    (crossed.NAME, crossed.KIND, crossed.COLUMNS),
    (composed.NAME, composed.KIND, composed.COLUMNS),
    (origins.DISPERSION, origins.DISPERSION_KIND, origins.COLUMNS),
    (origins.SPATIAL, origins.SPATIAL_KIND, origins.SPATIAL_COLUMNS),
    (households.NAME, households.KIND, households.COLUMNS),
    (moved.NAME, moved.KIND, moved.COLUMNS),
    (clustered.NAME, clustered.KIND, clustered.COLUMNS),
    (calibrated.NAME, calibrated.KIND, calibrated.COLUMNS),
    (reliable.NAME, reliable.KIND, reliable.COLUMNS),
    (reliable.INFLUENCE, reliable.INFLUENCE_KIND, reliable.INFLUENCE_COLUMNS),
)


def check(
    posterior: Posterior,
    *,
    by: str | Sequence[str] | None = None,
    draws: int | None = None,
    seed: int = 0,
    prior: bool = True,
    allow_unconverged: bool = False,
) -> CheckResults:
    """Ask whether draws can be trusted and whether the theory reproduces the data.

    In this order: convergence; prior predictive shares, of all and by group; prior
    sensitivity (whether the data or the prior say what the parameters are); and, against
    replicated surveys: shares, overall, by columns and by origin size, and their trends and
    bends; shares by two columns at once;
    who the choosers of each alternative are; how much origins differ, and whether
    neighbouring ones are alike; households with several movers; what is chosen after what;
    clustering of choices within origins, regions, households and persons; calibration of
    each alternative, by columns and by probabilities that all other rows give; and which
    origins the draws hang on.

    The checks against replicated surveys together fail a true theory with a probability of
    about 5 % or less, however many of them apply and however many values they look at: each
    is judged by how often *any* of them deviates as much in replicated surveys
    (`bayesmig.checks.result.peak_of`).

    Parameters
    ----------
    posterior
        Draws of a theory.
    by
        Columns that shares are broken down by and, two at a time, crossed by, and of which
        means of choosers are taken. Left out: those of the theory, and those of the survey
        beside it where the posterior knows its survey
        (see `bayesmig.checks.predictive.breakdowns`); the first eight are crossed.
    draws
        Draws that replicated surveys are made from, evenly spaced over all chains; at
        least 100. Left out: 500, or all where there are fewer. With the fewest, what they
        say of chance is rough, and true theories fail a little more often than stated.
    seed
        Seed of replicated choices and of prior draws.
    prior
        Whether to check prior predictive shares and prior sensitivity.
    allow_unconverged
        Whether predictive checks may use draws that have not converged. Otherwise they
        come back with ``passed=None`` and the reason.

    Returns
    -------
    CheckResults
        A list. Convergence itself is always judged. ``passed`` is ``None`` for what does not apply:
        transitions without periods, say, and replicated surveys under ``weights = "pseudo"``.

    Raises
    ------
    QuestionError
        Where an argument does not apply.
    """
    require_posterior(posterior)
    posterior.refuse_choice_sample("checks against the sample")
    n_draws = _draws(posterior, draws)
    _check_seed(seed)
    columns = None if by is None else (by,) if isinstance(by, str) else tuple(by)
    parts = predictive.breakdowns(posterior, columns)
    first = convergence(posterior)
    results = [first]
    usable = first.passed is not False or allow_unconverged
    if prior:
        # Drawn once for both.
        drawn = with_prior(posterior, draws=DRAWS, seed=seed)
        results.append(prior_shares(drawn, draws=DRAWS, seed=seed))
        results.append(prior_group_shares(drawn, parts, draws=DRAWS, seed=seed))
        if usable:
            results.append(sensitive.prior_sensitivity(drawn, draws=DRAWS, seed=seed))
    if not usable:
        return _marked(posterior, [*results, *_refused(posterior, prior)])
    if posterior.design.is_pseudo:
        return _marked(posterior, [*results, *_none_asked(_PSEUDO)])
    results += _against_replicates(posterior, parts, columns is not None, n_draws, seed)
    return _marked(posterior, results)


def _marked(posterior: Posterior, results: list[CheckResult]) -> CheckResults:
    """Every text with numbers says what was done with weights, and of a preview that it is one."""
    said, weights = posterior.approximation, posterior.design.weights_sentence
    found = [
        r if not len(r.table) or " Weights: " in r.text else replace(r, text=r.text + weights)
        for r in results
    ]
    return CheckResults(
        r if not said or said in r.text else replace(r, text=f"Of {said}. {r.text}") for r in found
    )


@dataclass(frozen=True, eq=False)
class _Question:
    """What one check is judged by, and its answer given the peak of all."""

    scores: Scores | None
    answer: Callable[[Array | None], CheckResult]


@dataclass(frozen=True, eq=False)
class _World:
    """Data and draws that surveys are replicated from, and what they expect of every row."""

    columns: Columns
    coefficients: Coefficients
    expected: Array


def _against_replicates(
    posterior: Posterior,
    parts: Sequence[predictive.Breakdown],
    named: bool,
    n_draws: int,
    seed: int,
) -> list[CheckResult]:
    """The checks of `REPLICATING`; surveys are replicated once for all of them."""
    design, some = posterior.design, thinned(posterior.coefficients(), n_draws)
    world = _world(design.columns, some)
    pairs = crossed.crossed(posterior, parts, named)
    groups = clustered.clusters(design, world.expected)
    bins = calibrated.bins_of(design, some, world.expected)
    renewed = _of_new_groups(posterior, n_draws, seed) if design.labelled else world
    batteries = _batteries(posterior, parts, world.expected, renewed.expected)
    statistics = (
        predictive.shares_statistics(parts, design)
        | predictive.shares_statistics(pairs, design, crossed.KEY)
        | clustered.gap_statistics(groups)
        | calibrated.bin_statistics(bins)
    )
    drawn: dict[str, Array] = {}
    for fresh, of in ((False, world), (True, renewed)):
        wanted = {b.kind: b.statistic for b in batteries.values() if b.fresh is fresh}
        wanted |= {} if fresh else statistics
        if wanted:
            drawn |= replicate(of.columns, of.coefficients, wanted, seed=seed)
    questions = {
        **_of_shares(
            posterior,
            parts,
            pairs,
            drawn,
            world.expected,
            left=crossed.left_out(posterior, parts, named),
        ),
        **_of_batteries(design, batteries, drawn),
        **_of_rows(posterior, groups, bins, drawn),
        **_of_left_out(posterior, n_draws, seed),
    }
    peak = peak_of(q.scores for q in questions.values() if q.scores is not None)
    return [questions[kind].answer(peak) for _, kind, _ in REPLICATING]


def _world(columns: Columns, coefficients: Coefficients) -> _World:
    return _World(columns, coefficients, mean_probabilities(columns, coefficients))


def _of_new_groups(posterior: Posterior, n_draws: int, seed: int) -> _World:
    """Groups drawn anew from the distribution that each draw gives to them."""
    chains, per_chain = posterior.n_draws
    n = chains * per_chain
    which = np.linspace(0, n - 1, min(n, n_draws)).round().astype(np.int64)
    at = {"chain": which // per_chain, "draw": which % per_chain}
    some = posterior.draws.isel({k: xr.DataArray(v, dims="sample") for k, v in at.items()})
    some = some.drop_vars(["chain", "draw"]).rename(sample="draw").expand_dims("chain")
    tree = xr.DataTree.from_dict({"posterior": some})
    few = replace(posterior, data=tree)
    return _world(*prepare(few, posterior.design.frame, "new", seed))


def _batteries(
    posterior: Posterior,
    parts: Sequence[predictive.Breakdown],
    expected: Array,
    expected_of_new: Array,
) -> dict[str, battery.Battery]:
    """Those that apply, by their kinds."""
    design, frame = posterior.design, posterior.frame
    columns = [p.by for p in parts if p.by in frame.columns]
    found = [
        composed.composition(design, frame, columns, expected),
        households.household_streams(design),
        moved.transitions(design),
    ]
    if (of := origins.places(design)) is not None:
        found.append(origins.dispersion(design, of))
        if (neighbours := origins.neighbours_of(posterior, of)) is not None:
            found.append(origins.spatial(design, of, neighbours, expected_of_new))
    return {b.kind: b for b in found if b is not None}


def _of_shares(
    posterior: Posterior,
    parts: Sequence[predictive.Breakdown],
    pairs: Sequence[predictive.Breakdown],
    drawn: Mapping[str, Array],
    expected: Array,
    *,
    left: str,
) -> dict[str, _Question]:
    design = posterior.design
    single = predictive.reproduced(design, parts, drawn, expected)
    both = predictive.reproduced(design, pairs, drawn, expected, crossed.KEY) if pairs else None
    return {
        predictive.KIND: _Question(
            single.scores, partial(predictive.predictive_shares, posterior, parts, single)
        ),
        crossed.KIND: _Question(
            None if both is None else both.scores,
            partial(crossed.crossed_shares, posterior, pairs, both, left=left),
        ),
    }


def _of_batteries(
    design: Design, batteries: Mapping[str, battery.Battery], drawn: Mapping[str, Array]
) -> dict[str, _Question]:
    reasons = {
        composed.KIND: composed.MISSING,
        households.KIND: households.MISSING,
        moved.KIND: moved.MISSING,
        origins.DISPERSION_KIND: origins.NO_ORIGINS,
        origins.SPATIAL_KIND: (
            origins.NO_NEIGHBOURS if origins.DISPERSION_KIND in batteries else origins.NO_ORIGINS
        ),
    }
    found = {}
    for name, kind, columns in REPLICATING:
        if kind in batteries:
            asked = battery.ask(batteries[kind], design.choice, drawn)
            found[kind] = _Question(asked.scores, partial(battery.answer, asked))
        elif kind in reasons:
            said = not_asked(name, kind, columns, f"Not asked. {reasons[kind]}")
            found[kind] = _Question(None, partial(_as_it_is, said))
    return found


def _as_it_is(result: CheckResult, _: Array | None) -> CheckResult:
    return result


def _of_rows(
    posterior: Posterior,
    groups: Sequence[clustered.Cluster],
    bins: Sequence[calibrated.Bins],
    drawn: Mapping[str, Array],
) -> dict[str, _Question]:
    gaps = clustered.gaps(posterior.design, groups, drawn) if groups else None
    shares = calibrated.frequencies(posterior.design, bins, drawn)
    return {
        clustered.KIND: _Question(
            None if gaps is None else gaps.scores,
            partial(clustered.clustering, posterior, groups, gaps),
        ),
        calibrated.KIND: _Question(
            shares.scores, partial(calibrated.calibration, posterior, bins, shares)
        ),
    }


def _of_left_out(posterior: Posterior, n_draws: int, seed: int) -> dict[str, _Question]:
    some = thinned(posterior.coefficients(), _LEAVING_OUT)
    if len(some.persons) < _FEW:
        return {
            kind: _Question(None, partial(_as_it_is, _too_few(name, kind, columns)))
            for name, kind, columns in REPLICATING
            if kind in (reliable.KIND, reliable.INFLUENCE_KIND)
        }
    of = reliable.left_out(posterior, some)
    curves = reliable.recalibrated(posterior.design, of, draws=n_draws, seed=seed)
    return {
        reliable.KIND: _Question(
            curves.scores, partial(reliable.reliability, posterior, of, curves)
        ),
        reliable.INFLUENCE_KIND: _Question(None, lambda _: reliable.influence(posterior)),
    }


def _too_few(name: str, kind: str, columns: Sequence[str]) -> CheckResult:
    reason = f"Not asked. Fewer than {_FEW} draws leave out no row."
    return not_asked(name, kind, columns, reason)


def _refused(posterior: Posterior, prior: bool) -> list[CheckResult]:
    reason = (
        "Not asked: the draws have not converged ("
        + "; ".join(posterior.problems())
        + "). Fit again, or pass allow_unconverged=True to look all the same."
    )
    first = [(sensitive.NAME, sensitive.KIND, sensitive.COLUMNS)] if prior else []
    return _none_asked(reason, first)


def _none_asked(
    reason: str, first: Sequence[tuple[str, str, Sequence[str]]] = ()
) -> list[CheckResult]:
    return [not_asked(name, kind, cols, reason) for name, kind, cols in (*first, *REPLICATING)]


def _draws(posterior: Posterior, draws: int | None) -> int:
    chains, per_chain = posterior.n_draws
    total = chains * per_chain
    if draws is None:
        return min(DRAWS, total)
    if isinstance(draws, bool) or not isinstance(draws, int) or not LEAST_DRAWS <= draws <= total:
        raise QuestionError(
            f"draws must be a whole number from {LEAST_DRAWS} to the posterior's {total:,}, "
            f"got {draws!r}",
            where="check(draws=...)",
        )
    return draws


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise QuestionError(
            f"seed must be a whole number of at least 0, got {seed!r}", where="check(seed=...)"
        )
