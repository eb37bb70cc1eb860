"""Which survey, and what was chosen in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bayesmig.reporting.blocks import Block, Heading, Layout, absent, html_table, prose
from bayesmig.reporting.figures import Numbered
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.words import code, count, listed, percent


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """Which survey, and what was chosen in it."""
    survey = study.results.get("survey", {})
    yield prose(
        "{}: {} choice situations.", survey.get("title") or "Survey", count(survey.get("rows"))
    )
    if notes := str(survey.get("notes", "")).strip():
        yield prose("{}", notes)
    if "survey_rows" in study.tables:
        yield html_table(
            study.table("survey_rows"),
            {"": ("what", None), "Number": ("n", count)},
            "Rows read and kept",
            source="survey_rows",
        )
    shares = study.table("survey_shares")
    if shares.empty:
        yield absent("The study holds no table of observed shares.")
    else:
        layout: dict[str, Any] = {
            "Alternative": ("alternative", None),
            "Rows": ("rows", count),
            "Share of rows": ("share", _share),
        }
        if "weighted_share" in shares:
            layout["Weighted share"] = ("weighted_share", _share)
        yield html_table(shares, layout, "Observed choices", source="survey_shares")
    yield from _columns(study)


def _columns(study: StudyFolder) -> Iterator[Block]:
    if not study.columns:
        return
    yield Heading("Columns", "columns")
    layout: Layout = {
        "Column": (lambda row: code(row["column"]), None),
        "What it is, and its unit": (lambda row: row["description"] or "–", None),
        "In the codebook": (lambda row: row["codebook"] or "as in the file", None),
        "Theories": (lambda row: listed(row["theories"]), None),
    }
    table = pd.DataFrame(study.columns)
    yield html_table(table, layout, "Columns that theories use, and how they were made")


def _share(value: Any) -> str:
    return percent(value, 2)
