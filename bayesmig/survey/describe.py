"""A survey in tables and warnings: what was read, what was dropped, who chooses what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from bayesmig.survey.codebook import ROLES
from bayesmig.survey.sampling import reused_labels, single_strata
from bayesmig.survey.survey import Survey

RARE_ALTERNATIVE = 0.01
THIN_MEDIAN = 5
THIN_ROWS = 3
THIN_SHARE = 0.20
MANY_DROPPED = 0.20
FEW_LEVELS = 30
THINNEST = 3
LOW_EFFECTIVE = 0.5

_WIDTH = 96
_GROUPS = ("origin", "region", "period", "strata", "psu")
_QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, eq=False)
class SurveyDescription:
    """What `Survey.describe` returns.

    Attributes
    ----------
    title
        Of the survey.
    tables
        Name to tidy DataFrame: ``rows``, ``missing``, ``missing codes``,
        ``suspicious codes``, ``shares``, ``levels``, and shares by role (origin, region,
        period, strata, psu): ``shares by ROLE`` for roles of at most 30 levels, and for the
        others ``shares across many levels`` (quantiles over the levels) and
        ``thinnest of many levels``. Empty tables are left out.
    warnings
        One sentence each.
    """

    title: str
    tables: dict[str, pd.DataFrame]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        parts = [self.title or "survey"]
        for name, table in self.tables.items():
            short = _heads(table) if name.startswith("shares by") else {}
            note = " (w: weighted)" if any(h.startswith("w ") for h in short.values()) else ""
            parts.append(f"{name}{note}\n{_text(table, short)}")
        if self.warnings:
            said = [
                fill(w, _WIDTH, initial_indent="  ! ", subsequent_indent="    ")
                for w in self.warnings
            ]
            parts.append("\n".join(["warnings", *said]))
        return "\n\n".join(parts)


def _heads(table: pd.DataFrame) -> dict[Any, str]:
    """Heads of columns that hold nothing but shares, short enough to stand in one line."""
    return {n: str(n).removeprefix("share ").replace("weighted ", "w ", 1) for n in table}


def _text(table: pd.DataFrame, heads: Mapping[Any, str]) -> str:
    columns = {name: _column_text(name, values) for name, values in table.items()}
    shown = pd.DataFrame(columns).rename(columns=heads)
    return shown.to_string(index=False, max_colwidth=40, line_width=_WIDTH)


def _column_text(name: object, values: pd.Series) -> pd.Series:
    """Write shares in percent and counts with separators."""
    percent = str(name).startswith(("share", "weighted", "without", "<"))
    if not pd.api.types.is_numeric_dtype(values):
        return values
    return values.map(lambda v: f"{v:.1%}" if percent else f"{v:,.6g}").astype("str")


def describe(survey: Survey) -> SurveyDescription:
    """Tabulate a survey and warn of what looks weak.

    Returns
    -------
    SurveyDescription
        Shares are of choice situations; the weighted ones use the weight role.
    """
    tables = {
        "rows": _rows(survey),
        "missing": _missing(survey),
        "missing codes": _coded(survey),
        "suspicious codes": _suspicious(survey),
        "shares": _shares(survey),
        "levels": _levels(survey),
        "levels without an alternative": _levels_without(survey),
    }
    tables |= _by_role(survey)
    tables = {name: table for name, table in tables.items() if len(table)}
    warnings = tuple(text for rule in _RULES for text in rule(survey))
    return SurveyDescription(survey.title, tables, warnings)


# ------------------------------------------------------------------------------ tables


def _rows(survey: Survey) -> pd.DataFrame:
    report = survey.report
    lines = [
        ("rows read", report.rows_read),
        ("rows kept", report.rows_kept),
        *([("choosers counted", report.choosers)] if report.choosers is not None else []),
        ("rows dropped", report.rows_read - report.rows_kept),
    ]
    for role in ("person", "household", "origin", "period"):
        if survey.has(role):
            lines.append((f"{role}s", survey.role(role).nunique()))
    if survey.has("weight"):
        lines.append(("effective rows (Kish)", round(effective_rows(survey.role("weight")))))
    if survey.replicates is not None:
        lines.append(("replicate weights", survey.replicates.shape[1]))
    return pd.DataFrame(lines, columns=["what", "n"])


def effective_rows(weight: pd.Series) -> float:
    """Give Kish's effective number of rows, ``(Σw)² / Σw²``."""
    w = weight.to_numpy(dtype="float64")
    return float(w.sum() ** 2 / np.square(w).sum())


