"""The posterior as a value: theory, design, draws and where they came from."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmig.choice.utility import Coefficients
from bayesmig.design.design import Design, design_from_frame
from bayesmig.errors import ConvergenceError, PosteriorError, QuestionError, rows_text
from bayesmig.spec.model import ModelSpec
from bayesmig.tomlfile import validate

if TYPE_CHECKING:
    from bayesmig.survey.redrawing import Redrawing
    from bayesmig.survey.survey import Survey

SCHEMA = "bayesmig posterior 3"
MAX_R_HAT, MIN_ESS, MIN_BFMI = 1.01, 400, 0.3
INTERVAL, MAX_PARETO_K = 0.95, 0.5
#: In nats. To first order a mean is off by no more standard deviations than that, and by so many
#: only where the error goes with that parameter alone.
MAX_QUADRATURE_ERROR = 0.5
#: How names of effects of single groups begin, which are many.
OF_GROUPS = ("u_", "z_", "taste_")
#: The route of draws that are no draws from the posterior.
PREVIEW = "preview: integrated Laplace, not corrected"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where draws came from.

    Attributes
    ----------
    seed, chains, draws, tune, target_accept
        As asked; the last two are ``None`` where no chains were run.
    method, route, reason
        What was asked for, how the draws were made, and why so.
    precision
        Of the loops over rows.
    numbers
        What is known of the route: ``pareto_k`` and ``weight_ess`` of weighted draws and
        how many ``proposals`` there were, also where they were tried and would not do;
        ``gradients_per_draw`` and ``gradients_per_ess`` of chains; ``nanoseconds_per_row``
        of one gradient, divided by the rows of the survey: of the whole density with its map
        (or integral) and priors where chains move on it, of the likelihood alone, as Python calls
        it, where draws are weighted and where chains are on the PyMC model, and
        not measured where they are on the plain one;
        ``rows_in_loops``, fewer than those of the survey where identical ones were
        counted; ``quadrature_points`` of a group whose effects are
        integrated out, and ``quadrature_error``, the standard deviation over draws of what
        more points would change in the log density; and ``short_of_mode``, where the search
        for the mode that the map is around ended before it, the nats that were left to gain.
    versions
        Package -> version.
    survey, design, spec
        Fingerprints (SHA-256) of the data, of the arrays made of them, and of the theory.
    seconds
        Wall time of sampling.
    created
        UTC time, ISO 8601.
    warnings
        What was noted on the way.
    left_out
        Rows that lack a value and were left out without the codebook saying so, in words.
    """

    seed: int
    chains: int
    draws: int
    tune: int | None
    target_accept: float | None
    method: str
    route: str
    reason: str
    precision: str
    numbers: Mapping[str, float]
    versions: Mapping[str, str]
    survey: str
    design: str
    spec: str
    seconds: float
    created: str
    warnings: tuple[str, ...]
    left_out: str = ""

    #: Where pydantic reads one, nothing is converted.
    __pydantic_config__ = {"strict": True}

    @property
    def cautions(self) -> tuple[str, ...]:
        """Rows left out, where there are any, and what was noted on the way."""
        return (*([self.left_out] if self.left_out else []), *self.warnings)


