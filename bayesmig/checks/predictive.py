"""Does the theory reproduce observed shares, in columns that it knows and that it does not?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.replicate import Cells, Choices, Statistic, make_shares
from bayesmig.checks.result import (
    ALARM,
    CheckResult,
    Judgement,
    central,
    judge,
    not_asked,
    percent,
    stabilised,
    tabled,
)
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError
from bayesmig.posterior import Posterior
from bayesmig.predict import bins, make_cells, theory_columns

Array = NDArray[np.float64]
SHARES, SPREAD = "posterior predictive shares", "clustering"
SHARES_KIND, SPREAD_KIND = "predictive_shares", "predictive_spread"
_NUMBERS = ("observed", "predicted", "lower", "upper", "p_value", "p_adjusted")
SHARES_COLUMNS = ("by", "level", "alternative", *_NUMBERS, "rows")
SPREAD_COLUMNS = ("by", "alternative", *_NUMBERS, "groups")
#: Columns looked at where none is named, and levels of one of them.
MOST_COLUMNS, MOST_LEVELS = 30, 30
#: Levels of a column that was named.
_LEVELS_BOUND = 5_000
#: Choosers of an alternative, and of the others, that a share needs to be tested.
_LEAST_EXPECTED = 5
_IDENTIFIERS = ("choice", "person", "household", "origin", "weight", "strata", "psu")
#: Roles within which choices may be more alike than the theory says.
_CLUSTERS = ("origin", "region", "household", "person")
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Breakdown:
    """The cells of one column.

    Attributes
    ----------
    by
        ``all``, a column, or ``origin size``.
    levels
        Label of every cell.
    cells
        The cells.
    """

    by: str
    levels: tuple[str, ...]
    cells: Cells = field(repr=False)


# --------------------------------------------------------------------------- by columns


def breakdowns(posterior: Posterior, by: Sequence[str] | None) -> list[Breakdown]:
    """What shares are broken down by: everybody, the columns, and sizes of groups.

    Parameters
    ----------
    posterior
        Draws of a theory.
    by
        Columns; ``None``: those of the theory, then those of the survey beside it, at
        most 30 in all. Left out then are identifiers (persons, households, origins,
        weights, strata, sampling units, text with more than 30 levels), columns that do
        not vary, and columns that tell the choice itself, where every cell holds one
        alternative (a destination).

    Returns
    -------
    list of Breakdown
        Sizes are the number of rows in the row's own origin and in every other group
        whose effects the theory has. Numbers with more than ten values are cut at their
        quintiles.

    Raises
    ------
    QuestionError
        Where a named column is not there, or has more than 5,000 levels.
    """
    design, frame = posterior.design, posterior.frame
    everybody = make_shares(
        np.zeros(len(frame), dtype=np.int64), 1, len(design.alternatives), design.weights
    )
    found = [Breakdown("all", ("all",), everybody)]
    if by is None:
        columns = _default(posterior, frame)
    else:
        columns = [_breakdown(design, frame, name) for name in dict.fromkeys(by)]
    return [*found, *columns, *_sizes(design, frame)]


def _default(posterior: Posterior, frame: pd.DataFrame) -> list[Breakdown]:
    design = posterior.design
    skipped = {design.roles.get(role, role) for role in _IDENTIFIERS}
    names = dict.fromkeys([*theory_columns(posterior), *map(str, frame.columns)])
    found = []
    for name in names:
        if name in skipped or _is_text_with_many_levels(frame[name]):
            continue
        breakdown = _breakdown(design, frame, name)
        if len(breakdown.levels) > 1 and not _tells_choice(breakdown.cells.codes, design.choice):
            found.append(breakdown)
        if len(found) == MOST_COLUMNS:
            break
    return found


def _is_text_with_many_levels(values: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_LEVELS


def _tells_choice(codes: NDArray[np.int64], choice: NDArray[np.int64]) -> bool:
    """Whether every cell holds one alternative only."""
    pairs = np.unique(np.stack([codes, choice]), axis=1)
    return bool(pairs.shape[1] == len(np.unique(codes)))


def _breakdown(design: Design, frame: pd.DataFrame, name: str) -> Breakdown:
    codes, labels = make_cells(frame, (name,))
    if len(labels) > _LEVELS_BOUND:
        raise QuestionError(
            f"{name!r} has {len(labels):,} levels, at most {_LEVELS_BOUND:,} can be checked",
            where="by",
            mend="cut it into bins in the codebook, or ask by a coarser column",
        )
    levels = tuple(_label(v) for v in labels[name])
    cells = make_shares(codes, len(levels), len(design.alternatives), design.weights)
    return Breakdown(name, levels, cells)


def _label(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "missing"
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _sizes(design: Design, frame: pd.DataFrame) -> list[Breakdown]:
    """Rows by the size of the group that they belong to."""
    columns = {by: layout.column for by, layout in design.layouts.items()}
    if "origin" in design.roles:
        columns.setdefault("origin", design.roles["origin"])
    found = []
    for by, column in columns.items():
        size = frame.groupby(column, observed=True)[column].transform("size")
        name = f"{by} size"
        breakdown = _breakdown(design, pd.DataFrame({name: bins(size.astype(int))}), name)
        if len(breakdown.levels) > 1:
            found.append(breakdown)
    return found


# ------------------------------------------------------------------------------- shares


def shares_statistics(parts: Sequence[Breakdown]) -> dict[str, Statistic]:
    """Statistics for `bayesmig.checks.replicate.replicate`, by their names."""
    return {f"shares {i}": part.cells.shares for i, part in enumerate(parts)}


def predictive_shares(
    posterior: Posterior, parts: Sequence[Breakdown], replicated: dict[str, Array]
) -> CheckResult:
    """Check shares of alternatives in every cell against those of replicated choices.

    A replicated survey draws every choice from the probabilities of one posterior draw.
    Shares are weighted where the theory weights its averages. ``lower`` and ``upper``
    bound the central 95 % of replicated shares, ``p_value`` is the two-sided posterior
    predictive p-value of each cell alone (Gelman, Meng and Stern 1996), and
    ``p_adjusted`` takes account of all cells together (see
    `bayesmig.checks.result.judge`); the check fails where one is at most 0.05. Since the
    data were also used to fit, a true theory fails it less often than that. Cells where
    fewer than five are expected to choose the alternative, or fewer than five not to,
    are shown and not tested (``p_adjusted`` is missing).

    Columns of the theory are nearly always reproduced: the fit sees to it. Misfit shows
    in columns that the theory leaves out.

    Parameters
    ----------
    posterior
        Draws of a theory.
    parts, replicated
        From `breakdowns` and `replicate`.

    Returns
    -------
    CheckResult
        Table: ``by``, ``level``, ``alternative``, ``observed``, ``predicted``,
        ``lower``, ``upper``, ``p_value``, ``p_adjusted``, ``rows``.
    """
    design = posterior.design
    chosen = design.choice[:, None].astype(np.int8)
    frames, observed, drawn, tested = [], [], [], []
    for i, part in enumerate(parts):
        here, there = part.cells.shares(chosen)[0], replicated[f"shares {i}"]
        mean = there.mean(axis=0)
        expected = np.minimum(mean, 1 - mean) * part.cells.effective[:, None]
        frames.append(_cells_frame(part, design.alternatives))
        observed.append(here.ravel())
        drawn.append(there.reshape(len(there), -1))
        tested.append((expected >= _LEAST_EXPECTED).ravel())
    values, replicates, enough = map(np.concatenate, (observed, [d.T for d in drawn], tested))
    table, judgement = _judged(pd.concat(frames, ignore_index=True), values, replicates.T, enough)
    table = table[list(SHARES_COLUMNS)]
    return CheckResult(
        SHARES,
        not judgement.failed.any(),
        tabled(table, SHARES_KIND, design.weights_note),
        _shares_text(posterior, table, judgement, len(replicates.T)),
    )


def _cells_frame(part: Breakdown, alternatives: Sequence[str]) -> pd.DataFrame:
    width = len(alternatives)
    return pd.DataFrame(
        {
            "by": part.by,
            "level": np.repeat(part.levels, width),
            "alternative": list(alternatives) * len(part.levels),
            "rows": np.repeat(part.cells.rows, width),
        }
    )


def _judged(
    frame: pd.DataFrame, observed: Array, replicated: Array, tested: NDArray[np.bool_]
) -> tuple[pd.DataFrame, Judgement]:
    """The frame with its numbers; shares are judged on a scale of equal spread."""
    judgement = judge(stabilised(observed), stabilised(replicated), tested)
    lower, upper = central(replicated)
    numbers = (
        observed,
        replicated.mean(axis=0),
        lower,
        upper,
        judgement.p_value,
        judgement.adjusted,
    )
    return frame.assign(**dict(zip(_NUMBERS, numbers, strict=True))), judgement


def _shares_text(
    posterior: Posterior, table: pd.DataFrame, judgement: Judgement, replicates: int
) -> str:
    tested = int(np.isfinite(judgement.adjusted).sum())
    family = f"{tested:,} shares by {table['by'].nunique() - 1} columns and overall"
    weights = f" Weights: {posterior.design.weights_note}."
    if not judgement.failed.any():
        return (
            f"{replicates} replicated surveys reproduce {family} (smallest adjusted p-value "
            f"{judgement.smallest:.2g})." + weights
        )
    failed = table[judgement.failed].sort_values("p_adjusted", kind="stable")
    known = set(theory_columns(posterior))
    outside = [c for c in dict.fromkeys(failed["by"]) if c != "all" and c not in known]
    advice = f" Not in the theory: {', '.join(outside)}." if outside else ""
    return (
        f"{len(failed)} of {family} are not reproduced (adjusted p ≤ {ALARM:g}): "
        + "; ".join(_sentence(r) for r in _worst(failed).itertuples())
        + ("; …" if len(failed) > _NAMED else "")
        + f".{advice}{weights}"
    )


def _worst(failed: pd.DataFrame) -> pd.DataFrame:
    """The failures furthest from what is predicted, relative to the interval."""
    width = (failed["upper"] - failed["lower"]).clip(lower=1e-12)
    far = ((failed["observed"] - failed["predicted"]).abs() / width).sort_values(ascending=False)
    return failed.loc[far.index[:_NAMED]]


def _sentence(row: object) -> str:
    get = row.__getattribute__
    place = "" if get("by") == "all" else f" where {get('by')} is {get('level')}"
    return (
        f"{get('alternative')}{place}: observed {percent(get('observed'))}, replicated "
        f"{percent(get('lower'))} to {percent(get('upper'))}"
    )


# --------------------------------------------------------------------------- clustering


@dataclass(frozen=True, eq=False)
class Cluster:
    """Groups within which choices may be alike.

    Attributes
    ----------
    by
        The role.
    groups
        Cells of the groups, every row counting once.
    """

    by: str
    groups: Cells = field(repr=False)

    def spread(self, choices: Choices) -> Array:
        """Standard deviation of shares over groups, ``(draw, alternative)``.

        Groups count by their rows.
        """
        rows = self.groups.rows / self.groups.rows.sum()
        shares = self.groups.shares(choices)
        centre = np.einsum("g,dgj->dj", rows, shares)
        square = np.einsum("g,dgj->dj", rows, np.square(shares))
        return np.asarray(np.sqrt(np.maximum(square - centre**2, 0.0)))


def clusters(design: Design) -> list[Cluster]:
    """The declared roles that hold several rows per group on average."""
    found = []
    for role in _CLUSTERS:
        if role not in design.roles:
            continue
        codes, levels = pd.factorize(design.frame[design.roles[role]].astype(str))
        if 1 < len(levels) <= design.n_obs / 1.1:
            cells = make_shares(codes.astype(np.int64), len(levels), len(design.alternatives))
            found.append(Cluster(role, cells))
    return found


def spread_statistics(groups: Sequence[Cluster]) -> dict[str, Statistic]:
    """Statistics for `bayesmig.checks.replicate.replicate`, by their names."""
    return {f"spread {c.by}": c.spread for c in groups}


def clustering(
    posterior: Posterior, groups: Sequence[Cluster], replicated: dict[str, Array]
) -> CheckResult:
    """Check that choices within a group are as alike as the theory says, and no more.

    For origins, regions, households and persons with several rows: the standard
    deviation of an alternative's share over groups, against replicated surveys (see
    `predictive_shares`). More spread than replicated means that something shared within
    the group is left out; intervals are then too narrow. Every row counts once.

    Parameters
    ----------
    posterior
        Draws of a theory.
    groups, replicated
        From `clusters` and `replicate`.

    Returns
    -------
    CheckResult
        ``passed`` is ``None`` where no role groups rows. Table: ``by``,
        ``alternative``, ``observed``, ``predicted``, ``lower``, ``upper``, ``p_value``,
        ``p_adjusted``, ``groups``.
    """
    if not groups:
        reason = "The survey declares no origins, regions, households or persons of several rows."
        return not_asked(SPREAD, SPREAD_KIND, SPREAD_COLUMNS, reason)
    design = posterior.design
    chosen = design.choice[:, None].astype(np.int8)
    width = len(design.alternatives)
    frame = pd.DataFrame(
        {
            "by": np.repeat([c.by for c in groups], width),
            "alternative": list(design.alternatives) * len(groups),
            "groups": np.repeat([len(c.groups.rows) for c in groups], width),
        }
    )
    observed = np.concatenate([c.spread(chosen)[0] for c in groups])
    drawn = np.concatenate([replicated[f"spread {c.by}"] for c in groups], axis=1)
    counts = np.bincount(design.choice, minlength=width)
    enough = np.minimum(counts, design.n_obs - counts) >= _LEAST_EXPECTED
    table, judgement = _judged(frame, observed, drawn, np.tile(enough, len(groups)))
    table = table[list(SPREAD_COLUMNS)]
    return CheckResult(
        SPREAD, not judgement.failed.any(), tabled(table, SPREAD_KIND), _spread_text(table, judgement)
    )


def _spread_text(table: pd.DataFrame, judgement: Judgement) -> str:
    roles = ", ".join(dict.fromkeys(table["by"]))
    if not judgement.failed.any():
        return (
            f"Choices within {roles} are as alike as the theory says (smallest adjusted "
            f"p-value {judgement.smallest:.2g})."
        )
    failed = table[judgement.failed]
    more = failed[failed["observed"] > failed["predicted"]]
    parts = [
        f"{r.alternative} by {r.by}: standard deviation of shares {percent(r.observed)}, "
        f"replicated {percent(r.lower)} to {percent(r.upper)}"
        for r in _worst(failed).itertuples()
    ]
    mend = ", ".join(dict.fromkeys(more["by"]))
    return (
        "Choices within groups are not as alike as the theory says: "
        + "; ".join(parts)
        + "."
        + (f" Something shared by {mend} is left out; intervals are too narrow." if mend else "")
    )
