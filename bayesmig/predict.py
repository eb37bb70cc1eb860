"""Predictions, comparisons and slopes on the probability scale, draw by draw.

The grammar is marginaleffects' (Arel-Bundock, Greifer and Heiss 2024,
doi 10.18637/jss.v111.i09). Every average over people is taken within each draw and
summarised afterwards, so that an interval of an average is the interval of the average.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.changes import (
    Contrast,
    Groups,
    check_change,
    check_slope,
    contrasts,
    held,
    is_number,
    outside,
)

# Checks by column ask for it here.
from bayesmig.changes import theory_columns as theory_columns
from bayesmig.choice.utility import Coefficients, Columns, take_draws, take_rows
from bayesmig.design.curves import piled_up
from bayesmig.design.design import GroupLayout, TasteLayout
from bayesmig.errors import QuestionError, nearest, rows_text
from bayesmig.inference.blocks import Precision
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.stream import (
    average_probabilities,
    average_slopes,
    digits_would_show,
    log_likelihood_blocks,
)
from bayesmig.posterior import INTERVAL, Posterior, hdi, require_posterior, table_text
from bayesmig.survey.population import weigh_to
from bayesmig.survey.redrawing import Averages, Redrawing

Change = Literal["difference", "ratio", "lift"]
Population = pd.DataFrame | Sequence[pd.DataFrame]
Array = NDArray[np.float64]
#: Columns of a table, and draws.
Prepared = tuple[Columns, Coefficients]

_GROUPS_TEXT = {
    "observed": "the survey's own groups, each with its draws",
    "new": "new groups, drawn from the estimated distribution",
    "typical": "a typical group (effects zero)",
    "average": "averaged over all groups of the estimated distribution, within each draw",
}
#: Draws × cells × alternatives that an answer may hold (200 MB).
_MAX_NUMBERS = 25_000_000
#: Draws × columns that are sorted at a time (16 MB).
_BLOCK_SIZE = 2_000_000
#: Draws from the prior, and rows at most, for what is said before the data.
_PRIOR_DRAWS, _PRIOR_ROWS = 1000, 2000
#: Both where groups are averaged over: before the data their effects are wide, and points many.
_PRIOR_AVERAGED = 200
#: Fewer draws where groups are so many that these would hold more numbers, but not under that.
_PRIOR_NUMBERS, _FEWEST_DRAWS = 10_000_000, 200
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
        What the numbers are: unit, weights, groups, interval, theory; where there is
        something to say, ``support`` (which share of rows lies outside the observed
        ranges), ``held`` (columns made of the same ones, which stay),
        ``weakly identified`` (what the survey hardly tells of the theory) and
        ``convergence`` (what was allowed).
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
        return "\n".join([*lines, table_text(self.summary)])


def predictions(
    posterior: Posterior,
    *,
    newdata: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    wts: bool | str = True,
    population: Population | None = None,
    total: bool = False,
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
        Numeric columns with more than ten values are cut at quintiles of the rows, unweighted.
    wts
        ``True``: the survey's weights, as the theory says, which new data must then
        hold; ``False``: none; or the name of a column of the data.
    population
        Cells and their numbers of people, to which the rows are weighted: a table with
        columns of the rows and a column ``count`` (poststratification), or several, whose
        margins are raked. Within cells, rows count as ``wts`` says.
    total
        Numbers of people instead of shares: averages times the people of their cell, by the
        population or the unscaled weights; the header says whose numbers they are.
    groups
        Whose effects: ``observed``, those of the survey's own groups; ``new``, one new group
        drawn for each label and draw, so that the spread holds which groups are met;
        ``typical``, a group in the middle, effects zero; ``average``, all groups that there
        could be, effects integrated out of their normal distribution within each draw, so that
        the spread is that of parameters alone. ``new`` and ``average`` have one mean. A theory
        without groups has ``observed`` only.
    hypothesis
        ``"pairwise"``, ``"reference"`` or ``"sequential"`` contrasts of cells, within
        alternatives; or a number, to which every cell is compared in a column
        ``probability_above`` (NaN where any draw has no value).
    prob
        Mass of the highest-density interval.
    seed
        Seed of new groups; with other groups nothing is drawn and it does not matter.
    allow_unconverged
        Whether draws that have not converged may be used; the header then says so.

    Returns
    -------
    Effect
        Probabilities in [0, 1]; of 50 million draws × rows and more within 1e-6 of what
        double precision gives (`bayesmig.inference.stream.average_probabilities`).

    Raises
    ------
    ConvergenceError, DesignError, QuestionError
        Where draws have not converged, data do not fit, or an argument does not apply.
    """
    ask = ask_about(
        posterior, newdata, by, wts, groups, prob, seed, allow_unconverged, population, total
    )
    values = ask.averages(ask.frame)
    question = "Numbers of people by choice" if ask.total else "Average choice probabilities"
    return _effect(ask, question + _by_text(ask.by), [({}, values)], "probability", hypothesis)


