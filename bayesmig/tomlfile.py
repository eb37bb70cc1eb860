"""TOML files in and out, and their mistakes in the words of the person who wrote them.

Every declarative file (model, codebook, scenario, study) is read here and checked
against a pydantic model here, so that all of them fail in the same way: one
`SpecError` that names the file, the dotted key, what was found, what was expected
and the nearest known key.
"""

from __future__ import annotations

import json
import re
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bayesmig.errors import SpecError, nearest

_MOST_MISTAKES = 6
#: What other tools keep beside, and nobody means.
_OF_OTHERS = ("pyproject.toml", "ruff.toml", "pixi.toml")
_LONGEST_VALUE = 60
_LONGEST_PATH = 200


# -------------------------------------------------------------------------- reading


def read_toml(path: str | Path, what: str = "file") -> dict[str, Any]:
    """Read one TOML file.

    Parameters
    ----------
    path
        The file; UTF-8, with or without a byte-order mark.
    what
        What the file is to the user (``"codebook"``, ``"model"``), for messages.

    Returns
    -------
    dict
        The tables of the file as plain Python values.

    Raises
    ------
    SpecError
        Where the file is missing, unreadable, not UTF-8 or not TOML (with the line).
    """
    path = Path(path)
    text = _text(path, what)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise _syntax_error(path, what, text, str(err)) from None
    except RecursionError:
        raise SpecError(
            f"the {what} is nested too deeply to be read",
            where=str(path),
            mend="write nested values as tables, [a.b]",
        ) from None


def _text(path: Path, what: str) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SpecError(
            f"the {what} does not exist", where=str(path), mend=_neighbours(path)
        ) from None
    except IsADirectoryError:
        raise SpecError(
            f"the {what} is a folder, a .toml file was expected",
            where=str(path),
            mend="name the file in it",
        ) from None
    # A path that holds a null byte is a ValueError.
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or err
        raise SpecError(
            f"the {what} cannot be read: {reason}",
            where=str(path)[:_LONGEST_PATH],
            mend="give the path of a .toml file that you may read",
        ) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw[: err.start].count(b"\n") + 1
        raise SpecError(
            f"the {what} is not UTF-8 text: byte 0x{raw[err.start]:02x} cannot be decoded",
            where=(str(path), f"line {line}"),
            mend="save the file with the encoding UTF-8",
        ) from None


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either"
    files = sorted(p.name for p in path.parent.glob("*.toml") if p.name not in _OF_OTHERS)
    if not files:
        return f"the folder {path.parent} holds no .toml file of bayesmig"
    near = nearest(path.name, files)
    listed = near.removeprefix("known: ")
    return near if listed == near else f"the folder {path.parent} holds {listed}"


def _syntax_error(path: Path, what: str, text: str, message: str) -> SpecError:
    reason, _, position = message.partition(" (at ")
    where = [str(path)]
    if found := re.match(r"line (\d+), column (\d+)", position):
        line, column = int(found[1]), int(found[2])
        source = text.splitlines()[line - 1 : line]
        where.append(f"line {line}, column {column}" + (f": {_cut(source[0])}" if source else ""))
    elif position:
        where.append(position.rstrip(")"))
    return SpecError(
        f"the {what} is not valid TOML: {_lower(reason)}",
        where=where,
        mend='text needs quotes, a key stands once, and a table starts with "[name]"',
    )


# -------------------------------------------------------------------------- writing


def write_toml(data: Mapping[str, Any]) -> str:
    """Write plain values as TOML text.

    ``None`` values of tables are left out, since TOML has no null; everything that
    `read_toml` can yield comes back equal. Within a table, plain values are written
    before sub-tables, as the format demands; otherwise the order is kept.

    Raises
    ------
    TypeError
        For values that TOML cannot hold, such as ``None`` inside a list.
    """
    return tomli_w.dumps(_without_none(data))


def _without_none(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(k): _without_none(v) for k, v in value.items() if v is not None}
        case list() | tuple():
            return [_without_none(v) for v in value]
        case Enum():
            return value.value
        case Path():
            return str(value)
        case _:
            return value


# ----------------------------------------------------------------------- validating

_Path = tuple[str | int, ...]

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dataclass_type": "a table",
    "none_required": "nothing",
    "greater_than": "a number > {gt:g}",
    "greater_than_equal": "a number ≥ {ge:g}",
    "less_than": "a number < {lt:g}",
    "less_than_equal": "a number ≤ {le:g}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
}


