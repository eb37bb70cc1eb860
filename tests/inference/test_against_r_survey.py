"""Coefficients and standard errors that R's package survey gives for its example of schools.

    library(survey); data(api)
    svyglm(sch.wide ~ ell + meals + mobility, design, family = quasibinomial(),
           control = glm.control(epsilon = 1e-14, maxit = 100))

with R 4.2.2 and survey 4.1-1, where ``design`` is, as on the help page of ``svyglm``,

    dclus1 <- svydesign(id = ~dnum, weights = ~pw, data = apiclus1, fpc = ~fpc)
    dstrat <- svydesign(id = ~1, strata = ~stype, weights = ~pw, data = apistrat, fpc = ~fpc)

or ``dclus1`` without ``fpc``, with ``id = ~1`` too, or ``as.svrepdesign(dclus1, mse = TRUE)``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import bayesmig as bm
from bayesmig.design.design import Design, build_design
from bayesmig.inference import sampling_correction as room
from bayesmig.inference.density import Density
from bayesmig.survey.sampling import Sampling, sampling_of
from bayesmig.survey.survey import Survey, read_survey

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")

SCHOOLS = Path(__file__).parents[1] / "survey" / "data" / "api.csv"
COLUMNS = ["ell", "meals", "mobility"]
FLAT = {"asc": {"dist": "flat"}, "persons": {"dist": "flat"}}
CLUSTERS = [1.7261001737097, 0.0400948017629, -0.0207883108507, 0.0145803655360]
STRATA = [0.83583652484549, -0.00248963574926, -0.00315236511229, 0.06089677872753]


class Example(NamedTuple):
    """A design of R, and what `svyglm` says under it: constant, ell, meals, mobility."""

    sample: str
    roles: dict[str, str]
    coefficients: list[float]
    errors: list[float]


EXAMPLES = {
    "dclus1": Example(
        "apiclus1",
        {"psu": "dnum", "fpc": "fpc"},
        CLUSTERS,
        [0.70113590039571, 0.01257307686699, 0.00921076249569, 0.02583008258113],
    ),
    "dclus1 without fpc": Example(
        "apiclus1",
        {"psu": "dnum"},
        CLUSTERS,
        [0.70818739427434, 0.01269952735186, 0.00930339736908, 0.02608986198924],
    ),
    "id = ~1": Example(
        "apiclus1",
        {},
        CLUSTERS,
        [0.61591819741930, 0.01533697682070, 0.01061476707820, 0.02295225191830],
    ),
    "dstrat": Example(
        "apistrat",
        {"psu": "school", "strata": "stype", "fpc": "fpc"},
        STRATA,
        [0.45562087836016, 0.01325251021939, 0.00919945360884, 0.03193457693654],
    ),
}
#: Of 15 jackknife replicates, with each of which the logit is estimated anew.
JACKKNIFE = [0.8483249011649, 0.0146106899155, 0.0105650027734, 0.0377737512017]


def schools(sample: str) -> pd.DataFrame:
    every = pd.read_csv(SCHOOLS).rename(columns={"sch.wide": "met"})
    return every[every["sample"] == sample].assign(school=lambda d: np.arange(len(d)))


def survey(frame: pd.DataFrame, roles: dict[str, str], **keys: Any) -> Survey:
    roles = {"choice": "met", "weight": "pw"} | roles
    return read_survey(frame, roles, alternatives={"no": "No", "yes": "Yes"}, keep=COLUMNS, **keys)


THEORY = bm.ModelSpec(
    name="met",
    choice={"alternatives": ["no", "yes"], "base": "no"},
    utility={"persons": " + ".join(COLUMNS)},
    priors=FLAT,
    weights="pseudo",
)


def linearised(design: Design, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Mode, and standard errors by the curvature there (by hand) and the package's scores."""
    density = Density(design)
    mode, x = density.expansion.centre, design.columns.persons
    p = 1 / (1 + np.exp(-x @ mode))
    inverse = np.linalg.inv((x.T * (design.weights * p * (1 - p))) @ x)
    of_scores = sampling.covariance(room.score_sums(density, mode, sampling))
    return mode, np.sqrt(np.diag(inverse @ of_scores @ inverse))


@pytest.mark.parametrize("name", EXAMPLES)
def test_coefficients_and_linearised_errors(name: str) -> None:
    of = EXAMPLES[name]
    read = survey(schools(of.sample), of.roles)
    mode, errors = linearised(build_design(THEORY, read), sampling_of(read))
    assert mode == pytest.approx(of.coefficients, rel=1e-4, abs=0)
    assert errors == pytest.approx(of.errors, rel=1e-5)
    # Another design of the same schools has the same coefficients and other errors.
    for other in EXAMPLES.values():
        if other.roles != of.roles and other.sample == of.sample:
            assert np.abs(errors / np.array(other.errors) - 1).min() > 0.005


def test_jackknife_replicates() -> None:
    of, frame = EXAMPLES["dclus1"], schools("apiclus1")
    districts = frame["dnum"].unique()
    n = len(districts)
    columns = {
        f"jk_{d}": frame["pw"] * np.where(frame["dnum"] == d, 0.0, n / (n - 1)) for d in districts
    }
    whole = frame.assign(**columns)
    block = {"columns": "jk_*", "method": "jk1", "scale": (n - 1) / n * (1 - n / 757)}
    read = survey(whole, {}, replicates=block)
    sampling = sampling_of(read)
    design = build_design(THEORY, read)
    # Of a score, whose sum is linear in weights, they say what linearisation says...
    mode, errors = linearised(design, sampling)
    assert errors == pytest.approx(of.errors, rel=1e-5)
    # ...and of coefficients estimated anew with each, what R says.
    assert sampling.replicates is not None
    again = [
        Density(replace(design, weights=w)).expansion.centre - mode for w in sampling.replicates.T
    ]
    found = np.sqrt(np.diag(sampling.covariance(np.array(again))))
    assert found == pytest.approx(JACKKNIFE, rel=1e-5)


@pytest.mark.parametrize("name", ["dclus1", "dstrat"])
def test_draws_have_these_errors_where_rows_are_many(name: str) -> None:
    """The correction is of first order, and 200 rows leave a posterior that is not normal.

    A hundred copies of every school in its own unit leave R's answers as they are: the
    curvature and the root of the scores' covariance are both a hundred times as large.
    """
    of = EXAMPLES[name]
    copies = pd.concat([schools(of.sample)] * 100, ignore_index=True)
    posterior = bm.fit(THEORY, survey(copies, of.roles), seed=1, draws=4_000, progress=False)
    told = posterior.summary()
    away = (told["mean"].to_numpy() - of.coefficients) / of.errors
    assert np.abs(away).max() < 0.03
    assert told["sd"].to_numpy() == pytest.approx(of.errors, rel=0.03)
    # The negative control: with one school as good as another, they would be a tenth.
    plain = THEORY.model_copy(update={"weights": "ignore"})
    alone = bm.fit(plain, survey(copies, of.roles), seed=1, progress=False).summary()
    assert (alone["sd"].to_numpy() < 0.2 * np.array(of.errors)).all()


@pytest.mark.parametrize("name", ["dclus1", "dstrat"])
def test_draws_of_few_rows_are_within_a_tenth(name: str) -> None:
    of = EXAMPLES[name]
    posterior = bm.fit(THEORY, survey(schools(of.sample), of.roles), seed=1, progress=False)
    assert posterior.summary()["sd"].to_numpy() == pytest.approx(of.errors, rel=0.1)