def _missing(survey: Survey) -> pd.DataFrame:
    report = survey.report
    return pd.DataFrame(
        {
            "column": list(report.missing),
            "rows missing": list(report.missing.values()),
            "dropped for it alone": [report.missing_alone[c] for c in report.missing],
        }
    )


def _coded(survey: Survey) -> pd.DataFrame:
    report = survey.report
    lines = [(column, f"code {code}", n) for column, code, n in report.coded_missing]
    lines += [(column, f"code {code} (of the file)", n) for column, code, n in report.coded_by_file]
    lines += [(column, f"outside {rule}", n) for column, rule, n in report.out_of_range]
    lines += [(column, "not in the recode", n) for column, n in report.recoded_missing.items()]
    rates = survey.codebook.rates
    lines += [
        (name, "nobody asked there before" if name in rates else "nobody else in the group", n)
        for name, n in report.alone.items()
        if n
    ]
    lines += [(name, "key not in the joined table", n) for name, n in report.without_key.items()]
    return pd.DataFrame(lines, columns=["column", "made missing", "rows"])


def _suspicious(survey: Survey) -> pd.DataFrame:
    lines = [(s.column, f"{s.value:.12g}", s.rows, s.low, s.high) for s in survey.report.suspicious]
    return pd.DataFrame(lines, columns=["column", "value", "rows", "others from", "others to"])


def _shares(survey: Survey) -> pd.DataFrame:
    choice = survey.role("choice")
    rows = choice.value_counts().reindex(list(survey.alternatives))
    table = pd.DataFrame(
        {
            "alternative": list(survey.alternatives),
            "rows": rows.to_numpy(),
            "share": (rows / len(choice)).to_numpy(),
        }
    )
    if survey.has("weight"):
        table["weighted share"] = _weighted(survey, pd.Series("", index=choice.index)).to_numpy()[0]
    if shares := survey.codebook.population_shares:
        table["share of the population"] = [shares[a] for a in survey.alternatives]
    return table.round(4)


def _weighted(survey: Survey, by: pd.Series) -> pd.DataFrame:
    """Give weighted shares, shape ``(level, alternative)``."""
    sums = survey.role("weight").groupby([by, survey.role("choice")], observed=False).sum()
    wide = sums.unstack().reindex(columns=list(survey.alternatives))  # noqa: PD010
    return wide.div(wide.sum(axis=1), axis=0)


def _shares_by(survey: Survey, role: str) -> pd.DataFrame:
    levels, choice = survey.role(role), survey.role("choice")
    counts = pd.crosstab(levels, choice, dropna=False).reindex(columns=list(survey.alternatives))
    shares = counts.div(counts.sum(axis=1), axis=0).add_prefix("share ")
    table = pd.concat([counts.sum(axis=1).rename("rows"), shares], axis=1)
    if survey.has("weight"):
        table = table.join(_weighted(survey, levels).add_prefix("weighted "))
    table = table.round(4).rename_axis(role).reset_index()
    if pd.api.types.is_numeric_dtype(table[role]):
        return table
    order = sorted(range(len(table)), key=lambda k: _natural(table[role].iloc[k]))
    return table.iloc[order].reset_index(drop=True)


