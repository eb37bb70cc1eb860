"""A study as a value: which survey, theories, scenarios and questions."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field

from bayesmig.errors import SpecError
from bayesmig.spec.model import Column, FileName
from bayesmig.spec.priors import Frozen
from bayesmig.tomlfile import write_toml

# More of them would not fit into memory; a chain that needs them has another problem.
Iterations = Annotated[int, Field(ge=10, le=100_000)]


class Sampling(Frozen):
    """How to sample; the meanings are those of `bayesmig.fit`."""

    method: Literal["auto", "surrogate", "nuts", "graph", "plain", "preview"] = "auto"
    precision: Literal["auto", "single", "double"] = "auto"
    chains: Annotated[int, Field(ge=1, le=64)] = 4
    draws: Iterations = 1000
    ess: Annotated[int, Field(ge=400, le=100_000)] | None = None
    tune: Iterations | None = None
    target_accept: Annotated[float, Field(gt=0, lt=1)] | None = None

    def check(self) -> None:
        """What draws must be worth is asked of weighted ones, of which there are more."""
        if self.ess is None:
            return
        if self.method not in ("auto", "surrogate"):
            raise SpecError(
                f"ess is asked of weighted draws, and method = {self.method!r} makes none",
                where="key ess",
                mend="leave it out",
            )
        if self.ess >= self.chains * self.draws:
            raise SpecError(
                f"{self.chains * self.draws:,} draws cannot be worth {self.ess:,}",
                where="key ess",
                mend="ask for more draws, or for fewer to be worth",
            )

    @property
    def has_chains(self) -> bool:
        """Whether chains may be run, which can be kept."""
        return self.method in ("auto", "nuts", "graph", "plain")


def _each_once(value: Frozen, *keys: str) -> None:
    for key in keys:
        names = getattr(value, key)
        if twice := [n for n in names if names.count(n) > 1]:
            raise SpecError(f"{twice[0]!r} stands twice", where=f"key {key}", mend="name it once")


class Questions(Frozen):
    """What to ask of the main theory beside checks, comparison and hypotheses.

    Attributes
    ----------
    by
        Columns over which shares and scenario contrasts are broken down.
    comparisons, slopes
        Columns whose average effects are wanted.
    population
        Paths of csv files, relative to the study: columns of the survey and a column
        ``count`` of people. One is a table of cells to which answers are poststratified;
        several are margins, which are raked.
    """

    by: tuple[Column, ...] = ()
    comparisons: tuple[Column, ...] = ()
    slopes: tuple[Column, ...] = ()
    population: tuple[str, ...] = ()

    def check(self) -> None:
        """Nothing is asked twice."""
        _each_once(self, "by", "comparisons", "slopes", "population")


class RehearsalPlan(Frozen):
    """Whether the survey could decide the main theory's hypotheses (`bayesmig.rehearse`).

    Attributes
    ----------
    worlds
        Simulated surveys in which a hypothesis holds, and as many in which it does not.
    effects
        Coefficient, as the summary of a fit names it, to its value in half of the truths;
        left out: all are drawn from the prior.
    """

    worlds: Annotated[int, Field(ge=10, le=1000)] = 50
    effects: dict[str, float] = {}


class Compare(Frozen):
    """How to compare theories; the meanings are those of `bayesmig.compare`.

    Attributes
    ----------
    question
        What is to be predicted: a new ``person`` in a known place, a new ``origin`` or other
        role, the next ``period``.
    folds
        Parts in which units are left out by refits; importance weights where it is left out.
    """

    question: FileName = "person"
    folds: Annotated[int, Field(ge=2)] | Literal["all"] | None = None


class Study(Frozen):
    """One study.

    Attributes
    ----------
    title
        One line, the title of the report.
    survey
        Path of a codebook, relative to the study file.
    theories
        Names of packaged models or paths of model files, relative to the study file.
        No two of these theories have one name.
    main
        The name of the theory that effects and scenarios are computed from; the last
        one where it is left out.
    scenarios
        Names of packaged scenarios or paths. No two of these have one name.
    seed
        Seed of everything random.
    sampling, questions
        Details.
    rehearsal
        Left out: the survey is not rehearsed, which takes minutes.
    compare
        Questions by which theories are compared, the first of which is the study's own.
    """

    title: str = "Study"
    survey: str
    theories: tuple[str, ...] = Field(min_length=1)
    main: FileName | None = None
    scenarios: tuple[str, ...] = ()
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    sampling: Sampling = Sampling()
    questions: Questions = Questions()
    rehearsal: RehearsalPlan | None = None
    compare: tuple[Compare, ...] = Field((Compare(),), min_length=1)

    def check(self) -> None:
        """No file is named twice; names inside files show when these are read."""
        _each_once(self, "theories", "scenarios")
        asked = [of.question for of in self.compare]
        if twice := [name for name in asked if asked.count(name) > 1]:
            raise SpecError(
                f"{twice[0]!r} is asked twice", where="key compare", mend="ask each question once"
            )

    def to_toml(self) -> str:
        """The study as TOML text; reading it back gives an equal value."""
        return write_toml(self.model_dump(mode="json", exclude_unset=True))

    @classmethod
    def json_schema(cls) -> str:
        """The JSON schema of a study file."""
        return json.dumps(cls.model_json_schema(), indent=2)
