"""What sections are made of: prose, tables, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from bayesmig.plots.numbers import MISSING

#: Text longer than this makes a column wide.
LONG = 32


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph; ``kind`` is ``text``, ``absent`` or a level of caution."""

    text: Markup
    kind: str = "text"


def prose(text: str, *args: Any) -> Prose:
    """A paragraph; arguments are escaped, the text itself is ours."""
    return Prose(Markup(text).format(*args))


def absent(text: str, *args: Any) -> Prose:
    """A paragraph that says what is missing."""
    return Prose(Markup(text).format(*args), "absent")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section, with the name of its anchor."""

    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Terms and what they are."""

    rows: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """A table as it is shown.

    Attributes
    ----------
    caption
        What it holds.
    columns
        (heading, kind): ``n`` for numbers, ``w`` for long text, else empty.
    rows
        Cells as text; the first of a row is its heading.
    source
        Name of the table that it comes from.
    folded
        Whether it is shown on demand only.
    """

    caption: Markup
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Any, ...], ...]
    source: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class FigureBlock:
    """A figure as SVG, its caption and where its numbers are from."""

    svg: Markup
    caption: Markup
    source: str
    notes: tuple[tuple[str, str], ...] = ()


Block = Prose | Heading | Facts | HtmlTable | FigureBlock


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


#: heading -> (column or function of a row, how a cell is written)
Layout = Mapping[str, tuple[str | Callable[[Mapping[str, Any]], Any], Callable[[Any], Any] | None]]


def html_table(
    table: pd.DataFrame,
    layout: Layout,
    caption: str | Markup,
    *,
    source: str = "",
    folded: bool = False,
) -> HtmlTable:
    """A tidy table with chosen columns, written as a layout says.

    Parameters
    ----------
    table
        Any table.
    layout
        Heading -> what stands in the column (a column, or a function of a row) and how
        it is written; ``None`` writes text as it is. Columns with a writer are numbers.
        Columns of text that say nothing in any row are left out.
    caption, source, folded
        As for `HtmlTable`.
    """
    records: Sequence[Mapping[Any, Any]] = table.to_dict("records")
    layout = {
        heading: (what, write)
        for heading, (what, write) in layout.items()
        if write or not records or any(_cell(record, what, None) != "" for record in records)
    }
    rows = tuple(
        tuple(_cell(record, what, write) for what, write in layout.values()) for record in records
    )
    columns = tuple(
        (heading, "n" if write is not None else _width(rows, i))
        for i, (heading, (_, write)) in enumerate(layout.items())
    )
    return HtmlTable(Markup("{}").format(caption), columns, rows, source, folded)


def _width(rows: Sequence[Sequence[Any]], column: int) -> str:
    texts = (row[column] for row in rows)
    lengths = (len(t.striptags() if isinstance(t, Markup) else str(t)) for t in texts)
    return "w" if max(lengths, default=0) > LONG else ""


def _cell(record: Mapping[str, Any], what: Any, write: Callable[[Any], Any] | None) -> Any:
    value = what(record) if callable(what) else record[what]
    if write is not None:
        return MISSING if value is None else write(value)
    return MISSING if value is None or (isinstance(value, float) and value != value) else value
