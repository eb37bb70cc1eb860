"""Synthetic surveys: repeatable, built as surveys are, and true to what they say is true."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import bayesmig as bm
from bayesmig.errors import SpecError, SurveyError
from bayesmig.simulation import SimulatedSurvey, simulate
from bayesmig.simulation.population import merged
from bayesmig.simulation.worlds import (
    COVARIATES,
    GROUP_UNITS,
    STREAMS,
    effects_root,
    true_parameters,
)
from bayesmig.survey.networks import community_exposure, household_exposure
from bayesmig.survey.sampling import sampling_of, single_strata
from bayesmig.survey.survey import read_survey
from bayesmig.tomlfile import read_toml
from tests.quick import some_quick

NO_GROUPS = {
    f"sigma_{g}.{a}": 0.0 for g in ("household", "origin") for a in ("internal", "international")
}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SimulatedSurvey]:
    """Simulate into a folder that does not exist yet."""

    def new(**arguments: Any) -> SimulatedSurvey:
        return simulate(tmp_path_factory.mktemp("simulated") / "survey", **{"seed": 1} | arguments)

    return new


@pytest.fixture(scope="module")
def panel(make: Callable[..., SimulatedSurvey]) -> pd.DataFrame:
    return pd.read_csv(make(persons=1_500, periods=3).data)


# ---------------------------------------------------------------------- repeatability


@pytest.mark.parametrize("format", ["csv.gz", "csv", "parquet"])
def test_same_seed_same_bytes(make: Callable[..., SimulatedSurvey], format: str) -> None:
    one, two = (make(persons=800, format=format) for _ in range(2))
    for a, b in zip(sorted(one.folder.iterdir()), sorted(two.folder.iterdir()), strict=True):
        assert (a.name, a.read_bytes()) == (b.name, b.read_bytes())
    other = make(persons=800, format=format, seed=2)
    assert other.data.read_bytes() != one.data.read_bytes()


@pytest.mark.parametrize("block", [1, 700, 10**9])
@pytest.mark.parametrize("unit", ["person", "household"])
def test_block_changes_no_byte(make: Callable[..., SimulatedSurvey], unit: str, block: int) -> None:
    whole = make(persons=2_000, unit=unit, periods=2)
    parts = make(persons=2_000, unit=unit, periods=2, block=block)
    assert parts.data.read_bytes() == whole.data.read_bytes()
    assert parts.rows == whole.rows


def test_formats_hold_the_same(make: Callable[..., SimulatedSurvey]) -> None:
    packed, plain, columnar = (
        make(persons=800, block=300, format=f) for f in ("csv.gz", "csv", "parquet")
    )
    expected = pd.read_csv(plain.data)
    pd.testing.assert_frame_equal(pd.read_csv(packed.data), expected)
    pd.testing.assert_frame_equal(pd.read_parquet(columnar.data), expected)
    assert packed.data.read_bytes()[4:8] == bytes(4)  # gzip's time stamp


def test_larger_survey_begins_with_the_smaller(make: Callable[..., SimulatedSurvey]) -> None:
    small, large = (pd.read_csv(make(persons=n).data) for n in (1_000, 3_000))
    small = small[small["community"] < small["community"].max()].drop(columns="stratum")
    assert len(small) > 500
    # Strata of the smaller one are merged where a place was alone.
    pd.testing.assert_frame_equal(small, large.iloc[: len(small)].drop(columns="stratum"))


def test_longer_panel_begins_with_the_shorter(
    make: Callable[..., SimulatedSurvey], panel: pd.DataFrame
) -> None:
    cross_section = pd.read_csv(make(persons=1_500).data)
    first = panel[panel["year"] == panel["year"].min()].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, cross_section)


def test_effects_leave_the_people_alone(make: Callable[..., SimulatedSurvey]) -> None:
    usual = pd.read_csv(make(persons=1_000).data)
    changed = pd.read_csv(make(persons=1_000, effects={"utility.internal.asc": 0.0}).data)
    assert (changed["move"] == 1).sum() > 2 * (usual["move"] == 1).sum()
    pd.testing.assert_frame_equal(usual.drop(columns="move"), changed.drop(columns="move"))


# -------------------------------------------------------------------------- structure


@pytest.mark.parametrize("persons", [500, 1_237])
def test_persons_are_exact(make: Callable[..., SimulatedSurvey], persons: int) -> None:
    survey = make(persons=persons)
    frame = pd.read_csv(survey.data)
    assert len(frame) == survey.rows == persons == frame["person_id"].nunique()
    sizes = frame.groupby("community").size()
    assert sizes.min() >= 20
    assert sizes.max() > 1.5 * sizes.min()


def test_homes(panel: pd.DataFrame) -> None:
    people = panel[panel["year"] == panel["year"].min()]
    homes = people.groupby("household_id")
    assert homes["community"].nunique().max() == 1
    assert set(homes.size()) == set(range(1, 9))
    assert homes["consumption"].nunique().max() == 1
    assert (
        people.groupby("community")[["region", "stratum", "residence"]].nunique().max().max() == 1
    )
    assert people.groupby("stratum")["residence"].nunique().max() == 1
    assert people["age"].between(15, 50).all()
    assert 0.4 < (people["sex"] == 2).mean() < 0.6
    assert homes["sex"].nunique().mean() > 0.4
    assert homes["age"].agg(np.ptp).mean() > 5


@pytest.mark.parametrize("unit", ["person", "household"])
@pytest.mark.parametrize("world", ["albania", "indonesia"])
@pytest.mark.parametrize("persons", [500, 2_000, 5_000])
def test_no_stratum_has_one_psu(
    make: Callable[..., SimulatedSurvey], persons: int, world: str, unit: str
) -> None:
    made = make(persons=persons, world=world, unit=unit)
    survey = read_survey(made.codebook)
    assert single_strata(survey) == ()
    assert "one PSU only" not in str(survey.describe())
    frame = pd.read_csv(made.data)
    assert frame.groupby("stratum")["residence"].nunique().max() == 1
    # Places that are not alone stay where they were; some were alone.
    places = frame.drop_duplicates("community")
    drawn = places["region"] * 10 + places["residence"]
    several = drawn.map(drawn.value_counts()) > 1
    assert (places["stratum"] == drawn)[several].all()
    assert (places["stratum"] != drawn).any()


@pytest.mark.parametrize(
    ("strata", "expected"),
    [
        # Country 12 joins 32; towns 21 join 11, and then towns 41, to which 21 was nearer.
        ([11, 11, 21, 41, 12, 32, 32], [11, 11, 11, 11, 32, 32, 32]),
        # Region 2 is as near to 1 as to 3.
        ([31, 31, 21, 11, 11], [31, 31, 11, 11, 11]),
        # No other towns; two that were alone make one; nobody else at all.
        ([11, 22, 22, 32, 32], [22, 22, 22, 32, 32]),
        ([11, 51], [51, 51]),
        ([11], [11]),
    ],
)
def test_places_alone_in_their_stratum_join_the_nearest_of_their_kind(
    strata: list[int], expected: list[int]
) -> None:
    given = np.array(strata)
    assert merged(given).tolist() == expected
    assert given.tolist() == strata


def test_samples_of_a_simulated_population_are_informative_and_clustered(
    make: Callable[..., SimulatedSurvey],
) -> None:
    people = read_survey(make(persons=20_000).codebook).frame
    options = {"psu": "origin", "psus": 200, "persons": 20, "seed": 1}
    sample = bm.draw_sample(people, favour={"international": 5.0}, **options)
    true = (people["choice"] == "international").mean()
    away = sample["choice"] == "international"
    # Without weights the sample says of the population what is wrong; with them, what is right.
    assert away.mean() > 2.5 * true
    of_psus = (away * sample["weight"]).groupby(sample["psu"]).sum() / len(people)
    error = of_psus.std() * np.sqrt(200)
    assert abs(np.average(away, weights=sample["weight"]) - true) < 3 * error
    assert sample["weight"].sum() == pytest.approx(len(people), rel=0.05)
    # The negative control: nobody is favoured.
    plain = bm.draw_sample(people, **options)
    assert (plain["choice"] == "international").mean() == pytest.approx(true, abs=3 * error)
    roles = {"choice": "choice", "weight": "weight", "psu": "psu", "origin": "origin"}
    alternatives = {a: a for a in ("stay", "internal", "international")}
    survey = read_survey(sample, roles, alternatives=alternatives)
    assert sampling_of(survey).note == "200 PSUs in 1 stratum"


def test_exposure_leaves_the_own_household_out(panel: pd.DataFrame) -> None:
    """Count earlier movers once more, person by person."""
    for year, rows in panel.groupby("year"):
        for stream in ("internal", "international"):
            records = rows.to_dict("records")
            by_place, by_home = defaultdict(list), defaultdict(list)
            for r in records:
                by_place[r["community"]].append(r)
                by_home[r["household_id"]].append(r)
            for r in records[::7]:
                others = [
                    o for o in by_place[r["community"]] if o["household_id"] != r["household_id"]
                ]
                share = sum(o[f"prior_{stream}"] for o in others) / len(others)
                assert math.isclose(r[f"share_{stream}"], share, abs_tol=6e-5), year
                kin = [o for o in by_home[r["household_id"]] if o["person_id"] != r["person_id"]]
                assert r[f"household_{stream}"] == sum(o[f"prior_{stream}"] for o in kin)


@pytest.mark.parametrize("stream", ["internal", "international"])
def test_exposure_agrees_with_networks(panel: pd.DataFrame, stream: str) -> None:
    prior, household, period = f"prior_{stream}", "household_id", "year"
    share = community_exposure(
        panel, prior=prior, household=household, community="community", period=period
    )
    np.testing.assert_allclose(panel[f"share_{stream}"], share, atol=6e-5)
    count = household_exposure(panel, prior=prior, household=household, period=period)
    np.testing.assert_array_equal(panel[f"household_{stream}"], count)


def test_moves_become_earlier_moves(panel: pd.DataFrame) -> None:
    seen: Counter[str] = Counter()
    for before, after in pairwise(panel.to_dict("records")):
        if after["person_id"] != before["person_id"]:
            assert after["year"] == panel["year"].min()
            continue
        assert after["year"] == before["year"] + 1
        assert after["age"] == before["age"] + 1
        for code, stream in ((1, "internal"), (2, "international")):
            expected = before[f"prior_{stream}"] or before["move"] == code
            assert after[f"prior_{stream}"] == expected
            seen[stream] += after[f"prior_{stream}"] > before[f"prior_{stream}"]
    assert min(seen.values()) > 10


def test_towns_are_sampled_more(make: Callable[..., SimulatedSurvey]) -> None:
    frame = pd.read_csv(make(persons=50_000).data)
    urban = frame["residence"] == 1
    assert frame["weight"].mean() == pytest.approx(1, abs=0.04)
    assert urban.mean() == pytest.approx(0.50, abs=0.04)
    assert (urban * frame["weight"]).sum() / frame["weight"].sum() == pytest.approx(0.38, abs=0.04)


def test_education_declines_with_age_above_all_for_women(panel: pd.DataFrame) -> None:
    asked = panel[panel["education_years"] != 98]
    slope = {
        sex: np.polyfit(rows["age"], rows["education_years"], 1)[0]
        for sex, rows in asked[asked["age"] > 22].groupby("sex")
    }
    assert slope[2] < slope[1] < 0


# --------------------------------------------------------------------- read as surveys

SHARED = {"origin", "region", "period", "weight", "strata", "psu", "household", "choice", "wealth",
          "urban", "prior_internal", "prior_international", "network_internal",
          "network_international"}  # fmt: skip
TIDY = {
    "person": SHARED | {"person", "female", "age", "age_10", "education", "household_internal",
                        "household_international", "age_group", "education_group",
                        "wealth_group"},
    "household": SHARED | {"size", "head_female", "head_age_10", "head_education"},
}  # fmt: skip
PLAUSIBLE = {
    "albania": {"stay": (0.80, 0.90), "internal": (0.07, 0.14), "international": (0.02, 0.06)},
    "indonesia": {"stay": (0.80, 0.90), "internal": (0.10, 0.15), "international": (0.004, 0.03)},
}


@pytest.mark.parametrize("unit", ["person", "household"])
@pytest.mark.parametrize("world", ["albania", "indonesia"])
def test_codebook_yields_the_tidy_survey(
    make: Callable[..., SimulatedSurvey], world: str, unit: str
) -> None:
    made = make(persons=20_000, world=world, unit=unit)
    survey = read_survey(made.codebook)
    frame = survey.frame
    assert set(frame.columns) == TIDY[unit]
    assert 0.97 * made.rows < len(frame) < made.rows
    assert (
        survey.alternatives
        == ("stay", "internal", "international", "both")[: 3 + (unit == "household")]
    )
    assert abs(frame["wealth"].mean()) < 0.1
    assert frame["wealth"].std() == pytest.approx(1, abs=0.05)
    shares = frame["choice"].value_counts(normalize=True)
    for alternative, (low, high) in PLAUSIBLE[world].items():
        assert low < shares[alternative] < high, alternative
    if world == "albania":
        for stream in ("internal", "international"):
            assert frame[f"network_{stream}"].min() >= 0
            assert frame[f"network_{stream}"].std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("unit", some_quick(["person", "household"], {"person"}))
@pytest.mark.parametrize("world", some_quick(["albania", "indonesia"], {"indonesia"}))
def test_every_alternative_of_a_small_survey_is_chosen(
    tmp_path: Path, world: str, unit: str
) -> None:
    redrawn = 0
    for seed in range(12):
        made = simulate(
            tmp_path / "s", persons=500, seed=seed, world=world, unit=unit, overwrite=True
        )  # type: ignore[arg-type]
        assert read_survey(made.codebook).frame["choice"].value_counts().min() > 0
        redrawn += read_toml(made.truth)["redraws"] > 0
    assert (redrawn > 0) == ((world, unit) != ("albania", "person"))


def test_redrawn_choices_are_repeatable_and_of_the_same_people(
    make: Callable[..., SimulatedSurvey],
) -> None:
    """A seed at which nobody went abroad; with more periods somebody does, of their own accord."""
    rare = {"world": "indonesia", "persons": 500, "seed": 22}
    one, two = make(**rare), make(**rare, block=100)
    assert read_toml(one.truth)["redraws"] > 0
    assert one.data.read_bytes() == two.data.read_bytes()
    people = [pd.read_csv(make(**rare | changed).data) for changed in ({}, {"periods": 4})]
    first = people[1][people[1]["year"] == people[1]["year"].min()].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        people[0].drop(columns="move"), first.drop(columns="move"), check_dtype=False
    )


def test_an_alternative_that_nobody_can_choose_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        simulate(tmp_path / "s", persons=500, seed=1, effects={"utility.international.asc": -40.0})
    assert "nobody chose 'international'" in caught.value.what
    assert "more persons" in caught.value.mend
    assert list(tmp_path.iterdir()) == []


def test_larger_default_surveys_have_no_suspicious_columns(
    make: Callable[..., SimulatedSurvey],
) -> None:
    assert read_survey(make(persons=5_000).codebook).report.suspicious == ()


# ------------------------------------------------------------------------------- truth


def _truth(made: SimulatedSurvey) -> dict[str, dict[str, float]]:
    """Coefficients by alternative, as truth.toml tells them."""
    told = read_toml(made.truth)
    utility: dict[str, dict[str, float]] = dict(told["true"]["utility"])
    return utility | told.get("implied", {}).get("utility", {})


def _z_scores(made: SimulatedSurvey, truth: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Estimate all coefficients by plain maximum likelihood; distance to truth in SE."""
    frame = read_survey(made.codebook).frame
    terms = list(truth["internal"])
    X = np.column_stack([_product(frame, term) for term in terms])
    spread = np.where(X.std(axis=0) > 0, X.std(axis=0), 1)  # for the optimiser's sake
    estimate, variance = _multinomial(X / spread, frame["choice"].cat.codes.to_numpy())
    estimate = estimate / spread[:, None]
    moves = list(frame["choice"].cat.categories[1:])
    error = np.sqrt(np.diag(variance)).reshape(estimate.shape) / spread[:, None]
    expected = np.array([[truth[move][term] for move in moves] for term in terms])
    return pd.DataFrame((estimate - expected) / error, index=terms, columns=moves)


