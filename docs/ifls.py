"""Write docs/ifls.md: what the theories say of Indonesia. The data are not part of this repository.

    python docs/ifls.py surveys/ifls.toml [--keep FOLDER] [--without THEORY ...]
    python docs/ifls.py surveys/ifls.toml [--keep FOLDER] --only THEORY ... --beside THEORY
    python docs/ifls.py surveys/ifls.toml --report FOLDER

Fits every packaged theory of persons whose columns the survey has. Results only. Finished chains
are kept in the folder and found there again: the whole takes two hours and more on two cores, of
which a theory with effects of 17,385 households takes one. `--only` puts theories into the page
that were left out of it, and compares them with one that was not. `--report` puts in what the
report of `bayesmig run studies/ifls.toml --out FOLDER` answers a referee, after the page was made.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

import bayesmig as bm
from bayesmig.design.design import build_design
from bayesmig.errors import BayesmigError
from bayesmig.hypotheses import validate_hypotheses
from bayesmig.reporting.blocks import HtmlTable
from bayesmig.reporting.figures import Numbered
from bayesmig.reporting.folder import read_folder
from bayesmig.reporting.sections import evidence
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
they do not change; and kecamatan with few interviews say little about themselves. The survey's
weight is missing in 20 % of the rows, and not at random (in 28 % of those of 2007, in 32 % of those
who moved before): it plays no role, and shares are of the sample.

"""

APART = "## Theories that take longer, compared apart"
REFEREE = "## What a referee asks"
REFEREE_HEAD = """Of `{main}`, the main theory of `studies/ifls.toml`, in the words of its report.

"""

CLAIMS = """Of claims with several inequalities, the estimand is that of the first. Overlap is how
much of the estimand's distribution after the data lies under the one before; who says it, the data
or the prior, is told by that and by power-scaling both.

"""


