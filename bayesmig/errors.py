"""Every error that bayesmig raises: one root, one subclass per stage.

A message says what is wrong (got and expected), where (file, key, column, first
rows) and what to do about it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches


class BayesmigError(Exception):
    """Root of all errors raised by bayesmig.

    Parameters
    ----------
    what
        What is wrong: what was found and what was expected.
    where
        Where: a file, key, column or rows, as short phrases.
    mend
        What the user can do about it.

    Attributes
    ----------
    what, where, mend
        The same three parts, for programs.
    """

    def __init__(self, what: str, *, where: str | Sequence[str] = (), mend: str = "") -> None:
        self.what = what
        self.where = tuple(w for w in ((where,) if isinstance(where, str) else where) if w)
        self.mend = mend
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append("  where: " + " · ".join(self.where))
        if self.mend:
            lines.append("  mend:  " + self.mend)
        return "\n".join(lines)


class SpecError(BayesmigError):
    """A model, scenario, codebook or study file says something it may not say."""


class SurveyError(BayesmigError):
    """Microdata and codebook do not fit together, or the data are not usable."""


class DesignError(BayesmigError):
    """A theory cannot be put on a survey (columns, levels, rank, separation)."""


class InferenceError(BayesmigError):
    """Sampling could not start or finish."""


class ConvergenceError(BayesmigError):
    """A question was put to draws that have not converged."""


class PosteriorError(BayesmigError):
    """A saved posterior cannot be read, or does not belong to this survey."""


class QuestionError(BayesmigError):
    """A question does not apply to this posterior."""


class StudyError(BayesmigError):
    """A study cannot be planned, written or resumed."""


def nearest(word: str, known: Sequence[str]) -> str:
    """Say which known word a misspelt one probably meant.

    Returns
    -------
    str
        ``"did you mean 'x'?"`` or ``"known: a, b, c"``; where the very word is known, that
        one of the two is a number and the other text.
    """
    if str(word) in map(str, known):
        return f"it is there as another kind: {word} is a number, {str(word)!r} is text"
    close = get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.65)
    if close:
        return f"did you mean {close[0]!r}?"
    listed = ", ".join(map(str, known[:20])) + (" …" if len(known) > 20 else "")
    return f"known: {listed}" if known else "none is known"


def rows_text(rows: Collection[object], limit: int = 5) -> str:
    """Name the first offending rows: ``"rows 3, 17, 40 (of 212)"``."""
    shown = ", ".join(str(r) for r in list(rows)[:limit])
    return f"rows {shown}" + (f" (first of {len(rows)})" if len(rows) > limit else "")
