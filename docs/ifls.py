"""Write docs/ifls.md: what the theories say of Indonesia. The data are not part of this repository.

    python docs/ifls.py surveys/ifls.toml [FOLDER [THEORY ...]]

Fits every packaged theory of persons whose columns the survey has. Results only. Finished chains
are kept in the folder and found there again: the whole takes two hours and more on two cores, of
which a theory with effects of 17,385 households takes one. Theories that are named are left out.
"""

import re
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import bayesmig as bm
from bayesmig.design.design import build_design
from bayesmig.errors import BayesmigError
from bayesmig.hypotheses import validate_hypotheses
from bayesmig.spec.library import models_by_family

#: Draws of each chain where the ordinary thousand have not converged, and took no more seconds.
LONGER, PATIENCE = 4_000, 240.0
#: Of theories that take an hour: effects of 17,385 households in their places.
OPTIONS = {"substitution_by_level": {"chains": 2, "draws": 1500}}
PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Indonesia, 1997-2014: what the theories say

Made by `python docs/ifls.py surveys/ifls.toml` from the Indonesia Family Life Survey (RAND), whose
rows are not part of this repository: {rows:,} person-intervals in {origins:,} kecamatan. Claims are
about associations. Pr(H) is after the data, beside it the probability before.

`bayesmig run studies/ifls.toml --out FOLDER` writes the report of three of these theories, with a
section of what a referee asks (weights, clustering, convergence, reproduction, calibration,
leave-one-out, priors) and a rehearsal of what this survey could tell at all: half an hour on two
cores.

What the data cannot say: those who were abroad when the survey came are missing unless they
returned, so that moves abroad are rare (0.6 %) and of those who came back; nothing varies over
alternatives, so that nests and consideration are not identified here; networks are counted from
earlier moves of others in the kecamatan, whose common causes group effects take up only as far as
they do not change; and kecamatan with few interviews say little about themselves.

"""

CLAIMS = """Of claims with several inequalities, the estimand is that of the first. Overlap is how
much of the estimand's distribution after the data lies under the one before; who says it, the data
or the prior, is told by that and by power-scaling both.

"""


def main(codebook: str, folder: str | None = None, *without: str) -> None:
    """Fit, test, compare, write."""
    survey = bm.read_survey(codebook)
    fits, left, claims, told = {}, [], [], []
    for family, theories in models_by_family().items():
        for theory in theories:
            if theory.name in without:
                left.append((theory.name, "left out of this run, for the time that it takes"))
                continue
            try:
                design = build_design(theory, survey)
                validate_hypotheses(design)
            except BayesmigError as err:
                left.append((theory.name, err.what))
                continue
            started = time.perf_counter()
            keep = None if folder is None else Path(folder) / theory.name
            fit = bm.fit(theory, survey, seed=7, keep=keep, **OPTIONS.get(theory.name, {}))
            if fit.problems() and time.perf_counter() - started < PATIENCE:
                keep = None if folder is None else Path(folder) / f"{theory.name}-longer"
                fit = bm.fit(theory, survey, seed=7, draws=LONGER, keep=keep)
            seconds = time.perf_counter() - started
            fits[theory.name] = fit
            say(f"{theory.name}: fitted in {seconds:.0f} s")
            known = fit.data["diagnostics"].to_dataset()
            told.append(
                {
                    "theory": theory.name,
                    "about": family,
                    "route": fit.provenance.route,
                    "draws": f"{np.prod(fit.n_draws):,}",
                    "least ESS": f"{float(known['ess_bulk'].min()):,.0f}",
                    "largest R-hat": f"{float(known['r_hat'].max()):.3f}",
                    "problems": "; ".join(fit.problems()) or "none",
                }
            )
            for result in bm.test(fit, allow_unconverged=True).values():
                part = result.summary.iloc[0]
                claims.append(
                    {
                        "theory": theory.name,
                        "claim": result.claim,
                        "Pr(H)": f"{result.probability:.2f}",
                        "before": f"{result.prior_probability:.2f}",
                        "estimand": f"{part['estimate']:.3g}",
                        "95 % interval": f"{part['lower']:.3g} to {part['upper']:.3g}",
                        "in the ROPE": f"{part['rope_mass']:.2f}",
                        "overlap": f"{part['overlap']:.2f}",
                        "who says it": result.identification or "the data",
                    }
                )
    ranking = bm.compare(fits, allow_unconverged=True)
    columns = ["theory", "elpd", "se", "elpd_diff", "diff_se", "p_loo", "weight", "pareto_k_high"]
    text = HEAD.format(rows=survey.n_obs, origins=survey.role("origin").nunique())
    text += "## How they predict\n\n" + ranking.text + "\n\n"
    text += markdown(ranking.summary[columns].round(2)) + "\n## How they were fitted\n\n"
    text += markdown(pd.DataFrame(told)) + "\n## What they claim\n\n"
    text += CLAIMS
    text += markdown(pd.DataFrame(claims)) + "\n## Not fitted here\n\n"
    text += "".join(f"- `{name}`: {why}\n" for name, why in left)
    # Labels of places are the survey's.
    text = re.sub(r", such as u_\w+\[[^\]]*\]", "", text)
    PAGE.write_text(text, encoding="utf-8")


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown."""
    rows = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
