"""A world so small that posteriors, and what they predict of what was left out, are sums.

Two alternatives, a constant and effects of places: the posterior over the constant and the
scale is a grid, the effects' given these another. Draws are taken from both, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import xarray as xr

from bayesmig.design.design import Design, build_design
from bayesmig.posterior import Posterior
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey, read_survey
from tests.fabricate import fabricated

#: Standard deviations of the prior of the constant, and mean of the scale's.
ASC, SCALE = 1.5, 1.0


def tiny_frame(rows: int = 60, groups: int = 6, seed: int = 0) -> pd.DataFrame:
    """Rows spread unevenly over places, one of them with a single row."""
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), 1 + rng.integers(groups - 1, size=rows - groups)])
    odds = -0.5 + rng.normal(0.0, 1.2, groups)[group]
    moved = rng.random(rows) < 1 / (1 + np.exp(-odds))
    return pd.DataFrame({"choice": moved.astype(int), "origin": [f"o{g}" for g in group]})


def tiny_survey(frame: pd.DataFrame) -> Survey:
    """Stay or leave."""
    return read_survey(
        frame,
        roles={name: name for name in frame.columns if name in ("choice", "origin", "person")},
        alternatives={"stay": 0, "internal": 1},
    )


def tiny_theory(**keys: object) -> ModelSpec:
    """A constant, and effects of places unless said."""
    return ModelSpec.model_validate(
        {
            "name": "tiny",
            "choice": {"alternatives": ["stay", "internal"], "base": "stay"},
            "utility": {"persons": "1"},
            "groups": [{"by": "origin"}],
            "priors": {
                "asc": {"dist": "normal", "loc": 0.0, "scale": ASC},
                "scale": {"dist": "exponential", "scale": SCALE},
            },
            **keys,
        }
    )


@dataclass(frozen=True)
class Exact:
    """The grid: constants ``(point,)``, scales, log prior of both; nodes of an effect."""

    design: Design
    asc: np.ndarray
    sigma: np.ndarray
    log_prior: np.ndarray
    z: np.ndarray
    log_z: np.ndarray
    known: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, survey: Survey, points: int = 91, nodes: int = 81) -> Exact:
        """Over many times as much as the prior and the data leave."""
        a, log_s = np.linspace(-4, 4, points), np.linspace(-4, 2, points)
        asc, log_sigma = (of.ravel() for of in np.meshgrid(a, log_s, indexing="ij"))
        sigma = np.exp(log_sigma)
        log_prior = -0.5 * (asc / ASC) ** 2 - sigma / SCALE + log_sigma
        z = np.linspace(-6.5, 6.5, nodes)
        log_z = -0.5 * z**2 - np.log(np.exp(-0.5 * z**2).sum())
        design = build_design(tiny_theory(), survey)
        return cls(design, asc, sigma, log_prior, z, log_z)

    def groups(self) -> np.ndarray:
        """Place of every row."""
        return np.asarray(self.design.columns.groups["origin"][0])

    def marginal(self, rows: np.ndarray) -> np.ndarray:
        """Log-likelihood of some rows, effects integrated out, ``(point,)``."""
        total = np.zeros(len(self.asc))
        for group in np.unique(self.groups()[rows]):
            here = rows[self.groups()[rows] == group]
            total += self.of_place(len(here), int(self.design.choice[here].sum()))
        return total

    def of_place(self, rows: int, moved: int) -> np.ndarray:
        """Log-likelihood of a place where so many of its rows moved, ``(point,)``."""
        if (rows, moved) not in self.known:
            of = self.of_counts(rows, moved) + self.log_z
            self.known[rows, moved] = np.logaddexp.reduce(of, axis=1)
        return self.known[rows, moved]

    def of_counts(self, rows: int, moved: int) -> np.ndarray:
        """Log-likelihood of so many rows of one place, ``(point, node)``."""
        odds = self.asc[:, None] + self.sigma[:, None] * self.z
        return moved * odds - rows * np.logaddexp(0.0, odds)

    def evidence(self, rows: np.ndarray) -> float:
        """Log of the prior predictive density of some rows, up to a constant."""
        return float(np.logaddexp.reduce(self.log_prior + self.marginal(rows)))

    def left_out(self, rows: np.ndarray) -> float:
        """Log density of some rows given all others."""
        every = np.arange(self.design.n_obs)
        return self.evidence(every) - self.evidence(np.setdiff1d(every, rows))

    def posterior(self, survey: Survey, draws: int = 1000, seed: int = 0) -> Posterior:
        """Four chains of exact draws."""
        rng, every = np.random.default_rng(seed), np.arange(self.design.n_obs)
        log_p = self.log_prior + self.marginal(every)
        p = np.exp(log_p - np.logaddexp.reduce(log_p))
        points = rng.choice(len(p), 4 * draws, p=p / p.sum())
        n_groups = int(self.groups().max()) + 1
        u = np.empty((4 * draws, n_groups))
        for g in range(n_groups):
            rows = np.flatnonzero(self.groups() == g)
            of = self.of_counts(len(rows), int(self.design.choice[rows].sum())) + self.log_z
            shares = np.exp(of - of.max(axis=1, keepdims=True)).cumsum(axis=1)
            at = rng.random(4 * draws) * shares[points, -1]
            u[:, g] = self.z[(shares[points] < at[:, None]).sum(axis=1)] * self.sigma[points]
        made = fabricated(self.design, chains=4, draws=draws, survey=survey)
        moved = made.draws
        moved["beta"].data = self.asc[points].reshape(4, draws, 1, 1)
        moved["sigma_origin"].data = self.sigma[points].reshape(4, draws, 1, 1)
        moved["u_origin"].data = u.reshape(4, draws, n_groups, 1, 1)
        tree = made.data.copy()
        tree["posterior"] = xr.DataTree(moved)
        return replace(made, data=tree)
