"""Figures: what is on them, and that nothing lies on anything else."""

import re
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from bayesmig import plots
from bayesmig.errors import QuestionError
from bayesmig.plots.numbers import digits_for, number, probability
from bayesmig.plots.style import PERCENT, POINTS, looks, scale_of, wrapped
from tests.reporting.studyfolder import ALTERNATIVES, made_up_tables

STREAMS = ("internal", "international")
NETWORKS = {stream: f"network_{stream}" for stream in STREAMS}


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return made_up_tables()


def words(figure: Figure) -> list[Text]:
    """Every word on a figure, laid out (once)."""
    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure).draw()
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    # Ticks beyond the limits keep their words but are not drawn.
    drawn = {id(t) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for t in ticks_of(axis)}
    ticks = {
        id(t)
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for t in axis.get_ticklabels(which="both")
    }
    return [t for t in texts if id(t) not in ticks or id(t) in drawn]


def ticks_of(axis: object) -> list[Text]:
    if not axis.axes.axison:  # type: ignore[attr-defined]
        return []
    low, high = sorted(axis.get_view_interval())  # type: ignore[attr-defined]
    return [
        tick.label1
        for tick in axis.get_major_ticks()  # type: ignore[attr-defined]
        if low <= tick.get_loc() <= high
    ]


def collisions(figure: Figure) -> list[str]:
    """Words that leave the figure or lie on other words, with a pixel of tolerance."""
    texts = words(figure)
    boxes = [t.get_window_extent().padded(-1) for t in texts]
    width, height = figure.bbox.size
    found = [
        f"{t.get_text()!r} leaves the figure"
        for t, b in zip(texts, boxes, strict=True)
        if b.x0 < -1 or b.y0 < -1 or b.x1 > width + 1 or b.y1 > height + 1
    ]
    pairs = combinations(zip(texts, boxes, strict=True), 2)
    return found + [
        f"{a.get_text()!r} lies on {b.get_text()!r}" for (a, p), (b, q) in pairs if p.overlaps(q)
    ]


def texts_of(figure: Figure) -> list[str]:
    return [t.get_text() for t in words(figure)]


def panels(figure: Figure) -> dict[str, object]:
    return {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}


def markers(ax: object) -> int:
    """Points on a panel, strokes of observed values left out."""
    return sum(
        int(np.isfinite(line.get_xdata()).sum())
        for line in ax.lines  # type: ignore[attr-defined]
        if line.get_marker() not in ("None", None, "", "|")
    )


@pytest.fixture(scope="module")
def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    effects, shares = tables["effects"], tables["predictive_shares"]
    one = shares[(shares["theory"] == "networks") & (shares["by"] != "all")]
    scenario = tables["scenarios"][lambda t: t["scenario"] == "network_cut"]
    return {
        "overall": plots.shares_plot(shares[shares["by"] == "all"], alternatives=ALTERNATIVES),
        "shares": plots.shares_plot(one, alternatives=ALTERNATIVES),
        "calibration": plots.calibration_plot(
            tables["calibration"][lambda t: t["theory"] != "baseline"], alternatives=ALTERNATIVES
        ),
        "comparisons": plots.effects_plot(effects[effects["kind"] == "comparison"]),
        "networks": plots.network_plot(effects[effects["kind"] == "slope"], NETWORKS),
        "estimates": plots.estimates_plot(tables["shares"], scale=PERCENT, title="Shares"),
        "scenario": plots.scenario_plot(scenario),
        "diversion": plots.diversion_plot(tables["diversion"]),
        "convergence": plots.convergence_plot(tables["convergence"], tables["parameters"]),
        "comparison": plots.comparison_plot(tables["comparison"]),
        "hypotheses": plots.hypotheses_plot(tables["hypotheses"]),
    }


# ------------------------------------------------------------------------- every figure


def test_no_words_collide_or_are_cut(figures: dict[str, Figure]) -> None:
    found = {name: collisions(figure) for name, figure in figures.items()}
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_planted_collision_is_seen(tables: dict[str, pd.DataFrame]) -> None:
    figure = plots.comparison_plot(tables["comparison"])
    ax = figure.axes[0]
    ax.text(0.5, 0.5, "one", transform=ax.transAxes)
    ax.text(0.5, 0.5, "two", transform=ax.transAxes)
    figure.text(0.99, 0.5, "far too long for this place")
    found = "\n".join(collisions(figure))
    assert "'one' lies on 'two'" in found
    assert "leaves the figure" in found


