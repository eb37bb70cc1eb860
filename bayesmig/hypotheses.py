"""Named hypotheses of a theory as posterior probabilities.

A statement is a conjunction of inequalities between average effects on the probability
scale, or on that of log odds (`bayesmig.spec.statement`). Every average is computed within
each draw, the arithmetic of a statement is done within each draw, and a statement holds in a
draw where all its inequalities do. What comes out is a probability that the theory and the
data give to a statement about averages; it says nothing about causes.

Beside it stands how much of it the prior says (`bayesmig.sensitivity`): a statement that
rests on an estimand of which the data tell little is neither supported nor contradicted.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import fill, wrap
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.changes import (
    Groups,
    check_change,
    check_slope,
    is_indicator,
    levels_of,
    outside,
    refuse_left_behind,
)
from bayesmig.choice.probabilities import beyond_logit
from bayesmig.choice.utility import Columns, mean_differences, take_draws
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError, nearest
from bayesmig.immobility import kept, unable
from bayesmig.inference.shifts import alike, at_points
from bayesmig.inference.stream import cell_averages, probability_blocks
from bayesmig.posterior import INTERVAL, Posterior, require_posterior
from bayesmig.predict import (
    Ask,
    Population,
    Prepared,
    ask_about,
    change_of,
    contrasts_of,
    header_of,
    prepare,
    probability_of,
    reach,
    slope,
    summaries,
)
from bayesmig.sensitivity import (
    LEANS,
    NOTHING,
    ORDER,
    RULE,
    UNKNOWN,
    WEAK,
    identified,
    overlap_words,
    scaled_words,
)
from bayesmig.spec.askable import warnings_of
from bayesmig.spec.model import Hypothesis
from bayesmig.spec.statement import (
    AGAINST_BASE,
    OF_CURVES,
    OF_FEASIBILITY,
    OF_LEVELS,
    Average,
    Inequality,
    as_average,
    percentile_of,
)
from bayesmig.variance_partition import of_level, partition

Array = NDArray[np.float64]
#: Called supported from the first probability on, contradicted up to the second.
SUPPORTED, CONTRADICTED = 0.95, 0.05
#: Of what is made of rows' odds: nothing, up to rounding, has a sign that is no finding.
_ROUNDING = 1e-12

#: Estimands that are of averages before and after a rise by one.
_RAISING = ("comparison", "lift")

_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}


@dataclass(frozen=True)
class HypothesisResult:
    """What the draws say about one hypothesis.

    Attributes
    ----------
    name, claim, statement, mechanism
        As the theory states them.
    probability
        Posterior probability of the whole statement: the share of draws in which all
        its inequalities hold at once; NaN where any has no value in some draw, or cannot
        be asked of the theory, in which nothing makes a difference.
    prior_probability
        The same before the data: of draws from the prior, which have a value, at the
        survey's columns; NaN where a prior is flat. What the data added is the way from
        one to the other.
    identification
        Whether the data say this, in words, empty where nothing is amiss: that of the
        inequality on which the probability rests (`bayesmig.sensitivity`), or its `NOTHING`
        where the statement cannot be asked.
    verdict
        In a word or three: ``supported``, ``contradicted`` (either ``with the prior's
        help``), ``undecided``, ``weakly identified`` or both, ``cannot be asked``,
        ``cannot be computed``.
    same_as
        The first of the hypotheses asked with it whose estimand is this one in other units,
        in every draw: two names for one finding, which is to be counted once. Empty where
        there is none.
    sentence
        The posterior probability in plain words, with the thresholds.
    header
        What the numbers are: theory, weights, groups, interval, thresholds.
    summary
        One row per inequality: ``part``; ``estimate`` of its estimand (left minus
        right), ``sd``, ``lower``, ``upper``; ``rope`` (half-width); ``rope_mass``
        (probability that the estimand lies within it); ``probability``; ``overlap`` of the
        estimand's distribution with that before the data, ``prior_sensitivity``,
        ``likelihood_sensitivity`` and ``identification``, in words,
        and ``rests_on``, parameters from which that is taken over
        (`bayesmig.sensitivity.of_answers`).
    draws
        Estimands, dims ``(chain, draw, part)``, parts in the order of the summary.
    """

    name: str
    claim: str
    statement: str
    mechanism: str
    probability: float
    prior_probability: float
    identification: str
    verdict: str
    same_as: str
    sentence: str
    header: Mapping[str, str] = field(repr=False)
    summary: pd.DataFrame = field(repr=False)
    draws: xr.DataArray = field(repr=False)

    def __str__(self) -> str:
        lines = [self.at_width(100), *(f"  {k}: {v}" for k, v in self.header.items())]
        return "\n".join(lines)

    def at_width(self, columns: int) -> str:
        """The result in a few lines, without what its numbers are: that is the header's."""
        head = [f"{self.name}: {self.verdict}"]
        if np.isnan(self.probability):
            return "\n".join([*head, _wrapped("", self.sentence, columns)])
        before, after = map(_or_none, (self.prior_probability, self.probability))
        rows = [("", f"“{self.claim.strip()}”"), ("Pr(H)", f"{before} before the data → {after}")]
        rows += [row for _, part in self.summary.iterrows() for row in _lines_of(part)]
        rows.append(("who says it", self.identification or "the data"))
        if self.same_as:
            rows.append(("counted once", f"{self.same_as} is the same finding in other units"))
        return "\n".join([*head, *(_wrapped(label, text, columns) for label, text in rows)])


