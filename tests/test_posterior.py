"""The posterior as a value: saved, loaded, summarised, and refused where it must be."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import bayesmig as bm
from bayesmig.design.design import build_design
from bayesmig.errors import ConvergenceError, PosteriorError, QuestionError
from bayesmig.posterior import (
    SCHEMA,
    Posterior,
    checksum,
    hdi,
    labelled_draws,
    load,
    summarise,
    write_aside,
)
from tests.fabricate import (
    fabricated,
    small_design,
    small_frame,
    small_survey,
    survey_of,
    theory,
)
from tests.inference.theories import design_of

# ------------------------------------------------------------------------- in and out


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    survey = small_survey()
    return fabricated(small_design(survey=survey), survey=survey, prior=True)


@pytest.fixture(scope="module")
def content(posterior: Posterior, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return posterior.save(tmp_path_factory.mktemp("posterior") / "fit.nc").read_bytes()


@pytest.fixture
def saved(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "fit.nc"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["flat", "one_person_groups", "only", "everything"])
def test_what_is_loaded_is_what_was_saved(name: str, tmp_path: Path) -> None:
    saved = fabricated(design_of(name), draws=20, chains=2)
    loaded = load(saved.save(tmp_path / "fit.nc"))
    assert loaded.spec == saved.spec
    assert loaded.provenance == saved.provenance
    assert loaded.design.fingerprint == saved.design.fingerprint
    assert loaded.design.support == saved.design.support
    assert loaded.n_draws == (2, 20)
    assert set(loaded.data.children) == set(saved.data.children)
    for group in saved.data.children:
        one, two = (p.data[group].to_dataset() for p in (saved, loaded))
        xr.testing.assert_equal(one, two)
        assert {k: v.dtype.kind for k, v in one.items()} == {
            k: v.dtype.kind for k, v in two.items()
        }
    assert list(loaded.frame.columns) == list(saved.frame.columns)


def test_texts_survive_as_they_are(tmp_path: Path) -> None:
    frame = small_frame(120, origins=3)
    names = {"o00": "Shkodër", "o01": 'a "b" [c], d', "o02": "01"}
    frame["origin"] = frame["origin"].map(names)
    survey = survey_of(frame)
    made = fabricated(build_design(theory("female", title="Ålder ≥ 3 – “x”"), survey), draws=10)
    loaded = load(made.save(tmp_path / "ë.nc"))
    assert list(loaded.draws["origin"].to_numpy()) == sorted(names.values())
    assert list(loaded.frame["origin"]) == list(frame["origin"])
    assert loaded.spec.title == made.spec.title


def test_predictions_of_a_new_process_are_identical_to_the_bit(
    posterior: Posterior, saved: Path, repository: Path
) -> None:
    code = """
import sys, hashlib
from bayesmig.posterior import load
from bayesmig.predict import predictions
made = predictions(load(sys.argv[1]), by="female")
print(hashlib.sha256(made.draws.to_numpy().tobytes()).hexdigest())
print(made.summary.to_json(double_precision=15))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(saved)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    from bayesmig.predict import predictions

    made = predictions(posterior, by="female")
    there = done.stdout.splitlines()
    assert there[0] == hashlib.sha256(made.draws.to_numpy().tobytes()).hexdigest()
    assert there[1] == made.summary.to_json(double_precision=15)


def test_the_survey_of_the_fit_is_taken_along(posterior: Posterior, saved: Path) -> None:
    again = small_survey()
    assert load(saved, again).survey is again
    alone = load(saved)
    assert alone.survey is None
    assert set(alone.frame.columns) < set(posterior.frame.columns)


def test_a_posterior_says_what_it_is(posterior: Posterior) -> None:
    first, *rest = str(posterior).splitlines()
    chains, draws = posterior.n_draws
    assert first.startswith(f"Posterior of {posterior.spec.name!r}: {chains} × {draws:,} draws")
    assert "  convergence: no problems" in rest
    assert any(line.split()[:2] == ["beta[asc,", "internal]"] for line in rest)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, None),
        (
            {"pareto_k": 0.312, "weight_ess": 2104.4, "proposals": 4000},
            "Pareto k of weights 0.31, weights worth 2,104 draws, 4,000 proposed",
        ),
        (
            {"gradients_per_ess": 6.32, "nanoseconds_per_row": 45.04, "rows_in_loops": 10},
            "6.3 gradients per effective draw, 45.0 ns per row and gradient",
        ),
    ],
)
def test_a_posterior_says_why_its_route_and_what_is_known_of_it(
    posterior: Posterior, numbers: dict[str, float], said: str | None
) -> None:
    made = dataclasses.replace(posterior.provenance, reason="for a reason", numbers=numbers)
    _, *rest = str(dataclasses.replace(posterior, provenance=made)).splitlines()
    assert rest[:2] == ["  route: fabricated", "  why: for a reason"]
    assert [line for line in rest if line.startswith("  of it:")] == (
        [] if said is None else [f"  of it: {said}"]
    )


