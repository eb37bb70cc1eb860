"""Densities of left-out units given parameters, effects of groups integrated out.

With ``f_g(u)`` the likelihood of the rows of a group whose effects are ``u``, and ``theta``
everything else (coefficients, standard deviations, correlations, effects of other groups),
what the rest of a group says of a part ``c`` of it is::

    p(y_c | y_g without c, theta) = integral f_g(u) p(u | theta) du
                                  / integral f_g(u) / f_c(u) p(u | theta) du

of which the denominator is one where the whole group is left out. The effects' own draws,
which have seen the part, are not in it: this is what importance weights over draws of
``theta`` are then made of (Vehtari et al. 2016, JMLR 17:103; Merkle, Furr and Rabe-Hesketh
2019, doi 10.1007/s11336-019-09679-0). Integrals are adaptive Gauss-Hermite quadrature (Liu
and Pierce 1994, doi 10.1093/biomet/81.3.624) for up to four effects a group, and importance
sampling by quasi-random normals around the same centre for more, draw by draw and group by
group, over as few points as leave the sum over units within `EXACT` of that of more.

Where a factor lies in another and whole groups of that are left out (households in places of
origin), both are integrated: the inner one at every point of the outer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.utility import Coefficients, Columns, take_draws, take_rows, utilities
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError
from bayesmig.inference.machine_code import Library
from bayesmig.inference.memory import FAR
from bayesmig.inference.normal import Rule, solve_lower
from bayesmig.inference.stream import RowLogLikelihood, ahead, shared
from bayesmig.model_comparison.quadrature import (
    NEAR,
    STEP,
    Derivatives,
    Placed,
    Sums,
    differences,
    log_sum_exp,
    placed_at_mode,
    rules,
    turned,
)

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
points = Library("bayesmig.inference.points")
#: Nats by which the sum over units may change with more points: a tenth of what says nothing.
EXACT = 0.4
#: Draws, and rows at most, by which the number of points is chosen; and rows times points.
_PILOT_DRAWS, _PILOT_ROWS, _PILOT_PASSES = 12, 20_000, 12_000_000
#: Rounds that are usual, by which passes are counted, and passes that exact derivatives cost.
_USUAL, _EXACTLY = 3, 2
#: Numbers (points × draws × rows) that stand beside each other, 64 MB, of so many draws.
_BLOCK_SIZE, _TOGETHER = 8_000_000, 400


@dataclass(frozen=True)
class Factor:
    """Groups whose effects, or tastes, can be integrated out.

    Attributes
    ----------
    by
        The column of its groups.
    of_tastes
        Whether they are tastes.
    codes
        Group of every row.
    shape
        Of one group's, as `Coefficients` holds them.
    steps
        How far each is moved for differences, ``(width,)``.
    """

    by: str
    of_tastes: bool
    codes: Codes
    shape: tuple[int, ...]
    steps: Array

    @property
    def name(self) -> str:
        """Groups of one column may have effects, and tastes beside them."""
        return f"{self.by} (tastes)" if self.of_tastes else self.by

    @property
    def width(self) -> int:
        """Number of effects of one group."""
        return int(np.prod(self.shape))

    @cached_property
    def present(self) -> int:
        """Number of groups that have rows."""
        return len(np.unique(self.codes))

    def in_units(self, units: Codes) -> bool:
        """Whether each group lies in one unit."""
        return lies_in(self.codes, units)


def lies_in(inner: Codes, outer: Codes) -> bool:
    """Whether rows with the same inner code have the same outer one."""
    of = np.full(int(inner.max()) + 1, -1)
    of[inner] = outer
    return bool((of[inner] == outer).all())


def factors_of(design: Design) -> dict[str, Factor]:
    """The factors of a design whose groups the survey has labels of, by name."""
    columns, found = design.columns, []
    for by in design.grouped:
        codes, terms = columns.groups[by]
        of_terms = STEP / np.sqrt(np.square(terms).mean(axis=0)).clip(1e-12)
        shape = (len(design.nonbase), terms.shape[1])
        found.append(Factor(by, False, codes, shape, np.tile(of_terms, shape[0])))
    for by, (codes, positions) in columns.tastes.items():
        varying = columns.attributes[:, :, positions]
        spread = np.sqrt(np.square(varying).mean(axis=(0, 1))).clip(1e-12)
        found.append(Factor(by, True, codes, (len(positions),), STEP / spread))
    return {factor.name: factor for factor in found}


def to_integrate(factors: Mapping[str, Factor], units: Codes, what: str) -> tuple[Factor, ...]:
    """The factors whose effects are integrated out where units are left out, outer before inner.

    Those whose groups lie in units are left out with them: nothing that is left tells of
    their effects. Where there are none, the factor with the most groups: of the smallest
    ones, whose effects owe most to a row. Effects of all others are known as their draws
    know them, and importance weights do the rest.

    Raises
    ------
    QuestionError
        Where several factors would have to be integrated out that do not lie in each other.
    """
    inside = [f for f in factors.values() if f.in_units(units)]
    if not inside:
        return (max(factors.values(), key=lambda f: f.present),) if factors else ()
    inside.sort(key=lambda f: f.present)
    if len(inside) > 2 or (len(inside) == 2 and not lies_in(inside[1].codes, inside[0].codes)):
        names = ", ".join(f.name for f in inside)
        raise QuestionError(
            f"effects of {names} would have to be integrated out together, which do not lie in "
            "each other or are more than two",
            where=f"compare(question={what!r})",
            mend="ask question='person', or compare theories with fewer factors",
        )
    return tuple(inside)


def covariance_roots(named: Mapping[str, Any], factor: Factor) -> Array:
    """Cholesky factors of the covariance of a group's effects, ``(draw, width, width)``.

    ``named`` holds the parameters by name, ``(draw, ...)``.
    """
    name = f"taste_{factor.by}" if factor.of_tastes else factor.by
    sigma = np.asarray(named[f"sigma_{name}"])
    sigma = sigma.reshape(len(sigma), factor.width)
    if f"corr_{name}" not in named:
        return np.asarray(sigma[:, :, None] * np.eye(factor.width))
    return np.asarray(sigma[:, :, None] * np.linalg.cholesky(np.asarray(named[f"corr_{name}"])))


# ------------------------------------------------------------------- units of a survey


class Densities:
    """Log densities of units, each given its group's other rows and the parameters.

    Parameters
    ----------
    columns, choice
        The rows.
    coefficients
        Draws.
    factors
        Those that are integrated out, `to_integrate`'s.
    roots
        Name of a factor -> `covariance_roots`.
    units
        Unit of every row, from 0.
    alone
        Whether a unit is predicted from the parameters alone: where draws have not seen the
        others of its groups, or these are left out with it.
    shares
        What draws weigh, ``(draw,)``; left out, all the same.

    Attributes
    ----------
    error
        Nats by which more points would change the sum over units, absolute changes added up.
    """

    def __init__(
        self,
        columns: Columns,
        choice: Codes,
        coefficients: Coefficients,
        factors: Sequence[Factor],
        roots: Mapping[str, Array],
        units: Codes,
        *,
        alone: bool = False,
        shares: Array | None = None,
    ) -> None:
        self._columns, self._choice, self._units = columns, choice, units
        self._factors, self._roots = tuple(factors), [roots[f.name] for f in factors]
        self._others = _without(coefficients, factors)
        n = len(self._others.persons)
        self._shares = np.full(n, 1 / n) if shares is None else shares
        self.n_units = int(units.max()) + 1
        self._arrange(alone)
        self.average = _average(self._others, self._shares)
        self.average_roots = [
            np.linalg.cholesky(np.tensordot(self._shares, root @ root.swapaxes(1, 2), 1))[None]
            for root in self._roots
        ]
        self._rules = [rules(f.width) for f in self._factors]
        self.level, self.error = self._enough()

    def _arrange(self, alone: bool) -> None:
        """Rows by what is integrated over as one, and by cell in it."""
        outer = self._factors[0].codes
        # A unit alone is a group of its own, with no other rows.
        whole = _pairs(outer, self._units) if alone else outer
        self._whole = np.unique(whole, return_inverse=True)[1].astype(np.int64)
        inner = self._whole if len(self._factors) == 1 else self._factors[1].codes
        self._inner = _pairs(self._whole, inner)
        self._cell = _pairs(self._inner, self._units)
        self._order = np.lexsort([self._cell, self._inner, self._whole]).astype(np.int64)
        ordered = self._whole[self._order]
        self._at = np.searchsorted(ordered, np.arange(ordered[-1] + 2))
        #: Whether a unit's rows are all of one group, which is passed over at once.
        self.unit_in_group = lies_in(self._units, self._whole)

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        return len(self._others.persons)

    @property
    def passes(self) -> int:
        """How often rows are passed over, for every draw."""
        found, exact = 1, not _by_differences(self._factors, self._columns)
        for factor, of in zip(reversed(self._factors), reversed(self._rules), strict=True):
            w = factor.width
            derivatives = _EXACTLY if exact else 1 + 2 * w + w * (w - 1) // 2
            found *= _USUAL * derivatives + len(of[self.level].z)
            exact = False  # those of an outer factor are differences
        return found

    def _enough(self) -> tuple[int, float]:
        """Number of the rule that is enough, and what more points would change."""
        few, last = self._some_draws(), min(map(len, self._rules)) - 1
        before: tuple[Codes, Array] | None = None
        for level in range(last):
            some, share = self._some_groups(level + 1)
            if before is None or len(before[0]) != len(some):
                before = some, self._pilot(few, some, level)
            after = self._pilot(few, some, level + 1)
            error = float(np.abs((after - before[1]).mean(axis=0)).sum()) / share
            if error <= EXACT:
                break
            before = some, after
        return level, error

    def _some_groups(self, level: int) -> tuple[Codes, float]:
        """Groups by which a rule is judged, as many as it can be asked for; their share of rows."""
        groups = np.arange(len(self._at) - 1)
        rows = min(
            _PILOT_ROWS, _PILOT_PASSES // int(np.prod([len(of[level].z) for of in self._rules]))
        )
        if len(self._units) <= rows:
            return groups, 1.0
        order = np.random.default_rng(0).permutation(groups)
        sizes = np.cumsum(np.diff(self._at)[order])
        some = np.sort(order[: max(1, int(np.searchsorted(sizes, rows, side="right")))])
        return some, float(np.diff(self._at)[some].sum() / len(self._units))

    def _some_draws(self) -> Codes:
        """From those with the smallest to those with the largest scales."""
        sizes = sum(np.linalg.slogdet(root)[1] for root in self._roots)
        order = np.argsort(sizes, kind="stable")
        counted = order[self._shares[order] > 0.1 / self.n_draws]
        reached = np.cumsum(self._shares[counted])
        at = np.searchsorted(reached, np.linspace(0, reached[-1], _PILOT_DRAWS))
        return np.unique(counted[at.clip(max=len(counted) - 1)])

    def _pilot(self, draws: Codes, groups: Codes, level: int) -> Array:
        found = np.zeros((len(draws), self.n_units))
        for part in self._parts(groups, len(draws), level):
            cells, values = self._of_groups(part, draws, level)
            np.add.at(found.T, cells, values.T)
        return found

    def blocks(self, draws: Codes) -> Iterator[tuple[Codes, Array]]:
        """Units in blocks: which, and ``(draw, unit)`` of some draws."""
        groups = np.arange(len(self._at) - 1)
        total = None if self.unit_in_group else np.zeros((len(draws), self.n_units))
        parts = self._parts(groups, min(len(draws), _TOGETHER), self.level)
        for cells, values in ahead(lambda part: self._of_groups(part, draws, self.level), parts):
            if total is None:
                yield cells, values
            else:
                np.add.at(total.T, cells, values.T)
        if total is not None:
            yield np.arange(self.n_units), total

    def _parts(self, groups: Codes, draws: int, level: int) -> Iterator[Codes]:
        """Groups in parts that fit into memory with so many draws, one at least."""
        sizes = np.cumsum(self._at[groups + 1] - self._at[groups])
        most = max(1, _BLOCK_SIZE // (draws * len(self._rules[-1][level].z)))
        parts = (sizes - 1) // most
        yield from np.split(groups, np.flatnonzero(np.diff(parts)) + 1)

    def _of_groups(self, groups: Codes, draws: Codes, level: int) -> tuple[Codes, Array]:
        """Units of some groups, each as often as it has cells, and ``(draw, cell)``."""
        rows = np.concatenate([self._order[self._at[g] : self._at[g + 1]] for g in groups])
        piece, of_rules = _Piece(self, rows), [of[level] for of in self._rules]
        per_draw = len(rows) * len(of_rules[-1].z)
        parts = np.array_split(draws, -(-len(draws) * per_draw // _BLOCK_SIZE))
        return piece.units, np.concatenate([piece.densities(some, of_rules) for some in parts])


class _Piece:
    """Whole groups."""

    def __init__(self, of: Densities, rows: Codes) -> None:
        self.factors, self.others, self.roots = of._factors, of._others, of._roots
        whole, self.whole_at = _runs(of._whole[rows])
        inner, self.inner_at = _runs(of._inner[rows])
        _, self.cell_at = _runs(of._cell[rows])
        # The inner groups of a group, and the cells of an inner group, stand together.
        self.inner_in_whole = _first(whole[self.inner_at])
        self.inner_of_cell = inner[self.cell_at]
        nested = len(self.factors) == 2
        self.units = of._units[rows][self.whole_at if nested else self.cell_at]
        self.codes = [whole, inner] if nested else [whole]
        self.columns, self.choice = take_rows(of._columns, rows), of._choice[rows]
        self.centres = self._centres(of.average, of.average_roots)

    def _likelihood(self, others: Coefficients) -> _Logit | _Any:
        """Of some draws, by effects."""
        if _by_differences(self.factors, self.columns):
            return _Any(self.factors, self.codes, self.columns, self.choice, others)
        return _Logit(self.factors, self.codes, self.columns, self.choice, others)

    def _centres(self, others: Coefficients, roots: Sequence[Array]) -> list[Array]:
        """Where groups' densities are at the average draw, ``(group, width)`` of each factor."""
        sizes = [len(self.whole_at), len(self.inner_at)]
        starts = [np.zeros((1, n, f.width)) for n, f in zip(sizes, self.factors, strict=False)]
        rule, of = rules(self.factors[-1].width)[0], self._likelihood(others)
        return [placed.effects[0][0] for placed in self._places(of, roots, starts, rule)[0]]

    def _places(
        self,
        of: _Logit | _Any,
        roots: Sequence[Array],
        starts: Sequence[Array],
        rule: Rule,
    ) -> tuple[list[Placed], Sums]:
        """Where densities are, and the log-likelihoods of groups by effects of the first factor."""
        steps = [factor.steps for factor in self.factors]
        if len(self.factors) == 1:
            sums = partial(of.group_sums, at=self.whole_at)
            slopes = of.derivatives(self.whole_at, steps[0])
            return [placed_at_mode(slopes, starts[0], roots[0], steps[0])], sums
        of.set_outer(turned(roots[0], starts[0]))
        inner_sums: Sums = partial(of.group_sums, at=self.inner_at)
        slopes = of.derivatives(self.inner_at, steps[1])
        inside = placed_at_mode(slopes, starts[1], roots[1], steps[1])
        where, log_weights = inside.effects, inside.log_weights(rule)

        def outer_sums(centre: Array, spread: Array, z: Array) -> Array:
            found = []
            for point in z:
                of.set_outer(centre + spread @ point)
                terms = inner_sums(*where, rule.z) + log_weights
                integrals = log_sum_exp(terms.swapaxes(0, 1))
                found.append(np.add.reduceat(integrals, self.inner_in_whole, axis=1))
            return np.stack(found, axis=1)

        slopes = differences(outer_sums, steps[0])
        return [placed_at_mode(slopes, starts[0], roots[0], steps[0]), inside], outer_sums

    def densities(self, draws: Codes, of_rules: Sequence[Rule]) -> Array:
        """``(draw, cell)``; of nested factors ``(draw, group)``."""
        roots = [root[draws] for root in self.roots]
        starts = [_started(u, root) for u, root in zip(self.centres, roots, strict=True)]
        of, rule = self._likelihood(take_draws(self.others, draws)), of_rules[0]
        places, sums = self._places(of, roots, starts, of_rules[-1])
        where = places[0].effects
        terms = sums(*where, rule.z) + places[0].log_weights(rule)
        whole = log_sum_exp(terms.swapaxes(0, 1))
        if len(self.factors) == 2 or len(self.cell_at) == len(self.whole_at):
            return whole
        # Without a whole group nothing is left, and the prior's integral is one.
        log_shares = terms - whole[:, None]
        rest = of.rest(*where, rule.z, log_shares, self.cell_at, self.inner_of_cell)
        several = np.bincount(self.inner_of_cell)[self.inner_of_cell] > 1
        return np.where(several, -rest, whole[:, self.inner_of_cell])


