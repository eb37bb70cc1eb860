"""Formulas put on tables: what is learnt, re-applied, and refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from formulaic import model_matrix
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmig.design.formula import CONSTANT, Encoder, learn
from bayesmig.errors import DesignError
from bayesmig.expressions import parse_formula


def table(n: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.uniform(1, 9, n),
            "y": rng.normal(size=n),
            "flag": rng.integers(2, size=n).astype(bool),
            "count": rng.integers(0, 5, n),
            "region": rng.choice(["north", "south", "west"], n),
            "year": rng.choice([1997, 2000, 2007], n),
        }
    )


def learnt(text: str, frame: pd.DataFrame, constant: bool = True) -> tuple[Encoder, np.ndarray]:
    return learn(parse_formula(text), frame, constant=constant)


def refused(text: str, frame: pd.DataFrame, applied_to: pd.DataFrame | None = None) -> DesignError:
    if applied_to is None:
        with pytest.raises(DesignError) as caught:
            learnt(text, frame)
    else:
        encoder, _ = learnt(text, frame)
        with pytest.raises(DesignError) as caught:
            encoder.apply(applied_to, where="scenario")
        assert "scenario" in caught.value.where
    return caught.value


# ---------------------------------------------------------------------------- columns


def test_columns_are_what_the_formula_says() -> None:
    frame = table()
    encoder, columns = learnt("x * flag + square(y) + log(x) + log1p(count) + sqrt(x + 1)", frame)
    x, y, flag = frame["x"], frame["y"], frame["flag"].astype(float)
    expected = {
        "asc": np.ones(len(frame)),
        "x": x,
        "flag": flag,
        "square(y)": y**2,
        "log(x)": np.log(x),
        "log1p(count)": np.log(1 + frame["count"]),
        "sqrt(x + 1)": np.sqrt(x + 1),
        "x:flag": x * flag,
    }
    assert encoder.names == tuple(expected)
    np.testing.assert_allclose(columns, np.column_stack(list(expected.values())), rtol=1e-14)
    assert columns.dtype == np.float64


@pytest.mark.parametrize(
    "text",
    ["x", "y + x", "x:y + flag", "count:x:y + y:x + x", "(y + x + flag + count) ** 3 - x:y"],
)
@pytest.mark.parametrize("constant", [True, False])
def test_columns_and_products_are_those_of_formulaic(text: str, constant: bool) -> None:
    frame, formula = table().drop(columns=["region", "year"]), parse_formula(text)
    encoder, columns = learn(formula, frame, constant=constant)
    asked = " + ".join(":".join(factor.name for factor in term) for term in formula.terms)
    theirs = model_matrix(f"{int(constant)} + {asked}", frame.astype(float))
    names = [CONSTANT if name == "Intercept" else name for name in theirs.columns]
    assert list(encoder.names) == names
    np.testing.assert_allclose(columns, theirs, rtol=1e-14)
    np.testing.assert_array_equal(encoder.apply(frame[::-1]), columns[::-1])


def test_levels_are_indicators_against_the_stated_reference() -> None:
    frame = table()
    encoder, columns = learnt("C(region, reference='south')", frame)
    assert encoder.names == ("asc", "region[north]", "region[west]")
    assert encoder.levels == {"region": ("north", "south", "west")}
    expected = np.column_stack([frame["region"] == level for level in ("north", "west")])
    np.testing.assert_array_equal(columns[:, 1:], expected)


@pytest.mark.parametrize("reference", [1997, 2007])
def test_numbers_can_be_levels(reference: int) -> None:
    frame = table()
    encoder, columns = learnt(f"C(year, reference={reference})", frame)
    others = [y for y in (1997, 2000, 2007) if y != reference]
    assert encoder.names[1:] == tuple(f"year[{y}]" for y in others)
    np.testing.assert_array_equal(columns[:, 1], frame["year"] == others[0])
    np.testing.assert_array_equal(encoder.apply(frame.astype({"year": float})), columns)


def test_a_column_can_be_a_number_and_a_category_at_once() -> None:
    encoder, columns = learnt("y:C(year, reference=1997) + year", frame := table())
    year = columns[:, encoder.names.index("year")]
    np.testing.assert_array_equal(year, frame["year"])


def test_a_product_without_its_margin_keeps_all_levels() -> None:
    encoder, _ = learnt("C(region, reference='south'):x", table())
    assert encoder.names == ("asc", "region[north]:x", "region[south]:x", "region[west]:x")


@pytest.mark.parametrize("constant", [True, False])
def test_the_constant_is_the_caller_s_choice(constant: bool) -> None:
    encoder, columns = learnt("x + C(region, reference='south')", table(), constant)
    assert (CONSTANT in encoder.names) == constant
    assert ("region[south]" in encoder.names) is False
    assert columns.shape[1] == 3 + constant


STRANGE = ["it's", 'a"b', "it's \"q\"", "a`b", "a}b{", "a\\", "a\nb", "a~b", "a+b:c", "[T.0]", "C(",
           "'); (lambda: 1)() #", "é", " "]  # fmt: skip


@pytest.mark.parametrize("level", STRANGE)
def test_no_text_of_a_level_can_break_or_enter_a_formula(level: str) -> None:
    frame = pd.DataFrame({"c": ["ok", level, "z"] * 4, "x": np.arange(12.0)})
    encoder, columns = learnt("C(c, reference='ok') * x", frame)
    assert set(encoder.names) == {
        "asc", "x", f"c[{level}]", "c[z]", f"c[{level}]:x", "c[z]:x",
    }  # fmt: skip
    at = encoder.names.index(f"c[{level}]")
    np.testing.assert_array_equal(columns[:, at], frame["c"] == level)


# ------------------------------------------------------------------------- re-applied

FORMULAS = [
    "x",
    "scale(x) + center(y)",
    "scale(log(x)) * C(region, reference='west')",
    "poly(x, degree=3)",
    "bs(x, df=5)",
    "bs(y, df=4, lower_bound=-10, upper_bound=10)",
    "square(scale(x))",
    "sqrt(center(x) + center(y) + 100)",
    "C(year, reference=2000):C(region, reference='north') + flag",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_was_learnt_is_re_applied_row_by_row(text: str) -> None:
    """Any rows, in any order, get the very columns that they got on the survey."""
    frame = table(60)
    encoder, columns = learnt(text, frame)
    np.testing.assert_array_equal(encoder.apply(frame), columns)
    rows = np.random.default_rng(1).permutation(60)[:7]
    np.testing.assert_allclose(encoder.apply(frame.iloc[rows]), columns[rows], rtol=1e-12)
    assert encoder.apply(frame.iloc[:0]).shape == (0, columns.shape[1])


def test_learning_again_on_other_rows_would_give_other_columns() -> None:
    """The negative control: the tables above are not trivially re-encoded alike."""
    frame = table(60)
    for text in FORMULAS[1:6]:
        part = learnt(text, frame.iloc[:30])[1]
        assert not np.allclose(part, learnt(text, frame)[1][:30])


@settings(max_examples=30)
@given(
    st.lists(st.floats(-50, 50), min_size=8, max_size=30, unique=True),
    st.lists(st.integers(0, 7), min_size=1, max_size=8),
)
def test_scaling_is_learnt_once(values: list[float], rows: list[int]) -> None:
    frame = pd.DataFrame({"x": np.round(values, 3)})
    if frame["x"].std() < 1e-3:
        return
    encoder, columns = learnt("scale(x)", frame)
    mean, sd = np.mean(frame["x"]), np.std(frame["x"], ddof=1)
    np.testing.assert_allclose(columns[:, 1], (frame["x"] - mean) / sd, atol=1e-9)
    np.testing.assert_allclose(
        encoder.apply(frame.iloc[rows])[:, 1], (frame["x"].iloc[rows] - mean) / sd, atol=1e-9
    )


def test_the_caller_s_table_is_not_touched() -> None:
    frame = table()
    before = frame.copy(deep=True)
    encoder, _ = learnt("scale(x) * C(region, reference='west')", frame)
    encoder.apply(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_the_index_of_the_table_does_not_matter() -> None:
    frame = table()
    odd = frame.set_axis(np.arange(len(frame))[::-1] * 7)
    encoder, columns = learnt("scale(x) + C(region, reference='west')", odd)
    np.testing.assert_array_equal(
        columns, learnt("scale(x) + C(region, reference='west')", frame)[1]
    )
    np.testing.assert_array_equal(encoder.apply(odd), columns)


# --------------------------------------------------------------------------- refusals


def test_a_missing_column_names_the_nearest() -> None:
    err = refused("regoin + x", table())
    assert "'regoin', which is not there; did you mean 'region'?" in err.what
    err = refused("x", table(), table().drop(columns="x"))
    assert "names the column 'x'" in err.what


def test_text_without_c_is_refused() -> None:
    err = refused("region", table())
    assert "holds text" in err.what
    assert "C(region, reference=...)" in err.mend


def test_a_reference_must_be_a_level() -> None:
    err = refused("C(region, reference='nord')", table())
    assert "did you mean 'north'?" in err.what
    refused("C(year, reference='1997')", table())  # the text is not the number


def test_an_unseen_level_is_never_a_row_of_zeros() -> None:
    new = table().assign(region=lambda f: f["region"].where(f.index != 5, "east"))
    err = refused("C(region, reference='west')", table(), new)
    assert "the level 'east' of 'region' was not in the survey of the fit" in err.what
    assert "rows 5" in err.where


@pytest.mark.parametrize("column", ["x", "region", "year"])
def test_missing_values_are_refused_with_their_rows(column: str) -> None:
    frame = table().astype({"year": float})
    holed = frame.assign(**{column: frame[column].where(~frame.index.isin([3, 17]))})
    text = "x + C(region, reference='west') + C(year, reference=1997)"
    for err in (refused(text, holed), refused(text, frame, holed)):
        assert f"the column {column!r} has 2 missing values" in err.what
        assert "rows 3, 17" in err.where


@pytest.mark.parametrize(
    ("text", "spoil"),
    [
        ("log(x)", lambda f: f.assign(x=f["x"].where(f.index != 4, 0.0))),
        ("log(x)", lambda f: f.assign(x=f["x"].where(f.index != 4, -1.0))),
        ("log1p(x)", lambda f: f.assign(x=f["x"].where(f.index != 4, -1.0))),
        ("sqrt(x)", lambda f: f.assign(x=f["x"].where(f.index != 4, -2.0))),
        ("x", lambda f: f.assign(x=f["x"].where(f.index != 4, np.inf))),
    ],
)
def test_what_is_not_finite_is_refused_with_its_rows(
    text: str, spoil: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    """Neither dropped, which would shift all later rows, nor let through."""
    spoilt = spoil(table())
    for err in (refused(text, spoilt), refused(text, table(), spoilt)):
        assert f"the column {text!r} is not finite" in err.what
        assert "rows 4" in err.where


@pytest.mark.parametrize("factor", [1e200, 1e60, 1e-20, 1e-200])
@pytest.mark.parametrize("text", ["x", "scale(x)", "square(x)", "C(region, reference='north'):x"])
def test_a_unit_out_of_all_proportion_is_refused(text: str, factor: float) -> None:
    spoilt = table().assign(x=lambda f: factor * f["x"])
    err = refused(text, spoilt)
    assert err.what.startswith("the largest number of the column 'x' is ")
    assert "column x" in err.where
    assert "another unit" in err.mend


def test_a_product_out_of_all_proportion_is_refused() -> None:
    spoilt = table().assign(x=lambda f: 1e40 * f["x"])
    assert "the column 'square(x)' is " in refused("square(x)", spoilt).what
    _, columns = learnt("x", spoilt)
    assert np.isfinite(columns).all()
    assert "the column 'x' is 1e+200" in refused("x", table(), spoilt.assign(x=1e200)).what


def test_a_spline_is_not_extrapolated() -> None:
    err = refused("bs(x, df=5)", table(), table().assign(x=99.0))
    assert "outside the range that a bs() of 'bs(x, df=5)' has a basis for" in err.what
    assert "lower_bound=" in err.mend
    encoder, _ = learnt("bs(x, df=5, lower_bound=0, upper_bound=100)", table())
    assert np.isfinite(encoder.apply(table().assign(x=99.0))).all()


def test_what_formulaic_cannot_do_is_told_in_words() -> None:
    err = refused("bs(x, df=2)", table())  # fewer than a cubic needs
    assert "the formula 'bs(x, df=2)' cannot be evaluated" in err.what
    assert err.where == ()


@pytest.mark.parametrize("name", ["asc", "Intercept"])
def test_no_column_may_pass_for_the_constant(name: str) -> None:
    err = refused(f"{name} + x", table().assign(**{name: 2.0}))
    assert "it is the name of the constant" in err.what


def test_a_name_of_python_is_a_column_or_nothing() -> None:
    assert "'np', which is not there" in refused("np + x", table()).what
    _, columns = learnt("print + x", table().assign(print=3.0))
    assert (columns[:, 1] == 3.0).all()
