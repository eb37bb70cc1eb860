"""Columns whose coefficients share a standard deviation that is learnt.

A **smooth** of a column is a cubic spline less its straight line, in coordinates in which a
roughness penalty is a sum of squares: with ``B`` the B-splines on even knots and
``Omega_kl = integral of B_k'' B_l''`` (O'Sullivan 1986; Wand and Ormerod 2008, doi
10.1111/j.1467-842X.2008.00507.x), ``Omega = U diag(d) U'`` has two zeros, of constants and
lines, and ``Z = B U_+ diag(d_+)^-1/2`` has independent normal coefficients of one scale.
Constant and line are taken out of ``Z`` over the survey's rows: they have coefficients of
their own. It is scaled so that a standard deviation of one is a bend of one in log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayesmig.chunks import chunks
from bayesmig.design.formula import Encoder, RowsError, learn
from bayesmig.errors import DesignError
from bayesmig.expressions import Formula, parse_formula

_DEGREE = 3


@dataclass(frozen=True, slots=True)
class Smooth:
    """The bends of a column, as an `Encoder` gives columns.

    Attributes
    ----------
    line
        Gives the column itself.
    names
        Labels of the bends, the slowest first.
    """

    line: Encoder
    names: tuple[str, ...]
    _bends: Any = field(repr=False)

    @property
    def formula(self) -> Formula:
        """What is read."""
        return self.line.formula

    @property
    def levels(self) -> Mapping[str, tuple[Any, ...]]:
        """None: the column is a number."""
        return self.line.levels

    def apply(self, frame: pd.DataFrame, *, where: str = "new data") -> np.ndarray:
        """The bends at the rows of a table, ``(rows, len(names))``; errors as `Encoder.apply`.

        Outside the range of the fit there is no bend that the data know of: refused.
        """
        values = self.line.apply(frame, where=where)[:, 0]
        knots = self._bends.t
        beyond = np.flatnonzero((values < knots[0]) | (values > knots[-1]))
        if len(beyond):
            raise RowsError(
                f"{self.formula.text!r} is {values[beyond[0]]:g}, and its smooth is known from "
                f"{knots[0]:g} to {knots[-1]:g}, the range of the survey of the fit",
                where=(where, f"column {self.formula.text}"),
                mend="clip the column to that range, or ask about a change that stays in it: "
                "comparisons takes a pair, from and to",
                rows=beyond,
            )
        return _evaluated(self._bends, values)

    def derivative(
        self, frame: pd.DataFrame, along: Mapping[str, np.ndarray], *, where: str = "new data"
    ) -> np.ndarray:
        """As `Encoder.derivative`."""
        speed = self.line.derivative(frame, along, where=where)
        slopes = _evaluated(self._bends.derivative(), self.line.apply(frame, where=where)[:, 0])
        return np.asarray(speed * slopes)


@dataclass(frozen=True, slots=True)
class Scaled:
    """Columns over their standard deviations, as an `Encoder` gives them.

    Attributes
    ----------
    of
        Gives the columns.
    sizes
        Their standard deviations, ``(column,)``.
    """

    of: Encoder
    sizes: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the columns."""
        return self.of.names

    @property
    def formula(self) -> Formula:
        """What is read."""
        return self.of.formula

    @property
    def levels(self) -> Mapping[str, tuple[Any, ...]]:
        """As `Encoder.levels`."""
        return self.of.levels

    def apply(self, frame: pd.DataFrame, *, where: str = "new data") -> np.ndarray:
        """As `Encoder.apply`."""
        return np.asarray(self.of.apply(frame, where=where) / self.sizes)

    def derivative(
        self, frame: pd.DataFrame, along: Mapping[str, np.ndarray], *, where: str = "new data"
    ) -> np.ndarray:
        """As `Encoder.derivative`."""
        return np.asarray(self.of.derivative(frame, along, where=where) / self.sizes)