def _by_differences(factors: Sequence[Factor], columns: Columns) -> bool:
    """Whether slopes of likelihoods by effects are differences.

    Response curves, and tastes that stay, move utilities as coefficients do.
    """
    beyond = columns.nests is not None or bool(columns.feasible)
    return beyond or any(f.of_tastes for f in factors)


class _Any:
    """Likelihoods of groups by effects, of any theory."""

    def __init__(
        self,
        factors: Sequence[Factor],
        codes: Sequence[Codes],
        columns: Columns,
        choice: Codes,
        others: Coefficients,
    ) -> None:
        groups, tastes = dict(columns.groups), dict(columns.tastes)
        for factor, of_rows in zip(factors, codes, strict=True):
            table = tastes if factor.of_tastes else groups
            table[factor.by] = (of_rows, table[factor.by][1])
        self.factors, self.others, self.outer = factors, others, np.zeros(0)
        self.rows = RowLogLikelihood(replace(columns, groups=groups, tastes=tastes), choice)

    def set_outer(self, effects: Array) -> None:
        """Set those of the first of two factors, ``(draw, group, width)``."""
        self.outer = effects

    def _at(self, values: Array) -> Array:
        """``(draw, row)``."""
        effects, tastes = dict(self.others.effects or {}), dict(self.others.tastes or {})
        of_factors = [self.outer, values][-len(self.factors) :]
        for factor, of in zip(self.factors, of_factors, strict=True):
            table = tastes if factor.of_tastes else effects
            table[factor.by] = of.reshape(*of.shape[:2], *factor.shape)
        return self.rows(replace(self.others, effects=effects, tastes=tastes))

    def group_sums(self, centre: Array, spread: Array, z: Array, *, at: Codes) -> Array:
        """Log-likelihoods of groups whose rows begin so, ``(draw, point, group)``."""
        found = [np.add.reduceat(self._at(centre + spread @ of), at, axis=1) for of in z]
        return np.stack(found, axis=1)

    def derivatives(self, at: Codes, steps: Array) -> Derivatives:
        """Of log-likelihoods of groups whose rows begin so."""
        return differences(partial(self.group_sums, at=at), steps)

    def rest(
        self, centre: Array, spread: Array, z: Array, log_shares: Array, at: Codes, groups: Codes
    ) -> Array:
        """``log sum_k share_k / p_c`` of cells that begin so, in groups, ``(draw, cell)``."""
        terms = log_shares[:, :, groups] - self.group_sums(centre, spread, z, at=at)
        return log_sum_exp(terms.swapaxes(0, 1))


