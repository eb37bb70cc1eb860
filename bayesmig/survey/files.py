"""Tables from files: delimited text, parquet, Stata and SPSS.

Nothing is interpreted here beyond the format: columns arrive as ``int64``,
``float64`` or ``str``, duplicate and absent columns are refused, and what cannot be
read is a `SurveyError` that names the file.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmig.errors import SpecError, SurveyError, nearest, rows_text
from bayesmig.survey.labels import labels_of, numbers_or_text, spelling, text_of

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
    alike_labelled
        Columns in which two values have one label, left as numbers.
    coded
        Column to the codes that were made missing in reading, text of shape ``(obs,)``
        with missing elsewhere: those that the file itself calls missing (SPSS user-missing
        values, ``.a`` to ``.z`` of Stata), and declared ones of columns with value labels.
    """

    name: str
    frame: pd.DataFrame
    written: frozenset[str] = frozenset()
    partly_labelled: tuple[str, ...] = ()
    alike_labelled: tuple[str, ...] = ()
    coded: Mapping[str, pd.Series] = field(default_factory=dict)


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
    missing_codes
        Column to declared codes, as text. They are codes of values, so that they must be
        applied before labels are put for values.
    """

    encoding: str | None = None
    separator: str | None = None
    missing_text: tuple[str, ...] | None = None
    labels: bool | tuple[str, ...] = False
    missing_codes: Mapping[str, Collection[str]] = field(default_factory=dict)


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
        raise SurveyError(
            "the data file is a folder",
            where=(str(path), "key file"),
            mend="name a file: " + _inside(path),
        )
    if path.stat().st_size == 0:
        raise SurveyError(
            "the data file is empty (it has not one byte)",
            where=str(path),
            mend="copy or export it again",
        )
    names = _guarded(path, options, lambda: _header(path, suffix, options))
    return unique_names(names, str(path))


def unique_names(names: Sequence[Any], where: str) -> list[str]:
    """Refuse columns that are nameless, not text, or named twice."""
    if not names:
        raise SurveyError(
            "there is no column: nothing but blank lines",
            where=where,
            mend="name the columns in the first line, and give rows below",
        )
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
        raise SurveyError(
            "the data file holds no rows, only column names",
            where=str(path),
            mend="is this the right file? A survey needs one row per choice",
        )
    return table


def table_of(frame: pd.DataFrame, columns: Sequence[str]) -> Table:
    """Copy columns of a DataFrame, so that neither side can change the other.

    Raises
    ------
    SurveyError
        Where the DataFrame has no rows.
    """
    if frame.empty:
        raise SurveyError(
            "the DataFrame holds no rows",
            where="DataFrame",
            mend="check the filters that made it; a survey needs one row per choice",
        )
    copied = {name: frame[name].copy(deep=True) for name in columns}
    return Table("DataFrame", _tidied(copied, "DataFrame"))


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
        return _parquet_header(path)
    if not _is_delimited(suffix):
        _, meta = _statistical(suffix)(path, metadataonly=True)
        return list(meta.column_names)
    _refuse_packed(path, suffix)
    return next(_lines(path, suffix, options), (0, []))[1]


def _parquet_header(path: Path) -> list[str]:
    """Name the columns, and what was a named index in pandas; not an index without a name."""
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    ranges = [i["name"] for i in index if isinstance(i, dict) and i.get("name")]
    named = [n for n in schema.names if not re.fullmatch(r"__index_level_\d+__", n)]
    return [*named, *(n for n in ranges if n not in named)]


def _refuse_packed(path: Path, suffix: str) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    for mark, kind, named in ((b"\x1f\x8b", "gzip", ".gz"), (b"PK\x03\x04", "zip", "")):
        if start.startswith(mark) and not (named and suffix.endswith(named)):
            raise SurveyError(
                f"the data file is packed ({kind}), but is not named so",
                where=(str(path), "key file"),
                mend=f"rename it to {path.name}{named}" if named else "unpack it",
            )


def _lines(path: Path, suffix: str, options: FileOptions) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not blank, split into fields, with their number from 1."""
    opener = gzip.open if suffix.endswith(".gz") else open
    with opener(path, "rt", encoding=_encoding(options), newline="") as text:
        reader = csv.reader(text, delimiter=_separator(suffix, options))
        for fields in reader:
            if any(f.strip() for f in fields) or len(fields) > 1:
                yield reader.line_num, fields


