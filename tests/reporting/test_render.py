"""The page: whole, safe, self-contained, the same each time."""

import hashlib
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from bayesmig.errors import StudyError
from bayesmig.reporting.findings import findings
from bayesmig.reporting.folder import read_folder
from bayesmig.reporting.render import render_report
from tests.reporting.pages import Page, external
from tests.reporting.studyfolder import write_study

#: Without these a page has one small figure and is made at once.
MOST = (
    *("predictive_shares", "prior_shares", "calibration", "shares", "effects", "scenarios"),
    *("diversion", "hypotheses", "parameters", "convergence", "clustering", "prior_sensitivity"),
    *("crossed_shares", "composition", "origin_dispersion", "spatial", "household_streams"),
    *("transitions", "reliability", "influential_origins", "prior_group_shares", "rehearsal"),
)
SECTIONS = (
    *("findings", "cautions", "survey", "checks", "theories", "hypotheses", "effects"),
    *("scenarios", "provenance"),
)


@pytest.fixture(scope="module")
def page(study_folder: Path) -> Page:
    return Page((study_folder / "report.html").read_text(encoding="utf-8"))


def small(folder: Path, **options: object) -> Page:
    """The page of a study with few tables."""
    options.setdefault("without", MOST)
    write_study(folder, **options)  # type: ignore[arg-type]
    return Page(render_report(folder).read_text(encoding="utf-8"))


# ------------------------------------------------------------------------ the whole page


def test_every_section_is_there_and_in_the_contents(page: Page) -> None:
    assert [i for i in page.ids if i in SECTIONS] == list(SECTIONS)
    assert [link for link in page.links if link[1:] in SECTIONS][: len(SECTIONS)] == [
        f"#{name}" for name in SECTIONS
    ]


def test_tags_match_and_ids_are_unique(page: Page) -> None:
    assert page.problems == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_wrong_nesting_is_seen() -> None:
    assert Page("<p><b>bold</p></b>").problems


def test_headings_descend_without_gaps(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_figures_and_tables_are_counted_captioned_and_named(page: Page) -> None:
    assert page.count("figure") == page.count("figcaption") == page.count("svg")
    assert page.count("table") == page.count("caption")
    assert f"{page.count('figure')} figures, {page.count('table')} tables" in page.text
    assert all(a.get("scope") in ("col", "row") for t, a in page.tags if t == "th")
    assert all(a.get("aria-label") for t, a in page.tags if t == "svg")


def test_sources_exist(page: Page, study_folder: Path) -> None:
    sources = {link for link in page.links if link.startswith("tables/")}
    assert len(sources) >= 13
    assert all((study_folder / source).is_file() for source in sources)


def test_page_reaches_for_nothing(page: Page) -> None:
    assert external(page.source) == []
    assert "default-src 'none'" in page.source


@pytest.mark.parametrize(
    "planted",
    [
        '<img src="x.png">',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        "<style>@import 'a.css';</style>",
        "<style>body { background: url(https://example.org/a.png) }</style>",
        "<script>1</script>",
        '<a href="javascript:alert(1)">x</a>',
        '<p onclick="x()">x</p>',
    ],
)
def test_planted_reference_is_seen(page: Page, planted: str) -> None:
    assert external(page.source.replace("</main>", planted + "</main>"))


def test_same_folder_same_bytes(tmp_path: Path) -> None:
    small(tmp_path / "a")
    shutil.copytree(tmp_path / "a" / "tables", tmp_path / "b" / "tables")
    shutil.copy(tmp_path / "a" / "results.json", tmp_path / "b" / "results.json")
    first = (tmp_path / "a" / "report.html").read_bytes()
    second = render_report(tmp_path / "b").read_bytes()
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        *("report.html", "results.json", "tables")
    ]


def test_other_numbers_other_bytes(tmp_path: Path) -> None:
    first = small(tmp_path).source
    path = tmp_path / "tables" / "comparison.parquet"
    pd.read_parquet(path).assign(elpd=[-1.0, -2.0, -3.0]).to_parquet(path, index=False)
    assert render_report(tmp_path).read_text(encoding="utf-8") != first


