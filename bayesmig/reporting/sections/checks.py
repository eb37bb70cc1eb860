"""Whether the models hold: convergence, reproduced shares, calibration, priors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from markupsafe import Markup

from bayesmig import plots
from bayesmig.plots.numbers import number, probability
from bayesmig.reporting.blocks import Block, Heading, Layout, absent, html_table, prose
from bayesmig.reporting.figures import Numbered, chunks, wanted_breakdowns
from bayesmig.reporting.folder import StudyFolder
from bayesmig.reporting.words import (
    badge,
    beside_overlap,
    beside_sensitive,
    bracket,
    code,
    count,
    listed,
    seconds,
    verdict,
)

#: Figures of breakdowns; all of them are in the table.
MOST_FIGURES = 2
REPLICATED = "central 95 % of replicated surveys"


def blocks(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    """Whether the models hold: convergence, reproduced shares, calibration, priors."""
    yield prose(
        "Three questions come before any result: whether the computation can be trusted, "
        "whether a theory can reproduce the survey that it was fitted to, and whether its "
        "probabilities mean what they say."
    )
    if "checks" in study.tables:
        layout: Layout = {
            "Theory": ("theory", None),
            "Check": ("check", None),
            "Result": (lambda row: badge(verdict(row["passed"], row["text"])), None),
            "What was found": ("text", None),
        }
        table = study.table("checks")
        failed = table["passed"].map(verdict) == "failed"
        table = pd.concat([table[failed], table[~failed]])
        yield html_table(table, layout, "All checks, failures first", source="checks")
    else:
        yield absent("The study holds no table of checks.")
    yield from _convergence(study, figures)
    yield from _reproduced(study, figures)
    yield from _crossed(study, figures)
    yield from _batteries(study, figures)
    yield from _clustering(study, figures)
    yield from _calibration(study, figures)
    yield from _reliability(study, figures)
    yield from _influence(study, figures)
    yield from _prior(study, figures)
    yield from _sensitivity(study, figures)
    yield from _rehearsal(study, figures)


def _convergence(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Convergence", "convergence")
    table = study.table("convergence")
    if table.empty:
        yield absent("The study holds no table of convergence.")
        return
    parameters = study.tables.get("parameters")
    yield figures.block(
        plots.convergence_plot(table, parameters),
        "R-hat compares the chains of a parameter and should be at most 1.01; the effective "
        "sample size (ESS) says how many independent draws its draws are worth, and should be "
        "at least 400. Weighted independent draws have no chains to compare: there the Pareto k of "
        f"their weights should be below 0.5. {_shaded(table, parameters)}",
        "convergence" if parameters is None else "parameters",
    )
    layout: Layout = {
        "Theory": ("theory", None),
        "Result": (lambda row: badge(verdict(row["passed"])), None),
        "Parameters": ("parameters", count),
        "R-hat, largest": ("r_hat_max", lambda v: number(v, 4)),
        "Bulk ESS, least": ("ess_bulk_min", lambda v: number(v, 0)),
        "Tail ESS, least": ("ess_tail_min", lambda v: number(v, 0)),
        "Divergences": ("divergences", count),
        "E-BFMI, least": ("bfmi_min", number),
        "Pareto k": ("pareto_k", number),
        "Sampling": ("seconds", seconds),
    }
    yield html_table(table, layout, "Convergence by theory", source="convergence")
    if compiled := [code(t.get("name")) for t in study.theories if t.get("compiled")]:
        yield prose(
            "The time of {} is in large part that of compiling machine code, which an "
            "installation does once.",
            listed(compiled),
        )


def _shaded(convergence: pd.DataFrame, parameters: pd.DataFrame | None) -> str:
    """What the shaded distributions are of: tables may leave out group effects."""
    if parameters is None:
        return "Points: the worst of all parameters, group effects included."
    listed, known = len(parameters), int(convergence["parameters"].sum())
    of = f"{listed:,} of {known:,} parameters" if listed < known else "all parameters"
    return f"Shaded: {of}; points: the worst of all, group effects included."


def _reproduced(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Observed and predicted shares", "predictive")
    table = study.table("predictive_shares")
    if table.empty:
        yield absent("The study holds no predicted shares to compare with the observed ones.")
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
        yield absent("Shares were not broken down by any column.")
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
        yield prose(
            "Not drawn, but in the table: {}. Columns where a check fails are drawn first.",
            ", ".join(left),
        )


def _crossed(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    table = study.table("crossed_shares", theory=study.main)
    if table.empty:
        return
    yield Heading("Shares by two columns at once", "crossed")
    for by in plots.failing_pairs(table):
        yield figures.block(
            plots.crossed_plot(table[table["by"] == by], alternatives=study.alternatives),
            Markup(
                "Observed minus predicted shares in the cells of two columns under {}, in "
                "percentage points. Framed: outside of the central 95 % of replicated surveys. "
                "Drawn are pairs that fail, or the one that comes closest to it. Where neither "
                "column fails alone, a product of the two is left out."
            ).format(code(study.main)),
            "crossed_shares",
        )


#: Table -> heading, what is drawn, and what is said of it.
_BATTERIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "composition": (
        "Who the choosers are",
        {
            "group": None,
            "label": "column",
            "standardised": True,
            "title": "Means of columns among those who chose each alternative",
        },
        "From the mean of replicated surveys, in standard deviations (SD) of them: columns have "
        "units of their own, which the table keeps.",
    ),
    "origin_dispersion": (
        "How much origins differ",
        {
            "group": None,
            "label": "statistic",
            "standardised": True,
            "title": "Spread of the shares of origins, and its shape",
        },
        "Replicated surveys have new origins, where the theory gives these effects. A mean "
        "absolute deviation that is small beside the standard deviation says that a few origins "
        "are far from all others.",
    ),
    "spatial": (
        "Whether near origins are alike",
        {
            "group": None,
            "label": "statistic",
            "standardised": True,
            "title": "Moran’s coefficient of what the theory leaves over in origins",
        },
        "High where origins resemble their neighbours more than the theory has it. Replicated "
        "surveys have new origins, where the theory gives these effects.",
    ),
    "household_streams": (
        "Households with several movers",
        {
            "group": None,
            "label": "streams",
            "alternative": None,
            "title": "Shares of households with movers of two streams, or two of one",
        },
        "Of households with several members. Where these move together more than the theory has "
        "it, something that they share is left out.",
    ),
    "transitions": (
        "What is chosen after what",
        {
            "group": None,
            "label": "before",
            "alternative": "now",
            "before": "after ",
            "title": "Shares of choices, by the choice of the period before",
        },
        "One step ahead, from the choices that were observed in the period before.",
    ),
}


def _batteries(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    for name, (heading, how, caption) in _BATTERIES.items():
        table = study.table(name, theory=study.main)
        if table.empty:
            continue
        yield Heading(heading, name)
        yield figures.block(
            plots.battery_plot(table, alternatives=study.alternatives, **how),
            f"Under {study.main}. Line: {REPLICATED}. {caption}",
            name,
        )


def _reliability(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    table = study.table("reliability", theory=study.main)
    if table.empty:
        return
    yield Heading("Reliability, each row left out", "reliability")
    yield figures.block(
        plots.reliability_plot(table, alternatives=study.alternatives),
        Markup(
            "Probabilities that all other rows give to each alternative under {} "
            "(leave-one-out), and an increasing curve through what was chosen (isotonic "
            "regression). Grey: where the curves of 95 % of surveys lie that are drawn from these "
            "very probabilities. Strokes: cells of equally many rows; between the dotted lines lie "
            "80 % of them."
        ).format(code(study.main)),
        "reliability",
    )


def _influence(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    table = study.table("influential_origins", theory=study.main)
    if table.empty:
        return
    yield Heading("Influential origins", "influential")
    yield figures.block(
        plots.influence_plot(table),
        "How far the draws would have to move if all rows of an origin were left out (Pareto k "
        "of the weights). Effects that rest upon an origin's own rows are integrated out.",
        "influential_origins",
    )


def _rehearsal(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("What this survey could decide", "rehearsal")
    table, worlds = study.table("rehearsal"), study.table("rehearsal_worlds")
    if table.empty:
        yield absent(
            "The survey was not rehearsed: whether it could decide the hypotheses at all is not "
            "known. A table {} in the study file asks for it.",
            code("[rehearsal]"),
        )
        return
    yield prose("{}", str(study.results.get("texts", {}).get("rehearsal", "")))
    yield figures.block(
        plots.rehearsal_plot(worlds, table),
        "Each mark is a simulated survey: the rows of this one, choices drawn anew. Blue dots: "
        "the hypothesis holds in it; orange triangles: it does not. Right: in how many of the "
        "marks of a line the fit decides so, and in how many the other way round, with 95 % "
        "intervals of so many surveys (Wilson’s). Surveys that were drawn because another "
        "hypothesis still lacked some of its kind are a selection; a line has none of them.",
        "rehearsal_worlds",
        study.header("rehearsal"),
    )
    layout: Layout = {
        "Hypothesis": ("hypothesis", None),
        "In truth it": ("truth", None),
        "Surveys": ("worlds", count),
        "Pr(H), mean": ("probability", number),
        "± (Monte Carlo)": ("probability_error", number),
        "Rightly decided": ("rightly", number),
        "95 % of that": (lambda r: bracket(r["rightly_lower"], r["rightly_upper"], 2), str),
        "Wrongly": ("wrongly", number),
        "95 % of this": (lambda r: bracket(r["wrongly_lower"], r["wrongly_upper"], 2), str),
        "Can it tell?": ("can", None),
    }
    caption = "What simulated surveys say of each hypothesis, by what is true in them"
    yield html_table(table, layout, caption, source="rehearsal", folded=True)


def _clustering(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    table = study.table("clustering", theory=study.main)
    if table.empty:
        return
    layout: Layout = {
        "Groups": ("by", None),
        "How many": ("groups", count),
        "Alternative": ("alternative", None),
        "Gap": ("observed", _points),
        "Gap in replicated surveys": ("predicted", _points),
        "95 % of them": (lambda r: bracket(100 * r["lower"], 100 * r["upper"], 2), str),
        "p-value": ("p_value", probability),
        "Adjusted": ("p_adjusted", probability),
        "Fitted": (lambda r: "yes" if r.get("fitted") else "no", None),
    }
    caption = Markup("Are choices within groups more alike than {} says? Percentage points").format(
        code(study.main)
    )
    yield Heading("Clustering", "clustering")
    yield prose(
        "The gap is the root mean square distance between the shares of groups and those that "
        "the theory expects there; the p-value is the share of replicated surveys whose gap is at "
        "least as large. Only a small p-value counts against the theory: something that the "
        "group shares is left out. Where the theory fits effects of the groups (or of groups "
        "within them) to these very shares, the survey lies closer to them than surveys "
        "replicated around them, and p is near one."
    )
    yield figures.block(
        plots.battery_plot(
            table,
            group=None,
            label="by",
            standardised=True,
            alternatives=study.alternatives,
            title="Gaps between groups that the theory does not expect",
        ),
        f"Under {study.main}. Line: {REPLICATED}, in standard deviations of them.",
        "clustering",
    )
    yield html_table(table, layout, caption, source="clustering", folded=True)


def _points(share: float) -> str:
    return number(100 * share, 2)


def _calibration(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("Calibration", "calibration")
    table = study.table("calibration", theory=study.main)
    if table.empty:
        yield absent("Calibration was not checked for {}.", code(study.main))
        return
    yield figures.block(
        plots.calibration_plot(table, alternatives=study.alternatives),
        Markup(
            "Rows of {} in bins alike in what their columns say, effects of groups left out of "
            "the sorting: the share that chose the alternative should lie near the diagonal, "
            "within the line for about 19 bins of 20. Hollow: too far off, all bins considered "
            "together."
        ).format(code(study.main)),
        "calibration",
    )


def _prior(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    yield Heading("What the priors allow", "prior")
    table = study.table("prior_shares")
    if table.empty:
        yield absent("Prior predictive shares were not computed.")
        return
    drawn = table.rename(columns={"mean": "predicted"}).assign(by="all", level="all")
    interval = "central 99 % of prior predictions"
    title = "Shares that the priors allow, before any choice is seen"
    yield figures.block(
        plots.shares_plot(drawn, alternatives=study.alternatives, title=title, interval=interval),
        "A prior should allow the observed shares without being sure of them.",
        "prior_shares",
    )
    groups = study.table("prior_group_shares", theory=study.main)
    wanted = [by for by in wanted_breakdowns(study) if by in set(groups["by"].astype(str))]
    if wanted:
        rows = [groups[groups["by"].astype(str) == by] for by in wanted]
        part = next(chunks(pd.concat(rows), "by", "level"))
        yield figures.block(
            plots.shares_plot(
                part.rename(columns={"mean": "predicted"}),
                alternatives=study.alternatives,
                title="The same by group: are there any of whose choices the prior is sure?",
                interval=interval,
            ),
            Markup("Shares that the priors of {} allow in groups of rows.").format(
                code(study.main)
            ),
            "prior_group_shares",
        )


def _sensitivity(study: StudyFolder, figures: Numbered) -> Iterator[Block]:
    table = study.table("prior_sensitivity", theory=study.main)
    if table.empty:
        return
    layout: Layout = {
        "Parameter": ("parameter", None),
        "Overlap with the prior": ("overlap", beside_overlap),
        "Sensitivity to the prior": ("prior_sensitivity", beside_sensitive),
        "Sensitivity to the likelihood": ("likelihood_sensitivity", beside_sensitive),
        "Prior and data": ("identification", None),
    }
    yield Heading("What the prior says of parameters", "sensitivity")
    yield prose(
        "Where a parameter’s distributions before and after the data overlap by 0.7 or more, the "
        "data added little. Sensitivity is how far the posterior moves when the prior, or the "
        "likelihood, is raised to a power; from 0.05 on it matters. A parameter that the prior "
        "moves and the likelihood does not is said by the prior; one that both move, and whose "
        "overlap is below 0.5, may be one about which they disagree. Of groups, the priors of "
        "scales and correlations are scaled, not the distribution of their effects."
    )
    if table[["prior_sensitivity", "likelihood_sensitivity"]].notna().all(axis=1).any():
        yield figures.block(
            plots.sensitivity_plot(table),
            Markup(
                "Parameters of {} of which both are known; effects of groups are left out."
            ).format(code(study.main)),
            "prior_sensitivity",
        )
    caption = Markup("Prior and data in {}, the most doubtful first").format(code(study.main))
    yield html_table(table, layout, caption, source="prior_sensitivity", folded=True)
