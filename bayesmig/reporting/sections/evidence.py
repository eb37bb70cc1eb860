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

#: Checks of the main theory that ask whether its surveys look like this one.
_REPRODUCED = (
    *("posterior predictive shares", "posterior predictive crossed shares"),
    *("composition of choosers", "dispersion of origins", "spatial structure"),
    *("streams of households", "transitions"),
)
_CALIBRATED = ("calibration", "reliability, each row left out")


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """What a referee asks, each with its answer and where the rest of it stands."""
    yield prose(
        "Of the main theory, {}. P-values of checks are adjusted for how many were looked at.",
        code(study.main),
    )
    answers = (
        ("Weights?", _weights(study), "survey"),
        ("Clustering?", _clustering(study), "checks"),
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
    design = str(study.header("shares").get("sampling design", ""))
    said = [notes.get(study.main, ""), design and f"corrected for {design}"]
    return Markup("{}.").format("; ".join(filter(None, said)) or "The study does not say")


def _clustering(study: StudyFolder) -> Markup:
    table = study.table("comparison")
    of = "" if "clusters" not in table or table.empty else str(table["clusters"].iloc[0])
    errors = Markup(" Standard errors of comparisons take units of one {} together.").format(of)
    return _one(study, "clustering") + (errors if of else Markup())


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
        return Markup("Theories were not compared.")
    answers = [(q, Markup("{} {}").format(said, _reliable(t))) for q, t, said in compared(study)]
    if len(answers) == 1:
        return answers[0][1]
    return Markup(" ").join(Markup("{}: {}").format(code(q), text) for q, text in answers)


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
    said = claims["joint_identification"].astype(str) if len(claims) else pd.Series(dtype=str)
    leaning = int((~said.isin(("", "nan", "None"))).sum())
    text = Markup(" Of {}, {} rest on the prior in part, or are hardly told by the data.").format(
        counted(len(claims), "claim"), leaning
    )
    return _one(study, "prior sensitivity") + (text if len(claims) else Markup())


def _rehearsed(study: StudyFolder) -> Markup:
    said = str(study.results.get("texts", {}).get("rehearsal", ""))
    if said:
        return Markup("{}{}").format(said, _decided_all_the_same(study))
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
