"""What a study's folder says of itself: its marker, step records, results and manifest.

Each is a file of JSON that is read here and nowhere else, through a frozen model: what is
absent, damaged or of another form counts as not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bayesmig.errors import StudyError
from bayesmig.posterior import Provenance, write_aside

MARKER, RECORD, MANIFEST = "bayesmig.json", "step.json", "manifest.json"
RESULTS, REPORT, TABLES = "results.json", "report.html", "tables"
SCHEMA: Literal["bayesmig study 1"] = "bayesmig study 1"

# Files that are named in records are removed or read: none may lie elsewhere.
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
FilePath = Annotated[str, Field(pattern=r"^(\w[\w.-]*/)*\w[\w.-]*$")]
Sums = dict[FileName, str]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class Marker(_Read):
    """Whose folder this is; written before anything else."""

    form: Literal["bayesmig study 1"] = Field(alias="schema")


class StepRecord(_Read):
    """A finished step; the last file that is written into its folder.

    Attributes
    ----------
    key
        The hash of all that its answer depends on.
    files
        File -> SHA-256.
    created, seconds
        When it was computed (UTC, ISO 8601), and for how long.
    """

    key: str
    files: Sums
    created: str
    seconds: float


class Manifest(_Read):
    """A finished run; the last file that it writes.

    Attributes
    ----------
    form
        What kind of folder this is.
    study
        The study, as TOML.
    steps
        Step -> key.
    files
        Path within the folder -> SHA-256, of all that belongs to the study.
    versions
        Package -> version.
    """

    form: Literal["bayesmig study 1"] = Field(alias="schema")
    study: str
    steps: dict[str, str]
    files: dict[FilePath, str]
    versions: dict[str, str]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not {RESULTS, REPORT} <= self.files.keys():
            raise ValueError("it lists no results or no report")
        return self


# -------------------------------------------------------------------------- results


class _Step(_Read):
    step: str
    created: str | None
    seconds: float | None


class _Column(_Read):
    column: str
    description: str
    codebook: str
    theories: list[str]


class _Survey(_Read):
    title: str
    fingerprint: str
    rows: int
    notes: str
    warnings: list[str]


class _Theory(_Read):
    name: str
    title: str
    claim: str
    references: list[str]
    weights_note: str
    warnings: list[str]
    problems: list[str]
    provenance: Provenance
    compiled: bool = False


class _Scenario(_Read):
    name: str
    title: str
    description: str
    interventions: list[str]
    warnings: list[str]
    header: dict[str, str]


class _Texts(_Read):
    comparison: str
    comparisons: dict[str, str] = {}
    hypotheses: dict[str, str]
    rehearsal: str = ""


class Results(_Read):
    """What the report says beside the tables.

    Attributes
    ----------
    tables
        Names of the tables that the study has.
    main
        The theory that effects and scenarios are computed from.
    headers
        Table -> what its numbers are.
    title, seed, created, versions, files, steps, columns, survey, theories, scenarios, texts
        As they are said in the report.
    """

    title: str
    seed: int
    created: str
    versions: dict[str, str]
    files: dict[str, str]
    tables: list[FileName]
    steps: list[_Step]
    columns: list[_Column]
    survey: _Survey
    main: str
    theories: list[_Theory]
    scenarios: list[_Scenario]
    headers: dict[str, dict[str, str]]
    texts: _Texts


# ----------------------------------------------------------------- reading and writing


def read_record[RecordT: _Read](model: type[RecordT], path: Path) -> RecordT | None:
    """A file of JSON as a value, or ``None`` where it is absent or not of its form."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_record(path: Path, record: _Read) -> None:
    """Write a value where `read_record` finds it, whole or not at all.

    Raises
    ------
    PosteriorError
        Where the folder cannot be written.
    """
    text = record.model_dump_json(by_alias=True, indent=1)
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_whole(path: Path, known: str) -> bool:
    """Whether a file is there and has a checksum."""
    try:
        return checksum(path) == known
    except OSError:
        return False


def are_whole(folder: Path, files: Mapping[str, str]) -> bool:
    """Whether every file of a folder is there and has its checksum."""
    return all(is_whole(folder / name, known) for name, known in files.items())


def finished_run(folder: Path) -> Manifest:
    """The manifest of a folder whose results and tables are those of a finished run.

    Raises
    ------
    StudyError
        Where there is none, or where files are missing or changed.
    """
    manifest = read_record(Manifest, folder / MANIFEST)
    mend = f"bayesmig run STUDY.toml --out {folder} computes what is missing"
    if manifest is None:
        raise StudyError(
            "the folder holds no finished run of a study", where=str(folder), mend=mend
        )
    read = [n for n in manifest.files if n == RESULTS or n.startswith(f"{TABLES}/")]
    wrong = [n for n in read if not is_whole(folder / n, manifest.files[n])]
    if wrong:
        raise StudyError(
            "files are missing, or not as the run left them: " + ", ".join(wrong),
            where=str(folder),
            mend=mend,
        )
    return manifest
