"""A fit agrees with PyMC's own sampling of the plain model, within Monte-Carlo error."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayesmig.inference.graph import to_pymc
from bayesmig.inference.routes import fit
from bayesmig.posterior import labelled_draws
from tests.fabricate import TRUTH, small_survey, theory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS"),
]


@pytest.fixture(scope="module")
def both() -> tuple[xr.Dataset, xr.Dataset]:
    """Draws of the same theory on the same survey: ours, and those of the plain model."""
    import nutpie

    survey, spec = small_survey(300, origins=10), theory("female + wealth")
    options = {"chains": 4, "draws": 2000, "tune": 1000, "seed": 8, "target_accept": 0.9}
    ours = fit(spec, survey, progress=False, **options)
    compiled = nutpie.compile_pymc_model(to_pymc(spec, survey))
    theirs = nutpie.sample(compiled, progress_bar=False, **options)
    names = list(ours.draws.data_vars)
    return ours.draws, theirs["posterior"].to_dataset()[names]


def numbers(draws: xr.Dataset) -> np.ndarray:
    """Mean, sd and effective draws of the mean, per parameter that varies."""
    from arviz_stats.base import array_stats

    rows = [
        (v.mean(), v.std(), float(array_stats.ess(v, chain_axis=0, draw_axis=1, method="mean")))
        for _, v in labelled_draws(draws)
        if np.ptp(v) > 1e-9
    ]
    return np.array(rows).T


def test_means_and_spreads_agree(both: tuple[xr.Dataset, xr.Dataset]) -> None:
    (mean, sd, ess), (other_mean, other_sd, other_ess) = map(numbers, both)
    assert len(mean) == 6 + 2 + 20 + 2
    z = (mean - other_mean) / np.sqrt(sd**2 / ess + other_sd**2 / other_ess)
    assert np.abs(z).max() < 4
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.4
    np.testing.assert_allclose(sd, other_sd, rtol=0.07)
    assert np.median(np.abs(sd / other_sd - 1)) < 0.03


def test_means_are_near_the_truth(both: tuple[xr.Dataset, xr.Dataset]) -> None:
    beta = both[0]["beta"]
    mean, sd = (getattr(beta, f)(("chain", "draw")) for f in ("mean", "std"))
    for column in ("female", "wealth"):
        z = (mean - TRUTH[column]).sel(coefficient=column) / sd.sel(coefficient=column)
        assert np.abs(z).max() < 3
