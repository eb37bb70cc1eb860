"""A theory as a value: what a model file may say, and how mistakes are told."""

from __future__ import annotations

import json
import tomllib
from keyword import iskeyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmig.errors import SpecError
from bayesmig.spec.model import ChoiceSet, Hypothesis, ModelSpec, merge
from bayesmig.spec.scenario import Scenario
from bayesmig.spec.study import Study
from bayesmig.tomlfile import validate

CHOICE = {"alternatives": ["stay", "internal", "international"], "base": "stay"}


def model(**keys: Any) -> ModelSpec:
    return validate(ModelSpec, {"choice": CHOICE} | keys, file="mine.toml")


def refused(**keys: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        model(**keys)
    assert caught.value.where[0] == "mine.toml"
    return caught.value


def test_the_least_model_has_sensible_defaults() -> None:
    spec = model()
    assert spec.choice.nonbase == ("internal", "international")
    assert spec.utility.persons == "1"
    assert spec.weights == "estimand"
    assert spec.groups == ()
    assert spec.priors.persons.scale == 1.0


def test_a_model_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        model().title = "other"  # type: ignore[misc]


# ------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"utilty": {}}, "key utilty", "did you mean 'utility'?"),
        ({"utility": {"person": "1"}}, "key utility.person", "did you mean 'persons'?"),
        ({"choice": CHOICE | {"bse": "stay"}}, "key choice.bse", "did you mean 'base'?"),
        ({"groups": [{"by": "origin", "term": "1"}]}, "key groups[0].term", "mean 'terms'?"),
        ({"priors": {"person": {}}}, "key priors.person", "did you mean 'persons'?"),
        ({"priors": {"persons": {"sclae": 1}}}, "key priors.persons.sclae", "mean 'scale'?"),
        ({"expect": {"person": 1}}, "key expect.person", "did you mean 'persons'?"),
        (
            {"hypotheses": {"h": {"clam": "", "statement": "share(stay) > 0"}}},
            "key hypotheses.h.clam",
            "did you mean 'claim'?",
        ),
    ],
)
def test_a_misspelt_key_names_the_nearest(keys: dict[str, Any], key: str, says: str) -> None:
    err = refused(**keys)
    assert key in err.where
    assert says in err.what + err.mend


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"choice": CHOICE | {"base": "sty"}}, "the base 'sty' is not an alternative"),
        ({"choice": CHOICE | {"alternatives": ["stay"]}}, "at least 2 entries"),
        ({"choice": CHOICE | {"alternatives": ["stay", "go", "go"]}}, "'go' is named twice"),
        ({"choice": CHOICE | {"alternatives": ["stay", "go abroad"]}}, "of the form"),
        ({"priors": {"persons": {"scale": 0}}}, "a number ≥ 1e-06"),
        ({"priors": {"persons": {"scale": -1.0}}}, "a number ≥ 1e-06"),
        ({"priors": {"persons": {"scale": 1e-300}}}, "a number ≥ 1e-06, got 1e-300"),
        ({"priors": {"persons": {"scale": 1e300}}}, "a number ≤ 1e+06, got 1e+300"),
        ({"priors": {"persons": {"scale": float("inf")}}}, "a number ≤ 1e+06"),
        ({"priors": {"persons": {"scale": float("nan")}}}, "got nan"),
        ({"priors": {"asc": {"loc": float("nan")}}}, "got nan"),
        ({"priors": {"asc": {"loc": -1e300}}}, "a number ≥ -1e+06"),
        ({"priors": {"scale": {"scale": 0.0}}}, "a number ≥ 1e-06"),
        ({"priors": {"correlation": {"eta": 0}}}, "a number ≥ 0.01"),
        ({"expect": {"persons": -1}}, "a number ≥ 0"),
        ({"mechanisms": ["M46"]}, "there is no mechanism 'M46'"),
        ({"mechanisms": ["M04", "M4"]}, "there is no mechanism 'M4'"),
        (
            {
                "hypotheses": {
                    "h": {"claim": "", "statement": "share(stay) > 0.1", "mechanism": "M00"}
                }
            },
            "there is no mechanism 'M00'",
        ),
        ({"references": ["nosuchbook2020"]}, "references.bib has no entry 'nosuchbook2020'"),
        ({"priors": {"persons": {"dist": "flat", "scale": 2.0}}}, "a flat prior has no"),
        ({"priors": {"persons": {"dist": "normal", "df": 3.0}}}, "df applies to student_t"),
        ({"priors": {"scale": {"dist": "half_normal", "df": 3.0}}}, "df applies to half_student_t"),
        ({"priors": {"persons": {"dist": "cauchy"}}}, "'normal', 'student_t'"),
        ({"priors": {"coefficient": [{"name": "x"}, {"name": "x"}]}}, "is stated twice"),
        (
            {"priors": {"coefficient": [{"name": "x", "alternative": "abroad"}]}},
            "'abroad' is not an alternative",
        ),
        ({"groups": [{"by": "origin"}, {"by": "origin"}]}, "'origin' stands twice"),
        ({"groups": [{"by": "a:b"}, {"by": "b:a"}]}, "'b:a' stands twice"),
        ({"groups": [{"by": "a:b:a"}]}, "'a:b:a' names a column twice"),
        ({"groups": [{"by": "origin", "terms": "0"}]}, "a group has no terms"),
        ({"groups": [{"by": "origin.x"}]}, "of the form"),
        ({"utility": {"persons": "1 + exp(x)"}}, "exp() is not allowed"),
        ({"utility": {"persons": "__import__('os').getpid()"}}, "not in the formula language"),
        ({"utility": {"persons": ""}}, "a formula is empty"),
        ({"utility": {"only": {"internal": "x.y"}}}, "'.' is not allowed"),
        ({"utility": {"only": {"abroad": "x"}}}, "'abroad' is not an alternative"),
        ({"utility": {"alternatives": "1 + cost"}}, "a generic constant is not identified"),
        ({"utility": {"alternatives": "0"}}, "a generic constant is not identified"),
        ({"available": {"abroad": "open"}}, "'abroad' is not an alternative"),
        ({"weights": "always"}, "'estimand', 'ignore' or 'pseudo'"),
        (
            {"hypotheses": {"h": {"claim": "", "statement": "slope(x, abroad) > 0"}}},
            "'abroad' is not an alternative",
        ),
        (
            {"hypotheses": {"h": {"claim": "", "statement": "slope(x, stay) != 0"}}},
            "'!=' holds for every draw unless rope > 0",
        ),
        (
            {"hypotheses": {"h": {"claim": "", "statement": "share(stay) > 0", "rope": -1}}},
            "a number ≥ 0",
        ),
        (
            {"hypotheses": {"1st": {"claim": "", "statement": "share(stay) > 0"}}},
            "of the form",
        ),
    ],
)
def test_what_a_model_may_not_say(keys: dict[str, Any], says: str) -> None:
    assert says in refused(**keys).what


