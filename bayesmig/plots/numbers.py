"""How numbers are written, in figures and beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

MISSING = "n/a"


def number(value: Any, digits: int = 2, *, sign: bool = False) -> str:
    """A number with a true minus sign and thousands separators; zero has no sign."""
    value = float(value)
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if np.isnan(value):
        return MISSING
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    if not any(c in "123456789" for c in text):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def digits_for(errors: Iterable[Any], most: int = 3) -> int:
    """Decimals that show two figures of a typical error."""
    known = np.abs([float(e) for e in errors])
    known = known[np.isfinite(known) & (known > 0)]
    if not len(known):
        return 1
    return int(np.clip(1 - np.floor(np.log10(np.median(known))), 0, most))


def probability(value: Any) -> str:
    """A probability of draws, never rounded to certainty."""
    value = float(value)
    if not np.isfinite(value):
        return MISSING
    if value > 0.999:
        return ">\u00a00.999"
    return "<\u00a00.001" if value < 0.001 else f"{value:.3f}"
