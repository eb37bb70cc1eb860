"""What a survey hardly tells of parameters of groups and beyond a logit, in words.

Nothing here is refused: priors are proper, and a posterior exists. What it says of such a
parameter is then what the prior and the form of the model say, and the reader must know.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from bayesmig.choice.response import LEAST_UNITS, SHAPES, sides
from bayesmig.choice.utility import Columns
from bayesmig.spec.model import ModelSpec

#: From this correlation on, two columns are the same one in other units.
_THE_SAME = 1 - 1e-12
#: Groups with several rows that tell a scale, at least, and rows of most groups that tell a
#: correlation by themselves.
_LEAST_GROUPS, _FEW_ROWS = 10, 5
#: So many groups tell a correlation several times as well as its prior, which is about 0.4 wide:
#: its error is near one over their number's root.
_MANY_GROUPS = 200
#: What is less than this of a column's size is rounding.
_ROUNDING = 1e-9
#: Of the variance of what makes feasible, what columns of the utility must leave over, at least.
_LEAST_OF_ITS_OWN = 0.01


def identification_warnings(spec: ModelSpec, columns: Columns) -> list[str]:
    """What rests on priors and functional form.

    Parameters
    ----------
    spec
        The theory.
    columns
        Its columns on the survey.

    Returns
    -------
    list of str
        One for each parameter that nothing of the survey identifies.
    """
    found = [*_nests(spec, columns), *_curves(spec, columns), *_consideration(spec, columns)]
    return [*found, *_tastes(columns), *_levels(spec, columns)]


def _nests(spec: ModelSpec, columns: Columns) -> Iterator[str]:
    """Nests whose alternatives no column moves apart, or only as effects of groups may.

    A dissimilarity shows in who takes the place of an alternative that gets worse *by
    itself*. Columns of persons have coefficients for every alternative, and could say
    the same with another lambda. What differs between groups alone moves alternatives as
    effects of these do: correlated effects are then taken for a nest, or a nest for these.
    """
    if columns.nests is None:
        return
    for number, nest in enumerate(spec.nests):
        inside = columns.nests.below(number)
        if next(_moving(columns, inside), None) is None:
            yield (
                f"nest {nest.name!r}: no attribute differs between its alternatives, and no column "
                "enters the utility of some of them alone: its lambda rests on the prior and on "
                "the form of the model"
            )
            continue
        for by, codes in _of_few_groups(columns):
            if not _told_within(columns, inside, codes):
                yield (
                    f"nest {nest.name!r}: what moves its alternatives apart differs between "
                    f"groups of {by} alone, as their effects do: its lambda rests much on the "
                    "prior of their scales and correlations"
                )


def _curves(spec: ModelSpec, columns: Columns) -> Iterator[str]:
    """Curves with a half-saturation whose prior reaches where hardly anybody is.

    Where it lies shows in the difference between units below it and units above it.
    """
    for number, curve in enumerate(spec.curves):
        if "half_saturation" not in SHAPES[curve.shape]:
            continue
        of, codes = spec.priors.half_saturation, columns.groups.get("origin", (None,))[0]
        units = "values" if codes is None else "origins"
        found = sides(columns.doses[:, number], codes, of.alpha, of.beta)
        ends = [("below", found.below, found.start), ("above", found.above, found.end)]
        for side, count, edge in ends:
            if count < LEAST_UNITS:
                yield (
                    f"curve {curve.label!r}: {count} of {found.total:,} {units} lie {side} "
                    f"{edge:.3g}, and half of its effect may be reached there: its "
                    "half-saturation rests on the prior"
                )


def _consideration(spec: ModelSpec, columns: Columns) -> Iterator[str]:
    """Feasibility that reads no column but those of the utility, or hardly another one.

    Whether somebody cannot or will not then shows in the form of the model alone.
    """
    for alternative, formula in spec.feasible_formulas.items():
        own = spec.outside_of_utility(alternative)
        if not own:
            yield (
                f"consideration of {alternative!r}: no column makes it feasible that does not "
                "enter its utility too: who cannot and who will not are told apart by the form "
                "of the model and by priors"
            )
            continue
        position = spec.choice.alternatives.index(alternative)
        block = columns.feasible[position]
        reads = [any(c in own for f in term for c in f.columns) for term in formula.terms]
        constants = block.shape[1] - len(reads)
        # A category has several columns: then all are looked at.
        of_its_own = block[:, constants:][:, reads] if constants in (0, 1) else block
        others, said = _in_utility(columns, position), ", ".join(map(repr, own))
        left = _left_over(of_its_own, others)
        if left < _LEAST_OF_ITS_OWN:
            yield (
                f"consideration of {alternative!r}: columns of its utility explain "
                f"{1 - left:.1%} of {said}: who cannot and who will not are "
                "told apart by what is left of it, by the form of the model and by priors"
            )
            continue
        for by, codes in _of_few_groups(columns):
            within = _left_over(_within(of_its_own, codes), _within(others, codes), of_its_own)
            if within < _LEAST_OF_ITS_OWN:
                yield (
                    f"consideration of {alternative!r}: {said} differs between groups of {by} "
                    "alone, as their effects do: what is feasible is told from what groups want "
                    "by the prior of these effects"
                )


def _in_utility(columns: Columns, position: int) -> np.ndarray:
    """What enters the utility of an alternative, ``(obs, k)``; a constant is among it."""
    blocks = [np.ones((len(columns.persons), 1)), columns.persons]
    # Pools, smooths, and slopes that vary over groups are of columns too.
    blocks += [terms for _, terms in columns.groups.values()]
    if columns.doses is not None:
        of_it = [position in curve.alternatives for curve in columns.curves]
        blocks.append(columns.doses[:, of_it])
    if position in columns.only:
        blocks.append(columns.only[position])
    if columns.attributes is not None:
        blocks.append(columns.attributes[:, position])
    return np.hstack(blocks)


def _left_over(block: np.ndarray, others: np.ndarray, whole: np.ndarray | None = None) -> float:
    """The largest share of a column's variance that other columns do not explain.

    Of the variance of ``whole``, where the block is what of that is within groups.
    """
    scale = (block if whole is None else whole).std(axis=0)
    varying = (block - block.mean(axis=0))[:, scale > 0] / scale[scale > 0]
    size = np.maximum(np.abs(others).max(axis=0), _ROUNDING)
    fitted = others / size @ np.linalg.lstsq(others / size, varying, rcond=None)[0]
    return float(np.square(varying - fitted).mean(axis=0).max(initial=0.0))


def _within(block: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Columns less their means in groups."""
    times = np.maximum(np.bincount(codes), 1)
    means = [np.bincount(codes, column) / times for column in block.T]
    return block - np.column_stack(means)[codes] if means else block


