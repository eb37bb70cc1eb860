"""Rounds of a survey: what is asked, what is chosen, and what the file will say.

Utilities are computed from the raw columns through the codebook's own arithmetic. What
the truth refers to is therefore exactly what a reader of the codebook gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.choice.nested import ROOT, Tree
from bayesmig.choice.probabilities import log_probabilities
from bayesmig.choice.response import EFFECT, Curve
from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.expressions import parse_arithmetic
from bayesmig.simulation.population import (
    URBAN_LIVING,
    URBAN_SAMPLED,
    Booleans,
    Floats,
    Integers,
    Numbers,
    People,
    drawn_strata,
    later_wealth,
    people,
)
from bayesmig.simulation.settings import Setting
from bayesmig.simulation.worlds import (
    ALTERNATIVES,
    ATTRIBUTES,
    BEYOND,
    CLASSES,
    GROUP_UNITS,
    HOME_AGAIN,
    NESTS,
    STREAMS,
    Measures,
    Unit,
    alternatives_of,
    attribute_terms,
    coefficients,
    covariates_of,
    effects_root,
    groups_of,
    slope_of,
    stream_of,
)
from bayesmig.survey.derive import FUNCTIONS, Context, derive
from bayesmig.survey.labels import labels_of

NO_EDUCATION, NO_CONSUMPTION = 98, 99_999_998
_SHARE_NO_EDUCATION, _SHARE_NO_CONSUMPTION = 0.01, 0.003
_SD_WEIGHT_PLACE, _SD_WEIGHT_HOME = 0.25, 0.15
FIRST_YEAR = 2010

Raw = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Deciders:
    """Who chooses, persons or households, and what of them never changes.

    Attributes
    ----------
    person
        The person whose attributes count: oneself, or the head, ``(decider,)``.
    household, community
        Counted from 0 within the block, ``(decider,)``.
    groups
        Group -> (codes, terms), as `bayesmig.choice.utility.Columns` takes them.
    effects
        Group -> effects, ``(group, nonbase, term)``.
    slope
        A column, empty where there is none, and by how much its coefficients differ in
        each origin, ``(origin, nonbase)``. Those of ``both`` are the sums of the streams'.
    destinations
        What destinations have beside the effects of their stream, ``(origin, place, 1)``;
        nothing where there are none.
    """

    person: npt.NDArray[np.intp]
    household: npt.NDArray[np.intp]
    community: npt.NDArray[np.intp]
    groups: Mapping[str, tuple[npt.NDArray[np.intp], Floats]]
    effects: Mapping[str, Floats]
    slope: tuple[str, Floats]
    destinations: Floats | None


def rows(
    numbers: Numbers,
    parameters: Mapping[str, float],
    measures: Measures,
    unit: Unit,
    setting: Setting | None = None,
    cells: Floats | None = None,
) -> Raw:
    """Give the columns of the file for some communities.

    Parameters
    ----------
    numbers
        From `bayesmig.simulation.population.draw`.
    parameters
        Every true parameter by dotted name.
    measures
        How the world is measured.
    unit
        Who chooses.
    setting
        What the world has of places, periods and others, where it has any.
    cells
        Effects of cells of persons, where they have any, ``(cell, nonbase)``.

    Returns
    -------
    dict
        Column -> values, ``(row,)``: deciders in order, the periods of each together.
    """
    everyone = people(numbers, parameters)
    deciders = _deciders(numbers, everyone, parameters, unit)
    prior = _first_prior(everyone, unit)
    wanted = covariates_of(parameters, measures)
    home_wealth = everyone.home_wealth
    rounds: list[Raw] = []
    left: Floats | None = None
    streams = np.array([stream_of(a) for a in alternatives_of(parameters, unit)])
    for period, chance in enumerate(numbers.period["uniform"]["choice"]):
        if period:
            shock = numbers.period["normal"]["wealth"][period][everyone.homes.heads]
            home_wealth = later_wealth(home_wealth, shock)
        asked = (
            _identity(numbers, everyone, deciders, measures, unit, period)
            | _attributes(everyone, deciders, unit, period)
            | {"consumption": _consumption(everyone, deciders, measures, home_wealth)}
            | _history(deciders, prior, unit)
        )
        if setting is not None:
            at = deciders.household, everyone.homes.heads, deciders.community
            asked |= setting.asked(*at)
        if wanted:
            asked |= _covariates(numbers, everyone, deciders, asked, prior, period, wanted)
        answered = _as_answered(asked, numbers, everyone, deciders, unit, period)
        known = {} if setting is None else setting.columns(asked, answered, left, period, unit)
        tidy = _tidy(asked | known, measures, unit, wanted)
        chosen = _chosen(deciders, tidy, parameters, unit, chance[deciders.person], cells)
        left = _left(deciders, streams[chosen])
        rounds.append(answered | {"move": chosen})
        prior = _with_moves(prior, streams[chosen])
    return {name: np.stack([r[name] for r in rounds], axis=1).ravel() for name in rounds[0]}


def _deciders(
    numbers: Numbers, everyone: People, parameters: Mapping[str, float], unit: Unit
) -> Deciders:
    homes = everyone.homes
    person = np.arange(len(homes.household)) if unit == "person" else homes.heads
    codes = {"origin": homes.community[person], "household": homes.household[person]}
    moves = ALTERNATIVES[unit][1:]
    independent = {"origin": np.stack([numbers.place["normal"][m] for m in moves], axis=1)}
    if unit == "person":
        of_home = [numbers.person["normal"][m][homes.heads] for m in moves]
        independent["household"] = np.stack(of_home, axis=1)
    return Deciders(
        person=person,
        household=codes["household"],
        community=codes["origin"],
        groups={g: (codes[g], np.ones((len(person), 1))) for g in groups_of(unit)},
        effects={
            g: (independent[g] @ effects_root(parameters, g, unit).T)[:, :, None]
            for g in groups_of(unit)
        },
        slope=_slope(numbers, parameters, unit),
        destinations=_of_destinations(numbers, parameters),
    )


def _of_destinations(numbers: Numbers, parameters: Mapping[str, float]) -> Floats | None:
    """What destinations have beside the effects of their stream, ``(origin, place, 1)``."""
    places = alternatives_of(parameters, "person")[1:]
    if places == STREAMS:
        return None
    normal = numbers.place["normal"]
    found = [normal[p] * parameters[f"sigma_destination.{stream_of(p)}"] for p in places]
    return np.stack(found, axis=1)[:, :, None]


def _slope(numbers: Numbers, parameters: Mapping[str, float], unit: Unit) -> tuple[str, Floats]:
    """The column whose slope varies over origins, and its deviations, ``(origin, nonbase)``."""
    column, sigma = slope_of(parameters)
    if not column:
        return "", np.zeros((len(numbers.sizes), len(ALTERNATIVES[unit]) - 1))
    normal = [numbers.place["normal"][f"slope_{s}"] for s in STREAMS]
    deviations = np.stack(normal, axis=1) * sigma
    if unit == "household":
        deviations = np.column_stack([deviations, deviations.sum(axis=1)])
    return column, deviations


# ------------------------------------------------------------------------------- asked


def _identity(
    numbers: Numbers,
    everyone: People,
    deciders: Deciders,
    measures: Measures,
    unit: Unit,
    period: int,
) -> Raw:
    place = deciders.community
    community = numbers.first + 1 + place
    first_home = deciders.household[np.searchsorted(place, place)]
    household = community * 1_000 + (deciders.household - first_home) + 1
    strata = drawn_strata(numbers.place["uniform"], measures.regions)
    labels = {"person_id": household * 10 + everyone.homes.position[deciders.person] + 1}
    return (labels if unit == "person" else {}) | {
        "household_id": household,
        "community": community,
        "region": strata[place] // 10,
        "year": np.full(len(place), FIRST_YEAR + period),
        "stratum": strata[place],
        "weight": _weight(numbers, everyone, deciders),
        "residence": strata[place] % 10,
    }


def _weight(numbers: Numbers, everyone: People, deciders: Deciders) -> Floats:
    """Weight of mean 1 in large samples: towns are sampled more, and not all answer."""
    town, country = URBAN_LIVING / URBAN_SAMPLED, (1 - URBAN_LIVING) / (1 - URBAN_SAMPLED)
    design = np.where(everyone.urban, town, country)
    place = _unit_lognormal(numbers.place["normal"]["weight"], _SD_WEIGHT_PLACE)
    heads = everyone.homes.heads
    home = _unit_lognormal(numbers.person["normal"]["weight"][heads], _SD_WEIGHT_HOME)
    weight = (design * place)[deciders.community] * home[deciders.household]
    return np.round(weight, 4)


def _unit_lognormal(normal: Floats, sd: float) -> Floats:
    """Log-normal numbers of mean 1."""
    return np.exp(sd * normal - sd**2 / 2)


def _attributes(everyone: People, deciders: Deciders, unit: Unit, period: int) -> Raw:
    head = "" if unit == "person" else "head_"
    columns: Raw = {
        f"{head}sex": 1 + everyone.female[deciders.person].astype(np.int64),
        f"{head}age": everyone.age[deciders.person] + period,
        f"{head}education_years": everyone.education_years[deciders.person],
    }
    if unit == "household":
        columns["size"] = everyone.homes.members
    return columns


def _consumption(
    everyone: People, deciders: Deciders, measures: Measures, home_wealth: Floats
) -> Integers:
    wealth = everyone.place_wealth[deciders.community] + home_wealth[deciders.household]
    exact = np.exp(measures.log_mean + measures.log_sd * wealth)
    steps = np.maximum(np.round(exact / measures.step), 1)
    return (steps * measures.step).astype(np.int64)


# ----------------------------------------------------------------------------- history


def _first_prior(everyone: People, unit: Unit) -> dict[str, Booleans]:
    """Earlier moves by decider: own, or of any member of the household."""
    if unit == "person":
        return dict(everyone.prior)
    heads = everyone.homes.heads
    return {s: np.logical_or.reduceat(moved, heads) for s, moved in everyone.prior.items()}


def _history(deciders: Deciders, prior: Mapping[str, Booleans], unit: Unit) -> Raw:
    """Own earlier moves, those of other members, and the share among other households."""
    columns: Raw = {f"prior_{s}": moved.astype(np.int64) for s, moved in prior.items()}
    for stream, moved in prior.items():
        place, home = deciders.community, deciders.household
        in_place, in_home = np.bincount(place, moved), np.bincount(home, moved)
        others = np.bincount(place)[place] - np.bincount(home)[home]
        if unit == "person":
            columns[f"household_{stream}"] = (in_home[home] - moved).astype(np.int64)
        share = (in_place[place] - in_home[home]) / others
        columns[f"share_{stream}"] = np.round(share, 4)
    return columns


# -------------------------------------------------------------------------- covariates


def _covariates(
    numbers: Numbers,
    everyone: People,
    deciders: Deciders,
    asked: Raw,
    prior: Mapping[str, Booleans],
    period: int,
    wanted: Iterable[str],
) -> Raw:
    """Give the columns of `bayesmig.simulation.worlds.COVARIATES` that a world names."""
    place, uniform = deciders.community, numbers.place["uniform"]
    of_place = dict(numbers.place["normal"]) | {
        "permit_restriction": (uniform["permit_restriction"] < 0.4).astype(float),
        "distance_internal": 5.0 + 0.6 * numbers.place["normal"]["distance_internal"],
        "distance_international": 7.0 + 0.6 * numbers.place["normal"]["distance_international"],
        "language_internal": 0.6 * uniform["language_internal"],
        "language_international": 0.2 + 0.8 * uniform["language_international"],
    }
    first = np.cumsum(numbers.sizes) - numbers.sizes
    more = {name: values[period] for name, values in numbers.period["more"].items()}
    columns: Raw = {}
    for name in wanted:
        match name:
            case "border_enforcement":
                columns[name] = np.round(more[name][first][place], 4)
            case "relative_deprivation":
                columns[name] = _shortfall(asked["consumption"], deciders, everyone)
            case "remittances":
                sent = np.exp(1.0 + 0.8 * more[name][everyone.homes.heads])[deciders.household]
                columns[name] = np.round(np.log1p(sent * (asked["household_international"] > 0)), 4)
            case "jobs_internal" | "jobs_international":
                women, men = (of_place[f"{name}_{who}"][place] for who in ("women", "men"))
                is_woman = everyone.female[deciders.person]
                columns[name] = np.round(np.where(is_woman, women, men), 4)
            case _ if name.startswith("kin_"):
                columns[name] = _moved_kin(deciders, everyone, prior[name.removeprefix("kin_")])
            case _ if "_group_" in name:
                side, _, stream = name.split("_")
                columns[name] = _share_of_group(deciders, everyone, prior[stream], stream, side)
            case _ if name.startswith(("returned_", "away_")):
                who, stream = name.split("_")
                back = everyone.age >= HOME_AGAIN
                there = prior[stream] & (back == (who == "returned"))
                share = _share_among(deciders, there, np.ones_like(back))
                columns[name] = np.round(share / GROUP_UNITS[stream], 4)
            case _ if name.startswith("network_"):
                _, stream, who = name.split("_")
                of = everyone.female if who == "women" else ~everyone.female
                columns[f"share_{stream}_{who}"] = _share_among(deciders, prior[stream], of)
            case _:
                columns[name] = np.round(of_place[name][place], 4)
    return columns


def _shortfall(consumption: Integers, deciders: Deciders, everyone: People) -> Floats:
    """Mean shortfall of a household among those of its origin, over their mean (Yitzhaki 1979)."""
    heads = everyone.homes.heads
    income, place = consumption[heads].astype(float), deciders.community[heads]
    short = np.empty(len(heads))
    for code in range(int(place.max()) + 1):
        here = place == code
        y = income[here]
        short[here] = np.maximum(y[None, :] - y[:, None], 0.0).mean(axis=1) / y.mean()
    return np.round(short, 4)[deciders.household]


def _moved_kin(deciders: Deciders, everyone: People, moved: Booleans) -> Integers:
    """Earlier movers in the other two of three households of the origin that are related."""
    homes, place = deciders.household, deciders.community[everyone.homes.heads]
    first = np.searchsorted(place, place)
    kin = place * len(place) + (np.arange(len(place)) - first) // 3
    of_home = np.bincount(homes, moved, len(place))
    _, code = np.unique(kin, return_inverse=True)
    return (np.bincount(code, of_home)[code] - of_home)[homes].astype(np.int64)


def _share_of_group(
    deciders: Deciders, everyone: People, moved: Booleans, stream: str, side: str
) -> Floats:
    """Share of earlier movers among the own or the other group, every third household's."""
    homes, place = deciders.household, deciders.community[everyone.homes.heads]
    few = ((np.arange(len(place)) - np.searchsorted(place, place)) % 3 == 0)[homes]
    shares = [_share_among(deciders, moved, of) for of in (few, ~few)]
    mine = few if side == "own" else ~few
    return np.round(np.where(mine, *shares) / GROUP_UNITS[stream], 4)


