"""A fit is repeatable, resumable and interruptible, and refuses what it cannot do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from bayesmig.design.design import build_design
from bayesmig.errors import DesignError, InferenceError
from bayesmig.inference import routes, sample
from bayesmig.inference.density import Density
from bayesmig.inference.layout import parameter_coords, parameter_dims
from bayesmig.inference.routes import fit
from bayesmig.posterior import Posterior
from tests.fabricate import small_frame, small_survey, survey_of, theory

SURVEY = small_survey(90, origins=4)
THEORY = theory("female")
TINY = {
    "seed": 3, "method": "nuts", "chains": 3, "draws": 15, "tune": 25, "target_accept": 0.8
}  # fmt: skip


def tiny(**options: Any) -> Posterior:
    """A fit of a second: never long enough to be believed."""
    return fit(THEORY, SURVEY, **(TINY | options))


def quietly(**options: Any) -> Posterior:
    return tiny(**{"progress": False, **options})


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the chains of `whole` are kept."""
    return tmp_path_factory.mktemp("fit") / "new" / "chains"


@pytest.fixture(scope="module")
def whole(chains: Path) -> Posterior:
    return quietly(cores=2, keep=chains)


@pytest.fixture
def kept(whole: Posterior, chains: Path, tmp_path: Path) -> Path:
    """A copy of them, to do with as one likes."""
    return Path(shutil.copytree(chains, tmp_path / "kept"))


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the chains that were sampled rather than read."""
    numbers: list[int] = []
    start = sample._start

    def counted(density: Density, plan: sample.Plan, chain: int, *rest: Any) -> Any:
        numbers.append(chain)
        return start(density, plan, chain, *rest)

    monkeypatch.setattr(sample, "_start", counted)
    return numbers


def same(first: Posterior, second: Posterior, chains: int | None = None) -> bool:
    which = {"chain": slice(chains)}
    stats = [p.data["sample_stats"].to_dataset().isel(which) for p in (first, second)]
    draws = [p.draws.isel(which) for p in (first, second)]
    return draws[0].equals(draws[1]) and stats[0].equals(stats[1])


# ---------------------------------------------------------------------- what it gives


def test_a_fit_holds_what_it_says(whole: Posterior) -> None:
    assert whole.n_draws == (3, 15)
    assert set(whole.data.children) == {
        "posterior", "sample_stats", "diagnostics", "observed_data", "constant_data",
    }  # fmt: skip
    for name, dims in parameter_dims(whole.design).items():
        assert whole.draws[name].dims == ("chain", "draw", *dims)
        assert np.isfinite(whole.draws[name]).all()
    assert list(whole.draws["coefficient"].to_numpy()) == ["asc", "female"]
    np.testing.assert_array_equal(whole.data["observed_data"]["choice"], whole.design.choice)
    of = whole.provenance
    assert (of.seed, of.chains, of.draws, of.tune, of.target_accept) == (3, 3, 15, 25, 0.8)
    assert of.survey == SURVEY.fingerprint
    assert of.design == whole.design.fingerprint
    assert of.seconds > 0
    assert {"bayesmig", "nutpie", "numba", "numpy"} <= set(of.versions)
    assert whole.problems()
    assert whole.survey is SURVEY


def test_draws_from_the_prior_come_when_asked_for() -> None:
    assert quietly(prior=True, chains=1).data["prior"].sizes["draw"] == 15


# --------------------------------------------------------------------- repeatability


def test_changed_sources_change_the_hash(tmp_path: Path) -> None:
    """Of what a module holds and of its name, whatever lies beside the modules."""
    (tmp_path / "inner").mkdir()

    def seen(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        sample.sources_hash.cache_clear()
        return sample.sources_hash(tmp_path)

    first = seen("inner/a.py", "x = 1\n")
    assert seen("inner/notes.txt", "nothing") == first
    assert len({first, seen("inner/a.py", "x = 2\n"), seen("b.py", ""), seen("c.py", "")}) == 4


def test_chains_of_other_sources_are_sampled_again(
    whole: Posterior, kept: Path, sampled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    again = quietly(keep=kept)
    assert sampled == []
    assert again.provenance.versions["bayesmig sources"] == sample.sources_hash()
    monkeypatch.setattr(sample, "sources_hash", lambda: "another")
    assert quietly(keep=kept).draws.equals(whole.draws)
    assert sorted(sampled) == [0, 1, 2]


def test_draws_do_not_depend_on_cores_nor_on_later_chains(whole: Posterior) -> None:
    assert same(whole, quietly(cores=1))
    assert same(whole, quietly(chains=2), chains=2)


def test_chains_differ_and_so_do_seeds(whole: Posterior) -> None:
    beta = whole.draws["beta"].to_numpy()
    assert not np.array_equal(beta[0], beta[1])
    assert not same(whole, quietly(chains=1, seed=4), chains=1)


# -------------------------------------------------------------------- kept and resumed


def test_kept_chains_are_not_sampled_again(
    whole: Posterior, kept: Path, sampled: list[int]
) -> None:
    files = sorted(kept.iterdir())
    assert len(files) == 3
    files[1].unlink()
    assert same(whole, quietly(keep=kept))
    assert sampled == [1]
    assert sorted(kept.iterdir()) == files
    sampled.clear()
    assert same(whole, quietly(keep=str(kept), chains=2), chains=2)
    assert sampled == []


@pytest.mark.parametrize("damage", ["empty", "cut", "another_netcdf", "another_chain", "a_value"])
def test_a_damaged_chain_is_sampled_again(
    damage: str, whole: Posterior, kept: Path, sampled: list[int]
) -> None:
    other, _, path = sorted(kept.iterdir())
    content = path.read_bytes()
    if damage == "another_netcdf":
        xr.Dataset({"a": 1}).to_netcdf(path, engine="h5netcdf")
    elif damage == "a_value":
        with h5py.File(path, "r+") as file:
            file["posterior/beta"][0, 3, 0, 0] += 1e-9
    else:
        damaged = {
            "empty": b"",
            "cut": content[: len(content) // 2],
            "another_chain": other.read_bytes(),
        }
        path.write_bytes(damaged[damage])
    assert same(whole, quietly(keep=kept))
    assert sampled == [2]


def test_chains_of_another_plan_are_left_alone(kept: Path, sampled: list[int]) -> None:
    before = {p: p.read_bytes() for p in kept.iterdir()}
    others: list[dict[str, Any]] = [
        {"seed": 4},
        {"draws": 16},
        {"tune": 26},
        {"target_accept": 0.7},
    ]
    for options in others:
        quietly(keep=kept, chains=1, **options)
    assert sampled == [0] * 4
    assert len(list(kept.iterdir())) == 3 + 4
    assert all(p.read_bytes() == content for p, content in before.items())


def test_chains_of_another_theory_or_survey_are_left_alone(kept: Path, sampled: list[int]) -> None:
    options: dict[str, Any] = TINY | {"chains": 1, "progress": False}
    for spec, survey in (
        (theory("wealth"), SURVEY),
        (theory("female", priors={"persons": {"scale": 2.0}}), SURVEY),
        (THEORY, small_survey(90, origins=4, seed=1)),
    ):
        fit(spec, survey, keep=kept, **options)
    assert sampled == [0] * 3


def test_a_folder_that_cannot_hold_chains_is_refused_before_sampling(
    tmp_path: Path, sampled: list[int]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InferenceError, match="cannot be kept") as raised:
        quietly(keep=tmp_path / "file" / "chains")
    assert raised.value.mend
    assert sampled == []


@pytest.mark.slow
def test_a_fit_killed_in_the_middle_is_finished_with_the_same_draws(
    whole: Posterior, tmp_path: Path, sampled: list[int]
) -> None:
    killed = run(
        f"""
        import os, signal
        from tests.inference.test_sample import tiny

        def tell(task, done, total, note=""):
            if task == "chain 3" and done > 0:
                os.kill(os.getpid(), signal.SIGKILL)

        tiny(cores=1, keep={str(tmp_path)!r}, progress=tell)
        """
    )
    assert killed.returncode == -signal.SIGKILL
    assert len([p for p in tmp_path.iterdir() if p.suffix == ".nc"]) == 2
    assert same(whole, quietly(keep=tmp_path))
    assert sampled == [2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    repository = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        check=False,
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
    )


# ----------------------------------------------------------------------- interruption


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("no_threads_left")
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_progress_raises_ends_the_fit(
    kind: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    furthest = 0

    def tell(task: str, done: int, total: int, note: str = "") -> None:
        nonlocal furthest
        furthest = max(furthest, done)
        if done > 0:
            raise kind("enough")

    with pytest.raises(kind, match="enough"):
        tiny(chains=4, draws=100_000, progress=tell)
    assert furthest < 50_000
    assert "Error" not in capfd.readouterr().err


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell has its background jobs ignore interrupts, and tests may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("no_threads_left", "interruptible")
def test_an_interrupt_ends_the_fit_and_keeps_finished_chains(
    whole: Posterior, tmp_path: Path, sampled: list[int]
) -> None:
    sent = []

    def tell(task: str, done: int, total: int, note: str = "") -> None:
        # Once: a second one would end the wait for the chains, and a third the test.
        if task == "chain 2" and not sent:
            sent.append(task)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
            # Chains are quick: this one must not end before the signal is there.
            time.sleep(0.5)

    with pytest.raises(KeyboardInterrupt):
        tiny(cores=1, keep=tmp_path, progress=tell)
    left = {int(p.name[6:8]) - 1 for p in tmp_path.iterdir()}
    assert 0 in left
    assert 2 not in left
    sampled.clear()
    assert same(whole, quietly(keep=tmp_path))
    assert set(sampled) == {0, 1, 2} - left


def test_progress_is_told_of_every_chain_to_its_end() -> None:
    told: list[tuple[str, int, int]] = []
    tiny(progress=lambda task, done, total, note="": told.append((task, done, total)))
    assert {t for t, _, _ in told} == {"expansion", "chain 1", "chain 2", "chain 3"}
    for chain in ("chain 1", "chain 2", "chain 3"):
        assert (chain, 0, 40) in told
        assert (chain, 40, 40) in told


def test_progress_bars_are_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    tiny(chains=1, progress=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "chain 1" in shown.err


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("seed", v) for v in (-1, 1.0, "7", None, True)],
        *[("chains", v) for v in (0, 2.5, True)],
        *[("draws", v) for v in (0, 9, 100.0)],
        *[("tune", v) for v in (0, 9, "many")],
        *[("target_accept", v) for v in (0, 1, 1.5, -0.1, float("nan"), "high", True)],
        *[("cores", v) for v in (0, -2, 1.5)],
        *[("method", v) for v in ("fast", None, 1)],
        *[("precision", v) for v in ("half", None, 32)],
        *[("draws", v) for v in (10**12,)],
        *[("prior", v) for v in ("no", 1, None)],
        *[("progress", v) for v in ("yes", 0, None)],
    ],
)
def test_options_out_of_range_are_refused(option: str, value: Any, sampled: list[int]) -> None:
    with pytest.raises(InferenceError, match=option) as raised:
        quietly(**{option: value})
    assert option in str(raised.value.where)
    assert sampled == []


def test_draws_of_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary number of draws, of a hundred thousand places: nothing is allocated."""

    def reached(*_: Any, **__: Any) -> None:
        raise AssertionError("sampling began")

    monkeypatch.setattr(routes, "_take", reached)
    design = build_design(theory("female"), small_survey(200, origins=10))
    with pytest.raises(AssertionError, match="began"):
        routes.fit_design(design, None, seed=1)
    coords = parameter_coords(design) | {"origin": np.arange(100_000)}
    monkeypatch.setattr(routes, "parameter_coords", lambda _: coords)
    with pytest.raises(InferenceError, match=r"4 chains of 1,000 draws .* are 6\.4 GB") as raised:
        routes.fit_design(design, None, seed=1)
    assert raised.value.where == ("fit(draws=...)",)
    # What is advised will do, and one draw more will not.
    draws = int(raised.value.mend.split("draws=")[1].split(" ")[0].replace(",", ""))
    with pytest.raises(AssertionError, match="began"):
        routes.fit_design(design, None, seed=1, draws=draws)
    with pytest.raises(InferenceError, match="GB"):
        routes.fit_design(design, None, seed=1, draws=draws + 1)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="walkers"):
        quietly(walkers=3)


