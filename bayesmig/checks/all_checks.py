"""Every check of a posterior, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayesmig.checks import calibration as calibrated
from bayesmig.checks import clustering as clustered
from bayesmig.checks import predictive
from bayesmig.checks import prior_sensitivity as sensitive
from bayesmig.checks.convergence import convergence
from bayesmig.checks.prior_shares import prior_shares, with_prior
from bayesmig.checks.replicate import replicate, thinned
from bayesmig.checks.result import CheckResult, not_asked
from bayesmig.errors import QuestionError
from bayesmig.inference.stream import mean_probabilities
from bayesmig.posterior import Posterior

#: Draws used where their number is left open, and at least where it is not.
DRAWS, LEAST_DRAWS = 500, 100


def check(
    posterior: Posterior,
    *,
    by: str | Sequence[str] | None = None,
    draws: int | None = None,
    seed: int = 0,
    prior: bool = True,
    allow_unconverged: bool = False,
) -> list[CheckResult]:
    """Ask whether draws can be trusted and whether the theory reproduces the data.

    Six checks, in this order: convergence; prior predictive shares; prior sensitivity
    (whether the data or the prior say what the parameters are); posterior predictive
    shares, overall, by columns and by origin size, and their trends; clustering of
    choices within origins, regions, households and persons; calibration of each
    alternative.

    Each of the last three fails a true theory with a probability of about 5 % or less,
    however many cells it looks at.

    Parameters
    ----------
    posterior
        Draws of a theory.
    by
        Columns that shares are broken down by. Left out: those of the theory, and those
        of the survey beside it where the posterior knows its survey
        (see `bayesmig.checks.predictive.breakdowns`).
    draws
        Draws that replicated surveys are made from, evenly spaced over all chains; at
        least 100. Left out: 500, or all where there are fewer.
    seed
        Seed of replicated choices and of prior draws.
    prior
        Whether to check prior predictive shares and prior sensitivity.
    allow_unconverged
        Whether predictive checks may use draws that have not converged. Otherwise they
        come back with ``passed=None`` and the reason.

    Returns
    -------
    list of CheckResult
        Convergence itself is always judged.

    Raises
    ------
    QuestionError
        Where an argument does not apply.
    """
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
        if usable:
            results.append(sensitive.prior_sensitivity(drawn, draws=DRAWS, seed=seed))
    if not usable:
        rooms = (*((sensitive,) if prior else ()), predictive, clustered, calibrated)
        return [*results, *_refused(posterior, rooms)]
    return _marked(posterior, [*results, *_predictive(posterior, parts, n_draws, seed)])


def _marked(posterior: Posterior, results: list[CheckResult]) -> list[CheckResult]:
    """Of a preview, every text says that it is of one."""
    said = posterior.approximation
    return [
        r if not said or said in r.text else replace(r, text=f"Of {said}. {r.text}")
        for r in results
    ]


def _predictive(
    posterior: Posterior, parts: Sequence[predictive.Breakdown], n_draws: int, seed: int
) -> list[CheckResult]:
    """The checks against replicated surveys, which are drawn once for all of them."""
    design = posterior.design
    some = thinned(posterior.coefficients(), n_draws)
    expected = mean_probabilities(design.columns, some)
    groups, bins = clustered.clusters(design, expected), calibrated.bins_of(design, some)
    statistics = (
        predictive.shares_statistics(parts, design)
        | clustered.gap_statistics(groups)
        | calibrated.bin_statistics(bins)
    )
    replicated = replicate(design.columns, some, statistics, seed=seed)
    return [
        predictive.predictive_shares(posterior, parts, replicated, expected),
        clustered.clustering(posterior, groups, replicated),
        calibrated.calibration(posterior, bins, replicated),
    ]


def _refused(posterior: Posterior, rooms: Sequence[Any]) -> list[CheckResult]:
    reason = (
        "Not asked: the draws have not converged ("
        + "; ".join(posterior.problems())
        + "). Fit again, or pass allow_unconverged=True to look all the same."
    )
    return [not_asked(room.NAME, room.KIND, room.COLUMNS, reason) for room in rooms]


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
