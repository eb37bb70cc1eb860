"""The hand-written log density: PyMC's, its own gradient's, and its coordinates'."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bayesmig.design.design import Design, build_design
from bayesmig.inference.density import Density
from bayesmig.inference.geometry import Expansion, Problem, expand, nesting
from bayesmig.inference.layout import layout_of
from tests.fabricate import ALTERNATIVES, small_design, small_frame, survey_of, theory
from tests.inference.theories import THEORIES, design_of, wide_survey

POINTS = 4


def points(density: Density, count: int = POINTS, seed: int = 0) -> Iterator[np.ndarray]:
    """Vectors far from each other: log scales of one, coordinates of up to five."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        yield rng.normal(0.0, 0.6 + 0.4 * k, density.size)


# ---------------------------------------------------------------------------- PyMC


@pytest.mark.parametrize("name", THEORIES)
def test_it_is_the_density_of_the_pymc_model(name: str) -> None:
    density = Density(design_of(name))
    agree(density, lambda vector: density(vector)[0])


def agree(density: Density, value: Callable[[np.ndarray], float], *, within: float = 1e-8) -> None:
    """Assert that log densities over the coordinates are PyMC's but for a constant."""
    from pytensor.compile.mode import Mode

    from bayesmig.inference.graph import build_graph

    design = density.design
    model = build_graph(design)
    # The Python linker without rewrites takes milliseconds to build, others half a minute.
    plain = Mode(linker="py", optimizer=None)
    theirs = model.compile_fn(
        model.logp(jacobian=True), inputs=model.value_vars, mode=plain, point_fn=False
    )
    gaps = []
    for vector in points(density):
        named = pymc_point(design, density.parameters(vector))
        found = theirs(*(named[v.name] for v in model.value_vars))
        volume = log_volume(design, density.parameters(vector)) + map_volume(density, vector)
        gaps.append(float(found) + volume - value(vector))
    np.testing.assert_allclose(gaps, gaps[0], rtol=0, atol=within)


def test_a_hundred_thousand_groups_are_as_right_as_ten() -> None:
    """Of one, two and three persons: values are PyMC's, gradients those of values."""
    frame = small_frame(200_000)
    frame["origin"] = np.random.default_rng(1).permutation(np.arange(200_000) % 110_000)
    frame.loc[frame["origin"] >= 100_000, "origin"] -= 100_000
    density = Density(small_design("female", survey=survey_of(frame)))
    assert density.layout.factors[0].groups == 100_000
    # Of sums of millions of nats.
    agree(density, lambda vector: density(vector)[0], within=1e-5)
    direction = np.random.default_rng(2).normal(size=density.size)
    for vector in points(density, 2, seed=1):
        # Values are rounded by half a millionth: shorter steps would show that alone.
        values = [density(vector + step * direction)[0] for step in (-2e-3, 2e-3)]
        slope = (values[1] - values[0]) / 4e-3
        gradient = density(vector)[1]
        # Of a slope's usual size: by chance one may be near zero, what is rounded off is not.
        within = 2e-6 * np.linalg.norm(gradient)
        np.testing.assert_allclose(gradient @ direction, slope, rtol=0, atol=within)


