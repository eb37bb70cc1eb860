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
from bayesmig.reporting.words import badge, bracket, code, standing


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """How probable the claims of theories are."""
    table = study.table("hypotheses")
    if table.empty:
        yield absent("No theory of this study states a hypothesis.")
        return
    theory = theory_of_hypotheses(study)
    own = table[table["theory"].astype(str) == theory]
    yield prose(
        "Each claim is an inequality between average effects on the probability scale, "
        "computed draw by draw under {}. Its probability is the share of draws in which it "
        "holds: what the theory and the data say together, and nothing about causes.",
        code(theory),
    )
    for part in chunks(own, "hypothesis", "part"):
        yield figures.block(
            plots.hypotheses_plot(part, interval=study.interval),
            "Estimands are left minus right of each inequality: percentage points (pp) for "
            "differences of probabilities, per cent for lifts (changes as a share of the "
            "alternative's probability before). Grey: the region of practical equivalence (ROPE).",
            "hypotheses",
            study.header("hypotheses"),
        )
    yield html_table(
        own.drop_duplicates("hypothesis"), _claims(study), "Claims", source="hypotheses"
    )
    yield html_table(
        own, _PARTS, "The inequalities of the claims", source="hypotheses", folded=True
    )
    others = table[table["theory"].astype(str) != theory]
    if len(others):
        layout: Layout = {"Theory": ("theory", None), **_claims(study)}
        yield html_table(
            others.drop_duplicates(["theory", "hypothesis"]),
            layout,
            "Claims under the other theories",
            source="hypotheses",
            folded=True,
        )


def _claims(study: StudyFolder) -> dict[str, Any]:
    said: Mapping[str, str] = study.results.get("texts", {}).get("hypotheses", {})
    # Sentences are kept by name; the last theory that states a name wrote the sentence.
    writers = study.table("hypotheses").groupby("hypothesis")["theory"].last()

    def sentence(row: Mapping[str, Any]) -> str:
        name, theory = str(row["hypothesis"]), str(row["theory"])
        if (own := said.get(f"{theory}/{name}")) is not None:
            return own
        return said[name] if name in said and writers[name] == theory else str(row["claim"])

    return {
        "Hypothesis": (lambda row: str(row["hypothesis"]).replace("_", " "), None),
        "Probability": ("joint_probability", probability),
        "Verdict": (lambda row: badge(standing(row["joint_probability"])), None),
        "In words": (sentence, None),
    }


_PARTS: Layout = {
    "Inequality": ("part", None),
    "Estimand": ("estimate", lambda v: number(v, 4)),
    "Interval": (lambda row: bracket(row["lower"], row["upper"], 4), str),
    "ROPE": ("rope", lambda v: f"±{number(v, 3)}"),
    "Mass in ROPE": ("rope_mass", probability),
    "Probability": ("probability", probability),
}
