"""What scenarios would change, and where people would turn instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from bayesmig import plots
from bayesmig.plots.numbers import digits_for, number
from bayesmig.reporting.blocks import (
    Block,
    Facts,
    Heading,
    Layout,
    Prose,
    absent,
    html_table,
    prose,
)
from bayesmig.reporting.figures import Numbered, chunks
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.words import bracket, code


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """What scenarios would change, and where people would turn instead."""
    if not study.scenarios or "scenarios" not in study.tables:
        yield absent("The study asks for no scenarios.")
        return
    yield prose(
        "Each scenario lets the same rows choose again in a changed world, draw by draw under "
        "{}, and subtracts what they choose in the world as it is. Static: networks, earlier "
        "moves and prices do not react. This is no forecast.",
        code(study.main),
    )
    for scenario in study.scenarios:
        yield from _scenario(study, figures, scenario)
    yield from _diversion(study, figures)


def _scenario(
    study: StudyFolder, figures: Numbered, scenario: Mapping[str, Any]
) -> Iterator[Block]:
    name = str(scenario.get("name"))
    title = str(scenario.get("title") or name)
    yield Heading(title, f"scenario-{study.scenarios.index(scenario) + 1}")
    if description := " ".join(str(scenario.get("description", "")).split()):
        yield prose("{}", description)
    yield Facts(
        (
            ("Scenario", code(name)),
            ("Interventions", "; ".join(map(str, scenario.get("interventions", ())))),
        )
    )
    for warning in scenario.get("warnings", ()):
        yield Prose(Markup("{}").format(warning), "caution")
    table = study.table("scenarios", scenario=name)
    if table.empty:
        yield absent("The study holds no results of this scenario.")
        return
    whole = table[table["by"].astype(str) == "all"]
    if len(whole):
        yield html_table(
            _wide(whole),
            _WIDE,
            f"Average shares, per cent, with {study.interval}",
            source="scenarios",
        )
    header = {str(k): str(v) for k, v in scenario.get("header", {}).items()}
    for part in chunks(table, "by", "level"):
        figure = plots.scenario_plot(
            part,
            alternatives=study.alternatives,
            title=f"{title}: scenario minus baseline",
            interval=study.interval,
        )
        caption = "Change of the average predicted share, overall and by group."
        # The header's unit is that of the shares; the figure shows their differences.
        yield figures.block(figure, caption, "scenarios", {**header, "unit": ""})


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """One row per alternative, a column of text per quantity."""
    rows = []
    for alternative, part in table.groupby("alternative", sort=False):
        digits = digits_for(25 * (part["upper"] - part["lower"]))
        row: dict[str, Any] = {"alternative": alternative}
        for cell in part.to_dict("records"):
            x, low, high = (100 * cell[k] for k in ("estimate", "lower", "upper"))
            sign = cell["quantity"] == "difference"
            row[cell["quantity"]] = f"{number(x, digits, sign=sign)} {bracket(low, high, digits)}"
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=["alternative", "baseline", "scenario", "difference"])


_WIDE: Layout = {
    "Alternative": ("alternative", None),
    "Baseline": ("baseline", str),
    "Scenario": ("scenario", str),
    "Difference, points": ("difference", str),
}


def _diversion(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Diversion", "diversion")
    table = study.table("diversion")
    if table.empty:
        yield absent("No scenario takes choosers away from an alternative.")
        return
    if "note" in table:
        for scenario, note in dict.fromkeys(zip(table["scenario"], table["note"], strict=True)):
            if note:
                yield Prose(Markup("{}: {}").format(code(scenario), note), "note")
    drawn = table[table["estimate"].notna()]
    if len(drawn):
        yield figures.block(
            plots.diversion_plot(drawn, interval=study.interval),
            "Of those who leave the first alternative, the share that turns to the second. "
            "Independence of irrelevant alternatives (IIA) would send them in proportion to "
            "the shares of what is left, among those whom the scenario reaches; the distance "
            "from it comes from who leaves.",
            "diversion",
        )
    layout: dict[str, Any] = {
        "Scenario": ("scenario", None),
        "From": ("source", None),
        "To": ("target", None),
        "Per cent": (lambda r: number(100 * r["estimate"], 1), str),
        "Interval": (lambda r: bracket(100 * r["lower"], 100 * r["upper"], 1), str),
        "Under IIA": (lambda r: number(100 * r["iia_estimate"], 1), str),
        "Interval under IIA": (
            lambda r: bracket(100 * r["iia_lower"], 100 * r["iia_upper"], 1),
            str,
        ),
    }
    if "note" in table and table["note"].astype(bool).any():
        layout["Note"] = ("note", None)
    yield html_table(table, layout, "Diversion ratios", source="diversion", folded=True)
