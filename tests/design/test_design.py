"""A theory on a survey: labelled arrays, and what does not fit together."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmig.choice.utility import Columns
from bayesmig.design.design import Design, build_design, used_columns
from bayesmig.errors import DesignError, SpecError
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey, read_survey
from bayesmig.tomlfile import write_toml
from tests.design.people import ALTERNATIVES, COST, design, people, rich, theory

BY_ORIGIN = {"groups": [{"by": "origin"}]}


def refused(spec: Any, frame: pd.DataFrame | None = None, **keys: Any) -> DesignError:
    with pytest.raises(DesignError) as caught:
        design(spec, frame, **keys)
    return caught.value


def same_columns(a: Columns, b: Columns) -> None:
    np.testing.assert_array_equal(a.persons, b.persons)
    assert list(a.only) == list(b.only)
    for position, block in a.only.items():
        np.testing.assert_array_equal(block, b.only[position])
    for one, other in ((a.attributes, b.attributes), (a.available, b.available)):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)
    for name, (codes, terms) in a.groups.items():
        np.testing.assert_array_equal(codes, b.groups[name][0])
        np.testing.assert_array_equal(terms, b.groups[name][1])


# -------------------------------------------------------------------------- blocks


def test_every_block_has_its_labels_and_shapes() -> None:
    built = rich()
    n = built.n_obs
    assert built.persons == (
        "asc", "female", "wealth", "region[north]", "region[south]", "period[2010]",
        "period[2020]", "female:wealth",
    )  # fmt: skip
    assert built.only == (("international", "square(wealth)"),)
    assert built.attribute_terms == ("cost", "cost:female")
    assert built.layouts["origin"].terms == ("asc", "scale(wealth)")
    assert built.columns.persons.shape == (n, 8)
    assert built.columns.attributes.shape == (n, 3, 2)
    assert built.columns.available.shape == (n, 3)
    assert [built.alternatives[c] for c in built.choice] == list(people()["choice"])
    levels = built.layouts["origin"].levels
    assert list(levels) == sorted(set(people()["origin"]))
    assert list(levels[built.columns.groups["origin"][0]]) == list(people()["origin"])


def test_attributes_vary_over_alternatives() -> None:
    columns, frame = rich().columns, people()
    expected = np.column_stack(
        [np.zeros(len(frame)), frame["cost_internal"], frame["cost_international"]]
    )
    np.testing.assert_allclose(columns.attributes[:, :, 0], expected)
    by_female = expected * frame["female"].to_numpy()[:, None]
    np.testing.assert_allclose(columns.attributes[:, :, 1], by_female)


def test_the_survey_put_through_again_gives_the_same_arrays() -> None:
    built = rich()
    again = built.apply(built.frame)
    same_columns(again, built.columns)
    some = built.apply(built.frame.iloc[[5, 3, 250]])
    np.testing.assert_array_equal(some.persons, built.columns.persons[[5, 3, 250]])
    np.testing.assert_array_equal(some.attributes, built.columns.attributes[[5, 3, 250]])


def test_to_dataset_names_every_array() -> None:
    built = rich()
    data = built.to_dataset()
    assert tuple(data["coefficient"].values) == built.persons
    assert list(data["only_term"].values) == ["square(wealth):international"]
    assert data["attributes"].dims == ("obs", "alternative", "attribute_term")
    assert data["origin_terms"].dims == ("obs", "origin_term")
    np.testing.assert_array_equal(data["weight"], built.weights)


def test_a_survey_and_its_tidy_frame_make_the_same_design() -> None:
    raw = people().rename(
        columns={"choice": "moved", "origin": "village", "period": "year", "weight": "w"}
    )
    roles = {"choice": "moved", "origin": "village", "period": "year", "weight": "w"}
    survey = read_survey(raw, roles=roles, alternatives={a: a for a in ALTERNATIVES})
    spec = theory("female + wealth", utility={"period_constants": True}, **BY_ORIGIN)
    built = build_design(spec, survey)
    direct = design(spec, roles=("origin", "period", "weight"))
    same_columns(built.columns, direct.columns)
    assert built.persons == direct.persons
    assert built.survey_fingerprint == survey.fingerprint
    assert "education" not in built.frame  # only what the theory reads
    assert {"choice", "origin", "period", "weight"} <= set(built.frame)


def test_columns_of_hypotheses_are_kept() -> None:
    raw = people()[["choice", "wealth", "education"]]
    survey = read_survey(
        raw, roles={"choice": "choice"}, alternatives={a: a for a in ALTERNATIVES}
    )  # fmt: skip
    asked = {"h": {"claim": "", "statement": "slope(education, stay) > 0"}}
    assert "education" in used_columns(theory("wealth", hypotheses=asked), survey)
    assert "education" not in used_columns(theory("wealth"), survey)


# -------------------------------------------------------------------------- choices


def test_a_choice_that_the_theory_does_not_know_is_refused() -> None:
    frame = people()
    frame.loc[[4, 9], "choice"] = "internl"
    err = refused(theory(), frame)
    assert "the choice 'internl'" in err.what
    assert "did you mean 'internal'?" in err.what
    assert err.where == ("column choice", "rows 4, 9")


def test_an_alternative_that_nobody_chose_is_refused() -> None:
    err = refused(theory(), people().query("choice != 'international'"))
    assert "nobody chose 'international'" in err.what


# --------------------------------------------------------------------------- groups


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ({"by": "orign"}, "did you mean 'origin'?"),
        ({"by": "village"}, "neither a declared role nor a column"),
        ({"by": "lonely"}, "has only the level 'x'"),
        ({"by": "holed"}, "has 2 missing labels"),
        ({"by": "choice"}, "effects cannot vary by what was chosen"),
        ({"by": "origin:holed"}, "'holed' has 2 missing labels"),
        ({"by": "origin:village"}, "by 'village', which is neither a declared role"),
        ({"by": "lonely:origin:choice"}, "effects cannot vary by what was chosen"),
        ({"by": "origin", "terms": "1 + nothing"}, "'nothing', which is not there"),
        ({"by": "origin", "terms": "1 + region"}, "holds text"),
    ],
)
def test_groups_that_do_not_fit_are_refused(group: dict[str, str], says: str) -> None:
    frame = people().assign(lonely="x", holed=lambda f: f["origin"].where(f.index > 1))
    assert says in refused(theory(groups=[group]), frame, roles=("origin",)).what


def test_each_combination_of_columns_is_a_group() -> None:
    frame = people().assign(half=lambda f: f.index % 2)
    built = design(theory(groups=[{"by": "origin:half"}]), frame, roles=("origin",))
    label = [f"{o}:{h}" for o, h in zip(frame["origin"], frame["half"], strict=True)]
    levels, codes = built.layouts["origin:half"].levels, built.columns.groups["origin:half"][0]
    assert list(levels) == sorted(set(label))
    assert [levels[k] for k in codes] == label
    new = frame.assign(half=lambda f: f["half"].where(f.index != 7, 5))
    with pytest.raises(DesignError, match=f"the origin:half '{frame['origin'][7]}:5' was not"):
        built.apply(new)
    assert built.apply(new, unseen="code").groups["origin:half"][0][7] == -1
    # A part that is not known is a group that is not known.
    new["half"] = frame["half"].astype(float).where(frame.index != 7)
    assert built.apply(new, unseen="code").groups["origin:half"][0][7] == -1
    with pytest.raises(DesignError, match="'half' is needed to know each row's origin:half"):
        built.apply(frame.drop(columns="half"))


def test_a_label_that_is_a_number_is_one_however_it_is_held() -> None:
    frame = people().assign(half=lambda f: f.index % 2)
    built = design(theory(groups=[{"by": "half"}]), frame)
    assert list(built.layouts["half"].levels) == ["0", "1"]
    held = frame.assign(half=frame["half"].astype(float).where(frame.index != 7))
    codes = built.apply(held, unseen="code").groups["half"][0]
    assert codes.tolist() == frame["half"].where(frame.index != 7, -1).tolist()


def test_a_role_has_effects_alone_or_in_combinations() -> None:
    frame = people().assign(half=lambda f: f.index % 2)
    crossed = design(theory(groups=[{"by": "origin:half"}]), frame, roles=("origin",))
    assert crossed.has_effects_of("origin")
    assert crossed.has_effects_of("half")
    assert not crossed.has_effects_of("region")
    assert not design(theory(groups=[]), frame, roles=("origin",)).has_effects_of("origin")


def test_cells_that_nobody_is_in_are_groups_where_they_are_few_and_are_told() -> None:
    frame = people().assign(half=lambda f: f.index % 2, third=lambda f: f.index % 3)
    frame = frame[(frame["half"] == 0) | (frame["third"] > 0)].reset_index(drop=True)
    built = design(theory(groups=[{"by": "half:third"}]), frame)
    layout = built.layouts["half:third"]
    assert list(layout.levels) == ["0:0", "0:1", "0:2", "1:0", "1:1", "1:2"]
    assert any("1 of 6 combinations are empty" in text for text in built.support.warnings)
    moved = built.apply(frame.assign(half=1.0))
    assert set(moved.groups["half:third"][0]) == {3, 4, 5}
    many = frame.assign(who=range(len(frame)))
    built = design(theory(groups=[{"by": "who:third"}]), many)
    assert len(built.layouts["who:third"].levels) == len(many)
    assert not any("combinations" in text for text in built.support.warnings)


def test_cells_of_large_intersections_are_told_without_a_list_of_all() -> None:
    rows = np.arange(1_500)
    rng = np.random.default_rng(4)
    frame = people(len(rows)).assign(
        one=rows % 11, two=rng.integers(12, size=1_500), three=rows % 13
    )
    built = design(theory(groups=[{"by": "one:two:three"}]), frame)
    found = len(frame[["one", "two", "three"]].drop_duplicates())
    assert len(built.layouts["one:two:three"].levels) == found < 11 * 12 * 13
    assert any(f"{found:,} of 1,716 combinations" in text for text in built.support.warnings)
    assert not any("empty" in text for text in built.support.warnings)


def test_groups_of_combinations_are_told_apart_whatever_their_labels_hold() -> None:
    frame = people()
    frame["one"] = np.where(frame.index % 2 == 0, "a:b", "a")
    frame["two"] = np.where(frame.index % 2 == 0, "c", "b:c")
    built = design(theory(groups=[{"by": "one:two"}]), frame)
    assert len(built.layouts["one:two"].levels) == 2


def test_an_unseen_origin_is_an_error_unless_asked_for() -> None:
    built = design(theory(**BY_ORIGIN), roles=("origin",))
    new = people().assign(origin=lambda f: f["origin"].where(f.index != 7, "elsewhere"))
    with pytest.raises(DesignError) as caught:
        built.apply(new, where="scenario")
    assert "the origin 'elsewhere' was not in the survey of the fit" in caught.value.what
    assert "rows 7" in caught.value.where
    codes, _ = built.apply(new, unseen="code").groups["origin"]
    assert codes[7] == -1
    assert (np.delete(codes, 7) >= 0).all()
    without = people().drop(columns="origin")
    with pytest.raises(DesignError, match="is needed to know each row's origin"):
        built.apply(without)
    assert (built.apply(without, unseen="code").groups["origin"][0] == -1).all()


def test_an_unseen_level_is_an_error_whatever_is_asked_of_groups() -> None:
    built = design(theory("C(region, reference='west')"))
    with pytest.raises(DesignError, match="the level 'east'"):
        built.apply(people().assign(region="east"), unseen="code")


# ------------------------------------------------------------ as the file has them


def from_file(folder: Path, change: Callable[[pd.DataFrame], Any], **keys: Any) -> Survey:
    """A survey whose first 40 rows are incomplete, read from a file."""
    raw = people().rename(columns={"choice": "moved", "origin": "village"})
    raw = change(raw.assign(education=raw["education"].where(raw.index >= 40)))
    raw.to_csv(folder / "data.csv", index=False)
    book = {
        "file": "data.csv",
        "roles": {"choice": "moved", "origin": "village"},
        "alternatives": {a: [a] for a in ALTERNATIVES},
        "missing": {"rule": "drop", "columns": ["education"]},
    }
    (folder / "survey.toml").write_text(write_toml(book | keys))
    return read_survey(folder / "survey.toml")


ATTRIBUTES = {"attributes": {"cost": {"stay": 0, "internal": "c1", "international": "c2"}}}
IN_THE_FILE: dict[str, tuple[Any, dict[str, Any], ModelSpec, tuple[str, ...]]] = {
    "missing value": (
        lambda f: f.assign(wealth=f["wealth"].mask(f.index == 77)),
        {},
        theory(),
        ("key utility.persons", "column wealth", "rows 77"),
    ),
    "missing value of a group's term": (
        lambda f: f.assign(urban=f["urban"].mask(f.index.isin([77, 90]))),
        {},
        theory(groups=[{"by": "origin"}, {"by": "region", "terms": "urban"}]),
        ("key groups[1].terms", "column urban", "rows 77, 90"),
    ),
    "infinite logarithm": (
        lambda f: f.assign(wealth=f["wealth"].abs().mask(f.index == 77, 0.0)),
        {},
        theory("log(wealth)"),
        ("key utility.persons", "rows 77"),
    ),
    "unavailable yet chosen": (
        lambda f: f.assign(
            road=1 * (f.index != 77), moved=f["moved"].mask(f.index == 77, "internal")
        ),
        {},
        theory(available={"internal": "road"}),
        ("key available.internal", "column road", "rows 77"),
    ),
    "availability that is no indicator": (
        lambda f: f.assign(road=1 + (f.index == 77)),
        {},
        theory(available={"internal": "road"}),
        ("key available.internal", "column road", "rows 77"),
    ),
    "logarithm of an attribute of zero": (
        lambda f: f.assign(c1=1.0 * (f.index != 77), c2=2.0 * (f.index != 88)),
        ATTRIBUTES | {"attributes": {"cost": ATTRIBUTES["attributes"]["cost"] | {"stay": 1}}},
        theory("1", utility={"alternatives": "log(cost)"}),
        ("key utility.alternatives", "of internal, international", "rows 77, 88"),
    ),
    "missing value of a column beside attributes": (
        lambda f: f.assign(c1=1.0, c2=f["wealth"], urban=f["urban"].mask(f.index == 77)),
        ATTRIBUTES,
        theory("1", utility={"alternatives": "cost:urban"}),
        ("key utility.alternatives", "column urban",
         "of stay, internal, international", "rows 77"),
    ),
    "alternative that no theory can name": (
        lambda f: f.assign(moved=f["moved"].replace("stay", "stay home")),
        {"alternatives": {"stay home": ["stay home"], "internal": ["internal"],
                          "international": ["international"]}},
        theory(),
        ("key alternatives", "column 'moved' (role choice)", "rows 40, "),
    ),
    "group by what was chosen": (
        lambda f: f,
        {},
        theory(groups=[{"by": "choice"}]),
        ("key groups[0].by",),
    ),
    "constant group": (
        lambda f: f.assign(village=1),
        {},
        theory(groups=[{"by": "origin"}]),
        ("key groups[0].by", "column 'village' (role origin)"),
    ),
    "unknown column": (
        lambda f: f,
        {},
        theory("1", groups=[{"by": "origin", "terms": "1 + welth"}]),
        ("key groups[0].terms",),
    ),
    "name of a Python variable": (lambda f: f, {}, theory("np"), ("key utility.persons",)),
    "prior of no coefficient": (
        lambda f: f,
        {},
        theory(priors={"coefficient": [{"name": "femal"}]}),
        ("key priors.coefficient",),
    ),
    "wrong count": (lambda f: f, {}, theory(expect={"persons": 9}), ("key expect.persons",)),
    "no coefficient": (lambda f: f, {}, theory("0", groups=[{"by": "origin"}]), ("key utility",)),
}  # fmt: skip


@pytest.mark.parametrize(("change", "keys", "spec", "where"), IN_THE_FILE.values(), ids=IN_THE_FILE)
def test_a_fault_is_told_as_the_file_has_it(
    change: Any, keys: dict[str, Any], spec: ModelSpec, where: tuple[str, ...], tmp_path: Path
) -> None:
    survey = from_file(tmp_path, change, **keys)
    assert list(survey.rows[:2]) == [40, 41]
    with pytest.raises((DesignError, SpecError)) as caught:
        build_design(spec, survey)
    found = caught.value.where
    assert found[:2] == ("theory 'model'", str(tmp_path / "data.csv"))
    assert len(found) == 2 + len(where)
    assert all(part.startswith(start) for part, start in zip(found[2:], where, strict=True))
    assert caught.value.mend


def test_a_column_that_no_formula_can_name_is_told(tmp_path: Path) -> None:
    survey = from_file(tmp_path, lambda f: f.rename(columns={"wealth": "ﬁeld"}))
    with pytest.raises(DesignError, match="a formula cannot name 'ﬁeld': rename it to 'field'"):
        build_design(theory("field"), survey)


# -------------------------------------------------------------------- availability

OPEN = {"available": {"international": "open"}}


def with_open(values: Callable[[pd.DataFrame], Any]) -> pd.DataFrame:
    return people().assign(open=values)


@pytest.mark.parametrize(
    ("frame", "says", "where"),
    [
        (people(), "read from 'open', which is not there", "key available.international"),
        (with_open(lambda f: 2), "must be 0 or 1, got 2", "column open"),
        (with_open(lambda f: 0.5), "must be 0 or 1", "rows 0, 1, 2, 3, 4 (first of 300)"),
        (with_open(lambda f: f["wealth"].where(f.index < 0)), "must be 0 or 1", "column open"),
        (with_open(lambda f: f["region"]), "'open' holds text", "column open"),
        (with_open(lambda f: 0), "'international' was chosen where it is not", "column open"),
    ],
)
def test_availability_that_does_not_fit_is_refused(
    frame: pd.DataFrame, says: str, where: str
) -> None:
    err = refused(theory(**OPEN), frame)
    assert says in err.what
    assert where in err.where


def test_someone_without_any_alternative_is_refused() -> None:
    frame = people().assign(open=lambda f: (f.index != 12).astype(int))
    everything = {"available": dict.fromkeys(ALTERNATIVES, "open")}
    err = refused(theory(**everything), frame)
    assert err.what == "no alternative is available"
    assert "rows 12" in err.where


def test_availability_marks_what_it_says() -> None:
    frame = with_open(lambda f: (f["choice"] == "international") | (f["female"] == 1))
    available = design(theory(**OPEN), frame).columns.available
    assert available.dtype == bool
    assert available[:, :2].all()
    np.testing.assert_array_equal(available[:, 2], frame["open"])


# ----------------------------------------------------------------------- attributes

WITH_COST = {"utility": {"alternatives": "cost"}}


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({}, "'cost' is neither an attribute of the survey nor a column"),
        ({"costs": COST["cost"]}, "did you mean 'costs'?"),
        ({"cost": {"stay": 0.0, "internal": "cost_internal"}}, "no column for 'international'"),
        (
            {"cost": COST["cost"] | {"internal": "cost_intrnal"}},
            "reads the column 'cost_intrnal', which is not there; did you mean 'cost_internal'?",
        ),
        ({"cost": COST["cost"] | {"internal": "region"}}, "'region' holds text"),
        ({"cost": COST["cost"] | {"stay": np.inf}}, "of 'stay' is inf, a finite number"),
        ({"cost": COST["cost"] | {"stay": np.nan}}, "of 'stay' is missing"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(attributes: Any, says: str) -> None:
    assert says in refused(theory(**WITH_COST), attributes=attributes).what


def test_what_is_missing_of_a_closed_alternative_carries_nothing() -> None:
    frame = with_open(lambda f: (f["choice"] == "international").astype(int)).assign(
        cost_international=lambda f: f["cost_international"].where(f["open"] == 1)
    )
    built = design(theory("1", **OPEN, **WITH_COST), frame, attributes=COST)
    closed = frame["open"] == 0
    assert (built.columns.attributes[closed, 2, 0] == 0).all()
    err = refused(theory("1", **WITH_COST), frame, attributes=COST)
    # The same hole in an open alternative.
    assert err.what == "the attribute 'cost' of 'international' is missing"
    assert err.where[:2] == ("key attributes.cost.international", "column cost_international")
    rows = np.flatnonzero(frame["cost_international"].isna())
    assert err.where[2].startswith(f"rows {rows[0]}, {rows[1]}, ")


@pytest.mark.parametrize("persons", ["0", "-1"])
@pytest.mark.parametrize(
    ("utility", "labels"),
    [
        ({"alternatives": "cost"}, ((), (), ("cost",))),
        ({"only": {"internal": "1 + wealth"}},
         ((), (("internal", "asc"), ("internal", "wealth")), ())),
    ],
)  # fmt: skip
def test_a_theory_may_have_no_coefficients_of_persons(
    persons: str, utility: dict[str, Any], labels: tuple[Any, ...]
) -> None:
    spec = theory(persons, utility=utility, groups=[{"by": "origin"}])
    built = design(spec, roles=("origin",), attributes=COST)
    assert (built.persons, built.only, built.attribute_terms) == labels
    assert built.columns.persons.shape == (built.n_obs, 0)
    same_columns(built.apply(built.frame), built.columns)
    assert "no coefficient" in refused(theory(persons, groups=[{"by": "origin"}])).what


# ------------------------------------------------------------------ periods, weights


def test_each_period_after_the_first_has_constants_of_its_own() -> None:
    spec = theory("wealth", utility={"period_constants": True})
    built = design(spec, roles=("period",))
    assert built.persons == ("asc", "wealth", "period[2010]", "period[2020]")
    np.testing.assert_array_equal(built.columns.persons[:, 2], people()["period"] == "2010")
    assert design(spec).persons == ("asc", "wealth")  # no such role
    one = people().assign(period="2000")
    assert design(spec, one, roles=("period",)).persons == ("asc", "wealth")
    assert design(theory("wealth"), roles=("period",)).persons == ("asc", "wealth")
    with pytest.raises(DesignError, match="the level '2030'"):
        built.apply(people().assign(period="2030"))


@pytest.mark.parametrize(
    ("labels", "first", "others"),
    [
        (["8", "9", "10", "11"], "8", ["9", "10", "11"]),
        (["-1", "0.5", "2"], "-1", ["0.5", "2"]),
        (["2010", "1997-2000", "9"], "1997-2000", ["2010", "9"]),  # not all are numbers
        (["nan", "2", "10"], "10", ["2", "nan"]),
    ],
)
def test_the_first_period_is_the_earliest_not_the_first_in_the_alphabet(
    labels: list[str], first: str, others: list[str]
) -> None:
    frame = people().assign(period=lambda f: np.resize(labels, len(f)))
    spec = theory("wealth", utility={"period_constants": True})
    built = design(spec, frame, roles=("period",))
    assert built.persons == ("asc", "wealth", *(f"period[{label}]" for label in others))
    assert first not in "".join(built.persons[2:])


def test_weights_are_scaled_to_mean_one_or_left_out_and_a_note_says_which() -> None:
    built = design(theory(), roles=("weight",))
    assert built.weights is not None
    assert built.weights.mean() == pytest.approx(1)
    weight = people()["weight"]
    np.testing.assert_allclose(built.weights, weight / weight.mean())
    assert "averages are weighted by weight, the likelihood is not" in built.weights_note
    ignored = design(theory(weights="ignore"), roles=("weight",))
    assert ignored.weights is None
    assert "ignored, as the theory says" in ignored.weights_note
    undeclared = design(theory())
    assert undeclared.weights is None
    assert "none declared" in undeclared.weights_note


def test_a_note_says_what_of_the_sampling_design_is_used_and_by_what() -> None:
    frame = people().assign(strata="s", psu=np.arange(300) // 5, fpc=0.1)
    weighted = "averages are weighted by weight, the likelihood is not (estimand)"
    for roles, replicates, said in (
        ((), False, ""),
        (("strata", "psu"), False, "; only comparisons of theories use strata, psu"),
        (("strata",), False, "; declared and not used: strata"),
        ((), True, "; declared and not used: replicate weights"),
        (
            ("psu", "fpc"),
            True,
            "; only comparisons of theories use psu; declared and not used: fpc, replicate weights",
        ),
    ):
        built = replace(
            design(theory(), frame, roles=("weight", *roles)), has_replicates=replicates
        )
        assert built.weights_note == weighted + said
    pseudo = design(theory(weights="pseudo", groups=[]), frame, roles=("weight", "psu"))
    assert replace(pseudo, has_replicates=True).sampling_rule == ""


def test_weights_that_sum_to_zero_are_refused_unless_ignored() -> None:
    frame = people().assign(weight=0.0)
    assert "sum to zero" in refused(theory(), frame, roles=("weight",)).what
    assert design(theory(weights="ignore"), frame, roles=("weight",)).weights is None


# --------------------------------------------------------------------------- counts


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        ({"persons": 4}, "expects 4 coefficients in persons, got 3"),
        ({"only": 0}, "expects 0 coefficients in only, got 1"),
        ({"alternatives": 2}, "expects 2 coefficients in alternatives, got 1"),
    ],
)
def test_expected_counts_are_compared(expect: dict[str, int], says: str) -> None:
    utility = {"only": {"internal": "education"}, "alternatives": "cost"}
    err = refused(theory(utility=utility, expect=expect), attributes=COST)
    assert says in err.what


def test_expected_counts_leave_period_constants_out() -> None:
    spec = theory(utility={"period_constants": True}, expect={"persons": 3, "only": 0})
    assert len(design(spec, roles=("period",)).persons) == 5


# ----------------------------------------------------------------- order of things


@settings(max_examples=10)
@given(
    st.permutations(ALTERNATIVES),
    st.sampled_from(ALTERNATIVES),
    st.permutations([f"o{i}" for i in range(8)]),
)
def test_names_and_orders_only_permute(order: list[str], base: str, renamed: list[str]) -> None:
    """What alternatives and origins are called, and in which order, carries nothing else."""
    keys: dict[str, Any] = {
        "utility": {"only": {"internal": "education"}, "alternatives": "cost"},
        "groups": [{"by": "origin", "terms": "1 + wealth"}],
    }
    first = design(
        theory(choice={"alternatives": list(ALTERNATIVES), "base": base}, **keys),
        roles=("origin",), attributes=COST,
    )  # fmt: skip
    names = dict(zip([f"o{i}" for i in range(8)], renamed, strict=True))
    second = design(
        theory(choice={"alternatives": order, "base": base}, **keys),
        people().assign(origin=lambda f: f["origin"].map(names)),
        roles=("origin",), attributes=COST,
    )  # fmt: skip
    position = [order.index(a) for a in ALTERNATIVES]
    assert first.persons == second.persons
    np.testing.assert_array_equal(first.columns.persons, second.columns.persons)
    np.testing.assert_array_equal(np.take(position, first.choice), second.choice)
    np.testing.assert_array_equal(first.columns.attributes, second.columns.attributes[:, position])
    assert [ALTERNATIVES[k] for k in first.columns.only] == [order[k] for k in second.columns.only]
    nonbase = [second.nonbase.index(a) for a in first.nonbase]
    np.testing.assert_allclose(
        first.priors["persons"].loc, second.priors["persons"].loc[:, nonbase]
    )
    codes = [d.columns.groups["origin"][0] for d in (first, second)]
    before = first.layouts["origin"].levels[codes[0]].map(names)
    assert list(before) == list(second.layouts["origin"].levels[codes[1]])


# ---------------------------------------------------------------------- fingerprint

_PRINT = "from tests.design.people import rich; print(rich().fingerprint)"


def test_the_fingerprint_is_the_same_in_every_process(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRINT], capture_output=True, text=True, check=True,
        cwd=repository, env=os.environ | {"PYTHONHASHSEED": "4711"}, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == rich().fingerprint


def test_the_fingerprint_tells_what_the_posterior_depends_on() -> None:
    def put(**changes: Any) -> Design:
        keys = {"persons": "wealth + C(region, reference='west')", "frame": people()} | changes
        persons, frame = keys.pop("persons"), keys.pop("frame")
        return design(
            theory(persons, **(BY_ORIGIN | keys)), frame, roles=("origin",), attributes=COST
        )

    def poked(column: str, value: Any) -> pd.DataFrame:
        frame = people()
        frame.loc[frame[column] != value, column] = [
            value, *frame.loc[frame[column] != value, column].iloc[1:]
        ]  # fmt: skip
        return frame

    order = ["stay", "international", "internal"]
    variants = {
        "as it is": put(),
        "one number": put(frame=poked("wealth", 0.123)),
        "one choice": put(frame=poked("choice", "stay")),
        "one origin": put(frame=poked("origin", "o0")),
        "one level": put(frame=poked("region", "north")),
        "names of levels": put(frame=people().replace({"region": {"north": "nord"}})),
        "names of origins": put(frame=people().replace({"origin": {"o7": "o9"}})),
        "a column": put(persons="education + C(region, reference='west')"),
        "base": put(choice={"alternatives": list(ALTERNATIVES), "base": "internal"}),
        "order": put(choice={"alternatives": order, "base": "stay"}),
        "a prior": put(priors={"persons": {"scale": 2.0}}),
        "a scale's prior": put(priors={"scale": {"scale": 2.0}}),
        "a correlation's prior": put(priors={"correlation": {"eta": 3.0}}),
        "no group": put(groups=[]),
        "uncorrelated": put(groups=[{"by": "origin", "correlated": False}]),
        "slopes": put(groups=[{"by": "origin", "terms": "1 + wealth"}]),
        "only": put(utility={"only": {"internal": "education"}}),
        "only, elsewhere": put(utility={"only": {"international": "education"}}),
        "attributes": put(utility={"alternatives": "cost"}),
    }
    for (a, one), (b, other) in itertools.combinations(variants.items(), 2):
        assert one.fingerprint != other.fingerprint, (a, b)
    assert put().fingerprint == variants["as it is"].fingerprint
    assert put(title="the same, by another name").fingerprint == put().fingerprint
    assert replace(put(), survey_fingerprint="elsewhere").fingerprint == put().fingerprint