def test_columns_are_explained(page: Page) -> None:
    for words in ("1 for women, 0 for men", "= sex - 1", "as in the file", "in tens of points"):
        assert words in page.text


def test_provenance_is_whole(page: Page, study_folder: Path) -> None:
    results = json.loads((study_folder / "results.json").read_text(encoding="utf-8"))
    for theory in results["theories"]:
        for key, value in theory["provenance"].items():
            if isinstance(value, str | float) and key != "seconds":
                assert str(value) in page.text, key
    for words in ("survey.csv.gz", "python 3.12.11", "1.5 s", "When each step was computed"):
        assert words in page.text
    assert "<code>" not in page.text


def test_inequalities_bear_their_hypothesis_and_the_units_of_the_figure(page: Page) -> None:
    for words in (
        "“step migration” comparison(prior_internal, international) > 0 "
        "+1.02 pp [0.24, 1.80] ±0.1 pp",
        "+29.0 % [19.2, 38.8] ±2 %",
    ):
        assert words.replace(" ", "") in page.text.replace(" ", "").replace("\u00a0", "")


def test_what_the_prior_says_stands_beside_claims_and_parameters(page: Page) -> None:
    text = page.text.replace("\u00a0", " ")
    assert "weakly identified" in text
    assert "weak likelihood: the prior says it" in text
    for words in ("0.84 0.06 0.03", "sigma_origin[international, asc] 0.74 0.07 0.03"):
        assert words.replace(" ", "") in text.replace(" ", "")


def test_a_claim_that_the_prior_says_is_no_finding(tmp_path: Path) -> None:
    write_study(tmp_path, theories=("selectivity",), scenarios=())
    [finding] = [f for f in findings(read_folder(tmp_path)) if f.lead == "Hypotheses"]
    [weak] = [part for part in finding.parts if "weakly identified" in part]
    assert "better-off" in weak
    assert 'class="badge open"' in weak


def test_numbers_name_the_tables_that_hold_them(study_folder: Path) -> None:
    sources = {f.lead: f.sources for f in findings(read_folder(study_folder))}
    assert sources["Who chooses what"] == ("effects", "shares")
    assert sources["What the scenarios would change"] == ("scenarios", "diversion")


def test_one_of_a_thing_is_singular(tmp_path: Path) -> None:
    write_study(tmp_path, theories=("networks",), scenarios=("network_cut",))
    path = tmp_path / "tables" / "hypotheses.parquet"
    pd.read_parquet(path).query("hypothesis == 'step_migration'").to_parquet(path, index=False)
    page = Page(render_report(tmp_path).read_text(encoding="utf-8"))
    assert "1 claim tested under" in page.text
    assert "(1 row)" in page.text
    for wrong in ("1 rows", "1 claims", "1 tables", "1 theories", "1 scenarios"):
        assert not re.search(rf"\b{wrong}", page.text)


# ------------------------------------------------------------------------ hostile words


HOSTILE = "<script>alert('x')</script>"


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    names = {
        "networks": f"n{HOSTILE}",
        "female": '"><img src=x onerror=alert(1)>',
        "internal": "</style></svg><script>2</script>",
        "rows read": "{{ 7 * 7 }}{% raw %}",
        "Observed shares lie within what the theory replicates.": "$\\frac{1}{0}$ &amp; <b>",
    }
    without = (
        *("prior_shares", "calibration", "parameters", "diversion", "shares", "scenarios"),
        *("convergence", "hypotheses"),
    )
    page = small(tmp_path, title=HOSTILE, names=names, without=without)
    assert external(page.source) == []
    assert page.problems == []
    assert page.count("script") == page.count("img") == 0
    # Long names are broken in figures; tables hold them whole.
    for name in (HOSTILE, *names.values()):
        assert name in page.text