def _product(frame: pd.DataFrame, term: str) -> Any:
    if term == "asc":
        return np.ones(len(frame))
    return math.prod(frame[column].to_numpy(dtype=float) for column in term.split(":"))


def _multinomial(X: Any, choice: Any) -> tuple[Any, Any]:
    """Maximum likelihood of a multinomial logit: coefficients and inverse information."""
    n, k = X.shape
    chosen = np.eye(choice.max() + 1)[choice]
    j = chosen.shape[1] - 1

    def probabilities(beta: Any) -> Any:
        V = np.column_stack([np.zeros(n), X @ beta.reshape(k, j)])
        exp = np.exp(V - V.max(axis=1, keepdims=True))
        return exp / exp.sum(axis=1, keepdims=True)

    def loss(beta: Any) -> tuple[float, Any]:
        p = probabilities(beta)
        gradient = X.T @ (p - chosen)[:, 1:]
        return -np.log((p * chosen).sum(axis=1)).sum(), gradient.ravel()

    def information(beta: Any) -> Any:
        p = probabilities(beta)[:, 1:]
        blocks = np.empty((k, j, k, j))
        for a in range(j):
            for b in range(j):
                weight = p[:, a] * ((a == b) - p[:, b])
                blocks[:, a, :, b] = X.T @ (X * weight[:, None])
        return blocks.reshape(k * j, k * j)

    found = minimize(
        loss, np.zeros(k * j), jac=True, method="BFGS", options={"gtol": 1e-3 * math.sqrt(n)}
    )
    beta = found.x
    for _ in range(2):  # the log-likelihood is concave: Newton steps polish
        beta = beta - np.linalg.solve(information(beta), loss(beta)[1])
    assert np.abs(loss(beta)[1]).max() < 1e-5
    return beta.reshape(k, j), np.linalg.inv(information(beta))


