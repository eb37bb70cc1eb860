"""Reflection: columns that contain the choice which they are to explain.

The share of others who make the choice *now* moves with the own choice for reasons that
have nothing to do with networks, and contains it through the neighbours: the reflection
problem (Manski 1993, doi:10.2307/2298123). A column of the choice, earlier moves that
count the present one, and shares of the present choice are found here and refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SurveyError
from bayesmig.survey.networks import (
    ANY_MOVE,
    THOSE_WHO_COUNT,
    group_codes,
    others,
    zero_or_one,
)

_REFLECTION = (
    "it contains the own choice, and a share of others who choose now is moved by the same "
    "shocks (the reflection problem, Manski 1993); its effect would not be one of networks"
)
_ENOUGH_MOVERS, _NEARLY_ALL, _MOST = 15, 0.97, 0.5
_ALIKE, _EXACT, _FLAT = 0.999, 1e-9, 1e-18
_SAMPLED, _FEW_SHARES, _MANY_ALTERNATIVES = 20_000, 6, 5


def refuse_contemporaneous(
    prior: pd.Series, choice: pd.Series, *, name: str, where: tuple[str, ...] = ()
) -> None:
    """Refuse earlier moves that contain the choice of the same period.

    Parameters
    ----------
    prior
        0/1 with NaN, shape ``(obs,)``.
    choice
        Categorical of alternatives, shape ``(obs,)``, same rows and periods.
    name, where
        Of the column, for messages.

    Raises
    ------
    SurveyError
        Where `prior` is a function of `choice` (an indicator of an alternative, or of
        several), or where at least 97 % of those who now move (15 persons and more) have
        "moved before" while most others have not, a missing value counted as not.

    Notes
    -----
    Where four of five present movers have truly moved before, 15 of them all have with a
    probability of 4 %; where two of three have, of 0.2 %.
    """
    moved = zero_or_one(prior, name, where, mend=ANY_MOVE)
    at = (*where, f"column {name!r}")
    mend = "use moves made before the period"
    _refuse_indicator(moved, choice, f"the column {name!r} of earlier moves", at, mend)
    for values in (moved, np.nan_to_num(moved)):
        if found := _nearly_all(values, choice):
            raise SurveyError(
                f"the column {name!r} of earlier moves seems to count the present one: it is 1 for "
                f"{found.share:.0%} of the {found.persons:,} who choose "
                f"{' or '.join(map(repr, found.alternatives))} in the same period, but for "
                f"{found.others:.0%} of the others; {_REFLECTION}",
                where=at,
                mend=mend,
            )


def refuse_choosers(
    part: pd.Series, choice: pd.Series, *, name: str, where: tuple[str, ...] = ()
) -> None:
    """Refuse a network of those who choose something in the same period.

    A part in which nearly all choosers of a stream are is none of these: nearly all who go
    abroad may be women.

    Parameters
    ----------
    part
        0/1 with NaN, shape ``(obs,)``: of whom the network consists.
    choice, name, where
        As for `refuse_contemporaneous`.

    Raises
    ------
    SurveyError
        Where `part` is no 0/1 column, or the indicator of an alternative, or of several.
    """
    _refuse_indicator(
        zero_or_one(part, name, where, mend=THOSE_WHO_COUNT),
        choice,
        f"the column {name!r}, of whom a network consists,",
        (*where, f"column {name!r}"),
        "use what was known of people before the period",
    )


def _refuse_indicator(
    values: npt.NDArray[np.float64],
    choice: pd.Series,
    what: str,
    where: tuple[str, ...],
    mend: str,
) -> None:
    if the_choice := _indicated(values, choice):
        raise SurveyError(
            f"{what} is the choice itself: it is 1 exactly where "
            f"{' or '.join(map(repr, the_choice))} is chosen in the same period; {_REFLECTION}",
            where=where,
            mend=mend,
        )


@dataclass(frozen=True)
class _Movers:
    """Who choose some alternatives: how many, the share that moved before, and that of others."""

    alternatives: list[str]
    persons: int
    share: float
    others: float


def _indicated(prior: npt.NDArray[np.float64], choice: pd.Series) -> list[str]:
    """Name the alternatives of which a column is the indicator, if it is one."""
    persons, movers = _by_choice(prior, choice)
    seen = persons > 0
    shares = movers[seen] / persons[seen]
    if set(shares) != {0.0, 1.0}:
        return []
    return [a for a, s in zip(choice.cat.categories[seen], shares, strict=True) if s]


def _nearly_all(prior: npt.NDArray[np.float64], choice: pd.Series) -> _Movers | None:
    """Find alternatives, one or all such together, whose choosers nearly all moved before."""
    persons, movers = _by_choice(prior, choice)
    high = movers >= np.maximum(_NEARLY_ALL * persons, 1)
    single = [np.arange(len(persons)) == i for i in np.flatnonzero(high)]
    for these in [*single, high]:
        n, rest = int(persons[these].sum()), int(persons[~these].sum())
        others = movers[~these].sum() / max(rest, 1)
        if n >= _ENOUGH_MOVERS and rest and others < _MOST:
            names = choice.cat.categories[these].tolist()
            return _Movers(names, n, movers[these].sum() / n, others)
    return None


def _by_choice(
    prior: npt.NDArray[np.float64], choice: pd.Series
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Count persons, and those who moved before, by what they choose, ``(alternative,)``."""
    codes = choice.cat.codes.to_numpy()
    known = np.isfinite(prior) & (codes >= 0)
    n = len(choice.cat.categories)
    persons = np.bincount(codes[known], minlength=n)
    return persons, np.bincount(codes[known], weights=prior[known], minlength=n)


