"""Surveys, designs and posteriors in milliseconds: draws are made up, never sampled.

Tests import it as ``from tests.fabricate import fabricated, small_design``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmig.design.design import Design, build_design
from bayesmig.inference.layout import parameter_coords, parameter_dims
from bayesmig.inference.prior import prior_draws
from bayesmig.posterior import Posterior, Provenance, labelled_draws
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey, read_survey

ALTERNATIVES = ("stay", "internal", "international")
#: Log odds against staying that `small_survey` chooses by: column -> (internal, international).
TRUTH = {
    "asc": (-1.0, -1.6),
    "female": (0.3, -0.6),
    "education": (0.08, -0.02),
    "wealth": (0.25, 0.5),
    "network_internal": (0.4, -0.1),
    "network_international": (-0.1, 0.6),
    "prior_internal": (0.5, 0.3),
}
SIGMA_ORIGIN = (0.4, 0.6)


def small_frame(n: int = 400, *, seed: int = 0, origins: int = 12) -> pd.DataFrame:
    """Persons with the columns of a simulated survey, and choices made by `TRUTH`."""
    rng = np.random.default_rng(seed)
    origin = rng.integers(origins, size=n)
    frame = pd.DataFrame(
        {
            "person": [f"p{i}" for i in range(n)],
            "household": [f"h{i // 3}" for i in range(n)],
            "origin": [f"o{g:02d}" for g in origin],
            "region": [f"r{g % 3}" for g in origin],
            "weight": rng.gamma(4.0, 0.25, n),
            "female": rng.integers(2, size=n),
            "age": rng.integers(15, 51, size=n),
            "education": rng.integers(0, 17, size=n) - 8.0,
            "wealth": rng.normal(size=n),
            "urban": rng.integers(2, size=n),
            "prior_internal": rng.binomial(1, 0.2, n),
            "prior_international": rng.binomial(1, 0.1, n),
            "household_internal": rng.poisson(0.5, n),
            "household_international": rng.poisson(0.2, n),
            "network_internal": rng.normal(size=origins)[origin] + 0.5 * rng.normal(size=n),
            "network_international": rng.normal(size=origins)[origin] + 0.5 * rng.normal(size=n),
        }
    )
    frame["age_10"] = (frame["age"] - 25) / 10
    odds = rng.normal(0.0, SIGMA_ORIGIN, (origins, 2))[origin]
    for column, slopes in TRUTH.items():
        x = np.ones(n) if column == "asc" else frame[column].to_numpy(dtype=float)
        odds = odds + np.outer(x, slopes)
    utility = np.column_stack([np.zeros(n), odds]) + rng.gumbel(size=(n, 3))
    frame["choice"] = np.array(ALTERNATIVES)[utility.argmax(axis=1)]
    return frame


def survey_of(frame: pd.DataFrame, **codebook_keys: Any) -> Survey:
    """A survey of a frame whose columns carry the names of roles."""
    known = ("choice", "person", "household", "origin", "region", "period", "weight")
    codebook_keys.setdefault(
        "alternatives", {a: a for a in ALTERNATIVES if (frame["choice"] == a).any()}
    )
    return read_survey(frame, roles={r: r for r in known if r in frame.columns}, **codebook_keys)


def small_survey(n: int = 400, *, seed: int = 0, origins: int = 12) -> Survey:
    """`small_frame`, read; weighted, in origins, households and regions."""
    return survey_of(small_frame(n, seed=seed, origins=origins))


def theory(persons: str = "female + education + wealth", **keys: Any) -> ModelSpec:
    """A theory of stay, internal and international; effects of origins unless said.

    ``theory("female", groups=[])``; ``theory(utility={...})`` replaces ``persons``.
    """
    keys.setdefault("choice", {"alternatives": list(ALTERNATIVES), "base": "stay"})
    keys.setdefault("utility", {"persons": persons})
    keys.setdefault("groups", [{"by": "origin"}])
    return ModelSpec.model_validate({"name": "small", **keys})


def small_design(
    persons: str = "female + education + wealth", *, survey: Survey | None = None, **keys: Any
) -> Design:
    """`theory` on `small_survey`, or on another survey."""
    return build_design(theory(persons, **keys), small_survey() if survey is None else survey)


def fabricated(
    design: Design,
    *,
    centre: Mapping[str, Any] | None = None,
    spread: float = 0.1,
    chains: int = 4,
    draws: int = 250,
    seed: int = 0,
    survey: Survey | None = None,
    prior: bool = False,
    r_hat: float = 1.0,
    divergences: int = 0,
) -> Posterior:
    """A posterior with made-up draws around known parameters.

    Parameters
    ----------
    design
        Theory × survey.
    centre
        Parameter (``beta``, ``beta_only``, ``gamma``, ``u_*``, ``sigma_*``, ``corr_*``)
        -> its centre. Left out: the centre of its prior, effects 0, scales 0.5, no
        correlation.
    spread
        Standard deviation of the independent normal draws (of the logarithm for
        scales; of free correlation coordinates for correlations).
    chains, draws, seed
        Every chain holds the same quantiles in another order, so that chains agree.
    survey
        Kept with the posterior, for columns beside those of the theory.
    prior
        Whether there are draws from the prior too.
    r_hat, divergences
        What the diagnostics say; they are made up too, and pass as they are.
    """
    rng = np.random.default_rng(seed)
    centre = _centres(design) | {k: np.asarray(v, dtype=float) for k, v in (centre or {}).items()}
    dims = parameter_dims(design)
    strange = set(centre) - set(dims)
    assert not strange, f"not parameters of this design: {strange}"
    quantiles = _normal_quantiles(draws)

    def noise(shape: tuple[int, ...]) -> np.ndarray:
        order = rng.random((chains, draws, *shape)).argsort(axis=1)
        return spread * quantiles[order]

    named = {}
    for name in dims:
        at = centre[name]
        if name == "feasibility":
            moved = at + noise(at.shape)
            sign = design.feasibility.sign
            named[name] = np.where(sign == 0, moved, sign * np.abs(moved))
        elif name == "turning_point":
            named[name] = 0.5 / named["hump_bend"]
        elif name in ("half_saturation", "hill_exponent", "hump_bend"):
            named[name] = at * np.exp(noise(at.shape))
        elif name == "lambda_nest":
            named[name] = at ** np.exp(noise(at.shape))
        elif name.startswith("sigma_"):
            named[name] = at * np.exp(noise(at.shape))
        elif name.startswith("corr_"):
            named[name] = _correlations(at, noise)
        else:
            named[name] = at + noise(at.shape)
    posterior = xr.Dataset(
        {name: (("chain", "draw", *of), named[name]) for name, of in dims.items()},
        {"chain": np.arange(chains), "draw": np.arange(draws), **parameter_coords(design)},
    )
    groups = {
        "posterior": posterior,
        "sample_stats": _stats(rng, chains, draws, divergences),
        "observed_data": xr.Dataset({"choice": ("obs", design.choice)}),
        "constant_data": design.to_dataset(),
        "diagnostics": _diagnostics(posterior, r_hat, divergences),
    }
    if prior:
        groups["prior"] = prior_draws(design, seed=seed, draws=draws)
    provenance = Provenance(
        seed=seed,
        chains=chains,
        draws=draws,
        tune=draws,
        target_accept=0.8,
        method="nuts",
        route="fabricated",
        reason="was asked for",
        precision="double",
        numbers={},
        versions={"bayesmig": "0"},
        survey=design.survey_fingerprint,
        design=design.fingerprint,
        spec="spec",
        seconds=0.0,
        created="2000-01-01T00:00:00+00:00",
        warnings=design.support.warnings,
    )
    return Posterior(design, xr.DataTree.from_dict(groups), provenance, survey)


def _centres(design: Design) -> dict[str, np.ndarray]:
    blocks = {"beta": "persons", "beta_only": "only", "gamma": "alternatives"}
    coords = parameter_coords(design)
    found = {}
    for name, dims in parameter_dims(design).items():
        shape = tuple(len(coords[d]) for d in dims)
        if name in blocks:
            found[name] = design.priors[blocks[name]].loc.astype(float)
        elif name.startswith("corr_"):
            found[name] = np.eye(shape[0])
        elif name == "lambda_nest":
            found[name] = np.full(shape, 0.5)
        elif name == "feasibility":
            sign = design.feasibility.sign
            found[name] = np.where(sign == 0, design.feasibility.loc, 0.5 * sign)
        elif name == "half_saturation":
            found[name] = (design.responses.low + design.responses.high) / 2
        elif name == "hill_exponent":
            found[name] = np.full(shape, 2.0)
        elif name == "hump_bend":
            found[name] = 0.5 / design.responses.top
        else:
            found[name] = np.full(shape, 0.5 if name.startswith("sigma_") else 0.0)
    return found


def _normal_quantiles(n: int) -> np.ndarray:
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])


def _correlations(centre: np.ndarray, noise: Any) -> np.ndarray:
    """Correlation matrices around one: rows of its Cholesky factor, moved and rescaled."""
    factor = np.linalg.cholesky(centre)
    moved = factor / np.diag(factor)[:, None] + np.tril(noise(centre.shape), -1)
    moved = moved / np.linalg.norm(moved, axis=-1, keepdims=True)
    corr = moved @ np.swapaxes(moved, -1, -2)
    corr[..., range(len(centre)), range(len(centre))] = 1.0
    return corr


def _stats(rng: np.random.Generator, chains: int, draws: int, divergences: int) -> xr.Dataset:
    diverging = np.zeros((chains, draws), dtype=bool)
    diverging[0, :divergences] = True
    dims = ("chain", "draw")
    return xr.Dataset(
        {"diverging": (dims, diverging), "energy": (dims, rng.normal(size=(chains, draws)))},
        {"chain": np.arange(chains), "draw": np.arange(draws)},
    )


def _diagnostics(posterior: xr.Dataset, r_hat: float, divergences: int) -> xr.Dataset:
    labels = [label for label, values in labelled_draws(posterior) if np.ptp(values) > 0]
    chains, size = posterior.sizes["chain"], posterior.sizes["chain"] * posterior.sizes["draw"]
    per_chain = np.zeros(chains, dtype=np.int64)
    per_chain[0] = divergences
    return xr.Dataset(
        {
            "r_hat": ("parameter", np.full(len(labels), r_hat)),
            "ess_bulk": ("parameter", np.full(len(labels), float(size))),
            "ess_tail": ("parameter", np.full(len(labels), float(size))),
            "divergences": ("chain", per_chain),
            "bfmi": ("chain", np.ones(chains)),
        },
        {"parameter": labels},
    )
