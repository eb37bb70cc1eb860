"""The pages of docs/ do what they say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bayesmig.design.design import build_design
from bayesmig.inference.routes import fit
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.codebook import Codebook

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
