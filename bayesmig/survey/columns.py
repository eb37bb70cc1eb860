"""Columns by name: those of the file, and those that a codebook makes of them.

Missing codes and valid ranges are applied first; recodes, derived columns and networks
are then made when first asked for, on all rows read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SpecError, SurveyError, nearest, rows_text
from bayesmig.expressions import columns_of
from bayesmig.survey.codebook import ROLES, Codebook, Network, Range, Recode
from bayesmig.survey.constructed import constructed
from bayesmig.survey.derive import Context, derive, numbers_of
from bayesmig.survey.files import Table
from bayesmig.survey.labels import (
    labels_of,
    numbers_if_all,
    numbers_or_text,
    one_spelling,
    spelling,
    text_of,
)
from bayesmig.survey.networks import exposure, group_codes, zero_or_one
from bayesmig.survey.reflection import (
    refuse_choosers,
    refuse_contemporaneous,
    refuse_own_choice,
)
from bayesmig.survey.tables import Keyed

# ------------------------------------------------------------- which columns are read


def columns_needed(book: Codebook, header: list[str], where: str) -> list[str]:
    """Say which columns of the file a codebook reads, in the file's order.

    Raises
    ------
    SurveyError
        Where the codebook names a column that is neither in the file nor made.
    SpecError
        Where a made column would hide one of the file.
    """
    _refuse_hidden(book, header, where)
    asked = _asked(book)
    known = {*header, *book.made()}
    aliases = {r for r in book.roles.declared() if r not in known}
    for name, key in asked.items():
        table = key.split(".")[0]
        fits = set(header) if table in _OF_THE_FILE else known
        if name not in fits and not (name in aliases and table in _MAY_NAME_ROLES):
            raise SurveyError(
                f"the column {name!r} is not in the data",
                where=(where, f"key {key}"),
                mend=_absent(name, header, book),
            )
    if book.keep is None:
        return list(header)
    replicates = replicate_columns(book, header, where)
    return [name for name in header if name in asked or name in replicates]


def replicate_columns(book: Codebook, header: list[str], where: str) -> tuple[str, ...]:
    """Name the columns of replicate weights, at least two, all of them in the data.

    Raises
    ------
    SurveyError
        Where they are not.
    """
    if (of := book.replicates) is None:
        return ()
    found, place = of.columns_in(header), (where, "key replicates.columns")
    if absent := [name for name in found if name not in header]:
        raise SurveyError(
            f"the column {absent[0]!r} is not in the data",
            where=place,
            mend=nearest(absent[0], header),
        )
    if len(set(found)) < max(2, len(found)):
        raise SurveyError(
            f"{of.columns!r} names {len(set(found))} columns of the data, each to stand there once",
            where=place,
            mend="name two columns or more, or a pattern that they fit",
        )
    if of.scales is not None and len(of.scales) != len(found):
        raise SurveyError(
            f"there are {len(found)} replicate weights and {len(of.scales)} scales",
            where=(where, "key replicates.scales"),
            mend="state a scale for every column, in their order",
        )
    return found


#: Tables that speak of columns of the file only, and tables that may name a role.
_OF_THE_FILE = ("missing_codes", "valid_range")
_MAY_NAME_ROLES = (
    *("derive", "networks", "missing", "tables", "deprivation", "risk", "rates"),
    "neighbours",
)


def _absent(name: str, header: list[str], book: Codebook) -> str:
    if name in book.made():
        return "missing codes and ranges apply to columns of the file; use those it is made of"
    if name in ROLES and name not in book.roles.declared():
        return f'add {name} = "COLUMN" under [roles]'
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        mark = next(mark for mark in ";\t|" if mark in header[0])
        return f"the file has one column only; state separator = {mark!r}"
    return nearest(name, [*header, *book.made()])


def _asked(book: Codebook) -> dict[str, str]:
    """Map each column that the codebook names to the (first) key that names it."""
    asked: dict[str, str] = {}
    for column in book.missing_codes:
        asked.setdefault(column, f"missing_codes.{column}")
    for column in book.valid_range:
        asked.setdefault(column, f"valid_range.{column}")
    for role, column in book.roles.declared().items():
        asked.setdefault(column, f"roles.{role}")
    for name, recode in book.recode.items():
        asked.setdefault(recode.source, f"recode.{name}.from")
    for name, tree in book.trees().items():
        for column in columns_of(tree):
            asked.setdefault(column, f"derive.{name}")
    for name, network in book.networks.items():
        asked.setdefault(network.prior, f"networks.{name}.prior")
        asked.setdefault(network.of, f"networks.{name}.of")
        for key in ("among", "by", "away", "leave_out"):
            column = getattr(network, key)
            if column is not None and column not in ("household", "person"):
                asked.setdefault(column, f"networks.{name}.{key}")
    for column, key in _asked_by_covariates(book):
        asked.setdefault(column, key)
    if (near := book.neighbours) is not None:
        for column in near.coordinates or ():
            asked.setdefault(column, "neighbours.coordinates")
        if near.within is not None:
            asked.setdefault(near.within, "neighbours.within")
    for column in book.keep or ():
        asked.setdefault(column, "keep")
    for column in book.missing.columns or ():
        asked.setdefault(column, "missing.columns")
    for attribute, columns in book.attributes.items():
        for alternative, value in columns.items():
            if isinstance(value, str):
                asked.setdefault(value, f"attributes.{attribute}.{alternative}")
    return asked


def _asked_by_covariates(book: Codebook) -> Iterator[tuple[str, str]]:
    for name, table in book.tables.items():
        yield from ((column, f"tables.{name}.keys.{column}") for column in table.keys)
    for name, deprivation in book.deprivation.items():
        yield deprivation.of, f"deprivation.{name}.of"
        yield from ((c, f"deprivation.{name}.within") for c in deprivation.within or ())
    for name, risk in book.risk.items():
        yield risk.of, f"risk.{name}.of"
    for name, rate in book.rates.items():
        yield rate.of, f"rates.{name}.of"
        stated = {key: getattr(rate, key) for key in ("at", "leave_out")}
        yield from ((c, f"rates.{name}.{key}") for key, c in stated.items() if c is not None)


def _refuse_hidden(book: Codebook, header: list[str], where: str) -> None:
    for name in book.made():
        own = name in book.recode and book.recode[name].source == name
        if name in header and not own:
            raise SpecError(
                f"the new column {name!r} has the name of a column of the data",
                where=(where, f"key {book.key_of(name)}"),
                mend="give the new column another name",
            )
    for role, column in book.roles.declared().items():
        other = role in header or role in book.made()
        shown = book.keep is None or role in book.keep or role in book.made()
        read = (
            other and role != column and any(role in columns_of(t) for t in book.trees().values())
        )
        if other and role != column and (shown or read):
            made = role in book.made()
            raise SpecError(
                f"the column {role!r} {'' if made else 'of the data '}is not the {role} (that is "
                f"{column!r}), but the survey shows the role under this name",
                where=(where, f"key {book.key_of(role) if made else f'roles.{role}'}"),
                mend="give the new column another name"
                if made
                else f'rename the column, or leave it out: state keep = [...] without "{role}"',
            )


# -------------------------------------------------------------------- columns by name


class Columns:
    """The columns of a table and those made from them, each made when first asked for.

    Missing codes and valid ranges have been applied to all of them.
    """

    def __init__(
        self,
        table: Table,
        book: Codebook,
        where: str,
        auxiliary: Mapping[str, Keyed] = MappingProxyType({}),
    ) -> None:
        self.table, self.book, self.where, self.auxiliary = table, book, where, auxiliary
        self.n = len(table.frame)
        self._trees = book.trees()
        self._roles = book.roles.declared()
        self._made: dict[str, pd.Series] = {}
        self._spelt: dict[str, pd.Series] = {}
        self.coded_missing: list[tuple[str, str, int]] = []
        self.coded_by_file: list[tuple[str, str, int]] = []
        self.out_of_range: list[tuple[str, str, int]] = []
        self.recoded_missing: dict[str, int] = {}
        self.unused: list[str] = []
        self.alone: dict[str, int] = {}
        self.without_key: dict[str, int] = {}
        self._raw = self._without_codes()
        self._refuse_made_of_choice()

    def get(self, name: str) -> pd.Series:
        """Give a column of any type, shape ``(obs,)``; roles may be named by their role."""
        if name in self._made:
            return self._made[name]
        if name in self.book.made():
            self._made[name] = self._made_column(name)
            return self._made[name]
        if name not in self._raw:
            return self.get(self._roles[name])
        if name in self.table.written:
            self._made[name] = numbers_if_all(self._raw[name])
            return self._made[name]
        return self._raw[name]

    def labels(self, name: str) -> pd.Series:
        """Give a column as text: as written in the file where that is known."""
        if name not in self._raw and name not in self.book.made():
            name = self._roles[name]
        if name not in self._spelt:
            self._spelt[name] = self._label(name, self._text(name))
        return self._spelt[name]

    def _text(self, name: str) -> pd.Series:
        """Give a column as written in the file where that is known, else as it is."""
        written = name in self.table.written and name not in self.book.recode
        return self._raw[name] if written else self.get(name)

    def _label(self, name: str, values: pd.Series) -> pd.Series:
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("str")
        text = isinstance(values.dtype, pd.StringDtype)
        where = (self.where, f"column {name!r}")
        return (one_spelling if text else labels_of)(values, where=where)

    def sources(self, name: str) -> frozenset[str]:
        """Name the columns that a column is made of, itself included."""
        return self.book.sources(name, network="prior") | {name}

    def _refuse_circle(self, name: str, underway: tuple[str, ...] = ()) -> None:
        """Refuse a column that is made of itself."""
        if name in underway:
            circle = " → ".join([*underway[underway.index(name) :], name])
            raise SpecError(
                f"the new columns are circular: {circle}",
                where=(self.where, f"key {self.book.key_of(name)}"),
                mend="make one of them from columns of the data only",
            )
        if name not in self.book.made():
            return
        for source in self.book.inputs(name, "prior"):
            # A recode may take the place of its source.
            if not (source == name and name in self.book.recode):
                self._refuse_circle(source, (*underway, name))

    def _refuse_made_of_choice(self) -> None:
        """Refuse columns that are made of themselves, or of what is chosen.

        The choice may be made, through columns of its own, and so may a weight (samples
        are drawn by choice); what explains the choice may not.
        """
        for name in self.book.made():
            self._refuse_circle(name)
        chosen, weight = self.sources(self._roles["choice"]), self._roles.get("weight")
        allowed = chosen.union(self.sources(weight) if weight else ())
        for name in self.book.made():
            found = self.sources(name) & chosen
            if found and name not in allowed and name not in self.book.networks:
                refuse_own_choice(name, where=(self.where, f"key {self.book.key_of(name)}"))

    def refuse_made_of_choice(self, names: Iterable[str | None], where: tuple[str, ...]) -> None:
        """Refuse columns or roles from which something is computed that explains the choice."""
        for name in names:
            if name is not None and self.sources(name) & self.sources(self._roles["choice"]):
                refuse_own_choice(name, where=(*where, f"column {name!r}"))

    # ------------------------------------------------------------------ file columns

    def _without_codes(self) -> dict[str, pd.Series]:
        raw = {name: self.table.frame[name] for name in self.table.frame.columns}
        for name, codes in self.book.missing_codes.items():
            if name in raw:
                raw[name] = self._mask_codes(name, raw[name], [text_of(c) for c in codes])
        for name, coded in self.table.coded.items():
            declared = {spelling(text_of(c)) for c in self.book.missing_codes.get(name, ())}
            counts = coded.value_counts().sort_index().items()
            self.coded_by_file += [(name, str(c), int(n)) for c, n in counts if c not in declared]
        for name, valid in self.book.valid_range.items():
            if name in raw:
                raw[name] = self._mask_range(name, raw[name], valid)
        for name, values in raw.items():
            self._refuse_infinite(name, values)
        return raw

    def _refuse_infinite(self, name: str, values: pd.Series) -> None:
        if values.dtype.kind != "f":
            return
        rows = np.flatnonzero(np.isinf(values.to_numpy()))
        if len(rows):
            raise SurveyError(
                f"the column {name!r} holds infinite numbers",
                where=(self.table.name, f"column {name!r}", rows_text(rows.tolist())),
                mend=f"correct them, or declare [valid_range] {name} = {{ max = … }}",
            )

    def _mask_codes(self, name: str, values: pd.Series, codes: list[str]) -> pd.Series:
        spelt = labels_of(values)
        plain = labels_of(numbers_if_all(values)) if name in self.table.written else spelt
        masked = pd.Series(False, index=values.index)
        for code in dict.fromkeys(codes):
            alike = [t for t in spelt.dropna().unique() if spelling(t) == spelling(code)]
            hit = spelt.isin([code, *alike]) | (plain == code).fillna(False)
            if name in self.table.coded:
                hit |= (self.table.coded[name] == spelling(code)).fillna(False)
            self.coded_missing.append((name, code, int(hit.sum())))
            masked |= hit
            if not hit.any():
                self.unused.append(f"missing_codes.{name}: {code}")
        return values.mask(masked) if masked.any() else values

    def _mask_range(self, name: str, values: pd.Series, valid: Range) -> pd.Series:
        key = f"key valid_range.{name}"
        written = name in self.table.written
        numbers = numbers_of(numbers_if_all(values) if written else values, name, (self.where, key))
        bounds = valid.bounds()
        outside = np.zeros(self.n, dtype=bool)
        for bound, value in bounds.items():
            outside |= {
                "min": numbers < value,
                "max": numbers > value,
                "above": numbers <= value,
                "below": numbers >= value,
            }[bound]
        rule = ", ".join(f"{bound} {value:g}" for bound, value in bounds.items())
        self.out_of_range.append((name, rule, int(outside.sum())))
        return values.mask(outside) if outside.any() else values

    # ------------------------------------------------------------------ made columns

    def _made_column(self, name: str) -> pd.Series:
        if name in self.book.recode:
            return self._recoded(name, self.book.recode[name])
        if name in self._trees:
            return self._derived(name, self._trees[name])
        if name in self.book.networks:
            return self._exposed(name, self.book.networks[name])
        return constructed(name, self)

    def _derived(self, name: str, tree: ast.expr) -> pd.Series:
        return derive(tree, Context(self.get, self.labels, (self.where, f"key derive.{name}")))

    def _recoded(self, name: str, recode: Recode) -> pd.Series:
        own = recode.source == name
        listed = {spelling(old): new for old, new in recode.values.items()}  # noqa: PD011
        values = self._raw[name] if own else self.get(recode.source)
        spelt = self._label(name, values) if own else self.labels(recode.source)
        seen = set(spelt.dropna().unique())
        unlisted = sorted(seen.difference(listed))
        self.unused += [f"recode.{name}: {v}" for v in listed if v not in seen]
        if unlisted and recode.other == "refuse":
            rows = np.flatnonzero(spelt.isin(unlisted))
            raise SurveyError(
                f"{len(unlisted)} values of {recode.source!r} are not in the recode: "
                + ", ".join(map(repr, unlisted[:5])),
                where=(self.where, f"key recode.{name}", rows_text(rows.tolist())),
                mend='list them, or state other = "keep" or "missing"',
            )
        if unlisted and recode.other == "missing":
            self.recoded_missing[name] = int(spelt.isin(unlisted).sum())
        table: dict[str, object] = dict(listed)
        if unlisted and recode.other == "keep":
            as_number = pd.api.types.is_numeric_dtype(values)
            table |= {v: float(v) if as_number else v for v in unlisted}
        self._refuse_mixed(name, table)
        return numbers_or_text(spelt.map(table))

    def _refuse_mixed(self, name: str, table: Mapping[str, object]) -> None:
        text = [v for v in table.values() if isinstance(v, str)]
        number = [v for v in table.values() if not isinstance(v, str)]
        if text and number:
            raise SpecError(
                f"the recode gives both text ({text[0]!r}) and numbers ({number[0]!r})",
                where=(self.where, f"key recode.{name}"),
                mend="recode all values to text, or all to numbers",
            )

    def _exposed(self, name: str, network: Network) -> pd.Series:
        where = (self.where, f"key networks.{name}")
        prior = self._earlier_movers(network, where)
        frame = self._network_frame(network, prior, where)
        try:
            exposed = exposure(
                frame,
                prior="prior",
                group="group",
                own="own" if "own" in frame else None,
                period="period" if "period" in frame else None,
                measure=network.measure,
                weight="weight" if network.weighted else None,
                among="among" if network.among else None,
                by="by" if network.by else None,
                side=network.side or "own",
            )
        except SurveyError as err:
            raise SurveyError(err.what, where=(*where, *err.where), mend=err.mend) from None
        return self._with_alone(name, exposed, network, frame)

    def _earlier_movers(self, network: Network, where: tuple[str, ...]) -> pd.Series:
        """Give who moved before (and is back, or away), 0/1 with NaN, ``(obs,)``."""
        of = (network.of, network.among, network.by, network.leave_out)
        self.refuse_made_of_choice((network.prior, network.away, *of), where)
        prior = self.get(network.prior)
        refuse_contemporaneous(prior, self.choice, name=network.prior, where=where)
        if network.away is None:
            return prior
        away = zero_or_one(self.get(network.away), network.away, where)
        refuse_contemporaneous(self.get(network.away), self.choice, name=network.away, where=where)
        there = away if network.now == "away" else 1 - away
        moved = zero_or_one(prior, network.prior, where) * there
        return pd.Series(moved, index=prior.index)

    def _network_frame(
        self, network: Network, prior: pd.Series, where: tuple[str, ...]
    ) -> pd.DataFrame:
        parts = {"prior": prior, "group": self.labels(self._roles.get(network.of, network.of))}
        own = network.leaves_out()
        if own == "household" or own in self._roles:
            parts["own"] = self.labels(self._role(own, where))
        elif own != "person":
            parts["own"] = self.labels(own)
            self._refuse_split_households(own, where)
        if network.among is not None:
            parts["among"] = self.get(network.among)
            refuse_choosers(parts["among"], self.choice, name=network.among, where=where)
        if network.by is not None:
            parts["by"] = self.labels(self._roles.get(network.by, network.by))
        if "period" in self._roles:
            parts["period"] = self.labels(self._roles["period"])
        if network.weighted:
            parts["weight"] = self.get(self._role("weight", where))
        return pd.DataFrame(parts)

    def _refuse_split_households(self, part: str, where: tuple[str, ...]) -> None:
        """Refuse a part left out that does not hold each household whole."""
        if "household" not in self._roles:
            return
        keys: list[str] = [r for r in ("household", "period") if r in self._roles]
        pairs = pd.DataFrame({role: self.labels(self._roles[role]) for role in keys})
        homes = group_codes(pairs, keys)
        # A missing label is a part of its own: who has none would keep the household in.
        parts = pd.factorize(self.labels(part), use_na_sentinel=False)[0]
        both = pd.DataFrame({"home": homes, "part": parts}).drop_duplicates()
        split = both.loc[both["home"].duplicated() & (both["home"] >= 0), "home"]
        rows = np.flatnonzero(np.isin(homes, split))
        if len(rows):
            raise SurveyError(
                f"members of one household differ in {part!r}, which is left out in the place of "
                "the household: the own household would count",
                where=(*where, f"column {part!r}", rows_text(rows.tolist())),
                mend="number the parts so that each household lies in one",
            )

    def _with_alone(
        self, name: str, exposed: pd.Series, network: Network, frame: pd.DataFrame
    ) -> pd.Series:
        # Whoever is no part of a network, or not known to be, is exposed to it.
        placed = frame.drop(columns=["prior", "among"], errors="ignore").notna().all(axis=1)
        alone = exposed.isna() & placed
        self.alone[name] = int(alone.sum())
        return exposed if network.alone == "missing" else exposed.mask(alone, float(network.alone))

    def _role(self, role: str, where: tuple[str, ...]) -> str:
        if role in self._roles:
            return self._roles[role]
        mend = f'add {role} = "COLUMN" under [roles]'
        if role == "household":
            mend += ', or state leave_out = "person"'
        raise SurveyError(f"this network needs the role {role!r}", where=where, mend=mend)

    def feeds_networks(self) -> npt.NDArray[np.bool_]:
        """Mark the rows that count in some network or rate, shape ``(obs,)``."""
        feeds = np.zeros(self.n, dtype=bool)
        for network in self.book.networks.values():
            counts = self.get(network.prior).notna()
            if network.among is not None:
                counts &= zero_or_one(self.get(network.among), network.among) == 1
            feeds |= counts.to_numpy()
        if self.book.rates:
            feeds |= self.choice.notna().to_numpy()
        return feeds

    # ------------------------------------------------------------------------ choice

    @cached_property
    def choice(self) -> pd.Series:
        """The choice as a categorical of the alternatives, missing where unknown."""
        column, codes = self._roles["choice"], self.book.codes()
        written = labels_of(self._text(column))
        kinds = pd.CategoricalDtype(list(self.book.alternatives), ordered=False)
        rows, spelt = pd.factorize(written)
        chosen = pd.Index([codes.get(text) for text in spelt], dtype=object)
        positions = kinds.categories.get_indexer(chosen)
        if (positions >= 0).all():
            known = pd.Categorical.from_codes(np.append(positions, -1)[rows], dtype=kinds)
            return pd.Series(known, index=written.index, name=written.name)
        alternatives = written.map(codes)
        # As written first: "TRUE" may be a code, and is 1. Then "01" is the code 1.
        for spell in (self.labels, lambda name: labels_of(self.get(name))):
            if (alternatives.isna() & written.notna()).any():
                alternatives = alternatives.where(alternatives.notna(), spell(column).map(codes))
        rows = np.flatnonzero(alternatives.isna() & written.notna())
        if len(rows):
            lost = written.iloc[rows].value_counts()
            shown = ", ".join(f"{code!r} ({n:,} rows)" for code, n in lost.head(5).items())
            raise SurveyError(
                f"codes of the choice {column!r} belong to no alternative: {shown}",
                where=(self.where, "key alternatives", rows_text(rows.tolist())),
                mend="add them to an alternative, or to [missing_codes] to drop them; "
                f"mapped codes: {', '.join(map(repr, list(codes)[:10]))}",
            )
        return alternatives.astype(kinds)