class _Logit:
    """As `_Any`, of a logit in which the factors have effects, compiled."""

    def __init__(
        self,
        factors: Sequence[Factor],
        codes: Sequence[Codes],
        columns: Columns,
        choice: Codes,
        others: Coefficients,
    ) -> None:
        names = {factor.by for factor in factors}
        terms = [columns.groups[factor.by][1] for factor in factors]
        left = {by: of for by, of in columns.groups.items() if by not in names}
        order = np.r_[columns.base, np.delete(np.arange(columns.n_alternatives), columns.base)]
        self.chosen = np.argsort(order)[choice]
        plain, n_draws = replace(columns, groups=left), len(others.persons)
        self._base = np.empty((n_draws, len(choice), columns.n_alternatives))
        available = np.empty((0, columns.n_alternatives), dtype=bool)
        if columns.available is not None:
            available = np.ascontiguousarray(columns.available)

        def work(draws: slice) -> None:
            utility = np.ascontiguousarray(utilities(np, plain, take_draws(others, draws)))
            points.odds(utility, choice, order, available, self._base[draws])

        shared(work, n_draws)
        self.odds, self._outer_codes, self._outer_terms = self._base, codes[0], terms[0]
        self._width = (columns.n_alternatives - 1) * terms[-1].shape[1]
        constant = terms[-1].shape[1] == 1 and bool((terms[-1] == 1).all())
        self.terms = terms[-1][:, :0] if constant else np.ascontiguousarray(terms[-1])

    def set_outer(self, effects: Array) -> None:
        """Set those of the first of two factors, ``(draw, group, width)``."""
        of = effects.reshape(*effects.shape[:2], -1, self._outer_terms.shape[1])
        added = np.einsum("srjt,rt->srj", of[:, self._outer_codes], self._outer_terms)
        chosen = np.concatenate([np.zeros((*added.shape[:2], 1)), added], axis=2)
        at = np.take_along_axis(chosen, self.chosen[None, :, None], axis=2)
        self.odds = self._base * np.exp((chosen - at).clip(-FAR / 2, FAR / 2))

    def group_sums(self, centre: Array, spread: Array, z: Array, *, at: Codes) -> Array:
        """As of `_Any`."""
        out = np.empty((len(centre), len(z), len(at)))

        def work(draws: slice) -> None:
            where = centre[draws], spread[draws], z
            points.group_sums(self.odds[draws], self.chosen, self.terms, at, *where, out[draws])

        shared(work, len(out))
        return out

    def derivatives(self, at: Codes, steps: Array) -> Derivatives:
        """As of `_Any`, exact."""
        shape = len(self.odds), len(at), self._width
        slope, bend = np.zeros(shape), np.zeros((*shape, self._width))

        def derivatives(effects: Array, going: NDArray[np.bool_]) -> tuple[Array, Array]:
            def work(draws: slice) -> None:
                found = effects[draws], going[draws], slope[draws], bend[draws]
                points.group_derivatives(self.odds[draws], self.chosen, self.terms, at, *found)

            shared(work, len(effects))
            return slope, bend

        return derivatives

    def rest(
        self, centre: Array, spread: Array, z: Array, log_shares: Array, at: Codes, groups: Codes
    ) -> Array:
        """As of `_Any`."""
        out = np.empty((len(centre), len(at)))

        def work(draws: slice) -> None:
            where = groups, centre[draws], spread[draws], z, log_shares[draws]
            points.inverse_sums(self.odds[draws], self.chosen, self.terms, at, *where, out[draws])

        shared(work, len(out))
        return out