def _share_among(deciders: Deciders, moved: Booleans, of: Booleans) -> Floats:
    """Share of earlier movers among some of the origin, the own household left out."""
    place, home = deciders.community, deciders.household
    counts = [
        np.bincount(place, chosen)[place] - np.bincount(home, chosen)[home]
        for chosen in (moved & of, of)
    ]
    share: Floats = np.round(counts[0] / np.maximum(counts[1], 1), 4)
    return share


def _with_moves(prior: Mapping[str, Booleans], chosen: npt.NDArray[Any]) -> dict[str, Booleans]:
    """Earlier moves as the next period will know them, given the streams that were chosen."""
    return {s: prior[s] | (chosen == s) | (chosen == "both") for s in STREAMS}


# -------------------------------------------------------------------- chosen, answered


def _tidy(raw: Raw, measures: Measures, unit: Unit, covariates: Iterable[str]) -> Raw:
    """Give the columns that the codebook derives, beside the raw ones."""
    context = Context(
        column=lambda name: pd.Series(raw[name]),
        labels=lambda name: labels_of(pd.Series(raw[name])),
        where=("the codebook of a simulated survey",),
    )
    return raw | {
        name: derive(parse_arithmetic(text, FUNCTIONS), context).to_numpy()
        for name, text in (measures.derivations(unit) | measures.by_gender(covariates)).items()
    }


