"""Tables from files: delimited text, parquet, Stata and SPSS.

Nothing is interpreted here beyond the format: columns arrive as ``int64``,
``float64`` or ``str``, duplicate and absent columns are refused, and what cannot be
read is a `SurveyError` that names the file.
"""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from bayesmig.errors import SpecError, SurveyError, nearest
from bayesmig.survey.labels import labels_of, numbers_or_text, text_of

#: Texts that mean "no answer" in delimited files. ``None`` and ``null`` are not among
#: them: "None" is a level of education in many surveys.
MISSING_TEXT = ("", "NA", "NaN", "nan")

_DELIMITED = (".csv", ".tsv", ".txt", ".dat")
FORMATS = (*_DELIMITED, *(f"{s}.gz" for s in _DELIMITED), ".parquet", ".dta", ".sav")


@dataclass(frozen=True, eq=False)
class Table:
    """Columns as read.

    Attributes
    ----------
    name
        The file's name, for messages.
    frame
        The columns, ``int64``, ``float64`` or ``str``, with a RangeIndex.
    written
        Identifying columns of delimited files, held as the text that stood there, leading
        zeros included; other text columns hold text because not all of it is numbers.
    partly_labelled
        Columns whose value labels do not cover all their values, left as numbers.
    """

    name: str
    frame: pd.DataFrame
    written: frozenset[str] = frozenset()
    partly_labelled: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileOptions:
    """How to read a file; ``None`` where the codebook does not say.

    Attributes
    ----------
    encoding, separator, missing_text
        Of delimited text only.
    labels
        Of Stata and SPSS only: apply value labels to every column that they cover
        (True), or to the columns named.
    """

    encoding: str | None = None
    separator: str | None = None
    missing_text: tuple[str, ...] | None = None
    labels: bool | tuple[str, ...] = False


def read_header(path: Path, options: FileOptions) -> list[str]:
    """List the columns of a file without reading its rows.

    Raises
    ------
    SurveyError
        Where the file is missing, empty, unreadable, or names a column twice.
    SpecError
        Where an option does not apply to the file's format.
    """
    suffix = _format(path)
    _refuse_options(path, suffix, options)
    if not path.exists():
        raise SurveyError("the data file does not exist", where=str(path), mend=_neighbours(path))
    if path.is_dir():
        raise SurveyError("the data file is a folder", where=str(path))
    if path.stat().st_size == 0:
        raise SurveyError("the data file is empty", where=str(path), mend="it has not one byte")
    names = _guarded(path, options, lambda: _header(path, suffix, options))
    return unique_names(names, str(path))


def unique_names(names: Sequence[Any], where: str) -> list[str]:
    """Refuse columns that are nameless, not text, or named twice."""
    if not names:
        raise SurveyError("there is no column", where=where)
    for position, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise SurveyError(
                f"column number {position} is named {name!r}; a name of text was expected",
                where=where,
                mend="name every column in the first line of the file",
            )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        places = [str(i) for i, name in enumerate(names) if name == twice[0]]
        raise SurveyError(
            f"the column {twice[0]!r} stands {len(places)} times"
            + (f" (so do {', '.join(map(repr, twice[1:4]))})" if twice[1:] else ""),
            where=(where, f"columns number {', '.join(places)}"),
            mend="rename or remove the duplicates; none is chosen silently",
        )
    return list(names)


def read_table(
    path: Path, options: FileOptions, columns: Sequence[str], identifiers: Collection[str]
) -> Table:
    """Read columns of a file.

    Parameters
    ----------
    path, options
        The file, and how to read it; `read_header` has been called on both.
    columns
        The columns to read, all of them present.
    identifiers
        Those whose text matters (codes of persons and places), kept as written.

    Raises
    ------
    SurveyError
        Where the file cannot be read or holds no rows.
    """
    suffix = _format(path)
    table = _guarded(path, options, lambda: _read(path, suffix, options, columns, identifiers))
    if table.frame.empty:
        raise SurveyError("the data file holds no rows, only column names", where=str(path))
    return table


def table_of(frame: pd.DataFrame, columns: Sequence[str]) -> Table:
    """Copy columns of a DataFrame, so that neither side can change the other.

    Raises
    ------
    SurveyError
        Where the DataFrame has no rows.
    """
    if frame.empty:
        raise SurveyError("the DataFrame holds no rows", where="DataFrame")
    copied = frame.loc[:, list(columns)].copy(deep=True).reset_index(drop=True)
    return Table("DataFrame", _tidied(copied))


# ------------------------------------------------------------------------ each format


def _format(path: Path) -> str:
    name = path.name.lower()
    found = [suffix for suffix in FORMATS if name.endswith(suffix)]
    if not found:
        raise SpecError(
            f"the data file has the unknown format {path.suffix!r}",
            where=(str(path), "key file"),
            mend="known: " + ", ".join(FORMATS),
        )
    return max(found, key=len)


def _is_delimited(suffix: str) -> bool:
    return suffix.removesuffix(".gz") in _DELIMITED


def _refuse_options(path: Path, suffix: str, options: FileOptions) -> None:
    text_only = ("encoding", "separator", "missing_text")
    wrong = [k for k in text_only if not _is_delimited(suffix) and getattr(options, k) is not None]
    if options.labels and suffix not in (".dta", ".sav"):
        wrong.append("labels")
    if wrong:
        fits = "Stata (.dta) and SPSS (.sav)" if wrong[0] == "labels" else "delimited text (csv)"
        raise SpecError(
            f"{wrong[0]!r} is given for a {suffix} file, but applies to {fits} files only",
            where=(str(path), f"key {wrong[0]}"),
            mend="remove the key",
        )


