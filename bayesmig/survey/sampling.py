"""How a survey was drawn: strata, primary sampling units, replicate weights; variances by them.

Variances of totals are those of one-stage sampling of primary sampling units (PSUs) within
strata, with replacement unless a finite population correction is declared (Särndal, Swensson and
Wretman 1992, doi 10.1007/978-1-4612-4378-6, ch. 4), or of replicate weights (Wolter 2007,
doi 10.1007/978-0-387-35099-8).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.errors import SurveyError, rows_text
from bayesmig.survey.survey import Survey

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: Who is taken for drawn as one where no PSU is declared, the largest first.
_UNITS = ("psu", "household", "person")


@dataclass(frozen=True, eq=False)
class Sampling:
    """The sampling design of a survey's rows.

    Attributes
    ----------
    weights
        Of the rows, with mean one, ``(obs,)``; exactly one where all are equal.
    psus, within
        PSU of every row, and the unit that was drawn within it, ``(obs,)``.
    strata
        Stratum of every PSU, ``(psu,)``.
    names
        Of the strata.
    fractions
        Share of a stratum's PSUs that was drawn, ``(stratum,)``; 0 where it is not known.
    replicates, scales
        Replicate weights in the units of ``weights``, ``(obs, replicate)``, and what their
        squared deviations are multiplied by; ``None`` where there are none.
    note
        All this in words.
    """

    weights: Array = field(repr=False)
    psus: Codes = field(repr=False)
    within: Codes = field(repr=False)
    strata: Codes = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    fractions: Array = field(repr=False)
    replicates: Array | None = field(repr=False)
    scales: Array | None = field(repr=False)
    note: str = ""

    @property
    def degrees_of_freedom(self) -> int:
        """Rank of the replicate weights (rounded as they are) less one, or PSUs less strata."""
        if self.replicates is not None:
            return int(np.linalg.matrix_rank(self.replicates, rtol=1e-5)) - 1
        return len(self.strata) - len(self.names)

    def loadings(self, sums: Array) -> Array:
        """What sums of products, of PSUs or replicates, make a covariance over samples of.

        Parameters
        ----------
        sums
            Weighted sums over the rows of every PSU, or with replicate weights deviations of
            every replicate's sums from those of the whole sample, ``(psu or replicate,
            quantity)``.

        Returns
        -------
        ndarray
            Of the same shape: `centred`, or times the root of the replicate's scale.
        """
        if self.scales is not None:
            return np.asarray(np.sqrt(self.scales)[:, None] * sums)
        return centred(sums, self.strata, 1 - self.fractions)

    def covariance(self, sums: Array) -> Array:
        """Covariance of sums over all rows, ``(quantity, quantity)``, of what `loadings` takes."""
        of = self.loadings(sums)
        return np.asarray(of.T @ of)


def centred(totals: Array, strata: Codes, left: Array) -> Array:
    """Totals of units less the mean of their stratum, times ``sqrt(left m / (m - 1))``.

    Their products sum to the covariance of sums over all units.

    Parameters
    ----------
    totals
        ``(unit, quantity)``.
    strata
        Of every unit; one with a single unit, or of which all were drawn, adds nothing.
    left
        What a finite population leaves of the variance, ``(stratum,)``: ``1 - f``.
    """
    drawn = np.bincount(strata, minlength=len(left))
    means = summed(totals, strata, len(left)) / np.maximum(drawn, 1)[:, None]
    spread = np.sqrt(left * drawn / np.maximum(drawn - 1, 1))
    return np.asarray((totals - means[strata]) * spread[strata, None])


def summed(values: Array, codes: Codes, count: int) -> Array:
    """Sums of values over codes, ``(code, ...)``."""
    found = np.zeros((count, *values.shape[1:]))
    np.add.at(found, codes, values)
    return found


def outer_of(inner: Codes, outer: Codes) -> Codes:
    """The outer code of every inner one, of which each lies in one."""
    found = np.zeros(int(inner.max()) + 1, dtype=np.int64)
    found[inner] = outer
    return found


def normalised(weights: Array) -> Array:
    """Weights with mean one, ``(obs,)``; exactly one where all are equal."""
    if np.ptp(weights) == 0:
        return np.ones(len(weights))
    return np.asarray(weights / weights.mean())


def sampling_of(survey: Survey) -> Sampling:
    """The sampling design that a survey's codebook declares.

    Parameters
    ----------
    survey
        With a weight. Where no PSU is declared, households were drawn, or persons, or rows:
        the largest of these that is declared.

    Raises
    ------
    SurveyError
        Where no weight is declared, where a stratum has one PSU only and was not drawn
        whole, or where more PSUs were drawn than it has.
    """
    weights = normalised(survey.role("weight").to_numpy(dtype=float))
    psus, strata, names, words = _units(survey)
    within = _within(survey)
    if survey.replicates is not None and survey.codebook.replicates is not None:
        of = survey.codebook.replicates
        factor = 1 / float(survey.role("weight").mean())
        return Sampling(
            weights,
            psus,
            within,
            strata,
            names,
            np.zeros(len(names)),
            survey.replicates * factor,
            np.array(of.scaling(survey.replicates.shape[1])),
            f"{survey.replicates.shape[1]} replicate weights ({of.method})",
        )
    fractions = _fractions(survey, psus, strata, names)
    _refuse_single(psus, strata, names, fractions, survey)
    note = f"{len(strata):,} {words} in {len(names):,} {'strata' if len(names) > 1 else 'stratum'}"
    if fractions.any():
        share = f"{fractions.min():.3g} to {fractions.max():.3g}"
        note += f", of which {share} were drawn, taken for whole"
    return Sampling(weights, psus, within, strata, names, fractions, None, None, note)


def _units(survey: Survey) -> tuple[Codes, Codes, tuple[str, ...], str]:
    """PSU of every row, stratum of every PSU, names of strata, and what PSUs are in words."""
    role = next((r for r in _UNITS if survey.has(r)), "")
    unit = survey.role(role) if role else pd.Series(np.arange(survey.n_obs).astype(str))
    stratum = survey.role("strata") if survey.has("strata") else pd.Series("all", index=unit.index)
    codes, names = pd.factorize(stratum, sort=True)
    in_stratum = codes.astype(np.int64)
    # A label of a PSU is read within its stratum: two strata may both have a PSU 1.
    keys = pd.DataFrame({"stratum": in_stratum, "unit": pd.factorize(unit)[0]})
    psus = keys.groupby(["stratum", "unit"], sort=True).ngroup().to_numpy().astype(np.int64)
    strata = outer_of(psus, in_stratum)
    plural = {"psu": "PSUs", "household": "households", "person": "persons"}.get(role, "rows")
    words = plural if role == "psu" else f"{plural} (no PSU is declared)"
    return psus, strata, tuple(map(str, names)), words


def _within(survey: Survey) -> Codes:
    """Household of every row, or person, or the row itself."""
    role = next((r for r in _UNITS[1:] if survey.has(r)), "")
    if not role:
        return np.arange(survey.n_obs, dtype=np.int64)
    return pd.factorize(survey.role(role))[0].astype(np.int64)


def _fractions(survey: Survey, psus: Codes, strata: Codes, names: tuple[str, ...]) -> Array:
    """Share of every stratum's PSUs that was drawn."""
    if not survey.has("fpc"):
        return np.zeros(len(names))
    fpc, drawn = np.empty(len(names)), np.bincount(strata, minlength=len(names))
    fpc[strata[psus]] = survey.role("fpc").to_numpy(dtype=float)
    more = np.flatnonzero((fpc > 1) & (fpc < drawn))
    if len(more):
        raise SurveyError(
            f"the stratum {names[more[0]]!r} has {drawn[more[0]]:,} PSUs in the sample and "
            f"{fpc[more[0]]:g} in the population",
            where=("key roles.fpc", f"column {survey.roles.fpc!r}"),
            mend="state the number of PSUs of the stratum in the population, or the share drawn",
        )
    return np.where(fpc > 1, drawn / fpc, fpc)


