"""Which theory predicts best what it has not seen: a new person, a new place, the next period.

Vehtari, Gelman and Gabry 2017 (doi 10.1007/s11222-016-9696-4) for leave-one-out; Merkle,
Furr and Rabe-Hesketh 2019 (doi 10.1007/s11336-019-09679-0) for why effects of groups are
integrated out; Bürkner, Gabry and Vehtari 2020 (doi 10.1080/00949655.2020.1783262) for
leaving out the future. docs/comparison.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.design.design import Design
from bayesmig.errors import QuestionError, nearest, rows_text
from bayesmig.model_comparison import psis
from bayesmig.model_comparison.integrals import factors_of, to_integrate
from bayesmig.model_comparison.left_out import Estimate, leave_out
from bayesmig.model_comparison.refits import Fold, folds_of, last_period, refitted
from bayesmig.model_comparison.separation import (
    Sums,
    alike,
    pseudo_bma_weights,
    stacking_weights,
    sums_of,
)
from bayesmig.model_comparison.verdict import Asked, verdict
from bayesmig.posterior import Posterior, require_posterior, table_text
from bayesmig.progress import Progress, silent

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: Roles that are nothing that could be new.
_NO_UNITS = ("choice", "weight", "strata", "period")
_BY_WEIGHTS = "by importance weights (PSIS)"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Theories by how well they predict what was left out.

    Attributes
    ----------
    summary
        One row per theory, best first: ``theory``, ``elpd`` (expected log predictive
        density, summed over units, weighted where weights were used), ``se``,
        ``elpd_diff`` (against the best, at most 0), ``diff_se`` (from paired units, units
        of one cluster taken together), ``p_loo`` (effective number of parameters, effects
        that are integrated out not counted), ``weight`` (stacking, shared equally by
        theories that differ by no more than another seed of one of them would),
        ``pseudo_bma`` (pseudo-BMA+ weights), ``pareto_k_max``, ``pareto_k_high`` (units
        above the bound up to which smoothing is reliable). Refits have no ``p_loo`` and
        no Pareto k: these are missing.
    pointwise
        ``elpd`` and ``pareto_k`` over ``(theory, unit)``; attributes ``question``,
        ``unit``, ``method``, ``effects`` (theory: what was done with them), ``weights``,
        ``clusters`` (the role; empty where every unit is one); ``good_k`` by theory.
    text
        The verdict in words: first what makes it unreliable, then what it is, then what was
        asked. No theory is said to predict better where that rests on units with a high
        Pareto k.
    """

    summary: pd.DataFrame = field(repr=False)
    pointwise: xr.Dataset = field(repr=False)
    text: str

    def __str__(self) -> str:
        return f"{table_text(self.summary)}\n{self.text}"


