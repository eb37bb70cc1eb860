"""A theory on a survey as a PyMC model, for those who want to take it further.

Its likelihood is written out in PyTensor, for reading and extending, or the kernel
(`bayesmig.inference.op`), for sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorConstant

from bayesmig.choice.consideration import log_odds
from bayesmig.choice.nested import dissimilarities
from bayesmig.choice.probabilities import beyond_logit, log_probabilities
from bayesmig.choice.response import EFFECT
from bayesmig.choice.utility import Coefficients, added_parts
from bayesmig.design.design import Design, GroupLayout, TasteLayout, build_design
from bayesmig.design.priors import PriorArray
from bayesmig.errors import InferenceError, nearest
from bayesmig.inference.blocks import DTYPES, Precision, rows_of
from bayesmig.inference.layout import (
    parameter_coords,
    parameter_dims,
    scale_labels,
    scale_shape,
)
from bayesmig.spec.model import ModelSpec
from bayesmig.spec.priors import ScalePrior
from bayesmig.survey.survey import Survey

if TYPE_CHECKING:
    from bayesmig.inference.density import Gate, Near

Likelihood = Literal["plain", "kernel"]


def to_pymc(
    theory: ModelSpec,
    survey: Survey,
    *,
    likelihood: Likelihood = "plain",
    precision: Precision = "double",
) -> pm.Model:
    """The PyMC model of a theory on a survey.

    Parameters
    ----------
    theory, survey
        As for `bayesmig.fit`.
    likelihood
        ``plain``: written out, so that it can be read, changed, and differentiated twice.
        ``kernel``: the package's compiled loops, with first derivatives; its
        log-likelihood is one number for all rows (`bayesmig.log_likelihood` has theirs).
    precision
        Of the kernel's loops over rows: ``single`` or ``double``. The plain likelihood is
        ``double``.

    Returns
    -------
    pymc.Model
        With named dims, the priors, deterministics ``u_*``, ``sigma_*`` and ``corr_*``,
        and one observed variable ``choice``. `bayesmig.fit` samples the same density
        (a test compares them). Where the theory says ``weights = "pseudo"``, that of a choice
        is multiplied by its weight; only `bayesmig.fit` corrects draws for the sampling design.

    Raises
    ------
    DesignError
        Where theory and survey do not fit together.
    InferenceError
        Where an option is unknown or does not apply.
    """
    known = {"likelihood": (likelihood, get_args(Likelihood)), "precision": (precision, DTYPES)}
    for name, (value, values) in known.items():
        if value not in values:
            raise InferenceError(
                f"{name} must be one of {', '.join(values)}, got {value!r}",
                where=f"to_pymc({name}=...)",
                mend=nearest(str(value), [*values]),
            )
    if (likelihood, precision) == ("plain", "single"):
        raise InferenceError(
            "the plain likelihood has no loops in single precision",
            where="to_pymc(precision='single')",
            mend="leave it out, or ask for likelihood='kernel'",
        )
    return build_graph(build_design(theory, survey), likelihood, precision)


def build_graph(
    design: Design,
    likelihood: Likelihood = "plain",
    precision: Precision = "double",
    near: Near | None = None,
) -> pm.Model:
    """As `to_pymc`, from a design.

    With `near`, coefficients are ``centre + root white`` of a vector that is sampled in their
    place, less what feasibility adds to a logit without it: the density is the same, and its
    coordinates are nearly uncorrelated, whatever units and means columns have.
    """
    if precision == "single" and (parts := beyond_logit(design.columns)):
        raise InferenceError(
            f"the kernel has no loops in single precision for {', '.join(parts)}",
            where="to_pymc(precision='single')",
            mend="leave it out",
        )
    coords: dict[str, Any] = {**parameter_coords(design), "obs": np.arange(design.n_obs)}
    for by, layout in design.layouts.items():
        coords[f"{by}_effect"] = scale_labels(design, layout)
        width, scales = len(design.nonbase) * len(layout.terms), len(coords[f"{by}_effect"])
        coords[f"{by}_copy"] = np.arange(width // scales)
    if design.tastes:
        coords["one"] = [0]
    with pm.Model(coords=coords) as model:
        feasibility = _feasibility(design)
        make = _coefficients if near is None else _from_white(near, feasibility)
        coefficients = Coefficients(
            persons=make("beta", design.priors["persons"], design),
            only=make("beta_only", design.priors["only"], design),
            attributes=make("gamma", design.priors["alternatives"], design),
            effects={by: _effects(layout, design) for by, layout in design.layouts.items()},
            tastes={by: _tastes(layout, design) for by, layout in design.tastes.items()},
            lambdas=_lambdas(design),
            curves=_curves(design),
            feasibility=feasibility,
        )
        log_p = log_probabilities(pt, design.columns, coefficients)
        beyond = bool(beyond_logit(design.columns))
        observed = {"dtype": "int64", "observed": design.choice, "dims": "obs"}
        if likelihood == "plain":
            pm.CustomDist(
                "choice",
                log_p,
                logp=_weighted(design),
                random=_random_choice,
                signature="(a)->()",
                **observed,
            )
        else:
            # Choices are drawn from log_p, which the log-likelihood does not need.
            pm.CustomDist(
                "choice",
                log_p,
                *_flat(coefficients, design),
                logp=_by_kernel(design, precision),
                random=_random_choices,
                signature="(n,a),(k,w),(c),(e)" + ",(p,n),(m),(f,n)" * beyond + "->(n)",
                **observed,
            )
    return model


def _flat(coefficients: Coefficients, design: Design) -> list[Any]:
    """The coefficients as `bayesmig.inference.op.ChoiceLogLikelihood` takes them."""
    generic = [part for part in (coefficients.only, coefficients.attributes) if part is not None]
    effects = [(coefficients.effects or {})[by].ravel() for by in design.layouts]
    flat = [
        coefficients.persons,
        *(pt.concatenate([np.zeros(0), *of]) for of in (generic, effects)),
    ]
    columns = design.columns
    if not beyond_logit(columns):
        return flat
    parts = added_parts(pt, columns, coefficients)
    added = [np.zeros((0, design.n_obs)), *(parts[j][None] for j in sorted(parts))]
    tree = columns.nests
    inner_first = [] if tree is None else [*reversed(tree.top_down)]
    lambdas = coefficients.lambdas[np.array(inner_first)] if inner_first else np.zeros(0)
    found = log_odds(pt, columns.feasible, coefficients.feasibility)
    odds = [np.zeros((0, design.n_obs)), *(found[j][None] for j in columns.feasible)]
    return [*flat, pt.concatenate(added), lambdas, pt.concatenate(odds)]


def _by_kernel(design: Design, precision: Precision) -> Callable[..., Any]:
    """Log probability of all choices, as one number."""
    from bayesmig.inference.op import ChoiceLogLikelihood

    kernel: Any = ChoiceLogLikelihood(rows_of(design, precision))

    def log_likelihood(value: Any, log_p: Any, *inputs: Any) -> Any:
        # The kernel has the sums of these choices in it, and of no others.
        if isinstance(value, TensorConstant) and np.array_equal(value.data, design.choice):
            return kernel(*inputs)[0]
        return _weighted(design)(value, log_p).sum()

    return log_likelihood


def _weighted(design: Design) -> Callable[[Any, Any], Any]:
    """Log probability of every choice, times its weight in a pseudo-likelihood."""
    weights = design.likelihood_weights
    if weights is None:
        return _log_likelihood
    return lambda value, log_p: weights * _log_likelihood(value, log_p)


def _log_likelihood(value: Any, log_p: Any) -> Any:
    chosen: Any = pt.take_along_axis(log_p, value[:, None], axis=-1)
    return chosen[:, 0]


def _random_choice(log_p: np.ndarray, rng: np.random.Generator, size: Any = None) -> np.ndarray:
    shape = log_p.shape[:-1] if size is None else size
    cumulative = np.exp(log_p).cumsum(axis=-1)
    drawn = rng.random(shape)[..., None] * cumulative[..., -1:]
    return np.asarray((drawn > cumulative).sum(axis=-1), dtype="int64")


def _random_choices(
    log_p: np.ndarray, *_: Any, rng: np.random.Generator, size: Any = None
) -> np.ndarray:
    """All rows at once; ``size`` is of what leads them."""
    return _random_choice(log_p, rng, None if size is None else (*size, log_p.shape[-2]))


def _coefficients(name: str, priors: PriorArray, design: Design) -> Any:
    """A block of coefficients; one variable per kind of prior that occurs in it."""
    if not priors.loc.size:
        return None
    dims = parameter_dims(design)[name]
    kinds = np.unique(priors.dist)
    if len(kinds) == 1:
        variable, parameters = _distribution(int(kinds[0]), priors)
        return variable(name, **parameters, dims=dims)
    flat, coords = pt.zeros(priors.loc.size), parameter_coords(design)
    labels = [", ".join(of) for of in product(*(coords[d] for d in parameter_dims(design)[name]))]
    for kind in kinds:
        where, part = _of_kind(kind, priors)
        of = f"{name}_{_KINDS[int(kind)]}"
        pm.modelcontext(None).add_coord(f"{of}_term", [labels[k] for k in where])
        variable, parameters = _distribution(int(kind), part)
        drawn = variable(of, **parameters, dims=f"{of}_term")
        flat = pt.set_subtensor(flat[where], drawn)
    return pm.Deterministic(name, flat.reshape(priors.loc.shape), dims=dims)


def _of_kind(kind: int, priors: PriorArray) -> tuple[np.ndarray, PriorArray]:
    """Positions of the priors of one kind, flat, and these."""
    where = np.flatnonzero(priors.dist.ravel() == kind)
    parts = (getattr(priors, name).ravel()[where] for name in ("dist", "loc", "scale", "df"))
    return where, PriorArray(*parts)


def _from_white(near: Near, feasibility: Any) -> Callable[[str, PriorArray, Design], Any]:
    """Gives blocks of coefficients, in order, of one vector that is sampled in their place."""
    vector: Any = near.centre + near.root @ pm.Flat("white", shape=len(near.centre))
    for gate in near.gates:
        vector = _less_feasibility(vector, gate, feasibility)
    taken = 0

    def make(name: str, priors: PriorArray, design: Design) -> Any:
        nonlocal taken
        if not priors.loc.size:
            return None
        start, taken = taken, taken + priors.loc.size
        flat = vector[start:taken]
        for kind in np.unique(priors.dist):
            where, part = _of_kind(kind, priors)
            variable, parameters = _distribution(int(kind), part)
            density = pm.logp(variable.dist(**parameters, shape=len(where)), flat[where])
            pm.Potential(f"prior_{name}_{_KINDS[int(kind)]}", density.sum())
        dims = parameter_dims(design)[name]
        return pm.Deterministic(name, flat.reshape(priors.loc.shape), dims=dims)

    return make


def _less_feasibility(vector: Any, gate: Gate, feasibility: Any) -> Any:
    """Coefficients without what being feasible adds to them."""
    kappa = feasibility[gate.terms]
    odds = pt.dot(gate.mean, kappa)
    added = -pt.softplus(-odds) * gate.one + pt.sigmoid(-odds) * pt.dot(gate.along, kappa)
    return pt.inc_subtensor(vector[gate.where], -added)


_KINDS = {0: "flat", 1: "normal", 2: "student_t", 3: "laplace"}


def _distribution(kind: int, priors: PriorArray) -> tuple[Any, dict[str, Any]]:
    """A distribution of PyMC, and its parameters."""
    match _KINDS[kind]:
        case "flat":
            return pm.Flat, {}
        case "normal":
            return pm.Normal, {"mu": priors.loc, "sigma": priors.scale}
        case "student_t":
            return pm.StudentT, {"nu": priors.df, "mu": priors.loc, "sigma": priors.scale}
        case _:
            return pm.Laplace, {"mu": priors.loc, "b": priors.scale}


def _lambdas(design: Design) -> Any:
    """Dissimilarities of nests; free are their ratios to those of the nests above."""
    if design.columns.nests is None:
        return None
    of = design.spec.priors.lambda_nest
    ratios = pm.Beta("lambda_ratio", of.alpha, of.beta, dims="nest")
    lambdas = dissimilarities(pt, design.columns.nests, ratios)
    return pm.Deterministic("lambda_nest", lambdas, dims=parameter_dims(design)["lambda_nest"])


def _curves(design: Design) -> dict[str, Any] | None:
    """Parameters of response curves."""
    of, priors, dims = design.responses, design.spec.priors, parameter_dims(design)
    if of is None:
        return None
    found = {EFFECT: pm.Normal(EFFECT, 0.0, of.effect_sd, dims=dims[EFFECT])}
    if "half_saturation" in of.labels:
        name, beta = "half_saturation", priors.half_saturation
        share = pm.Beta("half_saturation_share", beta.alpha, beta.beta, dims=dims[name])
        found[name] = pm.Deterministic(name, of.low + (of.high - of.low) * share, dims=dims[name])
    if "hill_exponent" in of.labels:
        log = priors.hill_exponent
        found["hill_exponent"] = pm.LogNormal(
            "hill_exponent", log.loc, log.scale, dims=dims["hill_exponent"]
        )
    if "hump_bend" in of.labels:
        scale = priors.hump_bend.scale / of.top
        found["hump_bend"] = pm.HalfNormal("hump_bend", scale, dims=dims["hump_bend"])
        pm.Deterministic("turning_point", 0.5 / found["hump_bend"], dims=dims["turning_point"])
    return found


def _feasibility(design: Design) -> Any:
    """Coefficients of consideration; those with a sign are sizes times it."""
    if (of := design.feasibility) is None:
        return None
    name, dims = "feasibility", parameter_dims(design)["feasibility"]
    if not of.sign.any():
        return pm.Normal(name, of.loc, of.scale, dims=dims)
    labels = np.array(parameter_coords(design)[dims[0]], dtype=object)
    flat: Any = pt.zeros(len(labels))
    for part, where in (("free", of.sign == 0), ("size", of.sign != 0)):
        if not where.any():
            continue
        term = f"{name}_{part}_term"
        pm.modelcontext(None).add_coord(term, labels[where].tolist())
        if part == "free":
            drawn = pm.Normal(f"{name}_{part}", of.loc[where], of.scale[where], dims=term)
        else:
            size = pm.HalfNormal(f"{name}_{part}", of.scale[where], dims=term)
            drawn = of.sign[where] * size
        flat = pt.set_subtensor(flat[np.flatnonzero(where)], drawn)
    return pm.Deterministic(name, flat, dims=dims)


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
    scaled, sigma = _varying(design, by, by, f"{by}_effect", f"{by}_copy")
    of_scales = scale_shape(design, layout)
    pm.Deterministic(f"sigma_{by}", sigma.reshape(of_scales), dims=dims[f"sigma_{by}"])
    return pm.Deterministic(f"u_{by}", scaled.reshape(shape), dims=dims[f"u_{by}"])


def _tastes(layout: TasteLayout, design: Design) -> Any:
    """Non-centred tastes ``(group, taste)`` of one factor."""
    by, dims = layout.by, parameter_dims(design)
    name = f"taste_{by}"
    scaled, sigma = _varying(design, name, by, f"{by}_taste", "one")
    pm.Deterministic(f"sigma_{name}", sigma, dims=dims[f"sigma_{name}"])
    return pm.Deterministic(name, scaled[:, :, 0], dims=dims[name])


def _varying(design: Design, name: str, groups: str, scales: str, copies: str) -> tuple[Any, Any]:
    """Effects over three dims, of which those of the last share a scale; the scales."""
    priors, model = design.spec.priors, pm.modelcontext(None)
    z = pm.Normal(f"z_{name}", dims=(groups, scales, copies))
    if f"corr_{name}" not in parameter_dims(design):
        sigma = _model_scale(f"scale_{name}", priors.scale, scales)
        return z * sigma[:, None], sigma
    labels = model.coords[scales]
    n = len(labels)
    lower = [f"{labels[i]}, {labels[k]}" for i in range(n) for k in range(i + 1)]
    model.add_coord(f"{name}_lower", lower)
    chol, corr, sigma = pm.LKJCholeskyCov(
        f"chol_{name}",
        dims=f"{name}_lower",
        n=n,
        eta=priors.correlation.eta,
        sd_dist=_scale(priors.scale, n),
        compute_corr=True,
        store_in_trace=False,
    )
    pm.Deterministic(f"corr_{name}", corr, dims=parameter_dims(design)[f"corr_{name}"])
    return pt.matmul(chol, z), sigma


def _model_scale(name: str, prior: ScalePrior, dims: str) -> Any:
    """Independent scales, as a variable of the model."""
    match prior.dist:
        case "exponential":
            return pm.Exponential(name, scale=prior.scale, dims=dims)
        case "half_normal":
            return pm.HalfNormal(name, prior.scale, dims=dims)
        case _:
            return pm.HalfStudentT(name, nu=prior.df, sigma=prior.scale, dims=dims)
