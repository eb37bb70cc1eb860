"""The plain PyMC model: named, complete, and able to draw choices."""

from __future__ import annotations

import numpy as np
import pytest

from bayesmig.inference.graph import _random_choice, build_graph, to_pymc
from bayesmig.inference.layout import parameter_coords, parameter_dims
from tests.fabricate import theory
from tests.inference.theories import THEORIES, design_of, wide_survey


@pytest.mark.parametrize("name", ["no_groups", "a_prior_each", "everything"])
def test_its_variables_have_the_names_and_dims_of_the_posterior(name: str) -> None:
    design = design_of(name)
    model = build_graph(design)
    for parameter, dims in parameter_dims(design).items():
        assert parameter in model.named_vars
        assert model.named_vars_to_dims[parameter] == dims
    for dim, labels in parameter_coords(design).items():
        assert list(model.coords[dim]) == labels
    # Whatever is free or computed has labels, so that its draws can be read.
    assert all(model.named_vars_to_dims.get(v.name) for v in model.unobserved_RVs)
    assert [v.name for v in model.observed_RVs] == ["choice"]
    assert not model.potentials


def test_a_theory_and_a_survey_are_enough() -> None:
    from pytensor.compile.mode import Mode

    design = design_of("one_correlation")
    model = to_pymc(theory(**THEORIES["one_correlation"]), wide_survey())
    plain = Mode(linker="py", optimizer=None)
    log_p = model.compile_fn(
        model.logp(vars=model.observed_RVs), inputs=model.value_vars, mode=plain, point_fn=False
    )
    dims = [model.named_vars_to_dims[v.name] for v in model.free_RVs]
    value = log_p(*(np.zeros([len(model.coords[d]) for d in of]) for of in dims))
    assert float(value) == pytest.approx(-design.n_obs * np.log(3))


def test_choices_are_drawn_with_their_probabilities() -> None:
    p = np.array([[0.2, 0.0, 0.8], [0.5, 0.25, 0.25]])
    with np.errstate(divide="ignore"):
        drawn = _random_choice(np.log(p), np.random.default_rng(0), size=(40_000, 2))
    assert drawn.dtype == np.int64
    for row in range(2):
        shares = np.bincount(drawn[:, row], minlength=3) / 40_000
        np.testing.assert_allclose(shares, p[row], atol=0.01)
    assert not (drawn[:, 0] == 1).any()
    assert _random_choice(np.log([[1.0]]), np.random.default_rng(0)).shape == (1,)
