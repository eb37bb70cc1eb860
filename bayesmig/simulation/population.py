"""Who lives where: persons in households in communities, drawn block by block.

Every community has a random stream of its own, spawned from the seed by its number. What
is drawn for it depends neither on the size of the blocks nor on other communities, so
a larger survey begins with a smaller one of the same seed (but for the smaller one's
last community, which is cut to the size asked for, for choices that are drawn anew where
nobody chose an alternative, and for strata that are merged where one community was
alone). The numbers are drawn before any parameter is looked at: two surveys of one seed
differ by what their parameters change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bayesmig.simulation.worlds import PLACES, STREAMS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

FEWEST_IN_COMMUNITY = 20
_MEAN_IN_COMMUNITY, _SIZE_SHAPE = 60, 1.5
_HOUSEHOLD_SIZES = np.cumsum([0.14, 0.29, 0.23, 0.16, 0.10, 0.05, 0.02, 0.01])

#: Share of persons in towns, in the sample and in the population.
URBAN_SAMPLED, URBAN_LIVING = 0.50, 0.38

# Parts of standardised wealth; with the household's own part their variances sum to 1.
_WEALTH_URBAN, _WEALTH_COMMUNITY = 0.6, 0.35
_WEALTH_HOUSEHOLD = math.sqrt(
    1 - _WEALTH_URBAN**2 * URBAN_SAMPLED * (1 - URBAN_SAMPLED) - _WEALTH_COMMUNITY**2
)
_WEALTH_KEPT = 0.8  # from one period to the next

_OF_PLACE = {
    "uniform": ("urban", "region"),
    "normal": ("wealth", "education", "weight", "internal", "international", "both",
               "history_internal", "history_international"),
}  # fmt: skip
_OF_PERSON = {
    "uniform": ("size", "sex", "age", "partner", "prior_internal", "prior_international",
                "no_education"),
    "normal": ("wealth", "education", "partner_age", "weight", "internal", "international",
               "history_internal", "history_international"),
}  # fmt: skip
# Drawn from a stream of their own, so that they change nobody's others.
_MORE_OF_PLACE = {
    "uniform": ("permit_restriction", "language_internal", "language_international"),
    "normal": ("norms", "vacancies", "distance_internal", "distance_international",
               "slope_internal", "slope_international", "border_distance",
               "jobs_internal_women", "jobs_internal_men", "jobs_international_women",
               "jobs_international_men", "skill_recognition", *PLACES),
}  # fmt: skip
_MORE_OF_PERIOD = ("border_enforcement", "remittances")
_OF_PERIOD = {"uniform": ("choice", "no_consumption"), "normal": ("wealth",)}


def community_sizes(seed: int, persons: int) -> Integers:
    """Draw unequal sizes of 20 persons and more, 60 on average, with an exact sum.

    Parameters
    ----------
    seed
        Of the survey.
    persons
        What the sizes sum to; at least 20.

    Returns
    -------
    array
        ``(community,)``.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    mean = _MEAN_IN_COMMUNITY - FEWEST_IN_COMMUNITY
    more = rng.gamma(_SIZE_SHAPE, mean / _SIZE_SHAPE, size=persons // FEWEST_IN_COMMUNITY + 1)
    sizes = FEWEST_IN_COMMUNITY + np.floor(more).astype(np.int64)
    last = int(np.searchsorted(np.cumsum(sizes), persons))
    sizes = sizes[: last + 1]
    sizes[last] -= int(sizes.sum()) - persons
    if sizes[last] < FEWEST_IN_COMMUNITY and last:
        sizes[last - 1] += sizes[last]
        sizes = sizes[:last]
    return sizes


@dataclass(frozen=True, slots=True)
class Numbers:
    """The random numbers of some communities, before any parameter is looked at.

    Attributes
    ----------
    first
        Number of the first community.
    sizes
        Persons by community, ``(community,)``.
    place
        ``uniform`` or ``normal`` -> name -> numbers, ``(community,)``.
    person
        The same, ``(person,)``. What belongs to a household is read at its head.
    period
        The same, ``(period, person)``. What belongs to a community is read at its first
        person.
    """

    first: int
    sizes: Integers
    place: Mapping[str, Mapping[str, Floats]]
    person: Mapping[str, Mapping[str, Floats]]
    period: Mapping[str, Mapping[str, Floats]]


def draw(
    seed: int,
    sizes: Integers,
    first: int,
    last: int,
    periods: int,
    redraws: int = 0,
    *,
    more: bool = False,
) -> Numbers:
    """Draw the numbers of communities ``first`` to ``last - 1``, each from its own stream.

    With `redraws`, what decides the choices is drawn anew, for the same people. With
    `more`, there are the numbers of covariates and slopes beside the others.
    """
    drawn = [
        _draw_one(seed, number, int(sizes[number]), periods, redraws)
        for number in range(first, last)
    ]
    parts = [np.concatenate(kind, axis=-1) for kind in zip(*drawn, strict=True)]
    named = [
        dict(zip(names, part if part.ndim == 2 else np.moveaxis(part, 1, 0), strict=True))
        for part, names in zip(parts, _names(), strict=True)
    ]
    kinds = [dict(zip(("uniform", "normal"), named[i : i + 2], strict=True)) for i in (0, 2, 4)]
    plain = Numbers(first, sizes[first:last], *kinds)
    if not more:
        return plain
    places = _more_of_places(seed, first, last)
    return replace(
        plain,
        place={kind: {**plain.place[kind], **names} for kind, names in places.items()},
        period={**plain.period, "more": _more_of_periods(seed, sizes, first, last, periods)},
    )


def _more_of_places(seed: int, first: int, last: int) -> dict[str, dict[str, Floats]]:
    """What covariates and slopes of communities are made of, ``(community,)``."""
    rngs = [_more(seed, number, 1) for number in range(first, last)]
    return {
        kind: dict(zip(names, np.array([of(rng, len(names)) for rng in rngs]).T, strict=True))
        for (kind, names), of in zip(
            _MORE_OF_PLACE.items(),
            (np.random.Generator.random, np.random.Generator.standard_normal),
            strict=True,
        )
    }


def _more_of_periods(
    seed: int, sizes: Integers, first: int, last: int, periods: int
) -> dict[str, Floats]:
    """What covariates of periods are made of, ``(period, person)``, standard normal."""
    drawn = [
        _more(seed, number, 2).standard_normal((periods, len(_MORE_OF_PERIOD), int(sizes[number])))
        for number in range(first, last)
    ]
    return dict(zip(_MORE_OF_PERIOD, np.moveaxis(np.concatenate(drawn, axis=2), 1, 0), strict=True))


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))


