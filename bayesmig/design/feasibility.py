"""Consideration on a survey: columns of feasibility, their signs and priors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesmig.design.formula import CONSTANT, Encoder, RowsError, learn
from bayesmig.errors import DesignError, nearest
from bayesmig.spec.model import ModelSpec

#: Mean of a half-normal distribution of scale one.
_HALF_NORMAL_MEAN = float(np.sqrt(2 / np.pi))
_RANK_TOLERANCE = 1e-9
#: (alternative, the table's rows) -> the table with attributes of that alternative.
WithAttributes = Callable[[str, pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Feasibility:
    """Coefficients of the log odds of being feasible, every array ``(term,)``.

    Attributes
    ----------
    labels
        (alternative, name) of each.
    loc, scale
        Of a normal prior; of a half-normal one, away from zero, where a sign is stated.
    sign
        1, -1, or 0 where both are possible.
    """

    labels: tuple[tuple[str, str], ...]
    loc: np.ndarray
    scale: np.ndarray
    sign: np.ndarray


def learn_feasible(
    spec: ModelSpec,
    frame: pd.DataFrame,
    encoders: dict[str, Encoder],
    with_attributes: WithAttributes,
) -> dict[int, np.ndarray]:
    """Columns of feasibility by position of the alternative, ``(obs, k)`` each."""
    found: dict[int, np.ndarray] = {}
    for alternative, formula in spec.feasible_formulas.items():
        where = f"key consideration.feasible.{alternative}"
        constant = formula.intercept is not False
        table = with_attributes(alternative, frame)
        encoder, columns = learn(formula, table, constant=constant, where=where)
        _refuse_dependent(columns, encoder.names, where)
        encoders[f"consideration.{alternative}"] = encoder
        found[spec.choice.alternatives.index(alternative)] = columns
    return found


def apply_feasible(
    spec: ModelSpec,
    frame: pd.DataFrame,
    encoders: Mapping[str, Encoder],
    with_attributes: WithAttributes,
    where: str,
) -> dict[int, np.ndarray]:
    """As `learn_feasible`, of another table."""
    return {
        spec.choice.alternatives.index(a): encoders[f"consideration.{a}"].apply(
            with_attributes(a, frame), where=where
        )
        for a in spec.feasible_formulas
    }


def base_is_open(spec: ModelSpec, available: np.ndarray | None, where: str) -> None:
    """Refuse rows that could be left without any alternative.

    Raises
    ------
    DesignError
        Where there is consideration and the base is not available.
    """
    if spec.consideration is None or available is None:
        return
    base = spec.choice.base
    closed = np.flatnonzero(~available[:, spec.choice.alternatives.index(base)])
    if len(closed):
        raise RowsError(
            f"the base {base!r} is not available, and all others may be infeasible",
            where=(where, f"key available.{base}"),
            mend="choose a base that is open to all, or drop these rows in the codebook",
            rows=closed,
        )


def feasibility(
    spec: ModelSpec, blocks: Mapping[int, np.ndarray], encoders: Mapping[str, Encoder]
) -> Feasibility | None:
    """Labels, signs and priors; ``None`` where the theory has no consideration."""
    if spec.consideration is None:
        return None
    labels: list[tuple[str, str]] = []
    parts = []
    for alternative, block in zip(spec.feasible_formulas, blocks.values(), strict=True):
        names = encoders[f"consideration.{alternative}"].names
        sign = _signs(spec, alternative, names)
        labels += [(alternative, name) for name in names]
        parts.append((*_priors(spec, names, block, sign), sign))
    return Feasibility(tuple(labels), *(np.concatenate(p) for p in zip(*parts, strict=True)))


def _signs(spec: ModelSpec, alternative: str, names: tuple[str, ...]) -> np.ndarray:
    assert spec.consideration is not None
    stated = spec.consideration.signs.get(alternative, {})
    for name in stated:
        if name not in names or name == CONSTANT:
            known = [n for n in names if n != CONSTANT]
            raise DesignError(
                f"a sign is stated for {name!r}, which is no slope of the feasibility of "
                f"{alternative!r}; {nearest(name, known)}",
                where=f"key consideration.signs.{alternative}",
                mend="name one of " + ", ".join(known) if known else "leave it out",
            )
    of = {"positive": 1.0, "negative": -1.0}
    return np.array([of[stated[n]] if n in stated else 0.0 for n in names])


def _priors(
    spec: ModelSpec, names: tuple[str, ...], block: np.ndarray, sign: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of each coefficient.

    The constant's are those of the average person's log odds: where columns are not
    centred, it takes up what the priors of the others imply for their means.
    """
    prior, constant = spec.priors.feasibility, np.array([n == CONSTANT for n in names])
    spread = np.where(constant, 1.0, block.std(axis=0))
    scale = prior.scale / spread
    away = np.where(constant, 0.0, block.mean(axis=0) * scale)
    variance = np.where(sign == 0, 1.0, 1 - _HALF_NORMAL_MEAN**2)
    loc = np.where(constant, prior.constant_loc - (away * sign * _HALF_NORMAL_MEAN).sum(), 0.0)
    wide = np.sqrt(prior.constant_scale**2 + (away**2 * variance).sum())
    return loc, np.where(constant, wide, scale)


def _refuse_dependent(columns: np.ndarray, names: tuple[str, ...], where: str) -> None:
    """Columns are no combinations of each other."""
    centred = columns - (columns.mean(axis=0) if CONSTANT in names else 0.0)
    some = [k for k, name in enumerate(names) if name != CONSTANT]
    size = np.sqrt((centred[:, some] ** 2).sum(axis=0))
    flat = [names[k] for k, s in zip(some, size, strict=True) if s <= 1e-12 * len(columns)]
    if not flat and some:
        scaled = centred[:, some] / size
        values, vectors = np.linalg.eigh(scaled.T @ scaled)
        if values[0] <= _RANK_TOLERANCE * values[-1]:
            loading = np.abs(vectors[:, 0])
            flat = [names[k] for k, w in zip(some, loading, strict=True) if w > 0.05]
    if flat:
        raise DesignError(
            "these columns of feasibility are constant or combinations of each other: "
            + ", ".join(map(repr, flat)),
            where=where,
            mend="leave one of them out",
        )
