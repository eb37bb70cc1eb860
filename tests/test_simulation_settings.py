"""Worlds with fares, borders, permits, jobs and neighbours: built as said, and recovered."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayesmig.design.design import build_design
from bayesmig.errors import SpecError
from bayesmig.simulation import SimulatedSurvey, settings, simulate
from bayesmig.simulation.choices import rows
from bayesmig.simulation.population import draw, settle
from bayesmig.simulation.worlds import (
    ATTRIBUTES,
    CLAIMS,
    COVARIATES,
    DESTINATIONS,
    MEASURES,
    PLACES,
    STREAMS,
    attribute_terms,
    true_parameters,
    variant,
)
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey, read_survey
from bayesmig.tomlfile import read_toml

NO_GROUPS = {
    f"sigma_{g}.{a}": 0.0 for g in ("household", "origin") for a in ("internal", "international")
}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SimulatedSurvey]:
    """Simulate into a folder that does not exist yet."""

    def new(**arguments: Any) -> SimulatedSurvey:
        return simulate(tmp_path_factory.mktemp("simulated") / "survey", **{"seed": 1} | arguments)

    return new


# ---------------------------------------------------------------------- repeatability


WORLDS = [(w, u) for w in ("regimes", "communities") for u in ("person", "household")]
WORLDS.append(("destinations", "person"))


@pytest.mark.parametrize(("world", "unit"), WORLDS)
def test_same_bytes_whatever_the_block(
    make: Callable[..., SimulatedSurvey], world: str, unit: str
) -> None:
    keys = {"persons": 1_500, "periods": 2, "world": world, "unit": unit}
    one, two = make(**keys), make(**keys, block=200)
    names = sorted(p.name for p in one.folder.iterdir())
    assert names == sorted(p.name for p in two.folder.iterdir())
    assert {p.name for p in one.tables} == {n for n in names if n.endswith(".csv")}
    assert bool(one.tables) == (world != "communities")
    for name in names:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


@pytest.mark.parametrize("world", ["regimes", "destinations"])
def test_the_people_are_those_of_albania(make: Callable[..., SimulatedSurvey], world: str) -> None:
    usual = pd.read_csv(make(persons=1_000).data)
    other = pd.read_csv(make(persons=1_000, world=world).data)
    same = usual.columns.drop("move")
    pd.testing.assert_frame_equal(usual[same], other[same])
    more = {f"contact_{p}" for p in PLACES} if world == "destinations" else set()
    assert set(other) - set(usual) == more
    assert not usual["move"].equals(other["move"])


def test_longer_and_larger_begin_with_the_shorter(make: Callable[..., SimulatedSurvey]) -> None:
    small = make(persons=1_000, world="regimes")
    large = make(persons=2_000, world="regimes", periods=3)
    for one, two in zip(small.tables, large.tables, strict=True):
        a, b = pd.read_csv(one), pd.read_csv(two)
        keys = [c for c in ("community", "year", "region", "sex", "sector") if c in a]
        both = a.merge(b, on=keys, suffixes=("", "_large"))
        assert len(both) == len(a) > 0
        for column in set(a) - set(keys):
            np.testing.assert_array_equal(both[column], both[f"{column}_large"])
    assert make(persons=1_000, world="regimes", seed=2).tables[0].read_bytes() != (
        small.tables[0].read_bytes()
    )


def test_a_folder_with_tables_is_replaced(make: Callable[..., SimulatedSurvey]) -> None:
    made = make(persons=600, world="regimes")
    again = simulate(made.folder, persons=600, seed=1, overwrite=True)
    assert sorted(p.name for p in made.folder.iterdir()) == [
        "survey.csv.gz", "survey.toml", "truth.toml",
    ]  # fmt: skip
    assert again.tables == ()


def test_one_period_has_no_earlier_rates(make: Callable[..., SimulatedSurvey]) -> None:
    with pytest.raises(SpecError, match="one period has none"):
        make(persons=600, world="communities")


# --------------------------------------------------------------------------- settings


def test_fares_patrols_and_jobs_vary_as_they_should(make: Callable[..., SimulatedSurvey]) -> None:
    survey = read_survey(make(persons=20_000, world="regimes", periods=4).codebook)
    frame = survey.frame
    assert frame.groupby(["origin", "period"])["fare_international"].nunique().max() == 1
    # Fares have three decimals: once in a while, those of two periods are the same.
    assert frame.groupby("origin")["fare_international"].nunique().mean() > 3.98
    assert frame.groupby(["region", "period"])["border_enforcement"].nunique().max() == 1
    assert frame.groupby("origin")["share_restricted"].nunique().max() == 1
    assert frame.groupby(["origin", "period", "female"])["jobs_internal"].nunique().max() == 1
    assert frame.groupby(["origin", "period"])["jobs_internal"].nunique().min() == 2
    ratio = frame["fare_international"].median() / frame["fare_internal"].median()
    assert ratio == pytest.approx(8, rel=0.15)
    assert frame["permit_restriction"].std() == pytest.approx(1, abs=0.15)
    assert survey.attributes["enforcement"] == {
        "stay": 0, "internal": 0, "international": "border_enforcement",
    }  # fmt: skip


def test_what_both_streams_cost(make: Callable[..., SimulatedSurvey]) -> None:
    survey = read_survey(make(persons=4_000, world="regimes", unit="household").codebook)
    frame = survey.frame
    np.testing.assert_allclose(
        frame["cost_both"], np.log(frame["fare_internal"]) + np.log(frame["fare_international"])
    )
    assert survey.attributes["cost"]["both"] == "cost_both"
    assert survey.attributes["permit"]["both"] == "permit_restriction"


def test_neighbours_by_loops(make: Callable[..., SimulatedSurvey]) -> None:
    made = make(persons=1_500, world="communities", periods=2)
    raw, survey = pd.read_csv(made.data), read_survey(made.codebook)
    kept = raw.iloc[survey.rows].reset_index(drop=True)
    for i in range(0, len(kept), 37):
        one = kept.iloc[i]
        place = raw[raw["community"] == one["community"]]
        there = place[place["year"] == one["year"]]
        before = place[place["year"] == one["year"] - 1]
        left = (before["move"] == 2).mean() if len(before) else 0.0
        assert survey.column("emptied")[i] == pytest.approx(left / 0.05)
        homes = there[there["consumption"] < 99_999_998].drop_duplicates("household_id")
        short = (homes["consumption"] - one["consumption"]).clip(lower=0).mean()
        expected = short / homes["consumption"].mean()
        assert survey.column("relative_deprivation")[i] == pytest.approx(expected)
        others = there[there["household_id"] != one["household_id"]]
        for side, of in (("own", True), ("other", False)):
            some = others[(others["ethnicity"] == one["ethnicity"]) == of]["prior_international"]
            share = some.mean() if len(some) else 0.0
            assert survey.column(f"{side}_group")[i] == pytest.approx(share / 0.06)


# ------------------------------------------------------------------------------- truth


def _theory(made: SimulatedSurvey) -> tuple[ModelSpec, dict[str, Any]]:
    """The true theory, and what is true of it."""
    true = read_toml(made.truth)["true"]
    terms = [t for t in true["utility"]["internal"] if t != "asc"]
    named = [":".join(dict.fromkeys(t.split(":"))) for t in terms]
    squares = {t: f"square({t.split(':')[0]})" for t, n in zip(terms, named, strict=True)
               if n != t and len(set(t.split(":"))) == 1}  # fmt: skip
    utility = {"persons": " + ".join(squares.get(t, t) for t in terms)}
    if "alternatives" in true:
        utility["alternatives"] = " + ".join(true["alternatives"])
    return ModelSpec.model_validate(
        {
            "name": "true",
            "choice": {"alternatives": ["stay", "internal", "international"], "base": "stay"},
            "utility": utility,
        }
    ), true


def _estimates(survey: Survey, made: SimulatedSurvey) -> pd.DataFrame:
    """Maximum likelihood of the true theory: estimate, error and truth by parameter."""
    spec, true = _theory(made)
    design = build_design(spec, survey)
    x, n = design.columns.persons, design.n_obs
    names, blocks = [], []
    for k, name in enumerate(design.persons):
        for j, move in enumerate(("internal", "international"), start=1):
            block = np.zeros((n, 3))
            block[:, j] = x[:, k]
            names.append(("utility", move, name))
            blocks.append(block)
    if design.columns.attributes is not None:
        blocks += list(np.moveaxis(design.columns.attributes, 2, 0))
        names += [("alternatives", "", name) for name in design.attribute_terms]
    z = np.stack(blocks, axis=2)
    beta, chosen = np.zeros(z.shape[2]), z[np.arange(n), design.choice]
    for _ in range(30):
        v = z @ beta
        p = np.exp(v - v.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        mean = np.einsum("nj,njk->nk", p, z)
        information = np.einsum("nj,njk,njl->kl", p, z, z, optimize=True) - mean.T @ mean
        step = np.linalg.solve(information, (chosen - mean).sum(axis=0))
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    assert np.abs(step).max() < 1e-8
    told = {("alternatives", "", k): v for k, v in true.get("alternatives", {}).items()}
    for move, values in true["utility"].items():
        for k, v in values.items():
            a, *rest = k.split(":")
            told["utility", move, f"square({a})" if rest == [a] else k] = v
    table = pd.DataFrame({"estimate": beta, "error": np.sqrt(np.diag(np.linalg.inv(information)))})
    table["truth"] = [told[name] for name in names]
    table.index = [".".join(part for part in name if part) for name in names]
    table["z"] = (table["estimate"] - table["truth"]) / table["error"]
    return table


@pytest.mark.parametrize("world", ["regimes", "communities"])
def test_truth_is_recovered(make: Callable[..., SimulatedSurvey], world: str) -> None:
    """And a truth with one wrong sign is not: the check would have seen it."""
    made = make(persons=8_000, world=world, periods=3, effects=NO_GROUPS)
    table = _estimates(read_survey(made.codebook), made)
    # Of fifty numbers, one is so far off in three of a thousand surveys.
    assert table["z"].abs().max() < 4
    assert (table["z"] ** 2).mean() == pytest.approx(1, abs=0.6)
    for claim in CLAIMS.values():
        for name in claim.parameters if claim.world == world else ():
            line = table.loc[name]
            wrong = abs(line["estimate"] + line["truth"]) / line["error"]
            assert line["truth"] == 0.2 or wrong > 3, name


@pytest.mark.parametrize("claim", ["border_deters_the_poor", "cost_deters", "own_group_pulls"])
@pytest.mark.parametrize("which", ["null", "reversed"])
def test_false_claims_are_false(
    make: Callable[..., SimulatedSurvey], claim: str, which: Any
) -> None:
    world, effects = variant(claim, which)
    made = make(persons=8_000, world=world, periods=3, effects=NO_GROUPS | effects)
    table = _estimates(read_survey(made.codebook), made)
    assert table["z"].abs().max() < 4
    name = CLAIMS[claim].parameters[0]
    true = true_parameters(world, "person")[name]
    assert abs(table.loc[name, "estimate"] - true) / table.loc[name, "error"] > 3
    assert table.loc[name, "truth"] == (0 if which == "null" else -true)


def test_variants_choose_as_before_at_typical_values() -> None:
    """Without cost, constants and wealth hold what a typical cost took from them."""
    for unit in ("person", "household"):
        known = true_parameters("regimes", unit)
        for claim, below in (("cost_deters", "asc"), ("cost_deters_the_poor", "wealth")):
            name = CLAIMS[claim].parameters[0]
            world, effects = variant(claim, "null", unit)
            assert (world, effects[name]) == ("regimes", 0)
            moved = f"utility.international.{below}"
            assert set(effects) == {name, moved}
            at_typical = known[moved] + known[name] * math.log(8)
            assert effects[moved] == pytest.approx(at_typical)
    assert variant("jobs_draw") == ("regimes", {})
    assert variant("jobs_draw", "reversed") == ("regimes", {"alternatives.demand": -0.4})


@pytest.mark.parametrize(
    ("arguments", "what", "mend"),
    [
        (("border_detrs",), "no claim 'border_detrs'", "'border_deters'"),
        (("border_deters", "nul"), "no variant 'nul'", "'null'"),
    ],
)
def test_unknown_variants_are_refused(arguments: Any, what: str, mend: str) -> None:
    with pytest.raises(SpecError, match=what) as caught:
        variant(*arguments)
    assert mend in caught.value.mend


def test_every_claim_rests_on_true_parameters() -> None:
    for name, claim in CLAIMS.items():
        for unit in ("person", "household"):
            known = true_parameters(claim.world, unit)
            assert all(known[p] != 0 for p in claim.parameters), name
    terms, gamma = attribute_terms(true_parameters("regimes", "person"))
    of_streams = {name for name, columns in ATTRIBUTES.items() if set(STREAMS) & set(columns)}
    assert {t.partition(":")[0] for t in terms} == of_streams
    assert gamma[terms.index("enforcement")] == -0.5
    assert gamma[terms.index("enforcement:wealth")] == 0.2
    terms, _ = attribute_terms(true_parameters("destinations", "person"))
    assert set(terms) == {name for name, of in ATTRIBUTES.items() if set(PLACES) & set(of)}


# ----------------------------------------------------------------------- destinations


def _of_places(utility: dict[str, float], move: float, within: float, abroad: float) -> list[float]:
    """Probabilities of staying and of four places, in nests of two levels (Train 2009, ch. 4)."""
    sums, given = {}, {}
    for lam, places in zip((within, abroad), DESTINATIONS.values(), strict=True):
        terms = {p: math.exp(utility[p] / lam) for p in places}
        sums[places] = math.exp(lam * math.log(sum(terms.values())) / move)
        given |= {p: term / sum(terms.values()) for p, term in terms.items()}
    moving = math.exp(move * math.log(sum(sums.values())))
    stay = 1 / (1 + moving)
    chances = {
        p: (1 - stay) * of / sum(sums.values()) * given[p] for places, of in sums.items()
        for p in places
    }  # fmt: skip
    return [stay, *(chances[p] for p in PLACES)]


def test_destinations_are_chosen_by_what_they_have(make: Callable[..., SimulatedSurvey]) -> None:
    """Choices by loops over what a reader gets; those of other worlds than the true one differ."""
    kept = {"utility.internal.asc": -1.5, "utility.international.asc": -1.8}
    known = true_parameters("destinations", "person")
    zero = {n: 0.0 for n in known if n.startswith(("utility.", "sigma_household", "sigma_origin"))}
    effects = zero | kept | {"utility.internal.female": 0.4, "lambda_nest.abroad": 0.6}
    made = make(persons=3_000, world="destinations", effects=effects)
    survey, raw = read_survey(made.codebook), pd.read_csv(made.data)
    sizes = raw.groupby("community").size().to_numpy()
    numbers = draw(1, sizes, 0, len(sizes), 1, more=True)
    chance = numbers.period["uniform"]["choice"][0][survey.rows]
    gamma = dict(zip(*attribute_terms(known), strict=True))
    frame = survey.frame.reset_index(drop=True)
    attributes = {
        (name, place): frame[column].to_numpy(dtype=float)
        for name, of in survey.attributes.items()
        for place, column in of.items()
        if column in frame
    }

    def chosen(*lambdas: float, sigma: float = 0.3) -> list[str]:
        found = []
        for i, origin in enumerate(raw["community"].iloc[survey.rows] - 1):
            utility = {}
            for stream, places in DESTINATIONS.items():
                for place in places:
                    v = kept[f"utility.{stream}.asc"] + known[f"destination.{place}"]
                    v += sigma * numbers.place["normal"][place][origin]
                    v += 0.4 * frame["female"][i] * (stream == "internal")
                    v += sum(g * attributes[name, place][i] for name, g in gamma.items()
                             if (name, place) in attributes)  # fmt: skip
                    utility[place] = v
            p = np.cumsum(_of_places(utility, *lambdas))
            found.append(["stay", *PLACES][int((chance[i] > p[:-1]).sum())])
        return found

    observed = frame["choice"].astype(str)
    assert observed.tolist() == chosen(0.8, 0.4, 0.6)
    for other in (chosen(1, 1, 1), chosen(0.8, 0.6, 0.4), chosen(0.8, 0.4, 0.6, sigma=0.0)):
        assert (observed != other).mean() > 0.02


def test_destinations_become_earlier_moves(make: Callable[..., SimulatedSurvey]) -> None:
    raw = pd.read_csv(make(persons=1_500, world="destinations", periods=2).data)
    first, second = (raw[raw["year"] == year].set_index("person_id") for year in (2010, 2011))
    for stream, codes in (("internal", (1, 2)), ("international", (3, 4))):
        moved = first["move"].isin(codes)
        assert moved.sum() > 20
        before = (first[f"prior_{stream}"] == 1) | moved
        assert (second[f"prior_{stream}"] == before.astype(int)).all()


def test_variants_of_destinations_choose_as_before_at_typical_values() -> None:
    known = true_parameters("destinations", "person")
    _, effects = variant("farther_places_draw_less", "null")
    kilometres = {"town": 60, "capital": 250, "neighbour": 400, "overseas": 2_500}
    assert set(effects) == {"alternatives.distance", *(f"destination.{p}" for p in PLACES)}
    for place, km in kilometres.items():
        at_typical = known[f"destination.{place}"] - 0.5 * math.log(km)
        assert effects[f"destination.{place}"] == pytest.approx(at_typical)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"unit": "household"}, "persons go to one of four places"),
        ({"effects": {"lambda_nest.move": 0.3}}, "lie in move, whose lambda_nest is 0.3"),
        ({"effects": {"curve.international.effect": 1.0}}, "no true parameter"),
    ],
)
def test_impossible_destinations_are_refused(
    make: Callable[..., SimulatedSurvey], arguments: dict[str, Any], what: str
) -> None:
    with pytest.raises(SpecError, match=what):
        make(persons=600, world="destinations", **arguments)


# -------------------------------------------------- covariates and slopes in every world


@pytest.mark.parametrize("world", ["regimes", "communities"])
def test_covariates_stand_beside_what_a_world_has(
    make: Callable[..., SimulatedSurvey], world: str
) -> None:
    keys = {"persons": 1_000, "periods": 2, "world": world}
    usual = make(**keys)
    own = {c for columns in ATTRIBUTES.values() for c in columns.values()} | {"border_distance"}
    own = own if world == "regimes" else {"relative_deprivation"}
    others = [c for c in COVARIATES if c not in own]
    more = make(**keys, effects={f"utility.international.{c}": 0.0 for c in others})
    before, after = pd.read_csv(usual.data), pd.read_csv(more.data)
    pd.testing.assert_frame_equal(after[before.columns], before)
    wanted = {c.replace("network_", "share_") for c in others}
    assert set(after) - set(before) == wanted
    for one, two in zip(usual.tables, more.tables, strict=True):
        assert one.read_bytes() == two.read_bytes()
    survey = read_survey(more.codebook)
    assert survey.attributes["distance"]["international"] == "distance_international"
    distance = survey.column("distance_internal")
    if world == "regimes":
        np.testing.assert_allclose(distance, np.log(survey.column("km_internal")))
    else:
        assert distance.mean() == pytest.approx(5.0, abs=0.5)


def test_covariates_and_settings_are_independent(make: Callable[..., SimulatedSurvey]) -> None:
    """Streams of random numbers with one key would be the same numbers."""
    effects = {"utility.internal.norms": 0.0, "utility.internal.vacancies": 0.0}
    made = make(persons=12_000, periods=2, world="communities", effects=effects)
    places = pd.read_csv(made.data).groupby("community")
    minority = (places["ethnicity"].mean() - 1).clip(0.02, 0.98)
    for column in ("norms", "vacancies"):
        assert abs(np.corrcoef(minority, places[column].first())[0, 1]) < 0.25


def test_terms_of_both_kinds_are_recovered(make: Callable[..., SimulatedSurvey]) -> None:
    """Attributes keep their coefficients beside covariates and columns of the world's own."""
    effects = {
        "utility.international.distance_international": 0.8,
        "utility.internal.female:jobs_internal": 0.5,
        "utility.international.norms": -0.5,
        "utility.international.wealth:norms": 0.3,
    }
    made = make(persons=8_000, world="regimes", periods=3, effects=NO_GROUPS | effects)
    table = _estimates(read_survey(made.codebook), made)
    assert table["z"].abs().max() < 3.5
    assert (table["z"] ** 2).mean() == pytest.approx(1, abs=0.6)
    for name, value in effects.items():
        assert table.loc[name, "truth"] == value
        assert abs(table.loc[name, "estimate"]) / table.loc[name, "error"] > 3


