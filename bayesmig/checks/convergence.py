"""Can the draws be trusted? R-hat, ESS, divergences and E-BFMI of every parameter."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesmig.checks.result import CheckResult, tabled
from bayesmig.posterior import MAX_R_HAT, MIN_ESS, Posterior, each_once

#: Parameters listed at most.
_SHOWN = 20


def convergence(posterior: Posterior) -> CheckResult:
    """Check that chains agree and are long enough.

    R-hat ≤ 1.01 and bulk and tail ESS ≥ 400 for every parameter, group effects
    included; no divergences; E-BFMI > 0.3 in every chain (Vehtari et al. 2021,
    doi 10.1214/20-BA1221; Betancourt 2016, arXiv 1604.00695). A diagnostic that cannot
    be computed counts against the draws. Of weighted draws: Pareto k < 0.5, and the same
    ESS. A preview is not judged.

    Parameters
    ----------
    posterior
        Draws of a theory.

    Returns
    -------
    CheckResult
        Its table holds the 20 worst parameters, worst first: ``parameter``, ``r_hat``,
        ``ess_bulk``, ``ess_tail``, ``passed``.
    """
    data = posterior.data["diagnostics"].to_dataset()
    frame = data[["r_hat", "ess_bulk", "ess_tail"]].to_dataframe().reset_index()
    frame = frame[each_once(frame["parameter"])]
    worst = _badness(frame).sort_values(ascending=False, kind="stable")
    table = frame.loc[worst.index[:_SHOWN]].reset_index(drop=True)
    table["passed"] = _badness(table) <= 1
    if posterior.is_preview:
        text = f"Not asked: the draws are {posterior.approximation}."
        return CheckResult("convergence", None, tabled(table, "convergence"), text)
    problems = [*posterior.problems(), *_unknown(frame)]
    if "bfmi" in data and np.isnan(data["bfmi"].to_numpy()).any():
        problems.append("E-BFMI cannot be computed: the energy of a chain does not vary")
    least = (
        f"smallest bulk ESS {_most(frame['ess_bulk'], np.nanmin):,.0f}, "
        f"tail ESS {_most(frame['ess_tail'], np.nanmin):,.0f}"
    )
    chains, draws = posterior.n_draws
    if "pareto_k" in data:
        numbers = (
            f"{len(frame):,} parameters in {chains * draws:,} weighted independent draws: Pareto k "
            f"of the weights {float(data['pareto_k']):.2f}, {least}; R-hat does not apply."
        )
    else:
        numbers = (
            f"{len(frame):,} parameters in {chains} chains of {draws:,}: "
            f"largest R-hat {_most(frame['r_hat'], np.nanmax):.4f}, {least}; "
            f"{int(data['divergences'].sum())} divergences, "
            f"E-BFMI {float(data['bfmi'].min()):.2f}."
        )
    text = f"The draws have not converged: {'; '.join(problems)}. " if problems else ""
    return CheckResult("convergence", not problems, tabled(table, "convergence"), text + numbers)


def _badness(frame: pd.DataFrame) -> pd.Series:
    """How far past its rules each parameter is; above one, it breaks one of them."""
    excess = (frame["r_hat"] - 1) / (MAX_R_HAT - 1)
    # The bound itself passes, whatever a division makes of it.
    excess = excess.where(frame["r_hat"] > MAX_R_HAT, excess.clip(upper=1.0))
    short = MIN_ESS / frame[["ess_bulk", "ess_tail"]].min(axis=1)
    worst = pd.concat([excess, short], axis=1).max(axis=1)
    known = ["ess_bulk", "ess_tail", *(["r_hat"] if frame["r_hat"].notna().any() else [])]
    return worst.where(~frame[known].isna().any(axis=1), np.inf)


def _unknown(frame: pd.DataFrame) -> list[str]:
    """Name parameters whose diagnostics could not be computed though chains are several."""
    missing = frame[["ess_bulk", "ess_tail"]].isna().any(axis=1)
    if frame["r_hat"].notna().any():
        missing |= frame["r_hat"].isna()
    if not missing.any():
        return []
    first = frame.loc[missing, "parameter"].iloc[0]
    return [f"R-hat or ESS cannot be computed for {int(missing.sum()):,}, such as {first}"]


def _most(values: pd.Series, extreme: object) -> float:
    known = values.dropna()
    return float(extreme(known)) if len(known) else float("nan")  # type: ignore[operator]
