"""Where a codebook takes a column from, in its own words."""

from __future__ import annotations

from bayesmig.survey.codebook import Codebook


def source_of(book: Codebook, column: str) -> str:
    """How a codebook makes a column, in its own words; empty for one of the file."""
    if column in book.derive:
        return f"= {book.derive[column]}"
    if (network := book.networks.get(column)) is not None:
        own = network.leaves_out()
        return f"{network.measure} of {network.of} with {network.prior}, own {own} left out"
    if (recode := book.recode.get(column)) is not None:
        return f"recoded from {recode.source}"
    return ""
