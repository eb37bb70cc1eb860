"""Published estimates of real choice data are reproduced; no row of it is ever shown.

Greene's travel modes and Swissmetro try attributes, availability and blocks of one
alternative; the Indonesia Family Life Survey tries the packaged codebook.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design, build_design
from bayesmig.inference.density import Density
from bayesmig.inference.layout import parameter_coords
from bayesmig.inference.routes import fit
from bayesmig.posterior import Posterior
from bayesmig.spec.model import ModelSpec
from bayesmig.study import read_study
from bayesmig.survey.survey import Survey, read_survey

pytestmark = pytest.mark.real

FLAT = {block: {"dist": "flat"} for block in ("asc", "persons", "only", "alternatives")}


def published(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / "choice" / "published_estimates.json").read_text())[name]


@dataclass(frozen=True)
class Mode:
    """Highest posterior density of a design without groups, in coefficients."""

    density: Density
    labels: tuple[str, ...]
    """``asc:air``, ``hinc:air`` (its own block), ``gc`` (generic)."""
    at: np.ndarray
    """In the coordinates of the density."""
    covariance: np.ndarray
    """Inverse curvature, in the same coordinates."""
    map: np.ndarray
    """From coordinates to coefficients; they are linear in each other."""
    origin: np.ndarray

    @property
    def estimates(self) -> dict[str, float]:
        return dict(zip(self.labels, self.origin + self.map @ self.at, strict=True))

    @property
    def errors(self) -> dict[str, float]:
        spread = np.sqrt(np.diag(self.map @ self.covariance @ self.map.T))
        return dict(zip(self.labels, spread, strict=True))

    @property
    def log_likelihood(self) -> float:
        named, design = self.density.parameters(self.at), self.density.design
        coefficients = Coefficients(
            persons=named["beta"], only=named.get("beta_only"), attributes=named.get("gamma")
        )
        utility = utilities(np, design.columns, coefficients)
        log_p = log_probabilities(np, utility, design.columns.available)
        return float(log_p[np.arange(design.n_obs), design.choice].sum())


def coefficients(named: Mapping[str, np.ndarray]) -> np.ndarray:
    blocks = [named[k].ravel() for k in ("beta", "beta_only", "gamma") if k in named]
    return np.concatenate(blocks)


def labels(design: Design) -> tuple[str, ...]:
    coords = parameter_coords(design)
    persons = [f"{c}:{a}" for c in coords["coefficient"] for a in coords["nonbase"]]
    return (*persons, *coords.get("only_term", ()), *coords.get("attribute_term", ()))


def mode(design: Design) -> Mode:
    from scipy.optimize import minimize

    assert not design.layouts
    density = Density(design)

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = density(vector)
        return -value, -gradient

    at = minimize(objective, np.full(density.size, 0.1), jac=True, tol=1e-9).x
    unit, step = np.eye(density.size), 1e-3
    slopes = [(density(at + step * e)[1] - density(at - step * e)[1]) / (2 * step) for e in unit]
    curvature = -np.array(slopes)
    origin = coefficients(density.parameters(np.zeros(density.size)))
    return Mode(
        density=density,
        labels=labels(design),
        at=at,
        covariance=np.linalg.inv((curvature + curvature.T) / 2),
        map=np.stack([coefficients(density.parameters(e)) - origin for e in unit], axis=1),
        origin=origin,
    )


def three_digits(value: float) -> float:
    return float(f"{value:.3g}")


# --------------------------------------------------------------------------- Greene


def greene(folder: Path) -> Design:
    """From long to wide: a row per traveller, an attribute's columns per mode."""
    long = pd.read_csv(folder / "choice" / "greene_modechoice.csv", sep=";")
    names = {1: "air", 2: "train", 3: "bus", 4: "car"}
    long["mode"] = long["mode"].map(names)
    wide = long.pivot_table(index="individual", columns="mode", values=["gc", "ttme"])
    wide.columns = [f"{attribute}_{alternative}" for attribute, alternative in wide.columns]
    wide["hinc"] = long.groupby("individual")["hinc"].first()
    wide["choice"] = long[long["choice"] == 1].set_index("individual")["mode"]
    modes = list(names.values())
    survey = read_survey(
        wide.reset_index(drop=True),
        roles={"choice": "choice"},
        alternatives={m: m for m in modes},
        attributes={a: {m: f"{a}_{m}" for m in modes} for a in ("gc", "ttme")},
    )
    theory = {
        "choice": {"alternatives": modes, "base": "car"},
        "utility": {"alternatives": "gc + ttme", "only": {"air": "hinc"}},
        "priors": FLAT,
    }
    return build_design(ModelSpec.model_validate(theory), survey)