def learn_smooth(
    column: str, size: int, frame: pd.DataFrame, *, where: str
) -> tuple[Smooth, np.ndarray]:
    """Learn the bends of a column on a table.

    Parameters
    ----------
    column
        Its name.
    size
        Number of bends.
    frame
        The table.
    where
        The key, for messages.

    Returns
    -------
    tuple
        The smooth, and its columns, ``(rows, size)``.

    Raises
    ------
    DesignError
        Where the column is missing or no number, or has too few different values.
    """
    line, values = learn(parse_formula(column, where=where), frame, constant=False, where=where)
    x = values[:, 0]
    different = len(np.unique(x))
    if different < size + 2:
        raise DesignError(
            f"{column!r} has {different} different values, too few for {size} bends beside a line",
            where=(where, f"column {column}"),
            mend=f"ask for at most {max(different - 2, 0)} bends, or take the smooth out",
        )
    bends = _bends(x, size)
    names = tuple(f"{column}~{k + 1}" for k in range(size))
    return Smooth(line, names, bends), _evaluated(bends, x)


def learn_scaled(
    formula: Formula, frame: pd.DataFrame, *, where: str, unit: bool = False
) -> tuple[Scaled, np.ndarray]:
    """Learn columns over their standard deviations, or in their units; otherwise as `learn`."""
    encoder, columns = learn(formula, frame, constant=False, where=where)
    sizes = columns.std(axis=0)
    if (still := np.flatnonzero(sizes == 0)).size:
        name = encoder.names[still[0]]
        raise DesignError(
            f"{name!r} has one value in all rows: it drives nothing",
            where=(where, f"column {name}"),
            mend="take it out of the theory",
        )
    sizes = np.ones(len(sizes)) if unit else sizes
    return Scaled(encoder, sizes), columns / sizes


def _bends(x: np.ndarray, size: int) -> Any:
    """A spline with ``size`` columns of values."""
    from scipy.interpolate import BSpline

    count = size + 2
    inner = np.linspace(x.min(), x.max(), count - _DEGREE + 1)
    knots = np.concatenate([[inner[0]] * _DEGREE, inner, [inner[-1]] * _DEGREE])
    roughness, vectors = np.linalg.eigh(_penalty(knots, count))
    rough = vectors[:, 2:] / np.sqrt(roughness[2:])
    # B-splines sum to one, and their knots' means make them the line.
    middles = np.array([knots[k + 1 : k + 1 + _DEGREE].mean() for k in range(count)])
    lines = np.column_stack([np.ones(count), middles])
    gram, with_bends = np.zeros((2, 2)), np.zeros((2, size))
    for rows in chunks(len(x)):
        flat = np.column_stack([np.ones(len(x[rows])), x[rows]])
        gram += flat.T @ flat
        with_bends += flat.T @ _evaluated(BSpline(knots, rough, _DEGREE), x[rows])
    rough = rough - lines @ np.linalg.solve(gram, with_bends)
    squares = sum(
        float((_evaluated(BSpline(knots, rough, _DEGREE), x[rows]) ** 2).sum())
        for rows in chunks(len(x))
    )
    return BSpline(knots, rough / np.sqrt(squares / len(x)), _DEGREE)


def _penalty(knots: np.ndarray, count: int) -> np.ndarray:
    """Integrals of products of second derivatives, ``(count, count)``, exactly."""
    from scipy.interpolate import BSpline

    second = BSpline(knots, np.eye(count), _DEGREE).derivative(2)
    ends = np.unique(knots)
    middle, half = (ends[1:] + ends[:-1]) / 2, (ends[1:] - ends[:-1]) / 2
    # Second derivatives are lines between knots: two points of Gauss integrate their squares.
    at = np.concatenate([middle - half / np.sqrt(3), middle + half / np.sqrt(3)])
    values = second(at) * np.sqrt(np.concatenate([half, half]))[:, None]
    return np.asarray(values.T @ values)


def _evaluated(spline: Any, x: np.ndarray) -> np.ndarray:
    out = np.empty((len(x), spline.c.shape[1]))
    for rows in chunks(len(x)):
        out[rows] = spline(x[rows])
    return out