def _more(seed: int, number: int, which: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0, which)))


def of_cells(seed: int, cells: int) -> Floats:
    """Standard normal numbers of cells of persons, the same in all communities, ``(cell, stream)``.

    They are drawn from a stream of their own, so that they change nobody's others.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 0, 3)))
    return rng.standard_normal((cells, len(STREAMS)))


def _names() -> list[tuple[str, ...]]:
    return [names for table in (_OF_PLACE, _OF_PERSON, _OF_PERIOD) for names in table.values()]


def _draw_one(
    seed: int, number: int, n: int, periods: int, redraws: int
) -> tuple[npt.NDArray[Any], ...]:
    """Numbers of one community in the order of `_names`; those of periods come last.

    Periods are drawn one after the other, so that a longer panel begins with a shorter.
    """
    rng = _stream(seed, number)
    fixed = [
        kind((len(names), size))
        for table, size in ((_OF_PLACE, 1), (_OF_PERSON, n))
        for names, kind in zip(table.values(), (rng.random, rng.standard_normal), strict=True)
    ]
    uniform, normal = (len(names) for names in _OF_PERIOD.values())
    rounds = [(rng.random((uniform, n)), rng.standard_normal((normal, n))) for _ in range(periods)]
    if redraws:
        again = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, redraws)))
        for numbers, _ in rounds:
            numbers[_OF_PERIOD["uniform"].index("choice")] = again.random(n)
    return (*fixed, *(np.stack(kind) for kind in zip(*rounds, strict=True)))


# ------------------------------------------------------------------------------ strata


def drawn_strata(uniform: Mapping[str, Floats], regions: int) -> Integers:
    """Ten times the region from 1, and 1 for towns or 2 for the country, ``(community,)``."""
    region = 1 + (uniform["region"] * regions).astype(np.int64)
    return 10 * region + np.where(uniform["urban"] < URBAN_SAMPLED, 1, 2)


def strata_of(seed: int, communities: int, regions: int) -> Integers:
    """Strata of all communities, `merged` so that none has one community, ``(community,)``."""
    # The first numbers of a community's stream, as `_draw_one` draws them.
    drawn = np.array([_stream(seed, number).random(2) for number in range(communities)])
    uniform = dict(zip(_OF_PLACE["uniform"], drawn.T, strict=True))
    return merged(drawn_strata(uniform, regions))


def merged(strata: Integers) -> Integers:
    """Strata of two communities or more: one community does not tell how communities vary.

    As surveys do, a town that is alone in its stratum joins towns of the nearest region, of
    lower number where two are as near, and only where there are none the country; so does
    a place in the country.

    Parameters
    ----------
    strata
        Labels of `drawn_strata`, ``(community,)``.
    """
    found = strata.copy()
    while True:
        labels, counts = np.unique(found, return_counts=True)
        if len(labels) == 1 or counts.min() > 1:
            return found
        alone = labels[counts.argmin()]
        others = labels[labels != alone]
        other_kind, away = others % 10 != alone % 10, np.abs(others // 10 - alone // 10)
        found[found == alone] = others[np.lexsort((away, other_kind))[0]]


# ------------------------------------------------------------------------------- homes


@dataclass(frozen=True, slots=True)
class Homes:
    """Households and their members.

    Attributes
    ----------
    community, household
        Of each person, counted from 0 within the block, ``(person,)``.
    position
        Of each person in the household; 0 is its head, ``(person,)``.
    heads
        The person who heads each household, ``(household,)``.
    members
        Persons by household, ``(household,)``.
    """

    community: npt.NDArray[np.intp]
    household: npt.NDArray[np.intp]
    position: npt.NDArray[np.intp]
    heads: npt.NDArray[np.intp]
    members: npt.NDArray[np.intp]

    def of_head(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give each person the value of the household's head."""
        return values[self.heads][self.household]


