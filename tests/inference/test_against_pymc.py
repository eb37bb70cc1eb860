"""Every route agrees with a long run of the plain PyMC model, within Monte-Carlo error.

Per parameter, the difference of two means, of two standard deviations, and of two 5 % and
95 % quantiles is divided by its Monte-Carlo error. Where the routes agree, these numbers
have a standard deviation of one. What is asserted of each design and route:

- The root mean square of the means' lies within 0.8 and 1.3. It is taken over some hundred
  parameters and more, most of them effects of groups, so that it scatters by about 0.05.
  Effects enter as the groups' own constants (constant plus effect) where they go with a
  constant: errors of the constant would otherwise be in all effects at once, and the
  number of things that are compared be one rather than a hundred.
- The median ratio of standard deviations is within 5 % of one. Of a single one that cannot be
  told: to know it within 5 % takes some 13,000 effective draws, of which the worst known
  parameters have several hundred. Every single ratio is therefore within 5 % beyond a band of
  four Monte-Carlo errors, and the band is asserted to be narrower than `WIDEST` for all, and than
  `USUAL` for most.
- Standard deviations and quantiles are within Monte-Carlo error: root mean squares below 1.3.
- None of all these numbers is larger than one in a thousand comparisons of as many
  standard normal ones would have it.

Parameters are not independent: the scale of what hardly anyone chooses moves a hundred effects at
once, so that where its mean is off by two Monte-Carlo errors, as it is for one seed in twenty, so
are they all. What is out is therefore asked of another seed too, and only what both have counts:
a wrong density is wrong with every seed.

A preview, and a fit of a theory with another prior, must fail here by the same rule, and do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesmig.design.design import build_design
from bayesmig.errors import InferenceError
from bayesmig.inference import approximate
from bayesmig.inference.approximate import Proposal, Weighted
from bayesmig.inference.density import Density
from bayesmig.inference.graph import to_pymc
from bayesmig.inference.layout import parameter_dims
from bayesmig.inference.refine import refined
from bayesmig.inference.routes import fit
from bayesmig.posterior import MAX_QUADRATURE_ERROR, Posterior, labelled_draws
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey
from tests.fabricate import ALTERNATIVES, survey_of, theory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS"),
]
PROBS = (0.05, 0.95)
#: Four Monte-Carlo errors of a ratio of standard deviations, of any and of the median parameter.
WIDEST, USUAL = 0.15, 0.1
#: Weighted draws of each pseudo-chain: cheap, and where weights vary some stand several times.
WEIGHTED = 8000
SLOPES = {
    "female": (0.3, -0.6),
    "wealth": (0.25, 0.5),
    "education": (0.2, -0.1),
}


# ----------------------------------------------------------------------------- designs


@dataclass(frozen=True)
class World:
    """A survey by design, and the groups of the theory that is fitted to it.

    Attributes
    ----------
    sizes
        Persons of each origin.
    asc
        Constants of the internal and the international alternative.
    sigma, corr
        Of the effects of origins, by these alternatives.
    columns
        Correlation of wealth and education.
    slopes, homes
        Standard deviation of slopes of wealth by origin, and of effects of households.
    draws
        Of each of four chains of the plain model.
    times
        As many draws of ours on the map as elsewhere.
    """

    sizes: tuple[int, ...]
    asc: tuple[float, float] = (-1.0, -1.6)
    sigma: tuple[float, float] = (0.5, 0.7)
    corr: float = 0.2
    columns: float = 0.3
    slopes: float = 0.0
    homes: float = 0.0
    draws: int = 2000
    times: int = 1


def balanced(n: int, origins: int) -> tuple[int, ...]:
    return (n // origins,) * origins


def unbalanced(n: int, origins: int, power: float) -> tuple[int, ...]:
    """From nearly half of all down to a few."""
    share = np.arange(1, origins + 1) ** -power
    return tuple(np.maximum(1, np.round(n * share / share.sum())).astype(int).tolist())


WORLDS = {
    "balanced": World(balanced(2_000, 100)),
    "unbalanced": World(unbalanced(20_000, 150, 1.5), draws=2500),
    "rare": World(balanced(20_000, 100), asc=(-1.0, -5.05), draws=2500),
    "correlated": World(balanced(2_000, 100), sigma=(0.9, 0.9), corr=0.95, columns=0.95),
    "slopes": World(balanced(2_000, 100), slopes=0.5, draws=4000),
    "households": World(balanced(2_100, 50), homes=0.8, draws=8000, times=3),
    # So few rows are looped over in double precision.
    "small": World(balanced(1_500, 75)),
    # So many groups of few rows have refined coordinates and two pairs of candidates each.
    "many": World(balanced(6_000, 600), draws=2500),
    # So many rows in every group have one candidate each, by the map's own expansion.
    "wide": World(balanced(20_000, 20)),
    # Scales of what hardly anyone chooses mix slowly in the plain model.
    "rare households": World(balanced(2_100, 50), asc=(-1.0, -5.0), homes=0.8, draws=6000),
}

#: Worlds in which weighted draws will do.
TAKEN = ("balanced", "unbalanced", "correlated", "slopes", "small", "many", "wide")


@cache
def world(name: str) -> tuple[ModelSpec, Survey]:
    """A theory, and a survey that it is true of."""
    of, rng = WORLDS[name], np.random.default_rng(11)
    origin = np.repeat(np.arange(len(of.sizes)), of.sizes)
    n = len(origin)
    root = np.linalg.cholesky([[1.0, of.corr], [of.corr, 1.0]])
    columns = rng.multivariate_normal([0, 0], [[1, of.columns], [of.columns, 1]], n)
    frame = pd.DataFrame(
        {
            "person": np.arange(n),
            "origin": [f"o{g:03d}" for g in origin],
            "household": [f"h{g:04d}" for g in np.arange(n) // 3],
            "female": rng.integers(2, size=n),
            "wealth": columns[:, 0],
            "education": columns[:, 1],
        }
    )
    odds = of.asc + (rng.normal(size=(len(of.sizes), 2)) @ root.T * of.sigma)[origin]
    odds = odds + of.slopes * rng.normal(size=(len(of.sizes), 2))[origin] * columns[:, :1]
    odds = odds + of.homes * rng.normal(size=(n, 2))[np.arange(n) // 3]
    for column, slopes in SLOPES.items():
        odds = odds + np.outer(frame[column], slopes)
    utility = np.column_stack([np.zeros(n), odds]) + rng.gumbel(size=(n, 3))
    frame["choice"] = np.array(ALTERNATIVES)[utility.argmax(axis=1)]
    groups = [{"by": "origin", "terms": "1 + wealth" if of.slopes else "1"}]
    if of.homes:
        groups.append({"by": "household"})
    return theory(" + ".join(SLOPES), groups=groups), survey_of(frame)


def test_the_designs_are_what_they_are_called() -> None:
    rows = {name: sum(of.sizes) for name, of in WORLDS.items()}
    assert rows["small"] < 2_000 <= min(n for name, n in rows.items() if name != "small")
    assert max(WORLDS["unbalanced"].sizes) > 1_000 * min(WORLDS["unbalanced"].sizes)
    _, survey = world("rare")
    assert 0.004 < (survey.frame["choice"] == "international").mean() < 0.006
    rare = world("rare households")[1].frame["choice"]
    assert 0.004 < (rare == "international").mean() < 0.016
    frame = world("households")[1].frame
    assert len(frame[["household", "origin"]].drop_duplicates()) == frame["household"].nunique()


def test_many_groups_have_coordinates_and_candidates_of_their_own() -> None:
    density = Density(build_design(*world("many")), "single")
    assert refined(density) is not density
    assert Proposal(density, 0, renews=True).pairs == 2
    for name in ("small", "balanced"):
        density = Density(build_design(*world(name)))
        assert refined(density) is density


# ------------------------------------------------------------------------ draws in numbers


@dataclass(frozen=True)
class Numbers:
    """Of every parameter: mean, sd and quantiles, and the Monte-Carlo errors of these."""

    labels: list[str]
    value: np.ndarray
    error: np.ndarray

    @property
    def least_ess(self) -> float:
        return float(np.square(self.value[1] / self.error[0]).min())


def numbers(draws: xr.Dataset, multiplicity: np.ndarray | None = None) -> Numbers:
    """Of chains; of resampled draws, where it is said how often each one's source stands."""
    labels, found = [], []
    for label, values in parameters(draws):
        labels.append(label)
        errors = of_chains(values) if multiplicity is None else of_weights(values, multiplicity)
        found.append(((values.mean(), values.std(), *np.quantile(values, PROBS)), errors))
    value, error = np.array(found).transpose(1, 2, 0)
    return Numbers(labels, value, error)


