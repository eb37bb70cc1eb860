"""Draws from the prior, and its density, are those that the theory states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError
from bayesmig.inference.layout import parameter_dims
from bayesmig.inference.prior import log_prior, prior_draws
from bayesmig.posterior import OF_GROUPS
from tests.fabricate import theory
from tests.inference.test_beyond_logit import BEYOND
from tests.inference.theories import THEORIES, design_of, wide_survey
from tests.quick import some_quick

DRAWS = 20_000
#: One in a thousand of right samplers would fail; seeds are fixed.
LEVEL = 1e-3
BLOCKS = {"beta": "persons", "beta_only": "only", "gamma": "alternatives"}


def drawn(design: Design, draws: int = DRAWS) -> dict[str, np.ndarray]:
    found = prior_draws(design, seed=11, draws=draws)
    return {str(k): v.to_numpy()[0] for k, v in found.data_vars.items()}


def stated(kind: int, loc: float, scale: float, df: float) -> Any:
    return [None, stats.norm(loc, scale), stats.t(df, loc, scale), stats.laplace(loc, scale)][kind]


@pytest.mark.parametrize("name", ["student_t", "laplace", "only", "attributes", "everything"])
def test_coefficients(name: str) -> None:
    design = design_of(name)
    draws = drawn(design)
    for parameter, block in BLOCKS.items():
        prior = design.priors[block]
        for index in np.ndindex(prior.loc.shape):
            expected = stated(*(getattr(prior, k)[index] for k in ("dist", "loc", "scale", "df")))
            assert stats.kstest(draws[parameter][:, *index], expected.cdf).pvalue > LEVEL


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ({"dist": "exponential", "scale": 0.8}, stats.expon(scale=0.8)),
        ({"dist": "half_normal", "scale": 0.8}, stats.halfnorm(scale=0.8)),
        ({"dist": "half_student_t", "scale": 0.8, "df": 3.0}, stats.t(3.0, scale=0.8)),
    ],
)
@pytest.mark.parametrize("correlated", [True, False])
def test_scales(prior: dict[str, Any], expected: Any, correlated: bool) -> None:
    spec = theory(groups=[{"by": "region", "correlated": correlated}], priors={"scale": prior})
    sigma = drawn(build_design(spec, wide_survey()))["sigma_region"]
    if prior["dist"] == "half_student_t":
        whole, expected = expected, None
        folded = lambda x: 2 * whole.cdf(x) - 1  # noqa: E731
    for j in range(2):
        cdf = folded if expected is None else expected.cdf
        assert stats.kstest(sigma[:, j, 0], cdf).pvalue > LEVEL


@pytest.mark.parametrize("eta", [0.7, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(("terms", "width"), [("1", 2), ("1 + wealth", 4)])
def test_correlations_have_beta_marginals(eta: float, terms: str, width: int) -> None:
    """Lewandowski, Kurowicka and Joe 2009: each is a Beta(eta - 1 + width / 2) on (-1, 1)."""
    spec = theory(groups=[{"by": "region", "terms": terms}], priors={"correlation": {"eta": eta}})
    corr = drawn(build_design(spec, wide_survey()), 6000)["corr_region"]
    shape = eta - 1 + width / 2
    marginal = stats.beta(shape, shape, loc=-1, scale=2)
    for i in range(width):
        np.testing.assert_array_equal(corr[:, i, i], 1.0)
        for j in range(i):
            assert stats.kstest(corr[:, i, j], marginal.cdf).pvalue > LEVEL
            np.testing.assert_array_equal(corr[:, i, j], corr[:, j, i])


@pytest.mark.parametrize("name", ["four_correlated", "uncorrelated"])
def test_effects_have_their_scales_and_correlations(name: str) -> None:
    design = design_of(name)
    draws = drawn(design, 3000)
    sigma = draws["sigma_origin"].reshape(3000, -1)
    corr = draws.get("corr_origin", np.eye(sigma.shape[1]))
    effects = draws["u_origin"].reshape(3000, -1, sigma.shape[1]) / sigma[:, None]
    standard = np.linalg.solve(np.linalg.cholesky(corr), effects.swapaxes(1, 2))
    for row in range(sigma.shape[1]):
        assert stats.kstest(standard[:, row].ravel(), stats.norm.cdf).pvalue > LEVEL
    pooled = standard.swapaxes(0, 1).reshape(sigma.shape[1], -1)
    np.testing.assert_allclose(np.corrcoef(pooled), np.eye(sigma.shape[1]), atol=0.03)


@pytest.mark.parametrize("name", sorted(set(THEORIES) - {"flat", "a_prior_each"}))
def test_they_are_labelled_as_the_posterior_is(name: str) -> None:
    design = design_of(name)
    found = prior_draws(design, seed=0, draws=10)
    dims = parameter_dims(design)
    assert list(found.data_vars) == list(dims)
    for parameter, of in dims.items():
        assert found[parameter].dims == ("chain", "draw", *of)
        assert np.isfinite(found[parameter]).all()


def test_a_seed_is_repeatable_and_another_differs() -> None:
    design = design_of("everything")
    first, again, other = (prior_draws(design, seed=s, draws=20) for s in (1, 1, 2))
    assert first.identical(again)
    assert not np.array_equal(first["beta"], other["beta"])


@pytest.mark.parametrize("name", ["flat", "a_prior_each"])
def test_nothing_is_drawn_from_a_flat_prior(name: str) -> None:
    with pytest.raises(InferenceError, match="flat") as raised:
        prior_draws(design_of(name), seed=0, draws=10)
    assert raised.value.mend


@pytest.mark.slow
@pytest.mark.parametrize("name", ["everything", "four_correlated", "half_t_scales", "only"])
def test_pymc_draws_from_the_same_prior(name: str) -> None:
    import pymc as pm
    import pytensor

    from bayesmig.inference.graph import build_graph

    design = design_of(name)
    with (
        build_graph(design),
        pytensor.config.change_flags(mode=pytensor.compile.mode.Mode("py", None)),
    ):
        theirs = pm.sample_prior_predictive(
            2000, var_names=list(parameter_dims(design)), random_seed=3
        )
    ours = drawn(design, 2000)
    for parameter, values in ours.items():
        other = theirs["prior"][parameter].to_numpy()[0]
        assert other.shape == values.shape
        cells = list(np.ndindex(values.shape[1:]))
        for index in cells[:: max(1, len(cells) // 20)]:
            if np.ptp(values[:, *index]) > 0:
                p = stats.ks_2samp(values[:, *index], other[:, *index]).pvalue
                assert p > LEVEL, (parameter, index)


# -------------------------------------------------------------------------- the density


def measure(design: Design, named: dict[str, np.ndarray]) -> float:
    """Log volume between PyMC's Cholesky factors of covariances and scales with correlations."""
    total = 0.0
    for name, corr in named.items():
        if not name.startswith("corr_"):
            continue
        sd = named[name.replace("corr_", "sigma_")].ravel()
        diagonal, n = np.diag(np.linalg.cholesky(corr)), len(corr)
        k = np.arange(n)
        total += ((n - k) * np.log(diagonal) - k * np.log(sd)).sum()
    return float(total)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize(
    "name", some_quick([*THEORIES, *BEYOND], {"everything", "crossed", "a_prior_each", *BEYOND})
)
def test_the_density_of_what_stands_at_the_top_is_pymcs(name: str) -> None:
    """At random points, over the parameters themselves: no Jacobian of their transforms."""
    from pytensor.compile.mode import Mode

    from bayesmig.inference.graph import build_graph

    spec = {**THEORIES, **BEYOND}[name]
    design = build_design(theory(**spec), wide_survey())
    model = build_graph(design)
    top = [v for v in model.free_RVs if not v.name.startswith("z_")]
    dims = {k: of for k, of in parameter_dims(design).items() if not k.startswith(OF_GROUPS)}
    ours = model.replace_rvs_by_values([model[k] for k in dims])
    theirs = model.compile_fn(
        [model.logp(vars=top, jacobian=False), *ours],
        inputs=model.value_vars,
        mode=Mode(linker="py", optimizer=None),
        point_fn=False,
        on_unused_input="ignore",
    )
    rng, gaps = np.random.default_rng(0), []
    for scale in (0.2, 0.5, 1.0, 1.5):
        point = [scale * rng.normal(size=v.shape) for v in model.initial_point().values()]
        value, *found = theirs(*point)
        named = dict(zip(dims, map(np.asarray, found), strict=True))
        draws = xr.Dataset(
            {k: (("chain", "draw", *dims[k]), v[None, None]) for k, v in named.items()}
        )
        density = log_prior(design, draws)
        assert density.shape == (1, 1)
        gaps.append(float(value) - measure(design, named) - density[0, 0])
    np.testing.assert_allclose(gaps, gaps[0], rtol=0, atol=1e-7)


def test_the_density_of_many_draws_is_that_of_each() -> None:
    design = design_of("everything")
    draws = prior_draws(design, seed=3, draws=6)
    some = draws.drop_vars([k for k in draws.data_vars if str(k).startswith(OF_GROUPS)])
    alone = [log_prior(design, some.isel(draw=[k]))[0, 0] for k in range(6)]
    np.testing.assert_allclose(log_prior(design, draws)[0], alone, rtol=1e-12)
