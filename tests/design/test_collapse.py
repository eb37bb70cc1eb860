"""Identical rows are counted where that pays, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesmig.choice.utility import Columns, take_rows
from bayesmig.design.collapse import collapse
from bayesmig.design.design import Design, build_design
from bayesmig.inference import blocks as room
from bayesmig.inference.density import Density
from bayesmig.inference.routes import fit
from bayesmig.model_comparison import compare
from bayesmig.posterior import Posterior
from tests.fabricate import small_frame, survey_of, theory
from tests.random_columns import random_columns


def coarse(n: int = 600) -> Design:
    """Few distinct persons, who do not all choose alike."""
    frame = small_frame(n, seed=3, origins=5)
    frame["education"] = frame["education"].round(-1)
    survey = survey_of(frame)
    return build_design(theory("female + urban + education", groups=[{"by": "origin"}]), survey)


def tripled(seed: int) -> tuple[Columns, Columns]:
    rng = np.random.default_rng(seed)
    columns = random_columns(rng)
    return columns, take_rows(columns, rng.permutation(np.tile(np.arange(len(columns.persons)), 3)))


@pytest.mark.parametrize("seed", range(20))
def test_distinct_rows_and_their_counts_are_found(seed: int) -> None:
    columns, thrice = tripled(seed)
    found = collapse(thrice)
    assert found is not None
    assert len(found.columns.persons) == len(columns.persons)
    np.testing.assert_array_equal(found.counts, 3)
    got = np.sort(found.columns.persons, axis=0)
    np.testing.assert_array_equal(got, np.sort(columns.persons, axis=0))


def test_the_first_rows_do_not_decide() -> None:
    """They all differ, and then come again and again."""
    rng = np.random.default_rng(0)
    columns = random_columns(rng, n=2_500, persons=3, groups=[(5, 1)])
    found = collapse(take_rows(columns, np.tile(np.arange(2_500), 4)))
    assert found is not None
    np.testing.assert_array_equal(found.counts, np.full(2_500, 4))
    assert collapse(columns) is None


def test_rows_that_differ_anywhere_stay_apart() -> None:
    """In a column, an attribute, a group, a term or an available alternative."""
    rng = np.random.default_rng(0)
    one = random_columns(
        rng, n=1, alternatives=3, only=[1], attributes=1, groups=[(3, 1)], availability=False
    )
    same = take_rows(one, np.zeros(10, dtype=int))
    same = replace(same, available=np.ones((10, 3), dtype=bool))
    assert len(collapse(same).counts) == 1  # type: ignore[union-attr]
    for change in ("persons", "only", "attributes", "codes", "terms", "available"):
        other = replace(
            same,
            persons=same.persons.copy(),
            only={k: v.copy() for k, v in same.only.items()},
            attributes=same.attributes.copy(),
            groups={k: (c.copy(), t.copy()) for k, (c, t) in same.groups.items()},
            available=same.available.copy(),
        )
        codes, terms = other.groups["origin"]
        where = {
            "persons": other.persons,
            "only": other.only[1],
            "attributes": other.attributes,
            "codes": codes,
            "terms": terms,
            "available": other.available,
        }[change]
        where[4, ...] = 0 if change == "available" else where[4, ...] + 1
        found = collapse(other)
        assert found is not None
        assert sorted(found.counts) == [1, 9], change


def test_what_saves_too_little_is_left() -> None:
    columns, _ = tripled(1)
    n = len(columns.persons)
    few = take_rows(columns, np.r_[np.arange(n), np.arange(int(0.3 * n))])
    assert collapse(few) is None
    assert collapse(columns) is None


@pytest.mark.parametrize("precision", ["single", "double"])
def test_the_posterior_is_the_same(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    design = coarse()
    counted = Density(design, precision)  # type: ignore[arg-type]
    assert len(counted.columns.persons) < 0.7 * design.n_obs
    monkeypatch.setattr(room, "collapse", lambda *_: None)
    plain = Density(design, precision)  # type: ignore[arg-type]
    assert len(plain.columns.persons) == design.n_obs
    rel = {"single": 1e-5, "double": 1e-9}[precision]
    rng = np.random.default_rng(0)
    for _ in range(5):
        vector = rng.normal(size=counted.size)
        (value, slope), (expected, wanted) = counted(vector), plain(vector)
        assert value == pytest.approx(expected, rel=rel)
        np.testing.assert_allclose(slope, wanted, rtol=100 * rel, atol=1000 * rel)
        for name, found in counted.parameters(vector).items():
            np.testing.assert_allclose(
                found, plain.parameters(vector)[name], rtol=100 * rel, atol=100 * rel
            )


def test_every_person_is_left_out_whether_rows_were_counted_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counting rows is for the sampler; elpd is of persons, and of the same draws the same."""
    frame = small_frame(1_500, seed=3, origins=12)
    frame["education"] = frame["education"].round(-1)
    survey, spec = survey_of(frame), theory("female + urban + education")

    def fitted() -> Posterior:
        return fit(
            spec, survey, seed=2, method="surrogate", precision="double", chains=2, draws=500,
            progress=False,
        )  # fmt: skip

    counted = fitted()
    assert counted.provenance.numbers["rows_in_loops"] < 0.7 * len(frame)
    monkeypatch.setattr(room, "collapse", lambda *_: None)
    plain = fitted()
    assert plain.provenance.numbers["rows_in_loops"] == len(frame)
    for name, values in counted.draws.items():
        np.testing.assert_allclose(values, plain.draws[name], rtol=1e-6, atol=1e-8)
    draws = compare({"counted": counted, "plain": plain}).pointwise
    one, other = (draws.sel(theory=name) for name in ("counted", "plain"))
    assert one.sizes["unit"] == len(frame)
    np.testing.assert_allclose(one["elpd"], other["elpd"], rtol=1e-6)
    np.testing.assert_allclose(one["pareto_k"], other["pareto_k"], rtol=0, atol=1e-3)
    # Rows that were one in the loops are told apart by what was chosen.
    together = frame[["female", "urban", "education", "origin"]].astype(str).agg("|".join, axis=1)
    elpd = pd.Series(one["elpd"].to_numpy()).groupby([together, frame["choice"]])
    assert (elpd.max() - elpd.min()).max() < 1e-9
    assert elpd.ngroups > together.nunique()
