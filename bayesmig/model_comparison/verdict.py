"""What a comparison says in words: what the data separate, what they cannot, what would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.explanation.words import listed
from bayesmig.model_comparison.left_out import Estimate
from bayesmig.model_comparison.separation import (
    MANY,
    Sums,
    above_middle,
    by_chance,
    middle_of,
)
from bayesmig.posterior import Posterior

Array = NDArray[np.float64]
#: Differences of elpd that say nothing, in nats and in standard errors.
SMALL, FEW_ERRORS = 4.0, 2.0
#: Units below which a normal approximation to their sum is not to be trusted, clusters below
#: which their number is said, and the share of units with unreliable estimates above which
#: nothing is claimed.
_FEW_UNITS, _FEW_CLUSTERS, _MANY_HIGH = 100, 40, 0.1
#: Standard errors below which a difference has no pace that could be followed, and surveys of
#: so many times the size are not planned.
_NO_PACE, _MANY_TIMES = 0.5, 20.0


@dataclass(frozen=True)
class Asked:
    """What was asked.

    Attributes
    ----------
    question
        As given to `compare`.
    unit
        What is left out at a time: ``obs`` or a role.
    method
        How, in words.
    weights
        What was done with survey weights, in words.
    """

    question: str
    unit: str
    method: str
    weights: str


def errors_needed(sums: Sums) -> float:
    """Standard errors that tell theories apart: of few clusters more, as of Student's t."""
    from scipy.stats import norm, t

    return float(t.ppf(norm.cdf(FEW_ERRORS), sums.degrees_of_freedom))


def verdict(
    summary: pd.DataFrame,
    found: Mapping[str, Estimate],
    good_k: Mapping[str, float],
    posteriors: Mapping[str, Posterior],
    sums: Sums,
    asked: Asked,
) -> str:
    """First what makes a comparison unreliable, then what it says, then what was asked."""
    n_units = len(next(iter(found.values())).elpd)
    says = _allowed(posteriors)
    says += [
        _unreliable(r, good_k[str(r.theory)], n_units, asked)
        for r in summary[summary["pareto_k_high"] > 0].itertuples()
    ]
    says += dict.fromkeys(text for estimate in found.values() for text in estimate.cautions)
    says += _claims(summary, found, good_k, sums)
    says += _selection(summary, found, sums)
    says += _few(n_units, sums, asked)
    if "importance weights" in asked.method:
        says += _conditional(found, posteriors, asked)
    says += _said(found, n_units, sums, asked)
    return " ".join(says)


def _claims(
    summary: pd.DataFrame,
    found: Mapping[str, Estimate],
    good_k: Mapping[str, float],
    sums: Sums,
) -> Iterator[str]:
    """How the best theory stands to the others, as far as the estimates carry it."""
    best, needed = str(summary["theory"].iloc[0]), errors_needed(sums)
    high = {name: estimate.pareto_k > good_k[name] for name, estimate in found.items()}
    unknown, close, behind = [], [], []
    for row in summary.iloc[1:].itertuples():
        name = str(row.theory)
        gap = found[name].elpd - found[best].elpd
        inexact = found[name].inexact + found[best].inexact
        if _cannot_separate(row.elpd_diff, row.diff_se, needed):
            close.append(row)
        elif _inexact(gap, inexact, sums) or rests_on(gap, high[best] | high[name], sums):
            unknown.append(row)
        else:
            behind.append(row)
    if unknown:
        yield f"Whether {best!r} predicts better than {_against(unknown, 'or')} is not known."
    if close:
        yield f"The data cannot separate {best!r} from {_against(close, 'or')}."
        size = len(found[best].elpd), "like these"
        if sums.by:
            size = sums.n_clusters, f"clusters ({sums.by}) like these"
        yield from _what_would(close, size, needed)
    if behind:
        yield f"{best!r} predicts better than {_against(behind, 'and')}."


def _what_would(close: Sequence[Any], size: tuple[int, str], needed: float) -> Iterator[str]:
    """How much more of the same would separate theories, if anything would."""
    hopeless = []
    for row in close:
        times = times_as_many(abs(row.elpd_diff), row.diff_se, needed)
        if not times <= _MANY_TIMES:
            hopeless.append(repr(row.theory))
            continue
        yield (
            f"At the same pace, {times:,.1f} times as many {size[1]} (about "
            f"{max(1, round((times - 1) * size[0])):,} more) would set {row.theory!r} apart; but "
            "that pace is itself no better known than the difference, and may be none."
        )
    if hopeless:
        yield (
            f"More of the same data would hardly set {' or '.join(hopeless)} apart: ask about "
            "people for whom the theories differ."
        )


def times_as_many(difference: float, error: float, needed: float) -> float:
    """Of the size, at which a difference would count that grew with it, its error with the root."""
    if not error > 0 or difference < _NO_PACE * error or difference <= 0:
        return float("inf")
    return float(max((needed * error / difference) ** 2, SMALL / difference, 1.0))


