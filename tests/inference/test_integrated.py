"""Effects of many small groups, integrated out: brute force, slopes, draws, and the choice."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.polynomial.hermite_e import hermegauss

from bayesmig.design.design import build_design
from bayesmig.errors import InferenceError
from bayesmig.inference.density import Density, worth_integrating
from bayesmig.inference.integrated import bent
from bayesmig.inference.integration import Integrated, integrated
from bayesmig.inference.routes import fit
from tests.fabricate import ALTERNATIVES, small_frame, survey_of, theory

NESTED = [{"by": "origin"}, {"by": "household"}]
TWO = {"alternatives": ["stay", "internal"], "base": "stay"}
LAST = {"alternatives": list(ALTERNATIVES), "base": "international"}


def nested_frame(n: int, households: int, origins: int = 2, seed: int = 0) -> pd.DataFrame:
    """Households that lie in origins."""
    frame = small_frame(n, seed=seed, origins=origins)
    number = np.arange(n) % households
    frame["household"] = [f"h{k:04d}" for k in number]
    frame["origin"] = [f"o{k % origins:02d}" for k in number]
    return frame


def two_alternatives(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(choice=frame["choice"].replace("international", "internal"))


def density_of(frame: pd.DataFrame, persons: str = "female + wealth", **keys: Any) -> Density:
    keys.setdefault("groups", NESTED)
    return Density(build_design(theory(persons, **keys), survey_of(frame)))


CASES: dict[str, Density] = {}


def case(name: str) -> Density:
    """A density whose households are few enough for a grid over all their effects."""
    if name not in CASES:
        frame = nested_frame(24, 3)
        CASES[name] = {
            "two alternatives": lambda: density_of(two_alternatives(frame), choice=TWO),
            "three alternatives": lambda: density_of(frame, "female"),
            "another base": lambda: density_of(frame, "female", choice=LAST),
            "uncorrelated": lambda: density_of(
                frame, "female", groups=[NESTED[0], NESTED[1] | {"correlated": False}]
            ),
            "no origins": lambda: density_of(frame, "female", groups=[NESTED[1]]),
            "counted rows": lambda: density_of(
                pd.concat([frame] * 3).assign(person=range(72)), "female"
            ),
        }[name]()
    return CASES[name]


NAMES = ["two alternatives", "three alternatives", "another base", "uncorrelated", "no origins",
         "counted rows"]  # fmt: skip


def over(density: Density, points: int, by: str = "household") -> Integrated:
    """The density over as many points along every effect."""
    factor = next(f for f in density.layout.factors if f.by == by)
    return Integrated(density, by, (points,) * factor.width)


def by_grid(density: Density, vector: np.ndarray, points: int) -> float:
    """The log of the whole density's integral over every coordinate of the households.

    The whole density is PyMC's, which another test says.
    """
    factor = next(f for f in density.layout.factors if f.by == "household")
    first = density.layout.n_theta + factor.effects.start
    places = np.arange(first, first + factor.groups * factor.width)
    z, weights = hermegauss(points)
    logs = np.log(weights) + z**2 / 2
    at = np.insert(vector, [first] * len(places), 0.0)
    values = []
    for grid in product(range(points), repeat=len(places)):
        at[places] = z[list(grid)]
        values.append(density(at)[0] + logs[list(grid)].sum())
    return float(np.logaddexp.reduce(values))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_integral_of_the_whole_density(name: str) -> None:
    """Over the same points, since a grid over all households is the product of theirs."""
    density = case(name)
    one, rough = (
        over(density, 5),
        over(density, 1),
    )
    rng, gaps, wrong = np.random.default_rng(0), [], []
    for scale in (0.3, 0.6, 1.0):
        vector = rng.normal(0.0, scale, one.size)
        brute = by_grid(density, vector, 5)
        gaps.append(one(vector)[0] - brute)
        wrong.append(rough(vector)[0] - brute)
    np.testing.assert_allclose(gaps, gaps[0], rtol=0, atol=1e-8)
    assert np.ptp(wrong) > 1e-2


def far_out(density: Density, size: float, seed: int) -> np.ndarray:
    """Coordinates of theta at which coefficients alone make the largest utility this size."""
    x, c = density.columns.persons, density.layout.n_coefficients
    beta = np.random.default_rng(seed).normal(size=(x.shape[1], c // x.shape[1]))
    theta = density.expansion.centre.copy()
    theta[:c] = (beta * size / np.abs(x @ beta).max()).ravel()
    return np.linalg.solve(density.expansion.root, theta - density.expansion.centre)


@pytest.mark.parametrize("name", ["two alternatives", "three alternatives", "counted rows"])
@pytest.mark.parametrize("size", [20.0, 50.0, 100.0])
def test_extreme_utilities_are_integrated_exactly(name: str, size: float) -> None:
    """As far as households' effects there are within the module's `_FAR`."""
    density = case(name)
    one = over(density, 5)
    for seed in range(3):
        near, far = np.zeros(one.size), np.zeros(one.size)
        far[: density.layout.n_theta] = far_out(density, size, seed)
        fallen = one(far)[0] - one(near)[0]
        assert fallen < -size
        expected = by_grid(density, far, 5) - by_grid(density, near, 5)
        assert fallen == pytest.approx(expected, rel=1e-12)


def test_utilities_of_seven_hundred_have_finite_values_and_gradients() -> None:
    """Effects would be so far out there that a part of them alone counts."""
    density = case("three alternatives")
    one = over(density, 5)
    for seed in range(5):
        far = np.zeros(one.size)
        far[: density.layout.n_theta] = far_out(density, 700.0, seed)
        value, gradient = one(far)
        assert np.isfinite(gradient).all()
        assert -np.inf < value < one(np.zeros(one.size))[0] - 1e4


def test_effects_may_have_points_in_different_numbers() -> None:
    density = case("three alternatives")
    vector = np.random.default_rng(0).normal(0.0, 0.5, over(density, 3).size)
    fine = over(density, 21)
    gaps = [Integrated(density, "household", (7, 13)), Integrated(density, "household", (13, 7))]
    expected = fine(vector)[0] - fine(0 * vector)[0]
    for each in gaps:
        assert each(vector)[0] - each(0 * vector)[0] == pytest.approx(expected, abs=2e-3)


def test_few_points_are_exact_enough_and_the_fewest_are_found() -> None:
    density = density_of(rare())
    found = integrated(density, "household")
    assert found is not None
    fine, rough = over(found.density, 31), over(found.density, 1)
    rng = np.random.default_rng(7)
    places = [rng.normal(0.0, 0.7, found.size) for _ in range(5)]
    assert np.ptp([found(place)[0] - fine(place)[0] for place in places]) < 0.2
    assert np.ptp([rough(place)[0] - fine(place)[0] for place in places]) > 0.5


def test_coordinates_are_centred_and_whitened_where_the_integral_is() -> None:
    # Whole households go abroad: far from the normal that the map takes their effects for.
    frame = nested_frame(1200, 400, origins=10)
    together = frame["household"].isin([f"h{k:04d}" for k in range(0, 400, 23)])
    frame["choice"] = frame["choice"].replace("international", "stay")
    frame.loc[together, "choice"] = "international"
    density = density_of(frame)
    found, t = integrated(density, "household"), density.layout.n_theta
    assert found is not None

    def slope_and_curvature(of: Integrated) -> tuple[float, np.ndarray]:
        here = np.zeros(of.size)
        for _ in range(20):
            here[t:] += 0.5 * of(here)[1][t:]
        unit = 0.1 * np.eye(of.size)
        rows = [(of(here + e)[1] - of(here - e)[1]) / 0.2 for e in unit]
        left = -np.array(rows)
        whole = left[:t, :t] - left[:t, t:] @ np.linalg.solve(left[t:, t:], left[t:, :t])
        return float(np.abs(of(here)[1][:t]).max()), np.linalg.eigvalsh((whole + whole.T) / 2)

    steep, curved = slope_and_curvature(found)
    assert steep < 0.7
    assert curved.min() > 0.3
    assert curved.max() < 2.0
    before = over(density, found.points[0])
    steep, curved = slope_and_curvature(before)
    assert steep > 2.0 or curved.min() < 0.3 or curved.max() > 2.0
    # The target is what it was: only its coordinates are others.
    rng, here, there = np.random.default_rng(3), [], []
    old, new = density.expansion, found.density.expansion
    exact = Integrated(density, "household", found.points)
    for _ in range(4):
        place = rng.normal(0.0, 0.5, found.size)
        theta = bent(place, (new.centre, new.root), found.bend, found.bend[2].shape[1])
        here.append(found(place)[0])
        place[:t] = np.linalg.solve(old.root, theta - old.centre)
        there.append(exact(place)[0])
    np.testing.assert_allclose(np.diff(here), np.diff(there), rtol=0, atol=1e-7)


@pytest.mark.parametrize("seed", [0, 1])
def test_constants_follow_half_the_variance_where_an_alternative_is_rare(seed: int) -> None:
    """Of ``exp(a + u)`` with a normal ``u`` the mean is ``exp(a + variance / 2)``."""
    frame, rng = nested_frame(1800, 600, origins=10), np.random.default_rng(seed)
    effects = dict(zip(np.unique(frame["household"]), rng.normal(0.0, 1.5, 600), strict=True))
    odds = np.exp(-5.2 + frame["household"].map(effects))
    stays = frame["choice"].replace("international", "stay")
    frame["choice"] = stays.mask(rng.random(1800) < odds / (1 + odds), "international")
    density = density_of(frame)
    found = integrated(density, "household")
    assert found is not None
    abroad = list(density.design.nonbase).index("international")
    household = next(f for f in density.layout.factors if f.by == "household")
    scale = found.bend[0].tolist().index(household.log_sigma.start + abroad)
    assert found.bend[2][scale, abroad] == pytest.approx(-0.5, abs=0.1)


def test_what_no_number_of_points_integrates_is_left_to_the_map(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    density = density_of(rare())
    monkeypatch.setattr("bayesmig.inference.integration._POINTS", (1, 2))
    assert integrated(density, "household") is None
    spec, options = theory("female + wealth", groups=NESTED), {"draws": 20, "tune": 20}
    fitted = fit(
        spec, survey_of(rare()), seed=1, method="nuts", chains=1, progress=False, **options
    )
    assert "integrated" not in fitted.provenance.route
    assert "too far from normal to be integrated out" in fitted.provenance.reason


def test_rows_in_single_precision_change_digits_alone() -> None:
    design = build_design(theory("female + wealth", groups=NESTED), survey_of(rare()))
    double, single = (over(Density(design, p), 5) for p in ("double", "single"))
    # Over the same coordinates, which expansions in other precision are not, to their digits.
    vector = np.random.default_rng(0).normal(0.0, 0.5, double.size)
    other = single.density.moved(double.density.expansion)
    value, gradient = over(other, 5)(vector)
    expected, slopes = double(vector)
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.abs(gradient - slopes).max() < 1e-4 * np.abs(slopes).max()
    assert value != expected


@pytest.mark.parametrize("points", [1, 3, 6])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"choice": LAST},
        {"utility": {"persons": "female + wealth", "only": {"internal": "education"}}},
        {"available": {"international": "urban"}},
        {"groups": [{"by": "origin", "terms": "1 + wealth"}, {"by": "household"}]},
        {"groups": [{"by": "household"}], "smooths": [{"column": "wealth", "bends": 3}]},
        {"groups": [{"by": "origin"}, {"by": "household:urban"}]},
    ],
    ids=["plain", "base", "only", "closed", "slopes", "smooth", "empty cells"],
)
def test_its_gradient_is_that_of_its_values(keys: dict[str, Any], points: int) -> None:
    frame = nested_frame(90, 30, origins=5)
    frame.loc[frame["choice"] == "international", "urban"] = 1
    by = keys.get("groups", NESTED)[-1]["by"]
    density = density_of(frame, "female + wealth", **keys)
    one = over(density, points, by)
    rng, step = np.random.default_rng(1), 1e-5
    places, at, follows = one.bend
    bend = places, at + 0.5, rng.normal(0.0, 0.1, follows.shape)
    one = Integrated(density, by, one.points, bend)
    vector = rng.normal(0.0, 1.0, one.size)
    _, gradient = one(vector)
    for k in rng.permutation(one.size)[:25].tolist() + list(range(12)):
        ends = []
        for sign in (-1, 1):
            moved = vector.copy()
            moved[k] += sign * step
            ends.append(one(moved)[0])
        expected = (ends[1] - ends[0]) / (2 * step)
        assert gradient[k] == pytest.approx(expected, rel=2e-6, abs=2e-6), k


@pytest.mark.parametrize("log_sigma", [0.0, 1.2])
def test_effects_are_drawn_from_their_density_given_the_rest(log_sigma: float) -> None:
    """Where scales are large, a household with its one mover has a long tail on one side."""
    density = case("two alternatives")
    one = over(density, 9)
    factor = next(f for f in density.layout.factors if f.by == "household")
    vector = np.random.default_rng(3).normal(0.0, 1.0, one.size)
    centre, root = density.expansion.centre, density.expansion.root
    theta = centre + root @ vector[: len(centre)]
    factor.log_sigma.of(theta)[...] = log_sigma
    theta[0] = -4.0
    vector[: len(centre)] = np.linalg.solve(root, theta - centre)
    drawn = one.parameters(np.tile(vector, (8000, 1)))
    assert np.ptp(drawn["beta"], axis=0).max() == 0.0
    u = drawn["u_household"][:, :, 0, 0]
    # Moments by the weights of a fine grid, through the whole density and its own names.
    z = np.linspace(-12.0, 12.0, 481)
    first = density.layout.n_theta
    places = first + factor.effects.start + np.arange(3)
    at = np.insert(vector, [places[0]] * 3, 0.0)
    for k in range(3):
        whole = np.tile(at, (len(z), 1))
        whole[:, places[k]] = z
        logs = np.array([density(row)[0] for row in whole])
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        values = density.parameters(whole)["u_household"][:, k, 0, 0]
        mean = weights @ values
        spread = np.sqrt(weights @ (values - mean) ** 2)
        assert u[:, k].mean() == pytest.approx(mean, abs=5 * spread / np.sqrt(8000))
        assert u[:, k].std() == pytest.approx(spread, rel=0.04)
        for share in (0.05, 0.95):
            low = values[np.searchsorted(weights.cumsum(), share)]
            assert np.mean(u[:, k] < low) == pytest.approx(share, abs=0.012)
    assert np.corrcoef(u.T)[0, 1] == pytest.approx(0.0, abs=0.05)


def test_candidates_are_enough_where_somebody_chose_what_is_rare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Moments of both effects of a household with somebody abroad, and of one without."""
    density = density_of(rare(90), "female")
    one, layout = over(density, 5), density.layout
    factor = next(f for f in layout.factors if f.by == "household")
    codes, choice = density.design.columns.groups["household"][0], density.design.choice
    abroad = int(codes[choice == 2][0])
    others = [g for g in range(factor.groups) if (choice[codes == g] == 0).all()]
    vector = np.random.default_rng(3).normal(0.0, 0.3, one.size)
    centre, root = density.expansion.centre, density.expansion.root
    theta = centre + root @ vector[: len(centre)]
    factor.log_sigma.of(theta)[...] = 1.2
    vector[: len(centre)] = np.linalg.solve(root, theta - centre)
    first = layout.n_theta + factor.effects.start
    at, draws = np.insert(vector, [first] * (2 * factor.groups), 0.0), 10_000

    def of(candidates: int) -> np.ndarray:
        monkeypatch.setattr("bayesmig.inference.integration._CANDIDATES", candidates)
        return one.parameters(np.tile(vector, (draws, 1)))["u_household"][..., 0]

    drawn, proposed = of(32), of(1)
    for g in (abroad, others[0]):
        whole = np.tile(at, (41**2, 1))
        places = slice(first + 2 * g, first + 2 * g + 2)
        whole[:, places] = list(product(np.linspace(-8.0, 12.0, 41), repeat=2))
        logs = np.array([density(row)[0] for row in whole])
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        values = density.parameters(whole)["u_household"][:, g, :, 0]
        mean = weights @ values
        spread = np.sqrt(weights @ (values - mean) ** 2)
        exact = weights @ np.prod((values - mean) / spread, axis=1)
        gaps = [(u[:, g].mean(axis=0) - mean) / spread for u in (drawn, proposed)]
        ratios = [u[:, g].std(axis=0) / spread for u in (drawn, proposed)]
        assert np.abs(gaps[0]).max() < 0.04
        assert np.abs(ratios[0] - 1).max() < 0.03
        assert np.corrcoef(drawn[:, g].T)[0, 1] == pytest.approx(exact, abs=0.04)
        # One candidate is the proposal itself, which is seen to be another density.
        assert np.abs(ratios[1] - 1).max() > 0.06