def validate[ModelT: BaseModel](
    model_class: type[ModelT], data: Mapping[str, Any], *, file: str
) -> ModelT:
    """Check the values of a file against a pydantic model.

    Parameters
    ----------
    model_class
        The model; keys that it does not know are reported with the nearest that it does,
        at the level of the key.
    data
        What `read_toml` returned (or the same built in Python).
    file
        The file's name, for messages.

    Returns
    -------
    BaseModel
        An instance of `model_class`.

    Raises
    ------
    SpecError
        One error for all mistakes: the first in full, the others listed. A validator
        may raise ``ValueError(what)``, or ``ValueError(SpecError(...))`` with a key
        that counts from its own table: the tables around it are added. Of a `SpecError`
        by itself the key is the whole one. The file is added to all.
    """
    try:
        return model_class.model_validate(data)
    except SpecError as err:
        where = err.where if file in err.where else (file, *err.where)
        raise SpecError(err.what, where=where, mend=err.mend) from None
    except ValidationError as err:
        raise as_spec_error(err, model_class, data, file) from None


class _Mistake:
    """What went wrong at one key; a key of several possible types fails several times."""

    def __init__(self, path: _Path, value: Any) -> None:
        self.path, self.value = path, value
        self.expected: list[str] = []
        self.what = self.mend = ""
        self.within: tuple[str, ...] = ()
        self.rank = 1

    def where(self) -> list[str]:
        """The whole key, and what a validator says beside it."""
        first, *others = self.within or ("",)
        inner = first.removeprefix("key ")
        key = ".".join(part for part in (dotted(self.path), inner) if part)
        return [f"key {key}", *others] if key else others

    def sentence(self) -> str:
        if self.what:
            return self.what
        wanted = " or ".join(dict.fromkeys(self.expected))
        return f"expected {wanted}, got {_shown(self.value)}"


def as_spec_error(
    err: ValidationError, model_class: type[BaseModel], data: Mapping[str, Any], file: str
) -> SpecError:
    """Pydantic's error as one of ours; the arguments are those of `validate`."""
    mistakes: dict[_Path, _Mistake] = {}
    for detail in err.errors(include_url=False):
        path = _path_in(data, detail)
        mistake = mistakes.setdefault(path, _Mistake(path, detail["input"]))
        _describe(mistake, detail, model_class)
    ordered = sorted(_without_echoes(mistakes), key=lambda m: m.rank)
    first, others = ordered[0], ordered[1:]
    what = first.sentence()
    for other in others[: _MOST_MISTAKES - 1]:
        hint = f"; {other.mend}" if other.mend else ""
        place = " · ".join(other.where()) or "(whole file)"
        what += f"\n  also:  {place}: {other.sentence()}{hint}"
    if len(others) >= _MOST_MISTAKES:
        what += f"\n  also:  {len(others) - _MOST_MISTAKES + 1} more"
    mend = first.mend or "correct the key, or leave it out"
    return SpecError(what, where=[file, *first.where()], mend=mend)


def _path_in(data: Any, detail: ErrorDetails) -> _Path:
    """Keep the keys of a pydantic location that the user wrote, not the names of types."""
    path: list[str | int] = []
    here = data
    for part in detail["loc"]:
        inside = isinstance(here, Mapping) and part in here
        if inside or (isinstance(here, list | tuple) and part in range(len(here))):
            path.append(part)
            here = here[part]
    if detail["type"] == "missing":
        path.append(detail["loc"][-1])
    return tuple(path)


def _describe(mistake: _Mistake, detail: ErrorDetails, model_class: type[BaseModel]) -> None:
    kind, context = detail["type"], detail.get("ctx", {})
    key = str(mistake.path[-1]) if mistake.path else ""
    match kind:
        case "extra_forbidden":
            known = _known_keys(model_class, detail["loc"][:-1])
            mistake.what, mistake.mend, mistake.rank = f"unknown key {key!r}", "", 0
            mistake.mend = nearest(key, known)
        case "missing":
            mistake.what, mistake.rank = f"the key {key!r} is missing", 2
            mistake.mend = f"add {key} = …"
        case "union_tag_not_found":
            tag = str(context.get("discriminator", "")).strip("'")
            mistake.what = f"the key {tag!r} is missing; it says which kind of table this is"
            mistake.mend = f"add {tag} = …"
        case "union_tag_invalid":
            tag = str(context["discriminator"]).strip("'")
            known = [t.strip(" '") for t in str(context["expected_tags"]).split(", ")]
            mistake.what = f"unknown {tag} {context['tag']!r}"
            mistake.mend = nearest(str(context["tag"]), known)
        case "value_error" | "assertion_error":
            _quote(mistake, context.get("error"), detail["msg"])
        case _ if kind in _EXPECTED:
            mistake.expected.append(_EXPECTED[kind].format(**context))
            if kind in ("literal_error", "enum"):
                known = re.findall(r"'([^']*)'", str(context["expected"]))
                mistake.mend = nearest(str(mistake.value), known) if known else ""
        case _:
            mistake.what = f"{_lower(detail['msg'])}, got {_shown(mistake.value)}"


