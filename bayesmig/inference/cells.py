"""Shares of alternatives within cells of rows, of many surveys at once, compiled."""

from __future__ import annotations

from bayesmig.inference.compiled import njit


@njit(fastmath={"reassoc", "contract", "nsz"})
def shares(starts, rows, weights, choices, first, out):
    """Weighted sums of the rows of every cell that chose an alternative.

    Parameters
    ----------
    starts
        Where the rows of every cell begin, and where the last end, ``(cell + 1,)``.
    rows, weights
        One cell after the other.
    choices
        Of all rows, ``(row, survey)``.
    first
        Alternative that ``out`` begins with.
    out
        Overwritten, ``(cell, alternative, survey)``.
    """
    for c in range(out.shape[0]):
        out[c] = 0.0
        for p in range(starts[c], starts[c + 1]):
            weight, chosen = weights[p], choices[rows[p]]
            for j in range(out.shape[1]):
                found, wanted = out[c, j], first + j
                for s in range(chosen.shape[0]):
                    # Multiplied, so that a weight that is no number makes the share none.
                    found[s] += weight * (chosen[s] == wanted)
