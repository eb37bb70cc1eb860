"""How probable the claims of theories are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bayesmig import plots
from bayesmig.plots.numbers import number, probability
from bayesmig.reporting.blocks import Block, Layout, absent, html_table, prose
from bayesmig.reporting.figures import Numbered, chunks
from bayesmig.reporting.findings import theory_of_hypotheses
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.readings import reading
from bayesmig.reporting.words import badge, code, quoted, standing


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """How probable the claims of theories are."""
    table = study.table("hypotheses")
    if table.empty:
        yield absent("No theory of this study states a hypothesis.")
        return
    theory = theory_of_hypotheses(study)
    own = table[table["theory"].astype(str) == theory]
    yield prose(
        "Each hypothesis is one or more inequalities between average differences of "
        "probabilities, computed draw by draw under {}. Its probability is the share of draws in "
        "which all of them hold: what the theory and the data say together about associations, "
        "and nothing about causes, whatever words the theory's own claim uses. A claim is weakly "
        "identified where the data add little to what the prior says of its estimand: then it is "
        "neither supported nor contradicted, whatever its probability.",
        code(theory),
    )
    for part in chunks(own, "hypothesis", "part"):
        yield figures.block(
            plots.hypotheses_plot(part, interval=study.interval),
            "Estimands are left minus right of each inequality: percentage points (pp) for "
            "differences of probabilities, per cent for lifts (differences as a share of the "
            "alternative's probability before); log odds are against the base, and 0.1 is about "
            "10 %. Each has an axis of its own, whose ends are "
            "written beside it. Grey: the region of practical equivalence (ROPE). Hollow: the "
            "prior has a say in the probability.",
            "hypotheses",
            study.header("hypotheses"),
        )
    yield html_table(own.drop_duplicates("hypothesis"), _CLAIMS, "Claims", source="hypotheses")
    yield html_table(own, _PARTS, _UNITS, source="hypotheses", folded=True)
    others = table[table["theory"].astype(str) != theory]
    if len(others):
        layout: Layout = {"Theory": ("theory", None), **_CLAIMS}
        yield html_table(
            others.drop_duplicates(["theory", "hypothesis"]),
            layout,
            "Claims under the other theories",
            source="hypotheses",
            folded=True,
        )


_CLAIMS: Layout = {
    "Hypothesis": (lambda row: quoted(str(row["hypothesis"]).replace("_", " ")), None),
    "Probability": ("joint_probability", probability),
    "Before the data": ("prior_probability", probability),
    "Verdict": (
        lambda row: badge(standing(row["joint_probability"], row["joint_identification"])),
        None,
    ),
    "Prior and data": ("joint_identification", None),
    "Association": (lambda row: reading(str(row["statement"])), None),
    "The theory’s claim": (lambda row: quoted(row["claim"]), None),
}


def _rope(row: Mapping[str, Any]) -> str:
    unit = plots.unit_of(str(row["part"]))
    return f"±{unit.factor * row['rope']:.3g} {unit.name}".rstrip()


_UNITS = (
    "The inequalities of the claims, in percentage points (pp), for lifts in per cent of the "
    "alternative's own probability (%), or in log odds"
)
_IDENTIFIED: Layout = {
    "Overlap with the prior": ("overlap", number),
    "Sensitivity to the prior": ("prior_sensitivity", number),
    "Sensitivity to the likelihood": ("likelihood_sensitivity", number),
    "Prior and data": ("identification", None),
}
_PARTS: Layout = {
    "Hypothesis": (lambda row: quoted(str(row["hypothesis"]).replace("_", " ")), None),
    "Inequality": ("part", None),
    "Estimand and interval": (plots.estimand, str),
    "ROPE": (_rope, str),
    "Mass in ROPE": ("rope_mass", probability),
    "Probability": ("probability", probability),
    **_IDENTIFIED,
}
