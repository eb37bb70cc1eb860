"""What rests on priors and form is said, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bayesmig.design.design import Design, build_design
from tests.fabricate import small_frame, survey_of, theory
from tests.inference.theories import wide_survey


def noted(**keys: Any) -> list[str]:
    design: Design = build_design(theory(groups=[], **keys), wide_survey())
    kinds = ("nest ", "curve ", "consideration ")
    return [w for w in design.support.warnings if w.startswith(kinds)]


NESTS = [{"name": "move", "alternatives": ["internal", "international"]}]


@pytest.mark.parametrize(
    ("utility", "identified"),
    [
        ({"persons": "female + wealth"}, False),
        ({"persons": "female", "alternatives": "cost"}, True),
        ({"persons": "female", "only": {"international": "urban"}}, True),
        ({"persons": "female", "only": {"stay": "urban"}}, False),
        ({"persons": "female", "alternatives": "cost:wealth"}, True),
        # All of them alike: a column of persons by another name.
        ({"persons": "female", "only": {"internal": "urban", "international": "urban"}}, False),
        ({"persons": "female", "only": {"internal": "urban", "international": "wealth"}}, True),
        (
            {"persons": "female", "only": {"internal": "urban", "international": "urban + wealth"}},
            True,
        ),
    ],
)
def test_a_nest_needs_what_moves_its_alternatives_apart(
    utility: dict[str, Any], identified: bool
) -> None:
    found = noted(utility=utility, nests=NESTS)
    assert len(found) == (0 if identified else 1)
    assert identified or "lambda rests on the prior" in found[0]


def test_a_theory_without_nests_is_not_told_of_them() -> None:
    assert noted(utility={"persons": "female"}) == []


HILL = {"shape": "hill", "alternatives": ["international"]}


def test_a_half_saturation_needs_units_on_both_sides() -> None:
    assert noted(persons="female", curves=[HILL | {"column": "cost_stay"}]) == []
    # Counts of 0, 1, 2: one value lies below the lowest exposure, and one above.
    found = noted(persons="female", curves=[HILL | {"column": "household_international"}])
    assert len(found) >= 1
    assert "its half-saturation rests on the prior" in found[0]


def test_units_are_origins_where_the_theory_knows_them() -> None:
    """Of persons many are exposed, of origins' means none is so much."""
    keys = {"persons": "female", "curves": [HILL | {"column": "cost_stay"}]}
    design = build_design(theory(groups=[{"by": "origin"}], **keys), wide_survey())
    found = [w for w in design.support.warnings if w.startswith("curve ")]
    assert found
    assert all("of 7 origins lie" in w for w in found)


def test_straight_curves_need_no_half() -> None:
    linear = {"column": "network_internal", "shape": "linear", "alternatives": ["internal"]}
    assert noted(persons="female", curves=[linear]) == []


@pytest.mark.parametrize(
    ("formula", "utility", "identified"),
    [
        ("wealth", {"persons": "female + wealth"}, False),
        ("wealth", {"persons": "female"}, True),
        ("wealth + cost", {"persons": "female + wealth"}, True),
        ("wealth + cost", {"persons": "female + wealth", "alternatives": "cost"}, False),
        ("urban", {"persons": "female", "only": {"international": "urban"}}, False),
        ("urban", {"persons": "female", "only": {"internal": "urban"}}, True),
    ],
)
def test_consideration_needs_a_column_of_its_own(
    formula: str, utility: dict[str, Any], identified: bool
) -> None:
    found = noted(utility=utility, consideration={"feasible": {"international": formula}})
    assert len(found) == (0 if identified else 1)
    assert identified or "who cannot and who will not" in found[0]


@pytest.mark.parametrize(("noise", "identified"), [(0.05, False), (0.3, True)])
@pytest.mark.parametrize("formula", ["price", "wealth + price", "log1p(urban) + price"])
def test_a_column_that_hardly_differs_from_those_of_utility_is_not_its_own(
    formula: str, noise: float, identified: bool
) -> None:
    frame = small_frame(600)
    others = 2.0 * frame["wealth"] - 0.4 * frame["female"] + 3.0
    rng = np.random.default_rng(3)
    price = others + noise * others.std() * rng.normal(size=len(frame))
    spec = theory(
        "female + wealth + urban", groups=[], consideration={"feasible": {"international": formula}}
    )
    built = build_design(spec, survey_of(frame.assign(price=price)))
    found = [w for w in built.support.warnings if w.startswith("consideration ")]
    assert len(found) == (0 if identified else 1)
    assert identified or "columns of its utility explain 99." in found[0]