def test_the_error_of_quadrature_is_kept_with_a_chain(tmp_path: Path) -> None:
    spec, survey = theory("female + wealth", groups=NESTED), survey_of(rare())
    options: dict[str, Any] = {
        "seed": 1, "method": "nuts", "draws": 20, "tune": 20, "progress": False, "keep": tmp_path
    }  # fmt: skip
    fit(spec, survey, chains=1, **options)
    whole = fit(spec, survey, chains=2, **options)
    again = fit(spec, survey, chains=2, **options)
    assert "integrated out" in again.provenance.route
    assert again.data["diagnostics"].identical(whole.data["diagnostics"])
    assert again.draws.identical(whole.draws)
    errors = again.data["diagnostics"]["quadrature_error"].to_numpy()
    assert errors.shape == (2,)
    assert (errors > 0).all()
    numbers = [dict(p.provenance.numbers) for p in (whole, again)]
    for of in numbers:
        assert of["quadrature_error"] == errors.max()
        del of["nanoseconds_per_row"]
    assert numbers[0] == numbers[1]


def test_equal_coordinates_give_equal_draws_and_others_others() -> None:
    one = over(case("three alternatives"), 3)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(120, one.size))
    first, again = one.parameters(vectors), one.parameters(vectors)
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    other = one.parameters(rng.normal(size=(120, one.size)))
    assert (first["u_household"] != other["u_household"]).all()