def settle(numbers: Numbers) -> Homes:
    """Fill each community with households of 1 to 8 members; its last may be cut."""
    n_persons = int(numbers.sizes.sum())
    begins = np.cumsum(numbers.sizes) - numbers.sizes
    community = np.repeat(np.arange(len(numbers.sizes)), numbers.sizes)
    size = numbers.person["uniform"]["size"]
    wanted = 1 + np.searchsorted(_HOUSEHOLD_SIZES[:-1], size, side="right")
    start = np.cumsum(wanted) - wanted
    start -= start[begins][community]
    heads = (begins[community] + start)[start < numbers.sizes[community]]
    household = np.zeros(n_persons, dtype=np.intp)
    household[heads] = 1
    household = np.cumsum(household) - 1
    return Homes(
        community=community,
        household=household,
        position=np.arange(n_persons) - heads[household],
        heads=heads,
        members=np.diff(heads, append=n_persons),
    )


# ------------------------------------------------------------------------------ people


@dataclass(frozen=True, slots=True)
class People:
    """What is known of persons in the first period.

    Attributes
    ----------
    homes
        Who lives where.
    female, age, education_years
        By person; age from 15 to 50, completed years of education from 0 to 18.
    urban
        By community.
    place_wealth, home_wealth
        Parts of standardised wealth, by community and by household.
    prior
        Stream -> has moved before, by person.
    """

    homes: Homes
    female: Booleans
    age: Integers
    education_years: Integers
    urban: Booleans
    place_wealth: Floats
    home_wealth: Floats
    prior: Mapping[str, Booleans]