def _chosen(
    deciders: Deciders,
    tidy: Raw,
    parameters: Mapping[str, float],
    unit: Unit,
    chance: Floats,
    cells: Floats | None,
) -> Integers:
    """Draw an alternative for each decider by inverting the cumulated probabilities."""
    terms, beta = coefficients(parameters, unit)
    of_alternatives, gamma = attribute_terms(parameters)
    alternatives = alternatives_of(parameters, unit)
    columns = Columns(
        n_alternatives=len(alternatives),
        base=0,
        persons=np.column_stack([_term(term, tidy) for term in terms]),
        only={},
        attributes=_attribute_columns(tidy, of_alternatives, alternatives),
        groups=deciders.groups,
    )
    true = Coefficients(persons=beta, attributes=gamma, effects=deciders.effects)
    columns, true = _with_slope(columns, true, deciders, tidy)
    if cells is not None:
        factor = cells_of(tidy), np.ones((len(chance), 1))
        columns = replace(columns, groups={**columns.groups, "cell": factor})
        true = replace(true, effects={**(true.effects or {}), "cell": cells[:, :, None]})
    if deciders.destinations is not None:
        columns, true = _to_destinations(columns, true, deciders, parameters)
    elif unit == "person":
        columns, true = _beyond_logit(columns, true, tidy, parameters)
    cumulated = np.cumsum(np.exp(log_probabilities(np, columns, true)), axis=1)
    chosen: Integers = (chance[:, None] > cumulated[:, :-1]).sum(axis=1)
    return chosen


