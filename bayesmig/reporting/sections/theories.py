"""Which theory predicts better."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bayesmig import plots
from bayesmig.plots.numbers import number
from bayesmig.reporting.blocks import Block, Layout, absent, html_table, prose
from bayesmig.reporting.figures import Numbered
from bayesmig.reporting.findings import compared
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.words import count, quoted


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """Which theory predicts better."""
    said = pd.DataFrame([{k: t.get(k, "") for k in _THEORY} for t in study.theories])
    if len(said):
        layout: Layout = {
            "Theory": ("name", None),
            "Title": ("title", None),
            "Claims, in its own words": (lambda row: quoted(row["claim"]), None),
        }
        yield html_table(said, layout, "Theories of this study")
        yield from _references(said)
    table = study.table("comparison")
    if table.empty:
        yield absent(
            "One theory was fitted, so there is nothing to compare."
            if len(said) < 2
            else "The theories were not compared."
        )
        return
    for name, part, verdict in compared(study):
        yield prose("{}", verdict)
        yield figures.block(
            plots.comparison_plot(part, title=_title(name)),
            f"Expected log predictive density (elpd) of {_predicted(name)}. A difference of less "
            "than about two of its standard errors does not tell two theories apart.",
            "comparison",
        )
        yield _table(part, f"Comparison of theories: {_predicted(name)}")


def _predicted(question: str) -> str:
    """What is predicted, in words."""
    words = {
        "person": "a new person in a known place",
        "obs": "a new choice situation",
        "period": "the next period",
    }
    return words.get(question, f"a new {question}")


def _title(question: str) -> str:
    return f"Prediction of {_predicted(question)}: each theory against the best"


def _table(table: pd.DataFrame, title: str) -> Block:
    refits = table["pareto_k_max"].isna().all()
    by_weights: Layout = {
        "p_loo": ("p_loo", lambda v: number(v, 1)),
        "Pareto k, largest": ("pareto_k_max", number),
        "Units with high k": ("pareto_k_high", count),
    }
    weights: Layout = {"Stacking weight": ("weight", number)}
    if "pseudo_bma" in table:
        weights = {**weights, "Pseudo-BMA+ weight": ("pseudo_bma", number)}
    return html_table(
        table.sort_values("elpd", ascending=False, kind="stable"),
        {
            "Theory": ("theory", None),
            "elpd": ("elpd", lambda v: number(v, 1)),
            "SE": ("se", lambda v: number(v, 1)),
            "Difference": ("elpd_diff", lambda v: number(v, 1)),
            "SE of difference": ("diff_se", lambda v: number(v, 1)),
            **weights,
            **({} if refits else by_weights),
        },
        title,
        source="comparison",
    )


def _references(said: pd.DataFrame) -> Iterator[Block]:
    """Each reference once, with the theories that name it."""
    named: dict[str, list[str]] = {}
    for theory in said.to_dict("records"):
        for reference in theory["references"]:
            named.setdefault(str(reference), []).append(str(theory["name"]))
    if named:
        table = pd.DataFrame({"reference": list(named), "theories": map(", ".join, named.values())})
        layout: Layout = {"Reference": ("reference", None), "Theories": ("theories", None)}
        yield html_table(table, layout, "References of the theories", folded=True)


_THEORY = ("name", "title", "claim", "references")
