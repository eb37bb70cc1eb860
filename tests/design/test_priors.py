"""Priors of a theory in the units of its coefficients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmig.design.design import CONSTANT_SD, Design
from bayesmig.design.priors import PriorArray
from bayesmig.errors import SpecError
from tests.design.people import COST, design, people, theory

FLAT, NORMAL, STUDENT, LAPLACE = 0, 1, 2, 3


def prior(built: Design, name: str, alternative: str) -> tuple[int, float, float, float]:
    """Distribution, centre, scale and degrees of freedom of one coefficient of persons."""
    p = built.priors["persons"]
    at = built.persons.index(name), built.nonbase.index(alternative)
    return int(p.dist[at]), float(p.loc[at]), float(p.scale[at]), float(p.df[at])


def put(formula: str = "female + wealth", /, **priors: Any) -> Design:
    return design(theory(formula, priors=priors))


# ------------------------------------------------------------------------- defaults


def test_a_constant_is_centred_on_the_log_of_its_share_against_the_base() -> None:
    built, chosen = design(theory("1")), people()["choice"].value_counts()
    for alternative in ("internal", "international"):
        dist, loc, scale, _ = prior(built, "asc", alternative)
        expected = np.log((chosen[alternative] + 0.5) / (chosen["stay"] + 0.5))
        assert (dist, scale) == (NORMAL, CONSTANT_SD)
        assert loc == pytest.approx(expected)


def test_a_rare_alternative_is_expected_to_be_rare() -> None:
    frame = people(3000)
    rare = frame["choice"].where(frame["choice"] != "international", "stay")
    rare.iloc[0] = "international"
    _, loc, *_ = prior(design(theory("1"), frame.assign(choice=rare)), "asc", "international")
    assert loc < -7


def test_coefficients_are_normal_around_zero_per_standard_deviation() -> None:
    built, frame = put("education + square(wealth) + female"), people()
    columns = {
        "education": frame["education"],
        "square(wealth)": frame["wealth"] ** 2,
        "female": frame["female"],
    }
    for name, column in columns.items():
        dist, loc, scale, _ = prior(built, name, "internal")
        assert (dist, loc) == (NORMAL, 0.0)
        assert scale == pytest.approx(1 / np.std(column))


def test_a_constant_reaches_as_far_as_columns_are_from_their_zero() -> None:
    """Prior odds at the average person do not depend on where a column has its zero."""
    frame = people().assign(
        near=lambda f: f["wealth"] - f["wealth"].mean(), far=lambda f: f["wealth"] + 50
    )
    _, _, near, _ = prior(design(theory("near"), frame), "asc", "internal")
    _, _, far, _ = prior(design(theory("far"), frame), "asc", "internal")
    assert near == pytest.approx(CONSTANT_SD)
    away = frame["far"].mean() / frame["far"].std(ddof=0)
    assert far == pytest.approx(np.hypot(CONSTANT_SD, away))
    per_unit = theory("far", priors={"persons": {"scale": 0.1, "per": "unit"}})
    _, _, unit, _ = prior(design(per_unit, frame), "asc", "internal")
    assert unit == pytest.approx(np.hypot(CONSTANT_SD, 0.1 * frame["far"].mean()))


def test_prior_shares_at_the_average_person_are_near_those_observed() -> None:
    built = design(theory("female + education + wealth + C(region, reference='west')"))
    p, x = built.priors["persons"], built.columns.persons
    rng = np.random.default_rng(0)
    beta = p.loc + p.scale * rng.standard_normal((4000, *p.loc.shape))
    odds = np.median(x.mean(axis=0) @ beta, axis=0)
    np.testing.assert_allclose(odds, p.loc[0], atol=0.3)


# ----------------------------------------------------------------------- as stated


def test_a_block_s_prior_holds_for_its_coefficients_and_not_for_the_constant() -> None:
    built = put(persons={"dist": "student_t", "scale": 0.5, "df": 3.0, "per": "unit"})
    assert prior(built, "wealth", "internal") == (STUDENT, 0.0, 0.5, 3.0)
    assert prior(built, "asc", "internal")[0] == NORMAL
    flat = put(persons={"dist": "flat"})
    assert prior(flat, "wealth", "internal")[0] == FLAT
    assert prior(flat, "asc", "internal")[:1] == (NORMAL,)
    assert flat.priors["persons"].is_flat
    assert not built.priors["persons"].is_flat


def test_a_stated_constant_is_taken_as_stated() -> None:
    built = put(asc={"loc": -1.0, "scale": 0.3, "dist": "laplace"})
    assert prior(built, "asc", "internal")[:3] == (LAPLACE, -1.0, 0.3)
    centred = put(asc={"scale": 0.3})
    assert prior(centred, "asc", "internal")[1:3] == (prior(put(), "asc", "internal")[1], 0.3)


def test_a_named_coefficient_comes_before_its_block_and_one_alternative_before_all() -> None:
    built = put(
        coefficient=[
            {"name": "wealth", "scale": 0.2, "per": "unit", "loc": 0.1},
            {"name": "wealth", "alternative": "international", "dist": "laplace", "per": "unit"},
            {"name": "asc", "alternative": "internal", "loc": -3.0, "scale": 0.1},
            {"name": "female", "scale": 2.0},
        ]
    )
    assert prior(built, "wealth", "internal")[:3] == (NORMAL, 0.1, 0.2)
    assert prior(built, "wealth", "international")[:3] == (LAPLACE, 0.0, 1.0)
    assert prior(built, "asc", "internal")[1:3] == (-3.0, 0.1)
    assert prior(built, "asc", "international") == prior(put(), "asc", "international")
    spread = np.std(people()["female"])
    assert prior(built, "female", "internal")[2] == pytest.approx(2.0 / spread)


@pytest.mark.parametrize(
    ("coefficient", "says"),
    [
        ({"name": "welth"}, "did you mean 'wealth'?"),
        ({"name": "wealth", "alternative": "stay"}, "'wealth' of 'stay'"),
        ({"name": "wealth", "block": "only"}, "not a coefficient of the block 'only'"),
        ({"name": "education", "block": "only", "alternative": "international"}, "'only'"),
        ({"name": "costs", "block": "alternatives"}, "did you mean 'cost'?"),
    ],
)
def test_a_prior_of_nothing_is_refused(coefficient: dict[str, Any], says: str) -> None:
    spec = theory(
        utility={"only": {"internal": "1 + education"}, "alternatives": "cost", "persons": "0 + "
                 "female + wealth"},
        priors={"coefficient": [coefficient]},
    )  # fmt: skip
    with pytest.raises(SpecError) as caught:
        design(spec, attributes=COST)
    assert says in caught.value.what
    assert caught.value.where == ("key priors.coefficient",)


def test_other_blocks_have_priors_of_their_own() -> None:
    spec = theory(
        utility={"persons": "0 + wealth", "only": {"internal": "1 + education"},
                 "alternatives": "cost"},
        priors={
            "only": {"scale": 3.0, "per": "unit"},
            "alternatives": {"dist": "laplace", "scale": 2.0},
            "coefficient": [{"block": "only", "name": "education", "loc": 0.4}],
        },
    )  # fmt: skip
    built = design(spec, attributes=COST)
    only, generic = built.priors["only"], built.priors["alternatives"]
    assert built.only == (("internal", "asc"), ("internal", "education"))
    assert only.loc[0] == prior(design(theory("1")), "asc", "internal")[1]
    assert only.scale[0] == pytest.approx(CONSTANT_SD, rel=0.01)
    assert only.loc[1] == 0.4
    assert generic.dist.tolist() == [LAPLACE]
    spread = built.columns.attributes.reshape(-1).std()
    assert generic.scale[0] == pytest.approx(2.0 / spread)


# ------------------------------------------------------------------------- density


@settings(max_examples=40)
@given(
    st.integers(0, 3), st.floats(-3, 3), st.floats(0.1, 5), st.floats(1, 30),
    st.floats(-20, 20), st.floats(-20, 20),
)  # fmt: skip
def test_log_densities_are_those_of_the_textbook(
    dist: int, loc: float, scale: float, df: float, a: float, b: float
) -> None:
    p = PriorArray(*(np.array([v]) for v in (dist, loc, scale, df)))

    def textbook(x: float) -> float:
        return {
            FLAT: 0.0,
            NORMAL: -math.log(scale * math.sqrt(2 * math.pi)) - (x - loc) ** 2 / (2 * scale**2),
            STUDENT: math.lgamma((df + 1) / 2) - math.lgamma(df / 2)
            - math.log(math.sqrt(df * math.pi) * scale)
            - (df + 1) / 2 * math.log1p((x - loc) ** 2 / (df * scale**2)),
            LAPLACE: -math.log(2 * scale) - abs(x - loc) / scale,
        }[dist]  # fmt: skip

    def density(x: float) -> float:
        return p.log_density(np.array([x]))[0]

    assert density(a) - density(b) == pytest.approx(textbook(a) - textbook(b), abs=1e-9)
    if abs(a - loc) > 1e-3:
        h = 1e-6
        slope = (textbook(a + h) - textbook(a - h)) / (2 * h)
        assert p.log_density(np.array([a]))[1][0] == pytest.approx(slope, abs=1e-4)
