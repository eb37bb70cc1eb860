"""Where everything comes from."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from markupsafe import Markup

from bayesmig.plots.numbers import number
from bayesmig.reporting.blocks import Block, Facts, Layout, html_table, prose
from bayesmig.reporting.figures import Numbered
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.words import bracket, code, count, seconds

#: Parameters listed; all of them are in the table.
MOST_PARAMETERS = 80


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """Where everything comes from."""
    results = study.results
    survey = results.get("survey", {})
    versions = results.get("versions", {})
    yield Facts(
        (
            ("Seed", results.get("seed", "")),
            ("Computed", results.get("created", "")),
            ("Main theory", code(study.main)),
            ("Survey fingerprint", code(survey.get("fingerprint", ""))),
            ("Versions", ", ".join(f"{k} {v}" for k, v in versions.items())),
        )
    )
    if study.theories:
        layout: Layout = {
            "Theory": ("name", None),
            "Route": ("route", None),
            "Sampling": ("seconds", seconds),
            "Design fingerprint": (
                lambda r: code(str(r["design"])[:12]) if r["design"] else "–",
                None,
            ),
            "Weights": ("weights_note", None),
        }
        keys = ("name", "route", "seconds", "design", "weights_note")
        rows = [
            {k: t.get(k, float("nan") if k == "seconds" else "") for k in keys}
            for t in study.theories
        ]
        yield html_table(pd.DataFrame(rows), layout, "How each theory was fitted")
    yield from _parameters(study)
    files = [f"tables/{name}.csv" for name in study.tables]
    yield prose(
        "Every number of this page is in one of these files, beside their exact twins in "
        "parquet: {}. Checksums of all files are in manifest.json.",
        ", ".join(files),
    )


def _parameters(study: StudyFolder) -> Iterator[Block]:
    table = study.table("parameters", theory=study.main)
    names = table["parameter"].astype(str)
    shown = table[~names.str.startswith(("u_", "z_"))].head(MOST_PARAMETERS)
    if shown.empty:
        return
    yield html_table(
        shown,
        {
            "Parameter": ("parameter", None),
            "Mean": ("mean", lambda v: number(v, 3)),
            "SD": ("sd", lambda v: number(v, 3)),
            "Interval": (lambda r: bracket(r["lower"], r["upper"], 3), str),
            "R-hat": ("r_hat", lambda v: number(v, 3)),
            "Bulk ESS": ("ess_bulk", lambda v: number(v, 0)),
            "Tail ESS": ("ess_tail", lambda v: number(v, 0)),
        },
        Markup("Parameters of {}{}").format(
            code(study.main),
            f", {count(len(shown))} of {count(len(table))}" if len(shown) < len(table) else "",
        ),
        source="parameters",
        folded=True,
    )
