"""Who chooses what: shares, differences, slopes, networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from markupsafe import Markup

from bayesmig import plots
from bayesmig.plots.numbers import digits_for, number
from bayesmig.reporting.blocks import Block, Heading, Layout, absent, html_table, prose
from bayesmig.reporting.figures import Numbered, chunks
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.networks import families
from bayesmig.reporting.words import bracket, code


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """Who chooses what: shares, differences, slopes, networks."""
    yield prose(
        "Everything here is under {} and on the scale of probabilities, averaged over the "
        "rows: associations, not causes. {}Panels have axes of their own, since the streams "
        "differ much in size.",
        code(study.main),
        Markup('What the columns are stands <a href="#columns">with the survey</a>. ')
        if study.columns
        else "",
    )
    yield from _predicted(study, figures)
    for kind, words in _KINDS.items():
        yield from _kind(study, figures, kind, words)
    yield from _matrices(study, figures)


_KINDS = {
    "comparison": (
        "Differences",
        "Average differences of choice probabilities",
        "Average difference of the predicted probability between two values of a column, with "
        "the other columns as they are.",
        "No column was compared.",
    ),
    "slope": (
        "Slopes",
        "Average slopes of choice probabilities",
        "Average difference of the predicted probability per unit of a column, for a small "
        "difference.",
        "No slope was asked for.",
    ),
}


def _predicted(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Predicted shares", "shares")
    table = study.table("shares")
    if table.empty:
        yield absent("No shares were predicted.")
        return
    if set(table["by"].astype(str)) == {"all"}:
        yield html_table(
            table,
            _estimates({"Alternative": ("alternative", None)}, table),
            "Predicted shares, per cent",
            source="shares",
        )
        return
    for part in chunks(table, "by", "level"):
        figure = plots.estimates_plot(
            part,
            alternatives=study.alternatives,
            scale=plots.PERCENT,
            title="Predicted shares by group",
            interval=study.interval,
        )
        caption = "Average predicted probabilities, overall and by the groups of the study."
        yield figures.block(figure, caption, "shares", study.header("shares"))


def _kind(
    study: StudyFolder, figures: Numbered, kind: str, words: tuple[str, str, str, str]
) -> Iterator[Block]:
    heading, title, caption, none = words
    yield Heading(heading, kind)
    table = study.table("effects", kind=kind)
    if table.empty:
        yield absent("{}", none)
        return
    header = study.header(kind)
    scale = plots.scale_of(header.get("unit", ""), plots.POINTS)
    for part in chunks(table.assign(_all=""), "_all", "variable"):
        figure = plots.effects_plot(
            part,
            alternatives=study.alternatives,
            scale=scale,
            title=title,
            interval=study.interval,
            labels=study.labels,
        )
        yield figures.block(figure, caption, "effects", header)
    names: Layout = {
        "Column": ("variable", None),
        "Difference": (lambda row: str(row["contrast"]).replace("dP/dx", "per unit"), None),
        "Alternative": ("alternative", None),
    }
    yield html_table(
        table,
        _estimates(names, table, scale.factor),
        f"{heading}, {scale.unit}",
        source="effects",
        folded=True,
    )


def _estimates(names: Layout, table: pd.DataFrame, factor: float = 100) -> dict[str, Any]:
    """A layout that ends in estimate and interval, in units of 1/factor."""
    digits = digits_for(factor * (table["upper"] - table["lower"]) / 4)
    return {
        **names,
        "Estimate": (lambda row: number(factor * row["estimate"], digits), str),
        "Interval": (
            lambda row: bracket(factor * row["lower"], factor * row["upper"], digits),
            str,
        ),
    }


def _matrices(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Networks, own and other", "networks")
    found = families(study)
    if not found:
        yield absent(
            "The study asks for no effects of a network of each stream, such as {} and {}.",
            code("network_internal"),
            code("network_international"),
        )
        return
    for family in found:
        header = study.header(family.kind)
        yield figures.block(
            plots.network_plot(
                family.effects,
                family.columns,
                scale=plots.scale_of(header.get("unit", ""), plots.POINTS),
                title=_matrix_title(family.prefix),
                interval=study.interval,
            ),
            Markup(
                "Rows: whose probability is higher or lower; columns: with which column it is. "
                "Shaded: a stream's own column. Panels of a row share an axis. Filled points: "
                "the interval leaves out zero."
            ),
            "effects",
            header,
        )


def _matrix_title(prefix: str) -> str:
    words = "networks" if prefix == "network" else f"the columns {prefix}_…"
    return f"Average differences of choice probabilities with {words}, own and other"
