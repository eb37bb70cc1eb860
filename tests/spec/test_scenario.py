"""A policy as a value: typed interventions, and how they read."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmig.errors import SpecError
from bayesmig.spec.scenario import Scenario
from bayesmig.tomlfile import validate

WHERE = [{"column": "age", "above": 15, "below": 25}, {"column": "region", "one_of": ["a", 2]}]
EVERY_KIND = {
    "multiply x by 0.5": {"kind": "scale", "column": "x", "factor": 0.5},
    "add -2 to x where female = 1": {
        "kind": "add", "column": "x", "value": -2, "where": [{"column": "female", "equals": 1}],
    },
    "set x to town where age > 15 and age < 25 and region in a, 2": {
        "kind": "set", "column": "x", "value": "town", "where": WHERE,
    },
    "set x to 0": {"kind": "set", "column": "x", "value": 0},
    "keep x at least 1": {"kind": "clip", "column": "x", "lower": 1},
    "keep x at least -1 and at most 1": {"kind": "clip", "column": "x", "lower": -1, "upper": 1},
    "close abroad": {"kind": "availability", "alternative": "abroad", "available": False},
    "open abroad where x < 0": {
        "kind": "availability", "alternative": "abroad", "available": True,
        "where": [{"column": "x", "below": 0}],
    },
    "cost of abroad: multiply by 2": {
        "kind": "attribute", "attribute": "cost", "alternative": "abroad", "change": "scale",
        "value": 2,
    },
    "shift the coefficient asc of abroad by -0.5": {
        "kind": "coefficient", "name": "asc", "alternative": "abroad", "shift": -0.5,
    },
    "shift the coefficient cost by 1": {
        "kind": "coefficient", "block": "alternatives", "name": "cost", "shift": 1,
    },
}  # fmt: skip


def scenario(*interventions: Any) -> Scenario:
    return validate(Scenario, {"interventions": list(interventions)}, file="mine.toml")


@pytest.mark.parametrize(("text", "intervention"), EVERY_KIND.items())
def test_every_intervention_says_what_it_does(text: str, intervention: dict[str, Any]) -> None:
    assert str(scenario(intervention).interventions[0]) == text


@pytest.mark.parametrize(
    ("intervention", "says"),
    [
        ({"kind": "scale", "column": "x"}, "the key 'factor' is missing"),
        ({"kind": "scale", "column": "x", "factr": 2}, "unknown key 'factr'"),
        ({"kind": "skale", "column": "x"}, "unknown kind 'skale'"),
        ({"column": "x", "factor": 2}, "the key 'kind' is missing"),
        ({"kind": "scale", "column": "x", "factor": "half"}, "expected a number"),
        ({"kind": "add", "column": "x", "value": float("nan")}, "finite"),
        ({"kind": "set", "column": "x y", "value": 1}, "of the form"),
        ({"kind": "clip", "column": "x"}, "clip needs lower, upper or both"),
        ({"kind": "clip", "column": "x", "lower": 2, "upper": 1}, "lower > upper"),
        ({"kind": "availability", "alternative": "a", "available": "no thanks"}, "true or false"),
        ({"kind": "coefficient", "name": "asc", "shift": 1}, "belongs to an alternative"),
        (
            {"kind": "coefficient", "block": "alternatives", "name": "cost", "alternative": "a",
             "shift": 1},
            "belongs to an alternative",
        ),
        ({"kind": "coefficient", "name": "asc", "alternative": "a", "shift": 1, "where": []},
         "unknown key 'where'"),
        ({"kind": "add", "column": "x", "value": 1, "where": [{"column": "y"}]},
         "needs one condition, got none"),
        (
            {"kind": "add", "column": "x", "value": 1,
             "where": [{"column": "y", "equals": 1, "below": 2}]},
            "needs one condition, got ['below', 'equals']",
        ),
    ],
)  # fmt: skip
def test_what_a_scenario_may_not_say(intervention: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        scenario(intervention)
    assert says in caught.value.what
    assert caught.value.where[0] == "mine.toml"


def test_a_scenario_does_something() -> None:
    with pytest.raises(SpecError, match="at least 1 entries"):
        scenario()


@given(st.lists(st.sampled_from(list(EVERY_KIND.values())), min_size=1, max_size=5))
def test_a_scenario_survives_toml(interventions: list[dict[str, Any]]) -> None:
    spec = scenario(*interventions)
    again = validate(Scenario, tomllib.loads(spec.to_toml()), file="x.toml")
    assert again == spec
    assert again.to_toml() == spec.to_toml()
    assert list(map(str, again.interventions)) == list(map(str, spec.interventions))


def test_the_schema_prints_and_lists_every_kind() -> None:
    schema = json.loads(Scenario.json_schema())
    kinds = schema["properties"]["interventions"]["items"]["discriminator"]["mapping"]
    assert set(kinds) == {i["kind"] for i in EVERY_KIND.values()}
