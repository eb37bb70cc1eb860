"""Predictions, comparisons and slopes on the probability scale, draw by draw.

The grammar is marginaleffects' (Arel-Bundock, Greifer and Heiss 2024,
doi 10.18637/jss.v111.i09). Every average over people is taken within each draw and
summarised afterwards, so that an interval of an average is the interval of the average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError, nearest, rows_text
from bayesmig.expressions import Formula
from bayesmig.inference.stream import average_probabilities
from bayesmig.posterior import INTERVAL, Posterior, hdi

Groups = Literal["observed", "new", "typical"]
Change = Literal["difference", "ratio", "lift"]
Array = NDArray[np.float64]

_GROUPS_TEXT = {
    "observed": "the survey's own groups, each with its draws",
    "new": "new groups, drawn from the estimated distribution",
    "typical": "a typical group (effects zero)",
}
#: Step of numerical derivatives, in standard deviations of the column.
_STEP = 1e-5
#: Draws × cells × alternatives that an answer may hold (200 MB).
_MAX_NUMBERS = 25_000_000
#: Draws × columns that are sorted at a time (16 MB).
_BLOCK_SIZE = 2_000_000
#: Columns of summaries: rows cannot be grouped by columns of these names.
_TAKEN = ("alternative", "variable", "contrast", "quantity", "rows")


@dataclass(frozen=True)
class Effect:
    """An answer on the probability scale: summary and the draws behind it.

    Attributes
    ----------
    question
        What was asked, in words.
    header
        What the numbers are: unit, weights, groups, interval, theory.
    summary
        One row per cell: the ``by`` columns, ``alternative``, for contrasts
        ``variable`` and ``contrast``, then ``estimate``, ``sd``, ``lower``, ``upper``,
        ``rows``.
    draws
        Dims ``(chain, draw, cell)``; cells in the order of the summary.
    """

    question: str
    header: Mapping[str, str]
    summary: pd.DataFrame = field(repr=False)
    draws: xr.DataArray = field(repr=False)

    def __str__(self) -> str:
        lines = [self.question, *(f"  {k}: {v}" for k, v in self.header.items())]
        return "\n".join([*lines, self.summary.to_string(index=False)])


def predictions(
    posterior: Posterior,
    *,
    newdata: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    wts: bool | str = True,
    groups: Groups = "observed",
    hypothesis: str | float | None = None,
    prob: float = INTERVAL,
    seed: int = 0,
    allow_unconverged: bool = False,
) -> Effect:
    """Average choice probabilities.

    Parameters
    ----------
    posterior
        Draws of a theory.
    newdata
        Rows to predict for; the survey's own where it is left out.
    by
        Columns whose cells are averaged separately; ``"obs"`` for every row.
        Numeric columns with more than ten values are cut at their quintiles.
    wts
        ``True``: the survey's weights, as the theory says; ``False``: none; or the name
        of a column of the data.
    groups
        Group effects: ``observed``, ``new`` (drawn once per group and draw) or
        ``typical`` (zero).
    hypothesis
        ``"pairwise"``, ``"reference"`` or ``"sequential"`` contrasts of cells, within
        alternatives; or a number, to which every cell is compared in a column
        ``probability_above``.
    prob
        Mass of the highest-density interval.
    seed
        Seed of new groups.
    allow_unconverged
        Whether draws that have not converged may be used.

    Returns
    -------
    Effect
        Probabilities in [0, 1].

    Raises
    ------
    ConvergenceError, DesignError, QuestionError
        Where draws have not converged, data do not fit, or an argument does not apply.
    """
    ask = ask_about(posterior, newdata, by, wts, groups, prob, seed, allow_unconverged)
    values = ask.averages(ask.frame)
    question = "Average choice probabilities" + _by_text(ask.by)
    return _effect(ask, question, [({}, values)], "probability", hypothesis)


def comparisons(
    posterior: Posterior,
    variables: str | Sequence[str] | Mapping[str, Any],
    *,
    newdata: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    wts: bool | str = True,
    groups: Groups = "observed",
    comparison: Change = "difference",
    hypothesis: str | float | None = None,
    prob: float = INTERVAL,
    seed: int = 0,
    allow_unconverged: bool = False,
) -> Effect:
    """Average changes of choice probabilities when a column changes.

    Parameters
    ----------
    variables
        Columns; or column -> change: a number (added), or a pair ``(from, to)``. Left
        open, an indicator goes from 0 to 1, a number rises by one, and a category goes
        from its first level to each other.
    comparison
        ``difference`` of averages; their ``ratio``; or ``lift``, the difference as a
        share of the starting average.
    posterior, newdata, by, wts, groups, hypothesis, prob, seed, allow_unconverged
        As for `predictions`.

    Returns
    -------
    Effect
        With ``variable`` and ``contrast`` in its summary.

    Raises
    ------
    ConvergenceError, DesignError, QuestionError
        As for `predictions`; also where a column is not one of the theory's.
    """
    if comparison not in ("difference", "ratio", "lift"):
        raise QuestionError(
            f"the comparison {comparison!r} is unknown; "
            + nearest(comparison, ("difference", "ratio", "lift"))
        )
    ask = ask_about(posterior, newdata, by, wts, groups, prob, seed, allow_unconverged)
    parts = []
    for variable, change in _changes(variables).items():
        for contrast, low, high in contrasts(ask, variable, change):
            values = _change(ask.averages(low), ask.averages(high), comparison)
            parts.append(({"variable": variable, "contrast": contrast}, values))
    unit = {
        "difference": "difference of average probabilities",
        "ratio": "ratio of average probabilities",
        "lift": "difference as a share of the starting average probability",
    }[comparison]
    question = "Average comparisons of choice probabilities" + _by_text(ask.by)
    return _effect(ask, question, parts, unit, hypothesis)


def slopes(
    posterior: Posterior,
    variables: str | Sequence[str],
    *,
    newdata: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    wts: bool | str = True,
    groups: Groups = "observed",
    hypothesis: str | float | None = None,
    prob: float = INTERVAL,
    seed: int = 0,
    allow_unconverged: bool = False,
) -> Effect:
    """Average derivatives of choice probabilities over numeric columns.

    Central differences with a step of 1e-5 standard deviations of the column.

    Parameters
    ----------
    variables
        Numeric columns.
    posterior, newdata, by, wts, groups, hypothesis, prob, seed, allow_unconverged
        As for `predictions`.

    Returns
    -------
    Effect
        Probability per unit of the column.

    Raises
    ------
    ConvergenceError, DesignError, QuestionError
        As for `comparisons`; also where a column is not numeric.
    """
    ask = ask_about(posterior, newdata, by, wts, groups, prob, seed, allow_unconverged)
    names = [variables] if isinstance(variables, str) else list(variables)
    parts = []
    for variable in names:
        parts.append(({"variable": variable, "contrast": "dP/dx"}, slope(ask, variable)))
    question = "Average slopes of choice probabilities" + _by_text(ask.by)
    return _effect(ask, question, parts, "probability per unit of the column", hypothesis)


# --------------------------------------------------------------------- one question


@dataclass(frozen=True)
class Ask:
    """Everything that a question on the probability scale needs.

    Attributes
    ----------
    posterior
        The draws.
    frame
        The rows.
    by
        Names of the columns that cells are made of.
    cells, labels
        Cell of every row, ``(obs,)``; the ``by`` values of every cell.
    weights, weights_note
        ``(obs,)`` or ``None``; what they are.
    groups, prob, seed
        As asked.
    """

    posterior: Posterior
    frame: pd.DataFrame = field(repr=False)
    by: tuple[str, ...]
    cells: NDArray[np.int64] = field(repr=False)
    labels: pd.DataFrame = field(repr=False)
    weights: Array | None = field(repr=False)
    weights_note: str
    groups: Groups
    prob: float
    seed: int

    def averages(self, frame: pd.DataFrame) -> Array:
        """Average probabilities of a table's rows, ``(draw, cell, alternative)``."""
        columns, coefficients = prepare(self.posterior, frame, self.groups, self.seed)
        return self.averages_of(columns, coefficients)

    def averages_of(self, columns: Columns, coefficients: Coefficients) -> Array:
        """As `averages`, from arrays."""
        return average_probabilities(columns, coefficients, cells=self.cells, weights=self.weights)


