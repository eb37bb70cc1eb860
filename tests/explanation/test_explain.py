"""What a theory says in words: nothing left out, nothing typed by model."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesmig as bm
from bayesmig.errors import SpecError
from bayesmig.explanation.claims import rope_meaning, spelled_out
from bayesmig.explanation.explain import DESCRIBED, DESCRIBERS, SECTIONS, Context, effects_of_one
from bayesmig.explanation.facts import Facts
from bayesmig.explanation.identification import earlier_moves, needs_of_hypothesis
from bayesmig.explanation.page import Equation, Explanation, Items, Math, Section
from bayesmig.spec import model as models
from bayesmig.spec import priors, statement
from bayesmig.spec.library import model_names
from bayesmig.spec.model import Hypothesis, ModelSpec
from bayesmig.tomlfile import validate

GOLDEN = Path(__file__).parent / "selectivity.txt"


def theory(**keys: object) -> ModelSpec:
    choice = {"alternatives": ["stay", "internal", "international"], "base": "stay"}
    return validate(ModelSpec, {"name": "t", "choice": choice} | keys, file="t")


def section(explanation: Explanation, title: str) -> str:
    """The text of one section."""
    (found,) = [s for s in explanation.sections if s.title == title]
    return Explanation("x", "", (found,)).at_width(10_000)


# --------------------------------------------------------------- nothing is left out


def test_every_field_of_a_theory_has_a_describing_function() -> None:
    """A new block of model files is described in `explain` or this fails."""
    assert set(DESCRIBERS) == set(ModelSpec.model_fields)


@pytest.mark.parametrize("table", sorted(set(DESCRIBED) - {"Average"}))
def test_every_key_of_a_table_is_spoken_of(table: str) -> None:
    kind = getattr(models, table, None) or getattr(priors, table)
    assert DESCRIBED[table] == set(kind.model_fields)


def test_every_part_of_an_average_is_spoken_of() -> None:
    fields = {f.name for f in dataclasses.fields(statement.Average)}
    assert DESCRIBED["Average"] == fields


def test_every_table_of_a_model_file_is_listed() -> None:
    """No table stands in a model file whose keys are not held by the tests above."""
    found: set[str] = set()
    ahead: list[object] = [ModelSpec]
    while ahead:
        kind = ahead.pop()
        for field in kind.model_fields.values():  # type: ignore[attr-defined]
            for inner in _tables(field.annotation):
                if inner.__name__ not in found:
                    found.add(inner.__name__)
                    ahead.append(inner)
    # A constant's prior has the keys of any prior.
    assert found - {"ConstantPrior"} <= set(DESCRIBED)


def _tables(annotation: object) -> list[type]:
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, priors.Frozen):
        return [annotation]
    return [t for part in get_args(annotation) for t in _tables(part)]


def test_headings_come_in_order_and_none_is_lost() -> None:
    for name in model_names():
        titles = [s.title for s in bm.explain(name).sections]
        assert titles == [t for t in SECTIONS if t in titles]
    full = theory(
        claim="c",
        mechanisms=["M01"],
        references=["vullnetari2020"],
        utility={"persons": "x"},
        groups=[{"by": "origin"}],
        hypotheses={"h": {"claim": "c", "statement": "share(internal) > 0.1"}},
        expect={"persons": 2},
    )
    assert [s.title for s in bm.explain(full).sections] == list(SECTIONS)


# ----------------------------------------------------------------- packaged theories


def test_the_golden_text() -> None:
    """Written anew by: python -c 'import bayesmig as bm; print(bm.explain("selectivity").text)'."""
    assert bm.explain("selectivity").text + "\n" == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", model_names())
def test_a_packaged_theory_is_explained_whole(name: str) -> None:
    spec = bm.load_model(name)
    explanation = bm.explain(name)
    text = explanation.text
    for word in (*spec.columns, *spec.hypotheses, *spec.mechanisms, *spec.choice.alternatives):
        assert word in text
    for hypothesis in spec.hypotheses.values():
        assert hypothesis.claim in re.sub(r"\s+", " ", text)
    for own in spec.priors.coefficient:
        assert own.name in section(explanation, "Priors")
    assert text.count("Identified by ") == len(spec.hypotheses)
    assert bm.explain(spec).text == text


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_screen(name: str, width: int) -> None:
    lines = bm.explain(name).at_width(width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("name", model_names())
def test_latex_is_balanced_and_names_every_column(name: str) -> None:
    spec, latex = bm.load_model(name), bm.explain(name).latex
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert latex.count(r"\begin{align*}") == latex.count(r"\end{align*}") > 2
    for column in spec.utility.persons_formula.columns:
        assert column.replace("_", r"\_") in latex
    assert not re.search(r"(?<!\\)_(?![{jk])", latex)


# ---------------------------------------------------------------------- the utility


def test_every_kind_of_block_enters_the_utility() -> None:
    spec = theory(
        utility={
            "persons": "female + C(school, reference='none') + bs(age, df=4) + log(wealth + 1)",
            "only": {"international": "1 + visa"},
            "alternatives": "cost + cost:female",
        },
        groups=[{"by": "household", "terms": "0 + female", "correlated": False}],
        available={"international": "open"},
    )
    text = section(bm.explain(spec), "Utility")
    assert "V[stay] = g1·cost[stay] + g2·cost[stay]·female" in text
    assert "b2[j,school]" in text and "one for each level of school other than none" in text
    assert "b3[j]'·bs(age, df=4)" in text and "B-spline" in text
    assert "V[international] = the above + c0[international] + c1·visa" in text
    assert "u_household[j,female]·female" in text and "u_household[j] +" not in text
    latex = bm.explain(spec).latex
    assert r"\log\left(\left(\mathrm{wealth} + 1\right)\right)" in latex
    assert r"\mathrm{cost}_{\mathrm{stay}}" in latex and r"\mathrm{cost}_{j}" in latex
    assert r"\boldsymbol{\beta_{3,j}}^\top" in latex
    assert "international can be chosen where open is 1" in section(bm.explain(spec), "Choice")
    assert "independent of each other" in section(bm.explain(spec), "Group effects")


def test_a_utility_counts_its_coefficients() -> None:
    """As many numbered products as the theory's author counts, the constant apart."""
    for name in model_names():
        spec = bm.load_model(name)
        text = bm.explain(name).at_width(10_000)
        numbers = re.findall(r"\bb(\d+)\[j\]·", text)
        # Classes, of which shipped theories have three each: two coefficients to a term.
        classes = re.findall(r"\bb(\d+)\[j,\w+\] ", text)
        of_pools = re.findall(r"\bbeta\[\w+, j\] \+ u_pool_", text)
        found = len(numbers) + 2 * len(classes) + len(of_pools)
        assert found == (spec.expect.persons or 0) - 1
        numbers += classes
        assert numbers == [str(n) for n in range(1, len(numbers) + 1)]


