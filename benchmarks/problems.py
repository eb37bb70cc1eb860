"""The problems that engines are given.

The reference problem R(N): N persons in 100 communities, three alternatives, 14
standardised columns and a constant per non-base alternative, and a correlated community
intercept with LKJ(2) and Exponential(1) priors: 233 unconstrained parameters.

The Indonesia Family Life Survey, all kecamatan, under the theory of networks, whose data
lie beside the checkout or in the folder that ``BAYESMIG_DATA`` names; nothing of its rows
is ever shown or kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent

ALTERNATIVES = ("stay", "internal", "international")
COLUMNS = (
    "female", "age", "age2", "primary", "secondary", "tertiary", "wealth", "wealth2",
    "female_secondary", "female_tertiary", "household_size", "network_internal",
    "network_international", "wealth_network",
)  # fmt: skip
COMMUNITIES, PARAMETERS = 100, 233
SCALES, CORRELATION = (0.5, 0.8), -0.2


@dataclass(frozen=True)
class Problem:
    """Arrays that any package can be given.

    Attributes
    ----------
    x
        ``(obs, 14)``, standardised.
    group, choice
        ``(obs,)``.
    """

    x: np.ndarray
    group: np.ndarray
    choice: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> Problem:
        """A problem from the file of its frame."""
        frame = pd.read_parquet(path)
        choice = pd.Categorical(frame["choice"], ALTERNATIVES).codes
        group = frame["community"].str[1:].astype(int)
        return cls(frame[list(COLUMNS)].to_numpy(), group.to_numpy(), choice.astype(int))

    @property
    def frame(self) -> pd.DataFrame:
        """The same as a table."""
        frame = pd.DataFrame(dict(zip(COLUMNS, self.x.T, strict=True)))
        frame["community"] = [f"c{g:03d}" for g in self.group]
        frame["choice"] = np.array(ALTERNATIVES)[self.choice]
        return frame


def reference(n: int, seed: int = 0) -> Problem:
    """R(n)."""
    rng = np.random.default_rng([seed, n])
    group = rng.integers(COMMUNITIES, size=n)
    place = rng.normal(size=(COMMUNITIES, 3))[group]
    female, age = rng.integers(2, size=n), rng.gamma(6.0, 2.0, n)
    level = rng.choice(4, n, p=(0.3, 0.35, 0.25, 0.1))
    wealth = 0.5 * place[:, 0] + 0.4 * level + rng.normal(size=n)
    network = place[:, 1:] + 0.7 * rng.normal(size=(n, 2))
    x = np.column_stack([
        female, age, (age - 12) ** 2, level == 1, level == 2, level == 3, wealth, wealth**2,
        female * (level == 2), female * (level == 3), rng.poisson(4.0, n), network[:, 0],
        network[:, 1], wealth * network[:, 1],
    ]).astype(float)  # fmt: skip
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    beta = rng.normal(0.0, 0.25, (len(COLUMNS), 2))
    root = np.linalg.cholesky([[1.0, CORRELATION], [CORRELATION, 1.0]])
    effects = rng.normal(size=(COMMUNITIES, 2)) @ root.T * SCALES
    odds = np.array([-1.2, -2.2]) + x @ beta + effects[group]
    utility = np.column_stack([np.zeros(n), odds]) + rng.gumbel(size=(n, 3))
    return Problem(x, group, utility.argmax(axis=1))


def as_bayesmig(frame: pd.DataFrame) -> tuple[Any, Any]:
    """Theory and survey of the package, of a table in memory."""
    from bayesmig import read_survey

    return reference_theory(), read_survey(frame, roles=_ROLES, alternatives=_CODES)


_ROLES = {"choice": "choice", "origin": "community"}
_CODES = {name: [name] for name in ALTERNATIVES}


def codebook_beside(data: Path) -> Path:
    """The codebook of R(n) on disk, written beside it."""
    path = data.with_suffix(".toml")
    tables = {"roles": _ROLES, "alternatives": _CODES}
    lines = [f"file = {json.dumps(data.name)}"]
    for table, keys in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(of)}" for key, of in keys.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def reference_theory() -> Any:
    """The package's theory of R(n), with the priors that the peers are given."""
    from bayesmig.spec.model import ModelSpec

    return ModelSpec.model_validate(
        {
            "name": "reference",
            "choice": {"alternatives": list(ALTERNATIVES), "base": "stay"},
            "utility": {"persons": " + ".join(COLUMNS)},
            "groups": [{"by": "origin"}],
            "priors": {
                "asc": {"dist": "normal", "loc": 0.0, "scale": 2.0},
                "persons": {"dist": "normal", "scale": 1.0, "per": "unit"},
                "scale": {"dist": "exponential", "scale": 1.0},
                "correlation": {"eta": 2.0},
            },
        }
    )


# ------------------------------------------------------------------------ real microdata

_BESIDE = "../../shared/data"


def indonesian_codebook(folder: Path) -> Path | None:
    """The codebook of all kecamatan, or its copy in ``folder``; ``None`` without data."""
    data = Path(os.environ.get("BAYESMIG_DATA", REPOSITORY.parent / "shared" / "data")).resolve()
    if not (data / "ifls").is_dir():
        return None
    shipped = REPOSITORY / "surveys" / "ifls_all.toml"
    text = shipped.read_text(encoding="utf-8")
    copy = folder / shipped.name
    copy.write_text(text.replace(_BESIDE, data.as_posix()), encoding="utf-8")
    return copy


def indonesian_theory(households: bool) -> Any:
    """`networks_unknown`, with effects of kecamatan, and of households in them where asked."""
    from bayesmig.spec.library import load_model
    from bayesmig.spec.model import ModelSpec

    theory = load_model(REPOSITORY / "studies" / "networks_unknown.toml")
    if not households:
        return theory
    said = theory.model_dump(exclude_unset=True)
    said["groups"] = [*said["groups"], {"by": "household:origin"}]
    return ModelSpec.model_validate(said)