def people(numbers: Numbers, parameters: Mapping[str, float]) -> People:
    """Draw persons, their households' wealth, and their earlier moves."""
    homes = settle(numbers)
    female, age = _sex_and_age(numbers, homes)
    urban = numbers.place["uniform"]["urban"] < URBAN_SAMPLED
    place = _WEALTH_URBAN * (urban - URBAN_SAMPLED)
    place = place + _WEALTH_COMMUNITY * numbers.place["normal"]["wealth"]
    home = _WEALTH_HOUSEHOLD * numbers.person["normal"]["wealth"][homes.heads]
    wealth = place[homes.community] + home[homes.household]
    education = _education(numbers, homes, female, age, wealth)
    told = {"female": female, "age_10": (age - 25) / 10, "education": education - 8}
    prior = {stream: _moved(numbers, homes, stream, told, parameters) for stream in STREAMS}
    return People(homes, female, age, education, urban, place, home, prior)


def later_wealth(home_wealth: Floats, shock: Floats) -> Floats:
    """Carry the household's part of wealth to the next period; its spread stays the same."""
    return _WEALTH_KEPT * home_wealth + math.sqrt(1 - _WEALTH_KEPT**2) * _WEALTH_HOUSEHOLD * shock


def _sex_and_age(numbers: Numbers, homes: Homes) -> tuple[Booleans, Integers]:
    """Heads of 20 to 50, mostly men; partners near their age; grown children and kin."""
    uniform, position = numbers.person["uniform"], homes.position
    head_female = homes.of_head(uniform["sex"] < 0.2)
    head_age = homes.of_head(np.floor(20 + 31 * uniform["age"] ** 1.15))
    partner = (position == 1) & (uniform["partner"] < 0.75)
    gap = np.where(head_female, 3, -3) + 3 * numbers.person["normal"]["partner_age"]
    partner_age = np.clip(head_age + np.round(gap), 17, 50)
    kin_age = np.floor(15 + 20 * uniform["age"] ** 1.3)
    female = np.where(position == 0, head_female, uniform["sex"] < 0.55)
    age = np.where(position == 0, head_age, kin_age)
    age = np.where(partner, partner_age, age)
    return np.where(partner, ~head_female, female), age.astype(np.int64)


def _education(
    numbers: Numbers, homes: Homes, female: Booleans, age: Integers, wealth: Floats
) -> Integers:
    """Completed years: fewer among older persons, and among older women above all."""
    place = 0.7 * numbers.place["normal"]["education"][homes.community]
    typical = 9.3 + 0.9 * wealth - (0.6 + 0.5 * female) * (age - 25) / 10 + place
    years = np.round(typical + 2.7 * numbers.person["normal"]["education"])
    return np.minimum(np.clip(years, 0, 18), age - 6).astype(np.int64)


def _moved(
    numbers: Numbers,
    homes: Homes,
    stream: str,
    told: Mapping[str, npt.NDArray[Any]],
    parameters: Mapping[str, float],
) -> Booleans:
    value = {term: parameters[f"history.{stream}.{term}"] for term in ("asc", *told)}
    logit = value["asc"] + sum(value[name] * column for name, column in told.items())
    home = homes.of_head(numbers.person["normal"][f"history_{stream}"])
    place = numbers.place["normal"][f"history_{stream}"][homes.community]
    logit = logit + parameters[f"history.{stream}.sigma_household"] * home
    logit = logit + parameters[f"history.{stream}.sigma_origin"] * place
    moved: Booleans = numbers.person["uniform"][f"prior_{stream}"] < (1 + np.tanh(logit / 2)) / 2
    return moved
