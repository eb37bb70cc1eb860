"""The prior of a design: draws from it, without a sampler, and its density at draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesmig.choice.nested import ROOT, dissimilarities
from bayesmig.choice.response import EFFECT
from bayesmig.design.design import Design, GroupLayout, TasteLayout
from bayesmig.design.priors import PriorArray
from bayesmig.errors import InferenceError
from bayesmig.inference.layout import parameter_coords, parameter_dims, scale_shape
from bayesmig.spec.priors import ScalePrior

Array = NDArray[np.float64]
#: Parameter -> block of coefficients.
_BLOCKS = {"beta": "persons", "beta_only": "only", "gamma": "alternatives"}


def prior_draws(design: Design, *, seed: int, draws: int) -> xr.Dataset:
    """Draws of the parameters from their prior.

    Parameters
    ----------
    design
        Theory × survey.
    seed
        Seed.
    draws
        Number of draws.

    Returns
    -------
    xarray.Dataset
        The variables of the posterior, with one chain.

    Raises
    ------
    InferenceError
        Where a prior is flat, since nothing can be drawn from it.
    """
    if design.has_flat_priors:
        raise InferenceError(
            "a flat prior cannot be drawn from",
            where="key priors",
            mend="state proper priors, or fit with prior=False",
        )
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2**31,)))
    named = {
        name: _coefficients(design.priors[block], draws, rng) for name, block in _BLOCKS.items()
    }
    if design.columns.nests is not None:
        beta = design.spec.priors.lambda_nest
        ratios = rng.beta(beta.alpha, beta.beta, (draws, len(design.spec.nests)))
        named["lambda_nest"] = dissimilarities(np, design.columns.nests, ratios)
    if design.responses is not None:
        named |= _curves(design, draws, rng)
    if (of := design.feasibility) is not None:
        z = rng.standard_normal((draws, len(of.loc)))
        named["feasibility"] = of.loc + of.scale * np.where(of.sign == 0, z, of.sign * np.abs(z))
    for layout in design.layouts.values():
        named |= _effects(layout, design, draws, rng)
    for taste in design.tastes.values():
        named |= _tastes(taste, design, draws, rng)
    dims = parameter_dims(design)
    return xr.Dataset(
        {name: (("chain", "draw", *of), named[name][None]) for name, of in dims.items()},
        {"chain": [0], **parameter_coords(design)},
    )


def log_prior(design: Design, draws: xr.Dataset) -> Array:
    """Log density of the priors at the top of the hierarchy, up to a constant.

    Those of coefficients, of the standard deviations and correlations of groups, and of
    the parameters of nests, curves and consideration, over the parameters themselves (the
    standard deviation, not its logarithm; the correlation matrix; a nest's ratio to the
    one that it lies in). Effects of groups are left out: their distribution is a part of
    the model that the data tell, as its scale is a parameter.

    Parameters
    ----------
    design
        Theory × survey.
    draws
        The parameters, dims ``(chain, draw, ...)``; effects of groups may be absent.

    Returns
    -------
    ndarray
        ``(chain, draw)``. A flat prior adds nothing.
    """
    named = {str(k): of.transpose("chain", "draw", ...) for k, of in draws.data_vars.items()}
    priors, parts = design.spec.priors, []
    for name, of in named.items():
        values = of.to_numpy()
        if name in _BLOCKS:
            parts.append(design.priors[_BLOCKS[name]].log_densities(values))
        elif name.startswith("sigma_"):
            parts.append(_log_scale(priors.scale, values))
        elif name.startswith("corr_") and priors.correlation.eta != 1:
            parts.append((priors.correlation.eta - 1) * np.linalg.slogdet(values)[1])
        elif name == "lambda_nest":
            beta = priors.lambda_nest
            parts.append(_log_beta(beta.alpha, beta.beta, _ratios(design, values)))
        elif name == "feasibility" and (feasible := design.feasibility) is not None:
            parts.append(-0.5 * np.square((values - feasible.loc) / feasible.scale))
        elif (curves := design.responses) is not None and name in curves.labels:
            parts.append(_log_curve(design, name, values))
    lead = draws.sizes["chain"], draws.sizes["draw"]
    return np.asarray(sum(part.reshape(*lead, -1).sum(axis=-1) for part in parts))


def _log_scale(prior: ScalePrior, sigma: Array) -> Array:
    z = sigma / prior.scale
    match prior.dist:
        case "exponential":
            return -z
        case "half_normal":
            return -0.5 * z * z
        case _:
            return np.asarray(-0.5 * (prior.df + 1) * np.log1p(z * z / prior.df))


def _log_beta(alpha: float, beta: float, share: Array) -> Array:
    from scipy.special import xlog1py, xlogy

    return np.asarray(xlogy(alpha - 1, share) + xlog1py(beta - 1, -share))


def _ratios(design: Design, lambdas: Array) -> Array:
    """Of lambdas to those of the nests above: what `dissimilarities` made them of."""
    tree = design.columns.nests
    assert tree is not None
    above = [lambdas[..., m] if m != ROOT else np.ones(lambdas.shape[:-1]) for m in tree.nests]
    return lambdas / np.stack(above, axis=-1)


def _log_curve(design: Design, name: str, values: Array) -> Array:
    of, priors = design.responses, design.spec.priors
    assert of is not None
    match name:
        case "half_saturation":
            beta = priors.half_saturation
            return _log_beta(beta.alpha, beta.beta, (values - of.low) / (of.high - of.low))
        case "hill_exponent":
            log = np.log(values)
            prior = priors.hill_exponent
            return np.asarray(-log - 0.5 * np.square((log - prior.loc) / prior.scale))
        case "hump_bend":
            return np.asarray(-0.5 * np.square(values * of.top / priors.hump_bend.scale))
        case _:
            return np.asarray(-0.5 * np.square(values / of.effect_sd))


def _coefficients(prior: PriorArray, draws: int, rng: np.random.Generator) -> Array:
    shape = (draws, *prior.loc.shape)
    kinds = [
        np.zeros(shape),
        rng.standard_normal(shape),
        rng.standard_t(np.broadcast_to(prior.df, shape)),
        rng.laplace(size=shape),
    ]
    return np.asarray(prior.loc + prior.scale * np.choose(prior.dist, kinds))


def _curves(design: Design, draws: int, rng: np.random.Generator) -> dict[str, Any]:
    """Parameters of response curves, ``(draw, curve)`` each."""
    of, priors = design.responses, design.spec.priors
    assert of is not None
    named: dict[str, Any] = {EFFECT: of.effect_sd * rng.standard_normal((draws, len(of.effect_sd)))}
    if "half_saturation" in of.labels:
        beta = priors.half_saturation
        share = rng.beta(beta.alpha, beta.beta, (draws, len(of.low)))
        named["half_saturation"] = of.low + (of.high - of.low) * share
    if "hill_exponent" in of.labels:
        log, shape = priors.hill_exponent, (draws, len(of.labels["hill_exponent"]))
        named["hill_exponent"] = np.exp(log.loc + log.scale * rng.standard_normal(shape))
    if "hump_bend" in of.labels:
        z = np.abs(rng.standard_normal((draws, len(of.top))))
        named["hump_bend"] = priors.hump_bend.scale * z / of.top
        named["turning_point"] = 1 / (2 * named["hump_bend"])
    return named


def _scales(prior: ScalePrior, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    match prior.dist:
        case "exponential":
            drawn = rng.standard_exponential(shape)
        case "half_normal":
            drawn = np.abs(rng.standard_normal(shape))
        case _:
            drawn = np.abs(rng.standard_t(prior.df, shape))
    return prior.scale * drawn


def _factors(eta: float, width: int, draws: int, rng: np.random.Generator) -> Array:
    """Cholesky factors of LKJ correlations, ``(draw, width, width)``.

    Row ``i`` is ``(y, 1) / sqrt(1 + |y|^2)`` where ``y`` has a multivariate t
    distribution with ``width + 2 eta - 1 - i`` degrees of freedom.
    """
    factor = np.zeros((draws, width, width))
    factor[:, 0, 0] = 1.0
    for i in range(1, width):
        y = rng.standard_normal((draws, i))
        y /= np.sqrt(rng.chisquare(width + 2 * eta - 1 - i, (draws, 1)))
        length = np.sqrt(1 + (y * y).sum(axis=1, keepdims=True))
        factor[:, i, :i] = y / length
        factor[:, i, i] = 1 / length[:, 0]
    return factor


def _effects(
    layout: GroupLayout, design: Design, draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    shape, of_scales = (len(design.nonbase), len(layout.terms)), scale_shape(design, layout)
    scales = int(np.prod(of_scales))
    copies, correlated = (
        shape[0] * shape[1] // scales,
        f"corr_{layout.by}" in parameter_dims(design),
    )
    sigma, corr, u = _varying(design, len(layout.levels), scales, copies, correlated, draws, rng)
    named = {
        f"sigma_{layout.by}": sigma.reshape(draws, *of_scales),
        f"u_{layout.by}": u.reshape(draws, -1, *shape),
    }
    return named if corr is None else {**named, f"corr_{layout.by}": corr}


def _tastes(
    layout: TasteLayout, design: Design, draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    correlated, scales = f"corr_taste_{layout.by}" in parameter_dims(design), len(layout.terms)
    sigma, corr, u = _varying(design, len(layout.levels), scales, 1, correlated, draws, rng)
    named = {f"sigma_taste_{layout.by}": sigma, f"taste_{layout.by}": u[..., 0]}
    return named if corr is None else {**named, f"corr_taste_{layout.by}": corr}


def _varying(
    design: Design,
    groups: int,
    scales: int,
    copies: int,
    correlated: bool,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Array, Array | None, Array]:
    """Standard deviations, correlations where there are any, and ``(group, scale, copy)``."""
    sigma, corr = _scales(design.spec.priors.scale, (draws, scales), rng), None
    z = rng.standard_normal((draws, groups, scales, copies))
    if correlated:
        factor = _factors(design.spec.priors.correlation.eta, scales, draws, rng)
        corr = factor @ factor.transpose(0, 2, 1)
        corr[:, range(scales), range(scales)] = 1.0
        # In place, the last first: a copy for many groups is a matter of gigabytes.
        for i in reversed(range(scales)):
            z[:, :, i] *= factor[:, i, i, None, None]
            for k in range(i):
                z[:, :, i] += factor[:, i, k, None, None] * z[:, :, k]
    z *= sigma[:, None, :, None]
    return sigma, corr, z
