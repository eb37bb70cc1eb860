"""What is true in a synthetic world: every parameter by a dotted name, and how it is measured.

One flat mapping holds all true parameters. ``utility.internal.female`` is a coefficient;
a term ``a:b`` is the product of the tidy columns ``a`` and ``b``. ``sigma_origin.internal``
is the standard deviation of an origin effect, ``corr_origin.internal:international`` a
correlation, and ``history.internal.asc`` belongs to the model of earlier moves.
``sigma_slope.international.household_international`` is the standard deviation of a slope
over origins.

A world may have more terms than the table below, declared by their names alone: products of
tidy columns, and of the covariates of `COVARIATES`, which are in the file where a parameter
names them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Unit = Literal["person", "household"]
World = Literal["albania", "indonesia"]
Pair = tuple[float, float]

STREAMS = ("internal", "international")
ALTERNATIVES: Mapping[str, tuple[str, ...]] = {
    "person": ("stay", *STREAMS),
    "household": ("stay", *STREAMS, "both"),
}

#: Term -> (internal, international).
_UTILITY: Mapping[str, Mapping[str, Pair]] = {
    "albania": {
        "asc": (-2.7, -4.2),
        "female": (0.10, -1.0),
        "age_10": (-1.09, -0.70),
        "age_10:age_10": (0.0, 0.0),
        "education": (0.08, 0.0),
        "education:education": (0.0, 0.0),
        "female:age_10": (0.15, 0.20),
        "female:education": (0.04, 0.05),
        "age_10:education": (-0.02, 0.03),
        "female:age_10:education": (0.02, -0.03),
        "wealth": (0.05, 0.35),
        "wealth:wealth": (0.0, -0.10),
        "urban": (0.15, -0.20),
        "prior_internal": (0.62, 0.58),
        "prior_international": (0.75, 2.3),
        "household_internal": (0.10, -0.15),
        "household_international": (-0.15, 0.35),
        "network_internal": (0.35, -0.05),
        "network_international": (-0.10, 0.60),
        "education:network_international": (0.0, -0.02),
    },
    # Indonesian Family Life Survey, 48,389 person-intervals, plain maximum likelihood;
    # the constants are those of 2007-14. Products were not estimated there, and are 0.
    "indonesia": {
        "asc": (-2.411, -4.836),
        "female": (-0.225, -0.256),
        "age_10": (-1.087, -0.736),
        "age_10:age_10": (0.255, -0.025),
        "education": (0.081, 0.015),
        "education:education": (-0.0030, -0.0034),
        "female:age_10": (0.0, 0.0),
        "female:education": (0.0, 0.0),
        "age_10:education": (0.0, 0.0),
        "female:age_10:education": (0.0, 0.0),
        "wealth": (0.079, -0.177),
        "wealth:wealth": (0.0, 0.0),
        "urban": (0.173, -0.323),
        "prior_internal": (0.618, 0.581),
        "prior_international": (0.752, 2.321),
        "household_internal": (0.013, -0.321),
        "household_international": (-0.096, 0.365),
        "network_internal": (0.092, -0.044),
        "network_international": (-0.052, 0.427),
        "education:network_international": (0.0, 0.0),
    },
}

#: Columns that a survey has where a parameter names them: column -> what it is. Those of
#: places and periods are standard normal unless it says otherwise; persons only.
COVARIATES: Mapping[str, str] = {
    "norms": "how strongly the origin disapproves of women who go away alone",
    "border_enforcement": "how hard the border is to cross, by origin and period",
    "permit_restriction": "1 in the 40 % of origins whose people need a permit to settle in a town",
    "vacancies": "earlier emigration abroad from the places that the origin's movers go to",
    "jobs_internal": "jobs within the country for the person's gender, by origin and gender",
    "jobs_international": "jobs abroad for the person's gender, by origin and gender",
    "border_distance": "log kilometres from the origin to the border",
    "distance_internal": "log kilometres to the usual place within the country, 5.0 ± 0.6",
    "distance_international": "log kilometres to the usual place abroad, 7.0 ± 0.6",
    "language_internal": "linguistic distance to the usual place within the country, 0 to 0.6",
    "language_international": "linguistic distance to the usual place abroad, 0.2 to 1",
    "relative_deprivation": "mean shortfall of the household's consumption per head against other "
    "households of the origin, as a share of their mean",
    "remittances": "log(1 + remittances from abroad); 0 without a member who moved abroad",
    **{
        f"network_{stream}_{who}": f"network_{stream} among {who} alone"
        for stream in STREAMS
        for who in ("women", "men")
    },
}

# A household has the coefficients of a person with its head's attributes; what happened
# to other members is then part of its own history.
_HEAD = {"female": "head_female", "age_10": "head_age_10", "education": "head_education"}
_SIZE: Pair = (0.10, 0.10)
_ASSOCIATION = 0.40

_SIGMA: Mapping[str, Mapping[str, Pair]] = {
    "albania": {"household": (0.5, 0.9), "origin": (0.5, 1.2)},
    "indonesia": {"household": (0.4, 0.6), "origin": (0.5, 0.8)},
}
_CORR: Mapping[str, float] = {"household": 0.2, "origin": -0.2}
_CORR_WITH_BOTH = {"internal": 0.3, "international": 0.7}

#: Logit of having moved in a stream before the first period: term -> (internal,
#: international).
_HISTORY: Mapping[str, Mapping[str, Pair]] = {
    "albania": {
        "asc": (-1.75, -2.9),
        "female": (0.10, -0.80),
        "age_10": (0.35, 0.30),
        "education": (0.05, -0.02),
        "sigma_household": (0.5, 0.6),
        "sigma_origin": (0.6, 0.9),
    },
    "indonesia": {
        "asc": (-2.4, -6.9),
        "female": (-0.10, -0.20),
        "age_10": (0.30, 0.30),
        "education": (0.06, -0.02),
        "sigma_household": (0.5, 0.6),
        "sigma_origin": (1.1, 1.4),
    },
}


def true_parameters(world: World, unit: Unit) -> dict[str, float]:
    """Every true parameter of a world, by dotted name.

    Parameters
    ----------
    world
        Whose parameters.
    unit
        Who chooses. For households, the coefficients of ``both`` are the sums of those
        of the two streams, and ``utility.both.association`` is added to its constant.

    Returns
    -------
    dict
        Dotted name to value; a new one at each call.
    """
    at_typical = _UTILITY[world] if unit == "person" else _head_terms(_UTILITY[world])
    terms = _from_no_exposure(at_typical, MEASURES[world].network[unit])
    flat = _by_stream("utility", terms)
    if unit == "household":
        flat["utility.both.association"] = _ASSOCIATION
    for group in groups_of(unit):
        flat |= _group_parameters(group, _SIGMA[world][group], unit)
    return flat | _by_stream("history", _HISTORY[world])


def columns_of(parameters: Mapping[str, float]) -> tuple[str, ...]:
    """Every tidy column that a term of utility or a slope of origins names, each once."""
    named = [n.split(".", 2)[2] for n in parameters if n.startswith(("utility.", "sigma_slope."))]
    found = dict.fromkeys(c for term in named for c in term.split(":"))
    return tuple(c for c in found if c not in ("asc", "association"))


def covariates_of(parameters: Mapping[str, float]) -> tuple[str, ...]:
    """The covariates that a world names, in the order of `COVARIATES`."""
    named = columns_of(parameters)
    return tuple(c for c in COVARIATES if c in named)


def slope_of(parameters: Mapping[str, float]) -> tuple[str, npt.NDArray[np.float64]]:
    """The column whose slope varies over origins, and its deviations, ``(nonbase,)``.

    The column is empty where none does.
    """
    named = [n.removeprefix("sigma_slope.") for n in parameters if n.startswith("sigma_slope.")]
    column = named[0].split(".", 1)[1] if named else ""
    return column, np.array([parameters.get(f"sigma_slope.{s}.{column}", 0.0) for s in STREAMS])


def _from_no_exposure(terms: Mapping[str, Pair], network: Mapping[str, Pair]) -> dict[str, Pair]:
    """Coefficients where exposure counts from zero, given those at typical exposure.

    Network columns must count from zero, or a scenario that halves them would raise
    exposure where it is low.
    """
    moved = dict(terms)
    for term, pair in terms.items():
        *others, last = term.split(":")
        if last.startswith("network_"):
            typical, scale = network[last.removeprefix("network_")]
            below = ":".join(others) or "asc"
            shift = typical / scale
            moved[below] = tuple(b - shift * g for b, g in zip(moved[below], pair, strict=True))  # type: ignore[assignment]
    return moved


def groups_of(unit: Unit) -> tuple[str, ...]:
    """Name the groups that have effects of their own."""
    return ("origin", "household") if unit == "person" else ("origin",)


def _by_stream(table: str, terms: Mapping[str, Pair]) -> dict[str, float]:
    return {
        f"{table}.{stream}.{term}": pair[i]
        for i, stream in enumerate(STREAMS)
        for term, pair in terms.items()
    }


def _head_terms(terms: Mapping[str, Pair]) -> dict[str, Pair]:
    renamed = {
        ":".join(_HEAD.get(column, column) for column in term.split(":")): pair
        for term, pair in terms.items()
        if not term.startswith("household_")
    }
    return renamed | {"size": _SIZE}


def _group_parameters(group: str, scales: Pair, unit: Unit) -> dict[str, float]:
    sigma = dict(zip(STREAMS, scales, strict=True))
    corr = {"internal:international": _CORR[group]}
    if unit == "household":
        sigma["both"] = max(scales)
        corr |= {f"{stream}:both": value for stream, value in _CORR_WITH_BOTH.items()}
    return {f"sigma_{group}.{a}": s for a, s in sigma.items()} | {
        f"corr_{group}.{pair}": r for pair, r in corr.items()
    }


# ------------------------------------------------------------------------- as matrices


def coefficients(
    parameters: Mapping[str, float], unit: Unit
) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Give the terms of utility and their coefficients, ``(term, nonbase)``."""
    start = "utility.internal."
    terms = tuple(name.removeprefix(start) for name in parameters if name.startswith(start))
    beta = np.array([[parameters[f"utility.{s}.{term}"] for s in STREAMS] for term in terms])
    if unit == "household":
        both = beta.sum(axis=1)
        both[terms.index("asc")] += parameters["utility.both.association"]
        beta = np.column_stack([beta, both])
    return terms, beta


