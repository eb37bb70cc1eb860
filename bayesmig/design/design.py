"""A theory on a survey: labelled arrays, learnt encodings, resolved priors."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from bayesmig.choice.nested import ROOT, Tree
from bayesmig.choice.probabilities import beyond_logit
from bayesmig.choice.response import EFFECT, SHAPES
from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.chunks import chunks
from bayesmig.design.curves import (
    Responses,
    apply_doses,
    curves_of,
    effect_sd,
    learn_doses,
    moving_doses,
    responses,
    typical_height,
)
from bayesmig.design.differences import Labels
from bayesmig.design.feasibility import (
    Feasibility,
    WithAttributes,
    apply_feasible,
    base_is_open,
    feasibility,
    learn_feasible,
)
from bayesmig.design.formula import CONSTANT, Encoder, RowsError, in_order, learn
from bayesmig.design.penalised import Scaled, Smooth, learn_scaled, learn_smooth
from bayesmig.design.priors import PriorArray, resolve
from bayesmig.design.support import Support, check_support
from bayesmig.errors import DesignError, SpecError, nearest
from bayesmig.expressions import parse_formula
from bayesmig.spec.model import NAME, Group, ModelSpec, Taste
from bayesmig.spec.priors import Prior
from bayesmig.survey.cells import all_cells
from bayesmig.survey.sampling import normalised

if TYPE_CHECKING:
    import xarray as xr

    from bayesmig.survey.survey import Survey

#: The label of the one group that everyone is in.
_EVERYONE = "all"
#: Prior standard deviation of a constant at the average person, in log odds.
CONSTANT_SD = 2.5


@dataclass(frozen=True, slots=True)
class GroupLayout:
    """Effects of one factor: of groups, or of everyone, as the bends of a smooth are.

    Attributes
    ----------
    by
        The role or column of the theory.
    columns
        The columns of the survey that hold the labels, or their parts; none where the
        effects are everyone's.
    levels
        Labels, sorted; the order of the effects.
    encoder
        Makes the columns whose coefficients vary.
    correlated
        Whether effects are correlated across alternatives and terms.
    scales
        What has a standard deviation of its own: each effect, each alternative, or all.
    """

    by: str
    columns: tuple[str, ...]
    levels: pd.Index
    encoder: Encoder | Smooth | Scaled
    correlated: bool
    scales: Literal["effect", "alternative", "one"] = "effect"

    def labels(self, frame: pd.DataFrame) -> pd.Series:
        """The label of every row's group: parts are joined by colons."""
        return _joined(frame, self.columns)

    @property
    def terms(self) -> tuple[str, ...]:
        """Labels of the columns whose coefficients vary."""
        return self.encoder.names


@dataclass(frozen=True)
class TasteLayout:
    """Coefficients of attributes that vary.

    Attributes
    ----------
    by, columns, levels
        As of a `GroupLayout`.
    terms, positions
        Labels of the coefficients, and where they stand among those of attributes.
    correlated
        Whether they are correlated.
    """

    by: str
    columns: tuple[str, ...]
    levels: pd.Index
    terms: tuple[str, ...]
    positions: tuple[int, ...]
    correlated: bool

    def labels(self, frame: pd.DataFrame) -> pd.Series:
        """As `GroupLayout.labels`."""
        return _joined(frame, self.columns)


