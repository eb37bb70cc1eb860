"""Which files of an output folder are a study's own: claimed, replaced, removed.

Whatever else lies there stays as it is, or, where a name is needed, keeps the study out.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from bayesmig.errors import StudyError
from bayesmig.reporting.folder import COLUMNS
from bayesmig.reporting.records import (
    MANIFEST,
    MARKER,
    RECORD,
    REPORT,
    RESULTS,
    SCHEMA,
    TABLES,
    Manifest,
    Marker,
    StepRecord,
    read_record,
    write_record,
)

STEPS, CHAINS, TEXTS = "steps", "chains", "texts.json"
#: What a step may write into its folder.
STEP_FILES = frozenset((RECORD, TEXTS, "posterior.nc", *(f"{t}.parquet" for t in COLUMNS)))
TABLE_FILES = frozenset(f"{table}.{ending}" for table in COLUMNS for ending in ("csv", "parquet"))
#: Files and folders that are written aside, to be renamed: see `bayesmig.posterior.write_aside`.
_ASIDE = re.compile(r"\.(.+)\.\d+\.part")
_CHAIN = re.compile(r"chain-\d+-([0-9a-f]{16})\.nc")


def is_of_a_study(folder: Path) -> bool:
    """Whether a study has claimed a folder."""
    marker = read_record(Marker, folder / MARKER) or read_record(Manifest, folder / MANIFEST)
    return marker is not None


def is_aside(path: Path) -> bool:
    """Whether a file or folder is one of a study that was never renamed."""
    found = _ASIDE.fullmatch(path.name)
    if found is None:
        return False
    own = found[1] in (MARKER, RESULTS, REPORT, MANIFEST) or found[1] in TABLE_FILES
    return own or _CHAIN.fullmatch(found[1]) is not None or path.parent.name == STEPS


def claim(folder: Path, steps: Iterable[str]) -> None:
    """Mark a folder as a study's, and clear away what a killed run was writing.

    Parameters
    ----------
    folder
        Empty, or that of an earlier run.
    steps
        The steps to come.

    Raises
    ------
    StudyError
        Where something else has a name that the study needs; nothing is written.
    """
    if other := next(_others(folder, steps), None):
        raise StudyError(
            "what is there is not the study's, and has a name that the study needs",
            where=str(other),
            mend="move it elsewhere, or name a new output folder",
        )
    if read_record(Marker, folder / MARKER) is None:
        write_record(folder / MARKER, Marker(schema=SCHEMA))
    for place in (folder, folder / TABLES, folder / STEPS, *(folder / CHAINS).glob("*/")):
        for path in place.iterdir() if place.is_dir() else ():
            if is_aside(path):
                _remove(path)


def _others(folder: Path, steps: Iterable[str]) -> Iterator[Path]:
    """What is not a study's own, by the names that a study with these steps needs."""
    files = [folder / name for name in (MARKER, RESULTS, REPORT, MANIFEST)]
    files += [folder / TABLES / name for name in TABLE_FILES]
    yield from (path for path in files if path.is_dir())
    folders = [folder / name for name in (CHAINS, TABLES, STEPS)]
    yield from (path for path in folders if path.exists() and not path.is_dir())
    for place in (folder / STEPS / step for step in steps):
        if place.is_symlink() or place.is_file():
            yield place
        for path in place.iterdir() if place.is_dir() else ():
            if path.name not in STEP_FILES or path.is_dir():
                yield path


def withdraw(folder: Path) -> None:
    """Remove what an earlier run assembled, before the steps that it is from change.

    The manifest goes first. Tables are those of the steps' records.
    """
    for name in (MANIFEST, REPORT, RESULTS):
        (folder / name).unlink(missing_ok=True)
    for place in (folder / STEPS).glob("*/"):
        if record := read_record(StepRecord, place / RECORD):
            for name in (name for part in record.files for name in tables_of(part)):
                (folder / TABLES / name).unlink(missing_ok=True)


def tables_of(part: str) -> tuple[str, ...]:
    """The files of the table that a step's file is a part of; none where it is of no table."""
    path = Path(part)
    return (part, f"{path.stem}.csv") if path.suffix == ".parquet" else ()


def replace_step(aside: Path, folder: Path) -> None:
    """Put a step that was written aside into its place."""
    _remove_files(folder, STEP_FILES)
    aside.rename(folder)


def drop_other_steps(folder: Path, steps: Collection[str]) -> None:
    """Remove the steps of earlier, different studies: one study is left."""
    for place in (folder / STEPS).glob("*/"):
        record = read_record(StepRecord, place / RECORD)
        if record and place.name not in steps:
            _remove_files(place, {RECORD, *record.files})


def drop_other_chains(folder: Path, keys: Collection[str]) -> None:
    """Remove the chains that no fit of this study has, by the keys of those that one has."""
    for path in (folder / CHAINS).glob("*/chain-*.nc"):
        found = _CHAIN.fullmatch(path.name)
        if found and not any(key.startswith(found[1]) for key in keys):
            _remove_files(path.parent, [path.name])


def _remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove some files, and the folder where nothing else is in it."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
