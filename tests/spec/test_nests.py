"""Nests of a model file: trees, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from bayesmig.errors import SpecError
from bayesmig.spec.model import ModelSpec
from bayesmig.tomlfile import validate

CHOICE = {"alternatives": ["stay", "town", "city", "abroad"], "base": "stay"}
MOVE = {"name": "move", "alternatives": ["abroad"]}
HOME = {"name": "home", "alternatives": ["town", "city"], "within": "move"}


def model(nests: list[dict[str, Any]], **keys: Any) -> ModelSpec:
    return validate(ModelSpec, {"choice": CHOICE, "nests": nests} | keys, file="mine.toml")


def test_nests_may_lie_in_nests() -> None:
    spec = model([MOVE, HOME], priors={"lambda_nest": {"alpha": 2.0, "beta": 3.0}})
    assert [nest.within for nest in spec.nests] == [None, "move"]
    assert spec.priors.lambda_nest.beta == 3.0
    assert ModelSpec.model_validate_json(spec.model_dump_json(exclude_unset=True)) == spec


def test_the_prior_is_uniform_where_nothing_is_said() -> None:
    prior = model([{"name": "move", "alternatives": ["town", "abroad"]}]).priors.lambda_nest
    assert (prior.alpha, prior.beta) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("nests", "key", "says"),
    [
        ([{"name": "m", "alternatives": ["town", "cty"]}], "nests[0].alternatives", "mean 'city'"),
        ([MOVE, HOME | {"within": "mve"}], "nests[1].within", "did you mean 'move'"),
        ([MOVE, HOME | {"name": "move"}], "nests[1].name", "stands twice"),
        ([{"name": "m", "alternatives": ["town", "town"]}], "nests[0].alternatives", "two nests"),
        (
            [MOVE, HOME, {"name": "x", "alternatives": ["stay", "city"]}],
            "nests[2].alternatives",
            "two nests",
        ),
        ([MOVE | {"within": "home"}, HOME], "nests[0].within", "lies in itself"),
        ([MOVE], "nests[0].alternatives", "holds 1 alternative"),
        ([{"name": "m"}, HOME | {"within": "m"}], "nests[0].alternatives", "holds 1 alternative"),
        (
            [{"name": "all", "alternatives": ["stay", "town", "city", "abroad"]}],
            "nests",
            "holds 1 alternative",
        ),
        ([{"name": "m", "alternatives": ["town", "city"], "lambda": 1}], "nests[0].lambda", "know"),
    ],
)
def test_what_is_no_tree_is_refused(nests: list[dict[str, Any]], key: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        model(nests)
    assert f"key {key}" in caught.value.where
    assert says in caught.value.what + caught.value.mend


def test_a_prior_of_no_nest_is_refused() -> None:
    with pytest.raises(SpecError, match="no such parameter"):
        model([], priors={"lambda_nest": {"alpha": 2.0}})