@dataclass(frozen=True)
class Design:
    """Labelled arrays of a theory on a survey.

    Attributes
    ----------
    spec
        The theory.
    frame
        The columns of the survey that the theory and its roles use, one row per
        choice situation.
    roles
        Role -> column.
    attributes
        Attribute -> alternative -> column or number, as the survey declares them.
    columns
        Plain arrays for `bayesmig.choice.utility.utilities`.
    choice
        Position of the chosen alternative, ``(obs,)``.
    weights
        Survey weights scaled to mean one (exactly one where all are equal), ``(obs,)``;
        ``None`` where there are none or the theory says ``ignore``.
    weights_rule
        What was done with weights.
    persons, only, attribute_terms
        Labels of the coefficients. ``only`` holds (alternative, name).
    layouts
        Group factor -> its layout.
    tastes
        Factor of tastes -> its layout.
    priors
        Block -> prior of its coefficients: ``persons`` ``(coefficient, nonbase)``,
        ``only`` and ``alternatives`` one-dimensional.
    support
        Observed ranges and levels, and warnings.
    derived
        Column -> the columns that the codebook computes it from, at any remove: it
        would have to change with them.
    responses
        Labels and priors of the parameters of response curves; ``None`` where there are none.
    feasibility
        Those of the coefficients of consideration.
    has_replicates
        Whether the survey declares replicate weights.
    """

    spec: ModelSpec
    frame: pd.DataFrame = field(repr=False)
    roles: Mapping[str, str]
    attributes: Mapping[str, Mapping[str, str | float]]
    columns: Columns = field(repr=False)
    choice: np.ndarray = field(repr=False)
    weights: np.ndarray | None = field(repr=False)
    weights_rule: str
    persons: tuple[str, ...]
    only: tuple[tuple[str, str], ...]
    attribute_terms: tuple[str, ...]
    layouts: Mapping[str, GroupLayout]
    tastes: Mapping[str, TasteLayout]
    priors: Mapping[str, PriorArray] = field(repr=False)
    support: Support
    encoders: Mapping[str, Encoder] = field(repr=False)
    survey_fingerprint: str
    derived: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    responses: Responses | None = field(default=None, repr=False)
    feasibility: Feasibility | None = field(default=None, repr=False)
    has_replicates: bool = False

    @property
    def n_obs(self) -> int:
        """Number of choice situations."""
        return len(self.choice)

    @property
    def alternatives(self) -> tuple[str, ...]:
        """The choice set, in order."""
        return self.spec.choice.alternatives

    @property
    def nonbase(self) -> tuple[str, ...]:
        """The alternatives other than the base."""
        return self.spec.choice.nonbase

    @property
    def grouped(self) -> tuple[str, ...]:
        """The factors whose effects are of groups, not of everyone."""
        return tuple(by for by, layout in self.layouts.items() if layout.columns)

    @property
    def labelled(self) -> tuple[GroupLayout | TasteLayout, ...]:
        """All factors whose groups the survey has labels of."""
        return (*(self.layouts[by] for by in self.grouped), *self.tastes.values())

    @property
    def is_pseudo(self) -> bool:
        """Whether the likelihood is weighted as averages are."""
        return self.spec.weights == "pseudo"

    @property
    def weights_note(self) -> str:
        """What was done with weights and the sampling design, for the header of every result."""
        return self.weights_rule + self.sampling_rule

    @property
    def weights_sentence(self) -> str:
        """`weights_note` as a sentence that ends the text of a result."""
        return f" Weights: {self.weights_note}."

    @property
    def sampling_rule(self) -> str:
        """What of a declared sampling design is not used, or by comparisons alone; it ends a note.

        Empty where there is no such thing, and where draws are corrected for the design.
        """
        if self.is_pseudo:
            return ""
        used = [r for r in ("strata", "psu") if {r, "psu"} <= self.roles.keys()]
        idle = [r for r in ("strata", "fpc") if r in self.roles and r not in used]
        idle += ["replicate weights"] if self.has_replicates else []
        said = f"; only comparisons of theories use {', '.join(used)}" if used else ""
        return f"{said}; declared and not used: {', '.join(idle)}" if idle else said

    @property
    def likelihood_weights(self) -> np.ndarray | None:
        """What log-likelihoods of rows are multiplied by, ``(obs,)``; ``None``: all are one."""
        return self.weights if self.is_pseudo else None

    @property
    def has_flat_priors(self) -> bool:
        """Whether a coefficient has a prior that nothing can be drawn from."""
        return any(prior.is_flat for prior in self.priors.values())

    def has_effects_of(self, role: str) -> bool:
        """Whether the groups of a role have effects or tastes, alone or in combinations."""
        names = {role, self.roles.get(role, role)}
        return any(names.intersection(layout.columns) for layout in self.labelled)

    def without_groups(
        self, columns: Columns, coefficients: Coefficients
    ) -> tuple[Columns, Coefficients]:
        """The same with the effects and tastes of all groups at zero; everyone's stay."""
        everyones = [by for by in self.layouts if by not in self.grouped]
        effects = coefficients.effects or {}
        return (
            replace(columns, groups={by: columns.groups[by] for by in everyones}, tastes={}),
            replace(coefficients, effects={by: effects[by] for by in everyones}, tastes={}),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that the posterior density depends on, labels included.

        Titles, claims and hypotheses of the theory do not change it.
        """
        priors = self.spec.priors
        said: dict[str, object] = {
            "choice": self.spec.choice.model_dump(),
            "labels": [self.persons, self.only, self.attribute_terms],
            "groups": [[g.by, g.terms, g.correlated, g.scales] for g in self.layouts.values()],
            "priors": [priors.scale.model_dump(), priors.correlation.model_dump()],
        }
        said |= self._beyond_logit()
        if self.is_pseudo:
            said["weights"] = "pseudo"
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        blocks = [self.columns.persons, self.columns.attributes, self.columns.available]
        blocks += [*self.columns.only.values(), self.choice, self.weights]
        if self.columns.doses is not None:
            blocks.append(self.columns.doses)
        blocks += [*self.columns.feasible.values()]
        for codes, terms in self.columns.groups.values():
            blocks += [codes, terms]
        blocks += [codes for codes, _ in self.columns.tastes.values()]
        for prior in self.priors.values():
            blocks += [prior.dist, prior.loc, prior.scale, prior.df]
        for block in blocks:
            if block is None:
                digest.update(b"-")
                continue
            for rows in chunks(len(block)) if block.ndim else [...]:
                digest.update(np.ascontiguousarray(block[rows]).data)
        for levels in (
            *(of.levels for of in self.layouts.values()),
            *(of.levels for of in self.tastes.values()),
        ):
            digest.update("\0".join(map(str, levels)).encode())
        return digest.hexdigest()

    def _beyond_logit(self) -> dict[str, object]:
        """What the density depends on where it is not that of a logit."""
        priors = self.spec.priors
        said: dict[str, object] = {}
        if self.tastes:
            said["tastes"] = [[t.by, t.terms, t.correlated] for t in self.tastes.values()]
        if self.spec.nests:
            nests = [nest.model_dump() for nest in self.spec.nests]
            said["nests"] = [nests, priors.lambda_nest.model_dump()]
        if self.responses is not None:
            curves = [curve.model_dump() for curve in self.spec.curves]
            of = (EFFECT, *(name for shape in SHAPES.values() for name in shape))
            said["curves"] = [curves, [getattr(priors, name).model_dump() for name in of]]
        if self.feasibility is not None:
            labels, signs = self.feasibility.labels, self.feasibility.sign.tolist()
            said["consideration"] = [labels, signs, priors.feasibility.model_dump()]
        return said

    def apply(
        self, frame: pd.DataFrame, *, unseen: str = "refuse", where: str = "new data"
    ) -> Columns:
        """Put another table through what was learnt on the survey.

        Parameters
        ----------
        frame
            Has every column that the theory uses; ``choice`` is not needed.
        unseen
            What a group label means that the fit did not see: ``refuse`` or ``code``
            (minus one).
        where
            What the table is, for messages.

        Returns
        -------
        Columns
            With as many rows as the table.

        Raises
        ------
        DesignError
            For missing columns, unseen levels or groups, values that are not finite.
        """
        frame = frame.reset_index(drop=True)
        frame = _with_period(self.spec, frame, self.roles)
        persons = self.encoders["persons"].apply(frame, where=where)
        only = {
            self.alternatives.index(alternative): self.encoders[f"only.{alternative}"].apply(
                frame, where=where
            )
            for alternative in self.spec.utility.only
        }
        attributes = None
        available = _available(self.spec, frame, where)
        base_is_open(self.spec, available, where)
        if "alternatives" in self.encoders:
            stacked = _stack(self.spec, self.attributes, frame, available, where)
            with _situations(self.alternatives):
                attributes = self.encoders["alternatives"].apply(stacked, where=where)
            attributes = attributes.reshape(len(frame), len(self.alternatives), -1)
        groups = {
            by: (
                _codes(layout, frame, unseen, where),
                layout.encoder.apply(frame, where=where),
            )
            for by, layout in self.layouts.items()
        }
        tastes = {
            by: (_codes(layout, frame, unseen, where), layout.positions)
            for by, layout in self.tastes.items()
        }
        return replace(
            self.columns,
            persons=_with_means(self.spec, persons, groups),
            only=only,
            attributes=attributes,
            groups=groups,
            available=available,
            tastes=tastes,
            doses=apply_doses(self.spec, frame, self.encoders, where),
            feasible=apply_feasible(
                self.spec, frame, self.encoders, self._with_attributes(available, where), where
            ),
        )

    def derivative(
        self, frame: pd.DataFrame, column: str, columns: Columns, *, where: str = "new data"
    ) -> Columns:
        """Derivative of the encoded columns over a numeric column of a table.

        Parameters
        ----------
        frame
            As for `apply`.
        column
            The column that moves; attributes that are read from it move with it.
        columns
            What `apply` made of the table; codes of groups and availability are its own.
        where
            What the table is, for messages.

        Returns
        -------
        Columns
            Where utilities are linear in columns, `bayesmig.choice.utility.utilities` of
            these are the derivatives of the utilities.

        Raises
        ------
        DesignError
            Where an encoding has no finite derivative.
        """
        frame = _with_period(self.spec, frame.reset_index(drop=True), self.roles)
        along = {column: np.ones(len(frame))}

        def moved(key: str) -> np.ndarray:
            return self.encoders[key].derivative(frame, along, where=where)

        attributes = columns.attributes
        if attributes is not None:
            stacked = _stack(self.spec, self.attributes, frame, columns.available, where)
            speeds = {c: self._speeds(c, column, len(frame)) for c in map(str, stacked)}
            with _situations(self.alternatives):
                found = self.encoders["alternatives"].derivative(stacked, speeds, where=where)
            attributes = found.reshape(attributes.shape)
        groups = {
            by: (codes, self.layouts[by].encoder.derivative(frame, along, where=where))
            for by, (codes, _) in columns.groups.items()
        }
        return replace(
            columns,
            persons=_with_means(self.spec, moved("persons"), groups),
            only={j: moved(f"only.{self.alternatives[j]}") for j in columns.only},
            attributes=attributes,
            groups=groups,
            doses=moving_doses(self.spec, frame, self.encoders, along, where),
            feasible={
                j: self._moving_feasible(frame, column, self.alternatives[j], columns, where)
                for j in columns.feasible
            },
        )

    def _moving_feasible(
        self, frame: pd.DataFrame, column: str, alternative: str, columns: Columns, where: str
    ) -> np.ndarray:
        """Derivative of the columns of feasibility of one alternative."""
        encoder = self.encoders[f"consideration.{alternative}"]
        along = {column: np.ones(len(frame))}
        for name in encoder.formula.columns:
            if name in self.attributes:
                moves = self.attributes[name].get(alternative) == column
                along[name] = np.full(len(frame), float(moves))
        table = self._with_attributes(columns.available, where)(alternative, frame)
        return encoder.derivative(table, along, where=where)

    def _with_attributes(self, available: np.ndarray | None, where: str) -> WithAttributes:
        return _attributes_beside(self.spec, self.attributes, available, where)

    def _speeds(self, name: str, column: str, n: int) -> np.ndarray:
        """How fast an attribute, or a column beside attributes, moves with a column."""
        sources = self.attributes.get(name, dict.fromkeys(self.alternatives, name))
        return np.tile([float(sources[a] == column) for a in self.alternatives], n)

    def to_dataset(self) -> xr.Dataset:
        """The arrays with named dims, as stored beside the draws."""
        import xarray as xr

        data: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
            "persons": (("obs", "coefficient"), self.columns.persons)
        }
        coords: dict[str, object] = {
            "obs": np.arange(self.n_obs),
            "coefficient": list(self.persons),
        }
        for by, (codes, terms) in self.columns.groups.items():
            data[f"{by}_code"] = (("obs",), codes)
            data[f"{by}_terms"] = (("obs", f"{by}_term"), terms)
            coords[f"{by}_term"] = list(self.layouts[by].terms)
        if self.only:
            data["only"] = (("obs", "only_term"), np.hstack(list(self.columns.only.values())))
            coords["only_term"] = [f"{name}:{alternative}" for alternative, name in self.only]
        if self.columns.attributes is not None:
            data["attributes"] = (
                ("obs", "alternative", "attribute_term"),
                self.columns.attributes,
            )
            coords["attribute_term"] = list(self.attribute_terms)
            coords["alternative"] = list(self.alternatives)
        if self.columns.available is not None:
            data["available"] = (("obs", "alternative"), self.columns.available)
            coords["alternative"] = list(self.alternatives)
        if self.columns.doses is not None:
            data["doses"] = (("obs", "curve"), self.columns.doses)
            coords["curve"] = [curve.label for curve in self.spec.curves]
        if self.feasibility is not None:
            feasible = np.hstack(list(self.columns.feasible.values()))
            data["feasible"] = (("obs", "feasibility_term"), feasible)
            coords["feasibility_term"] = [f"{name}:{a}" for a, name in self.feasibility.labels]
        if self.weights is not None:
            data["weight"] = (("obs",), self.weights)
        return xr.Dataset(data, coords)


# ------------------------------------------------------------------------- building


def build_design(spec: ModelSpec, survey: Survey) -> Design:
    """Put a theory on a survey.

    Parameters
    ----------
    spec
        The theory.
    survey
        The survey.

    Returns
    -------
    Design
        Checked: ranks, separation, levels, availability.

    Raises
    ------
    DesignError, SpecError
        Where they do not fit together; the message names the theory, the data, the key
        or column, the first rows as the file numbers them, and the mend.
    """
    try:
        frame = used_columns(spec, survey)
        return design_from_frame(
            spec,
            frame,
            roles={role: role for role in survey.roles.declared()},
            attributes=survey.attributes,
            derived={c: sources for c, sources in survey.derived.items() if c in frame},
            survey_fingerprint=survey.fingerprint,
            has_replicates=survey.replicates is not None,
        )
    except (DesignError, SpecError) as err:
        raise _of_survey(err, spec, survey) from None


def _of_survey(
    err: DesignError | SpecError, spec: ModelSpec, survey: Survey
) -> DesignError | SpecError:
    """The same error with its theory and data, columns and rows as the file has them."""
    names = {
        f"column {role}": f"column {column!r} (role {role})"
        for role, column in survey.roles.declared().items()
    }
    stated = err.place if isinstance(err, RowsError) else err.where
    where = (f"theory {spec.name!r}", survey.report.source, *(names.get(w, w) for w in stated))
    if isinstance(err, RowsError):
        return RowsError(err.what, where=where, mend=err.mend, rows=survey.rows[err.rows])
    return type(err)(err.what, where=where, mend=err.mend)


def used_columns(spec: ModelSpec, survey: Survey) -> pd.DataFrame:
    """The columns of a survey that a theory and its declared roles read.

    Raises
    ------
    DesignError
        Where the survey lacks a column that the theory names.
    """
    names, roles = survey.names, survey.roles.declared()
    named = dict.fromkeys(c for formula in spec.formulas.values() for c in formula.columns)
    possible = {c for a in spec.choice.alternatives for c in spec.attributes_of(a)}
    attributes = [a for a in survey.attributes if a in possible]
    for column in named:
        if column not in names and column not in attributes:
            known = [*names, *survey.attributes]
            raise DesignError(
                f"the theory names the column {column!r}, which the survey does not have; "
                + (_spelt_otherwise(column, known) or nearest(column, known)),
                where=_keys_that_name(spec, column),
                mend=_meaning(spec, column)
                or "derive the column in the codebook, or change the theory",
            )
    parts = [part for group in spec.groups for part in group.parts]
    parts += [part for taste in spec.tastes for part in taste.parts]
    wanted = dict.fromkeys([*roles, *named, *spec.available.values(), *parts])
    for name in attributes:
        columns = survey.attributes[name].values()
        wanted |= dict.fromkeys(c for c in columns if isinstance(c, str))
    asked = [a for h in spec.hypotheses.values() for i in h.inequalities for a in i.averages]
    wanted |= dict.fromkeys(c for a in asked for c in (a.variable, *(name for name, _ in a.at)))
    return survey.shared(c for c in wanted if c in names)


def _keys_that_name(spec: ModelSpec, column: str) -> str:
    """The first key of a theory whose formula names a column."""
    return next(f"key {key}" for key, of in spec.formulas.items() if column in of.columns)


def _spelt_otherwise(column: str, known: list[str]) -> str:
    """Formulas are read as Python reads names: in the composed forms of Unicode (NFKC)."""
    same = [k for k in known if unicodedata.normalize("NFKC", k) == column]
    return f"a formula cannot name {same[0]!r}: rename it to {column!r} in the file" if same else ""


def _meaning(spec: ModelSpec, column: str) -> str:
    """What the theory says that a column must hold."""
    if column not in spec.columns:
        return ""
    return f"derive it in the codebook; the theory expects: {spec.columns[column]}"


def design_from_frame(
    spec: ModelSpec,
    frame: pd.DataFrame,
    *,
    roles: Mapping[str, str],
    attributes: Mapping[str, Mapping[str, str | float]],
    survey_fingerprint: str,
    derived: Mapping[str, tuple[str, ...]] | None = None,
    has_replicates: bool = False,
) -> Design:
    """As `build_design`, from the columns themselves (used when a fit is loaded).

    Raises
    ------
    DesignError, SpecError
        As for `build_design`; rows are positions in the frame.
    """
    frame = frame.reset_index(drop=True)
    choice = _choice(spec, frame, roles)
    encoders: dict[str, Encoder] = {}
    of_formula = _persons(spec, frame, roles, encoders)
    only = _only(spec, frame, encoders)
    attributes = _with_shared(spec, attributes)
    available = _available(spec, frame, "")
    _chosen_are_available(spec, choice, available)
    base_is_open(spec, available, "")
    attribute_columns = _attributes(spec, attributes, frame, available, encoders)
    layouts, groups = _factors(spec, frame, roles)
    known = encoders["alternatives"].names if "alternatives" in encoders else ()
    tastes = {t.by: _taste(i, t, frame, roles, known) for i, t in enumerate(spec.tastes)}
    weights, rule = _weights(spec, frame, roles, choice)
    columns = Columns(
        n_alternatives=len(spec.choice.alternatives),
        base=spec.choice.alternatives.index(spec.choice.base),
        persons=_with_means(spec, of_formula, groups),
        only=only,
        attributes=attribute_columns,
        groups=groups,
        available=available,
        tastes={by: (_codes(of, frame, "refuse", ""), of.positions) for by, of in tastes.items()},
        nests=_tree(spec),
        curves=curves_of(spec),
        doses=learn_doses(spec, frame, encoders),
        feasible=learn_feasible(
            spec, frame, encoders, _attributes_beside(spec, attributes, available, "")
        ),
    )
    labels = _labels(spec, encoders)
    _some_coefficient(labels)
    _expected_counts(spec, labels)
    if spec.weights == "pseudo":
        _refuse_uncorrected(columns, layouts)
    counted = weights if spec.weights == "pseudo" else None
    priors = _priors(spec, columns, choice, labels, counted)
    support = check_support(spec, frame, columns, choice, labels, priors)
    return Design(
        spec=spec,
        frame=frame,
        roles=dict(roles),
        attributes={k: dict(v) for k, v in attributes.items()},
        columns=columns,
        choice=choice,
        weights=weights,
        weights_rule=rule,
        layouts=layouts,
        tastes=tastes,
        priors=priors,
        support=replace(
            support, warnings=(*support.warnings, *_empty_cells(layouts, columns, frame))
        ),
        encoders=encoders,
        survey_fingerprint=survey_fingerprint,
        derived=dict(derived or {}),
        persons=labels.persons,
        only=labels.only,
        attribute_terms=labels.attribute_terms,
        responses=responses(spec, columns.doses),
        feasibility=feasibility(spec, columns.feasible, encoders),
        has_replicates=has_replicates,
    )


def _factors(
    spec: ModelSpec, frame: pd.DataFrame, roles: Mapping[str, str]
) -> tuple[dict[str, GroupLayout], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Layouts of effects of groups and of everyone, and their codes and columns."""
    layouts, groups = {}, {}
    for i, g in enumerate(spec.groups):
        layouts[g.by], terms = _layout(i, g, frame, roles)
        groups[g.by] = (_codes(layouts[g.by], frame, "refuse", ""), terms)
    for layout, terms in _of_everyone(spec, frame):
        layouts[layout.by], groups[layout.by] = layout, (np.zeros(len(frame), np.int64), terms)
    return layouts, groups


def _labels(spec: ModelSpec, encoders: Mapping[str, Encoder]) -> Labels:
    return Labels(
        persons=(*encoders["persons"].names, *(pool.name for pool in spec.pools)),
        only=tuple((a, n) for a in spec.utility.only for n in encoders[f"only.{a}"].names),
        attribute_terms=encoders["alternatives"].names if "alternatives" in encoders else (),
    )


def _choice(spec: ModelSpec, frame: pd.DataFrame, roles: Mapping[str, str]) -> np.ndarray:
    labels, known = frame[roles["choice"]], spec.choice.alternatives
    codes = _positions(pd.Index(known), labels)
    if (strange := np.flatnonzero(codes < 0)).size:
        raise _unknown_choice(spec, labels.astype(str), strange, roles["choice"])
    counts = np.bincount(codes, minlength=len(known))
    if (counts == 0).any():
        never = [a for a, n in zip(known, counts, strict=True) if n == 0]
        raise DesignError(
            f"nobody chose {', '.join(map(repr, never))}: its constant is not identified",
            where=("key choice.alternatives", f"column {roles['choice']}"),
            mend="leave the alternative out of the theory, or merge it with another",
        )
    return codes


def _positions(levels: pd.Index, labels: pd.Series) -> np.ndarray:
    """Position of every label's text among levels; minus one where it is none of them."""
    codes, found = pd.factorize(labels)
    positions = levels.get_indexer(pd.Index(found).astype(str))
    return np.append(positions, -1).astype(np.int64)[codes]


def _unknown_choice(spec: ModelSpec, labels: pd.Series, rows: np.ndarray, column: str) -> RowsError:
    got = str(labels.iloc[rows[0]])
    if not re.match(NAME, got):
        return RowsError(
            f"no theory can name the alternative {got!r} of the survey: a name is a letter, then "
            "letters, digits and underscores",
            where=("key alternatives", f"column {column}"),
            mend=f"call it {re.sub(r'\W+', '_', got)!r} under [alternatives] of the codebook",
            rows=rows,
        )
    return RowsError(
        f"the survey has the choice {got!r}, which the theory {spec.name!r} does not know; "
        + nearest(got, spec.choice.alternatives),
        where=(f"column {column}",),
        mend="map its codes to an alternative of the theory in the codebook, or use a theory "
        "with this alternative",
        rows=rows,
    )


def _with_period(spec: ModelSpec, frame: pd.DataFrame, roles: Mapping[str, str]) -> pd.DataFrame:
    """The period's role under the name that its constants are written with."""
    if not spec.utility.period_constants or roles.get("period", "") not in frame.columns:
        return frame
    return frame.assign(period=frame[roles["period"]].astype(str))


def _persons(
    spec: ModelSpec, frame: pd.DataFrame, roles: Mapping[str, str], encoders: dict[str, Encoder]
) -> np.ndarray:
    formula = spec.utility.persons_formula
    constant = formula.intercept is not False
    if spec.utility.period_constants and "period" in roles:
        frame = _with_period(spec, frame, roles)
        periods = in_order(frame["period"].unique())
        if len(periods) > 1:
            added = f"{formula.text} + C(period, reference={periods[0]!r})"
            formula = parse_formula(added, where="key utility.period_constants")
    where = "key utility.persons"
    encoders["persons"], columns = learn(formula, frame, constant=constant, where=where)
    return columns


def _with_means(
    spec: ModelSpec, persons: np.ndarray, groups: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Columns of persons, and beside them those of the mean effects of pools: their sums."""
    sums = [groups[pool.by][1].sum(axis=1) for pool in spec.pools]
    return np.column_stack([persons, *sums]) if sums else persons


def _only(
    spec: ModelSpec, frame: pd.DataFrame, encoders: dict[str, Encoder]
) -> dict[int, np.ndarray]:
    blocks = {}
    for alternative, formula in spec.utility.only_formulas.items():
        where = f"key utility.only.{alternative}"
        constant = formula.intercept is True
        encoder, columns = learn(formula, frame, constant=constant, where=where)
        encoders[f"only.{alternative}"] = encoder
        blocks[spec.choice.alternatives.index(alternative)] = columns
    return blocks


def _attributes(
    spec: ModelSpec,
    attributes: Mapping[str, Mapping[str, str | float]],
    frame: pd.DataFrame,
    available: np.ndarray | None,
    encoders: dict[str, Encoder],
) -> np.ndarray | None:
    formula = spec.utility.alternatives_formula
    if formula is None:
        return None
    stacked = _stack(spec, attributes, frame, available, "")
    with _situations(spec.choice.alternatives):
        encoders["alternatives"], columns = learn(
            formula, stacked, constant=False, where="key utility.alternatives"
        )
    return columns.reshape(len(frame), len(spec.choice.alternatives), -1)


@contextmanager
def _situations(alternatives: tuple[str, ...]) -> Iterator[None]:
    """Faults of stacked rows, told by the choice situation and alternative that they are of."""
    try:
        yield
    except RowsError as err:
        rows, positions = np.divmod(err.rows, len(alternatives))
        of = ", ".join(alternatives[j] for j in np.unique(positions))
        raise RowsError(
            err.what, where=(*err.place, f"of {of}"), mend=err.mend, rows=np.unique(rows)
        ) from None


def _stack(
    spec: ModelSpec,
    attributes: Mapping[str, Mapping[str, str | float]],
    frame: pd.DataFrame,
    available: np.ndarray | None,
    where: str,
) -> pd.DataFrame:
    """One row per choice situation and alternative, situations first."""
    formula = spec.utility.alternatives_formula
    assert formula is not None
    alternatives = spec.choice.alternatives
    n, width = len(frame), len(alternatives)
    stacked = {}
    for column in formula.columns:
        if column not in attributes:
            if column not in frame.columns:
                raise DesignError(
                    f"{column!r} is neither an attribute of the survey nor a column; "
                    + nearest(column, [*attributes, *map(str, frame.columns)]),
                    where=(where, "key utility.alternatives"),
                    mend=f"declare [attributes.{column}] in the codebook",
                )
            stacked[column] = frame[column].repeat(width).reset_index(drop=True)
            continue
        values = np.empty((n, width))
        for j, alternative in enumerate(alternatives):
            is_open = np.ones(n, dtype=bool) if available is None else available[:, j]
            by_alternative = attributes[column]
            values[:, j] = _attribute(by_alternative, column, alternative, frame, is_open, where)
        stacked[column] = pd.Series(values.ravel())
    return pd.DataFrame(stacked)


def _attributes_beside(
    spec: ModelSpec,
    attributes: Mapping[str, Mapping[str, str | float]],
    available: np.ndarray | None,
    where: str,
) -> WithAttributes:
    """How a table gets columns of the attributes that an alternative's feasibility reads."""

    def beside(alternative: str, frame: pd.DataFrame) -> pd.DataFrame:
        assert spec.consideration is not None
        position, found = spec.choice.alternatives.index(alternative), {}
        is_open = np.ones(len(frame), dtype=bool) if available is None else available[:, position]
        for name in spec.consideration.formulas[alternative].columns:
            _not_behind(name, attributes, alternative, where)
            if name in attributes:
                found[name] = _attribute(attributes[name], name, alternative, frame, is_open, where)
        return frame.assign(**found) if found else frame

    return beside


def _not_behind(
    column: str,
    attributes: Mapping[str, Mapping[str, str | float]],
    alternative: str,
    where: str,
) -> None:
    """Refuse the column of an attribute: a scenario that moves the one would not move it."""
    for name, sources in attributes.items():
        if column in sources.values() and column != name:
            raise DesignError(
                f"the column {column!r} holds the attribute {name!r}: feasibility would not "
                "follow where a scenario changes the attribute",
                where=(where, f"key consideration.feasible.{alternative}"),
                mend=f"write {name} for the attribute of {alternative}",
            )


def _attribute(
    by_alternative: Mapping[str, str | float],
    name: str,
    alternative: str,
    frame: pd.DataFrame,
    is_open: np.ndarray,
    where: str,
) -> np.ndarray:
    """An attribute of one alternative, finite in the rows where it is open, ``(obs,)``."""
    if alternative not in by_alternative:
        raise DesignError(
            f"the attribute {name!r} has no column for {alternative!r}",
            where=(where, f"key attributes.{name}"),
            mend=f"add '{alternative} = \"column\"' (or a number) to [attributes.{name}]",
        )
    source = by_alternative[alternative]
    key = f"key attributes.{name}.{alternative}"
    if isinstance(source, str) and source not in frame.columns:
        raise DesignError(
            f"the attribute {name!r} of {alternative!r} reads the column {source!r}, "
            "which is not there; " + nearest(source, list(map(str, frame.columns))),
            where=(where, key),
            mend="correct the codebook's [attributes]",
        )
    number = not isinstance(source, str)
    values = np.full(len(frame), source) if number else _numbers(frame, str(source), where, key)
    finite = np.isfinite(values)
    if (rows := np.flatnonzero(~finite & is_open)).size:
        got = values[rows[0]]
        raise RowsError(
            f"the attribute {name!r} of {alternative!r} is "
            + ("missing" if np.isnan(got) else f"{got:g}, a finite number was expected"),
            where=(where, key, *([] if number else [f"column {source}"])),
            mend="correct the values, or say under [available] of the theory where the "
            "alternative is closed",
            rows=rows,
        )
    # A closed alternative's attributes are often absent: they carry nothing.
    return np.where(finite, values, 0.0)


def _numbers(frame: pd.DataFrame, column: str, *where: str) -> np.ndarray:
    values = frame[column]
    if not pd.api.types.is_numeric_dtype(values):
        raise DesignError(
            f"the column {column!r} holds text ({values.iloc[0]!r}, …), a number was expected",
            where=(*where, f"column {column}"),
            mend="recode the column in the codebook",
        )
    return values.to_numpy(dtype=float)


def _available(spec: ModelSpec, frame: pd.DataFrame, where: str) -> np.ndarray | None:
    if not spec.available:
        return None
    available = np.ones((len(frame), len(spec.choice.alternatives)), dtype=bool)
    for alternative, column in spec.available.items():
        if column not in frame.columns:
            raise DesignError(
                f"the availability of {alternative!r} is read from {column!r}, which is not there; "
                + nearest(column, list(map(str, frame.columns))),
                where=(where, f"key available.{alternative}"),
                mend="derive the column in the codebook, or correct [available]",
            )
        key = f"key available.{alternative}"
        values = _numbers(frame, column, where, key)
        odd = ~np.isin(values, (0.0, 1.0))
        if odd.any():
            raise RowsError(
                f"availability must be 0 or 1, got {values[odd][0]:g}",
                where=(where, key, f"column {column}"),
                mend="recode the column in the codebook",
                rows=np.flatnonzero(odd),
            )
        available[:, spec.choice.alternatives.index(alternative)] = values == 1.0
    none = ~available.any(axis=1)
    if none.any():
        raise RowsError(
            "no alternative is available",
            where=(where, "key available"),
            mend="drop these rows in the codebook",
            rows=np.flatnonzero(none),
        )
    return available


def _tree(spec: ModelSpec) -> Tree | None:
    """The nests by position."""
    if not spec.nests:
        return None
    place = {nest.name: m for m, nest in enumerate(spec.nests)}
    of = {a: m for m, nest in enumerate(spec.nests) for a in nest.alternatives}
    return Tree(
        alternatives=tuple(of.get(a, ROOT) for a in spec.choice.alternatives),
        nests=tuple(ROOT if n.within is None else place[n.within] for n in spec.nests),
    )


def _chosen_are_available(
    spec: ModelSpec, choice: np.ndarray, available: np.ndarray | None
) -> None:
    if available is None:
        return
    wrong = np.flatnonzero(~available[np.arange(len(choice)), choice])
    if len(wrong):
        name = spec.choice.alternatives[choice[wrong[0]]]
        raise RowsError(
            f"{name!r} was chosen where it is not available",
            where=(f"key available.{name}", f"column {spec.available[name]}"),
            mend="correct the availability column or the choice",
            rows=wrong,
        )


def _layout(
    number: int, group: Group, frame: pd.DataFrame, roles: Mapping[str, str]
) -> tuple[GroupLayout, np.ndarray]:
    """The layout of a factor, and the columns whose coefficients vary, ``(obs, term)``."""
    key = f"key groups[{number}]"
    columns, levels = _levels_of(group, key, frame, roles)
    constant = group.formula.intercept is not False
    encoder, terms = learn(group.formula, frame, constant=constant, where=f"{key}.terms")
    return GroupLayout(group.by, columns, levels, encoder, group.correlated), terms


def _taste(
    number: int,
    taste: Taste,
    frame: pd.DataFrame,
    roles: Mapping[str, str],
    known: tuple[str, ...],
) -> TasteLayout:
    """The layout of tastes, among the labels of the attributes' coefficients."""
    key = f"key tastes[{number}]"
    for name in taste.attributes:
        if name not in known:
            raise DesignError(
                f"there is no coefficient {name!r} that all have; {nearest(name, known)}",
                where=f"{key}.attributes",
                mend="name it in utility.alternatives, around whose coefficient tastes vary",
            )
    columns, levels = _levels_of(taste, key, frame, roles)
    positions = tuple(known.index(name) for name in taste.attributes)
    return TasteLayout(taste.by, columns, levels, taste.attributes, positions, taste.correlated)


def _levels_of(
    group: Group | Taste, key: str, frame: pd.DataFrame, roles: Mapping[str, str]
) -> tuple[tuple[str, ...], pd.Index]:
    """The columns that hold the parts of labels, and the labels, sorted."""
    columns = tuple(roles.get(part, part) for part in group.parts)
    for part, column in zip(group.parts, columns, strict=True):
        _can_group(part, column, frame, roles, key)
    labels = _joined(frame, columns)
    found = labels.unique()
    levels = pd.Index(sorted({*found, *_cells(frame, columns, len(found))}), dtype=object)
    if len(levels) < 2:
        raise DesignError(
            f"effects vary by {group.by!r}, which has only the level {levels[0]!r}",
            where=(f"{key}.by", *(f"column {column}" for column in columns)),
            mend="leave the group out of the theory",
        )
    return columns, levels


def _cells(frame: pd.DataFrame, columns: tuple[str, ...], found: int) -> Iterable[str]:
    """Labels of all cells, those that nobody is in too: scenarios move people into them.

    What is known of such a cell is what others tell.
    """
    every = all_cells(frame[list(columns)], found)
    return () if every is None else _joined(every, columns)


def _empty_cells(
    layouts: Mapping[str, GroupLayout], columns: Columns, frame: pd.DataFrame
) -> Iterator[str]:
    for by, layout in layouts.items():
        found = len(np.unique(columns.groups[by][0]))
        if empty := len(layout.levels) - found:
            yield (
                f"groups of {by}: {empty:,} of {len(layout.levels):,} combinations are empty: "
                "their effects rest on those of the others"
            )
        if empty or len(layout.columns) < 2:
            continue
        sizes = [frame[column].nunique() for column in layout.columns]
        # Households in places are no intersection: one column nearly says the other.
        if 2 * max(sizes) < found < prod(sizes):
            yield (
                f"groups of {by}: {found:,} of {prod(sizes):,} combinations have people, and they "
                "alone have effects: of the others nothing is known"
            )


def _with_shared(
    spec: ModelSpec, attributes: Mapping[str, Mapping[str, str | float]]
) -> Mapping[str, Mapping[str, str | float]]:
    """The attributes, and what is shared as one: a column beside every alternative but the base."""
    found = dict(attributes)
    for column in spec.utility.shared_columns:
        of = {a: 0.0 if a == spec.choice.base else column for a in spec.choice.alternatives}
        if found.setdefault(column, of) != of:
            raise DesignError(
                f"{column!r} is an attribute of the survey: it differs over alternatives already",
                where="key utility.shared",
                mend="name it under utility.alternatives, or rename the column",
            )
    return found


def _of_everyone(spec: ModelSpec, frame: pd.DataFrame) -> Iterator[tuple[GroupLayout, np.ndarray]]:
    """Factors of one group that everyone is in: smooths, and deviations from what is common."""
    everyone = pd.Index([_EVERYONE], dtype=object)
    for number, smooth in enumerate(spec.smooths):
        key, by = f"key smooths[{number}]", f"smooth_{smooth.column}"
        encoder, terms = learn_smooth(smooth.column, smooth.bends, frame, where=key)
        yield GroupLayout(by, (), everyone, encoder, smooth.correlated, "alternative"), terms
    deviating = [
        (f"key pools[{number}].columns", pool.by, pool.columns, pool.per)
        for number, pool in enumerate(spec.pools)
    ]
    if columns := spec.utility.shared_columns:
        deviating.append(("key utility.shared", "deviation", columns, "sd"))
    for key, by, columns, per in deviating:
        formula = parse_formula(" + ".join(columns))
        scaled, terms = learn_scaled(formula, frame, where=key, unit=per == "unit")
        yield GroupLayout(by, (), everyone, scaled, False, "one"), terms


def _can_group(
    part: str, column: str, frame: pd.DataFrame, roles: Mapping[str, str], key: str
) -> None:
    """Refuse a column whose labels are no groups."""
    if column == roles["choice"]:
        raise DesignError(
            "effects cannot vary by what was chosen: the outcome would explain itself",
            where=f"{key}.by",
            mend="name a role or column that was known before the choice",
        )
    if column not in frame.columns:
        raise DesignError(
            f"effects vary by {part!r}, which is neither a declared role nor a column; "
            + nearest(part, list(dict.fromkeys([*roles, *map(str, frame.columns)]))),
            where=f"{key}.by",
            mend=f"declare the role {part!r} in the codebook, or name a column",
        )
    missing = frame[column].isna()
    if missing.any():
        raise RowsError(
            f"{column!r} has {int(missing.sum()):,} missing labels",
            where=(f"{key}.by", f"column {column}"),
            mend="name the column under [missing] columns in the codebook",
            rows=np.flatnonzero(missing),
        )


def _joined(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Labels of one column, or of combinations of several, of which no two are alike."""
    if not columns:
        return pd.Series(_EVERYONE, index=frame.index, dtype=object)
    parts = [pd.factorize(frame[column]) for column in columns]
    codes = [code for code, _ in parts]
    texts = [[label_text(value) for value in found] for _, found in parts]
    if len(columns) == 1:
        text = np.array([*texts[0], np.nan], dtype=object)
        return pd.Series(text[codes[0]], index=frame.index)
    texts = [[_escaped(text) for text in of] for of in texts]
    missing = np.min(codes, axis=0) < 0
    position, pairs = pd.factorize(pd.MultiIndex.from_arrays(codes))
    names = [":".join(t[k] for t, k in zip(texts, pair, strict=True)) for pair in pairs]
    labels = pd.Series(np.array(names, dtype=object)[position], index=frame.index)
    return labels.mask(missing)


def label_text(value: object) -> str:
    """A label's text: a number is the same whether it is held as whole or not."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)  # type: ignore[call-overload]


def _escaped(text: str) -> str:
    """A part of a label in which no colon stands for the one between parts."""
    return text.replace("\\", "\\\\").replace(":", "\\:")


def _codes(
    layout: GroupLayout | TasteLayout, frame: pd.DataFrame, unseen: str, where: str
) -> np.ndarray:
    """Position of each row's group; minus one for an unseen one where that is allowed."""
    absent = [column for column in layout.columns if column not in frame.columns]
    if absent:
        if unseen == "code":
            return np.full(len(frame), -1)
        raise DesignError(
            f"the column {absent[0]!r} is needed to know each row's {layout.by}",
            where=where,
            mend='add it, or ask with groups="new", groups="average" or groups="typical"',
        )
    labels = layout.labels(frame)
    codes = _positions(layout.levels, labels)
    if unseen == "refuse" and (codes < 0).any():
        rows = np.flatnonzero(codes < 0)
        label = str(labels.iloc[rows[0]])
        raise RowsError(
            f"the {layout.by} {label!r} was not in the survey of the fit",
            where=(where, *(f"column {column}" for column in layout.columns)),
            mend='ask with groups="new" (drawn), groups="average" (integrated out) or '
            'groups="typical" (zero)',
            rows=rows,
        )
    return codes


def _weights(
    spec: ModelSpec, frame: pd.DataFrame, roles: Mapping[str, str], choice: np.ndarray
) -> tuple[np.ndarray | None, str]:
    if "weight" not in roles:
        if spec.weights == "pseudo":
            raise DesignError(
                "the theory weights its likelihood, and the survey declares no weight",
                where="key weights",
                mend='add weight = "COLUMN" under [roles] of the codebook, or let the theory say '
                'weights = "ignore"',
            )
        return None, "none declared: every row counts once"
    if spec.weights == "ignore":
        return None, f"declared ({roles['weight']}) but ignored, as the theory says"
    weights = frame[roles["weight"]].to_numpy(dtype=float)
    if not weights.sum() > 0:
        raise DesignError(
            "the survey weights sum to zero",
            where=("key weights", f"column {roles['weight']}"),
            mend='correct the weights, or let the theory say weights = "ignore"',
        )
    if spec.weights == "pseudo":
        return _weights_of_likelihood(spec, weights, choice, roles["weight"])
    return normalised(weights), (
        f"averages are weighted by {roles['weight']}, the likelihood is not (estimand)"
    )


def _weights_of_likelihood(
    spec: ModelSpec, weights: np.ndarray, choice: np.ndarray, column: str
) -> tuple[np.ndarray, str]:
    mass = np.bincount(choice, weights, len(spec.choice.alternatives))
    if (mass == 0).any():
        lost = spec.choice.alternatives[int(np.argmin(mass))]
        raise DesignError(
            f"all who chose {lost!r} have weight 0: its constant is not identified",
            where=("key weights", f"column {column}"),
            mend="correct the weights, or leave the alternative out of the theory",
        )
    return normalised(weights), (
        f"averages and likelihood weighted by {column} (pseudo-posterior, weights that sum to the "
        "rows); the spread of coefficients and scales is corrected for the sampling design"
    )


def _refuse_uncorrected(columns: Columns, layouts: Mapping[str, GroupLayout]) -> None:
    """Refuse theories whose pseudo-posterior has no correction for the design here."""
    parts = list(beyond_logit(columns))
    if any(not layout.columns for layout in layouts.values()):
        parts.append("smooths, shared drivers and pools")
    if parts:
        raise DesignError(
            f"the correction for the sampling design does not cover {', '.join(parts)}: draws of "
            "the weighted likelihood would be too sure of themselves",
            where="key weights",
            mend='let the theory say weights = "estimand", which weights averages only',
        )


def _some_coefficient(labels: Labels) -> None:
    if not (labels.persons or labels.only or labels.attribute_terms):
        raise DesignError(
            "the theory has no coefficient: it says the same of everybody, whatever the data",
            where="key utility",
            mend='let persons hold a constant, persons = "1", or name columns',
        )


def _expected_counts(spec: ModelSpec, labels: Labels) -> None:
    persons = [n for n in labels.persons if not n.startswith("period[")]
    found = {
        "persons": len(persons),
        "only": len(labels.only),
        "alternatives": len(labels.attribute_terms),
    }
    for block, count in found.items():
        expected = getattr(spec.expect, block)
        if expected is not None and expected != count:
            raise DesignError(
                f"the theory {spec.name!r} expects {expected} coefficients in {block}, got {count}",
                where=f"key expect.{block}",
                mend="a column has more levels on this survey; correct the formula or [expect]",
            )


def _priors(
    spec: ModelSpec,
    columns: Columns,
    choice: np.ndarray,
    labels: Labels,
    weights: np.ndarray | None = None,
) -> dict[str, PriorArray]:
    """Resolve the priors, constants centred on the log of the observed share."""
    nonbase = spec.choice.nonbase
    spread = _spread(columns.persons)
    width = len(nonbase)
    persons_labels = tuple((n, a) for n in labels.persons for a in nonbase)
    only_labels = tuple((n, a) for a, n in labels.only)
    only_spread = np.concatenate([_spread(b) for b in columns.only.values()] or [np.empty(0)])
    generic_spread = _spread_of_attributes(spec, columns, labels)
    spreads = {"persons": spread, "only": only_spread, "alternatives": generic_spread}
    constants = _constants(spec, columns, choice, labels, spreads, weights)
    persons = resolve(spec.priors, "persons", persons_labels, np.repeat(spread, width), constants)
    shape = (len(labels.persons), width)
    generic_labels = tuple((n, "") for n in labels.attribute_terms)
    return {
        "persons": PriorArray(
            *(getattr(persons, k).reshape(shape) for k in ("dist", "loc", "scale", "df"))
        ),
        "only": resolve(spec.priors, "only", only_labels, only_spread, constants),
        "alternatives": resolve(
            spec.priors, "alternatives", generic_labels, generic_spread, constants
        ),
    }


def _spread(block: np.ndarray) -> np.ndarray:
    """Standard deviation of each column; one where it does not vary."""
    spread = block.std(axis=0) if block.shape[1] == 1 else _std(block)
    return np.where(spread > 0, spread, 1.0)


def _std(block: np.ndarray) -> np.ndarray:
    """``block.std(axis=0)`` to the last bit, without a copy of the block.

    It adds row after row, but where there is one column: priors are part of the
    fingerprint, and those of saved draws must be found again.
    """
    mean, squares = block.mean(axis=0), np.zeros((1, block.shape[1]))
    for rows in chunks(len(block)):
        part = np.square(block[rows] - mean)
        squares = np.add.reduce(np.concatenate([squares, part]), axis=0, keepdims=True)
    return np.asarray(np.sqrt(squares[0] / len(block)))


def _spread_of_attributes(spec: ModelSpec, columns: Columns, labels: Labels) -> np.ndarray:
    """As `_spread`, over rows and alternatives; of what is shared, over rows alone.

    The zero of the base would make the spread of a shared column depend on its mean.
    """
    if columns.attributes is None:
        return np.empty(0)
    spread = _spread(columns.attributes.reshape(-1, columns.attributes.shape[2]))
    places, block = _shared(spec, columns, labels)
    spread[places] = _spread(block)
    return spread


def _shared(spec: ModelSpec, columns: Columns, labels: Labels) -> tuple[list[int], np.ndarray]:
    """Where shared columns stand among the attributes, and they themselves, ``(obs, column)``."""
    names = enumerate(labels.attribute_terms)
    places = [k for k, name in names if name in spec.utility.shared_columns]
    if not places:
        return [], np.empty((len(columns.persons), 0))
    moving = 0 if columns.base > 0 else 1
    return places, columns.attributes[:, moving, places]


def _constants(
    spec: ModelSpec,
    columns: Columns,
    choice: np.ndarray,
    labels: Labels,
    spreads: Mapping[str, np.ndarray],
    weights: np.ndarray | None,
) -> dict[str, tuple[float, float]]:
    """Default centre and spread of each constant.

    The centre is the log of the share against the base (half a case added to each, so
    that a rare alternative has a finite one), weighted where the likelihood is. The spread is
    `CONSTANT_SD` at the average person; where columns are not centred, the constant is far
    from there, and its spread widens by what the coefficients' priors imply for that distance.
    """
    counts = np.bincount(choice, weights, columns.n_alternatives) + 0.5
    base = counts[columns.base]
    away = _away(spec, columns, labels, spreads)
    return {
        a: (float(np.log(counts[j] / base)), float(np.sqrt(CONSTANT_SD**2 + away[j])))
        for j, a in enumerate(spec.choice.alternatives)
    }


def _away(
    spec: ModelSpec, columns: Columns, labels: Labels, spreads: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Prior variances of what persons' columns add to utilities at their means."""
    means = columns.persons.mean(axis=0)
    varies = np.array([n != CONSTANT for n in labels.persons], dtype=bool)
    far = (_reach(spec.priors.persons, spreads["persons"]) * means)[varies]
    found = np.full(columns.n_alternatives, np.sum(np.square(far)))
    places, block = _shared(spec, columns, labels)
    spread, mean = spreads["alternatives"][places], block.mean(axis=0)
    found += np.sum(np.square(_reach(spec.priors.alternatives, spread) * mean))
    # A deviation of the size that its scale's prior has.
    found += np.sum(np.square(spec.priors.scale.scale * mean / spread))
    pooled = [columns.groups[pool.by][1].mean(axis=0) for pool in spec.pools]
    found += sum(np.sum(np.square(spec.priors.scale.scale * mean)) for mean in pooled)
    own = np.zeros(columns.n_alternatives)
    for k, curve in enumerate(columns.curves):
        dose = columns.doses[:, k]
        height = effect_sd(spec, curve.shape, dose) * typical_height(curve.shape, dose)
        own[list(curve.alternatives)] += height**2
    return np.asarray(found + own + own[columns.base])


def _reach(prior: Prior, spread: np.ndarray) -> np.ndarray:
    """How far coefficients reach by their prior, per unit of their columns; 0 where flat."""
    if prior.dist == "flat":
        return np.zeros(len(spread))
    return prior.scale / spread if prior.per == "sd" else np.full(len(spread), prior.scale)