class HypothesisResults(dict[str, HypothesisResult]):
    """Results by the names of their hypotheses; printed one under the other."""

    def __repr__(self) -> str:
        return self.at_width(100) if self else super().__repr__()

    def at_width(self, columns: int) -> str:
        """All of them, and what their numbers are."""
        notes = notes_of([result.header for result in self.values()], columns)
        return "\n\n".join([*(result.at_width(columns) for result in self.values()), notes])


def notes_of(headers: Sequence[Mapping[str, str]], columns: int) -> str:
    """What the numbers of several answers are, each thing once."""
    keys = dict.fromkeys(key for header in headers for key in header)
    said = {k: [part for h in headers if k in h for part in h[k].split("; ")] for k in keys}
    # Units of claims differ by what they add at the end.
    if "unit" in said:
        said["unit"] = [max(said["unit"], key=len)]
    notes = [f"{key}: {'; '.join(dict.fromkeys(parts))}" for key, parts in said.items()]
    return "\n".join(fill(note, columns, subsequent_indent="  ") for note in notes)


class _Options(TypedDict, total=False):
    newdata: pd.DataFrame | None
    wts: bool | str
    population: Population | None
    groups: Groups
    prob: float
    seed: int
    allow_unconverged: bool


@overload
def test(posterior: Posterior, name: str, **options: Unpack[_Options]) -> HypothesisResult: ...
@overload
def test(
    posterior: Posterior,
    name: list[str] | tuple[str, ...] | None = None,
    **options: Unpack[_Options],
) -> HypothesisResults: ...
def test(
    posterior: Posterior,
    name: str | list[str] | tuple[str, ...] | None = None,
    *,
    newdata: pd.DataFrame | None = None,
    wts: bool | str = True,
    population: Population | None = None,
    groups: Groups = "observed",
    prob: float = INTERVAL,
    seed: int = 0,
    allow_unconverged: bool = False,
) -> HypothesisResult | HypothesisResults:
    """Posterior probability of hypotheses that a theory states.

    Averages that several hypotheses need are computed once.

    Parameters
    ----------
    posterior
        Draws of a theory.
    name
        One hypothesis, several, or (left out) all of the theory.
    newdata, wts, population, groups, prob, seed, allow_unconverged
        As for `bayesmig.predict.predictions`: averages are taken over these rows, with
        these weights and group effects.

    Returns
    -------
    HypothesisResult or HypothesisResults
        One result for one name; else a dictionary of them, by name.

    Raises
    ------
    QuestionError
        Where the theory states no such hypothesis, or where one is about a column that
        the theory does not use, that is a category, or from which the codebook computes
        another that the theory reads.
    ConvergenceError, DesignError
        As for `bayesmig.predict.predictions`.

    Notes
    -----
    An inequality ``left > right`` has the estimand ``left - right`` and the probability
    that this is above 0 (below 0 for ``<``, outside the ROPE for ``!=``). The ROPE does
    not enter the probability of ``<`` and ``>``; its mass is reported beside it.
    """
    require_posterior(posterior)
    hypotheses = _asked(posterior.design, name)
    ask = ask_about(
        posterior, newdata, None, wts, groups, prob, seed, allow_unconverged, population
    )
    _check_columns(posterior.design, hypotheses, groups)
    for key, hypothesis in hypotheses.items():
        _refuse_one_percentile(ask.frame, ask.weights, key, hypothesis)
    wanted = dict.fromkeys(a for h in hypotheses.values() for a in _averages_of(h))
    averages = _averages(ask, wanted)
    held = {key: _held_in(h, averages) for key, h in hypotheses.items()}
    before: dict[str, Held] = {}

    def earlier(prior: Ask) -> Array:
        before.update(_held_before(ask, prior, hypotheses, wanted))
        return _side_by_side(before)

    told = _of_each(held, identified(ask, _side_by_side(held), earlier))
    same = _same_findings(held)
    results = HypothesisResults(
        (key, _result(ask, key, h, held[key], before.get(key), told[key], same.get(key, "")))
        for key, h in hypotheses.items()
    )
    return results[name] if isinstance(name, str) else results


def in_draws(
    posterior: Posterior, name: list[str] | tuple[str, ...] | None = None
) -> dict[str, NDArray[np.bool_]]:
    """In which draws each hypothesis holds, and nothing else about it.

    Parameters
    ----------
    posterior
        Any draws: from the prior, too. Whether they have converged is not asked.
    name
        Hypotheses; all of the theory where left out.

    Returns
    -------
    dict
        Name -> ``(draw,)``; false in a draw in which an estimand has no value.
    """
    hypotheses = _asked(posterior.design, name)
    ask = ask_about(posterior, None, None, True, "observed", INTERVAL, 0, True)
    wanted = dict.fromkeys(a for h in hypotheses.values() for a in _averages_of(h))
    averages = _averages(ask, wanted)
    return {key: np.asarray(_held_in(h, averages)[1].all(axis=1)) for key, h in hypotheses.items()}


