"""Second derivatives: those of plain loops over rows, and of the gradient, on random columns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.inference import kernel as compiled_kernel
from bayesmig.inference import target as compiled
from bayesmig.inference.blocks import DTYPES, Precision, arrange, chosen_sums, runs_of
from bayesmig.inference.density import Density
from bayesmig.inference.geometry import Quadratic
from tests.inference.test_kernel import parameters_of
from tests.inference.theories import design_of
from tests.random_columns import (
    log_probabilities_by_loops,
    random_choice,
    random_coefficients,
    random_columns,
    utility_by_loops,
)

kernel: Any = compiled_kernel
target: Any = compiled
SEEDS = range(12)
DRAWS = 3


# ------------------------------------------------------------------------------- worlds


def world(seed: int, *, nested: bool = False) -> tuple[Columns, Coefficients, np.ndarray]:
    """Columns, coefficients and counts; one factor in the other where asked."""
    rng = np.random.default_rng(seed)
    groups = None
    if nested:
        outer, inner = ((3, int(rng.integers(1, 4))), (7, int(rng.integers(1, 4))))
        groups = [outer, inner] if seed % 2 else [inner, outer]
    columns = random_columns(rng, n=30, alternatives=2 + seed % 6, groups=groups)
    if nested:
        outside, inside = ("origin", "region") if seed % 2 else ("region", "origin")
        codes = columns.groups[inside][0] % 3
        of = {**columns.groups, outside: (codes, columns.groups[outside][1])}
        columns = replace(columns, groups={name: of[name] for name in columns.groups})
    sizes = [7 - 4 * (nested and by == outside) for by in columns.groups]
    counts = rng.integers(0, 4, 30).astype(float)
    return columns, random_coefficients(rng, columns, sizes=sizes), counts


def sizes_of(coefficients: Coefficients) -> dict[str, int]:
    return {by: len(effects) for by, effects in (coefficients.effects or {}).items()}


def size_of(columns: Columns, coefficients: Coefficients) -> tuple[int, dict[str, int]]:
    """Number of coefficients, and where the effects of each factor start after them."""
    persons, attributes, _ = parameters_of(columns, coefficients)
    at, starts = persons.size + attributes.size, {}
    for by in columns.groups:
        starts[by] = at
        at += (coefficients.effects or {})[by].size
    return persons.size + attributes.size, starts | {"": at}


# ------------------------------------------------------------------------------- oracle


def derivatives_by_loops(columns: Columns, coefficients: Coefficients, row: int) -> np.ndarray:
    """Of every alternative's utility by coefficients and effects, ``(alternative, size)``."""
    c, starts = size_of(columns, coefficients)
    width = columns.n_alternatives - 1
    out = np.zeros((columns.n_alternatives, starts[""]))
    position = 0
    for j in range(columns.n_alternatives):
        if j != columns.base:
            for k in range(columns.persons.shape[1]):
                out[j, k * width + position] = columns.persons[row, k]
            for by, (codes, terms) in columns.groups.items():
                for t in range(terms.shape[1]):
                    at = (codes[row] * width + position) * terms.shape[1] + t
                    out[j, starts[by] + at] = terms[row, t]
            position += 1
        at = columns.persons.shape[1] * width
        for where, block in columns.only.items():
            for k in range(block.shape[1]):
                if where == j:
                    out[j, at + k] = block[row, k]
            at += block.shape[1]
        if columns.attributes is not None:
            out[j, at:c] = columns.attributes[row, j]
    return out


def curvature_by_loops(
    columns: Columns, coefficients: Coefficients, counts: np.ndarray
) -> np.ndarray:
    """``sum_i n_i D_i' (diag(p_i) - p_i p_i') D_i`` by all that utilities are made of."""
    total: Any = 0.0
    for row, log_p in enumerate(log_probabilities_by_loops(columns, coefficients)):
        p = [math.exp(value) for value in log_p]
        d = derivatives_by_loops(columns, coefficients, row)
        for j, one in enumerate(p):
            for other, another in enumerate(p):
                of = one * ((j == other) - another)
                total = total + counts[row] * of * np.outer(d[j], d[other])
    return np.asarray(total)


# ------------------------------------------------------------------------------- kernel


