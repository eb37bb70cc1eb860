"""Theories that the map does not cover: one graph, its kernel, and the same numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bayesmig.choice.nested import dissimilarities
from bayesmig.choice.probabilities import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError
from bayesmig.inference import kernel, stream
from bayesmig.inference.blocks import rows_of
from bayesmig.inference.density import nearest_logit
from bayesmig.inference.graph import build_graph
from bayesmig.inference.layout import parameter_coords, parameter_dims
from bayesmig.inference.op import ChoiceLogLikelihood
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.routes import fit, plan_fit
from bayesmig.inference.sample import graph_sampler
from bayesmig.model_comparison import compare
from bayesmig.posterior import Posterior, load
from bayesmig.predict import comparisons, log_likelihood, predictions, slopes
from bayesmig.spec.scenario import Scenario
from tests.choice.test_nested import by_loops, random_tree
from tests.fabricate import ALTERNATIVES, fabricated, theory
from tests.inference.test_kernel import parameters_of
from tests.inference.test_op import (
    changes_no_density,
    density,
    from_feasibility,
    gap,
    is_the_same_compiled,
    points,
    values_for,
)
from tests.inference.theories import wide_survey
from tests.quick import some_quick
from tests.random_columns import random_choice, random_coefficients, random_columns

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")

DEARER = Scenario.model_validate(
    {
        "name": "dearer",
        "interventions": [
            {
                "kind": "attribute",
                "attribute": "cost",
                "alternative": "international",
                "change": "add",
                "value": 2.0,
            }
        ],
    }
)
NESTS = [{"name": "move", "alternatives": ["internal", "international"]}]
WITH_COST = {"persons": "female + wealth", "alternatives": "cost"}
BEYOND: dict[str, dict[str, Any]] = {
    "nests": {"utility": WITH_COST, "nests": NESTS},
    "nests, closed": {
        "utility": WITH_COST,
        "nests": [{"name": "home", "alternatives": ["stay", "internal"]}],
        "available": {"international": "border_open", "internal": "road_open"},
        "priors": {"lambda_nest": {"alpha": 2.0, "beta": 2.0}},
    },
    "curves": {
        "curves": [
            {"column": "cost_stay", "shape": "hill", "alternatives": ["internal", "international"]},
            {"column": "household_internal", "shape": "hump", "alternatives": ["international"]},
            {"column": "network_internal", "shape": "linear", "alternatives": ["internal"]},
            {"column": "age", "shape": "log1p", "alternatives": ["stay"]},
            {
                "column": "cost_stay",
                "shape": "saturating",
                "alternatives": ["stay"],
                "name": "cost_at_home",
            },
        ],
        "priors": {"curve_effect": {"height": 1.0}, "hill_exponent": {"loc": 0.5}},
    },
    "tastes": {
        "utility": {"persons": "female", "alternatives": "cost + cost:wealth"},
        "tastes": [
            {"by": "household", "attributes": ["cost:wealth", "cost"]},
            {"by": "origin", "attributes": ["cost"], "correlated": False},
        ],
        "available": {"international": "border_open"},
    },
    "curves in nests": {
        "nests": NESTS,
        "curves": [{"column": "cost_stay", "shape": "hill", "alternatives": ["international"]}],
        "available": {"international": "border_open", "internal": "road_open"},
    },
    "consideration": {
        "consideration": {
            # Not in the order of the alternatives.
            "feasible": {
                "international": "wealth + network_international + cost",
                "internal": "wealth",
            },
            "signs": {
                "international": {"wealth": "positive", "cost": "negative"},
            },
        },
    },
    "everything": {
        "utility": WITH_COST,
        "nests": NESTS,
        "curves": [{"column": "age", "shape": "hill", "alternatives": ["international"]}],
        "consideration": {"feasible": {"international": "0 + wealth + cost"}},
        "available": {"international": "border_open", "internal": "road_open"},
        "priors": {"feasibility": {"constant_loc": 1.0}},
    },
}
NAMES = list(BEYOND)


def design_of(name: str) -> Design:
    return build_design(theory(**BEYOND[name]), wide_survey())


def made_up(name: str, **keys: Any) -> Posterior:
    return fabricated(design_of(name), draws=110, spread=0.2, survey=wide_survey(), **keys)


# -------------------------------------------------------------------------------- fitting


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_has_the_names_of_the_posterior_and_a_finite_gradient(name: str) -> None:
    from pytensor.compile.mode import Mode

    design = design_of(name)
    model = build_graph(design)
    for parameter, dims in parameter_dims(design).items():
        assert model.named_vars_to_dims[parameter] == dims
    for dim, labels in parameter_coords(design).items():
        assert list(model.coords[dim]) == labels
    plain, rng = Mode(linker="py", optimizer=None), np.random.default_rng(0)
    gradient = model.compile_fn(model.dlogp(), inputs=model.value_vars, mode=plain, point_fn=False)
    for scale in (0.0, 1.0, 3.0):
        point = [scale * rng.normal(size=v.shape) for v in model.initial_point().values()]
        assert np.isfinite(gradient(*point)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_gives_the_likelihood_of_the_numpy_functions(name: str) -> None:
    has_the_likelihood_of_numpy(design_of(name))


def has_the_likelihood_of_numpy(design: Design) -> None:
    """Assert that the graph of a design has the log-likelihood of the functions over numpy."""
    from pytensor.compile.mode import Mode

    model, rng = build_graph(design), np.random.default_rng(1)
    free = {k: 0.7 * rng.normal(size=v.shape) for k, v in model.initial_point().items()}
    plain = Mode(linker="py", optimizer=None)
    wanted = [model.named_vars[k] for k in parameter_dims(design)]
    outputs = model.replace_rvs_by_values([*wanted])
    log_p = model.logp(vars=model.observed_RVs)
    found = model.compile_fn(
        [log_p, *outputs], inputs=model.value_vars, mode=plain, point_fn=False
    )(*free.values())
    draws = dict(zip(parameter_dims(design), found[1:], strict=True))
    posterior = fabricated(design, centre=draws, spread=0.0, draws=10, chains=1)
    for k, v in draws.items():
        np.testing.assert_allclose(posterior.draws[k].to_numpy()[0, 0], v, rtol=1e-12, atol=1e-14)
    one = log_probabilities(np, design.columns, posterior.coefficients())[0]
    expected = one[np.arange(design.n_obs), design.choice].sum()
    assert float(found[0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_has_the_density_and_gradient_of_the_plain_graph(name: str) -> None:
    design = design_of(name)
    model = build_graph(design)
    plain, kernel = density(model), density(build_graph(design, "kernel"))
    other = replace(design, choice=np.where(np.arange(design.n_obs) == 7, 2, design.choice))
    wrong = density(build_graph(other, "kernel"))
    assert design.choice[7] != 2
    for point in points(model):
        wanted = plain(point)
        assert gap(kernel(point), wanted) < 1e-12
        assert gap(wrong(point), wanted) > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_coordinates_of_the_nearest_logit_change_no_density(name: str) -> None:
    changes_no_density(design_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_chains_have_coordinates_of_the_nearest_logit_where_they_are_better(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reached(Exception):
        pass

    def looked_at(_: Design, likelihood: str, precision: str, near: Any) -> None:
        raise Reached(likelihood, near is not None, near is not None and len(near.gates))

    monkeypatch.setattr("bayesmig.inference.graph.build_graph", looked_at)
    gates = {"nests": 0, "nests, closed": 0, "consideration": 2}
    for route, likelihood in (("graph", "kernel"), ("plain", "plain")):
        with pytest.raises(Reached) as caught:
            graph_sampler(design_of(name), route, "double")
        there = route == "graph" and name in gates
        assert caught.value.args == (likelihood, there, there and gates[name])


def test_the_nearest_logit_has_nearly_the_probabilities() -> None:
    """Where few of those who can go do, and people do not differ too much in what they can."""
    design = design_of("consideration")
    near = nearest_logit(design)
    assert near is not None
    persons, kappa = design.columns.persons, np.array([-1.0, 0.3, 0.1, -0.05, 0.5, 0.4])
    logit = replace(design.columns, feasible={}, groups={})
    at = np.zeros((persons.shape[1], 2))
    at[0] = -3.5
    theta = np.concatenate([at.ravel(), np.zeros(len(near.centre) - at.size)])
    for gate in near.gates:
        theta[gate.where] -= from_feasibility(gate, kappa)
    apart = []
    for persons_at in (theta[: at.size].reshape(at.shape), at):
        able = Coefficients(persons=persons_at, feasibility=kappa)
        found = log_probabilities(np, replace(design.columns, groups={}), able)
        gaps = found - log_probabilities(np, logit, Coefficients(persons=at))
        apart.append(np.median(np.abs(gaps[:, 1:]), axis=0))
    assert (apart[0] < 0.12).all()
    assert (apart[1] > 0.4).all()


@pytest.mark.parametrize(
    "name", ["nests, closed", "curves in nests", "consideration", "everything"]
)
def test_the_gradient_is_that_of_the_values_at_extreme_utilities(name: str) -> None:
    """Utilities of hundreds and lambdas near zero, where nothing may overflow."""
    op: Any = ChoiceLogLikelihood(rows_of(design_of(name), "double"))
    rng, size = np.random.default_rng(4), 1e-6
    lambdas = [*op.rows.inputs].index("lambdas")
    for scale in (1.0, 200.0):
        at = [rng.normal(0.0, scale, shape) for shape in op.rows.inputs.values()]
        at[lambdas] = np.full(at[lambdas].shape, 0.05)
        value, *slopes = op.evaluate(*at)
        assert np.isfinite(value)
        way = [rng.normal(size=each.shape) for each in at]
        way[lambdas] = way[lambdas] * 0.01
        ends = [
            float(op.evaluate(*(a + s * size * w for a, w in zip(at, way, strict=True)))[0])
            for s in (-1, 1)
        ]
        along = sum(float((g * w).sum()) for g, w in zip(slopes, way, strict=True))
        assert along == pytest.approx((ends[1] - ends[0]) / (2 * size), rel=1e-5)


@pytest.mark.parametrize("mode", ["NUMBA", "JAX"])
def test_compiled_it_gives_what_it_gives_in_python(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    op = ChoiceLogLikelihood(rows_of(design_of("everything"), "double"))
    *values, lambdas, odds = values_for(op)
    is_the_same_compiled(op, [*values, np.full(lambdas.shape, 0.6), odds], mode, monkeypatch)


@pytest.mark.parametrize("lam", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("closed", [False, True])
def test_nests_at_utilities_of_seven_hundred_are_exact(lam: float, closed: bool) -> None:
    design = design_of("nests, closed" if closed else "nests")
    rows, rng = rows_of(design, "double"), np.random.default_rng(0)
    op: Any = ChoiceLogLikelihood(rows)
    shapes = rows.inputs
    beta = np.zeros(shapes["beta"])
    beta[0] = 700.0 * rng.choice([-1.0, 1.0], beta.shape[1])
    at = [beta, *(np.zeros(shapes[k]) for k in ("gamma", "effects", "added"))]
    at += [np.full(shapes["lambdas"], lam), np.zeros(shapes["odds"])]
    value, *slopes = op.evaluate(*at)
    named = {k: 0.0 * v.to_numpy()[0, 0] for k, v in made_up("nests").draws.items()}
    centre = {k: v for k, v in named.items() if k in ("gamma", "u_origin")}
    centre |= {"beta": beta, "lambda_nest": at[-2]}
    made = fabricated(design, centre=centre, spread=0.0, draws=10, chains=1)
    coefficients = made.coefficients()
    log_p = log_probabilities(np, design.columns, coefficients)[0]
    expected = log_p[np.arange(design.n_obs), design.choice].sum()
    assert abs(expected) > 700
    assert value == pytest.approx(expected, rel=1e-13)
    # Far from where two are alike, probabilities are zero and one: slopes by constants count.
    assert all(np.isfinite(of).all() for of in slopes)
    more = [beta + 1e-3 * np.eye(len(beta))[:, [0]], *at[1:]]
    less = [beta - 1e-3 * np.eye(len(beta))[:, [0]], *at[1:]]
    numeric = (op.evaluate(*more)[0] - op.evaluate(*less)[0]) / 2e-3
    assert slopes[0][0].sum() == pytest.approx(float(numeric), rel=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_the_kernel_of_random_nests_and_feasible_sets_is_that_of_loops(seed: int) -> None:
    """Three to seven alternatives, all that utilities hold, and what is added to some of them."""
    rng, width = np.random.default_rng(seed), 3 + seed % 5
    while not (tree := random_tree(rng, width)).nests:
        pass
    columns, (free, *rest) = random_columns(rng, alternatives=width), rng.permutation(width)
    gates = [int(j) for j in rest[: seed % 4]]
    columns = replace(columns, nests=tree, feasible={j: np.zeros((0, 0)) for j in gates})
    if columns.available is not None:
        columns.available[:, free] = True
    coefficients, choice = random_coefficients(rng, columns), random_choice(rng, columns)
    effects = coefficients.effects or {}
    design: Any = SimpleNamespace(
        columns=columns, choice=choice, likelihood_weights=None,
        layouts={by: SimpleNamespace(levels=range(len(u))) for by, u in effects.items()},
    )  # fmt: skip
    rows = rows_of(design, "double")
    places = np.flatnonzero(rng.integers(2, size=columns.n_alternatives))
    choices, order, _, *others = rows.beyond or ()
    data = rows.blocks.arrays, rows.chosen, (choices, order, places, *others)
    added = rng.normal(size=(len(places), len(choice)))
    lambdas = dissimilarities(np, tree, rng.uniform(0.1, 1.0, len(tree.nests)))
    # The kernel meets inner nests first.
    inner_first = lambdas[list(reversed(tree.top_down))]
    odds = 2.0 * rng.normal(size=(len(gates), len(choice)))
    at = [*parameters_of(columns, coefficients), added, inner_first, odds]
    slopes = [np.full(a.shape, np.nan) for a in at]
    value = kernel.log_likelihood_beyond(*data, *at, *slopes)

    utility = utilities(np, columns, coefficients)
    utility[:, places] += added.T
    is_open = np.ones(utility.shape, bool) if columns.available is None else columns.available

    def log_p(i: int) -> float:
        total = 0.0
        for inside in product((False, True), repeat=len(gates)):
            within = is_open[i].copy()
            within[gates] &= np.array(inside, dtype=bool)
            able = 1 / (1 + np.exp(np.where(inside, -odds[:, i], odds[:, i])))
            chosen = by_loops(tree, lambdas, utility[i], within)[choice[i]]
            total += math.prod(able) * math.exp(chosen)
        return math.log(total)

    assert value == pytest.approx(sum(map(log_p, range(len(choice)))), rel=1e-11)

    def along(way: list[np.ndarray], step: float) -> float:
        moved = [a + step * w for a, w in zip(at, way, strict=True)]
        return kernel.log_likelihood_beyond(*data, *moved, *map(np.empty_like, at))

    for position in range(len(at)):
        way = [np.zeros(a.shape) for a in at]
        way[position] = rng.normal(size=at[position].shape)
        way[position] *= 0.1 if at[position] is inner_first else 1.0
        near, far = ((along(way, h) - along(way, -h)) / (2 * h) for h in (1e-4, 2e-4))
        slope = float((slopes[position] * way[position]).sum())
        assert slope == pytest.approx((4 * near - far) / 3, rel=1e-6, abs=1e-7 * len(choice))


def nested_twice() -> Design:
    """Destinations within a stream, streams within moving; the inner nest stands first."""
    from tests.fabricate import small_frame, survey_of

    frame = small_frame(200)
    far = (frame["choice"] == "international") & (frame["wealth"] > 0)
    frame["choice"] = frame["choice"].mask(far, "overseas")
    names = [*ALTERNATIVES, "overseas"]
    nests = [
        {"name": "abroad", "alternatives": ["international", "overseas"], "within": "move"},
        {"name": "move", "alternatives": ["internal"]},
    ]
    return build_design(
        theory("female", choice={"alternatives": names, "base": "stay"}, nests=nests),
        survey_of(frame, alternatives={a: a for a in names}),
    )


def test_nests_in_nests_reach_the_graph_in_their_order() -> None:
    from pytensor.compile.mode import Mode

    from bayesmig.choice.nested import ROOT, Tree

    design = nested_twice()
    assert design.columns.nests == Tree((ROOT, 1, 0, 0), (1, ROOT))
    model, plain = build_graph(design), Mode(linker="py", optimizer=None)
    [lambdas] = model.replace_rvs_by_values([model["lambda_nest"]])
    found = model.compile_fn(
        lambdas, inputs=[model.rvs_to_values[model["lambda_ratio"]]], mode=plain, point_fn=False
    )(np.array([0.0, np.log(4.0)]))
    np.testing.assert_allclose(found, [0.5 * 0.8, 0.8])
    drawn = prior_draws(design, seed=1, draws=500)["lambda_nest"]
    assert (drawn.sel(nest="abroad") <= drawn.sel(nest="move")).all()
    plain, kernel = density(model), density(build_graph(design, "kernel"))
    for point in points(model):
        assert gap(kernel(point), plain(point)) < 1e-12


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name in NAMES for method in ("surrogate", "nuts", "preview")],
)
def test_other_routes_are_refused(name: str, method: Any) -> None:
    options = {"seed": 1, "method": method, "progress": False}
    with pytest.raises(InferenceError, match="does not cover") as caught:
        fit(theory(**BEYOND[name]), wide_survey(), **options)
    assert "method='auto'" in caught.value.mend


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_open_is_the_graph_in_double_precision(name: str) -> None:
    open_ = {"draws": 100, "tune": None, "target_accept": None, "precision": "auto"}
    plan = plan_fit(design_of(name), 1, method="auto", **open_)
    assert (plan.route, plan.precision) == ("graph", "double")
    with pytest.raises(InferenceError, match="no loops in single precision"):
        plan_fit(design_of(name), 1, method="auto", **open_ | {"precision": "single"})
    with pytest.raises(InferenceError, match="no loops in single precision for"):
        build_graph(design_of(name), "kernel", "single")


def test_curves_and_their_priors_are_part_of_the_fingerprint() -> None:
    keys = BEYOND["curves"]
    first, *rest = keys["curves"]
    variants = [
        keys,
        keys | {"curves": rest, "priors": {}},
        keys | {"curves": [first | {"shape": "saturating"}, *rest[:-1]], "priors": {}},
        keys | {"curves": [first | {"alternatives": ["internal"]}, *rest]},
        keys | {"priors": {}},
        keys | {"priors": {"half_saturation": {"alpha": 3.0}}},
        keys | {"priors": {"hump_bend": {"scale": 2.0}}},
    ]
    prints = {build_design(theory(**k), wide_survey()).fingerprint for k in variants}
    assert len(prints) == len(variants)


def test_consideration_and_its_prior_are_part_of_the_fingerprint() -> None:
    keys = BEYOND["consideration"]
    of = keys["consideration"]
    variants = [
        keys,
        {},
        {"consideration": of | {"signs": {}}},
        {"consideration": {"feasible": of["feasible"] | {"internal": "age"}}},
        keys | {"priors": {"feasibility": {"scale": 2.0}}},
    ]
    prints = {build_design(theory(**k), wide_survey()).fingerprint for k in variants}
    assert len(prints) == len(variants)


def test_nests_and_their_priors_are_part_of_the_fingerprint() -> None:
    keys = BEYOND["nests"]
    variants = [
        keys,
        keys | {"nests": []},
        keys | {"nests": [NESTS[0] | {"alternatives": ["stay", "internal"]}]},
        keys | {"priors": {"lambda_nest": {"alpha": 2.0}}},
    ]
    prints = {build_design(theory(**k), wide_survey()).fingerprint for k in variants}
    assert len(prints) == len(variants)


@pytest.mark.parametrize("name", NAMES)
def test_prior_draws_are_those_of_the_graph(name: str) -> None:
    import pymc as pm

    design = design_of(name)
    ours = prior_draws(design, seed=1, draws=4000)
    beyond = [k for k in parameter_dims(design) if k not in ("beta", "gamma", "beta_only")]
    beyond = [k for k in beyond if not k.startswith(("u_", "sigma_", "corr_"))]
    assert beyond
    with build_graph(design):
        theirs = pm.sample_prior_predictive(4000, var_names=beyond, random_seed=2)
    for k in beyond:
        # Of tastes, the first household's: the largest gap of many is not small.
        one = ours[k].to_numpy().reshape(4000, -1)[:, :4]
        other = theirs["prior"][k].to_numpy().reshape(4000, -1)[:, :4]
        spread = other.std(axis=0)
        gap = np.abs(np.quantile(one, [0.1, 0.5, 0.9], 0) - np.quantile(other, [0.1, 0.5, 0.9], 0))
        assert (gap < 0.2 * spread).all(), k


# ------------------------------------------------------------------------------ answering


@pytest.mark.parametrize("name", NAMES)
def test_streamed_numbers_are_those_of_the_numpy_functions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    posterior = made_up(name)
    columns, coefficients = posterior.design.columns, posterior.coefficients()
    log_p = log_probabilities(np, columns, coefficients)
    rng, n = np.random.default_rng(0), posterior.design.n_obs
    cells, weights = rng.integers(4, size=n), rng.random(n)
    for size in (10, 8_000_000):
        monkeypatch.setattr(stream, "_BLOCK_SIZE", size)
        got = stream.average_probabilities(columns, coefficients, cells=cells, weights=weights)
        for cell in range(4):
            here = cells == cell
            expected = np.average(np.exp(log_p[:, here]), axis=1, weights=weights[here])
            np.testing.assert_allclose(got[:, cell], expected, rtol=1e-12)
        means = stream.mean_probabilities(columns, coefficients)
        np.testing.assert_allclose(means, np.exp(log_p).mean(axis=0), rtol=1e-12, atol=1e-300)
    chosen = log_p[:, np.arange(n), posterior.design.choice]
    found = log_likelihood(posterior).to_numpy().reshape(chosen.shape)
    np.testing.assert_allclose(found, chosen, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_questions_are_answered_row_by_row(name: str) -> None:
    posterior = made_up(name)
    frame, weights = posterior.frame, posterior.design.weights
    assert weights is not None

    def averages(**change: Any) -> np.ndarray:
        columns = posterior.design.apply(frame.assign(**change))
        p = np.exp(log_probabilities(np, columns, posterior.coefficients()))
        return np.average(p, axis=1, weights=weights)

    got = predictions(posterior).draws.to_numpy().reshape(-1, 3)
    np.testing.assert_allclose(got, averages(), rtol=1e-12)
    got = comparisons(posterior, {"wealth": 1.0}).draws.to_numpy().reshape(-1, 3)
    expected = averages(wealth=frame["wealth"] + 1) - averages()
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-14)
    got = slopes(posterior, "wealth").draws.to_numpy().reshape(-1, 3)
    h = 1e-5
    expected = averages(wealth=frame["wealth"] + h) - averages(wealth=frame["wealth"] - h)
    np.testing.assert_allclose(got, expected / (2 * h), rtol=1e-6, atol=1e-9)
    assert np.abs(got).max() > 1e-4


def test_slopes_and_comparisons_of_curves() -> None:
    posterior = made_up("curves")
    frame, weights = posterior.frame, posterior.design.weights

    def averages(column: str, change: float) -> np.ndarray:
        columns = posterior.design.apply(frame.assign(**{column: frame[column] + change}))
        p = np.exp(log_probabilities(np, columns, posterior.coefficients()))
        return np.average(p, axis=1, weights=weights)

    for column in ("cost_stay", "age", "network_internal"):
        got = slopes(posterior, column).draws.to_numpy().reshape(-1, 3)
        expected = (averages(column, 1e-5) - averages(column, -1e-5)) / 2e-5
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-8)
        assert np.abs(got).max() > 1e-4
    got = comparisons(posterior, "household_internal").draws.to_numpy().reshape(-1, 3)
    expected = averages("household_internal", 1.0) - averages("household_internal", 0.0)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-14)


def test_slopes_and_scenarios_move_an_attribute_in_feasibility_too() -> None:
    from bayesmig.policy.counterfactual import counterfactual

    posterior = made_up("consideration")
    frame, weights = posterior.frame, posterior.design.weights

    def averages(change: float) -> np.ndarray:
        moved = frame["cost_international"] + change
        columns = posterior.design.apply(frame.assign(cost_international=moved))
        p = np.exp(log_probabilities(np, columns, posterior.coefficients()))
        return np.average(p, axis=1, weights=weights)

    got = slopes(posterior, "cost_international").draws.to_numpy().reshape(-1, 3)
    np.testing.assert_allclose(got, (averages(1e-5) - averages(-1e-5)) / 2e-5, rtol=1e-5, atol=1e-8)
    assert got[:, 2].mean() < -1e-3
    effect = counterfactual(posterior, DEARER)
    difference = effect.draws.to_numpy().reshape(len(got), 3, 3)[:, 2]
    np.testing.assert_allclose(difference, averages(2.0) - averages(0.0), rtol=1e-9, atol=1e-13)
    assert "consideration" in effect.header["diversion"]


@pytest.mark.parametrize(
    ("consideration", "words"),
    [
        ({"feasible": {"internal": "welth"}}, "did you mean 'wealth'"),
        ({"feasible": {"internal": "cost_internal"}}, "holds the attribute 'cost'"),
        ({"feasible": {"internal": "wealth + scale(wealth)"}}, "combinations of each other"),
        (
            {"feasible": {"internal": "wealth"}, "signs": {"internal": {"walth": "positive"}}},
            "did you mean 'wealth'",
        ),
        (
            {"feasible": {"internal": "wealth"}, "signs": {"internal": {"asc": "positive"}}},
            "no slope of the feasibility",
        ),
    ],
)
def test_feasibility_that_no_survey_could_show_is_refused(
    consideration: dict[str, Any], words: str
) -> None:
    from bayesmig.errors import DesignError

    with pytest.raises(DesignError) as caught:
        build_design(theory(consideration=consideration), wide_survey())
    assert words in str(caught.value)


def test_a_base_that_is_closed_leaves_somebody_without_an_alternative() -> None:
    from bayesmig.errors import DesignError

    keys = {
        "choice": {"alternatives": list(ALTERNATIVES), "base": "international"},
        "available": {"international": "border_open"},
        "consideration": {"feasible": {"internal": "wealth"}},
    }
    with pytest.raises(DesignError, match="all others may be infeasible"):
        build_design(theory(**keys), wide_survey())


def test_what_a_curve_cannot_take_is_refused_with_its_rows() -> None:
    from bayesmig.errors import DesignError

    posterior = made_up("curves")
    frame = posterior.frame
    with pytest.raises(DesignError, match="a curve that is hill starts at 0"):
        predictions(posterior, newdata=frame.assign(cost_stay=frame["cost_stay"] - 2.0))
    assert (
        predictions(posterior, newdata=frame.assign(cost_stay=0.0)).summary.notna().all(axis=None)
    )
    with pytest.raises(DesignError, match="no slope at 0"):
        slopes(posterior, "cost_stay", newdata=frame.assign(cost_stay=0.0))
    key = {"shape": "hill", "alternatives": ["internal"]}
    for column, words in {
        "network_internal": "starts at 0",
        "female": "needs at least 3",
        "region": "holds text",
        "cots_stay": "did you mean 'cost_stay'",
    }.items():
        with pytest.raises(DesignError, match=words):
            build_design(theory("wealth", curves=[key | {"column": column}]), wide_survey())


def test_draws_times_rows_are_never_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    from bayesmig.choice.utility import take_rows

    posterior = made_up("everything")
    rows = np.arange(posterior.design.n_obs).repeat(10)
    columns, coefficients = take_rows(posterior.design.columns, rows), posterior.coefficients()
    monkeypatch.setattr(stream, "_BLOCK_SIZE", 500_000)
    tracemalloc.start()
    stream.average_probabilities(columns, coefficients)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.75 * len(rows) * 440 * 3 * 8


@pytest.mark.parametrize("name", NAMES)
def test_saved_draws_answer_bit_identically(name: str, tmp_path: Any) -> None:
    posterior = made_up(name)
    again = load(posterior.save(tmp_path / "draws.nc"))
    np.testing.assert_array_equal(
        predictions(again, by="female").draws, predictions(posterior, by="female").draws
    )


@pytest.mark.parametrize("name", some_quick(NAMES, {"nests", "consideration"}))
def test_checks_and_comparisons_run(name: str) -> None:
    from bayesmig.checks import check

    posterior = made_up(name)
    plain = fabricated(build_design(theory(), wide_survey()), draws=110, survey=wide_survey())
    results = check(posterior, seed=1, draws=100)
    assert len(results) >= 5
    found = compare({"beyond": posterior, "logit": plain})
    assert np.isfinite(found.summary["elpd"]).all()


def test_a_nest_sends_those_who_leave_to_its_other_alternative() -> None:
    """More than their share goes within the nest: diversion is above its IIA value."""
    from bayesmig.policy.counterfactual import counterfactual

    def above_iia(lam: float) -> float:
        centre = {"lambda_nest": [lam], "gamma": [-1.0]}
        posterior = fabricated(
            design_of("nests"), draws=110, spread=0.01, centre=centre, survey=wide_survey()
        )
        table = counterfactual(posterior, DEARER).diversion
        row = table[(table["source"] == "international") & (table["target"] == "internal")]
        return float((row["estimate"] - row["iia_estimate"]).iloc[0])

    # Only heterogeneity of persons moves the ratio of the logit.
    assert abs(above_iia(0.999)) < 0.1
    assert above_iia(0.3) > 0.2
    assert ALTERNATIVES[1] == "internal"
