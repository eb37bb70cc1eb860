"""Figures of checks: what is on them, and that nothing lies on anything else."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from bayesmig import plots
from bayesmig.checks import CheckResult, check
from bayesmig.model_comparison import EvidenceRatio
from bayesmig.sbc import of_ranks
from bayesmig.sensitivity import SENSITIVE
from tests.checks.worlds import laplace
from tests.fabricate import small_design, small_survey
from tests.plots.test_plots import collisions, words
from tests.test_sbc import table as ranks_table


@pytest.fixture(scope="module")
def results() -> dict[str, CheckResult]:
    """A theory that leaves out wealth, schooling and origins."""
    survey = small_survey(900, seed=1, origins=30)
    posterior = laplace(small_design("female", survey=survey, groups=[]), survey=survey)
    found = check(posterior, draws=200, prior=False)
    return {str(r.table.attrs["table"]): r for r in found}


def text_of(figure: Figure) -> str:
    return " | ".join(t.get_text() for t in words(figure))


def test_composition(results: dict[str, CheckResult]) -> None:
    table = results["composition"].table
    figure = plots.battery_plot(
        table, group=None, label="column", standardised=True, title="Who the choosers are"
    )
    assert not collisions(figure)
    said = text_of(figure)
    failed = table.loc[table["p_adjusted"] <= 0.05, "column"].unique()
    assert len(failed)
    assert {s.removesuffix(" ✗") for s in said.split(" | ") if s.endswith(" ✗")} == set(failed)
    assert "SD of replicates" in said
    assert {"internal", "international"} <= set(said.split(" | "))


def test_streams_of_households_have_one_panel(results: dict[str, CheckResult]) -> None:
    figure = plots.battery_plot(
        results["household_streams"].table,
        group=None,
        label="streams",
        alternative=None,
        title="Households",
    )
    assert not collisions(figure)
    said = text_of(figure).split(" | ")
    assert "all" not in said
    assert "per cent" in said


def test_crossed_shares_show_every_cell(results: dict[str, CheckResult]) -> None:
    table = results["crossed_shares"].table
    [by, *_] = plots.failing_pairs(table)
    part = table[table["by"] == by]
    figure = plots.crossed_plot(part)
    assert not collisions(figure)
    numbers = [t.get_text() for t in words(figure) if t.get_text()[0] in "+−0"]
    assert len(numbers) >= len(part) - len(set(part["level"]))
    first, second = by.split(" × ")
    assert first in text_of(figure)
    assert second in text_of(figure)


def test_pairs_that_fail_come_first() -> None:
    table = pd.DataFrame({"by": ["a × b", "c × d", "e × f"], "p_adjusted": [0.5, 0.01, 0.03]})
    assert plots.failing_pairs(table) == ["c × d", "e × f"]
    assert plots.failing_pairs(table.assign(p_adjusted=[0.5, 0.6, 0.4])) == ["e × f"]


def test_reliability_and_influence(results: dict[str, CheckResult]) -> None:
    assert not collisions(plots.reliability_plot(results["reliability"].table))
    table = results["influential_origins"].table
    figure = plots.influence_plot(table)
    assert not collisions(figure)
    assert str(table["origin"][0]) in text_of(figure)


def test_clustering(results: dict[str, CheckResult]) -> None:
    """Origins differ, which the theory leaves out."""
    figure = plots.battery_plot(
        results["clustering"].table, group=None, label="by", standardised=True, title="Gaps"
    )
    assert not collisions(figure)
    assert "origin ✗" in text_of(figure).replace("  ", " ")


def test_sensitivities_are_drawn_where_both_are_known() -> None:
    table = pd.DataFrame(
        {
            "parameter": ["beta[female, internal]", "sigma_origin[internal, asc]", "corr", "beta"],
            "prior_sensitivity": [0.004, 0.31, 0.002, 0.0],
            "likelihood_sensitivity": [0.2, 0.03, np.nan, 0.11],
        }
    )
    figure = plots.sensitivity_plot(table)
    assert not collisions(figure)
    assert "sigma_origin[internal, asc]" in text_of(figure)
    assert "beta[female, internal]" not in text_of(figure)
    drawn = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert [len(line.get_xdata()) for line in drawn] == [2, 1]
    assert "mathdefault" not in text_of(figure)
    assert plots.checks.SENSITIVE == SENSITIVE


def test_evidence_is_drawn_over_the_width_of_the_prior() -> None:
    summary = pd.DataFrame(
        {
            "prior_scale": [0.5, 1.0, 2.0],
            "log_ratio": [-0.2, 0.4, np.nan],
            "error": [0.05, 0.04, np.nan],
            "pareto_k": [0.1, np.nan, 0.9],
        }
    )
    answer = EvidenceRatio("beta[urban, international]", 0.0, summary, "In words.")
    figure = plots.plot(answer)
    assert not collisions(figure)
    assert "Evidence that beta[urban, international] is 0" in text_of(figure)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0.5", "1"]


def test_dispersion_and_space(results: dict[str, CheckResult]) -> None:
    for kind, label in (("origin_dispersion", "statistic"), ("spatial", "statistic")):
        figure = plots.battery_plot(
            results[kind].table, group=None, label=label, standardised=True, title="Origins"
        )
        assert not collisions(figure)


def test_labels_of_many_cells_stay_apart_and_far_cells_are_framed() -> None:
    edges = ["-2.83 to -0.887", "-0.887 to -0.323", "-0.323 to 0.199", "0.199 to 0.849"]
    levels = [f"{a} × {b}" for a in edges for b in [*edges, "0.849 to 3.73"]]
    table = pd.DataFrame(
        [
            {
                "by": "education × wealth",
                "level": level,
                "alternative": a,
                "observed": 0.2 + 0.01 * i,
            }
            for i, level in enumerate(levels)
            for a in ("stay", "internal", "international")
        ]
    ).assign(predicted=0.3, lower=0.1, upper=0.35)
    figure = plots.crossed_plot(table)
    assert not collisions(figure)
    outside = (table["observed"] > 0.35).sum()
    frames = [p for ax in figure.axes for p in ax.patches if isinstance(p, Rectangle)]
    assert len(frames) == outside > 0


def test_the_key_shows_the_marks_of_the_panels(results: dict[str, CheckResult]) -> None:
    figure = plots.battery_plot(
        results["origin_dispersion"].table,
        group=None,
        label="statistic",
        standardised=True,
        title="Origins",
    )
    legend = figure.axes[0].get_legend()
    assert legend is not None
    marks = {line.get_marker() for line in legend.findobj(Line2D)}
    panels = {
        line.get_marker()
        for ax in figure.axes[1:]
        for line in ax.lines
        if line.get_marker() != "None"
    }
    assert panels <= marks


def test_a_rehearsal_shows_both_truths() -> None:
    rng = np.random.default_rng(0)
    worlds = pd.DataFrame(
        {
            "hypothesis": np.repeat(["wealth_selects_international", "own_networks_pull"], 40),
            "holds": np.tile([True, False], 40),
            "probability": rng.beta(0.5, 0.5, 80),
        }
    )
    rows = [
        {
            "hypothesis": h,
            "truth": t,
            "worlds": n,
            "rightly": 0.82,
            "rightly_lower": 0.61,
            "rightly_upper": 0.93,
            "wrongly": 0.0,
            "wrongly_lower": 0.0,
            "wrongly_upper": 0.16,
        }
        for h, n in (("wealth_selects_international", 20), ("own_networks_pull", 0))
        for t in ("holds", "does not hold")
    ]
    figure = plots.rehearsal_plot(worlds, pd.DataFrame(rows))
    assert not collisions(figure)
    said = text_of(figure)
    assert "82 % [61, 93]" in said and "0 % [0, 16]" in said
    assert "no such truth was drawn" in said


def test_ranks_that_leave_their_band_are_marked() -> None:
    uniform = np.random.default_rng(1).random((80, 20))
    uniform[:, 7] = uniform[:, 7] ** 2
    figure = plots.ecdf_plot(of_ranks(ranks_table(uniform)).ecdf)
    assert not collisions(figure)
    said = text_of(figure).split(" | ")
    assert "p7  ✗" in said
    assert sum(s.endswith("✗") for s in said) == 1