def cells_of(tidy: Raw) -> npt.NDArray[np.intp]:
    """The cell of each person: gender, then the classes of `CLASSES`, ``(decider,)``."""
    cell = np.asarray(tidy["female"], dtype=np.intp)
    for column, edges in CLASSES.values():
        cell = cell * (len(edges) + 1) + np.searchsorted(edges, tidy[column], side="right")
    return cell


def _with_slope(
    columns: Columns, given: Coefficients, deciders: Deciders, tidy: Raw
) -> tuple[Columns, Coefficients]:
    """A group factor of origins beside their effects, where a slope varies over them."""
    column, deviations = deciders.slope
    if not column:
        return columns, given
    factor = deciders.community, _term(column, tidy)[:, None]
    return (
        replace(columns, groups={**columns.groups, "slope": factor}),
        replace(given, effects={**deciders.effects, "slope": deviations[:, :, None]}),
    )


def _to_destinations(
    columns: Columns, of_streams: Coefficients, deciders: Deciders, parameters: Mapping[str, float]
) -> tuple[Columns, Coefficients]:
    """Utilities of destinations: their stream's, their own, and nests of both levels.

    The first term is the constant (`bayesmig.simulation.worlds.coefficients`).
    """
    places = alternatives_of(parameters, "person")[1:]
    stream = [STREAMS.index(stream_of(place)) for place in places]
    persons = of_streams.persons[:, stream]
    persons[0] += [parameters[f"destination.{place}"] for place in places]
    effects = {name: u[:, stream] for name, u in (of_streams.effects or {}).items()}
    own = deciders.community, np.ones((len(deciders.community), 1))
    within = 1 + np.array(stream)
    return (
        replace(
            columns,
            groups={**columns.groups, "destination": own},
            # Staying lies in no nest, the nests of both streams in that of moving.
            nests=Tree((ROOT, *within.tolist()), (ROOT, 0, 0)),
        ),
        replace(
            of_streams,
            persons=persons,
            effects={**effects, "destination": deciders.destinations},
            lambdas=np.array([parameters[f"lambda_nest.{nest}"] for nest in NESTS]),
        ),
    )


