"""Whether parameters are told by the data or by the prior."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.checks.prior_shares import with_prior
from bayesmig.checks.result import NAMED, CheckResult, tabled
from bayesmig.design.identification import weakly_told_levels
from bayesmig.posterior import OF_GROUPS, Posterior, labelled_draws
from bayesmig.sensitivity import (
    LEANS,
    OVERLAP,
    SENSITIVE,
    UNKNOWN,
    WEAK,
    identification,
    overlap_words,
    scaled_words,
)

Array = NDArray[np.float64]
NAME = "prior sensitivity"
KIND = "prior_sensitivity"
COLUMNS = (
    *("parameter", "overlap", "prior_sensitivity", "likelihood_sensitivity"),
    *("identification", "passed"),
)
#: How names of scales and correlations of groups begin.
_OF_SCALES = ("sigma_", "corr_")


def prior_sensitivity(posterior: Posterior, *, draws: int, seed: int) -> CheckResult:
    """Check that the data, not the prior, say what the parameters are.

    A parameter is weakly identified where its distribution overlaps the prior by 0.7 or
    more, or where power-scaling the prior moves it (a sensitivity of 0.05 or more) and
    power-scaling the likelihood does not; the prior has a say in it where both do: data
    are few, or at odds with the prior (`bayesmig.sensitivity`; Kallioinen et al. 2024,
    doi 10.1007/s11222-023-10366-5). Single group effects are not looked at, and of their
    prior only scales and correlations are scaled.

    Fails where a coefficient, or a parameter of nests, curves or consideration, is weakly
    identified; and where a scale or correlation is, at a level that a hypothesis is about, or
    of which the survey tells little (`bayesmig.design.identification.weakly_told_levels`).
    Other scales and correlations of groups are told, but fail no theory: with few groups, the
    prior always has a say in them. Where none of what counts can be power-scaled, as draws that
    were corrected for how a survey was drawn, and overlaps fail none, nothing is passed: half of
    the check was not made.

    Parameters
    ----------
    posterior
        Its prior draws are used where it holds any; otherwise they are drawn.
    draws
        Prior draws, where there are none.
    seed
        Seed of prior draws.

    Returns
    -------
    CheckResult
        Table, the worst first: ``parameter``, ``overlap`` (NaN where a prior is flat),
        ``prior_sensitivity``, ``likelihood_sensitivity``, ``identification`` (in words;
        empty where nothing is amiss), ``passed``.
    """
    with_draws = with_prior(posterior, draws=draws, seed=seed)
    names, values = _told(posterior.draws)
    before = None
    if "prior" in with_draws.data:
        before = _told(with_draws.data["prior"].to_dataset())[1]
    table = identification(posterior, values, before)
    table.insert(0, "parameter", names)
    spared = _spared(posterior, table)
    table["passed"] = (table["identification"] != WEAK) | spared
    shared, moved = (table[c].to_numpy() for c in ("overlap", "prior_sensitivity"))
    badness = np.nan_to_num(np.fmax(shared / OVERLAP, moved / SENSITIVE))
    table = table.iloc[np.lexsort((-badness, table["passed"]))]
    table = tabled(table.reset_index(drop=True), KIND)
    passed: bool | None = bool(table["passed"].all())
    if passed and _is_unscaled(table[~_spared(posterior, table)]):
        passed = None
    return CheckResult(NAME, passed, table, _text(posterior, table))


def _is_unscaled(counted: pd.DataFrame) -> bool:
    """Whether there is a power-scaling sensitivity of no parameter that counts."""
    return bool(counted["prior_sensitivity"].isna().all())


def _spared(posterior: Posterior, table: pd.DataFrame) -> pd.Series:
    """Which parameters are scales and correlations of groups that need not be told."""
    spec = posterior.spec
    averages = [a for h in spec.hypotheses.values() for i in h.inequalities for a in i.averages]
    asked = {a.level for a in averages if a.level}
    levels = asked | weakly_told_levels(spec, posterior.design.columns).keys()
    looked_at = tuple(f"{kind}{by}[" for kind in _OF_SCALES for by in sorted(levels))
    names = table["parameter"].str
    return names.startswith(_OF_SCALES) & ~names.startswith(looked_at)


def _told(draws: xr.Dataset) -> tuple[list[str], Array]:
    """Labels and draws ``(draw, parameter)`` of all but single group effects."""
    found = [
        (label, values.ravel())
        for name in sorted(map(str, draws.data_vars))
        if not name.startswith(OF_GROUPS)
        for label, values in _each_once(name, draws[[name]])
    ]
    return [label for label, _ in found], np.stack([values for _, values in found], axis=1)


def _each_once(name: str, draws: xr.Dataset) -> Iterator[tuple[str, Array]]:
    """Labelled draws of a parameter; of a correlation matrix, what is below the diagonal."""
    of = list(labelled_draws(draws))
    if name.startswith("corr_"):
        width = int(np.sqrt(len(of)))
        of = [one for k, one in enumerate(of) if k % width < k // width]
    yield from of


def _text(posterior: Posterior, table: pd.DataFrame) -> str:
    said = []
    counted = table[~table["passed"]]
    spared = _spared(posterior, table)
    others = table[~spared]
    if len(counted):
        said.append(_named(counted, WEAK))
    else:
        which = " (scales and correlations of groups not counted)" if spared.any() else ""
        counts = f"none of {len(others):,} parameters{which}"
        if _is_unscaled(others):
            said.append(f"Not asked: {counts} can be power-scaled. By overlap alone none fails.")
        else:
            said.append(f"The prior alone tells {counts}.")
    said += [_named(others, word) for word in (LEANS, UNKNOWN)]
    scales = table[spared & table["identification"].isin([WEAK, LEANS])]
    if len(scales):
        said += ["Of scales and correlations, which do not count:"]
        said += [_named(scales, word) for word in (WEAK, LEANS)]
    if table["overlap"].isna().all():
        said.append("A prior is flat: nothing can be drawn from it, so no overlap is known.")
    said.append(
        f"Flagged from an overlap with the prior of {OVERLAP:g}, or a power-scaling sensitivity "
        f"to it of {SENSITIVE:g}, on; the distribution of group effects is not scaled."
    )
    return " ".join(filter(None, said))


def _named(table: pd.DataFrame, word: str) -> str:
    """The worst parameters that bear a word, and how many there are."""
    flagged = table[table["identification"] == word]
    if flagged.empty:
        return ""
    columns = ["parameter", "overlap", "prior_sensitivity", "likelihood_sensitivity"]
    named = [
        f"{name} (overlap {overlap_words(overlap)}, {scaled_words(prior, likelihood)})"
        for name, overlap, prior, likelihood in flagged[columns].head(NAMED).to_numpy().tolist()
    ]
    more = f" and {len(flagged) - NAMED:,} more" if len(flagged) > NAMED else ""
    return f"{word.capitalize()}: {', '.join(named)}{more}."
