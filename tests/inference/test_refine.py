"""Coordinates centred by theta's marginal density: the same target, nearer its bulk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bayesmig.design.design import build_design
from bayesmig.inference import refine
from bayesmig.inference.approximate import Proposal
from bayesmig.inference.density import Density
from bayesmig.inference.refine import refined
from bayesmig.survey.survey import Survey
from tests.fabricate import small_survey, theory
from tests.inference.theories import design_of


@pytest.fixture(scope="module")
def sparse() -> tuple[Density, Density]:
    """Five persons in a place of origin, before and after."""
    design = build_design(theory("female + wealth"), small_survey(3000, origins=600))
    usual = Density(design)
    return usual, refined(usual)


def test_the_centre_is_where_the_marginal_density_is(sparse: tuple[Density, Density]) -> None:
    usual, moved = sparse
    way = np.linalg.solve(usual.expansion.root, moved.expansion.centre - usual.expansion.centre)
    assert np.abs(way).max() > 1.0
    for density, near in ((usual, False), (moved, True)):
        here, up, down = Proposal(density, 0, renews=True).along_coordinates(1.0)
        step = np.abs((up - down) / 2 / (2 * here - up - down))
        assert bool(step.max() < refine._NEAR) is near
    # Whitened: curvatures are one along coordinates, and none across. Those of log scales
    # differ from place to place, and were measured where the last step began.
    bend = refine._curvature(Proposal(moved, 0, renews=True), float(here), up, down)
    c = moved.problem.layout.n_coefficients
    np.testing.assert_allclose(np.diag(bend)[:c], 1.0, atol=0.35)
    assert (np.diag(bend)[c:] > 0.5).all()
    assert (np.diag(bend)[c:] < 2.0).all()
    np.testing.assert_allclose(bend - np.diag(np.diag(bend)), 0.0, atol=0.35)
    # Every coordinate is nearly what it was: scales stay where the proposal looks for them.
    turn = np.linalg.solve(usual.expansion.root, moved.expansion.root)
    assert (np.abs(turn).argmax(axis=0) == np.arange(len(turn))).all()


def test_the_target_is_the_same(sparse: tuple[Density, Density]) -> None:
    """At equal parameters log densities differ by the roots' log determinants alone."""
    usual, moved = sparse
    t = usual.problem.layout.n_theta
    gap = []
    for seed in range(4):
        vector = usual.start(np.random.default_rng(seed))
        centre, root = usual.map_arguments[0]
        there, other = moved.map_arguments[0]
        same = vector.copy()
        same[:t] = np.linalg.solve(other, centre + root @ vector[:t] - there)
        for name, value in usual.parameters(vector).items():
            np.testing.assert_allclose(moved.parameters(same)[name], value, atol=1e-9)
        gap.append(usual(vector)[0] - moved(same)[0])
    np.testing.assert_allclose(gap, gap[0], atol=1e-8)


def test_what_was_asked_at_other_coordinates_is_forgotten(sparse: tuple[Density, Density]) -> None:
    """What chains call is made of the coordinates."""
    usual, moved = sparse
    vector = usual.start(np.random.default_rng(0))
    before = usual(vector)[0]
    again = usual.moved(moved.expansion)
    assert again(vector)[0] == moved(vector)[0] != before == usual(vector)[0]


def test_marginal_densities_are_integrals_over_effects() -> None:
    """Of two origins, on a grid."""
    design = build_design(
        theory("female", groups=[{"by": "origin", "correlated": False}]),
        small_survey(40, origins=2),
    )
    density = Density(design)
    proposal = Proposal(density, 0, renews=False)
    proposal.conditional, proposal.renews = False, True
    t = density.problem.layout.n_theta
    white = np.random.default_rng(0).normal(0, 0.7, (3, t))
    approximate = proposal.marginal(white)
    line = np.linspace(-6, 6, 13)
    grid = np.stack(np.meshgrid(*[line] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    exact = [
        np.logaddexp.reduce([density(np.concatenate([at, epsilon]))[0] for epsilon in grid])
        for at in white
    ]
    np.testing.assert_allclose(np.diff(approximate), np.diff(exact), atol=0.15, rtol=0)


@pytest.mark.parametrize("kind", ["few groups", "many rows", "crossed"])
def test_a_good_centre_is_left(kind: str) -> None:
    survey: Survey | None = {
        "few groups": small_survey(400, origins=30),
        "many rows": small_survey(3000, origins=3),
    }.get(kind)
    design = design_of("crossed") if survey is None else build_design(theory("female"), survey)
    density = Density(design)
    assert refined(density) is density


def test_a_step_that_leads_nowhere_is_not_taken(
    sparse: tuple[Density, Density], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, _ = sparse
    marginal = Proposal.marginal

    def no_number(self: Proposal, white: np.ndarray) -> Any:
        return np.where(np.arange(len(white)) == 0, marginal(self, white[:1])[0], np.nan)

    monkeypatch.setattr(Proposal, "marginal", no_number)
    assert refined(usual) is usual
