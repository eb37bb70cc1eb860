"""What is known of places and periods, and of others: fares, borders, permits, jobs, neighbours.

The worlds ``regimes`` and ``destinations`` have files of their own for them, which their
codebooks join; the world ``communities`` has what a codebook computes from other rows. Random
numbers are drawn from streams beside those of the people, so that a world with a setting has
the same people as one without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.simulation.worlds import DESTINATIONS, SECTORS, SEXES, STREAMS, Unit, World
from bayesmig.survey.demand import shift_share
from bayesmig.survey.incomes import relative_deprivation
from bayesmig.survey.networks import Side, exposure

Raw = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]

#: Second and third parts of the keys of random streams: of places, periods and households.
#: Covariates have (0, 1) and (0, 2) (`bayesmig.simulation.population`).
_OF_PLACE, _OF_PERIOD, _OF_HOMES, _OF_ROUTES, _OF_CONTACTS = ((0, k) for k in range(4, 9))
_SD_FARE_PLACE, _SD_FARE_PERIOD = 0.4, 0.3
_SHARED_BORDER = 0.8
_MOST_REGIONS = 30

#: Destination, typical kilometres, and the standard deviation of their logarithm.
_KILOMETRES = (
    ("town", 60, 0.6),
    ("capital", 250, 0.6),
    ("neighbour", 400, 0.6),
    ("overseas", 2_500, 0.3),
)

#: Destination -> share of households that know someone there.
_KNOWN = {"town": 0.3, "capital": 0.3, "neighbour": 0.15, "overseas": 0.15}

#: World -> file -> its columns that are keys, and how the survey calls them.
FILES: Mapping[World, Mapping[str, Mapping[str, str]]] = {
    "regimes": {
        "fares": {"origin": "community", "period": "year"},
        "border": {"region": "region", "period": "year"},
        "places": {"origin": "community"},
        "sectors": {"origin": "community"},
        "jobs": {"period": "year", "sex": "sex"},
    },
    "destinations": {"routes": {"origin": "community"}},
}


@dataclass(frozen=True, slots=True)
class Places:
    """What is known of some communities; empty where a world does not have it.

    Attributes
    ----------
    first
        Number of the first community.
    fixed
        Name -> values, ``(community,)``.
    fares
        Stream -> fare in months of the average household's consumption,
        ``(community, period)``.
    shares
        Shares of the sectors, ``(community, sector)``.
    minority
        Share of households in the minority, ``(community,)``.
    homes
        Uniform numbers that say which households are, by person, ``(person,)``; in
        ``destinations``, where households know someone, ``(person, place)``.
    """

    first: int
    fixed: Mapping[str, Floats]
    fares: Mapping[str, Floats] = field(default_factory=dict)
    shares: Floats = field(default_factory=lambda: np.empty((0, 0)))
    minority: Floats = field(default_factory=lambda: np.empty(0))
    homes: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class Period:
    """What is known of one period.

    Attributes
    ----------
    border
        Border enforcement by region, in standard deviations, ``(region,)``.
    jobs
        Stream -> growth of jobs by sex and sector, ``(sex, sector)``.
    """

    border: Floats
    jobs: Mapping[str, Floats]


def places(seed: int, sizes: npt.NDArray[np.int64], first: int, last: int, periods: int) -> Places:
    """Draw what is known of communities ``first`` to ``last - 1``, each from its own stream."""
    drawn = [_one_place(seed, n, int(sizes[n]), periods) for n in range(first, last)]
    fixed, shares, fares, homes = zip(*drawn, strict=True)
    z, u = np.stack(fixed)[:, :5], np.stack(fixed)[:, 5:]
    speaks = np.where(u[:, 0] < 0.3, 0.2 + 0.8 * u[:, 1], 0.0)
    by_stream = np.stack(fares, axis=1)
    return Places(
        first=first,
        fares={
            "internal": np.round(np.exp(by_stream[0]), 3),
            "international": np.round(8 * np.exp(by_stream[1]), 3),
        },
        fixed={
            "share_restricted": np.round(1 / (1 + np.exp(0.7 - 0.9 * z[:, 0])), 3),
            "km_internal": np.round(150 * np.exp(0.5 * z[:, 1])),
            "km_international": np.round(600 * np.exp(0.5 * z[:, 2])),
            "language_internal": np.round(speaks, 3),
            "language_international": np.round(0.6 + 0.4 * u[:, 2], 3),
        },
        shares=np.round(np.stack(shares), 4),
        minority=1 / (1 + np.exp(0.6 - 0.8 * z[:, 3])),
        homes=np.concatenate(homes),
    )


def _one_place(seed: int, number: int, n: int, periods: int) -> tuple[Floats, ...]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, *_OF_PLACE)))
    normal, uniform = rng.standard_normal(5), rng.random(3)
    shares, typical = rng.dirichlet(np.ones(len(SECTORS))), rng.standard_normal(2)
    # Drawn last and by period, so that a longer panel begins with the shorter.
    now = np.stack([rng.standard_normal(2) for _ in range(periods)], axis=1)
    fares = _SD_FARE_PLACE * typical[:, None] + _SD_FARE_PERIOD * now
    of_homes = np.random.SeedSequence(seed, spawn_key=(number, *_OF_HOMES))
    homes = np.random.default_rng(of_homes).random(n)
    return np.concatenate([normal, uniform]), shares, fares, homes


def routes(seed: int, first: int, last: int) -> dict[str, Floats]:
    """What is known of the ways from communities ``first`` to ``last - 1``, ``(community,)``.

    Kilometres and languages, how hostile the places within the country are to people from there
    (in standard deviations), and land that these can have at the edge of the capital (likewise).
    """
    keys = [np.random.SeedSequence(seed, spawn_key=(n, *_OF_ROUTES)) for n in range(first, last)]
    rngs = [np.random.default_rng(key) for key in keys]
    z = np.stack([rng.standard_normal(7) for rng in rngs], axis=1)
    u = np.stack([rng.random(4) for rng in rngs], axis=1)
    kilometres = {
        f"km_{place}": np.round(typical * np.exp(sd * normal))
        for (place, typical, sd), normal in zip(_KILOMETRES, z, strict=False)
    }
    return kilometres | {
        "language_capital": np.round(np.where(u[0] < 0.3, 0.2 + 0.8 * u[1], 0.0), 3),
        "language_neighbour": np.round(0.9 * u[2], 3),
        "language_overseas": np.round(0.6 + 0.4 * u[3], 3),
        **{f"hostility_{p}": np.round(z[4 + k], 3) for k, p in enumerate(DESTINATIONS["internal"])},
        "land_capital": np.round(z[6], 3),
    }


def _contacts(seed: int, number: int, n: int) -> Floats:
    """Uniform numbers of one community, ``(person, place)``."""
    key = np.random.SeedSequence(seed, spawn_key=(number, *_OF_CONTACTS))
    return np.random.default_rng(key).random((n, len(_KNOWN)))


def period_of(seed: int, number: int, regions: int) -> Period:
    """Draw what is known of one period."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, *_OF_PERIOD)))
    common, own = rng.standard_normal(), rng.standard_normal(_MOST_REGIONS)[:regions]
    border = _SHARED_BORDER * common + np.sqrt(1 - _SHARED_BORDER**2) * own
    jobs = np.round(rng.standard_normal((len(STREAMS), len(SEXES), len(SECTORS))), 3)
    return Period(np.round(border, 3), dict(zip(STREAMS, jobs, strict=True)))