def rare(n: int = 900) -> pd.DataFrame:
    """Households of three, of which hardly any has somebody abroad."""
    frame = nested_frame(n, n // 3, origins=10)
    abroad = np.arange(n) % 90 == 7
    return frame.assign(
        choice=frame["choice"].replace("international", "internal").mask(abroad, "international")
    )


def test_it_is_worth_it_where_groups_are_many_and_small_and_a_choice_is_rare() -> None:
    assert worth_integrating(density_of(rare())) == "household"
    assert worth_integrating(density_of(rare(), groups=[{"by": "origin"}])) == ""
    # Enough of them have chosen everything.
    assert worth_integrating(density_of(nested_frame(900, 300, origins=10))) == ""
    slopes = [NESTED[0], {"by": "household", "terms": "1 + wealth"}]
    assert worth_integrating(density_of(rare(), groups=slopes)) == ""
    # Constants beside the constant.
    both = [NESTED[0], {"by": "household", "terms": "1 + one"}]
    two = two_alternatives(rare()).assign(one=1.0)
    two["choice"] = np.where(np.arange(len(two)) % 90 == 7, "internal", "stay")
    assert worth_integrating(density_of(two, groups=both, choice=TWO)) == ""
    # Rows of a household do not follow each other where origins cross it.
    crossing = rare().assign(origin=lambda f: [f"o{k % 7}" for k in range(len(f))])
    assert worth_integrating(density_of(crossing)) == ""


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("auto", "groups of household are many and small"),
        ("nuts", "was asked for; groups of household are many and small"),
    ],
)
def test_why_effects_are_integrated_out_is_said_whoever_asked(
    monkeypatch: pytest.MonkeyPatch, method: Any, why: str
) -> None:
    class Reached(Exception):
        pass

    def chains(*arguments: Any) -> None:
        raise Reached(*arguments[7:])

    monkeypatch.setattr("bayesmig.inference.routes._chains", chains)
    with pytest.raises(Reached) as reached:
        fit(theory("female", groups=NESTED), survey_of(rare()), seed=1, method=method)
    assert reached.value.args[0] == why
    assert "integrated out over" in reached.value.args[2]


