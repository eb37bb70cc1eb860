"""A theory on a survey as an ordinary PyMC model, for those who want to take it further."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design, GroupLayout, build_design
from bayesmig.design.priors import PriorArray
from bayesmig.inference.layout import effect_labels, parameter_coords, parameter_dims
from bayesmig.spec.model import ModelSpec
from bayesmig.spec.priors import ScalePrior
from bayesmig.survey.survey import Survey


def to_pymc(theory: ModelSpec, survey: Survey) -> pm.Model:
    """The plain PyMC model of a theory on a survey.

    Parameters
    ----------
    theory, survey
        As for `bayesmig.fit`.

    Returns
    -------
    pymc.Model
        With named dims, the priors, deterministics ``u_*``, ``sigma_*`` and ``corr_*``,
        and one observed variable ``choice``. `bayesmig.fit` samples the same density
        (a test compares them); this one is for reading and for extending.

    Raises
    ------
    DesignError
        Where theory and survey do not fit together.
    """
    return build_graph(build_design(theory, survey))


def build_graph(design: Design) -> pm.Model:
    """As `to_pymc`, from a design."""
    coords: dict[str, Any] = {**parameter_coords(design), "obs": np.arange(design.n_obs)}
    for by, layout in design.layouts.items():
        coords[f"{by}_effect"] = effect_labels(design, layout)
    with pm.Model(coords=coords) as model:
        coefficients = Coefficients(
            persons=_coefficients("beta", design.priors["persons"], design),
            only=_coefficients("beta_only", design.priors["only"], design),
            attributes=_coefficients("gamma", design.priors["alternatives"], design),
            effects={by: _effects(layout, design) for by, layout in design.layouts.items()},
        )
        log_p = log_probabilities(
            pt, utilities(pt, design.columns, coefficients), design.columns.available
        )
        pm.CustomDist(
            "choice",
            log_p,
            logp=_log_likelihood,
            random=_random_choice,
            signature="(a)->()",
            dtype="int64",
            observed=design.choice,
            dims="obs",
        )
    return model


def _log_likelihood(value: Any, log_p: Any) -> Any:
    return pt.take_along_axis(log_p, value[:, None], axis=-1)[:, 0]


def _random_choice(log_p: np.ndarray, rng: np.random.Generator, size: Any = None) -> np.ndarray:
    shape = log_p.shape[:-1] if size is None else size
    cumulative = np.exp(log_p).cumsum(axis=-1)
    drawn = rng.random(shape)[..., None] * cumulative[..., -1:]
    return np.asarray((drawn > cumulative).sum(axis=-1), dtype="int64")


def _coefficients(name: str, priors: PriorArray, design: Design) -> Any:
    """A block of coefficients; one variable per kind of prior that occurs in it."""
    if not priors.loc.size:
        return None
    dims = parameter_dims(design)[name]
    kinds = np.unique(priors.dist)
    if len(kinds) == 1:
        return _variable(name, int(kinds[0]), priors, dims=dims)
    flat, parts = pt.zeros(priors.loc.size), ("dist", "loc", "scale", "df")
    coords = parameter_coords(design)
    labels = [", ".join(of) for of in product(*(coords[d] for d in parameter_dims(design)[name]))]
    for kind in kinds:
        where = np.flatnonzero(priors.dist.ravel() == kind)
        part = PriorArray(*(getattr(priors, k).ravel()[where] for k in parts))
        of = f"{name}_{_KINDS[int(kind)]}"
        pm.modelcontext(None).add_coord(f"{of}_term", [labels[k] for k in where])
        drawn = _variable(of, int(kind), part, dims=f"{of}_term")
        flat = pt.set_subtensor(flat[where], drawn)
    return pm.Deterministic(name, flat.reshape(priors.loc.shape), dims=dims)


_KINDS = {0: "flat", 1: "normal", 2: "student_t", 3: "laplace"}


def _variable(name: str, kind: int, priors: PriorArray, dims: Any) -> Any:
    match _KINDS[kind]:
        case "flat":
            return pm.Flat(name, dims=dims)
        case "normal":
            return pm.Normal(name, priors.loc, priors.scale, dims=dims)
        case "student_t":
            return pm.StudentT(name, nu=priors.df, mu=priors.loc, sigma=priors.scale, dims=dims)
        case _:
            return pm.Laplace(name, priors.loc, priors.scale, dims=dims)


def _scale(prior: ScalePrior, size: int) -> Any:
    match prior.dist:
        case "exponential":
            return pm.Exponential.dist(scale=prior.scale, shape=size)
        case "half_normal":
            return pm.HalfNormal.dist(prior.scale, shape=size)
        case _:
            return pm.HalfStudentT.dist(nu=prior.df, sigma=prior.scale, shape=size)


def _effects(layout: GroupLayout, design: Design) -> Any:
    """Non-centred effects ``(group, nonbase, term)`` of one factor."""
    by, dims = layout.by, parameter_dims(design)
    shape = (len(layout.levels), len(design.nonbase), len(layout.terms))
    width = shape[1] * shape[2]
    priors = design.spec.priors
    z = pm.Normal(f"z_{by}", dims=(by, f"{by}_effect"))
    if f"corr_{by}" in dims:
        rows = effect_labels(design, layout)
        lower = [f"{rows[i]}, {rows[k]}" for i in range(width) for k in range(i + 1)]
        pm.modelcontext(None).add_coord(f"{by}_lower", lower)
        chol, corr, sigma = pm.LKJCholeskyCov(
            f"chol_{by}",
            dims=f"{by}_lower",
            n=width,
            eta=priors.correlation.eta,
            sd_dist=_scale(priors.scale, width),
            compute_corr=True,
            store_in_trace=False,
        )
        pm.Deterministic(f"corr_{by}", corr, dims=dims[f"corr_{by}"])
        scaled = z @ chol.T
    else:
        sigma = _model_scale(f"scale_{by}", priors.scale, f"{by}_effect")
        scaled = z * sigma
    pm.Deterministic(f"sigma_{by}", sigma.reshape(shape[1:]), dims=dims[f"sigma_{by}"])
    return pm.Deterministic(f"u_{by}", scaled.reshape(shape), dims=dims[f"u_{by}"])


def _model_scale(name: str, prior: ScalePrior, dims: str) -> Any:
    """Independent scales, as a variable of the model."""
    match prior.dist:
        case "exponential":
            return pm.Exponential(name, scale=prior.scale, dims=dims)
        case "half_normal":
            return pm.HalfNormal(name, prior.scale, dims=dims)
        case _:
            return pm.HalfStudentT(name, nu=prior.df, sigma=prior.scale, dims=dims)