# --------------------------------------------------------------------- what a row takes


@dataclass(frozen=True, slots=True)
class Setting:
    """What a world knows of some communities and of all periods.

    Attributes
    ----------
    world
        Which.
    here
        Of the communities of a block.
    then
        Of each period.
    """

    world: World
    here: Places
    then: tuple[Period, ...]

    def asked(
        self,
        household: npt.NDArray[np.intp],
        heads: npt.NDArray[np.intp],
        community: npt.NDArray[np.intp],
    ) -> Raw:
        """Columns that the survey asks for beside those of every world, ``(row,)``."""
        if self.world == "communities":
            return {"ethnicity": ethnicity(self.here, household, heads, community)}
        if self.world == "destinations":
            return contacts(self.here, household, heads)
        return {}

    def columns(
        self, asked: Raw, answered: Raw, left: Floats | None, period: int, unit: Unit
    ) -> Raw:
        """Columns that the codebook joins or computes in one period, ``(row,)``.

        Those from other rows are made of what was answered, as a reader makes them.
        """
        if self.world == "destinations":
            at = asked["community"] - self.here.first - 1
            return {name: values[at] for name, values in self.here.fixed.items()}
        if self.world == "regimes":
            return of_regimes(self.then[period], self.here, period, asked, unit)
        return of_communities(asked, answered, left)


