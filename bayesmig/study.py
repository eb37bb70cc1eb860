"""Run a study: plan, compute what is missing, assemble tables, write the report.

A study is a sequence of steps. Each has a key, the hash of all that its answer depends
on, and keeps its answer in a folder of its own with a record written last. A step whose
record bears the right key and whose files are whole is not computed again, so a study
that was killed goes on where it stopped, and one that was changed computes what changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from bayesmig.changes import check_change, check_slope
from bayesmig.checks import check
from bayesmig.design.design import Design, build_design
from bayesmig.errors import BayesmigError, QuestionError, SpecError, StudyError, nearest
from bayesmig.hypotheses import test, validate_hypotheses
from bayesmig.inference.compiled import nothing_compiled
from bayesmig.inference.routes import CODE_OF_CHAINS, fit, plan_fit
from bayesmig.inference.sample import package_versions, sources_hash
from bayesmig.model_comparison import check_question, compare
from bayesmig.policy.counterfactual import counterfactual, validate_scenario
from bayesmig.posterior import SCHEMA as POSTERIOR_SCHEMA
from bayesmig.posterior import Posterior, each_once, load, write_aside
from bayesmig.predict import (
    Population,
    comparisons,
    make_cells,
    predictions,
    refuse_too_many,
    slopes,
    theory_columns,
)
from bayesmig.progress import Progress, bars
from bayesmig.rehearsal import rehearse, validate_rehearsal
from bayesmig.reporting.outputs import (
    CHAINS,
    STEPS,
    TEXTS,
    claim,
    drop_other_chains,
    drop_other_steps,
    is_aside,
    is_of_a_study,
    replace_step,
    tables_of,
    withdraw,
)
from bayesmig.reporting.records import (
    MANIFEST,
    RECORD,
    REPORT,
    RESULTS,
    SCHEMA,
    TABLES,
    Manifest,
    Results,
    StepRecord,
    are_whole,
    checksum,
    finished_run,
    read_record,
    write_record,
)
from bayesmig.spec.library import load_model, load_scenario
from bayesmig.spec.model import ModelSpec
from bayesmig.spec.references import citation
from bayesmig.spec.scenario import Scenario
from bayesmig.spec.study import Study
from bayesmig.survey.population import read_population, weigh_to
from bayesmig.survey.sampling import sampling_of
from bayesmig.survey.sources import source_of
from bayesmig.survey.survey import Survey, read_survey
from bayesmig.tomlfile import read_toml, validate

if TYPE_CHECKING:
    from bayesmig.policy.counterfactual import Counterfactual

Tables = dict[str, pd.DataFrame]
#: Tables of checks that are kept.
_OF_CHECKS = (
    *("prior_shares", "prior_group_shares", "prior_sensitivity", "predictive_shares"),
    *("crossed_shares", "composition", "origin_dispersion", "spatial", "household_streams"),
    *("transitions", "clustering", "calibration", "reliability", "influential_origins"),
)


@dataclass(frozen=True)
class StudyPlan:
    """A study whose files have been read and fit together.

    Attributes
    ----------
    study, path
        The study and its file.
    survey
        The survey.
    theories, designs
        Name -> theory; name -> its design on the survey.
    scenarios
        Name -> scenario.
    warnings
        Claims about a difference that their theory cannot make.
    population
        Tables of cells or margins and their people, to which answers are weighted.
    """

    study: Study
    path: Path
    survey: Survey = field(repr=False)
    theories: Mapping[str, ModelSpec]
    designs: Mapping[str, Design] = field(repr=False)
    scenarios: Mapping[str, Scenario]
    warnings: tuple[str, ...] = ()
    population: tuple[pd.DataFrame, ...] = ()

    @property
    def asked(self) -> Population | None:
        """The population as questions take it."""
        one = len(self.population) == 1
        return self.population[0] if one else list(self.population) or None

    @property
    def main(self) -> str:
        """The theory that effects and scenarios are computed from."""
        return self.study.main or list(self.theories)[-1]


@dataclass(frozen=True)
class StudyResult:
    """What a run left behind.

    Attributes
    ----------
    folder, report
        The output folder and the report in it.
    failed
        Checks that failed, ``"theory: check"``.
    computed
        Steps that were computed in this run; the others were taken from earlier ones.
    """

    folder: Path
    report: Path
    failed: tuple[str, ...]
    computed: tuple[str, ...]


def read_study(path: str | Path) -> StudyPlan:
    """Read a study and everything that it names, and check that it fits together.

    Parameters
    ----------
    path
        The study file; what it names is relative to its folder.

    Returns
    -------
    StudyPlan
        Nothing has been sampled or written.

    Raises
    ------
    SpecError, SurveyError, DesignError, QuestionError
        Whatever is wrong, before anything is computed.
    """
    path = Path(path)
    study = validate(Study, read_toml(path, "study"), file=str(path))
    survey = read_survey(path.parent / study.survey)
    theories = _by_name(path, "theories", study.theories, load_model)
    scenarios = _by_name(path, "scenarios", study.scenarios, load_scenario)
    if study.main is not None and study.main not in theories:
        raise SpecError(
            f"the main theory {study.main!r} is not in theories; "
            + nearest(study.main, list(theories)),
            where=(str(path), "key main"),
            mend="name one of " + ", ".join(theories),
        )
    designs: dict[str, Design] = {}
    warnings: list[str] = []
    for listed, (name, spec) in zip(study.theories, theories.items(), strict=True):
        with _from(_beside(path, listed)):
            designs[name] = build_design(spec, survey)
            warnings += validate_hypotheses(designs[name])
            _check_sampling(designs[name], survey, len(theories))
    tables = tuple(read_population(path.parent / name) for name in study.questions.population)
    plan = StudyPlan(study, path, survey, theories, designs, scenarios, tuple(warnings), tables)
    _check_questions(plan)
    _check_rehearsal(plan)
    if plan.asked is not None:
        with _from(path, "key questions.population"):
            weigh_to(survey.frame, designs[plan.main].weights, plan.asked)
    for listed, scenario in zip(study.scenarios, scenarios.values(), strict=True):
        with _from(_beside(path, listed)):
            validate_scenario(scenario, designs[plan.main], survey.frame)
    return plan


def _check_sampling(design: Design, survey: Survey, theories: int) -> None:
    """What a weighted likelihood or a sample drawn by choice needs, before anything is sampled."""
    if survey.codebook.population_shares:
        raise StudyError(
            "a study checks and compares its theories on the sample, and constants that are "
            "corrected for a sample drawn by choice are not those of the sample",
            where="key population_shares",
            mend='leave population_shares out of the codebook (weights = "pseudo" has the '
            "population's constants too), or fit and ask in Python",
        )
    if not design.is_pseudo:
        return
    sampling_of(survey)
    if theories > 1:
        raise StudyError(
            f"the theory {design.spec.name!r} weights its likelihood, and a study compares its "
            "theories by leave-one-out, which does not apply to a pseudo-posterior",
            where="key weights",
            mend='give it a study of its own, or let it say weights = "estimand"',
        )


def _by_name[SpecT: (ModelSpec, Scenario)](
    path: Path, key: str, listed: Sequence[str], read: Callable[[str | Path], SpecT]
) -> dict[str, SpecT]:
    """Read what a study lists; a name stands for one of them in every table of results."""
    found: dict[str, SpecT] = {}
    for name in listed:
        source = _beside(path, name)
        # A file says itself where its mistakes are; a name is a mistake of the study.
        with _from(path, f"key {key}") if isinstance(source, str) else nullcontext():
            spec = read(source)
        if spec.name in found:
            first = listed[list(found).index(spec.name)]
            raise SpecError(
                f"two {key} have the name {spec.name!r}: {first} and {name}",
                where=(str(path), f"key {key}"),
                mend='give one of them another name, name = "…" at the top of its file',
            )
        found[spec.name] = spec
    return found


@contextmanager
def _from(*where: str | Path) -> Iterator[None]:
    """Put the file, or other places, in front of where an error says that it is."""
    try:
        yield
    except BayesmigError as err:
        err.where = (*(str(w) for w in where), *err.where)
        raise


def _beside(study: Path, name: str) -> str | Path:
    """A packaged name as it is, a path relative to the study."""
    return study.parent / name if name.endswith(".toml") or "/" in name else name


def _check_questions(plan: StudyPlan) -> None:
    questions, columns = plan.study.questions, list(plan.survey.frame.columns)
    if len(plan.theories) > 1:
        for number, asked in enumerate(plan.study.compare):
            with _from(str(plan.path), f"key compare[{number}]"):
                check_question(plan.designs[plan.main], asked.question, asked.folds)
    for key in ("by", "comparisons", "slopes"):
        for name in getattr(questions, key):
            if name not in columns:
                raise QuestionError(
                    f"the survey has no column {name!r}; {nearest(name, columns)}",
                    where=(str(plan.path), f"key questions.{key}"),
                    mend="name a column that bayesmig describe shows",
                )
            _check_question(plan, key, name)


def _check_question(plan: StudyPlan, key: str, name: str) -> None:
    design, where = plan.designs[plan.main], (str(plan.path), f"key questions.{key}")
    if key == "by":
        if name == "choice":
            raise QuestionError(
                "shares by what was chosen say nothing: a prediction is for those of any choice",
                where=where,
                mend="name a column that was known before the choice",
            )
        with _from(*where):
            _, cells = make_cells(plan.survey.frame, (name,))
            sampling = plan.study.sampling
            n_draws = sampling.chains * sampling.draws
            refuse_too_many(n_draws, len(cells), len(design.alternatives))
        return
    check_change(design, name, where=where)
    if key == "slopes":
        check_slope(design, name, where=where)


def _check_rehearsal(plan: StudyPlan) -> None:
    if (asked := plan.study.rehearsal) is None:
        return
    with _from(plan.path, "key rehearsal"):
        validate_rehearsal(plan.designs[plan.main], asked.effects)


def run(
    path: str | Path,
    out: str | Path,
    *,
    progress: bool | Progress = True,
) -> StudyResult:
    """Run a study and write its draws, tables and report.

    Parameters
    ----------
    path
        The study file.
    out
        Output folder: a new one, or that of an earlier run of any study.
    progress
        Whether to show progress bars, or what to tell instead.

    Returns
    -------
    StudyResult
        Where the report is and which checks failed.

    Raises
    ------
    BayesmigError
        Where a file is wrong (before anything is computed) or a step fails.
    """
    plan = read_study(path)
    folder = output_folder(Path(out), is_of_a_study)
    if callable(progress):
        return _Run(plan, folder, progress).everything()
    with bars(progress) as tell:
        return _Run(plan, folder, tell).everything()


def report(
    path: str | Path, out: str | Path | None = None, *, progress: bool | Progress = True
) -> Path:
    """Write the report of a study, which is run, or of a finished run again.

    Parameters
    ----------
    path
        A study file (``.toml``); or the output folder of a run that is finished, whose
        report is made of the tables that are there: nothing is computed.
    out
        Output folder of a study file; its own name beside it where it is left out.
    progress
        As for `run`.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    BayesmigError
        As for `run`.
    StudyError
        Where a folder holds no finished run, or not as it was left.
    """
    path = Path(path)
    if not path.is_dir() and (path.is_file() or path.suffix == ".toml"):
        return run(path, path.with_suffix("") if out is None else out, progress=progress).report
    if out is not None:
        raise StudyError(
            "an output folder was given for a run that has one already",
            where=(str(path), f"out {out}"),
            mend="name the study file to run it, or leave the output folder out",
        )
    return _report_again(path)


def _report_again(folder: Path) -> Path:
    from bayesmig.reporting.render import render_report

    manifest = finished_run(folder)
    page = render_report(folder)
    files = manifest.files | {REPORT: checksum(page)}
    write_record(folder / MANIFEST, manifest.model_copy(update={"files": files}))
    return page


def output_folder(folder: Path, is_ours: Callable[[Path], bool]) -> Path:
    """Make a folder for output, or find that it may be used again.

    Parameters
    ----------
    folder
        The folder.
    is_ours
        Whether what a folder holds was made by the same command.

    Raises
    ------
    StudyError
        Where it holds anything else, or cannot be written to.
    """
    try:
        # What a killed run was writing first is nobody's.
        there = folder.iterdir() if folder.is_dir() else [folder] if folder.exists() else []
        empty = all(is_aside(path) for path in there)
        if not empty and not (folder.is_dir() and is_ours(folder)):
            raise StudyError(
                "the output folder holds something else",
                where=str(folder),
                mend="name a new folder, or remove what is there if it is not needed",
            )
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise StudyError(
            f"the output folder is not writable: {err.strerror}",
            where=str(folder),
            mend="name a folder that you may write to",
        ) from err
    return folder


# ---------------------------------------------------------------------------- steps


class _Run:
    """One run of a plan into a folder."""

    def __init__(self, plan: StudyPlan, folder: Path, progress: Progress) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.computed: list[str] = []
        self._fits: dict[str, Posterior] = {}

    def everything(self) -> StudyResult:
        """Every step in order, then the assembly; nothing where all is there."""
        steps = list(self._steps())
        keys = {name: key for name, key, _ in steps}
        claim(self.folder, keys)
        if _is_complete(self.plan, self.folder, keys):
            return _result(self.folder, ())
        withdraw(self.folder)
        for number, (name, key, work) in enumerate(steps):
            self.progress("study", number, len(steps), name)
            self._step(name, key, work)
        self.progress("study", len(steps), len(steps), "report")
        _assemble(self.plan, self.folder, keys)
        drop_other_steps(self.folder, keys)
        drop_other_chains(self.folder, [k for n in self.plan.theories for k in self._chain_keys(n)])
        _certify(self.plan, self.folder, keys)
        return _result(self.folder, tuple(self.computed))

    def _steps(self) -> Iterator[tuple[str, str, Callable[[Path], Tables]]]:
        plan, main = self.plan, self.plan.main
        # Claims and hypotheses do not change the draws, nor what is computed from them.
        draws = {
            name: _key(
                POSTERIOR_SCHEMA,
                _key(self._chain_keys(name), plan.study.sampling.method, plan.study.sampling.ess),
                name,
                spec.weights,
                plan.survey.fingerprint,
                plan.designs[name].derived,
            )
            for name, spec in plan.theories.items()
        }
        fits = {name: _key(draws[name], spec.to_toml()) for name, spec in plan.theories.items()}
        people = [table.to_csv(index=False) for table in plan.population]
        yield "survey", _key("survey", plan.survey.fingerprint), self._survey
        for name in plan.theories:
            yield f"fit-{name}", fits[name], partial(self._fit, name)
        for name in plan.theories:
            key = _key("check 3", draws[name])
            yield f"check-{name}", key, partial(self._check, name)
        if len(plan.theories) > 1:
            asked = [of.model_dump(mode="json") for of in plan.study.compare]
            yield "compare", _key("compare 2", draws, asked, plan.study.seed), self._compare
        for name, spec in plan.theories.items():
            if spec.hypotheses:
                key = _key("test 2", fits[name], *people)
                yield f"test-{name}", key, partial(self._test, name)
        if (rehearsal := plan.study.rehearsal) is not None:
            how = rehearsal.model_dump(mode="json")
            yield "rehearsal", _key("rehearsal", fits[main], how), self._rehearsal
        questions = plan.study.questions.model_dump(mode="json") | {"population": people}
        yield "effects", _key("effects", draws[main], questions), self._effects
        for name, scenario in plan.scenarios.items():
            key = _key("scenario", draws[main], questions["by"], scenario.to_toml(), *people)
            yield f"scenario-{name}", key, partial(self._scenario, name)

    def _chain_keys(self, name: str) -> list[str]:
        sampling, design = self.plan.study.sampling, self.plan.designs[name]
        options = sampling.model_dump(exclude={"chains", "ess"})
        plan = plan_fit(design, self.plan.study.seed, **options)
        return [plan.key(chain) for chain in range(sampling.chains)]

    def _step(self, name: str, key: str, work: Callable[[Path], Tables]) -> None:
        """Do a step in a folder aside, unless it was done before."""
        folder = self.folder / STEPS / name
        record = read_record(StepRecord, folder / RECORD)
        if record and record.key == key and are_whole(folder, record.files):
            return
        aside = folder.with_name(f".{name}.{os.getpid()}.part")
        aside.mkdir(parents=True)
        started = time.monotonic()
        try:
            for table, frame in work(aside).items():
                frame.to_parquet(aside / f"{table}.parquet", index=False)
            files = {p.name: checksum(p) for p in sorted(aside.iterdir())}
            seconds = time.monotonic() - started
            made = StepRecord(key=key, files=files, created=_now(), seconds=seconds)
            write_record(aside / RECORD, made)
            replace_step(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self.computed.append(name)

    # ------------------------------------------------------------- what steps compute

    def _survey(self, folder: Path) -> Tables:
        survey = self.plan.survey
        description = survey.describe()
        _write_json(
            folder / TEXTS,
            {
                "title": survey.title,
                "fingerprint": survey.fingerprint,
                "rows": survey.n_obs,
                "notes": survey.codebook.notes,
                "warnings": list(description.warnings),
            },
        )
        shares = description.tables["shares"]
        return {
            "survey_rows": _as_text(description.tables["rows"]),
            "survey_shares": shares.rename(columns=lambda c: str(c).replace(" ", "_")),
        }

    def _fit(self, name: str, folder: Path) -> Tables:
        study = self.plan.study

        def tell(task: str, done: int, total: int, note: str = "") -> None:
            self.progress(f"{name}: {task}", done, total, note)

        nothing, no_chains = nothing_compiled(), nothing_compiled(CODE_OF_CHAINS)
        posterior = fit(
            self.plan.theories[name],
            self.plan.survey,
            seed=study.seed,
            **study.sampling.model_dump(),
            # Weighted draws are not made chain by chain.
            keep=self.folder / CHAINS / name if study.sampling.has_chains else None,
            progress=tell,
        )
        compiled = nothing or (no_chains and not nothing_compiled(CODE_OF_CHAINS))
        posterior.save(folder / "posterior.nc")
        self._fits[name] = posterior
        provenance, spec = posterior.provenance, posterior.spec
        _write_json(
            folder / TEXTS,
            {
                "name": name,
                "title": spec.title,
                "claim": spec.claim,
                "references": [citation(key) for key in spec.references],
                "weights_note": "; sampling design: ".join(
                    filter(None, (posterior.design.weights_note, posterior.sampling_note))
                ),
                "warnings": [
                    *([f"its draws are {posterior.approximation}"] if posterior.is_preview else []),
                    *provenance.warnings,
                ],
                "problems": list(posterior.problems()),
                "provenance": asdict(provenance),
                "compiled": compiled,
            },
        )
        diagnostics = posterior.data["diagnostics"].to_dataset()
        convergence = {
            "theory": name,
            "parameters": int(each_once(diagnostics["parameter"].to_numpy()).sum()),
            "r_hat_max": float(diagnostics["r_hat"].max()),
            "ess_bulk_min": float(diagnostics["ess_bulk"].min()),
            "ess_tail_min": float(diagnostics["ess_tail"].min()),
            "divergences": _total(diagnostics, "divergences"),
            "bfmi_min": _least(diagnostics, "bfmi"),
            "pareto_k": _least(diagnostics, "pareto_k"),
            "weight_ess": _least(diagnostics, "weight_ess"),
            "seconds": provenance.seconds,
            # A preview passes nothing: it is not asked.
            "passed": None if posterior.is_preview else not posterior.problems(),
        }
        return {
            "convergence": pd.DataFrame([convergence]),
            "parameters": posterior.summary(effects=True).assign(theory=name),
        }

    def _posterior(self, name: str) -> Posterior:
        """The fit, from memory or from its file."""
        if name not in self._fits:
            path = self.folder / STEPS / f"fit-{name}" / "posterior.nc"
            self._fits[name] = load(path, self.plan.survey)
        return self._fits[name]

    def _check(self, name: str, folder: Path) -> Tables:
        results = check(self._posterior(name), seed=self.plan.study.seed, allow_unconverged=True)
        rows = [
            {"theory": name, "check": r.name, "passed": _word(r.passed), "text": r.text}
            for r in results
        ]
        tables = {"checks": pd.DataFrame(rows)}
        for result in results:
            for table in _OF_CHECKS:
                if result.table.attrs.get("table") == table:
                    part = _as_text(result.table.assign(theory=name), ("level",))
                    tables[table] = pd.concat([tables.get(table, part.iloc[:0]), part])
        return tables

    def _compare(self, folder: Path) -> Tables:
        fits = {name: self._posterior(name) for name in self.plan.theories}
        found = {
            asked.question: compare(
                fits,
                question=asked.question,
                folds=asked.folds,
                seed=self.plan.study.seed,
                allow_unconverged=True,
                progress=self.progress,
            )
            for asked in self.plan.study.compare
        }
        _write_json(folder / TEXTS, {"verdicts": {q: of.text for q, of in found.items()}})
        parts = [
            of.summary.assign(question=q, clusters=of.pointwise.attrs["clusters"])
            for q, of in found.items()
        ]
        return {"comparison": pd.concat(parts, ignore_index=True)}

    def _test(self, name: str, folder: Path) -> Tables:
        posterior = self._posterior(name)
        results = test(posterior, population=self.plan.asked, allow_unconverged=True)
        parts, sentences = [], {}
        for hypothesis, result in results.items():
            sentences[hypothesis] = result.sentence
            parts.append(
                # The sentence says on which parameters a claim rests.
                result.summary.drop(columns="rests_on").assign(
                    theory=name,
                    hypothesis=hypothesis,
                    claim=result.claim,
                    statement=result.statement,
                    joint_probability=result.probability,
                    prior_probability=result.prior_probability,
                    joint_identification=result.identification,
                )
            )
        header = _joined([result.header for result in results.values()])
        _write_json(folder / TEXTS, {"sentences": sentences, "header": header})
        return {"hypotheses": pd.concat(parts)}

    def _rehearsal(self, folder: Path) -> Tables:
        plan, asked = self.plan, self.plan.study.rehearsal
        assert asked is not None
        found = rehearse(
            plan.theories[plan.main],
            plan.survey,
            seed=plan.study.seed,
            worlds=asked.worlds,
            effects=asked.effects,
            progress=self.progress,
        )
        _write_json(folder / TEXTS, {"text": found.text, "header": dict(found.header)})
        summary = found.summary.merge(found.verdicts, on="hypothesis", how="left")
        return {
            "rehearsal": summary.assign(theory=plan.main),
            "rehearsal_worlds": found.worlds().assign(theory=plan.main),
        }

    def _effects(self, folder: Path) -> Tables:
        posterior, questions = self._posterior(self.plan.main), self.plan.study.questions
        options: Any = {"population": self.plan.asked, "allow_unconverged": True}
        overall = predictions(posterior, **options)
        headers = {"shares": dict(overall.header)}
        shares = [_levels(overall.summary, ())]
        for by in questions.by:
            part = predictions(posterior, by=by, **options)
            shares.append(_levels(part.summary, (by,)))
        effects = []
        for kind, verb, names in (
            ("comparison", comparisons, questions.comparisons),
            ("slope", slopes, questions.slopes),
        ):
            if names:
                effect = verb(posterior, names, **options)
                headers[kind] = dict(effect.header)
                effects.append(effect.summary.assign(kind=kind))
        _write_json(folder / TEXTS, {"headers": headers})
        tables = {"shares": pd.concat(shares)}
        return tables | ({"effects": pd.concat(effects)} if effects else {})

    def _scenario(self, name: str, folder: Path) -> Tables:
        scenario, posterior = self.plan.scenarios[name], self._posterior(self.plan.main)
        options: Any = {"population": self.plan.asked, "allow_unconverged": True}
        overall = counterfactual(posterior, scenario, **options)
        parts = [_levels(overall.summary, ())]
        for by in self.plan.study.questions.by:
            result: Counterfactual = counterfactual(posterior, scenario, by=by, **options)
            parts.append(_levels(result.summary, (by,)))
        _write_json(
            folder / TEXTS,
            {
                "name": name,
                "title": scenario.title,
                "description": scenario.description,
                "interventions": [str(i) for i in scenario.interventions],
                "warnings": list(overall.warnings),
                "header": dict(overall.header),
            },
        )
        return {
            "scenarios": pd.concat(parts).assign(scenario=name),
            "diversion": overall.diversion.assign(scenario=name),
        }


def _joined(headers: list[Mapping[str, str]]) -> dict[str, str]:
    """What several answers say of their numbers, each thing once."""
    keys = dict.fromkeys(key for header in headers for key in header)
    return {k: "; ".join(dict.fromkeys(h[k] for h in headers if k in h)) for k in keys}


def _levels(summary: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """A summary with its ``by`` column as two: its name and its level, as text."""
    if not by:
        return summary.assign(by="all", level="all")
    level = summary[by[0]].map(lambda v: f"{v:g}" if isinstance(v, float) else str(v))
    return summary.drop(columns=list(by)).assign(by=by[0], level=level.astype(str))


def _as_text(table: pd.DataFrame, columns: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Columns of mixed types as text, so that they can be written."""
    mixed = [c for c in table.columns if table[c].dtype == object] if columns is None else columns
    return table.assign(**{c: table[c].map(str) for c in mixed if c in table.columns})


