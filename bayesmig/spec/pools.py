"""Pools of a model file: columns of one kind, whose effects are near each other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from pydantic import Field

from bayesmig.errors import SpecError
from bayesmig.spec.priors import Frozen, Name


class Pool(Frozen):
    """Columns of one kind, whose effects are partially pooled.

    In every alternative's utility the columns have a mean effect, from which each of them
    deviates. The deviations have one scale, which is learnt:
    where it is small, only the sum of the columns counts, and where it is large, each has an
    effect of its own.

    Attributes
    ----------
    name
        Of the mean effect among the coefficients of persons, and of the deviations:
        ``u_pool_NAME``, with the scale ``sigma_pool_NAME``.
    columns
        At least two numbers; none of them has a coefficient of its own.
    per
        Of what effects are near each other: of one standard deviation of each column
        (``sd``), or of one unit (``unit``), where all are counts of one kind. Claims that
        compare columns should be stated in the same: where nothing deviates, effects per
        unit of a column that varies more are smaller.
    """

    name: Name
    columns: Annotated[tuple[Name, ...], Field(min_length=2)]
    per: Literal["sd", "unit"] = "sd"

    @property
    def by(self) -> str:
        """The name of the factor of its deviations."""
        return f"pool_{self.name}"


def check_pools(pools: Sequence[Pool], read: Collection[str], lines: Collection[str]) -> None:
    """Refuse pools whose effects could not be told from others.

    Parameters
    ----------
    pools
        Of a theory.
    read
        Columns that its formulas name elsewhere.
    lines
        Columns that have an effect of their own for every alternative, or a shared one.

    Raises
    ------
    SpecError
        Where a column stands twice, or a name is taken.
    """
    pooled: set[str] = set()
    for number, pool in enumerate(pools):
        where = f"key pools[{number}]"
        if pool.name in [other.name for other in pools[:number]]:
            raise SpecError(
                f"the pool {pool.name!r} stands twice",
                where=f"{where}.name",
                mend="give every pool a name of its own",
            )
        if pool.name in read or any(pool.name in other.columns for other in pools):
            raise SpecError(
                f"{pool.name!r} is a column: its mean effect would have a column's name",
                where=f"{where}.name",
                mend="call the pool by what its columns have in common",
            )
        for column in pool.columns:
            if column in pooled or pool.columns.count(column) > 1:
                raise SpecError(
                    f"{column!r} is pooled twice", where=f"{where}.columns", mend="name it once"
                )
            if column in lines:
                raise SpecError(
                    f"{column!r} has a coefficient of its own already, and would deviate from "
                    "itself",
                    where=f"{where}.columns",
                    mend="name it here or in the utility, not in both",
                )
        pooled |= {*pool.columns}
