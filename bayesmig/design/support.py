"""What the data can carry, looked at before any sampling: rank, separation, ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesmig.choice.utility import Columns
from bayesmig.design.formula import CONSTANT
from bayesmig.design.priors import PriorArray
from bayesmig.errors import DesignError
from bayesmig.spec.model import ModelSpec

#: Smallest eigenvalue of the correlation of columns that counts as full rank.
_RANK_TOLERANCE = 1e-9
_CHUNK = 50_000
_NEWTON_STEPS = 30


class Labels(NamedTuple):
    """Labels of the coefficients of a design.

    Attributes
    ----------
    persons, attribute_terms
        Names.
    only
        (alternative, name).
    """

    persons: tuple[str, ...]
    only: tuple[tuple[str, str], ...]
    attribute_terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """Observed support of the columns that the theory reads.

    Attributes
    ----------
    ranges
        Numeric column -> (lowest, 1st percentile, 99th percentile, highest).
    levels
        Text column -> its levels, at most 1,000.
    warnings
        What the data hardly carry, in words.
    """

    ranges: Mapping[str, tuple[float, float, float, float]]
    levels: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def check_support(
    spec: ModelSpec,
    frame: pd.DataFrame,
    columns: Columns,
    choice: np.ndarray,
    labels: Labels,
    priors: Mapping[str, PriorArray],
) -> Support:
    """Refuse designs that are not identified; note what is weakly so.

    Raises
    ------
    DesignError
        For a column that is constant or a combination of others, and for an
        alternative that the columns separate perfectly from the base.
    """
    _refuse_constant_columns(columns.persons, labels.persons)
    _check_rank(_centred(columns, labels.persons), _coefficients(spec, labels))
    warnings = _check_separation(spec, columns, choice, labels, priors)
    ranges, levels = observed_ranges(frame)
    return Support(ranges, levels, tuple(warnings))


def observed_ranges(
    frame: pd.DataFrame,
) -> tuple[dict[str, tuple[float, float, float, float]], dict[str, tuple[str, ...]]]:
    """Ranges of numeric columns and levels of the others."""
    ranges, levels = {}, {}
    for column in map(str, frame.columns):
        values = frame[column]
        if pd.api.types.is_numeric_dtype(values):
            numbers = values.to_numpy(dtype=float)
            low, p1, p99, high = np.nanquantile(numbers, [0, 0.01, 0.99, 1])
            ranges[column] = (float(low), float(p1), float(p99), float(high))
        else:
            found = sorted(values.dropna().astype(str).unique())
            levels[column] = tuple(found[:1000])
    return ranges, levels


# ----------------------------------------------------------------------------- rank


def _coefficients(spec: ModelSpec, labels: Labels) -> list[str]:
    """Every coefficient's label, in the order of `difference_rows`."""
    persons = [n for n in labels.persons for _ in spec.choice.nonbase]
    only = [f"{n} (only {a})" for a, n in labels.only]
    return [*persons, *only, *labels.attribute_terms]


def _refuse_constant_columns(x: np.ndarray, labels: tuple[str, ...]) -> None:
    """Name a column that does not vary plainly, before the rank does in general."""
    if CONSTANT not in labels:
        return
    for k, label in enumerate(labels):
        if label != CONSTANT and x[:, k].min() == x[:, k].max():
            raise DesignError(
                f"the column {label!r} is constant (= {float(x[0, k])!r}): "
                "it cannot be told from the constant",
                where=f"column {label}",
                mend="leave it out of the theory, or correct its recodes in the codebook",
            )


def _centred(columns: Columns, labels: tuple[str, ...]) -> Columns:
    """The same column space, without the near-collinearity of far-off zeros.

    Beside a constant, ``year`` and ``square(year)`` are told apart by their deviations.
    """
    if CONSTANT not in labels:
        return columns
    constant = np.array([label == CONSTANT for label in labels])
    centre = np.where(constant, 0.0, columns.persons.mean(axis=0))
    return replace(columns, persons=columns.persons - centre)


def _check_rank(columns: Columns, labels: list[str]) -> None:
    """Name the columns whose coefficients the utilities cannot tell apart."""
    gram = sum(rows.T @ rows for rows in difference_rows(columns))
    scale = np.sqrt(np.diag(gram))
    zero = [label for label, s in zip(labels, scale, strict=True) if s == 0]
    if zero:
        raise DesignError(
            f"the column {zero[0]!r} is zero for everybody",
            where="key utility",
            mend="leave it out of the theory",
        )
    correlation = gram / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(correlation)
    if values[0] > _RANK_TOLERANCE * values[-1]:
        return
    loading = np.abs(vectors[:, 0])
    involved = dict.fromkeys(
        label for label, w in zip(labels, loading, strict=True) if w > 0.05 * loading.max()
    )
    raise DesignError(
        "the design is rank-deficient: these columns are combinations of each other: "
        + ", ".join(map(repr, list(involved)[:8])),
        where="key utility",
        mend="two codings of one fact, or a category beside its own sum give this; "
        "leave one of them out",
    )


