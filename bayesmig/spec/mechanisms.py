"""The registry of mechanisms: what the literature claims, and what deals with it here.

The map (``models/mechanisms/map.toml``) says each claim once. Which theories, hypotheses
and scenarios deal with it is read from their own files, so that the two cannot disagree.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

from pydantic import Field

from bayesmig.spec.library import load_model, load_scenario, model_names, scenario_names
from bayesmig.spec.model import ModelSpec, Utility
from bayesmig.spec.priors import Frozen
from bayesmig.spec.references import Reference, citation, mechanism_entries, models_folder
from bayesmig.spec.scenario import Scenario
from bayesmig.tomlfile import validate

Text = Annotated[str, Field(min_length=1)]
Evidence = Literal["source", "abstract", "not checked", "reconstruction"]

#: What the mark of a claim means.
EVIDENCE: Mapping[Evidence, str] = {
    "source": "read in the source",
    "abstract": "read in an abstract or excerpt only",
    "not checked": "general knowledge, not checked",
    "reconstruction": "a reconstruction, not the source's own words",
}


class MechanismEntry(Frozen):
    """One claim of the literature.

    Attributes
    ----------
    title, claim
        A few words; one sentence.
    sources
        Keys of ``references.bib``, or citations.
    evidence
        On what grounds the claim stands here; see `EVIDENCE`.
    component
        What a model needs for it, in words.
    block
        The block of a model file that holds the component, as a dotted key. One that
        model files do not have means that the component is not built.
    needs
        The data it needs, in words.
    missing
        What of the claim no packaged theory holds, in words, although one deals with it.
    """

    title: Text
    claim: Text
    sources: tuple[Reference, ...] = Field(min_length=1)
    evidence: Evidence
    component: Text
    block: Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)?$")]
    needs: Text
    missing: str = ""

    @property
    def built(self) -> bool:
        """Whether model files have the block."""
        table, _, key = self.block.partition(".")
        known = table in ModelSpec.model_fields
        return known and (not key or (table == "utility" and key in Utility.model_fields))


@dataclass(frozen=True, slots=True)
class MechanismRow:
    """One mechanism, and what deals with it.

    Attributes
    ----------
    code, entry
        Its code (``M04``) and what the map says.
    models
        The packaged theories that name it, in alphabetical order.
    hypotheses
        The hypotheses about it, each once, however many theories state it.
    scenarios
        The packaged scenarios that name it.
    """

    code: str
    entry: MechanismEntry
    models: tuple[str, ...]
    hypotheses: tuple[str, ...]
    scenarios: tuple[str, ...]

    @property
    def status(self) -> str:
        """``fitted here``, ``in part: …``, ``needs data: …`` or ``later``, in words.

        A mechanism that some theory names without stating a hypothesis about it says so.
        """
        if self.models:
            return self._held + ("" if self.hypotheses else ", without a hypothesis")
        return f"needs data: {self.entry.needs}" if self.entry.built else "later"

    @property
    def _held(self) -> str:
        """How much of the claim packaged theories hold."""
        if self.entry.missing:
            return f"in part: without {self.entry.missing}"
        return "fitted here" if self.entry.built else f"in part: no {self.entry.block} yet"


@cache
def mechanism_map() -> Mapping[str, MechanismEntry]:
    """Code -> claim, in the order of codes.

    Raises
    ------
    SpecError
        Where the map says something that it may not say.
    """
    file = str(models_folder() / "mechanisms" / "map.toml")
    return {
        code: validate(MechanismEntry, entry, file=f"{file}, table {code}")
        for code, entry in sorted(mechanism_entries().items())
    }


def mechanisms() -> tuple[MechanismRow, ...]:
    """The registry of the packaged files: a row for every mechanism of the map."""
    models = [load_model(name) for name in model_names()]
    return registry(mechanism_map(), models, [load_scenario(name) for name in scenario_names()])


def registry(
    entries: Mapping[str, MechanismEntry],
    models: Iterable[ModelSpec],
    scenarios: Iterable[Scenario],
) -> tuple[MechanismRow, ...]:
    """Put theories and scenarios beside the mechanisms that they name.

    Parameters
    ----------
    entries
        The map.
    models, scenarios
        A theory deals with a mechanism where it names it, or states a hypothesis about it.
    """
    models, scenarios = list(models), list(scenarios)

    def row(code: str, entry: MechanismEntry) -> MechanismRow:
        stated = [h for spec in models for h in _about(spec, code)]
        return MechanismRow(
            code=code,
            entry=entry,
            models=tuple(m.name for m in models if code in m.mechanisms or any(_about(m, code))),
            hypotheses=tuple(dict.fromkeys(stated)),
            scenarios=tuple(s.name for s in scenarios if code in s.mechanisms),
        )

    return tuple(row(code, entry) for code, entry in entries.items())


def _about(spec: ModelSpec, code: str) -> Iterator[str]:
    return (name for name, h in spec.hypotheses.items() if h.mechanism == code)


# --------------------------------------------------------------------------- showing


def as_record(row: MechanismRow) -> dict[str, object]:
    """A row as plain values, for scripts."""
    return {
        "code": row.code,
        **row.entry.model_dump(mode="json"),
        "models": list(row.models),
        "hypotheses": list(row.hypotheses),
        "scenarios": list(row.scenarios),
        "status": row.status,
    }


def mechanisms_text(rows: Iterable[MechanismRow], width: int = 80) -> str:
    """The registry for a screen: a line for every mechanism, and what deals with it."""
    rows = list(rows)
    lines = []
    for row in rows:
        lines += _hanging(f"{row.code}  ", row.entry.title, width)
        said = {
            "status": row.status,
            "component": row.entry.component,
            "theories": ", ".join(row.models),
            "hypotheses": ", ".join(row.hypotheses),
            "scenarios": ", ".join(row.scenarios),
        }
        for name, text in said.items():
            if text:
                lines += _hanging(f"     {name:<12}", text, width)
    return "\n".join([*lines, "", *_hanging("", _counts(rows), width)])


def _hanging(first: str, text: str, width: int) -> list[str]:
    hang = " " * len(first)
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=hang, break_on_hyphens=False
    )


def mechanisms_page(rows: Iterable[MechanismRow]) -> str:
    """The registry as a page of Markdown: a table, then every claim with its grounds."""
    rows = list(rows)
    head = "| code | mechanism | component | theories | hypotheses | scenarios | status |"
    lines = [
        "# Mechanisms",
        "",
        "What the literature claims about internal and international migration, and what "
        "deals with each claim here: the component of a model, the theory (a file of "
        "`models/`), the hypotheses that test it, the scenarios that use it. A "
        "dash stands where no packaged file has one.",
        "",
        "`fitted here`: a packaged theory holds the component. `in part`: it holds some of it, "
        "without what is said. `needs data`: model files can hold it and no packaged theory "
        "does; such a theory would need these data. `later`: model files have no such component "
        "yet.",
        "",
        _counts(rows),
        "",
        "This page is made from the files by `make mechanisms`, as is the text of "
        "`bayesmig models --mechanisms`; a test fails where they differ.",
        "",
        head,
        "|" + "---|" * (head.count("|") - 1),
        *map(_table_row, rows),
        "",
        "## Claims, grounds and data",
        *(line for row in rows for line in _claim(row)),
    ]
    return "\n".join(lines) + "\n"


def _counts(rows: list[MechanismRow]) -> str:
    kinds = [row.status.partition(":")[0] for row in rows]
    return "; ".join(f"{kinds.count(k)} {k}" for k in sorted(set(kinds))) + "."


def _table_row(row: MechanismRow) -> str:
    cells = [
        f"[{row.code}](#{row.code.lower()})",
        row.entry.title,
        row.entry.component,
        *(", ".join(f"`{n}`" for n in names) for names in (row.models, row.hypotheses)),
        ", ".join(f"`{n}`" for n in row.scenarios),
        row.status,
    ]
    return "| " + " | ".join(cell or "–" for cell in cells) + " |"


def _claim(row: MechanismRow) -> Iterator[str]:
    yield from ("", f"### {row.code}", "", f"**{row.entry.title}.** {row.entry.claim}", "")
    sources = "; ".join(map(citation, row.entry.sources))
    yield f"- Source: {sources}. Grounds: {EVIDENCE[row.entry.evidence]}."
    where = "" if row.entry.built else " (not in model files yet)"
    yield f"- Component: {row.entry.component}; block `{row.entry.block}`{where}."
    yield f"- Data: {row.entry.needs}."