def ask_about(
    posterior: Posterior,
    newdata: pd.DataFrame | None,
    by: str | Sequence[str] | None,
    wts: bool | str,
    groups: Groups,
    prob: float,
    seed: int,
    allow_unconverged: bool,
) -> Ask:
    """Check the arguments that all questions share."""
    posterior.require_convergence(allow_unconverged)
    if groups not in _GROUPS_TEXT:
        raise QuestionError(f"groups={groups!r} is unknown; {nearest(groups, tuple(_GROUPS_TEXT))}")
    if not 0 < prob < 1:
        raise QuestionError(f"prob must lie between 0 and 1, got {prob!r}")
    frame = posterior.frame if newdata is None else newdata.reset_index(drop=True)
    if not len(frame):
        raise QuestionError("there are no rows to predict for", where="newdata")
    names = () if by is None else (by,) if isinstance(by, str) else tuple(by)
    cells, labels = make_cells(frame, names)
    _refuse_too_many(posterior, len(labels))
    weights, note = _weights(posterior, frame, newdata is not None, wts)
    return Ask(posterior, frame, names, cells, labels, weights, note, groups, prob, seed)


def _refuse_too_many(posterior: Posterior, n_cells: int) -> None:
    chains, per_chain = posterior.n_draws
    sizes = (chains * per_chain, n_cells, len(posterior.design.alternatives))
    if np.prod(sizes) > _MAX_NUMBERS:
        raise QuestionError(
            "the answer would hold {:,} draws × {:,} cells × {} alternatives".format(*sizes),
            where="by",
            mend="group the rows into fewer cells, or give fewer rows as newdata",
        )


