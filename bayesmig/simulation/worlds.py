"""What is true in a synthetic world: every parameter by a dotted name, and how it is measured.

One flat mapping holds all true parameters. ``utility.internal.female`` is a coefficient;
a term ``a:b`` is the product of the tidy columns ``a`` and ``b``. ``sigma_origin.internal``
is the standard deviation of an origin effect, ``corr_origin.internal:international`` a
correlation, ``history.internal.asc`` belongs to the model of earlier moves, and
``alternatives.cost:wealth`` is the one coefficient of an attribute, here times wealth.
``sigma_slope.international.household_international`` is the standard deviation of a slope
over origins, and ``sigma_cell.internal`` that of the effects of cells of persons, by gender and
the classes of `CLASSES`. Persons may also choose otherwise than by a logit (`BEYOND`); as
the worlds are, they do not, but for ``destinations``: there each stream goes to two places, which
have the utility of their stream, ``destination.capital`` beside it, effects of origins of their
own (``sigma_destination.internal``), and attributes.

A world may have more terms than the tables below, declared by their names alone: products of
tidy columns, and of the covariates of `COVARIATES`, which are in the file where a parameter
names them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayesmig.errors import SpecError, nearest

Unit = Literal["person", "household"]
World = Literal["albania", "indonesia", "regimes", "communities", "destinations"]
Pair = tuple[float, float]

STREAMS = ("internal", "international")
ALTERNATIVES: Mapping[str, tuple[str, ...]] = {
    "person": ("stay", *STREAMS),
    "household": ("stay", *STREAMS, "both"),
}

#: Where each stream may go, where a world has destinations.
DESTINATIONS: Mapping[str, tuple[str, ...]] = {
    "internal": ("town", "capital"),
    "international": ("neighbour", "overseas"),
}

PLACES = tuple(place for places in DESTINATIONS.values() for place in places)

SECTORS = ("care", "construction", "garments")
SEXES = (1, 2)

#: Term -> (internal, international).
_UTILITY: dict[str, Mapping[str, Pair]] = {
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

#: What makes choices of persons other than a logit; these values leave it one. The nest
#: ``move`` holds both streams; a Hill curve of ``network_international`` adds to the utility
#: of moving abroad; moving abroad is feasible with log odds of a constant (40: always),
#: wealth, that network, and where there are fares, their log.
BEYOND: Mapping[str, float] = {
    "lambda_nest.move": 1.0,
    "curve.international.effect": 0.0,
    "curve.international.half_saturation": 1.3,
    "curve.international.exponent": 2.5,
    "feasible.international.asc": 40.0,
    "feasible.international.wealth": 0.0,
    "feasible.international.network_international": 0.0,
    "feasible.international.log1p(network_international)": 0.0,
}
_OF_FARES = {"feasible.international.cost": 0.0}
#: The nests of destinations, from the outermost: those of each stream lie in ``move``.
_LAMBDAS = {"move": 0.8, "within": 0.4, "abroad": 0.4}
NESTS = tuple(_LAMBDAS)
#: Destination -> what its utility has beside that of its stream, at typical distance and language.
_DESTINATION = {"town": 0.0, "capital": 0.0, "neighbour": 0.3, "overseas": 0.1}
_SIGMA_DESTINATION: Pair = (0.3, 0.3)

# Albania's people, with neighbours who compare, leave and know each other.
_UTILITY |= {
    "regimes": _UTILITY["albania"],
    "communities": {
        **_UTILITY["albania"],
        "network_international": (-0.10, 0.0),
        "relative_deprivation": (0.20, 1.20),
        "emptied": (-0.30, 0.0),
        "own_group": (0.0, 0.45),
        "other_group": (0.0, -0.15),
    },
    "destinations": _UTILITY["albania"],
}

#: Columns of utility that vary over alternatives: world -> term -> coefficient.
_ATTRIBUTES: Mapping[World, Mapping[str, float]] = {
    "regimes": {
        "cost": -0.5,
        "cost:wealth": 0.15,
        "enforcement": -0.5,
        "enforcement:wealth": 0.2,
        "permit": -0.5,
        "permit:wealth": 0.2,
        "distance": -0.3,
        "language": -0.4,
        "demand": 0.4,
    },
    "destinations": {
        "contact": 0.8,
        "distance": -0.5,
        "language": -0.6,
        "hostility": -0.4,
        "land": 0.4,
    },
}


def _columns(name: str, *alternatives: str) -> dict[str, str]:
    return {alternative: f"{name}_{alternative}" for alternative in alternatives}


#: Attribute -> alternative -> its column; it is zero in the others.
ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "cost": _columns("cost", *STREAMS),
    "enforcement": {"international": "border_enforcement"},
    "permit": {"internal": "permit_restriction"},
    "distance": _columns("distance", *STREAMS, *PLACES),
    "language": _columns("language", *STREAMS, *PLACES[1:]),
    "demand": _columns("jobs", *STREAMS),
    "contact": _columns("contact", *PLACES),
    "hostility": _columns("hostility", *DESTINATIONS["internal"]),
    "land": _columns("land", "capital"),
}

#: Attribute -> alternative -> its value at which the constants hold, where that is not zero.
_TYPICAL: Mapping[str, Mapping[str, float]] = {
    "cost": {"international": math.log(8)},
    "distance": {
        "internal": math.log(150),
        "international": math.log(600),
        "town": math.log(60),
        "capital": math.log(250),
        "neighbour": math.log(400),
        "overseas": math.log(2_500),
    },
    "language": {
        "internal": 0.18,
        "international": 0.80,
        "capital": 0.18,
        "neighbour": 0.45,
        "overseas": 0.80,
    },
}

#: Of shares of earlier movers within a group: ten percentage points, and a few.
GROUP_UNITS: Mapping[str, float] = {"internal": 0.1, "international": 0.06}
#: Who moved before is back from this age on.
HOME_AGAIN = 30
#: Columns that a survey has where a parameter names them: column -> what it is. Those of
#: places and periods are standard normal unless it says otherwise; persons only. They stand
#: beside the other columns in any world, with coefficients of their own in each stream. What
#: ``regimes`` and ``communities`` have of the same kind is another thing: always there, joined
#: from files or computed from other rows by the codebook, and in ``regimes`` with the one
#: coefficient of an attribute. ``border_enforcement`` varies over origins and periods, the
#: attribute ``enforcement`` over regions and periods; permits are 0 or 1 here and a share there;
#: jobs are given here, and shift and share there; ``relative_deprivation`` knows all incomes,
#: ``deprivation`` those that were told. Distances and languages of ``regimes`` have the same
#: names: there, terms that name them take the world's own.
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
    "skill_recognition": "how far skills of the origin's people count abroad",
    **{
        f"kin_{stream}": f"relatives in other households of the origin who moved before, {stream}"
        for stream in STREAMS
    },
    **{
        f"{side}_group_{stream}": f"share of earlier movers, {stream}, among the {side} of two "
        f"groups of the origin's other households, in units of {unit:g}"
        for side in ("own", "other")
        for stream, unit in GROUP_UNITS.items()
    },
    **{
        f"{who}_{stream}": f"share of the origin's others who moved before, {stream}, and are "
        f"{now}, in units of {unit:g}"
        for who, now in (("returned", "back"), ("away", "still there"))
        for stream, unit in GROUP_UNITS.items()
    },
    **{
        f"network_{stream}_{who}": f"network_{stream} among {who} alone"
        for stream in STREAMS
        for who in ("women", "men")
    },
}

#: Classes of persons, whose combinations are the cells of an intersection: column -> what is
#: cut, and at which edges, each of which belongs to the class above.
CLASSES: Mapping[str, tuple[str, tuple[float, float]]] = {
    "age_group": ("age", (25, 35)),
    "education_group": ("education_years", (7, 10)),
    "wealth_group": ("wealth", (-0.5, 0.5)),
}

# A household has the coefficients of a person with its head's attributes; what happened
# to other members is then part of its own history.
_HEAD = {"female": "head_female", "age_10": "head_age_10", "education": "head_education"}
_SIZE: Pair = (0.10, 0.10)
_ASSOCIATION = 0.40

_SIGMA: dict[str, Mapping[str, Pair]] = {
    "albania": {"household": (0.5, 0.9), "origin": (0.5, 1.2)},
    "indonesia": {"household": (0.4, 0.6), "origin": (0.5, 0.8)},
}
_SIGMA |= dict.fromkeys(("regimes", "communities", "destinations"), _SIGMA["albania"])
_CORR: Mapping[str, float] = {"household": 0.2, "origin": -0.2}
_CORR_WITH_BOTH = {"internal": 0.3, "international": 0.7}

#: Logit of having moved in a stream before the first period: term -> (internal,
#: international).
_HISTORY: dict[str, Mapping[str, Pair]] = {
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


_HISTORY |= dict.fromkeys(("regimes", "communities", "destinations"), _HISTORY["albania"])


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
    attributes = _ATTRIBUTES.get(world, {})
    flat = _by_stream("utility", terms)
    flat |= {f"alternatives.{term}": value for term, value in attributes.items()}
    if world == "destinations":
        flat |= {f"destination.{place}": value for place, value in _DESTINATION.items()}
        sigma = zip(STREAMS, _SIGMA_DESTINATION, strict=True)
        flat |= {f"sigma_destination.{stream}": value for stream, value in sigma}
    flat = _at_typical(flat, attributes)
    if unit == "household":
        flat["utility.both.association"] = _ASSOCIATION
    for group in groups_of(unit):
        flat |= _group_parameters(group, _SIGMA[world][group], unit)
    if world == "destinations":
        flat |= {f"lambda_nest.{nest}": value for nest, value in _LAMBDAS.items()}
    elif unit == "person":
        flat |= {**BEYOND, **(_OF_FARES if "cost" in attributes else {})}
    return flat | _by_stream("history", _HISTORY[world])


def alternatives_of(parameters: Mapping[str, float], unit: Unit) -> tuple[str, ...]:
    """The alternatives of a world: streams, or the places that they go to."""
    places = (n.removeprefix("destination.") for n in parameters if n.startswith("destination."))
    return ("stay", *found) if (found := tuple(places)) else ALTERNATIVES[unit]


def stream_of(alternative: str) -> str:
    """The stream of a destination; of any other alternative, itself."""
    return next((s for s, places in DESTINATIONS.items() if alternative in places), alternative)


def columns_of(parameters: Mapping[str, float]) -> tuple[str, ...]:
    """Every tidy column that a term of utility or a slope of origins names, each once."""
    named = [n.split(".", 2)[2] for n in parameters if n.startswith(("utility.", "sigma_slope."))]
    found = dict.fromkeys(c for term in named for c in term.split(":"))
    return tuple(c for c in found if c not in ("asc", "association"))


def covariates_of(parameters: Mapping[str, float], measures: Measures) -> tuple[str, ...]:
    """The covariates that a world names and does not have of its own, as `COVARIATES` has them."""
    named, own = columns_of(parameters), {*measures.more, *measures.own}
    return tuple(c for c in COVARIATES if c in named and c not in own)


def slope_of(parameters: Mapping[str, float]) -> tuple[str, npt.NDArray[np.float64]]:
    """The column whose slope varies over origins, and its deviations, ``(stream,)``.

    The column is empty where none does.
    """
    named = [n.removeprefix("sigma_slope.") for n in parameters if n.startswith("sigma_slope.")]
    column = named[0].split(".", 1)[1] if named else ""
    return column, np.array([parameters.get(f"sigma_slope.{s}.{column}", 0.0) for s in STREAMS])


def cell_scales(parameters: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """The standard deviations of effects of cells, ``(stream,)``; 0 where none is named."""
    return np.array([parameters.get(f"sigma_cell.{stream}", 0.0) for stream in STREAMS])


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


def _at_typical(flat: Mapping[str, float], attributes: Mapping[str, float]) -> dict[str, float]:
    """Parameters where attributes count from zero, given those at typical ones."""
    moved = dict(flat)
    for term, value in attributes.items():
        for name, typical in _below(term, moved).items():
            moved[name] -= value * typical
    return moved


def _below(term: str, known: Mapping[str, float]) -> dict[str, float]:
    """What an attribute's term adds to at typical values: parameter -> the typical value."""
    attribute, _, column = term.partition(":")
    found = {}
    for alternative in alternatives_of(known, "person"):
        if typical := _TYPICAL.get(attribute, {}).get(alternative, 0.0):
            own = f"utility.{alternative}.{column or 'asc'}"
            found[own if alternative in STREAMS else f"destination.{alternative}"] = typical
    return found


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