def _beyond_logit(
    columns: Columns, given: Coefficients, tidy: Raw, parameters: Mapping[str, float]
) -> tuple[Columns, Coefficients]:
    """What is true beside the logit, where anything is."""
    abroad = ALTERNATIVES["person"].index("international")
    if (lam := parameters["lambda_nest.move"]) != 1.0:
        nests = Tree((ROOT, 0, 0), (ROOT,))
        columns, given = replace(columns, nests=nests), replace(given, lambdas=np.array([lam]))
    if effect := parameters["curve.international.effect"]:
        of = {"half_saturation": "half_saturation", "hill_exponent": "exponent"}
        curves = {name: [parameters[f"curve.international.{key}"]] for name, key in of.items()}
        columns = replace(
            columns,
            curves=(Curve("hill", (abroad,)),),
            doses=np.asarray(tidy["network_international"], dtype=float)[:, None],
        )
        given = replace(
            given, curves={k: np.array(v) for k, v in {**curves, EFFECT: [effect]}.items()}
        )
    start = "feasible.international."
    feasible = {k.removeprefix(start): v for k, v in parameters.items() if k.startswith(start)}
    if any(value != BEYOND.get(start + term, 0.0) for term, value in feasible.items()):
        # Fares are columns of their alternatives.
        fares = {"cost": tidy["cost_international"]} if "cost" in feasible else {}
        block = np.column_stack([_term(term, tidy | fares) for term in feasible])
        columns = replace(columns, feasible={abroad: block})
        given = replace(given, feasibility=np.array([*feasible.values()]))
    return columns, given


