"""The models, scenarios and references that travel with the package."""

from __future__ import annotations

import re
import tomllib
from itertools import chain

import pytest

from bayesmig.spec.library import (
    load_model,
    load_scenario,
    model_names,
    models_folder,
    scenario_names,
)
from bayesmig.spec.model import FAMILIES, ModelSpec
from bayesmig.spec.references import citation
from bayesmig.spec.scenario import (
    ChangeAttribute,
    Intervention,
    MoveCoefficient,
    Scenario,
    SetAvailability,
)
from bayesmig.tomlfile import validate

MODELS = model_names()
SCENARIOS = scenario_names()
ENTRY = re.compile(r"^@(\w+)\{(\w+),\n(.*?)^\}$", re.M | re.S)
FIELD = re.compile(r"^  (\w+)\s*= \{(.*)\},$", re.M)


def bibliography() -> dict[str, dict[str, str]]:
    text = (models_folder() / "references.bib").read_text(encoding="utf-8")
    assert text.count("@") == len(ENTRY.findall(text)), "an entry is malformed"
    return {key: dict(FIELD.findall(body)) for _, key, body in ENTRY.findall(text)}


def test_the_shipped_theories_and_scenarios_are_there() -> None:
    theories = {"baseline", "selectivity", "networks", "unobserved_origins"}
    assert theories | {"household_strategies"} <= set(MODELS)
    mechanisms = {m for name in MODELS for m in load_model(name).mechanisms}
    wanted = (3, 4, 5, 6, 9, 10, 12, 13, 15, 16, 17, 22, 23, 24, 29, 30, 32, 36, 37, 38, 40, 42, 43)
    assert {f"M{number:02d}" for number in wanted} <= mechanisms
    policies = {"network_cut", "border_closure", "border_tightening", "wealth_grant"}
    assert policies | {"girls_schooling", "internal_seed"} <= set(SCENARIOS)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_survives_toml(name: str) -> None:
    spec = load_model(name)
    again = validate(ModelSpec, tomllib.loads(spec.to_toml()), file=name)
    assert again == spec
    assert again.to_toml() == spec.to_toml()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_survives_toml(name: str) -> None:
    spec = load_scenario(name)
    again = validate(Scenario, tomllib.loads(spec.to_toml()), file=name)
    assert again == spec
    assert again.to_toml() == spec.to_toml()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_what_it_claims_and_on_what_grounds(name: str) -> None:
    spec = load_model(name)
    assert spec.name == name
    assert spec.title
    assert "\n" not in spec.title
    assert spec.claim.count(".") == 1
    assert spec.claim.endswith(".")
    assert spec.references
    assert spec.choice.base == "stay"
    assert spec.utility.period_constants
    assert spec.groups[0].by == "origin"
    assert spec.expect.persons is not None


@pytest.mark.parametrize("name", MODELS)
def test_every_column_of_a_model_has_a_meaning_and_no_other(name: str) -> None:
    spec = load_model(name)
    utility = spec.utility
    formulas = [
        utility.persons_formula,
        *utility.only_formulas.values(),
        *filter(None, [utility.alternatives_formula]),
        *(g.formula for g in spec.groups),
        *(spec.consideration.formulas.values() if spec.consideration else ()),
    ]
    read = set(chain.from_iterable(f.columns for f in formulas))
    read |= {curve.column for curve in spec.curves}
    read |= {column for pool in spec.pools for column in pool.columns}
    read |= {part for g in spec.groups for part in g.parts if part != "origin"}
    assert read | asked_about(spec) == set(spec.columns)
    assert all(len(meaning) > 20 for meaning in spec.columns.values())


def asked_about(spec: ModelSpec) -> set[str]:
    """Columns that hypotheses change or hold."""
    averages = [a for h in spec.hypotheses.values() for i in h.inequalities for a in i.averages]
    return {c for a in averages for c in (a.variable, *(name for name, _ in a.at))} - {""}


def test_a_column_means_the_same_in_all_theories_of_persons() -> None:
    meanings: dict[str, set[str]] = {}
    for name in MODELS:
        if "both" not in load_model(name).choice.alternatives:
            for column, meaning in load_model(name).columns.items():
                meanings.setdefault(column, set()).add(meaning)
    assert {c: m for c, m in meanings.items() if len(m) > 1} == {}