def test_a_theory_without_a_constant_has_none() -> None:
    text = bm.explain(theory(utility={"persons": "0 + x"})).text
    assert "asc" not in text and "constants" not in text


@pytest.mark.parametrize(
    ("terms", "size"), [("1", 2), ("1 + x", 4), ("0 + x", 2), ("1 + C(x, reference=1)", None)]
)
def test_effects_of_a_group_are_counted(terms: str, size: int | None) -> None:
    spec = theory(groups=[{"by": "origin", "terms": terms}])
    assert effects_of_one(spec, spec.groups[0]) == size


def test_one_effect_alone_has_no_correlation() -> None:
    choice = {"alternatives": ["stay", "go"], "base": "stay"}
    text = bm.explain(theory(choice=choice, groups=[{"by": "origin"}])).text
    assert "corr_origin" not in text and "Normal(0, S²)" in text


# ----------------------------------------------------------------------- hypotheses


def claim(text: str, rope: float = 0.0) -> Hypothesis:
    return Hypothesis(claim="c", statement=text, rope=rope)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("share(a) > share(b)", "The average probability of a is above that of b."),
        ("share(a) < 0.25", "The average probability of a is below 0.25."),
        (
            "comparison(x, a) > 0",
            "Where x is higher by one, the average difference of the probability of a is above "
            "zero.",
        ),
        (
            "lift(x, a) < lift(x, b)",
            "Where x is higher by one, the relative difference of the average probability of a is "
            "below that of b.",
        ),
        (
            "slope(x, a) > slope(y, a)",
            "The average derivative by x of the probability of a is above the average derivative "
            "by y of the probability of a.",
        ),
        (
            "lift(x, a) > lift(y, a)",
            "Where x is higher by one, the relative difference of the average probability of a is "
            "above the relative difference of the average probability of a where y is higher by "
            "one.",
        ),
        (
            "log_odds(x, a, y=1) > log_odds(x, a, y=0)",
            "Where x is higher by one and y is 1 for all, the average difference of people's log "
            "odds of a against the base is above that where y is 0 for all.",
        ),
        (
            "log_odds(a) - log_odds(b) > 0",
            "The average of people's log odds of a against the base less the average of people's "
            "log odds of b against the base is above zero.",
        ),
        (
            "share(a) / (share(b) + 1) > -share(c)",
            "The average probability of a divided by (the average probability of b plus 1) is "
            "above minus the average probability of c.",
        ),
        (
            "share(a) > 0.1 and share(b) > 0.1",
            "Both hold: (1) the average probability of a is above 0.1; (2) the average "
            "probability of b is above 0.1.",
        ),
    ],
)
def test_a_statement_is_spelled_out(text: str, words: str) -> None:
    assert spelled_out(claim(text)) == words