def test_greene_travel_modes(real_data: Path) -> None:
    design, expected = greene(real_data), published(real_data, "greene_modechoice/clogit")
    found = mode(design)
    ours = {"air": "asc:air", "train": "asc:train", "bus": "asc:bus", "hinc_air": "hinc:air"}
    for name, coefficient in expected["coef"].items():
        label = ours.get(name, name)
        assert three_digits(found.estimates[label]) == three_digits(coefficient), name
        assert three_digits(found.errors[label]) == three_digits(expected["se"][name]), name
    assert found.log_likelihood == pytest.approx(expected["loglik"], abs=1e-4)
    assert design.n_obs == expected["n"]


# ----------------------------------------------------------------------- Swissmetro


SWISS = ("train", "swissmetro", "car")


@cache
def swissmetro(folder: Path) -> Survey:
    table = pd.read_csv(folder / "choice" / "swissmetro.dat", sep="\t")
    table = table[table["PURPOSE"].isin([1, 3]) & (table["CHOICE"] != 0)]
    return read_survey(
        table.reset_index(drop=True),
        roles={"choice": "CHOICE"},
        alternatives={"train": 1, "swissmetro": 2, "car": 3},
        derive={
            "train_time": "TRAIN_TT / 100",
            "swissmetro_time": "SM_TT / 100",
            "car_time": "CAR_TT / 100",
            "train_cost": "TRAIN_CO * (1 - GA) / 100",
            "swissmetro_cost": "SM_CO * (1 - GA) / 100",
            "car_cost": "CAR_CO / 100",
        },
        attributes={a: {m: f"{m}_{a}" for m in SWISS} for a in ("time", "cost")},
    )


def swiss_theory(alternatives: str = "time + cost", **priors: Any) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "choice": {"alternatives": list(SWISS), "base": "swissmetro"},
            "utility": {"alternatives": alternatives},
            "available": {"train": "TRAIN_AV", "swissmetro": "SM_AV", "car": "CAR_AV"},
            "priors": priors or FLAT,
        }
    )


SWISS_LABELS = {"asc_train": "asc:train", "asc_car": "asc:car", "b_time": "time", "b_cost": "cost"}


def test_swissmetro(real_data: Path) -> None:
    expected = published(real_data, "swissmetro/mnl_ml")
    design = build_design(swiss_theory(), swissmetro(real_data))
    found = mode(design)
    for name, label in SWISS_LABELS.items():
        assert three_digits(found.estimates[label]) == three_digits(expected["coef"][name]), name
        error = expected["se_from_hessian"][name]
        assert found.errors[label] == pytest.approx(error, rel=1e-3), name
    assert found.log_likelihood == pytest.approx(expected["loglik"], abs=1e-3)
    assert design.n_obs == expected["n"]


def labelled(posterior: Posterior) -> pd.DataFrame:
    """The summary under the labels of `labels`."""
    table = posterior.summary()
    inside = table["parameter"].str.extract(r"\[(.*)\]$")[0].str.replace(", ", ":")
    return table.set_index(inside)


@pytest.mark.slow
def test_swissmetro_means_and_leave_one_out(real_data: Path) -> None:
    from bayesmig.model_comparison import compare

    expected = published(real_data, "swissmetro/mnl_bayes")
    survey = swissmetro(real_data)
    options = {"seed": 5, "chains": 4, "draws": 1000, "tune": 500, "progress": False}
    posterior = fit(swiss_theory(), survey, **options)
    posterior.require_convergence()
    found = labelled(posterior)
    for name, label in SWISS_LABELS.items():
        row, mean = found.loc[label], expected["mean"][name]
        # Both have Monte-Carlo error, and theirs is printed to three digits.
        rounding = 0.5 * 10.0 ** (np.floor(np.log10(abs(mean))) - 2)
        error = row["sd"] * np.sqrt(1 / row["ess_bulk"] + 1 / 2000)
        assert abs(row["mean"] - mean) < 3 * error + rounding, name
        assert row["sd"] == pytest.approx(expected["sd"][name], rel=0.05), name
    without_cost = fit(swiss_theory("time"), survey, **options)
    made = compare({"both": posterior, "time": without_cost}).summary.set_index("theory")
    assert made.loc["both", "elpd"] == pytest.approx(expected["loo"], abs=1.0)
    assert made.loc["both", "p_loo"] == pytest.approx(expected["p_loo"], abs=1.0)
    assert made.loc["time", "elpd_diff"] < -100