def test_figures_change_no_settings(tables: dict[str, pd.DataFrame]) -> None:
    before = dict(mpl.rcParams)
    figure = plots.comparison_plot(tables["comparison"])
    plots.svg(figure, "a")
    figure._repr_png_()
    assert dict(mpl.rcParams) == before


def test_no_figure_is_made_through_pyplot() -> None:
    files = list(Path(plots.__file__).parent.glob("*.py"))
    assert len(files) > 5
    assert [f.name for f in files if re.search(r"import.*pyplot", f.read_text())] == []


def test_callers_settings_do_not_reach_figures(tables: dict[str, pd.DataFrame]) -> None:
    figure = plots.svg(plots.comparison_plot(tables["comparison"]), "a")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert plots.svg(plots.comparison_plot(tables["comparison"]), "a") == figure
        assert mpl.rcParams["font.size"] == 30


# ---------------------------------------------------------------------------------- svg


def test_svg_is_one_element_without_date_and_with_its_own_ids(
    tables: dict[str, pd.DataFrame],
) -> None:
    text = plots.svg(plots.comparison_plot(tables["comparison"]), "f7", 'elpd "of" <theories>')
    tree = ET.fromstring(text)
    assert tree.tag.endswith("svg")
    assert tree.get("role") == "img"
    assert tree.get("aria-label") == 'elpd "of" <theories>'
    ids = re.findall(r' id="([^"]*)"', text)
    assert ids
    assert all(i.startswith("f7-") for i in ids)
    for used in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text):
        assert "".join(used) in ids
    assert "<metadata" not in text
    assert "<text" in text


def test_svg_of_two_figures_share_no_ids(tables: dict[str, pd.DataFrame]) -> None:
    figure = plots.comparison_plot(tables["comparison"])
    first, second = (set(re.findall(r' id="([^"]*)"', plots.svg(figure, p))) for p in "ab")
    assert first
    assert not first & second


def test_svg_keeps_hostile_words_as_words(tables: dict[str, pd.DataFrame]) -> None:
    name = "<script>x</script> id=\"y\" $a_b$ & 'z'"
    table = tables["comparison"].replace({"networks": name})
    tree = ET.fromstring(plots.svg(plots.comparison_plot(table), "a"))
    texts = "".join("".join(t.itertext()) for t in tree.iter() if t.tag.endswith("text"))
    assert "<script>" in texts
    assert 'id="y"' in texts
    assert not [t for t in tree.iter() if t.tag.endswith("script")]


# ------------------------------------------------------------------------------- shares


def test_shares_have_a_panel_per_alternative_and_a_point_per_level(
    tables: dict[str, pd.DataFrame],
) -> None:
    table = tables["predictive_shares"]
    table = table[(table["theory"] == "networks") & (table["by"] == "education")]
    found = panels(plots.shares_plot(table, alternatives=ALTERNATIVES))
    assert list(found) == list(ALTERNATIVES)
    assert [markers(ax) for ax in found.values()] == [5, 5, 5]


