"""Derivatives of encoded columns against calculus, at bounds and edges too."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from bayesmig.design.formula import Encoder, learn
from bayesmig.errors import DesignError
from bayesmig.expressions import parse_formula
from tests.design.people import people, rich

N = 80


def table(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.uniform(0.05, 3.0, N),
            "z": rng.normal(size=N),
            "g": rng.choice(["a", "b"], N),
        }
    )


def encoder(text: str, frame: pd.DataFrame) -> Encoder:
    return learn(parse_formula(text), frame, constant=True)[0]


def derivative(text: str, frame: pd.DataFrame, column: str = "x") -> pd.DataFrame:
    made = encoder(text, frame)
    found = made.derivative(frame, {column: np.ones(len(frame))})
    return pd.DataFrame(found, columns=list(made.names))


Calculus = Callable[[pd.DataFrame], object]
KNOWN: dict[str, Calculus] = {
    "x": lambda f: 1.0,
    "square(x)": lambda f: 2 * f["x"],
    "log(x)": lambda f: 1 / f["x"],
    "log1p(x)": lambda f: 1 / (1 + f["x"]),
    "sqrt(x)": lambda f: 0.5 / np.sqrt(f["x"]),
    "center(square(x))": lambda f: 2 * f["x"],
    "scale(log(x))": lambda f: 1 / f["x"] / np.log(f["x"]).std(),
    "log(x ** 3 + 2)": lambda f: 3 * f["x"] ** 2 / (f["x"] ** 3 + 2),
    "sqrt(x / (1 + x))": lambda f: 0.5 * np.sqrt((1 + f["x"]) / f["x"]) / (1 + f["x"]) ** 2,
    "x:z": lambda f: f["z"],
    "x:square(x)": lambda f: 3 * f["x"] ** 2,
    "x:log(x):z": lambda f: f["z"] * (np.log(f["x"]) + 1),
    "square(z)": lambda f: 0.0,
}


@pytest.mark.parametrize("text", list(KNOWN))
def test_derivatives_are_those_of_calculus(text: str) -> None:
    frame = table()
    found = derivative(text, frame)
    expected = np.broadcast_to(np.asarray(KNOWN[text](frame), dtype=float), N)
    np.testing.assert_allclose(found[text], expected, rtol=1e-12, atol=1e-300)
    assert (found["asc"] == 0).all()


def test_levels_stand_still_and_multiply() -> None:
    frame = table()
    found = derivative("C(g, reference='a') * square(x)", frame)
    in_b = (frame["g"] == "b").to_numpy(dtype=float)
    assert (found["g[b]"] == 0).all()
    np.testing.assert_allclose(found["g[b]:square(x)"], in_b * 2 * frame["x"], rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    ["poly(x, degree=4)", "bs(x, df=4, degree=4)", "bs(x, df=3)", "bs(x, df=2, degree=2):z"],
)
def test_polynomials_through_their_values(text: str) -> None:
    """Without inner knots all are polynomials, whose derivatives a fit through values gives."""
    frame = table()
    made = encoder(text, frame)
    values = made.apply(frame)
    found = made.derivative(frame, {"x": np.ones(N)})
    by = np.ones(N) if ":z" not in text else frame["z"].to_numpy()
    for k, name in enumerate(made.names):
        if name == "asc":
            continue
        fitted = np.polynomial.Polynomial.fit(frame["x"], values[:, k] / by, 4)
        expected = by * fitted.deriv()(frame["x"].to_numpy())
        np.testing.assert_allclose(found[:, k], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_splines_between_their_knots(degree: int) -> None:
    """A spline integrates its derivative back, piece by piece, from bound to bound."""
    frame = table()
    made = encoder(f"bs(x, df=6, degree={degree})", frame)
    low, high = frame["x"].min(), frame["x"].max()
    inner = np.quantile(frame["x"], np.linspace(0, 1, 6 - degree + 2))
    nodes, weights = np.polynomial.legendre.leggauss(4)
    total = np.zeros(len(made.names))
    for a, b in pairwise(inner):
        at = pd.DataFrame({"x": a + (b - a) * (nodes + 1) / 2})
        total += (b - a) / 2 * weights @ made.derivative(at, {"x": np.ones(4)})
        ends = made.apply(pd.DataFrame({"x": [low, b]}))
        np.testing.assert_allclose(total, ends[1] - ends[0], rtol=0, atol=1e-12)
    assert b == high


def test_bounds_of_a_spline_are_no_edge() -> None:
    """A cubic without inner knots has the end slopes of its Bernstein polynomials."""
    frame = pd.DataFrame({"x": np.linspace(0.0, 2.0, 9)})
    made = encoder("bs(x, df=3)", frame)
    found = made.derivative(frame, {"x": np.ones(9)})
    np.testing.assert_allclose(found[0], [0, 1.5, 0, 0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(found[-1], [0, 0, -1.5, 1.5], rtol=0, atol=1e-14)


def test_near_the_edge_of_a_logarithm() -> None:
    frame = table().assign(x=np.geomspace(1e-9, 1e6, N))
    np.testing.assert_allclose(derivative("log(x)", frame)["log(x)"], 1 / frame["x"], rtol=1e-12)


def test_a_root_of_zero_has_no_slope() -> None:
    frame = table()
    frame.loc[[3, 8], "x"] = 0.0
    made = encoder("z + sqrt(x)", frame)
    with pytest.raises(DesignError, match=r"'sqrt\(x\)' has no finite slope") as caught:
        made.derivative(frame, {"x": np.ones(N)}, where="rows")
    assert caught.value.where == ("rows", "rows 3, 8")
    assert (made.derivative(frame, {"z": np.ones(N)})[:, 2] == 0).all()


def test_what_was_learnt_stays() -> None:
    frame = table()
    made = encoder("poly(x, degree=2) + bs(z, df=4) + scale(x)", frame)
    before = made.apply(frame)
    made.derivative(frame, {"x": np.ones(N), "z": np.ones(N)})
    np.testing.assert_array_equal(made.apply(frame), before)


def test_derivatives_of_every_block() -> None:
    """Persons, one alternative, attributes and groups, where all of them read wealth."""
    built, frame = rich(), people()
    found = built.derivative(built.frame, "wealth", built.columns)
    expected = {
        "wealth": np.ones(len(frame)),
        "female:wealth": frame["female"].to_numpy(dtype=float),
    }
    for k, name in enumerate(built.persons):
        np.testing.assert_allclose(found.persons[:, k], expected.get(name, 0.0), rtol=1e-12)
    position = built.alternatives.index("international")
    np.testing.assert_allclose(found.only[position][:, 0], 2 * frame["wealth"], rtol=1e-12)
    assert (found.attributes == 0).all()
    codes, terms = found.groups["origin"]
    np.testing.assert_array_equal(codes, built.columns.groups["origin"][0])
    np.testing.assert_allclose(terms, np.tile([0, 1 / frame["wealth"].std()], (len(frame), 1)))
    assert found.available is built.columns.available


def test_an_attribute_moves_with_the_column_that_holds_it() -> None:
    built, frame = rich(), people()
    internal = built.derivative(built.frame, "cost_internal", built.columns).attributes
    for j, alternative in enumerate(built.alternatives):
        speed = float(alternative == "internal")
        np.testing.assert_array_equal(internal[:, j, 0], np.full(len(frame), speed))
        np.testing.assert_array_equal(internal[:, j, 1], speed * frame["female"])
    female = built.derivative(built.frame, "female", built.columns).attributes
    np.testing.assert_allclose(female[:, :, 1], built.columns.attributes[:, :, 0], rtol=1e-12)
