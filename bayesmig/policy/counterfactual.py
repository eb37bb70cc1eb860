"""What would change under a policy, other things held as they are.

Static: the rows of the survey choose again in a changed world. Networks, earlier moves
and everything else that migration itself would change over time stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.changes import Groups
from bayesmig.choice.probabilities import beyond_logit
from bayesmig.choice.utility import Coefficients, Columns, take_draws, take_rows
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError, nearest
from bayesmig.inference.stream import average_probabilities, probability_blocks
from bayesmig.policy.diversion import diversion
from bayesmig.policy.interventions import Step, World, columns_of, intervene
from bayesmig.policy.support import warnings_of
from bayesmig.posterior import INTERVAL, Posterior, table_text
from bayesmig.predict import (
    Ask,
    Effect,
    Population,
    Prepared,
    ask_about,
    cell_table,
    finish,
    header_of,
    pairs,
    prepare,
    summaries,
)
from bayesmig.spec.library import load_scenario
from bayesmig.spec.scenario import Scenario

Array = NDArray[np.float64]
Gaps = Literal["reference", "sequential", "pairwise"]
QUANTITIES = ("baseline", "scenario", "difference")
_NUMBERS = ["estimate", "sd", "lower", "upper"]
_MOST_GAPS = 5_000
#: Probabilities that differ by less are the same.
_SAME = 1e-12


@dataclass(frozen=True)
class Counterfactual(Effect):
    """An `Effect` of a scenario: shares without it, with it, and their difference.

    Attributes
    ----------
    question, header
        As for `Effect`.
    summary
        One row per cell of ``by``, ``quantity`` (``baseline``, ``scenario``,
        ``difference``) and ``alternative``: ``estimate``, ``sd``, ``lower``,
        ``upper``, ``rows``.
    draws
        Dims ``(chain, draw, cell)``, in the order of the summary.
    scenario
        The policy.
    totals
        As the summary, in numbers of choices; the header says of whom.
    gaps
        Differences of every quantity between cells of ``by`` (``cell`` minus
        ``against``), paired draw by draw; empty where there is one cell.
    diversion
        Where those go who leave an alternative; see
        `bayesmig.policy.diversion.diversion`.
    steps
        One row per intervention: ``intervention``, ``matched`` and ``changed`` rows,
        and ``share`` changed (weighted where averages are).
    warnings
        What to know before believing it, in words with numbers.
    """

    scenario: Scenario = field(repr=False)
    totals: pd.DataFrame = field(repr=False)
    gaps: pd.DataFrame = field(repr=False)
    diversion: pd.DataFrame = field(repr=False)
    steps: pd.DataFrame = field(repr=False)
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [super().__str__(), *(f"warning: {w}" for w in self.warnings)]
        if len(self.diversion):
            parts += ["Diversion", table_text(self.diversion)]
        return "\n".join(parts)


def counterfactual(
    posterior: Posterior,
    scenario: Scenario | str | Path,
    *,
    by: str | Sequence[str] | None = None,
    newdata: pd.DataFrame | None = None,
    wts: bool | str = True,
    population: Population | None = None,
    groups: Groups = "observed",
    gaps: Gaps = "reference",
    prob: float = INTERVAL,
    seed: int = 0,
    allow_unconverged: bool = False,
) -> Counterfactual:
    """Average choice probabilities with and without a policy.

    Nothing is fitted again. Both arms use the same draws of coefficients and group
    effects, new groups included, and are contrasted within each draw.

    Parameters
    ----------
    posterior
        Draws of a theory.
    scenario
        A scenario, the name of a packaged one, or the path of a scenario file. Its
        interventions are applied in order, each to the result of the one before; its
        filters look at the rows as they are without the scenario.
    by, newdata, wts, population, groups, prob, seed, allow_unconverged
        As for `bayesmig.predict.predictions`. Cells of ``by`` are those without the
        scenario.
    gaps
        Which cells of ``by`` are compared: each with the first (``reference``), with
        the one before (``sequential``), or all (``pairwise``).

    Returns
    -------
    Counterfactual
        Probabilities, totals, gaps, diversion ratios and warnings.

    Raises
    ------
    SpecError
        Where there is no such scenario, or its file says something it may not say.
    QuestionError
        Where the scenario would change nothing or does not fit the theory; as for
        `bayesmig.predict.predictions`.
    ConvergenceError, DesignError
        As for `bayesmig.predict.predictions`; also where an intervention leaves
        somebody without an alternative, or an attribute of one that opens is missing.
    """
    scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    kinds = ("reference", "sequential", "pairwise")
    if gaps not in kinds:
        raise QuestionError(f"gaps={gaps!r} is unknown; {nearest(gaps, kinds)}", where="gaps")
    ask = ask_about(posterior, newdata, by, wts, groups, prob, seed, allow_unconverged, population)
    world, steps = intervene(posterior.design, ask.frame, scenario, groups)
    without = prepare(posterior, ask.frame, groups, seed)
    within = _prepared(ask, world, scenario)
    plain = ask.averages_of(without), ask.averages_of(within)
    baseline, changed = ask.sharpened(plain, without, within)
    arms = np.stack([baseline, changed, changed - baseline], axis=2)
    effect = finish(
        f"Scenario {scenario.title or scenario.name!r}",
        _header(ask, scenario),
        _table(ask),
        arms.reshape(len(arms), -1),
        ask,
    )
    mass = ask.mass
    return Counterfactual(
        question=effect.question,
        header={**effect.header, "totals": ask.people_note},
        summary=effect.summary,
        draws=effect.draws,
        scenario=scenario,
        totals=_totals(effect.summary, mass),
        gaps=_gaps(ask, arms, gaps),
        diversion=diversion(
            _overall(ask, without, baseline),
            _overall(ask, within, changed),
            _reached(ask, without, within),
            posterior.design.alternatives,
            prob,
        ),
        steps=_steps(steps, ask.weights),
        warnings=warnings_of(
            scenario,
            World(posterior.design, ask.frame),
            world,
            steps,
            ask.weights,
            posterior.coefficients(),
        ),
    )


def validate_scenario(scenario: Scenario, design: Design, frame: pd.DataFrame) -> None:
    """Find out before any sampling whether a scenario can be put on rows.

    Parameters
    ----------
    scenario
        The policy.
    design
        Of the theory.
    frame
        The rows of the survey.

    Raises
    ------
    QuestionError, DesignError
        As for `counterfactual`.
    """
    world, _ = intervene(design, frame.reset_index(drop=True), scenario)
    world.design.apply(world.frame, where=f"scenario {scenario.name!r}")


def _prepared(ask: Ask, world: World, scenario: Scenario) -> Prepared:
    """Columns and draws in the changed world."""
    posterior = replace(ask.posterior, design=world.design)
    columns, coefficients = prepare(
        posterior, world.frame, ask.groups, ask.seed, where=f"scenario {scenario.name!r}"
    )
    return columns, world.moved(coefficients)


def _reached(ask: Ask, without: Prepared, within: Prepared) -> Array:
    """Baseline averages of those whose probabilities the scenario changes.

    ``(draw, alternative)``. Whom it leaves as they are has no part in who substitutes
    what. One draw shows who that is.
    """
    one = [_row_probabilities(columns, take_draws(c, slice(1))) for columns, c in (without, within)]
    rows = np.flatnonzero((np.abs(one[1] - one[0]) > _SAME).any(axis=1))
    rows = rows if len(rows) else np.arange(len(ask.frame))
    columns, coefficients = without
    if ask.redrawing is None:
        weights = None if ask.weights is None else ask.weights[rows]
        return average_probabilities(take_rows(columns, rows), coefficients, weights=weights)[:, 0]
    # All rows are kept: what is known of the population is known of all of them.
    is_reached = np.zeros(len(ask.frame), dtype=np.int64)
    is_reached[rows] = 1
    cells = is_reached if len(rows) < len(is_reached) else np.zeros_like(is_reached)
    return replace(ask, cells=cells).averages_of(without)[:, -1]


def _row_probabilities(columns: Columns, coefficients: Coefficients) -> Array:
    blocks = [block[0] for _, block in probability_blocks(columns, coefficients)]
    return np.concatenate(blocks)


# ---------------------------------------------------------------------------- tables


def _header(ask: Ask, scenario: Scenario) -> dict[str, str]:
    changed = columns_of(scenario, ask.posterior.design)
    return header_of(ask, "average probability", changed) | {
        "scenario": scenario.title or scenario.name,
        "interventions": "; ".join(map(str, scenario.interventions)),
        "baseline": "the same rows without the scenario, draw by draw",
        "kind": "static: networks and prior moves do not respond",
        "diversion": "share of those who leave the source that goes to the target; its IIA value "
        "is the target's baseline share among all but the source, over the rows whose "
        f"probabilities the scenario changes. {_substitution(ask)}",
    }


def _substitution(ask: Ask) -> str:
    """What a difference from the IIA value can come from."""
    sources = "who leaves, and from what the scenario does to the target itself"
    if parts := beyond_logit(ask.posterior.design.columns):
        return (
            f"Differences come from the substitution of each person ({', '.join(parts)}), from "
            + sources
        )
    return f"Each person of a logit substitutes proportionally: differences come from {sources}"


def _table(ask: Ask) -> pd.DataFrame:
    """Cells × quantities × alternatives, alternatives fastest."""
    width, n_cells = len(ask.posterior.design.alternatives), len(ask.labels)
    cells = cell_table(ask)
    order = np.arange(len(cells)).reshape(n_cells, 1, width).repeat(3, axis=1).ravel()
    table = cells.iloc[order].reset_index(drop=True)
    quantity = np.tile(np.repeat(QUANTITIES, width), n_cells)
    table.insert(len(ask.by), "quantity", quantity.astype(object))
    return table


def _totals(summary: pd.DataFrame, mass: Array) -> pd.DataFrame:
    """Averages times the sum of weights of their cell: intervals scale with it."""
    scale = mass.repeat(len(summary) // len(mass))
    return summary.assign(**{name: summary[name] * scale for name in _NUMBERS})


def _overall(ask: Ask, arm: Prepared, averages: Array) -> Array:
    """Averages over all cells, ``(draw, alternative)``: from those of each, where they suffice."""
    if ask.redrawing is not None and averages.shape[1] > 1:
        # Each draw's sample has its own people in every cell.
        return replace(ask, cells=np.zeros(len(ask.frame), dtype=np.int64)).averages_of(arm)[:, 0]
    mass = ask.mass
    present = mass > 0
    return np.asarray(
        np.einsum("sca,c->sa", averages[:, present], mass[present] / mass[present].sum())
    )


def _gaps(ask: Ask, arms: Array, kind: Gaps) -> pd.DataFrame:
    """Contrasts between cells of every quantity and alternative, draw by draw."""
    names = [" ".join(map(str, row)) for row in ask.labels.itertuples(index=False)]
    wanted = pairs(range(len(names)), kind) if len(names) > 1 else []
    if len(wanted) > _MOST_GAPS:
        raise QuestionError(
            f"there are {len(wanted):,} pairs of cells",
            where="gaps",
            mend='compare each with one other (gaps="reference"), or group into fewer cells',
        )
    counts = np.bincount(ask.cells, minlength=len(names))
    alternatives = ask.posterior.design.alternatives
    tables = [
        pd.DataFrame(
            {
                "cell": names[b],
                "against": names[a],
                "quantity": np.repeat(QUANTITIES, len(alternatives)).astype(object),
                "alternative": list(alternatives) * len(QUANTITIES),
                **summaries((arms[:, b] - arms[:, a]).reshape(len(arms), -1), ask.prob),
                "rows": counts[a] + counts[b],
            }
        )
        for a, b in wanted
    ]
    columns = ["cell", "against", "quantity", "alternative", *_NUMBERS, "rows"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _steps(steps: tuple[Step, ...], weights: Array | None) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "intervention": step.text,
                "matched": int(step.matched.sum()),
                "changed": int(step.changed.sum()),
                "share": float(np.average(step.changed, weights=weights)),
            }
            for step in steps
        ]
    )