def _quote(mistake: _Mistake, error: Any, message: str) -> None:
    """Say what a validator of our own said."""
    inner = error.args[0] if isinstance(error, Exception) and error.args else None
    if isinstance(inner, SpecError):
        mistake.what, mistake.within, mistake.mend = inner.what, inner.where, inner.mend
    else:
        mistake.what = str(error or "") or _lower(message)


def _without_echoes(mistakes: Mapping[_Path, _Mistake]) -> list[_Mistake]:
    """Drop mistakes that only follow from others.

    "Missing" beside the misspelling that caused it, and a list that is too short beside
    the mistake in its entry.
    """
    echoes = {
        (*m.path[:-1], guessed)
        for m in mistakes.values()
        if m.rank == 0 and (guessed := _guessed(m.mend))
    }
    above = {m.path[:k] for m in mistakes.values() for k in range(len(m.path))}
    return [
        m
        for m in mistakes.values()
        if not (m.rank == 2 and m.path in echoes)
        and not (m.path in above and any("entries" in e for e in m.expected))
    ]


def _guessed(mend: str) -> str:
    found = re.match(r"did you mean '(.*)'\?$", mend)
    return found[1] if found else ""


def dotted(path: Iterable[str | int]) -> str:
    """Write a key as TOML does: ``priors.female[0].scale`` (lists count from 0)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            text += ("." if text else "") + (part if bare else f'"{part}"')
    return text


# ------------------------------------------------------- the keys known at one level


def _known_keys(model_class: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    kinds = list(_kinds(model_class))
    for part in loc:
        # A part that leads nowhere is a name that pydantic gave to a branch of a union.
        kinds = [inner for kind in kinds for inner in _step(kind, part)] or _branch(kinds, part)
    keys = [key for kind in kinds for key in _keys_of(kind)]
    return list(dict.fromkeys(keys))


def _kinds(annotation: Any) -> Iterable[Any]:
    """Yield the plain types of an annotation: unions, aliases and ``Annotated`` undone."""
    if isinstance(annotation, TypeAliasType):
        yield from _kinds(annotation.__value__)
    elif get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for arg in get_args(annotation):
            yield from _kinds(arg)
    else:
        yield annotation


def _step(kind: Any, part: str | int) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if part in (name, field.alias):
                return list(_kinds(field.annotation))
        return []
    origin, args = get_origin(kind), get_args(kind)
    if not isinstance(origin, type) or not args:
        return []
    if isinstance(part, str) and issubclass(origin, Mapping):
        return list(_kinds(args[1]))
    if isinstance(part, int) and issubclass(origin, Sequence):
        return list(_kinds(args[0] if args[-1] is Ellipsis else args[min(part, len(args) - 1)]))
    return []


def _branch(kinds: list[Any], part: str | int) -> list[Any]:
    chosen = [k for k in kinds if getattr(k, "__name__", None) == part or _tagged(k, part)]
    return chosen or kinds


def _tagged(kind: Any, tag: str | int) -> bool:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return False
    literals = (f.annotation for f in kind.model_fields.values())
    return any(get_origin(a) is Literal and tag in get_args(a) for a in literals)


def _keys_of(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.alias or name for name, field in kind.model_fields.items()]
    return []


# ------------------------------------------------------------------------ small words


def _shown(value: Any) -> str:
    kinds = {str: "text", bool: "true or false", int: "a number", float: "a number"}
    kind = kinds.get(type(value))
    if kind is None:
        kind = "a table" if isinstance(value, Mapping) else "a list"
        return f"{kind} {_cut(_as_text(value))}" if isinstance(value, list | tuple) else kind
    return f"{_cut(_as_text(value))} ({kind})" if kind != "a number" else str(value)


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
