"""The sections of a report, each made from tidy tables and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from bayesmig import plots
from bayesmig.plots.numbers import digits_for, number, probability
from bayesmig.reporting.blocks import (
    Block,
    Facts,
    Heading,
    Layout,
    Prose,
    Section,
    html_table,
)
from bayesmig.reporting.figures import Numbered, chunks, wanted_breakdowns
from bayesmig.reporting.findings import separation, theory_of_hypotheses
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.networks import families
from bayesmig.reporting.words import (
    badge,
    bracket,
    code,
    count,
    percent,
    seconds,
    standing,
    verdict,
)

#: Figures of breakdowns, and parameters listed; all of them are in their tables.
MOST_FIGURES, MOST_PARAMETERS = 2, 80
REPLICATED = "central 95 % of replicated surveys"


def sections(study: StudyFolder) -> list[Section]:
    """Every section after the findings, in order; none is left out."""
    figures = Numbered()
    makers: tuple[tuple[str, str, Callable[[StudyFolder, Numbered], Iterator[Block]]], ...] = (
        ("survey", "The survey", _survey),
        ("checks", "Do the models hold?", _checks),
        ("theories", "Which theory?", _theories),
        ("hypotheses", "Hypotheses", _hypotheses),
        ("effects", "Who chooses what", _effects),
        ("scenarios", "Scenarios", _scenarios),
        ("provenance", "Where this comes from", _provenance),
    )
    made = []
    for key, title, make in makers:
        figures.begin()
        made.append(Section(key, title, tuple(make(study, figures))))
    return made


def _text(text: str, *args: Any) -> Prose:
    return Prose(Markup(text).format(*args))


def _absent(text: str, *args: Any) -> Prose:
    return Prose(Markup(text).format(*args), "absent")


# ---------------------------------------------------------------------------- survey


def _survey(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    survey = study.results.get("survey", {})
    yield _text(
        "{}: {} choice situations.", survey.get("title") or "Survey", count(survey.get("rows"))
    )
    if notes := str(survey.get("notes", "")).strip():
        yield _text("{}", notes)
    if "survey_rows" in study.tables:
        yield html_table(
            study.table("survey_rows"),
            {"": ("what", None), "Number": ("n", count)},
            "Rows read and kept",
            source="survey_rows",
        )
    shares = study.table("survey_shares")
    if shares.empty:
        yield _absent("The study holds no table of observed shares.")
        return
    layout: dict[str, Any] = {
        "Alternative": ("alternative", None),
        "Rows": ("rows", count),
        "Share of rows": ("share", _share),
    }
    if "weighted_share" in shares:
        layout["Weighted share"] = ("weighted_share", _share)
    yield html_table(shares, layout, "Observed choices", source="survey_shares")


def _share(value: Any) -> str:
    return percent(value, 2)


# ---------------------------------------------------------------------------- checks


def _checks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield _text(
        "Three questions come before any result: whether the computation can be trusted, "
        "whether a theory can reproduce the survey that it was fitted to, and whether its "
        "probabilities mean what they say."
    )
    if "checks" in study.tables:
        layout: Layout = {
            "Theory": ("theory", None),
            "Check": ("check", None),
            "Result": (lambda row: badge(verdict(row["passed"])), None),
            "What was found": ("text", None),
        }
        yield html_table(study.table("checks"), layout, "All checks", source="checks")
    else:
        yield _absent("The study holds no table of checks.")
    yield from _convergence(study, figures)
    yield from _reproduced(study, figures)
    yield from _calibration(study, figures)
    yield from _prior(study, figures)


def _convergence(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Convergence", "convergence")
    table = study.table("convergence")
    if table.empty:
        yield _absent("The study holds no table of convergence.")
        return
    parameters = study.tables.get("parameters")
    yield figures.block(
        plots.convergence_plot(table, parameters),
        "R-hat compares the chains of a parameter and should be at most 1.01; the effective "
        "sample size (ESS) says how many independent draws its chains are worth, and should be "
        "at least 400. Shaded: all parameters, group effects included; points: the worst.",
        "convergence" if parameters is None else "parameters",
    )
    layout: Layout = {
        "Theory": ("theory", None),
        "Parameters": ("parameters", count),
        "R-hat, largest": ("r_hat_max", lambda v: number(v, 4)),
        "Bulk ESS, least": ("ess_bulk_min", lambda v: number(v, 0)),
        "Tail ESS, least": ("ess_tail_min", lambda v: number(v, 0)),
        "Divergences": ("divergences", count),
        "E-BFMI, least": ("bfmi_min", number),
        "Sampling": ("seconds", seconds),
        "Result": (lambda row: badge(verdict(row["passed"])), None),
    }
    yield html_table(table, layout, "Convergence by theory", source="convergence")


def _reproduced(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Observed and predicted shares", "predictive")
    table = study.table("predictive_shares")
    if table.empty:
        yield _absent("The study holds no predicted shares to compare with the observed ones.")
        return
    whole = table[table["by"].astype(str) == "all"]
    if len(whole):
        yield figures.block(
            plots.shares_plot(whole, alternatives=study.alternatives),
            f"Shares of all rows under every theory. Line: {REPLICATED}; an observed share "
            "outside of it is one that the theory would hardly ever produce.",
            "predictive_shares",
        )
    yield from _breakdowns(study, figures, table)


def _breakdowns(study: StudyFolder, figures: Numbered, table: pd.DataFrame) -> Iterator[Block]:
    own = table[table["theory"].astype(str) == study.main]
    wanted = wanted_breakdowns(study)
    ordered = [own[own["by"].astype(str) == by] for by in wanted]
    if not ordered:
        yield _absent("Shares were not broken down by any column.")
        return
    parts = list(chunks(pd.concat(ordered), "by", "level"))
    for part in parts[:MOST_FIGURES]:
        columns = [by for by in wanted if by in set(part["by"].astype(str))]
        title = f"Observed and predicted shares under {study.main}"
        yield figures.block(
            plots.shares_plot(part, alternatives=study.alternatives, title=title),
            Markup("The same by {}. Line: {}.").format(", ".join(columns), REPLICATED),
            "predictive_shares",
        )
    shown = set(pd.concat(parts[:MOST_FIGURES])["by"].astype(str))
    if left := [by for by in wanted if by not in shown]:
        yield _text(
            "Not drawn, but in the table: {}. Columns where a check fails are drawn first.",
            ", ".join(left),
        )


def _calibration(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Calibration", "calibration")
    table = study.table("calibration", theory=study.main)
    if table.empty:
        yield _absent("Calibration was not checked for {}.", code(study.main))
        return
    yield figures.block(
        plots.calibration_plot(table, alternatives=study.alternatives),
        Markup(
            "Rows of {} in bins of similar predicted probability: the share that chose the "
            "alternative should lie near the diagonal, within the line for about 19 bins of 20. "
            "Hollow: too far off, all bins considered together."
        ).format(code(study.main)),
        "calibration",
    )


def _prior(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("What the priors allow", "prior")
    table = study.table("prior_shares")
    if table.empty:
        yield _absent("Prior predictive shares were not computed.")
        return
    drawn = table.rename(columns={"mean": "predicted"}).assign(by="all", level="all")
    interval = "central 99 % of prior predictions"
    title = "Shares that the priors allow, before any choice is seen"
    yield figures.block(
        plots.shares_plot(drawn, alternatives=study.alternatives, title=title, interval=interval),
        "A prior should allow the observed shares without being sure of them.",
        "prior_shares",
    )


# -------------------------------------------------------------------------- theories


def _theories(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    said = pd.DataFrame([{k: t.get(k, "") for k in _THEORY} for t in study.theories])
    if len(said):
        layout: Layout = {
            "Theory": ("name", None),
            "Title": ("title", None),
            "Claim": ("claim", None),
            "References": (lambda row: ", ".join(map(str, row["references"])) or "–", None),
        }
        yield html_table(said, layout, "Theories of this study")
    table = study.table("comparison")
    if table.empty:
        yield _absent(
            "One theory was fitted, so there is nothing to compare."
            if len(said) < 2
            else "The theories were not compared."
        )
        return
    yield _text("{}", study.results.get("texts", {}).get("comparison") or separation(table))
    yield figures.block(
        plots.comparison_plot(table),
        "Expected log predictive density (elpd) by leave-one-out cross-validation. A "
        "difference of less than about two of its standard errors does not tell two theories "
        "apart.",
        "comparison",
    )
    yield html_table(
        table.sort_values("elpd", ascending=False, kind="stable"),
        {
            "Theory": ("theory", None),
            "elpd": ("elpd", lambda v: number(v, 1)),
            "SE": ("se", lambda v: number(v, 1)),
            "Difference": ("elpd_diff", lambda v: number(v, 1)),
            "SE of difference": ("diff_se", lambda v: number(v, 1)),
            "p_loo": ("p_loo", lambda v: number(v, 1)),
            "Stacking weight": ("weight", number),
            "Pareto k, largest": ("pareto_k_max", number),
            "Rows with high k": ("pareto_k_high", count),
        },
        "Comparison of theories",
        source="comparison",
    )


_THEORY = ("name", "title", "claim", "references")


# ------------------------------------------------------------------------ hypotheses


def _hypotheses(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    table = study.table("hypotheses")
    if table.empty:
        yield _absent("No theory of this study states a hypothesis.")
        return
    theory = theory_of_hypotheses(study)
    own = table[table["theory"].astype(str) == theory]
    yield _text(
        "Each claim is an inequality between average effects on the probability scale, "
        "computed draw by draw under {}. Its probability is the share of draws in which it "
        "holds: what the theory and the data say together, and nothing about causes.",
        code(theory),
    )
    for part in chunks(own, "hypothesis", "part"):
        yield figures.block(
            plots.hypotheses_plot(part, interval=study.interval),
            "Estimands are left minus right of each inequality: percentage points (pp) for "
            "differences of probabilities, per cent for lifts (changes as a share of the "
            "alternative's own probability). Grey: the region of practical equivalence (ROPE).",
            "hypotheses",
            study.header("hypotheses"),
        )
    yield html_table(
        own.drop_duplicates("hypothesis"), _claims(study), "Claims", source="hypotheses"
    )
    yield html_table(
        own, _PARTS, "The inequalities of the claims", source="hypotheses", folded=True
    )
    others = table[table["theory"].astype(str) != theory]
    if len(others):
        layout: Layout = {"Theory": ("theory", None), **_claims(study)}
        yield html_table(
            others.drop_duplicates(["theory", "hypothesis"]),
            layout,
            "Claims under the other theories",
            source="hypotheses",
            folded=True,
        )


def _claims(study: StudyFolder) -> dict[str, Any]:
    said: Mapping[str, str] = study.results.get("texts", {}).get("hypotheses", {})
    # Sentences are kept by name; the last theory that states a name wrote the sentence.
    writers = study.table("hypotheses").groupby("hypothesis")["theory"].last()

    def sentence(row: Mapping[str, Any]) -> str:
        name, theory = str(row["hypothesis"]), str(row["theory"])
        if (own := said.get(f"{theory}/{name}")) is not None:
            return own
        return said[name] if name in said and writers[name] == theory else str(row["claim"])

    return {
        "Hypothesis": (lambda row: str(row["hypothesis"]).replace("_", " "), None),
        "Probability": ("joint_probability", probability),
        "Verdict": (lambda row: badge(standing(row["joint_probability"])), None),
        "In words": (sentence, None),
    }


_PARTS: Layout = {
    "Inequality": ("part", None),
    "Estimand": ("estimate", lambda v: number(v, 4)),
    "Interval": (lambda row: bracket(row["lower"], row["upper"], 4), str),
    "ROPE": ("rope", lambda v: f"±{number(v, 3)}"),
    "Mass in ROPE": ("rope_mass", probability),
    "Probability": ("probability", probability),
}


# --------------------------------------------------------------------------- effects


def _effects(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield _text(
        "Everything here is under {} and on the scale of probabilities, averaged over the "
        "rows. Panels have axes of their own, since the streams differ much in size.",
        code(study.main),
    )
    yield from _predicted(study, figures)
    for kind, words in _KINDS.items():
        yield from _kind(study, figures, kind, words)
    yield from _matrices(study, figures)


_KINDS = {
    "comparison": (
        "Differences",
        "Average differences of choice probabilities",
        "Average change of the predicted probability when a column goes from one value to "
        "another, with the other columns as they are.",
        "No column was compared.",
    ),
    "slope": (
        "Slopes",
        "Average slopes of choice probabilities",
        "Average change of the predicted probability per unit of a column, for a small change.",
        "No slope was asked for.",
    ),
}


def _predicted(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Predicted shares", "shares")
    table = study.table("shares")
    if table.empty:
        yield _absent("No shares were predicted.")
        return
    if set(table["by"].astype(str)) == {"all"}:
        yield html_table(
            table,
            _estimates({"Alternative": ("alternative", None)}, table),
            "Predicted shares, per cent",
            source="shares",
        )
        return
    for part in chunks(table, "by", "level"):
        figure = plots.estimates_plot(
            part,
            alternatives=study.alternatives,
            scale=plots.PERCENT,
            title="Predicted shares by group",
            interval=study.interval,
        )
        caption = "Average predicted probabilities, overall and by the groups of the study."
        yield figures.block(figure, caption, "shares", study.header("shares"))


def _kind(
    study: StudyFolder, figures: Numbered, kind: str, words: tuple[str, str, str, str]
) -> Iterator[Block]:
    heading, title, caption, absent = words
    yield Heading(heading, kind)
    table = study.table("effects", kind=kind)
    if table.empty:
        yield _absent("{}", absent)
        return
    header = study.header(kind)
    scale = plots.scale_of(header.get("unit", ""), plots.POINTS)
    for part in chunks(table.assign(_all=""), "_all", "variable"):
        figure = plots.effects_plot(
            part,
            alternatives=study.alternatives,
            scale=scale,
            title=title,
            interval=study.interval,
        )
        yield figures.block(figure, caption, "effects", header)
    names: Layout = {
        "Column": ("variable", None),
        "Change": (lambda row: str(row["contrast"]).replace("dP/dx", "per unit"), None),
        "Alternative": ("alternative", None),
    }
    yield html_table(
        table,
        _estimates(names, table, scale.factor),
        f"{heading}, {scale.unit}",
        source="effects",
        folded=True,
    )


def _estimates(names: Layout, table: pd.DataFrame, factor: float = 100) -> dict[str, Any]:
    """A layout that ends in estimate and interval, in units of 1/factor."""
    digits = digits_for(factor * (table["upper"] - table["lower"]) / 4)
    return {
        **names,
        "Estimate": (lambda row: number(factor * row["estimate"], digits), str),
        "Interval": (
            lambda row: bracket(factor * row["lower"], factor * row["upper"], digits),
            str,
        ),
    }


def _matrices(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Networks, own and other", "networks")
    found = families(study)
    if not found:
        yield _absent(
            "The study asks for no effects of a network of each stream, such as {} and {}.",
            code("network_internal"),
            code("network_international"),
        )
        return
    for family in found:
        header = study.header(family.kind)
        yield figures.block(
            plots.network_plot(
                family.effects,
                family.columns,
                scale=plots.scale_of(header.get("unit", ""), plots.POINTS),
                title=_matrix_title(family.prefix),
                interval=study.interval,
            ),
            Markup(
                "Rows: whose probability is higher or lower; columns: with which column it is. "
                "Shaded: a stream's own column. Panels of a row share an axis. Filled points: "
                "the interval leaves out zero."
            ),
            "effects",
            header,
        )


def _matrix_title(prefix: str) -> str:
    words = "networks" if prefix == "network" else f"the columns {prefix}_…"
    return f"Own and cross effects of {words}"


# ------------------------------------------------------------------------- scenarios


def _scenarios(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    if not study.scenarios or "scenarios" not in study.tables:
        yield _absent("The study asks for no scenarios.")
        return
    yield _text(
        "Each scenario lets the same rows choose again in a changed world, draw by draw under "
        "{}, and subtracts what they choose in the world as it is. Static: networks, earlier "
        "moves and prices do not react. This is no forecast.",
        code(study.main),
    )
    for scenario in study.scenarios:
        yield from _scenario(study, figures, scenario)
    yield from _diversion(study, figures)


def _scenario(
    study: StudyFolder, figures: Numbered, scenario: Mapping[str, Any]
) -> Iterator[Block]:
    name = str(scenario.get("name"))
    title = str(scenario.get("title") or name)
    yield Heading(title, f"scenario-{study.scenarios.index(scenario) + 1}")
    if description := " ".join(str(scenario.get("description", "")).split()):
        yield _text("{}", description)
    yield Facts(
        (
            ("Scenario", code(name)),
            ("Interventions", "; ".join(map(str, scenario.get("interventions", ())))),
        )
    )
    for warning in scenario.get("warnings", ()):
        yield Prose(Markup("{}").format(warning), "caution")
    table = study.table("scenarios", scenario=name)
    if table.empty:
        yield _absent("The study holds no results of this scenario.")
        return
    whole = table[table["by"].astype(str) == "all"]
    if len(whole):
        yield html_table(
            _wide(whole),
            _WIDE,
            f"Average shares, per cent, with {study.interval}",
            source="scenarios",
        )
    header = {str(k): str(v) for k, v in scenario.get("header", {}).items()}
    for part in chunks(table, "by", "level"):
        figure = plots.scenario_plot(
            part,
            alternatives=study.alternatives,
            title=f"{title}: scenario minus baseline",
            interval=study.interval,
        )
        caption = "Change of the average predicted share, overall and by group."
        # The header's unit is that of the shares; the figure shows their differences.
        yield figures.block(figure, caption, "scenarios", {**header, "unit": ""})


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """One row per alternative, a column of text per quantity."""
    rows = []
    for alternative, part in table.groupby("alternative", sort=False):
        digits = digits_for(25 * (part["upper"] - part["lower"]))
        row: dict[str, Any] = {"alternative": alternative}
        for cell in part.to_dict("records"):
            x, low, high = (100 * cell[k] for k in ("estimate", "lower", "upper"))
            sign = cell["quantity"] == "difference"
            row[cell["quantity"]] = f"{number(x, digits, sign=sign)} {bracket(low, high, digits)}"
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=["alternative", "baseline", "scenario", "difference"])


_WIDE: Layout = {
    "Alternative": ("alternative", None),
    "Baseline": ("baseline", str),
    "Scenario": ("scenario", str),
    "Difference, points": ("difference", str),
}


def _diversion(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Diversion", "diversion")
    table = study.table("diversion")
    if table.empty:
        yield _absent("No scenario takes choosers away from an alternative.")
        return
    drawn = table[table["estimate"].notna()]
    if len(drawn):
        yield figures.block(
            plots.diversion_plot(drawn, interval=study.interval),
            "Of those who leave the first alternative, the share that turns to the second. "
            "Independence of irrelevant alternatives (IIA) would send them in proportion to "
            "the shares of what is left; the distance from it comes from who leaves.",
            "diversion",
        )
    layout: dict[str, Any] = {
        "Scenario": ("scenario", None),
        "From": ("source", None),
        "To": ("target", None),
        "Per cent": (lambda r: number(100 * r["estimate"], 1), str),
        "Interval": (lambda r: bracket(100 * r["lower"], 100 * r["upper"], 1), str),
        "Under IIA": (lambda r: number(100 * r["iia_estimate"], 1), str),
        "Interval under IIA": (
            lambda r: bracket(100 * r["iia_lower"], 100 * r["iia_upper"], 1),
            str,
        ),
    }
    if "note" in table and table["note"].astype(bool).any():
        layout["Note"] = ("note", None)
    yield html_table(table, layout, "Diversion ratios", source="diversion", folded=True)


# ------------------------------------------------------------------------ provenance


def _provenance(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    results = study.results
    survey = results.get("survey", {})
    versions = results.get("versions", {})
    yield Facts(
        (
            ("Seed", results.get("seed", "")),
            ("Computed", results.get("created", "")),
            ("Main theory", code(study.main)),
            ("Survey fingerprint", code(survey.get("fingerprint", ""))),
            ("Versions", ", ".join(f"{k} {v}" for k, v in versions.items())),
        )
    )
    if study.theories:
        layout: Layout = {
            "Theory": ("name", None),
            "Route": ("route", None),
            "Sampling": ("seconds", seconds),
            "Design fingerprint": (
                lambda r: code(str(r["design"])[:16]) if r["design"] else "–",
                None,
            ),
            "Weights": ("weights_note", None),
        }
        keys = ("name", "route", "seconds", "design", "weights_note")
        rows = [
            {k: t.get(k, float("nan") if k == "seconds" else "") for k in keys}
            for t in study.theories
        ]
        yield html_table(pd.DataFrame(rows), layout, "How each theory was fitted")
    yield from _parameters(study)
    files = [f"tables/{name}.csv" for name in study.tables]
    yield _text(
        "Every number of this page is in one of these files, beside their exact twins in "
        "parquet: {}. Checksums of all files are in manifest.json.",
        ", ".join(files),
    )


def _parameters(study: StudyFolder) -> Iterator[Block]:
    table = study.table("parameters", theory=study.main)
    names = table["parameter"].astype(str)
    shown = table[~names.str.startswith(("u_", "z_"))].head(MOST_PARAMETERS)
    if shown.empty:
        return
    yield html_table(
        shown,
        {
            "Parameter": ("parameter", None),
            "Mean": ("mean", lambda v: number(v, 3)),
            "SD": ("sd", lambda v: number(v, 3)),
            "Interval": (lambda r: bracket(r["lower"], r["upper"], 3), str),
            "R-hat": ("r_hat", lambda v: number(v, 3)),
            "Bulk ESS": ("ess_bulk", lambda v: number(v, 0)),
            "Tail ESS": ("ess_tail", lambda v: number(v, 0)),
        },
        Markup("Parameters of {} ({} of {}; the others are group effects or further on)").format(
            code(study.main), count(len(shown)), count(len(table))
        ),
        source="parameters",
        folded=True,
    )
