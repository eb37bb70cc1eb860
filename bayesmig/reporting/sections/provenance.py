"""Where everything comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from bayesmig.plots.numbers import MISSING, number
from bayesmig.posterior import OF_GROUPS
from bayesmig.reporting.blocks import Block, Facts, HtmlTable, Layout, html_table, prose
from bayesmig.reporting.figures import Numbered
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.words import bracket, code, count, seconds

#: Parameters listed; all of them are in the table.
MOST_PARAMETERS = 80


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """Where everything comes from."""
    results = study.results
    survey = results.get("survey", {})
    read: Mapping[str, str] = results.get("files", {})
    known = [s["seconds"] for s in results.get("steps", ()) if s.get("seconds") is not None]
    yield Facts(
        (
            ("Study, codebook, data", ", ".join(name for name in read.values() if name)),
            ("Seed", results.get("seed", "")),
            ("Assembled", results.get("created", "")),
            ("Wall time, all steps", seconds(sum(known)) if known else "unknown"),
            ("Main theory", code(study.main)),
            ("Survey fingerprint", code(survey.get("fingerprint", ""))),
            ("Versions", _versions(results.get("versions", {}))),
        )
    )
    yield from _fits(study)
    yield from _steps(study)
    yield from _parameters(study)
    files = [f"tables/{name}.csv" for name in study.tables]
    yield prose(
        "Every number of this page is in one of these files, beside their exact twins in "
        "parquet: {}. Checksums of all files are in manifest.json.",
        ", ".join(files),
    )


def _numbers(known: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_figure(v)}" for name, v in known.items())


def _figure(value: float) -> str:
    """Counts have no decimals."""
    return number(value, 0 if float(value).is_integer() else 2)


#: What is said of a fit, in this order -> how it is written.
_FIT: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "method": ("Method asked for", str),
    "route": ("How", str),
    "reason": ("Why so", str),
    "numbers": ("What is known of it", _numbers),
    "precision": ("Precision of loops over rows", str),
    "seed": ("Seed", str),
    "chains": ("Chains", count),
    "draws": ("Draws per chain", count),
    "tune": ("Tuning steps per chain", count),
    "target_accept": ("Target acceptance", str),
    "seconds": ("Sampling", seconds),
    "created": ("Sampled at", str),
    "survey": ("Fingerprint of the survey", code),
    "design": ("Fingerprint of the design", code),
    "spec": ("Fingerprint of the theory", code),
}


def _fits(study: StudyFolder) -> Iterator[Block]:
    """All that is known of where each theory's draws came from."""
    for theory in study.theories:
        said: Mapping[str, Any] = theory.get("provenance", {})
        rows: list[tuple[str, Any]] = [
            (term, write(said[key]))
            for key, (term, write) in _FIT.items()
            if said.get(key) is not None
        ]
        if theory.get("compiled"):
            once = "machine code was compiled in it, which an installation does once"
            rows.append(("Part of that time", once))
        rows += [("Weights", theory["weights_note"])] if theory.get("weights_note") else []
        if "versions" in said:
            rows.append(("Versions", _versions(said["versions"])))
        if rows:
            caption = Markup("How {} was fitted").format(code(theory.get("name")))
            columns, folded = (("", ""), ("Value", "w")), theory.get("name") != study.main
            yield HtmlTable(caption, columns, tuple(rows), folded=folded)


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _steps(study: StudyFolder) -> Iterator[Block]:
    """When each step was computed: steps of earlier runs are kept."""
    table = pd.DataFrame(study.results.get("steps", ()))
    if len(table):
        layout: Layout = {
            "Step": ("step", None),
            "Computed": (lambda row: row["created"] or MISSING, None),
            "Wall time": ("seconds", seconds),
        }
        yield html_table(table, layout, "When each step was computed", folded=True)


def _parameters(study: StudyFolder) -> Iterator[Block]:
    table = study.table("parameters", theory=study.main)
    names = table["parameter"].astype(str)
    shown = table[~names.str.startswith(OF_GROUPS)].head(MOST_PARAMETERS)
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
