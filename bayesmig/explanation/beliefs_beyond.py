"""Priors in words and numbers of what a theory has beyond columns and groups."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bayesmig.choice.response import SHAPES
from bayesmig.explanation.beliefs import correlation_words, scale_prior_words
from bayesmig.explanation.words import listed
from bayesmig.spec.curves import Curve
from bayesmig.spec.model import ModelSpec

_REACH = 1.959963984540054


def beliefs_beyond(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """(Parameters, prior), of smooths, shared drivers, tastes, nests, curves, consideration."""
    yield from _scales(spec)
    yield from _nests(spec)
    yield from _curves(spec)
    if spec.consideration is not None:
        yield from _feasibility(spec)


def _scales(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    scale, correlation = spec.priors.scale, spec.priors.correlation
    streams = len(spec.choice.nonbase)
    for smooth in spec.smooths:
        yield f"sigma_smooth_{smooth.column}", scale_prior_words(scale)
        if smooth.correlated and streams > 1:
            yield f"corr_smooth_{smooth.column}", correlation_words(correlation, streams)
    for pool in spec.pools:
        yield f"sigma_{pool.by}", scale_prior_words(scale)
    if spec.utility.shared_columns:
        yield "sigma_deviation", scale_prior_words(scale)
    for taste in spec.tastes:
        yield (
            f"sigma_taste_{taste.by}",
            f"{scale_prior_words(scale)}, for one unit of the attribute",
        )
        if taste.correlated and len(taste.attributes) > 1:
            words = correlation_words(correlation, len(taste.attributes))
            yield f"corr_taste_{taste.by}", words


def _nests(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    from scipy import stats

    prior = spec.priors.lambda_nest
    shape = f"Beta({prior.alpha:g}, {prior.beta:g})"
    low, high = stats.beta.ppf([0.025, 0.975], prior.alpha, prior.beta)
    flat = ", every value as likely" if prior.alpha == prior.beta == 1 else ""
    reach = f"{shape}{flat}: with probability 0.95 between {low:.2g} and {high:.2g}"
    if outer := [f"lambda_nest[{n.name}]" for n in spec.nests if not n.within]:
        yield listed(outer), reach
    if inner := [f"lambda_nest[{n.name}]" for n in spec.nests if n.within]:
        yield f"{listed(inner)}, over that of the outer nest", reach


def _curves(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    from scipy import stats

    priors = spec.priors
    for curve in spec.curves:
        yield f"curve_effect[{curve.label}]", _effect(spec, curve)

    def of(parameter: str) -> str:
        has = [c.label for c in spec.curves if parameter in SHAPES[c.shape]]
        return listed(f"{parameter}[{name}]" for name in has)

    if names := of("half_saturation"):
        beta = priors.half_saturation
        low, high = 100 * stats.beta.ppf([0.025, 0.975], beta.alpha, beta.beta)
        yield (
            names,
            f"Beta({beta.alpha:g}, {beta.beta:g}) on the way from the 1st to the 99th percentile "
            f"of the exposures above zero: with probability 0.95 from {low:.2g} % to {high:.2g} % "
            "of that way",
        )
    if names := of("hill_exponent"):
        log = priors.hill_exponent
        low, high = (math.exp(log.loc + sign * _REACH * log.scale) for sign in (-1, 1))
        yield (
            names,
            f"the logarithm is normal, centre {log.loc:g}, standard deviation {log.scale:g}: with "
            f"probability 0.95 between {low:.2g} and {high:.2g}",
        )
    if names := of("hump_bend"):
        scale = priors.hump_bend.scale
        turned = 2 * stats.norm.sf(0.5 / scale)
        yield (
            names,
            f"half-normal, scale {scale:g} over the highest exposure: with probability "
            f"{turned:.2g} the curve turns below that exposure",
        )


def _effect(spec: ModelSpec, curve: Curve) -> str:
    prior = spec.priors.curve_effect
    match curve.shape:
        case "saturating" | "hill":
            scale, step = prior.height, "the whole way from no exposure to saturation"
        case "log1p":
            scale, step = prior.slope, "a change of log(1 + N) by one standard deviation"
        case _:
            scale, step = prior.slope, "a change of the column by one of its standard deviations"
    # Cut where the exponential would overflow.
    high = math.exp(min(_REACH * scale, 300.0))
    bent = ", were there no bend" if curve.shape == "hump" else ""
    return (
        f"normal, standard deviation {scale:g} for {step}{bent}; so, with probability 0.95, that "
        f"multiplies the odds by {1 / high:.2g} to {high:.2g}"
    )


def _feasibility(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    assert spec.consideration is not None
    prior, formulas = spec.priors.feasibility, spec.consideration.formulas
    if any(f.intercept is not False for f in formulas.values()):
        low, high = (
            _share(prior.constant_loc + sign * _REACH * prior.constant_scale) for sign in (-1, 1)
        )
        yield (
            "feasibility of the average person",
            f"log odds normal, centre {prior.constant_loc:g}, standard deviation "
            f"{prior.constant_scale:g}, wider where columns do not average zero; where they do, "
            f"it is between {low:.2g} and {high:.2g} with probability 0.95",
        )
    signed = {(a, n) for a, of in spec.consideration.signs.items() for n in of}
    slopes = [a for a, f in formulas.items() if f.terms]
    if slopes:
        high = math.exp(min(_REACH * prior.scale, 300.0))
        half = " (half-normal where a sign is stated)" if signed else ""
        yield (
            "slopes of feasibility",
            f"normal{half}, scale {prior.scale:g} for a change of one standard deviation of the "
            f"column; so, with probability 0.95, that multiplies the odds of being feasible by "
            f"{1 / high:.2g} to {high:.2g}" + (", to the stated side of one" if signed else ""),
        )


def _share(odds: float) -> float:
    return 1 / (1 + math.exp(-max(min(odds, 300.0), -300.0)))
