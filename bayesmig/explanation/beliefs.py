"""Priors in words and numbers."""

from __future__ import annotations

import math

from bayesmig.spec.priors import CorrelationPrior, Prior, ScalePrior


def scale_words(prior: Prior) -> str:
    """The shape and spread of a prior of coefficients: ``normal, standard deviation 1``."""
    match prior.dist:
        case "flat":
            return "flat: every value is as likely, and nothing holds the coefficient back"
        case "normal":
            return f"normal, standard deviation {prior.scale:g}"
        case "student_t":
            return f"Student t with {prior.df:g} degrees of freedom, scale {prior.scale:g}"
        case _:
            return f"Laplace, scale {prior.scale:g}"


def coefficient_words(prior: Prior, base: str) -> str:
    """A prior of coefficients, and what it holds for likely.

    Parameters
    ----------
    prior
        Not that of a constant without a centre.
    base
        The alternative that odds are taken against; empty for a generic coefficient.
    """
    if prior.dist == "flat":
        return scale_words(prior)
    step = "a change of one standard deviation" if prior.per == "sd" else "one unit more"
    centre = f"centre {prior.loc:g}, " if prior.loc else ""
    low, high = (math.exp(bound) for bound in _central(prior))
    odds = f"the odds against {base}" if base else "the odds between alternatives"
    return (
        f"{scale_words(prior)}, {centre}for {step} of the column; so, with probability 0.95, "
        f"{step} multiplies {odds} by {low:.2g} to {high:.2g}"
    )


def constant_words(prior: Prior, base: str) -> str:
    """The prior of the constants."""
    if prior.dist == "flat":
        return scale_words(prior)
    if prior.loc is not None:
        centre = f"centre {prior.loc:g}"
    else:
        centre = f"centre: the log of the alternative's observed share against {base}"
    wider = (
        ""
        if "scale" in prior.model_fields_set
        else " at the average person, wider where columns do not average zero"
    )
    return f"{scale_words(prior)}{wider}; {centre}"


def scale_prior_words(prior: ScalePrior) -> str:
    """The prior of standard deviations of group effects."""
    from scipy import stats

    match prior.dist:
        case "exponential":
            text, top = f"exponential, mean {prior.scale:g}", prior.scale * math.log(20)
        case "half_normal":
            text, top = f"half-normal, scale {prior.scale:g}", 1.96 * prior.scale
        case _:
            text = f"half-Student t with {prior.df:g} degrees of freedom, scale {prior.scale:g}"
            top = prior.scale * float(stats.t.ppf(0.975, prior.df))
    odds = math.exp(min(prior.scale, 300))
    return (
        f"{text}: with probability 0.95 below {top:.2g}. An effect one standard deviation up, "
        f"where that is {prior.scale:g}, multiplies the odds by {odds:.2g}"
    )


def correlation_words(prior: CorrelationPrior, size: int | None) -> str:
    """The prior of correlations of so many effects of a group."""
    text = f"LKJ, eta {prior.eta:g}"
    if size is None:
        return text
    low, high = correlation_range(prior.eta, size)
    return f"{text}: with probability 0.95 each lies between {low:.2g} and {high:.2g}"


def correlation_range(eta: float, size: int) -> tuple[float, float]:
    """Central 95 % of one correlation under LKJ.

    ``(r + 1) / 2`` is Beta with both shapes ``eta + size / 2 - 1`` (Lewandowski, Kurowicka
    and Joe 2009, doi:10.1016/j.jmva.2009.04.008).
    """
    from scipy import stats

    shape = eta + size / 2 - 1
    high = 2 * float(stats.beta.ppf(0.975, shape, shape)) - 1
    return -high, high


def _central(prior: Prior) -> tuple[float, float]:
    """Central 95 % of a coefficient, cut where its exponential would overflow."""
    from scipy import stats

    reach = {
        "normal": 1.959963984540054,
        "laplace": math.log(20),
        "student_t": float(stats.t.ppf(0.975, prior.df)),
    }[prior.dist]
    loc = prior.loc or 0.0
    return max(loc - reach * prior.scale, -300.0), min(loc + reach * prior.scale, 300.0)