def test_a_posterior_cannot_be_changed(posterior: Posterior) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        posterior.data = xr.DataTree()  # type: ignore[misc]
    before = posterior.frame["female"].to_numpy().copy()
    frame = posterior.frame
    frame["female"] = 9
    np.testing.assert_array_equal(posterior.frame["female"], before)


def test_coefficients_stack_chains_in_order(posterior: Posterior) -> None:
    made = posterior.coefficients()
    beta = posterior.draws["beta"].to_numpy()
    np.testing.assert_array_equal(made.persons, np.concatenate(list(beta)))
    assert made.only is None
    assert made.attributes is None
    assert made.effects["origin"].shape == (1000, 12, 2, 1)
    assert posterior.coefficients("prior").persons.shape == (250, *beta.shape[2:])


def test_draws_that_are_not_there_are_refused() -> None:
    with pytest.raises(PosteriorError, match="prior") as raised:
        fabricated(small_design()).coefficients("prior")
    assert "prior=True" in raised.value.mend


# ---------------------------------------------------------------------- never half a file


def nothing_but(folder: Path, *names: str) -> bool:
    return sorted(p.name for p in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, RuntimeError])
def test_a_write_that_fails_leaves_what_was_there(
    kind: type[BaseException], posterior: Posterior, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(self: xr.DataTree, path: Path, **_: Any) -> None:
        Path(path).write_bytes(before[:1000])
        raise kind(28, "No space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    expected = PosteriorError if kind is OSError else kind
    with pytest.raises(expected):
        posterior.save(saved)
    assert saved.read_bytes() == before
    with pytest.raises(expected):
        posterior.save(saved.with_name("new.nc"))
    assert nothing_but(saved.parent, "fit.nc")


def test_a_folder_that_cannot_be_written_is_refused(posterior: Posterior, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PosteriorError, match="cannot be written") as raised:
        posterior.save(tmp_path / "file" / "fit.nc")
    assert raised.value.mend
    assert str(tmp_path) in raised.value.where[0]
    with pytest.raises(PosteriorError, match="cannot be written"):
        (tmp_path / "folder.nc").mkdir()
        posterior.save(tmp_path / "folder.nc")
    assert nothing_but(tmp_path, "file", "folder.nc")


def other_netcdf(path: Path) -> None:
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize(
    "write", [lambda path: path.write_text("a thesis"), lambda path: path.touch(), other_netcdf]
)
def test_no_file_of_another_kind_is_replaced(
    write: Callable[[Path], object], posterior: Posterior, tmp_path: Path
) -> None:
    path = tmp_path / "thesis.nc"
    write(path)
    before = path.read_bytes()
    with pytest.raises(PosteriorError, match="no draws of bayesmig") as raised:
        posterior.save(path)
    assert raised.value.mend
    assert raised.value.where == (str(path),)
    assert path.read_bytes() == before
    assert nothing_but(tmp_path, "thesis.nc")


def test_draws_of_another_version_may_be_replaced(posterior: Posterior, saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        file.attrs["schema"] = "bayesmig posterior 1"
    assert load(posterior.save(saved)).provenance == posterior.provenance


def test_folders_are_made(posterior: Posterior, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "fit.nc"
    assert posterior.save(str(path)) == path
    assert nothing_but(path.parent, "fit.nc")


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def write(aside: Path) -> None:
        aside.write_text("complete")
        assert not path.exists()
        assert aside.parent == tmp_path

    write_aside(path, write)
    assert path.read_text() == "complete"
    assert nothing_but(tmp_path, "x")


# -------------------------------------------------------------------------- refused files


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PosteriorError, match="does not exist") as raised:
        load(tmp_path / "none.nc")
    assert "none.nc" in raised.value.where[0]
    assert "bayesmig fit" in raised.value.mend


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"not netcdf" * 100,
        lambda content: b"\0" * len(content),
    ],
)
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], saved: Path) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(PosteriorError) as raised:
        load(saved)
    assert str(saved) in raised.value.where[0]
    assert raised.value.mend


def test_another_netcdf_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.nc"
    other_netcdf(path)
    with pytest.raises(PosteriorError, match="schema is 'missing'"):
        load(path)