def validate_hypotheses(design: Design) -> tuple[str, ...]:
    """Find out before any sampling whether the hypotheses of a theory can be tested.

    Returns
    -------
    tuple of str
        Claims about a difference that the theory cannot make, each with the reason: their
        test says so too (`bayesmig.spec.askable`).

    Raises
    ------
    QuestionError
        Where one is about a column that the theory does not use, a category, or a
        column from which the codebook computes another that the theory reads; or where
        two percentiles that it compares are one number in this survey.
    """
    _check_columns(design, design.spec.hypotheses)
    for name, hypothesis in design.spec.hypotheses.items():
        _refuse_one_percentile(design.frame, design.weights, name, hypothesis)
    return warnings_of(design.spec, design.attributes)


def _asked(design: Design, name: str | Iterable[str] | None) -> dict[str, Hypothesis]:
    stated = design.spec.hypotheses
    if not stated:
        raise QuestionError(
            f"the theory {design.spec.name!r} states no hypotheses",
            mend="add [hypotheses.NAME] with claim and statement to the model file",
        )
    names = list(stated) if name is None else [name] if isinstance(name, str) else list(name)
    if not names:
        raise QuestionError("no hypothesis is named", mend="name one of " + ", ".join(stated))
    for one in names:
        if one not in stated:
            raise QuestionError(
                f"the theory {design.spec.name!r} states no hypothesis {one!r}; "
                + nearest(one, list(stated)),
                mend="name one of " + ", ".join(stated),
            )
    return {one: stated[one] for one in names}


def _check_columns(
    design: Design, hypotheses: Mapping[str, Hypothesis], groups: Groups = "observed"
) -> None:
    for name, hypothesis in hypotheses.items():
        where = f"hypothesis {name!r} of the theory {design.spec.name!r}"
        for average in _averages_of(hypothesis):
            _check_held(design, average, groups, where)
            if not (column := average.variable):
                continue
            check_change(design, column, groups, where=where)
            if average.verb == "slope":
                check_slope(design, column, where=where)
            smooth = column in [s.column for s in design.spec.smooths]
            if smooth and average.verb != "slope" and column not in dict(average.at):
                raise QuestionError(
                    f"the hypothesis raises {column!r} by one, and its smooth is not known beyond "
                    "the range of the survey",
                    where=where,
                    mend=f"ask for its slope, or hold it first: {average.verb}({column}, "
                    f"{average.alternative}, {column}=p50)",
                )
            if levels_of(design, column):
                raise QuestionError(
                    f"the hypothesis is about {column!r}, a category: it has no change by one",
                    where=where,
                    mend="derive an indicator (0 or 1) of the level that matters",
                )


def _check_held(design: Design, average: Average, groups: Groups, where: str) -> None:
    """Refuse to hold what is no column of numbers of the theory, or cannot be so."""
    columns = [column for column, _ in average.at]
    for column, value in average.at:
        if levels_of(design, column):
            raise QuestionError(
                f"{column!r} is a category: it is held at no number or percentile",
                where=where,
                mend="derive an indicator (0 or 1) of the level that matters",
            )
        if column != average.variable:
            check_change(design, column, groups, where=where)
        if is_indicator(design, column) and value not in (0, 1):
            raise QuestionError(
                f"{column!r} is 0 or 1 in the survey: it is not held at {value}",
                where=where,
                mend=f"write {column}=0 or {column}=1",
            )
    if average.variable in columns and is_indicator(design, average.variable):
        raise QuestionError(
            f"{average.variable!r} changes from 0 to 1 and cannot be held as well",
            where=where,
            mend=f"leave {average.variable}=… out",
        )
    refuse_left_behind(design, filter(None, [*columns, average.variable]), groups, where=where)


def _refuse_one_percentile(
    frame: pd.DataFrame, weights: Array | None, name: str, hypothesis: Hypothesis
) -> None:
    """Refuse to compare an effect at two percentiles of a column that are one number."""
    held = {pair for a in _averages_of(hypothesis) for pair in a.at if percentile_of(pair[1])}
    at: dict[tuple[str, float], str] = {}
    for column, percentile in sorted(held, key=str):
        value = _number_at(frame, weights, column, percentile)
        other = at.setdefault((column, value), str(percentile))
        if other != percentile:
            raise QuestionError(
                f"{column!r} is {value:g} at {other} and at {percentile}: these rows cannot tell "
                "what differs between the two",
                where=f"hypothesis {name!r}",
                mend="state percentiles that differ, or numbers, in a model file of your own",
            )


def _number_at(
    frame: pd.DataFrame, weights: Array | None, column: str, value: float | str
) -> float:
    """A number as it is; a percentile as the smallest value that has its share up to it."""
    share = percentile_of(value)
    if share is None:
        return float(value)
    numbers = frame[column].to_numpy(dtype=float)
    order = np.argsort(numbers, kind="stable")
    below = np.cumsum(np.ones(len(numbers)) if weights is None else weights[order])
    return float(numbers[order][np.searchsorted(below, share * below[-1] * (1 - 1e-12))])


