"""The shipped theories on simulated surveys: they fit, and count what they say."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bayesmig.changes import check_change, held, theory_columns
from bayesmig.choice.probabilities import beyond_logit, log_probabilities
from bayesmig.design.design import Design, build_design
from bayesmig.design.formula import CONSTANT
from bayesmig.hypotheses import validate_hypotheses
from bayesmig.inference.density import Density
from bayesmig.inference.graph import build_graph
from bayesmig.policy.counterfactual import validate_scenario
from bayesmig.simulation import simulate
from bayesmig.simulation.worlds import COVARIATES
from bayesmig.spec.library import load_model, load_scenario, model_names, scenario_names
from bayesmig.spec.scenario import MoveCoefficient, ScaleColumn
from bayesmig.survey.codebook import Codebook
from bayesmig.survey.survey import Survey, read_survey
from bayesmig.tomlfile import read_toml, validate
from tests.fabricate import fabricated
from tests.inference.test_beyond_logit import has_the_likelihood_of_numpy
from tests.inference.test_op import density, points
from tests.quick import some_quick

OF_HOUSEHOLDS = ("household_strategies",)
#: Theories of what moves cost, which differs over alternatives.
OF_COSTS = ("substitution", "liquidity_constraint")
#: Theories of a choice among several places.
OF_PLACES = ("destinations",)
#: Scenario -> a theory of what it changes; of others, `networks` is, or the one of households.
THEORY_OF = {
    "fares_halved": ("substitution", "liquidity_constraint"),
    "language_courses": ("continuum",),
    "permits_abolished": ("internal_regime",),
    "skills_recognised": ("skill_transfer",),
}


#: One of every component that theories have.
OF_EVERY_KIND = (
    "destinations", "intersectional_cells", "liquidity_constraint", "network_threshold",
    "networks", "selectivity_curves", "shared_drivers",
)  # fmt: skip


@pytest.fixture(scope="module")
def surveys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Survey]:
    folder = tmp_path_factory.mktemp("surveys")
    covariates = {f"utility.internal.{c}": 0.0 for c in COVARIATES}
    asked: dict[str, Any] = {
        "person": {"periods": 2, "effects": covariates},
        "household": {"unit": "household"},
        "costs": {"periods": 2, "world": "regimes"},
        "places": {"periods": 2, "world": "destinations"},
    }
    return {
        name: read_survey(simulate(folder / name, persons=2000, seed=3, **keys).codebook)
        for name, keys in asked.items()
    }


@pytest.fixture(scope="module")
def networks(surveys: dict[str, Survey]) -> Design:
    return build_design(load_model("networks"), surveys["person"])


@pytest.fixture(scope="module")
def households(surveys: dict[str, Survey]) -> Design:
    return build_design(load_model("household_strategies"), surveys["household"])


def survey_for(model: str, surveys: dict[str, Survey]) -> Survey:
    if model in OF_COSTS:
        return surveys["costs"]
    if model in OF_PLACES:
        return surveys["places"]
    return surveys["household" if model in OF_HOUSEHOLDS else "person"]


@pytest.mark.parametrize("name", model_names())
def test_a_shipped_theory_counts_what_it_says(name: str, surveys: dict[str, Survey]) -> None:
    spec = load_model(name)
    built = build_design(spec, survey_for(name, surveys))  # refuses a wrong [expect]
    own = [label for label in built.persons if not label.startswith("period[")]
    assert len(own) == spec.expect.persons
    assert len(built.only) == (spec.expect.only or 0)
    assert len(built.attribute_terms) == (spec.expect.alternatives or 0)
    assert built.persons[0] == CONSTANT
    n_periods = survey_for(name, surveys).role("period").nunique()
    assert len(built.persons) - len(own) == n_periods - 1
    asked = {a.variable for h in spec.hypotheses.values() for i in h.inequalities
             for a in i.averages}  # fmt: skip
    assert asked - {""} <= set(built.frame.columns)


def test_a_wrong_count_would_be_seen(surveys: dict[str, Survey]) -> None:
    spec = load_model("networks").replace(expect={"persons": 17})
    with pytest.raises(Exception, match="expects 17 coefficients in persons, got 18"):
        build_design(spec, surveys["person"])


def test_gender_age_and_education_are_fully_crossed(networks: Design) -> None:
    built, frame = networks, networks.frame
    for label in ("female:age_10", "female:education", "female:age_10:education"):
        expected = np.prod([frame[c] for c in label.split(":")], axis=0)
        at = built.persons.index(label)
        np.testing.assert_allclose(built.columns.persons[:, at], expected)


def test_a_square_follows_its_column_into_a_scenario(networks: Design) -> None:
    built = networks
    richer = built.apply(built.frame.assign(wealth=lambda f: f["wealth"] + 0.5))
    wealth, square = (built.persons.index(n) for n in ("wealth", "square(wealth)"))
    np.testing.assert_allclose(richer.persons[:, square], richer.persons[:, wealth] ** 2)
    assert not np.allclose(richer.persons[:, square], built.columns.persons[:, square])


def test_household_ties_vary_within_origins_and_exposure_does_not(networks: Design) -> None:
    """Why `unobserved_origins` has the slope that it has."""
    frame = networks.frame
    one_round = frame[frame["period"] == frame["period"].min()]

    def within(column: str) -> float:
        groups = one_round.groupby("origin")[column]
        return float((one_round[column] - groups.transform("mean")).var() / one_round[column].var())

    assert within("household_internal") > 0.5
    assert within("network_international") < 0.1


def test_priors_of_rare_indicators_are_per_unit(networks: Design) -> None:
    built = networks
    scale = built.priors["persons"].scale
    assert (scale[built.persons.index("prior_international")] == 2.0).all()
    spread = built.columns.persons[:, built.persons.index("education")].std()
    assert scale[built.persons.index("education")] == pytest.approx(1 / spread)


@pytest.mark.parametrize("name", scenario_names())
def test_a_shipped_scenario_changes_what_its_theories_read(
    name: str, surveys: dict[str, Survey]
) -> None:
    usual = OF_HOUSEHOLDS if name.endswith("_households") else ("networks", "unobserved_origins")
    for theory in THEORY_OF.get(name, usual):
        survey = survey_for(theory, surveys)
        built = build_design(load_model(theory), survey)
        validate_scenario(load_scenario(name), built, survey.frame)
        for step in load_scenario(name).interventions:
            if isinstance(step, MoveCoefficient):
                assert step.name in built.persons
                assert step.alternative in built.nonbase
                continue
            read = set(theory_columns(built)) | built.attributes.keys()
            own = [getattr(step, key) for key in ("column", "attribute") if hasattr(step, key)]
            assert read.issuperset(own)
            assert read.issuperset(f.column for f in step.where)


@pytest.mark.parametrize("name", model_names())
def test_questions_of_a_shipped_theory_are_not_refused(
    name: str, surveys: dict[str, Survey]
) -> None:
    """Simulated codebooks compute columns from sources that no theory reads itself."""
    survey = survey_for(name, surveys)
    built = build_design(load_model(name), survey)
    assert built.derived or name == "baseline"
    # Cells of an intersection are classes of numbers, which cannot change without them.
    asked = {"female"} if name == "intersectional_cells" else set(theory_columns(built))
    for column in asked - {"period"}:
        check_change(built, column)
        assert held(built, [column]) == ""
    validate_hypotheses(built)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("name", model_names())
def test_density_and_gradient_of_a_shipped_theory_are_finite(
    name: str, surveys: dict[str, Survey]
) -> None:
    design = build_design(load_model(name), survey_for(name, surveys))
    if beyond_logit(design.columns):
        coefficients = fabricated(design, chains=1, draws=10).coefficients()
        log_p = log_probabilities(np, design.columns, coefficients)
        assert np.isfinite(log_p).all()
        np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1.0)
        # The PyMC model, which samples what lies beyond the map.
        model = build_graph(design)
        found = [density(model)(point) for point in points(model, 2)]
    else:
        of_map = Density(design)
        starts = (of_map.start(np.random.default_rng(seed)) for seed in range(2))
        found = [of_map(start) for start in starts]
    for value, *slopes in found:
        gradient = np.concatenate([np.ravel(s) for s in slopes])
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert (gradient != 0).any()


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("name", some_quick(model_names(), OF_EVERY_KIND))
def test_numpy_and_pytensor_agree_on_a_shipped_theory(
    name: str, surveys: dict[str, Survey]
) -> None:
    has_the_likelihood_of_numpy(build_design(load_model(name), survey_for(name, surveys)))


@pytest.mark.parametrize("name", ["ifls", "ifls_all"])
def test_shipped_codebooks_compute_nothing_from_columns_of_theories(
    name: str, repository: Path
) -> None:
    """But from the period, within which wealth is scaled: it cannot change alone."""
    book = validate(
        Codebook, read_toml(repository / "surveys" / f"{name}.toml", "codebook"), file=name
    )
    theory = load_model(repository / "studies" / "networks_unknown.toml")
    read = {*theory.columns, "prior_internal", "female"}
    for column in read:
        assert not book.sources(column) & read
    assert "period" in book.sources("wealth")


@cache
def _ifls(path: Path) -> Survey:
    return read_survey(path)


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "baseline",
        "unobserved_origins",
        "cumulative_causation",
        "household_substitutes",
        "intersectional_selectivity",
        "network_saturation",
        "network_selectivity",
        "step_migration",
        "wealth_and_liquidity",
    ],
)
def test_a_shipped_theory_works_unchanged_on_ifls(
    name: str, repository: Path, real_data: Path
) -> None:
    built: Design = build_design(load_model(name), _ifls(repository / "surveys" / "ifls.toml"))
    assert len(built.persons) == (load_model(name).expect.persons or 0) + 2  # three periods
    assert built.support.warnings == ()
    validate_hypotheses(built)


@pytest.mark.real
def test_columns_that_a_scenario_scales_count_from_zero_on_ifls(
    repository: Path, real_data: Path
) -> None:
    frame = _ifls(repository / "surveys" / "ifls.toml").frame
    steps = [step for name in scenario_names() for step in load_scenario(name).interventions]
    scaled = {step.column for step in steps if isinstance(step, ScaleColumn)} & {*frame.columns}
    assert scaled >= {"network_international", "household_international"}
    assert (frame[sorted(scaled)].min() == 0).all()
