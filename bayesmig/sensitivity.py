"""What draws owe to the prior, and what to the data.

Two looks at the same question. The overlap of a quantity's distributions before and after
the data is near one where the data added little. Power-scaling raises the prior, or the
likelihood, to a power near one and asks how far the posterior moves (Kallioinen, Paananen,
Bürkner and Vehtari 2024, doi 10.1007/s11222-023-10366-5; the numbers are ArviZ's).

Of the prior, only what stands at the top is scaled: coefficients, standard deviations and
correlations of groups, parameters of nests, curves and consideration. The distribution of
group effects given their scales is not, as that paper recommends: it would say how much
groups are drawn together, which the data decide, not what was believed before them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.choice.response import SHAPES
from bayesmig.design.curves import piled_up
from bayesmig.inference.prior import log_prior
from bayesmig.inference.stream import log_likelihood_sums
from bayesmig.posterior import Posterior, labelled_draws
from bayesmig.predict import Ask, before_the_data

Array = NDArray[np.float64]
#: From this overlap on, the data added little: of two normal distributions with one centre,
#: the standard deviation after the data is then more than half of that before.
OVERLAP = 0.7
#: Below this, the distributions before and after the data share less than half their mass: the
#: data moved it, also where noise hides how far the likelihood does.
APART = 0.5
#: Power-scaling sensitivity that matters: doubling the power then moves a normal distribution
#: by about 0.3 of its standard deviations.
SENSITIVE = 0.05
WEAK = "weak likelihood: the prior says it"
LEANS = "the prior has a say"
UNKNOWN = "not known"
RULE = (
    f"overlap with the distribution before the data, from {OVERLAP:g} on the data added little; "
    f"power-scaling sensitivity to prior and likelihood, from {SENSITIVE:g} on it matters: where "
    "that to the prior does, data are few or at odds with it, and where that to the likelihood "
    "does not, the prior alone says it; of groups, the priors of their scales and correlations "
    "are scaled; that to the likelihood is missing where it would be lost in noise: effects of "
    "many groups make the log-likelihood vary by itself"
)
#: That a quantity is zero in every draw, since nothing in the theory makes it anything else.
NOTHING = "nothing in the theory makes a difference"
#: The same, from nothing amiss to the worst.
ORDER = ("", UNKNOWN, LEANS, WEAK)
#: How names of parameters begin by which a theory is more than a logit of its columns.
_BEYOND = ("lambda_nest", "feasibility", "sigma_taste_", *{n for of in SHAPES.values() for n in of})
#: An answer rests on such parameters where they account for this share of the variance of its
#: ranks, or more.
RESTS_ON = 0.25
#: Bins that both distributions together fill evenly, and draws of each per bin, at least.
_BINS, _PER_BIN = 20, 20
#: Noise of sensitivity from which it is not known below twice that: where effects of many groups
#: enter the log-likelihood, its own spread moves whatever is looked at.
_NOISY, _LOOKS = SENSITIVE / 2, 10


def identification(posterior: Posterior, values: Array, before: Array | None) -> pd.DataFrame:
    """How much of some quantities the prior says, and how much the data.

    Parameters
    ----------
    posterior
        The draws.
    values
        Quantities at the draws, ``(draw, quantity)``, chains stacked; NaN where one has
        no value.
    before
        The same at draws from the prior; ``None`` where nothing can be drawn from it.

    Returns
    -------
    DataFrame
        One row per quantity: ``overlap`` with the distribution before the data, in
        [0, 1]; ``prior_sensitivity`` and ``likelihood_sensitivity``; ``identification``,
        in words, empty where nothing is amiss. NaN where a number cannot be computed.
    """
    overlaps = [
        np.nan if before is None else overlap(values[:, k], before[:, k])
        for k in range(values.shape[1])
    ]
    prior, likelihood = power_scaling(posterior, values)
    table = pd.DataFrame(
        {
            "overlap": np.array(overlaps, dtype=float),
            "prior_sensitivity": prior,
            "likelihood_sensitivity": likelihood,
        }
    )
    words = [_words(*row) for row in table.itertuples(index=False)]
    return table.assign(identification=np.array(words, dtype=object))


def identified(ask: Ask, draws: Array, answer: Callable[[Ask], Array]) -> pd.DataFrame:
    """What prior and data say of an answer, as `of_answers` has it.

    Parameters
    ----------
    ask
        The question.
    draws
        Its answer, ``(draw, quantity)``.
    answer
        Makes the same of the same question to draws from the prior; not called where
        nothing can be drawn from it.
    """
    prior = before_the_data(ask)
    if prior is None:
        return of_answers(ask.posterior, draws, None, None)
    return of_answers(ask.posterior, draws, answer(prior), prior.posterior.draws)


def of_answers(
    posterior: Posterior, values: Array, before: Array | None, prior: xr.Dataset | None
) -> pd.DataFrame:
    """As `identification`, for answers that may rest on parameters beyond a logit.

    Power-scaling does not touch a prior that is flat, as that of lambda is: what such a
    prior says would look like what the data say. An answer is therefore no better
    identified than the parameters of nests, curves, feasibility and tastes that account
    for a quarter or more of the variance of its ranks over the draws. A half-saturation that
    piles up at a bound of its prior counts as one of which the prior says it.

    Parameters
    ----------
    posterior, values, before
        As for `identification`.
    prior
        Draws from the prior; ``None`` where nothing can be drawn from it.

    Returns
    -------
    DataFrame
        With a column more, ``rests_on``: the parameters whose ``identification`` an
        answer has taken over; else empty.
    """
    names, beyond = _parameters_beyond(posterior.draws)
    if not names:
        return identification(posterior, values, before).assign(rests_on="")
    earlier = None if prior is None else _parameters_beyond(prior)[1]
    if before is not None and earlier is not None:
        n = min(len(before), len(earlier))
        earlier = np.hstack([before[:n], earlier[:n]])
    table = identification(posterior, np.hstack([values, beyond]), earlier)
    amiss = np.array([ORDER.index(word) for word in table["identification"]])
    at_bounds = piled_up(posterior.design.responses, posterior.draws)
    piled = [name in {f"half_saturation[{label}]" for label in at_bounds} for name in names]
    amiss[values.shape[1] :][piled] = ORDER.index(WEAK)
    mine, theirs = amiss[: values.shape[1]], amiss[values.shape[1] :]
    table = table.iloc[: values.shape[1]].assign(rests_on="")
    for word in (ORDER.index(WEAK), ORDER.index(LEANS)):
        found = np.flatnonzero(theirs >= word)
        for k in np.flatnonzero(mine < word):
            if _accounted_for(values[:, k], beyond[:, found]) >= RESTS_ON:
                mine[k] = word
                table.loc[k, ["identification", "rests_on"]] = [
                    ORDER[word],
                    ", ".join(names[i] for i in found),
                ]
    return table


def _parameters_beyond(draws: xr.Dataset) -> tuple[list[str], Array]:
    """Labels and draws ``(draw, parameter)`` of parameters beyond a logit."""
    mine = draws[[name for name in map(str, draws.data_vars) if name.startswith(_BEYOND)]]
    found = [(label, of.ravel()) for label, of in labelled_draws(mine)]
    return [label for label, _ in found], np.array([of for _, of in found]).T


def _accounted_for(answer: Array, parameters: Array) -> float:
    """Share of the variance of an answer's ranks that those of parameters account for."""
    from scipy.stats import rankdata

    if not parameters.size or np.isnan(answer).any() or not np.ptp(answer) > 0:
        return 0.0
    y, x = (rankdata(of, axis=0) for of in (answer, parameters))
    y, x = y - y.mean(), x - x.mean(axis=0)
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - float(rest @ rest / (y @ y))