def main() -> None:
    """Fit, test, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codebook")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--without", nargs="*", default=())
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--beside")
    parser.add_argument("--report", type=Path)
    told = parser.parse_args()
    if told.report:
        answered(told.report)
        return
    if bool(told.only) != bool(told.beside):
        parser.error("--only and --beside go together")
    survey = bm.read_survey(told.codebook)
    if told.only:
        add(survey, told.keep, told.only, told.beside)
    else:
        whole(survey, told.keep, told.without)


def whole(survey: bm.Survey, keep: Path | None, without: list[str]) -> None:
    """The page, of all theories."""
    fits, left, claims, told = {}, [], [], []
    for family, theories in models_by_family().items():
        for theory in theories:
            if theory.name in without:
                left.append((theory.name, "left out of this run, for the time that it takes"))
                continue
            try:
                validate_hypotheses(build_design(theory, survey))
            except BayesmigError as err:
                left.append((theory.name, err.what))
                continue
            fit = fits[theory.name] = fitted(theory, survey, keep)
            told.append(how(theory.name, family, fit))
            claims += claimed(theory.name, fit)
    text = HEAD.format(rows=survey.n_obs, origins=survey.role("origin").nunique())
    text += f"## How they predict\n\n{compared(fits)}\n## How they were fitted\n\n"
    text += markdown(pd.DataFrame(told)) + "\n## What they claim\n\n"
    text += CLAIMS
    text += markdown(pd.DataFrame(claims)) + "\n## Not fitted here\n\n"
    write(text + "".join(f"- `{name}`: {why}\n" for name, why in left))


def add(survey: bm.Survey, keep: Path | None, names: list[str], beside: str) -> None:
    """Theories that were left out, put into the page one by one, and compared with one."""
    family_of = {t.name: family for family, of in models_by_family().items() for t in of}
    fits = {}
    for name in names:
        fit = fits[name] = fitted(bm.load_model(name), survey, keep)
        page = PAGE.read_text(encoding="utf-8")
        page = re.sub(rf"^(- `{name}`: |\| {name} \|).*\n", "", page, flags=re.MULTILINE)
        for rows, after in (
            ([how(name, family_of[name], fit)], "## What they claim"),
            (claimed(name, fit), "## Not fitted here"),
        ):
            lines = markdown(pd.DataFrame(rows)).split("\n", 2)[2]
            before, rest = page.split(f"\n{after}")
            page = f"{before}{lines}\n{after}{rest}"
        write(page)
    fits[beside] = fitted(bm.load_model(beside), survey, keep)
    before, rest = PAGE.read_text(encoding="utf-8").split("## How they were fitted")
    before, _, known = before.partition(f"{APART}\n\n")
    write(f"{before}{APART}\n\n{compared(fits)}\n{known}## How they were fitted{rest}")


def answered(folder: Path) -> None:
    """What the report of a finished study answers a referee, put into the page."""
    study = read_folder(folder)
    [table] = [b for b in evidence.blocks(study, Numbered()) if isinstance(b, HtmlTable)]
    rows = pd.DataFrame(
        {"asked": str(question), "answer": plain(answer)} for question, answer, _ in table.rows
    )
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(rf"{re.escape(REFEREE)}.*?(?=\n## )", "", page, flags=re.DOTALL)
    asked = REFEREE_HEAD.format(main=study.main)
    before, rest = page.split("\n## How they predict")
    write(f"{before.rstrip()}\n\n{REFEREE}\n\n{asked}{markdown(rows)}\n## How they predict{rest}")


def plain(answer: Markup) -> str:
    """An answer of the report in one line of Markdown, its verdicts in bold."""
    marked = re.sub(r'<span class="badge[^>]*>(.*?)</span>', r"**\1:**", answer)
    marked = marked.replace("<br>", " ")
    return re.sub(r"\s+", " ", Markup(marked).striptags())


def fitted(theory: bm.ModelSpec, survey: bm.Survey, keep: Path | None) -> bm.Posterior:
    """Draws of a theory, more where the ordinary thousand have not converged and took little."""
    started = time.perf_counter()
    folder = None if keep is None else keep / theory.name
    fit = bm.fit(theory, survey, seed=7, keep=folder, **OPTIONS.get(theory.name, {}))
    if fit.problems() and time.perf_counter() - started < PATIENCE:
        folder = None if keep is None else keep / f"{theory.name}-longer"
        fit = bm.fit(theory, survey, seed=7, draws=LONGER, keep=folder)
    say(f"{theory.name}: fitted in {time.perf_counter() - started:.0f} s")
    return fit


def how(name: str, family: str, fit: bm.Posterior) -> dict[str, str]:
    """How a theory was fitted, and whether its draws converged."""
    known = fit.data["diagnostics"].to_dataset()
    return {
        "theory": name,
        "about": family,
        "route": fit.provenance.route,
        "draws": f"{np.prod(fit.n_draws):,}",
        "least ESS": f"{float(known['ess_bulk'].min()):,.0f}",
        "largest R-hat": f"{float(known['r_hat'].max()):.3f}",
        "problems": "; ".join(fit.problems()) or "none",
    }


def claimed(name: str, fit: bm.Posterior) -> list[dict[str, str]]:
    """What a theory claims, and what the data say of it."""
    found = []
    for result in bm.test(fit, allow_unconverged=True).values():
        part = result.summary.iloc[0]
        found.append(
            {
                "theory": name,
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
    return found


def compared(fits: dict[str, bm.Posterior]) -> str:
    """How theories predict, in words and as a table."""
    ranking = bm.compare(fits, allow_unconverged=True)
    columns = ["theory", "elpd", "se", "elpd_diff", "diff_se", "p_loo", "weight", "pareto_k_high"]
    return f"{ranking.text}\n\n{markdown(ranking.summary[columns].round(2))}"


def write(text: str) -> None:
    """The page; labels of places are the survey's."""
    PAGE.write_text(re.sub(r", such as u_\w+\[[^\]]*\]", "", text), encoding="utf-8")


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown."""
    rows = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(c.replace('|', '&#124;') for c in row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
