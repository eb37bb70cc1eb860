"""Response curves: by the letter, at the edges, and in PyTensor."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bayesmig.choice.probabilities import log_probabilities, slopes
from bayesmig.choice.response import EFFECT, SHAPES, Curve, response
from bayesmig.choice.utility import Coefficients, Columns, utilities
from tests.random_columns import random_coefficients, random_columns, utility_by_loops

DOSES = [0.0, 1e-8, 0.03, 0.2, 1.0, 4.0, 1e3]
PARAMETERS = {"half_saturation": 0.3, "hill_exponent": 2.4, "hump_bend": 0.7}


def by_the_letter(shape: str, dose: float, **of: float) -> float:
    match shape:
        case "linear":
            return dose
        case "log1p":
            return math.log(1 + dose) if dose > 1e-6 else dose - dose**2 / 2
        case "saturating":
            return dose / (dose + of["half_saturation"])
        case "hill":
            power, half = dose ** of["hill_exponent"], of["half_saturation"] ** of["hill_exponent"]
            return power / (power + half)
        case _:
            return dose - of["hump_bend"] * dose**2


def value(shape: str, doses: Any, **of: Any) -> Any:
    return response(np, shape, np.asarray(doses), *(np.asarray(of[p]) for p in SHAPES[shape]))


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_formula(shape: str) -> None:
    expected = [by_the_letter(shape, dose, **PARAMETERS) for dose in DOSES]
    np.testing.assert_allclose(value(shape, DOSES, **PARAMETERS), expected, rtol=1e-12, atol=1e-15)


def test_parameters_mean_what_they_are_called() -> None:
    for shape in ("saturating", "hill"):
        assert value(shape, [0.3], **PARAMETERS) == pytest.approx(0.5)
        assert value(shape, [1e9], **PARAMETERS) == pytest.approx(1.0)
        assert value(shape, [0.0], **PARAMETERS) == 0.0
    np.testing.assert_allclose(
        value("hill", DOSES, half_saturation=0.3, hill_exponent=1.0),
        value("saturating", DOSES, half_saturation=0.3),
        rtol=1e-12,
        atol=1e-15,
    )
    np.testing.assert_array_equal(value("hump", DOSES, hump_bend=0.0), DOSES)
    near = 1 / (2 * 0.7) + np.array([-1e-3, 0.0, 1e-3])
    assert value("hump", near, hump_bend=0.7).argmax() == 1


def test_steep_and_distant_curves_overflow_nowhere() -> None:
    got = value("hill", [0.0, 1e-300, 1e-3, 1e3, 1e300], half_saturation=1.0, hill_exponent=50.0)
    np.testing.assert_allclose(got, [0, 0, 0, 1, 1], atol=1e-100)


def test_a_curve_with_other_parameters_is_an_error() -> None:
    with pytest.raises(ValueError, match="no curve with 0 parameters"):
        response(np, "hill", np.ones(3))


def world(seed: int, *, lead: tuple[int, ...] = ()) -> tuple[Columns, Coefficients]:
    rng = np.random.default_rng(seed)
    columns = random_columns(rng, alternatives=4)
    n = len(columns.persons)
    shapes = list(SHAPES)
    curves = tuple(
        Curve(shape, tuple(rng.choice(4, rng.integers(1, 4), replace=False))) for shape in shapes
    )
    columns = replace(columns, curves=curves, doses=rng.gamma(1.0, 1.0, (n, len(shapes))))
    n_effects = sum(len(c.alternatives) for c in curves)
    sizes = {EFFECT: n_effects, "half_saturation": 2, "hill_exponent": 1, "hump_bend": 1}
    parameters = {name: rng.gamma(2.0, 0.5, (*lead, size)) for name, size in sizes.items()}
    return columns, replace(random_coefficients(rng, columns, lead=lead), curves=parameters)


@pytest.mark.parametrize("seed", range(20))
def test_curves_add_to_the_utilities_of_their_alternatives(seed: int) -> None:
    columns, coefficients = world(seed)
    got = utilities(np, columns, coefficients)
    of, used = coefficients.curves, dict.fromkeys(coefficients.curves or {}, 0)
    assert of is not None
    expected = np.array(
        [utility_by_loops(columns, coefficients, row) for row in range(len(columns.persons))]
    )
    for number, curve in enumerate(columns.curves):
        own = {}
        for name in SHAPES[curve.shape]:
            own[name] = float(of[name][used[name]])
            used[name] += 1
        for j in curve.alternatives:
            effect = of[EFFECT][used[EFFECT]]
            used[EFFECT] += 1
            for row, dose in enumerate(columns.doses[:, number]):
                expected[row, j] += effect * by_the_letter(curve.shape, float(dose), **own)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


def test_leading_dimensions_are_draws() -> None:
    columns, many = world(3, lead=(4,))
    got = log_probabilities(np, columns, many)
    from bayesmig.choice.utility import take_draws

    for s in range(4):
        one = log_probabilities(np, columns, take_draws(many, s))
        np.testing.assert_allclose(got[s], one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_slopes_are_those_of_the_probabilities(seed: int) -> None:
    columns, coefficients = world(seed, lead=(2,))
    moving = replace(
        columns,
        persons=np.zeros_like(columns.persons),
        only={j: np.zeros_like(block) for j, block in columns.only.items()},
        attributes=None if columns.attributes is None else np.zeros_like(columns.attributes),
        groups={by: (c, np.zeros_like(t)) for by, (c, t) in columns.groups.items()},
        doses=np.random.default_rng(seed).normal(size=columns.doses.shape),
    )
    got, h = slopes(columns, moving, coefficients), 1e-6
    arms = [
        np.exp(
            log_probabilities(
                np, replace(columns, doses=columns.doses + s * h * moving.doses), coefficients
            )
        )
        for s in (-1, 1)
    ]
    near = columns.doses.min(axis=1) > 0.01
    expected = (arms[1] - arms[0]) / (2 * h)
    np.testing.assert_allclose(got[:, near], expected[:, near], rtol=1e-4, atol=1e-7)
    assert np.abs(got).max() > 1e-3


@pytest.mark.parametrize("seed", range(6))
def test_pytensor_gives_the_same_numbers_and_finite_gradients(seed: int) -> None:
    import pytensor
    import pytensor.tensor as pt

    columns, coefficients = world(seed)
    columns.doses[:3] = [[0.0], [1e-9], [1e6]][: len(columns.doses)]
    assert coefficients.curves is not None
    inputs = {name: pt.dvector(name) for name in coefficients.curves}
    symbolic = replace(
        coefficients,
        persons=pt.as_tensor(coefficients.persons),
        only=None if coefficients.only is None else pt.as_tensor(coefficients.only),
        attributes=None
        if coefficients.attributes is None
        else pt.as_tensor(coefficients.attributes),
        effects={k: pt.as_tensor(v) for k, v in (coefficients.effects or {}).items()},
        curves=inputs,
    )
    log_p = log_probabilities(pt, columns, symbolic)
    gradients = pytensor.grad(log_p.sum(), list(inputs.values()))
    plain = pytensor.compile.mode.Mode(linker="py", optimizer=None)
    run = pytensor.function(list(inputs.values()), [log_p, *gradients], mode=plain)
    got, *slopes_ = run(*coefficients.curves.values())
    expected = log_probabilities(np, columns, coefficients)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    assert all(np.isfinite(s).all() for s in slopes_)
