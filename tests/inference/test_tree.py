"""Draws are laid out and labelled alike, whatever route they came by."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import xarray as xr

from bayesmig.inference.layout import parameter_coords, parameter_dims
from bayesmig.inference.routes import Method, fit
from bayesmig.posterior import Posterior
from tests.fabricate import small_survey, theory

METHODS: tuple[Method, ...] = ("surrogate", "nuts", "graph", "plain", "preview")
WEIGHTED = ("surrogate", "preview")
#: Weighted draws must be worth 400; chains may be as short as they are allowed to be.
CHAINS, MANY, FEW = 2, 300, 12


@cache
def by(method: Method) -> Posterior:
    options = {"draws": MANY} if method in WEIGHTED else {"draws": FEW, "tune": 12}
    survey = small_survey(600, origins=10)
    return fit(
        theory("female"), survey, seed=1, method=method, chains=CHAINS, prior=True, progress=False,
        **options,
    )  # fmt: skip


def group(method: Method, name: str) -> xr.Dataset:
    return by(method).data[name].to_dataset()


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("method", METHODS)
def test_trees_have_the_same_groups_dimensions_and_labels(method: Method) -> None:
    posterior = by(method)
    design = posterior.design
    assert set(posterior.data.children) == {
        "posterior", "prior", "sample_stats", "observed_data", "constant_data", "diagnostics"
    }  # fmt: skip
    draws, dims = posterior.draws, parameter_dims(design)
    assert {str(name): of.dims for name, of in draws.items()} == {
        name: ("chain", "draw", *of) for name, of in dims.items()
    }
    assert all(of.dtype == np.float64 for of in draws.values())
    wanted = parameter_coords(design)
    number = MANY if method in WEIGHTED else FEW
    wanted |= {"chain": list(range(CHAINS)), "draw": list(range(number))}
    assert {str(name): of.to_numpy().tolist() for name, of in draws.coords.items()} == wanted
    stats = group(method, "sample_stats")
    assert all(of.dims == ("chain", "draw") for of in stats.values())
    assert stats.chain.identical(draws.chain)
    assert stats.draw.identical(draws.draw)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("method", METHODS[1:])
def test_what_does_not_depend_on_the_route_is_the_same(method: Method) -> None:
    first = METHODS[0]
    for name in ("observed_data", "constant_data"):
        assert group(method, name).identical(group(first, name)), name
    prior, other = (group(of, "prior").isel(draw=0) for of in (method, first))
    assert prior.coords.to_dataset().identical(other.coords.to_dataset())
    assert {name: of.dims for name, of in prior.items()} == {
        name: of.dims for name, of in other.items()
    }
    found, known = group(method, "diagnostics"), group(first, "diagnostics")
    assert found.parameter.identical(known.parameter)
    both = ("r_hat", "ess_bulk", "ess_tail")
    assert all(found[name].dims == ("parameter",) for name in both)
    alone = {"pareto_k", "weight_ess"} if method in WEIGHTED else {"divergences", "bfmi"}
    assert set(found.data_vars) == {*both, *alone}