SWISS_NEST = [{"name": "existing", "alternatives": ["train", "car"]}]


def test_swissmetro_nested(real_data: Path) -> None:
    """Maximum likelihood of the nested logit, of the numpy functions alone."""
    from dataclasses import replace

    from scipy.optimize import minimize

    from bayesmig.choice import probabilities

    expected = published(real_data, "swissmetro/nested_ml")
    design = build_design(swiss_theory().replace(nests=SWISS_NEST), swissmetro(real_data))
    names = ("asc_train", "asc_car", "b_time", "b_cost")

    def log_likelihood(at: np.ndarray) -> float:
        found = Coefficients(persons=at[None, :2], attributes=at[2:4], lambdas=at[4:])
        log_p = probabilities.log_probabilities(np, design.columns, found)
        return float(log_p[np.arange(design.n_obs), design.choice].sum())

    theirs = np.array([expected["coef"][n] for n in names])
    lam = 1 / expected["coef"]["mu_existing(train,car)"]
    assert log_likelihood(np.append(theirs, lam)) == pytest.approx(expected["loglik"], abs=1e-3)
    found = minimize(lambda at: -log_likelihood(at), np.array([0.0, 0.0, -1.0, -1.0, 0.9]))
    np.testing.assert_allclose(found.x, np.append(theirs, lam), rtol=2e-3)
    assert found.x[4] == pytest.approx(0.487, abs=1e-3)
    assert -found.fun == pytest.approx(-5236.900, abs=1e-3)
    # With its lambda at one it is the logit, whose maximum is that of the published logit.
    logit = published(real_data, "swissmetro/mnl_ml")
    at = np.append([logit["coef"][n] for n in names], 1.0)
    assert log_likelihood(at) == pytest.approx(logit["loglik"], abs=1e-3)
    plain = replace(design.columns, nests=None)
    assert probabilities.beyond_logit(plain) == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
def test_swissmetro_nested_means_and_leave_one_out(real_data: Path) -> None:
    from bayesmig.model_comparison import compare

    expected = published(real_data, "swissmetro/nested_bayes")
    survey, theory = swissmetro(real_data), swiss_theory().replace(nests=SWISS_NEST)
    options = {"seed": 5, "chains": 4, "draws": 1000, "tune": 500, "progress": False}
    posterior = fit(theory, survey, **options)
    posterior.require_convergence()
    found = labelled(posterior)
    for name, label in SWISS_LABELS.items():
        row, mean = found.loc[label], expected["mean"][name]
        rounding = 0.5 * 10.0 ** (np.floor(np.log10(abs(mean))) - 2)
        error = row["sd"] * np.sqrt(1 / row["ess_bulk"] + 1 / 2000)
        # Their prior of mu is another, and moves the other coefficients a little.
        assert abs(row["mean"] - mean) < 3 * error + rounding + 0.1 * row["sd"], name
        assert row["sd"] == pytest.approx(expected["sd"][name], rel=0.07), name
    mu = 1 / posterior.draws["lambda_nest"].to_numpy()
    assert mu.mean() == pytest.approx(expected["mean"]["mu"], abs=0.03)
    assert mu.std() == pytest.approx(expected["sd"]["mu"], rel=0.1)
    made = compare({"nest": posterior, "logit": fit(swiss_theory(), survey, **options)})
    table = made.summary.set_index("theory")
    assert table.loc["nest", "elpd"] == pytest.approx(expected["loo"], abs=1.0)
    assert table.loc["nest", "p_loo"] == pytest.approx(expected["p_loo"], abs=1.0)
    assert table.loc["logit", "elpd_diff"] < -50


# ------------------------------------------------------------------------------ IFLS