@dataclass(frozen=True)
class Posterior:
    """Draws of a theory on a survey.

    Attributes
    ----------
    design
        Theory × survey.
    data
        DataTree with the groups ``posterior``, ``sample_stats``, ``diagnostics``,
        ``observed_data``, ``constant_data``, when asked for ``prior``, and of a
        pseudo-posterior ``sampling``: what its correction did.
    provenance
        Versions, seeds, fingerprints, time.
    survey
        The survey, where it is at hand: columns beside those of the theory can then be
        used to group results.
    """

    design: Design = field(repr=False)
    data: xr.DataTree = field(repr=False)
    provenance: Provenance
    survey: Survey | None = field(default=None, repr=False)

    def __str__(self) -> str:
        chains, draws = self.n_draws
        problems = "; ".join(self.problems())
        lines = [
            f"Posterior of {self.spec.name!r}: {chains} × {draws:,} draws on "
            f"{self.design.n_obs:,} rows, in {self.provenance.seconds:.1f} s",
            f"  route: {self.provenance.route}",
            f"  why: {self.provenance.reason}",
            *(f"  of it: {known}" for known in [_known(self.provenance.numbers)] if known),
            f"  convergence: {problems or self.approximation or 'no problems'}",
            f"  weights: {self.design.weights_note}",
            *(f"  caution: {said}" for said in self.provenance.cautions),
        ]
        table = self.summary().round(3).dropna(axis=1, how="all")
        return "\n".join([*lines, table.to_string(index=False, float_format="{:,.3f}".format)])

    @property
    def spec(self) -> ModelSpec:
        """The theory."""
        return self.design.spec

    @property
    def draws(self) -> xr.Dataset:
        """The posterior draws, dims ``(chain, draw, ...)``."""
        return self.data["posterior"].to_dataset()

    @property
    def frame(self) -> pd.DataFrame:
        """Columns of the survey, one row per choice situation."""
        frame = self.design.frame if self.survey is None else self.survey.frame
        return frame.copy(deep=False)

    @property
    def n_draws(self) -> tuple[int, int]:
        """(chains, draws per chain)."""
        sizes = self.data["posterior"].sizes
        return int(sizes["chain"]), int(sizes["draw"])

    def coefficients(self, group: str = "posterior") -> Coefficients:
        """The draws as arrays for `bayesmig.choice`, chains stacked in order.

        Parameters
        ----------
        group
            ``posterior`` or ``prior``.

        Returns
        -------
        Coefficients
            Each array has the leading dimension ``chain × draw``.
        """
        if group not in self.data:
            raise PosteriorError(
                f"the posterior holds no group {group!r}", mend="fit with prior=True"
            )
        draws = self.data[group].to_dataset()

        def stacked(name: str) -> Any:
            if name not in draws:
                return None
            values = draws[name].transpose("chain", "draw", ...).to_numpy()
            return values.reshape(-1, *values.shape[2:])

        return Coefficients(
            persons=stacked("beta"),
            only=stacked("beta_only"),
            attributes=stacked("gamma"),
            effects={by: stacked(f"u_{by}") for by in self.design.layouts},
            tastes={by: stacked(f"taste_{by}") for by in self.design.tastes},
            lambdas=stacked("lambda_nest"),
            curves=None
            if self.design.responses is None
            else {name: stacked(name) for name in self.design.responses.labels},
            feasibility=stacked("feasibility"),
        )

    def problems(self) -> tuple[str, ...]:
        """What keeps the draws from being trusted, in words; empty where nothing does.

        R-hat ≤ 1.01 and bulk and tail ESS ≥ 400 for every parameter, group effects
        included, no divergences, E-BFMI > 0.3 in every chain, and an error of quadrature of
        at most 0.5 nats where effects were integrated out. Of weighted draws: Pareto
        k < 0.5, and the same ESS. What could not be computed (NaN, as of a chain that
        does not move) is a problem too.
        """
        found, of = [], self.data["diagnostics"].to_dataset()
        weighted, several = "pareto_k" in of, "pareto_k" not in of and of.sizes["chain"] > 1
        rules = {
            f"R-hat > {MAX_R_HAT}": several & ~(of["r_hat"] <= MAX_R_HAT),
            f"bulk ESS < {MIN_ESS}": ~(of["ess_bulk"] >= MIN_ESS),
            f"tail ESS < {MIN_ESS}": ~(of["ess_tail"] >= MIN_ESS),
        }
        for rule, broken in rules.items():
            if count := int(broken.sum()):
                first = str(of["parameter"].to_numpy()[broken.to_numpy()][0])
                found.append(f"{rule} for {count:,} of {of.sizes['parameter']:,}, such as {first}")
        return (*found, *(self._weight_problems(of) if weighted else _chain_problems(of)))

    def _weight_problems(self, of: xr.Dataset) -> list[str]:
        k = float(of["pareto_k"])
        if self.is_preview or k < MAX_PARETO_K:
            return []
        return [f"Pareto k {k:.2f} of the weights ≥ {MAX_PARETO_K}"]

    @property
    def is_preview(self) -> bool:
        """Whether the draws are an approximation, as every answer must then say."""
        return self.provenance.route == PREVIEW

    @property
    def approximation(self) -> str:
        """What every answer from a preview says; empty of other draws."""
        return f"an approximation ({PREVIEW})" if self.is_preview else ""

    @property
    def is_corrected(self) -> bool:
        """Whether the draws were moved to the spread that a sampling design implies."""
        return "sampling" in self.data

    @cached_property
    def redrawing(self) -> Redrawing | None:
        """How the survey's people would be others in another sample; ``None`` of other draws."""
        if not self.is_corrected:
            return None
        # Only draws of pseudo-posteriors need it.
        from bayesmig.survey.redrawing import Redrawing

        return Redrawing.from_dataset(self.data["sampling"].to_dataset())

    @property
    def sampling_note(self) -> str:
        """For which sampling design the draws were corrected; empty of other draws."""
        if "choice_sample" in self.data:
            return str(self.data["choice_sample"].attrs["note"])
        if not self.is_corrected:
            return ""
        of = self.data["sampling"].attrs
        return f"{of['note']} ({int(of['degrees_of_freedom']):,} degrees of freedom)"

    def refuse_pseudo(self, what: str) -> None:
        """Refuse something that draws which were corrected for a sampling design cannot give.

        Raises
        ------
        QuestionError
            Where the theory says ``weights = "pseudo"``, or constants were corrected.
        """
        self.refuse_choice_sample(what)
        if self.design.is_pseudo:
            raise QuestionError(
                f"{what} does not apply to a pseudo-posterior: its draws were moved to the spread "
                "that the sampling design implies, and have no density",
                where=f"posterior of {self.spec.name!r}, key weights",
                mend='fit the theory with weights = "estimand" for this question',
            )

    def refuse_choice_sample(self, what: str) -> None:
        """Refuse to compare draws with a sample whose constants they no longer have.

        Raises
        ------
        QuestionError
            Where constants were corrected by the population's shares.
        """
        if "choice_sample" in self.data:
            raise QuestionError(
                f"{what} does not apply: the constants are those of the population, and not of "
                "this sample, which was drawn by choice",
                where=f"posterior of {self.spec.name!r}, key population_shares",
                mend="fit to a codebook without population_shares for this question",
            )

    def require_convergence(self, allow_unconverged: bool = False) -> None:
        """Refuse to go on with draws that have not converged.

        Raises
        ------
        ConvergenceError
            Where `problems` finds any and ``allow_unconverged`` is false.
        """
        if not allow_unconverged and (found := self.problems()):
            raise ConvergenceError(
                "the draws have not converged: " + "; ".join(found),
                where=f"posterior of {self.spec.name!r}",
                mend=self._mend() + ", or pass allow_unconverged=True to look all the same",
            )

    def _mend(self) -> str:
        """What to do about draws that have not converged."""
        of, (chains, draws) = self.data["diagnostics"].to_dataset(), self.n_draws
        least = float(min(of["ess_bulk"].min(), of["ess_tail"].min()))
        if "pareto_k" in of:
            return "fit with more draws, or with method='nuts'"
        if not _quadrature_error(of) <= MAX_QUADRATURE_ERROR:
            return "fit with method='graph', which integrates nothing out"
        if int(of["divergences"].sum()) or not float(of["r_hat"].max()) < 1.05 or not least > 0:
            return "fit with more tune and draws or a higher target_accept"
        # A tenth more than proportion asks for: an estimate of ESS is noisy.
        needed = max(1.1 * draws * MIN_ESS / least, 1.5 * draws if least >= MIN_ESS else 0)
        return f"fit with draws={int(np.ceil(needed / 100)) * 100:,} in each of {chains} chains"

    def summary(self, *, effects: bool = False) -> pd.DataFrame:
        """Mean, sd, 95 % HDI, R-hat and ESS of every parameter.

        Parameters
        ----------
        effects
            Whether the effects of single groups are listed too.

        Returns
        -------
        DataFrame
            One row per parameter that varies; a correlation is there once. Its ``attrs`` say
            under ``weights`` what was done with weights, and of a preview under
            ``convergence`` that it is one. Of a
            pseudo-posterior ``design_effect`` is what the correction for the sampling design
            multiplied the variance by (of a scale's logarithm, and of a correlation's free
            vector), and R-hat and ESS are those before it.
        """
        table = self.data["diagnostics"].to_dataset()[["r_hat", "ess_bulk", "ess_tail"]]
        frame = table.to_dataframe().reset_index()
        frame = frame[each_once(frame["parameter"])]
        if not effects:
            frame = frame[~frame["parameter"].str.startswith(OF_GROUPS)]
        values = dict(labelled_draws(self.draws))
        rows = [summarise(values[name].ravel()) for name in frame["parameter"]]
        numbers = pd.DataFrame(rows, columns=["mean", "sd", "lower", "upper"], index=frame.index)
        found = pd.concat([frame[["parameter"]], numbers, frame.drop(columns="parameter")], axis=1)
        if self.is_corrected:
            of = self.data["sampling"]["design_effect"].to_series().to_dict()
            # A correlation is there from both sides.
            of |= {_other_side(str(name)): value for name, value in of.items()}
            found["design_effect"] = found["parameter"].map(of)
        found.attrs["weights"] = self.design.weights_note
        if self.is_preview:
            found.attrs["convergence"] = self.approximation
        return found

    def save(self, path: str | Path) -> Path:
        """Write everything into one NetCDF file.

        The file is written aside and renamed, so that a half-written one is never left.
        It takes the place of saved draws only, never that of another file.

        Parameters
        ----------
        path
            Ends in ``.nc``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        PosteriorError
            Where the file cannot be written, or another one is there.
        """
        path = Path(path)
        refuse_other_file(path)
        tree = self.data.copy()
        tree["frame"] = xr.DataTree(_frame_to_dataset(self.design.frame))
        tree.attrs = {
            "schema": SCHEMA,
            "spec": self.spec.to_toml(),
            "roles": json.dumps(dict(self.design.roles)),
            "attributes": json.dumps({k: dict(v) for k, v in self.design.attributes.items()}),
            "derived": json.dumps(dict(self.design.derived)),
            "has_replicates": int(self.design.has_replicates),
            "provenance": json.dumps(asdict(self.provenance)),
            "checksum": checksum(tree),
        }
        write_aside(path, lambda aside: tree.to_netcdf(aside, engine="h5netcdf"))
        return path


