from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import xarray as xr

from bayesmig.checks.convergence import convergence
from bayesmig.inference.diagnostics import diagnose
from bayesmig.posterior import Posterior
from tests.fabricate import fabricated, small_design


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return fabricated(small_design("female + wealth"), draws=500)


def with_diagnostics(posterior: Posterior, **values: object) -> Posterior:
    """The posterior with the first diagnostics set."""
    found = posterior.data["diagnostics"].to_dataset().copy(deep=True)
    for name, value in values.items():
        found[name][0] = value
    tree = posterior.data.copy()
    tree["diagnostics"] = xr.DataTree(found)
    return replace(posterior, data=tree)


def sampled(
    posterior: Posterior,
    seed: int,
    stuck: str = "",
    constant: Mapping[str, float] = MappingProxyType({}),
) -> Posterior:
    """Independent normal draws, diagnosed; one chain of a parameter may be stuck.

    ``constant`` holds values that the first parameter of a name never leaves.
    """
    rng = np.random.default_rng(seed)
    draws = posterior.draws.copy(deep=True)
    for name in draws.data_vars:
        draws[name].data = rng.normal(size=draws[name].shape)
    if stuck:
        chain = draws[stuck].data[0]
        chain[..., :1] = 1.0 + 0.01 * rng.normal(size=chain[..., :1].shape)
    for name, value in constant.items():
        draws[name].data.reshape(*posterior.n_draws, -1)[:, :, 0] = value
    stats = posterior.data["sample_stats"].to_dataset()
    tree = posterior.data.copy()
    tree["posterior"] = xr.DataTree(draws)
    tree["diagnostics"] = xr.DataTree(diagnose(draws, stats))
    return replace(posterior, data=tree)


def test_sound_draws_pass_and_numbers_are_named(posterior: Posterior) -> None:
    result = convergence(posterior)
    assert result.passed is True
    assert "4 chains of 500" in result.text
    assert "largest R-hat 1.0000" in result.text
    assert len(result.table) == 20
    assert result.table["passed"].all()


@pytest.mark.parametrize("seed", range(3))
def test_no_false_alarm_on_independent_draws(posterior: Posterior, seed: int) -> None:
    assert convergence(sampled(posterior, seed)).passed is True


@pytest.mark.parametrize("value", [0.3, np.nan])
@pytest.mark.parametrize("name", ["beta", "u_origin", "sigma_origin"])
def test_a_parameter_that_never_moves_is_a_problem(
    posterior: Posterior, name: str, value: float
) -> None:
    result = convergence(sampled(posterior, 0, constant={name: value}))
    assert result.passed is False
    assert result.table["parameter"][0].startswith(f"{name}[")


@pytest.mark.parametrize("name", ["beta", "u_origin", "sigma_origin"])
def test_stuck_chain_is_flagged_and_named_first(posterior: Posterior, name: str) -> None:
    result = convergence(sampled(posterior, 0, stuck=name))
    assert result.passed is False
    assert result.table["parameter"][0].startswith(name)
    assert not result.table["passed"][0]
    assert "R-hat > 1.01" in result.text
    assert "have not converged" in result.text


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("r_hat", 1.011, "R-hat > 1.01"),
        ("r_hat", np.nan, "cannot be computed"),
        ("ess_bulk", 399.0, "bulk ESS < 400"),
        ("ess_tail", 399.0, "tail ESS < 400"),
        ("ess_tail", np.nan, "cannot be computed"),
        ("divergences", 1, "1 divergences"),
        ("bfmi", 0.3, "E-BFMI 0.30"),
        ("bfmi", np.nan, "E-BFMI cannot be computed"),
    ],
)
def test_each_rule_fails_alone(posterior: Posterior, name: str, value: float, word: str) -> None:
    result = convergence(with_diagnostics(posterior, **{name: value}))
    assert result.passed is False
    assert word in result.text


@pytest.mark.parametrize(("name", "value"), [("r_hat", 1.01), ("ess_bulk", 400.0)])
def test_the_bound_itself_passes(posterior: Posterior, name: str, value: float) -> None:
    result = convergence(with_diagnostics(posterior, **{name: value}))
    assert result.passed is True
    assert result.table["passed"].all()


def test_one_chain_is_not_enough() -> None:
    posterior = fabricated(small_design("female", groups=[]), chains=1, draws=500)
    silent = with_diagnostics(posterior)
    silent.data["diagnostics"]["r_hat"][:] = np.nan
    result = convergence(silent)
    assert result.passed is False
    assert "one chain" in result.text
