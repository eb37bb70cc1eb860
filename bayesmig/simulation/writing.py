"""From arguments to files: checked first, written aside, put in place when complete."""

from __future__ import annotations

import gzip
import io
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from bayesmig.errors import BayesmigError, SpecError, SurveyError, nearest
from bayesmig.simulation.choices import FIRST_YEAR, NO_CONSUMPTION, NO_EDUCATION, Raw, rows
from bayesmig.simulation.population import (
    Integers,
    community_sizes,
    draw,
    of_cells,
    strata_of,
)
from bayesmig.simulation.settings import FILES, codebook_of, setting_of, tables_of
from bayesmig.simulation.worlds import (
    ALTERNATIVES,
    ATTRIBUTES,
    CLASSES,
    COVARIATES,
    MEASURES,
    NESTS,
    STREAMS,
    Unit,
    World,
    alternatives_of,
    attribute_columns,
    attribute_terms,
    cell_scales,
    coefficients,
    columns_of,
    correlation,
    covariates_of,
    groups_of,
    slope_of,
    true_parameters,
)
from bayesmig.tomlfile import read_toml, write_toml

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Format = Literal["csv.gz", "csv", "parquet"]

FEWEST_PERSONS, MOST_PERSONS = 500, 1_000_000
MOST_PERIODS = 20
_BLOCK_ROWS = 50_000
_CHECKED_ROWS = 5_000
_MOST_REDRAWS, _MOST_REDRAWN = 200, 1_000_000

_CODEBOOK, _TRUTH, _DATA = "survey.toml", "truth.toml", "survey"
_MARK = "bayesmig simulate"


@dataclass(frozen=True, slots=True)
class SimulatedSurvey:
    """Where a synthetic survey was written.

    Attributes
    ----------
    folder
        Holds the files below and nothing else.
    codebook
        What `bayesmig.read_survey` takes.
    truth
        TOML: the arguments and every true parameter. The names that `simulate` takes as
        ``effects`` are the tables and keys under ``[true]``, joined by points.
    data
        The microdata.
    rows
        Rows of the microdata.
    tables
        Auxiliary tables that the codebook joins.
    """

    folder: Path
    codebook: Path
    truth: Path
    data: Path
    rows: int
    tables: tuple[Path, ...] = ()


