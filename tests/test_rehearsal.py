"""What a survey could decide: truths, verdicts, and worlds in which the answer is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmig as bm
from bayesmig import rehearsal
from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError, QuestionError
from bayesmig.hypotheses import in_draws
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.simulated import as_posterior
from bayesmig.rehearsal import FAILS, HOLDS, Rehearsal, _truths, rehearse, share_interval
from bayesmig.spec.model import ModelSpec
from tests.fabricate import fabricated, small_design, small_frame, survey_of, theory

#: Easy to tell, hard to tell, and never untrue.
CLAIMS = {
    "wealth_pulls": {
        "claim": "Wealth pulls abroad.",
        "statement": "comparison(wealth, international) > 0",
    },
    "streams_differ": {
        "claim": "Women move within more than abroad.",
        "statement": "comparison(female, internal) > comparison(female, international)",
    },
    "some_stay": {"claim": "Somebody stays.", "statement": "share(stay) > 0"},
}


def claiming(**keys: Any) -> ModelSpec:
    priors = {"persons": {"scale": 0.5}, "asc": {"loc": -1.0, "scale": 0.3}}
    return theory("female + wealth", hypotheses=CLAIMS, priors=priors, **{"groups": [], **keys})


def asked(n: int, **keys: Any) -> Rehearsal:
    keys = {"seed": 1, "worlds": 20, "draws": 400, "progress": False} | keys
    return rehearse(claiming(), survey_of(small_frame(n, seed=1)), **keys)


@pytest.fixture(scope="module")
def large() -> Rehearsal:
    return asked(2500, effects=None)


def test_a_large_survey_tells_what_a_small_one_cannot(large: Rehearsal) -> None:
    small = asked(60)
    rightly = {
        name: of.summary.set_index(["hypothesis", "truth"])["rightly"]
        for name, of in {"large": large, "small": small}.items()
    }
    for truth in (HOLDS, FAILS):
        at = ("wealth_pulls", truth)
        assert rightly["large"][at] >= 0.75
        assert rightly["small"][at] <= 0.55
    can = small.verdicts.set_index("hypothesis")["can"]
    assert can["wealth_pulls"] == "no"
    assert "this survey can hardly tell" in small.verdicts["sentence"][0]


def test_what_never_fails_is_not_known(large: Rehearsal) -> None:
    rows = large.summary.set_index(["hypothesis", "truth"])
    assert rows.loc[("some_stay", FAILS), "worlds"] == 0
    assert np.isnan(rows.loc[("some_stay", FAILS), "rightly"])
    assert large.verdicts.set_index("hypothesis").loc["some_stay", "can"] == "not known"
    assert "it is not known, for want of 10 truths of each kind, of “Somebody stays”" in large.text


def test_worlds_are_those_that_are_counted(large: Rehearsal) -> None:
    """Later worlds of a kind are there for other hypotheses: a selection, not a sample."""
    every, table = large.draws, large.worlds()
    told = large.summary.set_index(["hypothesis", "truth"])["worlds"]
    assert table.groupby(["hypothesis", "holds"]).size().max() == 20 < every.sizes["world"]
    for (name, kind), own in table.groupby(["hypothesis", "holds"]):
        assert len(own) == told[name, HOLDS if kind else FAILS]
        some = every.sel(hypothesis=name)
        first = some["probability"].to_numpy()[some["holds"].to_numpy() == kind][:20]
        assert np.array_equal(own["probability"], first)


def test_shares_of_worlds_have_intervals_that_are_honest_at_their_ends() -> None:
    # At 0 of n, the quadratic of the ends leaves 1.96² / (n + 1.96²).
    assert share_interval(0.0, 10) == (0.0, pytest.approx(1.959964**2 / (10 + 1.959964**2)))
    assert share_interval(1.0, 10) == (pytest.approx(10 / (10 + 1.959964**2)), 1.0)
    # The ends are where the share found is 1.96 standard errors of theirs away.
    for end in share_interval(0.7, 10):
        assert abs(0.7 - end) == pytest.approx(1.959964 * (end * (1 - end) / 10) ** 0.5)
    assert np.isnan(share_interval(float("nan"), 0)).all()


def test_the_summary_is_that_of_its_worlds(large: Rehearsal) -> None:
    table = large.worlds()
    for row in large.summary.itertuples():
        own = table[(table["hypothesis"] == row.hypothesis)]
        some = own.loc[own["holds"] == (row.truth == HOLDS), "probability"]
        assert len(some) == row.worlds
        if not len(some):
            continue
        assert row.probability == pytest.approx(some.mean())
        assert row.supported == pytest.approx((some >= 0.95).mean())
        assert row.supported + row.undecided + row.contradicted == pytest.approx(1.0)
        assert row.rightly == (row.supported if row.truth == HOLDS else row.contradicted)
        assert row.rightly_lower <= row.rightly <= row.rightly_upper
        assert row.wrongly_lower <= row.wrongly < row.wrongly_upper


def test_posterior_probabilities_are_calibrated_over_truths(large: Rehearsal) -> None:
    """Of worlds in which a fit says 0.3, the hypothesis holds in three of ten, on average.

    The expectation of Pr(H) over truths is the prior's: here by weighing both kinds of
    truths as the prior does.
    """
    rows, design = large.summary.set_index(["hypothesis", "truth"]), designed(claiming())
    draws = prior_draws(design, seed=3, draws=4000)
    share = in_draws(as_posterior(design, draws))["streams_differ"].mean()
    of = rows.loc["streams_differ"]
    mean = share * of.loc[HOLDS, "probability"] + (1 - share) * of.loc[FAILS, "probability"]
    error = np.hypot(*(of["probability_error"].to_numpy()))
    assert abs(mean - share) < 4 * error + 0.02


def designed(spec: ModelSpec) -> Design:
    return build_design(spec, survey_of(small_frame(2500, seed=1)))


def test_truths_are_the_first_of_their_kind() -> None:
    """Truths of a kind are draws from the prior given that kind, whatever else is wanted."""
    design = designed(claiming())
    truths, holds = _truths(design, 30, {}, 5)
    drawn = prior_draws(design, seed=5, draws=400)
    every = in_draws(as_posterior(design, drawn))
    for h, name in enumerate(("wealth_pulls", "streams_differ")):
        for kind in (True, False):
            first = np.flatnonzero(every[name] == kind)[:30]
            expected = drawn["beta"].to_numpy()[0, first]
            found = truths["beta"].to_numpy()[0][holds[:, h] == kind][:30]
            assert np.array_equal(found, expected)


def test_stated_effects_are_in_every_second_truth() -> None:
    design = designed(claiming())
    effects = {"beta[wealth, international]": 0.4}
    truths, holds = _truths(design, 25, effects, 2)
    values = truths["beta"].to_numpy()[0][:, list(design.persons).index("wealth"), 1]
    assert set(np.unique(values)) == {0.0, 0.4}
    assert holds.shape[1] == 3


def test_holding_in_draws_is_what_a_test_says() -> None:
    posterior = fabricated(designed(claiming()))
    found = in_draws(posterior)
    for name, result in bm.test(posterior, allow_unconverged=True).items():
        assert found[name].mean() == pytest.approx(result.probability)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"worlds": 0}, "worlds must be"),
        ({"draws": 50}, "draws must be"),
        ({"method": "nuts"}, "preview or auto"),
        ({"effects": {"beta[welth, international]": 1.0}}, "no parameter"),
        ({"effects": {"beta[wealth, international]": float("nan")}}, "is nan"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(QuestionError, match=words):
        asked(200, **wrong)


def test_what_has_no_preview_is_fitted_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nest lies beyond the map, not beyond the kernel."""
    seen = []

    def stopped(*_: Any, method: str, **__: Any) -> None:
        seen.append(method)
        raise KeyboardInterrupt

    monkeypatch.setattr("bayesmig.rehearsal.fit_design", stopped)
    nested = claiming(nests=[{"name": "move", "alternatives": ["internal", "international"]}])
    for spec in (claiming(), nested):
        with pytest.raises(KeyboardInterrupt):
            rehearse(spec, survey_of(small_frame(200, seed=1)), seed=1, progress=False)
    assert seen == ["preview", "auto"]
    with pytest.raises(QuestionError, match="no preview of a theory with nests"):
        rehearse(nested, survey_of(small_frame(200)), seed=1, method="preview", progress=False)


