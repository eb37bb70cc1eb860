"""Simulated surveys as theories see them: the true terms of utility, and their labels."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bayesmig.simulation import simulate
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey, read_survey

#: No effects of households: theories here have those of origins only.
NO_HOUSEHOLDS = {"sigma_household.internal": 0.0, "sigma_household.international": 0.0}


def simulated(
    folder: Path, *, persons: int, seed: int, effects: Mapping[str, float] = NO_HOUSEHOLDS
) -> tuple[Survey, dict[str, dict[str, float]]]:
    """A survey, and its true coefficients: alternative -> label -> value."""
    made = simulate(folder, persons=persons, seed=seed, effects=effects)
    truth: dict[str, Any] = tomllib.loads(made.truth.read_text())["true"]
    terms = {
        alternative: {label(term): value for term, value in of.items()}
        for alternative, of in truth["utility"].items()
    }
    return read_survey(made.codebook), terms


def label(term: str) -> str:
    """The label that a formula gives to a term of the simulator."""
    first, *others = term.split(":")
    return f"square({first})" if others == [first] else term


def theory_of(terms: Mapping[str, Mapping[str, float]], **keys: Any) -> ModelSpec:
    """The theory whose utility has exactly these terms."""
    columns = [term for term in terms["internal"] if term != "asc"]
    data = {
        "name": "true_world",
        "choice": {"alternatives": ["stay", *terms], "base": "stay"},
        "utility": {"persons": " + ".join(columns)},
        "groups": [{"by": "origin"}],
    }
    return ModelSpec.model_validate(data | keys)
