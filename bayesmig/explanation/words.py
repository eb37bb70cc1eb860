"""Small pieces of prose, and names as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable


def listed(parts: Iterable[str], last: str = "and") -> str:
    """``a, b and c``."""
    found = list(parts)
    if len(found) < 2:
        return "".join(found)
    return f"{', '.join(found[:-1])} {last} {found[-1]}"


def counted(number: int, noun: str) -> str:
    """``1 row``, ``12 rows``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def per_cent(share: float) -> str:
    """A share in per cent, two digits, and never none of what is some."""
    number = 100 * share
    return "under 0.1 %" if 0 < number < 0.05 else f"{number:.2g} %" if number < 99.5 else "100 %"


def name_in_latex(name: str) -> str:
    """A column or alternative as upright text."""
    return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"


def label(term: Iterable[object]) -> str:
    """The label of a coefficient: names of factors, joined by colons."""
    return ":".join(str(getattr(factor, "name", factor)) for factor in term)


def an(noun: str) -> str:
    """A noun with its article: ``an origin``, ``a household``."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def plural(noun: str) -> str:
    """``origins``, ``countries``."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def unit_of(by: str) -> str:
    """One group of a factor: ``household``, ``combination of household and origin``."""
    parts = by.split(":")
    return by if len(parts) == 1 else f"combination of {listed(parts)}"


def units_of(by: str) -> str:
    """The groups of a factor: ``households``, ``combinations of household and origin``."""
    parts = by.split(":")
    return plural(by) if len(parts) == 1 else f"combinations of {listed(parts)}"