def test_scales_have_no_zero_in_their_place() -> None:
    spec = claiming(groups=[{"by": "origin"}])
    with pytest.raises(QuestionError, match="is no coefficient"):
        rehearse(
            spec,
            survey_of(small_frame(200, seed=1)),
            seed=1,
            effects={"sigma_origin[internal, asc]": 0.5},
            progress=False,
        )


def test_a_theory_without_claims_has_nothing_to_rehearse() -> None:
    with pytest.raises(QuestionError, match="states no hypotheses"):
        rehearse(theory("female"), survey_of(small_frame(200)), seed=1, progress=False)


def test_a_flat_prior_has_no_truths() -> None:
    spec = theory("female + wealth", hypotheses=CLAIMS, priors={"persons": {"dist": "flat"}})
    with pytest.raises(InferenceError, match="flat prior"):
        rehearse(spec, survey_of(small_frame(200)), seed=1, progress=False)


def test_same_seed_same_numbers() -> None:
    one, two = (asked(120, worlds=3, seed=4) for _ in range(2))
    pd.testing.assert_frame_equal(one.summary, two.summary)
    assert not asked(120, worlds=3, seed=5).worlds().equals(one.worlds())


def test_tables_are_put_through_a_theory_once_and_others_anew() -> None:
    design = small_design()
    remembering = rehearsal._remembering(design)
    table = design.frame.copy()
    first = remembering.apply(table)
    assert remembering.apply(table.copy()) is first
    np.testing.assert_array_equal(first.persons, design.apply(table).persons)
    moved = table.assign(wealth=table["wealth"] + 1)
    assert remembering.apply(moved) is not first
    np.testing.assert_array_equal(remembering.apply(moved).persons, design.apply(moved).persons)
    renamed = table.rename(columns={"wealth": "education", "education": "wealth"})
    assert remembering.apply(renamed) is not first
    # What was learnt on the survey is part of the question.
    with pytest.raises(KeyError):
        replace(remembering, encoders={}).apply(table)