def _averages_of(hypothesis: Hypothesis) -> tuple[Average, ...]:
    """The average effects that a hypothesis is about, each once."""
    return tuple(dict.fromkeys(a for part in hypothesis.inequalities for a in part.averages))


# ------------------------------------------------------------------------- estimands


def _averages(ask: Ask, wanted: Iterable[Average]) -> dict[Average, Array]:
    """Draws of every average effect, ``(draw,)``; NaN where a draw has no value."""
    wanted = list(wanted)
    found = _of_levels(ask, [a for a in wanted if a.verb in OF_LEVELS])
    found |= {a: _exponent(ask, a.level) for a in wanted if a.verb in OF_CURVES}
    of_rows: dict[tuple[tuple[str, float | str], ...], list[Average]] = {}
    for average in wanted:
        if average not in found:
            of_rows.setdefault(average.at, []).append(average)
    for at, some in of_rows.items():
        found |= _averages_of_rows(_holding(ask, at), some)
    return found


def _of_levels(ask: Ask, wanted: list[Average]) -> dict[Average, Array]:
    if not wanted:
        return {}
    levels = partition(ask.posterior)
    return {
        a: _spread(ask, a)
        if a.verb == "spread"
        else of_level(levels, a.verb, a.level, filter(None, (a.alternative, a.other)))
        for a in wanted
    }


def _spread(ask: Ask, average: Average) -> Array:
    """Standard deviations of a coefficient over groups, ``(draw,)``."""
    design, by = ask.posterior.design, average.level
    place = design.layouts[by].terms.index(average.term)
    sigma = ask.posterior.draws[f"sigma_{by}"].to_numpy()[
        :, :, design.nonbase.index(average.alternative), place
    ]
    return np.asarray(sigma.ravel())


def _exponent(ask: Ask, curve: str) -> Array:
    """Exponents of a Hill curve, ``(draw,)``."""
    responses = ask.posterior.design.responses
    assert responses is not None
    place = responses.labels["hill_exponent"].index(curve)
    return ask.posterior.draws["hill_exponent"].to_numpy()[:, :, place].ravel()


def _holding(ask: Ask, at: tuple[tuple[str, float | str], ...]) -> Ask:
    """The same question about rows in which some columns are held."""
    held = dict(_numbers_of(ask, at))
    return replace(ask, frame=ask.frame.assign(**held)) if held else ask


def _numbers_of(ask: Ask, at: tuple[tuple[str, float | str], ...]) -> tuple[tuple[str, float], ...]:
    """The same, with the numbers that percentiles are in the rows."""
    return tuple(
        (column, _number_at(ask.frame, ask.weights, column, value)) for column, value in at
    )


def _averages_of_rows(ask: Ask, wanted: list[Average]) -> dict[Average, Array]:
    base = ask.averages(ask.frame) if _reads_base(ask, wanted) else None
    changing = {a.variable for a in wanted if a.verb in _RAISING}
    sloping = {a.variable for a in wanted if a.verb == "slope"}
    arms = {x: _arms(ask, x, base) for x in sorted(changing)}
    slopes = {x: slope(ask, x)[:, 0] for x in sorted(sloping)}
    exceeding = {a.variable for a in wanted if a.verb == "excess"}
    excesses = {x: _excess(ask, x) for x in sorted(exceeding)}
    against_base: dict[str, set[str]] = {}
    for a in wanted:
        if a.verb == "log_odds":
            against_base.setdefault(a.variable, set()).add(a.alternative)
    log_odds = {x: _log_odds(ask, x, of) for x, of in sorted(against_base.items())}

    def one(average: Average) -> Array:
        match average.verb:
            case "share":
                assert base is not None
                return base[:, 0]
            case "slope":
                return slopes[average.variable]
            case "excess":
                return excesses[average.variable]
            case "log_odds":
                return log_odds[average.variable]
            case "comparison":
                return change_of(*arms[average.variable], "difference")
            case _:
                return change_of(*arms[average.variable], "lift")

    names = ask.posterior.design.alternatives
    freed = {
        a: (unable if a.verb == "unable" else kept)(ask, a.alternative)[:, 0]
        for a in wanted
        if a.verb in OF_FEASIBILITY
    }
    rest = [a for a in wanted if a not in freed]
    return freed | {a: one(a)[:, names.index(a.alternative)] for a in rest}


def _reads_base(ask: Ask, wanted: list[Average]) -> bool:
    """Whether shares, or changes of numbers, start from the rows as they are."""
    return any(
        a.verb == "share"
        or (a.verb in _RAISING and not is_indicator(ask.posterior.design, a.variable))
        for a in wanted
    )


def _arms(ask: Ask, variable: str, base: Array | None) -> tuple[Array, Array]:
    """Averages before and after a rise by one (0 to 1 for an indicator)."""
    [(_, low, high)] = contrasts_of(ask, variable)
    before = base if base is not None and low is ask.frame else ask.averages(low)
    before, after = ask.sharpened((before, ask.averages(high)), low, high)
    return before[:, 0], after[:, 0]


