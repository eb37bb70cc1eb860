"""The expansion: its curvatures are the likelihood's, its point is where it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize, rosen, rosen_der

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError
from bayesmig.inference import density as density_module
from bayesmig.inference import geometry, routes
from bayesmig.inference.blocks import Precision
from bayesmig.inference.density import Density
from bayesmig.inference.geometry import Problem
from bayesmig.inference.layout import Layout, parameter_coords, parameter_dims
from bayesmig.inference.refit import some_rows
from bayesmig.posterior import labelled_draws
from tests.fabricate import small_frame, small_survey, survey_of, theory
from tests.inference.theories import THEORIES, design_of, wide_survey

STEP = 1e-3


def log_likelihood(design: Design, layout: Layout, vector: np.ndarray) -> float:
    """Of coefficients and effects, laid one after the other, by the plain choice model."""
    log_p = log_probabilities(
        np, utilities(np, design.columns, named(layout, vector)), design.columns.available
    )
    return float(log_p[np.arange(design.n_obs), design.choice].sum())


def named(layout: Layout, vector: np.ndarray) -> Coefficients:
    c = layout.n_coefficients
    effects = {f.by: f.effects.of(vector[c:]).reshape(f.shape) for f in layout.factors}
    return Coefficients(*layout.split(vector[:c]), effects=effects)


@pytest.mark.parametrize(
    "name", ["no_groups", "four_correlated", "two_factors", "crossed", "everything"]
)
def test_curvatures_are_second_derivatives(name: str) -> None:
    design = design_of(name)
    problem = Density(design).problem
    layout = problem.layout
    c, size = layout.n_coefficients, layout.n_coefficients + layout.n_effects
    vector = np.random.default_rng(1).normal(0, 0.3, size)
    theta = np.concatenate([vector[:c], np.zeros(layout.n_theta - c)])
    at = problem.expanded(problem.at(theta, vector[c:]))

    def second(i: int, j: int) -> float:
        a, b = np.zeros(size), np.zeros(size)
        a[i], b[j] = STEP, STEP
        corners = [
            log_likelihood(design, layout, vector + s * a + t * b) * s * t
            for s in (-1, 1)
            for t in (-1, 1)
        ]
        return -sum(corners) / (4 * STEP**2)

    def near(i: int, j: int) -> Any:
        return pytest.approx(second(i, j), rel=1e-3, abs=1e-3)

    for i in range(c):
        for j in range(i + 1):
            assert at.curvature[i, j] - problem.own_prior[i] * (i == j) == near(i, j)
            assert at.curvature[j, i] == at.curvature[i, j]
    for k, factor in enumerate(layout.factors):
        for g in (0, factor.groups - 1):
            first = c + factor.effects.start + g * factor.width
            for i in range(factor.width):
                for j in range(factor.width):
                    assert at.own(k)[g, i, j] == near(first + i, first + j)
                if k in (problem.outer, problem.inner):
                    for j in range(c):
                        assert at.cross(k)[g, i, j] == near(first + i, j)
                if k == problem.inner:
                    outer = layout.factors[problem.outer]
                    start = c + outer.effects.start + problem.members[g] * outer.width
                    for j in range(outer.width):
                        assert at.links()[g, i, j] == near(first + i, start + j)


def test_parts_of_the_rows_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    design = build_design(theory(**THEORIES["two_factors"]), wide_survey(1200))
    problem = Density(design).problem
    rng = np.random.default_rng(0)
    theta = rng.normal(0, 0.3, problem.layout.n_theta)
    effects = rng.normal(0, 0.3, problem.layout.n_effects)
    point = problem.at(theta, effects)
    whole = problem.expanded(point)
    monkeypatch.setattr(geometry, "_PART_BLOCKS", 1)
    parts = problem.expanded(problem.at(theta, effects))
    for one, other in zip(whole.arrays, parts.arrays, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(whole.curvature, parts.curvature, rtol=1e-9, atol=1e-9)
    assert problem.at(theta, effects).value == pytest.approx(point.value, rel=1e-12)


def test_groups_within_groups_are_found() -> None:
    """Regions hold origins; households are spread over origins."""
    design = design_of("two_factors")
    problem = Density(design).problem
    names = [f.by for f in problem.layout.factors]
    assert (names[problem.outer], names[problem.inner]) == ("region", "origin")
    regions = design.layouts["region"].levels
    for level, inside in zip(design.layouts["origin"].levels, problem.members, strict=True):
        assert regions[inside] == f"r{int(str(level)[1:]) % 3}"
    crossed = Density(design_of("crossed")).problem
    assert crossed.layout.factors[crossed.outer].by == "origin"
    assert crossed.inner == -1


@pytest.mark.parametrize("name", ["one_correlation", "one_person_groups", "six_correlated"])
def test_effects_at_the_centre_are_the_mode_given_theta(name: str) -> None:
    """Where theta stands at its centre and epsilon at zero, no effect wants to move."""
    density = Density(design_of(name))
    slope = density(np.zeros(density.size))[1][density.layout.n_theta :]
    # In units of standard deviations; theta moved a little after the last Newton step.
    assert np.abs(slope).max() < 0.1


@pytest.mark.parametrize("name", ["two_factors", "everything"])
def test_a_part_of_the_rows_leads_to_the_same_mode(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = build_design(theory(**THEORIES[name]), wide_survey(2000, origins=12))
    usual = Density(design).expansion
    monkeypatch.setattr(density_module, "_THINNED", 500)
    steps = []
    newton = geometry._newton

    def counted(problem: geometry.Problem, *at: np.ndarray) -> Any:
        steps.append(len(problem.blocks.order))
        return newton(problem, *at)

    monkeypatch.setattr(geometry, "_newton", counted)
    led = Density(design)
    assert {500, 2000} == set(steps)
    # Rounds end where scales hardly move: a small part of a posterior's width.
    white = np.linalg.solve(usual.root, led.expansion.centre - usual.centre)
    assert np.abs(white).max() < 0.15


def test_a_part_that_leads_nowhere_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    design = build_design(theory(**THEORIES["one_correlation"]), wide_survey(1000))
    usual = Density(design).expansion
    monkeypatch.setattr(density_module, "_THINNED", 300)
    mode = geometry._mode

    def fails(problem: geometry.Problem, *at: np.ndarray) -> Any:
        if len(problem.blocks.order) == 300:
            raise np.linalg.LinAlgError
        return mode(problem, *at)

    monkeypatch.setattr(geometry, "_mode", fails)
    np.testing.assert_array_equal(Density(design).expansion.centre, usual.centre)


def test_under_flat_priors_no_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be separated where the whole is not, and its mode then lies nowhere."""
    rng = np.random.default_rng(0)
    frame = small_frame(4000, seed=4, origins=7)
    # A few rare rows, all kinds of choices among them; a part of the rows has hardly any.
    frame["female"] = (np.arange(4000) % 800 == 5) * 1.0
    frame["choice"] = rng.permutation(frame["choice"].to_numpy())
    flat = {"asc": {"dist": "flat"}, "persons": {"dist": "flat"}}
    design = build_design(theory("female", priors=flat), survey_of(frame))
    usual = Density(design).expansion.centre
    monkeypatch.setattr(density_module, "_THINNED", 300)
    np.testing.assert_array_equal(Density(design).expansion.centre, usual)


