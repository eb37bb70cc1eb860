"""Codebook × table → tidy columns: the steps between a file and a survey.

The order is fixed: missing codes and valid ranges, recodes, derived columns, networks
and other covariates (on all rows read), the choice, the rule for missing values, and
then the checks of rows that remain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SurveyError, rows_text
from bayesmig.survey.codebook import NUMERIC_ROLES, Codebook
from bayesmig.survey.columns import Columns, replicate_columns
from bayesmig.survey.deciders import check_deciders, refuse_counted_twice
from bayesmig.survey.derive import numbers_of
from bayesmig.survey.files import Table
from bayesmig.survey.frozen import FrozenDict
from bayesmig.survey.reflection import Mirror, mirrors, refuse_mirrors
from bayesmig.survey.suspicious import Suspect, suspects
from bayesmig.survey.tables import Keyed

Rows = npt.NDArray[np.int64]

#: Choosers that the rows of a table stand for, at most.
_MOST_CHOOSERS = 50_000_000
#: Share of rows that may be left out where the codebook states no rule for missing values.
_MOST_LEFT_OUT = 0.2
#: A weight of so many typical ones is a mistake; weights of real surveys differ by thousands.
_ABSURD = 1e6


@dataclass(frozen=True)
class ReadReport:
    """What reading did to the data; every change is counted here.

    Attributes
    ----------
    source
        File of the data, or ``"DataFrame"``.
    rows_read, rows_kept
        Before and after the rule for missing values.
    choosers
        For how many choosers these stand, where rows are counted.
    missing
        Column to rows (read) in which it is missing, where the rule looks at it.
    missing_alone
        Column to rows dropped for its sake alone.
    coded_missing
        (column, code, rows) for each declared missing code.
    coded_by_file
        The same for codes that the file calls missing and the codebook does not name.
    out_of_range
        (column, rule, rows) for each declared valid range.
    recoded_missing
        Recode to rows whose value its table does not list, made missing.
    unused
        Codes of the codebook that no row has, as ``"key: code"``.
    alone
        Network, deprivation or rate to rows without others to be exposed or compared to.
    without_key
        Joined column to rows whose key the auxiliary table lacks.
    suspicious
        Undeclared numbers that look like missing codes.
    mirrors
        Columns that go with the share of those who choose now.
    partly_labelled
        Columns left as numbers since their value labels do not cover them.
    alike_labelled
        Columns left as numbers since two of their values have one label.
    """

    source: str
    rows_read: int
    rows_kept: int
    choosers: int | None = None
    missing: Mapping[str, int] = FrozenDict()
    missing_alone: Mapping[str, int] = FrozenDict()
    coded_missing: tuple[tuple[str, str, int], ...] = ()
    coded_by_file: tuple[tuple[str, str, int], ...] = ()
    out_of_range: tuple[tuple[str, str, int], ...] = ()
    recoded_missing: Mapping[str, int] = FrozenDict()
    unused: tuple[str, ...] = ()
    alone: Mapping[str, int] = FrozenDict()
    without_key: Mapping[str, int] = FrozenDict()
    suspicious: tuple[Suspect, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    partly_labelled: tuple[str, ...] = ()
    alike_labelled: tuple[str, ...] = ()


# ------------------------------------------------------------------- the tidy columns


@dataclass(frozen=True, eq=False)
class Tidy:
    """The result: the frame, the file's row numbers of its rows, the report, replicates."""

    frame: pd.DataFrame
    rows: Rows
    report: ReadReport
    replicates: npt.NDArray[np.float64] | None = None


def tidy(
    table: Table, book: Codebook, where: str, auxiliary: Mapping[str, Keyed] = FrozenDict()
) -> Tidy:
    """Apply a codebook to a table, and to the auxiliary tables that it joins; check the result.

    Raises
    ------
    SurveyError
        For every fault of the data listed in the module's tests; each error names the
        file, the key, the column and the first rows (counted from 0 in the file).
    """
    columns = Columns(table, book, where, auxiliary)
    frame = _assemble(columns)
    _refuse_empty_columns(frame, columns)
    _check_networks(frame, columns)
    complete, missing, alone = _complete(_required(frame, columns), columns)
    rows = np.flatnonzero(complete)
    kept = frame if len(rows) == len(frame) else frame.iloc[rows].reset_index(drop=True)
    _check_rows(kept, rows, columns)
    mirrored = _mirrors(frame, columns)
    if len(kept) < len(frame) and not mirrored:
        mirrored = _mirrors(kept, columns)
    refuse_mirrors(mirrored, where=(where,))
    if book.counts is not None:
        rows = np.repeat(rows, _counts(kept, rows, columns))
        kept = frame.iloc[rows].reset_index(drop=True)
    report = ReadReport(
        source=table.name,
        rows_read=len(frame),
        rows_kept=int(complete.sum()),
        choosers=len(kept) if book.counts is not None else None,
        missing=FrozenDict(missing),
        missing_alone=FrozenDict(alone),
        coded_missing=tuple(columns.coded_missing),
        coded_by_file=tuple(columns.coded_by_file),
        out_of_range=tuple(columns.out_of_range),
        recoded_missing=FrozenDict(columns.recoded_missing),
        unused=tuple(columns.unused),
        alone=FrozenDict(columns.alone),
        without_key=FrozenDict(columns.without_key),
        suspicious=_suspicious(columns, kept),
        mirrors=mirrored,
        partly_labelled=table.partly_labelled,
        alike_labelled=table.alike_labelled,
    )
    return Tidy(kept, rows, report, _replicates(columns, rows))