LAX: list[tuple[str, dict[str, Any], str]] = [
    ("key priors.persons.scale", {"priors": {"persons": {"scale": "1.0"}}}, "a number"),
    ("key priors.persons.scale", {"priors": {"persons": {"scale": True}}}, "a number"),
    ("key groups[0].correlated", {"groups": [{"by": "o", "correlated": "off"}]}, "true or false"),
    ("key groups[0].correlated", {"groups": [{"by": "o", "correlated": 0}]}, "true or false"),
    ("key utility.period_constants", {"utility": {"period_constants": "no"}}, "true or false"),
    ("key expect.only", {"expect": {"only": 2.0}}, "a whole number"),
    ("key expect.only", {"expect": {"only": True}}, "a whole number"),
    (
        "key hypotheses.h.rope",
        {"hypotheses": {"h": {"claim": "", "statement": "share(stay) > 0.1", "rope": "0.1"}}},
        "a number",
    ),
    ("key title", {"title": 3}, "text"),
    ("key groups", {"groups": {"by": "o"}}, "a list"),
]


@pytest.mark.parametrize(("key", "keys", "wanted"), LAX)
def test_nothing_but_a_whole_number_stands_for_another_type(
    key: str, keys: dict[str, Any], wanted: str
) -> None:
    err = refused(**keys)
    assert f"expected {wanted}, got" in err.what
    assert err.where == ("mine.toml", key)
    assert model(priors={"persons": {"scale": 1}}).priors.persons.scale == 1.0


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("key choice.base", {"choice": CHOICE | {"base": "sty"}}),
        ("key utility.only.internal", {"utility": {"only": {"internal": "x.y"}}}),
        ("key groups[1].terms", {"groups": [{"by": "a"}, {"by": "b", "terms": "exp(x)"}]}),
        ("key groups[1].by", {"groups": [{"by": "a"}, {"by": "a"}]}),
        ("key priors.persons.df", {"priors": {"persons": {"df": 3}}}),
        ("key priors.scale.df", {"priors": {"scale": {"df": 3}}}),
        ("key priors.coefficient[1]", {"priors": {"coefficient": [{"name": "x"}] * 2}}),
        (
            "key priors.coefficient[0].alternative",
            {"priors": {"coefficient": [{"name": "x", "alternative": "abroad"}]}},
        ),
        ("key mechanisms[1]", {"mechanisms": ["M04", "M4"]}),
        ("key references[0]", {"references": ["dehas2009"]}),
        (
            "key hypotheses.women.statement",
            {"hypotheses": {"women": {"claim": "", "statement": "share(stay) < share(stay)"}}},
        ),
        (
            "key hypotheses.women.rope",
            {"hypotheses": {"women": {"claim": "", "statement": "share(stay) != 0.5"}}},
        ),
    ],
)
def test_a_refusal_names_the_whole_key(key: str, keys: dict[str, Any]) -> None:
    assert refused(**keys).where == ("mine.toml", key)


