"""The JSON schemas that the package prints, against the files that it ships."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bayesmig.cli import _kind_of, _schema
from bayesmig.simulation import simulate

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("models", "surveys", "studies")
    for path in (ROOT / folder).rglob("*.toml")
    if path.parent.name != "mechanisms"  # not a file that users write
)


def mistakes(kind: str, data: dict[str, Any]) -> list[str]:
    schema = json.loads(_schema(kind))
    jsonschema.Draft202012Validator.check_schema(schema)
    return [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(data)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_shipped_file_fits_its_schema(path: Path) -> None:
    kind, _ = _kind_of(path)
    assert mistakes(kind, tomllib.loads(path.read_text(encoding="utf-8"))) == []


def test_a_simulated_codebook_fits_its_schema(tmp_path: Path) -> None:
    made = simulate(tmp_path / "survey", persons=500, seed=1)
    assert mistakes("codebook", tomllib.loads(made.codebook.read_text())) == []


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("model", {}, "'choice' is a required property"),
        ("model", {"choice": {"base": "a"}}, "'alternatives' is a required property"),
        (
            "model",
            {"choice": {"base": "a", "alternatives": ["a", "b"]}, "hypotheses": {"h": {}}},
            "'claim' is a required property",
        ),
        ("model", {"extends": "networks", "utilty": {}}, "'utilty' was unexpected"),
        ("model", {"extends": 3}, "3 is not of type 'string'"),
        ("scenario", {"title": "x"}, "'interventions' is a required property"),
        ("study", {"survey": "x"}, "'seed' is a required property"),
    ],
)
def test_a_schema_refuses_what_reading_refuses(kind: str, data: dict[str, Any], says: str) -> None:
    assert any(says in message for message in mistakes(kind, data))


def test_a_file_that_extends_another_may_state_a_part() -> None:
    part = {"extends": "networks", "choice": {"base": "internal"}, "hypotheses": {"h": {"rope": 1}}}
    assert mistakes("model", part) == []