def single_strata(survey: Survey) -> tuple[str, ...]:
    """Strata with one PSU only, by name."""
    _, strata, names, _ = _units(survey)
    return tuple(names[k] for k in np.flatnonzero(np.bincount(strata) == 1))


def _refuse_single(
    psus: Codes, strata: Codes, names: tuple[str, ...], fractions: Array, survey: Survey
) -> None:
    alone = (np.bincount(strata, minlength=len(names)) == 1) & (fractions < 1)
    if not alone.any():
        return
    listed = ", ".join(repr(names[k]) for k in np.flatnonzero(alone)[:5])
    rows = np.flatnonzero(alone[strata[psus]])
    more = f" and {alone.sum() - 5:,} more" if alone.sum() > 5 else ""
    raise SurveyError(
        f"{alone.sum():,} of {len(names):,} strata have one PSU only ({listed}{more}): it does not "
        "tell how PSUs vary there",
        where=("key roles.strata", "key roles.psu", rows_text(survey.rows[rows].tolist())),
        mend="merge such a stratum with a similar one ([recode] in the codebook); of a PSU that "
        "was drawn for certain, declare the households as PSUs",
    )


def reused_labels(survey: Survey) -> int:
    """PSU labels that stand in more than one stratum."""
    if not (survey.has("psu") and survey.has("strata")):
        return 0
    pairs = pd.DataFrame({"psu": survey.role("psu"), "strata": survey.role("strata")})
    return int((pairs.drop_duplicates().groupby("psu").size() > 1).sum())