def simulate(
    folder: str | Path,
    *,
    persons: int = 5_000,
    seed: int,
    unit: Unit = "person",
    world: World = "albania",
    periods: int = 1,
    format: Format = "csv.gz",
    effects: Mapping[str, float] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
    block: int = _BLOCK_ROWS,
) -> SimulatedSurvey:
    """Write a synthetic survey whose true parameters are known and every alternative is chosen.

    Parameters
    ----------
    folder
        Is made, with its parents, and holds ``survey.toml`` (codebook), ``survey.*``
        (microdata) and ``truth.toml``. It appears when it is complete.
    persons
        Persons aged 15 to 50, from 500 to 1,000,000, exactly.
    seed
        Not negative. The same seed and arguments give the same bytes.
    unit
        Who chooses. ``"person"``: a row per person and period; stay, internal or
        international. ``"household"``: a row per household and period of the same
        persons; ``both`` is an alternative too, whose utility is the sum of the two
        streams' and a positive association.
    world
        ``"albania"``: moves abroad draw the better-off and men, internal moves the
        educated. ``"indonesia"``: moves abroad are rare and draw the poorer. ``"regimes"``:
        Albania with fares, borders, permits, distances and jobs, in files of their own.
        ``"communities"``: Albania with neighbours to whom people compare themselves, who
        leave, and who are of the own ethnicity or not; two periods or more.
        ``"destinations"``: Albania whose people go to a town, the capital, a neighbouring
        country or overseas; persons only. See Notes.
    periods
        Yearly rounds in which the same persons are asked, from 1 to 20. Whoever moves
        is an earlier mover from the next round on, also in the exposure of others.
    format
        ``"csv.gz"``, ``"csv"`` or ``"parquet"``.
    effects
        True parameters by dotted name that replace those of the world, for instance
        ``{"sigma_origin.international": 0.0, "utility.internal.female": -0.5}``. A term
        that the world does not have is added: the product of tidy columns
        (``"utility.international.education:network_international"``), or of the
        covariates that `bayesmig.simulation.worlds.COVARIATES` lists, which are then in
        the file (persons only); of the other stream, it is 0 unless stated. The slope of
        one column may vary over origins
        (``"sigma_slope.international.household_international": 0.5``). Cells of persons of
        one gender and one class of age, schooling and wealth may have effects
        (``"sigma_cell.international": 0.7``, persons only). All of that goes with every
        world, and with choices beyond the logit (see Notes).
    overwrite
        Replace the folder, where it holds a synthetic survey and nothing else.
    progress
        Called after each block as ``progress(persons done, persons in all)``.
    block
        Rows held in memory at a time, about. No value depends on it, nor any byte of
        csv; the row groups of parquet do.

    Returns
    -------
    SimulatedSurvey
        Where the files are.

    Raises
    ------
    SpecError
        Where an argument, or the name or value of an effect, is not allowed, or nobody
        chooses an alternative however often choices are drawn.
    SurveyError
        Where the folder exists and may not be replaced, or cannot be written.

    Notes
    -----
    Persons live in households of 1 to 8, households in origins (communities of 20 persons
    and more, 60 on average, as sampled), origins in regions. Strata are a region's towns or
    its country, merged with those of the nearest region where one origin was alone: each
    holds two primary sampling units (origins) or more. Choices follow the
    multinomial logit (McFadden 1974) with household and origin effects that are correlated
    across alternatives. Earlier moves come from a logit of their own whose community
    effects are independent of those of the choice: exposure is exogenous in the first
    period.

    A survey in which nobody chose an alternative could not be read. Where that happens
    among those who answered all questions, all choices are drawn anew, for the same people,
    until every alternative is chosen; truth.toml says how often (``redraws``, mostly 0).
    Choices are then drawn given that nothing is empty, and rare alternatives are a little
    less rare than the truth has them. Of 100 surveys of 500 persons, 7 of ``indonesia`` and
    none of ``albania`` were redrawn, in households 63 and 15; of 2,000 persons, 12 of
    ``indonesia`` in households.

    ``albania`` is a reconstruction: plausible, estimated from nothing. Its constants are
    -2.7 and -4.2 (internal, international; the latter raised so that tests have power),
    women +.10 and -1.0, age per ten years -1.09 and -.70, years of education .08 and 0,
    wealth .05 and .35 with a square of -.10 abroad; community networks, about per standard
    deviation, .35 and -.10 on internal moves, -.05 and .60 on moves abroad; origin effects
    of standard deviations .5 and 1.2 correlated -.2, household effects .5 and .9 correlated
    .2. ``indonesia`` has the coefficients of a plain multinomial logit on the Indonesian
    Family Life Survey; its group effects are assumed.

    Persons choose otherwise than by a logit where ``effects`` say so: ``lambda_nest.move``
    below 1 makes both streams closer substitutes (nested logit);
    ``curve.international.effect`` adds a Hill curve of ``network_international`` to the
    utility of moving abroad; and ``feasible.international.asc``, ``.wealth``,
    ``.network_international``, ``.log1p(network_international)`` and, in ``regimes``, ``.cost`` are
    log odds that moving abroad is feasible at all.

    In ``regimes``, attributes have one coefficient for all alternatives: ``cost`` (log fare in
    months of the average household's consumption, by origin and period, about eight times as high
    abroad) -.5, and +.15 times wealth; ``enforcement`` (of the border, by region and period, in
    standard deviations) and ``permit`` (the share of an origin whom internal permits bind, in
    standard deviations), symmetric, -.5 each and +.2 times wealth; ``distance`` (log of
    kilometres) -.3, ``language`` (0 to 1) -.4, ``demand`` (shift and share of jobs for the own
    sex) +.4. In ``communities``, relative deprivation has +.20 and +1.20 per mean income, about
    +.05 and +.30 per standard deviation; emigration of the own community a period before -.30 per
    five percentage points on internal moves; earlier migrants of the own ethnicity +.45 and of
    the other -.15 on moves abroad, per unit of the network abroad. In ``destinations``, a place has
    the utility of its stream, a constant, an effect of the origin of standard deviation .3, and
    attributes with one coefficient each: ``contact`` (the household knows someone there) +.8,
    ``distance`` (log of kilometres) -.5, ``language`` (0 to 1) -.6, ``hostility`` of places within
    the country and ``land`` at the edge of the capital, by origin in standard deviations, -.4 and
    +.4. Places of a stream lie in a nest (``within`` and ``abroad``, ``lambda_nest`` .4 each), both
    of these in ``move`` (.8); lambdas are in units of utilities, and must fall towards the inside.
    All are reconstructions.
    `bayesmig.simulation.worlds.variant` gives the parameters under which a claim is null or
    reversed.

    Network columns are ``share / scale`` with fixed constants that stand in the codebook,
    and count from zero; the constants above hold at typical exposure, and truth.toml gives
    them at none. In ``indonesia`` the scales are .10 and .01, and the share abroad counts up
    to .05, as where its coefficients were estimated.
    """
    plan = _plan(
        persons=persons, seed=seed, unit=unit, world=world, periods=periods, effects=effects,
        format=format, block=block,
    )  # fmt: skip
    target = Path(folder).resolve()
    _refuse_other_content(target, overwrite=overwrite)
    plan = replace(plan, redraws=_redraws(plan))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
            new = Path(beside) / "new"
            new.mkdir()
            n_rows = _write(plan, new, progress or _silent)
            if target.exists():
                target.rename(Path(beside) / "old")
            new.rename(target)
    except OSError as err:
        raise SurveyError(
            f"the simulated survey cannot be written: {err.strerror or err}",
            where=str(target),
            mend="choose a folder that can be written, on a disk with room",
        ) from None
    data = target / f"{_DATA}.{plan.format}"
    tables = tuple(target / f"{name}.csv" for name in FILES.get(plan.world, ()))
    return SimulatedSurvey(target, target / _CODEBOOK, target / _TRUTH, data, n_rows, tables)