def _read(
    path: Path,
    suffix: str,
    options: FileOptions,
    columns: Sequence[str],
    identifiers: Collection[str],
) -> Table:
    if suffix == ".parquet":
        return Table(str(path), _tidied(_read_parquet(path, columns), str(path)))
    if not _is_delimited(suffix):
        return _read_statistical(path, suffix, options, columns)
    return _read_delimited(path, suffix, options, columns, identifiers)


def _read_parquet(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pyarrow.parquet

    stored = set(pyarrow.parquet.read_schema(path).names)
    # Column by column, each let go once it is moved: the table would stand beside the frame.
    moved = {"split_blocks": True, "self_destruct": True, "use_threads": False}
    frame = pd.read_parquet(
        path,
        engine="pyarrow",
        columns=[c for c in columns if c in stored],
        to_pandas_kwargs=moved,
    )
    pyarrow.default_memory_pool().release_unused()
    if not set(columns).issubset(frame.columns):
        frame = frame.reset_index()
    return frame[list(columns)]


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
    if frame.iloc[:, -1].isna().any():
        _refuse_short_lines(path, suffix, options, frame.shape[1])
    written = frozenset(columns).intersection(identifiers)
    for name in written:
        frame[name] = frame[name].mask(frame[name].str.strip().isin(missing))
    return Table(str(path), _tidied(frame[list(columns)], str(path)), written)


def _refuse_short_lines(path: Path, suffix: str, options: FileOptions, width: int) -> None:
    """Refuse lines of fewer fields than the header: pandas takes what they lack as missing."""
    short = [(n, len(fields)) for n, fields in _lines(path, suffix, options) if len(fields) < width]
    if short:
        line, found = short[0]
        raise SurveyError(
            f"line {line} has {found} fields, the header has {width}",
            where=(str(path), rows_text([n for n, _ in short]).replace("rows", "lines")),
            mend="complete the lines: is the file cut off, or a line broken in two?",
        )


def _read_statistical(
    path: Path, suffix: str, options: FileOptions, columns: Sequence[str]
) -> Table:
    frame, meta = _statistical(suffix)(path, usecols=list(columns), user_missing=True)
    value_labels: Mapping[str, Mapping[Any, str]] = meta.variable_value_labels
    named = options.labels if isinstance(options.labels, tuple) else ()
    for name in named:
        if name not in value_labels:
            raise SpecError(
                f"the column {name!r} has no value labels",
                where=(str(path), "key labels"),
                mend=nearest(name, sorted(value_labels)),
            )
    labelled = [n for n in (value_labels if options.labels is True else named) if n in frame]
    coded: dict[str, pd.Series] = {}
    for name in columns:
        codes = _codes_of_the_file(frame[name], name, meta)
        if name in labelled:
            declared = [spelling(c) for c in options.missing_codes.get(name, ())]
            spelt = labels_of(numbers_or_text(frame[name].mask(codes.notna())))
            codes = codes.where(codes.notna(), spelt.where(spelt.isin(declared)))
        if codes.notna().any():
            coded[name] = codes
            frame[name] = frame[name].mask(codes.notna()).infer_objects()
    partly: list[str] = []
    alike: list[str] = []
    for name in labelled:
        frame[name], problem, left = _with_labels(frame[name], value_labels[name])
        if problem and named:
            raise SurveyError(
                problem,
                where=(str(path), f"column {name!r}", "key labels"),
                mend="leave the column out of labels, or recode it",
            )
        if problem:
            (partly if left == "partly" else alike).append(name)
    return Table(
        str(path),
        _tidied(frame[list(columns)], str(path)),
        partly_labelled=tuple(partly),
        alike_labelled=tuple(alike),
        coded=coded,
    )


def _codes_of_the_file(values: pd.Series, name: str, meta: Any) -> pd.Series:
    """Spell the values that the file itself calls missing; all others are missing here."""
    coded = pd.Series(False, index=values.index)
    for span in meta.missing_ranges.get(name, ()):
        coded |= (values >= span["lo"]) & (values <= span["hi"])
    letters = meta.missing_user_values.get(name, ())
    if letters:
        return ("." + values.where(values.isin(letters)).astype("str")).astype("str")
    return labels_of(numbers_or_text(values)).where(coded).astype("str")


def _with_labels(
    values: pd.Series, labels: Mapping[Any, str]
) -> tuple[pd.Series, str, Literal["", "partly", "alike"]]:
    """Put labels for values, or leave all as it is and say why."""
    text = {text_of(value): label.strip() for value, label in labels.items()}
    spelt = labels_of(numbers_or_text(values))
    used = sorted(spelt.dropna().unique())
    bare = [value for value in used if value not in text]
    if bare:
        return values, f"values without a label: {', '.join(bare[:5])}", "partly"
    for label, times in Counter(text[value] for value in used).items():
        if times > 1:
            same = " and ".join(value for value in used if text[value] == label)
            return values, f"the values {same} have one label: {label!r}", "alike"
    return spelt.map(text).astype("str"), "", ""


def _statistical(suffix: str) -> Callable[..., tuple[pd.DataFrame, Any]]:
    import pyreadstat

    module: ModuleType = pyreadstat
    return module.read_dta if suffix == ".dta" else module.read_sav  # type: ignore[no-any-return]


def _tidied(columns: Mapping[str, pd.Series] | pd.DataFrame, where: str) -> pd.DataFrame:
    """Columns of numbers or text, each in memory of its own: moving them together would copy."""
    try:
        tidied = {
            str(name): numbers_or_text(values.reset_index(drop=True))
            for name, values in columns.items()
        }
    except SurveyError as err:
        raise SurveyError(err.what, where=(where, *err.where), mend=err.mend) from None
    for name, values in tidied.items():
        _refuse_nul(name, values, where)
    return pd.DataFrame(tidied, copy=False)


def _refuse_nul(name: str, values: pd.Series, where: str) -> None:
    """Refuse what no text file and no NetCDF file can hold."""
    if isinstance(values.dtype, pd.StringDtype):
        rows = np.flatnonzero(values.str.contains("\0", regex=False).fillna(False))
        if len(rows):
            raise SurveyError(
                f"the column {name!r} holds the character NUL: {values.iloc[rows[0]]!r}",
                where=(where, f"column {name!r}", rows_text(rows.tolist())),
                mend="remove it (is the file damaged, or in another encoding?)",
            )


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
            mend='state the encoding, for instance encoding = "latin-1", "cp1252" or "utf-16"',
        ) from None
    except (csv.Error, pd.errors.ParserError, pd.errors.ParserWarning) as err:
        raise SurveyError(
            f"the data file is not a table: {str(err).strip()}",
            where=str(path),
            mend="check the separator, and that every line has as many fields as the first",
        ) from None
    except (OSError, EOFError, zlib.error, ValueError) as err:
        raise _unreadable(path, err) from None
    except Exception as err:
        # pyreadstat raises a bare class of its own, which importing here would cost.
        if type(err).__module__.startswith("pyreadstat"):
            raise _unreadable(path, err) from None
        raise


def _unreadable(path: Path, err: Exception) -> SurveyError:
    mend = (
        f"is it damaged, cut off, or of another format than {path.suffix}? copy or export it anew"
    )
    if isinstance(err, PermissionError):
        mend = "allow yourself to read it"
    return SurveyError(f"the data file cannot be read: {err}", where=str(path), mend=mend)


def _inside(folder: Path) -> str:
    files = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(FORMATS))
    return f"it holds {', '.join(files[:5])}" if files else "it holds none of a known format"


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either; 'file' is relative to the codebook"
    found = [p.name for p in path.parent.iterdir() if p.is_file()]
    data = sorted(name for name in found if name.lower().endswith(FORMATS))
    return nearest(path.name, data) if data else f"the folder {path.parent} holds no data file"


def _encoding(options: FileOptions) -> str:
    # The byte-order mark that spreadsheets write is no part of the first column's name.
    encoding = options.encoding or "utf-8"
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _separator(suffix: str, options: FileOptions) -> str:
    return options.separator or ("\t" if suffix.startswith(".tsv") else ",")