def difference_rows(columns: Columns) -> Iterator[np.ndarray]:
    """Derivative of every utility difference against the base, in chunks of rows.

    Yields
    ------
    ndarray
        ``(rows × nonbase, coefficients)`` in the order persons (coefficient by
        nonbase), only, attributes. Unavailable alternatives give rows of zeros.
    """
    width, base = columns.n_alternatives - 1, columns.base
    k = columns.persons.shape[1]
    n_only = sum(b.shape[1] for b in columns.only.values())
    n_attributes = 0 if columns.attributes is None else columns.attributes.shape[2]
    nonbase = [j for j in range(columns.n_alternatives) if j != base]
    for start in range(0, len(columns.persons), _CHUNK):
        rows = slice(start, start + _CHUNK)
        x = columns.persons[rows]
        out = np.zeros((len(x), width, k * width + n_only + n_attributes))
        for w in range(width):
            out[:, w, w : k * width : width] = x
        at = k * width
        for position, block in columns.only.items():
            stop = at + block.shape[1]
            if position == base:
                out[:, :, at:stop] = -block[rows, None, :]
            else:
                out[:, nonbase.index(position), at:stop] = block[rows]
            at = stop
        if columns.attributes is not None:
            a = columns.attributes[rows]
            out[:, :, at:] = a[:, nonbase] - a[:, [base]]
        if columns.available is not None:
            open_ = columns.available[rows]
            out *= (open_[:, nonbase] & open_[:, [base]])[:, :, None]
        yield out.reshape(-1, out.shape[2])


# ----------------------------------------------------------------------- separation


def _check_separation(
    spec: ModelSpec,
    columns: Columns,
    choice: np.ndarray,
    labels: Labels,
    priors: Mapping[str, PriorArray],
) -> list[str]:
    """Refuse perfect separation, and quasi-separation under flat priors; else note it."""
    notes = []
    base = columns.base
    for position, alternative in enumerate(spec.choice.alternatives):
        if position == base:
            continue
        rows = (choice == position) | (choice == base)
        if columns.available is not None:
            rows &= columns.available[:, position] & columns.available[:, base]
        x, y = columns.persons[rows], choice[rows] == position
        if y.all() or not y.any():
            continue
        if (column := _separating_column(x, y, labels.persons)) or _separates(x, y):
            by = f"the column {column!r}" if column else "the columns together"
            raise DesignError(
                f"{by} separate(s) {alternative!r} from {spec.choice.base!r} perfectly: "
                "the likelihood has no maximum",
                where="key utility.persons",
                mend="leave out the column (it may be a consequence of the choice), "
                "or merge alternatives",
            )
        for cell in _empty_cells(x, y, labels.persons):
            note = f"{cell} chose {alternative!r} rather than {spec.choice.base!r}"
            if priors["persons"].is_flat:
                raise DesignError(
                    f"{note}: the likelihood has no maximum, and the prior is flat",
                    where="key priors",
                    mend="use a proper prior, or leave the column out",
                )
            notes.append(f"{note}: the coefficient rests on the prior")
    return notes


def _separating_column(x: np.ndarray, y: np.ndarray, labels: tuple[str, ...]) -> str:
    """A single column whose values for the two choices do not overlap."""
    for k, label in enumerate(labels):
        yes, no = x[y, k], x[~y, k]
        if yes.min() > no.max() or yes.max() < no.min():
            return label
    return ""


def _empty_cells(x: np.ndarray, y: np.ndarray, labels: tuple[str, ...]) -> list[str]:
    """Indicators one of whose values goes with one choice only, in words."""
    indicator = ((x == 0) | (x == 1)).all(axis=0) & (x.min(axis=0) < x.max(axis=0))
    cells = []
    for k in np.flatnonzero(indicator):
        for value in (1, 0):
            chosen = y[x[:, k] == value]
            if not chosen.any():
                cells.append(f"nobody with {labels[k]} = {value}")
            elif chosen.all():
                cells.append(f"everybody with {labels[k]} = {value}")
    return cells


def _separates(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether some linear index classifies every row.

    A nearly unpenalised logit runs off towards the separating direction where there is
    one, so a few Newton steps classify all rows; otherwise they never do.
    """
    scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    z = x / scale
    beta = np.zeros(z.shape[1])
    sign = np.where(y, 1.0, -1.0)
    for _ in range(_NEWTON_STEPS):
        index = np.clip(z @ beta, -35, 35)
        if (sign * index > 0).all():
            return True
        p = 1 / (1 + np.exp(-index))
        hessian = (z * (p * (1 - p))[:, None]).T @ z + 1e-8 * np.eye(z.shape[1])
        step = np.linalg.solve(hessian, z.T @ (y - p) - 1e-8 * beta)
        beta = beta + step
        if np.abs(step).max() < 1e-6:
            return False
    return False
