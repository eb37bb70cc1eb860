"""Where a codebook takes a column from, in its own words."""

from __future__ import annotations

from bayesmig.survey.codebook import Codebook


def source_of(book: Codebook, column: str) -> str:
    """How a codebook makes a column, in its own words; empty for one of the file."""
    if column in book.derive:
        return f"= {book.derive[column]}"
    if (network := book.networks.get(column)) is not None:
        own = network.leaves_out()
        side = f" among {network.among}" if network.among else ""
        side += f" of {network.side} {network.by}" if network.by else ""
        now = f" and {network.now}" if network.away else ""
        return (
            f"{network.measure} of {network.of}{side} with {network.prior}{now}, own {own} left out"
        )
    if (recode := book.recode.get(column)) is not None:
        return f"recoded from {recode.source}"
    return _constructed_of(book, column)


def _constructed_of(book: Codebook, column: str) -> str:
    """How a codebook joins or constructs a column; empty where it does neither."""
    if (table := book.table_of(column)) is not None:
        source, at = book.tables[table].of(column)
        keys = " and ".join(book.tables[table].keys)
        return f"{source}{f' of {at}' if at else ''} of the table {table}, by {keys}"
    if (deprivation := book.deprivation.get(column)) is not None:
        per = " over the mean" if deprivation.per == "mean" else ""
        group = " and ".join(book.reference_group(column))
        return f"relative deprivation of {deprivation.of}{per} within {group}"
    if (risk := book.risk.get(column)) is not None:
        return f"{risk.measure} of {risk.of} over the household's periods ({risk.window})"
    if (rate := book.rates.get(column)) is not None:
        who, place = " or ".join(rate.alternatives), rate.place or rate.at or rate.of
        return f"share of {place} who chose {who}, {rate.lag} period(s) before"
    if (demand := book.shift_share.get(column)) is not None:
        return f"{demand.shares.column} × {demand.growth.column}, summed over sectors"
    return ""
