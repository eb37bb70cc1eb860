"""The sections of a report, each made from tidy tables and nothing else."""

from __future__ import annotations

from bayesmig.reporting.blocks import Section
from bayesmig.reporting.figures import Numbered
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.sections import (
    checks,
    effects,
    evidence,
    hypotheses,
    provenance,
    scenarios,
    survey,
    theories,
)

_ROOMS = (
    ("survey", "The survey", survey),
    ("evidence", "What a referee asks", evidence),
    ("checks", "Do the models hold?", checks),
    ("theories", "Which theory?", theories),
    ("hypotheses", "Hypotheses", hypotheses),
    ("effects", "Who chooses what", effects),
    ("scenarios", "Scenarios", scenarios),
    ("provenance", "Where this comes from", provenance),
)


def sections(study: StudyFolder) -> list[Section]:
    """Every section after the findings, in order; none is left out."""
    figures = Numbered()
    made = []
    for anchor, title, room in _ROOMS:
        figures.begin()
        made.append(Section(anchor, title, tuple(room.blocks(study, figures))))
    return made
