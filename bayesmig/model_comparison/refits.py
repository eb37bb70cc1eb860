"""Units left out by fitting again without them: K-fold, one by one, or forward in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bayesmig.choice.utility import take_rows
from bayesmig.design.design import Design, label_text
from bayesmig.errors import ConvergenceError, QuestionError
from bayesmig.inference.refit import Refit, mode_of, refit
from bayesmig.inference.stream import RowLogLikelihood, ahead
from bayesmig.model_comparison.integrals import (
    Densities,
    Factor,
    covariance_roots,
    factors_of,
    lies_in,
)
from bayesmig.model_comparison.left_out import Estimate, inexact_text
from bayesmig.model_comparison.quadrature import log_sum_exp
from bayesmig.posterior import Posterior
from bayesmig.progress import Progress
from bayesmig.survey.rates import periods_in_order

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: Draws × rows of which likelihoods are held at once.
_BLOCK_SIZE = 8_000_000


@dataclass(frozen=True)
class Fold:
    """Rows that are left out together, as positions, and those that are kept."""

    left: Codes
    kept: Codes


def folds_of(units: Codes, folds: int, seed: int) -> list[Fold]:
    """Units in so many parts of about one number, at random; of all units, one by one."""
    n = int(units.max()) + 1
    order = np.random.default_rng(seed).permutation(n)
    part = np.empty(n, dtype=np.int64)
    part[order] = np.arange(n) * folds // n
    of_rows = part[units]
    return [_fold(of_rows == k) for k in range(folds)]


def last_period(design: Design) -> tuple[Fold, str, int]:
    """The rows of the last period and all before it, its label, and the number of periods.

    Raises
    ------
    QuestionError
        Where the survey declares no period, or one only.
    SurveyError
        Where periods are text that shows no order.
    """
    if "period" not in design.roles:
        raise QuestionError(
            "the survey declares no period, so that there is no next one",
            where="compare(question='period')",
            mend="declare the role period in the codebook, or ask another question",
        )
    labels = design.frame[design.roles["period"]].map(label_text)
    in_order = periods_in_order(labels, where=("compare(question='period')",))
    if (count := len(in_order)) < 2:
        raise QuestionError(
            "there is one period only, nothing would be left to predict from",
            where="compare(question='period')",
        )
    return _fold((labels == in_order[-1]).to_numpy()), in_order[-1], count


def _fold(left: NDArray[np.bool_]) -> Fold:
    return Fold(np.flatnonzero(left), np.flatnonzero(~left))


# Of all refits at once: limits that several threads set and lift would outlast them.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def refitted(
    name: str,
    posterior: Posterior,
    units: Codes,
    folds: list[Fold],
    *,
    seed: int,
    allow_unconverged: bool,
    progress: Progress,
) -> Estimate:
    """Log densities of units that were left out, by fits to the rest.

    Parameters
    ----------
    name, posterior
        A theory.
    units
        Unit of every row, from 0; of those that are left out only, where these are not all.
    folds
        What is left out at a time; no unit lies in two.
    seed, allow_unconverged, progress
        As of `compare`.

    Raises
    ------
    ConvergenceError
        Where draws of a refit have not converged.
    """
    n = int(units[np.concatenate([f.left for f in folds])].max()) + 1
    elpd, worth, error = np.full(n, np.nan), list[float](), 0.0
    problems = list[str]()
    texts: dict[str, None] = {}
    start = mode_of(posterior) if len(folds) > 1 else None

    def without(numbered: tuple[int, Fold]) -> tuple[Codes, Array, _Held]:
        number, fold = numbered
        again = refit(posterior, fold.kept, seed=seed + number, start=start)
        which, of_units = np.unique(units[fold.left], return_inverse=True)
        held = _Held(posterior.design, fold, of_units.astype(np.int64), again)
        return which, log_sum_exp(held.densities() + again.log_weights[:, None]), held

    # Weighted draws of few rows leave cores idle; chains do not, nor does a single fold.
    every = map(without, enumerate(folds)) if start is None else ahead(without, enumerate(folds))
    for number, (which, densities, held) in enumerate(every):
        elpd[which] = densities
        problems += held.again.problems
        error += held.error
        texts[held.text] = None
        worth.append(held.again.worth)
        progress(f"refits, {name}", number + 1, len(folds))
    if problems and not allow_unconverged:
        raise ConvergenceError(
            f"draws of {len(problems)} of the refits have not converged: {problems[0]}",
            where=f"refits of {name!r}",
            mend="pass allow_unconverged=True to look all the same, or ask about left-out units "
            "without folds=",
        )
    cautions = []
    if problems:
        cautions.append(f"Refits of {name!r} have not converged ({problems[0]}).")
    cautions += inexact_text(name, error)
    nothing = np.full(n, np.nan)
    effects = "; ".join(texts)
    draws = round(float(np.mean(worth)))
    return Estimate(elpd, nothing, nothing, draws, draws, effects, tuple(cautions), error)


class _Held:
    """Rows that were left out, of units numbered from 0, and draws that have not seen them."""

    def __init__(self, design: Design, fold: Fold, units: Codes, again: Refit) -> None:
        self.design, self.units, self.again, self.error = design, units, again, 0.0
        self.columns = take_rows(design.columns, fold.left)
        self.choice = design.choice[fold.left]
        factors = factors_of(design)
        #: Whether a row's group has no rows that were kept, by factor.
        self.new = {
            by: ~np.isin(f.codes[fold.left], f.codes[fold.kept]) for by, f in factors.items()
        }
        self.factors = {by: _rows_of(f, fold.left) for by, f in factors.items()}

    @property
    def text(self) -> str:
        """What was done with effects of groups."""
        chosen = [f.name for f in self._integrated()]
        drawn = [by for by in self.factors if by not in chosen and self.new[by].any()]
        known = [by for by in self.factors if by not in chosen and not self.new[by].any()]
        parts = []
        if chosen:
            parts.append(f"effects of new groups ({', '.join(chosen)}) integrated out")
        if drawn:
            parts.append(f"effects of new groups ({', '.join(drawn)}) drawn from their prior")
        if known:
            parts.append(f"effects of {', '.join(known)} known from the rest")
        return ", ".join(parts) or "no effects of groups"

    def _integrated(self) -> tuple[Factor, ...]:
        """Factors with new groups: one, or two of which one lies in the other."""
        new = sorted(
            (f for by, f in self.factors.items() if self.new[by].any()), key=lambda f: f.present
        )
        nested = len(new) == 2 and lies_in(new[1].codes, new[0].codes)
        return tuple(new) if nested else tuple(new[:1])

    def densities(self) -> Array:
        """Log densities of units, ``(draw, unit)``."""
        factors, n = self._integrated(), int(self.units.max()) + 1
        total = np.zeros((len(self.again.log_weights), n))
        if not factors:
            self._add_known(total, np.arange(len(self.units)))
            return total
        inner = self.new[factors[-1].name]
        outer = inner & self.new[factors[0].name]
        for rows, of in ((outer, factors), (inner & ~outer, factors[-1:])):
            if rows.any():
                self._add_integrals(total, np.flatnonzero(rows), of)
        if not inner.all():
            self._add_known(total, np.flatnonzero(~inner))
        return total

    def _add_integrals(self, total: Array, rows: Codes, factors: tuple[Factor, ...]) -> None:
        some, units = np.unique(self.units[rows], return_inverse=True)
        found = Densities(
            take_rows(self.columns, rows),
            self.choice[rows],
            self.again.coefficients,
            [_rows_of(f, rows) for f in factors],
            {f.name: covariance_roots(self.again.named, f) for f in factors},
            units.astype(np.int64),
            alone=True,
            shares=np.exp(self.again.log_weights),
        )
        self.error += found.error
        for which, block in found.blocks(np.arange(len(total))):
            np.add.at(total.T, some[which], block.T)

    def _add_known(self, total: Array, rows: Codes) -> None:
        for part in np.array_split(rows, -(-len(rows) * len(total) // _BLOCK_SIZE)):
            values = _at_rows(self, part)
            np.add.at(total.T, self.units[part], values.T)


def _at_rows(held: _Held, rows: Codes) -> Array:
    likelihood = RowLogLikelihood(take_rows(held.columns, rows), held.choice[rows])
    return likelihood(held.again.coefficients)


def _rows_of(factor: Factor, rows: Codes) -> Factor:
    """The same factor of some rows."""
    return Factor(factor.by, factor.of_tastes, factor.codes[rows], factor.shape, factor.steps)