def _words(overlap: float, prior: float, likelihood: float) -> str:
    if overlap >= OVERLAP:
        return WEAK
    if np.isnan(prior):
        return UNKNOWN
    if prior < SENSITIVE:
        return ""
    hidden = np.isnan(likelihood) and not overlap < APART
    return WEAK if likelihood < SENSITIVE or hidden else LEANS


def scaled_words(prior: float, likelihood: float) -> str:
    """Power-scaling sensitivities in words, and why one is missing."""
    if np.isnan(prior):
        return (
            "power-scaling sensitivity not known: it does not vary, a draw has no value, or draws "
            "were corrected for how the survey was drawn"
        )
    to_likelihood = (
        "that to the likelihood lost in the noise of many groups' effects"
        if np.isnan(likelihood)
        else f"{_beside(likelihood, SENSITIVE)} to the likelihood"
    )
    return f"power-scaling sensitivity {_beside(prior, SENSITIVE)} to the prior, {to_likelihood}"


def overlap_words(shared: float) -> str:
    """An overlap as a number that says on which side of the threshold it is."""
    return _beside(shared, OVERLAP)


def _beside(value: float, threshold: float) -> str:
    return f"{value:.{digits_beside(value, threshold)}f}"


def digits_beside(value: float, threshold: float) -> int:
    """Decimals, two to five, that keep a number from being rounded onto a threshold."""
    for digits in range(2, 5):
        if round(value, digits) != round(threshold, digits) or value == threshold:
            return digits
    return 5