def pymc_point(design: Design, named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of the PyMC model's variables at some parameters."""
    kinds = {0: "flat", 1: "normal", 2: "student_t", 3: "laplace"}
    blocks = {"beta": "persons", "beta_only": "only", "gamma": "alternatives"}
    point = {k: named[k] for k in blocks if k in named}
    for name, block in blocks.items():
        if name in named:
            code = design.priors[block].dist
            for kind, word in kinds.items():
                point[f"{name}_{word}"] = named[name][code == kind]
    for by in design.layouts:
        sigma, factor = sigma_and_factor(by, named)
        # Effects that share a scale stand side by side.
        effects = named[f"u_{by}"].reshape(len(named[f"u_{by}"]), len(sigma), -1)
        scaled = sigma[:, None] * factor
        point[f"z_{by}"] = np.linalg.solve(scaled, effects)
        point[f"scale_{by}_log__"] = np.log(sigma)
        packed = [
            math.log(scaled[i, k]) if i == k else scaled[i, k]
            for i in range(len(sigma))
            for k in range(i + 1)
        ]
        point[f"chol_{by}_cholesky-cov-packed__"] = np.array(packed)
    return point


def log_volume(design: Design, named: dict[str, np.ndarray]) -> float:
    """Log Jacobian from (log sigma, free vectors) to the packed Cholesky factor of PyMC.

    Row by row: ``sigma (y, 1) / s`` with ``s = sqrt(1 + |y|^2)``, the last in logarithms,
    and ``y`` is a free vector made longer, from ``a`` to ``sinh(a)``.
    """
    total = 0.0
    for by in design.layouts:
        if f"corr_{by}" not in named:
            continue
        sigma, factor = sigma_and_factor(by, named)
        for i in range(1, len(sigma)):
            y = factor[i, :i] / factor[i, i]
            s = math.sqrt(1.0 + sum(v * v for v in y))
            jacobian = np.empty((i + 1, i + 1))
            for a in range(i):
                jacobian[a, i] = sigma[i] * y[a] / s
                jacobian[i, a] = -y[a] / s**2
                for b in range(i):
                    jacobian[a, b] = sigma[i] * ((a == b) / s - y[a] * y[b] / s**3)
            jacobian[i, i] = 1.0
            total += np.linalg.slogdet(jacobian)[1]
            size = math.sqrt(s * s - 1.0)
            total += math.log(s) + (i - 1) * math.log(size / math.asinh(size))
    return total


def map_volume(density: Density, vector: np.ndarray) -> float:
    """Log Jacobian from epsilon to the standardised effects of PyMC, by differences.

    Effects are linear in epsilon, so that differences over a unit are exact. Those of
    outer groups move inner ones, never the reverse: a factor's own part is all there is.
    """
    total, named = 0.0, density.parameters(vector)
    layout = density.layout
    for factor in layout.factors:
        sigma, root = sigma_and_factor(factor.by, named)
        here = named[f"u_{factor.by}"].reshape(factor.groups, factor.width)
        jacobian = np.empty((factor.groups, factor.width, factor.width))
        for i in range(factor.width):
            moved = vector.copy()
            start = layout.n_theta + factor.effects.start
            moved[start : start + here.size].reshape(here.shape)[:, i] += 1.0
            there = density.parameters(moved)[f"u_{factor.by}"].reshape(here.shape)
            jacobian[:, :, i] = there - here
        total += np.linalg.slogdet(jacobian)[1].sum()
        scale = np.linalg.slogdet(sigma[:, None] * root)[1]
        total -= factor.groups * factor.copies * scale
    return total


def sigma_and_factor(by: str, named: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    sigma = named[f"sigma_{by}"].ravel()
    corr = named.get(f"corr_{by}", np.eye(len(sigma)))
    return sigma, np.linalg.cholesky(corr)


def log_scales(density: Density, named: dict[str, np.ndarray]) -> float:
    return sum(np.log(named[f"sigma_{by}"]).sum() for by in density.design.layouts)


@pytest.mark.parametrize("part", ["map", "correlations", "scales"])
def test_the_comparison_sees_a_wrong_jacobian(part: str) -> None:
    """A density that leaves out one part of it, and nothing else."""
    density = Density(design_of("four_correlated"))

    def wrong(vector: np.ndarray) -> float:
        named = density.parameters(vector)
        return (
            density(vector)[0]
            - {
                "map": lambda: map_volume(density, vector),
                "correlations": lambda: log_volume(density.design, named),
                "scales": lambda: log_scales(density, named),
            }[part]()
        )

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        agree(density, wrong)


# ------------------------------------------------------- changes that must not matter


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_places_under_other_names_have_the_same_density(seed: int) -> None:
    frame = small_frame(300, seed=seed, origins=8)
    names = sorted(frame["origin"].unique())
    order = np.random.default_rng(seed).permutation(len(names))
    others = {name: f"place {order[k]}" for k, name in enumerate(names)}
    spec = theory("female + wealth", groups=[{"by": "origin", "terms": "1 + wealth"}])
    one = Density(build_design(spec, survey_of(frame)))
    two = Density(build_design(spec, survey_of(frame.assign(origin=frame["origin"].map(others)))))
    t = one.layout.n_theta

    def moved(vector: np.ndarray) -> np.ndarray:
        of_groups = vector[t:].reshape(len(names), -1)
        return np.concatenate([vector[:t], of_groups[np.argsort(order)].ravel()])

    for vector in points(one, seed=seed):
        (value, gradient), (same, of_same) = one(vector), two(moved(vector))
        assert same == pytest.approx(value, rel=1e-9)
        atol = 1e-9 * np.abs(gradient).max()
        np.testing.assert_allclose(of_same, moved(gradient), rtol=1e-9, atol=atol)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_another_base_has_the_same_density_where_priors_say_nothing(seed: int) -> None:
    """Coefficients of internal and international beside stay, and beside international."""
    frame = small_frame(300, seed=seed)
    flat = {"asc": {"dist": "flat"}, "persons": {"dist": "flat"}}
    one, two = (
        Density(
            build_design(
                theory(
                    "female + wealth",
                    groups=[],
                    priors=flat,
                    choice={"alternatives": list(ALTERNATIVES), "base": base},
                ),
                survey_of(frame),
            )
        )
        for base in ("stay", "international")
    )
    (centre, root), (other_centre, other_root) = one.map_arguments[0], two.map_arguments[0]
    values, others = [], []
    for vector in points(one, seed=seed):
        a, b = (centre + root @ vector).reshape(-1, 2).T
        at = np.linalg.solve(other_root, np.stack([-b, a - b], axis=1).ravel() - other_centre)
        value, gradient = one(vector)
        same, of_same = two(at)
        values.append(value)
        others.append(same)
        slopes = np.linalg.solve(root.T, gradient).reshape(-1, 2)
        changed = np.linalg.solve(other_root.T, of_same).reshape(-1, 2)
        back = np.stack([changed[:, 1], -changed.sum(axis=1)], axis=1)
        np.testing.assert_allclose(back, slopes, rtol=1e-9, atol=1e-9 * np.abs(slopes).max())
    np.testing.assert_allclose(others, values, rtol=1e-9)


# ------------------------------------------------------------------------- gradient


@pytest.mark.parametrize("log_sigma", [-14.0, -9.0, 6.0])
def test_effects_of_a_wide_smooth_stay_in_the_range_of_numbers(log_sigma: float) -> None:
    """Eighty effects whose scale is tiny or huge: the product of their pivots is no number."""
    wide = theory("wealth", groups=[], smooths=[{"column": "wealth", "bends": 40}])
    density = Density(build_design(wide, wide_survey()))
    (factor,) = density.layout.factors
    theta = density.expansion.centre.copy()
    factor.log_sigma.of(theta)[...] = log_sigma
    vector = np.zeros(density.size)
    white = np.linalg.solve(density.expansion.root, theta - density.expansion.centre)
    vector[: len(theta)] = white
    value, gradient = density(vector)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_smooth_stands_aside_of_origins_and_shared_drivers_lie_around_them() -> None:
    """Also where two alternatives give a smooth one scale, as shared drivers have."""
    two = {"alternatives": ["stay", "internal"], "base": "stay"}
    moved = small_frame().assign(choice=lambda f: f["choice"].replace("international", "internal"))
    bends = [{"column": "wealth", "bends": 4}]
    binary = build_design(theory("wealth", choice=two, smooths=bends), survey_of(moved))
    shared = small_design(utility={"persons": "female", "shared": "wealth"})
    for design, outer in ((binary, "origin"), (shared, "deviation")):
        factors = layout_of(design).factors
        codes = {by: of for by, (of, _) in design.columns.groups.items()}
        found, _, _ = nesting(factors, codes)
        assert factors[found].by == outer


@pytest.mark.parametrize("name", THEORIES)
def test_its_gradient_is_that_of_its_values(name: str) -> None:
    density = Density(design_of(name))
    step = 1e-4
    for vector in points(density, 2, seed=1):
        _, gradient = density(vector)
        numeric = np.empty(density.size)
        for k in range(density.size):
            at = np.zeros(density.size)
            at[k] = step
            near = density(vector + at)[0] - density(vector - at)[0]
            far = density(vector + 2 * at)[0] - density(vector - 2 * at)[0]
            numeric[k] = (8 * near - far) / (12 * step)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-6 * np.abs(gradient).max())


# ---------------------------------------------------------------------- coordinates


@pytest.mark.parametrize(
    "name", ["flat", "one_correlation", "two_factors", "crossed", "everything"]
)
def test_the_expansion_does_not_change_the_target(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = design_of(name)
    usual = Density(design)
    rng = np.random.default_rng(2)

    def bad(problem: Problem, thinned: None, start: None) -> Expansion:
        at = expand(problem, thinned, start)
        coefficients, pull, own, cross, links, members = at.arrays
        t = len(at.centre)
        # Large enough for what the inner groups take from the outer.
        sizes = [(f.groups, f.width) for f in usual.layout.factors]
        own = [np.eye(width) * rng.uniform(1, 30, (groups, 1, 1)) for groups, width in sizes]
        return replace(
            at,
            centre=at.centre + rng.normal(0, 0.3, t),
            root=np.eye(t) + 0.3 * rng.normal(size=(t, t)),
            arrays=(
                coefficients,
                rng.normal(0, 2, pull.shape),
                np.concatenate([np.zeros(0), *(c.ravel() for c in own)]),
                rng.normal(0, 1, cross.shape),
                rng.normal(0, 0.02, links.shape),
                members,
            ),
        )

    monkeypatch.setattr("bayesmig.inference.density.expand", bad)
    other = Density(design)
    gaps = []
    for vector in points(usual):
        moved = same_parameters(usual, vector, other)
        for key, value in usual.parameters(vector).items():
            np.testing.assert_allclose(other.parameters(moved)[key], value, rtol=1e-8, atol=1e-8)
        volume = map_volume(usual, vector) - map_volume(other, moved)
        gaps.append(usual(vector)[0] - other(moved)[0] - volume)
    np.testing.assert_allclose(gaps, gaps[0], rtol=0, atol=1e-6)


def same_parameters(usual: Density, vector: np.ndarray, other: Density) -> np.ndarray:
    """Coordinates of another expansion at which the parameters are the same."""
    t = usual.layout.n_theta
    theta = usual.expansion.centre + usual.expansion.root @ vector[:t]
    moved = np.zeros_like(vector)
    moved[:t] = np.linalg.solve(other.expansion.root, theta - other.expansion.centre)
    named = usual.parameters(vector)
    # From the outside in: effects of inner groups follow those of outer ones.
    for factor in sorted(usual.layout.factors, key=lambda f: f.groups):
        there = other.parameters(moved)
        start = t + factor.effects.start
        gap = (named[f"u_{factor.by}"] - there[f"u_{factor.by}"]).reshape(-1, factor.width)
        jacobian = np.empty((factor.groups, factor.width, factor.width))
        for i in range(factor.width):
            unit = moved.copy()
            unit[start : start + gap.size].reshape(gap.shape)[:, i] += 1.0
            at = other.parameters(unit)[f"u_{factor.by}"] - there[f"u_{factor.by}"]
            jacobian[:, :, i] = at.reshape(gap.shape)
        found = np.linalg.solve(jacobian, gap[:, :, None])[:, :, 0]
        moved[start : start + gap.size] = found.ravel()
    return moved


# Not Laplace priors: with a kink at the mode, Newton's steps stop near it.
@pytest.mark.parametrize("name", ["no_groups", "student_t", "attributes", "availability"])
def test_without_groups_the_centre_is_the_mode(name: str) -> None:
    density = Density(build_design(theory(**THEORIES[name] | {"groups": []}), wide_survey()))
    centre = np.zeros(density.size)
    value, slope = density(centre)
    np.testing.assert_allclose(slope, 0.0, atol=1e-3)
    for k in range(density.size):
        for size in (-0.05, 0.05):
            moved = centre.copy()
            moved[k] = size
            assert density(moved)[0] < value


@pytest.mark.parametrize("name", ["one_correlation", "four_correlated", "two_factors", "crossed"])
def test_the_coordinates_are_nearly_standard_normal(name: str) -> None:
    """Few people in groups of few: the curvature of what is sampled is still near one."""
    density = Density(design_of(name))
    step = 1e-3
    for k in range(density.size):
        unit = np.zeros(density.size)
        unit[k] = step
        curvature = (density(-unit)[1][k] - density(unit)[1][k]) / (2 * step)
        assert 0.3 < curvature < 3, k


@pytest.mark.parametrize("name", ["four_correlated", "uncorrelated", "two_factors", "crossed"])
def test_parameters_are_what_they_are_called(name: str) -> None:
    design = design_of(name)
    density = Density(design)
    for vector in points(density):
        named = density.parameters(vector)
        for by, layout in design.layouts.items():
            assert named[f"u_{by}"].shape == (len(layout.levels), 2, len(layout.terms))
            assert (named[f"sigma_{by}"] > 0).all()
            if layout.correlated:
                corr = named[f"corr_{by}"]
                np.testing.assert_array_equal(np.diag(corr), 1.0)
                np.testing.assert_allclose(corr, corr.T, atol=1e-15)
                assert np.linalg.eigvalsh(corr).min() > 0


# ------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_a_number_has_density_zero(bad: float) -> None:
    density = Density(design_of("everything"))
    start = density.start(np.random.default_rng(0))
    for k in range(density.size):
        vector = start.copy()
        vector[k] = bad
        value, gradient = density(vector)
        assert value == -np.inf, k
        assert np.isfinite(gradient).all()


def test_starting_points_are_finite_and_differ() -> None:
    density = Density(design_of("everything"))
    first, second = (density.start(np.random.default_rng(k)) for k in (0, 1))
    assert np.isfinite(density(first)[0])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, density.start(np.random.default_rng(0)))


def test_the_vector_is_left_as_it_was() -> None:
    density = Density(design_of("everything"))
    vector = density.start(np.random.default_rng(0))
    kept = vector.copy()
    value, gradient = density(vector)
    np.testing.assert_array_equal(vector, kept)
    again, same = density(vector)
    assert again == value
    assert same is not gradient
    np.testing.assert_array_equal(same, gradient)


# ------------------------------------------------------------------- compiled code


@pytest.mark.slow
def test_code_just_compiled_and_code_from_disk_agree_to_the_last_bit(tmp_path: Path) -> None:
    """Draws depend on every bit, and a resumed fit must end as one that was not stopped."""
    program = """
import numpy as np
from bayesmig.inference.density import Density
from tests.inference.test_density import points
from tests.inference.theories import design_of
density = Density(design_of("one_correlation"))
vectors = [vector for seed in range(250) for vector in points(density, seed=seed)]
sizes = np.random.default_rng().integers(1, 3000, 200)
for _ in range(4):
    # Arrays come to lie elsewhere every time.
    between = [np.empty(k) for k in sizes]
    print(*(density(vector)[0].hex() for vector in vectors))
print(density.callback.density.cache_hits)
"""
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for _ in range(2)
    )
    assert (first[-1], second[-1]) == ("0", "1")
    assert len({*first[:-1], *second[:-1]}) == 1


def test_another_process_finds_the_machine_code() -> None:
    """A closure that held a function of numba would be compiled anew by every process."""
    # The callback is made when it is first asked for.
    assert Density(design_of("no_groups")).callback is not None
    code = (
        "from bayesmig.inference.density import Density\n"
        "from tests.inference.theories import design_of\n"
        "print(Density(design_of('no_groups')).callback.density.cache_hits)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert found.stdout.strip() == "1"
