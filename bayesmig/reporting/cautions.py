"""What to be careful with: problems first, then what weakens results, then notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from bayesmig.plots.numbers import number
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.words import code, count, counted, listed, percent, verdict, without_weights

LEVELS = ("problem", "caution", "note")


@dataclass(frozen=True, slots=True)
class Caution:
    """One thing to be careful with.

    Attributes
    ----------
    level
        ``problem``: results should not be used as they are; ``caution``: they are
        weaker than they look; ``note``: how to read them.
    text
        What it is.
    source
        The table behind it, if any.
    """

    level: str
    text: Markup
    source: str = ""


def cautions(study: StudyFolder) -> list[Caution]:
    """Everything to be careful with, worst first."""
    makers = (_convergence, _checks, _pareto, _support, _survey, _theories, _notes)
    found = dict.fromkeys(caution for make in makers for caution in make(study))
    return sorted(found, key=lambda c: LEVELS.index(c.level))


def _convergence(study: StudyFolder) -> Iterator[Caution]:
    table = study.table("convergence")
    said = {str(t.get("name")): t.get("problems", ()) for t in study.theories}
    failed = {
        str(r["theory"]) for r in table.to_dict("records") if verdict(r["passed"]) == "failed"
    }
    for theory in dict.fromkeys([*said, *failed]):
        problems = [str(p) for p in said.get(theory, ())]
        if not problems and theory not in failed:
            continue
        why = "; ".join(problems) or "a threshold is broken"
        text = Markup(
            "{} has not converged: {}. Nothing that rests on its draws can be trusted."
        ).format(code(theory), why)
        yield Caution("problem", text, "convergence")


def _checks(study: StudyFolder) -> Iterator[Caution]:
    failed: dict[str, list[str]] = {}
    for row in study.table("checks").to_dict("records"):
        if verdict(row["passed"]) != "failed" or row["check"] == "convergence":
            continue
        if str(row["theory"]) != study.main:
            failed.setdefault(str(row["theory"]), []).append(str(row["check"]))
            continue
        # That the prior has a say weakens what is said, and makes none of it wrong.
        level = "caution" if row["check"] == "prior sensitivity" else "problem"
        said = without_weights(row["text"])
        text = Markup("{} fails the check “{}”. {}").format(code(row["theory"]), row["check"], said)
        yield Caution(level, text, "checks")
    for theory, checks in failed.items():
        listed_ = listed([Markup("“{}”").format(name) for name in checks])
        text = Markup("{} fails {}: {}.").format(
            code(theory), counted(len(checks), "check"), listed_
        )
        yield Caution("caution", text, "checks")


def _pareto(study: StudyFolder) -> Iterator[Caution]:
    table = study.table("comparison")
    # Of refits there is no Pareto k.
    for row in table[table["pareto_k_high"].fillna(0) > 0].to_dict("records"):
        text = Markup(
            "{}: the leave-one-out estimate is unreliable for {} (Pareto k up to {})."
        ).format(
            code(row["theory"]), counted(row["pareto_k_high"], "unit"), number(row["pareto_k_max"])
        )
        yield Caution("caution", text, "comparison")


def _support(study: StudyFolder) -> Iterator[Caution]:
    for scenario in study.scenarios:
        for warning in scenario.get("warnings", ()):
            text = Markup("Scenario {}: {}").format(code(scenario.get("name")), warning)
            yield Caution("caution", text, "scenarios")


def _survey(study: StudyFolder) -> Iterator[Caution]:
    for warning in study.results.get("survey", {}).get("warnings", ()):
        yield Caution("caution", Markup("Survey: {}").format(warning))
    rows = {str(r["what"]): r["n"] for r in study.table("survey_rows").to_dict("records")}
    try:
        dropped, read = (float(rows[k]) for k in ("rows dropped", "rows read"))
    except (KeyError, TypeError, ValueError):
        return
    if dropped > 0:
        text = "{} of {} rows read ({}) were dropped; results speak for the rest."
        share = percent(dropped / read, 1 if dropped / read >= 0.01 else 2)
        yield Caution(
            "note", Markup(text).format(count(dropped), count(read), share), "survey_rows"
        )


def _theories(study: StudyFolder) -> Iterator[Caution]:
    for theory in study.theories:
        for warning in theory.get("warnings", ()):
            yield Caution("caution", Markup("{}: {}").format(code(theory.get("name")), warning))


def _notes(study: StudyFolder) -> Iterator[Caution]:
    notes: dict[str, list[Any]] = {}
    for theory in study.theories:
        if note := str(theory.get("weights_note", "")):
            notes.setdefault(note, []).append(theory.get("name"))
    for note, names in notes.items():
        of = "" if len(notes) == 1 else f" ({', '.join(map(str, names))})"
        yield Caution("note", Markup("Weights{}: {}.").format(of, note.rstrip(".")))
    if "effects" in study.tables or "hypotheses" in study.tables:
        yield Caution(
            "note",
            Markup(
                "Differences between people are associations under a theory. Whether changing "
                "somebody would change their choice is another question."
            ),
        )
    if study.scenarios:
        yield Caution(
            "note",
            Markup(
                "Scenarios are static: what migration itself would change is held as it is. "
                "They take the theory's associations for what would happen in a changed world, "
                "and are no forecast."
            ),
        )


def worst(found: list[Caution]) -> Mapping[str, int]:
    """How many there are of each level."""
    return {level: sum(c.level == level for c in found) for level in LEVELS}