def prepare(
    posterior: Posterior,
    frame: pd.DataFrame,
    groups: Groups,
    seed: int,
    where: str = "new data",
) -> tuple[Columns, Coefficients]:
    """Columns and draws for a table, with group effects as asked.

    New groups are a function of ``seed``, the draws and the table's group labels alone,
    so that two tables with the same labels get the same new groups.
    """
    design = posterior.design
    coefficients = posterior.coefficients()
    if not design.layouts or groups == "observed":
        return design.apply(frame, where=where), coefficients
    columns = design.apply(frame, unseen="code", where=where)
    if groups == "typical":
        return replace(columns, groups={}), replace(coefficients, effects={})
    return _new_groups(posterior, frame, columns, coefficients, seed)


def _new_groups(
    posterior: Posterior,
    frame: pd.DataFrame,
    columns: Columns,
    coefficients: Coefficients,
    seed: int,
) -> tuple[Columns, Coefficients]:
    """Draw the effects of new groups: each label of the table is one; none, one in all."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(7,)))
    effects, groups = {}, {}
    for by, layout in posterior.design.layouts.items():
        codes = np.zeros(len(frame), dtype=np.int64)
        if layout.column in frame.columns:
            codes = pd.factorize(frame[layout.column].astype(str), sort=True)[0].astype(np.int64)
        effects[by] = _draw_effects(posterior, by, int(codes.max()) + 1, rng)
        groups[by] = (codes, columns.groups[by][1])
    return replace(columns, groups=groups), replace(coefficients, effects=effects)


def _draw_effects(posterior: Posterior, by: str, n: int, rng: np.random.Generator) -> Array:
    """New effects from each draw's distribution, ``(draw, group, nonbase, term)``."""
    draws = posterior.draws
    sigma = draws[f"sigma_{by}"].transpose("chain", "draw", ...).to_numpy()
    shape = sigma.shape[2:]
    sigma = sigma.reshape(-1, shape[0] * shape[1])
    z = rng.standard_normal((len(sigma), n, sigma.shape[1]))
    if f"corr_{by}" in draws:
        corr = draws[f"corr_{by}"].transpose("chain", "draw", ...).to_numpy()
        root = np.linalg.cholesky(corr.reshape(-1, *corr.shape[2:]))
        z = z @ root.transpose(0, 2, 1)
    return np.asarray((z * sigma[:, None, :]).reshape(len(sigma), n, *shape))


# ---------------------------------------------------------------------- their pieces


