"""Machine code that is kept, and called without numba."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import bayesmig
from bayesmig.inference import compiled, machine_code
from bayesmig.inference.machine_code import Library

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or numba.config.USING_SVML, reason="numba calls its code itself here"
)

#: Functions of every kind of argument and result that ours have, and what ours must not be.
SOURCE = """
import numpy as np
from bayesmig.inference.compiled import njit

@njit()
def sums(parts, scale, out):
    (first, second), more = parts
    total = scale[0]
    for i in range(first.shape[0]):
        for j in range(first.shape[1]):
            out[i] += first[i, j] * more[j]
            total += first[i, j]
    if scale[1] is None:
        total += 100.0
    return total + second.sum()

@njit()
def scaled(values, by, off):
    return np.zeros_like(values) if off else values * by

@njit()
def nothing(values):
    values[0] = values.shape[0]

@njit()
def how_many(values):
    return values.size

@njit()
def same(values):
    return values

@njit()
def raising(values):
    values += 1.0
    return np.linalg.cholesky(values)

@njit()
def pair(values):
    return values.sum(), values

@njit()
def named(pair):
    return 10 * pair.a + pair.b

TABLE = np.arange(200_000.0)

@njit()
def looked_up(k):
    return TABLE[k]
"""
PACKAGE = Path(bayesmig.__file__).parent


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of compiled functions whose code is kept in a folder of the test's own."""
    (tmp_path / "toy.py").write_text(SOURCE)
    for name in [k for k in os.environ if k.startswith("NUMBA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "code"))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("toy")
    del sys.modules["toy"]


def kept() -> list[Path]:
    folder = compiled.folder_of_code()
    assert folder is not None
    return sorted(folder.glob("*.o"))


def elsewhere(program: str, folder: Path, **environment: str) -> str:
    """What another process says, whose folders are those of a test."""
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=os.environ | environment,
    ).stdout


def arguments(rng: np.random.Generator, order: str) -> tuple[Any, ...]:
    first = rng.normal(size=(6, 8))
    first = {"C": first, "F": np.asfortranarray(first), "A": first[::2, ::2]}[order]
    if order == "F":
        first.flags.writeable = False
    parts = (first, np.arange(5)), rng.normal(size=8).astype(np.float32)
    return parts, (0.5, None if order == "C" else 2.0), np.zeros(len(first))


@pytest.mark.parametrize("order", ["C", "F", "A"])
@pytest.mark.parametrize("again", [False, True])
def test_calls_give_what_numba_gives(toy: Any, order: str, again: bool) -> None:
    """Whether the code was just made, or read from its file."""
    library = Library("toy")
    if again:
        library.sums(*arguments(np.random.default_rng(2), order))
        library = Library("toy")
    one, other = (arguments(np.random.default_rng(1), order) for _ in range(2))
    assert library.sums(*one) == toy.sums(*other)
    np.testing.assert_array_equal(one[-1], other[-1])
    assert one[-1].any()
    assert len(kept()) == 1


def test_another_process_calls_it_without_numba(toy: Any, tmp_path: Path) -> None:
    """And numba does its own work there afterwards."""
    values = np.arange(6.0) / 7
    program = (
        "import sys, numpy as np; from bayesmig.inference.machine_code import Library\n"
        "found = Library('toy').scaled(np.arange(6.0) / 7, 3.0, False)\n"
        "print(found.tobytes().hex(), 'numba' in sys.modules)\n"
        "import numba; assert numba.njit(lambda x: np.dot(x, x).sum())(np.eye(3)) == 3.0\n"
        "import toy; assert (toy.scaled(np.arange(6.0) / 7, 3.0, False) == found).all()"
    )
    expected = Library("toy").scaled(values, 3.0, False).tobytes().hex()
    assert elsewhere(program, tmp_path).split() == [expected, "False"]


def test_results_of_every_kind(toy: Any) -> None:
    library, values = Library("toy"), np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(library.scaled(values, 2, False), 2 * values)
    np.testing.assert_array_equal(library.scaled(values, 0.5, True), 0 * values)
    np.testing.assert_array_equal(library.scaled(values[:0], 0.5, False), values[:0])
    np.testing.assert_array_equal(library.same(values), values)
    assert library.how_many(values) == library.how_many(np.array(1.0)) + 5 == 6
    flat = values.ravel().copy()
    assert library.nothing(flat) is None
    assert flat[0] == 6.0
    assert {path.name.split("-")[0] for path in kept()} == {
        f"toy.{name}" for name in ("scaled", "how_many", "nothing", "same")
    }


def test_an_array_that_compiled_code_made_is_given_back(toy: Any) -> None:
    library, values = Library("toy"), np.ones(1_000_000)
    library.scaled(values, 2.0, False)
    before = memory()
    for _ in range(200):
        library.scaled(values, 2.0, False)
    assert memory() - before < 100 * values.nbytes


def memory() -> int:
    """Bytes in use by this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_other_types_are_other_code(toy: Any) -> None:
    library = Library("toy")
    whole, half = np.arange(3), np.arange(3.0) / 2
    assert library.scaled(whole, 2, False).dtype == np.int64
    assert library.scaled(half, 2, False).dtype == np.float64
    assert len(kept()) == 2
    one, other = namedtuple("A", "a b"), namedtuple("B", "b a")
    assert library.named(one(1, 2)) == 12
    assert library.named(other(1, 2)) == 21


@pytest.mark.parametrize(
    "value", [[1.0], 2**63, np.float32(1), np.ma.masked_array([1.0]), np.array(["a"]), "a"]
)
def test_what_numba_might_take_for_something_else_is_refused(toy: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="take no"):
        Library("toy").how_many(value)


def test_a_function_that_raises_an_error_is_not_run_again(toy: Any) -> None:
    library, values = Library("toy"), np.array([[-5.0]])
    np.testing.assert_array_equal(library.raising(np.array([[3.0]])), [[2.0]])
    with pytest.raises(RuntimeError, match=r"toy\.raising ended with status"):
        library.raising(values)
    assert values == [[-4.0]]
    with pytest.raises(AttributeError, match="not_there"):
        library.not_there(np.ones(2))


@pytest.mark.filterwarnings("ignore:Cannot cache")
def test_what_cannot_be_kept_is_called_by_numba(toy: Any) -> None:
    total, values = Library("toy").pair(np.ones(3))
    assert total == 3.0
    assert values.shape == (3,)
    assert Library("toy").looked_up(7) == 7.0
    assert not kept()


@pytest.mark.parametrize("harm", ["cut", "changed", "empty", "calls nobody"])
def test_a_file_that_is_not_what_was_written_is_not_called(toy: Any, harm: str) -> None:
    values = np.ones(4)
    Library("toy").scaled(values, 3.0, False)
    [path] = kept()
    right = path.read_bytes()
    if harm == "calls nobody":
        code = machine_code._read(path)
        assert code is not None
        machine_code._write(path, code._replace(needs=[*code.needs, "nobody_has_this"]))
    else:
        wrong = {"cut": right[:-100], "changed": right.replace(b"scaled", b"scalet"), "empty": b""}
        path.write_bytes(wrong[harm])
    np.testing.assert_array_equal(Library("toy").scaled(values, 3.0, False), 3 * values)
    # It is written anew, but where another machine would have what this one has not.
    assert (path.read_bytes() == right) == (harm != "calls nobody")


def test_settings_of_numba_are_left_to_numba(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Numba reads its settings anew after a change of the environment, when it next compiles.
    assert toy.how_many(np.ones(4)) == 4
    with monkeypatch.context() as settings:
        settings.setattr(numba.config, "BOUNDSCHECK", 1)
        np.testing.assert_array_equal(Library("toy").scaled(np.ones(4), 3.0, False), np.full(4, 3))
    monkeypatch.setenv("NUMBA_OPT", "1")
    np.testing.assert_array_equal(Library("toy").scaled(np.ones(4), 3.0, False), np.full(4, 3.0))
    assert not kept()


def test_names_that_an_object_calls_are_found(toy: Any) -> None:
    Library("toy").raising(np.eye(2))
    [path] = kept()
    code = machine_code._read(path)
    assert code is not None
    assert {"numba_xxpotrf", "NRT_MemInfo_alloc_aligned"} <= set(code.needs)
    # What the entry calls is the function itself, which is there.
    [called] = machine_code._undefined(code.entry)
    assert called not in code.needs and called.encode() in code.binary


def test_every_function_that_is_called_so_is_there() -> None:
    """A name with an error in it would show when it is called only."""
    called = [found for path in PACKAGE.rglob("*.py") for found in functions_of(path)]
    assert len(called) > 20
    for module, name in called:
        assert isinstance(getattr(importlib.import_module(module), name), Dispatcher)


def functions_of(path: Path) -> set[tuple[str, str]]:
    """Modules and names of what a file calls by its machine code."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    libraries = {
        node.targets[0].id: node.value.args[0].value
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") == "Library"
    }
    return {
        (libraries[node.value.id], node.attr)
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in libraries
    }