def compare(
    posteriors: Mapping[str, Posterior],
    *,
    question: str = "person",
    folds: int | Literal["all"] | None = None,
    effects: Literal["integrated", "conditional"] = "integrated",
    wts: bool = True,
    seed: int = 0,
    allow_unconverged: bool = False,
    progress: Progress = silent,
) -> Comparison:
    """Compare theories by how well they predict what they have not seen.

    Parameters
    ----------
    posteriors
        Name -> draws; at least two, of one survey.
    question
        What is to be predicted. ``person``: a new person in a place that is known (where the
        survey declares no persons, whoever chooses). ``origin``, or another role: a new one,
        of which nothing is known but its columns; all its rows are left out together.
        ``period``: the last period from all before it, by one refit. ``obs``: a new choice
        situation of people who are known.
    folds
        Left out: importance weights, no refits. A number: units are left out in so many
        parts at random, and theories fitted again without each; ``"all"``: one unit at a
        time. Does not apply to ``period``.
    effects
        Of groups. ``integrated``: the rest of a group tells of its effects, and what is
        left out does not (`bayesmig.model_comparison.integrals`). ``conditional``: as their
        draws have them, which have seen it; what ArviZ computes of stored log-likelihoods.
    wts
        Whether the survey's weights are used, where it has any and the theories say
        ``estimand``: the elpd is then that of the population.
    seed
        Of folds, refits and the bootstrap.
    allow_unconverged
        Whether draws that have not converged may be used.
    progress
        Told of every block of units, and of every refit.

    Returns
    -------
    Comparison
        A unit whose likelihood is the same under all draws has Pareto k 0; one whose tail
        cannot be fitted has infinity.

    Raises
    ------
    ConvergenceError
        Where draws have not converged, those of refits included.
    QuestionError
        Where there are fewer than two theories, they are of different data or choice
        sets, the question does not apply, or there are too few draws.

    Notes
    -----
    Without group effects, and with ``effects="conditional"``, estimates are ArviZ's
    (``arviz_stats.loo``). Many units are smoothed at once, and draws × rows are never held.
    Where effects are integrated out fewer draws may be used, 400 at least, evenly spaced.
    """
    _refuse_different(posteriors)
    _refuse_unknown(question, folds, effects, wts)
    for posterior in posteriors.values():
        posterior.require_convergence(allow_unconverged)
    first = next(iter(posteriors.values()))
    weights, said = _weights(posteriors, wts)
    units, labels, unit = _units(first.design, question)
    rows, how = np.arange(first.design.n_obs), _How(seed, allow_unconverged, progress)
    if question == "period" or folds is not None:
        split, method = _split(first.design, question, unit, units, folds, seed)
        found = _by_refits(posteriors, units, split, how)
    else:
        method = _BY_WEIGHTS
        integrate = effects == "integrated"
        found = {
            name: leave_out(name, p, units, question, integrate=integrate, progress=progress)
            for name, p in posteriors.items()
        }
    if question == "period":
        rows = split[0].left
        # Units of earlier periods were not left out.
        some, units = np.unique(units[rows], return_inverse=True)
        labels = labels[some]
        found = {name: _of_period(posteriors[name], of, some) for name, of in found.items()}
    sums = sums_of(first.design, rows, units, unit, weights)
    asked = Asked(question, unit, method, said + _idle(first.design, sums))
    return _comparison(found, posteriors, sums, labels, asked, seed)


@dataclass(frozen=True)
class _How:
    """Options of refits, as `compare` takes them."""

    seed: int
    allow_unconverged: bool
    progress: Progress


def _by_refits(
    posteriors: Mapping[str, Posterior], units: Codes, split: list[Fold], how: _How
) -> dict[str, Estimate]:
    return {
        name: refitted(
            name,
            posterior,
            units,
            split,
            seed=how.seed,
            allow_unconverged=how.allow_unconverged,
            progress=how.progress,
        )
        for name, posterior in posteriors.items()
    }


def _comparison(
    found: Mapping[str, Estimate],
    posteriors: Mapping[str, Posterior],
    sums: Sums,
    labels: Any,
    asked: Asked,
    seed: int,
) -> Comparison:
    good_k = {name: psis.good_k(estimate.n_draws) for name, estimate in found.items()}
    summary = _summary(found, good_k, sums, seed)
    text = verdict(summary, found, good_k, posteriors, sums, asked)
    pointwise = xr.Dataset(
        {
            "elpd": (("theory", "unit"), np.stack([of.elpd for of in found.values()])),
            "pareto_k": (("theory", "unit"), np.stack([of.pareto_k for of in found.values()])),
            "good_k": ("theory", list(good_k.values())),
            "effects": ("theory", [of.effects for of in found.values()]),
        },
        {"theory": list(found), "unit": labels},
        {
            "question": asked.question,
            "unit": asked.unit,
            "method": asked.method,
            "weights": asked.weights,
            "clusters": sums.by,
        },
    )
    return Comparison(summary, pointwise, text)


def check_question(
    design: Design, question: str, folds: int | Literal["all"] | None = None
) -> None:
    """Refuse a question that `compare` could not answer on a survey.

    Raises
    ------
    QuestionError
        Where it could not.
    """
    _refuse_unknown(question, folds, "integrated", True)
    units, _, unit = _units(design, question)
    if question == "period" or folds is not None:
        _split(design, question, unit, units, folds, 0)
    else:
        to_integrate(factors_of(design), units, question)


# ------------------------------------------------------------------- what is comparable


def _refuse_different(posteriors: Mapping[str, Posterior]) -> None:
    if len(posteriors) < 2:
        raise QuestionError(
            f"{len(posteriors)} theory cannot be compared, at least two are needed",
            where="compare(posteriors)",
            mend="fit a second theory to the same survey",
        )
    for posterior in posteriors.values():
        require_posterior(posterior)
        posterior.refuse_pseudo("comparison by what is left out")
    (first, one), *others = posteriors.items()
    for name, other in others:
        if difference := _difference(one, other):
            raise QuestionError(
                f"{first!r} and {name!r} are not theories of the same data: {difference}",
                where="compare(posteriors)",
                mend="fit both to one survey, read with one codebook",
            )