def _assemble(columns: Columns) -> pd.DataFrame:
    """Put the columns together: roles first, then kept, made and attribute columns."""
    book, roles = columns.book, columns.book.roles.declared()
    shown: dict[str, pd.Series] = {}
    for role, column in roles.items():
        if role == "choice":
            shown[role] = columns.choice
        elif role in NUMERIC_ROLES:
            key = (columns.where, f"key roles.{role}")
            shown[role] = pd.Series(numbers_of(columns.get(column), column, key))
        else:
            shown[role] = columns.labels(column)
    header = list(columns.table.frame.columns)
    used = {*roles.values(), *replicate_columns(book, header, columns.where)}
    kept = [c for c in header if c not in used] if book.keep is None else list(book.keep)
    sources = _attribute_columns(book)
    for name in dict.fromkeys([*kept, *book.made(), *sources]):
        # A role's own column is shown once; one that plays a role is named by it.
        if name not in shown and not (name in used and name in book.made()):
            shown[name] = columns.get(name)
    for name in sources:
        numbers_of(shown[name], name, (columns.where, "key attributes"))
    return pd.DataFrame(shown, copy=False)


def _place(name: str, book: Codebook) -> str:
    """Name a tidy column by the column of the file, where it is a role."""
    column = book.roles.declared().get(name)
    return f"column {column!r} (role {name})" if column else f"column {name!r}"


def _refuse_empty_columns(frame: pd.DataFrame, columns: Columns) -> None:
    for name in frame.columns:
        if not frame[name].notna().any():
            raise SurveyError(
                f"the column {name!r} is missing in all {len(frame):,} rows",
                where=(columns.where, _place(name, columns.book)),
                mend="check its missing codes"
                if name in columns.book.roles.declared()
                else "leave it out (state keep = [...]), or check its missing codes",
            )