def make_cells(frame: pd.DataFrame, by: Sequence[str]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Cell of every row, and the labels of the cells in order.

    Numeric columns with more than ten values are cut at their quintiles.
    """
    if not by:
        return np.zeros(len(frame), dtype=np.int64), pd.DataFrame(index=[0])
    if taken := [name for name in by if name in _TAKEN]:
        raise QuestionError(
            f"results have a column {taken[0]!r} of their own",
            where="by",
            mend="group by a copy of the column with another name",
        )
    if tuple(by) == ("obs",) and "obs" not in frame.columns:
        rows: NDArray[np.int64] = np.arange(len(frame), dtype=np.int64)
        return rows, pd.DataFrame({"obs": rows})
    keys = pd.DataFrame({name: bins(_column(frame, name, "by")) for name in by})
    grouped = keys.groupby(list(by), sort=True, observed=True, dropna=False)
    labels = grouped.size().reset_index()[list(by)]
    return np.asarray(grouped.ngroup(), dtype=np.int64), labels


def bins(values: pd.Series) -> pd.Series:
    """The values themselves, or their quintiles where there are more than ten numbers."""
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() <= 10:
        return values.reset_index(drop=True)
    numbers = values.reset_index(drop=True).astype(float)
    edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, 6)))
    names: list[str] = []
    for digits in (3, 6, 17):
        names = [f"{a:.{digits}g} to {b:.{digits}g}" for a, b in pairwise(edges)]
        if len(set(names)) == len(names):
            break
    return pd.cut(numbers, edges.tolist(), labels=names, include_lowest=True)


def _column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    if name not in frame.columns:
        raise QuestionError(
            f"there is no column {name!r}; {nearest(name, list(map(str, frame.columns)))}",
            where=where,
            mend="name a column of the rows; a posterior that was loaded without survey=... holds "
            "those of its theory only",
        )
    return frame[name]


def _weights(
    posterior: Posterior, frame: pd.DataFrame, is_new: bool, wts: bool | str
) -> tuple[Array | None, str]:
    design = posterior.design
    if isinstance(wts, str):
        return _checked_weights(_column(frame, wts, "wts")), f"averages weighted by {wts}"
    if not wts:
        return None, "every row counts once, as asked (wts=False)"
    if not is_new or design.weights is None:
        return design.weights, design.weights_note
    column = design.roles["weight"]
    if column in frame.columns:
        return _checked_weights(frame[column]), design.weights_note
    return None, f"every row of the new data counts once: it has no column {column}"


def _checked_weights(column: pd.Series) -> Array:
    if not pd.api.types.is_numeric_dtype(column):
        raise QuestionError(f"the weights {column.name!r} hold text", where="wts")
    weights = column.to_numpy(dtype=float)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad) or not weights.sum() > 0:
        raise QuestionError(
            f"the weights {column.name!r} must be finite, at least 0, and not all 0",
            where=("wts", rows_text(bad) if len(bad) else ""),
        )
    return weights


def _by_text(by: Sequence[str]) -> str:
    return f" by {', '.join(by)}" if by else ""


def _changes(variables: str | Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(variables, Mapping):
        return dict(variables)
    return dict.fromkeys([variables] if isinstance(variables, str) else variables)


def theory_columns(design: Design) -> tuple[str, ...]:
    """The columns that enter the utilities or availabilities of a theory.

    Attributes count by the columns that hold them. The labels of groups are not among
    them.
    """
    generic = design.spec.utility.alternatives_formula
    named = [c for f in _formulas(design) for c in f.columns]
    used = [c for c in named if c in design.frame.columns and c not in design.attributes]
    for attribute in () if generic is None else generic.columns:
        sources = design.attributes.get(attribute, {}).values()
        used += [c for c in sources if isinstance(c, str)]
    return tuple(dict.fromkeys([*used, *design.spec.available.values()]))


def _formulas(design: Design) -> list[Formula]:
    encoders = [*design.encoders.values(), *(lay.encoder for lay in design.layouts.values())]
    return [e.formula for e in encoders]


def levels_of(design: Design, column: str) -> tuple[Any, ...]:
    """Levels of a category, the theory's reference first; empty for a number.

    A column that also enters as a number counts as one.
    """
    factors = [f for formula in _formulas(design) for f in formula.factors if column in f.columns]
    if not factors or any(f.reference is None for f in factors):
        return ()
    encoders = [*design.encoders.values(), *(lay.encoder for lay in design.layouts.values())]
    levels = next(e.levels[column] for e in encoders if column in e.levels)
    reference = factors[0].reference
    return (reference, *(v for v in levels if v != reference))


def is_indicator(design: Design, column: str) -> bool:
    """Whether the survey of the fit holds nothing but 0 and 1 in a column."""
    return set(design.frame[column].unique()) <= {0, 1}


def _theory_column(ask: Ask, variable: str) -> pd.Series:
    """The column, provided that the theory reads it."""
    used = theory_columns(ask.posterior.design)
    if variable not in used:
        raise QuestionError(
            f"the theory {ask.posterior.spec.name!r} does not use {variable!r}: "
            f"changing it changes nothing; {nearest(variable, used)}",
            where="variables",
            mend="ask about one of " + ", ".join(used),
        )
    return _column(ask.frame, variable, "newdata")


def slope(ask: Ask, variable: str) -> Array:
    """Average derivatives over a numeric column, ``(draw, cell, alternative)``."""
    column = _theory_column(ask, variable)
    if levels_of(ask.posterior.design, variable) or not pd.api.types.is_numeric_dtype(column):
        raise QuestionError(
            f"{variable!r} is a category, a number was expected",
            where="variables",
            mend=f"use comparisons(posterior, {variable!r})",
        )
    column = column.astype(float)
    step = _STEP * (float(column.std(ddof=0)) or 1.0)
    low, high = (ask.frame.assign(**{variable: column + s}) for s in (-step, step))
    return (ask.averages(high) - ask.averages(low)) / (2 * step)


def contrasts(
    ask: Ask, variable: str, change: Any = None
) -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """(label, table before, table after) for every contrast of a column.

    ``change`` is as in `comparisons`.
    """
    column = _theory_column(ask, variable)
    levels = levels_of(ask.posterior.design, variable)

    def at(value: Any) -> pd.DataFrame:
        return ask.frame.assign(**{variable: value})

    if isinstance(change, tuple | list):
        if len(change) != 2:
            raise _no_change(variable, "a number or a pair (from, to)", change)
        low, high = change
        return [(f"{low} → {high}", at(low), at(high))]
    if change is None and levels:
        return [(f"{levels[0]} → {level}", at(levels[0]), at(level)) for level in levels[1:]]
    if change is None and is_indicator(ask.posterior.design, variable):
        return [("0 → 1", at(0), at(1))]
    if levels:
        raise _no_change(variable, "a pair of levels (it is a category)", change)
    step = 1 if change is None else change
    if isinstance(step, bool) or not isinstance(step, int | float):
        raise _no_change(variable, "a number or a pair (from, to)", change)
    return [(f"{step:+g}", ask.frame, at(column.astype(float) + step))]


def _no_change(variable: str, expected: str, got: Any) -> QuestionError:
    return QuestionError(
        f"the change of {variable!r} must be {expected}, got {got!r}", where="variables"
    )


def _change(low: Array, high: Array, comparison: Change) -> Array:
    if comparison == "difference":
        return high - low
    # An alternative that is closed to a whole cell has no ratio there.
    with np.errstate(divide="ignore", invalid="ignore"):
        return high / low if comparison == "ratio" else (high - low) / low


# ----------------------------------------------------------------------- the answer


def _effect(
    ask: Ask,
    question: str,
    parts: list[tuple[dict[str, str], Array]],
    unit: str,
    hypothesis: str | float | None,
) -> Effect:
    """Cells × alternatives × contrasts, summarised after everything else."""
    if not parts:
        raise QuestionError("no column is named", where="variables")
    table = pd.concat([cell_table(ask).assign(**extra) for extra, _ in parts], ignore_index=True)
    table = table[[c for c in table if c not in ("alternative", "rows")] + ["alternative", "rows"]]
    draws = np.concatenate([block.reshape(len(block), -1) for _, block in parts], axis=1)
    header = header_of(ask, unit)
    if isinstance(hypothesis, str):
        table, draws = _contrast_cells(table, draws, hypothesis)
        header["hypothesis"] = f"{hypothesis} contrasts of cells"
    return finish(question, header, table, draws, ask, hypothesis)


def header_of(ask: Ask, unit: str) -> dict[str, str]:
    """What the numbers of an answer are."""
    return {
        "unit": unit,
        "theory": ask.posterior.spec.name,
        "rows": f"{len(ask.frame):,}",
        "weights": ask.weights_note,
        "groups": _groups_note(ask),
        "interval": f"{100 * ask.prob:g} % HDI",
    }


def cell_table(ask: Ask) -> pd.DataFrame:
    """The ``by`` columns, ``alternative`` and ``rows``: alternatives within cells."""
    alternatives = ask.posterior.design.alternatives
    counts = np.bincount(ask.cells, minlength=len(ask.labels))
    table = ask.labels.loc[ask.labels.index.repeat(len(alternatives))].reset_index(drop=True)
    return table.assign(
        alternative=list(alternatives) * len(ask.labels),
        rows=np.repeat(counts, len(alternatives)),
    )


def finish(
    question: str,
    header: Mapping[str, str],
    table: pd.DataFrame,
    draws: Array,
    ask: Ask,
    null: str | float | None = None,
) -> Effect:
    """Summaries and labelled draws of ``(draw, cell)``."""
    summary = table.drop(columns="rows").assign(
        **summaries(draws, ask.prob), rows=table["rows"].to_numpy()
    )
    header = dict(header)
    if isinstance(null, int | float):
        summary["probability_above"] = (draws > null).mean(axis=0)
        header["probability_above"] = f"posterior probability that the estimand exceeds {null:g}"
    chains, per_chain = ask.posterior.n_draws
    labelled = xr.DataArray(
        draws.reshape(chains, per_chain, -1),
        dims=("chain", "draw", "cell"),
        coords={"cell": np.arange(draws.shape[1])},
    )
    return Effect(question, header, summary, labelled)


def summaries(draws: Array, prob: float) -> dict[str, Array]:
    """Mean, sd and bounds of the highest-density interval of every column of draws."""
    step = max(1, _BLOCK_SIZE // len(draws))
    blocks = [draws[:, k : k + step] for k in range(0, draws.shape[1], step)]
    intervals = np.concatenate([hdi(block, prob) for block in blocks], axis=1)
    return {
        "estimate": np.concatenate([block.mean(axis=0) for block in blocks]),
        "sd": np.concatenate([block.std(axis=0, ddof=1) for block in blocks]),
        "lower": intervals[0],
        "upper": intervals[1],
    }


def _groups_note(ask: Ask) -> str:
    layouts = ask.posterior.design.layouts
    if not layouts:
        return "the theory has none"
    return f"{', '.join(layouts)}: {_GROUPS_TEXT[ask.groups]}"


def _contrast_cells(
    table: pd.DataFrame, draws: Array, hypothesis: str
) -> tuple[pd.DataFrame, Array]:
    """Differences of cells within an alternative, paired draw by draw."""
    if hypothesis not in ("pairwise", "reference", "sequential"):
        raise QuestionError(
            f"the hypothesis {hypothesis!r} is unknown; "
            + nearest(hypothesis, ("pairwise", "reference", "sequential")),
            where="hypothesis",
        )
    names = [c for c in table.columns if c not in ("alternative", "rows")]
    if not names or table.groupby("alternative").size().max() < 2:
        raise QuestionError(
            "there is one cell only, nothing to contrast", where="hypothesis", mend="give by=..."
        )
    text = [" ".join(map(str, row)) for row in table[names].itertuples(index=False)]
    alternatives, counts = table["alternative"].to_numpy(), table["rows"].to_numpy()
    rows, values = [], []
    for alternative in dict.fromkeys(alternatives):
        for a, b in pairs(np.flatnonzero(alternatives == alternative).tolist(), hypothesis):
            contrast = f"({text[b]}) - ({text[a]})"
            count = counts[a] + counts[b]
            rows.append({"contrast": contrast, "alternative": alternative, "rows": count})
            values.append(draws[:, b] - draws[:, a])
    return pd.DataFrame(rows), np.stack(values, axis=-1)


def pairs(order: Sequence[int], hypothesis: str) -> list[tuple[int, int]]:
    """Pairs of cells to contrast: with the first, with the one before, or all."""
    match hypothesis:
        case "reference":
            return [(order[0], b) for b in order[1:]]
        case "sequential":
            return list(pairwise(order))
        case _:
            return [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
