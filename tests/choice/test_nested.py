"""The nested logit: against loops, at the edges, as the logit, and in PyTensor."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from bayesmig.choice import logit, nested
from bayesmig.choice.nested import ROOT, Tree, dissimilarities
from bayesmig.choice.probabilities import beyond_logit, log_probabilities, slopes
from tests.random_columns import random_coefficients, random_columns

SEEDS = range(40)


def random_tree(rng: np.random.Generator, width: int) -> Tree:
    """Nests in nests, each of at least two children."""
    parent: dict[int, int] = {}
    above, nests, top = {}, [], list(range(width))
    # Nodes are joined two or three at a time, while at least two are left beside them.
    while len(top) > 2 and rng.random() < 0.8:
        size = int(rng.integers(2, min(4, len(top))))
        chosen = rng.choice(len(top), size, replace=False)
        members = [top[i] for i in chosen]
        top = [t for i, t in enumerate(top) if i not in chosen]
        nest = len(nests)
        nests.append(ROOT)
        for node in members:
            parent[node] = nest
        top.append(width + nest)
    for node, nest in parent.items():
        if node >= width:
            nests[node - width] = nest
        else:
            above[node] = nest
    return Tree(tuple(above.get(j, ROOT) for j in range(width)), tuple(nests))


def by_loops(tree: Tree, lambdas: np.ndarray, utility: np.ndarray, is_open: np.ndarray) -> list:
    """Log probabilities of one row, by recursion over the children of every nest."""
    width = len(tree.alternatives)

    def children(nest: int) -> list[int]:
        leaves = [j for j in range(width) if tree.alternatives[j] == nest]
        return leaves + [width + m for m in range(len(tree.nests)) if tree.nests[m] == nest]

    def value(node: int) -> float:
        if node < width:
            return float(utility[node]) if is_open[node] else -math.inf
        return inclusive(node - width)

    def scale(nest: int) -> float:
        return 1.0 if nest == ROOT else float(lambdas[nest])

    def inclusive(nest: int) -> float:
        values = [value(c) / scale(nest) for c in children(nest)]
        top = max(values)
        if top == -math.inf:
            return -math.inf
        return scale(nest) * (top + math.log(math.fsum(math.exp(v - top) for v in values)))

    found = []
    for j in range(width):
        if not is_open[j]:
            found.append(-math.inf)
            continue
        node, nest, total = j, tree.alternatives[j], 0.0
        while True:
            total += (value(node) - inclusive(nest)) / scale(nest)
            if nest == ROOT:
                break
            node, nest = width + nest, tree.nests[nest]
        found.append(total)
    return found


def world(
    seed: int, *, lead: tuple[int, ...] = (), closed: bool = True
) -> tuple[Tree, np.ndarray, np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(seed)
    width, n = int(rng.integers(3, 9)), 12
    tree = random_tree(rng, width)
    while not tree.nests:
        tree = random_tree(rng, width)
    ratios = rng.uniform(0.05, 1.0, (*lead, len(tree.nests)))
    utility = 3.0 * rng.normal(size=(*lead, n, width))
    available = None
    if closed:
        available = rng.random((n, width)) < 0.6
        available[np.arange(n), rng.integers(width, size=n)] = True
    return tree, dissimilarities(np, tree, ratios), utility, available


def test_trees_have_several_levels_here() -> None:
    trees = [world(seed)[0] for seed in SEEDS]
    assert sum(any(m != ROOT for m in tree.nests) for tree in trees) > 10


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_loops(seed: int, closed: bool) -> None:
    tree, lambdas, utility, available = world(seed, closed=closed)
    got = nested.log_probabilities(np, tree, lambdas, utility, available)
    is_open = np.ones(utility.shape, dtype=bool) if available is None else available
    expected = np.array(
        [by_loops(tree, lambdas, v, o) for v, o in zip(utility, is_open, strict=True)]
    )
    np.testing.assert_allclose(got[is_open], expected[is_open], rtol=1e-11, atol=1e-12)
    assert (np.exp(got[~is_open]) == 0).all()
    np.testing.assert_allclose(np.exp(got).sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_lambdas_of_one_are_the_logit(seed: int) -> None:
    tree, lambdas, utility, available = world(seed)
    got = nested.log_probabilities(np, tree, np.ones_like(lambdas), utility, available)
    expected = logit.log_probabilities(np, utility, available)
    np.testing.assert_allclose(np.exp(got), np.exp(expected), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(got[available], expected[available], rtol=1e-12, atol=1e-12)


def test_a_nest_with_the_lambda_of_its_parent_is_none() -> None:
    deep = Tree((ROOT, 0, 1, 1), (ROOT, 0))
    flat = Tree((ROOT, 0, 0, 0), (ROOT,))
    utility = np.random.default_rng(1).normal(size=(9, 4))
    np.testing.assert_allclose(
        nested.log_probabilities(np, deep, np.array([0.4, 0.4]), utility),
        nested.log_probabilities(np, flat, np.array([0.4]), utility),
        rtol=1e-13,
        atol=1e-13,
    )


def test_lambdas_never_rise_on_the_way_down() -> None:
    tree = Tree((ROOT, 0, 1, 1, 2, 2), (ROOT, 0, 1))
    ratios = np.random.default_rng(0).uniform(size=(50, 3))
    lambdas = dissimilarities(np, tree, ratios)
    np.testing.assert_allclose(lambdas, np.cumprod(ratios, axis=1))
    assert all((lambdas[:, b] <= lambdas[:, a]).all() for a, b in pairwise(range(3)))
    back = Tree((2, 2, 1, 1, 0, ROOT), (1, 2, ROOT))
    np.testing.assert_allclose(
        dissimilarities(np, back, ratios), np.cumprod(ratios[:, ::-1], axis=1)[:, ::-1]
    )
    assert tree.below(0) == (1, 2, 3, 4, 5)
    assert back.below(1) == (2, 3, 4)


def test_two_buses_of_one_colour_take_from_each_other_only() -> None:
    """With lambda near zero, alternatives of a nest are one."""
    tree, utility = Tree((ROOT, 0, 0), (ROOT,)), np.zeros((1, 3))
    p = np.exp(nested.log_probabilities(np, tree, np.array([1e-3]), utility))
    np.testing.assert_allclose(p, [[0.5, 0.25, 0.25]], atol=1e-3)


@pytest.mark.parametrize("lam", [1e-3, 0.5, 1.0])
@pytest.mark.parametrize("size", [-700.0, 700.0])
def test_extreme_utilities_stay_finite(size: float, lam: float) -> None:
    tree = Tree((ROOT, 0, 0, 1, 1), (ROOT, ROOT))
    utility = size * np.array([[0.0, 1, -1, 1, 0.5], [1, 1, 1, 1, 1], [-1, -1, -1, -1, 1]])
    got = nested.log_probabilities(np, tree, np.array([lam, lam]), utility)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(np.exp(got).sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("closed", [[1, 2], [0, 1, 2], [0, 3], [0, 1, 2, 3]])
def test_a_nest_with_none_open_is_not_chosen(closed: list[int]) -> None:
    tree = Tree((ROOT, 0, 0, 1, 1), (ROOT, ROOT))
    available = np.ones((2, 5), dtype=bool)
    available[0, closed] = False
    utility = np.full((2, 5), 700.0)
    p = np.exp(nested.log_probabilities(np, tree, np.array([0.3, 1e-4]), utility, available))
    assert (p[0, closed] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


@pytest.mark.parametrize("seed", range(10))
def test_permuted_alternatives_permute_the_probabilities(seed: int) -> None:
    tree, lambdas, utility, available = world(seed)
    order = np.random.default_rng(seed).permutation(utility.shape[1])
    moved = Tree(tuple(tree.alternatives[j] for j in order), tree.nests)
    assert available is not None
    np.testing.assert_allclose(
        nested.log_probabilities(np, moved, lambdas, utility[:, order], available[:, order]),
        nested.log_probabilities(np, tree, lambdas, utility, available)[:, order],
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_constant_added_to_all_utilities_changes_nothing(seed: int) -> None:
    """So that any alternative may be the base."""
    tree, lambdas, utility, available = world(seed)
    np.testing.assert_allclose(
        nested.log_probabilities(np, tree, lambdas, utility + 31.0, available),
        nested.log_probabilities(np, tree, lambdas, utility, available),
        rtol=1e-10,
        atol=1e-10,
    )


@pytest.mark.parametrize("lead", [(3,), (2, 3)])
def test_leading_dimensions_are_draws(lead: tuple[int, ...]) -> None:
    tree, lambdas, utility, available = world(5, lead=lead)
    got = nested.log_probabilities(np, tree, lambdas, utility, available)
    for index in np.ndindex(lead):
        one = nested.log_probabilities(np, tree, lambdas[index], utility[index], available)
        np.testing.assert_allclose(got[index], one, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("seed", range(12))
def test_pytensor_gives_the_same_numbers_and_finite_gradients(seed: int) -> None:
    import pytensor
    import pytensor.tensor as pt

    tree, lambdas, utility, available = world(seed, closed=seed % 2 == 0)
    ratios, v = pt.dvector(), pt.dmatrix()
    log_p = nested.log_probabilities(pt, tree, dissimilarities(pt, tree, ratios), v, available)
    open_ = np.ones(utility.shape, dtype=bool) if available is None else available
    total = pt.sum(pt.where(open_, log_p, 0.0))
    plain = pytensor.compile.mode.Mode(linker="py", optimizer=None)
    run = pytensor.function([ratios, v], [log_p, *pytensor.grad(total, [ratios, v])], mode=plain)
    above = np.array([1.0, *lambdas])[[m + 1 for m in tree.nests]]
    for scale in (1.0, 100.0):
        got, by_ratio, by_utility = run(lambdas / above, scale * utility)
        expected = nested.log_probabilities(np, tree, lambdas, scale * utility, available)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        assert np.isfinite(by_ratio).all()
        assert np.isfinite(by_utility).all()
        assert (by_utility[~open_] == 0).all()


@pytest.mark.parametrize("seed", range(12))
def test_slopes_are_those_of_the_probabilities(seed: int) -> None:
    from dataclasses import replace

    rng = np.random.default_rng(seed)
    columns = random_columns(rng, alternatives=4)
    columns = replace(columns, nests=Tree((0, 0, 1, 1), (ROOT, ROOT)))
    coefficients = random_coefficients(rng, columns, lead=(3,))
    coefficients = replace(coefficients, lambdas=rng.uniform(0.2, 1.0, (3, 2)))
    moving = replace(
        columns,
        persons=rng.normal(size=columns.persons.shape),
        only={j: np.zeros_like(block) for j, block in columns.only.items()},
        attributes=None if columns.attributes is None else np.zeros_like(columns.attributes),
        groups={by: (c, np.zeros_like(t)) for by, (c, t) in columns.groups.items()},
    )
    got = slopes(columns, moving, coefficients)
    h = 1e-5
    arms = [
        np.exp(
            log_probabilities(
                np, replace(columns, persons=columns.persons + s * h * moving.persons), coefficients
            )
        )
        for s in (-1, 1)
    ]
    np.testing.assert_allclose(got, (arms[1] - arms[0]) / (2 * h), rtol=1e-6, atol=1e-9)


def test_the_kernel_refuses_what_it_would_get_wrong() -> None:
    from dataclasses import replace

    from bayesmig.errors import InferenceError
    from bayesmig.inference.blocks import arrange

    columns = random_columns(np.random.default_rng(0), alternatives=3, groups=[])
    assert beyond_logit(columns) == ()
    arrange(columns, {})
    with pytest.raises(InferenceError, match="do not cover nests"):
        arrange(replace(columns, nests=Tree((ROOT, 0, 0), (ROOT,))), {})
