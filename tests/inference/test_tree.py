"""Draws are laid out and labelled alike, whatever route they came by."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr

import bayesmig as bm
from bayesmig.inference.layout import parameter_coords, parameter_dims
from bayesmig.inference.routes import Method, fit
from bayesmig.posterior import Posterior
from tests.fabricate import small_survey, theory
from tests.quick import some_quick

METHODS: tuple[Method, ...] = ("surrogate", "nuts", "graph", "plain", "preview")
WEIGHTED = ("surrogate", "preview")
#: Weighted draws must be worth 400; chains may be as short as they are allowed to be.
CHAINS, MANY, FEW = 2, 300, 12


THEORIES = {
    "one factor": theory("female"),
    "slopes": theory("female + wealth", groups=[{"by": "origin", "terms": "1 + wealth"}]),
    "groups in groups": theory("female", groups=[{"by": "origin"}, {"by": "region"}]),
}


@cache
def by(method: Method, name: str = "one factor") -> Posterior:
    options = {"draws": MANY} if method in WEIGHTED else {"draws": FEW, "tune": 12}
    survey = small_survey(600, origins=10)
    return fit(
        THEORIES[name], survey, seed=1, method=method, chains=CHAINS, prior=True, progress=False,
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


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("method", ["nuts", "graph", "plain"])
def test_gradients_are_counted_by_their_worth(method: Method) -> None:
    numbers, steps = by(method).provenance.numbers, group(method, "sample_stats")["n_steps"]
    least = float(group(method, "diagnostics")["ess_bulk"].min())
    assert numbers["gradients_per_draw"] == pytest.approx(float(steps.sum()) / (CHAINS * FEW))
    assert numbers["gradients_per_ess"] == pytest.approx(float(steps.sum()) / least)
    assert ("nanoseconds_per_row" in numbers) == (method != "plain")
    assert numbers.get("nanoseconds_per_row", 1.0) > 0


# ---------------------------------------------------- what answers hold but for the numbers


def predicted(posterior: Posterior) -> object:
    return shape_of(bm.predictions(posterior, by="origin", allow_unconverged=True))


def compared(posterior: Posterior) -> object:
    return shape_of(bm.comparisons(posterior, "female", allow_unconverged=True))


def likelihoods(posterior: Posterior) -> object:
    found = bm.log_likelihood(posterior, rows=[0, 5])
    return found.dims, found.dtype, found.coords["obs"].to_numpy().tolist()


def checked(posterior: Posterior) -> object:
    results = bm.check(posterior, allow_unconverged=True)
    # How many rows can be told, where each is left out, depends on the draws.
    return [(r.name, list(r.table.columns)) for r in results]


def shape_of(answer: Any) -> object:
    labels = answer.summary[["alternative"]].to_numpy().tolist()
    header = sorted(set(answer.header) - {"convergence"})
    return list(answer.summary.columns), labels, answer.draws.dims, header


#: Graphs of the others take half a minute each to compile.
NAMES = some_quick(THEORIES, {"one factor"})
VERBS = (predicted, compared, likelihoods, checked)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("ask", VERBS, ids=lambda verb: verb.__name__)
@pytest.mark.parametrize("method", some_quick(METHODS[1:], set(METHODS[1:]) - {"plain"}))
@pytest.mark.parametrize("name", NAMES)
def test_answers_cannot_tell_the_route(
    name: str, method: Method, ask: Callable[[Posterior], object]
) -> None:
    """Nor does a posterior's own tree, but for what is known of its draws."""
    posterior, first = by(method, name), by(METHODS[0], name)
    assert ask(posterior) == ask(first)
    assert {k: (v.dims, v.dtype) for k, v in posterior.draws.items()} == {
        k: (v.dims, v.dtype) for k, v in first.draws.items()
    }
