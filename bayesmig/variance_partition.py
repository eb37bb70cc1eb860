"""What each level explains, and whether streams replace each other there.

At every level (places of origin, households, cells of an intersection) effects have a
variance for each stream and a correlation between streams. The **variance partition
coefficient** of a level is its part of the variance of latent utility against the base,
whose residual is logistic (Goldstein, Browne and Rasbash 2002; for intersections Evans et al.
2018, doi 10.1016/j.socscimed.2017.11.011)::

    vpc = var_level / (sum of var over levels + pi^2 / 3)

with ``var = mean over rows of z' Sigma z`` where effects have slopes on ``z``; of an
alternative in one nest with the base, the residual is ``lambda^2 pi^2 / 3``. A negative
correlation between two streams says that where one is more usual than the theory's columns
explain the other is less so: substitutes at this level. Levels may differ in its sign.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from bayesmig.errors import QuestionError
from bayesmig.posterior import INTERVAL, Posterior
from bayesmig.predict import Effect, ask_about, finish, header_of, probability_of
from bayesmig.sensitivity import RULE, identified

Array = np.ndarray
_RESIDUAL = np.pi**2 / 3
_WEIGHTED = (
    "of groups, whose scales are those of a weighted likelihood: it takes groups of few rows for "
    "more different than they are"
)
#: A share of variance is above zero whatever the data say; above this one it is worth naming
#: (that of cells in an intersection, Evans et al. 2018).
SMALL_SHARE = 0.01


def levels(
    posterior: Posterior, *, prob: float = INTERVAL, allow_unconverged: bool = False
) -> Effect:
    """Variance partition and correlation of streams, by level.

    Parameters
    ----------
    posterior
        Draws of a theory with group effects.
    prob
        Mass of the highest-density interval.
    allow_unconverged
        As for `predictions`.

    Returns
    -------
    Effect
        Rows by ``level`` and ``quantity``: ``vpc`` in [0, 1] of each non-base alternative,
        and ``correlation`` in [-1, 1] of each pair (``internal, international``), with
        ``probability_above`` 0.01 of a vpc and 0 of a correlation, and with ``overlap``,
        ``prior_sensitivity``, ``likelihood_sensitivity``, ``identification`` and
        ``rests_on`` (`bayesmig.sensitivity.of_answers`). A level whose effects are
        uncorrelated has no correlation to tell, and no row of one. ``rows`` counts its
        groups.

    Raises
    ------
    QuestionError
        Where the theory has no group effects.
    ConvergenceError
        As for `predictions`.
    """
    ask = ask_about(posterior, None, None, False, "observed", prob, 0, allow_unconverged)
    design = posterior.design
    if not design.grouped:
        raise QuestionError(
            f"the theory {posterior.spec.name!r} has no group effects",
            where="levels",
            mend="fit a theory with [[groups]]",
        )
    table, draws = partition(posterior)
    told = identified(ask, draws, lambda prior: partition(prior.posterior)[1])
    unit = "share of the variance of latent utility; correlation"
    header = {
        **header_of(ask, unit),
        "rows": "number of groups",
        "weights": _WEIGHTED if design.is_pseudo else "none: of groups",
        "probability_above": f"posterior probability of a vpc above {SMALL_SHARE:g}, and of a "
        "correlation above 0: a share of variance is above 0 whatever the data say",
        "identification": RULE,
    }
    question = "What each level explains, and how streams go together there"
    found = finish(question, header, table, draws, ask)
    null = np.where(table["quantity"] == "vpc", SMALL_SHARE, 0.0)
    above = probability_of(draws > null, draws)
    return replace(found, summary=found.summary.assign(probability_above=above, **told))


def of_level(
    levels: tuple[pd.DataFrame, Array], verb: str, level: str, alternatives: Iterable[str]
) -> Array:
    """Draws of the ``vpc`` or ``correlation`` of one level of a `partition`, ``(draw,)``."""
    table, draws = levels
    asked = set(alternatives)
    rows = zip(table["level"], table["quantity"], table["alternative"], strict=True)
    found = [(by, what, set(text.split(", "))) for by, what, text in rows]
    return np.asarray(draws[:, found.index((level, verb, asked))])


def partition(posterior: Posterior) -> tuple[pd.DataFrame, Array]:
    """What the rows of `levels` are of, and draws of them, ``(draw, row)``."""
    design = posterior.design
    covariances = {by: _covariance(posterior, by) for by in design.grouped}
    variances = {by: np.einsum("sjj->sj", found) for by, found in covariances.items()}
    total = sum(variances.values(), _residual(posterior))
    rows, draws = [], []
    for by, covariance in covariances.items():
        said = {"level": by, "rows": len(design.layouts[by].levels)}
        for j, alternative in enumerate(design.nonbase):
            rows.append({**said, "quantity": "vpc", "alternative": alternative})
            draws.append(variances[by][:, j] / total[:, j])
        if f"corr_{by}" not in posterior.draws:
            continue
        for j, k in combinations(range(len(design.nonbase)), 2):
            pair = f"{design.nonbase[j]}, {design.nonbase[k]}"
            rows.append({**said, "quantity": "correlation", "alternative": pair})
            root = np.sqrt(variances[by][:, j] * variances[by][:, k])
            draws.append(covariance[:, j, k] / root)
    table = pd.DataFrame(rows)[["level", "quantity", "alternative", "rows"]]
    return table, np.column_stack(draws)


def _residual(posterior: Posterior) -> Array:
    """Variance of what is left of utility against the base, ``(draw, nonbase)``.

    What is left of two alternatives of one nest has a correlation of ``1 - lambda^2``.
    """
    design, nests = posterior.design, posterior.design.columns.nests
    found = np.full((1, len(design.nonbase)), _RESIDUAL)
    if nests is None:
        return found
    lambdas = posterior.draws["lambda_nest"].to_numpy()
    lambdas = lambdas.reshape(-1, lambdas.shape[-1])
    members = [nests.below(m) for m in range(lambdas.shape[1])]
    base, found = design.columns.base, found.repeat(len(lambdas), axis=0)
    for j, alternative in enumerate(design.nonbase):
        both = {base, design.alternatives.index(alternative)}
        if common := [m for m, inside in enumerate(members) if both <= set(inside)]:
            lowest = min(common, key=lambda m: len(members[m]))
            found[:, j] *= lambdas[:, lowest] ** 2
    return found


def _covariance(posterior: Posterior, by: str) -> Array:
    """Of a group's part of utilities, averaged over rows, ``(draw, nonbase, nonbase)``."""
    draws, design = posterior.draws, posterior.design
    sigma = draws[f"sigma_{by}"].to_numpy()
    n, shape = sigma.shape[0] * sigma.shape[1], sigma.shape[2:]
    sigma = sigma.reshape(n, -1)
    corr = np.broadcast_to(np.eye(sigma.shape[1]), (n, sigma.shape[1], sigma.shape[1]))
    if f"corr_{by}" in draws:
        corr = draws[f"corr_{by}"].to_numpy().reshape(corr.shape)
    full = (corr * sigma[:, :, None] * sigma[:, None, :]).reshape(n, *shape, *shape)
    terms = design.columns.groups[by][1]
    return np.asarray(np.einsum("sjtku,tu->sjk", full, terms.T @ terms / len(terms)))
