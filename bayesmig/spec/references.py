"""What model files name by a key: works of the bibliography, codes of mechanisms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from bayesmig.errors import SpecError, nearest
from bayesmig.tomlfile import read_toml

_PACKAGE = Path(__file__).resolve().parent.parent

_ENTRY = re.compile(r"^@\w+\{(?P<key>[^,\s]+),(?P<body>.*?)^\}", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^\s*(?P<name>\w+)\s*=\s*\{(?P<value>.*)\},?\s*$", re.MULTILINE)
_ACCENTS = {
    "{\\`a}": "à",
    "{\\'i}": "í",
    "{\\'e}": "é",
    "{\\'a}": "á",
    "{\\'o}": "ó",
    "{\\~n}": "ñ",
}
_WHERE = ("journal", "booktitle", "institution", "publisher")


def models_folder() -> Path:
    """The folder of packaged models: inside the wheel, or beside the sources."""
    inside = _PACKAGE / "models"
    return inside if inside.is_dir() else _PACKAGE.parent / "models"


def _known_reference(text: str) -> str:
    """A key of the bibliography, or (it holds a space) a citation in full."""
    if text not in _entries() and " " not in text.strip():
        raise ValueError(
            SpecError(
                f"references.bib has no entry {text!r}",
                mend=nearest(text, sorted(_entries())) + "; or write the citation in full",
            )
        )
    return text


def _known_mechanism(code: str) -> str:
    known = sorted(mechanism_entries())
    if code not in known:
        raise ValueError(
            SpecError(
                f"there is no mechanism {code!r}",
                mend=f"name one of {known[0]} to {known[-1]}, or leave it out",
            )
        )
    return code


@cache
def mechanism_entries() -> Mapping[str, Mapping[str, Any]]:
    """Code -> what the packaged mechanism map says of it, as its file has it."""
    return read_toml(models_folder() / "mechanisms" / "map.toml", "mechanism map")


Reference = Annotated[str, AfterValidator(_known_reference)]
Mechanism = Annotated[str, AfterValidator(_known_mechanism)]


def citation(key: str) -> str:
    """A work in words: authors (year), title, where it appeared, DOI.

    Parameters
    ----------
    key
        Of ``models/references.bib``; a citation in full is returned as it is.
    """
    entry = _entries().get(key)
    if entry is None:
        return key
    authors = entry.get("author", entry.get("editor", "")).split(" and ")
    names = [name.split(",")[0].strip() for name in authors]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    where = next((entry[k] for k in _WHERE if k in entry), "")
    numbers = entry.get("volume", "") + (
        f"({entry['number']})" if {"volume", "number"} <= entry.keys() else ""
    )
    pages = entry.get("pages", "")
    appeared = f"{where} {numbers}".strip() + (f": {pages}" if pages else "")
    doi = f"doi:{entry['doi']}" if "doi" in entry else ""
    parts = (f"{listed} ({entry['year']})", entry["title"], appeared, doi)
    return ". ".join(part.rstrip(".") for part in parts if part)


@cache
def _entries() -> Mapping[str, Mapping[str, str]]:
    """Key -> field -> text, of the packaged bibliography."""
    text = (models_folder() / "references.bib").read_text(encoding="utf-8")
    return {
        found["key"]: {f["name"]: _plain(f["value"]) for f in _FIELD.finditer(found["body"])}
        for found in _ENTRY.finditer(text)
    }


def _plain(value: str) -> str:
    for written, letter in _ACCENTS.items():
        value = value.replace(written, letter)
    value = value.replace("--", "–")
    return value.replace("{", "").replace("}", "").replace("`", "‘").replace("'", "’")
