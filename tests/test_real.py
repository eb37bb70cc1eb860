"""Published estimates of real choice data are reproduced; no row of it is ever shown.

Greene's travel modes and Swissmetro try attributes, availability and blocks of one
alternative; the Indonesia Family Life Survey tries the packaged codebook.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.design.design import Design, build_design
from bayesmig.inference.density import Density, parameter_coords
from bayesmig.inference.sample import fit
from bayesmig.posterior import Posterior
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey, read_survey

pytestmark = pytest.mark.real

FLAT = {block: {"dist": "flat"} for block in ("asc", "persons", "only", "alternatives")}


def published(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / "choice" / "published_estimates.json").read_text())[name]


def mode(design: Design) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], float]:
    """Estimates, standard errors and log-likelihood at the highest posterior density."""
    from scipy.optimize import minimize

    assert not design.layouts
    density = Density(design)

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = density(vector)
        return -value, -gradient

    found = minimize(objective, np.full(density.size, 0.1), jac=True, tol=1e-9)
    at = found.x
    estimates = density.parameters(at)
    # Coordinates are linear in the coefficients: their curvature gives the errors.
    step = 1e-3
    hessian = np.array(
        [
            (density(at + step * e)[1] - density(at - step * e)[1]) / (2 * step)
            for e in np.eye(density.size)
        ]
    )
    covariance = np.linalg.inv(-(hessian + hessian.T) / 2)
    zero = density.parameters(np.zeros(density.size))
    errors = {}
    for name, value in zero.items():
        directions = [density.parameters(e)[name] - value for e in np.eye(density.size)]
        slopes = np.stack(directions, axis=-1)
        errors[name] = np.sqrt(np.einsum("...i,ij,...j->...", slopes, covariance, slopes))
    return estimates, errors, log_likelihood(design, estimates)


def log_likelihood(design: Design, named: Mapping[str, np.ndarray]) -> float:
    coefficients = Coefficients(
        persons=named["beta"], only=named.get("beta_only"), attributes=named.get("gamma")
    )
    log_p = log_probabilities(
        np, utilities(np, design.columns, coefficients), design.columns.available
    )
    return float(log_p[np.arange(design.n_obs), design.choice].sum())


def flat_labels(design: Design, named: Mapping[str, np.ndarray]) -> dict[str, float]:
    """``{"asc:air": 5.2, "gc": -0.0155, "hinc:air": 0.0133}``."""
    coords = parameter_coords(design)
    beta = {
        f"{c}:{a}": float(named["beta"][i, j])
        for i, c in enumerate(coords["coefficient"])
        for j, a in enumerate(coords["nonbase"])
    }
    rest = {"beta_only": "only_term", "gamma": "attribute_term"}
    for name, dim in rest.items():
        if name in named:
            beta |= dict(zip(coords[dim], map(float, named[name]), strict=True))
    return beta


def three_digits(value: float) -> float:
    return float(f"{value:.3g}")


# --------------------------------------------------------------------------- Greene


def greene(folder: Path) -> Design:
    """From long to wide: a row per traveller, an attribute's columns per mode."""
    long = pd.read_csv(folder / "choice" / "greene_modechoice.csv", sep=";")
    names = {1: "air", 2: "train", 3: "bus", 4: "car"}
    long["mode"] = long["mode"].map(names)
    wide = long.pivot(index="individual", columns="mode", values=["gc", "ttme"])
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
    estimates, errors, value = mode(design)
    ours = {"air": "asc:air", "train": "asc:train", "bus": "asc:bus", "hinc_air": "hinc:air"}
    found, spread = flat_labels(design, estimates), flat_labels(design, errors)
    for name, coefficient in expected["coef"].items():
        label = ours.get(name, name)
        assert three_digits(found[label]) == three_digits(coefficient), name
        assert three_digits(spread[label]) == three_digits(expected["se"][name]), name
    assert value == pytest.approx(expected["loglik"], abs=1e-4)
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
    estimates, errors, value = mode(design)
    found, spread = flat_labels(design, estimates), flat_labels(design, errors)
    for name, label in SWISS_LABELS.items():
        assert three_digits(found[label]) == three_digits(expected["coef"][name]), name
        assert spread[label] == pytest.approx(expected["se_from_hessian"][name], rel=2e-3), name
    assert value == pytest.approx(expected["loglik"], abs=1e-3)
    assert design.n_obs == expected["n"]


def labelled(posterior: Posterior) -> pd.DataFrame:
    """Mean, sd and bulk ESS under the labels of `flat_labels`."""
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


# ------------------------------------------------------------------------------ IFLS


#: Plain maximum likelihood of the same terms by an independent program (internal, overseas):
#: estimate and standard error, as printed.
IFLS_TABLE = {
    "asc": ((-2.701, 0.050), (-5.427, 0.221)),
    "period[2000]": ((0.649, None), (1.096, None)),
    "period[2007]": ((0.290, None), (0.591, None)),
    "female": ((-0.225, 0.032), (-0.256, 0.123)),
    "age_10": ((-1.087, 0.026), (-0.736, 0.101)),
    "square(age_10)": ((0.255, 0.020), (-0.025, 0.084)),
    "education": ((0.081, 0.006), (0.015, 0.025)),
    "square(education)": ((-0.030, 0.008), (-0.034, 0.033)),
    "wealth": ((0.079, 0.019), (-0.177, 0.073)),
    "urban": ((0.173, 0.034), (-0.323, 0.135)),
    "prior_internal": ((0.618, 0.036), (0.581, 0.151)),
    "prior_international": ((0.752, 0.209), (2.321, 0.271)),
    "household_internal": ((0.013, 0.023), (-0.321, 0.120)),
    "household_international": ((-0.096, 0.186), (0.365, 0.334)),
    "network_internal": ((0.092, 0.010), (-0.044, 0.056)),
    "network_international": ((-0.052, 0.022), (0.427, 0.045)),
}
#: Printed per ten squared years.
IFLS_UNITS = {"square(education)": 10.0}


def ifls(repository: Path) -> Design:
    survey = read_survey(repository / "surveys" / "ifls.toml")
    return build_design(ifls_theory(), survey)


def ifls_theory() -> ModelSpec:
    columns = [c for c in IFLS_TABLE if c != "asc" and not c.startswith("period")]
    theory = {
        "choice": {"alternatives": ["stay", "internal", "international"], "base": "stay"},
        "utility": {"persons": " + ".join(columns), "period_constants": True},
        "priors": FLAT,
    }
    return ModelSpec.model_validate(theory)
