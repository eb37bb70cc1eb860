"""What rests on priors and form is said, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from bayesmig.design.design import Design, build_design
from tests.fabricate import theory
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
