"""What the data can carry, looked at before any sampling: rank, separation, ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayesmig.choice.utility import Columns
from bayesmig.chunks import chunks
from bayesmig.design.differences import Labels, centre_of, difference_rows, products
from bayesmig.design.formula import CONSTANT
from bayesmig.design.identification import identification_warnings
from bayesmig.design.priors import PriorArray
from bayesmig.design.separation import check_separation
from bayesmig.errors import DesignError
from bayesmig.spec.model import ModelSpec

__all__ = ["Support", "check_support", "difference_rows", "observed_ranges"]
#: Smallest eigenvalue of the correlation of columns that counts as full rank.
_RANK_TOLERANCE = 1e-9


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
        For a column that is constant or a combination of others, for alternatives that
        columns separate perfectly, and for any separation along flat priors.
    """
    _refuse_constant_columns(columns.persons, labels.persons)
    _check_rank(products(columns, centre_of(columns, labels.persons)), _coefficients(spec, labels))
    # Along curves nothing runs off: their parameters have proper priors.
    linear = replace(columns, curves=(), doses=None)
    warnings = check_separation(spec.choice.alternatives, linear, choice, labels, priors)
    warnings += identification_warnings(spec, columns)
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
            found = pd.Index(pd.factorize(values)[1]).astype(str)
            levels[column] = tuple(sorted(set(found))[:1000])
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
    flat = np.ones(len(labels), dtype=bool)
    for rows in chunks(len(x)):
        if not (flat := flat & (x[rows] == x[0]).all(axis=0)).any():
            return
    for k, label in enumerate(labels):
        if label != CONSTANT and flat[k]:
            raise DesignError(
                f"the column {label!r} is constant (= {float(x[0, k])!r}): "
                "it cannot be told from the constant",
                where=f"column {label}",
                mend="leave it out of the theory, or correct its recodes in the codebook",
            )


def _check_rank(gram: np.ndarray, labels: list[str]) -> None:
    """Name the columns whose coefficients the utilities cannot tell apart."""
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