def _excess(ask: Ask, variable: str) -> Array:
    """Average changes beyond those that leave each person's odds against the base as they were.

    Row by row: what keeps everyone's odds does not keep those of averages. Returns
    ``(draw, alternative)``; NaN where the base is closed.
    """
    design = ask.posterior.design
    base, weights = design.alternatives.index(design.spec.choice.base), _weights_of(ask)
    arms = _prepared(ask, _tables(ask, variable))
    if ask.groups == "average" and not alike(arms):
        raise QuestionError(
            f"groups differ in what {variable!r} does: excess({variable}, ...) needs "
            "each person's group both before and after, which no average over groups holds",
            where="groups",
            mend='ask with groups="new", or with groups="typical"',
        )

    def blocks(draws: slice) -> Iterator[tuple[slice, Array]]:
        some = [(columns, take_draws(coefficients, draws)) for columns, coefficients in arms]
        for rows, weight, (before, after) in _rows_of_arms(some):
            with np.errstate(divide="ignore", invalid="ignore"):
                kept = before * (after[..., base] / before[..., base])[..., None]
            yield rows, weight * (after - kept)

    def make(cells: NDArray[np.int64], draws: slice) -> Array:
        return cell_averages(blocks(draws), cells, weights)

    return ask.over_samples(make)[:, 0]


def _log_odds(ask: Ask, variable: str, of: Iterable[str]) -> Array:
    """Averages over rows of log odds against the base, or of their changes with a column.

    Rows in which the alternative or the base is closed have no odds and do not count. Returns
    ``(draw, alternative)``; NaN where no row counts, where the column itself opens or closes one
    of the two, and of alternatives that are not asked about.
    """
    names, choice = ask.posterior.design.alternatives, ask.posterior.design.spec.choice
    base, some = names.index(choice.base), [names.index(alternative) for alternative in of]
    arms = _prepared(ask, _tables(ask, variable) if variable else (ask.frame,))
    if ask.groups == "average":
        arms = _without_what_cancels(ask.posterior.design, arms)
    has_odds = [_has_odds(columns, base)[:, some] for columns, _ in arms]
    counts = _weights_of(ask)[:, None] * np.any(has_odds, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.zeros((len(counts), len(names)))
        shares[:, some] = counts / counts.sum(axis=0)
        if any(beyond_logit(columns) for columns, _ in arms):
            means = [_mean_log_odds(arms, base, shares)]
        else:
            means = [mean_differences(*arm, np.nan_to_num(shares)) for arm in arms]
        found = means[-1] - means[0] if len(means) > 1 else means[0]
    # A row whose odds the column opens or closes has no change.
    lost = np.any(has_odds[0] != has_odds[-1], axis=0, where=counts > 0) | ~counts.any(axis=0)
    kept = np.full(found.shape, np.nan)
    kept[:, some] = np.where(lost, np.nan, found[:, some])
    return np.where(np.isfinite(kept), kept, np.nan)


def _mean_log_odds(arms: list[Prepared], base: int, shares: Array) -> Array:
    """Weighted means of log odds, or of their changes from the first arm to the last, row by row.

    What is not a logit linear in its parameters has no odds that could be averaged sooner.
    """
    total = np.zeros((1, shares.shape[1]))
    for rows, weight, probabilities in _rows_of_arms(arms):
        # Differences of logs: a ratio of what is near zero may be too large for a number.
        odds = [(logs := np.log(p)) - logs[..., [base]] for p in probabilities]
        logs = odds[-1] - odds[0] if len(odds) > 1 else odds[0]
        # A weight of zero would keep what has no value.
        used = np.where(shares[rows] > 0, logs, 0.0)
        total = total + weight * np.einsum("sra,ra->sa", used, shares[rows])
    return total


def _without_what_cancels(design: Design, arms: list[Prepared]) -> list[Prepared]:
    """Without effects of groups where log odds are linear in them: their mean is zero."""
    known = [design.without_groups(columns, coefficients) for columns, coefficients in arms]
    if any(beyond_logit(columns) for columns, _ in known):
        return arms
    return [(columns, replace(of, covariances=None)) for columns, of in known]


def _has_odds(columns: Columns, base: int) -> NDArray[np.bool_]:
    """Whether both an alternative and the base are open, ``(obs, alternative)``."""
    if columns.available is None:
        return np.ones((len(columns.persons), columns.n_alternatives), dtype=bool)
    return np.asarray(columns.available & columns.available[:, [base]])


def _tables(ask: Ask, variable: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows before and after a rise by one (0 to 1 for an indicator)."""
    [(_, low, high)] = contrasts_of(ask, variable)
    return low, high


def _prepared(ask: Ask, tables: Iterable[pd.DataFrame]) -> list[Prepared]:
    return [prepare(ask.posterior, table, ask.groups, ask.seed) for table in tables]


def _weights_of(ask: Ask) -> Array:
    return np.ones(len(ask.frame)) if ask.weights is None else ask.weights


def _rows_of_arms(arms: list[Prepared]) -> Iterator[tuple[slice, float, list[Array]]]:
    """Probabilities of the same rows in each arm, block by block, in double precision.

    Where groups are averaged over, at each point of their effects, which has a weight.
    """
    if not arms[0][1].covariances:
        yield from ((rows, 1.0, of) for rows, of in _blocks_of_arms(arms))
        return
    for rows, points in at_points(*arms):
        for weight, some in points:
            for part, of in _blocks_of_arms(some):
                yield slice(rows.start + part.start, rows.start + part.stop), weight, of


def _blocks_of_arms(arms: list[Prepared]) -> Iterator[tuple[slice, list[Array]]]:
    for blocks in zip(*(probability_blocks(*arm) for arm in arms), strict=True):
        yield blocks[0][0], [block for _, block in blocks]


def _reach(ask: Ask, averages: Iterable[Average]) -> list[str]:
    """What a hypothesis holds or changes outside of the observed ranges, in words."""
    notes: dict[str, None] = {}
    for a in averages:
        rows = _holding(ask, a.at)
        held = [column for column, _ in a.at]
        beyond = outside(ask.posterior.design, [rows.frame], ask.weights, held) if held else ()
        notes |= dict.fromkeys(f"held: {note}" for note in beyond)
        if a.variable and a.verb != "slope":
            contrasts = contrasts_of(rows, a.variable)
            notes |= dict.fromkeys(n for c in contrasts for n in reach(rows, a.variable, c))
    return list(notes)


def _value(node: ast.expr, averages: Mapping[Average, Array]) -> Any:
    """Arithmetic of a vetted tree, draw by draw."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return np.float64(number)
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, averages)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, averages), _value(right, averages))
        case ast.Call():
            return averages[as_average(node)]
        case _:
            raise QuestionError(f"{ast.unparse(node)!r} is no number", where="hypothesis")