def test_shares_are_drawn_where_they_are(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["predictive_shares"]
    table = table[(table["theory"] == "networks") & (table["by"] == "female")]
    ax = panels(plots.shares_plot(table))["internal"]
    rows = table[table["alternative"] == "internal"]
    drawn = {line.get_marker(): line.get_xdata() for line in ax.lines if len(line.get_xdata())}
    assert np.allclose(drawn["s"], 100 * rows["predicted"])
    assert np.allclose(drawn["|"], 100 * rows["observed"])


def long_table(levels: int, alternatives: tuple[str, ...] = ALTERNATIVES) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        {"theory": "a_theory_with_a_rather_long_name", "by": "district of origin (2014)"}
        | {"level": f"level {i} of_a_long_name_and_{'x' * 40}", "alternative": a}
        | {"observed": 0.1, "predicted": (x := rng.uniform(0, 0.2)), "lower": x - 0.02}
        | {"upper": x + 0.02, "rows": 123_456}
        for i in range(levels)
        for a in alternatives
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("levels", [1, 20])
def test_many_and_long_levels_stay_apart(levels: int) -> None:
    figure = plots.shares_plot(long_table(levels))
    assert collisions(figure) == []
    assert all(markers(ax) == levels for ax in panels(figure).values())


def test_many_alternatives_stand_below_each_other() -> None:
    names = ("air", "train", "bus", "car", "ship", "on foot")
    figure = plots.shares_plot(long_table(2, names))
    assert list(panels(figure)) == list(names)
    assert collisions(figure) == []


def test_missing_values_are_told() -> None:
    table = long_table(3)
    table.loc[0, ["lower", "upper"]] = np.nan
    table.loc[3, ["predicted", "lower", "upper"]] = np.nan
    figure = plots.shares_plot(table)
    assert texts_of(figure).count("n/a") == 1
    assert markers(panels(figure)["stay"]) == 2
    empty = table.assign(predicted=np.nan, lower=np.nan, upper=np.nan, observed=np.nan)
    assert sum(markers(ax) for ax in panels(plots.shares_plot(empty)).values()) == 0


def test_calibration_marks_bins_that_fail(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["calibration"][lambda t: t["theory"] == "networks"].assign(passed=True)
    hollow = [_hollow(plots.calibration_plot(t)) for t in (table, table.assign(passed=False))]
    assert hollow == [0, len(table)]
    assert _hollow(plots.calibration_plot(table.assign(passed=None))) == 0
    assert _hollow(plots.calibration_plot(table.assign(passed="failed"))) == len(table)


def _hollow(figure: Figure) -> int:
    return sum(
        len(line.get_xdata())
        for ax in figure.axes
        for line in ax.lines
        if line.get_marker() != "None" and line.get_markerfacecolor() == "white"
    )


# ------------------------------------------------------------------------------ effects


def test_hollow_points_have_intervals_with_zero() -> None:
    table = pd.DataFrame(
        {
            "variable": ["a", "b", "c"],
            "contrast": ["+1", "+1", "0 → 1"],
            "alternative": "internal",
            "estimate": [0.01, 0.01, -0.02],
            "lower": [0.005, -0.01, -0.03],
            "upper": [0.015, 0.03, -0.01],
        }
    )
    figure = plots.effects_plot(table)
    ax = panels(figure)["internal"]
    faces = {line.get_markerfacecolor(): len(line.get_xdata()) for line in ax.lines[1:]}
    assert faces["white"] == 1
    assert sum(faces.values()) == 3
    assert "percentage points" in texts_of(figure)
    assert "a +1" in texts_of(figure)
    assert "a  +1" not in texts_of(figure)


def test_networks_are_a_matrix_with_numbers(figures: dict[str, Figure]) -> None:
    figure = figures["networks"]
    shown = texts_of(figure)
    assert shown.count("outcome") == 2
    assert [t for t in shown if t.startswith("+3.12")]
    assert [t for t in shown if t.startswith("−0.11")]
    assert set(NETWORKS.values()) <= set(shown)
    cells = [ax for ax in figure.axes if ax.axison]
    assert len(cells) == 4
    assert cells[0].get_xlim() == cells[1].get_xlim() != cells[2].get_xlim()
    shaded = [ax.get_facecolor()[:3] != (1, 1, 1) for ax in cells]
    assert shaded == [True, False, False, True]


def test_network_cell_without_an_effect_says_so(tables: dict[str, pd.DataFrame]) -> None:
    effects = tables["effects"]
    table = effects[(effects["kind"] == "slope") & (effects["variable"] == "network_internal")]
    assert texts_of(plots.network_plot(table, NETWORKS)).count("n/a") == 2


def test_scenario_draws_differences_only(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["scenarios"]
    table = table[(table["scenario"] == "network_cut") & (table["by"] == "all")]
    (line,) = (li for li in panels(plots.scenario_plot(table))["international"].lines[1:2])
    wanted = table[(table["quantity"] == "difference") & (table["alternative"] == "international")]
    assert line.get_xdata() == pytest.approx(100 * wanted["estimate"].to_numpy())


# ----------------------------------------------------------------------------- theories


def test_convergence_tells_the_worst_and_who_fails() -> None:
    table = pd.DataFrame(
        {
            "theory": ["fine", "bad", "one chain"],
            "r_hat_max": [1.002, 1.31, np.nan],
            "ess_bulk_min": [900.0, 12, 500],
            "ess_tail_min": [800.0, 30, np.nan],
        }
    )
    figure = plots.convergence_plot(table)
    by_text = {t.get_text(): t.get_fontweight() for t in words(figure)}
    assert by_text["1.0020"] == by_text["900"] == "normal"
    assert by_text["1.31"] == by_text["12"] == by_text["30"] == "bold"
    assert texts_of(figure).count("n/a") == 2
    assert collisions(figure) == []


def test_comparison_puts_the_best_on_top_whatever_the_sign() -> None:
    table = pd.DataFrame(
        {
            "theory": ["worse", "best"],
            "elpd": [-110.0, -100.0],
            "elpd_diff": [10.0, 0.0],
            "diff_se": [4.0, 0.0],
            "weight": [0.1, 0.9],
        }
    )
    figure = plots.comparison_plot(table)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["best", "worse"]
    assert figure.axes[0].lines[-1].get_xdata() == pytest.approx([0, -10])
    assert any("−10.0 ± 4.0" in t for t in texts_of(figure))
    assert plots.comparison_plot(table.iloc[:1])


def test_hypotheses_show_joint_and_single_probabilities(figures: dict[str, Figure]) -> None:
    shown = texts_of(figures["hypotheses"])
    assert "“cross network substitution”" in shown
    assert "0.520" in shown
    assert ">\u00a00.999" in shown
    assert [t for t in shown if t.startswith("+1.02 pp")]
    assert [t for t in shown if t.startswith("+63 %")]


def test_a_hypothesis_in_which_the_prior_has_a_say_is_hollow(
    tables: dict[str, pd.DataFrame],
) -> None:
    table = tables["hypotheses"].drop_duplicates("hypothesis")
    weak = (table["joint_identification"] != "").to_numpy()
    left = plots.hypotheses_plot(table).axes[0]
    diamonds = [line for line in left.lines if line.get_marker() == "D"]
    assert [d.get_markerfacecolor() == "white" for d in diamonds] == list(weak)
    assert 0 < sum(weak) < len(weak)
    assert "hollow" in left.get_xlabel()
    assert "hollow" not in plots.hypotheses_plot(table[~weak]).axes[0].get_xlabel()


def test_a_hypothesis_that_cannot_be_computed_is_drawn_as_such(
    tables: dict[str, pd.DataFrame],
) -> None:
    table = tables["hypotheses"].copy()
    numbers = ["estimate", "lower", "upper", "probability", "joint_probability", "rope_mass"]
    table.loc[:, numbers] = np.nan
    figure = plots.hypotheses_plot(table)
    FigureCanvasAgg(figure).draw()
    left = list(figure.axes[0].texts)
    assert {t.get_text() for t in left} == {"n/a"}
    assert all(np.isfinite(t.xy).all() for t in left)


def test_axes_of_estimands_bear_their_ends(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["hypotheses"].iloc[[0]].assign(lower=0.355, estimate=0.63, upper=0.904)
    shown = texts_of(plots.hypotheses_plot(table))
    assert "−100" in shown
    assert "+100" in shown
    nothing = table.assign(estimate=np.nan, lower=np.nan, upper=np.nan, rope=0.0)
    assert "+1" in texts_of(plots.hypotheses_plot(nothing))


@pytest.mark.parametrize("largest", [500.0, 5_000.0, 9_000.0, 200_000.0])
def test_thresholds_are_ticked(tables: dict[str, pd.DataFrame], largest: float) -> None:
    table = tables["convergence"].assign(ess_bulk_min=largest, ess_tail_min=largest)
    for ax in plots.convergence_plot(table).axes[1:]:
        ticks = [t.get_text() for t in ax.get_xticklabels()]
        assert "400" in ticks
        assert len(ticks) == len(set(ticks))


# ------------------------------------------------------------------------------- answers


def answer(**columns: object) -> SimpleNamespace:
    table = pd.DataFrame(columns).assign(estimate=0.1, sd=0.01, lower=0.08, upper=0.12, rows=10)
    header = {"unit": "probability", "interval": "95 % HDI", "theory": "networks"}
    return SimpleNamespace(summary=table, header=header, question="Average choice probabilities")


def test_plot_draws_predictions_by_two_columns() -> None:
    found = answer(education=["low", "high"] * 2, female=[0, 0, 1, 1], alternative="internal")
    shown = texts_of(plots.plot(found))
    assert {"by education, female", "low, 0", "high, 1", "per cent"} <= set(shown)
    assert "Average choice probabilities (networks)" in shown
    assert "estimate, 95 % HDI" in shown


def test_plot_draws_contrasts_in_their_unit() -> None:
    found = answer(variable="female", contrast="0 → 1", alternative=list(ALTERNATIVES))
    found.header["unit"] = "ratio of average probabilities"
    shown = texts_of(plots.plot(found, alternatives=["internal", "international"]))
    assert "ratio of probabilities" in shown
    assert "stay" not in shown
    assert "interval includes 1" in shown


def test_plot_draws_counterfactuals_comparisons_and_tests(tables: dict[str, pd.DataFrame]) -> None:
    found = answer(quantity=["baseline", "scenario", "difference"], alternative="internal")
    assert "percentage points" in texts_of(plots.plot(found))
    assert "best\nstacking weight 0.94" in texts_of(
        plots.plot(SimpleNamespace(summary=tables["comparison"]))
    )
    columns = ["part", "estimate", "lower", "upper", "rope", "rope_mass", "probability"]
    test = SimpleNamespace(
        summary=tables["hypotheses"].loc[[5], columns], name="step", probability=0.995
    )
    assert "“step”" in texts_of(plots.plot(test))
    assert "“step”" in texts_of(plots.plot({"step": test}))


def test_plot_says_what_is_amiss_with_draws(tables: dict[str, pd.DataFrame]) -> None:
    preview = "an approximation (preview: integrated Laplace, not corrected)"
    allowed = "allowed although: " + "; ".join(f"R-hat of beta[x{i}] is 1.4" for i in range(8))
    for note in (preview, allowed):
        found = answer(alternative=list(ALTERNATIVES))
        bare, found.header["convergence"] = plots.plot(found), note
        figure = plots.plot(found)
        said = " ".join(texts_of(figure)).replace("\n", " ")
        assert f"Draws: {note}." in said and "Draws:" not in " ".join(texts_of(bare))
        assert figure.get_size_inches()[1] > bare.get_size_inches()[1]
        assert not collisions(figure)
    text = "The draws of 'networks' are an approximation (preview: not corrected)."
    compared = plots.plot(SimpleNamespace(summary=tables["comparison"], text=text))
    assert "Draws: of some theories an approximation (preview)." in texts_of(compared)
    assert not collisions(compared)


def test_plot_refuses_what_cannot_be_drawn() -> None:
    with pytest.raises(QuestionError, match="no estimates by alternative"):
        plots.plot(SimpleNamespace(summary=pd.DataFrame({"a": [1]})))
    with pytest.raises(QuestionError, match="2,000 lines"):
        plots.plot(answer(obs=range(2000), alternative="internal"))
    with pytest.raises(QuestionError, match="only tests"):
        plots.plot({"a": answer(alternative=["internal"])})


def test_notebooks_show_a_figure(tables: dict[str, pd.DataFrame]) -> None:
    data, size = plots.comparison_plot(tables["comparison"])._repr_png_()
    assert data.startswith(b"\x89PNG")
    assert size["width"] == 768


# --------------------------------------------------------------------------------- style


def test_looks_are_fixed_and_differ() -> None:
    assert looks(["international", "stay"])["stay"] == looks(["stay", "both"])["stay"]
    names = [*ALTERNATIVES, "both", "air", "train", "bus", "car"]
    found = looks(names)
    assert len({look.marker for look in found.values()}) == len(names)
    assert len({look.color for look in looks([*ALTERNATIVES, "both", "air"]).values()}) == 5
    assert len(looks(f"a{i}" for i in range(40))) == 40


def test_units_are_read_from_words() -> None:
    assert scale_of("difference of average probabilities") is POINTS
    assert scale_of("probability per unit of the column").unit == "percentage points per unit"
    assert scale_of("ratio of average probabilities").reference == 1
    assert scale_of("probability") is PERCENT
    starting = scale_of("difference as a share of the starting average probability")
    assert starting.unit == "per cent of the starting probability"


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1.234, "−1.23"), (1234.5, "1,234.50"), (-0.001, "0.00"), (np.nan, "n/a"), (np.inf, "∞")],
)
def test_numbers_are_written_for_readers(value: float, text: str) -> None:
    assert number(value) == text


def test_signs_digits_and_certainty() -> None:
    assert number(0.5, sign=True) == "+0.50"
    assert number(0.0, sign=True) == "0.00"
    assert (digits_for([0.05]), digits_for([12.0]), digits_for([np.nan])) == (3, 0, 1)
    assert probability(1.0) == ">\u00a00.999"
    assert probability(0.0) == "<\u00a00.001"
    assert probability(0.52) == "0.520"


def test_long_names_are_broken_after_underscores() -> None:
    assert wrapped("short", 10) == "short"
    assert wrapped("household_international", 13) == "household_\ninternational"
    lines = wrapped("a_very_long_name " * 9, 12, lines=3).split("\n")
    assert len(lines) == 3
    assert all(len(line) <= 12 for line in lines)
    assert lines[-1].endswith("…")
    assert wrapped("x" * 30, 10) == "\n".join(["x" * 10] * 3)