def test_flat_priors_are_refused_before_sampling_where_prior_draws_are_wanted(
    sampled: list[int],
) -> None:
    flat = theory("female", priors={"persons": {"dist": "flat"}})
    with pytest.raises(InferenceError, match="flat"):
        fit(flat, SURVEY, seed=1, prior=True, progress=False)
    assert sampled == []


def test_what_the_data_cannot_carry_is_refused_before_sampling(sampled: list[int]) -> None:
    frame = small_frame(90, origins=4)
    frame["left"] = (frame["choice"] == "international").astype(int)
    frame["twice"] = 2.0 * frame["wealth"]
    survey = survey_of(frame)
    for persons, reason in (
        ("left", "perfectly"),
        ("wealth + twice", "rank"),
        ("wealht", "wealht"),
    ):
        with pytest.raises(DesignError, match=reason):
            fit(theory(persons), survey, seed=1, progress=False)
    assert sampled == []


@pytest.mark.parametrize("bad", [(-np.inf, 0.0), (1.0, np.nan)])
def test_a_density_that_is_not_finite_is_refused(
    bad: tuple[float, float], monkeypatch: pytest.MonkeyPatch, sampled: list[int]
) -> None:
    """By chains, which call it, before they start."""
    monkeypatch.setattr(Density, "__call__", lambda self, v: (bad[0], np.full(self.size, bad[1])))
    with pytest.raises(InferenceError, match="not finite") as raised:
        quietly(method="nuts")
    assert raised.value.mend
    assert sampled == []


@pytest.mark.parametrize("method", ["auto", "surrogate", "nuts", "preview"])
@pytest.mark.parametrize("precision", ["auto", "single"])
def test_a_likelihood_that_is_not_finite_is_refused(
    method: Any, precision: Any, monkeypatch: pytest.MonkeyPatch, sampled: list[int]
) -> None:
    """On every route over the map, in either precision."""
    located = Density.located

    def nowhere(self: Density, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        theta, effects = located(self, vectors)
        return theta * np.nan, effects

    monkeypatch.setattr(Density, "located", nowhere)
    with pytest.raises(InferenceError, match="not finite") as raised:
        quietly(method=method, precision=precision, tune=None, target_accept=None)
    assert raised.value.mend
    assert sampled == []


def test_no_process_is_left_with_other_threads_settings() -> None:
    from threadpoolctl import threadpool_info

    before = [p["num_threads"] for p in threadpool_info()]
    quietly(chains=1)
    assert [p["num_threads"] for p in threadpool_info()][: len(before)] == before
    assert os.environ.get("OMP_NUM_THREADS") == "1"
