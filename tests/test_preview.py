"""Every answer from a preview says that it is an approximation, and no other answer does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from typer.testing import CliRunner

import bayesmig as bm
from bayesmig import plots
from bayesmig.cli import app
from bayesmig.posterior import PREVIEW, Posterior
from bayesmig.progress import silent
from bayesmig.simulation import simulate
from bayesmig.spec.scenario import Scenario
from bayesmig.study import run
from tests.fabricate import fabricated, small_design, small_survey

CLOSED = Scenario.model_validate(
    {"name": "closed", "interventions": [{"kind": "add", "column": "wealth", "value": 1}]}
)
CLAIM = {
    "claim": "Wealth helps to go abroad.",
    "statement": "slope(wealth, international) > 0",
}


@cache
def posterior(preview: bool) -> Posterior:
    design = small_design(
        "female + wealth",
        groups=[{"by": "origin"}],
        hypotheses={"wealth_helps": CLAIM},
        survey=small_survey(),
    )
    made = fabricated(design, survey=small_survey(), prior=True)
    if not preview:
        return made
    return replace(made, provenance=replace(made.provenance, route=PREVIEW))


@cache
def considering(preview: bool) -> Posterior:
    design = small_design(
        "female",
        consideration={"feasible": {"international": "wealth"}},
        survey=small_survey(),
    )
    made = fabricated(design, survey=small_survey(), prior=True)
    if not preview:
        return made
    return replace(made, provenance=replace(made.provenance, route=PREVIEW))


def words_on(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def checks(of: Posterior) -> list[str]:
    """Those that are asked of draws; shares of the prior have none."""
    return [r.text for r in bm.check(of, draws=100) if r.name != "prior predictive shares"]


QUESTIONS: dict[str, Callable[[Posterior], Any]] = {
    "predictions": lambda p: [bm.predictions(p).header["convergence"]],
    "comparisons": lambda p: [bm.comparisons(p, "female").header["convergence"]],
    "slopes": lambda p: [bm.slopes(p, "wealth").header["convergence"]],
    "levels": lambda p: [bm.levels(p).header["convergence"]],
    "counterfactual": lambda p: [bm.counterfactual(p, CLOSED).header["convergence"]],
    "test": lambda p: [bm.test(p, "wealth_helps").sentence],
    "test, header": lambda p: [bm.test(p, "wealth_helps").header["convergence"]],
    "compare": lambda p: [bm.compare({"one": p, "other": p}).text],
    "check": checks,
    "summary": lambda p: [p.summary().attrs["convergence"]],
    "evidence ratio": lambda p: [bm.evidence_ratio(p, "beta[wealth, international]").text],
    "stayers": lambda p: [bm.stayers(considering(p.is_preview)).header["convergence"]],
    "figure": lambda p: [words_on(plots.plot(bm.predictions(p)))],
    "figure of effects": lambda p: [words_on(plots.plot(bm.comparisons(p, "female")))],
    "figure of a scenario": lambda p: [words_on(plots.plot(bm.counterfactual(p, CLOSED)))],
    "figure of a test": lambda p: [words_on(plots.plot(bm.test(p, "wealth_helps")))],
    "figure of tests": lambda p: [words_on(plots.plot(bm.test(p)))],
    "figure of a comparison": lambda p: [words_on(plots.plot(bm.compare({"one": p, "other": p})))],
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_answer_says_so(question: str) -> None:
    said = QUESTIONS[question](posterior(preview=True))
    assert said
    for text in said:
        assert "an approximation (preview" in text
        # It is no draw that has not converged, which is another thing.
        assert "not converged" not in text


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_other_answer_does(question: str) -> None:
    try:
        said = QUESTIONS[question](posterior(preview=False))
    except KeyError as absent:
        assert absent.args == ("convergence",)
        return
    assert not any("approximation" in text or "preview" in text for text in said)


def test_a_study_and_its_report_say_so(tmp_path: Path) -> None:
    simulate(tmp_path / "survey", persons=500, seed=2)
    (tmp_path / "study.toml").write_text(
        'title = "A preview"\nsurvey = "survey/survey.toml"\n'
        'theories = ["baseline", "selectivity"]\nseed = 3\n'
        '[sampling]\nmethod = "preview"\nchains = 2\ndraws = 300\n'
        '[questions]\ncomparisons = ["female"]\n'
    )
    done = run(tmp_path / "study.toml", tmp_path / "out", progress=silent)
    assert pd.read_parquet(done.folder / "tables" / "convergence.parquet")["passed"].isna().all()
    results = json.loads((done.folder / "results.json").read_text())
    for theory in results["theories"]:
        assert "an approximation" in theory["warnings"][0]
    assert "approximation" in results["texts"]["comparison"]
    page = done.report.read_text()
    for theory in ("baseline", "selectivity"):
        assert f"<code>{theory}</code>: its draws are an approximation (preview" in page
    assert "not asked" in page


@pytest.mark.parametrize("method", ["preview", "auto"])
def test_the_command_says_what_it_fitted(method: str, tmp_path: Path) -> None:
    made = simulate(tmp_path / "survey", persons=500, seed=1)
    given = ["fit", "baseline", str(made.codebook), "--seed", "1", "--method", method]
    given += ["--out", str(tmp_path / "fit.nc"), "--quiet"]
    as_json = CliRunner().invoke(app, [*given, "--json"])
    assert as_json.exit_code == 0, as_json.output
    said = f"the draws are an approximation ({PREVIEW})"
    assert (said in json.loads(as_json.stdout)["warnings"]) is (method == "preview")
    assert (f"warning: {said}" in as_json.stderr) is (method == "preview")
