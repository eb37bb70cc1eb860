"""Rows in parts that stay in the cache, so that a pass over a long column copies little."""

from __future__ import annotations

from collections.abc import Iterator

#: 512 KB of a column of doubles.
ROWS = 65_536


def chunks(n: int, size: int | None = None) -> Iterator[slice]:
    """Cut ``n`` rows into slices of at most ``size``, or `ROWS`, in order."""
    size = ROWS if size is None else size
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))
