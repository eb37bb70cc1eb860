"""The drawing of a theory, with and without the package graphviz."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import pytest

import bayesmig as bm
from bayesmig.errors import QuestionError
from bayesmig.explanation.graph import DRAWN
from bayesmig.spec.library import model_names
from bayesmig.spec.model import ModelSpec
from tests.fabricate import small_survey, theory


def nodes_and_edges(source: str) -> tuple[dict[str, str], set[tuple[str, str]]]:
    nodes = dict(re.findall(r'^  (n\d+) \[label="(.*?)", shape', source, re.MULTILINE))
    edges = re.findall(r"^  (n\d+) -> (n\d+);", source, re.MULTILINE)
    return nodes, {(nodes[a], nodes[b]) for a, b in edges}


def test_every_field_of_a_theory_is_drawn_or_said_to_be_no_part() -> None:
    assert set(DRAWN) == set(ModelSpec.model_fields)


@pytest.mark.parametrize("name", model_names())
def test_every_column_leads_to_the_choice(name: str) -> None:
    spec, drawn = bm.load_model(name), bm.graph(name)
    nodes, edges = nodes_and_edges(drawn.source)
    assert len(set(nodes.values())) == len(nodes)  # no column is drawn twice
    choice = next(label for label in nodes.values() if label.startswith("choice among"))
    reached = {choice}
    while more := {a for a, b in edges if b in reached} - reached:
        reached |= more
    assert reached == set(nodes.values())
    for column in spec.utility.persons_formula.columns:
        assert column in reached
        assert column in drawn.text
    assert {"sigma_origin", "corr_origin"} <= reached


def test_products_are_drawn_from_all_their_columns() -> None:
    _, edges = nodes_and_edges(bm.graph(theory("female:wealth", groups=[])).source)
    assert {("female", "b1[j]·female·wealth"), ("wealth", "b1[j]·female·wealth")} <= edges


def test_every_kind_of_block_is_drawn() -> None:
    spec = theory(
        utility={"persons": "female", "only": {"internal": "1 + near"}, "alternatives": "cost"},
        groups=[{"by": "household", "terms": "0 + female", "correlated": False}],
        available={"international": "open"},
    )
    text = bm.graph(spec).text
    for label in (
        "V[stay]\n",
        "g1·cost[stay]",
        "g1·cost[j]",
        "V[internal] alone",
        "c0[internal]",
        "c1·near",
        "u_household[j,female]·female",
        "sigma_household",
        "international available",
        "open",
    ):
        assert label in text
    assert "corr_household" not in text


def test_a_survey_gives_its_own_names() -> None:
    survey = small_survey()
    text = bm.graph(theory("female + nowhere"), survey).text
    assert "nowhere (not in this survey)" in text
    assert "female (not in this survey)" not in text


def test_quotation_marks_do_not_break_the_source() -> None:
    source = bm.graph(theory('C(job, reference="a")', groups=[])).source
    assert source.count('"') % 2 == 0
    assert "b1[j,job]" in source


def test_without_graphviz_the_text_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    drawn = bm.graph("baseline")
    with pytest.raises(QuestionError, match="graphviz"):
        drawn.figure()
    assert drawn._repr_html_() == f"<pre>{drawn.text}</pre>"
    assert str(drawn) == drawn.text


class FakeSource:
    def __init__(self, source: str) -> None:
        self.source = source

    def pipe(self, format: str, encoding: str) -> str:
        assert (format, encoding) == ("svg", "utf-8")
        return "<svg/>"


def fake_graphviz(source: type) -> ModuleType:
    module: Any = ModuleType("graphviz")
    module.Source = source
    module.ExecutableNotFound = FileNotFoundError
    return module  # type: ignore[no-any-return]


def test_with_graphviz_the_figure_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", fake_graphviz(FakeSource))
    drawn = bm.graph("baseline")
    assert drawn.figure().source == drawn.source
    assert drawn._repr_html_() == "<svg/>"


def test_with_the_package_but_no_program_the_text_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NoProgram(FakeSource):
        def pipe(self, format: str, encoding: str) -> str:
            raise FileNotFoundError("dot")

    monkeypatch.setitem(sys.modules, "graphviz", fake_graphviz(NoProgram))
    assert bm.graph("baseline")._repr_html_().startswith("<pre>")