def _of_few_groups(columns: Columns) -> Iterator[tuple[str, np.ndarray]]:
    """Factors whose groups have constants, and are too few to tell how these are distributed."""
    for by, (codes, terms) in columns.groups.items():
        few = 1 < len(np.unique(codes)) < _MANY_GROUPS
        if few and bool((terms == 1).all(axis=0).any()):
            yield by, codes


def _tastes(columns: Columns) -> Iterator[str]:
    """Tastes of those who chose once: hardly told from the noise of every choice."""
    for by, (codes, _) in columns.tastes.items():
        times = np.bincount(codes)
        if np.median(times[times > 0]) < 2:
            yield (
                f"tastes by {by}: half of them or more made one choice only: their spread rests "
                "on the prior and on the form of the model"
            )


def _moving(columns: Columns, inside: tuple[int, ...]) -> Iterator[np.ndarray]:
    """What moves two alternatives of a nest apart, ``(obs,)``; NaN where not both are open.

    Attributes that are not the same for them; doses of curves that one of them has; and columns
    that vary and enter the utility of some alternatives, not of all.
    """
    for j, k in combinations(inside, 2):
        if columns.attributes is None:
            break
        for apart in (columns.attributes[:, j] - columns.attributes[:, k]).T:
            seen = _where_both(columns, j, k, apart)
            if np.nanmax(np.abs(seen), initial=0.0) > 0:
                yield seen
    for number, curve in enumerate(columns.curves):
        for j, k in combinations(inside, 2):
            if (j in curve.alternatives) != (k in curve.alternatives):
                seen = _where_both(columns, j, k, columns.doses[:, number])
                if np.nanmax(seen, initial=-np.inf) > np.nanmin(seen, initial=np.inf):
                    yield seen
    own = {j: columns.only[j] for j in inside if j in columns.only}
    for j, block in own.items():
        for column in block.T:
            for k in (k for k in inside if k != j and not _holds(own.get(k), column)):
                seen = _where_both(columns, j, k, column)
                if np.nanmax(seen, initial=-np.inf) > np.nanmin(seen, initial=np.inf):
                    yield seen


def _where_both(columns: Columns, j: int, k: int, values: np.ndarray) -> np.ndarray:
    """Values where two alternatives are open, elsewhere NaN."""
    if columns.available is None:
        return values
    return np.where(columns.available[:, j] & columns.available[:, k], values, np.nan)


def _told_within(columns: Columns, inside: tuple[int, ...], codes: np.ndarray) -> bool:
    """Whether something moves a nest's alternatives apart within groups, or closes some of them."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))

    def varies(values: np.ndarray) -> bool:
        highest, lowest = (of.reduceat(values[order], starts) for of in (np.fmax, np.fmin))
        least = _ROUNDING * np.nanmax(np.abs(values))
        return bool((highest - lowest > least).any())

    closed = () if columns.available is None else columns.available[:, inside].astype(float).T
    return any(varies(values) for values in (*closed, *_moving(columns, inside)))


def _holds(block: np.ndarray | None, column: np.ndarray) -> bool:
    """Whether one of some columns is the same but for its unit and origin."""
    if block is None:
        return False
    varying = block.T[np.ptp(block, axis=0) > 0]
    return any(abs(np.corrcoef(column, other)[0, 1]) > _THE_SAME for other in varying)


def weakly_told_levels(spec: ModelSpec, columns: Columns) -> dict[str, str]:
    """Levels whose scales and correlations the survey hardly tells, and why, in words."""
    nonbase = tuple(k for k in range(columns.n_alternatives) if k != columns.base)
    found = {}
    for group in spec.groups:
        codes = columns.groups[group.by][0]
        rows = np.bincount(codes)
        rows = rows[rows > 0]
        several, many = int((rows > 1).sum()), f"{len(rows):,} groups"
        if several < _LEAST_GROUPS:
            found[group.by] = f"only {several:,} of {many} have several rows"
        elif (
            np.median(rows) < _FEW_ROWS
            and group.correlated
            and not _told_within(columns, nonbase, codes)
        ):
            found[group.by] = (
                f"half of {many} have fewer than {_FEW_ROWS} rows, and no attribute or column of "
                "one alternative moves the alternatives apart within them"
            )
    return found


def _levels(spec: ModelSpec, columns: Columns) -> Iterator[str]:
    """Groups of a few rows, and few groups: their spread shows in rows that share a group."""
    correlated = {group.by: group.correlated for group in spec.groups}
    for by, why in weakly_told_levels(spec, columns).items():
        what = "scales and correlations" if correlated[by] else "scales"
        yield f"groups of {by}: {why}: their {what} rest much on the prior"
