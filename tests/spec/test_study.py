"""A study as a value."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from bayesmig.errors import SpecError
from bayesmig.spec.study import Study
from bayesmig.tomlfile import validate

LEAST = {"survey": "survey.toml", "theories": ["baseline", "my/networks.toml"], "seed": 1}


def study(**keys: Any) -> Study:
    return validate(Study, LEAST | keys, file="study.toml")


def test_a_study_survives_toml() -> None:
    spec = study(
        main="networks", scenarios=["border_closure"], sampling={"chains": 2},
        questions={"by": ["female"]},
        compare=[{"question": "person"}, {"question": "origin", "folds": 10}],
    )  # fmt: skip
    assert validate(Study, tomllib.loads(spec.to_toml()), file="x") == spec
    assert spec.sampling.draws == 1000


def test_the_schema_prints() -> None:
    schema = json.loads(Study.json_schema())
    assert set(schema["required"]) == set(LEAST)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"seeds": 1}, "unknown key 'seeds'"),
        ({"seed": -1}, "a number ≥ 0"),
        ({"seed": 1.5}, "a whole number"),
        ({"theories": []}, "at least 1 entries"),
        ({"theories": ["a", "a"]}, "'a' stands twice"),
        ({"scenarios": ["a", "a"]}, "'a' stands twice"),
        ({"main": "a/b"}, "text of the form"),
        ({"sampling": {"chains": 0}}, "a number ≥ 1"),
        ({"sampling": {"draws": 5}}, "a number ≥ 10"),
        ({"sampling": {"draws": 10**12}}, "a number ≤ 100000"),
        ({"sampling": {"tune": 10**12}}, "a number ≤ 100000"),
        ({"sampling": {"ess": 399}}, "a number ≥ 400"),
        ({"sampling": {"ess": 500, "method": "nuts"}}, "method = 'nuts' makes none"),
        ({"sampling": {"ess": 500, "draws": 100}}, "400 draws cannot be worth 500"),
        ({"questions": {"by": ["a", "b", "a"]}}, "'a' stands twice"),
        ({"questions": {"slopes": ["a", "a"]}}, "'a' stands twice"),
        ({"compare": [{"question": "origin"}, {"question": "origin"}]}, "is asked twice"),
        ({"compare": [{"question": "origin", "folds": 1}]}, "a number ≥ 2"),
        ({"compare": [{"unit": "obs"}]}, "unknown key 'unit'"),
        ({"seed": True}, "a whole number"),
        ({"seed": "1"}, "a whole number"),
        ({"seed": 1.0}, "a whole number"),
        ({"sampling": {"target_accept": 1.0}}, "a number < 1"),
        ({"sampling": {"drows": 5}}, "unknown key 'drows'"),
    ],
)
def test_what_a_study_may_not_say(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        study(**keys)
    assert says in caught.value.what


def test_a_study_needs_a_seed() -> None:
    with pytest.raises(SpecError, match="the key 'seed' is missing"):
        validate(Study, {k: v for k, v in LEAST.items() if k != "seed"}, file="study.toml")
