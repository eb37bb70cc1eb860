"""The command line: parse, call, show. Results on stdout, everything else on stderr.

Exit codes: 0 fine; 1 something is wrong with what was asked (one message, no traceback);
2 checks failed under ``--strict``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from shutil import get_terminal_size
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmig.errors import BayesmigError, PosteriorError, QuestionError, SpecError

if TYPE_CHECKING:
    import pandas as pd

    from bayesmig.checks.result import CheckResults
    from bayesmig.study import StudyResult

app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress bars.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0)]
Unconverged = Annotated[
    bool, typer.Option("--allow-unconverged", help="Use draws that have not converged.")
]
By = Annotated[list[str] | None, typer.Option(help="Column to break results down by.")]
Fit = Annotated[
    Path,
    typer.Argument(
        help="Draws (.nc) of `bayesmig fit`, or of a study: OUT/steps/fit-THEORY/posterior.nc."
    ),
]
PopulationOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--population", help="Csv of cells and their people (column count); several are margins."
    ),
]
SurveyOption = Annotated[
    Path | None,
    typer.Option("--survey", help="Codebook of the fit, for columns beside the theory's."),
]

_DEMO_STUDY = """\
title = "Who goes where? A synthetic survey"
survey = "survey/survey.toml"
theories = ["baseline", "selectivity", "networks"]
scenarios = ["network_cut", "border_closure"]
seed = {seed}

[sampling]
tune = 400

[questions]
by = ["female", "wealth"]
comparisons = ["female", "education", "wealth", "prior_internal", "prior_international"]
slopes = ["network_internal", "network_international"]