def _natural(level: object) -> tuple[tuple[bool, int, str], ...]:
    """Sorts numbers in names as numbers: 0, 1, 2, 10."""
    parts = re.findall(r"\d+|\D+", str(level))
    return tuple((not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts)


def _by_role(survey: Survey) -> dict[str, pd.DataFrame]:
    """Give shares by level, or over the levels where they are many."""
    columns = survey.roles.declared()
    # A column that plays two roles (the origin is often the psu) is shown once.
    roles = {columns[role]: role for role in reversed(_GROUPS) if role in columns}
    shares = {role: _shares_by(survey, role) for role in reversed(roles.values())}
    tables = {f"shares by {r}": t for r, t in shares.items() if len(t) <= FEW_LEVELS}
    many = {role: table for role, table in shares.items() if len(table) > FEW_LEVELS}
    if many:
        lines = [line for role, table in many.items() for line in _across(survey, role, table)]
        tables["shares across many levels"] = pd.DataFrame(lines).round(4)
        thin = [t.nsmallest(THINNEST, "rows").rename(columns={r: "level"}) for r, t in many.items()]
        tables["thinnest of many levels"] = pd.concat(thin, keys=many, names=["role"]).reset_index(
            level="role"
        )
    return tables


def _across(survey: Survey, role: str, table: pd.DataFrame) -> list[dict[str, object]]:
    kinds = [k for k in ("share", "weighted") if f"{k} {survey.alternatives[0]}" in table]
    return [
        {"role": role, "levels": len(table), "alternative": alternative}
        | {
            f"{kind} {q:.0%}": table[f"{kind} {alternative}"].quantile(q)
            for kind in kinds
            for q in _QUANTILES
        }
        for alternative in survey.alternatives
    ]


def _levels(survey: Survey) -> pd.DataFrame:
    lines = []
    for role in ("person", "household", "origin", "region", "period", "strata", "psu"):
        if not survey.has(role):
            continue
        sizes = survey.role(role).value_counts()
        line = {
            "role": role,
            "levels": len(sizes),
            "rows: min": sizes.min(),
            "median": sizes.median(),
            "max": sizes.max(),
            f"< {THIN_ROWS} rows": (sizes < THIN_ROWS).mean(),
        }
        lines.append(line)
    return pd.DataFrame(lines).round(3)


def _levels_without(survey: Survey) -> pd.DataFrame:
    """Give the share of levels in which an alternative is never chosen."""
    lines = []
    for role in _GROUPS:
        if survey.has(role):
            pairs = pd.DataFrame(
                {role: survey.role(role), "choice": survey.role("choice")}
            ).drop_duplicates()
            with_it, levels = pairs["choice"].value_counts(), pairs[role].nunique()
            shares = {f"without {a}": 1 - with_it[a] / levels for a in survey.alternatives}
            lines.append({"role": role, **shares})
    return pd.DataFrame(lines).round(3)


# ---------------------------------------------------------------------------- warnings


def _rare(survey: Survey) -> list[str]:
    rows = survey.role("choice").value_counts()
    return [
        f"{a!r} is rare: {rows[a]:,} rows, {rows[a] / survey.n_obs:.2%}; priors matter there"
        for a in survey.alternatives
        if rows[a] < RARE_ALTERNATIVE * survey.n_obs
    ]


def _thin_origins(survey: Survey) -> list[str]:
    if not survey.has("origin"):
        return []
    sizes = survey.role("origin").value_counts()
    thin = (sizes < THIN_ROWS).mean()
    if sizes.median() >= THIN_MEDIAN and thin <= THIN_SHARE:
        return []
    return [
        f"origins are thin: {len(sizes):,} origins, median {sizes.median():g} rows, "
        f"{thin:.0%} with fewer than {THIN_ROWS}; their effects come mostly from the prior"
    ]


def _constant(survey: Survey) -> list[str]:
    known = ((n, values.dropna()) for n, values in survey.frame.items() if n != "fpc")
    flat = [name for name, values in known if (values == values.iloc[0]).all()]
    return [_of_constant(str(name), survey.has("period")) for name in flat]


def _of_constant(name: str, has_period: bool) -> str:
    """What follows from a column of one value."""
    if name == "period" and has_period:
        return (
            f"the column {name!r} is constant: there is one period, so that theories have no "
            "constants of periods here and nothing is said of change over time"
        )
    return (
        f"the column {name!r} is constant: people do not differ in it, so that no effect of it can "
        "be told, and a theory that has it in its utility is refused"
    )


def _weights(survey: Survey) -> list[str]:
    if not survey.has("weight"):
        return ["no weight is declared: shares are of the sample, not of a population"]
    weight = survey.role("weight")
    found = []
    if zero := int((weight == 0).sum()):
        found.append(f"{zero:,} rows have weight 0")
    if (share := effective_rows(weight) / survey.n_obs) < LOW_EFFECTIVE:
        found.append(f"weights vary much: they leave {share:.0%} of the rows effective (Kish)")
    return found


def _design(survey: Survey) -> list[str]:
    """Warn of what the sampling design does not tell, or tells otherwise than it seems."""
    if not survey.has("weight"):
        return []
    found = []
    if survey.replicates is None and (alone := single_strata(survey)):
        listed = ", ".join(map(repr, alone[:3])) + (", …" if len(alone) > 3 else "")
        found.append(
            f"{len(alone):,} strata have one PSU only ({listed}): merge them before a theory with "
            'weights = "pseudo"'
        )
    if n := reused_labels(survey):
        found.append(f"{n:,} PSU labels stand in several strata: each is a PSU of its own there")
    if survey.replicates is not None:
        # Their own weight is near the mean of the replicates, unless they are factors.
        ratio = survey.replicates.mean() / max(survey.role("weight").mean(), 1e-300)
        if not 0.5 < ratio < 2:
            found.append(
                f"replicate weights are {ratio:.3g} of the weights on average: are they factors, "
                "which are to be multiplied by the weight first?"
            )
    return found


def _dropped(survey: Survey) -> list[str]:
    report = survey.report
    if survey.left_out:
        return [survey.left_out]
    share = 1 - report.rows_kept / report.rows_read
    if share <= MANY_DROPPED:
        return []
    most = max(report.missing, key=lambda c: report.missing[c])
    return [f"{share:.0%} of the rows were dropped, most for {most!r}; is the rest still a sample?"]


def _repeats(survey: Survey) -> list[str]:
    """Warn of what would be refused if a period were declared."""
    found: list[str] = []
    if survey.has("period"):
        return found
    if survey.has("person") and survey.role("person").duplicated().any():
        found.append("persons have several rows but no period is declared")
    if survey.has("household") and survey.has("origin"):
        homes = {role: survey.role(role) for role in ("household", "origin")}
        places = pd.DataFrame(homes).drop_duplicates()
        if n := places.loc[places["household"].duplicated(), "household"].nunique():
            found.append(
                f"{n:,} households stand in more than one origin, and no period is declared"
            )
    return found


def _reflected(survey: Survey) -> list[str]:
    return [
        f"{m.column!r} goes with {m.share} (correlation {m.r:.4f}): it contains the own choice"
        for m in survey.report.mirrors
    ]


def _later_incomes(survey: Survey) -> list[str]:
    return [
        f"{name!r} is computed from incomes of the same and later periods too: what came after "
        "the choice may be its consequence"
        for name, risk in survey.codebook.risk.items()
        if risk.window == "all"
    ]


def _undeclared_roles(survey: Survey) -> list[str]:
    declared = survey.roles.declared()
    return [
        f"the column {c!r} is named like a role but plays none; declare it under [roles]?"
        for c in survey.frame.columns
        if c in ROLES and c not in declared
    ]


def _incomplete(survey: Survey) -> list[str]:
    frame = survey.frame
    counts = {c: int(frame[c].isna().sum()) for c in frame.columns}
    return [
        f"the column {c!r} is missing in {n:,} rows; a theory that uses it will be refused"
        for c, n in counts.items()
        if n
    ]


def _codes(survey: Survey) -> list[str]:
    report = survey.report
    found = [f"{s}: a missing code that is not declared?" for s in report.suspicious]
    found += [f"no row has a code that the codebook lists ({text})" for text in report.unused]
    found += [
        f"value labels of {c!r} do not cover it; left as numbers" for c in report.partly_labelled
    ]
    found += [f"two values of {c!r} have one label; left as numbers" for c in report.alike_labelled]
    return found


_RULES: tuple[Callable[[Survey], list[str]], ...] = (
    _rare,
    _thin_origins,
    _dropped,
    _weights,
    _design,
    _constant,
    _incomplete,
    _codes,
    _reflected,
    _later_incomes,
    _repeats,
    _undeclared_roles,
)
