"""Surveys with choices simulated from a theory at a survey's own rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import xarray as xr

from bayesmig.choice.drawn import draw_choices
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError
from bayesmig.inference.stream import probability_blocks
from bayesmig.posterior import Posterior, Provenance


def refuse_weighted(design: Design) -> None:
    """Refuse a theory whose weighted likelihood is of no survey that could be simulated.

    Raises
    ------
    QuestionError
        Where it says ``weights = "pseudo"``.
    """
    if design.is_pseudo:
        raise QuestionError(
            "choices are simulated at a survey's own rows as if these were drawn at random, which "
            "a weighted likelihood does not take them for",
            where=f"theory {design.spec.name!r}, key weights",
            mend='ask the theory with weights = "estimand"',
        )


def simulated(design: Design, truth: xr.Dataset, seed: int) -> Iterator[Design]:
    """The same design, chosen anew under each of some parameters.

    Parameters
    ----------
    design
        Theory × survey. Its priors stay as they are, also those that were centred on the
        survey's own shares.
    truth
        Parameters with dims ``(chain, draw, ...)``, one chain.
    seed
        Seed of the choices.

    Yields
    ------
    Design
        One per draw, in order; each has a stream of random numbers of its own.

    Raises
    ------
    QuestionError
        As `refuse_weighted`.
    """
    refuse_weighted(design)
    for k in range(truth.sizes["draw"]):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(31, k)))
        one = as_posterior(design, truth.isel(draw=[k])).coefficients()
        choice = np.empty(design.n_obs, dtype=np.int64)
        for rows, block in probability_blocks(design.columns, one):
            choice[rows] = draw_choices(block[0], rng)
        yield replace(design, choice=choice)


def as_posterior(design: Design, draws: xr.Dataset) -> Posterior:
    """Parameters as if they were a posterior's draws, so that questions can be put to them.

    Parameters
    ----------
    design
        Theory × survey.
    draws
        Any parameters, dims ``(chain, draw, ...)``: from the prior, say. They have no
        diagnostics.
    """
    chains, per_chain = draws.sizes.get("chain", 0), draws.sizes.get("draw", 0)
    nothing = Provenance(
        seed=0,
        chains=chains,
        draws=per_chain,
        tune=None,
        target_accept=None,
        method="none",
        route="parameters that were given",
        reason="was asked for",
        precision="double",
        numbers={},
        versions={},
        survey=design.survey_fingerprint,
        design=design.fingerprint,
        spec="",
        seconds=0.0,
        created="",
        warnings=(),
    )
    return Posterior(design, xr.DataTree.from_dict({"posterior": draws}), nothing)