def correlation(parameters: Mapping[str, float], group: str, unit: Unit) -> npt.NDArray[np.float64]:
    """Give the correlation of a group's effects across alternatives, ``(nonbase, nonbase)``."""
    moves = ALTERNATIVES[unit][1:]
    matrix = np.eye(len(moves))
    for i, first in enumerate(moves):
        for j, second in enumerate(moves[i + 1 :], start=i + 1):
            matrix[i, j] = matrix[j, i] = parameters[f"corr_{group}.{first}:{second}"]
    return matrix


def effects_root(
    parameters: Mapping[str, float], group: str, unit: Unit
) -> npt.NDArray[np.float64]:
    """Lower-triangular root of the covariance of a group's effects, ``(nonbase, nonbase)``.

    Unlike `numpy.linalg.cholesky` it takes correlations of exactly ±1.
    """
    wanted = correlation(parameters, group, unit)
    root = np.zeros_like(wanted)
    for i in range(len(root)):
        for j in range(i + 1):
            rest = wanted[i, j] - root[i, :j] @ root[j, :j]
            if i == j:
                root[i, i] = math.sqrt(max(rest, 0.0))
            elif root[j, j] > 1e-9:
                root[i, j] = rest / root[j, j]
    sigma = np.array([parameters[f"sigma_{group}.{move}"] for move in ALTERNATIVES[unit][1:]])
    scaled: npt.NDArray[np.float64] = sigma[:, None] * root
    return scaled