def test_the_mode_of_more_rows_is_where_that_of_some_is_soon_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    survey = survey_of(small_frame(300, seed=4, origins=15))
    design = build_design(theory("wealth"), survey)
    whole = Density(design)
    some = some_rows(design, np.flatnonzero(design.columns.groups["origin"][0] > 0))
    steps = []
    expanded = geometry.Problem.expanded
    monkeypatch.setattr(
        geometry.Problem, "expanded", lambda *of: (steps.append(1), expanded(*of))[1]
    )
    cold = Density(some)
    n_cold = len(steps)
    warm = Density(some, start=whole.mode)
    assert len(steps) - n_cold < n_cold
    np.testing.assert_allclose(warm.mode[0], cold.mode[0], atol=0.05)
    # Nothing is left in the effects of the place that is not there.
    assert np.abs(warm.mode[1].reshape(-1, 2)[0]).max() < 1e-6
    assert np.abs(whole.mode[1].reshape(-1, 2)[0]).max() > 1e-3


def test_what_has_no_curvature_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of zeros beside others, and no floor under its curvature."""
    flat = {"asc": {"dist": "flat"}, "persons": {"dist": "flat"}}
    design = build_design(theory("female + wealth + education", priors=flat), small_survey(400))
    assert routes._finite(design, "double", 1).size > 0
    persons = design.columns.persons.copy()
    position = design.persons.index("wealth")
    persons[:, position] = 0.0
    without = replace(design, columns=replace(design.columns, persons=persons))
    monkeypatch.setattr(geometry, "_FLOOR", -1e-3)
    with pytest.raises(InferenceError, match=r"no curvature .*: beta\[wealth, int"):
        routes._finite(without, "double", 1)


def test_names_in_theta_are_those_of_its_coordinates() -> None:
    """What changes where one coordinate of theta does, and nothing before it."""
    for name in ("everything", "four_correlated", "two_factors"):
        design = design_of(name)
        density = Density(design)
        theta, effects = (each[None] for each in density.mode)
        before = dict(flat_named(density.named(theta, effects), design))
        for k in range(density.layout.n_theta):
            moved = theta.copy()
            moved[0, k] += 0.1
            after = dict(flat_named(density.named(moved, effects), design))
            changed = {label for label in before if after[label] != before[label]}
            label = routes._name_in_theta(design, k)
            assert changed
            assert all(each == label or each.startswith(f"{label}[") for each in changed)


def flat_named(named: dict[str, np.ndarray], design: Design) -> Iterator[tuple[str, float]]:
    dims, coords = parameter_dims(design), parameter_coords(design)
    draws = {k: (("chain", "draw", *dims[k]), v[None]) for k, v in named.items()}
    for label, values in labelled_draws(xr.Dataset(draws, coords)):
        yield label, float(values[0, 0])


@pytest.mark.parametrize(
    ("curvature", "along"),
    [
        # Two that are alike but for their size, and one that is not.
        (np.array([[1e8, 0.0, 1e4], [0.0, 1e-4, 0.0], [1e4, 0.0, 1.0 + 1e-3]]), (0, 2)),
        (np.array([[1.0, 0.0], [0.0, np.nan]]), (1,)),
        (np.diag([1.0, -1e-9, 2.0]), (1,)),
    ],
)
def test_the_flattest_direction_does_not_depend_on_units(
    curvature: np.ndarray, along: tuple[int, ...]
) -> None:
    assert geometry.NoCurvature(curvature).along in along


def test_a_search_that_ends_before_the_mode_says_how_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known what was left to gain, by the search that does not end there."""
    design = build_design(theory("wealth", groups=[]), small_survey(400))
    whole = Density(design)
    assert whole.expansion.short_of_mode < 1e-6
    at = whole.mode
    monkeypatch.setattr(geometry, "_NEWTON_STEPS", 1)
    problem = whole.problem
    short = geometry.expand(problem)
    left = problem.at(*at).value - problem.at(short.centre, at[1]).value
    assert left > 1e-3
    # One step gains more than what it leaves, and that is what is said.
    assert short.short_of_mode > left
    # A step that leads nowhere is a promise that is not kept.
    monkeypatch.setattr(geometry, "_NEWTON_STEPS", 50)
    usual, begin = Problem.at, problem.at(0.8 * at[0], at[1])
    calls = iter([begin])
    lower = begin._replace(value=begin.value - 1e9)
    monkeypatch.setattr(Problem, "at", lambda *_: next(calls, lower))
    found = geometry.expand(problem, start=(0.8 * at[0], at[1]))
    monkeypatch.setattr(Problem, "at", usual)
    left = problem.at(*at).value - begin.value
    assert found.short_of_mode == pytest.approx(left, rel=0.2)
    assert found.short_of_mode > 1.0
    numbers = routes._of_density(whole.moved(found), lambda: None)
    assert numbers["short_of_mode"] == found.short_of_mode
    assert "short_of_mode" not in routes._of_density(whole, lambda: None)


