"""Curves of a model file: told from each other, and from coefficients."""

from __future__ import annotations

from typing import Any

import pytest

from bayesmig.errors import SpecError
from bayesmig.spec.model import ModelSpec
from bayesmig.tomlfile import validate

CHOICE = {"alternatives": ["stay", "internal", "international"], "base": "stay"}
HILL = {"column": "network", "shape": "hill", "alternatives": ["international"]}


def model(curves: list[dict[str, Any]], **keys: Any) -> ModelSpec:
    return validate(ModelSpec, {"choice": CHOICE, "curves": curves} | keys, file="mine.toml")


def test_a_curve_has_the_label_of_its_column_or_its_own() -> None:
    other = HILL | {"alternatives": ["internal"], "name": "at_home", "shape": "hump"}
    spec = model([HILL, other], priors={"hump_bend": {"scale": 0.5}})
    assert [c.label for c in spec.curves] == ["network", "at_home"]
    assert ModelSpec.model_validate_json(spec.model_dump_json(exclude_unset=True)) == spec


def test_a_product_with_the_column_may_stand_beside_a_curve() -> None:
    model([HILL], utility={"persons": "education + education:network"})
    model([HILL], utility={"persons": "1", "only": {"internal": "network"}})
    model([HILL | {"alternatives": ["stay"]}], utility={"shared": "network"})


@pytest.mark.parametrize(
    ("curves", "keys", "key", "says"),
    [
        ([HILL | {"shape": "hil"}], {}, "curves[0].shape", "hill"),
        ([HILL | {"alternatives": []}], {}, "curves[0].alternatives", "at least 1"),
        ([HILL | {"alternatives": ["abroad"]}], {}, "curves[0].alternatives", "no"),
        ([HILL, HILL | {"alternatives": ["internal"]}], {}, "curves[1].name", "are called"),
        ([HILL, HILL | {"name": "other"}], {}, "curves[1].alternatives", "two curves of"),
        (
            [HILL | {"alternatives": CHOICE["alternatives"]}],
            {},
            "curves[0].alternatives",
            "all utilities",
        ),
        ([HILL], {"utility": {"persons": "network"}}, "curves[0]", "has a coefficient"),
        ([HILL], {"utility": {"persons": "log1p(network)"}}, "curves[0]", "has a coefficient"),
        (
            [HILL],
            {"utility": {"only": {"international": "network"}}},
            "curves[0]",
            "has a coefficient",
        ),
        ([HILL], {"utility": {"shared": "network"}}, "curves[0]", "has a coefficient"),
        (
            [HILL | {"shape": "linear"}],
            {"utility": {"shared": "wealth + network"}},
            "curves[0]",
            "has a coefficient",
        ),
        ([HILL], {"priors": {"hump_bend": {"scale": 1.0}}}, "priors.hump_bend", "no such"),
        ([], {"priors": {"curve_effect": {"slope": 1.0}}}, "priors.curve_effect", "no such"),
    ],
)
def test_what_could_not_be_told_apart_is_refused(
    curves: list[dict[str, Any]], keys: dict[str, Any], key: str, says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        model(curves, **keys)
    assert f"key {key}" in caught.value.where
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "name", "says"),
    [("hill", "netwrok", "which has 'network'"), ("saturating", "network", "which has none")],
)
def test_only_hill_curves_have_an_exponent(shape: str, name: str, says: str) -> None:
    def stated(of: str) -> dict[str, Any]:
        return {"bends": {"claim": "It bends.", "statement": f"exponent({of}) > 1"}}

    assert model([HILL], hypotheses=stated("network")).hypotheses
    with pytest.raises(SpecError, match="no Hill curve of the theory") as caught:
        model([HILL | {"shape": shape}], hypotheses=stated(name))
    assert says in str(caught.value)