def comparisons(
    posterior: Posterior,
    variables: str | Sequence[str] | Mapping[str, Any],
    *,
    newdata: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    wts: bool | str = True,
    population: Population | None = None,
    total: bool = False,
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
        from its first level to each other. Other columns that the theory reads stay as
        they are; a change that the codebook would carry on to one of them is refused.
    comparison
        ``difference`` of the averages before and after; their ``ratio``; or ``lift``,
        the difference as a share of the average before (for an indicator: of 0, for a
        rise by a number: of the rows as they are).
    posterior, newdata, by, wts, population, total, groups, hypothesis, prob, seed
        As for `predictions`; a ratio has no total, nor has a lift.
    allow_unconverged
        As for `predictions`.

    Returns
    -------
    Effect
        With ``variable`` and ``contrast`` in its summary.

    Raises
    ------
    ConvergenceError, DesignError, QuestionError
        As for `predictions`; also where a column is not one of the theory's, or cannot
        change so, or not alone.
    """
    if comparison not in ("difference", "ratio", "lift"):
        raise QuestionError(
            f"the comparison {comparison!r} is unknown; "
            + nearest(comparison, ("difference", "ratio", "lift"))
        )
    if total and comparison != "difference":
        raise QuestionError(
            f"a {comparison} of numbers of people is that of shares",
            where="total",
            mend="leave total out, or compare by difference",
        )
    ask = ask_about(
        posterior, newdata, by, wts, groups, prob, seed, allow_unconverged, population, total
    )
    names = _names(variables, "variables")
    changes = variables if isinstance(variables, Mapping) else dict.fromkeys(names)
    parts, notes = [], []
    for variable in names:
        for contrast in contrasts_of(ask, variable, changes[variable]):
            arms = ask.averages(contrast.low), ask.averages(contrast.high)
            low, high = ask.sharpened(arms, contrast.low, contrast.high)
            label = {"variable": variable, "contrast": contrast.label}
            parts.append((label, change_of(low, high, comparison)))
            notes += reach(ask, variable, contrast)
    unit = {
        "difference": "difference of average probabilities",
        "ratio": "ratio of average probabilities",
        "lift": "difference as a share of the starting average probability",
    }[comparison]
    question = "Average comparisons of choice probabilities" + _by_text(ask.by)
    return _effect(ask, question, parts, unit, hypothesis, names, notes)


def slopes(
    posterior: Posterior,
    variables: str | Sequence[str],
    *,
    newdata: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    wts: bool | str = True,
    population: Population | None = None,
    total: bool = False,
    groups: Groups = "observed",
    hypothesis: str | float | None = None,
    prob: float = INTERVAL,
    seed: int = 0,
    allow_unconverged: bool = False,
) -> Effect:
    """Average derivatives of choice probabilities over numeric columns.

    ``dP_j = P_j (V'_j - sum_k P_k V'_k)``, where the derivatives ``V'`` of the utilities
    follow from those of the encoded columns, which are exact
    (`bayesmig.design.design.Design.derivative`).

    Parameters
    ----------
    variables
        Numeric columns. An indicator counts as a number here.
    posterior, newdata, by, wts, population, total, groups, hypothesis, prob, seed
        As for `predictions`.
    allow_unconverged
        As for `predictions`.

    Returns
    -------
    Effect
        Probability per unit of the column.

    Raises
    ------
    ConvergenceError, DesignError, QuestionError
        As for `comparisons`; also where a column is not numeric, or has no finite slope
        (a root at zero).
    """
    ask = ask_about(
        posterior, newdata, by, wts, groups, prob, seed, allow_unconverged, population, total
    )
    if isinstance(variables, Mapping):
        raise QuestionError(
            "a slope is for an infinitely small change, sizes of changes were given",
            where="variables",
            mend="name the columns alone, or ask for comparisons",
        )
    names = _names(variables, "variables")
    parts = [({"variable": x, "contrast": "dP/dx"}, slope(ask, x)) for x in names]
    question = "Average slopes of choice probabilities" + _by_text(ask.by)
    return _effect(ask, question, parts, "probability per unit of the column", hypothesis, names)


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
    people, people_note
        How many people every row stands for, ``(obs,)``, ``None`` where rows are no people
        but themselves; and whose numbers sums of these are.
    total
        Whether numbers of people are asked for instead of shares.
    redrawing, margins
        How the sample varies, of draws of a pseudo-posterior that are averaged over its people,
        else ``None``; and the cells of population tables that rows are weighted to.
    groups, prob, seed
        As asked.
    support
        What of new rows lies outside the observed ranges, in words.
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
    support: tuple[str, ...] = ()
    people: Array | None = field(default=None, repr=False)
    people_note: str = ""
    total: bool = False
    redrawing: Redrawing | None = field(default=None, repr=False)
    margins: tuple[NDArray[np.int64], ...] = field(default=(), repr=False)

    @property
    def mass(self) -> Array:
        """How many people the rows of every cell stand for, ``(cell,)``."""
        return np.bincount(self.cells, self.people, len(self.labels)).astype(float)

    def averages(self, frame: pd.DataFrame) -> Array:
        """Average probabilities of a table's rows, ``(draw, cell, alternative)``."""
        return self.averages_of(prepare(self.posterior, frame, self.groups, self.seed))

    def averages_of(self, prepared: Prepared, precision: Precision | None = None) -> Array:
        """As `averages`, from arrays."""
        columns, coefficients = prepared

        def make(cells: NDArray[np.int64], draws: slice) -> Array:
            some = take_draws(coefficients, draws)
            return average_probabilities(
                columns, some, cells=cells, weights=self.weights, precision=precision
            )

        return self.over_samples(make)

    def over_samples(self, make: Averages) -> Array:
        """Averages over the cells, of the population where the draws are of its pseudo-posterior.

        Parameters
        ----------
        make
            Averages over cells of the rows, of some draws.
        """
        if self.redrawing is None:
            return make(self.cells, slice(None))
        chains, draws = self.posterior.n_draws
        return self.redrawing.averages(make, self.cells, self.weights, chains * draws, self.margins)

    def sharpened(
        self,
        arms: tuple[Array, Array],
        before: pd.DataFrame | Prepared,
        after: pd.DataFrame | Prepared,
    ) -> tuple[Array, Array]:
        """Averages before and after a change; in double precision where they hardly differ.

        Parameters
        ----------
        arms
            The averages of both.
        before, after
            Tables of the same rows, or what was prepared of them.
        """
        if not digits_would_show(*arms, len(self.frame)):
            return arms
        low, high = (
            rows
            if isinstance(rows, tuple)
            else prepare(self.posterior, rows, self.groups, self.seed)
            for rows in (before, after)
        )
        return self.averages_of(low, "double"), self.averages_of(high, "double")


def ask_about(
    posterior: Posterior,
    newdata: pd.DataFrame | None,
    by: str | Sequence[str] | None,
    wts: bool | str,
    groups: Groups,
    prob: float,
    seed: int,
    allow_unconverged: bool,
    population: Population | None = None,
    total: bool = False,
) -> Ask:
    """Check the arguments that all questions share."""
    require_posterior(posterior)
    posterior.require_convergence(allow_unconverged)
    _check_groups(posterior, groups)
    if not is_number(prob) or not 0 < prob < 1:
        raise QuestionError(f"prob must lie between 0 and 1, got {prob!r}", where="prob")
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise QuestionError(f"seed must be a whole number from 0 on, got {seed!r}", where="seed")
    frame = posterior.frame if newdata is None else _checked_rows(newdata)
    names = () if by is None else _names(by, "by")
    cells, labels = make_cells(frame, names)
    chains, draws = posterior.n_draws
    refuse_too_many(chains * draws, len(labels), len(posterior.design.alternatives))
    if not isinstance(total, bool | np.bool_):
        raise QuestionError(f"total must be True or False, got {total!r}", where="total")
    weights, note = _weights(posterior, frame, newdata is not None, wts)
    people, of_whom = _people(posterior, frame, weights, wts)
    margins: tuple[NDArray[np.int64], ...] = ()
    if population is not None:
        weights, how, margins = weigh_to(frame, people, population)
        people, of_whom = weights, f"people of the population table ({weights.sum():,.6g} in all)"
        note = f"{how}; within cells: {note}"
    support = () if newdata is None else tuple(outside(posterior.design, [frame], weights))
    return Ask(
        posterior,
        frame,
        names,
        cells,
        labels,
        weights,
        note,
        groups,
        prob,
        seed,
        support,
        people,
        of_whom,
        bool(total),
        _redrawing(posterior, newdata is not None, wts, groups),
        margins,
    )


def _redrawing(
    posterior: Posterior, is_new: bool, wts: bool | str, groups: Groups
) -> Redrawing | None:
    """How the sample varies, where its people stand for a population by the design's weights.

    Groups that are drawn anew for every draw vary already.
    """
    by_design = not isinstance(wts, str) and bool(wts)
    return posterior.redrawing if by_design and not is_new and groups != "new" else None


def _people(
    posterior: Posterior, frame: pd.DataFrame, weights: Array | None, wts: bool | str
) -> tuple[Array | None, str]:
    """Unscaled weights of the rows, and whose numbers their sums are."""
    if weights is None:
        return None, f"numbers of choices among {len(frame):,} rows, unweighted"
    column = wts if isinstance(wts, str) else posterior.design.roles["weight"]
    people = frame[column].to_numpy(dtype=float)
    return people, (
        f"sums of {column} ({people.sum():,.6g} in all), numbers of people only where these are "
        "expansion weights"
    )


def before_the_data(ask: Ask) -> Ask | None:
    """The same question to draws from the prior, over some of the rows where they are many.

    ``None`` where a prior is flat: nothing can be drawn from it.
    """
    posterior = ask.posterior
    if posterior.design.has_flat_priors:
        return None
    chains, per_chain = posterior.n_draws
    count = sum(of.size for of in posterior.draws.values()) // (chains * per_chain)
    averaged = ask.groups == "average"
    most = _PRIOR_AVERAGED if averaged else _PRIOR_DRAWS
    size = min(most, max(_FEWEST_DRAWS, _PRIOR_NUMBERS // count))
    drawn = prior_draws(posterior.design, seed=ask.seed, draws=size)
    tree = xr.DataTree.from_dict({"posterior": drawn})
    n = len(ask.frame)
    some = _PRIOR_AVERAGED if averaged else _PRIOR_ROWS
    rows = np.sort(np.random.default_rng(ask.seed).permutation(n)[:some])
    return replace(
        ask,
        posterior=Posterior(posterior.design, tree, posterior.provenance, posterior.survey),
        frame=ask.frame.iloc[rows].reset_index(drop=True),
        cells=ask.cells[rows],
        weights=None if ask.weights is None else ask.weights[rows],
        people=None if ask.people is None else ask.people[rows],
        redrawing=None,
    )


def _check_groups(posterior: Posterior, groups: Any) -> None:
    if not isinstance(groups, str) or groups not in _GROUPS_TEXT:
        raise QuestionError(
            f"groups={groups!r} is unknown; {nearest(groups, tuple(_GROUPS_TEXT))}",
            where="groups",
            mend=f"say one of {', '.join(_GROUPS_TEXT)}",
        )
    if groups != "observed" and not posterior.design.labelled:
        raise QuestionError(
            f"groups={groups!r} does not apply: the theory {posterior.spec.name!r} has no group "
            "effects",
            where="groups",
            mend="leave groups out",
        )


def _checked_rows(newdata: Any) -> pd.DataFrame:
    if not isinstance(newdata, pd.DataFrame):
        raise QuestionError(
            f"a DataFrame was expected, got {type(newdata).__name__}", where="newdata"
        )
    if not len(newdata):
        raise QuestionError("there are no rows to predict for", where="newdata")
    if not newdata.columns.is_unique:
        twice = newdata.columns[newdata.columns.duplicated()][0]
        raise QuestionError(f"the column {twice!r} is there twice", where="newdata")
    return newdata.reset_index(drop=True)


def refuse_too_many(n_draws: int, n_cells: int, n_alternatives: int) -> None:
    """Refuse an answer that would not fit into memory.

    Raises
    ------
    QuestionError
        Where it would hold too many numbers.
    """
    if n_draws * n_cells * n_alternatives > _MAX_NUMBERS:
        raise QuestionError(
            f"the answer would hold {n_draws:,} draws × {n_cells:,} cells × "
            f"{n_alternatives} alternatives",
            where="by",
            mend="group the rows into fewer cells, or ask about fewer rows",
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
    if not design.labelled or groups == "observed":
        return design.apply(frame, where=where), coefficients
    columns = design.apply(frame, unseen="code", where=where)
    if groups == "typical":
        return design.without_groups(columns, coefficients)
    if groups == "average":
        return columns, _averaged(posterior, coefficients)
    return _new_groups(posterior, frame, columns, coefficients, seed)


def _averaged(posterior: Posterior, coefficients: Coefficients) -> Coefficients:
    """Draws with the covariances of groups' effects in the place of these."""
    design = posterior.design
    names = [f"u_{by}" for by in design.grouped] + [f"taste_{by}" for by in design.tastes]
    effects = coefficients.effects or {}
    return replace(
        coefficients,
        effects={by: of for by, of in effects.items() if by not in design.grouped},
        tastes={},
        covariances={name: _covariance(posterior, name.removeprefix("u_")) for name in names},
    )


def _covariance(posterior: Posterior, by: str) -> Array:
    """Of a factor's effects in each draw, ``(draw, effect, effect)``."""
    sigma, corr = _scales(posterior, by)
    sigma = sigma.reshape(len(sigma), -1)
    products = sigma[:, :, None] * sigma[:, None, :]
    return np.asarray(products * (np.eye(sigma.shape[1]) if corr is None else corr))


def _scales(posterior: Posterior, by: str) -> tuple[Array, Array | None]:
    """Standard deviations of a factor's effects, ``(draw, …)``, and their correlations if any."""
    draws = posterior.draws

    def stacked(name: str) -> Array:
        values = draws[name].transpose("chain", "draw", ...).to_numpy()
        return np.asarray(values.reshape(-1, *values.shape[2:]))

    return stacked(f"sigma_{by}"), stacked(f"corr_{by}") if f"corr_{by}" in draws else None


def _new_groups(
    posterior: Posterior,
    frame: pd.DataFrame,
    columns: Columns,
    coefficients: Coefficients,
    seed: int,
) -> tuple[Columns, Coefficients]:
    """Draw the effects of new groups: each label of the table is one; none, one in all."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(7,)))
    effects, groups = dict(coefficients.effects or {}), dict(columns.groups)
    for by in posterior.design.grouped:
        codes = _new_codes(posterior.design.layouts[by], frame)
        effects[by] = _draw_effects(posterior, by, int(codes.max()) + 1, rng)
        groups[by] = (codes, columns.groups[by][1])
    of_tastes, tastes = {}, {}
    for by, layout in posterior.design.tastes.items():
        codes = _new_codes(layout, frame)
        of_tastes[by] = _draw_effects(posterior, f"taste_{by}", int(codes.max()) + 1, rng)
        tastes[by] = (codes, layout.positions)
    return (
        replace(columns, groups=groups, tastes=tastes),
        replace(coefficients, effects=effects, tastes=of_tastes),
    )


def _new_codes(layout: GroupLayout | TasteLayout, frame: pd.DataFrame) -> NDArray[np.int64]:
    """Each label of a table is a group; where it has none, all rows are one."""
    if not all(column in frame.columns for column in layout.columns):
        return np.zeros(len(frame), dtype=np.int64)
    labels = layout.labels(frame).astype(str)  # A missing label is a group of its own.
    return np.asarray(pd.factorize(labels, sort=True)[0], dtype=np.int64)


def _draw_effects(posterior: Posterior, by: str, n: int, rng: np.random.Generator) -> Array:
    """New effects from each draw's distribution, ``(draw, group, …)`` as their scales."""
    sigma, corr = _scales(posterior, by)
    shape = sigma.shape[1:]
    sigma = sigma.reshape(len(sigma), -1)
    z = rng.standard_normal((len(sigma), n, sigma.shape[1]))
    if corr is not None:
        z = z @ np.linalg.cholesky(corr).transpose(0, 2, 1)
    return np.asarray((z * sigma[:, None, :]).reshape(len(sigma), n, *shape))


# ---------------------------------------------------------------------- their pieces


def make_cells(frame: pd.DataFrame, by: Sequence[str]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Cell of every row, and the labels of the cells in order.

    Numeric columns with more than ten values are cut at quintiles of the rows, unweighted.
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
    """The values themselves, or quintiles of the rows where there are more than ten numbers."""
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() <= 10:
        return values.reset_index(drop=True)
    numbers = values.reset_index(drop=True).astype(float)
    if (rows := np.flatnonzero(np.isinf(numbers))).size:
        raise QuestionError(
            f"{values.name!r} is infinite, which no quintile holds",
            where=("by", rows_text(rows)),
            mend="group by a copy of the column without infinite values",
        )
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
        said = f"averages are weighted by {wts}{design.sampling_rule}"
        return _checked_weights(_column(frame, wts, "wts")), said
    if not isinstance(wts, bool | np.bool_):
        raise QuestionError(
            f"wts must be True, False or the name of a column, got {wts!r}", where="wts"
        )
    if not wts:
        return None, f"every row counts once, as asked (wts=False){design.sampling_rule}"
    if not is_new or design.weights is None:
        return design.weights, design.weights_note
    column = design.roles["weight"]
    if column not in frame.columns:
        raise QuestionError(
            f"the survey is weighted, and the new data have no column {column!r} of weights",
            where=("newdata", "wts"),
            mend="say wts=False to count every row once, or wts='COLUMN' to weigh by another",
        )
    return _checked_weights(frame[column]), design.weights_note


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


def _names(names: Any, where: str) -> tuple[str, ...]:
    """One name or several, none twice."""
    found = [names] if isinstance(names, str) or not isinstance(names, Iterable) else [*names]
    if not all(isinstance(name, str) for name in found):
        raise QuestionError(f"names of columns were expected, got {names!r}", where=where)
    if twice := [n for n in found if found.count(n) > 1]:
        raise QuestionError(f"{twice[0]!r} is named twice", where=where, mend="name it once")
    return tuple(found)


def contrasts_of(ask: Ask, variable: str, change: Any = None) -> list[Contrast]:
    """Every contrast of a column on the rows of a question; see `bayesmig.changes`."""
    check_change(ask.posterior.design, variable, ask.groups, where="variables")
    _column(ask.frame, variable, "newdata")
    return contrasts(ask.posterior.design, ask.frame, variable, change)


def reach(ask: Ask, variable: str, contrast: Contrast) -> list[str]:
    """Which share of the rows a contrast takes outside the observed range, in words."""
    tables = (contrast.low, contrast.high)
    notes = outside(ask.posterior.design, tables, ask.weights, [variable])
    return [f"{variable} {contrast.label}: {note}" for note in notes]


def change_of(low: Array, high: Array, comparison: Change) -> Array:
    """From averages before and after to their contrast; NaN where it has no value."""
    if comparison == "difference":
        return high - low
    # An alternative that is closed to a whole cell has no ratio there.
    with np.errstate(divide="ignore", invalid="ignore"):
        change = high / low if comparison == "ratio" else (high - low) / low
    return np.where(np.isfinite(change), change, np.nan)


def slope(ask: Ask, variable: str) -> Array:
    """Average derivatives over a numeric column, ``(draw, cell, alternative)``."""
    design, frame = ask.posterior.design, ask.frame
    check_change(design, variable, ask.groups, where="variables")
    check_slope(design, variable, where="variables")
    _column(frame, variable, "newdata")
    columns, coefficients = prepare(ask.posterior, frame, ask.groups, ask.seed)
    moving = design.derivative(frame, variable, columns)

    def make(cells: NDArray[np.int64], draws: slice) -> Array:
        some = take_draws(coefficients, draws)
        return average_slopes(columns, moving, some, cells=cells, weights=ask.weights)

    return ask.over_samples(make)


# ----------------------------------------------------------------------- the answer


def _effect(
    ask: Ask,
    question: str,
    parts: list[tuple[dict[str, str], Array]],
    unit: str,
    hypothesis: str | float | None,
    changed: Sequence[str] = (),
    support: Iterable[str] = (),
) -> Effect:
    """Cells × alternatives × contrasts, summarised after everything else."""
    if not (hypothesis is None or isinstance(hypothesis, str) or is_number(hypothesis)):
        raise QuestionError(
            f"a number, 'pairwise', 'reference' or 'sequential' was expected, got {hypothesis!r}",
            where="hypothesis",
        )
    if not parts:
        raise QuestionError("no column is named", where="variables")
    table = pd.concat([cell_table(ask).assign(**extra) for extra, _ in parts], ignore_index=True)
    table = table[[c for c in table if c not in ("alternative", "rows")] + ["alternative", "rows"]]
    scale = ask.mass[:, None] if ask.total else 1.0
    draws = np.concatenate([(b * scale).reshape(len(b), -1) for _, b in parts], axis=1)
    header = header_of(ask, f"people × {unit}" if ask.total else unit, changed, support)
    if ask.total:
        header["totals"] = ask.people_note
    if isinstance(hypothesis, str):
        table, draws = _contrast_cells(table, draws, hypothesis)
        header["hypothesis"] = f"{hypothesis} contrasts of cells"
    return finish(question, header, table, draws, ask, hypothesis)


def log_likelihood(posterior: Posterior, *, rows: Sequence[int] | None = None) -> xr.DataArray:
    """Log-likelihood of every draw and choice situation, computed when it is asked for.

    Parameters
    ----------
    posterior
        Draws of a theory; whether they have converged does not matter here.
    rows
        Positions of choice situations; all where left out. The result holds draws × rows
        in memory, 8 bytes each.

    Returns
    -------
    DataArray
        Dims ``(chain, draw, obs)``, nats. Put into a DataTree as ``log_likelihood``, it is
        what ArviZ's functions of leave-one-out take. Of a preview, its ``attrs`` say so under
        ``convergence``.

    Raises
    ------
    QuestionError
        Where a row is not there, or the likelihood of the theory is weighted: removing a
        row then removes its weight, and the draws' spread is not that of the density.
    """
    posterior.refuse_pseudo("the log-likelihood of single rows, as leave-one-out takes it,")
    design, n = posterior.design, posterior.design.n_obs
    chosen = np.arange(n) if rows is None else np.asarray(rows, dtype=np.int64)
    if chosen.ndim != 1 or not ((chosen >= 0) & (chosen < n)).all():
        raise QuestionError(
            f"rows must be positions from 0 to {n - 1:,}", where="log_likelihood(rows=...)"
        )
    columns, coefficients = take_rows(design.columns, chosen), posterior.coefficients()
    out = np.empty((len(coefficients.persons), len(chosen)))
    for part, block in log_likelihood_blocks(columns, coefficients, design.choice[chosen]):
        out[:, part] = block
    return xr.DataArray(
        out.reshape(*posterior.n_draws, -1),
        dims=("chain", "draw", "obs"),
        coords={k: np.arange(m) for k, m in zip(("chain", "draw"), posterior.n_draws, strict=True)}
        | {"obs": chosen},
        name="choice",
        attrs={"convergence": said} if (said := posterior.approximation) else {},
    )


def header_of(
    ask: Ask, unit: str, changed: Iterable[str] = (), support: Iterable[str] = ()
) -> dict[str, str]:
    """What the numbers of an answer are.

    Parameters
    ----------
    ask, unit
        The question; what its numbers are counted in.
    changed
        Columns that it changes.
    support
        What its changes take outside of the observed ranges, in words.

    Returns
    -------
    dict
        With ``left out``, ``support``, ``held``, ``weakly identified`` (the warnings of the
        fit, and half-saturations whose draws pile up at a bound) and ``convergence`` where
        there is something to say.
    """
    stay = held(ask.posterior.design, changed, ask.groups)
    notes = {
        "left out": ask.posterior.provenance.left_out,
        "support": "; ".join(dict.fromkeys([*ask.support, *support])),
        "held": stay and f"{stay}: made of the same columns of the codebook, and not changed",
        "sampling design": ask.posterior.sampling_note,
        "sample": _sample_note(ask),
        "weakly identified": "; ".join(
            [*ask.posterior.provenance.warnings, *_piled_up(ask.posterior)]
        ),
        "convergence": convergence_note(ask.posterior),
    }
    return {
        "unit": unit,
        "theory": ask.posterior.spec.name,
        "rows": f"{len(ask.frame):,}",
        "weights": ask.weights_note,
        "groups": _groups_note(ask),
        "interval": f"{100 * ask.prob:g} % HDI",
        **{key: note for key, note in notes.items() if note},
    }


def _piled_up(posterior: Posterior) -> Iterable[str]:
    return piled_up(posterior.design.responses, posterior.draws).values()


def _sample_note(ask: Ask) -> str:
    """Of whom intervals speak, where draws are of a pseudo-posterior."""
    if not ask.posterior.is_corrected:
        return ""
    if ask.redrawing is None:
        return "rows are taken as they are given: intervals are of parameters, for these rows"
    pairs = np.unique(np.stack([ask.cells, ask.redrawing.units], axis=1), axis=0)
    alone = int((np.bincount(pairs[:, 0]) == 1).sum())
    if alone == len(ask.labels) and not ask.margins:
        return "every cell lies within one sampling unit: intervals are of the people asked"
    within = f"; {alone:,} cells within one sampling unit are of its people" if alone else ""
    return (
        "one of many that the design could have drawn: intervals are of the population's "
        f"averages, not of the people asked{within}"
    )


def convergence_note(posterior: Posterior) -> str:
    """That draws are an approximation, or were allowed although they have not converged."""
    problems = posterior.problems()
    allowed = f"allowed although: {'; '.join(problems)}" if problems else ""
    return "; ".join(filter(None, (posterior.approximation, allowed)))


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
    if null is not None and not isinstance(null, str):
        null = float(null)
        summary["probability_above"] = probability_of(draws > null, draws)
        header["probability_above"] = f"posterior probability that the estimand exceeds {null:g}"
    chains, per_chain = ask.posterior.n_draws
    labelled = xr.DataArray(
        draws.reshape(chains, per_chain, -1),
        dims=("chain", "draw", "cell"),
        coords={"cell": np.arange(draws.shape[1])},
    )
    return Effect(question, header, summary, labelled)


def probability_of(holds: NDArray[np.bool_], draws: Array) -> Array:
    """Share of draws in which something holds; NaN where any draw has no value."""
    return np.where(np.isnan(draws).any(axis=0), np.nan, holds.mean(axis=0))


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
    layouts = [layout.by for layout in ask.posterior.design.labelled]
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