@pytest.mark.parametrize("name", MODELS)
def test_a_theory_has_its_place_in_the_story(name: str) -> None:
    assert load_model(name).family in FAMILIES


def test_every_family_has_a_theory() -> None:
    assert {load_model(name).family for name in MODELS} == set(FAMILIES)


@pytest.mark.parametrize("name", MODELS)
def test_hypotheses_ask_about_columns_of_their_theory(name: str) -> None:
    spec = load_model(name)
    assert spec.hypotheses
    for hypothesis in spec.hypotheses.values():
        assert hypothesis.claim.endswith(".")
        assert hypothesis.rope > 0  # a difference that matters is stated everywhere
        assert hypothesis.mechanism in spec.mechanisms


def test_the_wanted_hypotheses_are_asked_where_their_columns_enter() -> None:
    wanted = {
        "selectivity": {
            "gender_streams_differ", "education_streams_differ", "wealth_streams_differ",
            "wealth_selects_international",
        },
        "networks": {
            "own_networks_pull", "cross_network_on_internal", "cross_network_on_international",
            "cross_network_substitution", "cross_network_complementarity", "step_migration",
        },
    }  # fmt: skip
    assert wanted["selectivity"] <= set(load_model("selectivity").hypotheses)
    assert not wanted["networks"] & set(load_model("selectivity").hypotheses)
    for later in ("networks", "unobserved_origins"):
        assert wanted["selectivity"] | wanted["networks"] <= set(load_model(later).hypotheses)


def test_substitution_and_complementarity_cannot_both_hold() -> None:
    hypotheses = load_model("networks").hypotheses
    names = ("cross_network_substitution", "cross_network_complementarity")
    first, second = (hypotheses[n].inequalities for n in names)
    for a, b in zip(first, second, strict=True):
        assert (a.sign, b.sign) == ("<", ">")
        assert a.text.split(" < ") == b.text.split(" > ")


def test_references_are_given_in_full() -> None:
    for key, fields in bibliography().items():
        words = citation(key)
        assert f"({fields['year']}). " in words, key
        assert ("doi" not in fields) or words.endswith(f"doi:{fields['doi']}")
        assert not set("{}\\`") & set(words), words
    assert citation("dehaas2009").startswith("de Haas (2009). Migration System Formation")
    assert citation("My own book, 2020") == "My own book, 2020"


def test_references_exist_are_used_and_are_whole() -> None:
    entries = bibliography()
    values = [*map(load_model, MODELS), *map(load_scenario, SCENARIOS)]
    named = set(chain.from_iterable(v.references for v in values))
    assert named == set(entries)
    for key, fields in entries.items():
        assert {"author", "year", "title"} <= set(fields), key
        assert {"journal", "booktitle", "institution", "publisher"} & set(fields), key
        assert key.endswith(fields["year"]), key
        assert re.fullmatch(r"(10\.\d{4,}/\S+)?", fields.get("doi", "")), key


@pytest.mark.parametrize("name", [*MODELS, *SCENARIOS])
def test_mechanisms_are_codes_of_the_map(name: str) -> None:
    value = load_model(name) if name in MODELS else load_scenario(name)
    assert value.mechanisms
    assert all(re.fullmatch(r"M\d\d", code) for code in value.mechanisms)
    assert len(set(value.mechanisms)) == len(value.mechanisms)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_honest_and_touches_what_some_theory_reads(name: str) -> None:
    """`tests/design/test_shipped.py` puts each on a survey of its theory."""
    spec = load_scenario(name)
    assert "Assumed:" in spec.description
    assert "Static:" in spec.description
    assert any(all(_touches(step, load_model(m)) for step in spec.interventions) for m in MODELS)


def _touches(step: Intervention, theory: ModelSpec) -> bool:
    match step:
        case SetAvailability() | MoveCoefficient():
            return step.alternative in theory.choice.nonbase
        case ChangeAttribute():
            return step.attribute in theory.columns and step.alternative in theory.choice.nonbase
        case _:
            read = {step.column, *(f.column for f in step.where)}
            return read <= set(theory.columns)
