"""The figure of an answer, whatever was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure

from bayesmig.errors import QuestionError
from bayesmig.plots.effects import effects_plot, estimates_plot
from bayesmig.plots.hypotheses import hypotheses_plot
from bayesmig.plots.scenarios import scenario_plot
from bayesmig.plots.style import PERCENT, POINTS, noted, scale_of
from bayesmig.plots.theories import comparison_plot, evidence_plot

_OWN = {
    *("alternative", "variable", "contrast", "quantity", "rows"),
    *("estimate", "sd", "lower", "upper", "probability_above"),
}
MOST = 60
"""More lines than this are no figure."""


class Answer(Protocol):
    """What `plot` needs of an answer; `bayesmig.predict.Effect` is one."""

    @property
    def summary(self) -> pd.DataFrame:
        """One row per number."""


def plot(
    answer: Answer | Mapping[str, Answer], *, alternatives: Sequence[str] | None = None
) -> Figure:
    """Draw predictions, comparisons, slopes, a counterfactual, a comparison, a test or a ratio.

    Parameters
    ----------
    answer
        Anything with a ``summary``: what the verbs of bayesmig return. Its ``header``
        names the unit and the interval, its ``question`` the title. Also a dictionary
        of tests.
    alternatives
        Alternatives to draw, in order; those of the summary where it is left out.

    Returns
    -------
    Figure
        Notebooks show it; ``figure.savefig("name.pdf")`` writes it. Below stands whether
        the draws are an approximation, or have not converged.

    Raises
    ------
    QuestionError
        Where the summary has nothing that can be drawn, or too many lines.
    """
    figure = _drawn(answer, alternatives)
    return noted(figure, note) if (note := _of_draws(answer)) else figure


def _drawn(answer: Answer | Mapping[str, Answer], alternatives: Sequence[str] | None) -> Figure:
    if isinstance(answer, Mapping):
        return _tests(answer)
    table: pd.DataFrame = answer.summary.reset_index(drop=True)
    header: Mapping[str, Any] = getattr(answer, "header", {})
    if "elpd" in table.columns:
        return comparison_plot(table)
    if "log_ratio" in table.columns:
        parameter, value = (getattr(answer, k) for k in ("parameter", "value"))
        if table["log_ratio"].isna().all():
            raise QuestionError(
                f"no ratio for {parameter} is known from these draws",
                mend="ask of a value that draws lie around",
            )
        return evidence_plot(table, title=f"Evidence that {parameter} is {value:g}")
    if "rope_mass" in table.columns:
        return hypotheses_plot(_hypothesis(table, answer))
    if not {"alternative", "estimate", "lower", "upper"} <= set(table.columns):
        raise QuestionError(
            "the answer holds no estimates by alternative; its columns are "
            + ", ".join(map(str, table.columns)),
            mend="draw what predictions, comparisons, slopes, counterfactual, compare, test or "
            "evidence_ratio return",
        )
    if alternatives is not None:
        table = table[table["alternative"].isin(list(alternatives))]
    return _effect(table, header, str(getattr(answer, "question", "")), alternatives)


def _of_draws(answer: Answer | Mapping[str, Answer]) -> str:
    """That draws are an approximation, or have not converged: said on the figure too."""
    answers = answer.values() if isinstance(answer, Mapping) else (answer,)
    headers = [getattr(one, "header", {}) for one in answers]
    said = [str(h["convergence"]) for h in headers if h.get("convergence")]
    # Others say it in their text, a comparison of each theory.
    text = " ".join(str(getattr(one, "text", "")) for one in answers)
    of = "of some theories " if any("elpd" in one.summary for one in answers) else ""
    said += [of + note for words, note in _IN_WORDS.items() if words in text]
    return f"Draws: {'; '.join(dict.fromkeys(said))}." if said else ""


_IN_WORDS = {
    "an approximation (preview": "an approximation (preview)",
    "not converged": "not converged, which was allowed",
}


def _effect(
    table: pd.DataFrame,
    header: Mapping[str, Any],
    question: str,
    alternatives: Sequence[str] | None,
) -> Figure:
    by = [c for c in table.columns if c not in _OWN]
    level = table[by].astype(str).agg(", ".join, axis=1) if by else pd.Series("", table.index)
    interval = str(header.get("interval", "interval"))
    theory = header.get("theory", "")
    title = question + (f" ({theory})" if theory else "")
    scale = scale_of(str(header.get("unit", "")))
    lines = table.assign(level=level, by=", ".join(by) if by else "all")
    _few(lines)
    if "quantity" in table.columns:
        return scenario_plot(lines, alternatives=alternatives, title=title, interval=interval)
    if {"variable", "contrast"} <= set(table.columns):
        return effects_plot(
            lines.rename(columns={"level": "group"}),
            alternatives=alternatives,
            scale=scale,
            title=title,
            interval=interval,
        )
    if "contrast" in table.columns:
        lines = lines.assign(by="contrast", level=table["contrast"])
        scale = POINTS if scale is PERCENT else scale
    return estimates_plot(
        lines, alternatives=alternatives, scale=scale, title=title, interval=interval
    )


def _few(lines: pd.DataFrame) -> None:
    keys = [c for c in ("variable", "contrast", "by", "level") if c in lines.columns]
    if (count := len(lines[keys].drop_duplicates())) > MOST:
        raise QuestionError(
            f"the answer has {count:,} lines, more than {MOST} cannot be read",
            mend="ask by fewer or coarser columns",
        )


def _tests(answers: Mapping[str, Answer]) -> Figure:
    if not answers or any("rope_mass" not in a.summary.columns for a in answers.values()):
        raise QuestionError("only tests can be drawn together", mend="draw the answers one by one")
    parts = [_hypothesis(a.summary.reset_index(drop=True), a) for a in answers.values()]
    return hypotheses_plot(pd.concat(parts, ignore_index=True))


def _hypothesis(table: pd.DataFrame, answer: Answer) -> pd.DataFrame:
    """A hypothesis's summary with the columns that study tables have."""
    known = {
        "hypothesis": getattr(answer, "name", "hypothesis"),
        "joint_probability": getattr(answer, "probability", float("nan")),
        "joint_identification": getattr(answer, "identification", ""),
        "part": table.get("estimand", getattr(answer, "statement", "")),
        "rope": 0.0,
    }
    return table.assign(**{k: v for k, v in known.items() if k not in table.columns})
