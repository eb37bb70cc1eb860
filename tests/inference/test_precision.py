"""Single precision is taken where it pays and loses no digits, and nowhere else."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError
from bayesmig.inference import kernel
from bayesmig.inference.blocks import rows_of
from bayesmig.inference.density import Density
from bayesmig.inference.routes import density_of, fit, plan_fit
from bayesmig.survey.survey import Survey
from tests.fabricate import small_frame, survey_of, theory

OPTIONS: dict[str, Any] = {"draws": 20, "tune": 20, "target_accept": 0.8}
YEARS, SQUARES = "wealth + year", "wealth + year + square(year)"


@cache
def survey() -> Survey:
    """Persons of 21 years, of whom most move in one of the later ones."""
    rng, frame = np.random.default_rng(1), small_frame(2400)
    year = rng.integers(21, size=2400)
    later = rng.random(2400) < 0.7 * np.exp(-np.square((year - 15) / 5))
    frame["choice"] = frame["choice"].mask(later, "internal")
    return survey_of(frame.assign(year=1990 + year, decades=(year - 10) / 10))


def density(persons: str, precision: str, method: str = "nuts") -> Density:
    design = build_design(theory(persons), survey())
    return density_of(design, plan_fit(design, 1, method=method, precision=precision, **OPTIONS))


@pytest.mark.parametrize("persons", [YEARS, SQUARES])
def test_terms_that_lose_digits_are_added_up_in_double(persons: str) -> None:
    assert density(persons, "auto").precision == "double"
    with pytest.raises(InferenceError) as raised:
        density(persons, "single")
    assert raised.value.mend


def test_single_precision_would_be_wrong() -> None:
    """Differences of the log-likelihood between places, which are what chains see."""
    flat = {"asc": {"dist": "flat"}, "persons": {"dist": "flat"}}
    centred = "wealth + decades + square(decades)"
    lost = [noise(build_design(theory(of, priors=flat), survey())) for of in (SQUARES, centred)]
    assert lost[1] < 1e-2
    assert lost[0] > 0.1


def noise(design: Design) -> float:
    """What single precision adds to them."""
    density = Density(design, "double")
    places = np.random.default_rng(0).normal(0.0, 0.5, (8, density.size))
    named = density.parameters(places)
    gaps = []
    for k in range(8):
        inputs = (named["beta"][k], np.zeros(0), named["u_origin"][k].ravel())
        values = []
        for precision in ("double", "single"):
            rows, slopes = rows_of(design, precision), [np.empty_like(x) for x in inputs]
            values.append(kernel.log_likelihood(rows.blocks.arrays, rows.chosen, *inputs, *slopes))
        gaps.append(values[1] - values[0])
    return float(np.ptp(gaps))


def test_centred_columns_stay_in_single() -> None:
    assert density("wealth + decades + square(decades)", "auto").precision == "single"
    assert density("wealth + decades", "single").precision == "single"


def test_a_fit_says_the_precision_that_it_took() -> None:
    fitted = fit(
        theory(YEARS), survey(), seed=1, method="nuts", chains=1, draws=20, tune=20, progress=False
    )
    assert fitted.provenance.precision == "double"
    with pytest.raises(InferenceError, match="lose digits") as raised:
        fit(theory(YEARS), survey(), seed=1, method="nuts", precision="single", progress=False)
    assert "leave precision out" in raised.value.mend


def test_rows_that_are_looped_over_count() -> None:
    """Of 2,400 persons there are some dozen kinds."""
    kinds: pd.DataFrame = survey().frame.drop(columns=["year", "decades"])
    design: Design = build_design(theory("female"), survey_of(kinds))
    plan = plan_fit(design, 1, method="nuts", precision="auto", **OPTIONS)
    found = density_of(design, plan)
    assert len(found.columns.persons) < 100
    assert found.precision == "double"
