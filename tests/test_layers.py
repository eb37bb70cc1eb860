"""Imports point down only, and each tool stays in its room."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "bayesmig"

#: Room (a module or folder directly under bayesmig/) -> floor.
FLOORS = {
    "choice": 0,
    "chunks": 0,
    "dims": 0,
    "errors": 0,
    "expressions": 0,
    "progress": 0,
    "tomlfile": 0,
    "spec": 1,
    "survey": 1,
    "design": 2,
    "explanation": 2,
    "simulation": 2,
    "inference": 3,
    "posterior": 3,
    "changes": 3,
    "predict": 4,
    "sbc": 4,
    "sensitivity": 4,
    "checks": 5,
    "hypotheses": 5,
    "variance_partition": 5,
    "immobility": 5,
    "imputation": 5,
    "model_comparison": 5,
    "policy": 5,
    "rehearsal": 5,
    "plots": 6,
    "reporting": 6,
    "study": 6,
    "cli": 7,
    "__init__": 8,  # the front door may name them all
}

#: The only imports between two rooms of one floor: importer -> imported.
NEIGHBOURS = {
    ("choice", "dims"),
    ("choice", "errors"),
    ("expressions", "errors"),
    ("tomlfile", "errors"),
    ("inference", "posterior"),
    ("sensitivity", "predict"),
    ("hypotheses", "immobility"),
    ("hypotheses", "variance_partition"),
    ("imputation", "hypotheses"),
    ("checks", "model_comparison"),
    ("rehearsal", "hypotheses"),
    ("reporting", "plots"),
    ("study", "reporting"),
}

#: Module -> the only rooms that may import it. Reading a pickle runs what it says: no room.
RESERVED: dict[str, set[str]] = {
    "graphviz": {"explanation"},
    "jax": {"inference"},
    "nutpie": {"inference"},
    "numba": {"inference"},
    "pymc": {"inference"},
    "pytensor": {"inference"},
    "arviz_plots": {"plots"},
    "matplotlib": {"plots"},
    "rich": {"cli", "progress"},
    "typer": {"cli"},
    "click": {"cli"},
    "cloudpickle": set(),
    "dill": set(),
    "joblib": set(),
    "marshal": set(),
    "pickle": set(),
    "shelve": set(),
}

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {"os.system", "os.popen", "builtins.eval", "builtins.exec"}
#: Methods that run text or unpickle, whatever the object (pandas' eval and query do).
FORBIDDEN_METHODS = {"query", "read_pickle", "to_pickle"}


#: Who imports by name: the front door, and what loads compiled code, whose names stand where it
#: is asked for and count as imports there.
BY_NAME = {"__init__.py", "inference/machine_code.py"}


def violations(source: str, file: str) -> list[str]:
    """List what a module of bayesmig does that its room may not do.

    ``file`` is its path under bayesmig/, for instance ``"inference/graph.py"``.
    """
    room = _room(file)
    if room not in FLOORS:
        return [f"{file}: {room!r} has no floor; give it one in FLOORS"]
    found = []
    for node in ast.walk(ast.parse(source)):
        for problem in (*_import_problems(node, room, file), *_call_problems(node, room, file)):
            found.append(f"{file}:{getattr(node, 'lineno', 0)}: {problem}")
    return found


def _room(file: str) -> str:
    return Path(file).parts[0].removesuffix(".py")


def _import_problems(node: ast.AST, room: str, file: str) -> Iterator[str]:
    for module in _imported(node, file):
        top, _, rest = module.partition(".")
        if top == "bayesmig":
            yield from _floor_problems(room, rest.partition(".")[0])
        elif top in RESERVED and room not in RESERVED[top]:
            allowed = ", ".join(sorted(RESERVED[top])) or "no room"
            yield f"{room} imports {top}, which is reserved for {allowed}"
        elif module == "importlib.import_module" and file not in BY_NAME:
            yield "only the front door imports by name"


def _floor_problems(room: str, target: str) -> Iterator[str]:
    if room == target or room == "__init__":
        return
    if target in ("", "__version__"):
        if target == "":
            yield f"{room} imports the front door"
        return
    if target not in FLOORS:
        yield f"{room} imports {target!r} from the front door"
    elif FLOORS[target] > FLOORS[room]:
        yield f"{room} (floor {FLOORS[room]}) imports {target} (floor {FLOORS[target]}) above it"
    elif FLOORS[target] == FLOORS[room] and (room, target) not in NEIGHBOURS:
        yield f"{room} imports its neighbour {target}"


def _imported(node: ast.AST, file: str) -> Iterator[str]:
    """Name the modules that a statement imports, in full, wherever the statement stands."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = ("bayesmig", *Path(file).parent.parts)
            base = ".".join((*package[: len(package) - node.level + 1], *filter(None, [base])))
        # `from bayesmig import spec` names a room; elsewhere the module is enough.
        whole = base in ("bayesmig", "importlib")
        yield from (f"{base}.{alias.name}" if whole else base for alias in node.names)
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Library":
        yield from (of.value for of in node.args if isinstance(of, ast.Constant))


