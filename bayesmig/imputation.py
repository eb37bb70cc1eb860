"""Surveys whose missing values were imputed several times: fitted each, and answered together.

Draws are stacked, which takes an imputation as one more thing that is not known (Gelman et al.
2013, Bayesian Data Analysis, ch. 18; Zhou and Reiter 2010, doi 10.1198/tast.2010.09109). Values
are imputed elsewhere: this package has no imputer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmig.errors import QuestionError, SurveyError, nearest
from bayesmig.hypotheses import test, verdict_of
from bayesmig.inference.routes import fit
from bayesmig.posterior import INTERVAL, Posterior, each_once, labelled_draws, summarise
from bayesmig.predict import Effect, summaries
from bayesmig.sensitivity import ORDER
from bayesmig.spec.model import ModelSpec
from bayesmig.survey.survey import Survey, read_survey

Array = NDArray[np.float64]
_NUMBERS = ("estimate", "sd", "lower", "upper")
#: How much longer intervals would be by Rubin's rules before it is said, and where they end.
_SHORT, _TAIL = 0.05, 0.975
_MEANING = (
    "{} imputed surveys, draws stacked; between_imputations is the variance of their means as a "
    "share of the variance of all draws"
)


@dataclass(frozen=True)
class Imputed:
    """Posteriors of one theory, one for each imputed survey.

    Attributes
    ----------
    posteriors
        In the order of the surveys.
    """

    posteriors: tuple[Posterior, ...] = field(repr=False)

    def ask(self, verb: Callable[..., Any], *arguments: Any, **options: Any) -> Effect:
        """Put a question to every posterior, and stack the draws of its answers.

        Parameters
        ----------
        verb
            ``bm.predictions``, ``bm.comparisons``, ``bm.slopes``, ``bm.stayers`` or
            ``bm.counterfactual``, whose averages are stacked.
        *arguments, **options
            As the verb takes them after the posterior.

        Returns
        -------
        Effect
            With a column ``between_imputations`` in its summary.

        Raises
        ------
        QuestionError
            Where answers have other cells in one survey than in another (an imputed column
            that is cut at its quintiles has), or the verb gives no such answers.
        """
        answers = [verb(posterior, *arguments, **options) for posterior in self.posteriors]
        if not all(isinstance(answer, Effect) for answer in answers):
            raise QuestionError(
                f"answers of {getattr(verb, '__name__', verb)!r} are not stacked",
                where="Imputed.ask",
                mend="put the question to each of .posteriors",
            )
        first = answers[0]
        labels = [c for c in first.summary if c not in (*_NUMBERS, "rows", "probability_above")]
        for answer in answers[1:]:
            if not first.summary[labels].equals(answer.summary[labels]):
                raise QuestionError(
                    "the answer has other cells in one imputed survey than in another",
                    where="Imputed.ask",
                    mend="group by a column that was not imputed, or that has few values",
                )
        draws = xr.concat([a.draws for a in answers], "chain")
        flat = draws.to_numpy().reshape(-1, draws.sizes["cell"])
        summary = first.summary[labels].assign(
            **summaries(flat, float(options.get("prob", INTERVAL))),
            between_imputations=_between([a.draws.to_numpy() for a in answers]),
            rows=first.summary["rows"],
        )
        header = {
            **_together([answer.header for answer in answers]),
            "imputations": _MEANING.format(len(answers))
            + _short_of_rubin([a.draws.to_numpy() for a in answers]),
        }
        return Effect(first.question, header, summary, draws)

    def test(self, name: str | Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
        """Posterior probabilities of hypotheses, over the draws of all imputed surveys.

        Parameters
        ----------
        name
            One hypothesis, several, or (left out) all of the theory.
        **options
            As `bayesmig.test` takes them.

        Returns
        -------
        DataFrame
            One row per hypothesis: ``hypothesis``, ``claim``, ``probability``, its ``lowest``
            and ``highest`` in one imputed survey, ``prior_probability``, the worst
            ``identification`` of any, and the ``verdict`` on all draws. Its ``attrs`` say under
            ``weights`` what was done with weights.
        """
        asked = [name] if isinstance(name, str) else name if name is None else [*name]
        answers = [test(posterior, asked, **options) for posterior in self.posteriors]
        rows = []
        for key, first in answers[0].items():
            each = [answer[key] for answer in answers]
            of_each = np.array([result.probability for result in each])
            said = max((result.identification for result in each), key=_how_bad)
            rows.append(
                {
                    "hypothesis": key,
                    "claim": first.claim,
                    "probability": of_each.mean(),
                    "lowest": of_each.min(),
                    "highest": of_each.max(),
                    "prior_probability": np.mean([r.prior_probability for r in each]),
                    "identification": said,
                    "verdict": verdict_of(float(of_each.mean()), said),
                }
            )
        found = pd.DataFrame(rows)
        found.attrs["weights"] = next(iter(answers[0].values())).header["weights"]
        return found

    def summary(self) -> pd.DataFrame:
        """Mean, sd, 95 % HDI and share between imputations of every parameter but groups'.

        Its ``attrs`` say under ``imputations`` what the numbers are.
        """
        named = [
            {k: v for k, v in labelled_draws(p.draws) if not k.startswith(("u_", "taste_"))}
            for p in self.posteriors
        ]
        rows = []
        for name in compress(named[0], each_once(named[0])):
            each = [of[name] for of in named]
            if np.ptp(np.concatenate(each)) > 0:
                between = _between([of[..., None] for of in each])[0]
                rows.append((name, *summarise(np.concatenate(each).ravel()), between))
        columns = ["parameter", "mean", "sd", "lower", "upper", "between_imputations"]
        found = pd.DataFrame(rows, columns=columns)
        together = [np.stack([of[name] for name in found["parameter"]], axis=-1) for of in named]
        found.attrs["imputations"] = _MEANING.format(len(named)) + _short_of_rubin(together)
        return found


def fit_imputed(
    theory: ModelSpec, surveys: Sequence[Survey], *, seed: int, **options: Any
) -> Imputed:
    """Fit a theory to every imputed survey.

    Parameters
    ----------
    theory
        The theory.
    surveys
        The same rows, their missing values imputed each time anew; at least two.
    seed
        Of the first fit; each next one has the next.
    **options
        As `bayesmig.fit` takes them.

    Raises
    ------
    SurveyError
        Where surveys differ in more than values that could be imputed: rows or choices.
    BayesmigError
        As for `bayesmig.fit`.
    """
    surveys = tuple(surveys)
    if len(surveys) < 2:
        raise SurveyError(
            f"{len(surveys)} survey is no multiple imputation, two and more are",
            where="fit_imputed(surveys)",
            mend="give one survey for every imputation, or fit it with bm.fit",
        )
    chosen = surveys[0].role("choice")
    for k, survey in enumerate(surveys[1:], start=1):
        if survey.n_obs != len(chosen) or not survey.role("choice").equals(chosen):
            raise SurveyError(
                f"the surveys 0 and {k} do not hold the same rows and choices",
                where="fit_imputed(surveys)",
                mend="impute covariates only, and keep rows and their order",
            )
    fits = [fit(theory, survey, seed=seed + k, **options) for k, survey in enumerate(surveys)]
    labels = [design.persons + design.attribute_terms for design in (p.design for p in fits)]
    if any(of != labels[0] for of in labels[1:]):
        raise SurveyError(
            "the theory has other coefficients in one imputed survey than in another",
            where="fit_imputed(surveys)",
            mend="give imputed categories the same levels in all surveys",
        )
    return Imputed(tuple(fits))


def read_imputed(
    frame: pd.DataFrame, roles: dict[str, str], *, imputation: str, **codebook_keys: Any
) -> tuple[Survey, ...]:
    """Read surveys from rows that stand one imputation below the other.

    Parameters
    ----------
    frame
        The rows of all imputations.
    roles, **codebook_keys
        As `bayesmig.read_survey` takes them.
    imputation
        Column that numbers the imputations.

    Raises
    ------
    SurveyError, SpecError
        Where there is no such column; as for `bayesmig.read_survey`.
    """
    if imputation not in frame.columns:
        raise SurveyError(
            f"the data have no column {imputation!r}",
            where="read_imputed(imputation=...)",
            mend=nearest(imputation, list(map(str, frame.columns))),
        )
    numbers = frame[imputation].drop_duplicates()
    if numbers.isna().any():
        raise SurveyError(
            "rows have no number of an imputation", where=f"column {imputation!r}", mend="add it"
        )
    return tuple(
        read_survey(
            frame[frame[imputation] == number].drop(columns=imputation).reset_index(drop=True),
            roles,
            **codebook_keys,
        )
        for number in numbers.sort_values()
    )


def _how_bad(identification: str) -> int:
    """Rank of what is said of a claim's identification; what cannot be asked is last."""
    return ORDER.index(identification) if identification in ORDER else len(ORDER)