@pytest.mark.parametrize("world", ["albania", "indonesia"])
def test_truth_is_recovered(make: Callable[..., SimulatedSurvey], world: str) -> None:
    """And a truth with one wrong sign is not: the check would have seen it."""
    made = make(persons=20_000, world=world, effects=NO_GROUPS)
    truth = _truth(made)
    z = _z_scores(made, truth)
    assert z.abs().max().max() < 3
    assert (z.to_numpy() ** 2).mean() == pytest.approx(1, abs=0.7)

    wealth = truth["international"]["wealth"]
    wrong = truth | {"international": truth["international"] | {"wealth": -wealth}}
    assert abs(_z_scores(made, wrong).loc["wealth", "international"]) > 3


def test_truth_is_not_recovered_from_another_world(make: Callable[..., SimulatedSurvey]) -> None:
    usual = _truth(make(persons=500, effects=NO_GROUPS))
    flipped = make(
        persons=20_000, effects=NO_GROUPS | {"utility.international.network_international": -0.6}
    )
    z = _z_scores(flipped, usual).abs()
    assert z.loc["network_international", "international"] > 3
    assert z.drop(index="network_international").max().max() < 4


def test_truth_of_households_is_recovered(make: Callable[..., SimulatedSurvey]) -> None:
    none = {f"sigma_origin.{a}": 0.0 for a in ("internal", "international", "both")}
    more = {"utility.international.asc": -3.0}  # so that both streams at once are not rare
    made = make(persons=60_000, unit="household", effects=none | more)
    truth = _truth(made)
    association = read_toml(made.truth)["true"]["utility"]["both"]["association"]
    sums = truth["internal"]["asc"] + truth["international"]["asc"]
    assert truth["both"]["asc"] == pytest.approx(sums + association)
    assert association > 0
    z = _z_scores(made, truth)
    assert z.abs().max().max() < 3.3
    independent = truth | {"both": truth["both"] | {"asc": sums - association}}
    assert abs(_z_scores(made, independent).loc["asc", "both"]) > 3


