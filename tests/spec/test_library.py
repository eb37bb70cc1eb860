"""Finding and reading model and scenario files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bayesmig.errors import SpecError
from bayesmig.explanation.words import label
from bayesmig.spec.library import (
    load_model,
    load_scenario,
    model_names,
    models_by_family,
    models_folder,
    scenario_names,
)
from bayesmig.spec.model import FAMILIES
from bayesmig.tomlfile import read_toml

CHOICE = '[choice]\nalternatives = ["stay", "go"]\nbase = "stay"\n'


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_packaged_name_and_its_path_are_the_same_model() -> None:
    path = models_folder() / "networks.toml"
    assert load_model("networks") == load_model(path) == load_model(str(path))
    assert "networks" in model_names()
    assert "network_cut" in scenario_names()
    assert load_scenario("network_cut").name == "network_cut"


def test_theories_are_told_by_family_each_once() -> None:
    told = models_by_family()
    names = [spec.name for specs in told.values() for spec in specs]
    assert sorted(names) == list(model_names())
    headings = list(FAMILIES.values())
    assert [h for h in headings if h in told] == list(told)
    for heading, specs in told.items():
        assert {FAMILIES[spec.family] for spec in specs} == {heading}
        firsts = [spec.mechanisms[0] for spec in specs if (spec.expect.persons or 0) > 1]
        assert firsts == sorted(firsts)
    assert next(iter(names)) == "baseline"


@pytest.mark.parametrize("load", [load_model, load_scenario])
def test_an_unknown_name_lists_the_known_ones(load: object) -> None:
    with pytest.raises(SpecError) as caught:
        load("netwrks" if load is load_model else "network_cutt")  # type: ignore[operator]
    assert "did you mean 'network" in caught.value.what
    assert "or give the path of a .toml file" in caught.value.mend


@pytest.mark.parametrize(
    "name", ["x" * 300, "x" * 5000, "a\0b", "", "x" * 300 + ".toml", "a\0.toml"]
)
@pytest.mark.parametrize("load", [load_model, load_scenario])
def test_a_name_too_long_or_too_odd_for_a_file_is_refused(name: str, load: object) -> None:
    with pytest.raises(SpecError) as caught:
        load(name)  # type: ignore[operator]
    assert caught.value.where and caught.value.mend
    assert len(str(caught.value)) < 1000


def test_a_file_is_named_by_itself_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert load_model(write(tmp_path / "mine.toml", CHOICE)).name == "mine"
    assert load_model(write(tmp_path / "a.toml", 'name = "b"\n' + CHOICE)).name == "b"


def test_a_mistake_names_the_file_and_the_key(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", CHOICE + '[utility]\npersons = "1 + exp(x)"\n')
    with pytest.raises(SpecError) as caught:
        load_model(path)
    assert caught.value.where == (str(path), "key utility.persons")


# -------------------------------------------------------------------------- extends


def test_a_child_adds_to_its_parent(tmp_path: Path) -> None:
    write(
        tmp_path / "parent.toml",
        'title = "P"\nreferences = ["A. Author (2020)"]\n' + CHOICE
        + '[utility]\npersons = "x"\n[columns]\nx = "years"\n[[groups]]\nby = "origin"\n'
        '[expect]\npersons = 2\n[hypotheses.h]\nclaim = "."\nstatement = "share(go) > 0"\n',
    )  # fmt: skip
    path = write(
        tmp_path / "child.toml",
        'extends = "parent"\n[utility]\npersons = "+ y"\n[columns]\ny = "0/1"\n',
    )
    child = load_model(path)
    assert child.utility.persons_formula.columns == ("x", "y")
    assert child.columns == {"x": "years", "y": "0/1"}
    assert [g.by for g in child.groups] == ["origin"]
    assert list(child.hypotheses) == ["h"]
    assert (child.name, child.title) == ("child", "")  # its own, never the parent's
    assert child.expect.persons is None
    assert child.references == ("A. Author (2020)",)


def test_a_mistake_in_a_parent_is_reported_under_its_own_name(tmp_path: Path) -> None:
    parent = write(
        tmp_path / "parent.toml", CHOICE + '[utility]\npersons = "x"\n[columns]\nx = 3\n'
    )
    child = write(tmp_path / "child.toml", 'extends = "parent"\n')
    with pytest.raises(SpecError) as caught:
        load_model(child)
    assert caught.value.where[0] == str(parent)


def test_a_file_may_have_a_dash_in_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "my-theory.toml", 'extends = "selectivity"\n')
    assert load_model(path).name == "my-theory"


def test_a_child_may_extend_a_packaged_model_or_a_path(tmp_path: Path) -> None:
    packaged = load_model(write(tmp_path / "a.toml", 'extends = "selectivity"\n'))
    assert packaged.utility == load_model("selectivity").utility
    write(tmp_path / "sub" / "base.toml", CHOICE)
    nested = load_model(write(tmp_path / "b.toml", 'extends = "sub/base.toml"\n'))
    assert nested.choice.nonbase == ("go",)


def test_a_child_keeps_its_parent_s_priors_of_coefficients(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.toml",
        'extends = "networks"\n[[priors.coefficient]]\nname = "female"\nscale = 0.5\n',
    )
    parent = [p.name for p in load_model("networks").priors.coefficient]
    assert parent
    assert [p.name for p in load_model(path).priors.coefficient] == [*parent, "female"]


def test_a_sibling_comes_before_a_packaged_model_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path / "baseline.toml", CHOICE)
    child = load_model(write(tmp_path / "mine.toml", 'extends = "baseline"\n'))
    assert child.choice.alternatives == ("stay", "go")


@pytest.mark.parametrize("circle", [["a"], ["b", "a"]])
def test_a_circle_is_refused_and_shown(tmp_path: Path, circle: list[str]) -> None:
    for name, parent in zip(["a", *circle], circle, strict=False):
        write(tmp_path / f"{name}.toml", f'extends = "{parent}"\n')
    with pytest.raises(SpecError) as caught:
        load_model(tmp_path / "a.toml")
    assert "a → " + " → ".join(circle) in caught.value.what
    assert caught.value.where[1] == "key extends"


def test_a_chain_is_refused_and_shown(tmp_path: Path) -> None:
    write(tmp_path / "c.toml", CHOICE)
    write(tmp_path / "b.toml", 'extends = "c"\n')
    assert load_model(tmp_path / "b.toml").choice == load_model(tmp_path / "c.toml").choice
    with pytest.raises(SpecError) as caught:
        load_model(write(tmp_path / "a.toml", 'extends = "b"\n'))
    assert "a → b → c" in caught.value.what
    assert caught.value.where == (str(tmp_path / "b.toml"), "key extends")
    assert caught.value.mend == "let b say all by itself, or a extend c"


def test_packaged_theories_extend_what_extends_nothing() -> None:
    parents = {
        n: read_toml(models_folder() / f"{n}.toml", "m").get("extends") for n in model_names()
    }
    for name, parent in parents.items():
        assert parent is None or parents[parent] is None, name


def test_packaged_theories_say_what_becomes_of_weights() -> None:
    """In their own file, or in that of their parent."""
    files = {n: read_toml(models_folder() / f"{n}.toml", "m") for n in model_names()}
    for name, of in files.items():
        assert "weights" in of or "weights" in files[of["extends"]], name


@pytest.mark.parametrize(
    ("small", "large"), [("baseline", "selectivity"), ("selectivity", "networks")]
)
def test_what_a_larger_theory_repeats_is_the_same(small: str, large: str) -> None:
    """They are copies, so that no theory stands on a chain of others."""
    one, other = load_model(small), load_model(large)
    assert {name: other.hypotheses.get(name) for name in one.hypotheses} == one.hypotheses
    assert {name: other.columns.get(name) for name in one.columns} == one.columns
    few, many = (list(map(label, of.utility.persons_formula.terms)) for of in (one, other))
    assert many[: len(few)] == few
    assert (one.choice, one.groups) == (other.choice, other.groups)
    assert one.utility.period_constants == other.utility.period_constants


@pytest.mark.parametrize(
    ("parent", "says"),
    [
        ('"nowhere"', "there is no packaged model 'nowhere'"),
        (f'"{"x" * 300}"', "there is no packaged model 'xxx"),
        ("3", "expected the name of a model"),
    ],
)
def test_a_parent_must_exist(tmp_path: Path, parent: str, says: str) -> None:
    path = write(tmp_path / "a.toml", f"extends = {parent}\n" + CHOICE)
    with pytest.raises(SpecError) as caught:
        load_model(path)
    assert says in caught.value.what
    assert caught.value.where == (str(path), "key extends")


def test_a_mistake_in_a_parent_is_found_through_its_child(tmp_path: Path) -> None:
    write(tmp_path / "parent.toml", CHOICE + "[utility]\npersns = 'x'\n")
    with pytest.raises(SpecError, match="unknown key 'persns'"):
        load_model(write(tmp_path / "child.toml", 'extends = "parent"\n'))


def test_a_model_cannot_extend_itself_into_a_scenario(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown key 'extends'"):
        load_scenario(
            write(
                tmp_path / "s.toml",
                'extends = "x"\n[[interventions]]\nkind = "add"\ncolumn = "x"\nvalue = 1\n',
            )
        )
