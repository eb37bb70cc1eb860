"""What a statement says in plain words: differences between people, never a cause."""

from __future__ import annotations

from markupsafe import Markup

from bayesmig.explanation.claims import in_words
from bayesmig.reporting.words import code
from bayesmig.spec.statement import parse_statement


def reading(statement: str) -> Markup:
    """A statement of a theory (`bayesmig.spec.statement`) in words, its names as code.

    Parameters
    ----------
    statement
        Inequalities joined by ``and``.
    """
    # The words themselves hold nothing to escape, and names are escaped by `code`.
    return Markup(in_words(parse_statement(statement), code))