def _least(data: xr.Dataset, name: str) -> float:
    """Smallest value of a diagnostic; NaN where the route of the draws has none."""
    return float(data[name].min()) if name in data else float("nan")


def _total(data: xr.Dataset, name: str) -> int:
    return int(data[name].sum()) if name in data else 0


def _word(passed: bool | None) -> str:
    return {True: "passed", False: "failed", None: "not asked"}[passed]


# ------------------------------------------------------------------------- assembly


def _assemble(plan: StudyPlan, folder: Path, steps: Iterable[str]) -> None:
    """Tables, results and report."""
    from bayesmig.reporting.render import render_report

    tables = _collect(folder, steps)
    for name, table in tables.items():
        _write_table(folder / TABLES / name, table)
    write_record(folder / RESULTS, _results(plan, folder, list(steps), list(tables)))
    render_report(folder)


def _certify(plan: StudyPlan, folder: Path, steps: Mapping[str, str]) -> None:
    """Write the manifest, the last file of a run."""
    manifest = Manifest(
        schema=SCHEMA,
        study=plan.study.to_toml(),
        steps=dict(steps),
        files=_files_of(folder, steps),
        versions=package_versions(),
    )
    write_record(folder / MANIFEST, manifest)


def _write_table(stem: Path, table: pd.DataFrame) -> None:
    write_aside(stem.with_suffix(".parquet"), lambda aside: table.to_parquet(aside, index=False))
    write_aside(stem.with_suffix(".csv"), lambda aside: table.to_csv(aside, index=False))


