"""The formula that is printed is the utility that is fitted, to the last digit."""

from __future__ import annotations

import math
import re

import numpy as np

import bayesmig as bm
from bayesmig.choice.utility import Coefficients, utilities
from bayesmig.explanation.page import Explanation
from bayesmig.explanation.utility import persons_summands
from bayesmig.inference.layout import parameter_dims
from tests.fabricate import small_design, small_frame, survey_of

FORMULA = "female * age_10 * education + square(age_10) + log1p(urban) + wealth"


def printed(explanation: Explanation, left: str) -> list[str]:
    """The summands of an equation, read off the text."""
    lines = explanation.at_width(10_000).splitlines()
    line = next(text for text in lines if text.strip().startswith(f"{left} = "))
    return line.split(" = ", 1)[1].split(" + ")


def value(product: str, row: dict[str, float]) -> float:
    """The columns of a printed product, multiplied."""
    found = 1.0
    for factor in product.split("·")[1:]:
        if factor.endswith("²"):
            found *= row[factor[:-1]] ** 2
        elif inside := re.fullmatch(r"log1p\((\w+)\)", factor):
            found *= math.log1p(row[inside[1]])
        else:
            found *= row[factor]
    return found


def test_the_printed_utility_is_the_one_that_is_computed() -> None:
    frame = small_frame(60, origins=4)
    survey = survey_of(frame)
    groups = [{"by": "origin", "terms": "1 + wealth"}, {"by": "household", "terms": "0 + female"}]
    design = small_design(FORMULA, survey=survey, groups=groups)
    rng = np.random.default_rng(3)
    beta = rng.normal(size=(len(design.persons), 2))
    effects = {
        by: rng.normal(size=(len(lay.levels), 2, len(lay.terms)))
        for by, lay in design.layouts.items()
    }
    computed = utilities(np, design.columns, Coefficients(persons=beta, effects=effects))
    terms = printed(bm.explain(design.spec, survey), "V[j]")
    products = [t for t in terms if re.match(r"b\d+\[j\]", t)]
    for n, row in enumerate(survey.frame.to_dict("records")):
        for j, position in enumerate((1, 2)):
            total = 0.0
            for term in terms:
                if term == "asc[j]":
                    total += beta[0, j]
                elif term in products:
                    number = int(term[1 : term.index("[")])
                    total += beta[number, j] * value(term, row)
                else:
                    by, slope = re.fullmatch(r"u_(\w+)\[j(?:,(\w+))?\].*", term).groups()  # type: ignore[union-attr]
                    layout = design.layouts[by]
                    group = list(layout.levels).index(row[by])
                    place = list(layout.terms).index(slope or "asc")
                    total += effects[by][group, j, place] * (row[slope] if slope else 1.0)
            assert abs(total - computed[n, position]) < 1e-12
        assert computed[n, 0] == 0.0


def test_numbers_and_labels_are_those_of_a_fit() -> None:
    """``b3`` is the third coefficient after the constant, under the label that a fit lists."""
    design = small_design(FORMULA)
    summands = persons_summands(design.spec)
    assert [s.symbol for s in summands] == [f"b{k}" for k in range(1, len(design.persons))]
    assert ("asc", *(s.label for s in summands)) == design.persons


def test_scales_and_correlations_are_named_as_in_a_fit() -> None:
    for correlated in (True, False):
        groups = [{"by": "origin", "correlated": correlated}]
        design = small_design(groups=groups)
        text = bm.explain(design.spec).text
        for name in ("sigma_origin", "corr_origin"):
            assert (name in parameter_dims(design)) == (name in text)


def test_attributes_enter_the_base_too() -> None:
    frame = small_frame(40).assign(near=1.0, far=2.0)
    cost = {"stay": 3.0, "internal": "near", "international": "far"}
    survey = survey_of(
        frame.assign(near=frame["wealth"], far=frame["age"]), attributes={"cost": cost}
    )
    design = small_design(
        survey=survey,
        groups=[],
        utility={"persons": "1", "alternatives": "cost + cost:female", "only": {"stay": "urban"}},
    )
    computed = utilities(
        np,
        design.columns,
        Coefficients(persons=np.zeros((1, 2)), only=np.array([5.0]), attributes=np.array([2.0, 7])),
    )
    explanation = bm.explain(design.spec, survey)
    numbers = {"g1": 2.0, "g2": 7.0, "c1": 5.0}
    for n, row in enumerate(survey.frame.to_dict("records")):
        for position, alternative in enumerate(("stay", "internal", "international")):
            at = cost[alternative]
            held = row | {f"cost[{alternative}]": row[at] if isinstance(at, str) else at}
            total = 0.0
            base = printed(explanation, "V[stay]") if alternative == "stay" else []
            own = [t.replace("[j]", f"[{alternative}]") for t in printed(explanation, "V[j]")]
            for term in base or own:
                if term[0] == "g":
                    total += numbers[term[:2]] * value(term, held)
            if alternative == "stay":
                total += 5.0 * row["urban"]
            assert abs(total - computed[n, position]) < 1e-12