def _difference(one: Posterior, other: Posterior) -> str:
    """What differs between the data of two posteriors; empty where nothing does."""
    a, b = one.design, other.design
    if set(a.alternatives) != set(b.alternatives):
        return f"alternatives {', '.join(a.alternatives)} and {', '.join(b.alternatives)}"
    if a.n_obs != b.n_obs:
        return f"{a.n_obs:,} and {b.n_obs:,} rows"
    chosen = [np.array(d.alternatives, dtype=object)[d.choice] for d in (a, b)]
    if len(unlike := np.flatnonzero(chosen[0] != chosen[1])):
        return f"choices differ in {len(unlike):,} rows ({rows_text(unlike)})"
    if dict(a.roles) != dict(b.roles):
        return f"roles {', '.join(a.roles)} and {', '.join(b.roles)}"
    if (prints := [p.provenance.survey for p in (one, other)])[0] != prints[1]:
        return f"survey fingerprints {prints[0][:12]}… and {prints[1][:12]}…"
    return ""


def _refuse_unknown(question: Any, folds: Any, effects: Any, wts: Any) -> None:
    """Refuse options that no survey could answer."""
    known = ("integrated", "conditional")
    if effects not in known:
        raise QuestionError(
            f"effects={effects!r} is unknown; {nearest(str(effects), known)}",
            where="compare(effects=...)",
        )
    if not isinstance(wts, bool | np.bool_):
        raise QuestionError(f"wts must be True or False, got {wts!r}", where="compare(wts=...)")
    whole = isinstance(folds, int) and not isinstance(folds, bool) and folds >= 2
    if not (folds is None or folds == "all" or whole):
        raise QuestionError(
            f"folds must be a number from 2 on or 'all', got {folds!r}", where="compare(folds=...)"
        )
    refits = folds is not None or question == "period"
    if refits and effects == "conditional":
        raise QuestionError(
            "effects='conditional' does not apply to refits, whose draws have not seen what is "
            "left out",
            where="compare(effects=...)",
            mend="leave it out",
        )
    if question == "period" and folds is not None:
        raise QuestionError(
            "folds do not apply to the next period, which is left out once",
            where="compare(question='period', folds=...)",
            mend="leave folds out",
        )


def _weights(posteriors: Mapping[str, Posterior], wts: bool) -> tuple[Array | None, str]:
    """Weights of rows, and what was done with them."""
    designs = {name: p.design for name, p in posteriors.items()}
    for name, design in designs.items():
        if design.spec.weights not in ("estimand", "ignore"):
            raise QuestionError(
                f"the likelihood of {name!r} is weighted (weights = {design.spec.weights!r}), and "
                "a row's part of it is not its density",
                where="compare(posteriors)",
                mend="compare theories with weights = 'estimand' or 'ignore'",
            )
    has = {name: design.weights is not None for name, design in designs.items()}
    if not wts:
        said = "Of the sample: every row counts once, survey weights are not used, as asked."
        return None, said
    if len(set(has.values())) > 1:
        one, other = (next(n for n, h in has.items() if h is what) for what in (True, False))
        raise QuestionError(
            f"{one!r} uses survey weights and {other!r} ignores them",
            where="compare(wts=True)",
            mend="say wts=False, or let both theories say the same under weights",
        )
    design = next(iter(designs.values()))
    if design.weights is None:
        return None, f"Of the sample: survey weights are not used ({design.weights_rule})."
    said = f"Of the population: units are weighted by {design.roles['weight']}, draws are not."
    return design.weights, said


def _idle(design: Design, sums: Sums) -> str:
    """What of a sampling design standard errors leave out, in words."""
    idle = []
    if "strata" in design.roles and "psu" not in design.roles:
        idle.append("strata (no psu is declared)")
    elif sums.unused:
        idle.append(f"{'strata, ' if 'strata' in design.roles else ''}psu ({sums.unused})")
    if "fpc" in design.roles:
        idle.append("fpc (errors are those of drawing with replacement)")
    if design.has_replicates:
        idle.append("replicate weights")
    return f" Declared and not used here: {', '.join(idle)}." if idle else ""


