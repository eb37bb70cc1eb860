"""The value `Explanation`: sections of prose, lists and formulas, as text, HTML and LaTeX."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

#: Characters a line, where nothing is said.
WIDTH = 80
_NARROWEST = 40
_LONGEST_TERM = 26
#: Summands on one line of an equation in LaTeX.
_ABREAST = 4


@dataclass(frozen=True, slots=True)
class Math:
    """A piece of a formula, in plain text and in LaTeX."""

    plain: str
    latex: str


@dataclass(frozen=True, slots=True)
class Equation:
    """``left relation term + term + …``, and for whom it holds.

    Attributes
    ----------
    left
        What is defined.
    terms
        What it is the sum of.
    relation
        ``=`` or ``~`` (is distributed as).
    note
        In words; said after the formula.
    """

    left: Math
    terms: tuple[Math, ...]
    relation: str = "="
    note: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """Names and what is said of them.

    Attributes
    ----------
    rows
        (name, text); a name may be empty.
    below
        Whether texts stand below their names, not beside them.
    """

    rows: tuple[tuple[str, str], ...]
    below: bool = False


Block = str | Equation | Items


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it; a text is a paragraph."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Explanation:
    """What a theory says; made by `bayesmig.explain`.

    Attributes
    ----------
    name, title
        Of the theory.
    sections
        In the order in which they are read.

    Notes
    -----
    Notebooks show it by itself, and ``print`` shows its `text`.
    """

    name: str
    title: str
    sections: tuple[Section, ...] = field(repr=False)

    @property
    def text(self) -> str:
        """Plain text, in lines of at most 80 characters."""
        return self.at_width(WIDTH)

    def at_width(self, width: int) -> str:
        """Plain text, in lines of at most so many characters, single words excepted."""
        width = max(width, _NARROWEST)
        head = textwrap.wrap(f"{self.name}: {self.title}" if self.title else self.name, width)
        lines = [*head, "=" * max(map(len, head))]
        for section in self.sections:
            lines += ["", section.title, "-" * len(section.title)]
            for number, block in enumerate(section.blocks):
                lines += [""] * (number > 0) + list(_lines(block, width))
        return "\n".join(lines)

    @property
    def latex(self) -> str:
        """Its formulas, each an ``align*`` environment (amsmath), under comments."""
        parts = []
        for section in self.sections:
            found = [b for b in section.blocks if isinstance(b, Equation)]
            if found:
                parts += [f"% {section.title}", *map(_align, found)]
        return "\n".join(parts)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        parts = [f"<h3>{escape(self.name)}: {escape(self.title)}</h3>"]
        for section in self.sections:
            parts += [f"<h4>{escape(section.title)}</h4>", *map(_html, section.blocks)]
        return "\n".join(parts)


# ------------------------------------------------------------------------------ text


def _lines(block: Block, width: int) -> Iterator[str]:
    if isinstance(block, str):
        yield from _wrapped(block, width, "  ", "  ")
    elif isinstance(block, Equation):
        yield from _equation_lines(block, width)
    else:
        yield from _item_lines(block, width)


def _item_lines(items: Items, width: int) -> Iterator[str]:
    longest = max((len(term) for term, _ in items.rows), default=0)
    below = items.below or longest > _LONGEST_TERM
    hang = " " * (6 if below else longest + 4)
    for term, text in items.rows:
        first = f"  {term}".ljust(len(hang))
        if below and term:
            yield from _wrapped(term, width, "  ", "    ")
            first = hang
        yield from _wrapped(text, width, first, hang)


def _wrapped(text: str, width: int, first: str, later: str) -> list[str]:
    found = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return found or [first.rstrip()]


def _equation_lines(equation: Equation, width: int) -> Iterator[str]:
    start = f"  {equation.left.plain} {equation.relation} "
    hang = " " * (len(start) - 2)
    line = start
    for number, term in enumerate(equation.terms):
        piece = f"+ {term.plain}" if number else term.plain
        space = "" if not number or line == hang else " "
        if number and len(line) + len(space) + len(piece) > width:
            yield line
            line, space = hang, ""
        line += space + piece
    yield line
    if equation.note:
        yield from _wrapped(equation.note, width, "    ", "    ")


# ------------------------------------------------------------------------ HTML, LaTeX


def _html(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    if isinstance(block, Equation):
        note = f"<p>{escape(block.note)}</p>" if block.note else ""
        return f"<pre>{escape(chr(10).join(_equation_lines(_bare(block), WIDTH)))}</pre>{note}"
    rows = (
        f"<tr><th style='text-align:left;vertical-align:top'>{escape(term)}</th>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for term, text in block.rows
    )
    return f"<table>{''.join(rows)}</table>"


def _bare(equation: Equation) -> Equation:
    return Equation(equation.left, equation.terms, equation.relation)


def _align(equation: Equation) -> str:
    relation = {"=": "=", "~": r"\sim"}[equation.relation]
    pieces = [term.latex for term in equation.terms]
    rows = [pieces[k : k + _ABREAST] for k in range(0, len(pieces), _ABREAST)]
    sums = [" + ".join(row) for row in rows]
    first = f"{equation.left.latex} &{relation} {sums[0]}"
    body = " \\\\\n  ".join([first, *(rf"&\quad + {row}" for row in sums[1:])])
    return "\\begin{align*}\n  " + body + "\n\\end{align*}"