def _estimand(part: Inequality, averages: Mapping[Average, Array]) -> Array:
    """``left - right``, ``(draw,)``; NaN where a draw has no value."""
    with np.errstate(all="ignore"):
        found = np.asarray(_value(part.left, averages) - _value(part.right, averages))
    if any(a.verb in AGAINST_BASE for a in part.averages):
        found = np.where(np.abs(found) < _ROUNDING, 0.0, found)
    return np.where(np.isfinite(found), found, np.nan)


def _holds(part: Inequality, estimand: Array, rope: float) -> NDArray[np.bool_]:
    match part.sign:
        case ">":
            return estimand > 0
        case "<":
            return estimand < 0
        case _:
            return np.abs(estimand) > rope


# --------------------------------------------------------------------------- results


#: Estimands of the parts, and in which draws each holds, ``(draw, part)`` both.
Held = tuple[Array, NDArray[np.bool_]]


def _result(
    ask: Ask,
    name: str,
    hypothesis: Hypothesis,
    held: Held,
    before: Held | None,
    told: pd.DataFrame,
    same_as: str,
) -> HypothesisResult:
    parts, rope = hypothesis.inequalities, hypothesis.rope
    draws, holds = held
    summary = pd.DataFrame(
        {
            "part": [part.text for part in parts],
            **summaries(draws, ask.prob),
            "rope": rope,
            "rope_mass": probability_of(np.abs(draws) <= rope, draws),
            "probability": probability_of(holds, draws),
            **told,
        }
    )
    idle = bool(_without_difference(draws).size)
    known = not idle and not np.isnan(draws).any()
    probability = float(holds.all(axis=1).mean()) if known else float("nan")
    earlier = float("nan") if idle else _prior_probability(before)
    decisive = _decisive(summary, probability)
    chains, per_chain = ask.posterior.n_draws
    return HypothesisResult(
        name=name,
        claim=hypothesis.claim,
        statement=hypothesis.statement,
        mechanism=hypothesis.mechanism,
        probability=probability,
        prior_probability=earlier,
        identification=NOTHING if idle else str(decisive["identification"]),
        verdict=verdict_of(probability, NOTHING if idle else decisive["identification"]),
        same_as=same_as,
        sentence=_sentence(ask, hypothesis, probability, summary, draws, same_as),
        header=_header(ask, _averages_of(hypothesis))
        | {"prior": _prior_note(before), "identification": RULE},
        summary=summary,
        draws=xr.DataArray(
            draws.reshape(chains, per_chain, -1),
            dims=("chain", "draw", "part"),
            coords={"part": list(summary["part"])},
        ),
    )


def _held_in(hypothesis: Hypothesis, averages: Mapping[Average, Array]) -> Held:
    parts = hypothesis.inequalities
    draws = np.stack([_estimand(part, averages) for part in parts], axis=1)
    holds = [_holds(part, draws[:, k], hypothesis.rope) for k, part in enumerate(parts)]
    return draws, np.stack(holds, axis=1)