def parameters(draws: xr.Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """All that vary, once each; effects that go with a constant as the sum with it."""
    draws = draws.copy()
    asc = draws["beta"].sel(coefficient="asc", drop=True)
    draws["u_origin"] = draws["u_origin"] + asc * (draws["origin_term"] == "asc")
    for label, values in labelled_draws(draws):
        name, _, inside = label.partition("[")
        one, _, other = inside.removesuffix("]").partition(", ")
        if not name.startswith("corr_") or one < other:
            yield label, values


def of_chains(values: np.ndarray) -> tuple[float, ...]:
    from arviz_stats.base import array_stats

    def error(**which: Any) -> float:
        return float(array_stats.mcse(values, chain_axis=0, draw_axis=1, **which))

    return (
        error(method="mean"),
        error(method="sd"),
        *(error(method="quantile", prob=prob) for prob in PROBS),
    )


def of_weights(values: np.ndarray, multiplicity: np.ndarray) -> tuple[float, ...]:
    """Of independent draws, some of which stand several times (Geweke 1989)."""
    x, times = values.ravel(), multiplicity.ravel()
    square = np.square(x - x.mean())

    def error(of: np.ndarray) -> float:
        gap = np.square(of - of.mean())
        return float(np.sqrt((times * gap).sum()) / len(x))

    errors = [error(x), error(square) / (2 * x.std())]
    for prob in PROBS:
        at = np.quantile(x, prob)
        beside = error((x <= at).astype(float))
        # Over more than one error: a few draws that stand often would make steps of it.
        low, high = np.quantile(x, [max(prob - 3 * beside, 0.0), min(prob + 3 * beside, 1.0)])
        errors.append(float(high - low) / 6)
    return tuple(errors)


def disagreements(found: Numbers, reference: Numbers) -> dict[str, float]:
    """What of the assertions of this module does not hold, with the number that is out."""
    assert found.labels == reference.labels
    z = (found.value - reference.value) / np.hypot(found.error, reference.error)
    mean, sd, low, high = np.sqrt(np.square(z).mean(axis=1))
    ratio = found.value[1] / reference.value[1]
    error = np.hypot(*(of.error[1] / of.value[1] for of in (found, reference)))
    band = 4 * error
    beyond = (np.abs(ratio - 1) - band).max()
    middle = float(np.median(ratio))
    largest, most = float(np.abs(z).max()), NormalDist().inv_cdf(1 - 0.001 / (2 * z.size))
    out = {
        "means": (mean, 0.8 <= mean <= 1.3),
        "sds": (middle, abs(middle - 1) < 0.05),
        "one sd": (beyond, beyond < 0.05),
        "widest band": (band.max(), band.max() < WIDEST),
        "usual band": (np.median(band), np.median(band) < USUAL),
        "sds beside their errors": (sd, sd < 1.3),
        "5 % quantiles": (low, low < 1.3),
        "95 % quantiles": (high, high < 1.3),
        "one difference": (largest, largest < most),
    }
    return {name: float(number) for name, (number, holds) in out.items() if not holds}


# -------------------------------------------------------------------------------- routes


@cache
def reference(name: str) -> Numbers:
    """A long run of the plain model, with seeds of its own."""
    import nutpie

    compiled = nutpie.compile_pymc_model(to_pymc(*world(name)))
    found = nutpie.sample(
        compiled,
        draws=WORLDS[name].draws,
        tune=500,
        chains=4,
        seed=8,
        target_accept=0.95,
        progress_bar=False,
    )
    # Where a scale may be zero, one of some thousands diverges whatever the step.
    assert found["sample_stats"]["diverging"].mean() < 1e-3
    names = list(parameter_dims(build_design(*world(name))))
    return numbers(found["posterior"].to_dataset()[names])


def drawn(name: str, method: str) -> int:
    """Draws of each of our chains; without the map effects of households mix slowly."""
    if method == "graph":
        return 8000 if WORLDS[name].homes else 4000
    return 3000 * WORLDS[name].times


def by_route(
    spec: ModelSpec,
    survey: Survey,
    method: Any,
    keep: Path | None = None,
    draws: int = 3000,
    first: int = 5,
) -> tuple[Posterior, Numbers]:
    # Near scales of zero steps diverge at 0.8, and the posterior says so and how to mend it. Now
    # and then a chain lingers there: it says that too, and another seed is taken.
    accept = 0.95 if method == "graph" and len(spec.groups) > 1 else None
    for seed in range(first, first + 3):
        posterior = fit(
            spec, survey, seed=seed, method=method, draws=draws, keep=keep, progress=False,
            target_accept=accept,
        )  # fmt: skip
        if accept is None or not posterior.problems():
            break
    stats = posterior.data["sample_stats"].to_dataset()
    if "proposal" not in stats:
        return posterior, numbers(posterior.draws)
    proposal = stats["proposal"].to_numpy()
    _, of, times = np.unique(proposal, return_inverse=True, return_counts=True)
    return posterior, numbers(posterior.draws, times[of].reshape(proposal.shape))


def lasting(
    found: Numbers, name: str, spec: ModelSpec, survey: Survey, method: str, draws: int
) -> dict[str, float]:
    """What disagrees with the plain model, and does so with another seed too."""
    out = disagreements(found, reference(name))
    if not out:
        return {}
    _, other = by_route(spec, survey, method, draws=draws, first=25)
    return {what: out[what] for what in out.keys() & disagreements(other, reference(name))}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chains that two tests ask for."""
    return tmp_path_factory.mktemp("chains")


@pytest.mark.parametrize(("name", "method"), [*product(WORLDS, ("nuts", "graph"))])
def test_chains_agree_with_the_plain_model(name: str, method: str, kept: Path) -> None:
    draws = drawn(name, method)
    posterior, found = by_route(*world(name), method, kept, draws)
    assert posterior.provenance.precision == ("double" if name == "small" else "single")
    assert min(found.least_ess, reference(name).least_ess) > 300
    assert not posterior.problems() or (method == "graph" and not WORLDS[name].homes)
    assert lasting(found, name, *world(name), method, draws) == {}


def test_one_world_is_fitted_with_effects_integrated_out(kept: Path) -> None:
    for name in ("households", "rare households"):
        posterior, _ = by_route(*world(name), "nuts", kept, drawn(name, "nuts"))
        integrated = "integrated out" in posterior.provenance.route
        assert integrated == (name == "rare households")
    assert posterior.provenance.numbers["quadrature_error"] < MAX_QUADRATURE_ERROR


@pytest.mark.parametrize("name", WORLDS)
def test_weighted_draws_are_taken_here_and_refused_there(name: str) -> None:
    if name in TAKEN:
        posterior, _ = by_route(*world(name), "surrogate")
        assert "weighted" in posterior.provenance.route
    else:
        with pytest.raises(InferenceError, match="will not do"):
            by_route(*world(name), "surrogate")


def test_one_world_has_draws_by_the_expansion_of_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """In others the effects' own expansion is renewed at every draw."""
    usual, renewed = approximate._drawn, []

    def looked_at(sampler: Proposal, *arguments: Any) -> Weighted:
        renewed.append(sampler.renews)
        return usual(sampler, *arguments)

    monkeypatch.setattr(approximate, "_drawn", looked_at)
    by_route(*world("wide"), "surrogate")
    assert not any(renewed)
    assert renewed
    by_route(*world("balanced"), "surrogate")
    assert renewed[-1]


@pytest.mark.parametrize("name", TAKEN)
def test_weighted_draws_agree_with_the_plain_model(name: str) -> None:
    auto, _ = by_route(*world(name), "auto", draws=WEIGHTED)
    weighted, found = by_route(*world(name), "surrogate", draws=WEIGHTED)
    assert auto.provenance.route == weighted.provenance.route
    assert auto.draws.equals(weighted.draws)
    assert lasting(found, name, *world(name), "surrogate", WEIGHTED) == {}


@pytest.mark.parametrize("name", [name for name in WORLDS if name not in TAKEN])
def test_where_they_are_refused_chains_take_over(name: str, kept: Path) -> None:
    auto, _ = by_route(*world(name), "auto", kept, drawn(name, "auto"))
    nuts, _ = by_route(*world(name), "nuts", kept, drawn(name, "nuts"))
    assert auto.provenance.route == nuts.provenance.route
    assert auto.provenance.reason != nuts.provenance.reason
    assert auto.draws.equals(nuts.draws)


# -------------------------------------------------------------------------- wrong worlds


@pytest.mark.parametrize("name", ["balanced", "rare"])
def test_a_preview_is_seen_to_disagree(name: str) -> None:
    posterior, found = by_route(*world(name), "preview")
    assert posterior.is_preview
    assert "means" in disagreements(found, reference(name))


def test_another_prior_is_seen_to_disagree() -> None:
    spec, survey = world("balanced")
    priors = theory(priors={"scale": {"scale": 0.3}}).priors
    other = spec.model_copy(update={"priors": priors})
    _, found = by_route(other, survey, "nuts")
    assert "means" in lasting(found, "balanced", other, survey, "nuts", 3000)