def _by_hand(v: dict[int, float], lam: float) -> dict[int, float]:
    """Probabilities of a nested logit in which 1 and 2, where they are there, share a nest."""
    inside = {j: math.exp(v[j] / lam) for j in (1, 2) if j in v}
    nest = sum(inside.values())
    of_nest = nest**lam / (nest**lam + math.exp(v[0]))
    return {0: 1 - of_nest} | {j: of_nest * e / nest for j, e in inside.items()}


def _flat(unit: Any, effects: dict[str, float]) -> dict[str, float]:
    """Parameters without groups and with no terms but those stated."""
    known = true_parameters("albania", unit)
    none = {n: 0.0 for n in known if n.startswith(("utility.", "sigma_"))}
    return known | none | effects


def test_a_slope_goes_through_nests_and_consideration() -> None:
    """Choices by loops; and those of a plain logit, or without the slope, are others."""
    deviation = {"internal": 1.5, "international": 3.0}
    parameters = _flat(
        "person",
        {
            "utility.internal.asc": -0.6,
            "utility.international.asc": -0.4,
            "utility.international.female": 0.5,
            "lambda_nest.move": 0.3,
            "feasible.international.asc": 0.2,
        }
        | {f"sigma_slope.{s}.household_internal": d for s, d in deviation.items()},
    )
    numbers = draw(5, np.array([300, 250]), 0, 2, 1, more=True)
    raw = rows(numbers, parameters, MEASURES["albania"], "person")
    slope = {s: d * numbers.place["normal"][f"slope_{s}"] for s, d in deviation.items()}
    feasible = 1 / (1 + math.exp(-0.2))

    def chosen(lam: float, share: float, times: float) -> list[int]:
        found = []
        for i, chance in enumerate(numbers.period["uniform"]["choice"][0]):
            place, ties = raw["community"][i] - 1, raw["household_internal"][i] * times
            v = {
                0: 0.0,
                1: -0.6 + slope["internal"][place] * ties,
                2: -0.4 + 0.5 * (raw["sex"][i] == 2) + slope["international"][place] * ties,
            }
            among, without = _by_hand(v, lam), _by_hand({0: v[0], 1: v[1]}, lam)
            p = [share * among[j] + (1 - share) * without[j] for j in (0, 1)]
            found.append(int(chance > p[0]) + int(chance > p[0] + p[1]))
        return found

    assert raw["move"].tolist() == chosen(0.3, feasible, 1)
    for other in (chosen(1.0, feasible, 1), chosen(0.3, 1.0, 1), chosen(0.3, feasible, 0)):
        assert (raw["move"] != other).mean() > 0.02


