"""Who stays because they want to, and who because they cannot go.

A theory with consideration says what everybody would do if all were feasible. Of those who
stay, the *unwilling* would stay even then; the *unable* would go, and what they would choose
is not feasible for them (Carling 2002, doi 10.1080/13691830120103912; the share of aspirers
who are kept is that of their ability model). Staying is the base, which is always feasible:
whoever prefers it is not kept by anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bayesmig.changes import Groups
from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.errors import QuestionError
from bayesmig.posterior import INTERVAL, Posterior, require_posterior
from bayesmig.predict import (
    Ask,
    Effect,
    Population,
    Prepared,
    ask_about,
    finish,
    header_of,
    prepare,
)
from bayesmig.sensitivity import RULE, identified

Array = np.ndarray
QUANTITIES = ("staying", "unwilling", "unable", "unable_among_stayers", "kept_among_aspirers")
_MEANING = (
    "staying is unwilling plus unable, shares of all; unable_among_stayers is unable over "
    "staying; kept_among_aspirers is unable over all who would not stay were everything feasible"
)


def stayers(
    posterior: Posterior,
    *,
    newdata: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    wts: bool | str = True,
    population: Population | None = None,
    groups: Groups = "observed",
    prob: float = INTERVAL,
    seed: int = 0,
    allow_unconverged: bool = False,
) -> Effect:
    """Decompose those who stay into unwilling and unable.

    Parameters
    ----------
    posterior
        Draws of a theory with consideration.
    newdata, by, wts, population, groups, prob, seed, allow_unconverged
        As for `bayesmig.predict.predictions`.

    Returns
    -------
    Effect
        One row per cell of ``by`` and ``quantity``: ``staying``, ``unwilling`` and
        ``unable`` (shares of all), ``unable_among_stayers``, and ``kept_among_aspirers``
        (of those who would go were everything feasible, who stay). Averages are taken
        within each draw, and ratios are those of averages. An alternative that is closed
        (``[available]``) counts as closed in both worlds. ``overlap``,
        ``prior_sensitivity``, ``likelihood_sensitivity``, ``identification`` and
        ``rests_on`` say what of it the prior says (`bayesmig.sensitivity.of_answers`).

    Raises
    ------
    QuestionError
        Where the theory has no consideration; as for `bayesmig.predict.predictions`.
    ConvergenceError, DesignError
        As for `bayesmig.predict.predictions`.
    """
    require_posterior(posterior)
    if posterior.spec.consideration is None:
        raise QuestionError(
            f"the theory {posterior.spec.name!r} does not tell what is feasible from what is "
            "wanted: everything is feasible in it",
            mend="fit a theory with [consideration]",
        )
    ask = ask_about(posterior, newdata, by, wts, groups, prob, seed, allow_unconverged, population)
    draws = _flat(ask)
    told = identified(ask, draws, _flat)
    found = finish(
        f"Those who choose {posterior.spec.choice.base!r}: unwilling and unable"
        + (f" by {', '.join(ask.by)}" if ask.by else ""),
        header_of(ask, "average probability") | {"quantities": _MEANING, "identification": RULE},
        _table(ask.labels, np.bincount(ask.cells, minlength=len(ask.labels))),
        draws,
        ask,
    )
    return replace(found, summary=found.summary.assign(**told))


def unable(ask: Ask, alternative: str) -> Array:
    """Of those who stay, the share that would choose an alternative if it were feasible for all.

    Returns
    -------
    ndarray
        ``(draw, cell)``; NaN where nobody stays.
    """
    columns, coefficients = prepare(ask.posterior, ask.frame, ask.groups, ask.seed)
    freed = _freed(ask.posterior, alternative, columns, coefficients)
    now, then = (
        ask.averages_of(arm)[:, :, columns.base] for arm in ((columns, coefficients), freed)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.maximum(now - then, 0.0) / now)


def kept(ask: Ask, alternative: str) -> Array:
    """Of those who would choose an alternative if it were feasible for all, who do not.

    Returns
    -------
    ndarray
        Share, ``(draw, cell)``; NaN where nobody would choose it.
    """
    columns, coefficients = prepare(ask.posterior, ask.frame, ask.groups, ask.seed)
    freed = _freed(ask.posterior, alternative, columns, coefficients)
    j = ask.posterior.design.alternatives.index(alternative)
    now, then = (ask.averages_of(arm)[:, :, j] for arm in ((columns, coefficients), freed))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.maximum(then - now, 0.0) / then)


def _freed(
    posterior: Posterior, alternative: str, columns: Columns, coefficients: Coefficients
) -> Prepared:
    """Columns and coefficients where one alternative is feasible for all."""
    j = posterior.design.alternatives.index(alternative)
    kept: list[int] = []
    start = 0
    for k, block in columns.feasible.items():
        if k != j:
            kept += range(start, start + block.shape[1])
        start += block.shape[1]
    feasible = {k: block for k, block in columns.feasible.items() if k != j}
    of = coefficients.feasibility
    return (
        replace(columns, feasible=feasible),
        replace(coefficients, feasibility=of[..., kept] if feasible else of),
    )


def _flat(ask: Ask) -> Array:
    """Draws of the quantities, ``(draw, cell × quantity)``, quantities fastest."""
    columns, coefficients = prepare(ask.posterior, ask.frame, ask.groups, ask.seed)
    base = columns.base
    staying = ask.averages_of((columns, coefficients))[:, :, base]
    unwilling = ask.averages_of((replace(columns, feasible={}), coefficients))[:, :, base]
    # Whoever stays with more to choose from stays with less: only rounding is below zero.
    unable = np.maximum(staying - unwilling, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = [unable / staying, unable / (1 - unwilling)]
    draws = np.stack([staying, unwilling, unable, *ratios], axis=2)
    return np.asarray(draws.reshape(len(draws), -1))


def _table(labels: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Cells × quantities, quantities fastest."""
    repeated = labels.loc[labels.index.repeat(len(QUANTITIES))].reset_index(drop=True)
    return repeated.assign(
        quantity=np.array(list(QUANTITIES) * len(labels), dtype=object),
        rows=np.repeat(rows, len(QUANTITIES)),
    )