def test_group_effects_spread_origins_and_hold_homes_together(
    make: Callable[..., SimulatedSurvey],
) -> None:
    """Where nothing else matters: variance of shares, and pairs who both move, over chance."""
    flat = {n: 0.0 for n in true_parameters("albania", "person") if n.startswith("utility.")}
    flat = flat | NO_GROUPS | {"utility.international.asc": -2.0, "utility.internal.asc": -1.0}
    excess = {}
    for name in ("none", "sigma_origin.international", "sigma_household.international"):
        effects = flat | ({name: 1.2} if name != "none" else {})
        frame = pd.read_csv(make(persons=20_000, effects=effects).data)
        moved = frame["move"] == 2
        excess[name] = [
            _excess(moved, frame[group]) / moved.mean() ** 2
            for group in ("community", "household_id")
        ]
    assert np.abs(excess["none"]).max() < 0.1
    assert min(excess["sigma_origin.international"]) > 0.3
    assert excess["sigma_household.international"][1] > 0.3
    assert excess["sigma_household.international"][0] < 0.1


def _excess(moved: pd.Series, group: pd.Series) -> float:
    """Share of pairs within groups in which both moved, less what chance would give."""
    movers, size = moved.groupby(group).sum(), moved.groupby(group).size()
    return (movers * (movers - 1)).sum() / (size * (size - 1)).sum() - moved.mean() ** 2