def table_text(table: pd.DataFrame) -> str:
    """A table to be read: four digits that count, thousands whole, no column that is empty."""

    def digits(number: float) -> str:
        return f"{number:,.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.4g}"

    known = table.dropna(axis="columns", how="all")
    return known.to_string(index=False, float_format=digits, na_rep="–")


def require_posterior(given: object) -> None:
    """Refuse to ask anything of what is no posterior.

    Raises
    ------
    QuestionError
        Always then.
    """
    if not isinstance(given, Posterior):
        raise QuestionError(
            f"the question is put to a {type(given).__name__}, not to a posterior",
            where="the first argument",
            mend="give what bm.fit or bm.load returns",
        )


def each_once(names: Iterable[str]) -> np.ndarray:
    """Which names to list, so that a correlation matrix has what is below its diagonal."""
    of = list(map(str, names))
    at = {name: k for k, name in enumerate(of)}
    return np.array([at.get(_other_side(name), k) <= k for k, name in enumerate(of)], dtype=bool)


def _other_side(name: str) -> str:
    """``corr_origin[a, b]`` as ``corr_origin[b, a]``; other names as they are."""
    parameter, _, labels = name.partition("[")
    parts = labels.removesuffix("]").split(", ")
    if not parameter.startswith("corr_") or len(parts) != 2:
        return name
    return f"{parameter}[{parts[1]}, {parts[0]}]"


