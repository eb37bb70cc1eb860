"""Which hypotheses a survey can decide at all: simulate at its own rows, fit, and see.

Truths are drawn from the prior of the theory and split by whether a hypothesis holds in
them, so that nobody has to type in an effect. Choices of the survey's own people are
simulated under each, the theory is fitted to them, and the posterior probability of every
hypothesis is set beside the truth. It says what a survey of this size, with these columns,
would find out; nothing about what it found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.choice.probabilities import beyond_logit
from bayesmig.choice.utility import Columns
from bayesmig.design.design import Design, build_design
from bayesmig.errors import QuestionError, nearest
from bayesmig.explanation.words import listed
from bayesmig.hypotheses import CONTRADICTED, SUPPORTED, in_draws, validate_hypotheses
from bayesmig.inference.prior import prior_draws
from bayesmig.inference.routes import fit_design
from bayesmig.inference.simulated import as_posterior, refuse_weighted, simulated
from bayesmig.posterior import table_text
from bayesmig.progress import Progress, bars
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey

Array = NDArray[np.float64]
Method = Literal["preview", "auto"]
#: Truths that are drawn at a time, and at most, until each hypothesis has enough of both kinds.
_BATCH, _MOST_TRUTHS = 400, 4000
#: A survey decides what it decides rightly so often, where it decides wrongly no more than that.
DECIDES, WRONGLY = 0.8, 0.1
#: Rows of tables that are remembered, some hundred MB.
_MOST_REMEMBERED = 2_000_000
#: Worlds without which a rate is not said.
_LEAST_WORLDS = 10
_NORMAL_95 = 1.959964
HOLDS, FAILS = "holds", "does not hold"


@dataclass(frozen=True)
class Rehearsal:
    """What a survey could find out about the hypotheses of a theory.

    Attributes
    ----------
    summary
        One row per hypothesis and truth (``holds``, ``does not hold``): ``worlds``;
        ``probability``, the mean of Pr(H), and ``probability_error``; ``supported``,
        ``undecided`` and ``contradicted``, shares of worlds by the verdict; ``rightly``, the
        share of ``supported`` where it holds, else of ``contradicted``, and ``wrongly``, the
        other way round, each with ``_lower`` and ``_upper``, its 95 % interval of so many
        worlds (Wilson's). The error is a Monte-Carlo standard error.
    verdicts
        One row per hypothesis: ``can`` (``yes``, ``if true``, ``if not``, ``no`` or
        ``not known``) and ``sentence``.
    draws
        Dims ``(world, hypothesis)``: ``holds`` (the truth), ``probability`` (what the
        fit said), of every world that was fitted, and ``counted``: whether the world is
        among the first of its kind for the hypothesis. Later ones were kept because another
        hypothesis lacked worlds: they are no draws from the prior given that kind, and
        neither summary nor `worlds` has them.
    text
        The finding in words.
    header
        What was done: theory, truths, worlds, fits.
    """

    summary: pd.DataFrame = field(repr=False)
    verdicts: pd.DataFrame = field(repr=False)
    draws: xr.Dataset = field(repr=False)
    text: str
    header: Mapping[str, str] = field(repr=False)

    def worlds(self) -> pd.DataFrame:
        """``hypothesis``, ``holds``, ``probability``: one row per hypothesis and world counted."""
        table = self.draws.to_dataframe().reset_index()
        return table[table["counted"]].drop(columns=["world", "counted"]).reset_index(drop=True)

    def __str__(self) -> str:
        lines = [self.text, *(f"  {k}: {v}" for k, v in self.header.items())]
        return "\n".join([*lines, table_text(self.summary)])


def rehearse(
    theory: ModelSpec,
    survey: Survey,
    *,
    seed: int,
    worlds: int = 50,
    effects: Mapping[str, float] | None = None,
    draws: int = 1000,
    method: Method | None = None,
    progress: bool | Progress = True,
) -> Rehearsal:
    """Simulate, fit, and say which hypotheses a survey can decide.

    Parameters
    ----------
    theory
        The theory, with hypotheses and proper priors.
    survey
        The survey, whose rows stay as they are; of its choices nothing is used but the
        shares on which the default prior of constants is centred.
    seed
        Seed of truths, choices and fits.
    worlds
        Simulated surveys in which each hypothesis holds, and as many in which it does not.
        A hypothesis that the prior hardly ever lets hold has fewer.
    effects
        Parameter -> value, by the names of a fit's summary (``beta[female, internal]``):
        half of the truths have these values, the other half zero in their place, and all
        else is drawn from the prior.
    draws
        Posterior draws per fit.
    method
        How worlds are fitted: ``preview`` (an approximation within a second) or ``auto``.
        Left out: a preview where the theory allows one.
    progress
        Whether to show progress bars, or what to tell instead.

    Returns
    -------
    Rehearsal
        Verdicts of single worlds are by the posterior probability alone (supported from
        0.95 on, contradicted up to 0.05); a real test also asks what it owes to the prior.

    Raises
    ------
    QuestionError
        Where the theory states no hypothesis, a number is out of range or no parameter has
        the name of an effect.
    InferenceError
        Where a prior is flat.
    """
    _check(seed, worlds, draws, method)
    design = build_design(theory, survey)
    validate_rehearsal(design, effects or {}, method)
    if survey.codebook.population_shares:
        raise QuestionError(
            "choices are simulated as the sample has them, and its constants would be corrected",
            where="codebook, key population_shares",
            mend="leave population_shares out of the codebook for the rehearsal",
        )
    design = _remembering(design)
    method = method or ("auto" if beyond_logit(design.columns) else "preview")
    truths, holds = _truths(design, worlds, dict(effects or {}), seed)
    found = np.empty((len(holds), holds.shape[1]))
    names = list(theory.hypotheses)

    def everything(tell: Progress) -> None:
        for k, world in enumerate(simulated(design, truths, seed)):
            tell(f"rehearsal of {theory.name}", k, len(holds))
            posterior = fit_design(
                world, None, seed=seed + k, method=method, chains=2, draws=max(draws // 2, 10)
            )
            found[k] = [of.mean() for of in in_draws(posterior).values()]
        tell(f"rehearsal of {theory.name}", len(holds), len(holds))

    if callable(progress):
        everything(progress)
    else:
        with bars(progress) as tell:
            everything(tell)
    return _result(design, names, holds, found, worlds, method, dict(effects or {}))


def validate_rehearsal(
    design: Design, effects: Mapping[str, float], method: Method | None = None
) -> None:
    """Find out before any fit whether a theory can be rehearsed.

    Raises
    ------
    QuestionError
        Where it states no hypothesis that can be tested, no coefficient has the name of
        an effect, or a preview is asked for of a theory that has none.
    InferenceError
        Where a prior is flat.
    """
    refuse_weighted(design)
    if method == "preview" and (parts := beyond_logit(design.columns)):
        raise QuestionError(
            f"there is no preview of a theory with {', '.join(parts)}",
            where="rehearse(method='preview')",
            mend="leave it out: every world is fitted in full then",
        )
    if not design.spec.hypotheses:
        raise QuestionError(
            f"the theory {design.spec.name!r} states no hypotheses: there is nothing to decide",
            mend="add [hypotheses.NAME] with claim and statement to the model file",
        )
    validate_hypotheses(design)
    places = _places(prior_draws(design, seed=0, draws=1))
    for label, value in effects.items():
        if not np.isfinite(value):
            raise QuestionError(f"the effect of {label!r} is {value}", where="key effects")
        if label not in places:
            raise QuestionError(
                f"the theory has no parameter {label!r}; {nearest(label, list(places))}",
                where="key effects",
                mend="name parameters as the summary of a fit does",
            )
        if not label.startswith(("beta", "gamma")):
            raise QuestionError(
                f"{label!r} is no coefficient: a world without it has no zero in its place",
                where="key effects",
                mend="state coefficients, whose names begin with beta or gamma",
            )


@dataclass(frozen=True)
class _Remembering(Design):
    """A design that remembers tables: hypotheses ask about the same ones in every world."""

    applied: dict[Any, Columns] = field(default_factory=dict, repr=False)

    def apply(
        self, frame: pd.DataFrame, *, unseen: str = "refuse", where: str = "new data"
    ) -> Columns:
        """As of `Design`."""
        rows = pd.util.hash_pandas_object(frame, index=False).to_numpy()
        kinds = "\0".join(f"{name} {kind}" for name, kind in frame.dtypes.items())
        # What was learnt on the survey may have been replaced since.
        learnt = tuple(map(id, (self.spec, self.attributes, self.encoders, self.layouts)))
        key = (unseen, learnt, sha256(kinds.encode() + rows.tobytes()).digest())
        if key in self.applied:
            return self.applied[key]
        columns = super().apply(frame, unseen=unseen, where=where)
        if len(frame) * len(self.applied) < _MOST_REMEMBERED:
            self.applied[key] = columns
        return columns


def _remembering(design: Design) -> Design:
    return _Remembering(**{of.name: getattr(design, of.name) for of in fields(design)})


def _check(seed: int, worlds: int, draws: int, method: str | None) -> None:
    for name, value, least in (("seed", seed, 0), ("worlds", worlds, 1), ("draws", draws, 100)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise QuestionError(
                f"{name} must be a whole number of at least {least}, got {value!r}",
                where=f"rehearse({name}=...)",
            )
    if method not in (None, "preview", "auto"):
        raise QuestionError(
            f"method must be preview or auto, got {method!r}", where="rehearse(method=...)"
        )


# -------------------------------------------------------------------------------- truths


def _truths(
    design: Design, worlds: int, effects: dict[str, float], seed: int
) -> tuple[xr.Dataset, NDArray[np.bool_]]:
    """Parameters of the worlds to fit, and what holds in each, ``(world, hypothesis)``.

    Truths are taken in the order in which they are drawn while any hypothesis still lacks
    worlds of their kind: the first ``worlds`` of a kind are then draws from the prior given
    that a hypothesis holds, or does not, whatever the others do.
    """
    kept: list[xr.Dataset] = []
    flags: list[NDArray[np.bool_]] = []
    counts: Any = 0
    for batch in range(_MOST_TRUTHS // _BATCH):
        drawn = _drawn(design, effects, seed, batch)
        holds = np.stack(list(in_draws(as_posterior(design, drawn)).values()), axis=1)
        for k, row in enumerate(holds):
            both = np.stack([row, ~row])
            if ((counts < worlds) & both).any():
                kept.append(drawn.isel(draw=[k]))
                flags.append(row)
                counts = counts + both
        if np.all(counts >= worlds):
            break
    return xr.concat(kept, "draw"), np.array(flags)


def _drawn(design: Design, effects: dict[str, float], seed: int, batch: int) -> xr.Dataset:
    """Truths of one batch; every second one without the effects that were stated."""
    drawn = prior_draws(design, seed=seed + 7919 * batch, draws=_BATCH)
    if not effects:
        return drawn
    places = _places(drawn)
    values = {name: drawn[name].to_numpy().copy() for name in drawn.data_vars}
    for label, value in effects.items():
        name, at = places[label]
        # Views, into which is written.
        of_one = values[name].reshape(*values[name].shape[:2], -1)
        place = int(np.ravel_multi_index(at, values[name].shape[2:]))
        of_one[0, 0::2, place], of_one[0, 1::2, place] = value, 0.0
    return drawn.assign({n: (drawn[n].dims, v) for n, v in values.items()})


def _places(drawn: xr.Dataset) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name of every parameter, as summaries have it -> its variable and its place there."""
    found = {}
    for name, variable in drawn.data_vars.items():
        dims = variable.dims[2:]
        labels = product(*(map(str, variable[d].to_numpy()) for d in dims))
        for at, label in zip(np.ndindex(*variable.shape[2:]), labels, strict=True):
            found[f"{name}[{', '.join(label)}]" if dims else str(name)] = (str(name), at)
    return found


# ------------------------------------------------------------------------------- results


def _result(
    design: Design,
    names: Sequence[str],
    holds: NDArray[np.bool_],
    found: Array,
    worlds: int,
    method: str,
    effects: dict[str, float],
) -> Rehearsal:
    counted = _counted(holds, worlds)
    rows = [
        _row(name, true, found[counted[:, h] & (holds[:, h] == true), h])
        for h, name in enumerate(names)
        for true in (True, False)
    ]
    summary = pd.DataFrame(rows)
    verdicts = pd.DataFrame([_verdict(name, summary, design) for name in names])
    truths = (
        "coefficients as stated (" + ", ".join(f"{k} = {v:g}" for k, v in effects.items()) + "), "
        "or zero; all else drawn from the prior"
        if effects
        else "drawn from the prior, and split by whether the hypothesis holds in them"
    )
    header = {
        "theory": design.spec.name,
        "truths": truths,
        "worlds": f"{len(holds):,} simulated surveys of {design.n_obs:,} rows, the survey's own; "
        f"of each hypothesis count the first {worlds:,} in which it holds, and the first "
        f"{worlds:,} in which it does not: later ones were drawn for other hypotheses",
        "fits": "previews (integrated Laplace, an approximation)"
        if method == "preview"
        else "as by bayesmig fit",
        "weights": design.weights_note,
        "verdict": f"supported from a probability of {SUPPORTED:g} on, contradicted up to "
        f"{CONTRADICTED:g}, by the probability alone",
    }
    draws = xr.Dataset(
        {
            "holds": (("world", "hypothesis"), holds),
            "probability": (("world", "hypothesis"), found),
            "counted": (("world", "hypothesis"), counted),
        },
        {"hypothesis": list(names)},
    )
    said = (_text(verdicts, design), _how_far(worlds, effects, method), _independent(design))
    return Rehearsal(summary, verdicts, draws, "".join(said), header)


def _how_far(worlds: int, effects: Mapping[str, float], method: str) -> str:
    """What verdicts of so few surveys rest on."""
    low, high = share_interval(DECIDES, worlds)
    text = (
        f" (To tell: rightly in {100 * DECIDES:.0f} % or more of simulated surveys, wrongly in "
        f"{100 * WRONGLY:.0f} % or fewer. Of {worlds:,} surveys of each kind, which is what was "
        f"simulated, {100 * DECIDES:.0f} % may be {100 * low:.0f} to {100 * high:.0f} %"
    )
    if not effects:
        text += (
            "; their truths were drawn from the prior, in which effects may be larger than any "
            "that were published"
        )
    return f"{text}{'; fits are previews' if method == 'preview' else ''}.)"


def _independent(design: Design) -> str:
    """That rows are taken as drawn independently, where the survey says how they were drawn."""
    if "psu" not in design.roles:
        return ""
    return (
        " Rows are taken as drawn independently, though the survey declares a psu: what people of "
        "one share beyond the theory makes hypotheses harder to decide."
    )


def _counted(holds: NDArray[np.bool_], worlds: int) -> NDArray[np.bool_]:
    """Whether a world is among the first of its kind, ``(world, hypothesis)``."""
    nth = np.where(holds, np.cumsum(holds, axis=0), np.cumsum(~holds, axis=0))
    return nth <= worlds


def _row(name: str, true: bool, probability: Array) -> dict[str, Any]:
    n = len(probability)
    supported, contradicted = probability >= SUPPORTED, probability <= CONTRADICTED
    rightly, wrongly = (supported, contradicted) if true else (contradicted, supported)

    def mean(values: NDArray[Any]) -> float:
        return float(values.mean()) if n else float("nan")

    ends = {
        "rightly": share_interval(mean(rightly), n),
        "wrongly": share_interval(mean(wrongly), n),
    }
    return {
        "hypothesis": name,
        "truth": HOLDS if true else FAILS,
        "worlds": n,
        "probability": mean(probability),
        "probability_error": float(probability.std(ddof=1) / n**0.5) if n > 1 else float("nan"),
        "supported": mean(supported),
        "undecided": mean(~supported & ~contradicted),
        "contradicted": mean(contradicted),
        "rightly": mean(rightly),
        "wrongly": mean(wrongly),
        **{f"{of}_{end}": ends[of][i] for of in ends for i, end in enumerate(("lower", "upper"))},
    }


def share_interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of ``n`` worlds; one of 0 or 1 is not known exactly either.

    Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953: the shares from which the
    one found is 1.96 of their own standard errors away.
    """
    if not n:
        return float("nan"), float("nan")
    squared = _NORMAL_95**2
    middle = (share + squared / (2 * n)) / (1 + squared / n)
    half = _NORMAL_95 * (share * (1 - share) / n + squared / (4 * n**2)) ** 0.5 / (1 + squared / n)
    # Rounding must not put an end on the wrong side of a share of 0 or 1.
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)


def _verdict(name: str, summary: pd.DataFrame, design: Design) -> dict[str, str]:
    of = summary["hypothesis"] == name
    true, false = (summary[of & (summary["truth"] == t)].iloc[0] for t in (HOLDS, FAILS))
    sentence = _sentence(_quoted(design, name), true, false)
    return {"hypothesis": name, "can": _can(true, false), "sentence": sentence}


def _quoted(design: Design, name: str) -> str:
    return f"“{design.spec.hypotheses[name].claim.strip().rstrip('.')}”"


def _can(true: pd.Series, false: pd.Series) -> str:
    if min(true["worlds"], false["worlds"]) < _LEAST_WORLDS:
        return "not known"
    sound = max(true["wrongly"], false["wrongly"]) <= WRONGLY
    can = [sound and of["rightly"] >= DECIDES for of in (true, false)]
    return {(True, True): "yes", (True, False): "if true", (False, True): "if not"}.get(
        (bool(can[0]), bool(can[1])), "no"
    )


def _sentence(claim: str, true: pd.Series, false: pd.Series) -> str:
    few = [of["worlds"] for of in (true, false) if of["worlds"] < _LEAST_WORLDS]
    if few:
        return (
            f"{claim}: whether this survey can tell is not known; it holds in {true['worlds']:,} "
            f"and does not in {false['worlds']:,} truths that could be drawn."
        )
    decides = {
        "yes": "this survey can tell",
        "if true": "this survey would find it out if it is true, not if it is not",
        "if not": "this survey would find it out if it is not true, not if it is",
        "no": "this survey can hardly tell",
    }[_can(true, false)]
    return (
        f"{claim}: {decides}. Where it holds, it is supported in {_share(true, 'rightly')} of "
        f"simulated surveys and contradicted in {_share(true, 'wrongly')} (Pr(H) {_mean(true)}); "
        f"where it does not, it is contradicted in {_share(false, 'rightly')} and supported in "
        f"{_share(false, 'wrongly')} (Pr(H) {_mean(false)})."
    )


def _share(of: pd.Series, what: str) -> str:
    share, low, high = (100 * of[c] for c in (what, f"{what}_lower", f"{what}_upper"))
    return f"{share:.0f} % [{low:.0f}, {high:.0f}]"


def _mean(of: pd.Series) -> str:
    return f"{of['probability']:.2f} ± {of['probability_error']:.2f} on average"


def _text(verdicts: pd.DataFrame, design: Design) -> str:
    says = {
        "yes": "it can tell of {}",
        "if true": "it would find out if it is true, but not if it is not, of {}",
        "if not": "it would find out if it is not true, but not if it is, of {}",
        "no": "it can hardly tell of {}",
        "not known": f"it is not known, for want of {_LEAST_WORLDS} truths of each kind, of {{}}",
    }
    parts = [
        text.format(listed([_quoted(design, name) for name in names]))
        for can, text in says.items()
        if len(names := verdicts.loc[verdicts["can"] == can, "hypothesis"])
    ]
    return f"What this survey could decide, by rehearsal: {'; '.join(parts)}."