@pytest.mark.parametrize("unit", ["person", "household"])
def test_effects_have_the_true_covariance(unit: Any) -> None:
    parameters = true_parameters("albania", unit)
    root = effects_root(parameters, "origin", unit)
    assert np.allclose(root, np.tril(root))
    covariance = root @ root.T
    assert covariance[0, 0] == pytest.approx(0.5**2)
    assert covariance[0, 1] == pytest.approx(-0.2 * 0.5 * 1.2)
    parameters["corr_origin.internal:international"] = 1.0
    assert effects_root(parameters, "origin", unit)[1, 1] == 0


def test_effects_replace_parameters_by_name(make: Callable[..., SimulatedSurvey]) -> None:
    effects = {"utility.internal.female:age_10": 0.25, "history.internal.asc": np.float64(-1)}
    told = read_toml(make(persons=500, effects=effects).truth)
    assert told["true"]["utility"]["internal"]["female:age_10"] == 0.25
    assert told["true"]["history"]["internal"]["asc"] == -1
    assert told["arguments"]["effects"] == effects
    flat = {
        f"{a}.{b}.{c}"
        for a in ("utility", "history")
        for b, table in told["true"][a].items()
        for c in table
    }
    assert flat < set(true_parameters("albania", "person"))


# ----------------------------------------------------------------- other than a logit


def _probabilities(frame: pd.DataFrame, of: dict[str, float]) -> np.ndarray:
    """Of every person, by the letter: curve, then nest, then feasible sets."""
    terms = [t.removeprefix("utility.internal.") for t in of if t.startswith("utility.internal.")]
    rows = []
    columns = {t: _product(frame, t) for t in terms}
    for i in range(len(frame)):
        v = {
            a: math.fsum(of[f"utility.{a}.{t}"] * columns[t][i] for t in terms)
            for a in ("internal", "international")
        }
        network, wealth = frame["network_international"].iloc[i], frame["wealth"].iloc[i]
        half, q = (of[f"curve.international.{k}"] for k in ("half_saturation", "exponent"))
        v["international"] += of["curve.international.effect"] * network**q / (network**q + half**q)
        lam = of["lambda_nest.move"]
        both = math.fsum(math.exp(x / lam) for x in v.values())
        go = both**lam / (1 + both**lam)
        everything = [1 - go, *(go * math.exp(x / lam) / both for x in v.values())]
        stay = 1 / (1 + math.exp(v["internal"]))
        odds = (
            of["feasible.international.asc"]
            + of["feasible.international.wealth"] * wealth
            + of["feasible.international.network_international"] * network
            + of["feasible.international.log1p(network_international)"] * math.log1p(network)
        )
        if price := of.get("feasible.international.cost"):
            odds += price * frame["cost_international"].iloc[i]
        able = 1 / (1 + math.exp(-odds))
        without = [stay, 1 - stay, 0.0]
        rows.append([able * a + (1 - able) * b for a, b in zip(everything, without, strict=True)])
    return np.array(rows)


BEYOND_WORLDS: dict[str, dict[str, float]] = {
    "logit": {},
    "nest": {"lambda_nest.move": 0.3},
    "curve": {"curve.international.effect": 3.0},
    "feasible": {
        "feasible.international.asc": -1.0,
        "feasible.international.wealth": 2.0,
        "feasible.international.network_international": 0.5,
    },
    "feasible by logs": {
        "feasible.international.asc": -3.0,
        "feasible.international.log1p(network_international)": 2.5,
    },
}


@pytest.mark.parametrize("name", some_quick(BEYOND_WORLDS, {"nest"}))
def test_choices_follow_what_is_true_beside_the_logit(
    make: Callable[..., SimulatedSurvey], name: str
) -> None:
    """Squared errors, standardised, are what they are by chance; under another truth not."""
    raised = NO_GROUPS | {"utility.international.asc": -2.0, "utility.internal.asc": -1.0}
    made = make(persons=12_000, effects=raised | BEYOND_WORLDS[name])
    frame = read_survey(made.codebook).frame
    chosen = np.eye(3)[frame["choice"].cat.codes.to_numpy()]
    by = frame["wealth"].rank(pct=True).mul(4).clip(upper=3.999).astype(int) * 4 + (
        frame["network_international"].rank(pct=True).mul(4).clip(upper=3.999).astype(int)
    )

    def misfit(other: str) -> float:
        p = _probabilities(frame, true_parameters("albania", "person") | raised
                           | BEYOND_WORLDS[other])  # fmt: skip
        cells = by.to_numpy()
        total = 0.0
        for cell in range(16):
            here = cells == cell
            gap = (chosen[here] - p[here]).sum(axis=0)
            total += float((gap**2 / (p[here] * (1 - p[here])).sum(axis=0)).sum())
        return total / 48

    assert misfit(name) < 1.6
    assert all(misfit(other) > 2 for other in BEYOND_WORLDS if other != name)


def test_fares_make_moves_abroad_infeasible(make: Callable[..., SimulatedSurvey]) -> None:
    known = true_parameters("regimes", "person")
    none = {n: 0.0 for n in known if n.startswith(("utility.", "sigma_", "alternatives."))}
    stated = none | {"utility.international.asc": 0.5, "utility.internal.asc": -1.0}
    odds = {"feasible.international.asc": 5.0, "feasible.international.cost": -2.5}
    made = make(persons=6_000, world="regimes", effects=stated | odds)
    frame = read_survey(made.codebook).frame.assign(network_international=0.0)
    dear = frame["cost_international"].rank(pct=True).mul(4).clip(upper=3.999).astype(int)
    cost = {"internal": "cost_internal", "international": "cost_international"}
    assert read_survey(made.codebook).attributes["cost"] == {"stay": 0.0, **cost}

    def misfit(price: float) -> float:
        asked = known | stated | odds | {"feasible.international.cost": price}
        gap = (frame["choice"] == "international") - _probabilities(frame, asked)[:, 2]
        return float(np.abs(gap.groupby(dear).mean()).max())

    assert misfit(-2.5) < 0.03
    assert min(map(misfit, (0.0, -1.5, 2.5))) > 0.05


