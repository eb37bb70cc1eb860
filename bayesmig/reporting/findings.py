"""What a study found, in plain sentences made from its numbers.

Differences between people are told as differences: nothing here says that one thing
makes another happen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from bayesmig.plots.numbers import number, probability
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.networks import Family, families
from bayesmig.reporting.readings import reading
from bayesmig.reporting.words import (
    STANDINGS,
    badge,
    bracket,
    code,
    count,
    counted,
    leaves_out_zero,
    listed,
    percent,
    points,
    quoted,
    signed_points,
    standing,
)

#: Verdicts that leave a claim open, whose claims are listed together.
_OPEN = ("undecided", "weakly identified", "undecided and weakly identified", "cannot be asked")
#: The question of a study that asks none.
_FIRST = "person"
#: Associations named per alternative.
MOST_NAMED = 4
#: The words of `bayesmig.model_comparison`: a smaller difference of elpd, or one of fewer
#: standard errors, separates no theories.
SMALL, FEW_ERRORS = 4.0, 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes
    ----------
    lead
        What it is about, in a few words.
    text
        One or a few sentences.
    sources
        The tables that the numbers are from.
    parts
        Further sentences, as a list below.
    """

    lead: str
    text: Markup
    sources: tuple[str, ...] = ()
    parts: tuple[Markup, ...] = ()


def findings(study: StudyFolder) -> list[Finding]:
    """What there is to say, in the order of the report."""
    makers = (_survey, _theories, _hypotheses, _associations, _networks, _scenarios)
    return [finding for make in makers for finding in make(study)]


# ---------------------------------------------------------------------------- survey


def _survey(study: StudyFolder) -> Iterator[Finding]:
    shares = study.table("survey_shares")
    if shares.empty:
        return
    weighted = "weighted_share" in shares and shares["weighted_share"].notna().all()
    column = "weighted_share" if weighted else "share"
    shown = zip(shares["alternative"], shares[column], strict=True)
    first, *others = (
        (percent(share, 1 if share >= 0.1 else 2), code(alternative))
        for alternative, share in shown
    )
    parts = [Markup("{} chose {}").format(*first), *(Markup("{} {}").format(*o) for o in others)]
    survey = study.results.get("survey", {})
    text = Markup("{}: {} choice situations{}. {} {}.").format(
        survey.get("title") or "Survey",
        count(survey.get("rows", shares["rows"].sum())),
        _dropped(study),
        "In the population that the weights stand for," if weighted else "Of the rows,",
        listed(parts),
    )
    sources = ("survey_shares", "survey_rows") if _dropped(study) else ("survey_shares",)
    yield Finding("The survey", text, sources)


def _dropped(study: StudyFolder) -> str:
    rows = dict(
        zip(*(study.table("survey_rows")[c].astype(str) for c in ("what", "n")), strict=True)
    )
    dropped, read = rows.get("rows dropped", "0"), rows.get("rows read", "")
    if dropped in ("0", "0.0") or not read:
        return ""
    return f" ({count(dropped)} of {count(read)} rows read were dropped)"


# -------------------------------------------------------------------------- theories


def _theories(study: StudyFolder) -> Iterator[Finding]:
    table = study.table("comparison")
    said = str(study.results.get("texts", {}).get("comparison", ""))
    if said:
        yield Finding("Which theory", Markup("{}").format(said), ("comparison",))
    elif len(table) > 1:
        if "question" in table:
            table = table[table["question"] == table["question"].iloc[0]]
        yield Finding("Which theory", separation(table), ("comparison",))


