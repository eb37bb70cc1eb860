"""Whether columns separate alternatives, so that the likelihood has no maximum.

The likelihood of a logit has no maximum exactly where some direction of its coefficients
leaves no chosen alternative worse off against any other that was available, and some
better off: coefficients run off along it (Albert and Anderson 1984,
doi 10.1093/biomet/71.1.1). Finding one is a linear programme (Konis 2007,
https://ora.ox.ac.uk/objects/uuid:8f9ee0d0-d78e-4101-9ab4-f9cbceed2a2a). It is solved
on the comparisons that bind, found by adding those that the last direction breaks:
without a direction on some of them there is none on all. Where the likelihood of some
rows has a maximum, as of most surveys, that alone shows it, and no programme is solved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.utility import Coefficients, Columns, utilities
from bayesmig.chunks import chunks
from bayesmig.design.differences import (
    Labels,
    centre_of,
    centred_rows,
    difference_rows,
    products,
)
from bayesmig.design.formula import CONSTANT
from bayesmig.design.priors import PriorArray
from bayesmig.errors import DesignError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: Comparisons added to a linear programme at a time, those broken most.
_CUTS = 400
#: Where there are more rows, so many of them are looked at before the others.
_FEW = 20_000
#: Rows of every chosen alternative whose likelihood is maximised first, numbers that are made of
#: them, and steps, at most.
_SHOWN, _SHOWN_SIZE, _STEPS = 1_000, 5_000_000, 12
#: Weights of comparisons, and parts of what tells coefficients, that may be rounding alone.
_ROUNDING = 1e-9
#: Utility difference that counts, where the largest coefficient of a standardised
#: column is one; and what a solution may miss a comparison by.
_TOLERANCE, _FEASIBLE = 1e-6, 1e-9
#: Columns that a message names, and separations that are noted, at most.
_NAMED, _NOTED = 4, 10


def check_separation(
    alternatives: tuple[str, ...],
    columns: Columns,
    choice: NDArray[np.int64],
    labels: Labels,
    priors: Mapping[str, PriorArray],
) -> list[str]:
    """Refuse perfect separation, and any along flat priors; note what rests on a prior.

    Parameters
    ----------
    alternatives
        Their names.
    columns, choice
        The data.
    labels, priors
        Of the coefficients.

    Returns
    -------
    list of str
        Separations, ties aside, of coefficients with proper priors.

    Raises
    ------
    DesignError
        Where two alternatives are told apart in every row that chose one of them, or
        coefficients with flat priors run off. It names alternatives and columns.
    """
    comparisons = comparisons_of(columns, choice, centre_of(columns, labels.persons))
    every = np.ones(len(comparisons.scale), dtype=bool)
    if shows_maximum(comparisons) or next(directions(comparisons, every), None) is None:
        return []
    words = _words(alternatives, columns, labels, comparisons)
    _refuse_perfect(words)
    _refuse_flat(words, columns, priors)
    found = list(islice(directions(comparisons, every), _NOTED))
    return list(dict.fromkeys(f"{words.of(d)}: the coefficient rests on the prior" for d in found))


def _refuse_perfect(words: _Words) -> None:
    """Name two alternatives that are told apart in every row that chose one of them."""
    comparisons = words.comparisons
    for pair in _pairs(comparisons):
        between = _between(comparisons, pair)
        both = {int(c) for c in comparisons.choice[between.any(axis=1)]}
        programme = _Programme(comparisons, between.astype(float))
        every = np.ones(len(words.names), dtype=bool)
        if len(both) == 2 and (found := programme.solve(every)) is not None:
            moved = _needed(found != 0, words.names, programme)
            raise DesignError(
                f"{words.separates(moved)} {words.listed(pair[:1])} from "
                f"{words.listed(pair[1:])} perfectly: the likelihood has no maximum",
                where="key utility",
                mend="leave out the column (it may be a consequence of the choice), "
                "or merge alternatives",
            )


def _refuse_flat(words: _Words, columns: Columns, priors: Mapping[str, PriorArray]) -> None:
    """Name what runs off with no prior to hold it."""
    blocks = ("persons", "only", "alternatives")
    flat = np.concatenate([priors[block].flat.ravel() for block in blocks])
    if not flat[words.names == CONSTANT].all():
        # A constant that its prior holds cannot stand in for the mean of a column.
        words = replace(words, comparisons=comparisons_of(columns, words.comparisons.choice))
    if (found := next(directions(words.comparisons, flat), None)) is not None:
        raise DesignError(
            f"{words.of(found)}: the likelihood has no maximum, and the prior is flat",
            where="key priors",
            mend="use a proper prior, merge levels or alternatives, or leave the column out",
        )


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Every chosen alternative against each other one that was available.

    Attributes
    ----------
    columns
        The data, group effects left out.
    choice
        Position of the chosen alternative, ``(obs,)``.
    open
        Which comparisons there are, ``(obs, alternative)``.
    centre
        What is taken off the columns of persons, ``(coefficient of a person,)``.
    scale
        Root mean square of every coefficient's column, ``(coefficient,)``.
    """

    columns: Columns
    choice: NDArray[np.int64]
    open: Mask
    centre: Array
    scale: Array

    def margins(self, direction: Array, every: int = 1) -> Array:
        """What the chosen alternative gains on each other one, ``(obs, alternative)``.

        Of every row, or of every so many.
        """
        obs = range(0, len(self.choice), every)
        parts = [obs[rows] for rows in chunks(len(obs))]
        return np.concatenate(
            [self._margins(slice(p.start, p.stop, p.step), direction) for p in parts]
        )

    def _margins(self, rows: slice, direction: Array) -> Array:
        b, x = direction / self.scale, centred_rows(self.columns, self.centre, rows)
        k, width = x.persons.shape[1], x.n_alternatives - 1
        n_only = sum(block.shape[1] for block in x.only.values())
        persons, rest = b[: k * width].reshape(k, width), b[k * width :]
        named = Coefficients(persons=persons, only=rest[:n_only], attributes=rest[n_only:])
        utility = utilities(np, x, named)
        own = np.take_along_axis(utility, self.choice[rows, None], axis=1)
        return np.where(self.open[rows], own - utility, 0.0)

    def gradient(self, some: Mask) -> Array:
        """Average gain per coefficient over some comparisons, ``(coefficient,)``."""
        parts = [self._gains(some, rows) for rows in chunks(len(some))]
        return np.asarray(sum(parts) / self.scale / some.sum())

    def _gains(self, some: Mask, rows: slice) -> Array:
        signs = -some[rows].astype(float)
        np.put_along_axis(
            signs, self.choice[rows, None], some[rows].sum(axis=1, keepdims=True), axis=1
        )
        x = centred_rows(self.columns, self.centre, rows)
        blocks = [(x.persons.T @ np.delete(signs, x.base, axis=1)).ravel()]
        blocks += [block.T @ signs[:, position] for position, block in x.only.items()]
        if x.attributes is not None:
            blocks.append(np.einsum("nja,nj->a", x.attributes, signs))
        return np.concatenate(blocks)

    def rows(self, obs: NDArray[np.int64], other: NDArray[np.int64]) -> Array:
        """Gain of single comparisons per coefficient, ``(comparison, coefficient)``."""
        x = centred_rows(self.columns, self.centre, obs)
        against_base = np.concatenate(list(difference_rows(x)))
        against_base = against_base.reshape(len(obs), x.n_alternatives - 1, -1)
        utility = np.insert(against_base, x.base, 0.0, axis=1)
        each = np.arange(len(obs))
        return np.asarray((utility[each, self.choice[obs]] - utility[each, other]) / self.scale)


