"""The registry of mechanisms is made from the files, and no mechanism is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bayesmig.errors import SpecError
from bayesmig.spec.library import load_model, load_scenario, model_names, scenario_names
from bayesmig.spec.mechanisms import (
    EVIDENCE,
    MechanismEntry,
    as_record,
    mechanism_map,
    mechanisms,
    mechanisms_page,
    mechanisms_text,
    registry,
)
from bayesmig.spec.model import ModelSpec
from bayesmig.tomlfile import validate

ROOT = Path(__file__).parents[2]
CODES = [f"M{number:02d}" for number in range(1, 46)]
ENTRY = {
    "title": "A claim",
    "claim": "Something is so.",
    "sources": ["vullnetari2020"],
    "evidence": "source",
    "component": "columns",
    "block": "utility.persons",
    "needs": "ages",
}


def entry(**changes: object) -> MechanismEntry:
    return validate(MechanismEntry, ENTRY | changes, file="map")


def theory(name: str, **keys: object) -> ModelSpec:
    choice = {"alternatives": ["stay", "go"], "base": "stay"}
    return validate(ModelSpec, {"name": name, "choice": choice, **keys}, file=name)


def test_every_mechanism_has_a_row() -> None:
    assert [row.code for row in mechanisms()] == CODES


def test_the_page_is_what_the_files_make() -> None:
    """`make mechanisms` writes it anew."""
    written = (ROOT / "docs" / "mechanisms.md").read_text(encoding="utf-8")
    assert written == mechanisms_page(mechanisms())


def test_rows_agree_with_the_files_read_another_way() -> None:
    rows = {row.code: row for row in mechanisms()}
    specs = {name: load_model(name) for name in model_names()}
    for code in CODES:
        text = f'"{code}"'
        scenarios = {
            name
            for name in scenario_names()
            if text in (ROOT / "models" / "scenarios" / f"{name}.toml").read_text()
        }
        assert set(rows[code].scenarios) == scenarios
        models = set()
        for name, spec in specs.items():
            if code in [*spec.mechanisms, *(h.mechanism for h in spec.hypotheses.values())]:
                models.add(name)
        assert set(rows[code].models) == models
    asked = {n for spec in specs.values() for n in spec.hypotheses}
    assert {h for row in rows.values() for h in row.hypotheses} == asked


def test_a_theory_counts_by_its_list_or_by_a_hypothesis() -> None:
    hypothesis = {"claim": "c", "statement": "share(go) > 0.5", "mechanism": "M02"}
    models = [
        theory("listed", mechanisms=["M01"]),
        theory("asked", hypotheses={"most_go": hypothesis}),
        theory("asked_too", hypotheses={"most_go": hypothesis}),
        theory("silent"),
    ]
    first, second, third = registry({"M01": entry(), "M02": entry(), "M03": entry()}, models, [])
    assert (first.models, first.hypotheses) == (("listed",), ())
    assert first.status == "fitted here, without a hypothesis"
    assert (second.models, second.hypotheses) == (("asked", "asked_too"), ("most_go",))
    assert second.status == "fitted here"
    assert third.status == "needs data: ages"


@pytest.mark.parametrize(
    ("block", "built"),
    [
        ("utility.persons", True),
        ("utility.only", True),
        ("groups", True),
        ("utility.nowhere", False),
        ("groups.persons", False),
        ("histories", False),
    ],
)
def test_what_model_files_cannot_hold_is_for_later(block: str, built: bool) -> None:
    (row,) = registry({"M01": entry(block=block)}, [], [])
    assert row.entry.built is built
    assert row.status == ("needs data: ages" if built else "later")


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({}, "fitted here"),
        ({"missing": "risk"}, "in part: without risk"),
        ({"block": "dynamics"}, "in part: no dynamics yet"),
        ({"block": "dynamics", "missing": "growth"}, "in part: without growth"),
    ],
)
def test_a_theory_that_names_a_mechanism_may_hold_part_of_it(
    keys: dict[str, str], status: str
) -> None:
    hypothesis = {"claim": "c", "statement": "share(go) > 0.5", "mechanism": "M01"}
    models = [theory("one", hypotheses={"most_go": hypothesis})]
    (row,) = registry({"M01": entry(**keys)}, models, [])
    assert row.status == status


def test_nothing_that_model_files_cannot_hold_is_called_fitted() -> None:
    for row in mechanisms():
        assert row.entry.built or not row.status.startswith("fitted"), row.code


def test_a_scenario_alone_fits_nothing() -> None:
    (row,) = registry({"M07": entry()}, [], [load_scenario("border_closure")])
    assert row.scenarios == ("border_closure",)
    assert row.status.startswith("needs data")


@pytest.fixture(scope="module")
def page() -> str:
    return mechanisms_page(mechanisms())


@pytest.mark.parametrize("code", CODES)
def test_a_claim_stands_once_with_its_grounds(code: str, page: str) -> None:
    found = mechanism_map()[code]
    assert found.claim.endswith(".") and found.claim.count(".") == 1
    assert found.evidence in EVIDENCE
    assert not found.needs.endswith(".") and not found.component.endswith(".")
    assert page.count(found.claim) == 1


def test_a_reconstruction_is_told_as_one(page: str) -> None:
    assert mechanism_map()["M27"].evidence == "reconstruction"
    section = page[page.index("### M27") : page.index("### M28")]
    assert "reconstruction" in section


def test_the_screen_holds_every_row_within_its_width() -> None:
    text = mechanisms_text(mechanisms(), 80)
    assert all(f"{code}  " in text for code in CODES)
    assert max(map(len, text.splitlines())) <= 80


def test_records_are_plain_and_whole() -> None:
    record = as_record(mechanisms()[3])
    assert record["code"] == "M04"
    assert "internal_seed" in record["scenarios"]  # type: ignore[operator]
    assert set(ENTRY) <= set(record)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evidence": "sure"}, "evidence"),
        ({"sources": ["nobody2020"]}, "nobody2020"),
        ({"sources": []}, "sources"),
        ({"block": "No Block"}, "block"),
        ({"status": "fitted here"}, "status"),
    ],
)
def test_a_wrong_entry_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        entry(**changes)


def test_an_unknown_code_is_refused_with_the_range() -> None:
    with pytest.raises(SpecError) as caught:
        theory("wrong", mechanisms=["M46"])
    assert "M01 to M45" in caught.value.mend
