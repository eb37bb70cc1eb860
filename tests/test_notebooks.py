"""The notebooks tell their stories: they run, define nothing, and hold no outputs."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.quick import some_quick

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def code_of(path: Path) -> list[nbformat.NotebookNode]:
    """Give the code cells of a notebook."""
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def test_there_are_two_stories() -> None:
    assert [p.stem for p in NOTEBOOKS] == ["01_first_fit", "02_which_theory"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_holds_no_outputs_and_defines_nothing(path: Path) -> None:
    for cell in code_of(path):
        assert cell.outputs == [] and cell.execution_count is None
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)


@pytest.mark.parametrize("name", some_quick([p.stem for p in NOTEBOOKS], {"01_first_fit"}))
def test_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error::UserWarning:bayesmig")
    [path] = [p for p in NOTEBOOKS if p.stem == name]
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    shown = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert any("image/png" in o.get("data", {}) for o in shown)
