"""Every verb says what was done with weights and the sampling design."""

from __future__ import annotations

from functools import cache

import pytest

import bayesmig as bm
from bayesmig.design.design import build_design
from bayesmig.imputation import Imputed
from bayesmig.posterior import Posterior
from bayesmig.survey.survey import Survey, read_survey
from tests.fabricate import ALTERNATIVES, fabricated, small_frame, theory

SAID = (
    "averages are weighted by weight, the likelihood is not (estimand); only comparisons of "
    "theories use "
)
CLAIM = {"claim": "It does.", "statement": "comparison(wealth, international) > 0"}
SPEC = theory("female + wealth", groups=[], hypotheses={"more": CLAIM})


@cache
def survey(*roles: str) -> Survey:
    frame = small_frame(240, seed=1).assign(psu=[f"c{i // 12}" for i in range(240)])
    kept = {role: role for role in ("choice", "person", "weight", *roles)}
    return read_survey(frame, kept, alternatives={a: a for a in ALTERNATIVES})


@cache
def posterior() -> Posterior:
    return fabricated(build_design(SPEC, survey("psu")), survey=survey("psu"))


@cache
def considering() -> Posterior:
    feasible = {"feasible": {"international": "wealth"}}
    design = build_design(theory("female", groups=[], consideration=feasible), survey("psu"))
    return fabricated(design, survey=survey("psu"))


HEADERS = {
    "predictions": lambda: bm.predictions(posterior()).header["weights"],
    "comparisons": lambda: bm.comparisons(posterior(), "female").header["weights"],
    "slopes": lambda: bm.slopes(posterior(), "wealth").header["weights"],
    "counterfactual": lambda: bm.counterfactual(posterior(), "wealth_grant").header["weights"],
    "test": lambda: bm.test(posterior(), "more").header["weights"],
    "stayers": lambda: bm.stayers(considering()).header["weights"],
    "summary": lambda: posterior().summary().attrs["weights"],
    "print": lambda: str(posterior()),
    "evidence_ratio": lambda: bm.evidence_ratio(posterior(), "beta[female, internal]").text,
    "imputed": lambda: Imputed((posterior(), posterior())).test().attrs["weights"],
    "check_prior": lambda: bm.check_prior(SPEC, survey("psu"), draws=100)[0].text,
    "calibrate": lambda: (
        bm.calibrate(
            SPEC, survey("psu"), seed=1, worlds=20, method="preview", draws=400, progress=False
        ).text
    ),
}


@pytest.mark.parametrize("verb", HEADERS)
def test_a_verb_says_what_was_done_with_weights(verb: str) -> None:
    assert SAID + "psu" in HEADERS[verb]()


def test_a_comparison_says_it_of_its_own() -> None:
    text = bm.compare({"one": posterior(), "other": posterior()}).text
    assert "units are weighted by weight, draws are not" in text
    assert "take units of one psu together" in text


def test_every_check_with_numbers_says_it() -> None:
    found = bm.check(posterior(), draws=100)
    told = {check.name: check.text for check in found if len(check.table)}
    assert all(text.count(" Weights: ") == 1 for text in told.values())
    for name in ("convergence", "prior predictive shares", "prior sensitivity"):
        assert told[name].endswith(f" Weights: {SAID}psu.")
    # It has a rule of its own.
    assert told["calibration"].endswith(" Weights: every row counts once.")


@pytest.mark.parametrize(("roles", "is_said"), [(("psu",), True), ((), False)])
def test_a_rehearsal_says_that_rows_count_as_independent(
    roles: tuple[str, ...], is_said: bool
) -> None:
    found = bm.rehearse(SPEC, survey(*roles), seed=1, worlds=1, draws=100, progress=False)
    assert found.header["weights"].startswith("averages are weighted by weight")
    assert ("Rows are taken as drawn independently" in found.text) is is_said
