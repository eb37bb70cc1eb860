"""What the data cannot carry is named before any sampling."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmig.choice.utility import Coefficients, Columns, utilities
from bayesmig.design.differences import difference_rows
from bayesmig.design.support import observed_ranges
from bayesmig.errors import DesignError
from tests.design.people import design, people, theory
from tests.random_columns import random_columns


def refused(persons: str, frame: pd.DataFrame, **keys: object) -> DesignError:
    with pytest.raises(DesignError) as caught:
        design(theory(persons, **keys), frame)
    return caught.value


# ----------------------------------------------------------------------------- rank


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_a_constant_column_is_named_plainly(value: float) -> None:
    err = refused("wealth + flat", people().assign(flat=value))
    assert err.what.startswith(f"the column 'flat' is constant (= {value})")
    assert "leave it out" in err.mend


def test_a_constant_column_may_stand_in_for_the_constant() -> None:
    assert design(theory("0 + wealth + flat"), people().assign(flat=2.0)).persons == (
        "wealth", "flat",
    )  # fmt: skip


def test_a_category_of_one_level_is_named() -> None:
    err = refused("wealth + C(region, reference='west')", people().assign(region="west"))
    assert "the column 'region' has only the level 'west'" in err.what


@pytest.mark.parametrize(
    ("persons", "involved", "innocent"),
    [
        ("wealth + female + double", ("'wealth'", "'double'"), "'female'"),
        ("wealth + female + shifted", ("'wealth'", "'shifted'"), "'female'"),
        ("wealth + female + square(female)", ("'female'", "'square(female)'"), "'wealth'"),
        ("education + wealth + both", ("'education'", "'wealth'", "'both'"), "'female'"),
        (
            "C(region, reference='west') + north + wealth",
            ("'region[north]'", "'north'"),
            "'wealth'",
        ),
        ("wealth + almost", ("'wealth'", "'almost'"), "'asc'"),
    ],
)
def test_columns_that_are_combinations_are_named(
    persons: str, involved: tuple[str, ...], innocent: str
) -> None:
    rng = np.random.default_rng(9)
    frame = people().assign(
        double=lambda f: 2 * f["wealth"],
        shifted=lambda f: f["wealth"] - 40,
        both=lambda f: f["education"] + f["wealth"],
        north=lambda f: (f["region"] == "north").astype(int),
        almost=lambda f: f["wealth"] + 1e-7 * rng.normal(size=len(f)),
    )
    err = refused(persons, frame)
    assert "rank-deficient" in err.what
    for name in involved:
        assert name in err.what
    assert innocent not in err.what


def test_far_off_columns_are_not_mistaken_for_combinations() -> None:
    years = np.random.default_rng(0).integers(1997, 2015, 300).astype(float)
    built = design(theory("year + square(year) + wealth"), people().assign(year=years))
    assert "square(year)" in built.persons


def test_an_attribute_that_does_not_vary_over_alternatives_is_refused() -> None:
    frame = people().assign(same=lambda f: f["wealth"])
    spec = theory("1", utility={"alternatives": "same"})
    with pytest.raises(DesignError, match="the column 'same' is zero for everybody"):
        design(spec, frame, attributes={"same": dict.fromkeys(("stay", "internal",
               "international"), "same")})  # fmt: skip


def test_a_constant_in_two_blocks_is_refused() -> None:
    err = refused("1 + wealth", people(), utility={"only": {"internal": "1"}})
    assert "rank-deficient" in err.what
    assert "'asc (only internal)'" in err.what


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_difference_rows_are_derivatives_of_utility_differences(seed: int, n: int) -> None:
    """One coefficient at a time, through the utilities themselves."""
    columns = random_columns(np.random.default_rng(seed), n=n)
    k, width = columns.persons.shape[1], columns.n_alternatives - 1
    n_only = [block.shape[1] for block in columns.only.values()]
    n_attributes = 0 if columns.attributes is None else columns.attributes.shape[2]
    size = k * width + sum(n_only) + n_attributes
    plain = Columns(**{f: getattr(columns, f) for f in Columns.__slots__} | {"groups": {}})
    rows = np.concatenate(list(difference_rows(plain)))
    assert rows.shape == (n * width, size)
    nonbase = [j for j in range(columns.n_alternatives) if j != columns.base]
    for c in range(size):
        one = np.zeros(size)
        one[c] = 1.0
        v = utilities(
            np,
            plain,
            Coefficients(
                persons=one[: k * width].reshape(k, width),
                only=one[k * width : k * width + sum(n_only)],
                attributes=one[k * width + sum(n_only) :],
            ),
        )
        for w, j in enumerate(nonbase):
            for i in range(n):
                both = columns.available is None or (
                    columns.available[i, j] and columns.available[i, columns.base]
                )
                expected = v[i, j] - v[i, columns.base] if both else 0.0
                assert abs(rows[i * width + w, c] - expected) < 1e-12


# --------------------------------------------------------------------------- ranges


def test_observed_ranges_hold_quantiles_and_levels() -> None:
    frame = pd.DataFrame({"x": np.arange(101.0), "t": ["b", "a"] * 50 + [None]})
    ranges, levels = observed_ranges(frame)
    assert ranges == {"x": (0.0, 1.0, 99.0, 100.0)}
    assert levels == {"t": ("a", "b")}


def test_a_design_keeps_the_ranges_of_what_it_reads() -> None:
    frame = people()
    support = design(theory("wealth"), frame[["choice", "wealth"]]).support
    assert support.ranges["wealth"][0] == frame["wealth"].min()
    assert support.ranges["wealth"][3] == frame["wealth"].max()
    assert support.levels["choice"] == ("internal", "international", "stay")