def _header(path: Path, suffix: str, options: FileOptions) -> list[str]:
    if suffix == ".parquet":
        import pyarrow.parquet

        return list(pyarrow.parquet.read_schema(path).names)
    if not _is_delimited(suffix):
        _, meta = _statistical(suffix)(path, metadataonly=True)
        return list(meta.column_names)
    opener = gzip.open if suffix.endswith(".gz") else open
    with opener(path, "rt", encoding=_encoding(options), newline="") as lines:
        return next(csv.reader(lines, delimiter=_separator(suffix, options)), [])


def _read(
    path: Path,
    suffix: str,
    options: FileOptions,
    columns: Sequence[str],
    identifiers: Collection[str],
) -> Table:
    if suffix == ".parquet":
        return Table(str(path), _tidied(pd.read_parquet(path, columns=list(columns))))
    if not _is_delimited(suffix):
        return _read_statistical(path, suffix, options, columns)
    return _read_delimited(path, suffix, options, columns, identifiers)


def _read_delimited(
    path: Path,
    suffix: str,
    options: FileOptions,
    columns: Sequence[str],
    identifiers: Collection[str],
) -> Table:
    missing = MISSING_TEXT if options.missing_text is None else options.missing_text
    with warnings.catch_warnings():
        # Rows longer than the header would lose their last fields with a warning, and
        # without any where `usecols` is given: all columns are read, then some are kept.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            path,
            sep=_separator(suffix, options),
            encoding=_encoding(options),
            dtype=dict.fromkeys(set(columns).intersection(identifiers), "str"),
            na_values=list(missing),
            keep_default_na=False,
            index_col=False,
            low_memory=False,
        )
    written = frozenset(columns).intersection(identifiers)
    for name in written:
        frame[name] = frame[name].mask(frame[name].str.strip().isin(missing))
    return Table(str(path), _tidied(frame[list(columns)]), written)


def _read_statistical(
    path: Path, suffix: str, options: FileOptions, columns: Sequence[str]
) -> Table:
    frame, meta = _statistical(suffix)(path, usecols=list(columns))
    value_labels: Mapping[str, Mapping[Any, str]] = meta.variable_value_labels
    named = options.labels if isinstance(options.labels, tuple) else None
    for name in named or ():
        if name not in value_labels:
            raise SpecError(
                f"the column {name!r} has no value labels",
                where=(str(path), "key labels"),
                mend=nearest(name, sorted(value_labels)),
            )
    partly: list[str] = []
    for name in value_labels if options.labels is True else named or ():
        if name not in frame:
            continue
        frame[name], bare = _with_labels(frame[name], value_labels[name])
        if bare and named:
            raise SurveyError(
                f"values without a label: {', '.join(bare[:5])}",
                where=(str(path), f"column {name!r}", "key labels"),
                mend="leave the column out of labels, or recode it",
            )
        if bare:
            partly.append(name)
    return Table(str(path), _tidied(frame[list(columns)]), partly_labelled=tuple(partly))


def _with_labels(values: pd.Series, labels: Mapping[Any, str]) -> tuple[pd.Series, list[str]]:
    """Put labels for values, or leave all as it is and say which values have none."""
    text = {text_of(value): label for value, label in labels.items()}
    spelt = labels_of(numbers_or_text(values))
    bare = [value for value in spelt.dropna().unique() if value not in text]
    return (values, bare) if bare else (spelt.map(text).astype("str"), bare)


def _statistical(suffix: str) -> Callable[..., tuple[pd.DataFrame, Any]]:
    import pyreadstat

    module: ModuleType = pyreadstat
    return module.read_dta if suffix == ".dta" else module.read_sav  # type: ignore[no-any-return]


def _tidied(frame: pd.DataFrame) -> pd.DataFrame:
    columns = {name: numbers_or_text(frame[name]) for name in frame.columns}
    return pd.DataFrame(columns).reset_index(drop=True)


# ----------------------------------------------------------------------------- errors


def _guarded[T](path: Path, options: FileOptions, read: Callable[[], T]) -> T:
    """Turn what the readers raise into errors that name the file and advise."""
    try:
        return read()
    except (UnicodeError, LookupError) as err:
        if isinstance(err, KeyError | IndexError):
            raise
        encoding = options.encoding or "utf-8"
        raise SurveyError(
            f"the data file is not in the encoding {encoding!r}: {err}",
            where=(str(path), "key encoding"),
            mend='state the encoding, for instance encoding = "latin-1" or "cp1252"',
        ) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as err:
        raise SurveyError(
            f"the data file is not a table: {str(err).strip()}",
            where=str(path),
            mend="check the separator, and that every line has as many fields as the first",
        ) from None
    except (OSError, EOFError, zlib.error, ValueError) as err:
        raise SurveyError(f"the data file cannot be read: {err}", where=str(path)) from None
    except Exception as err:
        # pyreadstat raises a bare class of its own, which importing here would cost.
        if type(err).__module__.startswith("pyreadstat"):
            raise SurveyError(f"the data file cannot be read: {err}", where=str(path)) from None
        raise


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either; 'file' is relative to the codebook"
    return nearest(path.name, sorted(p.name for p in path.parent.iterdir() if p.is_file()))


def _encoding(options: FileOptions) -> str:
    # The byte-order mark that spreadsheets write is no part of the first column's name.
    encoding = options.encoding or "utf-8"
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def _separator(suffix: str, options: FileOptions) -> str:
    return options.separator or ("\t" if suffix.startswith(".tsv") else ",")