def test_another_schema_is_refused_with_both_names(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        file.attrs["schema"] = "bayesmig posterior 99"
    with pytest.raises(PosteriorError, match="posterior 99") as raised:
        load(saved)
    assert SCHEMA in str(raised.value)


def test_another_survey_is_refused_with_the_difference(saved: Path) -> None:
    frame = small_frame()
    others = {
        "400 rows, this one has 399": frame.iloc[:-1],
        "'wealth' differs in rows 7": frame.assign(
            wealth=frame["wealth"].where(frame.index != 7, 3.0)
        ),
        "column 'education'": frame.drop(columns="education"),
        "others, roles or alternatives": frame.assign(urban=1 - frame["urban"]),
    }
    for difference, changed in others.items():
        with pytest.raises(PosteriorError, match="another survey") as raised:
            load(saved, survey_of(changed))
        assert difference in str(raised.value)
        assert raised.value.mend


def test_a_value_missing_in_both_is_no_difference(tmp_path: Path) -> None:
    frame = small_frame()
    frame.loc[3, "weight"] = np.nan
    frame["region"] = frame["region"].where(frame.index != 5)
    keys: dict[str, Any] = {"missing": {"rule": "drop", "columns": ["choice", "female"]}}
    ignoring = theory("female", weights="ignore")
    survey = survey_of(frame, **keys)
    made = fabricated(build_design(ignoring, survey), survey=survey)
    other = survey_of(frame.assign(age=frame["age"] + 1), **keys)
    with pytest.raises(PosteriorError, match="others, roles or alternatives"):
        load(made.save(tmp_path / "fit.nc"), other)
    assert load(tmp_path / "fit.nc", survey).survey is survey


def test_a_value_that_was_changed_is_refused(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        file["posterior/beta"][0, 0, 0, 0] += 1e-12
    with pytest.raises(PosteriorError, match="not those that were saved"):
        load(saved)


def test_what_says_nothing_of_its_making_is_refused(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        del file.attrs["provenance"]
    with pytest.raises(PosteriorError, match="provenance"):
        load(saved)


def test_arrays_that_came_out_differently_are_refused(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        columns = file["frame"]
        wealth = next(c for c in columns.values() if c.attrs.get("name") == "wealth")
        wealth[0] += 1e-9
    # As another version of the package would have saved it.
    with xr.open_datatree(saved, engine="h5netcdf") as tree:
        valid = checksum(tree.load())
    with h5py.File(saved, "r+") as file:
        file.attrs["checksum"] = valid
    with pytest.raises(PosteriorError, match="other arrays") as raised:
        load(saved)
    assert "versions of the fit" in raised.value.mend


# ---------------------------------------------------------------------------- convergence


def with_diagnostics(posterior: Posterior, **changes: Any) -> Posterior:
    table = posterior.data["diagnostics"].to_dataset().copy(deep=True)
    for name, value in changes.items():
        table[name][0] = value
    tree = posterior.data.copy()
    tree["diagnostics"] = xr.DataTree(table)
    return dataclasses.replace(posterior, data=tree)


def test_converged_draws_pass(posterior: Posterior) -> None:
    assert posterior.problems() == ()
    posterior.require_convergence()
    edge = with_diagnostics(posterior, r_hat=1.01, ess_bulk=400, ess_tail=400, bfmi=0.301)
    assert edge.problems() == ()


@pytest.mark.parametrize(
    ("diagnostic", "value", "words"),
    [
        ("r_hat", 1.0101, "R-hat > 1.01 for 1 of 36, such as beta[asc, internal]"),
        ("ess_bulk", 399, "bulk ESS < 400"),
        ("ess_tail", 399, "tail ESS < 400"),
        ("divergences", 3, "3 divergences"),
        ("bfmi", 0.3, "E-BFMI 0.30"),
    ],
)
def test_each_problem_is_named_and_stops_questions(
    diagnostic: str, value: float, words: str, posterior: Posterior
) -> None:
    bad = with_diagnostics(posterior, **{diagnostic: value})
    assert len(bad.problems()) == 1
    assert bad.problems()[0].startswith(words)
    with pytest.raises(ConvergenceError, match="not converged") as raised:
        bad.require_convergence()
    assert words.split(" ")[0] in str(raised.value)
    assert "allow_unconverged" in raised.value.mend
    bad.require_convergence(allow_unconverged=True)


@pytest.mark.parametrize("diagnostic", ["r_hat", "ess_bulk", "ess_tail", "bfmi"])
def test_a_diagnostic_that_cannot_be_computed_is_a_problem(
    diagnostic: str, posterior: Posterior
) -> None:
    assert with_diagnostics(posterior, **{diagnostic: np.nan}).problems()


@pytest.mark.parametrize(
    ("errors", "stops"), [((0.1, 0.5), 0), ((0.1, 0.6), 1), ((np.nan, 0.1), 1)]
)
def test_an_error_of_quadrature_above_its_limit_is_a_problem(
    errors: tuple[float, float], stops: int
) -> None:
    posterior = fabricated(small_design(), chains=2, draws=500)
    posterior.data["diagnostics"]["quadrature_error"] = xr.DataArray(list(errors), dims="chain")
    assert len(posterior.problems()) == stops
    if stops:
        assert "integrated out with an error" in posterior.problems()[0]
        with pytest.raises(ConvergenceError, match="nats > ") as raised:
            posterior.require_convergence()
        assert "method='graph'" in raised.value.mend


def test_one_chain_is_a_problem() -> None:
    made = fabricated(small_design("female"), chains=1, draws=1000)
    assert any("one chain" in p for p in made.problems())


# -------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("prob", [0.5, 0.89, 0.95])
@pytest.mark.parametrize("seed", range(3))
def test_highest_density_intervals_are_arvizs(prob: float, seed: int) -> None:
    from arviz_stats.base import array_stats

    rng = np.random.default_rng(seed)
    for draws in (rng.normal(size=2000), rng.gamma(1.5, size=999), rng.exponential(size=50)):
        np.testing.assert_array_equal(
            hdi(draws, prob), array_stats.hdi(draws, prob, method="nearest", skipna=False)
        )


def test_an_interval_is_the_shortest_that_holds_enough() -> None:
    draws = np.random.default_rng(0).gamma(2.0, size=301)
    low, high = hdi(draws, 0.8)
    assert ((draws >= low) & (draws <= high)).mean() >= 0.8
    ordered = np.sort(draws)
    inside = int(0.8 * 301)
    lengths = [ordered[k + inside] - ordered[k] for k in range(301 - inside)]
    assert high - low == min(lengths)


def test_intervals_of_many_cells_are_those_of_each() -> None:
    draws = np.random.default_rng(1).normal(size=(200, 3, 2))
    draws[5, 1, 1] = np.nan
    both = hdi(draws)
    assert both.shape == (2, 3, 2)
    np.testing.assert_array_equal(both[:, 2, 0], hdi(draws[:, 2, 0]))
    assert np.isnan(both[:, 1, 1]).all()
    assert np.isfinite(np.delete(both.reshape(2, -1), 3, axis=1)).all()


def test_summarise() -> None:
    draws = np.random.default_rng(2).normal(3.0, 2.0, 500)
    mean, sd, low, high = summarise(draws)
    assert mean == pytest.approx(sum(draws) / 500)
    assert sd == pytest.approx((sum((draws - mean) ** 2) / 499) ** 0.5)
    assert (low, high) == tuple(hdi(draws, 0.95))


def test_the_summary_has_a_row_per_parameter(posterior: Posterior) -> None:
    short, long = posterior.summary(), posterior.summary(effects=True)
    assert list(short.columns) == [
        "parameter", "mean", "sd", "lower", "upper", "r_hat", "ess_bulk", "ess_tail",
    ]  # fmt: skip
    assert len(short) == 8 + 2 + 1  # a correlation is there once
    assert [p for p in short["parameter"] if p.startswith("corr_")] == [
        "corr_origin[asc:international, asc:internal]"
    ]
    assert len(long) == len(short) + 24
    assert "beta[education, international]" in set(short["parameter"])
    assert "u_origin[o03, internal, asc]" in set(long["parameter"])
    row = short.set_index("parameter").loc["sigma_origin[international, asc]"]
    draws = posterior.draws["sigma_origin"].sel(nonbase="international").to_numpy().ravel()
    np.testing.assert_allclose(row[["mean", "sd"]].astype(float), [draws.mean(), draws.std(ddof=1)])


def test_draws_are_labelled_one_by_one(posterior: Posterior) -> None:
    named = dict(labelled_draws(posterior.draws))
    chosen = posterior.draws["beta"].sel(coefficient="wealth", nonbase="internal")
    np.testing.assert_array_equal(named["beta[wealth, internal]"], chosen)
    assert all(v.shape == (4, 250) for v in named.values())


@pytest.mark.parametrize(
    "ask",
    [
        lambda given: bm.test(given, "networks_pull"),
        bm.check,
        bm.predictions,
        lambda given: bm.comparisons(given, "female"),
        lambda given: bm.slopes(given, "wealth"),
        bm.levels,
        bm.stayers,
        lambda given: bm.counterfactual(given, "network_cut"),
        lambda given: bm.compare({"a": given, "b": given}),
        lambda given: bm.evidence_ratio(given, "beta[female, internal]"),
    ],
)
@pytest.mark.parametrize("given", [None, "networks"])
def test_what_is_no_posterior_is_asked_nothing(ask: Callable[[Any], Any], given: Any) -> None:
    with pytest.raises(QuestionError, match="not to a posterior"):
        ask(given)