def _files_of(folder: Path, steps: Iterable[str]) -> dict[str, str]:
    """Checksums of all that belongs to the study, whatever else lies in its folder.

    Kept chains do not: they only save time, and say by themselves whether they are whole.
    """
    names = [RESULTS, REPORT]
    for step in steps:
        inside = [RECORD, *_record(folder, step).files]
        names += [f"{STEPS}/{step}/{name}" for name in inside]
        names += [f"{TABLES}/{name}" for table in inside for name in tables_of(table)]
    return {name: checksum(folder / name) for name in sorted(set(names))}


def _is_complete(plan: StudyPlan, folder: Path, steps: Mapping[str, str]) -> bool:
    """Whether the folder holds all of this very study, whole."""
    manifest = read_record(Manifest, folder / MANIFEST)
    return (
        manifest is not None
        and manifest.study == plan.study.to_toml()
        and manifest.steps == dict(steps)
        and are_whole(folder, manifest.files)
    )


def _result(folder: Path, computed: tuple[str, ...]) -> StudyResult:
    checks = pd.read_parquet(folder / TABLES / "checks.parquet")
    failed = checks[checks["passed"] == "failed"]
    names = tuple(f"{t}: {c}" for t, c in zip(failed["theory"], failed["check"], strict=True))
    return StudyResult(folder, folder / REPORT, names, computed)