def _known(numbers: Mapping[str, float]) -> str:
    """What is known of a route, in words; empty where nothing is."""
    words = {
        "pareto_k": "Pareto k of weights {:.2f}",
        "weight_ess": "weights worth {:,.0f} draws",
        "proposals": "{:,.0f} proposed",
        "gradients_per_ess": "{:,.1f} gradients per effective draw",
        "quadrature_error": "error of quadrature {:.2f} nats",
        "nanoseconds_per_row": "{:,.1f} ns per row and gradient",
        "short_of_mode": "map {:,.2f} nats short of the mode",
    }
    known = (say.format(numbers[key]) for key, say in words.items() if key in numbers)
    return ", ".join(known)


def _chain_problems(of: xr.Dataset) -> list[str]:
    found = []
    if of.sizes["chain"] == 1:
        found.append("one chain: R-hat cannot be computed")
    if count := int(of["divergences"].sum()):
        found.append(f"{count} divergences")
    if not (low := float(of["bfmi"].min(skipna=False))) > MIN_BFMI:
        found.append(f"E-BFMI {low:.2f} ≤ {MIN_BFMI}")
    if not (error := _quadrature_error(of)) <= MAX_QUADRATURE_ERROR:
        found.append(
            f"effects were integrated out with an error of {error:.2f} nats > "
            f"{MAX_QUADRATURE_ERROR}"
        )
    return found


def _quadrature_error(of: xr.Dataset) -> float:
    """The largest over chains; zero where nothing was integrated out."""
    return float(of["quadrature_error"].max(skipna=False)) if "quadrature_error" in of else 0.0