def test_what_leaves_a_logit_one_changes_no_byte(make: Callable[..., SimulatedSurvey]) -> None:
    """Nor do the parts that come in, where they say nothing."""
    plain = make(persons=600).data.read_bytes()
    same = {"lambda_nest.move": 1.0, "curve.international.exponent": 1.7}
    assert make(persons=600, effects=same).data.read_bytes() == plain
    nearly = {"lambda_nest.move": 1 - 1e-12, "feasible.international.wealth": 1e-12}
    assert make(persons=600, effects=nearly).data.read_bytes() == plain
    other = make(persons=600, effects={"lambda_nest.move": 0.5}).data.read_bytes()
    assert other != plain


# ------------------------------------------------------------------------------ errors

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"persons": 499}, "persons is 499", "from 500 to 1,000,000"),
    ({"persons": 1_000_001}, "persons is 1,000,001", "from 500"),
    ({"persons": 1e3}, "persons is 1000.0", "whole number"),
    ({"persons": True}, "persons is True", "whole number"),
    ({"seed": -1}, "seed is -1", "at least 0"),
    ({"seed": None}, "seed is None", "whole number"),
    ({"periods": 0}, "periods is 0", "from 1 to 20"),
    ({"periods": 21}, "periods is 21", "from 1 to 20"),
    ({"block": 0}, "block is 0", "at least 1"),
    ({"unit": "households"}, "'households'", "'household'"),
    ({"effects": {"lambda_nest.move": 0.0}}, "lambda_nest.move is 0", "above 0 and at most 1"),
    ({"effects": {"lambda_nest.move": 1.1}}, "lambda_nest.move is 1.1", "above 0 and at most 1"),
    ({"effects": {"curve.international.exponent": -1.0}}, "exponent is -1", "above 0"),
    (
        {"unit": "household", "effects": {"lambda_nest.move": 0.5}},
        "no true parameter 'lambda_nest.move'",
        "",
    ),
    ({"world": "Albania"}, "'Albania'", "'albania'"),
    ({"format": "csv.zip"}, "'csv.zip'", "'csv.gz'"),
    ({"effects": {"utility.internal.femal": 1}}, "internal.femal'", "utility.internal.female'"),
    ({"effects": {"utility.both.association": 1}}, "association", "truth.toml"),
    ({"effects": {"utility.internal.female": math.nan}}, "nan", "finite"),
    ({"effects": {"utility.internal.female": "1"}}, "'1'", "number"),
    ({"effects": {"utility.internal.female": True}}, "True", "number"),
    ({"effects": {"sigma_origin.internal": -1}}, "-1", "≥ 0"),
    ({"effects": {"history.internal.sigma_origin": -1}}, "-1", "≥ 0"),
    ({"effects": {"corr_origin.internal:international": 1.5}}, "1.5", "from -1 to 1"),
    ({"effects": {"corr_origin.internal:both": -0.9, "corr_origin.internal:international": 0.9},
      "unit": "household"}, "eigenvalue", "closer to zero"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "what", "mend"), WRONG)
def test_wrong_argument_is_refused(
    tmp_path: Path, arguments: dict[str, Any], what: str, mend: str
) -> None:
    with pytest.raises(SpecError) as caught:
        simulate(tmp_path / "new", **{"seed": 1} | arguments)
    assert what in caught.value.what
    assert mend in caught.value.mend
    assert "argument" in caught.value.where[0]
    assert list(tmp_path.iterdir()) == []


def test_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(SurveyError, match=r"mine\.txt"):
            simulate(tmp_path, persons=500, seed=1, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(SurveyError):
            simulate(folder, persons=500, seed=1)


def test_only_a_simulated_survey_is_overwritten(tmp_path: Path) -> None:
    made = simulate(tmp_path / "s", persons=500, seed=1)
    before = made.data.read_bytes()
    with pytest.raises(SurveyError, match="overwrite=True"):
        simulate(made.folder, persons=500, seed=2)
    assert made.data.read_bytes() == before
    again = simulate(made.folder, persons=500, seed=2, format="csv", overwrite=True)
    assert {p.name for p in made.folder.iterdir()} == {"survey.csv", "survey.toml", "truth.toml"}
    (made.folder / "truth.toml").write_text("written_by = 'hand'")
    with pytest.raises(SurveyError, match="other things"):
        simulate(made.folder, persons=500, seed=2, overwrite=True)
    assert again.data.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_empty_folder_is_used_and_parents_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b"):
        assert simulate(folder, persons=500, seed=1).codebook.exists()


def test_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "s", persons=500, seed=1, progress=stop, block=100)
    assert list(tmp_path.iterdir()) == []
    simulate(tmp_path / "s", persons=500, seed=1)
    kept = (tmp_path / "s" / "survey.csv.gz").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "s", persons=500, seed=2, progress=stop, overwrite=True)
    assert (tmp_path / "s" / "survey.csv.gz").read_bytes() == kept