def test_hostile_results_stay_words(tmp_path: Path) -> None:
    write_study(tmp_path, without=MOST)
    path = tmp_path / "results.json"
    text = path.read_text(encoding="utf-8").replace("Albania-like", HOSTILE)
    text = text.replace("the first weights were too uneven", f"reason {HOSTILE}")
    path.write_text(text, encoding="utf-8")
    page = Page(render_report(tmp_path).read_text(encoding="utf-8"))
    assert external(page.source) == []
    assert page.text.count(HOSTILE) >= 4


# ----------------------------------------------------------------------- what is missing


def test_missing_tables_are_told(tmp_path: Path) -> None:
    page = small(
        tmp_path, theories=("networks",), scenarios=(), without=(*MOST, "survey_shares", "checks")
    )
    assert [i for i in page.ids if i in SECTIONS] == list(SECTIONS)
    for said in (
        "no table of observed shares",
        "no table of checks",
        "no table of convergence",
        "One theory was fitted, so there is nothing to compare",
        "No theory of this study states a hypothesis",
        "No column was compared",
        "No slope was asked for",
        "The study asks for no scenarios",
    ):
        assert said in page.text
    assert page.count("figure") == 0


def test_nothing_is_said_to_be_missing_where_all_is_there(page: Page) -> None:
    assert not [a for _, a in page.tags if a.get("class") == "absent"]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("results.json", None, "no results of a study"),
        ("results.json", b"{", "cannot be read"),
        ("results.json", b"[]", "cannot be read"),
        ("results.json", b"{}", "cannot be read"),
        ("results.json", b'{"theories": 3}', "cannot be read"),
        ("results.json", b"\xff\xfe\x00", "cannot be read"),
        ("tables/comparison.parquet", b"PAR1 no more", "cannot be read"),
        ("tables/comparison.parquet", None, "asks for a table that is missing"),
    ],
)
def test_damaged_folders_are_refused(
    tmp_path: Path, file: str, content: bytes | None, said: str
) -> None:
    write_study(tmp_path, without=MOST)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(StudyError, match=said) as caught:
        render_report(tmp_path)
    assert str(tmp_path / file) in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_a_table_that_the_study_does_not_have_is_not_read(tmp_path: Path) -> None:
    write_study(tmp_path, without=MOST)
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "tables" / "scenarios.parquet")
    assert "scenarios" not in read_folder(tmp_path).tables


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("theories", 3),
        ("theories", [{"name": "networks"}]),
        ("scenarios", {}),
        ("survey", []),
        ("headers", {"shares": "x"}),
        ("texts", None),
        ("versions", ["6.3"]),
        ("tables", ["../checks"]),
    ],
)
def test_results_of_another_form_are_refused(tmp_path: Path, key: str, value: object) -> None:
    write_study(tmp_path, without=MOST)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {key: value}), "utf-8")
    with pytest.raises(StudyError, match="cannot be read") as raised:
        read_folder(tmp_path)
    assert "bayesmig run" in raised.value.mend


def test_table_without_a_column_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path, without=MOST)
    path = tmp_path / "tables" / "comparison.parquet"
    pd.read_parquet(path).drop(columns="diff_se").to_parquet(path, index=False)
    with pytest.raises(StudyError, match="lacks the columns diff_se"):
        render_report(tmp_path)


def test_old_report_stays_where_a_new_one_fails(tmp_path: Path) -> None:
    small(tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    (tmp_path / "tables" / "checks.parquet").write_bytes(b"")
    with pytest.raises(StudyError):
        render_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before


def test_verdicts_may_be_truth_values(tmp_path: Path) -> None:
    write_study(tmp_path, without=MOST)
    path = tmp_path / "tables" / "checks.parquet"
    table = pd.read_parquet(path)
    words = {"passed": True, "failed": False, "not asked": None}
    table.assign(passed=table["passed"].map(words).astype(object)).to_parquet(path, index=False)
    page = Page(render_report(tmp_path).read_text(encoding="utf-8"))
    # Above it, what a referee asks repeats what became of checks.
    assert page.text.split("Do the models hold?")[-1].count("not asked") == 3
    assert page.text.count("failed") == 1


def test_report_is_written_as_json_says(tmp_path: Path) -> None:
    small(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for value in (results["seed"], results["created"], *results["versions"].values()):
        assert str(value) in text