def test_what_differs_between_groups_alone_is_no_nest() -> None:
    """Correlated effects of the groups move alternatives in the same way."""
    frame = small_frame(300)
    place = frame["origin"].str[1:].astype(float)
    nests = [{"name": "move", "alternatives": ["internal", "international"]}]
    costs = {"stay": 0, "internal": "near", "international": "far"}

    def found(far: Any, groups: list[dict[str, str]], **keys: Any) -> list[str]:
        table = frame.assign(**{"near": 1.0, "far": far, **keys})
        survey = survey_of(table, attributes={"cost": costs})
        utility = {"persons": "female", "alternatives": "cost"}
        built = build_design(theory(utility=utility, nests=nests, groups=groups), survey)
        return [w for w in built.support.warnings if "between groups of" in w]

    (one,) = found(place, [{"by": "origin"}])
    assert "groups of origin alone" in one
    # What both cost, person by person, is rounding in the difference.
    wealth = 1.3 * frame["wealth"] + 7.1
    assert found(0.37 * place + wealth, [{"by": "origin"}], near=wealth) != []
    # Many groups tell the correlation of their effects.
    assert found(place, [{"by": "person"}]) == []
    assert found(place, []) == []
    assert found(place + frame["wealth"], [{"by": "origin"}]) == []
    # One person of one origin is enough to be told, and too few for much else.
    assert found(place + (frame.index == 7), [{"by": "origin"}]) == []
    # Where the border is closed nobody compares; but who finds it closed tells the nest too.
    survey = survey_of(
        frame.assign(
            near=1.0, far=place + (frame.index == 7), open=(frame.index != 7).astype(int),
            choice=frame["choice"].mask(frame.index == 7, "stay"),
        ),
        attributes={"cost": costs},
    )  # fmt: skip
    spec = theory(
        utility={"persons": "female", "alternatives": "cost"}, nests=nests,
        groups=[{"by": "origin"}], available={"international": "open"},
    )  # fmt: skip
    assert not any("between groups of" in w for w in build_design(spec, survey).support.warnings)


def test_a_column_of_one_alternative_tells_a_nest_within_groups_only() -> None:
    frame = small_frame(300).assign(far=lambda f: f["origin"].str[1:].astype(float))
    nests = [{"name": "move", "alternatives": ["internal", "international"]}]
    for column, warned in (("far", True), ("wealth", False)):
        utility = {"persons": "female", "only": {"international": column}}
        spec = theory(utility=utility, nests=nests, groups=[{"by": "origin"}])
        found = build_design(spec, survey_of(frame)).support.warnings
        assert any("between groups of origin" in w for w in found) is warned
    # What varies only where nobody can move tells nothing.
    shut = frame["origin"] == "o00"
    frame["far"] += shut * frame["wealth"]
    frame = frame.assign(road=1 - shut.astype(int), choice=frame["choice"].mask(shut, "stay"))
    utility = {"persons": "female", "only": {"international": "far"}}
    for available in {}, {"internal": "road", "international": "road"}:
        spec = theory(utility=utility, nests=nests, groups=[{"by": "origin"}], available=available)
        found = build_design(spec, survey_of(frame)).support.warnings
        assert any("between groups of origin" in w for w in found) is bool(available)


def told(groups: list[dict[str, Any]], **keys: Any) -> list[str]:
    design = build_design(theory(groups=groups, **keys), wide_survey())
    return [w for w in design.support.warnings if w.startswith("groups of ")]


def test_groups_of_one_row_tell_no_scale() -> None:
    (found,) = told([{"by": "person"}])
    assert "of its" not in found
    assert "rest much on the prior" in found
    (alone,) = told([{"by": "person", "correlated": False}])
    assert "correlations" not in alone