def refuse_own_choice(name: str, *, where: tuple[str, ...] = ()) -> None:
    """Raise for a column that would explain the choice and is computed from it."""
    raise SurveyError(
        f"the column {name!r} is the choice column or is derived from it: {_REFLECTION}",
        where=where,
        mend="use a column of what was known before the period, such as earlier moves",
    )


# ----------------------------------------------------- shares of those who choose now


@dataclass(frozen=True)
class Mirror:
    """A column that goes with the share of those who choose now.

    Attributes
    ----------
    column
        Its name.
    share
        Of whom, in words.
    r
        Their correlation over rows.
    """

    column: str
    share: str
    r: float

    @property
    def exact(self) -> bool:
        """Whether it is that share, but for its unit."""
        return 1 - abs(self.r) < _EXACT


@dataclass(frozen=True)
class _Share:
    """Whose choice, within what, and which rows are left out: the own part, or none."""

    alternatives: tuple[str, ...]
    within: tuple[str, ...]
    own: tuple[str, ...] | None
    weighted: bool

    def __str__(self) -> str:
        chosen = " or ".join(map(repr, self.alternatives))
        place = " and ".join(self.within)
        left_out = "" if self.own is None else f", own {' and '.join(self.own) or 'row'} left out"
        return f"the share of the same {place} who choose {chosen} now{left_out}"

    def of(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Compute it, shape ``(obs,)``; NaN where there is nobody."""
        heads = frame["weight"].to_numpy() if self.weighted else np.ones(len(frame))
        movers = heads * frame["choice"].isin(self.alternatives).to_numpy()
        outer = group_codes(frame, list(self.within))
        if self.own is None:
            sums = [np.bincount(outer, weights=v)[outer] for v in (movers, heads)]
        else:
            inner = group_codes(frame, [*self.within, *self.own]) if self.own else None
            sums = [others(v, outer, inner) for v in (movers, heads)]
        share = np.full(len(frame), np.nan)
        np.divide(sums[0], sums[1], out=share, where=sums[1] > 0)
        return share


def mirrors(roles: pd.DataFrame, columns: Mapping[str, pd.Series]) -> tuple[Mirror, ...]:
    """Find columns that are shares of the present choice within the place.

    Parameters
    ----------
    roles
        ``choice`` and ``origin``, and where declared ``period``, ``household`` and
        ``weight``; shape ``(obs, …)``.
    columns
        The numbers that may explain the choice, each ``(obs,)``.

    Returns
    -------
    tuple of Mirror
        Columns whose correlation with such a share is above .999 in size: of one or more
        alternatives, by origin or origin and period, with or without the own row or
        household, weighted or not. Each column once.

    Notes
    -----
    Fewer than six places, or six different shares, show nothing: any column of two values
    goes with a share in two places. All shares are tried in some origins first, so that a large
    survey costs little more.
    """
    known = np.flatnonzero(roles.notna().all(axis=1))
    if not (columns and len(known)):
        return ()
    roles = _numbered(roles.iloc[known].reset_index(drop=True))
    some = np.flatnonzero(roles["origin"].isin(_some_origins(roles["origin"])))
    few, table = roles.iloc[some], _table(columns.values(), known[some])
    found: dict[str, Mirror] = {}
    for share in _shares(roles):
        expected = share.of(few)
        near = [n for n, r in zip(columns, _rs(table, expected), strict=True) if abs(r) > _ALIKE]
        if near and len(some) < len(roles):
            expected = share.of(roles)
        for name in near:
            (r,) = _rs(_table([columns[name]], known), expected)
            if abs(r) > max(_ALIKE, abs(found[name].r) if name in found else 0):
                found[name] = Mirror(name, str(share), float(r))
    return tuple(found.values())


@dataclass(frozen=True)
class _Table:
    """Some rows of columns, ``(column, obs)``: a large survey is never held twice."""

    numbers: npt.NDArray[np.float64]

    @cached_property
    def centred(self) -> npt.NDArray[np.float64] | None:
        """The same without their means, once for all shares; None where a number is missing."""
        known = np.isfinite(self.numbers)
        return _centred(self.numbers, known, known.sum(axis=1)) if known.all() else None


def _table(columns: Iterable[pd.Series], rows: npt.NDArray[np.intp]) -> _Table:
    return _Table(np.stack([values.iloc[rows].to_numpy(dtype="float64") for values in columns]))


def _numbered(roles: pd.DataFrame) -> pd.DataFrame:
    """Put numbers for the labels of places, periods and households."""
    labels = [c for c in ("origin", "period", "household") if c in roles]
    return roles.assign(**{c: pd.factorize(roles[c])[0] for c in labels})


def refuse_mirrors(found: tuple[Mirror, ...], *, where: tuple[str, ...] = ()) -> None:
    """Refuse columns that are exactly a share of the present choice."""
    for mirror in found:
        if mirror.exact:
            raise SurveyError(
                f"the column {mirror.column!r} is {mirror.share}: {_REFLECTION}",
                where=(*where, f"column {mirror.column!r}"),
                mend="leave it out (state keep = [...]), and make a share of earlier moves "
                "under [networks]",
            )


def _some_origins(origins: pd.Series) -> pd.Index:
    sizes = origins.value_counts(sort=False)
    return sizes.index[: max(int(np.searchsorted(sizes.cumsum(), _SAMPLED)) + 1, 2 * _FEW_SHARES)]


def _shares(roles: pd.DataFrame) -> Iterator[_Share]:
    moves = roles["choice"].cat.categories[1:].tolist()
    sizes = range(1, len(moves) + 1) if len(moves) < _MANY_ALTERNATIVES else (1, len(moves))
    within = [("origin",), *([("origin", "period")] if "period" in roles else [])]
    own = [None, (), *([("household",)] if "household" in roles else [])]
    within = [w for w in within if len(roles[list(w)].drop_duplicates()) >= _FEW_SHARES]
    for size in sizes:
        for chosen in combinations(moves, size):
            for place in within:
                for left_out in own:
                    for weighted in (False, *([True] if "weight" in roles else [])):
                        yield _Share(chosen, place, left_out, weighted)


def _rs(table: _Table, share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Correlate columns with a share where both are known; 0 where flat."""
    values, none = table.numbers, np.zeros(len(table.numbers))
    if len(np.unique(share[np.isfinite(share)].round(9))) < _FEW_SHARES:
        return none
    if np.isfinite(share).all() and (centred := table.centred) is not None:
        known = np.ones((1, len(share)), dtype=bool)
        n = known.sum(axis=1)
        x, y = centred, _centred(share[None], known, n)
    else:
        known = np.isfinite(values) & np.isfinite(share)
        n = np.maximum(known.sum(axis=1), 1)
        x, y = (_centred(np.where(known, v, 0.0), known, n) for v in (values, share))
    # Sums of products, ``y`` being one row for all columns or one for each.
    xx, yy = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
    xy = np.einsum("ij,ij->i", x, np.broadcast_to(y, x.shape))
    norm = np.sqrt(xx * yy)
    np.divide(xy, norm, out=none, where=(xx > _FLAT * n) & (norm > 0))
    return none


def _centred(
    values: npt.NDArray[np.float64], known: npt.NDArray[np.bool_], n: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Take the mean off, in units of the largest size, so that nothing overflows."""
    size = np.maximum(np.abs(values).max(axis=1), np.finfo(float).tiny)
    scaled = values / size[:, None]
    centred: npt.NDArray[np.float64] = scaled - (scaled.sum(axis=1) / n)[:, None]
    return np.where(known, centred, 0.0)