def test_a_slope_of_both_streams_is_the_sum() -> None:
    deviation = {"internal": 0.8, "international": 1.6}
    parameters = _flat(
        "household",
        {"utility.internal.asc": -0.5, "utility.both.association": 0.4}
        | {f"sigma_slope.{s}.prior_internal": d for s, d in deviation.items()},
    )
    numbers = draw(5, np.array([300, 250]), 0, 2, 1, more=True)
    raw = rows(numbers, parameters, MEASURES["albania"], "household")
    slope = {s: d * numbers.place["normal"][f"slope_{s}"] for s, d in deviation.items()}
    for i, head in enumerate(settle(numbers).heads):
        place, moved = raw["community"][i] - 1, raw["prior_internal"][i]
        v = [0.0, -0.5 + slope["internal"][place] * moved, slope["international"][place] * moved]
        v.append(v[1] + v[2] + 0.4)
        p = [math.exp(value) / sum(map(math.exp, v)) for value in v]
        chance = numbers.period["uniform"]["choice"][0][head]
        assert raw["move"][i] == sum(chance > sum(p[: j + 1]) for j in range(3))
    assert np.ptp(raw["move"]) == 3


@pytest.mark.parametrize(("world", "unit"), WORLDS)
def test_people_choose_by_what_a_reader_gets(
    make: Callable[..., SimulatedSurvey], world: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where some gave no consumption, who are in nobody's reference group."""
    kept, columns = [], settings.Setting.columns

    def noted(self: Any, asked: Any, *rest: Any) -> Any:
        found = columns(self, asked, *rest)
        kept.append(pd.DataFrame(found | {"year": asked["year"], "id": asked[key]}))
        return found

    key = "person_id" if unit == "person" else "household_id"
    monkeypatch.setattr(settings.Setting, "columns", noted)
    made = make(persons=4_000, world=world, unit=unit, periods=2)
    survey = read_survey(made.codebook)
    # What was drawn to see whether all alternatives are chosen comes first, and again.
    chosen = pd.concat(kept).drop_duplicates(["id", "year"], keep="last")
    chosen["id"], chosen["year"] = chosen["id"].astype(str), chosen["year"].astype(str)
    who = pd.DataFrame({"id": survey.role(unit), "year": survey.role("period")})
    of_row = who.merge(chosen, on=["id", "year"], how="left", validate="1:1")
    assert survey.report.missing["consumption" if "consumption" in survey.names else "wealth"] > 0
    for name in set(chosen) - {"id", "year"}:
        np.testing.assert_allclose(
            of_row[name], survey.column(name), rtol=1e-9, atol=1e-12, err_msg=name
        )
