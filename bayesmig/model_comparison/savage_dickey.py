"""Nested claims: how much the data shift the odds that a parameter is exactly a value.

Where a theory is another one with a parameter free, the Bayes factor for the smaller one is
the density of the posterior over that of the prior at the value (Dickey 1971, doi
10.1214/aoms/1177693507; Verdinelli and Wasserman 1995, doi 10.1080/01621459.1995.10476554).
It answers for the prior as much as for the data, since a wider prior makes any value look
more probable; what a theory predicts does not. It is second to `compare`, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.errors import QuestionError, nearest
from bayesmig.inference.pareto import smoothed
from bayesmig.posterior import Posterior, labelled_draws, require_posterior, table_text

if TYPE_CHECKING:
    from bayesmig.design.priors import PriorArray

Array = NDArray[np.float64]
#: Scales of the prior, in its own, under which the ratio is told.
_SCALES = (1.0, 0.5, 2.0)
#: Batches of draws, by whose scatter Monte-Carlo errors are told.
_BATCHES = 20
#: Pareto shape of weights from which a ratio under another prior is not to be had.
_MAX_K = 0.7
#: Worth in draws of the weights that a density needs.
_LEAST = 100
#: Share of draws beyond a value, below which its density is that of a tail.
_RARE = 0.01
_NORMAL = 1


@dataclass(frozen=True, eq=False)
class EvidenceRatio:
    """Evidence for a value of a parameter against its being free.

    Attributes
    ----------
    parameter, value
        What is claimed.
    summary
        One row per prior: ``prior_scale`` (a multiple of the theory's), ``log_ratio`` (nats,
        above zero for the value), ``error`` (its Monte-Carlo standard error), ``pareto_k``
        of the weights (NaN of the theory's own prior). NaN where it is not to be had.
    text
        In words.
    """

    parameter: str
    value: float
    summary: pd.DataFrame = field(repr=False)
    text: str

    def __str__(self) -> str:
        return f"{table_text(self.summary)}\n{self.text}"


def evidence_ratio(
    posterior: Posterior,
    parameter: str,
    *,
    value: float = 0.0,
    allow_unconverged: bool = False,
) -> EvidenceRatio:
    """Savage-Dickey density ratio of a coefficient, with its error and what it owes the prior.

    Parameters
    ----------
    posterior
        Draws of the theory in which the coefficient is free.
    parameter
        A coefficient by its label, ``beta[female, internal]``, with a normal prior.
    value
        What the smaller theory takes it to be.
    allow_unconverged
        Whether draws that have not converged may be used.

    Returns
    -------
    EvidenceRatio
        Under the theory's prior of this coefficient and under ones half and twice as wide,
        to which draws are reweighted. Densities at the value are those of a normal kernel
        estimate, which is good where the value is not in the posterior's far tail: where no
        draw in a hundred lies beyond it, the ratio is not known, and missing.

    Raises
    ------
    ConvergenceError
        Where draws have not converged.
    QuestionError
        Where there is no such coefficient, its prior is not normal, or draws were corrected
        for a sampling design and have no density.
    """
    require_posterior(posterior)
    posterior.refuse_pseudo("a density ratio")
    posterior.require_convergence(allow_unconverged)
    draws, loc, scale = _coefficient(posterior, parameter)
    if not np.isfinite(value):
        raise QuestionError(f"the value must be a number, got {value!r}", where="evidence_ratio")
    rows = []
    for times in _SCALES:
        log_weights = _log_normal(draws, loc, times * scale) - _log_normal(draws, loc, scale)
        shape, weights = float("nan"), np.full(len(draws), 1 / len(draws))
        if times != 1.0:
            log_weights, shape = smoothed(log_weights)
            weights = np.exp(log_weights)
        log_ratio, error = float("nan"), float("nan")
        beyond = min(weights[draws > value].sum(), weights[draws < value].sum())
        sound = not shape >= _MAX_K and 1 / np.square(weights).sum() >= _LEAST
        if sound and beyond >= _RARE:
            height, error = _log_density(draws, weights, value)
            log_ratio = height - float(_log_normal(np.array(value), loc, times * scale))
        rows.append((times, log_ratio, error, shape))
    summary = pd.DataFrame(rows, columns=["prior_scale", "log_ratio", "error", "pareto_k"])
    text = _text(parameter, value, summary) + posterior.design.weights_sentence
    if problems := posterior.problems():
        text = f"Allowed although the draws have not converged: {'; '.join(problems)}. {text}"
    said = posterior.approximation
    return EvidenceRatio(parameter, value, summary, f"Of {said}. {text}" if said else text)


def _coefficient(posterior: Posterior, parameter: str) -> tuple[Array, float, float]:
    """Draws of a coefficient, one chain after the other, and its prior's centre and scale."""
    blocks = {"beta": "persons", "beta_only": "only", "gamma": "alternatives"}
    kept = posterior.draws[[name for name in blocks if name in posterior.draws]]
    known = dict(labelled_draws(kept))
    if parameter not in known:
        raise QuestionError(
            f"there is no coefficient {parameter!r}; {nearest(parameter, list(known))}",
            where="evidence_ratio(parameter)",
            mend="name one that posterior.summary() lists",
        )
    name = parameter.partition("[")[0]
    prior: PriorArray = posterior.design.priors[blocks[name]]
    at = [label for label in known if label.partition("[")[0] == name].index(parameter)
    if prior.dist.ravel()[at] != _NORMAL:
        raise QuestionError(
            f"the prior of {parameter!r} is not normal",
            where="evidence_ratio(parameter)",
            mend="fit with a normal prior of it, or compare predictions with compare",
        )
    draws = np.asarray(known[parameter], dtype=float).ravel()
    return draws, float(prior.loc.ravel()[at]), float(prior.scale.ravel()[at])


def _log_normal(x: Array, loc: float, scale: float) -> Array:
    return np.asarray(-0.5 * np.square((x - loc) / scale) - np.log(scale * np.sqrt(2 * np.pi)))


def _log_density(draws: Array, weights: Array, value: float) -> tuple[float, float]:
    """Log of a normal kernel density at a value, and its Monte-Carlo error.

    The kernel's own variance is taken off the draws', so that mean and variance of the
    estimate are those of the draws, and a normal posterior has no bias of smoothing.
    """
    mean = float(weights @ draws)
    sd = float(np.sqrt(weights @ np.square(draws - mean)))
    worth = 1 / np.square(weights).sum()
    # Of Silverman's rule.
    share = 0.9 * worth**-0.2
    centres = mean + np.sqrt(1 - share**2) * (draws - mean)
    heights = np.exp(_log_normal(value - centres, 0.0, share * sd))
    total = float(weights @ heights)
    parts = np.array_split(np.arange(len(draws)), _BATCHES)
    means = [float(weights[p] @ heights[p]) / float(weights[p].sum()) for p in parts]
    error = float(np.std(means, ddof=1) / np.sqrt(_BATCHES))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(total)), error / total