def _silent(done: int, total: int) -> None:
    """Report progress to nobody."""


# --------------------------------------------------------------------------- arguments


@dataclass(frozen=True, slots=True)
class _Plan:
    """Checked arguments, and what follows from them before anybody is drawn.

    Attributes
    ----------
    parameters
        Every true parameter by dotted name.
    sizes
        Persons by community, ``(community,)``.
    strata
        Stratum of each community, ``(community,)``.
    redraws
        How often all choices are drawn anew.
    """

    persons: int
    seed: int
    unit: Unit
    world: World
    periods: int
    format: Format
    block: int
    effects: Mapping[str, float]
    parameters: Mapping[str, float]
    sizes: Integers
    strata: Integers
    redraws: int = 0

    @property
    def covariates(self) -> tuple[str, ...]:
        """The covariates that the parameters name and the world does not have of its own."""
        return covariates_of(self.parameters, MEASURES[self.world])

    @property
    def alternatives(self) -> tuple[str, ...]:
        """What is chosen among."""
        return alternatives_of(self.parameters, self.unit)


def _plan(
    *,
    persons: object,
    seed: object,
    unit: Unit,
    world: World,
    periods: object,
    effects: Mapping[str, float] | None,
    format: Format,
    block: object,
) -> _Plan:
    _known("unit", unit, get_args(Unit))
    _known("world", world, get_args(World))
    _known("format", format, get_args(Format))
    n_persons = _whole("persons", persons, FEWEST_PERSONS, MOST_PERSONS)
    number = _whole("seed", seed, 0)
    parameters = true_parameters(world, unit)
    known = _with_new_terms(parameters, effects or {}, MEASURES[world].derivations(unit), unit)
    changed = {_as_known(k, known): v for k, v in (effects or {}).items()}
    changed = {k: _effect(k, v, known) for k, v in changed.items()}
    parameters = known | changed
    _refuse_two_slopes(parameters)
    if world == "communities" and periods == 1:
        raise _refused(
            "periods",
            "the world communities has rates of earlier periods, and one period has none",
            "give periods=2 or more",
        )
    if world == "destinations" and unit == "household":
        raise _refused(
            "unit",
            "in the world destinations, persons go to one of four places, and households that "
            "send members to several are not made",
            'give unit="person", or another world',
        )
    _refuse_crossed_nests(parameters)
    for group in groups_of(unit):
        _refuse_impossible(parameters, group, unit)
    sizes = community_sizes(number, n_persons)
    return _Plan(
        persons=n_persons,
        seed=number,
        unit=unit,
        world=world,
        periods=_whole("periods", periods, 1, MOST_PERIODS),
        format=format,
        block=_whole("block", block, 1),
        effects=changed,
        parameters=parameters,
        sizes=sizes,
        strata=strata_of(number, len(sizes), MEASURES[world].regions),
    )


