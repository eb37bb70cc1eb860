"""Priors of a theory on a design: one distribution for every coefficient, in its units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmig.errors import SpecError, nearest
from bayesmig.spec.priors import CoefficientPrior, Prior, Priors

_CODES = {"flat": 0, "normal": 1, "student_t": 2, "laplace": 3}


@dataclass(frozen=True, slots=True)
class PriorArray:
    """Independent priors of an array of coefficients.

    Attributes
    ----------
    dist
        Codes: 0 flat, 1 normal, 2 Student t, 3 Laplace; shape of the coefficients.
    loc, scale, df
        Of the same shape, in the units of the coefficients.
    """

    dist: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
    df: np.ndarray

    def __getitem__(self, index: Any) -> PriorArray:
        return PriorArray(self.dist[index], self.loc[index], self.scale[index], self.df[index])

    @property
    def flat(self) -> np.ndarray:
        """Which coefficients have a flat prior."""
        return np.asarray(self.dist == _CODES["flat"])

    @property
    def is_flat(self) -> bool:
        """Whether any coefficient has a flat prior."""
        return bool(self.flat.any())

    def log_densities(self, value: np.ndarray) -> np.ndarray:
        """Log density of each coefficient up to a constant, ``(..., *shape)`` as ``value``."""
        z = (value - self.loc) / self.scale
        square = z * z
        normal, student, laplace = self._kinds
        return np.asarray(
            -0.5 * square * normal
            - 0.5 * (self.df + 1) * np.log(1 + square / self.df) * student
            - np.abs(z) * laplace
        )

    def log_density(self, value: np.ndarray) -> tuple[float, np.ndarray]:
        """Sum of log densities up to a constant, and its gradient (shape of ``value``)."""
        z = (value - self.loc) / self.scale
        normal, student, laplace = self._kinds
        tail = 1 + z * z / self.df
        slope = (
            -z * normal - (self.df + 1) / self.df * z / tail * student - np.sign(z) * laplace
        ) / self.scale
        return float(self.log_densities(value).sum()), slope

    @property
    def has_kinks(self) -> bool:
        """Whether a log density has no slope at its tip."""
        return bool((self.dist == _CODES["laplace"]).any())

    def holds(self, value: np.ndarray, step: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Which coefficients a Laplace prior holds at its tip, which a step would cross.

        Parameters
        ----------
        value, step
            Of the coefficients.
        slope
            Of the whole log density, this prior's included, at the value.
        """
        if not self.has_kinks:
            return np.zeros(value.shape, dtype=bool)
        crossed = (value - self.loc) * (value + step - self.loc) <= 0
        other = np.abs(slope - self.log_density(value)[1]) <= 1 / self.scale
        return np.asarray((self.dist == _CODES["laplace"]) & crossed & other)

    @property
    def _kinds(self) -> tuple[np.ndarray, ...]:
        """Which coefficients have a normal, a Student t, a Laplace prior."""
        return tuple(self.dist == _CODES[k] for k in ("normal", "student_t", "laplace"))


def resolve(
    priors: Priors,
    block: str,
    labels: tuple[tuple[str, str], ...],
    spread: np.ndarray,
    constants: dict[str, tuple[float, float]],
) -> PriorArray:
    """Priors of a block's coefficients.

    Parameters
    ----------
    priors
        What the theory says.
    block
        ``persons``, ``only`` or ``alternatives``.
    labels
        (coefficient, alternative) of each.
    spread
        Standard deviation of each coefficient's column, same order.
    constants
        Alternative -> default centre and standard deviation of its constant.

    Returns
    -------
    PriorArray
        One-dimensional, in the order of ``labels``.
    """
    named = {(p.name, p.alternative): p for p in priors.coefficient if p.block == block}
    _all_named_exist(named, labels, block)
    rows = []
    for (name, alternative), sd in zip(labels, spread, strict=True):
        own: CoefficientPrior | None = named.get((name, alternative)) or named.get((name, None))
        prior: Prior = own or (priors.asc if _is_constant(name) else getattr(priors, block))
        rows.append(_row(prior, name, sd, constants.get(alternative, (0.0, 2.5))))
    columns = np.array(rows, dtype=float).reshape(len(labels), 4).T
    return PriorArray(columns[0].astype(int), *columns[1:])


def _is_constant(name: str) -> bool:
    """The alternative's own constant; those of periods are coefficients like others."""
    return name == "asc"


def _row(
    prior: Prior, name: str, sd: float, constant: tuple[float, float]
) -> tuple[float, float, float, float]:
    scale, loc = prior.scale, prior.loc
    if _is_constant(name):
        loc = constant[0] if loc is None else loc
        if "scale" not in prior.model_fields_set:
            scale = constant[1]
    elif prior.per == "sd" and prior.dist != "flat":
        scale = scale / sd
    return _CODES[prior.dist], loc or 0.0, scale, prior.df


def _all_named_exist(
    named: dict[tuple[str, str | None], CoefficientPrior],
    labels: tuple[tuple[str, str], ...],
    block: str,
) -> None:
    names = [name for name, _ in labels]
    for name, alternative in named:
        wanted = (name, alternative) in labels or (alternative is None and name in names)
        if not wanted:
            raise SpecError(
                f"a prior is stated for {name!r}"
                + (f" of {alternative!r}" if alternative else "")
                + f", which is not a coefficient of the block {block!r}; "
                + nearest(name, list(dict.fromkeys(names))),
                where="key priors.coefficient",
                mend="use the labels that the design's summary shows",
            )