def test_several_refusals_are_told_at_once() -> None:
    err = refused(choice=CHOICE | {"base": "sty"}, groups=[{"by": "a", "terms": "exp(x)"}])
    assert err.where == ("mine.toml", "key choice.base")
    assert "also:  key groups[0].terms: 'exp(x)' is not in the formula language" in err.what


def test_a_misspelt_reference_names_the_nearest_and_a_citation_stands_for_itself() -> None:
    assert "did you mean 'dehaas2009'?" in refused(references=["dehas2009"]).mend
    assert model(references=["My own book, 2020", "dehaas2009"], mechanisms=["M01", "M45"])


CONSTRUCTED: list[tuple[Any, dict[str, Any], str, str]] = [
    (ModelSpec, {"choice": CHOICE, "titel": "x"}, "key titel", "did you mean 'title'?"),
    (ModelSpec, {"choice": CHOICE | {"base": "c"}}, "key choice.base", "name one of"),
    (ChoiceSet, CHOICE | {"base": "c"}, "key base", "name one of"),
    (Hypothesis, {"claim": "", "statement": "1 > 0"}, "key statement", "for instance"),
    (Scenario, {"interventons": []}, "key interventons", "did you mean 'interventions'?"),
    (Study, {"survey": "s", "theories": ["a"], "seeds": 1}, "key seeds", "did you mean 'seed'?"),
]


@pytest.mark.parametrize(("kind", "keys", "key", "mend"), CONSTRUCTED)
def test_a_value_built_in_python_is_refused_as_a_file_is(
    kind: Any, keys: dict[str, Any], key: str, mend: str
) -> None:
    with pytest.raises(SpecError) as caught:
        kind(**keys)
    assert caught.value.where == (kind.__name__, key)
    assert mend in caught.value.mend


def test_a_model_with_every_table_is_accepted() -> None:
    """The negative control of the refusals above: the same keys, said properly."""
    spec = model(
        utility={
            "persons": "female + log1p(x)",
            "only": {"international": "1 + y"},
            "alternatives": "cost",
        },
        available={"international": "open"},
        groups=[{"by": "origin", "terms": "1 + x"}, {"by": "household"}],
        weights="ignore",
        priors={
            "persons": {"dist": "student_t", "df": 3.0, "scale": 0.5},
            "scale": {"dist": "half_student_t", "df": 3.0},
            "coefficient": [{"name": "x"}, {"name": "x", "alternative": "internal"}],
        },
        hypotheses={"h": {"claim": "", "statement": "slope(x, stay) != 0", "rope": 0.1}},
    )
    assert spec.utility.alternatives_formula is not None
    assert spec.hypotheses["h"].inequalities[0].sign == "!="


# ----------------------------------------------------------------- in, out, changed

_NAMES = st.from_regex(r"[a-z][a-z_]{0,6}", fullmatch=True).filter(lambda n: not iskeyword(n))
_SCALES = st.floats(0.01, 100, allow_nan=False)


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(_NAMES, min_size=2, max_size=5, unique=True))
    columns = draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True))
    return {
        "name": "theory",
        "title": draw(st.text(max_size=20)),
        "choice": {"alternatives": names, "base": draw(st.sampled_from(names))},
        "utility": {
            "persons": " + ".join(["1", *columns]),
            "only": {draw(st.sampled_from(names)): columns[0]},
            "period_constants": draw(st.booleans()),
        },
        "columns": {columns[0]: draw(st.text(max_size=20))},
        "groups": draw(st.sampled_from([[], [{"by": "origin"}], [{"by": "x", "terms": "0 + y"}]])),
        "priors": {
            "persons": draw(
                st.one_of(
                    st.just({"dist": "flat"}),
                    st.fixed_dictionaries({"scale": _SCALES, "per": st.just("unit")}),
                    st.fixed_dictionaries({"dist": st.just("student_t"), "df": _SCALES}),
                )
            ),
            "coefficient": [{"name": columns[0], "loc": draw(st.floats(-9, 9))}],
        },
        "hypotheses": {"h": {"claim": "", "statement": f"share({names[0]}) > 0.5"}},
        "expect": {"persons": draw(st.integers(0, 9))},
    }


