"""What a referee asks first, each with its answer and where the rest of it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from bayesmig.reporting.blocks import Block, HtmlTable, prose
from bayesmig.reporting.figures import Numbered
from bayesmig.reporting.findings import compared, theory_of_hypotheses
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.words import (
    badge,
    code,
    counted,
    listed,
    quoted,
    standing,
    verdict,
    without_weights,
)
from bayesmig.sensitivity import UNKNOWN

#: Checks of the main theory that ask whether its surveys look like this one.
_REPRODUCED = (
    *("posterior predictive shares", "posterior predictive crossed shares"),
    *("composition of choosers", "dispersion of origins", "spatial structure"),
    *("streams of households", "transitions"),
)
_CALIBRATED = ("calibration", "reliability, each row left out")
_BEFORE = ("prior predictive shares", "prior predictive shares by group")
_OF_POPULATION = (
    "draws that are corrected for how people were drawn describe the population, of which no row "
    "is left out"
)


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """What a referee asks, each with its answer and where the rest of it stands."""
    yield prose(
        "Of the main theory, {}. P-values of checks are adjusted for how many were looked at.",
        code(study.main),
    )
    answers = (
        ("Weights?", _weights(study), "survey"),
        ("Clustering?", _clustering(study), "checks"),
        ("Do single places decide it?", _one(study, "influential origins"), "checks"),
        ("Did the computation converge?", _one(study, "convergence"), "convergence"),
        ("Does the theory reproduce the survey?", _several(study, _REPRODUCED), "checks"),
        ("Calibrated?", _several(study, _CALIBRATED), "checks"),
        ("Which leave-one-out, and is it reliable?", _left_out(study), "theories"),
        ("Sensitive to priors?", _priors(study), "hypotheses"),
        ("Could this survey even tell?", _rehearsed(study), "rehearsal"),
    )
    rows = tuple(
        (question, answer, Markup('<a href="#{}">more</a>').format(anchor))
        for question, answer, anchor in answers
    )
    columns = (("Question", ""), ("Answer", "w"), ("", ""))
    yield HtmlTable(Markup("Questions and answers"), columns, rows)


def _weights(study: StudyFolder) -> Markup:
    notes = {str(t.get("name")): str(t.get("weights_note", "")) for t in study.theories}
    return Markup("{}.").format(notes.get(study.main) or "The study does not say")


def _sampled(study: StudyFolder) -> str:
    """The sampling design that draws were corrected for; empty where they were not."""
    return str(study.header("shares").get("sampling design", ""))


def _clustering(study: StudyFolder) -> Markup:
    if design := _sampled(study):
        return Markup(
            "Coefficients, shares and effects are corrected for {}. Whether choices are more alike "
            "within groups than the theory says is not asked of such draws."
        ).format(design)
    table = study.table("comparison")
    of = "" if "clusters" not in table or table.empty else str(table["clusters"].iloc[0])
    said = " Shares and effects know of no clustering but that of the theory's groups"
    errors = f"; standard errors of comparisons take units of one {of} together." if of else "."
    return _one(study, "clustering") + said + errors


def _checks(study: StudyFolder) -> pd.DataFrame:
    return study.table("checks", theory=study.main)


def _found(row: Mapping[Any, Any]) -> str:
    return verdict(row["passed"], row["text"])


def _one(study: StudyFolder, name: str) -> Markup:
    """What one check found."""
    table = _checks(study)
    for row in table[table["check"] == name].to_dict("records"):
        return Markup("{} {}").format(badge(_found(row)), without_weights(row["text"]))
    return Markup("{} This check was not made.").format(badge("not asked"))


def _several(study: StudyFolder, names: tuple[str, ...]) -> Markup:
    """What several checks found: in full where they fail, by name where they pass."""
    table = _checks(study)
    rows = table[table["check"].isin(names)].to_dict("records")
    of: dict[str, list[str]] = {}
    for row in rows:
        of.setdefault(_found(row), []).append(str(row["check"]))
    parts = [_one(study, name) for name in of.get("failed", ())]
    for word in ("passed", "not judged", "not asked"):
        if word in of:
            parts.append(Markup("{} {}.").format(badge(word), listed(of[word])))
    return Markup(" ").join(parts) or _one(study, names[0])


def _left_out(study: StudyFolder) -> Markup:
    if study.table("comparison").empty:
        return Markup("None: {}.").format(_OF_POPULATION if _sampled(study) else "of one theory")
    answers = [(q, Markup("{} {}").format(said, _reliable(t))) for q, t, said in compared(study)]
    if len(answers) == 1:
        return answers[0][1]
    return Markup("<br>").join(Markup("{}: {}").format(code(q), text) for q, text in answers)


def _reliable(table: pd.DataFrame) -> str:
    """What Pareto k says of the importance weights of one question, where there are any."""
    if table["pareto_k_max"].isna().all():
        return "Units were left out by refits: there are no importance weights and no Pareto k."
    high = int(table["pareto_k_high"].fillna(0).max())
    if high > 0:
        return f"Pareto k is too high for {counted(high, 'unit')} of a theory at most."
    return "Pareto k of the importance weights is low enough for every unit."


def _priors(study: StudyFolder) -> Markup:
    table = study.table("hypotheses", theory=theory_of_hypotheses(study))
    claims = table.drop_duplicates("hypothesis") if len(table) else table
    said: list[str] = []
    if len(claims):
        said = claims["joint_identification"].fillna("").astype(str).tolist()
    unknown = sum(word == UNKNOWN for word in said)
    leaning = sum(word not in ("", UNKNOWN) for word in said)
    text = (
        f"Of {counted(len(claims), 'claim')}, {leaning:,} rest on the prior in part, or are "
        "hardly told by the data"
    )
    text += f"; of {unknown:,} this is not known." if unknown else "."
    checks = Markup(" ").join([_several(study, _BEFORE), _one(study, "prior sensitivity")])
    return (Markup("{} ").format(text) if len(claims) else Markup()) + checks


def _rehearsed(study: StudyFolder) -> Markup:
    said = str(study.results.get("texts", {}).get("rehearsal", ""))
    if said:
        return Markup("{}{}").format(said, _decided_all_the_same(study))
    if _sampled(study):
        return Markup("Not known: surveys are rehearsed under {}.").format(
            code('weights = "estimand"')
        )
    return Markup(
        "Not known: the survey was not rehearsed. A table {} in the study file asks for it."
    ).format(code("[rehearsal]"))


def _decided_all_the_same(study: StudyFolder) -> Markup:
    """How a claim can be decided of which the survey could hardly tell."""
    can = study.table("rehearsal", theory=study.main).drop_duplicates("hypothesis")
    tells = dict(zip(can["hypothesis"], can["can"], strict=True))
    decided = []
    claims = study.table("hypotheses", theory=study.main).drop_duplicates("hypothesis")
    for row in claims.to_dict("records"):
        # A verdict that leans on the prior is one, too.
        stands = standing(row["joint_probability"], row["joint_identification"]).split(" ")[0]
        if tells.get(row["hypothesis"]) in _HARDLY.get(stands, ()):
            decided.append(Markup("{} is {}").format(quoted(row["claim"]), stands))
    if not decided:
        return Markup()
    return Markup(
        " Yet {}: to hardly tell is to have a low chance of deciding rightly, as seen before the "
        "data, and a verdict is about these data; it stands, but it owes to an effect larger than "
        "most that were rehearsed, or to luck."
    ).format(listed(decided))


#: Verdict -> what a rehearsal says of surveys that hardly ever reach it rightly.
_HARDLY = {"supported": ("no", "if not"), "contradicted": ("no", "if true")}