def _same_findings(held: Mapping[str, Held]) -> dict[str, str]:
    """Of a hypothesis, the first whose one estimand is its own times a number in all draws.

    So are, in a logit, what a network adds to the effect of schooling, and what schooling
    adds to that of the network.
    """
    shapes: dict[str, Array] = {}
    found = {}
    for name, (draws, holds) in held.items():
        largest = float(np.abs(draws).max())
        if draws.shape[1] > 1 or not 0 < largest < np.inf or np.ptp(draws) < _ROUNDING:
            continue
        # Above zero where it holds: a claim and its contrary are not one.
        shape = np.abs(draws[:, 0]) / largest * np.where(holds[:, 0], 1.0, -1.0)
        other = next((o for o, of in shapes.items() if np.abs(of - shape).max() < 1e-9), None)
        if other is None:
            shapes[name] = shape
        else:
            found[name] = other
    return found


def _side_by_side(held: Mapping[str, Held]) -> Array:
    """Estimands of all hypotheses, which are looked at together, ``(draw, part)``."""
    return np.concatenate([draws for draws, _ in held.values()], axis=1)


def _of_each(held: Mapping[str, Held], table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of every hypothesis, of a table of all their estimands."""
    ends = np.cumsum([draws.shape[1] for draws, _ in held.values()])
    return {
        name: table.iloc[end - of[0].shape[1] : end].reset_index(drop=True)
        for (name, of), end in zip(held.items(), ends, strict=True)
    }


def _decisive(summary: pd.DataFrame, probability: float) -> pd.Series:
    """The inequality on which a statement's probability rests, as far as data go.

    A statement is contradicted by one inequality that the data contradict, whatever else
    it says. Otherwise it is as strong as its weakest inequality.
    """
    amiss = np.array([ORDER.index(word) for word in summary["identification"]])
    low = summary["probability"].to_numpy() <= CONTRADICTED
    if probability <= CONTRADICTED and low.any():
        return summary.iloc[int(np.argmin(np.where(low, amiss, len(amiss) + 2)))]
    return summary.iloc[int(np.argmax(amiss))]


def _held_before(
    ask: Ask, prior: Ask, hypotheses: Mapping[str, Hypothesis], wanted: Iterable[Average]
) -> dict[str, Held]:
    """Every hypothesis at draws from the prior."""
    # Held at the percentiles of all rows: those of some would be another statement.
    stated = {a: replace(a, at=_numbers_of(ask, a.at)) for a in wanted}
    held = _averages(prior, dict.fromkeys(stated.values()))
    averages = {average: held[number] for average, number in stated.items()}
    return {name: _held_in(hypothesis, averages) for name, hypothesis in hypotheses.items()}


def _prior_probability(before: Held | None) -> float:
    """Of draws from the prior, the share in which a statement holds."""
    if before is None:
        return float("nan")
    draws, holds = before
    # Far out in the prior some averages are zero to the last digit, and have no lift.
    known = ~np.isnan(draws).any(axis=1)
    return float(holds[known].all(axis=1).mean()) if known.any() else float("nan")


def _prior_note(before: Held | None) -> str:
    if before is None:
        return "without a proper prior there is no probability before the data, and no overlap"
    return "probabilities before the data are of draws from the prior"


def _header(ask: Ask, averages: tuple[Average, ...]) -> dict[str, str]:
    unit = (
        "left minus right of each inequality, between averages on the probability scale (0.01 is a "
        "percentage point)"
    )
    if any(a.verb == "lift" for a in averages):
        unit += ", or of lifts, as shares of the probability before (0.01 is one per cent of it)"
    if any(a.verb == "log_odds" for a in averages):
        unit += ", or of log odds"
    if any(a.verb in OF_LEVELS for a in averages):
        unit += ", or shares of variance, correlations and spreads of group effects"
    if any(a.verb in OF_CURVES for a in averages):
        unit += ", or exponents of curves"
    changed = dict.fromkeys(a.variable for a in averages if a.variable)
    header = header_of(ask, unit, changed, _reach(ask, averages))
    if ask.redrawing is not None and any(a.verb == "log_odds" for a in averages):
        header["sample"] += "; log odds alone are averaged over the people asked"
    return header | {
        "verdict": f"supported from a probability of {SUPPORTED:g} on, contradicted up to "
        f"{CONTRADICTED:g}, undecided between; weakly identified where the data add little; none "
        "where any draw has no value",
        "reading": "differences between averages under the theory; nothing about causes",
    }


def _sentence(
    ask: Ask,
    hypothesis: Hypothesis,
    probability: float,
    summary: pd.DataFrame,
    draws: Array,
    same_as: str,
) -> str:
    """The verdict, and the convergence where it was waived."""
    claim = f"“{hypothesis.claim.strip().rstrip('.')}”"
    if len(none := _without_difference(draws)):
        said = [
            f"{claim} cannot be asked of this theory: the difference in "
            f"{summary['part'].iloc[none[0]]} is zero whatever the data, since nothing in the "
            "theory, such as a product of the columns named or a nest, makes one"
        ]
    elif np.isnan(probability):
        said = [f"{claim} cannot be computed: {_without_value(summary, draws)}"]
    else:
        said = _said(claim, hypothesis, probability, summary)
    if same_as:
        said.append(f"it is the finding of {same_as} in other units, and counts once")
    if ask.posterior.is_preview:
        said.append(f"the draws are {ask.posterior.approximation}")
    if problems := "; ".join(ask.posterior.problems()):
        said.append(f"the draws have not converged (allowed although: {problems})")
    return "; ".join(said) + "."


def _without_difference(draws: Array) -> NDArray[np.intp]:
    """Inequalities whose sides are equal in every draw."""
    return np.flatnonzero((draws == 0).all(axis=0))


def _without_value(summary: pd.DataFrame, draws: Array) -> str:
    """Which inequality has no value, and how often."""
    lost = np.isnan(draws).sum(axis=0)
    part = int(np.argmax(lost))
    return (
        f"{summary['part'].iloc[part]} has no value in {lost[part]:,} of {len(draws):,} draws "
        "(something is divided by zero, as a lift is of an alternative that is closed to all)"
    )


def _said(
    claim: str, hypothesis: Hypothesis, probability: float, summary: pd.DataFrame
) -> list[str]:
    """The verdict, what the prior says of it, the weakest part, and the ROPE."""
    parts = len(summary)
    subject = "the statement holds" if parts == 1 else f"all {parts} inequalities hold"
    decisive = _decisive(summary, probability)
    said = [
        f"{claim} is {verdict_of(probability, decisive['identification'])}: {subject} with "
        f"probability {_text(probability)} "
        f"({SUPPORTED:g} and more counts as supported, {CONTRADICTED:g} and less as contradicted)"
    ]
    if decisive["identification"]:
        said.append(_owed_to_the_prior(decisive, parts))
    if parts > 1 and probability < SUPPORTED:
        weakest = summary.iloc[int(np.argmin(summary["probability"]))]
        said.append(f"the least likely is {weakest['part']} ({_text(weakest['probability'])})")
    if hypothesis.rope > 0:
        masses = [_text(mass) for mass in summary["rope_mass"]]
        which = "the difference is" if parts == 1 else "the differences are"
        each = "" if parts == 1 else " in turn"
        said.append(
            f"{which} within ±{hypothesis.rope:g}, which counts as none, with probability "
            f"{', '.join(masses)}{each}"
        )
    return said


def _owed_to_the_prior(part: pd.Series, parts: int) -> str:
    """What is amiss with an inequality's estimand, with the numbers that say so."""
    of = "the estimand" if parts == 1 else f"the estimand of {part['part']}"
    scaled = scaled_words(part["prior_sensitivity"], part["likelihood_sensitivity"])
    if part["identification"] == UNKNOWN:
        return f"what {of} owes to the prior is not known"
    if part["rests_on"]:
        little = "little" if part["identification"] == WEAK else "not all"
        return f"{of} rests on {part['rests_on']}, of which the data tell {little}"
    if part["identification"] == LEANS:
        return f"the prior has a say in {of}: data are few, or at odds with it ({scaled})"
    shared = "" if np.isnan(part["overlap"]) else f"overlap {overlap_words(part['overlap'])} of 1, "
    return f"the data added little to what the prior says of {of} ({shared}{scaled})"


def verdict_of(probability: float, identified: str) -> str:
    """A verdict in a few words, from a posterior probability and what `identification` says."""
    if np.isnan(probability):
        return "cannot be asked" if identified == NOTHING else "cannot be computed"
    if CONTRADICTED < probability < SUPPORTED:
        return "undecided and weakly identified" if identified == WEAK else "undecided"
    if identified == WEAK:
        return "weakly identified"
    verdict = "supported" if probability >= SUPPORTED else "contradicted"
    return f"{verdict} with the prior's help" if identified == LEANS else verdict


def _text(probability: float) -> str:
    """Three digits, and never a certainty that a number of draws cannot give."""
    if probability > 0.999:
        return "above 0.999"
    return "below 0.001" if probability < 0.001 else f"{probability:.3f}"


def _or_none(probability: float) -> str:
    return "none" if np.isnan(probability) else _text(probability)


def _lines_of(part: pd.Series) -> Iterator[tuple[str, str]]:
    """An inequality, its estimand, and what of that the data do not say."""
    yield "claim", str(part["part"])
    numbers = f"{part['estimate']:.3g} [{part['lower']:.3g}, {part['upper']:.3g}]"
    rope = f"; within ±{part['rope']:g}: {_or_none(part['rope_mass'])}" if part["rope"] else ""
    yield "estimand", f"{numbers}; holds: {_or_none(part['probability'])}{rope}"
    if part["identification"] or np.isnan(part["likelihood_sensitivity"]):
        shared = part["overlap"]
        of = "" if np.isnan(shared) else f"overlap with the prior {overlap_words(shared)}; "
        scaled = scaled_words(part["prior_sensitivity"], part["likelihood_sensitivity"])
        rests = f"rests on {part['rests_on']}; " if part["rests_on"] else ""
        yield "", f"{part['identification'] or 'the data say it'}: {rests}{of}{scaled}"


def _wrapped(label: str, text: str, columns: int) -> str:
    """A line with its label, and lines below it that begin where its text does."""
    first, rest = f"  {label:<13}", " " * 15
    return "\n".join(wrap(text, columns, initial_indent=first, subsequent_indent=rest))
