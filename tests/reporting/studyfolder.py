"""A study's output folder with made-up, plausible numbers: nothing is sampled.

Tests import it as ``from tests.reporting.studyfolder import write_study``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesmig.sensitivity import WEAK

#: Claims of which the data tell little.
WEAK_CLAIMS = ("wealth_selects_international", "cross_network_substitution")
ALTERNATIVES = ("stay", "internal", "international")
SHARES = {"stay": 0.872, "internal": 0.109, "international": 0.019}
THEORIES = ("baseline", "selectivity", "networks")
SCENARIOS = ("network_cut", "border_closure")
BY = {
    "female": ("0", "1"),
    "education": ("−8 to −3", "−3 to 0", "0 to 2", "2 to 4", "4 to 10"),
    "wealth": ("−3.1 to −0.8", "−0.8 to −0.2", "−0.2 to 0.3", "0.3 to 0.9", "0.9 to 3.4"),
    "urban": ("0", "1"),
}
#: variable -> (contrast, change of the internal and international share)
COMPARISONS = {
    "female": ("0 → 1", 0.0093, -0.0112),
    "education": ("+1", 0.0061, -0.0001),
    "wealth": ("+1", 0.0048, 0.0049),
    "urban": ("0 → 1", 0.0141, -0.0052),
    "prior_internal": ("0 → 1", 0.0610, 0.0102),
    "prior_international": ("0 → 1", 0.0712, 0.0958),
    "household_internal": ("+1", 0.0030, -0.0031),
    "household_international": ("+1", -0.0071, 0.0070),
}
SLOPES = {
    "network_internal": (0.0312, -0.0011),
    "network_international": (-0.0052, 0.0098),
}
COLUMNS = (
    ("female", "1 for women, 0 for men", "= sex - 1"),
    ("education", "completed years of schooling less 8", "= education_years - 8"),
    (
        "network_internal",
        "share of the community that moved within the country before, in tens of points",
        "= share_internal / 0.1",
    ),
    ("urban", "", ""),
)
TITLES = {
    "baseline": ("Constants and origins", "Streams differ in size and over origins, no more."),
    "selectivity": (
        "Who moves: gender, age, education and wealth",
        "The two streams select different people.",
    ),
    "networks": (
        "Networks within and across the streams",
        "Earlier movers pull others into their own stream, and act on the other stream too.",
    ),
}


def write_study(
    folder: Path,
    *,
    theories: Iterable[str] = THEORIES,
    scenarios: Iterable[str] = SCENARIOS,
    without: Iterable[str] = (),
    converged: bool = True,
    title: str = "Who goes where? A synthetic survey",
    names: Mapping[str, str] | None = None,
    seed: int = 3,
) -> Path:
    """Write tables and results of a made-up study.

    ``without`` names tables that the study does not have; with ``converged=False`` the last
    theory has not converged; ``names`` are put in the place of cells of tables.
    """
    theories, scenarios = tuple(theories), tuple(scenarios)
    tables = made_up_tables(theories, scenarios, converged=converged, seed=seed)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    written = [name for name in tables if name not in set(without)]
    for name in written:
        table = tables[name].replace(dict(names or {}))
        table.to_parquet(folder / "tables" / f"{name}.parquet", index=False)
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    results = _results(title, theories, scenarios, converged) | {"tables": written}
    (folder / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False))
    return folder


def made_up_tables(
    theories: tuple[str, ...] = THEORIES,
    scenarios: tuple[str, ...] = SCENARIOS,
    *,
    converged: bool = True,
    seed: int = 3,
) -> dict[str, pd.DataFrame]:
    """Tidy tables of a made-up study, by name."""
    rng = np.random.default_rng(seed)
    tables = {
        **_survey(),
        **_fits(rng, theories, converged),
        **_checks(rng, theories),
        **_more_checks(theories),
        **_answers(rng),
    }
    if len(theories) > 1:
        tables["comparison"] = _comparison(theories)
    if set(theories) - {"baseline"}:
        tables["hypotheses"] = _hypotheses()
    if scenarios:
        tables["scenarios"] = _scenarios(rng, scenarios)
        tables["diversion"] = _diversion(scenarios)
    return tables


def interval(estimate: Any, sd: Any) -> dict[str, Any]:
    """Estimate, sd and the bounds of a 95 % interval."""
    return {
        "estimate": estimate,
        "sd": sd,
        "lower": estimate - 1.96 * sd,
        "upper": estimate + 1.96 * sd,
    }


def _survey() -> dict[str, pd.DataFrame]:
    what = ("rows read", "rows kept", "rows dropped", "persons", "households", "origins", "periods")
    shares = list(SHARES.values())
    return {
        "survey_rows": pd.DataFrame({"what": what, "n": (4120, 4000, 120, 4000, 1312, 100, 1)}),
        "survey_shares": pd.DataFrame(
            {
                "alternative": ALTERNATIVES,
                "rows": (3488, 436, 76),
                "share": shares,
                "weighted_share": (0.8761, 0.1067, 0.0172),
            }
        ),
    }


def _fits(
    rng: np.random.Generator, theories: tuple[str, ...], converged: bool
) -> dict[str, pd.DataFrame]:
    convergence, parameters = [], []
    for theory in theories:
        names = _parameter_names(theory)
        ess = 4000 * rng.beta(6, 4, len(names)) + 300
        r_hat = 1 + 0.9 / ess + np.abs(rng.normal(0, 0.0008, len(names)))
        if not converged and theory == theories[-1]:
            r_hat[5], ess[5] = 1.034, 143.0
        convergence.append(
            {
                "theory": theory,
                "parameters": len(names),
                "r_hat_max": r_hat.max(),
                "ess_bulk_min": ess.min(),
                "ess_tail_min": 0.92 * ess.min(),
                "divergences": 0 if converged or theory != theories[-1] else 7,
                "bfmi_min": 0.71,
                "pareto_k": np.nan,
                "weight_ess": np.nan,
                "seconds": 21.4 + 3.2 * len(convergence),
                "passed": converged or theory != theories[-1],
            }
        )
        mean = rng.normal(0, 0.6, len(names))
        values = interval(mean, np.abs(rng.normal(0.12, 0.05, len(names))))
        parameters.append(
            pd.DataFrame(
                {
                    "parameter": names,
                    "mean": values["estimate"],
                    "sd": values["sd"],
                    "lower": values["lower"],
                    "upper": values["upper"],
                    "r_hat": r_hat,
                    "ess_bulk": ess,
                    "ess_tail": 0.92 * ess,
                    "theory": theory,
                }
            )
        )
    return {"convergence": pd.DataFrame(convergence), "parameters": pd.concat(parameters)}


def _parameter_names(theory: str) -> list[str]:
    columns = ["asc"]
    if theory != "baseline":
        columns += ["female", "age_10", "education", "wealth", "urban"]
    if theory == "networks":
        columns += [*COMPARISONS, *SLOPES]
    names = [f"beta[{a}, {c}]" for a in ALTERNATIVES[1:] for c in dict.fromkeys(columns)]
    names += [f"sigma_origin[{a}, asc]" for a in ALTERNATIVES[1:]]
    return [*names, *(f"u_origin[origin {i}, {a}]" for i in range(100) for a in ALTERNATIVES[1:])]


def _checks(rng: np.random.Generator, theories: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    checks, predictive, prior, calibration = [], [], [], []
    for k, theory in enumerate(theories):
        good = theory != "baseline"
        checks += [
            (theory, "convergence", "passed", "R-hat ≤ 1.01, ESS ≥ 400, no divergences."),
            (theory, "prior predictive", "not asked", "Shares that the prior allows."),
            (theory, "shares", "passed", "Observed shares lie within what the theory replicates."),
            (
                theory,
                "shares by education",
                "passed" if good else "failed",
                "All cells have p ≥ 0.01."
                if good
                else "3 of 15 cells are replicated by fewer than 1 % of the draws.",
            ),
        ]
        for by, levels in {"all": ("all",), **BY, "origin size": ("small", "large")}.items():
            for i, level in enumerate(levels):
                observed = _shares_at(by, i, len(levels))
                told = observed if good else SHARES
                for a in ALTERNATIVES:
                    sd = 0.03 * told[a] ** 0.5 / (3 if by == "all" else 1.2)
                    predicted = told[a] + rng.normal(0, 0.6 * sd)
                    predictive.append(
                        {
                            "theory": theory,
                            "by": by,
                            "level": level,
                            "alternative": a,
                            "observed": observed[a],
                            "predicted": predicted,
                            "lower": max(predicted - 2 * sd, 0.0),
                            "upper": predicted + 2 * sd,
                            "p_value": 0.002 if abs(predicted - observed[a]) > 2.5 * sd else 0.41,
                            "rows": 4000 // len(levels),
                        }
                    )
        prior += [
            (theory, a, SHARES[a], m, low, high)
            for a, m, low, high in zip(
                ALTERNATIVES,
                (0.74 - 0.02 * k, 0.17, 0.09),
                (0.21, 0.01, 0.002),
                (0.98, 0.55, 0.38),
                strict=True,
            )
        ]
        calibration += _calibration(rng, theory)
    columns = ("theory", "alternative", "observed", "mean", "lower", "upper")
    return {
        "checks": pd.DataFrame(checks, columns=["theory", "check", "passed", "text"]),
        "predictive_shares": pd.DataFrame(predictive),
        "prior_shares": pd.DataFrame(prior, columns=columns),
        "prior_sensitivity": _prior_sensitivity(theories),
        "calibration": pd.DataFrame(calibration),
    }


def _more_checks(theories: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Checks of single statistics, and a rehearsal."""
    rng = np.random.default_rng(11)
    main, streams = theories[-1], ALTERNATIVES[1:]

    def among(**labels: list[Any]) -> pd.DataFrame:
        table = pd.DataFrame(labels)
        predicted = rng.uniform(0.1, 0.5, len(table))
        found = {"observed": predicted + 0.01, "predicted": predicted, "lower": predicted - 0.03}
        found |= {"upper": predicted + 0.03, "p_value": 0.4, "p_adjusted": 0.9}
        return table.assign(theory=main, **found)

    columns, pairs = ["female", "wealth"], ["0 × low", "0 × high", "1 × low", "1 × high"]
    k = np.linspace(0.1, 0.9, 20)
    return {
        "crossed_shares": among(
            by=["female × wealth"] * 12,
            level=[p for p in pairs for _ in ALTERNATIVES],
            alternative=list(ALTERNATIVES) * 4,
        ),
        "composition": among(
            alternative=[a for a in streams for _ in columns], column=columns * len(streams)
        ),
        "origin_dispersion": among(
            alternative=list(ALTERNATIVES), statistic=["standard deviation"] * 3
        ),
        "spatial": among(
            alternative=list(ALTERNATIVES), origins=[60] * 3, pairs=[99] * 3, statistic=["I"] * 3
        ),
        "household_streams": among(streams=["internal and international", "two or more internal"]),
        "transitions": among(
            before=[a for a in ALTERNATIVES for _ in ALTERNATIVES],
            now=list(ALTERNATIVES) * 3,
            rows=[500] * 9,
        ),
        "reliability": pd.concat(
            pd.DataFrame(
                {"predicted": k, "observed": k, "lower": k - 0.05, "upper": k + 0.05}
            ).assign(theory=main, alternative=a, rows=100, p_adjusted=0.8)
            for a in ALTERNATIVES
        ),
        "influential_origins": pd.DataFrame(
            {
                "theory": main,
                "origin": [f"place {i}" for i in range(20)],
                "rows": np.arange(20) + 30,
                "elpd": -50.0,
                "pareto_k": np.linspace(0.8, 0.1, 20),
                "bound": 0.67,
            }
        ),
        "prior_group_shares": among(
            by=["female"] * 6,
            level=[v for v in "01" for _ in range(3)],
            alternative=list(ALTERNATIVES) * 2,
        )
        .rename(columns={"predicted": "mean"})
        .assign(doubt=0.4, passed=True, rows=300),
        "rehearsal": pd.DataFrame(
            {
                "theory": main,
                "hypothesis": ["wealth_selects_international"] * 2,
                "truth": ["holds", "does not hold"],
                "worlds": 20,
                "probability": [0.93, 0.08],
                "probability_error": 0.02,
                "supported": [0.85, 0.0],
                "contradicted": [0.0, 0.9],
                "rightly": [0.85, 0.9],
                "rightly_lower": 0.64,
                "rightly_upper": 0.97,
                "wrongly": 0.0,
                "wrongly_lower": 0.0,
                "wrongly_upper": 0.16,
                "can": "yes",
                "sentence": "This survey can tell.",
            }
        ),
        "rehearsal_worlds": pd.DataFrame(
            {
                "theory": main,
                "hypothesis": "wealth_selects_international",
                "holds": [True, False] * 20,
                "probability": [0.95, 0.05] * 20,
            }
        ),
    }