@pytest.mark.parametrize(
    ("text", "rope", "words"),
    [
        ("share(a) > 0.1", 0.0, "No ROPE is stated"),
        ("share(a) > 0.1", 0.01, "less than 1 percentage point counts"),
        ("slope(x, a) > 0", 0.02, "less than 2 percentage points per unit counts"),
        ("lift(x, a) > 0", 0.05, "less than 5 % of an alternative's own probability counts"),
        ("log_odds(x, a) > 0", 0.1, "less than 0.1 of log odds (a factor of 1.11 of odds) counts"),
        ("log_odds(x, a) - log_odds(x, b) > 1", 0.1, "less than 0.1 of log odds"),
        ("log_odds(x, a) > lift(x, b)", 0.1, "less than 0.1 between the two sides"),
        ("lift(x, a) != 0", 0.05, "the claim is of a larger one"),
        ("share(a) / share(b) > 1", 0.1, "less than 0.1 between the two sides counts"),
        (
            "share(a) > 0.1 and lift(x, a) > 0",
            0.05,
            "5 percentage points or 5 % of an alternative's own probability",
        ),
    ],
)
def test_a_rope_is_read_in_the_units_of_its_estimand(text: str, rope: float, words: str) -> None:
    assert words in rope_meaning(claim(text, rope))


# ------------------------------------------------------------------- identification


def needs(spec: ModelSpec, text: str) -> str:
    return " ".join(needs_of_hypothesis(spec, claim(text), None))


NETWORKS = "network_internal + network_international"


def test_a_cross_effect_needs_both_networks_apart() -> None:
    both = theory(utility={"persons": NETWORKS})
    cross = "comparison(network_internal, international) > 0"
    assert "network_internal and network_international must not rise and fall" in needs(both, cross)
    own = "comparison(network_internal, internal) > 0"
    assert "cross effect" not in needs(both, own)
    assert "cross effect" not in needs(both, "comparison(network_internal, stay) < 0")


@pytest.mark.parametrize(
    ("text", "words", "needed"),
    [
        (
            "vpc('household:origin', internal) > 0.01",
            "The share of the variance of internal's utility that lies between combinations of "
            "household and origin is above 0.01.",
            "many combinations of household and origin, and several choices in each",
        ),
        (
            "correlation(origin, international, internal) < 0",
            "The correlation of internal and international over origins is below zero.",
            "movers of both kinds",
        ),
        (
            "kept(international) > 0.1",
            "The share kept from international of those who would choose it if they could is above "
            "0.1.",
            "what makes international feasible and not wanted",
        ),
        (
            "unable(international) > 0.1",
            "The share of those who stay that would choose international if everybody could is "
            "above 0.1.",
            "what makes international feasible and not wanted",
        ),
    ],
)
def test_claims_about_groups_and_feasibility_have_words(text: str, words: str, needed: str) -> None:
    assert spelled_out(claim(text)) == words
    said = needs(theory(), text)
    assert needed in said
    assert "shares alone" not in said


