"""TOML in and out, and mistakes told in the words of the file."""

from __future__ import annotations

import math
import tomllib
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator

from bayesmig.errors import SpecError, nearest
from bayesmig.tomlfile import dotted, read_toml, validate, write_toml


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Normal(Frozen):
    family: Literal["normal"] = "normal"
    mean: float = 0.0
    scale: float = Field(gt=0)


class Halfnormal(Frozen):
    family: Literal["halfnormal"]
    spread: float


class Rule(Frozen):
    column: str
    times: int = 1


class Theory(Frozen):
    base: str
    alternatives: tuple[str, ...] = ()
    priors: dict[str, Annotated[Normal | Halfnormal, Field(discriminator="family")]] = {}
    rules: tuple[Rule, ...] = ()
    plain: Rule | None = None
    attribute: dict[str, float | str] = {}
    unit: Literal["person", "household"] = "person"

    @field_validator("base")
    @classmethod
    def _not_blank(cls, base: str) -> str:
        if not base.strip():
            raise ValueError("the base alternative has no name")
        if base == "typed":
            raise SpecError("a typed refusal", where="key base", mend="choose another")
        return base


def refused(data: dict[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        validate(Theory, data, file="theory.toml")
    assert caught.value.where[0] == "theory.toml"
    return caught.value


FAULTS: list[tuple[str, dict[str, Any], str, str, str]] = [
    # name, data, what, key, mend
    ("unknown key", {"base": "stay", "unti": "person"}, "unknown key 'unti'", "unti", "'unit'"),
    ("misspelt required key", {"bsae": "stay"}, "unknown key 'bsae'", "bsae", "'base'"),
    ("missing key", {}, "key 'base' is missing", "base", "add base"),
    (
        "nested unknown key",
        {"base": "s", "rules": [{"column": "x"}, {"column": "y", "tmies": 2}]},
        "unknown key 'tmies'",
        "rules[1].tmies",
        "'times'",
    ),
    (
        "optional table",
        {"base": "s", "plain": {"colum": "x"}},
        "unknown key",
        "plain.colum",
        "'column'",
    ),
    (
        "tagged table",
        {"base": "s", "priors": {"a b": {"family": "halfnormal", "spraed": 1.0}}},
        "unknown key 'spraed'",
        'priors."a b".spraed',
        "'spread'",
    ),
    (
        "unknown tag",
        {"base": "s", "priors": {"x": {"family": "norml", "scale": 1.0}}},
        "unknown family 'norml'",
        "priors.x",
        "'normal'",
    ),
    (
        "no tag",
        {"base": "s", "priors": {"x": {"scale": 1.0}}},
        "'family' is missing",
        "priors.x",
        "add family",
    ),
    ("wrong type", {"base": 3}, "expected text, got 3", "base", ""),
    ("list for text", {"base": ["a"]}, 'expected text, got a list ["a"]', "base", ""),
    (
        "text for list",
        {"base": "s", "alternatives": "stay"},
        'expected a list, got "stay" (text)',
        "alternatives",
        "",
    ),
    (
        "either of two",
        {"base": "s", "attribute": {"cost": [1]}},
        "expected a number or text",
        "attribute.cost",
        "",
    ),
    (
        "bound",
        {"base": "s", "priors": {"x": {"family": "normal", "scale": -1}}},
        "expected a number > 0, got -1",
        "priors.x.scale",
        "",
    ),
    (
        "choice of words",
        {"base": "s", "unit": "persons"},
        "expected 'person' or 'household', got \"persons\"",
        "unit",
        "'person'",
    ),
    (
        "fraction",
        {"base": "s", "rules": [{"column": "x", "times": 1.5}]},
        "expected a whole number",
        "rules[0].times",
        "",
    ),
    ("validator", {"base": " "}, "the base alternative has no name", "base", ""),
    ("typed validator", {"base": "typed"}, "a typed refusal", "base", "choose another"),
]


@pytest.mark.parametrize(
    ("name", "data", "what", "key", "mend"), FAULTS, ids=[f[0] for f in FAULTS]
)
def test_mistake_names_file_key_and_mend(
    name: str, data: dict[str, Any], what: str, key: str, mend: str
) -> None:
    err = refused(data)
    assert what in err.what
    assert err.where == ("theory.toml", f"key {key}")
    assert mend in err.mend
    assert "pydantic" not in str(err)


def test_misspelling_is_told_once_without_its_echo() -> None:
    assert "missing" not in str(refused({"bsae": "stay"}))


def test_all_mistakes_are_listed_the_misspelt_key_first() -> None:
    err = refused({"base": 3, "alternatives": 4, "unti": 1})
    assert err.what.startswith("unknown key 'unti'")
    assert "key base: expected text" in err.what
    assert "key alternatives: expected a list" in err.what


def test_a_flood_of_mistakes_is_cut() -> None:
    err = refused({"base": "s"} | {f"wrong{i}": 1 for i in range(40)})
    assert err.what.count("\n") == 6
    assert "35 more" not in err.what and "34 more" in err.what


def test_valid_data_become_the_model() -> None:
    theory = validate(Theory, {"base": "stay", "rules": [{"column": "x"}]}, file="f")
    assert theory.rules == (Rule(column="x"),)


def test_dotted_quotes_odd_keys() -> None:
    assert dotted(("a", 0, "b c", "d-e")) == 'a[0]."b c".d-e'


# ------------------------------------------------------------------------------- files


def test_read_and_byte_order_mark(tmp_path: Any) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbftitle = 'caf\xc3\xa9'\n")
    assert read_toml(path) == {"title": "café"}


def test_missing_file_names_the_nearest(tmp_path: Any) -> None:
    (tmp_path / "ifls.toml").write_text("")
    with pytest.raises(SpecError, match="codebook does not exist") as caught:
        read_toml(tmp_path / "ilfs.toml", "codebook")
    assert "ifls.toml" in caught.value.mend
    with pytest.raises(SpecError, match="does not exist either"):
        read_toml(tmp_path / "no" / "x.toml")


def test_a_missing_file_is_not_answered_with_what_other_tools_keep_there(tmp_path: Any) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    with pytest.raises(SpecError, match=r"holds no \.toml file of bayesmig"):
        read_toml(tmp_path / "study.toml", "study")
    (tmp_path / "family_life_of_indonesia.toml").write_text("")
    with pytest.raises(SpecError) as caught:
        read_toml(tmp_path / "study.toml", "study")
    assert caught.value.mend == f"the folder {tmp_path} holds family_life_of_indonesia.toml"


def test_folder_encoding_and_syntax(tmp_path: Any) -> None:
    with pytest.raises(SpecError, match="is a folder"):
        read_toml(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"a = 1\ntitle = 'caf\xe9'\n")
    with pytest.raises(SpecError, match="not UTF-8 text: byte 0xe9") as caught:
        read_toml(tmp_path / "latin.toml")
    assert caught.value.where[1] == "line 2"
    (tmp_path / "bad.toml").write_text("a = 1\nb = stay\n")
    with pytest.raises(SpecError, match="not valid TOML") as caught:
        read_toml(tmp_path / "bad.toml")
    assert caught.value.where[1].startswith("line 2, column 5: b = stay")
    (tmp_path / "open.toml").write_text("a = [1,")
    with pytest.raises(SpecError, match="not valid TOML"):
        read_toml(tmp_path / "open.toml")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 50_000)
    with pytest.raises(SpecError):
        read_toml(tmp_path / "deep.toml")


# ----------------------------------------------------------------------------- writing

_plain = (
    st.text()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.dates()
)
_values = st.recursive(
    _plain, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4)
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), _values, max_size=5))
def test_written_toml_reads_back_equal(data: dict[str, Any]) -> None:
    back = tomllib.loads(write_toml(data))
    assert back == data
    assert repr(sorted(map(repr, back))) == repr(sorted(map(repr, data)))


def test_none_is_left_out_and_tuples_are_lists() -> None:
    back = tomllib.loads(write_toml({"a": None, "b": {"c": None, "d": (1, 2.0)}, "e": math.inf}))
    assert back == {"b": {"d": [1, 2.0]}, "e": math.inf}
    assert type(back["b"]["d"][1]) is float


def test_none_in_a_list_is_an_error() -> None:
    with pytest.raises(TypeError):
        write_toml({"a": [None]})


def test_only_names_that_are_near_are_proposed() -> None:
    assert nearest("plot", ["report", "check"]) == "known: report, check"
    assert nearest("welth", ["report", "wealth"]) == "did you mean 'wealth'?"
