"""Priors in words: the numbers are those of the distributions."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from bayesmig.explanation.beliefs import (
    coefficient_words,
    constant_words,
    correlation_range,
    correlation_words,
    scale_prior_words,
)
from bayesmig.spec.priors import ConstantPrior, CorrelationPrior, Prior, ScalePrior


def odds(text: str) -> tuple[float, float]:
    low, high = re.search(r"by ([\d.e+-]+) to ([\d.e+-]+)$", text).groups()  # type: ignore[union-attr]
    return float(low), float(high)


def normal_mass(z: float) -> float:
    return math.erf(z / math.sqrt(2))


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (0.0, 0.2), (-1.0, 0.5)])
def test_a_normal_holds_95_in_100_between_its_odds(loc: float, scale: float) -> None:
    low, high = odds(coefficient_words(Prior(loc=loc, scale=scale), "stay"))
    mass = (
        normal_mass((math.log(high) - loc) / scale) - normal_mass((math.log(low) - loc) / scale)
    ) / 2
    assert mass == pytest.approx(0.95, abs=0.01)  # two digits are printed


def test_a_laplace_and_a_cauchy_have_their_own_tails() -> None:
    _, laplace = odds(coefficient_words(Prior(dist="laplace", scale=0.3), "stay"))
    assert laplace == pytest.approx(20**0.3, rel=0.03)
    _, cauchy = odds(coefficient_words(Prior(dist="student_t", df=1.0, scale=0.1), "stay"))
    assert cauchy == pytest.approx(math.exp(0.1 * math.tan(math.pi * 0.475)), rel=0.03)


@pytest.mark.parametrize(
    ("prior", "top"),
    [
        (ScalePrior(scale=2.0), 2 * math.log(20)),
        (ScalePrior(dist="half_normal", scale=0.5), 0.98),
        (ScalePrior(dist="half_student_t", df=1.0, scale=1.0), math.tan(math.pi * 0.475)),
    ],
)
def test_scales_lie_below_what_is_said(prior: ScalePrior, top: float) -> None:
    said = float(re.search(r"below ([\d.]+)\. ", scale_prior_words(prior))[1])  # type: ignore[index]
    assert said == pytest.approx(top, rel=0.03)


@pytest.mark.parametrize("eta", [1.0, 2.0, 4.0])
def test_a_correlation_of_two_effects_against_its_density(eta: float) -> None:
    """LKJ in two dimensions is proportional to ``(1 - r²)^(eta - 1)``."""
    grid = np.linspace(-1, 1, 200_001)[1:-1]
    density = (1 - grid**2) ** (eta - 1)
    low, high = correlation_range(eta, 2)
    inside = density[(grid > low) & (grid < high)].sum() / density.sum()
    assert inside == pytest.approx(0.95, abs=1e-4)
    assert low == -high


def test_a_correlation_of_three_effects_against_the_determinant() -> None:
    """LKJ is proportional to ``det(R)^(eta - 1)``, summed here over the other two."""
    axis = np.linspace(-1, 1, 161)
    a, b, c = np.meshgrid(axis, axis, axis, indexing="ij")
    determinant = 1 + 2 * a * b * c - a**2 - b**2 - c**2
    marginal = np.maximum(determinant, 0.0).sum(axis=(1, 2))
    low, high = correlation_range(2.0, 3)
    share = marginal[(axis > low) & (axis < high)].sum() / marginal.sum()
    assert share == pytest.approx(0.95, abs=0.01)
    # The wrong size would be seen.
    low, high = correlation_range(2.0, 6)
    assert marginal[(axis > low) & (axis < high)].sum() / marginal.sum() < 0.9


def test_what_is_said_depends_on_what_is_stated() -> None:
    assert "every value is as likely" in coefficient_words(Prior(dist="flat"), "stay")
    assert "one unit more multiplies" in coefficient_words(Prior(per="unit"), "stay")
    assert "one standard deviation multiplies" in coefficient_words(Prior(), "stay")
    assert "between alternatives" in coefficient_words(Prior(), "")
    assert "centre 0.5" in coefficient_words(Prior(loc=0.5), "stay")
    assert "observed share against stay" in constant_words(ConstantPrior(), "stay")
    assert "wider where" in constant_words(ConstantPrior(), "stay")
    stated = constant_words(ConstantPrior(loc=-2.0, scale=1.0), "stay")
    assert "centre -2" in stated and "wider" not in stated
    assert correlation_words(CorrelationPrior(), None) == "LKJ, eta 2"


def test_no_scale_overflows() -> None:
    assert "e+130" in coefficient_words(Prior(scale=1e6), "stay")
    assert "e+130" in scale_prior_words(ScalePrior(scale=1e6))
