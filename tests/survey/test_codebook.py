"""The codebook as a value: out to TOML and back, its schema, its defaults."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bayesmig.survey.codebook import Codebook, Network
from bayesmig.tomlfile import validate, write_toml

FULL: dict[str, Any] = {
    "title": "t",
    "file": "x.csv",
    "separator": ";",
    "missing_text": ["", "."],
    "roles": {"choice": "y", "origin": "o"},
    "alternatives": {"stay": 0, "internal": [1, "2", 2.5], "international": "a"},
    "missing_codes": {"age": [98, 99], "educ": "dk"},
    "valid_range": {"age": {"min": 15, "below": 50.5}},
    "recode": {"e": {"from": "educ", "values": {"none": 0}, "other": "missing"}},
    "derive": {"w": "scale(log(c), within=period)"},
    "networks": {"n": {"prior": "p", "of": "household", "measure": "count"}},
    "tables": {"t": {"file": "t.csv", "keys": {"origin": "o"}, "columns": {"fare": "usd"}}},
    "deprivation": {"d": {"of": "c", "within": ["o"]}},
    "risk": {"r": {"of": "c"}},
    "rates": {"left": {"alternatives": ["international"]}},
    "missing": {"rule": "drop", "columns": ["age"]},
    "keep": ["age"],
    "attributes": {"cost": {"stay": 0, "internal": "c1", "international": "c2"}},
}


def test_out_to_toml_and_back() -> None:
    book = validate(Codebook, FULL, file="f")
    text = write_toml(book.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert validate(Codebook, tomllib.loads(text), file="f") == book


def test_codes_keep_their_types_and_their_spelling() -> None:
    book = validate(Codebook, FULL, file="f")
    assert book.alternatives["internal"] == (1, "2", 2.5)
    assert book.codes() == {
        "0": "stay", "1": "internal", "2": "internal", "2.5": "internal", "a": "international",
    }  # fmt: skip


def test_the_schema_can_be_printed() -> None:
    schema = json.dumps(Codebook.model_json_schema())
    assert all(f'"{key}"' in schema for key in FULL)


def test_who_is_left_out() -> None:
    assert Network(prior="p").leaves_out() == "household"
    assert Network(prior="p", of="household").leaves_out() == "person"
    assert Network(prior="p", leave_out="person").leaves_out() == "person"


def test_what_a_column_is_computed_from() -> None:
    book = validate(
        Codebook,
        FULL
        | {
            "roles": {"choice": "y", "origin": "o", "period": "year"},
            "derive": {"w": "scale(log(c), within=period)", "w2": "w * e"},
            "recode": {"c": {"from": "c", "values": {"1": 0}}, **FULL["recode"]},
            "networks": {"n": {"prior": "w2"}, "m": {"prior": "p", "of": "w"}},
        },
        file="f",
    )
    assert book.sources("w2") == {"w", "c", "period", "year", "e", "educ"}
    assert book.sources("c") == book.sources("age") == frozenset()
    assert book.sources("n") == {"origin", "o"}
    assert book.sources("n", network="prior") == {"w2", *book.sources("w2")}
    assert book.sources("m") == {"w", *book.sources("w")}
    assert book.sources("fare") == book.sources("n")
    assert book.sources("d") == {"o", *book.sources("c"), "c"}
    assert book.sources("r") == {"c", *book.sources("c"), "household", "period", "year"}
    # The choices of earlier periods are no part of the present one's.
    assert book.sources("left") == {"origin", "o", "period", "year"}


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "surveys").glob("*.toml")), ids=lambda p: p.stem
)
def test_shipped_codebooks_are_valid(path: Path) -> None:
    validate(Codebook, tomllib.loads(path.read_text()), file=str(path))