def _text(parameter: str, value: float, summary: pd.DataFrame) -> str:
    log_ratios = summary["log_ratio"].to_numpy(dtype=float)
    own, error = log_ratios[0], float(summary["error"].iloc[0])
    told, for_it = f"{parameter} = {value:g}", own > 0
    says = [
        f"Under the theory's prior the data speak {np.exp(min(abs(own), 700.0)):,.3g} "
        f"times as much {'for' if for_it else 'against'} {told} as the other way (log ratio "
        f"{own:.2f}, Monte-Carlo error {error:.2f})."
        if np.isfinite(own)
        else f"How much the data speak against {told} is not known from these draws: fewer than "
        f"{_RARE:.0%} of them lie beyond it, or they are too few."
    ]
    for times, ratio in zip(_SCALES[1:], log_ratios[1:], strict=True):
        wide = "half as wide" if times < 1 else "twice as wide"
        what = f"{ratio:.2f}" if np.isfinite(ratio) else "not known from these draws"
        says.append(f"With a prior {wide} the log ratio is {what}.")
    finite = log_ratios[np.isfinite(log_ratios)]
    if (finite > 0).any() and (finite < 0).any():
        says.append("Whether they speak for it or against it depends on the prior.")
    says.append(
        "A ratio of densities weighs the prior as much as the data, and is second to how well "
        "theories predict: see compare."
    )
    return " ".join(says)
