"""A wheel, built and installed into an empty environment, runs by itself."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and from it the wheel."""
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, repository, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def command(repository: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty environment; return its ``bayesmig`` command."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    pins = ("--constraint", repository / "constraints.txt")
    uv = _working_uv(repository)
    if uv:
        _run(uv, "venv", "--python", sys.executable, folder, cwd=folder.parent)
        python = folder / "bin" / "python"
        _run(uv, "pip", "install", "--python", python, *pins, wheel, cwd=folder.parent)
    else:
        _run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
        _run(folder / "bin" / "pip", "install", *pins, wheel, cwd=folder.parent)
    return folder / "bin" / "bayesmig"


def test_wheel_holds_the_models_once(repository: Path, wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    ours = {p.relative_to(repository).as_posix() for p in (repository / "models").rglob("*.*")}
    assert ours
    assert {f"bayesmig/{name}" for name in ours} <= set(names)
    assert "bayesmig/py.typed" in names
    tops = {name.partition("/")[0] for name in names}
    assert all(top == "bayesmig" or top.endswith(".dist-info") for top in tops)
    assert len(names) == len(set(names))


def test_models_are_listed(repository: Path, command: Path, tmp_path: Path) -> None:
    listed = _run(command, "models", cwd=tmp_path)
    for model in (repository / "models").glob("*.toml"):
        assert model.stem in listed


def test_demo_runs_from_an_empty_folder(command: Path, tmp_path: Path) -> None:
    _run(command, "demo", "--out", "answers", cwd=tmp_path)
    assert list((tmp_path / "answers").rglob("report.html"))
    assert [p.name for p in tmp_path.iterdir()] == ["answers"]


def _working_uv(repository: Path) -> str | None:
    """Find a uv that answers; a shim of another Python's may be on the path and not work."""
    for uv in (shutil.which("uv"), str(repository / ".tools" / "bin" / "uv")):
        if uv and Path(uv).exists():
            asked = subprocess.run([uv, "--version"], capture_output=True, check=False)
            if asked.returncode == 0:
                return uv
    return None


def _run(*command: object, cwd: Path) -> str:
    """Run a command outside the checkout, and show all it said where it fails."""
    foreign = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    env = {key: value for key, value in os.environ.items() if key not in foreign}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
