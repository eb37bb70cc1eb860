"""Rows in the blocks that the kernel reads."""

from __future__ import annotations

import numpy as np
import pytest

from bayesmig.inference.blocks import arrange
from bayesmig.inference.kernel import BLOCK
from tests.random_columns import random_columns


@pytest.mark.parametrize("n", [1, BLOCK, 16 * BLOCK, 16 * BLOCK + 1, 9_999])
def test_every_row_is_in_its_block(n: int) -> None:
    """Also where rows are put in order in parts; what is left of the last block is empty."""
    rng = np.random.default_rng(n)
    columns = random_columns(rng, n=n, persons=3, groups=[(5, 2)], availability=True)
    counts = rng.random(n)
    blocks = arrange(columns, {"origin": 5}, counts=counts)
    x, _, _, closed, weights, terms, *_ = blocks.arrays
    order, filled = blocks.order, -(-n // BLOCK) * BLOCK

    def rows(block: np.ndarray) -> np.ndarray:
        return np.moveaxis(block, 1, 2).reshape(filled, -1)

    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert (np.diff(columns.groups["origin"][0][order]) >= 0).all()
    np.testing.assert_array_equal(rows(x)[:n], columns.persons[order])
    np.testing.assert_array_equal(rows(terms)[:n], columns.groups["origin"][1][order])
    np.testing.assert_array_equal(rows(closed)[:n], ~columns.available[order])
    np.testing.assert_array_equal(weights.ravel()[:n], counts[order])
    assert not rows(x)[n:].any()
    assert not weights.ravel()[n:].any()
    same = arrange(columns, {"origin": 5}, order=order[::-1])
    np.testing.assert_array_equal(rows(same.arrays[0])[:n], columns.persons[order[::-1]])