def test_columns_that_a_claim_holds_are_needed_too(survey: bm.Survey) -> None:
    spec = theory(utility={"persons": "age * female"})
    held = "share(international, age=99, female=1) / share(internal, age=99, female=1) > 0.5"
    said = needs(spec, held)
    assert "people who differ in age and female and are alike" in said
    assert "It holds age and female for everybody" in said
    assert "shares alone" not in said
    both = "lift(female, internal, age=p10) < lift(female, internal, age=p90)"
    assert "people who differ in female and age" in needs(spec, both)
    assert "shares alone" in needs(spec, "share(internal) > share(international)")
    facts = " ".join(needs_of_hypothesis(spec, claim(held), Facts(survey)))
    assert "age = 99 lies outside of" in facts
    assert "female = 1 lies outside" not in facts


def test_what_two_averages_need_alike_is_said_once_as_a_sentence() -> None:
    said = needs(theory(), "kept(international, age=p10) > kept(international, age=p90)")
    assert said.count("at makes international feasible and not wanted") == 1
    assert "in the other columns. What makes international feasible" in said


def test_a_claim_about_the_shape_of_a_curve_is_said_to_be_weakly_told() -> None:
    spec = bm.load_model("network_threshold")
    said = {
        name: " ".join(needs_of_hypothesis(spec, h, None)) for name, h in spec.hypotheses.items()
    }
    assert (
        "It rests on the shape of the curve of network_international (half_saturation and "
        in (said["threshold"])
    )
    assert "expect the claim to be called weakly identified" in said["threshold"]
    assert "shape of the curve" not in said["network_pulls"]


def test_a_cross_effect_without_its_sibling_is_warned_of() -> None:
    one = theory(utility={"persons": "network_internal + prior_international"})
    text = needs(one, "comparison(network_internal, international) > 0")
    assert "network_international is not in the theory" in text


@pytest.mark.parametrize(
    ("column", "moves"),
    [
        ("prior_internal", ("prior", "internal", "")),
        ("network_international", ("network", "international", "")),
        ("network_internal_women", ("network", "internal", "women")),
        ("household_internal_city", ("household", "internal_city", "")),
        ("returned_international", ("returned", "international", "")),
        ("away_internal", ("away", "internal", "")),
        ("network_stay", None),
        ("jobs_internal", None),
        ("network", None),
        ("network_internalized", None),
    ],
)
def test_earlier_moves_are_known_by_their_names(
    column: str, moves: tuple[str, str, str] | None
) -> None:
    choice = {
        "alternatives": ["stay", "internal", "internal_city", "international"],
        "base": "stay",
    }
    found = earlier_moves(theory(choice=choice), column)
    assert (None if found is None else dataclasses.astuple(found)) == moves
    if found is not None:
        assert found.of_stream(found.alternative) == column


def test_columns_that_hold_attributes_are_read() -> None:
    spec = theory(utility={"persons": "1", "alternatives": "distance"})
    assert "does not read" not in needs(spec, "slope(distance_internal, internal) < 0")
    assert "does not read height" in needs(spec, "slope(height, internal) < 0")


def test_a_column_that_the_theory_does_not_read_is_told() -> None:
    assert "does not read age" in needs(theory(), "comparison(age, internal) > 0")
    assert "does not read" not in needs(
        theory(utility={"persons": "age"}), "comparison(age, internal) > 0"
    )


@pytest.mark.parametrize(
    ("persons", "said", "not_said"),
    [
        ("age + school", "", "combinations"),
        ("age * school", "age × school", "bend"),
        ("age + square(age)", "may bend", "combinations"),
        ("C(job, reference='farm')", "each level", "bend"),
        ("prior_internal", "Own earlier moves", "Exposure"),
        (NETWORKS, "Exposure to earlier moves", "Own earlier moves"),
        ("female:age + female:age:school", "female × age × school", "female × age\n"),
    ],
)
def test_needs_follow_from_how_columns_enter(persons: str, said: str, not_said: str) -> None:
    text = section(bm.explain(theory(utility={"persons": persons})), "What identifies it")
    assert said in text and not_said not in text