def attribute_terms(
    parameters: Mapping[str, float],
) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Give the terms of attributes and their coefficients, ``(attribute_term,)``."""
    start = "alternatives."
    terms = tuple(name.removeprefix(start) for name in parameters if name.startswith(start))
    return terms, np.array([parameters[start + term] for term in terms])


def attribute_columns(parameters: Mapping[str, float]) -> tuple[str, ...]:
    """Every column of the attributes that a world has, each once."""
    names = (term.partition(":")[0] for term in attribute_terms(parameters)[0])
    # A household has the columns of its streams.
    known = alternatives_of(parameters, "person")
    found = (c for n in names for a, c in ATTRIBUTES[n].items() if a in known)
    return tuple(dict.fromkeys(found))


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
    more
        Further tidy columns -> arithmetic over columns that are joined or computed, where
        ``{scale}`` is the share abroad that counts as one unit.
    own
        Columns that are joined or constructed as they are; no covariate takes their place.
    """

    title: str
    regions: int
    log_mean: float
    log_sd: float
    step: int
    network: Mapping[str, Mapping[str, Pair]]
    most: Mapping[str, float]
    more: Mapping[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()

    def derivations(self, unit: Unit) -> dict[str, str]:
        """Tidy column -> arithmetic over raw columns, in the codebook's language."""
        head = "" if unit == "person" else "head_"
        columns = {
            f"{head}female": f"{head}sex - 1",
            f"{head}age_10": f"({head}age - 25) / 10",
            f"{head}education": f"{head}education_years - 8",
            "wealth": f"(log(consumption) - {self.log_mean}) / {self.log_sd}",
            "urban": "2 - residence",
        }
        columns |= {f"network_{stream}": self._network(unit, stream) for stream in STREAMS}
        _, scale = self.network[unit]["international"]
        return columns | {name: text.format(scale=scale) for name, text in self.more.items()}

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


def _own(world: World, alternatives: Iterable[str]) -> tuple[str, ...]:
    """The columns of a world's attributes."""
    names = dict.fromkeys(term.partition(":")[0] for term in _ATTRIBUTES[world])
    return tuple(ATTRIBUTES[n][a] for n in names for a in alternatives if a in ATTRIBUTES[n])


MEASURES: dict[str, Measures] = {
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
MEASURES["regimes"] = replace(
    MEASURES["albania"],
    title="A synthetic survey of a country like Albania, with fares, borders, permits and jobs",
    more={f"cost_{stream}": f"log(fare_{stream})" for stream in STREAMS}
    | {f"distance_{stream}": f"log(km_{stream})" for stream in STREAMS}
    | {
        "permit_restriction": "(share_restricted - 0.35) / 0.19",
        "border_distance": "(log(km_international) - 6.4) / 0.5",
    },
    own=_own("regimes", STREAMS),
)
MEASURES["destinations"] = replace(
    MEASURES["albania"],
    title="A synthetic survey of a country like Albania, whose people go to four places",
    more={f"distance_{place}": f"log(km_{place})" for place in PLACES},
    own=_own("destinations", PLACES),
)
MEASURES["communities"] = replace(
    MEASURES["albania"],
    title="A synthetic survey of a country like Albania, with neighbours who are compared to",
    more={
        "emptied": "left_before / 0.05",
        "own_group": "share_own_group / {scale}",
        "other_group": "share_other_group / {scale}",
    },
    own=("relative_deprivation",),
)


# ------------------------------------------------------------------ claims, true and false


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of a theory that a world makes true, and that its parameters can make false.

    Attributes
    ----------
    mechanism
        Its code in the mechanism map.
    world
        In which it is true.
    parameters
        Those on which it rests, by dotted name.
    """

    mechanism: str
    world: World
    parameters: tuple[str, ...]


#: Name -> what makes it true.
CLAIMS: Mapping[str, Claim] = {
    "cost_deters": Claim("M13", "regimes", ("alternatives.cost",)),
    "cost_deters_the_poor": Claim("M12", "regimes", ("alternatives.cost:wealth",)),
    "border_deters": Claim("M06", "regimes", ("alternatives.enforcement",)),
    "border_deters_the_poor": Claim("M06", "regimes", ("alternatives.enforcement:wealth",)),
    "permit_deters": Claim("M09", "regimes", ("alternatives.permit",)),
    "permit_deters_the_poor": Claim("M09", "regimes", ("alternatives.permit:wealth",)),
    "distance_deters": Claim("M10", "regimes", ("alternatives.distance",)),
    "language_deters": Claim("M10", "regimes", ("alternatives.language",)),
    "jobs_draw": Claim("M20", "regimes", ("alternatives.demand",)),
    "deprivation_pushes_abroad": Claim(
        "M32",
        "communities",
        ("utility.internal.relative_deprivation", "utility.international.relative_deprivation"),
    ),
    "emptied_places_hold": Claim("M36", "communities", ("utility.internal.emptied",)),
    "own_group_pulls": Claim("M42", "communities", ("utility.international.own_group",)),
    "other_group_excludes": Claim("M42", "communities", ("utility.international.other_group",)),
    "contacts_draw": Claim("M03", "destinations", ("alternatives.contact",)),
    "farther_places_draw_less": Claim("M10", "destinations", ("alternatives.distance",)),
    "hostility_deters": Claim("M11", "destinations", ("alternatives.hostility",)),
    "land_draws": Claim("M35", "destinations", ("alternatives.land",)),
}


def variant(
    claim: str, which: Literal["true", "null", "reversed"] = "true", unit: Unit = "person"
) -> tuple[World, dict[str, float]]:
    """Give the world and the ``effects`` of `simulate` under which a claim is true or false.

    Parameters
    ----------
    claim
        A name of `CLAIMS`.
    which
        ``"true"``; ``"null"``: its parameters are zero; ``"reversed"``: of the other sign.
    unit
        Who chooses.

    Returns
    -------
    world, effects
        Where a parameter belongs to an attribute that counts from zero, the constants (or
        the coefficients of what it is multiplied by) move along, so that at typical values
        people choose as before.

    Raises
    ------
    SpecError
        Where there is no such claim or variant.
    """
    if claim not in CLAIMS:
        raise SpecError(
            f"there is no claim {claim!r}",
            where="argument claim of variant",
            mend=nearest(claim, list(CLAIMS)),
        )
    factors = {"true": 1.0, "null": 0.0, "reversed": -1.0}
    if which not in factors:
        raise SpecError(
            f"there is no variant {which!r}",
            where="argument which of variant",
            mend=nearest(which, list(factors)),
        )
    stated = CLAIMS[claim]
    known = true_parameters(stated.world, unit)
    effects = (
        {} if which == "true" else {n: factors[which] * known[n] + 0.0 for n in stated.parameters}
    )
    for name, value in dict(effects).items():
        if name.startswith("alternatives."):
            for below, typical in _below(name.removeprefix("alternatives."), known).items():
                effects[below] = effects.get(below, known[below])
                effects[below] += (known[name] - value) * typical
    return stated.world, effects