def _attribute_columns(
    tidy: Raw, terms: tuple[str, ...], alternatives: tuple[str, ...]
) -> Floats | None:
    """Attributes times what they are multiplied by, ``(decider, alternative, attribute_term)``.

    What households pay for both streams is the sum.
    """
    if not terms:
        return None
    block = np.zeros((len(tidy["weight"]), len(alternatives), len(terms)))
    for k, term in enumerate(terms):
        name, _, column = term.partition(":")
        for j, alternative in enumerate(alternatives):
            for of in STREAMS if alternative == "both" else (alternative,):
                if of in ATTRIBUTES[name]:
                    by = tidy[column] if column else 1.0
                    block[:, j, k] += tidy[ATTRIBUTES[name][of]] * by
    return block


def _left(deciders: Deciders, chosen: npt.NDArray[Any]) -> Floats:
    """Share of each decider's community that went abroad now, ``(decider,)``."""
    abroad = np.isin(chosen, ("international", "both"))
    place = deciders.community
    share: Floats = np.bincount(place, abroad)[place] / np.bincount(place)[place]
    return share


def _term(term: str, tidy: Raw) -> Floats:
    product = np.ones(len(tidy["weight"]))
    for column in term.split(":") if term != "asc" else ():
        inside = column.removeprefix("log1p(").removesuffix(")")
        product = product * (tidy[column] if inside == column else np.log1p(tidy[inside]))
    return product


def _as_answered(
    asked: Raw, numbers: Numbers, everyone: People, deciders: Deciders, unit: Unit, period: int
) -> Raw:
    """Put missing codes where nobody answered, which is left to chance."""
    education = "education_years" if unit == "person" else "head_education_years"
    silent = numbers.person["uniform"]["no_education"][deciders.person] < _SHARE_NO_EDUCATION
    by_home = numbers.period["uniform"]["no_consumption"][period][everyone.homes.heads]
    unknown = (by_home < _SHARE_NO_CONSUMPTION)[deciders.household]
    return asked | {
        education: np.where(silent, NO_EDUCATION, asked[education]),
        "consumption": np.where(unknown, NO_CONSUMPTION, asked["consumption"]),
    }