def test_needs_do_not_depend_on_the_name_of_the_theory() -> None:
    spec = bm.load_model("networks")
    renamed = spec.replace(name="other")
    assert bm.explain(renamed).sections == bm.explain(spec).sections


def test_a_group_of_persons_answers_the_doubt_about_own_earlier_moves() -> None:
    alone = theory(utility={"persons": "prior_internal"})
    with_group = theory(utility={"persons": "prior_internal"}, groups=[{"by": "person"}])
    assert "has no such effect" in bm.explain(alone).at_width(10_000)
    assert "has no such effect" not in bm.explain(with_group).at_width(10_000)


# ------------------------------------------------------------------------- a survey


def people(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    village = np.arange(n) % 8
    return pd.DataFrame(
        {
            "moved": rng.choice(["stay", "internal", "international"], n, p=[0.6, 0.3, 0.1]),
            "pid": np.arange(n),
            "hh": np.arange(n) // 2,
            "village": village,
            "age": rng.normal(30, 8, n),
            "before": rng.integers(0, 2, n),
            "shared": village * 2.0,
        }
    )


@pytest.fixture(scope="module")
def survey() -> bm.Survey:
    return bm.read_survey(
        people(),
        roles={"choice": "moved", "person": "pid", "household": "hh", "origin": "village"},
        alternatives=["stay", "internal", "international"],
        derive={"age_10": "(age - 25) / 10"},
        networks={"network_internal": {"prior": "before"}},
    )


ON_SURVEY = {
    "utility": {
        "persons": "age_10 + before + shared + network_internal + nowhere",
        "period_constants": True,
    },
    "groups": [{"by": "origin"}],
    "columns": {"age_10": "tens of years"},
    "hypotheses": {"h": {"claim": "c.", "statement": "comparison(age_10, internal) > 0"}},
}


def test_columns_are_traced_to_the_survey(survey: bm.Survey) -> None:
    text = section(bm.explain(theory(**ON_SURVEY), survey), "Columns")
    assert "tens of years. In this survey: (age - 25) / 10." in text
    assert "In this survey: share of origin with before, own household left out." in text
    assert "In this survey: the column before, as it is." in text
    assert "NOT in this survey." in text
    assert "the role origin is the column village of this survey, 8 values." in text


def test_the_survey_s_variation_is_told(survey: bm.Survey) -> None:
    explanation = bm.explain(theory(**ON_SURVEY), survey)
    text = section(explanation, "What identifies it")
    counts = people()["moved"].value_counts()
    assert f"({counts['internal']:,})" in text
    assert "8 origins, the median one with 50 choices" in text
    assert "shared (0 %)" in text and "age_10 (" not in text
    assert "one period, and so there are none" in text
    assert "the codebook computes network_internal so" in text
    assert "d[j,t]" not in explanation.text
    assert f"here {counts['internal']:,}" in section(explanation, "Hypotheses")
    assert "(village of this survey)" in explanation.at_width(10_000)


def test_facts_against_loops(survey: bm.Survey) -> None:
    facts, frame = Facts(survey), survey.frame
    rows = frame.to_dict("records")
    for column in ("age_10", "shared", "network_internal"):
        mean = sum(r[column] for r in rows) / len(rows)
        total = sum((r[column] - mean) ** 2 for r in rows)
        within = 0.0
        for village in {r["origin"] for r in rows}:
            own = [r[column] for r in rows if r["origin"] == village]
            within += sum((v - sum(own) / len(own)) ** 2 for v in own)
        assert facts.within_share(column, "origin") == pytest.approx(within / total, abs=1e-12)
    movers: dict[str, set[str]] = {}
    for r in rows:
        if r["choice"] != "stay":
            movers.setdefault(r["origin"], set()).add(r["choice"])
    both = sum(len(streams) > 1 for streams in movers.values())
    assert facts.groups_with_both("origin", "stay") == both
    assert facts.groups("origin") == (8, 50.0)
    assert facts.choices == {a: sum(r["choice"] == a for r in rows) for a in survey.alternatives}
    assert facts.within_share("nowhere", "origin") is None
    assert facts.correlation("age_10", "nowhere") is None
    x, y = (np.array([r[c] for r in rows], float) for c in ("age_10", "shared"))
    by_hand = ((x - x.mean()) * (y - y.mean())).sum() / (len(x) * x.std() * y.std())
    assert facts.correlation("age_10", "shared") == pytest.approx(by_hand)


def test_explaining_reads_a_survey_and_changes_nothing(survey: bm.Survey) -> None:
    before = survey.frame
    bm.explain(theory(**ON_SURVEY), survey)
    pd.testing.assert_frame_equal(survey.frame, before)


def test_attributes_of_the_survey_are_told_from_columns_of_people() -> None:
    frame = people().assign(fare=1.0)
    survey = bm.read_survey(
        frame,
        roles={"choice": "moved"},
        alternatives=["stay", "internal", "international"],
        attributes={"cost": {"stay": 0, "internal": "fare", "international": "age"}},
    )
    spec = theory(utility={"persons": "1", "alternatives": "cost + cost:before"})
    assert Context(spec, survey).varying == {"cost"}
    text = bm.explain(spec, survey).at_width(10_000)
    assert "g2·cost[j]·before" in text
    assert "In this survey an attribute: stay 0, internal fare, international age." in text
    # Without the survey, both could be attributes.
    assert "before[j]" in bm.explain(spec).at_width(10_000)


# ------------------------------------------------------------------------ the value


def test_an_explanation_is_frozen_and_prints_its_text() -> None:
    explanation = bm.explain("baseline")
    assert str(explanation) == explanation.text == explanation.at_width(80)
    with pytest.raises(dataclasses.FrozenInstanceError):
        explanation.name = "x"  # type: ignore[misc]


def test_html_escapes_what_theories_say() -> None:
    spec = theory(title="<b>", claim="a & b", columns={"x": "<i>"}, utility={"persons": "x"})
    html = bm.explain(spec)._repr_html_()
    assert "<b>" not in html and "<i>" not in html and "a &amp; b" in html


def test_equations_break_between_summands() -> None:
    terms = tuple(Math(f"b{k}·column_{k}", f"x_{k}") for k in range(20))
    page = Explanation("n", "", (Section("s", (Equation(Math("V", "V"), terms),)),))
    for width in (40, 80):
        lines = page.at_width(width).splitlines()[5:]
        assert all(len(line) <= width for line in lines)
        assert " ".join(" ".join(lines).split()) == "V = " + " + ".join(t.plain for t in terms)


def test_long_names_stand_above_their_texts() -> None:
    page = Explanation("n", "", (Section("s", (Items((("a" * 30, "text"), ("b", "more"))),)),))
    assert page.at_width(60).splitlines()[-4:] == [
        f"  {'a' * 30}",
        "      text",
        "  b",
        "      more",
    ]


@pytest.mark.parametrize("wrong", [3, None, {"name": "x"}])
def test_what_is_no_theory_is_refused(wrong: object) -> None:
    with pytest.raises(SpecError, match="a theory, its name or its file was expected"):
        bm.explain(wrong)  # type: ignore[arg-type]


def test_a_file_is_explained_as_a_packaged_name_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "networks"\ntitle = "Mine"\n')
    assert bm.explain(path).text.startswith("mine: Mine\n")
    with pytest.raises(SpecError, match="no packaged model 'network'"):
        bm.explain("network")


def test_a_weighted_likelihood_is_explained() -> None:
    spec = bm.ModelSpec.model_validate(
        {
            "name": "weighted",
            "choice": {"alternatives": ["stay", "go"], "base": "stay"},
            "utility": {"persons": "female"},
            "weights": "pseudo",
        }
    )
    text = " ".join(bm.explain(spec).text.split())
    assert "weigh the likelihood (a pseudo-posterior) and averages over people" in text
    assert "corrected for strata, sampling units and weights" in text
