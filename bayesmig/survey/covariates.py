"""What a codebook says of covariates that need other rows, other periods or other files.

Each block declares new columns; `bayesmig.survey.tables`, `incomes`, `rates` and `demand`
compute them. None reads the choice of its own period.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, model_validator

from bayesmig.errors import SpecError
from bayesmig.survey.kinds import Frozen, Name, Number, Strict


def _named_alike(value: Any) -> Any:
    """Accept a list of names where each stands for itself."""
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return {name: name for name in value}
    return value


class Cell(Strict):
    """One column of a long table, in the rows of one label.

    Attributes
    ----------
    of
        Column of the table.
    at
        Label in the table's column ``long``.
    """

    of: Name
    at: Name


class AuxiliaryTable(Strict):
    """A file of places, periods or routes whose columns are joined to the survey's rows.

    Attributes
    ----------
    file
        Relative to the codebook, of the formats of the data. Absent where a DataFrame is
        given as ``tables_of`` of `bayesmig.read_survey`.
    encoding, separator, missing_text
        Of delimited files, as for the data.
    keys
        Column or role of the survey to the table's column with the same labels; a list
        where both have the same names. A table has one row for each combination.
    long
        The table's column whose labels tell apart several rows of one key: the route,
        the alternative, the sector.
    columns
        New column of the survey to a column of the table; of a long table, to
        ``{ of = COLUMN, at = LABEL }``.
    absent
        What a row has whose key the table lacks: ``"refuse"``, ``"missing"`` or a number.

    Notes
    -----
    A joined column belongs to an alternative where ``[attributes]`` says so.
    """

    file: Name | None = None
    encoding: Name | None = None
    separator: Annotated[StrictStr, Field(min_length=1, max_length=1)] | None = None
    missing_text: tuple[StrictStr, ...] | None = None
    keys: Annotated[dict[Name, Name], BeforeValidator(_named_alike), Frozen] = Field(min_length=1)
    long: Name | None = None
    columns: Annotated[dict[Name, Name | Cell], BeforeValidator(_named_alike), Frozen] = {}
    absent: Literal["refuse", "missing"] | Number = "refuse"

    @model_validator(mode="after")
    def _long_or_wide(self) -> Self:
        for name, source in self.columns.items():
            if isinstance(source, Cell) != (self.long is not None):
                what = "a long table" if self.long else "a table without the key long"
                form = "{ of = COLUMN, at = LABEL }" if self.long else "COLUMN"
                raise ValueError(
                    SpecError(
                        f"the column {name!r} is not read as from {what}",
                        where=f"key columns.{name}",
                        mend=f'write {name} = {form}, or state long = "COLUMN" where a key has '
                        "several rows",
                    )
                )
        return self

    def of(self, name: str) -> tuple[str, str | None]:
        """Give the table's column that a new column is read from, and its label."""
        source = self.columns[name]
        return (source.of, source.at) if isinstance(source, Cell) else (source, None)


class Deprivation(Strict):
    """Relative deprivation: the mean shortfall of a household's income in its reference group.

    Attributes
    ----------
    of
        Income or consumption of the household, in any one currency unit.
    within
        The reference group; default: origin and period, where declared. A household counts
        once in each period.
    per
        ``"unit"``: in units of income. ``"mean"``: as a share of the group's mean income,
        which makes periods of different prices comparable.
    alone
        The value of a household without others in its group: a number, or ``"missing"``.
    weighted
        Weigh households by the mean weight of their persons; default: where the survey
        has weights.

    Notes
    -----
    See `bayesmig.survey.incomes.relative_deprivation`.
    """

    of: Name
    within: tuple[Name, ...] | None = Field(default=None, min_length=1)
    per: Literal["unit", "mean"] = "unit"
    alone: Number | Literal["missing"] = "missing"
    weighted: StrictBool | None = None


class Risk(Strict):
    """Income risk: how a household's income varies over its periods.

    Attributes
    ----------
    of
        Income or consumption of the household.
    measure
        ``"cv"``: standard deviation over mean. ``"log_variance"``: variance of the log.
    window
        Which periods count: those ``"before"`` the row's, those up to it (``"to_now"``), or
        ``"all"`` of the household. What comes after a choice may be its consequence: a survey
        with ``"all"`` says so in its description.
    least
        Fewer known incomes give a missing value.
    order
        The periods in order, where they are neither numbers nor ISO dates.

    Notes
    -----
    See `bayesmig.survey.incomes.income_risk`.
    """

    of: Name
    measure: Literal["cv", "log_variance"] = "cv"
    window: Literal["before", "to_now", "all"] = "before"
    least: Annotated[StrictInt, Field(ge=2)] = 2
    order: tuple[Name, ...] | None = None


class Rate(Strict):
    """The share of a place's deciders who chose some alternatives in an earlier period.

    Attributes
    ----------
    alternatives
        Who counts, for instance ``["international"]`` for an emigration rate.
    of
        Where deciders live: ``"origin"``, or any column.
    at
        Whose rate a row takes: a column of places (default: ``of`` itself).
    place
        The one place whose rate all rows take, in the stead of ``at``: an attribute of
        the alternative that leads there.
    lag
        Periods of the survey back, at least 1: the same period would contain the choice
        itself.
    first
        The value in periods that have no such earlier one: a number, or ``"missing"``.
    leave_out
        Whose own earlier choices do not count: ``"household"``, ``"person"`` or a column;
        default: nobody's.
    order
        The periods in order, where they are neither numbers nor ISO dates.
    weighted
        Weigh by the weight role; default: where the survey has weights.

    Notes
    -----
    See `bayesmig.survey.rates.lagged_rate`.
    """

    alternatives: tuple[Name, ...] = Field(min_length=1)
    of: Name = "origin"
    at: Name | None = None
    place: Name | None = None
    lag: StrictInt = 1
    first: Number | Literal["missing"] = "missing"
    leave_out: Name | None = None
    order: tuple[Name, ...] | None = None
    weighted: StrictBool | None = None

    @model_validator(mode="after")
    def _earlier(self) -> Self:
        if self.lag < 1:
            raise ValueError(
                SpecError(
                    f"the lag is {self.lag}: a rate of the same or a later period contains the "
                    "choice that it is to explain (the reflection problem, Manski 1993)",
                    where="key lag",
                    mend="state lag = 1 or more",
                )
            )
        if self.at is not None and self.place is not None:
            raise ValueError(
                SpecError(
                    "a rate is read at a column of places or at one place, not both",
                    where="keys at, place",
                    mend="leave one of them out",
                )
            )
        return self


class Series(Strict):
    """A column of an auxiliary table.

    Attributes
    ----------
    table
        Its name under ``[tables]``; it is long, by sector.
    column
        The table's column.
    """

    table: Name
    column: Name


class ShiftShare(Strict):
    """Demand by shift and share: exposure to sectors times the sectors' growth.

    Attributes
    ----------
    shares
        Exposure shares, for instance by origin and sector.
    growth
        Growth by sector and, for instance, period and gender: a key that is a column of
        persons makes each row take its own series.
    sums
        ``"one"``: the shares of each unit must sum to one, within .01. ``"any"``: they need
        not; the sum of shares then belongs into the theory too.

    Notes
    -----
    See `bayesmig.survey.demand.shift_share`.
    """

    shares: Series
    growth: Series
    sums: Literal["one", "any"] = "one"