[rehearsal]
worlds = 10
"""


def main() -> None:
    """Run the command line; wrong use and bad input end with 1 and one message."""
    # Chains and sums have threads of their own; more of them below only get in the way.
    # NumPy reads this when it is first imported, which is later.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # Typer's own code for wrong use is 2, which here means failed checks.
    try:
        code = app(standalone_mode=False)
    except BayesmigError as err:
        _say(f"error: {_in_options(str(err))}")
        code = 1
    except KeyboardInterrupt:
        _say("stopped; finished chains and steps are kept")
        code = 1
    except Exception as err:
        message = getattr(err, "format_message", None)
        if message is None:
            raise
        _say(f"error: {message()}\n  mend:  see bayesmig --help")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


#: Arguments of functions that commands have as options by themselves, or with a value.
_SWITCHES = {
    "allow_unconverged=True": "--allow-unconverged",
    "wts=False": "--unweighted",
    "folds='all'": "--one-by-one",
    "total=True": "--total",
}
_VALUES = (
    r"\b(draws|chains|ess|tune|method|groups|folds|question|target_accept)=['\"]?([\w.,]*\w)['\"]?"
)


def _in_options(text: str) -> str:
    """A message whose mend names options of commands, not arguments of functions."""
    said, mend, advice = text.partition("mend:")
    for argument, option in _SWITCHES.items():
        advice = advice.replace(argument, option)

    def option_of(found: re.Match[str]) -> str:
        return f"--{found[1].replace('_', '-')} {found[2].replace(',', '')}"

    return said + mend + re.sub(_VALUES, option_of, advice)


@app.callback(invoke_without_command=True)
def about(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Migration theories as hierarchical Bayesian choice models."""
    if version:
        from bayesmig import __version__

        print(f"bayesmig {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


# ----------------------------------------------------------------------- whole jobs


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("bayesmig-demo"),
    persons: Annotated[
        int, typer.Option(help="Persons to simulate.", min=500, max=1_000_000)
    ] = 2000,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Simulate a survey, run a whole study on it, write a report.

    Example: bayesmig demo --out bayesmig-demo
    """
    from bayesmig.simulation import simulate as write_survey
    from bayesmig.study import output_folder
    from bayesmig.study import run as run_study

    study = output_folder(out, _is_of_a_demo) / "study.toml"
    # First, since it says whose folder this is.
    study.write_text(_DEMO_STUDY.format(seed=seed))
    _say(f"simulating {persons:,} persons")
    write_survey(out / "survey", persons=persons, seed=seed, overwrite=True)
    result = run_study(study, out / "results", progress=not quiet)
    _show_failed(result)
    if said := _on_failed_checks(result.failed):
        _say(said)
    print(result.report)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="Study file (.toml).")],
    out: Annotated[Path, typer.Option(help="Output folder.")],
    strict: Annotated[bool, typer.Option("--strict", help="End with 2 if a check fails.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a study: fit, check, compare, test, predict, report. Run again to resume.

    Example: bayesmig run bayesmig-demo/study.toml --out answers
    """
    from bayesmig.study import run as run_study

    result = run_study(study, out, progress=not quiet)
    computed = ", ".join(result.computed) or "nothing: all was there already"
    _say(f"computed: {computed}")
    _show_run(result, as_json)
    if strict and result.failed:
        raise typer.Exit(2)


@app.command()
def report(
    path: Annotated[Path, typer.Argument(help="Output folder of a finished run, or study file.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Output folder of a study file; its own name where left out."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the report of a finished run again, or that of a study.

    A study file is run, as `bayesmig run` does. Of a folder nothing is computed.

    Example: bayesmig report answers
    """
    from bayesmig.study import report as write_report

    print(write_report(path, out, progress=not quiet))


@app.command()
def validate(
    file: Annotated[
        Path,
        typer.Argument(help="Study, codebook, model or scenario (.toml), or a theory's name."),
    ],
    as_json: AsJson = False,
) -> None:
    """Check a file in seconds, before anything is sampled.

    A study is checked with all that it names, a codebook with its data. A model or a
    scenario is checked by itself: whether a survey has its columns, and whether a
    theory uses them, only shows in a study that names them together.

    Example: bayesmig validate bayesmig-demo/study.toml
    """
    kind, check_file = _kind_of(file)
    warnings = _warnings_of(check_file(file))
    if as_json:
        _print_json({"file": str(file), "kind": kind, "valid": True, "warnings": warnings})
        return
    print(f"{file}: a valid {kind}")
    for warning in warnings:
        _say(f"warning: {warning}")


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    persons: Annotated[int, typer.Option(help="Persons, 500 to 1,000,000.")] = 5000,
    seed: Seed = 1,
    unit: Annotated[str, typer.Option(help="Who chooses: person or household.")] = "person",
    world: Annotated[
        str, typer.Option(help="Truth: albania, indonesia, regimes, communities, destinations.")
    ] = "albania",
    periods: Annotated[int, typer.Option(help="Waves of a panel.")] = 1,
    format: Annotated[str, typer.Option(help="csv.gz, csv or parquet.")] = "csv.gz",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a synthetic survey: data, codebook, true parameters.

    Example: bayesmig simulate my-survey --persons 20000 --seed 7
    """
    from bayesmig.progress import bars
    from bayesmig.simulation import simulate as write_survey

    with bars(not quiet) as tell:
        made = write_survey(
            folder,
            persons=persons,
            seed=seed,
            unit=unit,  # type: ignore[arg-type]
            world=world,  # type: ignore[arg-type]
            periods=periods,
            format=format,  # type: ignore[arg-type]
            overwrite=overwrite,
            progress=lambda done, total: tell("persons", done, total),
        )
    print(made.codebook)


@app.command()
def describe(
    codebook: Annotated[Path, typer.Argument(help="Codebook (.toml).")], as_json: AsJson = False
) -> None:
    """Show what of a survey was kept, its shares, what looks weak.

    Example: bayesmig describe my-survey/survey.toml
    """
    from bayesmig.survey.survey import read_survey

    description = read_survey(codebook).describe()
    if as_json:
        tables = {k: _records(v) for k, v in description.tables.items()}
        _print_json({"tables": tables, "warnings": list(description.warnings)})
    else:
        print(description)


@app.command()
def models(
    schema: Annotated[
        str | None,
        typer.Option(help="Print the JSON schema of a file: model, scenario, study, codebook."),
    ] = None,
    mechanisms: Annotated[
        bool,
        typer.Option("--mechanisms", help="List the literature's claims and what tests them."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the packaged theories and scenarios, one line each.

    Example: bayesmig models

    Example: bayesmig models --mechanisms
    """
    from bayesmig.spec.library import load_scenario, models_by_family, scenario_names

    if schema is not None and mechanisms:
        raise SpecError(
            "--schema and --mechanisms ask for different things", mend="ask one at a time"
        )
    if schema is not None:
        print(_schema(schema))
        return
    if mechanisms:
        _show_mechanisms(as_json)
        return
    families = models_by_family()
    theories = {m.name: m.title for models in families.values() for m in models}
    scenarios = {name: load_scenario(name).title for name in scenario_names()}
    if as_json:
        named = {heading: [m.name for m in models] for heading, models in families.items()}
        _print_json({"theories": theories, "families": named, "scenarios": scenarios})
        return
    width = max(map(len, [*theories, *scenarios]))
    told = {heading: {m.name: m.title for m in models} for heading, models in families.items()}
    for heading, titles in {**told, "Scenarios": scenarios}.items():
        print(heading)
        for name, title in titles.items():
            print(f"  {name:<{width}}  {title}")


@app.command()
def explain(
    theory: Annotated[str, typer.Argument(help="Name of a packaged theory, or a model file.")],
    codebook: Annotated[
        Path | None, typer.Argument(help="Codebook: say it of this survey's columns.")
    ] = None,
    survey: Annotated[
        Path | None, typer.Option("--survey", help="The codebook, named by an option.")
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print the formulas in LaTeX.")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="Draw the model as a tree.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="Draw the model for graphviz.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a theory claims, assumes and needs. Nothing is fitted.

    Example: bayesmig explain networks

    Example: bayesmig explain networks my-survey/survey.toml
    """
    from bayesmig.explanation.explain import explain as explain_theory
    from bayesmig.explanation.graph import graph as draw_theory
    from bayesmig.spec.library import load_model
    from bayesmig.survey.survey import read_survey

    asked = {"--latex": latex, "--graph": graph, "--dot": dot, "--json": as_json}
    if sum(asked.values()) > 1:
        raise QuestionError(
            " and ".join(option for option, given in asked.items() if given)
            + " ask for different things",
            mend="ask one at a time",
        )
    if codebook and survey:
        raise QuestionError("two codebooks are given", mend="leave one of them out")
    spec = load_model(theory)
    of = codebook or survey
    data = None if of is None else read_survey(of)
    if graph or dot:
        drawn = draw_theory(spec, data)
        print(drawn.source if dot else drawn.text)
        return
    explanation = explain_theory(spec, data)
    if as_json:
        _print_json(asdict(explanation))
    else:
        print(explanation.latex if latex else explanation.at_width(_columns()))


@app.command()
def prior(
    theory: Annotated[str, typer.Argument(help="Name of a packaged theory, or a model file.")],
    codebook: Annotated[Path, typer.Argument(help="Codebook of the survey (.toml).")],
    by: By = None,
    seed: Seed = 0,
    strict: Annotated[bool, typer.Option("--strict", help="End with 2 if a check fails.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask before any fit whether priors make absurd shares.

    Example: bayesmig prior networks my-survey/survey.toml --by education
    """
    from bayesmig.checks import check_prior
    from bayesmig.spec.library import load_model
    from bayesmig.survey.survey import read_survey

    results = check_prior(load_model(theory), read_survey(codebook), by=by, seed=seed)
    if by and not as_json:
        groups = results[1].table.drop(columns=["doubt", "p_adjusted"], errors="ignore")
        print(groups.round(3).to_string(index=False), end="\n\n")
    _show_checks(results, strict, as_json)


@app.command()
def rehearse(
    study: Annotated[Path, typer.Argument(help="Study file (.toml).")],
    theory: Annotated[
        str | None, typer.Option(help="Name of one of its theories; the main one if left out.")
    ] = None,
    worlds: Annotated[
        int | None, typer.Option(help="Simulated surveys of each kind; 50 if left out.", min=10)
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Ask by simulation which hypotheses a survey could decide.

    Example: bayesmig rehearse bayesmig-demo/study.toml --worlds 20
    """
    from bayesmig.errors import nearest
    from bayesmig.hypotheses import notes_of
    from bayesmig.rehearsal import rehearse as rehearse_theory
    from bayesmig.spec.study import RehearsalPlan
    from bayesmig.study import read_study

    plan = read_study(study)
    name = theory or plan.main
    if name not in plan.theories:
        raise QuestionError(
            f"the study has no theory {name!r}; {nearest(name, list(plan.theories))}",
            where=(str(study), "--theory"),
        )
    asked = plan.study.rehearsal or RehearsalPlan()
    if asked.effects and name != plan.main:
        _say(f"effects are stated of {plan.main}: those of {name} are drawn from its prior")
    found = rehearse_theory(
        plan.theories[name],
        plan.survey,
        seed=plan.study.seed,
        worlds=worlds or asked.worlds,
        effects=asked.effects if name == plan.main else None,
        progress=not quiet,
    )
    if as_json:
        tables = {"summary": _records(found.summary), "verdicts": _records(found.verdicts)}
        _print_json({"text": found.text, "header": dict(found.header), **tables})
        return
    print(_filled(found.text))
    for sentence in found.verdicts["sentence"]:
        print(_filled(f"- {sentence}", "  "))
    print(notes_of([found.header], _columns()))


@app.command()
def calibrate(
    theory: Annotated[str, typer.Argument(help="Name of a packaged theory, or a model file.")],
    codebook: Annotated[Path, typer.Argument(help="Codebook of the survey (.toml).")],
    worlds: Annotated[int, typer.Option(help="Simulated surveys.", min=20)] = 100,
    method: Annotated[
        str, typer.Option(help="auto, surrogate, nuts, graph, plain or preview.")
    ] = "auto",
    seed: Seed = 1,
    strict: Annotated[bool, typer.Option("--strict", help="End with 2 if it fails.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Ask whether fits are right: simulation-based calibration.

    Example: bayesmig calibrate selectivity my-survey/survey.toml --worlds 50 --method preview
    """
    from bayesmig.sbc import calibrate as calibrate_fits
    from bayesmig.spec.library import load_model
    from bayesmig.survey.survey import read_survey

    found = calibrate_fits(
        load_model(theory),
        read_survey(codebook),
        seed=seed,
        worlds=worlds,
        method=method,  # type: ignore[arg-type]
        progress=not quiet,
    )
    _show(found.summary, found.text, as_json)
    if strict and not found.passed:
        raise typer.Exit(2)


# ---------------------------------------------------------------- one step at a time


@app.command()
def fit(
    theory: Annotated[str, typer.Argument(help="Name of a packaged theory, or a model file.")],
    codebook: Annotated[Path, typer.Argument(help="Codebook of the survey (.toml).")],
    out: Annotated[Path, typer.Option(help="File to write (.nc).")],
    seed: Seed = 1,
    chains: Annotated[int, typer.Option(help="Chains.")] = 4,
    draws: Annotated[int, typer.Option(help="Draws kept of each chain.")] = 1000,
    method: Annotated[
        str, typer.Option(help="auto, surrogate, nuts, graph, plain or preview.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="auto, single or double.")] = "auto",
    ess: Annotated[
        int | None, typer.Option(help="What weighted draws must be worth; 400 if left out.")
    ] = None,
    tune: Annotated[int | None, typer.Option(help="Warm-up of each chain, NUTS only.")] = None,
    target_accept: Annotated[
        float | None, typer.Option(help="Wanted acceptance rate, NUTS only.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Sample the posterior of a theory on a survey. Killed, it goes on where it stopped.

    Example: bayesmig fit networks my-survey/survey.toml --out networks.nc --seed 7

    Example: bayesmig fit selectivity my-survey/survey.toml --out selectivity.nc
    """
    from bayesmig.design.design import build_design
    from bayesmig.hypotheses import validate_hypotheses
    from bayesmig.inference.routes import fit as sample
    from bayesmig.spec.library import load_model
    from bayesmig.spec.study import Sampling
    from bayesmig.survey.sampling import sampling_of
    from bayesmig.survey.survey import read_survey
    from bayesmig.tomlfile import validate as checked

    _refuse_output(out, Path(theory), codebook)
    options: dict[str, Any] = {"method": method, "precision": precision, "chains": chains}
    options |= {"draws": draws, "ess": ess, "tune": tune, "target_accept": target_accept}
    sampling = checked(Sampling, options, file="bayesmig fit")
    spec, survey = load_model(theory), read_survey(codebook)
    design = build_design(spec, survey)
    for warning in validate_hypotheses(design):
        _say(f"warning: {warning}")
    if design.is_pseudo:
        sampling_of(survey)
    posterior = sample(
        spec,
        survey,
        seed=seed,
        **sampling.model_dump(),
        keep=out.with_suffix(".chains") if sampling.has_chains else None,
        progress=not quiet,
    )
    posterior.save(out)
    summary, problems = posterior.summary(), posterior.problems()
    _say(f"{posterior.provenance.route}: {posterior.provenance.reason}")
    about = [f"the draws are {posterior.approximation}"] if posterior.is_preview else []
    warnings = [*about, *posterior.provenance.cautions]
    for warning in (*problems, *warnings):
        _say(f"warning: {warning}")
    if as_json:
        found = {"file": str(out), "problems": problems, "warnings": warnings}
        _print_json({**found, "summary": _records(summary)})
    else:
        _say(summary.to_string(index=False, float_format="{:.3f}".format))
        print(out)


@app.command()
def check(
    fit: Fit,
    by: By = None,
    survey: SurveyOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 2 if a check fails.")] = False,
    unconverged: Unconverged = False,
    as_json: AsJson = False,
) -> None:
    """Ask whether draws converged and a theory fits the data.

    Example: bayesmig check networks.nc --strict
    """
    from bayesmig.checks import check as check_posterior

    results = check_posterior(_load(fit, survey), by=by, allow_unconverged=unconverged)
    _show_checks(results, strict, as_json)


@app.command()
def compare(
    fits: Annotated[list[Path], typer.Argument(help="Two or more fits of the same survey.")],
    question: Annotated[
        str, typer.Option(help="What is predicted: a new person, origin, household; or period.")
    ] = "person",
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Parts left out by refits; importance weights if none."),
    ] = None,
    one_by_one: Annotated[
        bool, typer.Option("--one-by-one", help="Refit without each unit in turn.")
    ] = False,
    unweighted: Annotated[bool, typer.Option("--unweighted", help="Count every row once.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of folds and refits.")] = 0,
    unconverged: Unconverged = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Ask which theory predicts better what it has not seen.

    A new person in a known place by leave-one-out (PSIS, effects of groups integrated out); a
    new origin (--question origin), by refits with --folds 10; the next period (--question
    period). Fits go by the names of their theories, those of one name by their paths.

    Example: bayesmig compare selectivity.nc networks.nc --question origin --folds 10
    """
    from bayesmig.model_comparison import compare as compare_posteriors
    from bayesmig.progress import bars

    _refuse_twice(fits)
    if one_by_one and folds is not None:
        raise QuestionError(
            "--folds and --one-by-one are two ways to leave out the same",
            where="compare",
            mend="name one of them",
        )
    posteriors = _by_name({path: _load(path, None) for path in fits})
    with bars(not quiet) as tell:
        result = compare_posteriors(
            posteriors,
            question=question,
            folds="all" if one_by_one else folds,
            wts=not unweighted,
            seed=seed,
            allow_unconverged=unconverged,
            progress=tell,
        )
    _show(result.summary, result.text, as_json)


@app.command()
def test(
    fit: Fit,
    names: Annotated[list[str] | None, typer.Argument(help="Hypotheses; all if none.")] = None,
    population: PopulationOption = None,
    unconverged: Unconverged = False,
    as_json: AsJson = False,
) -> None:
    """Compute posterior probabilities of what a theory claims.

    Example: bayesmig test networks.nc cross_network_on_internal

    Example: bayesmig test networks.nc --population census.csv
    """
    from bayesmig.hypotheses import test as test_hypotheses

    options = {"allow_unconverged": unconverged, **_population(population)}
    results = test_hypotheses(_load(fit, None), names or None, **options)
    if as_json:
        _print_json(
            {
                name: {
                    # JSON has no NaN: what cannot be computed is null.
                    "probability": r.probability if isfinite(r.probability) else None,
                    "prior_probability": (
                        r.prior_probability if isfinite(r.prior_probability) else None
                    ),
                    "identification": r.identification,
                    "verdict": r.verdict,
                    "same_as": r.same_as,
                    "sentence": r.sentence,
                    "parts": _records(r.summary),
                }
                for name, r in results.items()
            }
        )
        return
    print(results.at_width(_columns()))


def _population(paths: list[Path] | None) -> dict[str, Any]:
    """The option of questions that weigh to a population."""
    from bayesmig.survey.population import read_population

    tables = [read_population(path) for path in paths or ()]
    return {"population": tables[0] if len(tables) == 1 else tables} if tables else {}


@app.command()
def predict(
    fit: Fit,
    by: By = None,
    comparison: Annotated[
        list[str] | None, typer.Option(help="Column whose change is compared.")
    ] = None,
    slope: Annotated[list[str] | None, typer.Option(help="Column whose slope is asked.")] = None,
    scenario: Annotated[
        str | None, typer.Option(help="Packaged scenario or file: what would change.")
    ] = None,
    groups: Annotated[str, typer.Option(help="observed, new, typical or average.")] = "observed",
    population: PopulationOption = None,
    total: Annotated[bool, typer.Option("--total", help="Numbers of people, not shares.")] = False,
    survey: SurveyOption = None,
    unconverged: Unconverged = False,
    as_json: AsJson = False,
) -> None:
    """Average probabilities, effects, contrasts of a scenario.

    Example: bayesmig predict networks.nc --by education

    Example: bayesmig predict networks.nc --comparison female --comparison wealth

    Example: bayesmig predict networks.nc --scenario network_cut --by female

    Example: bayesmig predict networks.nc --population census.csv --total
    """
    from bayesmig import predict as ask
    from bayesmig.policy.counterfactual import counterfactual

    if sum(map(bool, (comparison, slope, scenario))) > 1:
        raise QuestionError(
            "--comparison, --slope and --scenario are different questions",
            mend="ask one at a time",
        )
    options: dict[str, Any] = {"by": by, "groups": groups, "allow_unconverged": unconverged}
    options |= _population(population)
    if scenario and total:
        raise QuestionError(
            "a scenario's answer has totals beside its shares", mend="leave --total out"
        )
    posterior = _load(fit, survey)
    effect: Any
    if comparison:
        effect = ask.comparisons(posterior, comparison, total=total, **options)
    elif slope:
        effect = ask.slopes(posterior, slope, total=total, **options)
    elif scenario:
        effect = counterfactual(posterior, scenario, **options)
    else:
        effect = ask.predictions(posterior, total=total, **options)
    if not as_json:
        print(effect)
        return
    _print_json({"header": dict(effect.header), "summary": _records(effect.summary)})


# ---------------------------------------------------------------- what may be replaced


def _is_of_a_demo(folder: Path) -> bool:
    """Whether a folder holds a demo and nothing else, its study as it was written."""
    if {path.name for path in folder.iterdir()} - {"study.toml", "survey", "results"}:
        return False
    try:
        text = (folder / "study.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    start, end = _DEMO_STUDY.split("{seed}")
    return re.fullmatch(re.escape(start) + r"\d+" + re.escape(end), text) is not None


def _refuse_output(out: Path, *inputs: Path) -> None:
    """Refuse to write draws where they would take the place of anything but draws.

    Raises
    ------
    PosteriorError
        Before anything is read; also where the file could not be written in the end.
    """
    try:
        wrong = _wrong_output(out, inputs)
    except OSError as err:
        wrong = f"the output cannot be written: {err.strerror}"
    if wrong:
        raise PosteriorError(
            wrong,
            where=("--out", str(out)),
            mend="name a new file that ends in .nc, in a folder that you may write to",
        )


def _wrong_output(out: Path, inputs: tuple[Path, ...]) -> str:
    from bayesmig.posterior import refuse_other_file

    if out.suffix != ".nc":
        return f"draws are written to a file that ends in .nc, not to {out.name!r}"
    if out.is_dir():
        return "the output is a folder, a file was expected"
    if out.exists() and any(os.path.exists(i) and out.samefile(i) for i in inputs):
        return "the output is one of the inputs: it would be lost"
    refuse_other_file(out)
    folder = next(path for path in out.absolute().parents if path.exists())
    with TemporaryFile(dir=folder):
        return ""


# ------------------------------------------------------------------------- showing


def _kind_of(file: Path) -> tuple[str, Callable[[Path], Any]]:
    """What a declarative file is, by the keys that only it has."""
    from bayesmig.spec.library import load_model, load_scenario
    from bayesmig.study import read_study
    from bayesmig.survey.survey import read_survey
    from bayesmig.tomlfile import read_toml

    if not file.suffix and not file.exists():
        return "model", lambda name: load_model(str(name))
    keys = read_toml(file, "file").keys()
    if "theories" in keys or "survey" in keys:
        return "study", read_study
    if "roles" in keys or "alternatives" in keys:
        return "codebook", read_survey
    if "interventions" in keys:
        return "scenario", load_scenario
    if keys & {"choice", "utility", "extends"}:
        return "model", load_model
    raise SpecError(
        "the file is no study, codebook, model or scenario",
        where=str(file),
        mend="a study has the key survey, a codebook roles, a scenario interventions, "
        "a model choice or extends",
    )


def _warnings_of(checked: Any) -> tuple[str, ...]:
    """What is valid and cannot be meant: of a theory, and of those of a study."""
    from bayesmig.spec.askable import warnings_of
    from bayesmig.spec.model import ModelSpec
    from bayesmig.study import StudyPlan

    if isinstance(checked, ModelSpec):
        return warnings_of(checked)
    return checked.warnings if isinstance(checked, StudyPlan) else ()


def _schema(kind: str) -> str:
    from bayesmig.errors import nearest
    from bayesmig.spec.model import ModelSpec
    from bayesmig.spec.scenario import Scenario
    from bayesmig.spec.study import Study
    from bayesmig.survey.codebook import Codebook

    kinds: dict[str, Callable[[], str]] = {
        "model": ModelSpec.json_schema,
        "scenario": Scenario.json_schema,
        "study": Study.json_schema,
        "codebook": lambda: json.dumps(Codebook.model_json_schema(), indent=2),
    }
    if kind not in kinds:
        raise SpecError(
            f"there is no schema of a {kind!r}", where="--schema", mend=nearest(kind, tuple(kinds))
        )
    return kinds[kind]()


def _load(path: Path, codebook: Path | None) -> Any:
    from bayesmig.posterior import load
    from bayesmig.survey.survey import read_survey

    return load(path, None if codebook is None else read_survey(codebook))


def _refuse_twice(files: list[Path]) -> None:
    found = [path.resolve() for path in files]
    if twice := [path for path, at in zip(files, found, strict=True) if found.count(at) > 1]:
        raise QuestionError(
            "one file is named twice, a theory is not compared with itself",
            where=[str(path) for path in twice],
            mend="name each fit once",
        )


def _by_name(posteriors: dict[Path, Any]) -> dict[str, Any]:
    """Each posterior by the name of its theory, or by its path where others have that name."""
    # A path may itself be some theory's name, if it has no ending.
    taken = [*(p.spec.name for p in posteriors.values()), *map(str, posteriors)]
    return {
        name if taken.count(name := p.spec.name) == 1 else str(path): p
        for path, p in posteriors.items()
    }


def _columns() -> int:
    """How wide the screen is; prose wider than 120 characters is not read."""
    return min(get_terminal_size().columns, 120)


def _show_mechanisms(as_json: bool) -> None:
    from bayesmig.spec.mechanisms import as_record, mechanisms, mechanisms_text

    rows = mechanisms()
    if as_json:
        _print_json([as_record(row) for row in rows])
    else:
        print(mechanisms_text(rows, _columns()))


def _show_checks(results: CheckResults, strict: bool, as_json: bool) -> None:
    if as_json:
        _print_json(
            [
                {"name": r.name, "passed": r.passed, "text": r.text, "table": _records(r.table)}
                for r in results
            ]
        )
    else:
        print(results.at_width(_columns()))
    if strict and any(r.passed is False for r in results):
        raise typer.Exit(2)


def _show_run(result: StudyResult, as_json: bool = False) -> None:
    _show_failed(result)
    if as_json:
        _print_json(asdict(result))
    else:
        print(result.report)


def _show_failed(result: StudyResult) -> None:
    for name in result.failed:
        _say(f"check failed: {name}")


#: Checks that columns left out are seen by.
_OF_LACK = (
    "posterior predictive shares",
    "posterior predictive crossed shares",
    "composition of choosers",
    "influential origins",
)


def _on_failed_checks(failed: tuple[str, ...]) -> str:
    """Why checks of the demo fail: two of its theories lack what made its choices."""
    smaller = ("baseline", "selectivity")
    due = [f for f in failed if f in {f"{name}: {check}" for name in smaller for check in _OF_LACK}]
    said = []
    if due:
        theories = list(dict.fromkeys(name.split(":")[0] for name in due))
        names = " and ".join(theories)
        lack = "leave" if len(theories) > 1 else "leaves"
        said.append(
            f"as it should be: {names} {lack} out the networks and earlier moves by which these "
            "people were made to choose, and the checks of shares, of who the choosers are and "
            "of single origins find that"
        )
    if rest := [f for f in failed if f not in due]:
        said.append(
            f"not to be expected: {'; '.join(rest)}. The report's cautions say what follows from it"
        )
    return ". ".join(said)


def _filled(text: str, indent: str = "") -> str:
    """Prose that fits the screen."""
    from textwrap import fill

    return fill(text, _columns(), subsequent_indent=indent)


def _show(table: pd.DataFrame, text: str, as_json: bool) -> None:
    if as_json:
        _print_json({"summary": _records(table), "text": text})
    else:
        from bayesmig.posterior import table_text

        print(table_text(table))
        print(_filled(text))


def _records(table: pd.DataFrame) -> Any:
    return json.loads(table.to_json(orient="records"))


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=1, ensure_ascii=False, default=str))


def _say(text: str) -> None:
    print(text, file=sys.stderr)