def _selection(summary: pd.DataFrame, found: Mapping[str, Estimate], sums: Sums) -> Iterator[str]:
    """What the best of many owes to being chosen; theories of ``summary`` stand best first."""
    if len(summary) <= MANY:
        return
    elpd = summary["elpd"].to_numpy()
    middle = found[str(summary["theory"].iloc[middle_of(len(summary))])].elpd
    errors = np.array([sums.error(found[str(t)].elpd - middle) for t in summary["theory"]])
    chance, lead = by_chance(elpd, errors), float(above_middle(elpd)[0])
    says = (
        f"The best of {len(summary)} theories owes part of its elpd to being chosen: of theories "
        f"that all predict alike the best would exceed the middle one by about {chance:.1f} by "
        f"chance, and this one does by {lead:.1f}"
    )
    if lead <= chance:
        yield f"{says}: that it is best may be chance alone."
    else:
        yield f"{says}. Its elpd is too high by an unknown part of that."


def _few(n_units: int, sums: Sums, asked: Asked) -> Iterator[str]:
    held = f"differences are held to {errors_needed(sums):.1f} of them"
    if sums.by and sums.n_clusters < _FEW_CLUSTERS:
        yield (
            f"There are {sums.n_clusters} clusters ({sums.by}) only: standard errors are rough, "
            f"and {held}."
        )
    elif n_units < _FEW_UNITS:
        yield (
            f"Standard errors of differences between {n_units:,} units are not to be trusted: "
            f"they lean on a normal approximation that needs {_FEW_UNITS} or more; {held}."
        )


def _conditional(
    found: Mapping[str, Estimate], posteriors: Mapping[str, Posterior], asked: Asked
) -> Iterator[str]:
    """What importance weights cannot do where effects are as their draws have them."""
    if any(
        p.design.has_effects_of(asked.unit) and "integrated" not in found[name].effects
        for name, p in posteriors.items()
    ):
        yield (
            f"A theory with effects of each {asked.unit} predicts a left-out one from weights "
            "alone, which is a hard task for them: trust it only where Pareto k is low."
        )


def _said(found: Mapping[str, Estimate], n_units: int, sums: Sums, asked: Asked) -> Iterator[str]:
    """What was asked, and how."""
    yield f"Asked: which theory predicts {of_question(asked)}."
    what = "one row" if asked.unit == "obs" else f"all rows of one {asked.unit}"
    if asked.question == "period":
        yield f"Predicted: the {n_units:,} rows {asked.method}."
    else:
        yield f"Left out at a time: {what} ({n_units:,} in all), {asked.method}."
    texts: dict[str, list[str]] = {}
    for name, estimate in found.items():
        texts.setdefault(estimate.effects, []).append(name)
    for text, names in texts.items():
        whose = "" if len(texts) == 1 else f" ({', '.join(names)})"
        yield f"{text[0].upper()}{text[1:]}{whose}."
    yield asked.weights
    if sums.by:
        yield f"Standard errors take units of one {sums.by} together ({sums.n_clusters:,} in all)."
    if sums.n_split:
        yield (
            f"Units in several are counted with that of most of their rows ({sums.n_split:,} of "
            f"{n_units:,})."
        )


def of_question(asked: Asked) -> str:
    """The question in words."""
    match asked.question:
        case "obs":
            return "a new choice situation of people and places that are known"
        case "person":
            return "a new person in a place that is known"
        case "period":
            return "the next period, from those before it"
        case role:
            return f"a new {role}, of which nothing is known but its columns"


def _allowed(posteriors: Mapping[str, Posterior]) -> list[str]:
    """Theories whose draws are approximations, or have not converged, which was allowed."""
    problems = {name: "; ".join(p.problems()) for name, p in posteriors.items()}
    found = [
        f"the draws of {name!r} have not converged: {text}"
        for name, text in problems.items()
        if text
    ]
    says = [f"Allowed although {', and '.join(found)}."] if found else []
    says += [
        f"The draws of {name!r} are {p.approximation}."
        for name, p in posteriors.items()
        if p.is_preview
    ]
    return says


def rests_on(gap: Array, high: NDArray[np.bool_], sums: Sums) -> bool:
    """Whether a difference is none without the units whose estimates are unreliable."""
    if not high.any() or high.mean() > _MANY_HIGH:
        return bool(high.any())
    weighted = sums.weighted(gap)
    left, error = weighted[~high].sum(), sums.error(gap, ~high)
    return _cannot_separate(left, error, errors_needed(sums)) or bool(left * weighted.sum() < 0)


def _inexact(gap: Array, inexact: float, sums: Sums) -> bool:
    """Whether a difference is no more than what integrals of both theories leave open."""
    return bool(abs(sums.weighted(gap).sum()) <= inexact)


def _cannot_separate(difference: Any, error: Any, needed: float) -> bool:
    return bool(abs(difference) < SMALL or abs(difference) < needed * error)


def _against(rows: Sequence[Any], last: str) -> str:
    return listed((f"{row.theory!r} ({_gap(row)})" for row in rows), last)


def _gap(row: Any) -> str:
    behind = abs(row.elpd_diff)
    text = f"elpd lower by {behind:.1f}, standard error {row.diff_se:.1f}"
    if row.diff_se > 0:
        text += f", {behind / row.diff_se:.1f} of them"
    return text


def _unreliable(row: Any, good_k: float, n_units: int, asked: Asked) -> str:
    mend = (
        f"fit again without them (question = {asked.question!r}, folds = 10)"
        if asked.unit != "obs"
        else "fit again without these rows and predict them (folds = 10), or sample more draws"
    )
    return (
        f"Leave-one-out is unreliable for {row.theory!r} at {row.pareto_k_high:,} of {n_units:,} "
        f"(Pareto k above {good_k:.2f}, up to {row.pareto_k_max:.2f}): {mend}."
    )