def setting_of(
    world: World,
    seed: int,
    sizes: npt.NDArray[np.int64],
    first: int,
    last: int,
    periods: int,
    regions: int,
) -> Setting | None:
    """Draw the setting of a block of communities; None where the world has none."""
    if world == "destinations":
        homes = [_contacts(seed, n, int(sizes[n])) for n in range(first, last)]
        here = Places(first, fixed=routes(seed, first, last), homes=np.concatenate(homes))
        return Setting(world, here, ())
    if world not in ("regimes", "communities"):
        return None
    then = tuple(period_of(seed, t, regions) for t in range(periods))
    return Setting(world, places(seed, sizes, first, last, periods), then)


def of_regimes(now: Period, here: Places, period: int, asked: Raw, unit: Unit) -> Raw:
    """Columns that the codebook of ``regimes`` joins to the rows of one period, ``(row,)``."""
    at = asked["community"] - here.first - 1
    sex = asked["sex" if unit == "person" else "head_sex"] - 1
    joined = {name: values[at] for name, values in here.fixed.items()}
    joined |= {f"fare_{stream}": fare[at, period] for stream, fare in here.fares.items()}
    shares = pd.DataFrame(here.shares, columns=list(SECTORS))
    for stream, jobs in now.jobs.items():
        growth = pd.DataFrame(jobs, columns=list(SECTORS))
        joined[f"jobs_{stream}"] = shift_share(shares, growth, units=at, cells=sex)
    return joined | {"border_enforcement": now.border[asked["region"] - 1]}


def contacts(here: Places, household: npt.NDArray[np.intp], heads: npt.NDArray[np.intp]) -> Raw:
    """1 where the household knows someone at a place, 0 elsewhere, ``(row,)`` each."""
    return {
        f"contact_{place}": (here.homes[heads, k][household] < share).astype(np.int64)
        for k, (place, share) in enumerate(_KNOWN.items())
    }


def ethnicity(
    here: Places,
    household: npt.NDArray[np.intp],
    heads: npt.NDArray[np.intp],
    community: npt.NDArray[np.intp],
) -> npt.NDArray[np.int64]:
    """1 for households of the majority and 2 for those of the minority, ``(row,)``."""
    minority = here.homes[heads][household] < here.minority[community]
    return 1 + minority.astype(np.int64)


def of_communities(asked: Raw, answered: Raw, left_before: Floats | None) -> Raw:
    """Columns that the codebook of ``communities`` computes from other rows, ``(row,)``.

    Parameters
    ----------
    asked, answered
        Columns as asked, and as they stand in the file: who gave no consumption is in
        nobody's reference group.
    left_before
        Share of the community that went abroad in the period before; None in the first.
    """
    frame = pd.DataFrame({k: asked[k] for k in ("community", "household_id", "ethnicity")})
    known = answered["consumption"] == asked["consumption"]
    frame["income"] = np.where(known, asked["consumption"], np.nan)
    frame["prior"] = asked["prior_international"]
    shortfall = relative_deprivation(
        frame, income="income", group=["community"], household="household_id", per="mean"
    )
    before = np.zeros(len(frame)) if left_before is None else left_before
    return {
        "relative_deprivation": shortfall.fillna(0).to_numpy(),
        "left_before": before,
        "share_own_group": _among(frame, "own"),
        "share_other_group": _among(frame, "other"),
    }


