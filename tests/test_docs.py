"""The pages of docs/ do what they say."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayesmig as bm
from bayesmig.design.design import build_design
from bayesmig.inference.routes import fit
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.codebook import Codebook
from tests.fabricate import ALTERNATIVES, small_frame, survey_of, theory

PAGE = Path(__file__).parent.parent / "docs" / "general-choice.md"


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """What the Python snippets leave behind."""
    found: dict[str, Any] = {}
    code = "\n".join(snippets("python")).replace("seed=1)", "seed=1, progress=False)")
    exec(compile(code, str(PAGE), "exec"), found)
    return found


def test_the_logit_finds_what_the_travellers_chose_by(story: dict[str, Any]) -> None:
    draws = story["posterior"].draws["gamma"]
    for name, truth in (("time", -0.8), ("cost", -1.0)):
        of = draws.sel(attribute_term=name)
        assert abs(float(of.mean()) - truth) < 4 * float(of.std())


def test_the_model_file_is_the_python_theory(story: dict[str, Any]) -> None:
    written = next(t for t in snippets("toml") if "[utility]" in t)
    assert ModelSpec.model_validate(tomllib.loads(written) | {"name": "modes"}) == story["logit"]


def test_every_block_fits_the_survey(story: dict[str, Any]) -> None:
    written = next(t for t in snippets("toml") if "[utility]" in t)
    for block in (t for t in snippets("toml") if "[utility]" not in t):
        theory = ModelSpec.model_validate(tomllib.loads(written + block) | {"name": "modes"})
        design = build_design(theory, story["survey"])
        assert design.nonbase == ("bus", "train", "air")


def test_the_page_on_survey_design_runs() -> None:
    text = PAGE.with_name("survey-design.md").read_text("utf-8")
    book, replicates, shares = (
        tomllib.loads(t) for t in re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    )
    whole = Codebook.model_validate(book | replicates | shares)
    assert whole.replicates is not None
    found: dict[str, Any] = {}
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(
        compile(code.replace("seed=1)\ncells", "seed=1, progress=False)\ncells"), "p", "exec"),
        found,
    )
    assert found["movers"].summary["estimate"].sum() == pytest.approx(30_000)
    true = found["people"]["choice"].value_counts(normalize=True)
    shares_of = found["shares"].summary.set_index("alternative")
    for name, row in shares_of.iterrows():
        assert abs(row["estimate"] - true[name]) < 4 * row["sd"]


class StandIn(ModuleType):
    """An imputer with the calls of miceforest that draws from the values that there are."""

    class ImputationKernel:
        def __init__(self, data: pd.DataFrame, *, num_datasets: int, random_state: int) -> None:
            self.data, self.seeds = data, np.random.SeedSequence(random_state).spawn(num_datasets)
            self.done = False

        def mice(self, iterations: int) -> None:
            self.done = iterations > 0

        def complete_data(self, dataset: int) -> pd.DataFrame:
            assert self.done
            rng, filled = np.random.default_rng(self.seeds[dataset]), self.data.copy()
            for name in filled.columns[filled.isna().any()]:
                absent = filled[name].isna()
                filled.loc[absent, name] = rng.choice(filled.loc[~absent, name], absent.sum())
            return filled


def test_the_imputed_surveys_of_the_page_are_fitted_and_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = PAGE.with_name("survey-design.md").read_text("utf-8")
    (code,) = re.findall(r"```py\n(.*?)```", text, flags=re.DOTALL)
    frame = small_frame(400)
    frame["wealth"] = frame["wealth"].mask(frame.index % 2 == 0)
    roles = {role: role for role in ("choice", "person", "weight", "region")}
    alternatives = {a: a for a in ALTERNATIVES}
    found: dict[str, Any] = {
        "bm": bm,
        "frame": frame,
        "roles": roles,
        "alternatives": alternatives,
        "theory": theory("female + wealth", groups=[]),
    }
    monkeypatch.setitem(sys.modules, "miceforest", StandIn("miceforest"))
    asked = code.splitlines()
    assert asked[-1].startswith('imputed.ask(bm.comparisons, "female", by="region")')
    asked[-1] = f"answer = {asked[-1]}"
    code = "\n".join(asked).replace("seed=1)", "seed=1, progress=False)")
    exec(compile(code, "p", "exec"), found)
    summary = found["imputed"].summary().set_index("parameter")["between_imputations"]
    assert summary["beta[wealth, international]"] > 0.05
    assert summary["beta[female, international]"] < 0.05
    table = found["answer"].summary
    assert set(table["region"]) == {"r0", "r1", "r2"}
    assert table["between_imputations"].notna().all()
    # The other way that the page names: the same surveys, one below the other.
    kernel = found["kernel"]
    below = pd.concat([kernel.complete_data(k).assign(imp=k) for k in range(5)])
    surveys = bm.read_imputed(below, roles, imputation="imp", alternatives=alternatives)
    assert "bm.read_imputed(frame, roles, imputation=" in text
    for one, other in zip(surveys, found["surveys"], strict=True):
        assert one.frame["wealth"].tolist() == other.frame["wealth"].tolist()


@pytest.mark.slow
def test_tastes_that_differ_are_found_and_those_that_do_not_are_not(
    story: dict[str, Any],
) -> None:
    """The travellers of the page mind time alike; here half of them mind it twice as much."""
    survey, trips = story["survey"], story["trips"].copy()
    written = {**story["logit"].model_dump(exclude_unset=True), "name": "tastes"}
    written["tastes"] = [{"by": "person", "attributes": ["time"]}]
    theory = ModelSpec.model_validate(written)
    options: dict[str, Any] = {"seed": 2, "chains": 2, "draws": 500, "progress": False}
    alike = fit(theory, survey, **options).draws["sigma_taste_person"].to_numpy().ravel()
    rng, modes = np.random.default_rng(5), story["MODES"]
    minds = rng.normal(-1.5, 1.0, 200)[trips["traveller"]]
    utility = np.column_stack([minds * trips[f"time_{m}"] - trips[f"cost_{m}"] for m in modes])
    utility[:, 3] -= 100.0 * (trips["airport"] == 0)
    trips["mode"] = np.array(modes)[(utility + rng.gumbel(size=utility.shape)).argmax(axis=1)]
    other = story["bm"].read_survey(
        trips,
        roles={"choice": "mode", "person": "traveller"},
        alternatives={m: [m] for m in modes},
        attributes=survey.attributes,
    )
    differ = fit(theory, other, **options).draws["sigma_taste_person"].to_numpy().ravel()
    assert np.quantile(alike, 0.5) < 0.4
    low, high = np.quantile(differ, [0.025, 0.975])
    assert low < 1.0 < high
    assert low > np.quantile(alike, 0.9)


def test_figures_of_arviz_take_what_a_fit_returns() -> None:
    text = PAGE.with_name("gallery.md").read_text("utf-8")
    [snippet] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    survey = survey_of(small_frame(300, seed=1))
    posterior = bm.fit(
        theory("female"), survey, seed=1, progress=False, method="nuts", draws=200, chains=2
    )
    plt.close("all")
    exec(compile(snippet, "gallery.md", "exec"), {"posterior": posterior})
    assert len(plt.get_fignums()) >= 3
    plt.close("all")


def test_claims_told_of_indonesia_are_those_of_the_theories() -> None:
    """All of every theory that was fitted there, and no others."""
    page = (PAGE.parent / "ifls.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| ([A-Z][^|]+) \| [\d.]+ \| [\d.]+ \|", page, flags=re.MULTILINE)
    told = {(theory, claim) for theory, claim in rows}
    names = {theory for theory, _ in told}
    stated = {(name, h.claim) for name in names for h in bm.load_model(name).hypotheses.values()}
    assert len(names) > 10
    assert told == stated