def _required(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Pick what must be complete: roles and attributes always, and the stated columns or all."""
    stated = columns.book.missing.columns
    if stated is None:
        return frame
    roles = columns.book.roles.declared()
    required = {name: frame[name] for name in [*roles, *_attribute_columns(columns.book)]}
    for name in stated:
        shown = next((role for role, column in roles.items() if column == name), name)
        if shown not in required:
            required[shown] = frame[name] if name in frame else columns.get(name)
    return pd.DataFrame(required)


def _attribute_columns(book: Codebook) -> list[str]:
    values = [v for columns in book.attributes.values() for v in columns.values()]
    return [v for v in values if isinstance(v, str)]


def _complete(
    required: pd.DataFrame, columns: Columns
) -> tuple[npt.NDArray[np.bool_], dict[str, int], dict[str, int]]:
    """Mark complete rows; count the others by column, and those lost to one column alone.

    What is made of a column, or of the same ones, lacks with it.
    """
    book, where, roles = columns.book, columns.where, columns.book.roles.declared()
    absent = {name: required[name].isna().to_numpy() for name in required.columns}
    absent = {name: rows for name, rows in absent.items() if rows.any()}
    lacking = np.zeros(len(required), dtype=np.int64)
    for rows in absent.values():
        lacking += rows
    missing = {name: int(rows.sum()) for name, rows in absent.items()}
    made_of = {}
    for name in absent:
        column = roles.get(name, name)
        ways = (book.sources(column, network="of"), book.sources(column, network="prior"))
        made_of[name] = frozenset({column}).union(*ways)
    alone = {}
    for name, rows in absent.items():
        with_it = sum(absent[d].astype(np.int64) for d in absent if made_of[d] & made_of[name])
        alone[name] = int((rows & (lacking == with_it)).sum())
    complete = lacking == 0
    rule = book.missing.rule
    errors = {
        n: r for n, r in absent.items() if rule == "refuse" or (rule == "complete" and n in roles)
    }
    if errors:
        _refuse_incomplete(errors, missing, book, where)
    if not complete.any():
        most = sorted(missing, key=lambda k: -missing[k])[:3]
        listed = ", ".join(f"{name!r} in {missing[name]:,} rows" for name in most)
        raise SurveyError(
            f"no row is complete: missing are {listed}",
            where=(where, "key missing"),
            mend="state under [missing] which columns must be complete, or keep fewer columns",
        )
    if rule == "complete" and (share := 1 - complete.mean()) > _MOST_LEFT_OUT:
        worst = max(missing, key=lambda name: missing[name])
        raise SurveyError(
            f"{share:.0%} of the rows lack some column, most of them {worst!r} "
            f"({missing[worst]:,})",
            where=(where, _place(worst, book), rows_text(np.flatnonzero(absent[worst]).tolist())),
            mend="state [missing] columns = [...], or keep = [...], to say which columns must be "
            'complete, or [missing] rule = "drop" to leave all of these rows out',
        )
    return complete, missing, alone


def _refuse_incomplete(
    absent: Mapping[str, npt.NDArray[np.bool_]],
    missing: Mapping[str, int],
    book: Codebook,
    where: str,
) -> None:
    first = next(iter(absent))
    others = [f"{name!r} ({missing[name]:,})" for name in absent if name != first]
    also = f"; so are {', '.join(others[:5])}" if others else ""
    rows = np.flatnonzero(absent[first])
    raise SurveyError(
        f"the column {first!r} is missing in {missing[first]:,} rows{also}",
        where=(where, _place(first, book), rows_text(rows.tolist())),
        mend='state [missing] rule = "drop" to leave such rows out (they are counted), or '
        "[missing] columns = [...] to say which columns must be complete",
    )


# --------------------------------------------------------------- checks of kept rows


def _check_networks(frame: pd.DataFrame, columns: Columns) -> None:
    """Check who stands in the rows that count in networks, those dropped later included."""
    rows = np.flatnonzero(columns.feeds_networks())
    if len(rows):
        feeding = frame[list(columns.book.roles.declared())].iloc[rows].reset_index(drop=True)
        check_deciders(feeding, rows, columns.book, columns.where)
        refuse_counted_twice(feeding, rows, columns.book, columns.where)


def _mirrors(frame: pd.DataFrame, columns: Columns) -> tuple[Mirror, ...]:
    roles = columns.book.roles.declared()
    if "origin" not in roles:
        return ()
    needed = ["choice", "origin", "period", "household", "weight"]
    numbers = {
        str(name): values
        for name, values in frame.items()
        if name not in roles and pd.api.types.is_numeric_dtype(values)
    }
    return mirrors(frame[[role for role in needed if role in roles]], numbers)


def _check_rows(frame: pd.DataFrame, rows: Rows, columns: Columns) -> None:
    _check_weight(frame, rows, columns)
    _check_fpc(frame, rows, columns)
    check_deciders(frame, rows, columns.book, columns.where)
    counts = frame["choice"].value_counts()
    never = [a for a in columns.book.alternatives if counts.get(a, 0) == 0]
    if never:
        before = columns.choice.value_counts().get(never[0], 0)
        dropped = f" in the rows kept ({before:,} before incomplete rows were dropped)"
        raise SurveyError(
            f"the alternative {never[0]!r} is never chosen" + (dropped if before else ""),
            where=(columns.where, f"key alternatives.{never[0]}"),
            mend="remove the alternative, merge it with another, or check its codes",
        )


def _counts(frame: pd.DataFrame, rows: Rows, columns: Columns) -> Rows:
    """For how many choosers each row stands."""
    column = str(columns.book.counts)
    where = (columns.where, "key counts", f"column {column!r}")
    if column not in frame:
        raise SurveyError(
            "the column that counts choosers is not there", where=where, mend="correct its name"
        )
    counts = numbers_of(frame[column], column, where[:2])
    bad = np.flatnonzero(~((counts >= 0) & (counts == np.floor(counts))))
    if len(bad):
        raise SurveyError(
            f"counts must be whole and at least 0, got {counts[bad[0]]:g}",
            where=(*where, rows_text(rows[bad].tolist())),
            mend="correct them; weights that are no counts are a role (roles.weight)",
        )
    if not 0 < counts.sum() <= _MOST_CHOOSERS:
        raise SurveyError(
            f"the counts sum to {counts.sum():,.0f}; between 1 and {_MOST_CHOOSERS:,} are expected",
            where=where,
            mend="count in larger units, or use weights (roles.weight) for a population",
        )
    return np.asarray(counts, dtype=np.int64)


def _check_weight(frame: pd.DataFrame, rows: Rows, columns: Columns) -> None:
    if "weight" not in columns.book.roles.declared():
        return
    weight = frame["weight"].to_numpy()
    where = (columns.where, "key roles.weight", f"column {columns.book.roles.weight!r}")
    bad = np.flatnonzero(~(weight >= 0))
    if len(bad):
        raise SurveyError(
            f"weights must be finite and at least 0, got {weight[bad[0]]:g}",
            where=(*where, rows_text(rows[bad].tolist())),
            mend="correct them, or declare such values under [missing_codes]",
        )
    if not (weight > 0).any():
        raise SurveyError("all weights are 0", where=where, mend="give somebody a weight")
    typical = float(np.median(weight[weight > 0]))
    far = np.flatnonzero(weight > _ABSURD * typical)
    with np.errstate(over="ignore", under="ignore"):
        countable = 0 < np.square(weight).sum() < np.inf
    if len(far) or not countable:
        far = far if len(far) else np.array([int(weight.argmax())])
        raise SurveyError(
            f"a weight is {weight[far[0]]:g} where the typical one is {typical:g}: no sums of such "
            "weights can be trusted",
            where=(*where, rows_text(rows[far].tolist())),
            mend="correct it, or declare such values under [missing_codes] or [valid_range]",
        )


def _check_fpc(frame: pd.DataFrame, rows: Rows, columns: Columns) -> None:
    """One number of a stratum, a share below 1 or a count of no fewer PSUs than were drawn."""
    declared = columns.book.roles.declared()
    if "fpc" not in declared:
        return
    where = (columns.where, "key roles.fpc", f"column {columns.book.roles.fpc!r}")
    fpc = frame["fpc"].to_numpy()
    bad = np.flatnonzero(~(fpc > 0))
    if len(bad):
        raise SurveyError(
            f"a finite population correction is above 0, got {fpc[bad[0]]:g}",
            where=(*where, rows_text(rows[bad].tolist())),
            mend="state the PSUs of the stratum in the population, or the share that was drawn",
        )
    strata = frame["strata"] if "strata" in declared else pd.Series("all", index=frame.index)
    of_stratum = frame["fpc"].groupby(strata).agg(["min", "max"])
    differ = of_stratum.index[of_stratum["min"] != of_stratum["max"]]
    if len(differ):
        low, high = of_stratum.loc[differ[0]]
        raise SurveyError(
            f"the stratum {differ[0]!r} has corrections from {low:g} to {high:g}",
            where=where,
            mend="state one number for all rows of a stratum",
        )


def _replicates(columns: Columns, rows: Rows) -> npt.NDArray[np.float64] | None:
    """Replicate weights of the rows kept; their memory cannot be written to."""
    header = list(columns.table.frame.columns)
    names = replicate_columns(columns.book, header, columns.where)
    if not names:
        return None
    found = np.empty((len(rows), len(names)))
    for k, name in enumerate(names):
        key = (columns.where, "key replicates.columns")
        found[:, k] = numbers_of(columns.get(name), name, key)[rows]
        bad = np.flatnonzero(~(found[:, k] >= 0))
        if len(bad):
            raise SurveyError(
                f"replicate weights must be finite and at least 0, got {found[bad[0], k]:g}",
                where=(*key, f"column {name!r}", rows_text(rows[bad].tolist())),
                mend="correct them, or leave the column out",
            )
        if not found[:, k].any():
            raise SurveyError(
                "all replicate weights are 0", where=(*key, f"column {name!r}"), mend="leave it out"
            )
    found.flags.writeable = False
    return found


def _suspicious(columns: Columns, kept: pd.DataFrame) -> tuple[Suspect, ...]:
    """Look at columns of files that are shown or that made those shown, but not at codes."""
    roles = columns.book.roles.declared()
    weight = [roles[role] for role in NUMERIC_ROLES if role in roles]
    made = [
        source
        for name in columns.book.made()
        for source in sorted({name, *columns.book.sources(name, network="prior")})
    ]
    joined = {name for table in columns.book.tables.values() for name in table.columns}
    seen = joined.union(columns.table.frame)
    looked = [n for n in dict.fromkeys([*weight, *kept.columns, *made]) if n in seen]
    codes = set(roles.values()) - set(weight)
    return tuple(s for n in looked if n not in codes for s in suspects(columns.get(n), n))