def overlap(one: Array, other: Array) -> float:
    """Mass that two distributions share, from draws of each.

    The integral of the smaller of their densities: 1 where they are the same, 0 where they
    are apart. Densities are shares of bins that both together fill evenly, so that neither
    heavy tails nor a change of scale matter. Draws that have no value are left out of
    ``other``; of ``one``, they leave none.
    """
    other = other[~np.isnan(other)]
    if np.isnan(one).any() or not len(other):
        return float("nan")
    bins = max(2, min(_BINS, min(len(one), len(other)) // _PER_BIN))
    both = np.concatenate([one, other])
    shares = np.repeat([0.5 / len(one), 0.5 / len(other)], [len(one), len(other)])
    order = np.argsort(both, kind="stable")
    below = np.cumsum(shares[order])
    edges = both[order][np.searchsorted(below, np.arange(1, bins) / bins)]
    filled = [np.bincount(np.searchsorted(edges, x), minlength=bins) / len(x) for x in (one, other)]
    return float(np.minimum(*filled).sum())


def power_scaling(posterior: Posterior, values: Array) -> tuple[Array, Array]:
    """Sensitivity of quantities to prior and likelihood, as ``arviz_stats.psense`` has it.

    Parameters
    ----------
    posterior, values
        As for `identification`.

    Returns
    -------
    tuple
        Two arrays ``(quantity,)``: to the prior, and to the likelihood. NaN of a quantity
        that does not vary, or has no value in some draw; to the likelihood also where noise
        would be read as sensitivity. Of draws that were corrected for how the survey was
        drawn both are NaN: they are not those of the density that would be scaled.
    """
    design = posterior.design
    if design.is_pseudo or "choice_sample" in posterior.data:
        unknown = np.full(values.shape[1], np.nan)
        return unknown, unknown.copy()
    likelihood = log_likelihood_sums(
        design.columns, posterior.coefficients(), design.choice, design.likelihood_weights
    )
    of_prior = log_prior(design, posterior.draws).ravel()
    chains = posterior.n_draws
    found = _sensitivity(values, likelihood, chains)
    # What has nothing to do with the likelihood should not be sensitive to it.
    apart = np.random.default_rng(0).normal(size=(len(values), _LOOKS))
    noise = float(np.nanmean(_sensitivity(apart, likelihood, chains)))
    if noise >= _NOISY:
        found = np.where(found < 2 * noise, np.nan, found)
    return _sensitivity(values, of_prior, chains), found


def _sensitivity(values: Array, log: Array, n_draws: tuple[int, int]) -> Array:
    """How far a change of the power of ``log``, ``(draw,)``, moves the values."""
    import arviz_stats

    # ArviZ has no types.
    psense: Any = arviz_stats.psense  # type: ignore[attr-defined]
    found = np.full(values.shape[1], np.nan)
    # A draw at the edge of what is possible, as a correlation of one, has the power of the last.
    log = np.maximum(log, log[np.isfinite(log)].min(initial=0.0))
    # No comparison with NaN holds.
    moving = np.ptp(values, axis=0) > 0
    if not np.ptp(log) > 0:
        # A flat prior is the same in every power.
        return np.where(moving, 0.0, found)
    if moving.any():
        dims = ("chain", "draw")
        of = xr.Dataset(
            {"value": ((*dims, "quantity"), values[:, moving].reshape(*n_draws, -1))}
        ).assign_coords({d: np.arange(n) for d, n in zip(dims, n_draws, strict=True)})
        scaled = xr.Dataset({"total": (dims, log.reshape(n_draws))}, of.coords)
        tree = xr.DataTree.from_dict({"posterior": of, "log_prior": scaled})
        with warnings.catch_warnings():
            # Of few draws, ArviZ says how many it takes for a tail.
            warnings.filterwarnings("ignore", message="Number of tail draws")
            found[moving] = psense(tree, group="prior")["value"].to_numpy()
    return found