#: Weighted draws and what is asked of them.
PROGRAM = """
import sys
import bayesmig as bm
from tests.fabricate import small_frame, survey_of, theory

survey = survey_of(small_frame(400, origins=8))
options = dict(seed=1, progress=False, method="surrogate", chains=2, draws=400)
first = bm.fit(theory("female + age", groups=[{"by": "origin"}]), survey, **options)
again = bm.fit(theory("female", groups=[{"by": "origin"}]), survey, **options)
slopes = bm.slopes(first, "age")
bm.check(first, allow_unconverged=True)
ranking = bm.compare({"age": first, "none": again}, allow_unconverged=True)
numbers = [first.draws["beta"], slopes.summary["estimate"], ranking.summary["elpd"]]
print("numba" in sys.modules, *(x.to_numpy().sum().hex() for x in numbers))
"""


def test_questions_of_weighted_draws_do_without_numba() -> None:
    """Where code is on disk, after the first; and what they find is what numba finds."""
    settings: list[dict[str, str]] = [{}, {}, {"NUMBA_NUM_THREADS": "1"}]
    said = [elsewhere(PROGRAM, PACKAGE.parent, **of).split() for of in settings]
    assert said[1][0] == "False"
    assert said[2][0] == "True"
    assert said[0][1:] == said[1][1:] == said[2][1:]
