"""Names of array dimensions, used by every labelled array of the package."""

from __future__ import annotations

from enum import StrEnum


class Dim(StrEnum):
    """Dimension names.

    ``ALTERNATIVE`` runs over the whole choice set, ``NONBASE`` over the
    alternatives other than the base: parameters live there, since utilities are
    identified up to a constant.
    """

    CHAIN = "chain"
    DRAW = "draw"
    OBS = "obs"
    ALTERNATIVE = "alternative"
    NONBASE = "nonbase"
    COEFFICIENT = "coefficient"
    ONLY = "only_term"
    ATTRIBUTE = "attribute_term"
    CELL = "cell"