def _call_problems(node: ast.AST, room: str, file: str) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        name = ast.unparse(node)
        if name in FORBIDDEN_ATTRIBUTES or node.attr in FORBIDDEN_METHODS:
            yield f"{name} runs text or unpickles"
        if name in ("sys.stdout", "sys.stderr") and room != "cli":
            yield f"{name} is for cli"
        if node.attr == "eval" and room != "inference":
            yield f"{name} runs text (PyTensor's eval belongs to inference)"
        if name == "importlib.import_module" and file not in BY_NAME:
            yield "only the front door imports by name"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in FORBIDDEN_CALLS:
            yield f"{node.func.id}() runs text"
        if node.func.id == "print" and room != "cli":
            yield "print() is for cli"
    elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
        if not (isinstance(node.value, ast.Constant) and node.value.value is False):
            yield "allow_pickle unpickles"


FILES = sorted(p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_module_keeps_to_its_floor(file: str) -> None:
    assert violations((PACKAGE / file).read_text(encoding="utf-8"), file) == []


@pytest.mark.parametrize("pair", sorted(NEIGHBOURS))
def test_neighbours_share_a_floor_and_see_one_way(pair: tuple[str, str]) -> None:
    importer, imported = pair
    assert FLOORS[importer] == FLOORS[imported]
    assert (imported, importer) not in NEIGHBOURS


WRONG = [
    ("survey/files.py", "from bayesmig.design import design"),
    ("survey/files.py", "import bayesmig.cli"),
    ("survey/files.py", "def read():\n    from bayesmig.posterior import load\n"),
    ("survey/files.py", "if TYPE_CHECKING:\n    from bayesmig.posterior import Posterior\n"),
    ("survey/files.py", "from bayesmig import posterior"),
    ("survey/files.py", "from bayesmig import fit"),
    ("survey/files.py", "import bayesmig"),
    ("survey/files.py", "from ..posterior import load"),
    ("survey/files.py", "from .. import posterior"),
    ("survey/files.py", "from bayesmig.spec import model"),
    ("choice/logit.py", "from bayesmig.survey.survey import Survey"),
    ("posterior.py", "from bayesmig.inference.routes import fit"),
    ("attic/old.py", ""),
    ("attic.py", ""),
    ("predict.py", "import pymc as pm"),
    ("predict.py", "def f():\n    import pytensor.tensor as pt\n"),
    ("checks/sbc.py", "from nutpie import sample"),
    ("choice/logit.py", "from numba import njit"),
    ("reporting/page.py", "import matplotlib.pyplot as plt"),
    ("reporting/page.py", "from arviz_plots import plot_forest"),
    ("study.py", "from rich.progress import Progress"),
    ("study.py", "import typer"),
    ("study.py", "print('done')"),
    ("study.py", "import sys\nsys.stderr.write('done')"),
    ("posterior.py", "import pickle"),
    ("posterior.py", "from cloudpickle import loads"),
    ("posterior.py", "np.load(path, allow_pickle=True)"),
    ("survey/files.py", "pd.read_pickle(path)"),
    ("survey/files.py", "frame.eval('a + b')"),
    ("survey/files.py", "frame.query('a > b')"),
    ("cli.py", "eval('1')"),
    ("cli.py", "exec('1')"),
    ("cli.py", "import os\nos.system('ls')"),
    ("cli.py", "__import__('os')"),
    ("cli.py", "import importlib\nimportlib.import_module(name)"),
    ("cli.py", "from importlib import import_module"),
    ("inference/op.py", "from importlib import import_module"),
    ("design/design.py", "kernel = Library('bayesmig.inference.kernel')"),
]


@pytest.mark.parametrize(("file", "source"), WRONG)
def test_planted_violation_is_seen(file: str, source: str) -> None:
    assert violations(source, file)


RIGHT = [
    ("survey/files.py", "from bayesmig.errors import SurveyError\nimport pandas as pd"),
    ("survey/files.py", "from bayesmig.survey.codebook import Codebook"),
    ("survey/files.py", "from .codebook import Codebook\nfrom ..errors import SurveyError"),
    ("survey/files.py", "from bayesmig import errors"),
    ("inference/sample.py", "import pymc\nfrom bayesmig.posterior import Posterior"),
    ("inference/graph.py", "logp.eval()"),
    ("predict.py", "kernel = Library('bayesmig.inference.kernel')"),
    ("posterior.py", "from importlib.metadata import version\nfrom bayesmig import __version__"),
    ("expressions.py", "tree = ast.parse(text, mode='eval')\npattern = re.compile('a')"),
    ("plots/effects.py", "import matplotlib.pyplot as plt"),
    ("cli.py", "import typer\nprint('done')\nimport sys\nsys.stdout.write('x')"),
    ("__init__.py", "from bayesmig.cli import main\nfrom importlib import import_module"),
]


@pytest.mark.parametrize(("file", "source"), RIGHT)
def test_ordinary_code_passes(file: str, source: str) -> None:
    assert violations(source, file) == []