# ------------------------------------------------------------------------- measurement


@dataclass(frozen=True, slots=True)
class Measures:
    """How a world is measured.

    All constants are fixed, so that tidy columns, and with them the true parameters,
    do not depend on who was drawn.

    Attributes
    ----------
    title
        Of the codebook.
    regions
        Number of regions.
    log_mean, log_sd
        Of monthly consumption per head, in the currency.
    step
        Consumption is reported rounded to this.
    network
        Unit -> stream -> typical share of earlier movers, at which the constants of the
        tables above hold, and the share that counts as one unit.
    most
        Stream -> the share above which more earlier movers make no difference.
    """

    title: str
    regions: int
    log_mean: float
    log_sd: float
    step: int
    network: Mapping[str, Mapping[str, Pair]]
    most: Mapping[str, float]

    def derivations(self, unit: Unit) -> dict[str, str]:
        """Tidy column -> arithmetic over raw columns, in the codebook's language."""
        head = "" if unit == "person" else "head_"
        return {
            f"{head}female": f"{head}sex - 1",
            f"{head}age_10": f"({head}age - 25) / 10",
            f"{head}education": f"{head}education_years - 8",
            "wealth": f"(log(consumption) - {self.log_mean}) / {self.log_sd}",
            "urban": "2 - residence",
        } | {f"network_{stream}": self._network(unit, stream) for stream in STREAMS}

    def by_gender(self, columns: Iterable[str]) -> dict[str, str]:
        """The same for networks of women and of men, of persons, as far as they are named."""
        return {
            f"network_{stream}_{who}": self._network("person", stream, f"_{who}")
            for stream in STREAMS
            for who in ("women", "men")
            if f"network_{stream}_{who}" in columns
        }

    def _network(self, unit: Unit, stream: str, who: str = "") -> str:
        _, scale = self.network[unit][stream]
        share = f"share_{stream}{who}"
        if stream in self.most:
            share = f"minimum({share}, {self.most[stream]})"
        return f"{share} / {scale}"


MEASURES: Mapping[str, Measures] = {
    "albania": Measures(
        title="A synthetic survey of a country like Albania",
        regions=12,
        log_mean=9.8,
        log_sd=0.6,
        step=10,
        network={
            "person": {"internal": (0.21, 0.10), "international": (0.07, 0.06)},
            "household": {"internal": (0.45, 0.18), "international": (0.17, 0.14)},
        },
        most={},
    ),
    "indonesia": Measures(
        title="A synthetic survey of a country like Indonesia",
        regions=22,
        log_mean=13.0,
        log_sd=0.75,
        step=1_000,
        network={
            unit: {"internal": (0.0, 0.10), "international": (0.0, 0.01)} for unit in ALTERNATIVES
        },
        # The coefficients were estimated with this cap; beyond it they would explode.
        most={"international": 0.05},
    ),
}