def _collect(folder: Path, steps: Iterable[str]) -> Tables:
    """Tables of all steps, parts of the same table one under the other."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for step in steps:
        for name in sorted(_record(folder, step).files):
            if (path := folder / STEPS / step / name).suffix == ".parquet":
                parts.setdefault(path.stem, []).append(pd.read_parquet(path))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _results(plan: StudyPlan, folder: Path, steps: list[str], tables: list[str]) -> Results:
    """What the report says beside the tables."""
    texts = {
        step: json.loads(path.read_text(encoding="utf-8"))
        for step in steps
        if (path := folder / STEPS / step / TEXTS).is_file()
    }
    headers = dict(texts["effects"]["headers"])
    verdicts = texts.get("compare", {}).get("verdicts", {})
    sentences: dict[str, str] = {}
    for step, content in texts.items():
        if step.startswith("test-"):
            theory = step.removeprefix("test-")
            sentences |= {f"{theory}/{name}": text for name, text in content["sentences"].items()}
            headers["hypotheses"] = content["header"]
    if "rehearsal" in texts:
        headers["rehearsal"] = texts["rehearsal"]["header"]
    said = {
        "title": plan.study.title,
        "seed": plan.study.seed,
        "created": _now(),
        "versions": _versions(),
        "files": _files(plan),
        "tables": tables,
        "steps": [_record(folder, step).model_dump() | {"step": step} for step in steps],
        "columns": _columns(plan),
        "survey": texts["survey"],
        "main": plan.main,
        "theories": [texts[f"fit-{name}"] for name in plan.theories],
        "scenarios": [texts[f"scenario-{name}"] for name in plan.scenarios],
        "headers": headers,
        "texts": {
            "comparison": next(iter(verdicts.values()), ""),
            "comparisons": verdicts,
            "hypotheses": sentences,
            "rehearsal": texts.get("rehearsal", {}).get("text", ""),
        },
    }
    # As JSON, which is what steps left and what the report reads.
    return Results.model_validate_json(json.dumps(said))


def _versions() -> dict[str, str]:
    """Python, what draws depend on, and what reads and checks them."""
    beside = ("arviz", "arviz-stats", "matplotlib")
    python = {"python": platform.python_version()}
    return python | package_versions() | {name: version(name) for name in beside}


def _files(plan: StudyPlan) -> dict[str, str]:
    """Names of the files that the study was read from, without their folders."""
    data = plan.survey.codebook.file or ""
    return {
        "study": plan.path.name,
        "codebook": Path(plan.study.survey).name,
        "data": Path(data).name,
    }


def _columns(plan: StudyPlan) -> list[dict[str, Any]]:
    """What the columns of the theories mean and how the codebook makes them."""
    used: dict[str, list[str]] = {}
    for name, design in plan.designs.items():
        for column in theory_columns(design):
            used.setdefault(column, []).append(name)
    said = {c: text for spec in plan.theories.values() for c, text in spec.columns.items()}
    return [
        {
            "column": column,
            "description": said.get(column, ""),
            "codebook": source_of(plan.survey.codebook, column),
            "theories": theories,
        }
        for column, theories in used.items()
    ]


# --------------------------------------------------------------------------- records


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _record(folder: Path, step: str) -> StepRecord:
    """The record of a step that was found whole, or made, in this run."""
    record = read_record(StepRecord, folder / STEPS / step / RECORD)
    if record is None:
        raise StudyError(
            "a step was changed while the study ran",
            where=str(folder / STEPS / step),
            mend="run the study again, alone in its folder",
        )
    return record


def _key(*parts: object) -> str:
    text = json.dumps([*parts, sources_hash()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