def _together(headers: list[Mapping[str, str]]) -> dict[str, str]:
    """Headers of several answers; what only some of them say is said once."""
    keys = dict.fromkeys(key for header in headers for key in header)
    return {key: "; ".join(dict.fromkeys(h[key] for h in headers if key in h)) for key in keys}


def _short_of_rubin(draws: list[Array]) -> str:
    """By how much stacked draws fall short of Rubin's rules, in words; empty where they hardly do.

    Of few imputations the variance of means is too small, stacked: ``(M - 1) / M`` of the
    unbiased one, where Rubin (1987, ch. 3) takes ``1 + 1 / M``, and Student's t for the normal.
    """
    from scipy.stats import norm, t

    flat = np.stack([of.reshape(-1, of.shape[-1]) for of in draws])
    between = flat.mean(axis=1).var(axis=0, ddof=1)
    within, m = flat.var(axis=1).mean(axis=0), len(flat)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (within + (1 + 1 / m) * between) / (within + (1 - 1 / m) * between)
        freedom = (m - 1) * np.square(1 + within / ((1 + 1 / m) * between))
        ratio = np.sqrt(ratio) * t.ppf(_TAIL, freedom) / norm.ppf(_TAIL)
    longer = float(np.nanmax(ratio, initial=1.0)) - 1
    if longer < _SHORT:
        return ""
    return (
        f"; by Rubin's rules intervals would be up to {100 * longer:.0f} % longer: so few "
        "imputations tell little of what varies between them, impute more often"
    )


def _between(draws: list[Array]) -> Array:
    """Variance of the means of several sets of draws over that of all, by the last axis."""
    flat = [of.reshape(-1, of.shape[-1]) for of in draws]
    means = np.stack([of.mean(axis=0) for of in flat])
    total = np.concatenate(flat).var(axis=0)
    return np.divide(means.var(axis=0), total, out=np.zeros(len(total)), where=total > 0)