@given(models())
def test_a_model_survives_toml(data: dict[str, Any]) -> None:
    spec = validate(ModelSpec, data, file="x.toml")
    again = validate(ModelSpec, tomllib.loads(spec.to_toml()), file="x.toml")
    assert again == spec
    assert again.model_fields_set == spec.model_fields_set
    assert again.to_toml() == spec.to_toml()


def test_different_models_are_written_differently() -> None:
    assert model(weights="ignore").to_toml() != model().to_toml()
    assert "weights" not in model().to_toml()  # only what was said


def test_replace_checks_like_a_file() -> None:
    spec = model(utility={"persons": "x"})
    changed = spec.replace(utility={"persons": "x + y"}, weights="ignore")
    assert changed.utility.persons == "x + y"
    assert spec.utility.persons == "x"
    with pytest.raises(SpecError, match="unknown key"):
        spec.replace(utilities={})
    with pytest.raises(SpecError, match="not an alternative"):
        spec.replace(choice=CHOICE | {"base": "nowhere"})


def test_the_schema_prints_and_knows_every_key() -> None:
    schema = json.loads(ModelSpec.json_schema())
    assert {*ModelSpec.model_fields, "extends"} == set(schema["properties"])
    assert schema["then"]["required"] == ["choice"]
    assert schema["additionalProperties"] is False


def test_merging_adds_formulas_that_start_with_plus_and_replaces_the_rest() -> None:
    parent = {"utility": {"persons": "1 + a", "period_constants": True}, "groups": [1], "k": "x"}
    child = {"utility": {"persons": "+ b"}, "groups": [2], "k": "y"}
    merged = merge(parent, child)
    assert merged == {
        "utility": {"persons": "1 + a + b", "period_constants": True},
        "groups": [2],
        "k": "y",
    }
    assert parent["utility"]["persons"] == "1 + a"  # type: ignore[index]


def test_merging_puts_priors_of_coefficients_beside_the_parent_s() -> None:
    def priors(*entries: dict[str, Any]) -> dict[str, Any]:
        return {"priors": {"coefficient": list(entries)}}

    parent = priors(
        {"name": "x", "scale": 1.0, "per": "unit"},
        {"name": "x", "alternative": "internal"},
        {"name": "y"},
    )
    child = priors({"block": "persons", "name": "x", "scale": 2.0}, {"name": "y", "block": "only"})
    merged = merge(parent, child)["priors"]["coefficient"]
    # An entry replaces as a whole: ``per`` is not inherited.
    assert merged == [
        {"name": "x", "alternative": "internal"},
        {"name": "y"},
        {"block": "persons", "name": "x", "scale": 2.0},
        {"name": "y", "block": "only"},
    ]
    assert len(parent["priors"]["coefficient"]) == 3
    assert merge(parent, priors(3))["priors"]["coefficient"][-1] == 3  # refused later
    assert merge({"utility": {"persons": "a"}}, {"utility": {"persons": "b"}}) == {
        "utility": {"persons": "b"}
    }


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("vpc(household, internal) > 0.1", "'household' is no level of the theory"),
        ("vpc(origin, stay) > 0.1", "the base 'stay' has no effects of groups"),
        ("correlation(origin, stay, internal) > 0", "the base 'stay' has no effects of groups"),
        ("correlation(region, internal, international) > 0", "are uncorrelated in this theory"),
        ("vpc(origin, abroad) > 0", "'abroad' is not an alternative"),
        ("correlation(origin, internal, abroad) > 0", "'abroad' is not an alternative"),
        ("unable(internal) > 0.1", "everybody is able to choose 'internal'"),
        ("spread(household, ties, internal) > 0", "'household' is no level of the theory"),
        ("spread(origin, ties, stay) > 0", "the base 'stay' has no effects of groups"),
        ("spread(origin, wealth, internal) > 0", "'wealth' does not vary over 'origin'"),
        ("spread(region, ties, abroad) > 0", "'abroad' is not an alternative"),
    ],
)
def test_a_statement_about_what_the_theory_does_not_have_is_refused(
    statement: str, said: str
) -> None:
    keys = {
        "choice": {"alternatives": ["stay", "internal", "international"], "base": "stay"},
        "groups": [
            {"by": "origin", "terms": "1 + ties"},
            {"by": "region", "correlated": False},
        ],
        "consideration": {"feasible": {"international": "wealth"}},
        "hypotheses": {"h": {"claim": "c", "statement": statement}},
    }
    with pytest.raises(SpecError) as caught:
        validate(ModelSpec, keys, file="mine")
    assert said in str(caught.value)
    fine = (
        "unable(international) > 0.1 and vpc(region, internal) > 0.1"
        " and spread(origin, ties, internal) > 0.1"
    )
    keys["hypotheses"] = {"h": {"claim": "c", "statement": fine}}
    assert validate(ModelSpec, keys, file="mine").hypotheses
