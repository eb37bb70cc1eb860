"""Rows in the blocks that the kernel reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesmig.design.design import build_design
from bayesmig.errors import InferenceError
from bayesmig.inference.blocks import arrange, rows_of
from bayesmig.inference.kernel import BLOCK
from tests.fabricate import small_survey, theory
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


def test_weighted_rows_of_nests_are_refused() -> None:
    """Their likelihood would be that of rows without weights."""
    nests = [{"name": "movers", "alternatives": ["internal", "international"]}]
    design = build_design(theory("female", groups=[], nests=nests), small_survey())
    assert rows_of(design, "double").beyond is not None
    weighted = replace(design, spec=design.spec.model_copy(update={"weights": "pseudo"}))
    assert weighted.likelihood_weights is not None
    with pytest.raises(InferenceError, match="does not weight the rows of nests") as raised:
        rows_of(weighted, "double")
    assert raised.value.where == ("key weights",)
    assert "estimand" in raised.value.mend
