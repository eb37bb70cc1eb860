"""The expansion: its curvatures are the likelihood's, its point is where it says."""

from __future__ import annotations

import numpy as np
import pytest

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design
from bayesmig.inference.density import Density
from bayesmig.inference.geometry import curvatures
from bayesmig.inference.layout import Layout, layout_of
from tests.inference.theories import design_of

STEP = 1e-4


def log_likelihood(design: Design, layout: Layout, vector: np.ndarray) -> float:
    """Of coefficients and effects, laid one after the other, by the plain choice model."""
    log_p = log_probabilities(
        np, utilities(np, design.columns, named(layout, vector)), design.columns.available
    )
    return float(log_p[np.arange(design.n_obs), design.choice].sum())


def named(layout: Layout, vector: np.ndarray) -> Coefficients:
    c = layout.n_coefficients
    effects = {f.by: f.effects.of(vector[c:]).reshape(f.shape) for f in layout.factors}
    return Coefficients(*layout.split(vector[:c]), effects=effects)


# Where the base is closed to some, differences to it are not all derivatives.
@pytest.mark.parametrize(
    "name", ["no_groups", "four_correlated", "two_factors", "only", "attributes"]
)
def test_curvatures_are_second_derivatives(name: str) -> None:
    design = design_of(name)
    layout = layout_of(design)
    c, size = layout.n_coefficients, layout.n_coefficients + layout.n_effects
    vector = np.random.default_rng(1).normal(0, 0.3, size)
    p = np.exp(log_probabilities(np, utilities(np, design.columns, named(layout, vector)), None))
    p = np.delete(p, design.columns.base, axis=1)
    for coupled in range(-1, len(layout.factors)):
        by_coefficients, cross, own = curvatures(design.columns, layout.factors, p, coupled)

        def second(i: int, j: int) -> float:
            a, b = np.zeros(size), np.zeros(size)
            a[i], b[j] = STEP * 10, STEP * 10
            corners = [
                log_likelihood(design, layout, vector + s * a + t * b) * s * t
                for s in (-1, 1)
                for t in (-1, 1)
            ]
            return -sum(corners) / (4 * (STEP * 10) ** 2)

        for i in range(c):
            for j in range(i + 1):
                assert by_coefficients[i, j] == pytest.approx(second(i, j), rel=1e-3, abs=1e-3)
        for k, factor in enumerate(layout.factors):
            for g in (0, factor.groups - 1):
                at = c + factor.effects.start + g * factor.width
                for i in range(factor.width):
                    for j in range(factor.width):
                        wanted = second(at + i, at + j)
                        assert own[k][g, i, j] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
                    if k == coupled:
                        block = cross[k]
                        assert block is not None
                        for j in range(c):
                            wanted = second(at + i, j)
                            assert block[g, i, j] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
                    else:
                        assert cross[k] is None


def test_the_factor_with_the_fewest_groups_follows_the_coefficients() -> None:
    density = Density(design_of("two_factors"))
    names = [f.by for f in density._layout.factors]
    assert names[density._expansion.coupled] == "region"


@pytest.mark.parametrize("name", ["one_correlation", "one_person_groups", "six_correlated"])
def test_effects_at_the_centre_are_the_mode_given_theta(name: str) -> None:
    """Where theta stands at its centre and epsilon at zero, no effect wants to move."""
    density = Density(design_of(name))
    slope = density(np.zeros(density.size))[1][density._layout.n_theta :]
    # In units of standard deviations; theta moved a little after the last Newton step.
    assert np.abs(slope).max() < 0.1
