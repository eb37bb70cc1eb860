"""What is known of machine code on disk."""

import subprocess
import sys
from pathlib import Path

import pytest

from bayesmig.inference import compiled
from bayesmig.inference.routes import CODE_OF_CHAINS


def test_the_first_fit_on_a_machine_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiled.nothing_compiled()
    [folder] = tmp_path.iterdir()
    (folder / "kernel").mkdir()
    (folder / "kernel" / "loop.nbc").write_bytes(b"")
    assert not compiled.nothing_compiled()
    assert not compiled.nothing_compiled("loop")
    # Weighted draws need no code of chains.
    assert compiled.nothing_compiled(CODE_OF_CHAINS)


#: Fits by every route that has loops of ours, of one factor, of two with a slope, and with effects
#: integrated out; and questions of their draws.
PROGRAM = """
import sys
import numba
from numba.core import event

import bayesmig as bm
from tests.fabricate import small_frame, survey_of, theory
from tests.inference.test_integrated import nested_frame, rare

class Heard(event.Listener):
    names = set()

    def on_start(self, event):
        of = event.data["dispatcher"].py_func
        self.names.add(f"{of.__module__}.{of.__qualname__}")

    def on_end(self, event):
        pass

def plus_one(x):
    return x + 1

plus_one.__module__ = "bayesmig.not_kept"
ROUTES = (
    ("surrogate", "single", "origin"),
    ("surrogate", "double", "origin"),
    ("nuts", "single", "region"),
    ("nuts", "double", "region"),
    ("graph", "single", "origin"),
    ("preview", "single", "origin"),
)
with event.install_listener("numba:compile", Heard()):
    survey = survey_of(small_frame(400, origins=8))
    for method, precision, by in ROUTES:
        spec = theory("female + age", groups=[{"by": by}])
        options = dict(method=method, precision=precision, draws=100 if method == "graph" else 600)
        posterior = bm.fit(spec, survey, seed=1, progress=False, **options)
    nested = survey_of(nested_frame(400, households=130, origins=8))
    for households, people in (("slope", nested), ("constant", survey_of(rare()))):
        terms = "1 + wealth" if households == "slope" else "1"
        inner = {"by": "household", "terms": terms}
        spec = theory("female + wealth", groups=[{"by": "origin"}, inner])
        posterior = bm.fit(spec, people, seed=1, progress=False, method="nuts", draws=100)
        assert ("integrated" in posterior.provenance.route) == (households == "constant")
    options = dict(seed=1, progress=False, method="surrogate")
    first = bm.fit(theory("female + age"), survey, **options)
    again = bm.fit(theory("female + wealth"), survey, **options)
    bm.slopes(first, "age")
    bm.check(first)
    bm.compare({"age": first, "wealth": again})
    if sys.argv[1:]:
        numba.njit(plus_one)(1.0)
print(*sorted(n for n in Heard.names if n.startswith("bayesmig.")))
"""


#: What calls the kernel from PyTensor's own functions, which it compiles for every graph.
GLUE = "bayesmig.inference.op._evaluator.<locals>.evaluate"


@pytest.mark.slow
def test_a_second_process_compiles_nothing() -> None:
    """Code is on disk after the first, and a function that is not kept there is seen."""
    said = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, *more],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).resolve().parents[2],
        ).stdout.split()
        for more in ([], ["more"])
    ]
    assert said[1] == [GLUE, "bayesmig.not_kept.plus_one"]