def compared(study: StudyFolder) -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Every question that theories were compared by, its table, and what was found in words."""
    table, texts = study.table("comparison"), study.results.get("texts", {})
    said = texts.get("comparisons") or {_FIRST: texts.get("comparison", "")}
    if "question" not in table:
        table = table.assign(question=_FIRST)
    for question, part in table.groupby("question", sort=False):
        yield str(question), part, said.get(question) or separation(part)


def separation(table: pd.DataFrame) -> Markup:
    """Whether the data tell theories apart, from the differences of elpd."""
    table = table.sort_values("elpd", ascending=False, kind="stable")
    best = table.iloc[0]
    close: list[Markup] = []
    far: list[Markup] = []
    for row in table.iloc[1:].to_dict("records"):
        behind, error = best["elpd"] - row["elpd"], abs(row["diff_se"])
        text = Markup("{} ({} behind, standard error {})").format(
            code(row["theory"]), number(behind, 1), number(error, 1)
        )
        (far if behind >= max(SMALL, FEW_ERRORS * error) else close).append(text)
    parts = [Markup("{} predicts best.").format(code(best["theory"]))]
    if close:
        parts.append(Markup("The data cannot separate it from {}.").format(listed(close)))
    if far:
        parts.append(Markup("It predicts clearly better than {}.").format(listed(far)))
    return Markup(" ").join(parts)


def _hypotheses(study: StudyFolder) -> Iterator[Finding]:
    theory = theory_of_hypotheses(study)
    table = study.table("hypotheses", theory=theory).drop_duplicates("hypothesis")
    if table.empty:
        return
    found = [(_standing(row), row) for row in table.to_dict("records")]
    parts: list[Markup] = []
    for word in STANDINGS:
        rows = [row for stands, row in found if stands == word]
        open_ = word in _OPEN and len(rows) > 1
        parts += [_undecided(word, rows)] if open_ else [_claim(study, row) for row in rows]
    text = Markup(
        "{} tested under {}. A verdict and its posterior probability (supported from 0.95 on, "
        "contradicted up to 0.05, weakly identified where the data add little to what the prior "
        "says) are about the association that the table spells out, alternatives "
        "compared in relation to their own probabilities. The theory's claim, in quotation "
        "marks, may say more: associations are not causes."
    ).format(counted(len(table), "claim"), code(theory))
    yield Finding("Hypotheses", text, ("hypotheses",), tuple(parts))


def _standing(row: Mapping[Any, Any]) -> str:
    return standing(row["joint_probability"], row["joint_identification"])


def _claim(study: StudyFolder, row: Mapping[Any, Any]) -> Markup:
    stands, said = _standing(row), str(row["joint_identification"])
    beside = f"; {said}" if said and stands != "weakly identified" else ""
    return Markup("{} {} ({}{}). Tested: {}.{}").format(
        badge(stands),
        quoted(row["claim"]),
        probability(row["joint_probability"]),
        beside,
        reading(str(row["statement"])),
        _rehearsed(study, row, stands),
    )


def _rehearsed(study: StudyFolder, row: Mapping[Any, Any], stands: str) -> str:
    """How often simulated surveys give this verdict where it is right, and where it is wrong."""
    verb = {"supported": "support", "contradicted": "contradict"}.get(stands.split(" ")[0])
    table = study.table("rehearsal", theory=row["theory"], hypothesis=row["hypothesis"])
    if verb is None or table.empty or (table["can"] == "not known").any():
        return ""
    holds = table["truth"] == "holds"
    right = holds if verb == "support" else ~holds
    shares = (
        _of_worlds(table[right].iloc[0], "rightly"),
        _of_worlds(table[~right].iloc[0], "wrongly"),
    )
    stated = study.header("rehearsal").get("truths", "").startswith("coefficients as stated")
    worlds = "worlds of the stated effects" if stated else "worlds"
    where = ("where it holds", "where it does not")[:: 1 if verb == "support" else -1]
    return (
        f" Rehearsed, surveys like this one {verb} it, by the probability alone, in {shares[0]} of "
        f"{worlds} {where[0]}, and in {shares[1]} {where[1]}."
    )


def _of_worlds(row: pd.Series, what: str) -> str:
    """A share of rehearsed surveys with its interval: ``90 % [60, 98]``."""
    low, high = (100 * row[f"{what}_{end}"] for end in ("lower", "upper"))
    return f"{percent(row[what], 0)} {bracket(low, high, 0)}"


def _undecided(word: str, rows: list[dict[Any, Any]]) -> Markup:
    """Claims that the data leave open, in one paragraph: the table has what each says."""
    claims = [
        Markup("{} ({})").format(quoted(row["claim"]), probability(row["joint_probability"]))
        for row in rows
    ]
    return Markup("{} {}.").format(badge(word), Markup("; ").join(claims))


def theory_of_hypotheses(study: StudyFolder) -> str:
    """The main theory where it states hypotheses, else the last that does."""
    stated = list(study.table("hypotheses")["theory"].astype(str).unique())
    return study.main if study.main in stated or not stated else stated[-1]


# ------------------------------------------------------------------------- differences


def _associations(study: StudyFolder) -> Iterator[Finding]:
    table = study.table("effects", kind="comparison")
    if table.empty:
        return
    parts = [
        part
        for alternative in study.alternatives
        if alternative != commonest(study) and (part := _of_alternative(study, table, alternative))
    ]
    text = Markup(
        "Average differences of predicted probabilities under {}, in percentage points with "
        "{}, other columns as they are. They describe who chooses what; they do not say what "
        "would happen if somebody were changed."
    ).format(code(study.main), study.interval)
    yield Finding("Who chooses what", text, ("effects", "shares"), tuple(parts))


def commonest(study: StudyFolder) -> str:
    """The alternative with the largest share: what is gained elsewhere is lost there."""
    shares = study.table("survey_shares")
    if shares.empty:
        return study.alternatives[0] if study.alternatives else ""
    return str(shares["alternative"].iloc[int(shares["share"].to_numpy(dtype=float).argmax())])


def _of_alternative(study: StudyFolder, table: pd.DataFrame, alternative: str) -> Markup | None:
    part = table[table["alternative"].astype(str) == alternative]
    if part.empty:
        return None
    clear = np.array(
        [leaves_out_zero(a, b) for a, b in zip(part["lower"], part["upper"], strict=True)]
    )
    strong = part[clear].sort_values("estimate", key=abs, ascending=False, kind="stable")
    said = _ways(study, strong.head(MOST_NAMED))
    if len(strong) > MOST_NAMED:
        said.append(Markup("{} more have a clear sign").format(len(strong) - MOST_NAMED))
    if unclear := [code(v) for v in dict.fromkeys(part[~clear]["variable"])]:
        said.append(Markup("the sign is unclear for {}").format(listed(unclear)))
    return Markup("<strong>{}</strong>{}: {}.").format(
        alternative, _predicted(study, alternative), Markup("; ").join(said)
    )


def _ways(study: StudyFolder, strong: pd.DataFrame) -> list[Markup]:
    """Where an alternative is more probable, and where less."""
    rows = strong.to_dict("records")
    said = []
    for word, sign in (("more", 1), ("less", -1)):
        named = [_difference(study, row) for row in rows if sign * row["estimate"] > 0]
        if named:
            said.append(Markup("it is {} probable with {}").format(word, listed(named)))
    return said


def _predicted(study: StudyFolder, alternative: str) -> str:
    shares = study.table("shares", by="all", alternative=alternative)
    return "" if shares.empty else f" (average share {percent(shares['estimate'].iloc[0], 2)})"


def _difference(study: StudyFolder, row: Mapping[Any, Any]) -> Markup:
    numbers = signed_points(row["estimate"], row["lower"], row["upper"])
    label = study.labels.get(str(row["variable"]))
    meaning = f"{label}; " if label else ""
    return Markup("{} {} ({}{})").format(code(row["variable"]), row["contrast"], meaning, numbers)


def _networks(study: StudyFolder) -> Iterator[Finding]:
    for family in families(study):
        if family.prefix == "network":
            unit = "per unit of a network" if family.kind == "slope" else "for one unit more"
            text = Markup(
                "Differences of the average probability in percentage points {}, with {}. {}"
            ).format(unit, study.interval, _units(study, family))
            parts = tuple(_outcome(family, outcome) for outcome in family.columns)
            yield Finding("Networks, own and other", text, ("effects",), parts)


def _units(study: StudyFolder, family: Family) -> Markup:
    """What one unit of each network is."""
    said = [
        Markup("{}: {}{}.").format(
            code(column["column"]),
            column["description"],
            Markup("; {}").format(code(column["codebook"])) if column["codebook"] else "",
        )
        for column in study.columns
        if column["column"] in family.columns.values() and column["description"]
    ]
    return Markup(" ").join(said)


def _outcome(family: Family, outcome: str) -> Markup:
    cells = []
    for network, variable in family.columns.items():
        for row in family.effect(outcome, network).to_dict("records"):
            which = "own network" if network == outcome else "other network"
            numbers = signed_points(row["estimate"], row["lower"], row["upper"])
            unclear = "" if leaves_out_zero(row["lower"], row["upper"]) else ", sign unclear"
            cells.append(Markup("{} {} ({}{})").format(which, code(variable), numbers, unclear))
    return Markup("<strong>{}</strong>: {}.").format(outcome, Markup("; ").join(cells))


# -------------------------------------------------------------------------- scenarios


def _scenarios(study: StudyFolder) -> Iterator[Finding]:
    table = study.table("scenarios", by="all", quantity="difference")
    parts = []
    for scenario in study.scenarios:
        rows = table[table["scenario"].astype(str) == str(scenario.get("name"))]
        if rows.empty:
            continue
        changes = [
            Markup("{} {}").format(
                code(row["alternative"]), points(row["estimate"], row["lower"], row["upper"])
            )
            for row in rows.to_dict("records")
        ]
        changes += _diverted(study, str(scenario.get("name")))
        title = scenario.get("title") or scenario.get("name")
        parts.append(Markup("<strong>{}</strong>: {}.").format(title, Markup("; ").join(changes)))
    if parts:
        text = Markup(
            "Predicted average shares with each scenario minus without it, as far as the "
            "associations of {} would hold in the changed world. Static: networks and earlier "
            "moves do not react. This is no forecast."
        ).format(code(study.main))
        sources = ("scenarios",) + (("diversion",) if "diversion" in study.tables else ())
        yield Finding("What the scenarios would change", text, sources, tuple(parts))


def _diverted(study: StudyFolder, scenario: str) -> list[Markup]:
    """Where those turn who leave an alternative, the commonest one apart."""
    table = study.table("diversion", scenario=scenario)
    table = table[(table["target"] != commonest(study)) & table["estimate"].notna()]
    return [
        Markup(
            "of those who leave {}, {} [{}, {}] turn to {} ({} if in proportion to shares)"
        ).format(
            code(row["source"]),
            percent(row["estimate"], 0),
            *(number(100 * row[bound], 0) for bound in ("lower", "upper")),
            code(row["target"]),
            percent(row["iia_estimate"], 0),
        )
        for row in table.to_dict("records")
    ]