@pytest.mark.parametrize("name", ["smooth", "crossed"])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_the_search_does_not_look_for_a_gain_in_the_rounding(
    name: str, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Near the mode a log density of many rows rises or falls by its rounding."""
    design = build_design(theory(**THEORIES[name]), wide_survey(3000))
    counts = {"at": 0, "expanded": 0}

    def counted(name: str) -> Any:
        usual = getattr(Problem, name)

        def call(*args: Any) -> Any:
            counts[name] += 1
            return usual(*args)

        return call

    for name in counts:
        monkeypatch.setattr(Problem, name, counted(name))
    found = Density(design, precision).expansion
    # One look after every expansion, and one to begin with in each round.
    assert counts["at"] <= counts["expanded"] + geometry._ROUNDS
    assert counts["expanded"] < 25
    assert 0 <= found.short_of_mode < 1e-4


@pytest.mark.parametrize("name", ["laplace", "only"])
def test_the_tip_of_a_prior_is_no_distance_from_the_mode(name: str) -> None:
    """A slope on one side of it promises what no step would find."""
    density = Density(build_design(theory(**THEORIES[name]), wide_survey(160)))
    assert density.expansion.short_of_mode < 1e-3
    assert (density.problem.prior.dist == 3).any()


@pytest.mark.parametrize("seed", range(40))
def test_bounds_that_cut_steps_off_do_not_end_the_descent(seed: int) -> None:
    """Correlated parabolas, half of whose lowest points lie outside."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 7))
    turned = np.linalg.qr(rng.normal(size=(size, size)))[0]
    curvature = turned * 10 ** rng.uniform(0, 4, size) @ turned.T
    centre, bounds = rng.normal(0, 4, size), (np.full(size, -5.0), np.full(size, 3.0))

    def parabola(x: np.ndarray) -> tuple[float, np.ndarray]:
        gap = x - centre
        return float(gap @ curvature @ gap) / 2, curvature @ gap

    start = rng.uniform(-5, 3, size)
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 5000, "maxfun": 50000}
    wanted = minimize(parabola, start, jac=True, bounds=[(-5, 3)] * size, options=options)
    assert parabola(geometry._lowest(parabola, start, *bounds))[0] <= wanted.fun + 1e-3


@pytest.mark.parametrize(("low", "high"), [(-3.0, 3.0), (-3.0, 0.5), (0.2, 3.0)])
def test_the_lowest_point_within_bounds_is_that_of_scipy(low: float, high: float) -> None:
    start, bounds = np.array([-1.2, 1.0, 0.4]), (np.full(3, low), np.full(3, high))

    def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(rosen(x)), np.asarray(rosen_der(x))

    wanted = minimize(valley, start.clip(low, high), jac=True, bounds=[(low, high)] * 3)
    found = geometry._lowest(valley, start, *bounds)
    assert ((found >= low) & (found <= high)).all()
    assert valley(found)[0] == pytest.approx(wanted.fun, abs=1e-4)
    np.testing.assert_allclose(found, wanted.x, atol=0.02)