def _prior_sensitivity(theories: tuple[str, ...]) -> pd.DataFrame:
    rows = [
        (theory, *row)
        for theory in theories
        for row in (
            ("sigma_origin[international, asc]", 0.74, 0.071, 0.032, WEAK),
            ("beta[asc, internal]", 0.05, 0.002, 0.081, ""),
        )
    ]
    numbers = ("overlap", "prior_sensitivity", "likelihood_sensitivity")
    return pd.DataFrame(rows, columns=["theory", "parameter", *numbers, "identification"])


def _shares_at(by: str, i: int, n: int) -> dict[str, float]:
    """Observed shares of a level: they drift over levels, more so for rare streams."""
    if by == "all":
        return dict(SHARES)
    at = (i / max(n - 1, 1)) - 0.5
    tilt = {"female": (0.2, -0.9), "education": (0.5, 0.05), "wealth": (0.2, 0.3)}.get(by, (0.1, 0))
    internal = SHARES["internal"] * (1 + tilt[0] * at)
    international = SHARES["international"] * (1 + tilt[1] * at)
    return {
        "stay": 1 - internal - international,
        "internal": internal,
        "international": international,
    }


def _calibration(rng: np.random.Generator, theory: str) -> list[dict[str, Any]]:
    rows = []
    for a, ends in zip(ALTERNATIVES, ((0.6, 0.98), (0.02, 0.34), (0.002, 0.11)), strict=True):
        for predicted in np.linspace(*ends, 8):
            sd = np.sqrt(predicted * (1 - predicted) / 500)
            observed = float(np.clip(predicted + rng.normal(0, sd), 0, 1))
            rows.append(
                {
                    "theory": theory,
                    "alternative": a,
                    "predicted": predicted,
                    "observed": observed,
                    "lower": max(predicted - 2 * sd, 0),
                    "upper": min(predicted + 2 * sd, 1),
                    "rows": 500,
                    "passed": bool(abs(observed - predicted) < 2 * sd),
                }
            )
    return rows