#: Plain maximum likelihood by an independent program, as printed: estimate and standard
#: error of internal, then of overseas.
IFLS_TABLE = {
    "asc": (-2.701, 0.050, -5.427, 0.221),
    "period[2000]": (0.649, None, 1.096, None),
    "period[2007]": (0.290, None, 0.591, None),
    "female": (-0.225, 0.032, -0.256, 0.123),
    "age_10": (-1.087, 0.026, -0.736, 0.101),
    "square(age_10)": (0.255, 0.020, -0.025, 0.084),
    "education": (0.081, 0.006, 0.015, 0.025),
    "square(education)": (-0.030, 0.008, -0.034, 0.033),
    "scale(wealth)": (0.079, 0.019, -0.177, 0.073),
    "urban": (0.173, 0.034, -0.323, 0.135),
    "prior_internal": (0.618, 0.036, 0.581, 0.151),
    "prior_international": (0.752, 0.209, 2.321, 0.271),
    "household_internal": (0.013, 0.023, -0.321, 0.120),
    "household_international": (-0.096, 0.186, 0.365, 0.334),
    "network_internal": (0.092, 0.010, -0.044, 0.056),
    "network_international": (-0.052, 0.022, 0.427, 0.045),
}
#: In the model but not in the print: without them female, education and wealth differ.
IFLS_UNPRINTED = ("square(scale(wealth))", "female:education")
#: Printed per ten squared years.
IFLS_UNITS = {"square(education)": 10.0}


@cache
def ifls(repository: Path) -> tuple[ModelSpec, Survey]:
    """The terms of the table, wealth standardised over the rows in use, no groups."""
    columns = [c for c in IFLS_TABLE if c != "asc" and not c.startswith("period")]
    theory = {
        "choice": {"alternatives": ["stay", "internal", "international"], "base": "stay"},
        "utility": {"persons": " + ".join([*columns, *IFLS_UNPRINTED]), "period_constants": True},
        "priors": FLAT,
    }
    survey = read_survey(repository / "surveys" / "ifls.toml")
    return ModelSpec.model_validate(theory), survey


@pytest.mark.slow
@pytest.mark.usefixtures("real_data")
def test_studies_of_indonesia_fit_the_survey(repository: Path) -> None:
    """All that they ask, and nothing is sampled."""
    for name in ("ifls.toml", "ifls_all.toml"):
        plan = read_study(repository / "studies" / name)
        assert plan.designs and plan.survey.n_obs > 10_000, name


@pytest.mark.slow
@pytest.mark.usefixtures("real_data")
def test_indonesia_maximum_likelihood(repository: Path) -> None:
    design = build_design(*ifls(repository))
    assert design.n_obs == 48_389
    found, wrong = mode(design), []
    for name, printed in IFLS_TABLE.items():
        for alternative, pair in zip(design.nonbase, (printed[:2], printed[2:]), strict=True):
            label = f"{name}:{alternative}"
            unit = IFLS_UNITS.get(name, 1.0)
            ours = [round(unit * of[label], 3) for of in (found.estimates, found.errors)]
            if any(p is not None and p != o for p, o in zip(pair, ours, strict=True)):
                wrong.append((label, pair, ours))
    assert not wrong


@pytest.mark.slow
@pytest.mark.usefixtures("real_data")
def test_indonesia_under_flat_priors(repository: Path) -> None:
    """Means of the draws are those of an importance sample around the mode."""
    posterior = fit(*ifls(repository), seed=11, draws=500, tune=400, progress=False)
    posterior.require_convergence()
    table, around = labelled(posterior), mode(posterior.design)
    table = table.loc[list(around.labels)]
    mean, sd, error = importance_means(around, np.random.default_rng(12))
    own = table["sd"] / np.sqrt(table["ess_bulk"])
    gaps = (table["mean"] - mean) / np.hypot(own, error)
    assert gaps.abs().max() < 4
    assert 0.6 < np.sqrt(np.square(gaps).mean()) < 1.4
    np.testing.assert_allclose(table["sd"], sd, rtol=0.12)
    # A mean is not a mode where 286 moves carry it, but it is not far.
    drift = (table["mean"] - list(around.estimates.values())) / table["sd"]
    assert drift.abs().max() < 0.5


def importance_means(
    around: Mode, rng: np.random.Generator, draws: int = 4000, df: float = 20.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, sds and the means' Monte-Carlo errors, from draws of a t around the mode."""
    size = len(around.at)
    z = rng.normal(size=(draws, size))
    z /= np.sqrt(rng.chisquare(df, (draws, 1)) / df)
    proposed = around.at + z @ np.linalg.cholesky(around.covariance).T
    log_q = -0.5 * (df + size) * np.log1p(np.square(z).sum(axis=1) / df)
    log_w = np.array([around.density(x)[0] for x in proposed]) - log_q
    weight = np.exp(log_w - log_w.max())
    weight /= weight.sum()
    assert 1 / np.square(weight).sum() > 0.1 * draws
    values = around.origin + proposed @ around.map.T
    mean = weight @ values
    square = np.square(values - mean)
    return mean, np.sqrt(weight @ square), np.sqrt(np.square(weight) @ square)