def test_an_integral_that_is_not_finite_is_refused_before_chains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chains(*_: Any) -> None:
        raise AssertionError("chains began")

    nowhere = lambda self, vector: (-np.inf, np.zeros(self.size))  # noqa: E731
    monkeypatch.setattr("bayesmig.inference.routes._chains", chains)
    # The search for points is with numbers, the start of chains is without.
    started = Integrated.start

    def start(self: Integrated, rng: np.random.Generator) -> np.ndarray:
        monkeypatch.setattr(Integrated, "__call__", nowhere)
        return started(self, rng)

    monkeypatch.setattr(Integrated, "start", start)
    with pytest.raises(InferenceError, match="not finite"):
        fit(theory("female", groups=NESTED), survey_of(rare()), seed=1, method="nuts")


@pytest.mark.slow
def test_the_posterior_is_that_of_the_whole_density(monkeypatch: pytest.MonkeyPatch) -> None:
    from bayesmig.inference import routes

    survey = survey_of(rare(1800))
    spec = theory("female + wealth", groups=NESTED)
    options: dict[str, Any] = {"method": "nuts", "draws": 2000, "chains": 4, "progress": False}
    one = fit(spec, survey, seed=1, **options)
    assert "effects of household integrated out over" in one.provenance.route
    assert one.provenance.numbers["quadrature_points"] >= 25
    assert one.provenance.numbers["quadrature_error"] < 0.2
    monkeypatch.setattr(routes, "worth_integrating", lambda density: "")
    whole = fit(spec, survey, seed=2, **options)
    assert "integrated" not in whole.provenance.route
    tables = [p.summary(effects=True).set_index("parameter") for p in (one, whole)]
    assert list(tables[0].index) == list(tables[1].index)
    errors = np.sqrt(sum(t["sd"] ** 2 / t["ess_bulk"] for t in tables))
    z = ((tables[0]["mean"] - tables[1]["mean"]) / errors).to_numpy()
    z = z[np.isfinite(z)]
    assert 0.8 < np.sqrt((z**2).mean()) < 1.25
    assert np.abs(z).max() < 5
    # Of households of whom somebody chose what is rare, effects on it, by draws thinned to few.
    design = one.design
    codes = design.columns.groups["household"][0]
    movers = np.unique(codes[design.choice == 2])
    draws = [p.draws["u_household"].to_numpy()[..., movers, 1, 0] for p in (one, whole)]
    spreads = [of.reshape(-1, len(movers)).std(axis=0) for of in draws]
    assert np.mean(np.log(spreads[0] / spreads[1])) == pytest.approx(0.0, abs=0.03)
    for share in (0.05, 0.95):
        ends = [np.quantile(of.reshape(-1, len(movers)), share, axis=0) for of in draws]
        assert np.mean((ends[0] - ends[1]) / spreads[1]) == pytest.approx(0.0, abs=0.05)
