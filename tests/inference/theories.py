"""One theory for every kind of thing that a density can be made of."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from bayesmig.design.design import Design, build_design
from bayesmig.survey.survey import Survey
from tests.fabricate import ALTERNATIVES, small_frame, survey_of, theory

ONE_GROUP = [{"by": "origin"}]
SLOPES = [{"by": "origin", "terms": "1 + wealth"}]
TWO_GROUPS = [{"by": "origin", "terms": "1 + wealth"}, {"by": "region", "correlated": False}]
AVAILABLE = {"international": "border_open", "internal": "road_open"}

THEORIES: dict[str, dict[str, Any]] = {
    "no_groups": {"groups": []},
    "one_correlation": {"groups": ONE_GROUP},
    "four_correlated": {"groups": SLOPES, "priors": {"correlation": {"eta": 1.3}}},
    "six_correlated": {"groups": [{"by": "region", "terms": "1 + wealth + female"}]},
    "uncorrelated": {"groups": [{"by": "origin", "terms": "1 + wealth", "correlated": False}]},
    "pseudo": {"groups": SLOPES, "weights": "pseudo"},
    "two_factors": {"groups": TWO_GROUPS},
    "crossed": {"groups": [{"by": "household", "terms": "1 + female"}, {"by": "origin"}]},
    "in_places": {"groups": [{"by": "household:origin"}, {"by": "origin"}]},
    "smooth": {"smooths": [{"column": "wealth", "bends": 4}]},
    "smooths": {
        "groups": [],
        "smooths": [
            {"column": "wealth", "bends": 3, "correlated": False},
            {"column": "education", "bends": 5},
        ],
    },
    "shared": {"utility": {"persons": "female + wealth", "shared": "education + urban"}},
    "pools": {
        "pools": [
            {"name": "means", "columns": ["age_10", "urban"]},
            {"name": "ties", "columns": ["household_internal", "network_internal"]},
        ]
    },
    "one_person_groups": {"groups": [{"by": "person"}]},
    "half_normal_scales": {
        "groups": ONE_GROUP,
        "priors": {"scale": {"dist": "half_normal", "scale": 0.7}},
    },
    "half_t_scales": {
        "groups": SLOPES,
        "priors": {"scale": {"dist": "half_student_t", "scale": 0.4, "df": 3.0}},
    },
    "flat": {
        "groups": [],
        "priors": {"asc": {"dist": "flat"}, "persons": {"dist": "flat"}},
    },
    "student_t": {"priors": {"persons": {"dist": "student_t", "scale": 0.5, "df": 3.0}}},
    "laplace": {"priors": {"persons": {"dist": "laplace", "scale": 0.3, "per": "unit"}}},
    "a_prior_each": {
        "priors": {
            "asc": {"dist": "student_t", "loc": 0.5, "df": 5.0},
            "coefficient": [
                {"name": "female", "dist": "flat"},
                {"name": "wealth", "dist": "laplace", "loc": 0.2, "scale": 0.4},
                {"name": "education", "alternative": "internal", "loc": 0.1, "scale": 0.05},
            ],
        }
    },
    "availability": {"available": AVAILABLE},
    "attributes": {
        "utility": {"persons": "female + wealth", "alternatives": "cost + cost:wealth"},
        "priors": {"alternatives": {"dist": "student_t", "df": 6.0}},
    },
    "only": {
        "utility": {
            "persons": "female",
            "only": {"stay": "urban", "international": "urban:female + age_10"},
        },
        "choice": {"alternatives": ["internal", "stay", "international"], "base": "stay"},
        "priors": {"only": {"dist": "laplace"}, "asc": {"scale": 1.5}},
    },
    "everything": {
        "utility": {
            "persons": "female + wealth",
            "only": {"stay": "urban", "international": "age_10"},
            "alternatives": "cost",
        },
        "choice": {"alternatives": list(ALTERNATIVES), "base": "international"},
        "available": {"internal": "road_open"},
        "groups": TWO_GROUPS,
        "priors": {
            "alternatives": {"dist": "laplace"},
            "coefficient": [{"name": "wealth", "dist": "student_t", "scale": 2.0}],
        },
    },
}


@cache
def wide_survey(n: int = 160, *, origins: int = 7) -> Survey:
    """`small_survey` with a cost per alternative, and alternatives that are closed to some."""
    frame = small_frame(n, seed=4, origins=origins)
    rng = np.random.default_rng(5)
    for alternative in ALTERNATIVES:
        frame[f"cost_{alternative}"] = rng.gamma(2.0, 1.0, n)
    choice = frame["choice"].astype(str).to_numpy()
    frame["border_open"] = np.where(choice == "international", 1, rng.integers(2, size=n))
    frame["road_open"] = np.where(choice == "internal", 1, rng.integers(2, size=n))
    return survey_of(frame, attributes={"cost": {a: f"cost_{a}" for a in ALTERNATIVES}})


@cache
def design_of(name: str) -> Design:
    """The design of a theory of `THEORIES`."""
    return build_design(theory(**THEORIES[name]), wide_survey())