def places_of(
    columns: Columns, coefficients: Coefficients, parent: str = ""
) -> tuple[np.ndarray, list[int]]:
    """The kernel's argument ``places``, and lengths of ``own``, ``cross`` and ``links``."""
    c, _ = size_of(columns, coefficients)
    width, names = columns.n_alternatives - 1, list(columns.groups)
    lengths, rows = [0, 0, 0], []
    for by, effects in (coefficients.effects or {}).items():
        size = width * effects.shape[2]
        linked = bool(parent) and by != parent
        rows.append(
            (
                lengths[0],
                lengths[1],
                lengths[2] if linked else -1,
                names.index(parent) if linked else -1,
            )
        )
        lengths[0] += len(effects) * size**2
        lengths[1] += len(effects) * size * c
        if linked:
            lengths[2] += len(effects) * size * width * columns.groups[parent][1].shape[1]
    return np.array(rows, dtype=np.int64).reshape(-1, 4), lengths


def blocks_of(
    whole: np.ndarray, columns: Columns, coefficients: Coefficients, parent: str = ""
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The whole curvature as the kernel lays its parts: coefficients, own, cross, links."""
    c, starts = size_of(columns, coefficients)
    own, cross, links = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for by, effects in (coefficients.effects or {}).items():
        size = effects[0].size
        for g in range(len(effects)):
            here = slice(starts[by] + g * size, starts[by] + (g + 1) * size)
            own.append(whole[here, here].ravel())
            cross.append(whole[here, :c].ravel())
            if parent and by != parent:
                inside = columns.groups[by][0] == g
                codes = columns.groups[parent][0][inside]
                wide = (coefficients.effects or {})[parent][0].size
                at = starts[parent] + (int(codes[0]) if len(codes) else 0) * wide
                links.append(whole[here, at : at + wide].ravel())
    return whole[:c, :c], *map(np.concatenate, (own, cross, links))


def curvature(
    columns: Columns,
    coefficients: Coefficients,
    counts: np.ndarray,
    precision: Precision,
    parent: str = "",
) -> list[np.ndarray]:
    c, _ = size_of(columns, coefficients)
    blocks = arrange(columns, sizes_of(coefficients), precision=precision, counts=counts)
    places, lengths = places_of(columns, coefficients, parent)
    found = [np.zeros((c, c)), *map(np.zeros, lengths)]
    kernel.curvature(blocks.arrays, *parameters_of(columns, coefficients), places, *found)
    return found


def parent_of(seed: int) -> str:
    return "origin" if seed % 2 else "region"


def assert_near(got: np.ndarray, expected: np.ndarray, precision: Precision) -> None:
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    digits = {"single": 3e-6, "double": 1e-12}[precision]
    np.testing.assert_allclose(got, expected, rtol=0, atol=digits * scale)


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_curvatures_are_those_of_plain_loops(seed: int, nested: bool, precision: Precision) -> None:
    """Two to seven alternatives, attributes, availability, counts, several terms."""
    columns, coefficients, counts = world(seed, nested=nested)
    parent = parent_of(seed) if nested else ""
    found = curvature(columns, coefficients, counts, precision, parent)
    whole = curvature_by_loops(columns, coefficients, counts)
    for got, expected in zip(found, blocks_of(whole, columns, coefficients, parent), strict=True):
        assert_near(got, expected, precision)


@pytest.mark.parametrize("seed", SEEDS)
def test_curvatures_are_differences_of_the_gradient(seed: int) -> None:
    columns, coefficients, counts = world(seed)
    rng, step = np.random.default_rng(seed), 1e-3
    blocks = arrange(columns, sizes_of(coefficients), counts=counts)
    choice = random_choice(rng, columns)
    chosen = chosen_sums(columns, sizes_of(coefficients), choice, counts)
    parameters = parameters_of(columns, coefficients)
    shapes = [p.shape for p in parameters]
    at = np.concatenate([p.ravel() for p in parameters])

    def gradient(vector: np.ndarray) -> np.ndarray:
        parts = np.split(vector, np.cumsum([p.size for p in parameters])[:-1])
        given = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        slopes = [np.empty_like(p) for p in given]
        kernel.log_likelihood(blocks.arrays, chosen, *given, *slopes)
        return np.concatenate([s.ravel() for s in slopes])

    rows = []
    for unit in step * np.eye(len(at)):
        near = gradient(at + unit) - gradient(at - unit)
        far = gradient(at + 2 * unit) - gradient(at - 2 * unit)
        rows.append(-(8 * near - far) / (12 * step))
    whole = np.array(rows)
    for got, expected in zip(
        curvature(columns, coefficients, counts, "double"),
        blocks_of(whole, columns, coefficients),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("size", [50.0, 300.0, 700.0])
@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("availability", [False, True])
def test_extreme_utilities_have_curvatures(
    size: float, precision: Precision, availability: bool
) -> None:
    columns, coefficients, counts = extreme(size, availability=availability)
    assert max(map(abs, utility_by_loops(columns, coefficients, 0))) <= size
    found = curvature(columns, coefficients, counts, precision)
    whole = curvature_by_loops(columns, coefficients, counts)
    for got, expected in zip(found, blocks_of(whole, columns, coefficients), strict=True):
        assert_near(got, expected, precision)


def extreme(size: float, *, availability: bool) -> tuple[Columns, Coefficients, np.ndarray]:
    """Utilities of nothing and of plus and minus ``size``, half of it from groups."""
    rng = np.random.default_rng(4)
    columns = random_columns(
        rng,
        n=60,
        alternatives=3,
        persons=1,
        only=[],
        attributes=0,
        groups=[(6, 1)],
        availability=availability,
    )
    codes, terms = columns.groups["origin"]
    columns = replace(
        columns,
        persons=np.sign(columns.persons),
        groups={"origin": (codes, np.sign(terms))},
    )
    of_origins = size / 2 * rng.choice([-1.0, 1.0], (6, 2, 1))
    persons = np.array([[size / 2, -size / 2]])
    coefficients = Coefficients(persons=persons, effects={"origin": of_origins})
    return columns, coefficients, rng.integers(0, 3, 60).astype(float)


# --------------------------------------------------------------------------- many draws


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("seed", SEEDS)
def test_curvatures_of_groups_draw_by_draw(seed: int, precision: Precision) -> None:
    columns, _, counts = world(seed, nested=True)
    rng, parent, kind = np.random.default_rng(seed), parent_of(seed), DTYPES[precision]
    sizes = [7 - 4 * (by == parent) for by in columns.groups]
    each = [random_coefficients(rng, columns, sizes=sizes) for _ in range(DRAWS)]
    blocks = arrange(columns, sizes_of(each[0]), precision=precision, counts=counts)
    choice = random_choice(rng, columns)
    chosen = chosen_sums(columns, sizes_of(each[0]), choice, counts)
    beta, gamma, effects = (
        np.stack(part).astype(kind)
        for part in zip(*(parameters_of(columns, one) for one in each), strict=True)
    )
    places, (n_own, _, n_links) = places_of(columns, each[0], parent)
    pull = np.repeat(chosen[2][None], DRAWS, axis=0)
    own, links = np.zeros((DRAWS, n_own)), np.zeros((DRAWS, n_links))
    by_alternative = np.ascontiguousarray(beta.transpose(0, 2, 1))
    kernel.group_curvatures(blocks.arrays, places, by_alternative, gamma, effects, pull, own, links)
    for d, one in enumerate(each):
        whole = curvature_by_loops(columns, one, counts)
        _, expected, _, linked = blocks_of(whole, columns, one, parent)
        assert_near(own[d], expected, precision)
        assert_near(links[d], linked, precision)
        c, starts = size_of(columns, one)
        slope = np.zeros(starts[""])
        for row, log_p in enumerate(log_probabilities_by_loops(columns, one)):
            residual = np.eye(columns.n_alternatives)[choice[row]] - np.exp(log_p)
            slope += counts[row] * residual @ derivatives_by_loops(columns, one, row)
        assert_near(pull[d], slope[c:], precision)


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("seed", SEEDS)
def test_sums_of_logarithms_by_cell_and_side(seed: int, precision: Precision) -> None:
    columns, one, counts = world(seed, nested=bool(seed % 2))
    rng, kind, sides = np.random.default_rng(seed), DTYPES[precision], 2
    sizes = [len(u) for u in (one.effects or {}).values()]
    each = [
        [random_coefficients(rng, columns, sizes=sizes) for _ in range(sides)] for _ in range(DRAWS)
    ]
    # One set of coefficients for both sides, which differ in their effects.
    each = [[replace(a, effects=side.effects) for side in (a, b)] for a, b in each]
    cells = rng.integers(0, 4, 30)
    blocks = arrange(columns, sizes_of(one), precision=precision, counts=counts, cells=cells)
    beta, gamma, _ = (
        np.stack(part).astype(kind)
        for part in zip(*(parameters_of(columns, a) for a, _ in each), strict=True)
    )
    effects = np.array([[parameters_of(columns, side)[2] for side in pair] for pair in each])
    out = np.empty((DRAWS, sides, 4))
    kernel.log_sums(
        blocks.arrays,
        *runs_of(cells[blocks.order]),
        np.ascontiguousarray(beta.transpose(0, 2, 1)),
        gamma,
        effects.astype(kind),
        out,
    )
    for d, pair in enumerate(each):
        for s, side in enumerate(pair):
            expected = np.zeros(4)
            for row, log_p in enumerate(log_probabilities_by_loops(columns, side)):
                j = int(np.argmax(log_p))
                log_sum = utility_by_loops(columns, side, row)[j] - log_p[j]
                expected[cells[row]] += counts[row] * log_sum
            assert_near(out[d, s], expected, precision)


# -------------------------------------------------------------------------------- centres


def dense(at: Quadratic, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision of coefficients and all effects given scales, and the slope at the expansion."""
    problem, c = at.problem, len(at.slope)
    factors = problem.layout.factors
    size = c + problem.layout.n_effects
    matrix, slope = np.zeros((size, size)), np.concatenate([at.slope, at.arrays[1]])
    matrix[:c, :c] = at.curvature
    for k, factor in enumerate(factors):
        width, prior = factor.width, problem.precision(factor, theta)
        for g in range(factor.groups):
            here = slice(
                c + factor.effects.start + g * width, c + factor.effects.start + (g + 1) * width
            )
            matrix[here, here] = at.own(k)[g] + prior
            if k in (problem.outer, problem.inner):
                matrix[here, :c], matrix[:c, here] = at.cross(k)[g], at.cross(k)[g].T
            if k == problem.inner:
                outer = factors[problem.outer]
                first = c + outer.effects.start + problem.members[g] * outer.width
                there = slice(first, first + outer.width)
                matrix[here, there], matrix[there, here] = at.links()[g], at.links()[g].T
    return matrix, slope


@pytest.mark.parametrize("name", ["one_correlation", "four_correlated", "two_factors", "in_places"])
def test_conditional_centres_solve_the_whole_system(name: str) -> None:
    """Eliminated group by group, or all at once: the same coefficients, effects and volume."""
    density = Density(design_of(name))
    expansion, layout = density.expansion, density.layout
    at = Quadratic(density.problem, expansion.arrays, *expansion.by_coefficients)
    c, t = layout.n_coefficients, layout.n_theta
    white = np.random.default_rng(2).normal(size=(DRAWS, t))
    theta, effects = np.empty((DRAWS, t)), np.empty((DRAWS, layout.n_effects))
    whitening, _, _, table, arrays = density.map_arguments
    log_roots = target.conditional_centres(
        white, whitening, table, arrays, expansion.by_coefficients, theta, effects
    )
    for d in range(DRAWS):
        scales = expansion.centre[c:] + expansion.root[c:, c:] @ white[d, c:]
        np.testing.assert_allclose(theta[d, c:], scales, rtol=1e-12)
        matrix, slope = dense(at, theta[d])
        inside = np.linalg.inv(matrix[c:, c:])
        left = matrix[:c, :c] - matrix[:c, c:] @ inside @ matrix[c:, :c]
        root = np.linalg.cholesky(left)
        best = np.linalg.solve(matrix, slope)[:c]
        delta = best + np.linalg.solve(root.T, white[d, :c])
        np.testing.assert_allclose(theta[d, :c] - arrays[0], delta, rtol=1e-7, atol=1e-9)
        given = inside @ (slope[c:] - matrix[c:, :c] @ delta)
        np.testing.assert_allclose(effects[d], given, rtol=1e-7, atol=1e-9)
        assert log_roots[d] == pytest.approx(np.linalg.slogdet(left)[1] / 2, rel=1e-9)


@pytest.mark.parametrize("name", ["one_correlation", "two_factors", "in_places"])
def test_slopes_at_no_effects_add_the_curvature_times_the_effects(name: str) -> None:
    problem = Density(design_of(name)).problem
    layout, rng = problem.layout, np.random.default_rng(3)
    theta, effects = rng.normal(0, 0.3, layout.n_theta), rng.normal(0, 0.3, layout.n_effects)
    at = problem.expanded(problem.at(theta, effects))
    c, wide = layout.n_coefficients, np.zeros(layout.n_theta)
    # Scales so wide that the prior's precision is nothing.
    for factor in layout.factors:
        factor.log_sigma.of(wide)[...] = 20.0
    matrix = dense(at, wide)[0][c:, c:]
    effects = rng.normal(size=(DRAWS, layout.n_effects))
    pull = rng.normal(size=(DRAWS, layout.n_effects))
    expected = pull + effects @ matrix.T
    own, links = (np.repeat(part[None], DRAWS, axis=0) for part in at.arrays[2:5:2])
    target.complete_pull(effects, problem.table, problem.members, pull, own, links)
    np.testing.assert_allclose(pull, expected, rtol=1e-9, atol=1e-9)
