"""Rows in parts that stay in the cache, so that a pass over a long column copies little."""

from __future__ import annotations

from collections.abc import Iterator

#: 512 KB of a column of doubles.
ROWS = 65_536


def chunks(n: int, size: int = ROWS) -> Iterator[slice]:
    """Cut ``n`` rows into slices of at most ``size``, in order."""
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))
