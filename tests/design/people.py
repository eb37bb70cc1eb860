"""Tables and designs that the tests of this folder share."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from bayesmig.design.design import Design, design_from_frame
from bayesmig.spec.model import ModelSpec
from bayesmig.tomlfile import validate

ALTERNATIVES = ("stay", "internal", "international")
COST: dict[str, dict[str, str | float]] = {
    "cost": {"stay": 0.0, "internal": "cost_internal", "international": "cost_international"}
}


def people(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """Persons whose choices have nothing to do with their columns."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "choice": rng.choice(ALTERNATIVES, n, p=[0.6, 0.25, 0.15]),
            "origin": rng.choice([f"o{i}" for i in range(8)], n),
            "period": rng.choice(["2000", "2010", "2020"], n),
            "weight": rng.gamma(4.0, 0.25, n),
            "female": rng.integers(2, size=n),
            "urban": rng.integers(2, size=n),
            "education": rng.normal(2.0, 4.0, n),
            "wealth": rng.normal(size=n),
            "region": rng.choice(["north", "south", "west"], n),
            "cost_internal": rng.uniform(1, 5, n),
            "cost_international": rng.uniform(5, 20, n),
        }
    )


def theory(persons: str = "female + wealth", **keys: Any) -> ModelSpec:
    """A theory of stay, internal and international; ``utility`` holds the rest of it."""
    utility = {"persons": persons} | keys.pop("utility", {})
    keys.setdefault("choice", {"alternatives": list(ALTERNATIVES), "base": "stay"})
    return validate(ModelSpec, {"utility": utility} | keys, file="theory")


def design(
    spec: ModelSpec,
    frame: pd.DataFrame | None = None,
    *,
    roles: tuple[str, ...] = (),
    attributes: dict[str, dict[str, str | float]] | None = None,
) -> Design:
    """A design of a frame whose columns carry the names of their roles."""
    return design_from_frame(
        spec,
        people() if frame is None else frame,
        roles={role: role for role in ("choice", *roles)},
        attributes=attributes or {},
        survey_fingerprint="made up",
    )


@cache
def rich() -> Design:
    """Every block at once."""
    frame = people().assign(
        road=lambda f: np.where(f["choice"] == "internal", 1, f["female"]),
    )
    spec = theory(
        "female * wealth + C(region, reference='west')",
        utility={
            "only": {"international": "square(wealth)"},
            "alternatives": "cost + cost:female",
            "period_constants": True,
        },
        available={"internal": "road"},
        groups=[{"by": "origin", "terms": "1 + scale(wealth)"}],
    )
    return design(spec, frame, roles=("origin", "period", "weight"), attributes=COST)