def _comparison(theories: tuple[str, ...]) -> pd.DataFrame:
    known = {
        "baseline": (-1811.3, 46.2, -172.2, 17.9, 61.0, 0.00, 0.61, 0),
        "selectivity": (-1690.9, 44.0, -51.8, 10.2, 78.4, 0.06, 0.74, 2),
        "networks": (-1639.1, 43.3, 0.0, 0.0, 88.9, 0.94, 0.68, 0),
    }
    columns = "elpd se elpd_diff diff_se p_loo weight pareto_k_max pareto_k_high".split()  # noqa: SIM905
    table = pd.DataFrame([known[t] for t in theories], columns=columns)
    table.insert(0, "theory", theories)
    return table


def _hypotheses() -> pd.DataFrame:
    spec = [
        # theory, name, claim, [(part, estimate, sd, rope, probability)], joint
        (
            "selectivity",
            "gender_streams_differ",
            "Women turn to internal moves rather than moves abroad, compared with men.",
            [("lift(female, internal) > lift(female, international)", 0.63, 0.14, 0.1, 0.9995)],
            0.9995,
        ),
        (
            "selectivity",
            "wealth_selects_international",
            "Moving abroad is the realm of the better-off, more so than internal moves.",
            [
                ("lift(wealth, international) > 0", 0.27, 0.11, 0.05, 0.99),
                (
                    "lift(wealth, international) > lift(wealth, internal)",
                    0.22,
                    0.12,
                    0.05,
                    0.96,
                ),
            ],
            0.955,
        ),
        (
            "selectivity",
            "internal_draws_the_poorer",
            "Internal moves draw the less wealthy, for whom the way abroad is closed.",
            [("lift(wealth, internal) < 0", 0.045, 0.03, 0.05, 0.07)],
            0.07,
        ),
        (
            "networks",
            "own_networks_pull",
            "A community's earlier movers pull others into their own stream, in both streams.",
            [
                ("lift(network_internal, internal) > 0", 0.29, 0.05, 0.02, 1.0),
                ("lift(network_international, international) > 0", 0.52, 0.1, 0.02, 1.0),
            ],
            1.0,
        ),
        (
            "networks",
            "cross_network_substitution",
            "Each stream's community network keeps people from the other stream.",
            [
                (
                    "lift(network_international, internal) < lift(network_international, stay)",
                    -0.048,
                    0.05,
                    0.02,
                    0.83,
                ),
                (
                    "lift(network_internal, international) < lift(network_internal, stay)",
                    -0.03,
                    0.1,
                    0.02,
                    0.62,
                ),
            ],
            0.52,
        ),
        (
            "networks",
            "step_migration",
            "Those who moved within the country before are more likely to go abroad.",
            [("comparison(prior_internal, international) > 0", 0.0102, 0.004, 0.001, 0.995)],
            0.995,
        ),
    ]
    rows = [
        {
            "theory": theory,
            "hypothesis": name,
            "claim": claim,
            "statement": " and ".join(p[0] for p in parts),
            "part": part,
            **{k: float(v) for k, v in interval(estimate, sd).items()},
            "rope": rope,
            "rope_mass": 0.04 if abs(estimate) > 2 * sd else 0.31,
            "probability": probability,
            "joint_probability": joint,
            "prior_probability": 0.5,
            "overlap": 0.84 if name in WEAK_CLAIMS else 0.21,
            "prior_sensitivity": 0.062 if name in WEAK_CLAIMS else 0.011,
            "likelihood_sensitivity": 0.034 if name in WEAK_CLAIMS else 0.092,
            "identification": WEAK if name in WEAK_CLAIMS else "",
            "joint_identification": WEAK if name in WEAK_CLAIMS else "",
        }
        for theory, name, claim, parts, joint in spec
        for part, estimate, sd, rope, probability in parts
    ]
    return pd.DataFrame(rows)


