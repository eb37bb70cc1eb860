"""The value `Survey`: tidy microdata with roles; and `read_survey`, which makes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.chunks import chunks
from bayesmig.errors import SpecError, SurveyError, nearest
from bayesmig.survey.codebook import NUMERIC_ROLES, ROLES, Codebook, Roles
from bayesmig.survey.columns import columns_needed
from bayesmig.survey.files import (
    FileOptions,
    Table,
    read_header,
    read_table,
    table_of,
    unique_names,
)
from bayesmig.survey.labels import text_of
from bayesmig.survey.tables import Keyed, auxiliary_of, read_auxiliary
from bayesmig.survey.tidy import ReadReport, Tidy, tidy
from bayesmig.tomlfile import read_toml, validate

if TYPE_CHECKING:
    from bayesmig.survey.describe import SurveyDescription

_FILE_KEYS = ("file", "encoding", "separator", "missing_text", "labels")


@dataclass(frozen=True, eq=False)
class Survey:
    """Microdata of choices, validated; made by `read_survey`, never changed.

    Attributes
    ----------
    title
        Of the codebook.
    roles
        Which column of the file plays which role.
    alternatives
        In the order of the codebook.
    codebook
        As validated.
    report
        What reading did: rows dropped and why, codes made missing, suspicious numbers.
    fingerprint
        SHA-256 over the columns, roles, alternatives and attributes; the same in every
        process for the same data in the same order.
    rows
        Row numbers in the file (from 0) of the rows kept, shape ``(obs,)``, read-only.
    replicates
        Replicate weights, shape ``(obs, replicate)``, read-only; ``None`` where none are
        declared.
    """

    title: str
    roles: Roles
    alternatives: tuple[str, ...]
    codebook: Codebook
    report: ReadReport
    fingerprint: str
    rows: npt.NDArray[np.int64]
    _frame: pd.DataFrame
    replicates: npt.NDArray[np.float64] | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The tidy columns, shape ``(obs, …)``: roles under their role's name, then others.

        A copy at each call (8 bytes a number), so that whatever is done to it changes
        nothing here; `column` and `role` copy one column only.
        """
        return pd.DataFrame(
            {name: _copied(values) for name, values in self._frame.items()}, copy=False
        )

    def shared(self, names: Iterable[str]) -> pd.DataFrame:
        """Some of the tidy columns in the memory of this survey, to be read only.

        pandas copies a column before it writes to it; what is not pandas must not write.
        """
        return pd.DataFrame({name: self._frame[name] for name in names}, copy=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tidy columns, in order."""
        return tuple(map(str, self._frame.columns))

    @property
    def attributes(self) -> dict[str, dict[str, str | float]]:
        """Attribute to alternative to a column or a number; a copy."""
        return {name: dict(columns) for name, columns in self.codebook.attributes.items()}

    @property
    def derived(self) -> dict[str, tuple[str, ...]]:
        """Column to the columns that the codebook computes it from, at any remove.

        As the survey shows them: a role under its own name. Columns that come from the
        file as they are have no entry.
        """
        columns = self.roles.declared()
        found = {}
        for name in map(str, self._frame.columns):
            sources = self.codebook.sources(columns.get(name, name))
            roles = {role for role, column in columns.items() if column in sources}
            hidden = {c for c in columns.values() if c not in self._frame.columns}
            if shown := ((sources - hidden) | roles) - {name}:
                found[name] = tuple(sorted(shown))
        return found

    @property
    def n_obs(self) -> int:
        """Number of choice situations."""
        return len(self._frame)

    @property
    def left_out(self) -> str:
        """Which rows are not there though the codebook does not say so, in words; often empty."""
        report = self.report
        if self.codebook.missing.rule != "complete" or report.rows_kept == report.rows_read:
            return ""
        by_column = sorted(report.missing.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{name} {n:,}" for name, n in by_column)
        lost = report.rows_read - report.rows_kept
        return (
            f"{lost:,} of {report.rows_read:,} rows ({lost / report.rows_read:.1%}) were left out, "
            f"since values are missing ({listed}): answers are of complete cases"
        )

    def has(self, role: str) -> bool:
        """Say whether a role is declared.

        Raises
        ------
        SurveyError
            Where there is no such role.
        """
        _known_role(role)
        return role in self.roles.declared()

    def role(self, role: str) -> pd.Series:
        """Give the column of a role, shape ``(obs,)``: text, or floats for weight and fpc.

        Raises
        ------
        SurveyError
            Where the role is unknown, or the codebook does not declare it.
        """
        if not self.has(role):
            raise SurveyError(
                f"the survey declares no {role}",
                where=(self.title or "survey", "key roles"),
                mend=f'add {role} = "COLUMN" under [roles] of the codebook; '
                f"declared: {', '.join(self.roles.declared())}",
            )
        return _copied(self._frame[role])

    def column(self, name: str) -> pd.Series:
        """Give a column by name, shape ``(obs,)``.

        Raises
        ------
        SurveyError
            Where there is none, with the nearest that there is.
        """
        if name not in self._frame.columns:
            raise SurveyError(
                f"the survey has no column {name!r}",
                where=self.title or "survey",
                mend=nearest(name, list(self._frame.columns)),
            )
        return _copied(self._frame[name])

    def describe(self) -> SurveyDescription:
        """Tabulate rows, drops, codes and choice shares, and warn of what looks weak."""
        from bayesmig.survey.describe import describe

        return describe(self)

    def __repr__(self) -> str:
        shares = self._frame["choice"].value_counts(normalize=True)
        listed = ", ".join(f"{a} {shares[a]:.1%}" for a in self.alternatives)
        return f"<Survey {self.title!r}: {self.n_obs:,} choice situations; {listed}>"


def _copied(values: pd.Series) -> pd.Series:
    """Copy a column with all that it points to, the names of categories included."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return values.copy(deep=True)
    kinds = pd.CategoricalDtype(list(values.cat.categories), ordered=values.cat.ordered)
    codes = values.cat.codes.to_numpy(copy=True)
    return pd.Series(pd.Categorical.from_codes(codes, dtype=kinds), name=values.name)


def _known_role(role: str) -> None:
    if role not in ROLES:
        raise SurveyError(f"there is no role {role!r}", mend=nearest(role, ROLES))


# ---------------------------------------------------------------------------- reading


def read_survey(
    source: str | Path | pd.DataFrame,
    roles: Mapping[str, str] | None = None,
    *,
    tables_of: Mapping[str, pd.DataFrame] | None = None,
    **codebook_keys: Any,
) -> Survey:
    """Read and validate microdata with their codebook.

    Parameters
    ----------
    source
        Path of a codebook (.toml) that names the data file; or a DataFrame, which is
        copied.
    roles
        For a DataFrame: role to column, ``{"choice": "moved", "origin": "district"}``.
    tables_of
        For a DataFrame: auxiliary table to its rows, in the place of its ``file`` (which is
        else relative to the working folder).
    **codebook_keys
        For a DataFrame: the same keys as in a codebook (``alternatives``,
        ``missing_codes``, ``derive``, …); see `bayesmig.survey.codebook.Codebook`.

    Returns
    -------
    Survey
        Frozen. Columns of roles carry their role's name, as text (the weight as floats);
        the choice is a categorical of the alternatives; others are ``int64``,
        ``float64`` or text.

    Raises
    ------
    SpecError
        Where the codebook says something that it may not say.
    SurveyError
        Where codebook and data do not fit, or the data are not usable. Both name file,
        key, column and the first rows (counted from 0), and the mend.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"moved": [0, 1, 2, 0], "age": [30, 22, 25, 61]})
    >>> survey = read_survey(
    ...     frame,
    ...     roles={"choice": "moved"},
    ...     alternatives={"stay": 0, "internal": 1, "international": 2},
    ... )
    >>> survey.n_obs
    4
    """
    if isinstance(source, pd.DataFrame):
        return _from_frame(source, roles, codebook_keys, tables_of or {})
    if not isinstance(source, str | Path):
        raise SurveyError(
            f"a survey is read from a codebook or a DataFrame, got {type(source).__name__}",
            where="argument source of read_survey",
            mend="give the path of a codebook (.toml), or a pandas DataFrame",
        )
    stated = {"roles": roles, "tables_of": tables_of, **codebook_keys}
    if given := next((key for key, value in stated.items() if value is not None), None):
        raise SpecError(
            f"{given!r} is given beside a codebook file, which states it itself",
            where=str(source),
            mend="edit the codebook, or read the data into a DataFrame and give all keys here",
        )
    survey = _from_codebook(Path(source))
    _return_memory()
    return survey


def _from_codebook(path: Path) -> Survey:
    _refuse_data_file(path)
    book = validate(Codebook, read_toml(path, "codebook"), file=str(path))
    if book.file is None:
        raise SpecError(
            "the key 'file' is missing", where=str(path), mend='add file = "DATA" (relative to it)'
        )
    data = (path.parent / book.file).resolve()
    declared = {name: [text_of(c) for c in codes] for name, codes in book.missing_codes.items()}
    options = FileOptions(book.encoding, book.separator, book.missing_text, book.labels, declared)
    header = read_header(data, options)
    columns = columns_needed(book, header, str(path))
    codes = {c for role, c in book.roles.declared().items() if role not in NUMERIC_ROLES}
    codes |= {ours for table in book.tables.values() for ours in table.keys}
    table = read_table(data, options, columns, codes)
    return _survey(table, book, str(path), _auxiliary(book, path.parent, str(path), {}))


def _auxiliary(
    book: Codebook, folder: Path, where: str, frames: Mapping[str, pd.DataFrame]
) -> dict[str, Keyed]:
    """Read the auxiliary tables of a codebook, by name."""
    demands = [s for d in book.shift_share.values() for s in (d.shares, d.growth)]
    found = {}
    for name, block in book.tables.items():
        more = [series.column for series in demands if series.table == name]
        if name in frames:
            found[name] = auxiliary_of(name, block, more, frames[name], where)
        else:
            found[name] = read_auxiliary(name, block, more, folder, where)
    return found


def _refuse_data_file(path: Path) -> None:
    if path.suffix != ".toml" and not path.is_dir():
        raise SurveyError(
            f"a codebook (.toml) is read here, not the data file {path.name!r}",
            where=str(path),
            mend="write a codebook that names this file, or read the file into a DataFrame",
        )


def _from_frame(
    frame: pd.DataFrame,
    roles: Mapping[str, str] | None,
    keys: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
) -> Survey:
    for key in _FILE_KEYS:
        if key in keys:
            raise SpecError(
                f"the key {key!r} applies to files, and the data are a DataFrame",
                where=("DataFrame", f"key {key}"),
                mend="leave it out",
            )
    told = dict(roles) if isinstance(roles, Mapping) else roles
    stated = {**keys, **({} if roles is None else {"roles": told})}
    book = validate(Codebook, stated, file="DataFrame")
    if isinstance(frame.columns, pd.MultiIndex):
        raise SurveyError(
            "the DataFrame has columns of several levels",
            where="DataFrame",
            mend='join them to one name each, for instance with frame.columns.map("_".join)',
        )
    header = unique_names(list(frame.columns), "DataFrame")
    for name in tables:
        if name not in book.tables:
            raise SpecError(
                f"the codebook declares no table {name!r}",
                where=("DataFrame", f"argument tables_of, key {name}"),
                mend=nearest(name, list(book.tables)),
            )
    table = table_of(frame, columns_needed(book, header, "DataFrame"))
    return _survey(table, book, "DataFrame", _auxiliary(book, Path(), "DataFrame", tables))


def _survey(table: Table, book: Codebook, where: str, auxiliary: Mapping[str, Keyed]) -> Survey:
    done: Tidy = tidy(table, book, where, auxiliary)
    return Survey(
        title=book.title,
        roles=book.roles,
        alternatives=tuple(book.alternatives),
        codebook=book,
        report=done.report,
        fingerprint=_fingerprint(done.frame, book, done.replicates),
        # Memory of bytes cannot be made writable again.
        rows=np.frombuffer(done.rows.tobytes(), dtype=np.int64),
        _frame=done.frame,
        replicates=done.replicates,
    )


def _return_memory() -> None:
    """Give back what Arrow keeps when a table is read and gone, of a large file much."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


# ------------------------------------------------------------------------ fingerprint


def _fingerprint(
    frame: pd.DataFrame, book: Codebook, replicates: npt.NDArray[np.float64] | None
) -> str:
    """Hash columns as bytes, so that neither process nor library version matters."""
    said = {
        "roles": list(book.roles.declared()),
        "alternatives": list(book.alternatives),
        "attributes": book.attributes,
        "rows": len(frame),
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in frame.columns:
        _hash_column(digest, name, frame[name])
    if book.replicates is not None and replicates is not None:
        digest.update(json.dumps(book.replicates.scaling(replicates.shape[1])).encode())
        digest.update(np.ascontiguousarray(replicates, dtype="<f8").data)
    return digest.hexdigest()


def _hash_column(digest: Any, name: str, values: pd.Series) -> None:
    digest.update(json.dumps(name).encode())
    if pd.api.types.is_numeric_dtype(values):
        digest.update(b"number")
        numbers = values.to_numpy(dtype="<f8")
        for rows in chunks(len(numbers)):
            # One zero and one NaN, whatever their bits.
            part = numbers[rows] + 0.0
            part[np.isnan(part)] = np.nan
            digest.update(part.data)
        return
    codes, texts = pd.factorize(values)
    digest.update(b"text" + json.dumps([str(text) for text in texts]).encode())
    digest.update(codes.astype("<i4").tobytes())
