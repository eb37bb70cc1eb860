"""Consideration in a model file."""

from __future__ import annotations

from typing import Any

import pytest

from bayesmig.errors import SpecError
from bayesmig.spec.model import ModelSpec
from bayesmig.tomlfile import validate

CHOICE = {"alternatives": ["stay", "internal", "international"], "base": "stay"}
LIQUID = {
    "feasible": {"international": "wealth + log1p(network) + cost"},
    "signs": {"international": {"wealth": "positive", "cost": "negative"}},
}


def model(consideration: dict[str, Any] | None, **keys: Any) -> ModelSpec:
    data = {"choice": CHOICE} | keys
    if consideration is not None:
        data["consideration"] = consideration
    return validate(ModelSpec, data, file="mine.toml")


def test_a_theory_comes_back_from_its_own_file() -> None:
    import tomllib

    spec = model(LIQUID, priors={"feasibility": {"scale": 2.0}})
    assert validate(ModelSpec, tomllib.loads(spec.to_toml()), file="again") == spec
    assert spec.consideration is not None
    assert spec.consideration.formulas["international"].columns == ("wealth", "network", "cost")


@pytest.mark.parametrize(
    ("consideration", "keys", "key", "says"),
    [
        ({"feasible": {}}, {}, "consideration.feasible", "at least 1"),
        ({"feasible": {"stay": "wealth"}}, {}, "consideration.feasible.stay", "always feasible"),
        ({"feasible": {"abroad": "1"}}, {}, "consideration.feasible.abroad", "no"),
        ({"feasible": {"internal": "0"}}, {}, "consideration.feasible.internal", "without terms"),
        ({"feasible": {"internal": "a b"}}, {}, "consideration.feasible.internal", "language"),
        (
            LIQUID | {"signs": {"internal": {"wealth": "positive"}}},
            {},
            "consideration.signs.internal",
            "always feasible",
        ),
        (
            LIQUID | {"signs": {"international": {"wealth": "up"}}},
            {},
            "consideration.signs.international.wealth",
            "positive",
        ),
        (None, {"priors": {"feasibility": {"scale": 1.0}}}, "priors.feasibility", "no such"),
    ],
)
def test_mistakes_are_told_with_their_key(
    consideration: dict[str, Any] | None, keys: dict[str, Any], key: str, says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        model(consideration, **keys)
    assert f"key {key}" in caught.value.where
    assert says in str(caught.value)
