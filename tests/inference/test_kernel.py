"""The compiled likelihood: that of `bayesmig.choice`, on random inputs and at the edges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, Columns, take_rows, utilities
from bayesmig.inference import kernel
from bayesmig.inference.blocks import BLOCK, Precision, arrange, chosen_sums, runs_of
from bayesmig.inference.stream import log_likelihood_blocks, probability_blocks
from tests.random_columns import (
    log_probabilities_by_loops,
    random_choice,
    random_coefficients,
    random_columns,
)

Value = tuple[float, tuple[np.ndarray, np.ndarray, np.ndarray]]


def log_p(columns: Columns, coefficients: Coefficients) -> np.ndarray:
    return log_probabilities(np, utilities(np, columns, coefficients), columns.available)


def parameters_of(columns: Columns, coefficients: Coefficients) -> list[np.ndarray]:
    """As the kernel takes them: of persons, of attributes, of groups."""
    generic = [coefficients.only, coefficients.attributes]
    effects = [(coefficients.effects or {})[by].ravel() for by in columns.groups]
    return [
        coefficients.persons.copy(),
        np.concatenate([np.zeros(0), *(g for g in generic if g is not None)]),
        np.concatenate([np.zeros(0), *effects]),
    ]


def arguments(
    columns: Columns,
    coefficients: Coefficients,
    choice: np.ndarray,
    *,
    counts: np.ndarray | None = None,
    precision: Precision = "double",
) -> list[Any]:
    """Those of `kernel.log_likelihood`, without its outputs."""
    sizes = {by: len(effects) for by, effects in (coefficients.effects or {}).items()}
    blocks = arrange(columns, sizes, precision=precision, counts=counts)
    chosen = chosen_sums(columns, sizes, choice, counts)
    return [blocks.arrays, chosen, *parameters_of(columns, coefficients)]


def likelihood(
    columns: Columns, coefficients: Coefficients, choice: np.ndarray, **options: Any
) -> Value:
    given = arguments(columns, coefficients, choice, **options)
    slopes = tuple(np.full_like(p, np.nan) for p in given[-3:])
    return kernel.log_likelihood(*given, *slopes), slopes


def world(seed: int, **shape: Any) -> tuple[Columns, Coefficients, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = random_columns(rng, **shape)
    return columns, random_coefficients(rng, columns), random_choice(rng, columns)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_likelihood_of_the_choice_model(seed: int) -> None:
    columns, coefficients, choice = world(seed)
    value, _ = likelihood(columns, coefficients, choice)
    rows = np.arange(len(choice))
    assert value == pytest.approx(log_p(columns, coefficients)[rows, choice].sum(), rel=1e-12)
    by_loops = log_probabilities_by_loops(columns, coefficients)
    assert value == pytest.approx(by_loops[rows, choice].sum(), rel=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_its_gradient_is_that_of_its_values(seed: int) -> None:
    columns, coefficients, choice = world(seed)
    given = arguments(columns, coefficients, choice)
    _, slopes = likelihood(columns, coefficients, choice)
    step = 1e-4
    for position, slope in zip((-3, -2, -1), slopes, strict=True):
        for index in np.ndindex(slope.shape):
            values = []
            for move in (1, -1, 2, -2):
                moved = given.copy()
                moved[position] = given[position].copy()
                moved[position][index] += move * step
                values.append(kernel.log_likelihood(*moved, *map(np.empty_like, slopes)))
            near, far = values[0] - values[1], values[2] - values[3]
            numeric = (8 * near - far) / (12 * step)
            assert slope[index] == pytest.approx(numeric, rel=1e-6, abs=1e-7 * len(choice))


@pytest.mark.parametrize("n", [1, 63, BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK, 1500])
def test_blocks_of_rows_join_without_seam(n: int) -> None:
    columns, coefficients, choice = world(n, n=n, alternatives=3, groups=[(5, 2), (3, 1)])
    value, slopes = likelihood(columns, coefficients, choice)
    p = np.exp(log_p(columns, coefficients))
    assert value == pytest.approx(np.log(p[np.arange(n), choice]).sum(), rel=1e-12)
    residuals = np.delete(np.eye(3)[choice] - p, columns.base, axis=1)
    np.testing.assert_allclose(slopes[0], columns.persons.T @ residuals, rtol=1e-10, atol=1e-11)
    effects = np.zeros(0)
    for name, (codes, terms) in columns.groups.items():
        slope = np.zeros(coefficients.effects[name].shape)
        np.add.at(slope, codes, residuals[:, :, None] * terms[:, None, :])
        effects = np.concatenate([effects, slope.ravel()])
    np.testing.assert_allclose(slopes[2], effects, rtol=1e-10, atol=1e-11)


def test_many_alternatives_do_not_overflow_the_product_of_sums() -> None:
    columns, coefficients, choice = world(
        1, n=300, alternatives=400, persons=1, only=[], attributes=0, groups=[], availability=False
    )
    flat = replace(coefficients, persons=np.zeros_like(coefficients.persons))
    assert likelihood(columns, flat, choice)[0] == pytest.approx(-300 * np.log(400), rel=1e-12)


def test_one_person_groups_and_groups_without_anybody() -> None:
    rng = np.random.default_rng(3)
    columns = random_columns(rng, n=30, alternatives=3, groups=[(30, 1), (9, 2)])
    columns = replace(
        columns,
        groups={
            "origin": (np.arange(30), columns.groups["origin"][1]),
            "region": (rng.integers(2, 7, size=30), columns.groups["region"][1]),
        },
    )
    coefficients = random_coefficients(rng, columns, sizes=[30, 9])
    choice = random_choice(rng, columns)
    value, slopes = likelihood(columns, coefficients, choice)
    assert value == pytest.approx(
        log_p(columns, coefficients)[np.arange(30), choice].sum(), rel=1e-12
    )
    of_regions = slopes[2][30 * 2 :].reshape(9, 2, 2)
    np.testing.assert_array_equal(of_regions[[0, 1, 7, 8]], 0.0)


@pytest.mark.parametrize("size", [50.0, 300.0, 700.0])
def test_extreme_utilities_are_exact(size: float) -> None:
    columns, coefficients, choice = world(
        6, n=40, alternatives=3, persons=1, only=[], attributes=0, groups=[], availability=False
    )
    columns = replace(columns, persons=np.sign(columns.persons))
    extreme = replace(coefficients, persons=np.array([[size, -size]]))
    value, slopes = likelihood(columns, extreme, choice)
    expected = log_p(columns, extreme)[np.arange(40), choice].sum()
    assert value == pytest.approx(expected, rel=1e-13)
    assert all(np.isfinite(s).all() for s in slopes)


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("availability", [False, True])
@pytest.mark.parametrize("size", [50.0, 300.0, 700.0])
def test_extreme_utilities_of_groups_have_exact_values_and_gradients(
    size: float, availability: bool, precision: Precision
) -> None:
    """Nothing, and plus and minus ``size``, half of it from groups; some cannot choose."""
    columns, _, choice = world(
        6, n=300, alternatives=3, persons=1, only=[], attributes=0, groups=[(5, 1)],
        availability=availability,
    )  # fmt: skip
    codes, terms = columns.groups["origin"]
    groups = {"origin": (codes, np.sign(terms))}
    columns = replace(columns, persons=np.sign(columns.persons), groups=groups)
    rng = np.random.default_rng(0)
    extreme = Coefficients(
        persons=np.array([[size / 2, -size / 2]]),
        effects={"origin": size / 2 * rng.choice([-1.0, 1.0], (5, 2, 1))},
    )
    value, slopes = likelihood(columns, extreme, choice, precision=precision)
    logs = log_p(columns, extreme)
    assert np.abs(utilities(np, columns, extreme)).max() == size
    expected = logs[np.arange(300), choice].sum()
    assert value == pytest.approx(expected, rel={"single": 1e-6, "double": 1e-13}[precision])
    residuals = np.delete(np.eye(3)[choice] - np.exp(logs), columns.base, axis=1)
    of_groups = np.zeros((5, 2))
    np.add.at(of_groups, codes, residuals * np.sign(terms))
    # Within a block single precision sums up to 256 rows.
    digits = {"single": 256 * 2.0**-23, "double": 1e-11}[precision]
    np.testing.assert_allclose(slopes[0], columns.persons.T @ residuals, rtol=0, atol=digits)
    np.testing.assert_allclose(slopes[2], of_groups.ravel(), rtol=0, atol=digits)


@pytest.mark.parametrize("alternatives", range(2, 8))
def test_extreme_utilities_of_everything_at_once(alternatives: int) -> None:
    """Attributes, availability and groups with slopes, the largest utility being 700."""
    columns, coefficients, choice = world(
        alternatives, n=200, alternatives=alternatives, persons=3, attributes=2,
        groups=[(7, 2), (40, 1)], availability=True,
    )  # fmt: skip
    largest = np.abs(utilities(np, columns, coefficients)).max()
    extreme = scaled(coefficients, 700.0 / largest)
    value, slopes = likelihood(columns, extreme, choice)
    logs = log_p(columns, extreme)
    assert value == pytest.approx(logs[np.arange(200), choice].sum(), rel=1e-12)
    residuals = np.eye(alternatives)[choice] - np.exp(logs)
    # Utilities are linear: a slope is the residuals times the utilities of one unit of it.
    nothing = scaled(extreme, 0.0)
    arrays = parameters_of(columns, nothing)
    for position, slope in enumerate(slopes):
        for index in np.ndindex(slope.shape):
            unit = [p.copy() for p in arrays]
            unit[position][index] = 1.0
            of_unit = utilities(np, columns, coefficients_of(unit, nothing, columns))
            expected = (residuals * of_unit).sum()
            assert slope[index] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def scaled(coefficients: Coefficients, factor: float) -> Coefficients:
    return Coefficients(
        persons=factor * coefficients.persons,
        only=None if coefficients.only is None else factor * coefficients.only,
        attributes=None if coefficients.attributes is None else factor * coefficients.attributes,
        effects={by: factor * of for by, of in (coefficients.effects or {}).items()},
    )


def coefficients_of(arrays: list[np.ndarray], like: Coefficients, columns: Columns) -> Coefficients:
    """The inverse of `parameters_of`."""
    persons, generic, effects = arrays
    n_only = 0 if like.only is None else len(like.only)
    sizes = [like.effects[by].size for by in columns.groups]
    parts = np.split(effects, np.cumsum(sizes)[:-1])
    return Coefficients(
        persons=persons,
        only=None if like.only is None else generic[:n_only],
        attributes=None if like.attributes is None else generic[n_only:],
        effects={
            by: part.reshape(like.effects[by].shape)
            for by, part in zip(columns.groups, parts, strict=True)
        },
    )


def test_probabilities_have_the_precision_of_a_library_exponential() -> None:
    """From utilities within rounding of each other to differences of 700."""
    n = 4000
    gaps = np.concatenate([np.linspace(-700, 700, n // 2), np.geomspace(1e-12, 40.0, n // 2)])
    columns = Columns(
        n_alternatives=2,
        base=0,
        persons=gaps[:, None],
        only={},
        attributes=None,
        groups={},
    )
    coefficients = Coefficients(persons=np.ones((1, 1, 1)))
    ((_, got),) = probability_blocks(columns, coefficients)
    expected = np.exp(log_p(columns, replace(coefficients, persons=np.ones((1, 1)))))
    np.testing.assert_allclose(got[0], expected, rtol=2e-13)
    ((_, logs),) = log_likelihood_blocks(columns, coefficients, np.ones(n, dtype=np.int64))
    np.testing.assert_allclose(logs[0], -np.logaddexp(0.0, -gaps), rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------ single precision


@pytest.mark.parametrize("seed", range(40))
def test_single_precision_is_double_precision_within_three_millionths(seed: int) -> None:
    columns, coefficients, choice = world(seed)
    value, slopes = likelihood(columns, coefficients, choice)
    single, of_single = likelihood(columns, coefficients, choice, precision="single")
    assert single == pytest.approx(value, rel=3e-6)
    scale = max(1.0, *(np.abs(s).max(initial=0.0) for s in slopes))
    for one, other in zip(slopes, of_single, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-6 * scale)


@pytest.mark.parametrize("size", [50.0, 300.0, 700.0])
def test_extreme_utilities_in_single_precision(size: float) -> None:
    columns, coefficients, choice = world(
        6, n=40, alternatives=3, persons=1, only=[], attributes=0, groups=[], availability=False
    )
    columns = replace(columns, persons=np.sign(columns.persons))
    extreme = replace(coefficients, persons=np.array([[size, -size]]))
    value, slopes = likelihood(columns, extreme, choice, precision="single")
    assert value == pytest.approx(log_p(columns, extreme)[np.arange(40), choice].sum(), rel=1e-6)
    assert all(np.isfinite(s).all() for s in slopes)


def test_many_rows_in_single_precision_have_a_small_error() -> None:
    """Sums over blocks are double: errors do not pile up with the rows."""
    columns, coefficients, choice = world(
        8, n=200_000, alternatives=3, persons=5, only=[], attributes=0, groups=[(50, 1)],
        availability=False,
    )  # fmt: skip
    value, slopes = likelihood(columns, coefficients, choice)
    single, of_single = likelihood(columns, coefficients, choice, precision="single")
    assert abs(single - value) < 5e-3
    for one, other in zip(slopes, of_single, strict=True):
        assert np.abs(one - other).max(initial=0.0) < 5e-3


# --------------------------------------------------------------------- counted rows


@pytest.mark.parametrize("seed", range(10))
def test_a_row_counted_twice_is_the_row_twice_and_one_counted_never_is_not_there(
    seed: int,
) -> None:
    columns, coefficients, choice = world(seed, n=60)
    counts = np.random.default_rng(seed).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), counts)
    repeated = take_rows(columns, rows)
    value, slopes = likelihood(columns, coefficients, choice, counts=counts.astype(float))
    expected, wanted = likelihood(repeated, coefficients, choice[rows])
    assert value == pytest.approx(expected, rel=1e-9)
    for one, other in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


SEEDS_OF_CHANGES = [3, 4, 5, 6, 7]


@pytest.mark.parametrize("seed", SEEDS_OF_CHANGES)
def test_an_alternative_that_nobody_has_changes_nothing(seed: int) -> None:
    columns, coefficients, choice = world(
        seed,
        n=50,
        alternatives=3,
        only=[0, 2],
        attributes=2,
        groups=[(4, 2)],
        availability=True,
        base=1,
    )
    value, slopes = likelihood(columns, coefficients, choice)
    assert columns.available is not None
    more = replace(
        columns,
        n_alternatives=4,
        attributes=np.concatenate([columns.attributes, np.ones((50, 1, 2))], axis=1),
        available=np.column_stack([columns.available, np.zeros(50, dtype=bool)]),
    )
    extended = replace(
        coefficients,
        persons=np.column_stack([coefficients.persons, np.full(len(coefficients.persons), 3.0)]),
        effects={
            by: np.concatenate([u, np.full((len(u), 1, u.shape[2]), 2.0)], axis=1)
            for by, u in (coefficients.effects or {}).items()
        },
    )
    other, (persons, generic, effects) = likelihood(more, extended, choice)
    assert other == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(persons[:, :2], slopes[0], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(generic, slopes[1], rtol=1e-9, atol=1e-11)
    of_groups = effects.reshape(4, 3, 2)
    np.testing.assert_allclose(of_groups[:, :2].ravel(), slopes[2], rtol=1e-9, atol=1e-11)
    # Nobody tells what its own are.
    assert not persons[:, 2].any()
    assert not of_groups[:, 2].any()


@pytest.mark.parametrize("seed", SEEDS_OF_CHANGES)
def test_another_base_is_a_linear_change_of_the_coefficients(seed: int) -> None:
    columns, coefficients, choice = world(
        seed, n=50, alternatives=3, only=[], attributes=0, groups=[(4, 2)], base=0
    )
    value, slopes = likelihood(columns, coefficients, choice)

    def moved(of: np.ndarray) -> np.ndarray:
        """From (0, a, b) to (-b, a - b, 0)."""
        return np.stack([-of[..., 1], of[..., 0] - of[..., 1]], axis=-1)

    def back(of: np.ndarray) -> np.ndarray:
        """Slopes by (a, b) from those by (-b, a - b)."""
        return np.stack([of[..., 1], -of[..., 0] - of[..., 1]], axis=-1)

    other = replace(
        coefficients,
        persons=moved(coefficients.persons),
        effects={
            by: np.moveaxis(moved(np.moveaxis(u, 1, -1)), -1, 1)
            for by, u in (coefficients.effects or {}).items()
        },
    )
    changed, (persons, _, effects) = likelihood(replace(columns, base=2), other, choice)
    assert changed == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(back(persons), slopes[0], rtol=1e-9, atol=1e-11)
    of_groups = np.moveaxis(back(np.moveaxis(effects.reshape(4, 2, 2), 1, -1)), -1, 1)
    np.testing.assert_allclose(of_groups.ravel(), slopes[2], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", SEEDS_OF_CHANGES)
def test_groups_under_other_numbers_are_the_same_groups(seed: int) -> None:
    columns, coefficients, choice = world(seed, n=80, groups=[(6, 2), (3, 1)])
    value, slopes = likelihood(columns, coefficients, choice)
    order = np.random.default_rng(seed).permutation(6)
    codes, terms = columns.groups["origin"]
    permuted = replace(columns, groups=dict(columns.groups) | {"origin": (order[codes], terms)})
    u = (coefficients.effects or {})["origin"]
    effects = dict(coefficients.effects or {}) | {"origin": u[np.argsort(order)]}
    other, of_other = likelihood(permuted, replace(coefficients, effects=effects), choice)
    assert other == pytest.approx(value, rel=1e-9)
    mine = slopes[2][: u.size].reshape(u.shape)
    found = of_other[2][: u.size].reshape(u.shape)[order]
    np.testing.assert_allclose(found, mine, rtol=1e-9, atol=1e-11)
    for one, same in zip(slopes[:2], of_other[:2], strict=True):
        np.testing.assert_allclose(same, one, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(of_other[2][u.size :], slopes[2][u.size :], rtol=1e-9, atol=1e-11)


# --------------------------------------------------------------------- sums at the edges


@dataclass(frozen=True)
class Edge:
    """Draws of utilities of nothing and plus and minus 700, half of it from groups."""

    columns: Columns
    choice: np.ndarray
    counts: np.ndarray
    cells: np.ndarray
    draws: list[Coefficients]
    precision: Precision

    @property
    def log_p(self) -> np.ndarray:
        """``(draw, obs, alternative)``."""
        return np.array([log_p(self.columns, one) for one in self.draws])

    def sums(self, of: np.ndarray) -> np.ndarray:
        """Of ``(draw, obs, ...)`` over cells, ``(draw, cell, ...)``."""
        one_hot = self.counts[:, None] * np.eye(4)[self.cells]
        return np.einsum("sr...,rc->sc...", of, one_hot)

    def arranged(self, sort: bool) -> tuple[Any, list[np.ndarray]]:
        """Blocks, sorted by cells or not, and parameters as the kernel takes those of draws."""
        cells = {"cells": self.cells} if sort else {}
        known = {"precision": self.precision, "counts": self.counts}
        blocks = arrange(self.columns, {"origin": 5}, **known, **cells)
        parts = zip(*(parameters_of(self.columns, one) for one in self.draws), strict=True)
        beta, gamma, effects = map(np.stack, parts)
        return blocks, [np.ascontiguousarray(beta.transpose(0, 2, 1)), gamma, effects]

    def holds(self, found: np.ndarray, expected: np.ndarray, within: float) -> None:
        """Within a block single precision sums up to 256 rows."""
        rtol, atol = {"double": (1e-12, within), "single": (1e-6, 256 * 2.0**-23)}[self.precision]
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


@pytest.fixture(params=[False, True], ids=["open", "closed"])
def availability(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=["double", "single"])
def edge(request: pytest.FixtureRequest, availability: bool) -> Edge:
    columns, _, choice = world(
        6, n=300, alternatives=3, persons=1, only=[], attributes=0, groups=[(5, 1)],
        availability=availability, base=1,
    )  # fmt: skip
    codes, terms = columns.groups["origin"]
    groups = {"origin": (codes, np.sign(terms))}
    columns = replace(columns, persons=np.sign(columns.persons), groups=groups)
    rng = np.random.default_rng(0)
    draws = [
        Coefficients(
            persons=350.0 * rng.choice([-1.0, 1.0], (1, 2)),
            effects={"origin": 350.0 * rng.choice([-1.0, 1.0], (5, 2, 1))},
        )
        for _ in range(3)
    ]
    assert max(np.abs(utilities(np, columns, one)).max() for one in draws) == 700.0
    counts, cells = rng.integers(1, 4, 300) / 2, rng.integers(0, 4, 300)
    return Edge(columns, choice, counts, cells, draws, request.param)


def test_sums_of_logarithms_at_extreme_utilities(edge: Edge) -> None:
    blocks, (beta, gamma, effects) = edge.arranged(True)
    out = np.empty((3, 1, 4))
    runs = runs_of(edge.cells[blocks.order])
    kernel.log_sums(blocks.arrays, *runs, beta, gamma, effects[:, None], out)
    # The utility of an alternative less its log probability, one that is not rare.
    u = np.array([utilities(np, edge.columns, one) for one in edge.draws])
    top = edge.log_p.argmax(axis=2)[..., None]
    expected = np.take_along_axis(u - edge.log_p, top, axis=2)[..., 0]
    edge.holds(out[:, 0], edge.sums(expected), 1e-9)


def test_sums_of_probabilities_at_extreme_utilities(edge: Edge) -> None:
    blocks, parameters = edge.arranged(True)
    out = np.empty((3, 4, 3))
    kernel.probability_sums(blocks.arrays, *runs_of(edge.cells[blocks.order]), *parameters, out)
    edge.holds(out, edge.sums(np.exp(edge.log_p)), 1e-12)


def test_sums_of_slopes_at_extreme_utilities(edge: Edge) -> None:
    """Also where utilities themselves change by hundreds."""
    blocks, parameters = edge.arranged(True)
    speeds = arrange(edge.columns, {"origin": 5}, order=blocks.order, precision=edge.precision)
    moved = tuple(parameters[k][::-1].copy() for k in range(3))
    out = np.empty((3, 4, 3))
    runs = runs_of(edge.cells[blocks.order])
    kernel.slope_sums(blocks.arrays, speeds.arrays, *runs, *parameters, moved, out)
    p = np.exp(edge.log_p)
    speed = np.array([utilities(np, edge.columns, one) for one in edge.draws[::-1]])
    expected = p * (speed - (p * speed).sum(axis=2, keepdims=True))
    edge.holds(out, edge.sums(expected), 1e-9)


def test_curvatures_of_groups_at_extreme_utilities(edge: Edge) -> None:
    blocks, parameters = edge.arranged(False)
    chosen = chosen_sums(edge.columns, {"origin": 5}, edge.choice, edge.counts)
    pull, own = np.repeat(chosen[2][None], 3, axis=0), np.zeros((3, 5 * 4))
    places = np.array([[0, -1, -1, -1]])
    kernel.group_curvatures(blocks.arrays, places, *parameters, pull, own, np.zeros((3, 0)))
    codes, terms = edge.columns.groups["origin"]
    p = np.delete(np.exp(edge.log_p), 1, axis=2)
    gaps = np.delete(np.eye(3)[edge.choice], 1, axis=1) - p
    second = np.einsum("srj,jk->srjk", p, np.eye(2)) - np.einsum("srj,srk->srjk", p, p)
    of_groups = edge.counts[:, None] * np.eye(5)[codes]
    slopes = np.einsum("srj,r,rg->sgj", gaps, terms[:, 0], of_groups)
    bends = np.einsum("srjk,rg->sgjk", second, of_groups)
    edge.holds(pull, slopes.reshape(3, -1), 1e-10)
    edge.holds(own, bends.reshape(3, -1), 1e-10)


@pytest.mark.parametrize("n", [1, BLOCK, BLOCK + 1, 1000])
def test_runs_cover_every_row_once_and_stay_in_their_block(n: int) -> None:
    codes = np.sort(np.random.default_rng(n).integers(0, 9, n))
    runs, at = runs_of(codes)
    rows = [
        (block * BLOCK + i, code)
        for block in range(len(at) - 1)
        for first, stop, code in runs[at[block] : at[block + 1]]
        for i in range(first, stop)
    ]
    assert [row for row, _ in rows] == list(range(n))
    assert [code for _, code in rows] == codes.tolist()
    assert (runs[:, 1] <= BLOCK).all()
    assert (runs[:, 0] < runs[:, 1]).all()


# ---------------------------------------------------------------------------- no number


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [-3, -2, -1])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_parameters_that_are_not_numbers_never_give_a_finite_value(
    bad: float, position: int, precision: Precision
) -> None:
    columns, coefficients, choice = world(
        9, n=70, alternatives=4, attributes=2, only=[1], groups=[(3, 2)], availability=False
    )
    given = arguments(columns, coefficients, choice, precision=precision)
    for index in np.ndindex(given[position].shape):
        moved = given.copy()
        moved[position] = given[position].copy()
        moved[position][index] = bad
        assert not np.isfinite(kernel.log_likelihood(*moved, *map(np.empty_like, given[-3:])))
