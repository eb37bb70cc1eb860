"""Constants of a sample that was drawn by choice, corrected by the population's shares.

Where people were drawn by what they chose, and by that alone, a logit with a constant for every
alternative has the population's coefficients for everything but its constants, which are too
large by ``ln(H_j / Q_j) - ln(H_b / Q_b)`` for shares ``H`` of the sample and ``Q`` of the
population, ``b`` being the base (Manski and Lerman 1977, doi 10.2307/1914121; King and Zeng 2001,
doi 10.1093/oxfordjournals.pan.a004868, prior correction). That holds for nothing else: nests,
tastes and feasible sets change the form, groups that are drawn with their people have other
effects in the sample than in the population, and without a constant there is nothing to correct.

How many people of each choice are in such a sample was decided and is no outcome, so that constants
are surer than those of a random sample of as many: their covariance is less by
``diag(1 / n_j) + 1 / n_b`` for ``n`` people of each choice (Prentice and Pyke 1979,
doi 10.1093/biomet/66.3.403; Scott and Wild 1986, doi 10.1111/j.2517-6161.1986.tb01400.x).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayesmig.choice.probabilities import beyond_logit
from bayesmig.design.design import Design
from bayesmig.design.formula import CONSTANT
from bayesmig.errors import DesignError

#: By how much weighted shares may differ from those of the population: half a per cent point,
#: to which shares in whole per cents are rounded, and no more than a tenth of a share, of which
#: that would be much. Weights are made of these shares: all else that they differ by is a mistake.
_ROUNDING, _PART = 0.005, 0.1
#: Part of a variance that stays, at least.
_LEAST = 1e-6


def refuse_invalid(design: Design, shares: Mapping[str, float]) -> None:
    """Refuse theories whose constants population shares do not correct, and weights of others.

    Raises
    ------
    DesignError
        With the reason; of weights by which the sample has other shares than the population,
        with both.
    """
    mend = 'weigh people by population over sample share of their choice and say weights = "pseudo"'
    reasons = {
        "weights": design.is_pseudo,
        "parts": beyond_logit(design.columns),
        "groups": design.layouts,
        "constants": CONSTANT not in design.persons,
        "alternatives": set(shares) != set(design.alternatives),
        "averages": design.weights is None,
    }
    said = {
        "weights": "a weighted likelihood has the population's constants already",
        "parts": f"with {', '.join(beyond_logit(design.columns))} more than the constants changes",
        "groups": f"effects of {', '.join(design.layouts)} have another distribution in a sample "
        "that was drawn by choice than in the population",
        "constants": "the theory does not have a constant for every alternative but the base",
        "alternatives": f"the theory is about {', '.join(design.alternatives)}",
        "averages": "averages over people of such a sample need its weights, and the survey "
        'declares none, or the theory says weights = "ignore"',
    }
    mends = {
        "weights": "leave population_shares out of the codebook",
        "averages": "declare a weight: population over sample share of each choice, if nothing "
        "else was unequal",
    }
    for reason, there in reasons.items():
        if there:
            raise DesignError(
                f"population shares do not correct this theory: {said[reason]}",
                where=("key population_shares", f"theory {design.spec.name!r}"),
                mend=mends.get(reason, mend),
            )
    _refuse_other_shares(design, shares)


def _refuse_other_shares(design: Design, shares: Mapping[str, float]) -> None:
    """Refuse weights by which averages over the sample are not those of the population."""
    mass = np.bincount(design.choice, design.weights, len(design.alternatives))
    found = dict(zip(design.alternatives, mass / mass.sum(), strict=True))
    if all(abs(found[a] - q) <= min(_ROUNDING, _PART * q) for a, q in shares.items()):
        return
    listed = ", ".join(f"{a} {found[a]:.3g} instead of {q:.3g}" for a, q in shares.items())
    raise DesignError(
        f"weighted, the sample does not have the population's shares ({listed}): averages over it "
        "would not be the population's",
        where=("key population_shares", f"column {design.roles['weight']}"),
        mend="weigh people by population over sample share of their choice, times what else made "
        "their chances unequal, so that weighted shares are those that are declared",
    )


def shifts(design: Design, shares: Mapping[str, float]) -> np.ndarray:
    """By how much the sample's constants are too large, ``(nonbase,)``."""
    sample = np.bincount(design.choice, minlength=len(design.alternatives)) / design.n_obs
    logs = np.log(sample) - np.log([shares[a] for a in design.alternatives])
    base = design.alternatives.index(design.spec.choice.base)
    return np.delete(logs - logs[base], base)


def corrected(
    design: Design, posterior: xr.Dataset, shares: Mapping[str, float]
) -> tuple[xr.Dataset, str]:
    """The draws with the population's constants, and what was done in words."""
    of = xr.DataArray(shifts(design, shares), dims="nonbase", coords={"nonbase": posterior.nonbase})
    constant = posterior["coefficient"] == CONSTANT
    beta = _surer(posterior["beta"], design) - of.where(constant, 0.0)
    listed = ", ".join(f"{a} {-float(v):+.3g}" for a, v in zip(design.nonbase, of, strict=True))
    note = (
        f"constants corrected for a sample drawn by choice ({listed}), their spread for numbers of "
        "each choice that were decided"
    )
    order = posterior["beta"].dims
    return posterior.assign(beta=beta.transpose(*order)), note


def _surer(beta: xr.DataArray, design: Design) -> xr.DataArray:
    """The draws with constants as sure as numbers of each choice that were decided make them.

    What of the constants goes with the other coefficients stays, and is no part of it.
    """
    draws = beta.transpose("chain", "draw", "coefficient", "nonbase")
    values = draws.to_numpy().reshape(-1, *draws.shape[2:])
    counts = np.bincount(design.choice, minlength=len(design.alternatives))
    base = design.alternatives.index(design.spec.choice.base)
    decided = np.diag(1 / np.delete(counts, base)) + 1 / counts[base]
    place = list(draws["coefficient"].to_numpy()).index(CONSTANT)
    constants = values[:, place]
    others = np.delete(values, place, axis=1).reshape(len(values), -1)
    known = np.column_stack([np.ones(len(values)), others])
    with_others = known @ np.linalg.lstsq(known, constants, rcond=None)[0]
    alone = constants - with_others
    root = np.linalg.cholesky(alone.T @ alone / len(values))
    inverse = np.linalg.inv(root)
    # Of noise in the draws, and of what priors know, no more than all can be taken away.
    lengths, vectors = np.linalg.eigh(inverse @ decided @ inverse.T)
    kept = np.sqrt(np.maximum(1 - lengths, _LEAST))
    found = values.copy()
    found[:, place] = with_others + alone @ inverse.T @ (vectors * kept) @ vectors.T @ root.T
    return draws.copy(data=found.reshape(draws.shape))