def _answers(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    shares, effects = [], []
    for by, levels in {"all": ("all",), "female": BY["female"], "wealth": BY["wealth"]}.items():
        for i, level in enumerate(levels):
            for a, share in _shares_at(by, i, len(levels)).items():
                values = interval(share, 0.03 * share**0.5 / 3)
                shares.append({"alternative": a, **values, "rows": 800, "by": by, "level": level})
    for variable, (contrast, internal, international) in COMPARISONS.items():
        effects += _effect_rows("comparison", variable, contrast, internal, international, rng)
    for variable, (internal, international) in SLOPES.items():
        effects += _effect_rows("slope", variable, "dP/dx", internal, international, rng)
    return {"shares": pd.DataFrame(shares), "effects": pd.DataFrame(effects)}


def _effect_rows(
    kind: str,
    variable: str,
    contrast: str,
    internal: float,
    international: float,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    values = {"stay": -internal - international, "internal": internal}
    return [
        {
            "variable": variable,
            "contrast": contrast,
            "alternative": a,
            **{
                k: float(v)
                for k, v in interval(value, (0.006 if a != ALTERNATIVES[2] else 0.002)).items()
            },
            "rows": 4000,
            "kind": kind,
        }
        for a, value in (values | {"international": international}).items()
    ]


def _scenarios(rng: np.random.Generator, names: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for name in names:
        loss = 0.21 if name == "network_cut" else 1.0
        for by, levels in {"all": ("all",), "female": BY["female"], "wealth": BY["wealth"]}.items():
            for i, level in enumerate(levels):
                base = _shares_at(by, i, len(levels))
                lost = loss * base["international"] * rng.uniform(0.9, 1.1 if loss < 1 else 0.9)
                change = {"stay": 0.83 * lost, "internal": 0.17 * lost, "international": -lost}
                for a in ALTERNATIVES:
                    cell = {"scenario": name, "by": by, "level": level, "alternative": a}
                    error = 0.12 * abs(change[a]) + 0.0002
                    rows += [
                        cell | {"quantity": q, "rows": 4000 // len(levels)} | interval(v, s)
                        for q, v, s in (
                            ("baseline", base[a], 0.01 * base[a] ** 0.5),
                            ("scenario", base[a] + change[a], 0.01 * base[a] ** 0.5),
                            ("difference", change[a], error),
                        )
                    ]
    return pd.DataFrame(rows)


def _diversion(names: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for name in names:
        shift = 0.04 if name == "network_cut" else 0.0
        rows.append(
            {
                "scenario": name,
                "source": "international",
                "target": "internal",
                **interval(0.171 + shift, 0.021),
                **{f"iia_{k}": v for k, v in interval(0.111, 0.004).items() if k != "sd"},
            }
        )
    return pd.DataFrame(rows)


def _results(
    title: str, theories: tuple[str, ...], scenarios: tuple[str, ...], converged: bool
) -> dict[str, Any]:
    weights = "averages are weighted by weight, the likelihood is not (estimand)"
    header = {
        "unit": "probability",
        "theory": theories[-1],
        "rows": "4,000",
        "weights": weights,
        "groups": "origin: the survey's own groups, each with its draws",
        "interval": "95 % HDI",
    }
    problem = "R-hat > 1.01 for 1 of 232, such as beta[internal, urban]"
    told = {
        "network_cut": ("Family reunification is cut", "multiply network_international by 0.5"),
        "border_closure": ("The border is closed", "close international"),
    }
    return {
        "title": title,
        "seed": 7,
        "created": "2026-03-01T12:00:00+00:00",
        "versions": {
            "python": "3.12.11",
            "bayesmig": "0.1.0",
            "pymc": "6.3.0",
            "nutpie": "0.16.10",
            "numpy": "2.4.0",
        },
        "files": {"study": "study.toml", "codebook": "survey.toml", "data": "survey.csv.gz"},
        "steps": [
            {"step": "survey", "created": "2026-03-01T11:59:00+00:00", "seconds": 1.5},
            {"step": "compare", "created": None, "seconds": None},
        ],
        "columns": [
            {
                "column": column,
                "description": description,
                "codebook": codebook,
                "theories": [t for t in theories if t != "baseline"],
            }
            for column, description, codebook in COLUMNS
        ],
        "survey": {
            "title": "Synthetic survey, Albania-like",
            "fingerprint": "9f2c4e6a" * 8,
            "rows": 4000,
            "notes": "Made up by bayesmig simulate.",
            "warnings": ["origins are thin: 100 origins, median 4 rows"],
        },
        "main": theories[-1],
        "theories": [
            {
                "name": t,
                "title": TITLES[t][0],
                "claim": TITLES[t][1],
                "references": ["vullnetari2020", "lindstrom2001"] if t != "baseline" else [],
                "weights_note": weights,
                "warnings": [],
                "problems": [] if converged or t != theories[-1] else [problem, "7 divergences"],
                "provenance": {
                    "seed": 7,
                    "chains": 4,
                    "draws": 1000,
                    "tune": 500,
                    "target_accept": 0.9,
                    "method": "auto",
                    "route": "NUTS (nutpie) on the conditional-Laplace map",
                    "reason": "the first weights were too uneven",
                    "precision": "double",
                    "numbers": {"gradients_per_ess": 12.5},
                    "versions": {"bayesmig": "0.1.0", "numba": "0.68.0"},
                    "survey": "9f2c4e6a" * 8,
                    "design": "1b3d5f70" * 8,
                    "spec": "0a2c4e68" * 8,
                    "seconds": 21.4 + 3.2 * i,
                    "created": "2026-03-01T11:59:30+00:00",
                    "warnings": [],
                },
            }
            for i, t in enumerate(theories)
        ],
        "scenarios": [
            {
                "name": s,
                "title": told[s][0],
                "description": "\nAssumed: a reconstruction, not an estimate.\nStatic.",
                "interventions": [told[s][1]],
                "warnings": ["0.4 % of the rows leave the range of network_international"]
                if s == "network_cut"
                else [],
                "header": header | {"unit": "difference of average probabilities"},
            }
            for s in scenarios
        ],
        "headers": {
            "shares": header,
            "comparison": header | {"unit": "difference of average probabilities"},
            "slope": header | {"unit": "probability per unit of the column"},
            "hypotheses": header,
        },
        "texts": {
            "comparison": "networks predicts best: selectivity lies 51.8 below it (SE 10.2), "
            "baseline 172.2 (SE 17.9)."
            if len(theories) == 3
            else "",
            "hypotheses": {},
        },
    }
