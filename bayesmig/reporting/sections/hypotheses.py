"""How probable the claims of theories are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from bayesmig import plots
from bayesmig.plots.numbers import probability
from bayesmig.reporting.blocks import Block, Layout, absent, html_table, prose
from bayesmig.reporting.figures import Numbered, evenly
from bayesmig.reporting.findings import theory_of_hypotheses
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.readings import reading
from bayesmig.reporting.words import badge, beside_overlap, beside_sensitive, code, quoted, standing


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
    for i, part in enumerate(evenly(own, "hypothesis", "part")):
        yield figures.block(
            plots.hypotheses_plot(part, interval=study.interval),
            "The hypotheses that are left, drawn alike."
            if i
            else "Estimands are left minus right of each inequality: percentage points (pp) for "
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


def _verdict(row: Mapping[str, Any]) -> Markup:
    """The verdict, and what is amiss with it where the verdict does not say so itself."""
    word = standing(row["joint_probability"], row["joint_identification"])
    said = str(row["joint_identification"] or "")
    beside = Markup(" {}").format(said) if said not in ("", "nan") else ""
    return Markup("{}{}").format(badge(word), beside)


_CLAIMS: Layout = {
    "The theory’s claim, and its name in figures": (
        lambda row: Markup("{}<br>{}").format(quoted(row["claim"]), _named(row)),
        None,
    ),
    "Association tested": (lambda row: reading(str(row["statement"])), None),
    "Before the data": ("prior_probability", probability),
    "Probability": ("joint_probability", probability),
    "Verdict": (_verdict, None),
}


def _named(row: Mapping[str, Any]) -> Markup:
    return quoted(str(row["hypothesis"]).replace("_", " "))


def _rope(row: Mapping[str, Any]) -> str:
    unit = plots.unit_of(str(row["part"]))
    return f"±{unit.factor * row['rope']:.3g} {unit.name}".rstrip()


_UNITS = (
    "The inequalities of the claims, in percentage points (pp), for lifts in per cent of the "
    "alternative's own probability (%), or in log odds"
)
_IDENTIFIED: Layout = {
    "Overlap with the prior": ("overlap", beside_overlap),
    "Sensitivity to the prior": ("prior_sensitivity", beside_sensitive),
    "Sensitivity to the likelihood": ("likelihood_sensitivity", beside_sensitive),
    "Prior and data": ("identification", None),
}
_PARTS: Layout = {
    "Hypothesis": (_named, None),
    "Inequality": ("part", None),
    "Estimand and interval": (plots.estimand, str),
    "ROPE": (_rope, str),
    "Mass in ROPE": ("rope_mass", probability),
    "Probability": ("probability", probability),
    **_IDENTIFIED,
}
