"""The output folder of a study, as a value: results and tidy tables, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bayesmig.errors import StudyError
from bayesmig.reporting.records import RESULTS, TABLES, Results, read_record

#: Letters of a description that fits beside a number.
SHORT = 50
_INTERVAL = ("estimate", "lower", "upper")
_AMONG = ("observed", "predicted", "lower", "upper", "p_value", "p_adjusted")
#: Table -> columns that the report reads.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "survey_rows": ("what", "n"),
    "survey_shares": ("alternative", "rows", "share"),
    "convergence": (
        *("theory", "parameters", "r_hat_max", "ess_bulk_min", "ess_tail_min"),
        *("divergences", "bfmi_min", "pareto_k", "seconds", "passed"),
    ),
    "parameters": (
        *("theory", "parameter", "mean", "sd", "lower", "upper"),
        *("r_hat", "ess_bulk", "ess_tail"),
    ),
    "checks": ("theory", "check", "passed", "text"),
    "predictive_shares": (
        *("theory", "by", "level", "alternative", "observed", "predicted"),
        *("lower", "upper", "p_value", "rows"),
    ),
    "crossed_shares": (
        *("theory", "by", "level", "alternative", "observed", "predicted"),
        *("lower", "upper", "p_adjusted"),
    ),
    "composition": ("theory", "alternative", "column", *_AMONG),
    "origin_dispersion": ("theory", "alternative", "statistic", *_AMONG),
    "spatial": ("theory", "alternative", "origins", "pairs", "statistic", *_AMONG),
    "household_streams": ("theory", "streams", *_AMONG),
    "transitions": ("theory", "before", "now", "rows", *_AMONG),
    "clustering": (
        *("theory", "by", "alternative", "observed", "predicted"),
        *("lower", "upper", "p_value", "groups"),
    ),
    "prior_shares": ("theory", "alternative", "observed", "mean", "lower", "upper"),
    "prior_sensitivity": (
        *("theory", "parameter", "overlap", "prior_sensitivity", "likelihood_sensitivity"),
        "identification",
    ),
    "calibration": (
        *("theory", "alternative", "predicted", "observed", "lower", "upper"),
        *("rows", "passed"),
    ),
    "reliability": (
        *("theory", "alternative", "predicted", "observed", "lower", "upper", "rows"),
        "p_adjusted",
    ),
    "influential_origins": ("theory", "origin", "rows", "elpd", "pareto_k"),
    "prior_group_shares": (
        *("theory", "by", "level", "alternative", "observed", "mean", "lower", "upper"),
        *("p_adjusted", "doubt", "passed", "rows"),
    ),
    "rehearsal": (
        *("theory", "hypothesis", "truth", "worlds", "probability", "probability_error"),
        *("supported", "contradicted", "rightly", "rightly_lower", "rightly_upper"),
        *("wrongly", "wrongly_lower", "wrongly_upper", "can", "sentence"),
    ),
    "rehearsal_worlds": ("theory", "hypothesis", "holds", "probability"),
    "comparison": (
        *("theory", "elpd", "se", "elpd_diff", "diff_se", "p_loo", "weight"),
        *("pareto_k_max", "pareto_k_high"),
    ),
    "hypotheses": (
        *("theory", "hypothesis", "claim", "statement", "part", *_INTERVAL),
        *("rope", "rope_mass", "probability", "joint_probability", "prior_probability"),
        *("overlap", "prior_sensitivity", "likelihood_sensitivity", "identification"),
        "joint_identification",
    ),
    "shares": ("by", "level", "alternative", *_INTERVAL),
    "effects": ("kind", "variable", "contrast", "alternative", *_INTERVAL),
    "scenarios": ("scenario", "by", "level", "quantity", "alternative", *_INTERVAL),
    "diversion": (
        *("scenario", "source", "target", *_INTERVAL),
        *("iia_estimate", "iia_lower", "iia_upper"),
    ),
}


@dataclass(frozen=True)
class StudyFolder:
    """What a study left behind.

    Attributes
    ----------
    path
        The folder.
    results
        ``results.json``: texts, versions and what was asked.
    tables
        Name -> table, for those that have rows.
    """

    path: Path
    results: Mapping[str, Any] = field(repr=False)
    tables: Mapping[str, pd.DataFrame] = field(repr=False)

    def table(self, name: str, **where: str) -> pd.DataFrame:
        """Rows of a table whose columns have the values given; empty where there is none."""
        if name not in self.tables:
            return pd.DataFrame(columns=list(COLUMNS[name]))
        table = self.tables[name]
        for column, value in where.items():
            table = table[table[column].astype(str) == value]
        return table.reset_index(drop=True)

    @property
    def main(self) -> str:
        """The theory that effects and scenarios come from."""
        return str(self.results.get("main", ""))

    @property
    def theories(self) -> list[Mapping[str, Any]]:
        """What is said about each theory."""
        return list(self.results.get("theories", ()))

    @property
    def scenarios(self) -> list[Mapping[str, Any]]:
        """What is said about each scenario."""
        return list(self.results.get("scenarios", ()))

    @property
    def alternatives(self) -> list[str]:
        """Alternatives in the order of the survey."""
        for name in ("survey_shares", "shares", "predictive_shares", "effects", "scenarios"):
            if name in self.tables:
                return list(dict.fromkeys(self.tables[name]["alternative"].astype(str)))
        return []

    def header(self, name: str) -> Mapping[str, str]:
        """What the numbers of a table are: unit, weights, groups, interval."""
        return {str(k): str(v) for k, v in self.results.get("headers", {}).get(name, {}).items()}

    @property
    def columns(self) -> list[Mapping[str, Any]]:
        """What is said about each column of the theories."""
        return list(self.results.get("columns", ()))

    @property
    def descriptions(self) -> Mapping[str, str]:
        """Column -> what it is and its unit, where the theory says so."""
        said = ((str(c["column"]), str(c["description"])) for c in self.columns)
        return {column: text for column, text in said if text}

    @property
    def labels(self) -> Mapping[str, str]:
        """The descriptions that are short enough to stand beside a number."""
        return {c: text for c, text in self.descriptions.items() if len(text) <= SHORT}

    @property
    def interval(self) -> str:
        """What intervals are, in words."""
        found = (h.get("interval") for h in self.results.get("headers", {}).values())
        # No line breaks within it.
        return next((str(i).replace(" ", "\u00a0") for i in found if i), "interval")


def read_folder(path: Path) -> StudyFolder:
    """Read a study's results and the tables that they name.

    Parameters
    ----------
    path
        The output folder of a study.

    Raises
    ------
    StudyError
        Where there are no results, or a file is missing, cannot be read or lacks columns.
    """
    results = _results(path / RESULTS)
    tables = {
        name: _table(path / TABLES / f"{name}.parquet", columns)
        for name, columns in COLUMNS.items()
        if name in results["tables"]
    }
    return StudyFolder(path, results, {k: table for k, table in tables.items() if len(table)})


def _results(file: Path) -> Mapping[str, Any]:
    results = read_record(Results, file)
    if results is None:
        damaged = file.exists()
        raise StudyError(
            "the results cannot be read" if damaged else "the folder holds no results of a study",
            where=str(file),
            mend=("they are damaged: run the study again" if damaged else "run the study first")
            + ": bayesmig run STUDY.toml --out FOLDER",
        )
    return results.model_dump()


def _table(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_parquet(file)
    except FileNotFoundError:
        raise StudyError(
            "the study asks for a table that is missing",
            where=str(file),
            mend="run the study again",
        ) from None
    except Exception as err:
        # Readers of parquet raise whatever their C library does for damaged files.
        raise StudyError(
            f"the file cannot be read ({type(err).__name__}: {err})",
            where=str(file),
            mend="it is damaged; run the study again",
        ) from err
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise StudyError(
            f"the table lacks the columns {', '.join(missing)}",
            where=str(file),
            mend="run the study again with this version",
        )
    return table
