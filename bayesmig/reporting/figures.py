"""Figures of the report: tidy table in, SVG block out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from markupsafe import Markup

from bayesmig import plots
from bayesmig.plots import Figure
from bayesmig.reporting.blocks import FigureBlock
from bayesmig.reporting.folder import StudyFolder

#: Lines of one figure: as many as a printed page holds.
MOST_LINES = 34
#: What a header says that a caption need not repeat.
_SAID = ("interventions", "scenario", "diversion", "verdict", "reading", "kind", "totals")


class Numbered:
    """Makes figure blocks with ids of their own, and says each note once in a section."""

    def __init__(self) -> None:
        self._made = 0
        self._said: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """Start a section."""
        self._said.clear()

    def block(
        self,
        figure: Figure,
        caption: str | Markup,
        source: str,
        header: Mapping[str, str] | None = None,
    ) -> FigureBlock:
        """A figure with its caption; ``header`` says what its numbers are."""
        self._made += 1
        text = Markup("{}").format(caption)
        svg = plots.svg(figure, f"f{self._made}", text.striptags())
        notes = tuple(n for n in notes_of(header or {}) if n not in self._said)
        self._said.update(notes)
        # The figure's own text is escaped by matplotlib's SVG writer.
        return FigureBlock(Markup(svg), text, source, notes)


def notes_of(header: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The parts of a header that belong under a figure."""
    said = ((k, _each_once(v)) for k, v in header.items() if k not in _SAID)
    return tuple((k, v) for k, v in said if v)


def _each_once(note: str) -> str:
    """A note without the parts that it has said, or that begin another of its parts."""
    parts = list(dict.fromkeys(note.split("; ")))
    begun = (part for part in parts if any(p != part and p.startswith(part + ",") for p in parts))
    left = set(begun)
    return "; ".join(part for part in parts if part not in left)


def evenly(table: pd.DataFrame, by: str, lines: str) -> list[pd.DataFrame]:
    """As `chunks`, and no part much longer than the others."""
    fewest = list(chunks(table, by, lines))
    for most in range(1, MOST_LINES):
        parts = list(chunks(table, by, lines, most))
        if len(parts) <= len(fewest):
            return parts
    return fewest


def chunks(
    table: pd.DataFrame, by: str, lines: str, most: int = MOST_LINES
) -> Iterator[pd.DataFrame]:
    """Parts of a table for one figure each; what shares ``by`` stays together if it can.

    Parameters
    ----------
    table
        With one line of the figure per value of ``lines`` within ``by``.
    by, lines
        Columns.
    most
        Lines of a part, unless what shares ``by`` has more.
    """
    chosen: list[pd.DataFrame] = []
    height = 0
    for _, group in table.groupby(by, sort=False):
        for part in _slices(group, lines):
            needed = part[lines].nunique() + 1
            if chosen and height + needed > most:
                yield pd.concat(chosen)
                chosen, height = [], 0
            chosen.append(part)
            height += needed
    if chosen:
        yield pd.concat(chosen)


def _slices(group: pd.DataFrame, lines: str) -> Iterator[pd.DataFrame]:
    levels = list(dict.fromkeys(group[lines]))
    for start in range(0, len(levels), MOST_LINES - 1):
        yield group[group[lines].isin(levels[start : start + MOST_LINES - 1])]


def wanted_breakdowns(study: StudyFolder) -> list[str]:
    """Columns whose predictive shares are drawn; the others stay in their table.

    Those that fail, those that the study asks by, those that it has effects of, and
    sizes of groups, in this order.
    """
    table = study.table("predictive_shares", theory=study.main)
    there = [b for b in dict.fromkeys(table["by"].astype(str)) if b != "all"]
    failing = table[_failing(table)]["by"].astype(str).unique()
    asked = study.table("shares")["by"].astype(str).unique()
    effects = study.table("effects")["variable"].astype(str).unique()
    ranks = [list(failing), list(asked), list(effects), [b for b in there if b.endswith(" size")]]
    first = [b for rank in ranks for b in rank if b in there]
    return list(dict.fromkeys([*first, *there]))


def _failing(table: pd.DataFrame) -> pd.Series:
    if "p_adjusted" in table:
        return table["p_adjusted"] <= 0.05
    return table["p_value"] <= 0.01
