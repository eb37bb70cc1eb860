"""Numbers in words: what a report says, and how it writes numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from bayesmig.hypotheses import verdict_of
from bayesmig.plots.numbers import MISSING, digits_for, number
from bayesmig.sensitivity import OVERLAP, SENSITIVE, digits_beside

SPACE = "\u00a0"
"""One that no line breaks at."""


def count(value: Any) -> str:
    """A whole number with separators; anything else as it is."""
    try:
        known = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number(known, 0 if known == int(known) else 1) if np.isfinite(known) else MISSING


def counted(value: Any, noun: str) -> str:
    """A number of things: ``1 row``, ``12 rows``."""
    return f"{count(value)} {noun}" + ("" if count(value) == "1" else "s")


def quoted(claim: Any) -> Markup:
    """The words of a theory, told from ours by quotation marks."""
    return Markup("“{}”").format(str(claim).strip().rstrip("."))


def percent(share: Any, digits: int = 1) -> str:
    """A share in per cent."""
    text = number(100 * float(share), digits)
    return text if text == MISSING else f"{text}{SPACE}%"


def standing(value: Any, identified: str = "") -> str:
    """What a posterior probability lets one say of a claim.

    ``identified``: what is said of its identification; where the data add little, the
    claim is neither supported nor contradicted.
    """
    return verdict_of(float(value), identified)


def beside_overlap(value: Any) -> str:
    """An overlap with the prior, never rounded onto the threshold that it is held to."""
    return number(value, digits_beside(float(value), OVERLAP))


def beside_sensitive(value: Any) -> str:
    """A sensitivity, never rounded onto the threshold that it is held to."""
    return number(value, digits_beside(float(value), SENSITIVE))


def bracket(lower: Any, upper: Any, digits: int) -> str:
    """An interval."""
    return f"[{number(lower, digits)},{SPACE}{number(upper, digits)}]"


def points(estimate: Any, lower: Any, upper: Any) -> str:
    """A difference of probabilities: ``1.12 percentage points lower [−1.51, −0.73]``."""
    x, low, high = 100 * float(estimate), 100 * float(lower), 100 * float(upper)
    digits = digits_for([(high - low) / 4])
    way = "higher" if x > 0 else "lower" if x < 0 else "apart"
    return f"{number(abs(x), digits)} percentage points {way} {bracket(low, high, digits)}"


def signed_points(estimate: Any, lower: Any, upper: Any) -> str:
    """A difference of probabilities, short: ``−1.12 [−1.51, −0.73]``."""
    x, low, high = 100 * float(estimate), 100 * float(lower), 100 * float(upper)
    digits = digits_for([(high - low) / 4])
    return f"{number(x, digits, sign=True)}{SPACE}{bracket(low, high, digits)}"


def leaves_out_zero(lower: Any, upper: Any) -> bool:
    """Whether an interval lies on one side of zero; never where it is unknown."""
    return bool(float(lower) > 0 or float(upper) < 0)


def listed(parts: Sequence[Any]) -> Markup:
    """``a, b and c``, each part escaped."""
    safe = [Markup("{}").format(p) for p in parts]
    if len(safe) < 2:
        return Markup("").join(safe)
    return Markup("{} and {}").format(Markup(", ").join(safe[:-1]), safe[-1])


def code(name: Any) -> Markup:
    """A name of a column, an alternative, a theory: set apart from prose."""
    return Markup("<code>{}</code>").format(name)


#: What `standing` says, as readers want to see it sorted.
STANDINGS = (
    *("supported", "supported with the prior's help"),
    *("contradicted", "contradicted with the prior's help"),
    *("weakly identified", "undecided", "undecided and weakly identified"),
    *("cannot be asked", "cannot be computed"),
)
#: Verdicts with more letters may be broken between words.
_LONG_BADGE = 17
_GOOD, _BAD = ("passed", "supported"), ("failed", "contradicted")


def badge(word: str) -> Markup:
    """A verdict, coloured."""
    kind = "good" if word in _GOOD else "bad" if word in _BAD else "open"
    kind += " long" if len(word) > _LONG_BADGE else ""
    return Markup('<span class="badge {}">{}</span>').format(kind, word)


def without_weights(text: Any) -> str:
    """What a check found, without what became of weights, which is a note of its own."""
    return str(text).split(" Weights: ")[0]


def seconds(value: Any) -> str:
    """A duration."""
    value = float(value)
    if not np.isfinite(value):
        return MISSING
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def verdict(passed: Any, text: Any = "") -> str:
    """``passed``, ``failed`` or ``not asked``, from a truth value or that word.

    ``text``: what was found, where that is known: what was computed and is not judged was
    asked.
    """
    word = _verdict(passed)
    return "not judged" if word == "not asked" and str(text).startswith("Not judged") else word


def _verdict(passed: Any) -> str:
    if passed is None or (isinstance(passed, float) and np.isnan(passed)):
        return "not asked"
    word = str(passed).lower()
    return {"true": "passed", "false": "failed", "none": "not asked"}.get(word, word)