def labelled_draws(draws: xr.Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """``("beta[female, internal]", (chain, draw))`` for every parameter, in order."""
    for name, variable in draws.data_vars.items():
        values = variable.transpose("chain", "draw", ...)
        dims = values.dims[2:]
        labels = product(*(map(str, values[d].to_numpy()) for d in dims))
        flat = values.to_numpy().reshape(*values.shape[:2], -1)
        for k, label in enumerate(labels):
            yield (f"{name}[{', '.join(label)}]" if dims else str(name)), flat[:, :, k]


def summarise(draws: np.ndarray, prob: float = INTERVAL) -> tuple[float, float, float, float]:
    """Mean, sd and the bounds of the highest-density interval of some draws."""
    low, high = hdi(draws, prob)
    return float(draws.mean()), float(draws.std(ddof=1)), float(low), float(high)


def hdi(draws: np.ndarray, prob: float = INTERVAL) -> np.ndarray:
    """Shortest interval that holds ``prob`` of the draws, over the first axis.

    Parameters
    ----------
    draws
        ``(draw, ...)``.
    prob
        In (0, 1).

    Returns
    -------
    ndarray
        ``(2, ...)``: lower and upper bounds; NaN where any draw is NaN.
    """
    ordered = np.sort(draws, axis=0)
    inside = int(np.floor(prob * len(ordered)))
    width = ordered[inside:] - ordered[: len(ordered) - inside]
    best = np.expand_dims(np.argmin(width, axis=0), 0)
    bounds = [np.take_along_axis(ordered, best + shift, axis=0)[0] for shift in (0, inside)]
    return np.where(np.isnan(draws).any(axis=0), np.nan, np.stack(bounds))


def refuse_other_file(path: Path) -> None:
    """Refuse a path at which there is a file, but not one that `Posterior.save` wrote.

    Raises
    ------
    PosteriorError
        Where there is one.
    """
    if path.is_file() and not _holds_draws(path):
        raise PosteriorError(
            "the file that is there holds no draws of bayesmig: it would be lost",
            where=str(path),
            mend="name a new file, or remove the one that is there if it is not needed",
        )


def _holds_draws(path: Path) -> bool:
    """Whether a file bears the mark of this or another version, its draws unread."""
    import h5py

    try:
        with h5py.File(path) as file:
            found = str(file.attrs.get("schema", ""))
    except OSError:
        return False
    return found.startswith(SCHEMA.rstrip("0123456789"))


def write_aside(path: Path, write: Any) -> None:
    """Call ``write(aside)`` on a file beside ``path``, then rename it to ``path``.

    Raises
    ------
    PosteriorError
        Where the folder cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        with open(aside, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(aside, path)
    except OSError as err:
        raise PosteriorError(
            f"the file cannot be written: {err.strerror or err}",
            where=str(path),
            mend="choose a folder that exists and that you may write to",
        ) from err
    finally:
        with suppress(OSError):
            aside.unlink()


def checksum(tree: xr.DataTree) -> str:
    """SHA-256 of all values of a tree, their names, dimensions and coordinates."""
    found = hashlib.sha256()
    for node in sorted(tree.subtree, key=lambda node: node.path):
        for name, variable in sorted(node.to_dataset(inherit=False).variables.items()):
            values = np.ascontiguousarray(variable.to_numpy())
            found.update(f"{node.path} {name} {variable.dims} {values.shape}".encode())
            # NetCDF has neither booleans nor text of a fixed width.
            plain = values.dtype.kind in "biuf"
            found.update(
                values.astype(float) if plain else "\0".join(map(str, values.flat)).encode()
            )
    return found.hexdigest()


def load(path: str | Path, survey: Survey | None = None) -> Posterior:
    """Read a posterior that `Posterior.save` wrote.

    Parameters
    ----------
    path
        The NetCDF file.
    survey
        The survey of the fit, where columns beside those of the theory are wanted.

    Returns
    -------
    Posterior
        Its predictions are bit-identical to those of the saved one.

    Raises
    ------
    PosteriorError
        Where the file is corrupted, has another schema, was made from another survey,
        or where this version of the package makes other arrays of the same data.
    """
    path = Path(path)
    tree = _open(path)
    if tree.attrs.get("schema") != SCHEMA:
        raise PosteriorError(
            f"the schema is {tree.attrs.get('schema', 'missing')!r}, expected {SCHEMA!r}",
            where=str(path),
            mend="fit again with this version, or load it with the version that wrote it",
        )
    absent = [k for k in ("spec", "roles", "attributes", "provenance") if k not in tree.attrs]
    if absent:
        raise PosteriorError(
            f"it does not say its {', '.join(absent)}",
            where=str(path),
            mend="the file is damaged or was changed; fit again",
        )
    if tree.attrs.get("checksum") != checksum(tree):
        raise PosteriorError(
            "the values are not those that were saved",
            where=str(path),
            mend="the file is damaged or was changed; fit again",
        )
    provenance = _provenance(tree.attrs["provenance"])
    frame = _dataset_to_frame(tree["frame"].to_dataset())
    if survey is not None:
        _same_survey(frame, provenance.survey, survey, path)
    spec = validate(ModelSpec, tomllib.loads(tree.attrs["spec"]), file=str(path))
    design = design_from_frame(
        spec,
        frame,
        roles=json.loads(tree.attrs["roles"]),
        attributes=json.loads(tree.attrs["attributes"]),
        derived={k: tuple(v) for k, v in json.loads(tree.attrs["derived"]).items()},
        survey_fingerprint=provenance.survey,
        has_replicates=bool(tree.attrs.get("has_replicates", 0)),
    )
    if design.fingerprint != provenance.design:
        raise PosteriorError(
            "this installation makes other arrays of the same data than the one of the fit",
            where=str(path),
            mend="versions of the fit: "
            + ", ".join(f"{k} {v}" for k, v in provenance.versions.items()),
        )
    del tree["frame"]
    tree.attrs = {}
    return Posterior(design, tree, provenance, survey)


def _open(path: Path) -> xr.DataTree:
    if not path.is_file():
        raise PosteriorError(
            "the file does not exist",
            where=str(path),
            mend="name a file that bayesmig fit or Posterior.save wrote",
        )
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load().copy()
    except Exception as err:
        # h5netcdf raises whatever its C library does for damaged files.
        raise PosteriorError(
            f"the file is not a readable NetCDF file ({type(err).__name__})",
            where=str(path),
            mend="it is damaged or not a posterior; fit again",
        ) from err


def _provenance(text: str) -> Provenance:
    data = json.loads(text)
    return Provenance(**(data | {"warnings": tuple(data["warnings"])}))


def _same_survey(frame: pd.DataFrame, fingerprint: str, survey: Survey, path: Path) -> None:
    if survey.fingerprint != fingerprint:
        raise PosteriorError(
            "the posterior was made from another survey: " + _difference(frame, survey.frame),
            where=(str(path), f"survey {survey.title!r}"),
            mend="read the survey with the codebook and data of the fit",
        )


def _difference(fitted: pd.DataFrame, given: pd.DataFrame) -> str:
    """In what a survey differs from the one of the fit, as far as the fit's columns tell."""
    if len(fitted) != len(given):
        return f"it had {len(fitted):,} rows, this one has {len(given):,}"
    absent = [c for c in fitted.columns if c not in given.columns]
    if absent:
        return f"it had the column {absent[0]!r}, this one does not"
    for column in fitted.columns:
        numeric = pd.api.types.is_numeric_dtype(fitted[column])
        kind = float if numeric and pd.api.types.is_numeric_dtype(given[column]) else str
        one, two = fitted[column].astype(kind), given[column].astype(kind)
        other = ((one != two) & ~(one.isna() & two.isna())).to_numpy()
        if other.any():
            return f"the column {column!r} differs in {rows_text(np.flatnonzero(other))}"
    return "the columns of the theory agree, others, roles or alternatives do not"


def _frame_to_dataset(frame: pd.DataFrame) -> xr.Dataset:
    """Columns as variables: numbers as they are, everything else as text."""
    variables = {}
    for i, column in enumerate(frame.columns):
        values = frame[column]
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        data = values.to_numpy() if numeric else values.astype(str).to_numpy(dtype=object)
        if pd.api.types.is_bool_dtype(values):
            data = values.to_numpy(dtype=np.int8)
        variables[f"column_{i}"] = ("obs", data, {"name": str(column)})
    return xr.Dataset(variables)


def _dataset_to_frame(data: xr.Dataset) -> pd.DataFrame:
    ordered = sorted(data.data_vars, key=lambda v: int(str(v).removeprefix("column_")))
    return pd.DataFrame({data[v].attrs["name"]: data[v].to_numpy() for v in ordered})