def _refused(argument: str, what: str, mend: str) -> SpecError:
    return SpecError(what, where=f"argument {argument} of simulate", mend=mend)


def _known(argument: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise _refused(
            argument, f"the {argument} {value!r} is not known", nearest(str(value), known)
        )


def _whole(argument: str, value: object, low: int, high: int | None = None) -> int:
    span = f"at least {low:,}" if high is None else f"from {low:,} to {high:,}"
    try:
        number = operator.index(cast("Any", value))
    except TypeError:
        number = low - 1
    if number < low or isinstance(value, bool) or (high is not None and number > high):
        shown = f"{value:,}" if type(value) is int else repr(value)
        raise _refused(argument, f"{argument} is {shown}", f"give a whole number {span}")
    return number


def _with_new_terms(
    parameters: Mapping[str, float], effects: Mapping[str, Any], derived: Iterable[str], unit: Unit
) -> dict[str, float]:
    """The parameters, with zeros for the terms, slopes and cells that only effects name."""
    columns = {*derived, *columns_of(parameters), *attribute_columns(parameters)}
    columns |= set(COVARIATES if unit == "person" else ())
    found = dict(parameters)
    for name in effects:
        table, _, rest = str(name).partition(".")
        stream, _, term = rest.partition(".")
        new = _as_known(str(name), found) not in found and set(term.split(":")) <= columns
        if new and stream in STREAMS and table in ("utility", "sigma_slope"):
            found |= {f"{table}.{s}.{term}": 0.0 for s in STREAMS}
        if unit == "person" and table == "sigma_cell":
            found |= {f"sigma_cell.{s}": 0.0 for s in STREAMS}
    return found


def _as_known(name: str, known: Mapping[str, float]) -> str:
    """The name of the same term with its columns in another order, where there is one."""
    path, _, term = name.rpartition(".")
    if name in known or ":" not in term:
        return name
    same = (k for k in known if k.startswith(f"{path}.") and k.count(".") == name.count("."))
    columns = sorted(term.split(":"))
    return next((k for k in same if sorted(k.rpartition(".")[2].split(":")) == columns), name)


def _refuse_two_slopes(parameters: Mapping[str, float]) -> None:
    varying = {n.split(".", 2)[2] for n in parameters if n.startswith("sigma_slope.")}
    if len(varying) > 1 or any(":" in column for column in varying):
        raise _refused(
            "effects",
            f"slopes of {' and '.join(map(repr, sorted(varying)))} are to vary over origins",
            "let the slope of one column vary",
        )


def _effect(name: str, value: object, known: Mapping[str, float]) -> float:
    if name not in known:
        raise _refused(
            "effects",
            f"there is no true parameter {name!r}",
            f"{nearest(name, tuple(known))} (truth.toml of a simulated survey lists all)",
        )
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise _refused("effects", f"{name} is {value!r}", "give a number")
    number = float(value)
    low, high, allowed = _bounds(name)
    if not (math.isfinite(number) and low <= number <= high):
        raise _refused("effects", f"{name} is {number:g}", f"give {allowed}")
    return number


def _bounds(name: str) -> tuple[float, float, str]:
    """Lowest and highest value of a true parameter, and both in words."""
    least = math.ulp(0.0)
    if "sigma_" in name:
        return 0.0, math.inf, "a finite number ≥ 0"
    if name.startswith("corr_"):
        return -1.0, 1.0, "a correlation from -1 to 1"
    if name.startswith("lambda_nest."):
        return least, 1.0, "a number above 0 and at most 1"
    if name.endswith((".half_saturation", ".exponent")):
        return least, math.inf, "a finite number above 0"
    return -math.inf, math.inf, "a finite number"


def _refuse_impossible(parameters: Mapping[str, float], group: str, unit: Unit) -> None:
    least = float(np.linalg.eigvalsh(correlation(parameters, group, unit))[0])
    if least < -1e-9:
        raise _refused(
            "effects",
            f"no variables are correlated as corr_{group} says (eigenvalue {least:.3f})",
            "bring the correlations closer to zero, or make their signs agree",
        )


def _refuse_crossed_nests(parameters: Mapping[str, float]) -> None:
    outermost, *others = (parameters.get(f"lambda_nest.{nest}", 1.0) for nest in NESTS)
    if max(others) > outermost and "lambda_nest.within" in parameters:
        raise _refused(
            "effects",
            "the nests within and abroad lie in move, whose lambda_nest is "
            f"{outermost:g} and theirs {others[0]:g} and {others[1]:g}",
            "let lambda_nest fall towards the inside",
        )


def _refuse_other_content(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise SurveyError(
            "the simulated survey needs a folder, but a file has its name",
            where=str(target),
            mend="choose another name",
        )
    found = {path.name for path in target.iterdir()}
    if not found:
        return
    if not _is_simulated(target, found):
        raise SurveyError(
            f"the folder holds other things ({', '.join(sorted(found)[:3])})",
            where=str(target),
            mend="choose a new or empty folder",
        )
    if not overwrite:
        raise SurveyError(
            "the folder holds a simulated survey already",
            where=str(target),
            mend="state overwrite=True (--overwrite) to replace it, or choose another folder",
        )


def _is_simulated(target: Path, found: set[str]) -> bool:
    """Tell whether a folder holds what `simulate` writes, and nothing else."""
    data = {f"{_DATA}.{format}" for format in get_args(Format)}
    tables = {f"{name}.csv" for files in FILES.values() for name in files}
    if not (_TRUTH in found and found <= {_TRUTH, _CODEBOOK, *data, *tables}):
        return False
    try:
        return read_toml(target / _TRUTH, "truth").get("written_by") == _MARK
    except BayesmigError:
        return False


# ------------------------------------------------------------------------- never empty


def _redraws(plan: _Plan) -> int:
    """Count the draws of choices until every alternative is chosen by some complete row.

    Communities are looked at until nothing is missing: the first rows of a large survey.
    """
    most = min(_MOST_REDRAWS, 1 + _MOST_REDRAWN // (plan.persons * plan.periods))
    for redraws in range(most + 1):
        never = _never_chosen(replace(plan, redraws=redraws, block=_CHECKED_ROWS))
        if not never:
            return redraws
    raise _refused(
        "persons",
        f"in {most + 1:,} draws of {plan.persons:,} persons (world {plan.world}, unit "
        f"{plan.unit}), nobody chose {' or '.join(map(repr, never))}: no theory could be fitted",
        "simulate more persons or periods, or give effects under which it is chosen",
    )


def _never_chosen(plan: _Plan) -> list[str]:
    chosen = np.zeros(len(plan.alternatives), dtype=bool)
    for _, columns in _blocks(plan):
        missing = [columns[name] == code for name, code in _missing_codes(plan).items()]
        chosen[columns["move"][~np.any(missing, axis=0)]] = True
        if chosen.all():
            break
    return [a for a, found in zip(plan.alternatives, chosen, strict=True) if not found]


def _missing_codes(plan: _Plan) -> dict[str, int]:
    head = "" if plan.unit == "person" else "head_"
    return {f"{head}education_years": NO_EDUCATION, "consumption": NO_CONSUMPTION}


# ------------------------------------------------------------------------------- files


def _write(plan: _Plan, new: Path, progress: Callable[[int, int], object]) -> int:
    """Write the three files into a folder of their own; give the number of rows."""
    data = new / f"{_DATA}.{plan.format}"
    n_rows = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal n_rows
        for done, columns in _blocks(plan):
            table = _table(columns)
            yield table
            n_rows += table.num_rows
            progress(done, plan.persons)

    write = _write_parquet if plan.format == "parquet" else _write_csv
    write(data, tables())
    for name, auxiliary in _tables(plan).items():
        auxiliary.to_csv(new / f"{name}.csv", index=False, lineterminator="\n")
    (new / _CODEBOOK).write_text(write_toml(_codebook(plan)), encoding="utf-8", newline="\n")
    (new / _TRUTH).write_text(write_toml(_truth(plan)), encoding="utf-8", newline="\n")
    return n_rows


def _tables(plan: _Plan) -> dict[str, pd.DataFrame]:
    regions = MEASURES[plan.world].regions
    return tables_of(plan.world, plan.seed, plan.sizes, plan.periods, regions, FIRST_YEAR)


def _blocks(plan: _Plan) -> Iterator[tuple[int, Raw]]:
    """Yield the columns of one block of communities after the other, and persons done."""
    ends = np.cumsum(plan.sizes)
    places = plan.alternatives != ALTERNATIVES[plan.unit]
    more = bool(plan.covariates or slope_of(plan.parameters)[0] or places)
    cells = _cells(plan)
    first = 0
    while first < len(ends):
        begun = ends[first] - plan.sizes[first]
        room = begun + max(plan.block // plan.periods, 1)
        last = max(int(np.searchsorted(ends, room, side="right")), first + 1)
        numbers = draw(plan.seed, plan.sizes, first, last, plan.periods, plan.redraws, more=more)
        measures = MEASURES[plan.world]
        setting = setting_of(
            plan.world, plan.seed, plan.sizes, first, last, plan.periods, measures.regions
        )
        columns = rows(numbers, plan.parameters, measures, plan.unit, setting, cells)
        columns["stratum"] = plan.strata[columns["community"] - 1]
        yield int(ends[last - 1]), columns
        first = last


def _cells(plan: _Plan) -> npt.NDArray[np.float64] | None:
    """Effects of cells of persons, ``(cell, nonbase)``; nothing where there are none."""
    scales = cell_scales(plan.parameters)
    if not scales.any():
        return None
    number = 2 * math.prod(len(edges) + 1 for _, edges in CLASSES.values())
    return of_cells(plan.seed, number) * scales


def _table(columns: Raw) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _write_parquet(path: Path, tables: Iterator[pa.Table]) -> None:
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writer = None
        for table in tables:
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)


def _write_csv(path: Path, tables: Iterator[pa.Table]) -> None:
    from pyarrow.csv import WriteOptions, write_csv

    options = WriteOptions(include_header=False)
    with path.open("wb") as file, ExitStack() as stack:
        out = cast("BinaryIO", file)
        if path.suffix == ".gz":
            # No name and no time in the header: the same survey has the same bytes.
            packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)
            out = cast("BinaryIO", stack.enter_context(packed))
        header = True
        for table in tables:
            if header:
                out.write((",".join(table.column_names) + "\n").encode())
                header = False
            text = io.BytesIO()
            write_csv(table, text, options)
            out.write(text.getbuffer())


# -------------------------------------------------------------------- codebook & truth


def _codebook(plan: _Plan) -> dict[str, Any]:
    person = plan.unit == "person"
    kept = [f"prior_{s}" for s in STREAMS]
    kept = ["age", *kept, *(f"household_{s}" for s in STREAMS)] if person else ["size", *kept]
    covariates = plan.covariates
    derived = _derivations(plan)
    kept += [name for name in covariates if name not in derived]
    return {
        "title": MEASURES[plan.world].title,
        "notes": "Synthetic: nobody in it exists. True parameters stand in truth.toml.",
        "file": f"{_DATA}.{plan.format}",
        "keep": kept,
        "roles": {
            "choice": "move",
            "person": "person_id" if person else None,
            "household": "household_id",
            "origin": "community",
            "region": "region",
            "period": "year",
            "weight": "weight",
            "strata": "stratum",
            "psu": "community",
        },
        "alternatives": {name: [i] for i, name in enumerate(plan.alternatives)},
        "missing_codes": {name: [code] for name, code in _missing_codes(plan).items()},
        "derive": derived,
        "missing": {"rule": "drop"},
        **codebook_of(plan.world, plan.unit),
        "attributes": _attributes(plan),
    }


def _attributes(plan: _Plan) -> dict[str, dict[str, str | float]] | None:
    """Attribute -> alternative -> column or zero; what households pay for both is the sum.

    There are those of the world, and those of which every stream has a covariate.
    """
    terms, covariates = attribute_terms(plan.parameters)[0], plan.covariates
    names = [term.partition(":")[0] for term in terms]
    if plan.alternatives == ALTERNATIVES["person"]:
        names += [
            n for n, of in ATTRIBUTES.items() if {of.get(s) for s in STREAMS} <= {*covariates}
        ]
    found: dict[str, dict[str, str | float]] = {}
    for name in dict.fromkeys(names):
        of = ATTRIBUTES[name]
        found[name] = {alternative: of.get(alternative, 0) for alternative in plan.alternatives}
        if plan.unit == "household":
            columns = [of[stream] for stream in STREAMS if stream in of]
            found[name]["both"] = f"{name}_both" if len(columns) == len(STREAMS) else columns[0]
    return found or None


def _derivations(plan: _Plan) -> dict[str, str]:
    measures = MEASURES[plan.world]
    derived = measures.derivations(plan.unit) | measures.by_gender(plan.covariates)
    if plan.unit == "person":
        derived |= {c: f"bins({x}, {', '.join(map(str, at))})" for c, (x, at) in CLASSES.items()}
    of_both = (_attributes(plan) or {}) if plan.unit == "household" else {}
    return derived | {
        f"{name}_both": " + ".join(ATTRIBUTES[name][stream] for stream in STREAMS)
        for name, columns in of_both.items()
        if columns["both"] == f"{name}_both"
    }


def _truth(plan: _Plan) -> dict[str, Any]:
    truth: dict[str, Any] = {
        "written_by": _MARK,
        "arguments": {
            "persons": plan.persons,
            "seed": plan.seed,
            "unit": plan.unit,
            "world": plan.world,
            "periods": plan.periods,
            "effects": dict(plan.effects),
        },
        "redraws": plan.redraws,
        "true": _nested(plan.parameters),
    }
    if plan.unit == "household":
        terms, beta = coefficients(plan.parameters, plan.unit)
        both = np.round(beta[:, 2], 12).tolist()
        truth["implied"] = {"utility": {"both": dict(zip(terms, both, strict=True))}}
    return truth


def _nested(flat: Mapping[str, float]) -> dict[str, Any]:
    """Make tables of dotted names."""
    tables: dict[str, Any] = {}
    for name, value in flat.items():
        *path, key = name.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
        table[key] = value
    return tables