def _started(u: Array, roots: Array) -> Array:
    """Effects ``(group, width)`` in the coordinates of every draw, not too far out."""
    v = solve_lower(roots[:, None], u[None])
    length = np.sqrt(np.square(v).sum(axis=-1, keepdims=True))
    return np.asarray(v * np.minimum(1.0, NEAR / np.maximum(length, 1e-300)))


def _without(coefficients: Coefficients, factors: Sequence[Factor]) -> Coefficients:
    """Without the effects that are integrated out."""
    effects = {f.by for f in factors if not f.of_tastes}
    tastes = {f.by for f in factors if f.of_tastes}
    return replace(
        coefficients,
        effects={k: v for k, v in (coefficients.effects or {}).items() if k not in effects},
        tastes={k: v for k, v in (coefficients.tastes or {}).items() if k not in tastes},
    )


def _average(coefficients: Coefficients, shares: Array) -> Coefficients:
    """The average draw, as one."""

    def mean(values: Any) -> Any:
        if isinstance(values, Mapping):
            return {name: mean(of) for name, of in values.items()}
        return None if values is None else np.tensordot(shares, values, 1)[None]

    named = {of.name: mean(getattr(coefficients, of.name)) for of in fields(coefficients)}
    return Coefficients(**named)


def _first(codes: Codes) -> Codes:
    """Where each code begins among sorted ones."""
    return np.asarray(np.flatnonzero(np.diff(codes, prepend=-1)), dtype=np.int64)


def _pairs(one: Codes, other: Codes) -> Codes:
    """A code for every pair of codes, ordered by the first."""
    both = one.astype(np.int64) * (int(other.max()) + 1) + other
    return np.asarray(np.unique(both, return_inverse=True)[1], dtype=np.int64)


def _runs(codes: Codes) -> tuple[Codes, Codes]:
    """Codes from 0 in the order of rows, and where each begins."""
    changes = np.diff(codes, prepend=codes[0] - 1) != 0
    return np.cumsum(changes) - 1, np.flatnonzero(changes)