def _units(design: Design, question: str) -> tuple[Codes, Any, str]:
    """Unit of every row, the labels of the units, and what they are."""
    known = [role for role in design.roles if role not in _NO_UNITS]
    unit = question
    if question in ("person", "period"):
        unit = next((role for role in ("person", "household") if role in design.roles), "obs")
    if question == "period" or unit == "obs":
        return np.arange(design.n_obs), np.arange(design.n_obs), "obs"
    if unit not in known:
        raise QuestionError(
            f"the question {question!r} is unknown; "
            + nearest(str(question), ["person", "period", "obs", *known]),
            where="compare(question=...)",
            mend=f"ask for a new one of: obs, {', '.join(dict.fromkeys(['person', *known]))}; or "
            "for the next period",
        )
    codes, labels = pd.factorize(design.frame[design.roles[unit]].astype(str), sort=True)
    if len(labels) < 2:
        raise QuestionError(
            f"there is one {unit} only, nothing would be left to predict from",
            where="compare(question=...)",
        )
    if len(labels) == design.n_obs and question == "person":
        return np.arange(design.n_obs), np.arange(design.n_obs), "obs"
    return codes.astype(np.int64), labels.to_numpy(dtype=object), unit


def _split(
    design: Design,
    question: str,
    unit: str,
    units: Codes,
    folds: int | Literal["all"] | None,
    seed: int,
) -> tuple[list[Fold], str]:
    """What is left out of refits at a time, and how that is called."""
    if question == "period":
        fold, label, count = last_period(design)
        return [fold], f"of period {label}, by one fit to the {count - 1} before it"
    n = int(units.max()) + 1
    if folds == "all" or folds == n:
        return folds_of(units, n, seed), f"by {n} refits, each without one"
    assert isinstance(folds, int)
    if folds > n:
        raise QuestionError(
            f"{n} units cannot be left out in {folds} parts",
            where=f"compare(question={question!r}, folds={folds})",
            mend="say folds='all' to leave out one at a time",
        )
    return folds_of(units, folds, seed), f"by {folds}-fold cross-validation (refits)"


def _of_period(posterior: Posterior, estimate: Estimate, some: Codes) -> Estimate:
    """Of some units, with what is not known of a period that has coefficients of its own."""
    found = replace(
        estimate,
        elpd=estimate.elpd[some],
        p_loo=estimate.p_loo[some],
        pareto_k=estimate.pareto_k[some],
    )
    if not any(label.startswith("period[") for label in posterior.design.persons):
        return found
    said = (
        "Coefficients of the last period, in theories that have such, have their prior alone: no "
        "earlier period tells them."
    )
    return replace(found, cautions=(*found.cautions, said))


# ------------------------------------------------------------------------------ summary


def _summary(
    found: Mapping[str, Estimate], good_k: Mapping[str, float], sums: Sums, seed: int
) -> pd.DataFrame:
    elpd = np.stack([estimate.elpd for estimate in found.values()])
    totals = sums.weighted(elpd).sum(axis=1)
    gap = elpd - elpd[totals.argmax()]
    k = [estimate.pareto_k for estimate in found.values()]
    table = pd.DataFrame(
        {
            "theory": list(found),
            "elpd": totals,
            "se": [sums.error(of) for of in elpd],
            "elpd_diff": sums.weighted(gap).sum(axis=1),
            "diff_se": [sums.error(of) for of in gap],
            "p_loo": [float(estimate.p_loo.sum()) for estimate in found.values()],
            "weight": stacking_weights(elpd, alike(list(found.values())), sums.weights),
            "pseudo_bma": pseudo_bma_weights(sums.of_clusters(elpd), seed),
            "pareto_k_max": [float(of.max()) for of in k],
            "pareto_k_high": pd.array(
                [_n_high(of, good_k[name]) for name, of in zip(found, k, strict=True)], "Int64"
            ),
        }
    )
    return table.sort_values("elpd", ascending=False, kind="stable", ignore_index=True)


def _n_high(pareto_k: Array, good_k: float) -> int | None:
    """Units whose Pareto k is too high; ``None`` of refits, which have none."""
    return None if np.isnan(pareto_k).all() else int((pareto_k > good_k).sum())