def test_progress_is_reported_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[int, int]] = []
    simulate(
        tmp_path / "s", persons=2_000, seed=1, block=500, unit="household",
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert len(calls) > 2
    assert [c[0] for c in calls] == sorted({c[0] for c in calls})
    assert calls[-1] == (2_000, 2_000)
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------- declared worlds


def named(*columns: str) -> dict[str, float]:
    return {f"utility.international.{c}": 0.0 for c in columns}


def test_covariates_are_there_where_they_are_named_and_change_nobody_else(
    make: Callable[..., SimulatedSurvey],
) -> None:
    usual = pd.read_csv(make(persons=1_000, periods=2).data)
    more = pd.read_csv(make(persons=1_000, periods=2, effects=named(*COVARIATES)).data)
    pd.testing.assert_frame_equal(more[usual.columns], usual)
    raw = {c.replace("network_", "share_") if c.startswith("network_") else c for c in COVARIATES}
    assert set(more) - set(usual) == raw
    few = pd.read_csv(make(persons=1_000, periods=2, effects=named("norms:female")).data)
    assert set(few) - set(usual) == {"norms"}
    pd.testing.assert_series_equal(few["norms"], more["norms"])


def test_kin_are_the_other_two_of_three_households(make: Callable[..., SimulatedSurvey]) -> None:
    """By loops over households in the order of the file."""
    frame = pd.read_csv(make(persons=1_500, effects=named("kin_internal")).data)
    moved = frame.groupby("household_id", sort=False)["prior_internal"].sum()
    expected = {}
    for _, here in frame.groupby("community", sort=False):
        homes = list(dict.fromkeys(here["household_id"]))
        for number, home in enumerate(homes):
            others = homes[number // 3 * 3 : number // 3 * 3 + 3]
            expected[home] = sum(moved[other] for other in others if other != home)
    assert frame["kin_internal"].tolist() == [expected[h] for h in frame["household_id"]]
    assert frame["kin_internal"].max() > 1


@pytest.mark.parametrize("stream", ["internal", "international"])
def test_shares_of_groups_by_loops(make: Callable[..., SimulatedSurvey], stream: str) -> None:
    """Every third household of an origin, in the order of the file, is of the smaller group."""
    names = f"own_group_{stream}", f"other_group_{stream}"
    frame = pd.read_csv(make(persons=900, effects=named(*names)).data)
    unit, expected = GROUP_UNITS[stream], []
    for _, here in frame.groupby("community", sort=False):
        number = {home: i for i, home in enumerate(dict.fromkeys(here["household_id"]))}
        few = here["household_id"].map(number) % 3 == 0
        for home, is_few in zip(here["household_id"], few, strict=True):
            others = here["household_id"] != home
            both = [
                here.loc[others & (few == side), f"prior_{stream}"] for side in (is_few, not is_few)
            ]
            expected.append([of.mean() / unit if len(of) else 0.0 for of in both])
    found = frame[list(names)].to_numpy()
    assert found == pytest.approx(np.array(expected), abs=1e-3)
    assert (found[:, 0] != found[:, 1]).mean() > 0.5


@pytest.mark.parametrize("stream", STREAMS)
def test_returnees_and_those_away_by_loops(
    make: Callable[..., SimulatedSurvey], stream: str
) -> None:
    names = f"returned_{stream}", f"away_{stream}"
    frame = pd.read_csv(make(persons=900, effects=named(*names)).data)
    expected = []
    for _, here in frame.groupby("community", sort=False):
        for home in here["household_id"]:
            others = here[here["household_id"] != home]
            back = others["age"] >= 30
            of = [(others[f"prior_{stream}"] * side).mean() for side in (back, ~back)]
            unit = {"internal": 0.1, "international": 0.06}[stream]
            expected.append([0.0 if np.isnan(share) else share / unit for share in of])
    assert frame[list(names)].to_numpy() == pytest.approx(np.array(expected), abs=1e-3)
    assert frame[list(names)].std().min() > 0.1


def test_covariates_vary_over_what_they_say(make: Callable[..., SimulatedSurvey]) -> None:
    made = make(persons=6_000, periods=2, effects=named(*COVARIATES))
    frame = pd.read_csv(made.data)
    of_rows = ("relative_deprivation", "remittances", "border_enforcement")
    of_places = [c for c in COVARIATES if c in frame and c not in of_rows]
    of_homes = ("jobs_", "kin_", "own_", "other_", "returned_", "away_")
    fixed = [c for c in of_places if not c.startswith(of_homes)]
    assert frame.groupby("community")[fixed].nunique().max().max() == 1
    jobs = frame.groupby(["community", "sex"])[["jobs_internal", "jobs_international"]]
    assert jobs.nunique().max().max() == 1
    assert frame.groupby("community")["jobs_internal"].nunique().max() == 2
    at = frame.groupby(["community", "year"])["border_enforcement"]
    assert at.nunique().max() == 1
    assert frame["border_enforcement"].nunique() == at.ngroups
    assert ((frame["remittances"] > 0) == (frame["household_international"] > 0)).all()
    homes = frame.groupby(["household_id", "year"])
    assert homes["relative_deprivation"].nunique().max() == 1
    assert homes["kin_international"].nunique().max() == 1
    for column in ("norms", "vacancies"):
        places = frame.groupby("community")[column].first()
        assert abs(places.mean()) < 0.4
        assert 0.7 < places.std() < 1.3
    survey = read_survey(made.codebook)
    assert dict(survey.attributes)["distance"]["international"] == "distance_international"


def test_relative_deprivation_and_networks_of_women_by_loops(
    make: Callable[..., SimulatedSurvey],
) -> None:
    effects = named("relative_deprivation", "network_internal_women")
    frame = pd.read_csv(make(persons=600, effects=effects).data)
    rows = list(frame.itertuples())
    # Consumption that nobody told is in the file as a code, and was in the sum before.
    told = {r.community for r in rows} - {r.community for r in rows if r.consumption > 10**7}
    checked = 0
    for r in rows[::7]:
        here = [o for o in rows if o.community == r.community]
        others = [o for o in here if o.household_id != r.household_id]
        women = [o.prior_internal for o in others if o.sex == 2]
        assert r.share_internal_women == pytest.approx(sum(women) / max(len(women), 1), abs=1e-4)
        if r.community not in told:
            continue
        incomes = {o.household_id: o.consumption for o in here}
        short = [max(y - r.consumption, 0) for y in incomes.values()]
        expected = sum(short) / sum(incomes.values())
        assert r.relative_deprivation == pytest.approx(expected, abs=1e-4)
        checked += 1
    assert checked > 20


def test_a_slope_varies_over_origins(make: Callable[..., SimulatedSurvey]) -> None:
    """Household ties matter alike everywhere, or more in some places: both from one seed."""
    alike = {"utility.internal.household_internal": 0.0, **NO_GROUPS}
    spread = {**alike, "sigma_slope.internal.household_internal": 2.0}

    def by_place(effects: dict[str, float]) -> pd.Series:
        frame = pd.read_csv(make(persons=12_000, effects=effects).data)
        tied = frame[frame["household_internal"] > 0]
        return (tied["move"] == 1).groupby(tied["community"]).mean()

    same, different = by_place(alike), by_place(spread)
    assert different.std() > 1.5 * same.std()


def test_declared_terms_are_recovered(make: Callable[..., SimulatedSurvey]) -> None:
    effects = {
        **NO_GROUPS,
        "utility.international.border_enforcement": -0.6,
        "utility.international.wealth:border_enforcement": 0.3,
        "utility.internal.education:permit_restriction": -0.2,
    }
    made = make(persons=20_000, effects=effects)
    truth = _truth(made)
    assert truth["international"]["wealth:border_enforcement"] == 0.3
    assert truth["internal"]["border_enforcement"] == 0.0
    z = _z_scores(made, truth)
    assert z.abs().max().max() < 3.5
    assert (z.to_numpy() ** 2).mean() == pytest.approx(1, abs=0.7)


@pytest.mark.parametrize(
    ("effects", "says"),
    [
        ({"utility.internal.wealht:female": 0.1}, "no true parameter 'utility.internal.wealht"),
        ({"utility.elsewhere.wealth:female": 0.1}, "no true parameter"),
        ({"sigma_slope.internal.wealth": -0.1}, "number ≥ 0"),
        ({"sigma_slope.internal.wealth": 0.1, "sigma_slope.internal.female": 0.1}, "vary over"),
        ({"sigma_slope.internal.wealth:female": 0.1}, "vary over"),
        ({"sigma_cell.internal": -0.1}, "number ≥ 0"),
        ({"sigma_cell.both": 0.1}, "no true parameter"),
    ],
)
def test_wrong_declarations_are_refused(
    tmp_path: Path, effects: dict[str, float], says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        simulate(tmp_path / "s", seed=1, effects=effects)


def test_the_order_of_columns_in_a_term_does_not_matter(
    make: Callable[..., SimulatedSurvey],
) -> None:
    one, two = (
        make(persons=600, effects={f"utility.international.{term}": -0.3}).truth.read_text()
        for term in ("network_international:education", "education:network_international")
    )
    assert one == two
    assert one.count("education:network_international") == 3  # an effect, and both streams


def test_covariates_of_persons_are_none_of_households(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no true parameter"):
        simulate(tmp_path / "s", seed=1, unit="household", effects=named("norms"))


def test_cells_have_effects_where_they_are_named(make: Callable[..., SimulatedSurvey]) -> None:
    """The spread of cells' log odds, by stream, beside that of the same people without effects."""
    plain = {**NO_GROUPS, **dict.fromkeys(
        (n for n in true_parameters("albania", "person")
         if n.startswith("utility.") and not n.endswith(".asc")), 0.0)}  # fmt: skip
    raised = {"utility.internal.asc": -1.0, "utility.international.asc": -1.0}

    def spread(effects: dict[str, float]) -> pd.Series:
        made = make(persons=20_000, effects=plain | raised | effects)
        frame = read_survey(made.codebook).frame
        by = ["female", "age_group", "education_group", "wealth_group"]
        table = pd.crosstab([frame[c] for c in by], frame["choice"])
        table = table[table.sum(axis=1) > 100]
        assert len(table) > 40
        return pd.Series({s: np.log(table[s] / table["stay"]).std() for s in STREAMS})

    without, found = spread({}), spread({"sigma_cell.international": 0.9})
    assert without.max() < 0.25
    assert found["internal"] < 0.25
    assert found["international"] == pytest.approx(0.9, rel=0.25)


def test_cells_of_zero_are_no_cells(make: Callable[..., SimulatedSurvey]) -> None:
    none = {"sigma_cell.internal": 0.0, "sigma_cell.international": 0.0}
    made, plain = make(persons=600, effects=none), make(persons=600)
    assert made.data.read_bytes() == plain.data.read_bytes()
    assert read_toml(made.truth, "truth")["true"]["sigma_cell"]["international"] == 0.0
    assert "sigma_cell" not in plain.truth.read_text()
