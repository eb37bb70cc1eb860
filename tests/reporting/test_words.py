"""Findings and cautions say what the numbers say, and no more."""

import re
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from bayesmig.checks.all_checks import REPLICATING
from bayesmig.explanation.claims import spelled_out
from bayesmig.reporting.blocks import HtmlTable, Layout, Prose, html_table
from bayesmig.reporting.cautions import cautions
from bayesmig.reporting.figures import (
    MOST_LINES,
    Numbered,
    chunks,
    evenly,
    notes_of,
    wanted_breakdowns,
)
from bayesmig.reporting.findings import findings, separation
from bayesmig.reporting.folder import StudyFolder, read_folder
from bayesmig.reporting.networks import families
from bayesmig.reporting.readings import reading
from bayesmig.reporting.render import render
from bayesmig.reporting.sections import evidence, scenarios
from bayesmig.reporting.words import (
    beside_overlap,
    beside_sensitive,
    count,
    listed,
    percent,
    points,
    seconds,
    signed_points,
    standing,
    verdict,
)
from bayesmig.sensitivity import scaled_words
from bayesmig.spec.library import load_model, model_names
from tests.reporting.pages import Page
from tests.reporting.studyfolder import write_study

#: What says that one thing makes another happen.
CAUSAL = re.compile(
    r"\b(caus(e[sd]?|al|ing)|because of|leads? to|due to|impacts?|drives?|makes? people|pulls?"
    r"|push(es)?|keeps? (people|members|others)|raises?|lowers|reduces?|increases?|decreases?"
    r"|effects? (of|on)|network effects?|opens? the|acts? on|influences?)\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return read_folder(write_study(tmp_path_factory.mktemp("words")))


def text_of(study: StudyFolder) -> dict[str, str]:
    return {
        f.lead: " ".join([str(f.text), *map(str, f.parts)]).replace("\u00a0", " ")
        for f in findings(study)
    }


def with_table(study: StudyFolder, **tables: pd.DataFrame) -> StudyFolder:
    return StudyFolder(study.path, study.results, {**study.tables, **tables})


def with_results(study: StudyFolder, **results: object) -> StudyFolder:
    return StudyFolder(study.path, {**study.results, **results}, study.tables)


# -------------------------------------------------------------------------------- words


def test_differences_are_told_with_direction_and_interval() -> None:
    assert points(0.0112, 0.008, 0.015) == "1.12 percentage points higher [0.80,\u00a01.50]"
    assert points(-0.0112, -0.015, -0.008) == "1.12 percentage points lower [−1.50,\u00a0−0.80]"
    assert signed_points(0.0112, -0.008, 0.03) == "+1.12\u00a0[−0.80,\u00a03.00]"


def test_words_for_counts_shares_and_times() -> None:
    assert (count(12345), count("12345"), count("many")) == ("12,345", "12,345", "many")
    assert percent(0.1234) == "12.3\u00a0%"
    assert percent(float("nan")) == "n/a"
    assert (seconds(3.21), seconds(75), seconds(7384)) == ("3.2 s", "1 min 15 s", "2 h 3 min")


@pytest.mark.parametrize(
    ("probability", "word"),
    [(0.95, "supported"), (0.949, "undecided"), (0.05, "contradicted"), (0.051, "undecided")],
)
def test_standing_follows_the_thresholds_of_tests(probability: float, word: str) -> None:
    from bayesmig import hypotheses

    assert standing(probability) == word
    assert standing(hypotheses.SUPPORTED) == "supported"
    assert standing(hypotheses.CONTRADICTED) == "contradicted"


@pytest.mark.parametrize("probability", [0.01, 0.05, 0.5, 0.95, 0.99, float("nan")])
def test_a_page_and_a_screen_call_a_claim_the_same(probability: float) -> None:
    from bayesmig import hypotheses, sensitivity

    for identified in ("", *sensitivity.ORDER):
        word = standing(probability, identified)
        assert word == hypotheses.verdict_of(probability, identified)
        assert word in words_of_badges()


def words_of_badges() -> tuple[str, ...]:
    from bayesmig.reporting import words

    return words.STANDINGS


def test_what_the_prior_says_is_neither_supported_nor_contradicted() -> None:
    from bayesmig import sensitivity
    from bayesmig.reporting import words

    assert standing(float("nan"), sensitivity.NOTHING) == "cannot be asked"
    assert 'class="badge open">cannot be asked' in words.badge("cannot be asked")
    assert "cannot be asked" in words.STANDINGS
    assert [standing(p, sensitivity.WEAK) for p in (0.99, 0.5, 0.01, float("nan"))] == [
        "weakly identified",
        "undecided and weakly identified",
        "weakly identified",
        "cannot be computed",
    ]
    assert standing(0.99, sensitivity.LEANS) == "supported with the prior's help"
    assert 'class="badge open"' in words.badge("weakly identified")
    assert "weakly identified" in words.STANDINGS


def test_verdicts_are_read_from_words_and_truth_values() -> None:
    for value, word in (
        *((True, "passed"), ("passed", "passed"), (False, "failed"), ("failed", "failed")),
        *((None, "not asked"), (float("nan"), "not asked"), ("not asked", "not asked")),
    ):
        assert verdict(value) == word


def test_lists_escape_their_parts() -> None:
    assert listed(["<a>", "b", "c"]) == "&lt;a&gt;, b and c"
    assert listed([]) == ""
    assert listed(["a"]) == "a"


# ----------------------------------------------------------------------------- findings


def test_findings_follow_the_study(study: StudyFolder) -> None:
    assert list(text_of(study)) == [
        "The survey",
        "Which theory",
        "Hypotheses",
        "Who chooses what",
        "Networks, own and other",
        "What the scenarios would change",
    ]


def test_findings_say_the_numbers(study: StudyFolder) -> None:
    said = text_of(study)
    assert "120 of 4,120 rows read were dropped" in said["The survey"]
    assert "87.6 % chose <code>stay</code>" in said["The survey"]
    assert (
        "less probable with <code>female</code> 0 → 1 (1 for women, 0 for men; −1.12 ["
        in said["Who chooses what"]
    )
    assert "the sign is unclear for <code>education</code>" in said["Who chooses what"]
    assert "<strong>stay</strong>" not in said["Who chooses what"]
    assert (
        "other network <code>network_international</code> (−0.52" in said["Networks, own and other"]
    )
    assert "no forecast" in said["What the scenarios would change"]
    changes = said["What the scenarios would change"]
    assert "<code>international</code> 0.417 percentage points lower" in changes
    assert (
        "leave <code>international</code>, 21 % [17, 25] turn to <code>internal</code>" in changes
    )


def test_claims_are_sorted_by_what_may_be_said(study: StudyFolder) -> None:
    said = text_of(study)["Hypotheses"]
    badges = re.findall(r">(supported|undecided[\w ]*)<", said)
    assert badges == ["supported"] * 2 + ["undecided and weakly identified"]
    assert "“Each stream&#39;s" in said
    assert said.count("Tested: ") == 3
    open_ = with_table(study, hypotheses=study.tables["hypotheses"].assign(joint_probability=0.5))
    listed_ = text_of(open_)["Hypotheses"]
    # Claims that are left open are listed under one verdict, without what was tested.
    assert listed_.count("(0.500)") == 2 and listed_.count("Tested: ") == 1
    assert listed_.count(">undecided<") + listed_.count(">undecided and weakly identified<") <= 2
    table = study.tables["hypotheses"]
    other = with_table(study, hypotheses=table[table["theory"] == "selectivity"])
    assert "<code>selectivity</code>" in text_of(other)["Hypotheses"]
    contrary = with_table(study, hypotheses=table.assign(joint_probability=0.01))
    assert ">contradicted<" in text_of(contrary)["Hypotheses"]
    assert ">supported<" not in text_of(contrary)["Hypotheses"]
    none = text_of(with_table(study, hypotheses=table.assign(joint_probability=float("nan"))))
    assert ">cannot be computed<" in none["Hypotheses"]
    assert "(n/a)" in none["Hypotheses"]
    for word in ("supported", "contradicted", "undecided"):
        assert f">{word}<" not in none["Hypotheses"]


def test_a_verdict_says_how_often_rehearsed_surveys_give_it(study: StudyFolder) -> None:
    table, tried = study.tables["hypotheses"], study.tables["rehearsal"]
    told = table[(table["theory"] == "networks") & (table["joint_identification"] == "")]
    one = tried.assign(
        hypothesis=told["hypothesis"].iloc[0],
        rightly=[0.85, 0.6],
        rightly_lower=[0.64, 0.39],
        rightly_upper=[0.95, 0.78],
        wrongly=[0.0, 0.2],
        wrongly_lower=[0.0, 0.08],
        wrongly_upper=[0.16, 0.42],
    )
    rehearsed = with_table(study, rehearsal=one)
    said = "Rehearsed, surveys like this one"
    for_it = with_table(rehearsed, hypotheses=table.assign(joint_probability=0.99))
    text = text_of(for_it)["Hypotheses"].replace("\u202f", " ").replace("\xa0", " ")
    way = "by the probability alone, in"
    shares = "85 % [64, 95] of worlds where it holds, and in 20 % [8, 42]"
    assert f"{said} support it, {way} {shares} where it does not" in text
    assert text.count(said) == 1
    against = with_table(rehearsed, hypotheses=table.assign(joint_probability=0.01))
    text = text_of(against)["Hypotheses"].replace("\u202f", " ").replace("\xa0", " ")
    shares = "60 % [39, 78] of worlds where it does not, and in 0 % [0, 16]"
    assert f"{said} contradict it, {way} {shares} where it holds" in text
    few = with_table(for_it, rehearsal=one.assign(can="not known"))
    assert said not in text_of(few)["Hypotheses"]
    undecided = with_table(rehearsed, hypotheses=table.assign(joint_probability=0.5))
    assert said not in text_of(undecided)["Hypotheses"]


def test_no_sentence_of_ours_claims_a_cause(study: StudyFolder) -> None:
    """Claims are the theories', and stand in quotation marks; all other words are ours."""
    page = Page(render(study)).text
    said = re.sub(r"“[^“”]*”", "", page)
    assert len(said) < len(page)
    for fine in ("not causes", "nothing about causes", "group effects", "effects of groups"):
        said = said.replace(fine, "")
    assert [m.group() for m in CAUSAL.finditer(said)] == []


@pytest.mark.parametrize(
    "claim",
    [
        "Earlier movers pull others.",
        "Networks keep people from moving.",
        "Effects of gender on both streams",
        "Schooling raises internal moves",
    ],
)
def test_causal_words_are_seen(claim: str) -> None:
    assert CAUSAL.search(claim)


def test_statements_are_read_as_differences() -> None:
    for statement, read in (
        (
            "lift(x, a) > 0",
            "where x is higher by one, the relative difference of the average probability of a is "
            "above zero",
        ),
        (
            "slope(x, a) / share(a, z=1) > 1",
            "the average derivative by x of the probability of a divided by the average "
            "probability of a where z is 1 for all is above 1",
        ),
        (
            "log_odds(x, a, z=p90) < log_odds(x, a, z=0.5)",
            "where x is higher by one and z is at its percentile 90 for all, the average "
            "difference of people's log odds of a against the base is below that where z is 0.5 "
            "for all",
        ),
    ):
        assert reading(statement).striptags() == read
        assert reading(statement).count("<code>") == read.count(" x ") + read.count(
            " a "
        ) + read.count(" z ")
    both = reading("lift(x, a) > 0 and lift(z, b) > 0").striptags()
    assert both.startswith("both hold: (1) where x is higher by one")


def test_theory_and_report_say_the_same_of_a_statement() -> None:
    for name in model_names():
        for hypothesis in load_model(name).hypotheses.values():
            said = reading(hypothesis.statement).striptags()
            assert spelled_out(hypothesis).lower() == f"{said}.".lower()
            assert CAUSAL.search(said) is None


def test_separation_speaks_of_standard_errors() -> None:
    table = pd.DataFrame(
        {"theory": ["a", "b", "c"], "elpd": [-10.0, -15.0, -60.0], "diff_se": [0, 4.0, 5.0]}
    )
    said = separation(table)
    assert "<code>a</code> predicts best." in said
    assert "cannot separate it from <code>b</code> (5.0 behind, standard error 4.0)" in said
    assert "clearly better than <code>c</code>" in said
    near = separation(table.assign(elpd=[-10, -13, -13.5], diff_se=[0, 0.5, 0.5]))
    assert "clearly better" not in near


def test_thresholds_of_separation_are_those_of_the_comparison() -> None:
    from bayesmig.model_comparison import verdict
    from bayesmig.reporting import findings as told

    assert told.SMALL == verdict.SMALL
    assert told.FEW_ERRORS == verdict.FEW_ERRORS


def test_verdict_of_the_comparison_is_taken_over(study: StudyFolder) -> None:
    texts = {"comparison": "Said by <compare>.", "hypotheses": {}}
    assert text_of(with_results(study, texts=texts))["Which theory"] == "Said by &lt;compare&gt;."
    silent = with_results(study, texts={})
    assert "predicts best" in text_of(silent)["Which theory"]


def test_unweighted_surveys_speak_of_rows(study: StudyFolder) -> None:
    shares = study.tables["survey_shares"].drop(columns="weighted_share")
    said = text_of(with_table(study, survey_shares=shares))["The survey"]
    assert "Of the rows, 87.2 % chose" in said


# ----------------------------------------------------------------------------- cautions


def levels(study: StudyFolder) -> list[str]:
    return [c.level for c in cautions(study)]


def test_cautions_come_worst_first(study: StudyFolder) -> None:
    found = levels(study)
    assert found == sorted(found, key=("problem", "caution", "note").index)
    assert "problem" not in found
    said = " ".join(str(c.text) for c in cautions(study))
    for part in ("fails 1 check", "Pareto k", "leave the range", "thin", "dropped", "Weights"):
        assert part in said


def test_theory_that_has_not_converged_is_a_problem(tmp_path: Path) -> None:
    broken = read_folder(write_study(tmp_path, converged=False))
    first = cautions(broken)[0]
    assert first.level == "problem"
    assert "<code>networks</code> has not converged: R-hat &gt; 1.01" in first.text
    assert levels(broken).count("problem") == 1


def test_failed_check_of_the_main_theory_is_a_problem(study: StudyFolder) -> None:
    checks = study.tables["checks"].replace({"baseline": "networks"})
    found = with_table(study, checks=checks)
    assert "problem" in levels(found)
    assert "fails the check" in " ".join(str(c.text) for c in cautions(found))


def test_that_the_prior_has_a_say_is_a_caution(study: StudyFolder) -> None:
    told = {"theory": "networks", "check": "prior sensitivity", "passed": "failed", "text": "Weak."}
    found = with_table(study, checks=pd.DataFrame([told]))
    assert "problem" not in levels(found)
    assert "prior sensitivity" in " ".join(str(c.text) for c in cautions(found))


def test_quiet_study_has_notes_only(study: StudyFolder) -> None:
    quiet = StudyFolder(
        study.path,
        {**study.results, "survey": {}, "scenarios": []},
        {"convergence": study.tables["convergence"]},
    )
    assert set(levels(quiet)) == {"note"}


# ------------------------------------------------------------------------------- figures


def test_families_are_found_by_name(study: StudyFolder) -> None:
    found = families(study)
    assert [(f.prefix, f.kind) for f in found] == [
        ("network", "slope"),
        ("prior", "comparison"),
        ("household", "comparison"),
    ]
    assert set(found[0].effects["alternative"]) == {"internal", "international"}
    none = with_table(study, effects=study.tables["effects"].replace({"network_internal": "x"}))
    assert [f.prefix for f in families(none)] == ["prior", "household"]


def test_breakdowns_that_fail_come_first(study: StudyFolder) -> None:
    table = study.tables["predictive_shares"].assign(p_value=0.5)
    assert wanted_breakdowns(with_table(study, predictive_shares=table))[0] == "female"
    failing = table.assign(p_adjusted=table["by"].map(lambda by: 0.01 if by == "urban" else 0.9))
    assert wanted_breakdowns(with_table(study, predictive_shares=failing))[0] == "urban"


def test_chunks_hold_what_a_page_holds() -> None:
    table = pd.DataFrame(
        [
            {"by": by, "level": str(i)}
            for by, n in (("a", 20), ("b", 20), ("c", 80))
            for i in range(n)
        ]
    )
    parts = list(chunks(table, "by", "level"))
    assert sum(map(len, parts)) == len(table)
    assert all(len(part) + part["by"].nunique() <= MOST_LINES for part in parts)
    assert [set(part["by"]) for part in parts[:2]] == [{"a"}, {"b"}]
    assert list(chunks(table.iloc[:0], "by", "level")) == []


def test_parts_of_a_figure_are_of_like_length() -> None:
    table = pd.DataFrame({"by": [f"h{i}" for i in range(17)], "level": "one"})
    assert [len(part) for part in chunks(table, "by", "level")] == [17]
    longer = pd.DataFrame({"by": [f"h{i}" for i in range(18)], "level": "one"})
    assert [len(part) for part in chunks(longer, "by", "level")] == [17, 1]
    assert [len(part) for part in evenly(longer, "by", "level")] == [9, 9]
    assert evenly(table.iloc[:0], "by", "level") == []


def test_a_note_says_each_thing_once() -> None:
    support = "wealth +1: 5 % outside; age +1: 2 % outside; wealth +1: 5 % outside"
    unit = "left minus right; left minus right, or of log odds"
    assert notes_of({"support": support, "unit": unit}) == (
        ("support", "wealth +1: 5 % outside; age +1: 2 % outside"),
        ("unit", "left minus right, or of log odds"),
    )


def test_columns_that_say_nothing_are_left_out() -> None:
    layout: Layout = {"Name": ("name", None), "Said": ("said", None), "n": ("n", str)}
    table = pd.DataFrame({"name": ["a", "b"], "said": ["", ""], "n": [1, 2]})
    assert [h for h, _ in html_table(table, layout, "").columns] == ["Name", "n"]
    some = html_table(table.assign(said=["", "so"]), layout, "")
    assert [h for h, _ in some.columns] == ["Name", "Said", "n"]
    assert [h for h, _ in html_table(table.iloc[:0], layout, "").columns] == ["Name", "Said", "n"]


def test_numbers_are_not_rounded_onto_their_threshold() -> None:
    told = {0.05: "0.05", 0.0496: "0.0496", 0.0512: "0.051", 0.12: "0.12", 0.049: "0.049"}
    assert {value: beside_sensitive(value) for value in told} == told
    assert [beside_overlap(v) for v in (0.699, 0.7, 0.71)] == ["0.699", "0.70", "0.71"]
    assert "0.0496 to the prior, 0.051 to the likelihood" in scaled_words(0.0496, 0.0512)
    assert beside_sensitive(float("nan")) == "n/a"


def test_counts_of_a_fit_have_no_decimals_and_compilation_is_told(study: StudyFolder) -> None:
    first, *others = study.results["theories"]
    numbers = {"proposals": 4000.0, "pareto_k": 0.4098}
    once = {**first, "compiled": True, "provenance": {**first["provenance"], "numbers": numbers}}
    page = render(with_results(study, theories=[once, *others]))
    assert "proposals 4,000, pareto k 0.41" in page
    told = f"The time of <code>{first['name']}</code> is in large part that of compiling"
    assert told in page and "machine code was compiled in it" in page
    assert "of compiling machine code" not in render(study)


def test_failures_are_the_first_of_all_checks(study: StudyFolder) -> None:
    table = study.tables["checks"].assign(passed="passed")
    table.loc[table.index[-1], "passed"] = "failed"
    page = render(with_table(study, checks=table))
    rows = page.split("All checks, failures first")[-1].split("<tr>")
    assert ">failed<" in rows[2] and ">failed<" not in rows[3]


def test_what_is_not_judged_was_asked() -> None:
    assert verdict(None, "Not judged: effects of origins rest upon their rows.") == "not judged"
    assert verdict("not asked", "Not judged: so.") == "not judged"
    assert verdict(None, "Not asked: none.") == "not asked"
    assert verdict("failed", "Not judged") == "failed"


def test_ratios_without_a_mean_are_noted_not_told(study: StudyFolder) -> None:
    table = study.tables["diversion"].assign(note="")
    cut = table["scenario"] == "network_cut"
    table.loc[cut, ["estimate", "lower", "upper"]] = float("nan")
    table.loc[cut, "note"] = "no stable mean <here>"
    broken = with_table(study, diversion=table)
    assert text_of(broken)["What the scenarios would change"].count("of those who leave") == 1
    said = [b for b in scenarios.blocks(broken, Numbered()) if isinstance(b, Prose)]
    assert [b.text for b in said if b.kind == "note"] == [
        "<code>network_cut</code>: no stable mean &lt;here&gt;"
    ]


# ----------------------------------------------------------------------------- evidence

ASKED = (
    *("Weights?", "Clustering?", "Do single places decide it?", "Did the computation converge?"),
    *("Does the theory reproduce the survey?", "Calibrated?"),
    *("Which leave-one-out, and is it reliable?", "Sensitive to priors?"),
    "Could this survey even tell?",
)


def answers_of(study: StudyFolder) -> dict[str, str]:
    [table] = [b for b in evidence.blocks(study, Numbered()) if isinstance(b, HtmlTable)]
    return {str(row[0]): str(row[1]) for row in table.rows}


def test_a_referee_finds_every_answer_in_one_section(study: StudyFolder) -> None:
    found = answers_of(study)
    assert tuple(found) == ASKED
    assert all(len(answer) > 20 for answer in found.values())
    page = render(study)
    for anchor in ("survey", "checks", "convergence", "theories", "hypotheses", "rehearsal"):
        assert f'href="#{anchor}">more' in page and f'id="{anchor}"' in page


def left_out(study: StudyFolder, table: pd.DataFrame, **said: str) -> str:
    """What a referee is told of leave-one-out, of a comparison and its texts by question."""
    texts = {**study.results["texts"], "comparisons": said, "comparison": next(iter(said.values()))}
    changed = with_results(with_table(study, comparison=table), texts=texts)
    return answers_of(changed)["Which leave-one-out, and is it reliable?"]


def test_cautions_of_a_comparison_reach_the_referee(study: StudyFolder) -> None:
    said = "Refits of 'networks' have not converged. Not separated. Asked: who moves. Weighted."
    answer = left_out(study, study.tables["comparison"], person=said)
    assert answer.startswith("Refits of &#39;networks&#39; have not converged. Not separated.")
    assert "Asked: who moves. Weighted. Pareto k is too high for 2 units" in answer


def test_refits_have_no_pareto_k_that_could_be_low(study: StudyFolder) -> None:
    table = study.tables["comparison"].assign(pareto_k_max=float("nan"))
    none = table.assign(pareto_k_high=pd.array([pd.NA] * len(table), "Int64"))
    changed = with_table(study, comparison=none)
    assert "low enough" not in (answer := left_out(changed, none, person="Asked: it."))
    assert answer.endswith("left out by refits: there are no importance weights and no Pareto k.")
    page = render(changed)
    assert "leave-one-out estimate is unreliable" not in page


def test_every_question_has_its_own_pareto_k(study: StudyFolder) -> None:
    table = study.tables["comparison"]
    both = pd.concat(
        [
            table.assign(question="person", pareto_k_high=0),
            table.assign(question="origin", pareto_k_high=9),
            table.assign(question="period", pareto_k_high=pd.NA, pareto_k_max=float("nan")),
        ]
    )
    both["pareto_k_high"] = both["pareto_k_high"].astype("Int64")
    answer = left_out(study, both, person="Of persons.", origin="Of places.", period="Of time.")
    assert answer == (
        "<code>person</code>: Of persons. Pareto k of the importance weights is low enough for "
        "every unit.<br><code>origin</code>: Of places. Pareto k is too high for 9 units of a "
        "theory at most.<br><code>period</code>: Of time. Units were left out by refits: there "
        "are no importance weights and no Pareto k."
    )


def test_answers_are_those_of_the_tables(study: StudyFolder) -> None:
    told = {
        "theory": "networks",
        "check": ["calibration", "clustering", "prior sensitivity"],
        "passed": ["failed", "failed", "not asked"],
        "text": ["Off in 3 bins. Weights: none.", "Alike.", "Flat priors."],
    }
    checks = pd.DataFrame(told)
    table = study.tables["comparison"].assign(clusters="psu", pareto_k_high=7)
    texts = {
        **study.results["texts"],
        "comparison": "A is best. Asked: who moves.",
        "rehearsal": "It could decide 2 of 3.",
    }
    changed = with_results(with_table(study, checks=checks, comparison=table), texts=texts)
    found = answers_of(changed)
    assert ">failed</span> Off in 3 bins." in found["Calibrated?"]
    assert "Weights: none" not in found["Calibrated?"]
    assert "Alike." in found["Clustering?"] and "one psu together" in found["Clustering?"]
    left_out = found["Which leave-one-out, and is it reliable?"]
    assert left_out == (
        "A is best. Asked: who moves. Pareto k is too high for 7 units of a theory at most."
    )
    assert "Flat priors." in found["Sensitive to priors?"]
    assert found["Could this survey even tell?"] == "It could decide 2 of 3."
    assert "This check was not made" in found["Does the theory reproduce the survey?"]


def test_every_check_that_fails_is_told_to_a_referee(study: StudyFolder) -> None:
    """A check of any kind, of the main theory, whatever the section lists."""
    prior = ("prior predictive shares", "prior predictive shares by group", "prior sensitivity")
    for kind in ("convergence", *prior, *(name for name, *_ in REPLICATING)):
        told = {"theory": "networks", "check": [kind], "passed": ["failed"], "text": ["Off here."]}
        found = answers_of(with_table(study, checks=pd.DataFrame(told)))
        assert sum(">failed</span> Off here." in answer for answer in found.values()) == 1, kind


def test_a_pseudo_posterior_answers_what_it_can(study: StudyFolder) -> None:
    none = study.tables["comparison"].iloc[:0]
    headers = study.results["headers"]
    said = {"shares": headers["shares"] | {"sampling design": "16 PSUs in 5 strata"}}
    changed = with_results(with_table(study, comparison=none), headers=headers | said)
    found = answers_of(changed)
    assert "corrected for 16 PSUs in 5 strata" in found["Clustering?"]
    assert "of which no row is left out" in found["Which leave-one-out, and is it reliable?"]
    told = with_results(changed, texts=study.results["texts"] | {"rehearsal": ""})
    assert "[rehearsal]" not in answers_of(told)["Could this survey even tell?"]


def test_what_is_not_known_of_a_claim_is_not_blamed_on_the_prior(study: StudyFolder) -> None:
    claims = study.tables["hypotheses"]
    for word, said in (("not known", "; of 1 this is not known. "), ("", "by the data. ")):
        one = claims[claims["theory"] == study.main].head(1).assign(joint_identification=word)
        answer = answers_of(with_table(study, hypotheses=one))["Sensitive to priors?"]
        assert said in answer and answer.startswith("Of 1 claim, 0 rest")


def test_what_is_decided_though_it_could_hardly_be_told_is_explained(study: StudyFolder) -> None:
    hypotheses, tried = study.tables["hypotheses"], study.tables["rehearsal"]
    own = hypotheses[hypotheses["theory"] == study.main].head(1)

    def told(probability: float, can: str) -> str:
        claim = own.assign(joint_probability=probability, joint_identification="")
        rehearsed = tried.assign(hypothesis=own["hypothesis"].iloc[0], can=can)
        changed = with_table(study, hypotheses=claim, rehearsal=rehearsed)
        texts = {**study.results["texts"], "rehearsal": "It can hardly tell."}
        answers = answers_of(with_results(changed, texts=texts))
        return unescape(answers["Could this survey even tell?"])

    claim = str(own["claim"].iloc[0]).rstrip(".")
    for probability, can, word in (
        *((0.99, "no", "supported"), (0.99, "if not", "supported")),
        *((0.01, "no", "contradicted"), (0.01, "if true", "contradicted")),
    ):
        assert f"Yet “{claim}” is {word}: to hardly tell is" in told(probability, can)
    for probability, can in ((0.99, "if true"), (0.01, "if not"), (0.5, "no"), (0.99, "yes")):
        assert told(probability, can) == "It can hardly tell."