def _among(frame: pd.DataFrame, side: Side) -> Floats:
    """Share of earlier migrants among other households of one side; 0 where there are none."""
    share = exposure(
        frame, prior="prior", group="community", own="household_id", by="ethnicity", side=side
    )
    return share.fillna(0).to_numpy()


# ------------------------------------------------------------------------------- files


def tables_of(
    world: World,
    seed: int,
    sizes: npt.NDArray[np.int64],
    periods: int,
    regions: int,
    first_year: int,
) -> dict[str, pd.DataFrame]:
    """Auxiliary tables of a world: file name without its ending -> rows; empty where none."""
    community, years = 1 + np.arange(len(sizes)), first_year + np.arange(periods)
    if world == "destinations":
        return {"routes": pd.DataFrame({"community": community, **routes(seed, 0, len(sizes))})}
    if world != "regimes":
        return {}
    here = places(seed, sizes, 0, len(sizes), periods)
    then = [period_of(seed, t, regions) for t in range(periods)]
    fares = {f"fare_{stream}": fare.ravel() for stream, fare in here.fares.items()}
    by_sector = pd.MultiIndex.from_product([community, SECTORS], names=["community", "sector"])
    by_sex = pd.MultiIndex.from_product([years, SEXES, SECTORS], names=["year", "sex", "sector"])
    return {
        "fares": _crossed({"community": community, "year": years}).assign(**fares),
        "border": _crossed({"year": years, "region": 1 + np.arange(regions)}).assign(
            enforcement=np.concatenate([t.border for t in then])
        ),
        "places": pd.DataFrame({"community": community, **here.fixed}),
        "sectors": by_sector.to_frame(index=False).assign(share=here.shares.ravel()),
        "jobs": by_sex.to_frame(index=False).assign(
            **{f"growth_{s}": np.concatenate([t.jobs[s].ravel() for t in then]) for s in STREAMS}
        ),
    }


def _crossed(keys: Mapping[str, Iterable[int]]) -> pd.DataFrame:
    return pd.MultiIndex.from_product(list(keys.values()), names=list(keys)).to_frame(index=False)


def codebook_of(world: World, unit: Unit) -> dict[str, Any]:
    """Keys of the codebook beside those of every world."""
    sex = "sex" if unit == "person" else "head_sex"
    if world == "destinations":
        return {
            "tables": {
                name: {"file": f"{name}.csv", "keys": dict(keys), "columns": list(routes(0, 0, 1))}
                for name, keys in FILES[world].items()
            }
        }
    if world == "regimes":
        keys = {file: dict(names) for file, names in FILES[world].items()}
        keys["jobs"] = {"period": "year", sex: "sex"}
        columns = {
            "fares": ["fare_internal", "fare_international"],
            "border": {"border_enforcement": "enforcement"},
            "places": [
                "share_restricted", "km_internal", "km_international",
                "language_internal", "language_international",
            ],
        }  # fmt: skip
        tables: dict[str, Any] = {
            name: {"file": f"{name}.csv", "keys": keys[name], "columns": of}
            for name, of in columns.items()
        }
        tables |= {
            name: {"file": f"{name}.csv", "keys": keys[name], "long": "sector"}
            for name in ("sectors", "jobs")
        }
        shares = {"table": "sectors", "column": "share"}
        demand = {
            f"jobs_{stream}": {
                "shares": shares,
                "growth": {"table": "jobs", "column": f"growth_{stream}"},
            }
            for stream in STREAMS
        }
        return {"tables": tables, "shift_share": demand}
    if world == "communities":
        abroad = ["international"] if unit == "person" else ["international", "both"]
        side = {"prior": "prior_international", "by": "ethnicity", "alone": 0}
        return {
            "deprivation": {
                "relative_deprivation": {
                    "of": "consumption",
                    "per": "mean",
                    "alone": 0,
                    "weighted": False,
                }
            },
            "rates": {"left_before": {"alternatives": abroad, "first": 0, "weighted": False}},
            "networks": {f"share_{s}_group": {**side, "side": s} for s in ("own", "other")},
        }
    return {}