def comparisons_of(
    columns: Columns, choice: NDArray[np.int64], centre: Array | None = None
) -> Comparisons:
    """Comparisons of a design; unavailable alternatives are compared with nothing."""
    n, width = len(choice), columns.n_alternatives
    available = np.ones((n, width), dtype=bool) if columns.available is None else columns.available
    open_ = available.copy()
    np.put_along_axis(open_, choice[:, None], False, axis=1)
    attributes = columns.attributes
    if attributes is not None:
        # Against the base, so that a level common to all alternatives loses no digits.
        attributes = attributes - attributes[:, [columns.base]]
    plain = replace(columns, groups={}, tastes={}, available=None, attributes=attributes)
    centre = np.zeros(columns.persons.shape[1]) if centre is None else centre
    scale = np.sqrt(np.diag(products(plain, centre)) / n)
    return Comparisons(plain, choice, open_, centre, np.where(scale > 0, scale, 1.0))


def shows_maximum(comparisons: Comparisons, shown: int = _SHOWN) -> bool:
    """Whether some rows prove that no direction separates.

    None does, on these rows and so on all, where their comparisons tell all coefficients and
    some weights, all of them positive, make the comparisons sum to zero (Stiemke's lemma). At
    the maximum of the likelihood the probabilities of what was not chosen are such weights; so
    are those near it when the least squares have taken off what is left. A weight within rounding
    of zero proves nothing: along a direction that separates, probabilities fall to it.

    Parameters
    ----------
    comparisons
        Of a design.
    shown
        Rows that are looked at of every chosen alternative; fewer of many alternatives, since
        numbers grow with the cube of their number.

    Returns
    -------
    bool
        ``False`` says nothing: the rows may be too few, or the maximum too far.
    """
    size, others = len(comparisons.scale), comparisons.open.shape[1] - 1
    if not size:
        return False
    numbers = (others + 1) * others**2 * size
    obs = _spread(comparisons.choice, min(shown, max(1, _SHOWN_SIZE // numbers)))
    at, other = np.nonzero(comparisons.open[obs])
    _, starts, row = np.unique(at, return_index=True, return_inverse=True)
    gains = comparisons.rows(obs[at], other)
    values, vectors = np.linalg.eigh(gains.T @ gains)
    if values[0] <= _ROUNDING * values[-1]:
        return False
    inverse, b = (vectors / values) @ vectors.T, np.zeros(size)
    for _ in range(_STEPS):
        odds = np.exp(np.minimum(-gains @ b, -np.log(_ROUNDING)))
        weights = odds / (1 + np.add.reduceat(odds, starts))[row]
        slope = gains.T @ weights
        if (gains @ (inverse @ slope) < weights / 2 - _ROUNDING).all():
            return True
        each = np.add.reduceat(weights[:, None] * gains, starts)
        curvature = (gains.T * weights) @ gains - each.T @ each
        b += np.linalg.lstsq(curvature, slope)[0]
    return False


def _spread(choice: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many rows of every choice, evenly spread."""
    of = (np.flatnonzero(choice == j) for j in np.unique(choice))
    return np.concatenate([rows[:: -(-len(rows) // most)] for rows in of])


def directions(comparisons: Comparisons, free: Mask) -> Iterator[Array]:
    """Directions that separate, until those found hold every comparison that any does.

    Parameters
    ----------
    comparisons
        Of a design.
    free
        Coefficients that may move, ``(coefficient,)``.

    Yields
    ------
    ndarray
        ``(coefficient,)``, its largest entry one in size, with few others.
    """
    left = comparisons.open.copy()
    programme = _Programme(comparisons, np.broadcast_to(0.0, left.shape))
    while left.any() and (found := programme.solve(free, gain=left)) is not None:
        margins = comparisons.margins(found)
        if margins[left].max() <= _TOLERANCE:
            return
        yield found
        left &= margins <= _TOLERANCE


class _Programme:
    """Directions that give each comparison what it needs at least.

    Comparisons that some answer broke are kept for the next. Of very many rows, a few are
    asked first, since they mostly break it too.
    """

    def __init__(self, comparisons: Comparisons, need: Array) -> None:
        self._comparisons, self._need = comparisons, need
        self._looks = sorted({max(1, len(need) // _FEW), 1}, reverse=True)
        self._cuts, self._least = np.empty((0, len(comparisons.scale))), np.empty(0)

    def solve(self, free: Mask, gain: Mask | None = None) -> Array | None:
        """The direction of the smallest sum of absolute entries, scaled to at most one.

        Where ``gain`` is given, these comparisons gain something on average.
        """
        wanted = None if gain is None else self._comparisons.gradient(gain)[free]
        direction: Array = np.zeros(len(free))
        while (found := _shortest(self._cuts[:, free], self._least, wanted)) is not None:
            direction[free] = found
            size = np.abs(direction).max()
            if not any(self._cut(direction, _TOLERANCE * size, every) for every in self._looks):
                # What rounding left of the others does not move.
                return np.where(np.abs(direction) > _FEASIBLE * size, direction / size, 0.0)
        return None

    def _cut(self, direction: Array, tolerance: float, every: int) -> bool:
        """Whether a direction breaks comparisons of every so many rows; the worst are kept."""
        spare = self._comparisons.margins(direction, every) - self._need[::every]
        broken = np.flatnonzero(spare < -tolerance)
        if not len(broken):
            return False
        worst = broken[np.argsort(spare.ravel()[broken])[:_CUTS]]
        obs, other = np.unravel_index(worst, spare.shape)
        obs *= every
        self._cuts = np.vstack([self._cuts, self._comparisons.rows(obs, other)])
        self._least = np.concatenate([self._least, self._need[obs, other]])
        return True


def _shortest(cuts: Array, least: Array, gain: Array | None) -> Array | None:
    """The smallest sum of absolute entries that keeps the cuts and gains one, if any."""
    from scipy.optimize import linprog

    if gain is not None and not gain.any():
        return None
    size = cuts.shape[1]
    solved = linprog(
        np.ones(2 * size),
        A_ub=-np.hstack([cuts, -cuts]),
        b_ub=-least,
        A_eq=None if gain is None else np.concatenate([gain, -gain])[None],
        b_eq=None if gain is None else [1.0],
        method="highs",
        options={"primal_feasibility_tolerance": _FEASIBLE},
    )
    if solved.status != 0:
        return None
    both: Array = solved.x
    return both[:size] - both[size:]


def _pairs(comparisons: Comparisons) -> list[tuple[int, int]]:
    """Pairs of alternatives, those with the base first."""
    base = comparisons.columns.base
    nonbase = [j for j in range(comparisons.columns.n_alternatives) if j != base]
    return [*((j, base) for j in nonbase), *combinations(nonbase, 2)]


def _between(comparisons: Comparisons, pair: tuple[int, int]) -> Mask:
    """Comparisons of one alternative of the pair with the other."""
    between = np.zeros_like(comparisons.open)
    for chosen, other in (pair, pair[::-1]):
        between[:, other] = (comparisons.choice == chosen) & comparisons.open[:, other]
    return between


def _needed(moved: Mask, names: NDArray[np.object_], programme: _Programme) -> Mask:
    """Coefficients of as few columns as will do, found by leaving out one at a time."""
    for name in dict.fromkeys(names[moved]):
        fewer = moved & (names != name)
        if name != CONSTANT and fewer.any() and programme.solve(fewer) is not None:
            moved = fewer
    return moved


# ------------------------------------------------------------------------------ words


@dataclass(frozen=True, eq=False)
class _Words:
    """What a direction moves and separates, in words.

    Attributes
    ----------
    alternatives
        Their names.
    comparisons
        Of the design.
    names
        Of every coefficient's column, ``(coefficient,)``.
    values
        Its values as they were read; attributes have none.
    """

    alternatives: tuple[str, ...]
    comparisons: Comparisons
    names: NDArray[np.object_]
    values: tuple[Array | None, ...]

    def of(self, direction: Array) -> str:
        """What a direction separates; cells without any choice of a kind by themselves."""
        obs, against = np.nonzero(self.comparisons.margins(direction) > _TOLERANCE)
        chosen, other = np.unique(self.comparisons.choice[obs]), np.unique(against)
        moved = direction != 0
        cell = self._cell(moved, obs)
        if cell and len(chosen) == 1:
            return f"everybody {cell} chose {self.listed(chosen)} rather than {self.listed(other)}"
        if cell and len(other) == 1:
            return f"nobody {cell} chose {self.listed(other)} rather than {self.listed(chosen)}"
        pairs = [
            {int(c), int(j)} for c, j in zip(self.comparisons.choice[obs], against, strict=True)
        ]
        return f"{self.separates(moved)} {self._apart(pairs)} but for ties"

    def _apart(self, pairs: list[set[int]]) -> str:
        """One alternative from the others where every pair holds it."""
        every, common = set.union(*pairs), set.intersection(*pairs)
        if not common:
            return f"{self.listed(every)} from each other"
        one = min(common, key=lambda j: (j == self.comparisons.columns.base, j))
        return f"{self.listed({one})} from {self.listed(every - {one})}"

    def _cell(self, moved: Mask, obs: NDArray[np.int64]) -> str:
        """The one value, of two, at which a single column separates; empty otherwise."""
        named = [k for k in np.flatnonzero(moved) if self.names[k] != CONSTANT]
        if not named:
            return "with both available"
        values = self.values[named[0]]
        if values is None or len(set(self.names[named])) > 1 or len(np.unique(values)) > 2:
            return ""
        here = np.unique(values[obs])
        return f"with {self.names[named[0]]} = {here[0]:g}" if len(here) == 1 else ""

    def separates(self, moved: Mask) -> str:
        """Columns that move, and the verb."""
        found = [n for n in dict.fromkeys(self.names[moved]) if n != CONSTANT] or [CONSTANT]
        text = ", ".join(map(repr, found[:_NAMED])) + (", …" if len(found) > _NAMED else "")
        if len(found) == 1:
            return f"the column {text} separates"
        return f"the columns {text} together separate"

    def listed(self, positions: Iterable[int]) -> str:
        """Alternatives, the base first."""
        base = self.comparisons.columns.base
        return " or ".join(
            repr(self.alternatives[j]) for j in sorted(positions, key=lambda j: (j != base, j))
        )


def _words(
    alternatives: tuple[str, ...], columns: Columns, labels: Labels, comparisons: Comparisons
) -> _Words:
    width = len(alternatives) - 1
    only = [block.T for block in columns.only.values()]
    names = [
        *(name for name in labels.persons for _ in range(width)),
        *(name for _, name in labels.only),
        *labels.attribute_terms,
    ]
    values = [
        *np.repeat(columns.persons.T, width, axis=0),
        *np.concatenate([np.empty((0, len(columns.persons))), *only]),
        *[None] * len(labels.attribute_terms),
    ]
    return _Words(alternatives, comparisons, np.array(names, dtype=object), tuple(values))