def test_a_correlation_of_small_groups_needs_what_moves_streams_apart() -> None:
    """Several rows in each of many, but few: the scales are told, the correlation hardly."""
    small = small_frame(900).assign(pair=lambda f: [f"g{i // 3}" for i in range(len(f))])
    groups = [{"by": "pair"}]
    for keys, warned in (
        ({"persons": "female"}, True),
        ({"persons": "female", "only": {"international": "urban"}}, False),
    ):
        spec = theory(groups=groups, utility=keys)
        found = build_design(spec, survey_of(small)).support.warnings
        assert any("moves the alternatives apart" in w for w in found) is warned
    apart = theory("female", groups=[{"by": "pair", "correlated": False}])
    assert build_design(apart, survey_of(small)).support.warnings == ()


@pytest.mark.parametrize(
    ("utility", "warned"),
    [
        ({"persons": "female", "shared": "urban"}, True),
        ({"persons": "female", "only": {"international": "of_pair"}}, True),
        ({"persons": "female", "alternatives": "same"}, True),
        ({"persons": "female", "alternatives": "price"}, False),
        ({"persons": "female", "only": {"international": "urban"}}, False),
    ],
    ids=["shared", "of-groups", "the-same-attribute", "an-attribute", "a-column"],
)
def test_what_moves_streams_alike_or_groups_as_a_whole_tells_no_correlation(
    utility: dict[str, Any], warned: bool
) -> None:
    frame = small_frame(900)
    pair = np.arange(900) // 3
    rng = np.random.default_rng(5)
    frame = frame.assign(
        pair=[f"g{i}" for i in pair], of_pair=rng.normal(size=300)[pair], far=rng.normal(size=900)
    )
    attributes = {
        "same": {"stay": 0, "internal": "far", "international": "far"},
        "price": {"stay": 0, "internal": 1, "international": "far"},
    }
    survey = survey_of(frame, attributes=attributes)
    found = build_design(theory(groups=[{"by": "pair"}], utility=utility), survey).support.warnings
    assert any("moves the alternatives apart within them" in w for w in found) is warned


def test_a_curve_of_one_alternative_moves_a_nest_apart() -> None:
    curve = {"column": "network_international", "shape": "linear"}
    for alternatives, warned in ((["international"], False), (["internal", "international"], True)):
        curves = [curve | {"alternatives": alternatives}]
        found = noted(persons="female", nests=NESTS, curves=curves)
        assert any("lambda rests on the prior" in w for w in found) is warned


FEASIBLE = {"feasible": {"international": "price"}}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"utility": {"persons": "female", "only": {"international": "far"}}}, "explain 100.0%"),
        ({"persons": "female + far"}, "explain 100.0%"),
        (
            {"persons": "female", "pools": [{"name": "ways", "columns": ["far", "urban"]}]},
            "explain",
        ),
        ({"persons": "female", "groups": [{"by": "origin", "terms": "1 + far"}]}, "explain 100.0%"),
        ({"persons": "female", "groups": [{"by": "origin"}]}, ""),
    ],
    ids=["own-column", "persons", "pool", "slopes", "alone"],
)
def test_feasibility_by_a_copy_of_what_utility_reads_is_not_its_own(
    keys: dict[str, Any], words: str
) -> None:
    rng = np.random.default_rng(2)
    frame = small_frame(600).assign(far=rng.normal(size=600))
    survey = survey_of(frame.assign(price=2 * frame["far"] + 3))
    built = build_design(theory(consideration=FEASIBLE, **{"groups": [], **keys}), survey)
    found = [w for w in built.support.warnings if w.startswith("consideration ")]
    assert len(found) == bool(words)
    assert not words or words in found[0]


@pytest.mark.parametrize(("groups", "warned"), [(True, True), (False, False)])
@pytest.mark.parametrize("within", [False, True])
def test_feasibility_by_what_differs_between_groups_alone(
    groups: bool, warned: bool, within: bool
) -> None:
    """As effects of groups do: what they cannot and what they will not look alike."""
    frame = small_frame(600)
    rng = np.random.default_rng(2)
    place = rng.normal(size=20)[frame["origin"].str[1:].astype(int)]
    survey = survey_of(frame.assign(price=place + 0.5 * within * rng.normal(size=600)))
    spec = theory("female", consideration=FEASIBLE, groups=[{"by": "origin"}] if groups else [])
    found = build_design(spec, survey).support.warnings
    assert any("differs between groups of origin alone" in w for w in found) is (
        warned and not within
    )


def test_many_rows_in_many_groups_are_not_warned_of() -> None:
    design = build_design(theory("female", groups=[{"by": "origin"}]), survey_of(small_frame(900)))
    assert design.support.warnings == ()
