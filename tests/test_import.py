"""``import bayesmig`` is quick, and its front door opens on every name."""

import subprocess
import sys
from pathlib import Path

import pytest

import bayesmig

HEAVY = {
    "arviz",
    "arviz_base",
    "arviz_plots",
    "arviz_stats",
    "formulaic",
    "h5netcdf",
    "jax",
    "jinja2",
    "matplotlib",
    "numba",
    "nutpie",
    "pandas",
    "pyarrow",
    "pydantic",
    "pymc",
    "pyreadstat",
    "pytensor",
    "rich",
    "scipy",
    "typer",
    "xarray",
}


def modules_after(statement: str) -> set[str]:
    """Name the top-level modules that a fresh Python holds after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_brings_nothing_heavy() -> None:
    loaded = modules_after("import bayesmig; dir(bayesmig); bayesmig.__version__")
    assert "bayesmig" in loaded
    assert not loaded & HEAVY


def test_the_measurement_would_see_a_heavy_import() -> None:
    assert "pandas" in modules_after("import pandas") & HEAVY


@pytest.mark.parametrize("name", bayesmig.__all__)
def test_public_name_resolves(name: str) -> None:
    assert getattr(bayesmig, name) is not None
    assert name in dir(bayesmig)


def test_all_is_the_public_table() -> None:
    assert sorted(bayesmig._PUBLIC) == sorted(bayesmig.__all__)


def test_no_module_hides_a_public_name() -> None:
    folder = Path(bayesmig.__file__).parent
    rooms = {p.stem for p in folder.iterdir() if p.suffix == ".py" or p.is_dir()}
    verbs = {name for name, target in bayesmig._PUBLIC.items() if ":" in target}
    assert not rooms & verbs


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean 'read_survey'"):
        _ = bayesmig.read_servey


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert bayesmig.__version__ == version("bayesmig")
